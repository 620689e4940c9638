"""Room for a few files of buckets while they are read: a folder that is gone with its process, or collected after it (`ofs gc`)."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from offline_feature_plane.errors import StorageIoFailure
from offline_feature_plane.process_locks import hold

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NUMBERS: Final = itertools.count()


@contextmanager
def spool(work: Path, name: str = "look-") -> Iterator[Path]:
    """A new folder below the work folder, held during the block and gone after it. Raises StorageIoFailure if it cannot be made."""
    folder, lock = _made(work, name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _made(work: Path, name: str) -> tuple[Path, int]:
    while True:
        folder = work / f"{name}{os.getpid()}-{next(_NUMBERS)}"
        try:
            work.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)  # what is archived holds raw identifiers
            lock = os.open(folder, _FOLDER)
        except FileExistsError:
            if work.is_dir():
                continue
            raise
        except FileNotFoundError:  # it was collected in between
            continue
        except OSError as wrong:
            raise StorageIoFailure(f"the work folder {folder} cannot be created: {wrong.strerror}.", path=str(folder),
                                   fix="Free space there, or set `work` in plane.yaml to a folder that can be written.") from wrong
        if hold(lock) and folder.is_dir():
            return folder, lock
        os.close(lock)
