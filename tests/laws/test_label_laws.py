"""Laws of label resolution over random timelines (`decisions.md` D22)."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.label_slice import slice_of
from offline_feature_plane.domain.resolution import (
    NOT_FOUND,
    RULES,
    SOURCES,
    STRENGTH,
    Assertion,
    Resolution,
    eligible,
    resolve,
    status_changes,
)
from offline_feature_plane.errors import LabelTimelineInconsistent

instants = st.integers(0, 9)
rules = st.sampled_from(list(RULES))


@st.composite
def timelines(draw, *, acyclic=True):
    """Assertions about one event; ids are distinct, and links lead only to earlier ids if `acyclic`."""
    said = []
    for place in range(draw(st.integers(0, 9))):
        name = f"id{place}" if draw(st.booleans()) else None
        link = draw(st.none() | st.integers(0, place - 1 if acyclic else 9)) if place or not acyclic else None
        said.append(Assertion("tx", "chargeback", draw(st.sampled_from("ABC")), draw(instants), draw(instants),
                              draw(st.sampled_from(SOURCES)), name, None if link is None else f"id{link}"))
    return said


def step_at(changes, cut):
    """What a step function says at a cut."""
    return ([NOT_FOUND] + [now for at, now in changes if at <= cut])[-1]


def by_the_book(said, cut, rule):
    """The law once more, as the sentences say it and as slowly as it gets."""
    known = {one for one in said if one.observed_us <= cut and one.effective_us <= cut}
    standing = [one for one in known if not any(one.assertion_id is not None and other.supersedes == one.assertion_id for other in known)]
    keys = {"source_precedence.v1": lambda one: (STRENGTH[one.source], one.observed_us, one.effective_us),
            "latest_observed.v1": lambda one: (one.observed_us, one.effective_us),
            "latest_effective.v1": lambda one: (one.effective_us, one.observed_us),
            "first_observed.v1": lambda one: (-one.observed_us, -one.effective_us)}
    best = [one for one in standing if all(keys[rule](one) >= keys[rule](other) for other in standing)]
    if not best:
        return Resolution("NOT_FOUND")
    if len({one.value for one in best}) > 1:
        return Resolution("CONFLICT")
    named = min((one.assertion_id for one in best if one.assertion_id), default=None)
    return Resolution("RESOLVED", best[0].value, best[0].observed_us, named)


@settings(max_examples=120, deadline=None)
@given(timelines(), rules, instants)
def test_resolve_does_what_the_sentences_say(said, rule, cut):
    """`resolve` equals a second, naive writing of the law."""
    assert resolve(said, cut, rule) == by_the_book(said, cut, rule)


@settings(max_examples=120, deadline=None)
@given(timelines(), rules, instants)
def test_steps_agree_with_resolve_at_every_instant(said, rule, asof):
    """The step function equals the resolution at every cut up to its as-of, its instants ascend, and each step changes something."""
    changes = status_changes(said, asof, rule)
    assert [step_at(changes, cut) for cut in range(-1, asof + 1)] == [resolve(said, cut, rule) for cut in range(-1, asof + 1)]
    assert [at for at, _ in changes] == sorted({at for at, _ in changes})
    assert all(before != after for before, after in pairwise([NOT_FOUND, *(now for _, now in changes)]))


@settings(max_examples=80, deadline=None)
@given(timelines(), timelines(acyclic=False), rules, instants)
def test_what_is_observed_later_changes_nothing_at_the_cut(said, later, rule, cut):
    """Assertions observed after the cut change neither the resolution nor the slice, whatever they claim, link or contradict.

    said ●────●───────┃ cut
                      ┃   ●──●──── later, effective from whenever
    """
    later = [replace(one, observed_us=cut + 1 + one.observed_us) for one in later]
    text = ColumnType("string")
    assert resolve(said + later, cut, rule) == resolve(said, cut, rule)
    assert status_changes(later + said, cut, rule) == status_changes(said, cut, rule)
    assert slice_of("chargeback", [said + later], cut, text) == slice_of("chargeback", [said], cut, text)


@settings(max_examples=80, deadline=None)
@given(timelines(), rules, instants, st.randoms(use_true_random=False))
def test_order_and_repeats_change_nothing(said, rule, cut, dice):
    """Shuffling assertions, and delivering some of them again, changes no resolution and no slice."""
    again = said + dice.choices(said, k=3) if said else []
    dice.shuffle(again)
    text = ColumnType("string")
    assert resolve(again, cut, rule) == resolve(said, cut, rule)
    assert status_changes(again, cut, rule) == status_changes(said, cut, rule)
    assert slice_of("chargeback", [again], cut, text) == slice_of("chargeback", [said], cut, text)


@settings(max_examples=80, deadline=None)
@given(timelines(acyclic=False), rules, instants)
def test_circles_are_refused_exactly_when_they_are_known(said, rule, cut):
    """A timeline is refused iff following the links of known assertions comes back to where it began; the step function agrees."""
    known = {one.assertion_id: one.supersedes for one in said if one.assertion_id is not None and one.entry_us <= cut}
    circular = False
    for start in known:
        at = start
        for _ in range(len(known)):
            at = known.get(at)
            circular |= at == start
    for ask in (lambda: resolve(said, cut, rule), lambda: status_changes(said, cut, rule)):
        if circular:
            with pytest.raises(LabelTimelineInconsistent):
                ask()
        else:
            ask()


@settings(max_examples=60, deadline=None)
@given(timelines(), instants)
def test_a_slice_sees_every_change_of_what_was_used(said, asof):
    """Changing any field of an eligible assertion changes the slice's digest."""
    text = ColumnType("string")
    before = slice_of("chargeback", [said], asof, text)
    for one in eligible(said, asof):
        rest = [other for other in said if other != one]
        for other in (replace(one, value="Z"), replace(one, observed_us=one.observed_us - 100),
                      replace(one, effective_us=one.effective_us - 100), replace(one, subject="other"),
                      replace(one, assertion_id="new"), replace(one, supersedes="nobody"),
                      replace(one, source=SOURCES[SOURCES.index(one.source) - 1])):
            assert slice_of("chargeback", [[*rest, other]], asof, text).columns != before.columns
