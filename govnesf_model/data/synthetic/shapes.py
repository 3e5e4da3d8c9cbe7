"""Geometric building blocks: boxes, turned profiles, quads and cushions."""

import numpy as np

from govnesf_model.data.synthetic.mesh import Material, Mesh, box_projection, face_normals


def box(size, centre=(0, 0, 0), material: Material | None = None) -> Mesh:
    """Return a box; `centre` is the middle of its bottom face."""
    sx, sy, sz = np.asarray(size, float) / 2
    corners = np.array([[x, y, z] for x in (-sx, sx) for y in (-sy, sy) for z in (0, 2 * sz)])
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    points = np.array(
        [corners[[q[i], q[j], q[k]]] for q in quads for i, j, k in [(0, 1, 2), (0, 2, 3)]]
    )
    return flat(points + np.asarray(centre, float), material)


def flat(points, material: Material | None = None, uv=None) -> Mesh:
    """Return flat-shaded triangles of one material, textured by projection unless uv are given."""
    points = np.asarray(points, np.float32)
    material = material or Material()
    if uv is None:
        uv = box_projection(points, material.scale or 1.0)
    normals = np.repeat(face_normals(points)[:, None], 3, 1).astype(np.float32)
    return Mesh(
        points, np.asarray(uv, np.float32), normals, np.zeros(len(points), np.int64), [material]
    )


def quad(corners, material: Material | None = None, uv=None) -> Mesh:
    """Return a quad from four corners in order; uv cover the unit square where None."""
    c = np.asarray(corners, np.float32)
    t = np.array([[0, 0], [1, 0], [1, 1], [0, 1]] if uv is None else uv, np.float32)
    pick = np.array([[0, 1, 2], [0, 2, 3]])
    return flat(c[pick], material, t[pick])


def turned(profile, material: Material | None = None, sides: int = 20) -> Mesh:
    """Return a profile of (radius, height) turned about z, smooth around the axis."""
    profile = np.asarray(profile, np.float32)
    angles = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.stack([np.cos(angles), np.sin(angles)], -1)
    slope = np.diff(profile, axis=0)
    points, normals, uv = [], [], []
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(slope, axis=1))])
    for i in range(len(profile) - 1):
        (r0, z0), (r1, z1) = profile[i], profile[i + 1]
        n = np.array([slope[i, 1], -slope[i, 0]])
        n = n / max(np.linalg.norm(n), 1e-9)
        for j in range(sides):
            a, b = ring[j], ring[j + 1]
            p = [[*(r0 * a), z0], [*(r0 * b), z0], [*(r1 * b), z1], [*(r1 * a), z1]]
            m = [[*(n[0] * a), n[1]], [*(n[0] * b), n[1]]]
            t = [[j / sides, length[i]], [(j + 1) / sides, length[i]],
                 [(j + 1) / sides, length[i + 1]], [j / sides, length[i + 1]]]  # fmt: skip
            points += [[p[0], p[1], p[2]], [p[0], p[2], p[3]]]
            normals += [[m[0], m[1], m[1]], [m[0], m[1], m[0]]]
            uv += [[t[0], t[1], t[2]], [t[0], t[2], t[3]]]
    points = np.asarray(points, np.float32)
    material = material or Material()
    uv = np.asarray(uv, np.float32)
    if material.scale:
        uv = box_projection(points, material.scale).astype(np.float32)
    else:
        uv[..., 1] /= max(length[-1], 1e-6)
    area = np.linalg.norm(
        np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]), axis=1
    )
    keep = area > 1e-12
    return Mesh(
        points[keep], uv[keep], np.asarray(normals, np.float32)[keep],
        np.zeros(int(keep.sum()), np.int64), [material],
    )  # fmt: skip


def cylinder(radius, height, material: Material | None = None, at=(0, 0, 0)) -> Mesh:
    """Return a closed cylinder standing at a point."""
    return turned([(0, 0), (radius, 0), (radius, height), (0, height)], material).moved(0, at)


def rod(a, b, radius, material: Material | None = None, sides: int = 8) -> Mesh:
    """Return a cylinder from a to b."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    axis = b - a
    length = float(np.linalg.norm(axis))
    z = axis / length
    x = np.cross([0, 1, 0] if abs(z[1]) < 0.9 else [1, 0, 0], z)
    x /= np.linalg.norm(x)
    A = np.stack([x, np.cross(z, x), z], 1)
    mesh = turned([(0, 0), (radius, 0), (radius, length), (0, length)], material, sides)
    return mesh.transformed(A, a)


def ellipsoid(size, material: Material | None = None, power=2.0, n: int = 14) -> Mesh:
    """Return a superellipsoid of a size standing on z = 0: power 2 is round, higher is boxier."""
    v = np.linspace(-np.pi / 2, np.pi / 2, n + 1)
    u = np.linspace(-np.pi, np.pi, 2 * n + 1)

    def signed(x):
        return np.sign(x) * np.abs(x) ** (2 / power)

    x = signed(np.cos(v))[:, None] * signed(np.cos(u))[None]
    y = signed(np.cos(v))[:, None] * signed(np.sin(u))[None]
    z = np.broadcast_to(signed(np.sin(v))[:, None], x.shape)
    grid = np.stack([x, y, z], -1) * np.asarray(size) / 2 + [0, 0, size[2] / 2]
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    points = np.concatenate([np.stack([a, b, c], 2), np.stack([a, c, d], 2)]).reshape(-1, 3, 3)
    area = np.linalg.norm(
        np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]), axis=1
    )
    points = points[area > 1e-12].astype(np.float32)
    mesh = flat(points, material)
    relative = (points - [0, 0, size[2] / 2]) / (np.asarray(size) / 2)
    normals = np.sign(relative) * np.abs(relative) ** (power - 1) / (np.asarray(size) / 2)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    return Mesh(mesh.points, mesh.uv, normals.astype(np.float32), mesh.material, mesh.materials)


def centred(mesh: Mesh) -> Mesh:
    """Return the mesh moved to stand on the origin."""
    c = (mesh.low + mesh.high) / 2
    return mesh.moved(0, (-c[0], -c[1], -mesh.low[2]))
