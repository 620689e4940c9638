"""What runs in one task: a key's events in slabs, whole leaves, repeats, refusals. No session is needed."""

import hashlib
import json
import subprocess
import sys
import textwrap
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.closure import Aggregation, Closure, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.rows import LabelTask, Task
from offline_feature_plane.engines.spark.remote import told, understood
from offline_feature_plane.errors import DigestMismatch, NumericOverflow, ReplayEventIdConflict
from offline_feature_plane.sources.files import TableMapping, pin_table

INT, TEXT = ColumnType("int64"), ColumnType("string")
HOURS = 3_600_000_000
SIX = 6 * HOURS
WINDOWS = (Window("sliding", "18h", 3 * SIX), Window("sliding", "42h", 7 * SIX), Window("lifetime", "lifetime"),
           Window("last", "last3", count=3), Window("calendar", "day", period="day", zone="Asia/Kathmandu"),
           Window("tumbling", "tumbling12h", 2 * SIX), Window("session", "session13h", 9 * SIX, gap_us=13 * HOURS))


def task_of(*windows, delay_us=0, where=None):
    """Rows of `tx` with a count, a sum and a distinct count by `who` over each window, of events that pass `where`."""
    fields = (Field("who", TEXT, ("who",), nullable=True), Field("units", INT, ("units",), nullable=True))
    features = tuple(Feature(f"g__{function}_{window.label}", Aggregation(function, argument), window, INT)
                     for window in windows for function, argument in (("count", None), ("sum", "units"), ("distinct", "units")))
    group = Group("g", "v1", "tx", ("who",), where, False, delay_us, "group", features)
    closure = Closure("p", "1", "s", "v1", (Source("tx", ("tx",), fields),), (group,), (), ())
    return Task("run", (), closure, "tx", None, (), LabelTask(0, "latest_observed.v1", ()), None, None, "allow", (), None)


def windowed(task, events, slab, batch):
    """The group's columns by row, computed from events (who, ts, units) in slabs of `slab` rows that come in batches of `batch`."""
    from offline_feature_plane.engines.spark.windows import Windowing, compute
    from offline_feature_plane.engines.spark.wire import field_columns

    group = task.closure.groups[0]
    fields = {key: column for key, column in field_columns(task.closure).items() if key[1] == "units"}
    how = Windowing(task, group, 0, ("k0",), fields, (), tuple((f"c{place}", "long") for place in range(len(group.features))), slab)
    ordered = sorted(enumerate(sorted(events, key=lambda one: one[1])), key=lambda one: (one[1][0] is not None, one[1][0] or "", one[0]))
    table = pa.table({"pos": pa.array([place for place, _ in ordered], pa.int64()),
                      "ts": pa.array([one[1] for _, one in ordered], pa.int64()),
                      "src": pa.array([0] * len(ordered), pa.int32()), "row_no": pa.array([place for place, _ in ordered], pa.int64()),
                      "k0": pa.array([one[0] for _, one in ordered], pa.string()),
                      "f1": pa.array([one[2] for _, one in ordered], pa.int64())})
    found = {}
    for one in compute(how, iter(table.to_batches(max_chunksize=batch))):
        for row in one.to_pylist():
            assert row["row_no"] not in found
            found[row["row_no"]] = row
    return found


@settings(max_examples=150, deadline=None)
@given(events=st.lists(st.tuples(st.sampled_from([None, "a", "a", "a", "b"]), st.integers(0, 14).map(SIX.__mul__),
                                 st.sampled_from([None, 1, 2, -5])), min_size=12, max_size=40),
       windows=st.lists(st.sampled_from(WINDOWS), unique=True, min_size=1, max_size=2), delay_us=st.sampled_from([0, SIX, 3 * SIX]),
       where=st.sampled_from([None, parse("units > 0", {"units": INT})]), slab=st.integers(1, 5), batch=st.integers(1, 5))
def test_a_window_does_not_depend_on_slabs(events, windows, delay_us, where, slab, batch):
    """Each row's columns are those of its whole key at once, wherever slabs and batches end.

    ```
       a a a a a a a a a a a a │ b b        slab ──┘└── what windows reach is laid out again
    ```
    """
    task = task_of(*windows, delay_us=delay_us, where=where)
    assert windowed(task, events, slab, batch) == windowed(task, events, 10**6, 10**6)


def test_a_hot_key_needs_the_memory_of_its_windows(tmp_path):
    """Three million events of one key through one task, an hour and five events in the windows: memory grows by a slab, not by the key."""
    script = """
        import resource, sys
        import numpy as np, pyarrow as pa
        sys.path[:0] = PATHS
        from offline_feature_plane.kernels.compiling import prepare_cache
        from offline_feature_plane.adapters import cache_folder
        prepare_cache(cache_folder())
        from test_spark_tasks import Window, task_of
        from offline_feature_plane.engines.spark.windows import Windowing, compute
        from offline_feature_plane.engines.spark.wire import field_columns
        task = task_of(Window("sliding", "1h", 3_600_000_000), Window("last", "last5", count=5))
        group = task.closure.groups[0]
        fields = {key: column for key, column in field_columns(task.closure).items() if key[1] == "units"}
        how = Windowing(task, group, 0, ("k0",), fields, (), tuple((f"c{place}", "long") for place in range(6)), 1 << 16)
        def batches(n, size=10_000):
            for start in range(0, n, size):
                at = np.arange(start, start + size, dtype=np.int64)
                yield pa.record_batch({"pos": at, "ts": at * 1_000_000, "src": np.zeros(size, np.int32), "row_no": at,
                                       "k0": pa.repeat(pa.scalar("hot"), size), "f1": at % 7})
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        seen = sum(one.num_rows for one in compute(how, batches(300_000)))
        before = peak()
        total = 0
        for one in compute(how, batches(3_000_000)):
            seen += one.num_rows
            total += int(one.column(2)[-1].as_py() == 3599)
        print(seen, total > 0, peak() - before)
    """
    from pathlib import Path

    here = Path(__file__).parent
    script = textwrap.dedent(script).replace("PATHS", repr([str(here)]))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, capture_output=True, text=True)
    seen, counted, grown = done.stdout.split()
    assert (seen, counted) == ("3300000", "True")
    assert int(grown) < 100, f"{grown} MiB"  # the columns of the key alone are 120 MB


def test_a_leaf_that_was_damaged_on_the_way_is_not_written():
    """The bytes of a leaf travel under their digest; one bit that differs is DIGEST_MISMATCH before anything is made of them."""
    from offline_feature_plane.engines.spark.assembling import received

    sink = pa.BufferOutputStream()
    batch = pa.record_batch({"n": [1, 2, 3]})
    with pa.ipc.new_stream(sink, batch.schema) as out:
        out.write_batch(batch)
    stream = bytes(sink.getvalue())
    sha = hashlib.sha256(stream).digest()
    assert received(0, 3, ["sha256:00"], stream, sha)[0].equals(batch)
    for place in range(0, len(stream), 17):
        broken = bytearray(stream)
        broken[place] ^= 1
        with pytest.raises(DigestMismatch):
            received(0, 3, ["sha256:00"], bytes(broken), sha)


def test_a_refusal_comes_back_as_it_was():
    """Code, sentence, advice, path and fields of an error survive the way from a task to the driver."""
    wrong = NumericOverflow("g__sum is 2⁶³.", fix="Use a shorter window.", path="g__sum", total=2**63)
    back = understood(told(wrong))
    assert (type(back), back.describe()) == (NumericOverflow, wrong.describe())


def test_a_condition_overflows_on_whatever_event():
    """A group's condition that leaves its type is told of events that have no key and are no row, and of the first such condition."""
    from offline_feature_plane.engines.spark.choosing import Choosing, choose
    from offline_feature_plane.engines.spark.wire import field_columns, kind_of

    scope = {"units": INT, "ts": ColumnType("timestamp")}
    task = task_of(Window("sliding", "18h", 3 * SIX))
    group = replace(task.closure.groups[0], null_key="skip")
    groups = (replace(group, where=parse("units > 0", scope)), replace(group, name="h", where=parse("units * 3 > 0", scope)))
    task = replace(task, closure=replace(task.closure, groups=groups))
    held = (("pos", "long"), ("ts", "long"), ("src", "int"), ("num", "long"), ("id", "string"),
            *((column, kind_of(kind)) for column, kind in field_columns(task.closure).values()))

    def note(*units):
        n = len(units)
        made = {"part_": [0] * n, "pos": list(range(n)), "ts": list(range(n)), "src": pa.array([0] * n, pa.int32()), "num": list(range(n)),
                "id": [""] * n, "f0": pa.nulls(n, pa.string()), "f1": pa.array(units, pa.int64())}
        batches = pa.table(made).to_batches(max_chunksize=1)
        return json.loads(list(choose(Choosing(task, (), INT, held, 1), iter(batches)))[-1]["note"][0].as_py())

    assert note(1, 2, None)["overflow"] is None
    number, said = note(1, 2**62, 2**61)["overflow"]
    assert (number, type(understood(said))) == (1, NumericOverflow)


def replayed(spark, folder, **tables):
    """What Spark refuses to replay of some tables (id, at, and whatever is given), or its facts."""
    from offline_feature_plane.engines.spark import SparkEngine

    pinned = []
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        pinned.append(pin_table(name, TableMapping(folder / f"{name}.parquet", "at", "id", "UTC")))
    fields = (Field("who", TEXT, ("who",)),)
    closure = Closure("p", "1", "s", "v1", (Source("tx", tuple(tables), fields),), (), (), ())
    task = Task("run", (), closure, "tx", None, (), LabelTask(0, "latest_observed.v1", ()), None, None, "allow", (), None)
    with SparkEngine(spark).session(task, work=folder) as session:
        return session.replay(pinned), pinned


def test_one_id_with_two_contents_is_refused_with_its_column(spark, tmp_path):
    """Rows that share an id and differ are REPLAY_EVENT_ID_CONFLICT: the column, how many ids, the first of them; equal ones are one."""
    at = pa.array([1, 1, 2, 3, 3, 3], pa.timestamp("us"))
    same = {"id": [1, 1, 2, 3, 3, 3], "at": at, "who": ["a", "a", "b", "c", "c", "c"], "x": [0.5, 0.5, None] + [float("nan")] * 3}
    facts, _ = replayed(spark, tmp_path, tx=same)
    assert (facts.events_admitted, dict(facts.dispositions)) == (3, {"duplicate": 3})
    with pytest.raises(ReplayEventIdConflict) as caught:
        replayed(spark, tmp_path, tx={**same, "x": [0.5, 0.25, None, 1.0, 1.0, 2.0]})
    assert (caught.value.path, caught.value.fields) == ("x", {"count": 2, "ids": ["1", "3"]})


def test_of_several_refusals_the_first_input_counts(spark, tmp_path):
    """Whichever task is quicker, what is said is about the first table in the order of topics, and the same at every run."""
    from offline_feature_plane.errors import EventSchemaMissingFields

    at = pa.array([1, 2], pa.timestamp("us"))
    for _ in range(2):
        with pytest.raises(EventSchemaMissingFields) as caught:
            replayed(spark, tmp_path, a={"id": [1, 2], "at": at, "who": ["a", None]}, b={"id": [3, None], "at": at, "who": ["a", "b"]})
        assert "a: 1 row of column who" in caught.value.what


def test_a_file_that_changes_is_noticed_where_it_is_read(spark, tmp_path):
    """A file is held against its pin in the task that reads it."""
    from offline_feature_plane.engines.spark import SparkEngine
    from offline_feature_plane.errors import ReplayBasisMismatch

    columns = {"id": [1, 2], "at": pa.array([1, 2], pa.timestamp("us")), "who": ["a", "b"]}
    _, pinned = replayed(spark, tmp_path, tx=columns)
    pq.write_table(pa.table({**columns, "who": ["a", "c"]}), tmp_path / "tx.parquet")
    closure = Closure("p", "1", "s", "v1", (Source("tx", ("tx",), (Field("who", TEXT, ("who",)),)),), (), (), ())
    task = Task("run", (), closure, "tx", None, (), LabelTask(0, "latest_observed.v1", ()), None, None, "allow", (), None)
    with pytest.raises(ReplayBasisMismatch), SparkEngine(spark).session(task, work=tmp_path) as session:
        session.replay(pinned)


def test_nothing_stays_in_a_users_session(spark, engine, tmp_path):
    """What a build keeps in Spark is given back when its session ends, also after a refusal; the session goes on."""
    kept = spark.sparkContext._jsc.getPersistentRDDs()
    replayed(spark, tmp_path, tx={"id": [1, 2], "at": pa.array([1, 2], pa.timestamp("us")), "who": ["a", "b"]})
    assert len(spark.sparkContext._jsc.getPersistentRDDs()) == len(kept)
    assert spark.range(3).count() == 3
