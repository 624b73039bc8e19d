"""Settings of cleaning refuse values that could never work."""

from collections.abc import Callable

import pytest

from landmark_dag.errors import InputError
from landmark_dag.settings.cleaning import CandidateSettings
from landmark_dag.settings.matching import LocalFeatureSettings, VerificationSettings


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: LocalFeatureSettings(long_side=0), "long_side 0"),
        (lambda: LocalFeatureSettings(max_keypoints=-1), "max_keypoints -1"),
        (lambda: CandidateSettings(neighbours=0), "neighbours 0"),
        (lambda: CandidateSettings(among_nearest=-2), "among_nearest -2"),
        (lambda: VerificationSettings(residual=float("nan")), "residual nan"),
        (lambda: VerificationSettings(hypotheses=0), "hypotheses 0"),
        (lambda: VerificationSettings(pairs_per_batch=0), "pairs_per_batch 0"),
    ],
)
def test_a_value_that_cannot_work_is_named(make: Callable[[], object], name: str) -> None:
    with pytest.raises(InputError, match=name):
        make()
