"""Labels in tasks: assertions read file by file, and every event's assertions resolved (`decisions.md` D22)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.resolution import SOURCES, find_rule
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.asofs import asofs_at
from offline_feature_plane.engines.local.label_columns import AssertionColumns, read_assertions
from offline_feature_plane.engines.local.label_names import Names, find_links
from offline_feature_plane.engines.local.label_steps import Eligible, Steps, joined_steps, keep_in_order, resolve_eras, resolve_steps
from offline_feature_plane.engines.local.labels import ResolvedType
from offline_feature_plane.engines.spark.wire import Shape, make_batch, numbers, texts_of, whole
from offline_feature_plane.ports.inputs import LabelTable

Int64s = npt.NDArray[np.int64]

_ROWS = 1 << 16

ASSERTIONS: Shape = (("num", "long"), ("id", "string"), ("arow", "long"), ("value", "string"), ("observed", "long"), ("effective", "long"),
                     ("source", "int"), ("aid", "string"), ("sup", "string"))
# Of every event with a label one row, `kept` null: what holds at its as-of, and the steps up to the latest; and one row for each of its
# assertions that count, numbered by `kept` in the order of the slice. An entity is at its first event, and has the steps of each as-of in
# turn, by effective time.
RESOLVED: Shape = (("pos", "long"), ("kept", "long"), ("subject", "string"), ("status", "int"), ("value", "string"), ("observed", "long"),
                   ("effective", "long"), ("source", "string"), ("aid", "string"), ("sup", "string"), ("adrift", "boolean"),
                   ("lag", "long"), ("at", "array<long>"), ("statuses", "array<int>"), ("step_values", "array<string>"),
                   ("step_observed", "array<long>"), ("step_aids", "array<string>"), ("step_asofs", "array<long>"))


@dataclass(frozen=True)
class Timeline:
    """A label table and the type of what it is about."""

    table: LabelTable
    kind: ColumnType


@dataclass(frozen=True)
class Resolving:
    """How a type's assertions, about what has the type `kind`, are resolved, for a task without its token key."""

    label_type: str
    task: Task
    kind: ColumnType
    entity_field: str | None


def read(timeline: Timeline, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Each row of `batches` names a file of the table. Instants that the table does not say are null; `arow` numbers the assertions."""
    table = timeline.table
    starts = np.cumsum([0, *(file.rows for file in table.files)]).tolist()
    for batch in batches:
        for number in batch.column(0).to_pylist():
            found = read_assertions(replace(table, files=(table.files[number],)), timeline.kind)
            values = np.array([*found.values, ""], object)
            for start in range(0, found.n, _ROWS):
                rows = slice(start, min(start + _ROWS, found.n))
                subjects = found.subjects[rows] if isinstance(found.subjects, np.ndarray) else found.subjects[rows.start:rows.stop]
                effective = found.effective if found.observed is not None else found.event_time
                yield make_batch(ASSERTIONS, rows.stop - rows.start, {
                    "num" if isinstance(subjects, np.ndarray) else "id": subjects,
                    "arow": np.arange(rows.start, rows.stop) + starts[number], "value": values[found.value[rows]].tolist(),
                    "observed": None if found.observed is None else found.observed[rows],
                    "effective": None if effective is None else effective[rows], "source": found.source[rows].astype(np.int32),
                    "aid": None if found.ids is None else found.ids[rows.start:rows.stop],
                    "sup": None if found.supersedes is None else found.supersedes[rows.start:rows.stop]})


def resolve(how: Resolving, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Eligible assertions with `pos` and `ts` of their event, and `entry`, sorted by `pos`, as rows of RESOLVED."""
    held: list[pa.RecordBatch] = []
    count, most = 0, _ROWS
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        if count < most:
            continue
        table = pa.Table.from_batches(held)
        position = numbers(table["pos"])[0]
        cut = int(np.searchsorted(position, position[-1]))
        if cut:
            yield from _resolve(how, table.slice(0, cut))
            held, count = table.slice(cut).to_batches(), len(table) - cut
        most = max(_ROWS, 2 * count)  # of one event: it is not looked at again before it has doubled
    if count:
        yield from _resolve(how, pa.Table.from_batches(held))


def _resolve(how: Resolving, table: pa.Table) -> Iterator[pa.RecordBatch]:
    places, position = np.unique(numbers(table["pos"])[0], return_inverse=True)
    n = len(places)
    first = np.searchsorted(numbers(table["pos"])[0], places)
    found = Eligible(np.arange(len(table), dtype=np.int64), position.astype(np.int64), *(numbers(table[name])[0] for name in (
        "observed", "effective", "entry")))
    ids = whole(table["num" if how.kind.is_integer else "id"])
    values = texts_of([table["value"]])[0]
    told = () if values.dictionary is None else tuple(values.dictionary.to_pylist())
    large = {name: whole(table[name]).cast(pa.large_string()) for name in ("aid", "sup")}
    subjects = numbers(ids)[0] if how.kind.is_integer else ids.cast(pa.large_string())
    columns = AssertionColumns(len(table), subjects, values.data.astype(np.int32), told, found.observed, found.effective, None,
                               numbers(table["source"], np.int32)[0].astype(np.int8),
                               *(None if one.null_count == len(one) else one for one in large.values()))
    kept = keep_in_order(found, columns, n)
    names = Names.of(columns)
    links, adrift = find_links(kept, columns, names), np.zeros(len(kept.row), np.bool_)
    adrift[links.adrift] = True
    latest, rule = how.task.latest_asof_us, find_rule(how.task.labels.rule)
    ts = numbers(table["ts"])[0][first]
    sources = np.array(SOURCES, object)
    yield make_batch(RESOLVED, len(kept.row), {
        "pos": places[kept.position], "kept": np.arange(len(kept.row)), "subject": ids.take(pa.array(kept.row)).cast(pa.string()),
        "value": _told(told, columns.value[kept.row]), "observed": kept.observed, "effective": kept.effective,
        "source": sources[columns.source[kept.row]].tolist(), "aid": large["aid"].take(pa.array(kept.row)),
        "sup": large["sup"].take(pa.array(kept.row)), "adrift": pa.array(adrift),
        "lag": kept.observed - (ts[kept.position] if how.entity_field is None else kept.effective)})
    if how.entity_field is not None:
        steps = {asof_us: resolve_eras(how.label_type, how.entity_field, kept, columns, names, rule, asof_us)
                 for asof_us in how.task.asofs_us}
        yield _final_of_entities(steps, places, ids.take(pa.array(first)).cast(pa.string()), told, large["aid"])
    else:
        yield _final(how, resolve_steps(how.label_type, kept, columns, links, rule, latest), (places, ts), told, large["aid"])


def _final(how: Resolving, steps: Steps, events: tuple[Int64s, Int64s], told: tuple[str, ...], ids: pa.Array) -> pa.RecordBatch:
    """One row for each event, all of which have steps; `events` are their places and instants."""
    places, ts = events
    held = np.flatnonzero(steps.are_last(asofs_at(ts[steps.position], how.task)))
    final, of = steps.take(held), steps.position[held]  # of an event of which nothing was known yet: none
    status, value, observed, assertion = np.zeros((4, len(places)), np.int64)
    value -= 1
    assertion -= 1
    status[of], value[of], observed[of], assertion[of] = final.status, final.value, final.observed, final.assertion
    columns: dict[str, Any] = {
        "pos": places, "status": status.astype(np.int32), "value": _told(told, value), "observed": observed,
        "aid": _named(ids, assertion)}
    if how.label_type in how.task.closure.label_types():
        offsets = pa.array(np.concatenate([[0], np.flatnonzero(steps.are_last()) + 1]), pa.int32())
        lists = {"at": pa.array(steps.at), "statuses": pa.array(steps.status.astype(np.int32)), "step_values": _told(told, steps.value)}
        columns |= {name: pa.ListArray.from_arrays(offsets, held) for name, held in lists.items()}
    return make_batch(RESOLVED, len(places), columns)


def _told(texts: tuple[str, ...], codes: npt.NDArray[Any]) -> pa.Array:
    """Codes as their texts, null below 0."""
    return pa.array(texts, pa.string()).take(pa.array(codes, mask=codes < 0))


def _final_of_entities(by_asof: Mapping[int, Steps], places: Int64s, subjects: pa.Array, told: tuple[str, ...],
                       ids: pa.Array) -> pa.RecordBatch:
    """One row for each entity, all of which have steps as of the latest as-of: how it stands then, and the steps of every as-of."""
    latest = by_asof[max(by_asof)]
    final = latest.take(latest.are_last())
    steps, asofs = joined_steps(list(by_asof.values())), np.concatenate([np.full(len(one.at), asof) for asof, one in by_asof.items()])
    order = np.argsort(steps.position, kind="stable")
    steps, asofs = steps.take(order), asofs[order]
    offsets = pa.array(np.searchsorted(steps.position, np.arange(len(places) + 1)), pa.int32())
    lists = {"at": pa.array(steps.at), "statuses": pa.array(steps.status.astype(np.int32)), "step_values": _told(told, steps.value),
             "step_observed": pa.array(steps.observed), "step_aids": _named(ids, steps.assertion), "step_asofs": pa.array(asofs)}
    return make_batch(RESOLVED, len(places), {
        "pos": places, "subject": subjects, "status": final.status.astype(np.int32), "value": _told(told, final.value),
        "observed": final.observed, "aid": _named(ids, final.assertion),
        **{name: pa.ListArray.from_arrays(offsets, held) for name, held in lists.items()}})


def _named(ids: pa.Array, assertion: npt.NDArray[Any]) -> pa.Array:
    """The ids of some assertions; null below 0."""
    return ids.take(pa.array(assertion, mask=assertion < 0))


def resolved_from(table: pa.Table, label_type: str, number: int, *, stepped: bool) -> ResolvedType:
    """One label type of events that travelled with what `resolve` said of them, in the columns of `carried`."""
    n = len(table)
    prefix = f"l{number}_"
    values = texts_of([table[f"{prefix}value"]])[0]
    dictionary = pa.array([], pa.string()) if values.dictionary is None else values.dictionary
    changes = None
    status = numbers(table[f"{prefix}status"], np.int32)[0].astype(np.int8)
    if stepped:
        at = whole(table[f"{prefix}at"])
        counts = pc.list_value_length(at).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        step_values = texts_of([pa.chunked_array([whole(table[f"{prefix}step_values"]).flatten()])])[0]
        changes = Steps(np.repeat(np.arange(n), counts), numbers(at.flatten())[0],
                        numbers(whole(table[f"{prefix}statuses"]).flatten(), np.int32)[0].astype(np.int8),
                        step_values.data.astype(np.int32), np.zeros(int(counts.sum()), np.int64), np.full(int(counts.sum()), -1, np.int32))
        dictionary = pa.array([], pa.string()) if step_values.dictionary is None else step_values.dictionary
        return ResolvedType(label_type, status, np.full(n, -1, np.int32), dictionary, np.zeros(n, np.int64), np.full(n, -1, np.int32),
                            pa.array([], pa.large_string()), changes)
    ids = whole(table[f"{prefix}aid"])
    known = ids.is_valid().to_numpy(zero_copy_only=False)
    return ResolvedType(label_type, status, values.data.astype(np.int32), dictionary, numbers(table[f"{prefix}observed"])[0],
                        np.where(known, np.arange(n), -1).astype(np.int32), ids.cast(pa.large_string()), None)


def carried(number: int, *, stepped: bool) -> Shape:
    """The columns in which events carry a label type: what holds at the as-of, or the steps."""
    held = (("at", "array<long>"), ("statuses", "array<int>"), ("step_values", "array<string>")) if stepped else (
        ("status", "int"), ("value", "string"), ("observed", "long"), ("aid", "string"))
    return tuple((f"l{number}_{name}", kind) for name, kind in held)
