"""Batches of decoded records become the events of sources: what is outside of the scope is left out, by masks instead of one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.contracts.events import SCANNED_COLUMNS
from offline_feature_plane.domain.admission import Scope
from offline_feature_plane.domain.basis import Lane, Range
from offline_feature_plane.domain.findings import Alone, Compared, Findings, Spot
from offline_feature_plane.sources.decoding.decoded import Decoded, integer_array, mask_of, spelled
from offline_feature_plane.sources.decoding.wanted import Int64s, Wanted
from offline_feature_plane.sources.logs.ends_seen import EndsSeen
from offline_feature_plane.sources.logs.stretches import Batch
from offline_feature_plane.sources.logs.typings import Typing

__all__ = ["Scanned"]

Bools = npt.NDArray[np.bool_]


class Scanned:
    """What becomes of the batches of one topic, or of a portion of it; they come by partition and offset.

    Arguments as those of `LogRecords` and its `scan`. With `is_portion`, what only another holder has is kept in `alone`, and not judged.
    """

    def __init__(self, topic: str, typings: Sequence[Typing], taken: str | None, scope: Scope,
                 take: Callable[[str | None, pa.RecordBatch], None], found: Findings, ranges: Sequence[Range],
                 max_ahead_us: int | None = None, *, is_portion: bool = False) -> None:
        self._topic, self._taken, self._scope, self._take, self._found = topic, taken, scope, take, found
        self._max_ahead_us, self._is_portion = max_ahead_us, is_portion
        self._typings = {one.name: one for one in typings}
        self.arrived: dict[int, int] = {}  # by partition, the latest arrival
        self.read = 0
        self.left_out: dict[str, int] = {}
        self.scenarios: Counter[str] = Counter()
        self.compared = 0
        self.ends = EndsSeen(ranges)
        self.alone: tuple[Lane, Alone] | None = None

    def see(self, lane: Lane, item: Batch, inside: Bools | None, wanted: Wanted | None) -> None:
        """What comes next. Raises as `put`."""
        match item:
            case Spot():
                self._found.note(item, lane)
            case Compared():
                self.compared += item.count
            case Alone() if self._is_portion:
                self.alone = lane, item if self.alone is None else self.alone[1].then(item)
            case Alone():
                for spot in item.spots(f"{lane[0]}/{lane[1]}"):
                    self._found.note(spot, lane)
            case _:
                self.put(lane, item, inside, wanted)

    def put(self, lane: Lane, batch: Decoded, inside: Bools | None, wanted: Wanted | None) -> None:
        """The next batch, and which of its records are asked for (None: all). Raises what extraction raises."""
        left = np.ones(batch.n, np.bool_) if inside is None else inside.copy()
        arrival = self._arrivals(lane[1], batch, left & batch.decoded)
        self.ends.see_all(lane, batch.numbers, batch.ts_us, left & batch.decoded)
        is_deleted = np.zeros(batch.n, np.bool_) if batch.deletions is None else batch.deletions
        ours = self._is_ours(batch)
        if self._scope.scenario_run_ids:
            named = batch.scenarios.filter(pa.array(left & batch.decoded & ~is_deleted & ours))
            self.scenarios.update({one["values"]: one["counts"] for one in pc.value_counts(named).to_pylist()})
        for reason, fits in (("undecodable", batch.decoded | is_deleted), ("null_value", ~is_deleted),
                             ("foreign_run", ours), ("null_value", batch.has_payload),
                             ("future_quarantined", self._is_timely(batch))):
            self._leave_out(reason, lane, batch.numbers[left & ~fits])
            left &= fits
        types = batch.types.dictionary_encode()
        names = [self._named(one) for one in types.dictionary.to_pylist()]
        codes = np.frombuffer(types.indices.buffers()[1], np.int32, batch.n, 4 * types.indices.offset)
        sources = [self._scope.source_of.get(name) for name in names]
        for source in sorted(set(sources), key=str):
            mine = np.array([one == source for one in sources], np.bool_)
            rows = np.flatnonzero(left)
            rows = rows[mine[codes[rows]]]
            if len(rows):
                self._hand_out(source, lane[1], batch, rows, (codes, names), arrival, wanted)
        self.read += batch.n

    def _hand_out(self, source: str | None, partition: int, batch: Decoded, rows: Int64s, kinds: tuple[npt.NDArray[np.int32], list[str]],
                  arrival: Int64s, wanted: Wanted | None) -> None:
        at = integer_array(rows, pa.int64())
        head = [pa.DictionaryArray.from_arrays(integer_array(kinds[0][rows], pa.int32()), pa.array(kinds[1], pa.string())),
                batch.ids.take(at), integer_array(batch.ts_us[rows], pa.int64()),
                integer_array(np.full(len(rows), partition, np.int32), pa.int32()), spelled(batch.numbers[rows]),
                integer_array(rows + self.read, pa.int64()),
                pa.Array.from_buffers(pa.binary(32), len(rows), [None, pa.py_buffer(np.ascontiguousarray(batch.digests[rows]))]),
                integer_array(arrival[rows], pa.int64())]
        self._take(source, pa.RecordBatch.from_arrays(head, names=list(SCANNED_COLUMNS)) if source is None else
                   self._typings[source].scanned(head, batch, rows, wanted, self._topic, partition))

    def _is_ours(self, batch: Decoded) -> Bools:
        """Which records are of the run and of one of the scenarios."""
        ours = mask_of(pc.equal(batch.runs, self._scope.platform_run_id))
        if self._scope.scenario_run_ids:
            wanted = pa.array(sorted(self._scope.scenario_run_ids), pa.string())
            ours = ours & mask_of(pc.is_in(batch.scenarios, value_set=wanted))
        return ours

    def _is_timely(self, batch: Decoded) -> Bools:
        """Which records were not ahead of their log by more than is allowed."""
        if self._max_ahead_us is None:
            return np.ones(batch.n, np.bool_)
        timely: Bools = batch.ts_us - batch.log_us <= self._max_ahead_us
        return timely

    def _named(self, kind: str) -> str:
        """The type of an event as one of this topic; see `LogRecords`."""
        if self._taken is None:
            return kind
        return self._topic if kind == self._taken else f"{self._topic}/{kind}"

    def _arrivals(self, partition: int, batch: Decoded, counted: Bools) -> Int64s:
        """When every record arrived: the running maximum of the log's time."""
        latest = self.arrived.get(partition, np.iinfo(np.int64).min)
        times = np.where(counted, batch.log_us, latest)
        found: Int64s = np.maximum(np.maximum.accumulate(times), latest)
        if batch.n and (counted.any() or partition in self.arrived):
            self.arrived[partition] = int(found[-1])
        return found

    def _leave_out(self, reason: str, lane: Lane, numbers: npt.NDArray[Any]) -> None:
        """Count records, and note them, neighbours as one."""
        if not len(numbers):
            return
        self.left_out[reason] = self.left_out.get(reason, 0) + len(numbers)
        ends = np.append(np.flatnonzero(np.asarray(numbers[1:] != numbers[:-1] + 1, np.bool_)), len(numbers) - 1)
        start = 0
        for end in ends.tolist():
            self._found.note(Spot(reason, int(numbers[start]), last=int(numbers[end]), count=end - start + 1), lane)
            start = end + 1
