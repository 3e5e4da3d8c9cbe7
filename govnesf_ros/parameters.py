"""Every ROS parameter, declared once: name, default, description, range and when it applies.

    settings = declare(node, MapperSettings)     # a frozen dataclass with the values in force
    python -m govnesf_ros.parameters > docs/parameters.md

A field of a settings class is a parameter of the same name. `applies` says when a change counts:
"live" at once, "configure" at the next configure transition, "start" never (read-only).
"""

import math
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, TypeVar

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

T = TypeVar("T")


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

    image_topic: str = setting(topics.IMAGE, "Colour images, without the transport's suffix.")
    image_transport: str = setting(
        "raw", "How colour images are sent.", choices=("raw", "compressed")
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
    max_instances: int = setting(
        10, "Boxes per text when a query does not say.", limits=(1, 1000), applies="live"
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


class ParameterProblem(ValueError):
    """A parameter value that cannot be used; the message is a sentence for the user."""


def declare(node: Any, settings: type[T]) -> T:
    """Declare all parameters of a settings class on a node and return their values.

    Raises:
        ParameterProblem: a value given at start has the wrong type, range or choice.
    """
    from rcl_interfaces.msg import ParameterDescriptor
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    for item in fields(settings):
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        descriptor = ParameterDescriptor(
            description=item.metadata["description"],
            additional_constraints=_constraints(item),
            read_only=item.metadata["applies"] == "start",
        )
        # A string array may be empty, which rclpy cannot tell from an empty array of bytes.
        descriptor.dynamic_typing = isinstance(item.default, tuple)
        _set_range(descriptor, item)
        try:
            node.declare_parameter(item.name, default, descriptor)
        except InvalidParameterTypeException as error:
            raise ParameterProblem(
                f"parameter '{item.name}' is given the wrong type ({error}): expected "
                f"{_kind(item)}, e.g. {item.name}: {_literal(item.default)}"
            ) from error
        except InvalidParameterValueException as error:
            raise ParameterProblem(f"parameter '{item.name}' cannot be used: {error}") from error
    values = {item.name: node.get_parameter(item.name).value for item in fields(settings)}
    for name, value in values.items():
        if problem := problem_with(settings, name, value):
            raise ParameterProblem(problem)
    return read(node, settings)


def read(node: Any, settings: type[T]) -> T:
    """Return the values in force of declared parameters."""
    names = [item.name for item in fields(settings)]
    return settings(**{name: _frozen(node.get_parameter(name).value) for name in names})


def with_live_values(settings: T, parameters: Iterable[Any]) -> T:
    """Return settings with the values of those parameters that apply at once."""
    live = {item.name for item in fields(settings) if item.metadata["applies"] == "live"}
    changed = {
        parameter.name: _frozen(parameter.value)
        for parameter in parameters
        if parameter.name in live
    }
    return replace(settings, **changed)


def problem_with(settings: type, name: str, value: Any) -> str:
    """Return why a value cannot be taken, as a sentence, or an empty string.

    Names that are not in the settings (use_sim_time and others of ROS) have no problem.
    """
    item = next((item for item in fields(settings) if item.name == name), None)
    if item is None:
        return ""
    choices = item.metadata["choices"]
    if choices and value not in choices:
        return f"parameter '{name}' is '{value}', expected one of: {', '.join(choices)}"
    is_list = value is None or (
        not isinstance(value, str | bytes | bool | int | float)
        and all(isinstance(text, str) for text in value)
    )
    if isinstance(item.default, tuple) and not is_list:
        return f"parameter '{name}' is {value!r}, expected a list of strings"
    if isinstance(value, float) and not math.isfinite(value):
        return f"parameter '{name}' is {value}, expected a finite number"
    return ""


def document() -> str:
    """Return docs/parameters.md."""
    parts = [
        "# Parameters",
        "",
        "Generated by `python -m govnesf_ros.parameters`; edit `govnesf_ros/parameters.py`.",
        "A change applies *live* at once, with *configure* at the node's next configure "
        "transition, with *start* only when the node starts (read-only).",
    ]
    for settings in (MapperSettings, PlayerSettings):
        parts += ["", f"## {settings.__doc__.rstrip('.')}", ""]
        parts += ["| name | default | range | applies | meaning |", "|---|---|---|---|---|"]
        for item in fields(settings):
            cells = [
                f"`{item.name}`",
                f"`{_literal(item.default)}`",
                _constraints(item) or "-",
                item.metadata["applies"],
                item.metadata["description"],
            ]
            parts.append("| " + " | ".join(cells) + " |")
    return "\n".join(parts) + "\n"


def _frozen(value: Any) -> Any:
    # No parameter here may be unset: None is how rclpy gives an empty list.
    return () if value is None else tuple(value) if isinstance(value, list) else value


def _constraints(item: Any) -> str:
    if item.metadata["choices"]:
        return "one of: " + ", ".join(item.metadata["choices"])
    limits = item.metadata["limits"]
    return f"{limits[0]:g} to {limits[1]:g}" if limits else ""


def _set_range(descriptor: Any, item: Any) -> None:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange

    limits = item.metadata["limits"]
    if limits is None:
        return
    low, high = limits
    if isinstance(item.default, int):
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=0)]
    else:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
        ]


def _kind(item: Any) -> str:
    kinds = {bool: "true or false", int: "an integer", float: "a number with a decimal point"}
    return kinds.get(type(item.default), "text")


def _literal(default: Any) -> str:
    if default is MISSING:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return "[" + ", ".join(default) + "]"
    return str(default)


if __name__ == "__main__":
    print(document(), end="")
