"""The table of kinds of local features, and extraction chunk by chunk."""

import typing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from landmark_dag.matching.deep_features import fit_whitening, photos_deep_features
from landmark_dag.matching.feature_kinds import KINDS, ExtractionInputs, extract_features
from landmark_dag.matching.features import PhotoFeatures
from landmark_dag.matching.rootsift import photos_rootsift
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.matching import LocalFeatureSettings
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.training.network import EmbeddingNetwork, build_network
from tests.matching.scenes import write_facades

DEEP = LocalFeatureSettings(kind="deep", long_side=160, scales=(0.5, 1.0), max_keypoints=30, dimensions=16)


@pytest.fixture
def photos(tmp_path: Path) -> list[PhotoLocation]:
    return write_facades(tmp_path, 5)


def network() -> EmbeddingNetwork:
    return build_network(NetworkSettings(backbone="test_resnet", embedding_dim=0), seed=0)


def not_needed() -> typing.Any:
    raise AssertionError("this kind needs photos and settings alone")


def same(found: list[PhotoFeatures], expected: list[PhotoFeatures]) -> bool:
    return len(found) == len(expected) and all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for first, second in zip(found, expected, strict=True)
        for name in ("keypoints", "orientations", "descriptors")
    )


def test_every_kind_of_the_settings_is_in_the_table() -> None:
    kind = typing.get_type_hints(LocalFeatureSettings)["kind"]
    assert set(KINDS) == set(typing.get_args(kind))


def test_rootsift_needs_nothing_but_photos_and_settings(photos: list[PhotoLocation]) -> None:
    settings = LocalFeatureSettings()
    extract = KINDS["rootsift"].extractor(settings, ExtractionInputs(not_needed, not_needed, not_needed))
    assert same(extract(photos), photos_rootsift(photos, settings))
    assert KINDS["rootsift"].fit_whitening is None


def test_deep_features_are_whitened_by_what_is_fitted(photos: list[PhotoLocation]) -> None:
    inputs = ExtractionInputs(lambda: "cpu", network, not_needed)
    fitted = KINDS["deep"].fit_whitening(photos, DEEP, inputs)  # type: ignore[misc]
    expected = fit_whitening(photos, network(), DEEP)
    assert np.array_equal(fitted.mean, expected.mean) and np.array_equal(fitted.weight, expected.weight)
    extract = KINDS["deep"].extractor(DEEP, ExtractionInputs(lambda: "cpu", network, lambda: fitted))
    assert same(extract(photos), photos_deep_features(photos, network(), fitted, DEEP))


def test_features_are_extracted_chunk_by_chunk(photos: list[PhotoLocation]) -> None:
    extract = partial(photos_rootsift, settings=LocalFeatureSettings())
    chunks = list(extract_features(photos, extract, photos_per_chunk=2))
    assert [chunk.image_ids for chunk in chunks] == [["photo0", "photo1"], ["photo2", "photo3"], ["photo4"]]
    found = [chunk.photo(position) for chunk in chunks for position in range(len(chunk.image_ids))]
    assert same(found, extract(photos))
