"""Every ROS parameter, declared once: name, default, description, range and when it applies.

A field of a settings class is a parameter of the same name. `applies` says when a change counts:
"live" at once, "configure" at the next configure transition and refused once the node is
configured, "start" never (read-only). How they get onto a node is in `parameter_values`.
"""

from dataclasses import dataclass, field
from typing import Any

from govnesf_ros import topics

INDOOR_VOCABULARY = (
    "floor",
    "wall",
    "ceiling",
    "window",
    "door",
    "table",
    "chair",
    "sofa",
    "bed",
    "cabinet",
    "shelf",
    "lamp",
    "plant",
    "book",
    "mug",
    "bottle",
    "screen",
    "keyboard",
    "sink",
    "carpet",
)


def setting(
    default: Any,
    description: str,
    *,
    limits: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    applies: str = "configure",
) -> Any:
    """Return the dataclass field of one parameter."""
    metadata = {
        "description": description,
        "limits": limits,
        "choices": choices,
        "applies": applies,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class MapperSettings:
    """Parameters of the mapper node."""

    autostart: bool = setting(
        True, "Configure and activate without being asked by a lifecycle manager.", applies="start"
    )
    map_frame: str = setting(
        "map", "The frame of the map; TF must connect it to the camera. 'odom' without SLAM."
    )

    cameras: tuple[str, ...] = setting(
        (),
        "Namespaces of several cameras, each put before the (relative) topics below; empty: one "
        "camera, with the topics as they are.",
    )
    image_topic: str = setting(topics.IMAGE, "Colour images, without the transport's suffix.")
    image_transport: str = setting(
        "raw", "How colour images are sent.", choices=("raw", "compressed")
    )
    undistort: str = setting(
        "auto",
        "Whether images are straightened by the distortion of camera_info: auto, unless the last "
        "part of image_topic has 'rect' in it, which image_proc has straightened already; on; "
        "off, the distortion is ignored.",
        choices=("auto", "on", "off"),
    )
    camera_info_topic: str = setting(topics.CAMERA_INFO, "Intrinsics of the colour camera.")
    depth_topic: str = setting(
        topics.DEPTH, "Depth registered to the colour image, without the transport's suffix."
    )
    depth_transport: str = setting(
        "raw", "How depth is sent.", choices=("raw", "compressed", "compressedDepth")
    )
    depth: str = setting(
        "auto",
        "Whether depth is used: auto takes it when somebody publishes it, required drops images "
        "without it, off never subscribes.",
        choices=("auto", "required", "off"),
    )
    reliable_images: bool = setting(
        False, "Subscribe to images reliably instead of with the sensor-data profile."
    )

    tf_timeout: float = setting(
        1.0,
        "How long an image waits for its transform, camera_info and depth [s].",
        limits=(0.0, 60.0),
    )
    tf_cache: float = setting(30.0, "How much TF history is kept [s].", limits=(1.0, 3600.0))
    depth_slop: float = setting(
        0.02, "Largest difference between the stamps of an image and its depth [s].", limits=(0, 1)
    )
    corrected_poses_frame: str = setting(
        "",
        "The frame whose poses ~/corrected_poses has, e.g. base_link; TF must connect it to the "
        "camera. Empty: the optical frame of the camera.",
        applies="live",
    )
    corrected_poses_slop: float = setting(
        0.1,
        "How far a pose of ~/corrected_poses may be from a keyframe's stamp; between two such "
        "poses it is interpolated [s].",
        limits=(0.0, 10.0),
        applies="live",
    )
    queue_size: int = setting(
        30, "Images that may wait at once; beyond it the oldest is dropped.", limits=(1, 1000)
    )

    device: str = setting("auto", "Where the network runs: auto, cpu, cuda or cuda:N.")
    torch_threads: int = setting(
        0, "CPU threads of the network; 0 leaves the choice to torch.", limits=(0, 256)
    )
    checkpoint: str = setting("small", "The field: a shipped name or the path of a checkpoint.")
    vlm: str = setting(
        "embedded",
        "The open-vocabulary encoder: embedded, embedded:PATH, open_clip:MODEL/PRETRAINED or "
        "lseg:PATH, with options as in open_clip:ViT-B-16/laion2b_s34b_b88k?resize=448&stride=8; "
        "docs/encoders.md compares them.",
    )

    max_keyframes: int = setting(64, "Keyframes held in the map.", limits=(2, 4096))
    min_translation: float = setting(
        0.10, "Movement that makes a new keyframe [m].", limits=(0.0, 10.0)
    )
    min_rotation: float = setting(
        10.0, "Rotation that makes a new keyframe [deg].", limits=(0.0, 180.0)
    )
    min_interval: float = setting(
        0.1, "Least time between two keyframes [s].", limits=(0.0, 3600.0)
    )
    image_width: int = setting(
        320,
        "Images are resized to this width before anything looks at them [px].",
        limits=(64, 4096),
    )
    voxel_size: float = setting(0.03, "Resolution of the surface points [m].", limits=(0.005, 1.0))
    max_depth: float = setting(
        5.0, "Points farther from the camera are left out [m].", limits=(0.3, 100.0)
    )
    memory_mib: int = setting(2048, "Bound on the map's memory [MiB].", limits=(64, 1048576))

    vocabulary: tuple[str, ...] = setting(
        INDOOR_VOCABULARY, "Words that ~/semantic_cloud is labelled with, at most 254."
    )
    contrast: tuple[str, ...] = setting(
        (), "Words for everything else in queries, beside the encoder's own list.", applies="live"
    )
    min_score: float = setting(
        0.0,
        "Probability from which on a query finds something; 0: the encoder's default.",
        limits=(0.0, 1.0),
        applies="live",
    )
    label_score: float = setting(
        0.0,
        "Probability from which on a point of ~/semantic_cloud has a label; 0: the encoder's "
        "default.",
        limits=(0.0, 1.0),
        applies="live",
    )
    overlay_rate: float = setting(
        5.0,
        "Live images a second that ~/query/overlay shows what was found in, while somebody listens "
        "and a query is active; 0: keyframes alone [Hz].",
        limits=(0.0, 60.0),
        applies="live",
    )
    max_instances: int = setting(
        10, "Boxes per text when a query does not say.", limits=(1, 1000), applies="live"
    )

    maps_dir: str = setting(
        "~/.ros/govnesf_maps",
        "Where ~/save_map and ~/load_map keep maps, one folder each.",
        applies="start",
    )
    maps_anywhere: bool = setting(
        False,
        "Let ~/save_map and ~/load_map name any folder of this machine, absolute or with '..': "
        "whoever is on the ROS graph may then write wherever the node may.",
        applies="start",
    )
    max_cloud_points: int = setting(
        1_000_000,
        "Points that ~/segment_cloud takes at once: what is held for them grows with the number "
        "of keyframes.",
        limits=(1, 100_000_000),
        applies="live",
    )
    max_render_pixels: int = setting(
        307_200,
        "Pixels that ~/render_view renders at most: each is a ray through the field.",
        limits=(1, 64_000_000),
        applies="live",
    )
    lookup_timeout: float = setting(
        60.0,
        "How long ~/segment_cloud and ~/render_view may work on a request [s].",
        limits=(0.1, 3600.0),
        applies="live",
    )


@dataclass(frozen=True)
class PlayerSettings:
    """Parameters of the player node."""

    scene: str = setting("demo", "A posed folder, or demo for the scene shipped with the package.")
    rate: float = setting(5.0, "Images a second [Hz].", limits=(0.01, 1000.0))
    loop: bool = setting(False, "Start again after the last image.")
    start_delay: float = setting(0.0, "Time before the first image [s].", limits=(0.0, 3600.0))
    wait_for_subscriber: bool = setting(
        True, "Hold the first image until somebody subscribes to the images."
    )
    image_transport: str = setting(
        "raw", "How colour images and depth are sent.", choices=("raw", "compressed")
    )
    depth: bool = setting(True, "Publish depth when the scene has it.")
    map_frame: str = setting("map", "The frame that the poses are given in.")
    image_topic: str = setting(topics.IMAGE, "Colour images, without the transport's suffix.")
    camera_info_topic: str = setting(topics.CAMERA_INFO, "Intrinsics.")
    depth_topic: str = setting(topics.DEPTH, "Depth, without the transport's suffix.")
    clock: bool = setting(False, "Publish /clock and stamp by it, for nodes with use_sim_time.")
    jitter: float = setting(
        0.0, "Standard deviation of the sending time, stamps unchanged [s].", limits=(0.0, 10.0)
    )
    drop_tf: float = setting(
        0.0, "Probability that the transform of an image is never sent.", limits=(0.0, 1.0)
    )
    tf_delay: float = setting(
        0.0, "How much later than its image a transform is sent [s].", limits=(0.0, 60.0)
    )
    seed: int = setting(0, "Seed of jitter and drop_tf.")


@dataclass(frozen=True)
class ViewerSettings:
    """Parameters of the viewer node."""

    mapper: str = setting(
        topics.NODE, "The mapper to show: a node name, relative or absolute.", applies="start"
    )
    host: str = setting(
        "127.0.0.1",
        "Address to serve the page at; 0.0.0.0 lets everybody on the network see and command the "
        "mapper.",
        applies="start",
    )
    port: int = setting(
        8080, "Port of the page; the next free one when it is taken, 0 for any.",
        limits=(0, 65535), applies="start",
    )  # fmt: skip
    allowed_hosts: tuple[str, ...] = setting(
        (),
        "Names by which browsers may call the page, beside IP addresses, localhost and this "
        "machine's name.",
        applies="start",
    )
    max_points: int = setting(
        300_000, "Points that a browser draws; a larger map is thinned with distance.",
        limits=(1000, 20_000_000), applies="start",
    )  # fmt: skip
    image_topic: str = setting(
        topics.IMAGE, "Live images for the page, without the transport's suffix.", applies="start"
    )
    image_transport: str = setting(
        "raw", "How they are sent.", choices=("raw", "compressed"), applies="start"
    )
