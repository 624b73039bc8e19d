"""Embedding photos."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from landmark_dag.errors import InputError
from landmark_dag.photos.resizing import decoded, resized
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.retrieval.embedding import embed_by_ensemble, embed_photos
from landmark_dag.settings.retrieval import EmbeddingSettings, EnsembleSettings
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.training.artifact import Model, bootstrap_model
from tests.training.photo_sets import write_photo_set

SETTINGS = EmbeddingSettings(square_size=96, long_side=128, smallest_side=64, batch_size=4)


@pytest.fixture(scope="module")
def model() -> Model:
    return bootstrap_model(NetworkSettings(backbone="test_resnet"))


@pytest.fixture(scope="module")
def locations(tmp_path_factory: pytest.TempPathFactory) -> list[PhotoLocation]:
    return write_photo_set(tmp_path_factory.mktemp("photos"), landmarks=3, photos=5)[0]


def test_embeddings_have_unit_length_and_the_given_order(locations: list[PhotoLocation], model: Model) -> None:
    embeddings = embed_photos(locations, model, SETTINGS)
    assert embeddings.image_ids == [location.image_id for location in locations]
    assert embeddings.model == model.fingerprint
    assert embeddings.vectors.dtype == np.float16 and embeddings.vectors.flags.c_contiguous
    assert np.allclose(np.linalg.norm(embeddings.vectors.astype(np.float32), axis=1), 1, atol=2e-3)


def test_an_embedding_is_the_mean_of_raw_features_over_scales(locations: list[PhotoLocation], model: Model) -> None:
    settings = replace(SETTINGS, scales=(0.75, 1.25))
    photo = decoded(locations[0], 1000)  # 96 x 80: nearly square
    with torch.inference_mode():
        raw = sum(model.network(resized(photo, (side, side))[None]) for side in (72, 120))
    expected = torch.nn.functional.normalize(raw)[0].numpy()
    vector = embed_photos(locations[:1], model, settings).vectors[0].astype(np.float32)
    assert vector @ expected > 1 - 1e-4


@pytest.mark.parametrize(("batch_size", "threads", "reverse"), [(1, 1, False), (7, 3, False), (4, 2, True)])
def test_an_embedding_depends_on_nothing_but_its_photo(
    locations: list[PhotoLocation], model: Model, batch_size: int, threads: int, reverse: bool
) -> None:
    expected = embed_photos(locations, model, SETTINGS, threads=1).vectors.astype(np.float32)
    given = locations[::-1] if reverse else locations
    settings = replace(SETTINGS, batch_size=batch_size)
    found = embed_photos(given, model, settings, threads=threads).vectors.astype(np.float32)
    cosine = (expected * (found[::-1] if reverse else found)).sum(axis=1)
    assert (cosine > 1 - 1e-3).all()


def test_photos_of_one_landmark_are_nearer_than_others(locations: list[PhotoLocation], model: Model) -> None:
    vectors = embed_photos(locations, model, SETTINGS).vectors.astype(np.float32)
    landmarks = np.arange(len(locations)) // 5
    similarity = vectors @ vectors.T
    same = landmarks[:, None] == landmarks[None]
    assert similarity[same].mean() > similarity[~same].mean()


def test_progress_tells_photos_done_and_their_number(locations: list[PhotoLocation], model: Model) -> None:
    told: list[tuple[int, int]] = []
    embed_photos(locations, model, SETTINGS, progress=lambda done, count: told.append((done, count)))
    assert told[-1] == (15, 15) and told == sorted(told)


def test_no_photos_give_no_embeddings_of_the_right_width(model: Model) -> None:
    embeddings = embed_photos([], model, SETTINGS)
    assert embeddings.vectors.shape == (0, 96) and embeddings.vectors.dtype == np.float16


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_features_of_no_length_are_refused_with_the_photos_id(locations: list[PhotoLocation], value: float) -> None:
    broken = bootstrap_model(NetworkSettings(backbone="test_resnet"))
    broken.network.pooling = torch.nn.Module()
    broken.network.pooling.forward = lambda features: torch.full((len(features), 96), value)
    with pytest.raises(InputError, match=locations[0].image_id):
        embed_photos(locations, broken, SETTINGS)


def test_a_photo_that_is_gone_is_named(locations: list[PhotoLocation], model: Model, tmp_path: Path) -> None:
    gone = PhotoLocation("lost", str(tmp_path / "lost.jpg"), 0, 10)
    with pytest.raises(InputError, match="lost"):
        embed_photos([*locations, gone], model, SETTINGS)


def test_an_ensemble_joins_weighted_unit_embeddings_and_names_every_member(
    locations: list[PhotoLocation], model: Model
) -> None:
    other = bootstrap_model(NetworkSettings(backbone="test_efficientnet"))
    first, second = (embed_photos(locations, one, SETTINGS).vectors.astype(np.float32) for one in (model, other))
    joined = embed_by_ensemble(locations, [model, other], [1.0, 0.5], SETTINGS)
    expected = np.hstack([first, 0.5 * second]) / np.sqrt(1.25)
    assert joined.vectors.shape == expected.shape and joined.vectors.dtype == np.float16
    assert np.allclose(joined.vectors.astype(np.float32), expected, atol=2e-3)
    assert joined.model == f"1 x {model.fingerprint} + 0.5 x {other.fingerprint}"
    assert embed_by_ensemble(locations, [model], [1.0], SETTINGS).model == model.fingerprint


@pytest.mark.parametrize(
    ("folders", "weights", "message"),
    [(("a",), (1.0,), "2 models got 1 weights"), ((), (0.0,), "a list, each a number above 0")],
)
def test_ensemble_weights_that_do_not_fit_are_refused(folders: tuple, weights: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        EnsembleSettings(folders, weights)


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_embeddings(locations: list[PhotoLocation], model: Model) -> None:
    settings = replace(SETTINGS, scales=(1.0,))
    plain = embed_photos(locations, model, settings).vectors.astype(np.float32)
    compiled = embed_photos(locations, model, replace(settings, compile=True)).vectors.astype(np.float32)
    assert ((plain * compiled).sum(axis=1) > 1 - 1e-3).all()
