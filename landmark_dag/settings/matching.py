"""Settings of local features and of verifying pairs of photos."""

from dataclasses import dataclass
from typing import Annotated, Literal

from landmark_dag.settings.definition import ABOVE_0, AT_LEAST_1, Only, Settings, Unit


@dataclass(frozen=True)
class LocalFeatureSettings(Settings, section="local_features"):
    """Which local features are taken from each train photo.

    RootSIFT needs no weights. Deep local features are read from an intermediate map of the backbone at several
    scales, seven by default as in DELF (Noh et al., Large-scale image retrieval with attentive deep local
    features, ICCV 2017), and whitened to 40 numbers as there, or to 128.
    """

    kind: Annotated[Literal["rootsift", "deep"], "RootSIFT, or features of the backbone's intermediate map"] = (
        "rootsift"
    )
    long_side: Annotated[int, "longer side to which a photo is shrunk (never enlarged)", AT_LEAST_1, Unit("pixels")] = (
        480
    )
    max_keypoints: Annotated[int, "strongest keypoints kept for each photo", AT_LEAST_1] = 1000
    scales: Annotated[tuple[float, ...], "deep: sizes of the photo, times long_side", ABOVE_0] = (
        0.25,
        0.35,
        0.5,
        0.71,
        1.0,
        1.41,
        2.0,
    )
    dimensions: Annotated[int, "deep: numbers of a whitened descriptor", AT_LEAST_1] = 40
    sampled_photos: Annotated[int, "deep: train photos that the whitening is fitted to", AT_LEAST_1] = 2000
    batch_size: Annotated[int, "deep: photos given to the network at once", AT_LEAST_1, Only.SPEED] = 8


@dataclass(frozen=True)
class VerificationSettings(Settings, section="verification"):
    """How the matches of two photos are verified geometrically.

    The paper allows 20 pixels at the photos' full size; of a photo 1,200 pixels wide that is 8 at 480.
    """

    residual: Annotated[float, "largest distance of an inlier from the affine map", ABOVE_0, Unit("pixels")] = 8.0
    hypotheses: Annotated[int, "samples of three matches tried for each pair", AT_LEAST_1] = 4096
    pairs_per_batch: Annotated[
        int, "pairs compared at once; bounds memory (about 8 MB a pair)", AT_LEAST_1, Only.SPEED
    ] = 64
