"""Drawing of textured planes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_dag.demo.camera import Surface, Texture, draw_surface, look_at


def spotted(x: int, y: int) -> Texture:
    """A black texture with one white square of 5 pixels about (x, y)."""
    picture = np.zeros((100, 160, 4), np.uint8)
    picture[:, :, 3] = 255
    picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    return Texture(picture, picture)


@settings(deadline=None)
@given(st.integers(10, 150), st.integers(10, 90), st.floats(-0.8, 0.8), st.floats(12, 20), st.floats(-0.2, 0.2))
def test_a_point_of_a_texture_is_drawn_where_the_camera_projects_it(
    x: int, y: int, yaw: float, distance: float, roll: float
) -> None:
    surface = Surface(spotted(x, y), np.array([-8.0, 10, 0]), np.array([16.0, 0, 0]), np.array([0, -10.0, 0]))
    eye = np.array([distance * np.sin(yaw), 3.0, -distance * np.cos(yaw)])
    camera = look_at(eye, np.array([0, 5.0, 0]), roll, 300, 400, 300)
    canvas = np.zeros((300, 400, 3), np.float32)
    draw_surface(canvas, surface, camera, night=False)
    point = surface.corner + surface.right * (x + 0.5) / 160 + surface.down * (y + 0.5) / 100
    expected, _ = camera.project(point[None])
    if not (8 < expected[0, 0] < 392 and 8 < expected[0, 1] < 292):
        return
    rows, columns = np.nonzero(canvas[:, :, 0] > 100)
    weights = canvas[rows, columns, 0]
    drawn = np.array([np.average(columns, weights=weights), np.average(rows, weights=weights)])
    assert np.abs(drawn + 0.5 - expected[0]).max() < 1.0


def test_a_one_sided_surface_is_not_seen_from_behind() -> None:
    surface = Surface(spotted(80, 50), np.array([-8.0, 10, 0]), np.array([16.0, 0, 0]), np.array([0, -10.0, 0]))
    camera = look_at(np.array([0, 5.0, 12.0]), np.array([0, 5.0, 0]), 0.0, 300, 400, 300)
    canvas = np.full((300, 400, 3), 7, np.float32)
    draw_surface(canvas, surface, camera, night=False)
    assert (canvas == 7).all()


def test_what_is_behind_the_camera_is_not_drawn() -> None:
    ground = Surface(spotted(80, 50), np.array([-50.0, 0, 50]), np.array([100.0, 0, 0]), np.array([0, 0, -100.0]))
    camera = look_at(np.array([0, 2.0, 0]), np.array([0, 2.0, 10]), 0.0, 300, 400, 300)
    canvas = np.full((300, 400, 3), 200, np.float32)
    draw_surface(canvas, ground, camera, night=False)
    assert (canvas[:149] == 200).all()
    assert (canvas[170:] < 200).any()
