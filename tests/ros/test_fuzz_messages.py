"""Any message into every conversion: an array that fits, or a refusal with a reason."""

import struct

import cv2
import numpy as np
from fuzz import TEXTS, fuzz, messages, mutated
from geometry_msgs.msg import Transform
from hypothesis import strategies as st
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField

from govnesf_ros.calibration import MODELS, Straightener, to_intrinsics
from govnesf_ros.clouds import cloud_xyz, with_columns
from govnesf_ros.conversions import BadInput, to_matrix, to_quaternion
from govnesf_ros.frame_buffer import BufferConfig, FrameBuffer, TransformUnavailable
from govnesf_ros.images import _COLOUR, _DEPTH, to_metres, to_rgb
from govnesf_ros.ledger import FrameLedger
from govnesf_ros.parameter_values import problem_with
from govnesf_ros.parameters import MapperSettings, PlayerSettings

REASONS = {"bad_encoding", "bad_data", "bad_camera_info", "bad_transform", "bad_cloud", "too_large"}
SIZES = st.one_of(st.integers(0, 12), st.sampled_from([2**16, 2**31, 2**32 - 1]))
ENCODINGS = st.one_of(st.sampled_from([*_COLOUR, *_DEPTH]), TEXTS)
IMAGES = messages(
    Image,
    width=SIZES,
    height=SIZES,
    encoding=ENCODINGS,
    step=st.one_of(st.integers(0, 60), st.integers(0, 2**32 - 1)),
    data=st.one_of(st.binary(max_size=200), st.just(bytes(12 * 96))),
)
PICTURE = np.random.default_rng(0).integers(0, 255, (9, 11, 3), np.uint8)
FILES = [
    cv2.imencode(".jpg", PICTURE)[1].tobytes(),
    cv2.imencode(".png", PICTURE)[1].tobytes(),
    cv2.imencode(".png", PICTURE[..., 0].astype(np.uint16) * 200)[1].tobytes(),
    cv2.imencode(".jpg", PICTURE[..., 0])[1].tobytes(),
]
FORMATS = [
    "jpeg",
    "png",
    "rgb8; jpeg compressed bgr8",
    "bgr8; png compressed rgb8",
    "bayer_grbg8; png compressed ",
    "bayer_x; jpeg",
    "16UC1; png compressed ",
    "16UC1; compressedDepth png",
    "16UC1; compressedDepth",
    "32FC1; compressedDepth png",
]
COMPRESSED = st.builds(
    lambda data, kind: CompressedImage(data=data, format=kind),
    st.one_of(
        st.binary(max_size=64),
        *map(mutated, FILES),
        mutated(struct.pack("<iff", 0, 10100.0, -95.0) + FILES[2]),
    ),
    st.one_of(
        TEXTS,
        st.sampled_from(FORMATS),
    ),
)
USUAL = st.floats(-2, 2, width=32)
CAMERA_INFOS = messages(
    CameraInfo,
    width=st.one_of(st.integers(1, 40), SIZES),
    height=st.one_of(st.integers(1, 40), SIZES),
    distortion_model=st.one_of(st.sampled_from([*MODELS]), TEXTS),
    d=st.one_of(st.lists(USUAL, max_size=14), st.lists(st.floats(), max_size=16)),
    k=st.one_of(
        st.tuples(st.floats(1, 100), st.floats(0, 20)).map(
            lambda fc: [fc[0], 0.0, fc[1], 0.0, fc[0], fc[1], 0.0, 0.0, 1.0]
        ),
        st.lists(st.floats(), min_size=9, max_size=9),
    ),
    binning_x=st.integers(0, 3),
    binning_y=st.integers(0, 3),
)
FIELDS = messages(
    PointField,
    name=st.one_of(st.sampled_from("xyz"), TEXTS),
    offset=st.one_of(st.sampled_from([0, 4, 8]), st.integers(0, 2**32 - 1)),
    datatype=st.integers(0, 9),
    count=st.integers(0, 3),
)
XYZ = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate("xyz")]
CLOUDS = messages(
    PointCloud2,
    width=SIZES,
    height=SIZES,
    fields=st.one_of(st.just(XYZ), st.lists(FIELDS, max_size=6)),
    point_step=st.one_of(st.integers(0, 32), st.integers(0, 2**32 - 1)),
    row_step=st.one_of(st.just(0), st.integers(0, 300), st.integers(0, 2**32 - 1)),
    data=st.one_of(st.binary(max_size=300), st.just(bytes(4000))),
)


def refused(error: BadInput) -> None:
    assert error.reason in REASONS
    assert len(str(error)) > 20


@fuzz(st.one_of(IMAGES, COMPRESSED), fast=200, slow=5000)
def test_colour(message) -> None:
    try:
        rgb = to_rgb(message)
    except BadInput as error:
        refused(error)
        return
    assert rgb.dtype == np.uint8
    assert rgb.ndim == 3
    assert rgb.shape[2] == 3
    assert rgb.flags.writeable
    if isinstance(message, Image):
        assert rgb.shape[:2] == (message.height, message.width)


@fuzz(st.one_of(IMAGES, COMPRESSED), fast=200, slow=5000)
def test_depth(message) -> None:
    try:
        depth = to_metres(message)
    except BadInput as error:
        refused(error)
        return
    assert depth.dtype == np.float32
    assert depth.ndim == 2
    assert np.isfinite(depth).all()
    assert (depth >= 0).all()


@fuzz(CAMERA_INFOS, st.booleans(), st.booleans(), fast=200, slow=4000)
def test_calibration(message, rectified, distorted) -> None:
    try:
        info = to_intrinsics(message, rectified, distorted)
        assert np.isfinite(info.K).all()
        assert min(info.K[0, 0], info.K[1, 1], info.width, info.height) > 0
        if info.width * info.height > 40 * 40:
            return
        rgb = np.full((info.height, info.width, 3), 100, np.uint8)
        straight = Straightener()(rgb, np.ones(rgb.shape[:2], np.float32), info)
    except BadInput as error:
        refused(error)
        return
    assert straight.rgb.shape == rgb.shape
    assert (straight.rgb == 100).all()  # nothing that the lens did not see
    assert (straight.depth == 1).all()
    assert np.isfinite(straight.K).all()


@fuzz(messages(Transform), fast=100, slow=2000)
def test_transforms(message) -> None:
    try:
        T = to_matrix(message)
    except BadInput as error:
        refused(error)
        return
    assert np.isfinite(T).all()
    assert np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-6)
    assert np.linalg.norm(to_quaternion(T[:3, :3])) > 0.99


@fuzz(CLOUDS, fast=200, slow=4000)
def test_clouds(message) -> None:
    try:
        xyz = cloud_xyz(message, 1000)
    except BadInput as error:
        refused(error)
        return
    assert xyz.shape == (message.width * message.height, 3)
    assert xyz.dtype == np.float32
    answer = with_columns(message, label=np.zeros(len(xyz), np.uint32))
    assert np.array_equal(cloud_xyz(answer, 1000), xyz, equal_nan=True)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), TEXTS,
    st.lists(TEXTS, max_size=3), st.lists(st.integers(0, 9), max_size=3),
)  # fmt: skip
NAMES = [*MapperSettings.__dataclass_fields__, *PlayerSettings.__dataclass_fields__, "unknown"]


@fuzz(st.sampled_from(NAMES), VALUES, fast=200, slow=2000)
def test_parameters(name, value) -> None:
    value = Parameter(name, value=value).value
    for settings in (MapperSettings, PlayerSettings):
        problem = problem_with(settings, name, value)
        assert problem == "" or f"'{name}'" in problem


class Times:
    """A clock that a case moves, and transforms that it may know."""

    def __init__(self) -> None:
        self.at, self.known = 100.0, True

    def now(self) -> float:
        return self.at

    steady = now

    def try_lookup(self, frame_id: str, stamp: int) -> np.ndarray | None:
        return np.eye(4) if self.known else None

    def explain(self, frame_id: str, stamp: int) -> TransformUnavailable:
        return TransformUnavailable("no_transform", "there is none")


STAMPS = st.one_of(st.integers(0, 10**10), st.integers(-(2**62), 2**62))
FRAME_IDS = st.sampled_from(["camera", "other", ""])
EVENTS = st.one_of(
    st.tuples(st.just("image"), STAMPS, FRAME_IDS),
    st.tuples(st.just("info"), STAMPS, FRAME_IDS, messages(CameraInfo)),
    st.tuples(st.just("depth"), STAMPS),
    st.tuples(st.just("wait"), st.floats(-5, 5)),
    st.tuples(st.just("tf"), st.booleans()),
    st.tuples(st.just("flush")),
)


@fuzz(
    st.lists(EVENTS, max_size=40),
    st.sampled_from(["auto", "required", "off"]),
    fast=100,
    slow=2000,
)
def test_whatever_happens_every_image_has_one_outcome(events, depth) -> None:
    times, ledger = Times(), FrameLedger(lambda text: None)
    config = BufferConfig(capacity=5, timeout=1.0, depth=depth)
    buffer = FrameBuffer(config, times, times, ledger, lambda: times.known)
    images = ready = 0
    for kind, *content in events:
        if kind == "image":
            buffer.add_image(*content, "image")
            images += 1
        elif kind == "info":
            try:
                info = to_intrinsics(content[2])
            except BadInput as error:
                info = error
            buffer.add_camera_info(*content[:2], info)
        elif kind == "depth":
            buffer.add_depth(*content, "depth")
        elif kind == "wait":
            times.at += content[0]
        elif kind == "tf":
            times.known = content[0]
        else:
            buffer.flush("clock_jump", "a jump")
        for frame in buffer.take_ready():
            ready += 1
            ledger.use(frame.token)
        counts = ledger.counts()
        assert counts.received == images
        assert counts.used == ready
        assert counts.waiting == len(buffer) <= 5
        assert images == counts.used + counts.dropped + counts.waiting
