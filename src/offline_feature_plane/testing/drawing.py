"""Draws small adversarial worlds: ties, repeats, nulls, odd texts, extreme numbers, late and reversed labels, every option.

Instants lie in a few seconds around one origin, so that windows, ties and cuts touch each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random  # noqa: TID251 - worlds are drawn; the seed is Hypothesis's
from typing import Any, Literal

from hypothesis import strategies as st

from offline_feature_plane.domain.aggregations import aggregation_kind, registered
from offline_feature_plane.domain.closure import Aggregation, Closure, Computed, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.resolution import RULES, SOURCES
from offline_feature_plane.domain.rows import LabelTask, Sampling, Split, Target, Task, TokenKey
from offline_feature_plane.domain.tokens import key_id
from offline_feature_plane.testing.archives import SegmentForm
from offline_feature_plane.testing.worlds import INT, RUN, SECOND, START, TEXT, Archive, Form, Labels, Stored, Table, World

__all__ = ["worlds"]

FLOAT, BOOL, TIME = (ColumnType(kind) for kind in ("float64", "bool", "timestamp"))
LABELS = {"fraud": ("FRAUD", "LEGIT", "OTHER"), "dispute": ("WON", "LOST")}
FIELDS: dict[str, dict[str, ColumnType]] = {
    "tx": {"customer": TEXT, "device": INT, "amount": ColumnType("decimal", 12, 2), "whole": ColumnType("decimal", 18, 1), "units": INT,
           "score": FLOAT, "city": TEXT, "online": BOOL, "since": TIME},
    "login": {"customer": TEXT, "device": INT, "city": TEXT, "tries": INT},
}
TOPICS = {"tx": "tx", "tx_b": "tx", "login": "login", "noise": "login"}
IDENTIFIERS = {"customer": "customer", "device": "device"}
_WHERES = {
    "tx": ("amount > 0", "online or score >= 0.5", "not online", "city in ('b', 'é', 'nowhere')", "customer != city",
           "hour(ts, 'Asia/Kathmandu') < 6 or is_null(amount)", "amount / 3 < score", "coalesce(city, 'b') <= 'é'", "units * 3 >= units",
           "is_null(score) or whole * 10 < 1"),
    "login": ("tries > 1", "city == 'b'", "is_null(customer) or tries < 3"),
}
_ROW_FEATURES = ("weekday(ts) >= 3", "minute(ts, 'Asia/Kathmandu')", "amount * 2", "amount / device", "customer", "coalesce(city, 'none')",
                 "seconds_between(ts, since)", "customer == city", "device + 1", "coalesce(score, amount, 1)", "since",
                 "online and score > 0.1", "units + units", "hour(since)")
_MISSING = {"customer": "nobody", "device": "-1", "amount": "0.5", "score": "0.25", "city": "b", "tries": "2"}
_EMPTY = {"int64": ("7", "-1"), "float64": ("-1.5", "0"), "decimal": ("0.5", "-3"), "string": ("b", "none", ""), "bool": ("true",),
          "timestamp": ("2026-01-01T00:00:00Z",)}
_VALUES: dict[str, tuple[Any, ...]] = {
    "customer": (None, "a", "a", "b", "b", "é", "𐍈"), "city": (None, "a", "b", "é", "𐍈", "\uffee", "Z", "ab"),
    "device": (None, 0, 0, 1, -5, 2**40), "amount": (None, 0, 1, 250, -1999, 10**12 - 1, 33, -34), "whole": (None, 0, 5, -15, 10**13),
    "units": (0, 1, -1, 2**53 + 1, 3, None, -(2**53) - 1, 10), "score": (None, 0.0, -0.0, 0.1, 0.5, -1.25, 1e300, -1e300, 2.5e-7, 5e-324),
    "online": (None, True, False), "tries": (0, 1, 2, 3, 4),
}
# Few of them overflow a sum, so that many a prefix leaves 64 bits or 18 digits where no window does.
_EXTREMES: dict[str, tuple[Any, ...]] = {
    "units": (2**61, 2**61, -(2**61), 2**62, 2**63 - 1, -(2**63), 1, None),
    "whole": (3 * 10**17, 3 * 10**17, 10**18 - 1, -(10**18) + 1, 0, None)}
_RANDOMS = st.integers(0, 2**32).map(Random)
_OFTEN_AGAIN, _OFTEN_REPLACED = 0.1, 0.25
_WINDOWS = st.sampled_from([Window("sliding", "1s", SECOND), Window("sliding", "3s", 3 * SECOND), Window("sliding", "7s", 7 * SECOND),
                            Window("lifetime", "lifetime")])
_FORMS: st.SearchStrategy[Form] = st.sampled_from(["parquet", "parquet", "csv", "jsonl"])
_SEGMENTS: st.SearchStrategy[SegmentForm] = st.sampled_from(["jsonl", "parquet", "jsonl.gz"])
_ORIGINS = st.sampled_from([START, START, START, 0, -8 * SECOND, -(2**55)])  # also before and around 1970, and long ago
_HOLDERS: st.SearchStrategy[Sequence[str]] = st.sampled_from(
    [("int",), ("int",), ("text",), ("int", "text"), ("int", "archive"), ("archive",), ("int", "none"), ("none", "archive", "text")])


@st.composite
def worlds(draw: st.DrawFn, *, events: int = 20) -> World:
    """Worlds of at most `events` events of the first topic, with the task about them."""
    origin = draw(_ORIGINS)
    sources = tuple(draw(_sources()))
    held = draw(_events(sources, origin, events))
    tables = tuple(item for item in held if isinstance(item, Table))
    labels = tuple(draw(_labels(name, held, tables, origin)) for name in LABELS)
    return World(draw(_tasks(sources, origin)), held, labels)


@st.composite
def _sources(draw: st.DrawFn) -> list[Source]:
    """Sources whose fields are nullable, or have something that stands in for nothing."""
    found = []
    for source, fields in FIELDS.items():
        topics = tuple(topic for topic, owner in TOPICS.items() if owner == source and topic != "noise")
        typed = []
        for name, kind in fields.items():
            missing = _MISSING[name] if name in _MISSING and draw(st.integers(0, 3)) == 0 else None
            typed.append(Field(name, kind, (name,), nullable=missing is None, missing=missing, identifier=IDENTIFIERS.get(name)))
        found.append(Source(source, topics, tuple(typed)))
    return found if draw(st.booleans()) else found[:1]


@st.composite
def _events(draw: st.DrawFn, sources: Sequence[Source], origin: int, most: int) -> tuple[Table | Archive, ...]:
    """One table per topic, or its records in an archive, some rows written twice; ids are unique over all of them."""
    rng = draw(_RANDOMS)
    numbers = iter(rng.sample(range(1, 81), 80))
    holders, values = draw(_HOLDERS), _VALUES | (_EXTREMES if draw(st.integers(0, 5)) == 0 else {})
    topics = ["tx", "tx_b", *(["login"] if len(sources) > 1 else []), *(["noise"] if draw(st.booleans()) else [])]
    if len(sources) == 1 and draw(st.integers(0, 2)) == 0:
        topics = ["tx"]
    found: list[Table | Archive] = []
    stored: list[Stored] = []
    bus = draw(st.booleans())
    for topic in topics:
        fields, holder = FIELDS[TOPICS[topic]], draw(st.sampled_from(holders))
        count = draw(st.integers(most // 2, most) if topic == "tx" and draw(st.integers(0, 3)) else st.integers(1, 6))
        rows = [_event(rng, next(numbers), fields, values, origin, whole=holder == "int") for _ in range(count)]
        if holder != "none":
            rows += [row for row in rows if rng.random() < _OFTEN_AGAIN]
        rng.shuffle(rows)
        if holder == "archive":
            stored += [Stored("bus" if bus else topic, rng.randrange(2), topic, row, fields) for row in rows]
            if draw(st.integers(0, 3)) == 0:
                stored.append(Stored(stored[-1].topic, 1, topic, rows[0], fields, run="other"))
                stored.append(Stored(stored[-1].topic, 0, topic, rows[0], fields, empty=True))
            continue
        named = {} if holder == "none" else {"event_id": INT if holder == "int" else TEXT}
        found.append(Table(topic, draw(_FORMS), {**named, "at": TIME, **fields}, tuple(rows), named.get("event_id"),
                           draw(st.sampled_from([1, 1, 1, min(2, len(rows))]))))
    if stored:
        rng.shuffle(stored)
        kind, first = draw(st.sampled_from([("kafka_offset", 0), ("kinesis_sequence", 2**70)]))
        found.append(Archive(tuple(stored), draw(_SEGMENTS), kind, first, draw(st.integers(1, 9))))
    return tuple(found)


def _event(rng: Random, number: int, fields: Mapping[str, ColumnType], values: Mapping[str, Sequence[Any]], origin: int, *,
           whole: bool) -> dict[str, Any]:
    """One event; ids of texts often look like numbers."""
    row = {name: rng.choice([None, origin + _step(rng)]) if kind.kind == "timestamp" else rng.choice(values[name])
           for name, kind in fields.items()}
    return {"event_id": number if whole else f"{rng.choice(['é', 'e', '', ''])}{number}", "at": origin + _step(rng), **row}


def _step(rng: Random) -> int:
    return rng.randrange(13) * SECOND + rng.choice([0, 0, 0, 0, 1, -1])


@st.composite
def _labels(draw: st.DrawFn, name: str, held: Sequence[Table | Archive], tables: Sequence[Table], origin: int) -> Labels:
    """A timeline of its own, or a column of a table of events with an assumed delay."""
    owned = [table for table in tables if table.name in ("tx", "tx_b") and "event_id" in table.columns]
    if owned and draw(st.integers(0, 5)) == 0:
        return draw(_label_column(name, draw(st.sampled_from(owned))))
    return draw(_timeline(name, held, origin))


@st.composite
def _label_column(draw: st.DrawFn, name: str, table: Table) -> Labels:
    """Labels in the file of the events itself: codes with a map, known a fixed time after their event."""
    kind, codes = draw(st.sampled_from([(INT, (1, 0, 7)), (BOOL, (True, False)), (TEXT, ("y", "n", "1"))]))
    known = dict(zip((str(code).lower() for code in codes), (LABELS[name] * 2)[:len(codes)], strict=True))
    rng = draw(_RANDOMS)
    by_id = {row["event_id"]: rng.choice(codes) for row in table.rows}
    rows = tuple({**row, "flag": by_id[row["event_id"]]} for row in table.rows)
    flagged = Table(table.name, table.form, {**table.columns, "flag": kind}, rows, table.id_type, table.parts)
    return Labels(name, flagged, "event_id", "flag", None, tuple(known.items()), None, draw(st.sampled_from([0, SECOND, 5 * SECOND])),
                  draw(st.sampled_from([None, "at"])), None, None, draw(st.sampled_from(SOURCES)), None, None,
                  draw(st.sampled_from([None, SECOND])))


@st.composite
def _timeline(draw: st.DrawFn, name: str, held: Sequence[Table | Archive], origin: int) -> Labels:
    """Assertions about events and about nothing, in any order of instants; some replace others, now and then in a circle."""
    loaded = [item for item in held if not (isinstance(item, Table) and item.name == "noise")]
    whole = all(isinstance(item, Table) and item.id_type == INT for item in loaded)
    ids = [row["event_id"] for item in loaded if isinstance(item, Table) and "event_id" in item.columns for row in item.rows]
    ids += [record.row["event_id"] for item in loaded if isinstance(item, Archive) for record in item.records]
    ids = sorted({999, *ids}, key=str) if whole else sorted({"999", *map(str, ids)})
    kind = INT if whole and draw(st.integers(0, 3)) else TEXT
    rng = draw(_RANDOMS)
    rows: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 16))):
        observed = origin + _step(rng)
        replaced = rng.choice(rows) if rows and rng.random() < _OFTEN_REPLACED else None
        about = rng.choice(rows)["event"] if rows and rng.random() < _OFTEN_REPLACED else rng.choice(ids)
        rows.append({"event": replaced["event"] if replaced else (about if kind == INT else str(about)),
                     "value": rng.choice(LABELS[name]), "observed": observed,
                     "effective": rng.choice([observed, observed, origin, observed + SECOND]), "source": rng.choice(SOURCES),
                     "id": f"d{number}" if rng.randrange(8) else None, "supersedes": replaced["id"] if replaced else None})
        if rng.randrange(6) == 0:
            rows.append(dict(rows[-1]))
    if draw(st.integers(0, 30)) == 0:
        rows[0]["supersedes"] = rows[-1]["id"]
    rng.shuffle(rows)
    columns = {"event": kind, "value": TEXT, "observed": TIME, "effective": TIME, "source": TEXT, "id": TEXT, "supersedes": TEXT}
    table = Table(name, draw(_FORMS), columns, tuple(rows))
    usual = draw(st.integers(0, 1)) == 0
    if usual:
        return Labels(name, table)
    constant = LABELS[name][0] if draw(st.integers(0, 7)) == 0 else None
    meanings = draw(st.sampled_from([None, tuple((value, LABELS[name][place // 2]) for place, value in enumerate(LABELS[name]))]))
    after = draw(st.sampled_from([None, None, None, 0, 2 * SECOND]))
    linked = draw(st.sampled_from(["both", "both", "id", "none"]))
    return Labels(name, table, "event", None if constant else "value", constant, None if constant else meanings,
                  "observed" if after is None else None, after, draw(st.sampled_from([None, "observed"])),
                  draw(st.sampled_from(["effective", None])), draw(st.sampled_from(["source", None])), draw(st.sampled_from(SOURCES)),
                  None if linked == "none" else "id", "supersedes" if linked == "both" else None,
                  draw(st.sampled_from([None, 0, 3 * SECOND])))


@st.composite
def _tasks(draw: st.DrawFn, sources: tuple[Source, ...], origin: int) -> Task:
    groups = tuple(draw(_groups(place, sources)) for place in range(draw(st.sampled_from([2, 3, 1, 0]))))
    scope = {**FIELDS["tx"], "ts": TIME}
    row_features = []
    for place, text in enumerate(draw(st.lists(st.sampled_from(_ROW_FEATURES), max_size=3, unique=True))):
        expression = parse(text, scope)
        row_features.append(Computed(f"row_{place}", expression, expression.type, IDENTIFIERS.get(text)))
    made = {feature.column: feature.type for group in groups for feature in group.features} | {one.column: one.type for one in row_features}
    derived: list[Computed] = []
    for place, name in enumerate(draw(st.lists(st.sampled_from(sorted(made)), max_size=2, unique=True)) if made else []):
        expression = parse(draw(_about(name, made[name])), {**scope, **made, **{one.column: one.type for one in derived}})
        derived.append(Computed(f"derived_{place}", expression, expression.type))
    closure = Closure("worlds", "1", "set", "v1", sources, groups, tuple(row_features), tuple(derived))
    where = draw(st.none() | st.sampled_from(_WHERES["tx"]))
    secret = draw(st.none() | st.just(b"a key of a world"))
    starts = draw(st.sampled_from([(), (("tx", origin + 4 * SECOND),), (("tx", None), ("login", origin - 20 * SECOND))]))
    return Task(RUN, (), closure, "tx", parse(where, scope) if where else None, draw(_splits(origin)), draw(_label_tasks(origin)),
                draw(_targets()), draw(_samplings()), draw(st.sampled_from(["mark", "mark", "exclude", "allow"])), starts,
                TokenKey(key_id(secret), secret) if secret else None)


def _about(name: str, kind: ColumnType) -> st.SearchStrategy[str]:
    """Expressions over a column of this type."""
    texts = [f"is_null({name})", name]
    if kind.kind in ("float64", "decimal"):
        texts += [f"coalesce({name}, 0) > amount", f"amount / {name}", f"abs({name} / 7)"]
    if kind.kind == "int64":
        texts += [f"{name} * 2", f"{name} / 3 > score"]
    if kind.kind == "string":
        texts += [f"coalesce({name}, city, 'm')", f"{name} == city", f"{name} < 'b'"]
    if kind.kind == "timestamp":
        texts += [f"seconds_between(ts, {name})", f"hour({name})"]
    return st.sampled_from(texts)


@st.composite
def _groups(draw: st.DrawFn, place: int, sources: tuple[Source, ...]) -> Group:
    source = draw(st.sampled_from(sources)).name
    key = tuple(draw(st.lists(st.sampled_from(["customer", "device", "city"]), min_size=1, max_size=draw(st.sampled_from([1, 1, 2, 3])), unique=True)))
    delay = draw(st.sampled_from([0, 0, SECOND, 3 * SECOND]))
    current = source == "tx" and delay == 0 and draw(st.booleans())
    where = draw(st.none() | st.sampled_from(_WHERES[source]))
    features = tuple(draw(_features(f"g{place}__f{number}", source)) for number in range(draw(st.integers(2, 8))))
    scope = {**FIELDS[source], "ts": TIME}
    nulls: Literal["skip", "group"] = draw(st.sampled_from(["skip", "group"]))
    return Group(f"g{place}", "v1", source, key, parse(where, scope) if where else None, current, delay, nulls, features)


@st.composite
def _features(draw: st.DrawFn, column: str, source: str) -> Feature:
    kind = aggregation_kind(draw(st.sampled_from(sorted(registered()))))
    argument, call = None, Aggregation(kind.name)
    if kind.argument == "label":
        label_type = draw(st.sampled_from(sorted(LABELS)))
        values = tuple(draw(st.lists(st.sampled_from(LABELS[label_type]), min_size=1, max_size=2, unique=True)))
        call = Aggregation(kind.name, None, label_type, values, kind.name == "label_rate" and draw(st.booleans()))
    elif kind.argument == "field" or (kind.argument == "optional" and draw(st.booleans())):
        argument = draw(st.sampled_from([name for name, one in FIELDS[source].items() if isinstance(kind.output(one), ColumnType)]))
        call = Aggregation(kind.name, argument)
    output = kind.output(FIELDS[source][argument] if argument else None)
    if not isinstance(output, ColumnType):
        raise TypeError(output)
    empty = None if kind.zero_when_empty else draw(st.none() | st.sampled_from(_EMPTY[output.kind]))
    return Feature(column, call, draw(_WINDOWS), output, empty, IDENTIFIERS.get(argument or "") if kind.keeps_values else None)


def _splits(origin: int) -> st.SearchStrategy[tuple[Split, ...]]:
    train, test = Split("train", origin, origin + 6 * SECOND), Split("test", origin + 8 * SECOND, origin + 14 * SECOND)
    return st.sampled_from([(), (), (train,), (train, test), (test, train)])


def _label_tasks(origin: int) -> st.SearchStrategy[LabelTask]:
    return st.builds(LabelTask, st.integers(6, 24).map(lambda second: origin + second * SECOND), st.sampled_from(sorted(RULES)),
                     st.sampled_from([("fraud",), ("fraud", "dispute")]), st.none() | st.integers(0, 6).map(lambda second: second * SECOND),
                     st.sampled_from(["exclude", "mark"]))


def _targets() -> st.SearchStrategy[Target | None]:
    unlabeled = st.sampled_from(["negative_when_mature", "negative_when_mature", "exclude", "refuse"])
    return st.none() | st.builds(Target, st.just("fraud"), st.sampled_from([("FRAUD",), ("FRAUD", "OTHER")]),
                                 st.sampled_from([None, None, ("LEGIT",)]), unlabeled)


def _samplings() -> st.SearchStrategy[Sampling | None]:
    classes = ("positive", "negative", "unlabeled")
    rates = st.fixed_dictionaries({}, optional=dict.fromkeys(classes, st.sampled_from(["0.5", "0.3", "1", "0"])))
    by = st.sampled_from([None, None, "customer", "amount", "device", "ts", "score", "online", "units"])
    seeds = st.sampled_from(["s", "t"])
    return st.none() | st.builds(lambda seed, some, by: Sampling(seed, tuple(sorted(some.items())), by), seeds, rates, by)
