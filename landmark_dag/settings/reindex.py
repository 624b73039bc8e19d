"""Settings of when the index of a home is brought up to date by itself."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from landmark_dag.errors import InputError


@dataclass(frozen=True)
class ReindexSettings:
    """When the index of a home is brought up to date by itself.

    `cron` and `timezone` are those of the schedule; `scheduled` and `on_arrival` tell whether schedule and sensor
    run until people switch them in the UI. Raises InputError for a time zone that this machine does not know.
    """

    cron: str = "0 3 * * *"
    timezone: str = "UTC"
    scheduled: bool = False
    on_arrival: bool = False

    def __post_init__(self) -> None:
        """Refuse an unknown time zone."""
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise InputError(f"There is no time zone {self.timezone!r}; write one such as Europe/Paris.") from None
