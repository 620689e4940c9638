"""Batches of decoded records: what `domain.admission.Record` says of one, as columns of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.admission import Record, Standing, Vacant
from offline_feature_plane.sources.decoding.wanted import Bytes, Int64s
from offline_feature_plane.text_files import load_object

__all__ = ["Decoded", "Found", "integer_array", "mask_array", "mask_of", "one_by_one", "spelled"]

T = TypeVar("T")

_NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class Found:
    """Where the wanted values of payloads stand: by slot and row, what they are (`kernels.jsontext`), and from where to where in `data`."""

    data: Bytes
    kinds: npt.NDArray[np.int8]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Decoded:
    """Records of one lane in the order of their offsets; where `decoded` is False, only `numbers` mean something, and what is `vacant`.

    `numbers` are offsets, int64 or Python integers; `digests` are 32 bytes each. `found` None: every payload is in `known`, where the
    records stand that the law has decoded. `payload_starts` and `payload_ends`: where the others' payloads stand in `found.data`; with
    `law`, which decodes a record once more by itself, they stand nowhere. Of those that are not decoded `deletions` are null values
    (None: none of them), and `vacant` are those of an archive that say where they stand. `lanes`: of records that may be of several
    lanes, which one each is of (`decoding.batches.Expected.lanes`), as far as the law need not be asked.
    """

    decoded: npt.NDArray[np.bool_]
    numbers: npt.NDArray[Any]
    ts_us: Int64s
    log_us: Int64s
    runs: pa.Array
    scenarios: pa.Array
    types: pa.Array
    ids: pa.Array
    has_payload: npt.NDArray[np.bool_]
    digests: npt.NDArray[np.uint8]
    found: Found | None
    payload_starts: Int64s = field(default_factory=lambda: _NOTHING)
    payload_ends: Int64s = field(default_factory=lambda: _NOTHING)
    known: Mapping[int, Record] = field(default_factory=dict)
    deletions: npt.NDArray[np.bool_] | None = None
    law: Callable[[int], Standing] | None = None
    lanes: Int64s | None = None
    vacant: Mapping[int, Vacant] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Records."""
        return len(self.decoded)

    def taken(self, rows: Int64s) -> Decoded:
        """Some of them, by their places, which ascend."""
        if len(rows) == self.n:
            return self
        at, law, here = integer_array(rows, pa.int64()), self.law, self.found
        found = None if here is None else Found(here.data, here.kinds[:, rows], here.starts[:, rows], here.ends[:, rows])
        starts, ends = (one.take(rows) if len(one) else one for one in (self.payload_starts, self.payload_ends))
        known = _some_of(self.known, rows)
        return Decoded(self.decoded[rows], self.numbers[rows], self.ts_us[rows], self.log_us[rows], self.runs.take(at),
                       self.scenarios.take(at), self.types.take(at), self.ids.take(at), self.has_payload[rows], self.digests[rows], found,
                       starts, ends, known, None if self.deletions is None else self.deletions[rows],
                       None if law is None else lambda row: law(int(rows[row])), None if self.lanes is None else self.lanes[rows],
                       _some_of(self.vacant, rows))

    @property
    def by_law(self) -> Mapping[int, Record | Vacant]:
        """What the law has said of some rows, and where they stand."""
        return {**self.known, **self.vacant}

    @property
    def placed(self) -> npt.NDArray[np.bool_]:
        """Where it is said which offset it is."""
        if not self.vacant:
            return self.decoded
        placed = self.decoded.copy()
        placed[list(self.vacant)] = True
        return placed

    def payload(self, row: int) -> Mapping[str, Any]:
        """The payload of a record that has one."""
        if (record := self.known.get(row)) is not None:
            return record.payload or {}
        if self.law is not None:
            again = self.law(row)
            return (again.payload if isinstance(again, Record) else None) or {}
        assert self.found is not None  # noqa: S101 - for mypy: either it is known, or it was found
        return load_object(self.found.data[self.payload_starts[row]:self.payload_ends[row]].tobytes())


def one_by_one(records: Sequence[Record | None], numbers: Sequence[int], deletions: npt.NDArray[np.bool_] | None = None) -> Decoded:
    """A batch of records that the law has decoded, None where it could not; `numbers` are their offsets, `deletions` as in `Decoded`."""
    known = {row: record for row, record in enumerate(records) if record is not None}

    def texts(name: str) -> pa.Array:
        return pa.array([None if one is None else getattr(one, name) for one in records], pa.string())
    def integers(name: str) -> Int64s:
        return np.array([0 if one is None else getattr(one, name) for one in records], np.int64)
    digests = b"".join(bytes(32) if one is None else bytes.fromhex(one.digest[7:]) for one in records)
    return Decoded(
        np.array([one is not None for one in records], np.bool_),
        np.array(numbers, np.int64 if max(numbers, default=0) < 1 << 63 else object), integers("ts_us"), integers("log_us"),
        texts("platform_run_id"), texts("scenario_run_id"), texts("event_type"), texts("event_id"),
        np.array([one is not None and one.payload is not None for one in records], np.bool_),
        np.frombuffer(digests, np.uint8).reshape(-1, 32), None, known=known, deletions=deletions)


def _some_of(known: Mapping[int, T], rows: Int64s) -> dict[int, T]:
    """What is known of some rows, by their new places."""
    return {row: known[one] for row, one in enumerate(rows.tolist()) if one in known} if known else {}


def mask_array(mask: npt.NDArray[np.bool_]) -> pa.Array:
    """Booleans as an Arrow array (`pa.array` would import pandas)."""
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, pa.py_buffer(np.packbits(mask, bitorder="little"))])


def mask_of(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Where a boolean array is true; null is false."""
    plain = array.fill_null(False).cast(pa.uint8())  # noqa: FBT003 - the value that stands for null
    return np.frombuffer(plain.buffers()[1], np.uint8, len(array), plain.offset).view(np.bool_)


def integer_array(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Integers of a fixed width as an Arrow array over the same memory."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def spelled(numbers: npt.NDArray[Any]) -> pa.Array:
    """Offsets as texts, those that int64 does not hold among them."""
    if numbers.dtype == object:
        return pa.array([str(one) for one in numbers.tolist()], pa.string())
    return integer_array(numbers, pa.int64()).cast(pa.string())
