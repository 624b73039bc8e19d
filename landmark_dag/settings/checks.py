"""Settings of the data checks: where they warn and where they fail."""

from dataclasses import dataclass
from typing import Annotated

from landmark_dag.settings.definition import SHARE, Range, Settings, Unit

_POINTS = Range(at_least=0, at_most=100)


@dataclass(frozen=True)
class DataCheckSettings(Settings, section="checks"):
    """Where a data check warns or fails."""

    unreadable_warning: Annotated[float, "share of unreadable photos above which a split's check warns", SHARE] = 0.01
    unreadable_failure: Annotated[float, "share of unreadable photos above which a split's check fails", SHARE] = 0.2
    smallest_recall: Annotated[float, "share of the exact neighbours that an approximate search must find", SHARE] = 0.9
    step_margin: Annotated[
        float, "what a step may lose against the step before it", _POINTS, Unit("points of mAP@100")
    ] = 1.0
    run_margin: Annotated[
        float, "what a step may lose against the last good run", _POINTS, Unit("points of mAP@100")
    ] = 1.0
