"""A log of simulated payments of any length, in columns: segments of an archive, and messages of a bus.

Record `i` of the log stands in partition `i mod P` at offset `i div P`. Each thousandth is a retry: an earlier event again, at another
coordinate. Nothing here goes record by record but SHA-256 and what a producer is handed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.identity import EVENT_HASH_RECIPE
from offline_feature_plane.simulation import World, disputes, disputes_table, payments_at, pieces
from offline_feature_plane.sources.archives.segment_files import ROWS
from offline_feature_plane.testing.archives import write_index

RUN, TOPIC = "bench", "transaction"
RETRY, BACK = 1_000, 501  # each such record repeats the one that was so many before it, in another partition
LATER_US = 1_500_000      # from when an event happens until the log has it
SCHEMA = pa.schema([(name, pa.int32() if name == "partition" else pa.string()) for name in STORED_COLUMNS])
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Log:
    """So many payments as records of a topic with some partitions."""

    world: World
    partitions: int

    def end(self, partition: int, share: float = 1.0) -> int:
        """The first offset of a partition that is not in this share of the log."""
        return max(0, -(-(int(self.world.events * share) - partition) // self.partitions))

    def records(self, partition: int, start: int, stop: int) -> pa.Table:
        """What is said at some offsets of a partition: the members of archived records, payloads as JSON text; and the log's time in µs."""
        numbers = np.arange(start, stop, dtype=np.int64) * self.partitions + partition
        events = np.where(numbers % RETRY == RETRY - 1, numbers - BACK, numbers)
        paid = payments_at(self.world, events.astype(np.uint64))
        customer, terminal = _named("C", paid.customer), _named("T", paid.terminal)
        cents, channel = paid.cents, pc.if_else(pa.array(paid.online), "online", "in_person")
        whole, ids = pa.array(cents).cast(pa.string()), pc.binary_join_element_wise("tx-", pa.array(events + 1).cast(pa.string()), "")
        amount = pc.binary_join_element_wise(pa.array(cents // 100).cast(pa.string()), ".",
                                             pc.utf8_lpad(pa.array(cents % 100).cast(pa.string()), width=2, padding="0"), "")
        is_online = pc.if_else(pa.array(paid.online), "true", "false")
        payload = _joined('{"customer_id":"', customer, '","terminal_id":"', terminal, '","amount":', amount, ',"channel":"', channel,
                          '","cents":', whole, ',"online":', is_online, "}")
        ts = _instants(paid.ts_us)
        zeros, kept = _without_zeros(cents)
        digits = pa.array(kept).cast(pa.string())
        said = _joined('{"payload":{"event_id":"', ids, f'","event_type":"{TOPIC}","payload":{{"amount":"n:', digits, "e",
                       pa.array(zeros - 2).cast(pa.string()), '","cents":"n:', digits, "e", pa.array(zeros).cast(pa.string()),
                       '","channel":"s:', channel, '","customer_id":"s:', customer, '","online":', is_online, ',"terminal_id":"s:',
                       terminal, f'"}},"platform_run_id":"{RUN}","schema_version":"v1","ts_utc":"', ts,
                       f'"}},"recipe":"{EVENT_HASH_RECIPE}"}}')
        log_us = paid.ts_us + LATER_US
        moments, n = _instants(log_us), len(events)
        constant = {"topic": TOPIC, "offset_kind": "kafka_offset", "platform_run_id": RUN, "event_type": TOPIC, "schema_version": "v1",
                    "payload_hash_recipe": EVENT_HASH_RECIPE}
        columns = {"partition": pa.array(np.full(n, partition, np.int32)), "offset": pa.array(np.arange(start, stop)).cast(pa.string()),
                   "scenario_run_id": pa.nulls(n, pa.string()), "event_id": ids, "ts_utc": ts, "payload": payload,
                   "payload_hash": _hashes(said), "log_time_utc": moments, "archived_at_utc": moments}
        return pa.table({name: columns.get(name, pa.repeat(constant.get(name), n)) for name in STORED_COLUMNS} | {"log_us": log_us})

    def write_labels(self, path: Path) -> None:
        """The chargebacks about the events of the log, whose ids are texts."""
        writer = None
        for piece in pieces(self.world):
            told = disputes_table(disputes(self.world, piece))
            number = told["tx_id"].to_numpy()
            named = told.set_column(1, "tx_id", pc.binary_join_element_wise("tx-", told["tx_id"].cast(pa.string()), "")).filter(
                pa.array((number - 1) % RETRY != RETRY - 1))  # which no record tells of
            writer = writer or pq.ParquetWriter(path, named.schema, compression="zstd")
            writer.write_table(named)
        if writer is not None:
            writer.close()


def write_archive(root: Path, log: Log, share: float, form: str, log_id: str, per_segment: int) -> None:
    """Archive the first `share` of a log: segments, Parquet or JSON Lines by zstd, and their index."""
    segments = [_write_segment(root, log.records(partition, start, min(start + per_segment, end)), form, log_id)
                for partition in range(log.partitions) for end in (log.end(partition, share),) for start in range(0, end, per_segment)]
    write_index(root, segments)


def _write_segment(root: Path, table: pa.Table, form: str, log_id: str) -> dict[str, Any]:
    partition, first, last = table["partition"][0].as_py(), table["offset"][0].as_py(), table["offset"][-1].as_py()
    path = f"{TOPIC}/{partition}/{int(first):012}.{form}"
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    if form == "parquet":
        pq.write_table(table.select(STORED_COLUMNS).cast(SCHEMA), root / path, compression="zstd", row_group_size=ROWS)
    else:
        with (root / path).open("wb") as file, pa.CompressedOutputStream(pa.PythonFile(file, "w"), "zstd") as out:
            out.write(_text_of(_lines(table)))
    with (root / path).open("rb") as file:
        said = hashlib.file_digest(file, "sha256").hexdigest()
    return {"topic": TOPIC, "partition": partition, "offset_kind": "kafka_offset", "log_id": log_id, "path": path, "first_offset": first,
            "last_offset": last, "next_offset": str(int(last) + 1), "record_count": len(table), "sha256": f"sha256:{said}",
            "size": (root / path).stat().st_size, "first_log_time_utc": table["log_time_utc"][0].as_py(),
            "last_log_time_utc": table["log_time_utc"][-1].as_py()}


def messages(table: pa.Table) -> Iterator[tuple[bytes, int]]:
    """The values that a producer writes for some records, and their times in ms."""
    lines = _joined('{"manifest_fingerprint":"' + "0" * 64 + '","producer":"bench",', *_members(
        table, ("platform_run_id", "event_type", "event_id", "ts_utc", "schema_version")), ',"payload":', _one(table, "payload"), "}")
    yield from zip((one.encode() for one in lines.to_pylist()), (table["log_us"].to_numpy() // 1_000).tolist(), strict=True)


def _lines(table: pa.Table) -> pa.Array:
    before, after = STORED_COLUMNS[:STORED_COLUMNS.index("payload")], STORED_COLUMNS[STORED_COLUMNS.index("payload") + 1:]
    return _joined("{", *_members(table, before), ',"payload":', _one(table, "payload"), ",", *_members(table, after), "}\n")


def _members(table: pa.Table, names: Sequence[str]) -> list[Any]:
    found: list[Any] = []
    for name in names:
        column = _one(table, name)
        quote = "" if name == "partition" or column.null_count else '"'
        value = pc.fill_null(column.cast(pa.string()), "null")
        found += [f'{"," if found else ""}"{name}":{quote}', value, quote]
    return found


def _one(table: pa.Table, name: str) -> pa.Array:
    return table[name].combine_chunks()


def _joined(*parts: Any) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "")


def _text_of(texts: pa.Array) -> memoryview:
    """All texts of an array side by side."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)
    return memoryview(data)[int(bounds[texts.offset]):int(bounds[texts.offset + len(texts)])]


def _hashes(said: pa.Array) -> pa.Array:
    text, sha256 = _text_of(said), hashlib.sha256
    bounds = np.frombuffer(said.buffers()[1], np.int32)[said.offset:said.offset + len(said) + 1]
    ends = (bounds - bounds[0]).tolist()
    return pa.array([f"sha256:{sha256(text[start:end]).hexdigest()}" for start, end in pairwise(ends)], pa.string())


def _instants(us: Ints) -> pa.Array:
    """As `domain.instants.format_instant` writes each of them."""
    texts = pa.array(us, pa.timestamp("us")).cast(pa.string())
    return pc.binary_join_element_wise(pc.replace_substring(texts, " ", "T", max_replacements=1), "Z", "")


def _without_zeros(numbers: Ints) -> tuple[Ints, Ints]:
    """How many zeros numbers end with, and the numbers without them."""
    zeros, kept = np.zeros(len(numbers), np.int64), numbers.copy()
    while (round_ := kept % 10 == 0).any():
        kept[round_] //= 10
        zeros[round_] += 1
    return zeros, kept


def _named(prefix: str, numbers: Ints) -> pa.Array:
    return pc.binary_join_element_wise(prefix, pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width=6, padding="0"), "")
