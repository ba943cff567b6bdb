"""One test for each numbered equation of chapter 12."""

import torch
from torch import nn

from vqdit_lite.adapter import LowRank


def test_equation_12_1_an_adapter_adds_the_product_of_two_thin_matrices():
    torch.manual_seed(0)
    layer = nn.Linear(5, 7)
    adapter, x = LowRank(layer, rank=2), torch.randn(4, 5)
    assert torch.equal(adapter(x), layer(x))  # B is zero
    nn.init.normal_(adapter.up.weight)
    w, b, a = layer.weight, adapter.up.weight, adapter.down.weight  # (7, 5), (7, 2), (2, 5)
    by_hand = torch.stack([w @ row + b @ (a @ row) + layer.bias for row in x])
    torch.testing.assert_close(adapter(x), by_hand)
    assert torch.linalg.matrix_rank(adapter.weight - w) == 2
    adapter(x).sum().backward()
    assert w.grad is None
    assert b.grad is not None
    assert a.grad is not None
