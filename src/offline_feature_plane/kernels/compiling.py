"""How kernels are compiled: once, to a folder we choose, and never fatally.

Every kernel carries one explicit signature, so it is compiled (or loaded from the cache) when its module is imported and never at a
call. A cache that cannot be written or read costs seconds, not the build: the kernel is then compiled for this process alone.
This module itself does not import numba.
"""

from __future__ import annotations

import hashlib
import importlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_feature_plane.kernels import catalog

_kernels: list[Any] = []
_chosen: list[Path | None] = []


@dataclass(frozen=True)
class Warmth:
    """What warming cost: wall `seconds`, how many kernels there are, and how many had to be `compiled` rather than loaded."""

    seconds: float
    kernels: int
    compiled: int

    @property
    def was_cold(self) -> bool:
        """Whether any kernel had to be compiled."""
        return self.compiled > 0


def prepare_cache(folder: Path | None) -> Path | None:
    """Choose where compiled kernels are kept, before the first of them is imported; does not import numba. Returns the subfolder.

    It is named after the digest of the kernels' sources: numba's own check looks at a file's time and size, which two releases may
    share, and not at functions called from other files. A cache is code that is loaded, so nobody else may write there; None: keep nothing.
    """
    _chosen[:] = [None if folder is None else folder / f"kernels-{_source_digest()}"]
    return _chosen[0]


def warm(functions: Iterable[str] | None = None, *, records: bool = True) -> Warmth:
    """Import the kernel modules of these aggregations by event time, or all, which compiles or loads each kernel; cheap the second time.

    With `records` also those that read the records of logs.
    """
    start = time.perf_counter()
    by_arrival = ("digits", "visible", "editing") if functions is None else ()
    always = ("slots", "sliding", "windows", "keyorder", "sketching", "timelines", "framing")
    reading = ("jsontext", "envelopes", "typed_texts", "columntext", "mapped_documents", "marking", "record_lines", "sha256")
    for module in (*always, *(reading if records else ()), *by_arrival, *catalog.modules(functions)):
        importlib.import_module(f"{__package__}.{module}")
    return Warmth(time.perf_counter() - start, len(_kernels), sum(_was_compiled(kernel) for kernel in _kernels))


def compiled(signature: str | Any) -> Callable[[Any], Any]:
    """Decorate a kernel: no GIL, one explicit signature, cached if the cache lets us."""
    def decorate(function: Any) -> Any:
        numba = importlib.import_module("numba")
        if _chosen and _chosen[0] is not None:
            numba.config.CACHE_DIR = str(_chosen[0])
        try:
            kernel = numba.njit([signature], nogil=True, cache=_chosen != [None])(function)
        except Exception:  # noqa: BLE001 - whatever the cache died of; an error of the kernel itself comes again on the next line
            kernel = numba.njit([signature], nogil=True)(function)
        _kernels.append(kernel)
        return kernel
    return decorate


def _was_compiled(kernel: Any) -> bool:
    return not kernel.stats.cache_hits


def _source_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
