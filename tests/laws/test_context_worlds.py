"""Contexts: which event a row is joined with, and which rows have none (`docs/decisions/0043`)."""

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from two_engines import SMALL, hold_together, tell

from offline_feature_plane.domain.closure import Aggregation, Closure, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.rows import LabelTask, Sampling, Split, Target, Task
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.testing.drawing_contexts import draw_context_world
from offline_feature_plane.testing.worlds import ARRIVED, INT, SECOND, START, TEXT, Labels, Table, World

TIME = ColumnType("timestamp")
ALWAYS = Window("lifetime", "lifetime")
WHO, UNITS = Field("who", TEXT, ("who",), nullable=True), Field("units", INT, ("units",))
TIER = Field("tier", TEXT, ("tier",), nullable=True)
PAYMENT, HOLDER = Source("payment", ("payment",), (WHO, UNITS)), Source("holder", ("holder",), (WHO, TIER))


@pytest.mark.parametrize("seed", range(5))
def test_engines_agree_on_contexts(seed):
    """Whatever ties, delays, arrivals, spines and conditions a world has: the same rows lack the same contexts, and have equal values."""
    hold_together(draw_context_world(seed), seed)


def test_missing_contexts_are_drawn_and_so_are_rows():
    """The worlds of these laws have rows that lack a context beside rows that have it."""
    told = []
    for world in map(draw_context_world, range(20, 26)):
        with tempfile.TemporaryDirectory() as folder:
            found = tell(OracleEngine(), world.task, *world.write(Path(folder)), Path(folder))
        told += [found["selection"]["accounting"]] if "error" not in found else []
    assert any(one["missing_context"] and one["row"] for one in told)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10_000, 10_300))
def test_engines_agree_on_many_contexts(seed):
    """As above, three hundred worlds."""
    hold_together(draw_context_world(seed), seed)


@pytest.mark.parametrize("seed", [3, 16, 180])
def test_what_is_demanded_only_narrows(tmp_path, seed):
    """Where contexts are demanded, the rows are those of the same world that demands none, unchanged, without some; none of them is new."""
    world = draw_context_world(seed)
    closure, told = world.task.closure, []
    free = tuple(group if group.context is None else replace(group, context="null") for group in closure.groups)
    for name, groups in (("demanded", closure.groups), ("free", free)):
        task = replace(world.task, closure=replace(closure, groups=groups))
        events, labels = world.write(tmp_path / name)
        told.append(tell(LocalEngine(), task, events, labels, tmp_path / name))
    demanded, everything = ({row["event_id"]: row for row in one["rows"]} for one in told)
    assert demanded.items() < everything.items()
    lost = told[0]["selection"]["accounting"]["missing_context"]
    assert lost >= len(everything) - len(demanded) > 0
    assert told[0]["selection"]["coverage"] == told[1]["selection"]["coverage"]


def context(*, window=ALWAYS, missing="drop", delay=0, where=None, source=HOLDER, field="tier", name="holder"):
    """A context `holder` by `who`, of one field."""
    scope = {one.name: one.type for one in source.fields}
    taken = Feature(f"{name}__{field}", Aggregation("last", field), window, source.field(field).type)
    chosen = parse(where, scope) if where else None
    return Group(name, "v1", source.name, ("who",), chosen, False, delay * SECOND, "skip", (taken,), missing)


def said(folder, payments, holders, *contexts, late=None, **changes):
    """What all engines say of payments (second, who) and holders (second, who, tier): the rows' ids and tiers, and what was left out.

    `late` has the seconds between event and arrival: of payments, then of holders.
    """
    arrived = {} if late is None else {ARRIVED: TIME}

    def rows(many, names, delays):
        return tuple({"event_id": number, "at": START + at * SECOND, **dict(zip(names, rest, strict=True)), "units": at,
                      **({} if late is None else {ARRIVED: START + (at + delays[number]) * SECOND})}
                     for number, (at, *rest) in enumerate(many))
    tables = (Table("payment", "jsonl", {"event_id": INT, "at": TIME, "who": TEXT, "units": INT, **arrived},
                    rows(payments, ("who",), late and late[0]), INT),
              Table("holder", "jsonl", {"event_id": INT, "at": TIME, "who": TEXT, "tier": TEXT, "units": INT, **arrived},
                    rows(holders, ("who", "tier"), late and late[1]), INT))
    closure = Closure("p", "1", "s", "v1", (PAYMENT, HOLDER), contexts, (), ())
    labels = LabelTask(START + 99 * SECOND, "latest_observed.v1", ())
    task = Task("worlds", (), closure, "payment", None, (), labels, None, None, "mark", (), None,
                "event_time" if late is None else "arrival")
    world = World(replace(task, **{name: one for name, one in changes.items() if name != "labels_told"}), tables,
                  changes.get("labels_told", ()))
    events, labels = world.write(folder)
    expected, *others = (tell(engine, world.task, events, labels, folder / str(number)) for number, engine in enumerate((
        OracleEngine(), LocalEngine(), LocalEngine(SMALL))))
    assert all(found == expected for found in others)
    counts = {name: count for name, count in expected["selection"]["accounting"].items() if count}
    names = [group.features[0].column for group in contexts]
    return [(int(row["event_id"]), *(row[name].strip("'") for name in names)) for row in expected["rows"]], counts, expected


def test_a_row_has_the_latest_that_stood_before_it(tmp_path):
    """Fields are of the latest event of the row's key that stands before it; a row without one is left out and counted; never a row itself.

    ```
      second     1         3     4    5         7
      anna      ○0   gold─■     ●1   silver─■  ●2          ● row   ○ missing_context
      ben            ■                         ○3          ■ of anna, not of ben
    ```
    """
    rows, counts, _ = said(tmp_path, [(1, "anna"), (4, "anna"), (7, "anna"), (7, "ben")], [(3, "anna", "gold"), (5, "anna", "silver")],
                           context())
    assert rows == [(1, "gold"), (2, "silver")]
    assert counts == {"context": 2, "missing_context": 2, "row": 2}


def test_at_one_instant_the_total_order_decides(tmp_path):
    """What happens at a row's very instant is seen if it stands before it in the total order: here `holder` comes before `payment`.

    ```
      second 4   ■ holder    ● payment        one instant; tables are in the order of their names
    ```
    """
    assert said(tmp_path, [(4, "anna")], [(4, "anna", "gold")], context())[0] == [(0, "gold")]
    twice = [(4, "anna", "gold"), (4, "anna", "silver")]
    assert said(tmp_path / "twice", [(4, "anna")], twice, context())[0] == [(0, "silver")]


def test_a_null_field_is_no_missing_context(tmp_path):
    """The latest event counts with what it says: its null is the row's null, not an older value, and the row stays."""
    rows, counts, _ = said(tmp_path, [(4, "anna")], [(1, "anna", "gold"), (2, "anna", None)], context())
    assert rows == [(0, "None")]
    assert counts == {"context": 2, "row": 1}


def test_missing_null_keeps_the_row(tmp_path):
    """`missing: null` leaves the columns null and the row in its place; a row without a key has no context either."""
    rows, counts, _ = said(tmp_path, [(0, "anna"), (4, "anna"), (5, None)], [(1, "anna", "gold")], context(missing="null"))
    assert rows == [(0, "None"), (1, "gold"), (2, "None")]
    assert counts == {"context": 1, "row": 3}


def test_what_is_too_old_is_missing(tmp_path):
    """`within` ends the reach of a context, its far end open; a delay lets a row see only what is at least so old.

    ```
      second    1     3     5     7
               ■           ●0  ( 1, 5 ]: open, missing      within 4s
                     ■     ●
    ```
    """
    short = context(window=Window("sliding", "4s", 4 * SECOND))
    assert said(tmp_path, [(5, "anna")], [(1, "anna", "gold")], short)[1] == {"context": 1, "missing_context": 1}
    assert said(tmp_path / "near", [(5, "anna")], [(2, "anna", "gold")], short)[0] == [(0, "gold")]
    late = context(delay=2)
    assert said(tmp_path / "late", [(5, "anna"), (6, "anna")], [(3, "anna", "gold"), (4, "anna", "new")], late)[0] == [
        (0, "gold"), (1, "new")]


def test_by_arrival_only_what_had_arrived(tmp_path):
    """Under `visibility: arrival` a context that arrived after the row is not there for it, and the row is counted as seeing less.

    ```
      happened   gold 1 ──── silver 2 ──── ● 4        silver arrives at 9: the row has gold
    ```
    """
    rows, counts, told = said(tmp_path, [(4, "anna"), (5, "ben")], [(1, "anna", "gold"), (2, "anna", "silver"), (3, "ben", "tin")],
                              context(), late=((0, 0), (0, 7, 6)))
    assert rows == [(0, "gold")]
    assert counts == {"context": 3, "missing_context": 1, "row": 1}
    assert told["hidden"] == 1


def test_several_contexts_are_demanded_together(tmp_path):
    """A row needs every context that is demanded; one of its own source is the row's predecessor, so that the first of each key drops."""
    before = context(source=PAYMENT, field="units", name="before")
    rows, counts, _ = said(tmp_path, [(2, "anna"), (4, "anna"), (5, "ben"), (6, "ben")], [(1, "anna", "gold")], context(), before)
    assert rows == [(1, "gold", "2")]
    assert counts == {"context": 1, "missing_context": 3, "row": 1}


def test_a_condition_chooses_among_contexts(tmp_path):
    """`where` leaves out context events before the latest is taken."""
    rows, _, _ = said(tmp_path, [(5, "anna")], [(1, "anna", "gold"), (2, "anna", "tin")], context(where="tier != 'tin'"))
    assert rows == [(0, "gold")]


def test_missing_context_comes_after_labels_and_before_the_sample(tmp_path):
    """First match wins: what has no label is unlabeled though it lacks its context, too; coverage counts it; samples draw from the rest."""
    kinds = {"event": INT, "value": TEXT, "observed": TIME, "effective": TIME, "source": TEXT, "id": TEXT, "supersedes": TEXT}
    told = tuple({"event": number, "value": "FRAUD", "observed": START + 50 * SECOND, "effective": START, "source": "HUMAN",
                  "id": f"a{number}", "supersedes": None} for number in (1, 2))
    changes = {"target": Target("fraud", ("FRAUD",), None, "exclude"), "sampling": Sampling("s", (("positive", "0"),)),
               "labels": LabelTask(START + 99 * SECOND, "latest_observed.v1", ("fraud",)),
               "labels_told": (Labels("fraud", Table("fraud", "parquet", kinds, told)),)}
    _, counts, found = said(tmp_path, [(1, "anna"), (2, "anna"), (5, "anna")], [(4, "anna", "gold")], context(), **changes)
    assert counts == {"context": 1, "unlabeled": 1, "missing_context": 1, "sampled_out": 1}
    assert found["selection"]["coverage"] == {"fraud": {"subjects": 3, "resolved": 2, "not_found": 1, "conflict": 0}}


def test_contexts_make_no_row_cold(tmp_path):
    """The latest event is the latest whatever lay before the known history: only windows that summarise make rows cold."""
    old = context(window=Window("sliding", "90s", 90 * SECOND))
    found = said(tmp_path, [(4, "anna")], [(1, "anna", "gold")], old)[2]
    assert found["rows"][0]["cold"] == "False"


def test_splits_are_of_rows_and_not_of_contexts(tmp_path):
    """A context from before a split is seen by its rows, and one that lies in the split is none of its rows."""
    splits = (Split("train", START + 3 * SECOND, START + 9 * SECOND),)
    rows, counts, _ = said(tmp_path, [(4, "anna")], [(1, "anna", "gold"), (5, "anna", "tin")], context(), splits=splits)
    assert rows == [(0, "gold")]
    assert Counter(counts) == {"context": 2, "row": 1}
