"""cv_bridge: layouts that real cameras send, colours checked by value, refusals that explain."""

import cv2
import numpy as np
import pytest
from cv_bridge import CvBridge, CvBridgeError
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

BRIDGE = CvBridge()
RNG = np.random.default_rng(7)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def picture(*shape, dtype=np.uint8):
    if np.dtype(dtype).kind == "f":
        return RNG.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def flat(rgb, dtype=np.uint8):
    scale = 257 if dtype == np.uint16 else 1
    return np.full((8, 10, len(rgb)), np.array(rgb) * scale, dtype=dtype)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,), (5,)])
def test_every_type_survives_the_way_there_and_back(dtype, channels):
    image = picture(6, 9, *channels, dtype=dtype)
    message = BRIDGE.cv2_to_imgmsg(image)
    found = BRIDGE.imgmsg_to_cv2(message)
    assert found.dtype == image.dtype
    assert found.shape == (image.shape[:2] if channels == (1,) else image.shape)
    assert found.tobytes() == image.tobytes()
    assert (message.height, message.width) == (6, 9)
    assert message.step * 6 == len(message.data) == image.nbytes


def test_a_message_has_the_given_encoding_and_header():
    header = Header(frame_id="camera")
    message = BRIDGE.cv2_to_imgmsg(picture(4, 5, 3), "rgb8", header)
    assert (message.encoding, message.header.frame_id, message.is_bigendian) == (
        "rgb8",
        "camera",
        0,
    )
    assert BRIDGE.cv2_to_imgmsg(picture(4, 5, dtype=np.uint16)).encoding == "16UC1"


def test_slices_and_transposed_arrays_are_sent_as_they_look():
    image = picture(8, 12, 3)
    for view in (image[1:5, 2:7], image[:, ::-1], image.transpose(1, 0, 2), image[..., ::-1]):
        np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(view)), view)


@pytest.mark.parametrize(("encoding", "shape", "dtype"), [
    ("rgb8", (5, 7, 3), "uint8"), ("16UC1", (5, 7), "uint16"), ("32FC1", (5, 7), "float32"),
])  # fmt: skip
@pytest.mark.parametrize("padding", [0, 1, 13])
def test_padding_at_the_end_of_rows_is_left_out(encoding, shape, dtype, padding):
    image = picture(*shape, dtype=dtype)
    rows = image.reshape(5, -1).view(np.uint8)
    message = Image(height=5, width=7, encoding=encoding, step=rows.shape[1] + padding)
    message.data = np.pad(rows, ((0, 0), (0, padding)), constant_values=99).tobytes()
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message), image)


@pytest.mark.parametrize("dtype", [">u2", ">i4", ">f4", "<u2"])
def test_byte_order_is_honoured_both_ways(dtype):
    image = np.arange(-6, 6).reshape(3, 4).astype(dtype)
    message = BRIDGE.cv2_to_imgmsg(image)
    assert message.is_bigendian == int(dtype[0] == ">")
    assert bytes(message.data) == image.tobytes()
    found = BRIDGE.imgmsg_to_cv2(message)
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize(("source", "pixel"), [
    ("rgb8", (10, 20, 30)), ("bgr8", (30, 20, 10)),
    ("rgba8", (10, 20, 30, 255)), ("bgra8", (30, 20, 10, 255)),
])  # fmt: skip
@pytest.mark.parametrize(("target", "expected"), [
    ("rgb8", (10, 20, 30)), ("bgr8", (30, 20, 10)),
    ("rgba8", (10, 20, 30, 255)), ("bgra8", (30, 20, 10, 255)),
    ("rgb16", (2570, 5140, 7710)), ("mono8", 18), ("mono16", 18 * 257),
])  # fmt: skip
def test_colours_keep_their_meaning(source, pixel, target, expected):
    # Grey is 0.299 R + 0.587 G + 0.114 B = 18.15.
    found = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(flat(pixel), source), target)
    assert found.shape[:2] == (8, 10)
    np.testing.assert_array_equal(found.reshape(80, -1), np.tile(np.atleast_1d(expected), (80, 1)))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [RED, GREEN, BLUE])
def test_bayer_mosaics_show_the_colour_that_was_seen(pattern, bits, colour):
    top = 2**bits - 1
    cells = ["rgb".index(letter) for letter in pattern]
    tile = np.array([colour[c] // 255 * top for c in cells], dtype=f"uint{bits}").reshape(2, 2)
    message = BRIDGE.cv2_to_imgmsg(np.tile(tile, (4, 5)), f"bayer_{pattern}{bits}")
    found = BRIDGE.imgmsg_to_cv2(message, f"rgb{bits}")
    assert tuple(found[4, 5]) == tuple(c // 255 * top for c in colour)


def test_packed_yuv_decodes_to_grey_and_colour():
    luma, neutral = 120, 128
    uyvy = np.zeros((4, 6, 2), np.uint8)
    uyvy[..., 0], uyvy[..., 1] = neutral, luma
    grey = round((luma - 16) * 255 / 219)
    for encoding, image in (("yuv422", uyvy), ("yuv422_yuy2", uyvy[..., ::-1])):
        found = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(image, encoding), "rgb8")
        assert found.shape == (4, 6, 3)
        assert np.abs(found.astype(int) - grey).max() <= 1


def test_depth_images_change_type_without_change_of_value():
    depth = np.array([[0, 1234, 65535]], dtype=np.uint16)
    message = BRIDGE.cv2_to_imgmsg(depth, "16UC1")
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message, "32FC1"), depth.astype(np.float32))
    metres = BRIDGE.cv2_to_imgmsg(np.array([[0.4, 0.6, -3.0, 1e6]], np.float32), "32FC1")
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(metres, "16UC1"), [[0, 1, 0, 65535]])


def test_only_passthrough_shares_memory_with_the_message():
    message = BRIDGE.cv2_to_imgmsg(picture(4, 5, 3), "rgb8")
    shared, copied = BRIDGE.imgmsg_to_cv2(message), BRIDGE.imgmsg_to_cv2(message, "rgb8")
    before = copied.copy()
    shared[:] = 0
    assert not any(message.data)
    np.testing.assert_array_equal(copied, before)


@pytest.mark.parametrize(("source", "target", "reason"), [
    ("8UC3", "mono16", "is not a color format"),
    ("16UC1", "mono16", "is not a color format"),
    ("rgb8", "32FC1", "do not have the same number of channel"),
    ("rgb8", "bayer_rggb8", "Unsupported conversion"),
    ("rgb8", "purple", "Unrecognized image encoding"),
])  # fmt: skip
def test_conversions_without_meaning_are_refused(source, target, reason):
    dtype, channels = BRIDGE.encoding_to_dtype_with_channels(source)
    message = BRIDGE.cv2_to_imgmsg(picture(4, 4, channels, dtype=dtype), source)
    with pytest.raises(CvBridgeError, match=reason):
        BRIDGE.imgmsg_to_cv2(message, target)


@pytest.mark.parametrize(("change", "reason"), [
    ({"encoding": "fancy"}, "Unrecognized"),
    ({"encoding": ""}, "Unrecognized"),
    ({"step": 14}, "step is 14, but 5 pixels of rgb8 need 15 bytes"),
    ({"height": 5}, "60 bytes of data, but height"),
    ({"data": b"\x00" * 59}, "59 bytes of data"),
])  # fmt: skip
def test_malformed_messages_are_refused(change, reason):
    message = BRIDGE.cv2_to_imgmsg(picture(4, 5, 3), "rgb8")
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(CvBridgeError, match=reason):
        BRIDGE.imgmsg_to_cv2(message)


def test_arrays_that_are_no_images_are_refused():
    with pytest.raises(CvBridgeError, match="specified as rgba8, but image has incompatible type"):
        BRIDGE.cv2_to_imgmsg(picture(4, 5, 3), "rgba8")
    for array in (np.zeros(5, np.uint8), np.zeros((4, 4), np.int64), np.zeros((4, 4), bool)):
        with pytest.raises(CvBridgeError, match="is no image"):
            BRIDGE.cv2_to_imgmsg(array)
    with pytest.raises(TypeError, match="not a numpy array"):
        BRIDGE.cv2_to_imgmsg([[1, 2]])


def test_an_empty_image_is_an_empty_array():
    assert BRIDGE.imgmsg_to_cv2(Image(encoding="rgb8")).shape == (0, 0, 3)
    assert len(BRIDGE.cv2_to_imgmsg(np.zeros((0, 0, 3), np.uint8), "rgb8").data) == 0


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "jpe", "png", "bmp", "dib", "tif", "tiff"])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_compressed_images_come_back_in_shape_and_value(extension, channels):
    image = np.full((16, 24, *channels), 90, np.uint8)
    image[:, 12:] = 180
    message = BRIDGE.cv2_to_compressed_imgmsg(image, extension)
    found = BRIDGE.compressed_imgmsg_to_cv2(message)
    assert message.format == extension
    assert found.dtype == np.uint8
    assert found.shape == (image.shape[:2] if channels == (1,) else image.shape)
    assert np.abs(found.reshape(-1).astype(int) - image.reshape(-1)).max() <= 2


def test_compressed_images_are_decoded_to_the_wanted_colours():
    message = BRIDGE.cv2_to_compressed_imgmsg(flat((30, 20, 10)), "png")
    assert tuple(BRIDGE.compressed_imgmsg_to_cv2(message)[0, 0]) == (30, 20, 10)
    assert tuple(BRIDGE.compressed_imgmsg_to_cv2(message, "rgb8")[0, 0]) == (10, 20, 30)
    grey = BRIDGE.cv2_to_compressed_imgmsg(np.full((4, 4), 77, np.uint8), "png")
    assert tuple(BRIDGE.compressed_imgmsg_to_cv2(grey, "rgb8")[0, 0]) == (77, 77, 77)
    depth = BRIDGE.cv2_to_compressed_imgmsg(np.full((4, 4), 40000, np.uint16), "png")
    assert BRIDGE.compressed_imgmsg_to_cv2(depth)[0, 0] == 40000


@pytest.mark.parametrize("data", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n"])
def test_undecodable_data_is_refused(data):
    with pytest.raises(CvBridgeError, match=f"{len(data)} bytes of format 'png' cannot be decoded"):
        BRIDGE.compressed_imgmsg_to_cv2(CompressedImage(format="png", data=data))
    with pytest.raises(CvBridgeError):
        BRIDGE.cv2_to_compressed_imgmsg(picture(4, 4, 3), "nosuchformat")


def test_type_names_and_numbers_are_opencvs():
    assert BRIDGE.encoding_to_cvtype2("bgr8") == cv2.CV_8UC3
    assert BRIDGE.encoding_to_cvtype2("mono16") == cv2.CV_16UC1
    assert BRIDGE.cvtype2_to_dtype_with_channels(cv2.CV_32FC4) == ("float32", 4)
    assert BRIDGE.dtype_with_channels_to_cvtype2(np.dtype("int16"), 2) == "16SC2"
    assert BRIDGE.encoding_to_dtype_with_channels("8UC3") == ("uint8", 3)
