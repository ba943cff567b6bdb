"""Answers to the exercises of chapter 07: right ones, and wrong ones with words that the grader must find for them."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from vqdit_lite.quantize import nearest_code as read
from vqdit_lite.transformer import unpatchify


class standardise:
    def right_with_einsum(e, codebook, counts):
        share = counts / counts.sum()
        mean = torch.einsum("k,kd->d", share, codebook)
        mean_square = torch.einsum("k,kd->d", share, codebook.double().square().float())
        return (e - mean) / (mean_square - mean**2) ** 0.5

    def right_with_averages(e, codebook, counts):
        mean = (codebook.T @ counts) / counts.sum()
        return (e - mean) * ((codebook - mean).T.square() @ counts / counts.sum()).rsqrt()

    def right_with_numpy(e, codebook, counts):
        e, codebook, counts = e.numpy(), codebook.numpy(), counts.numpy()
        mean = np.average(codebook, axis=0, weights=counts)
        return (e - mean) / np.sqrt(np.average((codebook - mean) ** 2, axis=0, weights=counts))

    def right_with_a_floor_for_the_deviation(e, codebook, counts):
        mean = (codebook.T @ counts) / counts.sum()
        return (e - mean) / torch.cov(codebook.T, aweights=counts, correction=0).diagonal().sqrt().clamp(min=1e-6)

    def right_feature_by_feature(e, codebook, counts):
        columns = []
        for d in range(codebook.shape[1]):
            mean = sum(n * c for n, c in zip(counts, codebook[:, d], strict=True)) / counts.sum()
            var = sum(n * (c - mean) ** 2 for n, c in zip(counts, codebook[:, d], strict=True)) / counts.sum()
            columns.append((e[..., d] - mean) / var.sqrt())
        return torch.stack(columns, -1)

    def wrong_variance(e, codebook, counts):
        """Divide by the standard deviation"""
        mean = (codebook.T @ counts) / counts.sum()
        return (e - mean) / ((codebook - mean).T.square() @ counts / counts.sum())

    def wrong_each_code_once(e, codebook, counts):
        """as often as it occurs"""
        var, mean = torch.var_mean(codebook, dim=0)
        return (e - mean) / var.sqrt()

    def wrong_each_code_once_by_k(e, codebook, counts):
        """as often as it occurs"""
        var, mean = torch.var_mean(codebook, dim=0, correction=0)
        return (e - mean) / var.sqrt()

    def wrong_one_less(e, codebook, counts):
        """Nothing is taken off the total"""
        weights = counts[:, None]
        mean = (weights * codebook).sum(0) / counts.sum()
        return (e - mean) / ((weights * (codebook - mean) ** 2).sum(0) / (counts.sum() - 1)) ** 0.5

    def wrong_layer_norm(e, codebook, counts):
        """scales each code by itself"""
        return F.layer_norm(e, (codebook.shape[1],))

    def wrong_each_picture(e, codebook, counts):
        """what tells them apart"""
        return F.instance_norm(e.transpose(1, 2), eps=0.0).transpose(1, 2) * (1 - 1 / e.shape[1]) ** 0.5

    def wrong_this_batch(e, codebook, counts):
        """this one batch"""
        flat = e.flatten(0, 1)
        return (e - flat.mean(0)) / flat.std(0)

    def wrong_one_deviation(e, codebook, counts):
        """Each feature has its own"""
        share = (counts / counts.sum())[:, None].expand_as(codebook) / codebook.shape[1]
        mean = (share * codebook).sum()
        return (e - mean) / (share * (codebook - mean).square()).sum().sqrt()

    def wrong_one_deviation_of_the_codebook(e, codebook, counts):
        """Each feature has its own"""
        return (e - codebook.mean()) / codebook.std()

    def wrong_not_shifted(e, codebook, counts):
        """not shifted"""
        mean = (codebook.T @ counts) / counts.sum()
        return e / ((codebook - mean).T.square() @ counts / counts.sum()).sqrt()

    def wrong_raw_counts(e, codebook, counts):
        """shares sum to 1"""
        mean = codebook.T @ counts
        return (e - mean) / ((codebook - mean).T.square() @ counts).sqrt()

    def wrong_used_or_not(e, codebook, counts):
        """as often as it occurs"""
        used = codebook[counts > 0]
        return (e - used.mean(0)) / used.std(0, correction=0)

    def wrong_copies_of_the_codes(e, codebook, counts):
        """cut to whole numbers"""
        used = codebook.repeat_interleave(counts.int(), 0)
        return (e - used.mean(0)) / used.std(0, correction=0)

    def wrong_copies_by_rounding(e, codebook, counts):
        """rounded to whole numbers"""
        used = codebook[torch.arange(len(counts)).repeat_interleave(counts.round().long())]
        return (e - used.mean(0)) / used.var(0, correction=0).sqrt()

    def wrong_deviation_of_the_codebook(e, codebook, counts):
        """σ counts each once"""
        return (e - counts @ codebook / counts.sum()) / codebook.std(0)

    def wrong_divided_twice(e, codebook, counts):
        """divided by K as well"""
        share = counts[:, None] / counts.sum()
        mean = torch.mean(share * codebook, 0)
        return (e - mean) / torch.mean(share * (codebook - mean) ** 2, 0).sqrt()

    def wrong_share_inside_the_square(e, codebook, counts):
        """squared together with the distances"""
        share = counts[:, None] / counts.sum()
        mean = torch.sum(share * codebook, 0)
        return (e - mean) / (share * codebook - share * mean).norm(dim=0)

    def wrong_shift_last(e, codebook, counts):
        """Shift first"""
        mean = (codebook.T @ counts) / counts.sum()
        return e * ((codebook - mean).T.square() @ counts / counts.sum()).rsqrt() - mean

    def wrong_absolute_deviation(e, codebook, counts):
        mean = (codebook.T @ counts) / counts.sum()
        return (e - mean) / ((codebook - mean).T.abs() @ counts / counts.sum())

    def wrong_in_place(e, codebook, counts):
        """in place"""
        counts /= counts.sum()
        mean = codebook.T @ counts
        return (e - mean) / ((codebook - mean).T.square() @ counts).sqrt()


class nearest_id:
    def right_with_the_library(z, codebook, mean, std):
        return read(torch.addcmul(mean, z, std), codebook)

    def right_with_all_differences(z, codebook, mean, std):
        e = z * std + mean
        return (e[..., None, :] - codebook).square().sum(-1).argmin(-1)

    def right_with_weights(z, codebook, mean, std):
        # In the standardised space, with each feature weighed by its variance.
        gaps = z[:, :, None] - (codebook - mean) / std  # (B, N, K, D)
        return (gaps.square() * std.square()).sum(-1).argmin(-1)

    def wrong_not_undone(z, codebook, mean, std):
        """still standardised"""
        return read(z, codebook)

    def wrong_both_standardised(z, codebook, mean, std):
        """all features weigh alike"""
        return (z[:, :, None] - (codebook - mean) / std).square().sum(-1).argmin(-1)

    def wrong_without_mean(z, codebook, mean, std):
        """μ is missing"""
        return read(std * z, codebook)

    def wrong_without_scale(z, codebook, mean, std):
        """σ is missing"""
        return read(mean + z, codebook)

    def wrong_order(z, codebook, mean, std):
        """reverse order"""
        return read(std * z + std * mean, codebook)

    def wrong_variance(z, codebook, mean, std):
        """the variance"""
        return read(z * std**2 + mean, codebook)

    def wrong_codes(z, codebook, mean, std):
        """their ids are asked for"""
        return codebook[read(z * std + mean, codebook)]

    def wrong_from_one(z, codebook, mean, std):
        """counted from 0"""
        return read(z * std + mean, codebook).add(1)

    def wrong_distances(z, codebook, mean, std):
        """the ids of these codes"""
        return (z * std + mean)[:, :, None].sub(codebook).norm(dim=-1).amin(-1)

    def wrong_directions(z, codebook, mean, std):
        """directions only"""
        return (F.normalize(z * std + mean, dim=-1) @ F.normalize(codebook, dim=-1).T).argmax(-1)

    def wrong_city_blocks(z, codebook, mean, std):
        return torch.cdist(z * std + mean, codebook, p=1).argmin(-1)

    def wrong_most_alike(z, codebook, mean, std):
        """largest product"""
        return ((z * std + mean) @ codebook.T).argmax(-1)

    def wrong_scaled_twice(z, codebook, mean, std):
        """once more"""
        return read((z - mean) / std, codebook)


class multiply_adds:
    def right_term_by_term(height, width, group, depth, dim):
        n = height * width / (16 * group**2)
        attention, network = 4 * dim**2 + 2 * n * dim, 8 * dim**2
        return depth * n * (attention + network)

    def right_by_adding(height, width, group, depth, dim):
        side = 4 * group
        return sum(
            12 * dim * dim + 2 * (height // side) * (width // side) * dim
            for _ in range(depth)
            for _ in range(0, height, side)
            for _ in range(0, width, side)
        )

    def right_by_factors(height, width, group, depth, dim):
        n = (height * width) // (4 * group) ** 2
        return 2 * depth * n * dim * (6 * dim + n)

    def wrong_pixels(height, width, group, depth, dim):
        """The encoder comes first"""
        n = (height // group) * (width // group)
        return depth * n * (12 * dim**2 + 2 * n * dim)

    def wrong_no_groups(height, width, group, depth, dim):
        """codes share one"""
        n = height // 4 * width // 4
        return depth * n * (12 * dim**2 + 2 * n * dim)

    def wrong_group_not_squared(height, width, group, depth, dim):
        """not group times"""
        n = height * width // 16 // group
        return depth * n * (12 * dim**2 + 2 * n * dim)

    def wrong_four_not_squared(height, width, group, depth, dim):
        """not 4 times"""
        n = height * width // 4 // group**2
        return depth * n * (12 * dim**2 + 2 * n * dim)

    def wrong_one_token(height, width, group, depth, dim):
        """work of one token"""
        n = height * width // 16 // group**2
        return depth * (12 * dim**2 + 2 * n * dim)

    def wrong_one_block(height, width, group, depth, dim):
        """there are L"""
        n = height * width // 16 // group**2
        return n * (12 * dim**2 + 2 * n * dim)

    def wrong_operations(height, width, group, depth, dim):
        """These are operations"""
        n = height * width // 16 // group**2
        return depth * n * (24 * dim**2 + 4 * n * dim)

    def wrong_no_mixing(height, width, group, depth, dim):
        """scores and mixing"""
        n = height * width // 16 // group**2
        return 12 * depth * n * dim**2

    def wrong_no_network(height, width, group, depth, dim):
        """small network"""
        n = height * width // 16 // group**2
        return depth * n * (4 * dim**2 + 2 * n * dim)

    def wrong_square_by_height(height, width, group, depth, dim):
        """its height as side"""
        n = (height // (4 * group)) ** 2
        return depth * n * (12 * dim**2 + 2 * n * dim)

    def wrong_square_by_width(height, width, group, depth, dim):
        """its width as side"""
        n = (width // (4 * group)) ** 2
        return depth * n * (12 * dim**2 + 2 * n * dim)

    def wrong_as_in_the_chapter(height, width, group, depth, dim):
        """whatever group says"""
        n = (height // 8) * (width // 8)
        return depth * n * (12 * dim**2 + 2 * n * dim)

    def wrong_wider_tokens(height, width, group, depth, dim):
        """keeps its width"""
        n, dim = height * width // (4 * group) ** 2, dim * group * group
        return depth * n * (12 * dim**2 + 2 * n * dim)

    def wrong_linear_attention(height, width, group, depth, dim):
        """each token attends to all N"""
        n = height * width // (4 * group) ** 2
        return depth * n * dim * (12 * dim + 2)

    def wrong_one_token_more(height, width, group, depth, dim):
        n = height * width // (4 * group) ** 2 + 1
        return depth * n * (12 * dim**2 + 2 * n * dim)

    def wrong_width_for_dim(height, width, group, depth, dim):
        n = height * width // 16 // group**2
        return depth * n * (12 * width**2 + 2 * n * width)


class codes_of:
    def right_with_pixel_shuffle(tokens, grid):
        return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, grid), 2).flatten(2).transpose(1, 2)

    def right_with_fold(tokens, grid):
        size = tuple(2 * n for n in grid)
        return F.fold(tokens.transpose(1, 2), size, kernel_size=2, stride=2).flatten(2).transpose(1, 2)

    def right_by_writing_into_place(tokens, grid):
        rows, columns = grid
        dim = tokens.shape[2] // 4
        codes = tokens.new_zeros(len(tokens), 2 * rows, 2 * columns, dim)
        for place in range(4):
            codes[:, place // 2 :: 2, place % 2 :: 2] = tokens[:, :, place::4].unflatten(1, grid)
        return codes.flatten(1, 2)

    def right_with_einops_order(tokens, grid):
        x = tokens.reshape(len(tokens), *grid, -1, 2, 2)
        return x.permute(0, 1, 4, 2, 5, 3).reshape(len(tokens), -1, tokens.shape[2] // 4)

    def wrong_in_a_row(tokens, grid):
        """*two* rows"""
        x = tokens.reshape(len(tokens), tokens.shape[1], -1, 4).permute(0, 1, 3, 2)
        return x.reshape(len(tokens), -1, x.shape[3])

    def wrong_code_by_code(tokens, grid):
        """for each feature in turn"""
        x = tokens.reshape(len(tokens), *grid, 2, 2, -1)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(len(tokens), -1, tokens.shape[2] // 4)

    def wrong_reshape(tokens, grid):
        """Two things are missing"""
        return tokens.view(len(tokens), 4 * tokens.shape[1], -1)

    def wrong_turned(tokens, grid):
        """Inside each token"""
        x = tokens.reshape(len(tokens), *grid, -1, 2, 2)
        return x.permute(0, 1, 5, 2, 4, 3).reshape(len(tokens), -1, tokens.shape[2] // 4)

    def wrong_grid(tokens, grid):
        """grid is (rows, columns)"""
        x = tokens.reshape(len(tokens), *grid[::-1], -1, 2, 2)
        return x.permute(0, 1, 4, 2, 5, 3).reshape(len(tokens), -1, tokens.shape[2] // 4)

    def wrong_reshaped_for_pixel_shuffle(tokens, grid):
        """it cuts the numbers anew"""
        return F.pixel_shuffle(tokens.reshape(len(tokens), -1, *grid), 2).flatten(2).transpose(1, 2)

    def wrong_corner_by_corner(tokens, grid):
        """First come all upper left codes"""
        return tokens.unflatten(2, (-1, 4)).movedim(3, 1).flatten(1, 2)

    def wrong_upper_rows_first(tokens, grid):
        """all upper rows come before all lower ones"""
        x = tokens.reshape(len(tokens), *grid, -1, 2, 2)
        return x.permute(0, 4, 1, 5, 2, 3).reshape(len(tokens), -1, tokens.shape[2] // 4)

    def wrong_quarters(tokens, grid):
        """feature by feature, not code by code"""
        dim = tokens.shape[2] // 4
        return torch.cat([tokens[:, :, place * dim : (place + 1) * dim] for place in range(4)], dim=1)

    def wrong_still_a_grid(tokens, grid):
        """become one axis"""
        x = tokens.reshape(len(tokens), *grid, -1, 2, 2).permute(0, 1, 4, 2, 5, 3)
        return x.flatten(3, 4).flatten(1, 2)

    def wrong_upside_down(tokens, grid):
        x = tokens.reshape(len(tokens), *grid, -1, 2, 2).flip(4)
        return x.permute(0, 1, 4, 2, 5, 3).reshape(len(tokens), -1, tokens.shape[2] // 4)

    def wrong_features_first(tokens, grid):
        """Codes are (B, N, D)"""
        return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, grid), 2)

    def wrong_not_turned_back(tokens, grid):
        """codes are (B, N, D)"""
        return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, grid), 2).flatten(2)

    def wrong_eight_features(tokens, grid):
        x = tokens.reshape(len(tokens), 3, 3, 8, 2, 2)
        return x.permute(0, 1, 4, 2, 5, 3).reshape(len(tokens), -1, 8)

    def wrong_borrowed(tokens, grid):
        """it calls unpatchify"""
        return unpatchify(tokens, 2, grid).flatten(2).transpose(1, 2)


class guide:
    def right_by_a_scale_for_each_row(model, x, t, labels, scale, interval):
        strength = torch.where((t >= interval[0]) & (t <= interval[1]), scale, 1.0)[:, None, None]
        return model(x, t, None).lerp(model(x, t, labels), strength)

    def right_row_by_row(model, x, t, labels, scale, interval):
        free, wanted = model(x, t, None), model(x, t, labels)
        rows = [
            (1 - scale) * free[i] + scale * wanted[i] if interval[0] <= t[i] <= interval[1] else wanted[i]
            for i in range(len(x))
        ]
        return torch.stack(rows)

    def right_where_it_is_needed(model, x, t, labels, scale, interval):
        output = model(x, t, labels).clone()
        inside = (interval[0] <= t) & (t <= interval[1])
        if inside.any():
            free = model(x[inside], t[inside], None)
            output[inside] = free + scale * (output[inside] - free)
        return output

    def wrong_as_it_was(model, x, t, labels, scale, interval):
        """the function of the text: both mistakes are still in it"""
        low, high = interval
        free, wanted = model(x, t, None), model(x, t, labels)
        first = free[..., :3] + scale * (wanted[..., :3] - free[..., :3])
        inside = (low <= t) & (t <= high)
        return torch.where(inside[:, None, None], torch.cat([first, wanted[..., 3:]], -1), free)

    def wrong_three_features(model, x, t, labels, scale, interval):
        """first three features"""
        free, output = model(x, t, None), model(x, t, labels).clone()
        inside = (interval[0] <= t) & (t <= interval[1])
        output[inside, :, :3] = free[inside, :, :3].lerp(output[inside, :, :3], scale)
        return output

    def wrong_off_outside(model, x, t, labels, scale, interval):
        """outside the interval this is the answer without the label"""
        strength = scale * ((t >= interval[0]) & (t <= interval[1])).float()[:, None, None]
        return model(x, t, None).lerp(model(x, t, labels), strength)

    def wrong_scale(model, x, t, labels, scale, interval):
        """off by one"""
        strength = scale * ((t >= interval[0]) & (t <= interval[1])).float()[:, None, None]
        wanted = model(x, t, labels)
        return wanted + strength * (wanted - model(x, t, None))

    def wrong_way(model, x, t, labels, scale, interval):
        """swapped in (5.12)"""
        strength = torch.where((t >= interval[0]) & (t <= interval[1]), scale, 0.0)[:, None, None]
        return model(x, t, labels).lerp(model(x, t, None), strength)

    def wrong_difference_alone(model, x, t, labels, scale, interval):
        """starts from the free answer"""
        wanted = model(x, t, labels)
        inside = (interval[0] <= t) & (t <= interval[1])
        return torch.where(inside[:, None, None], scale * wanted - scale * model(x, t, None), wanted)

    def wrong_one_time_for_all(model, x, t, labels, scale, interval):
        """Each row has a time of its own"""
        wanted = model(x, t, labels)
        if not interval[0] <= t[0] <= interval[1]:
            return wanted
        return model(x, t, None).lerp(wanted, scale)

    def wrong_open_ends(model, x, t, labels, scale, interval):
        """ends of the interval"""
        strength = torch.where((t > interval[0]) & (t < interval[1]), scale, 1.0)[:, None, None]
        return model(x, t, None).lerp(model(x, t, labels), strength)

    def wrong_no_interval(model, x, t, labels, scale, interval):
        """own time lies outside"""
        return model(x, t, None).lerp(model(x, t, labels), scale)

    def wrong_above_the_lower_end(model, x, t, labels, scale, interval):
        """also the lower one"""
        strength = torch.where((t > interval[0]) & (t <= interval[1]), scale, 1.0)[:, None, None]
        return model(x, t, None).lerp(model(x, t, labels), strength)

    def wrong_below_the_upper_end(model, x, t, labels, scale, interval):
        """also the upper one"""
        strength = torch.where((t >= interval[0]) & (t < interval[1]), scale, 1.0)[:, None, None]
        return model(x, t, None).lerp(model(x, t, labels), strength)

    def wrong_any_time_inside(model, x, t, labels, scale, interval):
        """own time lies outside"""
        inside = ((t >= interval[0]) & (t <= interval[1])).any()
        return model(x, t, None).lerp(model(x, t, labels), scale if inside else 1.0)

    def wrong_all_times_inside(model, x, t, labels, scale, interval):
        """No row is guided"""
        inside = ((t >= interval[0]) & (t <= interval[1])).all()
        return model(x, t, None).lerp(model(x, t, labels), scale if inside else 1.0)

    def wrong_32_features(model, x, t, labels, scale, interval):
        """first 32 features"""
        output = model(x, t, labels).clone()
        strength = torch.where((t >= interval[0]) & (t <= interval[1]), scale, 1.0)[:, None, None]
        output[..., :32] = model(x, t, None)[..., :32].lerp(output[..., :32], strength)
        return output

    def wrong_eight_features(model, x, t, labels, scale, interval):
        """first eight features"""
        strength = torch.where((t >= interval[0]) & (t <= interval[1]), scale, 1.0)[:, None, None]
        strength = torch.where(torch.arange(x.shape[2]) < 8, strength, 1.0)
        return model(x, t, None).lerp(model(x, t, labels), strength)

    def wrong_three_quarters(model, x, t, labels, scale, interval):
        """three quarters"""
        strength = torch.where((t >= interval[0]) & (t <= interval[1]), scale, 1.0)[:, None, None]
        strength = torch.where(torch.arange(x.shape[2]) < x.shape[2] * 3 // 4, strength, 1.0)
        return model(x, t, None).lerp(model(x, t, labels), strength)

    def wrong_label_zero_for_none(model, x, t, labels, scale, interval):
        """asked for with None"""
        strength = torch.where((t >= interval[0]) & (t <= interval[1]), scale, 1.0)[:, None, None]
        return model(x, t, labels * 0).lerp(model(x, t, labels), strength)

    def wrong_nothing_outside(model, x, t, labels, scale, interval):
        inside = ((t >= interval[0]) & (t <= interval[1]))[:, None, None]
        return inside * model(x, t, None).lerp(model(x, t, labels), scale)

    def wrong_only_from_below(model, x, t, labels, scale, interval):
        strength = torch.where(t >= interval[0], scale, 1.0)[:, None, None]
        return model(x, t, None).lerp(model(x, t, labels), strength)


class blame:
    def right_with_counts(read_real, read_coded, labels, read_drawn, asked):
        n, m = len(labels), len(asked)
        raw, coded = (int((x == labels).sum()) / n for x in (read_real, read_coded))
        made = int((read_drawn == asked).sum()) / m
        se_coded, se_made = math.sqrt(coded * (1 - coded) / n), math.sqrt(made * (1 - made) / m)
        return {
            "reader": (n - raw * n) / n,
            "quantizer": raw - coded,
            "diffusion": coded - made,
            "error": math.hypot(se_coded, se_made),
        }

    def right_with_tensors(read_real, read_coded, labels, read_drawn, asked):
        real, coded, made = (read_real == labels).float(), (read_coded == labels).float(), (read_drawn == asked).float()
        error = (coded.var(correction=0) / len(coded) + made.var(correction=0) / len(made)).sqrt()
        lost = {"reader": 1 - real.mean(), "quantizer": (real - coded).mean(), "diffusion": coded.mean() - made.mean()}
        return {**lost, "error": error}

    def right_with_lists(read_real, read_coded, labels, read_drawn, asked):
        def share(found, wanted):
            hits = [a == b for a, b in zip(found.tolist(), wanted.tolist(), strict=True)]
            p = sum(hits) / len(hits)
            return p, p * (1 - p) / len(hits)

        (raw, _), (coded, var_coded), (made, var_made) = map(
            share, (read_real, read_coded, read_drawn), (labels, labels, asked)
        )
        error = (var_coded + var_made) ** 0.5
        return {"error": error, "diffusion": coded - made, "quantizer": raw - coded, "reader": 1 - raw}

    def wrong_readable_only(read_real, read_coded, labels, read_drawn, asked):
        """stays in the total"""
        cases = (read_real, labels), (read_coded, labels), (read_drawn, asked)
        raw, coded, made = ((x[x != -1] == y[x != -1]).float().mean() for x, y in cases)
        error = (coded * (1 - coded) / len(labels) + made * (1 - made) / len(asked)).sqrt()
        return {"reader": 1 - raw, "quantizer": raw - coded, "diffusion": coded - made, "error": error}

    def wrong_quantizer_with_reader(read_real, read_coded, labels, read_drawn, asked):
        """holds the reader's"""
        lost = blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked)
        return lost | {"quantizer": (read_coded != labels).float().mean()}

    def wrong_diffusion_for_all(read_real, read_coded, labels, read_drawn, asked):
        """blamed for everything"""
        lost = blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked)
        return lost | {"diffusion": (read_drawn != asked).float().mean()}

    def wrong_diffusion_and_quantizer(read_real, read_coded, labels, read_drawn, asked):
        """*after* the VQ-VAE"""
        lost = blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked)
        return lost | {"diffusion": lost["quantizer"] + lost["diffusion"]}

    def wrong_sign(read_real, read_coded, labels, read_drawn, asked):
        """wrong sign"""
        lost = blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked)
        return lost | {"quantizer": -lost["quantizer"], "diffusion": -lost["diffusion"]}

    def wrong_sum_of_errors(read_real, read_coded, labels, read_drawn, asked):
        """Their *squares* add up"""
        coded, made = (read_coded == labels).float(), (read_drawn == asked).float()
        error = sum(x.std(correction=0) / len(x) ** 0.5 for x in (coded, made))
        return blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked) | {"error": error}

    def wrong_error_of_drawings(read_real, read_coded, labels, read_drawn, asked):
        """only of the drawings"""
        made = (read_drawn == asked).float()
        error = made.std(correction=0) / len(made) ** 0.5
        return blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked) | {"error": error}

    def wrong_no_root(read_real, read_coded, labels, read_drawn, asked):
        """last root"""
        lost = blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked)
        return lost | {"error": lost["error"] ** 2}

    def wrong_cut_at_zero(read_real, read_coded, labels, read_drawn, asked):
        """negative where the share rises. Here it is 0"""
        lost = blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked)
        return {key: value.clamp(min=0) for key, value in lost.items()}

    def wrong_without_sign(read_real, read_coded, labels, read_drawn, asked):
        """lost its sign"""
        lost = blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked)
        return {key: value.abs() for key, value in lost.items()}

    def wrong_only_what_is_spoiled(read_real, read_coded, labels, read_drawn, asked):
        """Others may become right"""
        lost = blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked)
        return lost | {"quantizer": (read_coded != labels)[read_real == labels].sum() / len(labels)}

    def wrong_readable_only_in_n(read_real, read_coded, labels, read_drawn, asked):
        """of the shares and of n"""
        coded, made = read_coded != -1, read_drawn != -1
        part = blame.right_with_tensors(
            read_coded[coded], read_coded[coded], labels[coded], read_drawn[made], asked[made]
        )
        real = (read_real == labels)[read_real != -1].float().mean()
        return part | {"reader": 1 - real, "quantizer": real - (read_coded == labels)[coded].float().mean()}

    def wrong_sums_of_parts(read_real, read_coded, labels, read_drawn, asked):
        """What does each step add?"""
        lost = blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked)
        quantizer = lost["reader"] + lost["quantizer"]
        return lost | {"quantizer": quantizer, "diffusion": quantizer + lost["diffusion"]}

    def wrong_percents(read_real, read_coded, labels, read_drawn, asked):
        """percents"""
        lost = blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked)
        return {key: 100 * value for key, value in lost.items()}

    def wrong_one_number_of_pictures(read_real, read_coded, labels, read_drawn, asked):
        """number of real pictures for both"""
        coded, made = (read_coded == labels).float(), (read_drawn == asked).float()
        error = ((coded.var(correction=0) + made.var(correction=0)) / len(labels)).sqrt()
        return blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked) | {"error": error}

    def wrong_std_as_it_is(read_real, read_coded, labels, read_drawn, asked):
        """n - 1"""
        coded, made = (read_coded == labels).float(), (read_drawn == asked).float()
        error = (coded.var() / len(coded) + made.var() / len(made)).sqrt()
        return blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked) | {"error": error}

    def wrong_counts(read_real, read_coded, labels, read_drawn, asked):
        """compare shares"""
        lost = blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked)
        raw, coded, made = (read_real == labels).sum(), (read_coded == labels).sum(), (read_drawn == asked).sum()
        return lost | {"reader": len(labels) - raw, "quantizer": raw - coded, "diffusion": coded - made}

    def wrong_keys(read_real, read_coded, labels, read_drawn, asked):
        """'quantizer'"""
        lost = blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked)
        return {"reader": lost["reader"], "vqvae": lost["quantizer"], "dit": lost["diffusion"]}

    def wrong_total_of_both(read_real, read_coded, labels, read_drawn, asked):
        lost = blame.right_with_tensors(read_real, read_coded, labels, read_drawn, asked)
        made = (read_drawn == asked).float().mean()
        total = len(labels) + len(asked)
        return lost | {"error": (made * (1 - made) / total).sqrt()}


class guidance_sweep:
    def right_with_a_loop(draw, read, labels, scales):
        shares, spreads = [], []
        for scale in scales:
            pictures = draw(labels, scale)
            shares.append((read(pictures) == labels).float().mean().item())
            each = [pictures[labels == label].std(0).mean().item() for label in labels.unique()]
            spreads.append(sum(each) / len(each))
        return shares, spreads

    def right_as_one_tensor(draw, read, labels, scales):
        drawn = torch.stack([draw(labels, scale) for scale in scales])  # (S, B, C, H, W)
        shares = torch.tensor([sum(read(x) == labels) / len(labels) for x in drawn])
        each = [drawn[:, labels == label].std(1).flatten(1).mean(1) for label in labels.unique()]
        return shares, torch.stack(each).mean(0)

    def right_with_dictionaries(draw, read, labels, scales):
        drawn = {scale: draw(labels, scale) for scale in scales}
        groups = set(labels.tolist())
        shares = [1 - (read(x) != labels).double().mean() for x in drawn.values()]
        spreads = [
            sum(x[labels == label].flatten(1).var(0).sqrt().mean() for label in groups) / len(groups)
            for x in drawn.values()
        ]
        return shares, spreads

    def wrong_all_together(draw, read, labels, scales):
        """all drawings together"""
        drawn = [draw(labels, scale) for scale in scales]
        return [(read(x) == labels).float().mean() for x in drawn], [x.flatten(1).std(0).mean() for x in drawn]

    def wrong_contrast(draw, read, labels, scales):
        """its contrast"""
        drawn = [draw(labels, scale) for scale in scales]
        return [(read(x) == labels).float().mean() for x in drawn], [x.std((1, 2, 3)).mean() for x in drawn]

    def wrong_one_heap(draw, read, labels, scales):
        """one heap"""
        drawn = [draw(labels, scale) for scale in scales]
        spreads = [sum(x[labels == k].std() for k in labels.unique()) / len(labels.unique()) for x in drawn]
        return [(read(x) == labels).float().mean() for x in drawn], spreads

    def wrong_variance(draw, read, labels, scales):
        """These are variances"""
        drawn = [draw(labels, scale) for scale in scales]
        spreads = [sum(x[labels == k].var(0).mean() for k in labels.unique()) / len(labels.unique()) for x in drawn]
        return [(read(x) == labels).float().mean() for x in drawn], spreads

    def wrong_by_what_was_read(draw, read, labels, scales):
        """group them by what was asked for"""
        shares, spreads = [], []
        for x in (draw(labels, scale) for scale in scales):
            found = read(x)
            each = [x[found == k].std(0).mean() for k in found.unique() if (found == k).sum() > 1]
            shares.append((found == labels).float().mean())
            spreads.append(sum(each) / len(each))
        return shares, spreads

    def wrong_order(draw, read, labels, scales):
        """first the shares"""
        return guidance_sweep.right_with_a_loop(draw, read, labels, scales)[::-1]

    def wrong_scale(draw, read, labels, scales):
        """off by one"""
        return guidance_sweep.right_with_a_loop(draw, read, labels, [scale - 1 for scale in scales])

    def wrong_shares(draw, read, labels, scales):
        """read wrong"""
        drawn = [draw(labels, scale) for scale in scales]
        spreads = guidance_sweep.right_with_a_loop(draw, read, labels, scales)[1]
        return [(read(x) != labels).float().mean() for x in drawn], spreads

    def wrong_ten_labels(draw, read, labels, scales):
        """fewer than two numbers"""
        drawn = [draw(labels, scale) for scale in scales]
        spreads = [sum(x[labels == label].std(0).mean() for label in range(10)) / 10 for x in drawn]
        return [(read(x) == labels).float().mean() for x in drawn], spreads

    def wrong_percents(draw, read, labels, scales):
        """percents"""
        shares, spreads = guidance_sweep.right_with_a_loop(draw, read, labels, scales)
        return [100 * share for share in shares], spreads

    def wrong_pairs(draw, read, labels, scales):
        """one for each scale"""
        shares, spreads = guidance_sweep.right_with_a_loop(draw, read, labels, scales)
        return [[shares[i], spreads[i]] for i in range(len(scales))]

    def wrong_labels_in_turn(draw, read, labels, scales):
        """number written down"""
        drawn = [draw(labels, scale) for scale in scales]
        spreads = [x.unflatten(0, (-1, 4)).std(0).mean() for x in drawn]
        return [(read(x) == labels).float().mean() for x in drawn], spreads

    def wrong_first_scale_only(draw, read, labels, scales):
        """the shape must be (3,)"""
        return guidance_sweep.right_with_a_loop(draw, read, labels, scales[:1])

    def wrong_of_the_hits(draw, read, labels, scales):
        """Only drawings that are read right"""
        shares, spreads = [], []
        for x in (draw(labels, scale) for scale in scales):
            hit = read(x) == labels
            shares.append(hit.float().mean())
            groups = [x[hit & (labels == k)] for k in labels.unique()]
            spreads.append(torch.stack([group.std(0).mean() for group in groups if len(group) > 1]).mean())
        return shares, spreads

    def wrong_largest_gap(draw, read, labels, scales):
        drawn = [draw(labels, scale) for scale in scales]
        groups = [[x[labels == label] for label in labels.unique()] for x in drawn]
        spreads = [torch.stack([(g.amax(0) - g.amin(0)).mean() for g in row]).mean() for row in groups]
        return [(read(x) == labels).float().mean() for x in drawn], spreads
