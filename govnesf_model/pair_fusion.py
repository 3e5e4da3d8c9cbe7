"""The weights of `FusionNet` without padding: what rendering and labelling run on a CPU.

    w_color, w_semantic = pair_weights(net, choice, points, views, from_volume, directions)

Most points are seen by fewer views than a point may have. Sorted by how many there are, points of
one number make dense blocks without a mask, so nothing is computed for views that are not there and
nothing at all where there is only one. In a block, tokens are columns: [width, views, points]. Sums
over heads and over views then run along rows in memory, and layers that follow each other without
an activation between are one product. The numbers are those of `FusionNet` to rounding; there is
no gradient.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .blending import ViewChoice, Views, beside_surface, sample_query_rows
from .fusion import FusionNet

TOKENS = 16384  # pairs of point and view in a block: few enough to stay in a cache


@torch.no_grad()
def pair_weights(
    net: FusionNet,
    choice: ViewChoice,
    points: Float[Tensor, "n 3"],
    views: Views,
    from_volume: Float[Tensor, "n width"] | None,
    directions: Float[Tensor, "n 3"] | None,
) -> tuple[Float[Tensor, "n k"] | None, Float[Tensor, "n k"]]:
    """Return colour and semantic weights; without viewing directions no colour weights.

    Args:
        net: the network.
        choice: views per point, those that see it first.
        points: world positions.
        views: the reference views.
        from_volume: the volume feature as `FusionNet.tokens` takes it.
        directions: viewing directions of the rays, any length.
    """
    layers = _Layers(net, directions is not None)
    w_semantic = points.new_zeros(choice.view.shape)
    w_color = None if directions is None else torch.zeros_like(w_semantic)
    toward = None if directions is None else F.normalize(directions, dim=1)
    number, order = choice.valid.sum(dim=1).sort(stable=True)
    sizes = torch.bincount(number, minlength=2).tolist()
    for count, rows in enumerate(order.split(sizes)):
        if count == 1:  # the only view has all the weight
            w_semantic[rows, 0] = 1.0
            if w_color is not None:
                w_color[rows, 0] = 1.0
        if count < 2:
            continue
        for some in rows.split(max(1, TOKENS // count)):
            block = _Block.of(choice, some, count, points, views)
            tokens = _tokens(net, layers, block, views, from_volume)
            cosine = None
            if w_color is not None:
                d = toward[some].T.unsqueeze(1)  # [3, 1, t]
                cosine = (block.toward * d).sum(dim=0)
            color, semantic = _heads(layers, tokens, cosine)
            w_semantic[some, :count] = semantic.T
            if w_color is not None:
                w_color[some, :count] = color.T
    return w_color, w_semantic


@dataclass
class _Block:
    """Points that equally many views see; [c, t] stands for views and points."""

    rows: Tensor  # [t]
    view: Tensor  # [c, t]
    uv: Tensor  # [c, t, 2]
    z: Tensor  # [c, t]
    toward: Tensor  # [3, c, t], unit
    distance: Tensor  # [c, t]

    @classmethod
    def of(
        cls, choice: ViewChoice, rows: Tensor, count: int, points: Tensor, views: Views
    ) -> "_Block":
        view = choice.view[rows, :count].T.contiguous()
        uv = choice.uv[rows, :count].transpose(0, 1).contiguous()
        z = choice.z[rows, :count].T.contiguous()
        centers = views.T_world_camera[:, :3, 3].T.contiguous()
        offset = points[rows].T.unsqueeze(1) - centers[:, view.flatten()].view(3, *view.shape)
        distance = (offset * offset).sum(dim=0).sqrt_()
        return cls(rows, view, uv, z, offset.div_(distance.clamp_min(1e-6)), distance)


class _Layers:
    """The layers of a `FusionNet` with those joined that nothing stands between."""

    def __init__(self, net: FusionNet, with_color: bool) -> None:
        enter, leave = net.encode_direction[0], net.encode_direction[2]
        self.view = _column(net.from_view)
        self.direction = _column(enter)
        second = net.mlp_a[1]
        self.token = torch.cat([second.weight, leave.weight], dim=1), _bias(second) + _bias(leave)
        self.heads = 0
        if net.attend is not None:
            block, forward = net.attend, net.attend.feed_forward
            self.heads = block.heads
            self.qkv = _after_norm(block.norm, block.qkv)
            self.eps = block.norm.eps
            self.out = _column(block.out)
            self.widen = _after_norm(forward[0], forward[1][0])
            self.narrow = _column(forward[1][2])
            # Attention's logits are divided by the root of a head's width.
            width = block.out.in_features
            scale = (width // block.heads) ** -0.5
            weight, bias = (part.clone() for part in self.qkv)
            weight[:width] *= scale
            bias[:width] *= scale
            self.qkv = weight, bias
        # The last biases are the same for all views and drop out of the softmax.
        self.semantic = _column(net.mlp_s[0])
        self.semantic_out = net.mlp_s[2].weight
        if with_color:
            first, relative = net.mlp_c[0], net.encode_relative
            self.cosine = _column(relative[0])
            self.relative = first.weight @ relative[2].weight
            self.color = first.weight, _bias(first) + first.weight @ _bias(relative[2])
            self.color_out = net.mlp_c[2].weight


def _tokens(
    net: FusionNet, layers: _Layers, block: _Block, views: Views, from_volume: Tensor | None
) -> Float[Tensor, "width c t"]:
    """Return x_att of a block."""
    count, points = block.view.shape
    query = sample_query_rows(block.view, block.uv, views)  # [c t, cf]
    width = layers.view[0].shape[0]
    both = query.new_empty(2 * width, count * points)
    weight, bias = layers.view
    torch.addmm(bias, weight, query.T, out=both[:width])
    if from_volume is not None:
        both[:width].view(width, count, points).add_(from_volume[block.rows].T.unsqueeze(1))
    known = [block.toward]
    if net.config.encode_distance:
        known.append(block.distance.clamp_min(0.1).log_().unsqueeze(0))
    if net.config.encode_surface:
        known.append(torch.stack(beside_surface(block.view, block.uv, block.z, views)))
    weight, bias = layers.direction
    torch.addmm(bias, weight, torch.cat(known).flatten(1), out=both[width:])
    weight, bias = layers.token
    x = torch.addmm(bias, weight, F.silu(both, inplace=True))
    if layers.heads:
        x = _attended(layers, x, count, points)
    return x.view(width, count, points)


def _attended(
    layers: _Layers, x: Float[Tensor, "width ct"], count: int, points: int
) -> Float[Tensor, "width ct"]:
    """Return the tokens after exchange across the views of each point."""
    width = len(x)
    weight, bias = layers.qkv
    qkv = torch.addmm(bias, weight, _normed(x, layers.eps))
    shape = (layers.heads, width // layers.heads, count, points)
    query, key, value = (part.view(shape) for part in qkv.split(width))
    mixed = torch.empty(shape, dtype=x.dtype, device=x.device)
    for view in range(count):
        share = (query[:, :, view : view + 1] * key).sum(dim=1).softmax(dim=1)  # [heads, c, t]
        torch.sum(share.unsqueeze(1) * value, dim=2, out=mixed[:, :, view])
    weight, bias = layers.out
    x += torch.addmm(bias, weight, mixed.view(width, -1))
    weight, bias = layers.widen
    wide = F.silu(torch.addmm(bias, weight, _normed(x, layers.eps)), inplace=True)
    weight, bias = layers.narrow
    return x.add_(torch.addmm(bias, weight, wide))


def _heads(
    layers: _Layers, tokens: Float[Tensor, "width c t"], cosine: Float[Tensor, "c t"] | None
) -> tuple[Float[Tensor, "c t"] | None, Float[Tensor, "c t"]]:
    """Return the weights of the views of each point."""
    shape, flat = tokens.shape[1:], tokens.flatten(1)
    weight, bias = layers.semantic
    hidden = F.silu(torch.addmm(bias, weight, flat), inplace=True)
    semantic = (layers.semantic_out @ hidden).view(shape).softmax(dim=0)
    if cosine is None:
        return None, semantic
    weight, bias = layers.cosine
    relative = F.silu(torch.addmm(bias, weight, cosine.view(1, -1)), inplace=True)
    weight, bias = layers.color
    hidden = torch.addmm(bias, weight, flat).addmm_(layers.relative, relative)
    color = layers.color_out @ F.silu(hidden, inplace=True)
    return color.view(shape).softmax(dim=0), semantic


def _normed(x: Float[Tensor, "width m"], eps: float) -> Float[Tensor, "width m"]:
    """Return columns of mean 0 and deviation 1."""
    centered = x - x.mean(dim=0)
    scale = (centered * centered).mean(dim=0).add_(eps).rsqrt_()
    return centered.mul_(scale)


def _after_norm(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a linear layer that takes in the norm's own factors."""
    weight = linear.weight * norm.weight
    return weight, (_bias(linear) + linear.weight @ norm.bias.unsqueeze(1))


def _column(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    return linear.weight, _bias(linear)


def _bias(linear: nn.Linear) -> Float[Tensor, "out 1"]:
    return linear.bias.unsqueeze(1)
