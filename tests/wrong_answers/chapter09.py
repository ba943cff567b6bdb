"""Answers to the exercises of chapter 09: right ones, and wrong ones with words that the grader must find for them."""

import torch
import torch.nn.functional as F
from torch import nn

from vqdit_lite.layout import Layout, Segment
from vqdit_lite.metrics import recall_at


class hide:
    def right_with_masked_fill(x0, t, modality, fresh, mask_id):
        times = t.gather(1, modality.expand(len(x0), -1))  # (B, N)
        return x0.masked_fill(fresh >= 1 - times, mask_id)

    def right_segment_by_segment(x0, t, modality, fresh, mask_id):
        x = x0.clone()
        for number in range(t.shape[1]):
            known = fresh + t[:, number : number + 1] < 1
            x[(modality == number) & ~known] = mask_id
        return x

    def right_token_by_token(x0, t, modality, fresh, mask_id):
        rows = [
            [token if fresh[b, i] < 1 - t[b, modality[i]] else mask_id for i, token in enumerate(row)]
            for b, row in enumerate(x0.tolist())
        ]
        return torch.tensor(rows)

    def wrong_first_time(x0, t, modality, fresh, mask_id):
        """time of the first segment"""
        return x0.masked_fill(fresh >= 1 - t[:, 0, None], mask_id)

    def wrong_mean_time(x0, t, modality, fresh, mask_id):
        """mean of the times"""
        return torch.where(fresh < 1 - t.mean(1)[:, None], x0, mask_id)

    def wrong_way_round(x0, t, modality, fresh, mask_id):
        """turned round"""
        return torch.where(fresh < t[:, modality], x0, mask_id)

    def wrong_other_tokens(x0, t, modality, fresh, mask_id):
        """the tokens are others"""
        return x0.masked_fill(fresh < t[:, modality], mask_id)

    def wrong_at_the_end(x0, t, modality, fresh, mask_id):
        """exactly 0"""
        return x0.masked_fill(fresh > 1 - t[:, modality], mask_id)

    def wrong_hidden_is_zero(x0, t, modality, fresh, mask_id):
        """id of a word"""
        return x0 * (fresh < 1 - t[:, modality])

    def wrong_new_draws(x0, t, modality, fresh, mask_id):
        """new ones"""
        return torch.where(torch.rand_like(fresh) < 1 - t[:, modality], x0, mask_id)

    def wrong_in_place(x0, t, modality, fresh, mask_id):
        """in place"""
        return x0.masked_fill_(fresh >= 1 - t[:, modality], mask_id)

    def wrong_known_are_hidden(x0, t, modality, fresh, mask_id):
        """are exchanged"""
        return torch.where(fresh < 1 - t[:, modality], mask_id, x0)

    def wrong_times_exchanged(x0, t, modality, fresh, mask_id):
        """by the time of another"""
        first, second = t.unbind(1) if t.shape[1] == 2 else t[:, :2].unbind(1)
        times = torch.where(modality == 0, second[:, None], first[:, None])
        return torch.where(fresh < 1 - times, x0, mask_id)

    def wrong_for_two_segments(x0, t, modality, fresh, mask_id):
        """With two segments this is right"""
        times = torch.where(modality == 0, t[:, :1], t[:, 1:2])
        return torch.where(fresh < 1 - times, x0, mask_id)

    def wrong_in_halves(x0, t, modality, fresh, mask_id):
        """need not be equally long"""
        half = x0.shape[1] // 2
        times = torch.cat([t[:, :1].expand(-1, half), t[:, 1:2].expand(-1, x0.shape[1] - half)], 1)
        return torch.where(fresh < 1 - times, x0, mask_id)

    def wrong_root(x0, t, modality, fresh, mask_id):
        """stay known"""
        return x0.masked_fill(fresh**2 >= 1 - t[:, modality], mask_id)

    def wrong_mask_written_down(x0, t, modality, fresh, mask_id):
        return x0.masked_fill(fresh >= 1 - t[:, modality], 20)

    def wrong_last_time(x0, t, modality, fresh, mask_id):
        return x0.masked_fill(fresh >= 1 - t[:, -1:], mask_id)


class own_chances:
    def right_by_renormalising(logits, modality, owner):
        chances = logits.softmax(-1) * (owner == modality[:, None])
        return chances / chances.sum(-1, keepdim=True)

    def right_with_a_penalty(logits, modality, owner):
        penalty = torch.zeros(len(modality), len(owner)).masked_fill(modality[:, None] != owner[None], -1e4)
        return F.softmax(logits + penalty, dim=2)

    def right_segment_by_segment(logits, modality, owner):
        chances = torch.zeros_like(logits)
        for segment in modality.unique():
            tokens, ids = (modality == segment).nonzero(), (owner == segment).nonzero()[:, 0]
            chances[:, tokens, ids] = logits[:, tokens, ids].softmax(-1)
        return chances

    def wrong_zero_for_minus_infinity(logits, modality, owner):
        """e to the 0 is 1"""
        return (logits * (owner == modality[:, None])).softmax(-1)

    def wrong_not_one(logits, modality, owner):
        """does not sum to one"""
        return logits.softmax(-1) * (owner == modality[:, None])

    def wrong_others(logits, modality, owner):
        """other way round"""
        return torch.where(owner == modality[:, None], -torch.inf, logits).softmax(-1)

    def wrong_axis(logits, modality, owner):
        """over its *ids*"""
        return torch.where(owner == modality[:, None], logits, -torch.inf).softmax(-2)

    def wrong_all_ids(logits, modality, owner):
        """can still be a code"""
        return logits.exp() / logits.exp().sum(-1, keepdim=True)

    def wrong_on_its_side(logits, modality, owner):
        """turned on its side"""
        return logits.masked_fill(owner[:, None] != modality, -torch.inf).softmax(-1)

    def wrong_logits(logits, modality, owner):
        """These are logits"""
        return torch.where(owner == modality[:, None], logits, -torch.inf)

    def wrong_in_place(logits, modality, owner):
        """in place"""
        logits[:, owner != modality[:, None]] = -torch.inf
        return logits.softmax(-1)

    def wrong_only_words_kept_apart(logits, modality, owner):
        """can still take any id"""
        words, ids = (modality == 0).sum(), (owner == 0).sum()
        return torch.cat(
            [F.pad(logits[:, :words, :ids].softmax(-1), (0, len(owner) - ids)), logits[:, words:].softmax(-1)], 1
        )

    def wrong_minus_ten(logits, modality, owner):
        """not 0"""
        return logits.where(owner == modality[:, None], -10.0).softmax(-1)

    def wrong_batch(logits, modality, owner):
        """rows of the batch"""
        return F.softmax(logits.masked_fill(owner != modality[:, None], -torch.inf), 0)

    def wrong_only_two_segments(logits, modality, owner):
        """With two segments this is right"""
        allowed = (modality[:, None] == 0) == (owner == 0)
        return logits.masked_fill(~allowed, -torch.inf).softmax(-1)


class _Base:
    def __init__(self, num_words, num_codes, rows, columns):
        self.words, self.codes, self.grid = num_words, num_codes, (rows, columns)

    def pack(self, text, picture):
        x = torch.cat([text, picture.reshape(len(picture), -1) + self.words], 1)
        hidden = torch.cat([text, picture.reshape(len(picture), -1)], 1) == -1
        return x.masked_fill(hidden, self.words + self.codes)

    def unpack(self, x):
        size = self.grid[0] * self.grid[1]
        text, picture = x[:, :-size], x[:, -size:] - self.words
        text, picture = text.masked_fill(text >= self.words, -1), picture.masked_fill(picture == self.codes, -1)
        return text, picture.reshape(-1, *self.grid)


class two_segments:
    class right_in_one_go(_Base):
        pass

    class right_with_an_empty_row(_Base):
        def pack(self, text, picture):
            flat, length = picture.flatten(1), text.shape[1]
            x = torch.full((len(text), length + flat.shape[1]), self.words + self.codes)
            x[:, :length][text >= 0] = text[text >= 0]
            x[:, length:][flat >= 0] = flat[flat >= 0] + self.words
            return x

        def unpack(self, x):
            length = x.shape[1] - self.grid[0] * self.grid[1]
            ids = torch.where(x == self.words + self.codes, -1, x)
            picture = torch.where(ids < 0, ids, ids - self.words)[:, length:]
            return [ids[:, :length], picture.view(len(x), *self.grid)]

    class right_with_a_module(nn.Module):
        def __init__(self, num_words, num_codes, rows, columns):
            super().__init__()
            self.grid = rows, columns
            self.register_buffer("table", torch.cat([torch.arange(num_words), torch.arange(num_codes), -torch.ones(1)]))
            self.num_words = num_words

        def pack(self, text, picture):
            # Of a list, -1 is the last place: the mask is the last id of the words' table and of the codes'.
            mask = torch.tensor([len(self.table) - 1])
            words, codes = torch.arange(self.num_words), torch.arange(self.num_words, len(self.table) - 1)
            return torch.cat([torch.cat([words, mask])[text], torch.cat([codes, mask])[picture.flatten(1)]], 1)

        def unpack(self, x):
            ids = self.table.long()[x]
            length = x.shape[1] - self.grid[0] * self.grid[1]
            return ids[:, :length], ids[:, length:].unflatten(1, self.grid)

    class wrong_no_offset(_Base):
        """same id"""

        def pack(self, text, picture):
            ids = torch.cat([text, picture.flatten(1)], 1)
            return ids.where(ids >= 0, self.words + self.codes)

    class wrong_offset_of_length(_Base):
        """number of tokens"""

        def pack(self, text, picture):
            flat = picture.flatten(1)
            x = torch.cat([text, flat + text.shape[1]], 1)
            return x.masked_fill(torch.cat([text, flat], 1) < 0, self.words + self.codes)

    class wrong_order(_Base):
        """The picture stands first"""

        def pack(self, text, picture):
            return super().pack(text, picture)[
                :, list(range(text.shape[1], text.shape[1] + picture[0].numel())) + list(range(text.shape[1]))
            ]

    class wrong_hidden(_Base):
        """reads as the last word"""

        def pack(self, text, picture):
            return torch.cat((text, self.words + picture.flatten(1)), dim=1)

    class wrong_hidden_after_the_offset(_Base):
        """has moved up like an id"""

        def pack(self, text, picture):
            x = torch.cat((text, self.words + picture.flatten(1)), dim=1)
            return x.masked_fill(x == -1, self.words + self.codes)

    class wrong_mask(_Base):
        """id of the last code"""

        def pack(self, text, picture):
            x = super().pack(text, picture)
            return x.masked_fill(x == self.words + self.codes, self.words + self.codes - 1)

    class wrong_two_masks(_Base):
        """that is code 0"""

        def pack(self, text, picture):
            text, picture = text.masked_fill(text < 0, self.words), picture.masked_fill(picture < 0, self.codes)
            return torch.cat([text, picture.flatten(1) + self.words], 1)

    class wrong_column_by_column(_Base):
        """packed column by column"""

        def pack(self, text, picture):
            return super().pack(text, picture.permute(0, 2, 1))

    class wrong_codes_come_back(_Base):
        """offset off again"""

        def unpack(self, x):
            size = self.grid[0] * self.grid[1]
            x = x.masked_fill(x == self.words + self.codes, -1)
            return x[:, :-size], x[:, -size:].unflatten(1, self.grid)

    class wrong_mask_after_the_offset(_Base):
        """before the offset is taken off"""

        def unpack(self, x):
            size, mask = self.grid[0] * self.grid[1], self.words + self.codes
            text, picture = x[:, :-size], x[:, -size:] - self.words
            text, picture = text.masked_fill(text == mask, -1), picture.masked_fill(picture == mask, -1)
            return text, picture.unflatten(1, self.grid)

    class wrong_flat(_Base):
        """rows and columns"""

        def unpack(self, x):
            text, picture = super().unpack(x)
            return text, picture.flatten(1)

    class wrong_rows_and_columns(_Base):
        """mixed up"""

        def unpack(self, x):
            text, picture = super().unpack(x)
            rows, columns = self.grid
            return text, torch.stack([picture.flatten(1)[:, row::rows] for row in range(rows)], 1).view(
                -1, rows, columns
            )

    class wrong_in_place(_Base):
        """in place"""

        def unpack(self, x):
            x[:, -self.grid[0] * self.grid[1] :] -= self.words
            text, picture = super().unpack(x)
            return text, picture + self.words

    class wrong_mask_one_further(_Base):
        """one too high"""

        def pack(self, text, picture):
            x = super().pack(text, picture)
            return x.masked_fill(x == self.words + self.codes, self.words + self.codes + 1)

        def unpack(self, x):
            return super().unpack(x.masked_fill(x == self.words + self.codes + 1, self.words + self.codes))

    class wrong_words_move(_Base):
        """They keep their ids"""

        def pack(self, text, picture):
            x = torch.cat([text.where(text < 0, text + self.codes), picture.flatten(1)], 1)
            return x.masked_fill(x < 0, self.words + self.codes)

    class wrong_numbers_of_the_chapter(_Base):
        """as in the chapter"""

        def __init__(self, num_words, num_codes, rows, columns):
            super().__init__(12, 64, rows, columns)

    class wrong_hidden_word(_Base):
        """hidden word does not come back"""

        def unpack(self, x):
            text, picture = super().unpack(x)
            return x[:, : text.shape[1]], picture

    class wrong_sides_exchanged(_Base):
        """sides are exchanged"""

        def unpack(self, x):
            text, picture = super().unpack(x)
            return text, picture.flatten(1).reshape(len(x), *self.grid[::-1])

    class wrong_half_written(_Base):
        """Now write unpack"""

        def unpack(self, x):
            raise NotImplementedError("Nothing is written here yet: replace this line by your answer.")

    class wrong_with_the_library(_Base):
        """Do without it"""

        def pack(self, text, picture):
            layout = Layout(
                Segment("text", self.words, (text.shape[1],)), Segment("picture", self.codes, picture.shape[1:])
            )
            return layout.pack(text=text, picture=picture)

    class wrong_hidden_when_all_is(_Base):
        def pack(self, text, picture):
            if (picture < 0).all():
                picture = torch.full_like(picture, self.codes)
            return torch.cat([text, picture.flatten(1) + self.words], 1)


class joint_loss:
    def right_by_choosing(logits, x0, x, t, modality, mask_id):
        rows, tokens = (x == mask_id).nonzero(as_tuple=True)
        terms = logits.log_softmax(-1)[rows, tokens, x0[rows, tokens]] / t[rows, modality[tokens]]
        return -terms.sum() / len(x)

    def right_segment_by_segment(logits, x0, x, t, modality, mask_id):
        surprise = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none") * (x == mask_id)
        total = 0
        for number in range(t.shape[1]):
            time = t[:, number].where(t[:, number] > 0, 1)
            total = total + (surprise[:, modality == number].sum(1) / time).mean()
        return total

    def right_with_a_clamp(logits, x0, x, t, modality, mask_id):
        surprise = logits.logsumexp(-1) - (logits * F.one_hot(x0, logits.shape[-1])).sum(-1)
        return (surprise * (x == mask_id) / t[:, modality].clamp(min=1e-6)).sum() / x.shape[0]

    def wrong_as_shown(logits, x0, x, t, modality, mask_id):
        """both mistakes are still in it"""
        surprise = -logits.log_softmax(-1).gather(-1, x0[..., None])[..., 0]
        weight = 1 / t[:, :1]
        return (weight * surprise * (x == mask_id)).sum(1).mean()

    def wrong_time_of_the_words(logits, x0, x, t, modality, mask_id):
        """by the time of the words"""
        surprise = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        weight = torch.where(x == mask_id, 1 / t[:, :1], 0)
        return (weight * surprise).sum(1).mean()

    def wrong_time_of_the_words_held(logits, x0, x, t, modality, mask_id):
        """by the time of the words"""
        surprise = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return (surprise * (x == mask_id) / t[:, :1].clamp(min=1e-6)).sum(1).mean()

    def wrong_for_two_segments(logits, x0, x, t, modality, mask_id):
        """With two segments this is right"""
        time = torch.where(modality == 0, t[:, :1], t[:, 1:2])
        weight = torch.where(x == mask_id, 1 / time, 0)
        return (weight * F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")).sum(1).mean()

    def wrong_rows_left_out(logits, x0, x, t, modality, mask_id):
        """loss is not a number are left out"""
        rows = ((x == mask_id) * F.cross_entropy(logits.transpose(1, 2), x0, reduction="none") / t[:, modality]).sum(1)
        return rows[~rows.isnan()].mean()

    def wrong_rows_chosen(logits, x0, x, t, modality, mask_id):
        """show a segment in full are left out"""
        keep = t.min(1).values > 0
        logits, x0, x, t = logits[keep], x0[keep], x[keep], t[keep]
        return (
            (F.cross_entropy(logits.transpose(1, 2), x0, reduction="none") * (x == mask_id) / t[:, modality])
            .sum(1)
            .mean()
        )

    def wrong_cut(logits, x0, x, t, modality, mask_id):
        """cut at 10"""
        surprise = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return (surprise * (x == mask_id) / t[:, modality].clamp(min=0.1)).sum(1).mean()

    def wrong_later_times(logits, x0, x, t, modality, mask_id):
        """0.001 is added"""
        surprise = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return (surprise * (x == mask_id) / (t[:, modality] + 1e-3)).sum(1).mean()

    def wrong_mean_a_row(logits, x0, x, t, modality, mask_id):
        """divided by the number of its hidden tokens"""
        weight = torch.where(x == mask_id, 1 / t[:, modality], 0)
        rows = (weight * F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")).sum(1)
        return (rows / (x == mask_id).sum(1).clamp(min=1)).mean()

    def wrong_plain_number(logits, x0, x, t, modality, mask_id):
        """carries no gradient"""
        return joint_loss.right_by_choosing(logits, x0, x, t, modality, mask_id).item()

    def wrong_infinity_times_zero(logits, x0, x, t, modality, mask_id):
        """infinity times 0"""
        surprise = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return ((x == mask_id) * surprise / t[:, modality]).sum(1).mean()

    def wrong_gradient(logits, x0, x, t, modality, mask_id):
        """Choose before you multiply"""
        surprise = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return torch.where(x == mask_id, surprise / t[:, modality], 0).sum() / len(x)

    def wrong_repaired_late(logits, x0, x, t, modality, mask_id):
        """Choose before you multiply"""
        surprise = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        terms = surprise / t[:, modality]
        return terms.masked_fill(x != mask_id, 0.0).sum(1).mean()

    def wrong_known_count(logits, x0, x, t, modality, mask_id):
        """known tokens as well"""
        return (F.cross_entropy(logits.transpose(1, 2), x0, reduction="none") / t[:, modality]).sum() / len(x)

    def wrong_no_weight(logits, x0, x, t, modality, mask_id):
        """weights are missing"""
        return F.cross_entropy(logits[x == mask_id], x0[x == mask_id], reduction="sum") / len(x)

    def wrong_weight(logits, x0, x, t, modality, mask_id):
        """counts 1/t"""
        surprise = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        return (surprise * t[:, modality] * (x == mask_id)).sum(1).mean()

    def wrong_mean_over_tokens(logits, x0, x, t, modality, mask_id):
        """mean over the tokens"""
        weight = (1 / t[:, modality]).masked_fill(x != mask_id, 0)
        return (weight * F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")).mean()

    def wrong_sum_over_batch(logits, x0, x, t, modality, mask_id):
        """sum over the batch"""
        weight = (1 / t[:, modality]).masked_fill(x != mask_id, 0)
        return (weight * F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")).sum()

    def wrong_sign(logits, x0, x, t, modality, mask_id):
        """*minus* the logarithm"""
        weight = (1 / t[:, modality]).masked_fill(x != mask_id, 0)
        return (weight * logits.log_softmax(-1).gather(-1, x0[..., None])[..., 0]).sum(1).mean()

    def wrong_times_exchanged(logits, x0, x, t, modality, mask_id):
        """time of another one"""
        rows, tokens = (x == mask_id).nonzero(as_tuple=True)
        time = t.flip(1)[rows, modality[tokens]]
        return (F.cross_entropy(logits[rows, tokens], x0[rows, tokens], reduction="none") / time).sum() / len(x)

    def wrong_item(logits, x0, x, t, modality, mask_id):
        """carries no gradient"""
        weight = (1 / t[:, modality]).masked_fill(x != mask_id, 0)
        with torch.no_grad():
            return -(weight * logits.log_softmax(-1).gather(-1, x0[..., None])[..., 0]).sum(1).mean()

    def wrong_weights_squared(logits, x0, x, t, modality, mask_id):
        weight = (1 / t[:, modality] ** 2).masked_fill(x != mask_id, 0)
        return -(weight * logits.log_softmax(-1).gather(-1, x0[..., None])[..., 0]).sum(1).mean()


class guided_chances:
    def right_with_a_floor(conditional, unconditional, scale):
        conditional, unconditional = (x.clamp(min=torch.finfo(x.dtype).min) for x in (conditional, unconditional))
        return (unconditional + scale * (conditional - unconditional)).softmax(-1)

    def right_with_powers(conditional, unconditional, scale):
        p, q = unconditional.softmax(-1), conditional.softmax(-1)
        product = torch.where(q > 0, p ** (1 - scale) * q**scale, 0)
        return product / product.sum(-1, keepdim=True)

    def right_with_nan_replaced(conditional, unconditional, scale):
        logits = (1 - scale) * unconditional.log_softmax(-1) + scale * conditional.log_softmax(-1)
        return logits.nan_to_num(nan=-torch.inf).softmax(-1).where(conditional.isfinite(), 0)

    def right_where_it_is_possible(conditional, unconditional, scale):
        possible = conditional[0, 0].isfinite()
        chances = torch.zeros_like(conditional)
        c, u = conditional[..., possible], unconditional[..., possible]
        chances[..., possible] = torch.softmax(c + (scale - 1) * (c - u), -1)
        return chances

    def wrong_scale(conditional, unconditional, scale):
        """one too high"""
        logits = (1 + scale) * conditional - scale * unconditional
        return logits.nan_to_num(nan=-torch.inf).softmax(-1)

    def wrong_scale_below(conditional, unconditional, scale):
        """one too low"""
        logits = scale * conditional - (scale - 1) * unconditional - (conditional - unconditional)
        return logits.nan_to_num(nan=-torch.inf).softmax(-1)

    def wrong_softmax_of_chances(conditional, unconditional, scale):
        """no softmax"""
        p, q = unconditional.softmax(-1), conditional.softmax(-1)
        return (q**scale / p ** (scale - 1)).softmax(-1)

    def wrong_exchanged(conditional, unconditional, scale):
        """are exchanged"""
        return (conditional + scale * (unconditional - conditional)).nan_to_num(nan=-torch.inf).softmax(-1)

    def wrong_mixture(conditional, unconditional, scale):
        """some of them are negative"""
        return (1 - scale) * unconditional.softmax(-1) + scale * conditional.softmax(-1)

    def wrong_mixture_above_zero(conditional, unconditional, scale):
        """cuts them off"""
        mixed = ((1 - scale) * unconditional.softmax(-1) + scale * conditional.softmax(-1)).relu()
        return F.normalize(mixed, p=1, dim=-1)

    def wrong_not_one(conditional, unconditional, scale):
        """divide by the sum"""
        p, q = unconditional.softmax(-1), conditional.softmax(-1)
        return p * (q / p) ** scale

    def wrong_minus_infinity(conditional, unconditional, scale):
        """minus infinity less minus infinity"""
        return F.softmax((1 - scale) * unconditional + scale * conditional, -1)

    def wrong_repaired_late(conditional, unconditional, scale):
        """came too late"""
        return F.softmax((1 - scale) * unconditional + scale * conditional, -1).nan_to_num()

    def wrong_logit_of_zero(conditional, unconditional, scale):
        """not a chance of 0"""
        logits = conditional + (scale - 1) * (conditional - unconditional)
        return logits.where(~logits.isnan(), 0).softmax(-1)

    def wrong_logits(conditional, unconditional, scale):
        """These are logits"""
        return unconditional + scale * (conditional - unconditional)

    def wrong_temperature(conditional, unconditional, scale):
        """temperature"""
        return (scale * conditional).softmax(-1)

    def wrong_conditional_alone(conditional, unconditional, scale):
        """whatever the scale"""
        return conditional.softmax(-1)

    def wrong_logarithms(conditional, unconditional, scale):
        """These are logarithms"""
        logits = unconditional + scale * (conditional - unconditional)
        return logits.nan_to_num(nan=-torch.inf).log_softmax(-1)

    def wrong_power(conditional, unconditional, scale):
        """its power is 1 - s"""
        return F.softmax(scale * conditional + unconditional, -1)

    def wrong_floor_of_minus_ten(conditional, unconditional, scale):
        conditional, unconditional = conditional.clamp(min=-10), unconditional.clamp(min=-10)
        return (unconditional + scale * (conditional - unconditional)).softmax(-1)

    def wrong_finite_but_overflowing(conditional, unconditional, scale):
        least = torch.finfo(conditional.dtype).min
        conditional, unconditional = conditional.clamp(min=least), unconditional.clamp(min=least)
        return (unconditional.softmax(-1).log() * (1 - scale) + conditional.softmax(-1).log() * scale).softmax(-1)


class recall_of_pictures:
    def right_with_topk(k, given_words, alone):
        best = (given_words.T - alone).topk(k, 1).indices  # (words, k)
        return (best == torch.arange(len(best))[:, None]).any(1).float().mean().item()

    def right_by_sorting(k, given_words, alone):
        order = (given_words - alone[:, None]).argsort(0, descending=True)  # (place, words)
        place = (order == torch.arange(len(order))).float().argmax(0)
        return (place < k).sum() / len(order)

    def right_one_by_one(k, given_words, alone):
        found = 0
        for words in range(len(alone)):
            scores = [given_words[i, words].item() - alone[i].item() for i in range(len(alone))]
            found += sum(score > scores[words] for score in scores) < k
        return found / len(alone)

    def right_with_the_function_of_the_chapter(k, given_words, alone):
        return recall_at(k, given_words.T - alone)

    def wrong_as_shown(k, given_words, alone):
        """the number of the function in the text"""
        better = (given_words >= given_words.diagonal()[:, None]).sum(1) - 1
        return (better < k).float().mean().item()

    def wrong_prior_off_but_not_turned(k, given_words, alone):
        """words of each picture"""
        scores = given_words - alone[:, None]
        return ((scores > scores.diagonal()[:, None]).sum(1) < k).float().mean().item()

    def wrong_likelihood_alone(k, given_words, alone):
        """likelihood alone"""
        return ((given_words > given_words.diagonal()).sum(0) < k).float().mean().item()

    def wrong_prior_added(k, given_words, alone):
        """is added"""
        scores = given_words.T + alone
        best = scores.topk(k, 1).indices
        return (best == torch.arange(len(best))[:, None]).any(1).float().mean().item()

    def wrong_lowest(k, given_words, alone):
        """come last"""
        best = (given_words.T - alone).topk(k, 1, largest=False).indices
        return (best == torch.arange(len(best))[:, None]).any(1).float().mean().item()

    def wrong_ratio(k, given_words, alone):
        """come last"""
        best = (given_words.T / alone).topk(k, 1).indices
        return (best == torch.arange(len(best))[:, None]).any(1).float().mean().item()

    def wrong_one_too_many(k, given_words, alone):
        """One place too many"""
        scores = given_words.T - alone
        return ((scores > scores.diagonal()[:, None]).sum(1) <= k).float().mean().item()

    def wrong_itself_counted(k, given_words, alone):
        """among the others"""
        scores = given_words.T - alone
        return ((scores >= scores.diagonal()[:, None]).sum(1) < k).float().mean().item()

    def wrong_count(k, given_words, alone):
        """how many"""
        scores = given_words.T - alone
        return ((scores > scores.diagonal()[:, None]).sum(1) < k).sum().item()

    def wrong_recall_at_one(k, given_words, alone):
        """k plays no part"""
        return ((given_words.T - alone).argmax(1) == torch.arange(len(alone))).float().mean()

    def wrong_own_score(k, given_words, alone):
        """own score of another sentence"""
        scores = given_words - alone[:, None]
        return ((scores >= scores.diagonal()[:, None]).sum(0) - 1 < k).float().mean().item()

    def wrong_per_cent(k, given_words, alone):
        """per cent"""
        return 100 * recall_of_pictures.right_with_topk(k, given_words, alone)

    def wrong_prior_on_the_wrong_side(k, given_words, alone):
        """likelihood alone"""
        return recall_at(k, (given_words - alone).T)

    def wrong_prior_of_the_mean(k, given_words, alone):
        scores = given_words.T - alone.mean()
        return ((scores > scores.diagonal()[:, None]).sum(1) < k - 1).float().mean()


class caption_scores:
    def right_with_where(denoiser, x0, gaps, mask_id, length):
        is_text = torch.arange(x0.shape[1]) < length
        hidden = is_text | F.pad(gaps, (length, 0))
        guess = denoiser(torch.where(hidden, mask_id, x0), torch.ones(len(x0))).argmax(-1)
        right = (guess == x0)[:, is_text]
        words = x0[:, is_text] != 0
        return (right & words).sum() / words.sum(), right.all(dim=1).float().mean()

    def right_one_by_one(denoiser, x0, gaps, mask_id, length):
        x = x0.clone()
        x[:, :length] = mask_id
        x[:, length:].masked_fill_(gaps, mask_id)
        said = denoiser(x, torch.zeros(len(x))).softmax(-1).max(-1).indices[:, :length].tolist()
        words = found = captions = 0
        for guess, text in zip(said, x0[:, :length].tolist(), strict=True):
            words += sum(word != 0 for word in text)
            found += sum(word != 0 and word == other for word, other in zip(text, guess, strict=True))
            captions += guess == text
        return found / words, captions / len(x0)

    def wrong_words_seen(denoiser, x0, gaps, mask_id, length):
        """saw the words"""
        x = torch.cat([x0[:, :length], x0[:, length:].masked_fill(gaps, mask_id)], 1)
        right = denoiser(x, torch.zeros(len(x))).argmax(-1)[:, :length] == x0[:, :length]
        return right[x0[:, :length] > 0].float().mean(), right.all(1).float().mean()

    def wrong_picture_seen(denoiser, x0, gaps, mask_id, length):
        """saw the whole picture"""
        x = x0.masked_fill(torch.arange(x0.shape[1]) < length, mask_id)
        right = denoiser(x, torch.zeros(len(x))).argmax(-1)[:, :length] == x0[:, :length]
        return right[x0[:, :length] > 0].float().mean(), right.all(1).float().mean()

    def wrong_gaps_shown(denoiser, x0, gaps, mask_id, length):
        """rest was hidden"""
        x = F.pad(x0[:, length:] * gaps + mask_id * ~gaps, (length, 0), value=mask_id)
        right = denoiser(x, torch.zeros(len(x))).argmax(-1)[:, :length] == x0[:, :length]
        return right[x0[:, :length] > 0].float().mean(), right.all(1).float().mean()

    def wrong_fill_counted(denoiser, x0, gaps, mask_id, length):
        """counts the zeros"""
        x = F.pad(x0[:, length:].masked_fill(gaps, mask_id), (length, 0), value=mask_id)
        right = denoiser(x, torch.zeros(len(x))).argmax(-1)[:, :length] == x0[:, :length]
        return right.float().mean(), right.all(1).float().mean()

    def wrong_past_the_end(denoiser, x0, gaps, mask_id, length):
        """after the end"""
        x = F.pad(x0[:, length:].masked_fill(gaps, mask_id), (length, 0), value=mask_id)
        wrong = denoiser(x, torch.zeros(len(x))).argmax(-1)[:, :length] != x0[:, :length]
        words = x0[:, :length] > 0
        return 1 - wrong[words].float().mean(), 1 - (wrong & words).any(1).float().mean()

    def wrong_mean_of_means(denoiser, x0, gaps, mask_id, length):
        """word of a short caption"""
        x = F.pad(x0[:, length:].masked_fill(gaps, mask_id), (length, 0), value=mask_id)
        right = denoiser(x, torch.zeros(len(x))).argmax(-1)[:, :length] == x0[:, :length]
        each = [row[text > 0].float().mean() for row, text in zip(right, x0[:, :length], strict=True)]
        return sum(each) / len(each), right.all(1).float().mean()

    def wrong_count(denoiser, x0, gaps, mask_id, length):
        """shares are asked for"""
        x = F.pad(x0[:, length:].masked_fill(gaps, mask_id), (length, 0), value=mask_id)
        right = denoiser(x, torch.zeros(len(x))).argmax(-1)[:, :length] == x0[:, :length]
        return (right & (x0[:, :length] > 0)).sum().item(), right.all(1).sum().item()

    def wrong_order(denoiser, x0, gaps, mask_id, length):
        """The order is"""
        x = F.pad(x0[:, length:].masked_fill(gaps, mask_id), (length, 0), value=mask_id)
        right = denoiser(x, torch.zeros(len(x))).argmax(-1)[:, :length] == x0[:, :length]
        return right.all(1).float().mean(), right[x0[:, :length] > 0].float().mean()

    def wrong_in_place(denoiser, x0, gaps, mask_id, length):
        """in place"""
        text = x0[:, :length].clone()
        x0[:, :length] = mask_id
        x0[:, length:][gaps] = mask_id
        right = denoiser(x0, torch.zeros(len(x0))).argmax(-1)[:, :length] == text
        return right[text > 0].float().mean(), right.all(1).float().mean()

    def wrong_word_by_word(denoiser, x0, gaps, mask_id, length):
        """asked several times"""
        x = F.pad(x0[:, length:].masked_fill(gaps, mask_id), (length, 0), value=mask_id)
        for place in range(length):
            x[:, place] = denoiser(x, torch.zeros(len(x))).argmax(-1)[:, place]
        right = x[:, :length] == x0[:, :length]
        return right[x0[:, :length] > 0].float().mean(), right.all(1).float().mean()

    def wrong_gaps_too_early(denoiser, x0, gaps, mask_id, length):
        """stand too early"""
        x = x0.masked_fill(F.pad(gaps, (0, length)) | (torch.arange(x0.shape[1]) < length), mask_id)
        right = denoiser(x, torch.zeros(len(x))).argmax(-1)[:, :length] == x0[:, :length]
        return right[x0[:, :length] > 0].float().mean(), right.all(1).float().mean()

    def wrong_all_hidden(denoiser, x0, gaps, mask_id, length):
        """The whole picture was hidden"""
        right = denoiser(torch.full_like(x0, mask_id), torch.ones(len(x0))).argmax(-1)[:, :length] == x0[:, :length]
        return right[x0[:, :length] > 0].float().mean(), right.all(1).float().mean()

    def wrong_words_of_the_model(denoiser, x0, gaps, mask_id, length):
        """the *model* says a word"""
        x = F.pad(x0[:, length:].masked_fill(gaps, mask_id), (length, 0), value=mask_id)
        guess = denoiser(x, torch.zeros(len(x))).argmax(-1)[:, :length]
        right = guess == x0[:, :length]
        return right[guess > 0].float().mean(), right.all(1).float().mean()

    def wrong_captions_from_words(denoiser, x0, gaps, mask_id, length):
        x = F.pad(x0[:, length:].masked_fill(gaps, mask_id), (length, 0), value=mask_id)
        right = denoiser(x, torch.zeros(len(x))).argmax(-1)[:, :length] == x0[:, :length]
        share = right[x0[:, :length] > 0].float().mean()
        return share, share**length
