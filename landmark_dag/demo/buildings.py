"""Buildings: landmarks of twelve kinds, made of boxes, roofs, domes and spires."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from landmark_dag.demo.camera import Surface, Texture
from landmark_dag.demo.facades import Style, cornice, facade, quoins, wall
from landmark_dag.demo.painting import PIXELS_PER_METRE, UPPER_HALF, Colour, Painting, masonry, tinted, varied


@dataclass(frozen=True)
class Building:
    """Surfaces in drawing order, and the space they fill: x in -width/2..width/2, y in 0..height."""

    surfaces: tuple[Surface, ...]
    width: float
    height: float


class _Site:
    """Collects the surfaces of a building, and sorts them from back to front."""

    def __init__(self) -> None:
        self._entries: list[tuple[tuple[float, int], Surface]] = []

    def box(
        self, front: Painting, side: Painting, style: Style, x: float, z: float, depth: float, foot: float = 0
    ) -> None:
        """Add a box with a flat top, whose front is centred at `x`, at distance `z`."""
        width, height = front.width / PIXELS_PER_METRE, front.height / PIXELS_PER_METRE
        left, right, top = x - width / 2, x + width / 2, foot + height
        side.modulate(np.full((side.height, side.width), 0.86, np.float32))
        flank = side.texture(style.flood)
        self._add(z, 0, flank, (right, top, z), (0, 0, depth), (0, -height, 0))
        self._add(z, 0, flank, (left, top, z + depth), (0, 0, -depth), (0, -height, 0))
        lid = Painting(16, 16, tinted(style.roof, 0.9)).texture(dark=0.3)
        self._add(z, 1, lid, (left, top, z + depth), (width, 0, 0), (0, 0, -depth))
        self._add(z, 2, front.texture(style.flood), (left, top, z), (width, 0, 0), (0, -height, 0))

    def sheet(self, painting: Painting, style: Style, x: float, z: float, foot: float, lean: float = 0) -> None:
        """Add a cut-out with its foot at the height `foot`; like a roof, it leans back by `lean` metres."""
        width, height = painting.width / PIXELS_PER_METRE, painting.height / PIXELS_PER_METRE
        corner, down = (x - width / 2, foot + height, z + lean), (0, -height, -lean)
        self._add(z, 3, painting.texture(style.flood), corner, (width, 0, 0), down, one_sided=False)

    def building(self) -> Building:
        """Return the building of all surfaces added."""
        surfaces = tuple(surface for _, surface in sorted(self._entries, key=lambda entry: entry[0]))
        corners = np.concatenate([surface.corners for surface in surfaces])
        return Building(surfaces, 2 * float(np.abs(corners[:, 0]).max()), float(corners[:, 1].max()))

    def _add(
        self, z: float, layer: int, texture: Texture, corner: tuple[float, float, float],
        right: tuple[float, float, float], down: tuple[float, float, float], one_sided: bool = True,
    ) -> None:  # fmt: skip
        surface = Surface(texture, np.array(corner, float), np.array(right, float), np.array(down, float), one_sided)
        self._entries.append(((-z, layer), surface))


def _metres(width: float, height: float) -> Painting:
    return Painting(max(8, round(width * PIXELS_PER_METRE)), max(8, round(height * PIXELS_PER_METRE)))


def roof(rng: np.random.Generator, style: Style, width: float, height: float, dormers: int) -> Painting:
    """A tiled roof with slanted ends and dormer windows."""
    painting = _metres(width, height)
    w, h = painting.width, painting.height
    tiles = Painting(w, h, style.roof)
    masonry(tiles, rng, 6, 9, 0.12, 0.75)
    painting.polygon([(0, h), (h * 0.5, 0), (w - h * 0.5, 0), (w, h)], style.roof)
    painting.rgb[:] = tiles.rgb
    for x in (np.arange(dormers) + 0.5) * w / max(dormers, 1):
        size = h * 0.36
        painting.rectangle(x - size / 2, h * 0.46, size, h * 0.44, style.trim)
        painting.polygon(
            [(x - size * 0.7, h * 0.46), (x, h * 0.2), (x + size * 0.7, h * 0.46)], tinted(style.trim, 0.9)
        )
        painting.rectangle(x - size * 0.3, h * 0.54, size * 0.6, h * 0.34, style.glass, float(rng.choice([0, 220])))
    return painting


def dome(rng: np.random.Generator, style: Style, radius: float, onion: bool = False) -> Painting:
    """A ribbed dome on a drum with windows, a lantern on top."""
    painting = _metres(2.2 * radius, 2.7 * radius)
    w, h, r = painting.width, painting.height, radius * PIXELS_PER_METRE
    middle, rim = w / 2, h - 0.75 * r
    painting.rectangle(middle - r, rim, 2 * r, 0.75 * r, style.wall)
    for x in np.linspace(-0.8, 0.8, 6):
        painting.rectangle(middle + x * r - r * 0.08, rim + r * 0.2, r * 0.16, r * 0.42, style.glass, 230)
    painting.rectangle(middle - 1.06 * r, rim - 0.06 * r, 2.12 * r, 0.14 * r, style.trim)
    swell = 1.08 if onion else 1.0
    painting.ellipse(middle, rim, r * swell, r * 1.05, style.roof, sector=UPPER_HALF)
    if onion:
        painting.polygon(
            [(middle - r * 0.5, rim - r * 0.85), (middle, rim - r * 1.6), (middle + r * 0.5, rim - r * 0.85)],
            style.roof,
        )
    for rib in np.linspace(-0.9, 0.9, 7):
        points = [
            (middle + rib * r * float(np.cos(t)), rim - r * 1.04 * float(np.sin(t))) for t in np.linspace(0, 1.5, 9)
        ]
        for start, end in pairwise(points):
            painting.line(start, end, tinted(style.roof, 0.72 if rib > 0 else 1.25), 2)
    painting.rectangle(middle - 0.12 * r, rim - 1.4 * r, 0.24 * r, 0.4 * r, style.trim, 120)
    painting.polygon(
        [(middle - 0.16 * r, rim - 1.4 * r), (middle, rim - 1.9 * r), (middle + 0.16 * r, rim - 1.4 * r)], style.accent
    )
    _round_shading(painting)
    return painting


def spire(rng: np.random.Generator, style: Style, width: float, height: float) -> Painting:
    """A pointed roof with courses and a finial."""
    painting = _metres(width, height)
    w, h = painting.width, painting.height
    painting.polygon([(0, h), (w / 2, h * 0.08), (w, h)], style.roof)
    for course in np.linspace(0.3, 0.92, int(rng.integers(3, 7))):
        half = w / 2 * (course - 0.08) / 0.92
        painting.rectangle(w / 2 - half, h * course, 2 * half, h * 0.03, tinted(style.roof, 1.4))
    painting.line((w / 2, 0), (w / 2, h * 0.12), style.accent, 3)
    painting.ellipse(w / 2, h * 0.08, w * 0.05, w * 0.05, (220, 190, 90))
    _round_shading(painting)
    return painting


def pediment(rng: np.random.Generator, style: Style, width: float, height: float) -> Painting:
    """A triangular gable with figures in relief."""
    painting = _metres(width, height)
    w, h = painting.width, painting.height
    painting.polygon([(0, h), (w / 2, 0), (w, h)], style.trim)
    painting.polygon([(w * 0.1, h * 0.93), (w / 2, h * 0.16), (w * 0.9, h * 0.93)], tinted(style.wall, 0.72))
    for x in np.linspace(0.2, 0.8, 9):
        tall = h * 0.62 * (1 - abs(x - 0.5) * 2) * rng.uniform(0.7, 1.15)
        painting.ellipse(w * x, h * 0.93 - tall / 2, w * 0.022, tall / 2, tinted(style.trim, rng.uniform(0.8, 1.0)))
        painting.ellipse(w * x + rng.uniform(-3, 3), h * 0.9 - tall, w * 0.014, w * 0.014, tinted(style.trim, 0.95))
    return painting


def parapet(style: Style, width: float, height: float, merlon: float) -> Painting:
    """Battlements, or a balustrade where the merlons are narrow."""
    painting = _metres(width, height)
    step = merlon * PIXELS_PER_METRE
    painting.rectangle(0, painting.height * 0.55, painting.width, painting.height * 0.45, style.trim)
    for x in np.arange(0, painting.width, 2 * step):
        painting.rectangle(x, 0, step, painting.height, tinted(style.trim, 0.94))
    return painting


def columns(rng: np.random.Generator, style: Style, width: float, height: float, count: int) -> Painting:
    """A dark porch behind a row of fluted columns, an inscribed beam on top, steps below."""
    painting = _metres(width, height)
    w, h = painting.width, painting.height
    painting.rectangle(0, 0, w, h, tinted(style.wall, 0.42), 90)
    for _ in range(5):
        x = w * rng.uniform(0.1, 0.9)
        painting.rectangle(x, h * 0.4, w * 0.05, h * 0.5, varied(tinted(style.accent, 0.6), rng, 15), 170)
    thick = w / count * 0.42
    for x in (np.arange(count) + 0.5) * w / count:
        for flute in range(5):
            shade = (0.78, 0.98, 1.06, 0.96, 0.7)[flute]
            painting.rectangle(
                x - thick / 2 + thick * flute / 5, h * 0.16, thick / 5 + 1, h * 0.74, tinted(style.trim, shade)
            )
        painting.rectangle(x - thick * 0.75, h * 0.14, thick * 1.5, h * 0.05, style.trim)
        painting.rectangle(x - thick * 0.7, h * 0.87, thick * 1.4, h * 0.04, tinted(style.trim, 0.85))
    painting.rectangle(0, 0, w, h * 0.14, style.trim)
    for _ in range(26):
        painting.rectangle(
            w * rng.uniform(0.03, 0.95), h * 0.045, w * 0.015, h * 0.06, tinted(style.trim, rng.uniform(0.55, 0.8))
        )
    for step in range(4):
        painting.rectangle(0, h * (0.9 + step * 0.025), w, h * 0.03, tinted(style.trim, 0.95 - 0.1 * (step % 2)))
    return painting


def clock(painting: Painting, rng: np.random.Generator, style: Style, x: float, y: float, r: float) -> None:
    """Paint a clock face that shows this landmark's own time."""
    painting.ellipse(x, y, r * 1.2, r * 1.2, style.accent)
    painting.ellipse(x, y, r, r, (246, 240, 222), 255)
    for hour in np.arange(12) * np.pi / 6:
        c, s = float(np.cos(hour)), float(np.sin(hour))
        painting.line(
            (x + 0.75 * r * c, y + 0.75 * r * s), (x + 0.92 * r * c, y + 0.92 * r * s), (40, 34, 32), r * 0.09
        )
    for length in (0.5, 0.78):
        angle = rng.uniform(0, 2 * np.pi)
        painting.line(
            (x, y),
            (x + length * r * float(np.cos(angle)), y + length * r * float(np.sin(angle))),
            (30, 26, 24),
            r * 0.1,
        )


def rose_window(painting: Painting, rng: np.random.Generator, style: Style, x: float, y: float, r: float) -> None:
    """Paint a round window of coloured petals."""
    painting.ellipse(x, y, r * 1.18, r * 1.18, style.trim)
    painting.ellipse(x, y, r, r, (34, 32, 44), 120)
    petals = int(rng.integers(6, 13))
    for ring, size in ((0.72, 0.19), (0.36, 0.13)):
        for petal in range(petals):
            angle = 2 * np.pi * petal / petals
            colour = varied((120, 70, 110), rng, 60)
            painting.ellipse(
                x + ring * r * float(np.cos(angle)),
                y + ring * r * float(np.sin(angle)),
                size * r,
                size * r,
                colour,
                230,
            )
    painting.ellipse(x, y, r * 0.16, r * 0.16, style.accent, 200)


def _round_shading(painting: Painting) -> None:
    """Shade the painting as something round in light from the left."""
    across = np.linspace(-1, 1, painting.width, dtype=np.float32)
    painting.modulate(np.broadcast_to(1.08 - 0.3 * np.maximum(across, 0) ** 1.5, (painting.height, painting.width)))


def _palace(rng: np.random.Generator, style: Style) -> Building:
    site, width, height = _Site(), rng.uniform(28, 38), rng.uniform(12, 16)
    floors, centre = int(rng.integers(2, 4)), rng.uniform(8, 11)
    ground = str(rng.choice(["arcade", "doors", "windows"]))
    site.box(
        facade(rng, style, width, height, floors, ground, 0),
        facade(rng, style, 14, height, floors, "windows", 0),
        style,
        0,
        0,
        14,
    )
    front = facade(rng, style, centre, height + 1.5, floors, "doors")
    site.box(front, wall(rng, style, 2, height + 1.5), style, 0, -2, 2)
    site.sheet(pediment(rng, style, centre + 1, 3.2), style, 0, -2, height + 1.5)
    site.sheet(roof(rng, style, width, 4, int(rng.integers(4, 9))), style, 0, 0.2, height, lean=3)
    return site.building()


def _cathedral(rng: np.random.Generator, style: Style) -> Building:
    site, width, height = _Site(), rng.uniform(11, 14), rng.uniform(17, 21)
    front = facade(rng, style, width, height, 2, "doors", 0)
    rose_window(front, rng, style, front.width / 2, front.height * 0.36, front.width * 0.24)
    site.box(front, facade(rng, style, 26, height - 4, 1, "windows", 0), style, 0, 0, 26)
    site.sheet(pediment(rng, style, width, 5), style, 0, 0.1, height)
    tall, spires = height + rng.uniform(3, 9), rng.random() < 0.7
    for side in (-1, 1):
        lower = tall - (rng.uniform(2, 7) if side > 0 and rng.random() < 0.4 else 0)
        tower = facade(rng, style, 6, lower, 4, "doors", 0)
        if side < 0:
            clock(tower, rng, style, tower.width / 2, tower.height * 0.2, tower.width * 0.22)
        x = side * (width / 2 + 3)
        site.box(tower, facade(rng, style, 7, lower, 4, "windows", 0), style, x, -0.5, 7)
        crown = spire(rng, style, 6.4, 9) if spires else parapet(style, 6.4, 1.4, 0.7)
        site.sheet(crown, style, x, -0.4, lower)
    return site.building()


def _basilica(rng: np.random.Generator, style: Style) -> Building:
    site, width, height = _Site(), rng.uniform(22, 28), rng.uniform(11, 14)
    site.sheet(dome(rng, style, rng.uniform(6, 8)), style, 0, 8, height - 1)
    site.box(
        facade(rng, style, width, height, 2, "doors", 0),
        facade(rng, style, 18, height, 2, "windows", 0),
        style,
        0,
        0,
        18,
    )
    site.box(
        columns(rng, style, width * 0.5, height - 1, int(rng.integers(4, 7))),
        wall(rng, style, 3, height - 1),
        style,
        0,
        -3,
        3,
    )
    site.sheet(pediment(rng, style, width * 0.54, 3.4), style, 0, -3, height - 1)
    for side in (-1, 1):
        site.sheet(dome(rng, style, 2.2), style, side * (width / 2 - 2.6), 0.5, height - 0.4)
    return site.building()


def _temple(rng: np.random.Generator, style: Style) -> Building:
    site, width, height = _Site(), rng.uniform(20, 27), rng.uniform(10, 13)
    side = columns(rng, style, 24, height, 9)
    site.box(columns(rng, style, width, height, int(rng.integers(6, 9))), side, style, 0, 0, 24)
    site.sheet(pediment(rng, style, width + 1, rng.uniform(3.6, 5)), style, 0, -0.1, height)
    return site.building()


def _clock_tower(rng: np.random.Generator, style: Style) -> Building:
    site, width, tall = _Site(), rng.uniform(7, 9), rng.uniform(26, 34)
    tower = facade(rng, style, width, tall, 6, "doors", 0)
    clock(tower, rng, style, tower.width / 2, tower.width * 0.55, tower.width * 0.33)
    side = facade(rng, style, width, tall, 6, "windows", 0)
    clock(side, rng, style, side.width / 2, side.width * 0.55, side.width * 0.33)
    site.box(tower, side, style, 0, -1, width)
    site.sheet(spire(rng, style, width + 0.6, rng.uniform(6, 11)), style, 0, -0.9, tall)
    base = rng.uniform(18, 26)
    site.box(facade(rng, style, base, 9, 2, "shops"), facade(rng, style, 10, 9, 2, "windows", 0), style, 0, 0, 10)
    return site.building()


def _castle(rng: np.random.Generator, style: Style) -> Building:
    site, width, height = _Site(), rng.uniform(24, 32), rng.uniform(9, 12)
    front = facade(rng, style, width, height, 2, "doors", 0)
    site.box(front, wall(rng, style, 18, height), style, 0, 0, 18)
    site.sheet(parapet(style, width, 1.4, 0.8), style, 0, 0, height)
    for x, tall in (
        (-width / 2, rng.uniform(14, 20)),
        (width / 2, rng.uniform(12, 18)),
        (rng.uniform(-3, 3), rng.uniform(13, 22)),
    ):
        tower = facade(rng, style, 6, tall, 4, "windows", 0)
        _round_shading(tower)
        site.box(tower, wall(rng, style, 6, tall), style, x, -1.5, 6)
        crown = spire(rng, style, 7, rng.uniform(4, 8)) if rng.random() < 0.5 else parapet(style, 6.6, 1.4, 0.7)
        site.sheet(crown, style, x, -1.4, tall)
    return site.building()


def _town_hall(rng: np.random.Generator, style: Style) -> Building:
    site, width, height = _Site(), rng.uniform(22, 30), rng.uniform(11, 14)
    site.box(
        facade(rng, style, width, height, 3, "arcade"), facade(rng, style, 14, height, 3, "arcade", 0), style, 0, 0, 14
    )
    site.sheet(roof(rng, style, width, 5, int(rng.integers(3, 8))), style, 0, 0.2, height, lean=4)
    x, tall = rng.uniform(-0.3, 0.3) * width, height + rng.uniform(8, 14)
    belfry = facade(rng, style, 5, tall, 6, "arcade", 0)
    clock(belfry, rng, style, belfry.width / 2, belfry.height * 0.16, belfry.width * 0.3)
    site.box(belfry, facade(rng, style, 5, tall, 6, "windows", 0), style, x, -0.5, 5)
    site.sheet(
        dome(rng, style, 2.4, onion=True) if rng.random() < 0.5 else spire(rng, style, 5.4, 8), style, x, -0.4, tall
    )
    return site.building()


def _skyscraper(rng: np.random.Generator, style: Style) -> Building:
    site, width, height = _Site(), rng.uniform(14, 19), rng.uniform(34, 46)
    front, side = (_curtain_wall(rng, style, span, height) for span in (width, 13.0))
    site.box(front, side, style, 0, 0, 13)
    crown = _curtain_wall(rng, style, width * 0.6, 8)
    site.box(crown, _curtain_wall(rng, style, 8, 8), style, 0, 0.5, 8, foot=height)
    site.sheet(spire(rng, style, 1.6, 9), style, 0, 1, height + 8)
    site.box(facade(rng, style, width + 5, 6, 1, "shops"), wall(rng, style, 4, 6), style, 0, -4, 4)
    return site.building()


def _arch(rng: np.random.Generator, style: Style) -> Building:
    site, width, height = _Site(), rng.uniform(18, 24), rng.uniform(15, 19)
    front = facade(rng, style, width, height, 3, "windows")
    w, h = front.width, front.height
    passage = (62, 54, 50)
    for x, wide, tall in ((0.5, 0.26, 0.66), (0.17, 0.13, 0.42), (0.83, 0.13, 0.42)):
        front.ellipse(w * x, h * (1 - tall) + w * wide / 2, w * wide * 0.62, w * wide * 0.62, style.trim)
        front.ellipse(w * x, h * (1 - tall) + w * wide / 2, w * wide / 2, w * wide / 2, passage, 150)
        front.rectangle(w * (x - wide / 2), h * (1 - tall) + w * wide / 2, w * wide, h * tall, passage, 150)
    site.box(front, facade(rng, style, 7, height, 3, "windows", 0), style, 0, 0, 7)
    site.sheet(_statue_group(rng, style, 8, 4.5), style, 0, 1, height)
    return site.building()


def _museum(rng: np.random.Generator, style: Style) -> Building:
    site, width, height = _Site(), rng.uniform(26, 36), rng.uniform(10, 14)
    site.box(_panels(rng, style, width, height), _panels(rng, style, 14, height), style, 0, 0, 14)
    upper = rng.uniform(10, 16)
    x = rng.uniform(-0.25, 0.25) * width
    site.box(_panels(rng, style, upper, 6), _panels(rng, style, 8, 6), style, x, 1, 8, foot=height)
    site.box(_panels(rng, style, upper * 0.6, 6), _panels(rng, style, 5, 6), style, -x, -5, 5)
    return site.building()


def _mosque(rng: np.random.Generator, style: Style) -> Building:
    site, width, height = _Site(), rng.uniform(20, 26), rng.uniform(9, 12)
    site.sheet(dome(rng, style, rng.uniform(6, 8), onion=rng.random() < 0.5), style, 0, 6, height - 1)
    site.box(
        facade(rng, style, width, height, 2, "arcade", 0),
        facade(rng, style, 16, height, 2, "arcade", 0),
        style,
        0,
        0,
        16,
    )
    for side in (-1, 1):
        tall = rng.uniform(22, 28)
        minaret = facade(rng, style, 2.6, tall, 8, "windows", 0)
        cornice(minaret, style, minaret.height * 0.22, 14, dentils=True)
        _round_shading(minaret)
        x = side * (width / 2 + 2)
        site.box(minaret, wall(rng, style, 2.6, tall), style, x, -1, 2.6)
        site.sheet(spire(rng, style, 3, 5), style, x, -0.9, tall)
    return site.building()


def _mansion(rng: np.random.Generator, style: Style) -> Building:
    site, height = _Site(), rng.uniform(9, 12)
    widths = rng.uniform(6, 10, int(rng.integers(2, 4)))
    x = -float(widths.sum()) / 2
    for i, width in enumerate(widths.tolist()):
        own = replace(style, wall=varied(style.wall, rng, 22))
        tall = height + rng.uniform(-1, 2)
        front = _timbered(rng, own, width, tall) if rng.random() < 0.6 else facade(rng, own, width, tall, 3, "shops")
        site.box(front, facade(rng, own, 11, tall, 3, "windows", 0), own, x + width / 2, -0.6 * (i % 2), 11)
        site.sheet(_stepped_gable(rng, own, width, rng.uniform(4, 6)), own, x + width / 2, -0.6 * (i % 2), tall)
        x += width
    return site.building()


def _curtain_wall(rng: np.random.Generator, style: Style, width: float, height: float) -> Painting:
    """Panes between mullions, each reflecting something else."""
    painting = Painting(round(width * PIXELS_PER_METRE), round(height * PIXELS_PER_METRE), tinted(style.trim, 0.8))
    rows, across = max(2, round(height / 1.9)), max(2, round(width / rng.uniform(1.3, 2.1)))
    pane_h, pane_w = painting.height / rows, painting.width / across
    tone: Colour = tinted(style.accent, 0.6) if rng.random() < 0.5 else (92, 124, 150)
    for row in range(rows):
        for column in range(across):
            glow = float(rng.uniform(90, 255)) if rng.random() < 0.4 else 0.0
            colour = tinted(tone, float(rng.choice([0.55, 0.8, 1.0, 1.25, 1.7])))
            painting.rectangle(column * pane_w + 2, row * pane_h + 3, pane_w - 3, pane_h - 5, colour, glow)
    for row in rng.permutation(rows)[:3]:
        painting.rectangle(0, row * pane_h, painting.width, pane_h * 0.8, tinted(style.trim, 0.7))
    return painting


def _panels(rng: np.random.Generator, style: Style, width: float, height: float) -> Painting:
    """Slabs of several colours in an irregular pattern, slit windows, large letters."""
    painting = Painting(round(width * PIXELS_PER_METRE), round(height * PIXELS_PER_METRE), style.wall)
    y = 0.0
    while y < painting.height:
        x, tall = 0.0, rng.uniform(24, 60)
        while x < painting.width:
            wide = rng.uniform(20, 90)
            base = (style.wall, style.wall, style.trim, style.accent, style.roof, style.glass)[int(rng.integers(6))]
            glow = 200.0 if base is style.glass else 0.0
            painting.rectangle(x, y, wide - 2, tall - 2, tinted(base, rng.uniform(0.8, 1.15)), glow)
            x += wide
        y += tall
    text = ("ARS", "MODERNA", "KUNST")[int(rng.integers(3))]
    painting.lettering(
        text,
        painting.width * rng.uniform(0.3, 0.7),
        painting.height * 0.3,
        painting.height * 0.12,
        (250, 246, 236),
        230,
    )
    painting.rectangle(
        painting.width * 0.42, painting.height * 0.78, painting.width * 0.16, painting.height * 0.22, style.glass, 255
    )
    return painting


def _timbered(rng: np.random.Generator, style: Style, width: float, height: float) -> Painting:
    """A house front of beams and plaster."""
    painting = facade(rng, style, width, height, 3, "shops", 0)
    beam, bays = (74, 50, 36), max(2, round(width / 2.2))
    storey, pitch = painting.height / 3.25, painting.width / bays
    for floor in (1, 2):
        top = painting.height - (floor + 1) * storey
        painting.rectangle(0, top, painting.width, 6, beam)
        for bay in range(bays + 1):
            painting.rectangle(bay * pitch - 3, top, 6, storey, beam)
            lean = float(rng.choice([-1, 0, 1])) * pitch * 0.9
            if lean:
                painting.line((bay * pitch, top + storey), (bay * pitch + lean, top), beam, 5)
    return painting


def _stepped_gable(rng: np.random.Generator, style: Style, width: float, height: float) -> Painting:
    painting = _metres(width, height)
    w, h, steps = painting.width, painting.height, int(rng.integers(3, 7))
    for step in range(steps):
        half = w / 2 * (1 - step / (steps + 0.6))
        painting.rectangle(w / 2 - half, h * (1 - (step + 1) / steps), 2 * half, h / steps + 1, style.wall)
        painting.rectangle(w / 2 - half, h * (1 - (step + 1) / steps), 2 * half, 5, style.trim)
    rose_window(painting, rng, style, w / 2, h * 0.62, min(w, h) * 0.16)
    return painting


def _statue_group(rng: np.random.Generator, style: Style, width: float, height: float) -> Painting:
    """Bronze horses and riders seen against the sky."""
    painting = _metres(width, height)
    w, h, bronze = painting.width, painting.height, varied((70, 110, 92), rng, 18)
    painting.rectangle(0, h * 0.86, w, h * 0.14, style.trim)
    for x in np.linspace(0.16, 0.84, int(rng.integers(2, 5))):
        painting.ellipse(w * x, h * 0.56, w * 0.09, h * 0.14, bronze)
        painting.ellipse(w * x + w * 0.07, h * 0.38, w * 0.03, h * 0.14, tinted(bronze, 1.1))
        for leg in (-0.06, -0.02, 0.03, 0.07):
            painting.line((w * (x + leg), h * 0.62), (w * (x + leg) + rng.uniform(-4, 4), h * 0.87), bronze, 4)
        painting.ellipse(w * x, h * 0.3, w * 0.035, h * 0.15, tinted(bronze, 0.85))
        painting.ellipse(w * x, h * 0.12, w * 0.025, h * 0.06, tinted(bronze, 1.2))
    return painting


KINDS: dict[str, Callable[[np.random.Generator, Style], Building]] = {
    "palace": _palace,
    "cathedral": _cathedral,
    "town_hall": _town_hall,
    "basilica": _basilica,
    "castle": _castle,
    "museum": _museum,
    "clock_tower": _clock_tower,
    "temple": _temple,
    "arch": _arch,
    "mansion": _mansion,
    "mosque": _mosque,
    "skyscraper": _skyscraper,
}
"""Kinds of building: from a random generator and a style to a building."""


def street(rng: np.random.Generator, styles: list[Style], width: float) -> Texture:
    """A row of ordinary houses `width` metres long, cut out against the sky, 14 metres high."""
    painting = _metres(width, 14)
    x = 0
    while x < painting.width - 40:
        style = styles[int(rng.integers(len(styles)))]
        house = facade(rng, style, rng.uniform(7, 13), rng.uniform(8, 11), 3, str(rng.choice(["shops", "doors"])), 0)
        quoins(house, rng, style, 0, 8)
        wide, tall = min(house.width, painting.width - x), house.height
        top = painting.height - tall
        painting.rgb[top:, x : x + wide] = house.rgb[:, :wide]
        painting.alpha[top:, x : x + wide] = 255
        painting.glow[top:, x : x + wide] = house.glow[:, :wide]
        painting.polygon(
            [(x, top), (x + wide * 0.12, top - 50), (x + wide * 0.88, top - 50), (x + wide, top)], style.roof
        )
        x += wide
    return painting.texture((0.3, 0.25, 0.2))
