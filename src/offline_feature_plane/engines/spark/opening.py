"""Which Spark computes: the user's session, the active one, or a new one; always under settings of our own.

Settings of a session change what values mean (zones, case, ANSI), how large batches are, and how many jobs a step takes. So work runs in a
session beside the user's, in the same application and on the same executors, and the user's is left as it was. A session of Spark Connect
will do as well: what a step asks of a frame, both kinds can answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pyspark.sql import SparkSession, is_remote

from offline_feature_plane.contracts.plane import memory_bytes
from offline_feature_plane.engines.spark.remote import failures
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
        EngineUnavailable: Spark does not start, or has been stopped. RequestCommandUnsupported: there is no Java, pyspark is too old, or
            the session is of another kind than this process.
    """
    if (found := given or SparkSession.getActiveSession()) is not None:
        with _beside(found) as own:
            yield own
        return
    if not has_java:
        raise RequestCommandUnsupported("the engine is Spark, and no Java was found.", path="engine.name",
                                        fix="Install Java 17 or newer, and set JAVA_HOME if `java` is not on the PATH.")
    made = _start(master, conf, memory_limit, threads)
    try:
        with _beside(made) as own:
            yield own
    finally:
        made.stop()


@contextmanager
def _beside(session: SparkSession) -> Iterator[SparkSession]:
    """A new session of the same application, or on the same server: that one keeps what is not given back."""
    if is_connect := type(session).__module__.startswith("pyspark.sql.connect."):
        _check_connect(session)
    elif is_remote():
        raise RequestCommandUnsupported("the Spark session is a classic one, and this process is in the mode of Spark Connect.",
                                        path="engine.name", fix="Unset SPARK_REMOTE and SPARK_CONNECT_MODE_ENABLED.")
    unusable: tuple[type[Exception], ...] = (*failures(), AttributeError)  # a part of a session that was stopped is None
    try:
        check_version(session.version)
        if is_connect and session.is_stopped:  # its client could make another one all the same
            raise OSError("it was stopped")
        own = session.newSession()
        for name, value in _OURS.items():
            own.conf.set(name, value)
    except unusable as wrong:
        raise EngineUnavailable(f"the Spark session cannot be used: {_said(wrong)}.", path="engine.name",
                                fix="It may have been stopped: make a new one, and open the plane with it.") from wrong
    try:
        yield own
    finally:
        if is_connect:
            own.client.release_session()
            own.client.close()


def _check_connect(session: SparkSession) -> None:
    if not is_remote():  # so functions would speak of columns in the classic way
        raise RequestCommandUnsupported("the Spark session is one of Spark Connect, and this process is not in that mode.",
                                        path="engine.name", fix="Make it by `pyspark.sql.SparkSession.builder.remote(…)`.")
    if not hasattr(session, "newSession"):
        raise RequestCommandUnsupported("sessions of this Spark Connect cannot make another one beside them.", path="engine.name",
                                        fix="Use pyspark 4.3 or newer, or a classic session.")


def _start(master: str | None, conf: Mapping[str, str], memory_limit: str | None, threads: int | None) -> SparkSession:
    settings = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
    if master is None or master.startswith("local"):
        settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
                     "spark.network.timeout": "1d"}  # a machine that slept for a while has lost no executor
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
    except failures() as wrong:
        raise EngineUnavailable(f"no Spark session starts: {_said(wrong)}.", path="engine.master",
                                fix="Check `engine.master`, `engine.conf` and the Java that JAVA_HOME names: 17 or newer.") from wrong


def _said(wrong: Exception) -> str:
    """What an exception says, and that of Java within it rather than where it was called."""
    lines = str(wrong).strip().splitlines() or [type(wrong).__name__]
    return next((line.removeprefix(": ") for line in lines if line.startswith(": ")), lines[0]).rstrip(".:")
