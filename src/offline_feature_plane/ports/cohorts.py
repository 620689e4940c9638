"""Cohorts: how many subject events of each day have which answer, and after how long. What engines count and reports add up.

```
   event                     the answer that holds at the as-of became known
     ●──────────── lag ───────────────────●                            ┤ as_of
   day, split, mature?                    status, lag in whole days, rounded up
```

Counts are made where the rows are, and only counts leave: a table of cells, which stays small however many events there are.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

# Subject events that pass `where`, by label type; `split` is null for events in none, and for those whose entity an earlier split has.
# `day` is in days since 1970-01-01 UTC. Events of one day may be on both sides of the maturity cut. Only a RESOLVED event has a lag: whole
# days, rounded up, from the event to when the assertion that holds became known; 0 or less if that was not after the event.
COHORTS = pa.schema([("label_type", pa.string()), ("split", pa.string()), ("day", pa.int32()), ("mature", pa.bool_()),
                     ("status", pa.string()), ("lag_days", pa.int32()), ("events", pa.int64())])
KEYS = COHORTS.names[:-1]


def add_up(parts: Iterable[pa.Table]) -> pa.Table:
    """Cells of several parts as one table: each key once, in one order, so that equal counts are equal tables."""
    every = pa.concat_tables([COHORTS.empty_table(), *parts])
    counted = every.group_by(KEYS).aggregate([("events", "sum")]).select([*KEYS, "events_sum"]).rename_columns(COHORTS.names)
    return counted.sort_by([(name, "ascending") for name in KEYS]).combine_chunks()
