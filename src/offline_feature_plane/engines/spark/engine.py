"""The Spark engine as planning meets it: what it is and what it supports. pyspark loads when a session opens."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from offline_feature_plane.contracts.plane import memory_bytes
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.errors import EngineUnavailable, RequestCommandUnsupported
from offline_feature_plane.kernels import catalog

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from offline_feature_plane.engines.spark.session import SparkEngineSession
    from offline_feature_plane.engines.spark.tables import Sizes

__all__ = ["SparkEngine"]


@dataclass(frozen=True)
class SparkEngine:
    """Opens sessions on Spark.

    Args:
        spark: the user's session; None: the one that is active in this process, else a new one, which is stopped in the end.
        master: of a new session, such as `spark://host:7077`; None: this machine.
        conf: settings of a new session.
        has_java: is there a Java for a new session?
        kernels: where tasks keep compiled kernels, on whatever machine they run; None: nowhere.
        sizes: how work is cut; None: as it is best.

    Raises:
        RequestCommandUnsupported: pyspark is not installed.
    """

    spark: SparkSession | None = None
    master: str | None = None
    conf: Mapping[str, str] = field(default_factory=dict)
    has_java: bool = True
    kernels: Path | None = None
    sizes: Sizes | None = None

    name = "spark"
    version = "1"

    def __post_init__(self) -> None:
        """Look whether there is a pyspark, without loading it."""
        if find_spec("pyspark") is None:
            raise RequestCommandUnsupported("the engine is Spark, and pyspark is not installed.", path="engine.name",
                                            fix="Run `pip install 'offline-feature-plane[spark]'`.")

    def supports(self, function: str) -> bool:
        """Is there a reducer of this name?"""
        return catalog.has(function)

    @contextmanager
    def session(self, task: Task, *, work: Path, memory_limit: str | None = None, threads: int | None = None,  # noqa: ARG002 - the port's
                progress: Callable[[str, int, int], None] | None = None) -> Iterator[SparkEngineSession]:
        """Open a session. Spark keeps its scratch files where its own settings say.

        Args:
            task: what to compute.
            work: unused.
            memory_limit: the heap of a new session's processes, such as `2GB`.
            threads: of a new session on this machine; None: as many as there are processors.
            progress: called with `(step, done, total)`.

        Raises:
            EngineUnavailable: Spark does not start, or has been stopped. RequestCommandUnsupported: there is no Java.
        """
        from offline_feature_plane.engines.spark.remote import answers  # noqa: PLC0415 - planning asks, but computes nothing
        from offline_feature_plane.engines.spark.session import SparkEngineSession  # noqa: PLC0415
        from offline_feature_plane.engines.spark.tables import Frames, Sizes  # noqa: PLC0415

        with answers("opening Spark"), self._opened(memory_limit, threads) as spark:
            frames = Frames(spark, self.sizes or Sizes(), self.kernels)
            try:
                yield SparkEngineSession(task, frames, progress)
            finally:
                frames.close()

    @contextmanager
    def _opened(self, memory_limit: str | None, threads: int | None) -> Iterator[SparkSession]:
        from pyspark.errors import PySparkException  # noqa: PLC0415
        from pyspark.sql import SparkSession  # noqa: PLC0415

        if (given := self.spark or SparkSession.getActiveSession()) is not None:
            yield given
            return
        if not self.has_java:
            raise RequestCommandUnsupported("the engine is Spark, and no Java was found.", path="engine.name",
                                            fix="Install Java 17 or newer, and set JAVA_HOME if `java` is not on the PATH.")
        settings = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
        if self.master is None or self.master.startswith("local"):
            settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
        if memory_limit is not None:
            heap = f"{memory_bytes(memory_limit) >> 20}m"
            settings |= {"spark.driver.memory": heap, "spark.executor.memory": heap}
        builder = SparkSession.builder.appName("offline-feature-plane").master(self.master or f"local[{threads or '*'}]")
        for name, value in {**settings, **self.conf}.items():
            builder = builder.config(name, value)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of pandas 3, which batches of Arrow never meet
                made = builder.getOrCreate()
        except (PySparkException, OSError) as wrong:
            raise EngineUnavailable(f"no Spark session starts: {wrong}.", path="engine.master",
                                    fix="Check `engine.master`, `engine.conf` and the Java that JAVA_HOME names.") from wrong
        try:
            yield made
        finally:
            made.stop()
