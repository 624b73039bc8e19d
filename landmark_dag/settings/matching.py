"""Settings of local features and of verifying pairs of photos."""

from dataclasses import dataclass
from typing import Annotated, Literal

from landmark_dag.errors import InputError
from landmark_dag.settings.hashed import Only


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
