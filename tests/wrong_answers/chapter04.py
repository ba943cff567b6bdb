"""Answers to the exercises of chapter 04: right ones, and wrong ones with words that the grader must find for them."""

import math

import torch
import torch.nn.functional as F

from vqdit_lite.gaussian import from_target


class from_v:
    def right_by_elimination(v, x_t, alpha_bar):
        signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        p, q = -noise, signal
        below = signal * q - noise * p
        return (q * x_t - noise * v) / below, (signal * v - p * x_t) / below

    def right_as_a_rotation(v, x_t, alpha_bar):
        angle = torch.acos(alpha_bar.sqrt())
        return torch.cos(angle) * x_t - torch.sin(angle) * v, torch.sin(angle) * x_t + torch.cos(angle) * v

    def right_row_by_row(v, x_t, alpha_bar):
        shares = alpha_bar.expand_as(x_t)
        matrix = torch.stack([shares.sqrt(), (1 - shares).sqrt(), -(1 - shares).sqrt(), shares.sqrt()], -1)
        both = torch.linalg.solve(matrix.unflatten(-1, (2, 2)), torch.stack([x_t, v], -1))
        return list(both.unbind(-1))

    def wrong_sign_of_x0(v, x_t, alpha_bar):
        """x0 has a wrong sign"""
        return alpha_bar**0.5 * x_t + (1 - alpha_bar) ** 0.5 * v, (1 - alpha_bar) ** 0.5 * x_t + alpha_bar**0.5 * v

    def wrong_sign_of_eps(v, x_t, alpha_bar):
        """there x_t is eps itself"""
        signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        return signal * x_t - noise * v, signal * v - noise * x_t

    def wrong_other_sign_of_eps(v, x_t, alpha_bar):
        """there v is eps itself"""
        signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        return signal * x_t - noise * v, noise * x_t - signal * v

    def wrong_v_the_other_way(v, x_t, alpha_bar):
        """points the other way"""
        signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        return signal * x_t + noise * v, noise * x_t - signal * v

    def wrong_no_roots(v, x_t, alpha_bar):
        """their square roots"""
        return alpha_bar * x_t - (1 - alpha_bar) * v, (1 - alpha_bar) * x_t + alpha_bar * v

    def wrong_noise_from_signal(v, x_t, alpha_bar):
        """not one minus the signal"""
        signal = alpha_bar.sqrt()
        return signal * x_t - (1 - signal) * v, (1 - signal) * x_t + signal * v

    def wrong_exchanged(v, x_t, alpha_bar):
        """exchanged"""
        noise, signal = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        return signal * x_t - noise * v, noise * x_t + signal * v

    def wrong_order(v, x_t, alpha_bar):
        """The order is"""
        signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        return noise * x_t + signal * v, signal * x_t - noise * v

    def wrong_as_eps(v, x_t, alpha_bar):
        """as if it were eps"""
        return (x_t - v * (1 - alpha_bar) ** 0.5) / alpha_bar**0.5, v

    def wrong_for_even_shares(v, x_t, alpha_bar):
        return (x_t - v) / math.sqrt(2), (x_t + v) / math.sqrt(2)

    def right_with_complex_numbers(v, x_t, alpha_bar):
        angle = torch.atan2((1 - alpha_bar).sqrt(), alpha_bar.sqrt())
        back = torch.polar(torch.ones_like(angle), angle) * torch.complex(x_t, v)
        return back.real, back.imag

    def wrong_divides(v, x_t, alpha_bar):
        """divides by the noise, which is 0 where ᾱ is 1"""
        signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        x0 = signal * x_t - noise * v
        return x0, (x_t - signal * x0) / noise

    def wrong_divides_by_the_signal(v, x_t, alpha_bar):
        """divides by the signal, which is 0 where ᾱ is 0"""
        signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        eps = noise * x_t + signal * v
        return (x_t - noise * eps) / signal, eps

    def wrong_divides_with_care(v, x_t, alpha_bar):
        """eps comes out as 0"""
        signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        x0 = signal * x_t - noise * v
        return x0, (x_t - signal * x0) / (noise + 1e-8)

    def wrong_nan_to_number(v, x_t, alpha_bar):
        """x0 comes out as 0 where the signal is 0"""
        signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        eps = noise * x_t + signal * v
        return ((x_t - noise * eps) / signal).nan_to_num(0), eps

    def wrong_p_for_q(v, x_t, alpha_bar):
        """c and d are exchanged"""
        a, sigma = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        p, q = a, -sigma
        return (q * x_t - sigma * v) / (a * q - sigma * p), (a * v - p * x_t) / (a * q - sigma * p)

    def wrong_p_for_q_without_denominator(v, x_t, alpha_bar):
        """c and d are exchanged"""
        a, sigma = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        return -sigma * (x_t + v), a * (v - x_t)

    def wrong_no_roots_in_full(v, x_t, alpha_bar):
        """variances; signal and noise are their square roots"""
        a, sigma = alpha_bar, 1 - alpha_bar
        below = a * a - sigma * -sigma
        return (a * x_t - sigma * v) / below, (a * v + sigma * x_t) / below

    def wrong_root_of_the_signal_forgotten(v, x_t, alpha_bar):
        """the signal is not ᾱ"""
        noise = (1 - alpha_bar).sqrt()
        return alpha_bar * x_t - noise * v, noise * x_t + alpha_bar * v

    def wrong_hands_back(v, x_t, alpha_bar):
        """calls from_target"""
        return from_target("v", v, x_t, alpha_bar.sqrt(), (1 - alpha_bar).sqrt())


class posterior:
    def right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_next):
        # Start from what x0 says, and move by what x_t adds, as a Kalman filter does.
        shrink = (alpha_bar / alpha_bar_next).sqrt()
        gain = shrink * (1 - alpha_bar_next) / (1 - alpha_bar)
        mean = alpha_bar_next.sqrt() * x0 + gain * (x_t - alpha_bar.sqrt() * x0)
        return mean, (1 - gain * shrink) * (1 - alpha_bar_next)

    def right_in_the_chapters_letters(x0, x_t, alpha_bar, alpha_bar_next):
        signal, noise, signal_then, noise_then = (
            share**0.5 for share in (alpha_bar, 1 - alpha_bar, alpha_bar_next, 1 - alpha_bar_next)
        )
        step_var = noise**2 - (signal / signal_then * noise_then) ** 2
        mean = signal_then * step_var / noise**2 * x0 + signal / signal_then * noise_then**2 / noise**2 * x_t
        return [mean, (noise_then / noise) ** 2 * step_var]

    def right_as_ddim_with_all_noise_fresh(x0, x_t, alpha_bar, alpha_bar_next):
        eps = (x_t - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()
        var = (1 - alpha_bar_next) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_next)
        return alpha_bar_next.sqrt() * x0 + (1 - alpha_bar_next - var).clamp(min=0).sqrt() * eps, var

    def wrong_deviation(x0, x_t, alpha_bar, alpha_bar_next):
        """standard deviation"""
        mean, var = posterior.right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_next)
        return mean, var**0.5

    def wrong_beta(x0, x_t, alpha_bar, alpha_bar_next):
        """step *forward*"""
        mean, _ = posterior.right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_next)
        return mean, (alpha_bar_next - alpha_bar) / alpha_bar_next

    def wrong_variance_of_then(x0, x_t, alpha_bar, alpha_bar_next):
        """only x0 is known"""
        mean, _ = posterior.right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_next)
        return mean, 1 - alpha_bar_next

    def wrong_alpha(x0, x_t, alpha_bar, alpha_bar_next):
        """*all* steps"""
        beta = 1 - alpha_bar
        mean = alpha_bar_next.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - alpha_bar_next) * x_t
        return mean / (1 - alpha_bar), beta * (1 - alpha_bar_next) / (1 - alpha_bar)

    def wrong_difference(x0, x_t, alpha_bar, alpha_bar_next):
        """*factor*"""
        beta = alpha_bar_next - alpha_bar
        mean = alpha_bar_next.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - alpha_bar_next) * x_t
        return mean / (1 - alpha_bar), beta * (1 - alpha_bar_next) / (1 - alpha_bar)

    def wrong_times(x0, x_t, alpha_bar, alpha_bar_next):
        """times are exchanged"""
        alpha = alpha_bar_next / alpha_bar
        mean = alpha_bar.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - alpha_bar) * x_t
        return mean / (1 - alpha_bar_next), (1 - alpha) * (1 - alpha_bar) / (1 - alpha_bar_next)

    def wrong_roots(x0, x_t, alpha_bar, alpha_bar_next):
        """are roots"""
        alpha = alpha_bar / alpha_bar_next
        beta, rest, rest_then = 1 - alpha, 1 - alpha_bar, 1 - alpha_bar_next
        return alpha_bar_next * beta / rest * x0 + alpha * rest_then / rest * x_t, beta * rest_then / rest

    def wrong_signal(x0, x_t, alpha_bar, alpha_bar_next):
        """multiplied by the signal of t"""
        alpha = alpha_bar / alpha_bar_next
        beta, rest, rest_then = 1 - alpha, 1 - alpha_bar, 1 - alpha_bar_next
        mean = alpha_bar.sqrt() * beta / rest * x0 + alpha.sqrt() * rest_then / rest * x_t
        return mean, beta * rest_then / rest

    def wrong_weights(x0, x_t, alpha_bar, alpha_bar_next):
        """weights of x0 and x_t"""
        return posterior.right_as_a_correction(x_t, x0, alpha_bar, alpha_bar_next)

    def wrong_squares(x0, x_t, alpha_bar, alpha_bar_next):
        """have their squares"""
        noise, noise_then = (1 - alpha_bar).sqrt(), (1 - alpha_bar_next).sqrt()
        step_var = 1 - alpha_bar / alpha_bar_next
        mean = alpha_bar_next**0.5 * step_var / noise * x0 + (1 - step_var).sqrt() * noise_then / noise * x_t
        return mean, noise_then / noise * step_var

    def wrong_precisions(x0, x_t, alpha_bar, alpha_bar_next):
        """At the last step 1 - ᾱ' is 0"""
        alpha = alpha_bar / alpha_bar_next
        says_x_t, says_x0 = alpha / (1 - alpha), 1 / (1 - alpha_bar_next)
        var = 1 / (says_x_t + says_x0)
        return var * (alpha.sqrt() / (1 - alpha) * x_t + alpha_bar_next.sqrt() * says_x0 * x0), var

    def wrong_quotient(x0, x_t, alpha_bar, alpha_bar_next):
        """upside down: σ'² stands above"""
        mean, _ = posterior.right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_next)
        return mean, (1 - alpha_bar / alpha_bar_next) / (1 - alpha_bar_next) * (1 - alpha_bar)

    def wrong_not_divided(x0, x_t, alpha_bar, alpha_bar_next):
        """not divided by σ²"""
        alpha, rest_then = alpha_bar / alpha_bar_next, 1 - alpha_bar_next
        mean = alpha_bar_next.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * rest_then * x_t
        return mean, (1 - alpha) * rest_then

    def wrong_order(x0, x_t, alpha_bar, alpha_bar_next):
        """The order is"""
        return posterior.right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_next)[::-1]

    def wrong_difference_of_noises(x0, x_t, alpha_bar, alpha_bar_next):
        """the step adds more than that"""
        noise, noise_then = 1 - alpha_bar, 1 - alpha_bar_next
        step, shrink = noise - noise_then, (alpha_bar / alpha_bar_next).sqrt()
        return (alpha_bar_next.sqrt() * step * x0 + shrink * noise_then * x_t) / noise, step * noise_then / noise

    def wrong_x_t_without_root(x0, x_t, alpha_bar, alpha_bar_next):
        """x_t is multiplied by the square"""
        alpha, rest, rest_then = alpha_bar / alpha_bar_next, 1 - alpha_bar, 1 - alpha_bar_next
        mean = alpha_bar_next.sqrt() * (1 - alpha) / rest * x0 + alpha * rest_then / rest * x_t
        return mean, (1 - alpha) * rest_then / rest

    def wrong_x0_without_root(x0, x_t, alpha_bar, alpha_bar_next):
        """x0 is multiplied by ᾱ'"""
        alpha, rest, rest_then = alpha_bar / alpha_bar_next, 1 - alpha_bar, 1 - alpha_bar_next
        mean = alpha_bar_next * (1 - alpha) / rest * x0 + alpha.sqrt() * rest_then / rest * x_t
        return mean, (1 - alpha) * rest_then / rest

    def wrong_root_for_alpha(x0, x_t, alpha_bar, alpha_bar_next):
        """root too many"""
        alpha, rest, rest_then = (alpha_bar / alpha_bar_next).sqrt(), 1 - alpha_bar, 1 - alpha_bar_next
        mean = alpha_bar_next.sqrt() * (1 - alpha) / rest * x0 + alpha.sqrt() * rest_then / rest * x_t
        return mean, (1 - alpha) * rest_then / rest

    def wrong_root_in_the_step(x0, x_t, alpha_bar, alpha_bar_next):
        """has a root too many"""
        shrink, rest, rest_then = (alpha_bar / alpha_bar_next).sqrt(), 1 - alpha_bar, 1 - alpha_bar_next
        mean = alpha_bar_next.sqrt() * (1 - shrink) / rest * x0 + shrink * rest_then / rest * x_t
        return mean, (1 - shrink) * rest_then / rest

    def wrong_factor_not_squared(x0, x_t, alpha_bar, alpha_bar_next):
        """is not squared"""
        shrink, rest, rest_then = (alpha_bar / alpha_bar_next).sqrt(), 1 - alpha_bar, 1 - alpha_bar_next
        step = rest - shrink * rest_then
        return alpha_bar_next.sqrt() * step / rest * x0 + shrink * rest_then / rest * x_t, step * rest_then / rest

    def wrong_upside_down(x0, x_t, alpha_bar, alpha_bar_next):
        """upside down"""
        alpha, rest, rest_then = alpha_bar_next / alpha_bar, 1 - alpha_bar, 1 - alpha_bar_next
        mean = alpha_bar_next.sqrt() * (1 - alpha) / rest * x0 + alpha.sqrt() * rest_then / rest * x_t
        return mean, (1 - alpha) * rest_then / rest

    def wrong_first_row(x0, x_t, alpha_bar, alpha_bar_next):
        """all rows"""
        return posterior.right_as_a_correction(x0, x_t, alpha_bar[0], alpha_bar_next[0])

    def wrong_sum_of_weights(x0, x_t, alpha_bar, alpha_bar_next):
        mean, var = posterior.right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_next)
        alpha = alpha_bar / alpha_bar_next
        ones = torch.ones_like(x0)
        return mean / posterior.right_as_a_correction(ones, ones * alpha.sqrt(), alpha_bar, alpha_bar_next)[0], var

    def wrong_wide_variance(x0, x_t, alpha_bar, alpha_bar_next):
        """one for each row"""
        mean, var = posterior.right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_next)
        return mean, var.expand_as(mean)


class who_is_meant:
    def right_with_cdist(x_t, points, labels, asked, alpha_bar):
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)
        allowed = (asked == -1)[:, None] | (asked[:, None] == labels[None])
        return torch.where(allowed, exponents, float("-inf")).softmax(dim=-1)

    def right_with_products(x_t, points, labels, asked, alpha_bar):
        bracket = alpha_bar.sqrt() * (x_t @ points.T) - alpha_bar * points.square().sum(1) / 2
        other = (asked[:, None] != labels) & (asked[:, None] != -1)
        return F.softmax(bracket / (1 - alpha_bar) - 1e9 * other, dim=1)

    def right_row_by_row(x_t, points, labels, asked, alpha_bar):
        rows = []
        for x, label in zip(x_t, asked.tolist(), strict=True):
            chosen = torch.arange(len(points)) if label < 0 else (labels == label).nonzero()[:, 0]
            gaps = ((x - alpha_bar**0.5 * points[chosen]) ** 2).sum(1) / (2 * (1 - alpha_bar))
            weights = torch.exp(gaps.min() - gaps)
            rows.append(torch.zeros(len(points)).index_copy(0, chosen, weights / weights.sum()))
        return torch.stack(rows)

    def right_with_logarithms(x_t, points, labels, asked, alpha_bar):
        spread = torch.distributions.Normal(alpha_bar.sqrt() * points, (1 - alpha_bar).sqrt())
        log_p = spread.log_prob(x_t[:, None]).sum(-1)
        log_p[(labels != asked[:, None]) & (asked[:, None] >= 0)] = -torch.inf
        return (log_p - log_p.logsumexp(1, keepdim=True)).exp()

    def wrong_axis(x_t, points, labels, asked, alpha_bar):
        """over the rows of the batch"""
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)
        return exponents.where((asked[:, None] == labels) | (asked[:, None] < 0), -torch.inf).softmax(0)

    def wrong_mean_of_features(x_t, points, labels, asked, alpha_bar):
        """averaged"""
        exponents = -((x_t[:, None] - alpha_bar.sqrt() * points) ** 2).mean(-1) / (2 - 2 * alpha_bar)
        return exponents.where((asked[:, None] == labels) | (asked[:, None] < 0), -torch.inf).softmax(1)

    def wrong_label_minus_one_alike(x_t, points, labels, asked, alpha_bar):
        """weigh the same"""
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)
        return exponents.where(asked[:, None] == labels, -1e9).softmax(1)

    def wrong_mask_after_softmax(x_t, points, labels, asked, alpha_bar):
        """no longer sums to 1"""
        weights = (-(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)).softmax(1)
        return weights * ((asked[:, None] == labels) | (asked[:, None] < 0))

    def wrong_zero_for_others(x_t, points, labels, asked, alpha_bar):
        """largest there is"""
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)
        return exponents.where((asked[:, None] == labels) | (asked[:, None] < 0), 0).softmax(1)

    def wrong_label_ignored(x_t, points, labels, asked, alpha_bar):
        """ignores the label"""
        return (-(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)).softmax(1)

    def wrong_two(x_t, points, labels, asked, alpha_bar):
        """The 2 before"""
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (1 - alpha_bar)
        return exponents.where((asked[:, None] == labels) | (asked[:, None] < 0), -torch.inf).softmax(1)

    def wrong_deviation(x_t, points, labels, asked, alpha_bar):
        """twice its root"""
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 * (1 - alpha_bar).sqrt())
        return exponents.where((asked[:, None] == labels) | (asked[:, None] < 0), -torch.inf).softmax(1)

    def wrong_signal(x_t, points, labels, asked, alpha_bar):
        """*root* of ᾱ"""
        exponents = -(torch.cdist(x_t, alpha_bar * points) ** 2) / (2 - 2 * alpha_bar)
        return exponents.where((asked[:, None] == labels) | (asked[:, None] < 0), -torch.inf).softmax(1)

    def wrong_not_shrunk(x_t, points, labels, asked, alpha_bar):
        """shrunken points"""
        exponents = -(torch.cdist(x_t, points) ** 2) / (2 - 2 * alpha_bar)
        return exponents.where((asked[:, None] == labels) | (asked[:, None] < 0), -torch.inf).softmax(1)

    def wrong_stretched(x_t, points, labels, asked, alpha_bar):
        """stretches its noise"""
        exponents = -(torch.cdist(x_t / alpha_bar**0.5, points) ** 2) / (2 - 2 * alpha_bar)
        return exponents.where((asked[:, None] == labels) | (asked[:, None] < 0), -torch.inf).softmax(1)

    def wrong_not_squared(x_t, points, labels, asked, alpha_bar):
        """has their squares"""
        exponents = -torch.cdist(x_t, alpha_bar.sqrt() * points) / (2 - 2 * alpha_bar)
        return exponents.where((asked[:, None] == labels) | (asked[:, None] < 0), -torch.inf).softmax(1)

    def wrong_sign(x_t, points, labels, asked, alpha_bar):
        """farthest"""
        exponents = torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2 / (2 - 2 * alpha_bar)
        return exponents.where((asked[:, None] == labels) | (asked[:, None] < 0), -torch.inf).softmax(1)

    def right_by_the_logarithm_of_the_mask(x_t, points, labels, asked, alpha_bar):
        gaps = torch.cdist(x_t, alpha_bar.sqrt() * points, compute_mode="donot_use_mm_for_euclid_dist")
        allowed = torch.where(asked[:, None] == -1, torch.ones_like(gaps), (labels == asked[:, None]).float())
        return (allowed.log() - gaps.square() / (2 * (1 - alpha_bar))).softmax(1)

    def right_with_a_very_low_number(x_t, points, labels, asked, alpha_bar):
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)
        low = torch.finfo(exponents.dtype).min
        return exponents.masked_fill((asked[:, None] != labels) & (asked[:, None] >= 0), low).softmax(1)

    def wrong_filled_with_ten_thousand(x_t, points, labels, asked, alpha_bar):
        """not low enough"""
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)
        return exponents.masked_fill((asked[:, None] != labels) & (asked[:, None] >= 0), -1e4).softmax(1)

    def wrong_filled_with_a_million(x_t, points, labels, asked, alpha_bar):
        """not low enough"""
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)
        return exponents.where((asked[:, None] == labels) | (asked[:, None] < 0), -1e6).softmax(1)

    def wrong_ten_thousand_off(x_t, points, labels, asked, alpha_bar):
        """not enough"""
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)
        return (exponents - 1e4 * ((asked[:, None] != labels) & (asked[:, None] >= 0))).softmax(1)

    def wrong_infinity_times_mask(x_t, points, labels, asked, alpha_bar):
        """times 0 is NaN"""
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)
        other = (asked[:, None] != labels) & (asked[:, None] >= 0)
        return (exponents + other * float("-inf")).softmax(1)

    def wrong_squared_twice(x_t, points, labels, asked, alpha_bar):
        """here it is squared"""
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 * (1 - alpha_bar) ** 2)
        return exponents.where((asked[:, None] == labels) | (asked[:, None] < 0), -torch.inf).softmax(1)

    def wrong_first_question(x_t, points, labels, asked, alpha_bar):
        """row 0"""
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)
        return exponents.where((labels == asked[0]) | (asked[0] < 0), -torch.inf).softmax(1)

    def wrong_any_minus_one(x_t, points, labels, asked, alpha_bar):
        """its own question"""
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)
        if (asked == -1).any():
            return exponents.softmax(1)
        return exponents.where(asked[:, None] == labels, -torch.inf).softmax(1)

    def wrong_no_minus_one(x_t, points, labels, asked, alpha_bar):
        """No point has the label -1"""
        exponents = -(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)
        return exponents.where(asked[:, None] == labels, -torch.inf).softmax(1)

    def wrong_plain_exponentials(x_t, points, labels, asked, alpha_bar):
        """every exponential in a row is 0"""
        likely = torch.exp(-(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar))
        likely = likely * ((asked[:, None] == labels) | (asked[:, None] < 0))
        return likely / likely.sum(1, keepdim=True)

    def wrong_shared_out_with_care(x_t, points, labels, asked, alpha_bar):
        """All that is left in a row is 0"""
        weights = (-(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)).softmax(1)
        weights = weights * ((asked[:, None] == labels) | (asked[:, None] < 0))
        return weights / weights.sum(1, keepdim=True).clamp(min=1e-12)

    def wrong_shared_out_after_the_softmax(x_t, points, labels, asked, alpha_bar):
        """0 / 0: all weights that are left"""
        weights = (-(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 - 2 * alpha_bar)).softmax(1)
        weights = weights * ((asked[:, None] == labels) | (asked[:, None] < 0))
        return weights / weights.sum(1, keepdim=True)

    def wrong_nearest_takes_all(x_t, points, labels, asked, alpha_bar):
        gaps = torch.cdist(x_t, alpha_bar.sqrt() * points)
        gaps[(asked[:, None] != labels) & (asked[:, None] >= 0)] = torch.inf
        return F.one_hot(gaps.argmin(1), len(points)).float()
