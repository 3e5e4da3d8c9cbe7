"""A posed folder as a live camera."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument("scene", default_value="demo", description="posed folder, or demo"),
        DeclareLaunchArgument("rate", default_value="5.0", description="images a second"),
        DeclareLaunchArgument("loop", default_value="true", description="start again at the end"),
        DeclareLaunchArgument("clock", default_value="false", description="publish /clock"),
        DeclareLaunchArgument(
            "image_transport", default_value="raw", description="raw or compressed"
        ),
        DeclareLaunchArgument("namespace", default_value="", description="of the node"),
        DeclareLaunchArgument("log_level", default_value="info", description="of the node"),
    ]
    player = Node(
        package="govnesf_ros",
        executable="player_node",
        name="player",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            {
                "scene": ParameterValue(LaunchConfiguration("scene"), value_type=str),
                "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
                "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
                "clock": ParameterValue(LaunchConfiguration("clock"), value_type=bool),
                "image_transport": LaunchConfiguration("image_transport"),
            }
        ],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
    return LaunchDescription([*arguments, player])
