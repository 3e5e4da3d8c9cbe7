import pytest
import torch
from furnished_room import ColorEncoder, room_frames, write_scene

from govnesf_model.data.posed_scene import open_scene
from govnesf_model.ov_features import OvCache


class Encoder(ColorEncoder):
    """Counts the images that it encodes."""

    def __init__(self, key: str = "color-0123456789ab") -> None:
        self.key = key
        self.count = 0

    def encode_images(self, rgb):
        self.count += len(rgb)
        return super().encode_images(rgb)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    write_scene(tmp_path / "room", room_frames(3, width=80, height=60))
    return tmp_path / "room"


def test_features_are_computed_once_and_are_the_encoder_s(folder):
    scene, encoder = open_scene(folder), Encoder()
    report = OvCache(encoder, (80, 60)).fill(scene)
    assert (report.computed, report.reused) == (3, 0)
    again = OvCache(encoder, (80, 60))
    maps = again.features(scene, 1)
    assert encoder.count == 3
    assert maps.dtype == torch.float16
    rgb = torch.from_numpy(scene[1].rgb).permute(2, 0, 1)[None].float() / 255
    expected = ColorEncoder().encode_images(rgb)[0].permute(1, 2, 0)
    torch.testing.assert_close(maps.float(), expected, atol=1e-3, rtol=0)
    report = again.fill(scene)
    assert (report.computed, report.reused) == (0, 3)
    assert report.mebibytes == pytest.approx(3 * (15 * 20 * encoder.dim * 2) / 2**20, rel=0.1)


def test_a_damaged_file_is_computed_again(folder):
    scene, encoder = open_scene(folder), Encoder()
    cache = OvCache(encoder, (80, 60))
    cache.fill(scene)
    whole = cache.features(scene, 0)
    files = sorted(cache.root.rglob("*.npy"))
    assert len(files) == 3
    content = files[0].read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (content[:-9], b"", bytes(flipped), content + b"x"):
        files[0].write_bytes(damaged)
        before = encoder.count
        assert torch.equal(OvCache(encoder, (80, 60)).features(scene, 0), whole)
        assert encoder.count == before + 1
        assert files[0].read_bytes() == content
    assert not list(cache.root.rglob("*.tmp"))


def test_another_key_size_or_image_is_another_file(folder):
    scene = open_scene(folder)
    caches = [OvCache(Encoder(), (80, 60)), OvCache(Encoder("other/1:2"), (80, 60))]
    caches.append(OvCache(Encoder(), (40, 30)))
    for cache in caches:
        assert cache.fill(scene).computed == 3
    assert len({cache.root for cache in caches}) == 3
    write_scene(folder, room_frames(4, width=80, height=60))  # other views under the same names
    report = OvCache(Encoder(), (80, 60)).fill(open_scene(folder))
    assert report.computed == 3
    assert report.reused == 1


def test_some_frames_may_be_chosen(folder):
    assert OvCache(Encoder(), (80, 60)).fill(open_scene(folder), [2]).computed == 1


def test_a_released_encoder_that_was_given_stays(folder):
    cache = OvCache(Encoder(), (80, 60))
    cache.release()
    assert cache.features(open_scene(folder), 0).shape == (15, 20, ColorEncoder.dim)
