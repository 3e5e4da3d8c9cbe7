"""Region, binning and distortion against a lens model written out here, not OpenCV's."""

from dataclasses import replace

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from govnesf_ros.calibration import (
    Intrinsics,
    Straight,
    Straightener,
    cropped_to_aspect,
    is_rectified,
    to_intrinsics,
)
from govnesf_ros.conversions import BadInput
from govnesf_ros.messages import camera_info_message, header_message

HEADER = header_message(0, "camera")
K = np.array([[310.0, 0, 318.25], [0, 312.0, 241.5], [0, 0, 1]])
SIZE = (640, 480)
SPACING = 0.25  # between dots, in units of the focal length
DOT = 0.014

# Each a lens that one can buy: (model, coefficients).
LENSES = [
    ("plumb_bob", (-0.28, 0.07, 0.0008, -0.0006, 0.0)),
    ("plumb_bob", (0.12, -0.05, -0.001, 0.0007, 0.002)),
    ("rational_polynomial", (0.2, 0.02, 0.0005, -0.0003, 0.0, 0.35, 0.04, 0.0)),
    ("equidistant", (-0.02, 0.004, -0.003, 0.0005)),
]


def bend(model: str, d: tuple[float, ...], x: np.ndarray, y: np.ndarray):
    """Where the lens shows the direction (x, y, 1), in normalised coordinates."""
    r2 = x * x + y * y
    if model == "equidistant":
        r = np.sqrt(r2) + 1e-12
        t = np.arctan(r)
        scale = t * (1 + d[0] * t**2 + d[1] * t**4 + d[2] * t**6 + d[3] * t**8) / r
        return x * scale, y * scale
    k = (*d, *[0.0] * (8 - len(d)))
    radial = (1 + k[0] * r2 + k[1] * r2**2 + k[4] * r2**3) / (
        1 + k[5] * r2 + k[6] * r2**2 + k[7] * r2**3
    )
    return (
        x * radial + 2 * k[2] * x * y + k[3] * (r2 + 2 * x * x),
        y * radial + k[2] * (r2 + 2 * y * y) + 2 * k[3] * x * y,
    )


def straighten(model, d, u, v):
    """Directions (x, y) of pixels, by Newton's method on `bend` with differences."""
    goal_x, goal_y = (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]
    x, y, h = goal_x.copy(), goal_y.copy(), 1e-6
    for _ in range(30):
        bx, by = bend(model, d, x, y)
        xx, yx = (part - at for part, at in zip(bend(model, d, x + h, y), (bx, by), strict=True))
        xy, yy = (part - at for part, at in zip(bend(model, d, x, y + h), (bx, by), strict=True))
        a, b, c, e = xx / h, xy / h, yx / h, yy / h
        det = a * e - b * c
        rx, ry = goal_x - bx, goal_y - by
        x, y = x + (e * rx - b * ry) / det, y + (a * ry - c * rx) / det
    bx, by = bend(model, d, x, y)
    assert max(np.abs(bx - goal_x).max(), np.abs(by - goal_y).max()) < 1e-9
    return x, y


def dots(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Brightness 0..1 of a wall at distance 1 with soft dots on a square grid."""
    dx = x - SPACING * np.rint(x / SPACING)
    dy = y - SPACING * np.rint(y / SPACING)
    return np.exp(-(dx * dx + dy * dy) / (2 * DOT * DOT))


def pixels(size=SIZE):
    u, v = np.meshgrid(np.arange(size[0], dtype=float), np.arange(size[1], dtype=float))
    return u, v


def photograph(model, d):
    """The wall through the lens, and the coordinates on it that each pixel sees."""
    x, y = straighten(model, d, *pixels())
    grey = np.rint(30 + 220 * dots(x, y)).astype(np.uint8)
    return np.dstack([grey] * 3), x, y


@pytest.mark.parametrize(("model", "d"), LENSES)
def test_a_grid_through_a_lens_comes_back_straight_to_a_twentieth_of_a_pixel(model, d) -> None:
    rgb, _, _ = photograph(model, d)
    straight = Straightener()(rgb, None, to_intrinsics(_info(distortion_model=model, d=d)))
    assert straight.rgb.shape == rgb.shape
    found = straight.rgb[..., 0].astype(float)
    assert found.min() > 20  # the lens saw every pixel of it: no black border
    errors = []
    for i in range(-8, 9):
        for j in range(-8, 9):
            u, v = (straight.K @ [i * SPACING, j * SPACING, 1])[:2]
            a, b = round(u), round(v)
            if not (16 <= a < SIZE[0] - 16 and 16 <= b < SIZE[1] - 16):
                continue
            part = found[b - 15 : b + 16, a - 15 : a + 16] - 30
            weight = np.clip(part, 4, None) - 4
            du = (weight * np.arange(-15, 16)).sum() / weight.sum() + a - u
            dv = (weight * np.arange(-15, 16)[:, None]).sum() / weight.sum() + b - v
            errors.append(np.hypot(du, dv))
    assert len(errors) > 20
    assert max(errors) < 0.05


@pytest.mark.parametrize(("model", "d"), LENSES)
@pytest.mark.parametrize("scale", [1, 2])
def test_depth_moves_with_its_pixels_and_is_never_mixed(model, d, scale) -> None:
    # A wall in two halves: 1 m where x < 0.1, 3 m beyond.
    rgb, x, _ = photograph(model, d)
    depth = np.where(x < 0.1, 1.0, 3.0).astype(np.float32)[::scale, ::scale]
    info = to_intrinsics(_info(distortion_model=model, d=d))
    straight = Straightener()(rgb, depth, info)
    assert set(np.unique(straight.depth)) == {1.0, 3.0}
    u, _ = pixels()
    expected = np.where((u - straight.K[0, 2]) / straight.K[0, 0] < 0.1, 1.0, 3.0)
    # Every scale-th pixel; the edge may be off by a pixel of the depth image.
    assert (straight.depth != expected[::scale, ::scale]).mean() < 1.5 * scale / SIZE[0]


def test_without_distortion_nothing_is_touched() -> None:
    rgb, depth = np.zeros((480, 640, 3), np.uint8), np.zeros((240, 320), np.float32)
    straight = Straightener()(rgb, depth, to_intrinsics(_info()))
    assert straight.rgb is rgb
    assert straight.depth is depth
    assert np.array_equal(straight.K, K)


def test_maps_are_kept_for_the_lenses_seen_last_and_no_more() -> None:
    rgb = np.zeros((48, 64, 3), np.uint8)
    small = Intrinsics(np.array([[30.0, 0, 31], [0, 30, 23], [0, 0, 1]]), 64, 48)
    straightener = Straightener()
    for number in range(40):
        info = replace(small, distortion=(0.001 * (number + 1), 0.0, 0.0, 0.0), model="plumb_bob")
        straightener(rgb, None, info)
    assert len(straightener._kept) == 8
    kept = list(straightener._kept.values())[-1]
    straightener(rgb, None, info)
    assert list(straightener._kept.values())[-1] is kept


def test_region_and_binning_are_exact_with_pixel_centres_at_integers() -> None:
    region = RegionOfInterest(x_offset=100, y_offset=60, width=400, height=300)
    info = to_intrinsics(_info(roi=region, binning_x=2, binning_y=3))
    assert (info.width, info.height) == (200, 100)
    # A pixel of the binned image is the mean of its block: its centre is that of the block.
    for u, v in ((0, 0), (57, 31), (199, 99)):
        full = np.array([100 + 2 * u + 0.5, 60 + 3 * v + 1.0, 1])
        assert np.allclose(
            np.linalg.inv(info.K) @ [u, v, 1], np.linalg.inv(K) @ full, rtol=0, atol=1e-12
        )
    assert info.K[0, 0] == pytest.approx(K[0, 0] / 2, rel=1e-15)
    assert info.K[1, 1] == pytest.approx(K[1, 1] / 3, rel=1e-15)


@pytest.mark.parametrize(
    ("changes", "size", "offset"),
    [
        ({"roi": RegionOfInterest(width=640, height=480), "binning_x": 1}, (640, 480), (0, 0)),
        ({"roi": RegionOfInterest(x_offset=40, y_offset=8)}, (600, 472), (40, 8)),
        ({"binning_x": 1, "binning_y": 1}, (640, 480), (0, 0)),
    ],
)
def test_regions_as_drivers_write_them(changes, size, offset) -> None:
    info = to_intrinsics(_info(**changes))
    assert (info.width, info.height) == size
    assert np.array_equal(info.K[:2, 2], K[:2, 2] - offset)


def test_a_region_of_a_distorted_image_is_straightened_about_the_true_centre() -> None:
    model, d = LENSES[0]
    rgb, _, _ = photograph(model, d)
    region = RegionOfInterest(x_offset=80, y_offset=40, width=480, height=400)
    info = to_intrinsics(_info(distortion_model=model, d=d, roi=region))
    straight = Straightener()(np.ascontiguousarray(rgb[40:440, 80:560]), None, info)
    u, v = pixels((480, 400))
    x, y = (u - straight.K[0, 2]) / straight.K[0, 0], (v - straight.K[1, 2]) / straight.K[1, 1]
    expected = 30 + 220 * dots(x, y)
    assert np.abs(straight.rgb[..., 0] - expected).mean() < 2.0


def test_rectified_images_take_p_and_no_distortion() -> None:
    message = _info(d=(-0.3, 0.1, 0.0, 0.0, 0.0))
    message.p = [280.0, 0.0, 320.0, 0.0, 0.0, 281.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info = to_intrinsics(message, rectified=True)
    assert info.K.tolist() == [[280, 0, 320], [0, 281, 240], [0, 0, 1]]
    assert info.distortion == ()
    message.p[3] = -30.0
    with pytest.raises(BadInput, match="second stereo camera"):
        to_intrinsics(message, rectified=True)
    assert is_rectified("camera/color/image_rect_color")
    assert is_rectified("camera/infra1/image_rect_raw")
    assert not is_rectified("/director/image_raw")


def test_another_aspect_is_cropped_in_the_middle_and_keeps_its_rays() -> None:
    rgb = np.zeros((480, 640, 3), np.uint8)
    rgb[..., 0] = np.arange(640) % 251
    rgb[..., 1] = (np.arange(480) % 251)[:, None]
    picture = Straight(rgb, rgb[..., 0].astype(np.float32), K)
    wide = cropped_to_aspect(picture, 320, 180)
    assert wide.rgb.shape == (360, 640, 3)
    assert wide.K.tolist() == [[310, 0, 318.25], [0, 312, 181.5], [0, 0, 1]]
    assert np.array_equal(wide.rgb, rgb[60:420])
    assert np.array_equal(wide.depth, picture.depth[60:420])
    tall = cropped_to_aspect(picture, 320, 320)
    assert tall.rgb.shape == (480, 480, 3)
    assert tall.K[0, 2] == K[0, 2] - 80
    assert cropped_to_aspect(picture, 320, 240) is picture


def test_intrinsics_round_trip() -> None:
    info = to_intrinsics(camera_info_message(HEADER, K, 640, 480))
    assert np.array_equal(info.K, K)
    assert (info.width, info.height, info.distortion) == (640, 480, ())


def test_uncalibrated_cameras_are_refused() -> None:
    cases = {
        "not calibrated": CameraInfo(width=640, height=480),
        "NaN": _info(k=[float("nan"), 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]),
        "0x480 pixels": _info(width=0),
        "outside its": _info(k=[500.0, 0.0, 5000.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]),
    }
    for words, message in cases.items():
        with pytest.raises(BadInput, match=words) as caught:
            to_intrinsics(message)
        assert caught.value.reason == "bad_camera_info"


def test_zeros_are_no_distortion_and_what_is_not_understood_is_refused() -> None:
    assert to_intrinsics(_info(d=(0.0, 0.0), distortion_model="whatever")).distortion == ()
    d = (0.1, -0.2, 0.0, 0.0, 0.0)
    assert to_intrinsics(_info(d=d)).distortion == d
    cases = {
        "model 'double_sphere', known are: plumb_bob": _info(d=d, distortion_model="double_sphere"),
        "NaN in d": _info(d=(float("nan"), 0.0)),
        "6 numbers of distortion, plumb_bob has at most 5": _info(d=(*d, 0.3)),
    }
    for words, message in cases.items():
        with pytest.raises(BadInput, match=words):
            to_intrinsics(message)
        assert to_intrinsics(message, distorted=False).distortion == ()


def test_regions_that_do_not_fit_are_refused() -> None:
    for changes in (
        {"roi": RegionOfInterest(x_offset=600, width=100, height=100)},
        {"roi": RegionOfInterest(x_offset=700)},
        {"binning_x": 641},
    ):
        with pytest.raises(BadInput, match="does not fit its 640x480 sensor"):
            to_intrinsics(_info(**changes))


def test_a_distortion_that_leaves_no_picture_is_refused() -> None:
    info = to_intrinsics(_info(d=(1e6, -1e9, 0.0, 0.0, 0.0)))
    with pytest.raises(BadInput, match="leaves nothing") as caught:
        Straightener()(np.zeros((480, 640, 3), np.uint8), None, info)
    assert caught.value.reason == "bad_camera_info"


def _info(**changes) -> CameraInfo:
    message = camera_info_message(HEADER, K, *SIZE)
    for name, value in changes.items():
        setattr(message, name, list(value) if isinstance(value, tuple) else value)
    return message
