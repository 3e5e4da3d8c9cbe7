"""Dense features against the library's own blocks, evaluated by hand."""

import open_clip_models
import pytest
import torch
import torch.nn.functional as F

from govnesf_model.vlm.open_clip_attention import ATTENTIONS, neighbourhood
from govnesf_model.vlm.open_clip_towers import resize_positions, tower_of

OWN = ("tiny-vit", "tiny-vit-quickgelu", "tiny-vit-avg", "tiny-vit-custom")
POOLED = ("tiny-convnext", "tiny-convnext-mlp")


@pytest.fixture(scope="module", autouse=True)
def _models(tmp_path_factory):
    open_clip_models.register(tmp_path_factory.mktemp("configs"))


def images(size, count=2):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


def tower_and_visual(name, attention="maskclip", block="auto"):
    visual = open_clip_models.random_model(name).visual
    return tower_of(name, visual, attention, block), visual


def library_image_feature(visual, batch):
    feature = visual(batch)
    return feature[0] if isinstance(feature, tuple) else feature


def by_hand(visual, batch, kind, whole):
    """The last block, one head at a time, softmax written out, on what really enters it."""
    entering = []
    last = visual.transformer.resblocks[-1]
    handle = last.register_forward_pre_hook(lambda _, inputs: entering.append(inputs[0]))
    visual(batch)
    handle.remove()
    x = entering[0]
    width = x.shape[-1]
    weight, bias = last.attn.in_proj_weight, last.attn.in_proj_bias
    parts = [
        last.ln_1(x) @ weight[i * width : (i + 1) * width].T + bias[i * width : (i + 1) * width]
        for i in range(3)
    ]
    n = round((x.shape[1] - 1) ** 0.5)
    outputs = []
    for head in range(last.attn.num_heads):
        size = width // last.attn.num_heads
        q, k, v = (part[..., head * size : (head + 1) * size] for part in parts)
        qq = q @ q.transpose(1, 2) / size**0.5
        kk = k @ k.transpose(1, 2) / size**0.5
        if kind == "naclip":
            for i in range(n * n):
                for j in range(n * n):
                    far = (i // n - j // n) ** 2 + (i % n - j % n) ** 2
                    kk[:, 1 + i, 1 + j] += 2.718281828459045 ** (-far / 50)
        mix = {
            "maskclip": torch.eye(x.shape[1]).expand_as(qq),
            "naclip": kk.softmax(-1),
            "sclip": qq.softmax(-1) + kk.softmax(-1),
            "clearclip": qq.softmax(-1),
        }[kind]
        outputs.append(mix @ v)
    out = last.ls_1(last.attn.out_proj(torch.cat(outputs, -1)))
    if whole:
        out = x + out
        out = out + last.ls_2(last.mlp(last.ln_2(out)))
    out = visual.ln_post(out[:, 1:]) @ visual.proj
    return out.transpose(1, 2).reshape(len(batch), -1, n, n)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize("block", ["auto", "bare", "whole"])
def test_patches_follow_their_paper(name, kind, block):
    tower, visual = tower_and_visual(name, kind, block)
    batch = images(visual.image_size)
    whole = kind == "sclip" if block == "auto" else block == "whole"
    expected = by_hand(visual, batch, kind, whole)
    assert torch.allclose(tower(batch), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", OWN + POOLED)
def test_the_global_feature_is_the_librarys(name):
    tower, visual = tower_and_visual(name)
    batch = images(visual.image_size)
    ours = F.normalize(tower.global_feature(batch), dim=-1)
    theirs = F.normalize(library_image_feature(visual, batch), dim=-1)
    assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("name", POOLED)
def test_a_map_of_one_cell_is_the_feature_of_the_image(name):
    tower, visual = tower_and_visual(name)
    batch = images((32, 32), count=3)
    assert torch.allclose(tower(batch)[..., 0, 0], visual(batch), atol=1e-5, rtol=1e-4)
    assert tower(images((64, 96))).shape == (2, 24, 2, 3)


def test_a_convnext_cell_is_norm_and_projection_at_its_place():
    tower, visual = tower_and_visual("tiny-convnext")
    batch = images((64, 96))
    places = visual.trunk.forward_features(batch).permute(0, 2, 3, 1)
    norm = visual.trunk.head.norm
    expected = F.layer_norm(places, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    expected = visual.head.proj(expected).permute(0, 3, 1, 2)
    assert torch.allclose(tower(batch), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_siglips_pool_is_evaluated_by_its_values():
    import open_clip

    vision = open_clip.get_model_config("ViT-B-16-SigLIP")["vision_cfg"]
    from open_clip.timm_model import TimmModel

    torch.manual_seed(0)
    visual = TimmModel(
        vision["timm_model_name"], 768, pool=vision["timm_pool"], proj=vision["timm_proj"]
    ).eval()
    visual.requires_grad_(False)
    tower = tower_of("ViT-B-16-SigLIP", visual, "maskclip", "auto")
    batch = images((224, 224), count=1)
    theirs = F.normalize(visual(batch), dim=-1)
    assert (F.normalize(tower.global_feature(batch), dim=-1) - theirs).abs().max() < 1e-5
    pool = visual.trunk.attn_pool
    values = visual.trunk.forward_features(batch) @ pool.kv.weight[768:].T + pool.kv.bias[768:]
    mixed = pool.proj(values)
    expected = (mixed + pool.mlp(pool.norm(mixed)))[0].T.reshape(768, 14, 14)
    assert torch.allclose(tower(batch)[0], expected, atol=1e-4, rtol=1e-3)
    assert tower(images((48, 80), count=1)).shape == (1, 768, 3, 5)


def test_position_embeddings_at_the_native_grid_are_left_alone():
    positions = torch.randn(12, 5)
    assert resize_positions(positions, (3, 4), (3, 4)) is positions
    constant = torch.ones(12, 5)
    assert torch.allclose(resize_positions(constant, (3, 4), (7, 2)), torch.ones(14, 5))
    ramp = torch.arange(6.0).repeat(4)[:, None]  # 4 rows, 6 columns
    wide = resize_positions(ramp, (4, 6), (4, 12)).view(4, 12)
    assert torch.allclose(wide[:, 4:8].diff(dim=1), torch.full((4, 3), 0.5), atol=1e-2)
    assert torch.allclose(wide[0], wide[3], atol=1e-5)


def test_neighbours_are_those_on_the_grid():
    near = neighbourhood((2, 3), 5.0)
    assert near.shape == (7, 7)
    assert near[0].sum() == near[:, 0].sum() == 0
    assert torch.allclose(near.diagonal()[1:], torch.ones(6))
    assert near[1, 2] == pytest.approx(2.718281828 ** (-1 / 50))  # (0, 0) and (0, 1)
    assert near[1, 6] == pytest.approx(2.718281828 ** (-5 / 50))  # (0, 0) and (1, 2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tiny-vit-attentional", "attentional pooler"),
        ("tiny-vit-normed", "CustomResidualAttentionBlock"),
        ("tiny-resnet", "ResNet that pools by attention"),
        ("tiny-timm", "timm trunk ResNet"),
    ],
)
def test_towers_without_a_feature_at_every_place_are_refused(name, words):
    with pytest.raises(ValueError, match=rf"{name} cannot give dense features: .*{words}.*Use a"):
        tower_and_visual(name)


def test_options_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="no attention=best: choose one of maskclip, naclip"):
        tower_and_visual("tiny-vit", "best")
    with pytest.raises(ValueError, match="no block=half: choose one of auto"):
        tower_and_visual("tiny-vit", "sclip", "half")
    with pytest.raises(ValueError, match=r"tiny-convnext has no class token .*attention=naclip"):
        tower_and_visual("tiny-convnext", "naclip")
