"""The states of a run and the allowed transitions between them, as data and two pure functions (`domain.md` §4).

      submit            claim                    done
    ──────────▶ QUEUED ───────▶ RUNNING ⟲ claim ──────▶ DONE
                  ▲ │   release  │ │ ▲     │ failed
                  │ │◀───────────┘ │ │     ├──────────▶ FAILED
                  │ │   publish_   │ │     │ cancelled
                  │ │   pending    ▼ │ claim └────────▶ CANCELLED
                  │ │          PUBLISH_PENDING             ▲
                  │ └─── cancel ───┴───────────────────────┘

DONE, FAILED and CANCELLED never change. A claim of a RUNNING run is a take-over: its lease has run out. A run that nobody works on is
cancelled by whoever asks (`cancel`); a RUNNING one by its worker, once it finds the tombstone that was written for it (`cancelled`).

What a claim may do is its mode. FULL works. PUBLISH_ONLY recomputes nothing. CLOSE_ONLY means that the attempts are spent: the worker
finishes a vow that already exists, or writes the run's tombstone and fails it. The ledger never fails a run by itself: a run that fails
must occupy its commit record first, and the ledger does not see the store (`decisions.md` A1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from offline_feature_plane.domain.canonical import hex_of, sha256_of
from offline_feature_plane.errors import InvalidTransition, PublishRetryExhausted, RunAttemptsExhausted, RunConfigDigestMismatch

State = Literal["QUEUED", "RUNNING", "DONE", "FAILED", "PUBLISH_PENDING", "CANCELLED"]
Mode = Literal["FULL", "PUBLISH_ONLY", "CLOSE_ONLY"]
Verb = Literal["claim", "heartbeat", "note", "publish_pending", "release", "done", "failed", "cancelled", "cancel"]

STATES: Final[tuple[State, ...]] = get_args(State)
VERBS: Final[tuple[Verb, ...]] = get_args(Verb)
TERMINAL: Final[frozenset[State]] = frozenset({"DONE", "FAILED", "CANCELLED"})

MOVES: Final[Mapping[tuple[State, Verb], State]] = {
    ("QUEUED", "claim"): "RUNNING",
    ("RUNNING", "claim"): "RUNNING",
    ("PUBLISH_PENDING", "claim"): "RUNNING",
    ("RUNNING", "heartbeat"): "RUNNING",
    ("RUNNING", "note"): "RUNNING",
    ("RUNNING", "publish_pending"): "PUBLISH_PENDING",
    ("RUNNING", "release"): "QUEUED",
    ("RUNNING", "done"): "DONE",
    ("RUNNING", "failed"): "FAILED",
    ("RUNNING", "cancelled"): "CANCELLED",
    ("QUEUED", "cancel"): "CANCELLED",
    ("PUBLISH_PENDING", "cancel"): "CANCELLED",
}


@dataclass(frozen=True)
class Limits:
    """How often a run may be worked on, and how often its publication may be tried again, before only closing is left."""

    full_runs: int = 10
    publish_retries: int = 10


@dataclass(frozen=True)
class Attempts:
    """What a claim grants: the mode, the counters after it, and for CLOSE_ONLY the code of the budget that is spent."""

    mode: Mode
    full_run_attempts: int
    publish_retry_attempts: int
    reason_code: str | None


def move(state: State, verb: Verb) -> State:
    """The state after `verb`.

    Raises:
        InvalidTransition: the verb is not allowed in this state.

    >>> move("RUNNING", "done")
    'DONE'
    """
    after = MOVES.get((state, verb))
    if after is None:
        raise InvalidTransition(f"a {state} run cannot {verb}.", state=state, verb=verb)
    return after


def granted(state: State, mode: Mode | None, full_run_attempts: int, publish_retry_attempts: int, limits: Limits,
            left_for: str | None = None) -> Attempts:
    """What a claim of a run in `state`, last claimed in `mode` and left for the reason `left_for`, grants (`domain.md` §4).

    QUEUED → FULL. PUBLISH_PENDING → PUBLISH_ONLY. RUNNING → its mode again. Each FULL claim counts as a full run and each PUBLISH_ONLY
    claim as a publish retry; a spent budget gives CLOSE_ONLY, which is kept from then on and counts nothing. A run that no worker could
    take because its configuration differed ends for that reason (`decisions.md` D11).

    Raises:
        InvalidTransition: the state is terminal.

    >>> granted("RUNNING", "FULL", 10, 0, Limits()).reason_code
    'RUN_ATTEMPTS_EXHAUSTED'
    """
    move(state, "claim")
    wanted = mode if state == "RUNNING" or mode == "CLOSE_ONLY" else "FULL" if state == "QUEUED" else "PUBLISH_ONLY"
    if wanted == "FULL" and full_run_attempts < limits.full_runs:
        return Attempts("FULL", full_run_attempts + 1, publish_retry_attempts, None)
    if wanted == "PUBLISH_ONLY" and publish_retry_attempts < limits.publish_retries:
        return Attempts("PUBLISH_ONLY", full_run_attempts, publish_retry_attempts + 1, None)
    spent = PublishRetryExhausted if publish_retry_attempts >= limits.publish_retries else \
        RunConfigDigestMismatch if left_for == RunConfigDigestMismatch.code else RunAttemptsExhausted
    return Attempts("CLOSE_ONLY", full_run_attempts, publish_retry_attempts, spent.code)


SHORTEST_WAIT_US: Final = 1_000_000
LONGEST_WAIT_US: Final = 300_000_000


def backoff_us(run_key: str, attempts: int) -> int:
    """How long a run waits in the queue after its `attempts`-th attempt met trouble that may pass: doubled each time, up to 5 minutes.

    Up to half of it is taken off, by a digest of run and attempt, so that runs which failed together do not come back together.

    >>> [backoff_us("5f1c9e0d", attempts) // 100_000 for attempts in (1, 2, 3, 4, 20)]
    [8, 10, 39, 58, 2157]
    """
    longest = min(SHORTEST_WAIT_US << min(attempts - 1, 20), LONGEST_WAIT_US)
    drawn = int(hex_of(sha256_of(f"{run_key}/{attempts}".encode()))[:8], 16)
    return longest - longest // 2 * drawn // 0xFFFFFFFF
