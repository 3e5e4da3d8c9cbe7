import random

import numpy as np
import pytest
import torch
from box_field import tiny_field
from box_room import LOWER, UPPER, write_room

from govnesf_model.cameras import project, unproject
from govnesf_model.data.posed_scene import open_scene
from govnesf_model.scene_tensors import load_scene
from govnesf_model.train_data import draw_rays, draw_task, seen_bounds, seen_by
from govnesf_model.unsteady_camera import UnsteadyCamera


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("room")
    write_room(path, count=8)
    return path


@pytest.fixture(scope="module")
def scene(folder):
    return load_scene(open_scene(folder), (64, 48))


def test_a_loaded_scene_agrees_with_its_files(folder, scene):
    frame = open_scene(folder)[3]
    assert scene.rgb.shape == (8, 3, 48, 64)
    np.testing.assert_array_equal(scene.rgb[3].permute(1, 2, 0).numpy(), frame.rgb)
    np.testing.assert_allclose(scene.depth[3].numpy(), frame.depth)
    np.testing.assert_allclose(scene.T_world_camera[3].numpy(), frame.T_world_camera, atol=1e-6)


def test_a_smaller_image_keeps_the_geometry(folder, scene):
    small = load_scene(open_scene(folder), (32, 24), [3])
    uv = torch.tensor([[10.0, 8.0]])
    point = unproject(uv, small.depth[0][8, 10][None], small.K[0], small.T_world_camera[0])
    again, z = project(point, scene.K[3], scene.T_world_camera[3])
    torch.testing.assert_close((again + 0.5) / 2 - 0.5, uv, atol=1e-3, rtol=0)
    assert abs(float(z - scene.depth[3][17, 21])) < 0.2


def test_jitter_changes_colours_and_nothing_else(folder, scene):
    changed = load_scene(open_scene(folder), (64, 48), jitter=random.Random(3))
    assert float((changed.colors() - scene.colors()).abs().mean()) > 0.01
    torch.testing.assert_close(changed.depth, scene.depth)


def test_an_unsteady_camera_spoils_what_is_seen_and_not_what_should_be_shown(folder, scene):
    camera = UnsteadyCamera.draw(8, random.Random(4), 1.0)
    taken = load_scene(open_scene(folder), (64, 48), camera=camera)
    torch.testing.assert_close(taken.shown, scene.rgb)
    torch.testing.assert_close(taken.depth, scene.depth)
    moved = (taken.T_world_camera - scene.T_world_camera)[:, :3, 3]
    torch.testing.assert_close(moved, torch.from_numpy(camera.offset).float(), atol=1e-6, rtol=0)
    raw = (taken.colors() - scene.colors()).abs().mean()
    evened = (taken.colors() * taken.gain[:, :, None, None] - scene.colors()).abs().mean()
    assert float(raw) > 0.02
    assert float(evened) < 0.7 * float(raw)
    # Held-back views are asked for what a steady camera would show.
    task = draw_task(taken, 0.25, random.Random(1), references=(3, 5), targets=1)
    rays = draw_rays(task, 50, random.Random(0))
    x, y = rays.uv.long().unbind(1)
    shown = task.targets.shown[0][:, y, x].T.float() / 255
    torch.testing.assert_close(rays.color, shown)


def test_cached_maps_are_the_backbone_s(folder):
    field = tiny_field()
    cached = load_scene(open_scene(folder), (64, 48), [0, 5], field.encoder)
    with torch.no_grad():
        fresh = field.encoder.backbone(cached.colors())
    for one, two in zip(cached.maps, fresh, strict=True):
        torch.testing.assert_close(one.float(), two, atol=5e-3, rtol=5e-3)


def test_a_task_holds_its_targets_back_and_turns_the_whole_world(scene):
    task = draw_task(scene, 0.25, random.Random(1), references=(3, 5), targets=2)
    assert 3 <= len(task.references) <= 5
    assert len(task.targets) == 2
    for held in task.targets.rgb:
        assert not any(bool((held == other).all()) for other in task.references.rgb)
    # Distances between cameras and their tilt survive, positions do not.
    original = scene.T_world_camera[:, :3, 3]
    turned = torch.cat([task.references.T_world_camera, task.targets.T_world_camera])[:, :3, 3]
    assert float((turned[:, None] - original[None]).norm(dim=-1).min()) > 1e-3
    down = task.references.T_world_camera[:, 2, 1]
    assert float(down.max()) < -0.5  # cameras stay upright: the y axis points down


def test_tasks_differ_and_repeat_with_the_seed(scene):
    grids = [draw_task(scene, 0.25, random.Random(s)).grid for s in (1, 1, 2)]
    assert grids[0].shape == grids[1].shape
    torch.testing.assert_close(grids[0].origin, grids[1].origin)
    assert float((grids[0].origin - grids[2].origin).abs().max()) > 1e-3


def test_a_big_room_gets_a_part_of_itself_as_grid(scene):
    task = draw_task(scene, 0.05, random.Random(0), max_cells=30_000)
    assert task.grid.cells < 40_000
    assert task.grid.shape[2] * 0.05 > 2.0


def test_rays_know_what_they_show(scene):
    task = draw_task(scene, 0.25, random.Random(2), references=(6, 6))
    rays = draw_rays(task, 200, random.Random(0))
    points = rays.origins + rays.directions * rays.depth.unsqueeze(-1)
    assert len(rays.color) == 200
    assert bool((task.grid.contains(points) == rays.in_grid).all())
    assert not bool((rays.in_grid & rays.leaves_grid).any())
    assert float(rays.visible.float().mean()) > 0.7
    assert set(rays.label.unique().tolist()) <= set(range(1, 7))


def test_seen_by_knows_occlusion(scene):
    one = scene.subset([0])
    uv = torch.tensor([[32.0, 24.0]])
    surface = unproject(uv, one.depth[0][24, 32][None], one.K[0], one.T_world_camera[0])
    centre = one.T_world_camera[0, :3, 3]
    before = centre + 0.5 * (surface - centre)
    behind = centre + 1.5 * (surface - centre)
    assert seen_by(one, torch.cat([surface, before, behind])).tolist() == [True, False, False]


def test_seen_bounds_are_the_room(scene):
    lower, upper = seen_bounds(scene)
    assert bool((lower > LOWER - 0.05).all())
    assert bool((upper < UPPER + 0.05).all())
    assert float((upper - lower)[:2].min()) > 2.5


def test_too_few_views_are_refused(scene):
    with pytest.raises(ValueError, match="training needs 4"):
        draw_task(scene.subset([0, 1, 2]), 0.25, random.Random(0))
