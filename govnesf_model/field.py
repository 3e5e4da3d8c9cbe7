"""The whole network: posed views in; density, colour and meaning at points out (sections 3.2, 3.3).

    field = load_field("small")
    maps = field.encode_images(rgb)                                   # once per keyframe
    cost = field.empty_volume(grid)
    cost.add_view(maps.volume[0], K, T_world_camera, width, height)   # for each keyframe
    volume = field.volume_features(cost)                              # when keyframes changed
    views = Views(rgb, maps.query, K, T_world_camera, ov=ov)
    blend = field.blend(points, views, volume)
    features = blend_semantic(blend, points, views)

Density needs the volume alone, so it is known for every sample before any view is touched.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .blending import (
    Blend,
    Views,
    blend_color,
    blend_semantic,
    choose_views,
    project_text,
    sample_query,
)
from .cost_volume import CostVolume, VolumeGrid
from .field_config import FieldConfig
from .fusion import FusionNet
from .gather import gather
from .image_encoder import ImageFeatures, build_encoder
from .unet3d import ResUNet3d

__all__ = [
    "Blend",
    "FieldConfig",
    "GovNesf",
    "ImageFeatures",
    "Views",
    "VolumeField",
    "blend_color",
    "blend_semantic",
    "project_text",
]

DENSITY_BIAS = -1.0  # an untrained field is a thin fog, so that gradients reach all depths


@dataclass
class VolumeField:
    """The volume after the 3D ResUNet.

    Attributes:
        grid: where it lies.
        features: the volume feature v per voxel.
        density_table: v through the first, linear layer of the density MLP, [cells, width].
        fusion_table: v through the first, linear layer of MLP_a, [cells, width]. A linear layer
            commutes with interpolation, so both are applied once per voxel, not once per sample.
    """

    grid: VolumeGrid
    features: Float[Tensor, "c x y z"]
    density_table: Float[Tensor, "cells wd"]
    fusion_table: Float[Tensor, "cells wf"]


class GovNesf(nn.Module):
    """Generalizable open-vocabulary neural semantic field."""

    def __init__(self, config: FieldConfig) -> None:
        """Build an untrained field; `checkpoint.load_field` gives a trained one."""
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config)
        self.unet = ResUNet3d(
            2 * config.volume_channels + 1, config.unet_channels, config.geometry_channels
        )
        self.density_in = nn.Linear(config.geometry_channels, config.density_width)
        self.density_out = nn.Sequential(
            nn.SiLU(),
            nn.Linear(config.density_width, config.density_width),
            nn.SiLU(),
            nn.Linear(config.density_width, 1),
        )
        nn.init.constant_(self.density_out[-1].bias, DENSITY_BIAS)
        self.fusion_in = nn.Linear(config.geometry_channels, config.fusion_width, bias=False)
        self.fusion = FusionNet(config)
        self.regress = None if config.use_mjf else DistillHead(config)

    @property
    def device(self) -> torch.device:
        return self.density_in.weight.device

    def encode_images(self, rgb: Float[Tensor, "v 3 H W"]) -> ImageFeatures:
        """Return the stride-4 maps of images with colours in 0..1."""
        return self.encoder(rgb)

    def empty_volume(self, grid: VolumeGrid) -> CostVolume:
        """Return a cost volume for this field's maps."""
        return CostVolume(grid, self.config.volume_channels, self.config.lift_depth)

    def volume_features(self, cost_volume: CostVolume) -> VolumeField:
        """Run the 3D ResUNet over the views' statistics."""
        return self.volume_from(cost_volume.grid, cost_volume.features())

    def volume_from(self, grid: VolumeGrid, features: Float[Tensor, "c x y z"]) -> VolumeField:
        """Run the 3D ResUNet over features from `CostVolume.features` or `batch_features`."""
        geometry = self.unet(features.unsqueeze(0)).squeeze(0)
        table = geometry.permute(1, 2, 3, 0).reshape(grid.cells, -1)
        return VolumeField(grid, geometry, self.density_in(table), self.fusion_in(table))

    def density(self, points: Float[Tensor, "n 3"], volume: VolumeField) -> Float[Tensor, "n"]:
        """Return sigma >= 0 in 1/m; exactly 0 outside the grid."""
        inside = volume.grid.contains(points)
        if not bool(inside.all()):
            rows = inside.nonzero().squeeze(-1)
            sigma = self.density(points[rows], volume)
            return points.new_zeros(len(points)).index_copy(0, rows, sigma)
        hidden = gather(volume.density_table, *volume.grid.taps(points))
        return F.softplus(self.density_out(hidden).squeeze(-1)) / self.config.density_length

    def blend(
        self,
        points: Float[Tensor, "n 3"],
        views: Views,
        volume: VolumeField,
        k: int | None = None,
        directions: Float[Tensor, "n 3"] | None = None,
        masking: str = "none",
        tolerance: float | None = None,
    ) -> Blend:
        """Return how each point is mixed from the views (eq. 2).

        Args:
            points: world positions; outside the grid the border's volume feature is used.
            views: the reference views; their `ov` is not looked at.
            volume: from `volume_features`.
            k: best visible views per point, 0 for all; the configuration's by default.
            directions: viewing directions of the rays; without them there are no colour weights.
            masking: "none", or "depth" for depth-guided masking.
            tolerance: of that masking; the configuration's `dgm_tolerance` by default. Points that
                are known to lie on a surface can afford less.
        """
        k = self.config.views_per_point if k is None else k
        tolerance = self.config.dgm_tolerance if tolerance is None else tolerance
        choice = choose_views(points, views, k, directions, masking, tolerance)
        offset = points.unsqueeze(1) - views.T_world_camera[choice.view, :3, 3]  # [n, k, 3]
        distance = offset.norm(dim=-1)
        toward = offset / distance.clamp_min(1e-6).unsqueeze(-1)
        from_volume = None
        if self.config.use_vfa:
            from_volume = gather(volume.fusion_table, *volume.grid.taps(points))
        tokens = self.fusion.tokens(
            sample_query(choice, views), from_volume, toward, distance, choice.valid
        )
        w_color = None
        if directions is not None:
            cosine = (F.normalize(directions, dim=-1).unsqueeze(1) * toward).sum(dim=-1)
            w_color = self.fusion.color_weights(tokens, cosine, choice.valid)
        w_semantic = self.fusion.semantic_weights(tokens, choice.valid)
        return Blend(choice.view, choice.valid, choice.uv, w_color, w_semantic)

    def distill(
        self,
        points: Float[Tensor, "n 3"],
        views: Views,
        volume: VolumeField,
        k: int | None = None,
        masking: str = "none",
    ) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n d"]]:
        """Regress colour and feature, the Distill baseline (section 4.1).

        Raises:
            ValueError: the field was built with `use_mjf`, which blends instead.
        """
        if self.regress is None:
            raise ValueError("this field blends views: build a Distill baseline with use_mjf=False")
        k = self.config.views_per_point if k is None else k
        choice = choose_views(points, views, k, None, masking, self.config.dgm_tolerance)
        geometry = volume.features.permute(1, 2, 3, 0).reshape(volume.grid.cells, -1)
        v = gather(geometry, *volume.grid.taps(points))
        if not self.config.use_vfa:
            v = torch.zeros_like(v)
        return self.regress(sample_query(choice, views), v, choice.valid)


class DistillHead(nn.Module):
    """Regresses colour and open-vocabulary feature from view statistics and the volume feature."""

    def __init__(self, config: FieldConfig) -> None:
        super().__init__()
        inputs = 2 * config.query_channels + config.geometry_channels
        width = 4 * config.fusion_width
        self.trunk = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))
        self.color = nn.Linear(width, 3)
        self.feature = nn.Linear(width, config.distill_dim)

    def forward(
        self,
        query: Float[Tensor, "n k cf"],
        v: Float[Tensor, "n c"],
        valid: Bool[Tensor, "n k"],
    ) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n d"]]:
        """Return colour in 0..1 and feature per point."""
        weight = valid.unsqueeze(-1).to(query.dtype)
        count = weight.sum(dim=1).clamp_min(1)
        mean = (query * weight).sum(dim=1) / count
        variance = ((query - mean.unsqueeze(1)).square() * weight).sum(dim=1) / count
        hidden = F.silu(self.trunk(torch.cat([mean, variance, v], dim=-1)))
        return self.color(hidden).sigmoid(), self.feature(hidden)
