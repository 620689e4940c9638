"""The resolved closure of a feature set: everything the chosen set really uses, and nothing else (`decisions.md` D11).

These are the frozen values that engines compute from. They are compiled from a feature profile by `domain.compile`;
`domain.closure_documents` writes the JSON-ready document whose digest enters the dataset's identity, and reads it back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from offline_feature_plane.domain.columns import Column, ColumnType, NumericClass
from offline_feature_plane.domain.expressions import Expression
from offline_feature_plane.domain.instants import format_duration
from offline_feature_plane.domain.periods import Period

WITH_THE_ROW: Final = "with the row's event"

Rounding = Literal["exact", "half_even"]


@dataclass(frozen=True)
class Field:
    """One typed field of an event.

    `path` is the way into the payload (records) or a single column name (plain tables). `missing` is the value that replaces an
    absent one as canonical text; `nullable` says that absent is allowed and stays null. `identifier` names the entity whose
    tokens replace the value wherever it leaves as data (`decisions.md` D12).
    """

    name: str
    type: ColumnType
    path: tuple[str, ...]
    nullable: bool = False
    missing: str | None = None
    round: Rounding = "exact"
    identifier: str | None = None


@dataclass(frozen=True)
class Source:
    """A named kind of event: which event types it admits and its typed fields, in profile order."""

    name: str
    event_types: tuple[str, ...]
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field:
        """The field of this name; KeyError if there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)


@dataclass(frozen=True)
class Window:
    """Which part of a key's history counts; `label` is how the names of its columns end. What a kind does not need is None.

    `sliding` and `tumbling` have a length in µs, `lifetime` has none; `last` has the number of events that it holds at most, `calendar` a
    period and a zone; a `session` ends by a pause of `gap_us`, and reaches back `length_us` at most.
    """

    kind: Literal["sliding", "lifetime", "last", "calendar", "tumbling", "session"]
    label: str
    length_us: int | None = None
    count: int | None = None
    period: Period | None = None
    zone: str | None = None
    gap_us: int | None = None


@dataclass(frozen=True)
class Aggregation:
    """A call such as `mean(amount)` or `label_rate(chargeback, CHARGEBACK, of: resolved)`, parsed and typed.

    `argument` is a field name of the group's source or None; label aggregations carry `label_type`, the label `values` that
    count, and whether they divide by resolved events only. `condition` says which events count, over the fields of the group's source;
    `share` is the decimal text of a quantile's place, `half_life_us` how long ago an event has half the weight, `most` how many values are
    told. `version` is that of the aggregation's meaning.
    """

    function: str
    argument: str | None = None
    label_type: str | None = None
    values: tuple[str, ...] = ()
    of_resolved: bool = False
    version: str = "v1"
    condition: Expression | None = None
    share: str | None = None
    half_life_us: int | None = None
    most: int | None = None

    @property
    def text(self) -> str:
        """The call as a profile spells it."""
        condition = None if self.condition is None else self.condition.text
        half_life = None if self.half_life_us is None else f"half_life: {format_duration(self.half_life_us)}"
        last = (condition, self.share, half_life, self.most)
        said = [one for one in (self.argument, self.label_type, *self.values, *last) if one is not None]
        return f"{self.function}({', '.join([*map(str, said), *(['of: resolved'] if self.of_resolved else [])])})"


@dataclass(frozen=True)
class Feature:
    """One output column of a group: an aggregation over one window. `empty` overrides the empty-window result (canonical text).

    `type` is the output type; `identifier` the entity if its values are identifiers of one; `numeric_class` the aggregation's.
    Aggregations that look only at the key's past as a whole (`previous`, `seconds_since_last`) still name a window; they respect its
    lower end.
    """

    column: str
    aggregation: Aggregation
    window: Window
    type: ColumnType
    empty: str | None = None
    identifier: str | None = None
    meaning: str = ""
    numeric_class: NumericClass = "exact"


@dataclass(frozen=True)
class Group:
    """Features of one key over one source, sharing `where`, delay and `current`.

    A group may be a *context*: its features are then fields of the latest event that a row sees, and `context` says whether a row without
    such an event is dropped or has nulls. None: it is no context.
    """

    name: str
    version: str
    source: str
    key: tuple[str, ...]
    where: Expression | None
    current: bool
    delay_us: int
    null_key: Literal["skip", "group"]
    features: tuple[Feature, ...]
    context: Literal["drop", "null"] | None = None

    def presence(self) -> Group:
        """The group that counts the events of which a context is the latest: 0, or null without a key, where a row has none."""
        counted = Feature(f"{self.name}__events", Aggregation("count"), self.features[0].window, ColumnType("int64"))
        return replace(self, features=(counted,))

    def conditions(self) -> tuple[Expression, ...]:
        """What is asked of every event of its source: `where`, then the conditions of its calls."""
        asked = [self.where, *(feature.aggregation.condition for feature in self.features)]
        return tuple(dict.fromkeys(one for one in asked if one is not None))

    def reads(self) -> frozenset[str]:
        """What it reads of its source's events beside the key: fields, and `ts` if a condition does."""
        arguments = (feature.aggregation.argument for feature in self.features)
        return frozenset(one for one in arguments if one is not None).union(*(one.names() for one in self.conditions()))


@dataclass(frozen=True)
class Computed:
    """A row feature (over the subject event's fields and `ts`) or a derived column (over feature columns)."""

    column: str
    expression: Expression
    type: ColumnType
    identifier: str | None = None
    meaning: str = ""


@dataclass(frozen=True)
class Closure:
    """What one feature set uses, resolved and typed. Column order: groups' features, row features, derived columns."""

    policy_id: str
    revision: str
    set_id: str
    set_version: str
    sources: tuple[Source, ...]
    groups: tuple[Group, ...]
    row_features: tuple[Computed, ...]
    derived: tuple[Computed, ...]

    def source(self, name: str) -> Source:
        """The source of this name; KeyError if there is none."""
        for source in self.sources:
            if source.name == name:
                return source
        raise KeyError(name)

    def place(self, name: str) -> int:
        """The place of the source of this name among the sources; ValueError if there is none."""
        return [source.name for source in self.sources].index(name)

    def functions(self) -> frozenset[str]:
        """The names of the aggregations that it uses."""
        return frozenset(feature.aggregation.function for group in self.groups for feature in group.features)

    def demanded(self) -> tuple[Group, ...]:
        """The contexts that every row must have."""
        return tuple(group for group in self.groups if group.context == "drop")

    def columns(self) -> tuple[Column, ...]:
        """The feature columns of a dataset in their final order.

        What is derived from an approximate column is approximate; it is available when everything that it reads is.
        """
        found: list[Column] = []
        for group in self.groups:
            found += [Column(feature.column, feature.type, "feature", numeric_class=feature.numeric_class,
                             lineage=_lineage(group, feature), identifier=feature.identifier, meaning=_meaning(group, feature),
                             availability=_availability(group, feature)) for feature in group.features]
        found += [_column(computed, "exact", WITH_THE_ROW) for computed in self.row_features]
        known = {column.name: column for column in found}
        for computed in self.derived:
            read = [known.get(name) for name in computed.expression.names()]
            is_rough = any(column is not None and column.numeric_class == "approximate" for column in read)
            needs = {need for column in read for need in (WITH_THE_ROW if column is None else column.availability).split("; ")}
            known[computed.column] = _column(computed, "approximate" if is_rough else "exact", "; ".join(sorted(needs)) or WITH_THE_ROW)
        return tuple(known.values())

    def meanings(self) -> dict[str, str]:
        """What the profile's author says of columns, by name. It decides nothing and is hashed nowhere."""
        said = {feature.column: feature.meaning for group in self.groups for feature in group.features}
        said |= {computed.column: computed.meaning for computed in (*self.row_features, *self.derived)}
        return {column: meaning for column, meaning in said.items() if meaning}

    def aggregations(self) -> tuple[str, ...]:
        """Every aggregation it uses, as `name@version`, sorted."""
        used = {feature.aggregation for group in self.groups for feature in group.features}
        return tuple(sorted({f"{one.function}@{one.version}" for one in used}))

    def label_types(self) -> tuple[str, ...]:
        """The label types that features look at, sorted."""
        return tuple(sorted({feature.aggregation.label_type for group in self.groups for feature in group.features
                             if feature.aggregation.label_type}))

    def zones(self) -> frozenset[str]:
        """Every zone other than UTC that it names, in an expression or a window (`decisions.md` D11)."""
        conditions = [one for group in self.groups for one in group.conditions()]
        said = [one.zones() for one in (*conditions, *(computed.expression for computed in (*self.row_features, *self.derived)))]
        windows = {feature.window.zone for group in self.groups for feature in group.features if feature.window.zone}
        return frozenset().union(*said, windows - {"UTC"})

    def depths(self) -> dict[str, tuple[tuple[Window, int], ...]]:
        """Per source its different windows, each with its group's delay in µs: what decides which rows are cold (`decisions.md` D19).

        Contexts make no row cold: what was before the known history could not change the latest event that is known.
        """
        found: dict[str, dict[tuple[Window, int], None]] = {}
        for group in (one for one in self.groups if one.context is None):
            found.setdefault(group.source, {}).update(((feature.window, group.delay_us), None) for feature in group.features)
        return {source: tuple(windows) for source, windows in found.items()}


def _lineage(group: Group, feature: Feature) -> str:
    """What a feature is made from: its group, and the fields and labels that it reads."""
    call = feature.aggregation
    conditions = [one for one in (group.where, call.condition) if one is not None]
    read = [*group.key, *filter(None, [call.argument]), *(name for one in conditions for name in sorted(one.names()))]
    fields = dict.fromkeys(read)
    labels = f", labels {call.label_type}" if call.label_type else ""
    return f"{group.name}@{group.version} over {group.source}({', '.join(fields)}){labels}"


def _meaning(group: Group, feature: Feature) -> str:
    """What a feature says, in words that follow from the closure alone.

    >>> spend = Group("spend", "v1", "payment", ("card",), None, False, 0, "skip", ())
    >>> _meaning(spend, Feature("spend__n_7d", Aggregation("count"), Window("sliding", "7d", 7), ColumnType("int64")))
    'count() of payment events of the same card in the 7d before the row'
    >>> _meaning(replace(spend, context="drop"), Feature("spend__limit", Aggregation("last", "limit"), Window("lifetime", "lifetime"),
    ...                                                  ColumnType("int64")))
    'limit of the latest payment event of the same card before the row; rows without one are left out'
    """
    span = _span(feature.window, group.delay_us)
    if group.context is not None:
        when = span.removeprefix("in all the time ").replace("that ends ", "up to ")
        condition = f", where {group.where.text}" if group.where else ""
        without = "rows without one are left out" if group.context == "drop" else "null if there is none"
        return (f"{feature.aggregation.argument} of the latest {group.source} event of the same {', '.join(group.key)} {when}{condition}; "
                f"{without}")
    condition = f", where {group.where.text}" if group.where else ""
    own = ", the row's own event included" if group.current else ""
    empty = "" if feature.empty is None else f"; {feature.empty} if there is none"
    return f"{feature.aggregation.text} of {group.source} events of the same {', '.join(group.key)} {span}{condition}{own}{empty}"


def _span(window: Window, delay_us: int) -> str:
    """Where a window lies, in words."""
    end = f"{format_duration(delay_us)} before the row" if delay_us else "the row"
    match window.kind:
        case "lifetime":
            return f"in all the time that ends {end}" if delay_us else "in all the time before the row"
        case "last":
            return f"among the latest {window.count} up to {end}"
        case "calendar":
            return f"in the local {window.period} ({window.zone}) up to {end}"
        case "tumbling":
            return f"in the last whole {format_duration(window.length_us or 0)}, counted from 1970, up to {end}"
        case "session":
            gap, most = (format_duration(us or 0) for us in (window.gap_us, window.length_us))
            return f"in the session up to {end} (every pause below {gap}, at most {most})"
    return f"in the {window.label} that end {end}" if delay_us else f"in the {window.label} before the row"


def _availability(group: Group, feature: Feature) -> str:
    """What must have happened before a feature's value is known.

    >>> risk = Group("risk", "v1", "payment", ("shop",), None, False, 60_000_000, "skip", ())
    >>> known = Aggregation("label_count", label_type="fraud", values=("YES",))
    >>> _availability(risk, Feature("risk__n_7d", known, Window("sliding", "7d", 7), ColumnType("int64")))
    "1m before the row's event, labels as known at the row"
    """
    holds_own = group.current and feature.window.kind != "tumbling"
    before = f"{format_duration(group.delay_us)} before" if group.delay_us else "with" if holds_own else "before"
    return f"{before} the row's event" + (", labels as known at the row" if feature.aggregation.label_type else "")


def _column(computed: Computed, numeric_class: NumericClass, availability: str) -> Column:
    return Column(computed.column, computed.type, "feature", numeric_class=numeric_class,
                  lineage=f"({', '.join(sorted(computed.expression.names()))})", identifier=computed.identifier,
                  meaning=computed.expression.text, availability=availability)
