"""Executors that go away: what they had kept and written is computed again, and is the same again."""

import os
import subprocess
import sys
import textwrap

import pytest

# After every step all executors that are there are killed.
LOSING = """
    import os, signal, sys, time, warnings
    from pathlib import Path
    warnings.simplefilter("ignore")
    sys.path[:] = PATHS
    from pyspark.sql import SparkSession
    from offline_feature_plane.adapters import cache_folder
    from offline_feature_plane.engines.spark import SparkEngine
    from offline_feature_plane.engines.spark.tables import Sizes
    from offline_feature_plane.testing.drawing import draw_world
    from test_spark_agrees import hold_together

    builder, killed = SparkSession.builder.master(sys.argv[1]), []
    for name, value in {"cores.max": "2", "executor.memory": "512m", "driver.host": "127.0.0.1", "driver.bindAddress": "127.0.0.1",
                        "ui.enabled": "false", "log.level": "OFF", "network.timeout": "1d", "dynamicAllocation.enabled": "true",
                        "dynamicAllocation.shuffleTracking.enabled": "true", "dynamicAllocation.maxExecutors": "2"}.items():
        builder = builder.config(f"spark.{name}", value)
    engine = SparkEngine(builder.getOrCreate(), kernels=cache_folder(), sizes=Sizes(task_rows=9, slab_rows=5, batch_rows=6))

    def executors():
        for place in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = place.read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if parent in sys.argv[2:]:
                yield int(place.parent.name)

    def lose(step, done, total):
        if (step, done) != ("rows", 0):
            for one in executors():
                os.kill(one, signal.SIGKILL)
                killed.append(step)

    class Losing:
        name = "spark"

        def session(self, task, **given):
            return engine.session(task, **given, progress=lose)

    hold_together(draw_world(8), Losing())
    print(sorted(set(killed)))
"""


@pytest.mark.long
def test_lost_executors_lose_no_rows(cluster):
    """With dynamic allocation, and with every executor killed after each step, the rows and digests are those of one machine.

    ```
       replay ──▶ labels ──▶ select ──▶ rows
             ✗ all       ✗ all      ✗ all      executors; what they kept is gone each time
    ```
    """
    script = textwrap.dedent(LOSING).replace("PATHS", repr(sys.path))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, cluster.master, *map(str, cluster.workers)], check=False,
                          capture_output=True, text=True,
                          env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable})
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines()[-1] == "['labels', 'replay', 'rows', 'select']"
