"""The map's opinion on places that are not its own points: segment_cloud, render_view."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from geometry_msgs.msg import Transform, Vector3
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from std_msgs.msg import Header

from govnesf_model.cameras import Camera
from govnesf_model.map_lookup import label_cloud, render_view
from govnesf_model.query import MAX_TEXTS, Query, TextTable
from govnesf_ros import topics
from govnesf_ros.calibration import to_intrinsics
from govnesf_ros.clouds import cloud_xyz, with_columns
from govnesf_ros.conversions import stamp_to_ns, to_matrix
from govnesf_ros.messages import header_message, image_message
from govnesf_ros.service_group import Access, Refusal, ServiceGroup, refuse_broken_text
from govnesf_ros.srv import RenderView, SegmentCloud

MAX_DISTANCE = 1e5  # metres from the origin; float32 has no millimetres left long before
_POLL = 0.02  # seconds between two looks for a transform


class LookupServices(ServiceGroup):
    """Heavy requests: one at a time, however many come."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        group = MutuallyExclusiveCallbackGroup()
        self.offer(SegmentCloud, topics.SEGMENT_CLOUD, self._segment_cloud, group)
        self.offer(RenderView, topics.RENDER_VIEW, self._render_view, group)

    def _segment_cloud(
        self, request: SegmentCloud.Request, response: SegmentCloud.Response
    ) -> None:
        settings = self.access.node.settings
        xyz = cloud_xyz(request.cloud, settings.max_cloud_points)
        table = self._table(request.texts, request.contrast, only_contrast=True)
        T_map_cloud = self._transform(request.cloud.header)
        in_map = (xyz @ T_map_cloud[:3, :3].T + T_map_cloud[:3, 3]).astype(np.float32)
        found = label_cloud(
            self.access.scene_map, in_map, table, self._limit(f"labelling {len(xyz)} points")
        )
        response.cloud = with_columns(request.cloud, label=found.label, confidence=found.confidence)
        response.texts = list(table.texts)
        labelled, unseen = int((found.label > 0).sum()), int((~found.seen).sum())
        response.message = (
            f"{labelled} of {len(xyz)} points have a label; no keyframe sees {unseen} of them on "
            "a surface"
        )

    def _render_view(self, request: RenderView.Request, response: RenderView.Response) -> None:
        access, settings, info = self.access, self.access.node.settings, request.camera_info
        width, height = info.width, info.height
        if width * height > settings.max_render_pixels:
            raise Refusal(
                f"{width}x{height} pixels were asked for, at most {settings.max_render_pixels} are "
                "rendered (max_render_pixels): ask for a smaller image"
            )
        intrinsics = to_intrinsics(info, distorted=False)
        table = self._table(request.texts, (), only_contrast=False)
        T_map_camera = self._transform(request.pose.header) @ _matrix_of(request.pose.pose)
        if np.abs(T_map_camera[:3, 3]).max() > MAX_DISTANCE:
            x, y, z = T_map_camera[:3, 3]
            raise Refusal(
                f"the pose lies at ({x:.3g}, {y:.3g}, {z:.3g}) m in the map frame: give one within "
                f"{MAX_DISTANCE:g} m of its origin"
            )
        camera = Camera(
            torch.from_numpy(intrinsics.K).float(),
            torch.from_numpy(T_map_camera).float(),
            intrinsics.width,
            intrinsics.height,
        )
        view = render_view(
            access.scene_map,
            camera,
            table,
            settings.label_score or table.min_score,
            self._limit(f"rendering {width}x{height} pixels"),
        )
        header = request.pose.header
        if not stamp_to_ns(header.stamp):
            now = access.node.get_clock().now().nanoseconds
            header = header_message(now, header.frame_id)
        response.rgb = image_message(header, view.rgb, "rgb8")
        response.depth = image_message(header, view.depth, "32FC1")
        response.labels = image_message(header, view.label, "mono8")
        response.confidence = image_message(header, view.confidence, "32FC1")
        response.texts = list(table.texts)
        shown = float(np.isfinite(view.depth).mean())
        response.message = f"{100 * shown:.0f} % of the view show surface of the map"

    def _table(
        self, texts: Sequence[str], contrast: Sequence[str], only_contrast: bool
    ) -> TextTable:
        refuse_broken_text(texts, "text")
        refuse_broken_text(contrast, "contrast word")
        if len(texts) > MAX_TEXTS or len(contrast) > MAX_TEXTS:
            raise Refusal(
                f"{len(texts)} texts and {len(contrast)} contrast words were given, at most "
                f"{MAX_TEXTS} of each are possible"
            )
        words = tuple(texts) or self.access.answers.vocabulary
        return self.access.answers.encode(
            Query(texts=words, contrast=tuple(contrast), only_contrast=only_contrast)
        )

    def _transform(self, header: Header) -> np.ndarray:
        """Return T_map_frame at the header's stamp (zero: the newest), waiting a moment for it."""
        settings = self.access.node.settings
        frame, stamp = header.frame_id.lstrip("/"), stamp_to_ns(header.stamp)
        if not frame:
            raise Refusal(
                "the header has no frame_id: name the frame that the numbers are given in, e.g. "
                f"'{settings.map_frame}'"
            )
        if frame == settings.map_frame:
            return np.eye(4)
        lookup = self.access.lookup()
        if lookup is None:
            raise Refusal(
                f"the frame '{frame}' needs TF, which the node only listens to while it is active: "
                f"activate it, or give the numbers in '{settings.map_frame}'"
            )
        deadline = time.monotonic() + settings.tf_timeout
        while (T_map_frame := lookup.try_lookup(frame, stamp)) is None:
            if time.monotonic() > deadline:
                raise Refusal(str(lookup.explain(frame, stamp)))
            time.sleep(_POLL)
        return T_map_frame

    def _limit(self, what: str) -> Callable[[float], None]:
        """Return a function that ends the work when it takes too long."""
        seconds = self.access.node.settings.lookup_timeout
        deadline = time.monotonic() + seconds

        def check(done: float) -> None:
            if time.monotonic() > deadline:
                raise Refusal(
                    f"{what} took longer than lookup_timeout, {seconds:g} s ({100 * done:.0f} % "
                    "done): ask for less at once, or raise lookup_timeout"
                )

        return check


def _matrix_of(pose: object) -> np.ndarray:
    """Return T_frame_pose, [4, 4]."""
    at = pose.position
    translation = Vector3(x=at.x, y=at.y, z=at.z)
    return to_matrix(Transform(translation=translation, rotation=pose.orientation))
