"""What people see: names from outside are printed as they are."""

import pytest

from landmark_dag.cli.output import ProgressBar, print_table


def test_a_table_shows_names_with_brackets_and_colons_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "value"], [["[red]gate[/red] :tower:", 1.5], ["[Errno 28]", None]])
    printed = capsys.readouterr().out
    assert "[red]gate[/red] :tower:" in printed and "1.50" in printed
    assert "[Errno 28]" in printed and "-" in printed


def test_a_warning_shows_its_brackets(capfd: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as bar:
        bar.warn("[pipes] did not answer")
    assert "[pipes] did not answer" in capfd.readouterr().err
