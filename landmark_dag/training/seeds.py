"""Random numbers: each purpose of a training has a stream of its own, so none depends on what ran before."""

import numpy as np

ORDER, AUGMENTATION, CLASSIFIER, FORWARD = range(4)
"""Purposes: the order of photos, their augmentation, the classifier's first weights, a forward pass."""


def generator(seed: int, purpose: int, *numbers: int) -> np.random.Generator:
    """Return the random numbers for one purpose, e.g. for one photo (its position) in one epoch."""
    return np.random.default_rng([seed, purpose, *numbers])


def torch_seed(seed: int, purpose: int, *numbers: int) -> int:
    """Return a seed for torch's generators, for one purpose as in `generator`."""
    return int(generator(seed, purpose, *numbers).integers(2**62))
