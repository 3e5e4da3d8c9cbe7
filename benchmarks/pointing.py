"""Pointing accuracy of an encoder on photographs: does its highest score lie on the thing named?

    python -m benchmarks.pointing ../shared/data/7scenes --vlm embedded --picture pointing.png

benchmarks/pointing_7scenes.json outlines by hand, as polygons in parts of width and height, what 12
frames of a kitchen show: 59 names in frames. Every name is asked alone, against the encoder's own
contrast words. Chance is the mean share of the image that the named things cover. It is a
small set from one room, meant to see large differences; nothing may be tuned to it.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from govnesf_model.vlm import load_vlm
from govnesf_model.vlm.relevancy import relevancy

OUTLINES = Path(__file__).with_name("pointing_7scenes.json")
SIZE = (320, 240)  # what the node gives to the encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scene", type=Path, help="posed folder of the photographs")
    parser.add_argument("--vlm", default="embedded")
    parser.add_argument("--picture", type=Path, help="draw outlines and highest scores here")
    arguments = parser.parse_args()
    vlm = load_vlm(arguments.vlm)
    hits, peaks, shares, panels = defaultdict(list), defaultdict(list), [], []
    for frame, outlined in tqdm(json.loads(OUTLINES.read_text()).items(), unit="image"):
        path = arguments.scene / "rgb" / f"{frame}.jpg"
        bgr = cv2.imread(str(path))
        if bgr is None:
            raise SystemExit(f"{path} is no image that can be read: give the scene's folder")
        panel = bgr = cv2.resize(bgr, SIZE, interpolation=cv2.INTER_AREA)
        for name, polygons in outlined.items():
            scores = relevancy(vlm, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), [name])[0].numpy()
            inside = filled(polygons)
            row, column = np.unravel_index(scores.argmax(), scores.shape)
            hits[name].append(bool(inside[row, column]))
            peaks[name].append(float(scores[inside].max()))
            shares.append(inside.mean())
            panel = drawn(panel, name, polygons, (int(column), int(row)), hits[name][-1])
        panels.append(panel)
    everything = [hit for found in hits.values() for hit in found]
    print(f"{vlm.key}: pointing {np.mean(everything):.3f} of {len(everything)}", end=", ")
    print(f"chance {np.mean(shares):.3f}, threshold {vlm.default_threshold:.2f}")
    for name, found in hits.items():
        print(f"{name:16} {np.mean(found):.2f} of {len(found):2}", end="  ")
        print(f"median highest score on the thing {np.median(peaks[name]):.2f}")
    if arguments.picture:
        rows = [np.hstack(panels[i : i + 3]) for i in range(0, len(panels) - 2, 3)]
        cv2.imwrite(str(arguments.picture), np.vstack(rows))


def filled(polygons: list[list[list[float]]]) -> np.ndarray:
    """Return where polygons lie, bool [H, W]."""
    mask = np.zeros(SIZE[::-1], np.uint8)
    cv2.fillPoly(mask, [_pixels(polygon) for polygon in polygons], 1)
    return mask.astype(bool)


def drawn(
    image: np.ndarray, name: str, polygons: list, peak: tuple[int, int], hit: bool
) -> np.ndarray:
    """Return the image with the outlines and the place of the highest score, green where right."""
    image = image.copy()
    cv2.polylines(image, [_pixels(polygon) for polygon in polygons], True, (220, 220, 220), 1)
    color = (60, 220, 60) if hit else (60, 60, 255)
    cv2.circle(image, peak, 3, color, -1)
    cv2.putText(image, name, (peak[0] + 4, peak[1]), cv2.FONT_HERSHEY_SIMPLEX, 0.35, color, 1)
    return image


def _pixels(polygon: list[list[float]]) -> np.ndarray:
    return (np.array(polygon) * SIZE).astype(np.int32)


if __name__ == "__main__":
    main()
