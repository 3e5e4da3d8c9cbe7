"""What is true of a camera, told by the cameras around it.

values = expected_values(T_world_camera, poses, known)     # such as log gains, errors of poses

A Gaussian process: values of cameras are the more alike the nearer they stand and the more they
look the same way. How far that reaches, and how much every camera has for itself, follows from the
known values, as what makes them likeliest. Far from all cameras 0 is expected.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

NEAR, TOWARD = 0.5, math.radians(30)  # metres and radians that part two cameras as much
REACHES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # of that, from which the likeliest is taken
FRESH = (0.05, 0.2, 0.5, 0.8)  # shares of the variance that are a camera's own
MOST = 300  # cameras that are asked, the nearest


@torch.no_grad()
def expected_values(
    T_world_camera: Float[Tensor, "4 4"],
    poses: Float[Tensor, "v 4 4"],
    known: Float[Tensor, "v c"],
) -> Float[Tensor, "c"]:
    """Return what to expect of a camera at a pose.

    Args:
        T_world_camera: of the camera.
        poses: of the cameras that are known.
        known: their values, around 0.
    """
    poses, values = poses.double(), known.double()
    apart = _apart(torch.cat([poses, T_world_camera[None].to(poses)]))
    if len(poses) > MOST:
        nearest = apart[-1, :-1].topk(MOST, largest=False).indices
        rows = torch.cat([nearest, nearest.new_tensor([len(poses)])])
        apart, values = apart[rows][:, rows], values[nearest]
    # Columns of other units, or none at all, weigh the same.
    scale = values.square().mean(dim=0).sqrt().clamp_min(1e-9)
    values = values / scale
    best, chosen = -math.inf, torch.zeros_like(scale)
    for reach in REACHES:
        related = torch.exp(-apart / reach)
        for fresh in FRESH:
            own = fresh * torch.eye(len(values), dtype=apart.dtype, device=apart.device)
            factor = torch.linalg.cholesky((1 - fresh) * related[:-1, :-1] + own)
            solved = torch.cholesky_solve(values, factor)
            variance = (values * solved).mean(dim=0).clamp_min(1e-12)
            likely = -0.5 * float(len(values) * variance.log().sum())
            likely -= values.shape[1] * float(factor.diagonal().log().sum())
            if likely > best:
                best, chosen = likely, (1 - fresh) * related[-1, :-1] @ solved
    return (chosen * scale).to(known)


def _apart(poses: Float[Tensor, "v 4 4"]) -> Float[Tensor, "v v"]:
    distance = torch.cdist(poses[:, :3, 3], poses[:, :3, 3])
    cosine = (poses[:, :3, 2] @ poses[:, :3, 2].T).clamp(-1, 1)
    return distance / NEAR + torch.acos(cosine) / TOWARD
