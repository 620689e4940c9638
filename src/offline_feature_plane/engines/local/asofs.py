"""The label as-of of many events at once: that of the split that holds each, or that of the task (record 0034).

```
 ──[──── train ────)[──────── test ──┼───────────)──────────────────────────┤
                                     as-of of the task                      as-of of test
```
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.rows import Task

__all__ = ["asofs_at"]

Int64s = npt.NDArray[np.int64]


def asofs_at(ts: Int64s, task: Task) -> Int64s:
    """`Task.labels_at(…).asof_us` of each instant."""
    found = np.full(len(ts), task.labels.asof_us, np.int64)
    for split in task.splits:
        if split.asof_us is not None:
            found[(ts >= split.start_us) & (ts < split.end_us)] = split.asof_us
    return found
