"""Frames into a real map: every outcome is in the ledger, bad ones leave the map as it was."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from furnished_room import NAMES, ColorEncoder, room_frames

from govnesf_model.field import FieldConfig, GovNesf
from govnesf_model.query import Query
from govnesf_model.scene_map import MapConfig, SceneMap
from govnesf_ros.answers import Answers, keyframe_mask, overlay_picture
from govnesf_ros.calibration import Intrinsics, Straightener
from govnesf_ros.frame_buffer import ReadyFrame
from govnesf_ros.ledger import FrameLedger
from govnesf_ros.mapping import Mapper, keyframe_header
from govnesf_ros.messages import header_message, image_message

START = 1_700_000_000_123_456_789
FRAMES = room_frames(6)


def ready(ledger: FrameLedger, index: int, **changes) -> ReadyFrame:
    frame = FRAMES[index]
    height, width = frame.rgb.shape[:2]
    stamp = START + index * 1_000_000_000
    header = header_message(stamp, "optical")
    values = {
        "token": ledger.receive(),
        "stamp": stamp,
        "frame_id": "optical",
        "image": image_message(header, frame.rgb, "rgb8"),
        "intrinsics": Intrinsics(frame.K, width, height),
        "depth": image_message(header, frame.depth, "32FC1"),
        "T_map_camera": frame.T_world_camera,
    }
    return ReadyFrame(**{**values, **changes})


class Rig:
    def __init__(self, field, depth: str = "auto", **config) -> None:
        self.said, self.changes = [], 0
        self.ledger = FrameLedger(self.said.append)
        config = {"image_width": 160, "min_sharpness": 0.0, **config}
        self.map = SceneMap(field, ColorEncoder(), MapConfig(**config))
        self.mapper = Mapper(self.map, self.ledger, depth, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def feed(self, index: int, **changes) -> dict[str, int]:
        self.mapper.process(ready(self.ledger, index, **changes))
        return self.ledger.counts().reasons


@pytest.fixture(scope="module")
def field():
    torch.manual_seed(0)
    config = FieldConfig.small(unet_channels=(4, 4, 4), samples_per_ray=16, voxel_size=0.32)
    return GovNesf(config).eval()


@pytest.fixture(scope="module")
def full(field) -> Rig:
    rig = Rig(field)
    for index in range(len(FRAMES)):
        rig.feed(index)
    return rig


def test_frames_become_keyframes_with_their_exact_header(full) -> None:
    counts = full.ledger.counts()
    assert (counts.used, counts.waiting, counts.reasons) == (6, 0, {})
    newest = full.map.snapshot().keyframes[-1]
    assert keyframe_header(newest) == (START + 5_000_000_000, "optical")
    assert full.changes == 6
    assert full.mapper.timings.total >= full.mapper.timings.encode > 0


def test_a_static_or_paused_camera_is_skipped(field) -> None:
    rig = Rig(field)
    rig.feed(0)
    assert rig.feed(0, stamp=START + 5_000_000_000) == {"static": 1}
    rig.mapper.pause(True)
    assert rig.feed(1) == {"static": 1, "paused": 1}
    rig.mapper.pause(False)
    rig.feed(1)
    assert rig.ledger.counts().used == 2


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"image": "odd"}, "bad_encoding", "encoding 'yuv422_yuy2'"),
        ({"image": "cut"}, "bad_data", "truncated"),
        ({"intrinsics": Intrinsics(np.eye(3), 640, 480)}, "bad_camera_info", "for 640x480"),
    ],
)
def test_bad_images_are_counted_and_leave_the_map_as_it_was(field, changes, reason, words) -> None:
    rig = Rig(field)
    rig.feed(0)
    before = rig.map.snapshot()
    if isinstance(changes.get("image"), str):
        changes = {"image": _broken(changes["image"])}
    assert rig.feed(1, **changes) == {reason: 1}
    assert words in rig.said[0]
    assert rig.map.snapshot() is before
    rig.feed(2)
    assert rig.ledger.counts().used == 2


@pytest.mark.parametrize(("depth", "used"), [("auto", 1), ("required", 0)])
def test_bad_depth_costs_the_frame_only_where_depth_is_required(field, depth, used) -> None:
    rig = Rig(field, depth)
    header = header_message(START, "optical")
    square = image_message(header, np.ones((120, 120), np.float32), "32FC1")
    reasons = rig.feed(0, depth=square)
    assert rig.ledger.counts().used == used
    assert reasons == ({} if used else {"bad_depth": 1})
    assert "aligned_depth_to_color" in rig.said[0]


def test_distorted_images_are_mapped_as_a_pinhole_sees_them(field) -> None:
    rig = Rig(field, image_width=80)
    info = Intrinsics(FRAMES[0].K, 160, 120, distortion=(-0.3,), model="plumb_bob")
    rig.feed(0, intrinsics=info)
    (keyframe,) = rig.map.snapshot().keyframes
    straight = Straightener()(FRAMES[0].rgb, FRAMES[0].depth, info)
    assert straight.K[0, 0] < 0.98 * info.K[0, 0]  # a barrel sees more than its centre's scale says
    assert np.allclose(keyframe.K[0, 0], straight.K[0, 0] / 2)
    assert np.array_equal(
        keyframe.rgb, cv2.resize(straight.rgb, (80, 60), interpolation=cv2.INTER_AREA)
    )
    assert set(np.unique(keyframe.depth)) <= set(np.unique(FRAMES[0].depth))
    assert rig.said == []


def test_depth_of_another_size_than_colour_gives_the_same_map(field) -> None:
    sizes = []
    for step in (1, 2):
        rig = Rig(field, image_width=80)
        depth = FRAMES[0].depth[step // 2 :: step, step // 2 :: step]
        header = header_message(START, "optical")
        rig.feed(0, depth=image_message(header, np.ascontiguousarray(depth), "32FC1"))
        (keyframe,) = rig.map.snapshot().keyframes
        assert keyframe.depth.shape == (60, 80)
        sizes.append(len(rig.map.snapshot().xyz))
    assert rig.said == []
    assert sizes[1] == pytest.approx(sizes[0], rel=0.03)


def test_a_camera_that_changes_its_resolution_goes_on_in_the_map_s_aspect(field) -> None:
    rig = Rig(field, image_width=80)
    rig.feed(0)
    wide = room_frames(6, width=320, height=180)[2]
    header = header_message(START, "optical")
    rig.feed(
        2,
        image=image_message(header, wide.rgb, "rgb8"),
        intrinsics=Intrinsics(wide.K, 320, 180),
        depth=image_message(header, wide.depth, "32FC1"),
    )
    assert rig.ledger.counts().used == 2
    first, second = rig.map.snapshot().keyframes
    assert second.rgb.shape == first.rgb.shape
    assert second.source_size == (240, 180)
    assert second.K[0, 2] == pytest.approx((240 - 1) / 2 / 3 - (1 - 1 / 3) / 2)
    assert "images of 320x180 are cropped" in rig.said[0]
    # What both see is one table: the crop has shifted no ray.
    table = np.abs(rig.map.snapshot().xyz - [0.3, 0.2, 0.7]).max(axis=1) < 0.15
    heights = rig.map.snapshot().xyz[table, 2]
    assert len(heights) > 20
    assert np.percentile(np.abs(heights - 0.7), 80) < 0.04


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory", "lower image_width"),
        (MemoryError(""), "out_of_memory", "lower image_width"),
        (RuntimeError("shapes differ"), "model_error", "RuntimeError: shapes differ"),
    ],
)
def test_an_encoder_that_raises_costs_one_image_and_the_next_one_is_mapped(
    field, error, reason, words
) -> None:
    rig = Rig(field)
    rig.feed(0)
    before = rig.map.snapshot()
    encode = rig.map.vlm.encode_images

    def fail(rgb):
        raise error

    rig.map.vlm.encode_images = fail
    assert rig.feed(1) == {reason: 1}
    assert words in rig.said[0]
    assert rig.map.snapshot() is before
    rig.map.vlm.encode_images = encode
    rig.feed(2)
    assert rig.ledger.counts().used == 2


def test_an_answer_has_a_mask_that_agrees_with_the_truth(full) -> None:
    answers = Answers(full.map, ColorEncoder(), NAMES)
    found = answers.ask(Query(texts=NAMES))
    truth = FRAMES[-1].label
    assert found.mask.shape == truth.shape
    inside = found.mask > 0
    assert inside.mean() > 0.9
    assert (found.mask[inside] == truth[inside]).mean() > 0.95
    picture = overlay_picture(found)
    assert picture.shape[1:] == (160, 3)
    assert picture.shape[0] > 120  # the legend below
    assert answers.last_milliseconds == found.milliseconds > 0


def test_the_mask_has_the_size_of_the_source_image(full) -> None:
    answers = Answers(full.map, ColorEncoder(), NAMES)
    found = answers.ask(Query(texts=("mug",)))
    keyframe = dataclasses.replace(found.keyframe, source_size=(320, 240))
    mask = keyframe_mask(keyframe, found.answer.table)
    assert mask.shape == (240, 320)
    # Twice the size: scores are interpolated, so edges may move by a pixel and nothing else.
    assert found.mask.any()
    assert (mask[::2, ::2] == found.mask).mean() > 0.98
    assert mask.astype(bool).mean() == pytest.approx(found.mask.astype(bool).mean(), rel=0.15)


def test_the_active_query_follows_the_map(field) -> None:
    rig = Rig(field)
    answers = Answers(rig.map, ColorEncoder(), NAMES)
    assert answers.ask_again() is None
    empty = answers.ask(Query(texts=("mug",)))
    assert empty.mask is None
    assert "empty" in empty.answer.message
    rig.feed(0)
    again = answers.ask_again()
    assert again.query is answers.active
    assert again.mask.any()
    answers.end()
    assert answers.ask_again() is None


def test_queries_read_the_snapshot_that_was_prepared_until_a_reset(field) -> None:
    rig = Rig(field)
    rig.feed(0)
    answers = Answers(rig.map, ColorEncoder(), NAMES)
    first = rig.map.snapshot()
    plain = answers.ask(Query(texts=("mug", "table")))
    answers.prepare(first)
    quick = answers.ask(Query(texts=("mug", "table")))
    assert np.array_equal(plain.answer.label, quick.answer.label)
    assert np.allclose(plain.answer.relevancy, quick.answer.relevancy, atol=1e-5)
    rig.feed(1)
    assert answers.ask(Query(texts=("mug",))).snapshot is first
    answers.prepare(rig.map.snapshot())
    assert answers.ask(Query(texts=("mug",))).snapshot is rig.map.snapshot()
    rig.map.reset()
    answers.forget()
    assert "empty" in answers.ask(Query(texts=("mug",))).answer.message


def test_the_vocabulary_labels_the_map_and_survives_a_bad_change(full) -> None:
    answers = Answers(full.map, ColorEncoder(), NAMES)
    labelled = answers.label(full.map.snapshot())
    assert labelled.texts == NAMES
    assert (labelled.label > 0).mean() > 0.9
    assert labelled.confidence.min() >= 0
    warnings = answers.set_vocabulary(["mug", "unicorn"])
    assert answers.vocabulary == ("mug", "unicorn")
    assert len(warnings) == 1
    assert "'unicorn' is not covered" in warnings[0]
    with pytest.raises(ValueError, match="text 1 is empty"):
        answers.set_vocabulary([" "])
    assert answers.vocabulary == ("mug", "unicorn")
    answers.set_vocabulary([])
    assert answers.vocabulary == NAMES


def _broken(kind: str):
    message = image_message(header_message(START, "optical"), FRAMES[0].rgb, "rgb8")
    if kind == "odd":
        message.encoding = "yuv422_yuy2"
    else:
        message.data = message.data[:1000]
    return message
