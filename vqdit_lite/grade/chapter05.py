"""Graders of chapter 05, samplers and guidance."""

import math
from itertools import pairwise

import torch

from vqdit_lite.grade.chapter04 import bell_exponents, step_back
from vqdit_lite.grade.grader import AnswerError, Grader

# ---------------------------------------------------------------- guide


def _guide(outputs, scale):
    free, label = outputs.chunk(2)
    return free + scale * (label - free)


def _guide_label_start(outputs, scale):
    free, label = outputs.chunk(2)
    return label + scale * (label - free)


def _guide_exchanged(outputs, scale):
    label, free = outputs.chunk(2)
    return free + scale * (label - free)


def _guide_backwards(outputs, scale):
    free, label = outputs.chunk(2)
    return free - scale * (label - free)


def _guide_sum(outputs, scale):
    free, label = outputs.chunk(2)
    return free + scale * label


def _guide_every_other(outputs, scale):
    free, label = outputs[::2], outputs[1::2]
    return free + scale * (label - free)


def _guide_difference_alone(outputs, scale):
    free, label = outputs.chunk(2)
    return scale * (label - free)


def _guide_last_axis(outputs, scale):
    free, label = outputs.chunk(2, dim=-1)
    return free + scale * (label - free)


guide = Grader(
    "guide",
    _guide,
    {
        "s = 3": lambda: [torch.randn(8, 2), 3.0],
        "s = 1, the label and nothing else": lambda: [torch.randn(6, 3), 1.0],
        "s = 0, the label is ignored": lambda: [torch.randn(4, 5, 2), 0.0],
        "s = 1.5, pictures": lambda: [torch.randn(4, 3, 5, 5), 1.5],
        "a batch of one": lambda: [torch.randn(2, 7), 2.0],
    },
    {
        "This is the answer with the label alone, as if s were 1. Is the scale left out, cut off or rounded?": (
            lambda outputs, scale: outputs.chunk(2)[1]
        ),
        "This is the answer without the label, as if s were 0. Is the scale left out, cut off or rounded?": (
            lambda outputs, scale: outputs.chunk(2)[0]
        ),
        "Off by one: this starts from what is said *with* the label. Then s = 0 is the label alone, and s = 1 is "
        "already too much.": _guide_label_start,
        "Off by one: s = 1 must be the label and nothing else; here it is s = 2.": (
            lambda outputs, scale: _guide(outputs, scale - 1)
        ),
        "The roles are exchanged, so samples are pushed away from the label. The first B rows are those without it; "
        "s = 1 must give what is said with it.": _guide_exchanged,
        "This goes the wrong way: the difference points from free to label.": _guide_backwards,
        "This adds the label's answer itself; (5.12) adds the *difference* that the label makes.": _guide_sum,
        "This takes every other row. The first half of the rows is without the label, the second half with it.": (
            _guide_every_other
        ),
        "The halves are halves of the batch, the first axis; this cuts the last one.": _guide_last_axis,
        "This is the answer for the nearest whole number; the scale need not be one.": (
            lambda outputs, scale: _guide(outputs, round(scale))
        ),
        "What is said without the label is missing: (5.12) adds the scaled difference to it.": _guide_difference_alone,
        "This is a multiple of what is said with the label; what is said without it plays no part.": (
            lambda outputs, scale: scale * outputs.chunk(2)[1]
        ),
    },
)

# ---------------------------------------------------------------- ddim_step


def _ddim_variance(alpha_bar, alpha_bar_next):
    return (1 - alpha_bar / alpha_bar_next) * (1 - alpha_bar_next) / (1 - alpha_bar)


def _clean(eps, x_t, alpha_bar):
    return (x_t - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()


def _ddim_step(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
    var = eta**2 * _ddim_variance(alpha_bar, alpha_bar_next)
    return _ddim_with(_clean(eps, x_t, alpha_bar), eps, alpha_bar_next, var, z)


def _ddim_with(x0, eps, alpha_bar_next, var, z):
    kept = (1 - alpha_bar_next - var).clamp(min=0)
    return alpha_bar_next.sqrt() * x0 + kept.sqrt() * eps + var.sqrt() * z


def _ddim_with_variance(change):
    """Right but for the variance of the fresh noise."""
    return lambda eps, x_t, alpha_bar, alpha_bar_next, eta, z: _ddim_with(
        _clean(eps, x_t, alpha_bar), eps, alpha_bar_next, change(eta, alpha_bar, alpha_bar_next), z
    )


def _ddim_parts(kept=None, added=None, clean=None):
    """Right but for the factors of old and fresh noise, or for x0."""

    def answer(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        var = eta**2 * _ddim_variance(alpha_bar, alpha_bar_next)
        x0 = (clean or _clean)(eps, x_t, alpha_bar)
        old = kept(var, alpha_bar, alpha_bar_next) if kept else (1 - alpha_bar_next - var).clamp(min=0).sqrt()
        return alpha_bar_next.sqrt() * x0 + old * eps + (added(var) if added else var.sqrt()) * z

    return answer


def _ddim_signal_of_now(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
    return _ddim_step(eps, x_t, alpha_bar, alpha_bar_next, eta, z) - (
        alpha_bar_next.sqrt() - alpha_bar.sqrt()
    ) * _clean(eps, x_t, alpha_bar)


def _ddim_signal_no_root(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
    return _ddim_step(eps, x_t, alpha_bar, alpha_bar_next, eta, z) - (alpha_bar_next.sqrt() - alpha_bar_next) * _clean(
        eps, x_t, alpha_bar
    )


def _ddim_eta_once(eta_kept):
    """With η in one of its two places."""

    def answer(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        bayes = _ddim_variance(alpha_bar, alpha_bar_next)
        kept = (1 - alpha_bar_next - (eta**2 if eta_kept else 1) * bayes).clamp(min=0).sqrt()
        added = (1 if eta_kept else eta) * bayes.sqrt()
        return alpha_bar_next.sqrt() * _clean(eps, x_t, alpha_bar) + kept * eps + added * z

    return answer


def _ddim_exchanged(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
    x0, var = _clean(eps, x_t, alpha_bar), eta**2 * _ddim_variance(alpha_bar, alpha_bar_next)
    return _ddim_with(x0, z, alpha_bar_next, var, eps)


def _ddim_bare_eta(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
    std = eta * _ddim_variance(alpha_bar, alpha_bar_next).sqrt()
    return _ddim_step(eps, x_t, alpha_bar, alpha_bar_next, eta, z) + (eta - std) * z


def _ddim_linear(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
    return alpha_bar_next.sqrt() * _clean(eps, x_t, alpha_bar) + (1 - alpha_bar_next).sqrt() * (
        (1 - eta) * eps + eta * z
    )


def _ddim_case(batch, dim, eta, alpha_bar_next=None):
    eps, x_t, alpha_bar, later = step_back(batch, dim, alpha_bar_next)
    return [eps, x_t, alpha_bar, later, eta, torch.randn(batch, dim)]


ddim_step = Grader(
    "ddim_step",
    _ddim_step,
    {
        "η = 0, nothing is fresh": lambda: _ddim_case(3, 5, 0.0),
        "η = 0.5": lambda: _ddim_case(4, 2, 0.5),
        "η = 1, the ancestral step": lambda: _ddim_case(6, 3, 1.0),
        "the last step, to ᾱ' = 1": lambda: _ddim_case(1, 4, 1.0, alpha_bar_next=1.0),
    },
    {
        "Fresh noise comes on top of all the old: its variance must be taken off from that of the old, or there is too "
        "much noise.": _ddim_parts(kept=lambda var, alpha_bar, alpha_bar_next: (1 - alpha_bar_next).sqrt()),
        "Two standard deviations are subtracted. Variances add up, so subtract variances and take the root after.": (
            _ddim_parts(kept=lambda var, alpha_bar, alpha_bar_next: (1 - alpha_bar_next).sqrt() - var.sqrt())
        ),
        "The noise must have the size of the time where the step *ends*; here the old noise has that of t.": (
            _ddim_parts(kept=lambda var, alpha_bar, alpha_bar_next: (1 - alpha_bar - var).clamp(min=0).sqrt())
        ),
        "η scales the standard deviation of the fresh noise, so the variance has its square.": (
            _ddim_with_variance(lambda eta, alpha_bar, alpha_bar_next: eta * _ddim_variance(alpha_bar, alpha_bar_next))
        ),
        "η itself stands where the variance belongs: it says which *share* of Bayes' standard deviation is fresh.": (
            _ddim_with_variance(lambda eta, alpha_bar, alpha_bar_next: eta * torch.ones_like(alpha_bar_next))
        ),
        "The fresh noise is multiplied by a variance; its factor is a standard deviation.": (
            _ddim_parts(added=lambda var: var)
        ),
        "The fresh noise is multiplied by η alone; η is a share of Bayes' standard deviation.": _ddim_bare_eta,
        "This is var_step, the variance of the step forward; (5.1) also has the quotient of both noises.": (
            _ddim_with_variance(lambda eta, alpha_bar, alpha_bar_next: eta**2 * (1 - alpha_bar / alpha_bar_next))
        ),
        "The quotient of both noises in (5.1) is upside down: the earlier noise, the smaller one, stands above.": (
            _ddim_with_variance(
                lambda eta, alpha_bar, alpha_bar_next: (
                    eta**2 * (1 - alpha_bar / alpha_bar_next) * (1 - alpha_bar) / (1 - alpha_bar_next)
                )
            )
        ),
        "The guess of x0 is multiplied by the signal of t; the step ends at t', where the signal is larger.": (
            _ddim_signal_of_now
        ),
        "With η = 1, nothing of the old noise would be kept here, but Bayes' rule keeps some. Is η² multiplied by all "
        "the noise at t', or does ᾱ stand where the part of one step belongs?": (
            _ddim_with_variance(lambda eta, alpha_bar, alpha_bar_next: eta**2 * (1 - alpha_bar_next))
        ),
        "The factors of old and fresh noise add up to σ'. Of independent parts the variances add up.": _ddim_linear,
        "The guess of the noise and the fresh noise are exchanged: with η = 0 nothing is fresh.": _ddim_exchanged,
        "This is the ancestral step, η = 1, although η is another number here.": (
            lambda eps, x_t, alpha_bar, alpha_bar_next, eta, z: _ddim_step(eps, x_t, alpha_bar, alpha_bar_next, 1.0, z)
        ),
        "η is in the fresh noise alone. With less fresh noise, more of the old is kept.": (
            _ddim_eta_once(eta_kept=False)
        ),
        "η is in the old noise alone. It also says how much fresh noise is added.": _ddim_eta_once(eta_kept=True),
        "This draws its own noise; the fresh noise comes in as the argument `z`.": (
            lambda eps, x_t, alpha_bar, alpha_bar_next, eta, z: _ddim_step(
                eps, x_t, alpha_bar, alpha_bar_next, eta, torch.randn_like(x_t)
            )
        ),
        "η has no effect: this is always the step without fresh noise.": (
            lambda eps, x_t, alpha_bar, alpha_bar_next, eta, z: _ddim_step(eps, x_t, alpha_bar, alpha_bar_next, 0.0, z)
        ),
        "The old eps is multiplied by a variance; its factor is a standard deviation.": (
            _ddim_parts(kept=lambda var, alpha_bar, alpha_bar_next: (1 - alpha_bar_next - var).clamp(min=0))
        ),
        "The old eps keeps its noise, but no fresh noise is added.": _ddim_parts(added=torch.zeros_like),
        "The guess of x0 is not divided by the signal.": (
            _ddim_parts(clean=lambda eps, x_t, alpha_bar: x_t - (1 - alpha_bar).sqrt() * eps)
        ),
        "The guess of x0 takes off eps times a variance; what eps is multiplied by in x_t is the root.": (
            _ddim_parts(clean=lambda eps, x_t, alpha_bar: (x_t - (1 - alpha_bar) * eps) / alpha_bar.sqrt())
        ),
        "The guess of x0 is divided by ᾱ; the signal is its root.": (
            _ddim_parts(clean=lambda eps, x_t, alpha_bar: (x_t - (1 - alpha_bar).sqrt() * eps) / alpha_bar)
        ),
        "The guess of x0 takes ᾱ for the signal and 1 - ᾱ for the noise. These are variances; take roots.": (
            _ddim_parts(clean=lambda eps, x_t, alpha_bar: (x_t - (1 - alpha_bar) * eps) / alpha_bar)
        ),
        "The guess of x0 is multiplied by ᾱ', a variance; the signal is its root.": _ddim_signal_no_root,
        "This mixes x_t with noise anew. The noise must come off first: (5.1) starts from the guess of x0.": (
            _ddim_parts(clean=lambda eps, x_t, alpha_bar: x_t)
        ),
        "The two times are exchanged: alpha_bar belongs to x_t, alpha_bar_next to the time where the step ends.": (
            lambda eps, x_t, alpha_bar, alpha_bar_next, eta, z: _ddim_step(eps, x_t, alpha_bar_next, alpha_bar, eta, z)
        ),
    },
)

# ---------------------------------------------------------------- sample


def _walk(eps_of, x, alpha_bars, steps, ask=lambda i, j: i):
    """Through steps (from, to)."""
    for i, j in steps:
        eps = eps_of(x, ask(i, j))
        x = alpha_bars[j].sqrt() * _clean(eps, x, alpha_bars[i]) + (1 - alpha_bars[j]).sqrt() * eps
    return x


def _sample(eps_of, x, alpha_bars, stops):
    return _walk(eps_of, x, alpha_bars, pairwise(stops))


def _counted(answer, eps_of, x, alpha_bars, stops):
    """Call an answer, and see how often it asks the denoiser. Where it goes wrong, that comes first."""
    asked, steps = [], len(stops) - 1
    right = _sample(eps_of, x.clone(), alpha_bars.clone(), list(stops))

    def counting(x, i):
        asked.append(i)
        return eps_of(x, i)

    came = answer(counting, x, alpha_bars, stops)
    arrived = isinstance(came, torch.Tensor) and came.shape == right.shape and torch.allclose(came, right, 1e-4, 1e-4)
    if arrived and len(asked) != steps:
        over = " At the last stop the walk is over; it need not be asked there." if asked[-1:] == stops[-1:] else ""
        raise AnswerError(
            f"✗ sample: it arrives, but the denoiser was called {len(asked)} times for {steps} steps. Calls are the "
            f"price of a walk; one a step is enough.{over}"
        )
    return came


def _sample_even_jumps(eps_of, x, alpha_bars, stops):
    jump = stops[0] - stops[1]
    return _walk(eps_of, x, alpha_bars, [(i, max(i - jump, 0)) for i in stops[:-1]])


def _sample_returns_guess(eps_of, x, alpha_bars, stops):
    *first, last = pairwise(stops)
    x = _walk(eps_of, x, alpha_bars, first)
    return _clean(eps_of(x, last[0]), x, alpha_bars[last[0]])


def _sample_old_noise(eps_of, x, alpha_bars, stops):
    for i, j in pairwise(stops):
        eps = eps_of(x, i)
        x = alpha_bars[j].sqrt() * _clean(eps, x, alpha_bars[i]) + (1 - alpha_bars[i]).sqrt() * eps
    return x


def _journey(stops, *shape):
    """A table of ᾱ, and the exact eps of data that are normal with mean 1 and variance 1/4."""
    alpha_bars = torch.linspace(0, 0.2, stops[0] + 1).neg().add(1).cumprod(0)  # 1 at 0

    def eps_of(x, i):
        a, var = alpha_bars[i].sqrt(), 1 - alpha_bars[i]
        return var.sqrt() * (x - a) / (alpha_bars[i] / 4 + var)

    return [eps_of, torch.randn(*shape), alpha_bars, stops]


sample = Grader(
    "sample",
    _sample,
    {
        "five stops of 41": lambda: _journey([40, 31, 17, 12, 0], 6, 2),
        "every stop": lambda: _journey(list(range(12, -1, -1)), 3, 1, 2, 2),
        "a walk that ends above 0": lambda: _journey([30, 18, 9], 5),
        "one step": lambda: _journey([20, 0], 4, 3),
    },
    {
        "This is the function of the text: both mistakes are still in it.": (
            lambda eps_of, x, alpha_bars, stops: _walk(eps_of, x, alpha_bars, [(i, i - 1) for i in stops])
        ),
        "No step leads from entry 0 to entry -1 any more: that was one of the two mistakes. But from each stop the "
        "walk still goes down by one entry of the table only, and then acts as if it stood at the next stop.": (
            lambda eps_of, x, alpha_bars, stops: _walk(eps_of, x, alpha_bars, [(i, i - 1) for i in stops[:-1]])
        ),
        "From stop to stop is right. But there is a step too many: entry -1 of the table is its noisy end.": (
            lambda eps_of, x, alpha_bars, stops: _walk(eps_of, x, alpha_bars, zip(stops, [*stops[1:], -1], strict=True))
        ),
        "From stop to stop is right. But the walk goes on to 0; it shall end at the last stop.": (
            lambda eps_of, x, alpha_bars, stops: _walk(eps_of, x, alpha_bars, pairwise([*stops, 0]))
        ),
        "The gap between the first two stops is taken for all; stops need not be evenly spaced.": _sample_even_jumps,
        "The last step is left out: the walk must arrive at the last stop.": (
            lambda eps_of, x, alpha_bars, stops: _walk(eps_of, x, alpha_bars, pairwise(stops[:-1]))
        ),
        "The two ends of each step are exchanged: x stands at the earlier entry of `stops` and goes to the next.": (
            lambda eps_of, x, alpha_bars, stops: _walk(eps_of, x, alpha_bars, [(j, i) for i, j in pairwise(stops)])
        ),
        "The noise that is added back has the size of the stop where the step begins, not of that where it ends.": (
            _sample_old_noise
        ),
        "The denoiser is asked about the stop where the step ends; x is still at the stop before.": (
            lambda eps_of, x, alpha_bars, stops: _walk(eps_of, x, alpha_bars, pairwise(stops), ask=lambda i, j: j)
        ),
        "This is the guess of x0 at the last step. Where the walk ends above 0, x still has noise.": (
            _sample_returns_guess
        ),
    },
    use=_counted,
)

# ---------------------------------------------------------------- undecided


def _open_bits(p):
    return torch.special.entr(p).sum(-1) / math.log(2)


def _weights(x_t, points, alpha_bar):
    return bell_exponents(x_t, points, alpha_bar).softmax(1)


def _of_labels(weights, labels):
    num_labels = int(labels.max()) + 1
    return weights.new_zeros(len(weights), num_labels).index_add(1, labels, weights)


def _undecided(x_t, points, labels, alpha_bar):
    weights = _weights(x_t, points, alpha_bar)
    return _open_bits(_of_labels(weights, labels)).mean(), _open_bits(weights).mean()


def _undecided_with(change):
    """With another way to a number from the weights of labels and of points, each (B, …)."""

    def answer(x_t, points, labels, alpha_bar):
        weights = _weights(x_t, points, alpha_bar)
        return change(_of_labels(weights, labels)), change(weights)

    return answer


def _undecided_from_labels(combine, normalize=False):
    """With something else than the sum of a label's weights."""

    def answer(x_t, points, labels, alpha_bar):
        weights = _weights(x_t, points, alpha_bar)
        shares = torch.stack([combine(weights[:, labels == k]) for k in range(int(labels.max()) + 1)], 1)
        shares = shares / shares.sum(1, keepdim=True) if normalize else shares
        return _open_bits(shares).mean(), _open_bits(weights).mean()

    return answer


def _undecided_last_left_out(x_t, points, labels, alpha_bar):
    weights = _weights(x_t, points, alpha_bar)
    return _open_bits(_of_labels(weights, labels)[:, :-1]).mean(), _open_bits(weights).mean()


def _largest(weights):
    return weights.amax(1)


def _mean(weights):
    return weights.mean(1)


def _undecided_plain(x_t, points, labels, alpha_bar):
    weights = _weights(x_t, points, alpha_bar).float()
    return tuple(-(p * p.log2()).sum(1).mean() for p in (_of_labels(weights, labels), weights))


def _undecided_points_plain(x_t, points, labels, alpha_bar):
    bits, _ = _undecided(x_t, points, labels, alpha_bar)
    return bits, _undecided_plain(x_t, points, labels, alpha_bar)[1]


def _undecided_points_twice(x_t, points, labels, alpha_bar):
    _, bits = _undecided(x_t, points, labels, alpha_bar)
    return bits, bits


def _undecided_inside(x_t, points, labels, alpha_bar):
    of_label, of_point = _undecided(x_t, points, labels, alpha_bar)
    return of_label, of_point - of_label


def _crowd(batch, dim, labels, alpha_bar):
    points, labels = torch.randn(len(labels), dim), torch.tensor(labels)
    alpha_bar = torch.tensor(alpha_bar)
    x0 = points[torch.randint(len(labels), (batch,))]
    return [alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * torch.randn(batch, dim), points, labels, alpha_bar]


undecided = Grader(
    "undecided",
    _undecided,
    {
        "three labels": lambda: _crowd(6, 2, [0, 1, 2, 2, 0, 1, 1, 0], 0.4),
        "little noise: weights of zero": lambda: _crowd(4, 6, [1, 0, 2, 3, 1, 1], 0.999),
        "nothing but noise": lambda: _crowd(3, 4, [0, 1] * 8, 0.0),
        "one label only": lambda: _crowd(1, 3, [0, 0, 0, 0, 0], 0.3),
    },
    {
        "These are nats, from natural logarithms; bits come from logarithms of base 2.": (
            _undecided_with(lambda p: torch.special.entr(p).sum(1).mean())
        ),
        "This is the entropy of the batch's mean weights, which many different answers keep large. Take the entropy of "
        "each row, and then the mean.": _undecided_with(lambda p: _open_bits(p.mean(0))),
        "These are perplexities, 2 to the power of the bits; the bits themselves were asked for.": (
            _undecided_with(lambda p: 2 ** _open_bits(p).mean())
        ),
        "This is the sum over the batch; the mean was asked for.": _undecided_with(lambda p: _open_bits(p).sum()),
        "This is one number for each row; their mean was asked for.": _undecided_with(_open_bits),
        "The mean also runs over the points, or the labels: their terms must be added.": (
            _undecided_with(lambda p: (torch.special.entr(p) / math.log(2)).mean())
        ),
        "The order is: first the bits about the label, then those about the picture.": (
            lambda x_t, points, labels, alpha_bar: _undecided(x_t, points, labels, alpha_bar)[::-1]
        ),
        "Entropy is not negative: the logarithm of a probability is, so a minus is missing.": (
            _undecided_with(lambda p: -_open_bits(p).mean())
        ),
        "Both are bits about the picture. Add up the weights of each label *before* the logarithm is taken.": (
            _undecided_points_twice
        ),
        "The probability of a label is the sum of its points' weights, not their mean.": _undecided_from_labels(_mean),
        "The probability of a label is the sum of its points' weights, not their mean; with sums, a row needs no "
        "division to sum to 1.": _undecided_from_labels(_mean, normalize=True),
        "The probability of a label is the sum of its points' weights, not the largest of them.": (
            _undecided_from_labels(_largest)
        ),
        "The probability of a label is the sum of its points' weights, not the largest of them; with sums, a row "
        "needs no division to sum to 1.": _undecided_from_labels(_largest, normalize=True),
        "The last label is left out: labels count from 0, so there is one more than the largest.": (
            _undecided_last_left_out
        ),
        "These are shares of the largest possible entropy; the bits themselves were asked for.": (
            _undecided_with(lambda p: _open_bits(p).mean() / math.log2(p.shape[1]))
        ),
        "Zero times minus infinity: PyTorch makes NaN of it. A probability of 0 adds nothing, so keep the one inside "
        "the logarithm above a tiny number.": _undecided_plain,
        "Zero times minus infinity: PyTorch makes NaN of it, here for the points. A probability of 0 adds nothing, so "
        "keep the one inside the logarithm above a tiny number.": _undecided_points_plain,
        "The second number counts what is open *within* the label; all that is open about the picture was asked for.": (
            _undecided_inside
        ),
    },
)
