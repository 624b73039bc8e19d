"""How the `landmark-dag` command ends: success, bad input, bugs and Ctrl-C; and how fast it starts."""

import errno
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from landmark_dag.errors import InputError
from tests.cli.command import status


def test_the_help_loads_nothing_heavy() -> None:
    check = (
        "import sys\nfrom landmark_dag.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'polars', 'numpy', 'numba', 'dagster', 'rich', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", check], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "rerank" in done.stdout


def raising(error: BaseException, cause: BaseException | None = None) -> Callable[..., None]:
    """A function that raises `error`, explicitly from `cause` if there is one."""

    def function(*arguments: object) -> None:
        raise error from cause

    return function


def fails_while_handling_a_missing_file(*arguments: object) -> None:
    try:
        Path("missing").read_text()
    except OSError:
        {}["a bug"]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., None]], None]:
    """Makes the command SEARCH call a function in place of searching."""
    return lambda function: monkeypatch.setattr("landmark_dag.serving.search.search_photos", function)


SEARCH = "search photo.jpg"
BUG = "This is a bug in landmark-dag; please report it with the traceback above."


@pytest.mark.parametrize(
    "function",
    [
        fails_while_handling_a_missing_file,
        raising(ValueError("a bug")),
        raising(RuntimeError("a bug"), OSError(errno.ENOENT, "No such file or directory", "missing")),
        raising(EOFError("a bug")),
    ],
    ids=["handling an OSError", "ValueError", "from an OSError", "EOFError"],
)
def test_a_bug_shows_its_traceback_and_says_that_it_is_one(
    function: Callable[..., None], failing: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(function)
    assert status(SEARCH) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert "Traceback (most recent call last):" in lines
    assert "a bug" in lines[-2] and lines[-1] == BUG


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (raising(InputError("Bad row 3;\nmend it.")), "Bad row 3; mend it."),
        (raising(RuntimeError("a step failed"), InputError("Bad row 3.")), "Bad row 3."),
        (raising(OSError(errno.ENOSPC, "No space left on device", "a.png")), "a.png: No space left on device"),
        (raising(ConnectionResetError("the server left")), "the server left"),
    ],
    ids=["InputError", "from an InputError", "OSError of a file", "OSError"],
)
def test_an_input_error_is_one_sentence_and_its_traceback_is_for_debug(
    function: Callable[..., None], sentence: str, failing: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(function)
    assert status(SEARCH) == 2
    assert capsys.readouterr() == ("", f"{sentence}\n")
    assert status(f"--debug {SEARCH}") == 2
    lines = capsys.readouterr().err.splitlines()
    assert "Traceback (most recent call last):" in lines and lines[-1] == sentence


def test_ctrl_c_is_one_line_and_status_130(failing: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    failing(raising(KeyboardInterrupt()))
    assert status(SEARCH) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


def test_ctrl_c_that_compiled_code_turns_into_another_error_is_one_line_too(
    failing: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    def hides_ctrl_c(*arguments: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("compiling failed") from None

    failing(hides_ctrl_c)
    assert status(SEARCH) == 130
    assert capsys.readouterr() == ("", "Interrupted.\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_no_command_shows_the_help_and_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("") == 2
    assert "Usage: landmark-dag" in capsys.readouterr().err


def test_version_and_help_succeed(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--version") == status("--help") == status("evaluate --help") == 0
    assert capsys.readouterr().err == ""
