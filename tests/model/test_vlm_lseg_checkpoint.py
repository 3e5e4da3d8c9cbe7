"""Weights are taken strictly, and conversion loses nothing."""

import hashlib
import json
import math
from pathlib import Path

import pytest
import torch
from lseg_fill import TINY, published_state
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from govnesf_model import cli
from govnesf_model.vlm.lseg_checkpoint import (
    LSegCheckpointError,
    check_layout,
    convert,
    read_weights,
    unused_layout,
    used_layout,
)
from govnesf_model.vlm.lseg_network import LSegConfig

LAYOUT = Path(__file__).parent.parent / "data" / "lseg" / "layout.json"
HEAD = "net.scratch.head1.weight"


@pytest.fixture(scope="module")
def state():
    return published_state()


@pytest.fixture(scope="module")
def published(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("lseg") / "tiny.ckpt"
    torch.save({"state_dict": state, "epoch": 200}, path)
    return path


@pytest.fixture(scope="module")
def converted(published, tmp_path_factory):
    path = tmp_path_factory.mktemp("lseg") / "tiny.safetensors"
    convert(published, path, config=TINY)
    return path


def saved(tmp_path, state):
    torch.save({"state_dict": state}, tmp_path / "changed.ckpt")
    return tmp_path / "changed.ckpt"


def test_the_layout_is_that_of_the_published_checkpoint():
    expected = {name: tuple(shape) for name, shape in json.loads(LAYOUT.read_text()).items()}
    used, unused = used_layout(LSegConfig()), unused_layout(LSegConfig())
    assert len(expected) == 730
    assert used | unused == expected
    assert not used.keys() & unused.keys()
    # The number of elements of the published checkpoint, with the buffers of its norms.
    assert sum(math.prod(shape) for shape in expected.values()) == 495_144_697


def test_the_published_checkpoint_is_cast_to_single_precision(published, state):
    weights = read_weights(published, TINY)
    network, text = weights.build("cpu")
    assert {p.dtype for p in (*network.parameters(), *text.parameters())} == {torch.float32}
    assert state["net.clip_pretrained.text_projection"].dtype == torch.float16
    projection = state["net.clip_pretrained.text_projection"].float()
    assert torch.equal(text.text_projection, projection)
    assert torch.equal(network.scratch.head1.weight, state[HEAD])
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop(HEAD), rf"1 missing \({HEAD}\)"),
        (lambda s: s.update({"net.extra": torch.zeros(1)}), r"1 unexpected \(net\.extra\)"),
        (lambda s: s.update({HEAD: torch.zeros(3)}), rf"1 wrong \({HEAD} \[3\] instead of \[16, 8"),
        (lambda s: s.pop("net.pretrained.model.head.bias"), r"1 missing \(net\.pretrained\.model"),
        (lambda s: s.pop("net.clip_pretrained.visual.proj"), r"1 missing \(net\.clip_pretrained"),
    ],
)
def test_any_other_set_of_entries_is_refused(tmp_path, state, change, words):
    changed = dict(state)
    change(changed)
    with pytest.raises(LSegCheckpointError, match=words) as refusal:
        read_weights(saved(tmp_path, changed), TINY)
    assert "isl-org/lang-seg" in str(refusal.value)


def test_a_refusal_counts_all_and_lists_the_first():
    expected = {f"w{i}": (2,) for i in range(20)}
    found = {f"v{i}": (2,) for i in range(7)} | {"w0": (3,)}
    with pytest.raises(LSegCheckpointError) as refusal:
        check_layout(found, expected, "x.ckpt")
    text = str(refusal.value)
    assert "19 missing (w1, w2, w3, w4, w5, ...)" in text
    assert "7 unexpected (v0, v1, v2, v3, v4, ...)" in text
    assert "1 wrong (w0 [3] instead of [2])" in text


def test_another_models_checkpoint_is_refused_in_the_full_size(published):
    with pytest.raises(LSegCheckpointError, match=r"730 entries of LSeg ViT-L/16: .* missing"):
        read_weights(published)


def test_values_that_are_not_finite_are_refused(tmp_path, state):
    broken = dict(state)
    broken[HEAD] = state[HEAD].clone()
    broken[HEAD][0, 0] = math.nan
    with pytest.raises(LSegCheckpointError, match=f"{HEAD} .* not finite"):
        read_weights(saved(tmp_path, broken), TINY)


def test_a_missing_file_says_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"demo_e200\.ckpt from the link in the README"):
        read_weights(tmp_path / "demo_e200.ckpt")


def test_conversion_rounds_nothing_and_drops_what_is_never_used(published, converted, state):
    before, after = read_weights(published, TINY), read_weights(converted)
    assert after.config == TINY
    assert after.digest == before.digest
    stored = load_file(converted)
    assert stored.keys() == used_layout(TINY).keys()
    for name, value in stored.items():
        assert value.dtype == state[name].dtype
        assert torch.equal(value, state[name])
    image = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        assert torch.equal(before.build("cpu")[0](image), after.build("cpu")[0](image))


def test_half_precision_is_about_half_the_size_and_nearly_the_same(published, converted, tmp_path):
    path = tmp_path / "half.safetensors"
    half = convert(published, path, half=True, config=TINY)
    assert read_weights(path).digest == half.digest != read_weights(converted).digest
    assert path.stat().st_size < 0.6 * converted.stat().st_size
    assert load_file(path)["net.scratch.refinenet1.resConfUnit1.bn1.running_var"].dtype == (
        torch.float32
    )
    image = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        exact = read_weights(converted).build("cpu")[0](image)
        rounded = half.build("cpu")[0](image)
    assert 0 < (exact - rounded).abs().max() < 5e-3


def test_a_changed_value_in_a_converted_file_is_noticed(converted, tmp_path):
    with safe_open(converted, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(converted)
    tensors[HEAD][0, 0] += 1e-3
    save_file(tensors, tmp_path / "a.safetensors", metadata=metadata)
    with pytest.raises(LSegCheckpointError, match="is damaged"):
        read_weights(tmp_path / "a.safetensors")


def test_a_safetensors_file_of_something_else_is_refused(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(LSegCheckpointError, match="is not made by `govnesf vlm convert lseg`"):
        read_weights(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    with pytest.raises(LSegCheckpointError, match="damaged or no safetensors file"):
        read_weights(tmp_path / "b.safetensors")


def test_the_target_must_be_a_safetensors_file(published, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        convert(published, tmp_path / "out.ckpt", config=TINY)


def test_the_command_converts_and_prints_checksums(published, tmp_path, monkeypatch, capsys):
    # The small checkpoint stands for the published one: only the sizes differ.
    monkeypatch.setattr("govnesf_model.vlm.lseg_checkpoint.LSegConfig", lambda: TINY)
    out = tmp_path / "new" / "lseg.safetensors"
    assert cli.main(["vlm", "convert", "lseg", str(published), str(out)]) == 0
    printed = capsys.readouterr().out
    for path in (published, out):
        assert f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}  {path}" in printed
    assert f"left out {len(unused_layout(TINY))} entries" in printed
    assert f"--vlm lseg:{out}" in printed
    assert [path.name for path in out.parent.iterdir()] == ["lseg.safetensors"]


def test_the_command_explains_a_missing_or_wrong_file(published, tmp_path, capsys):
    out = str(tmp_path / "a.safetensors")
    assert cli.main(["vlm", "convert", "lseg", str(tmp_path / "no.ckpt"), out]) == 2
    assert "there are no LSeg weights at" in capsys.readouterr().err
    assert cli.main(["vlm", "convert", "lseg", str(published), out]) == 2
    assert "does not hold the 730 entries" in capsys.readouterr().err
    assert not Path(out).exists()
