"""Gaussian diffusion: corrupt data with noise, learn to predict what was added, and go back step by step."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from vqdit_lite.schedule import Schedule, stratified_times

__all__ = [
    "GaussianDiffusion",
    "IdealDenoiser",
    "ddim_step",
    "dpm_solver_step",
    "from_target",
    "guided",
    "heun_step",
    "to_target",
]

Denoiser = Callable[..., Tensor]  # called as denoiser(x_t, t): the target of each x_t


def _mix(predict: str, signal: Tensor, noise: Tensor) -> tuple[Tensor | float, Tensor | float]:
    """The p and q of a target p · x0 + q · eps."""
    targets = {"eps": (0.0, 1.0), "x0": (1.0, 0.0), "v": (-noise, signal), "flow": (-1.0, 1.0)}
    if predict not in targets:
        raise ValueError(f"predict must be one of {', '.join(targets)}; it is {predict!r}.")
    return targets[predict]


def to_target(predict: str, x0: Tensor, eps: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """What a network is asked to predict, made of clean data and noise.

    Args:
        predict: "eps" (the noise), "x0" (the data), "v" (signal · eps - noise · x0) or "flow" (eps - x0).
        x0, eps: of one shape, (B, …).
        signal, noise: of x_t = signal · x0 + noise · eps; they broadcast against x0.

    Source: "eps" arXiv 2006.11239, eq. 14; "v" arXiv 2202.00512, appendix D; "flow" arXiv 2209.03003, eq. 1.

    >>> to_target("flow", torch.tensor(1.0), torch.tensor(3.0), torch.tensor(0.6), torch.tensor(0.8))
    tensor(2.)
    """
    p, q = _mix(predict, signal, noise)
    return p * x0 + q * eps  # (4.7)


def from_target(predict: str, output: Tensor, x: Tensor, signal: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Solve x = signal · x0 + noise · eps and output = p · x0 + q · eps for (x0, eps).

    Raises:
        ValueError: the two equations are one: "eps" where no signal is left, "x0" where there is no noise.

    >>> x0, eps, signal, noise = torch.tensor([1.0, 3.0, 0.6, 0.8])
    >>> v = to_target("v", x0, eps, signal, noise)
    >>> from_target("v", v, signal * x0 + noise * eps, signal, noise)
    (tensor(1.), tensor(3.))
    """
    p, q = _mix(predict, signal, noise)
    determinant = torch.as_tensor(signal * q - noise * p)
    if (determinant == 0).any():
        raise ValueError(
            f'Where there is only noise, "eps" does not tell x0, and where there is none, "x0" does not tell eps: '
            f"with predict={predict!r}, sample between times that leave both, or predict v or flow."
        )
    return (q * x - noise * output) / determinant, (signal * output - p * x) / determinant  # (4.8)


# ---------------------------------------------------------------- one step towards the data
#
# Each goes from one time to an earlier one. `now` and `then` are the pairs (signal, noise) at the two times.


def ddim_step(
    x0: Tensor, eps: Tensor, now: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor], eta: float, fresh: Tensor
) -> Tensor:
    """One step of DDIM: mix x0 and eps anew for the earlier time, with a part of the noise replaced by fresh noise.

    Args:
        x0, eps: what the denoiser says about x now, (B, …).
        now, then: (signal, noise) at the two times.
        eta: 0 keeps the noise (deterministic), 1 is the ancestral step of DDPM.
        fresh: standard normal noise like x0.

    Source: arXiv 2010.02502, eq. 12 and 16.

    >>> now, then = torch.tensor([0.6, 0.8]), torch.tensor([1.0, 0.0])
    >>> ddim_step(torch.tensor(5.0), torch.tensor(1.0), now, then, eta=0.0, fresh=torch.tensor(0.0))
    tensor(5.)
    """
    (signal, noise), (signal_then, noise_then) = now, then
    step_var = noise**2 - (signal / signal_then * noise_then) ** 2  # what noising from then to now adds, (4.2)
    var = (eta * noise_then / noise) ** 2 * step_var  # (4.3)
    return signal_then * x0 + (noise_then**2 - var).clamp(min=0).sqrt() * eps + var.clamp(min=0).sqrt() * fresh  # (4.9)


def heun_step(
    x: Tensor, eps: Tensor, now: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor], eps_at: Callable[[Tensor], Tensor]
) -> Tensor:
    """One step of Heun's method: take a DDIM step, look at eps there, and go again with the mean of both.

    Args:
        x, eps: now, (B, …).
        now, then: (signal, noise) at the two times.
        eps_at: says eps of an x at the earlier time.

    Source: arXiv 2206.00364, algorithm 1.
    """
    (signal, noise), (signal_then, noise_then) = now, then
    ratio = signal_then / signal
    there = ratio * x + (noise_then - ratio * noise) * eps
    return ratio * x + (noise_then - ratio * noise) * (eps + eps_at(there)) / 2  # (4.10)


def dpm_solver_step(
    x: Tensor,
    x0: Tensor,
    now: tuple[Tensor, Tensor],
    then: tuple[Tensor, Tensor],
    before: tuple[Tensor, tuple[Tensor, Tensor]] | None,
) -> Tensor:
    """One step of DPM-Solver++(2M): extrapolate x0 from this prediction and the one before.

    Args:
        x, x0: now, (B, …).
        now, then: (signal, noise) at the two times.
        before: the x0 and the (signal, noise) of the step before; None makes the step a DDIM step.

    Source: arXiv 2211.01095, algorithm 2.
    """
    (signal, noise), (signal_then, noise_then) = now, then
    h = (signal_then / noise_then).log() - (signal / noise).log()
    if before is not None:
        x0_before, (signal_before, noise_before) = before
        r = ((signal / noise).log() - (signal_before / noise_before).log()) / h
        x0 = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * x0_before  # (4.12)
    return noise_then / noise * x - signal_then * torch.expm1(-h) * x0  # (4.11)


# ---------------------------------------------------------------- the process


class GaussianDiffusion:
    """The corruption x_t = signal(t) · x0 + noise(t) · eps, the loss of a denoiser, and the way back.

    A denoiser is any callable: denoiser(x_t, t) with x_t (B, …) and t (B,) in [0, 1] returns the target.

    Args:
        schedule: how much noise there is at time t.
        predict: the target of the denoiser, as in `to_target`.
        min_snr: weigh times by min(SNR, min_snr) in units of the error of x0; None weighs all targets alike.

    Source: arXiv 2006.11239; min-SNR weights arXiv 2303.09556, section 3.4.

    >>> from vqdit_lite.schedule import cosine, time_grid
    >>> diffusion = GaussianDiffusion(cosine())
    >>> ideal = IdealDenoiser(diffusion, torch.tensor([[-1.0], [1.0]]))
    >>> noise = torch.randn(5, 1, generator=torch.Generator().manual_seed(0))
    >>> *_, x = diffusion.sample(ideal, noise, time_grid(10))
    >>> x.abs().allclose(torch.ones(5, 1), atol=1e-3)
    True
    """

    def __init__(self, schedule: Schedule, predict: str = "v", min_snr: float | None = None):
        _mix(predict, torch.ones(()), torch.ones(()))
        if min_snr is not None and not min_snr > 0:
            raise ValueError(f"min_snr must be above 0; it is {min_snr}.")
        self.schedule, self.predict, self.min_snr = schedule, predict, min_snr

    def corrupt(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_t, like x0 (B, …), at times t (B,), from noise eps like x0."""
        if x0.shape != eps.shape or t.shape != x0.shape[:1]:
            raise ValueError(
                f"x0 and eps must have one shape (batch, …), and t one time for each row; "
                f"they are {tuple(x0.shape)}, {tuple(eps.shape)} and {tuple(t.shape)}."
            )
        signal, noise = self._levels(t, x0)
        return signal * x0 + noise * eps  # (3.4)

    def _levels(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise at times t (B,), shaped (B, 1, …) to multiply x (B, …)."""
        t = t.to(x.device).reshape(-1, *[1] * (x.ndim - 1))
        return self.schedule.signal(t), self.schedule.noise(t)

    def loss(self, denoiser: Denoiser, x0: Tensor, generator: torch.Generator, **given: Any) -> dict[str, Tensor]:
        """The mean squared error of the target for clean data x0 (B, …), as {"loss": …}.

        Times and noise come from `generator`, on the CPU. What else is given goes to the denoiser.
        """
        t = stratified_times(len(x0), generator).to(x0.device)  # (B,)
        eps = torch.randn(x0.shape, generator=generator).to(x0)
        output = denoiser(self.corrupt(x0, t, eps), t, **given)
        _check_output(output, x0)
        target = to_target(self.predict, x0, eps, *self._levels(t, x0))
        error = (output - target).square().flatten(1).mean(1)  # (B,), (4.13)
        return {"loss": (self.weight(t) * error).mean()}

    def weight(self, t: Tensor) -> Tensor:
        """What the error at times t (B,) counts."""
        if self.min_snr is None:
            return torch.ones_like(t)
        signal, noise = self.schedule.signal(t), self.schedule.noise(t)
        p, q = _mix(self.predict, signal, noise)
        error_of_x0 = (noise / (signal * q - noise * p)).square()  # per error of the target, by (4.8)
        return self.schedule.snr(t).clamp(max=self.min_snr) * error_of_x0  # (4.14)

    def read(self, denoiser: Denoiser, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """What a denoiser says about x (B, …) at one time t (a scalar): x0 and eps."""
        output = denoiser(x, t.to(x).expand(len(x)))
        _check_output(output, x)
        if not output.isfinite().all():
            raise FloatingPointError(f"The denoiser returned NaN or an infinity at t = {t:.4g}.")
        return from_target(self.predict, output, x, self.schedule.signal(t), self.schedule.noise(t))

    @torch.no_grad()
    def sample(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        times: Tensor,
        method: str = "dpm_solver",
        eta: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Iterator[Tensor]:
        """Go from noise to data, and yield x at each of the times, the noise first. Arguments are checked at the first.

        Args:
            denoiser: called as denoiser(x, t) with x like `noise` and t (B,).
            noise: where to start, (B, …); standard normal where times start at 1.
            times: falling, as `time_grid` makes them.
            method: "ancestral", "ddim", "heun" (two calls of the denoiser a step) or "dpm_solver".
            eta: for "ddim": how much of the noise is fresh, from 0 to 1.
            generator: a CPU generator, for the fresh noise of "ancestral" and of "ddim" with eta.

        Raises:
            FloatingPointError: the denoiser returned NaN or an infinity.
        """
        _check_sampling(times, method, eta, generator)
        times, eta, x, before = times.double().cpu(), 1.0 if method == "ancestral" else eta, noise, None
        yield x
        for t, t_then in pairwise(times):
            now = self.schedule.signal(t), self.schedule.noise(t)
            then = self.schedule.signal(t_then), self.schedule.noise(t_then)
            x0, eps = self.read(denoiser, x, t)
            at_an_end = now[0] == 0 or then[1] == 0  # log SNR is infinite there, and a DDIM step is exact
            if method == "heun" and not at_an_end:
                x = heun_step(x, eps, now, then, lambda there, t=t_then: self.read(denoiser, there, t)[1])
            elif method == "dpm_solver" and not at_an_end:
                x = dpm_solver_step(x, x0, now, then, before)
                before = x0, now
            else:
                fresh = torch.randn(x.shape, generator=generator).to(x) if eta else torch.zeros_like(x)
                x = ddim_step(x0, eps, now, then, eta, fresh)
            yield x


def _check_output(output: Tensor, x: Tensor) -> None:
    if output.shape != x.shape:
        raise ValueError(f"The denoiser must return what it is given, {tuple(x.shape)}; {tuple(output.shape)} came.")


def _check_sampling(times: Tensor, method: str, eta: float, generator: torch.Generator | None) -> None:
    if not isinstance(times, Tensor) or times.ndim != 1 or len(times) < 2 or not (times.diff() < 0).all():
        raise ValueError(f"times must be one row of at least two falling times; {times} came.")
    if method not in ("ancestral", "ddim", "heun", "dpm_solver"):
        raise ValueError(f'method must be "ancestral", "ddim", "heun" or "dpm_solver"; it is {method!r}.')
    if not 0 <= eta <= 1 or (eta and method != "ddim"):
        raise ValueError(f'eta lies between 0 and 1 and belongs to "ddim"; it is {eta} with {method!r}.')
    if (eta or method == "ancestral") and generator is None:
        raise ValueError("Fresh noise needs a generator: give a CPU generator with a seed of your choice.")


class IdealDenoiser:
    """The best denoiser there is for a finite set of points: the mean of the target over all that could be meant.

    Args:
        diffusion: whose target to return.
        points: the data set, (M, …).
        spread: standard deviation of a Gaussian around each point: 0 for the points themselves, more for a
            mixture of Gaussians.

    >>> from vqdit_lite.schedule import linear
    >>> ideal = IdealDenoiser(GaussianDiffusion(linear(), predict="x0"), torch.tensor([[-1.0], [1.0]]))
    >>> ideal(torch.zeros(1, 1), torch.tensor([0.5]))
    tensor([[0.]])
    """

    def __init__(self, diffusion: GaussianDiffusion, points: Tensor, spread: float = 0.0):
        if len(points) == 0 or spread < 0:
            raise ValueError(f"It takes points and a spread of at least 0; {len(points)} points and {spread} came.")
        self.diffusion, self.points, self.spread = diffusion, points.flatten(1).double(), spread

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        flat, points = x.flatten(1).double(), self.points.to(x.device)  # (B, D), (M, D)
        signal, noise = self.diffusion._levels(t.double(), flat)  # (B, 1)
        var = (signal * self.spread) ** 2 + noise**2  # of x_t around each point
        closeness = (signal * (flat @ points.T) - (signal**2 * points.square().sum(1)) / 2) / var  # (B, M)
        mean = closeness.softmax(1) @ points  # (B, D), (4.5)
        x0 = mean + signal * self.spread**2 / var * (flat - signal * mean)
        eps = (flat - signal * x0) / noise
        return to_target(self.diffusion.predict, x0, eps, signal, noise).to(x).reshape(x.shape)


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
        interval: times outside it are not guided.
        ramp: start without guidance at t = 1, and reach `scale` at t = 0.

    Source: arXiv 2207.12598, eq. 6, where w = scale - 1; the interval arXiv 2404.07724; the ramp arXiv 2301.00704.

    >>> denoiser = guided(lambda x, t: 2 * x, lambda x, t: x, scale=3)
    >>> denoiser(torch.ones(1), torch.ones(1))
    tensor([4.])
    """
    if not math.isfinite(scale) or not 0 <= interval[0] <= interval[1] <= 1:
        raise ValueError(f"scale must be a number and interval two times in [0, 1]; they are {scale} and {interval}.")

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        output = conditional(x, t)
        if scale == 1 or not interval[0] <= t[0] <= interval[1]:
            return output
        free, strength = unconditional(x, t), 1 + (scale - 1) * (1 - t[0]) if ramp else scale
        return free + strength * (output - free)  # (4.16)

    return denoiser
