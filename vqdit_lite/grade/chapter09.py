"""Graders of chapter 09, many modalities."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vqdit_lite.grade.grader import AnswerError, Grader

# ---------------------------------------------------------------- hide


def _hide(x0, t, modality, fresh, mask_id):
    return x0.where(fresh < 1 - t[:, modality], mask_id)


def _hide_one_draw_a_segment(x0, t, modality, fresh, mask_id):
    firsts = torch.tensor([(modality == segment).nonzero()[0].item() for segment in range(t.shape[1])])
    return _hide(x0, t, modality, fresh[:, firsts][:, modality], mask_id)


def _hide_in_halves(x0, t, modality, fresh, mask_id):
    return _hide(x0, t, (torch.arange(len(modality)) >= len(modality) // 2).long(), fresh, mask_id)


def _hiding(rows, modality, times=None, mask_id=20):
    modality = torch.tensor(modality)
    t = torch.rand(rows, modality.max() + 1) if times is None else torch.tensor(times).expand(rows, -1).clone()
    fresh = torch.rand(rows, len(modality))
    fresh[:, 1] = 0  # a draw that `rand` can make
    return [torch.randint(1, mask_id, (rows, len(modality))), t, modality, fresh, mask_id]


hide = Grader(
    "hide",
    _hide,
    {
        "two segments at times of their own": lambda: _hiding(8, [0] * 3 + [1] * 6),
        "draw (only the words are known)": lambda: _hiding(3, [0] * 4 + [1] * 5, [0.0, 1.0]),
        "describe (only the picture is known)": lambda: _hiding(2, [0] * 2 + [1] * 4, [1.0, 0.0], 11),
        "three segments": lambda: _hiding(5, [0] * 2 + [1] * 3 + [2] * 4, mask_id=90),
        "one row": lambda: _hiding(1, [0, 0, 1, 1, 1], mask_id=7),
    },
    {
        "Every token got the time of the first segment. Look up the time of the segment that a token is of.": (
            lambda x0, t, modality, fresh, mask_id: x0.where(fresh < 1 - t[:, :1], mask_id)
        ),
        "Every token got the mean of the times. Each segment has a time of its own.": (
            lambda x0, t, modality, fresh, mask_id: x0.where(fresh < 1 - t.mean(1, keepdim=True), mask_id)
        ),
        "This is turned round: at t = 0 everything is known, at t = 1 everything is hidden.": (
            lambda x0, t, modality, fresh, mask_id: _hide(x0, 1 - t, modality, fresh, mask_id)
        ),
        "The share is right, but the tokens are others: known are those whose draw lies *below* 1 - t.": (
            lambda x0, t, modality, fresh, mask_id: x0.where(fresh >= t[:, modality], mask_id)
        ),
        "A draw can be exactly 0, and at t = 1 that token must be hidden, too: known means *below* 1 - t, not at it.": (
            lambda x0, t, modality, fresh, mask_id: x0.where(fresh <= 1 - t[:, modality], mask_id)
        ),
        "Known and hidden are exchanged: a token stays known where its draw lies *below* 1 - t.": (
            lambda x0, t, modality, fresh, mask_id: x0.where(fresh >= 1 - t[:, modality], mask_id)
        ),
        "The segments' times are exchanged: tokens of one segment were hidden by the time of another.": (
            lambda x0, t, modality, fresh, mask_id: _hide(x0, t.flip(1), modality, fresh, mask_id)
        ),
        "The first half of the row got the time of the first segment, the other half that of the second. Segments need "
        "not be equally long: modality says which token is of which.": _hide_in_halves,
        "With two segments this is right. There can be more, and each has a column of t.": (
            lambda x0, t, modality, fresh, mask_id: _hide(x0, t, modality.clamp(max=1), fresh, mask_id)
        ),
        "Too many tokens stay known, as if the share of known tokens were the root of ᾱ. It is ᾱ = 1 - t itself.": (
            lambda x0, t, modality, fresh, mask_id: x0.where(fresh < (1 - t[:, modality]).sqrt(), mask_id)
        ),
        "Segments are hidden as a whole here. Each token has a draw of its own.": _hide_one_draw_a_segment,
        "Hidden tokens are 0 here, but 0 is the id of a word. They must become mask_id.": (
            lambda x0, t, modality, fresh, mask_id: _hide(x0, t, modality, fresh, 0)
        ),
        "This says which tokens are hidden; the ids x_t are asked for.": (
            lambda x0, t, modality, fresh, mask_id: fresh >= 1 - t[:, modality]
        ),
        "Hidden tokens are -1 here. In the sequence they must become mask_id.": (
            lambda x0, t, modality, fresh, mask_id: _hide(x0, t, modality, fresh, -1)
        ),
        "These draws are new ones. Use those in fresh.": (
            lambda x0, t, modality, fresh, mask_id: _hide(x0, t, modality, torch.rand(x0.shape), mask_id)
        ),
    },
)

# ---------------------------------------------------------------- own_chances


def _foreign(modality, owner):
    return owner != modality[:, None]


def _own_chances(logits, modality, owner):
    return logits.masked_fill(_foreign(modality, owner), -torch.inf).softmax(-1)


def _logits_of(rows, lengths, sizes, dtype=torch.float32):
    def numbers(counts):
        return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))

    return [2 * torch.randn(rows, sum(lengths), sum(sizes), dtype=dtype), numbers(lengths), numbers(sizes)]


own_chances = Grader(
    "own_chances",
    _own_chances,
    {
        "as many tokens as ids": lambda: _logits_of(2, [3, 4], [5, 2]),
        "more ids than tokens": lambda: _logits_of(3, [2, 5], [4, 6]),
        "three segments in float64": lambda: _logits_of(4, [1, 2, 3], [3, 4, 2], torch.float64),
        "one segment": lambda: _logits_of(1, [3], [5]),
    },
    {
        "The foreign logits are 0, and e to the 0 is 1, so those ids stay possible. Which logit gives a chance of 0?": (
            lambda logits, modality, owner: logits.masked_fill(_foreign(modality, owner), 0).softmax(-1)
        ),
        "Foreign ids have no chance, but the rest does not sum to one. (9.2) divides by the sum over V_i alone.": (
            lambda logits, modality, owner: logits.softmax(-1).masked_fill(_foreign(modality, owner), 0)
        ),
        **{
            f"The foreign logits are {low}. e to the {low} is not 0, so those ids stay possible.": (
                lambda logits, modality, owner, low=low: logits.masked_fill(_foreign(modality, owner), low).softmax(-1)
            )
            for low in (-1, -10)
        },
        "The foreign logits are plus infinity, and so is e to that. Not a number comes out.": (
            lambda logits, modality, owner: logits.masked_fill(_foreign(modality, owner), torch.inf).softmax(-1)
        ),
        "The other segments' ids are allowed, and the own ones are not. It is the other way round.": (
            lambda logits, modality, owner: logits.masked_fill(~_foreign(modality, owner), -torch.inf).softmax(-1)
        ),
        "The softmax runs over the tokens. The chances of one token sum to one over its *ids*.": (
            lambda logits, modality, owner: logits.masked_fill(_foreign(modality, owner), -torch.inf).softmax(1)
        ),
        "This is the softmax over all ids; a word can still be a code.": (
            lambda logits, modality, owner: logits.softmax(-1)
        ),
        "The foreign logits are as low as the lowest, and that is still a chance. Only one logit gives none at all.": (
            lambda logits, modality, owner: logits.masked_fill(_foreign(modality, owner), logits.min()).softmax(-1)
        ),
        "The softmax runs over the rows of the batch. The chances of one token sum to one over its *ids*.": (
            lambda logits, modality, owner: logits.masked_fill(_foreign(modality, owner), -torch.inf).softmax(0)
        ),
        "Tokens of the first segment take their own ids alone, but the other tokens can still take any id.": (
            lambda logits, modality, owner: logits.masked_fill(
                _foreign(modality, owner) & (modality == 0)[:, None], -torch.inf
            ).softmax(-1)
        ),
        "A token of a later segment takes its own ids alone, but one of the first can still take any id.": (
            lambda logits, modality, owner: logits.masked_fill(
                _foreign(modality, owner) & (modality > 0)[:, None], -torch.inf
            ).softmax(-1)
        ),
        "With two segments this is right. There can be more, and the ids of each are foreign to all others.": (
            lambda logits, modality, owner: logits.masked_fill(
                (modality == 0)[:, None] != (owner == 0), -torch.inf
            ).softmax(-1)
        ),
        "Rows are tokens and columns are ids: the table of what is allowed is turned on its side.": (
            lambda logits, modality, owner: logits.masked_fill(_foreign(modality, owner).T, -torch.inf).softmax(-1)
        ),
        "These are logits; (9.2) asks for probabilities.": (
            lambda logits, modality, owner: logits.masked_fill(_foreign(modality, owner), -torch.inf)
        ),
        "These are logarithms of the probabilities; the probabilities are asked for.": (
            lambda logits, modality, owner: logits.masked_fill(_foreign(modality, owner), -torch.inf).log_softmax(-1)
        ),
    },
)

# ---------------------------------------------------------------- two_segments


class _TwoSegments:
    def __init__(self, num_words, num_codes, rows, columns):
        self.num_words, self.num_codes, self.rows, self.columns = num_words, num_codes, rows, columns
        self.offset, self.mask_id = num_words, num_words + num_codes

    def pack(self, text, picture):
        picture = picture.flatten(1)
        moved = (picture + self.offset).where(picture >= 0, self.mask_id)
        return torch.cat([text.where(text >= 0, self.mask_id), moved], 1)

    def unpack(self, x):
        ids = x.where(x != self.num_words + self.num_codes, -1)
        text, picture = ids.split([x.shape[1] - self.rows * self.columns, self.rows * self.columns], 1)
        return text, self.shaped((picture - self.num_words).where(picture >= 0, -1))

    def shaped(self, picture):
        return picture.unflatten(1, (self.rows, self.columns))


class _NoOffset(_TwoSegments):
    def pack(self, text, picture):
        self.offset = 0
        return super().pack(text, picture)


class _OffsetOfLength(_TwoSegments):
    def pack(self, text, picture):
        self.offset = text.shape[1]
        return super().pack(text, picture)


class _OffsetOfTheChapter(_TwoSegments):
    def pack(self, text, picture):
        self.offset = 12
        return super().pack(text, picture)


class _WordsMoveUp(_TwoSegments):
    def pack(self, text, picture):
        self.offset = 0
        return torch.cat(
            [(text + self.num_codes).where(text >= 0, self.mask_id), super().pack(text[:, :0], picture)], 1
        )


class _OffsetOneShort(_TwoSegments):
    def pack(self, text, picture):
        self.offset = self.num_words - 1
        return super().pack(text, picture)


class _PictureFirst(_TwoSegments):
    def pack(self, text, picture):
        return super().pack(text, picture).roll(-text.shape[1], 1)


class _HiddenMovesUp(_TwoSegments):
    def pack(self, text, picture):
        return torch.cat([text, picture.flatten(1) + self.num_words], 1)


class _HiddenTextKept(_TwoSegments):
    def pack(self, text, picture):
        packed = super().pack(text, picture)
        return torch.cat([text, packed[:, text.shape[1] :]], 1)


class _HiddenPictureMovesUp(_TwoSegments):
    def pack(self, text, picture):
        packed = super().pack(text, picture)
        return torch.cat([packed[:, : text.shape[1]], picture.flatten(1) + self.num_words], 1)


class _HiddenStays(_TwoSegments):
    def pack(self, text, picture):
        self.mask_id = -1
        return super().pack(text, picture)


class _HiddenIsZero(_TwoSegments):
    def pack(self, text, picture):
        self.mask_id = 0
        return super().pack(text, picture)


class _MaskMovesUp(_TwoSegments):
    def pack(self, text, picture):
        packed = super().pack(text, picture)
        packed[:, text.shape[1] :][picture.flatten(1) < 0] += self.num_words
        return packed


class _TwoMasks(_TwoSegments):
    def pack(self, text, picture):
        packed = super().pack(text, picture)
        packed[:, : text.shape[1]][text < 0] = self.num_words
        return packed


class _PackedByColumns(_TwoSegments):
    def pack(self, text, picture):
        return super().pack(text, picture.transpose(1, 2))


class _SwappedBack(_TwoSegments):
    def unpack(self, x):
        return super().unpack(x)[::-1]


class _MaskOneShort(_TwoSegments):
    def pack(self, text, picture):
        self.mask_id = self.num_words + self.num_codes - 1
        return super().pack(text, picture)


class _MaskOneFurther(_TwoSegments):
    def pack(self, text, picture):
        self.mask_id = self.num_words + self.num_codes + 1
        return super().pack(text, picture)


class _OffsetStays(_TwoSegments):
    def unpack(self, x):
        text, picture = super().unpack(x)
        return text, (picture + self.num_words).where(picture >= 0, -1)


class _MaskComesBack(_TwoSegments):
    def unpack(self, x):
        length = x.shape[1] - self.rows * self.columns
        return x[:, :length], self.shaped(x[:, length:] - self.num_words)


class _MaskOfPictureComesBack(_TwoSegments):
    def unpack(self, x):
        text, _ = super().unpack(x)
        return text, self.shaped(x[:, text.shape[1] :] - self.num_words)


class _MaskOfTextComesBack(_TwoSegments):
    def unpack(self, x):
        text, picture = super().unpack(x)
        return x[:, : text.shape[1]], picture


class _HiddenLosesTheOffset(_TwoSegments):
    def unpack(self, x):
        text, picture = super().unpack(x)
        return text, picture.where(picture >= 0, -1 - self.num_words)


class _FlatPicture(_TwoSegments):
    def shaped(self, picture):
        return picture


class _SidesExchanged(_TwoSegments):
    def shaped(self, picture):
        return picture.unflatten(1, (self.columns, self.rows))


class _ColumnByColumn(_TwoSegments):
    def shaped(self, picture):
        return picture.unflatten(1, (self.columns, self.rows)).transpose(1, 2)


def _one_way(answer, num_words, num_codes, parts, way):
    """What `pack` makes of the parts, or `unpack` of the right sequence."""
    rows, columns = parts[1].shape[1:]
    made, right = answer(num_words, num_codes, rows, columns), _TwoSegments(num_words, num_codes, rows, columns)
    given = parts if way == "pack" else [right.pack(*parts)]
    handed = [part.clone() for part in given]
    try:
        came = getattr(made, way)(*handed)
    except Exception as error:
        if way == "pack":
            raise
        if isinstance(error, NotImplementedError):
            raise NotImplementedError("pack is right. Now write unpack.") from None
        raise AnswerError(f"✗ two_segments: unpack raised {type(error).__name__}: {error}") from error
    if not all(torch.equal(*pair) for pair in zip(given, handed, strict=True)):
        raise AnswerError(
            f"✗ two_segments: {way} changes its argument in place. Make a new tensor, so that what was handed in stays "
            "as it was."
        )
    if way == "unpack" and came is not None and not isinstance(came, tuple | list):
        return f"a {type(came).__name__}"  # a short word for the sentence
    return came


def _parts(way, rows, length, num_words, shape, num_codes, hidden=(0.0, 0.0)):
    def drawn(size, *shape):
        return torch.randint(size, (rows, *shape))

    text, picture = drawn(num_words, length), drawn(num_codes, *shape)
    text[torch.rand(text.shape) < hidden[0]] = -1
    picture[torch.rand(picture.shape) < hidden[1]] = -1
    return [num_words, num_codes, [text, picture], way]


two_segments = Grader(
    "two_segments",
    _TwoSegments,
    {
        "pack with nothing hidden": lambda: _parts("pack", 4, 5, 9, (2, 3), 20),
        "pack with some of both hidden": lambda: _parts("pack", 6, 4, 7, (3, 2), 11, (0.4, 0.4)),
        "pack words without a picture": lambda: _parts("pack", 3, 3, 12, (4, 2), 64, (0.0, 1.1)),
        "pack a picture without words": lambda: _parts("pack", 2, 7, 12, (3, 3), 64, (1.1, 0.0)),
        "pack one word and one code": lambda: _parts("pack", 1, 1, 3, (1, 1), 5),
        "unpack with nothing hidden": lambda: _parts("unpack", 4, 5, 9, (2, 3), 20),
        "unpack with some of both hidden": lambda: _parts("unpack", 6, 4, 7, (3, 2), 11, (0.4, 0.4)),
        "unpack with all hidden": lambda: _parts("unpack", 3, 7, 12, (4, 2), 64, (1.1, 1.1)),
        "unpack one word and one code": lambda: _parts("unpack", 1, 1, 3, (1, 1), 5),
    },
    {
        "In the sequence, word 3 and code 3 are the same id. The codes must move up.": _NoOffset,
        "The codes move up by the number of tokens. They must clear all ids that a word can have, not all places.": (
            _OffsetOfLength
        ),
        "The codes move up by 12, as in the chapter. Here there can be another number of words.": _OffsetOfTheChapter,
        "The words have moved up here, by the number of codes. They keep their ids; the codes move.": _WordsMoveUp,
        "The codes move up by one too few, so that code 0 is the last word: the words' ids start at 0.": (
            _OffsetOneShort
        ),
        "The picture stands first; the words should.": _PictureFirst,
        "Hidden tokens must become the mask. Here the -1 of a word stays, and the -1 of a picture moves up like an id, "
        "so that it reads as the last word.": _HiddenMovesUp,
        "The hidden words are still -1. In the sequence they must be the mask.": _HiddenTextKept,
        "The -1 of a hidden picture token has moved up like an id, so that it reads as the last word.": (
            _HiddenPictureMovesUp
        ),
        "Hidden tokens are still -1. In the sequence they must be the mask, the first id that is left.": _HiddenStays,
        "Hidden tokens have become 0, and that is the id of a word. They must be the mask.": _HiddenIsZero,
        "The mask of the picture has moved up with the codes. There is one mask for all tokens.": _MaskMovesUp,
        "A hidden word has become the first id after the words, and that is code 0. There is one mask for all tokens, "
        "after the codes.": _TwoMasks,
        "The picture is packed column by column; it should be row by row.": _PackedByColumns,
        "The text comes back first, then the picture.": _SwappedBack,
        "The mask is the id of the last code here, so that this code reads as hidden. The ids run from 0.": (
            _MaskOneShort
        ),
        "The mask is one too high. Ids run from 0, so the first free one is the number of words and codes.": (
            _MaskOneFurther
        ),
        "The codes that come back are those of the sequence. Take the offset off again.": _OffsetStays,
        "The mask comes back like an id. A hidden token must be -1 again.": _MaskComesBack,
        "The words are right, but a hidden picture token does not come back as -1. Is it compared with the mask before "
        "the offset is taken off?": _MaskOfPictureComesBack,
        "The picture is right, but a hidden word does not come back as -1.": _MaskOfTextComesBack,
        "The offset has been taken off the -1 of hidden picture tokens, too.": _HiddenLosesTheOffset,
        "The picture must come back with rows and columns.": _FlatPicture,
        "The picture's two sides are exchanged: it has `rows` rows.": _SidesExchanged,
        "The picture comes back with its rows and columns mixed up: it was packed row by row.": _ColumnByColumn,
    },
    use=_one_way,
)

# ---------------------------------------------------------------- joint_loss


def _surprise(logits, x0):
    return F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")  # (B, N)


def _weighted(change):
    """A loss like the right one, with the weights of the tokens, (B, N), changed."""

    def loss(logits, x0, x, t, modality, mask_id):
        hidden = x == mask_id
        weights = change(t, modality).where(hidden, 0)
        return (weights * _surprise(logits, x0)).sum(1).mean()

    return loss


_joint_loss = _weighted(lambda t, modality: 1 / t[:, modality])
_of_later_times = {
    f"{extra:g} is added to every time. That keeps 1/0 away, but it changes all other weights, too.": (
        _weighted(lambda t, modality, extra=extra: 1 / (t + extra)[:, modality])
    )
    for extra in (1e-2, 1e-3, 1e-4, 1e-5)
}
_by_time_of_words = _weighted(lambda t, modality: 1 / t[:, :1].expand(-1, len(modality)))


def _cut(largest):
    return _weighted(lambda t, modality: (1 / t[:, modality]).clamp(max=largest))


def _loss_not_safe(logits, x0, x, t, modality, mask_id):
    return (1 / t[:, modality] * _surprise(logits, x0) * (x == mask_id)).sum(1).mean()


def _loss_late_where(logits, x0, x, t, modality, mask_id):
    return (_surprise(logits, x0) / t[:, modality]).where(x == mask_id, 0).sum(1).mean()


def _loss_of_all(logits, x0, x, t, modality, mask_id):
    return (_surprise(logits, x0) / t[:, modality]).sum(1).mean()


def _loss_a_row(logits, x0, x, t, modality, mask_id):
    weights = (1 / t[:, modality]).where(x == mask_id, 0)
    return (weights * _surprise(logits, x0)).sum(1)


def _loss_mean_of_hidden(logits, x0, x, t, modality, mask_id):
    hidden = x == mask_id
    return (_surprise(logits, x0) / t[:, modality])[hidden].sum() / hidden.sum()


def _loss_mean_a_row(logits, x0, x, t, modality, mask_id):
    return (_loss_a_row(logits, x0, x, t, modality, mask_id) / (x == mask_id).sum(1).clamp(min=1)).mean()


def _loss_mean_a_segment(logits, x0, x, t, modality, mask_id):
    counts = modality.bincount()[modality]
    return ((1 / t[:, modality]).where(x == mask_id, 0) * _surprise(logits, x0) / counts).sum(1).mean()


def _loss_of_the_text(logits, x0, x, t, modality, mask_id):
    return (1 / t[:, :1] * _surprise(logits, x0) * (x == mask_id)).sum(1).mean()


def _loss_without_rows(logits, x0, x, t, modality, mask_id):
    return _loss_a_row(logits, x0, x, t, modality, mask_id)[(t > 0).all(1)].mean()


def _loss_nanmean(logits, x0, x, t, modality, mask_id):
    return (1 / t[:, modality] * _surprise(logits, x0) * (x == mask_id)).sum(1).nanmean()


def _loss_and_gradient(answer, logits, x0, x, t, modality, mask_id):
    """The loss and its gradient for logits, each in words where it is no number, so that two of them can be equal.

    It is asked again with the words of the first row shown in full, to see whether a mistake or two are left.
    """
    shown = torch.zeros_like(x, dtype=torch.bool)
    shown[0] = modality == 0
    early = t.clone()
    early[0, 0] = 0
    second = [logits.clone(), x0.clone(), x0.where(shown, x), early, modality.clone(), mask_id]

    logits = logits.detach().clone().requires_grad_()
    loss = answer(logits, x0, x, t, modality, mask_id)
    if loss is None:
        return None
    if not isinstance(loss, Tensor | float | int):
        raise AnswerError(f"✗ joint_loss: one number is asked for; got a {type(loss).__name__}.")
    loss = torch.as_tensor(loss)
    gradient = torch.zeros_like(logits)
    if loss.requires_grad:
        gradient = torch.autograd.grad(loss.sum(), logits, allow_unused=True)[0]
    again = torch.as_tensor(answer(*second))
    return {
        "loss": loss.detach() if loss.isfinite().all() else str(loss.sum().item()),
        "gradient": gradient if gradient is None or gradient.isfinite().all() else "not a number",
        "loss with the words of a row shown in full": "not a number" if again.isnan().any() else "a number",
    }


def _to_learn_from(rows, modality, num_ids, *times):
    """Times row by row, the last ones for all rows that are left; random ones without."""
    modality = torch.tensor(modality)
    t = 0.2 + 0.7 * torch.rand(rows, modality.max() + 1)
    if times:
        t = torch.tensor([*times, *[times[-1]] * (rows - len(times))])
    x0, fresh = torch.randint(num_ids, (rows, len(modality))), torch.rand(rows, len(modality))
    fresh[:, 0] = 0.999  # nearly always hidden, even at an early time
    logits = torch.randn(rows, len(modality), num_ids)
    return [logits, x0, _hide(x0, t, modality, fresh, num_ids), t, modality, num_ids]


_IS_ZERO = (
    "Where a segment is shown in full, t is 0 and 1/t is infinite, and infinity times 0 is not a number. The infinite "
    "weight must never meet the surprise."
)

joint_loss = Grader(
    "joint_loss",
    _joint_loss,
    {
        "both segments hidden in part": lambda: _to_learn_from(4, [0] * 3 + [1] * 5, 9),
        "the words of some rows known": lambda: _to_learn_from(4, [0] * 4 + [1] * 6, 12, [0.0, 0.6], [0.5, 0.3]),
        "the picture known": lambda: _to_learn_from(2, [0] * 3 + [1] * 4, 7, [0.7, 0.0]),
        "a time near zero": lambda: _to_learn_from(3, [0] * 3 + [1] * 4, 8, [0.008, 0.6]),
        "three segments": lambda: _to_learn_from(5, [0] * 2 + [1] * 3 + [2] * 4, 10),
        "nothing hidden": lambda: _to_learn_from(1, [0] * 2 + [1] * 2, 5, [0.0, 0.0]),
    },
    {
        "This is the function of the text: both mistakes are still in it.": _loss_of_the_text,
        "Every token is weighted by the time of the words. (9.1) weights a segment's tokens by that segment's time.": (
            _by_time_of_words
        ),
        f"{_IS_ZERO} Multiplying by hidden comes too late.": _loss_not_safe,
        "The loss is right, but its gradient is not a number. Dropping the infinite terms afterwards helps on the way "
        "forward alone; on the way back 0 is still multiplied by 1/0. Choose before you multiply.": _loss_late_where,
        "Rows that show a segment in full are left out. What is hidden in their other segment still counts.": (
            _loss_without_rows
        ),
        "Rows whose loss is not a number are left out. What is hidden in their other segment still counts.": (
            _loss_nanmean
        ),
        "The weights are cut at 10, as in the training of the shipped model. Here w = 1/t as it is.": _cut(10),
        "The weights are cut at 100. Here w = 1/t as it is.": _cut(100),
        "This counts the known tokens as well. The model sees them, so there is nothing to learn from them: (9.1) sums "
        "over hidden ones.": _loss_of_all,
        "The weights are missing: (9.1) with w = 1/t.": _weighted(lambda t, modality: torch.ones_like(t)[:, modality]),
        "The weight is t here. A hidden token counts 1/t: where little is hidden, each one counts more.": (
            _weighted(lambda t, modality: t[:, modality])
        ),
        "The weights are exchanged: each segment is weighted by the time of another one.": (
            _weighted(lambda t, modality: 1 / t.flip(1)[:, modality])
        ),
        "Every token is weighted by the time of the last segment. (9.1) weights a segment's tokens by that segment's "
        "time.": _weighted(lambda t, modality: 1 / t[:, -1:].expand(-1, len(modality))),
        "With two segments this is right. There can be more, and each has a column of t.": (
            _weighted(lambda t, modality: 1 / t[:, modality.clamp(max=1)])
        ),
        "The weight is 1/(1 - t) here; for ᾱ = 1 - t it is 1/t.": (
            _weighted(lambda t, modality: 1 / (1 - t[:, modality]))
        ),
        "All segments share one weight, of the mean time. Each has its own.": (
            _weighted(lambda t, modality: 1 / t.mean(1, keepdim=True).expand(-1, len(modality)))
        ),
        "This is the mean over the tokens; (9.1) sums over them. The mean runs over the rows alone.": (
            lambda logits, x0, x, t, modality, mask_id: _joint_loss(logits, x0, x, t, modality, mask_id) / len(modality)
        ),
        "This is the mean over the hidden tokens; (9.1) sums over them. The mean runs over the rows alone.": (
            _loss_mean_of_hidden
        ),
        "Each row's sum is divided by the number of its hidden tokens; (9.1) sums over them.": _loss_mean_a_row,
        "Each segment's sum is divided by the number of its tokens; (9.1) sums over them.": _loss_mean_a_segment,
        "This is the sum over the batch; take the mean of its rows.": (
            lambda *arguments: _loss_a_row(*arguments).sum()
        ),
        "These are the losses of the rows; take their mean.": _loss_a_row,
        "The sign is wrong: a loss is *minus* the logarithm.": lambda *arguments: -_joint_loss(*arguments),
        "The number is right, but it carries no gradient, so that nothing is learned from it.": (
            lambda *arguments: _joint_loss(*arguments).detach()
        ),
        **_of_later_times,
    },
    use=_loss_and_gradient,
)

# ---------------------------------------------------------------- guided_chances


def _guided_logits(conditional, unconditional, scale):
    impossible = conditional == -torch.inf
    return (unconditional + scale * (conditional - unconditional)).masked_fill(impossible, -torch.inf)


def _guided_chances(conditional, unconditional, scale):
    return _guided_logits(conditional, unconditional, scale).softmax(-1)


def _mixed_chances(conditional, unconditional, scale):
    p, q = unconditional.softmax(-1), conditional.softmax(-1)
    return p + scale * (q - p)


def _mixed_above_zero(conditional, unconditional, scale):
    mixed = _mixed_chances(conditional, unconditional, scale).clamp(min=0)
    return mixed / mixed.sum(-1, keepdim=True)


def _guided_product(conditional, unconditional, scale):
    p, q = unconditional.softmax(-1), conditional.softmax(-1)
    return (p ** (1 - scale) * q**scale).where(conditional != -torch.inf, 0)


def _guided_careless(conditional, unconditional, scale):
    return (unconditional + scale * (conditional - unconditional)).softmax(-1)


def _guided_repaired_late(conditional, unconditional, scale):
    return _guided_careless(conditional, unconditional, scale).nan_to_num(0)


def _guided_repaired_to_zero(conditional, unconditional, scale):
    return (unconditional + scale * (conditional - unconditional)).nan_to_num(0).softmax(-1)


def _in_words(answer, *arguments):
    """The answer's chances, or words where some are no numbers, so that two of them can be equal."""
    chances = answer(*arguments)
    return "not a number" if isinstance(chances, Tensor) and chances.isnan().any() else chances


def _two_opinions(rows, tokens, num_ids, scale, own=None, dtype=torch.float32, level=0.0):
    opinions = [level + torch.randn(rows, tokens, num_ids, dtype=dtype) for _ in range(2)]
    for logits in opinions if own else ():
        logits[..., own:] = -torch.inf
    return [*opinions, scale]


guided_chances = Grader(
    "guided_chances",
    _guided_chances,
    {
        "s = 3": lambda: _two_opinions(3, 4, 6, 3.0),
        "s = 1.5 with foreign ids": lambda: _two_opinions(2, 5, 9, 1.5, own=4),
        "s = 1 with foreign ids": lambda: _two_opinions(4, 1, 5, 1.0, own=3),
        "s = 0 with foreign ids": lambda: _two_opinions(1, 3, 7, 0.0, own=6),
        "s = 2 with low logits": lambda: _two_opinions(3, 2, 6, 2.0, own=4, level=-15.0),
        "s = 4 in float64": lambda: _two_opinions(2, 2, 8, 4.0, own=5, dtype=torch.float64),
    },
    {
        "Foreign ids are at minus infinity in both, and minus infinity less minus infinity is not a number. One such "
        "number spoils the softmax of its token.": _guided_careless,
        "The scale is one too high. Here s = 1 is the conditional model alone; some papers write w = s - 1.": (
            lambda conditional, unconditional, scale: _guided_chances(conditional, unconditional, scale + 1)
        ),
        "The scale is one too low. Here s = 1 is the conditional model alone, and s = 0 the unconditional.": (
            lambda conditional, unconditional, scale: _guided_chances(conditional, unconditional, scale - 1)
        ),
        "The softmax runs over the tokens. The probabilities of one token sum to one over its *ids*.": (
            lambda conditional, unconditional, scale: _guided_logits(conditional, unconditional, scale).softmax(1)
        ),
        "(9.3) gives probabilities up to a factor. These need no softmax, only to be divided by their sum.": (
            lambda conditional, unconditional, scale: _guided_product(conditional, unconditional, scale).softmax(-1)
        ),
        "The two are exchanged: this leads away from what the words say.": (
            lambda conditional, unconditional, scale: _guided_chances(unconditional, conditional, scale)
        ),
        "This mixes probabilities along a line, and some of them are negative. (9.3) multiplies powers of them, which "
        "is a line in the logits.": _mixed_chances,
        "This mixes probabilities and cuts them off at zero. (9.3) multiplies powers of them, which is a line in the "
        "logits.": _mixed_above_zero,
        "The product is right, but it does not sum to one: (9.3) says ∝, so divide by the sum over the ids.": (
            _guided_product
        ),
        "Only what the words add is left. (9.3) starts from p without words.": (
            lambda conditional, unconditional, scale: (
                (scale * (conditional - unconditional)).masked_fill(conditional == -torch.inf, -torch.inf).softmax(-1)
            )
        ),
        "The unconditional model plays no part: this is a temperature.": (
            lambda conditional, unconditional, scale: (
                (scale * conditional).masked_fill(conditional == -torch.inf, -torch.inf).softmax(-1)
            )
        ),
        "These are logits; probabilities are asked for.": _guided_logits,
        "These are logarithms of the probabilities; the probabilities are asked for.": (
            lambda conditional, unconditional, scale: _guided_logits(conditional, unconditional, scale).log_softmax(-1)
        ),
        "This is the conditional model alone, whatever the scale.": (
            lambda conditional, unconditional, scale: conditional.softmax(-1)
        ),
        "The conditional side counts s times, and the unconditional one once on top. By (9.3) its power is 1 - s.": (
            lambda conditional, unconditional, scale: (unconditional + scale * conditional).softmax(-1)
        ),
        "The zeros came too late: one logit that is not a number spoils the whole softmax, so that *all* ids of the "
        "token got 0. Mend the logits.": _guided_repaired_late,
        "A logit of 0 is not a chance of 0. The ids that are ruled out must keep minus infinity.": (
            _guided_repaired_to_zero
        ),
    },
    use=_in_words,
)

# ---------------------------------------------------------------- recall_of_pictures


def _recall(k, scores):
    others_as_good = (scores >= scores.diagonal()[:, None]).sum(1) - 1
    return (others_as_good < k).double().mean()


def _recall_beside_the_point(k, scores):
    return ((scores >= scores.diagonal()[:, None]).sum(0) - 1 < k).double().mean()


def _recall_of_pictures(k, given_words, alone):
    return _recall(k, (given_words - alone[:, None]).T)


def _at_two_places(answer, k, given_words, alone):
    """recall@k, and with a larger k, so that two mistakes seldom come out alike."""
    copies = given_words.clone(), alone.clone()
    first, larger = answer(k, given_words, alone), min(2 * k + 1, len(alone))
    return None if first is None else {f"recall@{k}": first, f"recall@{larger}": answer(larger, *copies)}


def _tables(count, k, clear, noise=1.0, spread=3.0):
    """Scores with the own pair ahead by `clear`, and pictures that differ in how likely they are."""
    alone = spread * torch.randn(count) - 40
    return [k, alone[:, None] + noise * torch.randn(count, count) + clear * torch.eye(count), alone]


recall_of_pictures = Grader(
    "recall_of_pictures",
    _recall_of_pictures,
    {
        "90 pairs": lambda: _tables(90, 3, 2.5, spread=1.0),
        "40 pairs": lambda: _tables(40, 1, 2.5),
        "24 pairs": lambda: _tables(24, 5, 1.5),
        "pictures of very different likelihood": lambda: _tables(30, 1, 20.0, spread=30.0),
        "k = Q": lambda: _tables(7, 7, 0.0),
    },
    {
        "This is the number of the function in the text, and taking the prior off does not change it. It still ranks "
        "the words of each picture, which all meet the same prior. Here the words look for their picture.": (
            lambda k, given_words, alone: _recall(k, given_words)
        ),
        "The words look for their picture, but by likelihood alone: the prior of each *picture* is still in it, and "
        "pictures that are always likely win. What is the same for all pictures changes nothing.": (
            lambda k, given_words, alone: _recall(k, given_words.T)
        ),
        "k plays no part: this is recall@1.": lambda k, given_words, alone: _recall_of_pictures(1, given_words, alone),
        "The prior is added, so that likely pictures win all the more. (9.4) takes it off.": (
            lambda k, given_words, alone: _recall(k, (given_words + alone[:, None]).T)
        ),
        "The own pairs come last, so the order is turned round: the highest score is the best. It also happens where "
        "logarithms, which are negative, are divided; (9.4) takes their difference.": (
            lambda k, given_words, alone: _recall(k, (alone[:, None] - given_words).T)
        ),
        "The prior was taken off along the wrong axis, and the table is not turned. Rows of given_words are pictures, "
        "and the prior belongs to the picture.": lambda k, given_words, alone: _recall(k, given_words - alone),
        "These are logarithms, and (9.4) takes their difference as they are, without an exponential.": (
            lambda k, given_words, alone: _recall(k, (given_words.exp() - alone.exp()[:, None]).T)
        ),
        "One place too many: recall@1 counts those with *no* other as good, recall@k those with fewer than k.": (
            lambda k, given_words, alone: _recall(k + 1, (given_words - alone[:, None]).T)
        ),
        "The own picture is counted among the others, which costs one place: (9.5) says c ≠ q.": (
            lambda k, given_words, alone: _recall(k - 1, (given_words - alone[:, None]).T)
        ),
        "The scores of all pictures for one sentence are compared with the own score of another sentence.": (
            lambda k, given_words, alone: _recall_beside_the_point(k, given_words - alone[:, None])
        ),
        "This is in per cent; the share itself is asked for.": (
            lambda k, given_words, alone: 100 * _recall_of_pictures(k, given_words, alone)
        ),
        "This is how many were found; recall is their share.": (
            lambda k, given_words, alone: _recall_of_pictures(k, given_words, alone) * len(alone)
        ),
        "This is the share that is *not* found.": (
            lambda k, given_words, alone: 1 - _recall_of_pictures(k, given_words, alone)
        ),
    },
    given=("recall_at",),
    use=_at_two_places,
)

# ---------------------------------------------------------------- caption_scores


def _ask(denoiser, x0, gaps, mask_id, length):
    text = torch.full_like(x0[:, :length], mask_id)
    x = torch.cat([text, x0[:, length:].where(~gaps, mask_id)], 1)
    with torch.no_grad():
        return denoiser(x, torch.zeros(len(x)))[:, :length].argmax(-1)


def _shares(guess, text):
    right = guess == text
    return right[text > 0].double().mean(), right.all(1).double().mean()


def _caption_scores(denoiser, x0, gaps, mask_id, length):
    return _shares(_ask(denoiser, x0, gaps, mask_id, length), x0[:, :length])


def _scores_with_words_seen(denoiser, x0, gaps, mask_id, length):
    x = x0.clone()
    x[:, length:][gaps] = mask_id
    return _shares(denoiser(x, torch.zeros(len(x)))[:, :length].argmax(-1), x0[:, :length])


def _scores_without_gaps(denoiser, x0, gaps, mask_id, length):
    return _caption_scores(denoiser, x0, torch.zeros_like(gaps), mask_id, length)


def _scores_of_the_gaps(denoiser, x0, gaps, mask_id, length):
    return _caption_scores(denoiser, x0, ~gaps, mask_id, length)


def _scores_with_fill(denoiser, x0, gaps, mask_id, length):
    right = _ask(denoiser, x0, gaps, mask_id, length) == x0[:, :length]
    return right.double().mean(), right.all(1).double().mean()


def _scores_past_the_end(denoiser, x0, gaps, mask_id, length):
    text = x0[:, :length]
    right = _ask(denoiser, x0, gaps, mask_id, length) == text
    return right[text > 0].double().mean(), (right | (text == 0)).all(1).double().mean()


def _scores_a_caption(denoiser, x0, gaps, mask_id, length):
    text = x0[:, :length]
    right = (_ask(denoiser, x0, gaps, mask_id, length) == text) & (text > 0)
    return (right.sum(1) / (text > 0).sum(1)).double().mean(), _caption_scores(denoiser, x0, gaps, mask_id, length)[1]


def _scores_of_any_word(denoiser, x0, gaps, mask_id, length):
    text = x0[:, :length]
    right = _ask(denoiser, x0, gaps, mask_id, length) == text
    return right[text > 0].double().mean(), right.any(1).double().mean()


def _scores_of_all_tokens(denoiser, x0, gaps, mask_id, length):
    text = x0[:, :length]
    right = _ask(denoiser, x0, gaps, mask_id, length) == text
    return (right & (text > 0)).double().mean(), right.all(1).double().mean()


def _scores_as_counts(denoiser, x0, gaps, mask_id, length):
    text = x0[:, :length]
    right = _ask(denoiser, x0, gaps, mask_id, length) == text
    return right[text > 0].sum(), right.all(1).sum()


def _scores_of_said_words(denoiser, x0, gaps, mask_id, length):
    text, guess = x0[:, :length], _ask(denoiser, x0, gaps, mask_id, length)
    right = guess == text
    return right[guess > 0].double().mean(), right.all(1).double().mean()


def _scores_of_the_sequence(denoiser, x0, gaps, mask_id, length):
    x = x0.clone()
    x[:, :length] = mask_id
    x[:, length:][gaps] = mask_id
    return _shares(denoiser(x, torch.zeros(len(x))).argmax(-1), x0)


def _scores_with_gaps_too_early(denoiser, x0, gaps, mask_id, length):
    x = x0.clone()
    x[:, : gaps.shape[1]][gaps] = mask_id
    x[:, :length] = mask_id
    return _shares(denoiser(x, torch.zeros(len(x)))[:, :length].argmax(-1), x0[:, :length])


def _scores_word_by_word(denoiser, x0, gaps, mask_id, length):
    x = x0.clone()
    x[:, :length] = mask_id
    x[:, length:][gaps] = mask_id
    for place in range(length):
        x[:, place] = denoiser(x, torch.zeros(len(x)))[:, place].argmax(-1)
    return _shares(x[:, :length], x0[:, :length])


def _reader(length, num_words):
    """A stand-in for a model: a word it sees it repeats; else it reads it from the picture's token of that place.

    A word after one that it sees it takes for the next id, so that it matters what else is shown.
    """

    def denoiser(x, t):
        mask_id = 2 * num_words
        text, picture = x[:, :length], x[:, length:]
        unseen = picture == mask_id
        read = (picture - num_words).where(~unseen, torch.arange(picture.shape[1]) % 2)[:, :length]
        read = (read + (text != mask_id).any(1, keepdim=True)) % num_words
        ids = torch.cat([text.where(text != mask_id, read), picture.where(~unseen, num_words)], 1)
        return F.one_hot(ids, mask_id).float()

    return denoiser


def _reading(rows, length, num_words, tokens, share):
    """Captions, and pictures whose tokens stand for their words, nearly always; with gaps."""
    text = torch.randint(1, num_words, (rows, length))
    text[torch.arange(length) >= torch.randint(1, length + 1, (rows, 1))] = 0
    drawn = torch.randint(num_words, (rows, tokens))
    told = torch.rand(rows, length) < 0.9
    drawn[:, :length] = text.where(told, drawn[:, :length])
    x0 = torch.cat([text, drawn + num_words], 1)
    return [_reader(length, num_words), x0, torch.rand(rows, tokens) < share, 2 * num_words, length]


caption_scores = Grader(
    "caption_scores",
    _caption_scores,
    {
        "captions of up to four words": lambda: _reading(200, 4, 6, 9, 0.3),
        "the whole picture": lambda: _reading(120, 3, 5, 4, 0.0),
        "no picture": lambda: _reading(90, 3, 4, 6, 1.1),
        "captions of up to seven words": lambda: _reading(150, 7, 12, 10, 0.2),
    },
    {
        "The model saw the words that it was asked for. Hide all of them first.": _scores_with_words_seen,
        "The model saw the whole picture; the gaps must be hidden from it.": _scores_without_gaps,
        "The gaps were shown and the rest was hidden: gaps is true where a token is to be *hidden*.": (
            _scores_of_the_gaps
        ),
        "The whole picture was hidden; only its gaps should be.": (
            lambda denoiser, x0, gaps, mask_id, length: _caption_scores(
                denoiser, x0, torch.ones_like(gaps), mask_id, length
            )
        ),
        "The gaps stand too early, as if they counted from the first word. They count from the first token of the "
        "picture.": _scores_with_gaps_too_early,
        "The model was asked several times, and saw its own guesses for other words. Ask once, all text hidden.": (
            _scores_word_by_word
        ),
        "The first share is of the places where the *model* says a word. Take those where x0 has one.": (
            _scores_of_said_words
        ),
        "Picture tokens are counted, too. The shares are of words and captions.": _scores_of_the_sequence,
        "These are the shares of what is wrong; what is right is asked for.": (
            lambda *arguments: tuple(1 - share for share in _caption_scores(*arguments))
        ),
        "The first share counts the zeros that fill up short captions. They are no words, and easy to guess.": (
            _scores_with_fill
        ),
        "The second share forgives words after the end of a caption. Its zeros must be right, too.": (
            _scores_past_the_end
        ),
        "The first share is a mean of the captions' shares, so that a word of a short caption counts more. Count all "
        "words alike.": _scores_a_caption,
        "The first share is of all tokens of the text, the zeros counted as wrong. Divide by the number of words.": (
            _scores_of_all_tokens
        ),
        "These are counts; shares are asked for.": _scores_as_counts,
        "A caption counts as right here if any of its tokens is; all must be.": _scores_of_any_word,
        "The order is: first the share of words, then that of captions.": (
            lambda *arguments: _caption_scores(*arguments)[::-1]
        ),
    },
)
