import array
import struct

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from govnesf_ros.conversions import BadInput
from govnesf_ros.images import to_metres, to_rgb
from govnesf_ros.messages import compressed_message, header_message

RED, GREEN, BLUE = (200, 10, 20), (5, 180, 30), (15, 25, 220)
HEADER = header_message(0, "camera")


@pytest.fixture
def picture() -> np.ndarray:
    """Left half red, right half blue, a green row at the top; odd width against lucky strides."""
    rgb = np.zeros((6, 7, 3), np.uint8)
    rgb[:, :4], rgb[:, 4:], rgb[0] = RED, BLUE, GREEN
    return rgb


def image(pixels: np.ndarray, encoding: str, padding: int = 0) -> Image:
    """An Image whose rows are `padding` bytes longer than their pixels."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    data = array.array("B", rows.tobytes())
    return Image(height=height, width=width, encoding=encoding, step=rows.shape[1], data=data)


def compressed(data: bytes, kind: str) -> CompressedImage:
    return CompressedImage(format=kind, data=array.array("B", data))


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [
        ("rgb8", [0, 1, 2]),
        ("bgr8", [2, 1, 0]),
        ("8UC3", [2, 1, 0]),
        ("rgba8", [0, 1, 2, 3]),
        ("bgra8", [2, 1, 0, 3]),
    ],
)
def test_colours_keep_their_channel(picture, encoding, order, padding) -> None:
    with_alpha = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    assert np.array_equal(to_rgb(image(with_alpha[..., order], encoding, padding)), picture)


def test_grey_becomes_three_equal_channels() -> None:
    grey = np.arange(42, dtype=np.uint8).reshape(6, 7)
    assert np.array_equal(to_rgb(image(grey, "mono8", 3)), np.dstack([grey] * 3))


@pytest.mark.parametrize(
    ("encoding", "corner"),
    [("bayer_rggb8", 0), ("bayer_grbg8", 1), ("bayer_gbrg8", 2), ("bayer_bggr8", 3)],
)
def test_bayer_patterns_start_where_ros_says(encoding, corner) -> None:
    color = np.array(RED)
    # The red pixel of each 2x2 block: rggb at 0, grbg at 1, gbrg at 2, bggr at 3; blue opposite.
    block = np.full(4, color[1], np.uint8)
    block[corner], block[3 - corner] = color[0], color[2]
    mosaic = np.tile(block.reshape(2, 2), (8, 8))
    assert np.allclose(to_rgb(image(mosaic, encoding))[4:12, 4:12], color, atol=1)


def test_jpeg_and_png_decode_to_rgb(picture) -> None:
    large = cv2.resize(picture, (70, 60), interpolation=cv2.INTER_NEAREST)
    assert np.abs(to_rgb(compressed_message(HEADER, large, "rgb8"))[30, 10] - RED).max() <= 4
    _, png = cv2.imencode(".png", picture[..., ::-1])
    for kind in ("png", "rgb8; png compressed bgr8", "bgr8; png compressed bgr8"):
        assert np.array_equal(to_rgb(compressed(png.tobytes(), kind)), picture)


def test_a_file_stored_as_rgb_is_not_swapped(picture) -> None:
    _, png = cv2.imencode(".png", picture)
    assert np.array_equal(to_rgb(compressed(png.tobytes(), "rgb8; png compressed rgb8")), picture)


def test_a_bayer_mosaic_in_a_compressed_image_gets_its_colours() -> None:
    mosaic = np.tile(np.array([[RED[0], RED[1]], [RED[1], RED[2]]], np.uint8), (8, 8))
    png = cv2.imencode(".png", mosaic)[1].tobytes()
    rgb = to_rgb(compressed(png, "bayer_rggb8; png compressed "))
    assert np.allclose(rgb[4:12, 4:12], RED, atol=1)
    # Converted to colour before it was stored: there is no mosaic any more.
    stored = cv2.imencode(".png", np.full((8, 8, 3), RED[::-1], np.uint8))[1].tobytes()
    rgb = to_rgb(compressed(stored, "bayer_rggb8; png compressed bgr8"))
    assert np.array_equal(rgb[4, 4], RED)
    grey = to_rgb(compressed(png, "mono8; png compressed "))
    assert np.array_equal(grey, np.dstack([mosaic] * 3))


def test_of_sixteen_bits_the_high_byte_is_kept(picture) -> None:
    wide = picture.astype(np.uint16) * 256 + 99
    assert np.array_equal(to_rgb(image(wide[..., ::-1], "bgr16", 6)), picture)
    assert np.array_equal(to_rgb(image(wide[..., 0], "mono16")), np.dstack([picture[..., 0]] * 3))


def test_depth_in_millimetres_and_metres_agree() -> None:
    metres = np.array([[0.0, 0.5, 1.25], [2.0, 7.001, 65.535]], np.float32)
    millimetres = np.rint(metres * 1000).astype(np.uint16)
    assert np.allclose(to_metres(image(millimetres, "16UC1", 4)), metres, atol=1e-6)
    assert np.allclose(to_metres(image(metres, "32FC1", 4)), metres)
    as_png = to_metres(compressed_message(HEADER, millimetres, "16UC1"))
    assert np.allclose(as_png, metres, atol=1e-6)
    swapped = image(millimetres.byteswap(), "16UC1")
    swapped.is_bigendian = 1
    assert np.allclose(to_metres(swapped), metres, atol=1e-6)


def test_invalid_depth_becomes_zero() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, -1.0, 0.0, 2.0]], np.float32)
    assert to_metres(image(values, "32FC1")).tolist() == [[0, 0, 0, 0, 0, 2]]


def test_compressed_depth_header_is_understood() -> None:
    millimetres = np.array([[0, 500, 1500]], np.uint16)
    _, png = cv2.imencode(".png", millimetres)
    message = compressed(struct.pack("<iff", 0, 0, 0) + png.tobytes(), "16UC1; compressedDepth")
    assert np.allclose(to_metres(message), [[0, 0.5, 1.5]])
    # 32FC1 is sent as quantised inverse depth: value = scale / depth + offset.
    scale, offset = 10100.0, -95.0
    depth = np.array([[0.5, 2.0, 8.0]])
    _, png = cv2.imencode(".png", np.rint(scale / depth + offset).astype(np.uint16))
    message = compressed(
        struct.pack("<iff", 0, scale, offset) + png.tobytes(), "32FC1; compressedDepth png"
    )
    assert np.allclose(to_metres(message), depth, rtol=1e-3)


def test_unknown_encodings_are_refused_with_the_known_ones() -> None:
    pixels = np.zeros((2, 2, 2), np.uint8)
    with pytest.raises(BadInput, match=r"encoding 'yuv422', known are: rgb8, bgr8") as caught:
        to_rgb(image(pixels, "yuv422"))
    assert caught.value.reason == "bad_encoding"
    with pytest.raises(BadInput, match="16UC1") as caught:
        to_metres(image(pixels, "rgb8"))
    assert caught.value.reason == "bad_encoding"
    with pytest.raises(BadInput, match="not understood") as caught:
        to_metres(compressed(b"x" * 40, "16UC1; compressedDepth rvl"))
    assert caught.value.reason == "bad_encoding"


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_file_that_states_a_huge_picture_is_refused_unread(suffix) -> None:
    data = bytearray(cv2.imencode(suffix, np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    if suffix == ".png":
        data[16:24] = struct.pack(">II", 60_000, 60_000)
    else:
        start = data.index(b"\xff\xc0")
        data[start + 5 : start + 9] = struct.pack(">HH", 60_000, 60_000)
    with pytest.raises(BadInput, match="60000x60000 pixels is larger"):
        to_rgb(compressed(bytes(data), "jpeg"))


def test_truncated_or_impossible_images_are_refused(picture) -> None:
    cut = image(picture, "rgb8")
    cut.data = cut.data[:-1]
    narrow = image(picture, "rgb8")
    narrow.step = 20
    empty = Image(encoding="rgb8")
    huge = Image(encoding="rgb8", width=2**31, height=2**31, step=2**31)
    for message, words in ((cut, "125 bytes, expected 126"), (narrow, "step of 20"),
                           (empty, "no pixels"), (huge, "larger")):  # fmt: skip
        with pytest.raises(BadInput, match=words) as caught:
            to_rgb(message)
        assert caught.value.reason == "bad_data"


def test_damaged_files_are_refused_although_opencv_would_fill_them_with_grey() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    jpeg = bytes(compressed_message(HEADER, noise, "rgb8").data)
    png = cv2.imencode(".png", noise)[1].tobytes()
    for data in (b"", b"\xff\xd8", jpeg[:-2000], png[:-2000], b"not an image at all"):
        with pytest.raises(BadInput) as caught:
            to_rgb(compressed(data, "jpeg"))
        assert caught.value.reason == "bad_data"
    # Some cameras pad a JPEG with zeros.
    assert to_rgb(compressed(jpeg + bytes(100), "jpeg")).shape == (60, 80, 3)
