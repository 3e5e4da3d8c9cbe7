"""The image side of the embedded encoder: EfficientNet-Lite0 and a light decoder at stride 4.

The backbone is timm's `tf_efficientnet_lite0` with every batch norm folded into its convolution:
the norms stay frozen in training anyhow, and a folded network is smaller and faster. The decoder
joins strides 32, 16 and 8 at 8, where large receptive fields are cheap, and refines at 4.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import govnesf_model.torchvision_guard  # noqa: F401
from govnesf_model.vlm.imagenet_anchor import ImagenetAnchor

STRIDE = 4
FROZEN_STAGES = 3  # of the backbone's seven, with the stem: up to stride 8
PAD_TO = 32  # the backbone's largest stride


@dataclass(frozen=True)
class EmbeddedConfig:
    """What it takes to build the network.

    Attributes:
        backbone: timm name, of the EfficientNet-Lite family.
        width: channels of the decoder at strides 16 and 8.
        fine: channels of the decoder at stride 4; the features span no more dimensions than these.
        fine_mixers: residual blocks at stride 4.
        color: whether the mean colour of each cell joins at stride 4, so that colour words need
            not be guessed through the backbone, which learned to look past colour.
        anchor: weight of what the ImageNet classifier sees (imagenet_anchor.py), 0 does without.
        dim: length of a feature, which is the text encoder's.
    """

    backbone: str = "tf_efficientnet_lite0"
    width: int = 160
    fine: int = 128
    fine_mixers: int = 2
    color: bool = True
    anchor: float = 0.0
    dim: int = 384


class EmbeddedNetwork(nn.Module):
    """RGB images in 0..1 -> features at stride 4, not normalised.

    Args:
        config: sizes.
        imagenet: state dict of the unfolded backbone with its classifier; random weights without.
    """

    def __init__(self, config: EmbeddedConfig, imagenet: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        self.config = config
        self.backbone = _folded_backbone(config.backbone, imagenet)
        c4, c8, c16, c32 = self.backbone.feature_info.channels()[1:]
        width, fine = config.width, config.fine
        self.top = _conv(c32, width)
        self.context = nn.Linear(c32, width)
        self.lateral16 = _conv(c16, width)
        self.mix16 = nn.Sequential(_Mixer(width), _Mixer(width))
        self.lateral8 = _conv(c8, width)
        self.mix8 = nn.Sequential(_Mixer(width), _Mixer(width))
        self.reduce = _conv(width, fine)
        self.lateral4 = _conv(c4 + (3 if config.color else 0), fine)
        self.mix4 = nn.Sequential(*(_Mixer(fine) for _ in range(config.fine_mixers)))
        self.head = nn.Conv2d(fine, config.dim, 1)
        self.anchor = ImagenetAnchor(config.dim) if config.anchor else None
        self.to(memory_format=torch.channels_last)

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hs ws"]:
        """Return features of any image size; cell i lies at image position 4 i + 1.5."""
        height, width = rgb.shape[-2:]
        maps = self.pyramid(rgb)
        features = self.head(self.decode(rgb, *maps))
        if self.anchor is not None:
            seen = F.interpolate(self.anchor(maps[-1]), features.shape[-2:], mode="bilinear")
            features = F.normalize(features, dim=1) + self.config.anchor * seen
        return features[..., : -(-height // STRIDE), : -(-width // STRIDE)]

    def pyramid(self, rgb: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Return backbone features at strides 4, 8, 16, 32; the image is padded to 32 first."""
        x = _padded((rgb * 255.0 - 127.0) / 128.0)  # the preprocessing of the ImageNet weights
        x = x.contiguous(memory_format=torch.channels_last)
        net = self.backbone
        maps = []
        with torch.set_grad_enabled(torch.is_grad_enabled() and net.conv_stem.weight.requires_grad):
            x = net.bn1(net.conv_stem(x))
            for stage in net.blocks[:FROZEN_STAGES]:
                x = stage(x)
                maps.append(x)
        for stage in net.blocks[FROZEN_STAGES:]:
            x = stage(x)
            maps.append(x)
        return [maps[1], maps[2], maps[4], maps[6]]

    def decode(
        self,
        rgb: Float[Tensor, "b 3 h w"],
        x4: Float[Tensor, "b _ _ _"],
        x8: Float[Tensor, "b _ _ _"],
        x16: Float[Tensor, "b _ _ _"],
        x32: Float[Tensor, "b _ _ _"],
    ) -> Float[Tensor, "b f h4 w4"]:
        """Return the decoder's features at stride 4, before the last projection."""
        context = self.context(x32.mean((2, 3)))[..., None, None]
        x = F.relu(self.top(x32) + context)
        x = self.mix16(F.relu(_twice(x) + self.lateral16(x16)))
        x = self.mix8(F.relu(_twice(x) + self.lateral8(x8)))
        if self.config.color:
            x4 = torch.cat([x4, F.avg_pool2d(_padded(rgb) * 4 - 2, STRIDE)], 1)
        return self.mix4(F.relu(_twice(self.reduce(x)) + self.lateral4(x4)))

    def features_at(
        self, fine: Float[Tensor, "b f h4 w4"], cells: Int[Tensor, "n 3"]
    ) -> Float[Tensor, "n d"]:
        """Return unit features of some cells (image, row, column): what training needs, cheaply."""
        picked = fine[cells[:, 0], :, cells[:, 1], cells[:, 2]]  # [n, f]
        return F.normalize(F.linear(picked, self.head.weight[:, :, 0, 0], self.head.bias), dim=-1)

    @torch.no_grad()
    def fuse(self) -> "EmbeddedNetwork":
        """Fold the decoder's norms into its convolutions, for inference alone; return self."""
        for module in list(self.modules()):
            if isinstance(module, _Mixer) and isinstance(module.spatial_norm, nn.BatchNorm2d):
                module.spatial = fuse_conv_bn_eval(module.spatial, module.spatial_norm)
                module.spatial_norm = nn.Identity()
        for parent in list(self.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Sequential) and isinstance(child[-1], nn.BatchNorm2d):
                    setattr(parent, name, fuse_conv_bn_eval(*child))
        return self

    def freeze_early_stages(self) -> list[nn.Parameter]:
        """Freeze the stem and the first stages; return the parameters that are left to train."""
        frozen = [self.backbone.conv_stem, *self.backbone.blocks[:FROZEN_STAGES]]
        for module in frozen:
            module.requires_grad_(False)
        return [parameter for parameter in self.parameters() if parameter.requires_grad]


class _Mixer(nn.Module):
    """Residual block: a depthwise filter, then all channels together."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.spatial_norm = nn.BatchNorm2d(channels)
        self.channel = _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.channel(self.spatial_norm(self.spatial(x))))


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def _padded(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % PAD_TO, 0, -height % PAD_TO), mode="replicate")


def _twice(x: Tensor) -> Tensor:
    # Pixel areas stay aligned, as cell i at u = s i + (s - 1) / 2 demands.
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _folded_backbone(name: str, imagenet: dict[str, Tensor] | None) -> nn.Module:
    import timm

    backbone = timm.create_model(name, features_only=True, pretrained=False)
    if imagenet is not None:
        # The classifier's own layers have no place in a feature extractor; all others must fit.
        head = ("conv_head.", "bn2.", "classifier.")
        kept = {key: value for key, value in imagenet.items() if not key.startswith(head)}
        backbone.load_state_dict(kept, strict=True)
    for parent in list(backbone.modules()):
        conv = None
        for child_name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, child_name, _fold(conv, child))
            conv = child if isinstance(child, nn.Conv2d) else conv
    return backbone


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Module:
    """Put a norm's running statistics into the convolution before it; return the activation."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    conv.weight.mul_(scale.view(-1, 1, 1, 1))
    conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale)
    return norm.act
