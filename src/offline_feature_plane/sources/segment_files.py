"""Segment files as they are written: JSON Lines packed by zstd, or Parquet; one at a time, and no more in memory than a batch."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.identity import EVENT_HASH_RECIPE
from offline_feature_plane.domain.record_texts import json_text, record_line
from offline_feature_plane.errors import StorageIoFailure
from offline_feature_plane.sources.stored import Stored

__all__ = ["SegmentFile", "SegmentForm", "members_of"]

SegmentForm = Literal["jsonl.zst", "jsonl", "parquet"]

ROWS: Final = 16_384  # in a row group
_PAYLOAD, _HASH, _RECIPE, _ARCHIVED = (STORED_COLUMNS.index(name) for name in (
    "payload", "payload_hash", "payload_hash_recipe", "archived_at_utc"))
_SCHEMA: Final = pa.schema([(name, pa.int32() if name == "partition" else pa.string()) for name in STORED_COLUMNS])
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def members_of(one: Stored, lane: tuple[str, int, str], archived_at: str) -> list[Any]:
    """What is written for a coordinate, in the order of `STORED_COLUMNS`.

    What cannot be decoded keeps its coordinate, and its bytes if they are known, as a text where an object belongs: no reader decodes it,
    and each counts it. A null value is its coordinate alone (`domain.admission.is_null_value`). A hash that was
    stored stays, under its recipe; where there was none it is ours.
    """
    topic, partition, kind = lane
    if one.record is None or one.members is None:
        value = None if one.reason == "null_value" else base64.b64encode(one.value or b"").decode()
        found: dict[str, Any] = {"topic": topic, "partition": partition, "offset_kind": kind, "offset": str(one.number), "payload": value}
        return [found.get(name) if name != "archived_at_utc" else archived_at for name in STORED_COLUMNS]
    members = [*one.members, one.archived or archived_at]
    if members[_HASH] is None:
        members[_HASH], members[_RECIPE] = one.record.digest, EVENT_HASH_RECIPE
    return members


class SegmentFile:
    """One segment on its way, as a context: a new file at a path.

    Args:
        path: where.
        form: what it is written as.
    """

    def __init__(self, path: Path, form: SegmentForm) -> None:
        self.path, self.form = path, form
        self.size, self.sha256 = 0, ""
        self.text_bytes = 0
        self._rows: list[Sequence[Any]] = []

    def __enter__(self) -> Self:
        """Open it. Raises StorageIoFailure."""
        try:
            self._file = os.fdopen(os.open(self.path, _NEW, 0o644), "wb")
            if self.form == "parquet":
                self._parquet = pq.ParquetWriter(pa.PythonFile(self._file, "w"), _SCHEMA, compression="zstd")
            else:
                self._text = self._file if self.form == "jsonl" else pa.CompressedOutputStream(pa.PythonFile(self._file, "w"), "zstd")
        except OSError as wrong:
            raise self._no_room(wrong) from wrong
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file, whole or not."""
        self._file.close()

    def add(self, members: list[Any]) -> None:
        """One more record. Raises StorageIoFailure."""
        try:
            if self.form == "parquet":
                text = json_text(members[_PAYLOAD]) if members[_PAYLOAD] is not None else None
                self._rows.append([*members[:_PAYLOAD], text, *members[_PAYLOAD + 1:]])
                self.text_bytes += len(text or "") + 300
                if len(self._rows) == ROWS:
                    self._flush()
            else:
                line = record_line(STORED_COLUMNS, members)
                self.text_bytes += len(line)
                self._text.write(line)
        except OSError as wrong:
            raise self._no_room(wrong) from wrong

    def finish(self) -> None:
        """Write the rest, sync it, and know its size and digest. Raises StorageIoFailure."""
        try:
            if self.form == "parquet":
                self._flush()
                self._parquet.close()
            elif self.form == "jsonl.zst":
                self._text.close()
            if not self._file.closed:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
            with self.path.open("rb") as file:
                self.sha256 = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
                self.size = os.fstat(file.fileno()).st_size
                os.fsync(file.fileno())
        except OSError as wrong:
            raise self._no_room(wrong) from wrong

    def _flush(self) -> None:
        if self._rows:
            columns = list(zip(*self._rows, strict=True))
            arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
            self._parquet.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA), row_group_size=ROWS)
            self._rows.clear()

    def _no_room(self, wrong: OSError) -> StorageIoFailure:
        return StorageIoFailure(f"{self.path} cannot be written: {wrong.strerror or wrong}.", path=str(self.path),
                                fix="Free space there, and give this user the right to write.")
