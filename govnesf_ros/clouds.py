"""PointCloud2 of anybody in, numpy out, and back with columns of ours. Pure functions.

    xyz = cloud_xyz(message)                                 # float32 [n, 3], NaN where not finite
    answer = with_columns(message, label=label, confidence=confidence)

Any layout is taken: fields in any order with gaps, rows with padding, either byte order.
"""

from typing import Any

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from govnesf_ros.conversions import BadInput
from govnesf_ros.messages import byte_array

_FLOATS = {PointField.FLOAT32: "f4", PointField.FLOAT64: "f8"}
_COLUMNS = {
    np.dtype(np.uint32): PointField.UINT32,
    np.dtype(np.float32): PointField.FLOAT32,
}
_MAX_FIELDS = 100


def cloud_xyz(message: PointCloud2, most: int) -> np.ndarray:
    """Return the positions of a cloud, float32 [n, 3], row by row.

    Args:
        message: any cloud with x, y, z of 4 or 8 bytes.
        most: points allowed.

    Raises:
        BadInput: too_large or bad_cloud.
    """
    count = message.width * message.height
    if count > most:
        raise BadInput(
            "too_large",
            f"the cloud has {count} points, at most {most} are taken (max_cloud_points): thin it "
            "out or send it in parts",
        )
    points = _rows(message)
    order = ">" if message.is_bigendian else "<"
    named = {field.name: field for field in message.fields}
    missing = [name for name in "xyz" if name not in named]
    if missing:
        raise BadInput(
            "bad_cloud",
            f"the cloud has no field {', '.join(missing)}; its fields are "
            f"{', '.join(map(ascii, list(named)[:20])) or 'none'}",
        )
    columns = []
    for name in "xyz":
        field = named[name]
        kind = _FLOATS.get(field.datatype)
        if kind is None or field.count > 1:
            raise BadInput(
                "bad_cloud",
                f"field {name} of the cloud is of datatype {field.datatype} and count "
                f"{field.count}, expected one FLOAT32 or FLOAT64",
            )
        dtype = np.dtype(order + kind)
        if field.offset + dtype.itemsize > message.point_step:
            raise BadInput(
                "bad_cloud",
                f"field {name} of the cloud at offset {field.offset} lies outside the "
                f"{message.point_step} bytes of a point",
            )
        part = points[:, field.offset : field.offset + dtype.itemsize]
        with np.errstate(over="ignore", invalid="ignore"):
            columns.append(np.ascontiguousarray(part).view(dtype)[:, 0].astype(np.float32))
    xyz = np.stack(columns, axis=1)
    xyz[~np.isfinite(xyz).all(axis=1)] = np.nan
    return xyz


def with_columns(message: PointCloud2, **columns: np.ndarray) -> PointCloud2:
    """Return a cloud with one more field per keyword, everything else as it was.

    A field of the same name that the cloud has already is left out of the description.

    Args:
        message: that `cloud_xyz` took.
        columns: uint32 or float32 [n] each.
    """
    points = _rows(message)
    order = ">" if message.is_bigendian else "<"
    added = [
        np.asarray(values).astype(values.dtype.newbyteorder(order)).view(np.uint8).reshape(-1, 4)
        for values in columns.values()
    ]
    fields = [field for field in message.fields if field.name not in columns]
    for position, (name, values) in enumerate(columns.items()):
        offset = message.point_step + 4 * position
        datatype = _COLUMNS[values.dtype]
        fields.append(PointField(name=name, offset=offset, datatype=datatype, count=1))
    step = message.point_step + 4 * len(columns)
    return PointCloud2(
        header=message.header,
        height=message.height,
        width=message.width,
        fields=fields,
        is_bigendian=message.is_bigendian,
        point_step=step,
        row_step=step * message.width,
        data=byte_array(np.concatenate([points, *added], axis=1)),
        is_dense=message.is_dense,
    )


def _rows(message: Any) -> np.ndarray:
    """Return a view of a cloud's bytes, uint8 [n, point_step]."""
    width, height, step = message.width, message.height, message.point_step
    if width == 0 or height == 0:
        return np.zeros((0, step), np.uint8)
    row = message.row_step or step * width
    needed = row * (height - 1) + step * width
    if step == 0 or row < step * width or len(message.data) < needed:
        raise BadInput(
            "bad_cloud",
            f"a cloud of {width}x{height} points of {step} bytes in rows of {row} bytes needs "
            f"{needed} bytes and has {len(message.data)}: truncated or wrongly described",
        )
    if len(message.fields) > _MAX_FIELDS:
        raise BadInput("bad_cloud", f"a cloud has {len(message.fields)} fields, at most 100")
    data = np.frombuffer(message.data, np.uint8)
    points = np.lib.stride_tricks.as_strided(
        data, (height, width, step), (row, step, 1), writeable=False
    )
    return points.reshape(-1, step)
