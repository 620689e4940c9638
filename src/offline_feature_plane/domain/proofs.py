"""Why a column cannot know what came after its row: what the closure and the label rule bound, and what they rest on (`domain.md` §6).

    ──(──────────────]────────────────●──────────────────────|──▶
      window         T − delay        T: the row             label as-of
                     features end here                       labels end here

A column is PROVED if a law bounds everything that it is made from. It is ASSUMED if the bound rests on what nobody recorded when it
happened: a declared delay of labels, or the present text of a file. It is UNPROVED if the manifest does not say what the closure says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from offline_feature_plane.domain.closure import Closure, Computed, Feature, Group
from offline_feature_plane.domain.instants import format_duration

Verdict = Literal["PROVED", "ASSUMED", "UNPROVED"]


@dataclass(frozen=True)
class Grounds:
    """What bounds the columns of a dataset.

    Args:
        closure: of its feature set.
        subject: the source whose events are rows.
        tables: event types that were read from plain tables, whose files tell the present state of an event.
        delays: label types whose observed times are assumed, with the declared delay in µs.
        asof: the label as-of, as an instant's text.
        own: that of each split that has one of its own, by its name.
    """

    closure: Closure
    subject: str
    tables: frozenset[str]
    delays: Mapping[str, int]
    asof: str
    own: Mapping[str, str] = field(default_factory=dict)

    @property
    def asof_words(self) -> str:
        """By when labels were observed, in words."""
        return ", ".join([self.asof, *(f"in {split} {asof}" for split, asof in self.own.items())])


@dataclass(frozen=True)
class Proof:
    """The latest instant that a column can depend on, in words, and how well that is known.

    `delay_us` is the least distance of its windows from the row, None for columns without windows.
    """

    verdict: Verdict
    latest: str
    window: str
    delay_us: int | None
    rests_on: tuple[str, ...] = ()


def prove_features(grounds: Grounds, lineages: Mapping[str, str]) -> dict[str, Proof]:
    """The proof of each feature column, by name.

    Args:
        grounds: what bounds the dataset.
        lineages: by name, what the manifest says that each feature column is made from.
    """
    closure = grounds.closure
    known = {feature.column: _windowed(grounds, group, feature) for group in closure.groups for feature in group.features}
    for computed in closure.row_features:
        known[computed.column] = _computed(grounds, computed, {})
    for computed in closure.derived:
        known[computed.column] = _computed(grounds, computed, known)
    lawful = replace(closure, groups=tuple(replace(group, delay_us=max(group.delay_us, 0)) for group in closure.groups))
    said = {column.name: column.lineage for column in lawful.columns()}  # columns have no words for a window that ends after its row
    return {name: known[name] if said.get(name) == lineage else
            Proof("UNPROVED", "unknown", "", None, (f"the closure does not say that it is made from {lineage or 'nothing'}",))
            for name, lineage in lineages.items()}


def prove_label(grounds: Grounds, observed: Mapping[str, Mapping[str, str | None]]) -> Proof:
    """The proof of a column that is made from labels, of one type or, as a target may be, of several.

    Args:
        grounds: what bounds the dataset.
        observed: per label type and split the latest observed time that rows hold, None if they hold none; texts of instants compare as
            instants.
    """
    bound = f"observed by the label as-of {grounds.asof_words}"
    late = tuple(f"a row{f' of {split}' if grounds.own else ''} holds a label that was observed at {latest}"
                 for by_split in observed.values() for split, latest in by_split.items()
                 if latest is not None and latest > grounds.own.get(split, grounds.asof))
    if late:
        return Proof("UNPROVED", bound, "", None, late)
    return _judged(bound, "", None, [said for label_type in observed for said in _label_trust(grounds, label_type)])


def _windowed(grounds: Grounds, group: Group, feature: Feature) -> Proof:
    call = feature.aggregation
    if group.delay_us < 0:
        return Proof("UNPROVED", "after the row's instant", feature.window.label, group.delay_us, ("its windows end after the row",))
    holds_own = group.current and feature.window.kind != "tumbling"
    latest = (f"{format_duration(group.delay_us)} before the row's instant" if group.delay_us else
              "the row's own event" if holds_own else "events before the row's")
    trust: list[str] = []
    if call.label_type:
        latest += f"; labels observed by the row's instant and by {grounds.asof_words}"
        trust += _label_trust(grounds, call.label_type)
    read = {*group.key, *filter(None, [call.argument]),
            *(name for one in (group.where, call.condition) if one for name in one.names())} - {"ts"}
    trust += _file_trust(grounds, group.source, read)
    return _judged(latest, feature.window.label, group.delay_us, trust)


def _computed(grounds: Grounds, computed: Computed, known: Mapping[str, Proof]) -> Proof:
    """An expression depends on what it reads: columns, each with its proof, and fields of the row's own event."""
    names = sorted(computed.expression.names())
    read = [known[name] for name in names if name in known]
    own = [name for name in names if name not in known]
    latest = [*(["the row's own event"] if own or not read else []), *(proof.latest for proof in read)]
    trust = [*_file_trust(grounds, grounds.subject, set(own) - {"ts"}), *(reason for proof in read for reason in proof.rests_on)]
    delays = [proof.delay_us for proof in read if proof.delay_us is not None]
    windows = [proof.window for proof in read if proof.window]
    judged = _judged("; ".join(dict.fromkeys(latest)), ", ".join(dict.fromkeys(windows)), min(delays, default=None), trust)
    if any(proof.verdict == "UNPROVED" for proof in read):
        return Proof("UNPROVED", judged.latest, judged.window, judged.delay_us, judged.rests_on)
    return judged


def _judged(latest: str, window: str, delay_us: int | None, trust: Sequence[str]) -> Proof:
    return Proof("ASSUMED" if trust else "PROVED", latest, window, delay_us, tuple(dict.fromkeys(trust)))


def _label_trust(grounds: Grounds, label_type: str) -> list[str]:
    if (delay := grounds.delays.get(label_type)) is None:
        return []
    return [f"labels of {label_type} are taken as observed {format_duration(delay)} after their event: no column says when they were"]


def _file_trust(grounds: Grounds, source: str, fields: set[str]) -> list[str]:
    """A log holds an event as it was written; a plain table holds what it holds when it is read, keys too."""
    if not fields or not grounds.tables.intersection(grounds.closure.source(source).event_types):
        return []
    return [f"{field} of {source} is taken as it stands in a plain table: nothing says that it did not change after its event"
            for field in sorted(fields)]
