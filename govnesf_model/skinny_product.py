"""Products of few rows with very many, which libraries for large matrices are slow at.

    logits = products(texts, features)            # [20, d], [2048, d] -> [20, 2048]

Twenty texts against a block of points are so lopsided a product that MKL takes up to twice as long
for it as for the same in slices, each of them a product of its own.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_SLICES = 8


def products(
    few: Float[Tensor, "r d"], many: Float[Tensor, "n d"], out: Float[Tensor, "r n"] | None = None
) -> Float[Tensor, "r n"]:
    """Return `few @ many.T`.

    Args:
        few, many: rows of one length and type.
        out: where the result goes, else into a tensor of its own.
    """
    rows, count = len(few), len(many)
    if out is None:
        out = many.new_empty(rows, count)
    if many.device.type != "cpu" or count % _SLICES or not count:
        return torch.mm(few, many.T, out=out)
    slices = many.view(_SLICES, count // _SLICES, -1)
    parts = torch.bmm(few.expand(_SLICES, -1, -1), slices.transpose(1, 2))  # [s, r, n / s]
    out.unflatten(1, (_SLICES, -1)).copy_(parts.transpose(0, 1))
    return out
