"""Stand-in open-vocabulary maps, made from true labels, wrong where a real model is wrong.

Blending weights never look at the open-vocabulary features, only at how reliable a view is. So they
can be learned from maps in which every class is a random direction and the errors have the right
places: smeared silhouettes, whole blobs mistaken for something else, more of both far away and at
grazing angles, and different in every view.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from .cameras import feature_grid, pixel_rays
from .scene_tensors import SceneTensors

STRIDE = 4


def random_palette(dim: int, generator: torch.Generator) -> Float[Tensor, "256 d"]:
    """Return one random unit vector per label."""
    return F.normalize(torch.randn(256, dim, generator=generator), dim=-1)


def corrupted_maps(
    views: SceneTensors, palette: Float[Tensor, "256 d"], generator: torch.Generator
) -> Float[Tensor, "v h w d"]:
    """Return unit-norm maps at stride 4, channel-last, with errors of their own per view.

    Raises:
        ValueError: the views have no labels or no depth.
    """
    if views.label is None or views.depth is None:
        raise ValueError(f"scene {views.name} lacks labels or depth: no stand-in features from it")
    height, width = -(-views.height // STRIDE), -(-views.width // STRIDE)
    label = _smeared_labels(views.label, height, width, generator)
    risk = error_risk(views)
    noise = _smooth_noise((len(views), 1, height, width), 10, generator).squeeze(1)
    # `noise` is close to uniform on 0..1, so a region of risk r is wrong on a share r of its area.
    wrong = noise < risk
    impostor = _impostors(views.label, height, width, generator)
    label = torch.where(wrong, impostor, label)
    maps = palette[label.long()].permute(0, 3, 1, 2)  # [v, d, h, w]
    maps = F.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)
    maps = maps + 0.3 / maps.shape[1] ** 0.5 * torch.randn(maps.shape, generator=generator)
    return F.normalize(maps, dim=1).permute(0, 2, 3, 1).contiguous()


def error_risk(views: SceneTensors) -> Float[Tensor, "v h w"]:
    """Return the share of wrong cells: growing with distance and towards grazing angles."""
    height, width = -(-views.height // STRIDE), -(-views.width // STRIDE)
    uv = feature_grid(height, width, STRIDE)
    column = uv[..., 0].round().clamp(0, views.width - 1).long()
    line = uv[..., 1].round().clamp(0, views.height - 1).long()
    risks = []
    for view in range(len(views)):
        depth = views.depth[view][line, column]
        _, rays = pixel_rays(uv, views.K[view], torch.eye(4))
        points = rays * depth.unsqueeze(-1)
        across = F.pad(points[:, 1:] - points[:, :-1], (0, 0, 0, 1))
        down = F.pad(points[1:] - points[:-1], (0, 0, 0, 0, 0, 1))
        normal = F.normalize(torch.linalg.cross(across, down), dim=-1)
        facing = (normal * F.normalize(rays, dim=-1)).sum(dim=-1).abs()
        far = ((depth - 1.5) / 4).clamp(0, 1)
        risks.append(0.05 + 0.3 * far + 0.35 * (1 - facing / 0.6).clamp(0, 1))
    return torch.stack(risks)


def _smeared_labels(
    label: UInt8[Tensor, "v H W"], height: int, width: int, generator: torch.Generator
) -> UInt8[Tensor, "v h w"]:
    """Look labels up a few pixels off, by a smooth random field: silhouettes bleed."""
    views, full_height, full_width = label.shape
    coarse = torch.randn(views, 2, 6, 8, generator=generator)
    field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    at = feature_grid(height, width, STRIDE) + 5.0 * field.permute(0, 2, 3, 1)  # [v, h, w, 2]
    column = at[..., 0].round().clamp(0, full_width - 1).long()
    line = at[..., 1].round().clamp(0, full_height - 1).long()
    return label[torch.arange(views)[:, None, None], line, column]


def _impostors(
    label: UInt8[Tensor, "v H W"], height: int, width: int, generator: torch.Generator
) -> UInt8[Tensor, "v h w"]:
    """Return for each region of a view a label that some other place of the scene has."""
    pool = label.reshape(-1)
    pick = torch.randint(0, len(pool), (len(label), 1, 5, 6), generator=generator)
    coarse = pool[pick].float()
    return F.interpolate(coarse, (height, width), mode="nearest").squeeze(1).to(torch.uint8)


def _smooth_noise(shape: tuple[int, ...], cell: int, generator: torch.Generator) -> Tensor:
    views, channels, height, width = shape
    coarse = torch.randn(
        views, channels, height // cell + 3, width // cell + 3, generator=generator
    )
    field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    field = field / field.std(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    return 0.5 * (1 + torch.erf(field / 2**0.5))
