"""Answers to the exercises of chapter 05: right ones, and wrong ones with words that the grader must find for them."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F

from vqdit_lite.gaussian import ddim_step as library_step


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


class ddim_step:
    def right_in_the_chapters_letters(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        signal, noise, signal_then, noise_then = (
            share.sqrt() for share in (alpha_bar, 1 - alpha_bar, alpha_bar_next, 1 - alpha_bar_next)
        )
        std = eta * noise_then / noise * (noise**2 - (signal / signal_then * noise_then) ** 2).sqrt()
        x0 = (x_t - noise * eps) / signal
        return signal_then * x0 + (noise_then**2 - std**2).clamp(min=0).sqrt() * eps + std * z

    def right_without_x0(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        alpha = alpha_bar / alpha_bar_next
        rest = (1 - alpha_bar_next) * (1 - eta**2 * (1 - alpha) / (1 - alpha_bar))
        move = rest.clamp(min=0).sqrt() - ((1 - alpha_bar) / alpha).sqrt()
        return x_t / alpha.sqrt() + move * eps + ((1 - alpha_bar_next - rest).clamp(min=0)).sqrt() * z

    def right_by_turning_the_noise(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        sine = eta * ((1 - alpha_bar / alpha_bar_next) / (1 - alpha_bar)) ** 0.5  # the fresh share of the noise
        angle = torch.asin(sine.clamp(max=1))
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next) ** 0.5 * (angle.cos() * eps + angle.sin() * z)

    def _var(alpha_bar, alpha_bar_next):
        return (1 - alpha_bar_next) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_next)

    def wrong_too_much_noise(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """must be taken off"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        std = eta * ddim_step._var(alpha_bar, alpha_bar_next) ** 0.5
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next) ** 0.5 * eps + std * z

    def wrong_deviations_subtracted(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """subtract variances"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        std = eta * ddim_step._var(alpha_bar, alpha_bar_next) ** 0.5
        return alpha_bar_next**0.5 * x0 + ((1 - alpha_bar_next) ** 0.5 - std) * eps + std * z

    def wrong_noise_of_now(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """where the step *ends*"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_next)
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar - var) ** 0.5 * eps + var**0.5 * z

    def wrong_eta_not_squared(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """has its square"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta * ddim_step._var(alpha_bar, alpha_bar_next)
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next - var) ** 0.5 * eps + var**0.5 * z

    def wrong_variance_for_deviation(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """its factor is a standard deviation"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_next)
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next - var).clamp(min=0) ** 0.5 * eps + var * z

    def wrong_step_variance(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """variance of the step forward"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * (alpha_bar_next - alpha_bar) / alpha_bar_next
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next - var).clamp(min=0) ** 0.5 * eps + var**0.5 * z

    def wrong_quotient(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """upside down"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * (1 - alpha_bar / alpha_bar_next) * (1 - alpha_bar) / (1 - alpha_bar_next)
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next - var).clamp(min=0) ** 0.5 * eps + var**0.5 * z

    def wrong_signal(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """signal of t;"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_next)
        return alpha_bar**0.5 * x0 + (1 - alpha_bar_next - var).clamp(min=0) ** 0.5 * eps + var**0.5 * z

    def wrong_x0_too_small(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """not divided by the signal"""
        x0 = x_t - (1 - alpha_bar) ** 0.5 * eps
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_next)
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next - var).clamp(min=0) ** 0.5 * eps + var**0.5 * z

    def wrong_x_t_for_x0(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """come off first"""
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_next)
        return alpha_bar_next**0.5 * x_t + (1 - alpha_bar_next - var).clamp(min=0) ** 0.5 * eps + var**0.5 * z

    def wrong_times(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """times are exchanged"""
        return ddim_step.right_without_x0(eps, x_t, alpha_bar_next, alpha_bar, eta, z)

    def wrong_all_fresh(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """Bayes' rule keeps some"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next) ** 0.5 * ((1 - eta**2) ** 0.5 * eps + eta * z)

    def wrong_never_fresh(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """no effect"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next) ** 0.5 * eps

    def wrong_always_ancestral(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """This is the ancestral step"""
        return ddim_step.right_without_x0(eps, x_t, alpha_bar, alpha_bar_next, 1.0, z)

    def wrong_own_noise(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """draws its own noise"""
        return ddim_step.right_without_x0(eps, x_t, alpha_bar, alpha_bar_next, eta, torch.randn(eps.shape))

    def wrong_eta_alone(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """multiplied by η alone"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_next)
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next - var).clamp(min=0) ** 0.5 * eps + eta * z

    def wrong_exchanged(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """are exchanged"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_next)
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next - var).clamp(min=0) ** 0.5 * z + var**0.5 * eps

    def wrong_eta_on_fresh_alone(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """more of the old is kept"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = ddim_step._var(alpha_bar, alpha_bar_next)
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next - var).clamp(min=0) ** 0.5 * eps + eta * var**0.5 * z

    def wrong_guess_without_a_root(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """divided by ᾱ"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_next)
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next - var).clamp(min=0) ** 0.5 * eps + var**0.5 * z

    def wrong_guess_without_roots(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """takes ᾱ for the signal"""
        x0 = (x_t - (1 - alpha_bar) * eps) / alpha_bar
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_next)
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next - var).clamp(min=0) ** 0.5 * eps + var**0.5 * z

    def wrong_guess_times_variance(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """multiplied by ᾱ'"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_next)
        return alpha_bar_next * x0 + (1 - alpha_bar_next - var).clamp(min=0) ** 0.5 * eps + var**0.5 * z

    def wrong_noise_squared_into_the_sum(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        var = eta**2 * ddim_step._var(alpha_bar, alpha_bar_next)
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next - var).clamp(min=0) * eps + var * z

    def wrong_fresh_for_eps(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """the variances add up"""
        x0 = (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
        return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next) ** 0.5 * ((1 - eta) * eps + eta * z)

    def wrong_hands_back(eps, x_t, alpha_bar, alpha_bar_next, eta, z):
        """calls ddim_step"""
        level, next_level = ((share.sqrt(), (1 - share).sqrt()) for share in (alpha_bar, alpha_bar_next))
        return library_step((x_t - level[1] * eps) / level[0], eps, level, next_level, eta, z)


class sample:
    def right_by_number(eps_of, x, alpha_bars, stops):
        for k in range(len(stops) - 1):
            alpha_bar, alpha_bar_next = alpha_bars[stops[k]], alpha_bars[stops[k + 1]]
            eps = eps_of(x, stops[k])
            x = (
                alpha_bar_next**0.5 * (x - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
                + (1 - alpha_bar_next) ** 0.5 * eps
            )
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

    def _step(x, eps, alpha_bar, alpha_bar_next):
        return (
            alpha_bar_next.sqrt() * (x - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()
            + (1 - alpha_bar_next).sqrt() * eps
        )

    def wrong_as_it_stands(eps_of, x, alpha_bars, stops):
        """both mistakes are still in it"""
        for i in stops:
            alpha_bar, alpha_bar_next = alpha_bars[i], alpha_bars[i - 1]
            eps = eps_of(x, i)
            x0 = (x - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()
            x = alpha_bar_next.sqrt() * x0 + (1 - alpha_bar_next).sqrt() * eps
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
            alpha_bar_next = alpha_bars[stops[k + 1]] if k + 1 < len(stops) else alpha_bars[-1]
            x = sample._step(x, eps_of(x, i), alpha_bars[i], alpha_bar_next)
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
