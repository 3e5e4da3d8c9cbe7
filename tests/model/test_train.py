import argparse
import sys
import time

import cv2
import pytest
import torch
from box_room import write_room
from train_runs import logged, tiny_config

from govnesf_model.checkpoint import load_field, read_notes
from govnesf_model.data.posed_scene import SceneError
from govnesf_model.train import Machines, add_parser, train
from govnesf_model.train_config import load_config

CPU = Machines(accelerator="cpu")


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    for name in ("a", "b"):
        write_room(folder / name, count=6)
    return folder


def test_a_run_leaves_a_loadable_field_logs_and_pictures(rooms, tmp_path, capsys):
    config = tiny_config()
    train(config, [rooms], tmp_path, [rooms / "b"], machines=CPU)
    assert load_field(tmp_path / "field.safetensors").config == config.field
    notes = read_notes(tmp_path / "field.safetensors")
    assert (notes["steps"], notes["features"], notes["scenes"]) == ("4", "stand-ins", "2")
    assert sorted(logged(tmp_path)) == [0, 1, 2, 3]
    assert logged(tmp_path, "val/psnr")[3] > 3
    picture = cv2.imread(str(tmp_path / "images/step_000004_b.png"))
    # Colour, depth and labels, true and rendered, at half the size; one of the six views is held.
    assert picture.shape == (24, 6 * 32, 3)
    assert float(picture.std()) > 20
    assert not list(tmp_path.glob("writing*"))
    said = capsys.readouterr().out
    assert "2 to train on, 12 views; 1 to validate on" in said
    for part in ("weights learn", "1 x cpu", "4 steps"):
        assert part in said
    assert str(tmp_path) in said


def test_a_run_may_learn_from_the_features_of_a_model(rooms, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path / "cache"))
    config = tiny_config(run={"steps": 2})
    train(config, [rooms / "a"], tmp_path / "run", [rooms / "b"], "embedded", machines=CPU)
    assert "features    embedded" in capsys.readouterr().out
    assert len(list((tmp_path / "cache/ov").rglob("*.npy"))) == 12
    assert 0 < logged(tmp_path / "run", "train/ov")[1] < 1
    assert 0 < logged(tmp_path / "run", "val/ov_cosine")[1] <= 1
    assert load_field(tmp_path / "run/field.safetensors").config == config.field


def test_a_resumed_run_goes_on_exactly_where_it_was(rooms, tmp_path):
    whole = tiny_config(run={"steps": 6})
    train(whole, [rooms], tmp_path / "one", machines=CPU)
    halted = train_until(3, whole, rooms, tmp_path / "two")
    assert halted.global_step == 3
    assert torch.load(tmp_path / "two/last.ckpt", weights_only=False)["global_step"] == 2
    train(whole, [rooms], tmp_path / "two", machines=CPU)
    assert logged(tmp_path / "two") == logged(tmp_path / "one")
    one, two = (load_field(tmp_path / n / "field.safetensors") for n in ("one", "two"))
    for key, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[key]), key


@pytest.mark.slow
def test_a_run_that_averages_gradients_resumes_between_steps(rooms, tmp_path):
    config = tiny_config(optimizer={"accumulate": 2}, run={"steps": 4})
    train(config, [rooms], tmp_path / "one", machines=CPU)
    train_until(3, config, rooms, tmp_path / "two")
    train(config, [rooms], tmp_path / "two", machines=CPU)
    one, two = (load_field(tmp_path / n / "field.safetensors") for n in ("one", "two"))
    for key, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[key]), key


def test_a_finished_run_goes_on_when_it_is_given_more_steps(rooms, tmp_path, capsys):
    train(tiny_config(run={"steps": 2}), [rooms], tmp_path, machines=CPU)
    trainer = train(tiny_config(run={"steps": 4}), [rooms], tmp_path, machines=CPU)
    assert trainer.global_step == 4
    assert sorted(logged(tmp_path)) == [0, 1, 2, 3]
    assert "run.steps was 2, is 4" in capsys.readouterr().out


def test_resuming_another_field_is_refused(rooms, tmp_path):
    train(tiny_config(run={"steps": 2}), [rooms], tmp_path, machines=CPU)
    other = tiny_config(field={"voxel_size": 0.25})
    with pytest.raises(ValueError, match="another field configuration"):
        train(other, [rooms], tmp_path, machines=CPU)


def test_problems_may_be_drawn_ahead_by_other_processes(rooms, tmp_path):
    train(tiny_config(), [rooms], tmp_path / "one", machines=CPU)
    ahead = tiny_config(sampling={"workers": 2, "scenes_in_memory": 4})
    train(ahead, [rooms], tmp_path / "two", machines=CPU)
    assert logged(tmp_path / "two") == logged(tmp_path / "one")


def test_a_run_may_be_bounded_by_time(rooms, tmp_path):
    config = tiny_config(run={"minutes": 0.02, "steps": 1000})
    started = time.monotonic()
    trainer = train(config, [rooms], tmp_path, machines=CPU)
    assert time.monotonic() - started < 20
    assert 0 < trainer.global_step < 1000
    assert (tmp_path / "field.safetensors").exists()
    assert trainer.lightning_module.progress() == 1.0


def test_without_tensorboard_the_log_is_csv(rooms, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    train(tiny_config(run={"steps": 1}), [rooms], tmp_path, machines=CPU)
    assert "TensorBoard is not installed (pip install tensorboard)" in capsys.readouterr().out
    assert not (tmp_path / "tensorboard").exists()
    assert sorted(logged(tmp_path)) == [0]


def test_time_bounds_no_run_of_several_processes(rooms, tmp_path):
    config = tiny_config(run={"minutes": 1.0})
    with pytest.raises(ValueError, match=r"bounded by run\.steps"):
        train(config, [rooms], tmp_path, machines=Machines("cpu", "2", strategy="ddp"))


def test_no_scene_is_an_error_that_names_the_folder(tmp_path):
    with pytest.raises(SceneError, match="no scene"):
        train(tiny_config(), [tmp_path], tmp_path / "out", machines=CPU)
    assert not (tmp_path / "out").exists()


def test_the_command_line_reaches_the_configuration(rooms, tmp_path):
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    words = ["train", "stereo", "--data", str(rooms), "--out", str(tmp_path), "--steps", "3"]
    arguments = parser.parse_args([*words, "--set", "loss.ov=0.25", "--set", "sampling.rayz=3"])
    with pytest.raises(ValueError, match=r"did you mean sampling\.rays"):
        arguments.run(arguments)
    arguments = parser.parse_args([*words, "--devices", "two"])
    with pytest.raises(ValueError, match="--devices is 'two'"):
        arguments.run(arguments)


def train_until(step: int, config, rooms, out):
    """Run until a step, then stop as an interruption would: without a last save."""
    from lightning.pytorch.callbacks import Callback

    class Halt(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == step:
                raise InterruptedError

    class Holder(Callback):
        trainer = None

        def setup(self, trainer, pl_module, stage):
            Holder.trainer = trainer

    with pytest.raises(InterruptedError):
        train(config, [rooms], out, machines=CPU, extra=[Halt(), Holder()])
    return Holder.trainer


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["base", "paper"])
def test_presets_for_gpus_take_a_step(preset, rooms, tmp_path):
    less = ["sampling.size=[64, 48]", "sampling.rays=66", "sampling.references=[3, 3]"]
    less += ["sampling.workers=0", "sampling.max_cells=4000", "sampling.occupancy_points=256"]
    less += ["optimizer.pretrained=false", "run.steps=1", "run.log_every=1", "field.voxel_size=0.3"]
    config = load_config(preset, less)
    trainer = train(config, [rooms / "a"], tmp_path, machines=CPU)
    encoder = trainer.lightning_module.field.encoder
    assert all(p.requires_grad for p in encoder.parameters())
    terms = {"color", "ov"} | ({"distortion", "depth", "occupancy"} if preset == "base" else set())
    assert all(logged(tmp_path, f"train/{term}")[0] > 0 for term in terms)
    assert bool(logged(tmp_path, "train/depth")) is (preset == "base")
    assert load_field(tmp_path / "field.safetensors").config == config.field
