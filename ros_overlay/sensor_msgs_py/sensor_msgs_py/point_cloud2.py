"""PointCloud2 to numpy and back.

    xyz = read_points_numpy(cloud, field_names=("x", "y", "z"))        # [n, 3]
    cloud = create_cloud(header, fields, structured_array)

A structured array has one element a point, with the cloud's fields as its fields. A field with a
count of 3 becomes three of them: name_0, name_1, name_2.
"""

from __future__ import annotations

import sys
from array import array
from collections import namedtuple
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured, unstructured_to_structured
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

DUMMY_FIELD_PREFIX = "unnamed_field"

_DATATYPES = {
    PointField.INT8: np.dtype(np.int8),
    PointField.UINT8: np.dtype(np.uint8),
    PointField.INT16: np.dtype(np.int16),
    PointField.UINT16: np.dtype(np.uint16),
    PointField.INT32: np.dtype(np.int32),
    PointField.UINT32: np.dtype(np.uint32),
    PointField.FLOAT32: np.dtype(np.float32),
    PointField.FLOAT64: np.dtype(np.float64),
}


def read_points(
    cloud: PointCloud2,
    field_names: Sequence[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable[int] | None = None,
    reshape_organized_cloud: bool = False,
) -> np.ndarray:
    """The points as a structured array, sharing the message's memory where nothing is dropped.

    Args:
        cloud: the message.
        field_names: which fields; all when None.
        skip_nans: leave out points with a NaN in any of these fields, unless the cloud says that
            it is dense.
        uvs: indices of the wanted points.
        reshape_organized_cloud: [width, height] for a cloud with rows, instead of flat.

    Raises:
        AssertionError: not a cloud, duplicate field names, or a field that is not there.
    """
    assert isinstance(cloud, PointCloud2), "Cloud is not a sensor_msgs.msg.PointCloud2"
    dtype = dtype_from_fields(cloud.fields, cloud.point_step)
    native = bool(cloud.is_bigendian) == (sys.byteorder == "big")
    points = np.ndarray(
        (cloud.height, cloud.width),
        dtype=dtype if native else dtype.newbyteorder(),
        buffer=cloud.data,
        strides=(cloud.row_step or cloud.point_step * cloud.width, cloud.point_step),
    ).reshape(-1)
    if not native:
        points = points.astype(dtype)
    if field_names is not None:
        missing = [name for name in field_names if name not in dtype.names]
        assert not missing, f"the cloud has no field {missing}; its fields are {dtype.names}"
        points = points[list(field_names)]
    if skip_nans and not cloud.is_dense:
        points = points[~_has_nan(points)]
    if uvs is not None:
        points = points[uvs if isinstance(uvs, np.ndarray) else np.fromiter(uvs, int)]
    if reshape_organized_cloud and cloud.height > 1:
        points = points.reshape(cloud.width, cloud.height)
    return points


def read_points_numpy(
    cloud: PointCloud2,
    field_names: Sequence[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable[int] | None = None,
    reshape_organized_cloud: bool = False,
) -> np.ndarray:
    """The same as a plain array [n, fields]; the fields have to be of one type.

    Raises:
        AssertionError: the fields are of several types.
    """
    points = read_points(cloud, field_names, skip_nans, uvs, reshape_organized_cloud)
    kinds = {points.dtype[name] for name in points.dtype.names}
    assert len(kinds) == 1, (
        f"all fields need to have the same datatype, not {sorted(map(str, kinds))}: "
        "use read_points() or choose fields"
    )
    return structured_to_unstructured(points)


def read_points_list(
    cloud: PointCloud2,
    field_names: Sequence[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable[int] | None = None,
) -> list[Any]:
    """The same as a list of named tuples: convenient and slow."""
    points = read_points(cloud, field_names, skip_nans, uvs)
    point = namedtuple("Point", points.dtype.names)
    return [point._make(values) for values in points.tolist()]


def dtype_from_fields(fields: Iterable[PointField], point_step: int | None = None) -> np.dtype:
    """The structured dtype of a point with these fields, `point_step` bytes apart if given.

    Raises:
        AssertionError: two fields have the same name.
    """
    names: list[str] = []
    formats: list[np.dtype] = []
    offsets: list[int] = []
    for index, field in enumerate(fields):
        name = field.name or f"{DUMMY_FIELD_PREFIX}_{index}"
        kind = _DATATYPES[field.datatype]
        for part in range(max(field.count, 1)):
            names.append(f"{name}_{part}" if field.count > 1 else name)
            formats.append(kind)
            offsets.append(field.offset + part * kind.itemsize)
    assert len(set(names)) == len(names), f"Duplicate field names are not allowed: {names}"
    layout: dict[str, Any] = {"names": names, "formats": formats, "offsets": offsets}
    if point_step is not None:
        layout["itemsize"] = point_step
    return np.dtype(layout)


def create_cloud(
    header: Header,
    fields: Sequence[PointField],
    points: Any,
    step: int | None = None,
) -> PointCloud2:
    """A message from a structured array, a plain array [n, fields], or an iterable of points.

    A grid of points, [width, height] structured or [width, height, fields] plain, gives an
    organized cloud.

    Args:
        header: of the message.
        fields: of a point; they describe the layout of a structured array.
        points: the values.
        step: bytes from one point to the next; by default those of the array's element.

    Raises:
        AssertionError: the array does not fit the fields or the step.
    """
    if not isinstance(points, np.ndarray):
        points = np.array([tuple(p) for p in points], dtype=dtype_from_fields(fields, step))
    elif points.dtype.names is None:
        assert len({field.datatype for field in fields}) == 1, (
            "All fields need to have the same datatype. "
            "Pass a structured NumPy array with multiple dtypes otherwise."
        )
        points = unstructured_to_structured(points, dtype=dtype_from_fields(fields, step))
    else:
        expected = dtype_from_fields(fields, step if step is not None else points.dtype.itemsize)
        assert points.dtype == expected, (
            f"PointFields and structured NumPy array dtype do not match: {expected} against "
            f"{points.dtype}"
        )
    assert points.ndim <= 2, f"points are a list or a grid, not an array of shape {points.shape}"
    height = points.shape[1] if points.ndim == 2 else 1
    point_step = points.dtype.itemsize
    data = array("B")
    if points.size:
        # As bytes before the cast: memoryview does not understand structured formats.
        data.frombytes(np.ascontiguousarray(points).view(np.uint8).data.cast("B"))
    return PointCloud2(
        header=header,
        height=height,
        width=points.shape[0],
        is_dense=False,
        is_bigendian=sys.byteorder != "little",
        fields=list(fields),
        point_step=point_step,
        row_step=point_step * points.shape[0],
        data=data,
    )


def create_cloud_xyz32(header: Header, points: Any, step: int | None = None) -> PointCloud2:
    """A cloud of float32 x, y, z from an array [n, 3] or an iterable of points."""
    fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate("xyz")
    ]
    return create_cloud(header, fields, points, step)


def _has_nan(points: np.ndarray) -> np.ndarray:
    found = np.zeros(points.shape, dtype=bool)
    for name in points.dtype.names:
        if points.dtype[name].kind == "f":
            found |= np.isnan(points[name])
    return found
