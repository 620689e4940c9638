"""The build corridor: a planned intent in, a published dataset out.

plan ──▶ replay ──▶ labels ──▶ selection ──▶ rows ──▶ files ──▶ manifest ──▶ published once
         └──── each step leaves a receipt, and the ledger remembers it ────┘

`build` claims the run of an intent, `work_on` decides what a claimed run still needs, `make_dataset` makes it, `compute` is the heart of
that.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.corridor.answer import Built, answer
from offline_feature_plane.corridor.attempt import Attempt, MakePlan
from offline_feature_plane.corridor.authenticity import authenticate
from offline_feature_plane.corridor.claims import Worker, claim, held, submit
from offline_feature_plane.corridor.dataset import open_published
from offline_feature_plane.corridor.label_history import refuse_other_events, refuse_other_labels
from offline_feature_plane.corridor.layout import manifest_key
from offline_feature_plane.corridor.manifest import Computed, write_manifest
from offline_feature_plane.corridor.over_gaps import count_rows
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.publish import Published, find_published
from offline_feature_plane.corridor.receipts import Costs, Receipts
from offline_feature_plane.corridor.settlement import settle
from offline_feature_plane.corridor.steps import Machine, replay, resolve_labels, select_rows, stage_rows
from offline_feature_plane.corridor.storing import pin_plan, store_files
from offline_feature_plane.corridor.workfolders import drop_kept, dropping_kept, scratch
from offline_feature_plane.domain.canonical import canonical_bytes
from offline_feature_plane.errors import RunEnded
from offline_feature_plane.ports import Ports, Progress, Run


def build(planned: Planned, ports: Ports, machine: Machine, worker: Worker, progress: Progress, costs: Costs) -> Built:
    """Bring the run of this intent to its end and answer with the published dataset.

    The same intent again returns the finished run, resumes a crashed one, and opens a new one after a failure (`decisions.md` D6).
    `costs` collects where time and memory go, however it ends.

    Raises:
        RunEnded: a stated request id whose run failed. RunBusy: another worker has it.
        OfsError: whatever ended this attempt; the ledger has it.
    """
    run = submit(planned, ports.ledger, wait_us=worker.lease_us).run
    if run.state in {"FAILED", "CANCELLED"}:
        raise RunEnded(f"the run of request {run.request_id} ended {run.state} ({run.reason_code}).",
                       fix="Use a new request_id, or leave it out.", run_key=run.run_key, reason_code=run.reason_code)
    published: Published | None = None
    while published is None and (run := claim(run, ports.ledger, ports.clock, worker, progress)).state != "DONE":
        published = work_on(run, lambda: planned, ports, machine, worker, progress, costs)
    machine.sweep(run.run_key, before=run.attempt + 1)
    drop_kept(machine.work, run, machine.ledger_name, ports.store)
    return answer(planned, ports, machine, published, ports.ledger.run(run.run_key), costs)


def work_on(run: Run, plan: MakePlan, ports: Ports, machine: Machine, worker: Worker, progress: Progress,
            costs: Costs) -> Published | None:
    """Bring a claimed run to its end from wherever it is; None if it went back to the queue, to be claimed again in full.

    Raises:
        OfsError: as `settle`.
    """
    machine.sweep(run.run_key, before=run.attempt)
    with (dropping_kept(machine.work, run, machine.ledger_name, ports.store), held(run, ports.ledger, worker) as lease,
          scratch(machine.folder(run.run_key, run.attempt)) as folder):
        attempt = Attempt(run, plan, ports, machine, folder, worker.heed, lease.check, progress, costs)
        return settle(ports.store, ports.ledger, run, dm_id=str(run.payload.get("dataset_manifest_id")),
                      work=partial(make_dataset, attempt), verify=attempt.verify_staged, close=attempt.close, tell=attempt.tell,
                      heed=worker.heed)


def make_dataset(attempt: Attempt) -> bytes:
    """The manifest of a planned dataset, with all of its data in the store; or the manifest that is published already and verifies."""
    run, store, planned = attempt.run, attempt.ports.store, attempt.plan()
    plan = pin_plan(planned, run, store)
    if (standing := find_published(store, planned.platform_run_id, planned.dm_id)) is not None:
        open_published(authenticate(standing, manifest_key(planned.platform_run_id, planned.dm_id), store), store, attempt.folder)
        attempt.claim_link(planned.dm_id)
        return standing
    receipts = Receipts(attempt.ports.clock, attempt.machine.meter, attempt.costs, attempt.check, written=attempt.receipts).kept(
        store, run, planned.dm_id, plan.digest, attempt.note)
    kept = attempt.machine.kept(run.run_key, attempt.pins.intent["ofs_code_release_id"])
    computed = compute(planned, attempt.machine, attempt.folder, receipts, attempt.progress, kept=kept)
    files = store_files(computed.staged, planned.dm_id, run, store, receipts, attempt.progress)
    manifest = write_manifest(plan, planned, computed, files, receipts.written, attempt.machine, run, attempt.ledger_head())
    return canonical_bytes(manifest.model_dump(mode="json"))


def compute(planned: Planned, machine: Machine, folder: Path, receipts: Receipts, progress: Progress, *,
            standing: DatasetManifest | None = None, kept: Path | None = None) -> Computed:
    """Everything up to staged files, in a work folder; nothing is published. With `standing`, from the very events and labels of that one.

    In `kept` another attempt finds what this one has read.

    Raises:
        ReplayBasisMismatch, LabelHistoryChanged: they are others.
    """
    with scratch(folder / "scratch") as spill, machine.session(planned.task, spill, progress, kept) as session:
        replayed = replay(session, planned, receipts)
        if standing is not None:
            refuse_other_events(standing, replayed)
        labelled = resolve_labels(session, planned, spill, receipts)
        if standing is not None:
            refuse_other_labels(standing, labelled, session)
        selected = select_rows(session, planned, replayed, labelled, receipts)
        staged = stage_rows(session, folder / "staged", receipts)
        over = count_rows(planned.completeness.gaps, replayed.ends, planned.task.closure, session.columns(), staged)
        return Computed(replayed, labelled, selected.facts, selected.gates, session.columns(), staged, session.rows_with_hidden_events(),
                        tuple(over))
