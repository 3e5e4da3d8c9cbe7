"""What can happen to ROS nodes during a launch."""

from launch_ros.events import lifecycle, matchers

__all__ = ["lifecycle", "matchers"]
