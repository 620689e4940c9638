"""Engines: what moves rows and computes features, step by step, and what each step found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.domain.content import Leaf
from offline_feature_plane.domain.ends import Ends
from offline_feature_plane.domain.findings import Finding
from offline_feature_plane.domain.resolution import Assertion
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.ports.inputs import EventInput, LabelTable
from offline_feature_plane.ports.process import Progress

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ReplayFacts:
    """What replay found: how many coordinates were read, what was left out why, and the digest of the events.

    `findings` say what was wrong in the logs, and where; `compared` counts the coordinates whose two holders were compared; `scenarios`
    has, for each scenario run that a build is about, how many records of the run are of it, none included; `ends` are the events at both
    ends of each range of a log.
    """

    events_read: int
    events_admitted: int
    dispositions: Mapping[str, int]
    events_digest: str
    first_ts_us: int | None
    last_ts_us: int | None
    id_type: ColumnType
    findings: tuple[Finding, ...] = ()
    compared: int = 0
    scenarios: Mapping[str, int] = field(default_factory=dict)
    ends: tuple[Ends, ...] = ()


CONFLICTS_TOLD = 5


@dataclass(frozen=True)
class LabelFacts:
    """What label resolution used: assertions read, eligible, per type and value; the digest of the slice; observed-lag diagnostics.

    Of a type about entities, `applies_to` names the field that holds them, `said` counts assertions by value, and what is resolved are
    entities as they stand at the as-of. `conflicts_at` are the first positions of what is in conflict; an entity stands at its first event.
    `assertions_adrift` supersede what is not known of their subject at the latest as-of, `first_adrift` is the first of them; both are
    there only where there is one. `sketches` holds the `domain.label_sketch` of each type's slice; there an entity stands at its
    first event.
    """

    assertions_read: int
    assertions_eligible: int
    slice_digest: str
    per_type: Mapping[str, Mapping[str, Any]]
    sketches: Mapping[str, bytes]

    def values_of(self, label_type: str) -> Mapping[str, int]:
        """The values that rows can carry: what events resolve to, or what is said of entities, for rows carry a label that has ended."""
        found: Mapping[str, int] = self.per_type[label_type].get("said", self.per_type[label_type]["values"])
        return found


@dataclass(frozen=True)
class EventLabels:
    """What a timeline says of one event or of its entity, eligible or not: position in the total order, id, assertions in any order."""

    position: int
    event_id: int | str
    assertions: tuple[Assertion, ...]


@dataclass(frozen=True)
class SelectionFacts:
    """Which events become rows: the row accounting (`decisions.md` D18) and the counts that gates judge.

    `accounting` counts every coordinate once and sums to `events_read`. `coverage` holds per label type the mature subject rows'
    `subjects, resolved, not_found, conflict`. `splits` holds per split `rows, positive, negative, unknown, cold`. `cohorts` are the
    cells of `ports.cohorts`: every subject event that passes `where`, in a split or not, mature or not.
    """

    accounting: Mapping[str, int]
    coverage: Mapping[str, Mapping[str, int]]
    splits: Mapping[str, Mapping[str, Any]]
    rows_beyond_asof: int
    cohorts: pa.Table


class EngineSession(Protocol):
    """One build's work on one engine, in order: replay, labels, select, rows. Values live inside the session until it closes."""

    def replay(self, inputs: Sequence[EventInput]) -> ReplayFacts:
        """Read, type, deduplicate and order all events. Raises the replay and source errors."""

    def labels(self, inputs: Sequence[LabelTable]) -> LabelFacts:
        """Read the timelines and resolve them by the task's rule. Raises the label errors."""

    def labels_of(self, label_type: str, positions: Sequence[int]) -> Sequence[EventLabels]:
        """What the timeline of a type says of the events at a few positions, read again. Raises the label errors."""

    def select(self) -> SelectionFacts:
        """Decide for every event what becomes of it. Pure counting; gates are the caller's."""

    def rows(self, limit: int | None = None) -> Iterator[pa.RecordBatch]:
        """Finished rows in the total order with exactly the columns of `columns`, in batches of any size."""

    def leaves(self) -> Sequence[Leaf] | None:
        """The leaves of the rows that were given so far, if the engine digests them where it computes them; None: their taker does."""

    def columns(self) -> tuple[Column, ...]:
        """The schema of `rows`, known after `replay`."""

    def execution(self) -> Mapping[str, Any]:
        """How the work is done on this machine, and why so, as far as it is known: evidence for receipts."""

    def rows_with_hidden_events(self) -> int:
        """Of the rows that were given so far, how many have an event in a window that arrived after them; 0 under `event_time` (D21)."""


class Engine(Protocol):
    """Moves rows and computes features. `name` and `version` go into the evidence."""

    name: str
    version: str

    def supports(self, function: str) -> bool:
        """Does it compute the aggregation of this name? Asked while planning, so it must cost nothing to answer."""

    def session(self, task: Task, *, work: Path, memory_limit: str | None = None, threads: int | None = None,
                progress: Progress | None = None, kept: Path | None = None) -> AbstractContextManager[EngineSession]:
        """Open a session whose scratch files live in `work`.

        `kept` outlives it: what takes long to be read may be kept there for another attempt, and what an earlier one has kept there may be
        taken over, if nothing tells the difference. It need not exist; None: there is no such attempt.
        """
