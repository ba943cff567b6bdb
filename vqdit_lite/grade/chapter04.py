"""Graders of chapter 04, reverse diffusion."""

import math
from itertools import pairwise

import torch

from vqdit_lite.grade.grader import AnswerError, Grader

# ---------------------------------------------------------------- from_v


def _from_v(v, x_t, alpha_bar):
    a, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    return a * x_t - sigma * v, sigma * x_t + a * v


def _from_v_with(levels, full=False):
    """With another signal and noise; `full` keeps the denominator of (4.8)."""

    def answer(v, x_t, alpha_bar):
        a, sigma = levels(alpha_bar)
        below = a**2 + sigma**2 if full else 1.0
        return (a * x_t - sigma * v) / below, (sigma * x_t + a * v) / below

    return answer


_WRONG_LEVELS = {
    "ᾱ and 1 - ᾱ are variances; signal and noise are their square roots.": lambda ab: (ab, 1 - ab),
    "The noise is not one minus the signal. Their *squares* add up to 1.": lambda ab: (ab.sqrt(), 1 - ab.sqrt()),
    "The noise is right; the signal is not ᾱ, but its root.": lambda ab: (ab, (1 - ab).sqrt()),
    "The signal is right; the noise is not 1 - ᾱ, but its root.": lambda ab: (ab.sqrt(), 1 - ab),
}


def _from_v_exchanged(full):
    """p and q exchanged in (4.8)."""

    def answer(v, x_t, alpha_bar):
        a, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        below = -2 * a * sigma if full else 1.0
        return (-sigma * x_t - sigma * v) / below, (a * v - a * x_t) / below

    return answer


def _from_v_divided(name, by, least=0.0):
    """One of the two from the other, by a division by the signal or the noise."""

    def answer(v, x_t, alpha_bar):
        a, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        x0, eps = _from_v(v, x_t, alpha_bar)
        below = (a if by == "signal" else sigma).clamp(min=least)
        if name == "both":
            x0 = x0 if by == "signal" else (a * eps - v) / below
            eps = (v + sigma * x0) / below if by == "signal" else (x_t - a * x0) / below
            return ((x_t - sigma * eps) / below if by == "signal" else x0), eps
        if name == "eps":
            return x0, (v + sigma * x0 if by == "signal" else x_t - a * x0) / below
        return (x_t - sigma * eps if by == "signal" else a * eps - v) / below, eps

    return answer


_DIVISIONS = [(name, by, int(by == "noise")) for name in ("x0", "eps") for by in ("signal", "noise")]


def _from_v_x0_sign(v, x_t, alpha_bar):
    a, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    return a * x_t + sigma * v, sigma * x_t + a * v


def _from_v_eps_sign(v, x_t, alpha_bar):
    a, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    return a * x_t - sigma * v, a * v - sigma * x_t


def _from_v_eps_minus_v(v, x_t, alpha_bar):
    a, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    return a * x_t - sigma * v, sigma * x_t - a * v


def _from_v_as_eps(v, x_t, alpha_bar):
    return (x_t - (1 - alpha_bar).sqrt() * v) / alpha_bar.sqrt(), v.clone()


def _from_v_as_flow(v, x_t, alpha_bar):
    a, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    return (x_t - sigma * v) / (a + sigma), (x_t + a * v) / (a + sigma)


from_v = Grader(
    "from_v",
    _from_v,
    {
        "points, one ᾱ": lambda: [torch.randn(5, 2), torch.randn(5, 2), torch.tensor(0.3)],
        "pictures, an ᾱ for each": lambda: [
            torch.randn(3, 1, 4, 4),
            torch.randn(3, 1, 4, 4),
            torch.tensor([0.1, 0.5, 0.95]).view(3, 1, 1, 1),
        ],
        "noise alone and data alone": lambda: [
            torch.randn(2, 6),
            torch.randn(2, 6),
            torch.tensor([[0.0], [1.0]]),
        ],
    },
    {
        "eps is right; x0 has a wrong sign. Try it on pure noise, ᾱ = 0: there v is -x0.": _from_v_x0_sign,
        "x0 is right; eps has a wrong sign. Try it on pure noise, ᾱ = 0: there x_t is eps itself.": _from_v_eps_sign,
        "x0 is right; eps has a wrong sign. Try it without noise, ᾱ = 1: there v is eps itself.": _from_v_eps_minus_v,
        "Both have a wrong sign: this fits a velocity that points the other way. Which term of v carries the minus "
        "in (4.7)?": lambda v, x_t, alpha_bar: _from_v(-v, x_t, alpha_bar),
        **{sentence: _from_v_with(levels) for sentence, levels in _WRONG_LEVELS.items()},
        **{
            f"{sentence} With the right ones, the denominator of (4.8) is 1.": _from_v_with(levels, full=True)
            for sentence, levels in _WRONG_LEVELS.items()
        },
        "p and q are exchanged: in (4.7), p belongs to x0 and q to eps.": _from_v_exchanged(full=True),
        "p and q are exchanged: in (4.7), p belongs to x0 and q to eps. Only with the right ones is the denominator "
        "of (4.8) 1.": _from_v_exchanged(full=False),
        "Signal and noise are exchanged: ᾱ is the share of the signal.": (
            lambda v, x_t, alpha_bar: _from_v(v, x_t, 1 - alpha_bar)
        ),
        "The order is: first x0, then eps.": lambda v, x_t, alpha_bar: _from_v(v, x_t, alpha_bar)[::-1],
        "This reads v as if it were eps.": _from_v_as_eps,
        "This reads v as the velocity of the straight line, the target flow of (4.7).": _from_v_as_flow,
        **{
            f"To find {name}, this divides by the {by}, which is 0 where ᾱ is {end}; (4.8) needs no division.": (
                _from_v_divided(name, by)
            )
            for name, by, end in [*_DIVISIONS, ("both", "signal", 0), ("both", "noise", 1)]
        },
        **{
            f"{name} comes out as 0 where the {by} is 0, at ᾱ = {end}: a quotient that is kept from 0 / 0 does not "
            "find it. (4.8) needs no division.": _from_v_divided(name, by, least=1e-6)
            for name, by, end in _DIVISIONS
        },
    },
)

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
        "This adds the label's answer itself; (4.16) adds the *difference* that the label makes.": _guide_sum,
        "This takes every other row. The first half of the rows is without the label, the second half with it.": (
            _guide_every_other
        ),
        "The halves are halves of the batch, the first axis; this cuts the last one.": _guide_last_axis,
        "This is the answer for the nearest whole number; the scale need not be one.": (
            lambda outputs, scale: _guide(outputs, round(scale))
        ),
        "What is said without the label is missing: (4.16) adds the scaled difference to it.": _guide_difference_alone,
        "This is a multiple of what is said with the label; what is said without it plays no part.": (
            lambda outputs, scale: scale * outputs.chunk(2)[1]
        ),
    },
)

# ---------------------------------------------------------------- posterior


def _posterior(x0, x_t, alpha_bar, alpha_bar_then):
    return _posterior_with(x0, x_t, alpha_bar, alpha_bar_then, alpha_bar / alpha_bar_then)


def _posterior_with(x0, x_t, alpha_bar, alpha_bar_then, alpha):
    """With an alpha of the step that may be wrong."""
    weight_x0 = alpha_bar_then.sqrt() * (1 - alpha) / (1 - alpha_bar)
    weight_x_t = alpha.sqrt() * (1 - alpha_bar_then) / (1 - alpha_bar)
    return weight_x0 * x0 + weight_x_t * x_t, (1 - alpha) * (1 - alpha_bar_then) / (1 - alpha_bar)


def _posterior_no_roots(x0, x_t, alpha_bar, alpha_bar_then):
    alpha = alpha_bar / alpha_bar_then
    mean = alpha_bar_then * (1 - alpha) * x0 + alpha * (1 - alpha_bar_then) * x_t
    return mean / (1 - alpha_bar), _posterior(x0, x_t, alpha_bar, alpha_bar_then)[1]


def _posterior_signal_of_now(x0, x_t, alpha_bar, alpha_bar_then):
    mean, var = _posterior(alpha_bar.sqrt() / alpha_bar_then.sqrt() * x0, x_t, alpha_bar, alpha_bar_then)
    return mean, var


def _posterior_noises_for_variances(x0, x_t, alpha_bar, alpha_bar_then):
    """sigma'/sigma where their squares belong."""
    alpha, ratio = alpha_bar / alpha_bar_then, ((1 - alpha_bar_then) / (1 - alpha_bar)).sqrt()
    weight_x0 = alpha_bar_then.sqrt() * (1 - alpha) / (1 - alpha_bar).sqrt()
    return weight_x0 * x0 + alpha.sqrt() * ratio * x_t, ratio * (1 - alpha)


def _posterior_mean_only(change):
    """The right mean, and another variance."""

    def answer(x0, x_t, alpha_bar, alpha_bar_then):
        mean, var = _posterior(x0, x_t, alpha_bar, alpha_bar_then)
        return mean, change(var, alpha_bar, alpha_bar_then)

    return answer


def _posterior_step_var(change):
    """With another variance of the step forward, and the right part of the signal."""

    def answer(x0, x_t, alpha_bar, alpha_bar_then):
        alpha, step_var = alpha_bar / alpha_bar_then, change(alpha_bar, alpha_bar_then)
        mean = alpha_bar_then.sqrt() * step_var * x0 + alpha.sqrt() * (1 - alpha_bar_then) * x_t
        return mean / (1 - alpha_bar), step_var * (1 - alpha_bar_then) / (1 - alpha_bar)

    return answer


def _posterior_x_t_no_root(x0, x_t, alpha_bar, alpha_bar_then):
    mean, var = _posterior(x0, x_t, alpha_bar, alpha_bar_then)
    alpha = alpha_bar / alpha_bar_then
    return mean + (alpha - alpha.sqrt()) * (1 - alpha_bar_then) / (1 - alpha_bar) * x_t, var


def _posterior_x0_no_root(x0, x_t, alpha_bar, alpha_bar_then):
    mean, var = _posterior(x0, x_t, alpha_bar, alpha_bar_then)
    step_var = 1 - alpha_bar / alpha_bar_then
    return mean + (alpha_bar_then - alpha_bar_then.sqrt()) * step_var / (1 - alpha_bar) * x0, var


def _posterior_by_precisions(x0, x_t, alpha_bar, alpha_bar_then):
    alpha = alpha_bar / alpha_bar_then
    var = 1 / (alpha / (1 - alpha) + 1 / (1 - alpha_bar_then))
    return var * (alpha.sqrt() / (1 - alpha) * x_t + alpha_bar_then.sqrt() / (1 - alpha_bar_then) * x0), var


def _posterior_wide(x0, x_t, alpha_bar, alpha_bar_then):
    mean, var = _posterior(x0, x_t, alpha_bar, alpha_bar_then)
    return mean, var.expand_as(mean)


def _posterior_exchanged_weights(x0, x_t, alpha_bar, alpha_bar_then):
    return _posterior(x_t, x0, alpha_bar, alpha_bar_then)


def _step_back(batch, dim, then=None):
    """Arguments of a step from any ᾱ to a larger one."""
    alpha_bar = 0.05 + 0.6 * torch.rand(batch, 1)
    later = alpha_bar + (1 - alpha_bar) * (0.2 + 0.6 * torch.rand(batch, 1))
    later = later if then is None else torch.full_like(later, then)
    return [torch.randn(batch, dim), torch.randn(batch, dim), alpha_bar, later]


posterior = Grader(
    "posterior",
    _posterior,
    {
        "four points": lambda: _step_back(4, 2),
        "more features": lambda: _step_back(3, 7),
        "the last step, to ᾱ' = 1": lambda: _step_back(5, 3, then=1.0),
        "a batch of one": lambda: _step_back(1, 4),
    },
    {
        "The mean is right. The second value is the standard deviation; the variance was asked for.": (
            _posterior_mean_only(lambda var, now, then: var.sqrt())
        ),
        "The mean is right. The second value is the variance that the step *forward* adds; x0 is known as well, and "
        "that narrows it.": _posterior_mean_only(lambda var, now, then: 1 - now / then),
        "The mean is right. The second value is the variance of x_t' when only x0 is known; x_t is known as well, and "
        "that narrows it.": _posterior_mean_only(lambda var, now, then: 1 - then),
        "The mean is right. In the variance, the quotient of both noises is upside down: σ'² stands above.": (
            _posterior_mean_only(lambda var, now, then: (1 - now) / (1 - then) * (1 - now / then))
        ),
        "Mean and variance are not divided by σ²; (4.3) does so three times.": lambda x0, x_t, now, then: tuple(
            (1 - now) * part for part in _posterior(x0, x_t, now, then)
        ),
        "ᾱ, the signal that is left of *all* steps up to t, stands where that of the one step from t' to t belongs.": (
            lambda x0, x_t, now, then: _posterior_with(x0, x_t, now, then, now)
        ),
        "The signal shrinks by a *factor* from t' to t; here a difference of two ᾱ stands in its place.": (
            lambda x0, x_t, now, then: _posterior_with(x0, x_t, now, then, 1 - then + now)
        ),
        "The two times are exchanged: alpha_bar belongs to t, and alpha_bar_then, which is larger, to t'.": (
            lambda x0, x_t, now, then: _posterior(x0, x_t, then, now)
        ),
        "For the variance of the step forward, a difference of two noises stands here. By (4.2), the noise of t' has "
        "become smaller on the way, so the step adds more than that.": (
            _posterior_step_var(lambda now, then: then - now)
        ),
        "In the variance of the step forward, a / a' is not squared. For variances a factor counts squared.": (
            _posterior_step_var(lambda now, then: 1 - now - (now / then).sqrt() * (1 - then))
        ),
        "In the variance of the step forward, the quotient of both ᾱ has a root too many: it is (a / a')² already.": (
            _posterior_step_var(lambda now, then: 1 - (now / then).sqrt())
        ),
        "There is a root too many: the quotient of both ᾱ is (a / a')²; here its root stands in its place.": (
            lambda x0, x_t, now, then: _posterior_with(x0, x_t, now, then, (now / then).sqrt())
        ),
        "The part of one step is upside down: from t' to t the signal shrinks, so it is below 1.": (
            lambda x0, x_t, now, then: _posterior_with(x0, x_t, now, then, then / now)
        ),
        "The times of the first row are used for all rows; each row has its own two.": (
            lambda x0, x_t, now, then: _posterior(x0, x_t, now[:1], then[:1])
        ),
        "The times of row 0 are used for all rows; each row has its own two.": (
            lambda x0, x_t, now, then: _posterior(x0, x_t, now[0], then[0])
        ),
        "The order is: first the mean, then the variance.": lambda *arguments: _posterior(*arguments)[::-1],
        "The numbers are right; the variance is the same for all D features, so hand back one for each row, (B, 1).": (
            _posterior_wide
        ),
        "At the last step 1 - ᾱ' is 0; do not divide by it.": _posterior_by_precisions,
        "The variance is right. In the mean, x_t is multiplied by the square of a / a': (a / a')² is for variances.": (
            _posterior_x_t_no_root
        ),
        "The variance is right. In the mean, x0 is multiplied by ᾱ', a variance; a' is its root.": (
            _posterior_x0_no_root
        ),
        "The variance is right. In the mean, x0 is multiplied by the signal of t; (4.3) has the signal of t' there, as "
        "x_t' is sought.": _posterior_signal_of_now,
        "The variance is right. In the mean, a' and a / a' are roots: variances scale by ᾱ, values by its root.": (
            _posterior_no_roots
        ),
        "Standard deviations stand where (4.2) and (4.3) have their squares: σ² is 1 - ᾱ itself.": (
            _posterior_noises_for_variances
        ),
        "The weights of x0 and x_t are exchanged: the shorter the step, the more counts x_t.": (
            _posterior_exchanged_weights
        ),
    },
)

# ---------------------------------------------------------------- who_is_meant


def _exponents(x_t, points, alpha_bar):
    gaps = x_t.double()[:, None] - alpha_bar.double().sqrt() * points.double()  # (B, M, D)
    return -gaps.square().sum(-1) / (2 * (1 - alpha_bar.double()))


def _in_question(labels, asked):
    return (labels == asked[:, None]) | (asked[:, None] < 0)


def _meant(exponents, labels, asked, axis=1):
    return exponents.masked_fill(~_in_question(labels, asked), -torch.inf).softmax(axis).float()


def _who_is_meant(x_t, points, labels, asked, alpha_bar):
    return _meant(_exponents(x_t, points, alpha_bar), labels, asked)


def _meant_scaled(factor):
    """With exponents that are a multiple of the right ones."""
    return lambda x_t, points, labels, asked, alpha_bar: _meant(
        _exponents(x_t, points, alpha_bar) * factor(alpha_bar), labels, asked
    )


def _meant_of(gaps):
    """With other distances squared."""
    return lambda x_t, points, labels, asked, alpha_bar: _meant(
        -gaps(x_t, points, alpha_bar) / (2 * (1 - alpha_bar)), labels, asked
    )


def _meant_masked_late(x_t, points, labels, asked, alpha_bar):
    return (_exponents(x_t, points, alpha_bar).softmax(1) * _in_question(labels, asked)).float()


def _meant_shared_out_late(x_t, points, labels, asked, alpha_bar):
    left = _exponents(x_t, points, alpha_bar).float().softmax(1) * _in_question(labels, asked)
    return left / left.sum(1, keepdim=True)


def _meant_shared_out_late_clamped(x_t, points, labels, asked, alpha_bar):
    left = _exponents(x_t, points, alpha_bar).float().softmax(1) * _in_question(labels, asked)
    return left / left.sum(1, keepdim=True).clamp(min=1e-12)


def _meant_shared_out_late_without_nan(*arguments):
    return _meant_shared_out_late(*arguments).nan_to_num(0)


def _meant_plain_exponentials(x_t, points, labels, asked, alpha_bar):
    likely = _exponents(x_t, points, alpha_bar).float().exp() * _in_question(labels, asked)
    return likely / likely.sum(1, keepdim=True)


def _meant_plain_exponentials_clamped(x_t, points, labels, asked, alpha_bar):
    likely = _exponents(x_t, points, alpha_bar).float().exp() * _in_question(labels, asked)
    return likely / likely.sum(1, keepdim=True).clamp(min=1e-12)


def _meant_zero_times_infinity(x_t, points, labels, asked, alpha_bar):
    return (_exponents(x_t, points, alpha_bar) - torch.inf * ~_in_question(labels, asked)).softmax(1).float()


def _meant_filled_too_high(x_t, points, labels, asked, alpha_bar):
    """-100 fails as -10,000 does: the others share the weight."""
    exponents = _exponents(x_t, points, alpha_bar)
    return exponents.masked_fill(~_in_question(labels, asked), -100).softmax(1).float()


def _meant_lowered_too_little(x_t, points, labels, asked, alpha_bar):
    return (_exponents(x_t, points, alpha_bar) - 100 * ~_in_question(labels, asked)).softmax(1).float()


def _meant_no_minus_one(x_t, points, labels, asked, alpha_bar):
    exponents = _exponents(x_t, points, alpha_bar)
    return exponents.masked_fill(labels != asked[:, None], -torch.inf).softmax(1).float()


def _meant_alike_at_minus_one(x_t, points, labels, asked, alpha_bar):
    weights = _who_is_meant(x_t, points, labels, asked, alpha_bar)
    return weights.where(asked[:, None] >= 0, 1 / len(points))


def _meant_any_minus_one(x_t, points, labels, asked, alpha_bar):
    asked = asked.new_full(asked.shape, -1) if (asked == -1).any() else asked
    return _who_is_meant(x_t, points, labels, asked, alpha_bar)


def _meant_first_row(x_t, points, labels, asked, alpha_bar):
    return _who_is_meant(x_t, points, labels, asked[:1].expand_as(asked), alpha_bar)


def _meant_masked_with_zero(x_t, points, labels, asked, alpha_bar):
    return (_exponents(x_t, points, alpha_bar) * _in_question(labels, asked)).softmax(1).float()


def _meant_wrong_axis(x_t, points, labels, asked, alpha_bar):
    return _meant(_exponents(x_t, points, alpha_bar), labels, asked, axis=0)


def _meant_by_all(x_t, points, labels, asked, alpha_bar):
    return _exponents(x_t, points, alpha_bar).softmax(1).float()


def _meant_not(x_t, points, labels, asked, alpha_bar):
    exponents = _exponents(x_t, points, alpha_bar)
    return exponents.masked_fill(_in_question(labels, asked), -torch.inf).softmax(1).float()


def _meant_not_shared_out(x_t, points, labels, asked, alpha_bar):
    return (_exponents(x_t, points, alpha_bar).exp() * _in_question(labels, asked)).float()


def _meant_guess(x_t, points, labels, asked, alpha_bar):
    return _who_is_meant(x_t, points, labels, asked, alpha_bar) @ points


def _question(count, dim, asked, labels, alpha_bar):
    return [
        torch.randn(len(asked), dim) * count,
        torch.randn(len(labels), dim),
        torch.tensor(labels),
        torch.tensor(asked),
        torch.tensor(alpha_bar),
    ]


who_is_meant = Grader(
    "who_is_meant",
    _who_is_meant,
    {
        "three labels": lambda: _question(1, 2, [0, 1, 2, 0, 1], [0, 1, 2, 2, 0, 1, 0], 0.4),
        "no label (-1) in some rows": lambda: _question(1, 5, [-1, 1, -1, 0], [0, 1, 1, 0, 1, 0], 0.2),
        "little noise, where it can end in 0 / 0": lambda: _question(4, 3, [1, 0, -1], [1, 0, 0, 1, 2], 0.99),
        "one point of that label, hardly any noise": lambda: _question(30, 4, [3, 3, -1, 0], [0, 3, 1, 2, 0], 0.9999),
        "one row, nothing but noise": lambda: _question(1, 3, [1], [1, 0, 1, 1, 0], 0.0),
    },
    {
        "The softmax runs over the rows of the batch; for each x_t, the *points* share the weight.": _meant_wrong_axis,
        "All that is left in a row is 0: other points had taken the whole weight before they were left out. Leave "
        "them out before the softmax.": _meant_shared_out_late_clamped,
        "A row is all 0: other points had taken the whole weight before they were left out. Leave them out before the "
        "softmax.": _meant_shared_out_late_without_nan,
        "0 / 0: all weights that are left in a row are 0. Leave points out before the softmax.": _meant_shared_out_late,
        "0 / 0: every exponential in a row is 0 for the computer. `softmax` prevents this: it takes the exponents.": (
            _meant_plain_exponentials
        ),
        "Every exponential in a row is 0 for the computer. `softmax` prevents this: it takes the exponents.": (
            _meant_plain_exponentials_clamped
        ),
        "The other labels lose their weight only after the softmax, so a row no longer sums to 1.": _meant_masked_late,
        "Minus infinity times 0 is NaN: it cannot be switched off by a product.": _meant_zero_times_infinity,
        "The finite number that stands for minus infinity is not low enough: with little noise, real exponents are "
        "lower.": _meant_filled_too_high,
        "What is taken off the exponents of other points is not enough: with little noise, exponents lie farther "
        "apart.": _meant_lowered_too_little,
        "No point has the label -1; a row that asks for nothing weighs all.": _meant_no_minus_one,
        "A row that asks for nothing is all 0: no point has the label -1, and such a row weighs all.": (
            lambda *arguments: _meant_no_minus_one(*arguments).nan_to_num(0)
        ),
        "In a row that asks for nothing all points weigh the same here; they should weigh what (4.5) says.": (
            _meant_alike_at_minus_one
        ),
        "One row of the batch asks for nothing, and now no row does. Each row has its own question.": (
            _meant_any_minus_one
        ),
        "What row 0 asks for is taken for all rows; each row has its own question.": _meant_first_row,
        "An exponent of 0 is the largest there is: it makes the points of other labels win. They need the smallest.": (
            _meant_masked_with_zero
        ),
        "This ignores the label that is asked for.": _meant_by_all,
        "It is the other way round: these are the weights of the points that do *not* have the label.": _meant_not,
        "The 2 before σ² is missing. It comes from the exponent of the bell curve.": _meant_scaled(lambda _: 2),
        "(4.5) divides by twice the *variance* of the noise, 1 - ᾱ; this divides by twice its root.": (
            _meant_scaled(lambda alpha_bar: (1 - alpha_bar).sqrt())
        ),
        "(4.5) divides by the variance of the noise, σ²; 1 - ᾱ is that already, and here it is squared.": (
            _meant_scaled(lambda alpha_bar: 1 / (1 - alpha_bar))
        ),
        "The noise σ is missing: the more noise, the less should distances count.": (
            _meant_scaled(lambda alpha_bar: 1 - alpha_bar)
        ),
        "In x_t a point is shrunk by the signal, the *root* of ᾱ; here it is shrunk by ᾱ.": (
            _meant_of(lambda x_t, points, alpha_bar: torch.cdist(x_t, alpha_bar * points) ** 2)
        ),
        "In x_t the points are shrunk by the signal; compare x_t with the shrunken points.": (
            _meant_of(lambda x_t, points, alpha_bar: torch.cdist(x_t, points) ** 2)
        ),
        "Dividing x_t by the signal stretches its noise as well, so the variance no longer fits. Shrink the points.": (
            _meant_of(lambda x_t, points, alpha_bar: torch.cdist(x_t / alpha_bar.sqrt(), points) ** 2)
        ),
        "These are distances; (4.5) has their squares.": (
            _meant_of(lambda x_t, points, alpha_bar: torch.cdist(x_t, alpha_bar.sqrt() * points))
        ),
        "The squared differences of all features are added up in (4.5); here they are averaged.": (
            lambda *arguments: _meant_scaled(lambda _: 1 / arguments[0].shape[1])(*arguments)
        ),
        "These are the exponentials; they must be divided so that each row sums to 1.": _meant_not_shared_out,
        "These are logarithms of the weights.": lambda *arguments: _who_is_meant(*arguments).log(),
        "The farthest points win: the sign of the exponent is missing.": _meant_scaled(lambda _: -1),
        "This is the best guess; its weights were asked for.": _meant_guess,
    },
    tolerance=1e-3,
)

# ---------------------------------------------------------------- ddim_step


def _ddim_variance(alpha_bar, alpha_bar_then):
    return (1 - alpha_bar / alpha_bar_then) * (1 - alpha_bar_then) / (1 - alpha_bar)


def _clean(eps, x_t, alpha_bar):
    return (x_t - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()


def _ddim_step(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
    var = eta**2 * _ddim_variance(alpha_bar, alpha_bar_then)
    return _ddim_with(_clean(eps, x_t, alpha_bar), eps, alpha_bar_then, var, fresh)


def _ddim_with(x0, eps, alpha_bar_then, var, fresh):
    kept = (1 - alpha_bar_then - var).clamp(min=0)
    return alpha_bar_then.sqrt() * x0 + kept.sqrt() * eps + var.sqrt() * fresh


def _ddim_with_variance(change):
    """Right but for the variance of the fresh noise."""
    return lambda eps, x_t, now, then, eta, fresh: _ddim_with(
        _clean(eps, x_t, now), eps, then, change(eta, now, then), fresh
    )


def _ddim_parts(kept=None, added=None, clean=None):
    """Right but for the factors of old and fresh noise, or for x0."""

    def answer(eps, x_t, now, then, eta, fresh):
        var = eta**2 * _ddim_variance(now, then)
        x0 = (clean or _clean)(eps, x_t, now)
        old = kept(var, now, then) if kept else (1 - then - var).clamp(min=0).sqrt()
        return then.sqrt() * x0 + old * eps + (added(var) if added else var.sqrt()) * fresh

    return answer


def _ddim_signal_of_now(eps, x_t, now, then, eta, fresh):
    return _ddim_step(eps, x_t, now, then, eta, fresh) - (then.sqrt() - now.sqrt()) * _clean(eps, x_t, now)


def _ddim_signal_no_root(eps, x_t, now, then, eta, fresh):
    return _ddim_step(eps, x_t, now, then, eta, fresh) - (then.sqrt() - then) * _clean(eps, x_t, now)


def _ddim_eta_once(eta_kept):
    """With η in one of its two places."""

    def answer(eps, x_t, now, then, eta, fresh):
        bayes = _ddim_variance(now, then)
        kept = (1 - then - (eta**2 if eta_kept else 1) * bayes).clamp(min=0).sqrt()
        added = (1 if eta_kept else eta) * bayes.sqrt()
        return then.sqrt() * _clean(eps, x_t, now) + kept * eps + added * fresh

    return answer


def _ddim_exchanged(eps, x_t, now, then, eta, fresh):
    x0, var = _clean(eps, x_t, now), eta**2 * _ddim_variance(now, then)
    return _ddim_with(x0, fresh, then, var, eps)


def _ddim_bare_eta(eps, x_t, now, then, eta, fresh):
    std = eta * _ddim_variance(now, then).sqrt()
    return _ddim_step(eps, x_t, now, then, eta, fresh) + (eta - std) * fresh


def _ddim_linear(eps, x_t, now, then, eta, fresh):
    return then.sqrt() * _clean(eps, x_t, now) + (1 - then).sqrt() * ((1 - eta) * eps + eta * fresh)


def _ddim_case(batch, dim, eta, then=None):
    eps, x_t, now, later = _step_back(batch, dim, then)
    return [eps, x_t, now, later, eta, torch.randn(batch, dim)]


ddim_step = Grader(
    "ddim_step",
    _ddim_step,
    {
        "η = 0, nothing is fresh": lambda: _ddim_case(3, 5, 0.0),
        "η = 0.5": lambda: _ddim_case(4, 2, 0.5),
        "η = 1, the ancestral step": lambda: _ddim_case(6, 3, 1.0),
        "the last step, to ᾱ' = 1": lambda: _ddim_case(1, 4, 1.0, then=1.0),
    },
    {
        "Fresh noise comes on top of all the old: its variance must be taken off from that of the old, or there is too "
        "much noise.": _ddim_parts(kept=lambda var, now, then: (1 - then).sqrt()),
        "Two standard deviations are subtracted. Variances add up, so subtract variances and take the root after.": (
            _ddim_parts(kept=lambda var, now, then: (1 - then).sqrt() - var.sqrt())
        ),
        "The noise must have the size of the time where the step *ends*; here the old noise has that of t.": (
            _ddim_parts(kept=lambda var, now, then: (1 - now - var).clamp(min=0).sqrt())
        ),
        "η scales the standard deviation of the fresh noise, so the variance has its square.": (
            _ddim_with_variance(lambda eta, now, then: eta * _ddim_variance(now, then))
        ),
        "η itself stands where the variance belongs: it says which *share* of Bayes' standard deviation is fresh.": (
            _ddim_with_variance(lambda eta, now, then: eta * torch.ones_like(then))
        ),
        "The fresh noise is multiplied by a variance; its factor is a standard deviation.": (
            _ddim_parts(added=lambda var: var)
        ),
        "The fresh noise is multiplied by η alone; η is a share of Bayes' standard deviation.": _ddim_bare_eta,
        "This is var_step, the variance of the step forward; (4.9) also has the quotient of both noises.": (
            _ddim_with_variance(lambda eta, now, then: eta**2 * (1 - now / then))
        ),
        "The quotient of both noises in (4.9) is upside down: the earlier noise, the smaller one, stands above.": (
            _ddim_with_variance(lambda eta, now, then: eta**2 * (1 - now / then) * (1 - now) / (1 - then))
        ),
        "The guess of x0 is multiplied by the signal of t; the step ends at t', where the signal is larger.": (
            _ddim_signal_of_now
        ),
        "With η = 1, nothing of the old noise would be kept here, but Bayes' rule keeps some. Is η² multiplied by all "
        "the noise at t', or does ᾱ stand where the part of one step belongs?": (
            _ddim_with_variance(lambda eta, now, then: eta**2 * (1 - then))
        ),
        "The factors of old and fresh noise add up to σ'. Of independent parts the variances add up.": _ddim_linear,
        "The guess of the noise and the fresh noise are exchanged: with η = 0 nothing is fresh.": _ddim_exchanged,
        "This is the ancestral step, η = 1, although η is another number here.": (
            lambda eps, x_t, now, then, eta, fresh: _ddim_step(eps, x_t, now, then, 1.0, fresh)
        ),
        "η is in the fresh noise alone. With less fresh noise, more of the old is kept.": (
            _ddim_eta_once(eta_kept=False)
        ),
        "η is in the old noise alone. It also says how much fresh noise is added.": _ddim_eta_once(eta_kept=True),
        "This draws its own noise; the fresh noise comes in as the argument `fresh`.": (
            lambda eps, x_t, now, then, eta, fresh: _ddim_step(eps, x_t, now, then, eta, torch.randn_like(x_t))
        ),
        "η has no effect: this is always the step without fresh noise.": (
            lambda eps, x_t, now, then, eta, fresh: _ddim_step(eps, x_t, now, then, 0.0, fresh)
        ),
        "The old eps is multiplied by a variance; its factor is a standard deviation.": (
            _ddim_parts(kept=lambda var, now, then: (1 - then - var).clamp(min=0))
        ),
        "The old eps keeps its noise, but no fresh noise is added.": _ddim_parts(added=torch.zeros_like),
        "The guess of x0 is not divided by the signal.": (
            _ddim_parts(clean=lambda eps, x_t, now: x_t - (1 - now).sqrt() * eps)
        ),
        "The guess of x0 takes off eps times a variance; what eps is multiplied by in x_t is the root.": (
            _ddim_parts(clean=lambda eps, x_t, now: (x_t - (1 - now) * eps) / now.sqrt())
        ),
        "The guess of x0 is divided by ᾱ; the signal is its root.": (
            _ddim_parts(clean=lambda eps, x_t, now: (x_t - (1 - now).sqrt() * eps) / now)
        ),
        "The guess of x0 takes ᾱ for the signal and 1 - ᾱ for the noise. These are variances; take roots.": (
            _ddim_parts(clean=lambda eps, x_t, now: (x_t - (1 - now) * eps) / now)
        ),
        "The guess of x0 is multiplied by ᾱ', a variance; the signal is its root.": _ddim_signal_no_root,
        "This mixes x_t with noise anew. The noise must come off first: (4.9) starts from the guess of x0.": (
            _ddim_parts(clean=lambda eps, x_t, now: x_t)
        ),
        "The two times are exchanged: alpha_bar belongs to x_t, alpha_bar_then to the time where the step ends.": (
            lambda eps, x_t, now, then, eta, fresh: _ddim_step(eps, x_t, then, now, eta, fresh)
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
    return _exponents(x_t, points, alpha_bar).softmax(1)


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
