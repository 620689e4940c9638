"""Writes record archives, for tests and demonstrations: segments, their index, and hashes by our recipe."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

import pyarrow as pa
import pyarrow.parquet as pq

from offline_feature_plane.contracts.archive_index import ARCHIVE_INDEX_SCHEMA
from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.identity import EVENT_HASH_RECIPE, event_hash
from offline_feature_plane.domain.instants import format_instant

SegmentForm = Literal["jsonl", "jsonl.gz", "jsonl.zst", "parquet"]


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


class ArchiveWriter:
    """Writes an archive as records come, as a context: per topic and partition a gapless chain of segments, and at its end the index.

    Records of one partition come in offset order. Each segment covers up to the next one's first record, the last one up to its last.

    Args:
        root: the archive's folder.
        log_id: which log the offsets count in.
        per_segment: how many records a segment holds at most.
        form: what segments are written as; several: partition p takes the p-th, in turns.
    """

    def __init__(self, root: Path, *, log_id: str = "log1", per_segment: int = 1000,
                 form: SegmentForm | tuple[SegmentForm, ...] = "jsonl") -> None:
        self.root, self.log_id, self.per_segment = root, log_id, per_segment
        self.forms = form if isinstance(form, tuple) else (form,)
        self.segments: list[dict[str, Any]] = []
        self._lanes: dict[tuple[str, int, str], list[Mapping[str, Any]]] = {}
        self._starts: dict[tuple[str, int, str], int] = {}

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Write what is held and the index, unless the block failed."""
        if kind is None:
            for lane, held in self._lanes.items():
                self._write(lane, str(int(held[-1]["offset"]) + 1))
            self.segments.sort(key=lambda one: (one["topic"], one["partition"], one["offset_kind"], int(one["first_offset"])))
            self.root.mkdir(parents=True, exist_ok=True)
            write_index(self.root, self.segments)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add one record."""
        lane = record["topic"], record["partition"], record["offset_kind"]
        held = self._lanes.setdefault(lane, [])
        if len(held) == self.per_segment:
            self._write(lane, record["offset"])
            held = self._lanes[lane] = []
        held.append(record)

    def _write(self, lane: tuple[str, int, str], following: str) -> None:
        (topic, partition, kind), part = lane, self._lanes[lane]
        form = self.forms[partition % len(self.forms)]
        start = self._starts.get(lane, 0 if kind != "kinesis_sequence" else int(part[0]["offset"]))
        number = sum((one["topic"], one["partition"], one["offset_kind"]) == lane for one in self.segments)
        path = f"{topic}/{partition}/{number:05}.{form}"
        data = _encoded(part, form)
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)
        self.segments.append({"topic": topic, "partition": partition, "offset_kind": kind, "log_id": self.log_id, "path": path,
                              "first_offset": str(start), "last_offset": part[-1]["offset"], "next_offset": following,
                              "record_count": len(part), "sha256": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data),
                              "first_log_time_utc": part[0]["log_time_utc"], "last_log_time_utc": part[-1]["log_time_utc"]})
        self._starts[lane] = int(following)


def write_archive(root: Path, records: Sequence[Mapping[str, Any]], *, log_id: str = "log1", per_segment: int = 1000,
                  form: SegmentForm = "jsonl") -> None:
    """Write records, in any order, as an archive; see `ArchiveWriter`."""
    with ArchiveWriter(root, log_id=log_id, per_segment=per_segment, form=form) as out:
        for record in sorted(records, key=lambda one: int(one["offset"])):
            out.add(record)


def write_mixed_archive(root: Path, records: Sequence[Mapping[str, Any]], *, log_id: str = "log1", per_file: int = 1000,
                        form: SegmentForm = "jsonl") -> None:
    """Write records, those of a partition in offset order, into files that hold whatever comes, each with an entry for every partition."""
    root.mkdir(parents=True, exist_ok=True)
    starts: dict[tuple[str, int, str], int] = {}
    entries: list[dict[str, Any]] = []
    for number, begin in enumerate(range(0, len(records), per_file)):
        part, path = records[begin:begin + per_file], f"{number:05}.{form}"
        data = _encoded(part, form)
        (root / path).write_bytes(data)
        for lane in dict.fromkeys((one["topic"], one["partition"], one["offset_kind"]) for one in part):
            mine = [one for one in part if (one["topic"], one["partition"], one["offset_kind"]) == lane]
            following = str(int(mine[-1]["offset"]) + 1)
            entries.append({"topic": lane[0], "partition": lane[1], "offset_kind": lane[2], "log_id": log_id, "path": path,
                            "first_offset": str(starts.get(lane, 0)), "last_offset": mine[-1]["offset"], "next_offset": following,
                            "record_count": len(mine), "sha256": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data),
                            "first_log_time_utc": mine[0]["log_time_utc"], "last_log_time_utc": mine[-1]["log_time_utc"]})
            starts[lane] = int(following)
    write_index(root, sorted(entries, key=lambda one: (one["topic"], one["partition"], int(one["first_offset"]))))


def write_index(root: Path, segments: Sequence[Mapping[str, Any]]) -> None:
    """Write an archive's `index.json`."""
    (root / "index.json").write_text(json.dumps({"schema_version": ARCHIVE_INDEX_SCHEMA, "segments": list(segments)}, indent=1))


def _encoded(records: Sequence[Mapping[str, Any]], form: SegmentForm) -> bytes:
    if form != "parquet":
        text = "".join(f"{json.dumps(record, default=_number)}\n" for record in records).encode()
        return gzip.compress(text, mtime=0) if form == "jsonl.gz" else _zstd(text) if form == "jsonl.zst" else text
    columns = {name: [record[name] for record in records] for name in STORED_COLUMNS}
    columns["payload"] = [None if payload is None else json.dumps(payload, default=_number) for payload in columns["payload"]]
    schema = pa.schema([(name, pa.int32() if name == "partition" else pa.string()) for name in STORED_COLUMNS])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=schema), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _zstd(text: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(text)
    return cast("bytes", sink.getvalue().to_pybytes())


def _number(value: Any) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
