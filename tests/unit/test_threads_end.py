"""Whatever ends a pipeline, wherever it stands then: the first error arrives, no thread stays, and nobody waits for ever."""

import sys
import tempfile
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from offline_feature_plane.corridor.parts import PartWriter
from offline_feature_plane.corridor.stage import _Tally, stage
from offline_feature_plane.domain.closure import Aggregation, Closure, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.domain.rows import LabelTask, Task
from offline_feature_plane.engines.local import LocalEngine, session
from offline_feature_plane.engines.local.connection import Database
from offline_feature_plane.engines.local.duplicates import marks_of
from offline_feature_plane.engines.local.sizes import fit
from offline_feature_plane.errors import NumericOverflow, ReplayEventInvalid
from offline_feature_plane.testing.worlds import SECOND, START, Table, World
from offline_feature_plane.threads import one_ahead

INT, TEXT, TIME = ColumnType("int64"), ColumnType("string"), ColumnType("timestamp")
COLUMN = Column("x", INT, "feature")
LEAF, CHUNKS = 2, 8


def within(work, seconds=30):
    """Do `work` on a thread of its own; if it hangs, fail and say where every thread stands."""
    said = []

    def run():
        try:
            said.append((work(), None))
        except BaseException as wrong:  # noqa: BLE001 - it is raised again below
            said.append((None, wrong))

    before = threading.active_count()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        stacks = "\n".join("".join(traceback.format_stack(frame)) for frame in sys._current_frames().values())
        pytest.fail(f"nothing came for {seconds} s:\n{stacks}")
    assert threading.active_count() <= before
    value, wrong = said[0]
    if wrong is not None:
        raise wrong
    return value


def batches(stop=None):
    """One batch per chunk; raises before chunk `stop`."""
    for number in range(CHUNKS):
        if number == stop:
            raise KeyError(f"chunk {number}")
        yield pa.record_batch([pa.array([number] * 2 * LEAF, pa.int64())], ["x"])


@pytest.mark.parametrize("at", range(CHUNKS))
def test_an_error_of_the_producer_ends_staging(tmp_path, at):
    """An error before any chunk arrives as it is."""
    with pytest.raises(KeyError, match=f"chunk {at}"):
        within(lambda: stage([COLUMN], batches(at), tmp_path, leaf_rows=LEAF))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("side", [PartWriter, _Tally], ids=["writing", "hashing"])
@pytest.mark.parametrize("at", range(CHUNKS))
def test_an_error_of_the_consumer_ends_staging(tmp_path, monkeypatch, side, at):
    """An error in writing or hashing any chunk arrives as it is, and the producer is closed."""
    name = "write" if side is PartWriter else "add"
    work, seen, closed = getattr(side, name), [], []

    def fail(self, chunk):
        seen.append(chunk)
        if len(seen) > at:
            raise KeyError(f"chunk {at}")
        work(self, chunk)

    def watched():
        try:
            yield from batches()
        finally:
            closed.append(1)

    monkeypatch.setattr(side, name, fail)
    with pytest.raises(KeyError, match=f"chunk {at}"):
        within(lambda: stage([COLUMN], watched(), tmp_path, leaf_rows=LEAF))
    assert closed == [1]
    assert list(tmp_path.iterdir()) == []


def make_world(events, wild=None):
    """Events of one key, a second apart, in four groups that share keys; the event `wild` makes every later sum leave int64."""
    fields = (Field("who", TEXT, ("who",)), Field("units", INT, ("units",)))
    window = Window("lifetime", "lifetime")
    groups = tuple(Group(f"g{place}", "v1", "tx", ("who",), None, True, 0, "skip", (
        Feature(f"g{place}__sum", Aggregation("sum", "units"), window, INT),)) for place in range(4))
    closure = Closure("p", "1", "s", "v1", (Source("tx", ("tx",), fields),), groups, (), ())
    task = Task("run", (), closure, "tx", None, (), LabelTask(START + 10**12, "latest_observed.v1", ()), None, None, "allow", (), None)
    rows = tuple({"event_id": number, "at": START + number * SECOND, "who": "a", "units": 2**63 - 1 if number == wild else 1}
                 for number in range(events))
    return World(task, (Table("tx", "parquet", {"event_id": INT, "at": TIME, "who": TEXT, "units": INT}, rows, INT),), ())


def run_engine(world, use, threads):
    """Open a session on a world, and use its rows."""
    with tempfile.TemporaryDirectory() as folder:
        events, labels = world.write(Path(folder))
        with LocalEngine().session(world.task, work=Path(folder), threads=threads) as opened:
            opened.replay(events)
            opened.labels(labels)
            opened.select()
            return use(opened)


@pytest.fixture
def small_blocks(monkeypatch):
    """Chunks of three positions."""
    monkeypatch.setattr(session, "fit", lambda *given, **named: replace(fit(*given, **named), block=3))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_whoever_leaves_early_leaves_no_thread(small_blocks, threads):
    """Rows that are no longer wanted, at the first chunk, in the middle, at the end, or by a limit, let their threads go."""
    def take(count):
        def use(opened):
            rows = opened.rows()
            found = [next(rows).num_rows for _ in range(count)]
            rows.close()
            return found
        return use

    for count in (0, 1, 3, 5):
        assert within(lambda: run_engine(make_world(15), take(count), threads)) == [3] * count  # noqa: B023 - run at once
    limited = within(lambda: run_engine(make_world(15), lambda opened: [one.num_rows for one in opened.rows(7)], threads))
    assert limited == [3, 3, 1]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("wild", [1, 4, 13])
def test_an_overflow_in_any_chunk_arrives_through_staging(small_blocks, tmp_path, threads, wild):
    """Several groups fail at once on their threads while staging works behind: one error comes out, and the files are gone."""
    def use(opened):
        return stage(opened.columns(), opened.rows(), tmp_path, leaf_rows=1)

    with pytest.raises(NumericOverflow, match="g0__sum"):
        within(lambda: run_engine(make_world(15, wild), use, threads))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", range(4))
def test_reading_ahead_ends_with_its_reader(at):
    """A reader that fails or leaves at any batch ends the thread that reads ahead; an error of the file arrives in its place."""
    def broken():
        for number in range(4):
            if number == at:
                raise ReplayEventInvalid("a broken batch.", fix="Correct it.")
            yield {"x": [number]}

    def leave(batches):
        for batch in one_ahead(batches):
            if batch["x"] == [at]:
                raise KeyError(at)

    with pytest.raises(ReplayEventInvalid):
        within(lambda: list(one_ahead(broken())))
    with pytest.raises(KeyError):
        within(lambda: leave(iter([{"x": [number]} for number in range(4)])))


def test_many_inputs_hash_their_ids_at_once(tmp_path):
    """One database serves several threads, each on a cursor of its own: every answer is its own input's."""
    inputs = [pa.chunked_array([pa.array([f"e{number % (90 + place)}" for number in range(100)])]) for place in range(8)]

    def ask():
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda ids: marks_of(database, ids), inputs))

    for _ in range(3):
        with Database(tmp_path, None, 2) as database:
            for place, marks in enumerate(within(ask)):
                assert (marks[:10 - place] == marks[90 + place:]).all()
                assert len(set(marks.tolist())) == 90 + place
