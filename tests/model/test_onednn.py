"""The direct way to oneDNN gives what torch gives, and leaves everything else to torch."""

import pytest
import torch
from torch import nn

from govnesf_model.checkpoint import load_field
from govnesf_model.onednn import QuickConv2d, QuickConv3d, by_onednn, use_onednn

KINDS = {2: (nn.Conv2d, QuickConv2d), 3: (nn.Conv3d, QuickConv3d)}
AVAILABLE = torch.backends.mkldnn.is_available()


@pytest.mark.parametrize("shape", [(3, 5), (40, 60), (3, 2, 5), (12, 20, 8)])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 2, "stride": 2},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": 2, "dilation": 2, "groups": 8, "bias": False},
    ],
)
@pytest.mark.parametrize("batch", [1, 2])
def test_results_are_those_of_torch(shape, options, batch):
    torch.manual_seed(1)
    plain, quick = KINDS[len(shape)]
    conv = plain(16, 24, **options)
    x = torch.randn(batch, 16, *shape)
    with torch.no_grad():
        expected = conv(x)
        use_onednn(conv)
        assert type(conv) is quick
        assert by_onednn(x) == AVAILABLE
        torch.testing.assert_close(conv(x), expected)
        torch.testing.assert_close(conv(x.to(memory_format=_last(x))), expected)


def test_gradients_and_other_precisions_are_left_to_torch():
    conv, x = nn.Conv3d(4, 4, 3, padding=1), torch.randn(1, 4, 6, 5, 4)
    use_onednn(conv)
    assert not by_onednn(x)
    conv(x).sum().backward()
    assert float(conv.weight.grad.abs().sum()) > 0
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert not by_onednn(x)
        assert conv(x).dtype == torch.bfloat16
    with torch.no_grad():
        assert not by_onednn(x.double())
        assert conv.double()(x.double()).dtype == torch.float64


def test_weights_names_and_changed_convolutions_stay():
    class Padded(nn.Conv2d):
        def forward(self, x):
            return super().forward(nn.functional.pad(x, (1, 1, 1, 1)))

    network = nn.Sequential(nn.Conv2d(3, 4, 3), Padded(4, 4, 3))
    before = network.state_dict()
    use_onednn(network)
    assert [type(child) for child in network] == [QuickConv2d, Padded]
    assert network.state_dict().keys() == before.keys()


def test_a_loaded_field_uses_it():
    assert type(load_field("small").unet.enter) is QuickConv3d


def _last(x: torch.Tensor) -> torch.memory_format:
    return torch.channels_last if x.dim() == 4 else torch.channels_last_3d
