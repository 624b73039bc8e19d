"""Rendered photo sets: their files, ground truth, wrong labels, and that photos match as real ones do."""

import csv
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from landmark_dag.demo.plan import MOST_LANDMARKS, PlannedPhoto, landmark_name, plan_photos
from landmark_dag.demo.rendering import render_photos
from landmark_dag.errors import InputError
from landmark_dag.photos.reading import read_photo
from landmark_dag.settings.demo import RenderingSettings

SMALL = RenderingSettings(
    landmarks=3, train_photos=30, index_photos=30, query_photos=8, wrong_label_share=0.1, ignored_query_share=0.25
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "rendered"
    render_photos(folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def planned() -> dict[str, PlannedPhoto]:
    return {photo.image_id: photo for photo in plan_photos(SMALL)}


def files_below(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read(path: Path) -> np.ndarray:
    return read_photo(path, 0, path.stat().st_size)


def inliers(first: np.ndarray, second: np.ndarray) -> int:
    """RootSIFT, mutual nearest neighbours, robust affine map."""
    described = []
    for photo in (first, second):
        keypoints, descriptors = cv2.SIFT_create(1000).detectAndCompute(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), None)
        points = np.array([keypoint.pt for keypoint in keypoints], np.float32)
        described.append((points, np.sqrt(descriptors / descriptors.sum(axis=1, keepdims=True))))
    (from_points, a), (to_points, b) = described
    similarity = a @ b.T
    there, back = similarity.argmax(axis=1), similarity.argmax(axis=0)
    mutual = np.flatnonzero(back[there] == np.arange(len(a)))
    if len(mutual) < 3:
        return 0
    found = cv2.estimateAffine2D(
        from_points[mutual], to_points[there[mutual]], method=cv2.USAC_MAGSAC, ransacReprojThreshold=8.0
    )
    return int(found[1].sum())


def test_the_folders_hold_as_many_photos_as_the_settings_say(root: Path) -> None:
    assert sorted(path.name for path in root.iterdir()) == [
        "ground_truth", "index", "query", "train", "train_noise.csv",
    ]  # fmt: skip
    assert sorted(path.name for path in (root / "train").iterdir()) == sorted(landmark_name(i) for i in range(3))
    assert len(list(root.glob("train/*/*.jpg"))) == 30
    assert len(list(root.glob("index/*.jpg"))) == 30
    assert len(list(root.glob("query/*.jpg"))) == 8


def test_every_photo_has_an_id_of_16_hexadecimal_digits_and_the_long_side_of_the_settings(root: Path) -> None:
    for path in root.rglob("*.jpg"):
        assert len(path.stem) == 16 and set(path.stem) <= set("0123456789abcdef")
        assert max(read(path).shape[:2]) == SMALL.long_side


def test_the_same_settings_give_the_same_bytes(root: Path, tmp_path: Path) -> None:
    render_photos(tmp_path / "again", SMALL)
    assert files_below(tmp_path / "again") == files_below(root)


def test_another_seed_shares_no_photo(root: Path) -> None:
    other = plan_photos(RenderingSettings(seed=SMALL.seed + 1, landmarks=3, train_photos=30))
    assert not {photo.image_id for photo in other} & {path.stem for path in root.rglob("*.jpg")}


def test_every_landmark_is_photographed_inside_and_outside_in_train_and_index(planned: dict[str, PlannedPhoto]) -> None:
    for split in ("train", "index"):
        views = {(photo.place, photo.view) for photo in planned.values() if photo.split == split}
        assert {(place, view) for place in range(3) for view in ("day", "interior")} <= views


def test_the_noise_table_names_exactly_the_train_photos_that_show_something_else(
    root: Path, planned: dict[str, PlannedPhoto]
) -> None:
    noise = rows_of(root / "train_noise.csv")
    assert len(noise) == 3
    for row in noise:
        assert (root / "train" / row["landmark"] / f"{row['id']}.jpg").exists()
        shown = planned[row["id"]].place
        assert shown is None or landmark_name(shown) != row["landmark"]
    wrong = {row["id"] for row in noise}
    for path in root.glob("train/*/*.jpg"):
        place = planned[path.stem].place
        assert path.stem in wrong or (place is not None and landmark_name(place) == path.parent.name)


def test_relevant_are_all_index_photos_of_the_querys_landmark_and_no_distractor(
    root: Path, planned: dict[str, PlannedPhoto]
) -> None:
    solution = {row["id"]: row for row in rows_of(root / "ground_truth" / "retrieval_solution.csv")}
    assert set(solution) == {path.stem for path in (root / "query").iterdir()}
    for query_id, row in solution.items():
        if row["Usage"] == "Ignored":
            assert row["images"] == "None"
            continue
        place = planned[query_id].place
        expected = {photo.image_id for photo in planned.values() if photo.split == "index" and photo.place == place}
        assert set(row["images"].split()) == expected and expected
    assert [row["Usage"] for row in solution.values()].count("Ignored") == 2


def test_the_recognition_solution_names_the_folder_of_each_query_or_nothing(
    root: Path, planned: dict[str, PlannedPhoto]
) -> None:
    for row in rows_of(root / "ground_truth" / "recognition_solution.csv"):
        place = planned[row["id"]].place
        assert row["landmarks"] == (landmark_name(place) if place is not None and place < 3 else "")
        assert row["Usage"] in ("Public", "Private")


def test_photos_of_one_facade_match_geometrically_and_wrong_labels_do_not(
    root: Path, planned: dict[str, PlannedPhoto]
) -> None:
    right, wrong = [], []
    for place in range(3):
        paths = sorted((root / "train" / landmark_name(place)).iterdir())
        shown = {path: planned[path.stem] for path in paths}
        facades = [path for path in paths if shown[path].view == "day" and shown[path].place == place][:4]
        others = [path for path in paths if shown[path].place != place]
        right += [inliers(read(a), read(b)) for a, b in combinations(facades, 2)]
        wrong += [inliers(read(a), read(b)) for a in facades for b in others]
    assert np.median(right) >= 30
    assert np.mean(np.array(right) >= 15) >= 0.7
    assert np.median(wrong) < 10 and max(wrong) < 30


def test_inside_and_outside_of_a_landmark_do_not_match(root: Path, planned: dict[str, PlannedPhoto]) -> None:
    for place in range(3):
        folder = root / "train" / landmark_name(place)
        of_view = {
            view: [path for path in sorted(folder.iterdir()) if planned[path.stem].view == view]
            for view in ("day", "interior")
        }
        assert max(inliers(read(a), read(b)) for a in of_view["day"][:2] for b in of_view["interior"][:2]) < 30


def test_progress_counts_up_to_all_photos(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    few = RenderingSettings(landmarks=1, train_photos=2, index_photos=2, query_photos=1, long_side=64)
    render_photos(tmp_path / "few", few, lambda done, total: told.append((done, total)))
    assert told == [(done, 5) for done in range(1, 6)]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"landmarks": 0}, "landmarks is 0"),
        ({"landmarks": MOST_LANDMARKS + 1}, f"landmarks is {MOST_LANDMARKS + 1}"),
        ({"query_photos": 3}, "query_photos is 3"),
        ({"night_share": 1.5}, "night_share is 1.5"),
        ({"long_side": 10}, "long_side is 10"),
    ],
)
def test_settings_that_cannot_be_met_are_refused_by_name(settings: dict[str, int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        RenderingSettings(**settings)


def test_a_folder_that_is_not_empty_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not an empty folder"):
        render_photos(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
