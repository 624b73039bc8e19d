"""Seeds: each purpose of a training has its own random numbers, which do not depend on what ran before."""

import numpy as np

ORDER, AUGMENTATION, CLASSIFIER, FORWARD = range(4)
"""Purposes: the order of photos, their augmentation, the first weights of the classifier, a forward pass."""


def generator(seed: int, purpose: int, *numbers: int) -> np.random.Generator:
    """Return the random numbers for one purpose and `numbers`, such as an epoch and the position of a photo."""
    return np.random.default_rng([seed, purpose, *numbers])


def torch_seed(seed: int, purpose: int, *numbers: int) -> int:
    """Return a seed for torch's generators, for one purpose and `numbers` as in `generator`."""
    return int(generator(seed, purpose, *numbers).integers(2**62))
