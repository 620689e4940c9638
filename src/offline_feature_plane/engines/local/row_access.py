"""Taking rows out of columns."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.footprint import BLOCK
from offline_feature_plane.engines.local.events import Events, Values

__all__ = ["BLOCK", "Rows", "fields_at", "pick"]

Rows = slice | npt.NDArray[np.int64]
_TIME = "ts"


def pick(values: Values, rows: Rows) -> Values:
    """Some rows of a column: a slice (nothing is copied), or positions."""
    valid = None if values.valid is None else values.valid[rows]
    return Values(values.type, values.data[rows], None if valid is None or valid.all() else valid, values.dictionary)


def fields_at(events: Events, source: str, names: Iterable[str], rows: Rows) -> dict[str, Values]:
    """What an expression may read of a source's events at some rows: those of the names that are fields, and `ts`, the instant."""
    found = {}
    for name in names:
        if name == _TIME:
            found[name] = Values(ColumnType("timestamp"), events.ts[rows])
        elif (source, name) in events.fields:
            found[name] = pick(events.fields[source, name], rows)
    return found
