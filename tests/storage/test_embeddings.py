"""Embeddings files: what is written is what is read, memory-mapped; bad ones are refused by name."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from landmark_dag.errors import InputError
from landmark_dag.storage.embeddings import Embeddings, concatenate, read_embeddings, write_embeddings
from landmark_dag.storage.schemas import EMBEDDINGS


def random_embeddings(image_ids: list[str], model: str = "m1", dimensions: int = 8) -> Embeddings:
    generator = np.random.default_rng(len(image_ids))
    vectors = generator.normal(size=(len(image_ids), dimensions)).astype(np.float16)
    return Embeddings(image_ids, vectors, model)


def test_a_written_file_reads_back_equal_and_memory_mapped(tmp_path: Path) -> None:
    embeddings = random_embeddings(["0000000000001e10", "é id, any", "b"])
    write_embeddings(tmp_path / "deep" / "a.arrow", embeddings, "v7")
    before = pa.total_allocated_bytes()
    read = read_embeddings(tmp_path / "deep" / "a.arrow")
    assert pa.total_allocated_bytes() == before
    assert read.image_ids == embeddings.image_ids
    assert read.model == "m1"
    assert read.vectors.dtype == np.float16
    assert read.vectors.flags.c_contiguous
    assert not read.vectors.flags.writeable
    np.testing.assert_array_equal(read.vectors, embeddings.vectors)


def test_the_metadata_holds_version_model_and_format(tmp_path: Path) -> None:
    write_embeddings(tmp_path / "a.arrow", random_embeddings(["a"]), "v7")
    schema = pa.ipc.open_file(str(tmp_path / "a.arrow")).schema
    assert schema.metadata == {
        b"landmark_dag.format": b"1",
        b"landmark_dag.model": b"m1",
        b"landmark_dag.version": b"v7",
    }
    assert schema.field("vector").type == pa.list_(pa.float16(), 8)
    assert schema.names == list(EMBEDDINGS.schema)


def test_a_shard_without_photos_keeps_its_dimensions(tmp_path: Path) -> None:
    write_embeddings(tmp_path / "a.arrow", random_embeddings([]), "v1")
    assert read_embeddings(tmp_path / "a.arrow").vectors.shape == (0, 8)


def test_equal_embeddings_make_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_embeddings(tmp_path / name, random_embeddings(["x", "y"]), "v1")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_zero_or_not_finite_vector_is_refused_and_nothing_is_written(tmp_path: Path, value: float) -> None:
    embeddings = random_embeddings(["a", "bad"])
    embeddings.vectors[1] = value
    with pytest.raises(InputError, match="photo bad is zero or not finite"):
        write_embeddings(tmp_path / "a.arrow", embeddings, "v1")
    assert list(tmp_path.iterdir()) == []


def test_a_photo_that_occurs_twice_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Photo b has two embeddings; keep one of the two"):
        write_embeddings(tmp_path / "a.arrow", random_embeddings(["c", "b", "a", "b"]), "v1")
    assert list(tmp_path.iterdir()) == []


def test_vectors_that_do_not_fit_the_photos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not fit 1 photos"):
        write_embeddings(tmp_path / "a", Embeddings(["a"], np.ones((2, 3), np.float16), "m"), "v1")


@pytest.mark.parametrize("content", [b"", b"not arrow at all", None])
def test_a_missing_or_foreign_file_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.arrow"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.arrow"):
        read_embeddings(path)


def test_an_arrow_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    table = pa.table({"image_id": ["a"]})
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(InputError, match="not an embeddings file of format 1"):
        read_embeddings(tmp_path / "a.arrow")


def test_joined_shards_are_sorted_by_image_id() -> None:
    shards = [random_embeddings(["d", "b"]), random_embeddings([]), random_embeddings(["c", "a", "e"])]
    joined = concatenate(shards)
    assert joined.image_ids == ["a", "b", "c", "d", "e"]
    expected = {i: v for shard in shards for i, v in zip(shard.image_ids, shard.vectors, strict=True)}
    for image_id, vector in zip(joined.image_ids, joined.vectors, strict=True):
        np.testing.assert_array_equal(vector, expected[image_id])


def test_only_the_photos_asked_for_are_joined() -> None:
    shards = [random_embeddings(["d", "b"]), random_embeddings(["c"]), random_embeddings(["a", "e"])]
    joined = concatenate(shards, only={"e", "b", "d", "z"})
    whole = concatenate(shards)
    assert joined.image_ids == ["b", "d", "e"]
    np.testing.assert_array_equal(joined.vectors, whole.vectors[[1, 3, 4]])
    assert concatenate(shards, only=set()).vectors.shape == whole.vectors[:0].shape


def test_shards_of_two_models_are_refused_naming_both() -> None:
    with pytest.raises(InputError, match="photo a was embedded by m1, photo b by m2"):
        concatenate([random_embeddings(["a"]), random_embeddings(["b"], "m2")])


def test_shards_of_two_dimensions_are_refused_naming_both() -> None:
    with pytest.raises(InputError, match="8 and 4 dimensions"):
        concatenate([random_embeddings(["a"]), random_embeddings(["b"], dimensions=4)])


def test_a_photo_in_two_shards_is_refused() -> None:
    with pytest.raises(InputError, match="Photo a has two embeddings"):
        concatenate([random_embeddings(["a"]), random_embeddings(["b", "a"])])


def test_no_shards_are_refused() -> None:
    with pytest.raises(InputError, match="no embeddings"):
        concatenate([])
