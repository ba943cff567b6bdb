"""Graders of chapter 02, the VQ-VAE."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from vqdit_lite import autoencoder, metrics, quantize
from vqdit_lite.grade.grader import AnswerError, Grader

# ---------------------------------------------------------------- compression


def _compression(shape, patch, num_codes, stages):
    channels, height, width = shape
    bits = height // patch * (width // patch) * stages * math.log2(num_codes)
    return bits, 8 * channels * height * width / bits


def _compression_scaled(bits_by, factor_by=None):
    """The right bits and factor, wrong by a factor each that depends on the arguments."""

    def mistaken(shape, patch, num_codes, stages):
        bits, factor = _compression(shape, patch, num_codes, stages)
        by = bits_by(shape, patch, num_codes, stages)
        return bits * by, factor * (factor_by(shape, patch, num_codes, stages) if factor_by else 1 / by)

    return mistaken


def _one(*arguments):
    return 1


compression = Grader(
    "compression",
    _compression,
    {
        "scenes, three ids a token": lambda: [(3, 24, 24), 4, 64, 3],
        "handwriting, one id a token": lambda: [(1, 32, 32), 4, 128, 1],
        "an oblong picture, patches of 8 × 8, four ids of 1,000 codes": lambda: [(3, 32, 48), 8, 1000, 4],
    },
    {
        "Bits need log2, not the natural logarithm.": _compression_scaled(lambda *a: math.log(2)),
        "An id takes log2 K bits here, even where that is no whole number: nothing is rounded up.": (
            _compression_scaled(lambda s, p, k, n: math.ceil(math.log2(k)) / math.log2(k))
        ),
        "An id takes log2 K bits here, even where that is no whole number: nothing is rounded down.": (
            _compression_scaled(lambda s, p, k, n: math.floor(math.log2(k)) / math.log2(k))
        ),
        "An id out of K takes log2 K bits, not 8.": _compression_scaled(lambda s, p, k, n: 8 / math.log2(k)),
        "An id out of K takes log2 K bits, not K.": _compression_scaled(lambda s, p, k, n: k / math.log2(k)),
        "The channels come first in (C, H, W).": _compression_scaled(
            lambda s, p, k, n: s[0] * s[1] // p**2 / (s[1] * s[2] // p**2)
        ),
        "In (C, H, W) the channels come first.": _compression_scaled(lambda s, p, k, n: s[0] / s[2]),
        "A picture need not be square: it has H/patch · W/patch tokens.": _compression_scaled(
            lambda s, p, k, n: s[1] / s[2]
        ),
        "A picture need not be square: it has H/patch · W/patch tokens, and H · W pixels.": _compression_scaled(
            lambda s, p, k, n: s[1] / s[2], _one
        ),
        "One id would do for a token, but each token has an id from every stage.": _compression_scaled(
            lambda s, p, k, n: 1 / n
        ),
        "The bits of the stages add up; they do not multiply.": _compression_scaled(
            lambda s, p, k, n: math.log2(k) ** (n - 1) / n
        ),
        "Several stages add their bits. This takes the logarithm of K times the stages, as if the codebooks were laid "
        "together.": _compression_scaled(lambda s, p, k, n: math.log2(n * k) / (n * math.log2(k))),
        "A patch covers patch × patch pixels: divide the height and the width.": _compression_scaled(
            lambda s, p, k, n: p
        ),
        "These are the bits of one token; a picture has H/patch · W/patch tokens.": _compression_scaled(
            lambda s, p, k, n: p * p / (s[1] * s[2])
        ),
        "These are bits for each pixel; asked are those of the whole picture.": _compression_scaled(
            lambda s, p, k, n: 1 / (s[1] * s[2]), _one
        ),
        "The ids are counted in bytes here; asked are bits.": _compression_scaled(lambda *a: 1 / 8, _one),
        "This counts an id for each pixel; a token stands for a whole patch.": _compression_scaled(
            lambda s, p, k, n: p * p
        ),
        "This counts tokens for each channel; one token stands for all channels of its patch.": _compression_scaled(
            lambda s, p, k, n: s[0]
        ),
        "The bits of the ids are right. The picture has 8 bits for each number in *each channel*.": (
            _compression_scaled(_one, lambda s, p, k, n: 1 / s[0])
        ),
        "The bits of the ids are right. The picture's numbers take 8 bits each.": _compression_scaled(
            _one, lambda s, p, k, n: 1 / 8
        ),
        "The bits of the ids are right. A number in the picture has 256 values, and that takes 8 bits.": (
            _compression_scaled(_one, lambda s, p, k, n: 32)
        ),
        "The bits of the ids are right. This is a difference; asked is how many *times* as many the picture has.": (
            lambda shape, *a: (_compression(shape, *a)[0], 8 * math.prod(shape) - _compression(shape, *a)[0])
        ),
        "The bits of the ids are right. The factor is cut off to a whole number.": lambda *a: (
            _compression(*a)[0],
            math.floor(_compression(*a)[1]),
        ),
        "The bits of the ids are right, but the factor is upside down: how many times as many has the *picture*?": (
            lambda *a: (_compression(*a)[0], 1 / _compression(*a)[1])
        ),
        "The order is: first the bits, then the factor.": lambda *a: _compression(*a)[::-1],
    },
)

# ---------------------------------------------------------------- to_grid

to_grid = Grader(
    "to_grid",
    lambda tokens, grid: tokens.mT.unflatten(2, grid),
    {
        "a square grid": lambda: [torch.randn(2, 9, 4), (3, 3)],
        "an oblong grid": lambda: [torch.randn(3, 8, 5), (2, 4)],
        "one picture, a tall grid": lambda: [torch.randn(1, 12, 2), (6, 2)],
        "one feature": lambda: [torch.randn(2, 6, 1), (2, 3)],
        "one token": lambda: [torch.randn(4, 1, 3), (1, 1)],
    },
    {
        "The shape is right, but reshaping alone deals the features of one token out over several places. The features "
        "have to move before the tokens are laid out.": lambda tokens, grid: tokens.reshape(
            len(tokens), tokens.shape[2], *grid
        ),
        "Each token stands at its place, but the features still come last; convolutions want them second.": (
            lambda tokens, grid: tokens.unflatten(1, grid)
        ),
        "Rows and columns are swapped: the first W tokens are the first *row*.": (
            lambda tokens, grid: tokens.mT.unflatten(2, grid[::-1]).mT
        ),
        "The picture lies on its side: height comes before width.": lambda tokens, grid: (
            tokens.mT.unflatten(2, grid).mT
        ),
        "The features come first here, before the pictures; they belong second.": lambda tokens, grid: tokens.permute(
            2, 0, 1
        ).unflatten(2, grid),
        "Height and width of the grid are swapped.": lambda tokens, grid: tokens.mT.unflatten(2, grid[::-1]),
        "These are the tokens with features moved to the second place; now lay them out in rows.": (
            lambda tokens, grid: tokens.mT
        ),
    },
)

# ---------------------------------------------------------------- finite_scalar


def _fsq(z, levels, *, reach=None, squash=torch.tanh, through=quantize.straight_through, ids=None):
    """The right answer, or one with a part exchanged."""
    reach = (levels - 1) / 2 if reach is None else reach
    bounded = squash(z) * reach
    digits = (bounded.round() + reach).long()
    return through(bounded, bounded.round()) / reach, (ids or _mixed_radix)(digits, levels)


def _mixed_radix(digits, levels):
    steps = torch.tensor([math.prod(levels.tolist()[:d]) for d in range(len(levels))])
    return (digits * steps).sum(-1)


def _fsq_jumps_over_tanh(z, levels):
    codes, ids = _fsq(z, levels)
    return z + (codes - z).detach(), ids


def _fsq_rounds_first(z, levels):
    _, ids = _fsq(z, levels, squash=lambda z: z.tanh().round())
    return z.tanh() + (z.tanh().round() - z.tanh()).detach(), ids


def _fsq_squashes_last(z, levels):
    reach = (levels - 1) / 2
    rounded = quantize.straight_through(z * reach, (z * reach).round())
    return rounded.tanh(), _mixed_radix((rounded.detach().clamp(-reach, reach) + reach).long(), levels)


def _fsq_one_level_more(z, levels):
    reach = levels / 2
    rounded = quantize.straight_through(z.tanh() * reach, (z.tanh() * reach).round())
    return rounded / reach, _mixed_radix((rounded.detach() + levels // 2).long(), levels)


def _fsq_not_scaled_back(z, levels):
    codes, ids = _fsq(z, levels)
    return codes * ((levels - 1) / 2), ids


def _fsq_equal_pieces(z, levels, gradient):
    digits = ((z.tanh() + 1) / 2 * levels).floor().clamp(max=levels - 1)
    codes = digits / ((levels - 1) / 2) - 1
    return codes + gradient(levels) * (z.tanh() - z.tanh().detach()), _mixed_radix(digits.long(), levels)


def _fsq_down(z, levels):
    reach = levels // 2
    down = (z.tanh() * reach).floor()
    return quantize.straight_through(z.tanh(), down / reach), _mixed_radix(down.long() + reach, levels)


def _fsq_too_short(z, levels):
    codes, ids = _fsq(z, levels)
    return codes.detach() + (z.tanh() - z.tanh().detach()) / ((levels - 1) / 2), ids


def _fsq_digits_cut(z, levels):
    reach = (levels - 1) / 2
    return _fsq(z, levels)[0], _mixed_radix((z.tanh() * reach + reach).long(), levels)


def _fsq_shrunk_by_levels(z, levels):
    codes, ids = _fsq(z, levels)
    return codes * ((levels - 1) / 2) / levels, ids


def _fsq_twice_as_far(z, levels):
    rounded = quantize.straight_through(z.tanh() * levels, (z.tanh() * levels).round())
    return rounded / levels, _mixed_radix((rounded.detach() + levels // 2).long(), levels)


def _fsq_cuts(z, levels):
    reach = levels // 2
    cut = (z.tanh() * reach).long()
    return quantize.straight_through(z.tanh(), cut / reach), _mixed_radix(cut + reach, levels)


def _fsq_from_zero(z, levels):
    codes, ids = _fsq(z, levels)
    return (codes + 1) / 2, ids


def _fsq_case(shape, levels, scale=1.0):
    return [scale * torch.randn(*shape, len(levels)), torch.tensor(levels)]


finite_scalar = Grader(
    "finite_scalar",
    _fsq,
    {
        "5 · 3 · 7 levels": lambda: _fsq_case((40,), [5, 3, 7]),
        "a batch of tokens": lambda: _fsq_case((2, 15), [7, 3]),
        "one feature": lambda: _fsq_case((30,), [9]),
        "vectors far out": lambda: _fsq_case((30,), [3, 5, 5, 7], 100.0),
    },
    {
        "The values are right, but rounding has the derivative zero, so no gradient arrives at z. Let it pass the "
        "rounding straight through.": lambda z, levels: _fsq(z, levels, through=lambda z, codes: codes),
        "The values are right, but the gradient jumps over the tanh as well. Only the rounding is passed straight "
        "through.": _fsq_jumps_over_tanh,
        "The values are right, but the gradient is too long: what is stretched before the rounding is shrunk after it, "
        "and the gradient has to go through both.": lambda z, levels: _fsq(
            z, levels, through=lambda z, codes: codes.detach() + ((levels - 1) / 2) * (z - z.detach())
        ),
        "The values are right, but the gradient is too short: it is shrunk after the rounding, and not stretched "
        "before.": _fsq_too_short,
        "This goes down to the next level; asked is the nearest.": _fsq_down,
        "The L levels get pieces of [-1, 1] of the same width here. When each value goes to the *nearest* level, the "
        "outermost two get half as much.": lambda z, levels: _fsq_equal_pieces(
            z, levels, lambda levels: levels / (levels - 1)
        ),
        "Here [-1, 1] is cut into L pieces of the same width. When each value goes to the *nearest* level, the "
        "outermost two get half as much.": lambda z, levels: _fsq_equal_pieces(z, levels, torch.ones_like),
        "Turning a number into a whole one cuts it off towards zero; *round* goes to the nearest.": _fsq_cuts,
        "The codes run from 0 to 1; the lowest level is -1.": _fsq_from_zero,
        "This stretches the tanh to ±L, about twice too far: (L - 1) / 2 steps lead from the middle to either end.": (
            _fsq_twice_as_far
        ),
        "The codes are not rounded.": lambda z, levels: _fsq(z, levels, through=lambda z, codes: z),
        "Here the feature is cut off at -1 and 1; a tanh squashes it.": lambda z, levels: _fsq(
            z, levels, squash=lambda z: z.clamp(-1, 1)
        ),
        "Here a sigmoid squashes the feature. It has no negative half: take the tanh.": lambda z, levels: _fsq(
            z, levels, squash=torch.sigmoid
        ),
        "A sigmoid that is made to run from -1 to 1 is the tanh of z / 2; asked is that of z.": lambda z, levels: _fsq(
            z, levels, squash=lambda z: (z / 2).tanh()
        ),
        "This rounds before it stretches, so that only -1, 0 and 1 are left, however many levels there are.": (
            _fsq_rounds_first
        ),
        "This rounds first and squashes last; then the codes are not evenly spaced levels.": _fsq_squashes_last,
        "L / 2 reaches half a level too far. From the middle level it is (L - 1) / 2 steps to either end.": (
            _fsq_one_level_more
        ),
        "The ids are right. The codes are still counted in steps; scale them back to [-1, 1].": _fsq_not_scaled_back,
        "The ids are right. The outermost codes must be -1 and 1; these lie nearer to 0.": _fsq_shrunk_by_levels,
        "The codes are right. The ids are read from the other end: in (2.12) the *first* digit counts single steps.": (
            lambda z, levels: _fsq(z, levels, ids=lambda n, levels: _mixed_radix(n.flip(-1), levels.flip(0)))
        ),
        "The codes are right. A digit counts from 0, the lowest level; these count from the middle level and can be "
        "negative.": lambda z, levels: _fsq(
            z, levels, ids=lambda n, levels: _mixed_radix(n - (levels - 1) // 2, levels)
        ),
        "The codes are right. In (2.12) the product stops *before* the feature's own levels, so the first digit is "
        "multiplied by 1.": lambda z, levels: _fsq(z, levels, ids=lambda n, levels: (n * levels.cumprod(0)).sum(-1)),
        "The codes are right. Each place has a base of its own: multiply the levels of the features before it.": (
            lambda z, levels: _fsq(
                z, levels, ids=lambda n, levels: (n * levels[0] ** torch.arange(len(levels))).sum(-1)
            )
        ),
        "The codes are right. Each feature has a base of its own; here all have that of the largest.": (
            lambda z, levels: _fsq(
                z, levels, ids=lambda n, levels: (n * levels.max() ** torch.arange(len(levels))).sum(-1)
            )
        ),
        "The codes are right. The digits are only added up, so different codes share an id.": lambda z, levels: _fsq(
            z, levels, ids=lambda n, levels: n.sum(-1)
        ),
        "The codes are right. Digit 0 is the lowest level, not the highest.": lambda z, levels: _fsq(
            z, levels, ids=lambda n, levels: _mixed_radix(levels - 1 - n, levels)
        ),
        "The codes are right. The digits are cut off to whole numbers, not rounded, so that many are one too low.": (
            _fsq_digits_cut
        ),
        "The codes are right. The place value is the product of the *other* features' levels, not a power of the "
        "feature's own.": lambda z, levels: _fsq(
            z, levels, ids=lambda n, levels: (n * levels ** torch.arange(len(levels))).sum(-1)
        ),
        "The codes are right. These are the digits; (2.12) makes one id of them.": lambda z, levels: _fsq(
            z, levels, ids=lambda n, levels: n
        ),
        "The order is: first the codes, then the ids.": lambda z, levels: _fsq(z, levels)[::-1],
    },
    gradients=True,
    given={"straight_through"},
)

# ---------------------------------------------------------------- residual_quantize


def _stages(z, codebooks, rest_after):
    """ids (M, S) and codes (M, S, D), where rest_after says what is handed to the next stage."""
    rest, ids, codes = z, [], []
    for codebook in codebooks:
        ids.append(torch.cdist(rest.double(), codebook.double()).argmin(1))
        codes.append(codebook[ids[-1]])
        rest = rest_after(rest, codes[-1])
    return torch.stack(ids, 1), torch.stack(codes, 1)


def _residual_quantize(z, codebooks, rest_after=torch.sub):
    ids, codes = _stages(z, codebooks, rest_after)
    return ids, codes.sum(1)


def _residual_pick(pick):
    """The right ids, and something else in place of the sum."""

    def mistaken(z, codebooks):
        ids, codes = _stages(z, codebooks, torch.sub)
        return ids, pick(z, codes)

    return mistaken


def _residual_first_book(z, codebooks):
    return _residual_quantize(z, codebooks[:1].expand_as(codebooks))


def _residual_turned(z, codebooks):
    ids, total = _residual_quantize(z, codebooks)
    return ids.T, total


def _residual_twice_off(z, codebooks):
    taken = []

    def rest_after(rest, codes):
        taken.append(codes)
        return rest - sum(taken)

    return _residual_quantize(z, codebooks, rest_after)


def _residual_one_book(z, codebooks):
    book = codebooks.flatten(0, 1)
    ids = torch.cdist(z, book).argmin(1)
    return ids, book[ids]


def _residual_largest_product(z, codebooks):
    rest, ids = z, []
    for codebook in codebooks:
        ids.append((rest @ codebook.T).argmax(1))
        rest = rest - codebook[ids[-1]]
    return torch.stack(ids, 1), z - rest


def _residual_looked_up_in(books):
    def mistaken(z, codebooks):
        ids, _ = _residual_quantize(z, codebooks)
        return ids, sum(book[ids[:, i]] for i, book in enumerate(books(codebooks)))

    return mistaken


def _residual_ids(change):
    """The right sum, and something else in place of the ids."""

    def mistaken(z, codebooks):
        ids, total = _residual_quantize(z, codebooks)
        return change(ids, codebooks), total

    return mistaken


def _residual_given(z, codebooks):
    ids, codes = _stages(z, codebooks, torch.sub)
    given = z[:, None] - codes.cumsum(1) + codes  # (M, S, D) what each stage gets
    return ids, given.sum(1)


def _residual_together(z, codebooks):
    ids = torch.cartesian_prod(*(torch.arange(len(book)) for book in codebooks)).view(-1, len(codebooks))
    sums = sum(book[ids[:, i]] for i, book in enumerate(codebooks))
    best = torch.cdist(z, sums).argmin(1)
    return ids[best], sums[best]


def _residual_case(count, dim, num_codes, stages):
    shrinking = 2.0 ** -torch.arange(stages)[:, None, None]  # each stage has less to do
    return [torch.randn(count, dim), torch.randn(stages, num_codes, dim) * shrinking]


residual_quantize = Grader(
    "residual_quantize",
    _residual_quantize,
    {
        "three stages of 6 codes": lambda: _residual_case(25, 3, 6, 3),
        "two stages of 16 codes": lambda: _residual_case(40, 2, 16, 2),
        "one stage": lambda: _residual_case(12, 4, 5, 1),
        "five stages, one vector": lambda: _residual_case(1, 3, 7, 5),
    },
    {
        "Every stage quantizes z itself. From the second stage on, it is what the stages before left over.": (
            lambda z, codebooks: _residual_quantize(z, codebooks, lambda rest, codes: rest)
        ),
        "This takes only the last code off z; what is left lacks the codes of *all* earlier stages.": (
            lambda z, codebooks: _residual_quantize(z, codebooks, lambda rest, codes: z - codes)
        ),
        "This takes the *sum* of the codes so far off what is left. The earlier ones have been taken off already.": (
            _residual_twice_off
        ),
        "This takes all codebooks for one large one. Each stage chooses from its own.": _residual_one_book,
        "The next stage gets the code itself; it should get what that code leaves over.": (
            lambda z, codebooks: _residual_quantize(z, codebooks, lambda rest, codes: codes)
        ),
        "The sign of what is left over is turned: it is the vector less its code.": (
            lambda z, codebooks: _residual_quantize(z, codebooks, lambda rest, codes: codes - rest)
        ),
        "The codes are added to the rest where (2.13) takes them off.": (
            lambda z, codebooks: _residual_quantize(z, codebooks, torch.add)
        ),
        "Every stage reads the first codebook; each has its own.": _residual_first_book,
        "The ids are right. These are the codes of the last stage alone; the codes of all stages add up.": (
            _residual_pick(lambda z, codes: codes[:, -1])
        ),
        "The ids are right. These are the codes of the first stage alone; the codes of all stages add up.": (
            _residual_pick(lambda z, codes: codes[:, 0])
        ),
        "The ids are right. This is the mean of the codes; they add up.": _residual_pick(
            lambda z, codes: codes.mean(1)
        ),
        "The ids are right. This is what is left over at the end; the sum of the codes is asked for.": _residual_pick(
            lambda z, codes: z - codes.sum(1)
        ),
        "The ids are right. What the stages are *given* is added up here; asked is the sum of their codes.": (
            _residual_given
        ),
        "The ids are right. All codes are looked up in the first codebook; each stage has its own.": (
            _residual_looked_up_in(lambda books: books[:1].expand_as(books))
        ),
        "The ids are right. These are the codes of each stage; return their sum.": _residual_pick(
            lambda z, codes: codes
        ),
        "The ids are right, but lie the wrong way round: one row for each vector, one column for each stage.": (
            _residual_turned
        ),
        "These are the ids, but in the wrong places: cut from one long row of them, in which all ids of a stage follow "
        "each other.": _residual_ids(lambda ids, books: ids.T.reshape(len(ids), -1)),
        "All stages choose together here. That comes nearer, but asked is one stage after the other.": (
            _residual_together
        ),
        "These are the right ids, stage by stage; make one tensor (M, S) of them.": _residual_ids(
            lambda ids, books: list(ids.unbind(1))
        ),
        "The ids of each codebook start at 0 again; here they run on through all of them.": _residual_ids(
            lambda ids, books: ids + books.shape[1] * torch.arange(len(books))
        ),
        "The code with the largest product is not the nearest one: a code's own length counts as well (1.2).": (
            _residual_largest_product
        ),
        "The order is: first the ids, then the sum of the codes.": lambda z, codebooks: _residual_quantize(
            z, codebooks
        )[::-1],
    },
    given={"nearest_code", "straight_through"},
)

# ---------------------------------------------------------------- residual_commitment


def _residual_commitment(z, ids, codebooks, *, loss=None, rest_after=None, frozen=True):
    """The right answer, or one with a part exchanged."""
    rest, total = z, 0
    for stage, codebook in enumerate(codebooks):
        codes = codebook[ids[:, stage]]
        codes = codes.detach() if frozen else codes
        total = total + (loss or F.mse_loss)(rest, codes)
        rest = (rest_after or torch.sub)(rest, codes)
    return total


def _commitment_case(count, dim, num_codes, stages):
    return [torch.randn(count, dim), torch.randint(num_codes, (count, stages)), torch.randn(stages, num_codes, dim)]


def _straight(rest, codes):
    return rest + (codes - rest).detach()


def _residual_losses(z, ids, codebooks):
    losses = []
    for i, codebook in enumerate(codebooks.detach()):
        z = z - codebook[ids[:, i]]
        losses.append(z.square().mean())
    return losses


residual_commitment = Grader(
    "residual_commitment",
    _residual_commitment,
    {
        "three stages": lambda: _commitment_case(10, 3, 5, 3),
        "two stages, one vector": lambda: _commitment_case(1, 4, 3, 2),
        "one stage": lambda: _commitment_case(6, 2, 4, 1),
        "six stages": lambda: _commitment_case(20, 2, 8, 6),
    },
    {
        "This does what the function of the text does: the number is right, but only the first stage teaches the "
        "encoder. In the rest that is handed on, the gradient of z cancels or is cut off.": (
            lambda z, ids, codebooks: _residual_commitment(
                z, ids, codebooks, rest_after=lambda rest, codes: (rest - codes).detach()
            )
        ),
        "The number is right, but the codebooks get a gradient as well. A commitment moves the encoder alone.": (
            lambda z, ids, codebooks: _residual_commitment(z, ids, codebooks, frozen=False)
        ),
        "The number is right, but the codebooks get a gradient by way of the rest: the code that is taken off must "
        "count as a constant, too.": lambda z, ids, codebooks: _residual_commitment(
            z, ids, codebooks, loss=lambda rest, codes: F.mse_loss(rest, codes.detach()), frozen=False
        ),
        "The number is right, but this is the codebook loss: the gradient goes to the codes and none to z.": (
            lambda z, ids, codebooks: _residual_commitment(z.detach(), ids, codebooks, frozen=False)
        ),
        "The number is right, but no gradient arrives at z. A detach, no_grad or a turn into a plain number cuts it "
        "off.": (lambda z, ids, codebooks: _residual_commitment(z.detach(), ids, codebooks)),
        "Every stage is compared with z itself; from the second stage on, compare what is left over.": (
            lambda z, ids, codebooks: _residual_commitment(z, ids, codebooks, rest_after=lambda rest, codes: rest)
        ),
        "This takes only the last code off z; what is left lacks the codes of *all* earlier stages.": (
            lambda z, ids, codebooks: _residual_commitment(z, ids, codebooks, rest_after=lambda rest, codes: z - codes)
        ),
        "The codes are taken off twice. A stage is compared with what it is *given*, before its own codes go off.": (
            lambda z, ids, codebooks: _residual_commitment(
                z, ids, codebooks, loss=lambda rest, codes: (rest - 2 * codes).square().mean()
            )
        ),
        "From the second stage on, a stage is given the codes before it; it should get what they leave over.": (
            lambda z, ids, codebooks: _residual_commitment(z, ids, codebooks, rest_after=_straight)
        ),
        "From the second stage on, a stage is given the codes before it, not what they leave over.": (
            lambda z, ids, codebooks: _residual_commitment(z, ids, codebooks, rest_after=lambda rest, codes: codes)
        ),
        "The codes are added to the rest where (2.13) takes them off.": lambda z, ids, codebooks: _residual_commitment(
            z, ids, codebooks, rest_after=torch.add
        ),
        "The *straight-through* codes are added to the rest where (2.13) takes codes off.": lambda z, ids, codebooks: (
            _residual_commitment(z, ids, codebooks, rest_after=lambda rest, codes: rest + _straight(rest, codes))
        ),
        "These are the losses of the stages one by one; they add up to one number.": _residual_losses,
        "This is a row with the loss of each stage; they add up to one number.": lambda z, ids, codebooks: torch.stack(
            _residual_losses(z, ids, codebooks)
        ),
        "No weight β is asked for here.": lambda z, ids, codebooks: 0.25 * _residual_commitment(z, ids, codebooks),
        "These are distances; a commitment has their squares.": lambda z, ids, codebooks: _residual_commitment(
            z, ids, codebooks, loss=lambda rest, codes: (rest - codes).norm(dim=-1).mean()
        ),
        "The losses of the stages add up; this is their mean.": lambda z, ids, codebooks: (
            _residual_commitment(z, ids, codebooks) / len(codebooks)
        ),
        "Within a stage, take the mean over all numbers, not the sum.": (
            lambda z, ids, codebooks: _residual_commitment(
                z, ids, codebooks, loss=lambda rest, codes: (rest - codes).square().sum()
            )
        ),
        "Within a stage, take the mean over vectors *and* features.": lambda z, ids, codebooks: _residual_commitment(
            z, ids, codebooks, loss=lambda rest, codes: (rest - codes).square().sum(-1).mean()
        ),
        "This is what all stages together leave over; each stage has a loss of its own.": (
            lambda z, ids, codebooks: F.mse_loss(z, sum(book[ids[:, i]] for i, book in enumerate(codebooks)).detach())
        ),
        "This is the loss of the first stage alone.": lambda z, ids, codebooks: _residual_commitment(
            z, ids, codebooks[:1]
        ),
    },
    gradients=True,
    given={"straight_through"},
)

# ---------------------------------------------------------------- rotation_backward


def _dot(a, b):
    return (a * b).sum(-1, keepdim=True)


def _rotation_backward(z, codes, gradient, *, r=None, stretch=None, turn=None):
    """The right answer, or one with a part exchanged."""
    z_hat, e_hat = F.normalize(z, dim=-1), F.normalize(codes, dim=-1)
    ratio = codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True)
    r = F.normalize(z_hat + e_hat, dim=-1) if r is None else r(z, codes, z_hat, e_hat)
    turned = (turn or _turn_back)(gradient, r, z_hat, e_hat)
    return (ratio if stretch is None else stretch(ratio)) * turned


def _turn_back(g, r, z_hat, e_hat):
    return g - 2 * r * _dot(r, g) + 2 * z_hat * _dot(e_hat, g)


def _rotation_mistake(**parts):
    return lambda z, codes, gradient: _rotation_backward(z, codes, gradient, **parts)


def _scaled_vectors(z, codes, gradient):
    return _rotation_backward(z, codes, gradient, turn=lambda g, r, *_: g - 2 * r * _dot(r, g) + 2 * z * _dot(codes, g))


def _rotation_along_axis_1(z, codes, gradient):
    turned = _rotation_backward(z.movedim(1, -1), codes.movedim(1, -1), gradient.movedim(1, -1))
    return turned.movedim(-1, 1)


rotation_backward = Grader(
    "rotation_backward",
    lambda z, codes, gradient: _rotation_backward(z, codes, gradient),
    {
        "five vectors": lambda: [torch.randn(5, 3), 2 * torch.randn(5, 3), torch.randn(5, 3)],
        "a quarter turn in the plane": lambda: [
            torch.tensor([[4.0, 0.0]]),
            torch.tensor([[0.0, 1.0]]),
            torch.tensor([[1.0, 3.0]]),
        ],
        "a batch of tokens": lambda: [torch.randn(2, 6, 8), torch.randn(2, 6, 8), torch.randn(2, 6, 8)],
        "vectors on their codes": lambda: [torch.ones(2, 3), torch.ones(2, 3), torch.randn(2, 3)],
    },
    {
        "This turns the gradient the way in which z was turned. Backward the matrix is transposed, so that the "
        "gradient turns from the code to z.": _rotation_mistake(
            turn=lambda g, r, z_hat, e_hat: g - 2 * r * _dot(r, g) + 2 * e_hat * _dot(z_hat, g)
        ),
        "The turn is right; the factor in front of (2.11) is missing. The gradient is stretched as well.": (
            _rotation_mistake(stretch=torch.ones_like)
        ),
        "The turn is right; the factor is upside down. Transposing a matrix turns back, but stretches as before.": (
            _rotation_mistake(stretch=torch.reciprocal)
        ),
        "This stretches without turning.": _rotation_mistake(turn=lambda g, *_: g),
        "r is a *unit* vector: scale the sum of the two directions to length 1.": _rotation_mistake(
            r=lambda z, codes, z_hat, e_hat: z_hat + e_hat
        ),
        "r is a *unit* vector; the mean of two unit vectors is shorter.": _rotation_mistake(
            r=lambda z, codes, z_hat, e_hat: (z_hat + e_hat) / 2
        ),
        "The factor in front was computed once for all vectors; each has its own lengths.": (
            lambda z, codes, gradient: (
                codes.norm() / z.norm() * _rotation_backward(z, codes, gradient, stretch=torch.ones_like)
            )
        ),
        "A product of vectors is one number for each vector: sum over the features.": _rotation_mistake(
            turn=lambda g, r, z_hat, e_hat: g - 2 * r * r * g + 2 * z_hat * e_hat * g
        ),
        "A product of vectors is one number for each vector; here one number was made for all of them.": (
            _rotation_mistake(turn=lambda g, r, z_hat, e_hat: g - 2 * r * (r * g).sum() + 2 * z_hat * (e_hat * g).sum())
        ),
        "Lengths and products run over the features, which are the last axis.": _rotation_along_axis_1,
        "Nothing is left of the gradient. That happens when the matrix is differentiated as well: it counts as a "
        "constant.": (lambda z, codes, gradient: torch.zeros_like(z)),
        "r lies halfway between the *unit* vectors of z and the code; the sum of vectors of different length leans to "
        "the longer one.": _rotation_mistake(r=lambda z, codes, *_: F.normalize(z + codes, dim=-1)),
        "The last term needs the unit vectors of z and of the code, not the vectors themselves.": _scaled_vectors,
        "The last term of the bracket is missing, so this mirrors and does not turn.": _rotation_mistake(
            turn=lambda g, r, *_: g - 2 * r * _dot(r, g)
        ),
        "The factor in front belongs to all three terms of the bracket.": lambda z, codes, gradient: (
            _rotation_backward(z, codes, gradient, stretch=torch.ones_like)
            + (codes.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True) - 1) * gradient
        ),
        "The term with r is missing in the bracket.": _rotation_mistake(
            turn=lambda g, r, z_hat, e_hat: g + 2 * z_hat * _dot(e_hat, g)
        ),
        "In the last term of the bracket the unit vector of z stands twice; that of the code is missing.": (
            _rotation_mistake(turn=lambda g, r, z_hat, e_hat: g - 2 * r * _dot(r, g) + 2 * z_hat * _dot(z_hat, g))
        ),
        "In the last term of the bracket the unit vector of the code stands twice; that of z is missing.": (
            _rotation_mistake(turn=lambda g, r, z_hat, e_hat: g - 2 * r * _dot(r, g) + 2 * e_hat * _dot(e_hat, g))
        ),
        "The turn is right; the factor in front is the ratio of the *lengths*, not of their squares.": (
            _rotation_mistake(stretch=torch.square)
        ),
        "r is the direction of the *sum* of the unit vectors, not of their difference.": _rotation_mistake(
            r=lambda z, codes, z_hat, e_hat: F.normalize(z_hat - e_hat, dim=-1)
        ),
        "A factor 2 is missing in the bracket.": _rotation_mistake(
            turn=lambda g, r, z_hat, e_hat: g - r * _dot(r, g) + z_hat * _dot(e_hat, g)
        ),
        "A sign in the bracket is turned: the product with r is taken off, the last term is added.": (
            _rotation_mistake(turn=lambda g, r, z_hat, e_hat: g + 2 * r * _dot(r, g) - 2 * z_hat * _dot(e_hat, g))
        ),
        "The gradient belongs in both products; this puts z in its place, as on the way forward.": (
            lambda z, codes, gradient: _rotation_backward(z, codes, z)
        ),
        "Both products are taken with z here; on the way back they are taken with the gradient.": (
            lambda z, codes, gradient: _rotation_backward(
                z, codes, gradient, turn=lambda g, r, z_hat, e_hat: g - 2 * r * _dot(r, z) + 2 * z_hat * _dot(e_hat, z)
            )
        ),
    },
)

# ---------------------------------------------------------------- with_fewer_codes


class _Cut(nn.Module):
    """Pictures to the pixels of their 4 × 4 patches: an encoder that needs no training."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * F.unfold(x, 4, stride=4).mT  # (B, N, 16 · C)


class _Paste(nn.Module):
    """Codes to pictures: each patch is half its own code and half the one before, with more contrast.

    So, as with a trained decoder, what comes back has other ids, and leaves [0, 1] before it is limited.
    """

    def __init__(self, grid):
        super().__init__()
        self.grid = grid

    def forward(self, codes):
        mixed = (codes + codes.roll(1, dims=1)) / 2
        return _fold(1.8 * mixed - 0.4, self.grid)


def _fold(patches, grid):
    return F.fold(patches.mT, (4 * grid[0], 4 * grid[1]), 4, stride=4)


def _fewer_case(batch, shape, num_codes, kept):
    channels, height, width = shape
    model = autoencoder.VQVAE(shape, quantize.VectorQuantizer(num_codes, 16 * channels), width=2)
    model.encoder, model.decoder = _Cut(), _Paste((height // 4, width // 4))
    model.quantizer.codebook.copy_(torch.rand(num_codes, 16 * channels))
    # Pictures near the codes, so that every code finds vectors.
    ids = torch.randint(num_codes, (batch, height * width // 16))
    pictures = _fold(model.quantizer.codebook[ids], model.decoder.grid)
    pictures = (pictures + 0.2 * torch.randn(pictures.shape)).clamp(0, 1)
    return [model.eval(), torch.randperm(num_codes), kept, pictures]


def _intact(answer, model, order, kept, pictures):
    """Calls an answer, and refuses one that leaves another model behind."""
    before = model.quantizer.codebook.clone()
    result = answer(model, order, kept, pictures)
    if not torch.equal(model.quantizer.codebook, before):
        raise AnswerError(
            "✗ with_fewer_codes: it changes the codebook of the model, and whoever uses the model next has fewer codes "
            "as well. Pick the codes out into a tensor of your own."
        )
    return result


def _fewer_ids(model, order, kept, pictures):
    chosen = order[:kept]
    return chosen[torch.cdist(model.encoder(pictures).detach(), model.quantizer.codebook[chosen]).argmin(-1)]


def _fewer(model, order, kept, pictures, *, ids=None, against=None):
    before = model.encode(pictures)
    ids = _fewer_ids(model, order, kept, pictures) if ids is None else ids
    against = pictures if against is None else against
    return (ids == before).float().mean().item(), metrics.psnr(model.decode(ids), against)


def _fewer_positions(model, order, kept, pictures):
    z = model.encoder(pictures).detach()
    ids = torch.cdist(z, model.quantizer.codebook[order[:kept]]).argmin(-1)
    return _fewer(model, order, kept, pictures, ids=ids)


def _fewer_positions_compared(model, order, kept, pictures):
    share, _ = _fewer_positions(model, order, kept, pictures)
    return share, _fewer(model, order, kept, pictures)[1]


def _fewer_positions_decoded(model, order, kept, pictures):
    _, quality = _fewer_positions(model, order, kept, pictures)
    return _fewer(model, order, kept, pictures)[0], quality


def _fewer_code_to_code(model, order, kept, pictures):
    codebook, chosen = model.quantizer.codebook, order[:kept]
    replacement = chosen[torch.cdist(codebook, codebook[chosen]).argmin(1)]  # (K,)
    return _fewer(model, order, kept, pictures, ids=replacement[model.encode(pictures)])


def _fewer_one_for_all(model, order, kept, pictures):
    before = model.encode(pictures)
    ids = torch.where(torch.isin(before, order[:kept]), before, order[0])
    return _fewer(model, order, kept, pictures, ids=ids)


def _fewer_share_of_codes(model, order, kept, pictures):
    return kept / len(order), _fewer(model, order, kept, pictures)[1]


def _fewer_share_changed(model, order, kept, pictures):
    share, quality = _fewer(model, order, kept, pictures)
    return 1 - share, quality


def _fewer_against_decoded(model, order, kept, pictures):
    return _fewer(model, order, kept, pictures, against=model.decode(model.encode(pictures)))


def _fewer_count(model, order, kept, pictures):
    share, quality = _fewer(model, order, kept, pictures)
    return share * model.encode(pictures).numel(), quality


def _fewer_percent(model, order, kept, pictures):
    share, quality = _fewer(model, order, kept, pictures)
    return 100 * share, quality


def _fewer_natural_logarithm(model, order, kept, pictures):
    share, quality = _fewer(model, order, kept, pictures)
    return share, quality * math.log(10)


def _fewer_without_limits(model, order, kept, pictures):
    ids = _fewer_ids(model, order, kept, pictures)
    decoded = model.decoder(model.quantizer.codebook[ids]).detach()
    return _fewer(model, order, kept, pictures)[0], metrics.psnr(decoded, pictures)


def _fewer_share_of_what_comes_back(model, order, kept, pictures):
    decoded = model.decode(_fewer_ids(model, order, kept, pictures))
    return (model.encode(decoded) == model.encode(pictures)).float().mean(), metrics.psnr(decoded, pictures)


def _fewer_by_rank(model, order, kept, pictures):
    return _fewer(model, order.argsort(), kept, pictures)


def _fewer_mse(model, order, kept, pictures):
    share, quality = _fewer(model, order, kept, pictures)
    return share, 10 ** (-quality / 10)


def _fewer_psnr_by_picture(model, order, kept, pictures):
    each = [_fewer(model, order, kept, picture[None])[1] for picture in pictures]
    return _fewer(model, order, kept, pictures)[0], sum(each) / len(each)


with_fewer_codes = Grader(
    "with_fewer_codes",
    _fewer,
    {
        "5 of 12 codes": lambda: _fewer_case(7, (1, 16, 12), 12, 5),
        "colours, 10 of 20 codes": lambda: _fewer_case(4, (3, 8, 16), 20, 10),
        "one code": lambda: _fewer_case(3, (1, 8, 8), 6, 1),
        "all codes": lambda: _fewer_case(4, (1, 12, 8), 9, 9),
    },
    {
        "These ids are positions among the codes that are kept. Both the decoder and the comparison need the ids of "
        "the whole codebook: look them up in order.": _fewer_positions,
        "The PSNR is right. The share compares positions among the codes that are kept with ids of the whole "
        "codebook.": _fewer_positions_compared,
        "The share is right. The decoder got positions among the codes that are kept; it needs ids of the whole "
        "codebook.": _fewer_positions_decoded,
        "This keeps the codes 0, 1, 2, …; the first ones of *order* were asked for.": (
            lambda model, order, kept, pictures: _fewer(model, torch.arange(len(order)), kept, pictures)
        ),
        "This keeps the last codes of order, not the first ones.": lambda model, order, kept, pictures: _fewer(
            model, order.flip(0), kept, pictures
        ),
        "The codes that stay are chosen as if order held a rank for each id; it holds ids, the first ones to stay.": (
            _fewer_by_rank
        ),
        "This drops the codes that were to be kept.": lambda model, order, kept, pictures: _fewer(
            model, order.roll(-kept), len(order) - kept, pictures
        ),
        "All tokens of dropped codes got one and the same code; each takes the kept code nearest to its vector.": (
            _fewer_one_for_all
        ),
        "A dropped code was replaced by the kept code nearest to *it*. Let each *vector* choose anew; it may lie "
        "elsewhere in its cell.": _fewer_code_to_code,
        "The share is right. The PSNR is that against the pictures decoded with all codes; compare with the pictures "
        "themselves.": _fewer_against_decoded,
        "The PSNR is right. The share is that of the codes; asked is the share of the *tokens*.": (
            _fewer_share_of_codes
        ),
        "The PSNR is right. The share is that of the tokens which change; asked is the share that stays.": (
            _fewer_share_changed
        ),
        "The PSNR is right. The share is in percent; it must lie between 0 and 1.": _fewer_percent,
        "The PSNR is right. The share is taken of the ids that the decoded pictures have; asked are the ids that the "
        "vectors of the *original* pictures take.": _fewer_share_of_what_comes_back,
        "The PSNR is right. This counts tokens; a share lies between 0 and 1.": _fewer_count,
        "The share is right. This is the mean squared error; psnr turns it into decibels.": _fewer_mse,
        "The share is right. Decibels need the logarithm to base 10.": _fewer_natural_logarithm,
        "The share is right. The decoded pictures leave [0, 1] here; model.decode limits them.": _fewer_without_limits,
        "The share is right. This is the mean of each picture's own PSNR; asked is that of all pictures together.": (
            _fewer_psnr_by_picture
        ),
        "The order is: first the share, then the PSNR.": lambda model, order, kept, pictures: _fewer(
            model, order, kept, pictures
        )[::-1],
    },
    given={"__init__", "encode", "decode", "quantize", "forward", "lookup", "nearest_code", "psnr", "usage"},
    use=_intact,
)
