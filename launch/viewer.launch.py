"""The web page on a mapper. Arguments left empty keep the default of the parameter."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

# Argument -> what it means; each has the name of the parameter that it sets.
OVERRIDES = {
    "mapper": "node name of the mapper, relative to the namespace or absolute",
    "host": "address to serve at",
    "port": "of the page; the next free one when it is taken",
    "image_topic": "live images for the page",
    "image_transport": "raw or compressed",
    "max_points": "points that a browser draws",
}
NUMBERS = {"port", "max_points"}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *[
                DeclareLaunchArgument(name, default_value="", description=f"{text}; empty: default")
                for name, text in OVERRIDES.items()
            ],
            DeclareLaunchArgument("namespace", default_value="", description="of the node"),
            DeclareLaunchArgument("log_level", default_value="info", description="of the node"),
            OpaqueFunction(function=_viewer),
        ]
    )


def _viewer(context: LaunchContext) -> list[Node]:
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    given: dict[str, str | int] = {name: value(name) for name in OVERRIDES if value(name)}
    for name in given.keys() & NUMBERS:
        if not str(given[name]).isdecimal():
            raise ValueError(f"{name}:={given[name]} is not understood: expected a whole number")
        given[name] = int(given[name])
    return [
        Node(
            package="govnesf_ros",
            executable="viewer_node",
            name="viewer",
            namespace=value("namespace"),
            parameters=[given],
            ros_arguments=["--log-level", value("log_level")],
            output="screen",
        )
    ]
