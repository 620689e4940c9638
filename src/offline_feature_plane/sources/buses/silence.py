"""How long a bus may be silent before it counts as away."""

from __future__ import annotations

import time

__all__ = ["Silence"]


class Silence:
    """How long the bus has said nothing."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self.ends()

    def ends(self) -> None:
        """Something was heard."""
        self._since = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Has it been too long?"""
        return time.monotonic() - self._since > self._most_s
