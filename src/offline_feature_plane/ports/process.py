"""What surrounds the work of a process: the time, what it has used, and who hears how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Progress = Callable[[str, int, int], None]
"""Is told `(step, done, total)`; a total of 0 means that the amount is unknown."""


class Clock(Protocol):
    """Tells the time; only receipts and leases of a local ledger may ask."""

    def now_us(self) -> int:
        """µs since the epoch, UTC."""

    def sleep_us(self, span_us: int) -> None:
        """Wait."""


@dataclass(frozen=True)
class Spent:
    """What this process has used since it began; 0 where the system does not tell.

    `peak_bytes` is the most memory it ever had at once; `read_bytes` and `written_bytes` went through calls of the system.
    """

    cpu_us: int = 0
    peak_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0


Meter = Callable[[], Spent]
