"""ros_overlay/ros2cli: the `ros2` command against real nodes, and bags against a subscriber."""

from __future__ import annotations

import signal
from pathlib import Path

import overlay_processes
import pytest
import yaml

overlay_processes.use_sources()

from overlay_processes import interrupt, is_running, ros2, start_ros2  # noqa: E402
from ros2cli.messages import get_interface, set_fields, to_plain, to_yaml  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from std_msgs.msg import String  # noqa: E402

SERVER = """
import os, sys
import rclpy
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool

rclpy.init()
node = LifecycleNode("server")
node.declare_parameter("rate", 1.5)
node.declare_parameter("camera.name", "left")
node.declare_parameter("sizes", [1, 2])

def answer(request, response):
    response.success, response.message = request.data, f"rate {node.get_parameter('rate').value}"
    return response

node.create_service(SetBool, "~/switch", answer)
latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
words = node.create_publisher(String, "words", latched)
words.publish(String(data="hello"))
images = node.create_publisher(Image, "image", 10)
node.create_timer(0.05, lambda: images.publish(Image(height=2, width=300, data=bytes(600))))
print("pid", os.getpid(), flush=True)
try:
    rclpy.spin(node)
except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
    pass
"""
LAUNCH = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("rate", default_value="2.5", description="Rate in Hz"),
        DeclareLaunchArgument("mode", choices=["a", "b"], default_value="a"),
        Node(package="demo", executable="server", namespace="robot", output="screen",
             parameters=[{"rate": LaunchConfiguration("rate")}]),
    ])
"""


@pytest.fixture(scope="module", autouse=True)
def prefix(tmp_path_factory) -> Path:
    """Installs the package `demo` and gives this file a ROS domain of its own."""
    folder = tmp_path_factory.mktemp("prefix")
    files = {"lib/server": SERVER, "share/launch/demo.launch.py": LAUNCH, "lib/exit7": "exit(7)"}
    overlay_processes.install_package(folder, "demo", files)
    with overlay_processes.own_domain(folder):
        yield folder


@pytest.fixture(autouse=True)
def _no_leftovers(request):
    # The robot outlives a test.
    if "robot" in request.fixturenames:
        request.getfixturevalue("robot")
    since = len(overlay_processes.started)
    yield
    overlay_processes.stop_started(since)


@pytest.fixture(scope="module")
def robot(prefix):
    """The demo server, started by `ros2 launch`."""
    process = start_ros2("launch", "demo", "demo.launch.py", "rate:=4.0")
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "pid " in line and "] pid" in line:
            break
    yield int(lines[-1].split()[-1])
    output = "".join(lines) + interrupt(process)
    assert process.returncode == 0, output
    assert "[server-1] pid" in output
    assert "[INFO] [server-1]: process has finished cleanly" in output


def test_launch_lists_its_arguments():
    result = ros2("launch", "demo", "demo.launch.py", "--show-args")
    assert result.returncode == 0, result.stderr
    assert result.stdout == (
        "Arguments (pass arguments as '<name>:=<value>'):\n"
        "\n    'rate':\n        Rate in Hz\n        (default: '2.5')\n"
        "\n    'mode':\n        no description given. Valid choices are: ['a', 'b']\n"
        "        (default: 'a')\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent", "x.launch.py"], "Package 'absent' not found"),
        (["demo", "absent.launch.py"], "file 'absent.launch.py' was not found in the share"),
        (["demo", "demo.launch.py", "rate=1"], "malformed launch argument 'rate=1'"),
    ],
)
def test_launch_says_what_is_wrong(arguments, message):
    result = ros2("launch", *arguments)
    assert result.returncode == 1
    assert message in result.stderr


def test_launch_returns_1_for_a_wrong_argument_and_leaves_nothing(prefix):
    path = str(prefix / "share/demo/launch/demo.launch.py")
    result = ros2("launch", path, "mode:=c")
    assert result.returncode == 1
    assert "Valid options are: ['a', 'b']" in result.stdout


def test_interrupted_launch_takes_its_node_along():
    process = start_ros2("launch", "demo", "demo.launch.py")
    for line in process.stdout:
        if "] pid " in line:
            break
    pid = int(line.split()[-1])
    assert is_running(pid)
    output = interrupt(process)
    assert process.returncode == 0
    assert "user interrupted with ctrl-c (SIGINT)" in output
    assert not is_running(pid)


def test_run_becomes_the_executable():
    assert ros2("run", "demo", "exit7").returncode == 7
    missing = ros2("run", "demo", "absent")
    assert (missing.returncode, missing.stderr) == (1, "No executable found\n")
    server = start_ros2("run", "demo", "server", "--ros-args", "-r", "__node:=renamed")
    assert server.stdout.readline() == f"pid {server.pid}\n"
    assert "/renamed" in ros2("node", "list").stdout.split()
    interrupt(server)
    assert server.returncode == 0


def test_packages_and_interfaces(prefix):
    assert "demo" in ros2("pkg", "list").stdout.split()
    assert ros2("pkg", "prefix", "demo").stdout == f"{prefix}\n"
    assert ros2("pkg", "executables", "demo").stdout == "demo exit7\ndemo server\n"
    shown = ros2("interface", "show", "std_msgs/msg/Header", "--no-comments").stdout
    stamp = "builtin_interfaces/Time stamp\n\tint32 sec\n\tuint32 nanosec\n"
    assert shown == f"{stamp}string frame_id\n"
    service = ros2("interface", "show", "std_srvs/srv/SetBool", "--no-comments").stdout
    assert service == "bool data\n---\nbool success\nstring message\n"


def test_names_of_nodes_topics_and_services(robot):
    assert "/robot/server" in ros2("node", "list").stdout.splitlines()
    topics = ros2("topic", "list", "-t").stdout.splitlines()
    assert "/robot/words [std_msgs/msg/String]" in topics
    assert "/rosout [rcl_interfaces/msg/Log]" in topics
    services = ros2("service", "list", "-t").stdout.splitlines()
    assert "/robot/server/switch [std_srvs/srv/SetBool]" in services
    info = ros2("topic", "info", "/robot/words", "-v").stdout
    assert info.startswith("Type: std_msgs/msg/String\n\nPublisher count: 1\n")
    assert "TRANSIENT_LOCAL" in info


def test_service_call_with_yaml(robot):
    result = ros2("service", "call", "/robot/server/switch", "std_srvs/srv/SetBool", "{data: true}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.removeprefix("waiting for service to become available...\n") == (
        "requester: making request: std_srvs.srv.SetBool_Request(data=True)\n\n"
        "response:\nstd_srvs.srv.SetBool_Response(success=True, message='rate 4.0')\n\n"
    )


@pytest.mark.parametrize(
    ("service_type", "values", "message"),
    [
        ("std_srvs/srv/SetBool", "{dat: true}", "has no attribute 'dat', it has: data"),
        ("std_srvs/srv/SetBool", "{data: hello}", "field 'data' of SetBool_Request"),
        ("std_srvs/srv/SetBool", "{data: ", "Failed to populate field"),
        ("std_srvs/srv/Absent", "{}", "type is invalid: 'std_srvs/srv/Absent'"),
        ("absent_msgs/srv/Absent", "{}", "No module named 'absent_msgs'"),
    ],
)
def test_service_call_says_what_is_wrong(service_type, values, message):
    result = ros2("service", "call", "/x", service_type, values)
    assert result.returncode == 1
    assert message in result.stderr


@pytest.mark.slow
def test_echo_hears_a_latched_message_and_shortens_arrays(robot):
    assert ros2("topic", "echo", "--once", "/robot/words").stdout == "data: hello\n---\n"
    field = ros2("topic", "echo", "--once", "--field", "data", "/robot/words")
    assert field.stdout == "hello\n---\n"
    image = ros2("topic", "echo", "--once", "--no-arr", "/robot/image").stdout
    assert yaml.safe_load(image.split("---")[0])["data"] == "<sequence type: uint8, length: 600>"
    image = ros2("topic", "echo", "--once", "/robot/image").stdout
    data = yaml.safe_load(image.split("---")[0])["data"]
    assert data == [0] * 128 + ["..."]
    absent = ros2("topic", "echo", "--once", "--spin-time", "0.3", "/absent")
    assert absent.returncode == 1
    assert "Could not determine the type for the passed topic" in absent.stderr


def test_hz_measures_the_rate(robot):
    process = start_ros2("topic", "hz", "/robot/image")
    lines = [process.stdout.readline() for _ in range(2)]
    interrupt(process)
    rate = float(lines[0].removeprefix("average rate: "))
    assert 15 < rate < 25
    assert lines[1].startswith("\tmin: ")
    assert process.returncode == signal.SIGINT


def test_pub_is_heard():
    echo = start_ros2("topic", "echo", "--once", "/pub_test", "std_msgs/msg/String")
    result = ros2("topic", "pub", "--once", "/pub_test", "std_msgs/msg/String", "{data: hi}")
    assert "publishing #1: std_msgs.msg.String(data='hi')\n\n" in result.stdout
    assert echo.communicate(timeout=10)[0] == "data: hi\n---\n"


@pytest.mark.slow
def test_parameters_are_read_and_changed(robot):
    node = "/robot/server"
    assert ros2("param", "get", node, "rate").stdout == "Double value is: 4.0\n"
    assert ros2("param", "set", node, "rate", "7").stdout == "Set parameter successful\n"
    assert ros2("param", "get", node, "rate", "--hide-type").stdout == "7.0\n"
    assert ros2("param", "set", node, "rate", "4.0").returncode == 0
    wrong = ros2("param", "set", node, "rate", "fast")
    assert (wrong.returncode, "Setting parameter failed" in wrong.stderr) == (1, True)
    assert ros2("param", "get", node, "absent").returncode == 1
    names = ros2("param", "list", node).stdout.split()
    assert {"camera.name", "rate", "sizes", "use_sim_time"} <= set(names)
    dumped = yaml.safe_load(ros2("param", "dump", node).stdout)[node]["ros__parameters"]
    assert dumped["camera"] == {"name": "left"}
    assert dumped["sizes"] == [1, 2]


@pytest.mark.slow
def test_lifecycle_is_read_and_changed(robot):
    node = "/robot/server"
    assert node in ros2("lifecycle", "nodes").stdout.split()
    assert ros2("lifecycle", "get", node).stdout == "unconfigured [1]\n"
    wrong = ros2("lifecycle", "set", node, "activate")
    assert wrong.returncode == 1
    assert "available ones are:\n- configure [1]" in wrong.stderr
    assert ros2("lifecycle", "set", node, "configure").stdout == "Transitioning successful\n"
    assert f"{node}: inactive [2]" in ros2("lifecycle", "get").stdout
    listed = ros2("lifecycle", "list", node).stdout
    assert "- activate [3]\n\tStart: inactive\n\tGoal: activating\n" in listed
    assert ros2("lifecycle", "set", node, "cleanup").returncode == 0


def test_messages_from_and_to_yaml():
    info = get_interface("sensor_msgs/CameraInfo", "msg")()
    assert isinstance(info, CameraInfo)
    values = {
        "header": {"stamp": {"sec": 3}, "frame_id": 5},
        "k": [1, 0, 2, 0, 1, 2, 0, 0, 1],
        "d": [0, 0.5],
        "roi": {"do_rectify": True},
    }
    set_fields(info, values)
    assert (info.header.stamp.sec, info.header.frame_id) == (3, "5")
    assert list(info.d) == [0.0, 0.5]
    assert info.k[2] == 2.0
    plain = to_plain(info, no_arr=True)
    assert plain["k"] == "<array type: double[9]>"
    assert plain["d"] == "<sequence type: double, length: 2>"
    image = Image(data=b"\x01\x02\x03", encoding="rgb8")
    assert to_plain(image, truncate_length=2)["data"] == [1, 2, "..."]
    assert to_yaml(String(data="é: x"), flow_style=True) == "{data: 'é: x'}\n"
    for wrong in ({"height": -1}, {"d": 3}, {"d": ["a"]}, {"header": 4}, {"absent": 1}):
        with pytest.raises(ValueError):
            set_fields(CameraInfo(), wrong)
