"""The stream is the written rooms, in a fixed order, however many processes render it."""

from itertools import islice

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from govnesf_model.data.posed_scene import open_scene
from govnesf_model.data.synthetic import assets, generate
from govnesf_model.data.synthetic.generate import Settings, generate_scene
from govnesf_model.data.synthetic.stream import RoomStream, rooms_stream

SMALL = Settings(views=3, width=64, height=48, assets="procedural")


def _print(frame):
    pixels = tuple(int(a.sum()) for a in (frame.rgb, frame.label, frame.instance))
    return (frame.room.seed, frame.index, *pixels, float(frame.depth.sum()))


@pytest.fixture(scope="module")
def frames():
    return list(rooms_stream("train", 11, SMALL, rooms=3))


def test_frames_come_room_by_room(frames):
    assert [(f.room.seed, f.index) for f in frames] == [
        (s, i) for s in (11, 12, 13) for i in range(3)
    ]
    assert all(f.room.split == "train" for f in frames)


def test_a_stream_follows_from_its_arguments_alone(frames):
    again = list(rooms_stream("train", 11, SMALL, rooms=3, workers=2))
    for a, b in zip(frames, again, strict=True):
        for field in ("rgb", "depth", "label", "instance", "T_world_camera"):
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
        assert a.room.instances == b.room.instances


def test_the_stream_is_what_is_written(frames, tmp_path):
    png = Settings(**{**SMALL.__dict__, "image_suffix": ".png"})
    exact = open_scene(generate_scene(tmp_path / "a", 11, "train", png))
    jpeg = open_scene(generate_scene(tmp_path / "b", 11, "train", SMALL))
    for frame in frames[:3]:
        written = exact[frame.index]
        np.testing.assert_array_equal(written.rgb, frame.rgb)
        np.testing.assert_array_equal(written.label, frame.label)
        np.testing.assert_allclose(written.depth, frame.depth, atol=5.1e-4)  # whole millimetres
        np.testing.assert_allclose(written.T_world_camera, frame.T_world_camera, atol=1e-7)
        np.testing.assert_allclose(written.K, frame.room.K, rtol=1e-8)
        path = tmp_path / "a" / "instance" / f"{written.name}.png"
        ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(ids, frame.instance)
        off = jpeg[frame.index].rgb.astype(float) - frame.rgb
        assert np.abs(off).mean() < 6
        assert abs(off.mean()) < 1
    assert exact.classes == frames[0].room.classes


def test_mixed_rooms_show_every_frame_once_in_a_fixed_order(frames):
    mixed = [_print(f) for f in rooms_stream("train", 11, SMALL, rooms=3, mix=2)]
    assert mixed == [_print(f) for f in rooms_stream("train", 11, SMALL, rooms=3, mix=2)]
    assert mixed != [_print(f) for f in frames]
    assert sorted(mixed) == sorted(_print(f) for f in frames)
    assert {m[0] for m in mixed[:6]} == {11, 12}


def test_parts_share_the_rooms():
    halves = [rooms_stream("train", 11, SMALL, rooms=3, part=k, parts=2) for k in (0, 1)]
    assert [sorted({f.room.seed for f in half}) for half in halves] == [[11, 13], [12]]


def test_a_stream_has_no_end_and_can_be_left():
    stream = rooms_stream("val", 5, SMALL, workers=1)
    assert [f.room.seed for f in islice(stream, 4)] == [5, 5, 5, 6]
    stream.close()


def test_torch_loads_it(frames):
    loader = DataLoader(RoomStream("train", 11, SMALL, rooms=3), batch_size=None, collate_fn=_print)
    assert list(loader) == [_print(f) for f in frames]


def test_rooms_without_views_are_left_out_until_it_is_too_much(monkeypatch):
    rooms = {20: [], 21: ["a", "b"], 22: []}
    monkeypatch.setattr("govnesf_model.data.synthetic.stream.render_room_or_none",
                        lambda job: rooms.get(job[0]))  # fmt: skip
    assert list(rooms_stream("train", 20, SMALL, rooms=3)) == ["a", "b"]
    with pytest.raises(ValueError, match="20 rooms in a row have no 3 free views"):
        list(rooms_stream("train", 30, SMALL))


def test_what_is_wrong_is_said_at_once(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="unknown split 'trian'"):
        rooms_stream("trian", 0, SMALL)
    monkeypatch.setattr(assets, "FOLDERS", (tmp_path,))
    generate._catalogues.cache_clear()
    with pytest.raises(FileNotFoundError, match="govnesf data assets"):
        rooms_stream("train", 0)
