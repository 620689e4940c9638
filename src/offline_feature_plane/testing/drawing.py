"""Draws small adversarial worlds: ties, repeats, nulls, odd texts, extreme numbers, late and reversed labels, every option.

    world = draw_world(7)

Instants lie in a few seconds around one origin, so that windows, ties and cuts touch each other. A seed always gives the same world; seeds
are better here than a strategy that shrinks, for every option is then drawn as often as it should be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random  # noqa: TID251 - worlds are drawn, each from its seed
from typing import Any, Literal

from offline_feature_plane.domain.aggregations import AggregationKind, aggregation_kind, registered
from offline_feature_plane.domain.calendars import Calendar, name_of, row_name
from offline_feature_plane.domain.closure import Aggregation, Closure, Computed, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.combining import parse_combination
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.instants import US_PER_DAY, parse_instant
from offline_feature_plane.domain.periods import PERIODS
from offline_feature_plane.domain.resolution import RULES, SOURCES
from offline_feature_plane.domain.rows import CombinedTarget, LabelTask, Sampling, Split, Target, Task, TokenKey
from offline_feature_plane.domain.tokens import key_id
from offline_feature_plane.errors import AggregationUnsupported
from offline_feature_plane.testing.archives import SegmentForm
from offline_feature_plane.testing.worlds import ARRIVED, INT, RUN, SECOND, START, TEXT, Archive, Form, Labels, Stored, Table, World

__all__ = ["draw_apart_world", "draw_calendar_world", "draw_judged_world", "draw_late_world", "draw_scoped_world", "draw_spine_world",
           "draw_world"]

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
_FUNCTIONS = (*registered(), "label_count", "label_rate", "label_rate", "sum", "mean", "distinct")
_ROW_FEATURES = ("weekday(ts) >= 3", "minute(ts, 'Asia/Kathmandu')", "amount * 2", "amount / device", "customer", "coalesce(city, 'none')",
                 "seconds_between(ts, since)", "customer == city", "device + 1", "coalesce(score, amount, 1)", "since",
                 "online and score > 0.1", "units + units", "hour(since)")
_MISSING = {"customer": "nobody", "device": "-1", "amount": "0.5", "score": "0.25", "city": "b", "tries": "2"}
_EMPTY = {"int64": ("7", "-1"), "float64": ("-1.5", "0"), "decimal": ("0.5", "-3"), "string": ("b", "none", ""), "bool": ("true",),
          "timestamp": ("2026-01-01T00:00:00Z",)}
_VALUES: dict[str, tuple[Any, ...]] = {
    "customer": (None, "a", "a", "a", "b", "b", "é", "𐍈"), "city": (None, "a", "b", "é", "𐍈", "\uffee", "Z", "ab"),
    "device": (None, 0, 0, 1, -5, 2**40), "amount": (None, 0, 1, 250, -1999, 10**12 - 1, 33, -34), "whole": (None, 0, 5, -15, 10**13),
    "units": (0, 1, -1, 2**53 + 1, 3, None, -(2**53) - 1, 10), "score": (None, 0.0, -0.0, 0.1, 0.5, -1.25, 1e300, -1e300, 2.5e-7, 5e-324),
    "online": (None, True, False), "tries": (0, 1, 2, 3, 4),
}
# Few of them overflow a sum, so that many a prefix leaves 64 bits or 18 digits where no window does.
_EXTREMES: dict[str, tuple[Any, ...]] = {
    "units": (2**61, 2**61, -(2**61), 2**62, 2**63 - 1, -(2**63), 1, None),
    "whole": (3 * 10**17, 3 * 10**17, 10**18 - 1, -(10**18) + 1, 0, None)}
_OFTEN_AGAIN, _OFTEN_REPLACED = 0.1, 0.25
_HALF, _SELDOM = 0.5, 0.25
_ZONES = ("UTC", "UTC", "America/Sao_Paulo", "Pacific/Apia", "America/St_Johns")
_LENGTHS = (*(Window("sliding", f"{length}s", length * SECOND) for length in (2, 4, 7)), Window("lifetime", "lifetime"))
_WINDOWS: tuple[tuple[Window, ...], ...] = (
    _LENGTHS, _LENGTHS,
    tuple(Window("last", f"last{count}", count=count) for count in (1, 2, 3)),
    tuple(Window("tumbling", f"tumbling{length}s", length * SECOND) for length in (1, 2, 3)),
    tuple(Window("session", f"session{gap}s", most * SECOND, gap_us=gap * SECOND) for gap, most in ((1, 2), (2, 2), (2, 9))),
    tuple(Window("calendar", period, period=period, zone=zone) for period in PERIODS for zone in _ZONES))
_UNLABELED: tuple[Literal["exclude", "refuse", "negative_when_mature"], ...] = (
    "negative_when_mature", "negative_when_mature", "negative_when_mature", "exclude", "refuse")
_FORMS: tuple[Form, ...] = ("parquet", "parquet", "csv", "jsonl")
_SEGMENTS: tuple[SegmentForm, ...] = ("jsonl", "parquet", "jsonl.gz")
# Also before and around 1970, and long ago; at a Monday, and where clocks skip midnight, a day, or have midnight twice.
_ORIGINS = (START, START, START - 4 * SECOND, 0, -8 * SECOND, -(2**55), *(parse_instant(text) - 4 * SECOND for text in (
    "2026-03-30T00:00:00Z", "2018-11-04T03:00:00Z", "2011-12-30T10:00:00Z", "2006-10-29T02:30:00Z", "2006-10-29T03:30:00Z")))
_HOLDERS: tuple[tuple[str, ...], ...] = (
    ("int",), ("int",), ("text",), ("int", "text"), ("int", "archive"), ("archive",), ("int", "none"), ("none", "archive", "text"))


def draw_world(seed: int, *, events: int = 28) -> World:
    """The world of a seed: at most `events` events of the first topic, fewer of others, and the task about them."""
    rng = Random(seed)  # noqa: S311 - nothing secret is drawn
    origin = rng.choice(_ORIGINS)
    sources = tuple(_sources(rng))
    held = _events(rng, sources, origin, events)
    tables = tuple(item for item in held if isinstance(item, Table))
    labels = tuple(_labels(rng, name, held, tables, origin) for name in LABELS)
    task = _task(rng, sources, origin)
    return World(replace(task, target=_combined(rng, task)), held, labels)


def draw_late_world(seed: int, *, events: int = 28) -> World:
    """The world of a seed in which events arrive late, out of order or before they happen, and rows see only what had arrived."""
    world = draw_world(seed, events=events)
    rng = Random(f"late {seed}")  # noqa: S311 - as above
    delays = rng.choice([(0,), (0, 0, 1), (0, 1, SECOND), (0, 0, 0, 5 * SECOND, 20 * SECOND), (0, -SECOND, 2 * SECOND, 9 * SECOND)])
    return replace(world, task=replace(world.task, visibility="arrival"), events=tuple(_late(rng, item, delays) for item in world.events))


def draw_apart_world(seed: int, *, events: int = 28) -> World:
    """The world of a seed with three splits of time, in which no two may share a customer, a device or whatever was drawn."""
    world = draw_world(seed, events=events)
    rng = Random(f"apart {seed}")  # noqa: S311 - as above
    instants = _instants(world)
    bounds = sorted({*rng.sample(sorted({*instants, *(at + 1 for at in instants)}), 2), min(instants), max(instants) + 1})
    splits = [Split("abc"[place], start, end) for place, (start, end) in enumerate(pairwise(bounds))]
    rng.shuffle(splits)
    by = rng.choice(["customer", "customer", "device", "city", "amount", "online"])
    return replace(world, task=replace(world.task, splits=tuple(splits), disjoint_by=by))


def draw_scoped_world(seed: int, *, events: int = 28) -> World:
    """The world of a seed whose archived records are of several scenario runs or of none, and whose rows are of some of these."""
    world = draw_world(seed, events=events)
    rng = Random(f"scoped {seed}")  # noqa: S311 - as above
    held = tuple(replace(item, records=tuple(replace(one, scenario=rng.choice(["s1", "s1", "s2", "s3", None])) for one in item.records))
                 if isinstance(item, Archive) else item for item in world.events)
    wanted = rng.choice([(), ("s1",), ("s1", "s2"), ("s1", "nowhere")])
    return replace(world, events=held, task=replace(world.task, scenario_run_ids=wanted))


def draw_spine_world(seed: int, *, events: int = 28) -> World:
    """The world of a seed whose subject is a spine of events of other sources; often it asks for an entity twice at one instant."""
    world = draw_world(seed, events=events)
    rng = Random(f"spine {seed}")  # noqa: S311 - as above
    return replace(world, task=replace(world.task, entity=rng.choice(["amount", "amount", "customer", "units"])))


def draw_calendar_world(seed: int, *, events: int = 28) -> World:
    """The world of a seed in which a calendar makes the rows, about customers or devices of one source; many a day begins among events."""
    world = draw_world(seed, events=events)
    rng = Random(f"calendar {seed}")  # noqa: S311 - as above
    task, closure = world.task, world.task.closure
    source, entity = rng.choice(closure.sources), rng.choice(["customer", "customer", "device"])
    day = min(_instants(world)) // US_PER_DAY
    every = rng.choice(["day", "day", "day", *PERIODS])
    calendar = Calendar(source.name, every, rng.choice(_ZONES), day - rng.choice([0, 1, 9, 40]), day + rng.choice([2, 2, 9, 40]))
    made = Source(name_of(source.name, entity, every), (), (replace(source.field(entity), nullable=False, missing=None),))
    groups = tuple(replace(group, key=(entity,), current=False) for group in closure.groups)
    known = {entity, "ts"}
    row_features = tuple(one for one in closure.row_features if one.expression.names() <= known)
    known |= {feature.column for group in groups for feature in group.features} | {one.column for one in row_features}
    derived = []
    for one in closure.derived:
        if one.expression.names() <= known:
            derived.append(one)
            known.add(one.column)
    sampling = task.sampling and replace(task.sampling, by=rng.choice([None, entity, "ts"]))
    splits = rng.choice([(), (), task.splits])
    days = tuple(calendar.ends().values())
    labels = tuple(_about_rows(rng, one, entity, days) if isinstance(one, Labels) else one for one in world.labels)
    return replace(world, labels=labels, task=replace(
        task, subject=made.name, entity=entity, calendar=calendar, where=None, sampling=sampling, splits=splits,
        disjoint_by=rng.choice([None, entity]) if len(splits) > 1 else None,
        closure=replace(closure, sources=(*closure.sources, made), groups=groups, row_features=row_features, derived=tuple(derived))))


def _about_rows(rng: Random, labels: Labels, entity: str, days: Sequence[str]) -> Labels:
    """The same labels, and some about rows that a calendar makes, where labels name events by texts."""
    table = labels.table
    if table.columns.get("event") != TEXT or "effective" not in table.columns:
        return labels
    named = [row_name(str(who), day) for who in _VALUES[entity] for day in days if who is not None]
    spoken = tuple({**rng.choice(table.rows), "event": rng.choice(named), "id": None, "supersedes": None} for _ in named[:12])
    return replace(labels, table=replace(table, rows=(*table.rows, *spoken)))


def draw_judged_world(seed: int, *, events: int = 28) -> World:
    """The world of a seed with up to three splits, of which the last one or two are judged by labels as of later instants."""
    rng = Random(f"judged {seed}")  # noqa: S311 - as above
    world = rng.choice([draw_world, draw_world, draw_late_world])(seed, events=events)
    at = sorted({*_instants(world), *(at + 1 for at in _instants(world))})
    first, second, third, last = at[0], *sorted(rng.sample(at[1:-1], 2)), at[-1] + 1
    then = second + rng.choice([0, 0, 1, SECOND, 4 * SECOND])
    soon, late = (max(end, then + 1) + rng.choice([0, 0, SECOND, 6 * SECOND]) for end in (third, last))
    learned, judged = Split("learned", first, second), Split("judged", third, last, late)
    between = [[], [Split("tuned", second, third, soon)], [Split("tuned", second, min(third, then))] if then > second else []]
    splits = [learned, *rng.choice(between), judged]
    rng.shuffle(splits)
    labels = replace(world.task.labels, asof_us=then)
    by = rng.choice([None, None, "customer", "device"])
    return replace(world, task=replace(world.task, splits=tuple(splits), labels=labels, disjoint_by=by))


def _instants(world: World) -> list[int]:
    """When the events of a world happen."""
    return [row["at"] for item in world.events for row in (item.rows if isinstance(item, Table) else [one.row for one in item.records])]


def _late(rng: Random, held: Table | Archive, delays: Sequence[int]) -> Table | Archive:
    """The same events, each with the instant of its arrival; what is written twice arrived once."""
    if isinstance(held, Archive):
        return replace(held, records=tuple(replace(one, log_us=one.row["at"] + rng.choice(delays)) for one in held.records))
    arrived = {id(row): row["at"] + rng.choice(delays) for row in held.rows}
    return replace(held, columns={**held.columns, ARRIVED: TIME}, rows=tuple({**row, ARRIVED: arrived[id(row)]} for row in held.rows))


def _sources(rng: Random) -> list[Source]:
    """Sources whose fields are nullable, or have a replacement for absent values."""
    found = []
    for source, fields in FIELDS.items():
        topics = tuple(topic for topic, owner in TOPICS.items() if owner == source and topic != "noise")
        typed = []
        for name, kind in fields.items():
            missing = _MISSING[name] if name in _MISSING and rng.randint(0, 3) == 0 else None
            typed.append(Field(name, kind, (name,), nullable=missing is None, missing=missing, identifier=IDENTIFIERS.get(name)))
        found.append(Source(source, topics, tuple(typed)))
    return found if rng.random() < _HALF else found[:1]


def _events(rng: Random, sources: Sequence[Source], origin: int, most: int) -> tuple[Table | Archive, ...]:
    """One table per topic, or its records in an archive, some rows written twice; in some worlds event types share ids."""
    numbers = iter(rng.sample(range(1, 81), 80))
    holders, values = rng.choice(_HOLDERS), _VALUES | (_EXTREMES if rng.random() < _SELDOM else {})
    topics = ["tx", "tx_b", *(["login"] if len(sources) > 1 else []), *(["noise"] if rng.random() < _HALF else [])]
    if len(sources) == 1 and rng.randint(0, 2) == 0:
        topics = ["tx"]
    found: list[Table | Archive] = []
    stored: list[Stored] = []
    bus, shared = rng.random() < _HALF, rng.random() < _HALF
    for topic in topics:
        fields, holder = FIELDS[TOPICS[topic]], rng.choice(holders)
        count = rng.randint(most // 2, most) if topic == "tx" and rng.random() > _SELDOM / 2 else rng.randint(1, 6)
        rows = [_event(rng, next(numbers), fields, values, origin, whole=holder == "int") for _ in range(count)]
        if shared and holder != "none":
            _share_ids(rng, rows, found, stored, whole=holder == "int")
        if holder != "none":
            rows += [row for row in rows if rng.random() < _OFTEN_AGAIN]
        rng.shuffle(rows)
        if holder == "archive":
            stored += [Stored("bus" if bus else topic, rng.randrange(2), topic, row, fields) for row in rows]
            if rng.randint(0, 3) == 0:
                stored.append(Stored(stored[-1].topic, 1, topic, rows[0], fields, run="other"))
                stored.append(Stored(stored[-1].topic, 0, topic, rows[0], fields, empty=True))
            continue
        named = {} if holder == "none" else {"event_id": INT if holder == "int" else TEXT}
        found.append(Table(topic, rng.choice(_FORMS), {**named, "at": TIME, **fields}, tuple(rows), named.get("event_id"),
                           rng.choice([1, 1, 1, min(2, len(rows))])))
    if stored:
        rng.shuffle(stored)
        kind, first = rng.choice([("kafka_offset", 0), ("kinesis_sequence", 2**70)])
        found.append(Archive(tuple(stored), rng.choice(_SEGMENTS), kind, first, rng.randint(1, 9)))
    return tuple(found)


def _share_ids(rng: Random, rows: Sequence[dict[str, Any]], tables: Sequence[Table | Archive], stored: Sequence[Stored], *,
               whole: bool) -> None:
    """Give some events the ids of events of other types."""
    ids = [row["event_id"] for table in tables if isinstance(table, Table) and "event_id" in table.columns for row in table.rows]
    ids += [record.row["event_id"] for record in stored if not record.empty]
    free = sorted({int(one) for one in ids if str(one).isdigit()} if whole else {str(one) for one in ids})
    rng.shuffle(free)
    for row, one in zip([row for row in rows if rng.random() < _HALF], free, strict=False):
        row["event_id"] = one


def _event(rng: Random, number: int, fields: Mapping[str, ColumnType], values: Mapping[str, Sequence[Any]], origin: int, *,
           whole: bool) -> dict[str, Any]:
    """One event; ids of texts often look like numbers."""
    row = {name: rng.choice([None, origin + _step(rng)]) if kind.kind == "timestamp" else rng.choice(values[name])
           for name, kind in fields.items()}
    return {"event_id": number if whole else f"{rng.choice(['é', 'e', '', ''])}{number}", "at": origin + _step(rng), **row}


def _step(rng: Random) -> int:
    return rng.randrange(13) * SECOND + rng.choice([0, 0, 0, 0, 1, -1])


def _labels(rng: Random, name: str, held: Sequence[Table | Archive], tables: Sequence[Table], origin: int) -> Labels:
    """A timeline of its own, or a column of a table of events with an assumed delay."""
    owned = [table for table in tables if table.name in ("tx", "tx_b") and "event_id" in table.columns]
    if owned and rng.randint(0, 5) == 0:
        return _label_column(rng, name, rng.choice(owned))
    return _timeline(rng, name, held, origin)


def _label_column(rng: Random, name: str, table: Table) -> Labels:
    """Labels in the file of the events itself: codes with a map, known a fixed time after their event."""
    kind, codes = rng.choice([(INT, (1, 0, 7)), (BOOL, (True, False)), (TEXT, ("y", "n", "1"))])
    known = dict(zip((str(code).lower() for code in codes), (LABELS[name] * 2)[:len(codes)], strict=True))
    by_id = {row["event_id"]: rng.choice(codes) for row in table.rows}
    rows = tuple({**row, "flag": by_id[row["event_id"]]} for row in table.rows)
    flagged = Table(table.name, table.form, {**table.columns, "flag": kind}, rows, table.id_type, table.parts)
    return Labels(name, flagged, "event_id", "flag", None, tuple(known.items()), None, rng.choice([0, SECOND, 5 * SECOND]),
                  rng.choice([None, "at"]), None, None, rng.choice(SOURCES), None, None,
                  rng.choice([None, SECOND]))


def _timeline(rng: Random, name: str, held: Sequence[Table | Archive], origin: int) -> Labels:
    """Assertions about events and about nothing, in any order of instants; some replace others, now and then in a cycle."""
    loaded = [item for item in held if not (isinstance(item, Table) and item.name == "noise")]
    whole = all(isinstance(item, Table) and item.id_type == INT for item in loaded)
    ids = [row["event_id"] for item in loaded if isinstance(item, Table) and "event_id" in item.columns for row in item.rows]
    ids += [record.row["event_id"] for item in loaded if isinstance(item, Archive) for record in item.records]
    ids = sorted({999, *ids}, key=str) if whole else sorted({"999", *map(str, ids)})
    kind = INT if whole and rng.randint(0, 3) else TEXT
    rows: list[dict[str, Any]] = []
    ids = [*rng.sample(ids, min(len(ids), 8)), *ids]
    for number in range(rng.randint(6, 24)):
        observed = origin + _step(rng)
        replaced = rng.choice(rows) if rows and rng.random() < _OFTEN_REPLACED else None
        about = rng.choice(rows)["event"] if rows and rng.random() < _OFTEN_REPLACED else rng.choice(ids)
        row = {"event": replaced["event"] if replaced else (about if kind == INT else str(about)), "observed": observed,
               "effective": rng.choice([observed, observed, origin, observed + SECOND]), "source": rng.choice(SOURCES)}
        if rows and rng.random() < _OFTEN_REPLACED:  # says something else with the same rank
            row |= {part: rows[-1][part] for part in row}
        rows.append({**row, "value": rng.choice(LABELS[name]), "id": f"d{number}" if rng.randrange(8) else None,
                     "supersedes": replaced["id"] if replaced and replaced["event"] == row["event"] else None})
        if rng.randrange(6) == 0:
            rows.append(dict(rows[-1]))
    if rng.randint(0, 30) == 0:
        rows[0]["supersedes"] = rows[-1]["id"]
    rng.shuffle(rows)
    columns = {"event": kind, "value": TEXT, "observed": TIME, "effective": TIME, "source": TEXT, "id": TEXT, "supersedes": TEXT}
    table = Table(name, rng.choice(_FORMS), columns, tuple(rows))
    usual = rng.randint(0, 1) == 0
    if usual:
        return Labels(name, table)
    constant = LABELS[name][0] if rng.randint(0, 7) == 0 else None
    meanings = rng.choice([None, tuple((value, LABELS[name][place // 2]) for place, value in enumerate(LABELS[name]))])
    after = rng.choice([None, None, None, 0, 2 * SECOND])
    linked = rng.choice(["both", "both", "id", "none"])
    return Labels(name, table, "event", None if constant else "value", constant, None if constant else meanings,
                  "observed" if after is None else None, after, rng.choice([None, "observed"]),
                  rng.choice(["effective", None]), rng.choice(["source", None]), rng.choice(SOURCES),
                  None if linked == "none" else "id", "supersedes" if linked == "both" else None,
                  rng.choice([None, 0, 3 * SECOND]))


def _task(rng: Random, sources: tuple[Source, ...], origin: int) -> Task:
    groups = tuple(_groups(rng, place, sources) for place in range(rng.choice([2, 3, 1, 0])))
    scope = {**FIELDS["tx"], "ts": TIME}
    row_features = []
    for place, text in enumerate(rng.sample(_ROW_FEATURES, rng.randint(0, 3))):
        expression = parse(text, scope)
        row_features.append(Computed(f"row_{place}", expression, expression.type, IDENTIFIERS.get(text)))
    made = {feature.column: feature.type for group in groups for feature in group.features} | {one.column: one.type for one in row_features}
    derived: list[Computed] = []
    for place, name in enumerate(rng.sample(sorted(made), min(len(made), rng.randint(0, 2)))):
        expression = parse(_about(rng, name, made[name]), {**scope, **made, **{one.column: one.type for one in derived}})
        derived.append(Computed(f"derived_{place}", expression, expression.type))
    closure = Closure("worlds", "1", "set", "v1", sources, groups, tuple(row_features), tuple(derived))
    where = rng.choice(_WHERES["tx"]) if rng.random() < _SELDOM else None
    secret = rng.choice([None, b"a key of a world"])
    starts = rng.choice([(), (("tx", origin + 4 * SECOND),), (("tx", None), ("login", origin - 20 * SECOND))])
    return Task(RUN, (), closure, "tx", parse(where, scope) if where else None, _splits(rng, origin), _label_task(rng, origin),
                _target(rng), _sampling(rng), rng.choice(["mark", "mark", "mark", "exclude", "allow"]), starts,
                TokenKey(key_id(secret), secret) if secret else None)


def _about(rng: Random, name: str, kind: ColumnType) -> str:
    """An expression over a column of this type."""
    texts = [f"is_null({name})", name]
    if kind.kind in ("float64", "decimal"):
        texts += [f"coalesce({name}, 0) > amount", f"amount / {name}", f"abs({name} / 7)"]
    if kind.kind == "int64":
        texts += [f"{name} * 2", f"{name} / 3 > score"]
    if kind.kind == "string":
        texts += [f"coalesce({name}, city, 'm')", f"{name} == city", f"{name} < 'b'"]
    if kind.kind == "timestamp":
        texts += [f"seconds_between(ts, {name})", f"hour({name})"]
    return rng.choice(texts)


def _groups(rng: Random, place: int, sources: tuple[Source, ...]) -> Group:
    source = rng.choice(sources).name
    key = tuple(rng.sample(["customer", "device", "city"], rng.choice([1, 1, 1, 2, 3])))
    delay = rng.choice([0, 0, SECOND, 2 * SECOND])
    current = source == "tx" and delay == 0 and rng.random() < _HALF
    where = rng.choice(_WHERES[source]) if rng.random() < _SELDOM else None
    features = tuple(_features(rng, f"g{place}__f{number}", source) for number in range(rng.randint(2, 8)))
    scope = {**FIELDS[source], "ts": TIME}
    nulls: Literal["skip", "group"] = rng.choice(["skip", "group"])
    return Group(f"g{place}", "v1", source, key, parse(where, scope) if where else None, current, delay, nulls, features)


def _features(rng: Random, column: str, source: str) -> Feature:
    kind = aggregation_kind(rng.choice(_FUNCTIONS))
    argument, call = None, Aggregation(kind.name)
    if kind.argument == "label":
        label_type = rng.choice(sorted(LABELS))
        values = tuple(rng.sample(LABELS[label_type], rng.randint(1, 2)))
        call = Aggregation(kind.name, None, label_type, values, kind.takes_of_resolved and rng.random() < _HALF)
    elif kind.argument == "field" or (kind.argument == "optional" and rng.random() < _HALF):
        argument = rng.choice([name for name, one in FIELDS[source].items()
                               if _accepts(kind, one) and not (kind.spells_values and name in IDENTIFIERS)])
        call = Aggregation(kind.name, argument)
    match kind.takes:
        case "condition":
            call = replace(call, condition=parse(rng.choice(_WHERES[source]), {**FIELDS[source], "ts": TIME}))
        case "share":
            call = replace(call, share=rng.choice(("0", "1", "0.5", "0.25", "0.9", "0.3333", "0.9999")))
        case "half_life":
            call = replace(call, half_life_us=rng.choice((1, 2, 3, 3_600)) * SECOND)
        case "most":
            call = replace(call, most=rng.choice((1, 2, 3, 20)))
    output = kind.output(FIELDS[source][argument] if argument else None)
    empty = None if kind.zero_when_empty else rng.choice([None, *_EMPTY[output.kind]])
    window = rng.choice(rng.choice(_WINDOWS))
    return Feature(column, call, window, output, empty, IDENTIFIERS.get(argument or "") if kind.keeps_values else None)


def _accepts(kind: AggregationKind, argument: ColumnType) -> bool:
    try:
        kind.output(argument)
    except AggregationUnsupported:
        return False
    return True


def _splits(rng: Random, origin: int) -> tuple[Split, ...]:
    train, test = Split("train", origin, origin + 5 * SECOND), Split("test", origin + 6 * SECOND, origin + 12 * SECOND)
    return rng.choice([(), (), (), (train, test), (test, train)])


def _label_task(rng: Random, origin: int) -> LabelTask:
    maturity = rng.choice([None, None, None, 0, SECOND, 3 * SECOND, 6 * SECOND])
    immature: Literal["exclude", "mark"] = "exclude" if rng.random() < _HALF else "mark"
    return LabelTask(origin + rng.randint(5, 16) * SECOND, rng.choice(sorted(RULES)), rng.choice([("fraud",), ("fraud", "dispute")]),
                     maturity, immature)


def _target(rng: Random) -> Target | None:
    unlabeled = rng.choice(_UNLABELED)
    positive, negative = rng.choice([("FRAUD",), ("FRAUD", "OTHER")]), rng.choice([None, None, ("LEGIT",)])
    return Target("fraud", positive, negative, unlabeled) if rng.random() < _HALF else None


def _combined(rng: Random, task: Task) -> Target | CombinedTarget | None:
    """The target, now and then together with another label type where the rows have one."""
    if not isinstance(task.target, Target) or len(task.labels.types) == 1 or rng.random() < _HALF:
        return task.target
    other = Target("dispute", ("LOST",), rng.choice([None, ("WON",)]), rng.choice(_UNLABELED))
    text = rng.choice(["fraud or dispute", "fraud and not dispute", "not (fraud or dispute)", "dispute or not fraud", "fraud and dispute"])
    return CombinedTarget((other, task.target), parse_combination(text, task.labels.types))


def _sampling(rng: Random) -> Sampling | None:
    rates = {name: rng.choice(["0.5", "0.7", "1", "0"]) for name in ("negative", "positive", "unlabeled") if rng.random() < _HALF}
    by = rng.choice([None, None, "customer", "amount", "device", "ts", "score", "online", "units"])
    return Sampling(rng.choice(["s", "t"]), tuple(rates.items()), by) if rng.random() < _SELDOM else None
