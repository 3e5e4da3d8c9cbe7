"""The atlas samples like each texture by itself: bilinear, repeating, with mipmaps."""

import numpy as np
import pytest

from govnesf_model.data.synthetic.mesh import Material
from govnesf_model.data.synthetic.skin import Skin


def _texture(rng, h, w):
    image = rng.integers(60, 200, (h, w, 4)).astype(np.uint8)
    image[..., 3] = 255
    return image


def _bilinear(image, u, v):
    """Sample a texture by the book: pixel centres at halves, v up, repeating."""
    linear = (image / 255.0) ** [2.2, 2.2, 2.2, 1.0]
    h, w = image.shape[:2]
    x, y = u * w - 0.5, (1 - v) * h - 0.5
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    total = 0
    for dx in (0, 1):
        for dy in (0, 1):
            weight = abs(1 - dx - (x - x0)) * abs(1 - dy - (y - y0))
            total = total + weight * linear[(y0 + dy) % h, (x0 + dx) % w]
    return total


def test_samples_are_bilinear_and_repeat():
    rng = np.random.default_rng(0)
    images = [_texture(rng, 8, 8), _texture(rng, 16, 8)]
    skin = Skin([Material((0.9, 0.8, 0.7), images[0]), Material((1.0, 1.0, 1.0), images[1])])
    n = 300
    material, u, v = rng.integers(0, 2, n), rng.uniform(-3, 3, n), rng.uniform(-3, 3, n)
    color, alpha = skin.sample(
        material, u.astype(np.float32), v.astype(np.float32), np.zeros(n, np.float32)
    )
    np.testing.assert_allclose(alpha, 1, atol=1e-4)
    for k in range(n):
        factor = ((0.9, 0.8, 0.7), (1, 1, 1))[material[k]]
        expected = _bilinear(images[material[k]], u[k], v[k])[:3] * factor
        # Weights are in steps of 1/32 pixel, and neighbours differ by up to 0.5.
        np.testing.assert_allclose(color[:, k], expected, atol=0.02)


def test_far_away_a_texture_is_its_mean():
    image = np.zeros((16, 16, 4), np.uint8)
    image[::2] = image[:, ::2] = (188, 188, 188, 255)
    image[..., 3] = 255
    skin = Skin([Material((1.0, 1.0, 1.0), image)])
    n = 50
    u = np.linspace(0, 1, n, dtype=np.float32)
    color, _ = skin.sample(np.zeros(n, int), u, u, np.full(n, 1.0, np.float32))
    np.testing.assert_allclose(color, (0.75 * 188 / 255) ** 2.2, rtol=0.02)


def test_plain_and_painted_materials_mix():
    image = np.full((4, 4, 4), 255, np.uint8)
    image[..., 3] = 0
    skin = Skin([Material((0.2, 0.3, 0.4)), Material((0.5, 0.5, 0.5), image)])
    zero = np.zeros(4, np.float32)
    color, alpha = skin.sample(np.array([0, 1, 0, 1]), zero, zero, zero)
    np.testing.assert_allclose(color.T, [[0.2, 0.3, 0.4], [0.5] * 3] * 2, atol=1e-4)
    np.testing.assert_array_equal(alpha, [1, 0, 1, 0])


def test_more_textures_than_a_column_of_the_atlas_holds():
    images = [np.full((256, 2, 4), k, np.uint8) for k in range(1, 131)]
    skin = Skin([Material((1.0, 1.0, 1.0), image) for image in images])
    assert max(skin.atlas.shape[:2]) < 32768
    zero = np.zeros(130, np.float32)
    color, _ = skin.sample(np.arange(130), zero, zero, zero)
    assert color[0] == pytest.approx((np.arange(1, 131) / 255) ** 2.2, abs=1e-4)
