"""Graders of chapter 03, forward diffusion."""

import math

import numpy as np
import torch
from torch import Tensor

from vqdit_lite import schedule
from vqdit_lite.grade.grader import AnswerError, Grader

# ---------------------------------------------------------------- corrupt


def _mixed(signal, noise):
    """The answer that multiplies x0 and eps by these two functions of alpha_bar."""

    def answer(x0, alpha_bar, eps):
        a = alpha_bar.view(-1, *[1] * (x0.ndim - 1))
        return signal(a) * x0 + noise(a) * eps

    return answer


def _corrupt(x0, alpha_bar, eps):
    return _mixed(lambda a: a.sqrt(), lambda a: (1 - a).sqrt())(x0, alpha_bar, eps)


def _corrupt_with(shape):
    """The answer that gives alpha_bar a fixed shape."""

    def answer(x0, alpha_bar, eps):
        a = alpha_bar.view(shape)
        return a.sqrt() * x0 + (1 - a).sqrt() * eps

    return answer


def _batch(alpha_bar, *shape, dtype=None):
    return [torch.randn(shape, dtype=dtype), alpha_bar.to(dtype or torch.float), torch.randn(shape, dtype=dtype)]


def _flattened(x0, alpha_bar, eps):
    return _corrupt(x0, alpha_bar, eps).flatten(1)


corrupt = Grader(
    "corrupt",
    _corrupt,
    {
        "four points of four numbers": lambda: _batch(torch.tensor([0.9, 0.6, 0.3, 0.05]), 4, 4),
        "pictures": lambda: _batch(torch.rand(3), 3, 2, 3, 5),
        "no noise, and nothing but noise": lambda: _batch(torch.tensor([1.0, 0.0]), 2, 3),
        "single numbers": lambda: _batch(torch.rand(6), 6),
        "a batch of one, in float64": lambda: _batch(torch.rand(1), 1, 7, 2, dtype=torch.float64),
    },
    {
        "The roots are missing. ᾱ and 1 - ᾱ are shares of the *variance*; x0 and ε are multiplied by standard "
        "deviations, or x_t is too dull (3.4).": _mixed(lambda a: a, lambda a: 1 - a),
        "ε is multiplied by the variance of the noise; (3.4) has its standard deviation there.": _mixed(
            lambda a: a.sqrt(), lambda a: 1 - a
        ),
        "x0 is multiplied by ᾱ, a share of the variance; (3.4) has its root there.": _mixed(
            lambda a: a, lambda a: (1 - a).sqrt()
        ),
        "The noise is not one minus the signal: it is their *squares* that add up to 1.": _mixed(
            lambda a: a.sqrt(), lambda a: 1 - a.sqrt()
        ),
        "x0 is multiplied by ᾱ, and the noise fits to that, so the variance is kept. But ᾱ is a share of the variance; "
        "the signal is its root (3.4).": _mixed(lambda a: a, lambda a: (1 - a**2).sqrt()),
        "The noise comes from 1 - √ᾱ. The root must not be taken before ᾱ goes from 1.": _mixed(
            lambda a: a.sqrt(), lambda a: (1 - a.sqrt()).sqrt()
        ),
        "Signal and noise have changed places: where ᾱ is 1, x_t must be x0.": _mixed(
            lambda a: (1 - a).sqrt(), lambda a: a.sqrt()
        ),
        "x0 is not dimmed: noise comes on top of it, and the variance grows.": _mixed(
            lambda a: torch.ones_like(a), lambda a: (1 - a).sqrt()
        ),
        "The noise is not multiplied by anything, and the variance grows.": _mixed(
            lambda a: a.sqrt(), lambda a: torch.ones_like(a)
        ),
        "Fresh noise is drawn; ε is handed in.": lambda x0, alpha_bar, eps: _corrupt(
            x0, alpha_bar, torch.randn_like(x0)
        ),
        "The noise is taken off; (3.4) adds it.": _mixed(lambda a: a.sqrt(), lambda a: -(1 - a).sqrt()),
        "The values of ᾱ run along the last axis of x0. Each belongs to a whole example, so they must stand along "
        "the first axis.": _corrupt_with((-1,)),
        "This shape of ᾱ suits an x0 of two axes only. Let x0 say how many axes there are.": _corrupt_with((-1, 1)),
        "This shape of ᾱ suits an x0 of four axes only. Let x0 say how many axes there are.": _corrupt_with(
            (-1, 1, 1, 1)
        ),
        "ᾱ has one axis more than x0, and so x_t has too: count the first axis once.": (
            lambda x0, alpha_bar, eps: (
                alpha_bar.view(-1, *[1] * x0.ndim).sqrt() * x0 + (1 - alpha_bar.view(-1, *[1] * x0.ndim)).sqrt() * eps
            )
        ),
        "The numbers are right, but the axes of an example are flattened: x_t has the shape of x0.": _flattened,
        "All examples get the ᾱ of the first; each has its own.": (
            lambda x0, alpha_bar, eps: alpha_bar[0].sqrt() * x0 + (1 - alpha_bar[0]).sqrt() * eps
        ),
        "All examples get the mean of all ᾱ; each has its own.": (
            lambda x0, alpha_bar, eps: alpha_bar.mean().sqrt() * x0 + (1 - alpha_bar.mean()).sqrt() * eps
        ),
    },
)

# ---------------------------------------------------------------- snr


def _snr(signal, noise):
    return (signal / noise).square(), 2 * (signal.log() - noise.log())


snr = Grader(
    "snr",
    _snr,
    {
        "three pairs": lambda: [torch.tensor([0.9, 0.5, 0.3]), torch.tensor([0.2, 0.6, 0.5])],
        "the straight line of flow": lambda: [torch.tensor([0.8, 0.6, 0.25]), torch.tensor([0.2, 0.4, 0.75])],
        "a schedule that preserves the variance": lambda: [torch.tensor([0.6, 0.8]), torch.tensor([0.8, 0.6])],
        "a table of any length": lambda: [torch.rand(3, 4) * 5 + 0.2, torch.rand(3, 4) * 5 + 0.2],
        "no noise (an infinite ratio), and no signal": lambda: [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])],
    },
    {
        "These are quotients of standard deviations. The SNR is a quotient of *variances*.": (
            lambda signal, noise: (signal / noise, (signal / noise).log())
        ),
        "The ratio is right, but this is the logarithm of signal / noise, half of what is asked for.": (
            lambda signal, noise: ((signal / noise) ** 2, (signal / noise).log())
        ),
        "This is the SNR alone. Its logarithm is asked for as well, as a second value.": (
            lambda signal, noise: (signal / noise) ** 2
        ),
        "This is the logarithm alone. The SNR is asked for as well, as the first of two values.": (
            lambda signal, noise: 2 * (signal / noise).log()
        ),
        "The signal is squared and the noise is not. The SNR is a quotient of two variances.": (
            lambda signal, noise: (signal**2 / noise, (signal**2 / noise).log())
        ),
        "The noise is squared and the signal is not. The SNR is a quotient of two variances.": (
            lambda signal, noise: (signal / noise**2, (signal / noise**2).log())
        ),
        "This is the logarithm of 1 + SNR; that of the SNR itself is asked for.": (
            lambda signal, noise: ((signal / noise) ** 2, ((signal / noise) ** 2).log1p())
        ),
        "It stands on its head: the signal is divided by the noise.": (
            lambda signal, noise: ((noise / signal) ** 2, ((noise / signal) ** 2).log())
        ),
        "This takes signal² for ᾱ, and 1 - ᾱ for the noise. Not every schedule preserves the variance: use the noise "
        "that is handed in.": lambda signal, noise: (signal**2 / (1 - signal**2), (signal**2 / (1 - signal**2)).log()),
        "This takes 1 - noise² for signal². Not every schedule preserves the variance.": lambda signal, noise: (
            (1 - noise**2) / noise**2,
            ((1 - noise**2) / noise**2).log(),
        ),
        "The signal stands in the place of ᾱ in (3.5). It is a root, so its square belongs there, if any.": (
            lambda signal, noise: (signal / (1 - signal), (signal / (1 - signal)).log())
        ),
        "This is the share of the variance that is signal, ᾱ; the SNR compares signal with *noise*, not with both.": (
            lambda signal, noise: (
                signal**2 / (signal**2 + noise**2),
                (signal**2 / (signal**2 + noise**2)).log(),
            )
        ),
        "The logarithm is that of the SNR, but the first value is a share of the variance, ᾱ.": lambda signal, noise: (
            signal**2 / (signal**2 + noise**2),
            2 * (signal / noise).log(),
        ),
        "The logarithm must be the natural one, not the one to base 10.": (
            lambda signal, noise: ((signal / noise) ** 2, ((signal / noise) ** 2).log10())
        ),
        "The logarithm must be the natural one, not the one to base 2.": (
            lambda signal, noise: ((signal / noise) ** 2, ((signal / noise) ** 2).log2())
        ),
        "These are decibels; the natural logarithm is asked for.": (
            lambda signal, noise: ((signal / noise) ** 2, 10 * ((signal / noise) ** 2).log10())
        ),
        "The ratio itself comes first, then its logarithm.": lambda signal, noise: _snr(signal, noise)[::-1],
    },
)

# ---------------------------------------------------------------- alpha_bars


def _betas(steps, first, last):
    return torch.linspace(first, last, steps, dtype=torch.float64) * 1000 / steps


def _with_start(values):
    return torch.cat([values.new_ones(1), values])


def _alpha_bars(steps, first, last):
    return _with_start((1 - _betas(steps, first, last).clamp(max=0.999)).cumprod(0))


def _of_betas(values):
    """The answer that makes this of the betas."""
    return lambda steps, first, last: values(_betas(steps, first, last).clamp(max=0.999))


def _unscaled(steps, first, last):
    return _with_start((1 - torch.linspace(first, last, steps)).cumprod(0))


def _scaled_by(factor):
    def answer(steps, first, last):
        return _with_start((1 - (torch.linspace(first, last, steps) * factor(steps)).clamp(max=0.999)).cumprod(0))

    return answer


def _one_beta_more(steps, first, last):
    betas = (torch.linspace(first, last, steps + 1) * 1000 / steps).clamp(max=0.999)
    return (1 - betas).cumprod(0)


def _of_line(line):
    """The answer that makes the betas of fractions of the way (steps,), and is right from there on."""

    def answer(steps, first, last):
        way = line(torch.arange(steps, dtype=torch.float64), steps)
        return _with_start((1 - ((first + (last - first) * way) * 1000 / steps).clamp(max=0.999)).cumprod(0))

    return answer


def _capped_at(cap):
    return lambda steps, first, last: _with_start((1 - _betas(steps, first, last).clamp(max=cap)).cumprod(0))


def _last_beta_capped(steps, first, last):
    last = min(last, 0.999 * steps / 1000)
    return _with_start((1 - _betas(steps, first, last)).cumprod(0))


def _powers(steps, first, last):
    return _with_start((1 - torch.linspace(first, last, steps, dtype=torch.float64)).pow(1000 / steps).cumprod(0))


def _picked_from_a_thousand(steps, first, last):
    return _alpha_bars(1000, first, last)[(torch.arange(steps + 1) * 1000 / steps).round().long()]


alpha_bars = Grader(
    "alpha_bars",
    _alpha_bars,
    {
        "50 steps": lambda: [50, 1e-4, 0.02],
        "1,000 steps": lambda: [1000, 1e-4, 0.02],
        "other variances": lambda: [120, 1e-3, 5e-3],
        "ten steps, with variances to cap": lambda: [10, 1e-4, 0.02],
        "two steps, the second one capped": lambda: [2, 1e-4, 0.02],
    },
    {
        "These variances are meant for 1,000 steps. With another number of steps the process stops too early, or goes "
        "too far: scale them.": _unscaled,
        "Of fewer steps each must add *more* noise: the factor is upside down.": _scaled_by(lambda steps: steps / 1000),
        "This is a product of the β, of what is lost. What each step *keeps* is multiplied (3.3).": _of_betas(
            lambda betas: _with_start(betas.cumprod(0))
        ),
        "The β are summed up. Each step keeps a share of what the one before it left, so shares are multiplied.": (
            _of_betas(lambda betas: _with_start(1 - betas.cumsum(0)))
        ),
        "This adds up what each step keeps; the shares are multiplied (3.3).": _of_betas(
            lambda betas: _with_start((1 - betas).cumsum(0))
        ),
        "exp(-Σβ) is near only for small β. (3.3) has a product.": _of_betas(
            lambda betas: _with_start((-betas.cumsum(0)).exp())
        ),
        "These are 1 - β, what each single step keeps. ᾱ is the product of all steps so far.": _of_betas(
            lambda betas: _with_start(1 - betas)
        ),
        "The root is taken: this is the signal, what x0 is multiplied by. ᾱ is its square.": _of_betas(
            lambda betas: _with_start((1 - betas).cumprod(0).sqrt())
        ),
        "This is 1 - ᾱ, the share that is noise.": _of_betas(lambda betas: 1 - _with_start((1 - betas).cumprod(0))),
        "These are some of the ᾱ of 1,000 steps. That is close, but the process has its own β, as many as steps.": (
            _picked_from_a_thousand
        ),
        "Only the last variance is scaled; the first one is meant for 1,000 steps as well.": (
            lambda steps, first, last: _alpha_bars(steps, first * steps / 1000, last)
        ),
        "Before the first step all of the variance is signal, not none of it.": _of_betas(
            lambda betas: torch.cat([betas.new_zeros(1), (1 - betas).cumprod(0)])
        ),
        "The line of the β stops short: the last step has `last`.": _of_line(lambda i, steps: i / steps),
        "The line of the β starts too late: the first step has `first`.": _of_line(lambda i, steps: (i + 1) / steps),
        "The β are scaled by 20, the factor of 50 steps. It depends on the number of steps.": _scaled_by(
            lambda steps: 20
        ),
        "Every β is at least 0.999 here; it may be at most 0.999.": (
            lambda steps, first, last: _with_start((1 - _betas(steps, first, last).clamp(min=0.999)).cumprod(0))
        ),
        "The factor by which the β are scaled is rounded to a whole number.": _scaled_by(lambda steps: 1000 // steps),
        "The factor by which the β are scaled has a root. They are variances, and variances add up without roots.": (
            _scaled_by(lambda steps: math.sqrt(1000 / steps))
        ),
        "Each step does what 1000 / steps steps with its β would do together. That is close, but section 2 multiplies "
        "the β.": _powers,
        "The β are multiplied up, and their product is taken from 1. The other way round: what each step *keeps* is "
        "multiplied (3.3).": _of_betas(lambda betas: _with_start(1 - betas.cumprod(0))),
        "The cap lies above 0.999: too little is left after the last step.": _capped_at(1),
        "A β above 1 makes ᾱ negative and then positive again. Cap the β; a capped ᾱ comes too late.": (
            lambda steps, first, last: _with_start((1 - _betas(steps, first, last)).cumprod(0).clamp(min=0))
        ),
        "The value before the first step, 1, stands at the end.": _of_betas(
            lambda betas: torch.cat([(1 - betas).cumprod(0), betas.new_ones(1)])
        ),
        "The value before the first step, 1, is missing.": _of_betas(lambda betas: (1 - betas).cumprod(0)),
        "This is the value after the last step alone; all of them are asked for.": _of_betas(
            lambda betas: (1 - betas).prod()
        ),
        "This is off by one: the first value already lacks a step. There are as many β as steps, and one ᾱ more.": (
            _one_beta_more
        ),
        "The value before the first step is put in, but it pushes the one after the last step out.": _of_betas(
            lambda betas: torch.cat([betas.new_ones(1), (1 - betas).cumprod(0)])[:-1]
        ),
        "A β above 1 takes away more than there is, and ᾱ turns negative. After the scaling no β may be above 0.999.": (
            lambda steps, first, last: _with_start((1 - _betas(steps, first, last)).cumprod(0))
        ),
        "With a β above 1 there is no logarithm of 1 - β. No β may be above 0.999 after the scaling.": (
            lambda steps, first, last: _with_start((1 - _betas(steps, first, last)).log().cumsum(0).exp())
        ),
        "`last` alone is capped, so that the line rises less steeply at all steps. Cap each β that is too large, and "
        "leave the others as they are.": _last_beta_capped,
        "The cap is 0.99 here; the text has 0.999.": _capped_at(0.99),
    },
)

# ---------------------------------------------------------------- zero_terminal_snr


def _zero_terminal_snr(alpha_bar, t):
    left = alpha_bar(torch.ones_like(t)).sqrt()
    return ((alpha_bar(t).sqrt() - left) / (1 - left)).square()


def _bend(value):
    """The answer that makes this of alpha_bar at t and at the end."""
    return lambda alpha_bar, t: value(alpha_bar(t), alpha_bar(torch.ones_like(t)))


def _bend_by_last_time(alpha_bar, t):
    left = alpha_bar(t).min().sqrt()
    return ((alpha_bar(t).sqrt() - left) / (1 - left)).square()


def _bend_by_highest_and_lowest(alpha_bar, t):
    root = alpha_bar(t).sqrt()
    return ((root - root.min()) / (root.max() - root.min())).square()


def _of_times(function):
    """A schedule for a tensor of times, and for a plain number as well."""
    return lambda t: function(torch.as_tensor(t, dtype=None if isinstance(t, Tensor) else torch.float))


zero_terminal_snr = Grader(
    "zero_terminal_snr",
    _zero_terminal_snr,
    {
        "six times from 0 to 1": lambda: [_of_times(lambda t: (-3 * t).exp()), torch.linspace(0, 1, 6)],
        "times in between": lambda: [_of_times(lambda t: 1 / (1 + 9 * t * t)), torch.tensor([0.1, 0.4, 0.8])],
        "a table of times": lambda: [_of_times(lambda t: (-t - t * t).exp()), torch.rand(2, 3)],
        "a schedule that ends at 0 by itself": lambda: [_of_times(lambda t: 1 - t), torch.rand(5)],
        "one time": lambda: [_of_times(lambda t: 1 - 0.9 * t), torch.tensor(0.3)],
    },
    {
        "ᾱ itself is shifted and stretched. (3.12) does it to √ᾱ, what x0 is multiplied by, and squares at the end.": (
            _bend(lambda a, end: (a - end) / (1 - end))
        ),
        "This is √ᾱ'; ᾱ' is its square.": _bend(lambda a, end: (a.sqrt() - end.sqrt()) / (1 - end.sqrt())),
        "It is shifted but not stretched: the start must stay at 1.": _bend(
            lambda a, end: (a.sqrt() - end.sqrt()).square()
        ),
        "ᾱ itself is shifted, and not stretched: the start must stay at 1, and (3.12) is about √ᾱ.": _bend(
            lambda a, end: a - end
        ),
        "It is stretched but not shifted: something is left at t = 1.": _bend(
            lambda a, end: (a.sqrt() / (1 - end.sqrt())).square()
        ),
        "It is stretched by 1 - ᾱ(1); √ᾱ runs from 1 down to √ᾱ(1).": _bend(
            lambda a, end: ((a.sqrt() - end.sqrt()) / (1 - end)).square()
        ),
        "√ᾱ is shifted by ᾱ(1), not by the root of it.": _bend(lambda a, end: ((a.sqrt() - end) / (1 - end)).square()),
        "Only the end is set to 0: a cliff in place of a bend. (3.12) changes all times.": (
            lambda alpha_bar, t: torch.where(t == 1, 0, alpha_bar(t))
        ),
        "This takes the latest of the times asked for as the end. The end is t = 1, whether it is asked for or not.": (
            _bend_by_last_time
        ),
        "This stretches the times asked for from 1 to 0. Start and end are t = 0 and t = 1, asked for or not.": (
            _bend_by_highest_and_lowest
        ),
        "This takes the earliest of the times asked for as the start. The start is t = 0, where ᾱ is 1, whether it is "
        "asked for or not.": (
            lambda alpha_bar, t: (
                (alpha_bar(t).sqrt() - alpha_bar(torch.ones_like(t)).sqrt())
                / (alpha_bar(t).max().sqrt() - alpha_bar(torch.ones_like(t)).sqrt())
            ).square()
        ),
        "This is a tensor (1,), and t is a single number, (): give what is left at the end the shape of t, or none.": (
            lambda alpha_bar, t: _zero_terminal_snr(alpha_bar, t).reshape(1)
        ),
        "ᾱ itself is shifted and stretched, and then squared. Before the square there is a root in (3.12).": _bend(
            lambda a, end: ((a - end) / (1 - end)).square()
        ),
        "Only what is left is divided. In (3.12) the whole difference is.": _bend(
            lambda a, end: (a.sqrt() - end.sqrt() / (1 - end.sqrt())).square()
        ),
        "What is left is taken at t = 0, where it is all. The end is t = 1.": _bend(
            lambda a, end: ((a.sqrt() - 1) / (1 - torch.ones_like(a))).square()
        ),
        "0.0064 is what DDPM's schedule leaves. This one leaves something else: ask it.": _bend(
            lambda a, end: ((a.sqrt() - 0.0064) / (1 - 0.0064)).square()
        ),
        "The schedule comes back as it was.": _bend(lambda a, end: a),
    },
)

# ---------------------------------------------------------------- stratified_times


def _draw_and_look(answer, n, seed):
    """What stratified times must be like, whichever way and in whichever order they are drawn."""

    def draw(seed):
        generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
        times = answer(n, generator)
        return torch.as_tensor(times) if isinstance(times, np.ndarray) else times

    times = draw(seed)
    if times is None:
        return None
    if not isinstance(times, Tensor) or times.shape != (n,) or not times.is_floating_point():
        came = f"{tuple(times.shape)} {times.dtype}" if isinstance(times, Tensor) else type(times).__name__
        raise AnswerError(f"✗ stratified_times: a tensor ({n},) of floating-point numbers was expected; {came} came.")
    ordered = times.detach().double().sort().values
    draws = torch.stack([draw(number).detach() for number in range(100, 160)])  # (60, n)
    starts, firsts = (x.max() - x.min() for x in (draws.amin(1), draws[:, 0]))  # from the lowest to the highest
    going_on = torch.Generator().manual_seed(seed)
    later = torch.stack([draw(going_on).detach().min() for _ in range(20)])
    reach = "yes" if firsts > 0.7 else "no" if firsts > 1.01 / n else "no, within one gap"
    return {
        "do all lie between 0 and 1?": "yes" if ((times >= 0) & (times <= 1)).all() else "no",
        "the same times from the same seed?": "yes" if torch.equal(times, draw(seed)) else "no",
        "other times from another seed?": "yes" if starts > 0.7 / n else "no",
        "other times at the next draw from one generator?": "yes" if later.max() - later.min() > 0.3 / n else "no",
        "gaps from time to time, and across the end": torch.cat([ordered, ordered[:1] + 1]).diff(),
        "can one example get early and late times?": reach,
    }


def _u(generator, n=1):
    return torch.rand(n, generator=generator)


stratified_times = Grader(
    "stratified_times",
    lambda n, generator: (_u(generator) + torch.arange(n) / n) % 1,
    {
        "five times": lambda: [5, 0],
        "64 times": lambda: [64, 1],
        "two times": lambda: [2, 2],
        "one time": lambda: [1, 3],
    },
    {
        "Each time is drawn on its own. (3.13) draws one number, and shifts an even grid by it.": (
            lambda n, generator: _u(generator, n)
        ),
        "Each time is drawn on its own, and sorting does not make the gaps equal. (3.13) draws one number.": (
            lambda n, generator: _u(generator, n).sort().values
        ),
        "Each part of the time has a draw of its own, so the gaps differ. In (3.13) one number shifts all times.": (
            lambda n, generator: (torch.arange(n) + _u(generator, n)) / n
        ),
        "Each point of the grid is shifted by a draw of its own, and the grid is lost. In (3.13) one number shifts "
        "all times.": lambda n, generator: (torch.arange(n) / n + _u(generator, n)) % 1,
        "In 60 batches the first example gets only times within one gap of each other. By (3.13) each single time is "
        "uniform on (0, 1). Is something divided by B that should not be, or sorted?": lambda n, generator: (
            (torch.arange(n) + _u(generator)) / n
        ),
        "What runs over the end of (0, 1) must come in again at the other end.": lambda n, generator: (
            _u(generator) + torch.arange(n) / n
        ),
        "What runs over 1 must come in again at 0; here it piles up at 1.": (
            lambda n, generator: (_u(generator) + torch.arange(n) / n).clamp(max=1)
        ),
        "This grid holds both 0 and 1, which are the same once the times go round: B steps of 1/B are needed.": (
            lambda n, generator: (_u(generator) + torch.linspace(0, 1, n)) % 1
        ),
        "In 60 batches the first example gets times from a part of (0, 1) only. By (3.13) each single time is uniform "
        "on all of it.": lambda n, generator: (_u(generator) / 2 + torch.arange(n) / n) % 1,
        "Something is drawn elsewhere than from the generator, so the times cannot be repeated.": (
            lambda n, generator: (torch.rand(1) + torch.arange(n) / n) % 1
        ),
        "Each time is drawn on its own, and from torch's own state. (3.13) draws one number, from the generator.": (
            lambda n, generator: torch.rand(n)
        ),
        "Chance sets the order alone. All batches hold the same times, and the network never meets those in between.": (
            lambda n, generator: torch.randperm(n, generator=generator) / n
        ),
        "The same times come whatever the generator is: draw u from the one handed in, and do not seed it.": (
            lambda n, generator: torch.arange(n) / n
        ),
        "One generator gives the same times at each draw. Draw from it as it stands, and do not seed anything.": (
            lambda n, generator: (_u(torch.Generator().manual_seed(generator.initial_seed())) + torch.arange(n) / n) % 1
        ),
        "All times are the same: there is no grid, or one of whole numbers, which the modulo undoes.": (
            lambda n, generator: (_u(generator) + torch.arange(n)) % 1
        ),
    },
    use=_draw_and_look,
)

# ---------------------------------------------------------------- cosine_corrupt


def _cosine(t, offset):
    return torch.cos((t + offset) / (1 + offset) * math.pi / 2)


def _cosine_signal(t, offset):
    return _cosine(t, offset) / _cosine(torch.zeros_like(t), offset)


def _cosine_mix(signal, noise):
    """The answer that multiplies x0 and eps by these functions of the plain cosine, divided by that at 0."""

    def answer(x0, t, eps, offset):
        s = _cosine_signal(t, offset)
        return signal(s) * x0 + noise(s) * eps

    return answer


def _cosine_corrupt(x0, t, eps, offset):
    return _cosine_mix(lambda s: s, lambda s: (1 - s.square()).sqrt())(x0, t, eps, offset)


def _divided_by_spread(x0, t, eps, offset):
    x_t = _cosine_mix(lambda s: s, lambda s: 1 - s)(x0, t, eps, offset)
    return x_t / x_t.std()


def _cosine_of(alpha_bar):
    """The answer that has the roots, and this for alpha_bar."""

    def answer(x0, t, eps, offset):
        a = alpha_bar(t, offset)
        return a.sqrt() * x0 + (1 - a).sqrt() * eps

    return answer


def _cosine_case(t, offset, *shape):
    return [torch.randn(shape), t.view(-1, *[1] * (len(shape) - 1)), torch.randn(shape), offset]


cosine_corrupt = Grader(
    "cosine_corrupt",
    _cosine_corrupt,
    {
        "an offset of 0.2": lambda: _cosine_case(torch.tensor([0.1, 0.5, 0.8]), 0.2, 3, 4),
        "the chapter's offset": lambda: _cosine_case(torch.rand(5), 0.008, 5, 2),
        "pictures": lambda: _cosine_case(torch.rand(2), 0.1, 2, 1, 3, 3),
        "both ends, clean at t = 0 and noise alone at t = 1": lambda: _cosine_case(torch.tensor([0.0, 1.0]), 0.0, 2, 3),
    },
    {
        "This gives just what the function of the text gives, with both mistakes in it.": _cosine_mix(
            lambda s: s, lambda s: 1 - s
        ),
        "One mistake is mended, the cosine has its square. The other is left: ᾱ and 1 - ᾱ are variances, and the "
        "digits still turn dull.": _cosine_mix(lambda s: s.square(), lambda s: 1 - s.square()),
        "One mistake is mended, the variance is kept. The other is left: compare f with (3.7). There is too little "
        "noise on the way.": _cosine_mix(lambda s: s.sqrt(), lambda s: (1 - s).sqrt()),
        "x0 is multiplied by the right thing, ε by a root of one minus it. The *squares* of signal and noise must add "
        "up to 1.": _cosine_mix(lambda s: s, lambda s: (1 - s).sqrt()),
        "The root of the noise is there, that of the signal is missing.": _cosine_mix(
            lambda s: s.square(), lambda s: (1 - s.square()).sqrt()
        ),
        "The root of the signal is there, that of the noise is missing.": _cosine_mix(
            lambda s: s, lambda s: 1 - s.square()
        ),
        "One root of the last line is there, the noise has none yet (3.4), and f is as it was: compare it with "
        "(3.7).": (_cosine_mix(lambda s: s.sqrt(), lambda s: 1 - s)),
        "The signal is right, but the noise is √(1 - ᾱ²), as if ᾱ were the signal.": _cosine_mix(
            lambda s: s, lambda s: (1 - s**4).sqrt()
        ),
        "f has a root where (3.7) has a square.": _cosine_mix(lambda s: s.pow(0.25), lambda s: (1 - s.sqrt()).sqrt()),
        "Divided by its measured spread, x_t has variance 1. But signal and noise are still mixed in the wrong "
        "ratio.": (_divided_by_spread),
        "Divided by its length, x_t has the right variance, but signal and noise are still mixed in the wrong ratio.": (
            _cosine_mix(lambda s: s / (s**2 + (1 - s) ** 2).sqrt(), lambda s: (1 - s) / (s**2 + (1 - s) ** 2).sqrt())
        ),
        "Divided by its length, x_t has the right variance. But the roots set the ratio of signal and noise as well, "
        "and without them it is wrong.": _cosine_mix(
            lambda s: s**2 / (s**4 + (1 - s**2) ** 2).sqrt(), lambda s: (1 - s**2) / (s**4 + (1 - s**2) ** 2).sqrt()
        ),
        "The offset is written down: take the one handed in.": _cosine_of(
            lambda t, offset: _cosine_signal(t, 0.008).square()
        ),
        "The offset is left out.": _cosine_of(lambda t, offset: _cosine_signal(t, 0).square()),
        "f(t) is no longer divided by f(0): with an offset, ᾱ would start below 1.": _cosine_of(
            lambda t, offset: _cosine(t, offset).square()
        ),
        "f(t) has its square and f(0) has not: both are values of one function.": _cosine_of(
            lambda t, offset: _cosine(t, offset).square() / _cosine(torch.zeros_like(t), offset)
        ),
        "There is one square too many: ᾱ is a cosine squared, not to the fourth.": _cosine_of(
            lambda t, offset: _cosine_signal(t, offset) ** 4
        ),
        "Signal and noise have changed places: at t = 0, x_t must be x0.": _cosine_mix(
            lambda s: (1 - s.square()).sqrt(), lambda s: s
        ),
    },
)

# ---------------------------------------------------------------- readability


def _measured(read):
    """The answer that makes this, (N,) or a number, of noisy pictures and what the schedule says, at each time."""

    def answer(schedule, times, pictures, labels, means, eps):
        found = []
        for t in times:
            signal, noise = schedule.signal(t), schedule.noise(t)
            found.append(read(signal * pictures + noise * eps, signal, noise, means, labels))
        return torch.stack(found)

    return answer


def _hits(x_t, means, labels):
    return torch.cdist(x_t.double(), means.double()).argmin(1) == labels


def _readability(schedule, times, pictures, labels, means, eps):
    read = _measured(lambda x_t, signal, noise, means, labels: _hits(x_t, signal * means, labels).double().mean())
    return read(schedule, times, pictures, labels, means, eps).to(pictures)


def _path(signal, noise):
    """The answer that multiplies pictures and means by the one, and the noise by the other."""

    def answer(schedule, times, pictures, labels, means, eps):
        shares = []
        for t in times:
            s, n = signal(schedule, t), noise(schedule, t)
            shares.append(_hits(s * pictures + n * eps, s * means, labels).float().mean())
        return torch.stack(shares)

    return answer


def _other_noise(noise):
    return _path(lambda schedule, t: schedule.signal(t), noise)


def _undimmed(schedule, times, pictures, labels, means, eps):
    shares = [
        _hits(pictures + schedule.noise(t) * eps, schedule.signal(t) * means, labels).float().mean() for t in times
    ]
    return torch.stack(shares)


def _measured_swapped(schedule, times, pictures, labels, means, eps):
    shares = []
    for t in times:
        x_t = schedule.noise(t) * pictures + schedule.signal(t) * eps
        shares.append(_hits(x_t, schedule.signal(t) * means, labels).float().mean())
    return torch.stack(shares)


def _nearest_picture(schedule, times, pictures, labels, means, eps):
    shares = []
    for t in times:
        signal = schedule.signal(t)
        nearest = torch.cdist(signal * pictures + schedule.noise(t) * eps, signal * pictures).argmin(1)
        shares.append((labels[nearest] == labels).float().mean())
    return torch.stack(shares)


def _fresh_noise(schedule, times, pictures, labels, means, eps):
    shares = []
    for t in times:
        x_t = schedule.signal(t) * pictures + schedule.noise(t) * torch.randn_like(pictures)
        shares.append(_hits(x_t, schedule.signal(t) * means, labels).float().mean())
    return torch.stack(shares)


def _fresh_noise_for_all(schedule, times, pictures, labels, means, eps):
    return _readability(schedule, times, pictures, labels, means, torch.randn_like(pictures))


def _noise_on_noise(schedule, times, pictures, labels, means, eps):
    shares = []
    for t in times:
        pictures = schedule.signal(t) * pictures + schedule.noise(t) * eps
        shares.append(_hits(pictures, schedule.signal(t) * means, labels).float().mean())
    return torch.stack(shares)


def _means_of_noise(x_t, signal, noise, means, labels):
    own = torch.stack([x_t[labels == k].mean(0) for k in range(len(means))])
    return _hits(x_t, own, labels).float().mean()


def _reading_case(schedule, times, count, dim, classes):
    means = torch.randn(classes, dim) * torch.linspace(0.4, 1.2, classes)[:, None]  # of different length
    labels = torch.randint(classes, (count,))
    pictures = means[labels] + 0.4 * torch.randn(count, dim)
    return [schedule, times, pictures, labels, means, torch.randn(count, dim)]


readability = Grader(
    "readability",
    _readability,
    {
        "five times": lambda: _reading_case(schedule.cosine(), torch.linspace(0.1, 0.9, 5), 150, 8, 5),
        "the straight line of flow": lambda: _reading_case(schedule.flow(), torch.tensor([0.2, 0.5, 0.8]), 90, 6, 3),
        "one time": lambda: _reading_case(schedule.ddpm(), torch.tensor([0.4]), 60, 10, 7),
    },
    {
        "The noisy pictures are compared with the clean means. (3.4) multiplies a class by the signal, mean and all.": (
            _measured(lambda x_t, signal, noise, means, labels: _hits(x_t, means, labels).float().mean())
        ),
        "The means are multiplied by the noise. A class lies around its mean times the signal.": _measured(
            lambda x_t, signal, noise, means, labels: _hits(x_t, noise * means, labels).float().mean()
        ),
        "Means are taken of the noisy pictures, by their labels. The reader knows the clean means alone.": (
            _measured(_means_of_noise)
        ),
        "This is the share read *wrong*.": lambda *arguments: 1 - _readability(*arguments),
        "This counts the pictures read right; a share is asked for.": _measured(
            lambda x_t, signal, noise, means, labels: _hits(x_t, signal * means, labels).float().sum()
        ),
        "These are the farthest means: the smallest distance wins.": _measured(
            lambda x_t, signal, noise, means, labels: (
                (torch.cdist(x_t, signal * means).argmax(1) == labels).float().mean()
            )
        ),
        "This compares products alone, so means of great length win too often: take distances.": _measured(
            lambda x_t, signal, noise, means, labels: ((x_t @ means.T).argmax(1) == labels).float().mean()
        ),
        "The half squared lengths are those of the clean means; a class lies around signal · mean.": _measured(
            lambda x_t, signal, noise, means, labels: (
                ((x_t @ (signal * means).T - means.square().sum(1) / 2).argmax(1) == labels).float().mean()
            )
        ),
        "This compares directions alone; the lengths of the means count as well. Take distances.": _measured(
            lambda x_t, signal, noise, means, labels: (
                (torch.cosine_similarity(x_t[:, None], means, dim=-1).argmax(1) == labels).float().mean()
            )
        ),
        "These are sums of absolute differences. The text has the Euclidean distance.": _measured(
            lambda x_t, signal, noise, means, labels: (
                (torch.cdist(x_t, signal * means, p=1).argmin(1) == labels).float().mean()
            )
        ),
        "These are per cent; a share lies between 0 and 1.": lambda *arguments: 100 * _readability(*arguments),
        "This counts the pictures read right, in whole numbers; a share is asked for.": _measured(
            lambda x_t, signal, noise, means, labels: _hits(x_t, signal * means, labels).sum()
        ),
        "The pictures are not multiplied by the signal, and the means neither; the schedule dims both.": _path(
            lambda schedule, t: 1, lambda schedule, t: schedule.noise(t)
        ),
        "The means are multiplied by the signal, the pictures are not: (3.4) dims them, too.": _undimmed,
        "The noise is not multiplied by anything; (3.4) has `schedule.noise(t)` there.": _other_noise(
            lambda schedule, t: 1
        ),
        "In x_t signal and noise have changed places: early pictures are the clear ones.": _measured_swapped,
        "The noise is multiplied by its variance; it takes the standard deviation, `schedule.noise(t)`.": _other_noise(
            lambda schedule, t: schedule.noise(t) ** 2
        ),
        "The noise is one minus the signal here. `schedule.noise(t)` says what it is.": _other_noise(
            lambda schedule, t: 1 - schedule.signal(t)
        ),
        "x0 is multiplied by the right signal, but the noise by √(1 - ᾱ). The flow does not preserve the variance: "
        "`schedule.noise(t)` knows.": _other_noise(lambda schedule, t: (1 - schedule.alpha_bar(t)).sqrt()),
        "These are shares of the variance; their roots, `schedule.signal(t)` and `schedule.noise(t)`, make x_t.": _path(
            lambda schedule, t: schedule.alpha_bar(t), lambda schedule, t: 1 - schedule.alpha_bar(t)
        ),
        "This is the straight line of flow (3.9), whatever the schedule.": _path(
            lambda schedule, t: 1 - t, lambda schedule, t: t
        ),
        "This reads the picture that is most like the noisy one. The reader knows the means alone.": _nearest_picture,
        "No noise is added.": _other_noise(lambda schedule, t: 0),
        "Signal and noise have changed places: early pictures are the clear ones.": _path(
            lambda schedule, t: schedule.noise(t), lambda schedule, t: schedule.signal(t)
        ),
        "Fresh noise is drawn. Use `eps` at all times, so that times and schedules compare.": _fresh_noise,
        "Noise is drawn, the same for all times. Use `eps` instead, so that times and schedules compare.": (
            _fresh_noise_for_all
        ),
        "Only the first time is there. Does the function return before the others are measured?": (
            lambda *arguments: _readability(*arguments)[:1]
        ),
        "Each time starts from the noisy pictures of the time before. By (3.4) each starts from the clean ones.": (
            _noise_on_noise
        ),
        "This is the mean over all times; each time has its own share.": (
            lambda *arguments: _readability(*arguments).mean()
        ),
    },
    given={"signal", "noise", "alpha_bar", "snr", "log_snr"},
)
