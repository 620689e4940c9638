"""What becomes of a build whose basis is not whole, by what it is for: the one table (`domain.md` §1.4, §1.10, `decisions.md` D10).

| situation | training | other dataset | parity | forensic |
|---|---|---|---|---|
| lost, or nobody can say | refused | if declared | UNCHECKABLE | if declared |
| nobody has the log | refused | refused | UNCHECKABLE | refused |
| the log has no such partition | refused | refused | refused | refused |
| two holders disagree | refused | recorded | UNCHECKABLE | recorded |
| two segments are two archives | refused | refused | UNCHECKABLE | recorded |
| an undecodable record, a failed gate | refused | recorded | UNCHECKABLE | recorded |

Whoever decides asks `outcome_of`; nothing else holds this table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal, get_args

from offline_feature_plane.domain.cutover import Why
from offline_feature_plane.errors import ReplayDuplicateOffsetMismatch

__all__ = ["OUTCOMES", "USES", "Answer", "DeclaredWhy", "Outcome", "Situation", "Use", "answer_of", "is_refused", "outcome_of",
           "situation_of", "use_of"]

# What a build is for: a dataset to train on, a dataset for anything else, the comparison with what was served, the look at what happened.
Use = Literal["training", "other", "parity", "forensic"]
USES: Final[tuple[Use, ...]] = get_args(Use)
# Why a stretch may be missing in a dataset whose intent declares it.
DeclaredWhy = Literal["retention_exceeded", "archive_gap", "not_settled", "bus_silent", "compacted", "start_unknown"]
Situation = Why | Literal["holders_disagree", "segments_disagree", "undecodable", "gate_failed"]
# refused: nothing is built. declared: built without it if the intent declares it, else refused; the result says that it is incomplete.
# recorded: built, and the verdict stands in the result. uncheckable: the answer is UNCHECKABLE, which is no error and no pass.
Outcome = Literal["refused", "declared", "recorded", "uncheckable"]

Answer = Literal["COMPLETE", "INCOMPLETE", "UNCHECKABLE"]

_LACKING: Final[tuple[Outcome, ...]] = ("refused", "declared", "uncheckable", "declared")
_FAULTY: Final[tuple[Outcome, ...]] = ("refused", "recorded", "uncheckable", "recorded")
_BY_SITUATION: Final[dict[Situation, tuple[Outcome, ...]]] = {
    **dict.fromkeys(get_args(DeclaredWhy), _LACKING),
    "unknown_log": ("refused", "refused", "uncheckable", "refused"),
    "unknown_partition": ("refused", "refused", "refused", "refused"),
    "holders_disagree": _FAULTY,
    "segments_disagree": ("refused", "refused", "uncheckable", "recorded"),
    "undecodable": _FAULTY,
    "gate_failed": _FAULTY}
OUTCOMES: Final[Mapping[Situation, Mapping[Use, Outcome]]] = MappingProxyType(
    {situation: MappingProxyType(dict(zip(USES, outcomes, strict=True))) for situation, outcomes in _BY_SITUATION.items()})


def outcome_of(use: Use, situation: Situation) -> Outcome:
    """What becomes of a build.

    >>> [outcome_of(use, "archive_gap") for use in USES]
    ['refused', 'declared', 'uncheckable', 'declared']
    """
    return OUTCOMES[situation][use]


def is_refused(use: Use, situation: Situation) -> bool:
    """Does a situation that nothing declares end a build?

    >>> is_refused("training", "holders_disagree"), is_refused("other", "holders_disagree"), is_refused("other", "archive_gap")
    (True, False, True)
    """
    return outcome_of(use, situation) in {"refused", "declared"}


def use_of(intent_kind: str, purpose: str) -> Use:
    """What an intent's build is for.

    >>> use_of("dataset_build", "training"), use_of("dataset_build", "non_training"), use_of("parity_rebuild", "non_training")
    ('training', 'other', 'parity')
    """
    if intent_kind == "dataset_build":
        return "training" if purpose == "training" else "other"
    return "parity" if intent_kind == "parity_rebuild" else "forensic"


def answer_of(use: Use, situations: Iterable[Situation], *, lacks: bool) -> Answer:
    """What a plan answers of a basis that is not refused.

    Args:
        use: what the build is for.
        situations: what is wrong about the basis, beyond what is declared.
        lacks: is something declared to be missing?

    >>> answer_of("parity", ["archive_gap"], lacks=False), answer_of("other", [], lacks=True), answer_of("training", [], lacks=False)
    ('UNCHECKABLE', 'INCOMPLETE', 'COMPLETE')
    """
    outcomes = {outcome_of(use, one) for one in situations}
    if "uncheckable" in outcomes:
        return "UNCHECKABLE"
    return "INCOMPLETE" if lacks or outcomes else "COMPLETE"


def situation_of(code: str, why: Why | None) -> Situation:
    """The situation that an anomaly of a basis is: why a stretch is missing, else what is wrong about what is there.

    >>> situation_of("REPLAY_BASIS_GAP", "archive_gap")
    'archive_gap'
    """
    if why is not None:
        return why
    return "segments_disagree" if code == ReplayDuplicateOffsetMismatch.code else "holders_disagree"
