"""Views of other exposure and white balance made alike, as panorama stitching does.

    views.gain = even_exposure(views)                        # factors on each view's colours
    image = render_image(field, views, volume, camera)       # takes `expected_exposure` back in

A camera sets its exposure anew in every frame. Where two views look at the same surface the ratio
of their colours tells how they differ; all ratios together give each view's gain, up to one for
all, which is left as it is. A view that is rendered takes the exposure that the cameras around it
had. Colours alone are evened out: features of images were learned from images as they are.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .blending import Views
from .cameras import inside_image, project, sample_map, unproject
from .evidence import look_up
from .nearby_cameras import expected_values

COARSE = 8  # pixels that are averaged: a pose or a depth that is a little off matters less
SAMPLES = (24, 18)  # surface points per view, columns and rows
DOUBTFUL = 0.12  # relative doubt of a depth from which it says nothing here
DARK, BRIGHT = 0.06, 0.92  # beyond, a camera's values no longer follow the light
FEWEST = 12  # common points of two views that are compared
PAIR, PRIOR = 0.03, 0.15  # deviations of a pair's log ratio and of a view's log gain
HUBER = 0.05  # log ratio from which a pair that disagrees with all others counts less


@torch.no_grad()
def even_exposure(views: Views) -> Float[Tensor, "v 3"]:
    """Return factors on the views' colours that make them alike; 1 where nothing tells.

    Args:
        views: with surfaces; what their `gain` is does not matter.
    """
    count = len(views)
    ones = views.rgb.new_ones(count, 3)
    if views.surface is None or count < 2:
        return ones
    ratio, weight = _ratios(views)
    if not bool((weight > 0).any()):
        return ones
    return torch.stack([_solved(ratio[..., c], weight) for c in range(3)], dim=1).neg().exp()


@torch.no_grad()
def expected_exposure(
    views: Views, T_world_camera: Float[Tensor, "4 4"]
) -> Float[Tensor, "3"] | None:
    """Return factors on evened colours that a camera at a pose would have; None without gains.

    Exposure follows what a camera sees, so near cameras that look the same way tell most, and far
    from all of them the mean exposure is the best guess.
    """
    if views.gain is None:
        return None
    return expected_values(T_world_camera, views.T_world_camera, -views.gain.log()).exp()


def _ratios(views: Views) -> tuple[Float[Tensor, "v v 3"], Float[Tensor, "v v"]]:
    """Return the median log ratio of the colours of view i to those of view j, and its weight."""
    count = len(views)
    coarse = F.avg_pool2d(views.rgb, COARSE)
    ratio = views.rgb.new_zeros(count, count, 3)
    weight = views.rgb.new_zeros(count, count)
    uv = _grid(views)
    for view in range(count):
        depth, spread = look_up(views.surface, view, uv, views.width)
        known = (depth > 0) & (spread < DOUBTFUL)
        if int(known.sum()) < FEWEST:
            continue
        at = uv[known]
        points = unproject(at, depth[known], views.K[view], views.T_world_camera[view])
        there, z = project(points, views.K, views.T_world_camera)  # [v, n, 2], [v, n]
        rows = torch.arange(count, device=z.device).unsqueeze(-1)
        other, doubt = look_up(views.surface, rows, there, views.width)
        agree = (z - other).abs() < (0.03 + doubt) * other
        seen = inside_image(there, z, views.width, views.height) & agree & (doubt < DOUBTFUL)
        seen[view] = False
        near = (seen.sum(dim=1) >= FEWEST).nonzero().squeeze(1)
        if not len(near):
            continue
        own = sample_map(coarse[view : view + 1], at[None], COARSE)  # [1, n, 3]
        theirs = sample_map(coarse[near], there[near], COARSE)  # [m, n, 3]
        clear = ((own > DARK) & (own < BRIGHT) & (theirs > DARK) & (theirs < BRIGHT)).all(dim=-1)
        usable = clear & seen[near]
        logs = own.clamp_min(DARK).log() - theirs.clamp_min(DARK).log()
        logs = logs.masked_fill(~usable.unsqueeze(-1), torch.nan)
        middle = logs.nanmedian(dim=1).values  # [m, 3]
        common = usable.sum(dim=1)
        enough = common >= FEWEST
        ratio[view, near] = torch.where(enough.unsqueeze(-1), middle.nan_to_num(), 0.0)
        weight[view, near] = torch.where(enough, common / (common + 4.0 * FEWEST), 0.0)
    return ratio, weight


def _solved(ratio: Float[Tensor, "v v"], weight: Float[Tensor, "v v"]) -> Float[Tensor, "v"]:
    """Return the log gains whose differences are the ratios, robustly, with mean 0."""
    logs = torch.zeros(len(ratio), dtype=torch.float64, device=ratio.device)
    ratio, weight = ratio.double(), weight.double()
    prior = (PAIR / PRIOR) ** 2 * torch.eye(len(ratio), device=ratio.device)
    trust = weight
    for _ in range(5):
        both = trust + trust.T
        system = torch.diag(both.sum(dim=1)) - both + prior
        given = (trust * ratio).sum(dim=1) - (trust * ratio).sum(dim=0)
        logs = torch.linalg.solve(system, given)
        off = (ratio - (logs.unsqueeze(1) - logs.unsqueeze(0))).abs()
        trust = weight * (HUBER / off.clamp_min(HUBER))
    return (logs - logs.mean()).float()


def _grid(views: Views) -> Float[Tensor, "n 2"]:
    columns, rows = SAMPLES
    x = (torch.arange(columns) + 0.5) * views.width / columns - 0.5
    y = (torch.arange(rows) + 0.5) * views.height / rows - 0.5
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
    return grid.to(views.rgb.device)
