"""Training of the embedded encoder on rooms of a few coloured boxes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from vlm_rooms import write_room

from govnesf_model.cli import main
from govnesf_model.vlm.embedded import load_embedded
from govnesf_model.vlm.imagenet import imagenet_weights
from govnesf_model.vlm.measure import evaluate
from govnesf_model.vlm.text import MiniLM
from govnesf_model.vlm.train_embedded import TrainConfig, Trainer, soft_cross_entropy
from govnesf_model.vlm.train_embedded_batches import BatchMaker
from govnesf_model.vlm.train_embedded_cli import run
from govnesf_model.vlm.train_embedded_rooms import RoomSet, random_crop
from govnesf_model.vlm.train_embedded_texts import TextBank

TINY = TrainConfig(steps=20, batch=4, width=96, height=64, cells=128, warmup=3, workers=0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("rooms")
    for seed in range(3):
        write_room(root / "train" / f"room{seed}", seed)
    write_room(root / "val" / "room9", 9)
    return root


@pytest.fixture(scope="module")
def rooms(folders):
    return RoomSet([folders / "train"], folders / "cache")


@pytest.fixture(scope="module")
def bank(rooms):
    return TextBank(rooms.rooms, MiniLM(cache=False))


def trainer(folders, out, config=TINY):
    return Trainer([folders / "train"], [folders / "val"], out, config, folders / "cache")


def test_twenty_steps_learn_a_tiny_room(folders, tmp_path):
    training = trainer(folders, tmp_path)
    losses = [training.train_step() for _ in range(20)]
    assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:3])
    result = training.validate()
    assert result["oacc"] > 0.8
    assert result["per_class"]["wall"]["iou"] > 0.8
    encoder = load_embedded(tmp_path / "model.safetensors")
    again = evaluate(encoder, training.val.rooms, 3)
    assert again["oacc"] == pytest.approx(result["oacc"], abs=0.01)
    assert encoder.vocabulary.attributes["material"] == ("wooden",)
    assert encoder.default_contrast[:2] == ("wall", "floor")
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert "val_miou" in logged[-1]


def test_a_resumed_run_makes_the_same_steps(folders, tmp_path):
    straight = trainer(folders, tmp_path / "a")
    losses = [straight.train_step() for _ in range(6)]
    first = trainer(folders, tmp_path / "b")
    halves = [first.train_step() for _ in range(3)]
    first.save()
    second = trainer(folders, tmp_path / "b")
    assert second.resume()
    assert second.step == 3
    halves += [second.train_step() for _ in range(3)]
    # A library may share a product out over fewer threads on a busy machine, which rounds
    # otherwise; what the loss of any state changes is far larger.
    assert halves == pytest.approx(losses, rel=1e-5)
    for name, value in straight.average.items():
        torch.testing.assert_close(second.average[name], value, rtol=1e-4, atol=1e-5)


def test_only_the_late_stages_are_trained(folders, tmp_path):
    training = trainer(folders, tmp_path)
    early = training.network.backbone.blocks[2][0].conv_pw.weight.clone()
    late = training.network.backbone.blocks[6][0].conv_pw.weight.clone()
    training.train_step()
    training.train_step()
    assert torch.equal(training.network.backbone.blocks[2][0].conv_pw.weight, early)
    assert not torch.equal(training.network.backbone.blocks[6][0].conv_pw.weight, late)


def test_a_crop_keeps_its_labels_in_place(rooms):
    """Walls are bright and the floor is dark: cells must agree with their pixels after any flip."""
    rng = np.random.default_rng(1)
    agreement = []
    for _ in range(30):
        room, frame = rooms.frame(int(rng.integers(rooms.frames)))
        rgb, label, instance = random_crop(room, frame, 96, 64, rng)
        assert rgb.shape == (64, 96, 3)
        assert label.shape == instance.shape == (16, 24)
        assert set(np.unique(instance[label < 3])) <= {0}
        mean = rgb.reshape(16, 4, 24, 4, 3).mean((1, 3, 4))
        plain = np.isin(label, (1, 2))
        if len(np.unique(label[plain])) == 2:
            middle = (mean[label == 1].mean() + mean[label == 2].mean()) / 2
            agreement.append(((mean > middle) == (label == 2))[plain].mean())
    assert len(agreement) > 5
    assert np.mean(agreement) > 0.95


def test_rooms_that_appear_are_taken_in_and_bad_ones_left_out(folders, tmp_path):
    data = tmp_path / "data"
    write_room(data / "a", 1)
    found = RoomSet([data], tmp_path / "cache")
    assert (len(found.rooms), found.frames) == (1, 3)
    write_room(data / "b", 2)
    broken = write_room(data / "c", 3)
    next((broken / "label").iterdir()).write_bytes(b"no image")
    assert found.rescan() == 1
    assert [room.name for room in found.rooms] == ["a", "b"]
    assert found.rescan() == 0
    assert found.rooms[1].attributes[1]["material"] == "wooden"


def test_true_texts_never_stand_against_each_other(bank):
    names = np.array([bank.names.index(name) for name in ("chair", "wall") for _ in range(200)])
    red = bank.words["color"].index("red")
    word = np.where(names == bank.names.index("chair"), np.array([[red], [-1]]), -1)
    rng = np.random.default_rng(0)
    columns = bank.draw(names, word, rng)
    positive, left_out, wrong = bank.targets(columns, names, word, rng)
    cells = torch.arange(len(names))
    assert not left_out[cells, positive].any()
    assert not wrong[cells, positive].any()
    for column in range(len(columns.plain)):
        row = columns.plain[column]
        chairs = torch.from_numpy(names == bank.names.index("chair"))
        lost = torch.from_numpy(np.isin(positive.numpy(), columns.nothing))
        elsewhere = chairs & (positive != column) & ~lost
        if row >= 0 and bank.texts[row] == "furniture":
            assert left_out[elsewhere, column].all()
        if row >= 0 and bank.texts[row] in ("wall", "floor"):
            assert not left_out[elsewhere, column].any()
        if columns.kind[column] == 0 and bank.texts[columns.base[column]] == "chair":
            rival = columns.word[column] != red
            assert bool(wrong[elsewhere, column].all()) == rival
            # Nobody knows the colour of the wall, but it is no chair of any colour.
            assert not left_out[~chairs & ~lost, column].any()
    share = np.isin(positive.numpy(), columns.nothing).mean()
    assert 0.02 < share < 0.25


def test_the_loss_is_a_cross_entropy_where_texts_are_unlike():
    logits = torch.tensor([[2.0, 0.5, -1.0, 9.0]])
    likeness = torch.tensor([[100.0, 0.0, 0.0, 0.0]])
    none = torch.zeros(1, 4, dtype=torch.bool)
    left_out = torch.tensor([[False, False, False, True]])
    expected = -logits[:, :3].log_softmax(-1)[0, 0]
    assert soft_cross_entropy(logits, likeness, left_out, none) == pytest.approx(expected.item())
    alike = torch.tensor([[5.0, 5.0, -100.0, 0.0]])
    wrong = torch.tensor([[False, True, False, False]])
    assert soft_cross_entropy(logits, alike, left_out, wrong) == pytest.approx(expected.item())
    both = -logits[:, :3].log_softmax(-1)[0, :2].mean()
    assert soft_cross_entropy(logits, alike, left_out, none) == pytest.approx(both.item())


def test_no_rooms_is_an_error_that_says_so(tmp_path, capsys):
    import argparse

    from govnesf_model.vlm.cli import add_vlm_parser

    parser = argparse.ArgumentParser()
    add_vlm_parser(parser.add_subparsers())
    args = parser.parse_args(
        ["vlm", "train", "embedded", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    )
    assert args.run is run
    assert args.run(args) == 2
    assert "no labelled rooms" in capsys.readouterr().err


def test_a_crop_for_the_sake_of_a_name_shows_it(rooms, bank):
    tables = {room.name: bank.room_tables(room) for room in rooms.rooms}
    maker = BatchMaker(rooms.rooms, tables, 4, 64, 48, 400, focus=1.0, seed=3)
    chair = bank.names.index("chair")
    maker.odds = np.eye(len(maker.names))[maker.names.index(chair)]
    for step in range(5):
        batch = maker[step]
        for crop in range(4):
            assert chair in batch.name[batch.cells[:, 0] == crop]


def test_batches_made_ahead_are_those_made_when_asked_for(rooms, bank):
    tables = {room.name: bank.room_tables(room) for room in rooms.rooms}
    maker = BatchMaker(rooms.rooms, tables, 2, 64, 48, 50, focus=0.5, seed=3)
    ahead = maker.stream(5, workers=2)
    for step in range(5, 12):
        batch, wanted = next(ahead), maker[step]
        for part in ("rgb", "cells", "name", "word"):
            assert np.array_equal(getattr(batch, part), getattr(wanted, part)), part
    ahead.close()


def test_the_backbone_stays_near_to_what_imagenet_taught(folders, tmp_path):
    lost = {}
    for keep in (0.0, 20.0):
        training = trainer(folders, tmp_path / str(keep), replace(TINY, keep=keep, kept=4))
        for _ in range(8):
            training.train_step()
        rgb = torch.from_numpy(training.batches[99].rgb).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            maps = training.network.pyramid(rgb)
            lost[keep] = float(training._lost(maps[1], maps[3]))
    assert lost[20.0] < 0.5 * lost[0.0]


def test_the_anchor_reads_imagenet_classes_from_an_unchanged_backbone(folders, tmp_path):
    """Dense probabilities at one cell must be those of timm's own classifier on that map."""
    import timm  # the training has made it importable without torchvision

    training = trainer(folders, tmp_path)
    own = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    own.load_state_dict(imagenet_weights())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        whole = own.forward_features(image * 255 / 128 - 127 / 128)  # [1, 1280, 2, 2]
        likely = own.classifier(whole[0, :, 1, 0]).softmax(0)
        top = likely.topk(10)
        names = training.imagenet.names
        wanted = top.values @ (names[top.indices] - names.mean(0))
        found = training.imagenet(training.network.pyramid(image)[-1])[0, :, 1, 0]
    assert torch.allclose(found, wanted, atol=1e-5)


def test_the_measure_command_prints_what_validation_found(folders, tmp_path, capsys):
    training = trainer(folders, tmp_path / "run")
    for _ in range(12):
        training.train_step()
    result = training.validate()
    spec = f"embedded:{tmp_path / 'run' / 'model.safetensors'}"
    command = ["vlm", "measure", spec, "--rooms", str(folders / "val")]
    assert main([*command, "--json", str(tmp_path / "m.json")]) == 0
    assert "share of right cells (oAcc)" in capsys.readouterr().out
    measured = json.loads((tmp_path / "m.json").read_text())
    assert measured["miou"] == pytest.approx(result["miou"], abs=0.01)
    assert main([*command[:-1], str(tmp_path)]) == 2
    assert "no labelled rooms" in capsys.readouterr().err
