"""A progress bar on a terminal, silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]
PARTS = frozenset({"archive", "bus"})  # of `replay`, told beside it
_TOLD_FROM, _A_SECOND = 0.05, 3  # each drawing takes some milliseconds, which the build would like to have


@contextmanager
def shown(*, quiet: bool) -> Iterator[Progress]:
    """A callable `(step, done, total)` that draws one line per step on stderr while the block runs.

    `total` 0 means that the amount is unknown. How long a step still takes is what it has taken so far for what is done: an estimate that
    is steady, and told once a twentieth is done. Parts of a step (`archive` and `bus` of `replay`) come in turns, so they have none.
    """
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Left(ProgressColumn):
        """About how long the step still takes."""

        def render(self, task: Task) -> Text:
            return Text(left(task.description.strip(), task.elapsed, task.completed, task.total))

    class Count(ProgressColumn):
        """How much is done, of how much."""

        def render(self, task: Task) -> Text:
            return Text(f"{int(task.completed):,}{'' if task.total is None else f'/{int(task.total):,}'}")

    with Bars(SpinnerColumn(finished_text="✓"), TextColumn("{task.description:<9}"), BarColumn(bar_width=32), Count(),
              TimeElapsedColumn(), Left(), console=Console(stderr=True), transient=True, refresh_per_second=_A_SECOND) as bars:
        tasks: dict[str, TaskID] = {}

        def draw(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(f"  {step}" if step in PARTS else step, total=total or None)
            bars.update(tasks[step], completed=done, total=total or None)

        yield draw


def left(step: str, elapsed: float | None, done: float, total: float | None) -> str:
    """About how long a step still takes, if that can be told.

    >>> left("replay", 30.0, 25.0, 100.0)
    'about 1:30 left'
    """
    if step in PARTS or elapsed is None or not total or not _TOLD_FROM * total <= done < total:
        return ""
    minutes, seconds = divmod(round(elapsed * (total - done) / done), 60)
    hours, minutes = divmod(minutes, 60)
    return f"about {f'{hours}:{minutes:02}' if hours else minutes}:{seconds:02} left"


def _silent(step: str, done: int, total: int) -> None:  # noqa: ARG001 - the shape of a progress callable
    return
