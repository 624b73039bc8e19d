"""What Dagster loads: quick to import, the same from both targets, and every asset fully described."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from landmark_dag.definitions import defs

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
HEAVY = PROJECT["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"]
"""Packages that take long to import; ruff bans them from the top of modules that Dagster loads."""

GRAPH = {
    "train/photos": ("photos", []),
    "index/photos": ("photos", []),
    "query/photos": ("photos", []),
    "train/labels": ("photos", []),
    "descriptor_whitening": ("cleaning", ["train/photos"]),
    "train/local_features": ("cleaning", ["descriptor_whitening", "train/photos"]),
    "train/bootstrap_embeddings": ("cleaning", ["train/photos"]),
    "match_candidates": ("cleaning", ["train/bootstrap_embeddings", "train/labels"]),
    "verified_matches": ("cleaning", ["match_candidates", "train/local_features", "train/photos"]),
    "cleaned_dataset": ("cleaning", ["train/labels", "verified_matches"]),
    "trained_model": ("training", ["cleaned_dataset", "train/labels", "train/photos"]),
    "tuning/trial": ("tuning", ["cleaned_dataset", "train/photos"]),
    "tuning/results": ("tuning", ["tuning/trial"]),
    "train/embeddings": ("embeddings", ["train/photos", "trained_model"]),
    "index/embeddings": ("embeddings", ["index/photos", "trained_model"]),
    "query/embeddings": ("embeddings", ["query/photos", "trained_model"]),
    "knn_graph": ("ranking", ["index/embeddings", "query/embeddings"]),
    "index/train_neighbours": ("ranking", ["cleaned_dataset", "index/embeddings", "train/embeddings"]),
    "query/train_neighbours": ("ranking", ["cleaned_dataset", "query/embeddings", "train/embeddings"]),
    "index/votes": ("ranking", ["cleaned_dataset", "index/train_neighbours"]),
    "query/votes": ("ranking", ["cleaned_dataset", "query/train_neighbours"]),
    "sorted_ranking": ("ranking", ["index/votes", "knn_graph", "query/votes"]),
    "inserted_ranking": (
        "ranking",
        ["index/train_neighbours", "index/votes", "query/train_neighbours", "query/votes", "sorted_ranking"],
    ),
    "retrieval_metrics": ("evaluation", ["inserted_ranking", "knn_graph", "sorted_ranking"]),
    "reranking_comparison": (
        "evaluation",
        ["index/embeddings", "index/train_neighbours", "knn_graph", "query/embeddings", "query/train_neighbours"],
    ),
    "recognition": ("evaluation", ["query/photos", "query/train_neighbours", "train/local_features"]),
    "recognition_metrics": ("evaluation", ["recognition", "train/labels"]),
    "submission": ("evaluation", ["inserted_ranking", "recognition", "retrieval_metrics", "train/labels"]),
    "gallery": (
        "evaluation",
        [
            "index/photos",
            "inserted_ranking",
            "knn_graph",
            "query/photos",
            "query/votes",
            "retrieval_metrics",
            "sorted_ranking",
            "train/labels",
        ],
    ),
}


@pytest.fixture(scope="module")
def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs().resolve_all_asset_specs()}


def test_loading_the_definitions_imports_nothing_heavy() -> None:
    code = f"import sys, landmark_dag.definitions; print([m for m in {HEAVY} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_every_file_under_assets_is_loaded() -> None:
    """Only a folder with an __init__.py is a package whose modules are loaded."""
    defs()
    files = {path.relative_to(ROOT).with_suffix("") for path in (ROOT / "assets").rglob("*.py")}
    modules = {".".join(path.parts).removesuffix(".__init__") for path in files}
    assert modules - set(sys.modules) == set()


def test_the_asset_graph_is_the_one_of_the_design(specs: dict[str, dg.AssetSpec]) -> None:
    graph = {
        key: (spec.group_name, sorted(dep.asset_key.to_user_string() for dep in spec.deps))
        for key, spec in specs.items()
    }
    assert graph == GRAPH


def test_every_asset_is_fully_described(specs: dict[str, dg.AssetSpec]) -> None:
    described = ("group_name", "description", "owners", "kinds", "code_version", "tags")
    bare = [(key, name) for key, spec in specs.items() for name in described if not getattr(spec, name)]
    assert bare == []


def test_every_job_schedule_and_sensor_has_a_description() -> None:
    definitions = defs()
    named = [*definitions.resolve_all_job_defs(), *(definitions.schedules or []), *(definitions.sensors or [])]
    assert [item.name for item in named if not item.description and item.name != "__ASSET_JOB"] == []


def test_every_table_shows_its_columns(specs: dict[str, dg.AssetSpec]) -> None:
    without = {key for key, spec in specs.items() if "dagster/column_schema" not in spec.metadata}
    assert without == {"trained_model", "submission", "gallery"}
    undescribed = [
        (key, column.name)
        for key, spec in specs.items()
        if key not in without
        for column in spec.metadata["dagster/column_schema"].columns
        if not column.description
    ]
    assert undescribed == []


def test_every_asset_links_to_its_source_lines(specs: dict[str, dg.AssetSpec]) -> None:
    for key, spec in specs.items():
        (source,) = spec.metadata["dagster/code_references"].code_references
        path = Path(source.file_path)
        lines = path.read_text().splitlines()[source.line_number - 1 :]
        assert path.is_relative_to(ROOT / "assets") and lines[0].lstrip().startswith("@dg.asset"), key
        function = next(line for line in lines if line.lstrip().startswith("def "))
        assert key.replace("/", "_").endswith(function.split("def ")[1].split("(")[0]), key


def test_tags_select_the_shards_of_a_split_and_the_work_on_the_accelerator(specs: dict[str, dg.AssetSpec]) -> None:
    graph = defs().resolve_asset_graph()
    for key, spec in specs.items():
        shards = getattr(spec.partitions_def, "name", None) or ""
        assert spec.tags.get("split", "") == (shards.removesuffix("_shards") if shards != "trials" else ""), key
        assert (spec.tags["runs_on"] == "accelerator") == (graph.get(spec.key).pools == {"gpu"}), key


def test_work_on_the_accelerator_takes_a_slot_of_the_gpu_pool() -> None:
    graph = defs().resolve_asset_graph()
    pooled = {key.to_user_string() for key in graph.get_all_asset_keys() if graph.get(key).pools == {"gpu"}}
    assert pooled == {
        "train/bootstrap_embeddings",
        "verified_matches",
        "trained_model",
        "tuning/trial",
        "train/embeddings",
        "index/embeddings",
        "query/embeddings",
        "knn_graph",
        "index/train_neighbours",
        "query/train_neighbours",
        "reranking_comparison",
        "recognition",
    }


def test_both_load_targets_name_the_same_module_and_location() -> None:
    project = PROJECT["dg"]["project"]
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    assert workspace["module_name"] == project["code_location_target_module"]
    assert workspace["location_name"] == project["code_location_name"]


def test_the_three_packages_are_those_of_this_repository() -> None:
    names = "assets, resources, landmark_dag"
    code = f"import json, {names}; print(json.dumps([m.__file__ for m in ({names})]))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [Path(file).parents[1] for file in json.loads(found.stdout)] == [ROOT] * 3


def test_the_instance_settings_load_with_telemetry_off_and_one_gpu_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dagster.yaml").write_text((ROOT / "landmark_dag/orchestration/dagster.yaml").read_text())
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert not instance.telemetry_enabled
        assert instance.global_op_concurrency_default_limit == 1
