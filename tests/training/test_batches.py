"""The plan of batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmark_dag.errors import InputError
from landmark_dag.training.batches import BatchPlan, PlannedBatch, aspect_buckets

plans = st.builds(
    BatchPlan,
    st.lists(st.integers(20, 400), min_size=2, max_size=40).map(
        lambda widths: aspect_buckets(np.array([(width, 100) for width in widths]))
    ),
    epochs=st.integers(0, 3),
    batch_size=st.integers(2, 7),
    accumulation=st.integers(1, 3),
    seed=st.integers(0, 99),
)


def content(batch: PlannedBatch) -> tuple[object, ...]:
    return batch.step, batch.epoch, batch.bucket, batch.positions.tolist(), batch.share, batch.ends_step


@given(plans)
def test_every_photo_is_seen_once_an_epoch_with_photos_of_its_bucket(plan: BatchPlan) -> None:
    batches = list(plan.from_step(0))
    for epoch in range(plan.epochs):
        seen = np.concatenate([batch.positions for batch in batches if batch.epoch == epoch])
        assert sorted(seen.tolist()) == list(range(len(plan.buckets)))
    for batch in batches:
        assert set(plan.buckets[batch.positions].tolist()) == {batch.bucket}


@given(plans)
def test_no_batch_has_a_single_photo_nor_more_than_one_too_many(plan: BatchPlan) -> None:
    for batch in plan.from_step(0):
        assert 2 <= len(batch.positions) <= plan.batch_size + 1


@given(plans)
def test_any_step_can_be_started_from(plan: BatchPlan) -> None:
    batches = [content(batch) for batch in plan.from_step(0)]
    for start in range(plan.steps + 1):
        assert [content(batch) for batch in plan.from_step(start)] == [row for row in batches if row[0] >= start]


@given(plans)
def test_steps_are_numbered_without_gaps_and_their_shares_add_up(plan: BatchPlan) -> None:
    shares = np.zeros(plan.steps)
    ends = 0
    for batch in plan.from_step(0):
        assert batch.step == ends and batch.epoch == batch.step // plan.steps_per_epoch
        shares[batch.step] += batch.share
        ends += batch.ends_step
    assert ends == plan.steps
    assert shares == pytest.approx(1)


def test_epochs_differ_in_their_order_and_so_do_seeds() -> None:
    first, second = (list(BatchPlan(np.zeros(60, np.int64), 2, 60, 1, seed).from_step(0)) for seed in (1, 2))
    orders = [batch.positions.tolist() for batch in [*first, *second]]
    assert len({tuple(order) for order in orders}) == 4


def test_photos_fall_into_the_five_buckets_of_the_paper() -> None:
    sizes = np.array([(60, 100), (62, 100), (70, 100), (72, 100), (100, 100), (98, 100), (140, 100), (142, 100)])
    wide = np.array([(160, 100), (1600, 1000)])
    assert aspect_buckets(np.concatenate([sizes, wide])).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_a_photo_alone_in_its_bucket_joins_the_nearest_one() -> None:
    assert aspect_buckets(np.array([(300, 100), (100, 100), (100, 100), (70, 100), (70, 100)])).tolist()[0] == 2
    assert aspect_buckets(np.array([(300, 100), (10, 100)])).tolist() == [4, 4]


def test_a_batch_size_of_one_is_refused() -> None:
    with pytest.raises(InputError, match="batch_size of at least 2"):
        BatchPlan(np.zeros(5, np.int64), 1, 1, 1, 0)
