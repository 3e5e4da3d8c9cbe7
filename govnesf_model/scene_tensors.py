"""A posed scene in memory: images of one size as tensors.

scene = load_scene(open_scene(folder), (320, 240))
some = scene.subset(spread(range(len(scene)), 16))
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from .cameras import scale_intrinsics
from .data.posed_scene import PosedScene
from .image_encoder import ImageEncoder
from .stereo import Surface
from .unsteady_camera import UnsteadyCamera

Item = TypeVar("Item")


@dataclass
class SceneTensors:
    """A posed scene in memory, images of one size.

    Attributes:
        name: of the scene.
        rgb: images.
        depth: z-depth in metres, 0 unknown; None if the scene has none.
        label: class indices; None if the scene has none.
        K, T_world_camera: intrinsics and poses.
        maps: cached outputs of a frozen backbone (float16), or None.
        frames: positions of the views in their scene.
        surface: depths from stereo of all views of the scene against each other, or None.
        shown: images without the errors of single frames, which held-back views should show; None
            where they are `rgb`.
        gain: factors on colours that even out the views' exposure; None for 1.
    """

    name: str
    rgb: UInt8[Tensor, "v 3 H W"]
    depth: Float[Tensor, "v H W"] | None
    label: UInt8[Tensor, "v H W"] | None
    K: Float[Tensor, "v 3 3"]
    T_world_camera: Float[Tensor, "v 4 4"]
    maps: list[Float[Tensor, "v _ _ _"]] | None = None
    frames: tuple[int, ...] = ()
    surface: Surface | None = None
    shown: UInt8[Tensor, "v 3 H W"] | None = None
    gain: Float[Tensor, "v 3"] | None = None

    def __len__(self) -> int:
        return len(self.rgb)

    @property
    def height(self) -> int:
        return self.rgb.shape[2]

    @property
    def width(self) -> int:
        return self.rgb.shape[3]

    def subset(self, index: Sequence[int]) -> "SceneTensors":
        """Return some of the views, in the order given."""
        rows = torch.as_tensor(list(index), dtype=torch.long)
        frames = tuple(self.frames[i] for i in index) if self.frames else ()
        return self._each(lambda tensor: tensor[rows], frames)

    def to(self, device: torch.device | str) -> "SceneTensors":
        """Return the views on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True), self.frames)

    def colors(self) -> Float[Tensor, "v 3 H W"]:
        """Return the images in 0..1."""
        return self.rgb.float() / 255

    def _each(self, change: Callable[[Tensor], Tensor], frames: tuple[int, ...]) -> "SceneTensors":
        return SceneTensors(
            self.name,
            change(self.rgb),
            None if self.depth is None else change(self.depth),
            None if self.label is None else change(self.label),
            change(self.K),
            change(self.T_world_camera),
            None if self.maps is None else [change(level) for level in self.maps],
            frames,
            None
            if self.surface is None
            else Surface(change(self.surface.depth), change(self.surface.spread)),
            None if self.shown is None else change(self.shown),
            None if self.gain is None else change(self.gain),
        )


def load_scene(
    scene: PosedScene,
    size: tuple[int, int],
    indices: Sequence[int] | None = None,
    encoder: ImageEncoder | None = None,
    jitter: random.Random | None = None,
    camera: UnsteadyCamera | None = None,
) -> SceneTensors:
    """Read frames of a scene into memory.

    Args:
        scene: a posed scene.
        size: (width, height) that images are brought to.
        indices: which frames; all by default.
        encoder: caches its backbone's maps when that is frozen.
        jitter: changes exposure and white balance of the scene at random, as a camera would.
        camera: takes the views again, with all its errors; of as many views as are chosen.
    """
    width, height = size
    chosen = range(len(scene)) if indices is None else indices
    gain = np.ones(3, dtype=np.float32)
    gamma = 1.0
    if jitter is not None:
        gain = np.array([jitter.uniform(0.9, 1.1) for _ in range(3)], dtype=np.float32)
        gain *= jitter.uniform(0.75, 1.2)
        gamma = jitter.uniform(0.8, 1.25)
    rgb, shown, depth, label, K, poses = [], [], [], [], [], []
    for view, index in enumerate(chosen):
        frame = scene[index]
        scale = (width / frame.rgb.shape[1], height / frame.rgb.shape[0])
        image = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA)
        if jitter is not None:
            own = gain * jitter.uniform(0.96, 1.04)
            image = np.clip((image / 255.0) ** gamma * own * 255, 0, 255).astype(np.uint8)
        pose = frame.T_world_camera
        if camera is not None:
            shown.append(torch.from_numpy(image).permute(2, 0, 1))
            image = np.rint(camera.expose(image / 255.0, view) * 255).astype(np.uint8)
            pose = camera.misplace(pose, view)
        rgb.append(torch.from_numpy(image).permute(2, 0, 1))
        if frame.depth is not None:
            depth.append(cv2.resize(frame.depth, size, interpolation=cv2.INTER_NEAREST))
        if frame.label is not None:
            label.append(cv2.resize(frame.label, size, interpolation=cv2.INTER_NEAREST))
        K.append(scale_intrinsics(torch.from_numpy(frame.K).float(), *scale))
        poses.append(torch.from_numpy(pose).float())
    count = len(rgb)
    loaded = SceneTensors(
        scene.name,
        torch.stack(rgb),
        torch.from_numpy(np.stack(depth)) if len(depth) == count else None,
        torch.from_numpy(np.stack(label)) if len(label) == count else None,
        torch.stack(K),
        torch.stack(poses),
        frames=tuple(chosen),
        shown=torch.stack(shown) if shown else None,
        gain=None if camera is None else torch.from_numpy(camera.evened).float(),
    )
    if encoder is not None and encoder.frozen:
        with torch.no_grad():
            single = [encoder.backbone(image[None].float() / 255) for image in loaded.rgb]
        loaded.maps = [torch.cat(level).half() for level in zip(*single, strict=True)]
    return loaded


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return at most `count` of the items, evenly spread."""
    if len(items) <= count:
        return list(items)
    step = len(items) / count
    return [items[math.floor(step * (i + 0.5))] for i in range(count)]
