"""Known then and known now in one dataset: a split may have an as-of of its own (record 0034).

──[──── learned ────)[──────── judged ──┼───────────)──────────────────────────┤
then                                   now
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from golden_worlds import golden_world
from two_engines import tell

from offline_feature_plane.corridor.cohorts import count_lags
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.local.sizes import Sizes
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.ports.cohorts import COHORTS
from offline_feature_plane.testing.drawing import draw_judged_world
from offline_feature_plane.testing.worlds import ARRIVED, SECOND, World

SEVEN_CASES = Path(__file__).parent.parent / "golden" / "features" / "known_then.yaml"
FEW = Sizes(block=2, run_rows=2, ids=3, merge_total=8, index=2, data=2_000, in_files=True)


def told(world, folder, engine=None):
    """What an engine says of a world; unnamed, what the oracle and the local engine say, which is one thing."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        events, labels = world.write(Path(name))
        if engine is not None:
            return tell(engine, world.task, events, labels, Path(name))
        expected, found = (tell(one, world.task, events, labels, Path(name)) for one in (OracleEngine(), LocalEngine()))
    for part in expected | found:
        assert found.get(part) == expected.get(part), part
    return found


def asked_as_of(task: Task, asof_us, names) -> Task:
    """The task as it was before splits had as-ofs: one for all, and only some of the splits."""
    splits = tuple(replace(split, asof_us=None) for split in task.splits if split.name in names)
    return replace(task, splits=splits, labels=replace(task.labels, asof_us=asof_us))


def rows_in(said, names):
    """The rows of some splits, by event."""
    return {row["event_id"]: row for row in said["rows"] if row["split"] in {repr(name) for name in names}}


@pytest.mark.parametrize("engine", [None, LocalEngine(FEW)], ids=["memory", "files"])
def test_the_seven_cases(tmp_path, engine):
    """The world that was derived by hand, in memory and over files: seven of its eight assertions are in the slice.

    seconds  10  20  30  50   60  70   100  110 115 120   150   200 201
             1   2   3   )[   4   5   then  6   7   )           now
    """
    said = told(golden_world(SEVEN_CASES), tmp_path, engine)
    rows = {int(row["event_id"]): row for row in said["rows"]}
    assert {number: (row["fraud__value"], row["target"], row["use__bad_lifetime"]) for number, row in rows.items()} == {
        1: ("'YES'", "1", "0"), 2: ("None", "0", "0"), 3: ("'YES'", "1", "0"), 4: ("'YES'", "1", "0"), 5: ("'NO'", "0", "0"),
        6: ("None", "0", "3"), 7: ("None", "0", "3")}
    facts = said["labels"]["per_type"]["fraud"]
    assert (facts["assertions_eligible"], facts["assertions_after_asof"]) == (7, 1)
    assert (facts["subjects_resolved"], facts["values"]) == (4, {"NO": 1, "YES": 3})
    meant = {column.name: (column.meaning, column.availability) for column in said["columns"]}
    assert meant["fraud__value"] == ("what holds at the as-of of the row's split", "at the label as-of of the row's split")


def hold(seed, folder):
    """In the judged world of a seed both engines agree, and each split is what a dataset with one as-of would hold of it.

    Rows are compared cell by cell. The error of one build may be no error of the other, which reads less or has other rows.
    """
    world = draw_judged_world(seed)
    said = told(world, folder)
    parts = {}
    for split in world.task.splits:
        parts.setdefault(split.asof_us, []).append(split.name)
    if "error" in said:
        return 0
    for own, names in parts.items():
        asof_us = world.task.labels.asof_us if own is None else own
        # Who stands where is decided by all splits, so the later ones need the earlier ones; what is learned needs nobody.
        kept = names if own is None else [split.name for split in world.task.splits]
        alone = told(replace(world, task=asked_as_of(world.task, asof_us, kept)), folder, LocalEngine())
        if "error" not in alone:
            assert rows_in(alone, names) == rows_in(said, names), f"seed {seed}: {names}"
    return len(said["rows"])


def test_a_split_is_what_a_dataset_with_its_as_of_holds(tmp_path):
    """Drawn worlds, with late events, several types, marks and samples: training rows know nothing of later, and judged ones all of it."""
    assert sum(hold(seed, tmp_path) for seed in range(3)) > 12


@pytest.mark.long
@pytest.mark.parametrize("start", range(1_000, 3_000, 50))
def test_a_split_is_what_a_dataset_with_its_as_of_holds_at_length(tmp_path, start):
    """As above, two thousand worlds, each from files of a few events too."""
    for seed in range(start, start + 50):
        hold(seed, tmp_path)
        world = draw_judged_world(seed)
        assert told(world, tmp_path, LocalEngine(FEW)) == told(world, tmp_path, LocalEngine()), f"seed {seed}"


@pytest.mark.parametrize("seed", range(5_200, 5_202))
def test_files_say_what_memory_says(tmp_path, seed):
    """Out of core too every event has its own as-of."""
    world = draw_judged_world(seed)
    assert told(world, tmp_path, LocalEngine(FEW)) == told(world, tmp_path, LocalEngine())


@pytest.mark.parametrize("engine", [None, LocalEngine(FEW)], ids=["memory", "files"])
def test_who_arrives_after_the_as_of_of_its_split_sees_labels_until_then(tmp_path, engine):
    """Where rows see what had arrived, they see labels up to their arrival, and no later than their own as-of.

    seconds         30          60        90   then   150  160        now
    about 1, 2, 3                         1 3         2
    row 3, train    ●─────────────────────────|────────────▶ arrives: it sees 1
    row 4, test                 ●──────────────────────────▶ arrives: it sees 1 and 2, and that 3 was taken back
    """
    world = golden_world(SEVEN_CASES)
    late = {3: 160 * SECOND, 4: 160 * SECOND}
    (table,) = world.events
    arriving = replace(table, columns={**table.columns, ARRIVED: ColumnType("timestamp")},
                       rows=tuple({**row, ARRIVED: late.get(row["event_id"], row["at"])} for row in table.rows))
    said = told(replace(world, events=(arriving,), task=replace(world.task, visibility="arrival")), tmp_path, engine)
    rows = {int(row["event_id"]): (row["use__bad_lifetime"], row["use__gone_lifetime"]) for row in said["rows"]}
    assert (rows[3], rows[4], rows[5]) == (("1", "0"), ("2", "1"), ("0", "0"))


def one_more(world: World, label_type, row) -> World:
    """The world with one more assertion."""
    labels = tuple(replace(one, table=replace(one.table, rows=(*one.table.rows, row))) if one.label_type == label_type else one
                   for one in world.labels)
    return replace(world, labels=labels)


@pytest.mark.parametrize(("observed", "rows_change", "slice_changes"), [(99, True, True), (150, False, True), (201, False, False)])
def test_what_is_learned_does_not_change_with_what_becomes_known_later(tmp_path, observed, rows_change, slice_changes):
    """A label of a training event changes its row iff it was known then, and the slice iff it is known now.

    then (100) ──── a label of event 2 at 150 ──── now (200) ──── or at 201
    """
    world = golden_world(SEVEN_CASES)
    more = one_more(world, "fraud", {"event": 2, "value": "YES", "observed": observed * SECOND, "effective": observed * SECOND,
                                     "source": "EXTERNAL", "id": "c2", "supersedes": None})
    before, after = told(world, tmp_path), told(more, tmp_path)
    assert (rows_in(before, ["train"]) != rows_in(after, ["train"])) is rows_change
    assert (before["labels"]["slice_digest"] != after["labels"]["slice_digest"]) is slice_changes
    assert (before["labels"]["sketches"] != after["labels"]["sketches"]) is slice_changes


def test_inconsistent_labels_of_the_time_between_are_refused(tmp_path):
    """A cycle of supersession that only the later as-of sees refuses the build: the slice holds it."""
    world = golden_world(SEVEN_CASES)
    for label_id, replaced in (("c2", "d2"), ("d2", "c2")):
        world = one_more(world, "fraud", {"event": 2, "value": "YES", "observed": 150 * SECOND, "effective": 150 * SECOND,
                                          "source": "EXTERNAL", "id": label_id, "supersedes": replaced})
    assert told(world, tmp_path)["error"] == "LABEL_TIMELINE_INCONSISTENT"
    assert "error" not in told(replace(world, task=asked_as_of(world.task, 100 * SECOND, ["train"])), tmp_path)


def test_lags_are_measured_where_they_had_time_to_come():
    """Old enough for slow labels is an event by the as-of of its own split.

    day          5    9 │ 10    19 │ 20
    in no split  ●    ● │ ○        │        ○ too young: their split's as-of is not late enough
    judged       ●        ●     ●  │ ○
    """
    cells = pa.Table.from_pylist([
        {"label_type": "fraud", "split": split, "day": day, "mature": True, "status": "RESOLVED", "lag_days": 1, "events": events}
        for split, day, events in ((None, 5, 1), (None, 9, 2), (None, 10, 4), ("judged", 5, 8), ("judged", 10, 16), ("judged", 19, 32),
                                   ("judged", 20, 64))], COHORTS)
    assert count_lags(cells, "fraud", before_day=10, later={"judged": 20}) == {1: 1 + 2 + 8 + 16 + 32}
    assert count_lags(cells, "fraud", before_day=10) == {1: 1 + 2 + 8}


def test_every_event_has_the_as_of_of_its_split():
    """Half-open ranges: the as-of changes at the first instant of a split, and back at its end; outside it is the intent's."""
    task = golden_world(SEVEN_CASES).task
    assert [task.labels_at(second * SECOND).asof_us // SECOND for second in (0, 49, 50, 119, 120, 500)] == [100, 100, 200, 200, 100, 100]
    assert (task.latest_asof_us // SECOND, task.has_evaluation_splits) == (200, True)
