"""Answers to the exercises of chapter 02: right ones, and wrong ones with words that the grader must find for them."""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F

from vqdit_lite.metrics import psnr, usage
from vqdit_lite.quantize import FiniteScalarQuantizer, VectorQuantizer, nearest_code, rotation, straight_through
from vqdit_lite.residual import ResidualQuantizer
from vqdit_lite.transformer import unpatchify


class compression:
    def right_token_by_token(shape, patch, num_codes, stages):
        channels, height, width = shape
        bits = sum(
            math.log2(num_codes) for _ in range(0, height, patch) for _ in range(0, width, patch) for _ in range(stages)
        )
        return bits, height * width * channels * 8 / bits

    def right_with_prod(shape, patch, num_codes, stages):
        per_token = math.log(num_codes**stages) / math.log(2)
        tokens = math.prod(shape[1:]) / patch**2
        return tokens * per_token, 8 * math.prod(shape) / (tokens * per_token)

    def right_as_tensors(shape, patch, num_codes, stages):
        bits = torch.tensor(float(num_codes)).log2() * stages * (shape[1] // patch) * (shape[2] // patch)
        return [bits, 8 * torch.tensor(shape).prod() / bits]

    def wrong_logarithm(shape, patch, num_codes, stages):
        """log2"""
        bits = shape[1] * shape[2] // patch**2 * stages * math.log(num_codes)
        return bits, 8 * math.prod(shape) / bits

    def wrong_rounded_up(shape, patch, num_codes, stages):
        """nothing is rounded up"""
        bits = shape[1] * shape[2] // patch**2 * stages * (num_codes - 1).bit_length()
        return bits, 8 * math.prod(shape) / bits

    def wrong_side_of_a_patch(shape, patch, num_codes, stages):
        """patch × patch"""
        bits = shape[1] * shape[2] // patch * stages * math.log2(num_codes)
        return bits, 8 * math.prod(shape) / bits

    def wrong_one_stage(shape, patch, num_codes, stages):
        """every stage"""
        bits = shape[1] * shape[2] // patch**2 * math.log2(num_codes)
        return bits, 8 * math.prod(shape) / bits

    def wrong_books_joined(shape, patch, num_codes, stages):
        """laid together"""
        bits = shape[1] * shape[2] // patch**2 * math.log2(stages * num_codes)
        return bits, 8 * math.prod(shape) / bits

    def wrong_power(shape, patch, num_codes, stages):
        """do not multiply"""
        bits = shape[1] * shape[2] // patch**2 * math.log2(num_codes) ** stages
        return bits, 8 * math.prod(shape) / bits

    def wrong_channels_in_tokens(shape, patch, num_codes, stages):
        """all channels"""
        bits = math.prod(shape) // patch**2 * stages * math.log2(num_codes)
        return bits, 8 * math.prod(shape) / bits

    def wrong_grey_picture(shape, patch, num_codes, stages):
        """each channel"""
        bits = shape[1] * shape[2] // patch**2 * stages * math.log2(num_codes)
        return bits, 8 * shape[1] * shape[2] / bits

    def wrong_channels_last(shape, patch, num_codes, stages):
        """come first"""
        bits = (shape[0] * shape[1]) // patch**2 * stages * math.log2(num_codes)
        return bits, 8 * math.prod(shape) / bits

    def wrong_numbers_for_bits(shape, patch, num_codes, stages):
        """8 bits each"""
        bits = shape[1] * shape[2] // patch**2 * stages * math.log2(num_codes)
        return bits, math.prod(shape) / bits

    def wrong_upside_down(shape, patch, num_codes, stages):
        """upside down"""
        bits = shape[1] * shape[2] // patch**2 * stages * math.log2(num_codes)
        return bits, bits / (8 * math.prod(shape))

    def wrong_rounded_down(shape, patch, num_codes, stages):
        """nothing is rounded down"""
        bits = shape[1] * shape[2] // patch**2 * stages * (num_codes.bit_length() - 1)
        return bits, 8 * math.prod(shape) / bits

    def wrong_whole_factor(shape, patch, num_codes, stages):
        """cut off to a whole number"""
        bits = shape[1] * shape[2] // patch**2 * stages * math.log2(num_codes)
        return bits, 8 * math.prod(shape) // bits

    def wrong_square_pictures(shape, patch, num_codes, stages):
        """need not be square"""
        channels, height, _ = shape
        bits = (height // patch) ** 2 * stages * math.log2(num_codes)
        return bits, 8 * channels * height**2 / bits

    def wrong_difference(shape, patch, num_codes, stages):
        """a difference"""
        bits = shape[1] * shape[2] // patch**2 * stages * math.log2(num_codes)
        return bits, 8 * math.prod(shape) - bits

    def wrong_bytes(shape, patch, num_codes, stages):
        """in bytes"""
        count = shape[1] * shape[2] // patch**2 * stages * math.log2(num_codes) / 8
        return count, math.prod(shape) / count

    def wrong_three_channels(shape, patch, num_codes, stages):
        bits = shape[1] * shape[2] // patch**2 * stages * math.log2(num_codes)
        return bits, 8 * 3 * shape[1] * shape[2] / bits

    def wrong_factor_alone(shape, patch, num_codes, stages):
        return 8 * math.prod(shape) / (shape[1] * shape[2] // patch**2 * stages * math.log2(num_codes))


class to_grid:
    def right_like_the_decoder(tokens, grid):
        return tokens.transpose(1, 2).unflatten(2, grid)

    def right_rows_first(tokens, grid):
        return tokens.reshape(len(tokens), *grid, -1).permute(0, 3, 1, 2)

    def right_folded(tokens, grid):
        return F.fold(tokens.transpose(1, 2), grid, kernel_size=1)

    def right_in_numpy(tokens, grid):
        batch, _, dim = tokens.shape
        return np.moveaxis(tokens.numpy(), 2, 1).reshape(batch, dim, *grid)

    def right_place_by_place(tokens, grid):
        batch, _, dim = tokens.shape
        features = torch.empty(batch, dim, *grid)
        for y in range(grid[0]):
            for x in range(grid[1]):
                features[:, :, y, x] = tokens[:, y * grid[1] + x]
        return features

    def wrong_view(tokens, grid):
        """reshaping alone"""
        return tokens.contiguous().view(tokens.shape[0], -1, *grid)

    def wrong_features_last(tokens, grid):
        """features still come last"""
        return torch.stack([row for row in tokens.split(grid[1], dim=1)], 1)

    def wrong_columns_first(tokens, grid):
        """first *row*"""
        return torch.stack(tokens.mT.split(grid[0], dim=2), 3)

    def wrong_sides(tokens, grid):
        """Rows and columns are swapped"""
        return tokens.reshape(len(tokens), *grid, -1).permute(0, 3, 2, 1)

    def wrong_sides_of_an_oblong(tokens, grid):
        """Height and width"""
        height, width = grid
        return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], width, height)

    def wrong_features_first(tokens, grid):
        """before the pictures"""
        return torch.stack([feature.unflatten(1, grid) for feature in tokens.unbind(2)])

    def wrong_not_laid_out(tokens, grid):
        """lay them out"""
        return tokens.permute(0, 2, 1)

    def wrong_always_square(tokens, grid):
        """number written down"""
        side = round(tokens.shape[1] ** 0.5)
        return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], side, side)

    def wrong_upside_down(tokens, grid):
        return tokens.transpose(1, 2).unflatten(2, grid).flip(2)

    def wrong_hands_over(tokens, grid):
        """calls unpatchify"""
        return unpatchify(tokens, 1, grid)


class finite_scalar:
    def right_feature_by_feature(z, levels):
        codes, ids, step = [], 0, 1
        for feature, count in zip(z.unbind(-1), levels.tolist(), strict=True):
            reach = count // 2
            level = (feature.tanh() * reach).round().detach()
            codes.append(feature.tanh() + (level / reach - feature.tanh()).detach())
            ids, step = ids + (level.long() + reach) * step, step * count
        return torch.stack(codes, -1), ids

    def right_with_the_library(z, levels):
        scaled = torch.tanh(z) * (levels // 2)
        rounded = straight_through(scaled, torch.round(scaled))
        digits = rounded.detach().long() + levels // 2
        return rounded / (levels // 2), (digits * (levels.cumprod(0) // levels)).sum(-1)

    def right_on_digits(z, levels):
        place = (z.tanh() + 1) / 2 * (levels - 1)  # from 0 to L - 1
        digits = place.round()
        ids = digits[..., -1]
        for d in reversed(range(len(levels) - 1)):  # Horner's scheme
            ids = ids * levels[d] + digits[..., d]
        nearest = digits / (levels - 1) * 2 - 1
        return z.tanh() + (nearest - z.tanh()).detach(), ids.long()

    def right_nearest_of_all_levels(z, levels):
        codes, ids, step = [], 0, 1
        for d, count in enumerate(levels.tolist()):
            values = torch.linspace(-1, 1, count)
            digits = (z[..., d, None].tanh() - values).abs().argmin(-1)
            codes.append(values[digits])
            ids, step = ids + digits * step, step * count
        return straight_through(z.tanh(), torch.stack(codes, -1)), ids

    def wrong_digits_cut_off(z, levels):
        """not rounded"""
        scaled = z.tanh() * (levels // 2)
        ids = _id((scaled + levels // 2).long(), levels)
        return straight_through(scaled, scaled.round()) / (levels // 2), ids

    def wrong_equal_pieces(z, levels):
        """pieces of the same width"""
        digits = ((z.tanh() + 1) / 2 * levels).floor().clamp(max=levels - 1)
        return straight_through(z.tanh(), 2 * digits / (levels - 1) - 1), _id(digits.long(), levels)

    def wrong_stretched_to_half_the_levels(z, levels):
        """pieces of [-1, 1] of the same width"""
        scaled = z.tanh() * levels / 2
        ids = _id(scaled.round().long() + levels // 2, levels)
        return straight_through(scaled, scaled.round()) / (levels // 2), ids

    def wrong_moved_sigmoid(z, levels):
        """tanh of z / 2"""
        digits = (z.sigmoid() * (levels - 1)).round()
        return straight_through(2 * z.sigmoid() - 1, 2 * digits / (levels - 1) - 1), _id(digits.long(), levels)

    def wrong_gradient_shrunk_only(z, levels):
        """the gradient is too short"""
        steps = (z.tanh() * (levels // 2)).round()
        return straight_through(z.tanh(), steps) / (levels // 2), _id(steps.long() + levels // 2, levels)

    def wrong_divided_by_levels(z, levels):
        """nearer to 0"""
        scaled = z.tanh() * (levels // 2)
        return straight_through(scaled, scaled.round()) / levels, _id(scaled.round().long() + levels // 2, levels)

    def wrong_sum_of_digits(z, levels):
        """only added up"""
        scaled = z.tanh() * (levels // 2)
        return straight_through(scaled, scaled.round()) / (levels // 2), (scaled.round() + levels // 2).long().sum(-1)

    def wrong_counts_from_the_top(z, levels):
        """not the highest"""
        scaled = z.tanh() * (levels // 2)
        return straight_through(scaled, scaled.round()) / (levels // 2), _id(
            levels // 2 - scaled.round().long(), levels
        )

    def wrong_hands_over(z, levels):
        """calls FiniteScalarQuantizer"""
        quantized = FiniteScalarQuantizer(levels.tolist())(z[None])
        return quantized.codes[0], quantized.ids[0]

    def wrong_on_even_numbers(z, levels):
        # Twice as far apart as asked, so that every second level is never taken.
        scaled = z.tanh() * (levels // 2)
        rounded = 2 * (scaled / 2).round()
        return straight_through(scaled, rounded) / (levels // 2), _id(rounded.long() + levels // 2, levels)

    def wrong_no_gradient(z, levels):
        """derivative zero"""
        level = (z.tanh() * (levels // 2)).round()
        return level / (levels // 2), _id(level.long() + levels // 2, levels)

    def wrong_gradient_of_one(z, levels):
        """jumps over the tanh"""
        level = (z.tanh() * (levels // 2)).round()
        return straight_through(z, level / (levels // 2)), _id(level.long() + levels // 2, levels)

    def wrong_cut_off(z, levels):
        """cut off"""
        scaled = z.clamp(-1, 1) * (levels // 2)
        rounded = straight_through(scaled, scaled.round())
        return rounded / (levels // 2), _id(rounded.long() + levels // 2, levels)

    def wrong_half_a_level_too_far(z, levels):
        """half a level too far"""
        scaled = z.tanh() * levels / 2
        rounded = straight_through(scaled, scaled.round())
        return rounded / (levels / 2), _id(rounded.detach().long() + levels // 2, levels)

    def wrong_in_steps(z, levels):
        """scale them back"""
        scaled = z.tanh() * (levels // 2)
        return straight_through(scaled, scaled.round()), _id(scaled.round().long() + levels // 2, levels)

    def wrong_last_digit_first(z, levels):
        """from the other end"""
        scaled = z.tanh() * (levels // 2)
        digits, ids = scaled.round().long() + levels // 2, 0
        for d in range(len(levels)):
            ids = ids * levels[d] + digits[..., d]
        return straight_through(scaled, scaled.round()) / (levels // 2), ids

    def wrong_negative_digits(z, levels):
        """counts from 0"""
        scaled = z.tanh() * (levels // 2)
        return straight_through(scaled, scaled.round()) / (levels // 2), _id(scaled.round().long(), levels)

    def wrong_own_levels_too(z, levels):
        """stops *before*"""
        scaled = z.tanh() * (levels // 2)
        digits, ids, step = scaled.round().long() + levels // 2, 0, 1
        for d in range(len(levels)):
            step = step * levels[d]
            ids = ids + step * digits[..., d]
        return straight_through(scaled, scaled.round()) / (levels // 2), ids

    def wrong_one_base(z, levels):
        """base of its own"""
        scaled = z.tanh() * (levels // 2)
        digits = scaled.round().long() + levels // 2
        ids = sum(digits[..., d] * levels[0] ** d for d in range(len(levels)))
        return straight_through(scaled, scaled.round()) / (levels // 2), ids

    def wrong_cut_off_towards_zero(z, levels):
        """goes to the nearest"""
        scaled = z.tanh() * (levels // 2)
        return straight_through(scaled, scaled.trunc()) / (levels // 2), _id(scaled.int() + levels // 2, levels)

    def wrong_gradient_not_shrunk(z, levels):
        """the gradient is too long"""
        scaled = z.tanh() * (levels // 2)
        codes = straight_through(scaled, scaled.round() / (levels // 2))
        return codes, _id(scaled.round().long() + levels // 2, levels)

    def wrong_ids_of_floating_point(z, levels):
        """whole numbers"""
        scaled = z.tanh() * (levels // 2)
        rounded = straight_through(scaled, scaled.round())
        return rounded / (levels // 2), _id(rounded.detach() + levels // 2, levels)

    def wrong_floor(z, levels):
        """goes down to the next level"""
        scaled = z.tanh() * (levels // 2)
        return straight_through(scaled, scaled.floor()) / (levels // 2), _id(
            scaled.floor().long() + levels // 2, levels
        )


def _id(digits, levels):
    return sum(digits[..., d] * math.prod(levels[:d].tolist()) for d in range(len(levels)))


class residual_quantize:
    def right_with_running_sum(z, codebooks):
        total, ids = torch.zeros_like(z), []
        for codebook in codebooks:
            ids.append(nearest_code(z - total, codebook))
            total = total + codebook[ids[-1]]
        return torch.stack(ids, dim=-1), total

    def right_from_what_is_left(z, codebooks):
        rest, ids = z.clone(), torch.empty(len(z), len(codebooks), dtype=torch.long)
        for i in range(len(codebooks)):
            ids[:, i] = (rest[:, None] - codebooks[i]).square().sum(-1).argmin(1)
            rest -= codebooks[i, ids[:, i]]
        return ids, z - rest

    def right_by_recursion(z, codebooks):
        ids = torch.cdist(z, codebooks[0]).argmin(1)
        codes = codebooks[0][ids]
        if len(codebooks) == 1:
            return ids[:, None], codes
        later, total = residual_quantize.right_by_recursion(z - codes, codebooks[1:])
        return torch.cat([ids[:, None], later], 1), codes + total

    def wrong_z_again(z, codebooks):
        """Every stage quantizes z itself"""
        ids = [nearest_code(z, codebook) for codebook in codebooks]
        return torch.stack(ids, 1), sum(codebook[i] for codebook, i in zip(codebooks, ids, strict=True))

    def wrong_last_code_off(z, codebooks):
        """only the last code"""
        rest, ids, total = z, [], 0
        for codebook in codebooks:
            ids.append(nearest_code(rest, codebook))
            codes = codebook[ids[-1]]
            rest, total = z - codes, total + codes
        return torch.stack(ids, 1), total

    def wrong_code_handed_on(z, codebooks):
        """gets the code itself"""
        ids, total = [], 0
        for codebook in codebooks:
            ids.append(nearest_code(z, codebook))
            z = codebook[ids[-1]]
            total = total + z
        return torch.stack(ids, 1), total

    def wrong_last_stage(z, codebooks):
        """last stage alone"""
        ids = []
        for codebook in codebooks:
            ids.append(nearest_code(z, codebook))
            codes = codebook[ids[-1]]
            z = z - codes
        return torch.stack(ids, 1), codes

    def wrong_left_over(z, codebooks):
        """what is left over at the end"""
        ids = []
        for codebook in codebooks:
            ids.append(nearest_code(z, codebook))
            z = z - codebook[ids[-1]]
        return torch.stack(ids, 1), z

    def wrong_sum_off_the_rest(z, codebooks):
        """have been taken off already"""
        rest, ids, total = z, [], 0
        for codebook in codebooks:
            ids.append(nearest_code(rest, codebook))
            total = total + codebook[ids[-1]]
            rest = rest - total
        return torch.stack(ids, 1), total

    def wrong_way_round(z, codebooks):
        """one row for each vector"""
        ids, total = [], 0
        for codebook in codebooks:
            ids.append(nearest_code(z - total, codebook))
            total = total + codebook[ids[-1]]
        return torch.stack(ids), total

    def wrong_order(z, codebooks):
        """first the ids"""
        ids, total = [], 0
        for codebook in codebooks:
            ids.append(nearest_code(z - total, codebook))
            total = total + codebook[ids[-1]]
        return total, torch.stack(ids, 1)

    def wrong_first_book_only(z, codebooks):
        """each has its own"""
        ids, total = [], torch.zeros_like(z)
        for _ in codebooks:
            ids.append(nearest_code(z - total, codebooks[0]))
            total += codebooks[0, ids[-1]]
        return torch.stack(ids, 1), total

    def wrong_in_place(z, codebooks):
        """in place"""
        ids, whole = [], z.clone()
        for codebook in codebooks:
            ids.append(nearest_code(z, codebook))
            z -= codebook[ids[-1]]
        return torch.stack(ids, 1), whole - z

    def wrong_hands_over(z, codebooks):
        """Do without it"""
        quantizer = ResidualQuantizer([VectorQuantizer(*codebook.shape) for codebook in codebooks])
        return quantizer(z[None]).ids[0], quantizer(z[None]).codes[0]

    def wrong_cut_from_one_row(z, codebooks):
        """one long row"""
        ids, total = [], 0
        for codebook in codebooks:
            ids.append(nearest_code(z - total, codebook))
            total = total + codebook[ids[-1]]
        return torch.cat(ids).view(len(z), len(codebooks)), total

    def wrong_list_of_ids(z, codebooks):
        """make one tensor"""
        ids, total = [], 0
        for codebook in codebooks:
            ids.append(nearest_code(z - total, codebook))
            total = total + codebook[ids[-1]]
        return ids, total

    def wrong_ids_run_on(z, codebooks):
        """start at 0 again"""
        ids, total = [], 0
        for stage, codebook in enumerate(codebooks):
            chosen = nearest_code(z - total, codebook)
            total = total + codebook[chosen]
            ids.append(chosen + stage * len(codebook))
        return torch.stack(ids, 1), total

    def wrong_largest_product(z, codebooks):
        """own length counts"""
        ids, total = [], torch.zeros_like(z)
        for codebook in codebooks:
            ids.append(torch.einsum("md,kd->mk", z - total, codebook).max(1).indices)
            total = total + codebook[ids[-1]]
        return torch.stack(ids, 1), total

    def wrong_looked_up_in_the_first(z, codebooks):
        """looked up in the first codebook"""
        ids = []
        for codebook in codebooks:
            ids.append(nearest_code(z, codebook))
            z = z - codebook[ids[-1]]
        ids = torch.stack(ids, 1)
        return ids, codebooks[0][ids].sum(1)

    def wrong_sum_of_what_is_given(z, codebooks):
        """*given* is added up"""
        ids, total = [], 0
        for codebook in codebooks:
            total = total + z
            ids.append(nearest_code(z, codebook))
            z = z - codebook[ids[-1]]
        return torch.stack(ids, 1), total

    def wrong_best_of_all_sums(z, codebooks):
        """choose together"""
        ids, total = torch.zeros(1, 0, dtype=torch.long), torch.zeros(1, z.shape[1])
        for codebook in codebooks:
            total = (total[:, None] + codebook).flatten(0, 1)
            new = torch.arange(len(codebook)).repeat(len(ids))[:, None]
            ids = torch.cat([ids.repeat_interleave(len(codebook), 0), new], 1)
        best = nearest_code(z, total)
        return ids[best], total[best]

    def wrong_directions_only(z, codebooks):
        ids, total = [], torch.zeros_like(z)
        for codebook in codebooks:
            ids.append((_unit(z - total) @ _unit(codebook).T).argmax(1))
            total = total + codebook[ids[-1]]
        return torch.stack(ids, 1), total

    def wrong_stages_backwards(z, codebooks):
        ids, total = [], 0
        for codebook in reversed(codebooks):
            ids.append(nearest_code(z - total, codebook))
            total = total + codebook[ids[-1]]
        return torch.stack(ids[::-1], 1), total


class residual_commitment:
    def right_with_running_sum(z, ids, codebooks):
        codes = torch.stack([codebooks[i, ids[:, i]] for i in range(len(codebooks))])  # (S, M, D)
        rests = z - (codes.cumsum(0) - codes).detach()
        return (rests - codes.detach()).square().mean((1, 2)).sum()

    def right_without_gradient_of_codes(z, ids, codebooks):
        with torch.no_grad():
            codes = [codebook[i] for codebook, i in zip(codebooks, ids.T, strict=True)]
        losses = []
        for stage in codes:
            losses.append(F.mse_loss(z, stage))
            z = z - stage
        return sum(losses)

    def right_from_what_is_left(z, ids, codebooks):
        loss = 0
        for i, codebook in enumerate(codebooks.detach()):
            z = z - codebook[ids[:, i]]
            loss = loss + z.pow(2).sum() / z.numel()
        return loss

    def wrong_as_shown(z, ids, codebooks):
        """what the function of the text does"""
        rest, loss = z, 0
        for stage, codebook in enumerate(codebooks):
            codes = codebook[ids[:, stage]].detach()
            loss = loss + (rest - codes).square().mean()
            passed_on = rest + (codes - rest).detach()
            rest = rest - passed_on
        return loss

    def wrong_with_the_library(z, ids, codebooks):
        """only the first stage teaches"""
        rest, loss = z, 0
        for stage, codebook in enumerate(codebooks):
            codes = codebook[ids[:, stage]].detach()
            loss = loss + F.mse_loss(rest, codes)
            rest = rest - straight_through(rest, codes)
        return loss

    def right_with_one_detach(z, ids, codebooks):
        rest, loss = z, 0
        for stage, codebook in enumerate(codebooks):
            codes = codebook[ids[:, stage]].detach()
            loss = loss + (rest - codes).square().mean()
            passed_on = rest + (codes - rest).detach()
            rest = rest - passed_on.detach()
        return loss

    def wrong_plain_number(z, ids, codebooks):
        """plain number"""
        rest, loss = z, 0
        for stage, codebook in enumerate(codebooks):
            rest = rest - codebook[ids[:, stage]].detach()
            loss = loss + rest.square().mean().item()
        return loss

    def wrong_codes_handed_on(z, ids, codebooks):
        """it should get what they leave over"""
        rest, loss = z, 0
        for stage, codebook in enumerate(codebooks):
            codes = codebook[ids[:, stage]].detach()
            loss = loss + F.mse_loss(rest, codes)
            rest = straight_through(rest, codes)
        return loss

    def wrong_added(z, ids, codebooks):
        """added to the rest"""
        rest, loss = z, 0
        for stage, codebook in enumerate(codebooks):
            codes = codebook[ids[:, stage]].detach()
            loss = loss + (rest - codes).square().mean()
            rest = rest + rest + (codes - rest).detach()
        return loss

    def wrong_a_loss_for_each(z, ids, codebooks):
        """one number"""
        losses = []
        for stage, codebook in enumerate(codebooks.detach()):
            z = z - codebook[ids[:, stage]]
            losses.append(z.square().mean())
        return torch.stack(losses)

    def wrong_rest_detached(z, ids, codebooks):
        """cut off"""
        rest, loss = z, 0
        for codebook, chosen in zip(codebooks, ids.unbind(1), strict=True):
            codes = codebook[chosen].detach()
            loss = loss + F.mse_loss(codes, rest)
            rest = (rest - codes).detach()
        return loss

    def wrong_no_detach(z, ids, codebooks):
        """moves the encoder alone"""
        loss = 0
        for stage, codebook in enumerate(codebooks):
            z = z - codebook[ids[:, stage]]
            loss = loss + z.square().mean()
        return loss

    def wrong_codes_by_way_of_the_rest(z, ids, codebooks):
        """by way of the rest"""
        rest, loss = z, 0
        for stage, codebook in enumerate(codebooks):
            codes = codebook[ids[:, stage]]
            loss = loss + (rest - codes.detach()).square().mean()
            rest = rest - codes
        return loss

    def wrong_codebook_loss(z, ids, codebooks):
        """codebook loss"""
        rest, loss = z.detach(), 0
        for stage, codebook in enumerate(codebooks):
            rest = rest - codebook[ids[:, stage]]
            loss = loss + rest.square().mean()
        return loss

    def wrong_z_in_every_stage(z, ids, codebooks):
        """compared with z itself"""
        return sum(F.mse_loss(z, codebook[ids[:, i]].detach()) for i, codebook in enumerate(codebooks))

    def wrong_after_its_own_codes(z, ids, codebooks):
        """taken off twice"""
        loss = 0
        for stage, codebook in enumerate(codebooks.detach()):
            codes = codebook[ids[:, stage]]
            z = z - codes
            loss = loss + F.mse_loss(z, codes)
        return loss

    def wrong_mean_of_stages(z, ids, codebooks):
        """add up"""
        losses = []
        for stage, codebook in enumerate(codebooks.detach()):
            z = z - codebook[ids[:, stage]]
            losses.append(z.square().mean())
        return torch.stack(losses).mean()

    def wrong_sum(z, ids, codebooks):
        """not the sum"""
        loss = 0
        for stage, codebook in enumerate(codebooks.detach()):
            z = z - codebook[ids[:, stage]]
            loss = loss + z.square().sum()
        return loss

    def wrong_at_the_end_only(z, ids, codebooks):
        """all stages together"""
        for stage, codebook in enumerate(codebooks.detach()):
            z = z - codebook[ids[:, stage]]
        return z.square().mean()

    def wrong_both_losses(z, ids, codebooks):
        rest, loss = z, 0
        for stage, codebook in enumerate(codebooks):
            codes = codebook[ids[:, stage]]
            loss = loss + F.mse_loss(rest, codes.detach()) + F.mse_loss(codes, rest.detach())
            rest = rest - codes.detach()
        return loss


def _unit(x):
    return x / x.norm(dim=-1, keepdim=True)


class rotation_backward:
    def right_with_matrices(z, codes, gradient):
        a, b = _unit(z), _unit(codes)
        r = _unit(a + b)
        outer = torch.einsum
        matrix = torch.eye(z.shape[-1]) - 2 * outer("...i,...j->...ij", r, r) + 2 * outer("...i,...j->...ij", b, a)
        matrix = matrix * (codes.norm(dim=-1) / z.norm(dim=-1))[..., None, None]
        return (matrix.mT @ gradient[..., None])[..., 0]

    def right_by_autograd(z, codes, gradient):
        a, b = F.normalize(z, dim=-1), F.normalize(codes, dim=-1)
        r = F.normalize(a + b, dim=-1)
        moving = z.clone().requires_grad_()
        turned = moving - 2 * r * (r * moving).sum(-1, keepdim=True) + 2 * b * (a * moving).sum(-1, keepdim=True)
        (gradient * turned * codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True)).sum().backward()
        return moving.grad

    def right_as_two_mirrors(z, codes, gradient):
        # A turn is two mirrors, one after the other.
        a, b = _unit(z), _unit(codes)
        r = _unit(a + b)
        mirrored = gradient - 2 * b * (b * gradient).sum(-1, keepdim=True)
        turned = mirrored - 2 * r * (r * mirrored).sum(-1, keepdim=True)
        return codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True) * turned

    def wrong_forward(z, codes, gradient):
        """transposed"""
        a, b = _unit(z), _unit(codes)
        r = _unit(a + b)
        turned = gradient - 2 * r * (r * gradient).sum(-1, keepdim=True) + 2 * b * (a * gradient).sum(-1, keepdim=True)
        return codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True) * turned

    def wrong_no_stretch(z, codes, gradient):
        """factor in front"""
        a, b = _unit(z), _unit(codes)
        r = _unit(a + b)
        return gradient - 2 * r * (r * gradient).sum(-1, keepdim=True) + 2 * a * (b * gradient).sum(-1, keepdim=True)

    def wrong_inverse(z, codes, gradient):
        """upside down"""
        a, b = _unit(z), _unit(codes)
        r = _unit(a + b)
        outer = torch.einsum
        matrix = torch.eye(z.shape[-1]) - 2 * outer("...i,...j->...ij", r, r) + 2 * outer("...i,...j->...ij", b, a)
        matrix = matrix * (codes.norm(dim=-1) / z.norm(dim=-1))[..., None, None]
        return torch.linalg.solve(matrix, gradient[..., None])[..., 0]

    def wrong_unit_forgotten(z, codes, gradient):
        """*unit* vector"""
        a, b = _unit(z), _unit(codes)
        r = a + b
        turned = gradient - 2 * r * (r * gradient).sum(-1, keepdim=True) + 2 * a * (b * gradient).sum(-1, keepdim=True)
        return codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True) * turned

    def wrong_half_way(z, codes, gradient):
        """leans"""
        a, b, r = _unit(z), _unit(codes), _unit(z + codes)
        turned = gradient - 2 * r * (r * gradient).sum(-1, keepdim=True) + 2 * a * (b * gradient).sum(-1, keepdim=True)
        return codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True) * turned

    def wrong_mirror(z, codes, gradient):
        """mirrors"""
        r = _unit(_unit(z) + _unit(codes))
        turned = gradient - 2 * r * (r * gradient).sum(-1, keepdim=True)
        return codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True) * turned

    def wrong_stretch_only(z, codes, gradient):
        """without turning"""
        return gradient * (codes.norm(dim=-1) / z.norm(dim=-1)).unsqueeze(-1)

    def wrong_straight_through(z, codes, gradient):
        """argument gradient, unchanged"""
        return gradient.clone()

    def wrong_hands_over(z, codes, gradient):
        """calls rotation"""
        z = z.clone().requires_grad_()
        (gradient * rotation(z, codes)).sum().backward()
        return z.grad

    def wrong_one_length_for_all(z, codes, gradient):
        """each has its own lengths"""
        a, b = _unit(z), _unit(codes)
        r = _unit(a + b)
        turned = gradient - 2 * r * (r * gradient).sum(-1, keepdim=True) + 2 * a * (b * gradient).sum(-1, keepdim=True)
        return codes.norm() / z.norm() * turned

    def wrong_nothing_held_constant(z, codes, gradient):
        """it counts as a constant"""
        z = z.clone().requires_grad_()
        a, b = _unit(z), _unit(codes)
        r = _unit(a + b)
        turned = z - 2 * r * (r * z).sum(-1, keepdim=True) + 2 * b * (a * z).sum(-1, keepdim=True)
        turned = turned * codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True)
        return torch.autograd.grad((gradient * turned).sum(), z)[0]

    def wrong_one_number_for_all(z, codes, gradient):
        """made for all of them"""
        a, b = _unit(z), _unit(codes)
        r = _unit(a + b)
        turned = gradient - 2 * (r * gradient).sum() * r + 2 * (b * gradient).sum() * a
        return codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True) * turned

    def wrong_axis(z, codes, gradient):
        """last axis"""
        a, b = F.normalize(z), F.normalize(codes)
        r = F.normalize(a + b)
        turned = gradient - 2 * r * (r * gradient).sum(1, keepdim=True) + 2 * a * (b * gradient).sum(1, keepdim=True)
        return codes.norm(dim=1, keepdim=True) / z.norm(dim=1, keepdim=True) * turned

    def wrong_no_mirror(z, codes, gradient):
        """term with r"""
        a, b = _unit(z), _unit(codes)
        turned = gradient + 2 * a * (b * gradient).sum(-1, keepdim=True)
        return codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True) * turned

    def wrong_bracket_forgotten(z, codes, gradient):
        """all three terms"""
        a, b = _unit(z), _unit(codes)
        r = _unit(a + b)
        stretched = codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True) * gradient
        return stretched - 2 * r * (r * gradient).sum(-1, keepdim=True) + 2 * a * (b * gradient).sum(-1, keepdim=True)

    def wrong_z_twice(z, codes, gradient):
        """stands twice"""
        a = _unit(z)
        r = _unit(a + _unit(codes))
        turned = gradient - 2 * r * (r * gradient).sum(-1, keepdim=True) + 2 * a * (a * gradient).sum(-1, keepdim=True)
        return codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True) * turned

    def wrong_both_products_with_z(z, codes, gradient):
        """with the gradient"""
        a, b = _unit(z), _unit(codes)
        r = _unit(a + b)
        turned = gradient - 2 * r * (r * z).sum(-1, keepdim=True) + 2 * a * (b * z).sum(-1, keepdim=True)
        return codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True) * turned

    def wrong_squared_lengths(z, codes, gradient):
        """not of their squares"""
        a, b = _unit(z), _unit(codes)
        r = _unit(a + b)
        turned = gradient - 2 * r * (r * gradient).sum(-1, keepdim=True) + 2 * a * (b * gradient).sum(-1, keepdim=True)
        return codes.square().sum(-1, keepdim=True) / z.square().sum(-1, keepdim=True) * turned

    def wrong_z_in_one_product(z, codes, gradient):
        a, b = _unit(z), _unit(codes)
        r = _unit(a + b)
        turned = gradient - 2 * r * (r * z).sum(-1, keepdim=True) + 2 * a * (b * gradient).sum(-1, keepdim=True)
        return codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True) * turned


class with_fewer_codes:
    def right_with_a_smaller_quantizer(model, order, kept, pictures):
        small = VectorQuantizer(kept, model.quantizer.dim).eval()
        small.codebook.copy_(model.quantizer.lookup(order[:kept]))
        with torch.no_grad():
            ids = order[torch.cdist(model.encoder(pictures), small.codebook).argmin(-1)]
            return (ids == model.encode(pictures)).double().mean(), psnr(pictures, model.decode(ids))

    def right_with_far_codes(model, order, kept, pictures):
        far = model.quantizer.codebook.clone()
        far[order[kept:]] = 1e4  # nobody's nearest
        z = model.encoder(pictures).detach()
        ids, before = (torch.cdist(z, codes).argmin(-1) for codes in (far, model.quantizer.codebook))
        return (ids == before).sum() / ids.numel(), psnr(model.decode(ids), pictures)

    def right_by_way_of_codes(model, order, kept, pictures):
        short = model.quantizer.codebook[order[:kept]]
        positions = nearest_code(model.encoder(pictures), short)
        decoded = model.decoder(short[positions]).clamp(0, 1)
        unchanged = order[positions] == model.quantize(pictures).ids
        error = (decoded - pictures).square().mean()
        return unchanged.float().mean(), -10 * error.log10()

    def right_with_a_copy(model, order, kept, pictures):
        changed = copy.deepcopy(model)
        dropped = order[kept:]
        changed.quantizer.codebook[dropped] = changed.quantizer.codebook[order[0]] + 1e3
        ids = changed.encode(pictures)
        return (ids == model.encode(pictures)).float().mean(), psnr(model.decode(ids), pictures)

    def right_by_counting(model, order, kept, pictures):
        before = model.encode(pictures)  # a token stays just where its code stays
        short = model.quantizer.codebook[order[:kept]]
        ids = order[nearest_code(model.encoder(pictures), short)].numpy()
        error = np.square(model.decode(torch.from_numpy(ids)).numpy() - pictures.numpy()).mean()
        return torch.isin(before, order[:kept]).float().mean(), -10 * np.log10(error)

    def wrong_not_limited(model, order, kept, pictures):
        """model.decode limits them"""
        short = model.quantizer.codebook[order[:kept]]
        positions = nearest_code(model.encoder(pictures), short)
        share = (order[positions] == model.encode(pictures)).float().mean()
        return share, psnr(model.decoder(short[positions]), pictures)

    def wrong_ids_of_what_comes_back(model, order, kept, pictures):
        """*original* pictures"""
        ids = order[nearest_code(model.encoder(pictures), model.quantizer.codebook[order[:kept]])]
        decoded = model.decode(ids)
        return (model.encode(decoded) == model.encode(pictures)).float().mean(), psnr(decoded, pictures)

    def wrong_percent(model, order, kept, pictures):
        """in percent"""
        ids = order[nearest_code(model.encoder(pictures), model.quantizer.codebook[order[:kept]])]
        return 100 * (ids == model.encode(pictures)).double().mean(), psnr(model.decode(ids), pictures)

    def wrong_ranks(model, order, kept, pictures):
        """rank for each id"""
        stay = (order < kept).nonzero()[:, 0]
        ids = stay[nearest_code(model.encoder(pictures), model.quantizer.codebook[stay])]
        return (ids == model.encode(pictures)).float().mean(), psnr(model.decode(ids), pictures)

    def wrong_logarithm(model, order, kept, pictures):
        """base 10"""
        ids = order[nearest_code(model.encoder(pictures), model.quantizer.codebook[order[:kept]])]
        error = F.mse_loss(model.decode(ids), pictures)
        return (ids == model.encode(pictures)).float().mean(), -10 * error.log()

    def wrong_sorted(model, order, kept, pictures):
        stay = order[:kept].sort().values
        ids = order[nearest_code(model.encoder(pictures), model.quantizer.codebook[stay])]
        return (ids == model.encode(pictures)).float().mean(), psnr(model.decode(ids), pictures)

    def wrong_positions(model, order, kept, pictures):
        """positions among the codes"""
        ids = nearest_code(model.encoder(pictures), model.quantizer.codebook[order[:kept]])
        return (ids == model.encode(pictures)).float().mean(), psnr(model.decode(ids), pictures)

    def wrong_positions_compared(model, order, kept, pictures):
        """The share compares positions"""
        positions = nearest_code(model.encoder(pictures), model.quantizer.codebook[order[:kept]])
        share = (positions == model.encode(pictures)).float().mean()
        return share, psnr(model.decode(order[positions]), pictures)

    def wrong_positions_decoded(model, order, kept, pictures):
        """The decoder got positions"""
        positions = nearest_code(model.encoder(pictures), model.quantizer.codebook[order[:kept]])
        share = (order[positions] == model.encode(pictures)).float().mean()
        return share, psnr(model.decode(positions), pictures)

    def wrong_lowest_ids(model, order, kept, pictures):
        """first ones of *order*"""
        ids = nearest_code(model.encoder(pictures), model.quantizer.codebook[:kept])
        return (ids == model.encode(pictures)).float().mean(), psnr(model.decode(ids), pictures)

    def wrong_last_of_order(model, order, kept, pictures):
        """not the first ones"""
        last = order[-kept:]
        ids = last[nearest_code(model.encoder(pictures), model.quantizer.codebook[last])]
        return (ids == model.encode(pictures)).float().mean(), psnr(model.decode(ids), pictures)

    def wrong_code_for_code(model, order, kept, pictures):
        """Let each *vector* choose anew"""
        codebook = model.quantizer.codebook
        ids = order[nearest_code(codebook[model.encode(pictures)], codebook[order[:kept]])]
        return (ids == model.encode(pictures)).float().mean(), psnr(model.decode(ids), pictures)

    def wrong_one_for_all(model, order, kept, pictures):
        """one and the same code"""
        before = model.encode(pictures)
        stays = (before[..., None] == order[:kept]).any(-1)
        ids = before.masked_fill(~stays, order[0].item())
        return stays.float().mean(), psnr(model.decode(ids), pictures)

    def wrong_against_decoded(model, order, kept, pictures):
        """against the pictures decoded"""
        before = model.encode(pictures)
        ids = order[nearest_code(model.encoder(pictures), model.quantizer.codebook[order[:kept]])]
        return (ids == before).float().mean(), psnr(model.decode(ids), model.decode(before))

    def wrong_share_of_codes(model, order, kept, pictures):
        """share of the *tokens*"""
        ids = order[nearest_code(model.encoder(pictures), model.quantizer.codebook[order[:kept]])]
        return kept / model.quantizer.num_codes, psnr(model.decode(ids), pictures)

    def wrong_share_that_changes(model, order, kept, pictures):
        """share that stays"""
        ids = order[nearest_code(model.encoder(pictures), model.quantizer.codebook[order[:kept]])]
        return (ids != model.encode(pictures)).float().mean(), psnr(model.decode(ids), pictures)

    def wrong_order(model, order, kept, pictures):
        """first the share"""
        ids = order[nearest_code(model.encoder(pictures), model.quantizer.codebook[order[:kept]])]
        return psnr(model.decode(ids), pictures), (ids == model.encode(pictures)).float().mean()

    def wrong_picture_by_picture(model, order, kept, pictures):
        """own PSNR"""
        ids = order[nearest_code(model.encoder(pictures), model.quantizer.codebook[order[:kept]])]
        error = (model.decode(ids) - pictures).square().mean((1, 2, 3))
        return (ids == model.encode(pictures)).float().mean(), (-10 * error.log10()).mean()

    def wrong_usage(model, order, kept, pictures):
        """that of the codes"""
        ids = order[nearest_code(model.encoder(pictures), model.quantizer.codebook[order[:kept]])]
        return usage(ids, model.quantizer.num_codes), psnr(model.decode(ids), pictures)

    def wrong_spoils_the_model(model, order, kept, pictures):
        """changes the codebook of the model"""
        before = model.encode(pictures)
        model.quantizer.codebook[order[kept:]] = 1e4
        ids = model.encode(pictures)
        return (ids == before).float().mean(), psnr(model.decode(ids), pictures)

    def wrong_pictures_that_stay(model, order, kept, pictures):
        ids = order[nearest_code(model.encoder(pictures), model.quantizer.codebook[order[:kept]])]
        return (ids == model.encode(pictures)).all(1).float().mean(), psnr(model.decode(ids), pictures)
