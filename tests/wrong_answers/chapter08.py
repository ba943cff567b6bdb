"""Answers to the exercises of chapter 08: right ones, and wrong ones with words that the grader must find for them."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from vqdit_lite.masked import confidence_step as library_step
from vqdit_lite.metrics import bits_per_token
from vqdit_lite.schedule import linear


class hide:
    def right_in_two_steps(x0, alpha_bar, u, frozen, mask_id):
        hidden = (u >= alpha_bar.unsqueeze(1)).logical_and(frozen.logical_not())
        return x0.masked_fill(hidden, mask_id)

    def right_token_by_token(x0, alpha_bar, u, frozen, mask_id):
        x = x0.clone()
        for b, n in torch.cartesian_prod(torch.arange(x.shape[0]), torch.arange(x.shape[1])):
            if not frozen[b, n] and not u[b, n] < alpha_bar[b]:
                x[b, n] = mask_id
        return x

    def right_with_arithmetic(x0, alpha_bar, u, frozen, mask_id):
        known = ((u - alpha_bar[:, None]) < 0).long().clamp(min=frozen.long())
        return known * x0 + (1 - known) * mask_id

    def wrong_frozen_forgotten(x0, alpha_bar, u, frozen, mask_id):
        """Frozen tokens are hidden, too"""
        return torch.where(u < alpha_bar[:, None], x0, mask_id)

    def wrong_side(x0, alpha_bar, u, frozen, mask_id):
        """swapped"""
        return torch.where((u < alpha_bar[:, None]) & ~frozen, mask_id, x0)

    def wrong_noise_for_signal(x0, alpha_bar, u, frozen, mask_id):
        """where its own u lies below"""
        return torch.where((u < 1 - alpha_bar[:, None]) & ~frozen, mask_id, x0)

    def wrong_one_number_a_row(x0, alpha_bar, u, frozen, mask_id):
        """on its own"""
        known = (u[:, 0] < alpha_bar)[:, None].expand_as(x0)
        return torch.where(known | frozen, x0, mask_id)

    def wrong_axis(x0, alpha_bar, u, frozen, mask_id):
        """run along the tokens"""
        return torch.where((u < alpha_bar) | frozen, x0, mask_id)

    def wrong_signal(x0, alpha_bar, u, frozen, mask_id):
        """√ᾱ"""
        return torch.where((u**2 < alpha_bar[:, None]) | frozen, x0, mask_id)

    def wrong_where_turned_round(x0, alpha_bar, u, frozen, mask_id):
        """exchanged"""
        return torch.where((u < alpha_bar[:, None]) | frozen, mask_id, x0)

    def wrong_only_the_frozen(x0, alpha_bar, u, frozen, mask_id):
        """ones that stay"""
        return torch.where((u >= alpha_bar[:, None]) & frozen, mask_id, x0)

    def wrong_in_place(x0, alpha_bar, u, frozen, mask_id):
        """in place"""
        x0[(u >= alpha_bar[:, None]) & ~frozen] = mask_id
        return x0

    def wrong_mask_of_five_tokens(x0, alpha_bar, u, frozen, mask_id):
        """number written down"""
        return torch.where((u < alpha_bar.view(-1, 1).expand(-1, 5)) | frozen, x0, mask_id)

    def wrong_frozen_only_if_known(x0, alpha_bar, u, frozen, mask_id):
        """frozen *and* have a small u"""
        return torch.where((u < alpha_bar[:, None]) & frozen, x0, mask_id)

    def wrong_numbers_of_its_own(x0, alpha_bar, u, frozen, mask_id):
        """random numbers of its own"""
        return torch.where((torch.rand(x0.shape) < alpha_bar[:, None]) | frozen, x0, mask_id)

    def right_with_numpy(x0, alpha_bar, u, frozen, mask_id):
        known = np.less(u.numpy(), alpha_bar.numpy()[:, None]) | frozen.numpy()
        return np.where(known, x0.numpy(), mask_id)

    def wrong_one_reason_only(x0, alpha_bar, u, frozen, mask_id):
        """do not cancel"""
        return torch.where((u < alpha_bar[:, None]) != frozen, x0, mask_id)

    def wrong_not_frozen(x0, alpha_bar, u, frozen, mask_id):
        """All frozen tokens are hidden"""
        return torch.where((u < alpha_bar[:, None]) & ~frozen, x0, mask_id)

    def wrong_below_the_hidden_share(x0, alpha_bar, u, frozen, mask_id):
        """with 1 - ᾱ"""
        return x0.masked_fill((u >= (1 - alpha_bar).view(-1, 1)) & ~frozen, mask_id)

    def wrong_first_row(x0, alpha_bar, u, frozen, mask_id):
        """of the first"""
        return torch.where((u < alpha_bar[0].item()) | frozen, x0, mask_id)

    def wrong_equal_counts(x0, alpha_bar, u, frozen, mask_id):
        """lies *below* ᾱ"""
        x = x0.clone()
        x[(u > alpha_bar[:, None]) & ~frozen] = mask_id
        return x

    def wrong_mask_from_the_ids(x0, alpha_bar, u, frozen, mask_id):
        """one above the largest id"""
        return torch.where((u < alpha_bar[:, None]) | frozen, x0, x0.max() + 1)

    def wrong_zeros(x0, alpha_bar, u, frozen, mask_id):
        """like any other"""
        return x0 * ((u < alpha_bar[:, None]) | frozen)

    def wrong_exact_number(x0, alpha_bar, u, frozen, mask_id):
        known = (alpha_bar * x0.shape[1]).round()
        return torch.where((u.argsort(1).argsort(1) < known[:, None]) | frozen, x0, mask_id)


class fill_chance:
    def right_with_what_comes_back(alpha_bar, next_alpha_bar, rho):
        return (next_alpha_bar - alpha_bar + rho * alpha_bar) / (1 - alpha_bar)

    def right_by_the_hidden(alpha_bar, next_alpha_bar, rho):
        hidden, next_hidden = 1 - alpha_bar, 1 - next_alpha_bar
        return 1 - (next_hidden - rho * alpha_bar) / hidden

    def right_step_by_step(alpha_bar, next_alpha_bar, rho):
        steps = zip(alpha_bar.tolist(), next_alpha_bar.tolist(), rho.tolist(), strict=True)
        return torch.tensor([(b - a * (1 - r)) / (1 - a) for a, b, r in steps])

    def wrong_denominator_forgotten(alpha_bar, next_alpha_bar, rho):
        """*all* tokens"""
        return next_alpha_bar - alpha_bar + rho * alpha_bar

    def wrong_hidden_at_the_end(alpha_bar, next_alpha_bar, rho):
        """hidden at its start"""
        return (next_alpha_bar - alpha_bar + alpha_bar * rho) / (1 - next_alpha_bar)

    def wrong_known_at_the_end(alpha_bar, next_alpha_bar, rho):
        """*known* in the end"""
        return 1 - (1 - rho) * alpha_bar / next_alpha_bar

    def wrong_stays(alpha_bar, next_alpha_bar, rho):
        """*stay* hidden"""
        return 1 - (next_alpha_bar - (1 - rho) * alpha_bar) / (1 - alpha_bar)

    def wrong_sign(alpha_bar, next_alpha_bar, rho):
        """the larger of the two"""
        return (alpha_bar - rho * alpha_bar - next_alpha_bar) / (1 - alpha_bar)

    def wrong_nothing_hidden_again(alpha_bar, next_alpha_bar, rho):
        """ρ is missing"""
        return (next_alpha_bar - alpha_bar).div(1 - alpha_bar)

    def wrong_alpha_for_rho(alpha_bar, next_alpha_bar, rho):
        """belongs to ᾱ(t)"""
        return (next_alpha_bar - alpha_bar - rho * next_alpha_bar) / (1 - alpha_bar)

    def wrong_share_of_all(alpha_bar, next_alpha_bar, rho):
        """share of the *known*"""
        return (next_alpha_bar + rho - alpha_bar) / (1 - alpha_bar)

    def wrong_other_way(alpha_bar, next_alpha_bar, rho):
        """It must be added"""
        return (next_alpha_bar - alpha_bar - rho * alpha_bar) / (1 - alpha_bar)

    def wrong_hidden_after_hiding(alpha_bar, next_alpha_bar, rho):
        """when the step began"""
        kept = alpha_bar - rho * alpha_bar
        return (next_alpha_bar - kept) / (1 - kept)

    def wrong_rho_stays(alpha_bar, next_alpha_bar, rho):
        """exchanged"""
        return (next_alpha_bar - alpha_bar * rho) / (1 - alpha_bar)

    def wrong_ratio_of_times(alpha_bar, next_alpha_bar, rho):
        return 1 - (1 - next_alpha_bar) / (1 - alpha_bar)

    def wrong_rho_of_the_chance(alpha_bar, next_alpha_bar, rho):
        """by the factor 1 - ρ"""
        return (1 - rho) * (next_alpha_bar - alpha_bar) / (1 - alpha_bar)

    def right_held_within_0_and_1(alpha_bar, next_alpha_bar, rho):
        return ((next_alpha_bar - (1 - rho) * alpha_bar) / (1 - alpha_bar).clamp(min=1e-8)).clamp(0, 1)

    def wrong_rho_on_top(alpha_bar, next_alpha_bar, rho):
        """as it is"""
        return (next_alpha_bar - alpha_bar) / (1 - alpha_bar) + rho

    def wrong_way_of_the_step(alpha_bar, next_alpha_bar, rho):
        """from `alpha_bar` to `next_alpha_bar`"""
        return (alpha_bar - (1 - rho) * next_alpha_bar) / (1 - next_alpha_bar)

    def wrong_shares_of_masks(alpha_bar, next_alpha_bar, rho):
        """*known* tokens"""
        alpha_bar, next_alpha_bar = 1 - alpha_bar, 1 - next_alpha_bar
        return (next_alpha_bar - (1 - rho) * alpha_bar) / (1 - alpha_bar)

    def wrong_bracket(alpha_bar, next_alpha_bar, rho):
        """bracket"""
        return next_alpha_bar - (1 - rho) * alpha_bar / (1 - alpha_bar)

    def wrong_eta(alpha_bar, next_alpha_bar, rho):
        """ρ itself comes in"""
        share = rho * torch.minimum(torch.ones_like(alpha_bar), (1 - next_alpha_bar) / alpha_bar.clamp(min=1e-12))
        return (next_alpha_bar - (1 - share) * alpha_bar) / (1 - alpha_bar)

    def wrong_rho_of_the_hidden(alpha_bar, next_alpha_bar, rho):
        return (next_alpha_bar - alpha_bar + rho * (1 - alpha_bar)) / (1 - alpha_bar)


class bits_per_character:
    def right_with_log2_of_e(nats, lengths):
        return math.log2(math.e) * float(nats.sum()) / int(lengths.sum())

    def right_with_means(nats, lengths):
        return nats.mean() / (lengths.double().mean() * math.log(2))

    def right_as_a_weighted_mean(nats, lengths):
        weights = lengths / lengths.sum()
        return (weights * (nats / lengths)).sum() / torch.log(torch.tensor(2.0))

    def wrong_nats(nats, lengths):
        """These are nats"""
        return (nats.mean() / lengths.float().mean()).item()

    def wrong_times_log_2(nats, lengths):
        """multiplies"""
        return math.log(2) * nats.sum() / lengths.sum()

    def wrong_mean_of_quotients(nats, lengths):
        """own quotient"""
        return sum(a / b / math.log(2) for a, b in zip(nats, lengths, strict=True)) / len(nats)

    def wrong_one_for_each(nats, lengths):
        """One number is asked for"""
        return nats / (lengths * math.log(2))

    def wrong_padding(nats, lengths):
        """padding"""
        return nats.sum() / (len(nats) * lengths.max()) / math.log(2)

    def wrong_sum_and_mean(nats, lengths):
        """Sum and mean are mixed"""
        return nats.sum().item() / (lengths.double().mean().item() * math.log(2))

    def wrong_bits_of_a_text(nats, lengths):
        """per text"""
        return nats.mean().item() / math.log(2)

    def wrong_logarithm_of_a_logarithm(nats, lengths):
        """logarithms already"""
        return torch.log2(nats).mean() / lengths.float().mean()

    def wrong_perplexity(nats, lengths):
        """perplexity"""
        return (nats.sum() / lengths.sum()).exp()

    def wrong_overflow(nats, lengths):
        """more than a float can hold"""
        return -torch.log2(torch.exp(-nats)).sum() / lengths.sum()

    def right_with_plain_numbers(nats, lengths):
        return sum(nats.tolist()) / sum(lengths.tolist()) / math.log(2)

    def wrong_mean_of_quotients_in_nats(nats, lengths):
        """and in nats"""
        return (nats / lengths).mean().item()

    def wrong_all_characters_at_once(nats, lengths):
        """all texts together"""
        return nats.sum().item() / math.log(2)

    def wrong_sign(nats, lengths):
        """sign is wrong"""
        return -nats.sum() / lengths.sum() / math.log(2)

    def wrong_half(nats, lengths):
        """not 2 of them"""
        return nats.sum() / (2 * lengths.sum())

    def wrong_rounded(nats, lengths):
        """0.69 here"""
        return nats.sum() / 0.69 / lengths.sum()

    def wrong_rounded_less(nats, lengths):
        """0.693 here"""
        return nats.sum() / 0.693 / lengths.sum()

    def wrong_log_of_the_quotient(nats, lengths):
        """logarithm of the quotient"""
        return math.log2(nats.sum() / lengths.sum())

    def wrong_mean_of_whole_numbers(nats, lengths):
        """could not infer output dtype"""
        return nats.mean() / lengths.mean() / math.log(2)

    def wrong_end_forgotten(nats, lengths):
        return nats.sum() / (lengths - 1).sum() / math.log(2)

    def wrong_hands_back(nats, lengths):
        """calls bits_per_token"""
        return bits_per_token(nats, lengths.float().mean().item())


class masked_bound:
    def right_with_gather(logits, x0, x_t, alpha_bar, slope, mask_id):
        p = logits.softmax(-1).gather(-1, x0.unsqueeze(-1)).squeeze(-1)
        return (slope / (1 - alpha_bar)) * ((x_t == mask_id) * p.log()).sum(-1)

    def right_row_by_row(logits, x0, x_t, alpha_bar, slope, mask_id):
        totals = []
        for b in range(len(x0)):
            hidden = x_t[b] == mask_id
            cost = F.cross_entropy(logits[b][hidden], x0[b][hidden], reduction="sum")
            totals.append(slope[b] / (alpha_bar[b] - 1) * cost)
        return torch.stack(totals)

    def right_with_logsumexp(logits, x0, x_t, alpha_bar, slope, mask_id):
        chosen = (logits * F.one_hot(x0, logits.shape[-1])).sum(-1)
        nll = logits.logsumexp(-1) - chosen
        weights = (x_t != x0) * (-slope / (1 - alpha_bar))[:, None]
        return torch.einsum("bn,bn->b", weights, nll)

    def wrong_all_tokens(logits, x0, x_t, alpha_bar, slope, mask_id):
        """only hidden tokens"""
        p = logits.softmax(-1).gather(-1, x0[..., None])[..., 0]
        return slope / (1 - alpha_bar) * p.log().sum(1)

    def wrong_known_tokens(logits, x0, x_t, alpha_bar, slope, mask_id):
        """other way round"""
        p = logits.softmax(-1).gather(-1, x0[..., None])[..., 0]
        return slope / (1 - alpha_bar) * (p.log() * (x_t != mask_id)).sum(1)

    def wrong_mean_over_hidden(logits, x0, x_t, alpha_bar, slope, mask_id):
        """mean over the hidden"""
        hidden = (x_t == mask_id).float()
        log_p = logits.log_softmax(-1).gather(-1, x0[..., None])[..., 0]
        return slope / (1 - alpha_bar) * (log_p * hidden).sum(1) / hidden.sum(1)

    def wrong_mean_over_tokens(logits, x0, x_t, alpha_bar, slope, mask_id):
        """mean over the tokens"""
        log_p = logits.log_softmax(-1).gather(-1, x0[..., None])[..., 0]
        return slope / (1 - alpha_bar) * log_p.masked_fill(x_t != mask_id, 0).mean(1)

    def wrong_no_weight(logits, x0, x_t, alpha_bar, slope, mask_id):
        """weight w(t) of (8.5) is missing"""
        log_p = logits.log_softmax(-1).gather(-1, x0[..., None])[..., 0]
        return -log_p.masked_fill(x_t != mask_id, 0).sum(1)

    def wrong_sign_of_the_slope(logits, x0, x_t, alpha_bar, slope, mask_id):
        """sign is wrong"""
        nll = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return slope / (1 - alpha_bar) * (nll * (x_t == mask_id)).sum(1)

    def wrong_weight_of_the_line(logits, x0, x_t, alpha_bar, slope, mask_id):
        """lacks the slope"""
        t = 1 - alpha_bar
        nll = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return (nll * (x_t == mask_id)).sum(1) / t

    def wrong_no_logarithm(logits, x0, x_t, alpha_bar, slope, mask_id):
        """derivative of a *logarithm*"""
        nll = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return -slope * (nll * (x_t == mask_id)).sum(1)

    def wrong_known_share(logits, x0, x_t, alpha_bar, slope, mask_id):
        """*hidden* share"""
        nll = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return -slope / alpha_bar * (nll * (x_t == mask_id)).sum(1)

    def wrong_base(logits, x0, x_t, alpha_bar, slope, mask_id):
        """These are bits"""
        p = logits.softmax(-1).gather(-1, x0[..., None])[..., 0]
        return slope / (1 - alpha_bar) * (p.log2() * (x_t == mask_id)).sum(1)

    def wrong_no_softmax(logits, x0, x_t, alpha_bar, slope, mask_id):
        """log_softmax"""
        chosen = logits.gather(-1, x0[..., None])[..., 0]
        return -(-slope / (1 - alpha_bar)) * (chosen * (x_t == mask_id)).sum(1)

    def wrong_values(logits, x0, x_t, alpha_bar, slope, mask_id):
        """what x0 says"""
        surest = logits.log_softmax(-1).amax(-1)
        return slope / (1 - alpha_bar) * (surest * (x_t == mask_id)).sum(1)

    def wrong_one_number(logits, x0, x_t, alpha_bar, slope, mask_id):
        """mean over the batch"""
        nll = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return (-slope / (1 - alpha_bar) * (nll * (x_t == mask_id)).sum(1)).mean()

    def wrong_axis(logits, x0, x_t, alpha_bar, slope, mask_id):
        """wrong axis"""
        log_p = F.log_softmax(logits, 1).gather(-1, x0[..., None])[..., 0]
        return slope / (1 - alpha_bar) * (log_p * (x_t == mask_id)).sum(1)

    def wrong_not_added_up(logits, x0, x_t, alpha_bar, slope, mask_id):
        """for each token"""
        nll = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return (slope / (alpha_bar - 1)).unsqueeze(1) * nll * (x_t == mask_id)

    def wrong_all_rows_at_once(logits, x0, x_t, alpha_bar, slope, mask_id):
        """each row got the total"""
        hidden = x_t == mask_id
        return -slope / (1 - alpha_bar) * F.cross_entropy(logits[hidden], x0[hidden], reduction="sum")

    def right_with_ignored_targets(logits, x0, x_t, alpha_bar, slope, mask_id):
        wanted = x0.masked_fill(x_t != mask_id, -100)
        nll = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none", ignore_index=-100)
        return nll.view(x0.shape).sum(1) * slope.abs() / (1 - alpha_bar)

    def wrong_axis_of_the_batch(logits, x0, x_t, alpha_bar, slope, mask_id):
        """rows of the batch"""
        log_p = F.log_softmax(logits, 0).gather(-1, x0[..., None])[..., 0]
        return slope / (1 - alpha_bar) * (log_p * (x_t == mask_id)).sum(1)

    def wrong_view_for_transpose(logits, x0, x_t, alpha_bar, slope, mask_id):
        """deal out the numbers anew"""
        nll = F.cross_entropy(logits.view(len(x0), -1, x0.shape[1]), x0, reduction="none")
        return -slope / (1 - alpha_bar) * (nll * (x_t == mask_id)).sum(1)

    def wrong_softmax_twice(logits, x0, x_t, alpha_bar, slope, mask_id):
        """taken twice"""
        nll = F.cross_entropy(logits.softmax(-1).transpose(1, 2), x0, reduction="none")
        return -slope / (1 - alpha_bar) * (nll * (x_t == mask_id)).sum(1)

    def wrong_mean_of_the_batch(logits, x0, x_t, alpha_bar, slope, mask_id):
        """hidden tokens of all rows"""
        hidden = x_t == mask_id
        return -slope / (1 - alpha_bar) * F.cross_entropy(logits[hidden], x0[hidden])

    def wrong_doubt_for_nll(logits, x0, x_t, alpha_bar, slope, mask_id):
        """adds up 1 - p"""
        p = logits.softmax(-1).gather(-1, x0[..., None])[..., 0]
        return -slope / (1 - alpha_bar) * ((1 - p) * (x_t == mask_id)).sum(1)

    def wrong_not_differentiated(logits, x0, x_t, alpha_bar, slope, mask_id):
        """The logarithm itself"""
        nll = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return torch.log(1 - alpha_bar) * slope * (nll * (x_t == mask_id)).sum(1)

    def wrong_counted_share(logits, x0, x_t, alpha_bar, slope, mask_id):
        """scatters from mask to mask"""
        hidden = x_t == mask_id
        nll = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return -slope * x0.shape[1] * (nll * hidden).sum(1) / hidden.sum(1)

    def wrong_share_of_the_noise(logits, x0, x_t, alpha_bar, slope, mask_id):
        nll = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return -slope / (1 - alpha_bar).sqrt() * (nll * (x_t == mask_id)).sum(1)

    def wrong_capped(logits, x0, x_t, alpha_bar, slope, mask_id):
        nll = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return (-slope / (1 - alpha_bar)).clamp(max=2) * (nll * (x_t == mask_id)).sum(1)


class confidence_step:
    def right_with_a_threshold(x, drawn, mask_id, confidence, left):
        confidence = torch.where(x == mask_id, confidence, torch.inf)
        ladder = torch.cat([confidence.sort(1).values, torch.full((len(x), 1), torch.inf)], 1)
        threshold = ladder.gather(1, left[:, None])  # (B, 1) the lowest that is filled in
        return torch.where((confidence >= threshold) & (x == mask_id), drawn, x)

    def right_row_by_row(x, drawn, mask_id, confidence, left):
        x = x.clone()
        for b in range(len(x)):
            places = (x[b] == mask_id).nonzero()[:, 0]
            surest = places[confidence[b, places].argsort(descending=True)]
            chosen = surest[: len(places) - int(left[b])]
            x[b, chosen] = drawn[b, chosen]
        return x

    def right_counting_the_less_sure(x, drawn, mask_id, confidence, left):
        hidden = x == mask_id
        less_sure = (confidence[:, None] < confidence[:, :, None]) & hidden[:, None]  # (B, N, N)
        return torch.where(hidden & (less_sure.sum(2) >= left[:, None]), drawn, x)

    def right_by_scattering(x, drawn, mask_id, confidence, left):
        hidden = x == mask_id
        order = confidence.masked_fill(~hidden, torch.inf).argsort(1)
        rank = torch.empty_like(order).scatter_(1, order, torch.arange(x.shape[1]).expand_as(x))
        return torch.where(hidden & (rank >= left[:, None]), drawn, x)

    def wrong_least_sure(x, drawn, mask_id, confidence, left):
        """The least sure"""
        hidden = x == mask_id
        rank = confidence.masked_fill(~hidden, -torch.inf).argsort(1, descending=True).argsort(1)
        return torch.where(hidden & (rank >= left[:, None]), drawn, x)

    def wrong_known_take_part(x, drawn, mask_id, confidence, left):
        """take part"""
        rank = torch.empty_like(x)
        for b in range(len(x)):
            rank[b, confidence[b].argsort()] = torch.arange(x.shape[1])
        return torch.where((x == mask_id) & (rank >= left[:, None]), drawn, x)

    def wrong_end_of_the_scale(x, drawn, mask_id, confidence, left):
        """ranked below all others"""
        hidden = x == mask_id
        rank = torch.where(hidden, confidence, -1e9).argsort(1).argsort(1)
        return torch.where(hidden & (rank >= left[:, None]), drawn, x)

    def wrong_zero_for_known(x, drawn, mask_id, confidence, left):
        """may lie below 0"""
        hidden = x == mask_id
        rank = confidence.masked_fill(~hidden, 0).argsort(1).argsort(1)
        return torch.where(hidden & (rank >= left[:, None]), drawn, x)

    def wrong_known_overwritten(x, drawn, mask_id, confidence, left):
        """overwritten by what was drawn"""
        rank = torch.where(x == mask_id, confidence, torch.inf).argsort(1).argsort(1)
        return torch.where(rank < left[:, None], mask_id, drawn)

    def wrong_all_hidden_again(x, drawn, mask_id, confidence, left):
        """treated like hidden ones"""
        return torch.where(confidence.argsort(1).argsort(1) < left[:, None], mask_id, drawn)

    def wrong_one_too_few(x, drawn, mask_id, confidence, left):
        """One too few"""
        hidden = x == mask_id
        rank = confidence.masked_fill(~hidden, torch.inf).argsort(1).argsort(1)
        return torch.where(hidden & (rank > left[:, None]), drawn, x)

    def wrong_number_filled_in(x, drawn, mask_id, confidence, left):
        """*remain hidden*"""
        hidden = x == mask_id
        rank = confidence.masked_fill(~hidden, -torch.inf).argsort(1, descending=True).argsort(1)
        return torch.where(hidden & (rank < left[:, None]), drawn, x)

    def wrong_columns(x, drawn, mask_id, confidence, left):
        """axis 1"""
        hidden = x == mask_id
        rank = confidence.masked_fill(~hidden, torch.inf).T.argsort(1).argsort(1).T
        return torch.where(hidden & (rank >= left[:, None]), drawn, x)

    def wrong_one_argsort(x, drawn, mask_id, confidence, left):
        """not the rank"""
        hidden = x == mask_id
        rank = torch.argsort(torch.where(hidden, confidence, torch.inf), dim=1)
        return torch.where(hidden & (rank >= left[:, None]), drawn, x)

    def wrong_all_rows_together(x, drawn, mask_id, confidence, left):
        """ranked together"""
        hidden = x == mask_id
        count = int(hidden.sum() - left.sum())
        surest = confidence.masked_fill(~hidden, -torch.inf).flatten().topk(count).indices
        result = x.clone().flatten()
        result[surest] = drawn.flatten()[surest]
        return result.view_as(x)

    def wrong_left_of_the_first(x, drawn, mask_id, confidence, left):
        """Every row"""
        hidden = x == mask_id
        rank = confidence.masked_fill(~hidden, torch.inf).argsort(1).argsort(1)
        return torch.where(hidden & (rank >= left[0]), drawn, x)

    def right_with_a_short_ladder(x, drawn, mask_id, confidence, left):
        confidence = torch.where(x == mask_id, confidence, torch.inf)
        threshold = confidence.sort(1).values.gather(1, left[:, None])  # left is below N
        return torch.where((x == mask_id) & (confidence >= threshold), drawn, x)

    def wrong_all_at_once(x, drawn, mask_id, confidence, left):
        """must stay hidden"""
        return torch.where(x == mask_id, drawn, x)

    def wrong_known_hidden_again(x, drawn, mask_id, confidence, left):
        """from the whole row"""
        x = torch.where(x == mask_id, drawn, x)
        for b in range(len(x)):
            x[b, confidence[b].argsort()[: left[b]]] = mask_id
        return x

    def wrong_known_at_one(x, drawn, mask_id, confidence, left):
        """may lie above 1"""
        hidden = x == mask_id
        rank = torch.where(hidden, confidence, 1.0).argsort(1).argsort(1)
        return torch.where(hidden & (rank >= left[:, None]), drawn, x)

    def wrong_zero_from_the_top(x, drawn, mask_id, confidence, left):
        """come before hidden ones"""
        hidden = x == mask_id
        rank = (confidence * hidden).argsort(1, descending=True).argsort(1)
        return torch.where(hidden & (rank < (hidden.sum(1) - left)[:, None]), drawn, x)

    def wrong_one_argsort_from_the_top(x, drawn, mask_id, confidence, left):
        """from the top down"""
        hidden = x == mask_id
        order = confidence.masked_fill(~hidden, -torch.inf).argsort(1, descending=True)
        return torch.where(hidden & (order < (hidden.sum(1) - left)[:, None]), drawn, x)

    def wrong_as_many_in_every_row(x, drawn, mask_id, confidence, left):
        """same number"""
        hidden = x == mask_id
        count = int((hidden.sum(1) - left).max())
        surest = confidence.masked_fill(~hidden, -torch.inf).topk(count, 1).indices
        return x.scatter(1, surest, drawn.gather(1, surest))

    def wrong_sizes_of_confidences(x, drawn, mask_id, confidence, left):
        hidden = x == mask_id
        rank = confidence.abs().masked_fill(~hidden, torch.inf).argsort(1).argsort(1)
        return torch.where(hidden & (rank >= left[:, None]), drawn, x)

    def wrong_first_come(x, drawn, mask_id, confidence, left):
        hidden = x == mask_id
        return torch.where(hidden & (hidden.cumsum(1) > left[:, None]), drawn, x)

    def wrong_hands_back(x, drawn, mask_id, confidence, left):
        """calls confidence_step"""
        return library_step(x, drawn, mask_id, confidence, left)


class confidences:
    def right_with_the_loop(p, u, times, choice_temperature):
        rows = []
        for step in range(len(p)):
            gumbel = -torch.log(-torch.log(u[step]))
            rows.append(torch.log(p[step]) + choice_temperature * times[step + 1] * gumbel)
        return torch.stack(rows)

    def right_with_einsum(p, u, times, choice_temperature):
        noise = u.log().neg().log()
        return p.log() - choice_temperature * torch.einsum("s,sn->sn", times[1:], noise)

    def right_with_one_logarithm(p, u, times, choice_temperature):
        scale = (choice_temperature * times)[1:].unsqueeze(1)
        return (p / (-u.log()) ** scale).log()

    def wrong_untouched(p, u, times, choice_temperature):
        """This is the function of the text"""
        rows = []
        for step in range(len(p)):
            gumbel = -torch.log(-torch.log(u[step]))
            choice_temperature = choice_temperature * times[step + 1]
            rows.append(p[step] + choice_temperature * gumbel)
        return torch.stack(rows)

    def wrong_still_compounds(p, u, times, choice_temperature):
        """fades too early"""
        rows = []
        for noise, next_t, chance in zip(u, times[1:], p, strict=True):
            choice_temperature = choice_temperature * next_t
            rows.append(chance.log() - choice_temperature * (-noise.log()).log())
        return torch.stack(rows)

    def wrong_still_probabilities(p, u, times, choice_temperature):
        """first summand"""
        return p - choice_temperature * times[1:].unsqueeze(1) * (-u.log()).log()

    def wrong_time(p, u, times, choice_temperature):
        """This is t, the time"""
        gumbel = -torch.log(-torch.log(u))
        return torch.stack(
            [a.log() + choice_temperature * t * g for a, t, g in zip(p, times[:-1], gumbel, strict=True)]
        )

    def wrong_compounds_with_the_start(p, u, times, choice_temperature):
        """pile up"""
        rows = []
        for step in range(len(p)):
            choice_temperature = choice_temperature * times[step]
            rows.append(p[step].log() - choice_temperature * (-u[step].log()).log())
        return torch.stack(rows)

    def wrong_direction(p, u, times, choice_temperature):
        """strongest at the start"""
        done = 1 - times[1:]
        return p.log() - choice_temperature * done[:, None] * (-u.log()).log()

    def wrong_never_fades(p, u, times, choice_temperature):
        """does not fade"""
        return p.log() + choice_temperature * -(-u.log()).log()

    def wrong_counts_steps(p, u, times, choice_temperature):
        """counts steps"""
        shares = torch.linspace(1, 0, len(times))[1:]
        return p.log() - choice_temperature * shares[:, None] * (-u.log()).log()

    def wrong_sign_of_the_noise(p, u, times, choice_temperature):
        """adds it"""
        return p.log() + choice_temperature * times[1:, None] * torch.log(-torch.log(u))

    def wrong_uniform_noise(p, u, times, choice_temperature):
        """Gumbel noise first"""
        return torch.log(p) + times[1:].view(-1, 1) * choice_temperature * u

    def wrong_exponential_noise(p, u, times, choice_temperature):
        """twice"""
        return torch.log(p) + times[1:].view(-1, 1) * choice_temperature * -torch.log(u)

    def wrong_no_choice_temperature(p, u, times, choice_temperature):
        """`choice_temperature` itself"""
        return p.log() - times[1:, None] * (-u.log()).log()

    def wrong_nll(p, u, times, choice_temperature):
        """the negative log-likelihood"""
        return -torch.log(p) - choice_temperature * times[1:, None] * (-u.log()).log()

    def right_with_numpy(p, u, times, choice_temperature):
        p, u, times = p.numpy(), u.numpy(), times.numpy()
        return np.log(p) - choice_temperature * times[1:, None] * np.log(-np.log(u))

    def wrong_untouched_without_a_loop(p, u, times, choice_temperature):
        """both mistakes are still in it"""
        return p - choice_temperature * times[1:].cumprod(0)[:, None] * (-u.log()).log()

    def wrong_logarithm_of_all(p, u, times, choice_temperature):
        """together"""
        return (p - choice_temperature * times[1:, None] * (-u.log()).log()).log()

    def wrong_product(p, u, times, choice_temperature):
        """is multiplied"""
        return p.log() * choice_temperature * times[1:, None] * -(-u.log()).log()

    def wrong_log_softmax(p, u, times, choice_temperature):
        """normalises"""
        return F.log_softmax(p, -1) - choice_temperature * times[1:, None] * (-u.log()).log()

    def wrong_log1p(p, u, times, choice_temperature):
        """log(1 + p)"""
        return (1 + p).log() - choice_temperature * times[1:, None] * (-u.log()).log()

    def wrong_time_twice(p, u, times, choice_temperature):
        """counts twice"""
        rows = []
        for step, next_t in enumerate(times[1:]):
            scale = choice_temperature * next_t
            rows.append(p[step].log() - scale * next_t * (-u[step].log()).log())
        return torch.stack(rows)

    def wrong_noise_of_its_own(p, u, times, choice_temperature):
        """random numbers of its own"""
        return p.log() - choice_temperature * times[1:, None] * (-torch.rand(p.shape).log()).log()

    def wrong_root_of_time(p, u, times, choice_temperature):
        return p.log() - choice_temperature * times[1:, None].sqrt() * (-u.log()).log()

    def wrong_mixture(p, u, times, choice_temperature):
        scale = choice_temperature * times[1:, None]
        return (1 - scale) * p.log() - scale * (-u.log()).log()


class pair_error:
    def right_with_both_tables(denoiser, x, place, mask_id):
        alone = denoiser(x.view(1, -1)).softmax(-1)[0]
        error = torch.zeros(len(x))
        for j in range(len(x)):
            if j == place or x[j] != mask_id:
                continue
            at_once, in_turn = torch.outer(alone[place], alone[j]), torch.zeros(mask_id, mask_id)
            for a in range(mask_id):
                y = x.clone()
                y[place] = a
                in_turn[a] = alone[place, a] * denoiser(y[None]).softmax(-1)[0, j]
            error[j] = (in_turn - at_once).abs().sum() / 2
        return error

    def right_with_one_batch(denoiser, x, place, mask_id):
        ids = x.repeat(mask_id + 1, 1)  # the last row stays as it is
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(-1)
        gaps = 0.5 * torch.linalg.vector_norm(p[:-1] - p[-1], ord=1, dim=-1)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return torch.einsum("v,vn->n", p[-1, place], gaps) * hidden

    def right_with_what_is_too_much(denoiser, x, place, mask_id):
        alone = F.softmax(denoiser(x[None]), -1)[0]
        error = torch.zeros(len(x), dtype=alone.dtype)
        for a, chance in enumerate(alone[place]):
            y = x.index_fill(0, torch.tensor(place), a)
            error += chance * (F.softmax(denoiser(y[None]), -1)[0] - alone).clamp(min=0).sum(1)
        error[x != mask_id] = 0
        error[place] = 0
        return error

    def wrong_place_counted(denoiser, x, place, mask_id):
        """no pair with itself"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(-1)
        return (p[-1, place] @ (p[:-1] - p[-1]).abs().sum(-1) / 2) * (x == mask_id)

    def wrong_known_counted(denoiser, x, place, mask_id):
        """Known tokens are counted"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(-1)
        error = p[-1, place] @ (p[:-1] - p[-1]).abs().sum(-1) / 2
        error[place] = 0
        return error

    def wrong_all_counted(denoiser, x, place, mask_id):
        """entries of 0"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(-1)
        return p[-1, place] @ (p[:-1] - p[-1]).abs().sum(-1) / 2

    def wrong_half_forgotten(denoiser, x, place, mask_id):
        """*half*"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(-1)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (p[-1, place] @ (p[:-1] - p[-1]).abs().sum(-1)) * hidden

    def wrong_all_values_alike(denoiser, x, place, mask_id):
        """count alike"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(-1)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (p[:-1] - p[-1]).abs().sum(-1).mean(0) / 2 * hidden

    def wrong_likeliest_value(denoiser, x, place, mask_id):
        """likeliest"""
        alone = denoiser(x[None])[0].softmax(-1)
        y = x.clone()
        y[place] = alone[place].argmax()
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (denoiser(y[None])[0].softmax(-1) - alone).abs().sum(1) / 2 * hidden

    def wrong_averaged_first(denoiser, x, place, mask_id):
        """cancel"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(-1)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (torch.tensordot(p[-1, place], p[:-1] - p[-1], 1)).abs().sum(-1) / 2 * hidden

    def wrong_squares(denoiser, x, place, mask_id):
        """squared"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(-1)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (p[-1, place] @ (p[:-1] - p[-1]).pow(2).sum(-1)) / 2 * hidden

    def wrong_mean_over_values(denoiser, x, place, mask_id):
        """half of a sum"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(-1)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (p[-1, place] @ (p[:-1] - p[-1]).abs().mean(-1)) * hidden

    def wrong_in_place(denoiser, x, place, mask_id):
        """in place"""
        alone = denoiser(x[None])[0].softmax(-1)
        error = torch.zeros(len(x)).double()
        for a in range(mask_id):
            x[place] = a
            error += alone[place, a] * (denoiser(x[None])[0].softmax(-1) - alone).abs().sum(1) / 2
        return error * (x == mask_id)

    def wrong_three_values(denoiser, x, place, mask_id):
        """number written down"""
        ids = x.repeat(3, 1)
        ids[:, place] = torch.arange(3)
        alone, after = denoiser(x[None])[0].softmax(-1), denoiser(ids).softmax(-1)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (alone[place] @ (after - alone).abs().sum(-1)) / 2 * hidden

    def wrong_largest_difference(denoiser, x, place, mask_id):
        """differences of all values"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(-1)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (p[-1, place] @ (p[:-1] - p[-1]).abs().amax(-1)) * hidden

    def wrong_left_out(denoiser, x, place, mask_id):
        """not be left out"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(-1)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (p[-1, place] @ (p[:-1] - p[-1]).abs().sum(-1) / 2)[hidden]

    def wrong_bare_logits(denoiser, x, place, mask_id):
        """logits throughout"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (p[-1, place] @ (p[:-1] - p[-1]).abs().sum(-1) / 2) * hidden

    def wrong_exp_alone(denoiser, x, place, mask_id):
        """exp alone"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).exp()
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (p[-1, place] @ (p[:-1] - p[-1]).abs().sum(-1) / 2) * hidden

    def wrong_softmax_over_tokens(denoiser, x, place, mask_id):
        """over the tokens"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(1)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (p[-1, place] @ (p[:-1] - p[-1]).abs().sum(-1) / 2) * hidden

    def wrong_chance_at_the_other(denoiser, x, place, mask_id):
        """its chance at j"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(-1)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (p[-1].T * (p[:-1] - p[-1]).abs().sum(-1)).sum(0) / 2 * hidden

    def wrong_roles_exchanged(denoiser, x, place, mask_id):
        """change is read at the place"""
        alone = denoiser(x[None])[0].softmax(-1)
        error = torch.zeros(len(x))
        for j in (x == mask_id).nonzero()[:, 0].tolist():
            ids = x.repeat(mask_id, 1)
            ids[:, j] = torch.arange(mask_id)
            error[j] = alone[j] @ (denoiser(ids)[:, place].softmax(-1) - alone[place]).abs().sum(-1) / 2
        error[place] = 0
        return error

    def wrong_place_twice(denoiser, x, place, mask_id):
        """p_i in place of p_j"""
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(-1)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (p[-1, place] @ (p[:-1] - p[-1, place]).abs().sum(-1) / 2) * hidden

    def wrong_stops_early(denoiser, x, place, mask_id):
        """last value"""
        alone = denoiser(x[None])[0].softmax(-1)
        error = torch.zeros(len(x), dtype=alone.dtype)
        for a in range(mask_id - 1):
            y = x.index_fill(0, torch.tensor(place), a)
            error += alone[place, a] * (denoiser(y[None])[0].softmax(-1) - alone).abs().sum(1) / 2
        return error * (x == mask_id) * (torch.arange(len(x)) != place)

    def wrong_put_everywhere(denoiser, x, place, mask_id):
        """at every hidden token"""
        alone = denoiser(x[None])[0].softmax(-1)
        after = denoiser(torch.stack([x.where(x != mask_id, a) for a in range(mask_id)])).softmax(-1)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return torch.einsum("a,anv->n", alone[place], (after - alone).abs()) / 2 * hidden

    def wrong_mutual_information(denoiser, x, place, mask_id):
        ids = x.repeat(mask_id + 1, 1)
        ids[:-1, place] = torch.arange(mask_id)
        p = denoiser(ids).softmax(-1).clamp(min=1e-12)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return p[-1, place] @ (p[:-1] * (p[:-1] / p[-1]).log()).sum(-1) * hidden

    def wrong_one_pass_only(denoiser, x, place, mask_id):
        p = denoiser(x[None])[0].softmax(-1)
        hidden = (x == mask_id) & (torch.arange(len(x)) != place)
        return (p[place] - p).abs().sum(-1) / 2 * hidden

    def wrong_hands_over_to_a_schedule(denoiser, x, place, mask_id):
        """calls"""
        return linear().signal(x / mask_id)
