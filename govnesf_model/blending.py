"""Which views a point is read from, and the weighted reading itself.

    choice = choose_views(points, views, k=8)
    color = blend_color(blend, points, views)                 # [n, 3]
    feature = blend_semantic(blend, points, views)            # [n, D]
    scores = blend_semantic(blend, points, views, table=project_text(views, text))   # [n, T]

Weights come first and never depend on the open-vocabulary maps, so one table may be swapped for
another, and blending is a single gather (see `gather.py`).
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cameras import inside_image, project, to_feature_coordinates
from .cost_volume import FEATURE_STRIDE
from .gather import bilinear_taps, gather

DISTANCE_PENALTY = 0.25  # per metre; a view at 4 m ranks like one seen under 90 degrees


@dataclass
class Views:
    """The reference views that points are read from; all images of one size.

    Attributes:
        rgb: colours in 0..1.
        query: the encoder's f^n maps, stride 4.
        K: intrinsics of the full images.
        T_world_camera: camera-to-world poses.
        depth: measured z-depth in metres, 0 where unknown; for depth-guided masking.
        ov: open-vocabulary maps, channel-last, at `ov_stride`; float16 or float32.
        ov_stride: stride of those maps in image pixels.
    """

    rgb: Float[Tensor, "v 3 H W"]
    query: Float[Tensor, "v cf h w"]
    K: Float[Tensor, "v 3 3"]
    T_world_camera: Float[Tensor, "v 4 4"]
    depth: Float[Tensor, "v H W"] | None = None
    ov: Float[Tensor, "v hs ws d"] | None = None
    ov_stride: int = FEATURE_STRIDE

    def __len__(self) -> int:
        return self.rgb.shape[0]

    @property
    def height(self) -> int:
        return self.rgb.shape[2]

    @property
    def width(self) -> int:
        return self.rgb.shape[3]

    @cached_property
    def rgb_table(self) -> Float[Tensor, "v H W 3"]:
        """The colours, channel-last."""
        return self.rgb.permute(0, 2, 3, 1).contiguous()

    @cached_property
    def query_table(self) -> Float[Tensor, "v h w cf"]:
        """The f^n maps, channel-last."""
        return self.query.permute(0, 2, 3, 1).contiguous()


@dataclass
class ViewChoice:
    """The views that points will be read from, padded to k.

    Attributes:
        view: index of the view; 0 where there is none.
        valid: whether the entry is a view that sees the point.
        uv: image position in that view.
    """

    view: Int[Tensor, "n k"]
    valid: Bool[Tensor, "n k"]
    uv: Float[Tensor, "n k 2"]


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


@torch.no_grad()
def choose_views(
    points: Float[Tensor, "n 3"],
    views: Views,
    k: int,
    directions: Float[Tensor, "n 3"] | None = None,
    masking: str = "none",
    tolerance: float = 0.25,
) -> ViewChoice:
    """Pick for every point the k best of the views that see it.

    A view sees a point that projects into its image and, with masking "depth", whose depth agrees
    with the measured one. Near views are better, and with viewing directions those that look alike.

    Args:
        points: world positions.
        views: the reference views.
        k: how many to keep; 0 keeps all of them.
        directions: viewing directions of the rays that the points lie on, any length.
        masking: "none" or "depth" (depth-guided masking, section 3.5).
        tolerance: relative depth difference above which "depth" masks a view.

    Raises:
        ValueError: unknown masking, or "depth" for views without depth.
    """
    uv, z = project(points, views.K, views.T_world_camera)  # [v, n, 2], [v, n]
    seen = inside_image(uv, z, views.width, views.height)
    if masking == "depth":
        seen = seen & _agrees_with_depth(uv, z, views, tolerance)
    elif masking != "none":
        raise ValueError(f"masking is {masking!r}: it is 'none' or 'depth'")
    penalty = z * DISTANCE_PENALTY
    if directions is not None:
        offset = points - views.T_world_camera[:, None, :3, 3]
        cosine = torch.nn.functional.cosine_similarity(offset, directions, dim=-1)
        penalty = penalty + 1 - cosine
    penalty = penalty.masked_fill(~seen, torch.inf).T  # [n, v]
    kept = min(k, len(views)) if k else len(views)
    best, view = penalty.topk(kept, dim=1, largest=False)
    valid = torch.isfinite(best)
    view = view.masked_fill(~valid, 0)
    chosen = uv.transpose(0, 1).gather(1, view.unsqueeze(-1).expand(-1, -1, 2))
    return ViewChoice(view, valid, chosen)


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
    return views.ov @ text_features.T.to(views.ov.dtype)


def sample_query(choice: ViewChoice | Blend, views: Views) -> Float[Tensor, "n k cf"]:
    """Return f^n at the chosen views."""
    n, k = choice.view.shape
    height, width, channels = views.query_table.shape[1:]
    at = to_feature_coordinates(choice.uv, FEATURE_STRIDE)
    index, weight = bilinear_taps(at, height, width)
    index = index + (choice.view * (height * width)).unsqueeze(-1)
    rows = gather(views.query_table.reshape(-1, channels), index.view(-1, 4), weight.view(-1, 4))
    return rows.view(n, k, channels)


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


def _agrees_with_depth(
    uv: Float[Tensor, "v n 2"], z: Float[Tensor, "v n"], views: Views, tolerance: float
) -> Bool[Tensor, "v n"]:
    if views.depth is None:
        raise ValueError("depth-guided masking needs Views.depth: use masking='none' without it")
    column = uv[..., 0].round().clamp(0, views.width - 1).long()
    line = uv[..., 1].round().clamp(0, views.height - 1).long()
    rows = torch.arange(len(views), device=uv.device).unsqueeze(-1)
    # The nearest pixel: between two surfaces an interpolated depth is one that nobody measured.
    measured = views.depth[rows, line, column]
    return (measured <= 0) | ((z - measured).abs() <= tolerance * measured)
