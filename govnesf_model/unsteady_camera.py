"""A camera in a hand: exposure that changes, blurred frames, noise, poses a little off.

    camera = UnsteadyCamera.draw(len(views), random.Random(0))
    image = camera.expose(image, view=3)           # float 0..1 in, float 0..1 out
    T_world_camera = camera.misplace(T_world_camera, view=3)
    camera.evened[3]                                # what roughly undoes its exposure

Rendered rooms know none of this, or little of it; photographs are full of it. A scene is taken by
one such camera, whose errors follow each other from view to view as those of a real one do.
"""

import math
import random
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

# Standard deviations at full strength, of factors on values as they are stored (gamma 2.2).
EXPOSURE, BALANCE, GAMMA = 0.15, 0.03, 0.05
LEFT = 0.03  # of the exposure, after it was evened out as well as could be
POSITION, TURN = 0.01, math.radians(0.3)  # of poses, metres and radians per axis
KEPT = 0.7  # share of an error that the next view has, too
BLURRED, DEFOCUSED = 0.25, 0.1  # share of the views
WIDTH = 320.0  # of the images that lengths in pixels are meant for


@dataclass(frozen=True)
class UnsteadyCamera:
    """What happens to each view of one scene.

    Attributes:
        gain: factors on red, green and blue.
        gamma: exponent on values in 0..1.
        evened: factors that undo `gain`, but for a little.
        motion: length and direction of motion blur, pixels at a width of 320 and radians.
        defocus: standard deviation of blur, pixels at a width of 320.
        offset: of the pose, metres in the world.
        turn: of the pose, a rotation vector in the camera, radians.
        vignette: darkening of the corners, 0..1.
        noise: standard deviation on values in 0..1.
        grain: blur of the noise in pixels: neighbours of a colour filter share theirs.
        quality: of JPEG; 0 for none.
        seed: of the noise.
    """

    gain: Float[np.ndarray, "v 3"]
    gamma: Float[np.ndarray, "v"]
    evened: Float[np.ndarray, "v 3"]
    motion: Float[np.ndarray, "v 2"]
    defocus: Float[np.ndarray, "v"]
    offset: Float[np.ndarray, "v 3"]
    turn: Float[np.ndarray, "v 3"]
    vignette: float
    noise: float
    grain: float
    quality: int
    seed: int

    @classmethod
    def draw(
        cls, views: int, rng: random.Random, strength: float | None = None
    ) -> "UnsteadyCamera":
        """Draw a camera.

        Args:
            views: of the scene, in the order in which they were taken.
            rng: source of chance.
            strength: 0 leaves all as it is, 1 is a bad camera in a quick hand; by default any.
        """
        strength = rng.random() if strength is None else strength
        seed = rng.getrandbits(48)
        chance = np.random.default_rng(seed)

        def drift(columns: int, deviation: float) -> Float[np.ndarray, "v c"]:
            return strength * deviation * _drift(views, columns, chance)

        gain = np.exp(drift(1, EXPOSURE) + drift(3, BALANCE))
        left = strength * LEFT * chance.standard_normal((views, 3))
        length = np.where(chance.random(views) < BLURRED, chance.uniform(1.5, 7.0, views), 0.0)
        direction = chance.uniform(0, math.pi, views)
        defocus = np.where(chance.random(views) < DEFOCUSED, chance.uniform(0.4, 1.2, views), 0.0)
        return cls(
            gain=gain,
            gamma=np.exp(drift(1, GAMMA))[:, 0],
            evened=np.exp(left) / gain,
            motion=np.stack([strength * length, direction], axis=1),
            defocus=strength * defocus,
            offset=drift(3, POSITION),
            turn=drift(3, TURN),
            vignette=strength * float(chance.uniform(0, 0.3)),
            noise=strength * float(chance.uniform(0, 0.04)),
            grain=float(chance.uniform(0, 0.8)),
            quality=int(chance.integers(60, 96)) if chance.random() < 0.5 * (strength > 0) else 0,
            seed=seed,
        )

    def expose(self, image: Float[np.ndarray, "h w 3"], view: int) -> Float[np.ndarray, "h w 3"]:
        """Return what the camera makes of an image with values in 0..1."""
        height, width = image.shape[:2]
        scale = width / WIDTH
        taken = image.astype(np.float32) ** np.float32(self.gamma[view])
        taken = taken * self.gain[view].astype(np.float32)
        length, direction = self.motion[view]
        if length * scale > 0.5:
            taken = cv2.filter2D(taken, -1, _streak(length * scale, direction))
        if self.defocus[view] * scale > 0.1:
            taken = cv2.GaussianBlur(taken, (0, 0), self.defocus[view] * scale)
        if self.vignette:
            x = np.linspace(-1, 1, width, dtype=np.float32)
            y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
            taken = taken * (1 - self.vignette * 0.5 * (x**2 + y**2))[..., None]
        if self.noise:
            taken = taken + np.float32(self.noise) * self._noise(taken.shape, view)
        taken = taken.clip(0, 1)
        if self.quality:
            taken = _compressed(taken, self.quality)
        return taken

    def misplace(self, T_world_camera: Float[np.ndarray, "4 4"], view: int) -> np.ndarray:
        """Return the pose that the robot believes in."""
        believed = T_world_camera.copy()
        believed[:3, 3] += self.offset[view].astype(believed.dtype)
        believed[:3, :3] = believed[:3, :3] @ cv2.Rodrigues(self.turn[view])[0]
        return believed

    def _noise(self, shape: tuple[int, ...], view: int) -> Float[np.ndarray, "h w 3"]:
        chance = np.random.default_rng([self.seed, view])
        grain = chance.standard_normal(shape, dtype=np.float32)
        if self.grain > 0.3:
            grain = cv2.GaussianBlur(grain, (0, 0), self.grain)
            grain /= max(float(grain.std()), 1e-6)
        return grain


def _drift(views: int, columns: int, chance: np.random.Generator) -> Float[np.ndarray, "v c"]:
    """Return errors of unit deviation, each of which keeps a share of the one before."""
    fresh = chance.standard_normal((views, columns))
    errors = fresh.copy()
    for view in range(1, views):
        errors[view] = KEPT * errors[view - 1] + math.sqrt(1 - KEPT**2) * fresh[view]
    return errors


def _streak(length: float, direction: float) -> Float[np.ndarray, "s s"]:
    """Return the kernel of a straight motion, length and direction in pixels and radians."""
    half = math.ceil(length / 2)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for share in np.linspace(-0.5, 0.5, 8 * half + 1):
        x = half + share * length * math.cos(direction)
        y = half + share * length * math.sin(direction)
        left, top = math.floor(x), math.floor(y)
        for i, wide in ((left, 1 - (x - left)), (left + 1, x - left)):
            for j, high in ((top, 1 - (y - top)), (top + 1, y - top)):
                if wide * high > 0:
                    kernel[j, i] += wide * high
    return kernel / kernel.sum()


def _compressed(image: Float[np.ndarray, "h w 3"], quality: int) -> Float[np.ndarray, "h w 3"]:
    stored = np.rint(image[..., ::-1] * 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])
    read = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return read[..., ::-1].astype(np.float32) / 255
