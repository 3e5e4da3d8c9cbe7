"""A loop closure at a real node: SLAM changes its mind about the demo room, the boxes follow."""

import re
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from govnesf_ros.srv import QueryText
from launched import LATCHED, Client, Launched
from nav_msgs.msg import Path
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from std_srvs.srv import SetBool

from govnesf_ros import topics
from govnesf_ros.conversions import to_matrix
from govnesf_ros.messages_map import pose_message
from govnesf_ros.player_node import T_LINK_OPTICAL

pytestmark = pytest.mark.slow
VOXEL = 0.06  # metres
# Whole voxels: the lattice that points are thinned by stays where it is, and by any other shift the
# ends of a box would come to lie up to a voxel elsewhere.
SHIFT = VOXEL * np.array([8, -5, 3])
FAR = "by 0.59 m"  # its length


class Mapped:
    """The demo room in six keyframes, paused, and what the node sends of it."""

    def __init__(self, client: Client, launched: Launched) -> None:
        self.client, self.launched = client, launched
        self.paths: list[Path] = []
        node = client.node
        node.create_subscription(Path, "/govnesf/keyframes", self.paths.append, LATCHED)
        self.publisher = node.create_publisher(Path, "/govnesf/corrected_poses", 1)

    def wait(self) -> None:
        self.client.until(lambda: self.client.status.keyframes >= 6, 240.0)
        assert self.client.call(SetBool, "pause", data=True).success
        self.client.until(lambda: self.client.new_status().frames_waiting == 0, 60.0)
        self.client.until(lambda: len(self.path.poses) == self.client.status.keyframes, 60.0)
        self.client.until(lambda: self.publisher.get_subscription_count() == 1)

    @property
    def path(self) -> Path:
        return self.paths[-1] if self.paths else Path()

    def correct(self, path: Path) -> None:
        """Publish a path and wait until the map has followed."""
        before = self.client.new_status().corrections
        self.publisher.publish(path)
        self.client.until(lambda: self.client.status.corrections == before + 1, 60.0)

    def table(self) -> np.ndarray:
        """Return the centre of the best box, metres."""
        reply = self.client.call(QueryText, "query", texts=["table"], max_instances=1)
        center = reply.detections.detections[0].bbox.center.position
        return np.array([center.x, center.y, center.z])


@pytest.fixture(scope="module")
def mapped(domain, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corrected")
    parameters = {"voxel_size": VOXEL, "tf_timeout": 20.0, "torch_threads": 1}
    (folder / "test.yaml").write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    launched = Launched(
        folder / "log", "source:=demo", "rate:=1.0", "viewer:=false",
        f"params_file:={folder / 'test.yaml'}",
    )  # fmt: skip
    client = Client(domain)
    try:
        found = Mapped(client, launched)
        client.until_active(launched)
        found.wait()
        yield found
    finally:
        client.close()
        launched.stop()


def positions(path: Path) -> np.ndarray:
    points = [stamped.pose.position for stamped in path.poses]
    return np.array([(point.x, point.y, point.z) for point in points])


def moved(path: Path, by: np.ndarray) -> Path:
    path = deepcopy(path)
    for stamped in path.poses:
        place = stamped.pose.position
        place.x, place.y, place.z = place.x + by[0], place.y + by[1], place.z + by[2]
    return path


def test_boxes_move_with_the_poses_of_the_camera(mapped) -> None:
    before, at = mapped.table(), positions(mapped.path)
    mapped.correct(moved(mapped.path, SHIFT))
    mapped.client.until(lambda: np.abs(positions(mapped.path) - at - SHIFT).max() < 1e-3)
    assert np.allclose(mapped.table(), before + SHIFT, atol=0.03)
    assert mapped.client.status.last_correction_m == pytest.approx(np.linalg.norm(SHIFT), abs=1e-3)
    count = len(at)
    sentence = rf"corrected poses moved {count} of {count} keyframes, {FAR}"
    mapped.client.until(lambda: any(re.match(sentence, text) for text in mapped.client.said))


def test_poses_of_the_robot_move_them_back(mapped) -> None:
    """`camera_link` looks along x; the player publishes how the optical frame sits in it."""
    before, at = mapped.table(), positions(mapped.path)
    set_frame(mapped.client, topics.CAMERA_LINK)
    path = moved(mapped.path, -SHIFT)
    for stamped in path.poses:
        place, turn = stamped.pose.position, stamped.pose.orientation
        T_map_optical = to_matrix(SimpleNamespace(translation=place, rotation=turn))
        stamped.pose = pose_message(T_map_optical @ np.linalg.inv(T_LINK_OPTICAL))
    mapped.correct(path)
    mapped.client.until(lambda: np.abs(positions(mapped.path) - at + SHIFT).max() < 1e-3)
    assert np.allclose(mapped.table(), before - SHIFT, atol=0.03)


def test_a_path_in_another_frame_is_refused_with_a_sentence(mapped) -> None:
    corrections, at = mapped.client.new_status().corrections, positions(mapped.path)
    path = moved(mapped.path, SHIFT)
    path.header.frame_id = "odom"
    mapped.publisher.publish(path)
    words = "the path is in the frame 'odom' and the map in 'map'"
    mapped.client.until(lambda: any(words in text for text in mapped.client.said))
    assert mapped.client.new_status().corrections == corrections
    assert len(positions(mapped.paths[-1])) == len(at)
    assert "Traceback" not in mapped.launched.output


def set_frame(client: Client, frame: str) -> None:
    value = Parameter(
        name="corrected_poses_frame", value=ParameterValue(type=4, string_value=frame)
    )
    setter = client.node.create_client(SetParameters, "/govnesf/set_parameters")
    client.until(setter.service_is_ready)
    future = setter.call_async(SetParameters.Request(parameters=[value]))
    client.until(future.done)
    (result,) = future.result().results
    assert result.successful, result.reason
