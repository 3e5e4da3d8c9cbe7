"""The one camera model of the project: a pinhole with a rigid pose.

    camera = Camera(K, T_world_camera, width=320, height=240)
    uv, depth = project(points, camera.K, camera.T_world_camera)
    points = unproject(uv, depth, camera.K, camera.T_world_camera)

Conventions, stated here once. `T_a_b` maps coordinates in b to a; a pose is `T_world_camera`. Axes
are OpenCV's (x right, y down, z forward), lengths are metres, depth is the z coordinate in the
camera. PIXEL CENTRES LIE AT INTEGER COORDINATES: u = fx * x / z + cx, and the image covers
[-0.5, width - 0.5]. A feature map at stride s holds, at index i, the image position
u = s * i + (s - 1) / 2.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

MIN_DEPTH = 1e-2  # metres; nearer than this a projection is numerically meaningless


@dataclass(frozen=True)
class Camera:
    """A pinhole view of the world.

    Attributes:
        K: intrinsics for an image of `width` x `height`, [3, 3].
        T_world_camera: camera-to-world pose, [4, 4].
        width: image width in pixels.
        height: image height in pixels.
    """

    K: Float[Tensor, "3 3"]
    T_world_camera: Float[Tensor, "4 4"]
    width: int
    height: int

    def resized(self, width: int, height: int) -> "Camera":
        """Return the same view for an image of another size."""
        K = scale_intrinsics(self.K, width / self.width, height / self.height)
        return Camera(K, self.T_world_camera, width, height)

    def rays(self) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w 3"]]:
        """Return origins and directions of all pixels, as `pixel_rays` does."""
        uv = pixel_grid(self.height, self.width, device=self.K.device)
        return pixel_rays(uv, self.K, self.T_world_camera)


def scale_intrinsics(
    K: Float[Tensor, "*b 3 3"], scale_x: float, scale_y: float
) -> Float[Tensor, "*b 3 3"]:
    """Return intrinsics for the image resized by the factors, pixel centres at integers."""
    scaled = K.clone()
    scaled[..., 0, :2] = K[..., 0, :2] * scale_x
    scaled[..., 1, :2] = K[..., 1, :2] * scale_y
    scaled[..., 0, 2] = (K[..., 0, 2] + 0.5) * scale_x - 0.5
    scaled[..., 1, 2] = (K[..., 1, 2] + 0.5) * scale_y - 0.5
    return scaled


def invert_pose(T_a_b: Float[Tensor, "*b 4 4"]) -> Float[Tensor, "*b 4 4"]:
    """Return T_b_a of a rigid T_a_b."""
    R_b_a = T_a_b[..., :3, :3].transpose(-1, -2)
    T_b_a = torch.zeros_like(T_a_b)
    T_b_a[..., :3, :3] = R_b_a
    T_b_a[..., :3, 3] = -(R_b_a @ T_a_b[..., :3, 3:]).squeeze(-1)
    T_b_a[..., 3, 3] = 1.0
    return T_b_a


def transform(
    T_a_b: Float[Tensor, "4 4"], points_b: Float[Tensor, "*n 3"]
) -> Float[Tensor, "*n 3"]:
    """Return points given in b, in a."""
    return points_b @ T_a_b[:3, :3].T + T_a_b[:3, 3]


def project(
    points: Float[Tensor, "n 3"],
    K: Float[Tensor, "*v 3 3"],
    T_world_camera: Float[Tensor, "*v 4 4"],
) -> tuple[Float[Tensor, "*v n 2"], Float[Tensor, "*v n"]]:
    """Project world points into one camera or a batch of cameras.

    Returns:
        Pixel coordinates [..., n, 2] (u, v) and z-depth in metres [..., n]. Where the depth is
        below MIN_DEPTH the pixel is computed as if it were MIN_DEPTH: test it before use.
    """
    T_camera_world = invert_pose(T_world_camera)
    KR = K @ T_camera_world[..., :3, :3]
    Kt = K @ T_camera_world[..., :3, 3:]
    homogeneous = points @ KR.transpose(-1, -2) + Kt.transpose(-1, -2)  # [..., n, 3]
    depth = homogeneous[..., 2]
    uv = homogeneous[..., :2] / depth.clamp_min(MIN_DEPTH).unsqueeze(-1)
    return uv, depth


def project_planes(
    points: Float[Tensor, "n 3"],
    K: Float[Tensor, "v 3 3"],
    T_world_camera: Float[Tensor, "v 4 4"],
) -> tuple[Float[Tensor, "v n"], Float[Tensor, "v n"], Float[Tensor, "v n"]]:
    """Return u, v and z-depth as `project` does, each in one piece: for many cameras at once.

    Points whose coordinates lie plane by plane in memory (`in_planes`) take a quarter of the time.
    """
    u, v, depth = _planes(points, K, T_world_camera).unbind(0)
    return u, v, depth


def project_seen(
    points: Float[Tensor, "n 3"],
    K: Float[Tensor, "3 3"],
    T_world_camera: Float[Tensor, "4 4"],
    width: int,
    height: int,
) -> tuple[Int[Tensor, "m"], Float[Tensor, "m 2"], Float[Tensor, "m"]]:
    """Return which points lie on a camera's image, as `inside_image`, their pixels and z-depth."""
    planes = _planes(points, K[None], T_world_camera[None])[:, 0]  # [3, n]
    rows = inside_planes(*planes, width, height).nonzero().squeeze(1)
    seen = planes.index_select(1, rows)
    return rows, seen[:2].T, seen[2]


def _planes(
    points: Float[Tensor, "n 3"],
    K: Float[Tensor, "v 3 3"],
    T_world_camera: Float[Tensor, "v 4 4"],
) -> Float[Tensor, "3 v n"]:
    T_camera_world = invert_pose(T_world_camera)
    KR, Kt = K @ T_camera_world[:, :3, :3], K @ T_camera_world[:, :3, 3:]
    # Rows of all u, then all v, then all z, so that one product makes three planes.
    KR, Kt = KR.transpose(0, 1).reshape(-1, 3), Kt.transpose(0, 1).reshape(-1, 1)
    planes = torch.addmm(Kt, KR, points.T).view(3, len(K), len(points))
    planes[:2] /= planes[2].clamp_min(MIN_DEPTH)
    return planes


def in_planes(points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Return the same points with all x before all y before all z in memory."""
    return points.T.contiguous().T


def unproject(
    uv: Float[Tensor, "*n 2"],
    depth: Float[Tensor, "*n"],
    K: Float[Tensor, "3 3"],
    T_world_camera: Float[Tensor, "4 4"],
) -> Float[Tensor, "*n 3"]:
    """Return the world points at pixels (u, v) and z-depths in metres."""
    origins, directions = pixel_rays(uv, K, T_world_camera)
    return origins + directions * depth.unsqueeze(-1)


def pixel_grid(
    height: int, width: int, device: torch.device | str = "cpu"
) -> Float[Tensor, "h w 2"]:
    """Return the (u, v) of every pixel centre."""
    v, u = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device),
        torch.arange(width, dtype=torch.float32, device=device),
        indexing="ij",
    )
    return torch.stack([u, v], dim=-1)


def feature_grid(
    height: int, width: int, stride: int, device: torch.device | str = "cpu"
) -> Float[Tensor, "h w 2"]:
    """Return the image position (u, v) of every cell of a feature map at a stride."""
    return pixel_grid(height, width, device) * stride + (stride - 1) / 2


def to_feature_coordinates(uv: Float[Tensor, "*n 2"], stride: int) -> Float[Tensor, "*n 2"]:
    """Return image positions as (fractional) indices of a feature map at a stride."""
    return (uv - (stride - 1) / 2) / stride


def pixel_rays(
    uv: Float[Tensor, "*n 2"], K: Float[Tensor, "3 3"], T_world_camera: Float[Tensor, "4 4"]
) -> tuple[Float[Tensor, "*n 3"], Float[Tensor, "*n 3"]]:
    """Return world origins and directions of the rays through pixels.

    Directions advance one metre of z-depth per unit: origin + depth * direction is the point at
    that depth. Normalise them where a metric length along the ray is meant.
    """
    x = (uv[..., 0] - K[0, 2]) / K[0, 0]
    y = (uv[..., 1] - K[1, 2]) / K[1, 1]
    in_camera = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    directions = in_camera @ T_world_camera[:3, :3].T
    origins = T_world_camera[:3, 3].expand_as(directions)
    return origins, directions


def inside_image(
    uv: Float[Tensor, "*n 2"], depth: Float[Tensor, "*n"], width: int, height: int
) -> Bool[Tensor, "*n"]:
    """Tell which projections lie in front of the camera and on the image."""
    return inside_planes(*uv.unbind(-1), depth, width, height)


def inside_planes(
    u: Float[Tensor, "*n"],
    v: Float[Tensor, "*n"],
    depth: Float[Tensor, "*n"],
    width: int,
    height: int,
) -> Bool[Tensor, "*n"]:
    """Return what `inside_image` does, for `project_planes`."""
    right, below = width - 0.5, height - 0.5
    return (depth > MIN_DEPTH) & (u > -0.5) & (u < right) & (v > -0.5) & (v < below)


def sample_map(
    maps: Float[Tensor, "v c h w"], uv: Float[Tensor, "v n 2"], stride: int = 1
) -> Float[Tensor, "v n c"]:
    """Sample maps bilinearly at image positions, borders replicated.

    Args:
        maps: images (stride 1) or feature maps of several views.
        uv: positions in image pixels.
        stride: the maps' stride in image pixels.
    """
    height, width = maps.shape[-2:]
    at = to_feature_coordinates(uv, stride)
    size = torch.tensor([width, height], dtype=at.dtype, device=at.device)
    # grid_sample with align_corners=False puts index i at (2 i + 1) / size - 1.
    grid = (2 * at + 1) / size - 1
    sampled = F.grid_sample(
        maps, grid.unsqueeze(2).to(maps.dtype), padding_mode="border", align_corners=False
    )  # [v, c, n, 1]
    return sampled.squeeze(-1).transpose(1, 2)


def rotation_error(T: Float[Tensor, "4 4"]) -> float:
    """Return how far the rotation part is from one: max |R R^T - 1|, or inf for a reflection."""
    R = T[:3, :3].double()
    if not torch.isfinite(T).all() or torch.linalg.det(R) <= 0:
        return float("inf")
    return float((R @ R.T - torch.eye(3, dtype=R.dtype, device=R.device)).abs().max())


def nearest_rotation(R: Float[Tensor, "3 3"]) -> Float[Tensor, "3 3"]:
    """Return the rotation nearest to a matrix (orthogonal Procrustes)."""
    U, _, Vt = torch.linalg.svd(R)
    sign = torch.linalg.det(U @ Vt).sign()
    U = torch.cat([U[:, :2], U[:, 2:] * sign], dim=1)
    return U @ Vt
