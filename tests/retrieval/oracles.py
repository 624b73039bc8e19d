"""Plain oracles of votes, sort-step and insert-step: one photo at a time, no arrays."""

import numpy as np


def vote(neighbours: list[tuple[float, int]], k: int) -> tuple[int, np.float32]:
    """The landmark and confidence of one photo; `neighbours` are (similarity, landmark), nearest first."""
    sums: dict[int, np.float32] = {}
    for similarity, landmark in neighbours[:k]:
        sums[landmark] = sums.get(landmark, np.float32(0)) + np.float32(similarity)
    best = max(sums, key=lambda landmark: sums[landmark])  # max keeps the first of equals
    return best, sums[best] / np.float32(k)


Votes = dict[str, tuple[int, float]]
Rows = list[tuple[str, str]]


def sort_step(query: str, retrieved: list[str], query_votes: Votes, index_votes: Votes) -> Rows:
    """(index id, reason) of one query's sorted list."""
    landmark = query_votes[query][0]
    same = [image_id for image_id in retrieved if index_votes[image_id][0] == landmark]
    others = [image_id for image_id in retrieved if index_votes[image_id][0] != landmark]
    return [(i, "same landmark") for i in same] + [(i, "retrieved") for i in others]


def insert_step(
    query: str, retrieved: list[str], query_votes: Votes, index_votes: Votes, threshold: float, limit: int
) -> Rows:
    """(index id, reason) of one query's inserted list."""
    rows = sort_step(query, retrieved, query_votes, index_votes)
    landmark, confidence = query_votes[query]
    inserted = [
        image_id
        for image_id, (other, other_confidence) in index_votes.items()
        if image_id not in retrieved
        and other == landmark
        and np.float32(confidence) + np.float32(other_confidence) > np.float32(threshold)
    ]
    inserted.sort(key=lambda image_id: (-index_votes[image_id][1], image_id))
    positives = [row for row in rows if row[1] == "same landmark"]
    others = [row for row in rows if row[1] == "retrieved"]
    return (positives + [(i, "inserted") for i in inserted] + others)[:limit]
