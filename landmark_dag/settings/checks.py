"""From where on checks warn or fail; importing it loads nothing heavy."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class DataCheckSettings:
    """From where on a check warns or fails."""

    unreadable_warning: Annotated[float, "share of unreadable photos from which a split's check warns"] = 0.01
    unreadable_failure: Annotated[float, "share of unreadable photos from which a split's check fails"] = 0.2
    smallest_recall: Annotated[float, "share of the exact neighbours that an approximate search must find"] = 0.9
    step_margin: Annotated[float, "points of mAP@100 that a step may lose against the step before it"] = 1.0
    run_margin: Annotated[float, "points of mAP@100 that a step may lose against the last good run"] = 1.0
