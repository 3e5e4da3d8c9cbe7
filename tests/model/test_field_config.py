import pytest

from govnesf_model.field_config import FieldConfig


@pytest.mark.parametrize("config", [FieldConfig.small(), FieldConfig.paper(use_cva=False)])
def test_json_round_trip(config):
    assert FieldConfig.from_json(config.to_json()) == config


def test_paper_sizes():
    paper = FieldConfig.paper()
    assert (paper.volume_channels, paper.query_channels) == (64, 32)
    assert paper.unet_channels == (16, 32, 64)
    assert paper.geometry_channels == 64
    assert paper.grid_shape == (40, 40, 16)
    assert paper.samples_per_ray == 64
    assert not paper.encode_distance


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "vgg"}, "is not one of"),
        ({"voxel_size": 0.0}, "must be positive"),
        ({"fusion_width": 30}, "not a multiple"),
        ({"use_mjf": False}, "set distill_dim"),
    ],
)
def test_nonsense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        FieldConfig.small(**change)


@pytest.mark.parametrize("text", ["", "[1]", '{"voxels": 3}'])
def test_foreign_json_is_refused(text):
    with pytest.raises(ValueError, match="field configuration"):
        FieldConfig.from_json(text)
