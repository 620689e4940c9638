"""What an intent's labels look like before anything is built: coverage over time, how long labels take, what the gates would say.

The same plan, replay, labels and selection as in a build; nothing is written, and a gate that fails is told instead of raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.corridor.cohorts import Cohort, add_cohorts, count_lags
from offline_feature_plane.corridor.gates import judge
from offline_feature_plane.corridor.manifest import tell_strangers, warn, warn_of_gaps
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.receipts import storable
from offline_feature_plane.corridor.steps import Machine, fetch_labels
from offline_feature_plane.corridor.workfolders import scratch
from offline_feature_plane.domain.accounting import answer_of
from offline_feature_plane.domain.combining import Answer
from offline_feature_plane.domain.coverage import Unlabeled, format_share
from offline_feature_plane.domain.gates import GateResult
from offline_feature_plane.domain.instants import EARLIEST_US, US_PER_DAY, format_instant
from offline_feature_plane.domain.label_slice import slice_order
from offline_feature_plane.domain.maturity import ENOUGH, LONGEST_MATURITY_DAYS, Choice, LagDays, measure_days, settled_by, weigh
from offline_feature_plane.domain.periods import PERIODS, Period
from offline_feature_plane.domain.resolution import CONFLICT, Resolution, find_rule
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.errors import LabelPolicyInvalid
from offline_feature_plane.ports import EngineSession, LabelFacts, Progress

__all__ = ["Conflict", "EvaluationSplit", "LabelReport", "TypeReport", "check_wishes", "report_labels"]


@dataclass(frozen=True)
class EvaluationSplit:
    """A split with a label as-of of its own, where it ends, and until when its events are mature; instants in µs."""

    name: str
    asof_us: int
    end_us: int
    mature_until_us: int | None

    def document(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"split": self.name, "label_asof_utc": format_instant(self.asof_us),
                "mature_until": None if self.mature_until_us is None else format_instant(self.mature_until_us)}


@dataclass(frozen=True)
class Conflict:
    """An event, or the entity of an event, of which assertions of the highest rank say different things.

    Attributes:
        event_id: the event; the first one of its entity.
        about: what is in conflict, in words.
        said: value, source and instant of observation (µs) of each of these assertions, in the order of the slice.
    """

    event_id: int | str
    about: str
    said: tuple[tuple[str, str, int], ...]

    def document(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"event_id": self.event_id, "about": self.about,
                "said": [{"value": value, "source": source, "observed_time": format_instant(at)} for value, source, at in self.said]}


@dataclass(frozen=True)
class TypeReport:
    """One label type.

    Attributes:
        label_type: its name.
        role: is it one of the target's, one of the dataset's columns, or only looked at by features?
        unlabeled: the target's rule for silence, if this is one of the target's types.
        assertions: how many were read, left out and why, what they say, and their own lag in µs (`decisions.md` D26).
        means: what the target makes of each value that events resolve to: `positive`, `negative` or `unlabeled`.
        splits: what holds of the events of each split, and of those in none.
        periods: the same by period of event time.
        lag: how long the answers took, over all events.
        measured: the same over events that are old enough for slow labels, if these have enough answers, else over all.
        settled: are they?
        choices: maturities, and what follows from each. Empty for a type that only features look at.
        evaluation_choices: the same for each split with an as-of of its own, by its name; `choices` are for the other splits then.
        takes_the_rest: does the target take every value for a negative that it does not name?
        conflicts: the first events, or entities, that are in conflict.
    """

    label_type: str
    role: Literal["target", "column", "features"]
    unlabeled: Unlabeled | None
    assertions: Mapping[str, Any]
    means: Mapping[str, Answer]
    splits: tuple[Cohort, ...]
    periods: tuple[Cohort, ...]
    lag: LagDays
    measured: LagDays
    settled: bool
    choices: tuple[Choice, ...]
    evaluation_choices: Mapping[str, tuple[Choice, ...]]
    takes_the_rest: bool = False
    conflicts: tuple[Conflict, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON-ready values."""
        facts = {key: value for key, value in self.assertions.items() if key != "conflicts_at"}  # these are by name in `conflicts`
        return {"label_type": self.label_type, "role": self.role, "assertions": storable(facts), "means": storable(self.means),
                "conflicts": [one.document() for one in self.conflicts],
                "splits": [self._cohort(one) for one in self.splits], "periods": [self._cohort(one) for one in self.periods],
                "lag_days": _lag(self.lag), "measured": {**_lag(self.measured), "settled": self.settled},
                "maturities": list(map(_choice, self.choices)),
                "evaluation_maturities": {name: list(map(_choice, choices)) for name, choices in self.evaluation_choices.items()}}

    def _cohort(self, one: Cohort) -> dict[str, Any]:
        return {**one.document(), "answered": format_share(one.answered(self.unlabeled))}


@dataclass(frozen=True)
class LabelReport:
    """The answer of `Plane.labels`: each label type, the gates of a build, and what an owner should know.

    `end_us` is the end of the last split, or of the last day that has a subject event; earliest as-ofs are for splits that end there.
    `evaluation_splits` are those with an as-of of their own, which all of this is not about.
    """

    asof_us: int
    rule: str
    maturity_days: int | None
    end_us: int
    has_splits: bool
    period: Period
    types: tuple[TypeReport, ...]
    gates: tuple[GateResult, ...]
    warnings: tuple[str, ...]
    evaluation_splits: tuple[EvaluationSplit, ...] = ()

    @property
    def mature_until_us(self) -> int | None:
        """The last instant of an event that is mature at the as-of; None without a maturity."""
        return _mature_until(self.asof_us, self.maturity_days)

    def document(self) -> dict[str, Any]:
        """As JSON-ready values: instants and shares as text, lags in whole days."""
        until = self.mature_until_us
        return {"label_asof_utc": format_instant(self.asof_us), "resolution_rule": self.rule, "maturity_days": self.maturity_days,
                "mature_until": None if until is None else format_instant(until), "splits_end": format_instant(self.end_us),
                "evaluation_splits": [one.document() for one in self.evaluation_splits],
                "by": self.period, "types": [one.document() for one in self.types],
                "gates": [{**gate.describe(), "sentences": list(gate.sentences)} for gate in self.gates], "warnings": list(self.warnings)}


def check_wishes(period: str, wanted: Sequence[int]) -> None:
    """Can a report be cut and weighed like this? Raises LabelPolicyInvalid."""
    if period not in PERIODS:
        raise LabelPolicyInvalid(f"event time cannot be cut by {period!r}.", path="by", fix=f"Say one of {', '.join(PERIODS)}.")
    for days in wanted:
        if type(days) is not int or not 1 <= days <= LONGEST_MATURITY_DAYS:
            raise LabelPolicyInvalid(f"{days!r} is not a maturity.", path="maturity_days",
                                     fix=f"Say a whole number of days from 1 to {LONGEST_MATURITY_DAYS:,}.")


def report_labels(planned: Planned, machine: Machine, folder: Path, *, period: Period, wanted: Sequence[int],
                  progress: Progress) -> LabelReport:
    """Replay, resolve and select as a build would, and say what there is.

    Args:
        planned: what would be built.
        machine: brings the engine.
        folder: for scratch files.
        period: how event time is cut.
        wanted: maturities, in days, that are weighed beside the intent's own.
        progress: called as (step, done, total).
    """
    with scratch(folder / "scratch") as spill, machine.session(planned.task, spill, progress) as session:
        replayed = session.replay(planned.events)
        labelled = session.labels(fetch_labels(planned, spill))
        selection = session.select()
        torn = {name: tuple(_conflicts(name, planned.task, facts, session)) for name, facts in labelled.per_type.items()}
    task, cells = planned.task, selection.cohorts
    maturity = None if task.labels.maturity_us is None else task.labels.maturity_us // US_PER_DAY
    maturities = [*([] if maturity is None else [(maturity, "intent")]), *((days, "asked") for days in wanted)]
    evaluated = tuple(EvaluationSplit(split.name, split.asof_us, split.end_us, _mature_until(split.asof_us, maturity))
                      for split in task.splits if split.asof_us is not None)
    end_us = max((split.end_us for split in task.splits if split.asof_us is None), default=_end_of(cells, task.labels.asof_us))
    types = tuple(_describe(name, task, labelled, cells, period, maturities, end_us, evaluated, torn[name])
                  for name in sorted(labelled.per_type))
    gates = judge(planned, replayed, labelled, selection)
    return LabelReport(task.labels.asof_us, task.labels.rule, maturity, end_us, bool(task.splits), period, types, gates,
                       (*warn_of_gaps(planned.completeness.gaps, task), *warn(task, replayed, labelled, selection),
                        *(said for one in types for said in _notice(one))), evaluated)


def _mature_until(asof_us: int, maturity_days: int | None) -> int | None:
    return None if maturity_days is None else max(EARLIEST_US, asof_us - maturity_days * US_PER_DAY)


def _describe(name: str, task: Task, labelled: LabelFacts, cells: pa.Table, period: Period, maturities: Sequence[tuple[int, str]],
              end_us: int, evaluated: Sequence[EvaluationSplit], torn: tuple[Conflict, ...]) -> TypeReport:
    every = count_lags(cells, name)
    old = count_lags(cells, name, before_day=settled_by(every, task.labels.asof_us),
                     later={one.name: settled_by(every, one.asof_us) for one in evaluated})
    settled = sum(old.values()) >= ENOUGH
    measured = old if settled else every
    parts = task.target.parts if task.target is not None else ()
    target = next((part for part in parts if part.label_type == name), None)
    weighed = name in task.labels.types
    values = labelled.values_of(name) if target is not None else ()
    return TypeReport(
        name, "target" if target is not None else "column" if name in task.labels.types else "features",
        None if target is None else target.unlabeled, labelled.per_type[name],
        {value: answer_of({name: Resolution("RESOLVED", value)}, target, mature=True) for value in values if target is not None},
        add_cohorts(cells, name), add_cohorts(cells, name, period), measure_days(every), measure_days(measured), settled,
        weigh(measured, maturities, asof_us=task.labels.asof_us, end_us=end_us) if weighed else (),
        {one.name: weigh(measured, maturities, asof_us=one.asof_us, end_us=one.end_us) for one in evaluated} if weighed else {},
        takes_the_rest=target is not None and target.negative is None, conflicts=torn)


def _conflicts(name: str, task: Task, facts: Mapping[str, Any], session: EngineSession) -> Iterator[Conflict]:
    """The first conflicts of a type by name: who says what. An event is at the as-of of its split, so at one of these."""
    rule, field = find_rule(task.labels.rule), facts.get("applies_to")
    for event in session.labels_of(name, facts["conflicts_at"]) if facts["conflicts_at"] else ():
        for asof_us in reversed(task.asofs_us):
            if rule.resolve(event.assertions, asof_us) == CONFLICT:
                about = f"event {event.event_id}" if field is None else f"the {field} of event {event.event_id}"
                yield Conflict(event.event_id, about, tuple((one.value, one.source, one.observed_us) for one in sorted(
                    rule.highest(event.assertions, asof_us), key=slice_order)))
                break


def _choice(one: Choice) -> dict[str, Any]:
    return {"maturity_days": one.days, "why": list(one.why), "known": None if one.known is None else format_share(one.known),
            "last_split_end": format_instant(one.last_end_us),
            "earliest_asof": None if one.earliest_asof_us is None else format_instant(one.earliest_asof_us)}


def _notice(one: TypeReport) -> list[str]:
    """What of one type an owner should know although no gate fails."""
    found, facts = tell_strangers({one.label_type: one.assertions}), one.assertions
    if facts["assumed_delay_us"] is not None:
        found.append(f"when {one.label_type} labels became known is assumed, not observed: their lag says what plane.yaml says.")
    elif one.lag.answers and not one.settled:
        found.append(f"fewer than {ENOUGH} {one.label_type} labels are about events old enough for slow labels: how long labels take is "
                     f"measured over all {one.lag.answers:,}, and flatters.")
    others = [value for value, meant in one.means.items() if meant == "negative"]
    if len(others) > 1 and one.takes_the_rest:
        found.append(f"the target names no negative values, so that every value beside the positive ones is one: {', '.join(others)}.")
    own = next((choice for choice in one.choices if "intent" in choice.why), None)
    if own is not None and own.known is not None and own.known * 100 < 99:
        meant = "silence is taken for a negative" if one.unlabeled == "negative_when_mature" else "only the quick ones are in"
        found.append(f"maturity_days {own.days} is short: {int(one.measured.answers * (1 - own.known)):,} of {one.measured.answers:,} "
                     f"{one.label_type} labels came later, and until then {meant}.")
    return found


def _end_of(cells: pa.Table, otherwise: int) -> int:
    last = pc.max(cells["day"]).as_py()
    return otherwise if last is None else (last + 1) * US_PER_DAY


def _lag(found: LagDays) -> dict[str, Any]:
    return {"answers": found.answers, "p50": found.p50, "p90": found.p90, "p99": found.p99}
