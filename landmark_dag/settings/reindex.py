"""Settings of when the index of a home is brought up to date by itself."""

from dataclasses import dataclass
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from landmark_dag.errors import InputError
from landmark_dag.settings.definition import Settings


@dataclass(frozen=True)
class ReindexSettings(Settings, section="reindex"):
    """When the index of a home is brought up to date by itself.

    `scheduled` and `on_arrival` hold until people switch schedule and sensor in the UI.
    """

    cron: Annotated[str, "when the schedule nightly_reindex starts: minute, hour, day, month, weekday"] = "0 3 * * *"
    timezone: Annotated[str, "time zone of the schedule"] = "UTC"
    scheduled: Annotated[bool, "the schedule nightly_reindex runs"] = False
    on_arrival: Annotated[bool, "the sensor reindex_on_arrival runs"] = False

    def __post_init__(self) -> None:
        """Refuse an unknown time zone."""
        super().__post_init__()
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise InputError(f"There is no time zone {self.timezone!r}; write one such as Europe/Paris.") from None
