"""Settings of the rendered photo set; importing them loads nothing heavy."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class RenderingSettings:
    """How many photos of how many invented landmarks are rendered, and what makes them hard."""

    landmarks: Annotated[int, "labelled landmarks, from 1 to 96"] = 22
    train_photos: Annotated[int, "train photos, wrong labels included"] = 560
    index_photos: Annotated[int, "index photos, distractors included"] = 600
    query_photos: Annotated[int, "query photos, distractors included"] = 120
    interior_share: Annotated[float, "share of a landmark's photos taken inside it"] = 0.25
    night_share: Annotated[float, "share of the exterior photos taken at night"] = 0.22
    wrong_label_share: Annotated[float, "share of the train photos that show something else"] = 0.09
    distractor_share: Annotated[float, "share of the index photos that show no labelled landmark"] = 0.35
    ignored_query_share: Annotated[float, "share of the query photos that show no labelled landmark"] = 0.05
    long_side: Annotated[int, "pixels of a photo's longer side"] = 320
    seed: Annotated[int, "seed of everything: the same seed gives the same bytes"] = 2020
