"""Poses of views put right by looking at what the views show of the same surfaces.

    T_world_camera = aligned_poses(views)                            # of the views
    camera = expected_pose(camera_pose, views.T_world_camera, T_world_camera)   # of a new one

Poses of a robot are off by a centimetre or two between places that it saw at different times, and
what several views show of a surface then lies beside each other. Each view is compared with some
that look at the same place: the other image is brought over by the view's own depth, optical flow
tells how far it is off, and all poses are moved a little so that as little as possible is left.
They stay near what was given, and at what was given where that is as good as flow can tell. Depth
that is doubtful only speaks across the direction in which its error would move a point.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .blending import Views
from .cameras import inside_image, invert_pose, project, scale_intrinsics, unproject
from .evidence import look_up
from .nearby_cameras import expected_values

WIDTH = 160  # of the images that are compared
PARTNERS = 8  # views that each is compared with: the best half, and others that see enough
SHARE = 0.3  # of a view's points that a partner must see
STEP = 5  # pixels between points that are compared
TEXTURE = 0.2  # of the local contrast: least change from pixel to pixel that tells a flow
FARTHEST = 5.0  # pixels beyond which a flow is not believed
ALIKE = 0.5  # of the local contrast: patches that differ by more are not the same thing
PIXEL = 0.7  # deviation of a flow, pixels
INDEPENDENT = 8.0  # points of a pair at most count as so many: their flows go together
HUBER = 2.0  # deviations from which a point that disagrees counts less
MOVED, TURNED = 0.02, 0.007  # deviations of given poses, metres and radians
ROUNDS, STEPS = 2, 4  # of flow, and of solving with the same flow
WORTH = 0.7  # share of the median flow that may be left, or poses stay as they are
DOUBTFUL = 0.15  # relative doubt of a depth from which it says nothing here


@dataclass
class _Matches:
    """Points of view i found again in view j, in pixels of the small images."""

    i: int
    j: int
    point: Float[Tensor, "n 3"]  # in camera i, metres
    doubt: Float[Tensor, "n"]  # relative, of its depth
    found: Float[Tensor, "n 2"]  # in image j


@torch.no_grad()
def aligned_poses(views: Views) -> Float[Tensor, "v 4 4"]:
    """Return poses under which the views agree better; those given where nothing tells.

    Args:
        views: with surfaces.
    """
    given = views.T_world_camera
    if views.surface is None or len(views) < 2:
        return given
    small = _Small(views)
    start = given.double().cpu()
    poses, first = start, None
    for _ in range(ROUNDS):
        matches = small.all_matches(poses)
        if not matches:
            return given
        first = _left(matches, start, small.K) if first is None else first
        poses = _solved(poses, start, small.K.double(), matches)
    matches = small.all_matches(poses)
    if not matches or _left(matches, poses, small.K) > WORTH * first:
        return given
    return poses.to(given)


@torch.no_grad()
def expected_pose(
    T_world_camera: Float[Tensor, "4 4"],
    given: Float[Tensor, "v 4 4"],
    aligned: Float[Tensor, "v 4 4"],
) -> Float[Tensor, "4 4"]:
    """Return where a camera is likely to be, told by how cameras around it were moved."""
    if torch.equal(given, aligned):
        return T_world_camera
    moved = aligned @ invert_pose(given)  # of the world as each saw it, nearly the identity
    centre = T_world_camera[:3, 3]
    shift = moved[:, :3, :3] @ centre + moved[:, :3, 3] - centre
    turn = _vector(moved[:, :3, :3])
    expected = expected_values(T_world_camera, given, torch.cat([shift, turn], dim=1))
    result = T_world_camera.clone()
    result[:3, :3] = _rotation(expected[3:]) @ T_world_camera[:3, :3]
    result[:3, 3] = centre + expected[:3]
    return result


class _Small:
    """The views as small grey images of even contrast, their depth beside."""

    def __init__(self, views: Views) -> None:
        self.views = views
        scale = WIDTH / views.width
        self.width, self.height = WIDTH, round(views.height * scale)
        self.K = scale_intrinsics(views.K.cpu(), scale, self.height / views.height)
        rgb = views.rgb.mean(dim=1).cpu().numpy()
        self.grey = [self._evened(image) for image in rgb]
        x, y = np.meshgrid(np.arange(self.width), np.arange(self.height))
        self.uv = torch.from_numpy(np.stack([x, y], axis=-1).reshape(-1, 2)).float()
        full = (self.uv + 0.5) / scale - 0.5
        known = [look_up(views.surface, v, full, views.width) for v in range(len(views))]
        self.depth = torch.stack([depth for depth, _ in known]).cpu()
        self.spread = torch.stack([spread for _, spread in known]).cpu()
        self.depth[self.spread > DOUBTFUL] = 0.0
        self.flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.flow.setFinestScale(0)
        self.textured = [self._texture(image) for image in self.grey]

    def all_matches(self, poses: Float[Tensor, "v 4 4"]) -> list[_Matches]:
        """Return the points of all views that others show, too."""
        return [found for i in range(len(poses)) for found in self.matches(i, poses)]

    def matches(self, i: int, poses: Float[Tensor, "v 4 4"]) -> list[_Matches]:
        """Return the points of view i that others show, too."""
        poses = poses.float()
        points = unproject(self.uv, self.depth[i], self.K[i], poses[i])
        found = []
        for j in self._partners(i, points, poses):
            match = self._matched(i, j, points, poses)
            if match is not None:
                found.append(match)
        return found

    def _partners(
        self, i: int, points: Float[Tensor, "n 3"], poses: Float[Tensor, "v 4 4"]
    ) -> list[int]:
        rows = torch.arange(7, len(points), 61)  # some everywhere
        rows = rows[self.depth[i][rows] > 0]
        if len(rows) < 30:
            return []
        uv, z = project(points[rows], self.K, poses)
        share = self._sees(uv, z, torch.arange(len(poses)).unsqueeze(-1)).float().mean(dim=1)
        share[i] = 0.0
        order = share.argsort(descending=True).tolist()
        order = [j for j in order if share[j] > SHARE]
        best, rest = order[: PARTNERS // 2], order[PARTNERS // 2 :]
        step = max(1, len(rest) // (PARTNERS - PARTNERS // 2))
        return best + rest[::step][: PARTNERS - PARTNERS // 2]

    def _sees(
        self, uv: Float[Tensor, "*n 2"], z: Float[Tensor, "*n"], view: Tensor
    ) -> Bool[Tensor, "*n"]:
        """Tell which points a view sees, by its own depth."""
        x = uv[..., 0].round().clamp(0, self.width - 1).long()
        y = uv[..., 1].round().clamp(0, self.height - 1).long()
        at = y * self.width + x
        depth, spread = self.depth[view, at], self.spread[view, at]
        agree = (depth > 0) & ((z - depth).abs() < (0.05 + spread) * depth)
        return agree & inside_image(uv, z, self.width, self.height)

    def _matched(
        self, i: int, j: int, points: Float[Tensor, "n 3"], poses: Float[Tensor, "v 4 4"]
    ) -> _Matches | None:
        shape = (self.height, self.width)
        uv, z = project(points, self.K[j], poses[j])
        seen = (self.depth[i] > 0) & self._sees(uv, z, torch.tensor(j))
        usable = cv2.erode(seen.view(shape).numpy().astype(np.uint8), np.ones((7, 7))) > 0
        place = uv.view(*shape, 2).numpy().astype(np.float32)
        mine = self.grey[i]
        theirs = cv2.remap(
            self.grey[j], place[..., 0], place[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE
        )
        theirs = np.where(usable, theirs, mine)  # nothing moves where nothing is known
        flow = self.flow.calc(_bytes(mine), _bytes(theirs), None)
        chosen = np.zeros(shape, bool)
        chosen[STEP // 2 :: STEP, STEP // 2 :: STEP] = True
        chosen &= usable & self.textured[i] & (np.abs(flow).max(axis=2) < FARTHEST)
        y, x = chosen.nonzero()
        if len(x) < 12:
            return None
        to_x, to_y = (x + flow[y, x, 0]), (y + flow[y, x, 1])

        def at(image: np.ndarray) -> np.ndarray:
            taken = cv2.remap(image, to_x.astype(np.float32), to_y.astype(np.float32), 1)
            return taken.reshape(len(x), -1)

        alike = np.abs(at(theirs)[:, 0] - mine[y, x]) < ALIKE
        kept = alike & (at(usable.astype(np.float32))[:, 0] > 0.99)
        if kept.sum() < 12:
            return None
        rows = torch.from_numpy((y * self.width + x)[kept])
        eye = torch.eye(4)
        point = unproject(self.uv[rows], self.depth[i][rows], self.K[i], eye)
        found = torch.from_numpy(at(place)[kept])
        return _Matches(i, j, point.double(), self.spread[i][rows].double(), found.double())

    def _evened(self, grey: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "h w"]:
        """Return brightness relative to that around, in units of the contrast around."""
        small = cv2.resize(grey, (self.width, self.height), interpolation=cv2.INTER_AREA)
        around = cv2.GaussianBlur(small, (0, 0), 6)
        contrast = np.sqrt(cv2.GaussianBlur((small - around) ** 2, (0, 0), 6))
        return ((small - around) / (contrast + 0.03)).astype(np.float32)

    def _texture(self, grey: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        dx, dy = cv2.Sobel(grey, -1, 1, 0, scale=1 / 8), cv2.Sobel(grey, -1, 0, 1, scale=1 / 8)
        return cv2.GaussianBlur(dx**2 + dy**2, (0, 0), 1.5) > TEXTURE**2


def _bytes(image: Float[np.ndarray, "h w"]) -> np.ndarray:
    return (128 + 42 * image).clip(0, 255).astype(np.uint8)


def _solved(
    poses: Float[Tensor, "v 4 4"],
    given: Float[Tensor, "v 4 4"],
    K: Float[Tensor, "v 3 3"],
    matches: list[_Matches],
) -> Float[Tensor, "v 4 4"]:
    """Return the poses that explain the matches best, Gauss and Newton with Huber's weights."""
    count = len(poses)
    prior = torch.tensor([MOVED] * 3 + [TURNED] * 3, dtype=torch.float64).pow(-2)
    for _ in range(STEPS):
        # Where the poses are by now, seen from where they were given.
        off = invert_pose(given) @ poses
        since = torch.cat([off[:, :3, 3], _vector(off[:, :3, :3])], dim=1)
        system = torch.diag(prior.repeat(count)).view(count, 6, count, 6)
        wanted = -(prior * since)
        for match in matches:
            i, j = match.i, match.j
            residual, of_i, of_j, weight = _linear(match, poses, K)
            both = torch.cat([of_i, of_j], dim=2)  # [n, 2, 12]
            weighted = both.transpose(1, 2) @ weight  # [n, 12, 2]
            square = (weighted @ both).sum(dim=0)
            right = (weighted @ residual.unsqueeze(-1)).sum(dim=0).squeeze(-1)
            for a, first in ((i, slice(0, 6)), (j, slice(6, 12))):
                wanted[a] += right[first]
                for b, second in ((i, slice(0, 6)), (j, slice(6, 12))):
                    system[a, :, b] += square[first, second]
        change = torch.linalg.solve(system.reshape(6 * count, -1), wanted.reshape(-1))
        poses = poses @ _transforms(change.view(count, 6))
    return poses


def _left(
    matches: list[_Matches], poses: Float[Tensor, "v 4 4"], K: Float[Tensor, "v 3 3"]
) -> float:
    """Return how far points lie from where they were found, median in pixels."""
    off = [_linear(match, poses, K.double())[0].norm(dim=1) for match in matches]
    return float(torch.cat(off).median())


def _linear(
    match: _Matches, poses: Float[Tensor, "v 4 4"], K: Float[Tensor, "v 3 3"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return residuals [n, 2], their derivatives by both poses [n, 2, 6] and weights [n, 2, 2]."""
    T_j_i = torch.linalg.inv(poses[match.j]) @ poses[match.i]
    turn = T_j_i[:3, :3]
    there = match.point @ turn.T + T_j_i[:3, 3]
    camera = K[match.j]
    z = there[:, 2].clamp_min(0.05)
    seen = (there @ camera.T)[:, :2] / z.unsqueeze(-1)
    residual = match.found - seen
    zero = torch.zeros_like(z)
    fx, fy = camera[0, 0], camera[1, 1]
    slope = torch.stack(
        [
            torch.stack([fx / z, zero, -fx * there[:, 0] / z**2], dim=1),
            torch.stack([zero, fy / z, -fy * there[:, 1] / z**2], dim=1),
        ],
        dim=1,
    )  # [n, 2, 3]
    moved = slope @ turn
    of_i = torch.cat([moved, -moved @ _cross(match.point)], dim=2)
    of_j = torch.cat([-slope, slope @ _cross(there)], dim=2)
    along = (moved @ match.point.unsqueeze(-1)) * match.doubt.view(-1, 1, 1)  # [n, 2, 1]
    covariance = PIXEL**2 * torch.eye(2, dtype=z.dtype) + along @ along.transpose(1, 2)
    weight = torch.linalg.inv(covariance)
    size = (residual.unsqueeze(1) @ weight @ residual.unsqueeze(-1)).flatten().sqrt()
    trust = (HUBER / size.clamp_min(HUBER)) * min(1.0, INDEPENDENT / len(z))
    return residual, of_i, of_j, weight * trust.view(-1, 1, 1)


def _cross(x: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    a, b, c = x.unbind(-1)
    zero = torch.zeros_like(a)
    return torch.stack([zero, -c, b, c, zero, -a, -b, a, zero], dim=-1).unflatten(-1, (3, 3))


def _rotation(turn: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    return torch.linalg.matrix_exp(_cross(turn))


def _vector(rotation: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 3"]:
    """Return the rotation vectors of small rotations."""
    skew = (rotation - rotation.transpose(-1, -2)) / 2
    sine = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], dim=-1)
    length = sine.norm(dim=-1, keepdim=True).clamp(1e-12, 1.0)
    return sine * (torch.asin(length) / length)


def _transforms(change: Float[Tensor, "v 6"]) -> Float[Tensor, "v 4 4"]:
    moved = torch.eye(4, dtype=change.dtype).repeat(len(change), 1, 1)
    moved[:, :3, :3] = _rotation(change[:, 3:])
    moved[:, :3, 3] = change[:, :3]
    return moved
