"""Micro average precision against the official loop."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.evaluation.ground_truth import RecognitionGroundTruth
from landmark_dag.evaluation.recognition_metrics import recognition_metrics
from landmark_dag.settings.evaluation import BootstrapSettings
from landmark_dag.storage.schemas import RECOGNITION_METRICS, VOTES
from tests.evaluation import oracles

QUERIES = ["q0", "q1", "q2", "q3", "q4", "q5"]
VALUES = ["usage", "micro_ap", "accuracy", "queries"]


def ground_truth(shown: dict[str, set[int]], usages: dict[str, str]) -> RecognitionGroundTruth:
    queries = [(query, usages[query], len(shown[query])) for query in sorted(shown)]
    right = [(query, landmark) for query in shown for landmark in shown[query]]
    return RecognitionGroundTruth(
        pl.DataFrame(queries, schema=["query_id", "usage", "expected"], orient="row"),
        pl.DataFrame(right, schema={"query_id": pl.String, "landmark_id": pl.Int64}, orient="row"),
        frozenset(["ignored"]),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[tuple[str, int, float]], dict[str, set[int]], dict[str, str]]:
    shown = {query: draw(st.sets(st.integers(0, 3), max_size=2)) for query in QUERIES}
    usages = {query: draw(st.sampled_from(["Public", "Private"])) for query in QUERIES}
    scores = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.5, 1.0])
    answered = draw(st.lists(st.sampled_from([*QUERIES, "ignored"]), unique=True))
    return [(query, draw(st.integers(0, 3)), draw(scores)) for query in answered], shown, usages


@settings(deadline=None, max_examples=200)
@given(cases())
def test_gap_and_accuracy_are_the_official_ones_for_each_usage(case) -> None:
    predictions, shown, usages = case
    votes = pl.DataFrame(predictions, schema=VOTES.schema, orient="row")
    metrics = recognition_metrics(votes, ground_truth(shown, usages), BootstrapSettings(resamples=9))
    assert metrics.schema == RECOGNITION_METRICS.schema
    expected = []
    for usage in ("Public", "Private", "all"):
        some = {query: right for query, right in shown.items() if usage in ("all", usages[query])}
        of_usage = [prediction for prediction in predictions if prediction[0] in some]
        count = sum(len(right) > 0 for right in some.values())
        if count:
            right = sum(landmark in some[query] for query, landmark, _ in of_usage)
            gap = oracles.micro_average_precision(of_usage, some)
            expected.append((usage, pytest.approx(100 * gap), pytest.approx(100 * right / count), len(some)))
    assert metrics.select(VALUES).rows() == expected


@settings(deadline=None)
@given(cases())
def test_the_interval_is_that_of_the_official_metric_over_drawn_queries(case) -> None:
    predictions, shown, _ = case
    bootstrap = BootstrapSettings(resamples=5)
    votes = pl.DataFrame(predictions, schema=VOTES.schema, orient="row")
    metrics = recognition_metrics(votes, ground_truth(shown, dict.fromkeys(QUERIES, "Public")), bootstrap)
    generator = np.random.default_rng(bootstrap.seed)
    values = []
    for _ in range(bootstrap.resamples if any(shown.values()) else 0):
        drawn = [QUERIES[number] for number in generator.integers(0, len(QUERIES), len(QUERIES))]
        copies = {f"{query}-{copy:02}": shown[query] for copy, query in enumerate(drawn)}
        scored = [
            (copy, landmark, score) for query, landmark, score in predictions for copy in copies if copy[:2] == query
        ]
        values.append(oracles.micro_average_precision(scored, copies) if any(copies.values()) else 0)
    if values:
        ends = metrics.filter(usage="all").select("micro_ap_low", "micro_ap_high").row(0)
        assert ends == pytest.approx(tuple(100 * np.quantile(values, [0.025, 0.975])))


def test_a_confident_prediction_for_a_photo_without_landmark_costs_precision() -> None:
    truth = ground_truth({"a": {1}, "b": set()}, {"a": "Public", "b": "Public"})
    votes = pl.DataFrame([("a", 1, 0.5), ("b", 1, 0.9)], schema=VOTES.schema, orient="row")
    assert recognition_metrics(votes, truth).select(VALUES).rows() == [("Public", 50, 100, 2), ("all", 50, 100, 2)]


def test_equal_scores_go_by_query_id() -> None:
    truth = ground_truth({"a": {1}, "b": set()}, {"a": "Public", "b": "Public"})
    votes = pl.DataFrame([("b", 1, 0.5), ("a", 1, 0.5)], schema=VOTES.schema, orient="row")
    assert recognition_metrics(votes, truth)["micro_ap"].to_list() == [100, 100]


def test_a_query_that_the_ground_truth_does_not_know_is_refused() -> None:
    votes = pl.DataFrame([("zz", 1, 0.5)], schema=VOTES.schema, orient="row")
    with pytest.raises(InputError, match="does not know query zz"):
        recognition_metrics(votes, ground_truth({"a": {1}}, {"a": "Public"}))
