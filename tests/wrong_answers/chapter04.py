"""Answers to the exercises of chapter 04: right ones, and wrong ones with words that the grader must find for them."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F

from vqdit_lite.gaussian import ddim_step as library_step
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
        """p and q are exchanged"""
        a, sigma = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        p, q = a, -sigma
        return (q * x_t - sigma * v) / (a * q - sigma * p), (a * v - p * x_t) / (a * q - sigma * p)

    def wrong_p_for_q_without_denominator(v, x_t, alpha_bar):
        """p and q are exchanged"""
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


class guide:
    def right_in_papers_form(outputs, scale):
        half = len(outputs) // 2
        w = scale - 1
        return (1 + w) * outputs[half:] - w * outputs[:half]

    def right_by_lerp(outputs, scale):
        return torch.lerp(*outputs.unflatten(0, (2, -1)), scale)

    def right_as_a_sum(outputs, scale):
        pair = outputs.reshape(2, len(outputs) // 2, *outputs.shape[1:])
        return torch.einsum("k,k...->...", torch.tensor([1.0 - scale, scale]), pair)

    def wrong_one_too_much(outputs, scale):
        """starts from what is said *with*"""
        free, label = outputs.split(len(outputs) // 2)
        return (1 + scale) * label - scale * free

    def wrong_one_too_little(outputs, scale):
        """here it is s = 2"""
        free, label = outputs.split(len(outputs) // 2)
        return (scale - 1) * label + (2 - scale) * free

    def wrong_halves(outputs, scale):
        """exchanged"""
        half = len(outputs) // 2
        return outputs[half:] + scale * (outputs[:half] - outputs[half:])

    def wrong_direction(outputs, scale):
        """wrong way"""
        half = len(outputs) // 2
        return outputs[:half] + scale * (outputs[:half] - outputs[half:])

    def wrong_no_difference(outputs, scale):
        """*difference*"""
        half = len(outputs) // 2
        return outputs[:half] + scale * outputs[half:]

    def wrong_every_other(outputs, scale):
        """every other row"""
        pairs = outputs.unflatten(0, (-1, 2))
        return pairs[:, 0] + scale * (pairs[:, 1] - pairs[:, 0])

    def wrong_axis(outputs, scale):
        """first axis"""
        half = outputs.shape[-1] // 2
        return outputs[..., :half].lerp(outputs[..., half:], scale)

    def wrong_label_alone(outputs, scale):
        """as if s were 1"""
        return outputs[len(outputs) // 2 :]

    def wrong_cut_off(outputs, scale):
        """cut off"""
        half = len(outputs) // 2
        return torch.lerp(outputs[:half], outputs[half:], min(max(scale, 0), 1))

    def wrong_rounded_down(outputs, scale):
        """rounded"""
        half = len(outputs) // 2
        return torch.lerp(outputs[:half], outputs[half:], int(scale))

    def wrong_rounded(outputs, scale):
        """nearest whole number"""
        half = len(outputs) // 2
        return torch.lerp(outputs[:half], outputs[half:], round(scale))

    def wrong_difference_alone(outputs, scale):
        """without the label is missing"""
        half = len(outputs) // 2
        return scale * (outputs[half:] - outputs[:half])

    def wrong_scaled_label(outputs, scale):
        """a multiple of what is said with the label"""
        return scale * outputs[len(outputs) // 2 :]

    def wrong_never_below_one(outputs, scale):
        """as if s were 1"""
        half = len(outputs) // 2
        return torch.lerp(outputs[:half], outputs[half:], max(scale, 1))

    def wrong_mean_of_both(outputs, scale):
        return (outputs.unflatten(0, (2, -1)) * torch.tensor([1.0, scale]).view(2, 1, *[1] * (outputs.ndim - 1))).mean(
            0
        )

    def wrong_scale_written_down(outputs, scale):
        free, label = outputs.chunk(2)
        return free + 3 * (label - free)

    def wrong_in_place(outputs, scale):
        """in place"""
        free, label = outputs.chunk(2)
        return free.lerp_(label, scale)


class posterior:
    def right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_then):
        # Start from what x0 says, and move by what x_t adds, as a Kalman filter does.
        shrink = (alpha_bar / alpha_bar_then).sqrt()
        gain = shrink * (1 - alpha_bar_then) / (1 - alpha_bar)
        mean = alpha_bar_then.sqrt() * x0 + gain * (x_t - alpha_bar.sqrt() * x0)
        return mean, (1 - gain * shrink) * (1 - alpha_bar_then)

    def right_in_the_chapters_letters(x0, x_t, alpha_bar, alpha_bar_then):
        signal, noise, signal_then, noise_then = (
            share**0.5 for share in (alpha_bar, 1 - alpha_bar, alpha_bar_then, 1 - alpha_bar_then)
        )
        step_var = noise**2 - (signal / signal_then * noise_then) ** 2
        mean = signal_then * step_var / noise**2 * x0 + signal / signal_then * noise_then**2 / noise**2 * x_t
        return [mean, (noise_then / noise) ** 2 * step_var]

    def right_as_ddim_with_all_noise_fresh(x0, x_t, alpha_bar, alpha_bar_then):
        eps = (x_t - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()
        var = (1 - alpha_bar_then) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_then)
        return alpha_bar_then.sqrt() * x0 + (1 - alpha_bar_then - var).clamp(min=0).sqrt() * eps, var

    def wrong_deviation(x0, x_t, alpha_bar, alpha_bar_then):
        """standard deviation"""
        mean, var = posterior.right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_then)
        return mean, var**0.5

    def wrong_beta(x0, x_t, alpha_bar, alpha_bar_then):
        """step *forward*"""
        mean, _ = posterior.right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_then)
        return mean, (alpha_bar_then - alpha_bar) / alpha_bar_then

    def wrong_variance_of_then(x0, x_t, alpha_bar, alpha_bar_then):
        """only x0 is known"""
        mean, _ = posterior.right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_then)
        return mean, 1 - alpha_bar_then

    def wrong_alpha(x0, x_t, alpha_bar, alpha_bar_then):
        """*all* steps"""
        beta = 1 - alpha_bar
        mean = alpha_bar_then.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - alpha_bar_then) * x_t
        return mean / (1 - alpha_bar), beta * (1 - alpha_bar_then) / (1 - alpha_bar)

    def wrong_difference(x0, x_t, alpha_bar, alpha_bar_then):
        """*factor*"""
        beta = alpha_bar_then - alpha_bar
        mean = alpha_bar_then.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - alpha_bar_then) * x_t
        return mean / (1 - alpha_bar), beta * (1 - alpha_bar_then) / (1 - alpha_bar)

    def wrong_times(x0, x_t, alpha_bar, alpha_bar_then):
        """times are exchanged"""
        alpha = alpha_bar_then / alpha_bar
        mean = alpha_bar.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - alpha_bar) * x_t
        return mean / (1 - alpha_bar_then), (1 - alpha) * (1 - alpha_bar) / (1 - alpha_bar_then)

    def wrong_roots(x0, x_t, alpha_bar, alpha_bar_then):
        """are roots"""
        alpha = alpha_bar / alpha_bar_then
        beta, rest, rest_then = 1 - alpha, 1 - alpha_bar, 1 - alpha_bar_then
        return alpha_bar_then * beta / rest * x0 + alpha * rest_then / rest * x_t, beta * rest_then / rest

    def wrong_signal(x0, x_t, alpha_bar, alpha_bar_then):
        """multiplied by the signal of t"""
        alpha = alpha_bar / alpha_bar_then
        beta, rest, rest_then = 1 - alpha, 1 - alpha_bar, 1 - alpha_bar_then
        mean = alpha_bar.sqrt() * beta / rest * x0 + alpha.sqrt() * rest_then / rest * x_t
        return mean, beta * rest_then / rest

    def wrong_weights(x0, x_t, alpha_bar, alpha_bar_then):
        """weights of x0 and x_t"""
        return posterior.right_as_a_correction(x_t, x0, alpha_bar, alpha_bar_then)

    def wrong_squares(x0, x_t, alpha_bar, alpha_bar_then):
        """have their squares"""
        noise, noise_then = (1 - alpha_bar).sqrt(), (1 - alpha_bar_then).sqrt()
        step_var = 1 - alpha_bar / alpha_bar_then
        mean = alpha_bar_then**0.5 * step_var / noise * x0 + (1 - step_var).sqrt() * noise_then / noise * x_t
        return mean, noise_then / noise * step_var

    def wrong_precisions(x0, x_t, alpha_bar, alpha_bar_then):
        """At the last step 1 - ᾱ' is 0"""
        alpha = alpha_bar / alpha_bar_then
        says_x_t, says_x0 = alpha / (1 - alpha), 1 / (1 - alpha_bar_then)
        var = 1 / (says_x_t + says_x0)
        return var * (alpha.sqrt() / (1 - alpha) * x_t + alpha_bar_then.sqrt() * says_x0 * x0), var

    def wrong_quotient(x0, x_t, alpha_bar, alpha_bar_then):
        """upside down: σ'² stands above"""
        mean, _ = posterior.right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_then)
        return mean, (1 - alpha_bar / alpha_bar_then) / (1 - alpha_bar_then) * (1 - alpha_bar)

    def wrong_not_divided(x0, x_t, alpha_bar, alpha_bar_then):
        """not divided by σ²"""
        alpha, rest_then = alpha_bar / alpha_bar_then, 1 - alpha_bar_then
        mean = alpha_bar_then.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * rest_then * x_t
        return mean, (1 - alpha) * rest_then

    def wrong_order(x0, x_t, alpha_bar, alpha_bar_then):
        """The order is"""
        return posterior.right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_then)[::-1]

    def wrong_difference_of_noises(x0, x_t, alpha_bar, alpha_bar_then):
        """the step adds more than that"""
        noise, noise_then = 1 - alpha_bar, 1 - alpha_bar_then
        step, shrink = noise - noise_then, (alpha_bar / alpha_bar_then).sqrt()
        return (alpha_bar_then.sqrt() * step * x0 + shrink * noise_then * x_t) / noise, step * noise_then / noise

    def wrong_x_t_without_root(x0, x_t, alpha_bar, alpha_bar_then):
        """x_t is multiplied by the square"""
        alpha, rest, rest_then = alpha_bar / alpha_bar_then, 1 - alpha_bar, 1 - alpha_bar_then
        mean = alpha_bar_then.sqrt() * (1 - alpha) / rest * x0 + alpha * rest_then / rest * x_t
        return mean, (1 - alpha) * rest_then / rest

    def wrong_x0_without_root(x0, x_t, alpha_bar, alpha_bar_then):
        """x0 is multiplied by ᾱ'"""
        alpha, rest, rest_then = alpha_bar / alpha_bar_then, 1 - alpha_bar, 1 - alpha_bar_then
        mean = alpha_bar_then * (1 - alpha) / rest * x0 + alpha.sqrt() * rest_then / rest * x_t
        return mean, (1 - alpha) * rest_then / rest

    def wrong_root_for_alpha(x0, x_t, alpha_bar, alpha_bar_then):
        """root too many"""
        alpha, rest, rest_then = (alpha_bar / alpha_bar_then).sqrt(), 1 - alpha_bar, 1 - alpha_bar_then
        mean = alpha_bar_then.sqrt() * (1 - alpha) / rest * x0 + alpha.sqrt() * rest_then / rest * x_t
        return mean, (1 - alpha) * rest_then / rest

    def wrong_root_in_the_step(x0, x_t, alpha_bar, alpha_bar_then):
        """has a root too many"""
        shrink, rest, rest_then = (alpha_bar / alpha_bar_then).sqrt(), 1 - alpha_bar, 1 - alpha_bar_then
        mean = alpha_bar_then.sqrt() * (1 - shrink) / rest * x0 + shrink * rest_then / rest * x_t
        return mean, (1 - shrink) * rest_then / rest

    def wrong_factor_not_squared(x0, x_t, alpha_bar, alpha_bar_then):
        """is not squared"""
        shrink, rest, rest_then = (alpha_bar / alpha_bar_then).sqrt(), 1 - alpha_bar, 1 - alpha_bar_then
        step = rest - shrink * rest_then
        return alpha_bar_then.sqrt() * step / rest * x0 + shrink * rest_then / rest * x_t, step * rest_then / rest

    def wrong_upside_down(x0, x_t, alpha_bar, alpha_bar_then):
        """upside down"""
        alpha, rest, rest_then = alpha_bar_then / alpha_bar, 1 - alpha_bar, 1 - alpha_bar_then
        mean = alpha_bar_then.sqrt() * (1 - alpha) / rest * x0 + alpha.sqrt() * rest_then / rest * x_t
        return mean, (1 - alpha) * rest_then / rest

    def wrong_first_row(x0, x_t, alpha_bar, alpha_bar_then):
        """all rows"""
        return posterior.right_as_a_correction(x0, x_t, alpha_bar[0], alpha_bar_then[0])

    def wrong_sum_of_weights(x0, x_t, alpha_bar, alpha_bar_then):
        mean, var = posterior.right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_then)
        alpha = alpha_bar / alpha_bar_then
        ones = torch.ones_like(x0)
        return mean / posterior.right_as_a_correction(ones, ones * alpha.sqrt(), alpha_bar, alpha_bar_then)[0], var

    def wrong_wide_variance(x0, x_t, alpha_bar, alpha_bar_then):
        """one for each row"""
        mean, var = posterior.right_as_a_correction(x0, x_t, alpha_bar, alpha_bar_then)
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


class ddim_step:
    def right_in_the_chapters_letters(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        signal, noise, signal_then, noise_then = (
            share.sqrt() for share in (alpha_bar, 1 - alpha_bar, alpha_bar_then, 1 - alpha_bar_then)
        )
        std = eta * noise_then / noise * (noise**2 - (signal / signal_then * noise_then) ** 2).sqrt()
        x0 = (x_t - noise * eps) / signal
        return signal_then * x0 + (noise_then**2 - std**2).clamp(min=0).sqrt() * eps + std * fresh

    def right_without_x0(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        alpha = alpha_bar / alpha_bar_then
        rest = (1 - alpha_bar_then) * (1 - eta**2 * (1 - alpha) / (1 - alpha_bar))
        move = rest.clamp(min=0).sqrt() - ((1 - alpha_bar) / alpha).sqrt()
        return x_t / alpha.sqrt() + move * eps + ((1 - alpha_bar_then - rest).clamp(min=0)).sqrt() * fresh

    def right_by_turning_the_noise(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        sine = eta * ((1 - alpha_bar / alpha_bar_then) / (1 - alpha_bar)) ** 0.5  # the fresh share of the noise
        angle = torch.asin(sine.clamp(max=1))
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then) ** 0.5 * (angle.cos() * eps + angle.sin() * fresh)

    def _var(alpha_bar, alpha_bar_then):
        return (1 - alpha_bar_then) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_then)

    def wrong_too_much_noise(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """must be taken off"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        std = eta * ddim_step._var(alpha_bar, alpha_bar_then) ** 0.5
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then) ** 0.5 * eps + std * fresh

    def wrong_deviations_subtracted(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """subtract variances"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        std = eta * ddim_step._var(alpha_bar, alpha_bar_then) ** 0.5
        return alpha_bar_then**0.5 * x0 + ((1 - alpha_bar_then) ** 0.5 - std) * eps + std * fresh

    def wrong_noise_of_now(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """where the step *ends*"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_then)
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar - var) ** 0.5 * eps + var**0.5 * fresh

    def wrong_eta_not_squared(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """has its square"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta * ddim_step._var(alpha_bar, alpha_bar_then)
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then - var) ** 0.5 * eps + var**0.5 * fresh

    def wrong_variance_for_deviation(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """its factor is a standard deviation"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_then)
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then - var).clamp(min=0) ** 0.5 * eps + var * fresh

    def wrong_step_variance(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """variance of the step forward"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * (alpha_bar_then - alpha_bar) / alpha_bar_then
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then - var).clamp(min=0) ** 0.5 * eps + var**0.5 * fresh

    def wrong_quotient(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """upside down"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * (1 - alpha_bar / alpha_bar_then) * (1 - alpha_bar) / (1 - alpha_bar_then)
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then - var).clamp(min=0) ** 0.5 * eps + var**0.5 * fresh

    def wrong_signal(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """signal of t;"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_then)
        return alpha_bar**0.5 * x0 + (1 - alpha_bar_then - var).clamp(min=0) ** 0.5 * eps + var**0.5 * fresh

    def wrong_x0_too_small(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """not divided by the signal"""
        x0 = x_t - (1 - alpha_bar) ** 0.5 * eps
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_then)
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then - var).clamp(min=0) ** 0.5 * eps + var**0.5 * fresh

    def wrong_x_t_for_x0(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """come off first"""
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_then)
        return alpha_bar_then**0.5 * x_t + (1 - alpha_bar_then - var).clamp(min=0) ** 0.5 * eps + var**0.5 * fresh

    def wrong_times(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """times are exchanged"""
        return ddim_step.right_without_x0(eps, x_t, alpha_bar_then, alpha_bar, eta, fresh)

    def wrong_all_fresh(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """Bayes' rule keeps some"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then) ** 0.5 * ((1 - eta**2) ** 0.5 * eps + eta * fresh)

    def wrong_never_fresh(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """no effect"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then) ** 0.5 * eps

    def wrong_always_ancestral(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """This is the ancestral step"""
        return ddim_step.right_without_x0(eps, x_t, alpha_bar, alpha_bar_then, 1.0, fresh)

    def wrong_own_noise(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """draws its own noise"""
        return ddim_step.right_without_x0(eps, x_t, alpha_bar, alpha_bar_then, eta, torch.randn(eps.shape))

    def wrong_eta_alone(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """multiplied by η alone"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_then)
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then - var).clamp(min=0) ** 0.5 * eps + eta * fresh

    def wrong_exchanged(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """are exchanged"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_then)
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then - var).clamp(min=0) ** 0.5 * fresh + var**0.5 * eps

    def wrong_eta_on_fresh_alone(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """more of the old is kept"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = ddim_step._var(alpha_bar, alpha_bar_then)
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then - var).clamp(min=0) ** 0.5 * eps + eta * var**0.5 * fresh

    def wrong_guess_without_a_root(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """divided by ᾱ"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_then)
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then - var).clamp(min=0) ** 0.5 * eps + var**0.5 * fresh

    def wrong_guess_without_roots(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """takes ᾱ for the signal"""
        x0 = (x_t - (1 - alpha_bar) * eps) / alpha_bar
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_then)
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then - var).clamp(min=0) ** 0.5 * eps + var**0.5 * fresh

    def wrong_guess_times_variance(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """multiplied by ᾱ'"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_then)
        return alpha_bar_then * x0 + (1 - alpha_bar_then - var).clamp(min=0) ** 0.5 * eps + var**0.5 * fresh

    def wrong_noise_squared_into_the_sum(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_then)
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then - var).clamp(min=0) * eps + var * fresh

    def wrong_fresh_for_eps(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """the variances add up"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        return alpha_bar_then**0.5 * x0 + (1 - alpha_bar_then) ** 0.5 * ((1 - eta) * eps + eta * fresh)

    def wrong_hands_back(eps, x_t, alpha_bar, alpha_bar_then, eta, fresh):
        """calls ddim_step"""
        now, then = (alpha_bar.sqrt(), (1 - alpha_bar).sqrt()), (alpha_bar_then.sqrt(), (1 - alpha_bar_then).sqrt())
        return library_step((x_t - now[1] * eps) / now[0], eps, now, then, eta, fresh)


class sample:
    def right_by_number(eps_of, x, alpha_bars, stops):
        for k in range(len(stops) - 1):
            now, then = alpha_bars[stops[k]], alpha_bars[stops[k + 1]]
            eps = eps_of(x, stops[k])
            x = then**0.5 * (x - (1 - now) ** 0.5 * eps) / now**0.5 + (1 - then) ** 0.5 * eps
        return x

    def right_as_a_step_along_the_slope(eps_of, x, alpha_bars, stops):
        signal, noise = alpha_bars.sqrt(), (1 - alpha_bars).sqrt()
        for i, j in zip(stops, stops[1:], strict=False):
            ratio = signal[j] / signal[i]
            x = ratio * x + (noise[j] - ratio * noise[i]) * eps_of(x, i)
        return x

    def right_by_recursion(eps_of, x, alpha_bars, stops):
        if len(stops) == 1:
            return x
        i, j, *_ = stops
        eps = eps_of(x, i)
        x0 = (x - (1 - alpha_bars[i]).sqrt() * eps) / alpha_bars[i].sqrt()
        x = alpha_bars[j].sqrt() * x0 + (1 - alpha_bars[j]).sqrt() * eps
        return sample.right_by_recursion(eps_of, x, alpha_bars, stops[1:])

    def _step(x, eps, now, then):
        return then.sqrt() * (x - (1 - now).sqrt() * eps) / now.sqrt() + (1 - then).sqrt() * eps

    def wrong_as_it_stands(eps_of, x, alpha_bars, stops):
        """both mistakes are still in it"""
        for i in stops:
            now, then = alpha_bars[i], alpha_bars[i - 1]
            eps = eps_of(x, i)
            x0 = (x - (1 - now).sqrt() * eps) / now.sqrt()
            x = then.sqrt() * x0 + (1 - then).sqrt() * eps
        return x

    def wrong_neighbour(eps_of, x, alpha_bars, stops):
        """down by one entry"""
        for i in stops:
            if i > stops[-1]:
                x = sample._step(x, eps_of(x, i), alpha_bars[i], alpha_bars[i - 1])
        return x

    def wrong_empties_the_list(eps_of, x, alpha_bars, stops):
        """changes its argument stops in place"""
        i = stops.pop(0)
        while stops:
            j = stops.pop(0)
            x, i = sample._step(x, eps_of(x, i), alpha_bars[i], alpha_bars[j]), j
        return x

    def wrong_asks_twice(eps_of, x, alpha_bars, stops):
        """8 times for 4 steps"""
        for i, j in pairwise(stops):
            x0 = (x - (1 - alpha_bars[i]).sqrt() * eps_of(x, i)) / alpha_bars[i].sqrt()
            x = alpha_bars[j].sqrt() * x0 + (1 - alpha_bars[j]).sqrt() * eps_of(x, i)
        return x

    def wrong_asks_once_more(eps_of, x, alpha_bars, stops):
        """5 times for 4 steps"""
        eps = eps_of(x, stops[0])
        for i, j in pairwise(stops):
            x = sample._step(x, eps, alpha_bars[i], alpha_bars[j])
            eps = eps_of(x, j)
        return x

    def wrong_on_to_zero(eps_of, x, alpha_bars, stops):
        """goes on to 0"""
        for i, j in pairwise(stops if stops[-1] == 0 else [*stops, 0]):
            x = sample._step(x, eps_of(x, i), alpha_bars[i], alpha_bars[j])
        return x

    def wrong_waits_at_the_end(eps_of, x, alpha_bars, stops):
        """At the last stop the walk is over"""
        for i, j in pairwise([*stops, stops[-1]]):
            x = sample._step(x, eps_of(x, i), alpha_bars[i], alpha_bars[j])
        return x

    def wrong_neighbour_but_not_below_zero(eps_of, x, alpha_bars, stops):
        """down by one entry"""
        for i in stops:
            x = sample._step(x, eps_of(x, i), alpha_bars[i], alpha_bars[max(i - 1, 0)])
        return x

    def wrong_even_jumps(eps_of, x, alpha_bars, stops):
        """evenly spaced"""
        jump = stops[0] - stops[1]
        for i in stops[:-1]:
            x = sample._step(x, eps_of(x, i), alpha_bars[i], alpha_bars[i - jump])
        return x

    def wrong_even_jumps_to_zero(eps_of, x, alpha_bars, stops):
        """evenly spaced"""
        jump = stops[0] - stops[1]
        for i in stops:
            x = sample._step(x, eps_of(x, i), alpha_bars[i], alpha_bars[max(i - jump, 0)])
        return x

    def wrong_same_eps_all_the_way(eps_of, x, alpha_bars, stops):
        eps = eps_of(x, stops[0])
        for i, j in pairwise(stops):
            x = sample._step(x, eps, alpha_bars[i], alpha_bars[j])
        return x

    def wrong_one_too_many(eps_of, x, alpha_bars, stops):
        """a step too many"""
        for k, i in enumerate(stops):
            then = alpha_bars[stops[k + 1]] if k + 1 < len(stops) else alpha_bars[-1]
            x = sample._step(x, eps_of(x, i), alpha_bars[i], then)
        return x

    def wrong_not_arrived(eps_of, x, alpha_bars, stops):
        """last step is left out"""
        for k in range(len(stops) - 2):
            x = sample._step(x, eps_of(x, stops[k]), alpha_bars[stops[k]], alpha_bars[stops[k + 1]])
        return x

    def wrong_ends(eps_of, x, alpha_bars, stops):
        """ends of each step are exchanged"""
        for i, j in pairwise(stops):
            x = sample._step(x, eps_of(x, j), alpha_bars[j], alpha_bars[i])
        return x

    def wrong_question(eps_of, x, alpha_bars, stops):
        """x is still at the stop before"""
        for i, j in pairwise(stops):
            x = sample._step(x, eps_of(x, j), alpha_bars[i], alpha_bars[j])
        return x

    def wrong_guess_at_the_end(eps_of, x, alpha_bars, stops):
        """guess of x0"""
        for i, j in pairwise(stops):
            eps = eps_of(x, i)
            x0 = (x - (1 - alpha_bars[i]).sqrt() * eps) / alpha_bars[i].sqrt()
            x = alpha_bars[j].sqrt() * x0 + (1 - alpha_bars[j]).sqrt() * eps
        return x0

    def wrong_noise(eps_of, x, alpha_bars, stops):
        """stop where the step begins"""
        for i, j in pairwise(stops):
            eps = eps_of(x, i)
            x = alpha_bars[j].sqrt() * (x - (1 - alpha_bars[i]).sqrt() * eps) / alpha_bars[i].sqrt()
            x = x + (1 - alpha_bars[i]).sqrt() * eps
        return x

    def wrong_upwards(eps_of, x, alpha_bars, stops):
        for i, j in pairwise(sorted(stops)):
            x = sample._step(x, eps_of(x, i), alpha_bars[i], alpha_bars[j])
        return x

    def wrong_old_x(eps_of, x, alpha_bars, stops):
        for i, j in pairwise(stops):
            out = sample._step(x, eps_of(x, i), alpha_bars[i], alpha_bars[j])
        return out


class undecided:
    def right_with_one_hot(x_t, points, labels, alpha_bar):
        weights = (-(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 * (1 - alpha_bar))).softmax(1)
        of_labels = weights @ F.one_hot(labels).to(weights)

        def bits(p):
            return -(p * p.clamp(min=1e-30).log2()).sum(1).mean()

        return bits(of_labels), bits(weights)

    def right_row_by_row(x_t, points, labels, alpha_bar):
        totals = [0.0, 0.0]
        for x in x_t:
            gaps = ((x - alpha_bar.sqrt() * points) ** 2).sum(1) / (2 * (1 - alpha_bar))
            weights = (gaps.min() - gaps).exp()
            weights = (weights / weights.sum()).tolist()
            of_labels = {}
            for weight, label in zip(weights, labels.tolist(), strict=True):
                of_labels[label] = of_labels.get(label, 0) + weight
            for k, shares in enumerate((of_labels.values(), weights)):
                totals[k] -= sum(p * math.log2(p) for p in shares if p > 0) / len(x_t)
        return totals

    def right_with_distributions(x_t, points, labels, alpha_bar):
        logits = torch.distributions.Normal(alpha_bar.sqrt() * points, (1 - alpha_bar).sqrt())
        logits = logits.log_prob(x_t[:, None]).sum(-1)
        weights = logits.softmax(1)
        of_labels = torch.stack([weights[:, labels == k].sum(1) for k in range(labels.max() + 1)], 1)
        entropies = [torch.distributions.Categorical(probs=p).entropy() / math.log(2) for p in (of_labels, weights)]
        return tuple(entropy.mean().item() for entropy in entropies)

    def _shares(x_t, points, labels, alpha_bar):
        weights = (-(torch.cdist(x_t, alpha_bar.sqrt() * points) ** 2) / (2 * (1 - alpha_bar))).softmax(1)
        return weights @ F.one_hot(labels).to(weights), weights

    def _bits(p):
        return -(p * p.clamp(min=1e-30).log2()).sum(-1)

    def wrong_nats(x_t, points, labels, alpha_bar):
        """base 2"""
        return [
            -(p * p.clamp(min=1e-30).log()).sum(1).mean() for p in undecided._shares(x_t, points, labels, alpha_bar)
        ]

    def wrong_entropy_of_the_mean(x_t, points, labels, alpha_bar):
        """each row"""
        return [undecided._bits(p.mean(0)) for p in undecided._shares(x_t, points, labels, alpha_bar)]

    def wrong_sum(x_t, points, labels, alpha_bar):
        """sum over the batch"""
        return [undecided._bits(p).sum() for p in undecided._shares(x_t, points, labels, alpha_bar)]

    def wrong_rows(x_t, points, labels, alpha_bar):
        """their mean was asked for"""
        return [undecided._bits(p) for p in undecided._shares(x_t, points, labels, alpha_bar)]

    def wrong_mean_of_everything(x_t, points, labels, alpha_bar):
        """their terms must be added"""
        return [-(p * p.clamp(min=1e-30).log2()).mean() for p in undecided._shares(x_t, points, labels, alpha_bar)]

    def wrong_order(x_t, points, labels, alpha_bar):
        """The order is"""
        of_labels, weights = undecided._shares(x_t, points, labels, alpha_bar)
        return undecided._bits(weights).mean(), undecided._bits(of_labels).mean()

    def wrong_sign(x_t, points, labels, alpha_bar):
        """minus is missing"""
        return [-undecided._bits(p).mean() for p in undecided._shares(x_t, points, labels, alpha_bar)]

    def wrong_logarithm_first(x_t, points, labels, alpha_bar):
        """*before* the logarithm"""
        _, weights = undecided._shares(x_t, points, labels, alpha_bar)
        terms = -(weights * weights.clamp(min=1e-30).log2())
        return (terms @ F.one_hot(labels).to(terms)).sum(1).mean(), terms.sum(1).mean()

    def wrong_mean_within_a_label(x_t, points, labels, alpha_bar):
        """not their mean"""
        _, weights = undecided._shares(x_t, points, labels, alpha_bar)
        of_labels = torch.stack([weights[:, labels == k].mean(1) for k in range(labels.max() + 1)], 1)
        return undecided._bits(of_labels).mean(), undecided._bits(weights).mean()

    def wrong_largest_within_a_label(x_t, points, labels, alpha_bar):
        """not the largest"""
        _, weights = undecided._shares(x_t, points, labels, alpha_bar)
        of_labels = torch.stack([(weights * (labels == k)).max(1).values for k in range(labels.max() + 1)], 1)
        return undecided._bits(of_labels).mean(), undecided._bits(weights).mean()

    def wrong_mean_made_to_sum_to_1(x_t, points, labels, alpha_bar):
        """no division"""
        _, weights = undecided._shares(x_t, points, labels, alpha_bar)
        of_labels = torch.stack([weights[:, labels == k].mean(1) for k in range(labels.max() + 1)], 1)
        of_labels = of_labels / of_labels.sum(1, keepdim=True)
        return undecided._bits(of_labels).mean(), undecided._bits(weights).mean()

    def wrong_last_label(x_t, points, labels, alpha_bar):
        """last label is left out"""
        _, weights = undecided._shares(x_t, points, labels, alpha_bar)
        of_labels = torch.stack([weights[:, labels == k].sum(1) for k in range(labels.max())], 1)
        return undecided._bits(of_labels).mean(), undecided._bits(weights).mean()

    def wrong_share_of_the_largest(x_t, points, labels, alpha_bar):
        """largest possible entropy"""
        return [
            undecided._bits(p).mean() / math.log2(p.shape[1]) for p in undecided._shares(x_t, points, labels, alpha_bar)
        ]

    def wrong_zero_times_infinity(x_t, points, labels, alpha_bar):
        """Zero times minus infinity"""
        return [-(p * p.log2()).sum(1).mean() for p in undecided._shares(x_t, points, labels, alpha_bar)]

    def wrong_surest(x_t, points, labels, alpha_bar):
        return [1 - p.amax(1).mean() for p in undecided._shares(x_t, points, labels, alpha_bar)]

    def wrong_counts_of_labels(x_t, points, labels, alpha_bar):
        _, weights = undecided._shares(x_t, points, labels, alpha_bar)
        share = torch.bincount(labels) / len(labels)
        return undecided._bits(share), undecided._bits(weights).mean()

    def wrong_perplexity(x_t, points, labels, alpha_bar):
        """perplexities"""
        return [2 ** undecided._bits(p).mean() for p in undecided._shares(x_t, points, labels, alpha_bar)]
