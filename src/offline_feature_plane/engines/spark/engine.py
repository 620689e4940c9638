"""The Spark engine as planning meets it: what it is and what it supports. pyspark loads when a session opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.spark.versions import check_version
from offline_feature_plane.errors import RequestCommandUnsupported
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
        spark: the user's session, a classic one or one of Spark Connect; None: the one that is active in this process, else a new one,
            which is stopped in the end.
        master: of a new session, such as `spark://host:7077`; None: this machine.
        conf: settings of a new session.
        has_java: is there a Java for a new session?
        kernels: where tasks keep compiled kernels, on whatever machine they run; None: nowhere.
        release: tells the installed release of this package, which must be one here and where tasks run; None: that is not checked.
        sizes: how work is cut; None: as it is best.

    Raises:
        RequestCommandUnsupported: pyspark is not installed, or too old.
    """

    spark: SparkSession | None = None
    master: str | None = None
    conf: Mapping[str, str] = field(default_factory=dict)
    has_java: bool = True
    kernels: Path | None = None
    release: Callable[[], str] | None = None
    sizes: Sizes | None = None

    name = "spark"
    version = "1"

    def __post_init__(self) -> None:
        """Look whether there is a pyspark, without loading it."""
        if find_spec("pyspark") is None:
            raise RequestCommandUnsupported("the engine is Spark, and pyspark is not installed.", path="engine.name",
                                            fix="Run `pip install 'offline-feature-plane[spark]'`.")
        with suppress(PackageNotFoundError):  # what a cluster brings along has no metadata: its session is asked
            check_version(version("pyspark"))

    def supports(self, function: str) -> bool:
        """Is there a reducer of this name?"""
        return catalog.has(function)

    @contextmanager
    def session(self, task: Task, *, work: Path, memory_limit: str | None = None, threads: int | None = None,  # noqa: ARG002 - the port's
                progress: Callable[[str, int, int], None] | None = None,
                kept: Path | None = None) -> Iterator[SparkEngineSession]:  # noqa: ARG002 - the port's
        """Open a session. Spark keeps its scratch files where its own settings say.

        Args:
            task: what to compute.
            work: unused.
            memory_limit: the heap of a new session's processes, such as `2GB`.
            threads: of a new session on this machine; None: as many as there are processors.
            progress: called with `(step, done, total)`.
            kept: unused: executors read on machines of their own, and what a killed driver had read is read again.

        Raises:
            EngineUnavailable: Spark does not start, or has been stopped. RequestCommandUnsupported: there is no Java, or Spark is too old.
        """
        from offline_feature_plane.engines.spark.opening import opened  # noqa: PLC0415 - planning asks, but computes nothing
        from offline_feature_plane.engines.spark.remote import Place, answers  # noqa: PLC0415
        from offline_feature_plane.engines.spark.session import SparkEngineSession  # noqa: PLC0415
        from offline_feature_plane.engines.spark.tables import Frames, Sizes  # noqa: PLC0415

        with answers("opening Spark"), opened(self.spark, self.master, self.conf, has_java=self.has_java, memory_limit=memory_limit,
                                              threads=threads) as spark:
            frames = Frames(spark, self.sizes or Sizes(), Place(self.kernels, self.release, self.release and self.release()))
            try:
                yield SparkEngineSession(task, frames, progress)
            finally:
                frames.close()
