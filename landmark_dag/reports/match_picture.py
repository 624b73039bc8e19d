"""Two photos matched for people to look at: the inliers, and a picture of both with lines between them."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from landmark_dag.errors import InputError
from landmark_dag.matching.features import gather
from landmark_dag.matching.rootsift import rootsift
from landmark_dag.matching.verification import inlier_places
from landmark_dag.photos.reading import read_photo
from landmark_dag.settings.matching import LocalFeatureSettings, VerificationSettings

_GAP = 8
_BACKGROUND = (255, 255, 255)
_LINE = (0, 170, 90)


@dataclass(frozen=True, eq=False)
class MatchResult:
    """Two photos, uint8 RGB as they were matched, and their inliers: places (k, 2) in pixels of each.

    `affine` (2, 3) takes pixels of photo a to photo b; it is zero without inliers.
    """

    photo_a: NDArray[np.uint8]
    photo_b: NDArray[np.uint8]
    places_a: NDArray[np.float32]
    places_b: NDArray[np.float32]
    affine: NDArray[np.float32]

    @property
    def inliers(self) -> int:
        """How many matches agree with one affine map."""
        return len(self.places_a)


def match_photos(
    path_a: Path,
    path_b: Path,
    features: LocalFeatureSettings | None = None,
    verification: VerificationSettings | None = None,
) -> MatchResult:
    """Return the inliers between two photo files, as the pipeline would count them for images of these names.

    The settings default to the stage's own. Raises InputError, naming the file, for one that is missing or no
    photo.
    """
    features, verification = features or LocalFeatureSettings(), verification or VerificationSettings()
    photo_a, photo_b = _read(path_a, features.long_side), _read(path_b, features.long_side)
    lookup = gather([path_a.stem, path_b.stem], [rootsift(photo_a, features), rootsift(photo_b, features)])
    places_a, places_b, affine = inlier_places(lookup, (0, 1), verification)
    return MatchResult(photo_a, photo_b, places_a, places_b, affine)


def match_picture(result: MatchResult) -> bytes:
    """Return a PNG of both photos side by side, a line between the two places of every inlier."""
    (height_a, width_a), (height_b, width_b) = result.photo_a.shape[:2], result.photo_b.shape[:2]
    shift = np.array([width_a + _GAP, 0])
    picture = Image.new("RGB", (width_a + _GAP + width_b, max(height_a, height_b)), _BACKGROUND)
    picture.paste(Image.fromarray(result.photo_a), (0, 0))
    picture.paste(Image.fromarray(result.photo_b), tuple(shift.tolist()))
    draw = ImageDraw.Draw(picture)
    for start, end in zip(result.places_a, result.places_b + shift, strict=True):
        draw.line([*start.tolist(), *end.tolist()], fill=_LINE)
        for x, y in (start, end):
            draw.ellipse([x - 2, y - 2, x + 2, y + 2], outline=_LINE)
    data = io.BytesIO()
    picture.save(data, format="PNG")
    return data.getvalue()


def _read(path: Path, long_side: int) -> NDArray[np.uint8]:
    """Return the photo of a file, shrunk; raises InputError, naming it, when it is none."""
    if not path.is_file():
        raise InputError(f"{path} is no file; name a photo.")
    return read_photo(path, 0, path.stat().st_size, long_side=long_side)
