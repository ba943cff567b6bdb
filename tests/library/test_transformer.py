import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vqdit_lite.attention import Attention, attention, rotary_angles, rotate
from vqdit_lite.transformer import (
    DiT,
    DiTBlock,
    LabelEmbedding,
    SpaceTimeBlock,
    TimeEmbedding,
    attention_maps,
    modulate,
    patchify,
    sincos,
    sincos_grid,
    unpatchify,
)

many_cases = settings(deadline=None, max_examples=25)
CONDITIONINGS = ("adaln", "cross", "in_context")
WIDTH, TOKENS = 32, 6


@pytest.fixture(params=CONDITIONINGS)
def conditioning(request):
    return request.param


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def dit(**options) -> DiT:
    """A small DiT as it starts, in evaluation mode, for tokens of four features on a grid of 2 × 3."""
    torch.manual_seed(0)
    chosen = {"positions": sincos_grid(2, 3, WIDTH), "depth": 2, "num_classes": 10} | options
    return DiT(nn.Linear(4, WIDTH), 5, **chosen).eval()


def perturbed(model: nn.Module) -> nn.Module:
    """The same with no weight at zero, as if it had been trained."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn(weight.shape, generator=draw)
    return model


def inputs(batch: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return random(batch, TOKENS, 4), torch.linspace(0.1, 0.9, batch), torch.arange(batch)


def close(ours: torch.Tensor, theirs: torch.Tensor, bound: float = 1e-5) -> None:
    torch.testing.assert_close(ours, theirs, atol=bound, rtol=bound)


def differ(one: torch.Tensor, other: torch.Tensor) -> bool:
    return (one - other).abs().max().item() > 1e-3


# ---------------------------------------------------------------- pictures as tokens


@pytest.mark.parametrize(
    ("shape", "size"), [((2, 3, 8, 12), 4), ((1, 1, 6, 4), 2), ((3, 2, 5, 3), 1), ((1, 4, 9, 3), 3)]
)
def test_patches_are_those_of_unfold_and_of_pixel_unshuffle(shape, size):
    x = random(*shape)
    tokens = patchify(x, size)
    assert tokens.shape == (shape[0], shape[2] // size * (shape[3] // size), shape[1] * size**2)
    assert torch.equal(tokens, F.unfold(x, size, stride=size).transpose(1, 2))
    assert torch.equal(tokens, F.pixel_unshuffle(x, size).flatten(2).transpose(1, 2))


@many_cases
@given(
    b=st.integers(1, 3), c=st.integers(1, 4), rows=st.integers(1, 5), columns=st.integers(1, 5), size=st.integers(1, 5)
)
def test_unpatchify_is_the_inverse_of_patchify(b, c, rows, columns, size):
    x = random(b, c, rows * size, columns * size)
    assert torch.equal(unpatchify(patchify(x, size), size, (rows, columns)), x)
    tokens = random(b, rows * columns, c * size**2)
    assert torch.equal(patchify(unpatchify(tokens, size, (rows, columns)), size), tokens)


@pytest.mark.parametrize(("shape", "size"), [((1, 1, 8, 9), 4), ((1, 1, 9, 8), 4), ((1, 8, 8), 4), ((1, 1, 8, 8), 0)])
def test_patches_that_do_not_divide_the_picture_are_named(shape, size):
    with pytest.raises(ValueError, match=rf"{size} × {size} do not divide .*shape \({shape[0]}, {shape[1]}"):
        patchify(torch.zeros(shape), size)


@pytest.mark.parametrize(
    ("shape", "size", "grid"),
    [((1, 5, 4), 2, (2, 2)), ((1, 4, 6), 2, (2, 2)), ((4, 4), 2, (2, 2)), ((1, 4, 4), 2, (4, 4))],
)
def test_tokens_that_fill_no_grid_are_named(shape, size, grid):
    with pytest.raises(
        ValueError, match=rf"needs tokens \(batch, {math.prod(grid)}, channels · 4\); they are \({shape[0]}"
    ):
        unpatchify(torch.zeros(shape), size, grid)


# ---------------------------------------------------------------- positions


@pytest.mark.parametrize("dim", [2, 8, 256])
def test_sinusoidal_embeddings_are_those_of_diffusers(dim):
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    positions = torch.tensor([0.0, 1.0, 7.25, 500.0, 1000.0])
    theirs = embeddings.get_timestep_embedding(positions, dim, flip_sin_to_cos=True, downscale_freq_shift=0)
    close(sincos(positions, dim), theirs, 1e-4)  # a float32 of 1,000 is known to 6e-5
    close(sincos(positions[:3], dim), theirs[:3], 1e-6)


def test_sinusoidal_embeddings_are_the_formula_of_the_paper():
    positions, i = torch.linspace(-3, 9, 7, dtype=torch.float64), torch.arange(6)
    angles = positions[:, None] / 10_000 ** (2 * i / 12)
    close(sincos(positions, 12), torch.cat([angles.cos(), angles.sin()], 1).double(), 1e-6)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (2, 7), (5, 1)])
def test_a_grid_is_that_of_diffusers_with_cosines_before_sines(height, width):
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    row, column = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    theirs = embeddings.get_2d_sincos_pos_embed_from_grid(24, torch.stack([column, row]).double())
    if height == width:
        whole = embeddings.get_2d_sincos_pos_embed(24, height, base_size=height)
        close(theirs, whole)
    sines_last = theirs.unflatten(1, (2, 2, 6)).flip(2).flatten(1)
    close(sincos_grid(height, width, 24), sines_last.float(), 1e-6)


def test_every_cell_of_a_grid_has_its_own_position_and_near_cells_similar_ones():
    positions = sincos_grid(7, 9, 64)
    assert len(positions.unique(dim=0)) == 63
    cells = positions.unflatten(0, (7, 9))
    assert (cells[0, 1] @ cells[0, 0]) > (cells[0, 4] @ cells[0, 0])
    assert (cells[1, 0] @ cells[0, 0]) > (cells[4, 0] @ cells[0, 0])


@pytest.mark.parametrize("make", [sincos, rotary_angles])
@pytest.mark.parametrize("dim", [7, 1, 0, -2])
def test_an_odd_dim_is_named(make, dim):
    with pytest.raises(ValueError, match=f"dim must be even; it is {dim}"):
        make(torch.arange(3.0), dim)


@pytest.mark.parametrize("dim", [6, 2, 9])
def test_a_dim_not_divisible_by_four_is_named(dim):
    with pytest.raises(ValueError, match=f"divisible by 4; it is {dim}"):
        sincos_grid(2, 3, dim)


# ---------------------------------------------------------------- rotary positions


def test_rotation_is_a_product_of_complex_numbers():
    x, angles = random(2, 3, 5, 8).double(), random(5, 4, seed=1).double()
    turned = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones_like(angles), angles)
    close(rotate(x, angles), torch.cat([turned.real, turned.imag], -1), 1e-12)


def test_rotary_angles_fall_from_the_position_to_a_ten_thousandth_of_it():
    angles = rotary_angles(torch.tensor([0.0, 3.0]), 8)
    close(angles, torch.tensor([[0.0], [3.0]]) * 10_000 ** (-torch.arange(4) / 4), 1e-6)


@many_cases
@given(seed=st.integers(0, 1000), shift=st.integers(-50, 50))
def test_the_product_of_turned_tokens_depends_on_the_difference_of_positions_alone(seed, shift):
    q, k = random(2, 7, 8, seed=seed).double()
    positions = torch.arange(7, dtype=torch.float64)
    there, shifted = rotary_angles(positions, 8), rotary_angles(positions + shift, 8)
    scores = rotate(q, there) @ rotate(k, there).T
    close(rotate(q, shifted) @ rotate(k, shifted).T, scores, 1e-9)
    same_pair = rotate(q[:1].expand(7, 8), there) @ rotate(k[:1].expand(7, 8), there).T
    for offset in range(-6, 7):
        diagonal = same_pair.diagonal(offset)
        close(diagonal, diagonal[:1].expand_as(diagonal), 1e-9)
    assert differ(same_pair[0], same_pair[0, :1].expand(7))


def test_turning_keeps_lengths_and_the_token_at_zero():
    x = random(4, 6)
    turned = rotate(x, rotary_angles(torch.arange(4.0), 6))
    close(turned.norm(dim=1), x.norm(dim=1))
    assert torch.equal(turned[0], x[0])
    assert differ(turned[1:], x[1:])


# ---------------------------------------------------------------- attention


@pytest.mark.parametrize(("batch", "n", "m", "d"), [((), 4, 4, 8), ((1,), 1, 5, 3), ((2, 3), 7, 2, 16)])
def test_attention_is_that_of_torch(batch, n, m, d):
    q, k, v = (random(*batch, rows, d, seed=i).double() for i, rows in enumerate((n, m, m)))
    looked_up, weights = attention(q, k, v)
    close(looked_up, F.scaled_dot_product_attention(q, k, v), 1e-12)
    close(weights.sum(-1), torch.ones(*batch, n, dtype=torch.float64), 1e-12)
    close(weights @ v, looked_up, 1e-12)
    assert weights.shape == (*batch, n, m)


def test_attention_to_a_key_far_ahead_is_a_lookup():
    looked_up, weights = attention(100 * torch.eye(3), 100 * torch.eye(3), random(3, 3))
    close(weights, torch.eye(3))
    close(looked_up, random(3, 3))


@pytest.mark.parametrize("heads", [1, 2, 8])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_module_is_multihead_attention_of_torch(heads, batch):
    torch.manual_seed(0)
    ours, theirs = Attention(16, heads).double(), nn.MultiheadAttention(16, heads, batch_first=True).double()
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.project_in.weight,
            "in_proj_bias": ours.project_in.bias,
            "out_proj.weight": ours.project_out.weight,
            "out_proj.bias": ours.project_out.bias,
        }
    )
    x, context = random(batch, 5, 16).double(), random(batch, 9, 16, seed=1).double()
    close(ours(x), theirs(x, x, x)[0], 1e-12)
    close(ours(x, context), theirs(x, context, context)[0], 1e-12)
    weights = theirs(x, context, context, average_attn_weights=False)[1]
    close(attention(*ours.project_heads(x, context))[1], weights, 1e-12)


def test_heads_split_the_width_and_only_queries_and_keys_turn():
    module, x, angles = Attention(16, 2), random(3, 5, 16), rotary_angles(torch.arange(5.0), 8)
    plain, turned = module.project_heads(x), module.project_heads(x, angles=angles)
    assert [part.shape for part in plain] == [(3, 2, 5, 8)] * 3
    assert [part.shape for part in module.project_heads(x, random(3, 7, 16))] == [(3, 2, 5, 8)] + [(3, 2, 7, 8)] * 2
    together = torch.cat([part.transpose(1, 2).flatten(2) for part in plain], -1)
    close(together, module.project_in(x))
    close(turned[0], rotate(plain[0], angles))
    close(turned[1], rotate(plain[1], angles))
    close(turned[2], plain[2], 0)
    wanted = F.scaled_dot_product_attention(*turned).transpose(1, 2).flatten(2)
    close(module(x, angles=angles), module.project_out(wanted))
    assert differ(module(x, angles=angles), module(x))


@pytest.mark.parametrize("heads", [3, 0, -2, 64])
def test_heads_that_do_not_divide_the_width_are_named(heads):
    with pytest.raises(ValueError, match=f"share the width evenly: {heads} do not divide {WIDTH}"):
        Attention(WIDTH, heads)
    with pytest.raises(ValueError, match=f"{heads} do not divide {WIDTH}"):
        dit(heads=heads)


# ---------------------------------------------------------------- the transformer as it starts


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_new_model_predicts_zero(conditioning, batch, mode):
    output = dit(conditioning=conditioning).train(mode)(*inputs(batch))
    assert output.shape == (batch, TOKENS, 5)
    assert (output == 0).all()


def test_a_new_adaln_block_passes_tokens_on_unchanged():
    x, condition = random(2, TOKENS, WIDTH), random(2, 1, WIDTH, seed=1)
    for block in dit().blocks:
        assert torch.equal(block(x, condition), x)
        assert differ(perturbed(block)(x, condition), x)


@pytest.mark.parametrize("other", ["cross", "in_context"])
def test_a_new_block_of_another_kind_does_not(other):
    x = random(2, TOKENS, WIDTH)
    assert all(differ(block(x, random(2, 1, WIDTH)), x) for block in dit(conditioning=other).blocks)


def test_weights_start_as_published(conditioning):
    torch.manual_seed(0)
    model = DiT(nn.Linear(64, 64), 64, torch.zeros(4, 64), depth=2, num_classes=1000, conditioning=conditioning)
    zero = {model.head, model.modulation, *(block.modulation for block in model.blocks)} - {None}
    small = {model.time[0], model.time[2], model.label}
    for module in model.modules():
        if isinstance(module, nn.Linear):
            assert (module.bias == 0).all()
        if module in zero:
            assert (module.weight == 0).all()
        elif module in small:
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert abs(module.weight.mean().item()) < 0.001
        elif isinstance(module, nn.Linear):
            bound = math.sqrt(6 / (module.in_features + module.out_features))
            assert 0.98 * bound < module.weight.abs().max() <= bound
            assert module.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert model.label.weight.shape == (1001, 64)


def test_embeddings_of_ids_are_left_as_they_came():
    embedding = nn.Embedding(7, WIDTH)
    before = embedding.weight.detach().clone()
    DiT(embedding, 7, torch.zeros(TOKENS, WIDTH))
    assert torch.equal(embedding.weight, before)


# ---------------------------------------------------------------- the transformer as a function


def normed(x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def test_modulating_scales_and_shifts_by_what_is_added_to_one_and_zero():
    x, shift, scale = random(2, 5, 8), random(2, 1, 8, seed=1), random(2, 1, 8, seed=2)
    close(modulate(x, shift, scale), x * (1 + scale) + shift)
    assert torch.equal(modulate(x, torch.zeros(2, 1, 8), torch.zeros(2, 1, 8)), x)


def block_by_hand(block: DiTBlock, x: torch.Tensor, condition: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """arXiv 2212.09748, figure 3."""

    def mlp(x):
        return block.mlp[2](F.gelu(block.mlp[0](x)))

    if block.modulation is not None:
        six = block.modulation(condition * condition.sigmoid()).unflatten(-1, (6, WIDTH)).unbind(-2)
        x = x + six[2] * block.attention(normed(x) * (1 + six[1]) + six[0], angles=angles)
        return x + six[5] * mlp(normed(x) * (1 + six[4]) + six[3])
    x = x + block.attention(normed(x), angles=angles)
    if block.cross is not None:
        x = x + block.cross(normed(x), condition)
    return x + mlp(normed(x))


def test_the_model_is_the_published_formula(conditioning):
    angles = rotary_angles(torch.arange(float(TOKENS)), WIDTH // 4)
    model, (x, t, labels) = perturbed(dit(conditioning=conditioning, angles=angles)), inputs()
    tokens = model.embedding(x) + sincos_grid(2, 3, WIDTH)
    time = model.time[2](F.silu(model.time[0](sincos(1000 * t, 256))))[:, None]
    label = model.label.weight[labels][:, None]
    context = time + label if conditioning == "adaln" else torch.cat([time, label], 1)
    if conditioning == "in_context":
        tokens = torch.cat([tokens, context], 1)
        angles = torch.cat([angles, torch.zeros(2, WIDTH // 8)])  # time and label stand nowhere
    for block in model.blocks:
        tokens = block_by_hand(block, tokens, context, angles)
    shift, scale = model.modulation(F.silu(time + label)).chunk(2, -1)
    close(model(x, t, labels), model.head(normed(tokens[:, :TOKENS]) * (1 + scale) + shift), 1e-4)


@pytest.mark.parametrize("batch", [1, 3])
def test_input_time_and_label_change_the_output(conditioning, batch):
    model, (x, t, labels) = perturbed(dit(conditioning=conditioning)), inputs(batch)
    output = model(x, t, labels)
    assert output.shape == (batch, TOKENS, 5)
    assert differ(model(x + 1, t, labels), output)
    assert differ(model(x, t / 2, labels), output)
    assert differ(model(x, t, labels + 1), output)
    assert differ(model(x, t), output)
    assert torch.equal(model(x, t, labels), output)


def test_one_changed_token_is_seen_by_all(conditioning):
    model, (x, t, labels) = perturbed(dit(conditioning=conditioning)), inputs(1)
    changed = x.clone()
    changed[:, 0] += 1
    assert ((model(changed, t, labels) - model(x, t, labels)).abs().amax(-1) > 1e-4).all()


def test_rows_of_a_batch_do_not_see_each_other(conditioning):
    model, (x, t, labels) = perturbed(dit(conditioning=conditioning)), inputs()
    together = model(x, t, labels)
    for i in range(3):
        close(model(x[i : i + 1], t[i : i + 1], labels[i : i + 1]), together[i : i + 1])


def test_without_positions_the_order_of_tokens_is_unknown(conditioning):
    order, (x, t, labels) = torch.tensor([3, 0, 5, 1, 4, 2]), inputs()
    blind = perturbed(dit(conditioning=conditioning, positions=torch.zeros(TOKENS, WIDTH)))
    close(blind(x[:, order], t, labels), blind(x, t, labels)[:, order])
    for seeing in (
        dit(conditioning=conditioning),
        dit(
            conditioning=conditioning,
            positions=torch.zeros(TOKENS, WIDTH),
            angles=rotary_angles(torch.arange(float(TOKENS)), WIDTH // 4),
        ),
    ):
        model = perturbed(seeing)
        assert differ(model(x[:, order], t, labels), model(x, t, labels)[:, order])


@pytest.mark.parametrize("conditioning", ["adaln", "cross"])
def test_rotary_positions_count_from_anywhere(conditioning):
    outputs = []
    for start in (0.0, 20.0):
        angles = rotary_angles(torch.arange(TOKENS) + start, WIDTH // 4)
        model = dit(conditioning=conditioning, positions=torch.zeros(TOKENS, WIDTH), angles=angles)
        outputs.append(perturbed(model)(*inputs()))
    close(outputs[0], outputs[1])


def test_times_of_tokens_that_are_all_alike_are_one_time():
    model, (x, t, labels) = perturbed(dit()), inputs()
    close(model(x, t[:, None].expand(3, TOKENS), labels), model(x, t, labels))
    mixed = t[:, None].repeat(1, TOKENS)
    mixed[:, 2] = 1 - mixed[:, 2] / 2
    apart = (model(x, mixed, labels) - model(x, t, labels)).abs().amax((0, 2))
    assert apart.argmax() == 2


def test_times_are_embedded_as_a_thousand_steps():
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    model, seen, t = dit(), [], torch.tensor([0.0, 0.004, 1.0])
    model.time[0].register_forward_hook(lambda module, args, output: seen.append(args[0]))
    model(random(3, TOKENS, 4), t)
    theirs = embeddings.get_timestep_embedding(1000 * t, 256, flip_sin_to_cos=True, downscale_freq_shift=0)
    close(seen[0].flatten(0, -2), theirs, 1e-4)


def test_times_of_rows_and_of_tokens_have_the_same_vectors():
    torch.manual_seed(0)
    embedding, t = TimeEmbedding(WIDTH), torch.rand(3, TOKENS, generator=torch.Generator().manual_seed(1))
    assert embedding(t).shape == (3, TOKENS, WIDTH)
    assert embedding(t[:, 0]).shape == (3, 1, WIDTH)
    close(embedding(t[:, 0]), embedding(t)[:, :1])


def test_ids_go_through_an_embedding(conditioning):
    torch.manual_seed(0)
    model = perturbed(
        DiT(nn.Embedding(7, WIDTH), 7, sincos_grid(2, 3, WIDTH), depth=1, conditioning=conditioning)
    ).eval()
    ids = torch.tensor([[0, 1, 2, 3, 4, 6]])
    output = model(ids, torch.tensor([0.5]))
    assert output.shape == (1, TOKENS, 7)
    assert differ(model((ids + 1) % 7, torch.tensor([0.5])), output)


@pytest.mark.parametrize("depth", [1, 3])
def test_gradients_reach_every_weight(conditioning, depth):
    model = perturbed(dit(conditioning=conditioning, depth=depth)).train()
    (model(*inputs()) * random(3, TOKENS, 5, seed=2)).sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name


def test_a_new_model_learns_at_its_zero_output_first():
    model = dit().train()
    model(*inputs()).sum().backward()
    moved = {name for name, weight in model.named_parameters() if weight.grad.abs().sum() > 0}
    assert moved == {"head.weight", "head.bias"}


def test_the_state_restores_a_model_and_holds_no_positions(conditioning):
    options = {"conditioning": conditioning, "angles": rotary_angles(torch.arange(float(TOKENS)), WIDTH // 4)}
    model, other = perturbed(dit(**options)), dit(**options)
    assert differ(other(*inputs()), model(*inputs()))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(*inputs()), model(*inputs()))
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_a_copy_is_independent():
    model = dit()
    twin = copy.deepcopy(model)
    perturbed(model)
    assert (twin(*inputs()) == 0).all()


def test_a_model_moves_to_float64_as_a_whole(conditioning):
    angles = rotary_angles(torch.arange(float(TOKENS)), WIDTH // 4)
    model, (x, t, labels) = perturbed(dit(conditioning=conditioning, angles=angles)), inputs()
    single = model(x, t, labels)
    double = model.double()(x.double(), t.double(), labels)
    assert double.dtype == torch.float64
    close(double.float(), single, 1e-3)


@pytest.mark.parametrize("labelled", [True, False])
def test_an_exported_model_takes_any_batch(conditioning, labelled):
    model = perturbed(dit(conditioning=conditioning))
    count = 3 if labelled else 2
    batch = torch.export.Dim("batch")
    program = torch.export.export(model, inputs()[:count], dynamic_shapes=({0: batch},) * count)
    for size in (2, 5):
        close(program.module()(*inputs(size)[:count]), model(*inputs(size)[:count]))


@pytest.mark.parametrize("mode", [True, False])
def test_a_compiled_model_is_one_graph(conditioning, mode):
    model = perturbed(dit(conditioning=conditioning)).train(mode)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.manual_seed(0)
    ours = compiled(*inputs())
    torch.manual_seed(0)  # the same labels are hidden
    close(ours, model(*inputs()))


# ---------------------------------------------------------------- labels


def test_no_labels_are_the_row_after_the_last(conditioning):
    model, (x, t, labels) = perturbed(dit(conditioning=conditioning)), inputs()
    hidden = model(x, t)
    assert differ(model(x, t, labels), hidden)
    with torch.no_grad():
        model.label.weight[labels] = model.label.weight[10].clone()
    close(model(x, t, labels), hidden)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_in_training_a_share_of_labels_is_hidden_and_else_none(share):
    torch.manual_seed(0)
    model = DiT(nn.Linear(4, 8), 1, torch.zeros(1, 8), depth=0, num_classes=10, label_dropout=share)
    seen, n = [], 20_000

    def watch(module, args, output):  # (n, 1, 8): which row of the table is it?
        seen.append((output == module.weight).all(-1).int().argmax(1))

    model.label.register_forward_hook(watch)
    labels = torch.arange(n) % 10
    for mode in (True, False):
        model.train(mode)(torch.zeros(n, 1, 4), torch.full((n,), 0.5), labels)
    hidden = seen[0] == 10
    assert hidden.float().mean().item() == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / n))
    assert torch.equal(seen[0][~hidden], labels[~hidden])
    assert labels[hidden].unique().tolist() == list(range(10))
    assert torch.equal(seen[1], labels)
    assert torch.equal(labels, torch.arange(n) % 10)


def test_a_label_has_a_vector_and_no_label_has_the_last():
    torch.manual_seed(0)
    embedding = LabelEmbedding(10, 8, dropout=0.3)
    assert torch.equal(embedding.eval()(torch.tensor([3, 0])), embedding.weight[[3, 0], None])
    for mode in (True, False):
        assert torch.equal(embedding.train(mode)(None), embedding.weight[None, 10:])
    assert LabelEmbedding(10, 8, dropout=0).weight.shape == (10, 8)


def test_hidden_labels_follow_torchs_generator():
    model, (x, t, _) = perturbed(dit(label_dropout=0.5)).train(), inputs(16)
    outputs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        outputs.append(model(x, t, torch.arange(16) % 10))
    assert torch.equal(outputs[0], outputs[1])
    assert differ(outputs[0], outputs[2])


def test_without_dropout_no_label_is_hidden_and_no_row_is_spare():
    model, (x, t, labels) = perturbed(dit(label_dropout=0)), inputs()
    assert model.label.weight.shape == (10, WIDTH)
    assert torch.equal(model.train()(x, t, labels), model.eval()(x, t, labels))
    with pytest.raises(ValueError, match=r"label_dropout=0.*give labels"):
        model(x, t)


def test_a_model_without_classes_takes_no_labels(conditioning):
    model, (x, t, labels) = perturbed(dit(num_classes=0, conditioning=conditioning)), inputs()
    assert model.label is None
    assert model(x, t).shape == (3, TOKENS, 5)
    with pytest.raises(ValueError, match="num_classes=0 and takes no labels"):
        model(x, t, labels)


# ---------------------------------------------------------------- attention maps


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize(("conditioning", "extra"), [("adaln", 0), ("cross", 0), ("in_context", 2)])
def test_maps_are_the_weights_by_which_each_block_looks(conditioning, extra, rotary):
    angles = rotary_angles(torch.arange(float(TOKENS)), WIDTH // 4) if rotary else None
    model = perturbed(dit(conditioning=conditioning, depth=3, angles=angles))
    seen = []

    def watch(module, args, kwargs, output):
        seen.append((module, module.project_heads(*args, **kwargs)[2], output))

    hooks = [block.attention.register_forward_hook(watch, with_kwargs=True) for block in model.blocks]
    maps = attention_maps(model, *inputs())
    for hook in hooks:
        hook.remove()
    assert [weights.shape for weights in maps] == [(3, 4, TOKENS + extra, TOKENS + extra)] * 3
    assert [module for module, _, _ in seen] == [block.attention for block in model.blocks]
    for weights, (module, v, output) in zip(maps, seen, strict=True):
        close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        assert weights.min() >= 0
        close(module.project_out((weights @ v).transpose(1, 2).flatten(2)), output)
        assert not weights.requires_grad


def test_maps_leave_the_model_as_it_was():
    model = perturbed(dit())
    before = model(*inputs())
    attention_maps(model, *inputs())
    with pytest.raises(ValueError, match="labels must be"):
        attention_maps(model, *inputs()[:2], torch.tensor([0, 1, 10]))
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(model(*inputs()), before)


def test_maps_of_a_model_inside_another_are_found():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = dit()

        def forward(self, x):
            return self.inner(x, torch.full((len(x),), 0.5))

    assert len(attention_maps(Wrapped(), inputs()[0])) == 2


# ---------------------------------------------------------------- blocks for clips


PER_FRAME = 4
CLIP = 3 * PER_FRAME  # three frames, which stand one after the other
FRAME, PLACE = torch.arange(CLIP) // PER_FRAME, torch.arange(CLIP) % PER_FRAME
TOGETHER = {"space": FRAME[:, None] == FRAME, "time": PLACE[:, None] == PLACE}  # who may look at whom


def clip_block(along: str) -> SpaceTimeBlock:
    torch.manual_seed(0)
    return SpaceTimeBlock(perturbed(DiTBlock(WIDTH, 4)), frames=3, along=along)


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("conditions", [1, CLIP])
@pytest.mark.parametrize("along", ["space", "time"])
def test_a_block_for_clips_is_a_masked_block(along, conditions, rotary, monkeypatch):
    layer, x, condition = clip_block(along), random(2, CLIP, WIDTH), random(2, conditions, WIDTH, seed=1)
    stands = PLACE if along == "space" else FRAME  # where a token stands among those that it looks at
    angles = rotary_angles(torch.arange(3.0 if along == "time" else PER_FRAME), WIDTH // 4) if rotary else None
    found = layer(x, condition, angles)
    assert differ(found, layer.block(x, condition))
    plain = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda q, k, v: plain(q, k, v, attn_mask=TOGETHER[along]))
    close(found, layer.block(x, condition, angles[stands] if rotary else None))


@pytest.mark.parametrize("along", ["space", "time"])
def test_a_change_reaches_the_own_frame_or_place_and_no_other(along):
    layer, x, condition = clip_block(along), random(1, CLIP, WIDTH), random(1, 1, WIDTH, seed=1)
    before = layer(x, condition)
    for token in range(CLIP):
        changed = x.clone()
        changed[:, token] += random(WIDTH, seed=2)
        reached = (layer(changed, condition) - before).abs().amax((0, 2)) > 1e-4
        assert torch.equal(reached, TOGETHER[along][token])


def test_space_and_time_in_turn_reach_the_whole_clip():
    space, time = clip_block("space"), clip_block("time")
    x, condition = random(2, CLIP, WIDTH), random(2, 1, WIDTH, seed=1)
    changed = x.clone()
    changed[0, 5] += random(WIDTH, seed=2)
    apart = (time(space(changed, condition), condition) - time(space(x, condition), condition)).abs().amax(2)
    assert (apart[0] > 1e-5).all()
    assert not apart[1].any()  # the other clip of the batch


def test_maps_of_blocks_for_clips_are_parts_of_the_whole_map():
    """Attention among fewer tokens is the attention among all, cut out and made to sum to 1."""
    inputs = random(2, CLIP, 4), torch.tensor([0.2, 0.7])
    for along in ("space", "time"):
        model = perturbed(dit(positions=sincos_grid(3, PER_FRAME, WIDTH), depth=1, num_classes=0))
        (whole,) = attention_maps(model, *inputs)
        model.blocks[0] = SpaceTimeBlock(model.blocks[0], 3, along)
        (part,) = attention_maps(model, *inputs)
        together = TOGETHER[along]
        cut = whole * together / (whole * together).sum(-1, keepdim=True)
        groups = (FRAME if along == "space" else PLACE).unique()
        wanted = []
        for row in range(2):
            for group in groups:
                own = (FRAME if along == "space" else PLACE) == group
                wanted.append(cut[row][:, own][:, :, own])
        close(part, torch.stack(wanted))


@pytest.mark.parametrize(("along", "frames"), [("depth", 3), ("", 3), (None, 3), ("time", 0), ("space", -1)])
def test_an_axis_or_a_number_of_frames_that_is_none_is_named(along, frames):
    with pytest.raises(ValueError, match=f"at least 1; they are {along!r} and {frames}"):
        SpaceTimeBlock(DiTBlock(WIDTH, 4), frames, along)


def test_tokens_that_make_no_frames_are_named():
    with pytest.raises(ValueError, match="13 tokens do not make 3 frames"):
        clip_block("time")(random(1, 13, WIDTH), random(1, 1, WIDTH))


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("conditioning", ["film", "", None])
def test_an_unknown_conditioning_is_named(conditioning):
    with pytest.raises(ValueError, match=f'"cross" or "in_context"; it is {conditioning!r}'):
        DiTBlock(WIDTH, 4, conditioning)
    with pytest.raises(ValueError, match=f"it is {conditioning!r}"):
        dit(conditioning=conditioning)


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, math.nan])
def test_a_label_dropout_that_is_no_share_is_named(share):
    with pytest.raises(ValueError, match=f"share from 0 to below 1; it is {share}"):
        dit(label_dropout=share)


X, T = torch.zeros(3, TOKENS, 4), torch.full((3,), 0.5)


@pytest.mark.parametrize(
    ("x", "t", "labels", "message"),
    [
        (X[:, 1:], T, None, r"\(batch, 6, …\).*they are \(3, 5, 4\) and \(3,\)"),
        (X[0, 0], T, None, r"they are \(4,\)"),
        (X, T[:2], None, r"\(3, 6, 4\) and \(2,\)"),
        (X, torch.tensor(0.5), None, r"\(3, 6, 4\) and \(\)"),
        (X, torch.full((3, 5), 0.5), None, r"\(3, 6, 4\) and \(3, 5\)"),
        (X, torch.full((3, 6, 1), 0.5), None, r"\(3, 6, 4\) and \(3, 6, 1\)"),
        (X, torch.tensor([0.5, 1.5, 0.0]), None, r"\[0, 1\]; got 0 to 1.5"),
        (X, torch.tensor([0.5, -0.25, 0.0]), None, r"\[0, 1\]; got -0.25 to 0.5"),
        (X, torch.tensor([0.5, math.nan, 0.0]), None, r"\[0, 1\]; got nan"),
        (X, torch.tensor([10, 500, 999]), None, r"\[0, 1\]; got 10 to 999"),
        (X.double(), T, None, r"computes in torch.float32; x is torch.float64"),
        (X.half(), T, None, r"computes in torch.float32; x is torch.float16"),
        (X, T, torch.tensor([0, 1, 10]), r"0 … 9 .*span 0 … 10"),
        (X, T, torch.tensor([0, -1, 2]), r"0 … 9 .*span -1 … 2"),
        (X, T, torch.tensor([0, 1]), r"each row of x; they are \(2,\)"),
        (X, T, torch.tensor([[0], [1], [2]]), r"each row of x; they are \(3, 1\)"),
        (X, T, torch.tensor(1), r"each row of x; they are \(\)"),
        (X.to("meta"), T, None, r"on one device; they are on \['cpu', 'meta'\]"),
        (X, T.to("meta"), None, r"on one device; they are on \['cpu', 'meta'\]"),
        (X, T, torch.zeros(3, dtype=torch.long, device="meta"), r"on one device; they are on \['cpu', 'meta'\]"),
    ],
)
def test_input_that_does_not_fit_is_named(conditioning, x, t, labels, message):
    with pytest.raises(ValueError, match=message):
        dit(conditioning=conditioning)(x, t, labels)


@pytest.mark.parametrize("conditioning", ["cross", "in_context"])
def test_only_adaln_gives_tokens_times_of_their_own(conditioning):
    with pytest.raises(ValueError, match='Only conditioning="adaln"'):
        dit(conditioning=conditioning)(X, T[:, None].expand(3, TOKENS))
