"""sensor_msgs_py.point_cloud2: layouts, padding, selection, and the way back."""

import numpy as np
import pytest
from numpy.lib.recfunctions import structured_to_unstructured
from sensor_msgs.msg import PointCloud2, PointField
from sensor_msgs_py import numpy_compat
from sensor_msgs_py import point_cloud2 as pc2
from std_msgs.msg import Header

HEADER = Header(frame_id="map")
XYZ = np.array(
    [[0, 1, 2], [3, np.nan, 5], [6, 7, 8], [9, 10, 11], [12, 13, 14], [15, 16, 17]], "f4"
)


def field(name, offset, datatype=PointField.FLOAT32, count=1):
    return PointField(name=name, offset=offset, datatype=datatype, count=count)


XYZ_FIELDS = [field("x", 0), field("y", 4), field("z", 8)]
MIXED_FIELDS = [
    field("xyz", 0, count=3),
    field("label", 12, PointField.UINT16),
    field("stamp", 14, PointField.FLOAT64),
]
MIXED = np.dtype(
    [("xyz_0", "f4"), ("xyz_1", "f4"), ("xyz_2", "f4"), ("label", "u2"), ("stamp", "f8")]
)


def mixed_points():
    points = np.zeros(4, MIXED)
    points["xyz_1"], points["label"], points["stamp"] = range(4), 65535, 1.5e9
    return points


def test_a_cloud_of_positions_has_the_layout_that_viewers_expect():
    cloud = pc2.create_cloud_xyz32(HEADER, XYZ)
    assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [
        ("x", 0, 7, 1),
        ("y", 4, 7, 1),
        ("z", 8, 7, 1),
    ]
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 6, 12, 72)
    assert bytes(cloud.data) == XYZ.tobytes()
    assert cloud.header == HEADER
    assert not cloud.is_dense
    assert not cloud.is_bigendian


@pytest.mark.parametrize("points", [XYZ, XYZ.tolist(), iter(XYZ), XYZ.astype("f8"), XYZ[::1].T.T])
def test_points_may_come_as_array_list_or_iterator(points):
    assert pc2.create_cloud(HEADER, XYZ_FIELDS, points) == pc2.create_cloud_xyz32(HEADER, XYZ)


def test_structured_points_survive_the_way_there_and_back():
    points = mixed_points()
    cloud = pc2.create_cloud(HEADER, MIXED_FIELDS, points)
    assert cloud.point_step == 22
    found = pc2.read_points(cloud)
    assert found.dtype == MIXED
    np.testing.assert_array_equal(found, points)
    found["label"][0] = 3
    assert pc2.read_points(cloud)["label"][0] == 3
    assert pc2.create_cloud(HEADER, MIXED_FIELDS, points.tolist()) != cloud


def test_fields_are_selected_by_name_and_order():
    cloud = pc2.create_cloud_xyz32(HEADER, XYZ)
    assert pc2.read_points(cloud, ["z", "x"]).dtype.names == ("z", "x")
    np.testing.assert_array_equal(pc2.read_points_numpy(cloud, ("z", "x")), XYZ[:, [2, 0]])
    with pytest.raises(AssertionError, match=r"no field \['rgb'\]"):
        pc2.read_points(cloud, ["x", "rgb"])


def test_plain_arrays_need_fields_of_one_type():
    cloud = pc2.create_cloud(HEADER, MIXED_FIELDS, mixed_points())
    with pytest.raises(AssertionError, match="same datatype"):
        pc2.read_points_numpy(cloud)
    names = ("xyz_0", "xyz_1", "xyz_2")
    found = pc2.read_points_numpy(cloud, names)
    assert found.shape == (4, 3)
    np.testing.assert_array_equal(found[:, 1], range(4))
    with pytest.raises(AssertionError, match="same datatype"):
        pc2.create_cloud(HEADER, MIXED_FIELDS, np.zeros((4, 5)))


def test_points_with_nan_are_skipped_in_the_read_fields_alone():
    cloud = pc2.create_cloud_xyz32(HEADER, XYZ)
    np.testing.assert_array_equal(
        pc2.read_points_numpy(cloud, skip_nans=True), np.delete(XYZ, 1, 0)
    )
    assert len(pc2.read_points(cloud, ["x", "z"], skip_nans=True)) == 6
    cloud.is_dense = True
    assert len(pc2.read_points(cloud, skip_nans=True)) == 6


def test_single_points_are_picked_by_index():
    cloud = pc2.create_cloud_xyz32(HEADER, XYZ)
    for picked in ([4, 0], np.array([4, 0]), iter((4, 0))):
        np.testing.assert_array_equal(pc2.read_points_numpy(cloud, uvs=picked), XYZ[[4, 0]])


def test_a_grid_of_points_is_organized():
    grid = XYZ.reshape(2, 3, 3)
    cloud = pc2.create_cloud_xyz32(HEADER, grid)
    assert (cloud.width, cloud.height, cloud.row_step) == (2, 3, 24)
    np.testing.assert_array_equal(pc2.read_points_numpy(cloud), XYZ)
    found = pc2.read_points(cloud, reshape_organized_cloud=True)
    np.testing.assert_array_equal(structured_to_unstructured(found), grid)
    with pytest.raises(AssertionError, match="list or a grid"):
        pc2.create_cloud(HEADER, XYZ_FIELDS, XYZ.reshape(1, 2, 3, 3))


@pytest.mark.parametrize("step", [12, 16, 123])
def test_padding_between_points_is_honoured(step):
    padded = np.zeros(6, pc2.dtype_from_fields(XYZ_FIELDS, step))
    for i, name in enumerate("xyz"):
        padded[name] = XYZ[:, i]
    for cloud in (
        pc2.create_cloud(HEADER, XYZ_FIELDS, padded),
        pc2.create_cloud(HEADER, XYZ_FIELDS, padded, step),
        pc2.create_cloud(HEADER, XYZ_FIELDS, XYZ, step),
    ):
        assert (cloud.point_step, len(cloud.data)) == (step, 6 * step)
        np.testing.assert_array_equal(pc2.read_points_numpy(cloud), XYZ)
    with pytest.raises(AssertionError, match="do not match"):
        pc2.create_cloud(HEADER, XYZ_FIELDS, padded, step + 4)


def test_padding_between_rows_is_honoured():
    rows = np.pad(XYZ.reshape(3, 6).view(np.uint8), ((0, 0), (0, 8)), constant_values=99)
    cloud = PointCloud2(height=3, width=2, fields=XYZ_FIELDS, point_step=12, row_step=32)
    cloud.data = rows.tobytes()
    np.testing.assert_array_equal(pc2.read_points_numpy(cloud), XYZ)


def test_the_other_byte_order_is_swapped_and_the_message_left_alone():
    cloud = pc2.create_cloud_xyz32(HEADER, XYZ)
    cloud.data, cloud.is_bigendian = XYZ.astype(">f4").tobytes(), True
    for _ in range(2):
        found = pc2.read_points_numpy(cloud)
        assert found.dtype.isnative
        np.testing.assert_array_equal(found, XYZ)


def test_named_tuples_carry_python_numbers():
    found = pc2.read_points_list(pc2.create_cloud_xyz32(HEADER, XYZ), ("x", "z"), skip_nans=True)
    assert found[1] == (3.0, 5.0)
    assert (found[0].x, found[0].z) == (0.0, 2.0)
    assert type(found[0].x) is float


def test_fields_without_name_get_one_and_duplicates_are_refused():
    assert pc2.dtype_from_fields([field("", 0), field("x", 4)]).names == ("unnamed_field_0", "x")
    with pytest.raises(AssertionError, match="Duplicate"):
        pc2.dtype_from_fields([field("x", 0), field("x", 4)])


def test_an_empty_cloud_and_something_that_is_no_cloud():
    for points in (np.zeros((0, 3), "f4"), []):
        cloud = pc2.create_cloud_xyz32(HEADER, points)
        assert (cloud.width, len(cloud.data)) == (0, 0)
        assert pc2.read_points_numpy(cloud).shape == (0, 3)
    with pytest.raises(AssertionError, match="not a sensor_msgs"):
        pc2.read_points(XYZ)


def test_the_compatibility_module_has_numpys_functions():
    assert numpy_compat.structured_to_unstructured is structured_to_unstructured
