"""Rows that see only what had arrived: the law by hand, both engines, and what may never change (`decisions.md` D21, R10, R17)."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from two_engines import tell

from offline_feature_plane.domain.closure import Aggregation, Closure, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.rows import LabelTask, Task
from offline_feature_plane.engines.local import LocalEngine, arrivals
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.testing.archives import archived, write_archive
from offline_feature_plane.testing.drawing import draw_late_world, draw_world
from offline_feature_plane.testing.worlds import ARRIVED, INT, SECOND, START, TEXT, Archive, Labels, Stored, Table, World

TIME = ColumnType("timestamp")
FRAUD = ("fraud", ("FRAUD",))
LATEST = START + 10**9


def call(name, window, function, argument=None, kind=INT):
    """One feature of the group below."""
    label_type, values = FRAUD if function.startswith("label_") else (None, ())
    return Feature(f"g__{name}", Aggregation(function, argument, label_type, values), window, kind)


def task_of(*features, current=False, delay=0):
    """Events `tx` with a group by `who`, and rows that see only what had arrived."""
    fields = (Field("who", TEXT, ("who",)), Field("units", INT, ("units",)))
    group = Group("g", "v1", "tx", ("who",), None, current, delay, "skip", features)
    closure = Closure("p", "1", "s", "v1", (Source("tx", ("tx",), fields),), (group,), (), ())
    labels = ("fraud",) if any(one.aggregation.label_type for one in features) else ()
    return Task("worlds", (), closure, "tx", None, (), LabelTask(LATEST, "latest_observed.v1", labels), None, None, "allow", (), None,
                "arrival")


def table_of(*rows):
    """Events as (second of happening, second of arrival, units), all of one key, numbered from 1."""
    held = tuple({"event_id": number, "at": START + int(at * SECOND), ARRIVED: START + int(arrived * SECOND), "who": "a", "units": units}
                 for number, (at, arrived, units) in enumerate(rows, 1))
    return Table("tx", "jsonl", {"event_id": INT, "at": TIME, ARRIVED: TIME, "who": TEXT, "units": INT}, held, INT)


def both_say(world, folder):
    """What the two engines say of a world, which is one."""
    events, labels = world.write(folder)
    expected, found = (tell(engine, world.task, events, labels, folder) for engine in (OracleEngine(), LocalEngine()))
    assert found == expected
    return found


LIFETIME, LAST_5S = Window("lifetime", "lifetime"), Window("sliding", "5s", 5 * SECOND)


def test_what_arrived_later_is_hidden(tmp_path):
    """The second event happened before the third and arrived after it: the third row does not see it, the fourth does.

    ```
    happened    1   2   3       9
    arrived     1      4.5      9       2 arrives when 3 is long there
    ```
    """
    world = World(task_of(call("n", LIFETIME, "count"), call("sum", LAST_5S, "sum", "units")),
                  (table_of((1, 1, 10), (2, 4.5, 20), (3, 3, 40), (6, 6, 80)),), ())
    found = both_say(world, tmp_path)
    assert [(row["g__n"], row["g__sum"]) for row in found["rows"]] == [("0", "0"), ("1", "10"), ("1", "10"), ("3", "60")]
    assert found["hidden"] == 1


def test_events_of_one_instant_stand_in_the_order_of_their_arrival(tmp_path):
    """What happened at one instant is told apart by arrival, then by id: the first to arrive sees none of the others."""
    world = World(task_of(call("n", LIFETIME, "count"), call("last", LIFETIME, "last", "units"), current=True),
                  (table_of((1, 3, 10), (1, 2, 20), (1, 3, 40)),), ())
    found = both_say(world, tmp_path)
    assert [(row["event_id"], row["g__n"], row["g__last"]) for row in found["rows"]] == [
        ("2", "1", "20"), ("1", "2", "10"), ("3", "3", "40")]
    assert found["hidden"] == 0


def test_numbers_of_a_table_order_as_numbers_beside_texts_of_another(tmp_path):
    """Of events that happen and arrive together the lower number comes first: 9 before 10, also where a second table has texts for ids.

    ```
     happened      ──9·10────▶       9 sees nothing, 10 sees 9
     arrived       ──9·10────▶       (as texts "10" would come before "9")
    ```
    """
    task = task_of(call("n", LIFETIME, "count"))
    (source,) = task.closure.sources
    task = replace(task, closure=replace(task.closure, sources=(replace(source, event_types=("tx", "other")),)))
    whole = table_of(*[(1, 2, number) for number in range(10)])
    numbers = replace(whole, rows=whole.rows[-2:])
    texts = replace(whole, name="other", columns={**whole.columns, "event_id": TEXT}, id_type=TEXT,
                    rows=({**whole.rows[0], "event_id": "x", "who": "b"},))
    found = both_say(World(task, (numbers, texts), ()), tmp_path)
    assert {row["event_id"]: row["g__n"] for row in found["rows"]} == {"'x'": "0", "'9'": "0", "'10'": "1"}
    assert found["hidden"] == 0


@pytest.mark.parametrize(("arrived", "known"), [(4, "0"), (6, "1")])
def test_labels_are_those_known_when_the_row_arrived(tmp_path, arrived, known):
    """A label that becomes known between a row's instant and its arrival counts; online it was there."""
    columns = {"event": INT, "value": TEXT, "observed": TIME, "effective": TIME, "source": TEXT, "id": TEXT, "supersedes": TEXT}
    said = {"event": 1, "value": "FRAUD", "observed": START + 5 * SECOND, "effective": START, "source": "HUMAN", "id": "a",
            "supersedes": None}
    world = World(task_of(call("bad", LIFETIME, "label_count")), (table_of((1, 1, 0), (3, arrived, 0)),),
                  (Labels("fraud", Table("fraud", "jsonl", columns, (said,))),))
    assert [row["g__bad"] for row in both_say(world, tmp_path)["rows"]] == ["0", known]


def test_a_sum_that_only_hidden_events_make_too_large_is_no_error(tmp_path):
    """What a row does not see cannot overflow its sum; what it sees can."""
    most = 2**63 - 1
    task = task_of(call("sum", LIFETIME, "sum", "units"))
    fine = both_say(World(task, (table_of((1, 1, most), (2, 9, 1), (3, 3, 5), (4, 4, -6)),), ()), tmp_path / "fine")
    assert fine["error"] == "NUMERIC_OVERFLOW"  # the row at 4 sees most + 5
    fine = both_say(World(task, (table_of((1, 1, most), (2, 9, 1), (3, 3, -1), (4, 4, 7)),), ()), tmp_path / "hidden")
    assert [row["g__sum"] for row in fine["rows"]] == ["0", str(most), str(most), str(most - 1)]


def test_arrivals_of_records_never_run_back(tmp_path):
    """The arrival of a record is the latest log time of its partition so far: it agrees with the offset, whatever a clock did."""
    kinds = {"who": TEXT, "units": INT}
    times = [(1, 5), (2, 3), (3, 4)]  # the clock of the log went back after the first record
    stored = tuple(Stored("tx", 0, "tx", {"event_id": f"e{at}", "at": START + at * SECOND, "who": "a", "units": 1}, kinds,
                          log_us=START + log * SECOND) for at, log in times)
    found = both_say(World(task_of(call("n", LIFETIME, "count")), (Archive(stored),), ()), tmp_path)
    assert [row["g__n"] for row in found["rows"]] == ["0", "1", "2"]


def hold_together(seed, batch=None, monkeypatch=None):
    """Both engines say the same of the late world of a seed, bit for bit."""
    if monkeypatch is not None:
        monkeypatch.setattr(arrivals, "_MOST", batch)
    world = draw_late_world(seed)
    with tempfile.TemporaryDirectory() as folder:
        both = world.write(Path(folder))
        expected, found = (tell(engine, world.task, *both, Path(folder)) for engine in (OracleEngine(), LocalEngine()))
    for part in expected | found:
        assert found.get(part) == expected.get(part), f"seed {seed}: {part}"
    return expected.get("hidden", 0)


def test_engines_agree_on_late_worlds(monkeypatch):
    """Every bit of every row, and how many rows have hidden events, however few worlds are computed at once."""
    assert sum(hold_together(seed) for seed in range(5)) > 0
    for seed in range(25, 27):
        hold_together(seed, 3, monkeypatch)
    monkeypatch.setattr(arrivals, "_WORTH", -1)  # worlds are shared, however small they are
    for seed in range(33, 35):
        hold_together(seed)


@pytest.mark.long
def test_engines_agree_on_late_worlds_at_length():
    """2,000 worlds, half of them with worlds that rows share."""
    assert sum(hold_together(seed) for seed in range(100, 1100)) > 500
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrivals, "_WORTH", -1)
        assert sum(hold_together(seed) for seed in range(1100, 2100)) > 500


def on_time(world):
    """The same world, whose events arrive as they happen."""
    tables = tuple(replace(table, columns={**table.columns, ARRIVED: TIME}, rows=tuple({**row, ARRIVED: row["at"]} for row in table.rows))
                   for table in world.events)
    return replace(world, events=tables, task=replace(world.task, visibility="arrival"))


def test_what_arrives_as_it_happens_is_seen_as_it_happened(tmp_path):
    """Where nothing is late, both visibilities give one dataset."""
    def is_named(item):  # a row without an id is named by its file, which has one more column here
        return isinstance(item, Table) and "event_id" in item.columns

    worlds = [world for world in map(draw_world, range(60)) if all(map(is_named, world.events))][:6]
    for number, world in enumerate(worlds):
        told = []
        for one in (world, on_time(world)):
            folder = tmp_path / f"{number}-{one.task.visibility}"
            folder.mkdir()
            events, labels = one.write(folder)
            told.append(tell(LocalEngine(), one.task, events, labels, folder))
        assert {part: told[1].get(part) for part in ("rows", "leaves", "error")} == {
            part: told[0].get(part) for part in ("rows", "leaves", "error")}


def test_nothing_that_arrives_later_changes_a_row(tmp_path):
    """Events may be added that happened at any time: rows that arrived before them stay, to the bit (R17)."""
    features = [call("n", LIFETIME, "count"), call("sum", LAST_5S, "sum", "units"), call("most", LAST_5S, "max", "units"),
                call("kinds", LIFETIME, "distinct", "units"), call("before", LIFETIME, "previous", "units")]
    rows = [(number % 7 + number / 100, number % 7 + number / 100 + number % 3, number % 5) for number in range(30)]
    later = [(number % 7, 50 + number, 99) for number in range(10)]
    told = []
    for name, held in (("before", rows), ("after", [*rows, *later])):
        (tmp_path / name).mkdir()
        told.append({row["event_id"]: row for row in both_say(World(task_of(*features), (table_of(*held),), ()), tmp_path / name)["rows"]})
    assert {name: told[1][name] for name in told[0]} == told[0]


def test_an_archive_always_knows_arrival(tmp_path):
    """Records bring the log's own time."""
    write_archive(tmp_path, [archived(f"e{at}", START + at, {"who": "a"}, topic="tx", offset=at, log_us=START) for at in range(3)])
    assert ArchiveSource({"tx": ArchiveMapping(tmp_path)}).pin("tx").knows_arrival
