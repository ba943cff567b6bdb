import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vqdit_lite import checkpoints
from vqdit_lite.adapter import LowRank, adapt
from vqdit_lite.transformer import DiT, attention_maps, sincos_grid

WIDTH, TOKENS = 32, 6


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def dit(**options) -> DiT:
    """A small DiT as it starts, in evaluation mode, for tokens of four features on a grid of 2 × 3."""
    torch.manual_seed(0)
    return DiT(nn.Linear(4, WIDTH), 5, sincos_grid(2, 3, WIDTH), depth=2, num_classes=10, **options).eval()


def perturbed(model: nn.Module) -> nn.Module:
    """The same with no weight at zero, as if it had been trained."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn(weight.shape, generator=draw)
    return model


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return random(3, TOKENS, 4), torch.linspace(0.1, 0.9, 3), torch.arange(3)


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def differ(one: torch.Tensor, other: torch.Tensor) -> bool:
    return (one - other).abs().max().item() > 1e-3


# ---------------------------------------------------------------- one layer


def layer_and_input(kind: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    if kind == "linear":
        return nn.Linear(6, 10), random(4, 3, 6)
    return nn.Embedding(20, 10), torch.arange(12).view(4, 3)


both_kinds = pytest.mark.parametrize("kind", ["linear", "embedding"])


@both_kinds
def test_an_adapter_changes_nothing_at_the_start(kind):
    layer, x = layer_and_input(kind)
    assert torch.equal(LowRank(layer, 2)(x), layer(x))


@both_kinds
def test_an_adapter_is_a_layer_plus_a_product_of_two_small_matrices(kind):
    layer, x = layer_and_input(kind)
    adapter = perturbed(LowRank(layer, 2))
    change = adapter.weight - layer.weight
    assert torch.linalg.matrix_rank(change) == 2
    single = copy.deepcopy(layer)
    single.weight.data = adapter.weight.detach()
    close(adapter(x), single(x))
    assert differ(adapter(x), layer(x))


@both_kinds
def test_an_adapter_of_some_rows_leaves_all_others_as_they_were(kind):
    layer, x = layer_and_input(kind)
    adapter = perturbed(LowRank(layer, 2, rows=[1, 7]))
    change = adapter.weight - layer.weight
    assert change.abs().sum(1).nonzero().flatten().tolist() == [1, 7]
    single = copy.deepcopy(layer)
    single.weight.data = adapter.weight.detach()
    close(adapter(x), single(x))


def test_the_layer_that_an_adapter_stands_for_has_the_bias_of_the_frozen_one():
    layer, x = layer_and_input("linear")
    adapter = perturbed(LowRank(layer, 2))
    close(adapter(x), F.linear(x, adapter.weight, adapter.bias))
    assert LowRank(layer_and_input("embedding")[0], 2).bias is None


@both_kinds
def test_only_the_adapter_learns_and_up_learns_first(kind):
    layer, x = layer_and_input(kind)
    adapter = LowRank(layer, 2)
    adapter(x).square().sum().backward()
    assert layer.weight.grad is None
    assert adapter.up.weight.grad.abs().min() > 0
    assert not adapter.down.weight.grad.any()


@pytest.mark.parametrize(
    ("layer", "rank", "got"), [(nn.Linear(2, 2), 0, "Linear and 0"), (nn.LayerNorm(2), 1, "LayerNorm and 1")]
)
def test_what_no_adapter_fits_is_named(layer, rank, got):
    with pytest.raises(ValueError, match=f"rank of at least 1; got {got}"):
        LowRank(layer, rank)


@both_kinds
@pytest.mark.parametrize("rows", [[3, 20], [-1]])
def test_rows_that_a_layer_does_not_have_are_named(kind, rows):
    layer, _ = layer_and_input(kind)
    with pytest.raises(ValueError, match=rf"rows must lie in 0 … {len(layer.weight) - 1}; got \[{rows[0]}"):
        LowRank(layer, 2, rows)


def test_an_adapter_takes_the_type_of_its_layer():
    assert LowRank(nn.Linear(4, 3).double(), 2)(random(5, 4).double()).dtype == torch.float64


# ---------------------------------------------------------------- a model


ADAPTED = ("project_in", "mlp.0", "head")


@pytest.mark.parametrize("conditioning", ["adaln", "in_context"])
def test_an_adapted_model_is_unchanged_and_learns_in_its_adapters_alone(conditioning):
    model = perturbed(dit(conditioning=conditioning))
    before, old = model(*inputs()), copy.deepcopy(model)
    weights = adapt(model, 2, *ADAPTED)
    assert torch.equal(model(*inputs()), before)
    assert len(weights) == 2 * (2 * len(model.blocks) + 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        model(*inputs()).square().mean().backward()
        optimizer.step()
    assert {name for name, weight in model.named_parameters() if weight.grad is not None} == set(weights)
    assert differ(model(*inputs()), before)
    frozen = {name.replace(".layer.", "."): w for name, w in model.state_dict().items() if name not in weights}
    assert all(torch.equal(frozen[name], weight) for name, weight in old.state_dict().items())


def test_an_adapter_of_attention_to_a_context_learns():
    model = perturbed(dit(conditioning="cross"))
    before = model(*inputs())
    adapt(model, 2, "cross.project_in")
    close(model(*inputs()), before)
    model(*inputs()).square().mean().backward()
    assert model.blocks[0].cross.project_in.up.weight.grad.abs().max() > 0


def test_maps_of_an_adapted_model_are_those_of_its_attention():
    model = perturbed(dit())
    before = attention_maps(model, *inputs())
    adapt(model, 2, "project_in")
    for one, other in zip(attention_maps(model, *inputs()), before, strict=True):
        assert torch.equal(one, other)


def test_adapters_go_through_a_file_without_the_model(tmp_path):
    model = perturbed(dit())
    fresh = copy.deepcopy(model)
    weights = adapt(model, 2, *ADAPTED)
    for weight in weights.values():
        nn.init.normal_(weight, generator=torch.Generator().manual_seed(3))
    checkpoints.write(tmp_path / "adapter.safetensors", weights, {})
    saved, _ = checkpoints.read(tmp_path / "adapter.safetensors")
    assert sum(weight.numel() for weight in saved.values()) < sum(w.numel() for w in model.parameters()) / 20
    adapt(fresh, 2, *ADAPTED)
    assert not fresh.load_state_dict(saved, strict=False).unexpected_keys
    assert torch.equal(fresh(*inputs()), model(*inputs()))


@pytest.mark.parametrize("name", ["project_out_", "norm"])
def test_a_layer_that_is_not_there_is_named_and_the_model_stays(name):
    model = dit()
    with pytest.raises(ValueError, match=rf"ends in one of \('{name}',\); layers to adapt are: embedding, time\.0"):
        adapt(model, 2, name)
    assert all(weight.requires_grad for weight in model.parameters())
