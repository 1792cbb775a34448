"""Progress bars on standard error's or output's console, gone when their work is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def bar(console: Console, text: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar that the yielded function moves: (done, of how many); it pulses while that is not known."""
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def countdown(console: Console, text: str) -> Iterator[Callable[[int], None]]:
    """A bar for work of which only what is left is known."""
    with bar(console, text) as show:
        most = 0

        def left(count: int) -> None:
            nonlocal most
            most = max(most, count)
            show(most - count, most)

        yield left
