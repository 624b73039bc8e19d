"""Every dependency of the project is listed in docs/licences.md with its licence."""

from importlib.metadata import distribution, requires
from pathlib import Path

from packaging.requirements import Requirement

from tools.audit import closure, licence

LISTED = (Path(__file__).parents[2] / "docs" / "licences.md").read_text()


def test_every_direct_dependency_is_listed_with_a_licence() -> None:
    direct = [Requirement(text) for text in requires("landmark-dag") or ()]
    names = [one.name for one in direct if one.marker is None or one.marker.evaluate({"extra": ""})]
    assert len(names) > 15
    for name in names:
        if not name.startswith("faiss"):  # faiss-cpu or faiss-gpu, by machine
            assert f"| {distribution(name).name} | " in LISTED, name
        assert licence(distribution(name)) != "not stated", name


def test_what_dependencies_need_is_listed_too() -> None:
    found = {one.name.lower() for one in closure("landmark-dag")}
    assert {"torch", "grpcio", "sqlalchemy", "markupsafe"} <= found and "pytest" not in found
