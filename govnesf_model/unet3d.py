"""The 3D ResUNet that turns view statistics per voxel into geometry features (section 3.2).

Fully convolutional: any grid shape goes in, the same shape comes out. Normalisation is over the
channels of one voxel, so a voxel's result depends on its neighbourhood alone: not on the batch, not
on train or eval mode, and not on how large or how empty the rest of the grid is.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ResUNet3d(nn.Module):
    """Three levels of residual blocks with skip connections."""

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, int, int],
        out_channels: int,
        extra_channels: int = 0,
    ) -> None:
        """Build the network.

        Args:
            in_channels: channels per voxel of the cost volume.
            channels: widths at full, half and quarter resolution.
            out_channels: channels of the volume feature v.
            extra_channels: channels of a second output, which starts at 0.
        """
        super().__init__()
        one, two, three = channels
        self.enter = nn.Conv3d(in_channels, one, 1)
        self.down_one = ResidualBlock3d(one)
        self.to_two = nn.Conv3d(one, two, 2, stride=2)
        self.down_two = ResidualBlock3d(two)
        self.to_three = nn.Conv3d(two, three, 2, stride=2)
        self.bottom = nn.Sequential(ResidualBlock3d(three), ResidualBlock3d(three))
        self.from_three = nn.Conv3d(three, two, 1)
        self.up_two = ResidualBlock3d(two)
        self.from_two = nn.Conv3d(two, one, 1)
        self.up_one = ResidualBlock3d(one)
        self.norm = ChannelNorm(one)
        self.leave = nn.Conv3d(one, out_channels, 1)
        self.leave_extra = None
        if extra_channels:
            self.leave_extra = nn.Conv3d(one, extra_channels, 1)
            nn.init.zeros_(self.leave_extra.weight)
            nn.init.zeros_(self.leave_extra.bias)

    def forward(
        self, volume: Float[Tensor, "b c x y z"]
    ) -> tuple[Float[Tensor, "b d x y z"], Float[Tensor, "b e x y z"] | None]:
        """Return geometry features on the same grid, and the second output where there is one."""
        x, y, z = volume.shape[2:]
        padding = (0, -z % 4, 0, -y % 4, 0, -x % 4)  # two halvings need multiples of four
        one = self.down_one(self.enter(F.pad(volume, padding)))
        two = self.down_two(self.to_two(one))
        three = self.bottom(self.to_three(two))
        two = self.up_two(two + _doubled(self.from_three(three)))
        one = self.up_one(one + _doubled(self.from_two(two)))
        last = F.silu(self.norm(one))[:, :, :x, :y, :z]
        return self.leave(last), None if self.leave_extra is None else self.leave_extra(last)


class ResidualBlock3d(nn.Module):
    """Two 3x3x3 convolutions around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_a = ChannelNorm(channels)
        self.conv_a = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm_b = ChannelNorm(channels)
        self.conv_b = nn.Conv3d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv_b.weight)  # a block starts as the identity
        nn.init.zeros_(self.conv_b.bias)

    def forward(self, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
        """Return x plus what the block adds."""
        inner = self.conv_a(F.silu(self.norm_a(x)))
        return x + self.conv_b(F.silu(self.norm_b(inner)))


class ChannelNorm(nn.Module):
    """Scale the channels of each voxel to unit root mean square, then by learned factors."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
        """Return the normalised voxels; empty ones keep to `shift`."""
        shape = (1, -1, 1, 1, 1)
        size = torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-4)
        return x * size * self.scale.view(shape) + self.shift.view(shape)


def _doubled(x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x2 y2 z2"]:
    return F.interpolate(x, scale_factor=2, mode="nearest")
