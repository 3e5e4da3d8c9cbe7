"""Publishers, sender and services on a real graph, with a map whose truth is exact."""

import numpy as np
import pytest
from furnished_room import COLORS, NAMES, TABLE
from govnesf_ros.srv import QueryText, SetVocabulary
from sensor_msgs_py import point_cloud2
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from govnesf_model.palette import label_colors


def test_a_query_answers_with_boxes_cloud_and_mask(robot) -> None:
    reply = robot.call(
        QueryText, "query", texts=[" table ", "mug"], return_cloud=True, return_mask=True
    )
    assert reply.success
    assert reply.texts == ["table", "mug"]
    assert reply.message.startswith("table: 1 found")
    best = reply.detections.detections[0]
    assert best.results[0].hypothesis.class_id == "table"
    center = best.bbox.center.position
    assert np.allclose([center.x, center.y], TABLE.center[:2], atol=0.1)
    header = reply.cloud.header
    assert (header.frame_id, header.stamp.sec, header.stamp.nanosec) == ("map", 1_700_000_000, 4)
    assert reply.detections.header == header
    assert (reply.mask.header.frame_id, reply.mask.header.stamp) == ("optical", header.stamp)
    points = point_cloud2.read_points(reply.cloud)
    red = np.abs(robot.map.snapshot().rgb.astype(int) - COLORS[0]).sum(1) < 30
    assert (points["label"][red] == 1).mean() > 0.9
    assert points["relevancy"][red].mean() > 0.8 > 0.2 > points["relevancy"][~red].mean()
    mask = np.frombuffer(reply.mask.data, np.uint8).reshape(120, 160)
    assert np.array_equal(np.unique(mask), [0, 1, 2])


def test_without_a_wish_cloud_and_mask_stay_out_of_the_reply(robot) -> None:
    reply = robot.call(QueryText, "query", texts=["table"])
    assert (reply.cloud.width, reply.mask.width) == (0, 0)
    # They are published in any case.
    assert robot.wait("query/cloud", 1).width == len(robot.map.snapshot().xyz)
    assert robot.wait("query/mask", 1).width == 160


def test_the_last_query_stays_active_until_an_empty_one_ends_it(robot) -> None:
    robot.map.reset()
    robot.add(0)
    robot.call(QueryText, "query", texts=["table"])
    robot.wait("query/mask", 1)
    assert [c.class_name for c in robot.wait("query/labels", 1).class_map] == ["table"]
    robot.add(1)
    robot.refresh()
    assert robot.wait("query/mask", 2).header.stamp.nanosec == 2
    robot.refresh()  # nothing has changed: nothing is sent
    reply = robot.call(QueryText, "query", texts=[])
    assert reply.success
    assert "ended" in reply.message
    assert robot.wait("query/cloud", 3).width == 0
    assert len(robot.wait("query/markers", 3).markers) == 1  # DELETEALL
    assert robot.wait("query/detections", 3).detections == []
    assert len(robot.got["query/mask"]) == 2


def test_query_text_takes_commas(robot) -> None:
    publisher = robot.client.create_publisher(String, "govnesf/query_text", 1)
    robot.graph.spin_until(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(String(data="table, mug"))
    assert [c.class_name for c in robot.wait("query/labels", 1).class_map] == ["table", "mug"]


def test_the_semantic_cloud_has_the_colours_of_its_labels(robot) -> None:
    robot.refresh()
    cloud = robot.wait("semantic_cloud", 1)
    points = point_cloud2.read_points(cloud)
    packed = points["rgb"].copy().view(np.uint32)
    rgb = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1)
    labelled = points["label"] > 0
    assert labelled.mean() > 0.9
    assert np.array_equal(rgb[labelled], label_colors(len(NAMES))[points["label"][labelled]])
    assert {"confidence", "label"} <= {field.name for field in cloud.fields}
    assert [c.class_name for c in robot.wait("labels", 1).class_map] == list(NAMES)


def test_set_vocabulary_changes_the_labels_and_refuses_nonsense(robot) -> None:
    reply = robot.call(SetVocabulary, "set_vocabulary", texts=["mug", "mug ", "floor"])
    assert reply.success
    assert reply.texts == ["mug", "floor"]
    robot.graph.spin_until(lambda: len(robot.got["labels"]) >= 1)
    assert [c.class_name for c in robot.got["labels"][-1].class_map] == ["mug", "floor"]
    reply = robot.call(SetVocabulary, "set_vocabulary", texts=[f"word {i}" for i in range(1000)])
    assert not reply.success
    assert "1000 texts were given, at most 254" in reply.message
    assert robot.answers.vocabulary == ("mug", "floor")


def test_reset_empties_the_map_and_pause_stops_it(robot) -> None:
    assert robot.call(Trigger, "reset").success
    assert len(robot.map.snapshot().xyz) == 0
    assert robot.call(SetBool, "pause", data=True).success
    assert robot.mapper.paused
    assert robot.call(SetBool, "pause", data=False).success
    assert not robot.mapper.paused


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"texts": ["mug", "  "]}, "text 2 is empty"),
        ({"texts": ["x" * 5000]}, "5000 characters, at most 256"),
        ({"texts": [f"thing {i}" for i in range(1000)]}, "1000 texts were given, at most 254"),
        ({"texts": ["mug\x07"]}, "control characters"),
        ({"texts": ["mug"], "min_score": 1.5}, "min_score is 1.5"),
        ({"texts": ["mug"], "min_score": float("nan")}, "min_score is nan"),
        ({"texts": ["mug"], "contrast": ["y" * 300]}, "contrast word 1"),
    ],
)
def test_bad_queries_get_a_sentence_and_change_nothing(robot, request_, words) -> None:
    robot.call(QueryText, "query", texts=["table"])
    active, before = robot.answers.active, robot.map.snapshot()
    reply = robot.call(QueryText, "query", **request_)
    assert not reply.success
    assert words in reply.message
    assert robot.answers.active is active
    assert robot.map.snapshot() is before


def test_a_query_on_an_empty_map_says_so_and_has_a_stamp(make_robot) -> None:
    robot = make_robot(0)
    reply = robot.call(QueryText, "query", texts=["mug"], return_cloud=True, return_mask=True)
    assert reply.success
    assert "the map is empty" in reply.message
    assert reply.detections.detections == []
    assert reply.cloud.width == 0
    assert reply.cloud.header.stamp.sec > 0
    assert reply.detections.header.frame_id == "map"
