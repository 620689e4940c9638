"""Work that runs in Spark's tasks, and how what it refuses comes back.

A task is a function of this package, named by its module, and a frozen value that says what to do. Nothing else is pickled, so the kernels'
cache is chosen before anything that needs it is imported. A refusal travels as one line of JSON within the message of Spark's error.
"""

from __future__ import annotations

import importlib
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offline_feature_plane.engines.spark.wire import Shape, declared
from offline_feature_plane.errors import (
    EngineFailed,
    EngineUnavailable,
    OfsError,
    ReplayBasisMismatch,
    RequestCommandUnsupported,
    ResourceExceeded,
    SourceUnreadable,
    all_codes,
)
from offline_feature_plane.kernels.compiling import prepare_cache
from offline_feature_plane.plain_files import is_private
from offline_feature_plane.ports.inputs import PinnedFile

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

Batches = Iterator["pa.RecordBatch"]

_MARK, _END = "<<ofs-refusal ", " ofs-refusal>>"
_GONE = ("SparkContext was shut down", "SparkContext is stopped", "stopped SparkContext", "Connection refused", "Py4JNetworkError",
         "All masters are unresponsive", "cluster scheduler", "ExecutorLostFailure", "Job aborted due to stage failure: Master removed")
_FULL = ("OutOfMemoryError", "MemoryError", "Container killed", "maxResultSize", "No space left")
_LACKING = re.compile(r"No module named '[\w.]+'|\[(?:PACKAGE_NOT_INSTALLED|UNSUPPORTED_PACKAGE_VERSION|PYTHON_VERSION_MISMATCH)\][^\n]*"
                      r"|Cannot run program \"[^\n\"]*\"")
_prepared: list[Place] = []


@dataclass(frozen=True)
class Place:
    """What tasks find where they run: a folder for compiled kernels, and this package in the release that `release` has to tell there."""

    kernels: Path | None
    release: Callable[[], str] | None = None
    released: str | None = None


class _Refused(Exception):
    """An OfsError on its way from a task to the driver."""


def mapped(frame: DataFrame, work: str, spec: Any, shape: Shape, place: Place) -> DataFrame:
    """A frame's batches through a function of this package; `work` is `module.function`, called with `spec` and the batches."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of pandas 3, which batches of Arrow never meet
        return frame.mapInArrow(_task(work, spec, place), declared(shape))


def _task(work: str, spec: Any, place: Place) -> Callable[[Batches], Batches]:
    def run(batches: Batches) -> Batches:
        from offline_feature_plane.engines.spark.remote import perform  # noqa: PLC0415 - this function travels by value

        return perform(work, spec, place, batches)
    return run


def perform(work: str, spec: Any, place: Place, batches: Batches) -> Batches:
    """Do a task's work in its process. Raises what `answers` understands."""
    module, _, function = work.rpartition(".")
    try:
        _prepare(place)
        yield from getattr(importlib.import_module(f"offline_feature_plane.engines.spark.{module}"), function)(spec, batches)
    except OfsError as wrong:
        raise _Refused(f"{_MARK}{told(wrong)}{_END}") from None


def _prepare(place: Place) -> None:
    if place in _prepared:
        return
    if place.release is not None and (here := place.release()) != place.released:
        raise RequestCommandUnsupported(f"this is offline-feature-plane {place.released}, and where Spark's tasks run it is {here}.",
                                        path="engine.name", fix="Install one release of it for the driver and for the executors.")
    kernels = place.kernels
    if kernels is not None:
        kernels.mkdir(mode=0o700, parents=True, exist_ok=True)
    prepare_cache(kernels if kernels is not None and is_private(kernels) else None)
    _prepared[:] = [place]


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
        RequestCommandUnsupported: the tasks' Python lacks what they need. EngineFailed: anything else.
    """
    try:
        yield
    except OfsError:
        raise
    except failures() as wrong:
        raise _meaning(doing, wrong) from wrong


@contextmanager
def sharing(files: Iterable[PinnedFile]) -> Iterator[None]:
    """Tell a file that tasks do not find, though the driver does, from one that has changed. Raises SourceUnreadable."""
    try:
        yield
    except ReplayBasisMismatch as wrong:
        unread = wrong.fields.get("found", "") is None
        hidden = [file.path for file in files if unread and file.relative == wrong.path and file.path.exists()]
        if not hidden:
            raise
        raise SourceUnreadable(f"{hidden[0]} is here, but it cannot be read where Spark's tasks run.", path=wrong.path,
                               fix="Let all machines read the files of plane.yaml at the same paths, and its `work:` too if labels are in "
                               "a database or archives in a bucket: they are copied there.") from wrong


def failures() -> tuple[type[Exception], ...]:
    """What Spark raises; a client of Spark Connect alone has no Java to talk to."""
    from pyspark.errors import PySparkException  # noqa: PLC0415 - an extra

    try:
        from py4j.protocol import Py4JError  # noqa: PLC0415
    except ImportError:
        return PySparkException, OSError
    return PySparkException, Py4JError, OSError


def _meaning(doing: str, wrong: BaseException) -> OfsError:
    text = f"{type(wrong).__name__}: {wrong}"
    if (start := text.find(_MARK)) >= 0:
        return understood(text[start + len(_MARK):text.index(_END, start)])
    line = next((one.strip() for one in reversed(str(wrong).strip().splitlines()) if one.strip() and not one.startswith(("\t", " "))), text)
    if any(sign in text for sign in _FULL):
        return ResourceExceeded(f"{doing} needs more memory or disk than Spark may use: {line}.",
                                fix="Give Spark more in `engine.conf`, such as spark.executor.memory or spark.driver.maxResultSize.")
    if (lacking := _LACKING.search(text)) is not None:
        return RequestCommandUnsupported(
            f"{doing} failed where Spark's tasks run: {lacking[0]}.", path="engine.name",
            fix="Install offline-feature-plane[spark] there, for the driver's version of Python, and let PYSPARK_PYTHON name that Python.")
    if isinstance(wrong, OSError) or any(sign in text for sign in _GONE):
        return EngineUnavailable(f"{doing} lost Spark: {line}.", fix="Check the cluster and its logs, then run again.")
    return EngineFailed(f"{doing} failed in Spark: {line}.", fix="Please report this, with the log of the task.")
