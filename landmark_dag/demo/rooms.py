"""Rooms: the insides of landmarks, which look different from their outsides."""

from dataclasses import dataclass

import numpy as np

from landmark_dag.demo.camera import Surface
from landmark_dag.demo.facades import WORDS
from landmark_dag.demo.painting import (
    PIXELS_PER_METRE,
    Colour,
    Painting,
    cloudy,
    masonry,
    picture,
    tinted,
    varied,
)
from landmark_dag.demo.sprites import Sprite

Vector = tuple[float, float, float]

_WALLS: tuple[Colour, ...] = (
    (120, 44, 44), (48, 84, 72), (196, 180, 150), (58, 70, 112), (150, 120, 72), (212, 206, 196), (108, 78, 96),
)  # fmt: skip
_STONE: Colour = (190, 180, 162)
_GOLD: Colour = (196, 158, 72)
_OAK: Colour = (104, 72, 46)


@dataclass(frozen=True)
class Room:
    """Walls, floor and ceiling of a box x in -width/2..width/2, z in 0..depth, and the furniture in it."""

    surfaces: tuple[Surface, ...]
    furniture: tuple[tuple[Sprite, np.ndarray], ...]
    width: float
    depth: float
    height: float


def make_room(rng: np.random.Generator, kind: str) -> Room:
    """Paint and furnish a room: 'nave', 'gallery', 'library' or 'hall'."""
    width, depth, height = rng.uniform(9, 13), rng.uniform(14, 20), rng.uniform(6, 8)
    if kind == "nave":
        height *= 1.4
    colour = varied(_WALLS[int(rng.integers(len(_WALLS)))], rng, 12)
    back, left, right, front = (
        _wall(rng, kind, colour, span, height, end)
        for span, end in ((width, True), (depth, False), (depth, False), (width, False))
    )
    half = width / 2
    surfaces = (
        _plane(_ceiling(rng, kind, width, depth), (-half, height, 0), (width, 0, 0), (0, 0, depth)),
        _plane(_floor(rng, width, depth), (-half, 0, depth), (width, 0, 0), (0, 0, -depth)),
        _plane(front, (half, height, 0), (-width, 0, 0), (0, -height, 0)),
        _plane(left, (-half, height, 0), (0, 0, depth), (0, -height, 0)),
        _plane(right, (half, height, depth), (0, 0, -depth), (0, -height, 0)),
        _plane(back, (-half, height, depth), (width, 0, 0), (0, -height, 0)),
    )
    return Room(surfaces, tuple(_furniture(rng, kind, width, depth, height)), width, depth, height)


def _plane(painting: Painting, corner: Vector, right: Vector, down: Vector) -> Surface:
    return Surface(painting.lit_texture(), np.array(corner, float), np.array(right, float), np.array(down, float))


def _wall(rng: np.random.Generator, kind: str, colour: Colour, width: float, height: float, end: bool) -> Painting:
    painting = Painting(round(width * PIXELS_PER_METRE), round(height * PIXELS_PER_METRE), colour)
    if kind == "nave":
        painting.rectangle(0, 0, painting.width, painting.height, varied(_STONE, rng, 8))
        masonry(painting, rng, 16, 36, 0.05, 0.8)
    painting.modulate(1 + 0.08 * cloudy(rng, painting.width, painting.height, 60))
    paint = {"nave": _nave_wall, "gallery": _gallery_wall, "library": _library_wall, "hall": _hall_wall}[kind]
    paint(painting, rng, colour, end)
    for y, thickness in ((0, 9), (painting.height - 10, 10)):
        painting.rectangle(0, y, painting.width, thickness, tinted(colour, 0.55))
        painting.rectangle(0, y + (thickness if y == 0 else -2), painting.width, 2, _GOLD)
    return painting


def _nave_wall(painting: Painting, rng: np.random.Generator, colour: Colour, end: bool) -> None:
    """Stained glass above, an altar or blind arches below."""
    w, h = painting.width, painting.height
    count = 3 if end else max(3, round(w / 70))
    for x in (np.arange(count) + 0.5) * w / count:
        size = w / count * 0.24
        painting.ellipse(x, h * 0.24, size * 1.25, size * 1.25, tinted(_STONE, 1.2))
        painting.rectangle(x - size * 1.25, h * 0.24, size * 2.5, h * 0.38, tinted(_STONE, 1.2))
        painting.ellipse(x, h * 0.24, size, size, (60, 50, 90), 200)
        for row in np.arange(h * 0.24, h * 0.6, size * 0.5):
            for side in (-1.0, -0.5, 0.0, 0.5):
                glass = varied((150, 90, 110), rng, 75)
                painting.rectangle(x + side * size, row, size * 0.46, size * 0.45, glass, 220)
        picture(painting, rng, x - size, h * 0.68, size * 2, h * 0.2)
    if end:
        painting.polygon(
            [(w * 0.3, h), (w * 0.33, h * 0.42), (w / 2, h * 0.3), (w * 0.67, h * 0.42), (w * 0.7, h)], _GOLD
        )
        picture(painting, rng, w * 0.38, h * 0.46, w * 0.24, h * 0.36)
        painting.rectangle(w * 0.28, h * 0.86, w * 0.44, h * 0.14, (226, 220, 206))


def _gallery_wall(painting: Painting, rng: np.random.Generator, colour: Colour, end: bool) -> None:
    """Pictures of many sizes, hung close."""
    w, h = painting.width, painting.height
    x = 12.0
    while x < w - 30:
        wide = rng.uniform(30, 74)
        y = h * rng.uniform(0.1, 0.2)
        while y < h * 0.72:
            tall = min(rng.uniform(0.7, 1.4) * wide, h * 0.86 - y)
            if x + wide < w - 8 and tall > 16:
                picture(painting, rng, x, y, wide, tall)
            y += tall + rng.uniform(8, 16)
        x += wide + rng.uniform(9, 20)


def _library_wall(painting: Painting, rng: np.random.Generator, colour: Colour, end: bool) -> None:
    """Shelves of books; at the end a portrait and a name."""
    w, h = painting.width, painting.height
    painting.rectangle(0, h * 0.06, w, h * 0.94, _OAK)
    shelf = h * 0.1
    for top in np.arange(h * 0.08, h * 0.94, shelf):
        painting.rectangle(0, top, w, shelf - 4, tinted(_OAK, 0.4))
        x = 3.0
        while x < w - 4:
            thick, tall = rng.uniform(3, 8), shelf * rng.uniform(0.55, 0.85)
            spine = varied((120, 76, 60), rng, 45)
            painting.rectangle(x, top + shelf - 4 - tall, thick, tall, spine)
            painting.rectangle(x, top + shelf - 4 - tall * 0.75, thick, 2, _GOLD)
            x += thick + (rng.uniform(4, 18) if rng.random() < 0.08 else 0.6)
    for x in np.arange(0, w, rng.uniform(54, 76)):
        painting.rectangle(x, h * 0.05, 7, h * 0.95, tinted(_OAK, 1.3))
    if end:
        painting.rectangle(w * 0.33, h * 0.12, w * 0.34, h * 0.88, colour)
        picture(painting, rng, w * 0.38, h * 0.24, w * 0.24, h * 0.42)
        painting.lettering(WORDS[int(rng.integers(len(WORDS)))], w / 2, h * 0.18, h * 0.05, _GOLD)


def _hall_wall(painting: Painting, rng: np.random.Generator, colour: Colour, end: bool) -> None:
    """Gilded panels with mirrors, tapestries and doors between pilasters."""
    w, h = painting.width, painting.height
    count = 3 if end else max(3, round(w / rng.uniform(60, 85)))
    for panel in range(count):
        x, wide = w * panel / count, w / count
        painting.rectangle(x + wide * 0.14, h * 0.12, wide * 0.72, h * 0.74, _GOLD)
        kind = int(rng.integers(3))
        if kind == 0:
            painting.rectangle(x + wide * 0.18, h * 0.14, wide * 0.64, h * 0.7, varied((176, 190, 196), rng, 14))
            for _ in range(4):
                y = h * rng.uniform(0.16, 0.6)
                painting.polygon(
                    [
                        (x + wide * 0.2, y + 20),
                        (x + wide * 0.78, y),
                        (x + wide * 0.78, y + 8),
                        (x + wide * 0.2, y + 30),
                    ],
                    (206, 214, 216),
                )
        elif kind == 1:
            picture(painting, rng, x + wide * 0.18, h * 0.14, wide * 0.64, h * 0.7)
        else:
            painting.rectangle(x + wide * 0.18, h * 0.14, wide * 0.64, h * 0.86, tinted(_OAK, 0.9))
            for row in (0.2, 0.45, 0.7):
                painting.rectangle(x + wide * 0.28, h * row, wide * 0.44, h * 0.2, tinted(_OAK, rng.uniform(1.1, 1.6)))
        painting.rectangle(x - wide * 0.05, h * 0.05, wide * 0.1, h * 0.95, tinted(colour, 1.5))
        painting.ellipse(x, h * 0.1, wide * 0.09, h * 0.03, _GOLD)
    if end:
        rose_like = varied(colour, rng, 30)
        painting.ellipse(w / 2, h * 0.3, h * 0.2, h * 0.2, _GOLD)
        painting.ellipse(w / 2, h * 0.3, h * 0.18, h * 0.18, rose_like)
        painting.lettering(WORDS[int(rng.integers(len(WORDS)))], w / 2, h * 0.3, h * 0.06, (246, 236, 200))


def _floor(rng: np.random.Generator, width: float, depth: float) -> Painting:
    """Boards, or tiles of two colours, some with a carpet along the middle."""
    first = varied([(150, 108, 70), (196, 190, 180), (120, 116, 112), (172, 140, 110)][int(rng.integers(4))], rng, 12)
    painting = Painting(round(width * PIXELS_PER_METRE), round(depth * PIXELS_PER_METRE), first)
    if rng.random() < 0.4:
        masonry(painting, rng, 8, 60, 0.08, 0.75)
    else:
        size, second = rng.uniform(12, 26), tinted(first, rng.uniform(0.5, 0.75))
        rows, columns = np.arange(painting.height) // size, np.arange(painting.width) // size
        painting.rgb[(rows[:, None] + columns[None, :]) % 2 == 1] = np.array(second, np.uint8)
    if rng.random() < 0.5:
        middle, half = painting.width / 2, painting.width * rng.uniform(0.12, 0.3)
        carpet = varied((130, 40, 44) if rng.random() < 0.5 else (50, 60, 110), rng, 25)
        painting.rectangle(middle - half, 0, 2 * half, painting.height, carpet)
        for edge in (-half * 0.9, half * 0.84):
            painting.rectangle(middle + edge, 0, half * 0.06, painting.height, _GOLD)
        for y in np.arange(20, painting.height, rng.uniform(30, 60)):
            painting.ellipse(middle, y, half * 0.4, 9, tinted(carpet, 1.6))
    return painting


def _ceiling(rng: np.random.Generator, kind: str, width: float, depth: float) -> Painting:
    """Vault ribs, coffers or beams."""
    painting = Painting(
        round(width * PIXELS_PER_METRE), round(depth * PIXELS_PER_METRE), varied((206, 200, 188), rng, 14)
    )
    w, h, step = painting.width, painting.height, rng.uniform(44, 80)
    for y in np.arange(0, h, step):
        if kind == "nave":
            painting.line((0, y), (w, y + step), tinted(_STONE, 0.7), 6)
            painting.line((w, y), (0, y + step), tinted(_STONE, 0.7), 6)
        elif kind == "hall":
            for x in np.arange(0, w, step):
                painting.rectangle(x + 6, y + 6, step - 12, step - 12, varied((150, 120, 84), rng, 16))
                painting.ellipse(x + step / 2, y + step / 2, step * 0.2, step * 0.2, _GOLD)
        else:
            painting.rectangle(0, y, w, step * 0.16, _OAK)
    painting.modulate(np.full((h, w), 0.8, np.float32))
    return painting


def _furniture(
    rng: np.random.Generator, kind: str, width: float, depth: float, height: float
) -> list[tuple[Sprite, np.ndarray]]:
    """Columns or pews in a nave, statues and benches elsewhere, chandeliers, each at its place."""
    placed: list[tuple[Sprite, np.ndarray]] = []
    if kind == "nave":
        column = _column(rng, height)
        for z in np.linspace(depth * 0.3, depth * 0.9, 4):
            placed += [(column, np.array([side * width * 0.33, 0, z])) for side in (-1, 1)]
        pew = _pew(rng)
        placed += [
            (pew, np.array([side * width * 0.16, 0, z]))
            for z in np.linspace(depth * 0.35, depth * 0.8, 5)
            for side in (-1, 1)
        ]
    else:
        for _ in range(int(rng.integers(2, 5))):
            place = np.array([rng.uniform(-0.4, 0.4) * width, 0, rng.uniform(0.45, 0.95) * depth])
            placed.append((_statue(rng), place))
    if kind in ("hall", "library"):
        chandelier = _chandelier(rng)
        placed += [
            (chandelier, np.array([0, height - chandelier.height, z]))
            for z in np.linspace(depth * 0.4, depth * 0.85, 3)
        ]
    return placed


def _column(rng: np.random.Generator, height: float) -> Sprite:
    tall = round(height * PIXELS_PER_METRE)
    painting, stone = Painting(28, tall), varied(_STONE, rng, 12)
    painting.rectangle(5, 0, 18, tall, stone)
    masonry(painting, rng, 22, 40, 0.05, 0.85)
    across = np.abs(np.linspace(-1, 1, 28, dtype=np.float32) + 0.3)
    painting.modulate(np.broadcast_to(1.12 - 0.45 * across**2, (tall, 28)))
    painting.rectangle(0, tall * 0.26, 28, 12, tinted(stone, 1.15))
    painting.rectangle(1, tall - 16, 26, 16, tinted(stone, 0.85))
    return Sprite(painting.lit_texture(), height)


def _pew(rng: np.random.Generator) -> Sprite:
    painting, oak = Painting(110, 50), varied(_OAK, rng, 14)
    painting.rectangle(0, 6, 110, 44, oak)
    for x in range(6, 110, 17):
        painting.rectangle(x, 12, 12, 32, tinted(oak, rng.uniform(0.65, 0.85)))
    painting.rectangle(0, 4, 110, 6, tinted(oak, 1.4))
    return Sprite(painting.lit_texture(), 1.1)


def _statue(rng: np.random.Generator) -> Sprite:
    painting = Painting(60, 140)
    stone = varied([(214, 208, 196), (92, 104, 88), (70, 62, 56)][int(rng.integers(3))], rng, 10)
    painting.rectangle(8, 96, 44, 44, varied((150, 140, 128), rng, 20))
    painting.rectangle(4, 92, 52, 7, (176, 168, 156))
    lean = rng.uniform(-6, 6)
    painting.polygon([(16, 92), (22 + lean, 38), (38 + lean, 38), (44, 92)], stone)
    painting.ellipse(30 + lean, 26, 8, 11, tinted(stone, 1.08))
    for side in (-1, 1):
        hand = (30 + lean + side * rng.uniform(12, 24), rng.uniform(16, 80))
        painting.line((30 + lean + side * 8, 44), hand, tinted(stone, 0.85), 6)
    return Sprite(painting.lit_texture(), rng.uniform(2.2, 3.2))


def _chandelier(rng: np.random.Generator) -> Sprite:
    painting, arms = Painting(120, 110), int(rng.integers(3, 6)) * 2
    painting.line((60, 0), (60, 60), _GOLD, 3)
    for ring, y in ((50, 74), (30, 50)):
        painting.ellipse(60, y, ring, ring * 0.2, tinted(_GOLD, 0.8))
        for x in np.linspace(60 - ring, 60 + ring, arms):
            painting.rectangle(x - 2, y - 14, 4, 12, (240, 232, 210))
            painting.ellipse(x, y - 18, 4, 6, (255, 244, 190), 255)
    for _ in range(40):
        painting.ellipse(60 + rng.normal(0, 20), 84 + rng.uniform(-6, 14), 2, 3, (232, 236, 240))
    return Sprite(painting.lit_texture(), rng.uniform(1.6, 2.2))
