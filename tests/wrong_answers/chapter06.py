"""Answers to the exercises of chapter 06: right ones, and wrong ones with words that the grader must find for them."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from vqdit_lite import transformer
from vqdit_lite.attention import rotate as turn
from vqdit_lite.metrics import frechet_distance as fid
from vqdit_lite.transformer import sincos as waves


class unpatchify:
    def right_with_einsum(tokens, size, grid):
        x = tokens.reshape(len(tokens), *grid, -1, size, size)
        x = torch.einsum("bhwcij->bchiwj", x)
        return x.reshape(len(tokens), -1, grid[0] * size, grid[1] * size)

    def right_patch_by_patch(tokens, size, grid):
        channels = tokens.shape[2] // size**2
        x = tokens.new_zeros(len(tokens), channels, grid[0] * size, grid[1] * size)
        for number in range(tokens.shape[1]):
            top, left = number // grid[1] * size, number % grid[1] * size
            x[:, :, top : top + size, left : left + size] = tokens[:, number].view(-1, channels, size, size)
        return x

    def right_with_cat(tokens, size, grid):
        rows = tokens.unflatten(2, (-1, size, size)).split(grid[1], dim=1)
        return torch.cat([torch.cat(row.unbind(1), dim=3) for row in rows], dim=2)

    def wrong_view(tokens, size, grid):
        """order of the tokens"""
        channels = tokens.shape[-1] // size**2
        return tokens.contiguous().view(tokens.shape[0], channels, size * grid[0], size * grid[1])

    def wrong_grid_with_grid(tokens, size, grid):
        """join these two"""
        x = tokens.reshape(len(tokens), *grid, -1, size, size)
        return torch.einsum("bhwcij->bchwij", x).reshape(len(tokens), -1, grid[0] * size, grid[1] * size)

    def wrong_channels_last_in_a_patch(tokens, size, grid):
        """channel by channel"""
        x = tokens.reshape(len(tokens), *grid, size, size, -1)
        return torch.einsum("bhwijc->bchiwj", x).reshape(len(tokens), -1, grid[0] * size, grid[1] * size)

    def wrong_turned_patches(tokens, size, grid):
        """turned over"""
        x = tokens.reshape(len(tokens), *grid, -1, size, size)
        return torch.einsum("bhwcji->bchiwj", x).reshape(len(tokens), -1, grid[0] * size, grid[1] * size)

    def wrong_columns_first(tokens, size, grid):
        """column by column"""
        x = tokens.reshape(len(tokens), grid[1], grid[0], -1, size, size)
        return torch.einsum("bwhcij->bchiwj", x).reshape(len(tokens), -1, grid[0] * size, grid[1] * size)

    def wrong_width_before_height(tokens, size, grid):
        """whole picture is turned over"""
        rows = tokens.unflatten(2, (-1, size, size)).split(grid[1], dim=1)
        return torch.cat([torch.cat(row.unbind(1), dim=3) for row in rows], dim=2).transpose(2, 3)

    def wrong_stacked_rows_beside_each_other(tokens, size, grid):
        """side by side in the grid"""
        rows = tokens.unflatten(2, (-1, size, size)).split(grid[1], dim=1)
        return torch.cat([torch.cat(row.unbind(1), dim=2) for row in rows], dim=3)

    def wrong_channels_at_the_end(tokens, size, grid):
        """(B, C, H, W)"""
        x = tokens.reshape(len(tokens), *grid, -1, size, size)
        return torch.einsum("bhwcij->bhiwjc", x).reshape(len(tokens), grid[0] * size, grid[1] * size, -1)

    def wrong_three_channels(tokens, size, grid):
        """number written down"""
        x = tokens.reshape(-1, *grid, 3, size, size).permute(0, 3, 1, 4, 2, 5)
        return x.reshape(-1, 3, grid[0] * size, grid[1] * size)

    def wrong_from_the_bottom(tokens, size, grid):
        rows = tokens.unflatten(2, (-1, size, size)).split(grid[1], dim=1)
        return torch.cat([torch.cat(row.unbind(1), dim=3) for row in rows[::-1]], dim=2)

    def wrong_fold(tokens, size, grid):
        """calls fold"""
        return F.fold(tokens.mT, (grid[0] * size, grid[1] * size), size, stride=size)

    def wrong_hands_back(tokens, size, grid):
        """calls unpatchify"""
        return transformer.unpatchify(tokens, size, grid)

    def right_with_pixels_picked(tokens, size, grid):
        channels, (height, width) = tokens.shape[2] // size**2, (grid[0] * size, grid[1] * size)
        c, y, x = torch.meshgrid(*(torch.arange(n) for n in (channels, height, width)), indexing="ij")
        return tokens[:, y // size * grid[1] + x // size, c * size**2 + y % size * size + x % size]

    def wrong_columns_for_rows(tokens, size, grid):
        """Height and width have changed places"""
        columns, rows = grid
        x = tokens.reshape(len(tokens), rows, columns, -1, size, size).permute(0, 3, 1, 4, 2, 5)
        return x.reshape(len(tokens), -1, rows * size, columns * size)

    def wrong_exchanged_when_joined(tokens, size, grid):
        """last shape alone"""
        x = tokens.reshape(len(tokens), *grid, -1, size, size).permute(0, 3, 1, 4, 2, 5)
        return x.reshape(len(tokens), -1, grid[1] * size, grid[0] * size)


class condition:
    def right_with_where(t, labels, uniform, share, table):
        row = torch.where(uniform < share, torch.full_like(labels, table.shape[0] - 1), labels)
        return F.embedding(row, table) + waves(t * 1000, table.shape[-1])

    def right_example_by_example(t, labels, uniform, share, table):
        rows = [table[-1] if u < share else table[label] for u, label in zip(uniform, labels, strict=True)]
        return torch.stack(rows) + waves(1000 * t, table.shape[1])

    def right_by_hand(t, labels, uniform, share, table):
        dim = table.shape[1]
        angles = 1000 * t[:, None] / 10_000 ** (2 * torch.arange(dim // 2) / dim)
        hidden = (uniform < share).float()[:, None]
        label = F.one_hot(labels, len(table)).float() @ table
        return torch.cat([torch.cos(angles), torch.sin(angles)], -1) + hidden * table[-1:] + (1 - hidden) * label

    def wrong_time_too_slow(t, labels, uniform, share, table):
        """multiply by 1,000"""
        row = torch.where(uniform < share, len(table) - 1, labels)
        return waves(t, table.shape[1]) + table[row]

    def wrong_side(t, labels, uniform, share, table):
        """below"""
        return waves(1000 * t, table.shape[1]) + table[labels.masked_fill(uniform > share, len(table) - 1)]

    def wrong_zero(t, labels, uniform, share, table):
        """the label 0"""
        return waves(1000 * t, table.shape[1]) + table[labels * (uniform >= share)]

    def wrong_last_label(t, labels, uniform, share, table):
        """one further"""
        num_classes = len(table) - 1
        return waves(1000 * t, table.shape[1]) + table[torch.where(uniform < share, num_classes - 1, labels)]

    def wrong_nothing_added(t, labels, uniform, share, table):
        """adds nothing"""
        return waves(1000 * t, table.shape[1]) + table[labels] * (uniform >= share)[:, None]

    def wrong_time_lost(t, labels, uniform, share, table):
        """noise level"""
        both = waves(1000 * t, table.shape[1]) + table[labels]
        return torch.where((uniform < share)[:, None], table[-1], both)

    def wrong_one_decision(t, labels, uniform, share, table):
        """number of its own"""
        labels = torch.full_like(labels, len(table) - 1) if uniform[0] < share else labels
        return waves(1000 * t, table.shape[1]) + table[labels]

    def wrong_never_hidden(t, labels, uniform, share, table):
        """never learned"""
        return waves(1000 * t, table.shape[1]) + F.embedding(labels, table)

    def wrong_side_by_side(t, labels, uniform, share, table):
        """feature by feature"""
        row = torch.where(uniform < share, len(table) - 1, labels)
        return torch.cat([waves(1000 * t, table.shape[1]), table[row]], dim=-1)

    def wrong_in_place(t, labels, uniform, share, table):
        """in place"""
        labels[uniform < share] = len(table) - 1
        return waves(1000 * t, table.shape[1]) + table[labels]

    def wrong_ten_classes(t, labels, uniform, share, table):
        """number written down"""
        return waves(1000 * t, table.shape[1]) + table[labels.masked_fill(uniform < share, 10)]

    def wrong_own_dice(t, labels, uniform, share, table):
        """other random numbers"""
        row = torch.where(torch.rand(len(labels)) < share, len(table) - 1, labels)
        return waves(1000 * t, table.shape[1]) + table[row]

    def right_in_numpy(t, labels, uniform, share, table):
        t, labels, uniform, table = (x.numpy() for x in (t, labels, uniform, table))
        rows = np.where(uniform < share, len(table) - 1, labels)
        angles = np.outer(1000 * t, 10_000.0 ** (-2 * np.arange(table.shape[1] // 2) / table.shape[1]))
        return np.concatenate([np.cos(angles), np.sin(angles)], axis=1) + table[rows]

    def wrong_equal_too(t, labels, uniform, share, table):
        """lie *below*"""
        return waves(1000 * t, table.shape[1]) + table[torch.where(uniform <= share, len(table) - 1, labels)]

    def wrong_one_in_ten(t, labels, uniform, share, table):
        """a share of 0.1"""
        return waves(1000 * t, table.shape[1]) + table[labels.masked_fill(uniform < 0.1, -1)]

    def wrong_one_row_too_far(t, labels, uniform, share, table):
        """rows are counted from 0"""
        return waves(1000 * t, table.shape[1]) + table[labels.masked_fill(uniform < share, len(table))]

    def wrong_width_of_the_chapter(t, labels, uniform, share, table):
        """as wide as a row"""
        return waves(1000 * t, 256) + table[labels.masked_fill(uniform < share, -1)]

    def wrong_sines_first(t, labels, uniform, share, table):
        """sines stand before"""
        angles = 1000 * t[:, None] / 10_000 ** (torch.arange(0, table.shape[1], 2) / table.shape[1])
        row = torch.where(uniform < share, len(table) - 1, labels)
        return torch.cat([angles.sin(), angles.cos()], 1) + table[row]

    def wrong_in_turn(t, labels, uniform, share, table):
        """alternate"""
        angles = 1000 * t[:, None] / 10_000 ** (torch.arange(0, table.shape[1], 2) / table.shape[1])
        both = torch.zeros(len(t), table.shape[1])
        both[:, ::2], both[:, 1::2] = angles.cos(), angles.sin()
        return both + table[torch.where(uniform < share, len(table) - 1, labels)]

    def wrong_whole_steps(t, labels, uniform, share, table):
        """whole steps"""
        row = torch.where(uniform < share, len(table) - 1, labels)
        return waves((t * 1000).long().float(), table.shape[1]) + table[row]

    def wrong_product(t, labels, uniform, share, table):
        """are multiplied"""
        return waves(1000 * t, table.shape[1]) * table[labels.masked_fill(uniform < share, -1)]

    def wrong_no_label_first(t, labels, uniform, share, table):
        """moved up by a row"""
        return waves(1000 * t, table.shape[1]) + table[(1 + labels) * (uniform >= share)]

    def wrong_embedding_of_the_label(t, labels, uniform, share, table):
        row = torch.where(uniform < share, len(table) - 1, labels)
        return waves(1000 * t, table.shape[1]) + waves(row.float(), table.shape[1])

    def wrong_mean_of_the_two(t, labels, uniform, share, table):
        return (waves(1000 * t, table.shape[1]) + table[labels.masked_fill(uniform < share, -1)]) / 2


class multi_head_attention:
    def right_with_einsum(q, k, v, heads):
        q, k, v = (x.reshape(*x.shape[:2], heads, -1) for x in (q, k, v))
        shares = torch.softmax(torch.einsum("bnhd,bmhd->bhnm", q, k) * q.shape[-1] ** -0.5, dim=-1)
        return torch.einsum("bhnm,bmhd->bnhd", shares, v).flatten(2)

    def right_head_by_head(q, k, v, heads):
        width = q.shape[-1] // heads
        found = []
        for part in (slice(i * width, (i + 1) * width) for i in range(heads)):
            scores = (q[..., part] / math.sqrt(width)) @ k[..., part].mT
            shares = scores.exp() / scores.exp().sum(-1, keepdim=True)
            found.append(shares @ v[..., part])
        return torch.cat(found, dim=-1)

    def right_with_heads_in_the_batch(q, k, v, heads):
        q, k, v = (torch.cat(x.chunk(heads, dim=-1)) for x in (q, k, v))  # (heads · B, N or M, d)
        shares = F.softmax(torch.bmm(q, k.mT) / q.shape[-1] ** 0.5, dim=2)
        return torch.cat(torch.bmm(shares, v).chunk(heads), dim=-1)

    def wrong_no_scale(q, k, v, heads):
        """not scaled"""
        q, k, v = (x.unflatten(-1, (heads, -1)) for x in (q, k, v))
        return torch.einsum("bhnm,bmhd->bnhd", torch.einsum("bnhd,bmhd->bhnm", q, k).softmax(-1), v).flatten(2)

    def wrong_scale_of_the_width(q, k, v, heads):
        """full width"""
        found = []
        for one, two, three in zip(*(x.chunk(heads, -1) for x in (q, k, v)), strict=True):
            found.append((one @ two.mT / math.sqrt(q.shape[-1])).softmax(-1) @ three)
        return torch.cat(found, -1)

    def wrong_root_forgotten(q, k, v, heads):
        """*root* of d"""
        found = []
        for one, two, three in zip(*(x.chunk(heads, -1) for x in (q, k, v)), strict=True):
            found.append((one @ two.mT / one.shape[-1]).softmax(-1) @ three)
        return torch.cat(found, -1)

    def wrong_softmax_over_queries(q, k, v, heads):
        """runs over the queries"""
        found = []
        for one, two, three in zip(*(x.chunk(heads, -1) for x in (q, k, v)), strict=True):
            found.append((one @ two.mT / math.sqrt(one.shape[-1])).softmax(1) @ three)
        return torch.cat(found, -1)

    def wrong_softmax_over_heads(q, k, v, heads):
        """runs over the heads"""
        q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        return ((q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=1) @ v).transpose(1, 2).flatten(2)

    def wrong_no_softmax(q, k, v, heads):
        """no softmax"""
        q, k, v = (x.unflatten(-1, (heads, -1)) for x in (q, k, v))
        scores = torch.einsum("bnhd,bmhd->bhnm", q, k) / math.sqrt(q.shape[-1])
        return torch.einsum("bhnm,bmhd->bnhd", scores, v).flatten(2)

    def wrong_view(q, k, v, heads):
        """other names"""
        batch, width = len(q), q.shape[-1] // heads
        q, k, v = (x.view(batch, heads, -1, width) for x in (q, k, v))
        return ((q @ k.mT) / width**0.5).softmax(-1).matmul(v).view(batch, -1, heads * width)

    def wrong_view_then_join(q, k, v, heads):
        """*features*"""
        batch, width = len(q), q.shape[-1] // heads
        q, k, v = (x.view(batch, heads, -1, width) for x in (q, k, v))
        return ((q @ k.mT) / width**0.5).softmax(-1).matmul(v).permute(0, 2, 1, 3).reshape(batch, -1, heads * width)

    def wrong_join(q, k, v, heads):
        """mixed up when joined"""
        batch, width = len(q), q.shape[-1] // heads
        q, k, v = (x.view(batch, -1, heads, width).permute(0, 2, 1, 3) for x in (q, k, v))
        return ((q @ k.mT) / width**0.5).softmax(-1).matmul(v).reshape(batch, -1, heads * width)

    def wrong_among_heads(q, k, v, heads):
        """look at one another"""
        batch, width = len(q), q.shape[-1] // heads
        q, k, v = (x.view(batch, -1, heads, width) for x in (q, k, v))
        return ((q @ k.mT) / width**0.5).softmax(-1).matmul(v).reshape(batch, -1, heads * width)

    def wrong_dealt_out(q, k, v, heads):
        """in a row"""
        found = torch.empty_like(q)
        for i in range(heads):
            scores = q[..., i::heads] @ k[..., i::heads].mT / math.sqrt(q.shape[-1] // heads)
            found[..., i::heads] = scores.softmax(-1) @ v[..., i::heads]
        return found

    def wrong_causal(q, k, v, heads):
        """nothing is causal"""
        found = []
        for one, two, three in zip(*(x.chunk(heads, -1) for x in (q, k, v)), strict=True):
            scores = one @ two.mT / math.sqrt(one.shape[-1])
            found.append((scores + torch.full_like(scores, -1e9).triu(1)).softmax(-1) @ three)
        return torch.cat(found, -1)

    def wrong_one_head(q, k, v, heads):
        """single head"""
        return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v

    def wrong_mean_of_heads(q, k, v, heads):
        """averaged over the heads"""
        shares = [
            (one @ two.mT / math.sqrt(one.shape[-1])).softmax(-1)
            for one, two in zip(q.chunk(heads, -1), k.chunk(heads, -1), strict=True)
        ]
        return torch.stack(shares).mean(0) @ v

    def wrong_fused(q, k, v, heads):
        """calls scaled_dot_product_attention"""
        q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    def right_in_numpy(q, k, v, heads):
        found = []
        for one, two, three in zip(*(np.split(x.numpy(), heads, axis=-1) for x in (q, k, v)), strict=True):
            scores = np.exp(one @ two.swapaxes(-1, -2) / np.sqrt(one.shape[-1]))
            found.append(scores / scores.sum(-1, keepdims=True) @ three)
        return np.concatenate(found, axis=-1)

    def wrong_as_many_keys_as_queries(q, k, v, heads):
        """one number taken for the other"""
        batch, tokens, width = q.shape
        q, k, v = (x.view(batch, tokens, heads, -1).transpose(1, 2) for x in (q, k, v))
        shares = (q @ k.mT / math.sqrt(width / heads)).softmax(-1)
        return (shares @ v).transpose(1, 2).reshape(batch, tokens, width)

    def wrong_joined_feature_by_feature(q, k, v, heads):
        """feature by feature"""
        q, k, v = (x.unflatten(-1, (heads, -1)) for x in (q, k, v))
        shares = (torch.einsum("bnhd,bmhd->bhnm", q, k) / math.sqrt(q.shape[-1])).softmax(-1)
        return torch.einsum("bhnm,bmhd->bndh", shares, v).flatten(2)

    def wrong_reverse_order(q, k, v, heads):
        """reverse order"""
        found = []
        for one, two, three in zip(*(x.chunk(heads, -1) for x in (q, k, v)), strict=True):
            found.insert(0, (one @ two.mT / math.sqrt(one.shape[-1])).softmax(-1) @ three)
        return torch.cat(found, -1)

    def wrong_heads_added(q, k, v, heads):
        """is added up"""
        q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        return ((q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v).sum(1)

    def wrong_scale_of_the_tokens(q, k, v, heads):
        """number of keys"""
        found = []
        for one, two, three in zip(*(x.chunk(heads, -1) for x in (q, k, v)), strict=True):
            found.append((one @ two.mT / math.sqrt(k.shape[1])).softmax(-1) @ three)
        return torch.cat(found, -1)

    def wrong_chapters_attention(q, k, v, heads):
        """calls attention"""
        q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        return transformer.attention(q, k, v)[0].transpose(1, 2).flatten(2)

    def wrong_still_apart(q, k, v, heads):
        """still apart"""
        q, k, v = (torch.stack(x.chunk(heads, -1), 1) for x in (q, k, v))
        return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v

    def wrong_own_scale_for_each_key(q, k, v, heads):
        q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        shares = (q @ F.normalize(k, dim=-1).mT).softmax(-1)
        return (shares @ v).transpose(1, 2).flatten(2)


class rotary_attention:
    def right_with_the_fused_kernel(q, k, v, angles):
        return F.scaled_dot_product_attention(turn(q, angles), turn(k, angles), v)

    def right_with_complex_numbers(q, k, v, angles):
        q, k = (torch.complex(*x.chunk(2, dim=-1)) for x in (q, k))
        turned = torch.polar(torch.ones_like(angles), angles)
        scores = ((q * turned) @ (k * turned).mH).real / math.sqrt(v.shape[-1])
        return scores.softmax(-1) @ v

    def right_by_differences(q, k, v, angles):
        gap = angles[None] - angles[:, None]  # (N, N, d/2) position of the key less that of the query
        keys = turn(k[..., None, :, :].expand(*k.shape[:-2], k.shape[-2], *k.shape[-2:]), gap)  # (…, N, N, d)
        scores = (q[..., None, :] * keys).sum(-1) / math.sqrt(q.shape[-1])
        return torch.softmax(scores, -1) @ v

    def wrong_as_given(q, k, v, angles):
        """both mistakes are still in it"""
        q, k, v = (turn(x, angles) for x in (q, k, v))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        earlier = torch.ones(scores.shape[-2:]).tril().bool()
        return scores.masked_fill(~earlier, -math.inf).softmax(dim=-1) @ v

    def wrong_values(q, k, v, angles):
        """leaves alone"""
        return F.scaled_dot_product_attention(*(turn(x, angles) for x in (q, k, v)))

    def wrong_mask(q, k, v, angles):
        """some tokens may not look"""
        return F.scaled_dot_product_attention(turn(q, angles), turn(k, angles), v, is_causal=True)

    def wrong_mask_turned_round(q, k, v, angles):
        """turned round"""
        q, k = turn(q, angles), turn(k, angles)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        earlier = torch.ones(scores.shape[-2:]).tril().bool().T
        return scores.masked_fill(~earlier, -math.inf).softmax(dim=-1) @ v

    def wrong_mask_after_softmax(q, k, v, angles):
        """add up to 1"""
        shares = (turn(q, angles) @ turn(k, angles).mT / math.sqrt(q.shape[-1])).softmax(-1)
        return (shares * torch.ones(shares.shape[-2:]).tril()) @ v

    def wrong_nothing_turned(q, k, v, angles):
        """Nothing is turned"""
        return F.scaled_dot_product_attention(q, k, v)

    def wrong_queries_only(q, k, v, angles):
        """keys are turned and"""
        return F.scaled_dot_product_attention(q, turn(k, angles), v)

    def wrong_keys_only(q, k, v, angles):
        """queries are turned and"""
        return F.scaled_dot_product_attention(turn(q, angles), k, v)

    def wrong_backwards(q, k, v, angles):
        """sum of two positions"""
        return F.scaled_dot_product_attention(turn(q, -angles), turn(k, angles), v)

    def wrong_no_scale(q, k, v, angles):
        """scale"""
        return F.scaled_dot_product_attention(turn(q, angles), turn(k, angles), v, scale=1.0)

    def wrong_turned_output(q, k, v, angles):
        return turn(F.scaled_dot_product_attention(turn(q, angles), turn(k, angles), turn(v, angles)), -angles)

    def wrong_blind_to_itself(q, k, v, angles):
        """No token may look at itself"""
        scores = turn(q, angles) @ turn(k, angles).mT / math.sqrt(q.shape[-1])
        itself = torch.eye(scores.shape[-1]).bool()
        return scores.masked_fill(itself, -1e9).softmax(-1) @ v

    def right_with_the_chapters_attention(q, k, v, angles):
        return transformer.attention(turn(q, angles), turn(k, angles), v)[0]

    def wrong_zero_for_minus_infinity(q, k, v, angles):
        """score 0"""
        scores = turn(q, angles) @ turn(k, angles).mT / math.sqrt(q.shape[-1])
        earlier = torch.ones(scores.shape[-2:]).tril().bool()
        return scores.masked_fill(~earlier, 0).softmax(-1) @ v

    def wrong_zero_and_values(q, k, v, angles):
        """other mistake is still there"""
        q, k, v = (turn(x, angles) for x in (q, k, v))
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        return (scores * torch.ones(scores.shape[-2:]).tril()).softmax(-1) @ v

    def wrong_other_way_round(q, k, v, angles):
        """other way round"""
        return transformer.attention(turn(q, -angles), turn(k, -angles), v)[0]

    def wrong_neighbours(q, k, v, angles):
        """Neighbouring features"""
        q, k = (torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) for x in (q, k))
        turned = torch.polar(torch.ones_like(angles), angles)
        q, k = (torch.view_as_real(x * turned).flatten(-2) for x in (q, k))
        return F.scaled_dot_product_attention(q, k, v)

    def wrong_nothing_turned_and_causal(q, k, v, angles):
        """and still some"""
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def wrong_mask_without_its_tilde(q, k, v, angles):
        """sees nothing"""
        q, k, v = (turn(x, angles) for x in (q, k, v))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        earlier = torch.ones(scores.shape[-2:]).tril().bool()
        return scores.masked_fill(earlier, -math.inf).softmax(dim=-1) @ v

    def wrong_shares_too(q, k, v, angles):
        """two things"""
        return transformer.attention(turn(q, angles), turn(k, angles), v)

    def wrong_turned_twice(q, k, v, angles):
        q, k = (turn(turn(x, angles), angles) for x in (q, k))
        return F.scaled_dot_product_attention(q, k, v)


class adaln_block:
    def right_with_addcmul(h, condition, weight, bias, attend, mlp):
        six = (condition * condition.sigmoid()) @ weight.T + bias
        six = six.reshape(len(h), 6, 1, -1).unbind(1)
        for (shift, scale, gate), branch in ((six[:3], attend), (six[3:], mlp)):
            normed = F.layer_norm(h, h.shape[-1:], eps=1e-6)
            h = torch.addcmul(h, gate, branch(torch.addcmul(shift, normed, 1 + scale)))
        return h

    def right_with_a_norm_by_hand(h, condition, weight, bias, attend, mlp):
        width = h.shape[-1]
        parts = [
            F.linear(F.silu(condition), *part) for part in zip(weight.split(width), bias.split(width), strict=True)
        ]
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = (part.unsqueeze(1).expand_as(h) for part in parts)

        def norm(x):
            return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()

        h = h + gate * attend(norm(h) + norm(h) * scale + shift)
        return h + gate_mlp * mlp(norm(h) + norm(h) * scale_mlp + shift_mlp)

    def right_with_modules(h, condition, weight, bias, attend, mlp):
        six = torch.nn.functional.linear(torch.nn.SiLU()(condition), weight, bias).unsqueeze(1)
        b1, c1, g1, b2, c2, g2 = six.tensor_split(6, dim=-1)
        norm = torch.nn.LayerNorm(h.shape[-1], eps=1e-6, elementwise_affine=False)
        looked = h + g1 * attend(norm(h) * (c1 + 1) + b1)
        return looked + g2 * mlp(norm(looked) * (c2 + 1) + b2)

    def wrong_one_forgotten(h, condition, weight, bias, attend, mlp):
        """The 1 before the scale"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + g1 * attend(F.layer_norm(h, h.shape[-1:]) * c1 + b1)
        return h + g2 * mlp(F.layer_norm(h, h.shape[-1:]) * c2 + b2)

    def wrong_scale_first(h, condition, weight, bias, attend, mlp):
        """taken for scale c, shift b, gate g"""
        c1, b1, g1, c2, b2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + g1 * attend(F.layer_norm(h, h.shape[-1:]) * (1 + c1) + b1)
        return h + g2 * mlp(F.layer_norm(h, h.shape[-1:]) * (1 + c2) + b2)

    def wrong_by_kind(h, condition, weight, bias, attend, mlp):
        """sorted by kind"""
        b1, b2, c1, c2, g1, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + g1 * attend(F.layer_norm(h, h.shape[-1:]) * (1 + c1) + b1)
        return h + g2 * mlp(F.layer_norm(h, h.shape[-1:]) * (1 + c2) + b2)

    def wrong_gate_inside(h, condition, weight, bias, attend, mlp):
        """before the branch"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + attend(g1 * (F.layer_norm(h, h.shape[-1:]) * (1 + c1) + b1))
        return h + mlp(g2 * (F.layer_norm(h, h.shape[-1:]) * (1 + c2) + b2))

    def wrong_gates_forgotten(h, condition, weight, bias, attend, mlp):
        """gates are missing"""
        b1, c1, _, b2, c2, _ = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + attend(F.layer_norm(h, h.shape[-1:]) * (1 + c1) + b1)
        return h + mlp(F.layer_norm(h, h.shape[-1:]) * (1 + c2) + b2)

    def wrong_no_residual(h, condition, weight, bias, attend, mlp):
        """missing from the sum"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = g1 * attend(F.layer_norm(h, h.shape[-1:]) * (1 + c1) + b1)
        return g2 * mlp(F.layer_norm(h, h.shape[-1:]) * (1 + c2) + b2)

    def wrong_residual_of_the_normed(h, condition, weight, bias, attend, mlp):
        """go to h itself"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = F.layer_norm(h, h.shape[-1:])
        h = F.layer_norm(h + g1 * attend(h * (1 + c1) + b1), h.shape[-1:])
        return h + g2 * mlp(h * (1 + c2) + b2)

    def wrong_parallel(h, condition, weight, bias, attend, mlp):
        """corrected ones"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        normed = F.layer_norm(h, h.shape[-1:])
        return h + g1 * attend(normed * (1 + c1) + b1) + g2 * mlp(normed * (1 + c2) + b2)

    def wrong_norm_over_the_picture(h, condition, weight, bias, attend, mlp):
        """Each token is normed alone"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + g1 * attend(F.layer_norm(h, h.shape[1:]) * (1 + c1) + b1)
        return h + g2 * mlp(F.layer_norm(h, h.shape[1:]) * (1 + c2) + b2)

    def wrong_deviation(h, condition, weight, bias, attend, mlp):
        """mean of squares"""
        six = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        for b, c, g, f in ((*six[:3], attend), (*six[3:], mlp)):
            h = h + g * f((h - h.mean(-1, keepdim=True)) / h.std(-1, keepdim=True) * (1 + c) + b)
        return h

    def wrong_no_silu(h, condition, weight, bias, attend, mlp):
        """SiLU is missing"""
        b1, c1, g1, b2, c2, g2 = F.linear(condition, weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + g1 * attend(F.layer_norm(h, h.shape[-1:]) * (1 + c1) + b1)
        return h + g2 * mlp(F.layer_norm(h, h.shape[-1:]) * (1 + c2) + b2)

    def wrong_axis_forgotten(h, condition, weight, bias, attend, mlp):
        """axis for the tokens"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).tensor_split(6, -1)
        h = h + g1 * attend(F.layer_norm(h, h.shape[-1:]) * (1 + c1) + b1)
        return h + g2 * mlp(F.layer_norm(h, h.shape[-1:]) * (1 + c2) + b2)

    def wrong_bias_forgotten(h, condition, weight, bias, attend, mlp):
        """bias of the linear map"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight).unsqueeze(1).tensor_split(6, -1)
        h = h + g1 * attend(F.layer_norm(h, h.shape[-1:]) * (1 + c1) + b1)
        return h + g2 * mlp(F.layer_norm(h, h.shape[-1:]) * (1 + c2) + b2)

    def wrong_in_place(h, condition, weight, bias, attend, mlp):
        """in place"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h += g1 * attend(F.layer_norm(h, h.shape[-1:]) * (1 + c1) + b1)
        h += g2 * mlp(F.layer_norm(h, h.shape[-1:]) * (1 + c2) + b2)
        return h

    def wrong_first_correction_lost(h, condition, weight, bias, attend, mlp):
        """so the first is lost"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        x = h + g1 * attend(F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + c1) + b1)
        return h + g2 * mlp(F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + c2) + b2)

    def wrong_one_forgotten_at_last(h, condition, weight, bias, attend, mlp):
        """in the second branch"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + g1 * attend(F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + c1) + b1)
        return h + g2 * mlp(F.layer_norm(h, h.shape[-1:], eps=1e-6) * c2 + b2)

    def wrong_gate_first(h, condition, weight, bias, attend, mlp):
        """taken for gate g, scale c, shift b"""
        g1, c1, b1, g2, c2, b2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + g1 * attend(F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + c1) + b1)
        return h + g2 * mlp(F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + c2) + b2)

    def wrong_norm_along_the_tokens(h, condition, weight, bias, attend, mlp):
        """along the tokens"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + g1 * attend(F.layer_norm(h.mT, h.shape[1:2], eps=1e-6).mT * (1 + c1) + b1)
        return h + g2 * mlp(F.layer_norm(h.mT, h.shape[1:2], eps=1e-6).mT * (1 + c2) + b2)

    def wrong_post_norm(h, condition, weight, bias, attend, mlp):
        """comes after the sum"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + g1 * attend(h * (1 + c1) + b1)
        h = F.layer_norm(h, h.shape[-1:], eps=1e-6)
        h = h + g2 * mlp(h * (1 + c2) + b2)
        return F.layer_norm(h, h.shape[-1:], eps=1e-6)

    def wrong_variance_for_its_root(h, condition, weight, bias, attend, mlp):
        """divides by the variance"""
        six = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        for b, c, g, f in ((*six[:3], attend), (*six[3:], mlp)):
            variance, mean = torch.var_mean(h, dim=-1, correction=0, keepdim=True)
            h = h + g * f((h - mean) / (variance + 1e-6) * (1 + c) + b)
        return h

    def wrong_default_epsilon(h, condition, weight, bias, attend, mlp):
        """is 1e-5"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + g1 * attend(F.layer_norm(h, h.shape[-1:]) * (1 + c1) + b1)
        return h + g2 * mlp(F.layer_norm(h, h.shape[-1:]) * (1 + c2) + b2)

    def wrong_no_epsilon(h, condition, weight, bias, attend, mlp):
        """has no ε"""
        six = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        for b, c, g, f in ((*six[:3], attend), (*six[3:], mlp)):
            h = h + g * f((h - h.mean(-1, keepdim=True)) / h.std(-1, correction=0, keepdim=True) * (1 + c) + b)
        return h

    def wrong_modulated_by_the_library(h, condition, weight, bias, attend, mlp):
        """calls modulate"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + g1 * attend(transformer.modulate(F.layer_norm(h, h.shape[-1:], eps=1e-6), b1, c1))
        return h + g2 * mlp(transformer.modulate(F.layer_norm(h, h.shape[-1:], eps=1e-6), b2, c2))

    def wrong_one_at_the_gate(h, condition, weight, bias, attend, mlp):
        """has come to the gate"""
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + (g1 + 1) * attend(F.layer_norm(h, h.shape[-1:], eps=1e-6) * c1 + b1)
        return h + (g2 + 1) * mlp(F.layer_norm(h, h.shape[-1:], eps=1e-6) * c2 + b2)

    def wrong_gates_that_close_softly(h, condition, weight, bias, attend, mlp):
        b1, c1, g1, b2, c2, g2 = F.linear(F.silu(condition), weight, bias).unsqueeze(1).tensor_split(6, -1)
        h = h + g1.tanh() * attend(F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + c1) + b1)
        return h + g2.tanh() * mlp(F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + c2) + b2)


def _square_root(cov):
    values, vectors = torch.linalg.eigh(cov)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T


class frechet:
    def right_with_a_symmetric_product(mean_x, cov_x, mean_y, cov_y):
        root = _square_root(cov_x)
        shared = torch.linalg.eigvalsh(root @ cov_y @ root).clamp(min=0).sqrt().sum()
        return torch.dist(mean_x, mean_y) ** 2 + torch.trace(cov_x + cov_y) - 2 * shared

    def right_with_singular_values(mean_x, cov_x, mean_y, cov_y):
        shared = torch.linalg.matrix_norm(_square_root(cov_x) @ _square_root(cov_y), "nuc")
        gap = mean_x - mean_y
        return (gap @ gap + cov_x.diagonal().sum() + cov_y.diagonal().sum() - 2 * shared).item()

    def right_with_complex_roots(mean_x, cov_x, mean_y, cov_y):
        roots = torch.linalg.eigvals(cov_x @ cov_y).sqrt().real
        return (mean_x - mean_y).pow(2).sum() + (cov_x + cov_y).trace() - 2 * roots.sum()

    def wrong_two_forgotten(mean_x, cov_x, mean_y, cov_y):
        """counts twice"""
        root = _square_root(cov_x)
        return (mean_x - mean_y).pow(2).sum() + (cov_x + cov_y - _square_root(root @ cov_y @ root)).trace()

    def wrong_no_root(mean_x, cov_x, mean_y, cov_y):
        """root is missing"""
        return (mean_x - mean_y).pow(2).sum() + torch.trace(cov_x + cov_y - 2 * cov_x @ cov_y)

    def wrong_entries(mean_x, cov_x, mean_y, cov_y):
        """root of each entry"""
        return (mean_x - mean_y).pow(2).sum() + torch.trace(cov_x + cov_y - 2 * (cov_x @ cov_y).sqrt())

    def wrong_root_of_the_trace(mean_x, cov_x, mean_y, cov_y):
        """root of a trace"""
        return (mean_x - mean_y).pow(2).sum() + torch.trace(cov_x + cov_y) - 2 * torch.trace(cov_x @ cov_y).sqrt()

    def wrong_variances_alone(mean_x, cov_x, mean_y, cov_y):
        """variances alone"""
        deviations = cov_x.diagonal().sqrt() - cov_y.diagonal().sqrt()
        return (mean_x - mean_y).pow(2).sum() + deviations.pow(2).sum()

    def wrong_root_of_each(mean_x, cov_x, mean_y, cov_y):
        """root of its own"""
        gap = _square_root(cov_x) - _square_root(cov_y)
        return (mean_x - mean_y).pow(2).sum() + gap.pow(2).sum()

    def wrong_symmetric_solver(mean_x, cov_x, mean_y, cov_y):
        """eigvalsh"""
        shared = torch.linalg.eigh(cov_x @ cov_y)[0].clamp(min=0).sqrt().sum()
        return (mean_x - mean_y).pow(2).sum() + torch.trace(cov_x + cov_y) - 2 * shared

    def wrong_singular_values(mean_x, cov_x, mean_y, cov_y):
        """singular values"""
        shared = torch.linalg.svd(cov_x @ cov_y)[1].sqrt().sum()
        return (mean_x - mean_y).pow(2).sum() + torch.trace(cov_x + cov_y) - 2 * shared

    def wrong_gap(mean_x, cov_x, mean_y, cov_y):
        """not squared"""
        root = _square_root(cov_x)
        shared = _square_root(root @ cov_y @ root).trace()
        return torch.dist(mean_x, mean_y) + torch.trace(cov_x + cov_y) - 2 * shared

    def wrong_mean_gap(mean_x, cov_x, mean_y, cov_y):
        """averaged"""
        root = _square_root(cov_x)
        shared = _square_root(root @ cov_y @ root).trace()
        return F.mse_loss(mean_x, mean_y) + torch.trace(cov_x + cov_y) - 2 * shared

    def wrong_root_of_all(mean_x, cov_x, mean_y, cov_y):
        """squared distance"""
        root = _square_root(cov_x)
        shared = _square_root(root @ cov_y @ root).trace()
        return math.sqrt((mean_x - mean_y).pow(2).sum() + torch.trace(cov_x + cov_y) - 2 * shared)

    def wrong_norms_of_covariances(mean_x, cov_x, mean_y, cov_y):
        return (mean_x - mean_y).pow(2).sum() + (cov_x - cov_y).pow(2).sum()

    def right_in_numpy(mean_x, cov_x, mean_y, cov_y):
        mean_x, cov_x, mean_y, cov_y = (x.numpy() for x in (mean_x, cov_x, mean_y, cov_y))
        roots = np.sqrt(np.linalg.eigvals(cov_x @ cov_y).astype(complex))
        return np.square(mean_x - mean_y).sum() + np.trace(cov_x) + np.trace(cov_y) - 2 * roots.real.sum()

    def wrong_no_clamp(mean_x, cov_x, mean_y, cov_y):
        """a hair below zero"""
        shared = torch.sqrt(torch.linalg.eig(cov_x @ cov_y)[0].real).sum()
        return (mean_x - mean_y).pow(2).sum() + torch.trace(cov_x + cov_y) - 2 * shared

    def wrong_complex(mean_x, cov_x, mean_y, cov_y):
        """take their `.real`"""
        shared = torch.linalg.eigvals(cov_x @ cov_y).sqrt().sum()
        return (mean_x - mean_y).pow(2).sum() + torch.trace(cov_x + cov_y) - 2 * shared

    def wrong_in_pairs(mean_x, cov_x, mean_y, cov_y):
        """in pairs"""
        shared = (torch.linalg.svdvals(cov_x) * torch.linalg.svdvals(cov_y)).sqrt()
        return (mean_x - mean_y).pow(2).sum() + torch.trace(cov_x + cov_y) - 2 * shared.sum()

    def wrong_two_traces(mean_x, cov_x, mean_y, cov_y):
        """traces of two roots"""
        shared = torch.trace(_square_root(cov_x)) * torch.trace(_square_root(cov_y))
        return (mean_x - mean_y).pow(2).sum() + torch.trace(cov_x + cov_y) - 2 * shared

    def wrong_sum_then_square(mean_x, cov_x, mean_y, cov_y):
        """added and then squared"""
        root = _square_root(cov_x)
        shared = _square_root(root @ cov_y @ root).trace()
        return (mean_x.sum() - mean_y.sum()) ** 2 + torch.trace(cov_x + cov_y) - 2 * shared

    def wrong_mean_of_the_two(mean_x, cov_x, mean_y, cov_y):
        shared = _square_root((cov_x @ cov_y + cov_y @ cov_x) / 2).trace()
        return (mean_x - mean_y).pow(2).sum() + torch.trace(cov_x + cov_y) - 2 * shared


class frechet_floor:
    def right_with_split(features, size, repeats, generator):
        total = 0
        for _ in range(repeats):
            drawn = features[torch.randperm(features.shape[0], generator=generator)[: 2 * size]]
            total += fid(*drawn.split(size))
        return total / repeats

    def right_by_hand(features, size, repeats, generator):
        distances = []
        for _ in range(repeats):
            order = torch.randperm(len(features), generator=generator)
            x, y = (features.index_select(0, order[i * size : (i + 1) * size]).double() for i in (0, 1))
            root = _square_root(x.T.cov())
            shared = torch.linalg.eigvalsh(root @ y.T.cov() @ root).clamp(min=0).sqrt().sum()
            gap = (x.mean(0) - y.mean(0)).square().sum()
            distances.append(gap + x.var(0).sum() + y.var(0).sum() - 2 * shared)
        return torch.stack(distances).mean()

    def wrong_shared_pictures(features, size, repeats, generator):
        """share pictures"""

        def some():
            return features[torch.randperm(len(features), generator=generator)][:size]

        return sum(fid(some(), some()) for _ in range(repeats)) / repeats

    def wrong_first_ones(features, size, repeats, generator):
        """Nothing is drawn"""
        return fid(features[:size], features[size:][:size])

    def wrong_half(features, size, repeats, generator):
        """half of `size`"""
        orders = [torch.randperm(len(features), generator=generator)[:size] for _ in range(repeats)]
        return sum(fid(*features[order].chunk(2)) for order in orders) / repeats

    def wrong_against_all(features, size, repeats, generator):
        """also those of the first"""
        orders = [torch.randperm(len(features), generator=generator) for _ in range(repeats)]
        return sum(fid(features[order[:size]], features) for order in orders) / repeats

    def wrong_against_the_rest(features, size, repeats, generator):
        """all the rest"""
        orders = [torch.randperm(len(features), generator=generator) for _ in range(repeats)]
        return sum(fid(features[order[:size]], features[order[size:]]) for order in orders) / repeats

    def wrong_drawn_once(features, size, repeats, generator):
        """single pair of sets"""
        order = torch.randperm(len(features), generator=generator)
        x, y = features[order[: 2 * size]].chunk(2)
        return sum(fid(x, y) for _ in range(repeats)) / repeats

    def wrong_sum(features, size, repeats, generator):
        """are added"""
        orders = [torch.randperm(len(features), generator=generator) for _ in range(repeats)]
        return sum(fid(features[order[:size]], features[order[size : 2 * size]]) for order in orders)

    def wrong_first_distance(features, size, repeats, generator):
        """single pair of sets"""
        orders = [torch.randperm(len(features), generator=generator) for _ in range(repeats)]
        distances = [fid(features[order[:size]], features[order[size : 2 * size]]) for order in orders]
        return distances[0]

    def wrong_with_replacement(features, size, repeats, generator):
        """with replacement"""
        draws = [torch.randint(len(features), (2, size), generator=generator) for _ in range(repeats)]
        return sum(fid(features[one], features[other]) for one, other in draws) / repeats

    def wrong_median(features, size, repeats, generator):
        """median"""
        orders = [torch.randperm(len(features), generator=generator) for _ in range(repeats)]
        distances = [fid(features[order[:size]], features[order[size : 2 * size]]) for order in orders]
        return torch.tensor(distances).median()

    def right_in_single_precision(features, size, repeats, generator):
        distances = torch.zeros(repeats)
        for number in range(repeats):
            order = torch.randperm(len(features), generator=generator)
            x, y = features[order[:size]], features[order[size:][:size]]
            shared = torch.linalg.eigvals(x.T.cov() @ y.T.cov()).real.clamp(min=0).sqrt().sum()
            distances[number] = (x.mean(0) - y.mean(0)).square().sum() + x.var(0).sum() + y.var(0).sum() - 2 * shared
        return distances.mean()

    def wrong_return_in_the_loop(features, size, repeats, generator):
        """inside the loop"""
        total, order = 0, torch.randperm(len(features), generator=generator)
        total += fid(features[order[:size]], features[order[size : 2 * size]])
        return total / repeats

    def wrong_begun_anew(features, size, repeats, generator):
        """begin anew"""
        for _ in range(repeats):
            total = 0
            order = torch.randperm(len(features), generator=generator)
            total += fid(features[order[:size]], features[order[size : 2 * size]])
        return total / repeats

    def wrong_ten_times(features, size, repeats, generator):
        """10 repetitions"""
        orders = [torch.randperm(len(features), generator=generator) for _ in range(10)]
        return sum(fid(features[order[:size]], features[order[size : 2 * size]]) for order in orders) / 10

    def wrong_shuffled_on(features, size, repeats, generator):
        """as handed in"""
        total = 0
        for _ in range(repeats):
            features = features[torch.randperm(len(features), generator=generator)]
            total += fid(features[:size], features[size : 2 * size])
        return total / repeats

    def wrong_from_both_ends(features, size, repeats, generator):
        """end of the order"""
        orders = [torch.randperm(len(features), generator=generator) for _ in range(repeats)]
        return sum(fid(features[order[:size]], features[order.flip(0)[:size]]) for order in orders) / repeats

    def wrong_mean_of_roots(features, size, repeats, generator):
        """before the mean"""
        orders = [torch.randperm(len(features), generator=generator) for _ in range(repeats)]
        return sum(fid(features[order[:size]], features[order[size : 2 * size]]) ** 0.5 for order in orders) / repeats

    def wrong_seed_of_its_own(features, size, repeats, generator):
        """generator of its own"""
        orders = [torch.randperm(len(features), generator=generator.manual_seed(i)) for i in range(repeats)]
        return sum(fid(features[order[:size]], features[order[size : 2 * size]]) for order in orders) / repeats

    def wrong_divided_by_the_number(features, size, repeats, generator):
        """one less"""
        total = 0
        for _ in range(repeats):
            order = torch.randperm(len(features), generator=generator)
            x, y = features[order[: 2 * size]].double().split(size)
            root = _square_root(x.T.cov(correction=0))
            shared = _square_root(root @ y.T.cov(correction=0) @ root).trace()
            spread = x.var(0, correction=0).sum() + y.var(0, correction=0).sum()
            total += (x.mean(0) - y.mean(0)).square().sum() + spread - 2 * shared
        return total / repeats

    def wrong_drawn_by_sorting(features, size, repeats, generator):
        orders = [torch.rand(len(features), generator=generator).argsort() for _ in range(repeats)]
        return sum(fid(features[order[:size]], features[order[size : 2 * size]]) for order in orders) / repeats

    def wrong_largest(features, size, repeats, generator):
        """largest"""
        orders = [torch.randperm(len(features), generator=generator) for _ in range(repeats)]
        return max(fid(features[order[:size]], features[order[size : 2 * size]]) for order in orders)

    def wrong_mean_of_the_middle(features, size, repeats, generator):
        orders = [torch.randperm(len(features), generator=generator) for _ in range(repeats)]
        distances = sorted(fid(features[order[:size]], features[order[size : 2 * size]]) for order in orders)
        middle = distances[1:-1] or distances
        return sum(middle) / len(middle)
