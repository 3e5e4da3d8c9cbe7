"""From radiance to the image a cheap camera would give: exposure, white balance, blur, noise."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

Rng = np.random.Generator


@dataclass(frozen=True)
class Lens:
    """What a camera does to every image of a scene.

    Attributes:
        exposure: gain on radiance.
        balance: gains on red, green and blue.
        vignette: darkening of the corners, 0..1.
        noise: standard deviation of sensor noise on values in 0..1.
        contrast: gamma on top of 1/2.2.
        sigma: blur of the optics in pixels.
        wild: how strongly single frames differ in exposure and blur; 0 for none.
    """

    exposure: float
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    vignette: float = 0.0
    noise: float = 0.0
    contrast: float = 1.0
    sigma: float = 0.0
    wild: float = 0.0


def make_lens(rng: Rng, radiances: list[Float[np.ndarray, "h w 3"]], clean: bool) -> Lens:
    """Return a lens whose exposure suits some views of a scene."""
    # Every fourth pixel each way measures as well.
    level = np.concatenate([r[::4, ::4].reshape(-1, 3) for r in radiances]) @ [0.3, 0.6, 0.1]
    # Mid grey for the median, but never more than a few percent of the image burnt out.
    median, high = np.quantile(level, [0.5, 0.95])
    exposure = min(0.2 / max(median, 1e-4), 0.75 / max(high, 1e-4))
    if clean:
        return Lens(exposure=exposure)
    warmth = rng.normal(0, 0.06)
    return Lens(
        exposure=exposure * float(np.exp(rng.normal(0.05, 0.22))),
        balance=(1 + warmth, 1.0, 1 - warmth),
        vignette=float(rng.uniform(0, 0.3)),
        noise=float(rng.uniform(0.002, 0.018)),
        contrast=float(rng.uniform(0.9, 1.15)),
        sigma=float(rng.uniform(0.0, 0.6)),
        wild=1.0,
    )


def expose(
    radiance: Float[np.ndarray, "h w 3"], lens: Lens, rng: Rng
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the 8-bit sRGB image of a radiance map."""
    h, w = radiance.shape[:2]
    gain = lens.exposure * np.asarray(lens.balance)
    if lens.wild:
        gain = gain * np.exp(rng.normal(0, 0.06))
    image = radiance * gain.astype(np.float32)
    if lens.wild:
        image = _blurred(image, lens, rng)
    if lens.vignette:
        y, x = np.linspace(-1, 1, h, dtype=np.float32), np.linspace(-1, 1, w, dtype=np.float32)
        image *= (1 - lens.vignette * 0.5 * (x**2 + y[:, None] ** 2))[..., None]
    # A soft shoulder instead of a hard clip: highlights keep their hue.
    bright = image > 0.7
    image[bright] = 0.7 + 0.3 * np.tanh((image[bright] - 0.7) / 0.3)
    image = cv2.pow(np.clip(image, 0, 1), lens.contrast / 2.2)
    if lens.noise:
        grain = rng.standard_normal((h, w, 3), dtype=np.float32)
        grain *= 1.3 - image
        image += np.float32(lens.noise) * grain
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


def _blurred(image: np.ndarray, lens: Lens, rng: Rng) -> np.ndarray:
    draw = rng.random()
    if draw < 0.12:  # the hand moves
        n, a = int(rng.integers(3, 7)), rng.uniform(0, np.pi)
        kernel = np.zeros((7, 7), np.float32)
        d = np.array([np.cos(a), np.sin(a)]) * n / 2
        p, q = (3 - d).round().astype(int), (3 + d).round().astype(int)
        cv2.line(kernel, tuple(map(int, p)), tuple(map(int, q)), 1.0)
        return cv2.filter2D(image, -1, kernel / kernel.sum())
    sigma = lens.sigma + (rng.uniform(0.5, 1.2) if draw > 0.9 else 0.0)
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0.15 else image
