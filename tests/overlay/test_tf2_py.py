"""BufferCore: composition, time, errors, refusals, against matrices and analytic motion."""

import itertools
import math
import threading

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.time import Time
from tf2_py import (
    BufferCore,
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformException,
)
from transforms3d import affines, quaternions


def transform(parent, child, seconds=0.0, xyz=(0.0, 0.0, 0.0), wxyz=(1.0, 0.0, 0.0, 0.0)):
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = parent, child
    message.header.stamp = at(seconds).to_msg()
    t, r = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, xyz)
    r.w, r.x, r.y, r.z = map(float, wxyz)
    return message


def at(seconds):
    return Time(nanoseconds=round(seconds * 1e9))


def about_z(degrees):
    return quaternions.axangle2quat((0, 0, 1), math.radians(degrees))


def matrix(message):
    t, r = message.transform.translation, message.transform.rotation
    return affines.compose((t.x, t.y, t.z), quaternions.quat2mat((r.w, r.x, r.y, r.z)), (1, 1, 1))


def xyz(message):
    t = message.transform.translation
    return t.x, t.y, t.z


def filled(*messages, static=(), **options):
    buffer = BufferCore(**options)
    for message in messages:
        buffer.set_transform(message, "test")
    for message in static:
        buffer.set_transform_static(message, "test")
    return buffer


def moving(child="robot", seconds=(1.0, 2.0, 3.0, 4.0), speed=3.0, parent="map"):
    return [transform(parent, child, s, (speed * s, 0, 0)) for s in seconds]


def test_a_direct_transform_comes_back_as_it_was_sent():
    sent = transform("map", "robot", 5.0, (42.0, -3.14, 0.5), about_z(30))
    assert filled(sent).lookup_transform_core("map", "robot", at(5.0)) == sent


def test_any_two_frames_of_a_random_tree_agree_with_matrices():
    rng = np.random.default_rng(3)
    buffer, poses = BufferCore(), {"f0": np.eye(4)}
    for i in range(1, 14):
        parent = f"f{rng.integers(i)}"
        q = rng.normal(size=4)
        message = transform(parent, f"f{i}", 1.0, rng.normal(size=3), q / np.linalg.norm(q))
        (buffer.set_transform if i % 3 else buffer.set_transform_static)(message, "test")
        poses[f"f{i}"] = poses[parent] @ matrix(message)
    for names in itertools.permutations(poses, 2):
        found = buffer.lookup_transform_core(*names, at(1.0))
        expected = np.linalg.inv(poses[names[0]]) @ poses[names[1]]
        np.testing.assert_allclose(matrix(found), expected, atol=1e-12)
        assert (found.header.frame_id, found.child_frame_id) == names


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
def test_between_samples_position_is_linear_and_rotation_turns_evenly(ratio):
    buffer = filled(
        transform("map", "robot", 1.0, (0, 10, 0), about_z(10)),
        transform("map", "robot", 3.0, (4, 20, 0), about_z(100)),
    )
    found = buffer.lookup_transform_core("map", "robot", at(1.0 + 2.0 * ratio))
    assert xyz(found) == pytest.approx((4 * ratio, 10 + 10 * ratio, 0))
    np.testing.assert_allclose(
        matrix(found)[:3, :3], quaternions.quat2mat(about_z(10 + 90 * ratio)), atol=1e-9
    )
    assert Time.from_msg(found.header.stamp).nanoseconds == at(1.0 + 2.0 * ratio).nanoseconds


def test_rotation_takes_the_shorter_arc_whatever_the_sign_of_the_quaternion():
    buffer = filled(
        transform("map", "robot", 1.0, wxyz=about_z(0)),
        transform("map", "robot", 2.0, wxyz=-about_z(40)),
    )
    found = buffer.lookup_transform_core("map", "robot", at(1.5))
    np.testing.assert_allclose(matrix(found)[:3, :3], quaternions.quat2mat(about_z(20)), atol=1e-9)


def test_time_zero_asks_for_the_latest_time_that_all_moving_links_share():
    slow = [transform("robot", "arm", s, (0, s, 0)) for s in (1.0, 2.5)]
    buffer = filled(*moving(), *slow, static=[transform("arm", "camera", 99.0, (0, 0, 1))])
    found = buffer.lookup_transform_core("map", "camera", Time())
    assert Time.from_msg(found.header.stamp).nanoseconds == at(2.5).nanoseconds
    assert xyz(found) == pytest.approx((7.5, 2.5, 1.0))
    assert buffer.get_latest_common_time("map", "camera") == at(2.5)
    assert buffer.get_latest_common_time("robot", "map") == at(4.0)
    assert buffer.get_latest_common_time("arm", "camera") == Time()


def test_the_latest_time_of_siblings_ignores_what_is_above_them():
    lagging = transform("world", "map", 1.0)
    left = [transform("map", "left", s) for s in (1.0, 5.0)]
    right = [transform("map", "right", s) for s in (1.0, 7.0)]
    buffer = filled(lagging, *left, *right)
    assert buffer.get_latest_common_time("left", "right") == at(5.0)
    assert buffer.can_transform_core("left", "right", at(4.0)) == (True, "")


def test_static_transforms_hold_at_every_time_and_survive_clear():
    buffer = filled(*moving(), static=[transform("robot", "camera", 1.0, (0, 0, 2))])
    for seconds in (0.0, 0.5, 1e6):
        found = buffer.lookup_transform_core("robot", "camera", at(seconds))
        assert xyz(found) == (0, 0, 2)
        assert Time.from_msg(found.header.stamp).nanoseconds == at(seconds).nanoseconds
    buffer.clear()
    assert buffer.can_transform_core("robot", "camera", Time())[0]
    assert not buffer.can_transform_core("map", "robot", Time())[0]


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (5.0, "Lookup would require extrapolation into the future.  Requested time 5.000000 but "
              "the latest data is at time 4.000000, when looking up transform from frame [robot] "
              "to frame [map]"),
        (0.5, "Lookup would require extrapolation into the past.  Requested time 0.500000 but "
              "the earliest data is at time 1.000000, when looking up transform from frame "
              "[robot] to frame [map]"),
    ],
)  # fmt: skip
def test_nothing_is_extrapolated(seconds, message):
    buffer = filled(*moving())
    with pytest.raises(ExtrapolationException) as error:
        buffer.lookup_transform_core("map", "robot", at(seconds))
    assert str(error.value) == message
    assert buffer.can_transform_core("map", "robot", at(seconds)) == (False, message)
    assert not buffer.can_transform_core("robot", "map", at(seconds))[0]


def test_a_single_sample_answers_for_its_own_time_alone():
    buffer = filled(transform("map", "robot", 2.0))
    assert buffer.can_transform_core("map", "robot", at(2.0))[0]
    with pytest.raises(ExtrapolationException, match=r"but only time 2\.000000 is in the buffer"):
        buffer.lookup_transform_core("map", "robot", at(2.1))


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ("mars", LookupException,
         '"mars" passed to lookupTransform argument target_frame does not exist. '),
        ("", InvalidArgumentException, "in tf2 frame_ids cannot be empty"),
        ("/map", InvalidArgumentException, "in tf2 frame_ids cannot start with a '/'"),
        ("island", ConnectivityException,
         "Could not find a connection between 'island' and 'robot' because they are not part of "
         "the same tree."),
    ],
)  # fmt: skip
def test_impossible_lookups_say_what_is_wrong(target, kind, message):
    buffer = filled(*moving(), transform("island", "palm", 2.0))
    with pytest.raises(kind) as error:
        buffer.lookup_transform_core(target, "robot", at(2.0))
    assert type(error.value) is kind
    assert issubclass(kind, TransformException)
    assert message in str(error.value)
    possible, why = buffer.can_transform_core(target, "robot", at(2.0))
    assert not possible
    assert why
    with pytest.raises(TransformException):
        buffer.get_latest_common_time(target, "robot")


def test_a_loop_is_found():
    buffer = filled(*(transform(p, c, 1.0) for p, c in ("ab", "bc", "ca", "xy")))
    for time in (at(1.0), Time()):
        with pytest.raises(LookupException, match="contains a loop"):
            buffer.lookup_transform_core("x", "a", time)


def test_a_frame_relative_to_itself_needs_no_data():
    found = BufferCore().lookup_transform_core("nowhere", "nowhere", at(7.0))
    np.testing.assert_array_equal(matrix(found), np.eye(4))
    assert BufferCore().can_transform_core("nowhere", "nowhere", at(7.0)) == (True, "")


def test_samples_older_than_the_cache_are_dropped_and_refused():
    buffer = filled(*moving(seconds=(1.0, 2.0, 11.5)))
    assert not buffer.can_transform_core("map", "robot", at(1.2))[0]
    assert buffer.can_transform_core("map", "robot", at(2.0))[0]
    buffer.set_transform(transform("map", "robot", 1.4), "late")
    assert not buffer.can_transform_core("map", "robot", at(1.4))[0]
    assert "late" not in buffer.all_frames_as_yaml()
    long = filled(*moving(seconds=(1.0, 2.0, 50.0)), cache_time=Duration(seconds=60))
    assert long.can_transform_core("map", "robot", at(1.2))[0]


def test_samples_may_arrive_out_of_order():
    buffer = filled(*moving(seconds=(4.0, 1.0, 3.0, 2.0, 3.0)))
    for seconds in (1.0, 1.7, 2.5, 3.0, 3.9):
        found = buffer.lookup_transform_core("map", "robot", at(seconds))
        assert xyz(found)[0] == pytest.approx(3.0 * seconds)


def test_a_newer_sample_of_the_same_stamp_wins():
    buffer = filled(transform("map", "robot", 1.0, (1, 0, 0)))
    buffer.set_transform(transform("map", "robot", 1.0, (2, 0, 0)), "correction")
    assert xyz(buffer.lookup_transform_core("map", "robot", at(1.0))) == (2, 0, 0)


def test_a_change_of_parent_is_not_interpolated_across():
    before = [transform("left_hand", "cup", s, (s, 0, 0)) for s in (1.0, 2.0)]
    after = [transform("right_hand", "cup", s, (0, s, 0)) for s in (4.0, 5.0)]
    hands = [transform("map", hand, s) for hand in ("left_hand", "right_hand") for s in (0.5, 6.0)]
    buffer = filled(*hands, *before, *after)
    assert xyz(buffer.lookup_transform_core("map", "cup", at(1.5))) == pytest.approx((1.5, 0, 0))
    assert xyz(buffer.lookup_transform_core("map", "cup", at(3.9))) == (2.0, 0, 0)
    assert xyz(buffer.lookup_transform_core("map", "cup", at(4.5))) == pytest.approx((0, 4.5, 0))


def test_a_frame_can_turn_static_and_move_again():
    buffer = filled(*moving())
    buffer.set_transform_static(transform("map", "robot", 0.0, (9, 9, 9)), "parked")
    assert xyz(buffer.lookup_transform_core("map", "robot", at(100.0))) == (9, 9, 9)
    buffer.set_transform(transform("map", "robot", 2.0, (1, 1, 1)), "driving")
    assert not buffer.can_transform_core("map", "robot", at(100.0))[0]


@pytest.mark.parametrize(
    "bad",
    [
        transform("map", "robot", 1.0, (math.nan, 0, 0)),
        transform("map", "robot", 1.0, wxyz=(math.nan, 0, 0, 0)),
        transform("map", "robot", 1.0, wxyz=(0, 0, 0, 0)),
        transform("map", "robot", 1.0, wxyz=(1.01, 0, 0, 0)),
        transform("map", "map", 1.0),
        transform("", "robot", 1.0),
        transform("map", "", 1.0),
    ],
)
def test_a_transform_that_cannot_be_right_is_refused(bad):
    buffer = BufferCore()
    assert buffer.set_transform(bad, "test") is None
    buffer.set_transform_static(bad, "test")
    assert buffer._getFrameStrings() == []


def test_a_quaternion_nearly_of_unit_length_and_leading_slashes_are_accepted():
    buffer = filled(transform("/map", "/robot", 1.0, wxyz=(1.002, 0, 0, 0)))
    assert buffer.can_transform_core("map", "robot", at(1.0)) == (True, "")
    assert buffer._frameExists("robot")
    assert not buffer._frameExists("/robot")


def test_two_times_are_joined_through_a_fixed_frame():
    buffer = filled(*moving(), *moving("other", speed=-1.0))
    ask = ("robot", at(4.0), "other", at(1.5), "map")
    found = buffer.lookup_transform_full_core(*ask)
    assert xyz(found) == pytest.approx((-1.5 - 12.0, 0, 0))
    assert Time.from_msg(found.header.stamp).nanoseconds == at(4.0).nanoseconds
    assert buffer.can_transform_full_core(*ask) == (True, "")
    assert not buffer.can_transform_full_core("robot", at(9.0), "other", at(1.5), "map")[0]
    assert not buffer.can_transform_full_core("robot", at(4.0), "other", at(1.5), "mars")[0]
    assert buffer._chain(*ask) == ["other", "map", "robot"]


def test_velocity_on_a_straight_line():
    buffer = filled(*moving(seconds=[0.5 * i for i in range(1, 9)]))
    linear, angular = buffer.lookupVelocityCore("robot", "map", at(2.0), Duration(seconds=1))
    assert linear == pytest.approx((3.0, 0, 0))
    assert angular == pytest.approx((0, 0, 0))


def test_velocity_of_a_point_on_a_turntable():
    rate = 0.5
    samples = [
        transform("map", "table", s, wxyz=about_z(math.degrees(rate * s)))
        for s in np.arange(1.0, 5.0, 0.05)
    ]
    buffer = filled(*samples, static=[transform("map", "viewer", 0, wxyz=about_z(90))])
    heading = rate * 3.0
    linear, angular = buffer.lookupVelocityFullCore(
        "table", "map", "map", (2.0, 0.0, 0.0), "table", at(3.0), Duration(seconds=0.1)
    )
    assert angular == pytest.approx((0, 0, rate), abs=1e-6)
    assert linear == pytest.approx((-math.sin(heading), math.cos(heading), 0), abs=1e-3)
    turned, _ = buffer.lookupVelocityFullCore(
        "table", "map", "viewer", (2.0, 0.0, 0.0), "table", at(3.0), Duration(seconds=0.1)
    )
    assert turned == pytest.approx((linear[1], -linear[0], 0), abs=1e-9)


def test_the_tree_can_be_read_as_yaml_text_and_graph():
    buffer = filled(*moving(), static=[transform("robot", "camera")])
    frames = yaml.safe_load(buffer.all_frames_as_yaml())
    assert frames["robot"] == {
        "parent": "map",
        "broadcaster": "test",
        "rate": pytest.approx(4 / 3, abs=1e-3),
        "most_recent_transform": 4.0,
        "oldest_transform": 1.0,
        "buffer_length": 3.0,
    }
    assert set(frames) == {"robot", "camera"}
    assert yaml.safe_load(BufferCore().all_frames_as_yaml()) == []
    assert "Frame robot exists with parent map.\n" in buffer.all_frames_as_string()
    assert '"map" -> "robot"' in buffer._allFramesAsDot()


def test_times_may_be_messages_and_anything_else_is_a_type_error():
    buffer = filled(*moving())
    assert buffer.can_transform_core("map", "robot", at(2.0).to_msg())[0]
    for time in (2.0, None):
        with pytest.raises(TypeError, match="time must have sec and nanosec, or nanoseconds"):
            buffer.can_transform_core("map", "robot", time)
    with pytest.raises(TypeError, match="frame name must be str"):
        buffer.lookup_transform_core(None, "robot", at(2.0))


def test_readers_and_writers_share_a_buffer():
    buffer, stop, wrong = filled(*moving()), threading.Event(), []

    def read():
        while not stop.is_set():
            found = buffer.lookup_transform_core("map", "robot", Time())
            seconds = Time.from_msg(found.header.stamp).nanoseconds / 1e9
            if abs(xyz(found)[0] - 3.0 * seconds) > 1e-6:
                wrong.append(found)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    for i in range(1500):
        seconds = 4.0 + 0.02 * i
        buffer.set_transform(transform("map", "robot", seconds, (3.0 * seconds, 0, 0)), "writer")
    stop.set()
    for thread in readers:
        thread.join()
    assert wrong == []
