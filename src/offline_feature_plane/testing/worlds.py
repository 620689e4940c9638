"""Small adversarial worlds for holding one engine against another: ties, repeats, nulls, odd texts, late and reversed labels, every option.

    @given(worlds())
    def test_agreement(world):
        with tempfile.TemporaryDirectory() as folder:
            events, labels = world.write(Path(folder))

Instants lie in a few seconds, so that windows, ties and cuts touch each other.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from offline_feature_plane.arrow_types import arrow_type
from offline_feature_plane.domain.aggregations import aggregation_kind, registered
from offline_feature_plane.domain.closure import Aggregation, Closure, Computed, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.identity import files_log_id
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.domain.resolution import RULES, SOURCES
from offline_feature_plane.domain.rows import LabelTask, Sampling, Split, Target, Task, TokenKey
from offline_feature_plane.domain.sampling import unit_text
from offline_feature_plane.domain.tokens import key_id
from offline_feature_plane.filesets import FileSet, pin_files
from offline_feature_plane.ports import LabelTable, PlainTable

__all__ = ["SECOND", "START", "Table", "World", "worlds"]

START, SECOND = 1_767_225_600_000_000, 1_000_000  # 2026-01-01T00:00:00Z, a Thursday
INT, TEXT, FLOAT, BOOL, TIME = (ColumnType(kind) for kind in ("int64", "string", "float64", "bool", "timestamp"))
MONEY = ColumnType("decimal", 12, 2)
Form = Literal["parquet", "csv", "jsonl"]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """One file of events or assertions: values in the inner form, by column. `id_type` None for label tables."""

    name: str
    form: Form
    columns: Mapping[str, ColumnType]
    rows: tuple[Row, ...]
    id_type: ColumnType | None = None

    def write(self, folder: Path) -> FileSet:
        """The table as a pinned file of its form."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.{self.form}"
        if self.form == "parquet":
            pq.write_table(pa.table({name: _arrow([row[name] for row in self.rows], kind) for name, kind in self.columns.items()}), path,
                           row_group_size=max(1, len(self.rows) // 2))
        else:
            texts = [{name: _plain(row[name], kind, self.form) for name, kind in self.columns.items()} for row in self.rows]
            with path.open("w", encoding="utf-8", newline="") as out:
                if self.form == "csv":
                    writer = csv.DictWriter(out, list(self.columns), lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(texts)
                else:
                    out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in texts)
        return pin_files(path)


@dataclass(frozen=True)
class World:
    """A task, the events and the assertions it is about."""

    task: Task
    events: tuple[Table, ...]
    labels: tuple[Table, ...]

    def write(self, folder: Path) -> tuple[list[PlainTable], list[LabelTable]]:
        """Everything as files below `folder`, as engines get them."""
        events, labels = [], []
        for table in self.events:
            found = table.write(folder / "events")
            log_id = files_log_id([(file.relative, file.rows, file.sha256) for file in found.files])
            events.append(PlainTable(topic=table.name, log_id=log_id, form=found.form, files=found.files, id_column="event_id",
                                     id_type=table.id_type or INT, time_column="at", zone=None, columns=found.columns))
        for table in self.labels:
            found = table.write(folder / "labels")
            labels.append(LabelTable(
                label_type=table.name, log_id=files_log_id([(file.relative, file.rows, file.sha256) for file in found.files]),
                form=found.form, files=found.files, columns=found.columns, event_column="event", value_constant=None, value_column="value",
                value_map=None, observed_column="observed", observed_after_us=None, event_time_column=None, effective_column="effective",
                source_column="source", source_constant="SYSTEM", id_column="id", supersedes_column="supersedes", zone=None,
                min_lag_us=None))
        return events, labels


def _arrow(values: Sequence[Any], kind: ColumnType) -> pa.Array:
    if kind.kind == "decimal":
        values = [None if value is None else Decimal(value).scaleb(-kind.scale) for value in values]
    return pa.array(values, arrow_type(kind))


def _plain(value: Any, kind: ColumnType, form: Form) -> Any:
    if value is None:
        return "" if form == "csv" else None
    if form == "jsonl" and kind.kind in ("bool", "int64", "float64"):
        return value
    return format_instant(value) if kind.kind == "timestamp" else unit_text(value, kind)


# --- drawing ------------------------------------------------------------------------------------------------

_LABELS = {"fraud": ("FRAUD", "LEGIT", "OTHER"), "dispute": ("WON", "LOST")}
_FIELDS: dict[str, dict[str, ColumnType]] = {
    "tx": {"customer": TEXT, "device": INT, "amount": MONEY, "units": INT, "score": FLOAT, "city": TEXT, "online": BOOL, "since": TIME},
    "login": {"customer": TEXT, "device": INT, "city": TEXT, "tries": INT},
}
_IDENTIFIERS = {"customer": "customer", "device": "device"}
_WHERES = {
    "tx": ("amount > 0", "online or score >= 0.5", "not online", "city in ('b', 'é', 'nowhere')", "customer != city",
           "hour(ts, 'Asia/Kathmandu') < 6 or is_null(amount)", "amount / 3 < score", "coalesce(city, 'b') <= 'é'"),
    "login": ("tries > 1", "city == 'b'", "is_null(customer) or tries < 3"),
}
_ROW_FEATURES = ("weekday(ts) >= 3", "minute(ts, 'Asia/Kathmandu')", "amount * 2", "amount / device", "customer", "coalesce(city, 'none')",
                 "seconds_between(ts, since)", "customer == city", "device + 1", "coalesce(score, amount, 1)", "since",
                 "online and score > 0.1")
_MISSING = {"customer": "nobody", "device": "-1", "amount": "0.5", "score": "0.25", "city": "b", "tries": "2"}
_EMPTY = {"int64": ("7", "-1"), "float64": ("-1.5", "0"), "decimal": ("0.50", "-3"), "string": ("b", "none", ""), "bool": ("true",),
          "timestamp": ("2026-01-01T00:00:00Z",)}
_NAMES = st.sampled_from([None, "a", "b", "é", "𐍈", "\uffee", "Z", "ab"])
_VALUES = {
    "customer": st.sampled_from([None, "a", "b", "é", "𐍈"]), "city": _NAMES, "device": st.sampled_from([None, 0, 1, -5, 2**40]),
    "amount": st.sampled_from([None, 0, 1, 250, -1999, 10**12 - 1]) | st.integers(-500, 500),
    "units": st.sampled_from([0, 1, -1, 2**53 + 1, -(2**61), 2**62, 3]),
    "score": st.sampled_from([None, 0.0, 0.1, 0.5, -1.25, 1e10, 2.5e-7]),
    "online": st.sampled_from([None, True, False]), "tries": st.integers(0, 4),
}
_INSTANTS = st.builds(lambda second, more: START + second * SECOND + more, st.integers(0, 16), st.sampled_from([0, 0, 0, 0, 1, -1]))
_WINDOWS = st.sampled_from([Window("sliding", "1s", SECOND), Window("sliding", "3s", 3 * SECOND), Window("sliding", "7s", 7 * SECOND),
                            Window("lifetime", "lifetime")])
_FORMS: st.SearchStrategy[Form] = st.sampled_from(["parquet", "parquet", "csv", "jsonl"])


@st.composite
def worlds(draw: st.DrawFn, *, events: int = 16) -> World:
    """Worlds of at most `events` subject events, with the task about them."""
    sources = tuple(draw(_sources()))
    tables = draw(_event_tables(sources, events))
    ids = sorted({row["event_id"] for table in tables for row in table.rows}, key=str)
    labels = tuple(draw(_label_table(name, ids, tables)) for name in _LABELS)
    return World(draw(_tasks(sources)), tables, labels)


@st.composite
def _sources(draw: st.DrawFn) -> list[Source]:
    """Sources whose fields are nullable, or have something that stands in for nothing."""
    found = []
    for source, fields in _FIELDS.items():
        topics = ("tx", "tx_b") if source == "tx" else (source,)
        typed = []
        for name, kind in fields.items():
            missing = _MISSING[name] if name in _MISSING and draw(st.integers(0, 3)) == 0 else None
            typed.append(Field(name, kind, (name,), nullable=missing is None, missing=missing, identifier=_IDENTIFIERS.get(name)))
        found.append(Source(source, topics, tuple(typed)))
    return found if draw(st.booleans()) else found[:1]


@st.composite
def _event_tables(draw: st.DrawFn, sources: Sequence[Source], most: int) -> tuple[Table, ...]:
    """One table per topic, some rows written twice; ids are unique over all of them and of one type."""
    numbers = iter(draw(st.permutations(range(1, 61))))
    mostly = draw(st.booleans())
    found = []
    for topic in ("tx", "tx_b", *(["login"] if len(sources) > 1 else []), *(["noise"] if draw(st.booleans()) else [])):
        fields = _FIELDS["login" if topic in ("login", "noise") else "tx"]
        whole = mostly if topic != "noise" else draw(st.booleans())
        rows = []
        for _ in range(draw(st.integers(most // 2 if topic == "tx" and draw(st.booleans()) else 1, most if topic == "tx" else 5))):
            number = next(numbers)
            row = {name: draw(st.none() | _INSTANTS if kind.kind == "timestamp" else _VALUES[name]) for name, kind in fields.items()}
            rows.append({"event_id": number if whole else f"{'é' if number % 3 else 'e'}{number}", "at": draw(_INSTANTS), **row})
        rows += [row for row in rows if draw(st.integers(0, 9)) == 0]
        columns = {"event_id": INT if whole else TEXT, "at": TIME, **fields}
        found.append(Table(topic, draw(_FORMS), columns, tuple(draw(st.permutations(rows))), columns["event_id"]))
    return tuple(found[:1] if draw(st.integers(0, 2)) == 0 and len(sources) == 1 else found)


@st.composite
def _label_table(draw: st.DrawFn, name: str, ids: Sequence[Any], tables: Sequence[Table]) -> Table:
    """Assertions about events and about nothing, in any order of instants; some replace others, now and then in a circle."""
    whole = all(table.id_type == INT for table in tables if table.name != "noise")
    ids = [one for one in ids if isinstance(one, int)] if whole else [str(one) for one in ids]
    columns = {"event": INT if whole else TEXT, "value": TEXT, "observed": TIME, "effective": TIME, "source": TEXT, "id": TEXT,
               "supersedes": TEXT}
    rows: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 12))):
        observed = draw(_INSTANTS)
        replaced = draw(st.sampled_from(rows)) if rows and draw(st.integers(0, 3)) == 0 else None
        rows.append({"event": replaced["event"] if replaced else draw(st.sampled_from([*ids, *ids, *ids, 999 if whole else "999"])),
                     "value": draw(st.sampled_from(_LABELS[name])), "observed": observed,
                     "effective": draw(st.sampled_from([observed, observed, START])), "source": draw(st.sampled_from(SOURCES)),
                     "id": f"d{number}", "supersedes": replaced["id"] if replaced else None})
        if draw(st.integers(0, 5)) == 0:
            rows.append(dict(rows[-1]))
    if draw(st.integers(0, 30)) == 0:
        rows[0]["supersedes"] = rows[-1]["id"]
    return Table(name, draw(_FORMS), columns, tuple(draw(st.permutations(rows))))


@st.composite
def _tasks(draw: st.DrawFn, sources: tuple[Source, ...]) -> Task:
    groups = tuple(draw(_groups(place, sources)) for place in range(draw(st.integers(0, 3))))
    scope = {**_FIELDS["tx"], "ts": TIME}
    row_features = []
    for place, text in enumerate(draw(st.lists(st.sampled_from(_ROW_FEATURES), max_size=3, unique=True))):
        expression = parse(text, scope)
        row_features.append(Computed(f"row_{place}", expression, expression.type, _IDENTIFIERS.get(text)))
    made = {feature.column: feature.type for group in groups for feature in group.features} | {one.column: one.type for one in row_features}
    derived: list[Computed] = []
    for place, name in enumerate(draw(st.lists(st.sampled_from(sorted(made)), max_size=2, unique=True)) if made else []):
        expression = parse(draw(_about(name, made[name])), {**scope, **made, **{one.column: one.type for one in derived}})
        derived.append(Computed(f"derived_{place}", expression, expression.type))
    closure = Closure("worlds", "1", "set", "v1", sources, groups, tuple(row_features), tuple(derived))
    where = draw(st.none() | st.sampled_from(_WHERES["tx"]))
    secret = draw(st.none() | st.just(b"a key of a world"))
    return Task("world", (), closure, "tx", parse(where, scope) if where else None, draw(_splits()), draw(_label_tasks()), draw(_targets()),
                draw(_samplings()), draw(st.sampled_from(["mark", "mark", "exclude", "allow"])),
                draw(st.sampled_from([(), (("tx", START + 4 * SECOND),), (("tx", None), ("login", START - 20 * SECOND))])),
                TokenKey(key_id(secret), secret) if secret else None)


def _about(name: str, kind: ColumnType) -> st.SearchStrategy[str]:
    """Expressions over a column of this type."""
    texts = [f"is_null({name})", name]
    if kind.kind in ("float64", "decimal"):
        texts += [f"coalesce({name}, 0) > amount", f"amount / {name}", f"abs({name} / 7)"]
    if kind.kind == "string":
        texts += [f"coalesce({name}, city, 'm')", f"{name} == city", f"{name} < 'b'"]
    if kind.kind == "timestamp":
        texts += [f"seconds_between(ts, {name})", f"hour({name})"]
    return st.sampled_from(texts)


@st.composite
def _groups(draw: st.DrawFn, place: int, sources: tuple[Source, ...]) -> Group:
    source = draw(st.sampled_from(sources)).name
    key = tuple(draw(st.lists(st.sampled_from(["customer", "device", "city"]), min_size=1, max_size=2, unique=True)))
    delay = draw(st.sampled_from([0, 0, SECOND, 3 * SECOND]))
    current = source == "tx" and delay == 0 and draw(st.booleans())
    where = draw(st.none() | st.sampled_from(_WHERES[source]))
    features = tuple(draw(_features(f"g{place}__f{number}", source)) for number in range(draw(st.integers(1, 4))))
    scope = {**_FIELDS[source], "ts": TIME}
    nulls: Literal["skip", "group"] = draw(st.sampled_from(["skip", "group"]))
    return Group(f"g{place}", "v1", source, key, parse(where, scope) if where else None, current, delay, nulls, features)


@st.composite
def _features(draw: st.DrawFn, column: str, source: str) -> Feature:
    kind = aggregation_kind(draw(st.sampled_from(sorted(registered()))))
    argument, call = None, Aggregation(kind.name)
    if kind.argument == "label":
        label_type = draw(st.sampled_from(sorted(_LABELS)))
        values = tuple(draw(st.lists(st.sampled_from(_LABELS[label_type]), min_size=1, max_size=2, unique=True)))
        call = Aggregation(kind.name, None, label_type, values, kind.name == "label_rate" and draw(st.booleans()))
    elif kind.argument == "field" or (kind.argument == "optional" and draw(st.booleans())):
        argument = draw(st.sampled_from([name for name, one in _FIELDS[source].items() if isinstance(kind.output(one), ColumnType)]))
        call = Aggregation(kind.name, argument)
    output = kind.output(_FIELDS[source][argument] if argument else None)
    if not isinstance(output, ColumnType):
        raise TypeError(output)
    empty = None if kind.zero_when_empty else draw(st.none() | st.sampled_from(_EMPTY[output.kind]))
    return Feature(column, call, draw(_WINDOWS), output, empty, _IDENTIFIERS.get(argument or "") if kind.keeps_values else None)


def _splits() -> st.SearchStrategy[tuple[Split, ...]]:
    train, test = Split("train", START, START + 6 * SECOND), Split("test", START + 8 * SECOND, START + 14 * SECOND)
    return st.sampled_from([(), (), (train,), (train, test), (test, train)])


def _label_tasks() -> st.SearchStrategy[LabelTask]:
    return st.builds(LabelTask, st.integers(8, 24).map(lambda second: START + second * SECOND), st.sampled_from(sorted(RULES)),
                     st.sampled_from([("fraud",), ("fraud", "dispute")]), st.none() | st.integers(0, 6).map(lambda second: second * SECOND),
                     st.sampled_from(["exclude", "mark"]))


def _targets() -> st.SearchStrategy[Target | None]:
    unlabeled = st.sampled_from(["negative_when_mature", "negative_when_mature", "exclude", "refuse"])
    return st.none() | st.builds(Target, st.just("fraud"), st.sampled_from([("FRAUD",), ("FRAUD", "OTHER")]),
                                 st.sampled_from([None, None, ("LEGIT",)]), unlabeled)


def _samplings() -> st.SearchStrategy[Sampling | None]:
    classes = ("positive", "negative", "unlabeled")
    rates = st.fixed_dictionaries({}, optional=dict.fromkeys(classes, st.sampled_from(["0.5", "0.3", "1", "0"])))
    by = st.sampled_from([None, None, "customer", "amount", "device", "ts", "score", "online"])
    seeds = st.sampled_from(["s", "t"])
    return st.none() | st.builds(lambda seed, some, by: Sampling(seed, tuple(sorted(some.items())), by), seeds, rates, by)
