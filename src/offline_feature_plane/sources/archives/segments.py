"""Segments of record archives, read and held against the index (`domain.md` §1.4, §1.5)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa

from offline_feature_plane.budgets import Misses
from offline_feature_plane.contracts.archive_index import IndexedSegment
from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.admission import Record, Standing
from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.domain.foreign_records import Lifting
from offline_feature_plane.errors import OfsError
from offline_feature_plane.plain_files import as_found
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.column_values import values_of
from offline_feature_plane.sources.archives.dividing import Entry, SharedFile
from offline_feature_plane.sources.archives.foreign_segments import foreign_records
from offline_feature_plane.sources.archives.forms import is_table
from offline_feature_plane.sources.archives.misplaced import miscounted, misplaced, mistimed, unindexed, unlike_entries
from offline_feature_plane.sources.archives.places import ArchivePlace, HeldFile
from offline_feature_plane.sources.archives.steady_files import unchanged
from offline_feature_plane.sources.archives.stored_files import line_record, stored_batches, stored_record
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.logs.stretches import Batch, Undecodable, lane_of
from offline_feature_plane.text_files import packing_of, read_lines

AnyBatch = TypeVar("AnyBatch", bound=Batch)


@dataclass(frozen=True)
class Segment:
    """A `Stretch`: one segment file and what the index claims of it; `log_times` of its first and last record, None where it has none.

    Its ranges may count under another name than `topic`, which is what its records say. With `lifting`, another tool wrote them.
    `entries` are all that the index has of its file, if that holds more than this segment, and `shared` is what those have together who
    read them one after the other. Of batches `asked` are the offsets that anybody looks at; None: all.
    """

    file: HeldFile
    evidence: SegmentEvidence
    log_times: tuple[int, int] | None
    topic: str
    place: ArchivePlace
    lifting: Lifting | None = None
    entries: tuple[IndexedSegment, ...] = ()
    asked: tuple[tuple[int, int], ...] | None = None
    shared: SharedFile | None = field(default=None, compare=False)

    @property
    def most(self) -> int:
        """As `Stretch.most`: what the index counts."""
        return self.file.rows

    @property
    def size_bytes(self) -> int:
        """As `PinnedStretch.size_bytes`: of its file."""
        return self.file.size

    @property
    def entry(self) -> Entry:
        """Itself among the segments of its file."""
        return self.topic, self.evidence.partition, self.evidence.span[0]

    def kept_apart(self) -> Iterator[pa.RecordBatch] | None:
        """Its rows, if its file was divided; None: they have to be read out of that."""
        return None if self.shared is None else self.shared.rows(self.entry)

    def pin(self) -> Mapping[str, Any]:
        """As `PinnedStretch.pin`: the file's digest, and what the index claims of it."""
        said = self.evidence
        entries = [[one.topic, one.partition, one.offset_kind, one.first_offset, one.next_offset, one.record_count] for one in self.entries]
        return {"file": said.sha256, "path": self.file.relative, "topic": self.topic, "lane": list(lane_of(self)),
                "span": [said.first_offset, said.last_offset, said.next_offset], "records": said.record_count, "entries": entries,
                "lifting": None if self.lifting is None else self.lifting.document(),
                "asked": None if self.asked is None else [list(map(str, span)) for span in self.asked]}

    def check(self) -> None:
        """As `Stretch.check`: its place does. Raises ReplayBasisMismatch."""
        hold = partial(self.place.check, self.file)
        with self.at_stake():
            if self.shared is None:
                hold()
            else:
                self.shared.check(hold)

    def read(self) -> Iterator[Record | Undecodable]:
        """As `Stretch.read`; raises as `read_checked`, and StorageIoFailure if it cannot be fetched."""
        with self.at_stake(), self.place.at_hand(self.file) as file:
            yield from read_checked(self, file)

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """As `QuickStretch.batches`. Raises as `read`."""
        return (batch for step in self.steps(wanted) if (batch := step()) is not None)

    def steps(self, wanted: Wanted) -> Generator[Callable[[], Batch | None]]:
        """As `SteppedStretch.steps`."""
        from offline_feature_plane.sources.archives.segment_batches import steps_of  # noqa: PLC0415 - it loads a compiler

        with self.at_stake():
            for step in steps_of(self, wanted):
                yield partial(self._stepped, step)

    def _stepped(self, step: Callable[[], Batch | None]) -> Batch | None:
        with self.at_stake():
            return step()

    @contextmanager
    def at_stake(self) -> Iterator[None]:
        """Errors about its file during the block say which offsets are at stake."""
        try:
            yield
        except OfsError as wrong:
            if wrong.path in {self.file.relative, str(self.file.path), as_found(self.file.path)} and "start_offset" not in wrong.fields:
                said = self.evidence
                wrong.what += f" It is to hold {said.topic}/{said.partition} [{said.first_offset}, {said.next_offset})."
                wrong.fields |= {"topic": said.topic, "partition": said.partition, "start_offset": said.first_offset,
                                 "end_offset": said.next_offset}
            raise


def read_checked(segment: Segment, file: PinnedFile, given: Iterator[Standing] | None = None) -> Iterator[Record | Undecodable]:
    """Yield a segment's records while they are held against its index entry: coordinates, order, count, last offset, log times.

    Args:
        segment: what is claimed.
        file: its file, at hand.
        given: the records in it; default: they are read.

    Raises:
        ReplayBasisMismatch: the segment is not what its index entry says.
    """
    evidence = segment.evidence
    first, end = evidence.span
    before, count, unread = -1, 0, first - 1
    last: int | None = None
    topic, partition, offset_kind = segment.topic, evidence.partition, evidence.offset_kind
    first_us, last_us = None, None
    found = records_of(file, segment.lifting) if given is None else given
    for record in found if not segment.entries else records_of_entry(segment, file, found):
        count += 1
        if count > evidence.record_count:
            break
        if record is None:
            unread, last_us = unread + 1, None
            yield Undecodable(unread)
            continue
        number, lane = record.number, (record.topic, record.partition, record.offset_kind)
        if lane != (topic, partition, offset_kind) or not first <= number < end or number <= before:
            raise misplaced(segment.file.relative, topic, evidence, (*lane, number), before)
        before = unread = number
        if isinstance(record, Record):
            last = number
            first_us, last_us = record.log_us if count == 1 else first_us, record.log_us
            yield record
        else:
            last_us = None
            yield Undecodable(number, record.reason)
    if count != evidence.record_count or (last is not None and evidence.last_offset is not None and last > int(evidence.last_offset)):
        raise miscounted(segment.file.relative, evidence, count, last)
    if (odd := mistimed(segment.file.relative, (first_us, last_us), segment.log_times)) is not None:
        raise odd


def records_of_entry(segment: Segment, file: PinnedFile, found: Iterator[Standing]) -> Iterator[Standing]:
    """The records of one of several segments that share a file; what says no place belongs to what is before it, else to what comes first.

    Raises:
        ReplayBasisMismatch: the file holds records of no entry, or not as many as its entries count.
    """
    spans: dict[tuple[str, int, str], list[tuple[int, int, bool]]] = defaultdict(list)
    for one in segment.entries:
        spans[one.topic, one.partition, one.offset_kind].append((int(one.first_offset), int(one.next_offset), is_of(segment, one)))
    count, ours = 0, False
    unread: list[Standing] = []
    before: bool | None = None
    for record in found:
        count += 1
        if record is None:
            if before is None:
                unread.append(record)
            elif before:
                yield record
            continue
        lane = spans.get((record.topic, record.partition, record.offset_kind), [])
        held = [mine for first, end, mine in lane if first <= record.number < end]
        if not held:
            raise unindexed(file.relative, record.place)
        ours = any(held)
        if before is None and ours:
            yield from unread
        before = ours
        if ours:
            yield record
    if (odd := unlike_entries(file.relative, segment.entries, count)) is not None:
        raise odd


def as_is(batch: AnyBatch) -> AnyBatch:
    """The step of a batch of which nothing is left to be done."""
    return batch


def is_of(segment: Segment, one: IndexedSegment) -> bool:
    """Is this the index entry of a segment?"""
    said = segment.evidence
    return (one.topic, one.partition, one.offset_kind, one.first_offset, one.next_offset) == (
        segment.topic, said.partition, said.offset_kind, said.first_offset, said.next_offset)


def records_of(file: PinnedFile, lifting: Lifting | None = None) -> Iterator[Standing]:
    """The records of a segment file, and what stands for them; None for a line or payload that is not JSON.

    Raises:
        ResourceExceeded: far more of it is no record than its bytes can tell apart, or it decodes to far more than is stored.
    """
    misses = Misses(file.path, file.size)
    for record in _records_of(file, lifting):
        if not isinstance(record, Record):
            misses.note()
        yield record


def _records_of(file: PinnedFile, lifting: Lifting | None) -> Iterator[Standing]:
    if lifting is not None:
        yield from foreign_records(file, lifting)
        return
    if is_table(file.relative):
        for batch in stored_batches(file):
            yield from map(stored_record, *(values_of(batch[name]) for name in STORED_COLUMNS))
        return
    with unchanged(file):
        for _, line in read_lines(file.path, packing=packing_of(file.relative), cuts=True):
            yield line_record(line)
