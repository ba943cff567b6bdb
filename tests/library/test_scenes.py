"""Scenes, their captions and their reader: what is drawn is what is meant."""

import itertools
import re

import pytest
import torch
import torch.nn.functional as F

from vqdit_lite import data
from vqdit_lite.data.scenes import BACKGROUND, attributes


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


NAMES = [data.object_name(number) for number in range(1, 25)]
PAIRS = [f"{first} {word} {second}" for word in ("above", "beside") for first in NAMES for second in NAMES]

# ---------------------------------------------------------------- scenes


def test_scenes_follow_their_seed():
    first, again, other = data.scenes(50, generator()), data.scenes(50, generator()), data.scenes(50, generator(1))
    assert torch.equal(first.pictures, again.pictures)
    assert torch.equal(first.objects, again.objects)
    assert not torch.equal(first.objects, other.objects)


def test_scenes_hold_one_or_two_objects_of_every_kind_at_every_place():
    scenes = data.scenes(4000, generator())
    there = scenes.objects > 0
    assert scenes.pictures.shape == (4000, 3, 24, 24)
    assert scenes.pictures.min() >= 0
    assert scenes.pictures.max() <= 1
    assert set(there.sum(1).tolist()) == {1, 2}
    assert (there.sum(1) == 1).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert there.float().mean(0).min() > 0.15
    assert scenes.objects.unique().tolist() == list(range(25))


def test_scenes_are_read_without_an_error():
    scenes = data.scenes(2000, generator())
    assert torch.equal(data.read_scenes(scenes.pictures), scenes.objects)


def test_scenes_are_read_through_noise():
    scenes = data.scenes(1000, generator())
    noise = 0.03 * torch.randn(scenes.pictures.shape, generator=generator(1))
    right = (data.read_scenes(scenes.pictures + noise) == scenes.objects).all(1)
    assert right.float().mean() >= 0.995


def test_every_object_is_read_at_every_place():
    objects = torch.zeros(24 * 9, 9, dtype=torch.long)
    for row, (kind, place) in enumerate(itertools.product(range(1, 25), range(9))):
        objects[row, place] = kind
    assert torch.equal(data.read_scenes(data.draw_scenes(objects, generator())), objects)


def blobs(n, size):
    """Smooth noise in colour, of `size` by `size` blobs."""
    noise = torch.randn(n, 3, size, size, generator=generator(size))
    return (0.5 + 0.25 * F.interpolate(noise, 24, mode="bicubic")).clamp(0, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 8, 12, 24])
def test_the_reader_knows_nothing_in_blobs_of_noise(size):
    assert (data.read_scenes(blobs(500, size)) == -1).all(1).float().mean() >= 0.99


def test_the_reader_knows_nothing_in_soft_blobs_on_paper():
    y, x = torch.arange(24.0)[:, None], torch.arange(24.0)
    middle, width = (
        24 * torch.rand(1000, 2, 1, 1, generator=generator()),
        torch.rand(1000, 1, 1, generator=generator(1)),
    )
    distance = (y - middle[:, 0]).square() + (x - middle[:, 1]).square()
    there = torch.exp(-distance / (2 * (1.5 + 2.5 * width).square()))[:, None]
    colour = torch.rand(1000, 3, 1, 1, generator=generator(2))
    assert (data.read_scenes(BACKGROUND[:, None, None].lerp(colour, there)) == -1).all(1).float().mean() >= 0.98


def test_the_reader_knows_nothing_in_faded_scenes_and_in_mixtures_of_two():
    scenes = data.scenes(2000, generator())
    for share in (0.5, 0.6):
        faded = BACKGROUND[:, None, None].lerp(scenes.pictures, share)
        assert (data.read_scenes(faded) == -1).all(1).float().mean() >= 0.99
    mixed = scenes.pictures.lerp(scenes.pictures.roll(1, 0), 0.5)
    other = (scenes.objects != scenes.objects.roll(1, 0)).any(1)
    assert (data.read_scenes(mixed[other]) == -1).all(1).float().mean() >= 0.99


def test_what_the_reader_does_not_know_is_no_scene_and_has_no_caption():
    nothing = data.read_scenes(torch.zeros(2, 3, 24, 24))
    assert torch.equal(nothing, torch.full((2, 9), -1))
    assert data.captions(nothing) == ["", ""]
    assert not data.true_of(["small red circle", ""], nothing).any()
    assert torch.equal(data.read_labels(torch.zeros(2, 3, 24, 24)), torch.tensor([-1, -1]))


# ---------------------------------------------------------------- combinations


def neighbours(sentences):
    return {pair for sentence in sentences for pair in itertools.pairwise(sentence.split())}


def test_a_tenth_of_all_pairs_is_held_out_and_every_pair_of_neighbouring_words_is_shown():
    out = data.held_out(PAIRS)
    assert out.float().mean().item() == pytest.approx(0.1, abs=0.005)
    shown = [sentence for sentence, kept in zip(PAIRS, out, strict=True) if not kept]
    assert neighbours(shown) == neighbours(PAIRS)
    assert not data.held_out(NAMES).any()


def test_both_orders_of_beside_are_held_out_together():
    beside = data.held_out(PAIRS[576:]).view(24, 24)
    assert torch.equal(beside, beside.T)
    assert beside.any()


def test_combinations_say_which_pairs_are_drawn():
    shown, out = (data.scenes(600, generator(), combinations=which) for which in ("shown", "held out"))
    assert not data.held_out(data.captions(shown.objects)).any()
    assert data.held_out(data.captions(out.objects)).all()
    assert len(shown.pictures) == len(out.pictures) == 600
    assert ((shown.objects > 0).sum(1) == 1).any()
    assert torch.equal(data.read_scenes(out.pictures), out.objects)


def test_combinations_that_are_unknown_are_named():
    with pytest.raises(ValueError, match='"all", "shown" or "held out"; got \'unseen\''):
        data.scenes(2, generator(), combinations="unseen")


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        (torch.zeros(2, 8, dtype=torch.long), r"\(batch, 9\); the shape is \(2, 8\)"),
        (torch.zeros(9, dtype=torch.long), r"\(9,\)"),
        (torch.zeros(0, 9, dtype=torch.long), r"\(0, 9\)"),
        (torch.full((1, 9), 31), "0 … 30.*31"),
        (torch.tensor([[0] * 8 + [-1]]), "0 … 30.*-1"),
        (torch.ones(1, 9), "float32"),
    ],
)
def test_objects_that_cannot_be_drawn_are_named(objects, message):
    with pytest.raises(ValueError, match=message):
        data.draw_scenes(objects, generator())


@pytest.mark.parametrize("shape", [(3, 24, 24), (1, 1, 24, 24), (1, 3, 32, 32), (0, 3, 24, 24)])
def test_pictures_that_are_no_scenes_are_named(shape):
    with pytest.raises(ValueError, match=re.escape(f"the shape is {shape}")):
        data.read_scenes(torch.zeros(shape))


def test_scenes_in_the_new_colour_differ_from_others_in_nothing_else():
    scenes = data.scenes_in_new_colour(500, generator())
    there, new = scenes.objects > 0, scenes.objects > data.NUM_OBJECTS
    assert new.any(1).all()
    assert (there & ~new).any()
    assert set(there.sum(1).tolist()) == {1, 2}
    assert torch.equal(data.read_scenes(scenes.pictures, data.ALL_OBJECTS), scenes.objects)
    names = {data.object_name(number) for number in range(1, data.ALL_OBJECTS + 1)}
    assert len(names) == 30
    assert sum(data.NEW_COLOUR in name for name in names) == 6
    assert data.NEW_COLOUR not in data.CAPTION_WORDS


def test_the_usual_reader_knows_only_the_usual_objects():
    scenes = data.scenes_in_new_colour(50, generator())
    assert data.read_scenes(scenes.pictures).max() <= data.NUM_OBJECTS
    usual = data.scenes(500, generator())
    assert torch.equal(data.read_scenes(usual.pictures, data.ALL_OBJECTS), usual.objects)


@pytest.mark.parametrize("number", range(1, 31))
def test_attributes_name_an_object(number):
    shape, colour, size = attributes(torch.tensor([number]))
    name = f"{data.SIZES[size]} {(*data.COLOURS, data.NEW_COLOUR)[colour]} {data.SHAPES[shape]}"
    assert data.object_name(number) == name
    if number <= 24:
        assert data.object_id(data.SHAPES[shape], data.COLOURS[colour], data.SIZES[size]) == number


def test_names_and_numbers_of_objects_are_inverse():
    names = [data.object_name(number) for number in range(1, 25)]
    assert len(set(names)) == 24
    for number, name in enumerate(names, start=1):
        size, colour, shape = name.split()
        assert data.object_id(shape, colour, size) == number


@pytest.mark.parametrize("number", [0, 31, -1])
def test_a_number_that_stands_for_no_object_is_named(number):
    with pytest.raises(ValueError, match=rf"30.*{number}|{number}.*30"):
        data.object_name(number)


@pytest.mark.parametrize("words", [("star", "red", "small"), ("circle", "pink", "small"), ("circle", "red", "huge")])
def test_words_that_name_no_object_are_named(words):
    with pytest.raises(ValueError, match=r"star|pink|huge"):
        data.object_id(*words)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 2), (3, 5), (0, 3), (2, 3), (1, 7), (5, 6), (7, 8)])
def test_captions_name_both_objects_in_reading_order(first, second):
    pairs = list(itertools.product(range(1, 25), repeat=2))
    objects = torch.zeros(len(pairs), 9, dtype=torch.long)
    objects[:, [first, second]] = torch.tensor(pairs)
    word = "beside" if first // 3 == second // 3 else "above"
    sentences = data.captions(objects)
    assert sentences == [f"{data.object_name(a)} {word} {data.object_name(b)}" for a, b in pairs]
    assert len(set(sentences)) == 24 * 24


def test_one_object_is_its_own_caption():
    assert data.captions(torch.tensor([[0, 0, 0, 0, 24, 0, 0, 0, 0]])) == ["large yellow triangle"]


CIRCLE, TRIANGLE = "small red circle", "large yellow triangle"
BESIDE = torch.tensor([[0, 0, 0, 1, 0, 24, 0, 0, 0]])
ABOVE = torch.tensor([[0, 0, 1, 24, 0, 0, 0, 0, 0]])
ALONE = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 1, 0]])


@pytest.mark.parametrize(
    ("sentence", "objects", "true"),
    [
        (f"{CIRCLE} beside {TRIANGLE}", BESIDE, True),
        (f"{TRIANGLE} beside {CIRCLE}", BESIDE, True),
        (f"{CIRCLE} above {TRIANGLE}", ABOVE, True),
        (f"{TRIANGLE} above {CIRCLE}", ABOVE, False),
        (CIRCLE, ALONE, True),
        # The wrong relation, an object too few, one too many, one twice.
        (f"{CIRCLE} above {TRIANGLE}", BESIDE, False),
        (f"{TRIANGLE} above {CIRCLE}", BESIDE, False),
        (f"{CIRCLE} beside {TRIANGLE}", ABOVE, False),
        (f"{TRIANGLE} beside {CIRCLE}", ABOVE, False),
        (CIRCLE, BESIDE, False),
        (TRIANGLE, BESIDE, False),
        (CIRCLE, ABOVE, False),
        (f"{CIRCLE} beside {TRIANGLE}", ALONE, False),
        (f"{CIRCLE} beside {CIRCLE}", BESIDE, False),
        (f"{CIRCLE} beside {CIRCLE}", ALONE, False),
        # Another size, colour or shape.
        (TRIANGLE, ALONE, False),
        ("large red circle", ALONE, False),
        ("small blue circle", ALONE, False),
        ("small red square", ALONE, False),
        (f"{CIRCLE} beside large yellow square", BESIDE, False),
        (f"large yellow square beside {CIRCLE}", BESIDE, False),
        ("small yellow circle beside large red triangle", BESIDE, False),
        # No sentence.
        ("", ALONE, False),
        ("", BESIDE, False),
        ("beside", BESIDE, False),
        (" beside ", BESIDE, False),
        ("above", ABOVE, False),
        (f"{CIRCLE} beside", ALONE, False),
        (f"beside {CIRCLE}", ALONE, False),
        (f"{CIRCLE} {TRIANGLE}", BESIDE, False),
        (f"{CIRCLE} beside {TRIANGLE} beside {CIRCLE}", BESIDE, False),
        (f"{CIRCLE} beside beside {TRIANGLE}", BESIDE, False),
        ("circle red small", ALONE, False),
        (f" {CIRCLE}", ALONE, False),
        ("red red red red red red red", ALONE, False),
        ("", torch.zeros(1, 9).long(), False),
    ],
)
def test_a_sentence_is_true_of_what_it_says(sentence, objects, true):
    assert data.true_of([sentence], objects).tolist() == [true]


def test_every_caption_is_true_of_its_scene_and_hardly_of_another():
    objects = data.scenes(200, generator()).objects
    said = data.captions(objects)
    true = data.true_of(said, objects)
    assert true.shape == (200,)
    assert true.dtype == torch.bool
    assert true.all()
    assert data.true_of(said, objects.roll(1, 0)).sum() <= 2
    shown = torch.tensor([sentence == other for sentence, other in zip(said, said[-1:] + said[:-1], strict=True)])
    assert (data.true_of(said, objects.roll(1, 0)) | ~shown).all()


def test_a_caption_the_other_way_round_is_true_only_of_objects_in_one_row():
    objects = data.scenes(200, generator(1)).objects
    said = data.captions(objects)
    for word, true in ((" beside ", True), (" above ", False)):
        chosen = [row for row, sentence in enumerate(said) if word in sentence]
        turned = [word.join(said[row].split(word)[::-1]) for row in chosen]
        same = torch.tensor([said[row] == sentence for row, sentence in zip(chosen, turned, strict=True)])
        assert len(chosen) > 20
        assert torch.equal(data.true_of(turned, objects[chosen]) | same, torch.full((len(chosen),), true) | same)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_sentences_and_scenes_must_be_as_many(count):
    with pytest.raises(ValueError, match=f"one sentence for each scene; got {count} and 2"):
        data.true_of([CIRCLE] * count, ALONE.expand(2, 9))


# ---------------------------------------------------------------- scenes of one object


def test_single_scenes_follow_their_seed():
    first, again, other = (data.single_scenes(50, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.pictures, again.pictures)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.labels, other.labels)


def test_single_scenes_hold_one_object_of_every_kind_and_size_at_every_place():
    scenes = data.single_scenes(1200, generator())
    objects = data.read_scenes(scenes.pictures)
    assert scenes.pictures.shape == (1200, 3, 24, 24)
    assert ((objects > 0).sum(1) == 1).all()
    assert (objects > 0).float().mean(0).min() > 0.08
    assert objects.unique().tolist() == list(range(25))
    assert scenes.labels.unique().tolist() == list(range(12))
    assert scenes.labels.bincount().min() > 1200 / 12 / 1.5
    names = [data.object_name(kind) for kind in objects.amax(1).tolist()]
    assert [name.split(" ", 1)[1] for name in names] == [data.label_name(label) for label in scenes.labels.tolist()]


def test_labels_are_read_without_an_error():
    scenes = data.single_scenes(300, generator())
    assert torch.equal(data.read_labels(scenes.pictures), scenes.labels)


def test_labels_are_read_through_noise():
    scenes = data.single_scenes(300, generator())
    noise = 0.03 * torch.randn(scenes.pictures.shape, generator=generator(1))
    assert (data.read_labels(scenes.pictures + noise) == scenes.labels).float().mean() >= 0.99


def test_pictures_of_no_or_several_objects_have_no_label():
    objects = torch.zeros(4, 9, dtype=torch.long)
    objects[1, 2], objects[2, [0, 8]], objects[3] = 24, torch.tensor([5, 5]), 1
    assert data.read_labels(data.draw_scenes(objects, generator())).tolist() == [-1, 11, -1, -1]


def test_labels_name_shape_and_colour_and_leave_out_the_size():
    names = [data.label_name(label) for label in range(12)]
    assert sorted(names) == sorted(f"{colour} {shape}" for colour in data.COLOURS for shape in data.SHAPES)
    for label, name in enumerate(names):
        colour, shape = name.split()
        assert {(data.object_id(shape, colour, size) - 1) // 2 for size in data.SIZES} == {label}


@pytest.mark.parametrize("label", [-1, 12])
def test_a_label_that_stands_for_nothing_is_refused(label):
    with pytest.raises(ValueError, match=f"0 … 11; got {label}"):
        data.label_name(label)


@pytest.mark.parametrize("shape", [(3, 24, 24), (2, 1, 24, 24), (0, 3, 24, 24)])
def test_labels_of_pictures_that_are_no_scenes_are_refused(shape):
    with pytest.raises(ValueError, match=re.escape(f"the shape is {shape}")):
        data.read_labels(torch.zeros(shape))
