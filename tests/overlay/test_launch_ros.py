"""ros_overlay/launch_ros: real nodes that say what launch has given them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import domain_coordinator
import overlay_processes
import pytest

overlay_processes.use_sources()

import launch.logging  # noqa: E402
from launch import LaunchContext, LaunchDescription, LaunchService  # noqa: E402
from launch.actions import (  # noqa: E402
    EmitEvent,
    GroupAction,
    LogInfo,
    RegisterEventHandler,
    Shutdown,
)
from launch.events import matches_action  # noqa: E402
from launch.substitutions import LaunchConfiguration, SubstitutionFailure  # noqa: E402
from launch_ros.actions import (  # noqa: E402
    LifecycleNode,
    Node,
    PushRosNamespace,
    SetParameter,
    SetParametersFromFile,
    SetRemap,
    SetUseSimTime,
)
from launch_ros.descriptions import ParameterFile, ParameterValue  # noqa: E402
from launch_ros.event_handlers import OnStateTransition  # noqa: E402
from launch_ros.events.lifecycle import ChangeState, matches_node_name  # noqa: E402
from launch_ros.substitutions import (  # noqa: E402
    ExecutableInPackage,
    FindPackagePrefix,
    FindPackageShare,
)

REPORT = """
import json, os, sys
import rclpy
from rclpy.parameter import parameter_value_to_python
rclpy.init()
node = rclpy.create_node(
    "report", allow_undeclared_parameters=True, automatically_declare_parameters_from_overrides=True
)
def plain(value):
    return list(value) if hasattr(value, "typecode") else value
print("REPORT " + json.dumps({
    "name": node.get_fully_qualified_name(),
    "topic": node.resolve_topic_name("image"),
    "parameters": {k: plain(v.value) for k, v in node.get_parameters_by_prefix("").items()},
    "argv": rclpy.utilities.remove_ros_args(sys.argv)[1:],
    "env": os.environ.get("REPORT_ENV"),
}))
"""
STATES = """
import rclpy
from rclpy.lifecycle import LifecycleNode
rclpy.init()
node = LifecycleNode("states")
try:
    rclpy.spin(node)
except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
    pass
"""


@pytest.fixture(scope="module", autouse=True)
def _domain():
    with domain_coordinator.domain_id() as number:
        os.environ["ROS_DOMAIN_ID"] = str(number)
        yield
        del os.environ["ROS_DOMAIN_ID"]


@pytest.fixture(autouse=True)
def prefix(tmp_path: Path, monkeypatch) -> Path:
    launch.logging.launch_config.log_dir = str(tmp_path / "log")
    folder = tmp_path / "prefix"
    overlay_processes.install_package(
        folder, "demo", {"lib/report": REPORT, "lib/states": STATES, "share/a.yaml": "{}"}
    )
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{folder}:{sys.prefix}")
    return folder


def run(*entities, **configurations: str) -> int:
    service = LaunchService()
    service.context.launch_configurations.update(configurations)
    service.include_launch_description(LaunchDescription(entities))
    return service.run()


def reporter(**options) -> Node:
    return Node(package="demo", executable="report", output="screen", **options)


def reports(capfd) -> dict[str, dict]:
    """Return what each reporter said, by the name of its process."""
    lines = [line for line in capfd.readouterr().out.splitlines() if "] REPORT " in line]
    return {line[1 : line.index("]")]: json.loads(line.split("REPORT ", 1)[1]) for line in lines}


def test_names_arguments_and_remappings_reach_the_node(capfd):
    run(
        reporter(),
        reporter(
            name="eye",
            namespace=["ro", LaunchConfiguration("suffix")],
            exec_name="camera",
            remappings=[("image", ["im", LaunchConfiguration("suffix")])],
            arguments=["--fast", LaunchConfiguration("suffix")],
            ros_arguments=["--log-level", "warn"],
            additional_env={"REPORT_ENV": "set"},
        ),
        suffix="bot",
    )
    said = reports(capfd)
    assert said["report-1"]["name"] == "/report"
    assert said["report-1"]["topic"] == "/image"
    assert said["camera-2"]["name"] == "/robot/eye"
    assert said["camera-2"]["topic"] == "/robot/imbot"
    assert said["camera-2"]["argv"] == ["--fast", "bot"]
    assert said["camera-2"]["env"] == "set"


def test_parameters_keep_their_types_and_later_ones_win(tmp_path, capfd):
    file = tmp_path / "params.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    from_file: 7\n    overridden: 1\n    deep: {x: 0.5}\n"
    )
    template = tmp_path / "template.yaml"
    template.write_text("/**:\n  ros__parameters:\n    from_template: $(var rate)\n")
    run(
        reporter(
            parameters=[
                str(file),
                file.parent / "params.yaml",
                ParameterFile(str(template), allow_substs=True),
                {
                    "overridden": 2,
                    "flag": True,
                    "ratio": 2.0,
                    "word": "true",
                    "letter": "y",
                    "nested": {"a": {"b": [1, 2]}},
                    "mixed": [1, 2.5],
                    "words": ["x", "n"],
                    "typed": LaunchConfiguration("rate"),
                    "text": ParameterValue(LaunchConfiguration("rate"), value_type=str),
                    "joined": ["r", LaunchConfiguration("rate")],
                    "list": LaunchConfiguration("list"),
                    "empty": LaunchConfiguration("empty"),
                },
            ]
        ),
        rate="4.0",
        list="[1, 2]",
        empty="",
    )
    (said,) = reports(capfd).values()
    parameters = said["parameters"]
    expected = {
        "from_file": 7,
        "deep.x": 0.5,
        "from_template": 4.0,
        "overridden": 2,
        "flag": True,
        "ratio": 2.0,
        "word": "true",
        "letter": "y",
        "nested.a.b": [1, 2],
        "mixed": [1.0, 2.5],
        "words": ["x", "n"],
        "typed": 4.0,
        "text": "4.0",
        "joined": "r4.0",
        "list": [1, 2],
        "empty": "",
    }
    assert {name: parameters[name] for name in expected} == expected
    assert type(parameters["ratio"]) is float


def test_dict_wins_over_a_named_section_if_name_and_namespace_are_given(tmp_path, capfd):
    file = tmp_path / "params.yaml"
    file.write_text("/r/eye:\n  ros__parameters:\n    rate: 1\n")
    run(
        reporter(name="eye", namespace="r", parameters=[file, {"rate": 2}], exec_name="both"),
        reporter(name="eye", namespace="", parameters=[{"rate": 2}], exec_name="root"),
    )
    said = reports(capfd)
    assert said["both-1"]["parameters"]["rate"] == 2
    assert said["root-2"]["name"] == "/eye"
    assert said["root-2"]["parameters"]["rate"] == 2


def test_scoped_actions_hold_for_the_nodes_of_their_group(tmp_path, capfd):
    file = tmp_path / "params.yaml"
    file.write_text("/**:\n  ros__parameters:\n    shared: 1\n")
    run(
        GroupAction(
            [
                PushRosNamespace("fleet"),
                GroupAction([PushRosNamespace("one"), reporter(namespace="arm", exec_name="deep")]),
                SetParameter("speed", LaunchConfiguration("speed")),
                SetUseSimTime(True),
                SetRemap("image", "/picture"),
                SetParametersFromFile(str(file)),
                SetParametersFromFile("/no/such/file", node_name="somebody_else"),
                reporter(exec_name="here", parameters=[{"own": "yes"}]),
                reporter(exec_name="root", namespace="/alone", parameters=[{"speed": 9.5}]),
            ]
        ),
        reporter(exec_name="outside"),
        speed="2.5",
    )
    said = {name[:-2]: report for name, report in reports(capfd).items()}
    assert said["deep"]["name"] == "/fleet/one/arm/report"
    assert "speed" not in said["deep"]["parameters"]
    assert said["here"]["name"] == "/fleet/report"
    assert said["here"]["topic"] == "/picture"
    here = {"speed": 2.5, "use_sim_time": True, "shared": 1, "own": "yes"}
    assert {name: said["here"]["parameters"][name] for name in here} == here
    assert said["root"]["name"] == "/alone/report"
    assert said["root"]["parameters"]["speed"] == 9.5
    assert said["outside"]["name"] == "/report"
    assert said["outside"]["parameters"]["use_sim_time"] is False


def test_packages_are_found_and_missing_things_are_named(prefix, capfd):
    context = LaunchContext()
    assert FindPackagePrefix("demo").perform(context) == str(prefix)
    assert FindPackageShare("demo").perform(context) == str(prefix / "share/demo")
    path = ExecutableInPackage("report", "demo").perform(context)
    assert path == str(prefix / "lib/demo/report")
    with pytest.raises(SubstitutionFailure, match="package 'absent' is not found"):
        FindPackageShare("absent").perform(context)
    with pytest.raises(SubstitutionFailure, match="which has: report, states"):
        ExecutableInPackage("absent", "demo").perform(context)
    assert run(Node(package="demo", executable="absent")) == 1
    assert "executable 'absent' not found" in capfd.readouterr().out


def test_parameters_that_ros_cannot_hold_are_refused():
    with pytest.raises(TypeError, match="expected a list"):
        Node(executable="x", parameters={"a": 1})
    assert run(reporter(parameters=[{"a": object()}])) == 1


def test_autostart_brings_a_lifecycle_node_to_active(capfd):
    node = LifecycleNode(
        package="demo", executable="states", name="eye", namespace="r", autostart=True
    )
    on_active = OnStateTransition(
        target_lifecycle_node=node,
        goal_state="active",
        entities=[LogInfo(msg="it is active"), Shutdown()],
    )
    assert run(RegisterEventHandler(on_active), node) == 0
    out = capfd.readouterr().out
    assert "it is active" in out
    assert "process has finished cleanly" in out


def test_events_drive_a_lifecycle_node(capfd):
    node = LifecycleNode(package="demo", executable="states", name="eye", namespace="")

    def change(transition_id: int) -> EmitEvent:
        matcher = matches_action(node) if transition_id == 1 else matches_node_name("/eye")
        return EmitEvent(
            event=ChangeState(lifecycle_node_matcher=matcher, transition_id=transition_id)
        )

    activate, deactivate = 3, 4
    run(
        RegisterEventHandler(
            OnStateTransition(
                start_state="configuring",
                goal_state="inactive",
                handle_once=True,
                entities=[LogInfo(msg="configured"), change(activate)],
            )
        ),
        RegisterEventHandler(OnStateTransition(goal_state="active", entities=[change(deactivate)])),
        RegisterEventHandler(
            OnStateTransition(
                start_state="deactivating",
                goal_state="inactive",
                entities=[LogInfo(msg="inactive again"), Shutdown()],
            )
        ),
        node,
        change(1),
    )
    out = capfd.readouterr().out
    assert "configured" in out
    assert "inactive again" in out
