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


def revisited(ranks: list[int], positive: list[int], junk: list[int]) -> tuple[float, list[float]]:
    """AP and precision at 1, 5 and 10 of one query, as revisitop's compute_ap and compute_map compute them.

    `ranks` is the whole database, best first.
    """
    pos = [place for place, photo in enumerate(ranks) if photo in positive]
    removed = [place for place, photo in enumerate(ranks) if photo in junk]
    k = ij = 0
    for ip in range(len(pos)):
        while ij < len(removed) and pos[ip] > removed[ij]:
            k += 1
            ij += 1
        pos[ip] -= k
    ap = 0.0
    for j, rank in enumerate(pos):
        precision_0 = 1.0 if rank == 0 else j / rank
        precision_1 = (j + 1) / (rank + 1)
        ap += (precision_0 + precision_1) / len(positive) / 2
    pos = [rank + 1 for rank in pos]
    depths = [min(max(pos), kappa) for kappa in (1, 5, 10)]
    return ap, [sum(rank <= depth for rank in pos) / depth for depth in depths]
