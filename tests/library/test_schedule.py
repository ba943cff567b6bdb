import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqdit_lite.schedule import (
    Schedule,
    cosine,
    ddpm,
    flow,
    linear,
    sigmoid,
    stratified_times,
    time_grid,
    zero_terminal_snr,
)

many_cases = settings(deadline=None, max_examples=25)

PRESERVING = {
    "linear": linear(),
    "ddpm": ddpm(),
    "ddpm of 50 steps": ddpm(50),
    "cosine": cosine(),
    "sigmoid": sigmoid(),
    "steep sigmoid": sigmoid(-6, 3),
    "ddpm without its last signal": zero_terminal_snr(ddpm()),
}
SCHEDULES = PRESERVING | {"flow": flow(), "flow, stretched": zero_terminal_snr(flow())}
EMPTY_AT_THE_END = {name: schedule for name, schedule in SCHEDULES.items() if name not in ("ddpm", "ddpm of 50 steps")}


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]


@pytest.fixture
def scheduling_ddpm(monkeypatch):
    """A module of diffusers, whose own float32 is replaced by float64."""
    module = pytest.importorskip("diffusers.schedulers.scheduling_ddpm")
    monkeypatch.setattr(module, "torch", SimpleNamespace(**(vars(torch) | {"float32": torch.float64})))
    return module


def grid(steps: int) -> torch.Tensor:
    return torch.arange(steps + 1, dtype=torch.float64) / steps


def close(ours: torch.Tensor, theirs: torch.Tensor, bound: float = 1e-9) -> None:
    torch.testing.assert_close(ours, theirs, atol=bound, rtol=0)


# ---------------------------------------------------------------- every schedule


def test_a_schedule_starts_clean(schedule):
    start = torch.zeros(())
    assert schedule.alpha_bar(start) == schedule.signal(start) == 1
    assert schedule.noise(start) == 0
    assert schedule.snr(start) == schedule.log_snr(start) == math.inf


@pytest.mark.parametrize("name", EMPTY_AT_THE_END)
def test_no_signal_is_left_at_the_end(name):
    end = torch.ones((), dtype=torch.float64)
    assert SCHEDULES[name].alpha_bar(end) == SCHEDULES[name].signal(end) == SCHEDULES[name].snr(end) == 0
    assert SCHEDULES[name].noise(end) == 1
    assert SCHEDULES[name].log_snr(end) == -math.inf


def test_of_ddpm_a_little_signal_is_left_at_the_end():
    assert 0 < ddpm().signal(torch.ones(())) < 0.01
    assert ddpm().log_snr(torch.ones(())).isfinite()


@pytest.mark.parametrize("name", PRESERVING)
@many_cases
@given(t=st.floats(0, 1))
def test_signal_and_noise_preserve_the_variance(name, t):
    t = torch.tensor(t, dtype=torch.float64)
    total = PRESERVING[name].signal(t) ** 2 + PRESERVING[name].noise(t) ** 2
    close(total, torch.ones_like(t), 1e-12)


def test_the_snr_falls_all_the_way(schedule):
    t = grid(2000)
    for falling in (schedule.alpha_bar(t), schedule.snr(t), schedule.log_snr(t)):
        assert (falling.diff() < 0).all()
    assert (schedule.signal(t).diff() < 0).all()
    assert (schedule.noise(t).diff() > 0).all()


def test_the_snr_is_a_quotient_of_variances(schedule):
    t = grid(500)[1:-1]
    signal, noise = schedule.signal(t), schedule.noise(t)
    torch.testing.assert_close(schedule.snr(t), (signal / noise) ** 2, rtol=1e-9, atol=0)
    torch.testing.assert_close(schedule.log_snr(t), schedule.snr(t).log(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(schedule.alpha_bar(t), signal**2 / (signal**2 + noise**2), rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1, 3), (0,)])
def test_values_are_like_the_times_and_computed_in_float64(schedule, shape, dtype):
    t = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert all(
        torch.equal(*pair) for pair in zip(schedule.level(t), (schedule.signal(t), schedule.noise(t)), strict=True)
    )
    for method in (schedule.alpha_bar, schedule.signal, schedule.noise, schedule.snr, schedule.log_snr):
        assert method(t).shape == shape
        assert method(t).dtype == dtype
        assert torch.equal(method(t), method(t.double()).to(dtype))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0, 1.5], "got 0 to 1.5"),
        ([-0.25, 0.5], "got -0.25 to 0.5"),
        ([0.5, math.nan], "nan"),
        ([math.inf], "inf"),
        ([1000.0], "got 1000"),
    ],
)
def test_times_outside_zero_and_one_are_named(schedule, times, message):
    for method in (schedule.alpha_bar, schedule.signal, schedule.noise, schedule.level, schedule.snr, schedule.log_snr):
        with pytest.raises(ValueError, match=rf"\[0, 1\].*{message}"):
            method(torch.tensor(times))


def test_a_level_has_the_axes_of_what_it_multiplies(schedule):
    t = grid(4)
    for part, wanted in zip(schedule.level(t, torch.zeros(5, 2, 3)), schedule.level(t), strict=True):
        assert torch.equal(part, wanted[:, None, None])


def test_a_schedule_of_ones_own_has_the_length_it_is_given():
    schedule, t = Schedule(lambda t: 1 - t**3, lambda t: 2 + t), grid(10)
    close(schedule.signal(t), (2 + t) * (1 - t**3).sqrt())
    close(schedule.noise(t), (2 + t) * t**1.5)
    close(schedule.snr(t)[1:], ((1 - t**3) / t**3)[1:])


# ---------------------------------------------------------------- each schedule


def test_linear_is_a_straight_line():
    close(linear().alpha_bar(grid(100)), 1 - grid(100), 0)


@pytest.mark.parametrize("steps", [25, 50, 250, 1000, 4000])
def test_ddpm_is_the_schedule_of_diffusers(scheduling_ddpm, steps):
    ratio = 1000 / steps
    theirs = scheduling_ddpm.DDPMScheduler(steps, beta_start=1e-4 * ratio, beta_end=0.02 * ratio)
    close(ddpm(steps).alpha_bar(grid(steps)[1:]), theirs.alphas_cumprod)


def test_ddpm_takes_other_first_and_last_steps(scheduling_ddpm):
    theirs = scheduling_ddpm.DDPMScheduler(100, beta_start=0.002, beta_end=0.1)
    close(ddpm(100, first=2e-4, last=0.01).alpha_bar(grid(100)[1:]), theirs.alphas_cumprod)


@pytest.mark.parametrize("steps", [50, 1000])
def test_between_steps_ddpm_interpolates_log_alpha_bar(steps):
    alpha_bar = ddpm(steps).alpha_bar
    for share in (0.25, 0.5, 0.9):
        between = alpha_bar((torch.arange(steps, dtype=torch.float64) + share) / steps)
        at = alpha_bar(grid(steps))
        close(between.log(), (1 - share) * at[:-1].log() + share * at[1:].log())


def test_cosine_is_the_schedule_of_diffusers_before_the_last_capped_step(scheduling_ddpm):
    theirs = scheduling_ddpm.DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2")
    close(cosine().alpha_bar(grid(1000)[1:-1]), theirs.alphas_cumprod[:-1])
    assert theirs.betas[-1] == 0.999 > theirs.betas[-2]


@pytest.mark.parametrize("offset", [0.0, 0.008, 0.1])
def test_cosine_is_the_formula_of_its_paper(offset):
    f = ((grid(100) + offset) / (1 + offset) * math.pi / 2).cos().square()
    close(cosine(offset).alpha_bar(grid(100)), f / f[0])


@pytest.mark.parametrize(("start", "end"), [(-3, 3), (0, 3), (-6, 6)])
def test_sigmoid_is_the_formula_of_its_paper(start, end):
    # arXiv 2301.10972, algorithm 1, with tau = 1. The "sigmoid" of diffusers is another schedule, of betas.
    first, last = 1 / (1 + math.exp(-start)), 1 / (1 + math.exp(-end))
    wanted = (last - 1 / (1 + (-(grid(100) * (end - start) + start)).exp())) / (last - first)
    close(sigmoid(start, end).alpha_bar(grid(100)), wanted)


def test_flow_is_a_straight_line_from_data_to_noise():
    t = grid(1000)
    torch.testing.assert_close(flow().signal(t), 1 - t, rtol=1e-12, atol=0)
    torch.testing.assert_close(flow().noise(t), t, rtol=1e-9, atol=0)


@pytest.mark.parametrize("steps", [50, 1000])
def test_zero_terminal_snr_is_the_algorithm_of_diffusers(scheduling_ddpm, steps):
    betas = scheduling_ddpm.DDPMScheduler(steps, beta_start=0.1 / steps, beta_end=20 / steps).betas
    # They keep their first step as it is, we keep t = 0: with a first step that does nothing the two are one.
    rescaled = scheduling_ddpm.rescale_zero_terminal_snr(torch.cat([betas.new_zeros(1), betas]))
    close(zero_terminal_snr(ddpm(steps)).alpha_bar(grid(steps)), (1 - rescaled).cumprod(0))


@pytest.mark.parametrize("name", EMPTY_AT_THE_END)
def test_zero_terminal_snr_leaves_a_schedule_that_has_it(name):
    t = grid(100)
    close(zero_terminal_snr(SCHEDULES[name]).signal(t), SCHEDULES[name].signal(t))
    close(zero_terminal_snr(SCHEDULES[name]).noise(t), SCHEDULES[name].noise(t))


@pytest.mark.parametrize("steps", [0, -3])
def test_a_schedule_without_steps_is_refused(steps):
    with pytest.raises(ValueError, match=rf"at least one step; steps is {steps}"):
        ddpm(steps)


# ---------------------------------------------------------------- time_grid


@pytest.mark.parametrize("kind", ["uniform", "cosine", "trailing"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50, 999, 1000])
def test_a_grid_falls_from_exactly_one_to_exactly_zero(kind, steps):
    times = time_grid(steps, kind)
    assert times.shape == (steps + 1,)
    assert times.dtype == torch.float64
    assert times[0] == 1
    assert times[-1] == 0
    assert (times.diff() < 0).all()


def test_a_uniform_grid_has_equal_steps():
    close(time_grid(7).diff(), torch.full((7,), -1 / 7, dtype=torch.float64), 1e-15)


def test_a_cosine_grid_is_that_of_its_paper_and_has_its_small_steps_at_the_noisy_end():
    times = time_grid(50, "cosine")
    i = torch.arange(50, -1, -1, dtype=torch.float64)  # arXiv 2406.04329, section 4: t(i) = cos(π/2 (1 - i/T))
    close(times, (math.pi / 2 * (1 - i / 50)).cos(), 1e-15)
    assert (times.diff().abs().diff()[:-1] > 0).all()


@pytest.mark.parametrize(
    ("train_steps", "steps"), [(1000, n) for n in (1, 3, 4, 7, 10, 30, 50, 999, 1000)] + [(50, 10), (5, 5)]
)
def test_a_trailing_grid_is_that_of_diffusers(scheduling_ddpm, train_steps, steps):
    theirs = scheduling_ddpm.DDPMScheduler(train_steps, timestep_spacing="trailing")
    theirs.set_timesteps(steps)
    close(time_grid(steps, "trailing", train_steps)[:-1], (theirs.timesteps + 1).double() / train_steps, 1e-12)


@many_cases
@given(train_steps=st.integers(1, 1000), data=st.data())
def test_a_trailing_grid_falls_and_has_only_steps_of_the_model(train_steps, data):
    times = time_grid(data.draw(st.integers(1, train_steps)), "trailing", train_steps)
    close(times * train_steps, (times * train_steps).round(), 1e-9)
    assert (times.diff() < 0).all()


@pytest.mark.parametrize("kind", ["uniform", "cosine", "trailing"])
@pytest.mark.parametrize("steps", [0, -1])
def test_a_grid_without_steps_is_refused(kind, steps):
    with pytest.raises(ValueError, match=rf"at least one step; steps is {steps}"):
        time_grid(steps, kind)


def test_more_trailing_steps_than_there_are_are_refused():
    with pytest.raises(ValueError, match="Of 10 discrete steps one cannot take 11"):
        time_grid(11, "trailing", train_steps=10)


def test_an_unknown_kind_of_grid_is_named():
    with pytest.raises(ValueError, match=r'"uniform", "cosine" or "trailing"; it is \'karras\''):
        time_grid(10, "karras")


# ---------------------------------------------------------------- stratified_times


def drawn(n: int, seeds: int = 2000) -> torch.Tensor:
    return torch.stack([stratified_times(n, torch.Generator().manual_seed(seed)) for seed in range(seeds)])


def test_stratified_times_follow_their_generator():
    generator = torch.Generator().manual_seed(0)
    first, second = stratified_times(8, generator), stratified_times(8, generator)
    assert torch.equal(first, stratified_times(8, torch.Generator().manual_seed(0)))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("n", [1, 2, 7, 64, 1000])
def test_stratified_times_are_evenly_spaced_on_a_circle(n):
    times = drawn(n, 20).double().sort(1).values
    gaps = torch.cat([times.diff(dim=1), times[:, :1] + 1 - times[:, -1:]], 1)
    close(gaps, torch.full_like(gaps, 1 / n), 3e-6)


@pytest.mark.parametrize("n", [1, 3, 8])
def test_each_stratified_time_is_uniform(n):
    times = drawn(n)
    empirical, uniform = times.sort(0).values, (torch.arange(len(times)) + 0.5) / len(times)
    distance = (empirical - uniform[:, None]).abs().max(0).values  # of Kolmogorov and Smirnov
    assert (distance < 1.95 / math.sqrt(len(times))).all()  # exceeded by 1 uniform sample in 1,000


def test_the_mean_of_stratified_times_varies_less_than_that_of_free_ones():
    std = drawn(16, 300).mean(1).std()
    assert std < torch.rand(300, 16, generator=torch.Generator().manual_seed(0)).mean(1).std() / 2


@pytest.mark.parametrize("start", [0.0, 1e-9, 0.5, 1 - 2**-24])
def test_stratified_times_never_reach_the_ends(monkeypatch, start):
    monkeypatch.setattr(torch, "rand", lambda *shape, generator: torch.full(shape, start))
    for n in (1, 2, 3, 10, 1000):
        times = stratified_times(n, torch.Generator())
        assert times.min() > 0
        assert times.max() < 1
        assert cosine().snr(times).isfinite().all()


@pytest.mark.parametrize("n", [0, -2])
def test_no_times_are_refused(n):
    with pytest.raises(ValueError, match=f"n must be at least 1; got {n}"):
        stratified_times(n, torch.Generator())
