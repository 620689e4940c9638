"""Small seeded worlds as a user would bring them: files, three documents, and builds of them through the whole plane.

Instants lie on twelve days in steps of six hours, so that ties, window ends and split ends touch each other. Every build is held against
the accounting law: what was read is what the files hold, and each event has one fate.
"""

from __future__ import annotations

import copy
import csv
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from offline_feature_plane.documents import write_yaml
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.plane import Plane, open_plane
from offline_feature_plane.testing.archives import archived, write_archive

START, HOUR, DAY = 1_767_225_600_000_000, 3_600_000_000, 86_400_000_000  # 2026-01-01T00:00:00Z, a Thursday
DAYS, ASOF_DAY = 12, 15
SECRET = b"a secret that nobody may ever see"[:32]
RELEASE = "0.0.0+sha256:" + "0" * 64  # source files may change while these tests run; what is pinned must not

TYPES: dict[str, dict[str, pa.DataType]] = {
    "tx": {"tx_id": pa.int64(), "at": pa.timestamp("us", "UTC"), "customer": pa.string(), "device": pa.int64(),
           "amount": pa.decimal128(12, 2),
           "units": pa.int64(), "score": pa.float64(), "city": pa.string(), "online": pa.bool_(), "since": pa.timestamp("us", "UTC")},
    "login": {"tx_id": pa.int64(), "at": pa.timestamp("us", "UTC"), "customer": pa.string(), "device": pa.int64(), "ok": pa.bool_()},
    "label": {"event": pa.int64(), "value": pa.string(), "observed": pa.timestamp("us", "UTC"), "effective": pa.timestamp("us", "UTC"),
              "source": pa.string(), "id": pa.string(), "supersedes": pa.string()},
}
FIELDS: dict[str, dict[str, Any]] = {
    "tx": {"customer": {"type": "string", "missing": None}, "device": "int64", "amount": {"type": "decimal(12,2)", "missing": None},
           "units": "int64", "score": {"type": "float64", "missing": None}, "city": {"type": "string", "missing": None},
           "online": {"type": "bool", "missing": None}, "since": {"type": "timestamp", "missing": None}},
    "login": {"customer": {"type": "string", "missing": None}, "device": "int64", "ok": "bool"},
}
GROUPS: list[dict[str, Any]] = [
    {"name": "cust", "version": "v1", "source": "tx", "key": "customer", "windows": ["1d", "3d", "lifetime"],
     "features": {"n": "count()", "paid": "count(amount)", "total": "sum(amount)", "avg": "mean(amount)", "top": "max(amount)",
                  "low": {"agg": "min(units)", "empty": 7}, "kinds": "distinct(device)", "prev": "previous(city)", "last": "last(device)",
                  "first": "first(amount)", "gap": "seconds_since_last()", "age": "seconds_since_first()", "latest": "max(since)"}},
    {"name": "device", "version": "v1", "source": "tx", "key": ["device"], "windows": ["2d"], "current": "included",
     "where": "amount > 0 or is_null(amount)",
     "features": {"n": "count()", "whole": "sum(units)", "best": "max(score)", "who": "last(customer)"}},
    {"name": "place", "version": "v1", "source": "tx", "key": ["city", "customer"], "null_key": "group", "windows": ["6h", "5d"],
     "features": {"n": "count()", "avg": "mean(units)", "seen": "last(online)"}},
    {"name": "risk", "version": "v1", "source": "tx", "key": "customer", "delay": "1d", "windows": ["4d", "lifetime"],
     "features": {"rate": "label_rate(fraud, FRAUD)", "known": "label_rate(fraud, FRAUD, LEGIT, of: resolved)",
                  "won": "label_count(dispute, WON)"}},
    {"name": "kinds", "version": "v1", "source": "tx", "key": "customer", "current": "included",
     "windows": ["last_2", "tumbling(1d)", "session(6h, max: 2d)", "calendar(day, Asia/Kathmandu)"],
     "features": {"n": "count()", "total": "sum(amount)", "prev": "previous(city)", "bad": "label_count(fraud, FRAUD)"}},
    {"name": "entry", "version": "v1", "source": "login", "key": "customer", "windows": ["1d", "lifetime"],
     "features": {"n": "count()", "kinds": "distinct(device)", "gap": "seconds_since_last()"}},
]
CONTEXTS: list[dict[str, Any]] = [
    {"name": "before", "version": "v1", "source": "tx", "key": "customer", "columns": ["city", "amount"]},
    {"name": "lately", "version": "v1", "source": "tx", "key": ["customer"], "within": "3d", "delay": "6h", "missing": None,
     "columns": {"pieces": "units", "who": "customer"}},
    {"name": "desk", "version": "v1", "source": "login", "key": "customer", "where": "ok", "missing": None, "columns": ["device"]},
]
ROW_FEATURES = {"night": "hour(ts) < 6", "double": "amount * 2", "holder": "customer", "day": "weekday(ts, 'Asia/Kathmandu')",
                "tenure": "seconds_between(ts, since)", "town": "coalesce(city, 'none')"}
NAMES: dict[str, list[Any]] = {"customer": [None, "anna", "Bö", "e\u0301va", "\u00e9va", "\U00010348"],
                               "city": [None, "oslo", "O'Hare, \"x\"", "łódź", "\uffee"]}


@dataclass
class World:
    """Rows by table, and the three documents about them. Times are µs; a decimal is a Decimal."""

    plane: dict[str, Any]
    profile: dict[str, Any]
    intent: dict[str, Any]
    events: dict[str, list[dict[str, Any]]]
    labels: dict[str, list[dict[str, Any]]]
    text_ids: bool = False

    def copy(self) -> World:
        """A world of its own."""
        return copy.deepcopy(self)

    def types(self, table: str) -> dict[str, pa.DataType]:
        """The columns of a table."""
        text = {name: pa.string() for name in ("tx_id", "event") if name in TYPES[table]} if self.text_ids else {}
        return TYPES[table] | text

    def write(self, folder: Path, *, form: str = "parquet", split: int = 1, shuffled: int | None = None) -> Path:
        """Files and documents in a new folder; the path of plane.yaml.

        Args:
            folder: where.
            form: parquet, csv or jsonl.
            split: into how many files each table of events is cut.
            shuffled: the seed of another order of rows.
        """
        folder.mkdir(parents=True)
        plane = copy.deepcopy(self.plane)
        for name, rows in self.events.items():
            plane["events"][name]["path"] = write_rows(folder / name, self.types(name), _shuffle(rows, shuffled), form, split)
        for name, rows in self.labels.items():
            plane["labels"][name]["path"] = write_rows(folder / f"labels-{name}", self.types("label"), _shuffle(rows, shuffled), form, 1)
        return self.documents(folder, plane)

    def write_archive(self, folder: Path, *, form: Any = "jsonl", per_segment: int = 1000) -> Path:
        """The same events as record archives, one per topic; labels as a Parquet file. The path of plane.yaml."""
        folder.mkdir(parents=True)
        plane = copy.deepcopy(self.plane)
        plane["archives"] = {name: {"path": f"{name}-archive"} for name in plane.pop("events")}
        for name, rows in self.events.items():
            write_archive(folder / f"{name}-archive", records_of(name, rows), form=form, per_segment=per_segment)
        for name, rows in self.labels.items():
            plane["labels"][name]["path"] = write_rows(folder / f"labels-{name}", TYPES["label"], rows, "parquet", 1)
        return self.documents(folder, plane)

    def documents(self, folder: Path, plane: Mapping[str, Any]) -> Path:
        """The three documents and the token key; the path of plane.yaml."""
        for name, document in (("plane", plane), ("features", self.profile), ("intent", self.intent)):
            (folder / f"{name}.yaml").write_text(write_yaml(dict(document)), encoding="utf-8")
        (folder / "tokens.key").write_bytes(SECRET)
        return folder / "plane.yaml"


def draw_world(seed: int, *, events: int = 60) -> World:
    """The world of a seed: some of the groups and features, ties, nulls, odd texts, reversed and late labels."""
    rng = random.Random(seed)
    tx = [_event(rng, number, whole=True) for number in rng.sample(range(1, 10 * events), events)]
    login = [{"tx_id": 100_000 + number, "at": _instant(rng), "customer": rng.choice(NAMES["customer"]), "device": rng.randrange(3),
              "ok": rng.random() < 0.5} for number in range(events // 3)]
    ids = [row["tx_id"] for row in tx] + [999_999]
    groups = rng.sample(GROUPS, rng.randint(2, len(GROUPS)))
    groups = [{**one,
               "features": dict(rng.sample(sorted(one["features"].items()), rng.randint(1, len(one["features"]))))} for one in groups]
    row_features = dict(rng.sample(sorted(ROW_FEATURES.items()), rng.randint(0, len(ROW_FEATURES))))
    aside = random.Random(f"contexts {seed}")  # so that the rest of a world is as it would be without
    contexts = aside.sample(CONTEXTS, aside.randint(0, len(CONTEXTS)))
    label_types = sorted({"fraud", "dispute"})
    plane = {"plane": "worlds", "store": "store", "ledger": "ledger.sqlite", "work": "work", "tokens": {"key_file": "tokens.key"},
             "engine": {"threads": 1}, "events": {name: {"id": "tx_id", "time": "at"} for name in ("tx", "login")},
             "labels": {name: {"event": "event", "observed": "observed", "value": {"column": "value"}, "effective": "effective",
                               "source": {"column": "source"}, "id": "id", "supersedes": "supersedes"} for name in label_types}}
    profile = {"policy_id": "worlds", "revision": "r1",
               "sources": {name: {"event_types": [name], "fields": FIELDS[name]} for name in ("tx", "login")},
               "feature_groups": groups, "contexts": contexts, "row_features": row_features, "derived": {},
               "feature_sets": [{"id": "all", "version": "v1", "groups": [f"{one['name']}@v1" for one in groups],
                                 "contexts": [f"{one['name']}@v1" for one in contexts], "row_features": list(row_features), "derived": []}]}
    intent: dict[str, Any] = {
        "rows": "tx", "features": "features.yaml", "non_training_allowed": True,
        "label": {"type": "fraud", "positive": ["FRAUD"], "as_of": text_of(START + ASOF_DAY * DAY), "maturity_days": 3,
                  "unlabeled": rng.choice(["negative_when_mature", "exclude"]), "coverage": "0.01", "conflicts": "1",
                  "rule": rng.choice(["source_precedence.v1", "latest_observed.v1"])},
        "cold_rows": rng.choice(["mark", "allow"])}
    if rng.random() < 0.6:
        intent["splits"] = {"train": [text_of(START + DAY), text_of(START + 7 * DAY)],
                            "test": [text_of(START + 8 * DAY), text_of(START + 12 * DAY)]}
    if rng.random() < 0.4:
        intent["where"] = "units > 0 or is_null(city)"
    if rng.random() < 0.3:
        intent["sampling"] = {"seed": "s", "rates": {"negative": "0.5"}}
    if rng.random() < 0.5:
        intent["labels"] = ["dispute"]
    if not any(one["source"] == "login" for one in (*groups, *contexts)):
        del plane["events"]["login"]
        login = []
    found = {"tx": tx} | ({"login": login} if login else {})
    return World(plane, profile, intent, found, {"fraud": _labels(rng, ids, "FRAUD", "LEGIT"), "dispute": _labels(rng, ids, "WON", "LOST")})


def open_world(path: Path, **overrides: Any) -> Plane:
    """The plane of a world, with the code release held still."""
    plane = open_plane(path, **overrides)
    plane.inputs.code_release_id = RELEASE
    return plane


def build(path: Path, intent: Any = None, *, read: int | None = None, **overrides: Any) -> Any:
    """Build a world and hold its accounting against what it read; the answer has manifest, outcome and the plane as `plane`."""
    plane = open_world(path, **overrides)
    built = plane.build(intent if intent is not None else path.parent / "intent.yaml")
    core = built.manifest.core
    assert sum(core.row_accounting.values()) == core.replay["events_read"]
    assert core.row_accounting["row"] == core.row_count == sum(split.rows for split in core.splits)
    assert read is None or core.replay["events_read"] == read
    return built


def digest_of(path: Path, **overrides: Any) -> str:
    """The content digest of a world's dataset."""
    said: str = build(path, **overrides).manifest.core.content_digest
    return said


def rows_of(path: Path, built: Any) -> dict[Any, dict[str, Any]]:
    """The rows of a dataset by event id, decimals exact."""
    table = open_world(path).dataset(built.manifest.dataset_manifest_id).to_arrow(decimals="exact")
    return {row["event_id"]: row for row in table.to_pylist()}


def features_of(built: Any) -> list[str]:
    """The names of the feature columns."""
    return [column.name for column in built.manifest.core.columns if column.role == "feature"]


def text_of(us: int) -> str:
    """An instant as text."""
    return format_instant(us)


def write_rows(place: Path, types: Mapping[str, pa.DataType], rows: Sequence[Mapping[str, Any]], form: str, split: int) -> str:
    """Rows as one file, or as a folder of `split` files; the path relative to the parent."""
    if split == 1:
        _write(place.with_name(f"{place.name}.{form}"), types, rows, form)
        return f"{place.name}.{form}"
    place.mkdir()
    for number in range(split):
        _write(place / f"part-{number}.{form}", types, rows[number::split], form)
    return place.name


def records_of(topic: str, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows as archived records over two partitions, in the order of their instants."""
    offsets = {0: 0, 1: 0}
    found = []
    for row in sorted(rows, key=lambda one: (one["at"], one["tx_id"])):
        partition = row["tx_id"] % 2
        payload = {name: Decimal(repr(value)) if isinstance(value, float) else _json_value(name, value) for name, value in row.items()
                   if name not in ("tx_id", "at")}
        found.append(archived(str(row["tx_id"]), row["at"], payload, topic=topic, partition=partition, offset=offsets[partition],
                              platform_run_id="worlds"))
        offsets[partition] += 1
    return found


def _write(path: Path, types: Mapping[str, pa.DataType], rows: Sequence[Mapping[str, Any]], form: str) -> None:
    if form == "parquet":
        columns = {name: pa.array([row[name] for row in rows], kind if name not in ("tx_id", "event") else pa.int64()).cast(kind)
                   for name, kind in types.items()}
        pq.write_table(pa.table(columns), path)
        return
    with path.open("w", encoding="utf-8", newline="") as out:
        if form == "jsonl":
            out.writelines(json.dumps({name: _json_value(name, row[name]) for name in types}, ensure_ascii=False) + "\n" for row in rows)
            return
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(list(types))
        writer.writerows([_csv_value(_json_value(name, row[name])) for name in types] for row in rows)


def _json_value(name: str, value: Any) -> Any:
    if name in ("at", "since", "observed", "effective") and value is not None:
        return text_of(value)
    return str(value) if isinstance(value, Decimal) else value


def _csv_value(value: Any) -> str:
    return "" if value is None else json.dumps(value) if isinstance(value, bool | float) else str(value)


def _shuffle(rows: Sequence[dict[str, Any]], seed: int | None) -> list[dict[str, Any]]:
    return list(rows) if seed is None else random.Random(seed).sample(list(rows), len(rows))


def _instant(rng: random.Random) -> int:
    return START + rng.randrange(4 * DAYS) * 6 * HOUR + rng.choice([0, 0, 0, 1, -1])


def _event(rng: random.Random, number: int, *, whole: bool) -> dict[str, Any]:
    return {"tx_id": number if whole else f"t{number}", "at": _instant(rng) + DAY // 2, "customer": rng.choice(NAMES["customer"]),
            "device": rng.randrange(-1, 3),
            "amount": rng.choice([None, Decimal(0), Decimal(rng.randrange(-500, 90_000)) / 100, Decimal("9999999999.99")]),
            "units": rng.choice([0, 1, -1, 2**53 + 1, rng.randrange(-9, 9)]), "score": rng.choice([None, 0.1, -0.0, 1e300, rng.random()]),
            "city": rng.choice(NAMES["city"]), "online": rng.choice([None, True, False]),
            "since": rng.choice([None, START - rng.randrange(400) * DAY])}


def _labels(rng: random.Random, ids: Sequence[Any], *values: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number in range(len(ids)):
        observed = START + rng.randrange(2 * DAYS * 4) * 6 * HOUR
        old = rng.choice(found) if found and rng.random() < 0.2 else None
        found.append({"event": old["event"] if old else rng.choice(ids), "value": rng.choice(values), "observed": observed,
                      "effective": rng.choice([observed, observed - DAY, observed + 2 * DAY]),
                      "source": rng.choice(["HUMAN", "EXTERNAL", "AUTO", "SYSTEM"]), "id": f"a{number}",
                      "supersedes": old["id"] if old else None})
    return found
