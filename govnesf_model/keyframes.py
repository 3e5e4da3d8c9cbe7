"""Which images become keyframes, which are given up, and what readers of the map see.

gate = KeyframeGate(config)
accepted, reason = gate.wants(T_world_camera, stamp, rgb, poses, stamps)
victim = least_needed(seen_points, count)
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor

from govnesf_model.feature_blocks import FeatureBlocks
from govnesf_model.stereo import Surface

ACCEPTED = "accepted"
REASONS = (ACCEPTED, "static", "blurred", "too_soon", "known")


@dataclass(frozen=True)
class MapConfig:
    """How the map chooses, keeps and fuses."""

    max_keyframes: int = 64
    """Keyframes held at most; beyond it the one whose loss uncovers least is given up."""
    memory_mib: float = 2048.0
    """Bound on keyframes, volume and points together, in MiB. Of the volume, what the robot has
    left behind waits on the disk, in a folder of its own among the temporary files."""
    min_translation: float = 0.10
    """A keyframe differs from the one before by this many metres, or by `min_rotation`."""
    min_rotation: float = 10.0
    """See `min_translation`; degrees."""
    min_interval: float = 0.1
    """Seconds between two keyframes."""
    revisit_after: float = 30.0
    """A view that the map already holds is taken again after so many seconds."""
    min_sharpness: float = 0.4
    """An image with less than this part of the usual sharpness is blurred; 0 takes all."""
    image_width: int = 320
    """Images are resized to this width in pixels before anything looks at them."""
    voxel_size: float = 0.03
    """Spacing of the surface points in metres."""
    min_depth: float = 0.1
    """Nearer surface is not mapped, metres."""
    max_depth: float = 5.0
    """Farther surface is not mapped, metres."""
    use_depth: bool = True
    """Take measured depth when a frame has it; off: the field's rendered depth always."""
    depth_step: int = 1
    """Every so many-th pixel of measured depth becomes a point, along both axes."""
    render_step: int = 6
    """The same for rendered depth."""
    min_opacity: float = 0.7
    """Rendered depth is believed where the ray is at least this opaque."""
    depth_tolerance: float = 0.05
    """A view sees a point when measured and expected depth differ by less than this many metres,
    or by the same part of the depth beyond one metre."""
    views_per_point: int = 8
    """Views that are blended for the feature of a point."""
    related_views: int = 16
    """Keyframes that are looked at when points are fused: those that see most of them."""
    refresh_points: int = 12000
    """Points whose features are fused anew per keyframe, beside those that are new; at most an
    eighth of them have `views_per_point` already."""
    max_points: int = 400000
    """Surface points held at most, and no more than fill half of `memory_mib`; those seen least
    often go first."""
    median_of: int = 30
    """Images over which the usual sharpness is taken."""


@dataclass(frozen=True, eq=False)
class Keyframe:
    """One view that the map holds; never changed after it was made.

    Attributes:
        id: number in order of acceptance.
        stamp: seconds.
        rgb: uint8 [H, W, 3] at the map's working width.
        K: float32 [3, 3] for `rgb`.
        T_world_camera: float32 [4, 4].
        depth: float32 [H, W] metres, 0 invalid; None without a depth camera.
        ov: float16 [hs, ws, D], unit norm, channel last, at the encoder's stride.
        ov_stride: pixels of `rgb` per cell of `ov`.
        volume_features: [Cv, h, w], the field's map for the volume.
        query_features: [Cf, h, w], the field's map for the fusion.
        source_size: width and height of the image before it was resized.
        name: of the frame that it came from.
        match: float16 [m, h3, w3], what later keyframes are matched against, padded as the
            encoder pads images; None without stereo.
        surface_depth: float16 [1, h, w], z-depth of the surface that the view believes in, measured
            at full resolution or from stereo at stride 4; 0 unknown. None without either.
        surface_spread: float16 [1, h, w], its expected relative error.
        sources: keyframes that its surface was matched against.
    """

    id: int
    stamp: float
    rgb: UInt8[np.ndarray, "H W 3"]
    K: Float32[np.ndarray, "3 3"]
    T_world_camera: Float32[np.ndarray, "4 4"]
    depth: Float32[np.ndarray, "H W"] | None
    ov: Float[Tensor, "hs ws d"]
    ov_stride: int
    volume_features: Float[Tensor, "cv h w"]
    query_features: Float[Tensor, "cf h w"]
    source_size: tuple[int, int]
    name: str = ""
    match: Float[Tensor, "m h3 w3"] | None = None
    surface_depth: Float[Tensor, "1 h2 w2"] | None = None
    surface_spread: Float[Tensor, "1 h2 w2"] | None = None
    sources: int = 0

    @property
    def height(self) -> int:
        return self.rgb.shape[0]

    @property
    def width(self) -> int:
        return self.rgb.shape[1]

    @property
    def surface(self) -> Surface | None:
        """What the view believes to see."""
        if self.surface_depth is None or self.surface_spread is None:
            return None
        return Surface(self.surface_depth, self.surface_spread)

    @property
    def bytes(self) -> int:
        """Memory held by the keyframe."""
        held = self.rgb.nbytes + (0 if self.depth is None else self.depth.nbytes)
        for tensor in (
            self.ov,
            self.volume_features,
            self.query_features,
            self.match,
            self.surface_depth,
            self.surface_spread,
        ):
            held += 0 if tensor is None else tensor.numel() * tensor.element_size()
        return held


@dataclass(frozen=True, eq=False)
class MapSnapshot:
    """The map at one moment; nothing in it changes any more, readers need no lock.

    Attributes:
        xyz: [N, 3] surface points, metres, map frame.
        rgb: [N, 3] their colours.
        features: float16 [N, D] fused open-vocabulary features, unit norm; zero where unseen. What
            did not change since an earlier snapshot shares its memory.
        confidence: [N] in 0..1, how far the views that see the point agree and how many they are.
        stamp: of the newest keyframe inside, seconds.
        keyframes: newest last.
        version: grows by one with every change.
        voxel_size: spacing of the points, metres.
    """

    xyz: Float32[np.ndarray, "n 3"]
    rgb: UInt8[np.ndarray, "n 3"]
    features: FeatureBlocks
    confidence: Float32[np.ndarray, "n"]
    stamp: float
    keyframes: tuple[Keyframe, ...]
    version: int
    voxel_size: float

    @classmethod
    def empty(cls, dim: int, voxel_size: float, version: int = 0) -> "MapSnapshot":
        """Return a map that holds nothing."""
        return cls(
            xyz=np.zeros((0, 3), np.float32),
            rgb=np.zeros((0, 3), np.uint8),
            features=FeatureBlocks.empty(dim),
            confidence=np.zeros(0, np.float32),
            stamp=0.0,
            keyframes=(),
            version=version,
            voxel_size=voxel_size,
        )


@dataclass
class KeyframeGate:
    """Decides from pose, time and sharpness whether an image adds to the map."""

    config: MapConfig
    _sharpness: deque = field(default_factory=deque)

    def wants(
        self,
        T_world_camera: Float[np.ndarray, "4 4"],
        stamp: float,
        rgb: UInt8[np.ndarray, "H W 3"] | None,
        poses: Float[np.ndarray, "n 4 4"],
        stamps: Float[np.ndarray, "n"],
    ) -> tuple[bool, str]:
        """Return whether to take an image, and why not in one word.

        "static": hardly moved since the last keyframe; "known": another recent keyframe looks from
        the same place; "too_soon": within the minimal interval and not far off; "blurred": less
        sharp than usual.

        Args:
            T_world_camera: pose of the image.
            stamp: its time in seconds.
            rgb: the image; None skips the test for blur.
            poses: of the keyframes, oldest first.
            stamps: their times in seconds.
        """
        blurred = rgb is not None and self._is_blurred(rgb)
        if len(poses) == 0:
            return True, ACCEPTED
        config = self.config
        meters, degrees = pose_difference(T_world_camera, poses)
        far = meters[-1] > 4 * config.min_translation or degrees[-1] > 3 * config.min_rotation
        # That far off within so short a time is another camera: it must not wait for its turn.
        if 0 <= stamp - stamps[-1] < config.min_interval and not far:
            return False, "too_soon"
        near = (meters < config.min_translation) & (degrees < config.min_rotation)
        if near[-1]:
            return False, "static"
        if (near & (np.abs(stamp - stamps) < config.revisit_after)).any():
            return False, "known"
        # A camera that shakes all the time must not stop the map: far enough off, blur is taken.
        if blurred and not far:
            return False, "blurred"
        return True, ACCEPTED

    def reset(self) -> None:
        """Forget the usual sharpness."""
        self._sharpness.clear()

    def _is_blurred(self, rgb: np.ndarray) -> bool:
        value = sharpness(rgb)
        usual = float(np.median(self._sharpness)) if len(self._sharpness) >= 5 else 0.0
        self._sharpness.append(value)
        while len(self._sharpness) > self.config.median_of:
            self._sharpness.popleft()
        return value < self.config.min_sharpness * usual


def sharpness(rgb: UInt8[np.ndarray, "H W 3"]) -> float:
    """Return the variance of the Laplacian of an image at a width of 320 pixels."""
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if gray.shape[1] > 320:
        size = (320, max(1, round(gray.shape[0] * 320 / gray.shape[1])))
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(gray, cv2.CV_32F).var())


def pose_difference(
    pose: Float[np.ndarray, "4 4"], others: Float[np.ndarray, "n 4 4"]
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Return metres and degrees between a pose and others."""
    meters = np.linalg.norm(others[:, :3, 3] - pose[:3, 3], axis=1)
    trace = np.einsum("nij,ij->n", others[:, :3, :3], pose[:3, :3])
    return meters, np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def least_needed(seen: Sequence[Int[np.ndarray, "_"]], points: int, keep_newest: int = 2) -> int:
    """Return the position of the keyframe whose removal uncovers least.

    Args:
        seen: per keyframe, oldest first, the rows of the points that it sees.
        points: number of points in the map.
        keep_newest: so many keyframes at the end are never chosen.

    Returns:
        The keyframe with the fewest points that no other sees; among equals the one whose points
        are best covered by others, then the oldest.
    """
    support = np.zeros(points, np.int64)
    for rows in seen:
        support[rows] += 1
    candidates = range(max(1, len(seen) - keep_newest))

    def loss(position: int) -> tuple[int, float]:
        views = support[seen[position]]
        return int((views == 1).sum()), float((1 / np.maximum(views, 1)).sum())

    return min(candidates, key=loss)
