import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from vqdit_lite.metrics import perplexity
from vqdit_lite.quantize import (
    FiniteScalarQuantizer,
    VectorQuantizer,
    ema_update,
    kmeans,
    nearest_code,
    revive,
    rotation,
    smoothed_means,
    straight_through,
)
from vqdit_lite.residual import ResidualQuantizer

many_cases = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**31)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def distortion(points: torch.Tensor, codebook: torch.Tensor) -> float:
    return torch.cdist(points, codebook).min(1).values.square().mean().item()


BUILDERS = {
    "ema": lambda: VectorQuantizer(16, 4),
    "gradient": lambda: VectorQuantizer(16, 4, learning="gradient"),
    "cosine": lambda: VectorQuantizer(16, 4, cosine=True),
    "cosine gradient": lambda: VectorQuantizer(16, 4, cosine=True, learning="gradient"),
    "rotation": lambda: VectorQuantizer(16, 4, estimator=rotation),
    "fsq": lambda: FiniteScalarQuantizer([4, 3, 8, 5]),
    "residual": lambda: ResidualQuantizer([VectorQuantizer(16, 4) for _ in range(3)]),
    "residual rotation": lambda: ResidualQuantizer([VectorQuantizer(16, 4) for _ in range(3)], estimator=rotation),
    "residual fsq": lambda: ResidualQuantizer([FiniteScalarQuantizer([3] * 4) for _ in range(2)]),
}


@pytest.fixture(params=BUILDERS)
def quantizer(request):
    torch.manual_seed(0)
    return BUILDERS[request.param]()


# ---------------------------------------------------------------- nearest_code


@many_cases
@given(seed=seeds, m=st.integers(1, 40), k=st.integers(1, 40), d=st.integers(1, 12))
def test_the_nearest_code_is_the_one_that_brute_force_finds(seed, m, k, d):
    z, codebook = random(m, d, seed=seed).double(), random(k, d, seed=seed + 1).double()
    distances = (z[:, None] - codebook[None]).square().sum(-1)
    chosen = distances.gather(1, nearest_code(z, codebook)[:, None]).squeeze(1)
    assert (chosen - distances.min(1).values).max() < 1e-4


def test_nearest_code_agrees_with_cdist():
    z, codebook = random(500, 8), random(64, 8, seed=1)
    distances = torch.cdist(z, codebook, compute_mode="donot_use_mm_for_euclid_dist")
    assert torch.equal(nearest_code(z, codebook), distances.argmin(1))


def test_ties_go_to_the_lowest_index():
    corners = torch.tensor([[9.0, 9.0], [1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    z = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [0.0, -1.0], [1.0, 0.0]])
    assert nearest_code(z, corners).tolist() == [1, 2, 3, 1]


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 3, 4, 5), (0,), (3, 0)])
def test_nearest_code_takes_any_leading_shape(shape):
    z, codebook = random(*shape, 3), random(7, 3, seed=1)
    ids = nearest_code(z, codebook)
    assert ids.shape == shape
    assert ids.dtype == torch.int64
    assert torch.equal(ids.flatten(), torch.cdist(z.reshape(-1, 3), codebook).argmin(1))


@pytest.mark.parametrize("max_elements", [1, 7, 100, 101, 10**9])
def test_the_size_of_the_parts_does_not_change_the_ids(max_elements):
    z, codebook = random(300, 4), random(10, 4, seed=1)
    assert torch.equal(nearest_code(z, codebook, max_elements), torch.cdist(z, codebook).argmin(1))


def test_no_gradient_passes_through_ids():
    assert not nearest_code(random(3, 2).requires_grad_(), random(4, 2).requires_grad_()).requires_grad


class LargestResult(TorchDispatchMode):
    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


def test_a_quarter_of_a_million_tokens_never_make_a_large_table():
    with FakeTensorMode(), LargestResult() as largest:
        ids = nearest_code(torch.empty(262_144, 8), torch.empty(8192, 8))
    assert ids.shape == (262_144,)
    assert 0 < largest.numel <= 2**22


def test_nearest_code_without_codes_says_so():
    with pytest.raises(ValueError, match="code"):
        nearest_code(random(3, 2), torch.zeros(0, 2))


def test_nearest_code_of_another_dimension_says_so():
    with pytest.raises(ValueError, match=r"3.*2|2.*3"):
        nearest_code(random(5, 3), random(4, 2))


# ---------------------------------------------------------------- kmeans


@many_cases
@given(seed=seeds, k=st.integers(1, 12))
def test_no_round_of_kmeans_raises_the_distortion(seed, k):
    points = random(80, 3, seed=seed)
    rounds = [kmeans(points, k, torch.Generator().manual_seed(seed), iterations=i) for i in range(6)]
    errors = [distortion(points, codebook) for codebook in rounds]
    assert all(after <= before * (1 + 1e-5) for before, after in zip(errors, errors[1:], strict=False))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kmeans_ends_at_the_codes_of_scikit_learns_from_the_same_start(seed):
    points = random(600, 4, seed=seed)
    start = kmeans(points, 16, torch.Generator().manual_seed(seed), iterations=0)
    ours = kmeans(points, 16, torch.Generator().manual_seed(seed), iterations=100)
    theirs = KMeans(16, init=start.numpy(), n_init=1, max_iter=100, tol=0).fit(points.numpy())
    torch.testing.assert_close(ours, torch.from_numpy(theirs.cluster_centers_), atol=1e-4, rtol=1e-4)


def test_kmeans_starts_at_points_and_keeps_what_it_was_given():
    points = random(20, 2)
    before = points.clone()
    start = kmeans(points, 5, torch.Generator().manual_seed(0), iterations=0)
    kmeans(points, 5, torch.Generator().manual_seed(0))
    assert (torch.cdist(start, points).min(1).values < 1e-6).all()
    assert torch.equal(points, before)


def test_kmeans_leaves_a_code_that_no_point_chooses():
    points = torch.tensor([[1.0], [1.0], [1.0]])
    assert kmeans(points, 3, torch.Generator().manual_seed(0)).tolist() == [[1.0]] * 3


def test_kmeans_with_too_few_points_says_how_many_came():
    with pytest.raises(ValueError, match=r"1 … 4, the number of points; it is 5"):
        kmeans(random(4, 2), 5, torch.Generator().manual_seed(0))


# ---------------------------------------------------------------- estimators


def test_straight_through_has_the_value_of_the_codes_and_the_gradient_of_z():
    z, codes, weights = random(4, 3).requires_grad_(), random(4, 3, seed=1).requires_grad_(), random(4, 3, seed=2)
    out = straight_through(z, codes)
    (out * weights).sum().backward()
    torch.testing.assert_close(out, codes)
    assert torch.equal(z.grad, weights)
    assert codes.grad is None


def turn(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The matrix that turns the direction of a into that of b in their plane and leaves the rest alone."""
    u = a / a.norm()
    across = b - (b @ u) * u
    v = across / across.norm()
    cosine, sine = b @ u / b.norm(), across.norm() / b.norm()
    in_plane = (cosine - 1) * (torch.outer(u, u) + torch.outer(v, v)) + sine * (torch.outer(v, u) - torch.outer(u, v))
    return torch.eye(len(a), dtype=a.dtype) + in_plane


@many_cases
@given(seed=seeds, d=st.integers(2, 8))
def test_rotation_is_a_turn_and_a_stretch_that_leads_to_the_code(seed, d):
    z, codes, weights = random(3, 1, d, seed=seed).double()
    z.requires_grad_()
    out = rotation(z, codes)
    (out * weights).sum().backward()
    stretch = codes[0].norm() / z[0].detach().norm()
    torch.testing.assert_close(out, codes, atol=1e-7, rtol=1e-7)
    wanted = stretch * turn(z[0].detach(), codes[0]).T @ weights[0]
    torch.testing.assert_close(z.grad[0], wanted, atol=1e-7, rtol=1e-7)


def test_rotation_where_z_already_points_to_its_code_only_stretches():
    z, codes = torch.tensor([[3.0, 4.0]], requires_grad=True), torch.tensor([[6.0, 8.0]])
    rotation(z, codes).sum().backward()
    torch.testing.assert_close(z.grad, torch.tensor([[2.0, 2.0]]))


@pytest.mark.parametrize(
    ("z", "code"),
    [([1.0, 2.0], [-2.0, -4.0]), ([0.0, 0.0], [1.0, 1.0]), ([1.0, 2.0], [0.0, 0.0]), ([0.0, 0.0], [0.0, 0.0])],
    ids=["opposite", "z is zero", "code is zero", "both are zero"],
)
def test_rotation_falls_back_to_straight_through_where_no_turn_exists(z, code):
    z, codes = torch.tensor([z], requires_grad=True), torch.tensor([code])
    out = rotation(z, codes)
    out[0, 0].backward()
    torch.testing.assert_close(out, codes)
    assert z.grad.tolist() == [[1.0, 0.0]]


# ---------------------------------------------------------------- running means


@many_cases
@given(seed=seeds, k=st.integers(1, 8), m=st.integers(1, 30), decay=st.floats(0, 1))
def test_running_means_are_those_of_counting_by_hand_and_the_arguments_stay(seed, k, m, decay):
    counts, sums, z = random(k, seed=seed).exp(), random(k, 3, seed=seed + 1), random(m, 3, seed=seed + 2)
    ids = torch.randint(k, (m,), generator=torch.Generator().manual_seed(seed))
    kept = [x.clone() for x in (counts, sums, z, ids)]
    new_counts, new_sums = ema_update(counts, sums, z, ids, decay)
    for code in range(k):
        mine = z[ids == code]
        torch.testing.assert_close(new_counts[code], decay * counts[code] + (1 - decay) * len(mine))
        torch.testing.assert_close(new_sums[code], decay * sums[code] + (1 - decay) * mine.sum(0), atol=1e-4, rtol=1e-4)
    assert all(torch.equal(old, x) for old, x in zip(kept, (counts, sums, z, ids), strict=True))


def test_smoothed_means_are_the_quotients_and_finite_for_a_count_of_zero():
    counts, sums = torch.tensor([10.0, 0.0, 30.0]), torch.tensor([[20.0, 10.0], [0.0, 0.0], [-30.0, 0.0]])
    wanted = torch.tensor([[2.0, 1.0], [0.0, 0.0], [-1.0, 0.0]])
    torch.testing.assert_close(smoothed_means(counts, sums), wanted, atol=1e-5, rtol=1e-5)


def test_revival_restarts_the_dead_at_vectors_of_the_batch_and_leaves_all_else():
    codebook, z = random(4, 2), random(40, 2, seed=1)  # a fair part is 10
    counts = torch.tensor([5.0, 0.99, 1.0, 0.0])  # at a tenth of it, a code lives
    sums = codebook * counts[:, None]
    kept = [x.clone() for x in (codebook, counts, sums)]
    torch.manual_seed(0)
    codes, new_counts, new_sums = revive(codebook, counts, sums, z, share=0.1)
    alive, dead = [0, 2], [1, 3]
    assert torch.equal(codes[alive], codebook[alive])
    assert torch.equal(new_sums[alive], sums[alive])
    assert new_counts.tolist() == [5, 10, 1, 10]
    assert all((z == code).all(1).any() for code in codes[dead])
    torch.testing.assert_close(new_sums[dead] / new_counts[dead, None], codes[dead])
    assert all(torch.equal(old, x) for old, x in zip(kept, (codebook, counts, sums), strict=True))


# ---------------------------------------------------------------- every quantizer


def test_codes_are_what_lookup_gives(quantizer):
    z = random(2, 50, 4)
    quantizer(z)
    quantizer.eval()
    result = quantizer(z)
    assert result.codes.shape == z.shape
    assert result.ids.shape[:2] == (2, 50)
    torch.testing.assert_close(quantizer.lookup(result.ids), result.codes, atol=1e-5, rtol=1e-5)


def test_gradients_reach_the_vectors(quantizer):
    z = random(2, 50, 4).requires_grad_()
    result = quantizer(z)
    ((result.codes * random(2, 50, 4, seed=1)).sum() + result.loss).backward()
    assert z.grad.isfinite().all()
    assert (z.grad.abs().sum((0, 1)) > 0).all()


def test_outside_training_nothing_moves(quantizer):
    before = copy.deepcopy(quantizer.state_dict())
    with torch.no_grad():
        quantizer(random(2, 50, 4))
    quantizer.eval()
    quantizer(random(2, 50, 4, seed=1).requires_grad_())
    assert all(torch.equal(before[name], tensor) for name, tensor in quantizer.state_dict().items())


def test_a_copy_is_independent(quantizer):
    twin, z = copy.deepcopy(quantizer), random(2, 50, 4)
    before = copy.deepcopy(twin.state_dict())
    quantizer(z)
    assert all(torch.equal(before[name], tensor) for name, tensor in twin.state_dict().items())


def test_the_state_restores_a_quantizer(quantizer, request):
    quantizer(random(2, 50, 4))
    torch.manual_seed(1)
    other = BUILDERS[request.node.callspec.params["quantizer"]]()
    other.load_state_dict(quantizer.state_dict())
    z = random(2, 50, 4, seed=1)
    first, second = quantizer.eval()(z), other.eval()(z)
    assert torch.equal(first.ids, second.ids)
    assert torch.equal(first.codes, second.codes)


def test_no_attribute_hides_a_method_of_modules(quantizer):
    plain = nn.Module()
    own = {*vars(quantizer), *quantizer._buffers, *quantizer._parameters, *quantizer._modules} - set(vars(plain))
    assert not own & set(dir(plain))
    assert quantizer.half().double().float().dim == 4


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (torch.zeros(2, 5, 3), r"dimension 4 .*\(2, 5, 3\)"),
        (torch.zeros(4), r"shape \(4,\)"),
        (torch.zeros(2, 5, 4, dtype=torch.long), "torch.int64"),
        (torch.zeros(0, 5, 4), r"\(0, 5, 4\)"),
        (torch.zeros(2, 0, 4), r"\(2, 0, 4\)"),
        (torch.full((2, 5, 4), float("nan")), "NaN or infinity"),
        (torch.tensor([[[1.0, 1.0, 1.0, float("inf")]]]), "NaN or infinity"),
        (torch.tensor([[[1.0, 1.0, float("-inf"), float("inf")]]]), "NaN or infinity"),
        (torch.zeros(2, 5, 4, device="meta"), "on cpu, but z is on meta"),
    ],
    ids=["dimension", "no batch", "whole", "empty batch", "no tokens", "NaN", "infinity", "infinities", "device"],
)
def test_bad_vectors_are_named(quantizer, z, message):
    with pytest.raises(ValueError, match=message):
        quantizer(z)


def test_many_finite_halves_are_no_divergence():
    assert VectorQuantizer(16, 4).eval()(torch.full((1, 20_000, 4), 2.0).half()).ids.shape == (1, 20_000)


@pytest.mark.parametrize(
    ("number", "message"),
    [(10**4, r"span .* 10000"), (-1, r"span -1"), (0.5, "torch.float32"), (True, "torch.bool")],
)
def test_bad_ids_are_named(quantizer, number, message):
    ids = torch.zeros(2, 5, 3 if "stages" in quantizer._modules else 1).type(torch.tensor(number).dtype)
    ids = ids[..., : len(quantizer.stages)] if "stages" in quantizer._modules else ids[..., 0]
    ids[0, 0] = number
    with pytest.raises(ValueError, match=message):
        quantizer.lookup(ids)


# ---------------------------------------------------------------- VectorQuantizer


def test_one_step_of_running_means_is_the_formula():
    quantizer = VectorQuantizer(4, 2, decay=0.9, revive_below=0)
    start, z = quantizer.codebook.clone(), random(3, 10, 2)
    flat, ids = z.flatten(0, 1), quantizer(z).ids.flatten()
    used = torch.tensor([(ids == k).sum().item() for k in range(4)])
    counts = 0.9 * torch.ones(4) + 0.1 * used
    sums = 0.9 * start + 0.1 * torch.stack([flat[ids == k].sum(0) for k in range(4)])
    smoothed = (counts + 1e-5) / (counts.sum() + 4 * 1e-5) * counts.sum()
    torch.testing.assert_close(quantizer.counts, counts)
    torch.testing.assert_close(quantizer.sums, sums)
    torch.testing.assert_close(quantizer.codebook, sums / smoothed[:, None])


def test_running_means_settle_on_the_means():
    z = torch.tensor([[[-3.0, 0.0], [-1.0, 0.0], [4.0, 2.0], [6.0, 2.0]]])
    quantizer = VectorQuantizer(2, 2, decay=0.8)
    quantizer.initialise(z, torch.Generator().manual_seed(0))
    for _ in range(100):
        quantizer(z)
    torch.testing.assert_close(
        quantizer.codebook.sort(0).values, torch.tensor([[-2.0, 0.0], [5.0, 2.0]]), atol=1e-3, rtol=0
    )


def test_the_ema_loss_is_the_commitment_and_pulls_the_vectors():
    quantizer, z = VectorQuantizer(8, 3, beta=0.7).eval(), random(2, 6, 3).requires_grad_()
    result = quantizer(z)
    codes = quantizer.lookup(result.ids)
    result.loss.backward()
    torch.testing.assert_close(result.loss, 0.7 * (z - codes).square().mean())
    torch.testing.assert_close(z.grad, 0.7 * 2 * (z.detach() - codes) / z.numel())
    assert not list(quantizer.parameters())


def test_the_gradient_loss_pulls_vectors_by_beta_and_codes_fully():
    quantizer, z = VectorQuantizer(8, 3, beta=0.7, learning="gradient"), random(2, 6, 3).requires_grad_()
    quantizer.eval()
    result = quantizer(z)
    codes = quantizer.lookup(result.ids).detach()
    result.loss.backward()
    apart = (2 * (z.detach() - codes) / z.numel()).flatten(0, 1)
    torch.testing.assert_close(result.loss, 1.7 * (z - codes).square().mean())
    torch.testing.assert_close(z.grad.flatten(0, 1), 0.7 * apart)
    torch.testing.assert_close(
        quantizer.codebook.grad, torch.zeros(8, 3).index_add(0, result.ids.flatten(), -apart), atol=1e-7, rtol=1e-5
    )


def test_no_gradient_of_the_decoder_reaches_the_codebook():
    quantizer = VectorQuantizer(8, 3, learning="gradient")
    quantizer(random(2, 6, 3).requires_grad_()).codes.sum().backward()
    assert quantizer.codebook.grad is None


@pytest.mark.parametrize("learning", ["ema", "gradient"])
@pytest.mark.parametrize("cosine", [False, True])
def test_a_dead_code_restarts_at_a_vector_and_survives(learning, cosine):
    torch.manual_seed(0)
    quantizer = VectorQuantizer(4, 2, learning=learning, cosine=cosine, decay=0.5)
    z = random(1, 40, 2)
    quantizer.initialise(z, torch.Generator().manual_seed(0))
    with torch.no_grad():
        quantizer.codebook[2] = F.normalize(torch.tensor([1000.0, 1000.0]), dim=0) * (1 if cosine else 1000)
        quantizer.counts[2] = 0.0
        if learning == "ema":
            quantizer.sums[2] = 0.0
    quantizer.decay = 1.0
    quantizer(z)
    wanted = F.normalize(z, dim=-1) if cosine else z
    assert torch.cdist(quantizer.codebook[2:3], wanted[0]).min() < 1e-6
    assert quantizer.counts[2] == 10
    if learning == "ema":
        torch.testing.assert_close(quantizer.sums[2], 10 * quantizer.codebook[2])
    quantizer.decay = 0.99
    revived = quantizer.codebook[2].clone()
    quantizer(z)
    assert (quantizer.codebook[2] - revived).norm() < 0.1
    assert quantizer.counts[2] > 9


@pytest.mark.parametrize("cosine", [False, True])
def test_revival_between_forward_and_backward_leaves_the_gradient(cosine):
    torch.manual_seed(0)
    quantizer, z = VectorQuantizer(4, 2, learning="gradient", cosine=cosine, decay=0.0), random(1, 40, 2)
    quantizer.place(3 * random(4, 2), torch.ones(4), torch.ones(4, 2))
    quantizer.eval()(z).loss.backward()
    wanted, quantizer.codebook.grad = quantizer.codebook.grad, None
    quantizer.train()(z).loss.backward()
    torch.testing.assert_close(quantizer.codebook.grad, wanted)


@pytest.mark.parametrize(("revive_below", "moves"), [(0, False), (0.1, True)])
def test_only_a_share_above_zero_revives(revive_below, moves):
    torch.manual_seed(0)
    quantizer = VectorQuantizer(4, 2, learning="gradient", revive_below=revive_below, decay=0.0)
    with torch.no_grad():
        quantizer.codebook[3] = 1000.0
    quantizer(random(1, 40, 2))
    assert (quantizer.codebook[3] < 100).all() == moves


@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_cosine_codes_keep_length_one(learning):
    quantizer = VectorQuantizer(16, 4, cosine=True, learning=learning)
    for seed in range(3):
        codes = quantizer(5 * random(2, 50, 4, seed=seed)).codes
        torch.testing.assert_close(codes.norm(dim=-1), torch.ones(2, 50))
    torch.testing.assert_close(quantizer.lookup(torch.arange(16)).norm(dim=-1), torch.ones(16))


def test_cosine_ids_do_not_depend_on_lengths():
    quantizer, z = VectorQuantizer(16, 4, cosine=True).eval(), random(2, 50, 4)
    lengths = 0.1 + 10 * torch.rand(2, 50, 1, generator=torch.Generator().manual_seed(1))
    by_angle = F.cosine_similarity(z[:, :, None], quantizer.codebook, dim=-1).argmax(-1)
    assert torch.equal(quantizer(z * lengths).ids, by_angle)


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_initialise_sets_codebook_and_running_means_together(cosine, learning):
    quantizer, z = VectorQuantizer(8, 3, cosine=cosine, learning=learning), random(2, 100, 3)
    before = distortion(F.normalize(z, dim=-1).flatten(0, 1) if cosine else z.flatten(0, 1), quantizer.codebook)
    quantizer.initialise(z, torch.Generator().manual_seed(0))
    quantizer.eval()
    used = quantizer(z).ids.flatten().bincount(minlength=8)
    assert torch.equal(quantizer.counts, used.clamp(min=1).float())
    if learning == "ema":
        torch.testing.assert_close(quantizer.codebook, quantizer.sums / quantizer.counts[:, None])
    after = distortion(F.normalize(z, dim=-1).flatten(0, 1) if cosine else z.flatten(0, 1), quantizer.codebook)
    assert after < before


@pytest.mark.parametrize(
    ("learning", "names"), [("ema", ["codebook", "sums", "counts"]), ("gradient", ["codebook", "counts"])]
)
def test_a_state_holds_what_the_quantizer_goes_on_from(learning, names):
    assert list(VectorQuantizer(4, 2, learning=learning).state_dict()) == names


@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_codes_that_are_placed_stay_until_vectors_choose_them(learning):
    quantizer, far = VectorQuantizer(4, 2, learning=learning, revive_below=0), 100 + random(4, 2)
    quantizer.place(far, quantizer.counts, far)
    assert torch.equal(quantizer.eval().lookup(torch.arange(4)), far)
    ids = quantizer.train()(random(1, 40, 2)).ids
    others = [code for code in range(4) if code not in ids]
    torch.testing.assert_close(quantizer.codebook[others], far[others], atol=1e-2, rtol=1e-3)


def test_perplexity_is_that_of_the_ids():
    result = VectorQuantizer(16, 4)(random(2, 50, 4))
    torch.testing.assert_close(result.perplexity, perplexity(result.ids.flatten().bincount(minlength=16).float()))


@pytest.mark.parametrize("cosine", [False, True])
def test_the_same_codebook_gives_the_same_codes_as_vector_quantize_pytorch(cosine):
    theirs = pytest.importorskip("vector_quantize_pytorch").VectorQuantize(
        dim=8, codebook_size=64, use_cosine_sim=cosine, rotation_trick=False
    )
    ours, z = VectorQuantizer(64, 8, cosine=cosine).eval(), random(2, 200, 8)
    theirs.codebook = ours.codebook.clone()
    codes, ids, _ = theirs.eval()(z)
    result = ours(z)
    assert torch.equal(result.ids, ids)
    torch.testing.assert_close(result.codes, codes)


@pytest.mark.parametrize("size", [(0, 4), (-1, 4), (4, 0)])
def test_a_codebook_without_codes_or_features_is_refused(size):
    with pytest.raises(ValueError, match=rf"at least 1; they are {size[0]} and {size[1]}"):
        VectorQuantizer(*size)


def test_an_unknown_way_of_learning_is_named():
    with pytest.raises(ValueError, match=r'"ema" or "gradient"; it is \'mean\''):
        VectorQuantizer(4, 2, learning="mean")


# ---------------------------------------------------------------- FiniteScalarQuantizer


@pytest.mark.parametrize("levels", [[3], [4], [3, 3, 3], [8, 5, 5, 5], [4, 3, 7]])
def test_ids_stand_for_all_combinations_of_levels(levels):
    quantizer = FiniteScalarQuantizer(levels)
    codes = quantizer.lookup(torch.arange(quantizer.num_codes))
    assert len(codes.unique(dim=0)) == quantizer.num_codes
    assert [len(feature.unique()) for feature in codes.T] == levels
    assert codes.min() >= -1
    assert codes.max() <= 1
    assert (codes == 0).any(0).all()


@pytest.mark.parametrize("levels", [[4, 3], [8, 5, 5], [4, 7], [301, 4]])
def test_a_vector_in_the_middle_of_a_cell_gets_the_id_of_that_cell(levels):
    quantizer = FiniteScalarQuantizer(levels)
    ids = torch.arange(quantizer.num_codes)
    wanted = quantizer.lookup(ids)
    half, even = torch.tensor(levels) // 2, torch.tensor(levels) % 2 == 0
    reach = (torch.tensor(levels) - 1).double() / 2
    inside = (0.9999 * (wanted.double() * half + even / 2) / reach).atanh() - (even / 2 / reach).atanh()
    result = quantizer(inside[None].float())
    assert torch.equal(result.ids[0], ids)
    torch.testing.assert_close(result.codes[0], wanted)


@pytest.mark.parametrize("levels", [3, 4, 5, 8, 9, 256, 1000, 2000])
def test_large_inputs_reach_the_outer_levels_and_no_further(levels):
    quantizer = FiniteScalarQuantizer([levels])
    result = quantizer(torch.tensor([[[-100.0], [0.0], [100.0]]]))
    assert result.ids.flatten().tolist() == [0, levels // 2, levels - 1]
    assert result.codes[0, 0] == -1


@pytest.mark.parametrize("levels", [3, 4, 5, 8])
def test_every_level_is_reached(levels):
    ids = FiniteScalarQuantizer([levels])(torch.linspace(-6, 6, 2001)[None, :, None]).ids.flatten()
    assert ids.unique_consecutive().tolist() == list(range(levels))


def test_fsq_has_no_loss_and_counts_its_codes():
    result = FiniteScalarQuantizer([3, 3])(random(2, 50, 2))
    assert result.loss == 0
    assert result.perplexity == perplexity(result.ids.flatten().bincount(minlength=9).float())


@pytest.mark.parametrize("levels", [[], [1], [3, 0], [8, -2], [5, 2]])
def test_fewer_than_three_levels_are_refused(levels):
    with pytest.raises(ValueError, match="each at least 3"):
        FiniteScalarQuantizer(levels)


# ---------------------------------------------------------------- ResidualQuantizer


def test_residual_codes_are_the_sum_of_what_the_stages_look_up():
    quantizer = ResidualQuantizer([VectorQuantizer(k, 4) for k in (16, 8, 4)]).eval()
    result = quantizer(random(2, 50, 4))
    parts = [stage.codebook[result.ids[..., i]] for i, stage in enumerate(quantizer.stages)]
    torch.testing.assert_close(result.codes, parts[0] + parts[1] + parts[2])


def test_each_stage_quantizes_what_is_left():
    quantizer, z = ResidualQuantizer([VectorQuantizer(16, 4) for _ in range(3)]).eval(), random(2, 50, 4)
    ids = quantizer(z).ids
    for i, stage in enumerate(quantizer.stages):
        assert torch.equal(ids[..., i], nearest_code(z, stage.codebook))
        z = z - stage.lookup(ids[..., i])


def test_more_stages_leave_a_smaller_error():
    z = random(4, 100, 4)
    quantizer = ResidualQuantizer([VectorQuantizer(16, 4) for _ in range(4)])
    quantizer.initialise(z, torch.Generator().manual_seed(0))
    ids = quantizer.eval()(z).ids
    sums = torch.stack([stage.lookup(ids[..., i]) for i, stage in enumerate(quantizer.stages)]).cumsum(0)
    errors = (z - sums).square().mean((1, 2, 3)).tolist()
    assert all(after < 0.8 * before for before, after in zip(errors, errors[1:], strict=False))


def test_the_commitment_of_every_stage_pulls_the_vectors():
    stages = [VectorQuantizer(8, 3, beta=beta) for beta in (0, 0.5, 0.25)]
    quantizer, z = ResidualQuantizer(stages).eval(), random(2, 6, 3).requires_grad_()
    result = quantizer(z)
    result.loss.backward()
    parts = torch.stack([stage.lookup(result.ids[..., i]) for i, stage in enumerate(stages)]).cumsum(0)
    wanted = 0.5 * 2 * (z - parts[1]) / z.numel() + 0.25 * 2 * (z - parts[2]) / z.numel()
    torch.testing.assert_close(z.grad, wanted.detach())


def test_the_whole_row_passes_the_gradient_once():
    quantizer, z = ResidualQuantizer([VectorQuantizer(8, 3) for _ in range(3)]), random(2, 6, 3).requires_grad_()
    quantizer(z).codes.sum().backward()
    assert torch.equal(z.grad, torch.ones_like(z))


def test_residual_perplexity_is_the_mean_over_the_stages():
    result = ResidualQuantizer([VectorQuantizer(16, 4) for _ in range(2)]).eval()(random(2, 50, 4))
    each = [perplexity(result.ids[..., i].flatten().bincount(minlength=16).float()) for i in range(2)]
    torch.testing.assert_close(result.perplexity, sum(each) / 2)


@pytest.mark.parametrize(("dims", "message"), [((4, 3), r"\[4, 3\]"), ((), r"\[\]")])
def test_stages_must_share_a_dimension(dims, message):
    with pytest.raises(ValueError, match=message):
        ResidualQuantizer([VectorQuantizer(4, dim) for dim in dims])


def test_ids_need_one_number_a_stage():
    quantizer = ResidualQuantizer([VectorQuantizer(4, 2) for _ in range(3)])
    with pytest.raises(ValueError, match=r"3 stages; their shape is \(5, 2\)"):
        quantizer.lookup(torch.zeros(5, 2, dtype=torch.long))
