import numpy as np
import open_clip_models
import pytest
import torch
import torch.nn.functional as F
from open_clip_models import normalized, random_model, write

from govnesf_model.vlm.base import DenseEncoder
from govnesf_model.vlm.open_clip_encoder import OpenClipOptions, load_open_clip
from govnesf_model.vlm.relevancy import relevancy


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Name of a model -> file of its random weights."""
    open_clip_models.register(tmp_path_factory.mktemp("configs"))
    folder = tmp_path_factory.mktemp("weights")
    names = ("tiny-vit", "tiny-vit-avg", "tiny-convnext")
    return {name: write(random_model(name), folder / f"{name}.safetensors") for name in names}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def vlm(files):
    return load_open_clip(f"tiny-vit/{files['tiny-vit']}", "cpu")


def picture(height, width, count=1, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_it_is_a_dense_encoder(vlm, files):
    assert isinstance(vlm, DenseEncoder)
    assert vlm.name == f"open_clip:tiny-vit/{files['tiny-vit']}"
    assert (vlm.dim, vlm.stride) == (24, 16)
    assert vlm.logit_scale == pytest.approx(float(random_model("tiny-vit").logit_scale.exp()))
    assert [c.covered for c in vlm.coverage(["mug", "zyx"])] == [True, True]
    assert vlm.coverage(["mug"])[0].nearest is None
    assert "wall" not in vlm.contrast_for(["wall"])
    assert "cup" in vlm.contrast_for(["mug"], ["cup"])


@pytest.mark.parametrize("name", ["tiny-vit", "tiny-vit-avg", "tiny-convnext"])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (16, 16), (33, 64), (120, 47)])
def test_any_size_gives_the_promised_map(files, name, size):
    encoder = load_open_clip(f"{name}/{files[name]}?window=48", "cpu")
    features = encoder.encode_images(picture(*size))
    s = encoder.stride
    assert features.shape == (1, 24, -(-size[0] // s), -(-size[1] // s))
    assert torch.allclose(features.norm(dim=1), torch.ones(1), atol=1e-5)


def test_an_image_without_pixels_is_refused(vlm):
    with pytest.raises(ValueError, match="has no pixels"):
        vlm.encode_images(torch.zeros(1, 3, 0, 4))


def test_normalization_and_the_whole_image_are_the_librarys(vlm):
    rgb = picture(64, 64, count=2)
    expected = F.normalize(random_model("tiny-vit").encode_image(normalized(rgb)), dim=-1)
    assert (vlm.encode_whole(rgb) - expected).abs().max() < 1e-5


def test_an_odd_image_is_continued_to_the_right_and_below(vlm):
    rgb = picture(40, 50)
    padded = F.pad(rgb, (0, 14, 0, 8), mode="replicate")
    assert torch.allclose(vlm.encode_images(rgb), vlm.encode_images(padded), atol=1e-6)


@pytest.mark.parametrize("options", ["", "?window=32", "?resize=48", "?attention=naclip"])
def test_a_batch_is_its_images(files, options):
    encoder = load_open_clip(f"tiny-vit/{files['tiny-vit']}{options}", "cpu")
    rgb = picture(70, 90, count=3)
    single = torch.cat([encoder.encode_images(image[None]) for image in rgb])
    assert torch.allclose(encoder.encode_images(rgb), single, atol=1e-5)


def test_a_window_as_large_as_the_image_changes_nothing(files):
    rgb = picture(64, 64)
    argument = f"tiny-vit/{files['tiny-vit']}"
    none = load_open_clip(f"{argument}?window=none").encode_images(rgb)
    assert torch.equal(load_open_clip(f"{argument}?window=64").encode_images(rgb), none)
    assert not torch.allclose(load_open_clip(f"{argument}?window=32").encode_images(rgb), none)


def test_large_images_are_windowed_by_themselves(files):
    argument = f"tiny-vit/{files['tiny-vit']}"
    rgb = picture(64, 400)
    auto = load_open_clip(argument).encode_images(rgb)
    assert torch.equal(load_open_clip(f"{argument}?window=336").encode_images(rgb), auto)
    assert not torch.allclose(load_open_clip(f"{argument}?window=none").encode_images(rgb), auto)


def test_shifting_the_image_by_a_patch_shifts_the_map_by_a_cell(tmp_path, files):
    """Without positions and attention before the last block, a patch is its own content."""
    model = random_model("tiny-vit")
    model.visual.positional_embedding.zero_()
    for block in model.visual.transformer.resblocks:
        block.attn.out_proj.weight.zero_()
    last = model.visual.transformer.resblocks[-1].attn.out_proj
    last.weight.copy_(torch.eye(64))
    file = write(model, tmp_path / "no_positions.safetensors")
    encoder = load_open_clip(f"tiny-vit/{file}", "cpu")
    rgb = picture(80, 96)
    moved = torch.roll(rgb, (16, 32), dims=(2, 3))
    features = torch.roll(encoder.encode_images(rgb), (1, 2), dims=(2, 3))
    assert torch.allclose(encoder.encode_images(moved), features, atol=1e-5)

    # A bright square that fills cell (3, 2) changes that cell alone: pixels 48..63, 32..47.
    dark = torch.full((1, 3, 80, 96), 0.1)
    bright = dark.clone()
    bright[..., 48:64, 32:48] = 0.9
    change = (encoder.encode_images(bright) - encoder.encode_images(dark)).norm(dim=1)[0]
    assert (change > 1e-3).nonzero().tolist() == [[3, 2]]

    # The same with twice the pixels inside and half the stride outside: the cells whose centres
    # (8 i + 3.5) lie in the square are i = 6, 7 and j = 4, 5.
    scaled = load_open_clip(f"tiny-vit/{file}?resize=160&stride=8", "cpu")
    change = (scaled.encode_images(bright) - scaled.encode_images(dark)).norm(dim=1)[0]
    assert change.shape == (10, 12)
    assert (change > 0.5 * change.max()).nonzero().tolist() == [[6, 4], [6, 5], [7, 4], [7, 5]]


def test_resizing_samples_the_scaled_map_at_the_given_images_cells(files, vlm):
    """Twice the size and half the stride: the cells coincide with those of the scaled image."""
    rgb = picture(48, 64)
    half = load_open_clip(f"tiny-vit/{files['tiny-vit']}?resize=96&stride=8", "cpu")
    large = F.interpolate(rgb, size=(96, 128), mode="bicubic", antialias=True).clamp(0, 1)
    assert half.stride == 8
    assert torch.allclose(half.encode_images(rgb), vlm.encode_images(large), atol=1e-5)
    # At the model's own stride, a cell lies between four of the scaled image.
    full = load_open_clip(f"tiny-vit/{files['tiny-vit']}?resize=96", "cpu")
    mean = F.normalize(F.avg_pool2d(vlm.encode_images(large), 2), dim=1)
    assert torch.allclose(full.encode_images(rgb), mean, atol=1e-5)


def test_texts_are_the_librarys(vlm, files):
    import open_clip

    bare = load_open_clip(f"tiny-vit/{files['tiny-vit']}?templates=none", "cpu")
    tokens = open_clip.tokenize(["mug", "a red chair"])
    expected = random_model("tiny-vit").encode_text(tokens, normalize=True)
    assert torch.allclose(bare.encode_texts(["mug", "a red chair"]), expected, atol=1e-5)
    assert not torch.allclose(vlm.encode_texts(["mug", "a red chair"]), expected, atol=1e-3)


def test_the_key_changes_whenever_features_would(tmp_path, files):
    argument = f"tiny-vit/{files['tiny-vit']}"
    keys = [load_open_clip(argument).key]
    assert load_open_clip(argument).key == keys[0]
    options = (
        *("attention=naclip", "block=whole", "window=32", "overlap=0.5", "resize=96"),
        *("stride=8", "templates=none", "precision=bf16", "normalization=inception"),
    )
    keys += [load_open_clip(f"{argument}?{option}").key for option in options]
    other = write(random_model("tiny-vit", seed=1), tmp_path / "other.safetensors")
    keys += [load_open_clip(f"tiny-vit/{other}").key]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == len("open_clip-") + 12 for key in keys)


def test_openai_files_are_computed_as_they_were_trained(tmp_path, files):
    state = random_model("tiny-vit").state_dict()
    torch.save({**state, "input_resolution": torch.tensor(64)}, tmp_path / "openai.pt")
    encoder = load_open_clip(f"tiny-vit/{tmp_path}/openai.pt", "cpu")
    rgb = picture(64, 64)
    quick = random_model("tiny-vit-quickgelu")
    quick.load_state_dict(state)
    expected = F.normalize(quick.encode_image(normalized(rgb)), dim=-1)
    assert (encoder.encode_whole(rgb) - expected).abs().max() < 1e-5


def test_lower_precision_gives_nearly_the_same(vlm, files):
    low = load_open_clip(f"tiny-vit/{files['tiny-vit']}?precision=bf16", "cpu")
    rgb = picture(64, 96)
    features = low.encode_images(rgb)
    assert features.dtype == torch.float32
    assert (features * vlm.encode_images(rgb)).sum(1).min() > 0.99
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        load_open_clip(f"tiny-vit/{files['tiny-vit']}?precision=fp16", "cpu")


def test_a_temperature_of_ones_own(files):
    assert load_open_clip(f"tiny-vit/{files['tiny-vit']}?logit_scale=40").logit_scale == 40


def test_relevancy_runs_with_it(vlm):
    rgb = (picture(60, 90)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    scores = relevancy(vlm, rgb, ["mug", "red chair"])
    assert scores.shape == (2, 60, 90)
    assert (scores >= 0).all()
    assert (scores.sum(0) <= 1 + 1e-5).all()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"window": "big"}, "window=big must be auto, none or a number"),
        ({"window": "0"}, "window=0 must be"),
        ({"overlap": 1.0}, "overlap=1.0 must lie between 0 and 0.9"),
        ({"resize": -1}, "resize=-1 must lie"),
        ({"stride": -2}, "stride=-2 must be"),
        ({"logit_scale": float("nan")}, "logit_scale=nan must be"),
        ({"normalization": "mine"}, "no normalization=mine: choose one of auto, openai"),
    ],
)
def test_options_that_cannot_be_are_refused(option, words):
    with pytest.raises(ValueError, match=words):
        OpenClipOptions(**option)


def test_options_are_checked_before_anything_is_loaded():
    with pytest.raises(ValueError, match="no option 'windows' of this encoder: it knows attention"):
        load_open_clip("ViT-B-16/openai?windows=3")
    with pytest.raises(ValueError, match="no templates 'many'"):
        load_open_clip("ViT-B-16/openai?templates=many")
    with pytest.raises(ValueError, match="no precision=int8: choose auto, fp32"):
        load_open_clip("ViT-B-16/openai?precision=int8")


def test_a_model_without_dense_features_is_refused_before_its_download():
    with pytest.raises(ValueError, match="RN50 cannot give dense features: it is a ResNet"):
        load_open_clip("RN50/openai")


def test_a_wide_image_is_not_blown_up_without_bound(files):
    encoder = load_open_clip(f"tiny-vit/{files['tiny-vit']}?resize=512", "cpu")
    with pytest.raises(ValueError, match="resize=512 makes 200x4 pixels 25600x512"):
        encoder.encode_images(picture(4, 200))


@pytest.mark.slow
def test_a_published_architecture_works_whole(tmp_path):
    file = write(random_model("ViT-B-32"), tmp_path / "vitb32.safetensors")
    encoder = load_open_clip(f"ViT-B-32/{file}?attention=clearclip", "cpu")
    assert encoder.encode_images(picture(240, 320)).shape == (1, 512, 8, 10)
    rgb = picture(224, 224)
    expected = F.normalize(random_model("ViT-B-32").encode_image(normalized(rgb)), dim=-1)
    assert (encoder.encode_whole(rgb) - expected).abs().max() < 1e-5
    assert encoder.encode_texts(["mug"]).shape == (1, 512)
