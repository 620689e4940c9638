"""Records that were decoded in batches, written in batches: what `sources.decoding.stored_rows` writes of each of them.

```
 members ─┬─ texts as they stand ───────────────▶ cells ──▶ lines, or columns
          ├─ payload ──without blanks──────────▶    ▲
          └─ whatever is unusual ──▶ the law, one by one
```
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.identity import EVENT_HASH_RECIPE
from offline_feature_plane.domain.record_texts import json_text
from offline_feature_plane.kernels.instant_texts import write_instants
from offline_feature_plane.kernels.json_kinds import ABSENT, TEXT
from offline_feature_plane.kernels.record_lines import compact_payloads, write_lines
from offline_feature_plane.kernels.typed_texts import are_sound
from offline_feature_plane.sources.decoding.batches import HASH_BYTES, STORED, Members, spelled_hashes
from offline_feature_plane.sources.decoding.decoded import Decoded, mask_array, spelled
from offline_feature_plane.sources.decoding.lines import lines_of_binary
from offline_feature_plane.sources.decoding.stored import Rows, Stored, Writing
from offline_feature_plane.sources.decoding.stored_rows import ROW_BYTES, STORED_SCHEMA, columns_of, line_of
from offline_feature_plane.sources.decoding.texts import text_column
from offline_feature_plane.sources.decoding.wanted import Bytes, Int64s, joined

__all__ = ["COPIED", "rows_of_batch"]

COPIED: Final = (*STORED, "archived_at_utc")  # the members of a record that is copied

_LANE: Final = ("topic", "partition", "offset_kind")  # the same in every record of a batch
_CELLS: Final = tuple(name for name in STORED_COLUMNS if name not in _LANE)
_PAYLOAD: Final = _CELLS.index("payload")
_MAY_BE: Final = ("payload_hash", "payload_hash_recipe", "archived_at_utc")  # what decoding does not look into


@dataclass(frozen=True)
class _Cells:
    """Where the text of each member of each record stands in `data`, −1 for null; `status` is 1 for a record that the law must write."""

    data: Bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    status: npt.NDArray[np.uint8]


def rows_of_batch(members: Members, batch: Decoded, writing: Writing, law: Callable[[int], Stored], *, is_placed: bool) -> Rows:
    """A batch as it is written.

    Args:
        members: of its records.
        batch: what they were decoded to.
        writing: how.
        law: gives one of them by itself.
        is_placed: the records have their offsets and log times in them, else those of the batch are theirs.
    """
    cells = _cells(members, batch, writing, is_placed=is_placed)
    deletions = np.zeros(batch.n, np.bool_) if batch.deletions is None else batch.deletions
    write = _table if writing.form == "parquet" else _lines
    bounds, text, table = write(cells, writing, lambda row: law(row)._replace(number=int(batch.numbers[row])))
    return Rows(batch.numbers, batch.decoded, deletions, batch.log_us, bounds, text, table)


def _cells(members: Members, batch: Decoded, writing: Writing, *, is_placed: bool) -> _Cells:
    n, status = members.n, members.status.copy()
    parts, size = [members.data], len(members.data)
    starts, ends = np.full((len(_CELLS), n), -1, np.int64), np.full((len(_CELLS), n), -1, np.int64)

    def have(name: str, data: Bytes, begins: Int64s, stops: Int64s, where: Any = slice(None)) -> None:
        """Let a member stand in bytes of its own."""
        nonlocal size
        row = _CELLS.index(name)
        starts[row, where], ends[row, where] = (begins + size)[where], (stops + size)[where]
        parts.append(data)
        size += len(data)

    for name in _CELLS:
        if name in members.names:
            kinds, begins, stops = members.of(name)
            row, there = _CELLS.index(name), kinds != ABSENT
            starts[row, there], ends[row, there] = begins[there], stops[there]
            if name in _MAY_BE:
                sound = np.zeros(n, np.bool_)
                are_sound(members.data, begins, stops, sound)
                status[there & ((kinds != TEXT) | ~sound)] = 1
    steps, hashes = np.arange(n), _CELLS.index("payload_hash")
    unhashed = starts[hashes] < 0
    if unhashed.any():
        have("payload_hash", spelled_hashes(batch.digests).ravel(), HASH_BYTES * steps, HASH_BYTES * (steps + 1), unhashed)
    for name, said, where in (("payload_hash_recipe", EVENT_HASH_RECIPE, unhashed),
                              ("archived_at_utc", writing.archived_at, starts[_CELLS.index("archived_at_utc")] < 0)):
        data = np.frombuffer(said.encode(), np.uint8)
        have(name, data, 0 * steps, 0 * steps + len(data), where)
    if not is_placed:
        digits = lines_of_binary(spelled(batch.numbers))
        have("offset", digits.data, digits.begins, digits.stops)
        moments = np.empty((n, 27), np.uint8)
        write_instants(batch.log_us, moments)
        have("log_time_utc", moments.ravel(), 27 * steps, 27 * steps + 27)
    return _Cells(np.concatenate(parts), starts, ends, status)


def _lines(cells: _Cells, writing: Writing, law: Callable[[int], Stored]) -> tuple[Int64s, memoryview, None]:
    parts, part_bounds = joined(_frame(writing))
    n = len(cells.status)
    out = np.empty(int((cells.ends - cells.starts).sum()) + n * (len(parts) + 4 * len(_CELLS)), np.uint8)
    bounds = np.empty(n + 1, np.int64)
    write_lines(cells.data, cells.starts, cells.ends, _PAYLOAD, parts, part_bounds, out, bounds, cells.status)
    text = memoryview(out.data)
    unusual = np.flatnonzero(cells.status).tolist()
    if not unusual:
        return bounds, text, None
    pieces: list[Any] = []
    sizes, here = np.diff(bounds), 0
    for row in unusual:
        line = line_of(law(row), writing)
        pieces += [text[here:bounds[row]], line]
        sizes[row], here = len(line), bounds[row]
    pieces.append(text[here:bounds[n]])
    return np.concatenate(([0], np.cumsum(sizes))), memoryview(b"".join(pieces)), None


def _frame(writing: Writing) -> list[str]:
    """What stands around the members of a line."""
    lane = ",".join(f'"{name}":{json_text(said)}' for name, said in zip(_LANE, writing.lane, strict=True))
    heads = [f'{"{" + lane if at == 0 else ""},"{name}":' for at, name in enumerate(_CELLS)]
    return [*heads, "}\n"]


def _table(cells: _Cells, writing: Writing, law: Callable[[int], Stored]) -> tuple[Int64s, memoryview, pa.Table]:
    n = len(cells.status)
    starts, ends = cells.starts[_PAYLOAD], cells.ends[_PAYLOAD]
    out, bounds = np.empty(int((ends - starts).sum()), np.uint8), np.empty(n + 1, np.int64)
    compact_payloads(cells.data, starts, ends, out, bounds, cells.status)
    is_usual = cells.status == 0
    columns = {name: pa.repeat(pa.scalar(said, STORED_SCHEMA.field(name).type), n) for name, said in zip(_LANE, writing.lane, strict=True)}
    for row, name in enumerate(_CELLS):
        there = is_usual & (cells.starts[row] >= 0)
        data, begins, stops = (out, bounds[:-1], bounds[1:]) if row == _PAYLOAD else (cells.data, cells.starts[row], cells.ends[row])
        columns[name] = text_column(data, begins, np.where(there, stops, begins), there)
    sizes = np.diff(bounds)
    unusual = np.flatnonzero(cells.status).tolist()
    if unusual:
        told = [columns_of(law(row), writing) for row in unusual]
        sizes[unusual] = [len((one[STORED_COLUMNS.index("payload")] or "").encode()) for one in told]
        columns = {name: _patched(columns[name], ~is_usual, values)
                   for name, values in zip(STORED_COLUMNS, zip(*told, strict=True), strict=True)}
    table = pa.Table.from_arrays([columns[name] for name in STORED_COLUMNS], schema=STORED_SCHEMA)
    return np.concatenate(([0], np.cumsum(sizes + ROW_BYTES))), memoryview(b""), table


def _patched(column: pa.Array, where: npt.NDArray[np.bool_], values: Sequence[Any]) -> pa.Array:
    return pc.replace_with_mask(column, mask_array(where), pa.array(values, column.type))
