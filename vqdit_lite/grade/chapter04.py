"""Graders of chapter 04, reverse diffusion."""

import torch

from vqdit_lite.grade.grader import Grader

# ---------------------------------------------------------------- from_v


def _from_v(v, x_t, alpha_bar):
    a, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    return a * x_t - sigma * v, sigma * x_t + a * v


def _from_v_with(levels, full=False):
    """With another signal and noise; `full` keeps the denominator of (4.9)."""

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
    """c and d exchanged in (4.9)."""

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
        "in (4.8)?": lambda v, x_t, alpha_bar: _from_v(-v, x_t, alpha_bar),
        **{sentence: _from_v_with(levels) for sentence, levels in _WRONG_LEVELS.items()},
        **{
            f"{sentence} With the right ones, the denominator of (4.9) is 1.": _from_v_with(levels, full=True)
            for sentence, levels in _WRONG_LEVELS.items()
        },
        "c and d are exchanged: in (4.8), c belongs to x0 and d to eps.": _from_v_exchanged(full=True),
        "c and d are exchanged: in (4.8), c belongs to x0 and d to eps. Only with the right ones is the denominator "
        "of (4.9) 1.": _from_v_exchanged(full=False),
        "Signal and noise are exchanged: ᾱ is the share of the signal.": (
            lambda v, x_t, alpha_bar: _from_v(v, x_t, 1 - alpha_bar)
        ),
        "The order is: first x0, then eps.": lambda v, x_t, alpha_bar: _from_v(v, x_t, alpha_bar)[::-1],
        "This reads v as if it were eps.": _from_v_as_eps,
        "This reads v as the velocity of the straight line, the target flow of (4.8).": _from_v_as_flow,
        **{
            f"To find {name}, this divides by the {by}, which is 0 where ᾱ is {end}; (4.9) needs no division.": (
                _from_v_divided(name, by)
            )
            for name, by, end in [*_DIVISIONS, ("both", "signal", 0), ("both", "noise", 1)]
        },
        **{
            f"{name} comes out as 0 where the {by} is 0, at ᾱ = {end}: a quotient that is kept from 0 / 0 does not "
            "find it. (4.9) needs no division.": _from_v_divided(name, by, least=1e-6)
            for name, by, end in _DIVISIONS
        },
    },
)

# ---------------------------------------------------------------- posterior


def _posterior(x0, x_t, alpha_bar, alpha_bar_next):
    return _posterior_with(x0, x_t, alpha_bar, alpha_bar_next, alpha_bar / alpha_bar_next)


def _posterior_with(x0, x_t, alpha_bar, alpha_bar_next, alpha):
    """With an alpha of the step that may be wrong."""
    weight_x0 = alpha_bar_next.sqrt() * (1 - alpha) / (1 - alpha_bar)
    weight_x_t = alpha.sqrt() * (1 - alpha_bar_next) / (1 - alpha_bar)
    return weight_x0 * x0 + weight_x_t * x_t, (1 - alpha) * (1 - alpha_bar_next) / (1 - alpha_bar)


def _posterior_no_roots(x0, x_t, alpha_bar, alpha_bar_next):
    alpha = alpha_bar / alpha_bar_next
    mean = alpha_bar_next * (1 - alpha) * x0 + alpha * (1 - alpha_bar_next) * x_t
    return mean / (1 - alpha_bar), _posterior(x0, x_t, alpha_bar, alpha_bar_next)[1]


def _posterior_signal_of_now(x0, x_t, alpha_bar, alpha_bar_next):
    mean, var = _posterior(alpha_bar.sqrt() / alpha_bar_next.sqrt() * x0, x_t, alpha_bar, alpha_bar_next)
    return mean, var


def _posterior_noises_for_variances(x0, x_t, alpha_bar, alpha_bar_next):
    """sigma'/sigma where their squares belong."""
    alpha, ratio = alpha_bar / alpha_bar_next, ((1 - alpha_bar_next) / (1 - alpha_bar)).sqrt()
    weight_x0 = alpha_bar_next.sqrt() * (1 - alpha) / (1 - alpha_bar).sqrt()
    return weight_x0 * x0 + alpha.sqrt() * ratio * x_t, ratio * (1 - alpha)


def _posterior_mean_only(change):
    """The right mean, and another variance."""

    def answer(x0, x_t, alpha_bar, alpha_bar_next):
        mean, var = _posterior(x0, x_t, alpha_bar, alpha_bar_next)
        return mean, change(var, alpha_bar, alpha_bar_next)

    return answer


def _posterior_step_var(change):
    """With another variance of the step forward, and the right part of the signal."""

    def answer(x0, x_t, alpha_bar, alpha_bar_next):
        alpha, step_var = alpha_bar / alpha_bar_next, change(alpha_bar, alpha_bar_next)
        mean = alpha_bar_next.sqrt() * step_var * x0 + alpha.sqrt() * (1 - alpha_bar_next) * x_t
        return mean / (1 - alpha_bar), step_var * (1 - alpha_bar_next) / (1 - alpha_bar)

    return answer


def _posterior_x_t_no_root(x0, x_t, alpha_bar, alpha_bar_next):
    mean, var = _posterior(x0, x_t, alpha_bar, alpha_bar_next)
    alpha = alpha_bar / alpha_bar_next
    return mean + (alpha - alpha.sqrt()) * (1 - alpha_bar_next) / (1 - alpha_bar) * x_t, var


def _posterior_x0_no_root(x0, x_t, alpha_bar, alpha_bar_next):
    mean, var = _posterior(x0, x_t, alpha_bar, alpha_bar_next)
    step_var = 1 - alpha_bar / alpha_bar_next
    return mean + (alpha_bar_next - alpha_bar_next.sqrt()) * step_var / (1 - alpha_bar) * x0, var


def _posterior_by_precisions(x0, x_t, alpha_bar, alpha_bar_next):
    alpha = alpha_bar / alpha_bar_next
    var = 1 / (alpha / (1 - alpha) + 1 / (1 - alpha_bar_next))
    return var * (alpha.sqrt() / (1 - alpha) * x_t + alpha_bar_next.sqrt() / (1 - alpha_bar_next) * x0), var


def _posterior_not_divided(x0, x_t, alpha_bar, alpha_bar_next):
    return tuple((1 - alpha_bar) * part for part in _posterior(x0, x_t, alpha_bar, alpha_bar_next))


def _posterior_wide(x0, x_t, alpha_bar, alpha_bar_next):
    mean, var = _posterior(x0, x_t, alpha_bar, alpha_bar_next)
    return mean, var.expand_as(mean)


def _posterior_exchanged_weights(x0, x_t, alpha_bar, alpha_bar_next):
    return _posterior(x_t, x0, alpha_bar, alpha_bar_next)


def step_back(batch, dim, alpha_bar_next=None):
    """Arguments of a step from any ᾱ to a larger one."""
    alpha_bar = 0.05 + 0.6 * torch.rand(batch, 1)
    later = alpha_bar + (1 - alpha_bar) * (0.2 + 0.6 * torch.rand(batch, 1))
    later = later if alpha_bar_next is None else torch.full_like(later, alpha_bar_next)
    return [torch.randn(batch, dim), torch.randn(batch, dim), alpha_bar, later]


posterior = Grader(
    "posterior",
    _posterior,
    {
        "four points": lambda: step_back(4, 2),
        "more features": lambda: step_back(3, 7),
        "the last step, to ᾱ' = 1": lambda: step_back(5, 3, alpha_bar_next=1.0),
        "a batch of one": lambda: step_back(1, 4),
    },
    {
        "The mean is right. The second value is the standard deviation; the variance was asked for.": (
            _posterior_mean_only(lambda var, alpha_bar, alpha_bar_next: var.sqrt())
        ),
        "The mean is right. The second value is the variance that the step *forward* adds; x0 is known as well, and "
        "that narrows it.": _posterior_mean_only(lambda var, alpha_bar, alpha_bar_next: 1 - alpha_bar / alpha_bar_next),
        "The mean is right. The second value is the variance of x_t' when only x0 is known; x_t is known as well, and "
        "that narrows it.": _posterior_mean_only(lambda var, alpha_bar, alpha_bar_next: 1 - alpha_bar_next),
        "The mean is right. In the variance, the quotient of both noises is upside down: σ'² stands above.": (
            _posterior_mean_only(
                lambda var, alpha_bar, alpha_bar_next: (
                    (1 - alpha_bar) / (1 - alpha_bar_next) * (1 - alpha_bar / alpha_bar_next)
                )
            )
        ),
        "Mean and variance are not divided by σ²; (4.3) does so three times.": _posterior_not_divided,
        "ᾱ, the signal that is left of *all* steps up to t, stands where that of the one step from t' to t belongs.": (
            lambda x0, x_t, alpha_bar, alpha_bar_next: _posterior_with(x0, x_t, alpha_bar, alpha_bar_next, alpha_bar)
        ),
        "The signal shrinks by a *factor* from t' to t; here a difference of two ᾱ stands in its place.": (
            lambda x0, x_t, alpha_bar, alpha_bar_next: _posterior_with(
                x0, x_t, alpha_bar, alpha_bar_next, 1 - alpha_bar_next + alpha_bar
            )
        ),
        "The two times are exchanged: alpha_bar belongs to t, and alpha_bar_next, which is larger, to t'.": (
            lambda x0, x_t, alpha_bar, alpha_bar_next: _posterior(x0, x_t, alpha_bar_next, alpha_bar)
        ),
        "For the variance of the step forward, a difference of two noises stands here. By (4.2), the noise of t' has "
        "become smaller on the way, so the step adds more than that.": (
            _posterior_step_var(lambda alpha_bar, alpha_bar_next: alpha_bar_next - alpha_bar)
        ),
        "In the variance of the step forward, a / a' is not squared. For variances a factor counts squared.": (
            _posterior_step_var(
                lambda alpha_bar, alpha_bar_next: (
                    1 - alpha_bar - (alpha_bar / alpha_bar_next).sqrt() * (1 - alpha_bar_next)
                )
            )
        ),
        "In the variance of the step forward, the quotient of both ᾱ has a root too many: it is (a / a')² already.": (
            _posterior_step_var(lambda alpha_bar, alpha_bar_next: 1 - (alpha_bar / alpha_bar_next).sqrt())
        ),
        "There is a root too many: the quotient of both ᾱ is (a / a')²; here its root stands in its place.": (
            lambda x0, x_t, alpha_bar, alpha_bar_next: _posterior_with(
                x0, x_t, alpha_bar, alpha_bar_next, (alpha_bar / alpha_bar_next).sqrt()
            )
        ),
        "The part of one step is upside down: from t' to t the signal shrinks, so it is below 1.": (
            lambda x0, x_t, alpha_bar, alpha_bar_next: _posterior_with(
                x0, x_t, alpha_bar, alpha_bar_next, alpha_bar_next / alpha_bar
            )
        ),
        "The times of the first row are used for all rows; each row has its own two.": (
            lambda x0, x_t, alpha_bar, alpha_bar_next: _posterior(x0, x_t, alpha_bar[:1], alpha_bar_next[:1])
        ),
        "The times of row 0 are used for all rows; each row has its own two.": (
            lambda x0, x_t, alpha_bar, alpha_bar_next: _posterior(x0, x_t, alpha_bar[0], alpha_bar_next[0])
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


def bell_exponents(x_t, points, alpha_bar):
    gaps = x_t.double()[:, None] - alpha_bar.double().sqrt() * points.double()  # (B, M, D)
    return -gaps.square().sum(-1) / (2 * (1 - alpha_bar.double()))


def _in_question(labels, asked):
    return (labels == asked[:, None]) | (asked[:, None] < 0)


def _meant(exponents, labels, asked, axis=1):
    return exponents.masked_fill(~_in_question(labels, asked), -torch.inf).softmax(axis).float()


def _who_is_meant(x_t, points, labels, asked, alpha_bar):
    return _meant(bell_exponents(x_t, points, alpha_bar), labels, asked)


def _meant_scaled(factor):
    """With exponents that are a multiple of the right ones."""
    return lambda x_t, points, labels, asked, alpha_bar: _meant(
        bell_exponents(x_t, points, alpha_bar) * factor(alpha_bar), labels, asked
    )


def _meant_of(gaps):
    """With other distances squared."""
    return lambda x_t, points, labels, asked, alpha_bar: _meant(
        -gaps(x_t, points, alpha_bar) / (2 * (1 - alpha_bar)), labels, asked
    )


def _meant_masked_late(x_t, points, labels, asked, alpha_bar):
    return (bell_exponents(x_t, points, alpha_bar).softmax(1) * _in_question(labels, asked)).float()


def _meant_shared_out_late(x_t, points, labels, asked, alpha_bar):
    left = bell_exponents(x_t, points, alpha_bar).float().softmax(1) * _in_question(labels, asked)
    return left / left.sum(1, keepdim=True)


def _meant_shared_out_late_clamped(x_t, points, labels, asked, alpha_bar):
    left = bell_exponents(x_t, points, alpha_bar).float().softmax(1) * _in_question(labels, asked)
    return left / left.sum(1, keepdim=True).clamp(min=1e-12)


def _meant_shared_out_late_without_nan(*arguments):
    return _meant_shared_out_late(*arguments).nan_to_num(0)


def _meant_plain_exponentials(x_t, points, labels, asked, alpha_bar):
    likely = bell_exponents(x_t, points, alpha_bar).float().exp() * _in_question(labels, asked)
    return likely / likely.sum(1, keepdim=True)


def _meant_plain_exponentials_clamped(x_t, points, labels, asked, alpha_bar):
    likely = bell_exponents(x_t, points, alpha_bar).float().exp() * _in_question(labels, asked)
    return likely / likely.sum(1, keepdim=True).clamp(min=1e-12)


def _meant_zero_times_infinity(x_t, points, labels, asked, alpha_bar):
    return (bell_exponents(x_t, points, alpha_bar) - torch.inf * ~_in_question(labels, asked)).softmax(1).float()


def _meant_filled_too_high(x_t, points, labels, asked, alpha_bar):
    """-100 fails as -10,000 does: the others share the weight."""
    exponents = bell_exponents(x_t, points, alpha_bar)
    return exponents.masked_fill(~_in_question(labels, asked), -100).softmax(1).float()


def _meant_lowered_too_little(x_t, points, labels, asked, alpha_bar):
    return (bell_exponents(x_t, points, alpha_bar) - 100 * ~_in_question(labels, asked)).softmax(1).float()


def _meant_no_minus_one(x_t, points, labels, asked, alpha_bar):
    exponents = bell_exponents(x_t, points, alpha_bar)
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
    return (bell_exponents(x_t, points, alpha_bar) * _in_question(labels, asked)).softmax(1).float()


def _meant_wrong_axis(x_t, points, labels, asked, alpha_bar):
    return _meant(bell_exponents(x_t, points, alpha_bar), labels, asked, axis=0)


def _meant_by_all(x_t, points, labels, asked, alpha_bar):
    return bell_exponents(x_t, points, alpha_bar).softmax(1).float()


def _meant_not(x_t, points, labels, asked, alpha_bar):
    exponents = bell_exponents(x_t, points, alpha_bar)
    return exponents.masked_fill(_in_question(labels, asked), -torch.inf).softmax(1).float()


def _meant_not_shared_out(x_t, points, labels, asked, alpha_bar):
    return (bell_exponents(x_t, points, alpha_bar).exp() * _in_question(labels, asked)).float()


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
