"""A triangle soup with materials: what assets, shapes and rooms are made of."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, UInt8


@dataclass(frozen=True, eq=False)
class Material:
    """How a surface looks.

    Attributes:
        color: diffuse albedo factor, linear RGB in 0..1 as (r, g, b).
        texture: sRGB image multiplied with the colour, wrapped; alpha below 128 is a hole.
        emission: radiance the surface gives off itself, as a factor of its albedo.
        gloss: strength of the specular highlight, 0..1.
        opacity: 1 for solid; below 1 the surface behind shines through (glass).
        word: what the material is called ("wooden"), or None where unknown.
        scale: metres a texture repeat covers; 0 keeps the mesh's own coordinates.
        photo: name of the photograph that the texture is, see photos.py; None for others.
    """

    color: tuple[float, float, float] = (0.7, 0.7, 0.7)
    texture: UInt8[np.ndarray, "h w 4"] | None = None
    emission: float = 0.0
    gloss: float = 0.05
    opacity: float = 1.0
    word: str | None = None
    scale: float = 0.0
    photo: str | None = None


@dataclass(frozen=True, eq=False)
class Mesh:
    """Unshared triangles, each with the index of one of the mesh's materials."""

    points: Float[np.ndarray, "n 3 3"]
    uv: Float[np.ndarray, "n 3 2"]
    normals: Float[np.ndarray, "n 3 3"]
    material: Int[np.ndarray, "n"]
    materials: list[Material] = field(default_factory=list)

    @cached_property
    def low(self) -> Float[np.ndarray, "3"]:
        """The corner of the bounding box with the smallest coordinates."""
        return np.array([self.points[..., k].min() for k in range(3)], np.float32)

    @cached_property
    def high(self) -> Float[np.ndarray, "3"]:
        """The corner of the bounding box with the largest coordinates."""
        return np.array([self.points[..., k].max() for k in range(3)], np.float32)

    @property
    def size(self) -> Float[np.ndarray, "3"]:
        """Edge lengths of the bounding box in metres."""
        return self.high - self.low

    def moved(self, yaw=0.0, to=(0.0, 0.0, 0.0)) -> "Mesh":
        """Return the mesh turned about z by `yaw` (radians), then shifted."""
        shift = np.asarray(to, np.float32)
        if yaw == 0:
            out = replace(self, points=self.points + shift)
            # Rounding is monotonic: the box of moved points is the moved box, to the last bit.
            for corner in ("low", "high"):
                if corner in self.__dict__:
                    out.__dict__[corner] = self.__dict__[corner] + shift
            return out
        c, s = np.cos(yaw), np.sin(yaw)
        R = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32)
        points = self.points.reshape(-1, 3) @ R + shift
        normals = self.normals.reshape(-1, 3) @ R
        return replace(self, points=points.reshape(-1, 3, 3), normals=normals.reshape(-1, 3, 3))

    def transformed(self, A, b) -> "Mesh":
        """Return the mesh under x -> A x + b; normals go by the inverse transpose."""
        A, b = np.asarray(A, np.float32), np.asarray(b, np.float32)
        points = self.points.reshape(-1, 3) @ A.T + b
        normals = self.normals.reshape(-1, 3) @ np.linalg.inv(A).astype(np.float32)
        normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
        return replace(self, points=points.reshape(-1, 3, 3), normals=normals.reshape(-1, 3, 3))


def join(meshes: list[Mesh]) -> Mesh:
    """Return one mesh of several; materials are kept in order, not merged."""
    offsets = np.cumsum([0] + [len(m.materials) for m in meshes])
    return Mesh(
        np.concatenate([m.points for m in meshes]).astype(np.float32),
        np.concatenate([m.uv for m in meshes]).astype(np.float32),
        np.concatenate([m.normals for m in meshes]).astype(np.float32),
        np.concatenate([m.material + o for m, o in zip(meshes, offsets, strict=False)]),
        [material for m in meshes for material in m.materials],
    )


def face_normals(points: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 3"]:
    """Return unit normals of triangles (zero where degenerate)."""
    n = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    length = np.sqrt(n[:, 0] ** 2 + n[:, 1] ** 2 + n[:, 2] ** 2)
    return n / np.maximum(length, 1e-12)[:, None]


def box_projection(points: Float[np.ndarray, "n 3 3"], scale) -> Float[np.ndarray, "n 3 2"]:
    """Return texture coordinates by projecting each triangle along its dominant axis."""
    axis = np.abs(face_normals(points)).argmax(-1)
    pick = np.array([[1, 2], [0, 2], [0, 1]])[axis]  # [n, 2]
    return np.take_along_axis(points, pick[:, None, :].repeat(3, 1), 2) / scale
