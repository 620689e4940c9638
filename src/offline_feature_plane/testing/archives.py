"""Writes record archives, for tests and demonstrations: segments, their index, and hashes by our recipe."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from offline_feature_plane.contracts.archive_index import ARCHIVE_INDEX_SCHEMA
from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.identity import EVENT_HASH_RECIPE, event_hash
from offline_feature_plane.domain.instants import format_instant

SegmentForm = Literal["jsonl", "jsonl.gz", "parquet"]


def archived(event_id: str, ts_us: int, payload: Mapping[str, Any] | None, *, topic: str = "transaction", partition: int = 0,
             offset: int = 0, offset_kind: str = "kafka_offset", platform_run_id: str = "run1", scenario_run_id: str | None = None,
             event_type: str | None = None, schema_version: str = "v1", log_us: int | None = None) -> dict[str, Any]:
    """One stored record with its hash; `event_type` defaults to the topic, the log's time to `ts_us`."""
    kind = event_type if event_type is not None else topic
    said = event_hash(platform_run_id=platform_run_id, event_type=kind, event_id=event_id, ts_us=ts_us, schema_version=schema_version,
                      payload=payload)
    moment = format_instant(ts_us if log_us is None else log_us)
    return {"topic": topic, "partition": partition, "offset_kind": offset_kind, "offset": str(offset), "platform_run_id": platform_run_id,
            "scenario_run_id": scenario_run_id, "event_type": kind, "event_id": event_id, "ts_utc": format_instant(ts_us),
            "schema_version": schema_version, "payload": payload, "payload_hash": said, "payload_hash_recipe": EVENT_HASH_RECIPE,
            "log_time_utc": moment, "archived_at_utc": moment}


def write_archive(root: Path, records: Sequence[Mapping[str, Any]], *, log_id: str = "log1", per_segment: int = 1000,
                  form: SegmentForm = "jsonl") -> None:
    """Write records as an archive: per topic and partition a gapless chain of segments in offset order, from offset 0 on.

    Each segment covers up to the next one's first record, the last one up to its last record.
    """
    def lane(record: Mapping[str, Any]) -> tuple[str, int, str]:
        return record["topic"], record["partition"], record["offset_kind"]

    segments: list[dict[str, Any]] = []
    ordered = sorted(records, key=lambda record: (lane(record), int(record["offset"])))
    for (topic, partition, kind), group in groupby(ordered, key=lane):
        held = list(group)
        start = 0 if kind != "kinesis_sequence" else int(held[0]["offset"])
        for number, at in enumerate(range(0, len(held), per_segment)):
            part = held[at:at + per_segment]
            following = held[at + per_segment]["offset"] if at + per_segment < len(held) else str(int(part[-1]["offset"]) + 1)
            path = f"{topic}/{partition}/{number:05}.{form}"
            data = _encoded(part, form)
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
            segments.append({"topic": topic, "partition": partition, "offset_kind": kind, "log_id": log_id, "path": path,
                             "first_offset": str(start), "last_offset": part[-1]["offset"], "next_offset": following,
                             "record_count": len(part), "sha256": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data),
                             "first_log_time_utc": part[0]["log_time_utc"], "last_log_time_utc": part[-1]["log_time_utc"]})
            start = int(following)
    write_index(root, segments)


def write_index(root: Path, segments: Sequence[Mapping[str, Any]]) -> None:
    """Write an archive's `index.json`."""
    (root / "index.json").write_text(json.dumps({"schema_version": ARCHIVE_INDEX_SCHEMA, "segments": list(segments)}, indent=1))


def _encoded(records: Sequence[Mapping[str, Any]], form: SegmentForm) -> bytes:
    if form != "parquet":
        text = "".join(f"{json.dumps(record, default=_number)}\n" for record in records).encode()
        return gzip.compress(text, mtime=0) if form == "jsonl.gz" else text
    columns = {name: [record[name] for record in records] for name in STORED_COLUMNS}
    columns["payload"] = [None if payload is None else json.dumps(payload, default=_number) for payload in columns["payload"]]
    schema = pa.schema([(name, pa.int32() if name == "partition" else pa.string()) for name in STORED_COLUMNS])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=schema), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _number(value: Any) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
