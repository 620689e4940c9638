"""Sessions of Spark Connect: the client computes nothing, so that whatever a step needs of Spark must be asked of the server."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from whole_worlds import build, draw_world

# A process is in one mode or the other, so that a client is one of its own. It says of each thing that it does what came of it.
CLIENT = """
    import json, sys, warnings
    from pathlib import Path
    warnings.simplefilter("ignore")
    sys.path[:] = PATHS
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.session import SparkSession as Remote
    from offline_feature_plane.engines.spark import SparkEngine
    from offline_feature_plane.errors import OfsError
    from offline_feature_plane.labelstores.files import pin_labels
    from offline_feature_plane.labelstores.mapping import mapping_from
    from offline_feature_plane.sources.files import TableMapping, pin_table
    from two_engines import label_task
    from whole_worlds import build

    folder, server = Path(sys.argv[1]), sys.argv[2]

    def refusal(session):
        at = pa.array([1], pa.timestamp("us"))
        pq.write_table(pa.table({"id": [1], "at": at, "who": ["a"]}), folder / "tx.parquet")
        pq.write_table(pa.table({"tx": [1], "at": at, "by": ["x" * 5_000]}), folder / "fraud.parquet")
        events = pin_table("tx", TableMapping(folder / "tx.parquet", "at", "id", "UTC"))
        labels = {"path": "fraud.parquet", "event": "tx", "observed": "at", "value": "FRAUD", "source": {"column": "by"}, "zone": "UTC"}
        try:
            with SparkEngine(session).session(label_task(), work=folder) as one:
                one.replay([events])
                one.labels([pin_labels(mapping_from(labels, "fraud"), folder)])
        except OfsError as refused:
            return refused.describe()

    said = {"another mode": refusal(Remote.builder.remote(server).create())}
    theirs = SparkSession.builder.remote(server).getOrCreate()
    theirs.conf.set("spark.sql.session.timeZone", "America/St_Johns")
    said["task"] = refusal(theirs)
    said["core"] = build(folder / "plane" / "plane.yaml", **{"engine.name": "spark"}).manifest.core.model_dump(mode="json")
    said["zone"] = theirs.conf.get("spark.sql.session.timeZone"), theirs.range(3).count()
    theirs.stop()
    said["stopped"] = refusal(theirs)
    print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def client(spark, tmp_path_factory):
    """What a client says, and the dataset that the local engine makes of the same world."""
    folder = tmp_path_factory.mktemp("connect")
    world = draw_world(4)
    world.write(folder / "plane")
    script = textwrap.dedent(CLIENT).replace("PATHS", repr(sys.path))
    server = f"sc://127.0.0.1:{spark.conf.get('spark.connect.grpc.binding.port')}"
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, folder, server], check=False, capture_output=True, text=True,
                          env=outside)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1]), build(world.write(folder / "local")).manifest.core.model_dump(mode="json")


def test_a_session_of_spark_connect_will_do(client):
    """A client's active session computes the dataset that one machine computes, and is left as it was."""
    said, core = client
    assert said["core"] == core
    assert said["zone"] == ["America/St_Johns", 3]


def test_what_a_task_refuses_reaches_a_client(client):
    """Code, place and the whole sentence, however long it is."""
    said, _ = client
    assert (said["task"]["code"], said["task"]["path"]) == ("LABEL_POLICY_INVALID", "by")
    assert "x" * 5_000 in said["task"]["what"]


def test_sessions_that_cannot_be_used_are_refused(client):
    """One that was stopped is ENGINE_UNAVAILABLE; one in a process of the other mode is told how it is made."""
    said, _ = client
    assert said["stopped"]["code"] == "ENGINE_UNAVAILABLE"
    assert "make a new one" in said["stopped"]["fix"]
    assert said["another mode"]["code"] == "REQUEST_COMMAND_UNSUPPORTED"
    assert "SparkSession.builder.remote" in said["another mode"]["fix"]
