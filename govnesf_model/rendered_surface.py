"""The surface of a map without depth camera: what the field renders for its keyframes.

The first keyframes are rendered from a volume that one or two views have filled, and lie wrong. So
with every new keyframe the ones that were rendered longest ago are rendered again, and the points
are taken anew from all.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

from govnesf_model.field import GovNesf, VolumeField
from govnesf_model.keyframes import Keyframe, MapConfig
from govnesf_model.map_depth import render_depth
from govnesf_model.map_points import voxel_keys

_AGAIN = 3  # keyframes that are rendered again beside the new one

Cloud = tuple[np.ndarray, np.ndarray]  # positions and colours


class RenderedSurface:
    """Rendered depth and points per keyframe."""

    def __init__(self, config: MapConfig) -> None:
        self._config = config
        self._depth: dict[int, np.ndarray] = {}  # in the order in which they were rendered
        self._cloud: dict[int, Cloud] = {}
        self._frozen: Cloud = (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))
        self._frozen_of = np.zeros(0, np.int64)  # the keyframe that each of them was rendered for

    def applies(self, keyframes: tuple[Keyframe, ...]) -> bool:
        """Tell whether the map has no depth at all; measured depth is never replaced."""
        return all(keyframe.depth is None for keyframe in keyframes)

    def update(
        self, field: GovNesf, volume: VolumeField, keyframes: tuple[Keyframe, ...]
    ) -> list[Keyframe]:
        """Render the newest keyframe and those rendered longest ago; return them."""
        held = {keyframe.id: keyframe for keyframe in keyframes}
        stale = [held[number] for number in self._depth if number in held][:_AGAIN]
        rendered = [keyframes[-1], *(k for k in stale if k is not keyframes[-1])]
        for keyframe in rendered:
            depth, xyz, rgb = render_depth(field, volume, keyframe, self._config)
            self._depth.pop(keyframe.id, None)
            self._depth[keyframe.id] = depth
            self._cloud[keyframe.id] = (xyz, rgb)
        return rendered

    def depth(self, number: int) -> Float32[np.ndarray, "h w"]:
        """Return the depth that was rendered last for a keyframe, metres, 0 unknown."""
        return self._depth[number]

    def points(self) -> tuple[Float32[np.ndarray, "n 3"], Float32[np.ndarray, "n 3"]]:
        """Return all points and their colours 0..255."""
        clouds = [*self._cloud.values(), self._frozen]
        return np.concatenate([c[0] for c in clouds]), np.concatenate([c[1] for c in clouds])

    def freeze(self, number: int) -> None:
        """Keep the points of a keyframe that the map gives up, one per voxel."""
        self._depth.pop(number, None)
        cloud = self._cloud.pop(number, None)
        if cloud is None:
            return
        xyz, rgb = (np.concatenate(pair) for pair in zip(self._frozen, cloud, strict=True))
        of = np.concatenate([self._frozen_of, np.full(len(cloud[0]), number, np.int64)])
        kept = np.unique(voxel_keys(xyz, self._config.voxel_size), return_index=True)[1]
        self._frozen, self._frozen_of = (xyz[kept], rgb[kept]), of[kept]

    def moved(self, move: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> "RenderedSurface":
        """Return the surface with its points moved; depth is relative to its camera and stays.

        Args:
            move: returns points [n, 3] moved, each with the keyframe of its id [n].
        """
        other = RenderedSurface(self._config)
        other._depth = dict(self._depth)
        other._cloud = {
            number: (move(xyz, np.full(len(xyz), number, np.int64)), rgb)
            for number, (xyz, rgb) in self._cloud.items()
        }
        other._frozen = (move(self._frozen[0], self._frozen_of), self._frozen[1])
        other._frozen_of = self._frozen_of
        return other
