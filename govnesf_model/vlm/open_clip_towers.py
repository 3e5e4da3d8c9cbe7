"""Image towers of open_clip that can give a feature at every place.

    tower = tower_of("ViT-B-16", model.visual, attention="naclip", block="auto")
    features = tower(images)            # [b, d, h / stride, w / stride], sides multiples of it
    one = tower.global_feature(images)  # [b, d], what the library's own encode_image gives

Two ways lead to the space of the texts:

* `ClassTokenTower`, open_clip's own ViT: the last block evaluated as open_clip_attention.py says,
  then the final norm and the projection on every patch's token.
* `PooledTower`, where the whole image's feature is a pool over places and a head behind it
  (ConvNeXt; timm's ViT without a class token, SigLIP's among them): pool and head evaluated on each
  place alone. For SigLIP's attention pool that is its value path, because attention to a single
  place has weight 1: MaskCLIP's construction for attention pools. For ConvNeXt it is what FC-CLIP
  (Yu et al., NeurIPS 2023) does with masks, here with masks of one cell.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from govnesf_model.vlm.open_clip_attention import ATTENTIONS, dense_last_block

BLOCKS = ("auto", "bare", "whole")


class ClassTokenTower:
    """open_clip's `VisionTransformer` with a class token.

    Attributes:
        stride: pixels a patch.
        native: side of the images that it was trained on, pixels.
    """

    def __init__(self, visual: nn.Module, attention: str, block: str) -> None:
        self.visual = visual
        self.attention = attention
        self.whole = ATTENTIONS[attention] if block == "auto" else block == "whole"
        self.stride = visual.patch_size[0]
        self.native = max(visual.image_size)

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hs ws"]:
        """Return features of every patch, of any norm."""
        grid = (images.shape[-2] // self.stride, images.shape[-1] // self.stride)
        tokens = self._before_last_block(images, grid)
        last = self.visual.transformer.resblocks[-1]
        tokens = dense_last_block(last, tokens, grid, self.attention, self.whole)
        features = self.visual.ln_post(tokens) @ self.visual.proj
        return features.transpose(1, 2).unflatten(-1, grid)

    def global_feature(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Return the feature of the whole image, the last block evaluated as it was trained."""
        visual = self.visual
        grid = (images.shape[-2] // self.stride, images.shape[-1] // self.stride)
        tokens = self._blocks(
            self._before_last_block(images, grid), visual.transformer.resblocks[-1:]
        )
        norm_last = getattr(visual, "final_ln_after_pool", False)
        tokens = tokens if norm_last else visual.ln_post(tokens)
        average = getattr(visual, "pool_type", "tok") == "avg"
        pooled = tokens[:, 1:].mean(1) if average else tokens[:, 0]
        return (visual.ln_post(pooled) if norm_last else pooled) @ visual.proj

    def _before_last_block(
        self, images: Float[Tensor, "b 3 h w"], grid: tuple[int, int]
    ) -> Float[Tensor, "b n c"]:
        visual = self.visual
        patches = visual.conv1(images).flatten(2).transpose(1, 2)
        first = visual.class_embedding.to(patches.dtype).expand(len(images), 1, -1)
        positions = visual.positional_embedding
        resized = resize_positions(positions[1:], visual.grid_size, grid)
        tokens = torch.cat([first, patches], dim=1) + torch.cat([positions[:1], resized])
        return self._blocks(visual.ln_pre(tokens), visual.transformer.resblocks[:-1])

    def _blocks(self, tokens: Float[Tensor, "b n c"], blocks: nn.Module) -> Float[Tensor, "b n c"]:
        # open_clip before 2.27 kept tokens first and images second.
        batch_first = getattr(self.visual.transformer, "batch_first", False)
        tokens = tokens if batch_first else tokens.transpose(0, 1)
        for block in blocks:
            tokens = block(tokens)
        return tokens if batch_first else tokens.transpose(0, 1)


class PooledTower:
    """A timm trunk whose pool and head can be evaluated on one place alone.

    Attributes:
        stride: pixels a cell.
        native: side of the images that it was trained on, pixels; None for a network of
            convolutions, to which the size means little.
    """

    def __init__(self, visual: nn.Module) -> None:
        self.visual = visual
        self.trunk = visual.trunk
        self.is_vit = hasattr(self.trunk, "patch_embed")
        if self.is_vit:
            self.stride = self.trunk.patch_embed.patch_size[0]
            self.native = max(visual.image_size)
        else:
            self.stride = self.trunk.feature_info[-1]["reduction"]
            self.native = None

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hs ws"]:
        """Return features of every cell, of any norm."""
        features = self._places(images)  # [b, n, c] or [b, c, hs, ws]
        if self.is_vit:
            alone = features.flatten(0, 1).unsqueeze(1)  # [b n, 1, c]
        else:
            alone = features.movedim(1, -1).flatten(0, 2)[..., None, None]  # [b n, c, 1, 1]
        rows, columns = (side // self.stride for side in images.shape[-2:])
        out = self._head(alone).unflatten(0, (len(images), rows, columns))
        return out.movedim(-1, 1)

    def global_feature(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Return the feature of the whole image."""
        return self._head(self._places(images))

    def _head(self, features: Tensor) -> Float[Tensor, "b d"]:
        return self.visual.head(self.trunk.forward_head(features))

    def _places(self, images: Float[Tensor, "b 3 h w"]) -> Tensor:
        trunk = self.trunk
        if not self.is_vit:
            return trunk.forward_features(images)
        patches = trunk.patch_embed.norm(trunk.patch_embed.proj(images).flatten(2).transpose(1, 2))
        grid = (images.shape[-2] // self.stride, images.shape[-1] // self.stride)
        positions = resize_positions(trunk.pos_embed[0], trunk.patch_embed.grid_size, grid)
        return trunk.norm(trunk.blocks(trunk.norm_pre(patches + positions)))


Tower = ClassTokenTower | PooledTower


def tower_of(model: str, visual: nn.Module, attention: str, block: str) -> Tower:
    """Return the tower that evaluates a model's image side.

    Args:
        model: its name, for messages.
        visual: the `visual` of open_clip's model.
        attention: one of ATTENTIONS.
        block: "bare" leaves the rest of the last block out, "whole" keeps it, "auto" does what the
            paper of the attention does.

    Raises:
        ValueError: an unknown option, or a tower without a feature at every place.
    """
    for name, value, known in (("attention", attention, ATTENTIONS), ("block", block, BLOCKS)):
        if value not in known:
            raise ValueError(f"there is no {name}={value}: choose one of {', '.join(known)}")
    reason = _why_not(visual)
    if reason is not None:
        raise ValueError(
            f"{model} cannot give dense features: {reason}. Use a ViT with a class token such as "
            "ViT-B-16 or ViT-L-14, a ConvNeXt such as convnext_base_w, or a SigLIP ViT"
        )
    if hasattr(visual, "conv1"):
        return ClassTokenTower(visual, attention, block)
    if (attention, block) != ("maskclip", "auto"):
        raise ValueError(
            f"{model} has no class token whose last block attention={attention} and block={block} "
            "could change: leave both options away, its pool's value path is used"
        )
    return PooledTower(visual)


def resize_positions(
    positions: Float[Tensor, "n c"], native: tuple[int, int], grid: tuple[int, int]
) -> Float[Tensor, "m c"]:
    """Return position embeddings of another grid, bicubic as open_clip's own resizing."""
    if tuple(native) == tuple(grid):
        return positions
    image = positions.float().unflatten(0, tuple(native)).permute(2, 0, 1)[None]
    image = F.interpolate(image, size=grid, mode="bicubic", antialias=True, align_corners=False)
    return image[0].flatten(1).T.to(positions.dtype)


def _why_not(visual: nn.Module) -> str | None:
    """Tell why a tower has no feature at every place, else None."""
    kind = type(visual).__name__
    check: Callable[[nn.Module], str | None] | None = {
        "VisionTransformer": _why_not_own_vit,
        "TimmModel": _why_not_timm,
    }.get(kind)
    if check is not None:
        return check(visual)
    if hasattr(visual, "attnpool"):
        return "it is a ResNet that pools by attention, with positions for one image size"
    return f"its image tower is a {kind}, which is not known here"


def _why_not_own_vit(visual: nn.Module) -> str | None:
    if getattr(visual, "attn_pool", None) is not None:
        return "an attentional pooler (CoCa) mixes all places before the projection"
    if visual.patch_size[0] != visual.patch_size[1]:
        return f"its patches of {visual.patch_size} pixels are not square"
    last = visual.transformer.resblocks[-1]
    if not isinstance(last.attn, nn.MultiheadAttention):
        return f"its blocks are of the kind {type(last).__name__}, not the one of published models"
    return None


def _why_not_timm(visual: nn.Module) -> str | None:
    trunk = visual.trunk
    kind = type(trunk).__name__
    if hasattr(visual.head, "pool"):
        return f"the {kind} pools by attention in open_clip's head"
    if kind == "ConvNeXt":
        return None
    if kind != "VisionTransformer":
        return f"its timm trunk {kind} has no path to the texts' space that is known here"
    if trunk.num_prefix_tokens:
        return "its timm ViT pools by a class token of timm's kind"
    if trunk.pos_embed is None or type(trunk.patch_embed).__name__ != "PatchEmbed":
        return "its timm ViT has no learned positions on a plain grid of patches"
    return None
