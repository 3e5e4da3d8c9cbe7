import dataclasses
import re

import pytest

from govnesf_model.field_config import FieldConfig
from govnesf_model.train_config import (
    LossConfig,
    SamplingConfig,
    TrainingConfig,
    from_dict,
    load_config,
    preset_names,
)


def test_the_paper_s_numbers():
    config = load_config("paper")
    assert config.field == FieldConfig.paper()
    assert config.sampling.references == (30, 30)
    assert config.sampling.targets == 3
    assert config.sampling.rays == 2048
    assert config.field.samples_per_ray == 64
    own = {"color", "ov", "surface_width"}
    others = [f.name for f in dataclasses.fields(LossConfig) if f.name not in own]
    assert all(getattr(config.loss, name) == 0 for name in others)


def test_small_is_the_shipped_field_s_shape():
    assert load_config("small").field == FieldConfig.small()


def test_stereo_is_trained_alone_and_then_stays_as_it_is():
    first, second = load_config("stereo"), load_config("small")
    assert first.field == second.field
    assert first.loss.stereo > 0
    assert not first.loss.renders
    assert first.optimizer.frozen == ()
    assert second.loss.renders
    assert second.optimizer.frozen == ("stereo",)


@pytest.mark.parametrize(
    ("changes", "renders"),
    [
        ({}, False),
        ({"stereo": 1.0}, False),
        ({"ov": 0.5}, False),  # it is a share of the colour's weight
        ({"color": 1.0}, True),
        ({"depth": 0.1}, True),
        ({"occupancy": 0.1}, True),
        ({"hard_surface": 0.1}, True),
    ],
)
def test_a_field_is_rendered_where_a_term_looks_at_it(changes, renders):
    zero = {f.name: 0.0 for f in dataclasses.fields(LossConfig) if f.name != "surface_width"}
    assert LossConfig(**{**zero, **changes}).renders is renders


def test_lists_of_names_may_have_any_length():
    assert load_config("small", ["optimizer.frozen=[]"]).optimizer.frozen == ()
    two = load_config("small", ["optimizer.frozen=[stereo, unet]"])
    assert two.optimizer.frozen == ("stereo", "unet")
    with pytest.raises(ValueError, match=r"optimizer\.frozen"):
        load_config("small", ["optimizer.frozen=stereo"])


def test_every_preset_loads_and_survives_being_written():
    assert preset_names() == ["base", "paper", "small", "stereo"]
    for name in preset_names():
        config = load_config(name)
        assert from_dict(config.to_dict(), "a copy") == config


def test_a_file_extends_a_preset_and_settings_come_last(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: paper\nloss: {depth: 1e-2}\nsampling: {rays: 1024}\n")
    config = load_config(path, ["sampling.rays=99", "sampling.size=[160, 120]", "loss.ov=0"])
    assert config.loss.depth == 0.01
    assert config.loss.ov == 0.0
    assert config.sampling == dataclasses.replace(
        load_config("paper").sampling, rays=99, size=(160, 120)
    )
    assert config.field.encoder == "resnet34"
    assert load_config("small", ["run.steps=7"]).run.steps == 7


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("loss.dpeth=1", "sets loss.dpeth, which does not exist: did you mean loss.depth"),
        ("lose.depth=1", "a section 'lose', which does not exist: sections are field, sampling"),
        ("loss.qqqq=1", "it has color, ov"),
        ("rays=3", "is not of the form section.setting=value"),
        ("sampling.rays", "is not of the form section.setting=value"),
        ("sampling.rays=1.5", "it takes a whole number"),
        ("sampling.rays=many", "it takes a whole number"),
        ("sampling.jitter=3", "it takes true or false"),
        ("loss.depth=true", "it takes a number"),
        ("sampling.size=320", "it takes a list of 2 values"),
        ("sampling.references=[5, 3]", "the smaller number first"),
        ("optimizer.precision=16", "it is auto, 32 or bf16"),
        ("field.encoder=vgg", "is not one of lite0, resnet34"),
        ("loss.depth=[", "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_said(setting, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        load_config("small", [setting])


def test_a_missing_file_names_the_presets(tmp_path):
    with pytest.raises(FileNotFoundError, match="presets are base, paper, small, stereo"):
        load_config("tiny")
    with pytest.raises(FileNotFoundError, match=r"nothing\.yaml"):
        load_config(tmp_path / "nothing.yaml")


def test_a_file_of_another_shape_is_refused(tmp_path):
    path = tmp_path / "odd.yaml"
    for text in ("[1, 2]", "loss: 3", "just words"):
        path.write_text(text)
        with pytest.raises(ValueError, match="sections of settings"):
            load_config(path)


def test_defaults_are_those_of_the_small_preset():
    default, small = TrainingConfig(), load_config("small")
    assert small.sampling == SamplingConfig()
    assert small.loss == default.loss
