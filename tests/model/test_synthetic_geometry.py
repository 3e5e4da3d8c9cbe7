"""Rendered depth, labels and boxes are geometrically true."""

import json

import cv2
import numpy as np
import pytest

from govnesf_model.data.posed_scene import open_scene
from govnesf_model.data.synthetic.assets import Catalogues
from govnesf_model.data.synthetic.camera_path import look_at
from govnesf_model.data.synthetic.generate import Settings, generate_scene
from govnesf_model.data.synthetic.mesh import Material
from govnesf_model.data.synthetic.render import Stage
from govnesf_model.data.synthetic.room import Light, Room, Thing
from govnesf_model.data.synthetic.shapes import box, ellipsoid, quad

K = np.array([[100.0, 0, 39.5], [0, 100.0, 29.5], [0, 0, 1]])


@pytest.fixture(scope="module", params=["procedural", "catalogues"])
def scene(request, tmp_path_factory):
    if request.param == "catalogues" and Catalogues.find() is None:
        pytest.skip("the furniture catalogues are not installed: govnesf data assets")
    folder = tmp_path_factory.mktemp("rooms") / "train_00003"
    settings = Settings(views=8, width=160, height=120, assets=request.param)
    return open_scene(generate_scene(folder, 3, "train", settings))


def _room(*meshes, lights=()):
    things = [Thing("thing", m, "proc:thing", "", "", None, None) for m in meshes]
    return Room(4.0, 4.0, 3.0, "test", things, list(lights), (1.0, 1.0, 1.0))


def _wall(x: float):
    return quad([[x, -9, -9], [x, 9, -9], [x, 9, 9], [x, -9, 9]])


def test_depth_is_z_depth():
    """A wall square to the camera has one depth over the whole image, not a bowl."""
    stage = Stage(_room(_wall(2.5)))
    view = stage.render(K, look_at(np.zeros(3), [1, 0, 0]), 80, 60)
    np.testing.assert_allclose(view.depth, 2.5, atol=2e-6)


def test_pixel_centres_are_integers():
    """The optical axis meets the image at (cx, cy): the depth of a slope there is the axis's."""
    k = np.array([[100.0, 0, 40], [0, 100.0, 30], [0, 0, 1]])
    slope = quad([[1, 9, -9], [3, -9, -9], [3, -9, 9], [1, 9, 9]])
    view = Stage(_room(slope)).render(k, look_at(np.zeros(3), [1, 0, 0]), 81, 61)
    assert view.depth[30, 40] == pytest.approx(2.0, abs=1e-5)
    # Pixel u sees the direction (1, -(u - cx) / f); x = 2 - y / 9 there.
    u = np.arange(81)
    expected = 2 / (1 - (u - 40) / 100 / 9)
    np.testing.assert_allclose(view.depth[30], expected, atol=1e-5)


def test_nearest_thing_owns_the_pixel():
    view = Stage(_room(_wall(3), box((0.4, 0.4, 0.4), (1.5, 0, -0.2)))).render(
        K, look_at(np.zeros(3), [1, 0, 0]), 80, 60
    )
    assert view.instance[30, 40] == 2
    assert view.instance[0, 0] == 1
    assert view.depth[30, 40] == pytest.approx(1.3, abs=1e-5)


def test_holes_are_seen_through_and_panes_are_not():
    texture = np.full((8, 8, 4), 255, np.uint8)
    texture[..., 3] = 0
    hole = quad([[1, -1, -1], [1, 1, -1], [1, 1, 1], [1, -1, 1]], Material(texture=texture))
    view = Stage(_room(_wall(3), hole)).render(K, look_at(np.zeros(3), [1, 0, 0]), 80, 60)
    assert set(np.unique(view.instance)) == {1}
    np.testing.assert_allclose(view.depth, 3, atol=1e-3)


def test_glass_shows_what_is_behind_and_keeps_its_own_depth():
    """A pane of opacity a before a glowing wall has a of its own colour and 1 - a of the wall's."""
    glow = Material(color=(0.5, 0.5, 0.5), emission=1.0)
    wall = quad([[3, -9, -9], [3, 9, -9], [3, 9, 9], [3, -9, 9]], glow)
    dark = Material((0.1, 0.1, 0.1), opacity=0.25)
    pane = quad([[1, -9, -9], [1, 9, -9], [1, 9, 9], [1, -9, 9]], dark)
    room = _room(wall, pane)
    room.ambient = (0.0, 0.0, 0.0)
    view = Stage(room).render(K, look_at(np.zeros(3), [1, 0, 0]), 80, 60)
    assert set(np.unique(view.instance)) == {2}
    np.testing.assert_allclose(view.depth, 1, atol=1e-5)
    np.testing.assert_allclose(view.radiance, 0.75 * 0.5, atol=1e-5)


def test_shadow_falls_behind_a_blocker():
    lamp = Light((0.0, 0.0, 2.0), (1.0, 1.0, 1.0), 0.01)
    floor = quad([[-3, -3, 0], [3, -3, 0], [3, 3, 0], [-3, 3, 0]])
    room = _room(floor, box((0.5, 0.5, 0.02), (0, 0, 1.0)), lights=[lamp])
    room.ambient = (0.0, 0.0, 0.0)
    T = look_at(np.array([2.5, 0, 0.6]), [0, 0, 0.0])
    view = Stage(room).render(K, T, 80, 60, smooth=False)
    uv = _project(np.array([[0.2, 0.0, 0.0], [1.2, 0.0, 0.0]]), K, T)[0].round().astype(int)
    dark, bright = (view.radiance[v, u].mean() for u, v in uv)
    assert dark < 1e-6
    assert bright > 0.02


def test_sphere_is_smooth_and_round():
    ball = ellipsoid((1, 1, 1), n=40).moved(0, (2, 0, -0.5))
    view = Stage(_room(ball)).render(K, look_at(np.zeros(3), [1, 0, 0]), 80, 60)
    assert view.depth[29:31, 39:41].min() == pytest.approx(1.5, abs=0.01)


def test_views_agree(scene):
    """Depth and labels of a view, carried into the others, meet what those show."""
    agree = total = 0
    for i in range(len(scene) - 1):
        a, b = scene[i], scene[i + 1]
        v, u = np.nonzero(_inside_surfaces(a.depth, a.label))
        z = a.depth[v, u]
        x = (u - a.K[0, 2]) / a.K[0, 0] * z
        y = (v - a.K[1, 2]) / a.K[1, 1] * z
        world = np.stack([x, y, z], -1) @ a.T_world_camera[:3, :3].T + a.T_world_camera[:3, 3]
        uv, depth = _project(world, b.K, b.T_world_camera)
        inside = (
            (depth > 0.05)
            & (uv > 1).all(1)
            & (uv < np.array([scene.width, scene.height]) - 2).all(1)
        )
        uv, depth, label = uv[inside].round().astype(int), depth[inside], a.label[v, u][inside]
        smooth = _inside_surfaces(b.depth, b.label)[uv[:, 1], uv[:, 0]]
        uv, depth, label = uv[smooth], depth[smooth], label[smooth]
        seen = b.depth[uv[:, 1], uv[:, 0]]
        visible = depth < seen + 0.02 + 0.01 * seen  # else something stands in front of it
        same = np.abs(depth - seen) < 0.02 + 0.01 * seen
        same &= label == b.label[uv[:, 1], uv[:, 0]]
        agree += int((same & visible).sum())
        total += int(visible.sum())
    assert total > 20_000
    assert agree / total > 0.99


def test_boxes_contain_their_points(scene):
    instances = json.loads((scene.root / "instances.json").read_text())
    for frame in scene:
        path = scene.root / "instance" / f"{frame.name}.png"
        ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        for i in np.unique(ids[ids > 0]):
            v, u = np.nonzero((ids == i) & (frame.depth > 0))
            z = frame.depth[v, u]
            camera = np.stack(
                [
                    (u - frame.K[0, 2]) / frame.K[0, 0] * z,
                    (v - frame.K[1, 2]) / frame.K[1, 1] * z,
                    z,
                ],
                -1,
            )
            world = camera @ frame.T_world_camera[:3, :3].T + frame.T_world_camera[:3, 3]
            thing = instances[str(i)]
            local = world - thing["center"]
            c, s = np.cos(thing["yaw"]), np.sin(thing["yaw"])
            local = np.stack(
                [c * local[:, 0] + s * local[:, 1], c * local[:, 1] - s * local[:, 0], local[:, 2]],
                -1,
            )
            assert (np.abs(local) <= np.array(thing["size"]) / 2 + 4e-3).all(), thing["name"]
            assert scene.classes[int(frame.label[v[0], u[0]])] == thing["class"]


def _inside_surfaces(depth, label):
    """Pixels whose neighbours show the same surface: rounding to a pixel changes nothing there."""
    ok = depth > 0
    for axis in (0, 1):
        for step in (1, -1):
            near = np.roll(depth, step, axis)
            ok &= (np.roll(label, step, axis) == label) & (
                np.abs(near - depth) < 0.015 * depth + 0.005
            )
    ok[[0, -1]] = ok[:, [0, -1]] = False
    return ok


def _project(points, K, T):
    camera = (points - T[:3, 3]) @ T[:3, :3]
    return camera[:, :2] / camera[:, 2:] * [K[0, 0], K[1, 1]] + K[:2, 2], camera[:, 2]
