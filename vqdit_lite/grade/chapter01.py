"""Graders of chapter 01, vector quantization."""

import math

import torch
import torch.nn.functional as F

from vqdit_lite import metrics, quantize
from vqdit_lite.grade.grader import Grader

# ---------------------------------------------------------------- nearest_code

nearest_code = Grader(
    "nearest_code",
    lambda z, codebook: torch.cdist(z.double(), codebook.double()).argmin(-1),
    {
        "five codes": lambda: [torch.randn(40, 3), torch.randn(5, 3)],
        "codes of very different length": lambda: [
            torch.randn(50, 4),
            torch.randn(9, 4) * torch.arange(1, 10)[:, None],
        ],
        "more codes than vectors": lambda: [torch.randn(3, 2), torch.randn(20, 2)],
        "one code only": lambda: [torch.randn(6, 2), torch.randn(1, 2)],
    },
    {
        "These are the farthest codes. The smallest distance wins, or the largest bracket of (1.2).": (
            lambda z, codebook: torch.cdist(z, codebook).argmax(1)
        ),
        "This compares products alone; (1.2) also takes off half the squared length of each code.": (
            lambda z, codebook: (z @ codebook.T).argmax(1)
        ),
        "The squared length of a code is taken off whole: (1.2) takes off half of it.": (
            lambda z, codebook: (z @ codebook.T - codebook.square().sum(1)).argmax(1)
        ),
        "This looks for the nearest vector of each code. It is the other way round: one id for each vector.": (
            lambda z, codebook: torch.cdist(z, codebook).argmin(0)
        ),
        "These are distances; the id is the *position* of the smallest.": (
            lambda z, codebook: torch.cdist(z, codebook).amin(1)
        ),
        "These are the codes themselves; their ids are asked for.": (
            lambda z, codebook: codebook[torch.cdist(z, codebook).argmin(1)]
        ),
    },
)

# ---------------------------------------------------------------- distortion_bound

distortion_bound = Grader(
    "distortion_bound",
    lambda var, num_codes, dim: var * 2 ** (-2 * math.log2(num_codes) / dim),
    {
        "100 codes for seven numbers": lambda: [3.0, 100, 7],
        "20 codes for three numbers": lambda: [0.5, 20, 3],
        "256 codes for eight numbers": lambda: [4.0, 256, 8],
        "one code": lambda: [2.5, 1, 3],
    },
    {
        "The rate counts bits, so it needs log2, not the natural logarithm.": (
            lambda var, num_codes, dim: var * 2 ** (-2 * math.log(num_codes) / dim)
        ),
        "All D features share the bits of one id: divide by D (1.4).": (
            lambda var, num_codes, dim: var * 2 ** (-2 * math.log2(num_codes))
        ),
        "One bit divides the squared error by four, not by two: the exponent is -2R (1.5).": (
            lambda var, num_codes, dim: var * 2 ** (-math.log2(num_codes) / dim)
        ),
        "The error shrinks with the rate: the exponent is negative.": (
            lambda var, num_codes, dim: var * 2 ** (2 * math.log2(num_codes) / dim)
        ),
        "This starts from the standard deviation; (1.5) starts from the variance.": (
            lambda var, num_codes, dim: math.sqrt(var) * 2 ** (-2 * math.log2(num_codes) / dim)
        ),
        "This is the rate R of (1.4); put it into (1.5).": lambda var, num_codes, dim: math.log2(num_codes) / dim,
        "The variance is missing: (1.5) begins with it.": lambda var, num_codes, dim: (
            2 ** (-2 * math.log2(num_codes) / dim)
        ),
        "The root of the bound is a distance; the squared error is asked for.": lambda var, num_codes, dim: math.sqrt(
            var * 2 ** (-2 * math.log2(num_codes) / dim)
        ),
        "The rate need not be a whole number: 100 codes carry 6.64 bits, neither 6 nor 7.": (
            lambda var, num_codes, dim: var * 2 ** (-2 * math.ceil(math.log2(num_codes)) / dim)
        ),
        "The rate need not be a whole number; here it was rounded down.": (
            lambda var, num_codes, dim: var * 2 ** (-2 * math.floor(math.log2(num_codes)) / dim)
        ),
    },
)

# ---------------------------------------------------------------- straight_through

straight_through = Grader(
    "straight_through",
    lambda z, codes: z + (codes - z).detach(),
    {
        "two vectors": lambda: [torch.randn(2, 3), torch.randn(2, 3)],
        "a batch of tokens": lambda: [torch.randn(4, 5, 2), torch.randn(4, 5, 2)],
        "z on its codes": lambda: [torch.ones(3, 2), torch.ones(3, 2)],
    },
    {
        "The value is right, but no gradient arrives at z. (1.6) adds to z itself, and sg stands around the whole "
        "bracket; z inside and outside of it must not cancel.": lambda z, codes: codes.detach(),
        "All of the gradient goes to the codes, and none to z: without sg, z cancels in (1.6).": (
            lambda z, codes: z + (codes - z)
        ),
        "z and codes have changed places: the value must be that of the codes, the gradient that of z.": (
            lambda z, codes: codes + (z - codes).detach()
        ),
        "The step goes the wrong way: from z it must lead to the codes.": lambda z, codes: z + (z - codes).detach(),
        "sg stands on z alone, so the codes get a gradient as well: it belongs around the whole bracket.": (
            lambda z, codes: z + codes - z.detach()
        ),
        "sg stands on the wrong z: what is added to z must carry no gradient.": lambda z, codes: z.detach() + codes - z,
        "These are the z that came in: the value must be that of the codes.": lambda z, codes: z,
    },
    gradients=True,
)

# ---------------------------------------------------------------- vq_loss


def _vq_loss(z, codes, beta):
    return F.mse_loss(codes, z.detach()) + beta * F.mse_loss(z, codes.detach())


vq_loss = Grader(
    "vq_loss",
    _vq_loss,
    {
        "β = 0.25": lambda: [torch.randn(6, 3), torch.randn(6, 3), 0.25],
        "β = 1, a batch of tokens": lambda: [torch.randn(4, 5, 2), torch.randn(4, 5, 2), 1.0],
        "β = 0": lambda: [torch.randn(3, 2), torch.randn(3, 2), 0.0],
        "β = 2": lambda: [torch.randn(3, 2), torch.randn(3, 2), 2.0],
    },
    {
        "β stands on the codebook term. It belongs to the commitment: the encoder gets the gentler push.": (
            lambda z, codes, beta: beta * F.mse_loss(codes, z.detach()) + F.mse_loss(z, codes.detach())
        ),
        "The number is right, but without a stop gradient each term pushes both z and the codes.": (
            lambda z, codes, beta: (1 + beta) * F.mse_loss(z, codes)
        ),
        "One stop gradient is missing: the codebook term pushes z as well.": (
            lambda z, codes, beta: F.mse_loss(codes, z) + beta * F.mse_loss(z, codes.detach())
        ),
        "One stop gradient is missing: the commitment term pushes the codes as well.": (
            lambda z, codes, beta: F.mse_loss(codes, z.detach()) + beta * F.mse_loss(z, codes)
        ),
        "β weighs both terms here. It belongs to one of them.": lambda z, codes, beta: beta * _vq_loss(z, codes, 1.0),
        "β is missing: both terms have the same weight here.": lambda z, codes, beta: _vq_loss(z, codes, 1.0),
        "This sums over the features of a vector; the course takes the mean over these, too.": (
            lambda z, codes, beta: z.shape[-1] * _vq_loss(z, codes, beta)
        ),
        "This is a sum over the features; (1.7) divides by D, and the course takes the mean over vectors as well.": (
            lambda z, codes, beta: (codes - z.detach()).square().sum() + beta * (z - codes.detach()).square().sum()
        ),
        "The codebook term is missing: nothing moves the codes.": (
            lambda z, codes, beta: beta * F.mse_loss(z, codes.detach())
        ),
        "The commitment term is missing: nothing keeps z near its codes.": (
            lambda z, codes, beta: F.mse_loss(codes, z.detach())
        ),
        "These are distances; (1.7) has their squares.": (
            lambda z, codes, beta: F.l1_loss(codes, z.detach()) + beta * F.l1_loss(z, codes.detach())
        ),
    },
    gradients=True,
)

# ---------------------------------------------------------------- ema_update


def _batch_statistics(z, ids, num_codes):
    counts = torch.bincount(ids, minlength=num_codes).float()
    return counts, z.new_zeros(num_codes, z.shape[1]).index_add(0, ids, z)


def _ema_update(counts, sums, z, ids, decay):
    n, s = _batch_statistics(z, ids, len(counts))
    return decay * counts + (1 - decay) * n, decay * sums + (1 - decay) * s


def _ema_swapped(counts, sums, z, ids, decay):
    return _ema_update(counts, sums, z, ids, 1 - decay)


def _ema_mean_for_sum(counts, sums, z, ids, decay):
    n, s = _batch_statistics(z, ids, len(counts))
    return decay * counts + (1 - decay) * n, decay * sums + (1 - decay) * s / n.clamp(min=1)[:, None]


def _ema_added(counts, sums, z, ids, decay):
    n, s = _batch_statistics(z, ids, len(counts))
    return decay * counts + n, decay * sums + s


def _ema_counts_right_sums_lost(counts, sums, z, ids, decay):
    n, _ = _batch_statistics(z, ids, len(counts))
    return decay * counts + (1 - decay) * n, _ema_one_a_code(counts, sums, z, ids, decay)[1]


def _ema_shares(counts, sums, z, ids, decay):
    n, s = _batch_statistics(z, ids, len(counts))
    return decay * counts + (1 - decay) * n / len(z), decay * sums + (1 - decay) * s / len(z)


def _ema_chosen_only(counts, sums, z, ids, decay):
    n, _ = _batch_statistics(z, ids, len(counts))
    new_counts, new_sums = _ema_update(counts, sums, z, ids, decay)
    return torch.where(n > 0, new_counts, counts), torch.where(n[:, None] > 0, new_sums, sums)


def _ema_one_a_code(counts, sums, z, ids, decay):
    s = torch.zeros_like(sums)
    s[ids] = z
    n = torch.zeros_like(counts)
    n[ids] = 1
    return decay * counts + (1 - decay) * n, decay * sums + (1 - decay) * s


ema_update = Grader(
    "ema_update",
    _ema_update,
    {
        "one code is not chosen": lambda: [
            torch.tensor([4.0, 2.0, 1.0]),
            torch.randn(3, 2),
            torch.randn(5, 2),
            torch.tensor([0, 1, 0, 0, 1]),
            0.9,
        ],
        "many vectors": lambda: [
            torch.rand(7) + 1,
            torch.randn(7, 4),
            torch.randn(60, 4),
            torch.randint(7, (60,)),
            0.99,
        ],
        "a decay of 0 forgets the past": lambda: [
            torch.ones(2),
            torch.randn(2, 3),
            torch.randn(4, 3),
            torch.tensor([0, 1, 1, 1]),
            0.0,
        ],
    },
    {
        "Old and new are swapped: the decay γ belongs to what was there before, 1 - γ to the batch.": _ema_swapped,
        "The running *sum* takes the sum of a code's vectors; dividing by the count comes later, with e = m / N.": (
            _ema_mean_for_sum
        ),
        "The batch comes in whole: (1.8) multiplies it by 1 - γ.": _ema_added,
        "A code that is not chosen must decay, too: its n is 0, not missing.": _ema_chosen_only,
        "Several vectors can choose one code. Writing to x[ids], also with +=, keeps only one of them; all must be "
        "added.": _ema_one_a_code,
        "The counts are right. In the sums, several vectors can choose one code: writing to x[ids], also with +=, "
        "keeps only one of them; all must be added.": _ema_counts_right_sums_lost,
        "These are shares of the batch; (1.8) takes numbers and sums.": _ema_shares,
        "This is the batch alone: nothing of the running counts and sums is in it.": (
            lambda counts, sums, z, ids, decay: _batch_statistics(z, ids, len(counts))
        ),
        "Counts come first, then sums.": lambda *arguments: _ema_update(*arguments)[::-1],
    },
)

# ---------------------------------------------------------------- revive


def _revive(codebook, counts, sums, fresh, fair, share):
    dead = counts < share * fair
    return (
        torch.where(dead[:, None], fresh, codebook),
        torch.where(dead, fair, counts),
        torch.where(dead[:, None], fresh * fair, sums),
    )


def _revive_code_only(codebook, counts, sums, fresh, fair, share):
    return _revive(codebook, counts, sums, fresh, fair, share)[0], counts.clone(), sums.clone()


def _revive_old_sums(codebook, counts, sums, fresh, fair, share):
    return (*_revive(codebook, counts, sums, fresh, fair, share)[:2], sums.clone())


def _revive_old_counts(codebook, counts, sums, fresh, fair, share):
    codes, _, sums = _revive(codebook, counts, sums, fresh, fair, share)
    return codes, counts.clone(), sums


def _revive_plain_sums(codebook, counts, sums, fresh, fair, share):
    dead = counts < share * fair
    return (*_revive(codebook, counts, sums, fresh, fair, share)[:2], torch.where(dead[:, None], fresh, sums))


def _revive_absolute(codebook, counts, sums, fresh, fair, share):
    dead = counts < share
    codes, counts, sums = codebook.clone(), counts.clone(), sums.clone()
    codes[dead], counts[dead], sums[dead] = fresh[dead], fair, fresh[dead] * fair
    return codes, counts, sums


def _revive_living(codebook, counts, sums, fresh, fair, share):
    dead = counts >= share * fair
    codes, counts, sums = codebook.clone(), counts.clone(), sums.clone()
    codes[dead], counts[dead], sums[dead] = fresh[dead], fair, fresh[dead] * fair
    return codes, counts, sums


def _revive_unchanged(codebook, counts, sums, fresh, fair, share):
    return torch.where((counts < share)[:, None], fresh, codebook), counts.clone(), sums.clone()


def _revival(counts, fair, share, dim=2):
    shape = len(counts), dim
    return [torch.randn(*shape), torch.tensor(counts), torch.randn(*shape), torch.randn(*shape), fair, share]


revive = Grader(
    "revive",
    _revive,
    {
        "two of four are dead": lambda: _revival([5.0, 0.3, 8.0, 0.0], 8.0, 0.1),
        "one lies exactly at the border, so it lives": lambda: _revival([1.0, 0.75, 7.0], 8.0, 0.125, dim=3),
        "none is dead": lambda: _revival([5.0, 6.0, 7.0], 6.0, 0.1, dim=3),
        "all are dead": lambda: _revival([0.1, 0.2], 64.0, 0.1),
    },
    {
        "This is the function of the text: both mistakes are still in it.": _revive_unchanged,
        "Only the code has moved. Its running sum and count still point to the old place, and the next update "
        "carries it straight back.": _revive_code_only,
        "The sum of a dead code is the old one: the next e = m / N throws the code back to where it was.": (
            _revive_old_sums
        ),
        "The count of a dead code is the old one: it is dead again at once.": _revive_old_counts,
        "The sum must fit the count: m / N has to give the fresh vector, so m is the vector times the fair share.": (
            _revive_plain_sums
        ),
        "A code is dead below a *share* of its fair part: compare with share · fair.": _revive_absolute,
        "A code that lies exactly at share · fair is not below it, so it lives.": (
            lambda codebook, counts, sums, fresh, fair, share: _revive(
                codebook, counts.where(counts != share * fair, 0), sums, fresh, fair, share
            )
        ),
        "The sum is the fresh vector times the *old* count: with the new count, m / N is another vector.": (
            lambda codebook, counts, sums, fresh, fair, share: (
                *_revive(codebook, counts, sums, fresh, fair, share)[:2],
                torch.where((counts < share * fair)[:, None], fresh * counts[:, None], sums),
            )
        ),
        "This restarts the living codes and leaves the dead ones.": _revive_living,
    },
)

# ---------------------------------------------------------------- held_out_gap


def _psnr_of(codebook, patches):
    ids = quantize.nearest_code(patches, codebook)
    return metrics.psnr(codebook[ids], patches)


def _held_out_gap(patches, num_codes, generator):
    train, held_out = patches.chunk(2)
    codebook = quantize.kmeans(train, num_codes, generator)
    return _psnr_of(codebook, train), _psnr_of(codebook, held_out)


def _gap_all(patches, num_codes, generator):
    codebook = quantize.kmeans(patches, num_codes, generator)
    return tuple(_psnr_of(codebook, half) for half in patches.chunk(2))


def _gap_each(patches, num_codes, generator):
    return tuple(_psnr_of(quantize.kmeans(half, num_codes, generator), half) for half in patches.chunk(2))


def _gap_same(patches, num_codes, generator):
    value, _ = _held_out_gap(patches, num_codes, generator)
    return value, value


def _gap_mse(patches, num_codes, generator):
    train, held_out = patches.chunk(2)
    codebook = quantize.kmeans(train, num_codes, generator)
    return tuple((codebook[quantize.nearest_code(x, codebook)] - x).square().mean().item() for x in (train, held_out))


def _gap_with_all(patches, num_codes, generator):
    codebook = quantize.kmeans(patches.chunk(2)[0], num_codes, generator)
    return _psnr_of(codebook, patches.chunk(2)[0]), _psnr_of(codebook, patches)


def _gap_one_by_one(patches, num_codes, generator):
    train, held_out = patches.chunk(2)
    codebook = quantize.kmeans(train, num_codes, generator)
    errors = [(codebook[quantize.nearest_code(x, codebook)] - x).square().mean(1) for x in (train, held_out)]
    return tuple((-10 * error.log10()).mean().item() for error in errors)


def _gap_case(count, dim, num_codes):
    return [torch.rand(count, dim), num_codes, torch.Generator().manual_seed(0)]


held_out_gap = Grader(
    "held_out_gap",
    _held_out_gap,
    {
        "200 patches, 16 codes": lambda: _gap_case(200, 12, 16),
        "as many codes as patches to fit": lambda: _gap_case(64, 4, 31),
    },
    {
        "The codebook was fitted to all patches, so nothing is held out.": _gap_all,
        "Each half got a codebook of its own; the second half must be read with the codebook of the first.": _gap_each,
        "Both numbers come from the half that the codebook was fitted to.": _gap_same,
        "The order is: first the half that was fitted to, then the one held out.": (
            lambda patches, num_codes, generator: _held_out_gap(patches, num_codes, generator)[::-1]
        ),
        "These are mean squared errors; psnr turns them into decibels.": _gap_mse,
        "The codebook was fitted to the second half; the first is to be fitted to.": (
            lambda patches, num_codes, generator: _held_out_gap(
                patches.roll(len(patches) // 2, 0), num_codes, generator
            )
        ),
        "The second number is that of all patches; only the second half was held out.": _gap_with_all,
        "These are means of each patch's own PSNR; take the PSNR of all patches of a half together.": _gap_one_by_one,
        "Another codebook than the one that the handed-in generator leads to: fit once, with that generator.": (
            lambda patches, num_codes, generator: _held_out_gap(patches, num_codes, torch.Generator().manual_seed(1))
        ),
    },
    given={"kmeans", "nearest_code", "psnr"},
)
