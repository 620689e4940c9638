"""Every stable reason code: a class, its meaning, and the advice where its raiser knows nothing better. In the order of families."""

from __future__ import annotations

from offline_feature_plane.errors.tree import (
    ConflictError,
    IntegrityError,
    InternalError,
    OutsideError,
    RefusedError,
    RequestError,
    UnprovenError,
)

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
    """The replay basis is malformed, names a topic or partition that there is not, or ends beyond what its log has settled."""


class LabelAsofMissing(RequestError):
    """The label as-of instant, rule or maturity is missing or malformed."""

    fix = "State label.as_of as an instant, for example 2026-09-01T00:00:00Z."


class FeatureProfileUnresolved(RequestError):
    """The feature profile cannot be read, or lacks the requested set or group."""


class FeatureProfileInvalid(RequestError):
    """The feature profile breaks the feature language."""


class ExpressionInvalid(RequestError):
    """An expression does not parse or does not type-check."""

    fix = "Write it like `amount > 100 and channel == 'online'`, over declared fields."


class AggregationUnsupported(RequestError):
    """This aggregation does not exist, or does not support this type or engine."""


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


class TimeZoneUndeclared(RequestError):
    """A time column carries no zone, and none is declared."""

    fix = "Add `zone: UTC` (or the zone in which the column was written) beside `time:` in plane.yaml."


class SourceColumnUnknown(RequestError):
    """A mapped column does not exist in the file."""


class SourceTypeMismatch(RequestError):
    """A column's type cannot carry the declared type."""


class Unpinned(RequestError):
    """A strict plane received an intent with values that were filled in."""

    fix = "Run `ofs pin` and build the long form that it prints."


class RefScopeInvalid(RequestError):
    """A ref points outside the configured roots."""


class RefInvalid(RequestError):
    """A ref is blank, malformed or has an unsupported scheme."""


class RunNotFound(RequestError):
    """No run of this key is in the ledger."""


class DatasetNotFound(RequestError):
    """No dataset of this id is in the store."""


class SupersessionLinkInvalid(RequestError):
    """A supersession or backfill link is malformed or points at no committed manifest."""


class ManifestRefMissing(RequestError):
    """A training names no dataset."""

    fix = "Give the dm_… id of at least one dataset; `ofs datasets` lists them."


class RequestCommandUnsupported(RequestError):
    """This command or engine does not exist or is not installed."""


# --- unproven -----------------------------------------------------------------------------------------------


class SelectorUnresolved(UnprovenError):
    """A time selector cannot be translated to offsets without guessing."""


class RunFactsUnavailable(UnprovenError):
    """The run facts view cannot be read or is not one."""


class SourceUnreadable(UnprovenError):
    """A source file or topic is missing, empty, truncated or not of its declared format."""


class ReplayEventsEmpty(UnprovenError):
    """The basis holds no event of this run that the feature set reads."""


class ReplayBasisGap(UnprovenError):
    """Offsets of the basis are gone, or in no segment: nothing covers them."""


class ReplayIncomplete(UnprovenError):
    """Nobody can say that the basis is whole: a bus cannot be asked, or records cannot be decoded and no index declares them."""


class ReplayBasisMismatch(UnprovenError):
    """What a pinned basis is read from is not what was pinned or claimed, two holders of it disagree, or nobody has its log."""

    fix = "Restore the pinned bytes, or write a new intent that pins the new ones."


class ArrivalUnknown(UnprovenError):
    """Rows are to see only what had arrived, and nothing says when events of a table did."""

    fix = "Name the column under `events:` in plane.yaml as `arrival:`, or ask for `visibility: event_time`."


class TopicCompacted(UnprovenError):
    """A topic of the bus is compacted: it has lost records that nothing shows, and no archive has them from before."""

    fix = "Read it from an archive that was written before records were lost, or from a topic that keeps them all."


class LabelStoreUnavailable(UnprovenError):
    """The label timeline cannot be read."""


class RefNotFound(UnprovenError):
    """There is no object at this ref."""


# --- refused ------------------------------------------------------------------------------------------------


class NoPassNoRead(RefusedError):
    """A required output has no locator or no PASS evidence for its exact scope."""


class OwnershipBoundaryViolation(RefusedError):
    """The configuration does not grant OFS this output."""


class EventSchemaMissingFields(RefusedError):
    """Events lack a required field and the profile declares no `missing:`."""


class ReplayEventInvalid(RefusedError):
    """Events carry values that the declared type refuses: NaN, excess digits, unparsable."""


class SpineInvalid(RefusedError):
    """A spine asks for an entity twice at one instant."""

    fix = "Keep one row of the spine per entity and instant."


class NumericOverflow(RefusedError):
    """An exact result does not fit its declared type."""


class LabelScopeEmpty(RefusedError):
    """No subject row is left, or no label assertion is known at the as-of."""


class LeakagePolicyViolation(RefusedError):
    """Something would be used before it was knowable."""


class TruthFieldAsFeature(RefusedError):
    """A column that is mapped as a label is used as a feature."""

    fix = "Remove the field from the profile: it would leak the label."


class CoveragePolicyViolation(RefusedError):
    """Too few subjects have an answer, or too many conflict."""


class TargetDegenerate(RefusedError):
    """A split lacks positives or negatives."""


class LabelLagImplausible(RefusedError):
    """Labels seem to be observed at the moment of their event."""

    fix = "Map the column that says when the label became known, or declare `min_lag` for this label."


class TrainingNotReady(RefusedError):
    """A dataset has not earned that a model is trained on it."""

    fix = "Build it for training, and see why its gates failed: `ofs show` lists them."


class FeatureSchemaIncompatible(RefusedError):
    """A dataset has another manifest schema or other features than a training wants, or than the datasets beside it."""

    fix = "Build the feature set that the training profile names, or train under a profile that names this one."


class LeakageGuardViolation(RefusedError):
    """The labels of a dataset are known as of an instant, or by a rule, that a training does not take."""

    fix = "Build the datasets of one training as of one instant that has passed, by the rule that its profile names."


class LeakageSuspected(RefusedError):
    """A feature predicts the target suspiciously well on its own; only a strict audit refuses for it."""

    fix = "Find out when the values of the column became known; if that was after the event, take it out of the profile."


class ResourceExceeded(RefusedError):
    """A document or file is larger than its budget, decodes to more than it, or needs more memory than there is."""


# --- conflict -----------------------------------------------------------------------------------------------


class RequestIdPayloadMismatch(ConflictError):
    """This request id was used before with another payload, or under a configuration that means something else."""

    fix = "Use a new request_id, or leave it out."


class ReplayEventIdConflict(ConflictError):
    """One event id of a type carries two different contents."""


class ReplayDuplicateOffsetMismatch(ConflictError):
    """Two segments of an archive hold different events at one coordinate."""


class ArchiveIndexConflict(ConflictError):
    """The index of an archive and its files say different things, or somebody else changes one of them meanwhile."""

    fix = "Restore the segments, or run `ofs archive index --replace` if what is there now is meant."


class LabelHistoryChanged(ConflictError):
    """The label assertions below the pinned cut are no longer the ones that were used."""


class FeatureProfileDrift(ConflictError):
    """A profile revision was edited without a new revision."""

    fix = "Raise `revision:` in the profile (or use `revision: dev` while it changes)."


class CodeReleaseMismatch(ConflictError):
    """The intent states another code release than the installed one."""


class RunConfigDigestMismatch(ConflictError):
    """The configuration of this worker differs, in what bears meaning, from the one that the run was asked under."""

    fix = "Give the worker the plane.yaml that the request was made with, or ask again under the present one."


class DatasetRetired(ConflictError):
    """A dataset of this meaning was retired: nobody builds it again, and its data may be gone."""

    fix = "State a `correction` in the intent: it changes the meaning, so another dataset is built."


class Fenced(ConflictError):
    """A newer attempt owns this run; this worker must stop."""


class RunBusy(ConflictError):
    """Another live worker holds this run's lease."""

    fix = "Wait until it finishes or its lease expires, then run again."


class LedgerNotEmpty(ConflictError):
    """A ledger was to be rebuilt that holds runs already."""

    fix = "Point the ledger setting at a new ledger; `ofs ledger verify` says what the old one has."


class RetryNotPending(ConflictError):
    """A publish-only retry was requested for a run that is not PUBLISH_PENDING."""


class PublicationVowed(ConflictError):
    """This run has committed to publish; it can no longer fail or be cancelled."""

    fix = "Run its worker again: it finishes the publication."


class RunEnded(ConflictError):
    """This request ended before and its outcome is final."""


# --- integrity ----------------------------------------------------------------------------------------------


class DigestMismatch(IntegrityError):
    """Stored bytes do not have the promised digest."""


class ManifestInvalid(IntegrityError):
    """A manifest breaks its schema or its own arithmetic."""


class ManifestImmutabilityViolation(IntegrityError):
    """Another manifest is stored under this id."""


class DatasetArtifactImmutabilityViolation(IntegrityError):
    """Other bytes are stored under a data file's name."""


class BuildPlanImmutabilityViolation(IntegrityError):
    """The stored plan of this run is not the one that was pinned."""


class NondeterminismDetected(IntegrityError):
    """Equal meaning and equal inputs gave different rows."""


class PublicationStalled(IntegrityError):
    """A run committed to publish rows that it can neither find nor compute again; an operator must intervene."""

    fix = "Restore the run's staged manifest and data files from a copy of the store, then run its worker again."


class LedgerChainBroken(IntegrityError):
    """The ledger's event chain does not verify."""


class LabelTimelineInconsistent(IntegrityError):
    """Assertions supersede each other in a cycle, or one id is of two contents or two subjects."""


# --- outside ------------------------------------------------------------------------------------------------


class StorageIoFailure(OutsideError):
    """The artifact store, or the bucket or disk of an archive, failed."""


class StoreUnsafe(OutsideError):
    """The artifact store does not keep its word: it ignores conditions, loses or changes objects; nothing was written to it but a trial."""

    fix = ("Use a store that obeys `If-None-Match: *`. If another one is behind this address by now, delete the object that the message "
           "names, and run again.")


class EventBusUnavailable(OutsideError):
    """The event bus cannot be reached, does not answer in time, or refuses to be read."""

    fix = "Check the cluster, `servers` and the network, then run again."


class LedgerUnavailable(OutsideError):
    """The run ledger cannot be opened or written."""


class EngineUnavailable(OutsideError):
    """Spark cannot be reached, or was lost while it worked."""

    fix = "Check the cluster and its logs, then run again."


class PublishRetryExhausted(OutsideError):
    """All publish retries are used up."""

    transient = False
    fix = "Repair the store, then run again without a request_id, or with a new one."


class RunAttemptsExhausted(OutsideError):
    """All attempts of a run are used up: its workers died or gave up."""

    transient = False
    fix = "Look in the run's history for what ended its workers, then run again without a request_id, or with a new one."


# --- internal -----------------------------------------------------------------------------------------------


class InvalidTransition(InternalError):
    """A state transition of a run is not allowed."""


class RowAccountingBroken(InternalError):
    """The row accounting does not add up."""


class EngineFailed(InternalError):
    """The engine failed unexpectedly."""
