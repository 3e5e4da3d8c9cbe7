from itertools import islice

import pytest
import torch
from box_field import tiny_field
from box_room import write_room
from furnished_room import ColorEncoder, room_frames, write_scene
from train_runs import tiny_config

from govnesf_model.data.readers import find_scenes
from govnesf_model.ov_features import OvCache
from govnesf_model.surfaces import stereo_surfaces
from govnesf_model.train_problems import ProblemSampler, ProblemSource, SceneStore


class KeyedEncoder(ColorEncoder):
    key = "color-000000000000"


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    for name in ("a", "b", "c"):
        write_room(folder / name, count=6)
    return folder


def source_of(rooms, **sections) -> ProblemSource:
    config = tiny_config(**sections)
    return ProblemSource(SceneStore(find_scenes([rooms]), config.sampling, 0), config)


def test_a_problem_follows_from_the_seed_and_its_number(rooms):
    one, two = source_of(rooms), source_of(rooms)
    for number in (5, 0, 3):  # in any order
        two[number]
    a, b, other = one[3], two[3], one[4]
    for name in ("origins", "directions", "color", "depth", "label", "uv"):
        assert torch.equal(getattr(a.rays, name), getattr(b.rays, name))
    assert torch.equal(a.references.rgb, b.references.rgb)
    assert torch.equal(a.ov, b.ov)
    assert torch.equal(a.points, b.points)
    assert a.seed == b.seed != other.seed
    assert not torch.equal(a.rays.uv, other.rays.uv)
    reseeded = source_of(rooms, run={"seed": 1})[3]
    assert not torch.equal(a.rays.uv, reseeded.rays.uv)


def test_every_scene_comes_once_before_any_comes_again(rooms):
    source = source_of(rooms)
    names = [source[number].references.name for number in range(6)]
    assert sorted(names[:3]) == sorted(names[3:]) == ["a", "b", "c"]


def test_memory_for_scenes_is_bounded_and_changes_nothing(rooms):
    wide, narrow = source_of(rooms), source_of(rooms, sampling={"scenes_in_memory": 1})
    for number in range(5):
        assert torch.equal(wide[number].rays.color, narrow[number].rays.color)
        assert len(narrow.store._loaded) == 1
    assert len(wide.store._loaded) == 3


def test_long_scenes_give_evenly_spread_views(rooms):
    source = source_of(rooms, sampling={"views_per_scene": 4})
    assert source.store[0].frames == (0, 2, 3, 5)


def test_processes_share_the_problems_of_one(rooms):
    alone = list(ProblemSampler(8))
    shared = [list(ProblemSampler(4, 0, rank, 2)) for rank in (0, 1)]
    assert alone == [number for pair in zip(*shared, strict=True) for number in pair]


def test_a_resumed_run_skips_what_is_done_and_keeps_its_length():
    sampler = ProblemSampler(10, done=7, rank=1, world=2)
    assert list(sampler) == [15, 17, 19]
    assert len(sampler) == 10
    endless = ProblemSampler(None, done=3)
    assert list(islice(endless, 2)) == [3, 4]
    with pytest.raises(TypeError):
        len(endless)


def test_scenes_without_depth_and_labels_give_colours_alone(tmp_path):
    write_scene(tmp_path / "room", room_frames(6, depth=False))
    for path in (tmp_path / "room/label").iterdir():
        path.unlink()
    problem = source_of(tmp_path)[0]
    assert problem.ov is None
    assert problem.points is None
    assert bool(problem.rays.visible.all())


def test_features_of_a_model_take_the_place_of_stand_ins(tmp_path, monkeypatch):
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path / "cache"))
    write_scene(tmp_path / "rooms/room", room_frames(6))
    config = tiny_config(sampling={"size": [160, 120], "jitter": False})
    encoder = KeyedEncoder()
    cache = OvCache(encoder, (160, 120))
    paths = find_scenes([tmp_path / "rooms"])
    source = ProblemSource(SceneStore(paths, config.sampling, 0, ov=cache), config)
    problem = source[0]
    assert problem.ov.shape == (len(problem.references), 30, 40, encoder.dim)
    expected = encoder.encode_images(problem.references.colors()).permute(0, 2, 3, 1)
    torch.testing.assert_close(problem.ov.float(), expected, atol=1e-3, rtol=0)
    # The encoder knows classes by colour: a ray's feature is that of its own label, but at edges,
    # where a cell of four pixels holds two of them. Labels count from 1.
    known = problem.rays.label > 0
    best = problem.ray_ov.argmax(dim=-1) + 1
    assert float((best == problem.rays.label)[known].float().mean()) > 0.85
    torch.testing.assert_close(problem.ray_ov.norm(dim=-1), torch.ones(len(problem.ray_ov)))


def test_views_to_match_are_drawn_where_stereo_is_trained(rooms):
    assert source_of(rooms)[0].stereo is None
    source = source_of(rooms, loss={"stereo": 1.0}, sampling={"stereo_views": 3})
    problem = source[0]
    assert len(problem.stereo.pairs) == 3
    count = len(problem.stereo.views)
    assert problem.stereo.T_world_camera.shape == (count, 4, 4)
    assert set(problem.stereo.views) <= set(range(len(problem.references)))
    again = source_of(rooms, loss={"stereo": 1.0}, sampling={"stereo_views": 3})[0]
    assert torch.equal(problem.stereo.T_world_camera, again.stereo.T_world_camera)
    assert problem.stereo.pairs == again.stereo.pairs


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_measured_depth_is_known_in_a_share_of_the_steps(rooms, share):
    source = source_of(rooms, sampling={"measured": share})
    told = [source[number].measured for number in range(30)]
    assert sum(told) / 30 == pytest.approx(share, abs=0.25 if 0 < share < 1 else 0.0)


def test_a_frozen_stereo_network_looks_at_a_scene_once(rooms):
    config = tiny_config()
    field = tiny_field()
    paths = find_scenes([rooms])
    store = SceneStore(paths, config.sampling, 0, field.encoder, stereo=field)
    scene = store[0]
    expected = stereo_surfaces(field, scene.colors(), scene.maps, scene.K, scene.T_world_camera)
    assert torch.equal(scene.surface.depth, expected.depth)
    problem = ProblemSource(store, config)[0]
    held = store[[path.name for path in paths].index(problem.references.name)]
    rows = [held.frames.index(frame) for frame in problem.references.frames]
    assert torch.equal(problem.references.surface.depth, held.surface.depth[rows])
    assert SceneStore(paths, config.sampling, 0)[0].surface is None


def test_a_problem_moves_whole(rooms):
    problem = source_of(rooms, loss={"stereo": 1.0})[0]
    moved = problem.to("cpu")
    assert moved.number == problem.number
    assert torch.equal(moved.rays.origins, problem.rays.origins)
    assert torch.equal(moved.references.depth, problem.references.depth)
    assert moved.references.frames == problem.references.frames
    assert moved.stereo.pairs == problem.stereo.pairs
    assert moved.measured == problem.measured
    one = torch.rand(3, generator=problem.generator("cpu"))
    assert torch.equal(one, torch.rand(3, generator=moved.generator("cpu")))
