import dataclasses

import pytest
import torch
from box_room import write_room

from govnesf_model.data.posed_scene import open_scene
from govnesf_model.scene_tensors import load_scene
from govnesf_model.standin_features import corrupted_maps, error_risk, random_palette


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("room")
    write_room(path, 6, 160, 120)
    return load_scene(open_scene(path), (160, 120))


def maps_of(scene, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    palette = random_palette(32, generator)
    return palette, corrupted_maps(scene, palette, generator)


def test_maps_are_unit_vectors_at_stride_four(scene):
    palette, maps = maps_of(scene)
    assert maps.shape == (6, 30, 40, 32)
    torch.testing.assert_close(maps.norm(dim=-1), torch.ones(6, 30, 40))
    torch.testing.assert_close(palette.norm(dim=-1), torch.ones(256))


def test_most_cells_mean_their_label_and_some_do_not(scene):
    palette, maps = maps_of(scene)
    truth = scene.label[:, 2::4, 2::4]
    right = (maps @ palette.T).argmax(dim=-1) == truth
    assert 0.6 < float(right.float().mean()) < 0.97


def test_errors_follow_the_risk(scene):
    palette, maps = maps_of(scene)
    right = (maps @ palette.T).argmax(dim=-1) == scene.label[:, 2::4, 2::4]
    risk = error_risk(scene)
    risky = risk > risk.median()
    assert float(right[risky].float().mean()) < float(right[~risky].float().mean()) - 0.03


def test_errors_differ_between_draws(scene):
    _, one = maps_of(scene, 0)
    _, two = maps_of(scene, 1)
    assert float((one - two).abs().mean()) > 0.01


def test_distance_and_grazing_angles_raise_the_risk(scene):
    near = dataclasses.replace(scene, depth=torch.full_like(scene.depth, 1.0))
    far = dataclasses.replace(scene, depth=torch.full_like(scene.depth, 4.0))
    assert float(error_risk(far)[:, 5:-5, 5:-5].mean()) > float(
        error_risk(near)[:, 5:-5, 5:-5].mean()
    )
    slope = torch.linspace(1.0, 8.0, 160).expand(6, 120, 160)
    assert float(error_risk(dataclasses.replace(scene, depth=slope))[:, 15, 20].min()) > 0.05


def test_scenes_without_labels_are_refused(scene):
    with pytest.raises(ValueError, match="lacks labels"):
        maps_of(dataclasses.replace(scene, label=None))
