import pytest
import torch

from govnesf_model.skinny_product import products


@pytest.mark.parametrize("count", [0, 5, 8, 2048, 2051])
@pytest.mark.parametrize("rows", [1, 5, 20])
def test_products_are_those_of_the_matrices(rows, count):
    torch.manual_seed(0)
    few, many = torch.randn(rows, 48), torch.randn(count, 48)
    expected = (few.double() @ many.double().T).float()
    torch.testing.assert_close(products(few, many), expected, atol=1e-4, rtol=1e-5)
    wide = torch.full((rows + 2, count + 3), -7.0)
    found = products(few, many, out=wide[1:-1, 2:-1])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(wide[1:-1, 2:-1], expected, atol=1e-4, rtol=1e-5)
    assert int((wide == -7.0).sum()) == wide.numel() - expected.numel()
