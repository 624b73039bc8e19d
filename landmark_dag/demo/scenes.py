"""Photos of one place: the camera, the light, people and things in the way, and the sensor."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from landmark_dag.demo.buildings import KINDS, Building, street
from landmark_dag.demo.camera import Camera, Surface, Texture, draw_surface, look_at
from landmark_dag.demo.facades import Style, style_of
from landmark_dag.demo.painting import Colour, Painting, cloudy, masonry, varied
from landmark_dag.demo.rooms import Room, make_room
from landmark_dag.demo.sprites import Props, Sprite

_ROOMS = {
    "cathedral": "nave", "basilica": "nave", "mosque": "hall", "palace": "hall", "castle": "hall",
    "temple": "gallery", "museum": "gallery", "arch": "gallery", "clock_tower": "library",
    "town_hall": "hall", "mansion": "library", "skyscraper": "gallery",
}  # fmt: skip


@dataclass(frozen=True)
class Light:
    """The colours of the sky, the factor on every colour, and whether lamps are lit."""

    zenith: Colour
    horizon: Colour
    cloud: Colour
    tint: Colour
    night: bool = False


_DAY = (
    Light((70, 122, 196), (190, 212, 232), (250, 250, 250), (1.04, 1.02, 0.98)),
    Light((96, 148, 210), (214, 224, 232), (255, 255, 255), (1.0, 1.0, 1.0)),
    Light((164, 170, 178), (206, 208, 210), (226, 228, 230), (0.86, 0.88, 0.92)),
    Light((92, 108, 150), (246, 190, 130), (250, 214, 180), (1.08, 0.92, 0.74)),
    Light((128, 146, 172), (224, 222, 214), (240, 240, 238), (0.94, 0.95, 0.97)),
)
_NIGHT = (
    Light((12, 16, 38), (52, 52, 76), (40, 42, 60), (1.0, 1.0, 1.06), night=True),
    Light((28, 44, 92), (120, 110, 130), (70, 80, 110), (1.06, 1.02, 1.06), night=True),
)


@dataclass(frozen=True)
class Landmark:
    """One place: its building, the street behind, the square in front, and a room inside."""

    building: Building
    backdrop: Texture
    ground: Texture
    room: Room
    green: float
    sunny_side: float


def make_landmark(rng: np.random.Generator, kind: str, style: Style) -> Landmark:
    """Build a landmark of one of the KINDS; landmarks of the same style resemble each other."""
    building = KINDS[kind](rng, style)
    backdrop = street(rng, [style_of(rng) for _ in range(3)], 110)
    return Landmark(
        building, backdrop, _ground(rng), make_room(rng, _ROOMS[kind]),
        green=float(rng.uniform(0, 1)), sunny_side=float(rng.choice([-1, 1])),
    )  # fmt: skip


def exterior_photo(
    rng: np.random.Generator, landmark: Landmark, props: Props, long_side: int, night: bool
) -> np.ndarray:
    """Return a photo of the landmark from outside, uint8 (h, w, 3) RGB."""
    camera = _outside_camera(rng, landmark.building, long_side)
    light = (_NIGHT if night else _DAY)[int(rng.integers(2 if night else len(_DAY)))]
    canvas = _sky(rng, light, camera)
    _draw_city(canvas, landmark, camera, light)
    shading = 1.0 if night else float(rng.uniform(0.55, 0.95))
    behind, before = _bystanders(rng, landmark, props, camera)
    _draw_sprites(canvas, behind, camera, light.night)
    for surface in landmark.building.surfaces:
        facing = np.sign(surface.normal[0]) * landmark.sunny_side
        draw_surface(canvas, surface, camera, light.night, shading if facing < 0 else 1.0)
    _draw_sprites(canvas, before, camera, light.night)
    return _develop(rng, canvas, np.array(light.tint), light.night)


def interior_photo(rng: np.random.Generator, landmark: Landmark, props: Props, long_side: int) -> np.ndarray:
    """Return a photo of the landmark from inside, uint8 (h, w, 3) RGB."""
    room = landmark.room
    camera = _inside_camera(rng, room, long_side)
    canvas = np.full((camera.height, camera.width, 3), 40, np.float32)
    for surface in room.surfaces:
        draw_surface(canvas, surface, camera, night=False, light=_wall_light(surface))
    visitors = [(_pick(rng, props.people), _floor_place(rng, room)) for _ in range(int(rng.integers(0, 5)))]
    _draw_sprites(canvas, [*room.furniture, *visitors], camera, night=False)
    warmth = rng.uniform(0, 1)
    tint = rng.uniform(0.7, 1.05) * np.array([1.0 + 0.1 * warmth, 1.0, 1.0 - 0.22 * warmth])
    return _develop(rng, canvas, tint, night=rng.random() < 0.1)


def landscape_photo(rng: np.random.Generator, props: Props, long_side: int) -> np.ndarray:
    """Return a photo without a building: hills, trees, passers-by; uint8 (h, w, 3) RGB."""
    width, height = _frame(rng, long_side)
    eye = np.array([0.0, rng.uniform(1.5, 6), -30.0])
    camera = look_at(
        eye,
        np.array([rng.uniform(-8, 8), rng.uniform(0, 4), 0.0]),
        rng.normal(0, 0.03),
        width * rng.uniform(0.8, 1.2),
        width,
        height,
    )
    light = (*_DAY, *_NIGHT)[int(rng.integers(len(_DAY) + len(_NIGHT)))]
    canvas = _sky(rng, light, camera)
    horizon = _horizon(camera)
    for layer in range(int(rng.integers(1, 4))):
        _draw_hills(rng, canvas, horizon, light, layer)
    draw_surface(canvas, _plane_of_ground(_ground(rng)), camera, light.night)
    things: list[tuple[Sprite, np.ndarray]] = []
    for _ in range(int(rng.integers(2, 12))):
        pool = (props.trees, props.trees, props.people, props.cars, props.lamps)[int(rng.integers(5))]
        things.append((_pick(rng, pool), np.array([rng.uniform(-16, 16), 0, rng.uniform(-22, 20)])))
    _draw_sprites(canvas, things, camera, light.night)
    return _develop(rng, canvas, np.array(light.tint), light.night)


def _frame(rng: np.random.Generator, long_side: int, upright: float = 0.25) -> tuple[int, int]:
    """Return width and height, mostly 4:3 or 3:2; `upright` is the share of upright photos."""
    short = round(long_side * float(rng.choice([0.75, 0.75, 0.667, 0.667, 0.5625])))
    return (short, long_side) if rng.random() < upright else (long_side, short)


def _outside_camera(rng: np.random.Generator, building: Building, long_side: int) -> Camera:
    """Return a camera on the square that sees the whole building or a part of it, from the left or the right."""
    slender = building.height / building.width
    width, height = _frame(rng, long_side, upright=float(np.clip(slender - 0.4, 0.08, 0.8)))
    yaw = math.radians(float(np.clip(rng.normal(0, 24), -52, 52)))
    close = rng.random() < 0.3
    filled = rng.uniform(1.0, 1.5) if close else rng.uniform(0.55, 0.95)
    focal = float(rng.uniform(0.9, 1.35)) * max(width, height)
    distance = max(building.width * focal / (filled * width), building.height * focal / (filled * height) * 0.92)
    distance = max(distance, 9.0)
    spread = 0.22 if close else 0.06
    target = np.array([
        rng.normal(0, spread) * building.width,
        building.height * (0.45 + float(np.clip(rng.normal(0, spread), -0.25, 0.3))),
        2.0,
    ])  # fmt: skip
    eye_height = rng.uniform(6, 12) if rng.random() < 0.12 else rng.uniform(1.5, 2.2)
    eye = np.array([distance * math.sin(yaw), eye_height, -distance * math.cos(yaw)])
    return look_at(eye, target, float(rng.normal(0, 0.035)), focal, width, height)


def _inside_camera(rng: np.random.Generator, room: Room, long_side: int) -> Camera:
    width, height = _frame(rng, long_side)
    eye = np.array([rng.uniform(-0.25, 0.25) * room.width, rng.uniform(1.5, 2.0), room.depth * rng.uniform(0.04, 0.3)])
    aside = rng.uniform(-0.45, 0.45) if rng.random() < 0.8 else rng.choice([-0.8, 0.8])
    target = np.array([aside * room.width, room.height * rng.uniform(0.34, 0.5), room.depth])
    return look_at(eye, target, float(rng.normal(0, 0.03)), rng.uniform(0.7, 1.1) * max(width, height), width, height)


def _sky(rng: np.random.Generator, light: Light, camera: Camera) -> np.ndarray:
    """Return a sky with clouds over the whole picture, float32 (h, w, 3)."""
    horizon = max(1.0, _horizon(camera))
    share = np.clip(np.arange(camera.height, dtype=np.float32) / horizon, 0, 1)[:, None, None] ** 1.4
    canvas = np.array(light.zenith, np.float32) * (1 - share) + np.array(light.horizon, np.float32) * share
    canvas = np.repeat(canvas, camera.width, axis=1)
    cover = np.clip(
        cloudy(rng, camera.width, camera.height, camera.width * 0.45, 4) * 1.8 + rng.uniform(-0.7, 0.5), 0, 1
    )
    canvas += (np.array(light.cloud, np.float32) - canvas) * cover[:, :, None] * 0.8
    return np.ascontiguousarray(canvas)


def _horizon(camera: Camera) -> float:
    """Return the row where the horizon crosses the picture's middle column."""
    forward, down = camera.rotation[2], camera.rotation[1]
    return camera.height / 2 + camera.focal * forward[1] / max(1e-3, -down[1])


def _ground(rng: np.random.Generator) -> Texture:
    """Return paving, cobbles, gravel or grass."""
    kind = int(rng.integers(4))
    base = varied([(168, 160, 150), (132, 128, 124), (196, 180, 148), (104, 128, 70)][kind], rng, 8)
    painting = Painting(480, 480, base)
    if kind < 2:
        masonry(painting, rng, [14, 7][kind], [20, 9][kind], 0.05, 0.86)
    painting.modulate(1 + 0.10 * cloudy(rng, 480, 480, [120, 120, 30, 20][kind], 4))
    if rng.random() < 0.5:
        painting.rectangle(0, 250, 480, 60, varied((92, 92, 96), rng, 6))
        for x in range(0, 480, 24):
            painting.rectangle(x, 278, 12, 3, (226, 224, 214))
    return painting.texture((0.22, 0.18, 0.12), dark=0.12)


def _plane_of_ground(texture: Texture) -> Surface:
    return Surface(texture, np.array([-80.0, 0, 60]), np.array([160.0, 0, 0]), np.array([0, 0, -160.0]))


def _draw_city(canvas: np.ndarray, landmark: Landmark, camera: Camera, light: Light) -> None:
    """Draw the ground, and the street in the distance behind the landmark."""
    horizon = round(_horizon(camera))
    if horizon < camera.height:
        far = np.array(light.horizon, np.float32) * (0.5 if light.night else 0.72)
        canvas[max(0, horizon) :] = far
    draw_surface(canvas, _plane_of_ground(landmark.ground), camera, light.night)
    corner, right, down = np.array([-75.0, 13, 42]), np.array([150.0, 0, 0]), np.array([0, -13.0, 0])
    draw_surface(canvas, Surface(landmark.backdrop, corner, right, down), camera, light.night, 0.9)


def _draw_hills(rng: np.random.Generator, canvas: np.ndarray, horizon: float, light: Light, layer: int) -> None:
    """Draw a ridge over the horizon; nearer ridges are lower and darker."""
    height, width = canvas.shape[:2]
    ridge = horizon - height * (0.22 - 0.07 * layer) * (0.6 + 0.6 * cloudy(rng, width, 1, width * 0.5, 4)[0])
    colour = varied((92, 112, 96), rng, 18)
    mixed = np.array(colour) * (0.45 + 0.2 * layer) + np.array(light.horizon) * (0.5 - 0.2 * layer)
    rows = np.arange(height)[:, None]
    canvas[rows >= ridge[None, :]] = mixed * (0.3 if light.night else 1.0)


def _bystanders(
    rng: np.random.Generator, landmark: Landmark, props: Props, camera: Camera
) -> tuple[list[tuple[Sprite, np.ndarray]], list[tuple[Sprite, np.ndarray]]]:
    """Return the sprites behind and in front of the building, each with its place on the ground."""
    half, reach = landmark.building.width / 2, float(-camera.position[2])
    behind = [
        (_pick(rng, props.trees), np.array([rng.choice([-1, 1]) * (half + rng.uniform(2, 20)), 0, rng.uniform(4, 30)]))
        for _ in range(round(6 * landmark.green))
    ]
    before: list[tuple[Sprite, np.ndarray]] = []
    counts = {
        "people": int(rng.integers(0, 12)),
        "trees": int(rng.random() < 0.4 * landmark.green + 0.1) * int(rng.integers(1, 3)),
        "cars": int(rng.random() < 0.3) * int(rng.integers(1, 4)),
        "lamps": int(rng.integers(0, 3)),
    }
    for kind, count in counts.items():
        for _ in range(count):
            near = rng.uniform(0.12, 0.85)
            across = camera.position[0] * near + rng.uniform(-0.62, 0.62) * (2 * half + 6)
            z = -reach * near if reach * near > 6.5 else -6.5
            before.append((_pick(rng, getattr(props, kind)), np.array([across, 0, z])))
    return behind, before


def _pick(rng: np.random.Generator, pool: tuple[Sprite, ...]) -> Sprite:
    return pool[int(rng.integers(len(pool)))]


def _floor_place(rng: np.random.Generator, room: Room) -> np.ndarray:
    return np.array([rng.uniform(-0.42, 0.42) * room.width, 0, room.depth * rng.uniform(0.45, 0.95)])


def _draw_sprites(canvas: np.ndarray, placed: list[tuple[Sprite, np.ndarray]], camera: Camera, night: bool) -> None:
    """Draw cut-outs that face the camera, the farthest first; those nearer than 2.5 metres are left out."""
    depths = [float(camera.rotation[2] @ (place - camera.position)) for _, place in placed]
    across = np.cross(np.array([0.0, 1.0, 0.0]), camera.rotation[2])
    across /= np.linalg.norm(across)
    for i in sorted(range(len(placed)), key=lambda i: -depths[i]):
        sprite, place = placed[i]
        if depths[i] > 2.5:
            corner = place - across * sprite.width / 2 + np.array([0, sprite.height, 0])
            surface = Surface(sprite.texture, corner, across * sprite.width, np.array([0, -sprite.height, 0.0]), False)
            draw_surface(canvas, surface, camera, night)


def _wall_light(surface: Surface) -> float:
    """Return the light on a wall: side walls are darker than the end wall, so that the room's edges are visible."""
    return (0.86, 0.92, 1.0)[int(np.argmax(np.abs(surface.normal)))]


def _develop(rng: np.random.Generator, canvas: np.ndarray, tint: np.ndarray, night: bool) -> np.ndarray:
    """Apply exposure, colour cast, contrast, vignette, blur and noise; return uint8 (h, w, 3)."""
    height, width = canvas.shape[:2]
    cast = rng.normal(1, 0.025, 3) * tint * rng.uniform(0.85, 1.15)
    curve = np.clip(np.linspace(0, 1, 256)[:, None] * cast, 0, 1) ** rng.uniform(0.8, 1.2)
    curve = (curve - 0.45) * rng.uniform(0.8, 1.15) + 0.45
    curve += (0.75 - curve) * max(0.0, rng.normal(-0.02, 0.08))
    levels = np.clip(canvas, 0, 255).astype(np.uint8)
    photo = cv2.LUT(levels, curve.astype(np.float32)[None])
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    photo *= 1 - np.float32(rng.uniform(0, 0.14)) * (x[None, :, None] ** 2 + y[:, None, None] ** 2)
    if rng.random() < 0.25:
        photo = cv2.GaussianBlur(photo, (0, 0), rng.uniform(0.4, 0.9))
    strength = rng.uniform(0.008, 0.022) if night else rng.uniform(0.002, 0.012)
    photo += rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(strength)
    return np.asarray(np.clip(photo * 255 + 0.5, 0, 255).astype(np.uint8))
