"""A flipped bit in memory-mapped vectors never ends the process: they are read, or a message names the file."""

import json
import subprocess
import sys


def test_a_flipped_bit_is_read_or_refused_and_never_ends_the_process() -> None:
    command = [sys.executable, "-m", "tests.faults.damaged_files", "400", "1"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout)
    assert len(found) == 2
    assert all(counts["tried"] == 400 and 40 < counts["refused"] < 400 for counts in found.values()), found
