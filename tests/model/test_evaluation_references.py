from dataclasses import replace

import numpy as np
import pytest
import torch
from box_field import tiny_field
from furnished_room import ColorEncoder
from textured_room import HEIGHT, WIDTH, textured_views

from govnesf_model.cameras import Camera
from govnesf_model.data.posed_scene import SceneWriter, open_scene
from govnesf_model.evaluation.references import References

SHAKEN, FACTORS = 0.015, np.linspace(0.8, 1.2, 6)


@pytest.fixture(scope="module")
def photographed(tmp_path_factory):
    """Write a room as an unsteady camera takes it; return it with the true poses."""
    folder = tmp_path_factory.mktemp("photographed")
    views = textured_views(6)
    chance = np.random.default_rng(3)
    with SceneWriter(folder, views.K[0].double().numpy()) as writer:
        for view in range(6):
            rgb = views.rgb[view].permute(1, 2, 0).numpy() * FACTORS[view]
            pose = views.T_world_camera[view].double().numpy().copy()
            pose[:3, 3] += SHAKEN * chance.standard_normal(3)
            pixels = (rgb.clip(0, 1) * 255).round().astype(np.uint8)
            writer.add(pixels, pose, views.depth[view].numpy())
    return open_scene(folder), views


def test_views_of_photographs_are_aligned_and_evened_out(photographed):
    scene, _ = photographed
    built = References(scene, range(6), ColorEncoder(), WIDTH).build(tiny_field(), use_depth=True)
    left = (built.views.gain[:, 0] * torch.from_numpy(FACTORS).float()).log()
    assert float((left - left.mean()).abs().max()) < 0.05
    moved = (built.views.T_world_camera - built.given)[:, :3, 3].norm(dim=1)
    assert 0.003 < float(moved.mean()) < 0.04
    given = torch.from_numpy(np.stack([scene[i].T_world_camera for i in range(6)])).float()
    torch.testing.assert_close(built.given, given)


def test_a_camera_is_placed_among_the_aligned_views(photographed):
    scene, _ = photographed
    built = References(scene, range(6), ColorEncoder(), WIDTH).build(tiny_field(), use_depth=True)
    step = torch.tensor([0.03, -0.02, 0.01])
    views = replace(built.views, T_world_camera=built.given.clone())
    views.T_world_camera[:, :3, 3] += step
    camera = Camera(built.views.K[2], built.given[2], WIDTH, HEIGHT)
    placed = replace(built, views=views).placed(camera)
    torch.testing.assert_close(
        placed.T_world_camera[:3, 3], built.given[2, :3, 3] + step, atol=0.004, rtol=0
    )


def test_switched_off_all_stays_as_given(photographed):
    scene, _ = photographed
    field = tiny_field(align_views=False, even_exposure=False, confirm_surfaces=False)
    built = References(scene, range(6), ColorEncoder(), WIDTH).build(field, use_depth=True)
    assert built.views.gain is None
    torch.testing.assert_close(built.views.T_world_camera, built.given, atol=0, rtol=0)
    camera = Camera(built.views.K[1], built.given[1], WIDTH, HEIGHT)
    torch.testing.assert_close(
        built.placed(camera).T_world_camera, camera.T_world_camera, atol=0, rtol=0
    )


def test_doubt_of_stereo_depth_takes_the_other_views_into_account(photographed):
    scene, _ = photographed
    alone = tiny_field(align_views=False, confirm_surfaces=False)
    together = tiny_field(align_views=False)
    one, two = (
        References(scene, range(6), ColorEncoder(), WIDTH).build(f, False)
        for f in (alone, together)
    )
    torch.testing.assert_close(one.views.surface.depth, two.views.surface.depth)
    factor = two.views.surface.spread.float() / one.views.surface.spread.float()
    assert float((factor - 1).abs().max()) > 0.05
    assert float(factor.min()) > 0.45
    assert float(factor.max()) < 3.1
