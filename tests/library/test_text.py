import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqdit_lite import data
from vqdit_lite.text import Tokenizer

many_cases = settings(deadline=None, max_examples=25)

WORDS = Tokenizer(["red", "blue", "circle"])
LETTERS = Tokenizer("abc ", separator="")
letters = st.characters(codec="utf-8", exclude_characters=" ")
symbols = st.lists(st.text(letters, min_size=1, max_size=4), min_size=1, max_size=6, unique=True)


# ---------------------------------------------------------------- there and back


@many_cases
@given(symbols, st.data())
def test_words_come_back_exactly(symbols, data):
    tokenizer = Tokenizer(symbols)
    rows = data.draw(st.lists(st.lists(st.sampled_from(symbols), max_size=6), max_size=4))
    texts = [" ".join(row) for row in rows]
    ids = tokenizer.encode(texts, length=6)
    assert ids.shape == (len(rows), 6)
    assert ids.dtype == torch.long
    assert tokenizer.decode(ids) == texts
    for row, words in zip(ids.tolist(), rows, strict=True):
        assert row == [1 + symbols.index(word) for word in words] + [0] * (6 - len(words))


@many_cases
@given(st.text(max_size=20))
def test_characters_come_back_exactly(text):
    tokenizer = Tokenizer(sorted(set(text)), separator="")
    assert tokenizer.decode(tokenizer.encode([text], length=20)) == [text]


@many_cases
@given(st.lists(st.lists(st.sampled_from(["a", "bb", "c c"]), max_size=5), max_size=3))
def test_any_separator_will_do(rows):
    tokenizer = Tokenizer(["a", "bb", "c c"], separator=" | ")
    texts = [" | ".join(row) for row in rows]
    assert tokenizer.decode(tokenizer.encode(texts, length=5)) == texts


@pytest.mark.parametrize("tokenizer", [WORDS, LETTERS])
def test_an_empty_text_is_all_ends(tokenizer):
    assert tokenizer.encode(["", ""], length=3).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert tokenizer.decode(torch.zeros(2, 3).long()) == ["", ""]
    assert tokenizer.split("") == []


def test_no_texts_and_no_room_are_no_trouble():
    assert WORDS.encode([], length=3).shape == (0, 3)
    assert WORDS.decode(torch.zeros(0, 3).long()) == []
    assert WORDS.decode(WORDS.encode([""], length=0)) == [""]


def test_a_text_may_be_as_long_as_is_allowed():
    assert WORDS.decode(WORDS.encode(["red blue red"], length=3)) == ["red blue red"]


def test_a_text_ends_at_the_first_zero():
    assert WORDS.decode(torch.tensor([[2, 3, 0, 1], [0, 1, 1, 1], [1, 0, 0, 0]])) == ["blue circle", "", "red"]
    assert LETTERS.decode(torch.tensor([[1, 4, 2, 0, 3]])) == ["a b"]


def test_every_id_but_the_end_stands_for_one_symbol():
    assert len(WORDS) == 4
    assert [WORDS.decode(torch.tensor([[number]]))[0] for number in range(4)] == ["", "red", "blue", "circle"]


def test_every_caption_of_scenes_comes_back():
    tokenizer = Tokenizer(data.CAPTION_WORDS)
    said = data.captions(data.scenes(200, torch.Generator().manual_seed(0)).objects)
    assert tokenizer.decode(tokenizer.encode(said, length=7)) == said


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("green circle", "'green'"),
        ("small red star", "'small', 'star'"),
        ("red  blue", "''"),
        (" red", "''"),
        ("Red", "'Red'"),
    ],
)
def test_unknown_words_are_named(text, unknown):
    message = f"Not in the vocabulary: {unknown} in {text!r}. Known are: red, blue, circle."
    with pytest.raises(ValueError, match=re.escape(message)):
        WORDS.encode(["red", text], length=9)


def test_unknown_characters_are_named():
    with pytest.raises(ValueError, match="Not in the vocabulary: 'd', '!' in 'ad!'"):
        LETTERS.encode(["ad!"], length=9)


@pytest.mark.parametrize("tokenizer", [WORDS, LETTERS])
def test_a_text_that_is_too_long_is_named(tokenizer):
    text = tokenizer.separator.join(tokenizer.symbols[1:4])
    with pytest.raises(ValueError, match=f"'{text}' has 3 symbols; at most 2"):
        tokenizer.encode(["", text], length=2)


@pytest.mark.parametrize(
    ("symbols", "separator"),
    [
        (["red", "blue", "red"], " "),
        (["red", ""], " "),
        (["red", "dark blue"], " "),
        (["a", "b", "a"], ""),
        (["a", ""], ""),
        (["a", "bc"], ""),
        (["a,b"], ","),
    ],
)
def test_symbols_that_could_not_be_told_apart_are_refused(symbols, separator):
    kind = f"words without {separator!r}" if separator else "single characters"
    message = f"Symbols must be different {kind}, and not empty; they are {symbols}"
    with pytest.raises(ValueError, match=re.escape(message)):
        Tokenizer(symbols, separator)


@pytest.mark.parametrize(
    "ids",
    [
        torch.tensor([[0, 4]]),
        torch.tensor([[-1, 0]]),
        torch.tensor([[0, 1.0]]),
        torch.tensor([1, 2]),
        torch.zeros(1, 2, 3).long(),
    ],
)
def test_ids_that_are_no_text_are_named(ids):
    with pytest.raises(ValueError, match=r"ids must be whole numbers in 0 … 3, \(batch, length\)"):
        WORDS.decode(ids)
