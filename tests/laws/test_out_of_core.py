"""In files as in memory: whatever the sizes of runs, blocks, slices and parts, a build says the same (R9, `docs/decisions/0026`)."""

import random
import resource
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from two_engines import tell

from offline_feature_plane.domain.closure import Aggregation, Closure, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.footprint import LEAST_DATA, PROCESS_BYTES, event_bytes
from offline_feature_plane.domain.rows import LabelTask, Task
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.local.history.places import Folder, Memory
from offline_feature_plane.engines.local.history.runs import Run, unify
from offline_feature_plane.engines.local.sizes import Sizes, fit, limit_bytes
from offline_feature_plane.errors import ResourceExceeded, StorageIoFailure
from offline_feature_plane.testing.drawing import draw_apart_world, draw_late_world, draw_world
from offline_feature_plane.testing.worlds import SECOND, START, Table, World

INT, TEXT, TIME = ColumnType("int64"), ColumnType("string"), ColumnType("timestamp")
FOREVER = Window("lifetime", "lifetime")


def draw_sizes(seed):
    """Sizes of a few events each: runs, blocks, index, and memory for anything from one event to all of a world."""
    rng = random.Random(seed)
    return Sizes(block=rng.choice([1, 2, 3, 7, 50]), run_rows=rng.choice([1, 2, 5, 9, 100]), ids=rng.choice([1, 3, 10, 1000]),
                 merge_total=rng.choice([1, 8, 60]), index=rng.choice([1, 2, 5, 64]),
                 data=rng.choice([200, 2_000, 5_000, 20_000, 100_000]), in_files=rng.random() < 0.75)


def hold_in_files(seed, draw=None):
    """The world of a seed says the same in files of drawn sizes as in memory: facts, rows, leaves, or the code of its error."""
    world = (draw or (draw_late_world if seed % 3 == 0 else draw_world))(seed)
    with tempfile.TemporaryDirectory() as folder:
        events, labels = world.write(Path(folder))
        held, filed = (tell(engine, world.task, events, labels, Path(folder) / name) for name, engine in (
            ("memory", LocalEngine()), ("files", LocalEngine(draw_sizes(seed)))))
    for part in held | filed:
        assert filed.get(part) == held.get(part), f"seed {seed}: {part}"


@pytest.mark.parametrize("seed", range(5_000, 5_004))
def test_files_say_what_memory_says(seed):
    """Drawn worlds, with ties, repeats, delays, archives, several sources, late events: one answer, from files of any sizes too."""
    hold_in_files(seed)


@pytest.mark.parametrize("seed", range(5_100, 5_102))
def test_files_say_who_stands_where(seed):
    """Splits without a common entity are found part by part of the entities, block by block, as they are all at once."""
    hold_in_files(seed, draw_apart_world)


@pytest.mark.long
@pytest.mark.parametrize("start", range(0, 2_000, 50))
def test_files_say_what_memory_says_of_many_worlds(start):
    """As above, two thousand worlds."""
    for seed in range(start, start + 50):
        hold_in_files(10_000 + seed)


def windowed(*windows, key="who", delay_us=0, current=False, where=None, name="g"):
    """A group with a count, a sum, a greatest amount and the amount before, over some windows."""
    calls = [Aggregation("count"), Aggregation("sum", "units"), Aggregation("max", "units"), Aggregation("previous", "units")]
    features = [Feature(f"{name}__{call.function}_{window.label}", call, window, INT) for window in windows for call in calls]
    return Group(name, "v1", "tx", (key,), where, current, delay_us, "skip", tuple(features))


def world_of(rows, groups):
    """Events `tx`: (second, who, units), numbered from 1, and some groups."""
    fields = (Field("who", TEXT, ("who",)), Field("units", INT, ("units",)))
    closure = Closure("p", "1", "s", "v1", (Source("tx", ("tx",), fields),), tuple(groups), (), ())
    task = Task("worlds", (), closure, "tx", None, (), LabelTask(START + 10**12, "latest_observed.v1", ()), None, None, "allow", (), None)
    held = tuple({"event_id": number, "at": START + round(second * SECOND), "who": who, "units": units}
                 for number, (second, who, units) in enumerate(rows, 1))
    return World(task, (Table("tx", "parquet", {"event_id": INT, "at": TIME, "who": TEXT, "units": INT}, held, INT),), ())


def say_both(world, folder, sizes, limit=None):
    """What a world says in memory and in files: rows, and how the latter were made."""
    events, labels = world.write(folder)
    found = []
    for place, engine in enumerate((LocalEngine(), LocalEngine(sizes))):
        work = folder / f"work.{place}"
        work.mkdir()
        with engine.session(world.task, work=work, threads=2) as session:
            session.replay(events)
            session.labels(labels)
            session.select()
            rows = [row for batch in session.rows(limit) for row in batch.to_pylist()]
            found.append((rows, session.execution()))
    (held, _), (filed, execution) = found
    assert filed == held
    return held, execution


def seconds(length):
    """A sliding window of some seconds."""
    return Window("sliding", f"{length}s", length * SECOND)


def sizes_for(world, events, *, block=4, run_rows=16):
    """Memory for so many events in the kernels."""
    return Sizes(block=block, run_rows=run_rows, ids=8, merge_total=32, index=2, data=events * event_bytes(world.task.closure))


@pytest.mark.parametrize(("delay", "current"), [(0, False), (0, True), (3, False)])
def test_windows_reach_over_the_borders_of_slices(tmp_path, delay, current):
    """A key's events on both sides of every border, at its very instant, and just within and just beyond reach.

    ```
    slices   ───────────┤├───────────┤├──────────
    a        ●● ●● ●● ●●●● ●● ●● ●● ●● ●● ●●      several at each instant, and within microseconds of it
    b        ●                                 ●      idles longer than any slice
    c                  ●●●●●●●●                       hot for a moment
             (───── reach ─────]row
    ```
    """
    rng = random.Random(3)
    rows = [(second + micros / SECOND, "a", second % 7) for second in range(30) for micros in (0, 0, 1, 2, 3)]
    rows += [(0, "b", 1), (29, "b", 2)] + [(18 + part / 8, "c", part) for part in range(16)]
    rng.shuffle(rows)
    world = world_of(rows, [windowed(seconds(1), seconds(5), delay_us=delay * SECOND, current=current)])
    _, execution = say_both(world, tmp_path, sizes_for(world, 90 if delay else 64))
    assert execution["slices"] > 2
    assert execution["parts_of_keys"] == {}
    assert execution["events_laid_out"] > len(rows)


def test_groups_without_bound_go_by_keys(tmp_path):
    """A lifetime group is computed part by part of its keys, one of which has most of the events; a bounded one beside it by time."""
    rng = random.Random(4)
    rows = [(number / 4, rng.choice(["hot"] * 8 + ["b", "c", "d", "e", "f"]), rng.randrange(9)) for number in range(200)]
    world = world_of(rows, [windowed(FOREVER, name="ever"), windowed(seconds(3), name="late")])
    _, execution = say_both(world, tmp_path, sizes_for(world, 60))
    assert execution["slices"] > 2
    assert list(execution["parts_of_keys"]) == ["ever"]
    assert execution["parts_of_keys"]["ever"] > 1


def test_a_reach_that_fills_memory_goes_by_keys(tmp_path):
    """Where a slice would hold little beside what it repeats, parts of keys are cheaper."""
    rows = [(number, "ab"[number % 2], number) for number in range(100)]
    world = world_of(rows, [windowed(seconds(40))])
    _, execution = say_both(world, tmp_path, sizes_for(world, 44))
    assert list(execution["parts_of_keys"]) == ["g"]


def test_one_instant_for_everything(tmp_path):
    """A log of a single instant, as of bare dates, is ordered by id over all runs, and slices end within the instant."""
    rows = [(0, "abc"[number % 3], number) for number in range(90)]
    random.Random(5).shuffle(rows)
    world = world_of(rows, [windowed(seconds(1)), windowed(FOREVER, name="ever")])
    told, _ = say_both(world, tmp_path, sizes_for(world, 10))
    assert [row["event_id"] for row in told] == list(range(1, 91))


def test_only_the_first_rows(tmp_path):
    """A preview of few rows is the beginning of all, and does not go through later slices."""
    rows = [(number, "ab"[number % 2], number) for number in range(60)]
    world = world_of(rows, [windowed(seconds(3))])
    told, _ = say_both(world, tmp_path, sizes_for(world, 24), limit=7)
    assert len(told) == 7


def test_a_full_disk_is_told(tmp_path):
    """Scratch files that cannot grow end the build with STORAGE_IO_FAILURE, which names the folder to give room to."""
    world = world_of([(number, "a", number) for number in range(5_000)], [windowed(seconds(3))])
    events, _ = world.write(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with LocalEngine(sizes_for(world, 64, run_rows=2_000)).session(world.task, work=tmp_path, threads=1) as session:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, before[1]))
        try:
            with pytest.raises(StorageIoFailure, match="scratch file") as caught:
                session.replay(events)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "work" in caught.value.fix


def test_a_scratch_file_that_was_cut_is_told(tmp_path):
    """What is shorter than it was written, or gone, is never read as data."""
    column, path = Folder(tmp_path).numbers("numbers", np.int64, 100), tmp_path / "numbers"
    column.append(np.arange(100))
    assert column.read(10, 90).tolist() == list(range(10, 90))
    with path.open("r+b") as file:
        file.truncate(400)
    with pytest.raises(StorageIoFailure, match="shorter than it was written"):
        column.read(10, 90)
    path.unlink()
    with pytest.raises(StorageIoFailure, match="No such file"):
        column.read(0, 1)


def test_the_limit_decides_the_way(tmp_path):
    """What is estimated to fit goes in memory, what does not over files; the evidence says what was needed and allowed."""
    world = world_of([(number, "a", number) for number in range(1_000)], [windowed(seconds(3))])
    events, labels = world.write(tmp_path)
    ways = {}
    for limit in ("100MB", "16GB", None):
        work = tmp_path / f"work.{limit}"
        work.mkdir()
        with LocalEngine().session(world.task, work=work, memory_limit=limit, threads=1) as session:
            session.replay(events)
            session.labels(labels)
            session.select()
            rows = [row for batch in session.rows() for row in batch.to_pylist()]
            ways[limit] = session.execution()["way"], session.execution()["limit_bytes"] >= session.execution()["needed_bytes"], len(rows)
    assert ways == {"100MB": ("files", False, 1_000), "16GB": ("memory", True, 1_000), None: ("memory", True, 1_000)}


@pytest.mark.parametrize("in_files", [True, False])
def test_texts_beyond_the_limit_are_told(tmp_path, in_files):
    """Distinct texts stay in memory: where they cannot, the build ends with the field's name before the system ends it."""
    world = world_of([(number, f"customer {number}", number) for number in range(1_000)], [windowed(seconds(3))])
    events, _ = world.write(tmp_path)
    enough = Sizes(block=64, run_rows=100, ids=50, merge_total=100, index=16, data=10**6, in_files=in_files)
    for place, texts in enumerate((10_000, 10**6)):
        work = tmp_path / f"work.{place}"
        work.mkdir()
        with LocalEngine(replace(enough, texts=texts)).session(world.task, work=work, threads=1) as session:
            if texts == 10**6:
                assert session.replay(events).events_read == 1_000
                continue
            with pytest.raises(ResourceExceeded, match=r"who has .* distinct texts or more") as caught:
                session.replay(events)
    assert caught.value.path == "who"
    assert "engine.memory_limit" in caught.value.fix


@pytest.mark.long
def test_texts_beyond_two_gigabytes_are_told():
    """What Arrow cannot hold in one dictionary is an error with the field's name, not a defect."""
    nothing = Memory().numbers("none", np.int64, 0)
    runs = []
    for run in range(2):
        texts = Memory().texts("note")
        texts.append(pa.array([f"{run}.{number}.{'x' * 1_000_000}" for number in range(1_100)], pa.string()))
        runs.append(Run(None, nothing, nothing, None, None, None, {}, {"note": texts}, {"note": "note"}))
    with pytest.raises(ResourceExceeded, match="note take more than 2 GiB"):
        unify(runs, 1 << 62)


def test_sizes_stay_within_the_limit():
    """The larger the limit, the larger the pieces; what they may hold together, with the process itself, is within the limit."""
    world = world_of([], [windowed(seconds(3))])
    limits = [limit_bytes(text) for text in ("500MB", "1GB", "4GB", "64GB")]
    sizes = [fit(world.task, 10**9, limit) for limit in limits]
    assert all(one.data <= limit - PROCESS_BYTES for one, limit in zip(sizes, limits, strict=True))
    assert all(one.texts <= limit - PROCESS_BYTES for one, limit in zip(sizes[1:], limits[1:], strict=True))
    assert [one.data for one in sizes] == sorted(one.data for one in sizes)
    assert [one.block for one in sizes] == sorted(one.block for one in sizes)
    assert [one.is_lean for one in sizes] == [True, False, False, False]


def test_texts_for_ids_make_pieces_smaller():
    """Where events are called by texts, as what a calendar makes is, less is left for their other columns."""
    world = world_of([], [windowed(seconds(3))])
    plain, named = (fit(world.task, 10**9, limit_bytes("700MB"), text_ids=texts) for texts in (False, True))
    assert named.data < plain.data
    assert named.run_rows < plain.run_rows


def test_what_stays_makes_pieces_of_rows_smaller():
    """What the process has grown by until rows are computed is not there for them; however much it is, pieces stay possible."""
    world, limit = world_of([], [windowed(seconds(3))]), limit_bytes("4GB")
    planned = fit(world.task, 10**9, limit)
    usual, grown, full = (planned.beside(size, world.task, 10**9, limit, text_ids=False) for size in (PROCESS_BYTES, 10**9, 2 * limit))
    assert usual == planned
    assert planned.data - grown.data == 10**9 - PROCESS_BYTES
    assert full == replace(planned, data=LEAST_DATA)
