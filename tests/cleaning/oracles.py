"""Short plain statements of what cleaning computes, to compare it with."""

from collections import Counter, defaultdict
from collections.abc import Sequence


def candidates(
    ids: Sequence[str],
    landmarks: Sequence[int],
    similarity: Sequence[Sequence[float]],
    neighbours: int,
    among: int = 0,
) -> list[tuple[str, str]]:
    """Return the pairs of ids, each photo with its nearest of one landmark."""
    pairs = set()
    for a, name in enumerate(ids):
        others = sorted((b for b in range(len(ids)) if b != a), key=lambda b: (-similarity[a][b], ids[b]))
        if among:
            others = others[:among]
        same = [b for b in others if landmarks[b] == landmarks[a]]
        pairs |= {tuple(sorted((name, ids[b]))) for b in same[:neighbours]}
    return sorted(pairs)


def kept(
    labels: dict[str, int],
    matches: Sequence[tuple[str, str, int]],
    min_inliers: int,
    min_verified: int,
    min_photos: int,
) -> dict[str, int]:
    """Return the label of every photo that stays."""
    verified: Counter[str] = Counter()
    for a, b, inliers in matches:
        if inliers >= min_inliers:
            verified.update([a, b])
    members = defaultdict(list)
    for name, landmark in labels.items():
        if verified[name] >= min_verified:
            members[landmark].append(name)
    return {name: landmark for landmark, names in members.items() if len(names) >= min_photos for name in names}
