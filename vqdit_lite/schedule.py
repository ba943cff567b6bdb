"""Noise schedules: how much of the data is left at time t, which runs from 0 (clean) to 1 (noise)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = [
    "Schedule",
    "cosine",
    "ddpm",
    "flow",
    "linear",
    "sigmoid",
    "stratified_times",
    "time_grid",
    "zero_terminal_snr",
]


class Schedule:
    """How much signal and how much noise there is at time t: x_t = signal(t) · x0 + noise(t) · eps.

    Args:
        alpha_bar: maps times (float64, in [0, 1]) to the share of the variance that is signal, falling from 1.
        scale: maps times to the length of (signal, noise). It is 1 for schedules that preserve the variance.

    Every method takes times t of any shape and returns a tensor like t.

    Raises:
        ValueError: a time lies outside [0, 1].

    >>> schedule = Schedule(lambda t: 1 - t)
    >>> schedule.signal(torch.tensor([0.0, 0.75, 1.0]))
    tensor([1.0000, 0.5000, 0.0000])
    """

    def __init__(self, alpha_bar: Callable[[Tensor], Tensor], scale: Callable[[Tensor], Tensor] = torch.ones_like):
        self._alpha_bar, self._scale = alpha_bar, scale

    def _at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_bar and scale in float64, which keeps 1 - alpha_bar exact where it is small."""
        _check_times(t)
        return self._alpha_bar(t.double()), self._scale(t.double())

    def alpha_bar(self, t: Tensor) -> Tensor:
        """The share of the variance that is signal: 1 at t = 0, and small or 0 at t = 1."""
        return self._at(t)[0].to(t)

    def signal(self, t: Tensor) -> Tensor:
        """What x0 is multiplied by."""
        alpha_bar, scale = self._at(t)
        return (scale * alpha_bar.sqrt()).to(t)  # (3.4)

    def noise(self, t: Tensor) -> Tensor:
        """What eps is multiplied by: the standard deviation of the noise in x_t."""
        alpha_bar, scale = self._at(t)
        return (scale * (1 - alpha_bar).sqrt()).to(t)  # (3.4)

    def level(self, t: Tensor, x: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Signal and noise as a pair. With x (B, …) and times (B,), they get its axes and device, to multiply it."""
        if x is not None:
            t = t.to(x.device).reshape(-1, *[1] * (x.ndim - 1))  # (B, 1, …)
        return self.signal(t), self.noise(t)

    def snr(self, t: Tensor) -> Tensor:
        """The signal-to-noise ratio, a quotient of variances: infinite where there is no noise."""
        alpha_bar, _ = self._at(t)
        return (alpha_bar / (1 - alpha_bar)).to(t)  # (3.5)

    def log_snr(self, t: Tensor) -> Tensor:
        """The natural logarithm of the signal-to-noise ratio."""
        alpha_bar, _ = self._at(t)
        return (alpha_bar.log() - (1 - alpha_bar).log()).to(t)  # (3.5)


def linear() -> Schedule:
    """alpha_bar(t) = 1 - t, so x_t = √(1 - t) x0 + √t eps.

    Not the "linear" of DDPM and diffusers, whose *betas* rise along a line: that is `ddpm`.

    >>> linear().snr(torch.tensor(0.5))
    tensor(1.)
    """
    return Schedule(lambda t: 1 - t)  # (3.6)


def ddpm(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Schedule:
    """`steps` noising steps whose variances beta rise along a line; step i ends at t = i / steps.

    `first` and `last` are meant for 1,000 steps. For another number they are scaled by 1000 / steps, so that about
    the same noise is reached (with few steps, more of it), and capped at 0.999. Between steps log alpha_bar is
    interpolated.

    Source: arXiv 2006.11239, section 4.

    >>> round(ddpm().alpha_bar(torch.tensor(1.0)).item(), 7), round(ddpm(50).alpha_bar(torch.tensor(1.0)).item(), 7)
    (4.04e-05, 7.7e-06)
    """
    _check_num_steps("A schedule", steps)
    betas = (torch.linspace(first, last, steps, dtype=torch.float64) * 1000 / steps).clamp(max=0.999)
    log_alpha_bar = torch.cat([betas.new_zeros(1), (1 - betas).log().cumsum(0)])  # (steps + 1,), (3.3)

    def alpha_bar(t):
        table = log_alpha_bar.to(t.device)
        below = (t * steps).floor().clamp(max=steps - 1).long()
        return table[below].lerp(table[below + 1], t * steps - below).exp()

    return Schedule(alpha_bar)


def cosine(offset: float = 0.008) -> Schedule:
    """alpha_bar falls like a squared cosine, slowly at both ends.

    Source: arXiv 2102.09672, eq. 17. The paper's cap on beta, 0.999, only matters in the last of many steps.

    >>> round(cosine().alpha_bar(torch.tensor(0.5)).item(), 3)
    0.494
    """

    def f(t):  # cos² of (t + offset) / (1 + offset) quarter turns, written so that it is exactly 0 at t = 1
        return ((1 - t) / (1 + offset) * math.pi / 2).sin().square()

    return Schedule(lambda t: f(t) / f(torch.zeros_like(t)))  # (3.7)


def sigmoid(start: float = -3, end: float = 3) -> Schedule:
    """alpha_bar follows the logistic function from `start` to `end`, stretched to run from 1 to 0.

    Source: arXiv 2301.10972, section 2.

    >>> sigmoid().alpha_bar(torch.tensor(0.5))
    tensor(0.5000)
    """
    high, low = (torch.tensor(-edge, dtype=torch.float64).sigmoid() for edge in (start, end))
    return Schedule(lambda t: ((-start - (end - start) * t).sigmoid() - low) / (high - low))  # (3.8)


def flow() -> Schedule:
    """The straight line x_t = (1 - t) x0 + t eps. It does not preserve the variance.

    Source: arXiv 2209.03003, eq. 1 (with time reversed here: 0 is clean).

    >>> flow().signal(torch.tensor(0.25)), flow().noise(torch.tensor(0.25))
    (tensor(0.7500), tensor(0.2500))
    """

    def length(t):
        return ((1 - t).square() + t.square()).sqrt()

    return Schedule(lambda t: ((1 - t) / length(t)).square(), length)  # (3.9)


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """Shift and stretch a schedule's √alpha_bar so that nothing of the signal is left at t = 1.

    Source: arXiv 2305.08891, algorithm 1.

    >>> zero_terminal_snr(ddpm()).alpha_bar(torch.tensor([0.0, 1.0]))
    tensor([1., 0.])
    """
    left = schedule.alpha_bar(torch.ones((), dtype=torch.float64)).sqrt()
    return Schedule(lambda t: ((schedule.alpha_bar(t).sqrt() - left) / (1 - left)).square(), schedule._scale)  # (3.12)


def time_grid(steps: int, kind: str = "uniform", train_steps: int = 1000) -> Tensor:
    """Times at which to denoise, from 1 down to 0: (steps + 1,), float64.

    Args:
        steps: how many steps to take.
        kind: "uniform"; "cosine" (small steps at the noisy end); or "trailing": uniform, rounded to the
            i / `train_steps` that a model with so many discrete steps was trained on, t = 1 included.
        train_steps: for "trailing", how many discrete steps there are.

    Source: "cosine" arXiv 2406.04329, section 4; "trailing" arXiv 2305.08891, table 2.

    >>> time_grid(4)
    tensor([1.0000, 0.7500, 0.5000, 0.2500, 0.0000], dtype=torch.float64)
    """
    _check_time_grid(steps, kind, train_steps)
    share = torch.linspace(1, 0, steps + 1, dtype=torch.float64)  # (steps + 1,)
    if kind == "uniform":
        return share
    if kind == "cosine":
        return ((1 - share) * math.pi / 2).cos().index_fill(0, torch.tensor([steps]), 0)
    return (torch.arange(steps, -1, -1, dtype=torch.float64) * train_steps / steps).round() / train_steps


def stratified_times(n: int, generator: torch.Generator) -> Tensor:
    """n random times, (n,), each uniform on (0, 1) and together evenly spaced, so that a smooth loss varies less.

    Source: arXiv 2107.00630, appendix I.1.

    >>> times = stratified_times(4, torch.Generator().manual_seed(0))
    >>> (times.sort().values.diff() - 0.25).abs().max() < 1e-6
    tensor(True)
    """
    _check_num_times(n)
    start = torch.rand(1, generator=generator)
    # At the very ends the log SNR is infinite: times there move a millionth inwards.
    return ((start + torch.arange(n) / n) % 1).clamp(1e-6, 1 - 1e-6)  # (n,), (3.13)


# ---------------------------------------------------------------- guards


def _check_times(t: Tensor) -> None:
    if not isinstance(t, Tensor) or not t.is_floating_point():
        raise ValueError(f"Times must be a tensor of floating-point numbers in [0, 1]; got {t!r}.")
    if not ((t >= 0) & (t <= 1)).all():
        raise ValueError(f"Times must lie in [0, 1]; got {t.min().item():g} to {t.max().item():g}.")


def _check_num_steps(what: str, steps: int) -> None:
    if steps < 1:
        raise ValueError(f"{what} needs at least one step; steps is {steps}.")


def _check_time_grid(steps: int, kind: str, train_steps: int) -> None:
    _check_num_steps("Sampling", steps)
    if kind not in ("uniform", "cosine", "trailing"):
        raise ValueError(f'kind must be "uniform", "cosine" or "trailing"; it is {kind!r}.')
    if kind == "trailing" and steps > train_steps:
        raise ValueError(f"Of {train_steps} discrete steps one cannot take {steps}.")


def _check_num_times(n: int) -> None:
    if n < 1:
        raise ValueError(f"n must be at least 1; got {n}.")
