"""Weight files: what is read back, what is refused, and that nothing half-written is left."""

import pytest
import torch
from safetensors.torch import save_file

from govnesf_model.weights_file import WeightsFormat


class Refused(ValueError):
    pass


FORMAT = WeightsFormat("test-kind", 2, "a test file", "make one", Refused)
TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.arange(4).reshape(2, 2).T}


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "new" / "w.safetensors"
    FORMAT.write(path, TENSORS, {"config": "{}"})
    metadata, tensors = FORMAT.read(path)
    assert metadata == {"config": "{}", "format": "test-kind", "version": "2"}
    for name, value in TENSORS.items():
        assert torch.equal(tensors[name], value)
    assert path.stat().st_mode & 0o777 == 0o644


def test_an_older_version_is_read(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"a": TENSORS["a"]}, path, {"format": "test-kind", "version": "1"})
    assert torch.equal(FORMAT.read(path)[1]["a"], TENSORS["a"])


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "not a test file .its format is not stated, expected 'test-kind'.: make one"),
        ({"format": "other", "version": "1"}, "its format is 'other'"),
        ({"format": "test-kind", "version": "3"}, "version 3, this code reads up to 2: update"),
        ({"format": "test-kind"}, "version unknown"),
        ({"format": "test-kind", "version": "two"}, "version two"),
    ],
)
def test_foreign_and_newer_files_are_refused(tmp_path, metadata, words):
    path = tmp_path / "w.safetensors"
    save_file({"a": TENSORS["a"]}, path, metadata or None)
    with pytest.raises(Refused, match=words):
        FORMAT.read(path)


def test_every_cut_of_a_file_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    FORMAT.write(path, TENSORS, {})
    whole = path.read_bytes()
    for length in (0, 4, 8, 60, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(Refused, match="damaged or no safetensors file"):
            FORMAT.read(path)


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "w.safetensors"
    FORMAT.write(path, TENSORS, {})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        FORMAT.write(path, TENSORS, {"config": 3})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
