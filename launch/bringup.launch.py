"""Everything: a camera (or what stands for one), the mapper; the web page and RViz if wanted.

ros2 launch govnesf_ros bringup.launch.py source:=live image_topic:=/camera/color/image_raw
ros2 launch govnesf_ros bringup.launch.py source:=demo
ros2 launch govnesf_ros bringup.launch.py source:=folder:/data/kitchen rate:=2.0
ros2 launch govnesf_ros bringup.launch.py source:=bag:/data/run_07 use_sim_time:=true
"""

import os
from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("govnesf_ros")
DEFAULT_IMAGE = "camera/color/image_raw"
DEFAULT_DEPTH = "camera/depth/image_raw"

# Passed on to mapper.launch.py as they are; empty keeps the value of the parameter file.
MAPPER_ARGUMENTS = {
    "map_frame": "frame of the map; TF must connect it to the camera",
    "image_topic": "colour images",
    "image_transport": "raw or compressed; empty for a bag: as recorded",
    "camera_info_topic": "intrinsics of the colour camera",
    "depth_topic": "depth registered to colour",
    "depth_transport": "raw, compressed or compressedDepth; empty for a bag: as recorded",
    "depth": "auto, required or off",
    "reliable_images": "true or false; empty: true for all but a live camera",
    "device": "auto, cpu or cuda:N",
    "vlm": "open-vocabulary encoder: embedded, open_clip:MODEL/PRETRAINED, lseg:PATH",
    "checkpoint": "field: a shipped name or a path",
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "source", default_value="live", description="live, demo, folder:PATH or bag:PATH"
            ),
            *[
                DeclareLaunchArgument(name, default_value="", description=text)
                for name, text in MAPPER_ARGUMENTS.items()
            ],
            DeclareLaunchArgument(
                "params_file",
                default_value=PathJoinSubstitution([SHARE, "config", "mapper.yaml"]),
                description="parameters of the mapper",
            ),
            DeclareLaunchArgument("namespace", default_value="", description="of all nodes"),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="false",
                description="take the time from /clock; demo, folder and bag then publish it",
            ),
            DeclareLaunchArgument(
                "rate",
                default_value="",
                description="demo, folder: images a second (5.0); bag: speed (1.0)",
            ),
            DeclareLaunchArgument(
                "loop", default_value="", description="start again; empty: only demo does"
            ),
            DeclareLaunchArgument(
                "viewer", default_value="false", description="serve the web page"
            ),
            DeclareLaunchArgument(
                "viewer_port", default_value="", description="of the page (8080)"
            ),
            DeclareLaunchArgument("rviz", default_value="false", description="start RViz"),
            DeclareLaunchArgument("log_level", default_value="info", description="of the nodes"),
            DeclareLaunchArgument(
                "respawn", default_value="false", description="start the mapper again when it ends"
            ),
            *_large_messages(),
            OpaqueFunction(function=_nodes),
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", PathJoinSubstitution([SHARE, "rviz", "govnesf.rviz"])],
                condition=IfCondition(LaunchConfiguration("rviz")),
                output="log",
            ),
        ]
    )


def _large_messages() -> list[SetEnvironmentVariable]:
    """Give Fast DDS shared memory that images and clouds fit into, unless the user chose."""
    profile = PathJoinSubstitution([SHARE, "config", "fastdds_shm.xml"])
    names = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    if any(name in os.environ for name in names):
        return []
    return [SetEnvironmentVariable(name, profile) for name in names]


def _nodes(context: LaunchContext) -> list[IncludeLaunchDescription]:
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    kind, _, path = value("source").partition(":")
    if kind not in ("live", "demo", "folder", "bag") or (kind in ("folder", "bag")) != bool(path):
        raise ValueError(
            f"source:={value('source')} is not understood: use live, demo, folder:PATH or bag:PATH"
        )
    if path and not Path(path).exists():
        raise FileNotFoundError(f"source:={value('source')}: there is no {Path(path).resolve()}")
    mapper = {name: value(name) for name in MAPPER_ARGUMENTS}
    common = {"namespace": value("namespace"), "log_level": value("log_level")}
    included = []
    if kind != "live":
        # A recording has no second chance: none of its few images may be lost on the way.
        mapper["reliable_images"] = mapper["reliable_images"] or "true"
    if kind == "bag":
        for name, text in _transports(Path(path), mapper).items():
            mapper[name] = mapper[name] or text
        arguments = {
            "bag": path,
            "speed": value("rate") or "1.0",
            "loop": value("loop") or "false",
            "clock": value("use_sim_time"),
        }
        included.append(_include("bag.launch.py", arguments))
    elif kind != "live":
        arguments = {
            "scene": path or "demo",
            "rate": _decimal(value("rate") or "5.0"),
            "loop": value("loop") or str(kind == "demo").lower(),
            "clock": value("use_sim_time"),
            "image_transport": mapper["image_transport"] or "raw",
            **common,
        }
        mapper["depth_transport"] = mapper["depth_transport"] or mapper["image_transport"]
        included.append(_include("player.launch.py", arguments))
    if value("viewer") == "true":
        arguments = {
            "port": value("viewer_port"),
            "image_topic": mapper["image_topic"],
            "image_transport": mapper["image_transport"],
            **common,
        }
        included.append(_include("viewer.launch.py", arguments))
    rest = {name: value(name) for name in ("params_file", "use_sim_time", "respawn")}
    return [_include("mapper.launch.py", {**mapper, **common, **rest}), *included]


def _include(name: str, arguments: dict[str, str]) -> IncludeLaunchDescription:
    source = PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", name]))
    return IncludeLaunchDescription(source, launch_arguments=arguments.items())


def _transports(bag: Path, mapper: dict[str, str]) -> dict[str, str]:
    """Return the transports of images and depth that a bag holds, where its metadata says so."""
    metadata = (bag if bag.is_dir() else bag.parent) / "metadata.yaml"
    if not metadata.exists():
        return {}
    content = yaml.safe_load(metadata.read_text())["rosbag2_bagfile_information"]
    recorded = {entry["topic_metadata"]["name"] for entry in content["topics_with_message_count"]}
    found = {}
    for name, default in (("image", DEFAULT_IMAGE), ("depth", DEFAULT_DEPTH)):
        topic = "/" + (mapper[f"{name}_topic"] or default).lstrip("/")
        suffixes = {"": "raw", "/compressed": "compressed", "/compressedDepth": "compressedDepth"}
        for suffix, transport in suffixes.items():
            if topic + suffix in recorded:
                found[f"{name}_transport"] = transport
                break
    return found


def _decimal(number: str) -> str:
    """Return a number with a decimal point: ROS does not take 5 for the double 5.0."""
    return str(float(number))
