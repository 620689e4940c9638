"""What labels look like as text: those of an intent before a build, and those that a dataset was built from."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from offline_feature_plane.cli.output import pairs, percent, style, table
from offline_feature_plane.domain.instants import format_instant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from offline_feature_plane.contracts.manifest import Core
    from offline_feature_plane.corridor.cohorts import Cohort
    from offline_feature_plane.corridor.label_report import LabelReport, TypeReport
    from offline_feature_plane.domain.maturity import Choice

_WHY = {"p90": "9 of 10 labels", "p99": "99 of 100 labels", "intent": "this intent", "asked": "asked"}


def labels(report: LabelReport) -> str:
    """Each label type with its cohorts and maturities, then the gates."""
    until = report.mature_until_us
    mature = "every event is mature" if until is None else f"events up to {_brief(until)} are mature (maturity_days {report.maturity_days})"
    lines = [f"{style('labels', 'bold')} as of {_brief(report.asof_us)} by {report.rule}; {mature}",
             *(f"       as of {_brief(one.asof_us)} in {one.name}" + ("" if one.mature_until_us is None else
               f"; its events up to {_brief(one.mature_until_us)} are mature") for one in report.evaluation_splits)]
    for one in report.types:
        lines += ["", *_type(one, report)]
    lines += ["", table(["gate", "verdict", "why not"], [[gate.gate, style(gate.verdict, "green" if gate.passed else "red"),
                                                          "; ".join(gate.sentences)] for gate in report.gates])]
    lines += [f"{style('warning', 'yellow')}: {warning}" for warning in report.warnings]
    return "\n".join([*lines, "", "A look: nothing was built or written."])


def kept_labels(core: Core) -> list[str]:
    """The label cohorts of a manifest: per type and split how many events have which answer, and how many days the answers took.

    Nothing for a dataset without labels, and for manifests that were written before they told cohorts.
    """
    types: Any = core.labels["per_type"]
    rows = [[label_type, *_kept(cohort)] for label_type, facts in sorted(types.items()) for cohort in facts.get("splits", ())]
    if not rows:
        return []
    return ["", table(["label", "split", "mature", "events", "resolved", "not found", "conflict", "resolved %", "p50 d", "p90 d", "p99 d"],
                      rows, right=frozenset(range(3, 11)))]


def _kept(cohort: Mapping[str, Any]) -> list[Any]:
    events, lag = cohort["subjects"], cohort["lag_days"]
    return [cohort["split"], cohort["mature"], events, cohort["resolved"], cohort["not_found"], cohort["conflict"],
            percent(Fraction(cohort["resolved"], events)) if events else None, lag["p50"], lag["p90"], lag["p99"]]


def _type(one: TypeReport, report: LabelReport) -> list[str]:
    facts = one.assertions
    what = {"target": f"target, unlabeled: {one.unlabeled}", "column": "a column", "features": "only features look at it"}[one.role]
    after = "after the latest as-of" if report.evaluation_splits else "after the as-of"
    counted = [(facts["assertions_read"], "read"), (facts["assertions_outside_basis"], "outside the basis"),
               (facts["assertions_after_asof"], after), (facts["assertions_repeated"], "repeated"),
               (facts["assertions_eligible"], "eligible")]
    about = {} if "applies_to" not in facts else {"about": f"{facts['applies_to']}: labels hold from their effective time on",
                                                  "say": _by_meaning(facts["said"], one)}
    lines = [f"{style(one.label_type, 'bold')}  ({what})",
             pairs({"assertions": " · ".join(f"{count:,} {name}" for count, name in counted if count or name in ("read", "eligible")),
                    **about, "resolve to": _by_meaning(facts["values"], one)}), *_conflicts(one)]
    if one.role == "features":
        return lines
    return [*lines, "", _cohorts("split", one.splits, one), "", _cohorts(report.period, one.periods, one), "", *_maturities(one, report)]


def _conflicts(one: TypeReport) -> list[str]:
    """The first conflicts by name: who says what, and when that was observed."""
    found = [f"{torn.about}: {', '.join(f'{value} says {source} ({_brief(at)})' for value, source, at in torn.said)}"
             for torn in one.conflicts]
    if more := one.assertions["subjects_in_conflict"] - len(found) if found else 0:
        found.append(f"and {more:,} more")
    return [f"  {'in conflict' if not place else '':<11}  {line}" for place, line in enumerate(found)]


def _by_meaning(counts: Mapping[str, int], one: TypeReport) -> str:
    """How often there is each value, in the order of what the target makes of them."""
    by_meaning = {meant: [f"{value} {count:,}" for value, count in counts.items() if one.means.get(value, "") == meant]
                  for meant in ("positive", "negative", "unlabeled", "")}
    return " · ".join(f"{meant} {', '.join(values)}".strip() for meant, values in by_meaning.items() if values) or "nothing"


def _cohorts(kind: str, cohorts: Sequence[Cohort], one: TypeReport) -> str:
    """A line per cohort; by period with the split, by split without a period."""
    heads = ["split"] if kind == "split" else [kind, "split"]
    shown = slice(7 if kind == "month" else None)
    rows = [[*([] if kind == "split" else [(cohort.start or "")[shown]]), cohort.split or "(none)", cohort.mature, cohort.found.subjects,
             cohort.found.resolved, cohort.found.not_found, cohort.found.conflict, percent(cohort.answered(one.unlabeled)),
             cohort.lag.p50, cohort.lag.p90, cohort.lag.p99]
            for cohort in cohorts]
    return table([*heads, "mature", "events", "resolved", "not found", "conflict", "answered", "p50 d", "p90 d", "p99 d"], rows,
                 right=frozenset(range(len(heads) + 1, len(heads) + 9)))


def _maturities(one: TypeReport, report: LabelReport) -> list[str]:
    found = one.measured
    if not found.answers:
        return ["No label is known of any of these events: how long labels take cannot be told."]
    old = "of events old enough to have theirs" if one.settled else "of all events, young ones too"
    said = (f"Half of the labels are known {_when(found.p50, '{} days after', '{} days before')} their event, "
            f"90 % {_when(found.p90, 'after {}', '{} before')}, 99 % {_when(found.p99, 'after {}', '{} before')} "
            f"({found.answers:,} labels {old}; days rounded up).")
    ending = f"earliest as-of for a split that ends {_brief(report.end_us)}" if report.has_splits else "earliest as-of for all events"
    tables = [_choices(one.choices, "last end of a split", ending)]
    for split in report.evaluation_splits:
        tables += ["", _choices(one.evaluation_choices[split.name], f"last end of {split.name}", f"earliest as-of of {split.name}")]
    return [said, *tables]


def _choices(choices: Sequence[Choice], *heads: str) -> str:
    rows = [[f"{choice.days:,} days", ", ".join(_WHY[why] for why in choice.why), percent(choice.known), _brief(choice.last_end_us),
             None if choice.earliest_asof_us is None else _brief(choice.earliest_asof_us)] for choice in choices]
    return table(["maturity", "because", "known by then", *heads], rows, right=frozenset({0, 2}))


def _when(days: int | None, after: str, before: str) -> str:
    """A lag in words; what is said of an entity may be known before the event.

    >>> _when(3, "{} days after", "{} days before"), _when(-8, "{} days after", "{} days before")
    ('3 days after', '8 days before')
    """
    return (before if days is not None and days < 0 else after).format(days if days is None else abs(days))


def _brief(us: int) -> str:
    """An instant, without what is zero.

    >>> _brief(0), _brief(3_600_000_000)
    ('1970-01-01', '1970-01-01T01:00:00Z')
    """
    text = format_instant(us)
    return text.removesuffix("T00:00:00.000000Z") if text.endswith("T00:00:00.000000Z") else text.replace(".000000Z", "Z")
