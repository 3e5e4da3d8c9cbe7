"""The method in its plainest form, to hold the fast forms against: every sample, every view.

    reference = DenseReference(field, views, volume)
    rendered = reference.render(origins, directions, near=0.2, far=8.0)   # eq. 7
    features, _ = reference.blend(points)                                 # eqs. 2 and 3

Open-vocabulary maps are float32 at the resolution of the images, all samples of a ray are looked up
in all views, and every view is a token of the attention. Written from the equations with the
trained network's layers and nothing of `rendering`, `blending`, `ray_samples` or `gather`: an error
there is not repeated here. It is slow and takes gigabytes; measure it on some rays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from .blending import Views  # the data that both forms read
from .cost_volume import VolumeGrid
from .field import GovNesf, VolumeField
from .stereo import Surface


@dataclass
class DenseRays:
    """What rays see; fields as in `rendering.RayResult`."""

    color: Float[Tensor, "r 3"]
    depth: Float[Tensor, "r"]
    opacity: Float[Tensor, "r"]
    ov: Float[Tensor, "r d"] | None


class FullMaps:
    """Open-vocabulary maps at the resolution of the images, one [1, d, H, W] per view.

    Attributes:
        keep: whether all maps are held.
        seconds: spent on making maps so far. A view's map is made once for all images that are
            rendered from it, so whoever times an image takes this off.
    """

    def __init__(self, views: Views, keep: bool) -> None:
        """Prepare the maps.

        Args:
            views: with `ov`.
            keep: hold all maps, as the method does; else each is made again in the same place when
                it is asked for, which gives the same and needs no gigabytes.
        """
        self.seconds = 0.0
        self._views, self.keep = views, keep
        shape = (len(views) if keep else 1, views.ov.shape[3], views.height, views.width)
        self._maps = torch.zeros(shape, device=views.ov.device)
        for view in range(len(views) if keep else 0):
            self._make(view, self._maps[view])

    def __getitem__(self, view: int) -> Float[Tensor, "1 d H W"]:
        """Return the map of a view; without `keep` it lasts until the next one is asked for."""
        if self.keep:
            return self._maps[view : view + 1]
        self._make(view, self._maps[0])
        return self._maps

    def _make(self, view: int, full: Float[Tensor, "d H W"]) -> None:
        began = perf_counter()
        small = self._views.ov[view].permute(2, 0, 1).unsqueeze(0).float().contiguous()
        height, width = full.shape[1:]
        for some, target in zip(small.split(32, dim=1), full.split(32), strict=True):
            if self._views.ov_stride != 1:
                some = F.interpolate(some, scale_factor=self._views.ov_stride, mode="bilinear")
            target.copy_(some[0, :, :height, :width])
        self.seconds += perf_counter() - began


class DenseReference:
    """A field that is evaluated without any shortcut."""

    def __init__(
        self, field: GovNesf, views: Views, volume: VolumeField, keep_maps: bool = False
    ) -> None:
        """Prepare; nothing is computed yet but the maps, where they are kept.

        Raises:
            ValueError: the field regresses colour and features instead of blending views.
        """
        if not field.config.use_mjf:
            raise ValueError("the dense reference blends views: this field was built without MJF")
        self.field, self.views, self.volume = field, views, volume
        self.maps = None if views.ov is None else FullMaps(views, keep_maps)

    @torch.no_grad()
    def render(
        self,
        origins: Float[Tensor, "r 3"],
        directions: Float[Tensor, "r 3"],
        near: float = 0.2,
        far: float = 8.0,
        samples: int | None = None,
        chunk: int = 16,  # the quickest on a CPU
    ) -> DenseRays:
        """Render rays, `chunk` of them at a time; arguments as in `rendering.render_rays`."""
        samples = self.field.config.samples_per_ray if samples is None else samples
        parts = [
            self._render(o, d, near, far, samples)
            for o, d in zip(origins.split(chunk), directions.split(chunk), strict=True)
        ]
        ov = None if self.maps is None else torch.cat([part.ov for part in parts])
        return DenseRays(
            torch.cat([part.color for part in parts]),
            torch.cat([part.depth for part in parts]),
            torch.cat([part.opacity for part in parts]),
            ov,
        )

    @torch.no_grad()
    def density(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """Return sigma in 1/m: softplus(MLP(v)), 0 outside the grid."""
        field, volume = self.field, self.volume
        hidden = field.density_in(_trilinear(volume.features, volume.grid, points))
        offset = 0.0
        if volume.fine_grid is not None:
            fine = volume.fine_table.T.reshape(-1, *volume.fine_grid.shape)
            at = _trilinear(fine, volume.fine_grid, points)
            sure, detail = at[:, 1], at[:, 2:]
            # The first column holds distance times sureness: a mean over voxels that know of any.
            distance = at[:, 0] / sure.clamp_min(1e-6)
            known = torch.cat([distance[:, None], sure[:, None], detail], dim=1)
            hidden = hidden + field.density_fine(known)
            slope, surface = field.density_gain
            offset = sure * (surface - slope * distance)
        logit = field.density_out(hidden).squeeze(1) + offset
        sigma = F.softplus(logit) / field.config.density_length
        inside = (points >= volume.grid.lower).all(1) & (points <= volume.grid.upper).all(1)
        return sigma * inside

    @torch.no_grad()
    def blend(
        self, points: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"] | None = None
    ) -> tuple[Float[Tensor, "n d"] | None, Float[Tensor, "n 3"] | None]:
        """Return open-vocabulary feature and, with viewing directions, colour of points (eq. 3)."""
        views = self.views
        uv, z, seen = _project(points, views)
        tokens, toward = self._tokens(points, uv, z, seen)
        color = ov = None
        if directions is not None:
            cosine = (F.normalize(directions, dim=1)[:, None] * toward).sum(-1, keepdim=True)
            logits = self.field.fusion.mlp_c(tokens + self.field.fusion.encode_relative(cosine))
            weight = _masked_softmax(logits.squeeze(2), seen)
            colors = torch.stack([_bilinear(views.rgb[i, None], uv[i], 1) for i in range(len(uv))])
            color = torch.einsum("nv,vnc->nc", weight, colors)
        if self.maps is not None:
            weight = _masked_softmax(self.field.fusion.mlp_s(tokens).squeeze(2), seen)
            features = torch.stack([_bilinear(self.maps[i], uv[i], 1) for i in range(len(uv))])
            ov = torch.einsum("nv,vnd->nd", weight, features)
        return ov, color

    def _render(self, origins, directions, near: float, far: float, samples: int) -> DenseRays:
        grid = self.volume.grid
        start, end = _box_range(origins, directions, grid.lower, grid.upper, near, far)
        middle = (torch.arange(samples, device=origins.device) + 0.5) / samples
        t = start[:, None] + (end - start)[:, None] * middle
        step = torch.cat([t[:, 1:], end[:, None]], dim=1) - t
        points = origins[:, None] + directions[:, None] * t[:, :, None]  # [r, s, 3]
        sigma = self.density(points.flatten(0, 1)).view_as(t)
        alpha = 1 - torch.exp(-sigma * step * directions.norm(dim=1, keepdim=True))
        clear = torch.cumprod(torch.cat([torch.ones_like(end[:, None]), 1 - alpha], 1), 1)
        weights = clear[:, :-1] * alpha
        opacity = weights.sum(dim=1)
        depth = (weights * t).sum(dim=1) / opacity.clamp_min(1e-6)
        if self.field.config.background:  # what is left takes what the views see at the end
            weights = torch.cat([weights, clear[:, -1:]], dim=1)
            points = torch.cat([points, (origins + directions * end[:, None])[:, None]], dim=1)
        count = points.shape[1]
        ov, color = self.blend(points.flatten(0, 1), directions.repeat_interleave(count, dim=0))
        color = torch.einsum("rs,rsc->rc", weights, color.unflatten(0, (-1, count)))
        if ov is not None:
            ov = torch.einsum("rs,rsd->rd", weights, ov.unflatten(0, (-1, count)))
        return DenseRays(color, depth, opacity, ov)

    def _tokens(
        self,
        points: Float[Tensor, "n 3"],
        uv: Float[Tensor, "v n 2"],
        z: Float[Tensor, "v n"],
        seen: Bool[Tensor, "n v"],
    ) -> tuple[Float[Tensor, "n v width"], Float[Tensor, "n v 3"]]:
        """Return x_att of every point in every view, and the directions d_n."""
        field, views, config = self.field, self.views, self.field.config
        net = field.fusion
        query = torch.stack([_bilinear(views.query[i, None], uv[i], 4) for i in range(len(uv))], 1)
        x = net.from_view(query)  # [n, v, width]
        if config.use_vfa:
            v = _trilinear(self.volume.features, self.volume.grid, points)
            x = x + field.fusion_in(v)[:, None]
        offset = points[:, None] - views.T_world_camera[None, :, :3, 3]
        distance = offset.norm(dim=2, keepdim=True)
        toward = offset / distance.clamp_min(1e-6)
        known = [toward]
        if config.encode_distance:
            known.append(distance.clamp_min(0.1).log())
        if config.encode_surface:
            known.append(_relative_to_surface(uv, z, views.surface, views.width))
        x = net.mlp_a(x) + net.encode_direction(torch.cat(known, dim=2))
        return (x if net.attend is None else _attend(net.attend, x, seen)), toward


def dense_volume(
    grid: VolumeGrid, maps: Float[Tensor, "v c h w"], views: Views
) -> Float[Tensor, "c2 x y z"]:
    """Return mean and variance per voxel over the views that see it, all computed anew (eq. 1)."""
    centers = grid.centers().reshape(-1, 3)
    uv, _, seen = _project(centers, views)
    values = torch.stack([_bilinear(maps[i, None], uv[i], 4) for i in range(len(uv))])  # [v, n, c]
    mask = seen.T[:, :, None].float()
    count = mask.sum(dim=0).clamp_min(1)
    mean = (values * mask).sum(dim=0) / count
    variance = ((values - mean).square() * mask).sum(dim=0) / count
    return torch.cat([mean, variance], dim=1).T.reshape(-1, *grid.shape)


def _project(
    points: Float[Tensor, "n 3"], views: Views
) -> tuple[Float[Tensor, "v n 2"], Float[Tensor, "v n"], Bool[Tensor, "n v"]]:
    """Return pixel, z-depth and visibility of every point in every view."""
    R, center = views.T_world_camera[:, :3, :3], views.T_world_camera[:, :3, 3]
    local = (points[None] - center[:, None]) @ R  # R^T (p - c), [v, n, 3]
    z = local[..., 2]
    at = local @ views.K.transpose(1, 2)
    uv = at[..., :2] / z.clamp_min(1e-3)[..., None]
    size = torch.tensor([views.width, views.height], device=points.device)
    seen = ((uv > -0.5) & (uv < size - 0.5)).all(dim=-1) & (z > 1e-3)
    return uv, z, seen.T


def _relative_to_surface(
    uv: Float[Tensor, "v n 2"], z: Float[Tensor, "v n"], surface: Surface | None, width: int
) -> Float[Tensor, "n v 3"]:
    """Return how far points lie before or behind what each view believes to see."""
    if surface is None:
        return uv.new_zeros(uv.shape[1], len(uv), 3)
    rows, columns = surface.depth.shape[1:]
    stride = round(width / columns)
    cell = ((uv - (stride - 1) / 2) / stride).round().long()
    x, y = cell[..., 0].clamp(0, columns - 1), cell[..., 1].clamp(0, rows - 1)
    view = torch.arange(len(uv), device=uv.device)[:, None]
    depth, spread = surface.depth[view, y, x].float(), surface.spread[view, y, x].float()
    ratio = torch.log(z.clamp_min(1e-3) / depth.clamp_min(1e-3)) / (spread + 0.02)
    three = torch.stack([torch.tanh(ratio / 2), torch.exp(-ratio.abs()), torch.ones_like(z)], -1)
    return (three * (depth > 0)[..., None]).transpose(0, 1)


def _attend(
    net: torch.nn.Module, x: Float[Tensor, "n v c"], seen: Bool[Tensor, "n v"]
) -> Float[Tensor, "n v c"]:
    """Return softmax(q k^T / sqrt(d)) v per point with unseen views masked as keys, and the rest of
    the block."""
    heads = net.heads
    q, k, v = (part.unflatten(2, (heads, -1)) for part in net.qkv(net.norm(x)).chunk(3, dim=2))
    logits = torch.einsum("nihc,njhc->nhij", q, k) / q.shape[-1] ** 0.5
    share = logits.masked_fill(~seen[:, None, None], -torch.inf).softmax(dim=3).nan_to_num(0.0)
    x = x + net.out(torch.einsum("nhij,njhc->nihc", share, v).flatten(2))
    return x + net.feed_forward(x)


def _masked_softmax(logits: Float[Tensor, "n v"], seen: Bool[Tensor, "n v"]) -> Tensor:
    return logits.masked_fill(~seen, -torch.inf).softmax(dim=1).nan_to_num(0.0)


def _bilinear(image: Float[Tensor, "1 c h w"], uv: Float[Tensor, "n 2"], stride: int) -> Tensor:
    """Return [n, c] at image positions; beyond the border its value."""
    size = torch.tensor([image.shape[3], image.shape[2]], device=uv.device)
    grid = (2 * ((uv - (stride - 1) / 2) / stride) + 1) / size - 1
    sampled = F.grid_sample(image, grid[None, None], padding_mode="border", align_corners=False)
    return sampled[0, :, 0].T


def _trilinear(volume: Float[Tensor, "c x y z"], grid: VolumeGrid, points: Tensor) -> Tensor:
    """Return [n, c] at world points; beyond the border its value. grid_sample wants z, y, x."""
    size = torch.tensor(grid.shape, device=points.device)
    at = (2 * (points - grid.origin) / grid.voxel + 1) / size - 1
    sampled = F.grid_sample(
        volume[None], at.flip(1)[None, None, None], padding_mode="border", align_corners=False
    )
    return sampled[0, :, 0, 0].T


def _box_range(
    origins: Tensor, directions: Tensor, lower: Tensor, upper: Tensor, near: float, far: float
) -> Sequence[Tensor]:
    """Return where each ray enters and leaves a box, within [near, far]; equal where it misses."""
    step = torch.where(directions.abs() < 1e-9, 1e-9, directions)
    sides = torch.stack([(lower - origins) / step, (upper - origins) / step])
    start = sides.min(dim=0).values.max(dim=1).values.clamp(near, far)
    end = sides.max(dim=0).values.min(dim=1).values.clamp(near, far)
    return start, torch.maximum(start, end)
