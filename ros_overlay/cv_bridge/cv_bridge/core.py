"""CvBridge: sensor_msgs/Image and CompressedImage to numpy arrays and back."""

from __future__ import annotations

import sys
from array import array

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from . import encodings
from .encodings import DEPTH_OF_DTYPE, DEPTHS, CvBridgeError


class CvBridge:
    """Stateless; one object may serve all threads."""

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = "passthrough") -> np.ndarray:
        """The pixels as [H, W] or [H, W, C].

        "passthrough" keeps the encoding and, where the layout allows, shares the message's
        memory. Padding at the end of rows (`step`) and byte order are dealt with.

        Raises:
            CvBridgeError: unknown encoding, a conversion that makes no sense, or data that does
                not fit height, width and step.
        """
        image = _pixels(img_msg)
        if desired_encoding == "passthrough":
            return image
        return encodings.convert(image, img_msg.encoding, desired_encoding)

    def cv2_to_imgmsg(
        self, cvim: np.ndarray, encoding: str = "passthrough", header: Header | None = None
    ) -> Image:
        """An array [H, W] or [H, W, C] as a message. The pixels are not converted.

        "passthrough" names the encoding after the array's type, for example 8UC3.

        Raises:
            TypeError: not an array.
            CvBridgeError: the array's type does not fit `encoding`.
        """
        kind = _kind(cvim)
        if encoding != "passthrough":
            wanted = encodings.parse(encoding)
            wanted_kind = f"{DEPTH_OF_DTYPE[wanted.dtype.name]}C{wanted.channels}"
            if wanted_kind != kind:
                raise CvBridgeError(
                    f"encoding specified as {encoding}, but image has incompatible type {kind}"
                )
        pixels = np.ascontiguousarray(cvim)
        message = Image(header=header) if header is not None else Image()
        message.height, message.width = cvim.shape[:2]
        message.encoding = kind if encoding == "passthrough" else encoding
        message.is_bigendian = int(_is_bigendian(cvim.dtype))
        message.step = pixels[:1].nbytes
        message.data = _bytes(pixels)
        return message

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: CompressedImage, desired_encoding: str = "passthrough"
    ) -> np.ndarray:
        """Decode a compressed image; OpenCV's order (bgr, bgra, grey) unless asked otherwise.

        Raises:
            CvBridgeError: the data is not an image, or the conversion makes no sense.
        """
        data = np.frombuffer(cmprs_img_msg.data, dtype=np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
        if image is None:
            raise CvBridgeError(
                f"{data.size} bytes of format '{cmprs_img_msg.format}' cannot be decoded as an "
                "image: the data is truncated or in a format that OpenCV does not read"
            )
        if desired_encoding == "passthrough":
            return image
        color = {1: "mono", 3: "bgr", 4: "bgra"}[1 if image.ndim == 2 else image.shape[2]]
        return encodings.convert(image, f"{color}{image.dtype.itemsize * 8}", desired_encoding)

    def cv2_to_compressed_imgmsg(
        self, cvim: np.ndarray, dst_format: str = "jpg"
    ) -> CompressedImage:
        """Encode an array in OpenCV's channel order as "jpg", "png", "tiff", "bmp"...

        Raises:
            TypeError: not an array.
            CvBridgeError: OpenCV cannot write it in that format.
        """
        kind = _kind(cvim)
        try:
            done, data = cv2.imencode(f".{dst_format}", cvim)
        except cv2.error as error:
            raise CvBridgeError(f"an image of type {kind} as '{dst_format}': {error}") from error
        if not done:
            raise CvBridgeError(f"an image of type {kind} cannot be encoded as '{dst_format}'")
        return CompressedImage(format=dst_format, data=_bytes(data))

    def dtype_with_channels_to_cvtype2(self, dtype: np.dtype, n_channels: int) -> str:
        """OpenCV's name of a type, for example 8UC3."""
        return f"{DEPTH_OF_DTYPE[np.dtype(dtype).name]}C{n_channels}"

    def encoding_to_cvtype2(self, encoding: str) -> int:
        """OpenCV's number for the type of an encoding's pixels."""
        dtype, channels = self.encoding_to_dtype_with_channels(encoding)
        return getattr(cv2, f"CV_{DEPTH_OF_DTYPE[dtype]}C")(channels)

    def encoding_to_dtype_with_channels(self, encoding: str) -> tuple[str, int]:
        """Numpy's type name and the number of channels of an encoding."""
        known = encodings.parse(encoding)
        return known.dtype.name, known.channels

    def cvtype2_to_dtype_with_channels(self, cvtype: int) -> tuple[str, int]:
        """Numpy's type name and the number of channels for OpenCV's number of a type."""
        for depth, dtype in DEPTHS.items():
            for channels in range(1, 5):
                if getattr(cv2, f"CV_{depth}C{channels}") == cvtype:
                    return dtype.name, channels
        raise CvBridgeError(f"{cvtype} is not an OpenCV type with one to four channels")


def _pixels(message: Image) -> np.ndarray:
    encoding = encodings.parse(message.encoding)
    pixel = encoding.dtype.itemsize * encoding.channels
    height, width, step = message.height, message.width, message.step
    if step < width * pixel:
        raise CvBridgeError(
            f"Image is wrongly formed: step is {step}, but {width} pixels of {message.encoding} "
            f"need {width * pixel} bytes"
        )
    if len(message.data) < height * step:
        raise CvBridgeError(
            f"Image is wrongly formed: {len(message.data)} bytes of data, but height * step is "
            f"{height} * {step} = {height * step}"
        )
    order = ">" if message.is_bigendian else "<"
    image = np.ndarray(
        (height, width, encoding.channels),
        dtype=encoding.dtype.newbyteorder(order),
        buffer=message.data,
        strides=(step, pixel, encoding.dtype.itemsize),
    )
    image = np.ascontiguousarray(image[:, :, 0] if encoding.channels == 1 else image)
    return image.astype(encoding.dtype, copy=False)


def _kind(image: np.ndarray) -> str:
    if not isinstance(image, np.ndarray):
        raise TypeError(f"Your input type is not a numpy array but {type(image).__name__}")
    if image.ndim not in (2, 3) or image.dtype.name not in DEPTH_OF_DTYPE:
        raise CvBridgeError(
            f"an array of shape {image.shape} and type {image.dtype} is no image: it has to be "
            f"[H, W] or [H, W, C] of {', '.join(DEPTH_OF_DTYPE)}"
        )
    return f"{DEPTH_OF_DTYPE[image.dtype.name]}C{1 if image.ndim == 2 else image.shape[2]}"


def _is_bigendian(dtype: np.dtype) -> bool:
    if dtype.itemsize == 1:
        return False
    return dtype.byteorder == ">" or (dtype.byteorder == "=" and sys.byteorder == "big")


def _bytes(values: np.ndarray) -> array:
    # The message's field holds such an array; anything else is converted byte by byte.
    data = array("B")
    data.frombytes(memoryview(np.ascontiguousarray(values)).cast("B") if values.size else b"")
    return data
