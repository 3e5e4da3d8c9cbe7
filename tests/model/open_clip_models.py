"""Small OpenCLIP models with random weights, registered with the library, and files of them."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import govnesf_model.torchvision_guard  # noqa: F401

# isort: split
import open_clip
from open_clip.factory import add_model_config

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VIT = {"image_size": 64, "layers": 3, "width": 64, "head_width": 32, "patch_size": 16}
CONVNEXT = {"timm_model_name": "convnext_atto", "timm_pool": "", "image_size": 64}

CONFIGS = {
    "tiny-vit": {"vision_cfg": VIT},
    "tiny-vit-quickgelu": {"vision_cfg": VIT, "quick_gelu": True},
    "tiny-vit-avg": {
        "vision_cfg": {
            **VIT,
            **{"pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True},
            **{"ls_init_value": 0.3, "patch_dropout": 0.5, "patch_size": 14, "image_size": 56},
        }
    },
    "tiny-vit-custom": {"vision_cfg": {**VIT, "output_tokens": True}, "custom_text": True},
    "tiny-vit-attentional": {"vision_cfg": {**VIT, "attentional_pool": True}},
    "tiny-vit-normed": {"vision_cfg": {**VIT, "qk_norm": True}},
    "tiny-resnet": {"vision_cfg": {**VIT, "layers": [1, 1, 1, 1], "width": 16}},
    "tiny-convnext": {"vision_cfg": {**CONVNEXT, "timm_proj": "linear"}},
    "tiny-convnext-mlp": {"vision_cfg": {**CONVNEXT, "timm_proj": "mlp"}},
    "tiny-timm": {"vision_cfg": {**CONVNEXT, "timm_model_name": "resnet18", "timm_proj": "linear"}},
}


def register(folder: Path) -> None:
    """Make the models known to open_clip."""
    for name, config in CONFIGS.items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps({"embed_dim": 24, "text_cfg": TEXT, **config}))
        add_model_config(path)


def random_model(name: str, seed: int = 0) -> nn.Module:
    """Return open_clip's own model, every weight random, so that none hides a mistake."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = open_clip.get_model_config(name)
        custom = config.pop("custom_text", False)
        model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
        for parameter in model.parameters():
            if parameter.ndim:
                parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


def write(model: nn.Module, path: Path) -> Path:
    """Write a model's weights."""
    state: dict[str, Tensor] = {k: v.contiguous() for k, v in model.state_dict().items()}
    save_file(state, path)
    return path


def normalized(rgb: Tensor) -> Tensor:
    """Return images as OpenAI's preprocessing leaves them."""
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    return (rgb - mean) / std
