"""Records as producers write them to a bus: envelopes, for tests and demonstrations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from offline_feature_plane.domain.instants import parse_instant

_MEMBERS = ("platform_run_id", "scenario_run_id", "event_type", "event_id", "ts_utc", "schema_version", "payload")


def envelope(record: Mapping[str, Any]) -> bytes:
    """The value of the message that a stored record (`testing.archives.archived`) comes from, with what else envelopes carry."""
    said = {name: record[name] for name in _MEMBERS if name != "scenario_run_id" or record[name] is not None}
    return json.dumps({"manifest_fingerprint": "0" * 64, "producer": "tests", **said}, default=_number).encode()


def log_time_ms(record: Mapping[str, Any]) -> int:
    """The log's own time of it, as brokers keep it."""
    return parse_instant(record["log_time_utc"]) // 1_000


def _number(value: Any) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
