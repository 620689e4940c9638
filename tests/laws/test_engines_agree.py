"""Two engines, one meaning: the local engine against the oracle, through the same ports, over the same files (R10)."""

import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from two_engines import tell

from offline_feature_plane.domain.aggregations import aggregation_kind
from offline_feature_plane.domain.closure import Aggregation, Closure, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.domain.rows import LabelTask, Split, Task
from offline_feature_plane.domain.window_texts import parse_window
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.testing.drawing import draw_scoped_world, draw_world
from offline_feature_plane.testing.worlds import SECOND, START, Archive, Stored, Table, World

INT, TEXT, TIME = ColumnType("int64"), ColumnType("string"), ColumnType("timestamp")
WHOLE = ColumnType("decimal", 18, 1)


def hold_together(seed):
    """Both engines say the same of the world of a seed, bit for bit."""
    world = draw_world(seed)
    with tempfile.TemporaryDirectory() as folder:
        events, labels = world.write(Path(folder))
        expected = tell(OracleEngine(), world.task, events, labels, Path(folder))
        found = tell(LocalEngine(), world.task, events, labels, Path(folder))
    for part in expected | found:
        assert found.get(part) == expected.get(part), f"seed {seed}: {part}"


def both_say(world, folder):
    """What the two engines say of a world, which is one."""
    events, labels = world.write(folder)
    expected, found = (tell(engine, world.task, events, labels, folder) for engine in (OracleEngine(), LocalEngine()))
    assert found == expected
    return found


def small_world(held, *, where=None, splits=(), kind=INT, function="sum"):
    """Events `tx` with a group by `who` over what lies before, and no labels."""
    fields = (Field("who", TEXT, ("who",)), Field("units", kind, ("units",)))
    kinds, output = {"who": TEXT, "units": kind}, aggregation_kind(function).output(kind)
    group = Group("g", "v1", "tx", ("who",), parse(where, kinds) if where else None, False, 0, "skip", (
        Feature(f"g__{function}", Aggregation(function, "units"), Window("lifetime", "lifetime"), output),))
    closure = Closure("p", "1", "s", "v1", (Source("tx", ("tx",), fields),), (group,), (), ())
    labels = LabelTask(START + 10**9, "latest_observed.v1", ())
    task = Task("worlds", (), closure, "tx", None, splits, labels, None, None, "allow", (), None)
    return World(task, held, ())


def table_of(units, at=None, whos="aaaaaaaa", kind=INT):
    """A table of events with these units, a second apart, numbered from 1."""
    rows = tuple({"event_id": number, "at": START + (number * SECOND if at is None else at), "who": who, "units": value}
                 for number, (value, who) in enumerate(zip(units, whos, strict=False), 1))
    return Table("tx", "jsonl", {"event_id": INT, "at": TIME, "who": TEXT, "units": kind}, rows, INT)


def test_a_condition_that_overflows_is_an_error_whoever_looks(tmp_path):
    """A group's `where` is asked of every event of its source: one that leaves int64 is NUMERIC_OVERFLOW though no row's window holds it.

    ```
    ──●────────────●──▶   the only row is the first event, of another key
      row a        b: units * 4 leaves int64
    ```
    """
    world = small_world((table_of([1, 2**62], whos="ab"),), where="units * 4 > 0", splits=(Split("train", START, START + 2 * SECOND),))
    assert both_say(world, tmp_path) == {"error": "NUMERIC_OVERFLOW"}


@pytest.mark.parametrize(("kind", "most"), [(INT, 2**63 - 1), (WHOLE, 10**18 - 1)])
def test_only_a_final_sum_overflows(tmp_path, kind, most):
    """A row whose window sums beyond int64, or beyond 18 digits, ends the build; sums that no row's window has do not. Means never do."""
    for place, (units, said) in enumerate([
            ([most, 1, 0], "NUMERIC_OVERFLOW"), ([-most, -2, 0], "NUMERIC_OVERFLOW"), ([most - 1, 1, -1, 5], None),
            ([most, -most, most, 0], None), ([most, 1], None)]):
        found = both_say(small_world((table_of(units, kind=kind),), kind=kind), tmp_path / f"sum{place}")
        assert found.get("error") == said
        mean = both_say(small_world((table_of([*units, *units], kind=kind),), kind=kind, function="mean"), tmp_path / f"mean{place}")
        exact = Fraction(sum(units) * 2 - units[-1], (2 * len(units) - 1) * 10**kind.scale)
        assert mean["rows"][-1]["g__mean"] == repr(float(exact))


@pytest.mark.parametrize("delay_days", [0, 40])
def test_windows_of_days_and_months(tmp_path, delay_days):
    """Every kind over months of events, also delayed into periods in which no event is: the local engine says what the oracle says.

    ```
     Oct 1 ──●─●─●── … ──│Nov 4, no midnight│── … ──●─●──▶ Dec        a row's windows end 40 days earlier
    ```
    """
    day = 86_400 * SECOND
    spelled = ["3d", "lifetime", "last_4", "calendar(day, America/Sao_Paulo)", "calendar(week, America/Sao_Paulo)",
               "calendar(month, Asia/Tokyo)", "tumbling(1d)", "tumbling(30d)", "session(8h, max: 5d)", "session(2d, max: 9d)"]
    start = parse_instant("2018-10-01T00:00:00Z")
    rows = tuple({"event_id": number, "at": start + number * 17 * 3_600 * SECOND + number % 7 * 3_600 * SECOND + number // 40 * 9 * day,
                  "who": "aab"[number % 3], "units": number} for number in range(90))
    world = small_world((Table("tx", "jsonl", {"event_id": INT, "at": TIME, "who": TEXT, "units": INT}, rows, INT),))
    group = replace(world.task.closure.groups[0], delay_us=delay_days * day, features=tuple(
        Feature(f"g__{function}_{place}", Aggregation(function, "units"), parse_window(text), INT)
        for place, text in enumerate(spelled) for function in ("sum", "count", "last")))
    task = replace(world.task, closure=replace(world.task.closure, groups=(group,)), cold_rows="mark")
    found = both_say(replace(world, task=task), tmp_path)
    assert len(found["rows"]) == len(rows)


def test_long_offsets_are_one_order(tmp_path):
    """Events of two sources in one partition stand in the order of their offsets, however long these are."""
    rows = [("tx", "e1"), ("login", "e2"), ("tx", "e3"), ("login", "e4")]
    stored = tuple(Stored("bus", 0, kind, {"event_id": name, "at": START, "who": "a", "units": 1}, {"who": TEXT, "units": INT})
                   for kind, name in rows)
    world = small_world((Archive(stored, "jsonl", "kinesis_sequence", 2**70),))
    closure = world.task.closure
    sources = (*closure.sources, replace(closure.sources[0], name="login", event_types=("login",)))
    group = replace(closure.groups[0], source="login")
    task = replace(world.task, closure=replace(closure, sources=sources, groups=(group,)))
    found = both_say(replace(world, task=task), tmp_path)
    assert [(row["event_id"], row["g__sum"]) for row in found["rows"]] == [("'e1'", "0"), ("'e3'", "1")]


def test_numbers_stay_numbers_among_texts(tmp_path):
    """Ids of an integer column order as numbers though other inputs have text ids, and leave as text: 9 before 10 at one instant."""
    texts = Archive((Stored("bus", 0, "tx", {"event_id": "5", "at": START, "who": "a", "units": 1}, {"who": TEXT, "units": INT}),))
    found = both_say(small_world((table_of([1, 10, 100], at=SECOND), texts)), tmp_path)
    assert [row["event_id"] for row in found["rows"]] == ["'5'", "'1'", "'2'", "'3'"]
    found = both_say(small_world((table_of([1] * 12, at=SECOND, whos="a" * 12), texts)), tmp_path / "more")
    assert [row["event_id"] for row in found["rows"]] == ["'5'", *(f"'{number}'" for number in range(1, 13))]


def test_the_type_of_ids_is_the_inputs(tmp_path):
    """An archive makes ids text even where no record of it is an event of the task: the schema does not hang on what data says."""
    noise = Archive((Stored("bus", 0, "noise", {"event_id": "5", "at": START, "who": "a", "units": 1}, {"who": TEXT, "units": INT}),))
    assert both_say(small_world((table_of([1, 2]),)), tmp_path)["columns"][0].type == INT
    assert both_say(small_world((table_of([1, 2]), noise)), tmp_path / "more")["columns"][0].type == TEXT


@pytest.mark.parametrize("seed", [5, 25, 30])
def test_scenario_runs_bound_every_engine(tmp_path, seed):
    """Records of other scenario runs are of a foreign run; of those that are named it is counted how many there are, though it be none."""
    found = both_say(draw_scoped_world(seed), tmp_path)
    assert "error" in found or set(found["replay"]["scenarios"]) == set(draw_scoped_world(seed).task.scenario_run_ids)


def test_the_local_engine_is_the_oracle():
    """Accounting, coverage, splits, label facts, and every bit of every row are what the naive reading of the laws gives."""
    for seed in range(18):
        hold_together(seed)


@pytest.mark.long
def test_the_local_engine_is_the_oracle_at_length():
    """As above, three thousand other worlds."""
    for seed in range(1_000, 4_000):
        hold_together(seed)
