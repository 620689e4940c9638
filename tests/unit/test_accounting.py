"""Every coordinate has one fate, the first that applies, and all of them add up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.accounting import (
    EventFacts,
    answer_of,
    check_accounting,
    count_dispositions,
    dispose,
    is_cold,
    is_mature,
    sampling_class,
    split_of,
    target_of,
)
from offline_feature_plane.domain.closure import Closure, Window
from offline_feature_plane.domain.resolution import CONFLICT, NOT_FOUND, Resolution
from offline_feature_plane.domain.rows import DISPOSITIONS, LabelTask, Split, Target, Task
from offline_feature_plane.errors import RowAccountingBroken

YES, NO, MAYBE = (Resolution("RESOLVED", value, 1, None) for value in ("YES", "NO", "MAYBE"))
TARGET = Target("fraud", ("YES",), ("NO",), "exclude")
TASK = Task("run", (), Closure("p", "r", "s", "v", (), (), (), ()), "pay", None, (), LabelTask(100, "latest_observed.v1", ("fraud",), 10),
            TARGET, None,
            "exclude", (), None)
WORST = EventFacts(unread="null_value", duplicate=True, other_scope=True, is_subject=False, passes_where=False, split=None,
                   in_earlier_split=True, mature=True, answer="unlabeled",
                   cold=True, kept_by_sampling=False)
LADDER = [("null_value", {"unread": None}), ("duplicate", {"duplicate": False}), ("other_scope", {"other_scope": False}),
          ("context", {"is_subject": True}),
          ("where", {"passes_where": True}), ("outside_splits", {"split": "train"}), ("earlier_split", {"in_earlier_split": False}),
          ("unlabeled", {"answer": "conflict"}), ("label_conflict", {"answer": "positive"}),
          ("cold", {"cold": False}), ("sampled_out", {"kept_by_sampling": True}),
          ("row", {})]


def test_the_first_disposition_that_applies_wins():
    """Removing one reason after the other, the dispositions come in the order of D18."""
    facts, found = WORST, []
    for _, cure in LADDER:
        found.append(dispose(facts, TASK))
        facts = replace(facts, **cure)
    assert found == [name for name, _ in LADDER]
    assert [DISPOSITIONS.index(name) for name in found] == sorted(DISPOSITIONS.index(name) for name in found)


@pytest.mark.parametrize(("label", "mature", "immature", "expected"), [
    (YES, True, "exclude", "row"), (NO, True, "exclude", "row"), (MAYBE, True, "exclude", "unlabeled"),
    (NOT_FOUND, True, "exclude", "unlabeled"),
    (CONFLICT, True, "exclude", "label_conflict"), (YES, False, "exclude", "immature"), (CONFLICT, False, "exclude", "immature"),
    (NOT_FOUND, False, "mark", "row"), (MAYBE, False, "mark", "row"), (CONFLICT, False, "mark", "row"),
    (CONFLICT, True, "mark", "label_conflict"),
])
def test_immature_rows_leave_or_stay_whatever_their_label(label, mature, immature, expected):
    """Excluded, an immature row leaves before its label is looked at; marked, it stays whatever its label is (D25)."""
    task = replace(TASK, labels=replace(TASK.labels, immature=immature))
    answer = answer_of({"fraud": label}, TARGET, mature=mature)
    assert dispose(EventFacts(answer=answer, mature=mature), task) == expected


def test_without_a_target_no_row_is_dropped_for_its_label():
    """Labels may be columns only."""
    assert dispose(EventFacts(), replace(TASK, target=None)) == "row"


def test_cold_rows_stay_unless_they_are_excluded():
    """`mark` and `allow` keep them (D19)."""
    assert [dispose(EventFacts(answer="positive", cold=True), replace(TASK, cold_rows=mode)) for mode in ("exclude", "mark",
                                                                                                  "allow")] == ["cold", "row", "row"]


@pytest.mark.parametrize(("label", "unlabeled", "negative", "mature", "expected"), [
    (YES, "exclude", ("NO",), True, 1), (NO, "exclude", ("NO",), True, 0), (MAYBE, "exclude", ("NO",), True, None),
    (MAYBE, "exclude", None, True, 0),
    (NOT_FOUND, "exclude", None, True, None), (NOT_FOUND, "refuse", None, True, None), (NOT_FOUND, "negative_when_mature", None, True, 0),
    (NOT_FOUND, "negative_when_mature", None, False, None), (CONFLICT, "negative_when_mature", None, True, None),
    (NO, "refuse", None, False, 0),
])
def test_what_a_label_means_as_a_target(label, unlabeled, negative, mature, expected):
    """Absence is negative only when mature and said to be; a conflict never has an answer (D24)."""
    found = target_of(answer_of({"fraud": label}, Target("fraud", ("YES",), negative, unlabeled), mature=mature))
    assert found == expected
    assert sampling_class(found) == {1: "positive", 0: "negative", None: "unlabeled"}[expected]


def test_splits_are_half_open():
    """A split holds its start and not its end.

    0        10        20   25      30
    [ train  )[   gap   )   [ test  )
    """
    splits = (Split("train", 0, 10), Split("test", 25, 30))
    assert [split_of(ts, splits) for ts in (-1, 0, 9, 10, 24, 25, 29, 30)] == [None, "train", "train", None, None, "test", "test", None]
    assert split_of(-5, ()) == "all"


def test_maturity_is_inclusive():
    """An event is mature when ts ≤ as-of − maturity (D25); without a maturity everything is."""
    assert [is_mature(ts, TASK.labels) for ts in (89, 90, 91)] == [True, True, False]
    assert is_mature(10**9, replace(TASK.labels, maturity_us=None))


def test_a_row_is_cold_if_any_source_was_not_known_deep_enough():
    """The deepest finite window of each source decides; a source without events misses nothing (D19).

    history   20├────────────────▶ pay        row at 30: reach 10 → from 20: warm      row at 29: from 19: cold
    """
    ten, twenty_five = (((Window("sliding", "w", length), 0),) for length in (10, 25))
    assert [is_cold(ts, {"pay": ten}, {"pay": 20}) for ts in (29, 30)] == [True, False]
    assert is_cold(30, {"pay": ten, "login": twenty_five}, {"pay": 20, "login": 6})
    assert not is_cold(30, {"login": twenty_five}, {"login": None})
    assert not is_cold(-10**18, {}, {"pay": 20})


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(DISPOSITIONS), max_size=40), st.integers(-3, 3))
def test_accounts_must_add_up(found, off):
    """Counted once each, dispositions sum to what was read; one too many or too few is our defect."""
    counts = count_dispositions(found)
    assert list(counts) == list(DISPOSITIONS)
    if off == 0:
        check_accounting(counts, len(found))
    else:
        with pytest.raises(RowAccountingBroken):
            check_accounting(counts, len(found) + off)


@pytest.mark.parametrize("counts", [{"row": 2, "cold": -1}, {"row": 0, "vanished": 1}])
def test_strange_accounts_are_refused_even_if_they_add_up(counts):
    """A negative count or an unknown disposition is no accounting."""
    with pytest.raises(RowAccountingBroken, match="wrong"):
        check_accounting(counts, 1)
