"""Which events become rows: dispositions in their order, targets, coverage, splits, cold rows, samples."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from offline_feature_plane.domain.closure import Aggregation, Closure, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.rows import LabelTask, Sampling, Split, Target, Task
from offline_feature_plane.domain.sampling import keeps
from offline_feature_plane.engines.local.events import Events, Values
from offline_feature_plane.engines.local.history.places import Memory
from offline_feature_plane.engines.local.history.rows import KeptRows
from offline_feature_plane.engines.local.labels import STATUSES, ResolvedType
from offline_feature_plane.engines.local.selection import UNKNOWN, select_rows
from offline_feature_plane.errors import RowAccountingBroken
from offline_feature_plane.ports import ReplayFacts

INT, TEXT = ColumnType("int64"), ColumnType("string")
TX = Source("tx", ("tx",), (Field("amount", INT, ("amount",), nullable=True), Field("who", TEXT, ("who",))))
LOGIN = Source("login", ("login",), ())
SPEND = Group("g", "v1", "tx", ("who",), None, False, 2, "skip",
              (Feature("g__n_5", Aggregation("count"), Window("sliding", "5", 5), INT),
               Feature("g__n", Aggregation("count"), Window("lifetime", "lifetime"), INT)))
CLOSURE = Closure("p", "1", "s", "v1", (TX, LOGIN), (SPEND,), (), ())
TARGET = Target("fraud", ("F",), None, "exclude")
TASK = Task("run", (), CLOSURE, "tx", None, (), LabelTask(100, "latest_observed.v1", ("fraud",)), TARGET, None, "allow", (), None)


def make_events(ts, *, source=None, amount=None):
    """Events with ids 0, 1, … of customers a and b in turn."""
    n = len(ts)
    who = Values(TEXT, (np.arange(n) % 2).astype(np.int32), None, pa.array(["a", "b"]))
    known = None if amount is None else np.array([value is not None for value in amount])
    amounts = np.array([value or 0 for value in amount or [1] * n], np.int64)
    return Events(n, np.array(ts, np.int64), np.array(source or [0] * n, np.int8), pa.chunked_array([pa.array(range(n), pa.int64())]), INT,
                  {("tx", "amount"): Values(INT, amounts, known), ("tx", "who"): who})


def make_labels(text):
    """One letter per event: F and L resolved, . not found, ! in conflict."""
    values = "FLO"
    status = np.array([STATUSES.index({".": "NOT_FOUND", "!": "CONFLICT"}.get(letter, "RESOLVED")) for letter in text], np.int8)
    codes = np.array([values.find(letter) for letter in text], np.int32)
    nothing = np.full(len(text), -1, np.int32)
    return {"fraud": ResolvedType("fraud", status, codes, pa.array(list(values)), np.zeros(len(text), np.int64), nothing,
                                  pa.array([], pa.string()), None)}


def select(events, task, labels=None, **dropped):
    """Select with labels in short; every event resolved L if none are given."""
    facts = ReplayFacts(events.n + sum(dropped.values()), events.n, dropped, "", None, None, INT)
    kept = KeptRows(Memory(), events.n)
    counts = select_rows(events, task, lambda *_: make_labels(labels or "L" * events.n), facts, kept)
    return SimpleNamespace(facts=counts, **vars(kept.within(0, events.n)))


def counted(selected):
    """The dispositions that were given."""
    return {name: count for name, count in selected.facts.accounting.items() if count}


def test_the_first_disposition_that_applies_wins():
    """Every coordinate is counted once, under the first reason in the order of D18, and the reasons sum to what was read.

    event  0        1        2      3          4         5      6          7         8    9
    ts     0        10       11     12         30        44     45         46        47   60
           row      context  where  unknown    no split  row    unlabeled  conflict  row  immature
           └────────── split a ──────────┘              └──────────────── split b ──────────────┘
    """
    events = make_events([0, 10, 11, 12, 30, 44, 45, 46, 47, 60], source=[0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
                         amount=[1, None, 0, None, 1, 1, 1, 1, 1, 1])
    task = replace(TASK, where=parse("amount > 0", {"amount": INT}), splits=(Split("a", 0, 20), Split("b", 40, 61)),
                   labels=replace(TASK.labels, maturity_us=50))
    selected = select(events, task, "F..!FF.!FL", duplicate=2, undecodable=1)
    assert counted(selected) == {"undecodable": 1, "duplicate": 2, "context": 1, "where": 2, "outside_splits": 1, "immature": 1,
                                 "unlabeled": 1, "label_conflict": 1, "row": 3}
    assert selected.positions.tolist() == [0, 5, 8]
    assert selected.facts.coverage == {"fraud": {"subjects": 5, "resolved": 3, "not_found": 1, "conflict": 1}}
    assert selected.facts.splits == {"a": {"rows": 1, "positive": 1, "negative": 0, "unknown": 0, "cold": 1},
                                     "b": {"rows": 2, "positive": 2, "negative": 0, "unknown": 0, "cold": 0}}


def test_accounting_that_does_not_add_up_is_refused():
    """An engine never reports rows that it cannot account for."""
    facts = ReplayFacts(5, 2, {"duplicate": 1}, "", None, None, INT)
    with pytest.raises(RowAccountingBroken, match="3 dispositions were counted for 5"):
        select_rows(make_events([0, 1]), TASK, lambda *_: make_labels("LL"), facts, KeptRows(Memory(), 2))


@pytest.mark.parametrize(("unlabeled", "negative", "targets"), [
    ("exclude", None, {0: 1, 1: 0, 4: 0}), ("refuse", None, {0: 1, 1: 0, 4: 0}), ("exclude", ("L",), {0: 1, 1: 0}),
    ("negative_when_mature", ("L",), {0: 1, 1: 0, 2: 0})])
def test_labels_become_targets(unlabeled, negative, targets):
    """Positive values are 1; all others, or the stated ones, are 0; unknown rows leave unless a mature silence means negative."""
    selected = select(make_events(range(5)), replace(TASK, target=replace(TARGET, unlabeled=unlabeled, negative=negative)), "FL.!O")
    assert dict(zip(selected.positions.tolist(), selected.target.tolist(), strict=True)) == targets


def test_maturity_is_inclusive_and_marked_rows_stay():
    """Mature iff ts ≤ as_of − maturity; immature rows kept by `mark` never leave for their label, and are unknown without one.

    ──────90─────────91─────92─────93──▶  as_of 100, maturity 10
        mature │ immature
    """
    marked = replace(TASK, labels=replace(TASK.labels, maturity_us=10, immature="mark"),
                     target=replace(TARGET, unlabeled="negative_when_mature"))
    selected = select(make_events([90, 91, 92, 93]), marked, ".F.!")
    assert selected.mature.tolist() == [True, False, False, False]
    assert selected.target.tolist() == [0, 1, UNKNOWN, UNKNOWN]
    assert selected.facts.coverage["fraud"] == {"subjects": 1, "resolved": 0, "not_found": 1, "conflict": 0}


def test_without_a_target_no_row_leaves_for_its_label():
    """Labels are shown then, not judged."""
    assert counted(select(make_events(range(3)), replace(TASK, target=None), "F.!")) == {"row": 3}


def test_cold_rows_are_those_whose_deepest_finite_window_begins_before_history():
    """T − (delay + length) < history start is cold; a lifetime window never is (D19).

    history from 3 (declared) or 0 (first event); reach 2 + 5 = 7
    ──0────────7────────10──▶
      cold │ warm from 7  │ warm from 10 if history starts at 3
    """
    events = make_events([0, 6, 7, 9, 10])
    assert select(events, replace(TASK, cold_rows="mark")).cold.tolist() == [True, True, False, False, False]
    declared = replace(TASK, cold_rows="exclude", history_start_us=(("tx", 3),))
    assert counted(select(events, declared)) == {"cold": 4, "row": 1}
    lifetime = replace(CLOSURE, groups=(replace(SPEND, features=SPEND.features[1:]),))
    assert not select(events, replace(TASK, closure=lifetime)).cold.any()


def test_history_of_a_source_without_events_misses_nothing():
    """Where a source has no event at all there is nothing that a window could have missed."""
    groups = (replace(SPEND, source="login"),)
    assert not select(make_events([0, 1]), replace(TASK, closure=replace(CLOSURE, groups=groups))).cold.any()


def test_samples_keep_by_class_and_weigh():
    """Each class is kept at its rate by the unit's own draw, comes last, and weighs 1/rate; a class without a rate is whole."""
    events, text = make_events(range(200)), "FL" * 100
    selected = select(events, replace(TASK, sampling=Sampling("s", (("negative", "0.25"),))), text)
    expected = [unit for unit in range(200) if text[unit] == "F" or keeps("s", str(unit), "0.25")]
    assert selected.positions.tolist() == expected
    assert counted(selected) == {"row": len(expected), "sampled_out": 200 - len(expected)}
    assert selected.weight.tolist() == [1.0 if text[unit] == "F" else 4.0 for unit in expected]


def test_samples_by_a_value_keep_whole_units():
    """With `by:` all rows of a unit share its fate, and a null unit has one too."""
    events = make_events(range(60), amount=[None, 1, 2] * 20)
    selected = select(events, replace(TASK, sampling=Sampling("t", (("negative", "0.5"),), "amount")))
    kept = {unit for unit in ("", "1", "2") if keeps("t", unit, "0.5")}
    assert {("", "1", "2")[place % 3] for place in selected.positions.tolist()} == kept
    assert len(selected.positions) == 20 * len(kept)


def test_rows_beyond_the_as_of_are_counted():
    """The plan warns of rows at which online would have known more: those after the label as-of."""
    assert select(make_events([99, 100, 101]), TASK).facts.rows_beyond_asof == 1
