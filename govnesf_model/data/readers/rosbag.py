"""ROS 2 bags (MCAP or sqlite3) as posed scenes, without ROS.

Every image whose pose the transforms tell is a frame: T_world_camera is the transform from the
image's frame to the map frame at the image's stamp, interpolated. Images are straightened by
their camera_info; depth of another camera is registered to them. The bag is read through once to
find the frames; an image is decoded when it is asked for.
"""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from tqdm import tqdm

from govnesf_model.data.posed_scene import PosedScene, SceneError
from govnesf_model.data.readers.assemble import Gravity, assemble
from govnesf_model.data.readers.bag_images import color_image, depth_image
from govnesf_model.data.readers.bag_reader import Bag
from govnesf_model.data.readers.bag_topics import IMAGE_TYPES, TF_TYPE, Topics, choose_topics
from govnesf_model.data.readers.bag_transforms import TransformTree
from govnesf_model.data.readers.lens import Lens, Resampler

OPTIONS: dict[str, str | int | float] = {
    "image": "",
    "info": "",
    "depth": "",
    "depth_info": "",
    "map_frame": "",
    "camera_frame": "",
    "sync": 0.03,
}
SUFFIXES = (".mcap", ".db3")
FISHEYE_MODELS = ("equidistant", "fisheye")
PINHOLE_MODELS = ("", "none", "plumb_bob", "rational_polynomial", "pinhole", "radtan")


def recognise(path: Path) -> bool:
    """Tell whether a path is a bag or a file of one."""
    if path.is_file():
        return path.suffix in SUFFIXES
    return (path / "metadata.yaml").is_file() or any(
        entry.suffix in SUFFIXES for entry in path.glob("*") if path.is_dir()
    )


def read(root: Path, options: Mapping[str, object]) -> PosedScene:
    """Open a bag.

    Options: image, info, depth (or "none"), depth_info name topics; map_frame and camera_frame name
    frames; sync is how far apart in seconds an image and its depth may be.
    """
    bag = Bag(_bag_path(root))
    with bag.open() as reader:
        counts = {c.topic: (c.msgtype, 0) for c in reader.connections}
        for c in reader.connections:
            counts[c.topic] = (c.msgtype, counts[c.topic][1] + c.msgcount)
        topics, notes = choose_topics(counts, options)
        found = _Index(reader, topics, root)
    if not found.images:
        raise SceneError(f"{topics.image} of {root} has no message")
    if topics.info not in found.infos:
        raise SceneError(f"{topics.info} of {root} has no message")

    frame = str(options["camera_frame"]) or found.image_frame
    if not frame:
        raise SceneError(f"the images of {topics.image} name no frame: give option camera_frame")
    fixed = found.tree.fixed_frame(frame, str(options["map_frame"]))
    stamps = np.array([stamp for stamp, _ in found.images])
    poses, known = found.tree.look_up(fixed, frame, stamps)
    kept = np.flatnonzero(known)
    if len(kept) == 0:
        raise SceneError(
            f"no image of {topics.image} has a pose: the transforms between {fixed} and {frame} "
            "are of other times than the images"
        )
    if len(kept) < len(stamps):
        notes.append(
            f"{len(stamps) - len(kept)} of {len(stamps)} images have no pose (no transform from "
            f"{frame} to {fixed} at their time): skipped"
        )
    notes.append(f"poses: {frame} in {fixed}; images: {topics.image}")

    first = bag.message(topics.image, found.images[kept[0]][1])
    size = color_image(first, topics.image).shape[1::-1]
    lens = _lens(found.infos[topics.info], topics.image, size)
    pinhole = lens.pinhole(options["size"])
    files = _Files(bag, topics, [found.images[i][1] for i in kept], lens, pinhole)
    if topics.depth:
        notes += files.pair_depth(found, stamps[kept], float(options["sync"]), frame)
    return assemble(
        root,
        [f"{number:06d}" for number in range(len(kept))],
        pinhole,
        poses[kept],
        files,
        options,
        Gravity(),  # REP 103: z is up in a map
        has_depth=files.has_depth,
        stamps=(stamps[kept] + found.epoch).tolist(),
        source=f"ROS 2 bag {root.name}",
        notes=notes,
    )


class _Index:
    """What one pass through a bag tells: times of images, cameras and transforms.

    Attributes:
        epoch: seconds; all stamps are float64 seconds after it.
        images, depths: (stamp, time of recording in nanoseconds), sorted by stamp.
        infos: topic -> its first CameraInfo.
        image_frame, depth_frame: frame_id of the images.
        tree: the transforms.
    """

    def __init__(self, reader: object, topics: Topics, root: Path) -> None:
        self.epoch = float(reader.start_time // 10**9)
        self.images: list[tuple[float, int]] = []
        self.depths: list[tuple[float, int]] = []
        self.infos: dict[str, object] = {}
        self.image_frame = self.depth_frame = ""
        self.tree = TransformTree()
        wanted = {topics.image, topics.info, topics.depth, topics.depth_info} - {""}
        used = [c for c in reader.connections if c.topic in wanted or c.msgtype == TF_TYPE]
        total = sum(c.msgcount for c in used)
        messages = tqdm(
            reader.messages(used), f"{root.name}: reading", total, leave=False, unit="message"
        )
        for connection, time, data in messages:
            if connection.topic in self.infos:
                continue
            message = reader.deserialize(data, connection.msgtype)
            if connection.msgtype == TF_TYPE:
                self._add_transforms(message, connection.topic.endswith("tf_static"))
            elif connection.msgtype in IMAGE_TYPES:
                self._add_image(message, time, connection.topic == topics.image)
            else:
                self.infos[connection.topic] = message
        self.images.sort()
        self.depths.sort()

    def _add_image(self, message: object, time: int, color: bool) -> None:
        stamp = self._seconds(message.header.stamp)
        if color:
            self.image_frame = self.image_frame or message.header.frame_id
            self.images.append((stamp, time))
        else:
            self.depth_frame = self.depth_frame or message.header.frame_id
            self.depths.append((stamp, time))

    def _add_transforms(self, message: object, static: bool) -> None:
        for stamped in message.transforms:
            move, turn = stamped.transform.translation, stamped.transform.rotation
            self.tree.add(
                stamped.header.frame_id,
                stamped.child_frame_id,
                self._seconds(stamped.header.stamp),
                np.array([move.x, move.y, move.z, turn.x, turn.y, turn.z, turn.w], np.float64),
                static,
            )

    def _seconds(self, stamp: object) -> float:
        return (stamp.sec - self.epoch) + stamp.nanosec * 1e-9


class _Files:
    def __init__(
        self, bag: Bag, topics: Topics, times: list[int], lens: Lens, target: Lens
    ) -> None:
        self.bag, self.topics, self.times, self.lens = bag, topics, times, lens
        self.views = Resampler(target)
        self.has_depth = False
        self.depth_times: list[int | None] = []
        self.depth_info: object = None
        self.T_color_depth = np.eye(4)

    def pair_depth(self, found: _Index, stamps: np.ndarray, sync: float, frame: str) -> list[str]:
        """Give every image the depth nearest in time; return sentences on what lacks."""
        if not found.depths:
            return []
        notes = []
        times = np.array([stamp for stamp, _ in found.depths])
        nearest = np.abs(times[None] - stamps[:, None]).argmin(axis=1)
        apart = np.abs(times[nearest] - stamps) > sync
        self.depth_times = [
            None if far else found.depths[i][1] for i, far in zip(nearest, apart, strict=True)
        ]
        self.has_depth = not apart.all()
        if apart.any():
            notes.append(
                f"{apart.sum()} of {len(stamps)} images have no depth within {sync:g} s of them"
            )
        self.depth_info = _plain(found.infos.get(self.topics.depth_info))
        other = found.depth_frame.lstrip("/")
        if other and other != frame.lstrip("/"):
            root = found.tree.chain(frame)[-1]
            if root in found.tree.chain(other):
                ends = [found.tree.look_up(root, name, stamps[:1])[0][0] for name in (frame, other)]
                self.T_color_depth = np.linalg.inv(ends[0]) @ ends[1]
                notes.append(f"depth of {other} is registered to {frame}")
            else:
                notes.append(f"depth frame {other} has no transform: taken as registered to colour")
        return notes

    def rgb(self, index: int) -> np.ndarray:
        message = self.bag.message(self.topics.image, self.times[index])
        return self.views.color(color_image(message, self.topics.image), self.lens)

    def depth(self, index: int) -> np.ndarray:
        time = self.depth_times[index]
        if time is None:
            return np.zeros((self.views.target.height, self.views.target.width), np.float32)
        message = self.bag.message(self.topics.depth, time)
        metres = depth_image(message, self.topics.depth)
        size = metres.shape[1::-1]
        if self.depth_info is None:
            lens = self.lens.scaled(size)  # registered: the colour camera's own pixels
        else:
            lens = _lens(self.depth_info, self.topics.depth, size)
        return self.views.register_depth(metres, lens, self.T_color_depth)

    def label(self, index: int) -> None:
        return None


def _plain(info: object | None) -> SimpleNamespace | None:
    """Return what `_lens` reads of a CameraInfo: messages of a bag cannot be pickled."""
    if info is None:
        return None
    names = ("k", "p", "d", "width", "height", "distortion_model")
    return SimpleNamespace(**{name: getattr(info, name) for name in names})


def _lens(info: object, topic: str, size: tuple[int, int]) -> Lens:
    """Return the camera of a CameraInfo for images of a size."""
    rectified = "rect" in topic.lower()
    K = np.array(info.p).reshape(3, 4)[:, :3] if rectified else np.array(info.k).reshape(3, 3)
    if K[0, 0] <= 0 or K[1, 1] <= 0:
        raise SceneError(
            f"the camera_info of {topic} has no focal length: is the camera calibrated?"
        )
    model = info.distortion_model.lower()
    if model not in (*PINHOLE_MODELS, *FISHEYE_MODELS):
        raise SceneError(
            f"the camera_info of {topic} has the distortion model {model!r}: known are "
            f"{', '.join(filter(None, PINHOLE_MODELS + FISHEYE_MODELS))}"
        )
    bend = () if rectified or not np.any(info.d) else tuple(float(value) for value in info.d)
    fisheye = model in FISHEYE_MODELS and bool(bend)
    width, height = info.width or size[0], info.height or size[1]
    lens = Lens(K.astype(np.float64), width, height, bend, fisheye)
    if lens.size == size:
        return lens
    if abs(size[0] * height - size[1] * width) > 0.01 * width * size[1]:
        raise SceneError(
            f"{topic} has images of {size[0]}x{size[1]}, its camera_info is for {width}x{height}"
        )
    return lens.scaled(size)


def _bag_path(root: Path) -> Path:
    """Return what the library opens: the folder with its metadata, or the only file in it."""
    if root.is_file() or (root / "metadata.yaml").is_file():
        return root
    files = sorted(path for path in root.iterdir() if path.suffix in SUFFIXES)
    if len(files) > 1:
        raise SceneError(
            f"{root} holds {len(files)} files of a bag and no metadata.yaml that tells their "
            "order: make one with `ros2 bag reindex`"
        )
    return files[0]
