"""What users bring along: sessions with settings of their own, stopped ones, old ones; executors that lack something; odd columns."""

import os
import subprocess
import sys
import sysconfig
import textwrap
from ast import literal_eval
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from test_spark_agrees import hold_together
from two_engines import field_task, label_task, tell
from whole_worlds import draw_world as draw_whole_world

import offline_feature_plane
from offline_feature_plane.adapters import make_engine
from offline_feature_plane.contracts.plane import EngineChoice
from offline_feature_plane.domain.closure import Field
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.content import LEAF_ROWS
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.spark import SparkEngine
from offline_feature_plane.errors import OfsError, RequestCommandUnsupported, SourceUnreadable
from offline_feature_plane.labelstores.files import pin_labels
from offline_feature_plane.labelstores.mapping import mapping_from
from offline_feature_plane.leaves import leaves_of, settle
from offline_feature_plane.sources.files import TableMapping, pin_table
from offline_feature_plane.testing.drawing import draw_world

INT, TEXT = ColumnType("int64"), ColumnType("string")
HOSTILE = {
    "spark.sql.session.timeZone": "America/St_Johns", "spark.sql.ansi.enabled": "false", "spark.sql.caseSensitive": "false",
    "spark.sql.adaptive.enabled": "true", "spark.sql.execution.arrow.maxRecordsPerBatch": "1", "spark.sql.shuffle.partitions": "7",
    "spark.sql.execution.arrow.useLargeVarTypes": "true", "spark.sql.autoBroadcastJoinThreshold": "1g",
    "spark.sql.execution.arrow.pyspark.enabled": "false", "spark.sql.mapKeyDedupPolicy": "LAST_WIN",
}


def jobs_of(spark):
    """How many jobs the session's application has run."""
    return spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs()


def test_a_build_is_few_jobs(spark):
    """Eighteen jobs compute a world of a log and two tables, two label types, two groups and one leaf; with a job per shuffle it was 68.

    One of them counts the records of scenario runs, and one finds where records repeat others.
    """
    engine = SparkEngine(spark, kernels=None)
    before = jobs_of(spark)
    hold_together(draw_world(8), engine)
    assert jobs_of(spark) - before <= 18


def test_leaves_come_in_their_order(spark, tmp_path):
    """Three leaves are computed by one job, are fetched by one more each, and are those of one machine; a limit ends in the second one."""
    n = 2 * LEAF_ROWS + 9
    columns = {"id": np.arange(n)[::-1], "at": pa.array(np.arange(n) // 3, pa.timestamp("us")), "units": np.arange(n) % 7}
    pq.write_table(pa.table(columns), tmp_path / "tx.parquet")
    events, task = [pin_table("tx", TableMapping(tmp_path / "tx.parquet", "at", "id", "UTC"))], field_task(Field("units", INT, ("units",)))
    found = []
    for engine in (LocalEngine(), SparkEngine(spark)):
        (tmp_path / engine.name).mkdir()
        with engine.session(task, work=tmp_path / engine.name) as session:
            session.replay(events)
            session.labels([])
            session.select()
            before = jobs_of(spark)
            digests = [content_of(session, limit) for limit in (None, LEAF_ROWS + 5)]
            found.append(([len(one) for one in digests], digests))
            jobs = jobs_of(spark) - before
    assert found[0] == found[1]
    assert found[0][0] == [3, 2]
    assert jobs == 4 + 3


def content_of(session, limit):
    """The column digests of each leaf of the first rows; an engine that does not take them leaves that to who writes the rows."""
    rows = pa.Table.from_batches(session.rows(limit))
    digested = session.leaves()
    return leaves_of(session.columns(), settle(session.columns(), rows)) if digested is None else list(digested)


def test_settings_of_a_users_session_change_nothing(spark):
    """Whatever it says of zones, case, plans or batches, the rows are those of the local engine, and it says the same afterwards."""
    from pyspark.sql import SparkSession

    theirs = spark.newSession()
    for name, value in HOSTILE.items():
        theirs.conf.set(name, value)
    active = SparkSession.getActiveSession()
    from offline_feature_plane.engines.spark.tables import Sizes

    hold_together(draw_world(8), SparkEngine(theirs, sizes=Sizes(task_rows=9, slab_rows=5, batch_rows=6)))
    assert {name: theirs.conf.get(name) for name in HOSTILE} == HOSTILE
    assert SparkSession.getActiveSession() is active


def test_columns_with_names_that_mean_something_to_spark(spark, tmp_path):
    """Dots, backquotes, names that differ in case only, words of SQL: columns are what the file calls them."""
    names = ["a.b", "A.B", "`x`", "select", "naïve col", "f0", "pos"]
    columns = {"id": [1, 2], "at": pa.array([1, 2], pa.timestamp("us")), **{name: [f"{name}{row}" for row in range(2)] for name in names}}
    pq.write_table(pa.table(columns), tmp_path / "tx.parquet")
    events = [pin_table("tx", TableMapping(tmp_path / "tx.parquet", "at", "id", "UTC"))]
    task = field_task(*(Field(f"field{place}", TEXT, (name,)) for place, name in enumerate(names)))
    expected, found = (tell(engine, task, events, [], tmp_path / engine.name) for engine in (LocalEngine(), SparkEngine(spark)))
    assert found == expected
    assert [row["is_field1"] for row in found["rows"]] == ["'A.B0'", "'A.B1'"]


def refused(spark, folder, **arguments):
    """How the engine refuses to read a small table."""
    columns = {"id": [1, 2], "at": pa.array([1, 2], pa.timestamp("us")), "who": ["a", "b"]}
    pq.write_table(pa.table(columns), folder / "tx.parquet")
    task = field_task(Field("who", TEXT, ("who",)))
    with pytest.raises(OfsError) as caught, SparkEngine(spark, **arguments).session(task, work=folder) as session:
        session.replay([pin_table("tx", TableMapping(folder / "tx.parquet", "at", "id", "UTC"))])
    return caught.value


@pytest.fixture
def other_python(spark, tmp_path):
    """Lets tasks run in a Python of their own: one that has the packages whose names are given."""
    before = spark.sparkContext.pythonExec

    def use(*names):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "other"], check=True)
        home = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "other")}))
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if entry.name.split("-")[0].split(".")[0] in names:
                (home / entry.name).symlink_to(entry)
        if "offline_feature_plane" in names:
            (home / "offline_feature_plane").symlink_to(Path(offline_feature_plane.__file__).parent)
        spark.sparkContext.pythonExec = str(tmp_path / "other" / "bin" / "python")
    yield use
    spark.sparkContext.pythonExec = before


NEEDED = {"pyarrow", "numpy", "pandas", "dateutil", "six", "pytz", "tzdata", "offline_feature_plane", "pydantic"}


@pytest.mark.skipif("PYTHONPATH" in os.environ, reason="tasks would find everything by PYTHONPATH")
@pytest.mark.parametrize(("there", "said"), [(set(), "offline_feature_plane"), (NEEDED - {"pyarrow"}, "pyarrow")])
def test_executors_that_lack_a_package(spark, other_python, tmp_path, there, said):
    """Where the tasks' Python has no pyarrow, or not this package, the error says what is missing and where it belongs."""
    other_python(*there)
    wrong = refused(spark, tmp_path)
    assert (wrong.code, wrong.path) == ("REQUEST_COMMAND_UNSUPPORTED", "engine.name")
    assert said in wrong.what.lower()
    assert "PYSPARK_PYTHON" in wrong.fix


def test_executors_without_the_drivers_python(spark, tmp_path):
    """A Python that is on the driver's machine only is named, and the setting that names another one."""
    before = spark.sparkContext.pythonExec
    spark.sparkContext.pythonExec = str(tmp_path / "python3")
    try:
        wrong = refused(spark, tmp_path)
    finally:
        spark.sparkContext.pythonExec = before
    assert wrong.code == "REQUEST_COMMAND_UNSUPPORTED"
    assert str(tmp_path / "python3") in wrong.what
    assert "PYSPARK_PYTHON" in wrong.fix


@pytest.mark.skipif(subprocess.run(["unshare", "-Urm", "true"], check=False).returncode != 0, reason="no folder can be hidden here")
def test_files_that_only_the_driver_sees(spark, tmp_path):
    """Events or labels that are not where tasks run are SOURCE_UNREADABLE, with what the machines must share; not a basis that changed."""
    columns = {"id": [1, 2], "at": pa.array([1, 2], pa.timestamp("us")), "who": ["a", "b"]}
    for folder in (shared := tmp_path / "shared", own := tmp_path / "own"):
        folder.mkdir()
        pq.write_table(pa.table(columns), folder / "tx.parquet")
    labels = {"path": "tx.parquet", "event": "id", "observed": "at", "value": "FRAUD", "zone": "UTC"}
    elsewhere = tmp_path / "python"
    elsewhere.write_text(f'#!/bin/sh\nexec unshare -Urm sh -c \'mount -t tmpfs none "{own}" && exec "{sys.executable}" "$@"\' sh "$@"\n')
    elsewhere.chmod(0o755)
    before, spark.sparkContext.pythonExec = spark.sparkContext.pythonExec, str(elsewhere)
    try:
        with SparkEngine(spark).session(label_task(), work=tmp_path) as session:
            with pytest.raises(SourceUnreadable, match=str(own / "tx.parquet")) as caught:
                session.replay([pin_table("tx", TableMapping(own / "tx.parquet", "at", "id", "UTC"))])
            assert "same paths" in caught.value.fix
            session.replay([pin_table("tx", TableMapping(shared / "tx.parquet", "at", "id", "UTC"))])
            with pytest.raises(SourceUnreadable, match=str(own / "tx.parquet")):
                session.labels([pin_labels(mapping_from(labels, "fraud"), own)])
    finally:
        spark.sparkContext.pythonExec = before


def test_settings_name_the_executors_python(monkeypatch):
    """`spark.pyspark.python` of the settings is the tasks' Python, unless the environment names one; else they use the driver's."""
    for environment, conf, expected in ((None, {}, sys.executable), (None, {"spark.pyspark.python": "/opt/py"}, "/opt/py"),
                                        ("/env/py", {"spark.pyspark.python": "/opt/py"}, "/env/py")):
        monkeypatch.setenv("PYSPARK_PYTHON", "")  # so that it is put back as it was
        monkeypatch.delenv("PYSPARK_PYTHON")
        if environment is not None:
            monkeypatch.setenv("PYSPARK_PYTHON", environment)
        make_engine(EngineChoice(name="spark", conf=conf))
        assert os.environ["PYSPARK_PYTHON"] == expected


def test_executors_with_another_release(spark, tmp_path):
    """Bytes that one release vouches for are not computed by another one: tasks that run it refuse."""
    wrong = refused(spark, tmp_path, release=lambda: f"0.1.0+{os.getpid()}")
    assert isinstance(wrong, RequestCommandUnsupported)
    assert wrong.what.count("0.1.0+") == 2
    assert f"0.1.0+{os.getpid()}" in wrong.what


def test_a_session_that_was_stopped(tmp_path):
    """It is ENGINE_UNAVAILABLE with what to do; without it, the next build makes a session of its own."""
    script = f"""
        import sys
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from pyspark.sql import SparkSession
        from test_spark_sessions import Field, OfsError, SparkEngine, TEXT, field_task
        def opened(session):
            try:
                conf = {{"spark.log.level": "OFF"}}
                with SparkEngine(session, "local[1]", conf).session(field_task(Field("who", TEXT, ("who",))), work=Path(".")):
                    return "opened"
            except OfsError as wrong:
                return f"{{wrong.code}} {{wrong.what}} {{wrong.fix}}"
        session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
        session.stop()
        print([opened(session), opened(None)])
    """
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)], check=True, capture_output=True, text=True,
                          env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"})
    stopped, anew = literal_eval(done.stdout.strip().splitlines()[-1])
    assert stopped.startswith("ENGINE_UNAVAILABLE")
    assert "make a new one" in stopped
    assert anew == "opened"


def asked(folder, **environment):
    """`ofs build` with the Spark engine in an environment, as (exit status, what it says)."""
    path = draw_whole_world(4).write(folder / "plane")
    document = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**document, "engine": {"name": "spark", "conf": {"spark.log.level": "OFF"}}}))
    done = subprocess.run([sys.executable, "-m", "offline_feature_plane", "build", "intent.yaml"], check=False, cwd=path.parent,
                          env={**os.environ, **environment}, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_no_java(tmp_path):
    """Without a Java the request is refused with what to install."""
    status, said = asked(tmp_path, JAVA_HOME=str(tmp_path))
    assert status == 2
    assert "REQUEST_COMMAND_UNSUPPORTED" in said
    assert "Java 17" in said
    assert "Traceback" not in said


def test_a_java_that_is_too_old(tmp_path):
    """A Java that cannot run Spark is ENGINE_UNAVAILABLE: no session starts, and which Java it wants."""
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'java.lang.UnsupportedClassVersionError: class file version 61.0' >&2\nexit 1\n")
    java.chmod(0o755)
    status, said = asked(tmp_path, JAVA_HOME=str(tmp_path))
    assert status == 7
    assert "ENGINE_UNAVAILABLE" in said
    assert "17 or newer" in said
    assert "Traceback" not in said


def test_a_pyspark_that_is_too_old(tmp_path):
    """It is refused when the build is planned, with the version that is there and the oldest that will do."""
    old = tmp_path / "old"
    (old / "pyspark").mkdir(parents=True)
    (old / "pyspark" / "__init__.py").write_text("raise RuntimeError('it is not to be loaded')\n")
    (old / "pyspark-3.5.4.dist-info").mkdir()
    (old / "pyspark-3.5.4.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: pyspark\nVersion: 3.5.4\n")
    status, said = asked(tmp_path, PYTHONPATH=os.pathsep.join([str(old), os.environ.get("PYTHONPATH", "")]))
    assert status == 2
    assert "REQUEST_COMMAND_UNSUPPORTED" in said
    assert "3.5.4" in said
    assert "4.1" in said
    assert "Traceback" not in said
