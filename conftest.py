"""What all tests need at once: where compiled kernels are kept, what Ctrl-C does, and what is collected where.

Modules that need pyspark are collected where it is installed (`make test-spark`).
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from offline_feature_plane.adapters import cache_folder
from offline_feature_plane.kernels.compiling import prepare_cache

prepare_cache(cache_folder())  # where commands keep theirs, so that one process compiles for all
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it, and so do its children

collect_ignore_glob = [] if find_spec("pyspark") else ["src/offline_feature_plane/engines/spark/*"]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Twelve thousand collected tests are no garbage: to look for some in them, again and again, would take a quarter of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_sessionfinish() -> None:
    """Libraries that count what leaks would else call it a leak."""
    gc.unfreeze()
