"""The mapper node alone. Arguments left empty keep the value of the parameter file."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.substitutions import FindPackageShare

# Argument -> what it means; each has the name of the parameter that it sets.
OVERRIDES = {
    "map_frame": "frame of the map; TF must connect it to the camera",
    "image_topic": "colour images",
    "image_transport": "raw or compressed",
    "camera_info_topic": "intrinsics of the colour camera",
    "depth_topic": "depth registered to colour",
    "depth_transport": "raw, compressed or compressedDepth",
    "depth": "auto, required or off",
    "reliable_images": "true or false",
    "device": "auto, cpu or cuda:N",
    "vlm": "open-vocabulary encoder: embedded, open_clip:MODEL/PRETRAINED, lseg:PATH",
    "checkpoint": "field: a shipped name or a path",
}


def generate_launch_description() -> LaunchDescription:
    default_file = PathJoinSubstitution([FindPackageShare("govnesf_ros"), "config", "mapper.yaml"])
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "params_file", default_value=default_file, description="parameters of the mapper"
            ),
            DeclareLaunchArgument("namespace", default_value="", description="of the node"),
            DeclareLaunchArgument(
                "use_sim_time", default_value="false", description="take the time from /clock"
            ),
            DeclareLaunchArgument("log_level", default_value="info", description="of the node"),
            DeclareLaunchArgument(
                "respawn",
                default_value="false",
                description="start the mapper again when it ends; its map is lost",
            ),
            *[
                DeclareLaunchArgument(name, default_value="", description=f"{text}; empty: file")
                for name, text in OVERRIDES.items()
            ],
            OpaqueFunction(function=_mapper),
        ]
    )


def _mapper(context: LaunchContext) -> list[LifecycleNode]:
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    overrides = {name: value(name) for name in OVERRIDES if value(name)}
    if "reliable_images" in overrides:
        overrides["reliable_images"] = overrides["reliable_images"] == "true"
    again = value("respawn") == "true"
    # Without its mapper the rest is of no use, and nobody would notice.
    end = {} if again else {"on_exit": Shutdown(reason="the mapper has ended")}
    return [
        LifecycleNode(
            package="govnesf_ros",
            executable="mapper_node",
            name="govnesf",
            namespace=value("namespace"),
            parameters=[
                value("params_file"),
                {"use_sim_time": value("use_sim_time") == "true", **overrides},
            ],
            ros_arguments=["--log-level", value("log_level")],
            output="screen",
            respawn=again,
            respawn_delay=2.0,
            **end,
        )
    ]
