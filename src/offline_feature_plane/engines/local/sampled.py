"""Which rows a sample keeps, and what each of them represents (`decisions.md` D13)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.rows import Sampling, Task
from offline_feature_plane.domain.sampling import keeps, keeps_each, unit_text, weight
from offline_feature_plane.engines.local.events import Events, Values
from offline_feature_plane.engines.local.row_access import fields_at, pick

__all__ = ["UNKNOWN", "sample"]

UNKNOWN = -1  # a target that is null

Bools = npt.NDArray[np.bool_]
Int8s = npt.NDArray[np.int8]
Int64s = npt.NDArray[np.int64]


def sample(events: Events, rows: Int64s, target: Int8s, task: Task) -> tuple[Bools, npt.NDArray[np.float64]]:
    """Which rows the sample keeps, and what each represents."""
    sampling = task.sampling
    kept, weights = np.ones(len(rows), dtype=np.bool_), np.ones(len(rows), dtype=np.float64)
    if sampling is None:
        return kept, weights
    rates = dict(sampling.rates)
    for code, name in ((0, "negative"), (1, "positive"), (UNKNOWN, "unlabeled")):
        rate = rates.get(name)
        mine = np.flatnonzero(target == code)
        if rate is None or not len(mine):
            continue
        weights[mine] = weight(rate)
        kept[mine] = _keeps(events, rows[mine], rate, sampling, task.subject)
    return kept, weights


def _keeps(events: Events, rows: Int64s, rate: str, sampling: Sampling, subject: str) -> Bools:
    """Does the sample keep the unit of each row? Values of `by:` are drawn for once each."""
    if sampling.by is None:
        units = pc.cast(pc.cast(events.ids.slice(0, events.n).take(pa.array(rows)), pa.string()), pa.binary())
        texts = (unit for chunk in units.chunks for unit in chunk.to_pylist())
        return np.fromiter(keeps_each(sampling.seed, texts, rate), np.bool_, len(rows))
    values = pick(fields_at(events, subject, (sampling.by,), slice(None))[sampling.by], rows)
    distinct, back = np.unique(values.data, return_inverse=True)
    drawn = keeps_each(sampling.seed, map(str.encode, _unit_texts(values, distinct)), rate)
    found: Bools = np.fromiter(drawn, np.bool_, len(distinct))[back]
    if values.valid is not None:
        found = np.where(values.valid, found, keeps(sampling.seed, unit_text(None, values.type), rate))
    return found


def _unit_texts(values: Values, units: npt.NDArray[Any]) -> list[str]:
    if values.dictionary is None:
        return [unit_text(one, values.type) for one in units.tolist()]
    return ["" if code < 0 else values.dictionary[int(code)].as_py() for code in units]
