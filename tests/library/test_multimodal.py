import copy
import itertools
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vqdit_lite.gaussian import guided
from vqdit_lite.layout import Layout, Segment, sub_layout
from vqdit_lite.masked import MaskedDiffusion
from vqdit_lite.multimodal import (
    TokenEmbedding,
    answer,
    fill_in,
    joint_loss,
    pairwise_log_likelihoods,
    segment_denoiser,
    segment_positions,
    segment_times,
)
from vqdit_lite.schedule import linear, time_grid
from vqdit_lite.transformer import DiT, sincos, sincos_grid

many_cases = settings(deadline=None, max_examples=25)

TEXT, PICTURE, SOUND = Segment("text", 5, (3,)), Segment("picture", 7, (2, 3)), Segment("sound", 2, (4,))
LAYOUT = Layout(TEXT, PICTURE, SOUND)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_parts(layout: Layout, n: int, seed: int = 0) -> dict[str, torch.Tensor]:
    draw = generator(seed)
    return {
        name: torch.randint(segment.vocabulary, (n, *segment.shape), generator=draw)
        for name, segment in layout.segments.items()
    }


def anything(layout: Layout, seed: int = 0):
    """Stands for a network: logits that depend on every id of the sequence and on the time."""
    draw = generator(seed)
    table = torch.randn(layout.vocabulary + 1, layout.length, layout.vocabulary, generator=draw)
    mixing = torch.randn(layout.length, layout.length, generator=draw)

    def model(x, t):
        seen = table[x, torch.arange(layout.length)]  # (B, N, V)
        return torch.einsum("nm,bmv->bnv", mixing, seen) + t[:, None, None]

    return model


@st.composite
def layouts(draw):
    """One to four segments, some of which may share a vocabulary, and so have as many ids."""
    shapes = st.one_of(st.tuples(st.integers(1, 6)), st.tuples(st.integers(1, 4), st.integers(1, 4)))
    count = draw(st.integers(1, 4))
    names = draw(st.permutations(["text", "picture", "sound", "film"]))[:count]
    shared = {vocabulary: draw(st.integers(1, 9)) for vocabulary in ("letters", "codes")}
    segments = []
    for name in names:
        vocabulary = draw(st.sampled_from(["", "", *shared]))
        segments.append(Segment(name, shared.get(vocabulary) or draw(st.integers(1, 9)), draw(shapes), vocabulary))
    return Layout(*segments)


def ids_of(layout: Layout) -> dict[str, list[int]]:
    """All ids that each segment can have, found by packing."""
    found = {}
    for name, segment in layout.segments.items():
        every = torch.arange(segment.vocabulary)[:, None].expand(-1, math.prod(segment.shape))
        x = layout.pack(**{name: every})[:, layout.tokens(name)]
        assert (x == x[:, :1]).all()
        found[name] = x[:, 0].tolist()
    return found


# ---------------------------------------------------------------- one sequence from many parts


@many_cases
@given(layouts(), st.integers(0, 4), st.integers(0, 100))
def test_packing_and_unpacking_are_inverse(layout, n, seed):
    parts = random_parts(layout, n, seed)
    x = layout.pack(**parts)
    assert x.shape == (n, layout.length)
    found = layout.unpack(x)
    assert list(found) == list(layout.segments)
    for name, part in parts.items():
        assert torch.equal(found[name], part)
    assert torch.equal(layout.pack(**found), x)
    assert torch.equal(layout.pack(**{name: part.flatten(1) for name, part in parts.items()}), x)


@many_cases
@given(layouts(), st.integers(0, 100), st.data())
def test_segments_that_are_not_given_are_hidden(layout, seed, data):
    parts = random_parts(layout, 3, seed)
    shown = data.draw(st.sets(st.sampled_from(sorted(parts)), min_size=1))
    x = layout.pack(**{name: parts[name] for name in shown})
    assert torch.equal(x == layout.mask_id, ~layout.tokens(*shown).expand(3, -1))
    for name, part in layout.unpack(x).items():
        assert torch.equal(part, parts[name] if name in shown else torch.full_like(part, -1))


@many_cases
@given(layouts(), st.integers(0, 100))
def test_single_hidden_tokens_come_back_as_minus_one(layout, seed):
    x = layout.pack(**random_parts(layout, 4, seed))
    hidden = torch.rand(x.shape, generator=generator(seed)) < 0.5
    whole, found = layout.unpack(x), layout.unpack(x.masked_fill(hidden, layout.mask_id))
    for name, part in found.items():
        gone = hidden[:, layout.tokens(name)].view(part.shape)
        assert torch.equal(part, whole[name].masked_fill(gone, -1))


@many_cases
@given(layouts())
def test_segments_share_ids_if_and_only_if_they_share_a_vocabulary(layout):
    found, used = ids_of(layout), []
    for (one, ids), (other, others) in itertools.combinations(found.items(), 2):
        shared = layout.segments[one].shared_vocabulary, layout.segments[other].shared_vocabulary
        if shared[0] and shared[0] == shared[1]:
            assert ids == others
        else:
            assert not set(ids) & set(others)
    for ids in found.values():
        used += ids if ids[0] not in used else []
    assert used == list(range(layout.vocabulary))  # each once, in the order of the segments
    assert layout.mask_id == layout.vocabulary
    assert torch.stack([layout.tokens(name) for name in layout.segments]).sum(0).eq(1).all()


@many_cases
@given(layouts())
def test_tokens_of_a_segment_stand_together_in_order(layout):
    lengths = [math.prod(segment.shape) for segment in layout.segments.values()]
    assert layout.modality.tolist() == [number for number, length in enumerate(lengths) for _ in range(length)]
    assert layout.length == sum(lengths)
    for number, name in enumerate(layout.segments):
        assert torch.equal(layout.tokens(name), layout.modality == number)
    assert layout.tokens(*layout.segments).all()
    assert not layout.tokens().any()


def test_positions_are_those_of_each_segment_alone():
    positions = segment_positions(LAYOUT, 16)
    assert positions.shape == (13, 16)
    assert torch.equal(positions[LAYOUT.tokens("text")], sincos(torch.arange(3.0), 16))
    assert torch.equal(positions[LAYOUT.tokens("picture")], sincos_grid(2, 3, 16))
    assert torch.equal(positions[LAYOUT.tokens("sound")], sincos(torch.arange(4.0), 16))


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.uint8])
def test_whole_numbers_of_every_kind_can_be_packed(kind):
    layout = Layout(Segment("text", 300, (1,)), Segment("picture", 256, (1,)))
    x = layout.pack(picture=torch.tensor([[100], [200]], dtype=kind))
    assert x.tolist() == [[556, 400], [556, 500]]


FILM = Layout(
    TEXT, Segment("first", 7, (2, 3), "picture codes"), SOUND, Segment("second", 7, (4,), "picture codes")
)  # ids 0 … 4, 5 … 11, 12 … 13, and 5 … 11 again


def test_segments_that_share_a_vocabulary_count_once():
    assert (FILM.vocabulary, FILM.mask_id, FILM.length) == (14, 14, 17)
    x = FILM.pack(
        first=torch.full((1, 2, 3), 6), second=torch.tensor([[0, 1, 2, 6]]), sound=torch.tensor([[0, 1, 0, 1]])
    )
    assert x[0].tolist() == [14] * 3 + [11] * 6 + [12, 13, 12, 13] + [5, 6, 7, 11]
    assert FILM.modality.tolist() == [0] * 3 + [1] * 6 + [2] * 4 + [3] * 4  # yet they are different segments
    moved = x.clone()
    moved[:, FILM.tokens("second")] = x[:, FILM.tokens("first")][:, :4]
    assert FILM.unpack(moved)["second"].tolist() == [[6] * 4]
    moved[:, FILM.tokens("second")] = 12  # an id of the sound
    with pytest.raises(ValueError, match="part of second holds ids of another segment"):
        FILM.unpack(moved)


def test_a_vocabulary_of_its_own_changes_nothing():
    plain, named = (
        LAYOUT,
        Layout(*(part._replace(shared_vocabulary=f"that of {part.name}") for part in (TEXT, PICTURE, SOUND))),
    )
    parts, model = random_parts(plain, 4), anything(plain)
    x = plain.pack(**parts)
    assert torch.equal(named.pack(**parts), x)
    assert torch.equal(
        segment_denoiser(named, model)(x, torch.ones(4)), segment_denoiser(plain, model)(x, torch.ones(4))
    )
    assert ids_of(plain) == {"text": [*range(5)], "picture": [*range(5, 12)], "sound": [12, 13]} == ids_of(named)


def test_a_denoiser_allows_shared_ids_in_each_segment_that_shares_them_and_no_others():
    x, model = torch.full((2, 17), FILM.mask_id), anything(FILM)
    ours, theirs = segment_denoiser(FILM, model)(x, torch.ones(2)), model(x, torch.ones(2))
    allowed = {"text": range(5), "first": range(5, 12), "sound": range(12, 14), "second": range(5, 12)}
    for name, ids in allowed.items():
        mine, others = list(ids), [i for i in range(14) if i not in ids]
        places = FILM.tokens(name)
        assert torch.equal(ours[:, places][..., mine], theirs[:, places][..., mine])
        assert not ours.softmax(-1)[:, places][..., others].any()


def test_a_vocabulary_of_two_sizes_is_refused():
    with pytest.raises(ValueError, match="first and second share a vocabulary, but not its size"):
        Layout(Segment("first", 7, (2,), "codes"), TEXT, Segment("second", 8, (2,), "codes"))


# ---------------------------------------------------------------- times for training


def test_tokens_of_a_segment_share_their_time_and_one_segment_of_each_row_is_to_be_learned():
    t = segment_times(LAYOUT, 3000, generator())
    assert t.shape == (3000, 13)
    assert t.dtype == torch.float32
    assert ((t >= 0) & (t <= 1)).all()
    for name in LAYOUT.segments:
        part = t[:, LAYOUT.tokens(name)]
        assert (part == part[:, :1]).all()
    assert ((t > 0) & (t < 1)).any(1).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_segments_are_clean_and_hidden_as_often_as_documented(count):
    layout, n = Layout(*(Segment(f"part {i}", 2, (1,)) for i in range(count))), 40_000
    t = segment_times(layout, n, generator(1))
    other = (count - 1) / count  # the chance of not being the one that is learned
    assert ((t == 0).double().mean(0) - other / 2).abs().max() < 0.013  # five standard deviations
    assert ((t == 1).double().mean(0) - other / 4).abs().max() < 0.013
    between = t[(t > 0) & (t < 1)]
    assert torch.stack([(between < level).double().mean() - level for level in (0.2, 0.5, 0.9)]).abs().max() < 0.013
    if count > 1:  # and one segment says nothing about another
        clean, hidden = (t == 0).double(), (t == 1).double()
        assert ((clean[:, 0] * hidden[:, 1]).mean() - (0.125 if count == 3 else 0) / 3).abs() < 0.01


def test_times_follow_their_generator():
    assert torch.equal(segment_times(LAYOUT, 50, generator(1)), segment_times(LAYOUT, 50, generator(1)))
    assert not torch.equal(segment_times(LAYOUT, 50, generator(1)), segment_times(LAYOUT, 50, generator(2)))


def test_the_loss_of_a_clean_segment_is_nothing_and_of_a_hidden_one_all():
    x0, t = LAYOUT.pack(**random_parts(LAYOUT, 50)), torch.zeros(50, 13)
    t[:, LAYOUT.tokens("picture")] = 1.0
    seen = []

    def watched(x, t):
        seen.append(x)
        return torch.zeros(*x.shape, LAYOUT.vocabulary)

    diffusion = MaskedDiffusion(linear(), LAYOUT.mask_id)
    loss = diffusion.loss(segment_denoiser(LAYOUT, watched), x0, generator(), t=t)["loss"]
    assert torch.equal(seen[0] == LAYOUT.mask_id, LAYOUT.tokens("picture").expand(50, -1))
    assert loss.item() == pytest.approx(6 * math.log(7) / 13, rel=1e-5)  # even chances for its own seven ids


# ---------------------------------------------------------------- the denoiser


def owners(layout):
    return torch.arange(len(layout.segments)).repeat_interleave(
        torch.tensor([segment.vocabulary for segment in layout.segments.values()])
    )


@many_cases
@given(layouts(), st.sampled_from([0.0, 1.0, 3.0, -1.0]), st.booleans(), st.integers(0, 100))
def test_ids_of_other_segments_have_no_chance_even_under_guidance(layout, scale, ramp, seed):
    model, first = anything(layout, seed), next(iter(layout.segments))
    x = layout.pack(**random_parts(layout, 4, seed))
    x = x.masked_fill(torch.rand(x.shape, generator=generator(seed)) < 0.5, layout.mask_id)
    foreign = torch.ones(layout.length, layout.vocabulary, dtype=torch.bool)
    for name, ids in ids_of(layout).items():
        foreign[layout.tokens(name)] = foreign[layout.tokens(name)].index_fill(1, torch.tensor(ids), False)
    denoiser = guided(segment_denoiser(layout, model), segment_denoiser(layout, model, hide=(first,)), scale, ramp=ramp)
    for t in (1.0, 0.4, 0.0):
        for say in (segment_denoiser(layout, model), denoiser):
            logits = say(x, torch.full((4,), t))
            chances = logits.softmax(-1)
            assert not logits.isnan().any()
            assert not chances[:, foreign].any()
            torch.testing.assert_close(chances.sum(-1), torch.ones(x.shape))
            assert not (logits / 0.25).double().softmax(-1)[:, foreign].any()


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_foreign_ids_have_no_chance_in_any_precision(kind):
    def model(x, t):
        return 20 * torch.randn(*x.shape, LAYOUT.vocabulary, generator=generator()).to(kind)

    x = torch.full((2, 13), LAYOUT.mask_id)
    say = guided(segment_denoiser(LAYOUT, model), segment_denoiser(LAYOUT, model, hide=("text",)), 3)
    chances = say(x, torch.ones(2)).softmax(-1)
    assert not chances.isnan().any()
    assert not chances[:, owners(LAYOUT) != LAYOUT.modality[:, None]].any()


def test_within_its_own_vocabulary_a_token_keeps_the_logits_of_the_model():
    model, x = anything(LAYOUT), LAYOUT.pack(**random_parts(LAYOUT, 4)).index_fill(1, torch.tensor([0, 5]), 14)
    own = owners(LAYOUT) == LAYOUT.modality[:, None]
    assert torch.equal(
        segment_denoiser(LAYOUT, model)(x, torch.ones(4))[:, own], model(x, torch.full((4,), 2 / 13))[:, own]
    )


@pytest.mark.parametrize("hide", [(), ("text",), ("picture",), ("text", "sound"), ("text", "picture", "sound")])
def test_a_segment_that_is_hidden_has_no_influence(hide):
    first, second = random_parts(LAYOUT, 4), random_parts(LAYOUT, 4, seed=1)
    denoiser, t = segment_denoiser(LAYOUT, anything(LAYOUT), hide), torch.full((4,), 0.3)
    for name in LAYOUT.segments:
        same = torch.equal(
            denoiser(LAYOUT.pack(**first), t), denoiser(LAYOUT.pack(**(first | {name: second[name]})), t)
        )
        assert same == (name in hide)


def test_the_model_is_told_the_share_that_is_hidden_from_it():
    seen = []

    def model(x, t):
        seen.append((x, t))
        return torch.zeros(*x.shape, LAYOUT.vocabulary)

    x = LAYOUT.pack(**random_parts(LAYOUT, 3))
    x[1, 3:5] = LAYOUT.mask_id
    before = x.clone()
    segment_denoiser(LAYOUT, model)(x, torch.full((3,), 0.77))
    segment_denoiser(LAYOUT, model, hide=("text",))(x, torch.full((3,), 0.77))
    torch.testing.assert_close(seen[0][1], torch.tensor([0, 2, 0]) / 13)
    torch.testing.assert_close(seen[1][1], torch.tensor([3, 5, 3]) / 13)
    assert (seen[1][0][:, :3] == LAYOUT.mask_id).all()
    assert torch.equal(x, before)


@pytest.mark.parametrize(("method", "steps"), [("ancestral", 20), ("random", 6), ("confidence", 10)])
@pytest.mark.parametrize("given_name", ["text", "picture", "sound"])
def test_what_is_filled_in_belongs_to_its_segment(method, steps, given_name):
    parts, frozen = random_parts(LAYOUT, 30), LAYOUT.tokens(given_name)
    start, model = LAYOUT.pack(**{given_name: parts[given_name]}), anything(LAYOUT)
    denoiser = guided(
        segment_denoiser(LAYOUT, model), segment_denoiser(LAYOUT, model, hide=(given_name,)), 3, ramp=True
    )
    steps = min(steps, (~frozen).sum().item())
    *_, x = MaskedDiffusion(linear(), LAYOUT.mask_id).sample(
        denoiser, start, time_grid(steps), method, generator=generator(), frozen=frozen, temperature=0.5
    )
    found = LAYOUT.unpack(x)  # refuses ids of other segments
    assert torch.equal(found[given_name], parts[given_name])
    assert min(part.min() for part in found.values()) >= 0


# ---------------------------------------------------------------- tokens as vectors


def embedding(**codebooks):
    torch.manual_seed(0)
    return TokenEmbedding(LAYOUT, 16, **codebooks)


def test_an_embedding_is_the_sum_of_what_a_token_is():
    codes = torch.randn(7, 4, generator=generator())
    layer, x = embedding(picture=codes), LAYOUT.pack(**random_parts(LAYOUT, 2))
    vectors = layer(x)
    assert vectors.shape == (2, 13, 16)
    for row, place in ((0, 1), (0, 4), (1, 8), (1, 12)):
        wanted = layer.ids.weight[x[row, place]] + layer.modality.weight[LAYOUT.modality[place]]
        code = codes[x[row, place] - 5] if LAYOUT.modality[place] == 1 else torch.zeros(4)
        torch.testing.assert_close(vectors[row, place], wanted + layer.projections["picture"](code))


@pytest.mark.parametrize("changed", [0, 3, 6])
def test_a_code_reaches_the_tokens_that_have_it_and_no_others(changed):
    codes = torch.randn(7, 4, generator=generator())
    parts = random_parts(LAYOUT, 20)
    x = LAYOUT.pack(**parts)
    x[:, -5] = LAYOUT.mask_id
    first = embedding(picture=codes)(x)
    other = embedding(picture=codes.index_fill(0, torch.tensor([changed]), 2.0))(x)
    differs = (first != other).any(-1)
    assert torch.equal(differs, x == 5 + changed)
    assert differs.any()


@pytest.mark.parametrize("name", ["first", "second"])
def test_codes_of_one_segment_serve_all_that_share_its_vocabulary(name):
    codes, x = torch.randn(7, 4, generator=generator()), FILM.pack(**random_parts(FILM, 5))
    layer = TokenEmbedding(FILM, 16, **{name: codes})
    vectors = layer(x) - layer.ids(x) - layer.modality(FILM.modality)
    wanted = torch.cat([torch.zeros(5, 4), codes, torch.zeros(3, 4)])[x]  # (5, 17, 4)
    torch.testing.assert_close(vectors, layer.projections[name](wanted))
    assert (wanted[:, FILM.tokens("first", "second")] != 0).all()


def test_several_segments_may_have_codes():
    codes = {"picture": torch.randn(7, 4), "sound": torch.randn(2, 3)}
    layer = embedding(**codes)
    x = LAYOUT.pack(**random_parts(LAYOUT, 3))
    assert layer(x).shape == (3, 13, 16)
    layer(x).sum().backward()
    for projection in layer.projections.values():
        assert projection.weight.grad.any()


def test_the_codes_are_not_trained():
    layer = embedding(picture=torch.randn(7, 4))
    names = [name for name, _ in layer.named_parameters()]
    assert names == ["ids.weight", "modality.weight", "projections.picture.weight", "projections.picture.bias"]


def test_codes_that_need_gradients_are_taken_as_they_are():
    layer, x = embedding(picture=nn.Parameter(torch.randn(7, 4))), LAYOUT.pack(**random_parts(LAYOUT, 2))
    for _ in range(2):
        layer(x).sum().backward()
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))


def test_weights_and_codes_go_through_a_state_dict():
    layer, x = embedding(picture=torch.randn(7, 4)), LAYOUT.pack(**random_parts(LAYOUT, 2))
    torch.manual_seed(1)
    other = TokenEmbedding(LAYOUT, 16, picture=torch.zeros(7, 4))
    assert not torch.equal(other(x), layer(x))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))


def test_a_transformer_takes_a_layout():
    model = DiT(
        embedding(picture=torch.randn(7, 4)), LAYOUT.vocabulary, segment_positions(LAYOUT, 16), depth=1, heads=2
    )
    x = LAYOUT.pack(text=random_parts(LAYOUT, 3)["text"])
    assert segment_denoiser(LAYOUT, model)(x, torch.ones(3)).shape == (3, 13, 14)


# ---------------------------------------------------------------- the loss, and asking


def test_a_joint_loss_draws_times_of_segments_unless_they_are_given():
    x0, model = LAYOUT.pack(**random_parts(LAYOUT, 50)), anything(LAYOUT)
    draw = generator(1)
    t = segment_times(LAYOUT, 50, draw)
    given_times = joint_loss(LAYOUT, model, x0, draw, t)["loss"]
    assert torch.equal(joint_loss(LAYOUT, model, x0, generator(1))["loss"], given_times)
    hidden = torch.ones(50, 13)
    even = joint_loss(LAYOUT, lambda x, t: torch.zeros(*x.shape, 14), x0, generator(), hidden, weighting="unweighted")
    assert even["loss"].item() == pytest.approx((3 * math.log(5) + 6 * math.log(7) + 4 * math.log(2)) / 13, rel=1e-5)


def test_a_joint_loss_follows_the_weights_of_tokens():
    x0, model = LAYOUT.pack(**random_parts(LAYOUT, 50)), anything(LAYOUT)
    parts = [
        joint_loss(LAYOUT, model, x0, generator(), token_weight=LAYOUT.tokens(name).float())["loss"]
        for name in LAYOUT.segments
    ]
    assert min(parts) > 0
    torch.testing.assert_close(sum(parts), joint_loss(LAYOUT, model, x0, generator())["loss"])


def test_what_a_model_never_sees_changes_nothing():
    model, parts, other = anything(LAYOUT), random_parts(LAYOUT, 4), random_parts(LAYOUT, 4, seed=1)
    starts = (LAYOUT.pack(**parts), LAYOUT.pack(**(parts | {"text": other["text"]})))
    frozen = LAYOUT.tokens("text", "picture")
    settings = {"steps": 4, "scale": 3.0, "condition": ("picture",)}
    seen, unseen = (
        [fill_in(LAYOUT, model, x, frozen, generator(), hide=hide, **settings)[:, 9:] for x in starts]
        for hide in ((), ("text",))
    )
    assert not torch.equal(*seen)
    assert torch.equal(*unseen)


def test_an_answer_takes_at_most_one_step_a_token():
    calls = []

    def model(x, t):
        calls.append(len(x))
        return torch.zeros(*x.shape, LAYOUT.vocabulary)

    x = LAYOUT.pack(**random_parts(LAYOUT, 2))
    answer(LAYOUT, model, x, ("picture",), ("text",), generator(), scale=1.0)
    assert len(calls) == 3


def test_likelihoods_of_pairs_are_those_of_each_pair_alone():
    model, x = anything(LAYOUT), LAYOUT.pack(**random_parts(LAYOUT, 3))
    table = pairwise_log_likelihoods(LAYOUT, model, x, "text", draws=4, seed=2)
    frozen = LAYOUT.tokens("text")
    for row, column in itertools.product(range(3), repeat=2):
        pair = x[column].where(frozen, x[row])[None]
        bound = MaskedDiffusion(linear(), LAYOUT.mask_id).nelbo(
            segment_denoiser(LAYOUT, model), pair, generator(2), 4, frozen=frozen
        )
        torch.testing.assert_close(table[row, column], -bound[0])


# ---------------------------------------------------------------- bad input


def test_segments_of_one_name_and_none_at_all_are_refused():
    with pytest.raises(ValueError, match=r"different names; they are \['text', 'picture', 'text'\]"):
        Layout(TEXT, PICTURE, TEXT)
    with pytest.raises(ValueError, match=r"different names; they are \[\]"):
        Layout()


@pytest.mark.parametrize(
    "segment", [("text", 0, (3,)), ("text", 5, ()), ("text", 5, (0,)), ("text", 5, (2, 0)), ("text", 5, (2, 2, 2))]
)
def test_a_segment_without_ids_or_sides_is_named(segment):
    with pytest.raises(ValueError, match="at least one id, and one or two sizes.*" + re.escape(str(Segment(*segment)))):
        Layout(Segment(*segment))


@pytest.mark.parametrize(
    "use",
    [
        lambda: LAYOUT.pack(words=torch.zeros(1, 3).long()),
        lambda: LAYOUT.tokens("text", "words"),
        lambda: segment_denoiser(LAYOUT, None, hide=("words",)),
        lambda: embedding(words=torch.zeros(5, 2)),
    ],
    ids=["pack", "tokens", "denoiser", "embedding"],
)
def test_an_unknown_segment_is_named(use):
    with pytest.raises(ValueError, match="no segment 'words'; there are: text, picture, sound"):
        use()


def test_nothing_to_pack_is_refused():
    with pytest.raises(ValueError, match="at least one segment: text, picture, sound"):
        LAYOUT.pack()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"text": torch.zeros(2, 4).long()}, r"text takes .* \(batch, 3\); got torch.int64 of shape \(2, 4\)"),
        ({"text": torch.zeros(3).long()}, "each segment as"),
        ({"text": torch.zeros(2, 3)}, r"text takes whole numbers .*torch.float32"),
        ({"picture": torch.zeros(2, 3, 2).long()}, r"picture takes .* \(batch, 2, 3\); .* \(2, 3, 2\)"),
        ({"picture": torch.zeros(2, 5).long()}, r"picture takes .* \(batch, 2, 3\); .* \(2, 5\)"),
        ({"text": torch.full((2, 3), 5)}, "text takes ids in 0 … 4.*span 5 … 5"),
        ({"text": torch.tensor([[0, -1, 2]])}, "text takes ids in 0 … 4.*span -1 … 2"),
        (
            {"text": torch.zeros(2, 3).long(), "picture": torch.zeros(3, 6).long()},
            "as many rows as the others",
        ),
        ({"text": torch.zeros(2, 3).long(), "picture": torch.zeros(0, 6).long()}, "as many rows as the others"),
        ({"text": torch.tensor(3)}, "each segment as"),
    ],
)
def test_parts_that_do_not_fit_are_named(parts, message):
    with pytest.raises(ValueError, match=message):
        LAYOUT.pack(**parts)


@pytest.mark.parametrize("shape", [(2, 12), (2, 14), (13,), (2, 13, 1)])
def test_a_sequence_of_another_length_is_named(shape):
    with pytest.raises(ValueError, match=r"13 ids: \(batch, 13\); .*" + re.escape(str(shape))):
        LAYOUT.unpack(torch.zeros(shape).long())


@pytest.mark.parametrize(
    ("place", "number", "name"),
    [(0, 5, "text"), (3, 4, "picture"), (12, 0, "sound"), (1, 15, "text"), (4, -1, "picture")],
)
def test_ids_of_another_segment_are_named(place, number, name):
    x = LAYOUT.pack(**random_parts(LAYOUT, 2))
    x[1, place] = number
    with pytest.raises(ValueError, match=f"part of {name} holds ids of another segment"):
        LAYOUT.unpack(x)


@pytest.mark.parametrize("shape", [(6, 4), (8, 4), (7,), (1, 7, 4)])
def test_a_codebook_of_another_shape_is_named(shape):
    with pytest.raises(ValueError, match=r"picture has 7 ids.*\(7, D\); got " + re.escape(str(shape))):
        embedding(picture=torch.zeros(shape))


# ---------------------------------------------------------------- a layout of fewer segments


def three():
    return Layout(Segment("text", 5, (2,)), Segment("picture", 7, (2, 2)), Segment("sound", 11, (3,)))


@pytest.mark.parametrize("names", [("text", "sound"), ("sound", "text"), ("picture",), ("text", "picture", "sound")])
def test_a_part_of_a_layout_has_the_ids_of_the_whole(names):
    whole, part = three(), sub_layout(three(), *names)
    ids = {name: torch.randint(segment.vocabulary, (4, *segment.shape)) for name, segment in whole.segments.items()}
    x = whole.pack(**ids)
    cut = x[:, whole.tokens(*names)]
    assert torch.equal(part.pack(**{name: ids[name] for name in names}), cut)
    assert {name: piece.tolist() for name, piece in part.unpack(cut).items()} == {
        name: ids[name].tolist() for name in whole.segments if name in names
    }
    assert (part.vocabulary, part.mask_id) == (whole.vocabulary, whole.mask_id)
    assert part.length == len(part.modality) == cut.shape[1]
    assert torch.equal(segment_positions(part, 8), segment_positions(whole, 8)[whole.tokens(*names)])


def test_a_part_of_a_layout_keeps_its_tokens_in_their_own_vocabulary():
    part = sub_layout(three(), "text", "sound")
    denoiser = segment_denoiser(part, lambda x, t: torch.zeros(*x.shape, 23))
    likely = denoiser(torch.zeros(1, 5, dtype=torch.long), torch.ones(1)).softmax(-1)[0]
    assert torch.equal(likely[:2].nonzero()[:, 1].unique(), torch.arange(5))
    assert torch.equal(likely[2:].nonzero()[:, 1].unique(), torch.arange(12, 23))


def test_times_of_a_part_are_those_of_its_segments():
    part = sub_layout(three(), "picture", "sound")
    t = segment_times(part, 200, torch.Generator().manual_seed(0))
    assert t.shape == (200, 7)
    assert (t[:, :4] == t[:, :1]).all()
    assert (t[:, 4:] == t[:, 4:5]).all()
    assert (t[:, 0] != t[:, 4]).any()


def test_a_part_of_unknown_segments_gets_a_sentence():
    with pytest.raises(ValueError, match="no segment 'smell'"):
        sub_layout(three(), "text", "smell")


def test_a_layout_of_no_segments_is_refused():
    with pytest.raises(ValueError, match=r"different names; they are \[\]"):
        sub_layout(three())
