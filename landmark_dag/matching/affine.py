"""The robust affine map between the matches of two photos: constants of both implementations, and the compiled one.

Many hypotheses are fitted, each to three matches; more similar matches are sampled more often. The hypothesis with
most inliers is refitted to them by least squares. A match is an inlier if the map puts it within the residual of its
place in photo b, and if its keypoint turns and grows as the map does (not checked where orientations are unknown in
both photos). A map that mirrors, collapses, shears or scales more than a camera that sees the same wall would is no
hypothesis. A map has no inliers if they lie on a line, or if their least-squares map is no hypothesis.

Every result is the same to the bit on every device and in every batch: places are whole numbers of 1/16 pixel,
maps and residuals are float32 results of separately rounded operations in a fixed order, and the sums of the least
squares are whole numbers that float64 holds exactly.
"""

import functools

import numba
import numpy as np
from numpy.typing import NDArray

SUBPIXELS = 16
"""Units of a place in a pixel: 1/16 pixel is finer than keypoints are located."""

LARGEST_SCALE = 5.0
"""Largest change of size, either way, between two photos."""

LARGEST_TILT = 4.0
"""Largest ratio of a map's two singular values: a wall seen at 75 degrees, beyond which SIFT matches nothing."""

SMALLEST_TRIANGLE = np.float32(16.0 * SUBPIXELS**2)
"""Smallest doubled area of the three sampled places, 16 square pixels: a smaller triangle does not determine a map."""

SMALLEST_SPREAD = 1e-3
"""Smallest ratio of the determinant of the inliers' scatter to its squared trace; below it they lie on a line."""

TURN = np.float32(0.75)
"""Squared cosine of the largest difference (30 degrees) between the rotation of a keypoint and that of the map."""

GROWTH = np.float32(4.0)
"""Square of the largest ratio (an octave), either way, between the scaling of a keypoint and that of the map."""

SAMPLED = 256
"""Number of matches, the most similar ones, that samples are drawn from: later ones are rarely right."""

REFITS = 3
"""How often the best map is refitted to its inliers."""

_SEED = 20200615


@functools.lru_cache(maxsize=4)
def sampling_table(hypotheses: int) -> NDArray[np.float32]:
    """Return numbers float32 (hypotheses, 3) in [0, 1): where in the list of matches, best first, each sample lies.

    They are squared uniform numbers, so that more similar matches are sampled more often. The table is the same for
    every pair, so a pair's result depends only on its two photos.
    """
    uniform = np.random.Generator(np.random.PCG64(_SEED)).random((hypotheses, 3), dtype=np.float32)
    table = uniform * uniform
    table.flags.writeable = False
    return table


def inverse_affine(affine: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the inverse of an invertible affine map (2, 3)."""
    linear = np.linalg.inv(affine[:, :2].astype(np.float64))
    return np.concatenate([linear, -linear @ affine[:, 2:]], axis=1).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def is_sane(a, b, c, d):  # type: ignore[no-untyped-def]
    """Return whether a map of linear part ((a, b), (c, d)) is within the limits of scale and tilt."""
    determinant = a * d - b * c
    squares = ((a * a + b * b) + c * c) + d * d
    return (
        determinant >= np.float32(1 / LARGEST_SCALE**2)
        and determinant <= np.float32(LARGEST_SCALE**2)
        and squares <= np.float32(LARGEST_TILT + 1 / LARGEST_TILT) * determinant
    )


@numba.njit(cache=True, nogil=True)
def through_three(x, y, i, j, k, map_):  # type: ignore[no-untyped-def]
    """Put the affine map through the matches i, j, k into `map_` (6,); return whether it is a hypothesis."""
    px, py, qx, qy = x[j, 0] - x[i, 0], x[j, 1] - x[i, 1], x[k, 0] - x[i, 0], x[k, 1] - x[i, 1]
    area = px * qy - py * qx
    if not abs(area) >= SMALLEST_TRIANGLE:
        return False
    ux, uy, vx, vy = y[j, 0] - y[i, 0], y[j, 1] - y[i, 1], y[k, 0] - y[i, 0], y[k, 1] - y[i, 1]
    a, b = (ux * qy - vx * py) / area, (vx * px - ux * qx) / area
    c, d = (uy * qy - vy * py) / area, (vy * px - uy * qx) / area
    map_[0], map_[1], map_[2] = a, b, (y[i, 0] - a * x[i, 0]) - b * x[i, 1]
    map_[3], map_[4], map_[5] = c, d, (y[i, 1] - c * x[i, 0]) - d * x[i, 1]
    return is_sane(a, b, c, d)


@numba.njit(cache=True, nogil=True)
def turns_and_grows(s, t, map_):  # type: ignore[no-untyped-def]
    """Return whether the map takes a keypoint's orientation `s` (2,) in photo a to about `t` in photo b."""
    a, b, c, d = map_[0], map_[1], map_[3], map_[4]
    mx, my = a * s[0] + b * s[1], c * s[0] + d * s[1]
    along = mx * t[0] + my * t[1]
    target = t[0] * t[0] + t[1] * t[1]
    grown = (a * d - b * c) * (s[0] * s[0] + s[1] * s[1])
    return (
        along >= 0
        and along * along >= TURN * ((mx * mx + my * my) * target)
        and grown <= GROWTH * target
        and target <= GROWTH * grown
    )


@numba.njit(cache=True, nogil=True)
def count_close(px, py, u, v, map_, limit):  # type: ignore[no-untyped-def]
    """Return how many places `px`, `py` (n,) the map puts close to `u`, `v`: no fewer than the inliers."""
    a, b, shift_x, c, d, shift_y = map_[0], map_[1], map_[2], map_[3], map_[4], map_[5]
    count = np.int32(0)
    for m in range(len(px)):
        dx = ((a * px[m] + b * py[m]) + shift_x) - u[m]
        dy = ((c * px[m] + d * py[m]) + shift_y) - v[m]
        count += np.int32(dx * dx + dy * dy <= limit)
    return count


@numba.njit(cache=True, nogil=True)
def mark_inliers(x, y, s, t, map_, limit, inlier):  # type: ignore[no-untyped-def]
    """Mark in `inlier` (n,) the matches that agree with `map_`; return their number."""
    count = 0
    for m in range(len(x)):
        dx = ((map_[0] * x[m, 0] + map_[1] * x[m, 1]) + map_[2]) - y[m, 0]
        dy = ((map_[3] * x[m, 0] + map_[4] * x[m, 1]) + map_[5]) - y[m, 1]
        inlier[m] = dx * dx + dy * dy <= limit and turns_and_grows(s[m], t[m], map_)
        count += inlier[m]
    return count


@numba.njit(cache=True, nogil=True)
def refit(x, y, inlier, map_):  # type: ignore[no-untyped-def]
    """Put the least-squares map of the inliers into `map_`; return whether it is a hypothesis."""
    sums = np.zeros(12)
    for m in range(len(x)):
        if inlier[m]:
            px, py = np.float64(x[m, 0]), np.float64(x[m, 1])
            u, v = np.float64(y[m, 0]), np.float64(y[m, 1])
            terms = (1.0, px, py, u, v, px * px, px * py, py * py, px * u, py * u, px * v, py * v)
            for number in range(12):
                sums[number] += terms[number]
    n, sx, sy, su, sv = sums[0], sums[1], sums[2], sums[3], sums[4]
    xx, xy, yy = n * sums[5] - sx * sx, n * sums[6] - sx * sy, n * sums[7] - sy * sy
    xu, yu = n * sums[8] - sx * su, n * sums[9] - sy * su
    xv, yv = n * sums[10] - sx * sv, n * sums[11] - sy * sv
    determinant, trace = xx * yy - xy * xy, xx + yy
    if not determinant > SMALLEST_SPREAD * (trace * trace):
        return False
    a, b = (xu * yy - yu * xy) / determinant, (yu * xx - xu * xy) / determinant
    c, d = (xv * yy - yv * xy) / determinant, (yv * xx - xv * xy) / determinant
    map_[0], map_[1], map_[2] = a, b, ((su - a * sx) - b * sy) / n
    map_[3], map_[4], map_[5] = c, d, ((sv - c * sx) - d * sy) / n
    return is_sane(map_[0], map_[1], map_[3], map_[4])


@numba.njit(cache=True, nogil=True)
def three_agree(s, t, i, j, k, map_):  # type: ignore[no-untyped-def]
    """Return whether all three sampled keypoints turn and grow as the map through them does."""
    return turns_and_grows(s[i], t[i], map_) and turns_and_grows(s[j], t[j], map_) and turns_and_grows(s[k], t[k], map_)


@numba.njit(cache=True, nogil=True)
def fit_affine(x, y, s, t, table, limit, best):  # type: ignore[no-untyped-def]
    """Put the affine map with most inliers from `x` to `y` into `best` (6,); return the number of inliers.

    `x`, `y` (n, 2) are places in units of 1/16 pixel, `s`, `t` (n, 2) orientations, all float32, the best matches
    first. `table` is a `sampling_table`, `limit` the squared residual in the units of places. Of maps with equally
    many inliers the first is taken.
    """
    count = len(x)
    most = 0
    if count < 3:
        return most
    map_ = np.zeros(6, np.float32)
    inlier = np.zeros(count, np.bool_)
    px, py, u, v = x[:, 0].copy(), x[:, 1].copy(), y[:, 0].copy(), y[:, 1].copy()
    drawn = min(count, SAMPLED)
    for h in range(len(table)):
        i = min(int(table[h, 0] * np.float32(drawn)), drawn - 1)
        j = min(int(table[h, 1] * np.float32(drawn)), drawn - 1)
        k = min(int(table[h, 2] * np.float32(drawn)), drawn - 1)
        if not (through_three(x, y, i, j, k, map_) and three_agree(s, t, i, j, k, map_)):
            continue
        if count_close(px, py, u, v, map_, limit) <= most:
            continue
        inliers = mark_inliers(x, y, s, t, map_, limit, inlier)
        if inliers > most:
            most = inliers
            best[:] = map_
    mark_inliers(x, y, s, t, best, limit, inlier)
    for round_ in range(REFITS if most else 0):
        if not refit(x, y, inlier, map_):
            if round_ == 0:
                most = 0
                best[:] = 0
            break
        inliers = mark_inliers(x, y, s, t, map_, limit, inlier)
        if inliers > most:
            most = inliers
            best[:] = map_
    return most
