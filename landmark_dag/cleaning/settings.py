"""Settings of the cleaning stage; importing them loads nothing heavy."""

from dataclasses import dataclass
from typing import Annotated, Literal

from landmark_dag.determining import Only
from landmark_dag.errors import InputError


@dataclass(frozen=True)
class LocalFeatureSettings:
    """Which local features are taken from each train photo.

    RootSIFT needs no weights. Deep local features are read from an intermediate map of the backbone at several
    scales, seven by default as in DELF (Noh et al., Large-scale image retrieval with attentive deep local
    features, ICCV 2017), and whitened to 40 numbers as there, or to 128.
    """

    kind: Annotated[Literal["rootsift", "deep"], "RootSIFT, or features of the backbone's intermediate map"] = (
        "rootsift"
    )
    long_side: Annotated[int, "pixels of the longer side to which a photo is shrunk (never enlarged)"] = 480
    max_keypoints: Annotated[int, "strongest keypoints kept for each photo"] = 1000
    scales: Annotated[tuple[float, ...], "deep: sizes of the photo, times long_side"] = (
        0.25,
        0.35,
        0.5,
        0.71,
        1.0,
        1.41,
        2.0,
    )
    dimensions: Annotated[int, "deep: numbers of a whitened descriptor"] = 40
    sampled_photos: Annotated[int, "deep: train photos that the whitening is fitted to"] = 2000
    batch_size: Annotated[int, "deep: photos given to the network at once", Only.SPEED] = 8

    def __post_init__(self) -> None:
        """Refuse sizes that leave nothing to match."""
        numbers = {
            name: getattr(self, name)
            for name in ("long_side", "max_keypoints", "dimensions", "sampled_photos", "batch_size")
        }
        small = next((name for name, value in numbers.items() if value < 1), None)
        if small:
            raise InputError(f"No local features can be taken with {small} {numbers[small]}; it must be 1 or more.")
        if not self.scales or min(self.scales) <= 0:
            raise InputError(f"No local features can be taken at scales {self.scales}; give some, each above 0.")


@dataclass(frozen=True)
class CandidateSettings:
    """Which pairs of photos are verified."""

    neighbours: Annotated[int, "nearest photos of the same landmark taken for each photo"] = 100
    among_nearest: Annotated[
        int, "if not 0, only photos among a photo's so many nearest of all landmarks (paper: 1000)"
    ] = 0

    def __post_init__(self) -> None:
        """Refuse a number of neighbours that leaves no pair."""
        if self.neighbours < 1 or self.among_nearest < 0:
            raise InputError(
                f"No pairs can be picked with neighbours {self.neighbours} and among_nearest {self.among_nearest}; "
                "give at least 1 neighbour, and 0 or more for among_nearest."
            )


@dataclass(frozen=True)
class VerificationSettings:
    """How the matches of two photos are verified geometrically.

    The paper allows 20 pixels at the photos' full size; of a photo 1,200 pixels wide that is 8 at 480.
    """

    residual: Annotated[float, "largest distance of an inlier from the affine map, pixels"] = 8.0
    hypotheses: Annotated[int, "samples of three matches tried for each pair"] = 4096
    pairs_per_batch: Annotated[int, "pairs compared at once; bounds memory (about 8 MB a pair)", Only.SPEED] = 64

    def __post_init__(self) -> None:
        """Refuse values that no pair could be verified with."""
        if not (self.residual > 0 and self.hypotheses > 0 and self.pairs_per_batch > 0):
            raise InputError(
                f"Verification cannot work with residual {self.residual}, hypotheses {self.hypotheses} and "
                f"pairs_per_batch {self.pairs_per_batch}; each must be above 0."
            )


@dataclass(frozen=True)
class KeepRule:
    """Which train photos stay (paper, section 3.1: 30 inliers, 3 photos)."""

    min_inliers: Annotated[int, "inliers from which two photos count as verified"] = 30
    min_verified: Annotated[int, "verified photos of the same landmark that a photo needs"] = 3
    min_photos: Annotated[int, "photos that a landmark needs to stay"] = 2


SMALL_FOLDER_RULE = KeepRule(min_inliers=7, min_verified=1)
"""The rule for folders of tens of photos a landmark, where few photos share a viewpoint with three others.

Seven is the fewest inliers that chance does not give. Of 250 matches between unrelated photos of 480 x 360
pixels, one lies within 8 pixels of a given map with probability 1.2e-3, and its keypoint turns within 30 degrees
and grows within an octave of it with about 1/12. So C(250, k) sets of k matches, spanned by any of their C(k, 3)
triples, agree by chance 1.2e-3^(k-3) x 12^-k x C(250, k) C(k, 3) times a pair: 0.4 at k = 5, 3e-3 at 6, 2e-5 at
7. A photo of a wrong label meets up to 100 photos, so it stays by chance less than once in a hundred.
"""
