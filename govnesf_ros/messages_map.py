"""Where the map was looked at from, as ROS messages. Pure functions.

path = path_message(header, keyframes)
frusta = frusta_message(header, keyframes)
"""

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from nav_msgs.msg import Path
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from govnesf_model.keyframes import Keyframe
from govnesf_ros.conversions import to_quaternion
from govnesf_ros.mapping import keyframe_header
from govnesf_ros.messages import header_message

FRUSTUM_DEPTH = 0.2  # metres from the camera to the drawn image plane
_LINE_WIDTH = 0.006  # metres
_OLD = ColorRGBA(r=0.35, g=0.55, b=0.85, a=0.8)
_NEWEST = ColorRGBA(r=1.0, g=0.75, b=0.2, a=1.0)
# Corners 0..3 of the image plane, the camera's centre is 4.
_EDGES = ((4, 0), (4, 1), (4, 2), (4, 3), (0, 1), (1, 2), (2, 3), (3, 0))


def path_message(header: Header, keyframes: Sequence[Keyframe]) -> Path:
    """Return the poses of the keyframes' optical frames, oldest first, each with its own stamp."""
    return Path(header=header, poses=[_pose_of(header.frame_id, k) for k in keyframes])


def frusta_message(header: Header, keyframes: Sequence[Keyframe]) -> MarkerArray:
    """Return what each keyframe looks at, one list of lines; the newest keyframe stands out."""
    if not keyframes:
        return MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])
    marker = Marker(header=header, ns="keyframes", id=0, type=Marker.LINE_LIST)
    marker.pose.orientation.w = 1.0
    marker.scale.x = _LINE_WIDTH
    for keyframe in keyframes:
        color = _NEWEST if keyframe is keyframes[-1] else _OLD
        points = [Point(x=x, y=y, z=z) for x, y, z in _corners(keyframe).tolist()]
        marker.points += [points[end] for edge in _EDGES for end in edge]
        marker.colors += [color] * (2 * len(_EDGES))
    return MarkerArray(markers=[marker])


def pose_message(T: np.ndarray) -> Pose:
    """Return T_frame_body [4, 4] as a pose in that frame."""
    x, y, z, w = to_quaternion(T[:3, :3])
    px, py, pz = T[:3, 3].tolist()
    return Pose(position=Point(x=px, y=py, z=pz), orientation=Quaternion(x=x, y=y, z=z, w=w))


def _pose_of(frame_id: str, keyframe: Keyframe) -> PoseStamped:
    stamp, _ = keyframe_header(keyframe)
    pose = pose_message(keyframe.T_world_camera.astype(float))
    return PoseStamped(header=header_message(stamp, frame_id), pose=pose)


def _corners(keyframe: Keyframe) -> np.ndarray:
    """Return the corners of the image plane and the centre in the map frame, [5, 3]."""
    right, low = keyframe.width - 0.5, keyframe.height - 0.5
    uv1 = np.array(
        [[-0.5, -0.5, 1], [right, -0.5, 1], [right, low, 1], [-0.5, low, 1], [0, 0, 0]], float
    )
    rays = np.linalg.solve(keyframe.K.astype(float), uv1.T).T * FRUSTUM_DEPTH
    T = keyframe.T_world_camera.astype(float)
    return rays @ T[:3, :3].T + T[:3, 3]
