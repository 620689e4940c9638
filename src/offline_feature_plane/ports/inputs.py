"""What a build reads: the doors that pin it, event sources and label stores, and the pinned inputs as an engine gets them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from offline_feature_plane.contracts.plan import SourceFile, SourcePlan
from offline_feature_plane.domain.admission import Admission, Scope
from offline_feature_plane.domain.basis import Range, Selector
from offline_feature_plane.domain.closure import Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.completeness import Completeness
from offline_feature_plane.domain.ends import Ends, joined
from offline_feature_plane.domain.findings import Finding, in_order
from offline_feature_plane.domain.prognosis import Missing
from offline_feature_plane.errors import SourceColumnUnknown
from offline_feature_plane.ports.kept import Keep

if TYPE_CHECKING:
    import pyarrow as pa

Form = Literal["parquet", "csv", "jsonl"]

# --- as an engine reads it ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PinnedFile:
    """A file of a source, pinned: path relative to the source's root, absolute path, digest, rows, bytes."""

    relative: str
    path: Path
    sha256: str
    rows: int
    size: int


@dataclass(frozen=True)
class PlainTable:
    """A table of the user's own, as an engine must read it.

    `topic` is the name in plane.yaml and also the event type; offsets do not exist, the total order is `(ts, event_id)`
    (`decisions.md` D14). `arrival_column` says when an event arrived, None if nothing does.
    `columns` maps the file's column names, and the dotted ones of what lies inside of Parquet structs, to their engine-neutral types (as
    Arrow type text).
    `id_column` None: ids are `<log_id8>:<row>` with rows counted over files in `files` order. `zone` None only if the time column has one.
    """

    topic: str
    log_id: str
    form: Form
    files: tuple[PinnedFile, ...]
    id_column: str | None
    id_type: ColumnType
    time_column: str
    zone: str | None
    columns: tuple[tuple[str, str], ...]
    arrival_column: str | None = None

    @property
    def rows(self) -> int:
        """Rows of all files together."""
        return sum(file.rows for file in self.files)

    def column_of(self, field: Field) -> str:
        """The file's column that a field is taken from: JSON Lines go by the first key, other forms by the whole dotted path."""
        return field.path[0] if self.form == "jsonl" else ".".join(field.path)

    def check_columns(self, source: Source) -> None:
        """Every field of a source has its column here. Raises SourceColumnUnknown."""
        known = [name for name, _ in self.columns]
        for one in source.fields:
            if self.column_of(one) not in known:
                raise SourceColumnUnknown(f"{self.topic} has no column {self.column_of(one)!r}; it has: {', '.join(known)}.",
                                          path=f"{source.name}.{one.name}",
                                          fix="Give the field a `path:` that names an existing column.")


@dataclass(frozen=True)
class Lane:
    """One partition of a topic: in which log its offsets count, and of which kind they are."""

    partition: int
    offset_kind: str
    log_id: str


@dataclass(frozen=True)
class ReadReport:
    """What reading a log told: how many coordinates gave no event, by reason; what was found wrong, and where; how many were compared.

    `compared` counts the coordinates that two holders of the log have and that were held against each other; `scenarios` the records of
    the run by scenario run, where a build is about some of these; `ends` the events at both ends of each range that was read.
    """

    left_out: Mapping[str, int]
    findings: tuple[Finding, ...] = ()
    compared: int = 0
    scenarios: Mapping[str, int] = field(default_factory=dict)
    ends: tuple[Ends, ...] = ()


class Told:
    """What reading all inputs of a build told together: `left_out` counts by reason what gave no event, of tables and logs."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self.scenarios: Counter[str] = Counter()
        self.compared = 0
        self._findings: list[Finding] = []
        self._ends: list[Ends] = []

    def add(self, report: ReadReport) -> None:
        """What one log told."""
        self.left_out.update(report.left_out)
        self.scenarios.update(report.scenarios)
        self.compared += report.compared
        self._findings += report.findings
        self._ends += report.ends

    def of_scenarios(self, wanted: Sequence[str]) -> dict[str, int]:
        """How many records are of each of some scenario runs."""
        return {name: self.scenarios[name] for name in wanted}

    @property
    def dispositions(self) -> dict[str, int]:
        """The counts of what gave no event, where there are any."""
        return {reason: count for reason, count in self.left_out.items() if count}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, in one order whoever read first."""
        return in_order(self._findings)

    @property
    def ends(self) -> tuple[Ends, ...]:
        """The events at the ends of ranges, whoever read which part of one."""
        return joined(self._ends)


@runtime_checkable
class HeldApart(Protocol):
    """A log of which several have parts, such as an archive and a bus."""

    @property
    def holders(self) -> Sequence[tuple[str, int]]:
        """Who has what, in the order in which it is read: a name, and how many records at most."""


class RecordLog(Protocol):
    """The records of one topic of a log, in pinned ranges, typed for the sources of one closure."""

    @property
    def topic(self) -> str:
        """The topic's name."""

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Its partitions, as far as the ranges touch them."""

    def by_partition(self) -> Sequence[RecordLog]:
        """The same records in pieces, one for each partition in their order, each of which can be pickled and read elsewhere."""

    @property
    def rows(self) -> int:
        """How many records the files hold that have them: not less than will be read."""

    def read(self, admission: Admission, take: Callable[[str, pa.RecordBatch], None]) -> ReadReport:
        """Read everything once, record by record as the law has it, in the order of partitions and offsets, and hold it against its pins.

        Args:
            admission: judges each record. It remembers the ids of all topics of a build, so one admission goes through all of them.
            take: called with a source's name and its next events: the columns of `RECORD_COLUMNS`, then the source's fields, typed as
                `arrow_type` of `domain.columns` says (decimals as decimal128).

        What two holders of a log say differently about one coordinate is a finding, and no error: whether it ends a build is for the
        build to say. An error carries what was found before it in its field `findings`.

        Raises:
            ReplayBasisMismatch: what is read is not what was pinned, or a record is not what its hash says.
            ReplayDuplicateOffsetMismatch: two places hold different events at one coordinate.
            ReplayEventIdConflict: one id with two contents.
            EventSchemaMissingFields, ReplayEventInvalid, NumericOverflow: values that the declared types refuse, with their coordinate.
            SourceUnreadable: something is broken.
        """

    def scan(self, scope: Scope, take: Callable[[str | None, pa.RecordBatch], None], keep: Keep | None = None,
             threads: int = 1) -> ReadReport:
        """As `read`, many records at a time, but for ids that come again: they are the reader's to find, in the order of what is taken.

        Args:
            scope: which records count. What is outside of it is left out, and told.
            take: called with a source's name and its next events: `SCANNED_COLUMNS`, then the fields as in `read`; and with None and
                the next records that no source admits, whose ids count too: `SCANNED_COLUMNS` alone. `other_scope` does not count
                them, and `duplicate` counts nothing.
            keep: where a log that takes long to be read is kept, portion by portion; what is kept there already is not read again.
            threads: with more than one, some of the work may be done on others than the caller's, to the same end. `take` and `keep` are
                called on the caller's, in order; when this returns or raises, no other thread goes on.
        """


EventInput = PlainTable | RecordLog


@dataclass(frozen=True, kw_only=True)
class LabelColumns:
    """What the columns of one label type's timeline mean.

    Column names refer to the file; `value` is a constant or a column with an optional map of its text to label values; `observed` is a
    column or, with `observed_after_us`, the event's time plus a delay (assumed). `effective` None = observed for timelines, event time for
    assumed ones. `source` None = SYSTEM. `unmapped` values are refused. Durations in µs.

    `event_column` names events, or with `entity_field` entities: what is said of one holds for the subject's events that have it in this
    field, by effective time (`domain.entity_labels`); then `observed` and `effective` are columns.
    """

    label_type: str
    event_column: str
    value_constant: str | None
    value_column: str | None
    value_map: tuple[tuple[str, str], ...] | None
    observed_column: str | None
    observed_after_us: int | None
    event_time_column: str | None
    effective_column: str | None
    source_column: str | None
    source_constant: str
    id_column: str | None
    supersedes_column: str | None
    zone: str | None
    min_lag_us: int | None
    entity_field: str | None = None

    def mapped_at(self, column: str) -> str:
        """Where plane.yaml maps a column."""
        about = "event" if self.entity_field is None else "entity"
        roles = {about: self.event_column, "observed": self.observed_column, "value": self.value_column, "source": self.source_column,
                 "effective": self.effective_column, "id": self.id_column, "supersedes": self.supersedes_column,
                 "time": self.event_time_column}
        return f"labels.{self.label_type}.{next(role for role, name in roles.items() if name == column)}"

    @property
    def vocabulary(self) -> frozenset[str] | None:
        """Every value that a label of this table can have; None where the mapping does not say."""
        if self.value_constant is not None:
            return frozenset({self.value_constant})
        return None if self.value_map is None else frozenset(meaning for _, meaning in self.value_map)


@dataclass(frozen=True, kw_only=True)
class LabelTable(LabelColumns):
    """A label timeline of the user's own, for one label type, pinned, as an engine must read it; `columns` as in `PlainTable`."""

    log_id: str
    form: Form
    files: tuple[PinnedFile, ...]
    columns: tuple[tuple[str, str], ...]

    def place(self, row: int) -> str:
        """A row, counted over all files from 0, as people find it: file and row number, from 1."""
        for file in self.files:
            if row < file.rows:
                return f"{file.relative} row {row + 1}"
            row -= file.rows
        raise AssertionError("unreachable")

    def describe(self, read_by: str) -> SourcePlan:
        """As `PinnedLabels.describe`: its files."""
        files = [SourceFile(path=file.relative, sha256=file.sha256, rows=file.rows, size_bytes=file.size) for file in self.files]
        return SourcePlan(name=self.label_type, kind="labels", read_by=read_by, log_id=self.log_id, files=files, ranges=[])

    def reading(self, folder: Path) -> LabelTable:  # noqa: ARG002 - it is in files already
        """As `PinnedLabels.reading`: itself."""
        return self


# --- where it comes from ------------------------------------------------------------------------------------


class PinnedEvents(Protocol):
    """The events of one topic, pinned: what planning may ask before anything is read."""

    @property
    def topic(self) -> str:
        """The topic's name in plane.yaml."""

    @property
    def log_ids(self) -> tuple[str, ...]:
        """The logs that its offsets, or its rows, count in (`decisions.md` D9)."""

    @property
    def names_events(self) -> bool:
        """Do its events carry ids that labels can refer to?"""

    @property
    def knows_arrival(self) -> bool:
        """Does it say when its events arrived (`decisions.md` D21)?"""

    @property
    def table_files(self) -> tuple[Path, ...]:
        """The files whose columns are its fields; none if fields are in payloads."""

    def basis(self) -> list[dict[str, Any]]:
        """Everything that it holds, as entries of an intent's `replay_basis`."""

    def resolve(self, selector: Selector) -> tuple[Range, ...]:
        """The ranges that a span of log time is. Raises SelectorUnresolved, ReplayBasisMismatch."""

    def completeness(self, ranges: Sequence[Range]) -> Completeness:
        """Compare the ranges of a basis with the evidence; a table is complete relative to its files. Never raises."""

    def reading(self, ranges: Sequence[Range], sources: Sequence[Source]) -> EventInput:
        """Its events in some ranges, for the sources of a closure, ready for an engine. Ranges of other topics mean nothing to it.

        Raises:
            SourceColumnUnknown: a field of its source has no column here.
        """

    def describe(self, ranges: Sequence[Range], read_by: str) -> SourcePlan:
        """What of it will be read, for the plan. `read_by` is the source's `name@version`."""


@runtime_checkable
class KeptForAWhile(Protocol):
    """Pinned events whose holder lets them go some day: a bus."""

    def kept_until_us(self, wanted: Range, offset: int) -> int | None:
        """Until when the record at an offset of a range is kept at least, as far as its holder says; None: it does not say, or for good."""


@runtime_checkable
class KeptSomehow(Protocol):
    """Pinned events whose holder may keep them by other measures than time."""

    def kept_how(self, wanted: Range, offset: int) -> str:
        """How the record at an offset of a range is kept where there is no time to tell: a clause that begins with `which`."""


@runtime_checkable
class HeldInFiles(Protocol):
    """Pinned events in files that an index names, and that may be gone all the same."""

    def missing(self) -> Sequence[Missing]:
        """Stretches whose files are gone, or are others, as far as that shows without reading them. Raises as pinning does."""


@runtime_checkable
class SourceOfFiles(Protocol):
    """A source whose topics are nothing but files."""

    def file_names(self, topic: str) -> Collection[str]:
        """The names of a topic's files, as a basis has them; they can be opened, and nothing is read. Raises as pinning does."""


@runtime_checkable
class LabelsInFiles(Protocol):
    """A label store whose timelines are nothing but files."""

    def file_names(self, label_type: str) -> Collection[str]:
        """As `SourceOfFiles.file_names`."""


class EventSource(Protocol):
    """Pins topics of one kind, such as tables in files or record archives. `name` and `version` go into the plan."""

    name: str
    version: str

    @property
    def topics(self) -> Collection[str]:
        """The topics that plane.yaml maps to this source."""

    def mixes_types(self, topic: str) -> bool:
        """May the topic hold events of any type, or only of the one that it is named after?"""

    def history_start_us(self, topic: str) -> int | None:
        """From when on the topic is declared complete (`decisions.md` D19); None: from its first event."""

    def pin(self, topic: str) -> PinnedEvents:
        """Find out what is there now, and pin it by digests.

        Raises:
            SourceUnreadable, RefScopeInvalid: what is there. SourceColumnUnknown, SourceTypeMismatch, TimeZoneUndeclared,
            SettingsInvalid: what plane.yaml says of it.
        """


class PinnedLabels(Protocol):
    """The timeline of one label type as of a cut, pinned: what planning may ask before anything is read. Files are a `LabelTable`."""

    @property
    def label_type(self) -> str:
        """The type's name in plane.yaml."""

    @property
    def log_id(self) -> str:
        """The log that it is in."""

    @property
    def vocabulary(self) -> frozenset[str] | None:
        """Every value that a label of it can have; None where the mapping does not say."""

    @property
    def entity_field(self) -> str | None:
        """The subject's field that holds the entities that it is about; None: it is about events."""

    def describe(self, read_by: str) -> SourcePlan:
        """What of it will be read, for the plan. `read_by` is the store's `name@version`."""

    def reading(self, folder: Path) -> LabelTable:
        """Its assertions in files, ready for an engine; files that must be made for that are made in `folder`, which exists.

        Raises:
            LabelStoreUnavailable: the store cannot be read. LabelHistoryChanged: it no longer holds what was pinned.
            StorageIoFailure: no room for the files.
        """


class LabelStore(Protocol):
    """Pins label timelines of one kind, such as files or a database. `name` and `version` go into the plan."""

    name: str
    version: str

    @property
    def label_types(self) -> Collection[str]:
        """The label types that plane.yaml maps to this store."""

    def pin(self, label_types: Sequence[str], asof_us: int) -> Sequence[PinnedLabels]:
        """Find the timelines of some types, and fix what they say up to a cut; in a store that changes, at one moment for all of them.

        Raises:
            LabelStoreUnavailable, RefScopeInvalid: what is there. SourceColumnUnknown, SourceTypeMismatch, TimeZoneUndeclared:
            what plane.yaml says of it.
        """

    def truth_columns(self, files: Collection[Path]) -> frozenset[str]:
        """The columns of these files that any timeline takes labels from: never features (`decisions.md` D26)."""
