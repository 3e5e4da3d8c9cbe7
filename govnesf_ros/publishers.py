"""Everything that the node sends, except answers to services.

publishers = Publishers(node, map_frame)
publishers.semantic(labelled)
publishers.answer(answered)
"""

from typing import Any

import numpy as np
from nav_msgs.msg import Path
from sensor_msgs.msg import Image, PointCloud2
from vision_msgs.msg import Detection3DArray, LabelInfo
from visualization_msgs.msg import MarkerArray

from govnesf_model.keyframes import MapSnapshot
from govnesf_model.palette import label_colors
from govnesf_ros import messages, messages_map, topics
from govnesf_ros.answers import Answered, Labelled, overlay_picture
from govnesf_ros.mapping import keyframe_header
from govnesf_ros.qos import latched_publisher


class Publishers:
    """The node's outgoing topics.

    Args:
        node: that they belong to.
        map_frame: frame of clouds, boxes and markers.
    """

    def __init__(self, node: Any, map_frame: str) -> None:
        self._node = node
        self._map_frame = map_frame
        self._labels: tuple | None = None
        self._query_labels: tuple | None = None
        self._all = {
            name: latched_publisher(node, kind, name)
            for name, kind in (
                (topics.SEMANTIC_CLOUD, PointCloud2),
                (topics.LABELS, LabelInfo),
                (topics.KEYFRAMES, Path),
                (topics.FRUSTA, MarkerArray),
                (topics.QUERY_CLOUD, PointCloud2),
                (topics.QUERY_MASK, Image),
                (topics.QUERY_LABELS, LabelInfo),
                (topics.QUERY_OVERLAY, Image),
                (topics.QUERY_MARKERS, MarkerArray),
                (topics.QUERY_DETECTIONS, Detection3DArray),
            )
        }

    def destroy(self) -> None:
        """Take the topics down."""
        for publisher in self._all.values():
            self._node.destroy_publisher(publisher)
        self._all.clear()

    def semantic(self, labelled: Labelled) -> None:
        """Send the cloud in the vocabulary's colours; points without a label keep their own.

        The field `photo` has every point's own colour, packed as rgb is.
        """
        snapshot = labelled.snapshot
        header = self.map_header(snapshot)
        colors = label_colors(len(labelled.texts))[labelled.label]
        rgb = np.where(labelled.label[:, None] > 0, colors, snapshot.rgb)
        cloud = messages.cloud_message(
            header,
            snapshot.xyz,
            rgb,
            labelled.label,
            confidence=labelled.confidence,
            photo=messages.packed_rgb(snapshot.rgb),
        )
        key = (labelled.texts, labelled.threshold)
        if key != self._labels:
            self._send(topics.LABELS, messages.label_info_message(header, *key))
            self._labels = key
        self._send(topics.SEMANTIC_CLOUD, cloud)

    def keyframes(self, snapshot: MapSnapshot) -> None:
        """Send where the map was looked at from."""
        header = self.map_header(snapshot)
        held = snapshot.keyframes
        self._send(topics.KEYFRAMES, messages_map.path_message(header, held))
        self._send(topics.FRUSTA, messages_map.frusta_message(header, held))

    def answer(self, found: Answered, overlay: bool = True) -> None:
        """Send cloud, boxes, markers, mask and overlay of the active query.

        Args:
            found: the answer.
            overlay: whether to send the keyframe with its mask; not while live images have one.
        """
        result = found.answer
        header = self.map_header(found.snapshot)
        colors = label_colors(len(result.texts))
        key = (result.texts, result.table.min_score)
        if key != self._query_labels:
            self._send(topics.QUERY_LABELS, messages.label_info_message(header, *key))
            self._query_labels = key
        self._send(topics.QUERY_DETECTIONS, self.detections(found))
        self._send(
            topics.QUERY_MARKERS,
            messages.markers_message(header, result.texts, result.instances, colors),
        )
        if found.keyframe is not None:
            self._send(topics.QUERY_MASK, self.mask(found))
            if overlay:
                self.overlay(*keyframe_header(found.keyframe), overlay_picture(found))
        self._send(topics.QUERY_CLOUD, self.cloud(found))

    def overlay(self, stamp: int, frame_id: str, picture: np.ndarray) -> None:
        """Send an image with the mask of the active query, uint8 [H, W, 3]; `stamp` in ns."""
        header = messages.header_message(stamp, frame_id)
        self._send(topics.QUERY_OVERLAY, messages.image_message(header, picture, "rgb8"))

    def heard(self, name: str) -> bool:
        """Return whether anybody listens to a topic."""
        publisher = self._all.get(name)
        return publisher is not None and publisher.get_subscription_count() > 0

    def no_answer(self) -> None:
        """Clear what the last query showed."""
        header = messages.header_message(self._now(), self._map_frame)
        nothing = np.zeros((0, 3), np.float32)
        empty = np.zeros(0, np.float32)
        self._query_labels = None
        self._send(topics.QUERY_LABELS, messages.label_info_message(header, (), 0.0))
        self._send(topics.QUERY_MARKERS, messages.markers_message(header, (), (), nothing))
        self._send(topics.QUERY_DETECTIONS, Detection3DArray(header=header))
        cloud = messages.cloud_message(header, nothing, nothing, empty, relevancy=empty)
        self._send(topics.QUERY_CLOUD, cloud)

    def cloud(self, found: Answered) -> PointCloud2:
        """Return the map in its own colours with the relevancy of each point."""
        snapshot = found.snapshot
        return messages.cloud_message(
            self.map_header(snapshot),
            snapshot.xyz,
            snapshot.rgb,
            found.answer.label,
            relevancy=found.answer.relevancy,
        )

    def detections(self, found: Answered) -> Detection3DArray:
        """Return the boxes of an answer."""
        header = self.map_header(found.snapshot)
        return messages.detections_message(header, found.answer.texts, found.answer.instances)

    def mask(self, found: Answered) -> Image:
        """Return the mask in the newest keyframe; without a keyframe an image without pixels."""
        if found.keyframe is None:
            return Image(header=messages.header_message(self._now(), ""), encoding="mono8")
        return messages.image_message(self._camera_header(found), found.mask, "mono8")

    def map_header(self, snapshot: MapSnapshot) -> Any:
        """Return the map frame at the newest keyframe's stamp, or now for an empty map."""
        if not snapshot.keyframes:
            return messages.header_message(self._now(), self._map_frame)
        stamp, _ = keyframe_header(snapshot.keyframes[-1])
        return messages.header_message(stamp, self._map_frame)

    def _camera_header(self, found: Answered) -> Any:
        return messages.header_message(*keyframe_header(found.keyframe))

    def _now(self) -> int:
        return self._node.get_clock().now().nanoseconds

    def _send(self, name: str, message: Any) -> None:
        publisher = self._all.get(name)
        if publisher is not None:
            publisher.publish(message)
