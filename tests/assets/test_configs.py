"""Settings dataclasses as Dagster configs."""

from dataclasses import dataclass
from typing import Annotated, Literal

import dagster as dg
import pytest

from assets.configs import config_of


@dataclass(frozen=True)
class Settings:
    """Some settings."""

    scales: Annotated[tuple[float, ...], "scales to average"] = (1.0, 2.0)
    mode: Annotated[Literal["fast", "exact"], "how"] = "exact"
    count: int = 3


def run(config: dict) -> Settings:
    found: list[Settings] = []

    class SettingsConfig(config_of(Settings(count=5))):
        """Some settings."""

    @dg.asset
    def thing(config: SettingsConfig) -> None:
        found.append(config.settings())

    dg.materialize([thing], run_config={"ops": {"thing": {"config": config}}})
    return found[0]


def test_defaults_are_those_of_the_instance() -> None:
    assert run({}) == Settings(count=5)


def test_values_of_a_run_come_back_as_the_dataclass() -> None:
    assert run({"scales": [0.5], "mode": "fast"}) == Settings(scales=(0.5,), mode="fast", count=5)


def test_a_value_outside_a_literal_is_refused() -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        run({"mode": "sloppy"})


def test_descriptions_reach_the_launchpad() -> None:
    schema = config_of(Settings()).to_config_schema().as_field().config_type.fields
    assert schema["scales"].description == "scales to average"
