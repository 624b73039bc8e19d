"""Settings of the cleaning stage."""

from dataclasses import dataclass
from typing import Annotated

from landmark_dag.settings.definition import AT_LEAST_0, AT_LEAST_1, Settings


@dataclass(frozen=True)
class CandidateSettings(Settings, section="candidates"):
    """Which pairs of photos are verified."""

    neighbours: Annotated[int, "nearest photos of the same landmark taken for each photo", AT_LEAST_1] = 100
    among_nearest: Annotated[
        int, "if not 0, only photos among a photo's so many nearest of all landmarks (paper: 1000)", AT_LEAST_0
    ] = 0


@dataclass(frozen=True)
class CleanedDatasetSettings(Settings, section="cleaned_dataset"):
    """Where the cleaned dataset comes from."""

    published: Annotated[bool, "take the dataset's published train_clean.csv in place of cleaning the labels here"] = (
        False
    )


@dataclass(frozen=True)
class KeepRule(Settings, section="keep_rule"):
    """Which train photos stay (paper, section 3.1: 30 inliers, 3 photos)."""

    min_inliers: Annotated[int, "inliers that make two photos verified", AT_LEAST_1] = 30
    min_verified: Annotated[int, "verified photos of the same landmark that a photo needs", AT_LEAST_0] = 3
    min_photos: Annotated[int, "photos that a landmark needs to stay", AT_LEAST_0] = 2


SMALL_FOLDER_RULE = KeepRule(min_inliers=7, min_verified=1)
"""The rule for folders of tens of photos a landmark, where few photos share a viewpoint with three others.

Seven is the fewest inliers that chance does not give. Of 250 matches between unrelated photos of 480 x 360
pixels, one lies within 8 pixels of a given map with probability 1.2e-3, and its keypoint turns within 30 degrees
and grows within an octave of it with about 1/12. So C(250, k) sets of k matches, spanned by any of their C(k, 3)
triples, agree by chance 1.2e-3^(k-3) x 12^-k x C(250, k) C(k, 3) times a pair: 0.4 at k = 5, 3e-3 at 6, 2e-5 at
7. A photo of a wrong label meets up to 100 photos, so it stays by chance less than once in a hundred.
"""
