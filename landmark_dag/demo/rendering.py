"""Rendering: writes photos of invented landmarks to a folder with the layout of a user's own photos."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np

from landmark_dag.demo.buildings import KINDS
from landmark_dag.demo.facades import style_of
from landmark_dag.demo.plan import (
    PlannedPhoto,
    generator,
    landmark_name,
    plan_photos,
)
from landmark_dag.demo.scenes import (
    Landmark,
    exterior_photo,
    interior_photo,
    landscape_photo,
    make_landmark,
)
from landmark_dag.demo.sprites import Props, make_props
from landmark_dag.errors import InputError
from landmark_dag.settings.demo import RenderingSettings
from landmark_dag.storage.atomic import replacing

_JPEG_QUALITY = 85
_SAME_STYLE = 0.6
"""Share of the distractor buildings that have the style of a labelled landmark."""


def render_photos(root: Path, settings: RenderingSettings, progress: Callable[[int, int], None] | None = None) -> None:
    """Write a rendered photo set under `root`, which must not exist or be empty.

    Written are `train/<landmark>/<id>.jpg`, `index/<id>.jpg`, `query/<id>.jpg`,
    `ground_truth/retrieval_solution.csv`, `ground_truth/recognition_solution.csv` (its `landmarks` are folder names),
    and `train_noise.csv`, which lists the wrong labels, only for scores of cleaning. The same settings give the same
    bytes on one machine. `progress` is called with the number of photos written and the number of all photos. Raises
    InputError for settings that cannot be met, and for a `root` that is not empty.
    """
    _check_empty(root)
    planned = plan_photos(settings)
    props = make_props(generator(settings, "props"))
    written = 0
    for place in sorted({photo.place for photo in planned}, key=lambda place: (place is None, place)):
        landmark = None if place is None else _landmark(settings, place)
        for photo in (photo for photo in planned if photo.place == place):
            _write_photo(root / _path(photo), _shot(settings, photo, landmark, props))
            written += 1
            if progress:
                progress(written, len(planned))
    _write_ground_truth(root / "ground_truth", planned, settings)
    wrong = [photo for photo in planned if photo.folder not in (None, photo.place)]
    _write_csv(root / "train_noise.csv", ("id", "landmark"), ((p.image_id, _path(p).parent.name) for p in wrong))


def _check_empty(root: Path) -> None:
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} is not an empty folder; name one that does not exist yet.")


def _landmark(settings: RenderingSettings, place: int) -> Landmark:
    """Return a labelled landmark, or a distractor, which may have the style of a labelled one."""
    kinds, rng = list(KINDS), generator(settings, "place", place)
    if place < settings.landmarks:
        return make_landmark(rng, kinds[place % len(kinds)], style_of(rng))
    kind = kinds[int(rng.integers(len(kinds)))]
    borrowed = generator(settings, "place", int(rng.integers(settings.landmarks)))
    return make_landmark(rng, kind, style_of(borrowed if rng.random() < _SAME_STYLE else rng))


def _shot(settings: RenderingSettings, photo: PlannedPhoto, landmark: Landmark | None, props: Props) -> np.ndarray:
    """Return the photo's pixels, uint8 (h, w, 3) RGB."""
    rng = generator(settings, photo.split, photo.image_id)
    if landmark is None:
        return landscape_photo(rng, props, settings.long_side)
    if photo.view == "interior":
        return interior_photo(rng, landmark, props, settings.long_side)
    return exterior_photo(rng, landmark, props, settings.long_side, photo.view == "night")


def _path(photo: PlannedPhoto) -> Path:
    folder = Path(photo.split) if photo.folder is None else Path(photo.split) / landmark_name(photo.folder)
    return folder / f"{photo.image_id}.jpg"


def _write_photo(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    path.write_bytes(encoded[1].tobytes())


def _write_ground_truth(folder: Path, planned: list[PlannedPhoto], settings: RenderingSettings) -> None:
    """Write both solutions. A third of the queries are Public; queries without a landmark are Ignored in retrieval."""
    labelled = range(settings.landmarks)
    relevant: dict[int | None, list[str]] = {}
    for photo in planned:
        if photo.split == "index":
            relevant.setdefault(photo.place, []).append(photo.image_id)
    retrieval, recognition = [], []
    for query in sorted((photo for photo in planned if photo.split == "query"), key=lambda photo: photo.image_id):
        usage = "Public" if int(query.image_id, 16) % 3 == 0 else "Private"
        known = query.place is not None and query.place in labelled
        images = " ".join(relevant[query.place]) if known else "None"
        retrieval.append((query.image_id, images, usage if known else "Ignored"))
        landmark = landmark_name(query.place) if known and query.place is not None else ""
        recognition.append((query.image_id, landmark, usage))
    _write_csv(folder / "retrieval_solution.csv", ("id", "images", "Usage"), retrieval)
    _write_csv(folder / "recognition_solution.csv", ("id", "landmarks", "Usage"), recognition)


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
