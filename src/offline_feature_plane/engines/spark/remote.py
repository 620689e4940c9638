"""Work that runs in Spark's tasks, and how what it refuses comes back.

A task is a function of this package, named by its module, and a frozen value that says what to do. Nothing else is pickled, so the kernels'
cache is chosen before anything that needs it is imported. A refusal travels as one line of JSON within the message of Spark's error.
"""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offline_feature_plane.engines.spark.wire import Shape, declared
from offline_feature_plane.errors import EngineFailed, EngineUnavailable, OfsError, ResourceExceeded, all_codes
from offline_feature_plane.kernels.compiling import prepare_cache
from offline_feature_plane.plain_files import is_private

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

Batches = Iterator["pa.RecordBatch"]

_MARK, _END = "<<ofs-refusal ", " ofs-refusal>>"
_GONE = ("SparkContext was shut down", "SparkContext is stopped", "stopped SparkContext", "Connection refused", "Py4JNetworkError",
         "All masters are unresponsive", "cluster scheduler", "ExecutorLostFailure", "Job aborted due to stage failure: Master removed")
_FULL = ("OutOfMemoryError", "MemoryError", "Container killed", "maxResultSize", "No space left")
_prepared: list[Path | None] = []


class _Refused(Exception):
    """An OfsError on its way from a task to the driver."""


def mapped(frame: DataFrame, work: str, spec: Any, shape: Shape, kernels: Path | None) -> DataFrame:
    """A frame's batches through a function of this package; `work` is `module.function`, called with `spec` and the batches."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of pandas 3, which batches of Arrow never meet
        return frame.mapInArrow(_task(work, spec, kernels), declared(shape))


def _task(work: str, spec: Any, kernels: Path | None) -> Callable[[Batches], Batches]:
    def run(batches: Batches) -> Batches:
        from offline_feature_plane.engines.spark.remote import perform  # noqa: PLC0415 - this function travels by value

        return perform(work, spec, kernels, batches)
    return run


def perform(work: str, spec: Any, kernels: Path | None, batches: Batches) -> Batches:
    """Do a task's work in its process. Raises what `answers` understands."""
    _prepare(kernels)
    module, _, function = work.rpartition(".")
    try:
        yield from getattr(importlib.import_module(f"offline_feature_plane.engines.spark.{module}"), function)(spec, batches)
    except OfsError as wrong:
        raise _Refused(f"{_MARK}{told(wrong)}{_END}") from None


def _prepare(kernels: Path | None) -> None:
    if kernels not in _prepared:
        if kernels is not None:
            kernels.mkdir(mode=0o700, parents=True, exist_ok=True)
        prepare_cache(kernels if kernels is not None and is_private(kernels) else None)
        _prepared[:] = [kernels]


def told(wrong: OfsError) -> str:
    """An error as one line of JSON."""
    return json.dumps({"code": wrong.code, "what": wrong.what, "fix": wrong.fix, "path": wrong.path, "fields": wrong.fields}, default=str)


def understood(text: str) -> OfsError:
    """The error that `told` wrote."""
    said = json.loads(text)
    return all_codes().get(said["code"], EngineFailed)(said["what"], fix=said["fix"], path=said["path"], **said["fields"])


@contextmanager
def answers(doing: str) -> Iterator[None]:
    """Turn what Spark raises into OFS errors; `doing` says what was going on.

    Raises:
        OfsError: as a task refused. ResourceExceeded: out of memory or disk. EngineUnavailable: Spark was lost.
        EngineFailed: anything else.
    """
    from py4j.protocol import Py4JError  # noqa: PLC0415 - an extra
    from pyspark.errors import PySparkException  # noqa: PLC0415

    try:
        yield
    except OfsError:
        raise
    except (PySparkException, Py4JError, OSError) as wrong:
        raise _meaning(doing, wrong) from wrong


def _meaning(doing: str, wrong: BaseException) -> OfsError:
    text = f"{type(wrong).__name__}: {wrong}"
    if (start := text.find(_MARK)) >= 0:
        return understood(text[start + len(_MARK):text.index(_END, start)])
    line = next((one.strip() for one in reversed(str(wrong).strip().splitlines()) if one.strip() and not one.startswith(("\t", " "))), text)
    if any(sign in text for sign in _FULL):
        return ResourceExceeded(f"{doing} needs more memory or disk than Spark may use: {line}.",
                                fix="Give Spark more in `engine.conf`, such as spark.executor.memory or spark.driver.maxResultSize.")
    if isinstance(wrong, OSError) or any(sign in text for sign in _GONE):
        return EngineUnavailable(f"{doing} lost Spark: {line}.", fix="Check the cluster and its logs, then run again.")
    return EngineFailed(f"{doing} failed in Spark: {line}.", fix="Please report this, with the log of the task.")
