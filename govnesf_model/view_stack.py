"""Keyframes as the reference views of the field, in memory that is used again.

    stack = ViewStack(device)
    views = stack.of(keyframes)            # valid until the next call
    views = stack_views(keyframes, device)     # for good

A keyframe's maps take 5 MiB, and sixteen are looked at for each group of points. Groups that lie
beside each other, and keyframes in a row, share most of them: only the others are copied.
"""

import weakref
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from govnesf_model.keyframes import Keyframe
from govnesf_model.stereo import Surface
from govnesf_model.surfaces import at_stride
from govnesf_model.view_choice import Views


class ViewStack:
    """Large maps of some keyframes, one slot each."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        """Start empty; `device` is that of the views."""
        self._device = torch.device(device)
        # Which keyframe is in which slot; one that the map gives up must not be held here.
        self._held: list[Callable[[], Keyframe | None]] = []
        self._maps: dict[str, Tensor] = {}

    @property
    def bytes(self) -> int:
        """Memory held."""
        return sum(maps.numel() * maps.element_size() for maps in self._maps.values())

    def of(self, keyframes: Sequence[Keyframe]) -> Views:
        """Return keyframes as views, in any order, in memory that the next call writes to.

        Depth is there when at least one keyframe has it; the others then hold 0, unknown.
        """
        self._make_room(keyframes)
        missing, held = list(keyframes), []
        for slot in range(len(keyframes)):
            keyframe = self._held[slot]()
            there = keyframe is not None and keyframe in missing
            if there:
                missing.remove(keyframe)
            held.append(keyframe if there else None)
        for slot, keyframe in enumerate(held):
            if keyframe is None:
                held[slot] = missing.pop(0)
                self._put(slot, held[slot])
        rgb, query, ov = (self._maps[name][: len(held)] for name in ("rgb", "query", "ov"))
        return Views(
            rgb=rgb,
            query=query.permute(0, 3, 1, 2),
            K=_stacked([keyframe.K for keyframe in held], self._device),
            T_world_camera=_stacked([keyframe.T_world_camera for keyframe in held], self._device),
            depth=_depths(held, self._device),
            surface=_surfaces(held),
            ov=ov,
            ov_stride=held[0].ov_stride,
        )

    def _make_room(self, keyframes: Sequence[Keyframe]) -> None:
        one = keyframes[0]
        query = one.query_features.permute(1, 2, 0)
        wanted = {
            "rgb": ((3, one.height, one.width), torch.float32),
            "query": (tuple(query.shape), query.dtype),
            "ov": (tuple(one.ov.shape), one.ov.dtype),
        }
        there = {name: (tuple(maps.shape[1:]), maps.dtype) for name, maps in self._maps.items()}
        if there == wanted and len(self._maps["ov"]) >= len(keyframes):
            return
        self._held, self._maps = [_nobody] * len(keyframes), {}  # first let go, then take
        for name, (shape, dtype) in wanted.items():
            self._maps[name] = torch.empty(len(keyframes), *shape, dtype=dtype, device=self._device)

    def _put(self, slot: int, keyframe: Keyframe) -> None:
        self._held[slot] = weakref.ref(keyframe)
        self._maps["rgb"][slot].copy_(torch.from_numpy(keyframe.rgb).permute(2, 0, 1)).div_(255.0)
        self._maps["query"][slot].copy_(keyframe.query_features.permute(1, 2, 0))
        self._maps["ov"][slot].copy_(keyframe.ov)


def stack_views(keyframes: Sequence[Keyframe], device: torch.device | str) -> Views:
    """Return keyframes as views in their order, in memory of their own; see `ViewStack.of`."""
    return ViewStack(device).of(keyframes)


def _nobody() -> None:
    return None


def _depths(keyframes: Sequence[Keyframe], device: torch.device) -> Tensor | None:
    if all(keyframe.depth is None for keyframe in keyframes):
        return None
    empty = np.zeros((keyframes[0].height, keyframes[0].width), np.float32)
    return _stacked([empty if k.depth is None else k.depth for k in keyframes], device)


def _surfaces(keyframes: Sequence[Keyframe]) -> Surface | None:
    """Return all keyframes' surfaces at one resolution, the coarsest among them."""
    held = [keyframe.surface for keyframe in keyframes]
    if any(surface is None for surface in held):
        return None
    width = keyframes[0].width
    strides = [round(width / surface.depth.shape[2]) for surface in held]
    coarsest = max(strides)
    held = [
        surface if stride == coarsest else at_stride(surface, coarsest)
        for surface, stride in zip(held, strides, strict=True)
    ]
    return Surface(
        torch.cat([surface.depth for surface in held]),
        torch.cat([surface.spread for surface in held]),
    )


def _stacked(arrays: list[np.ndarray], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).to(device)
