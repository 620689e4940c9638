"""The short form of a BuildIntent: what people write (`decisions.md` G). A spelling only; `corridor.shortform` expands it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from offline_feature_plane.contracts.intent import DatasetId, Day, Duration, Instant, RequestId, RunId, ScenarioId, SplitName, Zone
from offline_feature_plane.contracts.model import Codes, Contract, Text
from offline_feature_plane.domain.calendars import name_of
from offline_feature_plane.domain.visibility import Visibility
from offline_feature_plane.errors import (
    BasisUnresolved,
    ConfigRevisionMissing,
    FeatureProfileUnresolved,
    LabelAsofMissing,
    LabelPolicyInvalid,
    LabelTypeScopeUnresolved,
    PolicyRevisionMissing,
    RequestIdInvalid,
    RunFactsUnavailable,
    RunScopeInvalid,
    SupersessionLinkInvalid,
)

__all__ = ["SHORT_CODES", "ShortCalendar", "ShortIntent", "ShortLabel", "ShortSampling", "ShortSpine", "ShortSplit", "ShortTypeRule",
           "names_a_calendar", "number_text"]

SHORT_CODES: Codes = (
    (r"\$\.request_id", RequestIdInvalid),
    (r"\$\.(platform_run_id|scenario_run_ids).*", RunScopeInvalid),
    (r"\$\.(replay_basis|gaps).*", BasisUnresolved),
    (r"\$\.features|\$\.set", FeatureProfileUnresolved),
    (r"\$\.label\.(as_of|maturity_days|rule)|\$\.label|\$\.splits\..+\.as_of", LabelAsofMissing),
    (r"\$\.label\.type|\$\.labels.*", LabelTypeScopeUnresolved),
    (r"\$\.label\..*", LabelPolicyInvalid),
    (r"\$\.run_facts|\$\.required_outputs.*", RunFactsUnavailable),
    (r"\$\.(supersedes|backfill_reason)", SupersessionLinkInvalid),
    (r"\$\.policy_revision", PolicyRevisionMissing),
    (r"\$\.config_revision", ConfigRevisionMissing),
)

Number = int | float | str


def number_text(value: Any) -> Any:
    """A number as its plain decimal text; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return format(Decimal(repr(value)), "f")


class ShortTypeRule(Contract):
    """What the labels of one type say, where several are combined."""

    positive: list[Text] = Field(description="Label values that say yes.")
    negative: list[Text] | None = Field(None, description="Label values that say no; default: all others.")
    unlabeled: Literal["exclude", "refuse", "negative_when_mature"] = Field(description="What an event without a label of this type is.")
    coverage: Number | None = Field(None, description="The share of mature subjects that must have an answer of this type.")


class ShortLabel(Contract):
    """Which label is learned, as known when. `as_of`, `maturity_days`, `unlabeled` and `positive` are never filled in."""

    type: Text | None = Field(None, description="The label type, as plane.yaml names it; or `types` and `combine`.")
    types: dict[Text, ShortTypeRule] | None = Field(None, description="Several label types, each with what its labels say.")
    combine: Text | None = Field(None, description="How they become one target: and, or, not and brackets over the types, each named once.")
    as_of: Instant = Field(description="Labels observed after this instant do not exist.")
    maturity_days: Annotated[int, Field(ge=1)] | None = Field(description="How old an event must be for its label to count; null: any.")
    positive: list[Text] | None = Field(None, description="Label values that make a positive.")
    negative: list[Text] | None = Field(None, description="Label values that make a negative; default: all others.")
    unlabeled: Literal["exclude", "refuse", "negative_when_mature"] | None = Field(None, description="What an event without a label is.")
    target: Literal["none"] | None = Field(None, description="`none`: label columns, no target; then leave positive and unlabeled out.")
    immature: Literal["exclude", "mark"] | None = Field(None, description="What becomes of young events; default: exclude.")
    rule: Text | None = Field(None, description="How several assertions are resolved; default: source_precedence.v1.")
    coverage: Number | None = Field(None, description="The share of mature subjects that must have an answer.")
    conflicts: Number | None = Field(None, description="The share of mature subjects that may be in conflict; default: 0.")

    def label_types(self) -> tuple[str, ...]:
        """Its label types: the one, or those that are combined."""
        return (self.type,) if self.type is not None else tuple(sorted(self.types or ()))


def _span(given: Any) -> Any:
    if isinstance(given, Mapping) or (isinstance(given, list) and len(given) != 2):
        found = "a mapping" if isinstance(given, Mapping) else str(len(given)) if len(given) > 2 else "one" if given else "none"
        raise ValueError(f"a split is [from, to): two instants, not {found}; for example [2026-01-01, 2026-02-01]")
    return given


Span = Annotated[list[Instant], Field(min_length=2, max_length=2), BeforeValidator(_span)]
Days = Annotated[list[Day], Field(min_length=2, max_length=2)]


class ShortSpine(Contract):
    """Rows at instants that the user brings, each about an entity (`docs/decisions/0036`)."""

    spine: Text = Field(description="The event type whose events are the instants.")
    entity: Text = Field(description="Its field that names whom a row is about; each entity at most once at one instant.")


class ShortCalendar(Contract):
    """Rows for days, weeks or months, one for each of them and every entity that had an event by its end (`docs/decisions/0036`)."""

    entity: Text = Field(description="The field that names whom a row is about.")
    of: Text = Field(description="The event type whose events say who is there.")
    every: Literal["day", "week", "month"] = Field(description="How often; weeks begin on Monday.")
    between: Days = Field(description="[from, to): two days; days, weeks or months have rows that begin from one on and before the other.")
    zone: Zone | None = Field(None, description="Whose calendar; default: UTC.")


def names_a_calendar(rows: Mapping[str, Any]) -> bool:
    """Does a mapping under `rows` mean a calendar, sound or not?"""
    return "spine" not in rows and any(name in rows for name in ("of", "every", "between", "zone"))


def _kind_of_rows(given: Any) -> str:
    """Whether rows are of events that happened, of a spine or of a calendar."""
    if isinstance(given, ShortCalendar) or (isinstance(given, Mapping) and names_a_calendar(given)):
        return "a calendar"
    return "a spine" if isinstance(given, Mapping | ShortSpine) else "events"


Rows = Annotated[Annotated[Text, Tag("events")] | Annotated[ShortSpine, Tag("a spine")] | Annotated[ShortCalendar, Tag("a calendar")],
                 Discriminator(_kind_of_rows)]


class ShortSplit(Contract):
    """A split that is judged by what is known later than what is learned."""

    range: Span = Field(description="Its half-open range of event time, [from, to).")
    as_of: Instant = Field(description="Labels observed after this instant do not exist for its events; later than that of `label`.")


def _form_of(given: Any) -> str:
    """Which of the two forms a split means to have; another mapping is told what a split is."""
    own = isinstance(given, ShortSplit) or (isinstance(given, Mapping) and given.keys() & {"range", "as_of"})
    return "evaluation split" if own else "range of time"


Split = Annotated[Annotated[Span, Tag("range of time")] | Annotated[ShortSplit, Tag("evaluation split")], Discriminator(_form_of)]


class ShortSampling(Contract):
    """Which rows are kept: a share per target class."""

    seed: Number = Field(description="Any text; another seed keeps other rows.")
    rates: dict[Text, Number] = Field(description="The share kept of positive, negative, unlabeled.")
    by: Text | None = Field(None, description="Keep or drop all rows of one value of this field together; default: by event.")


class ShortIntent(Contract):
    """The short form. What is left out is filled from the plane, the profile, the bytes at hand or constants, and listed."""

    rows: Rows = Field(description="The event type whose events become rows; a spine, `{spine: …, entity: …}`; or a calendar, "
                                   "`{entity: …, of: …, every: …, between: …}`.")
    where: Text | None = Field(None, description="Which of them, as a condition over their fields.")
    features: Text = Field(description="The feature profile, relative to this file.")
    set: Text | None = Field(None, description="Which feature set, as id@version; needed if the profile has several.")
    label: ShortLabel = Field(description="Which label is learned.")
    labels: list[Text] | None = Field(None, description="Further label types that become columns.")
    splits: dict[SplitName, Split] | None = Field(
        None, description="Named half-open ranges of event time; one that is judged as of a later instant is {range: […], as_of: …}.")
    gap: Duration | None = Field(None, description="How far splits must lie apart (checked, not applied).")
    disjoint_by: Text | None = Field(None, description="Each value of this field stands in one split only, the first that it occurs in.")
    sampling: ShortSampling | None = Field(None, description="Which rows are kept.")
    identifiers: Literal["tokenized"] | dict[str, str] | None = Field(None, description="`tokenized` (default) or {mode: raw, reason: …}.")
    cold_rows: Literal["mark", "exclude", "allow"] | None = Field(None, description="What becomes of rows whose windows reach before known "
                                                                                    "history; default: mark.")
    visibility: Visibility | None = Field(None, description="Which events a row sees: those that happened before it (`event_time`, the "
                                                            "default), or of these the ones that had arrived (`arrival`).")
    replay_basis: list[dict[str, Any]] | None = Field(None, description="Ranges or selectors; default: everything that the plane has.")
    gaps: Literal["as_found"] | list[dict[str, Any]] | None = Field(
        None, description="What the dataset is declared to lack of its basis: `as_found` by planning, or a list; default: nothing.")
    run_facts: Text | None = Field(None, description="The run facts view with evidence for world inputs.")
    required_outputs: list[Text] | None = Field(None, description="World inputs that need a PASS.")
    request_id: RequestId | None = Field(None, description="The request's name; the same name twice is the same request.")
    correction: Text | None = Field(None, description="Why the same meaning must become another dataset.")
    supersedes: DatasetId | None = Field(None, description="The dataset that this one replaces.")
    backfill_reason: Text | None = Field(None, description="Why it does.")
    non_training_allowed: bool | None = Field(None, description="The dataset is not for training and may be incomplete.")
    policy_revision: Text | None = Field(None, description="Default: the plane's.")
    config_revision: Text | None = Field(None, description="Default: the plane's.")
    platform_run_id: RunId | None = Field(None, description="Default: the plane's.")
    scenario_run_ids: list[ScenarioId] | None = Field(None, description="Only these scenario runs; default: all.")

    @property
    def subject(self) -> tuple[str, tuple[str, str] | None]:
        """The source whose events become rows; and of what it is made, if a calendar makes it."""
        if isinstance(self.rows, ShortCalendar):
            return name_of(self.rows.of, self.rows.entity, self.rows.every), (self.rows.of, self.rows.entity)
        return self.rows.spine if isinstance(self.rows, ShortSpine) else self.rows, None

    @property
    def latest_asof(self) -> str:
        """The latest label as-of of all: that of the label, or of a split."""
        own = (split.as_of for split in (self.splits or {}).values() if isinstance(split, ShortSplit))
        return max([self.label.as_of, *own])
