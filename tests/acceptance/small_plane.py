"""A plane small enough to build in a blink: 200 payments over 50 days, a chargeback on every fifth one three days later."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from offline_feature_plane.documents import write_yaml

START = datetime(2026, 1, 1, tzinfo=UTC)
EVENTS = 200

PLANE: dict[str, Any] = {
    "plane": "cards",
    "events": {"transaction": {"path": "transactions.parquet", "id": "tx_id", "time": "tx_time"}},
    "labels": {"chargeback": {"path": "chargebacks.parquet", "event": "tx_id", "observed": "reported_at", "value": {"column": "outcome"}}},
    "store": "store", "ledger": "ledger.sqlite", "work": "work", "tokens": {"key_file": "tokens.key"}, "engine": {"threads": 1},
}
PROFILE: dict[str, Any] = {
    "fields": {"customer_id": "string", "terminal_id": "string", "amount": "decimal(12,2)"},
    "groups": {
        "customer": {"key": "customer_id", "windows": ["1d", "7d"], "features": {"n": "count()", "avg": "mean(amount)"}},
        "terminal": {"key": "terminal_id", "windows": ["7d"], "features": {"risk": "label_rate(chargeback, CHARGEBACK)"}},
    },
}
INTENT: dict[str, Any] = {
    "rows": "transaction", "features": "features.yaml",
    "label": {"type": "chargeback", "positive": ["CHARGEBACK"], "as_of": "2026-03-10T00:00:00Z", "unlabeled": "negative_when_mature",
              "maturity_days": 10},
    "splits": {"train": ["2026-01-03", "2026-01-25"], "test": ["2026-02-01", "2026-02-20"]},
}


def transactions() -> dict[str, list[Any]]:
    """The columns of the events: one payment every six hours."""
    numbers = range(EVENTS)
    return {"tx_id": list(range(1, EVENTS + 1)), "tx_time": [START + timedelta(hours=6 * i) for i in numbers],
            "customer_id": [f"C{i % 7}" for i in numbers], "terminal_id": [f"T{i % 11}" for i in numbers],
            "amount": [Decimal(100 + 37 * i % 9_000) / 100 for i in numbers]}


def chargebacks() -> dict[str, list[Any]]:
    """The columns of the labels."""
    hit = range(0, EVENTS, 5)
    return {"tx_id": [i + 1 for i in hit], "reported_at": [START + timedelta(hours=6 * i, days=3) for i in hit],
            "outcome": ["CHARGEBACK"] * len(hit)}


EVENT_SCHEMA = pa.schema([("tx_id", pa.int64()), ("tx_time", pa.timestamp("us", "UTC")), ("customer_id", pa.string()),
                          ("terminal_id", pa.string()), ("amount", pa.decimal128(12, 2))])
LABEL_SCHEMA = pa.schema([("tx_id", pa.int64()), ("reported_at", pa.timestamp("us", "UTC")), ("outcome", pa.string())])


@dataclass
class SmallPlane:
    """A folder with data and the three documents, which a test may change before it asks for anything."""

    folder: Path
    plane: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(PLANE))
    profile: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(PROFILE))
    intent: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(INTENT))

    @property
    def intent_path(self) -> Path:
        """Where the intent stands."""
        return self.folder / "intent.yaml"

    def events(self, columns: Mapping[str, Any] | None = None, schema: pa.Schema | None = EVENT_SCHEMA) -> None:
        """Write the events' file."""
        pq.write_table(pa.table(dict(columns or transactions()), schema=schema), self.folder / "transactions.parquet")

    def labels(self, columns: Mapping[str, Any] | None = None, schema: pa.Schema | None = LABEL_SCHEMA) -> None:
        """Write the labels' file."""
        pq.write_table(pa.table(dict(columns or chargebacks()), schema=schema), self.folder / "chargebacks.parquet")

    def documents(self) -> None:
        """Write the three documents."""
        for name, document in (("plane", self.plane), ("features", self.profile), ("intent", self.intent)):
            (self.folder / f"{name}.yaml").write_text(write_yaml(document), encoding="utf-8")

    def key(self) -> None:
        """Write the token key."""
        (self.folder / "tokens.key").write_text("0123456789abcdef\n")
        (self.folder / "tokens.key").chmod(0o600)

    def manifests(self) -> list[Path]:
        """What is published."""
        return sorted((self.folder / "store").glob("*/ofs/manifests/*.json"))

    def leftovers(self) -> list[str]:
        """Half-done things: scratch folders and asides of the store."""
        found = [*(self.folder / "work").rglob("*"), *(self.folder / "store/.staging").rglob("*")]
        return sorted(str(path.relative_to(self.folder)) for path in found if path.is_file())

    def staged(self) -> list[str]:
        """Data files in the store."""
        return sorted(str(path.relative_to(self.folder)) for path in (self.folder / "store").glob("*/ofs/datasets/**/*") if path.is_file())


def make_plane(folder: Path) -> SmallPlane:
    """A complete small plane in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made = SmallPlane(folder)
    made.events()
    made.labels()
    made.documents()
    made.key()
    return made


def replace_in(path: Path, old: str, new: str) -> None:
    """Replace text that a file has."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def as_jsonl(columns: Mapping[str, list[Any]]) -> str:
    """Columns as JSON Lines text."""
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return "".join(json.dumps(row, default=str) + "\n" for row in rows)
