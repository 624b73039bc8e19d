"""Sprites: people, trees, cars and lamp posts in front of a landmark, as cut-outs that always face the camera."""

from dataclasses import dataclass

import numpy as np

from landmark_dag.demo.camera import Texture
from landmark_dag.demo.painting import Painting, tinted, varied

_RESOLUTION = 40
"""Pixels a metre of people."""


@dataclass(frozen=True)
class Sprite:
    """A cut-out and its height in metres."""

    texture: Texture
    height: float

    @property
    def width(self) -> float:
        """Its width in metres."""
        rows, columns = self.texture.day.shape[:2]
        return self.height * columns / rows


@dataclass(frozen=True)
class Props:
    """Sprites of every kind, shared by all photos of a set."""

    people: tuple[Sprite, ...]
    trees: tuple[Sprite, ...]
    cars: tuple[Sprite, ...]
    lamps: tuple[Sprite, ...]


def make_props(rng: np.random.Generator) -> Props:
    """Paint the sprites."""
    return Props(
        people=tuple(_person(rng) for _ in range(24)),
        trees=tuple([_tree, _cypress, _palm][int(kind)](rng) for kind in rng.choice([0, 0, 0, 1, 2], 14)),
        cars=tuple([_car, _van][int(kind)](rng) for kind in rng.choice([0, 0, 0, 1], 10)),
        lamps=tuple(_lamp(rng) for _ in range(4)),
    )


def _person(rng: np.random.Generator) -> Sprite:
    tall, m = rng.uniform(1.5, 1.9), _RESOLUTION
    painting = Painting(round(0.9 * m), round(tall * m))
    w, h = painting.width, painting.height
    top, legs, skin = varied((120, 100, 110), rng, 60), varied((60, 64, 84), rng, 28), varied((196, 156, 128), rng, 30)
    stride, middle = rng.uniform(0.02, 0.16) * w, w / 2
    for side in (-1, 1):
        painting.line(
            (middle + side * w * 0.08, h * 0.55), (middle + side * (w * 0.08 + stride), h * 0.97), legs, w * 0.15
        )
        painting.ellipse(middle + side * (w * 0.1 + stride), h * 0.975, w * 0.1, h * 0.02, (40, 34, 32))
        elbow = (middle + side * w * rng.uniform(0.22, 0.36), h * rng.uniform(0.36, 0.5))
        painting.line((middle + side * w * 0.18, h * 0.22), elbow, tinted(top, 0.85), w * 0.1)
        painting.line(elbow, (middle + side * w * 0.2, h * rng.uniform(0.3, 0.6)), skin, w * 0.07)
    if rng.random() < 0.35:
        painting.polygon(
            [
                (middle - w * 0.18, h * 0.45),
                (middle + w * 0.18, h * 0.45),
                (middle + w * 0.3, h * 0.75),
                (middle - w * 0.3, h * 0.75),
            ],
            tinted(top, 0.8),
        )
    painting.polygon(
        [
            (middle - w * 0.22, h * 0.2),
            (middle + w * 0.22, h * 0.2),
            (middle + w * 0.17, h * 0.58),
            (middle - w * 0.17, h * 0.58),
        ],
        top,
    )
    if rng.random() < 0.4:
        painting.rectangle(middle - w * 0.15, h * 0.26, w * 0.3, h * 0.2, varied((150, 70, 60), rng, 50))
    painting.ellipse(middle, h * 0.105, w * 0.12, h * 0.075, skin)
    painting.ellipse(middle, h * 0.07, w * 0.125, h * 0.05, varied((70, 52, 40), rng, 30))
    return Sprite(painting.texture(dark=0.2), tall)


def _tree(rng: np.random.Generator) -> Sprite:
    tall = rng.uniform(5, 10)
    painting = Painting(170, 220)
    leaf = varied((78, 116, 56), rng, 16)
    painting.polygon([(80, 220), (83, 120), (90, 120), (95, 220)], (84, 64, 48))
    for x in (50, 120):
        painting.line((86, 150), (x, 90), (84, 64, 48), 4)
    for _ in range(340):
        angle, reach = rng.uniform(0, 2 * np.pi), rng.random() ** 0.6
        x, y = 85 + 74 * reach * float(np.cos(angle)), 78 + 66 * reach * float(np.sin(angle))
        light = 0.62 + 0.5 * (1 - y / 150) + 0.2 * (1 - x / 170) + rng.normal(0, 0.1)
        painting.ellipse(x, y, rng.uniform(4, 9), rng.uniform(3, 7), tinted(leaf, light))
    return Sprite(painting.texture((0.14, 0.14, 0.08), dark=0.14), tall)


def _cypress(rng: np.random.Generator) -> Sprite:
    painting = Painting(60, 240)
    leaf = varied((56, 88, 56), rng, 12)
    painting.rectangle(26, 220, 8, 20, (84, 64, 48))
    for _ in range(260):
        y = rng.uniform(10, 228)
        half = 24 * np.sin(np.pi * min(1.0, y / 235) ** 0.7) + 2
        light = 0.75 + rng.normal(0, 0.16)
        painting.ellipse(30 + rng.uniform(-half, half), y, 5, 8, tinted(leaf, light))
    return Sprite(painting.texture((0.12, 0.12, 0.08), dark=0.14), rng.uniform(7, 11))


def _palm(rng: np.random.Generator) -> Sprite:
    painting = Painting(180, 240)
    leaf, lean = varied((84, 120, 58), rng, 14), rng.uniform(-14, 14)
    painting.line((90, 240), (90 + lean, 70), (128, 102, 76), 9)
    for _ in range(16):
        angle, length = rng.uniform(-0.5, np.pi + 0.5), rng.uniform(55, 85)
        x, y = 90 + lean, 70.0
        for step in range(10):
            bend = angle + (0.16 if np.cos(angle) < 0 else -0.16) * step
            end = (x + length / 10 * float(np.cos(bend)), y - length / 10 * float(np.sin(bend)))
            painting.line((x, y), end, tinted(leaf, rng.uniform(0.7, 1.2)), 8 - step * 0.6)
            x, y = end
    return Sprite(painting.texture((0.14, 0.14, 0.08), dark=0.14), rng.uniform(6, 10))


def _car(rng: np.random.Generator) -> Sprite:
    painting = Painting(172, 60)
    body = varied((130, 120, 125), rng, 60)
    painting.polygon([(40, 28), (60, 4), (118, 4), (142, 28)], body)
    painting.polygon([(48, 27), (63, 8), (88, 8), (88, 27)], (62, 78, 90))
    painting.polygon([(92, 27), (92, 8), (115, 8), (132, 27)], (62, 78, 90))
    painting.polygon([(4, 46), (8, 30), (40, 26), (142, 26), (166, 32), (169, 46)], body)
    painting.rectangle(4, 44, 164, 4, tinted(body, 0.6))
    _wheels(painting, (38, 134), 47, 12)
    painting.ellipse(166, 36, 3, 3, (250, 240, 200), 255)
    painting.ellipse(6, 37, 3, 4, (190, 40, 40), 255)
    return Sprite(painting.texture(dark=0.22), 1.5)


def _van(rng: np.random.Generator) -> Sprite:
    painting = Painting(220, 100)
    body = varied((190, 186, 180), rng, 40)
    painting.polygon([(4, 82), (4, 6), (176, 6), (206, 44), (216, 52), (216, 82)], body)
    painting.polygon([(150, 14), (174, 14), (198, 44), (150, 44)], (62, 78, 90))
    painting.rectangle(16, 26, 110, 26, varied((130, 70, 60), rng, 50))
    painting.lettering(str(rng.choice(["POST", "EXPRESS", "MILK", "TAXI", "TOURS"])), 70, 38, 14, (246, 242, 230))
    painting.rectangle(4, 72, 212, 6, tinted(body, 0.6))
    _wheels(painting, (46, 174), 83, 16)
    return Sprite(painting.texture(dark=0.22), 2.3)


def _wheels(painting: Painting, centres: tuple[float, float], y: float, radius: float) -> None:
    for x in centres:
        painting.ellipse(x, y, radius, radius, (32, 32, 34))
        painting.ellipse(x, y, radius * 0.5, radius * 0.5, (170, 170, 172))


def _lamp(rng: np.random.Generator) -> Sprite:
    painting = Painting(50, 240)
    iron = varied((46, 54, 52), rng, 8)
    painting.rectangle(22, 40, 6, 200, iron)
    painting.rectangle(17, 214, 16, 26, iron)
    painting.rectangle(10, 60, 30, 4, iron)
    heads = [25.0] if rng.random() < 0.5 else [8.0, 25.0, 42.0]
    for x in heads:
        painting.polygon([(x - 7, 20), (x + 7, 20), (x + 4, 44), (x - 4, 44)], (244, 236, 200), 255)
        painting.polygon([(x - 8, 20), (x, 8), (x + 8, 20)], iron)
    return Sprite(painting.texture(dark=0.2), rng.uniform(4, 5.5))
