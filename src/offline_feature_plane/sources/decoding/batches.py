"""Batches of raw records, decoded by kernels as `domain.admission` decodes them one by one.

```
 documents ──members, payload told──▶ places ─┐
 columns   ────────── payload told──▶ places ─┴─▶ instants, offsets ─▶ what is said ─▶ SHA-256 ─▶ held against what is stored
                                                         └──── whatever is unusual anywhere ────▶ the law, record by record
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.admission import Record, Standing, Vacant
from offline_feature_plane.domain.canonical import MAX_DOCUMENT_BYTES
from offline_feature_plane.domain.identity import EVENT_HASH_RECIPE
from offline_feature_plane.errors import OfsError
from offline_feature_plane.kernels.envelopes import read_documents, read_payloads, write_said
from offline_feature_plane.kernels.instant_texts import read_instants, write_instants
from offline_feature_plane.kernels.json_kinds import ABSENT, ESCAPED, INTEGER, OTHER, TEXT
from offline_feature_plane.kernels.jsontext import MEMBERS, STACK
from offline_feature_plane.kernels.sha256 import digests
from offline_feature_plane.kernels.typed_texts import are_sound, read_integers, same_text, unescape
from offline_feature_plane.sources.decoding.decoded import Decoded, Found, mask_array
from offline_feature_plane.sources.decoding.lines import placed_columns
from offline_feature_plane.sources.decoding.texts import text_column
from offline_feature_plane.sources.decoding.wanted import Bytes, Int64s, Wanted, joined

__all__ = ["ENVELOPE", "HASH_BYTES", "STORED", "Expected", "Members", "Refused", "members_of_documents", "places", "room", "settle",
           "spelled_hashes", "tell_columns"]

# The members of a record: those that must be there, its payload, those that may be absent. An envelope has no coordinates, and what it
# says of its hash is no copy of anything.
_MUST = ("platform_run_id", "event_type", "event_id", "ts_utc", "schema_version")
_PLACED = ("topic", "partition", "offset_kind", "offset", "log_time_utc")
_MAY = ("scenario_run_id", "payload_hash", "payload_hash_recipe")
STORED: Final = (*_MUST, *_PLACED, "payload", *_MAY)
ENVELOPE: Final = (*_MUST, "payload", "scenario_run_id")

_SAID: Final = ('{"payload":{"event_id":"', '","event_type":"', '","payload":', ',"platform_run_id":"', '","schema_version":"',
                '","ts_utc":"', f'"}},"recipe":"{EVENT_HASH_RECIPE}"}}')
_IN_TURN: Final = ("event_id", "event_type", "payload", "platform_run_id", "schema_version", "ts_utc")
_INT64 = 1 << 62
_LONGEST_OFFSET = 128  # digits
HASH_BYTES: Final = 71  # of a hash as it is spelled


@dataclass(frozen=True)
class Expected:
    """The lane that records must say they are in, and `others`, topic and partition, that they may be in."""

    topic: str
    partition: int
    offset_kind: str
    others: tuple[tuple[str, int], ...] = ()

    @property
    def lanes(self) -> tuple[tuple[str, int], ...]:
        """All of them."""
        return (self.topic, self.partition), *self.others


@dataclass(frozen=True)
class Members:
    """Where the members of records, and what is wanted of their payloads, stand in `data`: names → rows of `kinds`, `starts`, `ends`.

    `told[told_starts … told_ends]` is the payload of a record, told apart; `status` is 1 where the law must see the record.
    `times` are members in µs that need not be read. Without `holds_payloads` there is no JSON text of payloads: the law has them.
    """

    names: tuple[str, ...]
    data: Bytes
    kinds: npt.NDArray[np.int8]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    told: Bytes
    told_starts: Int64s
    told_ends: Int64s
    found: Found
    status: npt.NDArray[np.uint8]
    times: Mapping[str, Int64s] = field(default_factory=dict)
    holds_payloads: bool = True

    @property
    def n(self) -> int:
        """Records."""
        return len(self.status)

    def of(self, name: str) -> tuple[npt.NDArray[np.int8], Int64s, Int64s]:
        """What a member is in every record, and where."""
        at = self.names.index(name)
        return self.kinds[at], self.starts[at], self.ends[at]


@dataclass(frozen=True)
class Refused:
    """The first record of a batch that is not what its hash says, and the error about it."""

    row: int
    error: OfsError


def members_of_documents(data: Bytes, begins: Int64s, stops: Int64s, names: tuple[str, ...], wanted: Wanted) -> Members:
    """The members of JSON documents: `names` is STORED or ENVELOPE."""
    n, payload = len(begins), names.index("payload")
    kinds, starts, ends = places(len(names), n)
    found, told, told_starts, told_ends, spare = room(data, begins, stops, wanted)
    status = np.zeros(n, np.uint8)
    read_documents(data, begins, stops, *joined(names), payload, payload, *wanted.tree, told, *spare, found.kinds, found.starts,
                   found.ends, kinds, starts, ends, told_starts, told_ends, status)
    status[stops - begins > MAX_DOCUMENT_BYTES] = 1
    return Members(names, data, kinds, starts, ends, told, told_starts, told_ends, found, status)


def tell_columns(columns: Mapping[str, pa.Array], names: tuple[str, ...], wanted: Wanted) -> Members:
    """The members of records that stand in columns, whose payload is JSON text, or null."""
    at, n = names.index("payload"), len(next(iter(columns.values())))
    standing = placed_columns(columns, names)
    data, kinds, starts, ends = standing or (np.empty(0, np.uint8), *places(len(names), n))
    begins = np.where(kinds[at] == TEXT, starts[at], -1)
    found, told, told_starts, told_ends, spare = room(data, np.maximum(begins, 0), ends[at], wanted)
    status = np.zeros(n, np.uint8)
    read_payloads(data, begins, ends[at], *wanted.tree, told, *spare, found.kinds, found.starts, found.ends, told_starts, told_ends,
                  status)
    status[(kinds[:at] == ABSENT).any(axis=0) | (kinds[at] == INTEGER)] = 1  # also where a column is of a type that no record has
    status[ends[at] - starts[at] > MAX_DOCUMENT_BYTES] = 1
    return Members(names, data, kinds, starts, ends, told, told_starts, told_ends, found, status)


def settle(members: Members, expected: Expected, law: Callable[[int], Standing], *,
           coordinates: tuple[Int64s, Int64s] | None = None) -> tuple[Decoded, Refused | None]:
    """Decode a batch.

    Args:
        members: of its records.
        expected: records that say another lane are decoded by the law.
        law: decodes one record by itself, or tells where it stands. Raises ReplayBasisMismatch.
        coordinates: offsets and log times in µs, where the records do not have them.

    Returns:
        The batch, in which what does not say where it stands has the offset 0; and the first record that is refused. What follows it
        means nothing.
    """
    n, status = members.n, members.status
    ts, moments = _instants(members, "ts_utc")
    lanes: Int64s | None = None
    if coordinates is None:
        (numbers, lanes), log = _offsets(members, expected), _instants(members, "log_time_utc")[0]
    else:
        numbers, log = coordinates
    status[~_sound(members, "scenario_run_id")] = 1
    digests = _digests(members, moments)
    if "payload_hash" in members.names:
        _compare_hashes(members, digests)
    unusual = np.flatnonzero(status).tolist()
    known, vacant, refused = _by_law(unusual, law)
    columns = {name: members.of(name) for name in ("platform_run_id", "scenario_run_id", "event_type", "event_id")}
    payload_kinds, payload_starts, payload_ends = members.of("payload")
    has_payload = (payload_kinds != ABSENT) & (status == 0)
    found = _unescaped(members.found, status)
    texts = {name: text_column(members.data, starts, np.where(status == 0, ends, starts), (kinds != ABSENT) & (status == 0))
             for name, (kinds, starts, ends) in columns.items()}
    decoded = Decoded(status == 0, numbers, ts, log, texts["platform_run_id"], texts["scenario_run_id"], texts["event_type"],
                      texts["event_id"], has_payload, digests, found, payload_starts, payload_ends, known,
                      law=None if members.holds_payloads else law, lanes=lanes if expected.others else None)
    return (_with_vacant(_patched(decoded, known, n), vacant) if unusual else decoded), refused


def places(rows: int, n: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Kinds, starts and ends of nothing, for each of some rows."""
    return np.zeros((rows, n), np.int8), np.zeros((rows, n), np.int64), np.zeros((rows, n), np.int64)


def room(data: Bytes, begins: Int64s, stops: Int64s, wanted: Wanted) -> tuple[Found, Bytes, Int64s, Int64s, tuple[Any, ...]]:
    """Where payloads are told to, and what kernels need for it: four bytes for one that is read at most, and the longest once more."""
    n = len(begins)
    sizes = stops - begins
    most = 4 * int(sizes.sum()) + 8 * int(sizes.max(initial=0)) + 64 * n + 256
    return (Found(data, *places(max(1, len(wanted.paths)), n)), np.empty(most, np.uint8), np.empty(n, np.int64), np.empty(n, np.int64),
            _scratch())


def _scratch() -> tuple[Any, ...]:
    """What the walk through nested values notes on the way: `stack`, `members`, `order`."""
    return np.empty((STACK, 3), np.int64), np.empty((MEMBERS, 3), np.int64), np.empty(256, np.int64)


def _instants(members: Members, name: str) -> tuple[Int64s, npt.NDArray[np.uint8]]:
    """A member as instants, and their canonical texts; records where it is none are for the law."""
    if (known := members.times.get(name)) is not None:
        us = known
    else:
        us, asks = np.zeros(members.n, np.int64), np.zeros(members.n, np.bool_)
        read_instants(members.data, *members.of(name), us, asks)
        members.status[asks] = 1
    texts = np.empty((members.n, 27), np.uint8)
    if name == "ts_utc":
        write_instants(us, texts)
    return us, texts


def _offsets(members: Members, expected: Expected) -> tuple[npt.NDArray[Any], Int64s]:
    """Offsets as numbers, and which of the lanes; records that say another one, or an offset of another form, are for the law."""
    numbers, partitions, asks = np.zeros(members.n, np.int64), np.zeros(members.n, np.int64), np.zeros(members.n, np.bool_)
    same, lanes = np.zeros(members.n, np.bool_), np.full(members.n, -1, np.int64)
    kinds, starts, ends = members.of("offset_kind")
    same_text(members.data, starts, ends, np.frombuffer(expected.offset_kind.encode(), np.uint8), same)
    members.status[~same | (kinds != TEXT)] = 1
    kinds, starts, ends = members.of("offset")
    if expected.offset_kind == "kinesis_sequence":
        numbers = _sequences(members)
    else:
        read_integers(members.data, kinds, starts, ends, _INT64, True, numbers, asks)  # noqa: FBT003 - kernels have no keywords
    members.status[asks | (kinds != TEXT)] = 1
    kinds, starts, ends = members.of("partition")
    read_integers(members.data, kinds, starts, ends, _INT64, True, partitions, asks)  # noqa: FBT003 - as above
    members.status[asks | (kinds == TEXT)] = 1
    kinds, starts, ends = members.of("topic")
    for topic in dict.fromkeys(topic for topic, _ in expected.lanes):
        same_text(members.data, starts, ends, np.frombuffer(topic.encode(), np.uint8), same)
        same &= kinds == TEXT
        for at, (its, partition) in enumerate(expected.lanes):
            if its == topic:
                lanes[same & (partitions == partition)] = at
    members.status[lanes < 0] = 1
    return numbers, lanes


def _sequences(members: Members) -> npt.NDArray[Any]:
    """Offsets of a Kinesis stream, which no fixed width holds, as Python's integers."""
    kinds, starts, ends = members.of("offset")
    numbers = np.zeros(members.n, object)
    for row, start, end in zip(range(members.n), starts.tolist(), ends.tolist(), strict=True):
        digits = members.data[start:end].tobytes()
        if kinds[row] == TEXT and digits.isdigit() and end - start <= _LONGEST_OFFSET and (digits[:1] != b"0" or end - start == 1):
            numbers[row] = int(digits)
        else:
            members.status[row] = 1
    return numbers


def _sound(members: Members, name: str) -> npt.NDArray[np.bool_]:
    """Where a member is absent, or a filled text that stands for itself in JSON."""
    kinds, starts, ends = members.of(name)
    sound = np.zeros(members.n, np.bool_)
    are_sound(members.data, starts, ends, sound)
    result: npt.NDArray[np.bool_] = (kinds == ABSENT) | ((kinds == TEXT) & sound)
    return result


def _digests(members: Members, moments: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The event hash of every record that is not for the law."""
    for name in ("event_id", "event_type", "platform_run_id", "schema_version"):
        members.status[members.of(name)[0] != TEXT] = 1
    which = np.array([{"payload": -1, "ts_utc": -2}.get(name, members.names.index(name)) for name in _IN_TURN], np.int64)
    lengths = sum((members.ends[row] - members.starts[row]).sum() for row in which.tolist() if row >= 0)
    parts, part_bounds = joined(_SAID)
    out = np.empty(int(lengths) + int((members.told_ends - members.told_starts).sum()) + members.n * (len(parts) + 32), np.uint8)
    bounds = np.empty(members.n + 1, np.int64)
    write_said(members.data, which, members.starts, members.ends, moments, members.told, members.told_starts, members.told_ends, parts,
               part_bounds, out, bounds, members.status)
    return digests(out, bounds)


def _compare_hashes(members: Members, digests: npt.NDArray[np.uint8]) -> None:
    """Records whose stored hash is by our recipe, and another one, are for the law: it says so."""
    kinds, starts, ends = members.of("payload_hash_recipe")
    ours = np.zeros(members.n, np.bool_)
    same_text(members.data, starts, ends, np.frombuffer(EVENT_HASH_RECIPE.encode(), np.uint8), ours)
    ours &= kinds == TEXT
    if not ours.any():
        return
    kinds, starts, ends = members.of("payload_hash")
    alike = (kinds == TEXT) & (ends - starts == HASH_BYTES)
    rows = np.flatnonzero(ours & alike)
    stored = members.data[starts[rows][:, None] + np.arange(HASH_BYTES)]
    alike[rows] = (stored == spelled_hashes(digests[rows])).all(axis=1)
    members.status[ours & ~alike] = 1


def spelled_hashes(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Digests of 32 bytes as records have them, `sha256:` and 64 hexadecimal digits: one row of `HASH_BYTES` for each."""
    found = np.empty((len(digests), HASH_BYTES), np.uint8)
    found[:, :-64] = np.frombuffer(b"sha256:", np.uint8)
    found[:, -64:] = np.frombuffer(digests.tobytes().hex().encode(), np.uint8).reshape(len(digests), 64)
    return found


def _by_law(rows: Sequence[int], law: Callable[[int], Standing]) -> tuple[dict[int, Record], dict[int, Vacant], Refused | None]:
    known: dict[int, Record] = {}
    vacant: dict[int, Vacant] = {}
    for row in rows:
        try:
            record = law(row)
        except OfsError as wrong:
            return known, vacant, Refused(row, wrong)
        if isinstance(record, Record):
            known[row] = record
        elif record is not None:
            vacant[row] = record
    return known, vacant, None


def _with_vacant(batch: Decoded, vacant: Mapping[int, Vacant]) -> Decoded:
    """The batch with what the law said of coordinates that have no record."""
    if not vacant:
        return batch
    is_far = batch.numbers.dtype != object and max(one.number for one in vacant.values()) >= 1 << 63
    numbers = batch.numbers.astype(object) if is_far else batch.numbers.copy()
    deletions = np.zeros(batch.n, np.bool_)
    for row, one in vacant.items():
        numbers[row], deletions[row] = one.number, one.reason == "null_value"
    return replace(batch, numbers=numbers, deletions=deletions if deletions.any() else None, vacant=vacant)


def _unescaped(found: Found, status: npt.NDArray[np.uint8]) -> Found:
    """Texts with escapes are read, and stand behind the others."""
    found.kinds[:, status != 0] = OTHER  # what was found of them may be of half a record
    rows = np.flatnonzero((found.kinds == ESCAPED).any(axis=1)).tolist()
    if not rows:
        return found
    size = int((found.ends - found.starts)[found.kinds == ESCAPED].sum())
    more, pos = np.empty(size, np.uint8), 0
    for row in rows:
        pos = unescape(found.data, found.kinds[row], found.starts[row], found.ends[row], more, pos, len(found.data))
    found.kinds[found.kinds == ESCAPED] = TEXT
    return Found(np.concatenate([found.data, more[:pos]]), found.kinds, found.starts, found.ends)


def _patched(batch: Decoded, known: Mapping[int, Record], n: int) -> Decoded:
    """The batch with what the law said of some records."""
    rows = np.array(sorted(known), np.int64)
    records = [known[row] for row in rows.tolist()]
    decoded, numbers, ts, log = batch.decoded.copy(), batch.numbers.copy(), batch.ts_us.copy(), batch.log_us.copy()
    has_payload, digests = batch.has_payload.copy(), batch.digests.copy()
    numbers[~decoded] = 0
    if any(one.number >= 1 << 63 for one in records):
        numbers = numbers.astype(object)
    decoded[rows] = True
    for row, one in zip(rows.tolist(), records, strict=True):
        numbers[row], ts[row], log[row], has_payload[row] = one.number, one.ts_us, one.log_us, one.payload is not None
        digests[row] = np.frombuffer(bytes.fromhex(one.digest[7:]), np.uint8)
    mask = np.zeros(n, np.bool_)
    mask[rows] = True

    def texts(column: pa.Array, name: str) -> pa.Array:
        return pc.replace_with_mask(column, mask_array(mask), pa.array([getattr(one, name) for one in records], pa.string()))
    return Decoded(decoded, numbers, ts, log, texts(batch.runs, "platform_run_id"), texts(batch.scenarios, "scenario_run_id"),
                   texts(batch.types, "event_type"), texts(batch.ids, "event_id"), has_payload, digests, batch.found,
                   batch.payload_starts, batch.payload_ends, known, law=batch.law, lanes=batch.lanes)
