"""Facades: walls with windows, doors, cornices and ornaments, different for each landmark."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from landmark_dag.demo.painting import (
    PIXELS_PER_METRE,
    UPPER_HALF,
    Colour,
    Painting,
    cloudy,
    masonry,
    tinted,
    varied,
    weather,
)

WORDS = (
    "MUSEUM", "OPERA", "HOTEL", "THEATRE", "CITY HALL", "LIBRARY", "BANK", "CINEMA", "CAFE", "BAZAAR",
    "ARCHIVE", "ACADEMY", "STATION", "MARKET", "GALLERY", "LYCEUM", "PHARMACY", "BAKERY", "BOOKS",
    "1648", "1732", "1789", "1871", "1904", "MDCCXII", "ANNO 1566", "LUX", "PAX", "VERITAS", "LABOR",
)  # fmt: skip


@dataclass(frozen=True)
class Style:
    """What a building is made of: colours, the wall's kind and the windows' kind."""

    wall: Colour
    trim: Colour
    roof: Colour
    accent: Colour
    glass: Colour
    masonry: str
    window: str
    flood: Colour


_PALETTES: tuple[tuple[Colour, Colour, Colour, Colour], ...] = (
    ((214, 186, 140), (240, 226, 196), (120, 82, 66), (150, 40, 40)),
    ((196, 190, 180), (228, 224, 216), (86, 96, 108), (40, 80, 120)),
    ((168, 92, 70), (222, 206, 182), (70, 62, 66), (36, 84, 60)),
    ((232, 214, 170), (255, 248, 228), (92, 128, 116), (176, 128, 40)),
    ((226, 168, 150), (250, 232, 220), (104, 74, 72), (60, 90, 110)),
    ((150, 146, 138), (188, 182, 170), (74, 72, 74), (128, 56, 40)),
    ((238, 236, 230), (206, 200, 190), (52, 86, 140), (196, 150, 50)),
    ((188, 204, 196), (240, 244, 238), (76, 92, 88), (156, 70, 50)),
    ((220, 190, 92), (250, 240, 208), (150, 70, 48), (60, 110, 90)),
    ((128, 82, 74), (200, 160, 130), (48, 46, 54), (190, 160, 70)),
)
_FLOODS: tuple[Colour, ...] = ((0.66, 0.5, 0.3), (0.56, 0.52, 0.46), (0.36, 0.48, 0.66), (0.62, 0.38, 0.4))
_MASONRY = ("ashlar", "brick", "plaster", "ashlar", "rubble")
_WINDOWS = ("arched", "shuttered", "gothic", "mullioned", "balcony", "round-headed pair")


def style_of(rng: np.random.Generator) -> Style:
    """Draw a style at random; two landmarks may share palette and kind of window."""
    wall, trim, roof, accent = _PALETTES[int(rng.integers(len(_PALETTES)))]
    return Style(
        wall=varied(wall, rng, 7),
        trim=varied(trim, rng, 5),
        roof=varied(roof, rng, 8),
        accent=varied(accent, rng, 16),
        glass=varied((58, 74, 92), rng, 5),
        masonry=_MASONRY[int(rng.integers(len(_MASONRY)))],
        window=_WINDOWS[int(rng.integers(len(_WINDOWS)))],
        flood=_FLOODS[int(rng.integers(len(_FLOODS)))],
    )


def wall(rng: np.random.Generator, style: Style, width: float, height: float) -> Painting:
    """Return a bare wall of `width` by `height` metres."""
    scale = PIXELS_PER_METRE
    painting = Painting(max(16, round(width * scale)), max(16, round(height * scale)), style.wall)
    if style.masonry == "brick":
        masonry(painting, rng, 0.3 * scale, 0.9 * scale, 0.10, 0.8)
    elif style.masonry == "ashlar":
        masonry(painting, rng, 0.7 * scale, 1.7 * scale, 0.07, 0.72)
    elif style.masonry == "rubble":
        masonry(painting, rng, 0.5 * scale, 0.7 * scale, 0.15, 0.75)
        painting.modulate(1 + 0.16 * cloudy(rng, painting.width, painting.height, 14, 2))
    else:
        painting.modulate(1 + 0.10 * cloudy(rng, painting.width, painting.height, 60, 4))
    return painting


def facade(
    rng: np.random.Generator, style: Style, width: float, height: float, floors: int, ground: str, words: int = 1
) -> Painting:
    """Return a wall with `floors` storeys, the ground floor with 'doors', 'arcade', 'shops' or 'windows'."""
    painting, scale = wall(rng, style, width, height), PIXELS_PER_METRE
    weather(painting, rng)
    bays = max(1, round(width / rng.uniform(2.8, 3.8)))
    storey = painting.height / (floors + 0.25)
    pitch = painting.width / bays
    for floor in range(floors):
        top = painting.height - (floor + 1) * storey
        if floor == 0 and ground != "windows":
            ground_floor(painting, rng, style, ground, top, storey, bays)
        else:
            for bay in range(bays):
                window(painting, rng, style, (bay + 0.5) * pitch, top + storey * 0.2, pitch * 0.46, storey * 0.62)
        cornice(painting, style, top + storey * 0.02, scale * 0.3)
    cornice(painting, style, 0, scale * 0.6, dentils=True)
    for edge in (0.0, painting.width - 0.5 * scale):
        quoins(painting, rng, style, edge, 0.5 * scale)
    ornaments(painting, rng, style, floors, bays, words)
    return painting


def cornice(painting: Painting, style: Style, y: float, thickness: float, dentils: bool = False) -> None:
    """Paint a projecting course across the wall, with its shadow below."""
    painting.rectangle(0, y, painting.width, thickness, style.trim)
    painting.shade(0, y + thickness * 0.55, painting.width, thickness * 0.2, 0.8)
    painting.shade(0, y + thickness, painting.width, thickness * 0.6, 0.62)
    if dentils:
        for x in np.arange(0, painting.width, thickness * 1.1):
            painting.rectangle(x, y + thickness, thickness * 0.55, thickness * 0.6, tinted(style.trim, 0.92))


def quoins(painting: Painting, rng: np.random.Generator, style: Style, x: float, width: float) -> None:
    """Paint corner stones from top to bottom."""
    for i, y in enumerate(np.arange(0, painting.height, width)):
        extra = width * 0.5 * (i % 2)
        left = x if x < painting.width / 2 else x - extra
        painting.rectangle(left, y, width + extra, width * 0.92, tinted(style.trim, rng.uniform(0.82, 1.0)))


def window(painting: Painting, rng: np.random.Generator, style: Style, x: float, y: float, w: float, h: float) -> None:
    """Paint a window of the style's kind, varied at random; (x, y) is the middle of its top."""
    kind = style.window
    glow = float(rng.uniform(120, 255)) if rng.random() < 0.55 else 0.0
    glass = tinted(style.glass, float(rng.uniform(0.6, 1.5)))
    frame = w * 0.16
    painting.shade(x - w / 2 - frame, y + h, w + 2 * frame, h * 0.12, 0.7)
    if kind == "round-headed pair":
        for side in (-0.27, 0.27):
            _opening(painting, style.trim, glass, glow, Box(x + side * w, y, w * 0.44, h), frame * 0.7, pointed=False)
    elif kind in ("arched", "gothic"):
        _opening(painting, style.trim, glass, glow, Box(x, y, w, h), frame, pointed=kind == "gothic")
    else:
        painting.rectangle(x - w / 2 - frame, y - frame, w + 2 * frame, h + frame * 2, style.trim)
        painting.rectangle(x - w / 2, y, w, h, glass, glow)
        _lintel(painting, rng, style, x, y - frame, w + 2 * frame)
    _curtains(painting, rng, x, y + h * 0.3, w, h * 0.7, glow)
    painting.line((x, y + h * 0.08), (x, y + h), tinted(style.trim, 0.85), w * 0.07)
    for row in (0.36, 0.68):
        painting.line((x - w / 2, y + h * row), (x + w / 2, y + h * row), tinted(style.trim, 0.85), w * 0.06)
    _sill(painting, rng, style, x, y, w, h)


def ground_floor(
    painting: Painting, rng: np.random.Generator, style: Style, kind: str, top: float, storey: float, bays: int
) -> None:
    """Paint doors, an arcade or shops along the foot of the wall."""
    pitch, foot = painting.width / bays, top + storey
    entrance = int(rng.integers(bays)) if kind == "shops" else bays // 2
    for bay in range(bays):
        x = (bay + 0.5) * pitch
        if kind == "arcade":
            _opening(
                painting,
                style.trim,
                (44, 36, 34),
                150,
                Box(x, top + storey * 0.16, pitch * 0.66, storey),
                pitch * 0.09,
                pointed=False,
            )
            painting.line((x, top + storey * 0.3), (x, top + storey * 0.45), (60, 50, 40), 2)
            painting.ellipse(x, top + storey * 0.5, pitch * 0.05, pitch * 0.08, (240, 220, 160), 255)
        elif bay == entrance or (kind == "doors" and rng.random() < 0.18):
            _door(painting, rng, style, x, top + storey * 0.12, pitch * 0.62, foot)
        elif kind == "shops":
            _shop(painting, rng, style, x, top + storey * 0.14, pitch * 0.84, foot)
        else:
            window(painting, rng, style, x, top + storey * 0.3, pitch * 0.42, storey * 0.5)


def ornaments(painting: Painting, rng: np.random.Generator, style: Style, floors: int, bays: int, words: int) -> None:
    """Paint what distinguishes the wall: lettering, and medallions, banners and niches between the windows."""
    storey, pitch = painting.height / (floors + 0.25), painting.width / bays
    piers = [
        (edge * pitch, painting.height - (floor + 0.55) * storey)
        for edge in range(1, bays)
        for floor in range(1, floors)
    ]
    kinds = [_medallion, _banner, _niche]
    for slot in rng.permutation(len(piers))[: max(2, len(piers) // 3)]:
        x, y = piers[int(slot)]
        kinds[int(rng.integers(3))](painting, rng, style, x, y, min(pitch * 0.3, storey * 0.3))
    for _ in range(words):
        text, tall = WORDS[int(rng.integers(len(WORDS)))], storey * rng.uniform(0.13, 0.18)
        x, y = painting.width * rng.uniform(0.35, 0.65), painting.height - storey * 1.04
        half = tall * 0.46 * len(text) + tall
        painting.rectangle(x - half, y - tall, 2 * half, 2 * tall, style.accent)
        painting.lettering(text, x, y, tall, (245, 236, 210), 200)
    if rng.random() < 0.3:
        _ivy(painting, rng, painting.width * float(rng.choice([0.04, 0.96])), storey)


class Box(NamedTuple):
    """A place for an opening: (x, y) is the middle of its top, w and h its width and height."""

    x: float
    y: float
    w: float
    h: float


def _outline(x: float, y: float, w: float, h: float, pointed: bool) -> list[tuple[float, float]]:
    """Return the corners of an opening with a round or pointed head, from the bottom left."""
    if pointed:
        head = [(x - w / 2, y + w * 0.8), (x - w * 0.36, y + w * 0.3), (x, y)]
        head += [(x + w * 0.36, y + w * 0.3), (x + w / 2, y + w * 0.8)]
    else:
        angles = np.linspace(np.pi, 0, 13)
        head = [(x + w / 2 * float(np.cos(a)), y + w / 2 - w / 2 * float(np.sin(a))) for a in angles]
    return [(x - w / 2, y + h), *head, (x + w / 2, y + h)]


def _opening(
    painting: Painting, trim: Colour, fill: Colour, glow: float, box: Box, frame: float, pointed: bool
) -> None:
    x, y, w, h = box
    painting.polygon(_outline(x, y - frame, w + 2 * frame, h + frame, pointed), trim)
    painting.polygon(_outline(x, y, w, h, pointed), tinted(fill, 0.7), glow)
    painting.polygon(_outline(x + w * 0.05, y + w * 0.07, w * 0.9, h - w * 0.07, pointed), fill, glow)


def _lintel(painting: Painting, rng: np.random.Generator, style: Style, x: float, y: float, w: float) -> None:
    kind = rng.integers(3)
    if kind == 0:
        painting.polygon([(x - w * 0.62, y), (x, y - w * 0.32), (x + w * 0.62, y)], style.trim)
        painting.polygon([(x - w * 0.4, y - 1), (x, y - w * 0.2), (x + w * 0.4, y - 1)], tinted(style.trim, 0.75))
    elif kind == 1:
        painting.ellipse(x, y, w * 0.55, w * 0.28, style.trim, sector=UPPER_HALF)
        painting.ellipse(x, y - w * 0.1, w * 0.1, w * 0.1, tinted(style.accent, 1.1))
    else:
        painting.rectangle(x - w * 0.6, y - w * 0.14, w * 1.2, w * 0.16, style.trim)


def _curtains(
    painting: Painting, rng: np.random.Generator, x: float, y: float, w: float, h: float, glow: float
) -> None:
    cloth = varied((214, 204, 188), rng, 22)
    kind = rng.integers(4)
    if kind == 0:
        painting.rectangle(x - w / 2, y, w * 0.26, h, cloth, glow)
        painting.rectangle(x + w * 0.24, y, w * 0.26, h, cloth, glow)
    elif kind == 1:
        painting.rectangle(x - w / 2, y, w, h * rng.uniform(0.15, 0.8), cloth, glow * 0.8)
    elif kind == 2:
        painting.polygon([(x - w / 2, y), (x + w / 2, y), (x - w / 2, y + h)], tinted(cloth, 0.6), glow * 0.7)


def _sill(painting: Painting, rng: np.random.Generator, style: Style, x: float, y: float, w: float, h: float) -> None:
    painting.rectangle(x - w * 0.66, y + h, w * 1.32, h * 0.06, style.trim)
    if style.window == "shuttered":
        shutter = tinted(style.accent, rng.uniform(0.85, 1.15))
        closed = rng.random() < 0.2
        for side in (-1, 1):
            left = x + side * (w * 0.25 if closed else w * 0.78) - w * 0.25
            painting.rectangle(left, y, w * 0.5, h, shutter)
            for row in np.linspace(0.1, 0.9, 7):
                painting.line((left, y + h * row), (left + w * 0.5, y + h * row), tinted(shutter, 0.7))
    elif style.window == "balcony":
        painting.rectangle(x - w * 0.8, y + h * 0.98, w * 1.6, h * 0.07, tinted(style.trim, 0.9))
        for bar in np.linspace(-0.78, 0.78, 9):
            painting.line((x + bar * w, y + h * 0.66), (x + bar * w, y + h), (34, 34, 38), 1.4)
        painting.line((x - w * 0.8, y + h * 0.66), (x + w * 0.8, y + h * 0.66), (34, 34, 38), 2)
    if rng.random() < 0.22:
        for spot in np.linspace(-0.5, 0.5, 7):
            flower = varied((190, 60, 80) if rng.random() < 0.6 else (70, 110, 50), rng, 25)
            painting.ellipse(x + spot * w, y + h * rng.uniform(0.9, 0.98), w * 0.11, w * 0.1, flower)


def _door(
    painting: Painting, rng: np.random.Generator, style: Style, x: float, y: float, w: float, foot: float
) -> None:
    leaf, h = tinted(style.accent, 0.75), foot - y
    _opening(painting, style.trim, leaf, 0, Box(x, y, w, h), w * 0.16, pointed=style.window == "gothic")
    painting.ellipse(x, y + w * 0.5, w * 0.4, w * 0.38, tinted(style.glass, 1.2), 230, UPPER_HALF)
    for spoke in np.linspace(-0.36, 0.36, 5):
        painting.line((x, y + w * 0.5), (x + spoke * w, y + w * 0.16), style.trim, 1.5)
    painting.line((x, y + w * 0.5), (x, foot), tinted(leaf, 0.45), 2)
    for row in range(3):
        for side in (-0.36, 0.08):
            top = y + w * 0.56 + (h - w * 0.6) * row / 3
            painting.rectangle(x + side * w, top, w * 0.28, (h - w * 0.6) / 3.6, tinted(leaf, rng.uniform(0.62, 1.35)))
    for step in range(3):
        wider = w * (0.75 + 0.14 * step)
        painting.rectangle(
            x - wider, foot - (3 - step) * w * 0.07, 2 * wider, w * 0.07, tinted(style.trim, 0.96 - 0.1 * step)
        )


def _shop(
    painting: Painting, rng: np.random.Generator, style: Style, x: float, y: float, w: float, foot: float
) -> None:
    h, cloth = foot - y, varied((150, 80, 70), rng, 60)
    painting.rectangle(x - w / 2, y, w, h, tinted(style.accent, 0.55))
    painting.rectangle(x - w * 0.44, y + h * 0.3, w * 0.88, h * 0.52, tinted(style.glass, 1.3), 240)
    for _ in range(9):
        goods = varied((160, 130, 110), rng, 55)
        painting.rectangle(
            x + w * rng.uniform(-0.42, 0.34), y + h * rng.uniform(0.55, 0.72), w * 0.09, h * 0.1, goods, 200
        )
    stripes = 8
    for stripe in range(stripes):
        colour = cloth if stripe % 2 else (240, 234, 220)
        left, width = x - w / 2 + w * stripe / stripes, w / stripes
        painting.polygon(
            [(left, y + h * 0.16), (left + width, y + h * 0.16), (left + width, y + h * 0.36), (left, y + h * 0.36)],
            colour,
            60,
        )
    text = WORDS[int(rng.integers(len(WORDS)))]
    painting.lettering(text, x, y + h * 0.08, min(h * 0.11, w / len(text)), (248, 240, 220), 220)


def _medallion(painting: Painting, rng: np.random.Generator, style: Style, x: float, y: float, size: float) -> None:
    r = size * 0.45
    painting.ellipse(x, y, r * 1.25, r * 1.25, tinted(style.trim, 0.8))
    painting.ellipse(x, y, r, r, style.accent if rng.random() < 0.5 else tinted(style.wall, 0.7))
    points = int(rng.integers(3, 8))
    radii = np.where(np.arange(2 * points) % 2, rng.uniform(0.25, 0.5), 0.9) * r
    angles = np.arange(2 * points) * np.pi / points + rng.uniform(0, 6)
    star = [(x + a * float(np.cos(t)), y + a * float(np.sin(t))) for a, t in zip(radii.tolist(), angles, strict=True)]
    painting.polygon(star, tinted(style.trim, 1.05))


def _banner(painting: Painting, rng: np.random.Generator, style: Style, x: float, y: float, size: float) -> None:
    w, h, top = size * 0.8, size * 2.6, y - size * 1.5
    cloth = varied(style.accent if rng.random() < 0.6 else (50, 80, 130), rng, 20)
    painting.polygon(
        [(x - w / 2, top), (x + w / 2, top), (x + w / 2, top + h), (x, top + h * 0.86), (x - w / 2, top + h)], cloth
    )
    painting.ellipse(x, top + h * 0.3, w * 0.28, w * 0.28, varied((230, 210, 150), rng, 20))
    for row in (0.52, 0.66):
        painting.rectangle(x - w * 0.34, top + h * row, w * rng.uniform(0.3, 0.68), h * 0.05, (235, 225, 205))


def _niche(painting: Painting, rng: np.random.Generator, style: Style, x: float, y: float, size: float) -> None:
    w, h = size * 0.7, size * 2.1
    top = y - h / 2
    _opening(painting, style.trim, tinted(style.wall, 0.5), 0, Box(x, top, w, h), w * 0.14, pointed=False)
    stone, lean = varied(style.trim, rng, 6), rng.uniform(-0.12, 0.12) * w
    shoulders = [(x - w * 0.2 + lean, top + h * 0.4), (x + w * 0.2 + lean, top + h * 0.4)]
    painting.polygon([(x - w * 0.3, top + h), *shoulders, (x + w * 0.3, top + h)], stone)
    painting.ellipse(x + lean, top + h * 0.3, w * 0.15, w * 0.19, tinted(stone, 1.05))
    arm = (x + float(rng.choice([-1, 1])) * w * 0.42, top + h * rng.uniform(0.3, 0.7))
    painting.line((x + lean, top + h * 0.45), arm, tinted(stone, 0.9), w * 0.12)


def _ivy(painting: Painting, rng: np.random.Generator, x: float, storey: float) -> None:
    reach = storey * rng.uniform(1.0, 2.2)
    for _ in range(260):
        climb = rng.random() ** 1.4 * reach
        spread = rng.normal(0, 1) * storey * 0.4 * (1.2 - climb / reach)
        leaf = varied((62, 96, 48), rng, 18)
        painting.ellipse(x + spread, painting.height - climb, storey * 0.05, storey * 0.04, leaf)
