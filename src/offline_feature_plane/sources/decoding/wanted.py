"""Which values of payloads are wanted, as kernels follow them: a tree of keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import numpy.typing as npt

__all__ = ["Wanted", "joined"]

Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Wanted:
    """Paths into payloads, each once; what is found for one stands in the row `slot` of its batch.

    >>> Wanted((("amount",), ("card", "brand"))).slot(("card", "brand"))
    1
    """

    paths: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, paths: Iterable[tuple[str, ...]]) -> Wanted:
        """Those of some fields."""
        return cls(tuple(dict.fromkeys(paths)))

    def slot(self, path: tuple[str, ...]) -> int:
        """The row of a path."""
        return self.paths.index(path)

    @cached_property
    def tree(self) -> tuple[Int64s, Bytes, Int64s, Int64s]:
        """As `kernels.jsontext.tell` takes it: (node, child) of every edge, the keys side by side, their bounds, the slot of every node."""
        edges: dict[tuple[int, str], int] = {}
        slots = [-1]
        for slot, path in enumerate(self.paths):
            node = 0
            for key in path:
                if (node, key) not in edges:
                    edges[node, key] = len(slots)
                    slots.append(-1)
                node = edges[node, key]
            slots[node] = slot
        pairs = [number for (node, _), child in edges.items() for number in (node, child)]
        keys, bounds = joined([key for _, key in edges])
        return np.array(pairs, np.int64), keys, bounds, np.array(slots, np.int64)


def joined(texts: Sequence[str]) -> tuple[Bytes, Int64s]:
    """Texts side by side, and their bounds."""
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    return np.frombuffer(b"".join(parts), np.uint8), np.array([0, *accumulate(map(len, parts))], np.int64)
