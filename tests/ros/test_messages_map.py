import dataclasses

import numpy as np
import torch
from furnished_room import room_frames

from govnesf_model.cameras import project
from govnesf_model.keyframes import Keyframe
from govnesf_ros.mapping import keyframe_header
from govnesf_ros.messages import header_message
from govnesf_ros.messages_map import FRUSTUM_DEPTH, frusta_message, path_message

HEADER = header_message(9, "map")


def keyframes(count: int) -> list[Keyframe]:
    nothing = torch.zeros(1, 1, 1)
    return [
        Keyframe(
            id=frame.index,
            stamp=float(frame.index),
            rgb=frame.rgb,
            K=frame.K.astype(np.float32),
            T_world_camera=frame.T_world_camera.astype(np.float32),
            depth=None,
            ov=nothing.half(),
            ov_stride=4,
            volume_features=nothing,
            query_features=nothing,
            source_size=(160, 120),
            name=f"optical@{10 + frame.index}",
        )
        for frame in room_frames(count)
    ]


def test_the_path_has_the_poses_and_stamps_of_the_keyframes() -> None:
    held = keyframes(3)
    path = path_message(HEADER, held)
    assert path.header == HEADER
    assert [pose.header.stamp.nanosec for pose in path.poses] == [10, 11, 12]
    assert {pose.header.frame_id for pose in path.poses} == {"map"}
    for pose, keyframe in zip(path.poses, held, strict=True):
        at = pose.pose.position
        assert np.allclose([at.x, at.y, at.z], keyframe.T_world_camera[:3, 3])
        q = pose.pose.orientation
        forward = [
            2 * (q.x * q.z + q.w * q.y),
            2 * (q.y * q.z - q.w * q.x),
            1 - 2 * (q.x**2 + q.y**2),
        ]
        assert np.allclose(forward, keyframe.T_world_camera[:3, 2], atol=1e-5)
    assert path_message(HEADER, []).poses == []


def test_the_frusta_end_at_the_corners_of_the_images() -> None:
    held = keyframes(2)
    (marker,) = frusta_message(HEADER, held).markers
    assert len(marker.points) == len(marker.colors) == 2 * 16
    assert marker.colors[0] != marker.colors[-1]  # the newest stands out
    for number, keyframe in enumerate(held):
        ends = marker.points[16 * number : 16 * number + 16]
        xyz = torch.tensor([[p.x, p.y, p.z] for p in ends]).float()
        assert torch.allclose(xyz[0], torch.from_numpy(keyframe.T_world_camera[:3, 3]), atol=1e-5)
        uv, z = project(
            xyz[1::2], torch.from_numpy(keyframe.K), torch.from_numpy(keyframe.T_world_camera)
        )
        assert torch.allclose(z, torch.full_like(z, FRUSTUM_DEPTH), atol=1e-5)
        corners = {(round(u, 2), round(v, 2)) for u, v in uv.tolist()}
        assert corners == {(-0.5, -0.5), (159.5, -0.5), (159.5, 119.5), (-0.5, 119.5)}


def test_without_keyframes_the_frusta_are_deleted() -> None:
    (marker,) = frusta_message(HEADER, []).markers
    assert marker.action == marker.DELETEALL


def test_a_map_that_was_made_without_ros_has_stamps_too() -> None:
    keyframe = dataclasses.replace(keyframes(1)[0], name="0042", stamp=1.5)
    assert keyframe_header(keyframe) == (1_500_000_000, "")
    assert keyframe_header(dataclasses.replace(keyframe, name="a@b@7")) == (7, "a@b")
