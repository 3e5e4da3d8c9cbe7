import dataclasses
import random

import numpy as np
import pytest
import torch

from govnesf_model.unsteady_camera import UnsteadyCamera


@pytest.fixture
def still():
    return UnsteadyCamera.draw(6, random.Random(1), strength=0.0)


def grating(height=48, width=64):
    x = np.arange(width)
    line = 0.5 + 0.3 * np.sin(x * 2 * np.pi / 8)
    return np.broadcast_to(line[None, :, None], (height, width, 3)).astype(np.float32)


def test_without_strength_nothing_changes(still):
    image, pose = grating(), np.eye(4, dtype=np.float32)
    for view in range(6):
        np.testing.assert_allclose(still.expose(image, view), image, atol=1e-6)
        np.testing.assert_allclose(still.misplace(pose, view), pose, atol=1e-7)
    np.testing.assert_allclose(still.evened, 1.0)


def test_a_seed_gives_the_same_camera_and_the_same_noise():
    one, two, other = (UnsteadyCamera.draw(3, random.Random(s), 1.0) for s in (5, 5, 6))
    image = grating()
    np.testing.assert_array_equal(one.expose(image, 1), two.expose(image, 1))
    assert np.abs(one.expose(image, 1) - other.expose(image, 1)).mean() > 0.01


def test_evening_out_undoes_the_exposure_but_for_a_little():
    camera = UnsteadyCamera.draw(400, random.Random(2), 1.0)
    before, after = np.log(camera.gain), np.log(camera.gain * camera.evened)
    assert before.std() == pytest.approx(0.153, abs=0.03)
    assert after.std() == pytest.approx(0.03, abs=0.005)


def test_errors_go_on_from_view_to_view():
    camera = UnsteadyCamera.draw(2000, random.Random(3), 1.0)
    for errors in (np.log(camera.gain[:, 0]), camera.offset[:, 1], camera.turn[:, 2]):
        assert np.corrcoef(errors[:-1], errors[1:])[0, 1] == pytest.approx(0.7, abs=0.08)
    assert camera.offset.std() == pytest.approx(0.01, rel=0.15)
    assert np.degrees(camera.turn).std() == pytest.approx(0.3, rel=0.15)


def test_exposure_multiplies_values(still):
    camera = dataclasses.replace(still, gain=np.full((6, 3), [1.1, 1.0, 0.8]))
    np.testing.assert_allclose(camera.expose(grating(), 2), grating() * [1.1, 1.0, 0.8], rtol=1e-5)


def test_motion_blurs_along_its_direction_alone(still):
    # 40 pixels at a width of 320 are 8 at one of 64: a whole period of the grating.
    along = dataclasses.replace(still, motion=np.tile([40.0, 0.0], (6, 1)))
    across = dataclasses.replace(still, motion=np.tile([40.0, np.pi / 2], (6, 1)))
    inner = np.s_[8:-8, 8:-8]
    assert along.expose(grating(), 0)[inner].std() < 0.02
    np.testing.assert_allclose(across.expose(grating(), 0)[inner], grating()[inner], atol=1e-4)


def test_blur_keeps_the_mean(still):
    camera = dataclasses.replace(
        still, motion=np.tile([33.0, 0.6], (6, 1)), defocus=np.full(6, 4.0)
    )
    image = np.full((40, 64, 3), 0.37, np.float32)
    np.testing.assert_allclose(camera.expose(image, 0), image, atol=1e-5)


@pytest.mark.parametrize("grain", [0.0, 0.8])
def test_noise_has_its_deviation_and_differs_between_views(still, grain):
    camera = dataclasses.replace(still, noise=0.03, grain=grain)
    flat = np.full((60, 80, 3), 0.5, np.float32)
    one, two = camera.expose(flat, 0) - flat, camera.expose(flat, 1) - flat
    assert one.std() == pytest.approx(0.03, rel=0.05)
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.05


def test_a_believed_pose_is_rigid_and_off_as_told(still):
    camera = dataclasses.replace(
        still, offset=np.full((6, 3), [0.01, 0.0, -0.02]), turn=np.full((6, 3), [0.0, 0.01, 0.0])
    )
    pose = np.eye(4)
    pose[:3, 3] = [1.0, 2.0, 3.0]
    believed = torch.from_numpy(camera.misplace(pose, 4))
    torch.testing.assert_close(believed[:3, 3], torch.tensor([1.01, 2.0, 2.98]).double())
    torch.testing.assert_close(believed[:3, :3] @ believed[:3, :3].T, torch.eye(3).double())
    angle = torch.acos((believed[:3, :3].trace() - 1) / 2)
    assert float(angle) == pytest.approx(0.01, rel=1e-4)


def test_jpeg_changes_little(still):
    camera = dataclasses.replace(still, quality=80)
    off = np.abs(camera.expose(grating(), 0) - grating())
    assert 0 < off.max() < 0.1
