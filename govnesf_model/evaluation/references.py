"""A scene's reference frames, encoded once for every method that looks at them.

    references = References(scene, indices, vlm, width=320)
    built = references.build(field, use_depth=False)
    built.views, built.volume, built.seconds

The open-vocabulary features are computed once; each field adds its own maps and volume to them.
Methods that do without depth do not see any, not even for the extent of the volume.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from govnesf_model.alignment import aligned_poses, expected_pose
from govnesf_model.blending import Views
from govnesf_model.cameras import Camera
from govnesf_model.data.posed_scene import PosedScene
from govnesf_model.exposure import even_exposure
from govnesf_model.field import GovNesf, VolumeField
from govnesf_model.keyframes import Keyframe, MapConfig
from govnesf_model.map_views import encode_frame, field_maps, with_surface
from govnesf_model.map_volume import MapVolume
from govnesf_model.ov_features import OvCache
from govnesf_model.surfaces import confirmed_surfaces
from govnesf_model.view_stack import stack_views
from govnesf_model.vlm.base import DenseEncoder


@dataclass
class Built:
    """A scene as a field sees it.

    Attributes:
        views, volume: what rendering and labelling take.
        seconds: encoding and building, what was shared with other methods counted in.
        given: poses of the views as the scene has them; those of `views` may have been aligned.
    """

    views: Views
    volume: VolumeField
    seconds: float
    given: Float[Tensor, "v 4 4"]

    def placed(self, camera: Camera) -> Camera:
        """Return a camera of the scene where it lies among the aligned views."""
        pose = expected_pose(camera.T_world_camera, self.given, self.views.T_world_camera)
        return replace(camera, T_world_camera=pose)


class References:
    """Reference frames and what was made of them; nothing is computed before it is asked for."""

    def __init__(
        self,
        scene: PosedScene,
        indices: Sequence[int],
        vlm: DenseEncoder,
        width: int,
        keep_features: bool = False,
    ) -> None:
        """Take note of what will be encoded.

        Args:
            scene: whose frames.
            indices: the reference frames.
            vlm: open-vocabulary encoder.
            width: of the images that the encoders see, pixels.
            keep_features: use the cache of `govnesf extract`.
        """
        size = (width, round(scene.height * width / scene.width))
        self._cache = OvCache(vlm, size) if keep_features else None
        self.scene = scene
        self.indices = list(indices)
        self._vlm = vlm
        self._width = width
        self._built: dict[tuple[int, bool], Built] = {}
        self._encoded: dict[int, tuple[tuple[Keyframe, ...], float]] = {}

    @torch.no_grad()
    def build(self, field: GovNesf, use_depth: bool) -> Built:
        """Return the views and the volume of a field, with depth or without.

        Raises:
            ValueError: there is no reference frame.
        """
        if not self.indices:
            raise ValueError(f"scene {self.scene.root} has no reference frames")
        # An averaging field is another object with the same layers: these are what counts.
        layers = id(field.encoder)
        if (layers, use_depth) not in self._built:
            keyframes, encoding = self._encode(field, layers)
            start = perf_counter()
            config = MapConfig(image_width=self._width, use_depth=use_depth)
            if not use_depth:
                keyframes = tuple(replace(keyframe, depth=None) for keyframe in keyframes)
            given = keyframes
            keyframes = tuple(with_surface(field, keyframe, keyframes) for keyframe in keyframes)
            if field.config.align_views and use_depth:
                keyframes = _aligned(field, keyframes)
            if field.config.confirm_surfaces and not use_depth:
                keyframes = _confirmed(field, keyframes)
            volume = MapVolume(field, config, field.device)
            for keyframe in keyframes:
                volume.add(keyframe)
            views = stack_views(keyframes, field.device)
            if field.config.even_exposure:
                views.gain = even_exposure(views)
            built = Built(views, volume.run(), 0.0, _poses(given))
            built.seconds = encoding + perf_counter() - start
            self._built[layers, use_depth] = built
        return self._built[layers, use_depth]

    def _encode(self, field: GovNesf, layers: int) -> tuple[tuple[Keyframe, ...], float]:
        """Return the keyframes of a field and the seconds that they cost."""
        if layers in self._encoded:
            return self._encoded[layers]
        start, before = perf_counter(), 0.0
        name = self.scene.name
        if not self._encoded:
            config = MapConfig(image_width=self._width)
            frames = tqdm(self.indices, desc=f"{name}: views", unit="frame", leave=False)
            keyframes = tuple(
                encode_frame(
                    *(field, self._vlm, self.scene[index], config, number),
                    ov=None if self._cache is None else self._cache.features(self.scene, index),
                )
                for number, index in enumerate(frames)
            )
        else:
            others, before = next(iter(self._encoded.values()))
            keyframes = tuple(
                _with_maps_of(field, keyframe)
                for keyframe in tqdm(others, desc=f"{name}: maps", unit="frame", leave=False)
            )
        self._encoded[layers] = keyframes, before + perf_counter() - start
        return self._encoded[layers]


def _aligned(field: GovNesf, keyframes: tuple[Keyframe, ...]) -> tuple[Keyframe, ...]:
    """Return keyframes with measured depth whose poses agree better."""
    poses = aligned_poses(stack_views(keyframes, field.device)).cpu().numpy()
    return tuple(
        replace(keyframe, T_world_camera=pose)
        for keyframe, pose in zip(keyframes, poses, strict=True)
    )


def _confirmed(field: GovNesf, keyframes: tuple[Keyframe, ...]) -> tuple[Keyframe, ...]:
    """Return keyframes whose doubt of what they see takes the others into account."""
    views = stack_views(keyframes, field.device)
    if views.surface is None:
        return keyframes
    surface = confirmed_surfaces(views.surface, views.K, views.T_world_camera, views.width)
    return tuple(
        replace(keyframe, surface_spread=surface.spread[view : view + 1])
        for view, keyframe in enumerate(keyframes)
    )


def _poses(keyframes: tuple[Keyframe, ...]) -> Float[Tensor, "v 4 4"]:
    return torch.from_numpy(np.stack([keyframe.T_world_camera for keyframe in keyframes]))


def score_maps(views: Views, text: Float[Tensor, "t d"]) -> Float[Tensor, "v hs ws t"]:
    """Return the views' text scores, one view after another: in float32 all would be large."""
    return torch.stack([ov.float() @ text.T for ov in views.ov])


def _with_maps_of(field: GovNesf, keyframe: Keyframe) -> Keyframe:
    image = torch.from_numpy(keyframe.rgb).to(field.device).permute(2, 0, 1).unsqueeze(0) / 255.0
    return replace(keyframe, **field_maps(field, image))
