import pytest
import torch

from govnesf_model.nearby_cameras import expected_values


def row_of_cameras(count, step=0.2):
    poses = torch.eye(4).repeat(count, 1, 1)
    poses[:, 0, 3] = step * torch.arange(count)
    return poses


def test_smooth_values_are_told_between_cameras():
    poses = row_of_cameras(41)
    known = torch.stack([torch.sin(poses[:, 0, 3]), 0.01 * torch.cos(poses[:, 0, 3])], dim=1)
    pose = torch.eye(4)
    pose[0, 3] = 3.3
    told = expected_values(pose, poses, known)
    at = torch.tensor(3.3)
    torch.testing.assert_close(told, torch.stack([at.sin(), 0.01 * at.cos()]), atol=0.02, rtol=0.02)


def test_of_noise_nothing_is_expected():
    poses = row_of_cameras(60)
    known = torch.randn(60, 3, generator=torch.Generator().manual_seed(2))
    pose = poses[30].clone()
    pose[0, 3] += 0.01
    assert float(expected_values(pose, poses, known).norm()) < 0.7 * float(known[30].norm())
    assert float(expected_values(pose, poses, known).abs().max()) < 0.6


def test_far_away_nothing_is_expected():
    poses = row_of_cameras(20)
    pose = torch.eye(4)
    pose[2, 3] = 500.0
    told = expected_values(pose, poses, torch.ones(20, 2))
    torch.testing.assert_close(told, torch.zeros(2), atol=1e-6, rtol=0)


def test_cameras_that_look_elsewhere_tell_less():
    poses = row_of_cameras(20, step=0.02)
    poses[10:, :3, :3] = torch.tensor([[-1.0, 0, 0], [0, 1, 0], [0, 0, -1]])  # the other way
    known = torch.cat([torch.ones(10, 1), -torch.ones(10, 1)])
    assert float(expected_values(poses[4], poses, known)) > 0.8
    assert float(expected_values(poses[14], poses, known)) < -0.8


@pytest.mark.parametrize("count", [1, 2, 400])
def test_any_number_of_cameras_may_be_known(count):
    told = expected_values(torch.eye(4), row_of_cameras(count), torch.zeros(count, 3))
    torch.testing.assert_close(told, torch.zeros(3))
