"""Settings dataclasses as Dagster configs, which open with the settings of the home."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import dagster as dg
import polars as pl
import pydantic
import pytest

from assets.configs import config_of
from landmark_dag.definitions import defs
from landmark_dag.settings.definition import AT_LEAST_1, Range, Settings, Unit
from landmark_dag.settings.home import HomeSettings, changed_settings, write_home_settings
from landmark_dag.storage.schemas import RANKING, VOTES
from resources.store import home_store


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
    assert schema["mode"].description == "how; fast or exact"
    assert schema["count"].description == "how many, photos; a whole number of 1 or more"
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


def launchpad(job: str, op: str) -> dict:
    """The config that the Launchpad opens with for an op of a job of this process's home."""
    schema = defs().resolve_job_def(job).run_config_schema.run_config_schema_type.fields["ops"].config_type.fields
    return schema[op].config_type.fields["config"].default_value


def home_with(home: Path, monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    """Make `home`, with settings of the section insert, the home of this process."""
    write_home_settings(home, HomeSettings(profile="demo", values={f"insert.{key}": v for key, v in values.items()}))
    monkeypatch.setenv("LANDMARK_HOME", str(home))


def test_the_launchpad_opens_with_the_settings_of_the_home_and_not_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = {}
    for home, limit in (("one", 7), ("other", 100), ("third", 5)):
        home_with(tmp_path / home, monkeypatch, limit=limit)
        opened[home] = launchpad("query", "inserted_ranking")["limit"]
    assert opened == {"one": 7, "other": 100, "third": 5}
    changed_settings(tmp_path / "third", {"local_features.kind": "deep"}).write()
    assert launchpad("train", "train__local_features")["features"]["kind"] == "deep"
    assert defs().resolve_asset_graph().get(dg.AssetKey(["train", "local_features"])).pools == {"gpu"}


def test_an_asset_that_runs_without_config_uses_the_settings_of_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {}
    for name, limit in (("one", 2), ("other", 3)):
        home_with(tmp_path / name, monkeypatch, limit=limit)
        store = home_store(tmp_path / name)
        ids = [f"i{number}" for number in range(4)]
        lists = {"query_id": "q", "rank": [1, 2, 3, 4], "index_id": ids, "similarity": 0.5, "reason": "retrieved"}
        store.write("sorted_ranking", RANKING, pl.DataFrame(lists, schema_overrides=RANKING.schema), "v", "0000")
        for split, photos in (("query", ["q"]), ("index", ids)):
            votes = {"image_id": photos, "landmark_id": 1, "confidence": 0.5}
            store.write(f"{split}/votes", VOTES, pl.DataFrame(votes, schema_overrides=VOTES.schema), "v", "0000")
        with dg.DagsterInstance.ephemeral() as instance:
            for split in ("query", "index"):
                instance.add_dynamic_partitions(f"{split}_shards", ["0000"])
            ranking = dg.AssetSelection.assets("inserted_ranking").without_checks()
            job = dg.define_asset_job("ranked", selection=ranking)
            definitions = dg.Definitions.merge(defs(), dg.Definitions(jobs=[job]))
            definitions.resolve_job_def("ranked").execute_in_process(instance=instance, partition_key="0000")
        rows[name] = store.read("inserted_ranking", RANKING, "0000").height
    assert rows == {"one": 2, "other": 3}
