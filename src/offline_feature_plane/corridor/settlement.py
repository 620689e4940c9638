"""Brings one claimed run to its end: finishes what exists, computes what is missing, writes a tombstone on failure (`decisions.md` A1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Final, Literal, cast

from offline_feature_plane.contracts.facts import Vow
from offline_feature_plane.corridor.layout import manifest_key, staged_key
from offline_feature_plane.corridor.publish import (
    Manifest,
    Published,
    bury,
    keep_vow,
    make_vow,
    read_manifest,
    read_vow,
    stage_manifest,
)
from offline_feature_plane.domain.runstates import TERMINAL, Mode, backoff_us
from offline_feature_plane.errors import (
    DigestMismatch,
    Fenced,
    IntegrityError,
    InvalidTransition,
    LedgerUnavailable,
    NondeterminismDetected,
    OfsError,
    PublicationStalled,
    PublicationVowed,
    PublishRetryExhausted,
    RefNotFound,
    RunAttemptsExhausted,
    RunConfigDigestMismatch,
    RunEnded,
    StorageIoFailure,
    StoreUnsafe,
)
from offline_feature_plane.ports import Ledger, ObjectStore, Run

CANCELLED_CODE: Final = "RUN_CANCELLED"
INTERRUPTED_CODE: Final = "RUN_INTERRUPTED"
STAGED_LOST_CODE: Final = "STAGED_LOST"
FAILING: Final = "RUN_FAILING"
VOWING: Final = "RUN_VOWING"

Step = Literal["end", "keep", "vow", "work", "requeue", "bury", "stall"]
GiveBack = Callable[[str], object]
Tell = Callable[[OfsError], None]
Heed = Callable[[], None]

_SPENT: Final[Mapping[str, type[OfsError]]] = {spent.code: spent for spent in
                                               (PublishRetryExhausted, RunAttemptsExhausted, RunConfigDigestMismatch)}


def next_step(mode: Mode | None, vow: Literal["commit", "tombstone"] | None, *, visible: bool, staged: bool) -> Step:
    """What a worker that has claimed a run does, seeing its vow, the manifest of its meaning, and what it staged.

    `visible` matters only beside a vow: before one, finding the manifest is the work's own preflight.

    >>> next_step("PUBLISH_ONLY", None, visible=False, staged=False)
    'requeue'
    """
    if vow == "tombstone":
        return "end"
    if vow == "commit" and (visible or staged):
        return "keep"
    if mode == "CLOSE_ONLY":
        return "stall" if vow == "commit" else "bury"
    if vow is None and staged:
        return "vow"
    return "work" if mode == "FULL" else "requeue"


def settle(store: ObjectStore, ledger: Ledger, run: Run, *, dm_id: str, work: Callable[[], bytes],
           verify: Callable[[Manifest], None], close: Callable[[Published], None] = lambda _: None,
           tell: Tell = lambda _: None, heed: Heed = lambda: None) -> Published | None:
    """Bring a claimed run to its end, from wherever earlier attempts left it.

    Args:
        store: where the run's objects are.
        ledger: records each end before this returns or raises.
        run: as claimed.
        dm_id: the meaning.
        work: stages all data and returns the manifest's bytes; or returns the visible manifest that it found (`find_published`).
        verify: reads back all data of a staged manifest; raises IntegrityError or RefNotFound if not all is there.
        close: states facts beside the dataset once its manifest is visible; called again after a crash.
        tell: states why the run fails, once it may; called again after a crash.
        heed: raises what told this process to stop; an error that was only made of that must not end the run.

    Returns:
        What is visible, with the run DONE; or None if the run went back to the queue, to be claimed again in full.

    Raises:
        OfsError, transient: the run was given back, due after a while: QUEUED if the work failed, PUBLISH_PENDING if publishing did.
        PublicationStalled: PUBLISH_PENDING; a person must look.
        Fenced, LedgerUnavailable: nothing was recorded; a later claim continues.
        OfsError: anything else that ended the run: FAILED with this code (CANCELLED if it was cancelled), or PUBLISH_PENDING if it has
            vowed.
        BaseException: whatever else interrupted the worker; the run is QUEUED.
    """
    wait_us = backoff_us(run.run_key, run.attempt)

    def queue(code: str) -> object:
        return ledger.release(run.run_key, attempt=run.attempt, reason_code=code, wait_us=wait_us)

    def pend(code: str) -> object:
        return ledger.publish_pending(run.run_key, attempt=run.attempt, reason_code=code, wait_us=wait_us)

    with _recorded(store, ledger, run, give_back=queue if run.mode == "FULL" else pend, tell=tell, heed=heed):
        vow = _own_vow(store, run, dm_id)
        manifest = _staged(store, run, dm_id, vow, verify)
        visible = store.exists(manifest_key(run.platform_run_id, dm_id))
        step = next_step(run.mode, vow.outcome if vow else None, visible=visible, staged=manifest is not None)
        if step == "requeue":
            ledger.release(run.run_key, attempt=run.attempt, reason_code=STAGED_LOST_CODE)
            return None
        if step == "bury":
            raise _SPENT[str(run.reason_code)](f"run {run.run_key} used up {run.full_run_attempts} full runs and "
                                               f"{run.publish_retry_attempts} publish retries.", run_key=run.run_key)
        if step == "work":
            manifest = read_manifest(work())
            if manifest.publisher == run.run_key and _fits(manifest, vow):  # another publisher's manifest was found visible, not computed
                verify(manifest)
                with nullcontext() if vow is None else suppress(NondeterminismDetected):  # a vow has decided between attempts
                    manifest = _preferred(stage_manifest(store, run, manifest), manifest, verify)
    if vow is None:
        ledger.note(run.run_key, attempt=run.attempt, kind=VOWING, details={})  # fenced: only the living vow
    with _recorded(store, ledger, run, give_back=pend, tell=tell, heed=heed):
        vow = vow or make_vow(store, run, cast("Manifest", manifest))  # without a vow, there is a manifest by now
        published = keep_vow(store, run, vow, manifest)
        close(published)
    ledger.done(run.run_key, attempt=run.attempt, result=published.result())
    return published


def cancel(store: ObjectStore, ledger: Ledger, run_key: str, *, reason: str) -> Run:
    """Cancel a run: the tombstone first, then the ledger. One that a worker holds stays RUNNING until that worker finds the tombstone.

    Raises:
        RunEnded: it has ended, or is about to. PublicationVowed: it has vowed to publish. RunNotFound.
    """
    run = ledger.run(run_key)
    if run.state in TERMINAL:
        raise RunEnded(f"run {run_key} ended {run.state}.", fix="There is nothing to cancel.", run_key=run_key, reason_code=run.reason_code)
    standing = bury(store, run, CANCELLED_CODE)
    if standing.outcome == "commit":
        raise PublicationVowed(f"run {run_key} has committed to publish.", run_key=run_key)
    if standing.code != CANCELLED_CODE:
        raise RunEnded(f"run {run_key} is ending as FAILED ({standing.code}).", fix="There is nothing to cancel.", run_key=run_key,
                       reason_code=standing.code)
    try:
        return ledger.cancel(run_key, reason=reason)
    except InvalidTransition:  # a worker has it
        return ledger.run(run_key)


def _own_vow(store: ObjectStore, run: Run, dm_id: str) -> Vow | None:
    vow = read_vow(store, run.platform_run_id, run.run_key)
    if vow is not None and vow.dm_id not in {None, dm_id}:
        raise DigestMismatch(f"the commit record of run {run.run_key} names {vow.dm_id}, but the run is for {dm_id}.", run_key=run.run_key,
                             fix="Find out who wrote it, and restore it from a copy of the store.")
    return vow


def _preferred(staged: Manifest, made: Manifest, verify: Callable[[Manifest], None]) -> Manifest:
    """The manifest that an earlier attempt staged, if its data is there again; so that vow, staged and visible manifest are one."""
    if staged.digest != made.digest:
        with suppress(IntegrityError, RefNotFound):
            verify(staged)
            return staged
    return made


def _fits(manifest: Manifest, vow: Vow | None) -> bool:
    return vow is None or (manifest.dm_id, manifest.core_digest) == (vow.dm_id, vow.core_digest)


def _staged(store: ObjectStore, run: Run, dm_id: str, vow: Vow | None, verify: Callable[[Manifest], None]) -> Manifest | None:
    """The manifest that an earlier attempt staged, if it is the vowed one and all of its data verifies; anything less counts as lost."""
    try:
        manifest = read_manifest(store.get(staged_key(run.platform_run_id, dm_id, run.run_key)))
        verify(manifest)
    except (IntegrityError, RefNotFound):
        return None
    return manifest if _fits(manifest, vow) else None


@contextmanager
def _recorded(store: ObjectStore, ledger: Ledger, run: Run, *, give_back: GiveBack, tell: Tell, heed: Heed) -> Iterator[None]:
    """Record in the ledger, and before that in the store, whatever ends the block badly."""
    try:
        try:
            yield
        except Exception:
            heed()
            raise
    except (Fenced, LedgerUnavailable):
        raise
    except PublicationStalled as stalled:
        ledger.publish_pending(run.run_key, attempt=run.attempt, reason_code=stalled.code)
        raise
    except OfsError as error:
        if error.transient:
            give_back(error.code)
        else:
            _fail(store, ledger, run, error, give_back, tell)
        raise
    except BaseException as ended:
        with suppress(OfsError):
            ledger.release(run.run_key, attempt=run.attempt, reason_code=INTERRUPTED_CODE,
                           wait_us=backoff_us(run.run_key, run.attempt) if isinstance(ended, Exception) else 0)
        raise


def _fail(store: ObjectStore, ledger: Ledger, run: Run, error: OfsError, give_back: GiveBack, tell: Tell) -> None:
    """FAILED if the commit record says so: a tombstone, or a vow that lost to another visible core. Else a later attempt continues."""
    ledger.note(run.run_key, attempt=run.attempt, kind=FAILING, details={"code": error.code})  # fenced: only the living bury
    try:
        standing = bury(store, run, error.code)
        may_fail = standing.outcome == "tombstone" or _has_lost(store, run, standing)
    except (StorageIoFailure, StoreUnsafe, DigestMismatch) as unknown:
        give_back(unknown.code)
        return
    if may_fail:
        with suppress(OfsError):  # the first error is the one that counts
            tell(error)
    if standing.code == CANCELLED_CODE:
        ledger.cancelled(run.run_key, attempt=run.attempt, reason_code=CANCELLED_CODE)
    elif may_fail:
        ledger.failed(run.run_key, attempt=run.attempt, reason_code=standing.code or error.code, details=_said(error))
    else:
        ledger.publish_pending(run.run_key, attempt=run.attempt, reason_code=error.code, wait_us=backoff_us(run.run_key, run.attempt))


def _has_lost(store: ObjectStore, run: Run, vow: Vow) -> bool:
    try:
        return read_manifest(store.get(manifest_key(run.platform_run_id, str(vow.dm_id)))).core_digest != vow.core_digest
    except (RefNotFound, IntegrityError):
        return False


def _said(error: OfsError) -> dict[str, str | None]:
    """What the ledger keeps of an error: text that any encoding can hold."""
    whole = {"code": error.code, "family": error.family, "what": error.what, "path": error.path}
    return {name: text if text is None else text.encode("utf-8", "backslashreplace").decode() for name, text in whole.items()}
