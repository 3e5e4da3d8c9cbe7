"""All cases of waiting, with a clock that the test moves."""

import numpy as np
import pytest

from govnesf_ros.calibration import Intrinsics
from govnesf_ros.conversions import BadInput
from govnesf_ros.frame_buffer import BufferConfig, FrameBuffer, TransformUnavailable
from govnesf_ros.ledger import FrameLedger

FRAME = "camera_optical"
MS = 1_000_000
INFO = Intrinsics(np.diag([500.0, 500.0, 1.0]), 640, 480)
SMALL = Intrinsics(np.diag([250.0, 250.0, 1.0]), 320, 240)


class Clock:
    def __init__(self) -> None:
        self.time = self.wall = 100.0

    def now(self) -> float:
        return self.time

    def steady(self) -> float:
        return self.wall

    def advance(self, seconds: float) -> None:
        self.time += seconds
        self.wall += seconds


class Transforms:
    """Knows the camera's pose at the stamps that a test has announced."""

    def __init__(self) -> None:
        self.known: set[int] = set()
        self.everything = True

    def try_lookup(self, frame_id: str, stamp: int) -> np.ndarray | None:
        T = np.eye(4)
        T[0, 3] = stamp / 1e9
        return T if self.everything or stamp in self.known else None

    def explain(self, frame_id: str, stamp: int) -> TransformUnavailable:
        return TransformUnavailable("no_transform", f"frame '{frame_id}' is not connected")


class Rig:
    """A buffer with everything around it."""

    def __init__(self, **config) -> None:
        self.clock, self.tf, self.said = Clock(), Transforms(), []
        self.ledger = FrameLedger(self.said.append, self.clock.steady)
        self.depth_published, self.jumps = True, 0
        self.buffer = FrameBuffer(
            BufferConfig(**{"depth": "off", "timeout": 1.0, **config}),
            self.tf,
            self.clock,
            self.ledger,
            depth_expected=lambda: self.depth_published,
            on_time_jump=self._count_jump,
        )

    def _count_jump(self) -> None:
        self.jumps += 1

    def image(self, ms: int, frame: str = FRAME, size=(640, 480)) -> None:
        self.buffer.add_image(ms * MS, frame, f"image {ms}", size)

    def info(self, ms: int, info=INFO, frame: str = FRAME) -> None:
        self.buffer.add_camera_info(ms * MS, frame, info)

    def ready(self) -> list[int]:
        return [frame.stamp // MS for frame in self.buffer.take_ready()]

    @property
    def reasons(self) -> dict[str, int]:
        return self.ledger.counts().reasons


def test_a_complete_image_goes_out_at_once_with_what_belongs_to_it() -> None:
    rig = Rig(depth="required")
    rig.info(10)
    rig.buffer.add_depth(12 * MS, "depth 12")
    rig.image(10)
    (frame,) = rig.buffer.take_ready()
    assert (frame.stamp, frame.frame_id, frame.image) == (10 * MS, FRAME, "image 10")
    assert frame.depth == "depth 12"
    assert frame.intrinsics is INFO
    assert frame.T_map_camera[0, 3] == pytest.approx(0.010)
    assert rig.ledger.counts().waiting == 1  # the receiver has it now
    assert len(rig.buffer) == 0


def test_a_late_transform_is_waited_for() -> None:
    rig = Rig()
    rig.tf.everything = False
    rig.info(10)
    rig.image(10)
    rig.clock.advance(0.9)
    assert rig.ready() == []
    rig.tf.known.add(10 * MS)
    assert rig.ready() == [10]
    assert rig.reasons == {}


def test_no_transform_until_the_deadline_is_a_counted_drop_with_a_sentence() -> None:
    rig = Rig()
    rig.tf.everything = False
    rig.info(10)
    rig.image(10)
    rig.clock.advance(1.01)
    assert rig.ready() == []
    assert rig.reasons == {"no_transform": 1}
    assert rig.said == ["frame 'camera_optical' is not connected"]
    rig.tf.everything = True
    assert rig.ready() == []  # gone is gone


def test_one_image_waiting_holds_up_no_other() -> None:
    rig = Rig()
    rig.tf.everything = False
    rig.tf.known = {20 * MS, 30 * MS}
    for ms in (10, 20, 30):
        rig.info(ms)
        rig.image(ms)
    assert rig.ready() == [20, 30]
    rig.tf.known.add(10 * MS)
    assert rig.ready() == [10]


def test_camera_info_of_the_same_stamp_is_preferred() -> None:
    rig = Rig()
    zoomed = Intrinsics(np.diag([900.0, 900.0, 1.0]), 640, 480)
    rig.info(10)
    rig.image(20)
    rig.info(20, zoomed)
    (frame,) = rig.buffer.take_ready()
    assert frame.intrinsics is zoomed


def test_camera_info_of_another_stamp_does_after_a_moment() -> None:
    rig = Rig()
    rig.info(10)
    rig.image(20)
    assert rig.ready() == []
    rig.clock.advance(0.11)
    assert rig.ready() == [20]


def test_intrinsics_follow_a_change_of_resolution() -> None:
    rig = Rig()
    rig.info(10)
    rig.info(20, SMALL)
    rig.image(30, size=(320, 240))
    rig.image(31, size=(640, 480))
    rig.clock.advance(0.2)
    frames = rig.buffer.take_ready()
    assert [frame.intrinsics for frame in frames] == [SMALL, INFO]


@pytest.mark.parametrize(
    ("infos", "words"),
    [
        ([], "no camera_info has arrived"),
        ([("other_camera", INFO)], "only for the frames: other_camera"),
        ([(FRAME, SMALL)], "for 320x240 pixels, the image has 640x480"),
    ],
)
def test_missing_camera_info_says_what_is_there_instead(infos, words) -> None:
    rig = Rig()
    for frame, info in infos:
        rig.info(10, info, frame)
    rig.image(20)
    rig.clock.advance(1.01)
    assert rig.ready() == []
    assert rig.reasons == {"no_camera_info": 1}
    assert words in rig.said[0]


def test_camera_info_of_zeros_is_refused_at_once() -> None:
    rig = Rig()
    rig.info(10, BadInput("bad_camera_info", "the camera is not calibrated"))
    rig.image(10)
    assert rig.ready() == []
    assert rig.reasons == {"bad_camera_info": 1}
    assert rig.said == ["the camera is not calibrated"]


def test_an_old_refusal_does_not_speak_for_a_camera_that_is_calibrated_by_now() -> None:
    rig = Rig()
    rig.info(10, BadInput("bad_camera_info", "the camera is not calibrated"))
    rig.info(20)
    rig.image(30)
    rig.image(31, size=(320, 240))
    rig.clock.advance(0.2)
    assert rig.ready() == [30]
    rig.clock.advance(1.0)
    assert rig.ready() == []
    assert rig.reasons == {"no_camera_info": 1}


def test_the_nearest_depth_within_the_slop_is_taken() -> None:
    rig = Rig(depth="required", depth_slop=0.02)
    rig.info(100)
    for ms in (70, 95, 112):
        rig.buffer.add_depth(ms * MS, ms)
    rig.image(100)
    (frame,) = rig.buffer.take_ready()
    assert frame.depth == 95


def test_required_depth_that_never_comes_is_a_drop() -> None:
    rig = Rig(depth="required", depth_slop=0.02)
    rig.info(100)
    rig.buffer.add_depth(130 * MS, 130)
    rig.image(100)
    rig.clock.advance(1.01)
    assert rig.ready() == []
    assert rig.reasons == {"no_depth": 1}
    assert "the nearest is 0.030 s away" in rig.said[0]


def test_automatic_depth_waits_only_for_a_publisher_and_goes_without_at_the_deadline() -> None:
    rig = Rig(depth="auto")
    for ms in (100, 200):
        rig.info(ms)
        rig.image(ms)
        if ms == 100:
            assert rig.ready() == []
            rig.clock.advance(1.01)
            assert rig.ready() == [100]
            assert "used without depth" in rig.said[0]
            rig.depth_published = False
        else:
            assert rig.ready() == [200]
    assert rig.reasons == {}


def test_the_queue_is_bounded_and_the_oldest_gives_way() -> None:
    rig = Rig(capacity=3)
    rig.tf.everything = False
    for ms in range(10, 60, 10):
        rig.info(ms)
        rig.image(ms)
    assert len(rig.buffer) == 3
    assert rig.reasons == {"queue_full": 2}
    assert "lacks: a transform" in rig.said[0]
    rig.tf.everything = True
    assert rig.ready() == [30, 40, 50]


def test_an_empty_frame_id_is_refused_with_advice() -> None:
    rig = Rig()
    rig.image(10, frame="")
    assert rig.reasons == {"unknown_frame": 1}
    assert "empty frame_id" in rig.said[0]


def test_stamps_that_run_backwards_start_a_new_time_line() -> None:
    rig = Rig()
    rig.tf.everything = False
    for ms in (5000, 5100):
        rig.info(ms)
        rig.image(ms)
    rig.image(100)  # a bag that starts again
    assert rig.reasons == {"clock_jump": 2}
    assert rig.jumps == 1
    assert len(rig.buffer) == 1
    assert rig.buffer.newest_stamp == 100 * MS
    # Half a second out of order is no jump.
    rig.image(1000)
    rig.image(500)
    assert rig.jumps == 1
    rig.tf.everything = True
    rig.info(100)
    rig.clock.advance(0.2)
    assert rig.ready() == [100, 500, 1000]


def test_a_simulated_clock_decides_how_long_images_wait() -> None:
    rig = Rig(timeout=1.0)
    rig.tf.everything = False
    rig.info(10)
    rig.image(10)
    rig.clock.wall += 5.0  # a slow simulation: hardly any time has passed in it
    rig.clock.time += 0.5
    assert rig.ready() == []
    assert len(rig.buffer) == 1
    rig.clock.wall += 10.0  # a simulation that stands still must not hold images for ever
    assert rig.ready() == []
    assert rig.reasons == {"no_transform": 1}


def test_a_flush_drops_all_with_its_reason() -> None:
    rig = Rig()
    rig.tf.everything = False
    for ms in (10, 20):
        rig.image(ms)
    rig.buffer.flush("clock_jump", "the clock jumped back")
    assert rig.reasons == {"clock_jump": 2}
    assert rig.ledger.counts().waiting == 0


def test_what_came_just_before_the_first_image_of_a_new_time_is_kept() -> None:
    rig = Rig(depth="required")
    rig.buffer.add_camera_info(900_000 * MS, FRAME, SMALL)
    rig.buffer.add_image(900_000 * MS, FRAME, "old")
    rig.buffer.add_camera_info(1000 * MS, FRAME, INFO)
    rig.buffer.add_depth(1000 * MS, "depth")
    rig.buffer.add_image(1000 * MS, FRAME, "new")
    (frame,) = rig.buffer.take_ready()
    assert (frame.image, frame.depth, frame.intrinsics) == ("new", "depth", INFO)
    assert rig.ledger.counts().reasons == {"clock_jump": 1}


@pytest.mark.parametrize("stamp", [0, -5])
def test_images_without_a_usable_stamp_are_refused_at_once(stamp) -> None:
    # TF would take 0 for "the newest", wherever the camera was by then, and no stamp below it.
    rig = Rig()
    rig.buffer.add_camera_info(stamp, FRAME, INFO)
    rig.buffer.add_image(stamp, FRAME, "image")
    assert rig.buffer.take_ready() == []
    assert rig.ledger.counts().reasons == {"bad_stamp": 1}
    assert "must stamp them" in rig.said[0]
