"""CSV files as an attacker would send them: formulas, quotes, NULs, odd line ends, and seeded mutations."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from landmark_dag.errors import InputError
from landmark_dag.evaluation.ground_truth import read_recognition_ground_truth, read_retrieval_ground_truth
from landmark_dag.evaluation.submission import read_predictions, read_ranking
from landmark_dag.photos import gldv2_metadata
from landmark_dag.storage.neighbour_files import read_labels, read_neighbours, read_votes

_CATEGORIES = b'landmark_id,category\n7,http://commons.wikimedia.org/wiki/Category:A\n8,"B, ""C"""\n'


def _published_labels(path: Path) -> object:
    path.with_name("categories.csv").write_bytes(_CATEGORIES)
    return gldv2_metadata.read_labels(path, path.with_name("categories.csv"))


def _published_clean(path: Path) -> object:
    path.with_name("train.csv").write_bytes(WHOLE["train"][0])
    labels = _published_labels(path.with_name("train.csv"))
    return gldv2_metadata.published_clean(labels, path)  # type: ignore[arg-type]


WHOLE: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "train": (b"id,url,landmark_id\n0000000000001e10,http://x,7\n00000000000000ab,http://y,8\n", _published_labels),
    "train clean": (b"landmark_id,images\n7,0000000000001e10\n8,00000000000000ab\n", _published_clean),
    "retrieval truth": (
        b"id,images,Usage\n0000000000001e10,a b c,Public\n2,None,Ignored\n",
        read_retrieval_ground_truth,
    ),
    "recognition truth": (
        b"id,landmarks,Usage\n0000000000001e10,7 8,Public\n2,,Private\n",
        read_recognition_ground_truth,
    ),
    "ranking": (b"query_id,rank,index_id,similarity,reason\nq,1,0000000000001e10,0.5,retrieved\n", read_ranking),
    "submission": (b"id,images\nq,a b c\nr,\n", read_ranking),
    "predictions": (b"id,landmarks\nq,7 0.5\nr,\n", read_predictions),
    "neighbours": (b"query_id,index_id,similarity\nq,a,0.5\nq,b,0.25\n", read_neighbours),
    "labels": (b"image_id,landmark_id\n0000000000001e10,7\nb,8\n", read_labels),
    "votes": (b"image_id,landmark_id,confidence\n0000000000001e10,7,0.5\n", read_votes),
}
"""Every kind of CSV file that the project reads: a whole one, and its reader."""

FAULTS = [
    b"=HYPERLINK(\"http://evil\";\"x\")", b"@SUM(1+1)*cmd|'/C calc'!A0",
    b'"', b'""', b'"a\nb"', b"\0", b"\0\0\0\0", b"\r\n",
    b"\r", b"\n\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b",", b",,,,", b"1e400", b"NaN", b"-inf", b"9" * 40,
    b"0x10", b"1_000", b" ", b"\t", b"x" * 5000, b"\x1b[2J", b"<script>", b"../../etc/passwd", b"None", b"null", b";",
]  # fmt: skip


def mutated_tables(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` pairs of a kind and a file of it with one to three faults; the same files for the same seed."""
    chance = random.Random(seed)
    kinds = list(WHOLE)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        data = bytearray(WHOLE[kind][0])
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(data) + 1)
            data[at : at + chance.choice([0, 0, 1, 8])] = chance.choice(FAULTS)
        yield kind, bytes(data)


def try_tables(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Read every whole and mutated file; return how many were tried, accepted and refused by an InputError.

    Any other error of a reader is raised.
    """
    accepted = 0
    files = [*((kind, data) for kind, (data, _) in WHOLE.items()), *mutated_tables(count, seed)]
    for kind, data in files:
        path = folder / "file.csv"
        path.write_bytes(data)
        try:
            WHOLE[kind][1](path)
            accepted += 1
        except InputError as error:
            assert folder.name in str(error) or str(error), data
    return {"tried": len(files), "accepted": accepted, "refused": len(files) - accepted}
