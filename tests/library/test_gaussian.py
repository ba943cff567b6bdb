import math
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Normal

from vqdit_lite.gaussian import (
    GaussianDiffusion,
    IdealDenoiser,
    ddim,
    ddim_step,
    dpm_solver,
    dpm_solver_step,
    from_target,
    guided,
    heun,
    heun_step,
    target_coefficients,
    to_target,
)
from vqdit_lite.schedule import cosine, ddpm, flow, linear, sigmoid, stratified_times, time_grid, zero_terminal_snr

many_cases = settings(deadline=None, max_examples=25)

PRESERVING = {
    "linear": linear(),
    "ddpm": ddpm(),
    "cosine": cosine(),
    "sigmoid": sigmoid(),
    "ddpm without its last signal": zero_terminal_snr(ddpm()),
}
SCHEDULES = PRESERVING | {"flow": flow()}
TARGETS = ("eps", "x0", "v", "flow")
METHODS = ("ancestral", "ddim", "heun", "dpm_solver")
STEPS = 1000  # of the schedulers of diffusers
THEIR_NAMES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]


@pytest.fixture(params=TARGETS)
def predict(request):
    return request.param


@pytest.fixture
def scheduler(monkeypatch):
    """Makes a scheduler of diffusers that computes in float64 and has the levels of one of our schedules."""
    diffusers = pytest.importorskip("diffusers")

    def make(name, schedule, **options):
        kind = getattr(diffusers, name)
        in_float64 = SimpleNamespace(**(vars(torch) | {"float32": torch.float64}))
        monkeypatch.setattr(sys.modules[kind.__module__], "torch", in_float64)
        scheduler = kind(STEPS, **options)
        scheduler.alphas_cumprod = schedule.alpha_bar(torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS)
        return scheduler

    return make


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def levels(schedule, t) -> tuple[torch.Tensor, torch.Tensor]:
    t = torch.as_tensor(t, dtype=torch.float64)
    return schedule.signal(t), schedule.noise(t)


def close(ours: torch.Tensor, theirs: torch.Tensor, bound: float = 1e-9) -> None:
    torch.testing.assert_close(ours, theirs, atol=bound, rtol=bound)


def wavy(x, t):
    """Stands for a network: smooth, nonlinear, and another one at every time."""
    return torch.sin(2 * x + t[:, None]) + 0.3 * x * t[:, None]


def calls_of(denoiser):
    """The denoiser, and a list of the times it is called with."""
    times = []

    def watched(x, t):
        times.append(t)
        return denoiser(x, t)

    return watched, times


MIXTURE = torch.tensor([[-2.0, 0.5], [1.0, 1.5], [0.5, -1.5]], dtype=torch.float64)


# ---------------------------------------------------------------- against diffusers


@pytest.mark.parametrize("name", PRESERVING)
def test_corruption_and_velocity_are_those_of_diffusers(scheduler, name):
    schedule = PRESERVING[name]
    theirs, x0, eps = scheduler("DDPMScheduler", schedule), random(5, 3, 2), random(5, 3, 2, seed=1)
    index = torch.tensor([0, 10, 500, 700, 999])
    t = (index + 1).double() / STEPS
    close(GaussianDiffusion(schedule).corrupt(x0, t, eps), theirs.add_noise(x0, eps, index))
    signal, noise = levels(schedule, t[:, None, None])
    close(to_target("v", x0, eps, signal, noise), theirs.get_velocity(x0, eps, index))


@pytest.mark.parametrize("predict", THEIR_NAMES)
@pytest.mark.parametrize("index", [0, 19, 499, 979])
def test_the_clean_data_behind_a_prediction_are_those_of_diffusers(scheduler, predict, index):
    theirs = scheduler("DDIMScheduler", cosine(), prediction_type=THEIR_NAMES[predict], clip_sample=False)
    theirs.set_timesteps(50)
    output, x = random(4, 3), random(4, 3, seed=1)
    x0, eps = from_target(predict, output, x, *levels(cosine(), (index + 1) / STEPS))
    close(x0, theirs.step(output, index, x).pred_original_sample)
    signal, noise = levels(cosine(), (index + 1) / STEPS)
    close(signal * x0 + noise * eps, x)


@pytest.mark.parametrize("name", PRESERVING)
@pytest.mark.parametrize("eta", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("index", [19, 39, 499, 979])
def test_a_ddim_step_is_that_of_diffusers(scheduler, name, eta, index):
    schedule = PRESERVING[name]
    theirs = scheduler("DDIMScheduler", schedule, prediction_type="sample", clip_sample=False)
    theirs.set_timesteps(50)
    x, x0, z = random(4, 3), random(4, 3, seed=1), random(4, 3, seed=2)
    level, next_level = levels(schedule, (index + 1) / STEPS), levels(schedule, (index - 19) / STEPS)
    ours = ddim_step(x0, (x - level[0] * x0) / level[1], level, next_level, eta, z)
    close(ours, theirs.step(x0, index, x, eta=eta, variance_noise=z).prev_sample)


@pytest.mark.parametrize("name", PRESERVING)
@pytest.mark.parametrize("steps", [STEPS, 50])
@pytest.mark.parametrize("at", [0, 1, 20, -2, -1])
def test_the_ancestral_step_is_that_of_diffusers(scheduler, name, steps, at):
    schedule = PRESERVING[name]
    theirs = scheduler("DDPMScheduler", schedule, prediction_type="sample", clip_sample=False)
    theirs.set_timesteps(steps)
    index, *later = theirs.timesteps[at:].tolist() if at != -1 else theirs.timesteps[-1:].tolist()
    level, next_level = levels(schedule, (index + 1) / STEPS), levels(schedule, (later[0] + 1) / STEPS if later else 0)
    x, x0 = random(4, 3), random(4, 3, seed=1)
    ours = ddim_step(x0, (x - level[0] * x0) / level[1], level, next_level, 1.0, random(4, 3, seed=5))
    close(ours, theirs.step(x0, index, x, generator=generator(5)).prev_sample)


@pytest.mark.parametrize("predict", THEIR_NAMES)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_whole_way_back_by_ddim_is_that_of_diffusers(scheduler, predict, eta):
    theirs = scheduler("DDIMScheduler", ddpm(), prediction_type=THEIR_NAMES[predict], clip_sample=False)
    theirs.set_timesteps(20)
    times = torch.cat([(theirs.timesteps + 1).double() / STEPS, torch.zeros(1, dtype=torch.float64)])
    x, draw, expected = random(4, 3), generator(7), [random(4, 3)]
    for index in theirs.timesteps.tolist():
        output = wavy(x, torch.full((4,), (index + 1) / STEPS, dtype=torch.float64))
        z = torch.randn(4, 3, generator=draw).double() if eta else None
        x = theirs.step(output, index, x, eta=eta, variance_noise=z).prev_sample
        expected.append(x)
    ours = GaussianDiffusion(ddpm(), predict).sample(wavy, random(4, 3), times, "ddim", eta, generator(7))
    for step, wanted in zip(ours, expected, strict=True):
        close(step, wanted)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
@pytest.mark.parametrize("predict", THEIR_NAMES)
@pytest.mark.parametrize("name", PRESERVING)
@pytest.mark.parametrize("times", [time_grid(8) * 0.98, time_grid(25, "cosine") * 0.9, time_grid(16)[3:]])
def test_a_whole_way_back_by_dpm_solver_is_that_of_diffusers(scheduler, name, predict, times):
    schedule = PRESERVING[name]
    signal, noise = levels(schedule, times)
    options = {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"}
    theirs = scheduler("DPMSolverMultistepScheduler", schedule, prediction_type=THEIR_NAMES[predict], **options)
    theirs.set_timesteps(len(times) - 1)
    theirs.sigmas = noise / signal
    theirs.set_begin_index(0)
    x, expected = random(4, 3), [random(4, 3)]
    for index, t in zip(theirs.timesteps, times[:-1], strict=True):
        x = theirs.step(wavy(x, t.expand(4)), index, x).prev_sample
        expected.append(x)
    ours = GaussianDiffusion(schedule, predict).sample(wavy, random(4, 3), times)
    for step, wanted in zip(ours, expected, strict=True):
        close(step, wanted)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_whole_way_back_by_heun_is_that_of_diffusers(scheduler, name):
    schedule, times = SCHEDULES[name], time_grid(12) * 0.95
    signal, noise = levels(schedule, times)
    sigma = noise / signal  # they follow x / signal, whose noise is sigma
    theirs = scheduler("HeunDiscreteScheduler", schedule)
    theirs.set_timesteps(len(times) - 1)
    theirs.sigmas = torch.cat([sigma[:1], sigma[1:-1].repeat_interleave(2), sigma[-1:]])
    theirs.set_begin_index(0)
    x, expected = random(4, 3), [random(4, 3)]
    for i in range(len(times) - 1):
        scaled = x / signal[i]
        for j in (i, i + 1) if i < len(times) - 2 else (i,):
            output = wavy(scaled * signal[j], times[j].expand(4))
            scaled = theirs.step(output, theirs.timesteps[0], scaled).prev_sample
        x = scaled * signal[i + 1]
        expected.append(x)
    ours = GaussianDiffusion(schedule, "eps").sample(wavy, random(4, 3), times, "heun")
    for step, wanted in zip(ours, expected, strict=True):
        close(step, wanted)


# ---------------------------------------------------------------- targets


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("predict", TARGETS)
@many_cases
@given(t=st.floats(0.001, 0.999), x0=st.floats(-100, 100), eps=st.floats(-100, 100))
def test_a_target_tells_the_data_and_the_noise(name, predict, t, x0, eps):
    x0, eps, (signal, noise) = number(x0), number(eps), levels(SCHEDULES[name], t)
    target = to_target(predict, x0, eps, signal, noise)
    found = from_target(predict, target, signal * x0 + noise * eps, signal, noise)
    # Two equations are solved; where they are nearly one, rounding counts for more.
    independent = {"eps": signal, "x0": noise, "v": signal**2 + noise**2, "flow": signal + noise}[predict]
    bound = 1e-15 * (1 + abs(x0) + abs(eps)) / independent
    assert abs(found[0] - x0) <= 4 * bound
    assert abs(found[1] - eps) <= 4 * bound


def test_targets_are_what_their_names_say():
    x0, eps, signal, noise = random(4, 5)
    close(to_target("eps", x0, eps, signal, noise), eps, 0)
    close(to_target("x0", x0, eps, signal, noise), x0, 0)
    close(to_target("v", x0, eps, signal, noise), signal * eps - noise * x0)
    close(to_target("flow", x0, eps, signal, noise), eps - x0)


def test_the_flow_target_is_the_derivative_of_x_along_the_flow():
    x0, eps, t = random(5, 3), random(5, 3, seed=1), number(0.3).requires_grad_()
    x = GaussianDiffusion(flow()).corrupt(x0, t.expand(5), eps)
    slope = torch.stack([torch.autograd.grad(part, t, retain_graph=True)[0] for part in x.flatten()]).view(5, 3)
    close(slope, to_target("flow", x0, eps, *levels(flow(), 0.3)))


@pytest.mark.parametrize("t", [0.0, 1.0])
@pytest.mark.parametrize("predict", ["v", "flow"])
def test_v_and_flow_tell_everything_even_at_the_ends(schedule, predict, t):
    x0, eps, (signal, noise) = random(4), random(4, seed=1), levels(schedule, t)
    target = to_target(predict, x0, eps, signal, noise)
    found = from_target(predict, target, signal * x0 + noise * eps, signal, noise)
    close(found[0], x0)
    close(found[1], eps)


@pytest.mark.parametrize(("predict", "t"), [("eps", 1.0), ("x0", 0.0)])
def test_a_target_that_does_not_tell_everything_is_named(predict, t):
    with pytest.raises(ValueError, match=f"predict='{predict}', .*or predict v or flow"):
        from_target(predict, random(4), random(4), *levels(cosine(), t))
    with pytest.raises(ValueError, match=f"predict='{predict}'"):
        from_target(predict, random(3), random(3), *levels(cosine(), [0.5, t, 0.5]))


@pytest.mark.parametrize(
    "use",
    [
        lambda: GaussianDiffusion(linear(), "noise"),
        lambda: to_target("noise", *random(4)),
        lambda: from_target("noise", *random(4)),
        lambda: target_coefficients("noise", *random(2)),
    ],
    ids=["diffusion", "to", "from", "coefficients"],
)
def test_an_unknown_target_is_named(use):
    with pytest.raises(ValueError, match="predict must be one of eps, x0, v, flow; it is 'noise'"):
        use()


# ---------------------------------------------------------------- corruption, loss, weights


@pytest.mark.parametrize("shape", [(4,), (1, 2), (3, 2, 5), (2, 1, 3, 4)])
def test_corruption_has_one_time_a_row(schedule, shape):
    x0, eps, t = random(*shape), random(*shape, seed=1), torch.linspace(0, 1, shape[0], dtype=torch.float64)
    x = GaussianDiffusion(schedule).corrupt(x0, t, eps)
    for row, clean, noise, time in zip(x, x0, eps, t, strict=True):
        close(row, schedule.signal(time) * clean + schedule.noise(time) * noise)


def test_corruption_at_the_ends_is_the_data_and_the_noise():
    x0, eps = random(2, 3), random(2, 3, seed=1)
    x = GaussianDiffusion(cosine()).corrupt(x0, torch.tensor([0.0, 1.0]), eps)
    assert torch.equal(x, torch.stack([x0[0], eps[1]]))


@pytest.mark.parametrize(
    ("eps", "t"), [((4, 3), (3,)), ((4, 2), (4,)), ((4, 3), ()), ((4, 3), (4, 1)), ((3,), (4,)), ((4, 3), (1,))]
)
def test_shapes_that_do_not_fit_are_named(eps, t):
    with pytest.raises(ValueError, match=r"one time for each row.*\(4, 3\)"):
        GaussianDiffusion(linear()).corrupt(random(4, 3), torch.zeros(t), random(*eps))


def test_times_outside_zero_and_one_are_named(schedule):
    with pytest.raises(ValueError, match=r"\[0, 1\]; got 0.5 to 500"):
        GaussianDiffusion(schedule).corrupt(random(2, 3), torch.tensor([0.5, 500]), random(2, 3))


@pytest.mark.parametrize("min_snr", [None, 5.0])
def test_the_loss_is_the_weighted_error_of_the_target(schedule, predict, min_snr):
    diffusion, x0, draw = GaussianDiffusion(schedule, predict, min_snr), random(6, 2, 3), generator(3)
    t, eps = stratified_times(6, draw), torch.randn(6, 2, 3, generator=draw).double()
    output = wavy(diffusion.corrupt(x0, t, eps), t[:, None])
    wanted = 0.0
    for i in range(6):
        error = (output[i] - to_target(predict, x0[i], eps[i], schedule.signal(t[i]), schedule.noise(t[i]))).square()
        wanted += diffusion.weight(t[i : i + 1])[0] * error.mean() / 6
    close(diffusion.loss(lambda x, t: wavy(x, t[:, None]), x0, generator(3))["loss"], wanted, 1e-6)


def test_a_denoiser_that_knows_the_only_point_has_no_loss(schedule, predict):
    diffusion, point = GaussianDiffusion(schedule, predict), random(1, 2, 3)
    ideal = IdealDenoiser(diffusion, point)
    assert diffusion.loss(ideal, point.expand(32, 2, 3), generator())["loss"] < 1e-6
    assert diffusion.loss(ideal, point.expand(32, 2, 3) + 1, generator())["loss"] > 0.1


def test_the_loss_follows_its_generator_and_teaches_the_denoiser():
    diffusion, network = GaussianDiffusion(cosine()), nn.Linear(3, 3)
    first, again, other = (
        diffusion.loss(lambda x, t: network(x), random(8, 3).float(), generator(seed))["loss"] for seed in (0, 0, 1)
    )
    first.backward()
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert network.weight.grad.abs().sum() > 0


def test_what_else_is_given_goes_to_the_denoiser():
    seen = {}

    def denoiser(x, t, labels, extra=None):
        seen.update(labels=labels, extra=extra)
        return x

    GaussianDiffusion(linear()).loss(denoiser, random(2, 3), generator(), labels="l", extra="e")
    assert seen == {"labels": "l", "extra": "e"}


@pytest.mark.parametrize("gamma", [0.5, 1.0, 5.0])
@pytest.mark.parametrize("name", PRESERVING)
def test_min_snr_weights_are_the_published_ones(name, gamma):
    t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    snr = PRESERVING[name].snr(t)
    published = {"eps": snr.clamp(max=gamma) / snr, "x0": snr.clamp(max=gamma), "v": snr.clamp(max=gamma) / (snr + 1)}
    for predict, wanted in published.items():  # arXiv 2303.09556, section 3.4, and its code for v
        close(GaussianDiffusion(PRESERVING[name], predict, gamma).weight(t), wanted)


def test_min_snr_weighs_the_error_of_the_data_alike_for_every_target(schedule, predict):
    t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    signal, noise = levels(schedule, t)
    x, output, error = random(99), random(99, seed=1), random(99, seed=2)
    wrong = (
        from_target(predict, output + error, x, signal, noise)[0] - from_target(predict, output, x, signal, noise)[0]
    )
    weight = GaussianDiffusion(schedule, predict, min_snr=5.0).weight(t)
    close(weight * error**2, schedule.snr(t).clamp(max=5) * wrong**2, 1e-6)


def test_without_min_snr_all_times_count_alike(schedule, predict):
    assert torch.equal(GaussianDiffusion(schedule, predict).weight(torch.linspace(0, 1, 9)), torch.ones(9))


@pytest.mark.parametrize("min_snr", [0, -1.0])
def test_a_min_snr_of_nothing_is_refused(min_snr):
    with pytest.raises(ValueError, match=f"min_snr must be above 0; it is {min_snr}"):
        GaussianDiffusion(linear(), min_snr=min_snr)


# ---------------------------------------------------------------- one step


def random_levels(schedule, seed):
    late, early = torch.rand(2, generator=generator(seed), dtype=torch.float64).sort(descending=True).values
    return levels(schedule, 0.01 + 0.98 * late), levels(schedule, 0.01 + 0.97 * early)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_ddim_step_leads_to_the_signal_and_the_noise_of_the_earlier_time(schedule, eta, seed):
    level, next_level = random_levels(schedule, seed)
    one, none = number(1), number(0)
    close(ddim_step(one, none, level, next_level, eta, none), next_level[0])
    kept, added = ddim_step(none, one, level, next_level, eta, none), ddim_step(none, none, level, next_level, eta, one)
    close(kept**2 + added**2, next_level[1] ** 2)
    assert (added > 0) == (eta > 0)


@pytest.mark.parametrize("seed", range(5))
def test_the_ancestral_step_is_bayes_posterior(schedule, seed):
    level, next_level = random_levels(schedule, seed)
    x0, x = random(2, seed=seed)
    eps, none = (x - level[0] * x0) / level[1], number(0)
    mean = ddim_step(x0, eps, level, next_level, 1.0, none)
    std = ddim_step(none, none, level, next_level, 1.0, number(1))
    # The earlier x comes from x0, and x from the earlier one, whose posterior is integrated on a grid.
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64) * next_level[1] + next_level[0] * x0
    ratio = level[0] / next_level[0]
    added = (level[1] ** 2 - (ratio * next_level[1]) ** 2).sqrt()
    of_x0, of_x = Normal(next_level[0] * x0, next_level[1]).log_prob(grid), Normal(ratio * grid, added).log_prob(x)
    share = (of_x0 + of_x).softmax(0)
    posterior_mean = (share * grid).sum()
    close(mean, posterior_mean, 1e-6)
    close(std, (share * (grid - posterior_mean).square()).sum().sqrt(), 1e-6)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_step_to_the_clean_end_is_the_predicted_data(schedule, eta):
    x0, eps, z = random(3, 4)
    close(ddim_step(x0, eps, levels(schedule, 0.3), levels(schedule, 0.0), eta, z), x0)


@pytest.mark.parametrize("seed", range(3))
def test_a_solver_step_without_a_step_before_and_a_heun_step_with_the_same_noise_are_ddim_steps(schedule, seed):
    level, next_level = random_levels(schedule, seed)
    x0, eps = random(4), random(4, seed=1)
    x, plain = level[0] * x0 + level[1] * eps, ddim_step(x0, eps, level, next_level)
    close(dpm_solver_step(x, x0, level, next_level, None), plain)
    close(dpm_solver_step(x, x0, level, next_level, (x0, levels(schedule, 1 - 1e-6))), plain)
    close(heun_step(x, eps, eps, level, next_level), plain)


def test_heun_looks_where_ddim_leads():
    times, seen = torch.tensor([0.7, 0.4], dtype=torch.float64), []

    def denoiser(x, t):
        seen.append(x)
        return torch.sin(x)

    diffusion = GaussianDiffusion(cosine())
    list(heun(diffusion, denoiser, random(4, 3), times))
    x0, eps = diffusion.read(denoiser, random(4, 3), times[0])
    close(seen[1], ddim_step(x0, eps, levels(cosine(), 0.7), levels(cosine(), 0.4)))


@pytest.mark.parametrize(("method", "sampler"), [("ddim", ddim), ("heun", heun), ("dpm_solver", dpm_solver)])
def test_a_method_is_a_sampler_by_its_name(method, sampler):
    diffusion, times = GaussianDiffusion(cosine()), time_grid(5)
    expected = diffusion.sample(wavy, random(4, 3), times, method)
    ours = sampler(diffusion, wavy, random(4, 3), times)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))


def test_along_the_flow_a_ddim_step_is_eulers():
    times, diffusion = time_grid(10), GaussianDiffusion(flow(), "flow")
    x = random(4, 3)
    for (t, next_t), ours in zip(pairwise(times), list(diffusion.sample(wavy, x, times, "ddim"))[1:], strict=True):
        x = x + (next_t - t) * wavy(x, t.expand(4))
        close(ours, x)


# ---------------------------------------------------------------- the way back


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 2), (5, 3, 2, 4)])
def test_the_way_back_starts_with_the_noise_and_yields_x_at_every_time(method, shape):
    noise = random(*shape).float()
    start, *rest = GaussianDiffusion(cosine()).sample(lambda x, t: -x, noise, time_grid(7), method, 0.0, generator())
    assert start is noise
    assert len(rest) == 7
    assert all(x.shape == shape and x.dtype == torch.float32 for x in rest)


@pytest.mark.parametrize("method", ["ddim", "heun", "dpm_solver"])
def test_without_fresh_noise_the_start_decides_everything(method):
    diffusion = GaussianDiffusion(cosine())
    state = torch.get_rng_state()
    first = list(diffusion.sample(wavy, random(4, 3), time_grid(9), method))
    again = list(diffusion.sample(wavy, random(4, 3), time_grid(9), method, generator=generator(3)))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_ancestral_sampling_is_ddim_with_eta_one_and_follows_its_generator(schedule):
    diffusion, times = GaussianDiffusion(schedule), time_grid(9)

    def way(method, eta, seed):
        return torch.stack(list(diffusion.sample(wavy, random(4, 3), times, method, eta, generator(seed))))

    assert torch.equal(way("ancestral", 0.0, 1), way("ddim", 1.0, 1))
    assert not torch.equal(way("ancestral", 0.0, 1), way("ancestral", 0.0, 2))
    assert not torch.equal(way("ddim", 1.0, 1), way("ddim", 0.5, 1))


@pytest.mark.parametrize("method", METHODS)
def test_the_denoiser_is_called_at_the_times_with_one_for_each_row(method):
    watched, seen = calls_of(wavy)
    times = time_grid(6) * 0.9
    list(GaussianDiffusion(cosine()).sample(watched, random(4, 3), times, method, generator=generator()))
    assert all(t.shape == (4,) and t.dtype == torch.float64 and (t == t[0]).all() for t in seen)
    once = times[:-1].tolist()
    twice = [t for pair in pairwise(once) for t in pair] + once[-1:]
    assert [t[0].item() for t in seen] == (twice if method == "heun" else once)


def test_the_way_back_keeps_no_gradients_and_leaves_them_on_outside():
    network, modes = nn.Linear(3, 3), []
    for x in GaussianDiffusion(cosine()).sample(lambda x, t: network(x), random(2, 3).float(), time_grid(3)):
        modes.append((torch.is_grad_enabled(), x.requires_grad))
    assert modes == [(True, False)] * 4


@pytest.mark.parametrize("method", ["ddim", "heun", "dpm_solver"])
def test_with_one_point_every_step_without_fresh_noise_is_exact(schedule, predict, method):
    point, x, times = random(1, 3), random(4, 3, seed=1), time_grid(6) * 0.95
    diffusion = GaussianDiffusion(schedule, predict)
    signal, noise = levels(schedule, times)
    eps = (x - signal[0] * point) / noise[0]
    for i, step in enumerate(diffusion.sample(IdealDenoiser(diffusion, point), x, times, method)):
        close(step, signal[i] * point + noise[i] * eps)


@pytest.mark.parametrize("method", METHODS)
def test_with_the_ideal_denoiser_samples_land_on_the_points(schedule, predict, method):
    diffusion, points = GaussianDiffusion(schedule, predict), 2 * random(5, 2, 3, seed=1)
    ideal, times = IdealDenoiser(diffusion, points), time_grid(25) * 0.99
    *_, x = diffusion.sample(ideal, random(20, 2, 3), times, method, generator=generator())
    distance, chosen = torch.cdist(x.flatten(1), points.flatten(1)).min(1)
    assert distance.max() < 1e-3
    assert len(chosen.unique()) > 1


@pytest.mark.parametrize("method", METHODS)
def test_from_pure_noise_to_clean_data_no_step_divides_by_zero(schedule, method):
    diffusion = GaussianDiffusion(schedule, "v")
    ideal = IdealDenoiser(diffusion, MIXTURE)
    for steps in (1, 2, 30):
        *_, x = diffusion.sample(ideal, random(20, 2), time_grid(steps), method, generator=generator())
        assert x.isfinite().all()
    assert torch.cdist(x, MIXTURE).min(1).values.max() < 1e-2


def move_along_quantiles(x, points, std, level, next_level):
    """Where the deterministic way back leads in one dimension: it keeps the share of the data below x."""

    def share_below(x, signal, noise):
        return torch.special.ndtr((x - signal * points.T) / (signal**2 * std**2 + noise**2).sqrt()).mean(1)

    wanted, low, high = share_below(x, *level), torch.full_like(x[:, 0], -20), torch.full_like(x[:, 0], 20)
    for _ in range(80):
        middle = (low + high) / 2
        below = share_below(middle[:, None], *next_level) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return middle[:, None]


@pytest.mark.parametrize("name", ["cosine", "flow"])
@pytest.mark.parametrize(("method", "order"), [("ddim", 1), ("heun", 2), ("dpm_solver", 2)])
def test_halving_the_steps_shrinks_the_error_by_the_order_of_the_method(name, method, order):
    schedule, points, std = SCHEDULES[name], number(-1.5).new_tensor([[-1.5], [0.2], [1.0]]), 0.6
    diffusion, start = GaussianDiffusion(schedule), torch.linspace(-1.5, 1.5, 12, dtype=torch.float64)[:, None]
    ideal = IdealDenoiser(diffusion, points, std)
    exact = move_along_quantiles(start, points, std, levels(schedule, 0.98), levels(schedule, 0.02))
    errors = []
    for steps in (40, 80, 160):
        times = 0.02 + 0.96 * time_grid(steps)
        *_, x = diffusion.sample(ideal, start, times, method)
        errors.append((x - exact).square().mean().sqrt().item())
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([order] * 2, abs=0.3)


def sliced_wasserstein(x: torch.Tensor, y: torch.Tensor) -> float:
    angles = torch.arange(32, dtype=torch.float64) * math.pi / 32
    directions = torch.stack([angles.cos(), angles.sin()])
    return ((x @ directions).sort(0).values - (y @ directions).sort(0).values).abs().mean().item()


def test_twenty_solver_steps_are_as_good_as_a_thousand_ancestral_ones():
    diffusion, std, n = GaussianDiffusion(cosine()), 0.2, 2000
    ideal = IdealDenoiser(diffusion, MIXTURE, std)

    def true(seed):
        return MIXTURE[torch.randint(3, (n,), generator=generator(seed))] + std * random(n, 2, seed=seed)

    *_, quick = diffusion.sample(ideal, random(n, 2), time_grid(20))
    *_, slow = diffusion.sample(ideal, random(n, 2, seed=1), time_grid(1000), "ancestral", generator=generator())
    apart = [sliced_wasserstein(true(seed), true(seed + 10)) for seed in range(10)]
    for x in (quick, slow):
        assert sum(sliced_wasserstein(x, true(seed)) for seed in range(10)) / 10 < max(apart)
    *_, rough = diffusion.sample(ideal, random(n, 2), time_grid(3))
    assert sliced_wasserstein(rough, true(0)) > max(apart)


# ---------------------------------------------------------------- bad input on the way back


def way_back(denoiser=wavy, times=(0.9, 0.5, 0.1), predict="v", method="dpm_solver", eta=0.0, draw=None):
    times = torch.as_tensor(times, dtype=torch.float64)
    return list(GaussianDiffusion(cosine(), predict).sample(denoiser, random(4, 3), times, method, eta, draw))


@pytest.mark.parametrize(
    "times", [[0.1, 0.5], [0.9, 0.5, 0.5], [0.9, math.nan, 0.1], [0.9], [], 0.9, [[0.9, 0.5], [0.9, 0.5]]]
)
def test_times_that_do_not_fall_are_named(times):
    with pytest.raises(ValueError, match="at least two falling times; "):
        way_back(times=times)


@pytest.mark.parametrize("times", [[1.5, 0.5], [0.5, -0.25], [1000.0, 500.0]])
@pytest.mark.parametrize("method", METHODS)
def test_times_of_the_way_back_outside_zero_and_one_are_named(method, times):
    with pytest.raises(ValueError, match=r"Times must lie in \[0, 1\]"):
        way_back(times=times, method=method, draw=generator())


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match='"heun" or "dpm_solver"; it is \'euler\''):
        way_back(method="euler")


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_an_eta_outside_zero_and_one_is_named(eta):
    with pytest.raises(ValueError, match=f"eta lies between 0 and 1.*it is {eta}"):
        way_back(method="ddim", eta=eta, draw=generator())


@pytest.mark.parametrize("method", ["ancestral", "heun", "dpm_solver"])
def test_eta_belongs_to_ddim(method):
    with pytest.raises(ValueError, match=f"belongs to \"ddim\"; it is 0.5 with '{method}'"):
        way_back(method=method, eta=0.5, draw=generator())


@pytest.mark.parametrize(("method", "eta"), [("ancestral", 0.0), ("ddim", 0.5)])
def test_fresh_noise_without_a_generator_is_refused(method, eta):
    with pytest.raises(ValueError, match="needs a generator"):
        way_back(method=method, eta=eta)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_denoiser_that_is_not_finite_is_named_with_its_time(method, bad):
    def spoiled(x, t):
        return torch.where(t[:, None] < 0.7, torch.full_like(x, bad), x)

    with pytest.raises(FloatingPointError, match=r"NaN or an infinity at t = 0\.5"):
        way_back(spoiled, method=method, draw=generator())


@pytest.mark.parametrize("output", [(4,), (4, 1), (3, 3), (4, 3, 1)])
def test_a_denoiser_that_returns_another_shape_is_named(output):
    with pytest.raises(ValueError, match=r"\(4, 3\); got " + str(output).replace("(", r"\(").replace(")", r"\)")):
        way_back(lambda x, t: torch.zeros(output, dtype=torch.float64))


@pytest.mark.parametrize("method", METHODS)
def test_a_prediction_of_noise_cannot_start_without_signal(method):
    with pytest.raises(ValueError, match=r"predict='eps'.*predict v or flow"):
        way_back(times=[1.0, 0.5, 0.1], predict="eps", method=method, draw=generator())
    assert way_back(times=[1.0, 0.5, 0.1], predict="v", method=method, draw=generator())[-1].isfinite().all()


# ---------------------------------------------------------------- the ideal denoiser


@pytest.mark.parametrize("t", [0.01, 0.3, 0.7, 1.0])
def test_the_ideal_denoiser_of_points_is_bayes_by_brute_force(schedule, predict, t):
    points, x, (signal, noise) = 2 * random(6, 2, 3, seed=1), random(5, 2, 3), levels(schedule, t)
    ours = IdealDenoiser(GaussianDiffusion(schedule, predict), points)(x, torch.full((5,), t, dtype=torch.float64))
    for row, seen in zip(ours, x, strict=True):
        log_share = torch.stack([Normal(signal * point, noise).log_prob(seen).sum() for point in points])
        shares = (log_share - log_share.max()).exp() / (log_share - log_share.max()).exp().sum()
        targets = [to_target(predict, p, (seen - signal * p) / noise, signal, noise) for p in points]
        close(row, sum(share * target for share, target in zip(shares, targets, strict=True)), 1e-8)


@pytest.mark.parametrize("t", [0.05, 0.4, 0.9])
def test_the_ideal_denoiser_of_a_mixture_is_bayes_by_integration(schedule, predict, t):
    points, std, (signal, noise) = number(0).new_tensor([[-1.5], [0.3], [1.0]]), 0.4, levels(schedule, t)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    ours = IdealDenoiser(GaussianDiffusion(schedule, predict), points, std)(x, number(t).expand(9))
    x0 = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    prior = Normal(points, std).log_prob(x0).logsumexp(0)
    shares = (prior + Normal(signal * x0, noise).log_prob(x)).softmax(1)
    close(ours[:, 0], (shares * to_target(predict, x0, (x - signal * x0) / noise, signal, noise)).sum(1), 1e-7)


@pytest.mark.parametrize("std", [0.0, 0.3])
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_the_ideal_noise_is_the_score_of_the_mixture(schedule, std, t):
    signal, noise = levels(schedule, t)
    x = random(7, 2).requires_grad_()
    std_of_x = ((signal * std) ** 2 + noise**2).sqrt()
    Normal(signal * MIXTURE, std_of_x).log_prob(x[:, None]).sum(-1).logsumexp(1).sum().backward()
    eps = IdealDenoiser(GaussianDiffusion(schedule, "eps"), MIXTURE, std)(x.detach(), number(t).expand(7))
    close(-eps / noise, x.grad, 1e-8)


def test_the_ideal_denoiser_is_like_its_input_and_takes_a_time_for_each_row():
    diffusion = GaussianDiffusion(cosine())
    ideal, x, t = IdealDenoiser(diffusion, MIXTURE.float(), 0.1), random(3, 2).float(), torch.tensor([0.1, 0.5, 0.9])
    together = ideal(x, t)
    assert together.dtype == torch.float32
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], ideal(x[i : i + 1], t[i : i + 1]))


def test_no_other_denoiser_has_a_lower_loss_than_the_ideal_one(predict):
    diffusion = GaussianDiffusion(cosine(), predict)
    ideal = IdealDenoiser(diffusion, MIXTURE, 0.2)
    x0 = MIXTURE[torch.randint(3, (4000,), generator=generator())] + 0.2 * random(4000, 2)
    best = diffusion.loss(ideal, x0, generator(1))["loss"]
    for change in (lambda y: 0.8 * y, lambda y: 1.2 * y, lambda y: y + 0.2, lambda y: y - 0.2):
        assert diffusion.loss(lambda x, t, change=change: change(ideal(x, t)), x0, generator(1))["loss"] > best


@pytest.mark.parametrize(("points", "std"), [(torch.zeros(0, 2), 0.0), (torch.zeros(3, 2), -0.5)])
def test_an_ideal_denoiser_of_nothing_is_refused(points, std):
    with pytest.raises(ValueError, match=f"got {len(points)} points and {std}"):
        IdealDenoiser(GaussianDiffusion(linear()), points, std)


# ---------------------------------------------------------------- guidance


def with_label(x, t):
    return torch.tanh(x) + t[:, None]


def without_label(x, t):
    return 0.5 * x - t[:, None]


HALF = torch.full((4,), 0.5, dtype=torch.float64)


def test_guidance_of_one_is_the_condition_and_of_zero_none():
    x = random(4, 3)
    close(guided(with_label, without_label, 1)(x, HALF), with_label(x, HALF), 0)
    close(guided(with_label, without_label, 0)(x, HALF), without_label(x, HALF), 1e-15)


@many_cases
@given(scale=st.floats(-5, 20))
def test_guidance_is_a_straight_line_through_both(scale):
    x = random(4, 3)
    wanted = scale * with_label(x, HALF) + (1 - scale) * without_label(x, HALF)
    close(guided(with_label, without_label, scale)(x, HALF), wanted)


def test_guidance_is_the_published_formula():
    x, w = random(4, 3), 2.5  # arXiv 2207.12598, eq. 6
    wanted = (1 + w) * with_label(x, HALF) - w * without_label(x, HALF)
    close(guided(with_label, without_label, scale=w + 1)(x, HALF), wanted)


@pytest.mark.parametrize(("t", "inside"), [(0.1, False), (0.2, True), (0.5, True), (0.6, True), (0.9, False)])
def test_outside_the_interval_nothing_is_guided(t, inside):
    watched, calls = calls_of(without_label)
    x, time = random(4, 3), torch.full((4,), t, dtype=torch.float64)
    output = guided(with_label, watched, 3, interval=(0.2, 0.6))(x, time)
    assert len(calls) == inside
    assert torch.equal(output, with_label(x, time)) != inside


def test_guidance_of_one_saves_the_second_call():
    watched, calls = calls_of(without_label)
    guided(with_label, watched, 1.0)(random(4, 3), HALF)
    assert not calls


@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.5, 3.0, 8.0])
def test_a_ramp_starts_with_the_condition_alone_and_ends_at_the_full_scale(scale):
    x, start, end = random(4, 3), torch.ones(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    ramped, full = (guided(with_label, without_label, scale, ramp=ramp) for ramp in (True, False))
    close(ramped(x, start), with_label(x, start), 1e-14)
    close(ramped(x, end), full(x, end), 1e-14)


@many_cases
@given(scale=st.floats(-5, 20), t=st.floats(0, 1))
def test_between_its_ends_a_ramp_is_a_straight_line(scale, t):
    x, time = random(4, 3), torch.full((4,), t, dtype=torch.float64)
    ramped = guided(with_label, without_label, scale, ramp=True)(x, time)
    close(ramped, guided(with_label, without_label, 1 + (scale - 1) * (1 - t))(x, time))
    close(ramped, t * with_label(x, time) + (1 - t) * guided(with_label, without_label, scale)(x, time))


def test_a_ramp_keeps_to_its_interval_and_costs_nothing_at_a_scale_of_one():
    x, ramped = random(4, 3), guided(with_label, without_label, 3, interval=(0.2, 0.6), ramp=True)
    for t in (0.1, 0.7, 1.0):
        time = torch.full((4,), t, dtype=torch.float64)
        close(ramped(x, time), with_label(x, time), 0)
    close(ramped(x, HALF), guided(with_label, without_label, 2)(x, HALF))
    watched, calls = calls_of(without_label)
    guided(with_label, watched, 1, ramp=True)(x, HALF)
    assert not calls


def test_guided_samples_of_two_ideal_denoisers_belong_to_the_condition():
    diffusion = GaussianDiffusion(cosine())
    conditional, free = IdealDenoiser(diffusion, MIXTURE[:1]), IdealDenoiser(diffusion, MIXTURE)
    *_, x = diffusion.sample(guided(conditional, free, 2), random(20, 2), time_grid(30))
    assert torch.cdist(x, MIXTURE).argmin(1).eq(0).all()
    *_, x = diffusion.sample(guided(conditional, free, 0), random(20, 2), time_grid(30))
    assert len(torch.cdist(x, MIXTURE).argmin(1).unique()) == 3


@pytest.mark.parametrize("scale", [math.nan, math.inf, -math.inf])
def test_a_scale_that_is_no_number_is_named(scale):
    with pytest.raises(ValueError, match=f"scale must be a number.*they are {scale}"):
        guided(with_label, without_label, scale)


@pytest.mark.parametrize("interval", [(0.6, 0.2), (-0.1, 0.5), (0.5, 1.5), (math.nan, 1.0), (0.0, math.nan)])
def test_an_interval_outside_zero_and_one_is_named(interval):
    with pytest.raises(ValueError, match=r"interval two times in \[0, 1\]"):
        guided(with_label, without_label, 2, interval)
