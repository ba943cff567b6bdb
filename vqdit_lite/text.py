"""Text as whole numbers, and back without loss."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Tokenizer"]


class Tokenizer:
    """Words or characters and their numbers. 0 stands for the end of a text and fills what is left.

    Args:
        symbols: the words or characters that can occur; they are numbered from 1.
        separator: what stands between two symbols: " " for words, "" for characters.

    >>> words = Tokenizer(["red", "blue", "circle"])
    >>> words.encode(["blue circle", "red"], length=3).tolist()
    [[2, 3, 0], [1, 0, 0]]
    >>> words.decode(words.encode(["blue circle", "red"], length=3))
    ['blue circle', 'red']
    """

    def __init__(self, symbols: Sequence[str], separator: str = " "):
        _check_symbols(symbols, separator)
        self.symbols, self.separator = ["", *symbols], separator
        self.numbers = {symbol: number for number, symbol in enumerate(symbols, 1)}

    def __len__(self) -> int:
        """How many different ids there are, 0 included."""
        return len(self.symbols)

    def split(self, text: str) -> list[str]:
        """The symbols of a text, in order."""
        return (text.split(self.separator) if self.separator else list(text)) if text else []

    def encode(self, texts: Sequence[str], length: int) -> Tensor:
        """Texts to ids (B, length).

        Raises:
            ValueError: a symbol is not in the vocabulary, or a text is longer than `length`.
        """
        _check_texts(self, texts, length)
        ids = torch.zeros(len(texts), length, dtype=torch.long)
        for row, text in enumerate(texts):
            numbers = [self.numbers[symbol] for symbol in self.split(text)]
            ids[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.long)
        return ids

    def decode(self, ids: Tensor) -> list[str]:
        """ids (B, N) to texts; each ends before its first 0."""
        _check_text_ids(ids, len(self))
        rows = [row[: row.index(0)] if 0 in row else row for row in ids.tolist()]
        return [self.separator.join(self.symbols[number] for number in row) for row in rows]


def _check_symbols(symbols: Sequence[str], separator: str) -> None:
    odd = [symbol for symbol in symbols if not symbol or (separator and separator in symbol)]
    if odd or len(set(symbols)) != len(symbols) or (not separator and any(len(symbol) > 1 for symbol in symbols)):
        kind = f"words without {separator!r}" if separator else "single characters"
        raise ValueError(f"Symbols must be different {kind}, and not empty; they are {symbols}.")


def _check_texts(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> None:
    for text in texts:
        symbols = tokenizer.split(text)
        unknown = [symbol for symbol in symbols if symbol not in tokenizer.numbers]
        if unknown:
            raise ValueError(
                f"Not in the vocabulary: {', '.join(map(repr, unknown))} in {text!r}. Known are: "
                f"{', '.join(tokenizer.symbols[1:])}."
            )
        if len(symbols) > length:
            raise ValueError(f"{text!r} has {len(symbols)} symbols; at most {length} are allowed.")


def _check_text_ids(ids: Tensor, num_ids: int) -> None:
    if ids.is_floating_point() or ids.ndim != 2 or (ids.numel() and not 0 <= ids.min() <= ids.max() < num_ids):
        raise ValueError(f"ids must be whole numbers in 0 … {num_ids - 1}, (batch, length); got {ids}.")
