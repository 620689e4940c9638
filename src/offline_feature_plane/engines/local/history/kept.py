"""Folders of record batches that outlive a build's process, each complete and proved, or of no use to anybody.

```
 kept/  .4711-0/3/ 0 1 ───────▶ closed, hashed, synced ──receipt, rename──▶ <digest>/ 0 1 receipt.json
       held by its process     on a thread of its own                     never changed again
```

A folder goes by the digest of what decides its content. Whoever dies leaves a folder aside, which nobody takes and the next one who opens
the place removes. Two who make the same folder do not meet: the second keeps its own aside until it ends.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from offline_feature_plane.engines.local.history.batches import FileBatches, read_file
from offline_feature_plane.errors import StorageIoFailure
from offline_feature_plane.process_locks import hold, seize

__all__ = ["Kept", "KeptFolders", "Making"]

_RECEIPT: Final = "receipt.json"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NUMBERS: Final = itertools.count()
_BLOCK: Final = 1 << 20
_WAITING: Final = 4  # folders that are being closed at most


@dataclass(frozen=True)
class Kept:
    """A folder whose files are what its receipt says: its batches by number of file, and what was told when it was closed."""

    folder: Path
    numbers: frozenset[int]
    told: Mapping[str, Any]

    def read(self, number: int) -> Iterator[pa.RecordBatch]:
        """The batches of one file; none if there is no such file. Raises StorageIoFailure."""
        if number in self.numbers:
            yield from read_file(self.folder / str(number))


@dataclass
class Making:
    """A folder that is being made; `digest` None: it is for this process only."""

    folder: Path
    digest: str | None
    files: dict[int, FileBatches] = field(default_factory=dict)
    closing: Future[None] | None = None

    def append(self, number: int, batch: pa.RecordBatch) -> None:
        """Add a batch to one of its files. Raises StorageIoFailure."""
        if number not in self.files:
            self.files[number] = FileBatches(self.folder / str(number))
        self.files[number].append(batch)

    def read(self, number: int) -> Iterator[pa.RecordBatch]:
        """As `Kept.read`, once it was closed, from wherever it is by then. Raises StorageIoFailure, also what closing it raised."""
        if self.closing is not None:
            self.closing.result()
        if number in self.files:
            yield from read_file(self.folder / str(number))


class KeptFolders:
    """The folders in one place. Nothing is made there before it begins; then what processes left aside that are gone is removed."""

    def __init__(self, place: Path) -> None:
        self._place, self._numbers = place, itertools.count()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ofs-keep")
        self._waiting: deque[Future[None]] = deque()
        self._aside: tuple[Path, int] | None = None  # a folder that this process holds
        self.portions_taken, self.records_taken = 0, 0

    def begin(self) -> None:
        """Folders will be made. Raises StorageIoFailure."""
        if self._aside is not None:
            return
        with _mapped(self._place):
            self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._place.glob(".*"):
                _remove_orphan(left)
            self._aside = _new_aside(self._place)

    @property
    def has_begun(self) -> bool:
        """Was there anything to be kept?"""
        return self._aside is not None

    def close(self) -> None:
        """Wait for what is being closed, and let go of what is aside."""
        self._pool.shutdown(wait=True)
        if self._aside is not None:
            folder, lock = self._aside
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    def glance(self, digest: str) -> Mapping[str, Any] | None:
        """What was told when a folder was closed that looks whole; None: there is no such one."""
        receipt = self._receipt(digest)
        return None if receipt is None else receipt["told"]

    def take(self, digest: str) -> Kept | None:
        """A folder, every byte of which is what its receipt says; None if it is not, or not there."""
        receipt, folder = self._receipt(digest), self._folder(digest)
        if receipt is None:
            return None
        with suppress(OSError):
            if all(_digest_of(folder / name) == said["sha256"] for name, said in receipt["files"].items()):
                return Kept(folder, frozenset(map(int, receipt["files"])), receipt["told"])
        return None

    def count(self, records: int) -> None:
        """A folder was taken, which stands for so many records."""
        self.portions_taken += 1
        self.records_taken += records

    def make(self, digest: str | None) -> Making:
        """A new folder aside. Raises StorageIoFailure."""
        self.begin()
        assert self._aside is not None  # noqa: S101 - for mypy: it has begun
        folder = self._aside[0] / str(next(self._numbers))
        with _mapped(folder):
            folder.mkdir(mode=0o700)
        return Making(folder, digest)

    def finish(self, making: Making, told: Mapping[str, Any] | None) -> None:
        """Close a folder, on another thread; None: it stays aside. Raises StorageIoFailure, also if closing one before it failed."""
        for file in making.files.values():
            file.close()
        if making.digest is None or told is None:
            return
        while len(self._waiting) >= _WAITING or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()
        making.closing = self._pool.submit(self._publish, making, making.digest, dict(told))
        self._waiting.append(making.closing)

    def _publish(self, making: Making, digest: str, told: dict[str, Any]) -> None:
        with _mapped(making.folder):
            files = {}
            for number in making.files:
                path = making.folder / str(number)
                files[str(number)] = {"sha256": _digest_of(path, sync=True), "size": path.stat().st_size}
            receipt = {"files": files, "portion": digest, "told": told}
            with (making.folder / _RECEIPT).open("x", encoding="utf-8") as file:
                json.dump({"receipt": receipt, "sha256": _sealed(receipt)}, file)
                file.flush()
                os.fsync(file.fileno())
            _sync(making.folder)
            target = self._folder(digest)
            if self._receipt(digest) is None or self.take(digest) is None:
                shutil.rmtree(target, ignore_errors=True)  # what was damaged
            try:
                making.folder.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
                return  # somebody else was quicker: theirs says the same, and this one is at hand
            making.folder = target
            _sync(self._place)

    def _receipt(self, digest: str) -> dict[str, Any] | None:
        """The receipt of a folder whose files have the sizes that it says."""
        folder = self._folder(digest)
        try:
            document = json.loads((folder / _RECEIPT).read_bytes())
            receipt: dict[str, Any] = document["receipt"]
            whole = document["sha256"] == _sealed(receipt) and receipt["portion"] == digest and all(
                (folder / name).stat().st_size == said["size"] for name, said in receipt["files"].items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return receipt if whole else None

    def _folder(self, digest: str) -> Path:
        return self._place / digest.removeprefix("sha256:")


def _sealed(receipt: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(receipt, sort_keys=True).encode()).hexdigest()


def _digest_of(path: Path, *, sync: bool = False) -> str:
    """The digest of a file's bytes; with `sync` they are on disk afterwards. Raises OSError."""
    found = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            found.update(block)
        if sync:
            os.fsync(file.fileno())
    return found.hexdigest()


def _new_aside(place: Path) -> tuple[Path, int]:
    """A new folder that this process holds. Raises OSError."""
    while True:
        folder = place / f".{os.getpid()}-{next(_NUMBERS)}"
        with suppress(FileExistsError, FileNotFoundError):  # containers count processes apart; or it was collected in between
            folder.mkdir(mode=0o700)
            lock = os.open(folder, _FOLDER)
            if hold(lock) and folder.is_dir():
                return folder, lock
            os.close(lock)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)


def _remove_orphan(folder: Path) -> None:
    """Remove what a process left that is gone."""
    with suppress(OSError):
        lock = os.open(folder, _FOLDER)
        try:
            if seize(lock):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, _FOLDER)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _mapped(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as wrong:
        raise StorageIoFailure(f"what was read cannot be kept in {place}: {wrong.strerror or wrong}.", path=str(place),
                               fix="Free space there, or set `work` in plane.yaml to a larger disk, then run again.") from wrong


