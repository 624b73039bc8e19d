"""Painting textures: a canvas with colour, opacity and glow, and patterns and pictures to paint on it."""

import cv2
import numpy as np

from landmark_dag.demo.camera import Texture

Colour = tuple[float, float, float]
Point = tuple[float, float]
Sector = tuple[float, float]
"""Start and end of a sector, degrees clockwise from the right."""

WHOLE: Sector = (0, 360)
UPPER_HALF: Sector = (180, 360)

PIXELS_PER_METRE = 20
"""Resolution of the textures of buildings and rooms."""

_LAMP_LIGHT: Colour = (176, 135, 71)
"""Light in a window at night."""

_SHIFT = 4
"""Fractional bits of the coordinates given to OpenCV's drawing functions."""


class Painting:
    """A picture that functions paint on; lengths are pixels, colours RGB in 0..255.

    `rgb` is uint8 (h, w, 3). `alpha` uint8 (h, w) is 255 where something is painted. `glow` uint8 (h, w) is how
    strongly a pixel shines at night.
    """

    def __init__(self, width: int, height: int, background: Colour | None = None) -> None:
        self.width, self.height = width, height
        self.rgb = np.zeros((height, width, 3), np.uint8)
        self.rgb[:] = background or (0, 0, 0)
        self.alpha = np.full((height, width), 0 if background is None else 255, np.uint8)
        self.glow = np.zeros((height, width), np.uint8)

    def polygon(self, points: list[Point], colour: Colour, glow: float = 0) -> None:
        """Fill the polygon of `points`."""
        corners = (np.array(points) * (1 << _SHIFT)).round().astype(np.int32)
        for layer, value in self._layers(colour, glow):
            cv2.fillPoly(layer, [corners], value, cv2.LINE_AA, _SHIFT)

    def rectangle(self, x: float, y: float, width: float, height: float, colour: Colour, glow: float = 0) -> None:
        """Fill the rectangle whose top left is (x, y)."""
        left, top = max(0, round(x)), max(0, round(y))
        right, bottom = max(left, round(x + width)), max(top, round(y + height))
        for layer, value in self._layers(colour, glow):
            layer[top:bottom, left:right] = value

    def ellipse(
        self, x: float, y: float, across: float, along: float, colour: Colour, glow: float = 0, sector: Sector = WHOLE
    ) -> None:
        """Fill the ellipse, or a sector of it, with centre (x, y) and radii `across` and `along`."""
        centre = (round(x * (1 << _SHIFT)), round(y * (1 << _SHIFT)))
        axes = (max(1, round(across * (1 << _SHIFT))), max(1, round(along * (1 << _SHIFT))))
        for layer, value in self._layers(colour, glow):
            cv2.ellipse(layer, centre, axes, 0, *sector, value, -1, cv2.LINE_AA, _SHIFT)

    def line(self, start: Point, end: Point, colour: Colour, thickness: float = 1, glow: float = 0) -> None:
        """Draw a straight line."""
        ends = [(round(x * (1 << _SHIFT)), round(y * (1 << _SHIFT))) for x, y in (start, end)]
        for layer, value in self._layers(colour, glow):
            cv2.line(layer, ends[0], ends[1], value, max(1, round(thickness)), cv2.LINE_AA, _SHIFT)

    def lettering(self, text: str, x: float, y: float, height: float, colour: Colour, glow: float = 0) -> None:
        """Write `text` centred at (x, y) with capitals `height` pixels high."""
        font, thickness = cv2.FONT_HERSHEY_DUPLEX, max(1, round(height / 9))
        scale = height / 22
        (width, tall), _ = cv2.getTextSize(text, font, scale, thickness)
        origin = (round(x - width / 2), round(y + tall / 2))
        for layer, value in self._layers(colour, glow):
            cv2.putText(layer, text, origin, font, scale, value, thickness, cv2.LINE_AA)

    def shade(self, x: float, y: float, width: float, height: float, factor: float) -> None:
        """Multiply the colours of a rectangle by `factor`."""
        left, top, right, bottom = max(0, round(x)), max(0, round(y)), round(x + width), round(y + height)
        part = self.rgb[top:bottom, left:right]
        part[:] = np.clip(part * np.float32(factor), 0, 255)

    def modulate(self, factors: np.ndarray) -> None:
        """Multiply the colours by float32 (h, w) factors."""
        self.rgb[:] = np.clip(self.rgb * factors[:, :, None], 0, 255)

    def lit_texture(self) -> Texture:
        """Return the texture of something indoors, the same by day and by night."""
        picture = self._premultiplied(self.rgb)
        return Texture(picture, picture)

    def texture(self, flood: Colour = (0.62, 0.5, 0.36), dark: float = 0.16) -> Texture:
        """Return the texture; at night it is lit from below in the colour `flood`, and windows glow."""
        height = np.linspace(0.0, 1.0, self.height, dtype=np.float32)[:, None, None]
        night = self.rgb * (np.float32(dark) + np.array(flood, np.float32) * (0.25 + 0.75 * height))
        lit = self.glow > 0
        share = self.glow[lit][:, None].astype(np.float32) / 255
        shining = np.minimum(self.rgb[lit] * np.float32(0.35) + np.array(_LAMP_LIGHT, np.float32), 255)
        night[lit] += (shining - night[lit]) * share
        return Texture(self._premultiplied(self.rgb), self._premultiplied(night))

    def _layers(self, colour: Colour, glow: float) -> list[tuple[np.ndarray, tuple[float, ...]]]:
        return [(self.rgb, tuple(colour)), (self.alpha, (255.0,)), (self.glow, (float(glow),))]

    def _premultiplied(self, colours: np.ndarray) -> np.ndarray:
        whole = np.dstack([colours.astype(np.uint8), self.alpha])
        if self.alpha.min() < 255:
            whole[:, :, :3] = whole[:, :, :3] * (self.alpha[:, :, None] / np.float32(255))
        return whole


def tinted(colour: Colour, factor: float) -> Colour:
    """Return `colour` times `factor`, cut to 0..255."""
    red, green, blue = (float(min(255.0, max(0.0, channel * factor))) for channel in colour)
    return red, green, blue


def varied(colour: Colour, rng: np.random.Generator, spread: float = 14) -> Colour:
    """Return `colour` changed at random by about `spread` in each channel."""
    red, green, blue = np.clip(np.array(colour) + rng.normal(0, spread, 3), 0, 255)
    return float(red), float(green), float(blue)


def cloudy(rng: np.random.Generator, width: int, height: int, coarsest: float, octaves: int = 3) -> np.ndarray:
    """Return smooth noise, float32 (height, width) in -1..1, whose largest blobs are `coarsest` pixels wide."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = coarsest / 2**octave
        grid = rng.uniform(-1, 1, (max(2, round(height / step) + 1), max(2, round(width / step) + 1)))
        grown = cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        total += grown / np.float32(1.8 * 1.6**octave)
    return np.clip(total, -1, 1)


def masonry(
    painting: Painting, rng: np.random.Generator, course: float, length: float, contrast: float, mortar: float
) -> None:
    """Divide the painting into blocks of `length` by `course` pixels, each with its own brightness."""
    rows = np.arange(painting.height) // course
    shifted = (rows % 2) * (length / 2)
    columns = (np.arange(painting.width)[None, :] + shifted[:, None]) // length
    brightness = rng.normal(1, contrast, (int(rows.max()) + 1, int(columns.max()) + 1))
    factors = brightness[rows.astype(int)[:, None], columns.astype(int)]
    factors[(np.arange(painting.height) % course) < 1] *= mortar
    factors[((np.arange(painting.width)[None, :] + shifted[:, None]) % length) < 1] *= mortar
    painting.modulate(factors.astype(np.float32))


def weather(painting: Painting, rng: np.random.Generator) -> None:
    """Stain the painting: blotches, streaks from above, a dark foot."""
    factors = 1 + 0.09 * cloudy(rng, painting.width, painting.height, 90)
    streaks = cloudy(rng, painting.width, 1, 30)
    fade = np.linspace(1, 0.2, painting.height, dtype=np.float32)[:, None]
    factors *= 1 + 0.10 * np.minimum(streaks, 0) * fade
    foot = np.linspace(0, 1, painting.height, dtype=np.float32)[:, None] ** 8
    painting.modulate(factors * (1 - 0.25 * foot))


def picture(painting: Painting, rng: np.random.Generator, x: float, y: float, width: float, height: float) -> None:
    """Hang a framed picture: a landscape, a portrait or an abstract composition."""
    frame = [(176, 138, 60), (92, 60, 34), (40, 36, 34), (214, 190, 130)][int(rng.integers(4))]
    border = max(2.0, min(width, height) * 0.09)
    painting.shade(x + border, y + border, width + border / 2, height + border / 2, 0.6)
    painting.rectangle(x, y, width, height, frame)
    painting.rectangle(x + border / 2, y + border / 2, width - border, height - border, tinted(frame, 0.6))
    inner = (x + border, y + border, width - 2 * border, height - 2 * border)
    [_landscape, _portrait, _abstract][int(rng.integers(3))](painting, rng, *inner)


def _landscape(painting: Painting, rng: np.random.Generator, x: float, y: float, w: float, h: float) -> None:
    painting.rectangle(x, y, w, h, varied((150, 170, 190), rng, 35))
    painting.ellipse(x + w * rng.uniform(0.2, 0.8), y + h * 0.25, h * 0.08, h * 0.08, (245, 225, 160))
    for level in (0.5, 0.65, 0.8):
        heights = y + h * (level + rng.uniform(-0.12, 0.12, 5))
        ridge = [(x + w * i / 4, float(value)) for i, value in enumerate(heights)]
        painting.polygon([*ridge, (x + w, y + h), (x, y + h)], varied((90, 105, 70), rng, 35))


def _portrait(painting: Painting, rng: np.random.Generator, x: float, y: float, w: float, h: float) -> None:
    painting.rectangle(x, y, w, h, varied((60, 50, 45), rng, 25))
    cloth, middle = varied((110, 50, 55), rng, 50), x + w * rng.uniform(0.4, 0.6)
    painting.polygon(
        [(x, y + h), (middle - w * 0.2, y + h * 0.55), (middle + w * 0.2, y + h * 0.55), (x + w, y + h)], cloth
    )
    painting.ellipse(middle, y + h * 0.36, w * 0.16, h * 0.2, varied((205, 165, 135), rng, 20))
    painting.ellipse(middle, y + h * 0.25, w * 0.17, h * 0.11, varied((70, 50, 35), rng, 30))
    painting.rectangle(middle - w * 0.12, y + h * 0.6, w * 0.24, h * 0.06, varied((220, 215, 200), rng, 20))


def _abstract(painting: Painting, rng: np.random.Generator, x: float, y: float, w: float, h: float) -> None:
    painting.rectangle(x, y, w, h, varied((200, 190, 170), rng, 40))
    for _ in range(7):
        left, top = x + w * rng.uniform(0, 0.7), y + h * rng.uniform(0, 0.7)
        colour = varied((130, 110, 100), rng, 70)
        if rng.random() < 0.5:
            painting.rectangle(left, top, min(w * 0.4, x + w - left), min(h * 0.3, y + h - top), colour)
        else:
            painting.ellipse(left + w * 0.15, top + h * 0.15, w * 0.14, h * 0.14, colour)
