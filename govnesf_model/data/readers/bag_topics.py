"""Which topics of a bag hold the images, their cameras and their depth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from govnesf_model.data.posed_scene import SceneError

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
INFO_TYPE = "sensor_msgs/msg/CameraInfo"
TF_TYPE = "tf2_msgs/msg/TFMessage"
_TRANSPORTS = ("compressedDepth", "compressed", "theora", "ffmpeg")
_NOT_COLOR = (
    "infra",
    "/ir",
    "mask",
    "label",
    "segment",
    "disparity",
    "fisheye",
    "debug",
    "overlay",
)


@dataclass(frozen=True)
class Topics:
    """What a scene is read from; `depth` and `depth_info` may be empty."""

    image: str
    info: str
    depth: str = ""
    depth_info: str = ""


def choose_topics(
    counts: Mapping[str, tuple[str, int]], wanted: Mapping[str, object]
) -> tuple[Topics, list[str]]:
    """Choose topics by their types and names.

    Args:
        counts: topic -> (type, number of messages).
        wanted: options image, info, depth and depth_info; empty ones are guessed, depth="none"
            goes without.

    Returns:
        The topics, and sentences on guesses between several.

    Raises:
        SceneError: a named topic is not there, or there are no images or no camera_info.
    """
    notes: list[str] = []
    images = _of_type(counts, IMAGE_TYPES)
    infos = _of_type(counts, (INFO_TYPE,))
    for option in ("image", "info", "depth", "depth_info"):
        name = str(wanted[option])
        if name and name != "none" and name not in counts:
            raise SceneError(f"option {option}={name}: the bag has no such topic ({_list(counts)})")
    image = str(wanted["image"])
    if not image:
        colors = [topic for topic in images if not _is_depth(topic)]
        if not colors:
            raise SceneError(f"the bag has no topic of colour images ({_list(counts)})")
        colors.sort(key=lambda topic: _color_order(topic, counts[topic][1]))
        image = colors[0]
        _note_choice(notes, "image", image, colors)
    info = str(wanted["info"]) or _info_of(image, infos)
    if not info:
        raise SceneError(
            f"no camera_info belongs to {image} ({_list(counts)}): name one by the option info"
        )
    depth = str(wanted["depth"])
    if not depth:
        depths = [topic for topic in images if _is_depth(topic) and topic != image]
        depths.sort(key=lambda topic: _depth_order(topic, image, counts[topic][1]))
        depth = depths[0] if depths else ""
        if depths:
            _note_choice(notes, "depth", depth, depths)
    if depth == "none":
        return Topics(image, info), notes
    depth_info = str(wanted["depth_info"])
    if depth and not depth_info:
        depth_info = _info_of(depth, infos, only_near=True)
    return Topics(image, info, depth, depth_info), notes


def _of_type(counts: Mapping[str, tuple[str, int]], kinds: Sequence[str]) -> list[str]:
    return sorted(topic for topic, (kind, count) in counts.items() if kind in kinds and count)


def _is_depth(topic: str) -> bool:
    return "depth" in topic.lower()


def _color_order(topic: str, count: int) -> tuple:
    name = topic.lower()
    odd = any(word in name for word in _NOT_COLOR)
    colorful = "color" in name or "rgb" in name
    # Rectified images need no straightening; raw ones are exact, compressed ones are not.
    return odd, not colorful, "rect" not in name, name.endswith("/compressed"), -count, topic


def _depth_order(topic: str, image: str, count: int) -> tuple:
    name = topic.lower()
    registered = "aligned" in name or "registered" in name or "to_color" in name
    lossy = name.endswith("/compressed") and "depth" not in name.rsplit("/", 1)[1]
    return not registered, -len(_common(_base(topic), image)), lossy, -count, topic


def _info_of(image: str, infos: Sequence[str], only_near: bool = False) -> str:
    """Return the camera_info beside an image topic, or the only one that there is."""
    place = _base(image).rpartition("/")[0]
    while place:
        if f"{place}/camera_info" in infos:
            return f"{place}/camera_info"
        if only_near:
            return ""
        place = place.rpartition("/")[0]
    colors = [topic for topic in infos if not _is_depth(topic)]
    return colors[0] if len(colors) == 1 and not only_near else ""


def _base(topic: str) -> str:
    """Return an image topic without the transport at its end."""
    head, _, tail = topic.rpartition("/")
    return head if tail in _TRANSPORTS else topic


def _common(a: str, b: str) -> str:
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(min(a, b)))
    return a[:length]


def _note_choice(notes: list[str], option: str, chosen: str, among: Sequence[str]) -> None:
    if len(among) > 1:
        others = ", ".join(topic for topic in among if topic != chosen)
        notes.append(f"{option} topic: {chosen} (guessed; others: {others})")


def _list(counts: Mapping[str, tuple[str, int]]) -> str:
    listed = ", ".join(f"{topic} [{kind}]" for topic, (kind, _) in sorted(counts.items()))
    return f"topics: {listed or 'none'}"
