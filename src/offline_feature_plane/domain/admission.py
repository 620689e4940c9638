"""What becomes of one archived record: decoded, judged, hashed (`domain.md` §1.5, `decisions.md` D15, D18).

First match wins, as in the row accounting: undecodable · foreign_run · null_value · duplicate · other_scope. Whatever is left is an event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from offline_feature_plane.domain.basis import offset_number
from offline_feature_plane.domain.closure import Source
from offline_feature_plane.domain.identity import EVENT_HASH_RECIPE, event_hash
from offline_feature_plane.domain.instants import parse_offset_instant
from offline_feature_plane.errors import BasisUnresolved, OfsError, ReplayBasisMismatch, ReplayEventIdConflict

LeftOut = Literal["undecodable", "foreign_run", "null_value", "duplicate", "other_scope"]


@dataclass(frozen=True)
class Record:
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
        """Where it stands: topic, partition, offset."""
        return self.topic.encode(), self.partition, self.number

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.topic}/{self.partition}@{self.offset}"


def decode(document: Mapping[str, Any]) -> Record | None:
    """A stored record as a typed one; None if it is undecodable.

    Raises:
        ReplayBasisMismatch: the hash that is stored under our own recipe is not that of what is stored. Hashes of other recipes are not
            compared (`decisions.md` D15).
    """
    try:
        payload = document["payload"]
        run, kind, event_id = (_text(document[name]) for name in ("platform_run_id", "event_type", "event_id"))
        ts_us = parse_offset_instant(_text(document["ts_utc"]))
        if payload is not None and not isinstance(payload, Mapping):
            return None
        offset_kind, offset, scenario = _text(document["offset_kind"]), _text(document["offset"]), document.get("scenario_run_id")
        said = event_hash(platform_run_id=run, event_type=kind, event_id=event_id, ts_us=ts_us,
                          schema_version=_text(document["schema_version"]), payload=payload)
        number = offset_number(offset_kind, offset)
        record = Record(_text(document["topic"]), _whole(document["partition"]), offset_kind, offset, number, run,
                        None if scenario is None else _text(scenario), kind, event_id, ts_us,
                        parse_offset_instant(_text(document["log_time_utc"])), payload, said)
    except (KeyError, ValueError, BasisUnresolved):
        return None
    except OfsError:  # a payload beyond the budgets of canonical text
        return None
    stored = document.get("payload_hash")
    if document.get("payload_hash_recipe") == EVENT_HASH_RECIPE and stored != record.digest:
        raise ReplayBasisMismatch(f"{record.place} hashes to {record.digest[:19]}…, but {str(stored)[:19]}… is stored beside it.",
                                  path=record.place, fix="Restore the segment from the log; it was changed after it was archived.")
    return record


class Admission:
    """Judges the records of one build, in the order of coordinates, remembering semantic keys.

    The same semantic key `(platform_run_id, event_type, event_id)` may stand at several coordinates with one content: the first is the
    event, the others are duplicates.
    """

    def __init__(self, platform_run_id: str, scenario_run_ids: Sequence[str], sources: Sequence[Source]) -> None:
        self.platform_run_id = platform_run_id
        self.scenario_run_ids = frozenset(scenario_run_ids)
        self.source_of = {event_type: source.name for source in reversed(sources) for event_type in source.event_types}
        self._seen: dict[tuple[str, str], tuple[tuple[bytes, int, int], str]] = {}

    def judge(self, record: Record | None) -> tuple[LeftOut, None] | tuple[None, str]:
        """Why a record is left out, or the name of the source whose event it is.

        Raises:
            ReplayEventIdConflict: its id was seen before with another content.
        """
        if record is None:
            return "undecodable", None
        if record.platform_run_id != self.platform_run_id:
            return "foreign_run", None
        if self.scenario_run_ids and record.scenario_run_id not in self.scenario_run_ids:
            return "foreign_run", None
        if record.payload is None:
            return "null_value", None
        coordinate, said = self._seen.setdefault((record.event_type, record.event_id), (record.coordinate, record.digest))
        if said != record.digest:
            raise ReplayEventIdConflict(
                f"{record.event_type} {record.event_id} says one thing at {coordinate[0].decode()}/{coordinate[1]}@{coordinate[2]} and "
                f"another at {record.place}.", path=record.place,
                fix="Find out which of the two is true; a producer must not reuse an event id.")
        if coordinate != record.coordinate:
            return "duplicate", None
        source = self.source_of.get(record.event_type)
        return (None, source) if source is not None else ("other_scope", None)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("text is expected")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        raise ValueError("a partition is expected")
    return value
