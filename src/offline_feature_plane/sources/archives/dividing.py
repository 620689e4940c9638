"""Files that many segments share, divided while they are read: whoever reads one first keeps apart what the others will ask for.

```
 file   0/7 1/3 0/8 ? 2/1 1/4 0/9        read whole, once, by whoever of its segments comes first
                 │
 room   │1/3 … │2/1 … │1/4 … │ …         a file without a name, which is gone with its process
          └────────────┴──▶ the segment of partition 1 reads its own rows, as if it were alone in its file
```

A log is read by partition and offset, so without this a file would be decoded once for each of its partitions, and for each stretch
between two holes. It is worth a second writing from three of them on. Rows are kept as they are stored; one that says no place stays
behind the one before it, whose segment's it is. Nothing of this is for other processes, where a partition is mostly read alone.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import IO, Final

import numpy as np
import pyarrow as pa

from offline_feature_plane.errors import StorageIoFailure
from offline_feature_plane.scratch_files import PACKED, scratch_failed
from offline_feature_plane.sources.decoding.decoded import integer_array
from offline_feature_plane.sources.decoding.wanted import Int64s

__all__ = ["Dividing", "Room", "SharedFile"]

Entry = tuple[str, int, int]  # a segment among those of its file: topic and partition as its records say them, first offset
Block = tuple[int, int]       # where rows of one entry stand in a room, and how many bytes they take

_WORTH: Final = 3           # entries of a file that are read
_TOGETHER: Final = 8 << 20  # bytes that are sorted out together
_ENOUGH: Final = 8_192      # rows that are worth a batch


class Room:
    """Where rows are put down and found again by this process: a file without a name in the work folder; None: of this machine."""

    def __init__(self, work: Path | None) -> None:
        self._work, self._lock, self._end = work, Lock(), 0
        self._file: IO[bytes] | None = None

    def __reduce__(self) -> tuple[type[Room], tuple[Path | None]]:
        return Room, (self._work,)

    def put(self, rows: pa.RecordBatch) -> Block:
        """Put rows down. Raises StorageIoFailure."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema, options=PACKED) as stream:
            stream.write_batch(rows)
        data = sink.getvalue()
        try:
            with self._lock:
                if self._file is None:
                    if self._work is not None:
                        self._work.mkdir(parents=True, exist_ok=True)
                    self._file = tempfile.TemporaryFile(dir=self._work)  # noqa: SIM115 - it lives as long as the room
                    weakref.finalize(self, self._file.close)
                begin = self._end
                self._file.seek(begin)
                self._file.write(data)
                self._file.flush()
                self._end += data.size
        except OSError as wrong:
            raise self._failed(wrong) from wrong
        return begin, data.size

    def find(self, block: Block) -> pa.RecordBatch:
        """Rows that were put down. Raises StorageIoFailure."""
        assert self._file is not None  # noqa: S101 - for mypy: a block is found where it was put
        try:
            data = os.pread(self._file.fileno(), block[1], block[0])
            with pa.ipc.open_stream(data) as stream:
                return stream.read_next_batch()
        except (OSError, pa.ArrowInvalid) as wrong:
            raise self._failed(wrong) from wrong

    def _failed(self, wrong: Exception) -> StorageIoFailure:
        return scratch_failed(Path(tempfile.gettempdir()) if self._work is None else self._work, wrong)


class SharedFile:
    """A file of several segments, while this process reads a log: hashed once, and divided if many of them are read.

    Args:
        room: where rows are kept apart.
        asked: the segments that are read.
    """

    def __init__(self, room: Room, asked: frozenset[Entry]) -> None:
        self._room, self._asked, self._lock = room, asked, Lock()
        self._is_checked = self._is_begun = False
        self._blocks: Mapping[Entry, Sequence[Block]] | None = None

    def __reduce__(self) -> tuple[type[SharedFile], tuple[Room, frozenset[Entry]]]:
        return SharedFile, (self._room, frozenset[Entry]())

    def check(self, hold: Callable[[], None]) -> None:
        """Hold the file against its pin, unless another of its segments has done so. Raises what `hold` raises."""
        with self._lock:
            if not self._is_checked:
                hold()
                self._is_checked = True

    @property
    def is_to_be_divided(self) -> bool:
        """Is that worth it, and has nobody begun?"""
        return not self._is_begun and len(self._asked) >= _WORTH

    @property
    def is_divided(self) -> bool:
        """Has somebody done so?"""
        return self._blocks is not None

    def begin(self, reader: Entry | None, entries: Sequence[Entry]) -> Dividing | None:
        """Whoever reads the file from its beginning divides it; None: that is not worth it, or somebody does already.

        Args:
            reader: the one that takes its rows on the way; None: nobody does.
            entries: all of the file, which do not overlap.
        """
        with self._lock:
            if not self.is_to_be_divided:
                return None
            self._is_begun = True
        return Dividing(self._room, entries, self._asked - {reader})

    def end(self, dividing: Dividing) -> None:
        """It was read to its end. Raises StorageIoFailure."""
        self._blocks = dividing.blocks()

    def rows(self, entry: Entry) -> Iterator[pa.RecordBatch] | None:
        """Those of one segment, in batches as they were taken; None: the file has to be read."""
        return None if self._blocks is None or entry not in self._blocks else self._rows(self._blocks[entry])

    def _rows(self, blocks: Sequence[Block]) -> Iterator[pa.RecordBatch]:
        held, count, size = list[pa.RecordBatch](), 0, 0
        for block in blocks:
            rows = self._room.find(block)
            held.append(rows)
            count, size = count + rows.num_rows, size + rows.nbytes
            if count >= _ENOUGH or size >= _TOGETHER:
                yield pa.concat_batches(held)
                held, count, size = [], 0, 0
        if held:
            yield pa.concat_batches(held)


class Dividing:
    """One reading of a file that keeps apart the rows of some of its entries."""

    def __init__(self, room: Room, entries: Sequence[Entry], asked: frozenset[Entry]) -> None:
        self._room, self._entries = room, entries
        self._is_asked = np.array([one in asked for one in entries], np.bool_)
        self._blocks: dict[Entry, list[Block]] = {one: [] for one in asked}
        self._unplaced: list[pa.RecordBatch] = []  # rows before the first that says its place
        self._before = -1                          # whose the last row was
        self._held: list[tuple[pa.RecordBatch, Int64s]] = []
        self._size = 0

    def put(self, take: Callable[[Int64s], pa.RecordBatch], owners: Int64s) -> None:
        """The next rows of the file.

        Args:
            take: gives some of them, by their places.
            owners: whose each of them is, as a place among the entries; −1: whose the row before is.

        Raises:
            StorageIoFailure: there is no room.
        """
        if not len(owners):
            return
        known = np.flatnonzero(owners >= 0)
        if self._before < 0 and not len(known):
            self._unplaced.append(take(np.arange(len(owners))))
            return
        if self._before < 0:
            self._before = int(owners[known[0]])
            if self._is_asked[self._before]:
                for rows in self._unplaced:
                    self._keep(rows, np.full(rows.num_rows, self._before))
        latest = np.maximum.accumulate(np.where(owners >= 0, np.arange(len(owners)), -1))
        settled = np.where(latest >= 0, owners[latest], self._before)
        self._before = int(settled[-1])
        asked = np.flatnonzero(self._is_asked[settled])
        self._keep(take(asked), settled[asked])

    def blocks(self) -> Mapping[Entry, Sequence[Block]]:
        """Where the rows of each entry are, now that there are no more. Raises StorageIoFailure."""
        self._sort_out()
        return self._blocks

    def _keep(self, rows: pa.RecordBatch, owners: Int64s) -> None:
        if rows.num_rows:
            self._held.append((rows, owners))
            self._size += rows.nbytes
        if self._size >= _TOGETHER:
            self._sort_out()

    def _sort_out(self) -> None:
        """Write down what is held, entry by entry."""
        if not self._held:
            return
        owners = np.concatenate([one for _, one in self._held])
        order = np.argsort(owners, kind="stable")
        rows = pa.concat_batches([one for one, _ in self._held]).take(integer_array(order, pa.int64()))
        bounds = np.flatnonzero(np.diff(owners[order], prepend=-1, append=-1))
        for begin, end in pairwise(bounds.tolist()):
            self._blocks[self._entries[owners[order[begin]]]].append(self._room.put(rows.slice(begin, end - begin)))
        self._held, self._size = [], 0
