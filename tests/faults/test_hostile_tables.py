"""Hostile CSV files are read as the text that they hold, or refused in one sentence."""

from pathlib import Path

import pytest

from landmark_dag.errors import InputError
from landmark_dag.photos import gldv2_metadata
from landmark_dag.storage.neighbour_files import read_labels
from tests.faults.hostile_tables import WHOLE, try_tables


def test_mutated_tables_are_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    found = try_tables(tmp_path, 660, seed=0)
    assert found["tried"] == 660 + len(WHOLE)
    assert found["accepted"] > len(WHOLE) and found["refused"] > 100


@pytest.mark.parametrize("name", list(WHOLE))
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path, name: str) -> None:
    data, read = WHOLE[name]
    results = []
    for changed in (data, b"\xef\xbb\xbf" + data, data.replace(b"\n", b"\r\n")):
        (tmp_path / "file.csv").write_bytes(changed)
        results.append(repr(read(tmp_path / "file.csv")))
    assert len(set(results)) == 1


def test_formulas_quotes_and_ids_like_numbers_stay_text(tmp_path: Path) -> None:
    ids = ["0000000000001e10", "1e10", "00012", "=1+1", '"quoted"', "None", "NaN", "a,b", "nul\0byte", "0x1F"]
    rows = "".join(f'"{text.replace(chr(34), chr(34) * 2)}",7\n' for text in ids)
    (tmp_path / "labels.csv").write_text("image_id,landmark_id\n" + rows, encoding="utf-8")
    assert read_labels(tmp_path / "labels.csv")["image_id"].to_list() == ids
    (tmp_path / "train.csv").write_text("id,landmark_id\n" + rows, encoding="utf-8")
    (tmp_path / "categories.csv").write_text("landmark_id,category\n")
    read = gldv2_metadata.read_labels(tmp_path / "train.csv", tmp_path / "categories.csv")
    assert read["image_id"].to_list() == sorted(ids)


def test_an_unclosed_quote_is_named_in_the_message(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(b'id,landmark_id\na,7\nb,"')
    (tmp_path / "categories.csv").write_text("landmark_id,category\n")
    with pytest.raises(InputError, match=r'train\.csv must be a CSV .* every quote \("\) is closed'):
        gldv2_metadata.read_labels(path, tmp_path / "categories.csv")
