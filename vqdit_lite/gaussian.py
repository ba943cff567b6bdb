"""Gaussian diffusion: corrupt data with noise, learn to predict what was added, and go back step by step."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from vqdit_lite.schedule import Schedule, stratified_times

__all__ = [
    "GaussianDiffusion",
    "IdealDenoiser",
    "ddim",
    "ddim_step",
    "dpm_solver",
    "dpm_solver_step",
    "from_target",
    "guided",
    "heun",
    "heun_step",
    "loss_weight",
    "target_coefficients",
    "to_target",
]

Denoiser = Callable[..., Tensor]  # called as denoiser(x_t, t): the target of each x_t
Level = tuple[Tensor, Tensor]  # signal and noise at one time


def target_coefficients(predict: str, signal: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The c and d of a target c · x0 + d · eps.

    Args:
        predict: "eps" (the noise), "x0" (the data), "v" (signal · eps - noise · x0) or "flow" (eps - x0).
        signal, noise: of x_t = signal · x0 + noise · eps.

    Source: "eps" arXiv 2006.11239, eq. 14; "v" arXiv 2202.00512, appendix D; "flow" arXiv 2209.03003, eq. 1.

    >>> target_coefficients("v", torch.tensor(0.6), torch.tensor(0.8))
    (tensor(-0.8000), tensor(0.6000))
    """
    _check_predict(predict)
    zero, one = torch.zeros_like(signal), torch.ones_like(signal)
    pairs = {"eps": (zero, one), "x0": (one, zero), "v": (-noise, signal), "flow": (-one, one)}
    return pairs[predict]  # (4.8)


def to_target(predict: str, x0: Tensor, eps: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """What a network is asked to predict, made of clean data and noise.

    Args:
        predict, signal, noise: as in `target_coefficients`; signal and noise broadcast against x0.
        x0, eps: of one shape, (B, …).

    >>> to_target("flow", torch.tensor(1.0), torch.tensor(3.0), torch.tensor(0.6), torch.tensor(0.8))
    tensor(2.)
    """
    c, d = target_coefficients(predict, signal, noise)
    return c * x0 + d * eps  # (4.8)


def from_target(predict: str, output: Tensor, x: Tensor, signal: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Solve x = signal · x0 + noise · eps and output = c · x0 + d · eps for (x0, eps).

    Raises:
        ValueError: the two equations are one: "eps" where no signal is left, "x0" where there is no noise.

    >>> x0, eps, signal, noise = torch.tensor([1.0, 3.0, 0.6, 0.8])
    >>> v = to_target("v", x0, eps, signal, noise)
    >>> from_target("v", v, signal * x0 + noise * eps, signal, noise)
    (tensor(1.), tensor(3.))
    """
    c, d = target_coefficients(predict, signal, noise)
    determinant = signal * d - noise * c
    _check_determinant(determinant, predict)
    return (d * x - noise * output) / determinant, (signal * output - c * x) / determinant  # (4.9)


def loss_weight(predict: str, signal: Tensor, noise: Tensor, min_snr: float | None) -> Tensor:
    """The loss weight of the squared error of a target, like signal.

    Args:
        predict, signal, noise: as in `target_coefficients`.
        min_snr: weigh the error of x0 by min(SNR, min_snr); None weighs that of the target by 1.

    Source: arXiv 2303.09556, section 3.4.

    >>> loss_weight("x0", torch.tensor([0.8, 0.6]), torch.tensor([0.6, 0.8]), min_snr=1.0)
    tensor([1.0000, 0.5625])
    """
    if min_snr is None:
        return torch.ones_like(signal)
    c, d = target_coefficients(predict, signal, noise)
    error_of_x0 = (noise / (signal * d - noise * c)).square()  # per error of the target, by (4.9)
    return (signal / noise).square().clamp(max=min_snr) * error_of_x0  # (4.15)


# ---------------------------------------------------------------- the process


class GaussianDiffusion:
    """The corruption x_t = signal(t) · x0 + noise(t) · eps, the loss of a denoiser, and the way back.

    A denoiser is any callable: denoiser(x_t, t) with x_t (B, …) and t (B,) in [0, 1] returns the target.

    Args:
        schedule: how much noise there is at time t.
        predict: the target of the denoiser, as in `target_coefficients`.
        min_snr: weigh times by min(SNR, min_snr) in units of the error of x0; None weighs all times alike.

    Source: arXiv 2006.11239.

    >>> from vqdit_lite.schedule import cosine, time_grid
    >>> diffusion = GaussianDiffusion(cosine())
    >>> ideal = IdealDenoiser(diffusion, torch.tensor([[-1.0], [1.0]]))
    >>> noise = torch.randn(5, 1, generator=torch.Generator().manual_seed(0))
    >>> *_, x = diffusion.sample(ideal, noise, time_grid(10))
    >>> x.abs().allclose(torch.ones(5, 1), atol=1e-3)
    True
    """

    def __init__(self, schedule: Schedule, predict: str = "v", min_snr: float | None = None):
        _check_process(predict, min_snr)
        self.schedule, self.predict, self.min_snr = schedule, predict, min_snr

    def corrupt(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_t, like x0 (B, …), at times t (B,), from noise eps like x0."""
        _check_corrupt(x0, t, eps)
        signal, noise = self.schedule.level(t, x0)
        return signal * x0 + noise * eps  # (3.4)

    def loss(self, denoiser: Denoiser, x0: Tensor, generator: torch.Generator, **given: Any) -> dict[str, Tensor]:
        """The mean squared error of the target for clean data x0 (B, …), as {"loss": …}.

        Times and noise come from `generator`, on the CPU. What else is given goes to the denoiser.
        """
        t = stratified_times(len(x0), generator).to(x0.device)  # (B,)
        eps = torch.randn(x0.shape, generator=generator).to(x0)
        output = denoiser(self.corrupt(x0, t, eps), t, **given)
        _check_output(output, x0)
        target = to_target(self.predict, x0, eps, *self.schedule.level(t, x0))
        error = (output - target).square().flatten(1).mean(1)  # (B,)
        return {"loss": (self.weight(t) * error).mean()}  # (4.14)

    def weight(self, t: Tensor) -> Tensor:
        """The loss weight at times t (B,)."""
        return loss_weight(self.predict, *self.schedule.level(t), self.min_snr)

    def read(self, denoiser: Denoiser, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """What a denoiser says about x (B, …) at one time t (a scalar): x0 and eps."""
        output = denoiser(x, t.to(x).expand(len(x)))
        _check_output(output, x)
        _check_finite(output, t)
        return from_target(self.predict, output, x, *self.schedule.level(t))

    @torch.no_grad()
    def sample(
        self,
        denoiser: Denoiser,
        x: Tensor,
        times: Tensor,
        method: str = "dpm_solver",
        eta: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Iterator[Tensor]:
        """Go from noise to data, and yield x at each of the times, the start first. Arguments are checked at the first.

        Args:
            denoiser: called as denoiser(x, t) with x (B, …) and t (B,).
            x: where to start, (B, …); standard normal where times start at 1.
            times: falling, as `time_grid` makes them.
            method: "ancestral", "ddim", "heun" (two calls of the denoiser a step) or "dpm_solver".
            eta: for "ddim": how much of the noise is fresh, from 0 to 1.
            generator: a CPU generator, for the fresh noise of "ancestral" and of "ddim" with eta.

        Raises:
            FloatingPointError: the denoiser returned NaN or an infinity.
        """
        _check_sampling(times, method, eta, generator)
        yield from _sampler(method, eta, generator)(self, denoiser, x, times.double().cpu())


class IdealDenoiser:
    """The best denoiser for a finite set of points: the target that belongs to the posterior mean over the data.

    Args:
        diffusion: whose target to return.
        points: the data set, (M, …).
        std: standard deviation of the round Gaussian that stands for each point; 0 for the points themselves.

    >>> from vqdit_lite.schedule import linear
    >>> ideal = IdealDenoiser(GaussianDiffusion(linear(), predict="x0"), torch.tensor([[-1.0], [1.0]]))
    >>> ideal(torch.zeros(1, 1), torch.tensor([0.5]))
    tensor([[0.]])
    """

    def __init__(self, diffusion: GaussianDiffusion, points: Tensor, std: float = 0.0):
        _check_mixture(points, std)
        self.diffusion, self.points, self.std = diffusion, points.flatten(1).double(), std

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        flat, points = x.flatten(1).double(), self.points.to(x.device)  # (B, D), (M, D)
        signal, noise = self.diffusion.schedule.level(t.double(), flat)  # (B, 1)
        var = (signal * self.std) ** 2 + noise**2  # of x_t around each point, (4.16)
        log_weights = (signal * (flat @ points.T) - (signal**2 * points.square().sum(1)) / 2) / var  # (B, M)
        mean = log_weights.softmax(1) @ points  # (B, D), (4.5)
        x0 = mean + signal * self.std**2 / var * (flat - signal * mean)  # (4.16)
        eps = (flat - signal * x0) / noise
        return to_target(self.diffusion.predict, x0, eps, signal, noise).to(x).reshape(x.shape)


# ---------------------------------------------------------------- steps, and samplers that yield x at each time


def ddim_step(
    x0: Tensor, eps: Tensor, level: Level, next_level: Level, eta: float = 0.0, z: Tensor | float = 0.0
) -> Tensor:
    """One step of DDIM: mix x0 and eps anew for the earlier time, with a part of the noise replaced by fresh noise.

    Args:
        x0, eps: what the denoiser says about x at the level, (B, …).
        level, next_level: (signal, noise) at the time of x, and at the earlier time.
        eta: 0 keeps the noise (deterministic), 1 is the ancestral step of DDPM.
        z: fresh noise, standard normal, like x0.

    Source: arXiv 2010.02502, eq. 12 and 16.

    >>> level, next_level = torch.tensor([0.6, 0.8]), torch.tensor([1.0, 0.0])
    >>> ddim_step(torch.tensor(5.0), torch.tensor(1.0), level, next_level)
    tensor(5.)
    """
    (signal, noise), (next_signal, next_noise) = level, next_level
    step_var = noise**2 - (signal / next_signal * next_noise) ** 2  # what noising adds on the way back up, (4.2)
    var = (eta * next_noise / noise) ** 2 * step_var  # (4.3)
    return next_signal * x0 + (next_noise**2 - var).clamp(min=0).sqrt() * eps + var.clamp(min=0).sqrt() * z  # (5.1)


def ddim(
    diffusion: GaussianDiffusion,
    denoiser: Denoiser,
    x: Tensor,
    times: Tensor,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Walk by steps of DDIM.

    Args:
        diffusion, denoiser: what reads x0 and eps off x, and the level at each time.
        x: where to start, (B, …).
        times: falling, (steps + 1,).
        eta, generator: how much of the noise is fresh, from 0 to 1, and a CPU generator that draws it.

    >>> diffusion, times = GaussianDiffusion(Schedule(lambda t: 1 - t), "x0"), torch.linspace(1, 0, 5)
    >>> [round(x.item(), 4) for x in ddim(diffusion, lambda x, t: 0 * x, torch.ones(1, 1), times)]
    [1.0, 0.866, 0.7071, 0.5, 0.0]
    """
    yield x
    for t, next_t in pairwise(times):
        x0, eps = diffusion.read(denoiser, x, t)
        z = torch.randn(x.shape, generator=generator).to(x) if eta else 0.0
        x = ddim_step(x0, eps, diffusion.schedule.level(t), diffusion.schedule.level(next_t), eta, z)
        yield x


def heun_step(x: Tensor, eps: Tensor, eps_trial: Tensor, level: Level, next_level: Level) -> Tensor:
    """One step of Heun's method: a DDIM step with the mean of two answers, one from each end.

    Args:
        x, eps: at the level, (B, …).
        eps_trial: what the denoiser says where the DDIM step leads, like eps.
        level, next_level: (signal, noise) at the time of x, and at the earlier time.

    Source: arXiv 2206.00364, algorithm 1.

    >>> level, next_level = torch.tensor([0.6, 0.8]), torch.tensor([0.8, 0.6])
    >>> heun_step(torch.tensor(3.8), torch.tensor(0.9), torch.tensor(1.1), level, next_level)
    tensor(4.6000)
    """
    (signal, noise), (next_signal, next_noise) = level, next_level
    ratio = next_signal / signal
    return ratio * x + (next_noise - ratio * noise) * (eps + eps_trial) / 2  # (5.6)


def heun(diffusion: GaussianDiffusion, denoiser: Denoiser, x: Tensor, times: Tensor) -> Iterator[Tensor]:
    """Walk by steps of Heun's method: two calls each, but one from t = 1 and to t = 0. Arguments are those of `ddim`.

    >>> diffusion, times = GaussianDiffusion(Schedule(lambda t: 1 - t), "x0"), torch.linspace(1, 0, 5)
    >>> [round(x.item(), 4) for x in heun(diffusion, lambda x, t: 0 * x, torch.ones(1, 1), times)]
    [1.0, 0.866, 0.7071, 0.5, 0.0]
    """
    yield x
    for t, next_t in pairwise(times):
        level, next_level = diffusion.schedule.level(t), diffusion.schedule.level(next_t)
        x0, eps = diffusion.read(denoiser, x, t)
        trial = ddim_step(x0, eps, level, next_level)
        if level[0] == 0 or next_level[1] == 0:  # the log SNR is infinite there: DDIM
            x = trial
        else:
            _, eps_trial = diffusion.read(denoiser, trial, next_t)
            x = heun_step(x, eps, eps_trial, level, next_level)
        yield x


def dpm_solver_step(
    x: Tensor, x0: Tensor, level: Level, next_level: Level, before: tuple[Tensor, Level] | None
) -> Tensor:
    """One step of DPM-Solver++(2M): extrapolate x0 from this prediction and the one before.

    Args:
        x, x0: at the level, (B, …).
        level, next_level: (signal, noise) at the time of x, and at the earlier time.
        before: the x0 and the level of the step before; None makes the step a DDIM step.

    Source: arXiv 2211.01095, algorithm 2.

    >>> level, next_level = torch.tensor([0.6, 0.8]), torch.tensor([0.8, 0.6])
    >>> dpm_solver_step(torch.tensor(3.8), torch.tensor(5.0), level, next_level, before=None)
    tensor(4.6000)
    """
    (signal, noise), (next_signal, next_noise) = level, next_level
    h = (next_signal / next_noise).log() - (signal / noise).log()
    if before is not None:
        x0_before, (signal_before, noise_before) = before
        r = ((signal / noise).log() - (signal_before / noise_before).log()) / h
        x0 = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * x0_before  # (5.9)
    return next_noise / noise * x - next_signal * torch.expm1(-h) * x0  # (5.8)


def dpm_solver(diffusion: GaussianDiffusion, denoiser: Denoiser, x: Tensor, times: Tensor) -> Iterator[Tensor]:
    """Walk by steps of DPM-Solver++(2M). Arguments are those of `ddim`.

    >>> diffusion, times = GaussianDiffusion(Schedule(lambda t: 1 - t), "x0"), torch.linspace(1, 0, 5)
    >>> [round(x.item(), 4) for x in dpm_solver(diffusion, lambda x, t: 0 * x, torch.ones(1, 1), times)]
    [1.0, 0.866, 0.7071, 0.5, 0.0]
    """
    before = None
    yield x
    for t, next_t in pairwise(times):
        level, next_level = diffusion.schedule.level(t), diffusion.schedule.level(next_t)
        x0, eps = diffusion.read(denoiser, x, t)
        if level[0] == 0 or next_level[1] == 0:  # the log SNR is infinite there: DDIM
            x = ddim_step(x0, eps, level, next_level)
        else:
            x = dpm_solver_step(x, x0, level, next_level, before)
            before = x0, level
        yield x


def guided(
    conditional: Denoiser,
    unconditional: Denoiser,
    scale: float,
    interval: tuple[float, float] = (0.0, 1.0),
    ramp: bool = False,
) -> Denoiser:
    """Classifier-free guidance: go past what the condition says, away from what would be said without it.

    Args:
        conditional, unconditional: called as denoiser(x, t), with one time for the whole batch.
        scale: 1 is the conditional denoiser alone, 0 the unconditional; above 1 the condition is exaggerated.
        interval: outside these times the condition stays, and guidance is off.
        ramp: start without guidance at t = 1, and reach `scale` at t = 0.

    Source: arXiv 2207.12598, eq. 6, where w = scale - 1; the interval arXiv 2404.07724; the ramp arXiv 2301.00704.

    >>> denoiser = guided(lambda x, t: 2 * x, lambda x, t: x, scale=3)
    >>> denoiser(torch.ones(1), torch.ones(1))
    tensor([4.])
    """
    _check_guidance(scale, interval)

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        output = conditional(x, t)
        if scale == 1 or not interval[0] <= t[0] <= interval[1]:
            return output
        free, strength = unconditional(x, t), 1 + (scale - 1) * (1 - t[0]) if ramp else scale
        return free + strength * (output - free)  # (5.12)

    return denoiser


# ---------------------------------------------------------------- a sampler by its name, and guards


def _sampler(method: str, eta: float, generator: torch.Generator | None) -> Callable[..., Iterator[Tensor]]:
    with_fresh_noise = partial(ddim, eta=1.0 if method == "ancestral" else eta, generator=generator)
    return {"heun": heun, "dpm_solver": dpm_solver}.get(method, with_fresh_noise)


def _check_predict(predict: str) -> None:
    if predict not in ("eps", "x0", "v", "flow"):
        raise ValueError(f"predict must be one of eps, x0, v, flow; it is {predict!r}.")


def _check_determinant(determinant: Tensor, predict: str) -> None:
    if (determinant == 0).any():
        raise ValueError(
            f'Where there is only noise, "eps" does not tell x0, and where there is none, "x0" does not tell eps: '
            f"with predict={predict!r}, sample between times that leave both, or predict v or flow."
        )


def _check_process(predict: str, min_snr: float | None) -> None:
    _check_predict(predict)
    if min_snr is not None and not min_snr > 0:
        raise ValueError(f"min_snr must be above 0; it is {min_snr}.")


def _check_corrupt(x0: Tensor, t: Tensor, eps: Tensor) -> None:
    if x0.shape != eps.shape or t.shape != x0.shape[:1]:
        raise ValueError(
            f"x0 and eps must have one shape (batch, …), and t one time for each row; "
            f"they are {tuple(x0.shape)}, {tuple(eps.shape)} and {tuple(t.shape)}."
        )


def _check_output(output: Tensor, x: Tensor) -> None:
    if output.shape != x.shape:
        raise ValueError(f"The denoiser must return what it is given, {tuple(x.shape)}; got {tuple(output.shape)}.")


def _check_finite(output: Tensor, t: Tensor) -> None:
    if not output.isfinite().all():
        raise FloatingPointError(f"The denoiser returned NaN or an infinity at t = {t:.4g}.")


def _check_sampling(times: Tensor, method: str, eta: float, generator: torch.Generator | None) -> None:
    if not isinstance(times, Tensor) or times.ndim != 1 or len(times) < 2 or not (times.diff() < 0).all():
        raise ValueError(f"times must be one row of at least two falling times; got {times}.")
    if method not in ("ancestral", "ddim", "heun", "dpm_solver"):
        raise ValueError(f'method must be "ancestral", "ddim", "heun" or "dpm_solver"; it is {method!r}.')
    if not 0 <= eta <= 1 or (eta and method != "ddim"):
        raise ValueError(f'eta lies between 0 and 1 and belongs to "ddim"; it is {eta} with {method!r}.')
    if (eta or method == "ancestral") and generator is None:
        raise ValueError("Fresh noise needs a generator: give a CPU generator with a seed of your choice.")


def _check_mixture(points: Tensor, std: float) -> None:
    if len(points) == 0 or std < 0:
        raise ValueError(f"It takes points and a std of at least 0; got {len(points)} points and {std}.")


def _check_guidance(scale: float, interval: tuple[float, float]) -> None:
    if not math.isfinite(scale) or not 0 <= interval[0] <= interval[1] <= 1:
        raise ValueError(f"scale must be a number and interval two times in [0, 1]; they are {scale} and {interval}.")
