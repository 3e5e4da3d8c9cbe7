"""A tiny untrained field and the box room as its views, for tests."""

import torch
import torch.nn.functional as F
from box_room import LOWER, UPPER, room_cameras, trace

from govnesf_model.blending import Views
from govnesf_model.cost_volume import VolumeGrid
from govnesf_model.evidence import measured_surface
from govnesf_model.field import FieldConfig, GovNesf, VolumeField

OV_DIM = 24


def tiny_field(seed: int = 0, **changes) -> GovNesf:
    """Return an untrained field with few channels, in eval mode."""
    torch.manual_seed(seed)
    sizes = {
        "volume_channels": 8,
        "query_channels": 8,
        "unet_channels": (8, 8, 8),
        "geometry_channels": 8,
        "density_width": 16,
        "fusion_width": 16,
        "voxel_size": 0.25,
        "samples_per_ray": 32,
        "stereo_planes": 8,
        "stereo_width": 8,
        "stereo_channels": 4,
    }
    return GovNesf(FieldConfig.small(**{**sizes, **changes})).eval()


@torch.no_grad()
def box_scene(field: GovNesf, count: int = 6) -> tuple[Views, VolumeField]:
    """Return the box room's views (with depth and random features) and its volume."""
    cameras = room_cameras(count)
    traced = [trace(camera) for camera in cameras]
    rgb = torch.stack([colors.permute(2, 0, 1) for colors, _, _ in traced])
    depth = torch.stack([depth for _, depth, _ in traced])
    K = torch.stack([camera.K for camera in cameras])
    T = torch.stack([camera.T_world_camera for camera in cameras])
    maps = field.encode_images(rgb)
    surface = measured_surface(depth)
    grid = VolumeGrid.around(LOWER - 0.3, UPPER + 0.3, field.config.voxel_size)
    cost = field.empty_volume(grid)
    for view in range(count):
        own = surface[view : view + 1]
        cost.add_view(maps.volume[view], K[view], T[view], 64, 48, own)
    generator = torch.Generator().manual_seed(1)
    ov = torch.randn(count, 12, 16, OV_DIM, generator=generator)
    views = Views(rgb, maps.query, K, T, depth, F.normalize(ov, dim=-1), surface=surface)
    return views, field.volume_features(cost)


def random_points(count: int, seed: int = 0) -> torch.Tensor:
    """Return points in the room, away from its walls."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(count, 3, generator=generator) * 0.8 + 0.1
    return LOWER + (UPPER - LOWER) * share
