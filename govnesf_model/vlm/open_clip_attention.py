"""The last block of a CLIP ViT, evaluated so that every patch keeps a feature of its own.

CLIP trains its class token alone: in the last block the patches gather what that token needs, and
their own features no longer say what is at their place. The remedies below need no training; they
change the attention of this one block (q, k, v: its queries, keys and values; s: 1 / sqrt(length)).

| kind | patches get | rest of the block | paper |
|---|---|---|---|
| maskclip | v | left out | Zhou, Loy, Dai: Extract Free Dense Labels from CLIP, ECCV 2022, 3.2 |
| naclip | softmax(s k k^T + Gaussian of the patches' distance) v | left out | Hajimiri, Ben Ayed, Dolz: Pay Attention to Your Neighbours, WACV 2025 |
| sclip | (softmax(s q q^T) + softmax(s k k^T)) v | kept | Wang, Mei, Yuille: SCLIP, ECCV 2024, 3.2 |
| clearclip | softmax(s q q^T) v | left out | Lan, Chen, Ke, Wang, Feng, Zhang: ClearCLIP, ECCV 2024, 3 |

"The rest" is the residual around the attention and the feed-forward part. MaskCLIP's text describes
the two projections alone; its released code for ViT keeps the rest, `block=whole` gives that.
"""  # noqa: E501

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# Kind -> whether its paper keeps the residual and the feed-forward part.
ATTENTIONS = {"maskclip": False, "naclip": False, "sclip": True, "clearclip": False}
GAUSSIAN_STD = 5.0  # patches; NACLIP's sigma


def dense_last_block(
    block: nn.Module,
    x: Float[Tensor, "b n c"],
    grid: tuple[int, int],
    kind: str = "maskclip",
    whole: bool = False,
) -> Float[Tensor, "b p c"]:
    """Return the patches' tokens behind the last block.

    Args:
        block: open_clip's `ResidualAttentionBlock`.
        x: tokens that enter it, class token first.
        grid: rows and columns of patches.
        kind: one of ATTENTIONS.
        whole: keep the residual and the feed-forward part.
    """
    attention = block.attn
    projected = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = projected.chunk(3, dim=-1)
    if kind == "maskclip":
        mixed = v
    else:
        q, k, v = (_split(part, attention.num_heads) for part in (q, k, v))
        if kind == "naclip":
            near = neighbourhood(grid, GAUSSIAN_STD).to(k)
            mixed = F.scaled_dot_product_attention(k, k, v, attn_mask=near)
        elif kind == "sclip":
            mixed = F.scaled_dot_product_attention(q, q, v)
            mixed = mixed + F.scaled_dot_product_attention(k, k, v)
        elif kind == "clearclip":
            mixed = F.scaled_dot_product_attention(q, q, v)
        else:
            raise ValueError(f"there is no attention {kind!r}: choose one of {list(ATTENTIONS)}")
        mixed = mixed.transpose(1, 2).flatten(2)
    out = block.ls_1(attention.out_proj(mixed))
    if whole:
        out = x + out
        out = out + block.ls_2(block.mlp(block.ln_2(out)))
    return out[:, 1:]


def neighbourhood(grid: tuple[int, int], std: float) -> Float[Tensor, "n n"]:
    """Return what NACLIP adds to the logits: exp(-distance^2 / (2 std^2)) between patches.

    The class token, at index 0, is near to nothing.
    """
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in grid), indexing="ij")
    at = torch.stack([rows.flatten(), columns.flatten()], dim=1).float()
    squared = (at[:, None] - at[None]).square().sum(-1)
    return F.pad(torch.exp(-squared / (2 * std**2)), (1, 0, 1, 0))


def _split(x: Float[Tensor, "b n c"], heads: int) -> Float[Tensor, "b heads n per_head"]:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
