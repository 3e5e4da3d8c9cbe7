import json

import pytest
import torch
from box_field import box_scene, random_points, tiny_field
from safetensors.torch import load_file, save_file

from govnesf_model.checkpoint import CheckpointError, load_field, read_notes, save_field
from govnesf_model.onednn import use_onednn


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    field = tiny_field(seed=5, use_cva=False)
    use_onednn(field)  # as every loaded field does, which rounds otherwise
    path = save_field(
        field, tmp_path_factory.mktemp("field") / "deep" / "f.safetensors", {"steps": "7"}
    )
    return field, path


def test_a_saved_field_comes_back_the_same(saved):
    field, path = saved
    loaded = load_field(path)
    assert loaded.config == field.config
    assert not loaded.training
    views, volume = box_scene(field, 3)
    views_again, volume_again = box_scene(loaded, 3)
    points = random_points(20)
    torch.testing.assert_close(
        field.density(points, volume), loaded.density(points, volume_again), atol=0, rtol=0
    )
    one = field.blend(points, views, volume).w_semantic
    two = loaded.blend(points, views_again, volume_again).w_semantic
    torch.testing.assert_close(one, two, atol=0, rtol=0)
    assert read_notes(path)["steps"] == "7"
    assert [p.name for p in path.parent.iterdir()] == ["f.safetensors"]
    assert path.stat().st_mode & 0o777 == 0o644  # others on the machine may read it


def test_half_precision_files_load_as_single_precision(saved, tmp_path):
    field, path = saved
    small = save_field(field, tmp_path / "half.safetensors", dtype=torch.float16)
    assert small.stat().st_size < 0.6 * path.stat().st_size
    loaded = load_field(small)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    torch.testing.assert_close(loaded.unet.enter.weight, field.unet.enter.weight, atol=1e-3, rtol=0)


def test_the_shipped_field_loads():
    field = load_field("small")
    assert field.config.encoder == "lite0"
    assert all(bool(torch.isfinite(p).all()) for p in field.parameters())


def test_a_truncated_file_is_refused(saved, tmp_path):
    _, path = saved
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"cut.safetensors is damaged .* copy or download"):
        load_field(cut)
    cut.write_bytes(b"")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_field(cut)


def test_a_foreign_file_is_refused(tmp_path):
    foreign = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, foreign)
    with pytest.raises(CheckpointError, match="is not a field checkpoint"):
        load_field(foreign)
    text = tmp_path / "text.safetensors"
    text.write_text("hello, this is not a checkpoint at all")
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load_field(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "2"}, "update govnesf_model"),
        ({"version": "new"}, "update govnesf_model"),
        ({"config": "{"}, "no usable configuration"),
        ({"config": json.dumps({"wheels": 4})}, "unknown fields: wheels"),
        ({"config": json.dumps({"voxel_size": -1.0})}, "must be positive"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(saved, tmp_path, change, message):
    _field, path = saved
    metadata = {**read_notes(path), **change}
    other = tmp_path / "changed.safetensors"
    save_file(load_file(path), other, metadata=metadata)
    with pytest.raises(CheckpointError, match=message):
        load_field(other)


def test_missing_and_misshapen_tensors_are_refused(saved, tmp_path):
    _, path = saved
    tensors, metadata = load_file(path), read_notes(path)
    bent = {**tensors, "density_in.weight": torch.zeros(2, 2)}
    save_file(bent, tmp_path / "bent.safetensors", metadata=metadata)
    with pytest.raises(CheckpointError, match=r"density_in.weight of shape \(2, 2\)"):
        load_field(tmp_path / "bent.safetensors")
    del tensors["density_in.weight"]
    save_file(tensors, tmp_path / "less.safetensors", metadata=metadata)
    with pytest.raises(CheckpointError, match="1 tensors missing"):
        load_field(tmp_path / "less.safetensors")


def test_an_unknown_name_says_what_there_is(tmp_path):
    with pytest.raises(CheckpointError, match=r"shipped are .*small"):
        load_field("gigantic")
    with pytest.raises(CheckpointError, match="check the path"):
        load_field(tmp_path / "nowhere.safetensors")
