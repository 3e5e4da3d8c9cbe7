"""What the map knows about places that are not its own points: any cloud, any view.

    labels = label_cloud(scene_map, xyz, table)            # a lidar's points get labels
    view = render_view(scene_map, camera, table)           # what a camera there would see

Both read one snapshot and the volume that belongs to it, so they may run beside the mapping thread.
`progress` is called with the part that is done, 0..1, and may raise to end the work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Int64, UInt8, UInt32

from govnesf_model.blending import Views
from govnesf_model.cameras import Camera, project_seen
from govnesf_model.fitting_chunks import FittingChunks
from govnesf_model.keyframes import Keyframe, MapSnapshot, pose_difference
from govnesf_model.map_points import rows_seen, voxel_keys, z_buffer
from govnesf_model.map_views import fuse_points
from govnesf_model.query import TextTable
from govnesf_model.rendering import render_image
from govnesf_model.scene_map import SceneMap
from govnesf_model.segmentation import label_features
from govnesf_model.view_stack import ViewStack

_CHUNK = 8192  # points fused at once
_RAYS = 8192  # rays rendered between two calls of `progress`
_BLOCK = 0.5  # metres; points of one block are looked up in the same keyframes
_LENIENT = 2.0  # another sensor's points lie that much less exactly on the map's surface
_BLIND = 3.0  # the surface of a view without depth is that much less exact
_SOLID = 0.5  # rays less opaque than this meet nothing
_REACH = 1.5  # how much farther than mapped surface a rendered view looks

Progress = Callable[[float], object]


class EmptyMap(ValueError):
    """Nothing can be looked up: no keyframe has been accepted yet."""


@dataclass(frozen=True)
class CloudLabels:
    """Labels of a cloud.

    Attributes:
        label: 0 unseen or better explained by a contrast word, i + 1 = texts[i].
        confidence: probability of the best text, 0 unseen.
        seen: whether a keyframe sees the point on a surface of the map.
    """

    label: UInt32[np.ndarray, "n"]
    confidence: Float32[np.ndarray, "n"]
    seen: Bool[np.ndarray, "n"]


@dataclass(frozen=True)
class LabelledView:
    """A rendered view.

    Attributes:
        rgb: colours, black where nothing is.
        depth: z-depth in metres, NaN where nothing is.
        label: 0 none, i + 1 = texts[i].
        confidence: probability of the best text, 0 where nothing is.
    """

    rgb: UInt8[np.ndarray, "H W 3"]
    depth: Float32[np.ndarray, "H W"]
    label: UInt8[np.ndarray, "H W"]
    confidence: Float32[np.ndarray, "H W"]


@torch.no_grad()
def label_cloud(
    scene_map: SceneMap,
    xyz: Float32[np.ndarray, "n 3"],
    table: TextTable,
    progress: Progress = lambda part: None,
) -> CloudLabels:
    """Label points by the keyframes that see them.

    Args:
        scene_map: only read.
        xyz: points in the map frame, metres; those that are not finite are unseen.
        table: words and contrast words; a point gets a label where no contrast word is likelier.
        progress: see the module.

    Raises:
        EmptyMap: the map holds no keyframe.
    """
    snapshot, volume = scene_map.snapshot(), scene_map.volume
    if not snapshot.keyframes or volume is None:
        raise EmptyMap("the map is empty: no keyframe has been accepted yet")
    config = scene_map.config
    rows = np.flatnonzero(np.isfinite(xyz).all(axis=1) & (np.abs(xyz) < 1e6).all(axis=1))
    tolerance = _LENIENT * config.depth_tolerance
    sights = _sights(xyz[rows], snapshot, tolerance, 1.2 * config.max_depth, progress)
    visible = sights.any(axis=0)
    rows, sights = rows[visible], sights[:, visible]
    # Neighbours are seen by the same keyframes: one stack of views serves a whole chunk.
    order = np.argsort(voxel_keys(xyz[rows], _BLOCK), kind="stable")
    rows, sights = rows[order], sights[:, order]
    words = torch.cat([table.text_features, table.contrast_features])
    label = np.zeros(len(xyz), np.uint32)
    confidence = np.zeros(len(xyz), np.float32)
    seen = np.zeros(len(xyz), bool)
    seen[rows] = True
    stack = ViewStack(scene_map.device)
    limits = config.views_per_point, tolerance

    def look_up(part: slice) -> tuple[torch.Tensor, torch.Tensor]:
        progress(0.3 + 0.7 * part.start / len(rows))
        views = stack.of(_most_seeing(snapshot.keyframes, sights[:, part], config.related_views))
        points = torch.from_numpy(xyz[rows[part]]).to(scene_map.device)
        features, _, _ = fuse_points(scene_map.field, points, views, volume, *limits)
        return label_features(features, words, words[:0], table.logit_scale)

    for part, (best, score) in FittingChunks(_CHUNK).run(len(rows), look_up):
        best[best > len(table.texts)] = 0
        label[rows[part]] = best.cpu().numpy()
        confidence[rows[part]] = score.cpu().numpy() * (label[rows[part]] > 0)
    return CloudLabels(label, confidence, seen)


@torch.no_grad()
def render_view(
    scene_map: SceneMap,
    camera: Camera,
    table: TextTable,
    min_score: float = 0.0,
    progress: Progress = lambda part: None,
) -> LabelledView:
    """Render colour, depth and labels of the field from anywhere.

    Args:
        scene_map: only read.
        camera: in the map frame.
        table: words and contrast words.
        min_score: probability from which on a pixel has a label.
        progress: see the module.

    Raises:
        EmptyMap: the map holds no keyframe.
    """
    snapshot, volume = scene_map.snapshot(), scene_map.volume
    if not snapshot.keyframes or volume is None:
        raise EmptyMap("the map is empty: no keyframe has been accepted yet")
    keyframes = _for_view(snapshot, camera, scene_map.config.related_views)
    views = scene_map.views(keyframes)
    far = _REACH * scene_map.config.max_depth
    bands = []
    for band in _bands(camera, scene_map.device):
        progress(sum(part.rgb.shape[0] for part in bands) / camera.height)
        bands.append(_render_band(scene_map, views, volume, band, far, table, min_score))
    return LabelledView(
        *(
            np.concatenate([getattr(part, name) for part in bands])
            for name in ("rgb", "depth", "label", "confidence")
        )
    )


def _render_band(
    scene_map: SceneMap,
    views: Views,
    volume: object,
    camera: Camera,
    far: float,
    table: TextTable,
    min_score: float,
) -> LabelledView:
    image = render_image(scene_map.field, views, volume, camera, far=far, want_ov=True)
    solid = image.opacity >= _SOLID
    features = F.normalize(image.ov.flatten(0, 1).float(), dim=1)
    label, score = label_features(
        features, table.text_features, table.contrast_features, table.logit_scale, min_score
    )
    label = torch.where(solid, label.view_as(image.depth), 0)
    return LabelledView(
        rgb=(255 * image.color.clamp(0, 1) * solid.unsqueeze(-1)).round().byte().cpu().numpy(),
        depth=torch.where(solid, image.depth, torch.nan).cpu().numpy(),
        label=label.to(torch.uint8).cpu().numpy(),
        confidence=torch.where(solid, score.view_as(image.depth), 0).cpu().numpy(),
    )


def _sights(
    xyz: Float32[np.ndarray, "n 3"],
    snapshot: MapSnapshot,
    tolerance: float,
    far: float,
    progress: Progress,
) -> Bool[np.ndarray, "k n"]:
    """Tell which keyframe sees which point on the map's surface."""
    sights = np.zeros((len(snapshot.keyframes), len(xyz)), bool)
    for number, keyframe in enumerate(snapshot.keyframes):
        progress(0.3 * number / len(snapshot.keyframes))
        depth, scale = keyframe.depth, 1.0
        if depth is None:
            depth, scale = _surface_of(snapshot, keyframe, far), _BLIND
        size = (keyframe.width, keyframe.height)
        pose = keyframe.T_world_camera
        view = rows_seen(xyz, keyframe.K, pose, size, depth, scale * tolerance, far)
        sights[number, view.seen] = True
    return sights


def _surface_of(
    snapshot: MapSnapshot, keyframe: Keyframe, far: float
) -> Float32[np.ndarray, "h w"]:
    """Return the depth of the map's own points in a keyframe, 0 unknown."""
    K, T = torch.from_numpy(keyframe.K), torch.from_numpy(keyframe.T_world_camera)
    size = keyframe.width, keyframe.height
    _, uv, z = project_seen(torch.from_numpy(snapshot.xyz), K, T, *size)
    near = z < far
    return z_buffer(uv[near].numpy(), z[near].numpy(), *size)


def _most_seeing(
    keyframes: Sequence[Keyframe], sights: Bool[np.ndarray, "k n"], limit: int
) -> tuple[Keyframe, ...]:
    counts = sights.sum(axis=1)
    best = [number for number in np.argsort(-counts, kind="stable")[:limit] if counts[number] > 0]
    return tuple(keyframes[number] for number in sorted(best))


def _for_view(snapshot: MapSnapshot, camera: Camera, limit: int) -> tuple[Keyframe, ...]:
    """Return the keyframes that see most of what a camera sees; else those that look alike."""
    K, T = camera.K.cpu().numpy(), camera.T_world_camera.cpu().numpy()
    size = (camera.width, camera.height)
    shown = rows_seen(snapshot.xyz, K, T, size, None, np.inf, np.inf).seen
    xyz = torch.from_numpy(snapshot.xyz[_thinned(shown)])
    counts = []
    for keyframe in snapshot.keyframes:
        pose = torch.from_numpy(keyframe.T_world_camera)
        size = keyframe.width, keyframe.height
        counts.append(len(project_seen(xyz, torch.from_numpy(keyframe.K), pose, *size)[0]))
    poses = np.stack([keyframe.T_world_camera for keyframe in snapshot.keyframes])
    meters, degrees = pose_difference(T, poses)
    rank = np.lexsort((meters + degrees / 30.0, -np.array(counts)))
    return tuple(snapshot.keyframes[number] for number in sorted(rank[:limit]))


def _thinned(rows: Int64[np.ndarray, "n"], most: int = 5000) -> Int64[np.ndarray, "m"]:
    return rows[:: max(1, len(rows) // most)]


def _bands(camera: Camera, device: torch.device) -> list[Camera]:
    """Cut a view into rows of pixels."""
    rows = max(1, _RAYS // camera.width)
    pose = camera.T_world_camera.to(device)
    bands = []
    for top in range(0, camera.height, rows):
        K = camera.K.clone().to(device)
        K[1, 2] -= top
        bands.append(Camera(K, pose, camera.width, min(rows, camera.height - top)))
    return bands
