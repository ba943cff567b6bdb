"""Every grader against its bank: all right answers pass, all wrong ones fail, most with the right diagnosis."""

import importlib.util
import inspect
from pathlib import Path

import pytest
import torch

from vqdit_lite.grade.grader import AnswerError, Grader

BANKS = sorted((Path(__file__).parents[1] / "wrong_answers").glob("chapter*.py"))


def _load(path):
    spec = importlib.util.spec_from_file_location(f"answers_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _public(module, kind):
    return {name: value for name, value in vars(module).items() if isinstance(value, kind) and name[0] != "_"}


BANK = {path.stem: _load(path) for path in BANKS}
GRADERS = {chapter: _public(importlib.import_module(f"vqdit_lite.grade.{chapter}"), Grader) for chapter in BANK}
EXERCISES = [(chapter, name) for chapter, graders in GRADERS.items() for name in graders]
each = pytest.mark.parametrize(("chapter", "exercise"), EXERCISES, ids=["-".join(exercise) for exercise in EXERCISES])


def answers(chapter, exercise, kind):
    return {
        name: value for name, value in vars(getattr(BANK[chapter], exercise)).items() if name.startswith(f"{kind}_")
    }


ALL = [
    (*exercise, answer) for exercise in EXERCISES for kind in ("right", "wrong") for answer in answers(*exercise, kind)
]


def rejected(grader, answer):
    """What the grader says to a wrong answer."""
    with pytest.raises(AnswerError) as caught:
        grader(answer)
    return str(caught.value)


@pytest.mark.parametrize(("chapter", "exercise", "answer"), ALL, ids=["-".join(answer) for answer in ALL])
def test_right_answers_pass_and_wrong_ones_get_their_diagnosis(chapter, exercise, answer, capsys):
    grader, function = GRADERS[chapter][exercise], getattr(getattr(BANK[chapter], exercise), answer)
    if answer.startswith("right_"):
        grader(function)
        assert capsys.readouterr().out.startswith(f"✓ {exercise} is right.")
    else:
        sentence = rejected(grader, function)
        assert sentence.startswith(f"✗ {exercise}")
        assert (function.__doc__ or "") in sentence


@each
def test_a_bank_holds_enough(chapter, exercise):
    wrong = answers(chapter, exercise, "wrong")
    assert len(wrong) >= 4
    assert len(answers(chapter, exercise, "right")) >= 2
    assert sum(inspect.getdoc(answer) is not None for answer in wrong.values()) / len(wrong) >= 0.75


@each
def test_the_untouched_stub_fails_with_its_own_sentence(chapter, exercise):
    def stub(*arguments):
        raise NotImplementedError("Nothing is written here yet.")

    assert rejected(GRADERS[chapter][exercise], stub) == f"✗ {exercise}: Nothing is written here yet."


def test_an_operation_that_torch_lacks_is_not_taken_for_a_stub():
    grader = Grader("share", lambda x: x.float().mean(), {"two": lambda: [torch.tensor([True, False])]}, {})
    assert "it raised" in rejected(grader, lambda x: x.mean())


def test_arrays_and_nan_are_compared_like_tensors():
    grader = Grader(
        "root", lambda x: x.sqrt(), {"four": lambda: [torch.tensor([4.0, 0.0])]}, {"0 / 0.": lambda x: x / x}
    )
    grader(lambda x: x.numpy() ** 0.5)
    assert rejected(grader, lambda x: (x / x).numpy()).endswith("0 / 0.")


def test_a_list_that_is_emptied_is_noticed():
    grader = Grader("first", lambda stops: stops[0], {"two": lambda: [[1.0, 2.0]]}, {})
    assert "in place" in rejected(grader, lambda stops: stops.pop(0))


@each
def test_empty_and_borrowed_answers_fail(chapter, exercise):
    grader = GRADERS[chapter][exercise]
    rejected(grader, lambda *arguments: None)
    rejected(grader, lambda first, *others: first)
    rejected(grader, None)
    if grader.truth.__module__.startswith("vqdit_lite") and ".grade" not in grader.truth.__module__:
        assert "Do without it" in rejected(grader, grader.truth)


@each
def test_no_constant_passes(chapter, exercise):
    """What is right for the first case is not right for all."""
    grader = GRADERS[chapter][exercise]
    first = grader.use(grader.truth, *first_arguments(chapter, exercise))
    rejected(grader, lambda *arguments: first)


def first_arguments(chapter, exercise):
    grader = GRADERS[chapter][exercise]
    return grader.arguments(next(iter(grader.cases.values())))


TENSORS = [exercise for exercise in EXERCISES if any(isinstance(x, torch.Tensor) for x in first_arguments(*exercise))]


@pytest.mark.parametrize(("chapter", "exercise"), TENSORS, ids=["-".join(exercise) for exercise in TENSORS])
def test_a_right_answer_that_spoils_its_argument_fails(chapter, exercise):
    grader = GRADERS[chapter][exercise]

    def spoiling(*arguments):
        result = grader.truth(*arguments)
        for x in arguments:
            if isinstance(x, torch.Tensor):
                x.data = x.data.logical_not() if x.dtype == torch.bool else x.data + 1
        return result

    assert "in place" in rejected(grader, spoiling)


@each
def test_graders_give_the_same_verdict_twice(chapter, exercise):
    grader = GRADERS[chapter][exercise]
    function = next(iter(answers(chapter, exercise, "wrong").values()))
    assert rejected(grader, function) == rejected(grader, function)


def test_at_least_three_quarters_of_all_wrong_answers_are_named():
    wrong = [answer for exercise in EXERCISES for answer in answers(*exercise, "wrong").values()]
    assert sum(answer.__doc__ is not None for answer in wrong) / len(wrong) >= 0.75
