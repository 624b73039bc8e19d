"""Settings dataclasses as Dagster configs."""

from dataclasses import dataclass
from typing import Annotated, Literal

import dagster as dg
import pydantic
import pytest

from assets.configs import config_of
from landmark_dag.settings.definition import AT_LEAST_1, Range, Settings, Unit


@dataclass(frozen=True)
class SomeSettings(Settings, section="some"):
    """Some settings."""

    scales: Annotated[tuple[float, ...], "scales to average", Range(above=0)] = (1.0, 2.0)
    mode: Annotated[Literal["fast", "exact"], "how"] = "exact"
    count: Annotated[int, "how many", AT_LEAST_1, Unit("photos")] = 3
    share: Annotated[float, "how much", Range(at_least=0, below=1)] = 0.5


def run(config: dict) -> SomeSettings:
    found: list[SomeSettings] = []

    class SettingsConfig(config_of(SomeSettings(count=5))):
        """Some settings."""

    @dg.asset
    def thing(config: SettingsConfig) -> None:
        found.append(config.settings())

    dg.materialize([thing], run_config={"ops": {"thing": {"config": config}}})
    return found[0]


def test_defaults_are_those_of_the_instance() -> None:
    assert run({}) == SomeSettings(count=5)


def test_values_of_a_run_come_back_as_the_dataclass() -> None:
    assert run({"scales": [0.5], "mode": "fast"}) == SomeSettings(scales=(0.5,), mode="fast", count=5)


def test_a_value_outside_a_literal_is_refused() -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        run({"mode": "sloppy"})


def test_descriptions_units_and_ranges_reach_the_launchpad() -> None:
    config = config_of(SomeSettings())
    schema = config.to_config_schema().as_field().config_type.fields
    assert schema["mode"].description == "how"
    assert schema["count"].description == "how many, photos (a whole number of 1 or more)"
    shown = config.model_json_schema()["properties"]
    assert shown["count"]["minimum"] == 1
    assert (shown["share"]["minimum"], shown["share"]["exclusiveMaximum"]) == (0, 1)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"count": 0}, "some.count is 0; it must be a whole number of 1 or more."),
        ({"share": 1.0}, "some.share is 1.0; it must be a number of at least 0 and below 1."),
        ({"scales": []}, "some.scales is []; it must be a list of at least one entry, each a number above 0."),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_sentence_of_its_definition(config: dict, sentence: str) -> None:
    with pytest.raises(pydantic.ValidationError) as refused:
        run(config)
    assert sentence in str(refused.value)
