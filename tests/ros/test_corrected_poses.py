"""Corrected poses into a real map: which keyframes move, and what is said about the others."""

from types import SimpleNamespace

import numpy as np
import pytest
from nav_msgs.msg import Path
from robot_rig import STAMP
from scipy.spatial import cKDTree

from govnesf_ros import messages_map
from govnesf_ros.corrected_poses import CorrectedPoses
from govnesf_ros.ledger import FrameLedger
from govnesf_ros.messages import header_message

SHIFT = np.array([0.4, -0.3, 0.1])


class Rig:
    """A map of three keyframes and what the node does about its corrections."""

    def __init__(self, robot) -> None:
        self.map, self.said, self.changes = robot.map, [], 0
        self.node = robot.node
        self.lookup = None
        self.corrections = CorrectedPoses(
            self.node, self.map, FrameLedger(self.said.append), lambda: self.lookup,
            submit=lambda path: self.corrections.process(path), changed=self._changed,
        )  # fmt: skip

    def _changed(self) -> None:
        self.changes += 1

    def poses(self) -> np.ndarray:
        return np.array([one.T_world_camera for one in self.map.snapshot().keyframes])

    def path(self, frame: str = "map") -> Path:
        header = header_message(STAMP, frame)
        return messages_map.path_message(header, self.map.snapshot().keyframes)


@pytest.fixture
def rig(make_robot):
    return Rig(make_robot(3))


def moved(path: Path, shift=SHIFT) -> Path:
    for stamped in path.poses:
        stamped.pose.position.x += shift[0]
        stamped.pose.position.y += shift[1]
        stamped.pose.position.z += shift[2]
    return path


def test_all_keyframes_move_and_the_points_with_them(rig) -> None:
    before, poses = rig.map.snapshot(), rig.poses()
    rig.corrections.process(moved(rig.path()))
    after = rig.map.snapshot()
    assert np.allclose(rig.poses()[:, :3, 3], poses[:, :3, 3] + SHIFT, atol=1e-5)
    assert np.allclose(rig.poses()[:, :3, :3], poses[:, :3, :3], atol=1e-5)
    # The lattice of the points stays where it is, so they move by less than a voxel more or less.
    away, _ = cKDTree(before.xyz + SHIFT).query(after.xyz)
    assert np.percentile(away, 99) < before.voxel_size
    done = rig.corrections.done
    assert (done.count, done.keyframes) == (1, 3)
    assert done.meters == pytest.approx(np.linalg.norm(SHIFT), abs=1e-4)
    assert (rig.changes, rig.said) == (1, [])


def test_what_has_moved_already_is_not_done_again(rig) -> None:
    rig.corrections.process(moved(rig.path()))
    snapshot = rig.map.snapshot()
    rig.corrections.process(rig.path())
    rig.corrections.process(moved(rig.path(), (0.004, 0.0, 0.0)))
    assert rig.map.snapshot() is snapshot
    assert rig.corrections.done.count == 1


def test_keyframes_without_a_pose_stay(rig) -> None:
    rig.node.settings = rig.node.settings.__class__(corrected_poses_slop=0.0)
    poses, path = rig.poses(), moved(rig.path())
    del path.poses[1]
    rig.corrections.process(path)
    shifts = rig.poses()[:, :3, 3] - poses[:, :3, 3]
    assert np.allclose(shifts, [SHIFT, 0 * SHIFT, SHIFT], atol=1e-5)
    assert rig.corrections.done.keyframes == 2


def test_poses_of_the_robot_are_taken_to_the_camera(rig) -> None:
    rig.node.settings = rig.node.settings.__class__(corrected_poses_frame="base_link")
    T_base_camera = np.array([[0, 0, 1, 0.2], [-1, 0, 0, 0.1], [0, -1, 0, 0.9], [0, 0, 0, 1.0]])
    asked = []

    def between(body: str, frame: str, stamp: int) -> np.ndarray:
        asked.append((body, frame, stamp))
        return T_base_camera

    rig.lookup = SimpleNamespace(between=between)
    poses, path = rig.poses(), rig.path()
    bodies = poses @ np.linalg.inv(T_base_camera)
    for stamped, T in zip(path.poses, bodies.astype(float), strict=True):
        stamped.pose = messages_map.pose_message(T)
    rig.corrections.process(moved(path))
    assert np.allclose(rig.poses()[:, :3, 3], poses[:, :3, 3] + SHIFT, atol=1e-4)
    assert np.allclose(rig.poses()[:, :3, :3], poses[:, :3, :3], atol=1e-4)
    assert asked == [("base_link", "optical", STAMP + index) for index in range(3)]


def test_without_the_mount_nothing_moves_and_the_frame_is_named(rig) -> None:
    rig.node.settings = rig.node.settings.__class__(corrected_poses_frame="base_link")
    snapshot = rig.map.snapshot()
    rig.corrections.process(moved(rig.path()))
    assert rig.map.snapshot() is snapshot
    assert len(rig.said) == 1
    assert "poses of 'base_link' and TF does not connect it to the camera 'optical'" in rig.said[0]


def test_another_frame_and_other_times_are_refused_with_a_sentence(rig) -> None:
    snapshot = rig.map.snapshot()
    rig.corrections.process(moved(rig.path("odom")))
    late = moved(rig.path())
    for stamped in late.poses:
        stamped.header.stamp.sec += 60
    rig.corrections.process(late)
    assert rig.map.snapshot() is snapshot
    assert "is in the frame 'odom' and the map in 'map'" in rig.said[0]
    assert "none of its 3 poses is within 0.1 s of a keyframe (the nearest is 60.00" in rig.said[1]
    assert rig.corrections.done.count == 0


def test_an_empty_map_says_nothing(make_robot) -> None:
    rig = Rig(make_robot(0))
    rig.corrections.process(Path())
    assert rig.said == []
