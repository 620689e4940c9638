"""What becomes of every coordinate that was read: the first disposition that applies (`decisions.md` D18), and that they add up.

```
read ─▶ admitted? ─▶ a subject? ─▶ in a split, and its own? ─▶ mature? ─▶ labelled? ─▶ context? ─▶ warm? ─▶ drawn? ─▶ row
```
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from offline_feature_plane.domain.closure import Window
from offline_feature_plane.domain.combining import Answer, combine
from offline_feature_plane.domain.resolution import Resolution
from offline_feature_plane.domain.rows import DISPOSITIONS, CombinedTarget, Disposition, LabelTask, Split, Target, Task
from offline_feature_plane.domain.windows import begin
from offline_feature_plane.errors import RowAccountingBroken

__all__ = ["EventFacts", "answer_of", "check_accounting", "count_dispositions", "dispose", "is_cold", "is_mature", "sampling_class",
           "split_of", "target_of"]


@dataclass(frozen=True)
class EventFacts:
    """What decides an event's disposition. Facts that earlier ones make meaningless may hold anything.

    `unread` is the reason why a coordinate gave no event at all. `answer` is what the labels say of the target at the as-of; None without
    a target. `in_earlier_split`: of all events of its entity that are subjects, pass `where` and lie in a split, the first one lies in
    another split than this one. `lacks_context`: a context that every row must have is not there.
    """

    unread: Disposition | None = None
    duplicate: bool = False
    other_scope: bool = False
    is_subject: bool = True
    passes_where: bool = True
    split: str | None = "all"
    in_earlier_split: bool = False
    mature: bool = True
    answer: Answer | None = None
    lacks_context: bool = False
    cold: bool = False
    kept_by_sampling: bool = True


def dispose(facts: EventFacts, task: Task) -> Disposition:
    """The first disposition that applies, in the order of `DISPOSITIONS`."""
    ladder: tuple[tuple[bool, Disposition], ...] = (
        (facts.unread is not None, facts.unread or "undecodable"),
        (facts.duplicate, "duplicate"),
        (facts.other_scope, "other_scope"),
        (not facts.is_subject, "context"),
        (not facts.passes_where, "where"),
        (facts.split is None, "outside_splits"),
        (facts.in_earlier_split, "earlier_split"),
        (not facts.mature and task.labels.immature == "exclude", "immature"),
        (facts.mature and facts.answer == "unlabeled", "unlabeled"),  # an immature row that is marked stays whatever its label is
        (facts.mature and facts.answer == "conflict", "label_conflict"),
        (facts.lacks_context, "missing_context"),
        (facts.cold and task.cold_rows == "exclude", "cold"),
        (not facts.kept_by_sampling, "sampled_out"),
    )
    return next((disposition for applies, disposition in ladder if applies), "row")


def answer_of(labels: Mapping[str, Resolution], target: Target | CombinedTarget, *, mature: bool) -> Answer:
    """What resolved labels say of a target (`decisions.md` D24).

    An event without a label is negative only if it is mature and the type says `negative_when_mature`.

    Args:
        labels: what is resolved at the as-of, by label type.
        target: what it means.
        mature: is the event?
    """
    if isinstance(target, CombinedTarget):
        return combine(target.combine, {part.label_type: answer_of(labels, part, mature=mature) for part in target.parts})
    label = labels[target.label_type]
    if label.status == "CONFLICT":
        return "conflict"
    if label.status == "NOT_FOUND":
        return "negative" if target.unlabeled == "negative_when_mature" and mature else "unlabeled"
    if label.value in target.positive:
        return "positive"
    return "negative" if target.negative is None or label.value in target.negative else "unlabeled"


def target_of(answer: Answer | None) -> int | None:
    """The target of an answer: 1, 0 or None (unknown). Silence and conflicts never become values."""
    return {"positive": 1, "negative": 0}.get(answer or "")


def sampling_class(target: int | None) -> str:
    """The class whose rate applies to a row: `positive`, `negative` or `unlabeled`."""
    return "unlabeled" if target is None else ("positive" if target else "negative")


def split_of(ts_us: int, splits: tuple[Split, ...]) -> str | None:
    """The split that holds an instant, `start <= ts < end`; without splits everything is in `all`."""
    if not splits:
        return "all"
    return next((split.name for split in splits if split.holds(ts_us)), None)


def is_mature(ts_us: int, labels: LabelTask) -> bool:
    """`ts <= as_of − maturity`, inclusive; everything is mature where no maturity is stated (`decisions.md` D25)."""
    return labels.maturity_us is None or ts_us <= labels.asof_us - labels.maturity_us


def is_cold(ts_us: int, depths: Mapping[str, Sequence[tuple[Window, int]]], history_start_us: Mapping[str, int | None]) -> bool:
    """Does a window of a row begin before the known history of its source (`decisions.md` D19)?

    Args:
        ts_us: the row's instant.
        depths: per source its windows, each with its delay in µs (`Closure.depths`).
        history_start_us: per source, from when on it is complete; None: the source has no event, so nothing is missing.
    """
    begins = [(begin(window, ts_us - delay_us), history_start_us.get(source))
              for source, windows in depths.items() for window, delay_us in windows]
    return any(at is not None and start is not None and at < start for at, start in begins)


def count_dispositions(found: Iterable[Disposition]) -> dict[str, int]:
    """How often each disposition was given; all of them, in their order, zeros included."""
    counts = dict.fromkeys(map(str, DISPOSITIONS), 0)
    for one in found:
        counts[one] += 1
    return counts


def check_accounting(counts: Mapping[str, int], events_read: int) -> None:
    """Hold the counts against what was read.

    Raises:
        RowAccountingBroken: they do not add up, one is negative, or one is not a disposition.

    >>> check_accounting({"row": 3, "where": 1}, 4)
    """
    strange = [name for name, count in counts.items() if name not in DISPOSITIONS or count < 0]
    total = sum(counts.values())
    if strange or total != events_read:
        wrong = f"; wrong: {strange}" if strange else ""
        raise RowAccountingBroken(f"{total:,} dispositions were counted for {events_read:,} events read{wrong}.", counts=dict(counts),
                                  fix="This is a defect of the engine: report it with the counts.",
                                  events_read=events_read)
