"""Depth of a keyframe from its neighbours: a plane sweep that a small 2D network reads.

    stereo = StereoDepth(config, encoder.channels)
    detail, match = stereo.describe(rgb, maps)                    # once per view
    near = choose_sources(T_world_camera, K, width, height, reference=3)
    logits = stereo(maps_of_3, detail[[3]], match, K, T_world_camera, width, [(3, near)])
    surface = settle(logits, stereo.depths())                     # depth and spread, stride 4

The paper learns geometry from the variance of features in voxels of 16 cm alone, which takes a GPU
and days. Comparing two images along the ray, at many more depths than there are voxels, is the same
cue at the resolution of pixels, and it is learned in an hour on one core. What comes out is not the
geometry yet but evidence, each view's own, with its doubt: `evidence.py` gathers it in the volume.
Without a neighbour that looks at the same place the network guesses from the one image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .cameras import feature_grid, to_feature_coordinates
from .cost_volume import FEATURE_STRIDE
from .field_config import FieldConfig

NEAREST, FARTHEST = 0.3, 10.0  # metres of z-depth that the planes span, evenly in their logarithm
DOUBTFUL = 0.12  # relative error above which a depth does not say how far a view looks
PLANES_AT_ONCE = 8  # that are compared at a time: what a cache holds
GROUPS = 2  # of matched channels: each votes for its own depth
PATCH = FEATURE_STRIDE**2 * 3  # colours of a cell


@dataclass
class Surface:
    """What views say about the surface before them.

    Attributes:
        depth: z-depth in metres, 0 where nothing is known.
        spread: expected relative error of that depth; 0 where nothing is known.
    """

    depth: Float[Tensor, "v h w"]
    spread: Float[Tensor, "v h w"]

    def __getitem__(self, views: slice | Sequence[int] | Tensor) -> "Surface":
        """Return some of the views."""
        return Surface(self.depth[views], self.spread[views])

    @property
    def width(self) -> int:
        """Columns of the maps."""
        return self.depth.shape[2]


class StereoDepth(nn.Module):
    """Matches a view against its sources at planes of constant depth and settles on one depth."""

    def __init__(self, config: FieldConfig, channels: Sequence[int]) -> None:
        """Build an untrained network.

        Args:
            config: `stereo_planes` and `stereo_channels`.
            channels: of the backbone's maps at strides 4, 8 and 16.
        """
        super().__init__()
        self.planes = config.stereo_planes
        width, matched = config.stereo_width, config.stereo_channels
        fine, middle, coarse = channels[:3]
        self.from_pixels = nn.Conv2d(PATCH, width, 1)
        self.from_fine = nn.Conv2d(fine, width, 1)
        self.from_middle = nn.Conv2d(middle, width, 1)
        self.trunk = nn.Sequential(_block(width, width), _block(width, width))
        self.to_match = nn.Conv2d(width, matched, 1)
        self.sharpness = nn.Parameter(torch.tensor(8.0))  # of matches, as logits
        inputs = GROUPS * self.planes + 2 + width
        self.enter = nn.Sequential(_block(inputs, 2 * width), _residual(2 * width))
        self.to_middle = nn.Sequential(_block(2 * width + middle, 3 * width), _residual(3 * width))
        self.to_coarse = nn.Sequential(
            _block(3 * width + coarse, 4 * width), _residual(4 * width), _residual(4 * width)
        )
        self.up_middle = nn.Sequential(_block(7 * width, 3 * width), _residual(3 * width))
        self.up_fine = nn.Sequential(_block(5 * width, 2 * width), _residual(2 * width))
        self.leave = nn.Conv2d(2 * width, self.planes, 3, padding=1)
        nn.init.zeros_(self.leave.weight)  # starts from what the matches alone say
        nn.init.zeros_(self.leave.bias)

    def depths(self) -> Float[Tensor, "planes"]:
        """Return the z-depths of the planes, metres, ascending."""
        steps = torch.linspace(0, 1, self.planes, device=self.sharpness.device)
        return NEAREST * (FARTHEST / NEAREST) ** steps

    def describe(
        self, rgb: Float[Tensor, "v 3 H W"], maps: Sequence[Float[Tensor, "v _ _ _"]]
    ) -> tuple[Float[Tensor, "v c h w"], Float[Tensor, "v m h w"]]:
        """Return two maps at stride 4: what a view is read from, and what others match against.

        Args:
            rgb: colours in 0..1, sides multiples of 16.
            maps: the backbone's, strides 4, 8, 16.
        """
        # What is compared is structure: how bright a view is says nothing about depth.
        bright = rgb.mean(dim=(1, 2, 3), keepdim=True)
        contrast = rgb.std(dim=(1, 2, 3), keepdim=True).clamp_min(1e-3)  # a covered lens has none
        pixels = F.pixel_unshuffle((rgb - bright) / contrast, 4)
        wide = F.interpolate(self.from_middle(maps[1]), scale_factor=2, mode="bilinear")
        detail = self.trunk(self.from_pixels(pixels) + self.from_fine(maps[0]) + wide)
        match = F.normalize(self.to_match(detail).unflatten(1, (GROUPS, -1)), dim=2)
        return detail, match.flatten(1, 2)

    def forward(
        self,
        maps: Sequence[Float[Tensor, "r _ _ _"]],
        detail: Float[Tensor, "r c h w"],
        match: Float[Tensor, "v m h w"],
        K: Float[Tensor, "v 3 3"],
        T_world_camera: Float[Tensor, "v 4 4"],
        width: int,
        pairs: Sequence[tuple[int, Sequence[int]]],
    ) -> Float[Tensor, "r planes h w"]:
        """Return logits over the planes for some of the views.

        Args:
            maps, detail: of the views that depth is wanted of, in the order of `pairs`.
            match: of all views, see `describe`.
            K, T_world_camera: of all views, for images `width` pixels wide.
            width: tells focal lengths apart from image sizes.
            pairs: per result, the view and the views to match it against; none will do.
        """
        match = match.unflatten(1, (GROUPS, -1))
        sweeps = [self._sweep(match, K, T_world_camera, view, near) for view, near in pairs]
        cost = torch.stack([cost for cost, _ in sweeps])  # [r, groups, planes, h, w]
        share = torch.stack([share for _, share in sweeps])  # [r, 1, h, w]
        rows = [view for view, _ in pairs]
        lens = (K[rows, 0, 0] / width).log().view(-1, 1, 1, 1).expand_as(share)
        fine = self.enter(torch.cat([cost.flatten(1, 2), share, lens, detail], dim=1))
        middle = self.to_middle(torch.cat([F.avg_pool2d(fine, 2), maps[1]], dim=1))
        coarse = self.to_coarse(torch.cat([F.avg_pool2d(middle, 2), maps[2]], dim=1))
        middle = self.up_middle(torch.cat([_doubled(coarse), middle], dim=1))
        fine = self.up_fine(torch.cat([_doubled(middle), fine], dim=1))
        return self.leave(fine) + self.sharpness * cost.mean(dim=1)

    def _sweep(
        self,
        match: Float[Tensor, "v g c h w"],
        K: Float[Tensor, "v 3 3"],
        T_world_camera: Float[Tensor, "v 4 4"],
        view: int,
        near: Sequence[int],
    ) -> tuple[Float[Tensor, "g d h w"], Float[Tensor, "1 h w"]]:
        """Return how well sources agree at each plane, and at how many planes there was any."""
        groups, _, height, width = match.shape[1:]
        if not near:
            empty = match.new_zeros(groups, self.planes, height, width)
            return empty, match.new_zeros(1, height, width)
        parts = [
            self._agreement(match, K, T_world_camera, view, near, depths)
            for depths in self.depths().split(PLANES_AT_ONCE)
        ]
        cost = torch.cat([cost for cost, _ in parts], dim=1)
        matched = torch.cat([count > 0 for _, count in parts])  # [d, h, w]
        return cost, matched.float().mean(dim=0, keepdim=True)

    def _agreement(
        self,
        match: Float[Tensor, "v g c h w"],
        K: Float[Tensor, "v 3 3"],
        T_world_camera: Float[Tensor, "v 4 4"],
        view: int,
        near: Sequence[int],
        depths: Float[Tensor, "d"],
    ) -> tuple[Float[Tensor, "g d h w"], Int[Tensor, "d h w"]]:
        """Return the mean agreement of the sources at some planes, and how many there were."""
        groups, _, height, width = match.shape[1:]
        with torch.autocast(match.device.type, enabled=False):  # half precision is half a cell off
            at, seen = plane_coordinates(K, T_world_camera, view, near, depths, height, width)
            size = torch.tensor([width, height], device=at.device)
            grid = (2 * at + 1) / size - 1  # [s, d, h, w, 2]
        total, own = 0.0, match[view]
        for place, source in enumerate(near):
            # Each plane as an image of its own: a processor's threads share out whole images.
            maps = match[source].flatten(0, 1).expand(len(depths), -1, -1, -1)
            warped = F.grid_sample(maps, grid[place], align_corners=False)
            agreement = (warped.view(len(depths), groups, -1, height, width) * own).sum(dim=2)
            total = total + agreement * seen[place].unsqueeze(1)  # [d, g, h, w]
        count = seen.sum(dim=0)
        return (total / count.clamp_min(1).unsqueeze(1)).transpose(0, 1), count


def plane_coordinates(
    K: Float[Tensor, "v 3 3"],
    T_world_camera: Float[Tensor, "v 4 4"],
    view: int,
    near: Sequence[int],
    depths: Float[Tensor, "d"],
    height: int,
    width: int,
) -> tuple[Float[Tensor, "s d h w 2"], Tensor]:
    """Return where the cells of a view, pushed to each depth, fall on the maps of its sources.

    Args:
        K, T_world_camera: of all views.
        view: whose cells.
        near: the sources.
        depths: z-depths in metres.
        height, width: of the maps at stride 4.

    Returns:
        Cell coordinates, and which of them lie on the source's map and before it.
    """
    uv = feature_grid(height, width, FEATURE_STRIDE, K.device).reshape(-1, 2)
    rays = torch.cat([uv, torch.ones_like(uv[:, :1])], dim=1) @ torch.linalg.inv(K[view]).T
    rows = list(near)
    T_source_view = torch.linalg.inv(T_world_camera[rows]) @ T_world_camera[view]
    turned = K[rows] @ T_source_view[:, :3, :3] @ rays.T  # [s, 3, n]
    moved = K[rows] @ T_source_view[:, :3, 3:]  # [s, 3, 1]
    at = turned.unsqueeze(1) * depths.view(1, -1, 1, 1) + moved.unsqueeze(1)  # [s, d, 3, n]
    z = at[:, :, 2]
    cell = to_feature_coordinates(
        torch.stack([at[:, :, 0], at[:, :, 1]], dim=-1) / z.clamp_min(0.05).unsqueeze(-1),
        FEATURE_STRIDE,
    )
    x, y = cell.unbind(-1)
    seen = (z > 0.05) & (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    shape = (len(rows), len(depths), height, width)
    return cell.view(*shape, 2), seen.view(shape)


def choose_sources(
    T_world_camera: Float[Tensor, "v 4 4"],
    K: Float[Tensor, "v 3 3"],
    width: int,
    height: int,
    reference: int,
    count: int = 3,
    among: Sequence[int] | None = None,
) -> list[int]:
    """Return the views that tell most about the depth of a view, the best first.

    They look at the same place, two metres and a half away, from a quarter of a metre beside: from
    much nearer there is no parallax, from much farther (3 m at most) nothing looks the same.

    Args:
        T_world_camera, K: of all views.
        width, height: of the images.
        reference: the view.
        count: most sources.
        among: the views to choose from; all but the reference by default.
    """
    others = [i for i in (range(len(K)) if among is None else among) if i != reference]
    if not others:
        return []
    uv = torch.stack(
        torch.meshgrid(
            torch.linspace(0.1, 0.9, 5) * width, torch.linspace(0.1, 0.9, 5) * height, indexing="xy"
        ),
        dim=-1,
    ).reshape(-1, 2)
    pose = T_world_camera[reference].cpu()
    rays = torch.cat([uv, torch.ones(len(uv), 1)], dim=1) @ torch.linalg.inv(K[reference].cpu()).T
    points = 2.5 * rays @ pose[:3, :3].T + pose[:3, 3]
    T_camera_world = torch.linalg.inv(T_world_camera[others].cpu())
    local = points @ T_camera_world[:, :3, :3].transpose(1, 2) + T_camera_world[:, None, :3, 3]
    seen = local @ K[others].cpu().transpose(1, 2)
    z = seen[..., 2]
    u, v = seen[..., 0] / z.clamp_min(0.05), seen[..., 1] / z.clamp_min(0.05)
    inside = (z > 0.2) & (u > 0) & (u < width) & (v > 0) & (v < height)
    overlap = inside.float().mean(dim=1)
    baseline = (T_world_camera[others, :3, 3].cpu() - pose[:3, 3]).norm(dim=1)
    cosine = T_world_camera[others, :3, 2].cpu() @ pose[:3, 2]
    off = (baseline.clamp_min(1e-3) / 0.25).log().abs()
    penalty = off + 2 * (1 - overlap) + 2 * (1 - cosine)
    usable = (baseline > 0.03) & (baseline < 3.0) & (overlap > 0.3) & (cosine > 0.6)
    penalty[~usable] = torch.inf
    order = penalty.argsort()[:count].tolist()
    return [others[i] for i in order if torch.isfinite(penalty[i])]


def settle(logits: Float[Tensor, "r d h w"], depths: Float[Tensor, "d"]) -> Surface:
    """Return the depth around the likeliest plane and how far the distribution strays from it.

    A mean over all planes would put a pixel between foreground and background into thin air.
    """
    share = logits.softmax(dim=1)
    number = torch.arange(len(depths), device=logits.device).view(1, -1, 1, 1)
    best = F.avg_pool1d(
        share.permute(0, 2, 3, 1).flatten(0, 2).unsqueeze(1), 3, stride=1, padding=1
    )
    best = best.argmax(dim=2).view(len(logits), 1, *logits.shape[2:])
    window = share * ((number - best).abs() <= 2)
    mean = (window * number).sum(dim=1) / window.sum(dim=1).clamp_min(1e-6)
    step = (depths[-1] / depths[0]).log() / (len(depths) - 1)
    spread = (share * (number - mean.unsqueeze(1)).abs()).sum(dim=1) * step
    return Surface(depths[0] * torch.exp(mean * step), spread)


def stereo_loss(
    logits: Float[Tensor, "r d h w"],
    depths: Float[Tensor, "d"],
    truth: Float[Tensor, "r h w"],
) -> Float[Tensor, ""]:
    """Return the cross entropy against the two planes around the true depth (0 unknown)."""
    step = (depths[-1] / depths[0]).log() / (len(depths) - 1)
    known = (truth > depths[0]) & (truth < depths[-1])
    at = ((truth.clamp_min(1e-3) / depths[0]).log() / step).clamp(0, len(depths) - 1.001)
    low = at.floor().long()
    upper = at - low
    likely = logits.log_softmax(dim=1)
    one = likely.gather(1, low.unsqueeze(1)).squeeze(1)
    two = likely.gather(1, (low + 1).unsqueeze(1)).squeeze(1)
    loss = -(one * (1 - upper) + two * upper)
    return (loss * known).sum() / known.sum().clamp_min(1)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.SiLU(inplace=True)
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(_block(width, width), nn.Conv2d(width, width, 3, padding=1))
        nn.init.zeros_(self.inner[1].weight)
        nn.init.zeros_(self.inner[1].bias)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.inner(x)


def _residual(width: int) -> nn.Module:
    return _Residual(width)


def _doubled(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(x, scale_factor=2, mode="nearest")
