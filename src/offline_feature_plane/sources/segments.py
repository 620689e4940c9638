"""Segments of record archives, read and held against the index (`domain.md` §1.4, §1.5)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.admission import Record, decode, decode_stored
from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.errors import (
    ReplayBasisMismatch,
    ResourceExceeded,
    SchemaInvalid,
    SourceUnreadable,
)
from offline_feature_plane.filesets import check_pins, read_batches, stamp_as_hashed
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.stretches import Undecodable
from offline_feature_plane.text_files import load_object, read_lines

_PAYLOAD = STORED_COLUMNS.index("payload")


@dataclass(frozen=True)
class Segment:
    """A `Stretch`: one segment file and what the index claims of it; `log_times` of its first and last record, None where it has none.

    Its ranges may count under another name than `topic`, which is what its records say.
    """

    file: PinnedFile
    evidence: SegmentEvidence
    log_times: tuple[int, int] | None
    topic: str

    @property
    def most(self) -> int:
        """As `Stretch.most`: what the index counts."""
        return self.file.rows

    def check(self) -> None:
        """As `Stretch.check`: hash the file. Raises ReplayBasisMismatch."""
        check_pins([self.file])

    def read(self) -> Iterator[Record | Undecodable]:
        """As `Stretch.read`; raises as `read_checked`."""
        return read_checked(self)

    def batches(self, wanted: Wanted) -> Iterator[Decoded]:
        """As `QuickStretch.batches`; raises as `read_checked`."""
        from offline_feature_plane.sources.segment_batches import read_in_batches  # noqa: PLC0415 - it loads a compiler

        return read_in_batches(self, wanted)


def read_checked(segment: Segment) -> Iterator[Record | Undecodable]:
    """Yield a segment's records while they are held against its index entry: coordinates, order, count, last offset.

    Raises:
        ReplayBasisMismatch: the segment is not what its index entry says.
    """
    evidence = segment.evidence
    first, end = evidence.span
    before, count, last, unread = -1, 0, None, first - 1
    topic, partition, offset_kind = segment.topic, evidence.partition, evidence.offset_kind
    for record in _records(segment.file):
        count += 1
        if count > evidence.record_count:
            break
        if record is not None:
            number = record.number
            there = record.partition == partition and record.topic == topic and record.offset_kind == offset_kind
            if not there or not first <= number < end or number <= before:
                raise ReplayBasisMismatch(f"{segment.file.relative} holds {record.place} where {topic}/{partition} "
                                          f"[{max(first, before + 1)}, {end}) is indexed.", path=segment.file.relative)
            before, last, unread = number, record.offset, number
            yield record
        else:
            unread += 1
            yield Undecodable(unread)
    if count != evidence.record_count or (last is not None and evidence.last_offset is not None and int(last) > int(evidence.last_offset)):
        more = " or more" if count > evidence.record_count else ""
        raise ReplayBasisMismatch(f"{segment.file.relative} holds {count}{more} records up to {last}, but the index says "
                                  f"{evidence.record_count} up to {evidence.last_offset}.", path=segment.file.relative)


def _records(file: PinnedFile) -> Iterator[Record | None]:
    """The records of a segment file; None for a line or payload that is not JSON, and for what cannot be decoded."""
    if file.relative.endswith(".parquet"):
        for batch in stored_batches(file):
            yield from map(stored_record, *(values_of(batch[name]) for name in STORED_COLUMNS))
        return
    with unchanged(file):
        for _, line in read_lines(file.path, gzipped=file.relative.endswith(".gz")):
            yield line_record(line)


@contextmanager
def unchanged(file: PinnedFile) -> Iterator[None]:
    """The file that was hashed is read during the block. Raises SourceUnreadable, ReplayBasisMismatch."""
    before = stamp_as_hashed(file)
    try:
        yield
    except (OSError, EOFError, zlib.error) as wrong:
        said = getattr(wrong, "strerror", None) or wrong
        raise SourceUnreadable(f"{file.path} cannot be read: {said}.", path=file.relative, fix="Restore the segment.") from wrong
    if stamp_as_hashed(file) != before:
        raise ReplayBasisMismatch(f"{file.relative} changed while it was read.", path=file.relative)


def stored_batches(file: PinnedFile) -> Iterator[Mapping[str, pa.Array]]:
    """The columns of a Parquet segment. Raises SourceUnreadable, and as `filesets.read_batches`."""
    try:
        for batch in read_batches(file, "parquet", STORED_COLUMNS):
            yield {name: cast("pa.Array", batch[name]) for name in STORED_COLUMNS}
    except KeyError as wrong:
        raise SourceUnreadable(f"{file.path} has no column {wrong}.", path=file.relative,
                               fix=f"A segment has the columns {', '.join(STORED_COLUMNS)}.") from wrong


def line_record(line: bytes) -> Record | None:
    """The record of a line; None if there is none to be had. Raises ReplayBasisMismatch."""
    try:
        document = load_object(line)
    except (SchemaInvalid, ResourceExceeded):
        return None
    return decode(document)


def stored_record(*stored: Any) -> Record | None:
    """The record of a row of a Parquet segment, as `line_record`."""
    members = list(stored[:-1])
    if members[_PAYLOAD] is not None:
        try:
            members[_PAYLOAD] = load_object(members[_PAYLOAD])
        except (SchemaInvalid, ResourceExceeded, TypeError):
            return None
    return decode_stored(*members)


def values_of(column: pa.Array) -> list[Any]:
    """A column as Python values; text that is not UTF-8 as bytes, which no record decodes from."""
    try:
        return cast("list[Any]", column.to_pylist())
    except UnicodeDecodeError:
        return [_text_or_bytes(value) for value in column.cast(pa.binary()).to_pylist()]


def _text_or_bytes(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value

