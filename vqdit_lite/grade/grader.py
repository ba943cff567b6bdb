"""How an answer is tried: case by case against the right function, and against the mistakes that people make."""

import copy
import inspect
import reprlib
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LIBRARY = Path(__file__).parents[1]
_GRADERS = Path(__file__).parent


class AnswerError(AssertionError):
    """An answer that is not right yet. A notebook shows the sentence alone, without the way through the grader."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Grader:
    """Tries an answer in several cases and says in a sentence how it went.

    Args:
        name: of the function that the exercise asks for.
        truth: the right function. It is called like the answer, and never shown.
        cases: what each case tries -> a function that builds its arguments. torch is seeded before, so it may draw.
        mistakes: a sentence that explains a mistake -> a function that makes it. Where an answer fails in the same
            way as one of these, the sentence is shown.
        gradients: compare the gradients of floating-point arguments, too.
        given: names from the library that an answer may call.
        forbidden: names from elsewhere that it may not call, as they do the exercise.
        use: calls an answer with the arguments of a case; for classes, and for functions that need more than a call.
        tolerance: how far numbers may lie from the right ones, relative and absolute.

    >>> double = Grader("double", lambda x: 2 * x, {"three": lambda: [3.0]}, {"This is the square.": lambda x: x * x})
    >>> double(lambda x: x + x)
    ✓ double is right. Tried: three.
    >>> double(lambda x: x**2)
    Traceback (most recent call last):
    vqdit_lite.grade.grader.AnswerError: ✗ double, three: got 9, expected 6. This is the square.
    """

    def __init__(
        self,
        name: str,
        truth: Callable,
        cases: Mapping[str, Callable[[], list]],
        mistakes: Mapping[str, Callable],
        *,
        gradients: bool = False,
        given: Collection[str] = (),
        forbidden: Collection[str] = (),
        use: Callable | None = None,
        tolerance: float = 1e-4,
    ):
        self.name, self.truth, self.cases, self.mistakes = name, truth, cases, mistakes
        self.gradients, self.given, self.forbidden, self.tolerance = gradients, given, forbidden, tolerance
        self.use = use or (lambda answer, *arguments: answer(*arguments))

    def __call__(self, answer: Callable) -> None:
        """Print "✓ …", or raise AnswerError with a sentence that says what is wrong."""
        if not callable(answer):
            raise AnswerError(f"✗ {self.name}: expected a function; got {_shown(answer)}.")
        for number, (case, build) in enumerate(self.cases.items()):
            try:
                got = self._outcome(answer, build, watched=True)
            except AnswerError:
                raise
            except Exception as error:
                if _is_stub(error):
                    raise AnswerError(f"✗ {self.name}: {error}") from None
                hint = _HARD_CODED if number else ""
                raised = f"{type(error).__name__}: {str(error).rstrip('.')}{_line(answer, error)}"
                raise AnswerError(f"✗ {self.name}, {case}: it raised {raised}.{hint}") from error
            expected = self._outcome(self.truth, build)
            trouble = self._difference(got, expected)
            if trouble:
                reason = self._diagnosis(got, expected, build) or (_HARD_CODED if number and "shape" in trouble else "")
                raise AnswerError(f"✗ {self.name}, {case}: {trouble}{reason}")
        print(f"✓ {self.name} is right. Tried: {', '.join(self.cases)}.")

    def arguments(self, build: Callable[[], list]) -> list:
        """The arguments of a case. Random numbers in them come out the same every time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build()

    def _outcome(self, function: Callable, build: Callable[[], list], watched: bool = False) -> dict[str, Any]:
        """What a function makes of a case: its output, and what happened to the arguments."""
        names = inspect.signature(self.truth).parameters
        arguments = dict(zip(names, self.arguments(build), strict=False))
        kept = {name: copy.deepcopy(x) for name, x in arguments.items() if isinstance(x, Tensor | list)}
        leaves = {}
        if self.gradients:
            leaves = {name: x.requires_grad_() for name, x in arguments.items() if _is_floating(x)}
        with torch.random.fork_rng(devices=[]), self._own_work() if watched else nullcontext():
            torch.manual_seed(1)
            output = self.use(function, *arguments.values())
            if watched and output is None:
                raise AnswerError(f"✗ {self.name}: it returns None. Is the last line a return?")
            outcome = {"output": output}
            for name, x in kept.items():
                outcome[f"argument {name}"] = x
                if watched and _difference(arguments[name], x, "", 0):
                    raise AnswerError(
                        f"✗ {self.name}: it changes its argument {name} in place. Make a new one, so that what was "
                        "handed in stays as it was."
                    )
            if leaves:
                outcome |= _gradients(output, leaves)
        return outcome

    @contextmanager
    def _own_work(self) -> Iterator[None]:
        """Refuses an answer that lets the library, or a forbidden function, do the exercise."""
        handed_back = []

        def watch(frame, event, called):
            if event == "call":
                code, caller = frame.f_code, frame.f_back.f_code
                borrowed = _from_library(code.co_filename) and not _from_library(caller.co_filename)
                if (borrowed or code.co_name in self.forbidden) and code.co_name not in (*self.given, "<module>"):
                    builds = code.co_name == "__init__"
                    handed_back.append(type(frame.f_locals["self"]).__name__ if builds else code.co_name)
            elif event == "c_call" and called.__name__ in self.forbidden:
                handed_back.append(called.__name__)

        previous = sys.getprofile()
        sys.setprofile(watch)
        try:
            yield
        finally:
            sys.setprofile(previous)
            if handed_back:
                calls = f"it calls {handed_back[0]}. Do without it: write the steps yourself."
                raise AnswerError(f"✗ {self.name}: {calls}") from None

    def _difference(self, got: dict[str, Any], expected: dict[str, Any]) -> str:
        """The first difference between two outcomes as a sentence, or nothing."""
        for part, value in expected.items():
            if not part.startswith("argument"):
                trouble = _difference(got[part], value, "" if part == "output" else f"{part}: ", self.tolerance)
                if trouble:
                    return trouble
        return ""

    def _diagnosis(self, got: dict[str, Any], expected: dict[str, Any], build: Callable[[], list]) -> str:
        """The sentence of the mistake that leads to the same outcome, or nothing."""
        for sentence, mistaken in self.mistakes.items():
            try:
                outcome = self._outcome(mistaken, build)
            except Exception:
                continue
            if not self._difference(got, outcome) and self._difference(outcome, expected):
                return f" {sentence}"
        for name in (part.removeprefix("argument ") for part in got if part.startswith("argument")):
            if not _difference(got["output"], got[f"argument {name}"], "", 0):
                return f" This is the argument {name}, unchanged."
        gradients = (part for part in got if part.startswith("gradient"))
        wrong = next((part for part in gradients if _difference(got[part], expected[part], "", self.tolerance)), None)
        if wrong and not _difference(got["output"], expected["output"], "", self.tolerance):
            if not got[wrong].any():
                return " No gradient arrives there: is a detach in the way?"
            if not expected[wrong].any():
                return " A gradient arrives where none should: a detach is missing."
        return ""


_HARD_CODED = " The case before went well: is a number written down that should come from the arguments?"


def _is_stub(error: Exception) -> bool:
    """Whether nothing was written yet; torch, too, raises NotImplementedError for operations that it lacks."""
    line = traceback.extract_tb(error.__traceback__)[-1].line
    return isinstance(error, NotImplementedError) and (not line or "NotImplementedError" in line)


def _line(answer: Callable, error: Exception) -> str:
    """The line of the answer that raised an error, as far as it is known."""
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    lines = [entry.line for entry in traceback.extract_tb(error.__traceback__) if entry.filename == file]
    return f", in the line `{lines[-1]}`" if lines and lines[-1] else ""


@cache
def _from_library(file: str) -> bool:
    return _LIBRARY in Path(file).parents and _GRADERS not in Path(file).parents


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _leaves(value: Any) -> list[Tensor]:
    """The floating-point tensors of an output, in order."""
    if _is_floating(value):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else []
    return [leaf for part in parts for leaf in _leaves(part)]


def _gradients(output: Any, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of a fixed weighted sum of the output, for each leaf; zero where none arrives."""
    total = sum((leaf * torch.linspace(1, 2, leaf.numel()).view_as(leaf)).sum() for leaf in _leaves(output))
    if isinstance(total, Tensor) and total.requires_grad:
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    else:
        found = [None] * len(leaves)
    pairs = zip(leaves.items(), found, strict=True)
    return {f"gradient of {name}": torch.zeros_like(leaf) if grad is None else grad for (name, leaf), grad in pairs}


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}" if value.ndim else f"{value.item():.5g}"
    return f"{value:.5g}" if isinstance(value, float) else reprlib.repr(value)


def _kind(x: Tensor) -> str:
    if x.dtype == torch.bool or x.is_complex():
        return "true or false" if x.dtype == torch.bool else "complex numbers"
    return "floating point" if x.is_floating_point() else "whole numbers"


def _difference(got: Any, expected: Any, where: str, tolerance: float) -> str:
    """How a value differs from what was expected, as a sentence, or nothing."""
    got = torch.as_tensor(got) if isinstance(got, np.ndarray | np.generic) else got
    if isinstance(expected, Mapping):
        if not isinstance(got, Mapping) or set(got) != set(expected):
            return f"{where}expected a dictionary with {', '.join(map(repr, expected))}; got {_shown(got)}."
        parts = ((got[key], value, f"{where}[{key!r}] ") for key, value in expected.items())
        return next(filter(None, (_difference(*part, tolerance) for part in parts)), "")
    if isinstance(expected, list | tuple):
        listed = list(got) if isinstance(got, Tensor) and got.ndim else got
        if not isinstance(listed, list | tuple) or len(listed) != len(expected):
            return f"{where}expected {len(expected)} values; got {_shown(got)}."
        parts = (
            (*pair, f"{where}value {i} of {len(expected)}: ")
            for i, pair in enumerate(zip(listed, expected, strict=True), 1)
        )
        return next(filter(None, (_difference(*part, tolerance) for part in parts)), "")
    if isinstance(expected, Tensor | int | float) and isinstance(got, Tensor | int | float):
        return _difference_of_numbers(got, expected, where, tolerance)
    return "" if got == expected else f"{where}got {_shown(got)}, expected {_shown(expected)}."


def _difference_of_numbers(got: Any, expected: Any, where: str, tolerance: float) -> str:
    if isinstance(expected, Tensor) and expected.ndim and not isinstance(got, Tensor):
        return f"{where}expected a tensor of shape {tuple(expected.shape)}; got {_shown(got)}."
    got, expected = torch.as_tensor(got), torch.as_tensor(expected)
    if got.shape != expected.shape:
        return f"{where}the shape must be {tuple(expected.shape)}; got {tuple(got.shape)}."
    kinds = _kind(got), _kind(expected)
    if kinds[0] != kinds[1] and (expected.ndim or set(kinds) != {"floating point", "whole numbers"}):
        return f"{where}the answer is made of {kinds[1]}; got {kinds[0]}."
    got, expected = got.detach().double().cpu(), expected.detach().double().cpu()
    largest = expected.nan_to_num(0).abs().amax().item() if expected.numel() else 0.0
    room = tolerance * min(max(largest, 0.1), 1e3)
    wrong = ~torch.isclose(got, expected, rtol=tolerance, atol=room, equal_nan=True)  # nan is never the truth
    if not wrong.any():
        return ""
    place = wrong.nonzero()[0]
    at = f"at [{', '.join(map(str, place.tolist()))}] " if len(place) else ""
    return f"{where}{at}got {got[tuple(place)]:.5g}, expected {expected[tuple(place)]:.5g}."
