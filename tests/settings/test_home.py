"""Profiles and homes."""

import json
from pathlib import Path

import pytest

from landmark_dag.errors import InputError
from landmark_dag.settings.home import (
    HomeSettings,
    read_home_settings,
    shared_location,
    store_folder,
    write_home_settings,
)
from landmark_dag.settings.profiles import PROFILES, profile_named
from landmark_dag.settings.reindex import ReindexSettings


def test_the_paper_is_the_profile_of_its_own_dataset() -> None:
    profile = profile_named("gldv2")
    assert (profile.keep_rule.min_inliers, profile.keep_rule.min_verified) == (30, 3)
    assert (profile.votes.k, profile.insert.threshold, profile.insert.limit) == (3, 0.6, 100)
    assert (profile.training.scale, profile.training.margin, profile.training.epochs) == (30, 0.3, 5)


def test_an_unknown_profile_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InputError, match="no profile 'mine'; choose one of demo, gldv2, photos"):
        profile_named("mine")


def test_backbone_and_weights_of_a_home_replace_the_profiles() -> None:
    network = HomeSettings(profile="photos", backbone="resnet50", weights="/w.pth").resolved_profile().network
    assert (network.backbone, network.weights) == ("resnet50", "/w.pth")
    assert HomeSettings(profile="photos").resolved_profile().network == PROFILES["photos"].network


def test_the_local_features_of_a_home_replace_the_profiles() -> None:
    profile = HomeSettings(profile="demo", local_features="deep").resolved_profile()
    assert (profile.local_features.kind, profile.local_features.long_side) == ("deep", 320)
    assert HomeSettings(profile="demo").resolved_profile().local_features.kind == "rootsift"


def test_a_home_remembers_its_settings(tmp_path: Path) -> None:
    assert read_home_settings(tmp_path) == HomeSettings()
    write_home_settings(tmp_path, HomeSettings(photos="/a", profile="demo"))
    assert read_home_settings(tmp_path) == HomeSettings(photos="/a", profile="demo")


def test_a_home_of_other_photos_is_refused_and_kept(tmp_path: Path) -> None:
    write_home_settings(tmp_path, HomeSettings(photos="/a"))
    with pytest.raises(InputError, match="holds the results of /a; choose another --home for /b"):
        write_home_settings(tmp_path, HomeSettings(photos="/b"))
    assert json.loads((tmp_path / "settings.json").read_text())["photos"] == "/a"


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(InputError, match=r"settings.json does not hold the settings of a home"):
        read_home_settings(tmp_path)


def test_what_people_wrote_into_the_settings_stays_when_a_run_writes_its_own(tmp_path: Path) -> None:
    written = {
        "photos": "/a",
        "dataset": {"accepted_md5": {"train/images_000.tar": "0"}, "shards": ["train/000-009"]},
        "reindex": {"cron": "30 4 * * *", "timezone": "Europe/Paris", "scheduled": True},
        "soundness": {"run_margin": 5.0},
    }
    (tmp_path / "settings.json").write_text(json.dumps(written))
    write_home_settings(tmp_path, HomeSettings(photos="/a", backbone="resnet50"))
    settings = read_home_settings(tmp_path)
    assert settings.backbone == "resnet50"
    assert settings.dataset == {"accepted_md5": {"train/images_000.tar": "0"}}
    assert settings.reindex == ReindexSettings("30 4 * * *", "Europe/Paris", True, False)
    assert (settings.soundness.run_margin, settings.soundness.step_margin) == (5.0, 1.0)


def test_a_time_zone_that_nobody_knows_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"reindex": {"timezone": "Provence"}}')
    with pytest.raises(InputError, match="no time zone 'Provence'; write one such as Europe/Paris"):
        read_home_settings(tmp_path)


def test_results_lie_in_the_home_or_where_its_settings_say(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    assert (store_folder(home), shared_location(home)) == (home / "store", None)
    write_home_settings(home, HomeSettings(photos="/a", store=str(elsewhere)))
    assert (store_folder(home), shared_location(home)) == (elsewhere, None)


def test_the_environment_says_where_results_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDMARK_STORE", str(tmp_path / "elsewhere"))
    assert store_folder(tmp_path / "home") == tmp_path / "elsewhere"


def test_another_machine_takes_the_settings_from_the_shared_location(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file://{tmp_path}/shared"
    (tmp_path / "shared").mkdir()
    write_home_settings(tmp_path / "one", HomeSettings(photos="/a", profile="demo", backbone="resnet50", store=url))
    monkeypatch.setenv("LANDMARK_STORE", url)
    read = read_home_settings(tmp_path / "other")
    assert read == HomeSettings(photos="/a", profile="demo", backbone="resnet50", store=url)
    assert store_folder(tmp_path / "other").is_relative_to(tmp_path / "other")
    write_home_settings(tmp_path / "one", HomeSettings(photos="/a", profile="gldv2"))
    assert read_home_settings(tmp_path / "a third").profile == "gldv2"


def test_a_shared_location_without_settings_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("LANDMARK_STORE", f"file://{tmp_path}/shared")
    with pytest.raises(InputError, match="shared holds no home's settings; put them there with"):
        read_home_settings(tmp_path / "other")


def test_a_shared_location_of_other_photos_is_refused_and_kept(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/shared"
    (tmp_path / "shared").mkdir()
    write_home_settings(tmp_path / "one", HomeSettings(photos="/a", store=url))
    with pytest.raises(InputError, match="shared holds the results of /a; choose another --store for /b"):
        write_home_settings(tmp_path / "other", HomeSettings(photos="/b", store=url))
    assert json.loads((tmp_path / "shared/settings.json").read_text())["photos"] == "/a"


def test_a_home_does_not_move_its_results_unasked(tmp_path: Path) -> None:
    write_home_settings(tmp_path, HomeSettings(photos="/a", store="/elsewhere"))
    with pytest.raises(InputError, match="keeps its results in /elsewhere; add --store /elsewhere, or choose"):
        write_home_settings(tmp_path, HomeSettings(photos="/a"))
