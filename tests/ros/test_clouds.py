import array

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField
from sensor_msgs_py import point_cloud2

from govnesf_ros.clouds import cloud_xyz, with_columns
from govnesf_ros.conversions import BadInput

XYZ = np.array([[1, 2, 3], [-4, 5.5, 6], [7, 8, -9.25], [0, 0, 0]], np.float32)


def cloud(order: str = "<", kind: str = "f4", gap: int = 0, padding: int = 0) -> PointCloud2:
    """Two rows of two points, z first, with bytes between fields and at the end of rows."""
    size = np.dtype(kind).itemsize
    offsets = {"z": gap, "intensity": 3 * size + gap, "x": size + gap, "y": 2 * size + gap}
    dtype = np.dtype(
        {
            "names": list(offsets),
            "formats": [order + kind, order + "u2", order + kind, order + kind],
            "offsets": list(offsets.values()),
            "itemsize": 3 * size + 2 * gap + 2,
        }
    )
    points = np.zeros(4, dtype)
    points["x"], points["y"], points["z"] = XYZ.T
    points["intensity"] = [1, 2, 3, 65535]
    rows = points.reshape(2, 2).view(np.uint8).reshape(2, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=7)
    datatype = PointField.FLOAT32 if kind == "f4" else PointField.FLOAT64
    fields = [
        PointField(
            name=name,
            offset=offset,
            count=1,
            datatype=PointField.UINT16 if name == "intensity" else datatype,
        )
        for name, offset in offsets.items()
    ]
    return PointCloud2(
        height=2,
        width=2,
        fields=fields,
        is_bigendian=order == ">",
        point_step=dtype.itemsize,
        row_step=rows.shape[1],
        data=array.array("B", rows.tobytes()),
        is_dense=True,
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize(("gap", "padding"), [(0, 0), (3, 5)])
def test_any_layout_is_read_and_keeps_what_it_had(order, kind, gap, padding) -> None:
    message = cloud(order, kind, gap, padding)
    assert np.array_equal(cloud_xyz(message, 4), XYZ)
    label = np.array([1, 0, 2, 70000], np.uint32)
    confidence = np.array([0.5, 0, 1, 0.25], np.float32)
    answer = with_columns(message, label=label, confidence=confidence)
    assert (answer.height, answer.width) == (2, 2)
    points = point_cloud2.read_points(answer)
    assert np.array_equal(points["label"], label)
    assert np.array_equal(points["confidence"], confidence)
    assert np.array_equal(points["intensity"], [1, 2, 3, 65535])
    assert np.array_equal(cloud_xyz(answer, 4), XYZ)


def test_a_second_answer_replaces_the_first() -> None:
    once = with_columns(cloud(), label=np.ones(4, np.uint32))
    twice = with_columns(once, label=np.full(4, 2, np.uint32))
    assert [field.name for field in twice.fields].count("label") == 1
    assert np.array_equal(point_cloud2.read_points(twice)["label"], [2, 2, 2, 2])


def test_an_empty_cloud_is_a_cloud() -> None:
    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate("xyz")
    ]
    message = PointCloud2(height=1, width=0, fields=fields, point_step=12)
    assert cloud_xyz(message, 4).shape == (0, 3)
    answer = with_columns(message, label=np.zeros(0, np.uint32))
    assert (answer.width, len(answer.data), answer.point_step) == (0, 0, 16)


def test_points_that_are_not_finite_are_no_numbers() -> None:
    message = cloud(kind="f8")
    values = np.frombuffer(message.data, np.uint8).copy()
    values[8:16] = np.frombuffer(np.float64(1e300).tobytes(), np.uint8)  # x of the first point
    message.data = array.array("B", values.tobytes())
    assert np.isnan(cloud_xyz(message, 4)[0]).all()
    assert np.array_equal(cloud_xyz(message, 4)[1:], XYZ[1:])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 3, "height": 2}, "has 6 points, at most 4 are taken"),
        ({"width": 2**31, "height": 2**31}, "at most 4 are taken"),
        ({"data": b"\0" * 20}, "and has 20: truncated or wrongly described"),
        ({"point_step": 0}, "points of 0 bytes"),
        ({"row_step": 3}, "in rows of 3 bytes"),
        ({"row_step": 2**32 - 1}, "truncated or wrongly described"),
        ({"fields": []}, "no field x, y, z; its fields are none"),
        ({"fields": [("x", 0, 7), ("y", 4, 7)]}, "no field z"),
        (
            {"fields": [("x", 0, 2), ("y", 4, 7), ("z", 8, 7)]},
            "field x of the cloud is of datatype 2",
        ),
        ({"fields": [("x", 0, 7), ("y", 4, 7), ("z", 4000000000, 7)]}, "lies outside the 14 bytes"),
    ],
)
def test_what_is_no_cloud_gets_a_sentence(changes, words) -> None:
    message = cloud()
    for name, value in changes.items():
        if name == "fields":
            value = [PointField(name=n, offset=o, datatype=d, count=1) for n, o, d in value]
        setattr(message, name, array.array("B", value) if name == "data" else value)
    with pytest.raises(BadInput) as caught:
        cloud_xyz(message, 4)
    assert words in str(caught.value)
