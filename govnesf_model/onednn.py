"""Convolutions of one small image or volume on a processor, by oneDNN.

    use_onednn(network)        # once, after loading

Torch leaves a single sample of at most 20,480 values to loops of its own, and most layers of a
network for one keyframe are that small: a box of 24x24x20 voxels through the shipped
3D network takes 257 ms on one core by those loops and 40 by oneDNN
(`python -m benchmarks.convolutions`).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def use_onednn(module: nn.Module) -> None:
    """Let oneDNN compute the plain convolutions of a network whenever it can.

    Weights, names and results (but for rounding) stay. On a GPU, in other precisions and where
    gradients are wanted torch goes on to choose by itself.
    """
    for child in module.modules():
        if type(child) in _QUICK:  # not those that subclasses have changed
            child.__class__ = _QUICK[type(child)]


def by_onednn(x: Tensor) -> bool:
    """Tell whether oneDNN is asked directly: on a processor, full precision, no gradients."""
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_grad_enabled()
    return plain and torch.backends.mkldnn.is_available() and not torch.is_autocast_enabled("cpu")


class QuickConv2d(nn.Conv2d):
    """A convolution over images."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Return the convolved images."""
        return _convolved(self, x, torch.channels_last) if by_onednn(x) else super().forward(x)


class QuickConv3d(nn.Conv3d):
    """A convolution over volumes."""

    def forward(self, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b d x2 y2 z2"]:
        """Return the convolved volumes."""
        return _convolved(self, x, torch.channels_last_3d) if by_onednn(x) else super().forward(x)


_QUICK = {nn.Conv2d: QuickConv2d, nn.Conv3d: QuickConv3d}


def _convolved(conv: nn.Conv2d | nn.Conv3d, x: Tensor, layout: torch.memory_format) -> Tensor:
    # In this layout nothing is rearranged from one layer to the next.
    x = x.contiguous(memory_format=layout)
    shape = conv.padding, conv.stride, conv.dilation, conv.groups
    return torch.mkldnn_convolution(x, conv.weight, conv.bias, *shape)
