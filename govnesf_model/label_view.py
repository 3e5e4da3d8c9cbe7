"""Labelled points as a mask in any view: a z-buffer of squares, cheap enough for live images.

    mask = labels_in_view(snapshot.xyz, answer.label, K, T_world_camera, (640, 480), spacing=0.03)

No network: what the map knows of a thing is drawn where a camera looks now. Points without a label
hide what is behind them, as the surfaces that they stand for do.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, Integer, UInt8

from govnesf_model.cameras import MIN_DEPTH, project

COLUMNS = 200  # of the z-buffer; the mask's edges are as fine as the points lie, not as the pixels
_REACH = 5  # cells that a point covers to each side at most: what is nearer than that has gaps
_SMOOTH = 12  # labels in a view up to which edges are smoothed; more are enlarged as they are
_NOTHING = np.iinfo(np.int64).max


def labels_in_view(
    xyz: Float32[np.ndarray, "n 3"],
    label: Integer[np.ndarray, "n"],
    K: Float[np.ndarray, "3 3"],
    T_world_camera: Float[np.ndarray, "4 4"],
    size: tuple[int, int],
    spacing: float,
) -> UInt8[np.ndarray, "h w"]:
    """Return the label of the nearest surface at each pixel, 0 for none.

    Args:
        xyz: surface points, metres.
        label: of each point, 0 none, at most 255.
        K: intrinsics of an image of `size`.
        T_world_camera: its pose.
        size: (width, height) in pixels.
        spacing: between the points, metres: each hides a square of about that size.
    """
    width, height = size
    columns = min(COLUMNS, width)
    rows = max(1, round(height * columns / width))
    scale = np.array([columns / width, rows / height], np.float32)
    uv, z = project(
        torch.from_numpy(xyz),
        torch.from_numpy(np.asarray(K, np.float32)),
        torch.from_numpy(np.asarray(T_world_camera, np.float32)),
    )
    at, z = (uv.numpy() + 0.5) * scale - 0.5, z.numpy()
    near = (at > -_REACH) & (at < np.array([columns, rows]) + _REACH - 1)
    seen = np.flatnonzero(near.all(axis=1) & (z > MIN_DEPTH))
    # Nearest wins: depth in tenths of a millimetre above the label in one number. Numpy keeps the
    # last of repeated indices, so the nearest comes last.
    key = (z[seen] * 1e4).astype(np.int64) << 8 | label[seen].astype(np.int64)
    order = np.argsort(-key)
    seen, key = seen[order], key[order]
    x, y = np.floor(at[seen] + 0.5).astype(np.int64).T
    # Half of a square's diagonal: the lattice of the points may stand at any angle.
    reach = np.rint(0.7 * spacing * K[0, 0] * scale[0] / z[seen] - 0.5).clip(0, _REACH)
    nearest = _closed(_nearest(x, y, key, reach.astype(int), columns, rows))
    labels = np.where(nearest == _NOTHING, 0, nearest & 255).astype(np.uint8)
    return _enlarged(labels, size)


def _nearest(
    x: np.ndarray, y: np.ndarray, key: np.ndarray, reach: np.ndarray, columns: int, rows: int
) -> np.ndarray:
    """Return the smallest key at each cell, int64 [rows, columns]; keys come in falling order."""
    pad = _REACH  # so that no square has to be cut at the border
    wide = columns + 2 * pad
    nearest = np.full((rows + 2 * pad) * wide, _NOTHING)
    cell = (y + pad).clip(0, rows + 2 * pad - 1) * wide + (x + pad).clip(0, wide - 1)
    for far in range(int(reach.max(initial=-1)) + 1):
        # Squares of this reach or more: their outermost ring, so that each cell is visited once.
        some = reach >= far
        at, value = cell[some], key[some]
        for shift in _ring(far, wide):
            layer = np.full_like(nearest, _NOTHING)
            layer[(at + shift).clip(0, len(nearest) - 1)] = value
            np.minimum(nearest, layer, out=nearest)
    return nearest.reshape(-1, wide)[pad : pad + rows, pad : pad + columns]


def _ring(far: int, wide: int) -> list[int]:
    """Return the steps to the cells at a distance of `far`, in a lattice of rows `wide` long."""
    steps = range(-far, far + 1)
    return [dy * wide + dx for dy in steps for dx in steps if max(abs(dx), abs(dy)) == far]


def _closed(nearest: np.ndarray) -> np.ndarray:
    """Return keys with single empty cells between points filled by the nearest neighbour's."""
    around = np.pad(nearest, 1, constant_values=_NOTHING)
    rows, columns = nearest.shape
    shifted = np.stack(
        [
            around[dy : dy + rows, dx : dx + columns]
            for dy in range(3)
            for dx in range(3)
            if (dy, dx) != (1, 1)
        ]
    )
    # Beyond a straight edge a cell has three neighbours: edges stay where they are.
    hole = (nearest == _NOTHING) & ((shifted != _NOTHING).sum(axis=0) >= 4)
    return np.where(hole, shifted.min(axis=0), nearest)


def _enlarged(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return labels at a size, with edges that do not show the cells."""
    present = np.unique(labels)
    present = present[present > 0]
    if len(present) > _SMOOTH:
        return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    mask = np.zeros(size[::-1], np.uint8)
    for number in present:
        part = cv2.resize((labels == number).astype(np.uint8) * 255, size)
        mask[part > 127] = number
    return mask
