"""Segments of record archives, read and held against the index (`domain.md` §1.4, §1.5)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import pyarrow as pa

from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.admission import Record, decode
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.errors import (
    ReplayBasisMismatch,
    ReplayDuplicateOffsetMismatch,
    ResourceExceeded,
    SchemaInvalid,
    SourceUnreadable,
)
from offline_feature_plane.filesets import check_pins, load_object, read_batches
from offline_feature_plane.ports import PinnedFile, Segment


def read_in_order(segments: Sequence[tuple[Segment, SegmentEvidence]], ranges: Sequence[Range]) -> Iterator[Record | None]:
    """Yield the records of some ranges by partition and offset, each coordinate once; None for one that cannot be decoded.

    Raises:
        ReplayBasisMismatch: a segment is not the pinned one, or not what its index entry says.
        ReplayDuplicateOffsetMismatch: overlapping segments disagree about a coordinate.
    """
    check_pins([one.file for one, _ in segments])
    kept: dict[tuple[int, int], str] = {}  # coordinates that another segment may hold too
    spans = [(one.partition, int(one.first_offset), int(one.next_offset)) for one, _ in segments]
    for at, (segment, evidence) in enumerate(segments):
        lanes = [one for one in ranges if touches(segment, one)]
        shared = [span for place, span in enumerate(spans) if place != at and _overlap(span, segment)]
        for record in read_checked(segment, evidence):
            if record is None:
                yield None
            elif any(one.holds(record.number) for one in lanes):
                if any(span[1] <= record.number < span[2] for span in shared):
                    known = kept.get((record.partition, record.number))
                    if known is not None and known != record.digest:
                        raise ReplayDuplicateOffsetMismatch(f"two segments hold different events at {record.place}.", path=record.place,
                                                            fix="Find out which segment is true and remove the other from the index.")
                    kept[record.partition, record.number] = record.digest
                    if known is not None:
                        continue
                yield record


def _overlap(span: tuple[int, int, int], segment: Segment) -> bool:
    return span[0] == segment.partition and span[1] < int(segment.next_offset) and span[2] > int(segment.first_offset)


def read_checked(segment: Segment, evidence: SegmentEvidence) -> Iterator[Record | None]:
    """Yield a segment's records while they are held against its index entry: coordinates, order, count, last offset.

    Raises:
        ReplayBasisMismatch: the segment is not what its index entry says.
    """
    before, count, last = -1, 0, None
    first, end = evidence.span
    for document in _documents(segment.file):
        count += 1
        record = None if document is None else decode(document)
        if record is not None:
            there = (record.topic, record.partition, record.offset_kind) == (segment.topic, segment.partition, segment.offset_kind)
            if not there or not first <= record.number < end or record.number <= before:
                raise ReplayBasisMismatch(f"{segment.file.relative} holds {record.place} where {segment.topic}/{segment.partition} "
                                          f"[{max(first, before + 1)}, {end}) is indexed.", path=segment.file.relative)
            before, last = record.number, record.offset
        yield record
    if count != evidence.record_count or (last is not None and evidence.last_offset is not None and int(last) > int(evidence.last_offset)):
        raise ReplayBasisMismatch(f"{segment.file.relative} holds {count} records up to {last}; the index says {evidence.record_count} "
                                  f"up to {evidence.last_offset}.", path=segment.file.relative)


def _documents(file: PinnedFile) -> Iterator[Mapping[str, Any] | None]:
    """The stored records of a segment file; None for a line or payload that is no JSON."""
    if file.relative.endswith(".parquet"):
        for batch in read_batches(file, "parquet", STORED_COLUMNS):
            columns = {name: cast("pa.Array", values).to_pylist() for name, values in batch.items()}
            for row in range(len(columns["payload"])):
                stored = {name: values[row] for name, values in columns.items()}
                yield None if stored["payload"] is not None and not _parse_payload(stored) else stored
        return
    try:
        with gzip.open(file.path, "rb") if file.relative.endswith(".gz") else file.path.open("rb") as stream:
            for line in stream:
                try:
                    yield load_object(line)
                except (SchemaInvalid, ResourceExceeded):
                    yield None
    except (OSError, EOFError, zlib.error) as wrong:
        raise SourceUnreadable(f"{file.path} cannot be read: {wrong}", path=file.relative, fix="Restore the segment.") from wrong


def _parse_payload(stored: dict[str, Any]) -> bool:
    try:
        stored["payload"] = load_object(stored["payload"].encode())
    except (SchemaInvalid, ResourceExceeded):
        return False
    return True


def touches(segment: Segment, item: Range) -> bool:
    """Does the segment cover any of the range, in the same log?"""
    same = ((segment.topic, segment.partition, segment.offset_kind, segment.log_id)
            == (item.topic, item.partition, item.offset_kind, item.log_id))
    return same and int(segment.first_offset) < item.end and int(segment.next_offset) > item.start
