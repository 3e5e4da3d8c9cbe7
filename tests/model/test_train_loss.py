import dataclasses

import pytest
import torch
from box_room import write_room
from train_runs import tiny_config

from govnesf_model.data.readers import find_scenes
from govnesf_model.field import GovNesf
from govnesf_model.stereo import Surface
from govnesf_model.surfaces import stereo_surfaces
from govnesf_model.train_config import LossConfig
from govnesf_model.train_loss import compute_loss
from govnesf_model.train_problems import Problem, ProblemSource, SceneStore

CONFIG = tiny_config()


@pytest.fixture(scope="module")
def problem(tmp_path_factory) -> Problem:
    folder = tmp_path_factory.mktemp("rooms")
    write_room(folder / "a", count=6)
    store = SceneStore(find_scenes([folder]), CONFIG.sampling, 0)
    return ProblemSource(store, CONFIG)[0]


@pytest.fixture
def field() -> GovNesf:
    torch.manual_seed(0)
    return GovNesf(CONFIG.field).train()


def bare(problem: Problem) -> Problem:
    references = dataclasses.replace(problem.references, depth=None, label=None)
    gone = {"ov": None, "ray_ov": None, "ray_ov_known": None, "points": None, "solid": None}
    return dataclasses.replace(problem, references=references, **gone)


def test_the_loss_is_the_weighted_sum_of_its_parts(field, problem):
    config = LossConfig(color=3.0, ov=0.25, entropy=0.1, hard_surface=0.2)
    total, parts = compute_loss(field, problem, config)
    weights = dataclasses.asdict(config) | {"ov": config.color * config.ov}
    named = {name: value for name, value in parts.items() if name != "samples"}
    assert set(named) == set(weights) - {"surface_width", "stereo"}
    expected = sum(weights[name] * float(value) for name, value in named.items())
    assert float(total.detach()) == pytest.approx(expected, rel=1e-5)
    assert not any(value.requires_grad for value in parts.values())
    assert 0 < float(parts["samples"]) <= CONFIG.field.samples_per_ray


@pytest.fixture(scope="module")
def matching(tmp_path_factory) -> Problem:
    """A problem with views to match."""
    folder = tmp_path_factory.mktemp("rooms")
    write_room(folder / "a", count=16)  # near enough to each other
    config = tiny_config(loss={"stereo": 0.5}, sampling={"references": [6, 6]})
    store = SceneStore(find_scenes([folder]), config.sampling, 0)
    source = ProblemSource(store, config)
    return next(p for p in map(source.__getitem__, range(20)) if p.stereo.pairs[0][1])


def test_stereo_is_one_more_part_of_the_loss(field, matching):
    config = LossConfig(stereo=0.5)
    total, parts = compute_loss(field, matching, config)
    rest, others = compute_loss(field, matching, dataclasses.replace(config, stereo=0.0))
    assert set(parts) == {*others, "stereo", "stereo_error"}
    expected = float(rest) + 0.5 * float(parts["stereo"])
    assert float(total.detach()) == pytest.approx(expected, rel=1e-5)
    assert 0 < float(parts["stereo_error"]) < 3
    total.backward()
    assert float(field.stereo.to_match.weight.grad.abs().max()) > 0
    assert float(field.stereo.leave.weight.grad.abs().max()) > 0


def test_stereo_alone_renders_nothing_and_learns(field, matching):
    zero = {f.name: 0.0 for f in dataclasses.fields(LossConfig) if f.name != "surface_width"}
    config = LossConfig(**{**zero, "stereo": 2.0})
    optimizer = torch.optim.Adam(field.stereo.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        total, parts = compute_loss(field, matching, config)
        assert set(parts) == {"stereo", "stereo_error"}
        assert float(total.detach()) == pytest.approx(2 * float(parts["stereo"]))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert field.density_in.weight.grad is None


def test_measured_depth_makes_the_depth_loss_small_at_once(field, problem):
    """And what is not measured must not leak in: without it an untrained field knows no depth."""
    told = compute_loss(field, dataclasses.replace(problem, measured=True), CONFIG.loss)[1]
    blind = compute_loss(field, dataclasses.replace(problem, measured=False), CONFIG.loss)[1]
    assert float(told["depth"]) < 0.3 * float(blind["depth"])
    deaf = bare(dataclasses.replace(problem, measured=True))
    assert "depth" not in compute_loss(field, deaf, CONFIG.loss)[1]


def test_surfaces_that_are_known_already_are_taken(field, problem):
    """Of a frozen stereo network they are computed once; both ways must agree."""
    field.eval()
    blind = dataclasses.replace(problem, measured=False)
    refs = blind.references
    surface = stereo_surfaces(field, refs.colors(), refs.maps, refs.K, refs.T_world_camera)
    known = dataclasses.replace(blind, references=dataclasses.replace(refs, surface=surface))
    one = compute_loss(field, blind, CONFIG.loss)[1]
    two = compute_loss(field, known, CONFIG.loss)[1]
    for name, value in one.items():
        assert float(two[name]) == pytest.approx(float(value), rel=1e-4), name
    wrong = Surface(surface.depth * 0.3, surface.spread * 0 + 0.01)
    other = dataclasses.replace(blind, references=dataclasses.replace(refs, surface=wrong))
    assert float(compute_loss(field, other, CONFIG.loss)[1]["depth"]) != pytest.approx(
        float(one["depth"]), rel=1e-3
    )


def test_the_paper_s_loss_needs_no_depth_and_no_labels(field, problem):
    total, parts = compute_loss(field, bare(problem), CONFIG.loss)
    assert set(parts) == {"color", "distortion", "samples"}
    total.backward()
    assert field.density_in.weight.grad is not None


def test_no_gradient_of_the_features_reaches_the_density(field, problem):
    zero = {item.name: 0.0 for item in dataclasses.fields(LossConfig)}
    config = LossConfig(**{**zero, "color": 1e-12, "ov": 1e12, "surface_width": (0.2, 0.1)})
    compute_loss(field, problem, config)[0].backward()
    semantic = float(field.fusion.mlp_s[0].weight.grad.abs().max())
    assert semantic > 1e-6
    assert float(field.density_in.weight.grad.abs().max()) < 1e-9 * semantic


def test_the_same_problem_has_the_same_loss(field, problem):
    values = {float(compute_loss(field, problem, CONFIG.loss)[0].detach()) for _ in range(2)}
    assert len(values) == 1


def test_bf16_is_close_and_leaves_geometry_alone(field, problem):
    exact = compute_loss(field, problem, CONFIG.loss)[1]
    total, rough = compute_loss(field, problem, CONFIG.loss, bf16=True)
    for name, value in exact.items():
        assert float(rough[name]) == pytest.approx(float(value), rel=0.05, abs=0.02), name
    assert total.dtype == torch.float32
    total.backward()
    assert field.unet is not None
    gradient = field.density_in.weight.grad
    assert gradient.dtype == torch.float32
    assert bool(torch.isfinite(gradient).all())


def test_rays_that_hit_nothing_have_a_gradient_also_with_half_precision_features(field, problem):
    field.density_out[-1].bias.data.fill_(-40.0)
    half = dataclasses.replace(problem, ov=problem.ov.half())
    total, parts = compute_loss(field, half, CONFIG.loss)
    assert float(parts["samples"]) == 0.0
    total.backward()
    assert bool(torch.isfinite(total.detach()))
    for weight in field.parameters():
        assert weight.grad is None or bool(torch.isfinite(weight.grad).all())


def test_the_surface_band_narrows_as_the_run_goes_on(field, problem):
    wide = float(compute_loss(field, problem, CONFIG.loss, 0.0)[1]["surface"])
    narrow = float(compute_loss(field, problem, CONFIG.loss, 1.0)[1]["surface"])
    assert narrow > wide
