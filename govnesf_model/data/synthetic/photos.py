"""Photographed surfaces for floors, walls and furniture: the textures of Sweet Home 3D.

    photos = Photos.find()                    # None where they were not fetched
    brick = photos.draw("brick", rng)         # a Material, or None where no photograph shows brick

The Debian package `sweethome3d` carries them in its jar, with a catalogue that gives each one its
size in metres and all of them their licence: "GNU GPL / CC-BY 3.0, Emmanuel Puybaret / eTeks". We
use them under CC-BY-3.0, and only where the catalogue says so. They show floors and walls; there is
no cloth among them.
"""

import re
import shutil
import subprocess
import tempfile
import zipfile
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from govnesf_model.data.synthetic.assets import TEXTURE_SIZE, cache_folder
from govnesf_model.data.synthetic.mesh import Material

PACKAGE = "sweethome3d"
INSTALLED = Path("/usr/share/sweethome3d/sweethome3d.jar")
LICENSE, CREATOR = "CC-BY-3.0", "Emmanuel Puybaret / eTeks, Sweet Home 3D"
CATALOGUE = "com/eteks/sweethome3d/io/DefaultTexturesCatalog.properties"

# Which photographs may stand for a kind of material, and what that material is called.
KINDS: dict[str, tuple[tuple[str, str], ...]] = {
    "planks": (("oldWoodenFloor", "wooden"),),
    "parquet": (("woodenFloor", "wooden"),),
    "wood": (("woodenFloor", "wooden"), ("oldWoodenFloor", "wooden")),
    "tiles": (
        ("greyTile", "tiled"), ("blueTiles", "tiled"), ("redTiles", "tiled"),
        ("stoneTiles", "stone"), ("blackAndWhiteTiles", "tiled"), ("beigeTile", "tiled"),
        ("darkBlueTile", "tiled"), ("lightBlueTile", "tiled"), ("wallBeigeTile", "tiled"),
    ),
    "brick": (
        ("smallBricks", "brick"), ("smallRedBricks", "brick"), ("smallWhiteBricks", "brick"),
        ("stoneWall", "stone"), ("stone2Wall", "stone"), ("stone3Wall", "stone"),
    ),
    "plaster": (("roughcast", "plaster"),),
    "marble": (("marbleWall", "marble"),),
    "concrete": (("lightBlueTile", "concrete"), ("pavingStone", "stone")),
}  # fmt: skip
_NAMES = {name for choice in KINDS.values() for name, _ in choice}


class Photos:
    """The photographs of one jar."""

    def __init__(self, jar: Path):
        self.jar = jar
        self.images: dict[str, bytes] = {}
        self.sizes: dict[str, tuple[float, float]] = {}  # width and height in metres
        with zipfile.ZipFile(jar) as archive:
            text = archive.read(CATALOGUE).decode("latin-1")
            if "CC-BY 3.0" not in "".join(re.findall(r"^license=.*$", text, re.M)):
                raise ValueError(
                    f"the textures in '{jar}' do not state the licence CC-BY 3.0: use the Debian "
                    f"package {PACKAGE} of version 7 or later"
                )
            entry = {(k, n): v for k, n, v in re.findall(r"^(\w+)#(\d+)=(\S+)", text, re.M)}
            for (key, n), path in entry.items():
                name = Path(path).stem
                if key == "image" and name in _NAMES:
                    self.images[name] = archive.read(path.lstrip("/"))
                    self.sizes[name] = (
                        float(entry["width", n]) / 100,
                        float(entry["height", n]) / 100,
                    )

    @classmethod
    def find(cls) -> "Photos | None":
        """Return the fetched or installed photographs, or None."""
        return next((cls(jar) for jar in (fetched_jar(), INSTALLED) if jar.is_file()), None)

    def draw(self, kind: str, rng: np.random.Generator) -> Material | None:
        """Return a photographed material of a kind, or None where no photograph shows it."""
        choice = [(name, word) for name, word in KINDS.get(kind, ()) if name in self.images]
        if not choice:
            return None
        name, word = choice[rng.integers(len(choice))]
        texture, scale = self.square(name)
        level = rng.uniform(0.8, 1.1) * (1 + rng.normal(0, 0.02, 3))
        return Material(
            color=(float(level[0]), float(level[1]), float(level[2])),
            texture=texture,
            word=word,
            scale=scale * float(rng.uniform(0.9, 1.2)),
            photo=name,
        )

    @lru_cache(maxsize=32)  # noqa: B019 - one set of photographs lives as long as its process
    def square(self, name: str) -> tuple[np.ndarray, float]:
        """Return a photograph, repeated to about a square, and its edge length in metres."""
        width, height = self.sizes[name]
        a, b = min(
            ((a, b) for a in range(1, 4) for b in range(1, 4)),
            key=lambda ab: (round(abs(np.log(ab[0] * width / (ab[1] * height))), 2), sum(ab)),
        )
        data = np.frombuffer(self.images[name], np.uint8)
        image = np.tile(cv2.imdecode(data, cv2.IMREAD_COLOR), (b, a, 1))
        image = cv2.resize(image, (TEXTURE_SIZE, TEXTURE_SIZE), interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGBA), a * width


def fetched_jar() -> Path:
    """Return where `fetch` puts the jar."""
    return cache_folder() / "photos" / "sweethome3d.jar"


def fetch() -> Path:
    """Get the package with apt, without installing it or what it depends on; returns its jar.

    Raises:
        FileNotFoundError: there is no apt, or it does not know the package.
    """
    target = fetched_jar()
    by_hand = f"unpack the Debian package {PACKAGE} and put its sweethome3d.jar at '{target}'"
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise FileNotFoundError(f"apt-get and dpkg-deb are not on this machine: {by_hand}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=False)
        package = next(Path(folder).glob("*.deb"), None)
        if done.returncode or package is None:
            raise FileNotFoundError(f"apt-get download {PACKAGE} failed, see above: {by_hand}")
        subprocess.run(["dpkg-deb", "-x", str(package), folder], check=True)
        shutil.copy(Path(folder) / INSTALLED.relative_to("/"), target.with_suffix(".part"))
    return target.with_suffix(".part").rename(target)
