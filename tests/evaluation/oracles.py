"""Plain oracles of the official metrics: one query, one prediction at a time."""

Lists = dict[str, list[str]]


def mean_average_precision(lists: Lists, relevant: dict[str, set[str]], limit: int = 100) -> float:
    """mAP over the queries of `relevant`, as the official loop computes it."""
    total = 0.0
    for query, right in relevant.items():
        found: set[str] = set()
        precision = 0.0
        for rank, image_id in enumerate(lists.get(query, [])[:limit], start=1):
            if image_id in right and image_id not in found:
                found.add(image_id)
                precision += len(found) / rank
        total += precision / min(len(right), limit)
    return total / len(relevant)


def micro_average_precision(predictions: list[tuple[str, int, float]], shown: dict[str, set[int]]) -> float:
    """GAP of (query, landmark, score) predictions."""
    ordered = sorted(predictions, key=lambda prediction: (-prediction[2], prediction[0], prediction[1]))
    right = 0
    total = 0.0
    for rank, (query, landmark, _) in enumerate(ordered, start=1):
        if landmark in shown[query]:
            right += 1
            total += right / rank
    return total / sum(len(landmarks) > 0 for landmarks in shown.values())
