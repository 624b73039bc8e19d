"""A pinhole camera, and drawing of textured planes as it sees them."""

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numba import njit

NEAREST = 0.05
"""Smallest distance in front of the camera, metres, at which a corner is visible."""


@dataclass(frozen=True)
class Texture:
    """The same picture by day and by night: uint8 (h, w, 4) RGBA, colours premultiplied by alpha."""

    day: np.ndarray
    night: np.ndarray

    @cached_property
    def pyramids(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Each picture at full size, half, a quarter and so on, so that a distant view does not alias."""
        return _halves(self.day), _halves(self.night)


@dataclass(frozen=True)
class Surface:
    """A texture on a parallelogram in the world (metres; x right, y up, z away from the front).

    `corner` is where the texture's top left lies; `right` and `down` span its whole width and height.
    A one-sided surface is visible only from the side where its texture is not mirrored.
    """

    texture: Texture
    corner: np.ndarray
    right: np.ndarray
    down: np.ndarray
    one_sided: bool = True

    @cached_property
    def normal(self) -> np.ndarray:
        """float64 (3,), towards the side where the texture is not mirrored; its length is the surface's area."""
        return np.cross(self.right, self.down)

    @cached_property
    def corners(self) -> np.ndarray:
        """float64 (4, 3), clockwise from the texture's top left."""
        far = self.corner + self.right
        return np.array([self.corner, far, far + self.down, self.corner + self.down])


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; `rotation` (3, 3) maps world directions to right, down, forward."""

    position: np.ndarray
    rotation: np.ndarray
    focal: float
    width: int
    height: int

    @cached_property
    def intrinsics(self) -> np.ndarray:
        """float64 (3, 3); the principal point is the picture's centre."""
        return np.array([[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2], [0, 0, 1]])

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels (n, 2) and depths (n,) of world points (n, 3)."""
        seen = (points - self.position) @ self.rotation.T @ self.intrinsics.T
        return seen[:, :2] / np.maximum(seen[:, 2:], NEAREST), seen[:, 2]


def look_at(position: np.ndarray, target: np.ndarray, roll: float, focal: float, width: int, height: int) -> Camera:
    """Return a camera at `position` that looks at `target`, rolled by `roll` radians."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(np.array([0.0, 1.0, 0.0]), forward)
    right /= np.linalg.norm(right)
    down = np.cross(right, forward)
    turn = np.array([[math.cos(roll), math.sin(roll), 0], [-math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    return Camera(position, turn @ np.array([right, down, forward]), focal, width, height)


def draw_surface(canvas: np.ndarray, surface: Surface, camera: Camera, night: bool, light: float = 1.0) -> None:
    """Blend `surface` into `canvas`, float32 (h, w, 3) in 0..255, with its colours scaled by `light`."""
    if surface.one_sided and surface.normal @ (camera.position - surface.corner) <= 0:
        return
    pixels, depths = camera.project(surface.corners)
    whole = bool((depths > NEAREST).all())
    if not whole and not (depths > NEAREST).any():
        return
    left, top, right, bottom = _bounds(pixels, camera) if whole else (0, 0, camera.width, camera.height)
    if right <= left or bottom <= top:
        return
    level = _level(surface, pixels, whole)
    # OpenCV counts from the middle of the first pixel, the homography from its corner.
    to_pixels = _shift(-left - 0.5, -top - 0.5) @ _homography(surface, camera, level) @ _shift(0.5, 0.5)
    layer = cv2.warpPerspective(level_picture(surface, level, night), to_pixels, (right - left, bottom - top))
    if not whole:
        layer[~_in_front(to_pixels, right - left, bottom - top)] = 0
    _blend(canvas[top:bottom, left:right], layer, np.float32(light))


def level_picture(surface: Surface, level: int, night: bool) -> np.ndarray:
    """Return the texture at one level of its pyramid."""
    return surface.texture.pyramids[1 if night else 0][level]


def _halves(picture: np.ndarray) -> list[np.ndarray]:
    levels = [picture]
    while min(levels[-1].shape[:2]) >= 16:
        height, width = levels[-1].shape[:2]
        half = (max(1, width // 2), max(1, height // 2))
        levels.append(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA))
    return levels


def _homography(surface: Surface, camera: Camera, level: int) -> np.ndarray:
    """Return the map of texture pixels to picture pixels; its third coordinate is the depth in metres."""
    height, width = level_picture(surface, level, night=False).shape[:2]
    columns = [surface.right / width, surface.down / height, surface.corner - camera.position]
    return np.asarray(camera.intrinsics @ camera.rotation @ np.array(columns).T)


def _shift(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=np.float64)


def _bounds(pixels: np.ndarray, camera: Camera) -> tuple[int, int, int, int]:
    x, y = pixels[:, 0].tolist(), pixels[:, 1].tolist()
    left, right = (min(max(0, math.floor(edge)), camera.width) for edge in (min(x) - 1, max(x) + 2))
    top, bottom = (min(max(0, math.floor(edge)), camera.height) for edge in (min(y) - 1, max(y) + 2))
    return left, top, right, bottom


def _level(surface: Surface, pixels: np.ndarray, whole: bool) -> int:
    """Return the level of the pyramid with about as many pixels as the surface covers in the picture."""
    if not whole:
        return 0
    height, width = surface.texture.day.shape[:2]
    (ax, ay), (bx, by) = pixels[2] - pixels[0], pixels[3] - pixels[1]
    area = abs(ax * by - ay * bx) / 2
    shrunk = math.sqrt(width * height / max(area, 1.0))
    return int(np.clip(round(math.log2(max(shrunk, 1.0)) - 0.2), 0, len(surface.texture.pyramids[0]) - 1))


def _in_front(to_pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return bool (height, width): whether the point of the plane at a pixel is in front of the camera."""
    across, along, constant = np.linalg.inv(to_pixels)[2]
    inverse_depth = across * np.arange(width)[None, :] + along * np.arange(height)[:, None] + constant
    return np.asarray(inverse_depth > 0)


@njit(cache=True, nogil=True)
def _blend(target, layer, light):  # type: ignore[no-untyped-def]
    """Blend `layer` (premultiplied RGBA) over `target`, with its colours scaled by `light`."""
    for row in range(layer.shape[0]):
        for column in range(layer.shape[1]):
            alpha = layer[row, column, 3]
            if alpha:
                kept = np.float32(255 - alpha) / np.float32(255)
                for channel in range(3):
                    seen = np.float32(layer[row, column, channel]) * light
                    target[row, column, channel] = target[row, column, channel] * kept + seen
