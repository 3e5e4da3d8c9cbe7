import dataclasses

import pytest
import torch
import torch.nn.functional as F
from box_field import box_scene, tiny_field
from box_room import room_cameras, trace

from govnesf_model.baked import BakedScores, render_baked
from govnesf_model.bench_cases import mean_iou
from govnesf_model.rendering import render_image

WALLS = 6


@pytest.fixture(scope="module")
def scene():
    """The box room, whose views know which wall each pixel shows, with a little noise."""
    field = tiny_field(merged_samples=3)
    views, volume = box_scene(field, 8)
    labels = torch.stack([torch.from_numpy(trace(camera)[2]) for camera in room_cameras(8)])
    walls = F.one_hot(labels.long() - 1, WALLS).float()
    noise = 0.1 * torch.randn(walls.shape, generator=torch.Generator().manual_seed(4))
    ov = F.normalize(walls + noise, dim=-1)
    return field, dataclasses.replace(views, ov=ov, ov_stride=1), volume, torch.eye(WALLS)


@pytest.fixture(scope="module")
def baked(scene):
    baked = BakedScores(*scene)
    baked.fill()
    return baked


def other_camera():
    """A camera that is none of the views."""
    return room_cameras(7)[3].resized(96, 72)


@torch.no_grad()
def test_labels_are_those_of_frames_that_are_blended_anew(scene, baked):
    field, views, volume, text = scene
    found = []
    for camera in room_cameras(7)[1:]:  # the first is one of the views
        full = render_image(field, views, volume, camera, text_features=text)
        image = render_baked(baked, camera)
        torch.testing.assert_close(image.depth, full.depth, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(image.opacity, full.opacity, atol=1e-4, rtol=1e-4)
        assert float((image.scores - full.scores).abs().mean()) < 0.02  # noise is smoothed
        truth = torch.from_numpy(trace(camera)[2]).long() - 1
        labels = (full.scores.argmax(dim=-1), image.scores.argmax(dim=-1), truth)
        found.append(torch.stack([each.flatten() for each in labels]))
    anew, kept, truth = torch.cat(found, dim=1)
    assert float((anew == kept).float().mean()) >= 0.99
    assert mean_iou(anew, truth) > 80  # the room is really told apart
    assert mean_iou(kept, truth) > mean_iou(anew, truth) - 0.5  # it is rather better: smoother


@torch.no_grad()
def test_colours_are_those_that_the_nearest_view_took(baked):
    camera = other_camera()
    truth = trace(camera)[0]
    image = render_baked(baked, camera)
    assert float((image.color - truth).abs().mean()) < 0.08
    assert float(render_baked(baked, camera, want_color=False).color.abs().max()) == 0.0


@torch.no_grad()
def test_what_was_baked_is_not_blended_again_and_filling_changes_nothing(scene, baked):
    lazy = BakedScores(*scene)
    assert len(lazy) == 0
    camera = other_camera()
    first = render_baked(lazy, camera)
    points = len(lazy)
    assert 0 < points < len(baked)
    second = render_baked(lazy, camera)
    assert len(lazy) == points
    torch.testing.assert_close(second.scores, first.scores, atol=0, rtol=0)
    torch.testing.assert_close(
        render_baked(baked, camera).scores, first.scores, atol=1e-5, rtol=1e-4
    )
    assert lazy.bytes > points * WALLS * 4


@torch.no_grad()
def test_room_for_more_points_is_made_where_it_is_wanted(scene, baked, monkeypatch):
    monkeypatch.setattr("govnesf_model.baked.FIRST_ROWS", 3)
    small = BakedScores(*scene)
    camera = other_camera()
    scores = render_baked(small, camera).scores
    torch.testing.assert_close(scores, render_baked(baked, camera).scores, atol=1e-5, rtol=1e-4)


def test_scores_fit_the_scene_and_the_texts_that_they_were_made_of(scene, baked):
    _, views, volume, text = scene
    assert baked.fits(views, volume, text.clone())
    assert not baked.fits(views, volume, text.flip(0))
    assert not baked.fits(views, volume, text[:3])
    assert not baked.fits(dataclasses.replace(views), volume, text)
    assert not baked.fits(views, dataclasses.replace(volume), text)


def test_a_field_that_regresses_features_is_refused(scene):
    _, views, volume, text = scene
    with pytest.raises(ValueError, match="without MJF"):
        BakedScores(tiny_field(use_mjf=False, distill_dim=WALLS), views, volume, text)


@torch.no_grad()
def test_rays_that_meet_nothing_have_no_scores(scene, baked):
    camera = other_camera()
    away = dataclasses.replace(camera, T_world_camera=camera.T_world_camera.clone())
    away.T_world_camera[:3, 3] += 100.0
    image = render_baked(baked, away)
    assert float(image.scores.abs().max()) == 0.0
    assert float(image.opacity.max()) == 0.0
