"""The worker: takes due runs from the ledger one after the other and brings each to its end (`domain.md` §4).

    take ─▶ plan again ─▶ work_on ─▶ what became of it ─▶ take …
      └─▶ cannot be believed ─▶ quarantined, with a receipt

Any number of workers share one ledger. A run that cannot be served here goes back to the queue, due after a while; one that cannot be
served anywhere ends. Neither keeps the next one waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from offline_feature_plane.contracts.model import validate
from offline_feature_plane.contracts.plan import Pins
from offline_feature_plane.contracts.plane import Settings, config_meaning
from offline_feature_plane.corridor.build import work_on
from offline_feature_plane.corridor.claims import Worker
from offline_feature_plane.corridor.inputs import PlanningInputs, SubmittedIntent
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.plan import plan as make_plan
from offline_feature_plane.corridor.publish import Published
from offline_feature_plane.corridor.receipts import write_quarantine_receipt
from offline_feature_plane.corridor.steps import Machine
from offline_feature_plane.documents import Document
from offline_feature_plane.domain.calendars import rows_source
from offline_feature_plane.domain.closure_documents import closure_from
from offline_feature_plane.domain.identity import config_digest
from offline_feature_plane.domain.runstates import backoff_us
from offline_feature_plane.errors import (
    BuildPlanImmutabilityViolation,
    CodeReleaseMismatch,
    EngineFailed,
    FeatureProfileDrift,
    InvalidTransition,
    LabelStoreUnavailable,
    LedgerChainBroken,
    LedgerUnavailable,
    OfsError,
    OutsideError,
    RefInvalid,
    RefNotFound,
    RequestError,
    RetryNotPending,
    RunBusy,
    RunConfigDigestMismatch,
    RunFactsUnavailable,
    SourceUnreadable,
    StorageIoFailure,
)
from offline_feature_plane.ports import Ports, Progress, Run

POLL_US: Final = 1_000_000
_LONGEST_AFTER: Final = 6  # failures in a row: half a minute at most until it is seen that all is well again

# What held when the run was asked for: not here, or not now. A request that was planned once is not wrong; what it needs is not here.
_ELSEWHERE: Final = (RequestError, CodeReleaseMismatch, FeatureProfileDrift, LabelStoreUnavailable, RefNotFound, RunFactsUnavailable,
                     SourceUnreadable)


Outcome = Literal["PUBLISHED", "ALREADY_PUBLISHED", "QUEUED", "PUBLISH_PENDING", "FAILED", "CANCELLED", "QUARANTINED", "UNKNOWN"]
_LEFT: Final[Mapping[str, Outcome]] = {"QUEUED": "QUEUED", "PUBLISH_PENDING": "PUBLISH_PENDING", "FAILED": "FAILED",
                                       "CANCELLED": "CANCELLED"}
_GIVEN_BACK: Final = ("QUEUED", "PUBLISH_PENDING", "UNKNOWN")


@dataclass(frozen=True)
class Ended:
    """What became of one run that a worker took: what is published, or why it is not, and where the run was left.

    UNKNOWN means that another worker may have it, or that the ledger did not answer: its history tells.
    """

    run_key: str
    request_id: str | None
    outcome: Outcome
    published: Published | None = None
    error: OfsError | None = None

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {"run_key": self.run_key, "request_id": self.request_id, "outcome": self.outcome,
                "dataset_manifest_id": self.published.manifest.dm_id if self.published else None,
                "error": self.error.describe() if self.error else None}


@dataclass(frozen=True)
class Post:
    """Where a worker works: the runs of which scope, with what, and how an asked run is planned here."""

    platform_run_id: str
    ports: Ports
    machine: Machine
    worker: Worker
    plan: Callable[[Run], Planned]
    progress: Progress
    trouble: Callable[[OfsError], None]


def serve(post: Post, *, once: bool) -> Iterator[Ended]:
    """Work on due runs, and say of each what became of it; forever, or (`once`) until nothing is due.

    A ledger or store that fails in the middle is told to `post.trouble` and waited for. A worker whose runs have to be given back, one
    after the other, takes them slower and slower: what troubles it may be its own, and every take spends an attempt.

    Raises:
        LedgerUnavailable, StorageIoFailure: at the start, or with `once` twice in a row: a system outside failed.
        StoreUnsafe: at the start: the store would lose or mix datasets.
    """
    failures, is_begun = 0, False
    while True:
        post.worker.heed()
        try:
            if failures or not is_begun:
                post.ports.store.exists(f"{post.platform_run_id}/ofs/manifests/none.json")
                post.ports.store.prove()
            ended = _serve_one(post)
        except (LedgerUnavailable, StorageIoFailure) as away:
            if once or not is_begun:
                raise
            failures += 1
            post.trouble(away)
            _wait(post, failures)
            continue
        is_begun = True
        if ended is None:
            if once:
                return
            failures = 0
            post.ports.clock.sleep_us(POLL_US)
            continue
        failures = failures + 1 if ended.error is not None and ended.outcome in _GIVEN_BACK else 0
        yield ended
        if failures and not once:
            _wait(post, failures)
        elif failures > 1 and isinstance(ended.error, OutsideError):
            raise ended.error


def _wait(post: Post, failures: int) -> None:
    post.ports.clock.sleep_us(backoff_us(post.worker.name, min(failures, _LONGEST_AFTER)))


def retry(run: Run, ports: Ports, machine: Machine, worker: Worker, progress: Progress) -> Ended:
    """Publish what a PUBLISH_PENDING run has staged, or close it if its retries are spent. Nothing is computed.

    Raises:
        RetryNotPending: the run is not pending. RunBusy, RunEnded: a worker was quicker. OfsError: as `settle`.
    """
    if run.state != "PUBLISH_PENDING":
        raise RetryNotPending(f"run {run.run_key} is {run.state}, not PUBLISH_PENDING.", run_key=run.run_key, state=run.state,
                              fix="Only a run that has staged its data and could not publish it is retried; `ofs run` shows its history.")
    claimed = ports.ledger.claim(run.run_key, worker=worker.name, lease_us=worker.lease_us)
    if claimed.mode == "FULL":  # a worker took it meanwhile, and gave it back
        ports.ledger.release(run.run_key, attempt=claimed.attempt, reason_code=RetryNotPending.code)
        raise RetryNotPending(f"what run {run.run_key} had staged is gone; it waits to be computed again.", run_key=run.run_key,
                              state="QUEUED", fix="Leave it to a worker, or run `ofs build` with its intent.")
    published = work_on(claimed, _no_plan, ports, machine, worker, progress, {})
    return Ended(run.run_key, run.request_id, published.outcome if published else "QUEUED", published)


def plan_again(run: Run, inputs: PlanningInputs) -> Planned:
    """The plan of a run that was asked for elsewhere, made from its pinned intent.

    Raises:
        RunConfigDigestMismatch: this worker's configuration means something else (`decisions.md` D11); the run goes back to the queue.
        OfsError: as planning; what held when the run was asked for, and does not hold here, is transient.
    """
    pins = _pins(run, inputs)
    stamped, found = pins.identity["config_digest"], _config_digest(pins, inputs.settings)
    if stamped != found:
        raise _for_another(RunConfigDigestMismatch(f"run {run.run_key} was asked under configuration {stamped}; this worker has {found}.",
                                                   run_key=run.run_key))
    try:
        return make_plan(SubmittedIntent(Document(pins.intent, f"the intent of run {run.run_key}"), inputs.folder / pins.refs_from), inputs)
    except _ELSEWHERE as unseen:
        raise _for_another(unseen) from None


def _serve_one(post: Post) -> Ended | None:
    """Take what is due, and work on it; None if nothing is. Raises LedgerUnavailable, StorageIoFailure before a run is taken."""
    while True:
        try:
            run = post.ports.ledger.claim_next(worker=post.worker.name, lease_us=post.worker.lease_us, platform_run_id=post.platform_run_id)
        except RunBusy:  # another worker was quicker
            continue
        except LedgerChainBroken as broken:
            return _quarantine(post, broken)
        return None if run is None else _work_on(post, run)


def _work_on(post: Post, run: Run) -> Ended:
    published, error = None, None
    try:
        published = work_on(run, lambda: post.plan(run), post.ports, post.machine, post.worker, post.progress, {})
    except OfsError as wrong:
        error = wrong
    except Exception as defect:  # noqa: BLE001 - a defect that one run meets must not stop the others; the run's attempts are bounded
        error = EngineFailed(f"{type(defect).__name__}: {defect}", fix="Report this as a defect.")
    if published is not None:
        return Ended(run.run_key, run.request_id, published.outcome, published)
    post.worker.heed()
    try:
        state = post.ports.ledger.run(run.run_key).state
    except OfsError as unknown:
        return Ended(run.run_key, run.request_id, "UNKNOWN", error=error or unknown)
    return Ended(run.run_key, run.request_id, _LEFT.get(state, "UNKNOWN"), error=error)


def _quarantine(post: Post, broken: LedgerChainBroken) -> Ended:
    """Keep a run whose record cannot be believed away from all workers, with a receipt; a person restores it."""
    run_key = str(broken.fields["run_key"])
    with suppress(RefInvalid):  # even its key was changed
        write_quarantine_receipt(post.ports.store, post.ports.clock, post.platform_run_id, run_key, broken)
    post.ports.ledger.quarantine(run_key, code=broken.code, details={"what": broken.what, "worker": post.worker.name})
    return Ended(run_key, None, "QUARANTINED", error=broken)


def _no_plan() -> Planned:
    raise InvalidTransition("a publish-only retry was about to compute.", fix="Report this as a defect.")


def _pins(run: Run, inputs: PlanningInputs) -> Pins:
    """What was pinned. Raises BuildPlanImmutabilityViolation for something else; CodeReleaseMismatch if another release may read it."""
    try:
        return validate(Pins, run.payload, default=BuildPlanImmutabilityViolation)
    except BuildPlanImmutabilityViolation:
        asked = run.payload.get("intent")
        release = asked.get("ofs_code_release_id") if isinstance(asked, Mapping) else None
        if not isinstance(release, str) or release == inputs.code_release_id:
            raise
        raise _for_another(CodeReleaseMismatch(f"run {run.run_key} was asked under release {release}; this is {inputs.code_release_id}.",
                                               run_key=run.run_key, fix="Work on it with that release.")) from None


def _config_digest(pins: Pins, settings: Settings) -> str:
    """The digest of what bears meaning for this run in a plane's settings, as planning takes it."""
    intent = pins.intent
    labels = {*intent["label_basis"]["label_types"], *closure_from(pins.closure, rows_source(intent["subject"])).label_types()}
    return config_digest(config_meaning(settings, topics={entry["topic"] for entry in intent["replay_basis"]}, label_types=labels,
                                        outputs=intent["join_scope"]["required_output_ids"], visibility=intent["visibility"]))


def _for_another(error: OfsError) -> OfsError:
    """The same error, as one that another worker, or a later attempt, may not meet."""
    error.transient = True
    return error

