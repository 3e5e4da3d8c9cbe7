"""The reference views, and which of them a point is read from.

    choice = choose_views(points, views, k=8)
    order = nearby_order(points)             # points that lie together are chosen for faster

A point is read from the views that see it, near ones first, those that look at it as the ray does,
and none that believes in something before it if there is any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cameras import inside_planes, invert_pose, project_planes
from .cost_volume import FEATURE_STRIDE
from .evidence import look_up
from .stereo import Surface

DISTANCE_PENALTY = 0.25  # per metre; a view at 4 m ranks like one seen under 90 degrees
CHOICE_CELLS = 131072  # pairs of point and view that are ranked at a time: what a cache holds
CHOICE_CELLS_GPU = 1 << 24  # few large pieces: each waits for the GPU once
HIDDEN_PENALTY = 2.0  # of a point that a view has something before: any other view is better


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
        surface: the depth that each view believes in, measured or from stereo, and its doubt.
        gain: factors on each view's colours that make views of other exposure alike; None for 1.
    """

    rgb: Float[Tensor, "v 3 H W"]
    query: Float[Tensor, "v cf h w"]
    K: Float[Tensor, "v 3 3"]
    T_world_camera: Float[Tensor, "v 4 4"]
    depth: Float[Tensor, "v H W"] | None = None
    ov: Float[Tensor, "v hs ws d"] | None = None
    ov_stride: int = FEATURE_STRIDE
    surface: Surface | None = None
    gain: Float[Tensor, "v 3"] | None = None

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
        """The colours, channel-last, exposure evened out."""
        return self._evened.permute(0, 2, 3, 1).contiguous()

    @cached_property
    def mean_color(self) -> Float[Tensor, "3"]:
        """The mean colour of all views."""
        return self._evened.mean(dim=(0, 2, 3))

    @cached_property
    def query_table(self) -> Float[Tensor, "v h w cf"]:
        """The f^n maps, channel-last."""
        return self.query.permute(0, 2, 3, 1).contiguous()

    @property
    def _evened(self) -> Float[Tensor, "v 3 H W"]:
        return self.rgb if self.gain is None else self.rgb * self.gain[:, :, None, None]


@dataclass
class ViewChoice:
    """The views that points will be read from, padded to k.

    Attributes:
        view: index of the view; 0 where there is none.
        valid: whether the entry is a view that sees the point.
        uv: image position in that view.
        z: z-depth in that view, metres.
    """

    view: Int[Tensor, "n k"]
    valid: Bool[Tensor, "n k"]
    uv: Float[Tensor, "n k 2"]
    z: Float[Tensor, "n k"]


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
    with the measured one. Near views are better, with viewing directions those that look alike, and
    those that believe in something before the point come last.

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
    if masking not in ("none", "depth"):
        raise ValueError(f"masking is {masking!r}: it is 'none' or 'depth'")
    if masking == "depth" and views.depth is None:
        raise ValueError("depth-guided masking needs Views.depth: use masking='none' without it")
    kept = min(k, len(views)) if k else len(views)
    cells = CHOICE_CELLS if points.device.type == "cpu" else CHOICE_CELLS_GPU
    pieces = points.split(max(1, cells // max(1, len(views))))
    every = torch.arange(len(views), device=points.device)
    near = [every] * len(pieces) if len(pieces) == 1 else views_near(pieces, views)
    parts, start = [], 0
    for some, which in zip(pieces, near, strict=True):
        toward = None if directions is None else directions[start : start + len(some)]
        parts.append(_choose(some, views, which, kept, toward, masking, tolerance))
        start += len(some)
    return ViewChoice(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def views_near(pieces: Sequence[Float[Tensor, "_ 3"]], views: Views) -> list[Int[Tensor, "_"]]:
    """Return for each cloud of points the views that may see some of it, ascending.

    A view sees what lies on the inner side of the planes through its centre and its image's sides.
    A ball around all points that lies beyond one of them is not seen; of points that lie together
    that is known for most views at once.
    """
    centers = torch.stack([(p.amin(dim=0) + p.amax(dim=0)) / 2 for p in pieces])
    radii = torch.stack(
        [(p - c).square().sum(dim=1).amax().sqrt() for p, c in zip(pieces, centers, strict=True)]
    )
    T_camera_world = invert_pose(views.T_world_camera)
    rows = views.K @ T_camera_world[:, :3]  # [v, 3, 4]: what u z, v z and z are of a point
    x, y, z = rows.unbind(1)
    right, below = views.width - 0.5, views.height - 0.5
    planes = torch.stack([x + 0.5 * z, right * z - x, y + 0.5 * z, below * z - y, z])  # [5, v, 4]
    reach = planes[..., :3].norm(dim=2, keepdim=True) * (radii + 1e-3)
    inside = planes[..., :3] @ centers.T + planes[..., 3:] > -reach  # [5, v, pieces]
    return [which.nonzero().squeeze(1) for which in inside.all(dim=0).T]


def nearby_order(points: Float[Tensor, "n 3"], edge: float = 0.5) -> Int[Tensor, "n"]:
    """Return an order in which points that lie in one cube, `edge` metres wide, follow each other.

    Fewer views look at points that lie together, and the maps that those are read from stay in the
    processor's cache.
    """
    if len(points) == 0:
        return torch.zeros(0, dtype=torch.long, device=points.device)
    cube = ((points - points.amin(dim=0)) / edge).long()
    size = cube.amax(dim=0) + 1
    return ((cube[:, 0] * size[1] + cube[:, 1]) * size[2] + cube[:, 2]).argsort()


def _choose(
    points: Float[Tensor, "n 3"],
    views: Views,
    which: Int[Tensor, "w"],
    kept: int,
    directions: Float[Tensor, "n 3"] | None,
    masking: str,
    tolerance: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the fields of the `ViewChoice` of some points among some of the views."""
    poses = views.T_world_camera[which]
    u, v, z = project_planes(points, views.K[which], poses)  # [w, n] each
    seen = inside_planes(u, v, z, views.width, views.height)
    if masking == "depth":
        seen &= _agrees_with_depth(u, v, z, views, which, tolerance)
    penalty = z * DISTANCE_PENALTY
    if directions is not None:
        penalty += 1 - _cosine(points, directions, poses[:, :3, 3])
    if views.surface is not None:
        # Most views do not see a point: only where one does, what it believes in is looked up.
        at = seen.flatten().nonzero().squeeze(-1)
        uv = torch.stack([u.take(at), v.take(at)], dim=-1)
        view = which[at.div(max(1, len(points)), rounding_mode="floor")]
        depth, spread = look_up(views.surface, view, uv, views.width)
        hidden = (depth > 0) & (z.take(at) > depth * (1.05 + 2 * spread) + 0.05)
        penalty.view(-1).index_add_(0, at, HIDDEN_PENALTY * hidden)
    penalty = penalty.masked_fill_(~seen, torch.inf).T.contiguous()  # [n, w]
    best, place = penalty.topk(min(kept, len(which)), dim=1, largest=False)
    if best.shape[1] < kept:  # fewer views look here than a point may have
        lacking = (0, kept - best.shape[1])
        best, place = F.pad(best, lacking, value=torch.inf), F.pad(place, lacking)
    valid = torch.isfinite(best)
    if len(which) == 0:
        nothing = best.new_zeros(len(points), kept)
        return place, valid, nothing.unsqueeze(-1).expand(-1, -1, 2), nothing
    place = place.masked_fill(~valid, 0)
    at = place * len(points) + torch.arange(len(points), device=place.device).unsqueeze(-1)
    view = which[place].masked_fill(~valid, 0)
    return view, valid, torch.stack([u.take(at), v.take(at)], dim=-1), z.take(at)


def _cosine(
    points: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"], centers: Float[Tensor, "v 3"]
) -> Float[Tensor, "v n"]:
    """Return the cosine between rays and the lines from the cameras' centres to their points."""
    along, square = 0.0, 0.0
    for p, c, d in zip(points.T, centers.T, F.normalize(directions, dim=1).T, strict=True):
        offset = p - c.unsqueeze(-1)
        along = offset * d + along
        square = offset * offset + square
    return along * square.clamp_min(1e-12).rsqrt()


def _agrees_with_depth(
    u: Float[Tensor, "v n"],
    v: Float[Tensor, "v n"],
    z: Float[Tensor, "v n"],
    views: Views,
    which: Int[Tensor, "v"],
    tolerance: float,
) -> Bool[Tensor, "v n"]:
    column = u.round().clamp(0, views.width - 1).long()
    line = v.round().clamp(0, views.height - 1).long()
    # The nearest pixel: between two surfaces an interpolated depth is one that nobody measured.
    measured = views.depth[which.unsqueeze(-1), line, column]
    return (measured <= 0) | ((z - measured).abs() <= tolerance * measured)
