"""Graders of chapter 06, the transformer denoiser."""

import math
from itertools import permutations

import torch
import torch.nn.functional as F

from vqdit_lite import metrics
from vqdit_lite.attention import attention, rotate
from vqdit_lite.grade.grader import AnswerError, Grader
from vqdit_lite.transformer import sincos


def _with_a_word(word):
    """Calls an answer. Where that raises an error, `word(error, *arguments)` may add something to it."""

    def use(answer, *arguments):
        try:
            return answer(*arguments)
        except NotImplementedError:
            raise
        except (IndexError, RuntimeError) as error:
            more = word(error, *arguments)
            error.args = (f"{str(error).rstrip('.')} ({more})",) if more else error.args
            raise

    return use


# ---------------------------------------------------------------- unpatchify


def _laid_out(*axes):
    """A function that orders the axes (batch, grid row, grid column, channel, row, column) in this way."""

    def mistaken(tokens, size, grid):
        x = tokens.unflatten(2, (-1, size, size)).unflatten(1, grid)
        sizes = [x.shape[axis] for axis in axes]
        return x.permute(*axes).reshape(*sizes[:2], sizes[2] * sizes[3], sizes[4] * sizes[5])

    return mistaken


def _unpatchify(tokens, size, grid):
    return _laid_out(0, 3, 1, 4, 2, 5)(tokens, size, grid)


def _unpatchify_renamed(tokens, size, grid):
    return tokens.reshape(len(tokens), -1, grid[0] * size, grid[1] * size)


def _unpatchify_grid_first(tokens, size, grid):
    x = tokens.unflatten(2, (-1, size, size)).unflatten(1, grid)
    return x.permute(0, 3, 1, 2, 4, 5).reshape(len(tokens), -1, grid[0] * size, grid[1] * size)


def _unpatchify_exchanged_at_the_end(tokens, size, grid):
    return _unpatchify(tokens, size, grid).reshape(len(tokens), -1, grid[1] * size, grid[0] * size)


def _unpatchify_channels_last(tokens, size, grid):
    x = tokens.unflatten(2, (size, size, -1)).unflatten(1, grid)  # (B, H/s, W/s, s, s, C)
    return x.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def _unpatchify_channel_first_of_all(tokens, size, grid):
    return _unpatchify(tokens, size, grid).permute(0, 2, 3, 1)


def _unpatchify_by_columns(tokens, size, grid):
    x = tokens.unflatten(2, (-1, size, size)).unflatten(1, grid[::-1])
    return x.permute(0, 3, 2, 4, 1, 5).flatten(4).flatten(2, 3)


def _patches(batch, channels, size, grid):
    return [torch.randn(batch, math.prod(grid), channels * size**2), size, grid]


unpatchify = Grader(
    "unpatchify",
    _unpatchify,
    {
        "three channels, a grid of 4 × 5": lambda: _patches(6, 3, 2, (4, 5)),
        "one channel, patches of 3 × 3": lambda: _patches(4, 1, 3, (4, 2)),
        "one patch is the whole picture": lambda: _patches(3, 2, 4, (1, 1)),
        "patches of one pixel": lambda: _patches(1, 5, 1, (3, 4)),
    },
    {
        "The numbers are all there, but in the order of the tokens. A row of the picture runs through several patches, "
        "so axes must change places before any are joined.": _unpatchify_renamed,
        "The two axes of the grid stand together, and so do the two of a patch. A row of the picture is a row of "
        "patches *and* a row within a patch: join these two.": _unpatchify_grid_first,
        "Within a patch this takes the channels as the last axis. The numbers of a patch come channel by channel.": (
            _unpatchify_channels_last
        ),
        "Every single patch is turned over: its rows have become columns.": _laid_out(0, 3, 1, 5, 2, 4),
        "The patches fill the grid column by column. They come row by row.": _unpatchify_by_columns,
        "The right axes are joined, in the wrong order: first comes which patch, then which pixel in it.": _laid_out(
            0, 3, 4, 1, 5, 2
        ),
        "Height and width have changed places: grid is (rows, columns), and its first number belongs to the height.": (
            lambda tokens, size, grid: _unpatchify(tokens, size, grid[::-1])
        ),
        "Height and width have changed places: patches that stand side by side in the grid came one below the other.": (
            _laid_out(0, 3, 2, 4, 1, 5)
        ),
        "Height and width have changed places: the whole picture is turned over. Rows come before columns.": (
            _laid_out(0, 3, 2, 5, 1, 4)
        ),
        "Height and width have changed places in the last shape alone; the numbers were in the right order for the "
        "right one.": _unpatchify_exchanged_at_the_end,
        "The channels stand last. In PyTorch a batch of pictures is (B, C, H, W).": _unpatchify_channel_first_of_all,
    },
    forbidden={"fold", "pixel_shuffle"},
)

# ---------------------------------------------------------------- condition


def _time(t, table, factor=1000):
    return sincos(factor * t, table.shape[1])


def _label(labels, uniform, share, table, row=-1):
    return table[labels.masked_fill(uniform < share, row % len(table))]


def _condition(t, labels, uniform, share, table):
    return _time(t, table) + _label(labels, uniform, share, table)


def _condition_nothing(t, labels, uniform, share, table):
    return _time(t, table) + table[labels].masked_fill((uniform < share)[:, None], 0)


def _condition_time_hidden(t, labels, uniform, share, table):
    return _time(t, table).masked_fill((uniform < share)[:, None], 0) + _label(labels, uniform, share, table)


def _condition_counted_from_1(t, labels, uniform, share, table):
    return _time(t, table) + table[(labels + 1).masked_fill(uniform < share, 0)]


def _turned_about(t, table):
    return _time(t, table).roll(table.shape[1] // 2, 1)


def _alternating(t, table):
    return _time(t, table).unflatten(1, (2, -1)).transpose(1, 2).flatten(1)


def _down_to_the_end(t, table):
    count = table.shape[1] // 2
    angles = 1000 * t[:, None] * 10_000 ** -(torch.arange(count) / (count - 1))
    return torch.cat([angles.cos(), angles.sin()], 1)


def _with_time(time):
    return lambda t, labels, uniform, share, table: time(t, table) + _label(labels, uniform, share, table)


def _said_of_condition(error, t, labels, uniform, share, table):
    if isinstance(error, IndexError):
        return "rows are counted from 0"
    return "the embedding must be as wide as a row of the table" if "256" in str(error) else ""


def _condition_joined(t, labels, uniform, share, table):
    return torch.cat([_time(t, table), _label(labels, uniform, share, table)], 1)


def _conditions(batch, classes, dim, share):
    return [
        torch.rand(batch),
        torch.randint(classes, (batch,)),
        torch.rand(batch),
        share,
        torch.randn(classes + 1, dim),
    ]


condition = Grader(
    "condition",
    _condition,
    {
        "a share of 0.4 is hidden": lambda: [
            torch.tensor([0.3337, 0.0512, 0.8421, 0.6178, 0.9764]),
            torch.tensor([3, 0, 9, 5, 1]),
            torch.tensor([0.2, 0.7, 0.5, 0.05, 0.9]),
            0.4,
            torch.randn(11, 8),
        ],
        "a share of 0.1 is hidden": lambda: _conditions(40, 3, 6, 0.1),
        "a share of 0, as for drawing": lambda: [
            torch.rand(4),
            torch.tensor([2, 0, 3, 1]),
            torch.tensor([0.6, 0.0, 0.3, 0.0]),
            0.0,
            torch.randn(5, 2),
        ],
        "a share of 1": lambda: _conditions(6, 4, 12, 1.0),
        "one example at t = 1": lambda: [torch.ones(1), torch.tensor([2]), torch.tensor([0.7]), 0.2, torch.randn(4, 6)],
    },
    {
        "Times lie in [0, 1]. Waves made for positions hardly move over such a short way: first multiply by 1,000.": (
            _with_time(lambda t, table: _time(t, table, 1))
        ),
        "The embedding is 1,000 times as large. It is the time that is multiplied, before it is embedded.": (
            _with_time(lambda t, table: 1000 * _time(t, table, 1))
        ),
        "Times are divided by 1,000 here, which makes the short way between 0 and 1 shorter still.": _with_time(
            lambda t, table: _time(t, table, 0.001)
        ),
        "The times were rounded to whole steps. Waves know no steps: any number has a place on them.": _with_time(
            lambda t, table: sincos((1000 * t).round(), table.shape[1])
        ),
        "The times were cut off to whole steps. Waves know no steps: any number has a place on them.": _with_time(
            lambda t, table: sincos((1000 * t).floor(), table.shape[1])
        ),
        "The sines stand before the cosines; in (6.2) it is the other way round.": _with_time(_turned_about),
        "Cosines and sines alternate; in (6.2) all cosines come first.": _with_time(_alternating),
        "These frequencies fall to 1/10,000 within D/2 steps. Those of (6.2) stop a step before it: look at the D in "
        "its exponent.": _with_time(_down_to_the_end),
        "This hides the others: a label is hidden where its number lies *below* the share.": (
            lambda t, labels, uniform, share, table: _condition(t, labels, -uniform, -share, table)
        ),
        "A number that equals the share hides its label here. It has to lie *below* the share, or a share of 0 would "
        "hide some.": (
            lambda t, labels, uniform, share, table: _time(t, table) + table[labels.masked_fill(uniform <= share, -1)]
        ),
        "These are the labels that a share of 0.1 hides. Here the share is an argument.": (
            lambda t, labels, uniform, share, table: _condition(t, labels, uniform, 0.1, table)
        ),
        "Labels are hidden by other random numbers than those in `uniform`.": (
            lambda t, labels, uniform, share, table: _condition(t, labels, torch.rand(len(t)), share, table)
        ),
        "A hidden label has become the label 0. That is a real digit; “no label” has a row of its own.": (
            lambda t, labels, uniform, share, table: _time(t, table) + _label(labels, uniform, share, table, 0)
        ),
        "A hidden label has become the last real label. The row for “no label” stands one further.": (
            lambda t, labels, uniform, share, table: _time(t, table) + _label(labels, uniform, share, table, -2)
        ),
        "All labels have moved up by a row. Row 0 is that of the label 0; “no label” comes last.": (
            _condition_counted_from_1
        ),
        "A hidden label adds nothing here. “No label” is a row of the table, which is learned like the others.": (
            _condition_nothing
        ),
        "The hidden examples lose their time as well. Without a label the denoiser must still know the noise level.": (
            _condition_time_hidden
        ),
        "All examples of the batch share one fate. Each has a number of its own, which decides for it alone.": (
            lambda t, labels, uniform, share, table: _condition(t, labels, uniform[:1], share, table)
        ),
        "No label is hidden, so the row for “no label” is never learned, and guidance has nothing to start from.": (
            lambda t, labels, uniform, share, table: _time(t, table) + table[labels]
        ),
        "Time and label stand side by side; they are added, feature by feature.": _condition_joined,
        "Time and label are multiplied; they are added.": (
            lambda t, labels, uniform, share, table: _time(t, table) * _label(labels, uniform, share, table)
        ),
        "The time is missing.": lambda t, labels, uniform, share, table: _label(labels, uniform, share, table),
        "The label is missing.": lambda t, labels, uniform, share, table: _time(t, table),
    },
    given={"sincos"},
    use=_with_a_word(_said_of_condition),
    tolerance=2e-3,
)

# ---------------------------------------------------------------- multi_head_attention


def _split(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, heads, N, d)


def _join(x):
    return x.transpose(1, 2).flatten(2)


def _split_renamed(x, heads):
    return x.reshape(len(x), heads, x.shape[1], -1)


def _join_renamed(x):
    return x.reshape(len(x), x.shape[2], -1)


def _share_out(scores, dim, heads):
    return (scores / math.sqrt(dim)).softmax(-1)


def _among_heads(share_out=_share_out, split=_split, join=_join):
    def mistaken(q, k, v, heads):
        q, k, v = (split(x, heads) for x in (q, k, v))
        return join(share_out(q @ k.transpose(-1, -2), q.shape[-1], heads) @ v)

    return mistaken


def _multi_head_attention(q, k, v, heads):
    return _among_heads()(q, k, v, heads)


def _causal(scores, dim, heads):
    later = torch.ones(scores.shape[-2:]).triu(1).bool()
    return (scores / math.sqrt(dim)).masked_fill(later, -math.inf).softmax(-1)


def _said_of_lookup(error, q, k, v, heads):
    queries, keys = q.shape[1], k.shape[1]
    return f"{queries} queries, {keys} keys and values: was one number taken for the other?" if queries != keys else ""


def _lookup(batch, queries, keys, width, heads):
    return [torch.randn(batch, queries, width), *(torch.randn(batch, keys, width) for _ in "kv"), heads]


multi_head_attention = Grader(
    "multi_head_attention",
    _multi_head_attention,
    {
        "three heads, five tokens": lambda: _lookup(2, 5, 5, 12, 3),
        "tokens look at a longer context": lambda: _lookup(3, 4, 9, 8, 2),
        "one head": lambda: _lookup(2, 6, 3, 5, 1),
        "heads of one feature": lambda: _lookup(1, 3, 4, 6, 6),
        "one token in each of four pictures": lambda: _lookup(4, 1, 1, 8, 4),
    },
    {
        "The scores are not scaled. They grow with the length of a query, and the softmax hardens.": _among_heads(
            lambda scores, dim, heads: scores.softmax(-1)
        ),
        "The scale is that of the full width. Each head multiplies only its own part of the features.": _among_heads(
            lambda scores, dim, heads: (scores / math.sqrt(dim * heads)).softmax(-1)
        ),
        "The scores are divided by d. Their standard deviation is the *root* of d.": _among_heads(
            lambda scores, dim, heads: (scores / dim).softmax(-1)
        ),
        "The scale is the root of the number of heads; (6.1) has that of the features of one head.": _among_heads(
            lambda scores, dim, heads: (scores / math.sqrt(heads)).softmax(-1)
        ),
        "The scale is the root of the number of keys; (6.1) has that of the features of one head.": _among_heads(
            lambda scores, dim, heads: (scores / math.sqrt(scores.shape[-1])).softmax(-1)
        ),
        "The shares are divided after the softmax and no longer add up to 1. The *scores* are scaled.": _among_heads(
            lambda scores, dim, heads: scores.softmax(-1) / math.sqrt(dim)
        ),
        "The scores are multiplied where (6.1) divides.": _among_heads(
            lambda scores, dim, heads: (scores * math.sqrt(dim)).softmax(-1)
        ),
        "The softmax runs over the queries. Each *query* shares out a total of 1 among the keys.": _among_heads(
            lambda scores, dim, heads: (scores / math.sqrt(dim)).softmax(-2)
        ),
        "The softmax runs over the heads. Each head has a lookup of its own, and shares out a 1 among the keys.": (
            _among_heads(lambda scores, dim, heads: (scores / math.sqrt(dim)).softmax(1))
        ),
        "There is no softmax: scores are not yet shares.": _among_heads(
            lambda scores, dim, heads: scores / math.sqrt(dim)
        ),
        "A token sees only itself and the ones before it. A denoiser sees all tokens at once; nothing is causal.": (
            _among_heads(_causal)
        ),
        "Splitting and joining only give the numbers other names, so a head gets pieces of different tokens. A token "
        "stays whole if its *features* are split and then two axes change places.": _among_heads(
            split=_split_renamed, join=_join_renamed
        ),
        "The split only gives the numbers other names, so a head gets pieces of different tokens. Split the "
        "*features*, then let two axes change places.": _among_heads(split=_split_renamed),
        "The lookup is right, but heads and tokens are mixed up when joined. First undo the exchange of axes from the "
        "split.": _among_heads(join=_join_renamed),
        "Here the heads of a token look at one another, and no token at another. Heads belong before the tokens.": (
            _among_heads(
                split=lambda x, heads: x.unflatten(-1, (heads, -1)),
                join=lambda x: x.flatten(2),
            )
        ),
        "Features are dealt out to the heads in turn. The first head takes the first width/heads features, in a row.": (
            _among_heads(
                split=lambda x, heads: x.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2),
                join=lambda x: x.permute(0, 2, 3, 1).flatten(2),
            )
        ),
        "The heads are right, but joined feature by feature: first come the first features of all heads. A head's "
        "features stay together.": _among_heads(join=lambda x: x.permute(0, 2, 3, 1).flatten(2)),
        "The heads are still apart. Join them: the heads stand beside each other in the features.": _among_heads(
            join=lambda x: x
        ),
        "Features are dealt out to the heads in turn, and joined in a row. The first head takes the first width/heads "
        "features.": _among_heads(split=lambda x, heads: x.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2)),
        "The heads are joined in reverse order: the first head's features come first.": _among_heads(
            join=lambda x: _join(x.flip(1))
        ),
        "What the heads have found is added up. They are joined: each head fills its own part of the features.": (
            _among_heads(join=lambda x: x.sum(1))
        ),
        "What the heads have found is averaged. They are joined: each head fills its own part of the features.": (
            _among_heads(join=lambda x: x.mean(1))
        ),
        "The shares are averaged over the heads, so all heads look at the same places. Each has shares of its own.": (
            _among_heads(
                lambda scores, dim, heads: (scores / math.sqrt(dim)).softmax(-1).mean(1, keepdim=True).expand_as(scores)
            )
        ),
        "Keys and values have changed places: keys make the scores, values are handed on.": (
            lambda q, k, v, heads: _multi_head_attention(q, v, k, heads)
        ),
        "Queries and keys have changed places: it is the queries that ask.": (
            lambda q, k, v, heads: _multi_head_attention(k, q, v, heads)
        ),
        "The keys are mixed. Keys make the scores; what is handed on are the values.": (
            lambda q, k, v, heads: _multi_head_attention(q, k, k, heads)
        ),
        "This is attention with a single head on the full width: each head must have shares of its own.": (
            lambda q, k, v, heads: _multi_head_attention(q, k, v, 1)
        ),
    },
    forbidden={"scaled_dot_product_attention", "multi_head_attention_forward"},
    use=_with_a_word(_said_of_lookup),
)

# ---------------------------------------------------------------- rotary_attention


def _turned(q=1, k=1, v=0, weigh=lambda scores: scores.softmax(-1), scale=None, rotate=rotate):
    """Attention in which queries, keys and values are turned so many times."""

    def mistaken(queries, keys, values, angles):
        queries, keys, values = (rotate(x, times * angles) for x, times in ((queries, q), (keys, k), (values, v)))
        return weigh(queries @ keys.transpose(-1, -2) / (scale or math.sqrt(queries.shape[-1]))) @ values

    return mistaken


def _rotary_attention(q, k, v, angles):
    return _turned()(q, k, v, angles)


def _backwards(scores):
    return scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -math.inf).softmax(-1)


def _forwards(scores):
    return scores.masked_fill(torch.ones(scores.shape[-2:]).tril(-1).bool(), -math.inf).softmax(-1)


def _after(scores):
    return scores.masked_fill(torch.ones(scores.shape[-2:]).tril().bool(), -math.inf).softmax(-1)


def _zeroed(scores):
    return scores.tril().softmax(-1)


def _blind(scores):
    return scores.masked_fill(torch.eye(scores.shape[-1]).bool(), -math.inf).softmax(-1)


def _rotate_neighbours(x, angles):
    one, other = x[..., ::2], x[..., 1::2]
    cos, sin = angles.cos(), angles.sin()
    return torch.stack([one * cos - other * sin, one * sin + other * cos], -1).flatten(-2)


def _rotary(*shape, angles=lambda x: 3 * x):
    return [*(torch.randn(*shape) for _ in "qkv"), angles(torch.randn(shape[-2], shape[-1] // 2))]


rotary_attention = Grader(
    "rotary_attention",
    _rotary_attention,
    {
        "two heads, six tokens": lambda: _rotary(3, 2, 6, 4),
        "one head, two features": lambda: _rotary(1, 1, 5, 2),
        "no angles": lambda: _rotary(2, 4, 7, 8, angles=torch.zeros_like),
        "one token": lambda: _rotary(2, 3, 1, 6),
    },
    {
        "This is the function of the text: both mistakes are still in it.": _turned(v=1, weigh=_backwards),
        "The mask is gone. The other mistake is still there: look at what (6.3) turns, and at what it leaves alone.": (
            _turned(v=1)
        ),
        "The turning is right. The other mistake is still there: some tokens may not look at others.": (
            _turned(weigh=_backwards)
        ),
        "The mask is turned round: now tokens see only what comes after. Here every token may look at every other.": (
            _turned(weigh=_forwards)
        ),
        "The mask is turned round, so tokens see only what comes after, and the other mistake is still there.": _turned(
            v=1, weigh=_forwards
        ),
        "Tokens see only what comes after them, and the last one sees nothing: it is nan. No mask is needed.": _turned(
            weigh=_after
        ),
        "Tokens see only what comes after them, and the last one sees nothing: it is nan. The other mistake is "
        "still there, too.": _turned(v=1, weigh=_after),
        "These are two things, what was looked up and the shares. Return the first.": (
            lambda q, k, v, angles: attention(rotate(q, angles), rotate(k, angles), v)
        ),
        "Tokens further on have the score 0 now. A score of 0 is one like any other and gets its share, whatever that "
        "token says. No mask is needed.": _turned(weigh=_zeroed),
        "Tokens further on have the score 0 now, a score like any other; and the other mistake is still there.": (
            _turned(v=1, weigh=_zeroed)
        ),
        "No token may look at itself here. Every token may look at every one, itself too.": _turned(weigh=_blind),
        "The scores are masked after the softmax, so the shares of a query no longer add up to 1. No mask is needed.": (
            _turned(weigh=lambda scores: scores.softmax(-1).tril())
        ),
        "Nothing is turned any more, so attention does not know where a token stands; and still some tokens may not "
        "look at others.": _turned(q=0, k=0, weigh=_backwards),
        "Nothing is turned any more, so attention does not know where a token stands.": _turned(q=0, k=0),
        "The queries are turned and the keys are not: the score depends on the place of the query alone.": _turned(k=0),
        "The keys are turned and the queries are not: the score depends on the place of the key alone.": _turned(q=0),
        "The keys are turned backwards, so scores depend on the sum of two positions, not on their difference.": (
            _turned(k=-1)
        ),
        "The queries are turned backwards, so scores depend on the sum of two positions, not on their difference.": (
            _turned(q=-1)
        ),
        "All is turned the other way round. The signs of (6.3) are those of `rotate`.": _turned(q=-1, k=-1),
        "Neighbouring features make the pairs that are turned. In `rotate` feature i goes with feature i + d/2.": (
            _turned(rotate=_rotate_neighbours)
        ),
        "Only the values are turned. The turning belongs to what makes the scores.": _turned(q=0, k=0, v=1),
        "What was looked up is turned afterwards: this is as bad as turning the values.": (
            lambda q, k, v, angles: rotate(_rotary_attention(q, k, v, angles), angles)
        ),
        "The softmax runs over the queries now: that line was right.": _turned(weigh=lambda scores: scores.softmax(-2)),
        "The scale has got lost: (6.1) still holds.": _turned(scale=1),
    },
    given={"rotate", "attention"},
)

# ---------------------------------------------------------------- adaln_block


def _norm(x):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def _six(condition, weight, bias):
    return F.linear(F.silu(condition), weight, bias)[:, None].chunk(6, -1)


def _correct(h, shift, scale, gate, branch):
    return h + gate * branch((1 + scale) * _norm(h) + shift)


def _block(correct=_correct, six=_six, order=(0, 1, 2, 3, 4, 5), second=None):
    """A block that is right but for what is handed in."""

    def mistaken(h, condition, weight, bias, attend, mlp):
        parts = six(condition, weight, bias)
        parts = [parts[place] for place in order]
        h = correct(h, *parts[:3], attend)
        return (second or correct)(h, *parts[3:], mlp)

    return mistaken


def _adaln_block(h, condition, weight, bias, attend, mlp):
    return _block()(h, condition, weight, bias, attend, mlp)


def _first_lost(h, condition, weight, bias, attend, mlp):
    parts = _six(condition, weight, bias)
    x = _correct(h, *parts[:3], attend)
    return h + _correct(x, *parts[3:], mlp) - x


def _side_by_side(h, condition, weight, bias, attend, mlp):
    parts = _six(condition, weight, bias)
    return _correct(h, *parts[:3], attend) + _correct(h, *parts[3:], mlp) - h


def _six_in_turn(condition, weight, bias):
    return F.linear(F.silu(condition), weight, bias)[:, None].unflatten(-1, (-1, 6)).unbind(-1)


def _six_across_pictures(condition, weight, bias):
    return F.linear(F.silu(condition), weight, bias).reshape(6, len(condition), 1, -1)


def _silu_late(condition, weight, bias):
    return F.silu(F.linear(condition, weight, bias))[:, None].chunk(6, -1)


def _norm_all(h, shift, scale, gate, branch):
    return h + gate * branch((1 + scale) * F.layer_norm(h, h.shape[1:], eps=1e-6) + shift)


def _norm_late(h, shift, scale, gate, branch):
    return h + gate * branch(_norm((1 + scale) * h + shift))


def _norm_unbiased(h, shift, scale, gate, branch):
    normed = (h - h.mean(-1, keepdim=True)) / h.std(-1, keepdim=True)
    return h + gate * branch((1 + scale) * normed + shift)


def _no_one(h, shift, scale, gate, branch):
    return h + gate * branch(scale * _norm(h) + shift)


def _norm_by_hand(divisor, axis=-1):
    """A correction whose norm divides by something else than the root of variance plus ε."""

    def correct(h, shift, scale, gate, branch):
        variance = h.var(axis, keepdim=True, unbiased=False)
        normed = (h - h.mean(axis, keepdim=True)) / divisor(variance)
        return h + gate * branch((1 + scale) * normed + shift)

    return correct


_KINDS = ("shift b", "scale c", "gate g")


def _mixed_up(order):
    """A block that takes the three numbers of each branch for others."""
    places = [order.index(place) for place in range(3)]
    return _block(order=(*places, *(3 + place for place in places)))


def _mixes(width):
    """Stand-ins for attention and the MLP: one mixes tokens and features, the other features alone."""
    first, second = torch.randn(width, width), torch.randn(width, width)
    return [lambda x: torch.tanh((x + x.roll(1, 1)) @ first / 2), lambda x: F.gelu(x @ second)]


def _block_case(batch, tokens, width, zero=False, spread=2.0):
    weight, bias = torch.randn(6 * width, width) / math.sqrt(width), torch.randn(6 * width)
    if zero:
        weight, bias = torch.zeros_like(weight), torch.zeros_like(bias)
    h = spread * (torch.randn(batch, tokens, width) + 0.5)
    return [h, torch.randn(batch, width), weight, bias, *_mixes(width)]


adaln_block = Grader(
    "adaln_block",
    _adaln_block,
    {
        "three pictures of three tokens": lambda: _block_case(3, 3, 6),
        "two pictures of five tokens": lambda: _block_case(2, 5, 4),
        "a new block, whose weights are zero": lambda: _block_case(2, 4, 8, zero=True),
        "one token": lambda: _block_case(1, 1, 10),
        "tokens that are nearly constant": lambda: _block_case(2, 3, 8, spread=0.003),
    },
    {
        "The 1 before the scale is missing: with a scale of zero, nothing would reach the branch (6.4).": _block(
            _no_one
        ),
        "The 1 before the scale is missing in the second branch.": _block(second=_no_one),
        "The 1 before the scale is missing in the first branch.": _block(_no_one, second=_correct),
        **{
            "Each branch has its three in the order shift b, scale c, gate g. Here they are taken for "
            + ", ".join(_KINDS[kind] for kind in order)
            + ".": _mixed_up(order)
            for order in permutations(range(3))
            if order != (0, 1, 2)
        },
        "The shift is scaled as well. In (6.4) it comes after the scale.": _block(
            lambda h, b, c, g, f: h + g * f((1 + c) * (_norm(h) + b))
        ),
        "The six are sorted by kind. They come branch by branch: shift, scale and gate of the first, then of the "
        "second.": _block(order=(0, 2, 4, 1, 3, 5)),
        "The gate stands before the branch. It decides how much of the branch's *output* is let through.": _block(
            lambda h, b, c, g, f: h + f(g * ((1 + c) * _norm(h) + b))
        ),
        "The gates are missing: both branches come in whole.": _block(
            lambda h, b, c, g, f: h + f((1 + c) * _norm(h) + b)
        ),
        "The gates got a 1 as well. Then a new block would not hand on its tokens as they are.": _block(
            lambda h, b, c, g, f: _correct(h, b, c, 1 + g, f)
        ),
        "The 1 has come to the gate. In (6.4) it stands before the scale, and the gate has none.": _block(
            lambda h, b, c, g, f: h + (1 + g) * f(c * _norm(h) + b)
        ),
        "The tokens h themselves are missing from the sum: a branch is a correction to them.": _block(
            lambda h, b, c, g, f: g * f((1 + c) * _norm(h) + b)
        ),
        "The gate closes on the tokens h as well. It belongs to the branch alone.": _block(
            lambda h, b, c, g, f: g * (h + f((1 + c) * _norm(h) + b))
        ),
        "What is added to is the normed h. The corrections go to h itself.": _block(
            lambda h, b, c, g, f: _correct(h, b, c, g, f) - h + _norm(h)
        ),
        "The norm is missing before both branches.": _block(lambda h, b, c, g, f: h + g * f((1 + c) * h + b)),
        "Each branch works on h as it is: norm, scale and shift are missing.": _block(
            lambda h, b, c, g, f: h + g * f(h)
        ),
        "The norm comes after the sum, and norms the tokens themselves. In (6.4) it stands inside the bracket, before "
        "scale and shift.": _block(lambda h, b, c, g, f: _norm(h + g * f((1 + c) * h + b))),
        "What is handed on is normed once more. In (6.4) the corrections go to h as it is.": _block(
            lambda h, b, c, g, f: _norm(_correct(h, b, c, g, f))
        ),
        "The norm runs along the tokens. Each token is normed alone, over its features.": _block(
            _norm_by_hand(lambda variance: (variance + 1e-6).sqrt(), axis=1)
        ),
        "The norm divides by the variance. To bring it to 1, it takes the root of the variance.": _block(
            _norm_by_hand(lambda variance: variance + 1e-6)
        ),
        "The ε of this norm is 1e-5, as in PyTorch unless something else is said. Here it is 1e-6.": _block(
            _norm_by_hand(lambda variance: (variance + 1e-5).sqrt())
        ),
        "The norm has no ε, or nearly none. Here it is 1e-6.": _block(_norm_by_hand(lambda variance: variance.sqrt())),
        "The norm comes after scale and shift and undoes the better part of them.": _block(_norm_late),
        "The norm runs over all tokens of a picture. Each token is normed alone, over its features.": _block(_norm_all),
        "The variance is a mean of squares; this divides by one less than the width.": _block(_norm_unbiased),
        "The norm before the second branch is missing.": _block(
            second=lambda h, b, c, g, f: h + g * f((1 + c) * h + b)
        ),
        "The second correction is added to the tokens from before the first, so the first is lost. In (6.4) the h that "
        "the first has made stands in both places.": _first_lost,
        "The second branch works on the tokens from before the first. In (6.4) it gets the corrected ones.": (
            _side_by_side
        ),
        "Both branches use the first shift, scale and gate. The second has its own.": _block(order=(0, 1, 2, 0, 1, 2)),
        "Each branch got the modulation of the other one: the first three belong to attention.": _block(
            order=(3, 4, 5, 0, 1, 2)
        ),
        "The SiLU is missing before the linear map.": _block(
            six=lambda condition, weight, bias: F.linear(condition, weight, bias)[:, None].chunk(6, -1)
        ),
        "The bias of the linear map is missing.": _block(
            six=lambda condition, weight, bias: F.linear(F.silu(condition), weight)[:, None].chunk(6, -1)
        ),
        "This takes the sigmoid of the condition. A SiLU is x times its sigmoid.": _block(
            six=lambda condition, weight, bias: F.linear(condition.sigmoid(), weight, bias)[:, None].chunk(6, -1)
        ),
        "The six are dealt out number by number. Each is one block of `width` numbers in a row.": _block(
            six=_six_in_turn
        ),
        "The six hold numbers of several pictures, mixed up. Cut the features in six, and leave the batch whole.": (
            _block(six=_six_across_pictures)
        ),
        "The SiLU comes after the linear map. It works on the condition, before the map.": _block(six=_silu_late),
        "The condition of picture 1 went to token 1, that of picture 2 to token 2. All tokens of a picture share one "
        "condition: an axis for the tokens is missing.": _block(
            six=lambda condition, weight, bias: F.linear(F.silu(condition), weight, bias).chunk(6, -1)
        ),
        "The MLP came before attention.": (
            lambda h, condition, weight, bias, attend, mlp: _adaln_block(h, condition, weight, bias, mlp, attend)
        ),
        "The second branch is missing.": _block(second=lambda h, *others: h),
    },
)

# ---------------------------------------------------------------- frechet


def _root_of_sum(mean_x, cov_x, mean_y, cov_y):
    return (torch.linalg.eigvals(cov_x @ cov_y).sum().real).sqrt()


def _trace_of_root(mean_x, cov_x, mean_y, cov_y):
    return torch.linalg.eigvals(cov_x @ cov_y).real.clamp(min=0).sqrt().sum()


def _root(cov):
    values, vectors = torch.linalg.eigh(cov)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def _gap(mean_x, cov_x, mean_y, cov_y):
    return (mean_x - mean_y).square().sum()


def _distance(shared=_trace_of_root, gap=_gap, weight=2):
    def mistaken(mean_x, cov_x, mean_y, cov_y):
        given = mean_x, cov_x, mean_y, cov_y
        return gap(*given) + cov_x.trace() + cov_y.trace() - weight * shared(*given)

    return mistaken


def _frechet(mean_x, cov_x, mean_y, cov_y):
    return _distance()(mean_x, cov_x, mean_y, cov_y)


def _product_of(values):
    """The shared part from the eigenvalues (or the like) of each covariance alone."""
    return lambda mean_x, cov_x, mean_y, cov_y: values(cov_x, cov_y).clamp(min=0).sqrt().sum()


def _real_number(answer, *arguments):
    number = answer(*arguments)
    if torch.as_tensor(number).is_complex():
        raise AnswerError(
            "✗ frechet: got a complex number. The eigenvalues are real, but for rounding: take their `.real`."
        )
    return number


def _covariance(dim, rank=None):
    """A covariance whose features go together; of full rank, if nothing else is said."""
    x = torch.randn(dim, rank or 3 * dim, dtype=torch.float64)
    return x @ x.T / (rank or 3 * dim)


def _going_together(dim):
    """A covariance that is nowhere negative, so that the root of each entry is a number, too."""
    x = torch.rand(dim, 3 * dim, dtype=torch.float64) * torch.linspace(0.5, 3, dim, dtype=torch.float64)[:, None]
    return x @ x.T / (3 * dim)


def _mean(dim):
    return torch.randn(dim, dtype=torch.float64)


def _diagonal(*variances):
    return torch.diag(torch.tensor(variances, dtype=torch.float64))


def _equal_spread(dim):
    cov = _covariance(dim)
    return [_mean(dim), cov, _mean(dim), cov.clone()]


frechet = Grader(
    "frechet",
    _frechet,
    {
        "three features": lambda: [_mean(3), _going_together(3), _mean(3), 4 * _going_together(3)],
        "independent features": lambda: [_mean(2), _diagonal(4.0, 9.0), _mean(2), _diagonal(1.0, 0.25)],
        "one feature": lambda: [_mean(1), _diagonal(4.0), _mean(1), _diagonal(0.49)],
        "only the means differ": lambda: _equal_spread(5),
        "pixels that never change (eigenvalues of zero)": lambda: [
            _mean(6),
            _covariance(6, rank=4),
            _mean(6),
            _covariance(6, rank=3),
        ],
        "an eigenvalue a hair below zero": lambda: [
            _mean(4),
            _diagonal(2.0, -1e-12, 0.5, 1.0),
            _mean(4),
            _diagonal(3.0, 1.5, 0.0, 0.25),
        ],
    },
    {
        "The root of a number below zero is nan. Rounding leaves some zeros a hair below zero: let nothing below zero "
        "come to the root.": _distance(
            lambda mean_x, cov_x, mean_y, cov_y: torch.linalg.eigvals(cov_x @ cov_y).real.sqrt().sum()
        ),
        "The trace of the root counts twice in (6.6): for two equal sets the bracket must vanish.": _distance(weight=1),
        "The shared part is added. What two sets share brings them nearer: it is taken off.": _distance(weight=-2),
        "The root is missing around the product of the covariances.": _distance(
            lambda mean_x, cov_x, mean_y, cov_y: (cov_x @ cov_y).trace()
        ),
        "This takes the root of each entry. The root of a matrix, multiplied by itself, gives the matrix.": _distance(
            lambda mean_x, cov_x, mean_y, cov_y: (cov_x @ cov_y).sqrt().diagonal().sum()
        ),
        "This is the root of a trace; (6.6) has the trace of a root: take the roots first, then add.": _distance(
            _root_of_sum
        ),
        "This sees the variances alone. It is right only for features that are independent of each other.": _distance(
            lambda mean_x, cov_x, mean_y, cov_y: (cov_x.diagonal() * cov_y.diagonal()).sqrt().sum()
        ),
        "The covariances are multiplied entry by entry; (6.6) has the matrix product.": _distance(
            lambda mean_x, cov_x, mean_y, cov_y: torch.linalg.eigvals(cov_x * cov_y).real.clamp(min=0).sqrt().sum()
        ),
        "Each covariance got a root of its own. The product of roots is the root of the product only where the order "
        "of the two does not matter.": _distance(
            lambda mean_x, cov_x, mean_y, cov_y: (_root(cov_x) @ _root(cov_y)).trace()
        ),
        "eigvalsh is made for symmetric matrices and reads only half of this one. A product of two symmetric "
        "matrices is not symmetric.": _distance(
            lambda mean_x, cov_x, mean_y, cov_y: torch.linalg.eigvalsh(cov_x @ cov_y).clamp(min=0).sqrt().sum()
        ),
        "The root of a number below zero is nan. eigvalsh reads only half of a matrix; a product of two symmetric "
        "matrices is not symmetric, so this gives other numbers than its eigenvalues.": _distance(
            lambda mean_x, cov_x, mean_y, cov_y: torch.linalg.eigvalsh(cov_x @ cov_y).sqrt().sum()
        ),
        "The eigenvalues of the two are multiplied in pairs, by size. Those of a product are others, unless both have "
        "the same eigenvectors.": _distance(
            _product_of(lambda cov_x, cov_y: torch.linalg.eigvalsh(cov_x) * torch.linalg.eigvalsh(cov_y))
        ),
        "This multiplies the traces of two roots; (6.6) has the trace of one root, that of the product.": _distance(
            lambda mean_x, cov_x, mean_y, cov_y: _root(cov_x).trace() * _root(cov_y).trace()
        ),
        "These are singular values. The product is not symmetric, so its eigenvalues are others.": _distance(
            lambda mean_x, cov_x, mean_y, cov_y: torch.linalg.svdvals(cov_x @ cov_y).sqrt().sum()
        ),
        "The gap of the means is not squared.": _distance(
            gap=lambda mean_x, cov_x, mean_y, cov_y: (mean_x - mean_y).norm()
        ),
        "The squared gaps are averaged; a squared length is their sum.": _distance(
            gap=lambda mean_x, cov_x, mean_y, cov_y: (mean_x - mean_y).square().mean()
        ),
        "The gaps of the means are added and then squared; a squared length is the sum of squares.": _distance(
            gap=lambda mean_x, cov_x, mean_y, cov_y: (mean_x - mean_y).sum().square()
        ),
        "The covariances are added up entry by entry. A trace takes the diagonal alone.": (
            lambda mean_x, cov_x, mean_y, cov_y: (
                _gap(mean_x, cov_x, mean_y, cov_y)
                + (cov_x + cov_y).sum()
                - 2 * _trace_of_root(mean_x, cov_x, mean_y, cov_y)
            )
        ),
        "The gap of the means is missing.": _distance(gap=lambda mean_x, cov_x, mean_y, cov_y: 0),
        "This is the root of the right number: (6.6) is the squared distance.": (
            lambda mean_x, cov_x, mean_y, cov_y: _frechet(mean_x, cov_x, mean_y, cov_y).sqrt()
        ),
    },
    use=_real_number,
)

# ---------------------------------------------------------------- frechet_floor


def _mean_of(distances):
    return sum(distances) / len(distances)


def _floor(draw, combine=_mean_of, distance=metrics.frechet_distance):
    """A measurement that draws its two sets with `draw(features, size, generator)`."""

    def measure(features, size, repeats, generator):
        return combine([distance(*draw(features, size, generator)) for _ in range(repeats)])

    return measure


def _disjoint(features, size, generator):
    order = torch.randperm(len(features), generator=generator)
    return features[order[:size]], features[order[size : 2 * size]]


def _overlapping(features, size, generator):
    return [features[torch.randperm(len(features), generator=generator)[:size]] for _ in range(2)]


def _replaced(features, size, generator):
    return features[torch.randint(len(features), (2, size), generator=generator)]


def _from_both_ends(features, size, generator):
    order = torch.randperm(len(features), generator=generator)
    return features[order[:size]], features[order[-size:]]


def _half_as_many(features, size, generator):
    return _disjoint(features, size // 2, generator)


def _against_all(features, size, generator):
    return _disjoint(features, size, generator)[0], features


def _against_rest(features, size, generator):
    order = torch.randperm(len(features), generator=generator)
    return features[order[:size]], features[order[size:]]


def _frechet_floor(features, size, repeats, generator):
    return _floor(_disjoint)(features, size, repeats, generator)


def _floor_drawn_once(features, size, repeats, generator):
    return _frechet_floor(features, size, 1, generator)


def _floor_with_seeds(features, size, repeats, generator):
    seeds = (torch.Generator().manual_seed(seed) for seed in range(repeats))
    return _mean_of([metrics.frechet_distance(*_disjoint(features, size, seed)) for seed in seeds])


def _floor_shuffled_on(features, size, repeats, generator):
    distances = []
    for _ in range(repeats):
        features = features[torch.randperm(len(features), generator=generator)]
        distances.append(metrics.frechet_distance(features[:size], features[size : 2 * size]))
    return _mean_of(distances)


def _distance_of_sets(x, y):
    """(6.6) with covariances that divide by the number of pictures."""
    (x, mean_x), (y, mean_y) = ((z.T.double().cov(correction=0), z.double().mean(0)) for z in (x, y))
    return _frechet(mean_x, x, mean_y, y).item()


def _floor_case(count, dim, size, repeats):
    return [torch.randn(count, dim) @ torch.randn(dim, dim), size, repeats, torch.Generator().manual_seed(32)]


frechet_floor = Grader(
    "frechet_floor",
    _frechet_floor,
    {
        "two sets of 12 out of 40, five times": lambda: _floor_case(40, 3, 12, 5),
        "all that there are": lambda: _floor_case(50, 2, 25, 3),
        "fewer pictures than features, once": lambda: _floor_case(30, 6, 5, 1),
    },
    {
        "The second set is drawn afresh, so the two share pictures. Shared pictures make the floor too low.": _floor(
            _overlapping
        ),
        "The pictures are drawn with replacement, so some come twice. An order of all pictures has each once.": (
            _floor(_replaced)
        ),
        "Both sets are the same pictures, so their distance is zero.": _floor(
            lambda features, size, generator: [_disjoint(features, size, generator)[0]] * 2
        ),
        "The second set comes from the end of the order. The text takes the `size` pictures that follow the first set; "
        "from the end is as fair, but the numbers are others.": _floor(_from_both_ends),
        "Each order was applied to what the one before had shuffled. That is as fair, but the numbers are others: the "
        "text applies each order to the pictures as handed in.": _floor_shuffled_on,
        "`size` is not used: the pictures were only cut in two.": _floor(
            lambda features, size, generator: features[torch.randperm(len(features), generator=generator)].chunk(2)
        ),
        "Only the first 2 · size pictures are drawn from. Draw an order of all.": _floor(
            lambda features, size, generator: _disjoint(features[: 2 * size], size, generator)
        ),
        "The order is drawn without the generator that was handed in, so the result cannot be repeated.": _floor(
            lambda features, size, generator: _disjoint(features, size, None)
        ),
        "Each repetition has a generator of its own, with the seeds 0, 1, 2 and so on. Use the one that was handed in; "
        "it moves on by itself.": _floor_with_seeds,
        "Nothing is drawn: these are always the first pictures, however often it is repeated.": _floor(
            lambda features, size, generator: (features[:size], features[size : 2 * size])
        ),
        "Each set has half of `size` pictures. `size` is what one set holds.": _floor(_half_as_many),
        "The second set holds all pictures, also those of the first.": _floor(_against_all),
        "The second set holds all the rest. Both sets have `size` pictures, since the distance depends on that.": (
            _floor(_against_rest)
        ),
        "This is what a single pair of sets gives, the first. Each repetition draws an order of its own, and the mean "
        "is asked for.": _floor_drawn_once,
        "This is the first distance, divided by the number of repetitions. Is the `return` inside the loop?": _floor(
            _disjoint, lambda distances: distances[0] / len(distances)
        ),
        "This is the last distance, divided by the number of repetitions. Does the sum begin anew each time?": _floor(
            _disjoint, lambda distances: distances[-1] / len(distances)
        ),
        "This is the mean of 10 repetitions. Their number is the argument `repeats`.": (
            lambda features, size, repeats, generator: _frechet_floor(features, size, 10, generator)
        ),
        "The sum is divided by 10. The number of repetitions is the argument `repeats`.": _floor(
            _disjoint, lambda distances: sum(distances) / 10
        ),
        "These distances are added; their mean is asked for.": _floor(_disjoint, sum),
        "This is the last distance alone; the mean over the repetitions is asked for.": _floor(
            _disjoint, lambda distances: distances[-1]
        ),
        "These are all distances; their mean is asked for.": _floor(_disjoint, list),
        "This is the smallest distance; the mean over the repetitions is asked for.": _floor(_disjoint, min),
        "This is the largest distance; the mean over the repetitions is asked for.": _floor(_disjoint, max),
        "This is the median; the mean over the repetitions is asked for.": _floor(
            _disjoint, lambda distances: sorted(distances)[len(distances) // 2]
        ),
        "Roots were taken before the mean. (6.6) is d², and its mean is asked for.": _floor(
            _disjoint, lambda distances: _mean_of([math.sqrt(distance) for distance in distances])
        ),
        "The root was taken of the mean. (6.6) is d², and its mean is asked for.": _floor(
            _disjoint, lambda distances: math.sqrt(_mean_of(distances))
        ),
        "These covariances divide by the number of pictures; those of `frechet_distance` by one less.": _floor(
            _disjoint, distance=_distance_of_sets
        ),
    },
    given={"frechet_distance"},
    tolerance=1e-3,
)
