"""The robust affine map of `affine` for a batch of pairs on an accelerator, with the same results to the bit.

Each line does what the compiled functions of `affine` do, in the same order of operations. Samples that give no
hypothesis (degenerate samples, maps outside the limits, keypoints that do not turn with their map) are dropped before
any scoring; where orientations are known, few are left.
"""

from dataclasses import dataclass

import torch

from landmark_dag.matching.affine import (
    GROWTH,
    LARGEST_SCALE,
    LARGEST_TILT,
    REFITS,
    SAMPLED,
    SMALLEST_SPREAD,
    SMALLEST_TRIANGLE,
    TURN,
)

_SCORES_AT_ONCE = 1 << 22
"""Residuals (hypotheses times matches) in memory at once: 16 MB in each of about ten intermediate arrays."""


@dataclass(frozen=True)
class Matches:
    """The matches of a batch of p pairs, at most k each, best first, float32.

    `x`, `y` (p, k, 2) are places in photos a and b in units of 1/16 pixel, `s`, `t` (p, k, 2) orientations. The
    first `counts[i]` (p,) matches of pair i are real, the rest is padding.
    """

    x: torch.Tensor
    y: torch.Tensor
    s: torch.Tensor
    t: torch.Tensor
    counts: torch.Tensor


def fit_affine_batched(matches: Matches, table: torch.Tensor, limit: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the number of inliers (p,) int64 and the map (p, 6) float32 of each pair; see `affine.fit_affine`."""
    pair, maps = _hypotheses(matches, table)
    scores = torch.cat(
        [
            _inliers(matches, pair[chunk], maps[chunk], limit).sum(dim=1)
            for chunk in torch.arange(len(pair), device=pair.device).split(
                max(1, _SCORES_AT_ONCE // max(1, matches.x.shape[1]))
            )
        ]
        + [torch.zeros(0, dtype=torch.int64, device=pair.device)]
    )
    most, best = _first_best(pair, maps, scores, len(matches.counts))
    return _refitted(matches, most, best, limit)


def _hypotheses(matches: Matches, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pair (h,) and map (h, 6) of every hypothesis, sorted by pair, then in the table's order."""
    drawn = matches.counts.clamp(max=SAMPLED)[:, None, None]
    place = (table * drawn.to(torch.float32)).to(torch.int64).clamp(max=(drawn - 1).clamp(min=0))
    sample = place.flatten(1)[:, :, None].expand(-1, -1, 2)
    x, y, s, t = (
        values.gather(1, sample).unflatten(1, (-1, 3)) for values in (matches.x, matches.y, matches.s, matches.t)
    )
    p, q, u, v = x[:, :, 1] - x[:, :, 0], x[:, :, 2] - x[:, :, 0], y[:, :, 1] - y[:, :, 0], y[:, :, 2] - y[:, :, 0]
    (px, py), (qx, qy), (ux, uy), (vx, vy) = (value.unbind(-1) for value in (p, q, u, v))
    area = px * qy - py * qx
    a, b = (ux * qy - vx * py) / area, (vx * px - ux * qx) / area
    c, d = (uy * qy - vy * py) / area, (vy * px - uy * qx) / area
    shift_x = (y[:, :, 0, 0] - a * x[:, :, 0, 0]) - b * x[:, :, 0, 1]
    shift_y = (y[:, :, 0, 1] - c * x[:, :, 0, 0]) - d * x[:, :, 0, 1]
    valid = (area.abs() >= float(SMALLEST_TRIANGLE)) & _are_sane(a, b, c, d) & (matches.counts >= 3)[:, None]
    maps = torch.stack([a, b, shift_x, c, d, shift_y], dim=2)
    valid &= _turn_and_grow(s, t, maps[:, :, None]).all(dim=2)
    return valid.nonzero()[:, 0], maps[valid]


def _are_sane(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    """See `affine.is_sane`."""
    determinant = a * d - b * c
    squares = ((a * a + b * b) + c * c) + d * d
    within = (determinant >= 1 / LARGEST_SCALE**2) & (determinant <= LARGEST_SCALE**2)
    return within & (squares <= (LARGEST_TILT + 1 / LARGEST_TILT) * determinant)


def _turn_and_grow(s: torch.Tensor, t: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """See `affine.turns_and_grows`; the leading dimensions of `s`, `t` (..., 2) and `maps` (..., 6) broadcast."""
    a, b, _, c, d, _ = maps.unbind(-1)
    sx, sy, tx, ty = s[..., 0], s[..., 1], t[..., 0], t[..., 1]
    mx, my = a * sx + b * sy, c * sx + d * sy
    along = mx * tx + my * ty
    target = tx * tx + ty * ty
    grown = (a * d - b * c) * (sx * sx + sy * sy)
    turned = (along >= 0) & (along * along >= float(TURN) * ((mx * mx + my * my) * target))
    return turned & (grown <= float(GROWTH) * target) & (target <= float(GROWTH) * grown)


def _inliers(matches: Matches, pair: torch.Tensor, maps: torch.Tensor, limit: float) -> torch.Tensor:
    """Return which matches (h, k) of its pair (h,) agree with each map (h, 6); see `affine.mark_inliers`."""
    x, y = matches.x[pair], matches.y[pair]
    a, b, shift_x, c, d, shift_y = (value[:, None] for value in maps.unbind(1))
    dx = ((a * x[:, :, 0] + b * x[:, :, 1]) + shift_x) - y[:, :, 0]
    dy = ((c * x[:, :, 0] + d * x[:, :, 1]) + shift_y) - y[:, :, 1]
    inlier = dx * dx + dy * dy <= limit
    inlier &= torch.arange(x.shape[1], device=x.device) < matches.counts[pair, None]
    return inlier & _turn_and_grow(matches.s[pair], matches.t[pair], maps[:, None])


def _first_best(
    pair: torch.Tensor, maps: torch.Tensor, scores: torch.Tensor, pairs: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each pair's best score (p,) and the first map (p, 6) with it; zeros for a pair without hypotheses."""
    device = maps.device
    most = torch.zeros(pairs, dtype=torch.int64, device=device).scatter_reduce_(0, pair, scores, "amax")
    number = torch.arange(len(pair), device=device).where(scores == most[pair], len(pair))
    first = torch.full((pairs,), len(pair), device=device).scatter_reduce_(0, pair, number, "amin")
    with_none = torch.cat([maps, torch.zeros(1, 6, device=device)])
    return most, with_none[first].where((most > 0)[:, None], 0.0)


def _refitted(
    matches: Matches, most: torch.Tensor, best: torch.Tensor, limit: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Refit each pair's best map to its inliers as long as it stays a hypothesis; return the best of all."""
    every = torch.arange(len(most), device=most.device)
    inlier = _inliers(matches, every, best, limit)
    active = most > 0
    for number in range(REFITS):
        maps, valid = _least_squares(matches, inlier)
        active = active & valid
        if number == 0:
            most, best = most.where(active, 0), best.where(active[:, None], 0.0)
        inlier = _inliers(matches, every, maps, limit)
        inliers = inlier.sum(dim=1)
        better = active & (inliers > most)
        most = inliers.where(better, most)
        best = maps.where(better[:, None], best)
    return most, best


def _least_squares(matches: Matches, inlier: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the least-squares map (p, 6) of the inliers (p, k), and whether it is a hypothesis; see `affine.refit`."""
    weight = inlier.to(torch.float64)
    (px, py), (u, v) = (values.to(torch.float64).unbind(2) for values in (matches.x, matches.y))
    terms = (torch.ones_like(px), px, py, u, v, px * px, px * py, py * py, px * u, py * u, px * v, py * v)
    n, sx, sy, su, sv, *products = ((weight * term).sum(dim=1) for term in terms)
    xx, xy, yy = n * products[0] - sx * sx, n * products[1] - sx * sy, n * products[2] - sy * sy
    xu, yu = n * products[3] - sx * su, n * products[4] - sy * su
    xv, yv = n * products[5] - sx * sv, n * products[6] - sy * sv
    determinant, trace = xx * yy - xy * xy, xx + yy
    a, b = (xu * yy - yu * xy) / determinant, (yu * xx - xu * xy) / determinant
    c, d = (xv * yy - yv * xy) / determinant, (yv * xx - xv * xy) / determinant
    shift_x, shift_y = ((su - a * sx) - b * sy) / n, ((sv - c * sx) - d * sy) / n
    maps = torch.stack([a, b, shift_x, c, d, shift_y], dim=1).to(torch.float32)
    spread = determinant > SMALLEST_SPREAD * (trace * trace)
    return maps, spread & _are_sane(maps[:, 0], maps[:, 1], maps[:, 3], maps[:, 4])
