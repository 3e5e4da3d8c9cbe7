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

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from govnesf_model.blending import Views
from govnesf_model.data.posed_scene import PosedScene
from govnesf_model.field import GovNesf, VolumeField
from govnesf_model.keyframes import Keyframe, MapConfig
from govnesf_model.map_views import encode_frame, stack_views
from govnesf_model.map_volume import MapVolume
from govnesf_model.ov_features import OvCache
from govnesf_model.vlm.base import DenseEncoder


@dataclass
class Built:
    """A scene as a field sees it.

    Attributes:
        views, volume: what rendering and labelling take.
        seconds: encoding and building, what was shared with other methods counted in.
    """

    views: Views
    volume: VolumeField
    seconds: float


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
            volume = MapVolume(field, config, field.device)
            for number, keyframe in enumerate(keyframes):
                volume.add(keyframe, keyframes[: number + 1])
            built = Built(stack_views(keyframes, field.device), volume.run(), 0.0)
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


def score_maps(views: Views, text: Float[Tensor, "t d"]) -> Float[Tensor, "v hs ws t"]:
    """Return the views' text scores, one view after another: in float32 all would be large."""
    return torch.stack([ov.float() @ text.T for ov in views.ov])


def _with_maps_of(field: GovNesf, keyframe: Keyframe) -> Keyframe:
    image = torch.from_numpy(keyframe.rgb).to(field.device).permute(2, 0, 1).unsqueeze(0) / 255.0
    maps = field.encode_images(image)
    return replace(keyframe, volume_features=maps.volume[0], query_features=maps.query[0])
