"""The steps of the build corridor up to staged files: each takes values, returns values, and leaves a receipt."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from offline_feature_plane.corridor.anomalies import read_and_report
from offline_feature_plane.corridor.gates import judge, refuse_failed
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.receipts import Receipts
from offline_feature_plane.corridor.stage import Staged, stage
from offline_feature_plane.corridor.workfolders import kept_folder
from offline_feature_plane.domain.accounting import check_accounting
from offline_feature_plane.domain.gates import GateResult
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.ports import Engine, EngineSession, LabelFacts, Meter, Progress, ReplayFacts, SelectionFacts, Spent
from offline_feature_plane.ports.inputs import LabelTable


@dataclass(frozen=True)
class Machine:
    """What this machine brings to a build: the engine and its limits, a work folder, and the versions of the libraries that count.

    `ledger_name` tells the runs of planes apart that share a work folder; `meter` tells what this process has used.
    """

    engine: Engine
    work: Path
    memory_limit: str | None = None
    threads: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    ledger_name: str = ""
    meter: Meter = Spent

    def folder(self, run_key: str, attempt: int) -> Path:
        """Where an attempt works. Planes that share a work folder do not share runs: the ledger that counts attempts is in the name."""
        return self.work / f"{run_key}.{self.ledger_name}.{attempt}"

    def kept(self, run_key: str, release: str) -> Path:
        """Where attempts of a run keep for each other what they have read, under a code release."""
        return kept_folder(self.work, run_key, self.ledger_name) / hashlib.sha256(release.encode()).hexdigest()[:16]

    def sweep(self, run_key: str, *, before: int) -> None:
        """Remove what attempts left that were killed; a newer attempt has fenced them all."""
        for attempt in range(1, before):
            shutil.rmtree(self.folder(run_key, attempt), ignore_errors=True)

    def session(self, task: Task, folder: Path, progress: Progress, kept: Path | None = None) -> AbstractContextManager[EngineSession]:
        """Open a session of the engine whose scratch files live in `folder`; `kept` outlives it, for another attempt."""
        return self.engine.session(task, work=folder, memory_limit=self.memory_limit, threads=self.threads, progress=progress, kept=kept)


@dataclass(frozen=True)
class Selected:
    """Which events become rows, and what the gates say of it."""

    facts: SelectionFacts
    gates: tuple[GateResult, ...]


def replay(session: EngineSession, planned: Planned, receipts: Receipts) -> ReplayFacts:
    """Read, type, deduplicate and order the events of the basis."""
    with receipts.phase("replay") as facts:
        replayed = read_and_report(session, planned, receipts)
        facts.update(events_read=replayed.events_read, events_admitted=replayed.events_admitted, dispositions=dict(replayed.dispositions),
                     events_digest=replayed.events_digest, completeness=planned.receipt, rows=replayed.events_read,
                     execution=dict(session.execution()), compared=replayed.compared,
                     findings=[one.describe() for one in replayed.findings])
    return replayed


def resolve_labels(session: EngineSession, planned: Planned, folder: Path, receipts: Receipts) -> LabelFacts:
    """Read the label timelines, in a work folder what is not in files yet, and resolve them as of the cut."""
    with receipts.phase("labels") as facts:
        labelled = session.labels(fetch_labels(planned, folder))
        facts.update(rows=labelled.assertions_read,
                     assertions_read=labelled.assertions_read, assertions_eligible=labelled.assertions_eligible,
                     slice_digest=labelled.slice_digest, per_type={name: dict(one) for name, one in labelled.per_type.items()})
    return labelled


def fetch_labels(planned: Planned, folder: Path) -> tuple[LabelTable, ...]:
    """The label timelines in files; those of a database are read into a folder, each in one snapshot. Raises as `PinnedLabels.reading`."""
    return tuple(one.reading(folder) for one in planned.labels)


def select_rows(session: EngineSession, planned: Planned, replayed: ReplayFacts, labelled: LabelFacts, receipts: Receipts) -> Selected:
    """Decide for every event what becomes of it, and judge the gates before any feature is computed.

    Raises:
        RowAccountingBroken: the counts do not add up to the events read.
        RefusedError: a gate failed, and the purpose is training.
    """
    with receipts.phase("selection") as facts:
        selection = session.select()
        check_accounting(selection.accounting, replayed.events_read)
        gates = judge(planned, replayed, labelled, selection)
        facts.update(rows=selection.accounting["row"],
                     accounting=dict(selection.accounting), coverage={name: dict(one) for name, one in selection.coverage.items()},
                     splits={name: dict(one) for name, one in selection.splits.items()}, gates=[gate.describe() for gate in gates])
        refuse_failed(planned, gates, labelled, selection)
    return Selected(selection, gates)


def stage_rows(session: EngineSession, folder: Path, receipts: Receipts) -> Staged:
    """Compute the rows, write them as data files into a new folder, and digest them."""
    with receipts.phase("staging") as facts:
        digested = None if session.leaves() is None else lambda: session.leaves() or ()
        staged = stage(session.columns(), _while_wanted(session.rows(), receipts.check), folder, digested=digested)
        facts.update(rows=staged.rows, content_digest=staged.content_digest, parts=len(staged.parts),
                     execution=dict(session.execution()), rows_with_hidden_events=session.rows_with_hidden_events())
    return staged


def _while_wanted(batches: Iterable[pa.RecordBatch], check: Callable[[], None]) -> Iterator[pa.RecordBatch]:
    """The same batches; before each one, `check` may stop a worker that has lost its claim."""
    try:
        for batch in batches:
            check()
            yield batch
    finally:
        if isinstance(batches, Iterator) and hasattr(batches, "close"):
            batches.close()  # the engine's threads end here
