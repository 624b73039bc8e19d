"""A short plain statement of mutual matching, to compare it with."""

from collections.abc import Sequence


def mutual_matches(similarity: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Return (row, column) of mutual best matches, best first; ties by the rule of `matching`."""
    columns = list(zip(*similarity, strict=True))
    found = {}
    for j, column in enumerate(columns):
        i = column.index(max(column))
        if column[i] == max(similarity[i]) and i not in found:
            found[i] = j
    return sorted(found.items(), key=lambda match: (-similarity[match[0]][match[1]], match[1]))
