"""The settings of a home: its file, the profile under it, the file of former releases, and shared locations."""

import json
from pathlib import Path

import pytest

from landmark_dag.errors import InputError
from landmark_dag.settings.home import (
    HomeSettings,
    changed_settings,
    is_home,
    read_home_settings,
    shared_location,
    store_folder,
    write_home_settings,
)
from landmark_dag.settings.profiles import PROFILES, profile_named
from landmark_dag.settings.reindex import ReindexSettings


def text_of(home: Path) -> str:
    return (home / "settings.toml").read_text()


def write(home: Path, text: str) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    (home / "settings.toml").write_text(text)
    return home


@pytest.fixture
def shared(tmp_path: Path) -> str:
    """The URL of a shared location that is there and empty."""
    (tmp_path / "shared").mkdir()
    return f"file://{tmp_path}/shared"


def test_the_paper_is_the_profile_of_its_own_dataset() -> None:
    profile = profile_named("gldv2")
    assert (profile.keep_rule.min_inliers, profile.keep_rule.min_verified) == (30, 3)
    assert (profile.votes.k, profile.insert.threshold, profile.insert.limit) == (3, 0.6, 100)
    assert (profile.training.scale, profile.training.margin, profile.training.epochs) == (30, 0.3, 5)


def test_an_unknown_profile_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InputError, match="no profile 'mine'; choose one of demo, gldv2, photos"):
        profile_named("mine")


def test_values_of_a_home_replace_the_profiles() -> None:
    values = {"network.backbone": "resnet50", "local_features.kind": "deep", "insert.threshold": 1}
    profile = HomeSettings(profile="demo", values=values).resolved_profile()
    assert (profile.network.backbone, profile.network.embedding_dim) == ("resnet50", 128)
    assert (profile.local_features.kind, profile.local_features.long_side) == ("deep", 320)
    assert profile.insert.threshold == 1.0
    assert HomeSettings().resolved_profile() == PROFILES["photos"]


def test_the_comparison_uses_the_votes_and_the_insert_step_of_the_home() -> None:
    values = {"votes.k": 5, "insert.threshold": 0.7, "soft.product_k": 4, "comparison.expansion.alpha": 2.0}
    profile = HomeSettings(values=values).resolved_profile()
    compared = profile.comparison
    assert (compared.votes, compared.insert, compared.soft) == (profile.votes, profile.insert, profile.soft)
    assert (compared.votes.k, compared.insert.threshold, compared.soft.product_k) == (5, 0.7, 4)
    assert compared.expansion.alpha == 2.0


def test_a_home_remembers_its_settings(tmp_path: Path) -> None:
    assert read_home_settings(tmp_path) == HomeSettings()
    assert not is_home(tmp_path)
    settings = HomeSettings(photos="/a", profile="demo", values={"embedding.scales": (1.0, 0.5)})
    write_home_settings(tmp_path, settings)
    assert read_home_settings(tmp_path) == settings
    assert is_home(tmp_path)


def test_what_a_run_does_not_name_stays_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, '# ours\nphotos = "/a"\nprofile = "demo"\n\n[insert] # how far\nthreshold = 0.7 # by hand\n')
    write_home_settings(tmp_path, HomeSettings(photos="/a", values={"network.backbone": "resnet50"}))
    settings = read_home_settings(tmp_path)
    assert settings.profile == "demo"
    assert settings.values == {"insert.threshold": 0.7, "network.backbone": "resnet50"}
    for kept in ("# ours", "[insert] # how far", "threshold = 0.7 # by hand"):
        assert kept in text_of(tmp_path)


def test_a_value_of_the_profile_is_taken_out_of_the_file(tmp_path: Path) -> None:
    changed_settings(tmp_path, {"training.epochs": 3, "photos_per_shard": 7, "insert.threshold": 0.7}).write()
    assert read_home_settings(tmp_path).values == {
        "training.epochs": 3,
        "photos_per_shard": 7,
        "insert.threshold": 0.7,
    }
    changed_settings(tmp_path, {"training.epochs": 10, "insert.threshold": 0.6}, ["photos_per_shard"]).write()
    assert read_home_settings(tmp_path) == HomeSettings()
    assert "[" not in text_of(tmp_path)


def test_a_value_is_that_of_the_profile_which_the_same_change_sets(tmp_path: Path) -> None:
    changed_settings(tmp_path, {"training.epochs": 30, "profile": "demo"}).write()
    assert read_home_settings(tmp_path) == HomeSettings(profile="demo")


def test_a_comment_keeps_the_section_that_it_is_in(tmp_path: Path) -> None:
    write(tmp_path, "[insert]\n# found in March\nthreshold = 0.7\n")
    changed_settings(tmp_path, {}, ["insert.threshold"]).write()
    assert text_of(tmp_path) == "[insert]\n# found in March\n"


def test_a_home_of_other_photos_is_refused_and_kept(tmp_path: Path) -> None:
    write_home_settings(tmp_path, HomeSettings(photos="/a"))
    with pytest.raises(InputError, match="holds the results of /a; choose another --home for /b"):
        write_home_settings(tmp_path, HomeSettings(photos="/b"))
    assert read_home_settings(tmp_path).photos == "/a"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("photos = ", "this is no TOML: Invalid value"),
        ("photos = 3", "photos is 3; it must be text."),
        ('profile = "mine"', "There is no profile 'mine'; choose one of demo, gldv2, photos."),
        ('[insert]\nthreshold = "2"', 'insert.threshold is "2"; it must be a number.'),
        ("[insert]\nthreshold = nan", "insert.threshold is nan; it must be a number."),
        ("[insert]\ntreshold = 0.5", "There is no setting insert.treshold; did you mean insert.threshold"),
        ("[training]\nk = 5", "There is no setting training.k; did you mean votes.k or recognition.k?"),
        ("training = 5", "There is no setting training; did you mean training.NAME, such as training.trainable?"),
        ("[soundness]\nrun_margin = 5.0", "There is no setting soundness.run_margin; did you mean checks.run_margin?"),
        ("[comparison.votes]\nk = 5", "There is no setting comparison.votes.k; did you mean votes.k"),
        ("colour = 5", "There is no setting colour; `landmark-dag settings` lists all."),
        ("[bootstrap_embedding]\nscales = []", "bootstrap_embedding.scales is []; it must be a list of at least one"),
        ('[ensemble]\nfolders = ["/a"]\nweights = [1.0]', "An ensemble of 2 models got 1 weights"),
        ('[reindex]\ntimezone = "Provence"', "no time zone 'Provence'; write one such as Europe/Paris"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_name_setting_and_value(tmp_path: Path, text: str, sentence: str) -> None:
    write(tmp_path, text)
    with pytest.raises(InputError) as refused:
        read_home_settings(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path / 'settings.toml'}: ")
    assert sentence in str(refused.value)


def test_a_change_that_is_not_allowed_writes_nothing(tmp_path: Path) -> None:
    write(tmp_path, "[insert]\nthreshold = 0.7\n")
    for values in ({"insert.threshold": "much"}, {"ensemble.weights": (1.0, 2.0)}, {"profile": "mine"}):
        with pytest.raises(InputError):
            changed_settings(tmp_path, values)
    with pytest.raises(InputError, match="no setting insert"):
        changed_settings(tmp_path, {}, ["insert.treshold"])
    assert text_of(tmp_path) == "[insert]\nthreshold = 0.7\n"


FORMER = {
    "photos": "/a",
    "profile": "photos",
    "backbone": "resnet50",
    "weights": "/w.pth",
    "local_features": "deep",
    "dataset": {"accepted_md5": {"train/images_000.tar": "0"}, "shards": ["train/000-009"], "download": {"retries": 3}},
    "store": "",
    "reindex": {"cron": "30 4 * * *", "timezone": "Europe/Paris", "scheduled": True, "on_arrival": False},
    "soundness": {"run_margin": 5.0, "step_margin": 1.0},
}


def test_the_settings_of_a_former_release_are_read_once_and_kept_aside(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(FORMER))
    assert is_home(tmp_path)
    settings = read_home_settings(tmp_path)
    assert (settings.photos, settings.profile, settings.store) == ("/a", "photos", "")
    assert settings.values == {
        "network.backbone": "resnet50",
        "network.weights": "/w.pth",
        "local_features.kind": "deep",
        "dataset.accepted_md5": {"train/images_000.tar": "0"},
        "dataset.shards": ("train/000-009",),
        "dataset.download.retries": 3,
        "reindex.cron": "30 4 * * *",
        "reindex.timezone": "Europe/Paris",
        "reindex.scheduled": True,
        "checks.run_margin": 5.0,
    }
    profile = settings.resolved_profile()
    assert profile.reindex == ReindexSettings("30 4 * * *", "Europe/Paris", True, False)
    assert profile.dataset.download.retries == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["settings.json.migrated", "settings.toml"]
    changed_settings(tmp_path, {}, ["network.weights"]).write()
    assert "network.weights" not in read_home_settings(tmp_path).values


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", "it is no file of settings"), ("[]", "it is no file of settings"), ('{"colour": 1}', "no setting colour")],
)
def test_damaged_settings_of_a_former_release_are_named_and_kept(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(InputError, match=rf"settings.json: .*{sentence}"):
        read_home_settings(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]


def test_results_lie_in_the_home_or_where_its_settings_say(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    assert (store_folder(home), shared_location(home)) == (home / "store", None)
    write_home_settings(home, HomeSettings(photos="/a", store=str(elsewhere)))
    assert (store_folder(home), shared_location(home)) == (elsewhere, None)


def test_the_environment_says_where_results_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDMARK_STORE", str(tmp_path / "elsewhere"))
    assert store_folder(tmp_path / "home") == tmp_path / "elsewhere"


def test_a_home_does_not_move_its_results_unasked(tmp_path: Path) -> None:
    write_home_settings(tmp_path, HomeSettings(photos="/a", store="/elsewhere"))
    with pytest.raises(InputError, match="keeps its results in /elsewhere; add --store /elsewhere, or choose"):
        write_home_settings(tmp_path, HomeSettings(photos="/a", store="/other"))
    write_home_settings(tmp_path, HomeSettings(photos="/a"))
    assert read_home_settings(tmp_path).store == "/elsewhere"
    own = tmp_path / "own"
    write_home_settings(own, HomeSettings(photos="/a"))
    with pytest.raises(InputError, match="own/store; leave --store out, or choose"):
        write_home_settings(own, HomeSettings(photos="/a", store="/other"))


def test_another_machine_takes_the_settings_from_the_shared_location(
    tmp_path: Path, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"network.backbone": "resnet50"}
    write_home_settings(tmp_path / "one", HomeSettings(photos="/a", profile="demo", store=shared, values=values))
    monkeypatch.setenv("LANDMARK_STORE", shared)
    read = read_home_settings(tmp_path / "other")
    assert read == HomeSettings(photos="/a", profile="demo", store=shared, values=values)
    assert store_folder(tmp_path / "other").is_relative_to(tmp_path / "other")
    write_home_settings(tmp_path / "one", HomeSettings(photos="/a", profile="gldv2"))
    assert read_home_settings(tmp_path / "other").profile == "gldv2"
    changed_settings(tmp_path / "other", {"insert.threshold": 0.7}).write()
    assert read_home_settings(tmp_path / "one").values["insert.threshold"] == 0.7


def test_of_a_shared_home_the_shared_location_alone_has_the_settings(tmp_path: Path, shared: str) -> None:
    changed_settings(tmp_path / "one", {"insert.threshold": 0.7}).write()
    write_home_settings(tmp_path / "one", HomeSettings(photos="/a", store=shared))
    own, there = text_of(tmp_path / "one"), text_of(tmp_path / "shared")
    assert f'store = "{shared}"' in own and "photos" not in own and "threshold" not in own
    assert 'photos = "/a"' in there and "threshold = 0.7" in there and "store" not in there


def test_settings_beside_the_shared_ones_are_refused_rather_than_ignored(tmp_path: Path, shared: str) -> None:
    write_home_settings(tmp_path / "one", HomeSettings(photos="/a", store=shared))
    write(tmp_path / "one", text_of(tmp_path / "one") + "[insert]\nthreshold = 0.7\n")
    with pytest.raises(InputError, match=r"settings.toml: the settings of this home are at .*shared; take all but"):
        read_home_settings(tmp_path / "one")


def test_a_shared_location_without_settings_is_refused(
    tmp_path: Path, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDMARK_STORE", shared)
    with pytest.raises(InputError, match="shared holds no home's settings; put them there with"):
        read_home_settings(tmp_path / "other")


def test_a_shared_location_of_other_photos_is_refused_and_kept(tmp_path: Path, shared: str) -> None:
    write_home_settings(tmp_path / "one", HomeSettings(photos="/a", store=shared))
    with pytest.raises(InputError, match="shared holds the results of /a; choose another --store for /b"):
        write_home_settings(tmp_path / "other", HomeSettings(photos="/b", store=shared))
    assert 'photos = "/a"' in text_of(tmp_path / "shared")


def test_settings_of_a_home_do_not_replace_those_of_a_shared_location(tmp_path: Path, shared: str) -> None:
    write_home_settings(tmp_path / "one", HomeSettings(photos="/a", store=shared))
    changed_settings(tmp_path / "other", {"insert.threshold": 0.7}).write()
    with pytest.raises(InputError, match="both have settings; delete"):
        write_home_settings(tmp_path / "other", HomeSettings(photos="/a", store=shared))
    assert "threshold" not in text_of(tmp_path / "shared")


def test_wrong_settings_at_a_shared_location_are_named_by_its_url(tmp_path: Path, shared: str) -> None:
    write_home_settings(tmp_path / "one", HomeSettings(photos="/a", store=shared))
    write(tmp_path / "shared", "[insert]\nlimit = 0\n")
    with pytest.raises(InputError, match=f"{shared}/settings.toml: insert.limit is 0; it must be"):
        read_home_settings(tmp_path / "one")


def test_shared_settings_of_a_former_release_are_taken_over(tmp_path: Path, shared: str) -> None:
    (tmp_path / "shared/settings.json").write_text(json.dumps(FORMER | {"store": shared}))
    (tmp_path / "one").mkdir()
    (tmp_path / "one/settings.json").write_text(json.dumps(FORMER | {"store": shared}))
    settings = read_home_settings(tmp_path / "one")
    assert (settings.photos, settings.store, settings.values["checks.run_margin"]) == ("/a", shared, 5.0)
    assert "run_margin = 5.0" in text_of(tmp_path / "shared")
    changed_settings(tmp_path / "one", {"checks.run_margin": 3.0}).write()
    assert read_home_settings(tmp_path / "one").values["checks.run_margin"] == 3.0
