"""Several loaded inputs as one sequence of events in the total order (`features.md`, `decisions.md` D14)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.columns import Integers, Loaded, as_text
from offline_feature_plane.engines.local.dictionaries import Codes, encode, ranks, shared_names
from offline_feature_plane.engines.local.events import Arrivals, Events, Values
from offline_feature_plane.engines.local.lowering import as_arrow
from offline_feature_plane.engines.local.ordering import total_order

_TEXT_BYTES = 1 << 30
_SLICE = 1 << 20
Key = tuple[str, str]


def merge(loaded: Sequence[Loaded], task: Task) -> tuple[Events, list[Integers]]:
    """Order all inputs once, leave duplicates out, and encode texts; also the rows of each input that were left out.

    Raises:
        ReplayEventIdConflict: one id of a plain table with two contents.
    """
    starts = np.cumsum([0, *(one.n for one in loaded)])
    ts = loaded[0].ts if len(loaded) == 1 else np.concatenate([one.ts for one in loaded])
    with ThreadPoolExecutor(2) as pool:
        finding = [pool.submit(one.find_duplicates) for one in loaded]
        texts = [pool.submit(_encoded, loaded, task, root, starts) for root in sorted(set(shared_names(task).values()))]
        arrival = whole_arrival(loaded)
        order = total_order(ts, partial(order_keys, loaded, starts, arrival))
        drops = [future.result() for future in finding]
        order = _without(order, [drop + start for drop, start in zip(drops, starts.tolist(), strict=False)], int(starts[-1]))

        def put(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return values if order is None else values.take(order)

        numbers = _submit_numbers(loaded, task, starts, put, pool.submit)
        instants = pool.submit(put, ts)
        whole = all(not isinstance(one.ids, pa.ChunkedArray) for one in loaded)
        ids = pa.chunked_array([as_arrow(put(np.concatenate([one.ids for one in loaded])))]) if whole else _take_text(
            pa.chunked_array([chunk for one in loaded for chunk in as_text(one.ids).chunks], pa.string()), order)
        source = put(np.repeat(np.array([one.source for one in loaded], np.int8), [one.n for one in loaded]))
        fields = {key: Values(kind, *future.result()) for key, kind, future in numbers}
        for one_dictionary in texts:
            codes, dictionary = one_dictionary.result()
            fields.update((key, _text_values(put(data), dictionary)) for key, data in codes.items())
        arrivals = None if arrival is None else Arrivals(
            put(arrival), put(inverse(total_order(arrival, partial(tie_keys, loaded, starts)), len(ts))))
        return Events(len(ids), instants.result(), source, ids, ColumnType("int64" if whole else "string"), fields, arrivals), drops


def order_keys(loaded: Sequence[Loaded], starts: Integers, arrival: Integers | None, rows: Integers) -> list[Integers]:
    """What orders rows of one instant, the strongest key first: their arrival, if it counts, then `tie_keys`."""
    return [*([] if arrival is None else [arrival[rows]]), *tie_keys(loaded, starts, rows)]


def whole_arrival(loaded: Sequence[Loaded]) -> Integers | None:
    """When every row arrived; None if that does not count."""
    known = [one.arrival for one in loaded if one.arrival is not None]
    return np.concatenate(known) if len(known) == len(loaded) else None


def inverse(order: Integers | None, total: int) -> Integers:
    """The place of every row in an order."""
    places = np.arange(total)
    if order is None:
        return places
    found = np.empty(total, np.int64)
    found[order] = places
    return found


def tie_keys(loaded: Sequence[Loaded], starts: Integers, rows: Integers) -> list[Integers]:
    """Topic, partition, offset and id rank of some rows of several inputs side by side, each from its start on."""
    topics = {name: rank for rank, name in enumerate(sorted({one.topic for one in loaded}, key=str.encode))}
    keys = [np.zeros(len(rows), np.int64) for _ in range(4)]
    texts = []
    for one, start in zip(loaded, starts.tolist(), strict=False):
        mine = np.flatnonzero((rows >= start) & (rows < start + one.n))
        local = rows[mine] - start
        keys[0][mine] = topics[one.topic]
        if one.partition is not None and one.offset is not None:
            keys[1][mine], keys[2][mine] = one.partition[local], one.offset[local]
        if isinstance(one.ids, pa.ChunkedArray):
            texts.append((mine, one.ids.take(as_arrow(local))))
        else:
            keys[3][mine] = one.ids[local]
    if texts:
        keys[3][np.concatenate([mine for mine, _ in texts])] = ranks(pa.chunked_array(
            [chunk for _, ids in texts for chunk in ids.chunks], pa.string()))
    return keys


def _without(order: Integers | None, drops: Sequence[Integers], total: int) -> Integers | None:
    drop = np.concatenate(drops)
    if not len(drop):
        return order
    keep = np.ones(total, np.bool_)
    keep[drop] = False
    return np.flatnonzero(keep) if order is None else order[keep[order]]


def _submit_numbers(loaded: Sequence[Loaded], task: Task, starts: Integers, put: Callable[[Any], Any],
                    submit: Callable[..., Future[Any]]) -> list[tuple[Key, ColumnType, Future[Any]]]:
    return [((source.name, field.name), field.type, submit(_one_numeric, loaded, index, field.name, field.type, starts, put))
            for index, source in enumerate(task.closure.sources) for field in source.fields if field.type.kind != "string"]


def _one_numeric(loaded: Sequence[Loaded], index: int, name: str, kind: ColumnType, starts: Integers,
                 put: Callable[[Any], Any]) -> tuple[Any, Any]:
    if len(loaded) == 1 and loaded[0].source == index:
        data, valid = loaded[0].fields[name]
        return put(data), None if valid is None else put(valid)
    total = int(starts[-1])
    data, valid = np.zeros(total, np.float64 if kind.kind == "float64" else np.int64), np.zeros(total, np.bool_)
    for one, start in zip(loaded, starts.tolist(), strict=False):
        if one.source == index:
            values, known = one.fields[name]
            data[start:start + one.n] = values
            valid[start:start + one.n] = True if known is None else known
    return put(data), None if valid.all() else put(valid)


def _encoded(loaded: Sequence[Loaded], task: Task, root: str, starts: Integers) -> tuple[dict[Key, Codes], pa.Array]:
    """The text fields that share one dictionary as codes in the order of reading, and the dictionary."""
    home = shared_names(task)
    members = [(index, source.name, field.name) for index, source in enumerate(task.closure.sources)
               for field in source.fields if field.type.kind == "string" and home[field.name] == root]
    parts = [(place, (owner, name), one.fields[name]) for index, owner, name in members
             for place, one in enumerate(loaded) if one.source == index]
    columns, dictionary = encode([column for _, _, column in parts if isinstance(column, pa.ChunkedArray)])
    if len(loaded) == 1 and len(parts) == len(members):
        return {key: codes for (_, key, _), codes in zip(parts, columns, strict=True)}, dictionary
    found = {(owner, name): np.full(int(starts[-1]), -1, np.int32) for _, owner, name in members}
    for (place, key, _), codes in zip(parts, columns, strict=True):
        found[key][starts[place]:starts[place + 1]] = codes
    return found, dictionary


def _text_values(codes: Codes, dictionary: pa.Array) -> Values:
    absent = codes < 0
    return Values(ColumnType("string"), codes, ~absent if absent.any() else None, dictionary)


def _take_text(ids: pa.ChunkedArray, order: Integers | None) -> pa.ChunkedArray:
    if order is None:
        return ids
    if ids.nbytes < _TEXT_BYTES:
        taken = ids.combine_chunks().take(as_arrow(order))
        return pa.chunked_array([taken] if isinstance(taken, pa.Array) else taken.chunks)
    wide = ids.cast(pa.large_string()).combine_chunks()
    return pa.chunked_array([wide.take(as_arrow(order[start:start + _SLICE])).cast(pa.string()) for start in range(0, len(order), _SLICE)])
