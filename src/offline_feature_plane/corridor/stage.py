"""Staging: finished rows become data files, leaf digests and the content digest in one pass beside the engine.

    engine's batches ──▶ chunks of two leaves ──▶ [ behind: settle ─┬▶ Parquet part ─┬▶ ] ──▶ Staged
                                                                    └▶ leaf digests ─┘

The engine runs on while one thread writes and one hashes the same chunk; both release the interpreter. Two chunks wait at most.
An engine that digests leaves where it computes them brings them along.
`digest_parts` is the way back: it reads data files and must reach the same content digest.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.corridor.parts import PART_ROWS, PartWriter, StagedPart, read_parts
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.domain.columns import Column
from offline_feature_plane.domain.content import LEAF_ROWS, Leaf, NamedType, content_root, write_column_digests
from offline_feature_plane.errors import DigestMismatch, EngineFailed, StorageIoFailure
from offline_feature_plane.leaves import ColumnsBroken, chunks_of, leaves_of, settle

COLUMN_DIGESTS_NAME = "column-digests.json"
_WAITING = 2


@dataclass(frozen=True)
class Content:
    """What rows are, whatever files hold them: count, content digest, leaves, and rows per split."""

    rows: int
    content_digest: str
    leaves: tuple[Leaf, ...]
    column_digests: bytes
    split_rows: dict[str, int]

    @property
    def column_digests_digest(self) -> str:
        """`sha256:<hex>` of the column digests document."""
        return sha256_of(self.column_digests)


@dataclass(frozen=True)
class Staged:
    """A complete dataset in the work folder, not yet published: its content and the files that hold it, in row order."""

    content: Content
    parts: tuple[StagedPart, ...]
    column_digests_path: Path

    @property
    def rows(self) -> int:
        """All rows."""
        return self.content.rows

    @property
    def content_digest(self) -> str:
        """The content digest."""
        return self.content.content_digest

    @property
    def leaf_count(self) -> int:
        """The number of leaves."""
        return len(self.content.leaves)


def stage(columns: Sequence[Column], batches: Iterable[pa.RecordBatch], work: Path, *, part_rows: int = PART_ROWS,
          leaf_rows: int = LEAF_ROWS, digested: Callable[[], Sequence[Leaf]] | None = None) -> Staged:
    """Write the rows of `batches` as data files into the folder `work` and digest them.

    Args:
        columns: the schema; every batch has exactly these columns in this order, in any Arrow types that can carry them.
        batches: record batches of any size, in row order; a generator is closed in the end, whatever happens.
        work: an empty folder, or the name of one to make; on an error everything written is removed again.
        part_rows: a part ends with the chunk that reaches this many rows.
        leaf_rows: rows of a leaf; anything but the default is for tests.
        digested: gives the leaves of all rows in the end, if whoever computed these has digested them; None: they are digested here.

    Raises:
        EngineFailed: the batches are not what `columns` declares, or the leaves not those of so many rows.
        StorageIoFailure: `work` cannot be written.
        Exception: whatever the iterator raises, unchanged.
    """
    with _writing(work):
        work.mkdir(exist_ok=True)
    tally = _Tally(columns, leaf_rows, digested)
    writer = PartWriter(columns, work, part_rows=part_rows)

    def take(chunk: pa.Table) -> None:
        settled = settle(columns, chunk)
        digested = hasher.submit(tally.add, settled)
        writer.write(settled)
        digested.result()

    try:
        with ThreadPoolExecutor(1, thread_name_prefix="ofs-digest") as hasher, _ended(batches) as rows:
            _follow(chunks_of(columns, rows, 2 * leaf_rows), take)
        content, parts = tally.content(), writer.finish()
        return Staged(content, parts, _written(work / COLUMN_DIGESTS_NAME, content.column_digests))
    except ColumnsBroken as broken:
        writer.discard()
        raise EngineFailed(f"the engine's rows do not match their declaration: {broken}.", fix="Report this as a defect.") from broken
    except BaseException:
        writer.discard()
        raise


def digest_parts(columns: Sequence[Column], paths: Sequence[Path], *, leaf_rows: int = LEAF_ROWS) -> Content:
    """The content of data files, computed anew from their values.

    Raises:
        DigestMismatch: a file is damaged, has other columns, or holds values that no dataset has.
        RefNotFound: a file is gone. StorageIoFailure: the disk failed.
    """
    tally = _Tally(columns, leaf_rows)
    try:
        _follow(chunks_of(columns, read_parts(columns, paths), 2 * leaf_rows), lambda chunk: tally.add(settle(columns, chunk)))
    except ColumnsBroken as broken:
        raise DigestMismatch(f"the data files do not match their declaration: {broken}.",
                             fix="Restore them from a copy of the store.") from broken
    return tally.content()


class _Tally:
    """Leaves and split counts of the chunks seen so far."""

    def __init__(self, columns: Sequence[Column], leaf_rows: int, digested: Callable[[], Sequence[Leaf]] | None = None) -> None:
        self._columns = columns
        self._leaf_rows, self._digested, self._rows = leaf_rows, digested, 0
        self._leaves: list[Leaf] = []
        self._splits: Counter[str] = Counter()
        self._split_at = next((index for index, column in enumerate(columns) if column.role == "split"), None)

    def add(self, chunk: pa.RecordBatch) -> None:
        self._rows += chunk.num_rows
        if self._digested is None:
            self._leaves += leaves_of(self._columns, chunk, self._leaf_rows)
        if self._split_at is not None:
            for counted in pc.value_counts(chunk.column(self._split_at)).to_pylist():
                self._splits[counted["values"]] += counted["counts"]

    def content(self) -> Content:
        named: list[NamedType] = [(column.name, column.type) for column in self._columns]
        leaves = tuple(self._leaves if self._digested is None else self._digested())
        full, rest = divmod(self._rows, self._leaf_rows)
        if [leaf.n for leaf in leaves] != [self._leaf_rows] * full + [rest] * (rest > 0):
            raise ColumnsBroken(f"{self._rows} rows came with leaves of {sum(leaf.n for leaf in leaves)}")
        return Content(self._rows, content_root(named, leaves), leaves,
                       write_column_digests(named, leaves, leaf_rows=self._leaf_rows), dict(sorted(self._splits.items())))


def _follow(chunks: Iterable[pa.Table], take: Callable[[pa.Table], None]) -> None:
    """Take every chunk in order on one thread behind the producer; the first error of either side is raised and ends both."""
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="ofs-stage") as behind:
        try:
            for chunk in chunks:
                waiting.append(behind.submit(take, chunk))
                if len(waiting) > _WAITING:
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()
        except BaseException:
            behind.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def _ended(batches: Iterable[pa.RecordBatch]) -> Iterator[Iterable[pa.RecordBatch]]:
    """The batches; then their generator is closed, so that the engine's threads end here, not when an exception is garbage-collected."""
    try:
        yield batches
    finally:
        if isinstance(batches, Generator):
            batches.close()


def _written(path: Path, data: bytes) -> Path:
    with _writing(path), path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return path


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as wrong:
        raise StorageIoFailure(f"cannot write {path}: {wrong.strerror or wrong}.", path=str(path),
                               fix="Free space there or choose another work folder, then run again.") from wrong
