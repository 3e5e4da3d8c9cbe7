"""The whole network: posed views in; density, colour and meaning at points out (sections 3.2, 3.3).

    field = load_field("small")
    maps = field.encode_images(rgb)                                   # once per keyframe
    scene = field.empty_volume(grid)
    scene.add_view(maps.volume[0], K, T_world_camera, width, height, surface)
    volume = field.volume_features(scene)                             # when keyframes changed
    views = Views(rgb, maps.query, K, T_world_camera, ov=ov)
    blend = field.blend(points, views, volume)
    features = blend_semantic(blend, points, views)

Density needs the volume alone, so it is known for every sample before any view is touched. Beside
the statistics of the paper the volume holds what the views' own depths say, see `evidence.py`.
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
    surface_offset,
)
from .cost_volume import VolumeGrid
from .evidence import packed, sample_evidence
from .field_config import FieldConfig
from .fusion import FusionNet
from .gather import gather
from .image_encoder import ImageFeatures, build_encoder
from .pair_fusion import pair_weights
from .precision import half_convolutions, set_precision
from .scene_volume import SceneVolume, children, parents
from .stereo import StereoDepth
from .tile_grid import Grid
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
CLEAR_BIAS = -5.0  # with evidence it is clear air where no view knows of a surface
# Before training: the logit of density per truncation of signed distance, and on the surface.
EVIDENCE_GAIN = (20.0, 7.0)


@dataclass
class VolumeField:
    """The volume after the 3D ResUNet.

    Attributes:
        grid: where it lies, in one box or in tiles.
        features: the volume feature v per voxel; None where nobody looks at it any more.
        density_table: v through the first, linear layer of the density MLP, [cells, width].
        fusion_table: v through the first, linear layer of MLP_a, [cells, width]. A linear layer
            commutes with interpolation, so both are applied once per voxel, not once per sample.
        fine_grid: the finer voxels of the evidence; None without.
        evidence: signed distance and sureness per fine voxel.
        fine_table: evidence, packed, and what the 3D network adds per fine voxel.
        sigma: density at the middle of each fine voxel, once `density_grid` was asked for it.
    """

    grid: Grid
    features: Float[Tensor, "c x y z"] | None
    density_table: Float[Tensor, "cells wd"]
    fusion_table: Float[Tensor, "cells wf"]
    fine_grid: Grid | None = None
    evidence: Float[Tensor, "fine 2"] | None = None
    fine_table: Float[Tensor, "fine ce"] | None = None
    sigma: Float[Tensor, "fine"] | None = None

    @property
    def bytes(self) -> int:
        """Memory held."""
        tables = (
            self.features,
            self.density_table,
            self.fusion_table,
            self.evidence,
            self.fine_table,
            self.sigma,
        )
        return sum(table.numel() * table.element_size() for table in tables if table is not None)


class GovNesf(nn.Module):
    """Generalizable open-vocabulary neural semantic field."""

    def __init__(self, config: FieldConfig) -> None:
        """Build an untrained field; `checkpoint.load_field` gives a trained one."""
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config)
        self.stereo = None
        if config.stereo_planes:
            self.stereo = StereoDepth(config, self.encoder.channels)
        self.unet = ResUNet3d(
            2 * config.volume_channels + 1 + 2 * config.evidence_split**3,
            config.unet_channels,
            config.geometry_channels,
            config.evidence_channels * config.evidence_split**3,
        )
        self.density_in = nn.Linear(config.geometry_channels, config.density_width)
        self.density_out = nn.Sequential(
            nn.SiLU(),
            nn.Linear(config.density_width, config.density_width),
            nn.SiLU(),
            nn.Linear(config.density_width, 1),
        )
        nn.init.constant_(self.density_out[-1].bias, DENSITY_BIAS)
        if config.evidence_split:
            nn.init.constant_(self.density_out[-1].bias, CLEAR_BIAS)
            self.density_fine = nn.Linear(
                2 + config.evidence_channels, config.density_width, bias=False
            )
            self.density_gain = nn.Parameter(torch.tensor(EVIDENCE_GAIN))
        self.fusion_in = nn.Linear(config.geometry_channels, config.fusion_width, bias=False)
        self.fusion = FusionNet(config)
        self.regress = None if config.use_mjf else DistillHead(config)

    @property
    def device(self) -> torch.device:
        return self.density_in.weight.device

    def use_precision(self, word: str) -> None:
        """Choose how convolutions run when nothing is learned: a word of `precision.WORDS`."""
        for part in (self, self.encoder, self.stereo):
            if part is not None:
                set_precision(part, word)

    def encode_images(self, rgb: Float[Tensor, "v 3 H W"]) -> ImageFeatures:
        """Return the stride-4 maps of images with colours in 0..1."""
        return self.encoder(rgb)

    def empty_volume(self, grid: VolumeGrid) -> SceneVolume:
        """Return a volume for this field's maps and for what its views know of depth."""
        return SceneVolume(grid, self.config.volume_channels, self.config.evidence_split)

    def volume_features(self, scene: SceneVolume) -> VolumeField:
        """Run the 3D ResUNet over the views' statistics."""
        evidence = None if scene.evidence is None else scene.evidence.table()
        return self.volume_from(scene.grid, scene.cost.features(), evidence)

    def volume_from(
        self,
        grid: VolumeGrid,
        features: Float[Tensor, "c x y z"],
        evidence: Float[Tensor, "fine 2"] | None = None,
    ) -> VolumeField:
        """Run the 3D ResUNet over features from `CostVolume.features` or `batch_features`.

        Args:
            grid: of the features.
            features: statistics of the views.
            evidence: `EvidenceVolume.table()` of the finer grid, for fields that take it.
        """
        split = self.config.evidence_split
        if split:
            features = torch.cat([features, children(evidence, grid, split)])
        with half_convolutions(self, features):
            geometry, detail = self.unet(features.unsqueeze(0))
        geometry = geometry.squeeze(0).to(features.dtype)
        detail = None if detail is None else detail.to(features.dtype)
        table = geometry.permute(1, 2, 3, 0).reshape(grid.cells, -1)
        volume = VolumeField(grid, geometry, self.density_in(table), self.fusion_in(table))
        if split:
            volume.fine_grid, volume.evidence = grid.finer(split), evidence
            volume.fine_table = packed(evidence, parents(detail.squeeze(0), split))
        return volume

    def density(self, points: Float[Tensor, "n 3"], volume: VolumeField) -> Float[Tensor, "n"]:
        """Return sigma >= 0 in 1/m; exactly 0 outside the grid."""
        inside = volume.grid.contains(points)
        if not bool(inside.all()):
            rows = inside.nonzero().squeeze(-1)
            sigma = self.density(points[rows], volume)
            return points.new_zeros(len(points)).index_copy(0, rows, sigma)
        hidden = gather(volume.density_table, *volume.grid.taps(points))
        if volume.fine_grid is None:
            logit = self.density_out(hidden).squeeze(-1)
            return F.softplus(logit) / self.config.density_length
        distance, sure, detail = sample_evidence(volume.fine_table, volume.fine_grid, points)
        known = torch.stack([distance, sure], dim=-1)
        hidden = hidden + self.density_fine(torch.cat([known, detail], dim=-1))
        slope, surface = self.density_gain
        logit = self.density_out(hidden).squeeze(-1) + sure * (surface - slope * distance)
        return F.softplus(logit) / self.config.density_length

    @torch.no_grad()
    def density_grid(self, volume: VolumeField, chunk: int = 65536) -> Float[Tensor, "fine"]:
        """Return sigma at the middle of each voxel of evidence; computed once per volume."""
        if volume.sigma is None:

            def density(centers: Tensor) -> Tensor:
                return torch.cat([self.density(part, volume) for part in centers.split(chunk)])

            volume.sigma = volume.fine_grid.sigma_table(density)
        return volume.sigma

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
        from_volume = None
        if self.config.use_vfa:
            from_volume = gather(volume.fusion_table, *volume.grid.taps(points))
        # On a GPU, padding costs less than asking how many views there are.
        if points.device.type == "cpu" and not torch.is_grad_enabled():
            w_color, w_semantic = pair_weights(
                self.fusion, choice, points, views, from_volume, directions
            )
            return Blend(choice.view, choice.valid, choice.uv, w_color, w_semantic)
        offset = points.unsqueeze(1) - views.T_world_camera[choice.view, :3, 3]  # [n, k, 3]
        distance = offset.norm(dim=-1)
        toward = offset / distance.clamp_min(1e-6).unsqueeze(-1)
        tokens = self.fusion.tokens(
            sample_query(choice, views),
            from_volume,
            toward,
            distance,
            choice.valid,
            surface_offset(choice, views) if self.config.encode_surface else None,
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
        geometry = volume.features.permute(1, 2, 3, 0).flatten(0, 2)
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
