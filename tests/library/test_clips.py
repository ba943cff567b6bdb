"""Clips, their captions and their reader: what is drawn is what is meant, and nothing else is read."""

import importlib
import itertools
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from vqdit_lite import data
from vqdit_lite.data.clips import (
    ACTIONS,
    CLIP_RADIUS,
    CLIP_WORDS,
    _possible,
    clip_captions,
    clip_true_of,
    clips,
    draw_clips,
    read_clips,
    targets,
)
from vqdit_lite.data.scenes import BACKGROUND, COLOURS, RGB, attributes, object_id, object_name

SCENES = importlib.import_module("vqdit_lite.data.scenes")  # the file, not the function that data hands on

STEPS = {"moves left": (0, -1), "moves right": (0, 1), "moves up": (-1, 0), "moves down": (1, 0)}  # rows, columns
REVERSE = {
    "moves left": "moves right",
    "moves right": "moves left",
    "moves up": "moves down",
    "moves down": "moves up",
    "grows": "shrinks",
    "shrinks": "grows",
}
PAPER = BACKGROUND[:, None, None, None]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def can(kind, place, action):
    """Whether an object at a place can do this, by its words."""
    size, colour, shape = object_name(kind).split()
    row, column = (at + step for at, step in zip(divmod(place, 3), STEPS.get(action, (0, 0)), strict=True))
    idle = {"grows": size == "large", "shrinks": size == "small", "turns": shape == "circle"}
    return row in range(3) and column in range(3) and not idle.get(action, action == f"becomes {colour}")


def afterwards(kind, place, action):
    """What an object is, and where, when it has acted."""
    size, colour, shape = object_name(kind).split()
    size = {"grows": "large", "shrinks": "small"}.get(action, size)
    colour = action.removeprefix("becomes ") if action.startswith("becomes") else colour
    down, right = STEPS.get(action, (0, 0))
    return object_id(shape, colour, size), place + 3 * down + right


def reversed_track(kind, place, action, *other):
    """The track of a clip that is played from its end."""
    was = object_name(kind).split()[1]
    back = f"becomes {was}" if ACTIONS[action].startswith("becomes") else REVERSE.get(ACTIONS[action], ACTIONS[action])
    return [*afterwards(kind, place, ACTIONS[action]), ACTIONS.index(back), *other]


def scenes_of(rows):
    """Objects (B, 9) as in `Scenes` of lists of (object, place), 0 for none."""
    objects = torch.zeros(len(rows), 9, dtype=torch.long)
    for scene, row in zip(objects, rows, strict=True):
        for kind, place in row:
            if kind:
                scene[place] = kind
    return objects


@pytest.fixture(scope="module")
def many():
    return clips(3000, seeded(1))


@pytest.fixture(scope="module")
def some():
    return clips(250, seeded(2))


# ---------------------------------------------------------------- what happens


def test_clips_follow_their_seed():
    first, again, other = clips(20, seeded(1)), clips(20, seeded(1)), clips(20, seeded(2))
    assert torch.equal(first.frames, again.frames)
    assert torch.equal(first.tracks, again.tracks)
    assert not torch.equal(first.tracks, other.tracks)
    assert first.frames.shape == (20, 3, 8, 24, 24)
    assert first.frames.min() >= 0
    assert first.frames.max() <= 1
    assert torch.equal(draw_clips(first.tracks), first.frames)


def test_an_object_does_all_that_is_possible_and_nothing_else():
    everything = itertools.product(range(1, 25), range(9), range(len(ACTIONS)))
    possible = {(kind, place, action) for kind, place, action in everything if can(kind, place, ACTIONS[action])}
    assert sorted(map(tuple, _possible().tolist())) == sorted(possible)


def test_every_action_object_and_place_occurs_often_and_nothing_that_is_impossible(many):
    kind, place, action, other, there = many.tracks.T
    assert all(can(*who, ACTIONS[what]) for *who, what in many.tracks[:, :3].tolist())
    for numbers, count in ((kind - 1, 24), (place, 9), (action, len(ACTIONS))):
        assert numbers.bincount(minlength=count).min() >= len(many.tracks) / count / 3
    second = other > 0
    assert second.double().mean().item() == pytest.approx(0.6, abs=0.045)  # five standard deviations
    assert not there[~second].any()
    for numbers, count in ((other[second] - 1, 24), (there[second], 9)):
        assert numbers.bincount(minlength=count).min() >= second.sum() / count / 3


def test_who_acts_never_meets_who_stays(many):
    two = many.tracks[many.tracks[:, 3] > 0]
    ends = torch.tensor([afterwards(*who, ACTIONS[what])[1] for *who, what in two[:, :3].tolist()])
    assert torch.equal(targets(two), ends)
    assert ((ends >= 0) & (ends < 9)).all()
    assert (two[:, 4] != two[:, 1]).all()
    assert (two[:, 4] != ends).all()


def test_clips_begin_and_end_as_drawn_scenes(many, monkeypatch):
    monkeypatch.setattr(SCENES, "_JITTER", 0.0)
    monkeypatch.setattr(SCENES, "RADIUS", CLIP_RADIUS)
    turns = many.tracks[:, 2] == ACTIONS.index("turns")
    rows = many.tracks.tolist()
    begin = scenes_of([[(kind, place), other] for kind, place, _, *other in rows])
    end = scenes_of([[afterwards(kind, place, ACTIONS[action]), other] for kind, place, action, *other in rows])
    torch.testing.assert_close(many.frames[:, :, 0], data.draw_scenes(begin, seeded()), atol=1e-5, rtol=0)
    drawn = data.draw_scenes(end, seeded())
    torch.testing.assert_close(many.frames[~turns, :, -1], drawn[~turns], atol=1e-5, rtol=0)
    assert ((many.frames[turns, :, -1] - drawn[turns]).abs().amax((1, 2, 3)) > 0.1).all()


def test_the_reader_of_scenes_reads_the_first_frame(many, monkeypatch):
    monkeypatch.setattr(SCENES, "RADIUS", CLIP_RADIUS)
    begin = scenes_of([[(kind, place), other] for kind, place, _, *other in many.tracks[:500].tolist()])
    assert torch.equal(data.read_scenes(many.frames[:500, :, 0]), begin)


def test_a_move_shifts_the_object_by_whole_pixels_to_the_next_place():
    for action, step in STEPS.items():
        frames = draw_clips(torch.tensor([[kind, 4, ACTIONS.index(action), 0, 0] for kind in range(1, 25)]))
        for now, pixels in enumerate([0, 1, 2, 3, 5, 6, 7, 8]):  # sevenths of eight pixels, rounded
            shifted = frames[:, :, 0].roll([pixels * one for one in step], (2, 3))
            torch.testing.assert_close(frames[:, :, now], shifted, atol=1e-5, rtol=0)


def test_growth_and_change_of_colour_go_one_way_in_every_frame():
    small, large = torch.arange(1, 25, 2), torch.arange(2, 25, 2)
    areas = []
    for kinds, action in ((small, "grows"), (large, "shrinks")):
        who = torch.stack([kinds, torch.full_like(kinds, 4), torch.full_like(kinds, ACTIONS.index(action))], 1)
        areas.append((draw_clips(torch.nn.functional.pad(who, (0, 2))) - PAPER).abs().sum((1, 3, 4)))  # (12, 8)
    assert (areas[0].diff(dim=1) > 0).all()
    torch.testing.assert_close(areas[0].flip(1), areas[1])
    row = [object_id("square", "red", "large"), 4, ACTIONS.index("becomes blue"), 0, 0]
    inside = draw_clips(torch.tensor([row]))[0, :, :, 11, 11]  # (3, 8)
    even = torch.linspace(0, 1, 8)
    torch.testing.assert_close(inside, RGB[0][:, None] * (1 - even) + RGB[2][:, None] * even)


def test_a_turn_is_a_sixth_of_a_whole_one():
    """The first frame, turned by SciPy, is most like the last at 60 degrees; a triangle looks different at each."""
    row = [object_id("triangle", "blue", "large"), 4, ACTIONS.index("turns"), 0, 0]
    seen = (draw_clips(torch.tensor([row]))[0] - PAPER)[0].neg().numpy()  # (8, 24, 24) the contrast in red
    angles = range(-180, 180, 10)
    for frame, wanted in ((7, 60), (0, 0)):
        turned = [ndimage.rotate(seen[0], angle, reshape=False, order=1) for angle in angles]
        errors = [np.square(one - seen[frame]).sum() for one in turned]
        assert abs(angles[int(np.argmin(errors))]) == wanted
    assert np.ptp(seen.sum((1, 2))) < 0.05 * seen[0].sum()  # as large in every frame


def test_who_stays_looks_the_same_in_every_frame_and_adds_to_who_acts(some):
    """Neither hides a part of the other: the contrasts with the background add up."""
    alone, nobody = some.tracks.clone(), some.tracks[:, 3] == 0
    alone[:, 3:] = 0
    rest = some.frames - draw_clips(alone)
    assert not rest[nobody].any()
    stays = (rest.abs().amax(1) > 0.1)[~nobody]  # (B, 8, 24, 24)
    assert stays.any((2, 3)).all()
    torch.testing.assert_close(rest, rest[:, :, :1].expand_as(rest), atol=0.15, rtol=0)  # corners graze soft edges


# ---------------------------------------------------------------- captions


@pytest.mark.parametrize(
    ("who", "place", "action", "other", "sentence"),
    [
        ("small red circle", 0, "moves right", ("large yellow triangle", 8), "above large yellow triangle"),
        ("large green square", 8, "turns", ("small blue circle", 0), "below small blue circle"),
        ("small blue triangle", 3, "becomes yellow", ("small blue triangle", 5), "beside small blue triangle"),
        ("small blue triangle", 7, "moves up", ("large red square", 3), "below large red square"),
        ("large yellow circle", 4, "shrinks", None, ""),
        ("small yellow square", 2, "grows", None, ""),
    ],
)
def test_a_caption_says_who_acts_how_and_beside_whom(who, place, action, other, sentence):
    numbers = {object_name(kind): kind for kind in range(1, 25)}
    second = [numbers[other[0]], other[1]] if other else [0, 0]
    track = torch.tensor([[numbers[who], place, ACTIONS.index(action), *second]])
    assert clip_captions(track) == [f"{who} {action} {sentence}".strip()]


def test_relations_are_those_of_the_rows_at_the_start():
    table = ["beside above above", "below beside above", "below below beside"]  # row of the first, of the second
    for place, there in itertools.permutations(range(9), 2):
        (caption,) = clip_captions(torch.tensor([[3, place, ACTIONS.index("grows"), 5, there]]))
        assert caption.split()[4] == table[place // 3].split()[there // 3]


def test_captions_use_all_words_and_no_others_and_at_most_nine(many):
    captions = [caption.split() for caption in clip_captions(many.tracks)]
    assert {word for caption in captions for word in caption} == set(CLIP_WORDS)
    assert len(set(CLIP_WORDS)) == len(CLIP_WORDS)
    assert {len(caption) for caption in captions} == {4, 5, 8, 9}


def test_different_scenes_of_the_same_sentence_and_nothing_else_share_a_caption(many):
    """Places are said only by rows: who, what, and the order of the rows decide."""
    meant = {}
    for track, caption in zip(many.tracks.tolist(), clip_captions(many.tracks), strict=True):
        kind, place, action, other, there = track
        order = (place // 3 > there // 3) - (place // 3 < there // 3) if other else None
        meant.setdefault(caption, set()).add((kind, action, other, order))
    assert all(len(scenes) == 1 for scenes in meant.values())
    assert len({scene for scenes in meant.values() for scene in scenes}) == len(meant)


def test_a_sentence_is_true_of_its_own_clip_word_for_word(some):
    captions = clip_captions(some.tracks)
    assert clip_true_of(captions, some.tracks).all()
    assert not clip_true_of([f"{caption} red" for caption in captions], some.tracks).any()
    others = captions[1:] + captions[:1]
    wanted = [one == other for one, other in zip(captions, others, strict=True)]
    assert clip_true_of(others, some.tracks).tolist() == wanted


def test_nothing_is_true_of_a_clip_that_could_not_be_read():
    tracks = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 1, 0, 0]])
    found = clip_true_of(["", "small red circle moves right", ""], tracks)
    assert clip_captions(tracks)[:2] == ["", ""]
    assert found.dtype == torch.bool
    assert found.tolist() == [False, False, False]


# ---------------------------------------------------------------- the reader


def test_the_reader_makes_no_error_on_a_thousand_fresh_clips():
    batch = clips(1000, seeded(3))
    assert torch.equal(read_clips(batch.frames), batch.tracks)


def test_a_little_noise_does_not_disturb_the_reader(some):
    noise = 0.05 * torch.randn(some.frames.shape, generator=seeded())
    assert (read_clips(some.frames + noise) == some.tracks).all(1).float().mean() >= 0.99


def unread(frames):
    return (read_clips(frames) == 0).all(1)


@pytest.mark.parametrize("frame", range(8))
def test_a_blank_frame_is_noticed(some, frame):
    spoiled = some.frames[:100].clone()
    spoiled[:, :, frame] = BACKGROUND[:, None, None]
    assert unread(spoiled).all()


@pytest.mark.parametrize("frame", [0, 4, 7])
def test_a_frame_of_a_clip_in_which_somebody_acts_elsewhere_is_noticed(some, frame):
    ends = torch.stack([some.tracks[:, 1], targets(some.tracks)], 1)
    apart = ~(ends[:, :, None] == ends.roll(1, 0)[:, None]).any((1, 2))
    spoiled = some.frames.clone()
    spoiled[:, :, frame] = some.frames.roll(1, 0)[:, :, frame]
    assert apart.sum() > 100
    assert unread(spoiled[apart]).all()


@pytest.mark.parametrize("frame", [0, 4, 7])
def test_an_object_that_stands_in_one_frame_only_is_noticed(some, frame):
    alone = some.tracks[some.tracks[:, 3] == 0]
    free = torch.ones(len(alone), 9).scatter_(1, torch.stack([alone[:, 1], targets(alone)], 1), 0)
    ghost = alone.clone()
    ghost[:, 3] = 1 + torch.arange(len(alone)) % 24
    ghost[:, 4:] = torch.multinomial(free, 1, generator=seeded())
    spoiled = draw_clips(alone)
    spoiled[:, :, frame] = draw_clips(ghost)[:, :, frame]
    assert unread(spoiled).all()
    missing = draw_clips(ghost)
    missing[:, :, frame] = draw_clips(alone)[:, :, frame]
    assert unread(missing).all()


def in_one_frame(change, frame=4):
    """Clips in one frame of which who acts or who stays has been changed; kinds are numbers 1 … 24."""
    tracks = torch.tensor([[kind, 3, ACTIONS.index("moves right"), 25 - kind, 8] for kind in range(1, 25)])
    spoiled = []
    for column in (0, 3):
        other = tracks.clone()
        other[:, column] = torch.tensor([change(kind) for kind in tracks[:, column].tolist()])
        frames, differs = draw_clips(tracks), other[:, column] != tracks[:, column]
        frames[:, :, frame] = draw_clips(other)[:, :, frame]
        spoiled.append(frames[differs])
    return torch.cat(spoiled)


@pytest.mark.parametrize(("colour", "wrong"), list(itertools.permutations(COLOURS, 2)))
def test_a_wrong_colour_in_one_frame_is_noticed(colour, wrong):
    def change(kind):
        size, own, shape = object_name(kind).split()
        return object_id(shape, wrong if own == colour else own, size)

    spoiled = in_one_frame(change)
    assert len(spoiled) == 12
    assert unread(spoiled).all()


@pytest.mark.parametrize(("shape", "wrong"), list(itertools.permutations(data.SHAPES, 2)))
def test_a_wrong_shape_in_one_frame_is_noticed(shape, wrong):
    def change(kind):
        size, colour, own = object_name(kind).split()
        return object_id(wrong if own == shape else own, colour, size)

    spoiled = in_one_frame(change)
    assert len(spoiled) == 16
    assert unread(spoiled).all()


def test_a_wrong_size_in_one_frame_is_noticed():
    assert unread(in_one_frame(lambda kind: kind + 1 if kind % 2 else kind - 1)).all()


def test_an_object_that_does_nothing_is_no_clip():
    rows = [[*track, 0, 0] for track in _possible()[::7].tolist()]
    still = draw_clips(torch.tensor(rows))[:, :, :1].expand(-1, -1, 8, -1, -1)
    assert unread(still).all()


def test_a_clip_from_its_end_is_the_reversed_action(some):
    """Somebody who turns turns back, which is no clip, or, where a square looks the same, another turn."""
    wanted = torch.tensor([reversed_track(*track) for track in some.tracks.tolist()])
    found, turns = read_clips(some.frames.flip(2)), some.tracks[:, 2] == ACTIONS.index("turns")
    assert torch.equal(found[~turns], wanted[~turns])
    assert ((found == 0).all(1) | (found == some.tracks).all(1))[turns].all()
    triangles = turns & (attributes(some.tracks[:, 0])[0] == 2)
    assert triangles.any()
    assert not found[triangles].any()


def test_who_moves_in_a_wrong_order_of_frames_is_not_read(some):
    moves = some.tracks[:, 2] < len(STEPS)
    for order in ([4, 5, 6, 7, 0, 1, 2, 3], [0, 7, 1, 6, 2, 5, 3, 4], [0, 0, 0, 0, 7, 7, 7, 7]):
        assert unread(some.frames[moves][:, :, order]).all()


def test_noise_and_empty_paper_are_no_clips():
    paper = PAPER.expand(20, 3, 8, 24, 24)
    draw = seeded()
    for frames in (
        paper,
        paper + 0.05 * torch.randn(paper.shape, generator=draw),
        torch.rand(paper.shape, generator=draw),
        torch.randn(paper.shape, generator=draw),
        torch.zeros(paper.shape),
        torch.full(paper.shape, torch.nan),
    ):
        assert unread(frames).all()


def test_reading_does_not_depend_on_the_batch_or_the_kind_of_number(some):
    found = read_clips(some.frames[:6].double().requires_grad_())
    assert torch.equal(found, some.tracks[:6])
    many_times = some.frames[:6].repeat(50, 1, 1, 1, 1)  # more than are read at once
    assert torch.equal(read_clips(many_times), found.repeat(50, 1))


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("shape", [(0, 3, 8, 24, 24), (3, 8, 24, 24), (1, 3, 7, 24, 24), (1, 8, 3, 24, 24)])
def test_clips_of_another_shape_are_named(shape):
    with pytest.raises(ValueError, match=r"needs clips of shape .* the shape is " + re.escape(str(shape))):
        read_clips(torch.zeros(shape))


@pytest.mark.parametrize("tracks", [torch.zeros(5).long(), torch.zeros(2, 4).long(), torch.zeros(2, 5)])
def test_tracks_of_another_kind_are_named(tracks):
    with pytest.raises(ValueError, match=re.escape(f"(batch, 5); got {tracks.dtype} of shape {tuple(tracks.shape)}.")):
        draw_clips(tracks)


def test_the_reader_knows_nothing_in_faded_clips_in_mixtures_of_two_and_in_blobs(some):
    for share in (0.5, 0.6):
        assert not data.read_clips(PAPER.lerp(some.frames, share)).any()
    mixed = some.frames.lerp(some.frames.roll(1, 0), 0.5)
    other = (some.tracks != some.tracks.roll(1, 0)).any(1)
    assert data.read_clips(mixed[other]).any(1).float().mean() <= 0.01
    for size in (1, 2, 4, 8):
        noise = torch.randn(50, 3 * 8, size, size, generator=torch.Generator().manual_seed(size))
        blobs = (0.5 + 0.25 * F.interpolate(noise, 24, mode="bicubic")).clamp(0, 1).unflatten(1, (3, 8))
        assert not data.read_clips(blobs).any()
