"""The BuildIntent: everything that shapes a dataset, pinned and closed (`domain.md` §2, `decisions.md` B, D24–D26).

This is the full contract: what is validated, hashed and stored. People mostly write the short form (`decisions.md` G), which
is expanded to this one first. Reading normalises spelling, never meaning: instants, durations and decimals get their one
canonical text, sets are sorted, defaults are written out. Rules across fields are in `contracts.intent_rules`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from offline_feature_plane.contracts.model import LEFT_OUT, NONE_LEFT_OUT, Contract, Text, TextSet, broken, in_order, shown
from offline_feature_plane.contracts.target import CombinedTarget, Target, TargetRule, TypeRule
from offline_feature_plane.domain.basis import Range, Selector, offset_number
from offline_feature_plane.domain.calendars import MOST_PERIODS, Calendar, day_number, rows_source
from offline_feature_plane.domain.coverage import parse_share
from offline_feature_plane.domain.gaps import DeclaredGap
from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US, format_duration, format_instant, parse_duration, parse_instant
from offline_feature_plane.domain.maturity import LONGEST_MATURITY_DAYS
from offline_feature_plane.domain.outcomes import DeclaredWhy, Use, use_of
from offline_feature_plane.domain.resolution import find_rule
from offline_feature_plane.domain.visibility import Visibility
from offline_feature_plane.domain.zones import named_zone
from offline_feature_plane.errors import BasisUnresolved, LabelPolicyInvalid, RuleNotSupported, SettingsInvalid

__all__ = ["INTENT_SCHEMA", "NO_RUN_FACTS", "Actor", "BuildIntent", "CalendarRule", "CombinedTarget", "CoveragePolicy",
           "FeatureDefinitionSet", "FileSetBasis", "GapBasis", "IntentKind", "JoinScope", "LabelBasis", "RangeBasis", "RawIdentifiers",
           "SamplingRule", "SelectorBasis", "SplitRange", "Subject", "TargetRule", "TokenizedIdentifiers", "TypeRule"]

INTENT_SCHEMA = "learning.ofs_build_intent.v1"
NO_RUN_FACTS = "none"

IntentKind = Literal["dataset_build", "parity_rebuild", "forensic_rebuild"]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REQUEST_ID = re.compile(r"(?!auto:)[A-Za-z0-9_.:-]{8,128}")
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SCENARIO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_DATASET = re.compile(r"dm_[0-9a-f]{32}")
_SPLIT = re.compile(r"[a-z_]{1,64}")
_KEY_ID = re.compile(r"[0-9a-f]{16}")


def _of_form(form: re.Pattern[str], sentence: str) -> AfterValidator:
    def check(text: str) -> str:
        if not form.fullmatch(text):
            raise ValueError(f"{shown(text)} {sentence}")
        return text
    return AfterValidator(check)


def _schema(form: re.Pattern[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{form.pattern})$"})


def _share(text: str) -> str:
    try:
        parse_share(text)
    except LabelPolicyInvalid as wrong:
        raise ValueError(f"{wrong.what} {wrong.fix}") from None
    plain = format(Decimal(text), "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _rule(text: str) -> str:
    try:
        return find_rule(text).id
    except RuleNotSupported as wrong:
        raise broken(RuleNotSupported, f"{wrong.what} {wrong.fix}") from None


def _spelled(moment: Any) -> Any:
    """A date or an instant of Python, in a mapping that did not come from a file, as its text; all else unchanged."""
    return format_instant(parse_instant(moment)) if isinstance(moment, date) else moment


def _zone(name: str) -> str:
    try:
        return named_zone(name).key
    except SettingsInvalid as wrong:
        raise ValueError(f"{wrong.what} {wrong.fix}") from None


def _day(text: str) -> str:
    try:
        day_number(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is no day of the calendar; write for example 2026-03-01, without a time") from None
    return text


Zone = Annotated[str, AfterValidator(_zone)]
Day = Annotated[str, BeforeValidator(lambda day: day.isoformat() if isinstance(day, date) else day), AfterValidator(_day)]
Instant = Annotated[str, BeforeValidator(_spelled), AfterValidator(lambda text: format_instant(parse_instant(text)))]
Duration = Annotated[str, AfterValidator(lambda text: format_duration(parse_duration(text)))]
Share = Annotated[str, AfterValidator(_share)]
Digest = Annotated[str, _of_form(_DIGEST, "is not a digest; it has the form sha256: and 64 hex digits"), _schema(_DIGEST)]
RequestId = Annotated[str, _of_form(_REQUEST_ID, "is not a valid request id; use 8 to 128 of A-Za-z0-9_.:-, not beginning with auto:"),
                      _schema(_REQUEST_ID)]
RunId = Annotated[str, _of_form(_RUN_ID, "is not a valid run id; use a letter or digit, then up to 63 of A-Za-z0-9_-"), _schema(_RUN_ID)]
ScenarioId = Annotated[str, _of_form(_SCENARIO, "is not a valid scenario run id; use up to 128 of A-Za-z0-9_.:-"), _schema(_SCENARIO)]
DatasetId = Annotated[str, _of_form(_DATASET, "is not a dataset id; it has the form dm_ and 32 hex digits"), _schema(_DATASET)]
SplitName = Annotated[str, _of_form(_SPLIT, "is not a valid split name; use lower-case letters and underscores"), _schema(_SPLIT)]
KeyId = Annotated[str, _of_form(_KEY_ID, "is not a token key id; it has 16 hex digits"), _schema(_KEY_ID)]


class RangeBasis(Contract):
    """A half-open stretch of one partition, `[start_offset, end_offset)`; offsets are text (`domain.md` §1.1)."""

    topic: Text
    partition: Annotated[int, Field(ge=0)]
    offset_kind: Literal["file_line", "kafka_offset", "kinesis_sequence"]
    start_offset: str
    end_offset: str
    log_id: Text

    def to_range(self) -> Range:
        """The range as the domain knows it."""
        return Range(self.topic, self.partition, self.offset_kind, self.log_id, self.start_offset, self.end_offset)

    def faults(self) -> list[str]:
        """What is wrong with its offsets."""
        try:
            start, end = (offset_number(self.offset_kind, text) for text in (self.start_offset, self.end_offset))
        except BasisUnresolved as wrong:
            return [f"{wrong.what} {wrong.fix}"]
        if start < end:
            return []
        return [f"[{self.start_offset}, {self.end_offset}) holds nothing; the end is the first offset not wanted any more"]


class GapBasis(RangeBasis):
    """A stretch of the basis that the dataset is declared to lack, and why it is missing (`domain.gaps`)."""

    why: DeclaredWhy

    def to_gap(self) -> DeclaredGap:
        """The gap as the domain knows it."""
        return DeclaredGap(self.to_range(), self.why)


class SelectorBasis(Contract):
    """A half-open span of log time that is resolved once to offsets (`decisions.md` D16)."""

    topic: Text
    from_utc: Instant
    to_utc: Instant

    def to_selector(self) -> Selector:
        """The selector as the domain knows it."""
        return Selector(self.topic, parse_instant(self.from_utc), parse_instant(self.to_utc))

    def faults(self) -> list[str]:
        """What is wrong with its span."""
        return [] if self.from_utc < self.to_utc else [f"{self.to_utc} does not lie after {self.from_utc}"]


class FileSetBasis(Contract):
    """The whole pinned file set of a plain table; its `log_id` pins paths, rows and bytes (`decisions.md` D9, D14)."""

    topic: Text
    files: Annotated[TextSet, Field(min_length=1)]
    log_id: Digest

    def faults(self) -> list[str]:
        """What is wrong with its file names."""
        return [f"{name!r} leads out of the table's folder" for name in self.files if name.startswith("/") or ".." in name.split("/")]


def _kind_of_basis(item: Any) -> str:
    """Which of the three an entry means to be."""
    names = item if isinstance(item, Mapping) else vars(item) if isinstance(item, Contract) else ()
    if "files" in names:
        return "file set"
    return "time selector" if "from_utc" in names or "to_utc" in names else "offset range"


Basis = Annotated[Annotated[RangeBasis, Tag("offset range")] | Annotated[SelectorBasis, Tag("time selector")]
                  | Annotated[FileSetBasis, Tag("file set")], Discriminator(_kind_of_basis)]


class LabelBasis(Contract):
    """What counts as known about labels, and when (`domain.md` §1.6–1.8, `decisions.md` D22, D25).

    `store` names per label type the log that was in use. It says where to look and is not part of the dataset's identity: what was
    observed after the cut changes the log, not the dataset.
    """

    label_asof_utc: Instant
    resolution_rule: Annotated[str, AfterValidator(_rule)]
    maturity_days: Annotated[int, Field(ge=1, le=LONGEST_MATURITY_DAYS)] | None
    immature: Literal["exclude", "mark"] = "exclude"
    label_types: TextSet
    store: dict[Text, Text]


class FeatureDefinitionSet(Contract):
    """Which feature set of which profile. `profile_digest` is the digest of the profile file's bytes, if pinned."""

    feature_set_id: Text
    feature_set_version: Text
    profile_ref: Text
    profile_digest: Digest | None = None


class CalendarRule(Contract):
    """Which periods have rows: the local days, weeks or months that begin from a day on and before another one."""

    every: Literal["day", "week", "month"]
    zone: Zone
    first_day: Day
    end_day: Day

    def of(self, source: str) -> Calendar:
        """The calendar as the domain knows it, about the entities of a source."""
        return Calendar(source, self.every, self.zone, day_number(self.first_day), day_number(self.end_day))

    def faults(self) -> list[tuple[str, str]]:
        """What is wrong with its days, each with the field that it is about."""
        start, end = day_number(self.first_day), day_number(self.end_day)
        if end <= start:
            return [("end_day", f"{self.end_day} does not lie after {self.first_day}")]
        if end - start > MOST_PERIODS:
            return [("end_day", f"{self.first_day} to {self.end_day} are {end - start:,} days; at most {MOST_PERIODS:,} are understood")]
        ends = self.of("").ends()
        if not ends:
            return [("end_day", f"no {self.every} begins from {self.first_day} on and before {self.end_day}")]
        return [] if min(ends) >= EARLIEST_US and max(ends) <= LATEST_US else [("end_day", "periods must lie in the years 1 to 9999")]


class Subject(Contract):
    """Whose events become rows, and which of them (`decisions.md` D17).

    With `entity` the source is a spine: instants at which somebody wants rows about an entity, which this field names. With a `calendar`
    rows are made: at the end of each period one about every entity that had an event of the source by then.
    """

    source: Text
    where: Text | None = None
    entity: Text | None = None
    calendar: CalendarRule | None = None

    @property
    def rows_source(self) -> str:
        """The name of the source whose events become rows."""
        return rows_source(self.model_dump())

    @property
    def made_of(self) -> tuple[str, str] | None:
        """The source and the field of which a calendar makes rows, if one does."""
        return None if self.calendar is None or self.entity is None else (self.source, self.entity)


class JoinScope(Contract):
    """What of other planes a dataset is joined with: outputs that each need a PASS. None is said as an empty list (`domain.md` §7)."""

    required_output_ids: TextSet


class SplitRange(Contract):
    """A named half-open range of event time.

    `label_asof_utc` is the label as-of of an evaluation split. Null means that of the intent, and is not written out.
    """

    name: SplitName
    from_utc: Instant
    to_utc: Instant
    label_asof_utc: Annotated[Instant | None, LEFT_OUT] = None


def _by_time(splits: list[SplitRange]) -> list[SplitRange]:
    return sorted(splits, key=lambda split: (split.from_utc, split.name))


class SamplingRule(Contract):
    """Which rows are kept, by a keyed hash of each row's unit (`decisions.md` D13). `by` null means the event id."""

    rule: Literal["keyed_hash.v1"] = "keyed_hash.v1"
    seed: Text
    rates: Annotated[dict[Literal["positive", "negative", "unlabeled"], Share], Field(min_length=1)]
    by: Text | None = None


class TokenizedIdentifiers(Contract):
    """Identifiers leave as tokens under this key (`decisions.md` D12)."""

    mode: Literal["tokenized"]
    key_id: KeyId


class RawIdentifiers(Contract):
    """Identifiers leave as they are, for a stated reason."""

    mode: Literal["raw"]
    reason: Text


class CoveragePolicy(Contract):
    """What share of the mature subjects must have an answer, per label type, and what share may be in conflict; decimals as text."""

    answered_min: dict[Text, Share] = Field(default_factory=dict)
    conflicts_max: Share = "0"


class Actor(Contract):
    """Who makes the request, and how that is known."""

    name: Text
    source: Literal["declared", "os_user", "oidc"]


class BuildIntent(Contract):
    """The whole request, `learning.ofs_build_intent.v1`. `request_id` null means that the ledger names the run (`decisions.md` D6).

    `disjoint_by` names the field of the subject whose values may each stand in one split only: the first one that they occur in. `gaps` are
    what the basis is declared to lack; without one the list is not written out.
    """

    schema_version: Literal["learning.ofs_build_intent.v1"]
    request_id: RequestId | None = None
    intent_kind: IntentKind
    platform_run_id: RunId
    scenario_run_ids: Annotated[list[ScenarioId], AfterValidator(in_order)] = Field(default_factory=list)
    replay_basis: Annotated[list[Basis], Field(min_length=1)]
    gaps: Annotated[list[GapBasis], NONE_LEFT_OUT] = Field(default_factory=list)
    label_basis: LabelBasis
    feature_definition_set: FeatureDefinitionSet
    subject: Subject
    target: Target | None
    splits: Annotated[list[SplitRange], AfterValidator(_by_time)] = Field(default_factory=list)
    gap: Duration | None = None
    disjoint_by: Text | None = None
    sampling: SamplingRule | None = None
    identifiers: Annotated[TokenizedIdentifiers | RawIdentifiers, Field(discriminator="mode")]
    cold_rows: Literal["mark", "exclude", "allow"] = "mark"
    visibility: Visibility = "event_time"
    coverage_policy: CoveragePolicy = Field(default_factory=CoveragePolicy)
    correction: Text | None = None
    run_facts_ref: Text
    join_scope: JoinScope
    parity_anchor_ref: Text | None = None
    supersedes: DatasetId | None = None
    backfill_reason: Text | None = None
    policy_revision: Text
    config_revision: Text
    ofs_code_release_id: Text
    non_training_allowed: bool = False
    actor: Actor

    def document(self) -> dict[str, Any]:
        """The full contract as a plain document, every default written out."""
        return self.model_dump(mode="json")

    def payload(self, dataset_fingerprint: str) -> dict[str, Any]:
        """What was asked, without the actor and the request id, and what it means: what two requests of one id must agree on.

        The same words under another configuration, or other run facts, are another question. Which label log was in use is not part of
        it: the log grows while the question stays the same.
        """
        asked = {key: value for key, value in self.document().items() if key not in {"request_id", "actor"}}
        return {**asked, "label_basis": {key: value for key, value in asked["label_basis"].items() if key != "store"},
                "dataset_fingerprint": dataset_fingerprint}

    @property
    def latest_asof_utc(self) -> str:
        """The latest label as-of of all: its own, or that of an evaluation split."""
        return max([self.label_basis.label_asof_utc, *(split.label_asof_utc for split in self.splits if split.label_asof_utc is not None)])

    @property
    def purpose(self) -> Literal["training", "non_training"]:
        """What the dataset is for (`decisions.md` D10); what parity and forensic builds make is never for training."""
        return "training" if self.intent_kind == "dataset_build" and not self.non_training_allowed else "non_training"

    @property
    def use(self) -> Use:
        """What the build is for."""
        return use_of(self.intent_kind, self.purpose)
