import math
from fractions import Fraction
from itertools import combinations, pairwise, permutations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqdit_lite import masked
from vqdit_lite.gaussian import guided
from vqdit_lite.masked import MaskedDiffusion, ancestral_step, confidence_step
from vqdit_lite.schedule import cosine, ddpm, linear, sigmoid, time_grid, zero_terminal_snr

many_cases = settings(deadline=None, max_examples=25)

SCHEDULES = {
    "linear": linear(),
    "cosine": cosine(),
    "sigmoid": sigmoid(),
    "ddpm without its last signal": zero_terminal_snr(ddpm()),
}
SAMPLERS = [("ancestral", 0.0), ("ancestral", 1.0), ("random", 0.0), ("confidence", 0.0)]
GRIDS = ["uniform", "cosine"]

# How far random estimates may be from what they estimate, relatively: well above what eight seeds showed.
BOUND_OF_ROWS = 0.45  # of single sequences, 600 draws
BOUND_OF_MEAN = 0.25  # of all together
BOUND_OF_LOSS = 0.03  # 100,000 rows with masks of their own


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_ids(values: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(values, shape, generator=generator(seed))


def close(ours: torch.Tensor, theirs: torch.Tensor, bound: float = 1e-12) -> None:
    torch.testing.assert_close(ours, theirs, atol=bound, rtol=bound)


# ---------------------------------------------------------------- a world small enough to count


class World:
    """A joint distribution of N tokens of V values, (V, …, V), and all that can be counted out about it."""

    def __init__(self, p: torch.Tensor):
        self.tokens, self.values = p.ndim, len(p)
        self.mask_id = self.values
        self.x = torch.tensor(list(product(range(self.values), repeat=self.tokens)))  # (W, N) everything there is
        self.p = p.flatten() / p.sum()  # (W,)
        self.entropy = torch.special.entr(self.p).sum()
        seen = torch.tensor(list(product(range(self.values + 1), repeat=self.tokens)))  # (S, N) each may be hidden
        fits = ((seen[:, None] == self.x) | (seen[:, None] == self.mask_id)).all(-1) * self.p  # (S, W)
        one_hot = torch.nn.functional.one_hot(self.x, self.values).double().flatten(1)  # (W, N·V)
        shares = (fits @ one_hot).unflatten(1, (self.tokens, self.values))
        self.exact_logits = shares.log()  # (S, N, V), -inf for what cannot be

    def denoiser(self, noise: float = 0.0, seed: int = 0):
        """The exact conditionals, or other ones nearby."""
        table = self.exact_logits + noise * torch.randn(self.exact_logits.shape, generator=generator(seed)).double()
        place = (self.values + 1) ** torch.arange(self.tokens - 1, -1, -1)
        return lambda x, t=None: table[x @ place]

    def draw(self, n: int, seed: int = 0) -> torch.Tensor:
        return self.x[torch.multinomial(self.p, n, replacement=True, generator=generator(seed))]

    def start(self, n: int) -> torch.Tensor:
        return torch.full((n, self.tokens), self.mask_id)

    def counts(self, x: torch.Tensor) -> torch.Tensor:
        place = self.values ** torch.arange(self.tokens - 1, -1, -1)
        return torch.bincount(x @ place, minlength=len(self.p)).double()

    def chi_square(self, x: torch.Tensor) -> tuple[float, float]:
        """How far a sample is from the distribution: chi-square, and how often a true sample is farther."""
        wanted = self.p * len(x)
        statistic = ((self.counts(x) - wanted).square() / wanted).sum()
        freedom = torch.tensor((len(self.p) - 1) / 2).double()
        return statistic.item(), torch.special.gammaincc(freedom, statistic / 2).item()


def a_world(tokens: int = 3, values: int = 3, seed: int = 0, contrast: float = 1.5) -> World:
    p = torch.randn((values,) * tokens, generator=generator(seed)).double()
    return World((contrast * p).exp())


@st.composite
def worlds(draw):
    tokens, values = draw(st.integers(2, 3)), draw(st.integers(2, 4))
    p = draw(st.lists(st.floats(1e-3, 1), min_size=values**tokens, max_size=values**tokens))
    return World(torch.tensor(p, dtype=torch.float64).view((values,) * tokens))


def token_nll(denoiser, x: torch.Tensor, x0: torch.Tensor) -> torch.Tensor:
    """-log of the probability of each token of x0 (B, N), where x (B, N) is known."""
    return -denoiser(x).log_softmax(-1).gather(2, x0[..., None])[..., 0]


def counted_bound(denoiser, x0: torch.Tensor, mask_id: int) -> torch.Tensor:
    """The bound of -log p of each row of x0 (B, N), with every pattern of hidden tokens weighed as all times do.

    A pattern with m of N tokens hidden has the chance t^m (1 - t)^(N - m) at time t and the weight 1/t, which makes
    1 / (m · C(N, m)) over all times.
    """
    n, total = x0.shape[1], torch.zeros(len(x0)).double()
    for m in range(1, n + 1):
        for pattern in map(torch.tensor, combinations(range(n), m)):
            x = x0.index_fill(1, pattern, mask_id)
            total += token_nll(denoiser, x, x0)[:, pattern].sum(1) / (m * math.comb(n, m))
    return total


def counted_nll(denoiser, x0: torch.Tensor, mask_id: int) -> torch.Tensor:
    """-log p of each row of x0 (B, N) when tokens are filled in one at a time, in any order with the same chance."""
    n, chances = x0.shape[1], []
    for order in permutations(range(n)):
        x, log_p = torch.full_like(x0, mask_id), torch.zeros(len(x0)).double()
        for place in order:
            log_p -= token_nll(denoiser, x, x0)[:, place]
            x = x.index_copy(1, torch.tensor([place]), x0[:, place : place + 1])
        chances.append(log_p)
    return math.log(len(chances)) - torch.stack(chances).logsumexp(0)


# ---------------------------------------------------------------- the bound


@many_cases
@given(worlds())
def test_with_the_exact_conditionals_the_bound_is_the_entropy(world):
    bound = counted_bound(world.denoiser(), world.x, world.mask_id)
    close(bound, -world.p.log())  # sequence by sequence, so also on average
    close((world.p * bound).sum(), world.entropy)


@many_cases
@given(worlds(), st.floats(0, 3), st.integers(0, 100))
def test_the_bound_is_never_below_the_negative_log_likelihood(world, noise, seed):
    denoiser = world.denoiser(noise, seed)
    bound = counted_bound(denoiser, world.x, world.mask_id)
    assert (bound >= counted_nll(denoiser, world.x, world.mask_id) - 1e-12).all()
    assert (world.p * bound).sum() >= world.entropy - 1e-12


def test_in_the_counted_world_the_exact_conditionals_know_every_sequence():
    world = a_world()
    close(counted_nll(world.denoiser(), world.x, world.mask_id), -world.p.log())
    wrong = world.denoiser(noise=1.0)
    gap = counted_bound(wrong, world.x, world.mask_id) - counted_nll(wrong, world.x, world.mask_id)
    assert gap.max() > 0.01


@pytest.mark.parametrize(("name", "noise"), [("linear", 0.0), ("cosine", 0.7)])
@pytest.mark.parametrize("times", ["stratified", "antithetic"])
def test_the_bound_from_many_draws_is_the_counted_one(name, times, noise):
    world = a_world()
    denoiser, diffusion = world.denoiser(noise), MaskedDiffusion(SCHEDULES[name], world.mask_id)
    counted = counted_bound(denoiser, world.x, world.mask_id)
    drawn = diffusion.nelbo(denoiser, world.x, generator(), 600, times)
    assert drawn.shape == (27,)
    assert (drawn / counted - 1).abs().max() < BOUND_OF_ROWS
    assert ((world.p * drawn).sum() / (world.p * counted).sum() - 1).abs() < BOUND_OF_MEAN


def test_the_loss_of_many_rows_is_the_bound_for_each_token(schedule):
    world = a_world()
    denoiser = world.denoiser(noise=0.7)
    wanted = (world.p * counted_bound(denoiser, world.x, world.mask_id)).sum() / world.tokens
    loss = MaskedDiffusion(schedule, world.mask_id).loss(denoiser, world.draw(100_000), generator(1))["loss"]
    assert abs(loss / wanted - 1) < BOUND_OF_LOSS


def test_tokens_with_times_of_their_own_give_a_bound_as_well():
    world = a_world(tokens=2)
    diffusion, x0 = MaskedDiffusion(linear(), world.mask_id), world.draw(100_000)
    t = torch.rand(x0.shape, generator=generator(2)).clamp(1e-6, 1 - 1e-6)
    loss = diffusion.loss(world.denoiser(), x0, generator(1), t=t)["loss"]
    first, both = world.x.clone(), torch.full_like(world.x, world.mask_id)
    first[:, 1] = world.mask_id
    last = world.x.clone()
    last[:, 0] = world.mask_id
    # Each token is hidden by itself, with a chance t and a weight 1/t; half of the time the other is known.
    known = token_nll(world.denoiser(), last, world.x)[:, 0] + token_nll(world.denoiser(), first, world.x)[:, 1]
    alone = token_nll(world.denoiser(), both, world.x).sum(1)
    assert abs(loss / ((world.p * (known + alone)).sum() / 4) - 1) < BOUND_OF_LOSS


@pytest.mark.parametrize("frozen", [torch.tensor([True, False, False]), torch.eye(3).bool()[0].expand(27, 3)])
def test_the_bound_of_what_is_not_frozen_is_given_what_is(frozen):
    world = a_world()
    diffusion = MaskedDiffusion(linear(), world.mask_id)
    drawn = diffusion.nelbo(world.denoiser(), world.x, generator(), 600, frozen=frozen)
    first = world.p.view(3, -1).sum(1).repeat_interleave(9)
    wanted = -(world.p / first).log()
    assert ((drawn - wanted) / wanted.mean()).abs().max() < BOUND_OF_ROWS
    loss = diffusion.loss(world.denoiser(), world.draw(50_000), generator(), frozen=frozen.view(-1, 3)[0])
    assert abs(loss["loss"] * 3 / (world.p * wanted).sum() - 1) < BOUND_OF_LOSS


def test_when_all_is_frozen_nothing_is_surprising():
    world, frozen = a_world(), torch.ones(3, dtype=torch.bool)
    diffusion = MaskedDiffusion(linear(), world.mask_id)
    assert diffusion.loss(world.denoiser(), world.x, generator(), frozen=frozen)["loss"] == 0
    assert not diffusion.nelbo(world.denoiser(), world.x, generator(), frozen=frozen).any()


def test_rows_share_their_masks_in_the_bound():
    world = a_world()
    diffusion = MaskedDiffusion(cosine(), world.mask_id)
    twice = world.x[:1].expand(5, -1)
    rows = diffusion.nelbo(world.denoiser(), twice, generator(), 8)
    close(rows, rows[:1].expand(5))
    close(diffusion.nelbo(world.denoiser(), world.x, generator(), 8)[:1], rows[:1])


def test_antithetic_times_come_in_pairs_and_stratified_ones_spread_evenly():
    world = a_world()
    diffusion, seen = MaskedDiffusion(linear(), world.mask_id), []

    def watched(x, t):
        seen.append(t)
        return world.denoiser()(x)

    diffusion.nelbo(watched, world.x, generator(), 6, "antithetic")
    t = torch.stack(seen)
    assert t.shape == (6, 27)
    assert (t == t[:, :1]).all()
    torch.testing.assert_close(t[:3, 0] + t[3:, 0], torch.ones(3))
    seen.clear()
    diffusion.nelbo(watched, world.x, generator(), 6)
    torch.testing.assert_close(torch.stack(seen)[:, 0].sort().values.diff(), torch.full((5,), 1 / 6))


@pytest.mark.parametrize("weighting", ["bounded", "unweighted"])
def test_the_bound_does_not_depend_on_how_the_loss_weighs(weighting):
    world = a_world()
    bound, other = (
        MaskedDiffusion(linear(), world.mask_id, kind).nelbo(world.denoiser(), world.x, generator(), 40)
        for kind in ("bound", weighting)
    )
    close(other, bound)


# ---------------------------------------------------------------- weights


def test_the_weight_is_how_fast_the_logarithm_of_the_hidden_share_grows(schedule):
    t, h = (torch.arange(1, 1000, 7) + 0.5).double() / 1000, 1e-6  # inside the pieces of which ddpm is made
    slope = (schedule.alpha_bar(t + h) - schedule.alpha_bar(t - h)) / (2 * h)
    torch.testing.assert_close(
        MaskedDiffusion(schedule, 5).weight(t), -slope / (1 - schedule.alpha_bar(t)), atol=1e-5, rtol=1e-5
    )


def test_the_weight_of_a_line_is_one_over_t():
    t = torch.rand(4, 3, generator=generator()).double()
    close(MaskedDiffusion(linear(), 5).weight(t), 1 / t)
    assert MaskedDiffusion(linear(), 5).weight(t.float()).dtype == torch.float32


def test_other_weightings_are_the_same_up_to_ten_and_one(schedule):
    t = torch.linspace(0.001, 1, 200, dtype=torch.float64)
    bound = MaskedDiffusion(schedule, 5).weight(t)
    assert bound.max() > 10
    assert torch.equal(MaskedDiffusion(schedule, 5, "bounded").weight(t), bound.clamp(max=10))
    assert torch.equal(MaskedDiffusion(schedule, 5, "unweighted").weight(t), torch.ones_like(t))


@pytest.mark.parametrize("weighting", ["bound", "bounded", "unweighted"])
def test_the_loss_is_the_weighted_negative_log_likelihood_by_hand(schedule, weighting):
    world = a_world()
    diffusion, denoiser = MaskedDiffusion(schedule, world.mask_id, weighting), world.denoiser(0.7)
    t, x0 = torch.linspace(0.02, 0.98, 27).double(), world.x
    u = torch.rand(x0.shape, generator=generator())
    x = diffusion.corrupt(x0, t, u)
    each = (diffusion.weight(t)[:, None] * token_nll(denoiser, x, x0)).where(x == world.mask_id, 0)
    close(diffusion.loss(denoiser, x0, generator(), t=t)["loss"], each.sum() / x0.numel(), 1e-9)
    counts = torch.tensor([0.0, 1.0, 5.0])
    counted = (each * counts).sum() / x0.numel()
    close(diffusion.loss(denoiser, x0, generator(), t=t, token_weight=counts)["loss"], counted, 1e-9)


# ---------------------------------------------------------------- corruption


@pytest.mark.parametrize("time", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("shape", [(500,), (500, 400)])
def test_the_share_that_is_hidden_is_what_the_schedule_says(schedule, time, shape):
    x0, u = random_ids(7, 500, 400), torch.rand(500, 400, generator=generator(1))
    x = MaskedDiffusion(schedule, 7).corrupt(x0, torch.full(shape, time), u)
    hidden = x == 7
    wanted = 1 - schedule.alpha_bar(torch.tensor(time))
    assert (hidden.float().mean() - wanted).abs() < 0.006  # five standard deviations
    assert torch.equal(x[~hidden], x0[~hidden])


def test_each_token_follows_the_time_of_its_own(schedule):
    t = torch.linspace(0, 1, 12).expand(20_000, 12)
    u = torch.rand(20_000, 12, generator=generator())
    x = MaskedDiffusion(schedule, 2).corrupt(torch.zeros(20_000, 12, dtype=torch.long), t, u)
    assert ((x == 2).float().mean(0) - (1 - schedule.alpha_bar(t[0]))).abs().max() < 0.02


@pytest.mark.parametrize("own", [False, True])
def test_at_the_ends_nothing_and_everything_is_hidden(schedule, own):
    x0, t = random_ids(5, 2, 1000), torch.tensor([0.0, 1.0])
    for u in (torch.rand(2, 1000, generator=generator()), torch.zeros(2, 1000), torch.full((2, 1000), 1 - 2**-24)):
        x = MaskedDiffusion(schedule, 5).corrupt(x0, t[:, None].expand(2, 1000) if own else t, u)
        assert torch.equal(x[0], x0[0])
        assert (x[1] == 5).all()


# ---------------------------------------------------------------- single steps


@many_cases
@given(known=st.floats(0, 0.99), share=st.floats(0, 1), eta=st.floats(0, 1), seed=st.integers(0, 99))
def test_an_ancestral_step_keeps_what_the_schedule_says(known, share, eta, seed):
    next_known = known + share * (1 - known)
    x = torch.where(torch.rand(1, 40_000, generator=generator(seed)) < known, 0, 9)
    u = torch.rand(1, 40_000, generator=generator(seed + 100), dtype=torch.float64)
    after = ancestral_step(x, torch.ones_like(x), 9, known, next_known, eta, u)
    assert abs((after != 9).double().mean() - next_known) < 0.015  # six standard deviations
    assert not (after[x == 0] == 1).any()
    if eta == 0:
        assert torch.equal(after[x == 0], x[x == 0])


@many_cases
@given(seed=st.integers(0, 1000), left=st.lists(st.integers(0, 8), min_size=5, max_size=5))
def test_a_step_by_confidence_fills_in_the_surest(seed, left):
    x = torch.where(torch.rand(5, 8, generator=generator(seed)) < 0.5, 3, 9)
    confidence = torch.randn(5, 8, generator=generator(seed + 1)).double()
    after = confidence_step(x, torch.full_like(x, 4), 9, confidence, torch.tensor(left))
    for before, row, sure, stay in zip(x, after, confidence, left, strict=True):
        hidden = [place for place in range(8) if before[place] == 9]
        surest = sorted(hidden, key=lambda place, sure=sure: sure[place])[stay:]
        assert [place for place in range(8) if row[place] == 4] == sorted(surest)
        assert (row == 3).equal(before == 3)


# ---------------------------------------------------------------- what every way of filling in keeps


def way(diffusion, start, times, method, eta=0.0, seed=0, denoiser=None, **options):
    """Every state of one way back, with a denoiser that says something else about every token."""
    wavy = torch.randn(1, start.shape[1], diffusion.mask_id, generator=generator(99))
    denoiser = denoiser or (lambda x, t: wavy.expand(len(x), -1, -1))
    return list(diffusion.sample(denoiser, start, times, method, eta, generator(seed), **options))


@pytest.mark.parametrize(("method", "eta"), SAMPLERS)
@pytest.mark.parametrize("frozen", [torch.arange(8) % 3 == 0, random_ids(2, 6, 8, seed=3).bool()])
def test_frozen_tokens_never_change(method, eta, frozen):
    start = random_ids(4, 6, 8)
    states = way(MaskedDiffusion(cosine(), 4), start, time_grid(2), method, eta, frozen=frozen)
    mask = frozen.expand(6, 8)
    assert len(states) == 3
    assert (states[0][~mask] == 4).all()
    for x in states:
        assert torch.equal(x[mask], start[mask])
    assert (states[-1] < 4).all()


@pytest.mark.parametrize(("method", "eta"), [*SAMPLERS, ("ancestral", 0.4)])
@pytest.mark.parametrize("kind", GRIDS)
def test_every_way_ends_without_a_hidden_token(schedule, method, eta, kind):
    for steps in (1, 2, 3, 5, 7, 12):
        states = way(MaskedDiffusion(schedule, 4), torch.zeros(5, 12).long(), time_grid(steps, kind), method, eta)
        assert len(states) == steps + 1
        assert (states[0] == 4).all()
        assert (states[-1] < 4).all()
        assert states[-1].shape == (5, 12)


def test_ancestral_sampling_may_take_more_steps_than_there_are_tokens():
    for eta in (0.0, 1.0):
        assert (
            way(MaskedDiffusion(linear(), 4), torch.zeros(50, 3).long(), time_grid(40), "ancestral", eta)[-1] < 4
        ).all()


@pytest.mark.parametrize("method", ["random", "confidence"])
@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("steps", [1, 2, 5, 8, 12])
def test_so_many_tokens_are_left_as_the_schedule_says_but_one_at_least_is_filled_in(schedule, method, kind, steps):
    frozen = torch.zeros(6, 15, dtype=torch.bool)
    for row in range(1, 4):
        frozen[row, :row] = True
    times = time_grid(steps, kind)
    chance = {"choice_temperature": 2.0} if method == "confidence" else {}
    states = way(MaskedDiffusion(schedule, 4), torch.zeros(6, 15).long(), times, method, frozen=frozen, **chance)
    free, left = (~frozen).sum(1), (~frozen).sum(1)
    known = enumerate(schedule.alpha_bar(times)[1:].tolist(), 1)
    for (step, next_known), (before, x) in zip(known, pairwise(states), strict=True):
        planned = [
            math.floor(count * (1 - next_known) + 1e-6) for count in free.tolist()
        ]  # at such counts no doubt arises
        left = torch.minimum(torch.tensor(planned).clamp(min=steps - step), left - 1)  # one is kept for each step
        assert torch.equal((x == 4).sum(1), left)
        assert torch.equal(x[before < 4], before[before < 4])  # and nothing is hidden again


@pytest.mark.parametrize("method", ["random", "confidence"])
@pytest.mark.parametrize("tokens", [7, 22, 36, 41, 64, 100])
def test_with_as_many_steps_as_tokens_each_step_fills_in_one(method, tokens):
    states = way(MaskedDiffusion(linear(), 4), torch.zeros(1, tokens).long(), time_grid(tokens), method)
    assert [(x == 4).sum().item() for x in states] == list(range(tokens, -1, -1))


@pytest.mark.parametrize("steps", [4, 9, 22, 33])
def test_on_a_line_the_number_left_is_exact_arithmetic(steps):
    states = way(MaskedDiffusion(linear(), 4), torch.zeros(1, 36).long(), time_grid(steps), "random")
    planned = [math.floor(Fraction(36 * (steps - step), steps)) for step in range(steps + 1)]
    assert [(x == 4).sum().item() for x in states] == planned


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", GRIDS)
def test_the_hidden_share_of_ancestral_sampling_follows_the_schedule(schedule, eta, kind):
    times = time_grid(6, kind)
    states = way(MaskedDiffusion(schedule, 4), torch.zeros(500, 40).long(), times, "ancestral", eta)
    share = torch.stack([(x == 4).double().mean() for x in states])
    assert (share - (1 - schedule.alpha_bar(times))).abs().max() < 0.02  # more than five standard deviations


def test_what_was_filled_in_is_hidden_again_only_with_eta():
    diffusion = MaskedDiffusion(linear(), 4)
    for eta in (0.0, 0.5, 1.0):
        states = way(diffusion, torch.zeros(200, 10).long(), time_grid(10), "ancestral", eta)
        again = sum(((before < 4) & (x == 4)).sum().item() for before, x in pairwise(states))
        assert (again > 0) == (eta > 0)


def test_the_denoiser_is_called_at_the_times_with_one_for_each_row():
    for method, eta in SAMPLERS:
        seen = []

        def watched(x, t, seen=seen):
            seen.append(t)
            return torch.zeros(*x.shape, 4)

        way(MaskedDiffusion(linear(), 4), torch.zeros(3, 6).long(), time_grid(5), method, eta, denoiser=watched)
        torch.testing.assert_close(torch.stack(seen), time_grid(5)[:-1, None].expand(5, 3).float())


# ---------------------------------------------------------------- which ways are exact


def filled_in(world, method, steps, eta=0.0, seed=0, n=20_000):
    diffusion = MaskedDiffusion(linear(), world.mask_id)
    times = time_grid(steps)
    *_, x = diffusion.sample(world.denoiser(), world.start(n), times, method, eta, generator(seed))
    return x


def one_at_a_time(world, choose, seed=0, n=20_000):
    """Fill in the place that `choose` names, row by row, before a token is drawn; keep it, and ask again."""
    diffusion, draw = MaskedDiffusion(linear(), world.mask_id), generator(seed)
    x, rows = world.start(n), torch.arange(n)
    for done in range(world.tokens):
        place = choose(x, done)  # (n,)
        known = x != world.mask_id
        *_, full = diffusion.sample(world.denoiser(), x, time_grid(1), generator=draw, frozen=known if done else None)
        x[rows, place] = full[rows, place]
    return x


def test_filling_in_one_token_a_step_in_random_order_is_exact():
    world = a_world()
    for seed in (1, 2):
        assert world.chi_square(filled_in(world, "random", world.tokens, seed=seed))[1] > 1e-3


def test_filling_in_one_token_a_step_in_a_fixed_order_is_exact():
    world = a_world()
    for order in ((0, 1, 2), (2, 0, 1)):
        x = one_at_a_time(world, lambda x, done, order=order: torch.full((len(x),), order[done]), seed=3)
        assert world.chi_square(x)[1] > 1e-3


def test_the_surest_place_first_is_exact_when_it_is_chosen_before_the_token():
    world = a_world()

    def surest(x, done):
        best = world.denoiser()(x).softmax(-1).amax(-1)  # (n, N)
        return best.masked_fill(x != world.mask_id, -1).argmax(1)

    first = surest(world.start(1), 0)
    x = one_at_a_time(world, surest, seed=4)
    assert world.chi_square(x)[1] > 1e-3
    # Rows go different ways once they know different tokens.
    known = world.start(3)
    known[torch.arange(3), first] = torch.arange(3)
    assert len(surest(known, 1).unique()) > 1


def test_the_surest_token_first_is_not_exact():
    world = a_world()
    statistic, p = world.chi_square(filled_in(world, "confidence", world.tokens))
    assert statistic > 1000
    assert p < 1e-12


@pytest.mark.parametrize("method", ["ancestral", "random", "confidence"])
def test_filling_in_all_at_once_is_not_exact(method):
    world = a_world()
    assert world.chi_square(filled_in(world, method, 1))[0] > 1000
    alone = world.denoiser()(world.start(1))[0].exp()  # (N, V), each token by itself
    apart = World(torch.einsum("i,j,k->ijk", *alone))
    assert apart.chi_square(filled_in(world, method, 1))[1] > 1e-3


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ancestral_sampling_is_nearly_exact_with_many_steps(eta):
    world = a_world()

    def gap(steps):
        counts = world.counts(filled_in(world, "ancestral", steps, eta, n=10_000))
        return (counts / counts.sum() - world.p).abs().sum().item() / 2

    assert gap(1) > 0.25
    assert gap(60) < (0.08 if eta else 0.04)  # hiding again costs precision; 0.015 is what chance alone makes


def test_frozen_tokens_are_a_condition():
    world = a_world()
    given_first = World(world.p.view(3, 3, 3)[1])
    start = world.start(20_000)
    start[:, 0] = 1
    frozen, diffusion = torch.tensor([True, False, False]), MaskedDiffusion(linear(), world.mask_id)
    *_, x = diffusion.sample(world.denoiser(), start, time_grid(2), "random", generator=generator(1), frozen=frozen)
    assert given_first.chi_square(x[:, 1:])[1] > 1e-3


# ---------------------------------------------------------------- chance, and how much of it

LOGITS = torch.tensor([1.2, 0.0, -0.7], dtype=torch.float64)


def constant(x, t):
    return LOGITS.expand(*x.shape, 3)


@pytest.mark.parametrize(("method", "eta"), [("ancestral", 0.0), ("ancestral", 1.0), ("random", 0.0)])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_temperature_is_the_same_at_whatever_number_of_steps(method, eta, temperature):
    wanted = (LOGITS / temperature).softmax(0)
    for steps in (1, 4, 10):
        x = way(
            MaskedDiffusion(linear(), 3),
            torch.zeros(2000, 10).long(),
            time_grid(steps),
            method,
            eta,
            denoiser=constant,
            temperature=temperature,
        )[-1]
        assert (x.flatten().bincount(minlength=3) / 20_000 - wanted).abs().max() < 0.018  # five standard deviations


@pytest.fixture
def watch_confidence(monkeypatch):
    """Collects what `confidence_step` is called with."""
    calls = []

    def watched(x, drawn, mask_id, confidence, left):
        calls.append((drawn, confidence, left))
        return confidence_step(x, drawn, mask_id, confidence, left)

    monkeypatch.setattr(masked, "confidence_step", watched)
    return calls


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_without_a_choice_temperature_the_confidence_is_the_tempered_probability(watch_confidence, temperature):
    start, diffusion = torch.zeros(50, 6).long(), MaskedDiffusion(linear(), 3)
    way(diffusion, start, time_grid(6), "confidence", denoiser=constant, temperature=temperature)
    assert len(watch_confidence) == 6
    for drawn, confidence, _ in watch_confidence:
        close(confidence, (LOGITS / temperature).log_softmax(0)[drawn])


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_choice_temperature_is_scaled_by_the_time_of_the_step_alone(watch_confidence, kind, temperature):
    times, choice_temperature, options = (
        time_grid(5, kind),
        3.0,
        {"temperature": temperature, "choice_temperature": 3.0},
    )
    way(MaskedDiffusion(cosine(), 3), torch.zeros(5000, 6).long(), times, "confidence", denoiser=constant, **options)
    for (drawn, confidence, _), next_t in zip(watch_confidence, times[1:].tolist(), strict=True):
        noise = confidence - (LOGITS / temperature).log_softmax(0)[drawn]
        if next_t == 0:
            close(noise, torch.zeros_like(noise))
        else:
            noise = noise / (choice_temperature * next_t)  # Gumbel: P(below z) is exp(-exp(-z))
            for level in (-1.0, 0.0, 0.6, 2.0):
                assert abs((noise < level).double().mean() - math.exp(-math.exp(-level))) < 0.015


def test_the_confidence_can_be_followed_by_hand(watch_confidence):
    draw = generator(5)
    diffusion, start = MaskedDiffusion(linear(), 3), torch.zeros(4, 5).long()
    list(diffusion.sample(constant, start, time_grid(3), "confidence", 0.0, generator(5), choice_temperature=4.0))
    for (drawn, confidence, _), next_t in zip(watch_confidence, (2 / 3, 1 / 3, 0), strict=True):
        tokens = torch.multinomial(LOGITS.softmax(0).expand(20, 3), 1, generator=draw).view(4, 5)
        u = torch.rand(4, 5, generator=draw, dtype=torch.float64)
        assert torch.equal(drawn, tokens)
        close(confidence, LOGITS.log_softmax(0)[tokens] - 4 * next_t * (-u.log()).log(), 1e-9)


def test_at_a_high_choice_temperature_the_order_is_nearly_random_and_at_none_the_surest_come_first():
    chances = torch.tensor([[0.99, 0.01], [0.6, 0.4]]).log().expand(20_000, 2, 2)
    share = {}
    for choice_temperature in (0.0, 1.0, 1000.0):
        _, half, _ = way(
            MaskedDiffusion(linear(), 2),
            torch.zeros(20_000, 2).long(),
            time_grid(2),
            "confidence",
            denoiser=lambda x, t: chances,
            choice_temperature=choice_temperature,
        )
        share[choice_temperature] = (half[:, 0] < 2).double().mean().item()
    assert share[0.0] > 0.98 > share[1.0] > 0.55 > share[1000.0] > 0.48


@pytest.mark.parametrize(("method", "eta"), SAMPLERS)
def test_the_way_back_follows_its_generator(method, eta):
    diffusion, start = MaskedDiffusion(linear(), 4), torch.zeros(20, 6).long()
    first, again, other = (torch.stack(way(diffusion, start, time_grid(6), method, eta, seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_losses_and_bounds_follow_their_generator():
    world = a_world()
    diffusion, denoiser = MaskedDiffusion(linear(), world.mask_id), world.denoiser()
    measures = [
        lambda seed: diffusion.loss(denoiser, world.x, generator(seed))["loss"],
        lambda seed: diffusion.nelbo(denoiser, world.x, generator(seed), 4).mean(),
        lambda seed: diffusion.nelbo(denoiser, world.x, generator(seed), 4, "antithetic").mean(),
    ]
    for measure in measures:
        assert measure(1) == measure(1)
        assert measure(1) != measure(2)


def test_what_is_given_reaches_the_denoiser():
    seen = []

    def denoiser(x, t, labels):
        seen.append(labels)
        return torch.zeros(*x.shape, 3)

    diffusion = MaskedDiffusion(linear(), 3)
    diffusion.loss(denoiser, torch.zeros(2, 3).long(), generator(), labels="five")
    diffusion.nelbo(denoiser, torch.zeros(2, 3).long(), generator(), 2, labels="six")
    assert seen == ["five", "six", "six"]


# ---------------------------------------------------------------- gradients and odd numbers


@pytest.mark.parametrize("weighting", ["bound", "bounded", "unweighted"])
def test_the_loss_has_finite_gradients_even_at_the_ends(schedule, weighting):
    table = torch.randn(6, 5, 4, generator=generator()).requires_grad_()
    impossible = torch.zeros(6, 5, 4, dtype=torch.bool)
    impossible[..., 3] = True
    t = torch.tensor([0.0, 0.0, 1e-6, 0.5, 1.0, 1.0])
    loss = MaskedDiffusion(schedule, 4, weighting).loss(
        lambda x, t: table.masked_fill(impossible, -torch.inf), random_ids(3, 6, 5), generator(), t=t
    )["loss"]
    loss.backward()
    assert loss.isfinite()
    assert table.grad.isfinite().all()
    assert not table.grad[:2].any()  # nothing was hidden there
    assert not table.grad[..., 3].any()
    assert table.grad[3].any()


def test_what_is_said_about_known_tokens_does_not_count():
    x0, t, diffusion = random_ids(3, 6, 5), torch.full((6,), 0.5), MaskedDiffusion(linear(), 3)
    right = torch.nn.functional.one_hot(x0, 3).bool()

    def impossible(x, t):
        return torch.zeros(6, 5, 3).masked_fill(right & (x != 3)[..., None], -torch.inf)

    loss = diffusion.loss(impossible, x0, generator(), t=t)["loss"]
    assert loss > 0
    assert loss == diffusion.loss(lambda x, t: torch.zeros(6, 5, 3), x0, generator(), t=t)["loss"]


def test_the_bound_and_the_way_back_keep_no_gradients_and_leave_them_on_outside():
    network, diffusion = torch.nn.Embedding(4, 3), MaskedDiffusion(linear(), 3)
    x0 = torch.zeros(2, 3).long()
    assert not diffusion.nelbo(lambda x, t: network(x), x0, generator(), 2).requires_grad
    modes = [torch.is_grad_enabled() for _ in diffusion.sample(
        lambda x, t: network(x), x0, time_grid(2), generator=generator())]  # fmt: skip
    assert modes == [True] * 3
    assert diffusion.loss(lambda x, t: network(x), x0, generator())["loss"].requires_grad


@pytest.mark.parametrize(("method", "eta"), SAMPLERS)
def test_a_token_with_a_logit_of_minus_infinity_is_never_drawn(method, eta):
    logits = torch.tensor([0.0, -torch.inf, 1.0, -torch.inf])
    states = way(
        MaskedDiffusion(linear(), 4),
        torch.zeros(300, 6).long(),
        time_grid(4),
        method,
        eta,
        denoiser=lambda x, t: logits.expand(*x.shape, 4),
        temperature=0.7,
    )
    assert set(states[-1].unique().tolist()) == {0, 2}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_denoiser_that_is_not_finite_is_refused(bad):
    diffusion, x0 = MaskedDiffusion(linear(), 3), torch.zeros(2, 4).long()

    def spoiled(x, t):
        return torch.zeros(*x.shape, 3).index_fill(1, torch.tensor([2]), bad)

    for use in (
        lambda: diffusion.loss(spoiled, x0, generator()),
        lambda: diffusion.nelbo(spoiled, x0, generator()),
        lambda: diffusion.read(spoiled, x0, torch.ones(2)),
        *(lambda method=method, eta=eta: way(diffusion, x0, time_grid(2), method, eta, denoiser=spoiled)
          for method, eta in SAMPLERS),
    ):  # fmt: skip
        with pytest.raises(FloatingPointError, match="NaN or infinity"):
            use()


@pytest.mark.parametrize("ramp", [False, True])
@pytest.mark.parametrize(("method", "eta"), SAMPLERS)
def test_guidance_sharpens_what_is_filled_in(method, eta, ramp):
    def free(x, t):
        return torch.zeros(*x.shape, 3)

    start, diffusion, steps = torch.zeros(2000, 4).long(), MaskedDiffusion(linear(), 3), 4
    guide = guided(constant, free, 3.0, ramp=ramp)
    seen = []

    def watched(x, t):
        seen.append((t[0].item(), guide(x, t)))
        return seen[-1][1]

    states = way(diffusion, start, time_grid(steps), method, eta, denoiser=watched)
    for t, logits in seen:
        scale = 1 + 2 * (1 - t) if ramp else 3
        close(logits[0, 0], scale * LOGITS, 1e-6)
    plain = way(diffusion, start, time_grid(steps), method, eta, denoiser=constant)[-1]
    assert (states[-1] == 0).double().mean() > (plain == 0).double().mean() + 0.05


# ---------------------------------------------------------------- bad input


def even(x, t):
    return torch.zeros(*x.shape, 3)


def fill(
    start=((0, 1, 2), (2, 1, 0)), times=(1.0, 0.5, 0.0), method="ancestral", eta=0.0, draw=0, denoiser=even, **more
):
    start, times = torch.tensor(start), torch.as_tensor(times, dtype=torch.float64)
    draw = None if draw is None else generator(draw)
    return list(MaskedDiffusion(linear(), 3).sample(denoiser, start, times, method, eta, draw, **more))


def test_a_schedule_that_hides_too_little_is_named():
    with pytest.raises(ValueError, match=r"hidden at t = 1.*zero_terminal_snr"):
        MaskedDiffusion(ddpm(), 3)
    assert MaskedDiffusion(zero_terminal_snr(ddpm()), 3).mask_id == 3


@pytest.mark.parametrize("mask_id", [0, -1])
def test_a_mask_without_tokens_before_it_is_named(mask_id):
    with pytest.raises(ValueError, match=f"mask_id comes after.*it is {mask_id}"):
        MaskedDiffusion(linear(), mask_id)


def test_an_unknown_weighting_is_named():
    with pytest.raises(ValueError, match='"bounded" or "unweighted"; it is \'none\''):
        MaskedDiffusion(linear(), 3, "none")


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 9), (2, 3), (2, 4, 3), (1, 3, 3), (2, 3, 3, 3)])
def test_logits_that_call_a_token_mask_or_have_another_shape_are_named(shape):
    def denoiser(x, t):
        return torch.zeros(shape)

    message = r"\(2, 3, 'V'\) with V up to mask_id = 3.*" + str(shape).replace("(", r"\(").replace(")", r"\)")
    diffusion, x0 = MaskedDiffusion(linear(), 3), torch.zeros(2, 3).long()
    for use in (
        lambda: fill(denoiser=denoiser),
        lambda: diffusion.loss(denoiser, x0, generator()),
        lambda: diffusion.nelbo(denoiser, x0, generator()),
    ):
        with pytest.raises(ValueError, match=message):
            use()


def test_an_id_that_the_denoiser_does_not_know_is_named():
    diffusion = MaskedDiffusion(linear(), 5)
    with pytest.raises(ValueError, match=r"holds the id 4.*knows only 0 … 2"):
        diffusion.loss(even, torch.tensor([[0, 4]]), generator())


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.zeros(2, 3), r"torch.int64; got torch.float32 of \(2, 3\)"),
        (torch.zeros(3).long(), r"\(batch, tokens\).*\(3,\)"),
        (torch.zeros(2, 3, 4).long(), r"\(batch, tokens\).*\(2, 3, 4\)"),
        (torch.zeros(2, 0).long(), r"\(batch, tokens\).*\(2, 0\)"),
        (torch.tensor([[0, -1]]), r"0 … 2; they span -1 … 0"),
        (torch.tensor([[0, 3]]), r"0 … 2; they span 0 … 3"),
    ],
)
def test_ids_that_are_no_tokens_are_named(ids, message):
    diffusion = MaskedDiffusion(linear(), 3)
    with pytest.raises(ValueError, match=message):
        diffusion.corrupt(ids, torch.zeros(len(ids)), torch.zeros(ids.shape))
    with pytest.raises(ValueError, match=message):
        diffusion.loss(even, ids, generator())


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (torch.zeros(2, 3), "torch.int64; got torch.float32"),
        (torch.zeros(0, 3).long(), r"\(0, 3\)"),
        (torch.tensor([[0, 4]]), "0 … 3; they span 0 … 4"),
        (torch.tensor([[0, -1]]), "0 … 3; they span -1 … 0"),
    ],
)
def test_a_start_that_holds_no_tokens_is_named(start, message):
    with pytest.raises(ValueError, match=message):
        list(MaskedDiffusion(linear(), 3).sample(even, start, time_grid(2), generator=generator()))


@pytest.mark.parametrize(("t", "u"), [((3,), (2, 3)), ((), (2, 3)), ((2, 1), (2, 3)), ((2,), (2, 1)), ((2,), (3,))])
def test_times_and_numbers_that_do_not_fit_are_named(t, u):
    message = r"one time for each row or each token; x0 is \(2, 3\)"
    diffusion, x0 = MaskedDiffusion(linear(), 3), torch.zeros(2, 3).long()
    with pytest.raises(ValueError, match=message):
        diffusion.corrupt(x0, torch.full(t, 0.5), torch.zeros(u))
    if u == (2, 3):
        with pytest.raises(ValueError, match=message):
            diffusion.loss(even, x0, generator(), t=torch.full(t, 0.5))


def test_times_outside_zero_and_one_are_named():
    with pytest.raises(ValueError, match=r"Times must lie in \[0, 1\]"):
        MaskedDiffusion(linear(), 3).loss(even, torch.zeros(2, 3).long(), generator(), t=torch.tensor([0.5, 500.0]))


@pytest.mark.parametrize(
    ("draws", "times"), [(0, "stratified"), (-2, "stratified"), (0, "antithetic"), (3, "antithetic"), (4, "random")]
)
def test_draws_that_cannot_be_made_are_named(draws, times):
    with pytest.raises(ValueError, match=f"\"antithetic\", with an even number; got {draws} '{times}'"):
        MaskedDiffusion(linear(), 3).nelbo(even, torch.zeros(2, 3).long(), generator(), draws, times)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frozen": torch.ones(3, dtype=torch.bool)}, "Every token of a row is frozen"),
        ({"frozen": torch.tensor([[True] * 3, [False] * 3])}, "Every token of a row is frozen"),
        ({"frozen": torch.zeros(3, dtype=torch.bool)}, "frozen marks no token"),
        ({"frozen": torch.zeros(2, 3, dtype=torch.bool)}, "frozen marks no token"),
        ({"frozen": torch.arange(3) == 0, "start": ((3, 1, 2), (0, 1, 2))}, "A frozen token is hidden"),
        ({"method": "random", "times": time_grid(4)}, "4 steps cannot fill in 3 tokens: with 'random', .* at most 3"),
        ({"method": "confidence", "times": time_grid(9)}, "9 steps cannot fill in 3 .*'confidence', .* at most 3"),
        (
            {"method": "random", "times": time_grid(3), "frozen": torch.tensor([[False] * 3, [True, False, False]])},
            "3 steps cannot fill in 2 tokens",
        ),
        ({"times": [0.9, 0.5, 0.0]}, r"goes from t = 1 to t = 0; times go from 0\.9 to 0"),
        ({"times": [1.0, 0.5, 0.1]}, r"times go from 1 to 0\.1"),
        ({"times": [0.0, 0.5, 1.0]}, "at least two falling times"),
        ({"times": [1.0, 0.5, 0.5, 0.0]}, "at least two falling times"),
        ({"times": [1.0, math.nan, 0.0]}, "at least two falling times"),
        ({"times": [1.0]}, "at least two falling times"),
        ({"times": []}, "at least two falling times"),
        ({"times": [[1.0, 0.0]]}, "at least two falling times"),
        ({"eta": -0.1}, "eta lies between 0 and 1.*it is -0.1"),
        ({"eta": 1.1}, "eta lies between 0 and 1.*it is 1.1"),
        ({"eta": math.nan}, "eta lies between 0 and 1.*it is nan"),
        ({"eta": 0.5, "method": "random"}, "belongs to \"ancestral\"; it is 0.5 with 'random'"),
        ({"eta": 0.5, "method": "confidence"}, "belongs to \"ancestral\"; it is 0.5 with 'confidence'"),
        ({"temperature": 0.0}, "temperature must be above 0; it is 0.0"),
        ({"temperature": -1.0}, "temperature must be above 0; it is -1.0"),
        ({"temperature": math.nan}, "temperature must be above 0; it is nan"),
        ({"draw": None}, "give a CPU generator"),
        ({"method": "maskgit"}, '"random" or "confidence"; it is \'maskgit\''),
    ],
)
def test_a_way_back_that_cannot_be_gone_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        fill(**options)


def test_times_must_be_a_tensor():
    with pytest.raises(ValueError, match="at least two falling times"):
        list(MaskedDiffusion(linear(), 3).sample(even, torch.zeros(2, 3).long(), [1.0, 0.0], generator=generator()))


@pytest.mark.parametrize(
    ("choice_temperature", "method"), [(-1.0, "confidence"), (math.nan, "confidence"), (1.0, "random")]
)
def test_a_choice_temperature_that_means_nothing_is_named(choice_temperature, method):
    with pytest.raises(ValueError, match='choice_temperature is at least 0 and belongs to "confidence"'):
        way(
            MaskedDiffusion(linear(), 4),
            torch.zeros(2, 3).long(),
            time_grid(2),
            method,
            choice_temperature=choice_temperature,
        )


@pytest.mark.parametrize("frozen", [torch.ones(3), torch.ones(2, dtype=torch.bool), torch.ones(2, 4, dtype=torch.bool)])
def test_a_frozen_that_is_no_mask_of_tokens_is_named(frozen):
    with pytest.raises(ValueError, match="frozen is true or false for each of 3 tokens"):
        way(MaskedDiffusion(linear(), 4), torch.zeros(2, 3).long(), time_grid(2), "random", frozen=frozen)


def test_weights_can_be_had_in_inference_mode():
    with torch.inference_mode():
        assert MaskedDiffusion(linear(), 4).weight(torch.tensor([0.5])).item() == pytest.approx(2)
