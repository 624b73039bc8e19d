"""Settings of when the index of a home is brought up to date by itself."""

import re
from dataclasses import dataclass
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from landmark_dag.errors import InputError
from landmark_dag.settings.definition import Settings

_CRON_RANGES = (0, 59), (0, 23), (1, 31), (1, 12), (0, 7)
_CRON_NAMES = {
    *("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    *("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
}


@dataclass(frozen=True)
class ReindexSettings(Settings, section="reindex"):
    """When the index of a home is brought up to date by itself.

    `scheduled` and `on_arrival` hold until somebody switches schedule and sensor in the UI.
    """

    cron: Annotated[str, "when the schedule nightly_reindex starts: minute, hour, day, month, weekday"] = "0 3 * * *"
    timezone: Annotated[str, "time zone of the schedule"] = "UTC"
    scheduled: Annotated[bool, "the schedule nightly_reindex runs"] = False
    on_arrival: Annotated[bool, "the sensor reindex_on_arrival runs"] = False

    def __post_init__(self) -> None:
        """Refuse what is no cron line, and an unknown time zone."""
        super().__post_init__()
        fields = self.cron.split()
        if len(fields) != len(_CRON_RANGES) or not all(map(_is_cron_field, fields, _CRON_RANGES)):
            raise InputError(f"reindex.cron: {self.cron!r} is no cron line; write one such as '0 3 * * *'.")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise InputError(
                f"reindex.timezone: there is no time zone {self.timezone!r}; write one such as Europe/Paris."
            ) from None


def _is_cron_field(field: str, bounds: tuple[int, int]) -> bool:
    """Whether `field` is a list of `*`, numbers within `bounds`, names, and ranges of them, each with a step or not."""
    for part in field.lower().split(","):
        match = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/[1-9]\d*)?", part)
        if match is None:
            return False
        for end in filter(None, match.groups()):
            in_range = end.isdecimal() and bounds[0] <= int(end) <= bounds[1]
            if not in_range and end not in _CRON_NAMES:
                return False
    return True
