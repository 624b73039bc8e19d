"""Searching a home with photos of one's own: what is found, what is loaded, and what is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from landmark_dag.cli.main import main
from landmark_dag.errors import InputError
from landmark_dag.serving.search import search_gallery, search_photos, search_summary
from landmark_dag.settings.home import changed_settings
from landmark_dag.storage.parquet_tables import read_table
from landmark_dag.storage.schemas import VOTES
from landmark_dag.training.artifact import save_model
from landmark_dag.training.network import build_network
from tests.support.homes import NETWORK, small_home
from tests.support.photos import write_landmark_photo

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_home(tmp_path_factory.mktemp("searched"))


def status(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["search", *map(str, arguments)])
    return int(left.value.code or 0)


def test_a_photo_of_the_index_is_found_first_and_its_landmark_after_it(home: Path) -> None:
    own = home.parent / "photos/index/index3.png"
    (told,) = search_summary(search_photos(home, [own]), top=10)
    assert (told["photo"], told["landmark"]) == (str(own), "cedar_museum")
    results = told["results"]
    assert (results[0]["rank"], results[0]["index_id"], results[0]["path"]) == (1, "index3", str(own))
    assert results[0]["similarity"] == pytest.approx(1, abs=1e-3)
    voted = dict(
        read_table(home / "store/index/votes/0000.parquet", VOTES).select("image_id", "landmark_id").iter_rows()
    )
    same = [result for result in results if voted[result["index_id"]] == 2]
    assert 1 < len(same) < len(voted)
    assert results == same + [result for result in results if result not in same]
    for result in results:
        assert (result["landmark"] == "cedar_museum") == (result["reason"] == "same landmark") == (result in same)
    for part in (same, results[len(same) :]):
        assert part == sorted(part, key=lambda result: -result["similarity"])


def test_a_search_is_repeatable_and_writes_nothing_to_the_home(home: Path, tmp_path: Path) -> None:
    photos = [write_landmark_photo(tmp_path / f"{landmark}.png", landmark, 500) for landmark in (1, 2)]
    before = sorted(home.rglob("*"))
    first, again = search_photos(home, photos), search_photos(home, photos)
    for step, frame in first.lists.items():
        assert frame.equals(again.lists[step])
    assert first.votes.equals(again.votes)
    assert sorted(home.rglob("*")) == before


def test_a_search_loads_neither_dagster_nor_matplotlib_nor_opencv_nor_faiss(home: Path) -> None:
    own = home.parent / "photos/index/index0.png"
    check = (
        "import sys\nfrom landmark_dag.cli.main import main\n"
        f"try:\n    main(['search', {str(own)!r}, '--home', {str(home)!r}, '--json'])\n"
        "except SystemExit as left:\n    assert not left.code\n"
        "heavy = {'dagster', 'matplotlib', 'cv2', 'faiss'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["photos"][0]["results"][0]["index_id"] == "index0"


def test_the_gallery_shows_each_photo_with_its_three_lists(home: Path, tmp_path: Path) -> None:
    mine = write_landmark_photo(tmp_path / "mine.png", 1, 7)
    gallery = search_gallery(search_photos(home, [mine, mine]))
    (query,) = gallery.queries
    assert (query.query_id, query.landmark, list(query.lists)) == (
        str(mine),
        "amber_palace",
        ["knn", "sorted", "inserted"],
    )
    assert {("query", str(mine)), ("index", "index0")} <= set(gallery.thumbnails)


def test_the_command_prints_results_with_reasons_and_writes_a_page(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, page = write_landmark_photo(tmp_path / "mine.png", 1, 7), tmp_path / "found.html"
    assert status(mine, "--home", home, "--top", 2, "--html", page) == 0
    out = capsys.readouterr().out
    assert f"{mine}: amber_palace, vote confidence" in out and out.count("same landmark") == 2
    assert "1 query" in page.read_text()
    assert status(mine, "--home", home, "--top", 2, "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)["photos"]
    assert [result["rank"] for result in told["results"]] == [1, 2]


def test_a_home_trained_again_since_it_was_embedded_is_refused(home: Path, tmp_path: Path) -> None:
    other = shutil.copytree(home, tmp_path / "home")
    save_model(other / "store/models/m", build_network(NETWORK, seed=2), NETWORK, {}, [])
    with pytest.raises(InputError, match="two models cannot be mixed"):
        search_photos(other, [home.parent / "photos/index/index0.png"])


def test_a_search_uses_the_settings_of_the_home(home: Path, tmp_path: Path) -> None:
    own = home.parent / "photos/index/index3.png"
    other = shutil.copytree(home, tmp_path / "home", ignore=shutil.ignore_patterns("search"))
    before = search_photos(other, [own])
    changed_settings(other, {"insert.limit": 2, "votes.k": 1}).write()
    after = search_photos(other, [own])
    assert (before.lists["inserted"].height, after.lists["inserted"].height) == (8, 2)
    assert before.votes["confidence"][0] != after.votes["confidence"][0]
    changed_settings(other, {"embedding.scales": (0.25,)}).write()
    rescaled = search_photos(other, [own]).lists["knn"]["similarity"]
    assert rescaled.max() < after.lists["knn"]["similarity"].max()


@pytest.mark.parametrize(
    ("photo_text", "remove", "message"),
    [
        (None, None, "mine.jpg is no file"),
        ("not a photo", None, "mine.jpg cannot be used: not a photo of a known format"),
        ("", None, "mine.jpg cannot be used: the file is empty"),
        ("any", "settings.toml", "is not a home folder"),
        ("any", "store/index/embeddings/0000.arrow", "holds no index/embeddings yet"),
        ("any", "store/train/embeddings/0000.arrow", "holds no train/embeddings yet"),
        ("any", "store/trained_model.json", "holds no trained_model yet"),
        ("photo", "store/cleaned_dataset.parquet", "holds no cleaned_dataset yet"),
        ("photo", "store/index/votes/0000.parquet", "holds no index/votes yet"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(
    home: Path,
    tmp_path: Path,
    photo_text: str | None,
    remove: str | None,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mine, copied = tmp_path / "mine.jpg", shutil.copytree(home, tmp_path / "home")
    if photo_text == "photo":
        shutil.copy(home.parent / "photos/index/index0.png", mine)
    elif photo_text is not None:
        mine.write_text(photo_text)
    if remove:
        (copied / remove).unlink()
    assert status(mine, "--home", copied, "--json") == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")


def test_a_page_into_no_folder_is_refused_before_the_search(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(tmp_path / "mine.jpg", "--home", home, "--html", tmp_path / "no/found.html") == 2
    assert "does not exist; make it first" in capsys.readouterr().err
