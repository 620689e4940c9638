"""Which label holds for a subject at a knowledge cut: eligibility, supersession, rules (`domain.md` §1.6, `decisions.md` D22).

An assertion is eligible at cut `c` iff `observed ≤ c` and `effective ≤ c`. What an eligible assertion supersedes is dropped. A rule ranks
the rest; the highest rank wins, several values at the highest rank are a CONFLICT. Links and contents of assertions that are not
eligible are unknown: nothing observed after the cut changes anything at the cut.

All functions here take the assertions of one subject and one label type, in any order, with any repetition.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from offline_feature_plane.domain.canonical import digest
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.errors import LabelPolicyInvalid, LabelTimelineInconsistent, RuleNotSupported

Status = Literal["RESOLVED", "CONFLICT", "NOT_FOUND"]

SOURCES = ("HUMAN", "EXTERNAL", "AUTO", "SYSTEM")  # strongest first
STRENGTH = {source: -place for place, source in enumerate(SOURCES)}


@dataclass(frozen=True, slots=True)
class Assertion:
    """One statement about one subject: what `source` said, when it became known, and from when it holds. Instants in µs UTC.

    `subject` is the event id, or the entity (`domain.entity_labels`), which the field `entity_field` of its events holds. `supersedes`
    names the assertion id, of the same subject and type, that this one replaces.
    """

    subject: str | int
    label_type: str
    value: str
    observed_us: int
    effective_us: int
    source: str = "SYSTEM"
    assertion_id: str | None = None
    supersedes: str | None = None
    entity_field: str | None = field(default=None, kw_only=True, compare=False)

    def __post_init__(self) -> None:
        """Refuse a source that has no rank; raises LabelPolicyInvalid."""
        if self.source not in STRENGTH:
            raise LabelPolicyInvalid(f"{self.source!r} is not a label source.", path=f"labels.{self.label_type}.source",
                                     fix=f"Known: {', '.join(SOURCES)}.")

    @property
    def who(self) -> str:
        """Its subject, as messages say it: what a field holds may be an identifier, and is not shown."""
        return repr(self.subject) if self.entity_field is None else f"one {self.entity_field}"

    @property
    def entry_us(self) -> int:
        """The first cut at which it is eligible."""
        return max(self.observed_us, self.effective_us)


@dataclass(frozen=True, slots=True)
class Resolution:
    """What holds at a cut. Only RESOLVED carries a value, when it was observed, and the id of the assertion that says so."""

    status: Status
    value: str | None = None
    observed_us: int | None = None
    assertion_id: str | None = None


NOT_FOUND = Resolution("NOT_FOUND")
CONFLICT = Resolution("CONFLICT")


@dataclass(frozen=True)
class Rule:
    """A named way to rank eligible assertions that nothing supersedes: the highest rank wins.

    `ladder` lists what is compared, the strongest first: `source` (by strength), `observed`, `effective` (later wins), or with a minus
    sign (earlier wins). Every ladder holds both instants, so assertions of equal rank become eligible together.
    """

    id: str
    ladder: tuple[str, ...]

    @property
    def meaning(self) -> str:
        """The law of this rule as the sentences that its digest pins."""
        steps = ", then ".join(_STEPS[step] for step in self.ladder)
        return ("Eligible at c: observed <= c and effective <= c. "
                "Dropped: what an eligible assertion of the same subject and type supersedes. "
                f"Ranked by {steps}. Several values at the highest rank: CONFLICT. "
                "Among equal values the smallest assertion id by UTF-8 bytes is named, a missing id last.")

    @property
    def digest(self) -> str:
        """What enters a dataset's identity for this rule (recipe `ofs.resolution_rule.v1`)."""
        return digest("ofs.resolution_rule.v1", {"id": self.id, "meaning": self.meaning})

    def rank(self, one: Assertion) -> tuple[int, ...]:
        """The rank of an assertion; greater wins."""
        parts = {"source": STRENGTH[one.source], "observed": one.observed_us, "effective": one.effective_us}
        return tuple(-parts[step[1:]] if step.startswith("-") else parts[step] for step in self.ladder)

    def resolve(self, assertions: Iterable[Assertion], cut_us: int) -> Resolution:
        """What holds at `cut_us`; see the function `resolve`."""
        return self.weigh(standing(assertions, cut_us))

    def weigh(self, stand: Sequence[Assertion]) -> Resolution:
        """What assertions say together of which none supersedes another."""
        top = self._top(stand)
        return _verdict(top) if top else NOT_FOUND

    def highest(self, assertions: Iterable[Assertion], cut_us: int) -> tuple[Assertion, ...]:
        """The assertions of the highest rank at `cut_us`: those that the answer rests on. Raises LabelTimelineInconsistent."""
        return self._top(standing(assertions, cut_us))

    def _top(self, stand: Sequence[Assertion]) -> tuple[Assertion, ...]:
        top = max(map(self.rank, stand), default=None)
        return tuple(one for one in stand if self.rank(one) == top)


_STEPS = {"source": f"source ({' > '.join(SOURCES)})", "observed": "observed (later wins)", "effective": "effective (later wins)",
          "-observed": "observed (earlier wins)", "-effective": "effective (earlier wins)"}

RULES: dict[str, Rule] = {rule.id: rule for rule in (
    Rule("source_precedence.v1", ("source", "observed", "effective")),
    Rule("latest_observed.v1", ("observed", "effective")),
    Rule("latest_effective.v1", ("effective", "observed")),
    Rule("first_observed.v1", ("-observed", "-effective")),
)}


def find_rule(rule: str) -> Rule:
    """The registered rule of this id.

    Raises:
        RuleNotSupported: there is none.
    """
    if rule not in RULES:
        raise RuleNotSupported(f"there is no resolution rule {rule!r}.", fix=f"Known rules: {', '.join(RULES)}.", known=list(RULES))
    return RULES[rule]


def resolve(assertions: Iterable[Assertion], cut_us: int, rule: str) -> Resolution:
    """What `rule` says about one subject and type as known at `cut_us`.

    Raises:
        RuleNotSupported: unknown rule.
        LabelTimelineInconsistent: eligible assertions supersede each other in a cycle, or one id occurs with two different contents.

    >>> said = [Assertion(1, "chargeback", "CHARGEBACK", 10, 10, "AUTO"), Assertion(1, "chargeback", "NO_CHARGEBACK", 30, 10, "HUMAN")]
    >>> [resolve(said, cut, "source_precedence.v1").value for cut in (9, 10, 29, 30)]
    [None, 'CHARGEBACK', 'CHARGEBACK', 'NO_CHARGEBACK']
    """
    return find_rule(rule).resolve(assertions, cut_us)


def status_changes(assertions: Iterable[Assertion], asof_us: int, rule: str) -> tuple[tuple[int, Resolution], ...]:
    """The resolution as a step function of the cut, for cuts up to `asof_us`.

    Returns:
        Instants, ascending, at which the resolution changes, with what it changes to. The value at `c` is that of the last
        instant `≤ c`, NOT_FOUND before the first. Equal to `resolve` at every cut `≤ asof_us`.

    Raises:
        RuleNotSupported, LabelTimelineInconsistent: as `resolve` at `asof_us`.

    >>> said = [Assertion(1, "chargeback", "CHARGEBACK", 10, 10), Assertion(1, "chargeback", "NO_CHARGEBACK", 30, 10)]
    >>> [(at, now.value) for at, now in status_changes(said, 40, "latest_observed.v1")]
    [(10, 'CHARGEBACK'), (30, 'NO_CHARGEBACK')]
    """
    rank = find_rule(rule).rank
    entering: dict[int, list[Assertion]] = {}
    for one in eligible(assertions, asof_us):
        entering.setdefault(one.entry_us, []).append(one)
    changes: list[tuple[int, Resolution]] = []
    groups: dict[tuple[int, ...], list[Assertion]] = {}
    heap: list[tuple[int, ...]] = []  # ranks negated: the highest comes first
    dropped: set[str] = set()
    now = NOT_FOUND
    judged: tuple[int, ...] | None = None
    for at in sorted(entering):
        for one in entering[at]:
            key = tuple(-part for part in rank(one))
            if key not in groups:
                groups[key] = []
                heapq.heappush(heap, key)
            groups[key].append(one)
            if one.supersedes is not None:
                dropped.add(one.supersedes)
        if heap[0] == judged and not any(one.supersedes is not None for one in entering[at]):
            continue  # the top is untouched
        while not (stand := [one for one in groups[heap[0]] if one.assertion_id not in dropped]):
            heapq.heappop(heap)  # dropped once, dropped for ever: links never become unknown again
        judged, then = heap[0], _verdict(stand)
        if then != now:
            changes.append((at, then))
            now = then
    return tuple(changes)


def standing(assertions: Iterable[Assertion], cut_us: int) -> tuple[Assertion, ...]:
    """The assertions that are eligible at the cut and superseded by none that is. Raises LabelTimelineInconsistent, as `eligible`."""
    known = eligible(assertions, cut_us)
    links = {one.supersedes for one in known if one.supersedes is not None}
    return tuple(one for one in known if one.assertion_id not in links)


def find_adrift(assertions: Sequence[Assertion]) -> list[Assertion]:
    """Which of these assertions, of one subject, eligible and each once, supersede an id that none of them has, and so replace nothing.

    What they name may not be known yet, may never have been delivered, or may be about something else.

    >>> found = find_adrift([Assertion(1, "x", "FRAUD", 1, 1, assertion_id="a"), Assertion(1, "x", "LEGIT", 2, 2, supersedes="b")])
    >>> [one.supersedes for one in found]
    ['b']
    """
    names = {one.assertion_id for one in assertions}
    return [one for one in assertions if one.supersedes is not None and one.supersedes not in names]


def eligible(assertions: Iterable[Assertion], cut_us: int) -> tuple[Assertion, ...]:
    """The assertions that are eligible at the cut, each once.

    Raises:
        LabelTimelineInconsistent: they supersede each other in a cycle, or one id occurs with two different contents.
    """
    known = tuple(one for one in dict.fromkeys(assertions) if one.entry_us <= cut_us)
    named: dict[str, Assertion] = {}
    for one in known:
        if one.assertion_id is not None and named.setdefault(one.assertion_id, one) is not one:
            raise _two_contents(named[one.assertion_id], one)
    if circle := _find_circle({name: one.supersedes for name, one in named.items()}):
        first = known[0]
        shown = " → ".join(map(repr, circle))
        raise LabelTimelineInconsistent(
            f"assertions {shown} about {first.who} ({first.label_type}) supersede each other in a cycle.",
            path=f"labels.{first.label_type}.supersedes", fix="Correct the `supersedes` ids in the label timeline.",
            circle=list(circle), **_named(first))
    return known


def _two_contents(one: Assertion, other: Assertion) -> LabelTimelineInconsistent:
    """The error for two assertions of one subject and one id, with what tells them apart."""
    said = [{"value": repr(each.value), "observed": format_instant(each.observed_us), "effective": format_instant(each.effective_us),
             "source": each.source, "supersedes": repr(each.supersedes)} for each in (one, other)]
    if all(each["effective"] == each["observed"] for each in said):
        del said[0]["effective"]
    told = "; ".join(f"{name} {text} and {said[1][name]}" for name, text in said[0].items() if text != said[1][name])
    return LabelTimelineInconsistent(
        f"assertion {one.assertion_id!r} about {one.who} ({one.label_type}) occurs with two different contents: {told}.",
        path=f"labels.{one.label_type}.id", fix="Give every assertion its own id; deliver repeats unchanged, to the microsecond.",
        assertion_id=one.assertion_id, **_named(one))


def _named(one: Assertion) -> dict[str, str | int]:
    """The subject as a field of an error, unless it may be an identifier."""
    return {"subject": one.subject} if one.entity_field is None else {}


def _verdict(top: Sequence[Assertion]) -> Resolution:
    """What assertions of one and the highest rank say together."""
    if len({one.value for one in top}) > 1:
        return CONFLICT
    named = min((one.assertion_id for one in top if one.assertion_id is not None), default=None)
    return Resolution("RESOLVED", top[0].value, top[0].observed_us, named)


def _find_circle(links: dict[str, str | None]) -> tuple[str, ...]:
    """A cycle of supersession, first id repeated at the end; empty if there is none. Every id has at most one link."""
    done: set[str] = set()
    for start in links:
        path: dict[str, None] = {}
        at: str | None = start
        while at is not None and at in links and at not in done:
            if at in path:
                ids = list(path)
                return (*ids[ids.index(at):], at)
            path[at] = None
            at = links[at]
        done.update(path)
    return ()
