"""The weighted reading of points from the views that were chosen for them, see `view_choice.py`.

    choice = choose_views(points, views, k=8)
    color = blend_color(blend, points, views)                 # [n, 3]
    feature = blend_semantic(blend, points, views)            # [n, D]
    scores = blend_semantic(blend, points, views, table=project_text(views, text))   # [n, T]

Weights come first and never depend on the open-vocabulary maps, so one table may be swapped for
another, and blending is a single gather (see `gather.py`).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cameras import to_feature_coordinates
from .cost_volume import FEATURE_STRIDE
from .evidence import look_up
from .gather import bilinear_taps, gather
from .view_choice import ViewChoice, Views, choose_views

__all__ = [
    "Blend",
    "ViewChoice",
    "Views",
    "beside_surface",
    "blend_color",
    "blend_semantic",
    "choose_views",
    "project_text",
    "sample_query",
    "surface_offset",
]

TEXT_ROWS = 1024  # features that are compared with texts at a time


@dataclass
class Blend:
    """How points are mixed from views; `view`, `valid` and `uv` as in `ViewChoice`.

    Attributes:
        w_color: colour weights, each row sums to 1 or is 0; None without viewing directions.
        w_semantic: semantic weights, each row sums to 1 or is 0.
    """

    view: Int[Tensor, "n k"]
    valid: Bool[Tensor, "n k"]
    uv: Float[Tensor, "n k 2"]
    w_color: Float[Tensor, "n k"] | None
    w_semantic: Float[Tensor, "n k"]


def blend_color(blend: Blend, points: Float[Tensor, "n 3"], views: Views) -> Float[Tensor, "n 3"]:
    """Return the colour of each point, eq. 3; black where no view sees it.

    Raises:
        ValueError: the blend was made without viewing directions.
    """
    if blend.w_color is None:
        raise ValueError("this blend has no colour weights: give `directions` to field.blend")
    return _blend(views.rgb_table, 1, blend, blend.w_color)


def blend_semantic(
    blend: Blend,
    points: Float[Tensor, "n 3"],
    views: Views,
    table: Float[Tensor, "v hs ws t"] | None = None,
    ray: Int[Tensor, "n"] | None = None,
    ray_weight: Float[Tensor, "n"] | None = None,
) -> Float[Tensor, "r d"]:
    """Return the open-vocabulary feature of each point, eq. 3; zero where no view sees it.

    Args:
        blend: which views, and how much of each.
        points: the points of the blend.
        views: the reference views with `ov`.
        table: replaces `views.ov`: maps of text scores at the same stride ("text first").
        ray: ascending ray numbers of the points, 0.. without gaps; with `ray_weight`, the result
            has one row per ray, the weighted sum of its points (eq. 7b), from the same one gather.
        ray_weight: rendering weight of each point.

    Raises:
        ValueError: neither `table` nor `views.ov` is there.
    """
    if table is None:
        table = views.ov
    if table is None:
        raise ValueError("these views hold no open-vocabulary maps: set Views.ov or give a table")
    return _blend(table, views.ov_stride, blend, blend.w_semantic, ray, ray_weight)


def project_text(views: Views, text_features: Float[Tensor, "t d"]) -> Float[Tensor, "v hs ws t"]:
    """Return per-view score maps ov . text, to be blended in place of the features.

    Blending is linear, so the blended scores equal the scores of the blended feature, up to the
    feature's length, which all texts share.
    """
    if views.ov is None:
        raise ValueError("these views hold no open-vocabulary maps: set Views.ov")
    if views.ov.device.type != "cpu" or views.ov.dtype == torch.float32:
        return views.ov @ text_features.T.to(views.ov.dtype)
    # Few processors multiply in half precision: piece by piece, in the cache, it becomes full.
    flat, text = views.ov.flatten(0, 2), text_features.T.float()
    parts = [(some.float() @ text).to(views.ov.dtype) for some in flat.split(TEXT_ROWS)]
    return torch.cat(parts).view(*views.ov.shape[:3], -1)


def surface_offset(choice: ViewChoice, views: Views) -> Float[Tensor, "n k 3"]:
    """Return where points lie relative to the surface that each chosen view believes in.

    Three numbers: from -1 (far before it) to 1 (far behind: hidden), in units of the view's own
    doubt; how near to it, 0 to 1; and whether the view knows of a surface there at all.
    """
    if views.surface is None:
        return choice.uv.new_zeros(*choice.view.shape, 3)
    return torch.stack(beside_surface(choice.view, choice.uv, choice.z, views), dim=-1)


def beside_surface(
    view: Int[Tensor, "*n"], uv: Float[Tensor, "*n 2"], z: Float[Tensor, "*n"], views: Views
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Return the three numbers of `surface_offset` for pairs of point and view."""
    if views.surface is None:
        return (torch.zeros_like(z),) * 3
    depth, spread = look_up(views.surface, view, uv, views.width)
    known = (depth > 0).to(z.dtype)
    off = (z.clamp_min(1e-3) / depth.clamp_min(1e-3)).log() / (spread + 0.02)
    return torch.tanh(off / 2) * known, torch.exp(-off.abs()) * known, known


def sample_query(choice: ViewChoice | Blend, views: Views) -> Float[Tensor, "n k cf"]:
    """Return f^n at the chosen views."""
    rows = sample_query_rows(choice.view, choice.uv, views)
    return rows.view(*choice.view.shape, rows.shape[1])


def sample_query_rows(
    view: Int[Tensor, "*n"], uv: Float[Tensor, "*n 2"], views: Views
) -> Float[Tensor, "m cf"]:
    """Return f^n for pairs of point and view, one after another."""
    height, width, channels = views.query_table.shape[1:]
    index, weight = bilinear_taps(to_feature_coordinates(uv, FEATURE_STRIDE), height, width)
    index = index + (view * (height * width)).unsqueeze(-1)
    table = views.query_table.reshape(-1, channels)
    return gather(table, index.reshape(-1, 4), weight.reshape(-1, 4))


def _blend(
    table: Float[Tensor, "v h w c"],
    stride: int,
    blend: Blend,
    view_weight: Float[Tensor, "n k"],
    ray: Int[Tensor, "n"] | None = None,
    ray_weight: Float[Tensor, "n"] | None = None,
) -> Float[Tensor, "r c"]:
    height, width, channels = table.shape[1:]
    index, weight = bilinear_taps(to_feature_coordinates(blend.uv, stride), height, width)
    index = (index + (blend.view * (height * width)).unsqueeze(-1)).flatten(1)  # [n, k * 4]
    weight = (weight * view_weight.unsqueeze(-1)).flatten(1)
    flat = table.reshape(-1, channels)
    if ray is None or ray_weight is None:
        return gather(flat, index, weight)
    if len(ray) == 0:
        return flat.new_zeros(0, channels)
    first = torch.ones_like(ray, dtype=torch.bool)
    first[1:] = ray[1:] != ray[:-1]
    offsets = first.nonzero().squeeze(-1) * index.shape[1]
    weight = (weight * ray_weight.unsqueeze(-1)).flatten()
    return torch.nn.functional.embedding_bag(
        index.flatten(), flat, offsets, mode="sum", per_sample_weights=weight.to(flat.dtype)
    )
