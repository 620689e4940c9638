"""The local engine through its port: what the laws do not show in small worlds, such as chunks, limits, order of calls and errors."""

from contextlib import closing

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from offline_feature_plane.arrow_types import settled_type
from offline_feature_plane.domain.closure import Aggregation, Closure, Computed, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.rows import LabelTask, Task, TokenKey
from offline_feature_plane.domain.tokens import key_id, token
from offline_feature_plane.engines.local import LocalEngine, connection
from offline_feature_plane.engines.local.connection import open_connection
from offline_feature_plane.engines.local.features import Groups, compute_features
from offline_feature_plane.engines.local.history.memory import keep_freed
from offline_feature_plane.engines.local.record_batches import arrow_array
from offline_feature_plane.errors import EngineFailed, NumericOverflow
from offline_feature_plane.leaves import settle
from offline_feature_plane.ports import Engine
from offline_feature_plane.testing.worlds import SECOND, START, Table, World

INT, TEXT, TIME = ColumnType("int64"), ColumnType("string"), ColumnType("timestamp")
MONEY = ColumnType("decimal", 12, 2)
FIELDS = (Field("who", TEXT, ("who",), nullable=True, identifier="person"), Field("amount", MONEY, ("amount",), nullable=True),
          Field("units", INT, ("units",)), Field("box", INT, ("box",), identifier="box"))
COLUMNS = {"event_id": INT, "at": TIME, "who": TEXT, "amount": MONEY, "units": INT, "box": INT}
SCOPE = {"who": TEXT, "amount": MONEY, "units": INT, "box": INT, "ts": TIME}
FOREVER = Window("lifetime", "lifetime")
NO_LABELS = Table("fraud", "parquet", {"event": INT, "value": TEXT, "observed": TIME, "effective": TIME, "source": TEXT, "id": TEXT,
                                       "supersedes": TEXT},
                  ({"event": 1, "value": "F", "observed": START, "effective": START, "source": "HUMAN", "id": "d", "supersedes": None},))


def make_world(rows, features=(), *, row_features=(), secret=None):
    """Events one second apart, and one group by `who` with these features."""
    group = Group("g", "v1", "tx", ("who",), None, False, 0, "skip", tuple(features))
    computed = tuple(Computed(name, parse(text, SCOPE), parse(text, SCOPE).type, identifier) for name, text, identifier in row_features)
    closure = Closure("p", "1", "s", "v1", (Source("tx", ("tx",), FIELDS),), (group,) if features else (), computed, ())
    key = TokenKey(key_id(secret), secret) if secret else None
    labels = LabelTask(START + 10**12, "latest_observed.v1", ("fraud",))
    task = Task("run", (), closure, "tx", None, (), labels, None, None, "allow", (), key)
    given = [{"event_id": number, "at": START + number * SECOND, "who": "a", "amount": 100, "units": 1, "box": 5} | row
             for number, row in enumerate(rows, 1)]
    return World(task, (Table("tx", "parquet", COLUMNS, tuple(given), INT),), (NO_LABELS,))


def read(world, folder, limit=None, told=None):
    """All rows of a world as one settled batch's Python rows."""
    events, labels = world.write(folder)
    progress = None if told is None else lambda *step: told.append(step)
    with LocalEngine().session(world.task, work=folder, threads=1, progress=progress) as session:
        session.replay(events)
        session.labels(labels)
        session.select()
        batches = list(session.rows(limit))
        return settle(session.columns(), pa.Table.from_batches(batches)).to_pylist()


def test_the_engine_is_one():
    """The local engine has what the port asks for."""
    engine: Engine = LocalEngine()
    assert (engine.name, engine.version) == ("local", "1")


def test_rows_stop_at_the_limit(tmp_path):
    """A preview gives the first rows in the total order, with the values that they have in the whole."""
    world = make_world([{}] * 5, [Feature("n", Aggregation("count"), FOREVER, INT)])
    whole = read(world, tmp_path)
    assert [row["n"] for row in whole] == [0, 1, 2, 3, 4]
    assert read(world, tmp_path, limit=2) == whole[:2]


def test_progress_is_told(tmp_path):
    """Every step says how far it is, and rows end at their number."""
    told = []
    read(make_world([{}] * 3, [Feature("n", Aggregation("count"), FOREVER, INT)]), tmp_path, told=told)
    assert list(dict.fromkeys(step for step, _, _ in told)) == ["replay", "merge", "labels", "select", "rows"]
    read_so_far = [done for step, done, _ in told if step == "replay"]
    assert read_so_far == sorted(read_so_far)
    assert ("replay", 3, 3) in told
    assert told[-1] == ("rows", 3, 3)


def test_what_joined_labels_gives_its_memory_back(tmp_path, monkeypatch):
    """Nothing is asked of DuckDB once labels are known: it is closed then, since it keeps what it freed as long as it is open."""
    opened = []
    monkeypatch.setattr(connection, "open_connection", lambda *how: opened.append(open_connection(*how)) or opened[-1])
    world = make_world([{}] * 3)
    events, labels = world.write(tmp_path)
    with LocalEngine().session(world.task, work=tmp_path) as session:
        session.replay(events)
        session._database.cursor().close()  # as sparse ids, or texts, do
        session.labels(labels)
        assert opened
        for one in opened:
            with pytest.raises(duckdb.ConnectionException):
                one.execute("SELECT 1")
        session.select()
        assert sum(batch.num_rows for batch in session.rows()) == 3


def test_steps_out_of_order_are_ours(tmp_path):
    """Asking for rows before there is anything is a defect of the caller, said in our words."""
    with LocalEngine().session(make_world([{}]).task, work=tmp_path) as session, pytest.raises(EngineFailed, match="replay"):
        next(session.rows())


@pytest.mark.parametrize(("column", "features", "row_features"), [
    ("g__sum", [Feature("g__sum", Aggregation("sum", "units"), FOREVER, INT)], []), ("twice", [], [("twice", "units * 2", None)])])
def test_overflow_names_the_column(tmp_path, column, features, row_features):
    """A value that leaves its type refuses the build and says in which column."""
    with pytest.raises(NumericOverflow, match=column) as caught:
        read(make_world([{"units": 2**62}, {"units": 2**62}, {}], features, row_features=row_features), tmp_path)
    assert caught.value.path == column


def test_identifiers_leave_as_tokens_everywhere(tmp_path):
    """Texts and integers, read and computed, leave as the token of their entity; nulls stay null; without a key they leave as they are."""
    features = [Feature("g__last", Aggregation("last", "box"), FOREVER, INT, identifier="box")]
    shown = [("me", "who", "person"), ("mine", "box", "box")]
    rows = [{"who": "é", "box": -7}, {"who": None}, {"who": "é", "box": 8}]
    found = read(make_world(rows, features, row_features=shown, secret=b"k"), tmp_path)
    person, seven = token(b"k", "person", "é"), token(b"k", "box", "-7")
    assert [(row["me"], row["mine"], row["g__last"]) for row in found] == \
        [(person, seven, None), (None, token(b"k", "box", "5"), None), (person, token(b"k", "box", "8"), seven)]
    assert [row["mine"] for row in read(make_world(rows, row_features=shown), tmp_path)] == [-7, 5, 8]


def test_empty_tells_null_values_from_no_events(tmp_path):
    """`empty:` stands for a window without events; a null that the last event carries stays null, and so does a null key's row.

    who     a        a(null amount)   a              null
    ──────1:no event──2:1.00──────────3:null─────────4:no key──▶
    """
    features = [Feature("last", Aggregation("last", "amount"), FOREVER, MONEY, empty="-1"),
                Feature("previous", Aggregation("previous", "who"), FOREVER, TEXT, empty="none"),
                Feature("mean", Aggregation("mean", "amount"), FOREVER, ColumnType("float64"), empty="0.5")]
    found = read(make_world([{}, {"amount": None}, {}, {"who": None}], features), tmp_path)
    assert [str(row["last"]) for row in found] == ["-1.00", "1.00", "None", "None"]
    assert [row["previous"] for row in found] == ["none", "a", "a", None]
    assert [row["mean"] for row in found] == [0.5, 1.0, 1.0, None]


def test_chunks_do_not_show(tmp_path):
    """However many positions a chunk spans, the columns are the same, also where only some positions are rows."""
    features = [Feature("n", Aggregation("count"), Window("sliding", "3s", 3 * SECOND), INT),
                Feature("most", Aggregation("max", "who"), FOREVER, TEXT, empty="m")]
    world = make_world([{"who": "ab"[number % 2]} for number in range(11)], features, row_features=[("hour", "hour(ts)", None)])
    events, labels = world.write(tmp_path)
    with LocalEngine().session(world.task, work=tmp_path) as session:
        session.replay(events)
        session.labels(labels)
        history = session._history.window(0, 11)
    positions = np.array([0, 3, 4, 5, 10])
    seen = []
    for block in (1, 2, 3, 7, 11, 100):
        with closing(Groups(history, world.task, 2)) as groups:
            chunks = list(compute_features(groups, world.task, positions, {}, block))
        assert np.concatenate([chunk.positions for chunk in chunks]).tolist() == positions.tolist()
        seen.append({name: [value for chunk in chunks for value in arrow_array(chunk.columns[name]).to_pylist()]
                     for name in chunks[0].columns})
    assert all(one == seen[0] for one in seen)
    assert seen[0]["n"] == [0, 1, 1, 1, 1]


def test_a_selection_without_rows_yields_nothing(tmp_path):
    """No row, no batch."""
    world = make_world([{}])
    events, labels = world.write(tmp_path)
    with LocalEngine().session(world.task, work=tmp_path) as session:
        session.replay(events)
        session.labels(labels)
        session.select()
        assert list(session.rows(0)) == []


def test_every_type_leaves_as_its_arrow_type(tmp_path):
    """Columns of a batch have the declared types, texts as dictionaries of them."""
    texts = {"me": "who", "cents": "amount", "when": "ts", "late": "hour(ts) > 3", "share": "amount / 3"}
    world = make_world([{"amount": -105}, {"amount": None}], row_features=[(name, text, None) for name, text in texts.items()])
    events, labels = world.write(tmp_path)
    with LocalEngine().session(world.task, work=tmp_path) as session:
        session.replay(events)
        session.labels(labels)
        session.select()
        (batch,) = session.rows()
        for column, found in zip(session.columns(), batch.schema, strict=True):
            assert found.name == column.name
            assert (found.type.value_type if pa.types.is_dictionary(found.type) else found.type) == settled_type(column.type)
        assert [str(value) for value in batch["cents"].to_pylist()] == ["-1.05", "None"]


def test_a_session_leaves_the_allocators_as_it_found_them(tmp_path):
    """While a build in memory goes on, what it frees is kept; afterwards Arrow allocates as before, and holds nothing of ours."""
    world = make_world([{"amount": 5}])
    events, _ = world.write(tmp_path)
    before = pa.default_memory_pool().backend_name
    with LocalEngine().session(world.task, work=tmp_path) as session:
        session.replay(events)
        assert pa.default_memory_pool().backend_name == "jemalloc"
    assert pa.default_memory_pool().backend_name == before != "jemalloc"


def test_builds_side_by_side_leave_the_allocators_as_the_first_found_them():
    """Of two builds in one process, whichever ends first takes nothing from the other, and the last gives back what the first had found."""
    before = pa.default_memory_pool().backend_name
    first, second = keep_freed(), keep_freed()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert pa.default_memory_pool().backend_name == "jemalloc"
    second.__exit__(None, None, None)
    assert pa.default_memory_pool().backend_name == before != "jemalloc"


def test_a_build_over_files_gives_back_what_it_frees(tmp_path):
    """A build over files takes memory from the system and gives it back, as Arrow's own allocator does not; afterwards all is as before."""
    world = make_world([{"amount": 5}])
    events, _ = world.write(tmp_path)
    before, work = pa.default_memory_pool().backend_name, tmp_path / "work"
    work.mkdir()
    with LocalEngine().session(world.task, work=work, memory_limit="64MB") as session:
        session.replay(events)
        assert session.execution()["way"] == "files"
        assert pa.default_memory_pool().backend_name == "system"
    assert pa.default_memory_pool().backend_name == before != "system"
