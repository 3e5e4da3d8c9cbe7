import math
import random

import pytest
import torch
from box_room import look_at

from govnesf_model.cameras import rotation_error
from govnesf_model.scene_tensors import SceneTensors
from govnesf_model.stereo import choose_sources
from govnesf_model.stereo_pairs import draw_stereo


@pytest.fixture(scope="module")
def references() -> SceneTensors:
    """Eight views along a path, 12 cm apart, and a last one far away."""
    step = torch.tensor([0.1, -0.07, 0.0])
    poses = [
        look_at(torch.tensor([1.0, 1.4, 1.2]) + n * step, torch.tensor([3.6, 2.4, 1.0]) + n * step)
        for n in range(8)
    ]
    poses.append(look_at(torch.tensor([30.0, 30.0, 1.0]), torch.tensor([27.0, 30.0, 1.0])))
    K = torch.tensor([[45.0, 0, 31.5], [0, 45.0, 23.5], [0, 0, 1]]).expand(9, 3, 3)
    rgb = torch.zeros(9, 3, 48, 64, dtype=torch.uint8)
    return SceneTensors("path", rgb, None, None, K, torch.stack(poses))


def many(references: SceneTensors, count: int = 60, noise=(0.0, 0.0)) -> list:
    rng = random.Random(0)
    return [draw_stereo(references, 2, noise, rng) for _ in range(count)]


def test_sources_are_views_that_tell_something(references):
    for drawn in many(references):
        assert len(drawn.pairs) == 2
        assert drawn.views == sorted(set(drawn.views))
        used = {place for view, sources in drawn.pairs for place in (view, *sources)}
        assert used == set(range(len(drawn.views)))  # no view takes part for nothing
        for view, sources in drawn.pairs:
            own = drawn.views[view]
            good = choose_sources(references.T_world_camera, references.K, 64, 48, own, count=5)
            assert len(set(sources)) == len(sources) <= 3
            assert {drawn.views[place] for place in sources} <= set(good) - {own}


def test_every_number_of_sources_comes_up_and_each_view_gets_its_turn(references):
    drawn = many(references, 200)
    on_path = [s for d in drawn for v, s in d.pairs if d.views[v] < 8]
    share = [sum(len(s) == n for s in on_path) / len(on_path) for n in range(4)]
    for found, expected in zip(share, (1 / 9, 2 / 9, 2 / 9, 4 / 9), strict=True):
        assert found == pytest.approx(expected, abs=0.08)
    assert {d.views[v] for d in drawn for v, _ in d.pairs} == set(range(9))
    lost = [s for d in drawn for v, s in d.pairs if d.views[v] == 8]
    assert lost
    assert not any(lost)  # nothing looks at what the far view sees


def test_without_noise_poses_are_the_references(references):
    for drawn in many(references, 5):
        torch.testing.assert_close(drawn.T_world_camera, references.T_world_camera[drawn.views])


def test_noise_has_the_size_that_was_asked_for(references):
    before = references.T_world_camera.clone()
    meters, degrees = [], []
    for drawn in many(references, 150, noise=(0.02, 0.5)):
        true = references.T_world_camera[drawn.views]
        meters += (drawn.T_world_camera[:, :3, 3] - true[:, :3, 3]).flatten().tolist()
        for pose, exact in zip(drawn.T_world_camera, true, strict=True):
            assert rotation_error(pose) < 1e-5
            turn = exact[:3, :3].T @ pose[:3, :3]
            vector = torch.stack([turn[2, 1], turn[0, 2], turn[1, 0]])
            degrees += torch.rad2deg(vector).tolist()
    # The strength itself is drawn evenly from 0..1: its mean square is a third.
    for values, size in ((meters, 0.02), (degrees, 0.5)):
        deviation = math.sqrt(sum(value**2 for value in values) / len(values))
        assert deviation == pytest.approx(size / math.sqrt(3), rel=0.2)
        assert abs(sum(values) / len(values)) < 0.2 * size
    assert torch.equal(references.T_world_camera, before)


def test_the_same_seed_draws_the_same(references):
    one, two = (draw_stereo(references, 3, (0.01, 0.1), random.Random(7)) for _ in range(2))
    assert one.pairs == two.pairs
    assert torch.equal(one.T_world_camera, two.T_world_camera)
    other = draw_stereo(references, 3, (0.01, 0.1), random.Random(8))
    assert (other.views, other.pairs) != (one.views, one.pairs)


def test_fewer_references_than_wanted_give_what_there_is(references):
    drawn = draw_stereo(references.subset([0, 2]), 5, (0.0, 0.0), random.Random(0))
    assert len(drawn.pairs) == 2
    moved = drawn.to("cpu")
    assert moved.pairs == drawn.pairs
    assert torch.equal(moved.T_world_camera, drawn.T_world_camera)
