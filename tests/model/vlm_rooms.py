"""Small labelled rooms for the tests of the encoder: coloured boxes on a floor before a wall."""

import json
from pathlib import Path

import cv2
import numpy as np

from govnesf_model.data.posed_scene import SceneWriter

WIDTH, HEIGHT = 128, 96
CLASSES = {1: "floor", 2: "wall", 3: "cabinet", 4: "chair"}
TEXTS = {
    "cabinet": ["cupboard", "furniture"],
    "chair": ["seat", "something to sit on", "furniture"],
    "wall": ["room wall"],
    "floor": ["ground"],
}
SHADES = {"red": (190, 35, 35), "blue": (40, 75, 170), "green": (50, 130, 60)}


def write_room(root: Path, seed: int = 0, frames: int = 3) -> Path:
    """Write a room with a cabinet and a chair, each of a colour, and return its folder."""
    rng = np.random.default_rng(seed)
    K = np.array([[100.0, 0, WIDTH / 2], [0, 100.0, HEIGHT / 2], [0, 0, 1]])
    colors = dict(zip((3, 4), rng.permutation(list(SHADES))[:2], strict=True))
    (root / "instance").mkdir(parents=True)
    with SceneWriter(root, K) as writer:
        for _ in range(frames):
            label = np.full((HEIGHT, WIDTH), 2, np.uint8)
            rgb = np.full((HEIGHT, WIDTH, 3), (220, 215, 200), np.uint8)
            label[60:], rgb[60:] = 1, (120, 90, 60)
            instance = np.zeros((HEIGHT, WIDTH), np.uint16)
            for thing, (w, h) in {3: (34, 50), 4: (24, 24)}.items():
                left = int(rng.integers(2, 26)) + (64 if thing == 4 else 0)
                bottom = int(rng.integers(66, 90))
                part = np.s_[bottom - h : bottom, left : left + w]
                label[part], instance[part] = thing, thing - 2
                rgb[part] = SHADES[colors[thing]]
            name = writer.add(rgb, np.eye(4), label=label)
            cv2.imwrite(str(root / "instance" / f"{name}.png"), instance)
        writer.describe(CLASSES, other=0, split="train")
    things = {
        str(thing - 2): {"name": CLASSES[thing], "color": str(color), "material": "wooden"}
        for thing, color in colors.items()
    }
    (root / "instances.json").write_text(json.dumps(things))
    (root / "texts.json").write_text(json.dumps(TEXTS))
    return root
