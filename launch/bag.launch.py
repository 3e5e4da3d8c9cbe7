"""Play a rosbag2 once the mapper listens, so that nothing of a short bag is lost."""

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.event_handlers import OnStateTransition


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="folder of the bag"),
            DeclareLaunchArgument("speed", default_value="1.0", description="1.0: as recorded"),
            DeclareLaunchArgument("loop", default_value="false", description="again at the end"),
            DeclareLaunchArgument("clock", default_value="false", description="publish /clock"),
            OpaqueFunction(function=_play),
        ]
    )


def _play(context: LaunchContext) -> list[RegisterEventHandler]:
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    command = ["ros2", "bag", "play", value("bag"), "--rate", value("speed")]
    # DDS can take seconds to match a new publisher: what is sent before that reaches nobody.
    command += ["--delay", "3.0"]
    command += ["--loop"] if value("loop") == "true" else []
    command += ["--clock"] if value("clock") == "true" else []
    play = ExecuteProcess(cmd=command, name="bag", output="screen")
    return [
        RegisterEventHandler(
            OnStateTransition(goal_state="active", entities=[play], handle_once=True)
        )
    ]
