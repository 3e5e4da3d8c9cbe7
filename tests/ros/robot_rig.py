"""A node's parts around a map whose truth is exact, and a client that listens to everything."""

import dataclasses
from functools import cache

import torch
from furnished_room import NAMES, ColorEncoder, room_frames
from nav_msgs.msg import Path
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, PointCloud2
from vision_msgs.msg import Detection3DArray, LabelInfo
from visualization_msgs.msg import MarkerArray

from govnesf_model.field import FieldConfig, GovNesf
from govnesf_model.map_state import MapState
from govnesf_model.scene_map import MapConfig, SceneMap
from govnesf_ros.answers import Answers
from govnesf_ros.ledger import FrameLedger
from govnesf_ros.mapping import Mapper, frame_name
from govnesf_ros.parameters import MapperSettings
from govnesf_ros.publishers import Publishers
from govnesf_ros.sender import Refresh, Sender
from govnesf_ros.service_group import Access
from govnesf_ros.services import Services
from govnesf_ros.worker import NewestWorker

STAMP = 1_700_000_000_000_000_001
FRAMES = room_frames(4)
TOPICS = {
    "semantic_cloud": PointCloud2,
    "labels": LabelInfo,
    "keyframes": Path,
    "frusta": MarkerArray,
    "query/cloud": PointCloud2,
    "query/mask": Image,
    "query/labels": LabelInfo,
    "query/overlay": Image,
    "query/markers": MarkerArray,
    "query/detections": Detection3DArray,
}


class Robot:
    """The parts of the node around a map, and a client that listens to everything.

    Args:
        graph: of the test.
        frames: keyframes in the map from the start.
        namespace: of the node.
        settings: parameters that differ from their defaults.
    """

    def __init__(self, graph, frames: int, namespace: str = "", **settings) -> None:
        self.graph = graph
        self.map = _empty_map()
        if frames:
            self.map.restore(_state_of(frames))
        node = self.node = graph.node("govnesf", namespace)
        node.settings = MapperSettings(**settings)
        self.name = f"{namespace}/govnesf"
        self.tf = None
        self.answers = Answers(self.map, ColorEncoder(), NAMES)
        ledger = FrameLedger(print)
        self.mapper = Mapper(self.map, ledger)
        self.publishers = Publishers(node, "map")
        sender = self.sender = Sender(self.map, self.answers, self.publishers)
        self.worker = NewestWorker("sending", sender.process)
        self.map_worker = NewestWorker("mapping", self.mapper.process)
        self.services = Services(
            Access(
                node=node,
                scene_map=self.map,
                answers=self.answers,
                mapper=self.mapper,
                publishers=self.publishers,
                exclusively=self.map_worker.call,
                forget_counts=ledger.reset,
                refresh=self.refresh,
                lookup=lambda: self.tf,
            )
        )
        client = self.client = graph.node("client", namespace)
        self.got: dict[str, list] = {name: [] for name in TOPICS}
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for name, kind in TOPICS.items():
            client.create_subscription(kind, f"govnesf/{name}", self.got[name].append, latched)

    def add(self, index: int) -> None:
        _add(self.map, index)

    def call(self, kind, name: str, seconds: float = 20.0, **request):
        client = self.client.create_client(kind, f"govnesf/{name}")
        self.graph.spin_until(client.service_is_ready)
        future = client.call_async(kind.Request(**request))
        self.graph.spin_until(future.done, seconds)
        return future.result()

    def wait(self, name: str, count: int):
        self.graph.spin_until(lambda: len(self.got[name]) >= count)
        return self.got[name][-1]

    def refresh(self, found=None) -> None:
        self.worker.submit(Refresh(found))

    def stop(self) -> None:
        self.worker.stop(2.0)
        self.map_worker.stop(2.0)


@cache
def _field() -> GovNesf:
    torch.manual_seed(0)
    config = FieldConfig.small(unet_channels=(4, 4, 4), samples_per_ray=16, voxel_size=0.32)
    return GovNesf(config).eval()


def _empty_map() -> SceneMap:
    return SceneMap(_field(), ColorEncoder(), MapConfig(image_width=160, min_sharpness=0.0))


@cache
def _state_of(frames: int) -> MapState:
    """Return a map of so many keyframes; made once, because every test wants one."""
    scene_map = _empty_map()
    for index in range(frames):
        _add(scene_map, index)
    return scene_map.state()


def _add(scene_map: SceneMap, index: int) -> None:
    name = frame_name("optical", STAMP + index)
    scene_map.add(dataclasses.replace(FRAMES[index], name=name))
