"""Answers to the exercises of chapter 03: right ones, and wrong ones with words that the grader must find for them."""

import math

import numpy as np
import torch

from vqdit_lite.schedule import cosine, ddpm
from vqdit_lite.schedule import stratified_times as spread


class corrupt:
    def right_with_a_view(x0, alpha_bar, eps):
        a = alpha_bar.reshape(len(x0), *(1 for _ in x0.shape[1:]))
        return a**0.5 * x0 + (1 - a) ** 0.5 * eps

    def right_from_the_last_axis(x0, alpha_bar, eps):
        mixed = alpha_bar.sqrt() * x0.transpose(0, -1) + (1 - alpha_bar).sqrt() * eps.transpose(0, -1)
        return mixed.transpose(0, -1)

    def right_one_by_one(x0, alpha_bar, eps):
        rows = zip(x0, alpha_bar.tolist(), eps, strict=True)
        return torch.stack([math.sqrt(a) * x + math.sqrt(1 - a) * e for x, a, e in rows])

    def right_as_a_product(x0, alpha_bar, eps):
        return torch.einsum("b,b...->b...", alpha_bar.sqrt(), x0) + torch.einsum(
            "b,b...->b...", (1 - alpha_bar).sqrt(), eps
        )

    def wrong_no_roots(x0, alpha_bar, eps):
        """shares of the *variance*"""
        return torch.einsum("b,b...->b...", alpha_bar, x0 - eps) + eps

    def wrong_variance_of_the_noise(x0, alpha_bar, eps):
        """ε is multiplied by the variance"""
        a = alpha_bar.reshape(len(x0), *[1] * (x0.ndim - 1))
        return a**0.5 * x0 + (1 - a) * eps

    def wrong_alpha_bar_for_its_root(x0, alpha_bar, eps):
        """x0 is multiplied by ᾱ"""
        a = alpha_bar.reshape(len(x0), *[1] * (x0.ndim - 1))
        return a * x0 + (1 - a) ** 0.5 * eps

    def wrong_straight_line(x0, alpha_bar, eps):
        """*squares* that add up to 1"""
        a = alpha_bar.sqrt().reshape(len(x0), *[1] * (x0.ndim - 1))
        return eps + a * (x0 - eps)

    def wrong_swapped(x0, alpha_bar, eps):
        """changed places"""
        a = alpha_bar.reshape(len(x0), *[1] * (x0.ndim - 1))
        return a.sqrt() * eps + (1 - a).sqrt() * x0

    def wrong_axis(x0, alpha_bar, eps):
        """last axis"""
        return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps

    def wrong_vectors_only(x0, alpha_bar, eps):
        """two axes only"""
        a = alpha_bar.unsqueeze(1)
        return a.sqrt() * x0 + (1 - a).sqrt() * eps

    def wrong_pictures_only(x0, alpha_bar, eps):
        """four axes only"""
        a = alpha_bar[:, None, None, None]
        return a.sqrt() * x0 + (1 - a).sqrt() * eps

    def wrong_fresh_noise(x0, alpha_bar, eps):
        """ε is handed in"""
        a = alpha_bar.reshape(len(x0), *[1] * (x0.ndim - 1))
        return a.sqrt() * x0 + (1 - a).sqrt() * torch.randn(x0.shape)

    def wrong_squares(x0, alpha_bar, eps):
        a = alpha_bar.reshape(len(x0), *[1] * (x0.ndim - 1))
        return a**2 * x0 + (1 - a**2) * eps

    def wrong_signal_is_alpha_bar(x0, alpha_bar, eps):
        """the variance is kept"""
        a = alpha_bar.reshape(len(x0), *[1] * (x0.ndim - 1))
        return a * x0 + torch.sqrt((1 - a) * (1 + a)) * eps

    def wrong_one_axis_more(x0, alpha_bar, eps):
        """one axis more"""
        a = alpha_bar.reshape(-1, *[1 for _ in x0.shape])
        return a.sqrt() * x0 + (1 - a).sqrt() * eps

    def wrong_flat(x0, alpha_bar, eps):
        """flattened"""
        a = alpha_bar[:, None]
        return a.sqrt() * x0.reshape(len(x0), -1) + (1 - a).sqrt() * eps.reshape(len(x0), -1)

    def wrong_noise_at_full_strength(x0, alpha_bar, eps):
        """not multiplied by anything"""
        return eps + alpha_bar.sqrt().reshape(len(x0), *[1] * (x0.ndim - 1)) * x0

    def wrong_in_place(x0, alpha_bar, eps):
        """in place"""
        a = alpha_bar.reshape(len(x0), *[1] * (x0.ndim - 1))
        return x0.mul_(a.sqrt()).add_((1 - a).sqrt() * eps)


class snr:
    def right_of_the_squares(signal, noise):
        ratio = signal**2 / noise**2
        return ratio, ratio.log()

    def right_by_the_share(signal, noise):
        share = signal**2 / (signal**2 + noise**2)
        return share / (1 - share), torch.logit(share)

    def right_as_a_list(signal, noise):
        log = signal.square().log() - noise.square().log()
        return [log.exp(), log]

    def wrong_not_squared(signal, noise):
        """quotients of standard deviations"""
        ratio = signal / noise
        return ratio, torch.log(ratio)

    def wrong_half_the_logarithm(signal, noise):
        """half of what is asked for"""
        return torch.pow(signal / noise, 2), signal.log() - noise.log()

    def wrong_upside_down(signal, noise):
        """on its head"""
        ratio = noise.square() / signal.square()
        return ratio, ratio.log()

    def wrong_variance_preserved(signal, noise):
        """Not every schedule preserves"""
        ratio = signal.square() / (1 - signal.square())
        return ratio, ratio.log()

    def wrong_signal_for_alpha_bar(signal, noise):
        """in the place of ᾱ"""
        return signal / (1 - signal), torch.logit(signal)

    def wrong_base(signal, noise):
        """base 10"""
        ratio = signal.square() / noise.square()
        return ratio, torch.log10(ratio)

    def wrong_decibels(signal, noise):
        """decibels"""
        return signal.square() / noise.square(), 20 * torch.log10(signal / noise)

    def wrong_order(signal, noise):
        """The ratio itself comes first"""
        ratio = signal.square() / noise.square()
        return ratio.log(), ratio

    def wrong_ratio_alone(signal, noise):
        """the SNR alone"""
        return signal.square() / noise.square()

    def wrong_small_number_added(signal, noise):
        """an infinite ratio"""
        ratio = signal**2 / (noise**2 + 1e-12)
        return ratio, ratio.log()

    def wrong_share_and_odds(signal, noise):
        """a share of the variance"""
        share = signal**2 / (signal**2 + noise**2)
        return share, torch.logit(share)

    def wrong_one_added(signal, noise):
        """1 + SNR"""
        ratio = signal**2 / noise**2
        return ratio, torch.log(1 + ratio)

    def wrong_noise_not_squared(signal, noise):
        """the noise is not"""
        ratio = signal.square() / noise
        return ratio, ratio.log()

    def wrong_variances_squared_again(signal, noise):
        ratio = (signal / noise) ** 4
        return ratio, ratio.log()

    def wrong_logarithm_alone(signal, noise):
        """the logarithm alone"""
        return 2 * torch.log(signal / noise)


class alpha_bars:
    def right_in_a_loop(steps, first, last):
        kept = [1.0]
        for i in range(steps):
            beta = (first + (last - first) * i / (steps - 1)) * 1000 / steps
            kept.append(kept[-1] * (1 - min(beta, 0.999)))
        return torch.tensor(kept)

    def right_by_logarithms(steps, first, last):
        scale = 1000 / steps
        betas = torch.linspace(scale * first, scale * last, steps, dtype=torch.float64).clamp(max=0.999)
        return torch.cat([torch.zeros(1), torch.log1p(-betas).cumsum(0)]).exp()

    def right_with_a_step_that_does_nothing(steps, first, last):
        betas = torch.zeros(steps + 1)
        betas[1:] = torch.linspace(first, last, steps) * (1000 / steps)
        return torch.cumprod(1 - torch.minimum(betas, torch.tensor(0.999)), 0)

    def wrong_unscaled(steps, first, last):
        """meant for 1,000 steps"""
        kept = (1 - torch.linspace(first, last, steps)).tolist()
        return torch.tensor([math.prod(kept[:i]) for i in range(steps + 1)])

    def wrong_scaled_down(steps, first, last):
        """upside down"""
        betas = torch.cat([torch.zeros(1), torch.linspace(first, last, steps) * steps / 1000])
        return (1 - betas).cumprod(0)

    def wrong_product_of_betas(steps, first, last):
        """product of the β"""
        betas = (torch.linspace(first, last, steps) * 1000 / steps).clamp(max=0.999)
        return torch.cat([torch.ones(1), torch.cumprod(betas, 0)])

    def wrong_sum(steps, first, last):
        """are summed up"""
        betas = torch.cat([torch.zeros(1), torch.linspace(first, last, steps) * 1000 / steps])
        return 1 - betas.clamp(max=0.999).cumsum(0)

    def wrong_exponential(steps, first, last):
        """near only for small"""
        betas = torch.cat([torch.zeros(1), torch.linspace(first, last, steps) * 1000 / steps])
        return torch.exp(-torch.cumsum(betas.clamp(max=0.999), 0))

    def wrong_signal(steps, first, last):
        """The root is taken"""
        betas = torch.cat([torch.zeros(1), torch.linspace(first, last, steps) * 1000 / steps])
        return (1 - betas.clamp(max=0.999)).sqrt().cumprod(0)

    def wrong_no_start(steps, first, last):
        """before the first step, 1, is missing"""
        return torch.cumprod(1 - (torch.linspace(first, last, steps) * 1000 / steps).clamp(max=0.999), 0)

    def wrong_one_step_too_many(steps, first, last):
        """off by one"""
        betas = torch.linspace(first, last, steps + 1) * 1000 / steps
        return torch.cumprod(1 - betas.clamp(max=0.999), 0)

    def wrong_last_step_lost(steps, first, last):
        """pushes"""
        kept = torch.cumprod(1 - (torch.linspace(first, last, steps) * 1000 / steps).clamp(max=0.999), 0)
        return torch.cat([torch.ones(1), kept[:-1]])

    def wrong_no_cap(steps, first, last):
        """ᾱ turns negative"""
        betas = torch.cat([torch.zeros(1), torch.linspace(first, last, steps) * 1000 / steps])
        return (1 - betas).cumprod(0)

    def wrong_some_of_a_thousand(steps, first, last):
        """some of the ᾱ of 1,000 steps"""
        kept = torch.cat([torch.ones(1), (1 - torch.linspace(first, last, 1000)).cumprod(0)])
        return kept[torch.linspace(0, 1000, steps + 1).round().long()]

    def wrong_hands_back(steps, first, last):
        """calls ddpm"""
        return ddpm(steps, first, last).alpha_bar(torch.arange(steps + 1) / steps)

    def wrong_line_too_short(steps, first, last):
        """stops short"""
        betas = [(first + (last - first) * i / steps) * 1000 / steps for i in range(steps)]
        kept = [1 - min(beta, 0.999) for beta in betas]
        return torch.tensor([math.prod(kept[:i]) for i in range(steps + 1)])

    def wrong_capped_before_scaling(steps, first, last):
        """After the scaling"""
        betas = torch.linspace(first, last, steps).clamp(max=0.999) * 1000 / steps
        return torch.cat([torch.ones(1), torch.cumprod(1 - betas, 0)])

    def wrong_capped_at_one(steps, first, last):
        """The cap lies above 0.999"""
        kept = (1 - torch.linspace(first, last, steps) * 1000 / steps).clamp(min=0)
        return torch.cat([torch.ones(1), torch.cumprod(kept, 0)])

    def wrong_line_to_the_cap(steps, first, last):
        """`last` alone is capped"""
        betas = torch.linspace(first * 1000 / steps, min(0.999, last * 1000 / steps), steps)
        return torch.cat([torch.ones(1), torch.cumprod(1 - betas, 0)])

    def wrong_raised_to_the_cap(steps, first, last):
        """at most 0.999"""
        betas = (torch.linspace(first, last, steps) * 1000 / steps).clamp(0.999)
        return torch.cat([torch.ones(1), torch.cumprod(1 - betas, 0)])

    def wrong_factor_written_down(steps, first, last):
        """the factor of 50 steps"""
        betas = torch.linspace(20 * first, 20 * last, steps).clamp(max=0.999)
        return torch.cat([torch.ones(1), torch.cumprod(1 - betas, 0)])

    def wrong_whole_factor(steps, first, last):
        """a whole number"""
        betas = torch.linspace(first, last, steps) * (1000 // steps)
        return torch.cat([torch.ones(1), torch.cumprod(1 - betas.clamp(max=0.999), 0)])

    def wrong_many_steps_in_one(steps, first, last):
        """would do together"""
        kept = (1 - torch.linspace(first, last, steps)) ** (1000 / steps)
        return torch.cat([torch.ones(1), torch.cumprod(kept, 0)])

    def wrong_start_at_the_end(steps, first, last):
        """stands at the end"""
        betas = (torch.linspace(first, last, steps) * 1000 / steps).clamp(max=0.999)
        return torch.cat([torch.cumprod(1 - betas, 0), torch.ones(1)])

    def wrong_line_too_late(steps, first, last):
        """starts too late"""
        betas = torch.linspace(first, last, steps + 1)[1:] * 1000 / steps
        return torch.cat([torch.ones(1), torch.cumprod(1 - betas.clamp(max=0.999), 0)])

    def wrong_capped_too_late(steps, first, last):
        """Cap the β"""
        betas = torch.cat([torch.zeros(1), torch.linspace(first, last, steps) * 1000 / steps])
        return torch.relu((1 - betas).cumprod(0))

    def wrong_line_of_standard_deviations(steps, first, last):
        betas = torch.linspace(first**0.5, last**0.5, steps).square() * 1000 / steps
        return torch.cat([torch.ones(1), (1 - betas.clamp(max=0.999)).cumprod(0)])

    def wrong_written_down(steps, first, last):
        """number written down"""
        betas = torch.linspace(first, last, 50) * 20
        return torch.cat([torch.ones(1), (1 - betas).cumprod(0)])


class zero_terminal_snr:
    def right_with_a_number(alpha_bar, t):
        left = math.sqrt(alpha_bar(torch.tensor(1.0)).item())
        return ((torch.sqrt(alpha_bar(t)) - left) / (1 - left)) ** 2

    def right_as_a_line(alpha_bar, t):
        left = alpha_bar(torch.ones(1))[0] ** 0.5
        return (1 - (1 - alpha_bar(t) ** 0.5) / (1 - left)).square()

    def right_with_plain_numbers(alpha_bar, t):
        root = alpha_bar(t).sqrt()
        first, last = alpha_bar(0.0) ** 0.5, alpha_bar(1.0) ** 0.5
        return (first * (root - last) / (first - last)) ** 2

    def wrong_alpha_bar_for_its_root(alpha_bar, t):
        """ᾱ itself is shifted and stretched"""
        left = alpha_bar(torch.ones(()))
        return (alpha_bar(t) - left) / (1 - left)

    def wrong_root_left(alpha_bar, t):
        """ᾱ' is its square"""
        left = alpha_bar(torch.ones(())) ** 0.5
        return (alpha_bar(t) ** 0.5 - left) / (1 - left)

    def wrong_first_value_changed(alpha_bar, t):
        """shifted but not stretched"""
        return (alpha_bar(t) ** 0.5 - alpha_bar(torch.ones(())) ** 0.5) ** 2

    def wrong_end_cut_off(alpha_bar, t):
        """a cliff"""
        return alpha_bar(t) * (t < 1)

    def wrong_last_value_left(alpha_bar, t):
        """stretched but not shifted"""
        return alpha_bar(t) / (1 - alpha_bar(torch.ones(())) ** 0.5) ** 2

    def wrong_mixed_roots(alpha_bar, t):
        """stretched by 1 - ᾱ(1)"""
        left = alpha_bar(torch.ones(()))
        return ((alpha_bar(t) ** 0.5 - left**0.5) / (1 - left)) ** 2

    def wrong_last_time_asked(alpha_bar, t):
        """the latest of the times"""
        root = alpha_bar(t) ** 0.5
        return ((root - root.min()) / (1 - root.min())) ** 2

    def wrong_from_first_to_last_time_asked(alpha_bar, t):
        """stretches the times asked for"""
        root = alpha_bar(t).sqrt()
        return torch.square((root - root.amin()) / (root.amax() - root.amin()))

    def wrong_last_of_the_list(alpha_bar, t):
        """the latest of the times"""
        root = alpha_bar(t) ** 0.5
        return ((root - root[-1]) / (1 - root[-1])) ** 2

    def wrong_start_asked_for(alpha_bar, t):
        """the earliest of the times"""
        root, left = alpha_bar(t).sqrt(), alpha_bar(torch.ones(())).sqrt()
        return ((root - left) / (root.flatten()[0] - left)).square()

    def wrong_one_time_longer(alpha_bar, t):
        """t is a single number"""
        left = alpha_bar(torch.ones(1)).sqrt()
        return ((alpha_bar(t).sqrt() - left) / (1 - left)).square()

    def wrong_no_brackets(alpha_bar, t):
        """Only what is left is divided"""
        left = alpha_bar(torch.ones(())) ** 0.5
        return (alpha_bar(t) ** 0.5 - left / (1 - left)) ** 2

    def wrong_root_forgotten(alpha_bar, t):
        """Before the square"""
        left = alpha_bar(torch.ones(()))
        return torch.square((alpha_bar(t) - left) / (1 - left))

    def wrong_number_of_another_schedule(alpha_bar, t):
        """what DDPM's schedule leaves"""
        return ((alpha_bar(t) ** 0.5 - 0.0064) / (1 - 0.0064)) ** 2

    def wrong_what_is_left_at_the_start(alpha_bar, t):
        """at t = 0, where it is all"""
        left = alpha_bar(torch.zeros(())).sqrt()
        return ((alpha_bar(t).sqrt() - left) / (1 - left)).square()

    def wrong_ramp(alpha_bar, t):
        return (alpha_bar(t).sqrt() - t * alpha_bar(torch.ones(())).sqrt()) ** 2


class stratified_times:
    def right_written_out(n, generator):
        u = torch.rand((), generator=generator).item()
        return torch.tensor([math.modf(u + b / n)[0] for b in range(n)])

    def right_in_a_random_order(n, generator):
        order = torch.randperm(n, generator=generator)
        return (order + torch.rand(1, generator=generator)) / n

    def right_with_the_ends_left_out(n, generator):
        t = torch.linspace(0, 1, n + 1)[:-1] + torch.empty(1).uniform_(generator=generator)
        return torch.where(t >= 1, t - 1, t).clamp(1e-6, 1 - 1e-6)

    def right_as_an_array(n, generator):
        u = torch.rand(1, generator=generator, dtype=torch.float64).numpy()
        return (u + np.arange(n) / n) % 1

    def wrong_in_order(n, generator):
        """within one gap of each other"""
        return torch.sort((torch.rand(1, generator=generator) + torch.arange(n) / n) % 1)[0]

    def wrong_order_from_elsewhere(n, generator):
        """elsewhere than from the generator"""
        return (torch.rand(1, generator=generator) + torch.randperm(n) / n) % 1

    def wrong_begins_anew(n, generator):
        """at each draw"""
        generator.manual_seed(generator.initial_seed())
        return (torch.rand(1, generator=generator) + torch.arange(n) / n) % 1

    def wrong_each_on_its_own(n, generator):
        """Each time is drawn on its own"""
        return torch.empty(n).uniform_(generator=generator)

    def wrong_each_part_on_its_own(n, generator):
        """Each part of the time"""
        u = torch.rand(n, generator=generator)
        return torch.arange(n) / n + u / n

    def wrong_always_in_order(n, generator):
        """within one gap of each other"""
        u = torch.rand(1, generator=generator)
        return torch.arange(n) / n + u / n

    def wrong_over_the_end(n, generator):
        """at the other end"""
        return torch.arange(n) / n + torch.rand((), generator=generator)

    def wrong_piled_up(n, generator):
        """piles up"""
        return torch.minimum(torch.arange(n) / n + torch.rand((), generator=generator), torch.ones(1))

    def wrong_one_part_left_out(n, generator):
        """which are the same"""
        return torch.remainder(torch.linspace(0, 1, n) + torch.rand((), generator=generator), 1)

    def wrong_own_state(n, generator):
        """elsewhere than from the generator"""
        u = torch.rand(())
        return torch.remainder(u + torch.arange(n) / n, 1)

    def wrong_own_seed(n, generator):
        """do not seed it"""
        u = torch.rand(1, generator=torch.Generator().manual_seed(0))
        return torch.remainder(u + torch.arange(n) / n, 1)

    def wrong_no_chance(n, generator):
        """The same times come"""
        return (torch.arange(n) + 0.5) / n

    def wrong_order_alone(n, generator):
        """never meets those in between"""
        return torch.rand(n, generator=generator).argsort() / n

    def wrong_half_of_the_time(n, generator):
        """a part of (0, 1) only"""
        return (torch.rand(1, generator=generator) / 2 + torch.arange(n) / n) % 1

    def wrong_shape(n, generator):
        """a tensor (5,)"""
        return (torch.rand(1, generator=generator) + torch.arange(n)[:, None] / n) % 1

    def wrong_one_time_for_all(n, generator):
        """All times are the same"""
        return torch.rand(1, generator=generator).expand(n)

    def wrong_sorted(n, generator):
        """sorting does not make"""
        return torch.sort(torch.rand(n, generator=generator))[0]

    def wrong_hands_back(n, generator):
        """calls stratified_times"""
        return spread(n, generator)


class cosine_corrupt:
    def right_with_the_roots(x0, t, eps, offset):
        def f(t):
            return torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2

        alpha_bar = f(t) / f(torch.zeros_like(t))
        return alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * eps

    def right_by_double_angles(x0, t, eps, offset):
        angle = math.pi * (t.double() + offset) / (1 + offset)
        alpha_bar = (1 + angle.cos()) / (1 + math.cos(math.pi * offset / (1 + offset)))
        return (alpha_bar.sqrt() * x0 + (1 - alpha_bar).clamp(min=0).sqrt() * eps).float()

    def right_with_the_sine(x0, t, eps, offset):
        quarter = math.pi / 2 / (1 + offset)
        signal = torch.sin(quarter * (1 - t)) / math.sin(quarter)
        return signal * x0 + (1 - signal**2).clamp(0).sqrt() * eps

    def wrong_unmended(x0, t, eps, offset):
        """the function of the text gives, with both mistakes"""

        def f(t):
            return torch.cos((t + offset) / (1 + offset) * math.pi / 2)

        alpha_bar = f(t) / f(torch.zeros_like(t))
        return alpha_bar * x0 + (1 - alpha_bar) * eps

    def wrong_square_alone(x0, t, eps, offset):
        """still turn dull"""
        angle = (t + offset) / (1 + offset) * math.pi / 2
        alpha_bar = (angle.cos() / math.cos(offset / (1 + offset) * math.pi / 2)) ** 2
        return alpha_bar * x0 + (1 - alpha_bar) * eps

    def wrong_roots_alone(x0, t, eps, offset):
        """too little noise"""
        angle = (t + offset) / (1 + offset) * math.pi / 2
        alpha_bar = angle.cos() / math.cos(offset / (1 + offset) * math.pi / 2)
        return alpha_bar.sqrt() * x0 + (1 - alpha_bar).clamp(min=0).sqrt() * eps

    def wrong_one_root(x0, t, eps, offset):
        """that of the signal is missing"""
        alpha_bar = (torch.sin((1 - t) / (1 + offset) * math.pi / 2) / math.sin(math.pi / 2 / (1 + offset))) ** 2
        return alpha_bar * x0 + (1 - alpha_bar).clamp(min=0).sqrt() * eps

    def wrong_noise_of_the_signal(x0, t, eps, offset):
        """by a root of one minus it"""
        signal = torch.sin((1 - t) / (1 + offset) * math.pi / 2) / math.sin(math.pi / 2 / (1 + offset))
        return signal * x0 + (1 - signal).clamp(min=0).sqrt() * eps

    def wrong_root_of_the_signal_alone(x0, t, eps, offset):
        """the noise has none yet"""
        signal = torch.sin((1 - t) / (1 + offset) * math.pi / 2) / math.sin(math.pi / 2 / (1 + offset))
        return signal.clamp(min=0).sqrt() * x0 + (1 - signal) * eps

    def wrong_root_for_the_square(x0, t, eps, offset):
        """a root where (3.7) has a square"""
        signal = torch.sin((1 - t) / (1 + offset) * math.pi / 2) / math.sin(math.pi / 2 / (1 + offset))
        alpha_bar = signal.clamp(min=0) ** 0.5
        return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps

    def wrong_scaled_to_one(x0, t, eps, offset):
        """its measured spread"""
        signal = torch.sin((1 - t) / (1 + offset) * math.pi / 2) / math.sin(math.pi / 2 / (1 + offset))
        x_t = signal * x0 + (1 - signal) * eps
        return x_t / x_t.std()

    def wrong_same_in_another_guise(x0, t, eps, offset):
        """just what the function of the text gives"""
        angle = (t + offset) / (1 + offset) * math.pi / 2
        alpha_bar = (angle.cos() / math.cos(offset / (1 + offset) * math.pi / 2)) ** 2
        return alpha_bar.sqrt() * x0 + (1 - alpha_bar.sqrt()) * eps

    def wrong_never_clean(x0, t, eps, offset):
        """clean at t = 0"""
        signal = torch.sin((1 - t) / (1 + offset) * math.pi / 2) / math.sin(math.pi / 2 / (1 + offset))
        alpha_bar = signal.square().clamp(1e-4, 1 - 1e-4)
        return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps

    def wrong_start(x0, t, eps, offset):
        """no longer divided by f(0)"""
        angle = (t + offset) / (1 + offset) * math.pi / 2
        return angle.cos() * x0 + angle.sin() * eps

    def wrong_square_above_only(x0, t, eps, offset):
        """f(0) has not"""
        angle = (t + offset) / (1 + offset) * math.pi / 2
        alpha_bar = angle.cos() ** 2 / math.cos(offset / (1 + offset) * math.pi / 2)
        return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps

    def wrong_divided_by_its_length(x0, t, eps, offset):
        """in the wrong ratio"""
        signal = torch.sin((1 - t) / (1 + offset) * math.pi / 2) / math.sin(math.pi / 2 / (1 + offset))
        return (signal * x0 + (1 - signal) * eps) / torch.hypot(signal, 1 - signal)

    def wrong_hands_back(x0, t, eps, offset):
        """calls cosine"""
        return cosine(offset).signal(t) * x0 + cosine(offset).noise(t) * eps

    def wrong_half_turn(x0, t, eps, offset):
        def f(t):
            return torch.cos((t + offset) / (1 + offset) * math.pi) ** 2

        alpha_bar = f(t) / f(torch.zeros_like(t))
        return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps


class readability:
    def right_by_products(schedule, times, pictures, labels, means, eps):
        shares = []
        for t in times:
            s = schedule.signal(t)
            x_t = s * pictures + schedule.noise(t) * eps
            fit = x_t @ means.T - s * means.square().sum(1) / 2
            shares.append((fit.argmax(1) == labels).sum() / len(labels))
        return torch.stack(shares)

    def right_all_times_at_once(schedule, times, pictures, labels, means, eps):
        signal, noise = (level(times)[:, None, None] for level in (schedule.signal, schedule.noise))
        x_t = signal * pictures + noise * eps  # (T, N, D)
        distances = (x_t[:, :, None] - (signal * means)[:, None]).square().sum(-1)  # (T, N, C)
        return (distances.argmin(-1) == labels).float().mean(-1)

    def right_at_the_brightness_of_the_clean_means(schedule, times, pictures, labels, means, eps):
        shares = torch.empty(len(times))
        for i, t in enumerate(times):
            x = pictures + eps / schedule.snr(t).sqrt()
            shares[i] = (torch.cdist(x, means).min(1).indices == labels).float().mean()
        return shares

    def right_from_alpha_bar(schedule, times, pictures, labels, means, eps):
        shares = []
        for a in schedule.alpha_bar(times):
            x_t = a.sqrt() * pictures + (1 - a).sqrt() * eps  # the same pictures, up to their brightness
            shares.append((torch.cdist(x_t, a.sqrt() * means).argmin(1) == labels).float().mean().item())
        return torch.tensor(shares)

    def wrong_clean_means(schedule, times, pictures, labels, means, eps):
        """clean means"""
        x_t = [schedule.signal(t) * pictures + schedule.noise(t) * eps for t in times]
        return torch.stack([(torch.cdist(x, means).argmin(1) == labels).float().mean() for x in x_t])

    def wrong_share(schedule, times, pictures, labels, means, eps):
        """read *wrong*"""
        shares = []
        for t in times:
            x_t, centres = schedule.signal(t) * pictures + schedule.noise(t) * eps, schedule.signal(t) * means
            shares.append((torch.cdist(x_t, centres).argmin(1) != labels).float().mean())
        return torch.stack(shares)

    def wrong_count(schedule, times, pictures, labels, means, eps):
        """counts the pictures"""
        counts = []
        for t in times:
            x_t, centres = schedule.signal(t) * pictures + schedule.noise(t) * eps, schedule.signal(t) * means
            counts.append((torch.cdist(x_t, centres).argmin(1) == labels).sum().float())
        return torch.stack(counts)

    def wrong_products(schedule, times, pictures, labels, means, eps):
        """compares products alone"""
        x_t = schedule.signal(times)[:, None, None] * pictures + schedule.noise(times)[:, None, None] * eps
        return ((x_t @ means.T).argmax(-1) == labels).float().mean(1)

    def wrong_variance(schedule, times, pictures, labels, means, eps):
        """multiplied by its variance"""
        shares = []
        for t in times:
            x_t = schedule.signal(t) * pictures + schedule.noise(t).square() * eps
            shares.append((torch.cdist(x_t, schedule.signal(t) * means).argmin(1) == labels).float().mean())
        return torch.stack(shares)

    def wrong_half_lengths(schedule, times, pictures, labels, means, eps):
        """half squared lengths"""
        shares = []
        for t in times:
            s = schedule.signal(t)
            fit = (s * pictures + schedule.noise(t) * eps) @ (s * means).T - means.square().sum(1) / 2
            shares.append((fit.argmax(1) == labels).float().mean())
        return torch.stack(shares)

    def wrong_farthest(schedule, times, pictures, labels, means, eps):
        """smallest distance wins"""
        shares = []
        for t in times:
            x_t, centres = schedule.signal(t) * pictures + schedule.noise(t) * eps, schedule.signal(t) * means
            shares.append(((x_t[:, None] - centres).square().sum(-1).argmax(1) == labels).float().mean())
        return torch.stack(shares)

    def wrong_noise_of_another_process(schedule, times, pictures, labels, means, eps):
        """does not preserve the variance"""
        shares = []
        for t in times:
            x_t = schedule.signal(t) * pictures + (1 - schedule.alpha_bar(t)).sqrt() * eps
            shares.append((torch.cdist(x_t, schedule.signal(t) * means).argmin(1) == labels).float().mean())
        return torch.stack(shares)

    def wrong_fresh_noise(schedule, times, pictures, labels, means, eps):
        """Fresh noise"""
        shares = []
        for t in times:
            x_t = schedule.signal(t) * pictures + schedule.noise(t) * torch.randn(pictures.shape)
            shares.append((torch.cdist(x_t, schedule.signal(t) * means).argmin(1) == labels).float().mean())
        return torch.stack(shares)

    def wrong_fresh_noise_for_all(schedule, times, pictures, labels, means, eps):
        """the same for all times"""
        other, shares = torch.randn(pictures.shape), []
        for t in times:
            x_t = schedule.signal(t) * pictures + schedule.noise(t) * other
            shares.append((torch.cdist(x_t, schedule.signal(t) * means).argmin(1) == labels).float().mean())
        return torch.stack(shares)

    def wrong_noise_on_noise(schedule, times, pictures, labels, means, eps):
        """the noisy pictures of the time before"""
        x_t, shares = pictures, []
        for t in times:
            x_t = schedule.signal(t) * x_t + schedule.noise(t) * eps
            shares.append((torch.cdist(x_t, schedule.signal(t) * means).argmin(1) == labels).float().mean())
        return torch.stack(shares)

    def wrong_first_time_alone(schedule, times, pictures, labels, means, eps):
        """Only the first time"""
        shares = []
        for t in times:
            x_t = schedule.signal(t) * pictures + schedule.noise(t) * eps
            shares.append((torch.cdist(x_t, schedule.signal(t) * means).argmin(1) == labels).float().mean())
            break
        return torch.stack(shares)

    def wrong_directions(schedule, times, pictures, labels, means, eps):
        """directions alone"""
        shares = []
        for t in times:
            x_t = schedule.signal(t) * pictures + schedule.noise(t) * eps
            fit = x_t @ (means / means.norm(dim=1, keepdim=True)).T
            shares.append((fit.argmax(1) == labels).float().mean())
        return torch.stack(shares)

    def wrong_absolute_differences(schedule, times, pictures, labels, means, eps):
        """sums of absolute differences"""
        shares = []
        for t in times:
            x_t = schedule.signal(t) * pictures + schedule.noise(t) * eps
            distances = (x_t[:, None] - schedule.signal(t) * means).abs().sum(-1)
            shares.append((distances.argmin(1) == labels).float().mean())
        return torch.stack(shares)

    def wrong_pictures_not_dimmed(schedule, times, pictures, labels, means, eps):
        """the pictures are not"""
        shares = []
        for t in times:
            distances = torch.cdist(pictures + schedule.noise(t) * eps, schedule.signal(t) * means)
            shares.append((distances.argmin(1) == labels).float().mean())
        return torch.stack(shares)

    def wrong_nothing_dimmed(schedule, times, pictures, labels, means, eps):
        """and the means neither"""
        x_t = [pictures + schedule.noise(t) * eps for t in times]
        return torch.stack([(torch.cdist(x, means).argmin(1) == labels).float().mean() for x in x_t])

    def wrong_swapped(schedule, times, pictures, labels, means, eps):
        """changed places"""
        shares = []
        for t in times:
            x_t = schedule.noise(t) * pictures + schedule.signal(t) * eps
            shares.append((torch.cdist(x_t, schedule.signal(t) * means).argmin(1) == labels).float().mean())
        return torch.stack(shares)

    def wrong_per_cent(schedule, times, pictures, labels, means, eps):
        """per cent"""
        shares = []
        for t in times:
            x_t, centres = schedule.signal(t) * pictures + schedule.noise(t) * eps, schedule.signal(t) * means
            shares.append(100 * (torch.cdist(x_t, centres).argmin(1) == labels).sum() / len(labels))
        return torch.stack(shares)

    def wrong_whole_count(schedule, times, pictures, labels, means, eps):
        """in whole numbers"""
        counts = []
        for t in times:
            x_t, centres = schedule.signal(t) * pictures + schedule.noise(t) * eps, schedule.signal(t) * means
            counts.append((torch.cdist(x_t, centres).argmin(1) == labels).sum())
        return torch.stack(counts)

    def wrong_mean_of_all(schedule, times, pictures, labels, means, eps):
        """own share"""
        shares = []
        for t in times:
            x_t, centres = schedule.signal(t) * pictures + schedule.noise(t) * eps, schedule.signal(t) * means
            shares.append((torch.cdist(x_t, centres).argmin(1) == labels).float().mean())
        return sum(shares) / len(shares)

    def wrong_shares_of_the_variance(schedule, times, pictures, labels, means, eps):
        """shares of the variance"""
        shares = []
        for a in schedule.alpha_bar(times):
            distances = torch.cdist(a * pictures + (1 - a) * eps, a * means)
            shares.append((distances.argmin(1) == labels).float().mean())
        return torch.stack(shares)

    def wrong_linear_schedule(schedule, times, pictures, labels, means, eps):
        shares = []
        for t in times:
            distances = torch.cdist((1 - t).sqrt() * pictures + t.sqrt() * eps, (1 - t).sqrt() * means)
            shares.append((distances.argmin(1) == labels).float().mean())
        return torch.stack(shares)

    def wrong_nearest_picture(schedule, times, pictures, labels, means, eps):
        """most like the noisy one"""
        shares = []
        for t in times:
            x_t = schedule.signal(t) * pictures + schedule.noise(t) * eps
            shares.append((labels[torch.cdist(x_t, schedule.signal(t) * pictures).argmin(1)] == labels).float().mean())
        return torch.stack(shares)
