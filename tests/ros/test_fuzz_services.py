"""Any request into every service of a node with a map: it is answered, and the map stays.

The handlers are called as rclpy calls them; the requests are what DDS can carry.
"""

import re

import numpy as np
import pytest
from furnished_room import NAMES
from fuzz import TEXTS, fuzz, messages
from geometry_msgs.msg import PoseStamped
from govnesf_ros.srv import MapFile, QueryText, RenderView, SegmentCloud, SetVocabulary
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, PointCloud2, PointField
from std_msgs.msg import Header, String
from std_srvs.srv import SetBool, Trigger

FRAME_IDS = st.one_of(st.sampled_from(["map", "/map", "optical", "nowhere", ""]), TEXTS)
HEADERS = messages(Header, frame_id=FRAME_IDS)
WORDS = st.lists(
    st.one_of(
        st.sampled_from([*NAMES, " mug ", "unicorn", "", "x" * 300, "\N{REPLACEMENT CHARACTER}"]),
        TEXTS,
    ),
    max_size=4,
)
SCORES = st.one_of(st.just(0.0), st.floats(0, 1, width=32), st.floats(width=32))
XYZ = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate("xyz")]
POINTS = st.lists(st.tuples(*[st.floats(-3, 3, width=32)] * 3), max_size=20).map(
    lambda rows: np.array(rows, np.float32).reshape(-1, 3)
)
CLOUDS = st.one_of(
    st.builds(
        lambda header, points: PointCloud2(
            header=header,
            height=1,
            width=len(points),
            fields=XYZ,
            point_step=12,
            row_step=12 * len(points),
            data=points.tobytes(),
        ),
        HEADERS,
        POINTS,
    ),
    messages(PointCloud2, header=HEADERS, width=st.integers(0, 9), height=st.integers(0, 9)),
)
CAMERAS = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.floats(1, 20)).map(
        lambda whf: CameraInfo(
            width=whf[0],
            height=whf[1],
            k=[whf[2], 0.0, whf[0] / 2, 0.0, whf[2], whf[1] / 2, 0.0, 0.0, 1.0],
        )
    ),
    messages(CameraInfo),
)
PATHS = st.one_of(
    TEXTS,
    st.sampled_from(["..", "../x", "/etc", "~", "a/../../b", ".", "", "nothing", "x" * 2000]),
    st.lists(st.sampled_from(["a", "..", ".", "b c", "\n"]), max_size=5).map("/".join),
)
REQUESTS = {
    "query": messages(QueryText.Request, texts=WORDS, contrast=WORDS, min_score=SCORES),
    "set_vocabulary": messages(SetVocabulary.Request, texts=WORDS),
    "segment_cloud": messages(SegmentCloud.Request, cloud=CLOUDS, texts=WORDS, contrast=WORDS),
    "render_view": messages(
        RenderView.Request,
        pose=messages(PoseStamped, header=HEADERS),
        camera_info=CAMERAS,
        texts=WORDS,
    ),
    "load_map": messages(MapFile.Request, path=PATHS),
    "save_map": messages(MapFile.Request, path=PATHS),
    "pause": messages(SetBool.Request),
    "reset": messages(Trigger.Request),
}
KINDS = {
    "query": QueryText,
    "set_vocabulary": SetVocabulary,
    "segment_cloud": SegmentCloud,
    "render_view": RenderView,
    "load_map": MapFile,
    "save_map": MapFile,
    "pause": SetBool,
    "reset": Trigger,
}


@pytest.fixture
def fuzzed(make_robot, tmp_path):
    robot = make_robot(
        2, maps_dir=str(tmp_path), max_render_pixels=200, lookup_timeout=20.0, tf_timeout=0.0
    )
    robot.handlers = {
        service.srv_name.rpartition("/")[2]: service.callback for service in robot.node.services
    }
    return robot


def test_every_service_of_ours_is_fuzzed(fuzzed) -> None:
    own = {name for name in fuzzed.handlers if "parameter" not in name and "type" not in name}
    assert own == set(REQUESTS) == set(KINDS)


def ask(robot, name: str, request):
    """Call a handler; return its response after what holds of all of them."""
    before, vocabulary = robot.map.snapshot(), robot.answers.vocabulary
    response = robot.handlers[name](request, KINDS[name].Response())
    assert isinstance(response, KINDS[name].Response)
    assert response.message
    assert not re.match(r"\w+ failed: ", response.message), response.message
    if not response.success:
        assert robot.answers.vocabulary == vocabulary
    if name not in ("reset", "load_map") or not response.success:
        assert robot.map.snapshot() is before
    return response


@fuzz(REQUESTS["query"], fast=60, slow=1500)
def test_query(request, fuzzed) -> None:
    response = ask(fuzzed, "query", request)
    if response.success and request.texts:
        assert 1 <= len(response.texts) <= len(request.texts)
        assert request.return_cloud == (response.cloud.width > 0)


@fuzz(REQUESTS["set_vocabulary"], fast=40, slow=1000)
def test_set_vocabulary(request, fuzzed) -> None:
    response = ask(fuzzed, "set_vocabulary", request)
    if response.success:
        assert tuple(response.texts) == fuzzed.answers.vocabulary


@fuzz(REQUESTS["segment_cloud"], fast=40, slow=1500)
def test_segment_cloud(request, fuzzed) -> None:
    response = ask(fuzzed, "segment_cloud", request)
    if response.success:
        assert (response.cloud.width, response.cloud.height) == (
            request.cloud.width,
            request.cloud.height,
        )


@fuzz(REQUESTS["render_view"], fast=15, slow=300)
def test_render_view(request, fuzzed) -> None:
    response = ask(fuzzed, "render_view", request)
    if response.success:
        assert len(response.rgb.data) == 3 * response.rgb.width * response.rgb.height


@fuzz(REQUESTS["load_map"], fast=40, slow=500)
def test_load_map(request, fuzzed) -> None:
    assert not ask(fuzzed, "load_map", request).success  # no map was ever saved there


@fuzz(REQUESTS["save_map"], fast=10, slow=100)
def test_save_map_writes_into_its_folder_and_nowhere_else(request, fuzzed, tmp_path) -> None:
    beside = {path for path in tmp_path.parent.iterdir() if path != tmp_path}
    response = ask(fuzzed, "save_map", request)
    assert {path for path in tmp_path.parent.iterdir() if path != tmp_path} == beside
    if response.success:
        assert str(tmp_path) in response.message


@fuzz(REQUESTS["pause"], fast=10, slow=50)
def test_pause(request, fuzzed) -> None:
    assert ask(fuzzed, "pause", request).success
    assert fuzzed.mapper.paused == request.data


@fuzz(TEXTS, fast=40, slow=1000)
def test_query_text(text, fuzzed) -> None:
    before = fuzzed.map.snapshot()
    (heard,) = (s for s in fuzzed.node.subscriptions if s.topic_name.endswith("/query_text"))
    heard.callback(String(data=text))
    assert fuzzed.map.snapshot() is before


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("reset", "save_map")])
def test_an_encoder_that_raises_costs_an_answer_and_nothing_else(fuzzed, name) -> None:
    request = KINDS[name].Request()
    if name in ("query", "set_vocabulary"):
        request.texts = ["mug"]
    before = fuzzed.map.snapshot()
    encode = fuzzed.answers._vlm.encode_texts

    def fail(texts):
        raise RuntimeError("the encoder has lost its weights")

    fuzzed.answers._vlm.encode_texts = fail
    try:
        response = fuzzed.handlers[name](request, KINDS[name].Response())
    finally:
        fuzzed.answers._vlm.encode_texts = encode
    assert response.message
    if name in ("query", "set_vocabulary"):
        assert not response.success
        assert "the encoder has lost its weights" in response.message
    assert fuzzed.map.snapshot() is before
    assert fuzzed.handlers["query"](QueryText.Request(texts=["mug"]), QueryText.Response()).success
