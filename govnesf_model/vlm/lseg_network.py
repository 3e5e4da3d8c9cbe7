"""The image network of LSeg: a ViT whose tokens of four depths are fused into dense features.

    network = LSegNetwork(LSegConfig())    # 342 M parameters, ViT-L/16
    features = network(normalised)         # [b, 3, h, w] -> [b, 512, h / 2, w / 2], unit norm

Ranftl et al., "Vision Transformers for Dense Prediction" (2021), with the head of Li et al.,
"Language-driven Semantic Segmentation" (2022). Module names are those of the published checkpoint
without its "net.", so that its keys are this network's keys.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

PATCH = 16  # pixels
MULTIPLE = 32  # pixels; the coarsest of the four levels has half the patches' resolution

Watch = Callable[[str, Tensor], object]


@dataclass(frozen=True)
class LSegConfig:
    """Sizes of LSeg; the defaults are those of the published ViT-L/16 model.

    Attributes:
        width: channels of a token.
        depth: blocks of the ViT.
        heads: attention heads of a block.
        grid: patches along a side of the image that the position embeddings were made for.
        taps: blocks whose outputs are used, counted from 0, fine to coarse.
        levels: channels of the four levels.
        fusion: channels in the decoder.
        dim: length of a feature, the same for images and texts.
        text_width: channels of a text token.
        text_depth: blocks of the text tower.
        text_heads: attention heads of these.
        visual_width: channels of CLIP's own image tower, which is never run.
        visual_depth: blocks of that.
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    grid: int = 24
    taps: tuple[int, int, int, int] = (5, 11, 17, 23)
    levels: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    fusion: int = 256
    dim: int = 512
    text_width: int = 512
    text_depth: int = 12
    text_heads: int = 8
    visual_width: int = 768
    visual_depth: int = 12


class LSegNetwork(nn.Module):
    """Images to dense features. Runs in eval mode only: its norms are never trained here."""

    def __init__(self, config: LSegConfig) -> None:
        super().__init__()
        self.config = config
        self.pretrained = nn.Module()
        self.pretrained.model = _vision_transformer(config)
        self.scratch = nn.Module()
        for level, channels in enumerate(config.levels, start=1):
            post = _Postprocess(level, config.width, channels)
            self.pretrained.add_module(f"act_postprocess{level}", post)
            lateral = nn.Conv2d(channels, config.fusion, 3, padding=1, bias=False)
            self.scratch.add_module(f"layer{level}_rn", lateral)
            self.scratch.add_module(f"refinenet{level}", _Fusion(config.fusion, level < 4))
        self.scratch.head1 = nn.Conv2d(config.fusion, config.dim, 1)

    def forward(
        self, image: Float[Tensor, "b 3 h w"], watch: Watch | None = None
    ) -> Float[Tensor, "b d h//2 w//2"]:
        """Return unit-norm features at half the resolution.

        Args:
            image: normalised to -1..1; height and width multiples of 32.
            watch: called with the name and value of stages in between.

        Raises:
            ValueError: a size that is no multiple of 32.
        """
        # Under autocast the raw features are in half precision, where a norm may overflow.
        return F.normalize(self.raw(image, watch).float(), dim=1)

    def raw(
        self, image: Float[Tensor, "b 3 h w"], watch: Watch | None = None
    ) -> Float[Tensor, "b d h//2 w//2"]:
        """Return the features before they are normalised; arguments as of `forward`."""
        height, width = image.shape[-2:]
        if height % MULTIPLE or width % MULTIPLE or not height or not width:
            raise ValueError(
                f"LSeg's network takes images whose sides are multiples of {MULTIPLE} pixels, not "
                f"{width}x{height}: pad them (the recipes of lseg_recipe.py do)"
            )
        watch = watch or (lambda name, value: None)
        path: Tensor | None = None
        tokens = self._tokens(image, watch)
        laterals = []
        for level in range(1, 5):
            post = getattr(self.pretrained, f"act_postprocess{level}")
            tap = tokens[level - 1]
            lateral = getattr(self.scratch, f"layer{level}_rn")(post(tap, width // PATCH))
            watch(f"layer{level}_rn", lateral)
            laterals.append(lateral)
        for level in range(4, 0, -1):
            path = getattr(self.scratch, f"refinenet{level}")(laterals.pop(), path)
            watch(f"refinenet{level}", path)
        return self.scratch.head1(path)

    def _tokens(self, image: Float[Tensor, "b 3 h w"], watch: Watch) -> list[Tensor]:
        vit = self.pretrained.model
        patches = vit.patch_embed.proj(image)
        watch("patch", patches)
        rows, columns = patches.shape[-2:]
        x = torch.cat(
            [vit.cls_token.expand(len(image), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1
        )
        x = x + _resized_positions(vit.pos_embed, self.config.grid, rows, columns)
        taps = []
        for index, block in enumerate(vit.blocks):
            x = block(x)
            watch(f"block{index}", x)
            if index in self.config.taps:
                taps.append(x)
        return taps


def normalise(rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Return an image in 0..1 as the network wants it, in -1..1."""
    return (rgb - 0.5) / 0.5


class _Readout(nn.Module):
    """Tells every patch of the whole image: the class token is projected into each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(2 * width, width), nn.GELU())

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b m c"]:
        patches = tokens[:, 1:]
        return self.project(torch.cat([patches, tokens[:, :1].expand_as(patches)], dim=-1))


class _Postprocess(nn.ModuleDict):
    """Tokens of one depth to a map of its level's resolution: stride 4, 8, 16 or 32.

    The names are positions in the published model's sequence; 1 and 2 have no weights.
    """

    def __init__(self, level: int, width: int, channels: int) -> None:
        super().__init__({"0": _Readout(width), "3": nn.Conv2d(width, channels, 1)})
        if level < 3:
            scale = 2 ** (3 - level)
            self["4"] = nn.ConvTranspose2d(channels, channels, scale, stride=scale)
        elif level == 4:
            self["4"] = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, tokens: Float[Tensor, "b n c"], columns: int) -> Float[Tensor, "b k h w"]:
        patches = self["0"](tokens).transpose(1, 2)
        out = self["3"](patches.unflatten(2, (-1, columns)))
        return self["4"](out) if "4" in self else out


class _ResidualUnit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        for index in (1, 2):
            self.add_module(f"conv{index}", nn.Conv2d(channels, channels, 3, padding=1, bias=False))
            self.add_module(f"bn{index}", nn.BatchNorm2d(channels))

    def forward(self, x: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        out = self.bn1(self.conv1(F.relu(x)))
        return x + self.bn2(self.conv2(F.relu(out)))


class _Fusion(nn.Module):
    """Adds a level to what came from the coarser ones and doubles the resolution."""

    def __init__(self, channels: int, has_coarser: bool) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(channels, channels, 1)
        if has_coarser:
            self.resConfUnit1 = _ResidualUnit(channels)
        self.resConfUnit2 = _ResidualUnit(channels)

    def forward(
        self, lateral: Float[Tensor, "b k h w"], coarser: Float[Tensor, "b k h w"] | None
    ) -> Float[Tensor, "b k 2*h 2*w"]:
        x = lateral if coarser is None else coarser + self.resConfUnit1(lateral)
        x = F.interpolate(self.resConfUnit2(x), scale_factor=2, mode="bilinear", align_corners=True)
        return self.out_conv(x)


def _vision_transformer(config: LSegConfig) -> nn.Module:
    import govnesf_model.torchvision_guard  # noqa: F401  timm imports torchvision

    # isort: split
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=config.grid * PATCH,
        patch_size=PATCH,
        embed_dim=config.width,
        depth=config.depth,
        num_heads=config.heads,
        # Taps are taken before the last norm; the norm and the classifier would be dead weight.
        num_classes=0,
        final_norm=False,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        act_layer=nn.GELU,
        weight_init="skip",
    )


def _resized_positions(
    embedding: Float[Tensor, "1 n c"], grid: int, rows: int, columns: int
) -> Float[Tensor, "1 m c"]:
    if (rows, columns) == (grid, grid):
        return embedding
    square = embedding[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))
    resized = F.interpolate(square, size=(rows, columns), mode="bilinear", align_corners=False)
    return torch.cat([embedding[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)
