"""The error tree: one root, families by who must act, one class per stable reason code.

    OfsError
    ├── RequestError     exit 2   the asker: fix the intent, the profile, the settings or the command
    ├── UnprovenError    exit 3   the data owner: evidence is missing or does not add up
    ├── RefusedError     exit 4   the policy owner: proved, and not allowed
    ├── ConflictError    exit 5   whoever holds the other truth: two facts cannot both stand
    ├── IntegrityError   exit 6   the operator: bytes are not what they were promised to be
    ├── OutsideError     exit 7   the operator: a system outside of us failed
    └── InternalError    exit 70  us

A class's code is its name in upper snake case (`NoPassNoRead` → `NO_PASS_NO_READ`); its docstring is the meaning
that the reference prints; `fix` says what to do when the raiser knows nothing better. Numbers are fields, never part of a
code (`decisions.md` H).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["ConflictError", "IntegrityError", "InternalError", "OfsError", "OutsideError", "Problem", "RefusedError",
           "RequestError", "UnprovenError", "all_codes"]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a document: where (JSON path), which code, and one sentence."""

    path: str
    code: str
    sentence: str


class OfsError(Exception):
    """Root of everything OFS raises on purpose.

    Args:
        what: what was wrong, with the values.
        fix: what to do about it; the class's own advice if omitted.
        path: where: a JSON path, a file, a column.
        fields: numbers and names for machines (`--json`).
    """

    code: ClassVar[str] = "OFS_ERROR"
    family: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 70
    fix: str = ""
    problems: tuple[Problem, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Derive the stable code of a leaf class from its name."""
        super().__init_subclass__(**kwargs)
        if OfsError not in cls.__bases__:
            cls.code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).upper()

    def __init__(self, what: str, *, fix: str | None = None, path: str | None = None, **fields: Any) -> None:
        super().__init__(what)
        self.what = what
        if fix is not None:
            self.fix = fix
        self.path = path
        self.fields = fields

    def __str__(self) -> str:
        """One line: code, place, what was wrong, what to do."""
        place = f" at {self.path}" if self.path else ""
        advice = f" {self.fix}" if self.fix else ""
        return f"{self.code}{place}: {self.what}{advice}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive pickling with every field."""
        return (_revive, (type(self), self.what, self.fix, self.path, self.fields, self.problems))

    def describe(self) -> dict[str, Any]:
        """The error as one JSON-ready document, for `--json` and receipts."""
        document: dict[str, Any] = {"code": self.code, "family": self.family, "exit_status": self.exit_status,
                                    "what": self.what, "fix": self.fix, "path": self.path, "fields": self.fields}
        if self.problems:
            document["problems"] = [vars(problem) for problem in self.problems]
        return document


def _revive(cls: type[OfsError], what: str, fix: str, path: str | None, fields: dict[str, Any],
            problems: tuple[Problem, ...]) -> OfsError:
    error = cls(what, fix=fix, path=path, **fields)
    error.problems = problems
    return error


def all_codes() -> dict[str, type[OfsError]]:
    """Every stable reason code and its class, in the order of this file."""
    found: dict[str, type[OfsError]] = {}
    for family in OfsError.__subclasses__():
        for leaf in family.__subclasses__():
            found[leaf.code] = leaf
    return found


def refuse(problems: Sequence[Problem]) -> OfsError:
    """One error that carries every problem of a document; its code is the first problem's.

    Raises nothing itself: the caller raises what it returns.
    """
    first = problems[0]
    error = all_codes().get(first.code, SchemaInvalid)(list_problems(problems), fix="", path=None)
    error.problems = tuple(problems)
    return error


def list_problems(problems: Sequence[Problem]) -> str:
    r"""Problems as text: one a line, excerpts below their sentence.

    >>> print(list_problems([Problem("$.where", "EXPRESSION_INVALID", "Unknown name 'x'.\n    x > 0\n    ^\n Known here: y.")]))
    1 problem:
      $.where: Unknown name 'x'. [EXPRESSION_INVALID]
          x > 0
          ^
        Known here: y.
    """
    told = ["1 problem:" if len(problems) == 1 else f"{len(problems)} problems:"]
    for problem in problems:
        first, *more = problem.sentence.strip().splitlines() or [""]
        told.append(f"  {problem.path}: {first} [{problem.code}]")
        told += [f"      {line[4:]}" if line.startswith("    ") else f"    {line.strip()}" for line in more if line.strip()]
    return "\n".join(told)


# --- families -----------------------------------------------------------------------------------------------


class RequestError(OfsError):
    """The request or its spelling is wrong; nothing was done."""

    family, exit_status = "request", 2


class UnprovenError(OfsError):
    """The evidence that the build needs is missing or incomplete."""

    family, exit_status = "unproven", 3


class RefusedError(OfsError):
    """Proved, and refused by a gate."""

    family, exit_status = "refused", 4


class ConflictError(OfsError):
    """Two facts exclude each other."""

    family, exit_status = "conflict", 5


class IntegrityError(OfsError):
    """Bytes differ from what their digest or the protocol promised."""

    family, exit_status = "integrity", 6


class OutsideError(OfsError):
    """A system outside of OFS failed: disk, store, database."""

    family, exit_status = "outside", 7


class InternalError(OfsError):
    """A law of OFS broke: a defect of ours."""

    family, exit_status = "internal", 70


# --- request ------------------------------------------------------------------------------------------------


class SchemaInvalid(RequestError):
    """A document breaks its schema: unknown field, wrong type, missing field."""


class SettingsInvalid(RequestError):
    """`plane.yaml` or an environment setting is unknown or malformed."""


class RequestIdInvalid(RequestError):
    """A request id must be 8 to 128 of `A-Za-z0-9_.:-`."""


class IntentKindUnsupported(RequestError):
    """The intent kind is unknown, or this command does not serve it."""


class RunScopeInvalid(RequestError):
    """The run identity is missing, malformed, or not the one of the document it is held against."""


class BasisUnresolved(RequestError):
    """The replay basis names no readable, well-formed ranges."""


class LabelAsofMissing(RequestError):
    """The label as-of instant, rule or maturity is missing or malformed."""

    fix = "State label.as_of as an instant, for example 2026-09-01T00:00:00Z."


class FeatureProfileUnresolved(RequestError):
    """The feature profile cannot be read, or lacks the set or group asked for."""


class FeatureProfileInvalid(RequestError):
    """The feature profile breaks the feature language."""


class ExpressionInvalid(RequestError):
    """An expression does not parse or does not type-check."""

    fix = "Write it like `amount > 100 and channel == 'online'`, over declared fields."


class AggregationUnsupported(RequestError):
    """This aggregation does not exist, or not over this type or on this engine."""


class PolicyRevisionMissing(RequestError):
    """The policy revision is blank."""


class ConfigRevisionMissing(RequestError):
    """The configuration revision is blank."""


class CodeReleaseMissing(RequestError):
    """The code release is blank."""


class RuleNotSupported(RequestError):
    """No label resolution rule of this id is registered."""


class LabelTypeScopeUnresolved(RequestError):
    """No label type is named, or the named one has no timeline in `plane.yaml`."""


class LabelPolicyInvalid(RequestError):
    """The target or coverage policy is malformed or contradicts itself."""


class TruthFieldAsFeature(RequestError):
    """A column that is mapped as a label is used as a feature."""


class TimeZoneUndeclared(RequestError):
    """A time column carries no zone, and none is declared."""

    fix = "Add `zone: UTC` (or the zone in which the column was written) beside `time:` in plane.yaml."


class SourceColumnUnknown(RequestError):
    """A mapped column does not exist in the file."""


class SourceTypeMismatch(RequestError):
    """A column's type cannot carry the declared type."""


class Unpinned(RequestError):
    """A strict plane got an intent in which something was filled in."""

    fix = "Run `ofs pin` and build the long form that it prints."


class RefScopeInvalid(RequestError):
    """A ref points outside the configured roots."""


class RefInvalid(RequestError):
    """A ref is blank, malformed or of a foreign scheme."""


class RunNotFound(RequestError):
    """No run of this key is in the ledger."""


class DatasetNotFound(RequestError):
    """No dataset of this id is in the store."""


class SupersessionLinkInvalid(RequestError):
    """A supersession or backfill link is malformed or points at no committed manifest."""


class RequestCommandUnsupported(RequestError):
    """This command or engine does not exist or is not installed."""


# --- unproven -----------------------------------------------------------------------------------------------


class SelectorUnresolved(UnprovenError):
    """A time selector cannot be translated to offsets without guessing."""


class RunFactsUnavailable(UnprovenError):
    """The run facts view cannot be read or is not one."""


class SourceUnreadable(UnprovenError):
    """A source file is missing, empty, truncated or not of its declared format."""


class ReplayEventsEmpty(UnprovenError):
    """The basis holds no event at all."""


class ReplayBasisGap(UnprovenError):
    """Offsets of the basis are covered by no evidence."""


class ReplayIncomplete(UnprovenError):
    """Completeness was not proved, so nothing may be published."""


class ReplayBasisMismatch(UnprovenError):
    """The bytes behind a pinned basis are not the pinned ones."""

    fix = "Restore the pinned bytes, or write a new intent that pins the new ones."


class LabelStoreUnavailable(UnprovenError):
    """The label timeline cannot be read."""


class RefNotFound(UnprovenError):
    """There is nothing at this ref."""


# --- refused ------------------------------------------------------------------------------------------------


class NoPassNoRead(RefusedError):
    """A required output has no locator or no PASS evidence for its exact scope."""


class OwnershipBoundaryViolation(RefusedError):
    """The configuration does not grant OFS this output."""


class EventSchemaMissingFields(RefusedError):
    """Events lack a required field and the profile declares no `missing:`."""


class ReplayEventInvalid(RefusedError):
    """Events carry values that the declared type refuses: NaN, excess digits, unparsable."""


class NumericOverflow(RefusedError):
    """An exact result does not fit its declared type."""


class LabelScopeEmpty(RefusedError):
    """No subject row is left, or no label assertion is known at the as-of."""


class LeakagePolicyViolation(RefusedError):
    """Something would be used before it was knowable."""


class CoveragePolicyViolation(RefusedError):
    """Too few subjects have an answer, or too many conflict."""


class TargetDegenerate(RefusedError):
    """A split lacks positives or negatives."""


class LabelLagImplausible(RefusedError):
    """Labels seem to be observed at the moment of their event."""

    fix = "Map the column that says when the label became known, or declare `min_lag` for this label."


class ResourceExceeded(RefusedError):
    """A document or file is larger than its budget."""


# --- conflict -----------------------------------------------------------------------------------------------


class RequestIdPayloadMismatch(ConflictError):
    """This request id was used before for another payload."""

    fix = "Use a new request_id, or leave it out."


class ReplayEventIdConflict(ConflictError):
    """One event id carries two different contents."""


class ReplayDuplicateOffsetMismatch(ConflictError):
    """One coordinate carries two different events."""


class LabelHistoryChanged(ConflictError):
    """The label assertions below the pinned cut are no longer the ones that were used."""


class FeatureProfileDrift(ConflictError):
    """A profile revision was edited without a new revision."""

    fix = "Raise `revision:` in the profile (or use `revision: dev` while it changes)."


class CodeReleaseMismatch(ConflictError):
    """The intent states another code release than the installed one."""


class DatasetRetired(ConflictError):
    """A dataset of this meaning was retired."""


class Fenced(ConflictError):
    """A newer attempt owns this run; this worker must stop."""


class RunBusy(ConflictError):
    """Another live worker holds this run's lease."""

    fix = "Wait for it, or for its lease to run out, and ask again."


class RetryNotPending(ConflictError):
    """A publish-only retry was asked of a run that is not PUBLISH_PENDING."""


class PublicationVowed(ConflictError):
    """This run has vowed to publish; it can no longer fail or be cancelled."""

    fix = "Run its worker again: it finishes the publication."


class RunEnded(ConflictError):
    """This request ended before and its outcome is final."""


# --- integrity ----------------------------------------------------------------------------------------------


class DigestMismatch(IntegrityError):
    """Stored bytes do not have the promised digest."""


class ManifestInvalid(IntegrityError):
    """A manifest breaks its schema or its own arithmetic."""


class ManifestImmutabilityViolation(IntegrityError):
    """Another manifest stands under this id."""


class DatasetArtifactImmutabilityViolation(IntegrityError):
    """Other bytes stand under a data file's name."""


class BuildPlanImmutabilityViolation(IntegrityError):
    """The stored plan of this run is not the one that was pinned."""


class NondeterminismDetected(IntegrityError):
    """Equal meaning and equal inputs gave different rows."""


class PublicationStalled(IntegrityError):
    """A run vowed to publish rows that it can neither find nor reach again; a person must look."""

    fix = "Restore the run's staged manifest and data files from a copy of the store, then run its worker again."


class LedgerChainBroken(IntegrityError):
    """The ledger's event chain does not verify."""


class LabelTimelineInconsistent(IntegrityError):
    """Assertions supersede each other in a circle or contradict their own ids."""


# --- outside ------------------------------------------------------------------------------------------------


class StorageIoFailure(OutsideError):
    """The artifact store failed."""


class LedgerUnavailable(OutsideError):
    """The run ledger cannot be opened or written."""


class PublishRetryExhausted(OutsideError):
    """Publishing failed as often as it may."""

    fix = "Repair the store, then ask again without a request_id, or with a new one."


class RunAttemptsExhausted(OutsideError):
    """A run's workers died or gave up as often as they may."""

    fix = "Look at the run's history for what ended its workers, then ask again without a request_id, or with a new one."


# --- internal -----------------------------------------------------------------------------------------------


class InvalidTransition(InternalError):
    """A run was asked to make an illegal move."""


class RowAccountingBroken(InternalError):
    """The row accounting does not add up."""


class EngineFailed(InternalError):
    """The engine failed in a way we did not foresee."""
