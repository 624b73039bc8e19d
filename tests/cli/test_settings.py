"""`settings` lists, sets and unsets what a home's file holds, and `run` stores what it is given in the same file."""

import json
from pathlib import Path

import pytest

from landmark_dag.settings.keys import all_definitions
from tests.cli.command import status

RUN = "run --photos photos --home home --settings-only"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANDMARK_HOME", "DAGSTER_HOME", "LANDMARK_STORE", "LANDMARK_PHOTOS"):
        monkeypatch.setenv(name, "")


@pytest.fixture
def photos(folder: Path) -> Path:
    for split in ("train/tower", "index", "query"):
        (folder / "photos" / split).mkdir(parents=True)
        (folder / "photos" / split / "a.jpg").write_bytes(b"not looked at")
    return folder / "photos"


def text_of(home: str = "home") -> str:
    return Path(home, "settings.toml").read_text()


def told(capsys: pytest.CaptureFixture[str], arguments: str) -> dict:
    assert status(arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_a_list_tells_value_unit_range_meaning_and_source_of_every_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert status("settings set profile=demo insert.threshold=0.7 --home home") == 0
    capsys.readouterr()
    assert status("settings --home home") == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "threshold 0.7 settings.toml query confidence + index confidence must exceed this" in lines
    assert "long_side 160 profile demo longer side of any other photo, pixels; a whole number of 1 or more" in lines
    assert "limit 100 default length to which a list is cut; a whole number of 1 or more" in lines
    assert {key.rpartition(".")[2] for key in all_definitions()} <= {line.split(" ")[0] for line in lines if line}
    assert status("settings list --home home") == 0


def test_without_a_home_the_settings_are_those_of_the_environments(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDMARK_HOME", str(folder / "mine"))
    assert told(capsys, "settings --json")["home"] == str(folder / "mine")


def test_set_and_unset_change_the_file_and_print_what_holds_now(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("settings set training.epochs=20 embedding.scales=0.5,1 insert.threshold=0.7 --home home") == 0
    assert text_of().endswith(
        "[training]\nepochs = 20\n\n[embedding]\nscales = [0.5, 1.0]\n\n[insert]\nthreshold = 0.7\n"
    )
    out = capsys.readouterr().out
    assert "training.epochs = 20  (settings.toml)" in out
    assert f"Stored in {Path('home').absolute()}/settings.toml" in out
    assert status("settings set training.epochs=10 --home home") == 0
    assert "training.epochs = 10  (profile photos)" in capsys.readouterr().out
    assert "epochs" not in text_of()
    changed = told(capsys, "settings unset embedding.scales insert.threshold --home home --json")
    assert [(one["key"], one["value"], one["source"]) for one in changed["settings"]] == [
        ("embedding.scales", [0.75, 1.0, 1.25], "default"),
        ("insert.threshold", 0.6, "default"),
    ]
    assert "[" not in text_of()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("set epochs=3", "There is no setting epochs; did you mean training.epochs?"),
        ("set insert.treshold=0.7", "There is no setting insert.treshold; did you mean insert.threshold"),
        ("set training.k=3", "There is no setting training.k; did you mean votes.k or recognition.k?"),
        ("set training.epochs=-3", "training.epochs is -3; it must be a whole number of 0 or more."),
        ("set training.epochs=ten", 'training.epochs is "ten"; it must be a whole number of 0 or more.'),
        ("set embedding.scales=", "embedding.scales is []; it must be a list of at least one entry"),
        ("set training.epochs", "'training.epochs' is no setting; write KEY=VALUE"),
        ("set votes.k=3 insert.limit=0", "insert.limit is 0; it must be a whole number of 1 or more."),
        ("set reindex.cron=nightly", "'nightly' is no cron line"),
        ("set profile=mine", "There is no profile 'mine'; choose one of demo, gldv2, photos."),
        ("unset training.epoch", "There is no setting training.epoch; did you mean training.epochs"),
        ("set", "Missing argument 'KEY=VALUE...'"),
        ("change votes.k=3", "No such command 'change'"),
    ],
)
def test_a_change_that_is_wrong_is_one_sentence_and_writes_nothing(
    arguments: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(f"settings {arguments} --home home") == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")
    assert not Path("home").exists()


def test_a_file_with_text_for_a_number_is_named_with_setting_and_value(capsys: pytest.CaptureFixture[str]) -> None:
    Path("home").mkdir()
    Path("home/settings.toml").write_text('[insert]\nthreshold = "2"\n')
    assert status("settings --home home") == 2
    file = Path("home/settings.toml").absolute()
    assert capsys.readouterr().err == f'{file}: insert.threshold is "2"; it must be a number.\n'


def test_a_run_stores_its_options_as_settings(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--profile demo --backbone resnet18 --weights w.pth --local-features deep"
    assert status(f"{RUN} {options} --set training.epochs=3 --set insert.threshold=0.7") == 0
    assert text_of() == (
        "# What differs from the profile. `landmark-dag settings` lists every setting.\n"
        f'photos = "{photos}"\nprofile = "demo"\n\n'
        f'[network]\nbackbone = "resnet18"\nweights = "{photos.parent}/w.pth"\n\n'
        '[local_features]\nkind = "deep"\n\n[training]\nepochs = 3\n\n[insert]\nthreshold = 0.7\n'
    )


def test_a_run_without_options_keeps_what_the_file_holds(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(f"{RUN} --profile demo --set votes.k=5") == 0
    before = text_of()
    assert status(RUN) == 0
    assert text_of() == before
    assert status(f"{RUN} --set votes.k=3") == 0
    assert "votes" not in text_of()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--set votes.k=0", "votes.k is 0; it must be a whole number of 1 or more."),
        ("--set k=5", "There is no setting k; did you mean votes.k or recognition.k?"),
        ("--local-features sift", 'local_features.kind is "sift"; it must be rootsift or deep.'),
        ("--profile mine", "There is no profile 'mine'"),
        ("--set ensemble.weights=1,2", "An ensemble of 1 models got 2 weights"),
    ],
)
def test_a_run_with_wrong_settings_is_one_sentence_and_writes_nothing(
    photos: Path, options: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(f"{RUN} {options}") == 2
    captured = capsys.readouterr()
    assert sentence in captured.err and captured.err.count("\n") == 1
    assert not Path("home").exists()


def test_a_run_of_photos_that_cannot_be_used_leaves_the_settings_as_they_are(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(RUN) == 0
    before = text_of()
    (photos / "query/a.jpg").unlink()
    assert status(f"{RUN} --set votes.k=5") == 2
    assert text_of() == before
