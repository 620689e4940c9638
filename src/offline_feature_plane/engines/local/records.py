"""The events of record logs: scanned once, kept in the order of coordinates, handed on without those that come again.

```
 logs ──scan──▶ batches by topic and source ──▶ keys that come again ──▶ pieces, and the digest of each topic and source
                 in memory, or in files         over all topics
```
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.contracts.events import SCANNED_COLUMNS
from offline_feature_plane.domain.admission import Scope
from offline_feature_plane.domain.closure import Source
from offline_feature_plane.domain.findings import Findings, Spot
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.columns import Loaded, NumberFill, TextFill, fill_for, nullable
from offline_feature_plane.engines.local.history.kept import KeptFolders
from offline_feature_plane.engines.local.history.places import Place
from offline_feature_plane.engines.local.lowering import as_numpy
from offline_feature_plane.engines.local.record_keys import Keyed, Keys, Repeats, keyed
from offline_feature_plane.engines.local.record_spools import Spool, Taking
from offline_feature_plane.engines.local.sizes import Sizes
from offline_feature_plane.ports.inputs import Lane, ReadReport, RecordLog, Told

__all__ = ["ScannedLogs"]


class ScannedLogs:
    """The logs of a build, scanned when this is made.

    Args:
        logs: by topic.
        task: its scope, and its closure.
        place: where records are kept until they are handed on.
        sizes: how many keys are compared at once.
        told: what reading tells.
        heard: is told how many coordinates have been read so far.
        kept: where what takes long to be read is kept for another attempt, and what an earlier one has kept; None: nowhere.
        threads: with more than one, records are decoded while others are taken.

    Raises:
        As `RecordLog.scan`. ReplayEventIdConflict: one id with two contents. StorageIoFailure.
    """

    def __init__(self, logs: Sequence[RecordLog], task: Task, place: Place, sizes: Sizes, told: Told, heard: Callable[[int], None],
                 kept: KeptFolders | None = None, threads: int = 1) -> None:
        self._task, self.read = task, 0
        self._sources = {source.name: (index, source) for index, source in enumerate(task.closure.sources)}
        self._spools: dict[tuple[str, str | None], Spool] = {}
        most = sum(log.rows for log in logs)
        names: tuple[str | None, ...] = (*self._sources, None)
        keys = {name: Keys(place, f"keys.{at}", most) for at, name in enumerate(names)}
        scope = Scope.of(task.platform_run_id, task.scenario_run_ids, task.closure.sources)
        for at, log in enumerate(logs):
            for number, name in enumerate(names):
                columns = () if name is None else [field.name for field in self._sources[name][1].fields]
                self._spools[log.topic, name] = Spool(log, name, number, keys[name], (*SCANNED_COLUMNS, *columns),
                                                      place.batches(f"records.{at}.{number}"))
            mine = {name: self._spools[log.topic, name] for name in names}
            taking = Taking(mine, self.read, heard, kept, in_files=sizes.in_files)
            report = log.scan(scope, taking.take, None if kept is None else taking, threads)
            told.add(report)
            self.read += sum(one.n for one in mine.values()) + sum(report.left_out.values())
            heard(self.read)
        self._repeats = self._find_repeats(keys, max(1, sizes.ids // 2))
        for log in logs:
            told.add(self._tell_repeats(log))

    def pieces(self, log: RecordLog, most: int) -> Iterator[Loaded]:
        """The events of a log by source, in pieces of at most `most`; the last piece of each source has the digest of all."""
        for name in sorted(self._sources):
            yield from self._pieces_of(self._spools[log.topic, name], *self._sources[name], most)

    def _find_repeats(self, keys: Mapping[str | None, Keys], at_once: int) -> dict[str | None, Repeats]:
        found: dict[str | None, Repeats] = {}
        conflicts = []
        for name, held in keys.items():
            def look(rows: npt.NDArray[np.int64], name: str | None = name) -> Iterator[Keyed]:
                return self._look(name, rows)
            found[name], conflict = held.repeats(at_once, look)
            conflicts += [conflict] if conflict is not None else []
        if conflicts:
            raise min(conflicts, key=lambda one: one[0])[1]
        return found

    def _look(self, name: str | None, rows: npt.NDArray[np.int64]) -> Iterator[Keyed]:
        for spool in self._of_source(name):
            for start, batch in _numbered(spool):
                low, high = np.searchsorted(rows, (start, start + batch.num_rows)).tolist()
                if high > low:
                    yield from keyed(batch, spool.log.topic, start, rows[low:high].tolist())

    def _of_source(self, name: str | None) -> list[Spool]:
        return [spool for (_, one), spool in self._spools.items() if one == name]

    def _tell_repeats(self, log: RecordLog) -> ReadReport:
        """What comes again in a log, and how many records of it no source admits."""
        found, count, others = Findings(), 0, 0
        lanes = _lanes(log)
        spots: list[tuple[int, int, int]] = []
        for name, repeats in self._repeats.items():
            spool = self._spools[log.topic, name]
            others += spool.n if name is None else 0
            for start, batch in _numbered(spool) if repeats.count else ():
                again = repeats.among(start, start + batch.num_rows)
                if again is None or not again.any():
                    continue
                part = batch.select(["position", "partition", "offset"]).filter(_mask(again))
                spots += [(one["position"], one["partition"], int(one["offset"])) for one in part.to_pylist()]
                count += part.num_rows
                others -= part.num_rows if name is None else 0
        for _, partition, number in sorted(spots):
            lane = lanes[partition]
            found.note(Spot("duplicate", number), (log.topic, partition, lane.offset_kind, lane.log_id))
        return ReadReport({"duplicate": count, "other_scope": others}, found.told())

    def _pieces_of(self, spool: Spool, index: int, source: Source, most: int) -> Iterator[Loaded]:
        """A source's events, also if there are none."""
        lines, left = _Lines(spool.log), spool.n
        holding = _Holding(source, min(left, most))
        for start, whole in _numbered(spool):
            again = self._repeats[spool.source].among(start, start + whole.num_rows)
            batch = whole if again is None else whole.filter(_mask(~again))
            left -= whole.num_rows - batch.num_rows
            lines.add(batch)
            at = 0
            while at < batch.num_rows:
                count = min(batch.num_rows - at, most - holding.n)
                holding.put(batch.slice(at, count))
                at += count
                if holding.n == most and (left := left - most):
                    yield self._finished(holding, spool, index, source)
                    holding = _Holding(source, min(left, most))
        spool.batches.remove()
        yield replace(self._finished(holding, spool, index, source), records_digest=lines.digest())

    def _finished(self, holding: _Holding, spool: Spool, index: int, source: Source) -> Loaded:
        piece = holding.done(spool.log.topic, index)
        return replace(piece, arrival=piece.arrival if self._task.visibility == "arrival" else None,
                       standing=self._task.standing(source.name))


class _Holding:
    """Events of a source, gathered to a piece of at most so many rows."""

    def __init__(self, source: Source, most: int) -> None:
        self.n = 0
        self._fields: dict[str, NumberFill | TextFill] = {field.name: fill_for(nullable(field), most) for field in source.fields}
        self._heads: dict[str, list[Any]] = {"event_id": [], "ts": [], "partition": [], "position": [], "arrival": []}

    def put(self, batch: pa.RecordBatch) -> None:
        for position, fill in enumerate(self._fields.values(), len(SCANNED_COLUMNS)):
            fill.put(batch.column(position), "UTC")
        for name, held in self._heads.items():
            column = batch[name]
            held.append(column if name == "event_id" else as_numpy(column, np.int32 if name == "partition" else np.int64))
        self.n += batch.num_rows

    def done(self, topic: str, index: int) -> Loaded:
        def whole(name: str) -> npt.NDArray[np.int64]:
            return np.concatenate([np.empty(0, np.int64), *self._heads[name]])
        fields: dict[str, Any] = {}
        for name, fill in self._fields.items():
            done = fill.done()
            fields[name] = done if isinstance(done, pa.ChunkedArray) else (done[0][:self.n], None if done[1] is None else done[1][:self.n])
        return Loaded(topic, index, whole("ts"), pa.chunked_array(self._heads["event_id"], pa.string()), whole("partition"),
                      whole("position"), fields, None, whole("arrival"))


class _Lines:
    """SHA-256 over `log, partition, kind, offset, payload hash` lines in the order of coordinates."""

    def __init__(self, log: RecordLog) -> None:
        self._running = hashlib.sha256()
        self._begins = {partition: f"{one.log_id}\t{partition}\t{one.offset_kind}" for partition, one in _lanes(log).items()}

    def add(self, batch: pa.RecordBatch) -> None:
        """The next events."""
        partition = as_numpy(batch["partition"], np.int32)
        for start, stop in _spans(partition):
            part = batch.slice(start, stop - start)
            lines = pc.binary_join_element_wise(pa.scalar(self._begins[int(partition[start])]), part["offset"], _hash_lines(part), "\t")
            _, offsets, data = lines.buffers()
            bounds = np.frombuffer(offsets, np.int32)
            self._running.update(data[int(bounds[lines.offset]):int(bounds[lines.offset + len(lines)])])

    def digest(self) -> str:
        """That of all."""
        return f"sha256:{self._running.hexdigest()}"


def _hash_lines(batch: pa.RecordBatch) -> pa.Array:
    """The hashes of records as texts, each with its line end."""
    hashes = batch["payload_hash"]
    said = memoryview(hashes.buffers()[1])[32 * hashes.offset:32 * (hashes.offset + len(hashes))]
    text = np.empty((len(hashes), 72), np.uint8)
    text[:, :7] = np.frombuffer(b"sha256:", np.uint8)
    text[:, 7:71] = np.frombuffer(said.hex().encode(), np.uint8).reshape(len(hashes), 64)
    text[:, 71] = ord("\n")
    return pa.Array.from_buffers(pa.string(), len(hashes), [None, pa.py_buffer(np.arange(0, 72 * len(hashes) + 1, 72, dtype=np.int32)),
                                                           pa.py_buffer(text)])


def _spans(values: npt.NDArray[Any]) -> Iterator[tuple[int, int]]:
    """From where to where the same value stands."""
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]) + 1, len(values)).tolist() if len(values) else []
    start = 0
    for end in ends:
        yield start, end
        start = end


def _numbered(spool: Spool) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The batches, and which row the first record of each has among all of the source."""
    start = spool.first
    for batch in spool.batches.read():
        yield start, batch
        start += batch.num_rows


def _lanes(log: RecordLog) -> dict[int, Lane]:
    return {one.partition: one for one in log.lanes}


def _mask(values: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])


