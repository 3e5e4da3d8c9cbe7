import pytest
import torch
from box_room import write_room
from train_runs import logged, tiny_config

from govnesf_model.checkpoint import save_field
from govnesf_model.data.readers import find_scenes
from govnesf_model.train_config import OptimizerConfig
from govnesf_model.train_loss import compute_loss
from govnesf_model.train_module import FieldTraining, averager, rate_factor
from govnesf_model.train_problems import ProblemSource, SceneStore


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    write_room(folder / "a", count=6)
    return folder


def test_steps_change_what_is_trained_and_nothing_else(rooms, tmp_path):
    config = tiny_config(optimizer={"learning_rate": 6e-3})
    module = FieldTraining(config, tmp_path)
    before = {key: value.clone() for key, value in module.field.state_dict().items()}
    optimizer = module.configure_optimizers()["optimizer"]
    problem = ProblemSource(SceneStore(find_scenes([rooms]), config.sampling, 0), config)[0]
    losses = []
    for _ in range(30):
        loss, _ = compute_loss(module.field, problem, config.loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    after = module.field.state_dict()
    moved = {key.split(".")[0] for key in after if not torch.equal(after[key], before[key])}
    assert {"unet", "density_in", "density_out", "fusion", "fusion_in", "encoder"} <= moved
    backbone = [key for key in after if key.startswith("encoder.backbone_net")]
    assert all(torch.equal(after[key], before[key]) for key in backbone)


def test_frozen_parts_do_not_change_in_a_step(rooms, tmp_path):
    start = save_field(FieldTraining(tiny_config(), tmp_path).field, tmp_path / "f.safetensors")
    config = tiny_config(
        optimizer={"learning_rate": 6e-3, "frozen": ["stereo", "unet"], "start": str(start)}
    )
    module = FieldTraining(config, tmp_path)
    module.prepare(torch.rand(2, 3, 48, 64))
    before = {key: value.clone() for key, value in module.field.state_dict().items()}
    optimizer = module.configure_optimizers()["optimizer"]
    problem = ProblemSource(SceneStore(find_scenes([rooms]), config.sampling, 0), config)[0]
    for _ in range(2):
        compute_loss(module.field, problem, config.loss)[0].backward()
        optimizer.step()
    after = module.field.state_dict()
    moved = {key.split(".")[0] for key in after if not torch.equal(after[key], before[key])}
    assert {"density_in", "density_out", "fusion", "encoder"} <= moved
    assert not moved & {"stereo", "unet"}


def test_parts_that_do_not_exist_cannot_be_frozen(tmp_path):
    module = FieldTraining(tiny_config(optimizer={"frozen": ["unnet"]}), tmp_path)
    with pytest.raises(ValueError, match=r"'unnet', which this field does not have: .*unet"):
        module.configure_optimizers()


def test_a_stereo_network_that_is_frozen_must_come_from_somewhere(tmp_path):
    module = FieldTraining(tiny_config(optimizer={"frozen": ["stereo"]}), tmp_path)
    with pytest.raises(ValueError, match=r"optimizer\.start=FILE"):
        module.prepare(torch.rand(2, 3, 48, 64))


def test_a_run_may_start_from_another_field(tmp_path):
    other = FieldTraining(tiny_config(run={"seed": 5}), tmp_path).field
    other.stereo.sharpness.data.fill_(3.25)
    path = save_field(other, tmp_path / "other.safetensors")
    module = FieldTraining(tiny_config(optimizer={"start": str(path)}), tmp_path)
    module.prepare(torch.rand(2, 3, 48, 64))
    own, theirs = module.field.state_dict(), other.state_dict()
    for key, value in theirs.items():  # also the scale of the maps, which the 3D network knows
        assert torch.equal(own[key], value), key
    count = len(own)
    assert module.notes["start"] == f"{count} of {count} tensors of other.safetensors"


def test_what_does_not_fit_keeps_its_first_weights(tmp_path):
    other = FieldTraining(tiny_config(field={"density_width": 24}), tmp_path).field
    other.stereo.sharpness.data.fill_(3.25)
    path = save_field(other, tmp_path / "other.safetensors")
    config = tiny_config(optimizer={"start": str(path)})
    module, fresh = FieldTraining(config, tmp_path), FieldTraining(config, tmp_path)
    module.prepare(torch.rand(2, 3, 48, 64))
    assert float(module.field.stereo.sharpness) == 3.25
    assert torch.equal(module.field.density_in.weight, fresh.field.density_in.weight)
    taken, count = module.notes["start"].split(" tensors")[0].split(" of ")
    assert 0 < int(taken) < int(count)


def test_the_seed_decides_the_first_weights(tmp_path):
    one, two = (FieldTraining(tiny_config(), tmp_path) for _ in range(2))
    other = FieldTraining(tiny_config(run={"seed": 5}), tmp_path)
    weights = [m.field.density_in.weight for m in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_weights_that_cannot_be_had_are_explained(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    config = tiny_config(field={"encoder": "resnet34"}, optimizer={"pretrained": True})
    with pytest.raises(ValueError, match=r"optimizer\.pretrained=false"):
        FieldTraining(config, tmp_path).prepare(torch.rand(2, 3, 48, 64))


def test_notes_survive_a_resumption(tmp_path):
    one, two = (FieldTraining(tiny_config(), tmp_path) for _ in range(2))
    one.notes["backbone"] = "of some kind"
    checkpoint: dict[str, object] = {}
    one.on_save_checkpoint(checkpoint)
    two.on_load_checkpoint(checkpoint)
    assert two.notes["backbone"] == "of some kind"


def test_the_rate_rises_then_falls():
    config = OptimizerConfig(warmup=10, final=0.02)
    assert rate_factor(config, 0, 0.0) == pytest.approx(0.1)
    assert rate_factor(config, 50, 0.0) == pytest.approx(1.0)
    assert rate_factor(config, 50, 0.5) == pytest.approx(0.51)
    assert rate_factor(config, 500, 1.0) == pytest.approx(0.02)


def test_the_average_forgets_the_untrained_weights():
    rule = averager(0.99)
    mean, start = torch.zeros(3), torch.ones(3)
    for count in range(1, 51):  # the weights jump to another place and stay there
        rule([mean], [start], torch.tensor(count))
    torch.testing.assert_close(mean, start, atol=0.02, rtol=0)
    rule([start], [torch.zeros(3)], 10_000)
    torch.testing.assert_close(start, torch.full((3,), 0.99))


def test_a_gradient_that_is_not_finite_changes_nothing(tmp_path, monkeypatch):
    module = FieldTraining(tiny_config(), tmp_path)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    optimizer = module.configure_optimizers()["optimizer"]
    weight = module.field.density_in.weight
    before = weight.detach().clone()
    for value, moves in ((float("nan"), False), (1.0, True)):
        weight.grad = torch.full_like(weight, value)
        module.configure_gradient_clipping(optimizer)
        optimizer.step()
        assert torch.equal(weight, before) is not moves


def test_logs_of_several_runs_are_read_as_one(tmp_path):
    for number, rows in enumerate(("0,1.5\n1,1.25\n", "1,1.0\n2,0.5\n3,0.")):
        folder = tmp_path / f"csv/version_{number}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("step,train/loss\n" + rows)
    assert logged(tmp_path) == {0: 1.5, 1: 1.0, 2: 0.5}
