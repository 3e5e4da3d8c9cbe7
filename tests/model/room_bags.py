"""Writers of tiny ROS 2 bags: the analytic box room as a RealSense would record it."""

import struct

import cv2
import numpy as np
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore
from scene_layouts import millimetres, pinhole, poses_of, shoot
from scipy.spatial.transform import Rotation

from govnesf_model.data.readers.lens import Lens

STORE = get_typestore(Stores.ROS2_JAZZY)
START = 1_700_000_000_000_000_000
PERIOD = 100_000_000
COLOR = pinhole(150.0, 200, 150)
BENT = Lens(
    np.array([[150.0, 0, 99.5], [0, 150.0, 74.5], [0, 0, 1]]),
    200,
    150,
    (-0.08, 0.02, 1e-3),
)
DEPTH = pinhole(110.0, 200, 150)  # sees more than COLOR
T_LINK_OPTICAL = np.eye(4)
T_LINK_OPTICAL[:3] = [[0, 0, 1, 0.05], [-1, 0, 0, 0.02], [0, -1, 0, 0]]
T_LINK_DEPTH = T_LINK_OPTICAL.copy()
T_LINK_DEPTH[1, 3] += 0.06
T_MAP_ODOM = np.eye(4)
T_MAP_ODOM[:3, :3] = Rotation.from_euler("z", 40, degrees=True).as_matrix()
T_MAP_ODOM[:3, 3] = 3, -2, 0


def make(kind: str, **fields):
    return STORE.types[kind](**fields)


def header(ns: int, frame: str):
    stamp = make("builtin_interfaces/msg/Time", sec=ns // 10**9, nanosec=ns % 10**9)
    return make("std_msgs/msg/Header", stamp=stamp, frame_id=frame)


def transforms(ns: int, *edges):
    stamped = []
    for parent, child, T in edges:
        x, y, z, w = Rotation.from_matrix(T[:3, :3]).as_quat()
        a, b, c = T[:3, 3]
        transform = make(
            "geometry_msgs/msg/Transform",
            translation=make("geometry_msgs/msg/Vector3", x=a, y=b, z=c),
            rotation=make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
        )
        stamped.append(
            make(
                "geometry_msgs/msg/TransformStamped",
                header=header(ns, parent),
                child_frame_id=child,
                transform=transform,
            )
        )
    return make("tf2_msgs/msg/TFMessage", transforms=stamped)


def raw(ns: int, frame: str, image: np.ndarray, encoding: str):
    return make(
        "sensor_msgs/msg/Image",
        header=header(ns, frame),
        height=image.shape[0],
        width=image.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=image[0].nbytes,
        data=np.frombuffer(np.ascontiguousarray(image).tobytes(), np.uint8),
    )


def compressed(ns: int, frame: str, data: bytes, form: str):
    return make(
        "sensor_msgs/msg/CompressedImage",
        header=header(ns, frame),
        format=form,
        data=np.frombuffer(data, np.uint8),
    )


def camera_info(ns: int, frame: str, lens: Lens):
    P = np.zeros((3, 4))
    P[:, :3] = lens.K
    return make(
        "sensor_msgs/msg/CameraInfo",
        header=header(ns, frame),
        height=lens.height,
        width=lens.width,
        distortion_model="plumb_bob",
        d=np.array(lens.distortion or [0.0] * 5),
        k=lens.K.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=P.reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=make(
            "sensor_msgs/msg/RegionOfInterest",
            x_offset=0,
            y_offset=0,
            height=0,
            width=0,
            do_rectify=False,
        ),
    )


def record(path, storage, messages) -> None:
    """Write (topic, ns, message) into a bag."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connections = {}
        for topic, ns, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], ns, STORE.serialize_cdr(message, kind))


def room_messages(lens: Lens = COLOR, count: int = 5, squeeze: bool = False):
    """Yield a recording of the room: odometry drifts in the map, depth sits beside colour."""
    poses = poses_of(count)
    yield (
        "/tf_static",
        START,
        transforms(
            START,
            ("camera_link", "camera_color_optical_frame", T_LINK_OPTICAL),
            ("camera_link", "camera_depth_optical_frame", T_LINK_DEPTH),
        ),
    )
    for number, T_map_optical in enumerate(poses):
        ns = START + number * PERIOD
        T_map_link = T_map_optical @ np.linalg.inv(T_LINK_OPTICAL)
        T_odom_link = np.linalg.inv(T_MAP_ODOM) @ T_map_link
        yield "/tf", ns, transforms(ns, ("odom", "camera_link", T_odom_link))
        yield "/tf", ns, transforms(ns, ("map", "odom", T_MAP_ODOM))
        rgb = shoot(lens, T_map_optical)[0]
        depth = shoot(DEPTH, T_map_link @ T_LINK_DEPTH)[1]
        at, color_frame, depth_frame = ns + 40_000_000, "camera_color_optical_frame", ""
        depth_frame = "camera_depth_optical_frame"
        yield "/camera/color/camera_info", at, camera_info(ns, color_frame, lens)
        yield "/camera/depth/camera_info", at, camera_info(ns, depth_frame, DEPTH)
        if squeeze:
            _, data = cv2.imencode(".png", rgb[..., ::-1])
            message = compressed(ns, color_frame, data.tobytes(), "rgb8; png compressed bgr8")
            yield "/camera/color/image_raw/compressed", at, message
            _, data = cv2.imencode(".png", millimetres(depth))
            data = struct.pack("<iff", 0, 0, 0) + data.tobytes()
            message = compressed(ns + 9_000_000, depth_frame, data, "16UC1; compressedDepth png")
            yield "/camera/depth/image_rect_raw/compressedDepth", at, message
        else:
            yield "/camera/color/image_raw", at, raw(ns, color_frame, rgb, "rgb8")
            message = raw(ns + 9_000_000, depth_frame, depth.astype(np.float32), "32FC1")
            yield "/camera/depth/image_rect_raw", at, message
