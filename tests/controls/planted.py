"""Cheats planted in a chapter: the page's own checks must stop them."""

from nbclient.exceptions import CellExecutionError

from tools.notebooks import NOTEBOOKS, code_cells, read, run


def run_with(chapter: str, planted: dict[str, str]) -> str:
    """Run a chapter with some of its source replaced, up to its first error, and return that error's last line.

    Args:
        chapter: such as "04_reverse_diffusion".
        planted: old source text, which must occur once in the chapter's code, and what to run instead.

    Returns:
        The message of the error, such as "AssertionError: ✗ …", or "" if the chapter ran to its end.
    """
    notebook = read(next(path for path in NOTEBOOKS if path.stem == chapter))
    for old, new in planted.items():
        holding = [cell for cell in code_cells(notebook) if old in cell.source]
        assert [cell.source.count(old) for cell in holding] == [1], f"{old!r} must stand once in {chapter}"
        holding[0].source = holding[0].source.replace(old, new)
    try:
        run(notebook)
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    return ""
