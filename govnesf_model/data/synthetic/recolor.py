"""Paint models anew: tints in a named colour, other materials; and say what colour a thing has."""

from dataclasses import replace

import numpy as np

from govnesf_model.data.synthetic import materials
from govnesf_model.data.synthetic.mesh import Material, Mesh, box_projection
from govnesf_model.data.synthetic.vectors import cross, dot


def tinted(mesh: Mesh, color: tuple[float, float, float]) -> Mesh:
    """Return the mesh in shades of one colour: light and dark parts stay, hues go."""
    means = [material_albedo(m).mean() for m in mesh.materials]
    weights = np.bincount(mesh.material, areas(mesh), len(mesh.materials))
    average = max(float(np.average(means, weights=np.maximum(weights, 1e-9))), 1e-3)
    out = []
    for m, mean in zip(mesh.materials, means, strict=True):
        level = float(np.clip(mean / average, 0.35, 1.6))
        texture = m.texture
        if texture is not None:
            r, g, b = texture[..., :3].transpose(2, 0, 1).astype(np.float32)
            gray = (r + g + b) / 3
            gray = np.clip(gray / max(float(gray.mean()), 1.0), 0.5, 1.5) * 170
            texture = texture.copy()
            texture[..., :3] = gray.astype(np.uint8)[..., None]
        gain = level / float(np.mean((170 / 255) ** 2.2)) if texture is not None else level
        out.append(replace(m, color=tuple(min(c * gain, 2.5) for c in color), texture=texture))
    return replace(mesh, materials=out)


def clad(mesh: Mesh, material: Material) -> Mesh:
    """Return the mesh in another material, holes and glass kept, textures by projection."""
    out = [m if m.opacity < 0.9 or _has_holes(m) else material for m in mesh.materials]
    changed = np.array([o is material for o in out])[mesh.material]
    uv = mesh.uv.copy()
    uv[changed] = box_projection(mesh.points[changed], material.scale or 1.0)
    return replace(mesh, uv=uv, materials=out)


def mean_albedo(mesh: Mesh) -> np.ndarray:
    """Return the mean linear albedo over the surface."""
    table = np.array([material_albedo(m) for m in mesh.materials])
    return np.average(table[mesh.material], axis=0, weights=areas(mesh) + 1e-12)


def main_word(mesh: Mesh) -> str | None:
    """Return the word of the material that covers most of a mesh, if it is known."""
    shares: dict[str | None, float] = {}
    for k, area in enumerate(np.bincount(mesh.material, areas(mesh), len(mesh.materials))):
        word = mesh.materials[k].word
        shares[word] = shares.get(word, 0.0) + float(area)
    word = max(shares, key=lambda w: shares[w])
    return word if shares[word] > 0.6 * sum(shares.values()) else None


def material_albedo(m: Material) -> np.ndarray:
    """Return the mean linear albedo of a material."""
    color = np.asarray(m.color, float)
    if m.texture is None:
        return color
    pixels = m.texture.reshape(-1, 4)
    solid = pixels[:, 3] > 127
    if solid.any() and not solid.all():
        pixels = pixels[solid]
    counts = np.stack([np.bincount(pixels[:, k], minlength=256) for k in range(3)])
    return color * (counts @ materials.to_linear(np.arange(256))) / len(pixels)


def areas(mesh: Mesh) -> np.ndarray:
    """Return the area of every triangle."""
    a, b, c = (mesh.points[:, k].T for k in range(3))
    normal = cross(b - a, c - a)
    return np.sqrt(dot(normal, normal)) / 2


def _has_holes(m: Material) -> bool:
    return m.texture is not None and bool((m.texture[..., 3] < 128).mean() > 0.02)
