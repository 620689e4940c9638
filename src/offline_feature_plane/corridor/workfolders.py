"""Work folders: where attempts compute and looks are taken.

Each is held for as long as its process lives (`process_locks`), so that what a killed one left is told from work in progress. What attempts
keep for each other belongs to their run instead, and goes when the run has its commit record: no attempt reads anything after that.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from offline_feature_plane.corridor.collection import Item
from offline_feature_plane.corridor.publish import read_vow
from offline_feature_plane.errors import DigestMismatch, OfsError, StorageIoFailure
from offline_feature_plane.ports import ObjectStore, Run
from offline_feature_plane.process_locks import hold, seize, share

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY: Final = re.compile(r"[0-9a-f]{64}(?:\.[A-Za-z0-9_-]+)?|\.[0-9]+-[0-9]+")  # by its digest, or still on its way
_READING: Final[dict[Path, int]] = {}  # folders of copies that this process holds
_OPENING: Final = threading.Lock()
_KEPT: Final = ".kept"
_RUN_KEY: Final = re.compile(r"[0-9a-f]{32}")
_OURS: Final = re.compile(r"[0-9a-f]{32}\.[0-9a-f]*\.[0-9]+|look-[0-9]+-[0-9]+")


def kept_folder(work: Path, run_key: str, ledger_name: str) -> Path:
    """What attempts of a run keep for each other on this machine; planes that share a work folder do not share runs."""
    return work / f"{run_key}.{ledger_name}{_KEPT}"


@contextmanager
def dropping_kept(work: Path, run: Run, ledger_name: str, store: ObjectStore) -> Iterator[None]:
    """After the block, however it ends, what a run's attempts kept for each other is gone if the run has its commit record."""
    try:
        yield
    finally:
        with suppress(OfsError):  # whoever comes next, or `ofs gc`, asks again
            drop_kept(work, run, ledger_name, store)


def drop_kept(work: Path, run: Run, ledger_name: str, store: ObjectStore) -> None:
    """Remove what a run's attempts kept for each other, if there is any and the run has its commit record. Raises as `read_vow`."""
    folder = kept_folder(work, run.run_key, ledger_name)
    if folder.is_dir() and read_vow(store, run.platform_run_id, run.run_key) is not None:
        shutil.rmtree(folder, ignore_errors=True)


def make_fresh(folder: Path) -> None:
    """Make an empty folder. Raises StorageIoFailure if it cannot be made."""
    with _mapped(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)  # what spills holds raw identifiers


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A fresh folder, held during the block and gone after it. Raises StorageIoFailure if it cannot be made."""
    with ExitStack() as closing:
        lock = None
        while lock is None:
            make_fresh(folder)
            lock = _held(folder)  # or it was collected in between
        closing.callback(os.close, lock)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def hold_copies(work: Path, store: ObjectStore) -> Path:
    """The folder for copies of remote files. This process reads there until it ends: readers hand out paths, and nobody gives them back.

    Raises:
        StorageIoFailure: it cannot be made.
    """
    folder = work / "copies"
    with _OPENING, _mapped(folder):
        while store.name != "local" and not _is_held(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if folder in _READING:  # it was removed by hand
                os.close(_READING.pop(folder))
            with suppress(FileNotFoundError):
                _READING[folder] = os.open(folder, _FOLDER)
                share(_READING[folder])
    return folder


@contextmanager
def look(work: Path) -> Iterator[Path]:
    """A new folder of a process that only looks, held during the block; afterwards it is gone, with every new empty folder above it.

    Where none can be made it is only a name: whoever needs it fails then. Process ids alone are no names: containers share folders.
    """
    missing = [one for one in (work, *work.parents) if not one.exists()]
    folder, lock = _new_look(work)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)
        with suppress(OSError):  # somebody else works there by now
            for parent in missing:
                parent.rmdir()


def _new_look(work: Path) -> tuple[Path, int | None]:
    for number in itertools.count():
        folder = work / f"look-{os.getpid()}-{number}"
        try:
            work.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
            lock = _held(folder)
        except FileExistsError:
            if work.is_dir():
                continue
            return folder, None
        except (OSError, StorageIoFailure):
            return folder, None
        if lock is not None:  # or it was collected in between
            return folder, lock
    raise AssertionError("unreachable")


def _is_held(folder: Path) -> bool:
    with suppress(FileNotFoundError):
        return folder in _READING and os.path.samestat(os.fstat(_READING[folder]), folder.stat())
    return False


def collect_copies(work: Path, *, apply: bool) -> Iterator[Item]:
    """Copies of remote files, unless a process reads there; with `apply` they are removed. Whoever wants one fetches it again."""
    with _orphan(work / "copies") as is_unread:
        for copy in sorted((work / "copies").iterdir()) if is_unread else ():
            if _COPY.fullmatch(copy.name) and stat.S_ISREG((found := copy.lstat()).st_mode):
                with suppress(OSError):
                    copy.unlink() if apply else None
                yield Item(str(copy), found.st_size, "garbage", "a copy of a remote file, and no process reads here",
                           removed=not copy.exists())


def collect_work(work: Path, *, apply: bool) -> Iterator[Item]:
    """The folders below `work` whose processes are gone; with `apply` they are removed. What others keep there is left alone."""
    for folder in sorted(work.iterdir()) if work.is_dir() else ():
        if _OURS.fullmatch(folder.name):
            with _orphan(folder) as is_orphan:
                if is_orphan:
                    size = _size(folder)
                    if apply:
                        shutil.rmtree(folder, ignore_errors=True)
                    yield Item(str(folder), size, "garbage", "the process that worked there is gone", removed=not folder.exists())


def collect_kept(work: Path, store: ObjectStore, platform_run_id: str, ledger_name: str, *, apply: bool) -> Iterator[Item]:
    """What attempts kept for each other, by how their runs ended; with `apply` that of ended ones is removed.

    Raises:
        StorageIoFailure: the store failed.
    """
    for folder in sorted(work.glob(f"*.{ledger_name}{_KEPT}")):
        run_key = folder.name.partition(".")[0]
        if not _RUN_KEY.fullmatch(run_key):
            continue
        size = _size(folder)
        try:
            if read_vow(store, platform_run_id, run_key) is None:
                yield Item(str(folder), size, "kept", "its run has not ended, and goes on behind what was read")
                continue
        except DigestMismatch as doubt:
            yield Item(str(folder), size, "doubtful", doubt.what)
            continue
        if apply:
            shutil.rmtree(folder, ignore_errors=True)
        yield Item(str(folder), size, "garbage", "its run has ended", removed=not folder.exists())


def _size(folder: Path) -> int:
    """Bytes of all files, of those that are still there."""
    found = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            found += path.lstat().st_size if path.is_file() else 0
    return found


def _held(folder: Path) -> int | None:
    """Hold a new folder; None if it is gone by then."""
    with _mapped(folder):
        try:
            descriptor = os.open(folder, _FOLDER)
        except FileNotFoundError:
            return None
    if hold(descriptor) and folder.is_dir():  # not every file system counts the names of folders
        return descriptor
    os.close(descriptor)
    return None


@contextmanager
def _orphan(folder: Path) -> Iterator[bool]:
    """Does nobody hold this folder? Nobody else has it during the block."""
    with ExitStack() as closing:
        free = False
        with suppress(OSError):
            descriptor = os.open(folder, _FOLDER)
            closing.callback(os.close, descriptor)
            free = seize(descriptor)
        yield free


@contextmanager
def _mapped(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as wrong:
        raise StorageIoFailure(f"the work folder {folder} cannot be created: {wrong.strerror}.", path=str(folder),
                               fix="Free space there, or set `work` in plane.yaml to a folder that can be written.") from wrong
