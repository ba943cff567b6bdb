"""Graders of chapter 07, latent diffusion."""

import math

import torch

from vqdit_lite.grade.grader import Grader

# ---------------------------------------------------------------- standardise


def _used(codebook, counts):
    share = (counts / counts.sum())[:, None]
    mean = (share * codebook).sum(0)
    return mean, (share * (codebook - mean).square()).sum(0)


def _standardise(e, codebook, counts):
    mean, var = _used(codebook, counts)
    return (e - mean) / var.sqrt()


def _standardise_by_variance(e, codebook, counts):
    mean, var = _used(codebook, counts)
    return (e - mean) / var


def _standardise_all_features(e, codebook, counts):
    share = (counts / counts.sum())[:, None]
    mean = (share * codebook).sum(0).mean()
    return (e - mean) / (share * (codebook - mean).square()).sum(0).mean().sqrt()


def _standardise_without_centre(e, codebook, counts):
    share = (counts / counts.sum())[:, None]
    return (e - (share * codebook).sum(0)) / (share * codebook.square()).sum(0).sqrt()


def _standardise_not_shifted(e, codebook, counts):
    return e / _used(codebook, counts)[1].sqrt()


def _standardise_counts_as_they_are(e, codebook, counts):
    weights = counts[:, None]
    mean = (weights * codebook).sum(0)
    return (e - mean) / (weights * (codebook - mean).square()).sum(0).sqrt()


def _standardise_with_one_less(e, codebook, counts):
    mean, var = _used(codebook, counts)
    return (e - mean) / (var * counts.sum() / (counts.sum() - 1)).sqrt()


def _standardise_with_mean_over_codes(e, codebook, counts):
    share = (counts / counts.sum())[:, None]
    mean = (share * codebook).mean(0)
    return (e - mean) / (share * (codebook - mean).square()).mean(0).sqrt()


def _standardise_with_share_squared(e, codebook, counts):
    mean, _ = _used(codebook, counts)
    share = (counts / counts.sum())[:, None]
    return (e - mean) / (share * (codebook - mean)).square().sum(0).sqrt()


def _standardise_shift_last(e, codebook, counts):
    mean, var = _used(codebook, counts)
    return e / var.sqrt() - mean


def _standardise_with_plain_distances(e, codebook, counts):
    mean, _ = _used(codebook, counts)
    return (e - mean) / (codebook - mean).square().mean(0).sqrt()


def _standardise_around_the_plain_mean(e, codebook, counts):
    mean, share = codebook.mean(0), (counts / counts.sum())[:, None]
    return (e - mean) / (share * (codebook - mean).square()).sum(0).sqrt()


def _standardise_back(e, codebook, counts):
    mean, var = _used(codebook, counts)
    return e * var.sqrt() + mean


def _coded(batch, tokens, dim, counts):
    """Codes of pictures, a codebook with features of different spread, and counts that do not fit these pictures."""
    codebook = torch.randn(len(counts), dim) * torch.linspace(1, 5, dim) + torch.linspace(-2, 5, dim)
    ids = torch.randint(len(counts), (batch, tokens))
    return [codebook[ids], codebook, torch.tensor(counts)]


standardise = Grader(
    "standardise",
    _standardise,
    {
        "five codes, used unequally": lambda: _coded(3, 6, 4, [50.5, 3.6, 20.0, 1.4, 7.8]),
        "codes that nobody uses": lambda: _coded(2, 9, 3, [0.0, 12.5, 0.0, 4.0, 30.25, 8.0, 0.0]),
        "one picture of one token": lambda: _coded(1, 1, 5, [2.0, 5.0, 3.0, 1.0]),
        "three codes, two features": lambda: _coded(4, 5, 2, [700.0, 20.0, 90.0]),
    },
    {
        "This divides by the variance. Divide by the standard deviation: only then is the variance of the result 1.": (
            _standardise_by_variance
        ),
        "Each code counts once here, used or not. In (7.1) a code counts as often as it occurs.": (
            lambda e, codebook, counts: (e - codebook.mean(0)) / codebook.std(0, correction=0)
        ),
        "Each code counts once here, used or not (and divides by K - 1). In (7.1) a code counts as often as it "
        "occurs.": lambda e, codebook, counts: (e - codebook.mean(0)) / codebook.std(0),
        "This takes the statistics of each picture alone. Then pictures lose what tells them apart, and nothing is "
        "left with which to undo it after sampling.": (
            lambda e, codebook, counts: (
                (e - e.mean(1, keepdim=True)) / e.std(1, keepdim=True, correction=int(e.shape[1] > 1))
            )
        ),
        "These are statistics of this one batch: the next would be scaled otherwise. Take those of the codebook.": (
            lambda e, codebook, counts: (e - e.mean((0, 1))) / e.std((0, 1), correction=0)
        ),
        "These are statistics of this one batch (by one less than its vectors): the next would be scaled otherwise. "
        "Take those of the codebook.": (
            lambda e, codebook, counts: (e - e.mean((0, 1))) / e.std((0, 1), correction=int(e.numel() > e.shape[-1]))
        ),
        "μ counts each code as often as it occurs, but σ counts each once.": (
            lambda e, codebook, counts: (e - _used(codebook, counts)[0]) / codebook.std(0)
        ),
        "μ counts each code as often as it occurs, but σ counts each once (and divides by K).": (
            lambda e, codebook, counts: (e - _used(codebook, counts)[0]) / codebook.std(0, correction=0)
        ),
        "μ counts each code as often as it occurs, but the squared distances from it count each once.": (
            _standardise_with_plain_distances
        ),
        "σ counts each code as often as it occurs, but μ counts each once.": _standardise_around_the_plain_mean,
        "The counts are cut to whole numbers here. Weigh with them as they are: only their proportions matter.": (
            lambda e, codebook, counts: _standardise(e, codebook, counts.floor())
        ),
        "The counts are rounded to whole numbers here. Weigh with them as they are: only their proportions matter.": (
            lambda e, codebook, counts: _standardise(e, codebook, counts.round())
        ),
        "Shares sum to 1 already, so share times code is summed over the codes. Here it is divided by K as well.": (
            _standardise_with_mean_over_codes
        ),
        "The shares are squared together with the distances. They weigh the squares, so they stay outside.": (
            _standardise_with_share_squared
        ),
        "Shift first, then scale: here μ is taken off after the division.": _standardise_shift_last,
        "This is one mean and one deviation for all numbers. Each feature has its own, so μ and σ are (D,).": (
            _standardise_all_features
        ),
        "This is one mean and one deviation for all numbers. Each feature has its own, and a code counts as often as "
        "it occurs.": lambda e, codebook, counts: (e - codebook.mean()) / codebook.std(),
        "The deviation is that of the codes from their mean: take μ off before you square.": (
            _standardise_without_centre
        ),
        "The codes are scaled, but not shifted: the mean of the result must be 0.": _standardise_not_shifted,
        "Counts weigh as they are here. Divide them by their total first: shares sum to 1.": (
            _standardise_counts_as_they_are
        ),
        "The variance is the mean of the squared distances, weighted by shares that sum to 1. Nothing is taken off the "
        "total: counts are running numbers, of which only the proportions matter.": _standardise_with_one_less,
        "This scales each code by itself, over its features. Each feature is to be scaled by itself, over the codes.": (
            lambda e, codebook, counts: torch.nn.functional.layer_norm(e, e.shape[-1:])
        ),
        "This is the way back, from z to e.": _standardise_back,
        "The codes are shifted, but not scaled.": lambda e, codebook, counts: e - _used(codebook, counts)[0],
    },
)

# ---------------------------------------------------------------- nearest_id


def _ids_near(x, codebook):
    return torch.cdist(x.double(), codebook.double()).argmin(-1)


def _sampled(batch, tokens, dim, num_codes):
    """Standardised codes with an error, their codebook, and mean and deviation of its features."""
    mean, std = torch.linspace(1, -3, dim), torch.linspace(4, 0.2, dim)
    codebook = torch.randn(num_codes, dim) * std + mean
    ids = torch.randint(num_codes, (batch, tokens))
    z = (codebook[ids] - mean) / std + 0.7 * torch.randn(batch, tokens, dim)
    return [z, codebook, mean, std]


nearest_id = Grader(
    "nearest_id",
    lambda z, codebook, mean, std: _ids_near(z * std + mean, codebook),
    {
        "three pictures, 20 codes": lambda: _sampled(3, 30, 4, 20),
        "more codes, two features": lambda: _sampled(2, 50, 2, 64),
        "one picture of one token": lambda: _sampled(1, 1, 3, 7),
        "one code only": lambda: _sampled(2, 5, 3, 1),
    },
    {
        "z is still standardised and the codes are not: undo (7.1) before you compare.": (
            lambda z, codebook, mean, std: _ids_near(z, codebook)
        ),
        "This compares in the standardised space, where all features weigh alike. The quantizer compares the codes "
        "as they are, where a feature of wide spread weighs more. So undo (7.1) first.": (
            lambda z, codebook, mean, std: _ids_near(z, (codebook - mean) / std)
        ),
        "The scale is undone, but the shift is not: μ is missing.": (
            lambda z, codebook, mean, std: _ids_near(z * std, codebook)
        ),
        "The shift is undone, but the scale is not: σ is missing.": (
            lambda z, codebook, mean, std: _ids_near(z + mean, codebook)
        ),
        "Undo in the reverse order. (7.1) shifts, then scales, so the way back scales, then shifts.": (
            lambda z, codebook, mean, std: _ids_near((z + mean) * std, codebook)
        ),
        "This standardises once more. The way back turns (7.1) round.": (
            lambda z, codebook, mean, std: _ids_near((z - mean) / std, codebook)
        ),
        "The mean was taken off in (7.1), so the way back adds it.": (
            lambda z, codebook, mean, std: _ids_near(z * std - mean, codebook)
        ),
        "This divides by σ once more. (7.1) divided, so the way back multiplies.": (
            lambda z, codebook, mean, std: _ids_near(z / std + mean, codebook)
        ),
        "This multiplies by the variance; (7.1) divided by the standard deviation.": (
            lambda z, codebook, mean, std: _ids_near(z * std.square() + mean, codebook)
        ),
        "This multiplies by the root of σ. σ is a standard deviation already.": (
            lambda z, codebook, mean, std: _ids_near(z * std.sqrt() + mean, codebook)
        ),
        "These are the farthest codes: the smallest distance wins.": (
            lambda z, codebook, mean, std: torch.cdist(z * std + mean, codebook).argmax(-1)
        ),
        "These codes have the largest product with the vectors. A long code has large products without being near: "
        "compare distances.": lambda z, codebook, mean, std: ((z * std + mean) @ codebook.T).argmax(-1),
        "This compares directions only, as if all codes were equally long: compare distances.": (
            lambda z, codebook, mean, std: torch.nn.functional.cosine_similarity(
                (z * std + mean)[:, :, None], codebook, dim=-1
            ).argmax(-1)
        ),
        "Ids are counted from 0; here the first code has the id 1.": (
            lambda z, codebook, mean, std: _ids_near(z * std + mean, codebook) + 1
        ),
        "These are the distances to the nearest codes; the ids of these codes are asked for.": (
            lambda z, codebook, mean, std: torch.cdist(z * std + mean, codebook).amin(-1)
        ),
        "These are the codes themselves; their ids are asked for.": (
            lambda z, codebook, mean, std: codebook[_ids_near(z * std + mean, codebook)]
        ),
        "These are the vectors before they are snapped to codes; the ids of the codes are asked for.": (
            lambda z, codebook, mean, std: z * std + mean
        ),
    },
    given={"nearest_code"},
)

# ---------------------------------------------------------------- multiply_adds


def _cost(tokens, depth, dim):
    return depth * tokens * (12 * dim**2 + 2 * tokens * dim)


def _tokens(height, width, group):
    return (height // 4 // group) * (width // 4 // group)


multiply_adds = Grader(
    "multiply_adds",
    lambda height, width, group, depth, dim: _cost(_tokens(height, width, group), depth, dim),
    {
        "nine codes a token": lambda: [24, 36, 3, 5, 128],
        "four codes a token": lambda: [48, 24, 2, 3, 64],
        "a token for each code": lambda: [32, 64, 1, 6, 96],
        "64 codes a token": lambda: [256, 128, 8, 12, 384],
        "one token": lambda: [16, 16, 4, 2, 64],
    },
    {
        "These tokens are groups of pixels. The encoder comes first: it makes one code of 4 × 4 pixels.": (
            lambda height, width, group, depth, dim: _cost(height * width // group**2, depth, dim)
        ),
        "This gives each code a token of its own; group × group codes share one.": (
            lambda height, width, group, depth, dim: _cost(_tokens(height, width, 1), depth, dim)
        ),
        "A token joins group codes in height and group in width, so there are group² times fewer, not group times.": (
            lambda height, width, group, depth, dim: _cost(height * width / 16 / group, depth, dim)
        ),
        "A code stands for 4 × 4 pixels: there are 16 times fewer codes than pixels, not 4 times.": (
            lambda height, width, group, depth, dim: _cost(height * width / 4 / group**2, depth, dim)
        ),
        "This takes the picture for a square with its height as side; N is rows times columns.": (
            lambda height, width, group, depth, dim: _cost(_tokens(height, height, group), depth, dim)
        ),
        "This takes the picture for a square with its width as side; N is rows times columns.": (
            lambda height, width, group, depth, dim: _cost(_tokens(width, width, group), depth, dim)
        ),
        "These are rows plus columns; N is rows times columns.": (
            lambda height, width, group, depth, dim: _cost(height // 4 // group + width // 4 // group, depth, dim)
        ),
        "This joins 2 × 2 codes whatever group says.": (
            lambda height, width, group, depth, dim: _cost(_tokens(height, width, 2), depth, dim)
        ),
        "Here a token covers 4 + group pixels a side. It covers group codes a side, and each of these 4 pixels.": (
            lambda height, width, group, depth, dim: _cost((height // (4 + group)) * (width // (4 + group)), depth, dim)
        ),
        "The transformer keeps its width d, however many codes a token joins; here d grows with the group.": (
            lambda height, width, group, depth, dim: _cost(_tokens(height, width, group), depth, dim * group**2)
        ),
        "This counts the tokens along one side only; N is rows times columns.": (
            lambda height, width, group, depth, dim: _cost(height // 4 // group, depth, dim)
        ),
        "This is the work of one token; all N of them have to pass.": (
            lambda height, width, group, depth, dim: (
                _cost(_tokens(height, width, group), depth, dim) / _tokens(height, width, group)
            )
        ),
        "This is the work of one block; there are L.": (
            lambda height, width, group, depth, dim: _cost(_tokens(height, width, group), 1, dim)
        ),
        "These are operations. One multiply-add is a multiplication and an addition, and counts once in (6.5).": (
            lambda height, width, group, depth, dim: 2 * _cost(_tokens(height, width, group), depth, dim)
        ),
        "Attention's scores and mixing, 2 N d for each token, are missing: here only the linear maps count.": (
            lambda height, width, group, depth, dim: depth * _tokens(height, width, group) * 12 * dim**2
        ),
        "Scores take N d for each token, and mixing takes N d again: only one of the two is here.": (
            lambda height, width, group, depth, dim: (
                depth * _tokens(height, width, group) * (12 * dim**2 + _tokens(height, width, group) * dim)
            )
        ),
        "The bracket of (6.5) is for one token, and 2 N d is what it does with all N. Here N stands in it once too "
        "often.": (
            lambda height, width, group, depth, dim: (
                depth * _tokens(height, width, group) * (12 * dim**2 + 2 * _tokens(height, width, group) ** 2 * dim)
            )
        ),
        "N stands before the bracket once too often: the linear maps take 12 d² a token, however many there are.": (
            lambda height, width, group, depth, dim: (
                _tokens(height, width, group) * _cost(_tokens(height, width, group), depth, dim)
            )
        ),
        "In 12 d², only d is squared.": (
            lambda height, width, group, depth, dim: (
                depth * _tokens(height, width, group) * ((12 * dim) ** 2 + 2 * _tokens(height, width, group) * dim)
            )
        ),
        "In 12 d², the square of d is missing.": (
            lambda height, width, group, depth, dim: (
                depth * _tokens(height, width, group) * (12 * dim + 2 * _tokens(height, width, group) * dim)
            )
        ),
        "The N in the bracket is missing: each token attends to all N.": (
            lambda height, width, group, depth, dim: depth * _tokens(height, width, group) * (12 * dim**2 + 2 * dim)
        ),
        "L and N stand before the whole bracket of (6.5), not only before its first term.": (
            lambda height, width, group, depth, dim: (
                depth * _tokens(height, width, group) * 12 * dim**2 + 2 * _tokens(height, width, group) * dim
            )
        ),
        "L stands before both terms of (6.5): each block attends, too.": (
            lambda height, width, group, depth, dim: (
                depth * _tokens(height, width, group) * 12 * dim**2 + 2 * _tokens(height, width, group) ** 2 * dim
            )
        ),
        "Joining codes must make fewer tokens, not more.": (
            lambda height, width, group, depth, dim: _cost(height * width // 16 * group**2, depth, dim)
        ),
        "This counts attention's linear maps, but not those of the small network behind it: together they make "
        "12 d².": (
            lambda height, width, group, depth, dim: (
                depth * _tokens(height, width, group) * (4 * dim**2 + 2 * _tokens(height, width, group) * dim)
            )
        ),
        "This is the number of tokens N; put it into (6.5).": (
            lambda height, width, group, depth, dim: _tokens(height, width, group)
        ),
    },
)

# ---------------------------------------------------------------- codes_of


def _grid_of(tokens, grid):
    """Tokens (B, N/4, 4 · D) as a grid of codes (B, D, rows, columns)."""
    x = tokens.unflatten(2, (-1, 2, 2)).unflatten(1, grid)  # (B, rows, columns, D, 2, 2)
    return x.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def _codes_of(tokens, grid):
    return _grid_of(tokens, grid).flatten(2).transpose(1, 2)


def _codes_one_after_the_other(tokens, grid):
    return tokens.unflatten(2, (4, -1)).transpose(2, 3).flatten(2)  # as if a token held one whole code after another


def _codes_without_neighbours(tokens, grid):
    return tokens.unflatten(2, (-1, 4)).transpose(2, 3).flatten(1, 2)


def _codes_turned(tokens, grid):
    x = tokens.unflatten(2, (-1, 2, 2)).transpose(3, 4).flatten(2)
    return _codes_of(x, grid)


def _codes_place_before_token(tokens, grid):
    x = tokens.unflatten(2, (-1, 2, 2)).unflatten(1, grid)
    return x.permute(0, 4, 1, 5, 2, 3).flatten(1, 4)


def _codes_column_by_column(tokens, grid):
    return _grid_of(tokens, grid).transpose(2, 3).flatten(2).transpose(1, 2)


def _tokens_of(batch, grid, dim):
    return [torch.randn(batch, math.prod(grid), 4 * dim), grid]


codes_of = Grader(
    "codes_of",
    _codes_of,
    {
        "2 × 3 tokens of 5 features": lambda: _tokens_of(2, (2, 3), 5),
        "scenes": lambda: _tokens_of(3, (3, 3), 8),
        "one token": lambda: _tokens_of(4, (1, 1), 3),
        "one row, one feature": lambda: _tokens_of(1, (1, 5), 1),
    },
    {
        "The four codes of a token stand one after the other here. They are neighbours in *two* rows of the grid: its "
        "upper two belong to one row, its lower two to the next.": _codes_without_neighbours,
        "This cuts a token into four whole codes. It holds them the other way: for each feature in turn, the four "
        "codes' numbers.": lambda tokens, grid: _codes_of(_codes_one_after_the_other(tokens, grid), grid),
        "This cuts each token into four pieces and lays them in a row. Two things are missing: a token holds its "
        "numbers feature by feature, and its lower two codes belong to the next row of the grid.": (
            lambda tokens, grid: tokens.reshape(len(tokens), -1, tokens.shape[2] // 4)
        ),
        "Inside each token, top right and bottom left are swapped: the four stand row by row.": _codes_turned,
        "First come all upper left codes here, then all upper right ones, and so on. The grid is read row by row, "
        "across the borders of tokens.": lambda tokens, grid: torch.cat(
            [tokens[..., place::4] for place in range(4)], 1
        ),
        "Here all upper rows come before all lower ones, and in each the left codes before the right ones. The grid is "
        "read row by row, across the borders of tokens.": _codes_place_before_token,
        "Two things are wrong. A token holds its numbers feature by feature, not code by code; and codes are listed "
        "row by row through the whole grid.": lambda tokens, grid: torch.cat(tokens.chunk(4, -1), 1),
        "These are the codes as a grid, (B, rows, columns, D). Its rows and columns become one axis: (B, N, D).": (
            lambda tokens, grid: _grid_of(tokens, grid).permute(0, 2, 3, 1)
        ),
        "Tokens are (B, N, F). A reshape to (B, F, rows, columns) does not bring the features to the front: it cuts "
        "the numbers anew. Turn the axes with transpose or permute.": (
            lambda tokens, grid: _codes_of(tokens.flatten(1).unflatten(1, (-1, tokens.shape[1])).transpose(1, 2), grid)
        ),
        "These codes come column by column; the grid is read row by row.": _codes_column_by_column,
        "Rows and columns of the grid are swapped: grid is (rows, columns).": (
            lambda tokens, grid: _codes_of(tokens, grid[::-1])
        ),
        "This is still a grid with the features in front, (B, D, rows, columns). Codes are (B, N, D).": (
            lambda tokens, grid: _grid_of(tokens, grid)
        ),
        "This is (B, D, N); codes are (B, N, D).": (lambda tokens, grid: _codes_of(tokens, grid).transpose(1, 2)),
    },
)

# ---------------------------------------------------------------- guide


def _network(x, t, labels=None):
    """A denoiser with an answer of its own for each x, time and label."""
    label = x.new_zeros(len(x)) if labels is None else labels + 1.0
    return x.tanh() * (1 + t[:, None, None]) + label[:, None, None] * (0.5 + torch.cos(2 * x))


def _answers(model, x, t, labels, interval):
    inside = (interval[0] <= t) & (t <= interval[1])
    return model(x, t), model(x, t, labels), inside[:, None, None]


def _guide(model, x, t, labels, scale, interval):
    free, wanted, inside = _answers(model, x, t, labels, interval)
    return torch.where(inside, free + scale * (wanted - free), wanted)


def _guide_part(count, outside="wanted", rest="wanted"):
    """Guidance of the first features only; the rest of them, and the rows outside the interval, are as named."""

    def mistaken(model, x, t, labels, scale, interval):
        free, wanted, inside = _answers(model, x, t, labels, interval)
        answers = {"free": free, "wanted": wanted}
        first = free + scale * (wanted - free)
        split = count(x.shape[2])
        guided = torch.cat([first[..., :split], answers[rest][..., split:]], -1)
        return torch.where(inside, guided, answers[outside])

    return mistaken


def _guide_by_one_more(model, x, t, labels, scale, interval):
    return _guide(model, x, t, labels, scale + 1, interval)


def _guide_the_wrong_way(model, x, t, labels, scale, interval):
    return _guide(model, x, t, labels, 1 - scale, interval)


def _guide_difference_alone(model, x, t, labels, scale, interval):
    free, wanted, inside = _answers(model, x, t, labels, interval)
    return torch.where(inside, scale * (wanted - free), wanted)


def _guide_by_the_first_time(model, x, t, labels, scale, interval):
    inside = bool(interval[0] <= t[0] <= interval[1])
    return _guide(model, x, t, labels, scale if inside else 1.0, (0.0, 1.0))


def _guide_open(low=True, high=True):
    """Guidance in an interval without its low end, its high end, or both."""

    def mistaken(model, x, t, labels, scale, interval):
        outside = (low & (t == interval[0])) | (high & (t == interval[1]))
        output = _guide(model, x, t, labels, scale, interval)
        return torch.where(outside[:, None, None], model(x, t, labels), output)

    return mistaken


def _guide_from_first_label(model, x, t, labels, scale, interval):
    _, wanted, inside = _answers(model, x, t, labels, interval)
    free = model(x, t, torch.zeros_like(labels))
    return torch.where(inside, free + scale * (wanted - free), wanted)


def _guide_outside(model, x, t, labels, scale, interval):
    free, wanted, inside = _answers(model, x, t, labels, interval)
    return torch.where(inside, wanted, free + scale * (wanted - free))


def _guide_always(model, x, t, labels, scale, interval):
    return _guide(model, x, t, labels, scale, (0.0, 1.0))


def _guiding(times, tokens, features, scale, interval):
    batch = len(times)
    x, labels = torch.randn(batch, tokens, features), torch.arange(batch) % 5
    return [_network, x, torch.tensor(times), labels, scale, interval]


guide = Grader(
    "guide",
    _guide,
    {
        "seven features, one of three times inside": lambda: _guiding([0.125, 0.5, 0.9375], 5, 7, 3.0, (0.25, 0.75)),
        "40 features": lambda: _guiding([0.3, 0.1, 0.6, 0.45, 0.7], 9, 40, 2.0, (0.2, 0.55)),
        "times on the ends of the interval": lambda: _guiding([0.25, 0.75, 0.5, 1.0], 3, 6, 4.0, (0.25, 0.75)),
        "all times": lambda: _guiding([0.0, 0.4, 1.0], 1, 5, 1.5, (0.0, 1.0)),
        "scale 1": lambda: _guiding([0.1, 0.9], 4, 8, 1.0, (0.3, 0.8)),
        "scale 0, one row": lambda: _guiding([0.5], 2, 7, 0.0, (0.4, 0.6)),
    },
    {
        "This is the function of the text: both mistakes are still in it.": _guide_part(
            lambda features: 3, outside="free"
        ),
        "Outside the interval the label counts, as it should. But only the first three features are guided.": (
            _guide_part(lambda features: 3)
        ),
        "All features are guided, as they should be. But outside the interval this is the answer without the label.": (
            _guide_part(lambda features: features, outside="free")
        ),
        "Only the first four features are guided.": _guide_part(lambda features: 4),
        "Only the first eight features are guided. A token holds more than eight.": _guide_part(lambda features: 8),
        "Only the first 32 features are guided. How many there are, x.shape tells.": _guide_part(lambda features: 32),
        "Only three quarters of the features are guided.": _guide_part(lambda features: features * 3 // 4),
        "Only the first three features are guided, and the others are answered without the label.": (
            _guide_part(lambda features: 3, rest="free")
        ),
        "The scale is off by one: with s = 1 the answer must be the one with the label, so go s times the difference "
        "from the *free* one.": _guide_by_one_more,
        "This is the difference alone, times s. (5.12) starts from the free answer and adds it.": (
            _guide_difference_alone
        ),
        "This goes away from the label: the two answers are swapped in (5.12).": _guide_the_wrong_way,
        "No row is guided here, though the time of one lies inside the interval. Each row has a time of its own, "
        "and is guided or not by this time alone.": _guide_by_the_first_time,
        "The ends of the interval belong to it: rows whose time is an end are guided, too.": _guide_open(),
        "The ends of the interval belong to it, also the lower one.": _guide_open(high=False),
        "The ends of the interval belong to it, also the upper one.": _guide_open(low=False),
        "The answer without the label is asked for with None. A label was handed in instead, and 0 is one of the "
        "labels.": _guide_from_first_label,
        "Inside and outside are swapped.": _guide_outside,
        "All rows are guided here, also those whose own time lies outside the interval.": _guide_always,
        "This is the answer without the label.": lambda model, x, t, labels, scale, interval: model(x, t),
    },
)

# ---------------------------------------------------------------- blame


def _share(read, labels):
    return (read == labels).float().mean().item()


def _se2(p, n):
    return p * (1 - p) / n


def _blame_of(raw, coded, made, many, drawn):
    return {
        "reader": 1 - raw,
        "quantizer": raw - coded,
        "diffusion": coded - made,
        "error": math.sqrt(_se2(coded, many) + _se2(made, drawn)),
    }


def _blame(read_real, read_coded, labels, read_drawn, asked):
    shares = _share(read_real, labels), _share(read_coded, labels), _share(read_drawn, asked)
    return _blame_of(*shares, len(labels), len(asked))


def _blame_changed(**change):
    """_blame with entries replaced by what functions make of the three shares and the two numbers of pictures."""

    def mistaken(read_real, read_coded, labels, read_drawn, asked):
        shares = _share(read_real, labels), _share(read_coded, labels), _share(read_drawn, asked)
        parts = *shares, len(labels), len(asked)
        return _blame_of(*parts) | {key: function(*parts) for key, function in change.items()}

    return mistaken


def _blame_readable_only(read_real, read_coded, labels, read_drawn, asked):
    pairs = (read_real, labels), (read_coded, labels), (read_drawn, asked)
    shares = [_share(read[read >= 0], wanted[read >= 0]) for read, wanted in pairs]
    return _blame_of(*shares, len(labels), len(asked))


def _blame_readable_only_in_n(read_real, read_coded, labels, read_drawn, asked):
    pairs = (read_real, labels), (read_coded, labels), (read_drawn, asked)
    shares = [_share(read[read >= 0], wanted[read >= 0]) for read, wanted in pairs]
    return _blame_of(*shares, (read_coded >= 0).sum().item(), max((read_drawn >= 0).sum().item(), 1))


def _blame_flips(read_real, read_coded, labels, read_drawn, asked):
    spoiled = ((read_real == labels) & (read_coded != labels)).float().mean().item()
    return _blame(read_real, read_coded, labels, read_drawn, asked) | {"quantizer": spoiled}


def _blame_changed_by_coding(read_real, read_coded, labels, read_drawn, asked):
    changed = 1 - _share(read_coded, read_real)
    return _blame(read_real, read_coded, labels, read_drawn, asked) | {"quantizer": changed}


def _blame_unreadable_is_right(read_real, read_coded, labels, read_drawn, asked):
    pairs = (read_real, labels), (read_coded, labels), (read_drawn, asked)
    shares = [((read == wanted) | (read < 0)).float().mean().item() for read, wanted in pairs]
    return _blame_of(*shares, len(labels), len(asked))


def _blame_counts(read_real, read_coded, labels, read_drawn, asked):
    raw, coded, made = (
        (read == wanted).sum().item()
        for read, wanted in ((read_real, labels), (read_coded, labels), (read_drawn, asked))
    )
    error = _blame(read_real, read_coded, labels, read_drawn, asked)["error"]
    return {"reader": len(labels) - raw, "quantizer": raw - coded, "diffusion": coded - made, "error": error}


def _misread(labels, wrong, unreadable, first=0):
    """Labels read with so many of them wrong, from the first on, and after these so many unreadable."""
    read = labels.clone()
    read[first : first + wrong] = (read[first : first + wrong] + 1) % 12
    read[first + wrong : first + wrong + unreadable] = -1
    return read


def _losses(many, drawn, real, coded, made):
    """Readings with so many wrong and unreadable; the first real picture is put right by the coding."""
    labels, asked = torch.randint(12, (many,)), torch.arange(drawn) % 12
    return [_misread(labels, *real), _misread(labels, *coded, first=1), labels, _misread(asked, *made), asked]


blame = Grader(
    "blame",
    _blame,
    {
        "40 real pictures, 25 drawn": lambda: _losses(40, 25, (1, 1), (2, 3), (4, 5)),
        "as many real as drawn": lambda: _losses(60, 60, (1, 0), (5, 4), (11, 2)),
        "the quantizer loses nothing": lambda: _losses(30, 50, (2, 1), (2, 1), (7, 6)),
        "drawings are read best": lambda: _losses(40, 30, (5, 2), (3, 1), (1, 0)),
        "everything is read right": lambda: _losses(10, 20, (0, 0), (0, 0), (0, 0)),
        "nothing that was drawn can be read": lambda: _losses(20, 7, (0, 2), (3, 2), (0, 7)),
    },
    {
        "Unreadable pictures are left out here. Not showing exactly one object is a failure too: such a picture counts "
        "as wrong, and stays in the total.": _blame_readable_only,
        "Unreadable pictures are left out here, of the shares and of n. Not showing exactly one object is a failure "
        "too: such a picture counts as wrong, and stays in the total.": _blame_readable_only_in_n,
        "This counts the pictures that were read right before and are not after. Others may become right on the way; "
        "the share falls by the difference.": _blame_flips,
        "This counts the pictures that are read otherwise after the VQ-VAE than before. Compare what was read with the "
        "labels, each time.": _blame_changed_by_coding,
        "A part is negative where the share rises. Here it is 0 instead.": (
            _blame_changed(
                quantizer=lambda raw, coded, made, n, m: max(0, raw - coded),
                diffusion=lambda raw, coded, made, n, m: max(0, coded - made),
            )
        ),
        "A part is negative where the share rises. Here it has lost its sign.": (
            _blame_changed(
                quantizer=lambda raw, coded, made, n, m: abs(raw - coded),
                diffusion=lambda raw, coded, made, n, m: abs(coded - made),
            )
        ),
        "Each part holds the ones before it: these are all the losses so far. What does each step add?": (
            _blame_changed(
                quantizer=lambda raw, coded, made, n, m: 1 - coded, diffusion=lambda raw, coded, made, n, m: 1 - made
            )
        ),
        "These are quotients of shares; take their differences.": _blame_changed(
            quantizer=lambda raw, coded, made, n, m: 1 - coded / raw,
            diffusion=lambda raw, coded, made, n, m: 1 - made / coded,
        ),
        "These are percents; a share lies between 0 and 1.": (
            lambda *read: {key: 100 * value for key, value in _blame(*read).items()}
        ),
        "Unreadable pictures, -1, count as right here; they count as wrong.": _blame_unreadable_is_right,
        "The quantizer's share holds the reader's as well: what is lost without any coding is not the quantizer's "
        "fault.": _blame_changed(quantizer=lambda raw, coded, made, n, m: 1 - coded),
        "The diffusion is blamed for everything that is lost. Real pictures lose something on the same way back.": (
            _blame_changed(diffusion=lambda raw, coded, made, n, m: 1 - made)
        ),
        "The diffusion is blamed for the quantizer's losses: compare drawings with real pictures *after* the VQ-VAE.": (
            _blame_changed(diffusion=lambda raw, coded, made, n, m: raw - made)
        ),
        "Losses have the wrong sign: what was right and is not any more counts as positive.": _blame_changed(
            quantizer=lambda raw, coded, made, n, m: coded - raw, diffusion=lambda raw, coded, made, n, m: made - coded
        ),
        "The first entry is the share read right; the reader's loss is what is missing to 1.": (
            _blame_changed(reader=lambda raw, coded, made, n, m: raw)
        ),
        "The two standard errors are added as they are. Their *squares* add up: chance seldom pushes both the same "
        "way.": _blame_changed(
            error=lambda raw, coded, made, n, m: math.sqrt(_se2(coded, n)) + math.sqrt(_se2(made, m))
        ),
        "The squares of the standard errors are subtracted. The uncertainty of a difference is larger than either, so "
        "the squares add.": _blame_changed(
            error=lambda raw, coded, made, n, m: math.sqrt(abs(_se2(made, m) - _se2(coded, n)))
        ),
        "This error knows only of the drawings. The share of coded pictures is uncertain as well.": (
            _blame_changed(error=lambda raw, coded, made, n, m: math.sqrt(_se2(made, m)))
        ),
        "This error knows only of the coded pictures. The share of drawings is uncertain as well.": (
            _blame_changed(error=lambda raw, coded, made, n, m: math.sqrt(_se2(coded, n)))
        ),
        "The diffusion's part is the difference of two shares; the share of pictures that were never coded has no "
        "place in its error.": _blame_changed(
            error=lambda raw, coded, made, n, m: math.sqrt(_se2(raw, n) + _se2(coded, n) + _se2(made, m))
        ),
        "The diffusion is blamed for the quantizer's losses, in its part and in its error: compare drawings with real "
        "pictures *after* the VQ-VAE.": _blame_changed(
            diffusion=lambda raw, coded, made, n, m: raw - made,
            error=lambda raw, coded, made, n, m: math.sqrt(_se2(raw, n) + _se2(made, m)),
        ),
        "One of the two shares in this error is that of the real pictures before the VQ-VAE. Which two does the "
        "diffusion's part compare?": _blame_changed(
            error=lambda raw, coded, made, n, m: math.sqrt(_se2(raw, n) + _se2(made, m))
        ),
        "In (7.2), n is the number of real pictures for both shares here. The drawings have a number of their own.": (
            _blame_changed(error=lambda raw, coded, made, n, m: math.sqrt(_se2(coded, n) + _se2(made, n)))
        ),
        "In (7.2), n is the number of drawings for both shares here. The coded pictures have a number of their own.": (
            _blame_changed(error=lambda raw, coded, made, n, m: math.sqrt(_se2(coded, m) + _se2(made, m)))
        ),
        "The number of pictures is missing in this error: (7.2) divides by n under the root.": _blame_changed(
            error=lambda raw, coded, made, n, m: math.sqrt(_se2(coded, 1) + _se2(made, 1))
        ),
        "This error divides by n - 1, as torch's std does; (7.2) divides by n.": _blame_changed(
            error=lambda raw, coded, made, n, m: math.sqrt(_se2(coded, n - 1) + _se2(made, m - 1))
        ),
        "This error takes both shares for one, over all pictures together. By (7.2) each has an error of its own.": (
            _blame_changed(
                error=lambda raw, coded, made, n, m: math.sqrt(
                    _se2((coded * n + made * m) / (n + m), 1) * (1 / n + 1 / m)
                )
            )
        ),
        "These are two standard errors; one is asked for.": _blame_changed(
            error=lambda raw, coded, made, n, m: 2 * math.sqrt(_se2(coded, n) + _se2(made, m))
        ),
        "The last root is missing: this is the square of the standard error.": (
            _blame_changed(error=lambda raw, coded, made, n, m: _se2(coded, n) + _se2(made, m))
        ),
        "(7.2) holds for a share, not for a difference of two shares: take it for each and add the squares.": (
            _blame_changed(
                error=lambda raw, coded, made, n, m: math.sqrt(max(0, (coded - made) * (1 - coded + made)) / m)
            )
        ),
        "These are numbers of pictures. As many may be drawn as you like, so compare shares.": _blame_counts,
    },
)

# ---------------------------------------------------------------- guidance_sweep


def _sweep_with(share, spread):
    """A sweep with these two measurements of pictures, what was read, and what was asked for."""

    def sweep(draw, read, labels, scales):
        drawn = [draw(labels, scale) for scale in scales]
        return [share(x, read(x), labels) for x in drawn], [spread(x, read(x), labels) for x in drawn]

    return sweep


def _right(pictures, read, labels):
    return (read == labels).float().mean()


def _within(measure):
    """The mean over the labels of what is measured among the pictures of each."""

    def spread(pictures, read, labels):
        return torch.stack([measure(pictures[labels == label]) for label in labels.unique()]).mean()

    return spread


_spread = _within(lambda x: x.std(0).mean())
_sweep = _sweep_with(_right, _spread)


def _sweep_shifted(by):
    return lambda draw, read, labels, scales: _sweep(draw, read, labels, [scale + by for scale in scales])


def _sweep_at_first_scale(draw, read, labels, scales):
    return _sweep(draw, read, labels, [scales[0]] * len(scales))


def _spread_by_reading(pictures, read, labels):
    groups = [pictures[read == label] for label in read.unique()]
    return torch.stack([x.std(0).mean() for x in groups if len(x) > 1]).mean()


def _spread_of_hits(pictures, read, labels):
    return _spread(pictures[read == labels], None, labels[read == labels])


def _share_by_label(pictures, read, labels):
    return torch.stack([(read[labels == label] == label).float().mean() for label in labels.unique()]).mean()


def _as_tensor(part):
    """Numbers in a list or a tensor as one tensor; anything else as it is."""
    try:
        return torch.stack([torch.as_tensor(x, dtype=torch.float) for x in part])
    except (TypeError, ValueError, RuntimeError):
        return part


def _as_tensors(answer, *arguments):
    """Call an answer; whether its numbers stand in lists or in tensors makes no difference."""
    output = answer(*arguments)
    return [_as_tensor(part) for part in output] if isinstance(output, list | tuple) else output


def _artist(labels, scales, shape):
    """Drawings that vary less, and are read better, the higher the scale; the same noise each time."""
    classes = int(labels.max()) + 1
    clean = torch.rand(classes, *shape)
    noise = torch.randn(len(labels), *shape) * torch.linspace(0.5, 1.5, shape[-1])

    def draw(labels, scale):
        return clean[labels] + noise * 1.2 * math.exp(-scale / 3)

    def read(pictures):
        return torch.cdist(pictures.flatten(1), clean.flatten(1)).argmin(1)

    return [draw, read, labels, scales]


guidance_sweep = Grader(
    "guidance_sweep",
    _sweep,
    {
        "four labels, three scales": lambda: _artist(torch.arange(24) % 4, [0.0, 1.0, 4.0], (1, 5, 5)),
        "pictures in colour, labels in any order": lambda: _artist(
            torch.tensor([2, 0, 1, 1, 2, 0, 0, 2, 2, 2, 1, 0, 0, 0]), [1.0, 2.0], (3, 4, 6)
        ),
        "one scale, labels that leave out some numbers": lambda: _artist(
            torch.tensor([6, 1, 1, 6, 6, 3, 3, 1, 3, 6, 6]), [2.5], (1, 3, 4)
        ),
    },
    {
        "This spread is that of all drawings together, so what tells one label from another counts as variety. "
        "Measure among the drawings of each label.": _sweep_with(_right, lambda x, read, labels: x.std(0).mean()),
        "This takes drawings and pixels of a label as one heap, so a picture's own light and dark count as variety. "
        "Take the deviation of each pixel over the drawings, and then the mean over the pixels.": _sweep_with(
            _right, _within(lambda x: x.std())
        ),
        "This is the deviation among the pixels of one picture: its contrast, not the variety of the drawings.": (
            _sweep_with(_right, lambda x, read, labels: x.flatten(1).std(1).mean())
        ),
        "These are variances; the spread is a standard deviation.": _sweep_with(
            _right, _within(lambda x: x.var(0).mean())
        ),
        "The root comes too late: take the deviation of each pixel, and then their mean.": _sweep_with(
            _right, _within(lambda x: x.var(0).mean().sqrt())
        ),
        "This is the deviation of the mean drawings of the labels: how the labels differ. How the drawings of one "
        "label differ is asked for.": _sweep_with(
            _right,
            lambda x, read, labels: (
                torch.stack([x[labels == label].mean(0) for label in labels.unique()]).std(0).mean()
            ),
        ),
        "This is a sum over the pixels; take the mean, so that nothing changes with the size of the pictures.": (
            _sweep_with(_right, _within(lambda x: x.std(0).sum()))
        ),
        "This is a sum over the labels; take their mean.": _sweep_with(
            _right, lambda x, read, labels: _spread(x, read, labels) * len(labels.unique())
        ),
        "This deviation divides by the number of drawings. torch's std as it is divides by one less.": _sweep_with(
            _right, _within(lambda x: x.std(0, correction=0).mean())
        ),
        "A label with more drawings weighs more here. Each label counts once.": _sweep_with(
            _right,
            lambda x, read, labels: torch.stack([x[labels == label].std(0).mean() for label in labels]).mean(),
        ),
        "This is how the mean brightness of the drawings varies. Take the deviation of each pixel first, and the mean "
        "over the pixels last.": _sweep_with(_right, _within(lambda x: x.flatten(1).mean(1).std())),
        "The drawings are grouped by what was read in them; group them by what was asked for.": (
            _sweep_with(_right, _spread_by_reading)
        ),
        "Only drawings that are read right count here. All drawings of a label take part in its spread.": (
            _sweep_with(_right, _spread_of_hits)
        ),
        "nan is what std makes of fewer than two numbers. Is there a label that nobody asked for, or does the "
        "deviation run along another axis than that of the drawings?": (
            _sweep_with(_right, lambda x, read, labels: torch.tensor(torch.nan))
        ),
        "These shares are means over the labels. Each picture counts once, so labels with more drawings weigh more.": (
            _sweep_with(_share_by_label, _spread)
        ),
        "These are percents; a share lies between 0 and 1.": (
            _sweep_with(lambda x, read, labels: 100 * _right(x, read, labels), _spread)
        ),
        "These are pairs, one for each scale. Two lists are asked for: all shares, and all spreads.": (
            lambda draw, read, labels, scales: list(zip(*_sweep(draw, read, labels, scales), strict=True))
        ),
        "These are the shares read wrong.": _sweep_with(lambda x, read, labels: 1 - _right(x, read, labels), _spread),
        "These are numbers of pictures; divide by how many were drawn.": (
            _sweep_with(lambda x, read, labels: (read == labels).sum(), _spread)
        ),
        "The order is: first the shares, then the spreads.": (
            lambda draw, read, labels, scales: _sweep(draw, read, labels, scales)[::-1]
        ),
        "The scale that is handed to draw is off by one. Here, too, 1 means no guidance.": _sweep_shifted(-1),
        "The scale that is handed to draw is one too high. Here, too, 1 means no guidance.": _sweep_shifted(1),
        "All pictures are drawn with the first scale.": _sweep_at_first_scale,
    },
    use=_as_tensors,
)
