"""What a build asks of an engine: the task, as frozen values (`domain.md` §2, `decisions.md` D13, D17–D19, D22–D25).

A `Task` is derived from a plan's pins. It says which events are history, which events become rows, how labels are resolved, and
which columns leave. It names no file, engine, path or thread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from offline_feature_plane.domain.closure import WITH_THE_ROW, Closure
from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.domain.combining import Combination, text_of
from offline_feature_plane.domain.expressions import Expression
from offline_feature_plane.domain.visibility import Visibility

Disposition = Literal[
    "undecodable", "foreign_run", "null_value", "future_quarantined", "duplicate", "other_scope", "context", "where",
    "outside_splits", "earlier_split", "immature", "unlabeled", "label_conflict", "missing_context", "cold", "sampled_out", "row",
]
DISPOSITIONS: tuple[Disposition, ...] = (
    "undecodable", "foreign_run", "null_value", "future_quarantined", "duplicate", "other_scope", "context", "where",
    "outside_splits", "earlier_split", "immature", "unlabeled", "label_conflict", "missing_context", "cold", "sampled_out", "row",
)

AT_THE_ASOF: Final = "at the label as-of"
AT_ITS_ASOF: Final = "at the label as-of of the row's split"


@dataclass(frozen=True)
class Split:
    """A named half-open range of event time in µs UTC: `start_us <= ts < end_us`.

    `asof_us` is the label as-of of an evaluation split; None: that of the label task (record 0034).
    """

    name: str
    start_us: int
    end_us: int
    asof_us: int | None = None

    def holds(self, ts_us: int) -> bool:
        """Does an instant lie in it?"""
        return self.start_us <= ts_us < self.end_us


@dataclass(frozen=True)
class Target:
    """How a resolved label becomes a target. `negative` None means every other resolved value."""

    label_type: str
    positive: tuple[str, ...]
    negative: tuple[str, ...] | None
    unlabeled: Literal["exclude", "refuse", "negative_when_mature"]

    @property
    def parts(self) -> tuple[Target, ...]:
        """Its label types, each with what its labels mean: here one."""
        return (self,)

    @property
    def meaning(self) -> str:
        """When it is 1, and what silence means."""
        return f"1 for {', '.join(self.positive)}; unlabeled: {self.unlabeled}"


@dataclass(frozen=True)
class CombinedTarget:
    """How resolved labels of several types become one target: what each says, and how they are combined."""

    parts: tuple[Target, ...]
    combine: Combination

    @property
    def meaning(self) -> str:
        """When it is 1, and what silence means for each type."""
        said = "; ".join(f"{part.label_type}: {', '.join(part.positive)} (unlabeled: {part.unlabeled})" for part in self.parts)
        return f"1 for {text_of(self.combine)}; {said}"


@dataclass(frozen=True)
class LabelTask:
    """Which labels are resolved and how: knowledge cut, rule, maturity (µs; None = no maturity rule)."""

    asof_us: int
    rule: str
    types: tuple[str, ...]
    maturity_us: int | None = None
    immature: Literal["exclude", "mark"] = "exclude"


@dataclass(frozen=True)
class Sampling:
    """Keep a row iff its unit's keyed hash is below its class's rate (`decisions.md` D13).

    Rates are decimal text per target class (`positive`, `negative`, `unlabeled`); a class without one is kept whole.
    """

    seed: str
    rates: tuple[tuple[str, str], ...]
    by: str | None = None


@dataclass(frozen=True)
class TokenKey:
    """The secret behind identifier tokens; `key_id` is derived from it and public."""

    key_id: str
    secret: bytes

    def __repr__(self) -> str:
        """Never shows the secret."""
        return f"TokenKey(key_id={self.key_id!r})"


@dataclass(frozen=True)
class Task:
    """Everything that decides rows and their columns.

    `subject` is a source name of the closure; `where` an expression over its fields. Empty `splits` means one split `all`.
    `history_start_us` is per source the earliest instant from which the basis is complete; None = its first event.
    `token_key` None means raw identifiers. `platform_run_id` bounds record archives (`foreign_run`); `scenario_run_ids` empty = any.
    `disjoint_by` is a field of the subject whose every value stands in one split only.
    """

    platform_run_id: str
    scenario_run_ids: tuple[str, ...]
    closure: Closure
    subject: str
    where: Expression | None
    splits: tuple[Split, ...]
    labels: LabelTask
    target: Target | CombinedTarget | None
    sampling: Sampling | None
    cold_rows: Literal["mark", "exclude", "allow"]
    history_start_us: tuple[tuple[str, int | None], ...]
    token_key: TokenKey | None
    visibility: Visibility = "event_time"
    disjoint_by: str | None = None

    @property
    def has_evaluation_splits(self) -> bool:
        """Does a split have a label as-of of its own?"""
        return any(split.asof_us is not None for split in self.splits)

    @property
    def latest_asof_us(self) -> int:
        """The latest label as-of of all: up to it assertions are read, compared and hashed."""
        return max([self.labels.asof_us, *(split.asof_us for split in self.splits if split.asof_us is not None)])

    def labels_at(self, ts_us: int) -> LabelTask:
        """The label task of an event at an instant: as of what the split that holds it says, or else as it is."""
        asof = next((split.asof_us for split in self.splits if split.holds(ts_us)), None)
        return self.labels if asof is None else replace(self.labels, asof_us=asof)


def as_leaving(column: Column, task: Task) -> Column:
    """A feature column as it leaves: identifiers become token strings unless the task is raw (`decisions.md` D12)."""
    return replace(column, type=ColumnType("string")) if column.identifier and task.token_key else column


def row_columns(task: Task, id_type: ColumnType) -> tuple[Column, ...]:
    """The columns of the dataset in schema order.

    `event_id`, `ts`, features (groups, row features, derived), then per label type `<type>__value, __status, __observed_time,
    __assertion_id`, then `target`, `split`, and the marks that apply: `mature`, `cold`, `weight`.
    """
    found = [Column("event_id", id_type, "id", nullable=False, lineage=task.subject, meaning="the row's event",
                    availability=WITH_THE_ROW),
             Column("ts", ColumnType("timestamp"), "time", nullable=False, lineage=task.subject, meaning="when the row's event happened",
                    availability=WITH_THE_ROW),
             *(as_leaving(column, task) for column in task.closure.columns())]
    asof = "the as-of of the row's split" if task.has_evaluation_splits else "the as-of"
    availability = AT_ITS_ASOF if task.has_evaluation_splits else AT_THE_ASOF
    for label_type in task.labels.types:
        lineage = f"labels {label_type} by {task.labels.rule}"
        text = ColumnType("string")
        for part, kind, nullable, meaning in (
                ("value", text, True, f"what holds at {asof}"),
                ("status", text, False, f"RESOLVED, CONFLICT or NOT_FOUND at {asof}"),
                ("observed_time", ColumnType("timestamp"), True, "when the assertion that holds became known"),
                ("assertion_id", text, True, "the id of the assertion that holds")):
            found.append(Column(f"{label_type}__{part}", kind, "label", nullable=nullable, lineage=lineage, meaning=meaning,
                                availability=availability))
    if task.target is not None:
        lineage = ", ".join(f"{part.label_type}__value" for part in task.target.parts)
        found.append(Column("target", ColumnType("int8"), "target", lineage=lineage, meaning=task.target.meaning,
                            availability=availability))
    found.append(Column("split", ColumnType("string"), "split", nullable=False, lineage="ts", meaning="the split whose range holds ts",
                        availability=WITH_THE_ROW))
    if task.labels.immature == "mark" and task.labels.maturity_us is not None:
        found.append(Column("mature", ColumnType("bool"), "mark", nullable=False, lineage="ts",
                            meaning=f"was the event old enough at {asof} for its label to have arrived?", availability=availability))
    if task.cold_rows == "mark":
        found.append(Column("cold", ColumnType("bool"), "mark", nullable=False, lineage="ts",
                            meaning="does the deepest window begin before the known history?", availability=WITH_THE_ROW))
    if task.sampling is not None:
        found.append(Column("weight", ColumnType("float64"), "weight", nullable=False, lineage="target",
                            meaning="1 ÷ the rate at which rows of this class were kept", availability=availability))
    return tuple(found)
