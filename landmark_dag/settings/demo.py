"""Settings of the rendered photo set."""

from dataclasses import dataclass
from typing import Annotated

from landmark_dag.errors import InputError
from landmark_dag.settings.definition import AT_LEAST_1, SEED, SHARE, Range, Settings, Unit


@dataclass(frozen=True)
class RenderingSettings(Settings, section="demo"):
    """How many photos of how many invented landmarks are rendered, and what makes them hard."""

    landmarks: Annotated[int, "labelled landmarks", Range(at_least=1, at_most=96)] = 22
    train_photos: Annotated[int, "train photos, wrong labels included", AT_LEAST_1] = 560
    index_photos: Annotated[int, "index photos, distractors included", AT_LEAST_1] = 600
    query_photos: Annotated[int, "query photos, distractors included", AT_LEAST_1] = 120
    interior_share: Annotated[float, "share of a landmark's photos taken inside it", SHARE] = 0.25
    night_share: Annotated[float, "share of the exterior photos taken at night", SHARE] = 0.22
    wrong_label_share: Annotated[float, "share of the train photos that show something else", SHARE] = 0.09
    distractor_share: Annotated[float, "share of the index photos that show no labelled landmark", SHARE] = 0.35
    ignored_query_share: Annotated[float, "share of the query photos that show no labelled landmark", SHARE] = 0.05
    long_side: Annotated[int, "longer side of a photo", Range(at_least=64), Unit("pixels")] = 320
    seed: Annotated[int, "seed of everything: the same seed gives the same bytes", SEED] = 2020

    def __post_init__(self) -> None:
        """Refuse fewer photos of a split than there are landmarks."""
        super().__post_init__()
        for name in ("train_photos", "index_photos", "query_photos"):
            count = getattr(self, name)
            if count < self.landmarks:
                raise InputError(f"demo.{name} is {count}; give at least one for each of {self.landmarks} landmarks.")
