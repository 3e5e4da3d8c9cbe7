"""FusionNet: how much each view counts for a point's colour and for its meaning (section 3.3).

    tokens [n, k, width] -> + DE(d_n) -> attention across views -> + RDE(d_0 . d_n) -> w_c
                                                               \\-------------------> w_s

Everything is symmetric in the views, and a masked view is as good as absent.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .field_config import FieldConfig


class FusionNet(nn.Module):
    """Predicts masked, normalised blending weights (eqs. 2 and 4-6)."""

    def __init__(self, config: FieldConfig) -> None:
        super().__init__()
        width = config.fusion_width
        self.config = config
        self.from_view = nn.Linear(config.query_channels, width)
        self.mlp_a = nn.Sequential(nn.SiLU(), nn.Linear(width, width))
        inputs = 3 + config.encode_distance + 3 * config.encode_surface
        self.encode_direction = _mlp(inputs, width, width)
        self.attend = CrossViewAttention(width, config.fusion_heads) if config.use_cva else None
        self.encode_relative = _mlp(1, width, width)
        self.mlp_c = _mlp(width, width, 1)
        self.mlp_s = _mlp(width, width, 1)

    def tokens(
        self,
        query: Float[Tensor, "n k cf"],
        from_volume: Float[Tensor, "n width"] | None,
        directions: Float[Tensor, "n k 3"],
        distance: Float[Tensor, "n k"],
        valid: Bool[Tensor, "n k"],
        surface: Float[Tensor, "n k 3"] | None = None,
    ) -> Float[Tensor, "n k width"]:
        """Return x_att_n, one token per point and view.

        Args:
            query: f^n, sampled per view.
            from_volume: the volume feature v through the first layer of MLP_a, which is linear and
                so was applied to the volume before sampling; None without volume features.
            directions: d_n, unit vectors from camera n's centre to the point.
            distance: metres from camera n's centre to the point.
            valid: which of the k views see the point.
            surface: where the point lies relative to what each view sees, `surface_offset`.
        """
        x = self.from_view(query)
        if from_volume is not None:
            x = x + from_volume.unsqueeze(1)
        x = self.mlp_a(x)
        if self.config.encode_distance:
            directions = torch.cat(
                [directions, distance.unsqueeze(-1).clamp_min(0.1).log()], dim=-1
            )
        if surface is not None:
            directions = torch.cat([directions, surface], dim=-1)
        x = x + self.encode_direction(directions)
        return x if self.attend is None else self.attend(x, valid)

    def color_weights(
        self,
        tokens: Float[Tensor, "n k width"],
        cosine: Float[Tensor, "n k"],
        valid: Bool[Tensor, "n k"],
    ) -> Float[Tensor, "n k"]:
        """Return w_c, given d_0 . d_n, the cosine to the ray that is rendered (eq. 5)."""
        logits = self.mlp_c(tokens + self.encode_relative(cosine.unsqueeze(-1)))
        return masked_softmax(logits.squeeze(-1), valid)

    def semantic_weights(
        self, tokens: Float[Tensor, "n k width"], valid: Bool[Tensor, "n k"]
    ) -> Float[Tensor, "n k"]:
        """Return w_s, which does not know where it is looked at from (eq. 6)."""
        return masked_softmax(self.mlp_s(tokens).squeeze(-1), valid)


class CrossViewAttention(nn.Module):
    """A transformer block across the views of one point; masked views are no keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(nn.LayerNorm(width), _mlp(width, 2 * width, width))

    def forward(
        self, x: Float[Tensor, "n k width"], valid: Bool[Tensor, "n k"]
    ) -> Float[Tensor, "n k width"]:
        """Return the tokens after exchange; those of masked views are of no use to anyone."""
        n, k, width = x.shape
        split = self.qkv(self.norm(x)).view(n, k, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each [n, heads, k, width / heads]
        # A point that no view sees would be a softmax over nothing; its weights are 0 anyway.
        usable = valid | ~valid.any(dim=1, keepdim=True)
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=usable[:, None, None, :].expand(-1, -1, k, -1)
        )
        x = x + self.out(mixed.transpose(1, 2).reshape(n, k, width))
        return x + self.feed_forward(x)


def masked_softmax(
    logits: Float[Tensor, "n k"], valid: Bool[Tensor, "n k"]
) -> Float[Tensor, "n k"]:
    """Return weights that sum to 1 over the valid views, or are all 0 where there is none."""
    logits = logits.masked_fill(~valid, torch.finfo(logits.dtype).min)
    return logits.softmax(dim=1) * valid


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))
