"""A mask of labelled points against the exact labels of a room, and what hides what."""

import time

import numpy as np
import pytest
from furnished_room import room_frames, trace

from govnesf_model.label_view import labels_in_view

K = np.array([[100.0, 0, 79.5], [0, 100.0, 59.5], [0, 0, 1]])
SIZE = (160, 120)
HERE = np.eye(4)


def wall(z: float, half: float, step: float = 0.02) -> np.ndarray:
    """Return points of a square across the view at a depth, float32 [n, 3]."""
    side = np.arange(-half, half + step / 2, step)
    x, y = np.meshgrid(side, side)
    return np.stack([x, y, np.full_like(x, z)], axis=-1).reshape(-1, 3).astype(np.float32)


def mask_of(*parts: tuple[np.ndarray, int], T=HERE, spacing: float = 0.02) -> np.ndarray:
    xyz = np.concatenate([points for points, _ in parts])
    label = np.concatenate([np.full(len(points), number) for points, number in parts])
    return labels_in_view(xyz, label, K, T, SIZE, spacing)


def test_a_square_has_the_size_that_a_pinhole_gives_it() -> None:
    for z in (0.5, 1.0, 2.0, 4.0):
        mask = mask_of((wall(z, 0.2), 3))
        inside = (np.abs(np.arange(160) - 79.5) <= 20 / z)[None] & (
            np.abs(np.arange(120) - 59.5) <= 20 / z
        )[:, None]
        assert set(np.unique(mask)) == {0, 3}
        # A point stands for a square of its spacing, so the edge is half a spacing farther out.
        assert mask[inside].mean() > 0.97 * 3, z
        assert abs(np.sqrt((mask > 0).sum() / inside.sum()) - 1.0) < 0.12, z


def test_the_nearer_surface_hides_the_farther_one_with_or_without_a_label() -> None:
    front, back = wall(1.0, 0.2), wall(2.0, 0.6)
    both = mask_of((back, 2), (front, 1))
    assert both[60, 80] == 1
    assert both[60, 106] == 2
    hidden = mask_of((front, 0), (back, 2))
    assert hidden[60, 80] == 0
    assert hidden[60, 106] == 2
    assert (hidden == 1).sum() == 0


def test_what_is_behind_the_camera_or_beside_it_is_not_drawn() -> None:
    assert mask_of((wall(-1.0, 0.3), 1)).sum() == 0
    assert mask_of((wall(1.0, 0.2) + np.float32([5, 0, 0]), 1)).sum() == 0
    assert labels_in_view(
        np.zeros((0, 3), np.float32), np.zeros(0, np.uint32), K, HERE, SIZE, 0.03
    ).shape == (120, 160)


def test_the_pose_is_that_of_the_camera_in_the_world() -> None:
    T = HERE.copy()
    T[0, 3] = 0.3  # the camera moves to the right, the picture to the left
    column = np.flatnonzero(mask_of((wall(1.0, 0.1), 1), T=T).any(axis=0)).mean()
    assert column == pytest.approx(79.5 - 30, abs=1.0)


def test_the_room_is_labelled_as_it_is_seen_from_a_new_place() -> None:
    frames = room_frames(12)
    K_room = frames[0].K
    points, labels = [], []
    for frame in frames[::2]:
        rows, columns = np.nonzero(frame.depth > 0)
        z = frame.depth[rows, columns]
        ray = np.linalg.solve(K_room, np.stack([columns, rows, np.ones_like(rows)])).T * z[:, None]
        points.append(ray @ frame.T_world_camera[:3, :3].T + frame.T_world_camera[:3, 3])
        labels.append(trace(K_room, frame.T_world_camera, 160, 120)[2][rows, columns])
    xyz, label = np.concatenate(points).astype(np.float32), np.concatenate(labels)
    for frame in frames[1::4]:
        truth = trace(K_room, frame.T_world_camera, 160, 120)[2]
        mask = labels_in_view(xyz, label, K_room, frame.T_world_camera, SIZE, 0.03)
        known = mask > 0  # the map does not know all that this view shows
        assert known.mean() > 0.85
        assert (mask == truth)[known].mean() > 0.97
        for number in (1, 2):  # table and cabinet
            if (truth == number).sum() > 200:
                both = ((mask == number) & (truth == number)).sum()
                assert both / ((mask == number) | (truth == number)).sum() > 0.85


def test_many_labels_are_enlarged_without_mixing_them() -> None:
    squares = [(wall(1.0, 0.04) + np.float32([0.1 * (i % 5 - 2), 0.1 * (i // 5 - 2), 0]), i + 1)
               for i in range(20)]  # fmt: skip
    assert set(np.unique(mask_of(*squares))) == set(range(21))


@pytest.mark.slow
def test_a_large_map_takes_a_fraction_of_a_frame() -> None:
    rng = np.random.default_rng(0)
    xyz = (rng.random((400_000, 3)) * [8, 6, 8] - [4, 3, 0]).astype(np.float32)
    label = rng.integers(0, 4, len(xyz))
    labels_in_view(xyz, label, K, HERE, SIZE, 0.03)
    begin = time.process_time()
    labels_in_view(xyz, label, K, HERE, (640, 480), 0.03)
    assert time.process_time() - begin < 0.5
