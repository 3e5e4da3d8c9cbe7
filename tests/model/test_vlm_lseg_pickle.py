"""A checkpoint is read without running anything that it brings."""

import argparse
import os
import pickle
import sys
import types
from pathlib import Path

import pytest
import torch

from govnesf_model.vlm.lseg_pickle import PickleRefused, read_state_dict

STATE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}


class _Runs:
    """Pickles as a call that creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class _Opens(_Runs):
    def __reduce__(self):
        return Path.touch, (self.path,)


class _CallsUs(_Runs):
    def __reduce__(self):
        return _touch, (self.path,)


def _touch(path: Path) -> None:
    path.touch()


def absent_class(monkeypatch, module: str, name: str, base: type = object) -> type:
    """Return a class of a package that is there while the pickle is written, and then no more."""
    made = type(name, (base,), {"__module__": module})
    parts = module.split(".")
    for index in range(1, len(parts) + 1):
        parent = ".".join(parts[:index])
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    setattr(sys.modules[module], name, made)
    return made


def test_a_plain_checkpoint_gives_its_tensors(tmp_path):
    torch.save({"state_dict": STATE, "epoch": 3}, tmp_path / "a.ckpt")
    state = read_state_dict(tmp_path / "a.ckpt")
    assert list(state) == ["a", "b"]
    assert torch.equal(state["a"], STATE["a"])


def test_what_lightning_leaves_is_passed_over_where_lightning_is_not_installed(
    tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        package = "pytorch_lightning_that_is_absent"
        monkeypatch.setattr("govnesf_model.vlm.lseg_pickle.HARMLESS_PACKAGES", (package,))
        callback = absent_class(patch, f"{package}.callbacks.model_checkpoint", "ModelCheckpoint")
        settings = absent_class(patch, f"{package}.utilities.parsing", "AttributeDict", dict)
        instance = callback()
        instance.monitor = "val"
        checkpoint = {
            "state_dict": STATE,
            "callbacks": {callback: {"best_model_score": torch.tensor(0.5)}},
            "kept": instance,
            "hyper_parameters": settings(lr=0.1),
            "arguments": argparse.Namespace(batch=4),
        }
        torch.save(checkpoint, tmp_path / "a.ckpt")
    assert package not in sys.modules
    assert torch.equal(read_state_dict(tmp_path / "a.ckpt")["a"], STATE["a"])
    assert package not in sys.modules


@pytest.mark.parametrize("hostile", [_Runs, _Opens, _CallsUs])
def test_a_hostile_checkpoint_is_refused_and_not_run(tmp_path, hostile):
    trap = tmp_path / "trap"
    torch.save({"state_dict": STATE, "callbacks": hostile(trap)}, tmp_path / "a.ckpt")
    with pytest.raises(PickleRefused, match="could run code when opened and was not read"):
        read_state_dict(tmp_path / "a.ckpt")
    assert not trap.exists()
    # The trap would have worked.
    torch.load(tmp_path / "a.ckpt", weights_only=False)
    assert trap.exists()


def test_a_name_that_is_vouched_for_is_still_not_run(tmp_path):
    trap = tmp_path / "trap"
    torch.save({"state_dict": STATE, "callbacks": _CallsUs(trap)}, tmp_path / "a.ckpt")
    state = read_state_dict(tmp_path / "a.ckpt", inert=[f"{__name__}._touch"])
    assert torch.equal(state["a"], STATE["a"])
    assert not trap.exists()
    torch.save({"state_dict": STATE, "callbacks": _Runs(trap)}, tmp_path / "a.ckpt")
    with pytest.raises(PickleRefused, match="cannot be read without running its code"):
        read_state_dict(tmp_path / "a.ckpt", inert=["posix.system"])
    assert not trap.exists()


def test_a_refusal_names_what_was_found(tmp_path):
    torch.save({"state_dict": STATE, "callbacks": _Runs(tmp_path / "trap")}, tmp_path / "a.ckpt")
    with pytest.raises(PickleRefused, match=r"names posix\.system, which no checkpoint of LSeg"):
        read_state_dict(tmp_path / "a.ckpt")


def test_other_classes_are_refused_until_they_are_vouched_for(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        made = absent_class(patch, "some_logger.writer", "Writer")
        torch.save({"state_dict": STATE, "logger": made()}, tmp_path / "a.ckpt")
    with pytest.raises(PickleRefused, match=r"some_logger\.writer\.Writer"):
        read_state_dict(tmp_path / "a.ckpt")
    state = read_state_dict(tmp_path / "a.ckpt", inert=["some_logger.writer.Writer"])
    assert torch.equal(state["a"], STATE["a"])


def test_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"")
    with pytest.raises(PickleRefused, match="no checkpoint"):
        read_state_dict(path)
    path.write_bytes(pickle.dumps({"state_dict": {}}))
    with pytest.raises(PickleRefused, match="no checkpoint"):
        read_state_dict(path)
    torch.save(STATE, path)
    with pytest.raises(PickleRefused, match=r"no entry 'state_dict' of tensors .*a, b"):
        read_state_dict(path)
    torch.save({"state_dict": {"a": 1}}, path)
    with pytest.raises(PickleRefused, match="no entry 'state_dict' of tensors"):
        read_state_dict(path)
    torch.save({"state_dict": {"a": torch.rand(1000)}}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(PickleRefused):
        read_state_dict(path)
