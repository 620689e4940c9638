"""How much stored bytes may stand for: budgets on what a file decodes to (R14).

Runs and dictionaries in Parquet, and gzip, let a few hundred bytes decode to gigabytes. Events and labels are seldom even fifty times as
large as their file. So each reading of a file has a budget that grows with the file, and ends in RESOURCE_EXCEEDED when it is spent.
"""

from __future__ import annotations

from pathlib import Path

from offline_feature_plane.errors import ResourceExceeded
from offline_feature_plane.plain_files import as_found

FREE_BYTES = 256 << 20
MOST_TIMES = 200
MOST_COLUMNS = 32_768
FREE_MISSES, MISSES_PER_BYTE = 250_000, 4
ROW_BYTES, RECORD_BYTES = 8, 256  # what a row of columns, and a JSON record, costs whatever it holds


class Budget:
    """What one reading of a file may decode to: 256 MiB, and 200 times what is stored.

    >>> budget = Budget(Path("a.parquet"), stored=1_000)
    >>> budget.take(FREE_BYTES + 200_000)
    >>> budget.take(1)
    Traceback (most recent call last):
    offline_feature_plane.errors.codes.ResourceExceeded: ...
    """

    def __init__(self, path: Path, stored: int) -> None:
        self._path, self._stored = path, stored
        self._left = self._most = FREE_BYTES + MOST_TIMES * stored

    def take(self, count: int) -> None:
        """Spend some bytes. Raises ResourceExceeded."""
        self._left -= count
        if self._left < 0:
            name = as_found(self._path)
            raise ResourceExceeded(f"{name} has {self._stored:,} bytes and decodes to more than {self._most:,}.", path=name,
                                   fix="If the data is meant, write the file with less compression, or in several files.")


class Misses:
    """How many lines or rows of a file may hold no record: 250,000, and four for each byte that is stored.

    Each of them is looked at twice, which takes longer than a record does. Of null values of a log, each with its own offset, one
    takes most of a byte however well they are packed; a million empty lines take 50 bytes.

    >>> misses = Misses(Path("a.jsonl.zst"), stored=2)
    >>> for _ in range(FREE_MISSES + 2 * MISSES_PER_BYTE):
    ...     misses.note()
    >>> misses.note()
    Traceback (most recent call last):
    offline_feature_plane.errors.codes.ResourceExceeded: ...
    """

    def __init__(self, path: Path, stored: int) -> None:
        self._path, self._stored = path, stored
        self._left = self._most = FREE_MISSES + MISSES_PER_BYTE * stored

    def note(self) -> None:
        """One more. Raises ResourceExceeded."""
        self._left -= 1
        if self._left < 0:
            name = as_found(self._path)
            raise ResourceExceeded(f"{name} has {self._stored:,} bytes, and more than {self._most:,} lines or rows of it "
                                   "hold no record.", path=name,
                                   fix="Check that this is the right file. If it is, write it without empty lines, in several files.")
