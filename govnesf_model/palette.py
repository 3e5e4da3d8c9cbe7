"""Colours for labels and relevancy, and pictures made of them."""

import colorsys

import cv2
import numpy as np
from jaxtyping import Float, Integer, UInt8

# Relevancy from low to high, as in scientific heat maps: dark violet, magenta, orange, pale yellow.
_HEAT = np.array(
    [
        [24, 15, 62],
        [87, 21, 126],
        [149, 44, 128],
        [211, 67, 110],
        [248, 118, 92],
        [254, 187, 129],
        [252, 253, 191],
    ],
    dtype=np.float64,
)


def label_colors(count: int) -> UInt8[np.ndarray, "n 3"]:
    """Return colours for labels 0..count; 0 is grey, neighbours in number differ clearly.

    Hues advance by the golden angle: a label keeps its colour when others are added.
    """
    colors = [(110, 110, 110)]
    for number in range(count):
        hue = (0.03 + number * 0.61803398875) % 1.0
        value, saturation = (0.98, 0.72) if number % 2 == 0 else (0.85, 0.85)
        colors.append(tuple(255 * c for c in colorsys.hsv_to_rgb(hue, saturation, value)))
    return np.array(colors).round().astype(np.uint8)


def heat_colors(values: Float[np.ndarray, "*n"]) -> UInt8[np.ndarray, "*n 3"]:
    """Return colours for relevancies in 0..1."""
    at = np.nan_to_num(np.clip(values, 0, 1)) * (len(_HEAT) - 1)
    low = np.minimum(at.astype(int), len(_HEAT) - 2)
    part = (at - low)[..., None]
    return (_HEAT[low] * (1 - part) + _HEAT[low + 1] * part).round().astype(np.uint8)


def overlay(
    rgb: UInt8[np.ndarray, "h w 3"], mask: UInt8[np.ndarray, "h w"], strength: float = 0.55
) -> UInt8[np.ndarray, "h w 3"]:
    """Return a photo with its labelled pixels tinted and outlined; the rest slightly dimmed."""
    colors = label_colors(int(mask.max(initial=0)))
    inside = mask > 0
    picture = rgb.astype(np.float32) * 0.75
    tint = colors[mask].astype(np.float32)
    picture[inside] = rgb[inside] * (1 - strength) + tint[inside] * strength
    picture = picture.round().astype(np.uint8)
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    picture[edge & inside] = colors[mask][edge & inside]
    return picture


def legend(
    names: list[str], width: int, notes: list[str] | None = None, scale: float = 0.5
) -> UInt8[np.ndarray, "h w 3"]:
    """Return a strip with a coloured square, a name and a note per label, wrapped to the width."""
    colors = label_colors(len(names))
    notes = notes or [""] * len(names)
    entries = [f"{name}  {note}".strip() for name, note in zip(names, notes, strict=True)]
    row_height, x, y, places = 26, 12, 8, []
    for entry in entries:
        (text_width, _), _ = cv2.getTextSize(_printable(entry), cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        if x > 12 and x + text_width + 34 > width:
            x, y = 12, y + row_height
        places.append((x, y))
        x += text_width + 44
    strip = np.full((y + row_height + 4, width, 3), 28, np.uint8)
    for number, (entry, (x, y)) in enumerate(zip(entries, places, strict=True), start=1):
        color = tuple(int(c) for c in colors[number])
        cv2.rectangle(strip, (x, y + 3), (x + 15, y + 18), color, -1)
        cv2.putText(
            strip,
            _printable(entry),
            (x + 22, y + 16),
            cv2.FONT_HERSHEY_SIMPLEX,
            scale,
            (235, 235, 235),
            1,
            cv2.LINE_AA,
        )
    return strip


def text_line(image: UInt8[np.ndarray, "h w 3"], text: str, at: tuple[int, int]) -> None:
    """Write small white text with a dark rim into an image."""
    for color, thickness in (((20, 20, 20), 3), ((245, 245, 245), 1)):
        cv2.putText(
            image,
            _printable(text),
            at,
            cv2.FONT_HERSHEY_SIMPLEX,
            0.42,
            color,
            thickness,
            cv2.LINE_AA,
        )


def colorize(labels: Integer[np.ndarray, "*n"]) -> UInt8[np.ndarray, "*n 3"]:
    """Return the colour of each label."""
    return label_colors(int(labels.max(initial=0)))[labels]


def _printable(text: str) -> str:
    return text.encode("ascii", "replace").decode()
