"""Finding and reading weights: what is refused, and with which sentence."""

import json
import os

import open_clip_models
import pytest
import torch
from open_clip_models import random_model, write

from govnesf_model.vlm.base import tensors_digest
from govnesf_model.vlm.open_clip_weights import (
    build,
    download,
    fill,
    find_pretrained,
    read_weights,
)


@pytest.fixture(scope="module", autouse=True)
def _models(tmp_path_factory):
    open_clip_models.register(tmp_path_factory.mktemp("configs"))


@pytest.fixture
def tags(monkeypatch):
    """Tags of the small model, as open_clip keeps those of the published ones."""
    from open_clip import pretrained

    entries = {}
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-vit", entries)
    return entries


class Stranger:
    def __reduce__(self):
        return (os.mkdir, ("it_ran",))


def test_a_tag_brings_its_normalization_and_activation():
    found = find_pretrained("ViT-B-16/openai")
    assert found.quick_gelu
    assert found.file is None
    assert found.normalization[0] == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    found = find_pretrained("ViT-L-14/laion2b_s32b_b82k")
    assert found.normalization == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert not found.quick_gelu
    assert build("tiny-vit", True)[1]["quick_gelu"]
    assert type(build("tiny-vit", True)[0].visual.transformer.resblocks[0].mlp.gelu).__name__ == (
        "QuickGELU"
    )


@pytest.mark.parametrize("folder", ["relative", "home", "absolute"])
def test_a_file_is_found_from_anywhere(folder, tmp_path, monkeypatch):
    write(random_model("tiny-vit"), tmp_path / "w.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    place = {"relative": "", "home": "~/", "absolute": f"{tmp_path}/"}[folder]
    found = find_pretrained(f"tiny-vit/{place}w.safetensors")
    assert found.file.samefile(tmp_path / "w.safetensors")
    assert found.normalization is None


def test_the_configuration_beside_published_weights_is_read(tmp_path):
    write(random_model("tiny-vit"), tmp_path / "open_clip_model.safetensors")
    argument = f"tiny-vit/{tmp_path}/open_clip_model.safetensors"
    config = tmp_path / "open_clip_config.json"
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3}
    config.write_text(json.dumps({"preprocess_cfg": preprocess, "model_cfg": {"quick_gelu": True}}))
    assert find_pretrained(argument).normalization == ((0.5,) * 3, (0.25,) * 3)
    assert find_pretrained(argument).quick_gelu
    config.write_text(json.dumps({"preprocess_cfg": {}}))
    assert find_pretrained(argument).normalization is None
    for broken in ("{}", "[", "[]"):
        config.write_text(broken)
        with pytest.raises(ValueError, match=r"open_clip_config\.json cannot be read .*mend it"):
            find_pretrained(argument)


def test_how_to_give_a_file_names_activation_and_normalization():
    with pytest.raises(FileNotFoundError, match=r"\(openai\).*open_clip:ViT-L-14-quickgelu/PATH$"):
        find_pretrained("ViT-L-14/none.pt")
    with pytest.raises(FileNotFoundError, match=r"SigLIP-512/PATH\?normalization=inception$"):
        find_pretrained("ViT-B-16-SigLIP-512/none.pt")


@pytest.mark.parametrize("form", ["safetensors", "state", "checkpoint", "half", "old", "openai"])
def test_every_form_of_the_same_weights_gives_the_same_model(form, tmp_path):
    name = "tiny-vit-custom" if form == "old" else "tiny-vit"
    source = random_model("tiny-vit")
    state = source.state_dict()
    path = tmp_path / "weights.pt"
    if form == "safetensors":
        path = write(source, tmp_path / "weights.safetensors")
    elif form == "checkpoint":
        wrapped = {f"module.{key}": value for key, value in state.items()}
        torch.save({"epoch": 3, "state_dict": wrapped}, path)
    elif form == "half":
        torch.save({key: value.half() for key, value in state.items()}, path)
    elif form == "openai":
        torch.save({**state, "input_resolution": torch.tensor(64)}, path)
    else:
        torch.save(state, path)
    model, _ = build(name, False)
    found = find_pretrained(f"{name}/{path}")
    digest = fill(model, read_weights(found.file), found)
    assert digest == tensors_digest(model.state_dict())
    image = torch.rand(1, 3, 64, 64)
    feature = model.encode_image(image)  # with the tokens for the "old" form's model
    difference = (feature[0] if form == "old" else feature) - source.encode_image(image)
    assert difference.abs().max() < (0.05 if form == "half" else 1e-6)
    tokens = torch.randint(1, 400, (2, 77))
    difference = model.encode_text(tokens) - source.encode_text(tokens)
    assert difference.abs().max() < (0.05 if form == "half" else 1e-6)


def test_a_digest_tells_weights_apart():
    first, second = random_model("tiny-vit", 0), random_model("tiny-vit", 1)
    digest = tensors_digest(first.state_dict())
    assert digest == tensors_digest(random_model("tiny-vit", 0).state_dict())
    assert digest != tensors_digest(second.state_dict())


@pytest.mark.parametrize(
    ("argument", "error", "words"),
    [
        ("ViTB16/openai", ValueError, "no model 'ViTB16': did you mean .*ViT-B-16"),
        ("qqqq", ValueError, "no model 'qqqq': write it like open_clip:ViT-B-16/laion2b"),
        ("ViT-B-16", ValueError, "needs to be told which weights: .*laion2b_s34b_b88k.*PATH"),
        ("ViT-B-16/laion", ValueError, "has no weights 'laion': .*openai.*PATH"),
        (
            "ViT-B-16/no/such.pt",
            FileNotFoundError,
            "no file no/such.pt .*get open_clip_model.safetensors from https.*on a machine with a "
            "network.*--vlm open_clip:ViT-B-16-quickgelu/PATH",
        ),
        ("tiny-vit/no.safetensors", FileNotFoundError, "give the path of a .safetensors"),
    ],
)
def test_what_cannot_be_found_is_said(argument, error, words):
    with pytest.raises(error, match=words):
        find_pretrained(argument)


def test_a_download_that_fails_says_what_to_get(tags, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    tags["far"] = {"url": "http://127.0.0.1:9/tiny.pt", "quick_gelu": False}
    found = find_pretrained("tiny-vit/far")
    words = r"weights 'far' of tiny-vit .*not be downloaded .*get http://127\.0\.0\.1:9/tiny\.pt"
    with pytest.raises(FileNotFoundError, match=words):
        download(found)


def test_a_tag_in_the_librarys_cache_is_used(tags, tmp_path):
    file = write(random_model("tiny-vit"), tmp_path / "cached.safetensors")
    tags["near"] = {"file": str(file), "mean": (0.1, 0.2, 0.3), "std": (1, 1, 1)}
    found = download(find_pretrained("tiny-vit/near"))
    assert found.file == file
    assert found.normalization == ((0.1, 0.2, 0.3), (1, 1, 1))


def test_no_file_can_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": Stranger()}}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"more than tensors .*get the \.safetensors"):
        read_weights(tmp_path / "bad.pt")
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_archive_is_refused_with_the_way_to_convert_it(tmp_path):
    class Network(torch.nn.Linear):
        pass

    torch.jit.trace(Network(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "ViT-B-16.pt"))
    with pytest.raises(ValueError, match=r"TorchScript .*torch\.jit\.load\('ViT-B-16\.pt'"):
        read_weights(tmp_path / "ViT-B-16.pt")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.safetensors", b"\x05\0\0", "damaged or no file of weights"),
        ("a.pt", b"hello", "damaged or no file of weights .KeyError"),
        ("a.pt", b"", "damaged or no file of weights"),
        ("a.npz", b"PK", "big_vision"),
    ],
)
def test_a_damaged_file_is_refused(name, content, words, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_weights(tmp_path / name)


def test_what_is_no_state_dict_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="no weights by name"):
        read_weights(tmp_path / "list.pt")


def test_weights_of_another_architecture_are_refused(tmp_path):
    path = write(random_model("tiny-vit-avg"), tmp_path / "avg.safetensors")
    found = find_pretrained(f"tiny-vit/{path}")
    with pytest.raises(ValueError, match=r"do not fit tiny-vit: .*name the architecture"):
        fill(build("tiny-vit", False)[0], read_weights(path), found)


def test_a_coca_is_refused_before_anything_is_built():
    with pytest.raises(ValueError, match=r"coca_ViT-B-32 cannot give dense features: .*CoCa"):
        build("coca_ViT-B-32", False)
