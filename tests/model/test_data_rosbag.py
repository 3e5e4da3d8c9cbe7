"""ROS 2 bags as posed scenes: transforms, topics, encodings, and a real recording."""

import json
import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from room_bags import (
    BENT,
    COLOR,
    PERIOD,
    START,
    T_MAP_ODOM,
    record,
    room_messages,
)
from rosbags.rosbag2 import StoragePlugin
from scene_layouts import assert_shows_the_room, millimetres, poses_of

from govnesf_model.data.posed_scene import SceneError, open_scene
from govnesf_model.data.readers.bag_images import color_image, depth_image
from govnesf_model.data.readers.bag_topics import Topics, choose_topics
from govnesf_model.data.readers.bag_transforms import TransformTree


@pytest.mark.parametrize(
    ("storage", "squeeze", "lens"),
    [
        (StoragePlugin.MCAP, False, BENT),
        (StoragePlugin.SQLITE3, True, COLOR),
    ],
)
def test_a_recording_of_the_room(tmp_path, storage, squeeze, lens):
    record(tmp_path / "bag", storage, room_messages(lens, squeeze=squeeze))
    scene = open_scene(tmp_path / "bag")
    # Depth was taken beside colour: what only the one sees is unknown, a few per cent.
    assert_shows_the_room(scene, poses_of(5), depth=0.95, error=0.015)
    np.testing.assert_allclose(scene.stamps, 1.7e9 + np.arange(5) / 10, atol=1e-6)
    assert scene[2].stamp == scene.stamps[2]
    assert any("registered" in note for note in scene.notes)
    if lens.straight:
        np.testing.assert_allclose(scene.K, COLOR.K)


def test_a_single_file_without_metadata(tmp_path):
    record(tmp_path / "bag", StoragePlugin.MCAP, room_messages(count=3))
    (tmp_path / "bag" / "metadata.yaml").unlink()
    file = next((tmp_path / "bag").glob("*.mcap"))
    for path in (file, tmp_path / "bag"):
        assert len(open_scene(path)) == 3


def test_options_name_topics_and_frames(tmp_path):
    record(tmp_path / "bag", StoragePlugin.MCAP, room_messages(count=3))
    path = f"{tmp_path / 'bag'}?depth=none&map_frame=odom"
    scene = open_scene(path)
    assert not scene.has_depth
    np.testing.assert_allclose(T_MAP_ODOM @ scene.poses, poses_of(3), atol=1e-6)
    with pytest.raises(SceneError, match=r"image=/other: the bag has no such topic.*/camera/color"):
        open_scene(tmp_path / "bag", image="/other")
    with pytest.raises(SceneError, match=r"not connected to 'earth' \(known frames: camera_color"):
        open_scene(tmp_path / "bag", map_frame="earth")
    with pytest.raises(SceneError, match="has no option 'topic'"):
        open_scene(tmp_path / "bag", topic="/x")


def test_images_without_pose_or_depth_are_counted(tmp_path):
    kept = []
    for topic, ns, message in room_messages(count=5):
        late = ns >= START + 4 * PERIOD
        if topic == "/tf" and late and message.transforms[0].child_frame_id == "camera_link":
            continue
        if topic.startswith("/camera/depth/image") and START + PERIOD < ns < START + 2 * PERIOD:
            continue
        kept.append((topic, ns, message))
    record(tmp_path / "bag", StoragePlugin.MCAP, kept)
    scene = open_scene(tmp_path / "bag")
    assert len(scene) == 4
    assert any(note.startswith("1 of 5 images have no pose") for note in scene.notes)
    assert any("1 of 4 images have no depth" in note for note in scene.notes)
    assert scene[1].depth.max() == 0
    assert scene[2].depth.max() > 0


@pytest.mark.parametrize(
    ("dropped", "what"),
    [
        ("/tf_static", r"'camera_color_optical_frame' is not in the transforms"),
        ("/camera/color/camera_info", "no camera_info belongs to /camera/color/image_raw"),
        ("/camera/color/image_raw", "no topic of colour images"),
    ],
)
def test_what_a_bag_lacks_is_named(tmp_path, dropped, what):
    messages = [m for m in room_messages(count=2) if m[0] != dropped]
    record(tmp_path / "bag", StoragePlugin.MCAP, messages)
    with pytest.raises(SceneError, match=what):
        open_scene(tmp_path / "bag")


def test_a_file_that_was_cut_off_is_refused_with_advice(tmp_path):
    record(tmp_path / "bag", StoragePlugin.MCAP, room_messages(count=2))
    file = next((tmp_path / "bag").glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:20_000])
    with pytest.raises(SceneError, match="ros2 bag reindex"):
        open_scene(file)


def test_transforms_are_interpolated_and_not_extrapolated():
    tree = TransformTree()
    half = np.sin(np.pi / 4)
    tree.add("map", "base", 1.0, np.array([0, 0, 0, 0, 0, 0, 1.0]), static=False)
    tree.add(
        "map", "base", 2.0, np.array([2, 0, 0, 0, 0, half, half]), static=False
    )  # 90 degrees about z
    tree.add("/base", "camera", 0.0, np.array([1.0, 0, 0, 0, 0, 0, 1]), static=True)
    poses, known = tree.look_up("map", "camera", np.array([0.9, 1.0, 1.5, 2.0, 2.1]))
    assert known.tolist() == [False, True, True, True, False]
    c = np.sqrt(0.5)
    np.testing.assert_allclose(poses[1, :3, 3], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(poses[2, :3, 3], [1 + c, c, 0], atol=1e-12)
    np.testing.assert_allclose(poses[3, :3, 3], [2, 1, 0], atol=1e-12)
    assert tree.fixed_frame("camera") == "map"
    tree.add("earth", "map", 0.0, np.array([0, 0, 0, 0, 0, 0, 1.0]), static=True)
    assert tree.fixed_frame("camera") == "map"
    assert tree.fixed_frame("camera", "earth") == "earth"


IMAGE, COMPRESSED, INFO = (
    f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "CameraInfo")
)
NONE = {"image": "", "info": "", "depth": "", "depth_info": ""}


def test_topics_of_a_realsense():
    counts = {
        "/camera/camera/color/image_raw": (IMAGE, 300),
        "/camera/camera/color/image_raw/compressed": (COMPRESSED, 300),
        "/camera/camera/color/camera_info": (INFO, 300),
        "/camera/camera/infra1/image_rect_raw": (IMAGE, 900),
        "/camera/camera/infra1/camera_info": (INFO, 900),
        "/camera/camera/depth/image_rect_raw": (IMAGE, 300),
        "/camera/camera/depth/camera_info": (INFO, 300),
        "/camera/camera/aligned_depth_to_color/image_raw": (IMAGE, 300),
        "/camera/camera/aligned_depth_to_color/camera_info": (INFO, 300),
    }
    topics, notes = choose_topics(counts, NONE)
    assert topics == Topics(
        "/camera/camera/color/image_raw",
        "/camera/camera/color/camera_info",
        "/camera/camera/aligned_depth_to_color/image_raw",
        "/camera/camera/aligned_depth_to_color/camera_info",
    )
    assert any(note.startswith("image topic: /camera/camera/color/image_raw (") for note in notes)


def test_topics_of_a_kinect_and_of_a_plain_camera():
    counts = {
        "/camera/rgb/image_color": (IMAGE, 9),
        "/camera/rgb/camera_info": (INFO, 9),
        "/camera/depth_registered/image": (IMAGE, 9),
        "/camera/depth/image": (IMAGE, 9),
        "/camera/depth/camera_info": (INFO, 9),
    }
    topics, _ = choose_topics(counts, NONE)
    assert topics.depth == "/camera/depth_registered/image"
    assert topics.depth_info == ""  # registered: the colour camera's own
    plain = {"/image": (COMPRESSED, 9), "/cam/info": (INFO, 9)}
    assert choose_topics(plain, NONE)[0] == Topics("/image", "/cam/info")


def message(image: np.ndarray, encoding: str, big: bool = False):
    data = image.astype(image.dtype.newbyteorder(">")) if big else image
    rows = np.ascontiguousarray(data).view(np.uint8).reshape(image.shape[0], -1)
    padded = np.pad(rows, ((0, 0), (0, 5)))  # drivers pad rows
    return SimpleNamespace(
        encoding=encoding,
        is_bigendian=big,
        width=image.shape[1],
        height=image.shape[0],
        step=padded.shape[1],
        data=padded.reshape(-1),
    )


def test_encodings_of_colour():
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[:] = 200, 100, 50
    for encoding, image in (
        ("rgb8", rgb),
        ("bgr8", rgb[..., ::-1]),
        ("rgba8", np.dstack([rgb, rgb[..., :1]])),
        ("bgra8", np.dstack([rgb[..., ::-1], rgb[..., :1]])),
    ):
        np.testing.assert_array_equal(color_image(message(image, encoding), "/x"), rgb)
    grey = color_image(message(rgb[..., 0], "mono8"), "/x")
    assert (grey == 200).all()
    yuv = np.zeros((4, 6, 2), np.uint8)
    yuv[..., 0], yuv[..., 1] = 128, 90  # U and V, Y
    assert np.ptp(color_image(message(yuv, "yuv422"), "/x"), axis=2).max() <= 2  # a grey
    # RGGB: red at even rows and columns.
    bayer = np.zeros((8, 8), np.uint8)
    bayer[::2, ::2] = 240
    red = color_image(message(bayer, "bayer_rggb8"), "/x")[2:-2, 2:-2].reshape(-1, 3).mean(axis=0)
    assert red[0] > 200
    assert red[1:].max() < 5
    with pytest.raises(SceneError, match="rgb16"):
        color_image(message(rgb, "rgb16"), "/x")


def test_encodings_of_depth():
    metres = np.array([[0.5, 1.25, 0.0], [2.0, 4.0, 3.5]], np.float32)
    holes = np.where(metres == 0, np.nan, metres).astype(np.float32)
    for image, encoding, big in (
        (millimetres(metres), "16UC1", False),
        (millimetres(metres), "16UC1", True),
        (holes, "32FC1", False),
        (holes, "32FC1", True),
    ):
        np.testing.assert_allclose(depth_image(message(image, encoding, big), "/d"), metres)
    a, b = 5000.0, 20.0
    quantised = np.where(metres > 0, a / np.maximum(metres, 0.1) + b, 0).round().astype(np.uint16)
    data = struct.pack("<iff", 0, a, b) + cv2.imencode(".png", quantised)[1].tobytes()
    squeezed = SimpleNamespace(format="32FC1; compressedDepth", data=np.frombuffer(data, np.uint8))
    np.testing.assert_allclose(depth_image(squeezed, "/d"), metres, rtol=1e-3)


def test_the_real_bag_holds_the_folders_frames(shared_data):
    gravity = json.loads((shared_data / "7scenes" / "scene.json").read_text())["gravity"]
    bag = open_scene(shared_data / "7scenes_bag", gravity=",".join(map(str, gravity)))
    folder = open_scene(shared_data / "7scenes")
    assert len(bag) == 60
    np.testing.assert_allclose(bag.poses, folder.poses[:60], atol=1e-9)
    np.testing.assert_allclose(bag.K, folder.K)
    for index in (0, 59):
        ours, theirs = bag[index], folder[index]
        np.testing.assert_array_equal(ours.depth, theirs.depth)
        np.testing.assert_array_equal(ours.rgb, theirs.rgb)
    np.testing.assert_allclose(bag.stamps, 1.7e9 + np.arange(60) / 10, atol=1e-6)
