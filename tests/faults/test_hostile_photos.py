"""Hostile photos: none stops a shard, and memory and time stay bounded."""

from pathlib import Path

from tests.faults.hostile_photos import GOOD, mutated_photos, tried, write_hostile


def test_mutated_photos_and_bombs_are_accepted_or_refused_with_a_reason_in_bounded_memory(tmp_path: Path) -> None:
    count = write_hostile(tmp_path, 400, seed=0)
    found = tried(tmp_path)
    assert found["accepted"] + found["refused"] == found["tried"] == count
    assert found["good accepted"] == GOOD
    assert 0 < found["accepted"] < count / 2
    assert (found["without a reason"], found["files written"]) == (0, False)
    assert found["peak"] < 1 << 30  # four photos of 36 megapixels are decoded one at a time, without further copies


def test_the_mutations_are_the_same_for_the_same_seed() -> None:
    assert list(mutated_photos(50, 3)) == list(mutated_photos(50, 3)) != list(mutated_photos(50, 4))
