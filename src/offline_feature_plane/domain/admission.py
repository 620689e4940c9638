"""What becomes of one archived record: decoded, judged, hashed (`domain.md` §1.5, `decisions.md` D15, D18).

First match wins, as in the row accounting: undecodable · foreign_run · null_value · future_quarantined · duplicate · other_scope. Whatever
is left is an event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Literal, NamedTuple

from offline_feature_plane.domain.basis import offset_number
from offline_feature_plane.domain.closure import Source
from offline_feature_plane.domain.identity import EVENT_HASH_RECIPE, event_hash_at
from offline_feature_plane.domain.instant_texts import canonical_instant, read_instant
from offline_feature_plane.errors import OfsError, ReplayBasisMismatch, ReplayEventIdConflict, ReplayEventsEmpty

LeftOut = Literal["undecodable", "foreign_run", "null_value", "future_quarantined", "duplicate", "other_scope"]


# The members of a stored record that say something of it, in the order of its columns.
MEMBERS: Final = ("topic", "partition", "offset_kind", "offset", "platform_run_id", "scenario_run_id", "event_type", "event_id", "ts_utc",
                  "schema_version", "payload", "payload_hash", "payload_hash_recipe", "log_time_utc")
_members = itemgetter(*MEMBERS)
_TEXT = frozenset({str})
_OF_AN_EVENT = ("platform_run_id", "scenario_run_id", "event_type", "event_id", "ts_utc", "schema_version", "payload", "payload_hash",
                "payload_hash_recipe")
_MAY_LACK = ("scenario_run_id", "payload_hash", "payload_hash_recipe")


class Record(NamedTuple):  # millions are made: a tuple is made in a fifth of the time
    """One decoded record. `number` is the offset as a number; `log_us` the log's own time of it; `digest` ours, over what it says."""

    topic: str
    partition: int
    offset_kind: str
    offset: str
    number: int
    platform_run_id: str
    scenario_run_id: str | None
    event_type: str
    event_id: str
    ts_us: int
    log_us: int
    payload: Mapping[str, Any] | None
    digest: str

    @property
    def coordinate(self) -> tuple[bytes, int, int]:
        """Where it is: topic, partition, offset."""
        return self.topic.encode(), self.partition, self.number

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.topic}/{self.partition}@{self.offset}"


class Vacant(NamedTuple):
    """A coordinate without a record: its value is null, or cannot be decoded, though it says where it stands."""

    topic: str
    partition: int
    offset_kind: str
    number: int
    reason: Literal["undecodable", "null_value"]

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.topic}/{self.partition}@{self.number}"


# What stands in an archive; None cannot be decoded, and nobody can say where it stands.
Standing = Record | Vacant | None


def is_null_value(document: Mapping[str, Any]) -> bool:
    """Does an archived record say that its log has a null value there: a coordinate, and not a word of an event?

    >>> is_null_value({"topic": "tx", "partition": 0, "offset_kind": "kafka_offset", "offset": "7", "payload": None})
    True
    """
    return (all(document.get(name) is None for name in _OF_AN_EVENT) and type(document.get("partition")) is int
            and all(type(document.get(name)) is str for name in ("topic", "offset_kind", "offset")))


def decode(document: Mapping[str, Any]) -> Record | None:
    """A stored record as a typed one; None if it is undecodable. Raises as `decode_stored`."""
    try:
        return decode_stored(*_members(document))
    except KeyError:
        if any(name not in document for name in MEMBERS if name not in _MAY_LACK):
            return None
        return decode_stored(*(document.get(name) for name in MEMBERS))


def decode_stored(topic: Any, partition: Any, offset_kind: Any, offset: Any, run: Any, scenario: Any, kind: Any, event_id: Any,
                  ts: Any, version: Any, payload: Any, stored: Any, recipe: Any, log_time: Any) -> Record | None:
    """`decode` for the members of a record in the order of its columns.

    Raises:
        ReplayBasisMismatch: the hash that is stored under our own recipe is not that of what is stored. Hashes of other recipes are not
            compared (`decisions.md` D15).
    """
    texts = (topic, offset_kind, offset, run, kind, event_id, ts, version, log_time)
    if "" in texts or not _TEXT.issuperset(map(type, texts)):
        return None
    if scenario is not None and (type(scenario) is not str or not scenario):
        return None
    if type(partition) is not int or not 0 <= partition < 1 << 31 or not (payload is None or isinstance(payload, Mapping)):
        return None
    try:
        ts_us, log_us = read_instant(ts), read_instant(log_time)
        number = _number(offset_kind, offset)
        said = event_hash_at(run, kind, event_id, canonical_instant(ts, ts_us), version, payload)
    except (ValueError, OfsError):  # OfsError: no offset of its kind, or a payload beyond the budgets of canonical text
        return None
    record = Record(topic, partition, offset_kind, offset, number, run, scenario, kind, event_id, ts_us, log_us, payload, said)
    if stored != said and recipe == EVENT_HASH_RECIPE:
        raise ReplayBasisMismatch(f"{record.place} hashes to {said[:19]}…, but {str(stored)[:19]}… is stored with it.",
                                  path=record.place, fix="Restore the segment from the log; it was changed after archiving.")
    return record


def standing_of(members: Sequence[Any] | None) -> Standing:
    """The record of some members in the order of its columns, or what stands for it. Raises as `decode_stored`."""
    if members is None:
        return None
    return decode_stored(*members) or _vacant(dict(zip(MEMBERS, members, strict=True)))


def _vacant(document: Mapping[str, Any]) -> Vacant | None:
    """The coordinate of what is no record, if it has one."""
    topic, partition, kind, offset = (document[name] for name in MEMBERS[:4])
    if not topic or not _TEXT.issuperset(map(type, (topic, kind, offset))) or type(partition) is not int or not 0 <= partition < 1 << 31:
        return None
    try:
        number = _number(kind, offset)
    except OfsError:
        return None
    return Vacant(topic, partition, kind, number, "null_value" if is_null_value(document) else "undecodable")


def _number(kind: str, offset: str) -> int:
    """`offset_number`, quickly for offsets of Kafka that are surely below 2⁶³."""
    if kind == "kafka_offset" and len(offset) < 19 and offset.isdigit() and offset.isascii() and (offset[0] != "0" or offset == "0"):
        return int(offset)
    return offset_number(kind, offset)


@dataclass(frozen=True)
class Scope:
    """Which records of a log a build is about: its run, of which scenarios (none: all), and which source admits an event type."""

    platform_run_id: str
    scenario_run_ids: frozenset[str]
    source_of: Mapping[str, str]

    @classmethod
    def of(cls, platform_run_id: str, scenario_run_ids: Sequence[str], sources: Sequence[Source]) -> Scope:
        """The scope of a run and the sources of a closure."""
        return cls(platform_run_id, frozenset(scenario_run_ids),
                   {event_type: source.name for source in reversed(sources) for event_type in source.event_types})


def nothing_admitted(topics: Sequence[str], left_out: Mapping[str, int]) -> ReplayEventsEmpty:
    """The error of a basis that gives no event at all, with what its records are instead, where that says what to do."""
    told = ", ".join(f"{left_out[reason]:,} {reason}" for reason in ("foreign_run", "undecodable") if left_out.get(reason))
    fix = "Check `event_types` in the profile and the replay basis."
    if left_out.get("foreign_run"):
        fix = ("Check which run the records are of: what is read is the `platform_run_id` of the intent, else of plane.yaml, else the "
               "plane's name.")
    what = f"{', '.join(topics) or 'the basis'} holds no event of the profile's sources"
    return ReplayEventsEmpty(f"{what}; its records: {told}." if told else f"{what}.", fix=fix)


class Admission:
    """Judges the records of one build, in the order of coordinates, remembering semantic keys.

    The same semantic key `(platform_run_id, event_type, event_id)` may occur at several coordinates with one content: the first is the
    event, the others are duplicates.
    """

    def __init__(self, platform_run_id: str, scenario_run_ids: Sequence[str], sources: Sequence[Source]) -> None:
        scope = Scope.of(platform_run_id, scenario_run_ids, sources)
        self.platform_run_id, self.scenario_run_ids, self.source_of = scope.platform_run_id, scope.scenario_run_ids, scope.source_of
        self.scenarios: Counter[str] = Counter()  # records by scenario run, where only some of these are wanted
        self._seen: dict[tuple[str, str], tuple[str, int, int, str]] = {}

    def judge(self, record: Record | None, max_ahead_us: int | None = None) -> tuple[LeftOut, None] | tuple[None, str]:
        """Why a record is left out, or the name of the source whose event it is.

        Args:
            record: None if it cannot be decoded.
            max_ahead_us: how far its time may lie ahead of the log's own; None: any. One that is further ahead is quarantined: a clock
                was wrong, and it takes no id.

        Raises:
            ReplayEventIdConflict: its id was seen before with another content.
        """
        if record is None:
            return "undecodable", None
        narrowed = bool(self.scenario_run_ids)
        if record.platform_run_id != self.platform_run_id or (narrowed and record.scenario_run_id not in self.scenario_run_ids):
            return "foreign_run", None
        if narrowed and record.scenario_run_id is not None:
            self.scenarios[record.scenario_run_id] += 1
        if record.payload is None:
            return "null_value", None
        if max_ahead_us is not None and record.ts_us - record.log_us > max_ahead_us:
            return "future_quarantined", None
        kind, event_id, said = record.event_type, record.event_id, record.digest
        here = (record.topic, record.partition, record.number, said)
        first = self._seen.setdefault((kind, event_id), here)
        if first is not here and first != here:
            if first[3] == said:
                return "duplicate", None
            raise ReplayEventIdConflict(
                f"{kind} {event_id} has one content at {first[0]}/{first[1]}@{first[2]} and another at {record.place}.", path=record.place,
                fix="Find out which of the two is true; a producer must not reuse an event id.")
        source = self.source_of.get(record.event_type)
        return (None, source) if source is not None else ("other_scope", None)
