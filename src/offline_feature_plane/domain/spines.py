"""What a spine must be: instants at which rows are made, each about one entity (`docs/decisions/0036`).

```
   anna   ──●──●────────┃───●──────────┃──▶     ● events    ┃ what the spine asks for: a row of what lies before
   ben    ──────────●───┃──────────●───┃──▶     an event at the very instant of a row lies after it
```
"""

from __future__ import annotations

from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.errors import SpineInvalid

__all__ = ["asked_again"]


def asked_again(task: Task, count: int, first_us: int) -> SpineInvalid:
    """The error for rows of a spine that repeat an entity and instant: how many, and the instant of the first, in µs."""
    rows = f"{count:,} rows of {task.subject} ask" if count > 1 else f"a row of {task.subject} asks"
    return SpineInvalid(f"{rows} for a {task.entity} at an instant at which another row asks for it, {format_instant(first_us)}"
                        f"{' the first time' if count > 1 else ''}.", path=f"{task.subject}.{task.entity}", count=count)
