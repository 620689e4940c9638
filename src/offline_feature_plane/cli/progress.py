"""A progress bar on a terminal, silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]


@contextmanager
def shown(*, quiet: bool) -> Iterator[Progress]:
    """A callable `(step, done, total)` that draws one line per step on stderr while the block runs.

    `total` 0 means that the amount is unknown.
    """
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    with Bars(SpinnerColumn(finished_text="✓"), TextColumn("{task.description:<9}"), BarColumn(bar_width=32), MofNCompleteColumn(),
              TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def draw(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total or None)
            bars.update(tasks[step], completed=done, total=total or None)

        yield draw


def _silent(step: str, done: int, total: int) -> None:  # noqa: ARG001 - the shape of a progress callable
    return
