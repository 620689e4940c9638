"""Splits that share no entity: who stands where, whatever labels and samples say (`decisions.md` D17, D18, `docs/decisions/0031`)."""

from dataclasses import replace

import pytest
from two_engines import tell

from offline_feature_plane.domain.closure import Closure, Computed, Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.rows import LabelTask, Sampling, Split, Target, Task
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.testing.drawing import draw_apart_world
from offline_feature_plane.testing.worlds import INT, SECOND, START, TEXT, Labels, Table, World

TIME = ColumnType("timestamp")
WHO = Field("who", TEXT, ("who",), nullable=True)
UNITS = Field("units", INT, ("units",))
SCOPE = {"who": TEXT, "units": INT, "ts": TIME}
CLOSURE = Closure("p", "1", "s", "v1", (Source("tx", ("tx",), (WHO, UNITS)),), (), (Computed("who", parse("who", SCOPE), TEXT),), ())
SPLITS = tuple(Split(name, START + start * SECOND, START + end * SECOND) for name, start, end in (
    ("train", 0, 10), ("tune", 10, 20), ("test", 25, 40)))
TASK = Task("worlds", (), CLOSURE, "tx", None, SPLITS, LabelTask(START + 99 * SECOND, "latest_observed.v1", ()), None, None, "allow", (),
            None, disjoint_by="who")


def events_of(*rows):
    """A table of (second, who, units)."""
    held = tuple({"event_id": number, "at": START + at * SECOND, "who": who, "units": units}
                 for number, (at, who, units) in enumerate(rows))
    return (Table("tx", "parquet", {"event_id": INT, "at": TIME, "who": TEXT, "units": INT}, held, INT),)


def said(world, folder):
    """What both engines say, which is one thing."""
    events, labels = world.write(folder)
    expected, found = (tell(engine, world.task, events, labels, folder) for engine in (OracleEngine(), LocalEngine()))
    assert found == expected
    return found


def test_an_entity_stands_in_its_first_split(tmp_path):
    """Rows stay in the split of an entity's first candidate: neither what lies in no split nor what `where` drops decides; null is one.

    ```
                0       5       10        20    25        40
    anna        ●───────●───────○─────────┼─────○──────────▶    ● row   ○ earlier_split   · where or outside
    ben         ·(where)        ●  ●      ┼     ○
    cleo                        │         · (no split)  ●
    null                        ●         ┼     ○
    ```
    """
    world = World(replace(TASK, where=parse("units > 0", SCOPE)), events_of(
        (0, "anna", 1), (5, "anna", 1), (10, "anna", 1), (26, "anna", 1), (2, "ben", 0), (12, "ben", 1), (13, "ben", 1), (27, "ben", 1),
        (22, "cleo", 1), (30, "cleo", 1), (14, None, 1), (31, None, 1)), ())
    found = said(world, tmp_path)
    assert {name: count for name, count in found["selection"]["accounting"].items() if count} == {
        "where": 1, "outside_splits": 1, "earlier_split": 4, "row": 6}
    assert [(row["who"], row["split"]) for row in found["rows"]] == [
        ("'anna'", "'train'"), ("'anna'", "'train'"), ("'ben'", "'tune'"), ("'ben'", "'tune'"), ("None", "'tune'"), ("'cleo'", "'test'")]


def hold_apart(seed, folder):
    """In the world of a seed no value has rows in two splits, both engines agree, and every row would be one without `disjoint_by`."""
    world = draw_apart_world(seed)
    by = world.task.disjoint_by
    kind = next(field.type for field in world.task.closure.source("tx").fields if field.name == by)
    shown = Computed("entity", parse(by, {by: kind}), kind)
    task = replace(world.task, token_key=None, closure=replace(world.task.closure, groups=(), row_features=(shown,), derived=()))
    found = said(replace(world, task=task), folder / "apart")
    if "error" in found:
        return
    stood = {}
    for row in found["rows"]:
        stood.setdefault(row["entity"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in stood.values()), f"seed {seed}"
    shared = said(replace(world, task=replace(task, disjoint_by=None)), folder / "shared")
    assert {row["event_id"]: row for row in found["rows"]}.items() <= {row["event_id"]: row for row in shared["rows"]}.items()


@pytest.mark.parametrize("seed", range(4))
def test_no_entity_stands_in_two_splits(tmp_path, seed):
    """Whatever ties, repeats, nulls, conditions, labels and samples a world has: an entity's rows are in one split, and no row is new."""
    hold_apart(seed, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10_000, 10_300))
def test_no_entity_stands_in_two_splits_of_many_worlds(tmp_path, seed):
    """As above, three hundred worlds."""
    hold_apart(seed, tmp_path)


@pytest.mark.parametrize("change", [
    {"labels": LabelTask(START + 99 * SECOND, "latest_observed.v1", (), 87 * SECOND)},
    {"sampling": Sampling("s", (("unlabeled", "0.3"),))}])
def test_labels_and_samples_move_no_entity(tmp_path, change):
    """What drops rows after splits are known leaves every entity in its split, also if no row of it is left there."""
    rows = [(second, who, 1) for second in range(40) for who in "abcdefg" if (second * 7 + ord(who)) % 11 < 3]
    world = World(TASK, events_of(*rows), ())
    before, after = (said(one, tmp_path / name) for name, one in (
        ("before", world), ("after", replace(world, task=replace(TASK, **change)))))
    assert before["selection"]["accounting"]["earlier_split"] == after["selection"]["accounting"]["earlier_split"] > 0
    stood = {row["event_id"]: row["split"] for row in before["rows"]}
    assert {row["event_id"]: row["split"] for row in after["rows"]}.items() <= stood.items()
    assert len(after["rows"]) <= len(stood)


def test_coverage_counts_what_is_left(tmp_path):
    """Gates judge the rows that could be: an event of an earlier split's entity is no subject of coverage."""
    target = Target("fraud", ("FRAUD",), None, "exclude")
    task = replace(TASK, target=target, labels=replace(TASK.labels, types=("fraud",)))
    kinds = {"event": INT, "value": TEXT, "observed": TIME, "effective": TIME, "source": TEXT, "id": TEXT, "supersedes": TEXT}
    told = tuple({"event": number, "value": "FRAUD", "observed": START + 50 * SECOND, "effective": START, "source": "HUMAN",
                  "id": f"a{number}", "supersedes": None} for number in (0, 1))
    labels = (Labels("fraud", Table("fraud", "parquet", kinds, told)),)
    world = World(task, events_of((1, "anna", 1), (11, "anna", 1), (12, "ben", 1)), labels)
    assert said(world, tmp_path)["selection"]["coverage"] == {"fraud": {"subjects": 2, "resolved": 1, "not_found": 1, "conflict": 0}}
