import dataclasses
import math

import pytest
import torch
from textured_room import textured_views

from govnesf_model.alignment import aligned_poses, expected_pose
from govnesf_model.cameras import inside_image, project, unproject
from govnesf_model.stereo import Surface


@pytest.fixture(scope="module")
def views():
    return textured_views(6)


def turned(vector):
    x, y, z = vector
    return torch.linalg.matrix_exp(torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]))


def shaken(views, metres=0.012, degrees=0.3):
    generator = torch.Generator().manual_seed(7)
    poses = views.T_world_camera.clone()
    for pose in poses:
        pose[:3, 3] += metres * torch.randn(3, generator=generator)
        turn = math.radians(degrees) * torch.randn(3, generator=generator)
        pose[:3, :3] = pose[:3, :3] @ turned(turn.tolist())
    return poses


def apart(views, poses):
    """Return the median distance in pixels of where a surface point lies and where it is drawn."""
    off = []
    for i in range(len(views)):
        uv = torch.tensor([[x, y] for x in range(10, 150, 20) for y in range(10, 110, 20)]).float()
        depth = views.depth[i][uv[:, 1].long(), uv[:, 0].long()]
        there, z = project(
            unproject(uv, depth, views.K[i], views.T_world_camera[i]), views.K, views.T_world_camera
        )
        drawn, _ = project(unproject(uv, depth, views.K[i], poses[i]), views.K, poses)
        seen = inside_image(there, z, views.width, views.height)
        seen[i] = False
        off.append((there - drawn).norm(dim=-1)[seen])
    return float(torch.cat(off).median())


def test_views_agree_again_after_their_poses_were_shaken(views):
    poses = shaken(views)
    aligned = aligned_poses(dataclasses.replace(views, T_world_camera=poses))
    assert apart(views, poses) > 0.7
    assert apart(views, aligned) < 0.15
    turn = aligned[:, :3, :3]
    torch.testing.assert_close(
        turn @ turn.transpose(1, 2), torch.eye(3).expand_as(turn), atol=1e-5, rtol=0
    )
    assert float((aligned - poses)[:, :3, 3].norm(dim=1).max()) < 0.06


def test_other_exposure_hinders_nothing(views):
    factors = torch.linspace(0.7, 1.3, len(views)).view(-1, 1, 1, 1)
    shaken_views = dataclasses.replace(
        views, T_world_camera=shaken(views), rgb=(views.rgb * factors).clamp(0, 1)
    )
    assert apart(views, aligned_poses(shaken_views)) < 0.2


def test_poses_that_are_right_stay_exactly_as_given(views):
    torch.testing.assert_close(aligned_poses(views), views.T_world_camera, atol=0, rtol=0)


def test_doubtful_depth_does_less_harm_than_it_would_in_full(views):
    """Wrong depth moves points along a line that its doubt admits, and poses stay sound."""
    wrong = views.depth * torch.exp(0.05 * torch.randn(len(views), 1, 1, generator=GENERATOR))
    poses = shaken(views)
    moved = dataclasses.replace(views, T_world_camera=poses)
    sure = dataclasses.replace(moved, surface=Surface(wrong, torch.full_like(wrong, 0.002)))
    doubtful = dataclasses.replace(moved, surface=Surface(wrong, torch.full_like(wrong, 0.05)))
    left = apart(views, aligned_poses(doubtful))
    assert left < apart(views, aligned_poses(sure))
    assert left < apart(views, poses)


def test_views_that_tell_nothing_keep_their_poses(views):
    poses = shaken(views)
    blank = dataclasses.replace(views, T_world_camera=poses, rgb=torch.full_like(views.rgb, 0.5))
    unknown = dataclasses.replace(views, T_world_camera=poses, surface=None)
    for dumb in (blank, unknown):
        torch.testing.assert_close(aligned_poses(dumb), poses, atol=0, rtol=0)


def test_a_new_camera_moves_with_those_around_it(views):
    given = views.T_world_camera
    step = torch.eye(4)
    step[:3, :3], step[:3, 3] = turned([0.0, 0.01, 0.004]), torch.tensor([0.02, -0.01, 0.0])
    aligned = step @ given
    new = given[2].clone()
    new[:3, 3] += 0.02
    placed = expected_pose(new, given, aligned)
    left = (step @ new - placed)[:3, 3].norm() / (step @ new - new)[:3, 3].norm()
    assert float(left) < 0.3
    far = new.clone()
    far[:3, 3] += 40.0
    torch.testing.assert_close(expected_pose(far, given, aligned), far, atol=1e-4, rtol=0)
    torch.testing.assert_close(expected_pose(new, given, given), new, atol=1e-6, rtol=0)


GENERATOR = torch.Generator().manual_seed(11)
