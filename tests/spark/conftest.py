"""One Spark session for all tests of this folder, and a cluster of two workers on loopback. Without pyspark or Java they are skipped."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from offline_feature_plane.adapters import cache_folder, has_java
from offline_feature_plane.engines.spark import SparkEngine

sys.path.insert(0, str(Path(__file__).parent.parent / "laws"))  # what engines say of one task is theirs

MISSING = "pyspark is not installed: `make test-spark` brings it" if find_spec("pyspark") is None else (
    None if has_java() else "there is no Java")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Say why nothing runs here, where nothing can."""
    if MISSING is not None:
        item.add_marker(pytest.mark.skip(reason=MISSING))


@pytest.fixture(scope="session")
def spark():
    """A session on this machine, of two threads."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    settings = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "OFF", "spark.driver.memory": "1g",
                "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.sql.shuffle.partitions": "2",
                "spark.network.timeout": "1d",  # a machine on which tests are paused
                "spark.sql.session.timeZone": "Asia/Kathmandu",  # no result may depend on a session's zone
                # It is a server for Spark Connect too.
                "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin", "spark.connect.grpc.binding.address": "127.0.0.1",
                "spark.connect.grpc.binding.port": str(_free_port()),
                # Compiling takes longer than what is compiled for tables of a few rows.
                "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1", "spark.sql.codegen.wholeStage": "false",
                "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="session")
def engine(spark):
    """An engine that cuts everything as small as it can: parts of nine events, slabs of five."""
    from offline_feature_plane.engines.spark.tables import Sizes

    return SparkEngine(spark, kernels=cache_folder(), sizes=Sizes(task_rows=9, slab_rows=5, batch_rows=6))


class Cluster:
    """A standalone master and two workers on loopback."""

    def __init__(self, folder: Path) -> None:
        self._home = Path(find_spec("pyspark").origin).parent
        self._env = {**os.environ, "SPARK_HOME": str(self._home), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable,
                     "SPARK_WORKER_DIR": str(folder), "SPARK_LOCAL_DIRS": str(folder)}
        self._log = (folder / "log").open("w")
        port, page = _free_port(), _free_port()
        self.master = f"spark://127.0.0.1:{port}"
        self._running = [self._start("master.Master", "--port", str(port), "--webui-port", str(page))]
        try:
            self._running += [self._start("worker.Worker", "--cores", "1", "--memory", "1g", "--webui-port", "0", self.master)
                              for _ in range(2)]
            self._wait(page)
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers, whose children the executors are."""
        return [one.pid for one in self._running[1:]]

    def _start(self, role: str, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([self._home / "bin" / "spark-class", f"org.apache.spark.deploy.{role}", "--host", "127.0.0.1", *words],
                                env=self._env, stdout=self._log, stderr=subprocess.STDOUT)

    def _wait(self, page: int) -> None:
        """Until both workers have said that they are alive."""
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{page}/json/", timeout=5) as answer:
                    if answer.read().count(b'"ALIVE"') >= 3:  # the master is one
                        return
            except OSError:
                pass
            assert all(one.poll() is None for one in self._running), Path(self._log.name).read_text()[-2000:]
            time.sleep(0.2)
        raise AssertionError(Path(self._log.name).read_text()[-2000:])

    def close(self) -> None:
        """End the processes that were started here."""
        for one in reversed(self._running):
            one.terminate()
        for one in self._running:
            one.wait(30)
        self._log.close()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """The cluster."""
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    yield found
    found.close()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
