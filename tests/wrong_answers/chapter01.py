"""Answers to the exercises of chapter 01: right ones, and wrong ones with words that the grader must find for them."""

import math

import torch
import torch.nn.functional as F

from vqdit_lite.metrics import psnr as quality
from vqdit_lite.quantize import kmeans as lloyd
from vqdit_lite.quantize import nearest_code as read


class nearest_code:
    def right_with_all_differences(z, codebook):
        return (z[:, None] - codebook).square().sum(-1).min(1).indices

    def right_with_cdist(z, codebook):
        return torch.argsort(torch.cdist(z, codebook), dim=1)[:, 0]

    def right_one_by_one(z, codebook):
        return torch.tensor([min(range(len(codebook)), key=lambda k: (v - codebook[k]).norm().item()) for v in z])

    def wrong_farthest(z, codebook):
        """farthest codes"""
        return ((z[:, None] - codebook) ** 2).sum(-1).argmax(1)

    def wrong_products_only(z, codebook):
        """half the squared length"""
        return torch.einsum("md,kd->mk", z, codebook).argmax(1)

    def wrong_half_forgotten(z, codebook):
        """takes off half of it"""
        return (codebook.square().sum(1) - z @ codebook.T).argmin(1)

    def wrong_axis(z, codebook):
        """one id for each vector"""
        return (z[:, None] - codebook).square().sum(-1).argmin(0)

    def wrong_distances(z, codebook):
        """position"""
        return torch.cdist(z, codebook).min(1).values

    def wrong_codes_for_ids(z, codebook):
        """their ids"""
        return codebook[(z[:, None] - codebook).square().sum(-1).argmin(1)]

    def wrong_hard_coded_for_three_features(z, codebook):
        """number written down"""
        return (z.view(-1, 1, 3) - codebook).square().sum(-1).argmin(1)

    def wrong_largest_difference_of_sums(z, codebook):
        return (z.sum(1, keepdim=True) - codebook.sum(1)).abs().argmin(1)

    def wrong_largest_of_a_bracket_that_falls(z, codebook):
        """bracket"""
        return (z @ codebook.T - codebook.square().sum(1) / 2).argmin(1)

    def right_as_numpy(z, codebook):
        return torch.cdist(z, codebook).numpy().argmin(1)

    def wrong_directions(z, codebook):
        return F.cosine_similarity(z[:, None], codebook, dim=-1).argmax(1)

    def wrong_hands_back(z, codebook):
        """calls nearest_code"""
        return read(z, codebook)


class distortion_bound:
    def right_as_a_root(var, num_codes, dim):
        return var / num_codes ** (2 / dim)

    def right_by_the_exponential(var, num_codes, dim):
        return var * math.exp(-2 * math.log(num_codes) / dim)

    def wrong_logarithm(var, num_codes, dim):
        """log2"""
        rate = math.log(num_codes) / dim
        return var * 2 ** (-2 * rate)

    def wrong_whole_id_for_each(var, num_codes, dim):
        """divide by D"""
        return var / num_codes**2

    def wrong_half_the_exponent(var, num_codes, dim):
        """by four"""
        return var * num_codes ** (-1 / dim)

    def wrong_sign(var, num_codes, dim):
        """negative"""
        return var * num_codes ** (2 / dim)

    def wrong_deviation(var, num_codes, dim):
        """standard deviation"""
        return var**0.5 * num_codes ** (-2 / dim)

    def wrong_no_variance(var, num_codes, dim):
        """variance is missing"""
        return num_codes ** (-2 / dim)

    def wrong_root(var, num_codes, dim):
        """root of the bound"""
        return (var * num_codes ** (-2 / dim)) ** 0.5

    def wrong_whole_bits(var, num_codes, dim):
        """neither 6 nor 7"""
        return var * 4 ** (-math.ceil(math.log2(num_codes)) / dim)

    def wrong_bits_rounded_down(var, num_codes, dim):
        """rounded down"""
        return var * 4 ** (-(num_codes.bit_length() - 1) / dim)

    def wrong_rounded(var, num_codes, dim):
        return round(var * num_codes ** (-2 / dim), 1)

    def wrong_times_dim(var, num_codes, dim):
        return var * 2 ** (-2 * math.log2(num_codes) * dim)


class straight_through:
    def right_turned_round(z, codes):
        return codes.detach() + z - z.detach()

    def right_with_no_grad(z, codes):
        with torch.no_grad():
            step = codes - z
        return step + z

    def right_as_a_function_of_its_own(z, codes):
        class Pass(torch.autograd.Function):
            @staticmethod
            def forward(context, z, codes):
                return codes.clone()

            @staticmethod
            def backward(context, gradient):
                return gradient, None

        return Pass.apply(z, codes)

    def wrong_codes_only(z, codes):
        """no gradient arrives at z"""
        return codes.detach().clone()

    def wrong_no_stop(z, codes):
        """cancels"""
        return z - z + codes

    def wrong_stop_on_codes(z, codes):
        """no gradient arrives at z"""
        return z + codes.detach() - z

    def wrong_stop_on_z(z, codes):
        """codes get a gradient"""
        return z + (codes - z.detach())

    def wrong_input(z, codes):
        """value must be that of the codes"""
        return z + 0

    def wrong_places(z, codes):
        """changed places"""
        return codes - codes.detach() + z.detach()

    def wrong_way(z, codes):
        """wrong way"""
        with torch.no_grad():
            step = z - codes
        return z + step

    def wrong_plain_codes(z, codes):
        """goes to the codes"""
        return codes

    def wrong_in_place(z, codes):
        return z.data.add_(codes - z)


class vq_loss:
    def right_with_squares(z, codes, beta):
        return (z.detach() - codes).pow(2).mean() + (z - codes.detach()).pow(2).mean() * beta

    def right_with_norms(z, codes, beta):
        codebook, commitment = (z.detach() - codes).norm() ** 2, (codes.detach() - z).norm() ** 2
        return (codebook + beta * commitment) / z.numel()

    def wrong_beta(z, codes, beta):
        """belongs to the commitment"""
        return (z - codes.detach()).square().mean() + beta * (z.detach() - codes).square().mean()

    def wrong_no_stop(z, codes, beta):
        """stop gradient"""
        return F.mse_loss(z, codes) + beta * F.mse_loss(z, codes)

    def wrong_sum(z, codes, beta):
        """mean"""
        return F.mse_loss(codes, z.detach(), reduction="sum") + beta * F.mse_loss(z, codes.detach(), reduction="sum")

    def wrong_commitment_only(z, codes, beta):
        """codebook term is missing"""
        return beta * (z - codes.detach()).square().mean()

    def wrong_codebook_only(z, codes, beta):
        """commitment term is missing"""
        return (z.detach() - codes).square().mean()

    def wrong_stop_missing_in_codebook_term(z, codes, beta):
        """pushes z as well"""
        return (z - codes).square().mean() + beta * (z - codes.detach()).square().mean()

    def wrong_stop_missing_in_commitment(z, codes, beta):
        """pushes the codes as well"""
        return (z.detach() - codes).square().mean() + beta * (z - codes).square().mean()

    def wrong_beta_on_both(z, codes, beta):
        """weighs both"""
        return beta * ((z.detach() - codes).square() + (z - codes.detach()).square()).mean()

    def wrong_no_beta(z, codes, beta):
        """β is missing"""
        return ((z.detach() - codes).square() + (z - codes.detach()).square()).mean()

    def wrong_sum_over_features(z, codes, beta):
        """sums over the features"""
        codebook, commitment = (z.detach() - codes).square(), (z - codes.detach()).square()
        return (codebook + beta * commitment).sum(-1).mean()

    def wrong_beta_written_down(z, codes, beta):
        return F.mse_loss(codes, z.detach()) + 0.25 * F.mse_loss(z, codes.detach())

    def wrong_all_stopped(z, codes, beta):
        """No gradient arrives"""
        return F.mse_loss(codes.detach(), z.detach()) * (1 + beta)


class ema_update:
    def right_with_one_hot(counts, sums, z, ids, decay):
        chosen = F.one_hot(ids, len(counts)).float()  # (M, K)
        return counts.lerp(chosen.sum(0), 1 - decay), sums.lerp(chosen.T @ z, 1 - decay)

    def right_code_by_code(counts, sums, z, ids, decay):
        n = torch.stack([(ids == k).sum() for k in range(len(counts))])
        s = torch.stack([z[ids == k].sum(0) for k in range(len(counts))])
        return counts + (1 - decay) * (n - counts), sums + (1 - decay) * (s - sums)

    def wrong_decay(counts, sums, z, ids, decay):
        """swapped"""
        chosen = F.one_hot(ids, len(counts)).float()
        return (1 - decay) * counts + decay * chosen.sum(0), (1 - decay) * sums + decay * chosen.T @ z

    def wrong_means(counts, sums, z, ids, decay):
        """running *sum*"""
        chosen = F.one_hot(ids, len(counts)).float()
        n = chosen.sum(0)
        return counts.lerp(n, 1 - decay), sums.lerp(chosen.T @ z / n.clamp(min=1)[:, None], 1 - decay)

    def wrong_batch_in_whole(counts, sums, z, ids, decay):
        """multiplies it by"""
        chosen = F.one_hot(ids, len(counts)).float()
        return decay * counts + chosen.sum(0), decay * sums + chosen.T @ z

    def wrong_only_the_chosen(counts, sums, z, ids, decay):
        """must decay, too"""
        counts, sums = counts.clone(), sums.clone()
        for k in ids.unique():
            counts[k] = decay * counts[k] + (1 - decay) * (ids == k).sum()
            sums[k] = decay * sums[k] + (1 - decay) * z[ids == k].sum(0)
        return counts, sums

    def wrong_last_one_wins(counts, sums, z, ids, decay):
        """all must be added"""
        n, s = torch.zeros_like(counts), torch.zeros_like(sums)
        n[ids] += 1
        s[ids] += z
        return counts.lerp(n, 1 - decay), sums.lerp(s, 1 - decay)

    def wrong_sums_lost(counts, sums, z, ids, decay):
        """counts are right"""
        s = torch.zeros_like(sums)
        s[ids] += z
        return counts.lerp(torch.bincount(ids, minlength=len(counts)).float(), 1 - decay), sums.lerp(s, 1 - decay)

    def wrong_shares(counts, sums, z, ids, decay):
        """shares of the batch"""
        chosen = F.one_hot(ids, len(counts)).float() / len(ids)
        return counts.lerp(chosen.sum(0), 1 - decay), sums.lerp(chosen.T @ z, 1 - decay)

    def wrong_batch_alone(counts, sums, z, ids, decay):
        """batch alone"""
        chosen = F.one_hot(ids, len(counts)).float()
        return chosen.sum(0), chosen.T @ z

    def wrong_order(counts, sums, z, ids, decay):
        """Counts come first"""
        chosen = F.one_hot(ids, len(counts)).float()
        return sums.lerp(chosen.T @ z, 1 - decay), counts.lerp(chosen.sum(0), 1 - decay)

    def wrong_in_place(counts, sums, z, ids, decay):
        """in place"""
        chosen = F.one_hot(ids, len(counts)).float()
        return counts.lerp_(chosen.sum(0), 1 - decay), sums.lerp_(chosen.T @ z, 1 - decay)


class revive:
    def right_with_a_mask(codebook, counts, sums, fresh, fair, share):
        codebook, counts, sums = codebook.clone(), counts.clone(), sums.clone()
        dead = counts / fair < share
        codebook[dead], counts[dead], sums[dead] = fresh[dead], fair, fair * fresh[dead]
        return codebook, counts, sums

    def right_code_by_code(codebook, counts, sums, fresh, fair, share):
        rows = [
            (fresh[k], torch.tensor(fair), fair * fresh[k])
            if counts[k] < share * fair
            else (codebook[k], counts[k], sums[k])
            for k in range(len(counts))
        ]
        return tuple(torch.stack(column) for column in zip(*rows, strict=True))

    def wrong_as_given(codebook, counts, sums, fresh, fair, share):
        """function of the text"""
        dead = counts < share
        codebook = torch.where(dead[:, None], fresh, codebook)
        return codebook, counts, sums

    def wrong_border(codebook, counts, sums, fresh, fair, share):
        """so it lives"""
        dead = counts <= share * fair
        return (
            fresh.where(dead[:, None], codebook),
            counts.masked_fill(dead, fair),
            (fair * fresh).where(dead[:, None], sums),
        )

    def wrong_old_count_in_the_sum(codebook, counts, sums, fresh, fair, share):
        """*old* count"""
        dead = counts < share * fair
        return (
            fresh.where(dead[:, None], codebook),
            counts.masked_fill(dead, fair),
            (counts[:, None] * fresh).where(dead[:, None], sums),
        )

    def wrong_code_only(codebook, counts, sums, fresh, fair, share):
        """straight back"""
        dead = (counts < share * fair)[:, None]
        return fresh.where(dead, codebook), counts, sums

    def wrong_sum_forgotten(codebook, counts, sums, fresh, fair, share):
        """The sum of a dead code"""
        dead = counts < share * fair
        return fresh.where(dead[:, None], codebook), counts.masked_fill(dead, fair), sums

    def wrong_count_forgotten(codebook, counts, sums, fresh, fair, share):
        """dead again"""
        dead = (counts < share * fair)[:, None]
        return fresh.where(dead, codebook), counts, (fair * fresh).where(dead, sums)

    def wrong_sum_without_count(codebook, counts, sums, fresh, fair, share):
        """sum must fit the count"""
        dead = counts < share * fair
        return fresh.where(dead[:, None], codebook), counts.masked_fill(dead, fair), fresh.where(dead[:, None], sums)

    def wrong_threshold(codebook, counts, sums, fresh, fair, share):
        """share · fair"""
        dead = counts < share
        return (
            fresh.where(dead[:, None], codebook),
            counts.masked_fill(dead, fair),
            (fair * fresh).where(dead[:, None], sums),
        )

    def wrong_living(codebook, counts, sums, fresh, fair, share):
        """restarts the living"""
        alive = counts >= share * fair
        return (
            fresh.where(alive[:, None], codebook),
            counts.masked_fill(alive, fair),
            (fair * fresh).where(alive[:, None], sums),
        )

    def wrong_counts_of_one(codebook, counts, sums, fresh, fair, share):
        dead = counts < share * fair
        return fresh.where(dead[:, None], codebook), counts.masked_fill(dead, 1), fresh.where(dead[:, None], sums)


class held_out_gap:
    def right_by_hand(patches, num_codes, generator):
        half = len(patches) // 2
        codebook = lloyd(patches[:half], num_codes, generator)
        errors = [torch.cdist(x, codebook).amin(1).square().sum() / x.numel() for x in (patches[:half], patches[half:])]
        return [-10 * math.log10(error) for error in errors]

    def right_with_the_library(patches, num_codes, generator):
        train, held_out = patches.split(len(patches) // 2)
        codebook = lloyd(train, num_codes, generator)
        return [quality(codebook[read(x, codebook)], x) for x in (train, held_out)]

    def wrong_nothing_held_out(patches, num_codes, generator):
        """nothing is held out"""
        codebook = lloyd(patches, num_codes, generator)
        return [quality(codebook[read(x, codebook)], x) for x in patches.chunk(2)]

    def wrong_two_codebooks(patches, num_codes, generator):
        """codebook of its own"""
        books = [(x, lloyd(x, num_codes, generator)) for x in patches.chunk(2)]
        return [quality(codebook[read(x, codebook)], x) for x, codebook in books]

    def wrong_same_half(patches, num_codes, generator):
        """Both numbers"""
        train, _ = patches.chunk(2)
        codebook = lloyd(train, num_codes, generator)
        return [quality(codebook[read(train, codebook)], train)] * 2

    def wrong_order(patches, num_codes, generator):
        """The order is"""
        train, held_out = patches.chunk(2)
        codebook = lloyd(train, num_codes, generator)
        return [quality(codebook[read(x, codebook)], x) for x in (held_out, train)]

    def wrong_errors(patches, num_codes, generator):
        """decibels"""
        train, held_out = patches.chunk(2)
        codebook = lloyd(train, num_codes, generator)
        return [(codebook[read(x, codebook)] - x).square().mean() for x in (train, held_out)]

    def right_as_a_tensor(patches, num_codes, generator):
        codebook = lloyd(patches[: len(patches) // 2], num_codes, generator)
        return torch.tensor([quality(codebook[read(x, codebook)], x) for x in patches.chunk(2)])

    def wrong_half(patches, num_codes, generator):
        """fitted to the second half"""
        held_out, train = patches.chunk(2)
        codebook = lloyd(train, num_codes, generator)
        return [quality(codebook[read(x, codebook)], x) for x in (train, held_out)]

    def wrong_all_as_held_out(patches, num_codes, generator):
        """that of all patches"""
        train, _ = patches.chunk(2)
        codebook = lloyd(train, num_codes, generator)
        return [quality(codebook[read(x, codebook)], x) for x in (train, patches)]

    def wrong_patch_by_patch(patches, num_codes, generator):
        """all patches of a half together"""
        codebook = lloyd(patches.chunk(2)[0], num_codes, generator)
        parts = [[quality(codebook[read(x, codebook)], x) for x in half.split(1)] for half in patches.chunk(2)]
        return [sum(part) / len(part) for part in parts]

    def wrong_generator(patches, num_codes, generator):
        """with that generator"""
        train, held_out = patches.chunk(2)
        codebook = lloyd(train, num_codes, torch.Generator().manual_seed(1))
        return [quality(codebook[read(x, codebook)], x) for x in (train, held_out)]

    def wrong_one_number(patches, num_codes, generator):
        train, held_out = patches.chunk(2)
        codebook = lloyd(train, num_codes, generator)
        return quality(codebook[read(held_out, codebook)], held_out)
