"""Do the sources still say what a published dataset was built from? If not, what changed, by name (`domain.md` §1.8, `decisions.md` D5).

```
   manifest: sketch then ─┐                    ┌─ in the slice now: named in full
                          ├─ marks that differ ┤
   this build: sketch now ┘                    └─ not any more: event and instant of observation are all that is left of it
```
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.domain.label_sketch import Mark, differ, mark_of, unpack
from offline_feature_plane.domain.resolution import Assertion
from offline_feature_plane.errors import LabelHistoryChanged, ReplayBasisMismatch
from offline_feature_plane.ports import EngineSession, EventLabels, LabelFacts, ReplayFacts

SHOWN: Final = 5  # assertions that the sentence names; the fields name more


@dataclass(frozen=True)
class LabelChanges:
    """How one type's slice differs from what it was.

    Attributes:
        appeared: assertions that it had not.
        gone: event id and instant of observation, in µs, of those that it has no more.
        changed: where one is gone and one appeared at the same event, the new one.
        share: of a large difference one change of so many is told here; 1: all of them.
    """

    appeared: tuple[Assertion, ...]
    gone: tuple[tuple[int | str, int], ...]
    changed: tuple[Assertion, ...]
    share: int

    def document(self) -> dict[str, Any]:
        """As JSON-ready values; counts of a large difference are estimates."""
        return {"appeared": len(self.appeared) * self.share, "gone": len(self.gone) * self.share,
                "changed": len(self.changed) * self.share, "told_one_of": self.share,
                "first": [_described(one) for one in self.appeared], "first_changed": [_described(one) for one in self.changed],
                "first_gone": [{"event_id": event, "observed_time": format_instant(seen)} for event, seen in self.gone]}

    def sentences(self, label_type: str) -> list[str]:
        """What people are told."""
        gone = [f"one of event {event}, observed {format_instant(seen)}" for event, seen in self.gone]
        return [self._sentence(f"{label_type} assertions {what}", named) for what, named in (
            ("appeared below the cut", [_named(one) for one in self.appeared]), ("are gone", gone),
            ("were changed in place", [_named(one) for one in self.changed])) if named]

    def _sentence(self, what: str, named: Sequence[str]) -> str:
        about = f"{len(named)}" if self.share == 1 else f"about {len(named) * self.share:,}"
        return f"{about} {what}: {', '.join(named[:SHOWN])}{', …' if len(named) > SHOWN or self.share > 1 else ''}."


def refuse_other_events(standing: DatasetManifest, replayed: ReplayFacts) -> None:
    """Raise ReplayBasisMismatch if the events are not the ones of a published dataset."""
    then, now = standing.core.events_digest, replayed.events_digest
    if now != then:
        raise ReplayBasisMismatch(f"the events of {standing.dataset_manifest_id} had digest {then}, now {now}.")


def refuse_other_labels(standing: DatasetManifest, labelled: LabelFacts, session: EngineSession) -> None:
    """Raise LabelHistoryChanged, with the assertions that differ, if the labels are not the ones of a published dataset; its events are."""
    then, now = standing.core.label_slice_digest, labelled.slice_digest
    if now == then:
        return
    sketches = standing.evidence.label_sketches
    changes = {label_type: found for label_type, sketch in sorted(labelled.sketches.items())
               if (found := _changes(label_type, sketches.get(label_type, ""), sketch, session)) is not None}
    told = [sentence for label_type, found in changes.items() for sentence in found.sentences(label_type)]
    fields: dict[str, Any] = {"changes": {label_type: found.document() for label_type, found in changes.items()}} if changes else {}
    raise LabelHistoryChanged(
        " ".join([f"the labels of {standing.dataset_manifest_id} known at the as-of had digest {then}, now {now}.", *told]),
        fix="Assertions were added, changed or removed below the cut: ask the owner of the label timeline.",
        **fields)


def _changes(label_type: str, packed: str, now: bytes, session: EngineSession) -> LabelChanges | None:
    """None if nothing of the type changed, or if it cannot be told what."""
    then = unpack(packed)
    found = None if then is None or then == now else differ(then, now)
    if found is None:
        return None
    positions = sorted({mark.position for mark in (*found.appeared, *found.gone)})
    events = {one.position: one for one in session.labels_of(label_type, positions)}
    new, old = _by_event(found.appeared), _by_event(found.gone)
    appeared, gone, changed = list[Assertion](), list[tuple[int | str, int]](), list[Assertion]()
    for position in positions:
        said = _said(events[position], new[position])
        both = min(len(new[position]), len(old[position]))
        changed += said[:both]
        appeared += said[both:]
        gone += [(events[position].event_id, mark.observed_us) for mark in old[position][both:]]
    return LabelChanges(tuple(appeared), tuple(gone), tuple(changed), found.share)


def _by_event(marks: Iterable[Mark]) -> defaultdict[int, list[Mark]]:
    found = defaultdict[int, list[Mark]](list)
    for mark in marks:
        found[mark.position].append(mark)
    return found


def _said(event: EventLabels, marks: Sequence[Mark]) -> list[Assertion]:
    """The assertions that left some marks."""
    said = {mark_of(event.position, one): one for one in event.assertions}
    return [said[mark] for mark in marks]


def _named(one: Assertion) -> str:
    said = f"event {one.subject} is {one.value}, observed {format_instant(one.observed_us)}"
    return said if one.assertion_id is None else f"{one.assertion_id} ({said})"


def _described(one: Assertion) -> dict[str, Any]:
    return {"label_assertion_id": one.assertion_id, "event_id": one.subject, "label_value": one.value,
            "observed_time": format_instant(one.observed_us), "effective_time": format_instant(one.effective_us),
            "source_type": one.source, "supersedes": one.supersedes}
