"""The state machine of a run, as data."""

import pytest

from offline_feature_plane.domain.runstates import MOVES, STATES, TERMINAL, VERBS, Limits, granted, move
from offline_feature_plane.errors import InvalidTransition

LAWFUL = {
    "QUEUED": {"claim": "RUNNING", "cancel": "CANCELLED"},
    "RUNNING": {"claim": "RUNNING", "heartbeat": "RUNNING", "note": "RUNNING", "publish_pending": "PUBLISH_PENDING", "release": "QUEUED",
                "done": "DONE", "failed": "FAILED", "cancelled": "CANCELLED"},
    "PUBLISH_PENDING": {"claim": "RUNNING", "cancel": "CANCELLED"},
    "DONE": {}, "FAILED": {}, "CANCELLED": {},
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", VERBS)
def test_every_pair_of_state_and_verb_moves_as_written_or_is_refused(state, verb):
    """A verb moves a state exactly as the table says; every other pair is an InvalidTransition."""
    if verb in LAWFUL[state]:
        assert move(state, verb) == LAWFUL[state][verb]
    else:
        with pytest.raises(InvalidTransition, match=f"a {state} run cannot {verb}"):
            move(state, verb)


def test_terminal_states_have_no_way_out_and_every_other_state_has_one_in_reach():
    """DONE, FAILED and CANCELLED never change, and every other state reaches one of them."""
    assert not [state for state, _ in MOVES if state in TERMINAL]
    reaching = set(TERMINAL)
    for _ in STATES:
        reaching |= {state for (state, _), after in MOVES.items() if after in reaching}
    assert reaching == set(STATES)


@pytest.mark.parametrize(("state", "mode", "counted", "expected"), [
    ("QUEUED", None, (0, 0), ("FULL", 1, 0, None)),
    ("QUEUED", "PUBLISH_ONLY", (1, 1), ("FULL", 2, 1, None)),
    ("RUNNING", "FULL", (1, 0), ("FULL", 2, 0, None)),
    ("RUNNING", "PUBLISH_ONLY", (1, 1), ("PUBLISH_ONLY", 1, 2, None)),
    ("PUBLISH_PENDING", "FULL", (2, 0), ("PUBLISH_ONLY", 2, 1, None)),
    ("PUBLISH_PENDING", "PUBLISH_ONLY", (1, 2), ("CLOSE_ONLY", 1, 2, "PUBLISH_RETRY_EXHAUSTED")),
    ("QUEUED", "FULL", (2, 1), ("CLOSE_ONLY", 2, 1, "RUN_ATTEMPTS_EXHAUSTED")),
    ("RUNNING", "FULL", (2, 0), ("CLOSE_ONLY", 2, 0, "RUN_ATTEMPTS_EXHAUSTED")),
    ("PUBLISH_PENDING", "CLOSE_ONLY", (2, 0), ("CLOSE_ONLY", 2, 0, "RUN_ATTEMPTS_EXHAUSTED")),
])
def test_a_claim_grants_a_mode_and_counts_it(state, mode, counted, expected):
    """Full runs and publish retries are counted apart; a spent budget leaves only closing, for good."""
    assert tuple(vars(granted(state, mode, *counted, Limits(full_runs=2, publish_retries=2))).values()) == expected


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_an_ended_run_grants_nothing(state):
    """No claim of a terminal run is granted."""
    with pytest.raises(InvalidTransition):
        granted(state, "FULL", 1, 0, Limits())
