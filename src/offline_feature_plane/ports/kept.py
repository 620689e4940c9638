"""What was read of a log stays for another attempt: the door between who reads a log in portions and who keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Before", "Keep"]


@dataclass(frozen=True)
class Before:
    """What was read of a log before a portion: how many coordinates, and by partition the latest arrival in µs."""

    coordinates: int = 0
    arrived: Mapping[int, int] = field(default_factory=dict)


class Keep(Protocol):
    """Where portions of one log are kept, each by the digest of all that decides what is read of it.

    A portion either is taken over, or it is begun; then what is taken from the log is of this portion, until it is ended. Its batches know
    nothing of what was read before: positions are counted from its beginning, and an arrival is that of the records in it.
    """

    def start(self) -> None:
        """The log will be read in portions, and not otherwise."""

    def has(self, digest: str) -> bool:
        """Is one kept, as far as a glance tells?"""

    def take_over(self, digest: str, before: Before) -> Mapping[str, Any] | None:
        """Take what is kept of a portion, as if it were read; what was told at its end. None: it is not what it was."""

    def begin(self, digest: str | None, before: Before) -> None:
        """A portion is read from its source; None: it cannot be kept."""

    def end(self, told: Mapping[str, Any] | None) -> None:
        """It was read to its end. What was told is kept with it; None: it is not to be kept. Raises StorageIoFailure."""
