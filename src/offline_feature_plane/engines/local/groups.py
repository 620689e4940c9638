"""One feature group: from events and labels to the kernels, and from the kernels' numbers back to columns."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.aggregations import aggregation_kind
from offline_feature_plane.domain.aggregations.summing import BEYOND_FLOATS
from offline_feature_plane.domain.closure import Feature, Group, Window
from offline_feature_plane.domain.columns import MAX_DECIMAL_DIGITS, ColumnType
from offline_feature_plane.domain.expressions import Expression
from offline_feature_plane.domain.extraction import Value, convert
from offline_feature_plane.engines.local.calendars import boundaries
from offline_feature_plane.engines.local.events import Events, Values
from offline_feature_plane.engines.local.expressions import find_true
from offline_feature_plane.engines.local.keys import Codes
from offline_feature_plane.engines.local.labels import STATUSES, ResolvedType
from offline_feature_plane.engines.local.lists import EMPTY, fill, is_list, part_name
from offline_feature_plane.engines.local.row_access import BLOCK, fields_at
from offline_feature_plane.engines.local.texts import find_text, insert_text
from offline_feature_plane.errors import NumericOverflow
from offline_feature_plane.kernels import windows as kinds
from offline_feature_plane.kernels.grouprun import FeatureRequest, GroupRun, LabelChanges, SumOverflow

__all__ = ["GroupColumns", "find_matching", "in_numbers"]

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
_RESOLVED = STATUSES.index("RESOLVED")
_Argument = tuple[str | None, Expression | None]  # a field, and the condition under which it counts


class GroupColumns:
    """One group's run through the kernels, and what its numbers mean as columns.

    Args:
        events: the whole history.
        group: what to compute.
        place: the index of its source.
        keys: its key codes, from `encode_keys`.
        is_row: bool[N], the positions to compute it for.
        labels: the resolved types.

    Raises:
        NumericOverflow: `where` leaves its type.

    `hidden` is None: what arrived later is seen as well. `windows`, `requests` and `label_changes` are the group in the kernels' words.
    """

    def __init__(self, events: Events, group: Group, place: int, keys: tuple[Codes, int], is_row: Bools,
                 labels: Mapping[str, ResolvedType]) -> None:
        self._group, self._codes, self._is_row = group, keys[0], is_row
        self.hidden: Bools | None = None
        is_event = self.is_event = find_matching(events, group.source, place, group.where)
        chosen: dict[Expression | None, Bools | None] = {
            one: find_matching(events, group.source, place, one) for one in group.conditions() if one != group.where}
        chosen |= {None: None, group.where: None}  # what all of the group's events are asked chooses none of them
        self._arguments: dict[_Argument, Values] = {}
        for call in (feature.aggregation for feature in group.features):
            if (call.argument, call.condition) not in self._arguments:
                values = _counted(events) if call.argument is None else events.fields[group.source, call.argument]
                self._arguments[call.argument, call.condition] = _only(_forget_strangers(values, is_event), chosen[call.condition])
        windows = list(dict.fromkeys(feature.window for feature in group.features))
        requests: list[FeatureRequest] = []
        self._places: list[int] = []
        for feature in group.features:
            self._places.append(len(requests))
            request = self._request(feature, windows)
            requests += [replace(request, place=place) for place in range(request.most)]
        # Where `empty:` must tell a null value from no event at all, one more column says whether there was an event.
        self._evidence: dict[int, int] = {}
        for index, feature in enumerate(group.features):
            witness = aggregation_kind(feature.aggregation.function).witness
            if feature.empty is not None and witness is not None:
                self._evidence[index] = len(requests)
                requests.append(FeatureRequest(witness, windows.index(feature.window)))
        handles = {_handle(feature): _label_changes(labels[feature.aggregation.label_type], feature.aggregation.values)
                   for feature in group.features if feature.aggregation.label_type is not None}
        self._stand_ins = [self._stand_in(feature) for feature in group.features]
        self.requests, self.label_changes, self.windows = requests, handles, [in_numbers(one, events) for one in windows]
        self._run = GroupRun(ts=events.ts, key=keys[0], n_keys=keys[1], is_event=is_event, is_row=is_row, current=group.current,
                             delay_us=group.delay_us, windows=self.windows, label_changes=handles, features=requests)

    def advance(self, start: int, stop: int) -> dict[str, Values]:
        """The group's columns, by name, for the rows of the next positions.

        Raises:
            NumericOverflow: a sum leaves its type; the path names the column.
        """
        try:
            found = self._run.advance(start, stop)
        except SumOverflow as wrong:
            raise self.overflow(wrong) from wrong
        return self.named(dict(enumerate(found)), self._codes[start:stop][self._is_row[start:stop]])

    def named(self, found: Mapping[int, tuple[npt.NDArray[Any], Bools | None]], codes: Codes) -> dict[str, Values]:
        """Columns by name, from what was found for some requests (by their places) and rows (by the codes of their keys)."""
        has_key, columns = codes >= 0, dict[str, Values]()
        for index, feature in enumerate(self._group.features):
            place = self._places[index]
            if place not in found or self._evidence.get(index, place) not in found:
                continue
            data, valid = found[place]
            if is_list(feature):
                columns |= self._parts(feature, [found[place + number] for number in range(feature.aggregation.most or 0)])
                if feature.empty is not None:
                    columns[part_name(feature, EMPTY)] = Values(ColumnType("bool"), _unseen(valid, has_key).astype(np.int64))
                continue
            values = Values(feature.type, data, valid, self._texts(feature))
            if feature.empty is not None and (valid is not None or self._widens(index)):
                seen = found[self._evidence[index]][1] if index in self._evidence else valid
                values = self._filled(values, _unseen(seen, has_key), self._stand_ins[index])
            columns[feature.column] = values
        return columns

    def _parts(self, feature: Feature, found: Sequence[tuple[npt.NDArray[Any], Bools | None]]) -> dict[str, Values]:
        """The values of a list, a column for each place, until `lists.spell_lists` makes one of them."""
        argument = self._arguments[feature.aggregation.argument, feature.aggregation.condition]
        return {part_name(feature, place): replace(argument, data=data, valid=valid) for place, (data, valid) in enumerate(found)}

    def _request(self, feature: Feature, windows: list[Window]) -> FeatureRequest:
        call, window = feature.aggregation, windows.index(feature.window)
        if call.label_type is not None:
            return FeatureRequest(call.function, window, label=_handle(feature), of_resolved=call.of_resolved)
        if call.argument is None and call.condition is None:
            return FeatureRequest(call.function, window)
        argument = self._arguments[call.argument, call.condition]
        limit = 10**MAX_DECIMAL_DIGITS - 1 if feature.type.kind == "decimal" else None
        return FeatureRequest(call.function, window, argument.data, argument.valid, scale=argument.type.scale, limit=limit,
                              share=call.share, half_life_us=call.half_life_us or 0, most=call.most or 1)

    def _texts(self, feature: Feature) -> pa.Array | None:
        call = feature.aggregation
        return self._arguments[call.argument, call.condition].dictionary if feature.type.kind == "string" else None

    def _stand_in(self, feature: Feature) -> Value | tuple[int, pa.Array | None]:
        """What `empty:` says, in the inner form; a text as its place, with a dictionary that has it if the argument's has not."""
        if feature.empty is None or is_list(feature):
            return None
        value = convert(feature.empty, feature.type, "exact", "UTC", feature.column)
        if not isinstance(value, str):
            return value
        texts = self._texts(feature)
        at, there = find_text(texts, value)
        return at, None if there else insert_text(texts, at, value)

    @staticmethod
    def _filled(values: Values, empty: Bools, stand_in: Any) -> Values:
        """`empty:` in place of the nulls of windows that gave nothing."""
        valid = None if values.valid is None else values.valid | empty
        if not isinstance(stand_in, tuple):
            return replace(values, data=np.where(empty, stand_in, values.data), valid=valid)
        return fill(values, empty, stand_in)

    def _widens(self, place: int) -> bool:
        """Has the column another dictionary than its argument? Then all of its chunks have."""
        stand_in = self._stand_ins[place]
        return isinstance(stand_in, tuple) and stand_in[1] is not None

    def overflow(self, wrong: SumOverflow) -> NumericOverflow:
        """What a sum beyond its limit means."""
        feature = self._group.features[bisect_right(self._places, wrong.feature) - 1]
        digits = "18 digits" if feature.type.kind == "decimal" else "int64"
        call = feature.aggregation.text
        if feature.type.kind == "float64":
            return NumericOverflow(f"{feature.column}: {call} is beyond float64.", fix=BEYOND_FLOATS, path=feature.column)
        return NumericOverflow(f"{feature.column}: {call} is {wrong.total}, which exceeds {digits}.",
                               fix="Use a shorter window, a smaller scale, or mean.", path=feature.column)


def _unseen(seen: Bools | None, has_key: Bools) -> Bools:
    """The rows with a key whose window gave nothing."""
    return np.zeros(len(has_key), np.bool_) if seen is None else has_key & ~seen


def in_numbers(window: Window, events: Events) -> kinds.Window:
    """A window as the kernels know it: zones become instants."""
    match window:
        case Window(kind="last", count=int(count)):
            return kinds.Latest(count)
        case Window(kind="calendar", period=str(period), zone=str(zone)):
            return kinds.Since(boundaries(events.ts, period, zone))
        case Window(kind="tumbling", length_us=int(length_us)):
            return kinds.Tumbling(length_us)
        case Window(kind="session", gap_us=int(gap_us), length_us=int(most_us)):
            return kinds.Session(gap_us, most_us)
    return kinds.Sliding(window.length_us)


def find_matching(events: Events, source: str, place: int, condition: Expression | None) -> Bools:
    """The positions of a source's events for which a condition is True; all of them without one. Keys are the kernels' business.

    Raises:
        NumericOverflow: the condition leaves its type, of whatever event of the source.
    """
    found: Bools = np.empty(events.n, dtype=np.bool_)
    np.equal(events.source, place, out=found)
    if condition is None:
        return found
    for start in range(0, events.n, BLOCK):
        own = found[start:start + BLOCK]
        count = int(np.count_nonzero(own))
        at: slice | Int64s = slice(start, start + len(own)) if count == len(own) else start + np.flatnonzero(own)
        if count:
            own[own] = find_true(condition, fields_at(events, source, condition.names(), at), count)
    return found


def _counted(events: Events) -> Values:
    """The argument of a call that has none: an event counts for one. One number stands for all, for who counts reads none."""
    return Values(ColumnType("int64"), np.broadcast_to(np.int64(1), events.n))


def _only(values: Values, chosen: Bools | None) -> Values:
    """An argument at the chosen events, null elsewhere."""
    return values if chosen is None else replace(values, valid=chosen if values.valid is None else values.valid & chosen)


def _forget_strangers(values: Values, is_event: Bools) -> Values:
    """A column is null at other sources' events; where all of the group's own are known, nothing needs to be looked up."""
    return replace(values, valid=None) if values.valid is not None and (values.valid | ~is_event).all() else values


def _handle(feature: Feature) -> tuple[str | None, tuple[str, ...]]:
    return feature.aggregation.label_type, feature.aggregation.values


def _label_changes(resolved: ResolvedType, values: tuple[str, ...]) -> LabelChanges:
    """How events become known to be of one of `values` (`decisions.md` D22, D23)."""
    steps = resolved.changes
    if steps is None:
        nothing = np.empty(0, dtype=np.int64)
        return LabelChanges(nothing, nothing, nothing.astype(np.int8), nothing.astype(np.int8))
    wanted = np.array([text in values for text in resolved.values.to_pylist()] + [False])  # −1, no value, is the last one
    known = steps.status == _RESOLVED
    return LabelChanges(steps.position, steps.at, (known & wanted[steps.value]).astype(np.int8), known.astype(np.int8))
