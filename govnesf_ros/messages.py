"""Numpy in, ROS messages out. Pure functions; no node, no state.

cloud = cloud_message(header, snapshot.xyz, snapshot.rgb, label, relevancy=relevancy)
boxes = detections_message(header, answer.texts, answer.instances)
"""

import array
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, TransformStamped, Vector3
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from vision_msgs.msg import (
    BoundingBox3D,
    Detection3D,
    Detection3DArray,
    LabelInfo,
    ObjectHypothesisWithPose,
    VisionClass,
)
from visualization_msgs.msg import Marker, MarkerArray

from govnesf_ros.conversions import to_quaternion

# The 12 edges of a box whose corner i has bit 0, 1, 2 for the side along x, y, z.
_EDGES = [(a, a | bit) for bit in (1, 2, 4) for a in range(8) if not a & bit]
_FILL_ALPHA = 0.25
_TEXT_HEIGHT = 0.12  # metres
_LINE_WIDTH = 0.01  # metres


def header_message(stamp: int, frame_id: str) -> Header:
    """Return a header of a stamp in nanoseconds."""
    return Header(stamp=time_message(stamp), frame_id=frame_id)


def time_message(stamp: int) -> Time:
    """Return nanoseconds as a message."""
    return Time(sec=stamp // 1_000_000_000, nanosec=stamp % 1_000_000_000)


def cloud_message(
    header: Header,
    xyz: np.ndarray,
    rgb: np.ndarray,
    label: np.ndarray,
    **values: np.ndarray,
) -> PointCloud2:
    """Return a cloud with the fields x, y, z, rgb, label and one more per keyword.

    Args:
        header: map frame, stamp of the newest keyframe inside.
        xyz: [N, 3] metres.
        rgb: uint8 [N, 3].
        label: [N], 0 none.
        values: e.g. relevancy=[N]; of unsigned integers a uint32, of anything else a float32.
    """
    names = ["x", "y", "z", "rgb", "label", *values]
    further = ["<u4" if column.dtype.kind == "u" else "<f4" for column in values.values()]
    kinds = ["<f4", "<f4", "<f4", "<u4", "<u4", *further]
    points = np.empty(len(xyz), np.dtype(list(zip(names, kinds, strict=True))))
    points["x"], points["y"], points["z"] = np.asarray(xyz, np.float32).T
    points["rgb"] = packed_rgb(rgb)
    points["label"] = label
    for name, column in values.items():
        points[name] = column
    fields = [
        PointField(name=name, offset=4 * position, datatype=_datatype(name, kind), count=1)
        for position, (name, kind) in enumerate(zip(names, kinds, strict=True))
    ]
    step = points.dtype.itemsize
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=False,
        point_step=step,
        row_step=step * len(points),
        data=byte_array(points),
        is_dense=True,
    )


def packed_rgb(rgb: np.ndarray) -> np.ndarray:
    """Return colours, uint8 [N, 3], as 0x00RRGGBB, uint32 [N]."""
    red, green, blue = np.asarray(rgb, np.uint32).T
    return red << 16 | green << 8 | blue


def image_message(header: Header, image: np.ndarray, encoding: str) -> Image:
    """Return an image; the encoding must fit the array (rgb8, mono8, 16UC1, 32FC1)."""
    height, width = image.shape[:2]
    image = np.ascontiguousarray(image)
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=image.strides[0],
        data=byte_array(image),
    )


def compressed_message(header: Header, image: np.ndarray, encoding: str) -> CompressedImage:
    """Return an rgb8 image as JPEG or a 16UC1 image as PNG, as image_transport names them."""
    if encoding == "rgb8":
        kind, suffix = "rgb8; jpeg compressed bgr8", ".jpg"
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    else:
        kind, suffix = f"{encoding}; png compressed ", ".png"
    _, data = cv2.imencode(suffix, image)
    return CompressedImage(header=header, format=kind, data=byte_array(data))


def camera_info_message(header: Header, K: np.ndarray, width: int, height: int) -> CameraInfo:
    """Return the CameraInfo of an undistorted pinhole."""
    P = np.hstack([K, np.zeros((3, 1))])
    return CameraInfo(
        header=header,
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[float(value) for value in K.ravel()],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[float(value) for value in P.ravel()],
    )


def transform_message(header: Header, child_frame_id: str, T: np.ndarray) -> TransformStamped:
    """Return T_header_child, [4, 4]."""
    x, y, z, w = to_quaternion(T[:3, :3])
    translation = Vector3(x=float(T[0, 3]), y=float(T[1, 3]), z=float(T[2, 3]))
    return TransformStamped(
        header=header,
        child_frame_id=child_frame_id,
        transform=Transform(translation=translation, rotation=Quaternion(x=x, y=y, z=z, w=w)),
    )


def detections_message(
    header: Header, texts: Sequence[str], instances: Sequence[Sequence[Any]]
) -> Detection3DArray:
    """Return one detection per instance of each text, those of the first text first."""
    return Detection3DArray(
        header=header,
        detections=[
            _detection(header, text, instance)
            for text, found in zip(texts, instances, strict=True)
            for instance in found
        ],
    )


def markers_message(
    header: Header,
    texts: Sequence[str],
    instances: Sequence[Sequence[Any]],
    colors: np.ndarray,
) -> MarkerArray:
    """Return boxes, their edges and captions; the first marker deletes those of before.

    Args:
        header: map frame.
        texts: one namespace each.
        instances: boxes per text.
        colors: uint8 [1 + texts, 3], row i + 1 for texts[i].
    """
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for number, (text, found) in enumerate(zip(texts, instances, strict=True)):
        for index, instance in enumerate(found):
            markers += _box_markers(header, text, index, instance, colors[number + 1])
    return MarkerArray(markers=markers)


def label_info_message(header: Header, texts: Sequence[str], threshold: float) -> LabelInfo:
    """Return what the numbers of a label image or cloud mean; 0 is none."""
    return LabelInfo(
        header=header,
        class_map=[
            VisionClass(class_id=number, class_name=text)
            for number, text in enumerate(texts, start=1)
        ],
        threshold=float(threshold),
    )


def _detection(header: Header, text: str, instance: Any) -> Detection3D:
    pose = _pose(instance)
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = text
    result.hypothesis.score = float(instance.score)
    result.pose.pose = pose
    size = Vector3(**dict(zip("xyz", map(float, instance.size), strict=True)))
    return Detection3D(header=header, results=[result], bbox=BoundingBox3D(center=pose, size=size))


def _box_markers(
    header: Header, text: str, index: int, instance: Any, color: np.ndarray
) -> list[Marker]:
    red, green, blue = (float(value) / 255 for value in color)
    fill = Marker(
        header=header,
        ns=text,
        id=3 * index,
        type=Marker.CUBE,
        pose=_pose(instance),
        scale=Vector3(**dict(zip("xyz", map(float, instance.size), strict=True))),
        color=ColorRGBA(r=red, g=green, b=blue, a=_FILL_ALPHA),
    )
    solid = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    edges = Marker(
        header=header, ns=text, id=3 * index + 1, type=Marker.LINE_LIST, pose=_pose(instance)
    )
    edges.scale.x, edges.color = _LINE_WIDTH, solid
    half = np.asarray(instance.size, float) / 2
    corners = (((np.arange(8)[:, None] >> np.arange(3)) & 1) * 2 - 1) * half
    edges.points = [
        Point(x=x, y=y, z=z) for edge in _EDGES for x, y, z in corners[list(edge)].tolist()
    ]
    caption = Marker(
        header=header,
        ns=text,
        id=3 * index + 2,
        type=Marker.TEXT_VIEW_FACING,
        pose=_pose(instance),
        color=solid,
        text=f"{text} {instance.score:.2f}",
    )
    caption.pose.position.z += float(instance.size[2]) / 2 + _TEXT_HEIGHT
    caption.scale.z = _TEXT_HEIGHT
    return [fill, edges, caption]


def _pose(instance: Any) -> Pose:
    x, y, z = (float(value) for value in instance.center)
    turn = Quaternion(z=math.sin(instance.yaw / 2), w=math.cos(instance.yaw / 2))
    return Pose(position=Point(x=x, y=y, z=z), orientation=turn)


def _datatype(name: str, kind: str) -> int:
    # PCL and RViz look for packed colours in a float32 named rgb.
    return PointField.UINT32 if kind == "<u4" and name != "rgb" else PointField.FLOAT32


def byte_array(values: np.ndarray) -> array.array:
    """Return the bytes of an array as a message takes them."""
    # The only fast way into a message: rclpy checks every element of anything else.
    data = array.array("B")
    if values.size:
        data.frombytes(memoryview(np.ascontiguousarray(values).reshape(-1).view(np.uint8)))
    return data
