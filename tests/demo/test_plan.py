"""The plan of a rendered set."""

from hypothesis import given
from hypothesis import strategies as st

from landmark_dag.demo.plan import MOST_LANDMARKS, landmark_name, plan_photos
from landmark_dag.settings.demo import RenderingSettings


def test_every_landmark_has_another_name() -> None:
    assert len({landmark_name(place) for place in range(MOST_LANDMARKS)}) == MOST_LANDMARKS


@given(st.integers(1, 20), st.integers(0, 60), st.integers(0, 60), st.floats(0, 1), st.integers(0, 1000))
def test_a_plan_has_the_counts_of_the_settings_and_distinct_ids(
    landmarks: int, more_index: int, more_queries: int, share: float, seed: int
) -> None:
    settings = RenderingSettings(
        landmarks=landmarks, train_photos=2 * landmarks, index_photos=landmarks + more_index,
        query_photos=landmarks + more_queries, distractor_share=share, ignored_query_share=share, seed=seed,
    )  # fmt: skip
    plan = plan_photos(settings)
    assert [sum(photo.split == split for photo in plan) for split in ("train", "index", "query")] == [
        settings.train_photos, settings.index_photos, settings.query_photos,
    ]  # fmt: skip
    assert len({photo.image_id for photo in plan}) == len(plan)
    assert {photo.place for photo in plan if photo.split == "index"} >= set(range(landmarks))
