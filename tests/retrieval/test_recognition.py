"""The landmark and score of a query: votes, verified train_neighbours, distractors."""

import numpy as np
import polars as pl
import pytest

from landmark_dag.errors import InputError
from landmark_dag.retrieval.recognition import recognised, train_neighbour_inliers
from landmark_dag.retrieval.votes import votes_of
from landmark_dag.settings.matching import VerificationSettings
from landmark_dag.settings.retrieval import RecognitionSettings
from landmark_dag.storage.schemas import TRAIN_NEIGHBOURS, VOTES
from tests.matching.scenes import lookup, planted

VOTERS_OF_Q = [("q", 1, "t1", 7, 0.5), ("q", 2, "t2", 8, 0.25), ("q", 3, "t3", 8, 0.125), ("p", 1, "t1", 7, 0.25)]


def frame(rows: list[tuple] = VOTERS_OF_Q) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=TRAIN_NEIGHBOURS.schema, orient="row")


def test_without_verification_the_votes_are_the_answer() -> None:
    assert recognised(frame(), RecognitionSettings()).equals(votes_of(frame(), 3))


def test_verified_train_neighbours_add_their_inliers_up_to_one() -> None:
    inliers = pl.DataFrame({"image_id": ["q", "q", "p"], "train_id": ["t1", "t2", "t9"], "inliers": [7, 700, 70]})
    found = recognised(frame(), RecognitionSettings(full_inliers=70), inliers)
    assert found.schema == VOTES.schema
    # q: landmark 7 has 0.5 + 0.1, landmark 8 has 0.25 + 1 + 0.125, over 3; p has no verified train photo.
    assert found.rows() == [("p", 7, np.float32(0.25 / 3)), ("q", 8, np.float32(1.375 / 3))]


def test_a_landmark_of_too_many_queries_scores_below_all_others() -> None:
    rows = [(f"q{n}", 1, "t1", 7, 0.9) for n in range(4)] + [("r", 1, "t2", 8, 0.1), ("s", 1, "t2", 8, -0.9)]
    found = recognised(frame(rows), RecognitionSettings(k=1, distractor_queries=3))
    assert found["landmark_id"].to_list() == [7, 7, 7, 7, 8, 8]
    assert found["confidence"].to_list() == pytest.approx([-4, -4, -4, -4, 0.1, -0.9])
    assert recognised(frame(rows), RecognitionSettings(k=1, distractor_queries=4)).equals(votes_of(frame(rows), 1))


def test_inliers_are_counted_between_a_query_and_its_nearest_train_neighbours_alone() -> None:
    matching = planted(1, true=40, affine=np.array([[1.0, 0, 5], [0, 1, 3]]))
    stranger = planted(2, true=0, affine=np.eye(2, 3))[0]
    queries = lookup(stranger, matching[0], names=["p", "t1"])  # a query may have a train photo's id
    train = lookup(stranger, matching[1], names=["t0", "t1"])
    train_neighbours = frame([("t1", 1, "t1", 7, 0.9), ("t1", 2, "t0", 8, 0.8), ("p", 1, "t1", 7, 0.5)])
    found = train_neighbour_inliers(train_neighbours, 1, queries, train, VerificationSettings())
    assert found.select("image_id", "train_id").rows() == [("t1", "t1"), ("p", "t1")]
    assert found["inliers"][0] >= 40
    assert found["inliers"][1] < 10


@pytest.mark.parametrize(("image_id", "train_id", "named"), [("q", "t9", "Train photo t9"), ("z", "t1", "Query z")])
def test_a_photo_without_local_features_is_refused_by_name(image_id: str, train_id: str, named: str) -> None:
    some = planted(2, true=0, affine=np.eye(2, 3))[0]
    queries, train = lookup(some, names=["q"]), lookup(some, names=["t1"])
    with pytest.raises(InputError, match=f"{named} has no local features"):
        train_neighbour_inliers(frame([(image_id, 1, train_id, 7, 0.9)]), 3, queries, train, VerificationSettings())
