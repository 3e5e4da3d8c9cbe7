"""The surface that each view believes in: from its neighbours, or as it was measured.

surface = stereo_surfaces(field, rgb, None, K, T_world_camera)   # of views, against each other
detail, match = describe_view(field, rgb[:1], maps)              # of one view, to keep
surface = matched_surface(field, maps, detail, matches, K, T_world_camera, size, view, sources)
surface = confirmed_surfaces(surfaces, K, T_world_camera, width)  # of all views, by each other
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .cameras import feature_grid, inside_image, project, unproject
from .cost_volume import FEATURE_STRIDE
from .evidence import look_up
from .field import GovNesf
from .image_encoder import padded
from .precision import half_convolutions
from .stereo import Surface, choose_sources, settle

SOURCES = 6  # views that a depth is matched against; training used up to 3, more still help
VAGUE = 0.1  # relative doubt of a depth that says half as much about others
CONFIRMED = (0.5, 3.0)  # factors between which the other views change a depth's doubt
ENOUGH = 3  # below that it is worth to match again when there are more


@torch.no_grad()
def describe_view(
    field: GovNesf, rgb: Float[Tensor, "1 3 H W"], maps: Sequence[Float[Tensor, "1 _ _ _"]]
) -> tuple[Float[Tensor, "1 c h w"], Float[Tensor, "1 m h w"]]:
    """Return what `StereoDepth.describe` makes of an image of any size and its backbone's maps."""
    with half_convolutions(field.stereo, rgb):
        detail, match = field.stereo.describe(padded(rgb, field.encoder.pad), maps)
    return detail.float(), match.float()


@torch.no_grad()
def matched_surface(
    field: GovNesf,
    maps: Sequence[Float[Tensor, "1 _ _ _"]],
    detail: Float[Tensor, "1 c h w"],
    match: Float[Tensor, "v m h w"],
    K: Float[Tensor, "v 3 3"],
    T_world_camera: Float[Tensor, "v 4 4"],
    size: tuple[int, int],
    view: int,
    sources: Sequence[int],
) -> Surface:
    """Return the depth of one view by stereo, at stride 4, float16.

    Args:
        field: with a stereo network.
        maps, detail: of the view.
        match, K, T_world_camera: of all views that are named.
        size: width and height of the images.
        view, sources: positions among them.
    """
    with half_convolutions(field.stereo, match):
        logits = field.stereo(maps, detail, match, K, T_world_camera, size[0], [(view, sources)])
    surface = settle(logits.float(), field.stereo.depths())
    rows, columns = (-(-length // FEATURE_STRIDE) for length in (size[1], size[0]))
    return Surface(
        surface.depth[:, :rows, :columns].half(), surface.spread[:, :rows, :columns].half()
    )


@torch.no_grad()
def stereo_surfaces(
    field: GovNesf,
    rgb: Float[Tensor, "v 3 H W"],
    maps: Sequence[Float[Tensor, "v _ _ _"]] | None,
    K: Float[Tensor, "v 3 3"],
    T_world_camera: Float[Tensor, "v 4 4"],
) -> Surface:
    """Return the depths of views that are matched against each other.

    Args:
        field: with a stereo network.
        rgb: colours in 0..1.
        maps: the backbone's where they are known.
        K, T_world_camera: of the views.
    """
    size = (rgb.shape[3], rgb.shape[2])
    levels, details, matches = [], [], []
    for view, image in enumerate(rgb.split(1)):
        if maps is None:
            own = field.encoder.backbone(image)
        else:
            own = [level[view : view + 1].float() for level in maps]
        detail, match = describe_view(field, image, own)
        levels.append(own)
        details.append(detail)
        matches.append(match)
    match = torch.cat(matches)
    parts = []
    for view in range(len(rgb)):
        near = choose_sources(T_world_camera, K, *size, view, SOURCES)
        shared = (levels[view], details[view], match, K, T_world_camera, size)
        parts.append(matched_surface(field, *shared, view, near))
    return Surface(
        torch.cat([part.depth for part in parts]), torch.cat([part.spread for part in parts])
    )


@torch.no_grad()
def confirmed_surfaces(
    surface: Surface, K: Float[Tensor, "v 3 3"], T_world_camera: Float[Tensor, "v 4 4"], width: int
) -> Surface:
    """Return depths as they are, doubted less where other views agree, more where they do not.

    A point is confirmed by a view that finds the same surface there, and denied by one that looks
    through it; the doubtful say little either way. A view hidden behind something says nothing.

    Args:
        surface: of all views, each known from its own matching.
        K, T_world_camera: of the views.
        width: of their images, pixels.
    """
    count, rows, columns = surface.depth.shape
    stride = round(width / columns)
    uv = feature_grid(rows, columns, stride, K.device).reshape(-1, 2)
    everyone = torch.arange(count, device=K.device).unsqueeze(-1)
    parts = []
    for view in range(count):
        depth, spread = (map[view].float().reshape(-1) for map in (surface.depth, surface.spread))
        points = unproject(uv, depth, K[view], T_world_camera[view])
        there, z = project(points, K, T_world_camera)
        other, doubt = look_up(surface, everyone, there, width)
        seen = inside_image(there, z, width, rows * stride) & (other > 0)
        seen[view] = False
        off = (z.clamp_min(1e-2) / other.clamp_min(1e-2)).log()
        near = 0.03 + 0.3 * spread
        says = seen / (1 + (doubt / VAGUE).square())
        confirmed = (says * (off.abs() < near)).sum(dim=0)
        denied = (says * (off < -1.5 * near)).sum(dim=0)
        factor = ((1 + denied) / (1 + confirmed)).sqrt().clamp(*CONFIRMED)
        parts.append((spread * factor).view(rows, columns))
    return Surface(surface.depth, torch.stack(parts).to(surface.spread.dtype))


def at_stride(surface: Surface, stride: int) -> Surface:
    """Return a full-resolution surface at the cells of a map, the pixel next to their middle."""
    if stride == 1:
        return surface
    height, width = surface.depth.shape[1:]
    rows, columns = (
        (torch.arange(-(-length // stride)) * stride + (stride - 1) // 2).clamp_max(length - 1)
        for length in (height, width)
    )
    return Surface(surface.depth[:, rows][:, :, columns], surface.spread[:, rows][:, :, columns])
