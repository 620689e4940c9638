"""Label resolution and coverage on hand-made timelines (`decisions.md` D22, D24, D26)."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.coverage import (
    Coverage,
    CoveragePolicy,
    default_policy,
    find_shortfalls,
    format_share,
    is_sooner,
    measure_lag,
    parse_share,
)
from offline_feature_plane.domain.instants import parse_offset_instant
from offline_feature_plane.domain.label_slice import slice_digest, slice_of
from offline_feature_plane.domain.resolution import RULES, Assertion, Resolution, find_rule, resolve, status_changes
from offline_feature_plane.errors import LabelPolicyInvalid, LabelTimelineInconsistent, RuleNotSupported

GOLDEN = Path(__file__).parent.parent / "golden" / "labels"
VECTORS = json.loads((GOLDEN / "resolution.json").read_text())["vectors"]


def say(value, observed, effective=0, source="AUTO", assertion_id=None, supersedes=None):
    """An assertion about one event."""
    return Assertion("tx-1", "chargeback", value, observed, effective, source, assertion_id, supersedes)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_golden_timelines(vector):
    """Every hand-made timeline resolves as its author wrote it, asked at one cut and as a step function."""
    said = [say(*one) for one in vector["said"]]
    steps = status_changes(said, max(cut for cut, *_ in vector["answers"]), vector["rule"])
    for cut, *expected in vector["answers"]:
        assert resolve(said, cut, vector["rule"]) == Resolution(*expected)
        assert ([Resolution("NOT_FOUND")] + [now for at, now in steps if at <= cut])[-1] == Resolution(*expected)


def test_a_circle_of_supersession_is_refused():
    """Assertions that supersede each other in a circle are an error as soon as all of them are known, and not before.

    a ⟶ supersedes c      b ⟶ supersedes a      c ⟶ supersedes b
    ●─────────────────────●─────────────────────●──────────────▶ cut
    10                    20                    30
    """
    said = [say("A", 10, 0, "AUTO", "a", "c"), say("B", 20, 0, "AUTO", "b", "a"), say("C", 30, 0, "AUTO", "c", "b")]
    assert resolve(said, 29, "source_precedence.v1").value == "B"
    for ask in (resolve, status_changes):
        with pytest.raises(LabelTimelineInconsistent, match=r"'a' → 'c' → 'b' → 'a'"):
            ask(said, 30, "source_precedence.v1")
    with pytest.raises(LabelTimelineInconsistent, match="'a' → 'a'"):
        resolve([say("A", 10, 0, "AUTO", "a", "a")], 10, "source_precedence.v1")


def test_one_id_with_two_contents_is_refused_once_both_are_known():
    """An assertion id names one content; the second content counts from its own observed time on."""
    said = [say("FRAUD", 10, assertion_id="a"), say("FRAUD", 20, assertion_id="a")]
    assert resolve(said, 19, "latest_observed.v1").value == "FRAUD"
    with pytest.raises(LabelTimelineInconsistent, match="two different contents"):
        resolve(said, 20, "latest_observed.v1")


def test_one_instant_in_two_notations_is_one_instant():
    """`Z` and `+02:00` are compared as instants, so a conflict cannot hide behind a notation."""
    zulu, paris = parse_offset_instant("2026-05-01T10:00:00Z"), parse_offset_instant("2026-05-01T12:00:00+02:00")
    assert resolve([say("FRAUD", zulu), say("LEGIT", paris)], zulu, "source_precedence.v1").status == "CONFLICT"


def test_unknown_rules_and_sources_are_refused_with_the_known_ones():
    """What is not registered is refused and answered with what is."""
    with pytest.raises(RuleNotSupported, match=r"source_precedence\.v1, latest_observed\.v1, latest_effective\.v1, first_observed\.v1"):
        find_rule("newest")
    with pytest.raises(LabelPolicyInvalid, match="HUMAN, EXTERNAL, AUTO, SYSTEM"):
        say("FRAUD", 10, source="ROBOT")


def test_rule_digests_pin_their_meaning():
    """A rule's digest is a golden value: it changes only with the law, and then under a new id."""
    assert {rule.id: rule.digest for rule in RULES.values()} == json.loads((GOLDEN / "rule_digests.json").read_text())


def test_every_ladder_holds_both_instants():
    """Assertions of equal rank become eligible together, because every rule compares both instants."""
    for rule in RULES.values():
        assert {step.lstrip("-") for step in rule.ladder} >= {"observed", "effective"}


def test_many_assertions_about_one_subject_stay_cheap():
    """Steps of 20,000 assertions about one event take one pass, not one per cut."""
    said = [say("FRAUD" if i % 2 else "LEGIT", i, assertion_id=f"{i:06}", supersedes=f"{i - 1:06}" if i % 3 == 0 and i else None)
            for i in range(20_000)]
    assert len(status_changes(said, 20_000, "source_precedence.v1")) == 20_000


def test_the_slice_digest_of_a_known_slice():
    """The digest of two small slices is a golden value for integer and text ids."""
    said = [say("FRAUD", 10, 5, "HUMAN", "a"), say("LEGIT", 10, 5, "AUTO", None, "a"), say("LEGIT", 99)]
    numbered = [Assertion(7, "é", "Ü", -1, 2**40)]
    slices = [slice_of("chargeback", [said, []], 50, ColumnType("string")), slice_of("é", [numbered], 2**41, ColumnType("int32"))]
    assert slice_digest(slices) == slice_digest(slices[::-1]) == json.loads((GOLDEN / "slice_digest.json").read_text())


def test_answered_shares_are_exact():
    """Coverage is a fraction: 2/3 is not 0.666667, and a threshold a hair above it fails."""
    found = Coverage(resolved=2, not_found=1, conflict=0)
    assert found.answered("exclude") == found.answered("refuse") == Fraction(2, 3)
    assert found.answered("negative_when_mature") == 1
    assert find_shortfalls(found, CoveragePolicy("0.666666666666666666"), "exclude") == ()
    assert "0.666667 of 3" in find_shortfalls(found, CoveragePolicy("0.666666666666666667"), "exclude")[0]
    assert Coverage(0, 0, 0).answered("negative_when_mature") == 0


def test_conflicts_count_against_both_thresholds():
    """A conflict is no answer, and by default not allowed at all."""
    found = Coverage(resolved=98, not_found=1, conflict=1)
    missed = find_shortfalls(found, CoveragePolicy("1"), "negative_when_mature")
    assert len(missed) == 2
    assert "0.990000" in missed[0]
    assert "1 of 100" in missed[1]
    assert find_shortfalls(found, CoveragePolicy("0.99", "0.01"), "negative_when_mature") == ()


def test_exclude_has_no_default_policy():
    """Where unlabeled rows are left out, the asker must say how many may be."""
    assert default_policy("exclude") is None
    assert default_policy("refuse") == default_policy("negative_when_mature") == CoveragePolicy("1", "0")


@pytest.mark.parametrize("text", ["1.01", "-0.1", "1e-1", ".5", "0.", "", "95%", 0.95, None])
def test_thresholds_are_decimal_text(text):
    """A threshold is decimal text from 0 to 1; floats and other spellings are refused."""
    with pytest.raises(LabelPolicyInvalid):
        parse_share(text)


def test_shares_are_shown_half_even():
    """Six digits, ties to even."""
    assert [format_share(Fraction(one)) for one in ("0", "1", "0.0000005", "0.0000015", "1/3")] == [
        "0.000000", "1.000000", "0.000000", "0.000002", "0.333333"]


def test_lag_percentiles_are_nearest_rank():
    """The p-th percentile is the smallest lag that at least p % of the assertions do not exceed.

    lags 1 … 10:   p50 = 5,  p90 = 9,  p99 = 10
    """
    lag = measure_lag(list(range(10, 0, -1)), None)
    assert (lag.p50_us, lag.p90_us, lag.p99_us) == (5, 9, 10)
    assert (measure_lag([], None).p50_us, measure_lag([], None).is_implausible) == (None, False)


def test_labels_within_a_minute_of_their_events_are_implausible_unless_declared():
    """Over half within 60 s (or before the event) is implausible; a declared `min_lag` replaces the minute."""
    minute = 60_000_000
    assert [is_sooner(lag, None) for lag in (-1, 0, minute, minute + 1)] == [True, True, True, False]
    assert [is_sooner(lag, 0) for lag in (-1, 0)] == [True, False]
    assert not measure_lag([0, minute + 1], None).is_implausible
    assert measure_lag([0, 0, minute + 1], None).is_implausible
    assert not measure_lag([0, 0, minute + 1], 0).is_implausible
    assert measure_lag([minute, minute, 10 * minute], 2 * minute).is_implausible
