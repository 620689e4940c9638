"""What a log gives is taken: keys are marked, batches are spooled, and where a log takes long to be read its portions are kept.

```
                        ┌▶ keys
 log ──▶ Taking.take ───┼▶ spool: in memory, or in a file of the build             nobody else's
                        └▶ a folder for each portion: spool, and kept for later    `history.kept`
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.contracts.events import SCANNED_COLUMNS
from offline_feature_plane.engines.local.history.batches import Batches, HeldBatches
from offline_feature_plane.engines.local.history.kept import Kept, KeptFolders, Making
from offline_feature_plane.engines.local.lowering import as_numpy
from offline_feature_plane.engines.local.record_keys import Keys
from offline_feature_plane.errors import EngineFailed, StorageIoFailure
from offline_feature_plane.ports.inputs import RecordLog
from offline_feature_plane.ports.kept import Before

__all__ = ["Spool", "Taking"]

_POSITION: Final = SCANNED_COLUMNS.index("position")
_ARRIVAL: Final = SCANNED_COLUMNS.index("arrival")


@dataclass
class Spool:
    """The records of one topic and source, None for those of no source: the `number`-th of the build.

    The first has the row `first` among all of the source; `columns` are those of its batches.
    """

    log: RecordLog
    source: str | None
    number: int
    keys: Keys
    columns: Sequence[str]
    batches: Batches
    first: int = 0
    n: int = 0

    def __post_init__(self) -> None:
        self.first = self.keys.n


@dataclass
class _Portions:
    """`Batches` that stand in the folders of portions, moved to where these are in their log."""

    number: int
    held: list[tuple[Kept | Making, Before]] = field(default_factory=list)

    def append(self, batch: pa.RecordBatch) -> None:
        """Nothing is added one by one."""
        raise EngineFailed(f"a batch of {batch.num_rows} records belongs to no portion.", fix="Please report this.")

    def read(self) -> Iterator[pa.RecordBatch]:
        """As `Batches.read`."""
        for portion, before in self.held:
            for batch in portion.read(self.number):
                yield _moved(batch, before)

    def remove(self) -> None:
        """Another attempt may want them."""


class Taking:
    """Takes what one log gives; as a `ports.kept.Keep` also what an earlier attempt has kept of it.

    Args:
        spools: of the log, by source.
        read: how many coordinates were read of the logs before it.
        heard: is told how many have been read so far; what is kept counts at once.
        folders: where portions are kept.
        in_files: portions are spools too, and must be written; in memory a build goes on if they cannot be.
    """

    def __init__(self, spools: Mapping[str | None, Spool], read: int, heard: Callable[[int], None], folders: KeptFolders | None, *,
                 in_files: bool) -> None:
        self._spools, self._start, self._heard, self._folders, self._in_files = spools, read, heard, folders, in_files
        self._read, self._told = 0, 0
        self._known: dict[str, int] = {}  # coordinates of portions that are kept, as far as a glance tells, and still to be taken over
        self._before = Before()
        self._making: Making | None = None
        self._is_kept, self._has_room = False, True

    def take(self, name: str | None, batch: pa.RecordBatch) -> None:
        """The next records of a source. Raises StorageIoFailure."""
        spool = self._spools[name]
        if batch.schema.names != list(spool.columns):
            raise EngineFailed(f"{spool.log.topic} yields the columns {batch.schema.names}, not {list(spool.columns)}.",
                               fix="Please report this.")
        if self._making is not None:
            with self._if_there_is_room():
                self._making.append(spool.number, batch)
        if not (self._is_kept and self._in_files):
            spool.batches.append(_moved(batch, self._before))
        self._count(spool, batch)

    # --- as a `Keep` ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """As `Keep.start`. Raises StorageIoFailure."""
        self._is_kept = True
        with self._if_there_is_room():
            self._place.begin()
        for spool in self._spools.values():
            spool.batches = _Portions(spool.number) if self._in_files else HeldBatches()

    def has(self, digest: str) -> bool:
        """As `Keep.has`."""
        told = self._place.glance(digest)
        if told is not None:
            self._known[digest] = int(told["coordinates"])
            self._tell()
        return told is not None

    def take_over(self, digest: str, before: Before) -> Mapping[str, Any] | None:
        """As `Keep.take_over`."""
        kept, self._before = self._place.take(digest), before
        count = self._known.pop(digest)
        if kept is None:
            return None
        for spool in self._spools.values():
            for batch in kept.read(spool.number):
                if not self._in_files:
                    spool.batches.append(_moved(batch, before))
                self._count(spool, batch)
        self._add(kept)
        self._read = before.coordinates + count
        self._place.count(count)
        self._tell()
        return kept.told

    def begin(self, digest: str | None, before: Before) -> None:
        """As `Keep.begin`. Raises StorageIoFailure."""
        self._before = before
        if self._in_files or (digest is not None and self._has_room):
            with self._if_there_is_room():
                self._making = self._place.make(digest)

    def end(self, told: Mapping[str, Any] | None) -> None:
        """As `Keep.end`."""
        making, self._making = self._making, None
        if making is not None:
            with self._if_there_is_room():
                self._place.finish(making, told)
            self._add(making)

    @property
    def _place(self) -> KeptFolders:
        assert self._folders is not None  # noqa: S101 - for mypy: nobody is asked to keep without it
        return self._folders

    @contextmanager
    def _if_there_is_room(self) -> Iterator[None]:
        """In memory nothing is needed of what is kept. Raises StorageIoFailure if something is."""
        try:
            yield
        except StorageIoFailure:
            if self._in_files:
                raise
            self._making, self._has_room = None, False

    def _add(self, portion: Kept | Making) -> None:
        for spool in self._spools.values():
            if isinstance(spool.batches, _Portions):
                spool.batches.held.append((portion, self._before))

    def _count(self, spool: Spool, batch: pa.RecordBatch) -> None:
        spool.keys.append(batch)
        spool.n += batch.num_rows
        if batch.num_rows:
            self._read = max(self._read, self._before.coordinates + batch["position"][-1].as_py() + 1)
            self._tell()

    def _tell(self) -> None:
        done = self._start + self._read + sum(self._known.values())
        if done > self._told:  # while one is taken over it counts already
            self._told = done
            self._heard(done)


def _moved(batch: pa.RecordBatch, before: Before) -> pa.RecordBatch:
    """A batch of a portion where it stands in its log: its records come later, and what was there before them has arrived before."""
    if not before.coordinates or not batch.num_rows:
        return batch
    columns = batch.columns
    columns[_POSITION] = _int64s(as_numpy(columns[_POSITION], np.int64) + before.coordinates)
    latest = before.arrived.get(batch["partition"][0].as_py())  # a batch is of one partition
    if latest is not None:
        columns[_ARRIVAL] = _int64s(np.maximum(as_numpy(columns[_ARRIVAL], np.int64), latest))
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _int64s(values: npt.NDArray[np.int64]) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])
