"""The doors: small Protocols that use cases call and adapters implement, and the frozen values that pass through them.

Those of what a build reads, event sources and label stores, are in `ports.inputs`. Every method names the errors it raises; adapters
map foreign exceptions to ours at their own edge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.domain.content import Leaf
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.domain.runstates import Mode, State
from offline_feature_plane.ports.inputs import EventInput, LabelTable

if TYPE_CHECKING:
    import pyarrow as pa

Progress = Callable[[str, int, int], None]
"""Is told `(step, done, total)`; a total of 0 means that the amount is unknown."""

# --- clock --------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Tells the time; only receipts and leases of a local ledger may ask."""

    def now_us(self) -> int:
        """µs since the epoch, UTC."""

    def sleep_us(self, span_us: int) -> None:
        """Wait."""


# --- meter --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spent:
    """What this process has used since it began; 0 where the system does not tell.

    `peak_bytes` is the most memory it ever had at once; `read_bytes` and `written_bytes` went through calls of the system.
    """

    cpu_us: int = 0
    peak_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0


Meter = Callable[[], Spent]

# --- object store -------------------------------------------------------------------------------------------

PutOutcome = Literal["created", "exists"]


@dataclass(frozen=True)
class Leftover:
    """What a writer that is gone left in a store beside its objects: no key reaches it, and nobody goes on with it.

    `name` names it to the store that found it, and to people.
    """

    name: str
    size_bytes: int
    why: str


@runtime_checkable
class ObjectStore(Protocol):
    """Keys are relative POSIX paths of safe segments; an object is never changed once it is visible (`domain.md` §5)."""

    name: str

    def prove(self) -> None:
        """Try whether objects can be created here, and each only once, before work begins that relies on it; leaves no object.

        Raises:
            StoreUnsafe: the store does what would lose or mix datasets. StorageIoFailure: it cannot be written to.
        """

    def put_new(self, key: str, data: bytes) -> PutOutcome:
        """Create `key` with `data` iff it does not exist yet, durably; `exists` leaves the existing object untouched.

        Of any number of writers with different bytes one is told `created`. After a lost reply a store may take equal bytes for its own.

        Raises:
            RefInvalid: a key with unsafe segments.
            StorageIoFailure: the store failed; whether the object exists is unknown: read it back.
        """

    def put_file(self, key: str, path: Path) -> PutOutcome:
        """Like `put_new` from a local file, which may be moved away (hard-linked) and must not be written afterwards."""

    def get(self, key: str) -> bytes:
        """All bytes of an object.

        Raises:
            RefNotFound, StorageIoFailure. DigestMismatch: the store itself can tell that they are damaged; so for all that read.
        """

    def digest(self, key: str) -> str:
        """`sha256:<hex>` of an object's bytes, without holding them. Raises RefNotFound, StorageIoFailure."""

    def local_copy(self, key: str, scratch: Path) -> Path:
        """A local file with the object's bytes, read only: the object itself, or a copy in the folder `scratch`, made if it is needed.

        Raises:
            RefNotFound, StorageIoFailure.
        """

    def exists(self, key: str) -> bool:
        """Is there an object at `key`?"""

    def size(self, key: str) -> int:
        """How many bytes an object has, without reading them. Raises RefNotFound, StorageIoFailure."""

    def list(self, prefix: str) -> Iterator[str]:
        """Keys below `prefix` (whole segments), in byte order."""

    def delete(self, key: str) -> None:
        """Remove an unpublished or retired data file. Nothing else is ever deleted; the caller proves that it may."""

    def leftovers(self, prefix: str, is_over: Callable[[str], bool]) -> Iterator[Leftover]:
        """What writers left that are known to be gone; never what somebody may still be writing, however old it is.

        Two kinds of proof count. A store that can see that a writer is dead (a lock that ends with its process) needs no other, and may
        pass over `prefix`. Else what was begun below `prefix` for a key is left over iff `is_over(key)`: the run that owns the key has
        ended, so that whatever its workers still write is read by nobody.

        Raises:
            StorageIoFailure.
        """

    def remove_leftover(self, leftover: Leftover) -> bool:
        """Remove what `leftovers` found; False if it is gone already, or somebody has come to hold it. Raises StorageIoFailure."""

    def uri(self, key: str) -> str:
        """How a person names the object."""


# --- ledger -------------------------------------------------------------------------------------------------

RunState = State
RunMode = Mode


@dataclass(frozen=True)
class Run:
    """One run as the ledger knows it. `attempt` is the fencing token of the current claim."""

    run_key: str
    request_id: str
    payload_digest: str
    platform_run_id: str
    state: RunState
    mode: RunMode | None
    attempt: int
    full_run_attempts: int
    publish_retry_attempts: int
    lease_until_us: int | None
    worker: str | None
    reason_code: str | None
    result: Mapping[str, Any] | None
    payload: Mapping[str, Any]
    created_us: int
    updated_us: int


@dataclass(frozen=True)
class LedgerEvent:
    """One link of a run's append-only, hash-chained history."""

    run_key: str
    seq: int
    kind: str
    at_us: int
    attempt: int
    details: Mapping[str, Any]
    previous_digest: str
    digest: str


@dataclass(frozen=True)
class Submitted:
    """Answer to a submit: a new run, or the existing run of this request."""

    outcome: Literal["NEW", "DUPLICATE"]
    run: Run


@dataclass(frozen=True)
class Rebuilt:
    """A run as the documents of a store tell it, for a ledger that was lost: QUEUED or ended, with the highest attempt that is known."""

    request_id: str
    payload_digest: str
    platform_run_id: str
    payload: Mapping[str, Any]
    state: RunState
    attempt: int
    full_run_attempts: int
    publish_retry_attempts: int
    reason_code: str | None
    result: Mapping[str, Any] | None
    created_us: int
    ended_us: int | None


@dataclass(frozen=True)
class Quarantined:
    """A run that cannot be read, kept away from every worker: since when, for which code, and what was found."""

    run_key: str
    at_us: int
    code: str
    details: Mapping[str, Any]


@runtime_checkable
class Ledger(Protocol):
    """The run ledger, which is also the queue (`domain.md` §4). Every update carries the attempt; a stale one raises Fenced."""

    name: str

    def submit(self, *, request_id: str, payload_digest: str, platform_run_id: str, payload: Mapping[str, Any],
               wait_us: int = 0) -> Submitted:
        """Open a run or return the one this request id has; `claim_next` leaves a new one alone for `wait_us`.

        Raises:
            RequestIdPayloadMismatch: the id was used with another payload. LedgerChainBroken: as `claim`. LedgerUnavailable.
        """

    def submit_unnamed(self, *, payload_digest: str, platform_run_id: str, payload: Mapping[str, Any], wait_us: int = 0) -> Submitted:
        """Submit under `auto:<first 16 hex>:<n>`, n = FAILED or CANCELLED runs of this payload + 1 (`decisions.md` D6)."""

    def claim(self, run_key: str, *, worker: str, lease_us: int) -> Run:
        """Take a QUEUED run, or a RUNNING one whose lease ran out, raising `attempt`; a PUBLISH_PENDING run is claimed PUBLISH_ONLY.

        When the attempts are spent, the claim is CLOSE_ONLY and `reason_code` says which budget: the worker finishes an existing vow,
        or writes the run's tombstone and fails it with that code (`domain.runstates`). The ledger never fails a run by itself.

        Raises:
            RunBusy: another live lease. RunEnded: the run is terminal. RunNotFound. LedgerChainBroken: its record does not verify, or is in
                quarantine.
        """

    def claim_next(self, *, worker: str, lease_us: int, platform_run_id: str) -> Run | None:
        """Claim the run of this scope that has been due the longest: waiting and due, or RUNNING with its lease run out. None if none is.

        Runs that are quarantined, and pending ones that need a person (PUBLICATION_STALLED), are never due.

        Raises:
            LedgerChainBroken: the run that is due cannot be believed; its `run_key` is in the fields. Nothing was changed.
            RunBusy: another worker was quicker; ask again.
        """

    def quarantine(self, run_key: str, *, code: str, details: Mapping[str, Any]) -> None:
        """Keep a run that cannot be believed away from every worker and out of every list, for good."""

    def quarantined(self) -> Sequence[Quarantined]:
        """The runs that no worker may take, oldest first."""

    def heartbeat(self, run_key: str, *, attempt: int, lease_us: int) -> None:
        """Prolong the lease. Raises Fenced."""

    def note(self, run_key: str, *, attempt: int, kind: str, details: Mapping[str, Any]) -> None:
        """Append an event (a finished phase with its receipt's digest) to a RUNNING run. Raises Fenced."""

    def publish_pending(self, run_key: str, *, attempt: int, reason_code: str, wait_us: int = 0) -> Run:
        """RUNNING → PUBLISH_PENDING, due after `wait_us`. Raises Fenced."""

    def done(self, run_key: str, *, attempt: int, result: Mapping[str, Any]) -> Run:
        """RUNNING → DONE. Raises Fenced."""

    def failed(self, run_key: str, *, attempt: int, reason_code: str, details: Mapping[str, Any]) -> Run:
        """RUNNING → FAILED, final. Raises Fenced."""

    def release(self, run_key: str, *, attempt: int, reason_code: str, wait_us: int = 0) -> Run:
        """RUNNING → QUEUED after a transient failure: the attempt stays spent, the run is due after `wait_us`. Raises Fenced."""

    def cancelled(self, run_key: str, *, attempt: int, reason_code: str) -> Run:
        """RUNNING → CANCELLED, by the worker that found the tombstone of a cancellation. Raises Fenced."""

    def cancel(self, run_key: str, *, reason: str) -> Run:
        """QUEUED or PUBLISH_PENDING → CANCELLED. Raises InvalidTransition for others."""

    def run(self, run_key: str) -> Run:
        """Raises RunNotFound."""

    def runs(self, *, limit: int = 100) -> Sequence[Run]:
        """Newest first."""

    def find(self, name: str, *, limit: int = 2) -> Sequence[Run]:
        """Runs whose key begins with `name`, or whose request id it is; at most `limit`."""

    def events(self, run_key: str) -> Sequence[LedgerEvent]:
        """A run's history in order. Raises RunNotFound, LedgerChainBroken if a link does not verify."""

    def run_keys(self) -> Sequence[str]:
        """The key of every run, oldest first, the quarantined ones too; also of histories whose run is gone."""

    def has_runs(self, platform_run_id: str) -> bool:
        """Is there any run of this scope?"""

    def adopt(self, platform_run_id: str, runs: Iterable[Rebuilt]) -> int:
        """Take the runs of a scope over from a store, all or none, each with a history that says so; how many they were.

        Raises:
            LedgerNotEmpty: there is a run of this scope already. LedgerUnavailable.
        """

    def head(self, run_key: str) -> str:
        """Digest of the newest event of a run."""

    def closure(self, profile: str) -> str | None:
        """The closure digest that `policy@revision/set@version` has; None if it was never remembered."""

    def remember_closure(self, *, profile: str, digest: str) -> str:
        """Remember that `policy@revision/set@version` has this closure digest, or return the one it has already."""


@dataclass(frozen=True)
class Ports:
    """What every run uses: the object store, the ledger and the clock."""

    store: ObjectStore
    ledger: Ledger
    clock: Clock


# --- engine -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReplayFacts:
    """What replay found: how many coordinates were read, what was left out why, and the digest of the events."""

    events_read: int
    events_admitted: int
    dispositions: Mapping[str, int]
    events_digest: str
    first_ts_us: int | None
    last_ts_us: int | None
    id_type: ColumnType


@dataclass(frozen=True)
class LabelFacts:
    """What label resolution used: assertions read, eligible, per type and value; the digest of the slice; observed-lag diagnostics."""

    assertions_read: int
    assertions_eligible: int
    slice_digest: str
    per_type: Mapping[str, Mapping[str, Any]]


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
                progress: Progress | None = None) -> AbstractContextManager[EngineSession]:
        """Open a session whose scratch files live in `work`."""
