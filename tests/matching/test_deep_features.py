"""Deep local features: where they are, that they match, and that only the photo decides them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from landmark_dag.errors import InputError
from landmark_dag.matching.deep_features import fit_whitening, photos_deep_features
from landmark_dag.matching.features import PhotoFeatures, gather
from landmark_dag.matching.verification import verify_pairs
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.settings.matching import LocalFeatureSettings, VerificationSettings
from landmark_dag.settings.training import NetworkSettings
from landmark_dag.training.network import EmbeddingNetwork, build_network
from tests.matching.scenes import facade
from tests.support.photos import located, write_pixels

SETTINGS = LocalFeatureSettings(
    kind="deep", long_side=160, scales=(0.5, 1.0), max_keypoints=60, dimensions=24, sampled_photos=4, batch_size=3
)


def photo(folder: Path, name: str, picture: np.ndarray) -> PhotoLocation:
    return located(write_pixels(folder / f"{name}.png", picture))


@pytest.fixture(scope="module")
def network() -> EmbeddingNetwork:
    return build_network(NetworkSettings(backbone="test_resnet", embedding_dim=0), seed=0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[PhotoLocation]:
    folder = tmp_path_factory.mktemp("photos")
    shapes = [(240, 320), (320, 240), (240, 320), (240, 320), (200, 200)]
    return [photo(folder, f"photo{seed}", facade(seed, *shape)) for seed, shape in enumerate(shapes)]


def extracted(
    photos: list[PhotoLocation], network: EmbeddingNetwork, settings: LocalFeatureSettings = SETTINGS
) -> list[PhotoFeatures]:
    return photos_deep_features(photos, network, fit_whitening(photos, network, settings), settings)


def test_keypoints_are_in_the_shrunk_photo_and_descriptors_are_8_bit(
    photos: list[PhotoLocation], network: EmbeddingNetwork
) -> None:
    features = extracted(photos, network)
    extents = [(160, 120), (120, 160), (160, 120), (160, 120), (160, 160)]
    for position, extent in enumerate(extents):
        keypoints = features[position].keypoints
        assert 20 < len(keypoints) <= 60
        assert (keypoints > 0).all() and (keypoints < extent).all()
        assert (keypoints.max(axis=0) > np.array(extent) / 2).all()
        assert not features[position].orientations.any()
        assert features[position].descriptors.dtype == np.int8 and features[position].descriptors.shape[1] == 24


def test_the_strongest_keypoints_are_the_first_of_more(photos: list[PhotoLocation], network: EmbeddingNetwork) -> None:
    whitening = fit_whitening(photos, network, SETTINGS)
    more = photos_deep_features(photos, network, whitening, SETTINGS)
    some = photos_deep_features(photos, network, whitening, replace(SETTINGS, max_keypoints=10))
    assert np.array_equal(some[0].keypoints, more[0].keypoints[:10])


def test_neither_batch_nor_order_nor_other_photos_change_a_photos_features(
    photos: list[PhotoLocation], network: EmbeddingNetwork
) -> None:
    whitening = fit_whitening(photos, network, SETTINGS)
    alike = fit_whitening(photos[::-1], network, SETTINGS)
    assert np.array_equal(whitening.weight, alike.weight) and np.array_equal(whitening.mean, alike.mean)
    together = photos_deep_features(photos, network, whitening, SETTINGS)
    for position in range(len(photos)):
        (alone,) = photos_deep_features(photos[position : position + 1], network, whitening, SETTINGS)
        assert np.array_equal(alone.keypoints, together[position].keypoints)
        assert np.array_equal(alone.descriptors, together[position].descriptors)


def test_a_photo_matches_its_shifted_copy_and_not_another(tmp_path: Path) -> None:
    picture = facade(7, 256, 256)
    pictures = {"whole": picture, "shifted": np.roll(picture, (-32, -64), axis=(0, 1)), "other": facade(8, 256, 256)}
    located = [photo(tmp_path, name, pixels) for name, pixels in pictures.items()]
    network = build_network(NetworkSettings(backbone="test_resnet", embedding_dim=0), seed=0)
    settings = replace(SETTINGS, long_side=256, scales=(1.0,), max_keypoints=300)
    features = gather(list(pictures), extracted(located, network, settings))
    pairs = np.array([[0, 1], [0, 2]], np.int32)
    inliers, affine = verify_pairs(features, pairs, VerificationSettings())
    assert inliers[0] > 60 > 3 * inliers[1]
    assert np.allclose(affine[0], [[1, 0, -64], [0, 1, -32]], atol=1)


def test_a_transformers_last_block_is_read(photos: list[PhotoLocation]) -> None:
    network = build_network(NetworkSettings(backbone="test_vit", embedding_dim=0), seed=0)
    assert extracted(photos[:2], network)[0].descriptors.shape[1] == 24


def test_a_backbone_without_a_fine_map_is_refused(photos: list[PhotoLocation], network: EmbeddingNetwork) -> None:
    coarse = build_network(NetworkSettings(backbone="test_resnet", embedding_dim=0), seed=0)
    coarse.backbone.feature_info = [{"reduction": 32}]
    with pytest.raises(InputError, match="no intermediate map of 16 pixels"):
        extracted(photos, coarse)


def test_weights_that_are_not_finite_are_an_error_that_names_a_photo(photos: list[PhotoLocation]) -> None:
    broken = build_network(NetworkSettings(backbone="test_resnet", embedding_dim=0), seed=0)
    with torch.no_grad():
        next(broken.backbone.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match=r"Photo photo\d has local features that are not finite"):
        extracted(photos, broken)


def test_a_photo_that_cannot_be_read_is_named(tmp_path: Path, network: EmbeddingNetwork) -> None:
    path = tmp_path / "letter.jpg"
    path.write_text("Dear reader")
    with pytest.raises(InputError, match="letter"):
        fit_whitening([PhotoLocation("letter", str(path), 0, 11)], network, SETTINGS)
