from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter

from govnesf_model.scene_map import MapConfig
from govnesf_ros.parameter_values import (
    ParameterProblem,
    declare,
    problem_with,
    read,
    too_late,
    with_live_values,
)
from govnesf_ros.parameters import MapperSettings, PlayerSettings, ViewerSettings
from govnesf_ros.parameters_page import document

REPOSITORY = Path(__file__).resolve().parents[2]
CLASSES = pytest.mark.parametrize("settings", [MapperSettings, PlayerSettings, ViewerSettings])


def node_with(graph, **overrides):
    import rclpy

    parameters = [Parameter(name, value=value) for name, value in overrides.items()]
    return graph.add(
        rclpy.create_node("probe", context=graph.context, parameter_overrides=parameters)
    )


@CLASSES
def test_every_parameter_says_what_it_is(graph, settings) -> None:
    node = graph.node()
    assert declare(node, settings) == settings()
    for item in fields(settings):
        descriptor = node.describe_parameter(item.name)
        assert descriptor.description.endswith(".")
        assert descriptor.read_only == (item.metadata["applies"] == "start")
        limits = item.metadata["limits"]
        if limits:
            (found,) = descriptor.integer_range or descriptor.floating_point_range
            assert (found.from_value, found.to_value) == limits


def test_values_from_outside_are_taken(graph) -> None:
    node = node_with(graph, map_frame="odom", voxel_size=0.05, vocabulary=["mug"], contrast=["x"])
    settings = declare(node, MapperSettings)
    assert (settings.map_frame, settings.voxel_size) == ("odom", 0.05)
    assert (settings.vocabulary, settings.contrast) == (("mug",), ("x",))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("voxel_size", 5.0, "'voxel_size'"),
        ("voxel_size", 1, "a number with a decimal point, e.g. voxel_size: 0.03"),
        ("depth", "maybe", "'depth' is 'maybe', expected one of: auto, required, off"),
        ("max_keyframes", 0, "'max_keyframes'"),
        ("min_score", float("nan"), "'min_score'"),
        ("vocabulary", "mug", "'vocabulary' is 'mug', expected a list of strings"),
        ("vocabulary", [1, 2], "expected a list of strings"),
    ],
)
def test_wrong_values_are_refused_with_a_sentence(graph, name, value, words) -> None:
    with pytest.raises(ParameterProblem, match="parameter") as caught:
        declare(node_with(graph, **{name: value}), MapperSettings)
    assert words in str(caught.value)


def test_only_live_parameters_change_at_once(graph) -> None:
    node = graph.node()
    settings = declare(node, MapperSettings)
    changed = [Parameter("min_score", value=0.7), Parameter("voxel_size", value=0.1)]
    node.set_parameters(changed)
    now = with_live_values(settings, changed)
    assert (now.min_score, now.voxel_size) == (0.7, settings.voxel_size)
    assert read(node, MapperSettings).voxel_size == 0.1
    (result,) = node.set_parameters([Parameter("autostart", value=False)])
    assert isinstance(result, SetParametersResult)
    assert not result.successful


def test_what_is_read_at_configure_is_refused_later_unless_it_stays_as_it_is() -> None:
    settings = MapperSettings()
    assert too_late(settings, [Parameter("min_score", value=0.7)]) == ""
    assert too_late(settings, [Parameter("voxel_size", value=settings.voxel_size)]) == ""
    assert too_late(settings, [Parameter("vocabulary", value=list(settings.vocabulary))]) == ""
    refusal = too_late(settings, [Parameter("voxel_size", value=0.1)])
    assert "'voxel_size' is read when the node is configured" in refusal
    assert "clean up the node first" in refusal


def test_parameters_of_ros_itself_are_no_problem() -> None:
    assert problem_with(MapperSettings, "use_sim_time", True) == ""


def test_defaults_of_the_map_are_those_of_the_model() -> None:
    settings, config = MapperSettings(), MapConfig()
    for name in ("max_keyframes", "min_translation", "min_rotation", "min_interval",
                 "image_width", "voxel_size", "max_depth", "memory_mib"):  # fmt: skip
        assert getattr(settings, name) == getattr(config, name), name


def test_the_commented_file_holds_known_parameters_with_their_defaults() -> None:
    content = yaml.safe_load((REPOSITORY / "config" / "mapper.yaml").read_text())
    defaults = {item.name: item.default for item in fields(MapperSettings)}
    for name, value in content["/**"]["ros__parameters"].items():
        assert (tuple(value) if isinstance(value, list) else value) == defaults[name], name
        assert type(value) is type(defaults[name]) or isinstance(value, list), name


def test_the_documentation_is_up_to_date() -> None:
    committed = (REPOSITORY / "docs" / "parameters.md").read_text()
    assert committed == document(), "python -m govnesf_ros.parameters_page > docs/parameters.md"
