"""What one sequence says, streamed through one task: digests of a log's records and of a label slice, and what comes again in a log."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa

from offline_feature_plane.domain.findings import Findings, Spot
from offline_feature_plane.engines.local.label_sketches import Sketching
from offline_feature_plane.engines.spark.wire import NOTE, Shape, make_batch, numbers, whole

DIGESTED: Shape = (("digest", "string"),)
SLICE_COLUMNS = ("subject", "value", "observed", "effective", "source", "aid", "sup")
SLICED: Shape = (*((name, "string") for name in SLICE_COLUMNS), ("sketch", "binary"))
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Lines:
    """How the lines of a log's partitions begin: log, partition and kind."""

    begins: Mapping[int, str]

    @property
    def of_nothing(self) -> str:
        """The digest of no line."""
        return f"sha256:{hashlib.sha256().hexdigest()}"


def hash_lines(lines: Lines, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """SHA-256 over `log, partition, kind, offset, payload hash` lines: rows of (`part`, `off`, `said`) in their order."""
    running, seen = hashlib.sha256(), False
    for batch in batches:
        seen = seen or batch.num_rows > 0
        for part, offset, said in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            running.update(f"{lines.begins[part]}\t{offset[3:]}\t{said}\n".encode())
    if seen:
        yield make_batch(DIGESTED, 1, {"digest": f"sha256:{running.hexdigest()}"})


@dataclass(frozen=True)
class Repeating:
    """The partitions of a log: topic, partition, offset kind and log of each."""

    lanes: Mapping[int, tuple[str, int, str, str]]


def note_repeats(repeating: Repeating, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What is found of the records that repeat others: rows of (`part`, `off`) in their order."""
    found = Findings()
    for batch in batches:
        for part, offset in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            found.note(Spot("duplicate", int(offset[3:])), repeating.lanes[part])
    if told := found.told():
        yield make_batch(NOTE, 1, {"note": json.dumps([one.describe() for one in told])})


def hash_slice(integer: bool, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:  # noqa: FBT001 - the task's one word
    """The column digests and the sketch of a label slice whose rows come in its order: `domain.label_slice.slice_of`, streamed.

    A column's digest begins with a byte for each row. So values wait in a scratch file until the last of these has been seen.
    """
    columns = {name: _Streamed() for name in SLICE_COLUMNS}
    n, sketching = 0, Sketching()
    for batch in batches:
        n += batch.num_rows
        held = {name: batch.column(batch.schema.get_field_index(name)) for name in ("pos", *SLICE_COLUMNS)}
        position, observed, effective = (numbers(held[name])[0] for name in ("pos", "observed", "effective"))
        sketching.add(position, observed, effective, [whole(held[name]) for name in ("value", "source", "aid", "sup")])
        for name, column in columns.items():
            kind = np.int64 if name in ("observed", "effective") or (name == "subject" and integer) else None
            column.add(held[name], kind)
    if n:
        yield make_batch(SLICED, 1, {name: column.digest() for name, column in columns.items()} | {"sketch": [sketching.made()]})


class _Streamed:
    """The digest of one column, batch by batch."""

    def __init__(self) -> None:
        self._running = hashlib.sha256()
        self._values: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `digest`

    def add(self, column: pa.Array, kind: Any) -> None:
        """The next rows; `kind` None: texts."""
        if kind is not None:
            values, valid = numbers(column, kind)
            self._running.update((np.ones(len(values), np.uint8) if valid is None else valid.view(np.uint8)).tobytes())
            self._values.write(np.ascontiguousarray(values, "<i8").tobytes())
            return
        texts = [None if text is None else text.encode() for text in whole(column).to_pylist()]
        self._running.update(bytes(text is not None for text in texts))
        self._values.write(b"".join(len(text or b"").to_bytes(4, "little") + (text or b"") for text in texts))

    def digest(self) -> str:
        """`sha256:<hex>` of all rows."""
        self._values.seek(0)
        while block := self._values.read(_BLOCK):
            self._running.update(block)
        self._values.close()
        return f"sha256:{self._running.hexdigest()}"
