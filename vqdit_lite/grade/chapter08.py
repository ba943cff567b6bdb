"""Graders of chapter 08, masked diffusion."""

import math

import torch
import torch.nn.functional as F

from vqdit_lite.grade.grader import Grader

# ---------------------------------------------------------------- hide


def _hide(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(frozen | (u < alpha_bar[:, None]), mask_id)


def _hide_frozen(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(u < alpha_bar[:, None], mask_id)


def _hide_the_known(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(frozen | (u >= alpha_bar[:, None]), mask_id)


def _hide_other_end(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(frozen | (u > 1 - alpha_bar[:, None]), mask_id)


def _hide_rows(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(frozen | (u[:, :1] < alpha_bar[:, None]), mask_id)


def _hide_columns(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(frozen | (u < alpha_bar[None]), mask_id)


def _hide_root(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(frozen | (u < alpha_bar.sqrt()[:, None]), mask_id)


def _hide_exchanged(x0, alpha_bar, u, frozen, mask_id):
    known = frozen | (u < alpha_bar[:, None])
    return torch.full_like(x0, mask_id).where(known, x0)


def _hide_only_frozen(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(~frozen | (u < alpha_bar[:, None]), mask_id)


def _hide_both_needed(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(frozen & (u < alpha_bar[:, None]), mask_id)


def _hide_either(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(frozen ^ (u < alpha_bar[:, None]), mask_id)


def _hide_all_frozen(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(~frozen & (u < alpha_bar[:, None]), mask_id)


def _hide_hidden_share(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(frozen | (u < 1 - alpha_bar[:, None]), mask_id)


def _hide_first_row(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(frozen | (u < alpha_bar[0]), mask_id)


def _hide_own_numbers(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(frozen | (torch.rand_like(u) < alpha_bar[:, None]), mask_id)


def _hide_at_most(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(frozen | (u <= alpha_bar[:, None]), mask_id)


def _hide_own_mask(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(frozen | (u < alpha_bar[:, None]), x0.max() + 1)


def _hide_zero(x0, alpha_bar, u, frozen, mask_id):
    return x0.where(frozen | (u < alpha_bar[:, None]), 0)


def _hiding(alpha_bar, tokens, values, frozen=0.3):
    shape = len(alpha_bar), tokens
    return [torch.randint(values, shape), torch.tensor(alpha_bar), torch.rand(shape), torch.rand(shape) < frozen]


def _hiding_on_the_edge():
    """Numbers u of which some are equal to ᾱ; binary fractions, so that all ways to compare agree."""
    x0, alpha_bar, _, frozen = _hiding([0.0, 0.25, 0.75], 16, 12)
    return [x0, alpha_bar, torch.randint(4, x0.shape) / 4, frozen, 12]


hide = Grader(
    "hide",
    _hide,
    {
        "as many rows as tokens": lambda: [*_hiding([0.9, 0.25, 0.5, 0.7, 0.3], 5, 9), 9],
        "nothing is frozen": lambda: [*_hiding([0.6, 0.2], 30, 64, frozen=0), 64],
        "one row": lambda: [*_hiding([0.4], 12, 3), 3],
        "some u equal to ᾱ": _hiding_on_the_edge,
        "a mask far above the ids": lambda: [*_hiding([0.3, 0.8, 0.6], 10, 5), 99],
        "t = 0 and t = 1": lambda: [*_hiding([1.0, 0.0], 7, 20), 20],
    },
    {
        "Frozen tokens are hidden, too. They must stay, whatever their number u says.": _hide_frozen,
        "Known and hidden are swapped: ᾱ is the share that is *known*, so a small u keeps its token.": _hide_the_known,
        "The share is right, but these are not the tokens that were meant: a token is known where its own u lies below "
        "ᾱ.": _hide_other_end,
        "One number decides for a whole row. Each token is hidden on its own, by its own u.": _hide_rows,
        "The shares ᾱ run along the tokens here. Each *row* has a time of its own: give ᾱ an axis for the tokens.": (
            _hide_columns
        ),
        "This compares with √ᾱ. The root belongs to Gaussian noise; here ᾱ itself is the chance to be known.": (
            _hide_root
        ),
        "The mask stands where tokens are known, and the tokens where they are hidden: the two are exchanged.": (
            _hide_exchanged
        ),
        "Only the frozen tokens are hidden; they are the ones that stay.": _hide_only_frozen,
        "A token must be frozen *and* have a small u to be known here. Each of the two is enough.": _hide_both_needed,
        "Tokens that are frozen and have a small u, too, are hidden here. Two reasons to stay do not cancel.": (
            _hide_either
        ),
        "All frozen tokens are hidden. They are the ones that stay in any case.": _hide_all_frozen,
        "This compares with 1 - ᾱ, the share that is *hidden*. A token is known where u lies below ᾱ.": (
            _hide_hidden_share
        ),
        "All rows use the ᾱ of the first. Each row has its own.": _hide_first_row,
        "These are random numbers of its own. The numbers that decide come in as u.": _hide_own_numbers,
        "A token with a u equal to ᾱ is known here. It is known where u lies *below* ᾱ, so that at ᾱ = 0 all are "
        "hidden.": _hide_at_most,
        "The mask is one above the largest id of x0 here. Its id comes in as `mask_id`.": _hide_own_mask,
        "Hidden tokens become 0, which is an id like any other. The mask has an id of its own: `mask_id`.": _hide_zero,
    },
)

# ---------------------------------------------------------------- fill_chance

fill_chance = Grader(
    "fill_chance",
    lambda alpha_bar, next_alpha_bar, rho: (next_alpha_bar - (1 - rho) * alpha_bar) / (1 - alpha_bar),
    {
        "nothing is hidden again": lambda: [
            torch.tensor([0.2, 0.5, 0.1]),
            torch.tensor([0.6, 0.9, 0.3]),
            torch.zeros(3),
        ],
        "a share is hidden again": lambda: [
            torch.tensor([0.25, 0.5, 0.7, 0.05]),
            torch.tensor([0.5, 0.6, 0.8, 0.35]),
            torch.tensor([0.4, 0.7, 0.2, 1.0]),
        ],
        "from t = 1 to t = 0": lambda: [torch.tensor([0.0, 0.3]), torch.tensor([0.3, 1.0]), torch.zeros(2)],
        "many steps": lambda: [torch.arange(20) / 20, torch.arange(1, 21) / 20, torch.arange(19, -1, -1) / 40],
    },
    {
        "This is the share of *all* tokens that must come. Only the hidden ones can, so divide by their share.": (
            lambda alpha_bar, next_alpha_bar, rho: next_alpha_bar - (1 - rho) * alpha_bar
        ),
        "This divides by the share hidden at the end of the step. The chance is one for tokens hidden at its start.": (
            lambda alpha_bar, next_alpha_bar, rho: (next_alpha_bar - (1 - rho) * alpha_bar) / (1 - next_alpha_bar)
        ),
        "This divides by the share that is *known* in the end. Only hidden tokens can be filled in, so divide by the "
        "share hidden now.": lambda alpha_bar, next_alpha_bar, rho: (
            (next_alpha_bar - (1 - rho) * alpha_bar) / next_alpha_bar
        ),
        "This is the chance to *stay* hidden; one minus it is asked for.": (
            lambda alpha_bar, next_alpha_bar, rho: (1 - next_alpha_bar - rho * alpha_bar) / (1 - alpha_bar)
        ),
        "The sign is wrong: t' is earlier, so ᾱ(t') is the larger of the two.": (
            lambda alpha_bar, next_alpha_bar, rho: ((1 - rho) * alpha_bar - next_alpha_bar) / (1 - alpha_bar)
        ),
        "ρ is missing: what is hidden again must be made up for.": lambda alpha_bar, next_alpha_bar, rho: (
            (next_alpha_bar - alpha_bar) / (1 - alpha_bar)
        ),
        "ρ and 1 - ρ are exchanged: a share ρ of the known tokens goes, and the rest of them stay.": (
            lambda alpha_bar, next_alpha_bar, rho: (next_alpha_bar - rho * alpha_bar) / (1 - alpha_bar)
        ),
        "This divides by what is hidden after ρ has done its work. Only tokens that were hidden when the step began "
        "can be filled in by it.": lambda alpha_bar, next_alpha_bar, rho: (
            (next_alpha_bar - (1 - rho) * alpha_bar) / (1 - (1 - rho) * alpha_bar)
        ),
        "This divides by the share that is known now. Only hidden tokens can be filled in, so divide by theirs.": (
            lambda alpha_bar, next_alpha_bar, rho: (next_alpha_bar - (1 - rho) * alpha_bar) / alpha_bar
        ),
        "1 - ρ stands on ᾱ(t'). It belongs to ᾱ(t): the tokens known *now* are hidden again.": (
            lambda alpha_bar, next_alpha_bar, rho: ((1 - rho) * next_alpha_bar - alpha_bar) / (1 - alpha_bar)
        ),
        "ρ is a share of the *known* tokens, so it must be multiplied by how many are known now.": (
            lambda alpha_bar, next_alpha_bar, rho: (next_alpha_bar - alpha_bar + rho) / (1 - alpha_bar)
        ),
        "What is hidden again is taken off. It must be added: to end at ᾱ(t'), more has to be filled in.": (
            lambda alpha_bar, next_alpha_bar, rho: (next_alpha_bar - (1 + rho) * alpha_bar) / (1 - alpha_bar)
        ),
        "ρ is added to the chance as it is. It is a share of the known tokens, and the chance is one of the hidden.": (
            lambda alpha_bar, next_alpha_bar, rho: (next_alpha_bar - alpha_bar) / (1 - alpha_bar) + rho
        ),
        "The chance is made smaller by the factor 1 - ρ. What is hidden again has to be made up for, so it grows.": (
            lambda alpha_bar, next_alpha_bar, rho: (1 - rho) * (next_alpha_bar - alpha_bar) / (1 - alpha_bar)
        ),
        "ᾱ(t) and ᾱ(t') are exchanged: the step goes from `alpha_bar` to `next_alpha_bar`.": (
            lambda alpha_bar, next_alpha_bar, rho: (alpha_bar - (1 - rho) * next_alpha_bar) / (1 - next_alpha_bar)
        ),
        "Known and hidden are exchanged: `alpha_bar` and `next_alpha_bar` are shares of *known* tokens.": (
            lambda alpha_bar, next_alpha_bar, rho: ((1 - next_alpha_bar) - (1 - rho) * (1 - alpha_bar)) / alpha_bar
        ),
        "Only the second term is divided by the hidden share: a bracket is missing.": (
            lambda alpha_bar, next_alpha_bar, rho: next_alpha_bar - (1 - rho) * alpha_bar / (1 - alpha_bar)
        ),
        "ρ was made smaller first, as ρ is made from η in the chapter. Here ρ itself comes in.": (
            lambda alpha_bar, next_alpha_bar, rho: (
                (next_alpha_bar - (1 - rho * ((1 - next_alpha_bar) / alpha_bar).clamp(max=1)) * alpha_bar)
                / (1 - alpha_bar)
            )
        ),
    },
)

# ---------------------------------------------------------------- bits_per_character


def _bits(nats, lengths):
    return (nats.sum() / lengths.sum() / math.log(2)).item()


bits_per_character = Grader(
    "bits_per_character",
    _bits,
    {
        "three texts": lambda: [torch.tensor([20.0, 35.0, 9.0]), torch.tensor([12, 47, 30])],
        "one text": lambda: [torch.tensor([8 * math.log(2)]), torch.tensor([4])],
        "many long texts": lambda: [400 * torch.rand(100) + 1, torch.randint(50, 600, (100,))],
        "float64": lambda: [9 * torch.rand(7).double(), torch.randint(1, 20, (7,))],
    },
    {
        "These are nats. A bit is log 2 nats, so there are more bits than nats.": (
            lambda nats, lengths: nats.sum() / lengths.sum()
        ),
        "This multiplies by log 2. A bit is only 0.69 nats, so there must be more bits than nats: divide.": (
            lambda nats, lengths: _bits(nats, lengths) * math.log(2) ** 2
        ),
        "This is the mean of each text's own quotient, so that a character of a short text counts for more. Take all "
        "nats over all characters.": lambda nats, lengths: (nats / lengths).mean() / math.log(2),
        "These are the bits of each text. One number is asked for, over all texts.": (
            lambda nats, lengths: nats / lengths / math.log(2)
        ),
        "Every text counts as if it were the longest. What fills it up is padding, and no character.": (
            lambda nats, lengths: nats.mean() / lengths.max() / math.log(2)
        ),
        "Sum and mean are mixed: either both of nats and lengths are summed, or of both the mean is taken.": (
            lambda nats, lengths: nats.sum() / lengths.float().mean() / math.log(2)
        ),
        "The mean of the nats is divided by the sum of the lengths. Take the sum of both, or the mean of both.": (
            lambda nats, lengths: nats.mean() / lengths.sum() / math.log(2)
        ),
        "These are characters per bit; it is the other way up.": lambda nats, lengths: 1 / _bits(nats, lengths),
        "A long text costs hundreds of nats, and exp of that is more than a float can hold. To change the base of a "
        "logarithm, divide by a constant.": lambda nats, lengths: nats.exp().log2().sum() / lengths.sum(),
        "These are bits per text; they must be shared by its characters.": (
            lambda nats, lengths: nats.mean() / math.log(2)
        ),
        "This takes a logarithm of nats, but nats are logarithms already. To change the base, divide by a constant.": (
            lambda nats, lengths: nats.log2().sum() / lengths.sum()
        ),
        "This is 2 to the number that is asked for: a perplexity.": lambda nats, lengths: 2 ** _bits(nats, lengths),
        "This is the mean of each text's own quotient, and in nats. Take all nats over all characters, and make bits "
        "of them.": lambda nats, lengths: (nats / lengths).mean(),
        "These are the bits of all texts together; they must be shared by all characters.": (
            lambda nats, lengths: nats.sum() / math.log(2)
        ),
        "The sign is wrong: nats are costs, and above 0.": lambda nats, lengths: -_bits(nats, lengths),
        "A bit is log 2 nats, and not 2 of them.": lambda nats, lengths: nats.sum() / lengths.sum() / 2,
        "log 2 is rounded to 0.69 here, which is not enough digits.": (
            lambda nats, lengths: nats.sum() / lengths.sum() / 0.69
        ),
        "log 2 is rounded to 0.693 here, which is not enough digits.": (
            lambda nats, lengths: nats.sum() / lengths.sum() / 0.693
        ),
        "This takes the logarithm of the quotient, but nats are logarithms already. To change the base, divide by a "
        "constant.": lambda nats, lengths: (nats.sum() / lengths.sum()).log2(),
    },
)

# ---------------------------------------------------------------- masked_bound


def _nll(logits, x0):
    return F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")  # (B, N)


def _masked_bound(logits, x0, x_t, alpha_bar, slope, mask_id):
    nll = _nll(logits, x0).where(x_t == mask_id, 0).sum(1)
    return -slope / (1 - alpha_bar) * nll


def _bound_all(logits, x0, x_t, alpha_bar, slope, mask_id):
    return -slope / (1 - alpha_bar) * _nll(logits, x0).sum(1)


def _bound_known(logits, x0, x_t, alpha_bar, slope, mask_id):
    return _bound_all(logits, x0, x_t, alpha_bar, slope, mask_id) - _masked_bound(
        logits, x0, x_t, alpha_bar, slope, mask_id
    )


def _bound_mean_hidden(logits, x0, x_t, alpha_bar, slope, mask_id):
    return _masked_bound(logits, x0, x_t, alpha_bar, slope, mask_id) / (x_t == mask_id).sum(1)


def _bound_mean_all(logits, x0, x_t, alpha_bar, slope, mask_id):
    return _masked_bound(logits, x0, x_t, alpha_bar, slope, mask_id) / x0.shape[1]


def _bound_unweighted(logits, x0, x_t, alpha_bar, slope, mask_id):
    return _nll(logits, x0).where(x_t == mask_id, 0).sum(1)


def _bound_negative(logits, x0, x_t, alpha_bar, slope, mask_id):
    return -_masked_bound(logits, x0, x_t, alpha_bar, slope, mask_id)


def _bound_without_slope(logits, x0, x_t, alpha_bar, slope, mask_id):
    return -_masked_bound(logits, x0, x_t, alpha_bar, slope, mask_id) / slope


def _bound_slope_only(logits, x0, x_t, alpha_bar, slope, mask_id):
    return (1 - alpha_bar) * _masked_bound(logits, x0, x_t, alpha_bar, slope, mask_id)


def _bound_known_share(logits, x0, x_t, alpha_bar, slope, mask_id):
    return _bound_slope_only(logits, x0, x_t, alpha_bar, slope, mask_id) / alpha_bar


def _bound_bits(logits, x0, x_t, alpha_bar, slope, mask_id):
    return _masked_bound(logits, x0, x_t, alpha_bar, slope, mask_id) / math.log(2)


def _bound_logits(logits, x0, x_t, alpha_bar, slope, mask_id):
    raw = logits.gather(2, x0[..., None])[..., 0]
    return slope / (1 - alpha_bar) * raw.where(x_t == mask_id, 0).sum(1)


def _bound_probability(logits, x0, x_t, alpha_bar, slope, mask_id):
    p = (-_nll(logits, x0)).exp().where(x_t == mask_id, 0)
    return slope / (1 - alpha_bar) * p.sum(1)


def _bound_surest(logits, x0, x_t, alpha_bar, slope, mask_id):
    return _masked_bound(logits, logits.argmax(-1), x_t, alpha_bar, slope, mask_id)


def _bound_batch_sum(logits, x0, x_t, alpha_bar, slope, mask_id):
    return _masked_bound(logits, x0, x_t, alpha_bar, slope, mask_id).sum()


def _bound_batch_mean(logits, x0, x_t, alpha_bar, slope, mask_id):
    return _masked_bound(logits, x0, x_t, alpha_bar, slope, mask_id).mean()


def _bound_tokens(logits, x0, x_t, alpha_bar, slope, mask_id):
    return (-slope / (1 - alpha_bar))[:, None] * _nll(logits, x0).where(x_t == mask_id, 0)


def _bound_shared(logits, x0, x_t, alpha_bar, slope, mask_id):
    return -slope / (1 - alpha_bar) * _nll(logits, x0).where(x_t == mask_id, 0).sum()


def _bound_along_tokens(logits, x0, x_t, alpha_bar, slope, mask_id):
    nll = -logits.log_softmax(1).gather(2, x0[..., None])[..., 0].where(x_t == mask_id, 0)
    return -slope / (1 - alpha_bar) * nll.sum(1)


def _bound_along_rows(logits, x0, x_t, alpha_bar, slope, mask_id):
    nll = -logits.log_softmax(0).gather(2, x0[..., None])[..., 0].where(x_t == mask_id, 0)
    return -slope / (1 - alpha_bar) * nll.sum(1)


def _bound_reshaped(logits, x0, x_t, alpha_bar, slope, mask_id):
    mixed = logits.reshape(len(logits), logits.shape[2], -1).transpose(1, 2)
    return _masked_bound(mixed, x0, x_t, alpha_bar, slope, mask_id)


def _bound_softmax_twice(logits, x0, x_t, alpha_bar, slope, mask_id):
    return _masked_bound(logits.softmax(-1), x0, x_t, alpha_bar, slope, mask_id)


def _bound_mean_of_all(logits, x0, x_t, alpha_bar, slope, mask_id):
    hidden = x_t == mask_id
    return -slope / (1 - alpha_bar) * _nll(logits, x0)[hidden].mean()


def _bound_one_minus(logits, x0, x_t, alpha_bar, slope, mask_id):
    p = (-_nll(logits, x0)).exp()
    return -slope / (1 - alpha_bar) * (1 - p).where(x_t == mask_id, 0).sum(1)


def _bound_times_log(logits, x0, x_t, alpha_bar, slope, mask_id):
    return slope * (1 - alpha_bar).log() * _bound_unweighted(logits, x0, x_t, alpha_bar, slope, mask_id)


def _bound_share_of_mask(logits, x0, x_t, alpha_bar, slope, mask_id):
    share = (x_t == mask_id).float().mean(1)
    return -slope / share * _bound_unweighted(logits, x0, x_t, alpha_bar, slope, mask_id)


def _cosine(t):
    t = torch.tensor(t)
    return (math.pi / 2 * t).cos().square(), -math.pi / 2 * (math.pi * t).sin()


def _straight(t):
    t = torch.tensor(t)
    return 1 - t, -torch.ones_like(t)


def _bounding(hidden, times, vocabulary, schedule):
    """Arguments for rows of tokens of which `hidden` says how many of how many are hidden."""
    counts, tokens = hidden
    x0 = torch.randint(vocabulary, (len(counts), tokens))
    mask = torch.rand(x0.shape).argsort(1).argsort(1) < torch.tensor(counts)[:, None]
    logits = 2 * torch.randn(*x0.shape, vocabulary)
    return [logits, x0, x0.masked_fill(mask, vocabulary), *schedule(times), vocabulary]


masked_bound = Grader(
    "masked_bound",
    _masked_bound,
    {
        "three rows, the cosine": lambda: _bounding(([2, 3, 5], 7), [0.3, 0.6, 0.8], 4, _cosine),
        "ᾱ = 1 - t, and t = 1": lambda: _bounding(([1, 3, 6, 9], 9), [0.1, 0.4, 0.7, 1.0], 6, _straight),
        "a row without hidden tokens": lambda: _bounding(([0, 2], 5), [0.05, 0.5], 3, _cosine),
        "one row of one token": lambda: _bounding(([1], 1), [0.9], 8, _straight),
    },
    {
        "All tokens count here. What is known costs nothing: only hidden tokens do.": _bound_all,
        "The known tokens count here, and the hidden ones do not. It is the other way round.": _bound_known,
        "This is a mean over the hidden tokens; (8.5) has their sum. A sequence costs as much as all of its tokens.": (
            _bound_mean_hidden
        ),
        "This is a mean over the tokens; (8.5) has the sum over the hidden ones.": _bound_mean_all,
        "The weight w(t) of (8.5) is missing.": _bound_unweighted,
        "The sign is wrong: a cost in nats is above 0. ᾱ falls, so its slope is below 0 and w(t) above.": (
            _bound_negative
        ),
        "The weight lacks the slope. 1 / (1 - ᾱ) alone is right only where ᾱ falls by one in a unit of time; the "
        "chain rule brings in the derivative of ᾱ.": _bound_without_slope,
        "The weight is the derivative of a *logarithm*: the slope has to be divided by what stands in the logarithm.": (
            _bound_slope_only
        ),
        "The slope is divided by ᾱ, as for log ᾱ. (8.5) has the logarithm of the *hidden* share.": _bound_known_share,
        "These are bits: log2 was used, or a division by log 2. (8.5) counts nats.": _bound_bits,
        "These are logits as they came. They become logarithms of probabilities by log_softmax.": _bound_logits,
        "This adds up probabilities; the cost is minus their logarithm.": _bound_probability,
        "This is the negative log-likelihood of the values of which the denoiser is surest. What counts is what x0 "
        "says.": _bound_surest,
        "There is a number for each token here. Add up the tokens of each row.": _bound_tokens,
        "The negative log-likelihoods of all rows were added up, and each row got the total. A row costs what its own "
        "tokens cost.": _bound_shared,
        "This is the sum over the batch; one number for each row is asked for.": _bound_batch_sum,
        "This is the mean over the batch; one number for each row is asked for.": _bound_batch_mean,
        "The softmax runs over the tokens of a row, the wrong axis: for each token, the chances of its V values add up "
        "to 1.": _bound_along_tokens,
        "The softmax runs over the rows of the batch, the wrong axis: for each token, the chances of its V values add "
        "up to 1.": _bound_along_rows,
        "`reshape` and `view` exchange no axes: they deal out the numbers anew, and tokens and values are mixed. "
        "Transpose instead.": _bound_reshaped,
        "The softmax is taken twice: `cross_entropy` and `log_softmax` take logits, and got probabilities.": (
            _bound_softmax_twice
        ),
        "Each row got the mean negative log-likelihood of the hidden tokens of all rows. A row costs the sum of what "
        "its own cost.": _bound_mean_of_all,
        "This adds up 1 - p; the negative log-likelihood is minus the logarithm of p.": _bound_one_minus,
        "The logarithm itself is in the weight. (8.5) has its derivative: f' / f.": _bound_times_log,
        "This divides by the share that is hidden in x_t, which scatters from mask to mask. The weight has the share "
        "that is hidden on average, by the schedule.": _bound_share_of_mask,
    },
)

# ---------------------------------------------------------------- confidence_step


def _rank(confidence):
    return confidence.argsort(1).argsort(1)  # 0 for the lowest


def _confidence_step(x, drawn, mask_id, confidence, left):
    hidden = x == mask_id
    fill = _rank(confidence.masked_fill(~hidden, torch.inf)) >= left[:, None]
    return drawn.where(hidden & fill, x)


def _step_least_sure(x, drawn, mask_id, confidence, left):
    return _confidence_step(x, drawn, mask_id, -confidence, left)


def _step_all_ranked(x, drawn, mask_id, confidence, left):
    return drawn.where((x == mask_id) & (_rank(confidence) >= left[:, None]), x)


def _step_known_last(x, drawn, mask_id, confidence, left):
    hidden = x == mask_id
    return drawn.where(hidden & (_rank(confidence.masked_fill(~hidden, -torch.inf)) >= left[:, None]), x)


def _step_known_zero(x, drawn, mask_id, confidence, left):
    hidden = x == mask_id
    return drawn.where(hidden & (_rank(confidence * hidden) >= left[:, None]), x)


def _step_overwritten(x, drawn, mask_id, confidence, left):
    fill = _rank(confidence.masked_fill(x != mask_id, torch.inf)) >= left[:, None]
    return drawn.where(fill, mask_id)


def _step_all_again(x, drawn, mask_id, confidence, left):
    return drawn.where(_rank(confidence) >= left[:, None], mask_id)


def _step_known_lost(x, drawn, mask_id, confidence, left):
    kept = _confidence_step(x, drawn, mask_id, confidence, left)
    return kept.masked_fill(x != mask_id, mask_id)


def _step_one_fewer(x, drawn, mask_id, confidence, left):
    return _confidence_step(x, drawn, mask_id, confidence, left + 1)


def _step_one_more(x, drawn, mask_id, confidence, left):
    return _confidence_step(x, drawn, mask_id, confidence, left - 1)


def _step_fills_left(x, drawn, mask_id, confidence, left):
    return _confidence_step(x, drawn, mask_id, confidence, (x == mask_id).sum(1) - left)


def _step_fills_left_least(x, drawn, mask_id, confidence, left):
    hidden = x == mask_id
    return drawn.where(hidden & (_rank(confidence.masked_fill(~hidden, torch.inf)) < left[:, None]), x)


def _step_down_the_columns(x, drawn, mask_id, confidence, left):
    hidden = x == mask_id
    rank = confidence.masked_fill(~hidden, torch.inf).argsort(0).argsort(0)
    return drawn.where(hidden & (rank >= left[:, None]), x)


def _step_one_argsort(x, drawn, mask_id, confidence, left):
    hidden = x == mask_id
    order = confidence.masked_fill(~hidden, torch.inf).argsort(1)
    return drawn.where(hidden & (order >= left[:, None]), x)


def _step_across_rows(x, drawn, mask_id, confidence, left):
    hidden = x == mask_id
    rank = _rank(confidence.masked_fill(~hidden, torch.inf).view(1, -1)).view(x.shape)
    return drawn.where(hidden & (rank >= left.sum()), x)


def _step_first_left(x, drawn, mask_id, confidence, left):
    return _confidence_step(x, drawn, mask_id, confidence, left[:1].expand(len(x)))


def _step_all_filled(x, drawn, mask_id, confidence, left):
    return drawn.where(x == mask_id, x)


def _step_known_hidden(x, drawn, mask_id, confidence, left):
    return drawn.where(x == mask_id, x).masked_fill(_rank(confidence) < left[:, None], mask_id)


def _step_known_one(x, drawn, mask_id, confidence, left):
    hidden = x == mask_id
    return drawn.where(hidden & (_rank(confidence.masked_fill(~hidden, 1)) >= left[:, None]), x)


def _from_the_top(x, mask_id, confidence, left, known, rank):
    hidden = x == mask_id
    places = rank(-confidence.masked_fill(~hidden, known))
    return hidden & (places < hidden.sum(1, keepdim=True) - left[:, None])


def _step_known_zero_above(x, drawn, mask_id, confidence, left):
    return drawn.where(_from_the_top(x, mask_id, confidence, left, 0, _rank), x)


def _step_one_argsort_above(x, drawn, mask_id, confidence, left):
    return drawn.where(_from_the_top(x, mask_id, confidence, left, -torch.inf, lambda c: c.argsort(1)), x)


def _step_as_many_everywhere(x, drawn, mask_id, confidence, left):
    hidden = x == mask_id
    rank = _rank(-confidence.masked_fill(~hidden, -torch.inf))
    return drawn.where(rank < (hidden.sum(1) - left).amax(), x)


def _stepping(hidden, left, tokens, mask_id):
    """Rows of which `hidden` says how many tokens are hidden, with confidences around 0, of either sign."""
    shape = len(hidden), tokens
    mask = torch.rand(shape).argsort(1).argsort(1) < torch.tensor(hidden)[:, None]
    x = torch.randint(mask_id, shape).masked_fill(mask, mask_id)
    drawn = (x + torch.randint(1, mask_id, shape)) % mask_id  # differs from what is known
    return [x, drawn, mask_id, torch.randn(shape), torch.tensor(left)]


confidence_step = Grader(
    "confidence_step",
    _confidence_step,
    {
        "three rows": lambda: _stepping([6, 5, 8], [4, 1, 5], 10, 20),
        "nothing is known yet": lambda: _stepping([7, 7], [4, 6], 7, 50),
        "all or nothing": lambda: _stepping([4, 4, 0, 9], [0, 4, 0, 0], 9, 6),
        "one row": lambda: _stepping([11], [10], 16, 64),
        "many rows": lambda: _stepping([5] * 30, [2] * 30, 8, 5),
    },
    {
        "The least sure were filled in; the surest come first.": _step_least_sure,
        "Known tokens take part in the ranking, and push hidden ones up or down. Only the hidden ones compete.": (
            _step_all_ranked
        ),
        "Known tokens are ranked below all others here, and use up the places of those that should stay hidden.": (
            _step_known_last
        ),
        "A confidence of 0 does not take the known tokens out of the ranking, as confidences may lie below 0.": (
            _step_known_zero
        ),
        "Tokens that were known are overwritten by what was drawn for them. They must stay.": _step_overwritten,
        "Known tokens were treated like hidden ones: ranked again, and overwritten or hidden.": _step_all_again,
        "What was known is lost: it must come through as it was.": _step_known_lost,
        "One too few is filled in. Exactly `left` of the hidden tokens remain hidden.": _step_one_fewer,
        "One too many is filled in. Exactly `left` of the hidden tokens remain hidden.": _step_one_more,
        "`left` tokens are filled in. It says how many *remain hidden*.": _step_fills_left,
        "The tokens that should stay hidden are filled in, and the others are not.": _step_fills_left_least,
        "The ranking runs over the rows of the batch. It must run along the tokens of each row: axis 1.": (
            _step_down_the_columns
        ),
        "`argsort` gives the places in the order of their confidence, not the rank of each place. Comparing it with "
        "`left` mixes the two up.": _step_one_argsort,
        "The tokens of all rows are ranked together. Each row is a sequence of its own, and keeps its own `left`.": (
            _step_across_rows
        ),
        "Every row uses the `left` of the first.": _step_first_left,
        "All hidden tokens are filled in; `left` of them must stay hidden.": _step_all_filled,
        "Known tokens were hidden: what stays hidden was picked from the whole row. Pick it from the hidden ones.": (
            _step_known_hidden
        ),
        "A confidence of 1 does not take the known tokens out of the ranking, as confidences may lie above 1.": (
            _step_known_one
        ),
        "With a confidence of 0, known tokens come before hidden ones with a confidence below 0, and take their "
        "places.": _step_known_zero_above,
        "`argsort` from the top down, too, gives places in the order of their confidence, and not the rank of each.": (
            _step_one_argsort_above
        ),
        "The same number is filled in in every row. In each it is the number of its hidden tokens less its `left`.": (
            _step_as_many_everywhere
        ),
    },
)

# ---------------------------------------------------------------- confidences


def _gumbel(u):
    return -(-u.log()).log()


def _confidences(p, u, times, choice_temperature):
    return p.log() + choice_temperature * times[1:, None] * _gumbel(u)


def _given_code(p, u, times, choice_temperature):
    return p + choice_temperature * times[1:].cumprod(0)[:, None] * _gumbel(u)


def _confidences_compound(p, u, times, choice_temperature):
    return p.log() + choice_temperature * times[1:].cumprod(0)[:, None] * _gumbel(u)


def _confidences_of_p(p, u, times, choice_temperature):
    return p + choice_temperature * times[1:, None] * _gumbel(u)


def _confidences_at_the_start(p, u, times, choice_temperature):
    return p.log() + choice_temperature * times[:-1, None] * _gumbel(u)


def _confidences_compound_at_the_start(p, u, times, choice_temperature):
    return p.log() + choice_temperature * times[:-1].cumprod(0)[:, None] * _gumbel(u)


def _confidences_rising(p, u, times, choice_temperature):
    return p.log() + choice_temperature * (1 - times[1:, None]) * _gumbel(u)


def _confidences_constant(p, u, times, choice_temperature):
    return p.log() + choice_temperature * _gumbel(u)


def _confidences_by_step(p, u, times, choice_temperature):
    return p.log() + choice_temperature * (1 - torch.arange(1, len(p) + 1) / len(p))[:, None] * _gumbel(u)


def _confidences_minus(p, u, times, choice_temperature):
    return p.log() - choice_temperature * times[1:, None] * _gumbel(u)


def _confidences_uniform(p, u, times, choice_temperature):
    return p.log() + choice_temperature * times[1:, None] * u


def _confidences_one_log(p, u, times, choice_temperature):
    return p.log() - choice_temperature * times[1:, None] * u.log()


def _confidences_log2(p, u, times, choice_temperature):
    return p.log2() + choice_temperature * times[1:, None] * _gumbel(u)


def _ordering(times, tokens, choice_temperature):
    times, shape = torch.tensor(times), (len(times) - 1, tokens)
    return [0.01 + 0.98 * torch.rand(shape), 0.01 + 0.98 * torch.rand(shape), times, choice_temperature]


confidences = Grader(
    "confidences",
    _confidences,
    {
        "four uneven steps": lambda: _ordering([1.0, 0.9, 0.7, 0.4, 0.0], 5, 1.0),
        "ten even steps": lambda: _ordering([i / 10 for i in range(10, -1, -1)], 3, 2.5),
        "one step": lambda: _ordering([1.0, 0.0], 6, 4.0),
        "a choice temperature of 0": lambda: _ordering([1.0, 0.6, 0.0], 2, 0.0),
    },
    {
        "This is the function of the text: both mistakes are still in it.": _given_code,
        "One mistake is fixed. But the noise still fades too early: the factor of one step is multiplied onto those "
        "of all steps before. Each step starts from the `choice_temperature` that was handed in.": (
            _confidences_compound
        ),
        "One mistake is fixed, and the fading is right. But the noise is added to p; look at the first summand of "
        "(8.7).": _confidences_of_p,
        "This is t, the time at which a step starts. (8.7) has t', at which it ends.": _confidences_at_the_start,
        "The noise still fades too early, as the factors pile up; and t' is the time at which a step *ends*.": (
            _confidences_compound_at_the_start
        ),
        "The noise grows from step to step. It should be strongest at the start, where t' is near 1.": (
            _confidences_rising
        ),
        "The noise does not fade at all: t' of (8.7) is missing.": _confidences_constant,
        "`choice_temperature` itself is missing: it scales the noise of every step.": (
            lambda p, u, times, choice_temperature: _confidences(p, u, times, 1.0)
        ),
        "Minus log p is the negative log-likelihood: it is *low* where the denoiser is sure. The confidence has plus "
        "log p.": (lambda p, u, times, choice_temperature: _confidences(p, u, times, choice_temperature) - 2 * p.log()),
        "This counts steps. On an uneven grid that is not the time; take t' from times.": _confidences_by_step,
        "The noise is taken off; (8.7) adds it. Gumbel noise is not symmetric, so the sign matters.": (
            _confidences_minus
        ),
        "This adds uniform numbers; (8.7) turns them into Gumbel noise first.": _confidences_uniform,
        "Gumbel noise takes the logarithm twice, with a minus before each.": _confidences_one_log,
        "This is the logarithm to base 2; (8.7) has the natural one.": _confidences_log2,
        "The logarithm is taken of p and the noise together; (8.7) takes that of p alone, and adds the noise.": (
            lambda p, u, times, choice_temperature: _confidences_of_p(p, u, times, choice_temperature).log()
        ),
        "The logarithm of p is multiplied by the noise; (8.7) adds the two.": (
            lambda p, u, times, choice_temperature: p.log() * (_confidences(p, u, times, choice_temperature) - p.log())
        ),
        "This normalises the row first: `log_softmax` takes logits, but p holds probabilities.": (
            lambda p, u, times, choice_temperature: (
                _confidences(p, u, times, choice_temperature) - p.log() + p.log_softmax(-1)
            )
        ),
        "log(1 + p) was taken for log p. A token that is hardly likely would lose next to nothing.": (
            lambda p, u, times, choice_temperature: _confidences(p, u, times, choice_temperature) - p.log() + p.log1p()
        ),
        "The time counts twice here: t' is a factor once.": (
            lambda p, u, times, choice_temperature: p.log() + choice_temperature * times[1:, None] ** 2 * _gumbel(u)
        ),
        "These are random numbers of its own. The uniform numbers come in as u.": (
            lambda p, u, times, choice_temperature: _confidences(p, torch.rand_like(u), times, choice_temperature)
        ),
    },
)

# ---------------------------------------------------------------- pair_error


def _answers(denoiser, x, place):
    """Logits when both are hidden, (N, V), and with each value at a place, (V, N, V)."""
    alone = denoiser(x[None])[0]
    filled = torch.stack([x.index_fill(0, torch.tensor([place]), value) for value in range(alone.shape[-1])])
    return alone, denoiser(filled)


def _tables(denoiser, x, place):
    """Chances when both are hidden, (N, V), and with each value at a place, (V, N, V)."""
    alone, after = _answers(denoiser, x, place)
    return alone.softmax(-1), after.softmax(-1)


def _others(error, x, place, mask_id):
    return error.where((x == mask_id) & (torch.arange(len(x)) != place), 0)


def _error_before_zeros(denoiser, x, place):
    alone, after = _tables(denoiser, x, place)
    joint = alone[place][:, None, None] * after  # (V, N, V)
    at_once = alone[place][:, None, None] * alone
    return (joint - at_once).abs().sum((0, 2)) / 2


def _pair_error(denoiser, x, place, mask_id):
    return _others(_error_before_zeros(denoiser, x, place), x, place, mask_id)


def _error_own_place(denoiser, x, place, mask_id):
    return _error_before_zeros(denoiser, x, place).where(x == mask_id, 0)


def _error_known(denoiser, x, place, mask_id):
    return _error_before_zeros(denoiser, x, place).where(torch.arange(len(x)) != place, 0)


def _error_zeros_nowhere(denoiser, x, place, mask_id):
    return _error_before_zeros(denoiser, x, place)


def _error_doubled(denoiser, x, place, mask_id):
    return 2 * _pair_error(denoiser, x, place, mask_id)


def _error_unweighted(denoiser, x, place, mask_id):
    alone, after = _tables(denoiser, x, place)
    return _others((after - alone).abs().sum(2).mean(0) / 2, x, place, mask_id)


def _error_summed(denoiser, x, place, mask_id):
    alone, after = _tables(denoiser, x, place)
    return _others((after - alone).abs().sum((0, 2)) / 2, x, place, mask_id)


def _error_worst_value(denoiser, x, place, mask_id):
    alone, after = _tables(denoiser, x, place)
    return _others((after - alone).abs().sum(2).amax(0) / 2, x, place, mask_id)


def _error_left_out(denoiser, x, place, mask_id):
    return _error_before_zeros(denoiser, x, place)[(x == mask_id) & (torch.arange(len(x)) != place)]


def _error_surest_only(denoiser, x, place, mask_id):
    alone, after = _tables(denoiser, x, place)
    return _others((after[alone[place].argmax()] - alone).abs().sum(1) / 2, x, place, mask_id)


def _error_cancelled(denoiser, x, place, mask_id):
    alone, after = _tables(denoiser, x, place)
    mean = torch.einsum("a,anv->nv", alone[place], after)
    return _others((mean - alone).abs().sum(1) / 2, x, place, mask_id)


def _error_squared(denoiser, x, place, mask_id):
    alone, after = _tables(denoiser, x, place)
    return _others(torch.einsum("a,anv->n", alone[place], (after - alone).square()) / 2, x, place, mask_id)


def _error_mean_of_values(denoiser, x, place, mask_id):
    alone, _ = _tables(denoiser, x, place)
    return _pair_error(denoiser, x, place, mask_id) * 2 / alone.shape[-1]


def _error_largest(denoiser, x, place, mask_id):
    alone, after = _tables(denoiser, x, place)
    return _others(torch.einsum("a,an->n", alone[place], (after - alone).abs().amax(2)), x, place, mask_id)


def _error_of_own_chances(denoiser, x, place, mask_id):
    alone, after = _tables(denoiser, x, place)
    return _others(torch.einsum("na,anv->n", alone, (after - alone).abs()) / 2, x, place, mask_id)


def _error_turned_round(denoiser, x, place, mask_id):
    errors = [_error_before_zeros(denoiser, x, j)[place] for j in range(len(x))]
    return _others(torch.stack(errors), x, place, mask_id)


def _error_place_twice(denoiser, x, place, mask_id):
    alone, after = _tables(denoiser, x, place)
    gaps = (after - alone[place]).abs().sum(-1)  # (V, N)
    return _others(alone[place] @ gaps / 2, x, place, mask_id)


def _error_last_value_missing(denoiser, x, place, mask_id):
    alone, after = _tables(denoiser, x, place)
    return _others(alone[place][:-1] @ (after[:-1] - alone).abs().sum(-1) / 2, x, place, mask_id)


def _error_all_filled(denoiser, x, place, mask_id):
    alone = denoiser(x[None])[0].softmax(-1)
    after = denoiser(torch.stack([x.masked_fill(x == mask_id, value) for value in range(mask_id)])).softmax(-1)
    return _others(alone[place] @ (after - alone).abs().sum(-1) / 2, x, place, mask_id)


def _error_along_tokens(denoiser, x, place, mask_id):
    alone, after = (chances.softmax(-2) for chances in _answers(denoiser, x, place))
    return _others(torch.einsum("a,anv->n", alone[place], (after - alone).abs()) / 2, x, place, mask_id)


def _error_of_exp(denoiser, x, place, mask_id):
    alone, after = (chances.exp() for chances in _answers(denoiser, x, place))
    return _others(torch.einsum("a,anv->n", alone[place], (after - alone).abs()) / 2, x, place, mask_id)


def _error_raw(denoiser, x, place, mask_id):
    alone, after = _answers(denoiser, x, place)
    return _others(torch.einsum("a,anv->n", alone[place], (after - alone).abs()) / 2, x, place, mask_id)


def _error_of_logits(denoiser, x, place, mask_id):
    alone, after = _answers(denoiser, x, place)
    weight = alone.softmax(-1)[place]
    return _others(torch.einsum("a,anv->n", weight, (after - alone).abs()) / 2, x, place, mask_id)


def _exact(sequences, probabilities, vocabulary):
    """The best denoiser of a world with few sequences (S, N), as in the chapter; it needs no time.

    It is sure of hidden tokens as far as it can be. Of known ones it doubts half, as a network may.
    """
    one_hot = F.one_hot(sequences, vocabulary).double()  # (S, N, V)

    def chances(ids):
        fits = ((ids[:, None] == sequences) | (ids[:, None] == vocabulary)).all(-1)  # (B, S)
        weights = (fits * probabilities).where(fits.any(1, keepdim=True), probabilities)
        return torch.einsum("bs,snv->bnv", weights, one_hot) / weights.sum(1)[:, None, None]

    def denoiser(ids):
        doubted = [chances(ids.index_fill(1, torch.tensor([i]), vocabulary))[:, i] for i in range(ids.shape[1])]
        chance = (chances(ids) + torch.stack(doubted, 1)) / 2  # (B, N, V); both halves agree where it is hidden
        return chance.log() + 1.5  # logits: a softmax does not see what is added to all of them

    return denoiser


def _random_world(tokens, vocabulary):
    sequences = torch.cartesian_prod(*[torch.arange(vocabulary)] * tokens)
    return _exact(sequences, torch.rand(len(sequences)).double() ** 3, vocabulary)


def _network(tokens, vocabulary):
    """Logits that depend on all ids in some way, as those of a trained network do; no world has all of its chances."""
    table = 0.6 * torch.randn(tokens, vocabulary + 1, tokens, vocabulary)
    return lambda ids: table[torch.arange(tokens), ids].sum(1)  # (B, N, V)


def _looking(denoiser, x, place):
    """`x` has -1 where a token is hidden; the mask comes after the ids of the denoiser."""
    mask_id = denoiser(torch.zeros(1, len(x), dtype=torch.long)).shape[-1]
    x = torch.tensor(x)
    return [denoiser, x.masked_fill(x < 0, mask_id), place, mask_id]


_TWO_SENTENCES = torch.tensor([[0, 1, 2, 3, 4], [4, 1, 3, 2, 0]]), torch.tensor([0.5, 0.5]).double(), 5

pair_error = Grader(
    "pair_error",
    _pair_error,
    {
        "four tokens of three values, one is known": lambda: _looking(_random_world(4, 3), [-1, -1, 2, -1], 1),
        "two sentences, equally likely": lambda: _looking(_exact(*_TWO_SENTENCES), [-1] * 5, 0),
        "a network": lambda: _looking(_network(5, 6), [-1, 2, -1, -1, -1], 3),
        "six tokens of two values": lambda: _looking(_random_world(6, 2), [0, -1, -1, 1, -1, -1], 5),
        "three tokens of five values": lambda: _looking(_random_world(3, 5), [-1, -1, -1], 1),
        "all others are known": lambda: _looking(_random_world(3, 4), [1, 3, -1], 2),
    },
    {
        "The place itself is counted, too. It is no pair with itself: its entry is 0.": _error_own_place,
        "Known tokens are counted, too. They are not filled in, so their entries are 0.": _error_known,
        "Known tokens and the place itself must have entries of 0: they are not filled in together with it.": (
            _error_zeros_nowhere
        ),
        "This is twice the total variation, which is *half* the sum of all differences.": _error_doubled,
        "All values at the place count alike here. Each must count by its chance of being drawn there.": (
            _error_unweighted
        ),
        "The values at the place are added up without their chances. Each counts by its chance of being drawn.": (
            _error_summed
        ),
        "This takes the value at the place that does the most harm. Each counts, by its chance of being drawn.": (
            _error_worst_value
        ),
        "Tokens that do not count must have an entry of 0, and not be left out: (N,) numbers are asked for.": (
            _error_left_out
        ),
        "Only the likeliest value is put at the place. All values can be drawn there, each by its chance.": (
            _error_surest_only
        ),
        "The tables are averaged over the values at the place first, where the differences cancel. Take absolute "
        "values of each before you add up.": _error_cancelled,
        "These are squared differences; the total variation takes absolute ones.": _error_squared,
        "This takes a mean over the V values; the total variation is half of a sum.": _error_mean_of_values,
        "This is the largest difference; the total variation adds up the differences of all values.": _error_largest,
        "This compares logits. Total variation compares probabilities: a softmax comes first.": _error_of_logits,
        "No softmax was taken: these are logits throughout. The formula speaks of probabilities.": _error_raw,
        "exp alone makes no probabilities of logits: those of a token must add up to 1.": _error_of_exp,
        "The softmax runs over the tokens. For each token, the chances of its V values add up to 1.": (
            _error_along_tokens
        ),
        "Each value counts by its chance at j. It is drawn at the place, so its chance there, p_i(a), counts.": (
            _error_of_own_chances
        ),
        "Here a value is put at j, and the change is read at the place. Put it at the place, and look at each j: for a "
        "network the two need not be equal.": _error_turned_round,
        "The second product has p_i in place of p_j: the change is measured against the chances at the place.": (
            _error_place_twice
        ),
        "The last value was never put at the place. There are V of them, 0 … V - 1.": _error_last_value_missing,
        "The value was put at every hidden token. Put it at the place alone; all others stay hidden.": (
            _error_all_filled
        ),
    },
)
