"""Chapter 08: each numbered equation, checked numerically."""

import math
from itertools import combinations, pairwise, product

import pytest
import torch

from vqdit_lite.masked import MaskedDiffusion, ancestral_step
from vqdit_lite.metrics import bits_per_token
from vqdit_lite.schedule import cosine, linear, time_grid

STATES = 3
KINDS = {
    "uniform": torch.full((STATES, STATES), 1 / STATES).double(),
    "absorbing": torch.eye(STATES).double()[-1].expand(STATES, STATES),
}


@pytest.fixture(params=KINDS)
def target(request):
    """Where noise sends each state: row by row the same."""
    return KINDS[request.param]


def transition(beta, target):
    return (1 - beta) * torch.eye(STATES).double() + beta * target


def test_equation_8_1_rows_are_probabilities_and_the_rest_stay(target):
    Q = transition(0.2, target)
    assert torch.allclose(Q.sum(1), torch.ones(STATES).double())
    state = torch.multinomial(Q, 100_000, True, generator=torch.Generator().manual_seed(0))  # (3, 100000)
    seen = torch.stack([row.bincount(minlength=STATES) for row in state]) / 100_000
    assert (seen - Q).abs().max() < 0.01


def test_equation_8_2_many_steps_are_one(target):
    betas = torch.rand(20, generator=torch.Generator().manual_seed(0)).double() / 4
    folded = transition(1 - (1 - betas).prod(), target)
    assert torch.allclose(torch.linalg.multi_dot([transition(beta, target) for beta in betas]), folded, atol=1e-14)


def test_equation_8_3_is_bayes_rule_over_all_paths(target):
    betas = [0.1, 0.3, 0.2]
    Q = [transition(beta, target) for beta in betas]
    joint = torch.zeros(STATES, STATES, STATES).double()  # of x_0 (uniform), x_2, x_3
    for path in product(range(STATES), repeat=4):
        chance = math.prod(Q[step][path[step], path[step + 1]] for step in range(3)) / STATES
        joint[path[0], path[2], path[3]] += chance
    before = Q[0] @ Q[1]
    for x0, x3 in product(range(STATES), repeat=2):
        if joint[x0, :, x3].sum() > 0:
            by_formula = Q[2][:, x3] * before[x0]
            expected = joint[x0, :, x3] / joint[x0, :, x3].sum()
            assert torch.allclose(by_formula / by_formula.sum(), expected, atol=1e-14)


@pytest.mark.parametrize("schedule", [linear(), cosine()], ids=["linear", "cosine"])
def test_equation_8_4_hides_each_token_with_its_chance(schedule):
    x0 = torch.zeros(2000, 50, dtype=torch.long)
    for time in (0.1, 0.5, 0.9):
        t = torch.full((2000,), time)
        u = torch.rand(x0.shape, generator=torch.Generator().manual_seed(0))
        hidden = MaskedDiffusion(schedule, mask_id=1).corrupt(x0, t, u).float()  # 1 where hidden
        assert abs(hidden.mean() - (1 - schedule.alpha_bar(torch.tensor(time)))) < 0.01
        pairs = torch.corrcoef(hidden.T) - torch.eye(50)  # each on its own
        assert pairs.abs().max() < 0.15


def test_equation_8_5_is_the_entropy_for_the_exact_denoiser_under_any_schedule():
    generator = torch.Generator().manual_seed(0)
    world = torch.tensor(list(product(range(2), repeat=2)))  # (4, 2)
    p = torch.rand(4, generator=generator).double()
    p /= p.sum()

    def exact(x, t=None):
        fits = ((x[:, None] == world) | (x[:, None] == 2)).all(-1) * p  # (B, 4)
        return (fits @ torch.nn.functional.one_hot(world, 2).double().flatten(1)).view(-1, 2, 2).log()

    def integrand(diffusion, t):
        """The mean over all patterns of hidden tokens, weighted."""
        known, total = diffusion.schedule.alpha_bar(t), 0
        for m in range(1, 3):
            for pattern in combinations(range(2), m):
                x = world.index_fill(1, torch.tensor(pattern), 2)
                nll = -exact(x).log_softmax(-1).gather(2, world[..., None])[..., 0]
                total += (1 - known) ** m * known ** (2 - m) * (p * nll[:, pattern].sum(1)).sum()
        return diffusion.weight(t) * total

    for schedule in (linear(), cosine()):
        times = (torch.arange(2000) + 0.5).double() / 2000
        diffusion = MaskedDiffusion(schedule, mask_id=2)
        integral = torch.stack([integrand(diffusion, t) for t in times]).mean()
        assert abs(integral + (p * p.log()).sum()) < 1e-5


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_equation_8_6_leaves_the_share_that_the_schedule_says(eta):
    generator = torch.Generator().manual_seed(0)
    x, shares = torch.full((1, 200_000), 9), [0.0, 0.2, 0.5, 0.8, 1.0]
    for known, next_known in pairwise(shares):
        u = torch.rand(x.shape, generator=generator)
        before = x
        x = ancestral_step(x, torch.zeros_like(x), 9, known, next_known, eta, u)
        assert abs((x != 9).float().mean() - next_known) < 0.005
        again = ((before != 9) & (x == 9)).float().sum() / (before != 9).sum().clamp(min=1)
        assert abs(again - (eta * min(1, (1 - next_known) / known) if known else 0)) < 0.01


def test_equation_8_7_prefers_the_sure_and_leaves_less_to_chance_with_time():
    chances = torch.tensor([0.9, 0.6])  # of the token that two places would get; else id 1

    def denoiser(x, t):
        return torch.stack([chances, 1 - chances], -1).log().expand(len(x), 2, 2)

    start = torch.full((20_000, 2), 2)
    share = {}
    for choice_temperature in (0.0, 4.0):
        generator = torch.Generator().manual_seed(0)
        _, half, _ = MaskedDiffusion(linear(), 2).sample(
            denoiser, start, time_grid(2), "confidence", generator=generator, choice_temperature=choice_temperature
        )
        first, second = (torch.multinomial(pair, 20_000, True) for pair in (denoiser(start[:1], None)[0].exp()))
        surer = denoiser(start[:1], None)[0, 0][first] > denoiser(start[:1], None)[0, 1][second]
        share[choice_temperature] = (half[:, 0] != 2).float().mean().item()
        if not choice_temperature:
            assert abs(share[0.0] - surer.float().mean()) < 0.02
    # With Gumbel noise times s, the first is kept with chance 1 / (1 + (q / p) ** (1 / s)); here s = 4 · 0.5.
    kept = sum(
        p * q / (1 + (q / p) ** (1 / 2))
        for p in denoiser(start[:1], None)[0, 0].exp().tolist()
        for q in denoiser(start[:1], None)[0, 1].exp().tolist()
    )
    assert abs(share[4.0] - kept) < 0.02


def test_equation_8_8_counts_bits():
    fair_coins = torch.full((5,), 10 * math.log(2))  # ten coins
    assert math.isclose(bits_per_token(fair_coins, 10), 1, rel_tol=1e-6)
    assert math.isclose(bits_per_token(fair_coins, 5), 2, rel_tol=1e-6)
