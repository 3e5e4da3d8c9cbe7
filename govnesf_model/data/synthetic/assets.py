"""Read the furniture catalogues of the Debian package `sweethome3d-furniture`.

    library = Catalogues.find()          # None where the package is not installed
    model = library.load("b:couch")      # a Mesh in metres, z up, front towards -y, floor at z = 0

A catalogue is a zip of OBJ models with a properties file that gives each one a name, a size and
where it stands. Models are read once, brought to their catalogue size and kept as npz in a cache.
"""

import io
import os
import re
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from govnesf_model.data.synthetic.mesh import Material, Mesh, face_normals
from govnesf_model.data.synthetic.names import CATALOGUES, object_classes

FOLDERS = (Path("/usr/share/sweethome3d/furniture"),)
MAX_TRIANGLES = 40_000  # finer models are left out: they would slow every room they stand in
TEXTURE_SIZE = 256  # pixels; larger textures hold nothing a 320x240 view could show
CACHE_VERSION = 4

LICENSES = {
    "Scopia": ("CC-BY-3.0", "Scopia Visual Interfaces Systems, Sweet Home 3D"),
    "BlendSwap-CC-0": ("CC0-1.0", "authors of Blend Swap, Sweet Home 3D"),
    "KatorLegaz": ("CC-BY-3.0-US", "Andrew Kator and Jennifer Legaz"),
}


@dataclass(frozen=True, eq=False)
class Model:
    """A catalogue model, ready to be placed.

    Attributes:
        asset: its id, "<catalogue letter>:<model>".
        mesh: triangles in metres; z up, front towards -y, centred in x and y, standing on z = 0.
        elevation: height above the floor at which the catalogue hangs it, metres.
        creator, license: what an attribution has to name.
    """

    asset: str
    mesh: Mesh
    elevation: float
    creator: str
    license: str


def cache_folder() -> Path:
    """Return where prepared models are kept: $GOVNESF_CACHE or ~/.cache/govnesf."""
    return Path(os.environ.get("GOVNESF_CACHE", Path.home() / ".cache" / "govnesf"))


class Catalogues:
    """The three allowed catalogues of one folder."""

    def __init__(self, folder: Path):
        missing = [c for c in CATALOGUES.values() if not (folder / f"{c}.sh3f").is_file()]
        if missing:
            raise FileNotFoundError(
                f"no {missing[0]}.sh3f in '{folder}': install the Debian package "
                "sweethome3d-furniture with `govnesf data assets`"
            )
        self.folder = folder
        self._zips: dict[tuple[int, str], zipfile.ZipFile] = {}
        self._entries: dict[str, dict[str, dict[str, str]]] = {}

    @classmethod
    def find(cls) -> "Catalogues | None":
        """Return the installed catalogues, or None."""
        for folder in FOLDERS:
            if (folder / "Scopia.sh3f").is_file():
                return cls(folder)
        return None

    @lru_cache(maxsize=64)  # noqa: B019 - one library lives as long as its process
    def load(self, asset: str) -> Model | None:
        """Return a model, or None where its file cannot be used (too fine, empty)."""
        path = cache_folder() / "furniture" / f"{asset.replace(':', '_')}.v{CACHE_VERSION}.npz"
        entry = self._entry(asset)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.part")
            with partial.open("wb") as file:
                _write(file, self._read(asset, entry))
            partial.rename(path)
        mesh = _load(path)
        if not len(mesh.points):
            return None
        catalogue = CATALOGUES[asset[0]]
        license, owner = LICENSES[catalogue]
        creator = entry.get("creator") or owner
        if creator not in owner:
            creator = f"{creator} ({owner})"
        return Model(asset, mesh, float(entry.get("elevation") or 0) / 100, creator, license)

    def _entry(self, asset: str) -> dict[str, str]:
        catalogue = CATALOGUES[asset[0]]
        if catalogue not in self._entries:
            text = self._zip(catalogue).read("PluginFurnitureCatalog.properties").decode("latin-1")
            numbered: dict[str, dict[str, str]] = {}
            for key, number, value in re.findall(r"^(\w+)#(\d+)=(.*?)\s*$", text, re.M):
                numbered.setdefault(number, {})[key] = value
            self._entries[catalogue] = {e["id"].split("#")[-1]: e for e in numbered.values()}
        try:
            return self._entries[catalogue][asset[2:]]
        except KeyError:
            raise KeyError(f"no model '{asset[2:]}' in the catalogue {catalogue}") from None

    def _zip(self, catalogue: str) -> zipfile.ZipFile:
        # A ZipFile shared over a fork shares its file position: one for each process.
        key = (os.getpid(), catalogue)
        if key not in self._zips:
            self._zips[key] = zipfile.ZipFile(self.folder / f"{catalogue}.sh3f")
        return self._zips[key]

    def _read(self, asset: str, entry: dict[str, str]) -> Mesh:
        archive = self._zip(CATALOGUES[asset[0]])
        name = entry["model"].lstrip("/")
        mesh = read_obj(archive, name)
        if not len(mesh.points) or len(mesh.points) > MAX_TRIANGLES * 4:
            return _empty()
        R = np.eye(3)
        if "modelRotation" in entry:
            R = np.array([float(x) for x in entry["modelRotation"].split()]).reshape(3, 3)
        mesh = mesh.transformed(R, np.zeros(3))
        # y up to z up; the catalogue's front (+z) becomes -y.
        mesh = mesh.transformed(np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float), np.zeros(3))
        wanted = np.array([float(entry[k]) for k in ("width", "depth", "height")]) / 100
        scale = wanted / np.maximum(mesh.size, 1e-6)
        centre = (mesh.low + mesh.high) / 2
        base = np.array([centre[0], centre[1], mesh.low[2]])
        mesh = mesh.transformed(np.diag(scale), -scale * base)
        return thinned(mesh, MAX_TRIANGLES)


def thinned(mesh: Mesh, limit: int) -> Mesh:
    """Return a mesh of at most about `limit` triangles by merging vertices on coarser grids."""
    cell = float(mesh.size.max()) / 400
    while len(mesh.points) > limit:
        low = mesh.low
        snapped = np.round((mesh.points - low) / cell) * cell + low
        same = (
            (snapped[:, 0] == snapped[:, 1]).all(-1)
            | (snapped[:, 1] == snapped[:, 2]).all(-1)
            | (snapped[:, 0] == snapped[:, 2]).all(-1)
        )
        keep = ~same
        # Triangles that fall on the same three cells are one.
        key = np.round((snapped - low) / cell).astype(np.int64)
        key = np.sort((key[..., 0] * 4096 + key[..., 1]) * 4096 + key[..., 2], axis=1)
        _, first = np.unique(key, axis=0, return_index=True)
        unique = np.zeros(len(keep), bool)
        unique[first] = True
        keep &= unique
        mesh = Mesh(
            snapped[keep].astype(np.float32),
            mesh.uv[keep],
            mesh.normals[keep],
            mesh.material[keep],
            mesh.materials,
        )
        cell *= 1.4
    return mesh


def read_obj(archive: zipfile.ZipFile, name: str) -> Mesh:
    """Read an OBJ with its MTL and textures out of a zip, polygons split into fans."""
    text = archive.read(name).decode("latin-1")
    v, vt, vn = [], [], []
    corners: list[tuple[int, int, int]] = []
    groups: list[int] = []
    library: dict[str, Material] = {}
    names: list[str] = []
    current = -1
    for line in text.splitlines():
        if line.startswith("v "):
            v.append(line[2:].split()[:3])
        elif line.startswith("vt"):
            vt.append(line[3:].split()[:2])
        elif line.startswith("vn"):
            vn.append(line[3:].split()[:3])
        elif line.startswith("f "):
            face = [_corner(c, len(v), len(vt), len(vn)) for c in line[2:].split()]
            for i in range(1, len(face) - 1):
                corners += (face[0], face[i], face[i + 1])
                groups.append(current)
        elif line.startswith("usemtl"):
            material = line[6:].strip()
            if material not in names:
                names.append(material)
            current = names.index(material)
        elif line.startswith("mtllib"):
            path = os.path.join(os.path.dirname(name), line[6:].strip())
            library.update(_read_mtl(archive, path))
    if not groups:
        return _empty()
    materials = [library.get(n, Material()) for n in names] + [Material()]
    index = np.array(corners, np.int64).reshape(-1, 3, 3)  # triangle, corner, (v, vt, vn)
    points = np.array(v, np.float32)[index[..., 0]]
    flat = np.repeat(face_normals(points)[:, None], 3, 1)
    uv = np.zeros((len(points), 3, 2), np.float32)
    if vt:
        uv = np.where((index[..., 1] >= 0)[..., None], np.array(vt, np.float32)[index[..., 1]], 0)
    normals = flat
    if vn:
        given = np.array(vn, np.float32)[index[..., 2]]
        length = np.linalg.norm(given, axis=-1, keepdims=True)
        good = (index[..., 2] >= 0)[..., None] & (length > 1e-6)
        normals = np.where(good, given / np.maximum(length, 1e-9), flat)
    material = np.array(groups)
    material[material < 0] = len(materials) - 1
    solid = np.array([m.opacity > 0.03 for m in materials])[material]
    finite = np.isfinite(points).all((1, 2)) & np.isfinite(uv).all((1, 2))
    keep = solid & finite & (np.linalg.norm(flat[:, 0], axis=-1) > 0.5)
    return Mesh(
        points[keep],
        uv[keep].astype(np.float32),
        normals[keep].astype(np.float32),
        material[keep],
        materials,
    )


def _corner(text: str, nv: int, nt: int, nn: int) -> tuple[int, int, int]:
    parts = [*text.split("/"), "", ""][:3]
    counts = (nv, nt, nn)
    out = []
    for part, count in zip(parts, counts, strict=True):
        i = int(part) if part else 0
        out.append(i - 1 if i > 0 else (count + i if i < 0 else -1))
    return out[0], out[1], out[2]


def _read_mtl(archive: zipfile.ZipFile, path: str) -> dict[str, Material]:
    found: dict[str, dict] = {}
    current: dict = {}
    try:
        text = archive.read(path.replace("\\", "/")).decode("latin-1")
    except KeyError:
        return {}
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "newmtl":
            current = found.setdefault(line.strip()[6:].strip(), {})
        elif words[0] == "Kd":
            current["kd"] = tuple(float(x) for x in words[1:4])
        elif words[0] == "d":
            current["d"] = float(words[-1])
        elif words[0] == "Ks":
            current["ks"] = float(np.mean([float(x) for x in words[1:4]]))
        elif words[0] == "map_Kd":
            current["map"] = line.strip()[6:].strip()
    out = {}
    for name, m in found.items():
        texture = None
        if "map" in m:
            texture = _read_texture(archive, f"{os.path.dirname(path)}/{m['map'].lstrip('/')}")
        color = np.clip(np.array(m.get("kd", (0.7, 0.7, 0.7))), 0, 1)
        if texture is not None and color.max() < 0.05:
            color = np.ones(3)  # exporters write black where the texture is all there is
        if texture is None:
            color = np.clip(color, 0.12, 0.9) ** 2.2  # even soot reflects a percent
        hint = f"{name} {m.get('map', '')}".lower()
        out[name] = Material(
            color=tuple(float(c) for c in color),
            texture=texture,
            gloss=min(0.5, 0.03 + 0.5 * m.get("ks", 0.0)),
            opacity=float(np.clip(m.get("d", 1.0), 0, 1)),
            word=material_word(hint),
        )
    return out


def material_word(hint: str) -> str | None:
    """Guess a material from the names that modellers gave, or None."""
    table = {
        "wooden": "wood madera bois oak teak pine wenge walnut cherry haya roble nogal parquet",
        "metal": "metal steel chrome inox alu iron hierro acero",
        "leather": "leather cuero cuir",
        "glass": "glass cristal vidrio verre",
        "fabric": "fabric tela cloth cotton textile tissu",
        "stone": "marble stone granite marmol piedra",
    }
    for word, keys in table.items():
        if any(key in hint.lower() for key in keys.split()):
            return word
    return None


def _read_texture(archive: zipfile.ZipFile, path: str) -> np.ndarray | None:
    found = _find_image(archive, path.replace("\\", "/"))
    if found is None:
        return None
    data = archive.read(found)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        return None
    if image.dtype != np.uint8:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGRA)
    elif image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
    image = cv2.resize(image, (TEXTURE_SIZE, TEXTURE_SIZE), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA))


def _find_image(archive: zipfile.ZipFile, path: str) -> str | None:
    """Return the member a texture path means; some name a file of the modeller's own disk."""
    names = archive.namelist()
    if path in names:
        return path
    folder = path.split("/")[0] + "/" + path.split("/")[1] + "/"
    images = [
        n for n in names if n.startswith(folder) and n.lower().endswith((".jpg", ".jpeg", ".png"))
    ]
    same = [n for n in images if n.rsplit("/", 1)[1].lower() == path.rsplit("/", 1)[1].lower()]
    return (same or (images if len(images) == 1 else []) or [None])[0]


def _empty() -> Mesh:
    zero = np.zeros((0, 3, 3), np.float32)
    return Mesh(zero, np.zeros((0, 3, 2), np.float32), zero, np.zeros(0, np.int64), [])


def _write(file: io.BufferedWriter, mesh: Mesh) -> None:
    used = np.unique(mesh.material)
    material = np.searchsorted(used, mesh.material)
    arrays = {}
    rows = []
    for i, k in enumerate(used):
        m = mesh.materials[k]
        rows.append([*m.color, m.gloss, m.opacity, _WORDS.index(m.word)])
        if m.texture is not None:
            arrays[f"texture{i}"] = m.texture
    np.savez(
        file,
        points=mesh.points.astype(np.float32),
        uv=mesh.uv.astype(np.float32),
        normals=mesh.normals.astype(np.float16),
        material=material.astype(np.int32),
        rows=np.array(rows, np.float32).reshape(-1, 6),
        **arrays,
    )


_WORDS = [None, "wooden", "metal", "leather", "glass", "fabric", "stone"]


def _load(path: Path) -> Mesh:
    with np.load(path) as data:
        materials = [
            Material(
                color=(float(r[0]), float(r[1]), float(r[2])),
                texture=data.get(f"texture{i}"),
                gloss=float(r[3]),
                opacity=float(r[4]),
                word=_WORDS[int(r[5])],
            )
            for i, r in enumerate(data["rows"])
        ]
        normals = data["normals"].astype(np.float32)
        return Mesh(data["points"], data["uv"], normals, data["material"], materials)


def all_models() -> list[str]:
    """Return every model that the table of names uses."""
    return [model for row in object_classes().values() for model in row.models]
