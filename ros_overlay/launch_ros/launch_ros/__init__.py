"""Launch ROS nodes: executables of packages with names, namespaces, parameters and remappings.

    from launch import LaunchDescription
    from launch_ros.actions import Node

    def generate_launch_description():
        return LaunchDescription([
            Node(package="demo", executable="talker", name="a", parameters=[{"rate": 2.0}]),
        ])

Names and behaviour are those of the `launch_ros` package of ROS 2; the README of ros_overlay says
which part of it is here.
"""

from launch_ros import (
    actions,
    descriptions,
    event_handlers,
    events,
    parameter_descriptions,
    substitutions,
)

__all__ = [
    "actions",
    "descriptions",
    "event_handlers",
    "events",
    "parameter_descriptions",
    "substitutions",
]
