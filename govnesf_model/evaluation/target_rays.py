"""Rays of target views, all of them or a drawn sample, and what a field renders along them.

pixel = drawn_pixels(height, width, count=2000, seed=0, frame=17)      # None: all
seen = render_pixels(network, built, camera, pixel, table=table, text=text, masking="none")
seen.color, seen.depth, seen.opacity, seen.scores                      # one row per pixel
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from govnesf_model.cameras import Camera
from govnesf_model.evaluation.references import Built
from govnesf_model.exposure import expected_exposure
from govnesf_model.field import GovNesf
from govnesf_model.rendering import render_rays

_CHUNK = 1024  # rays; bigger tensors would be handed back to the system each time


@dataclass
class RenderedPixels:
    """What rays see, one row per ray.

    Attributes:
        color: 0..1, black where nothing is hit; not looked up when only scores were asked for.
        depth: z-depth in metres.
        opacity: 0..1.
        scores: text scores, not normalised; None without texts.
    """

    color: Float[Tensor, "n 3"]
    depth: Float[Tensor, "n"]
    opacity: Float[Tensor, "n"]
    scores: Float[Tensor, "n t"] | None


def drawn_pixels(
    height: int, width: int, count: int, seed: int, frame: int
) -> Int[np.ndarray, "n"] | None:
    """Return distinct flat pixel indices of a view in ascending order, None for all of them.

    The draw depends on the seed, the frame's index and the size alone: every method and every
    checkpoint is measured at the same pixels.
    """
    if count <= 0 or count >= height * width:
        return None
    drawn = np.random.default_rng([seed, frame]).choice(height * width, count, replace=False)
    return np.sort(drawn)


def camera_of(
    K: np.ndarray, T_world_camera: np.ndarray, width: int, height: int, device: torch.device | str
) -> Camera:
    """Return a camera from a frame's arrays."""
    return Camera(
        torch.from_numpy(K.astype(np.float32)).to(device),
        torch.from_numpy(T_world_camera.astype(np.float32)).to(device),
        width,
        height,
    )


@torch.no_grad()
def render_pixels(
    field: GovNesf,
    built: Built,
    camera: Camera,
    pixel: Int[np.ndarray, "n"] | None = None,
    table: Float[Tensor, "v hs ws t"] | None = None,
    text: Float[Tensor, "t d"] | None = None,
    want_color: bool = True,
    masking: str = "none",
) -> RenderedPixels:
    """Render pixels of a view.

    Args:
        field: what `baselines.with_method` returned.
        built: the scene as this field sees it.
        camera: the view, as the scene has it.
        pixel: flat indices, None for all.
        table: the views' text scores; with it (and `text`) scores are rendered.
        text: the texts' features; a field that regresses features needs them and no table.
        want_color: look up colours.
        masking: "none", or "depth" for depth-guided masking.
    """
    camera = built.placed(camera)
    origins, directions = (rays.reshape(-1, 3) for rays in camera.rays())
    if pixel is not None:
        rows = torch.from_numpy(pixel).to(origins.device)
        origins, directions = origins[rows], directions[rows]
    regresses = not field.config.use_mjf
    parts = []
    for o, d in zip(origins.split(_CHUNK), directions.split(_CHUNK), strict=True):
        seen = render_rays(
            field,
            built.views,
            built.volume,
            o.contiguous(),
            d.contiguous(),
            text_scores=None if regresses else table,
            want_color=want_color,
            want_ov=regresses and text is not None,
            masking=masking,
        )
        scores = seen.scores if seen.ov is None else seen.ov.float() @ text.T
        parts.append(RenderedPixels(seen.color, seen.depth, seen.opacity, scores))
    scores = [part.scores for part in parts]
    color = torch.cat([part.color for part in parts])
    factors = expected_exposure(built.views, camera.T_world_camera)
    return RenderedPixels(
        color if factors is None else color * factors,
        torch.cat([part.depth for part in parts]),
        torch.cat([part.opacity for part in parts]),
        None if scores[0] is None else torch.cat(scores),
    )
