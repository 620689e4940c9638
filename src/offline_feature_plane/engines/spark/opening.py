"""Which Spark computes: the user's session, the active one, or a new one; always under settings of our own.

Settings of a session change what values mean (zones, case, ANSI), how large batches are, and how many jobs a step takes. So work runs in a
session beside the user's, in the same application and on the same executors, and the user's is left as it was.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from offline_feature_plane.contracts.plane import memory_bytes
from offline_feature_plane.engines.spark.versions import check_version
from offline_feature_plane.errors import EngineUnavailable, RequestCommandUnsupported

_OURS = {
    # What values mean.
    "spark.sql.ansi.enabled": "true", "spark.sql.caseSensitive": "true", "spark.sql.session.timeZone": "UTC",
    # How they reach the tasks: neither row by row nor a whole part at once, and texts in the type that is expected.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "10000", "spark.sql.execution.arrow.useLargeVarTypes": "false",
    # Every frame says itself in how many parts it is. What adapts itself would make a job of each shuffle, and gain nothing.
    "spark.sql.adaptive.enabled": "false",
    # No frame goes through the driver.
    "spark.sql.autoBroadcastJoinThreshold": "-1",
}


@contextmanager
def opened(given: SparkSession | None, master: str | None, conf: Mapping[str, str], *, has_java: bool, memory_limit: str | None,
           threads: int | None) -> Iterator[SparkSession]:
    """A session of our own: beside the one that is given or active, else of a new application, which ends with it.

    Raises:
        EngineUnavailable: Spark does not start, or has been stopped. RequestCommandUnsupported: there is no Java, or pyspark is too old.
    """
    if (found := given or SparkSession.getActiveSession()) is not None:
        yield _beside(found)
        return
    if not has_java:
        raise RequestCommandUnsupported("the engine is Spark, and no Java was found.", path="engine.name",
                                        fix="Install Java 17 or newer, and set JAVA_HOME if `java` is not on the PATH.")
    made = _start(master, conf, memory_limit, threads)
    try:
        yield _beside(made)
    finally:
        made.stop()


def _beside(session: SparkSession) -> SparkSession:
    """A new session of the same application."""
    try:
        check_version(session.version)
        own = session.newSession()
        for name, value in _OURS.items():
            own.conf.set(name, value)
    except (PySparkException, Py4JError, OSError, AttributeError) as wrong:  # a part of a session that was stopped is None
        raise EngineUnavailable(f"the Spark session cannot be used: {_said(wrong)}.", path="engine.name",
                                fix="It may have been stopped: make a new one, and open the plane with it.") from wrong
    return own


def _start(master: str | None, conf: Mapping[str, str], memory_limit: str | None, threads: int | None) -> SparkSession:
    settings = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
    if master is None or master.startswith("local"):
        settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    if memory_limit is not None:
        heap = f"{memory_bytes(memory_limit) >> 20}m"
        settings |= {"spark.driver.memory": heap, "spark.executor.memory": heap}
    builder = SparkSession.builder.appName("offline-feature-plane").master(master or f"local[{threads or '*'}]")
    for name, value in {**settings, **conf}.items():
        builder = builder.config(name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of pandas 3, which batches of Arrow never meet
            return builder.getOrCreate()
    except (PySparkException, Py4JError, OSError) as wrong:
        raise EngineUnavailable(f"no Spark session starts: {_said(wrong)}.", path="engine.master",
                                fix="Check `engine.master`, `engine.conf` and the Java that JAVA_HOME names: 17 or newer.") from wrong


def _said(wrong: Exception) -> str:
    """What an exception says, and that of Java within it rather than where it was called."""
    lines = str(wrong).strip().splitlines() or [type(wrong).__name__]
    return next((line.removeprefix(": ") for line in lines if line.startswith(": ")), lines[0]).rstrip(".:")
