"""Records as other tools archive them, lifted to ours (`domain.md` §1.5, `decisions.md` D15).

A mapping says where each member is found. What is lifted are the members in the order of `contracts.events.STORED_COLUMNS`, without the
last; they are judged by `domain.admission.decode_stored` as our own are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Literal
from uuid import UUID

from offline_feature_plane.domain.canonical import load_json
from offline_feature_plane.domain.extraction import extract_path, to_instant
from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US, format_instant
from offline_feature_plane.errors import NumericOverflow, ReplayEventInvalid, ResourceExceeded, SchemaInvalid

Unit = Literal["s", "ms", "us"]

MEMBERS: Final = ("topic", "partition", "offset_kind", "offset", "platform_run_id", "scenario_run_id", "event_type", "event_id", "ts_utc",
                  "schema_version", "payload", "payload_hash", "payload_hash_recipe", "log_time_utc")
OF_THE_LOG: Final = ("topic", "partition", "offset", "offset_kind", "log_time_utc")  # what the log adds is no part of the event
UNVERSIONED: Final = "unversioned"
V0_HASH_RECIPE: Final = "learning.archive_event_record.v0"

UNIT_US: Final[Mapping[Unit, int]] = {"s": 1_000_000, "ms": 1_000, "us": 1}
_PLAIN: Final = frozenset({str, int, bool})
_TEXTS: Final = frozenset({int, UUID})  # what ids may be beside texts
_TIMES: Final = ("ts_utc", "log_time_utc")
_DIGITS: Final = re.compile(r"0|[1-9][0-9]{0,127}")


@dataclass(frozen=True)
class Place:
    """Where one member is found: by a path in the record, in the folder `NAME=value` of its file, or as one value for all."""

    path: tuple[str, ...] | None = None
    folder: str | None = None
    value: str | int | None = None
    unit: Unit | None = None


# An archived record v0: the envelope is kept whole, and the archiver's clock is the only one that the log's time can be taken from.
V0: Final[Mapping[str, Place]] = {
    **{name: Place(("origin_offset", name)) for name in ("topic", "partition", "offset_kind", "offset")},
    **{name: Place((name,)) for name in ("platform_run_id", "scenario_run_id", "event_type", "event_id", "ts_utc", "payload_hash")},
    "schema_version": Place(("envelope", "schema_version")), "payload": Place(("envelope", "payload")),
    "log_time_utc": Place(("archived_at_utc",)), "payload_hash_recipe": Place(value=V0_HASH_RECIPE)}


class Unliftable(Exception):
    """A record that has no form of ours: it is counted as undecodable."""


@dataclass(frozen=True)
class Lifting:
    """How the records of one archive become ours.

    Attributes:
        places: where each member is found.
        defaults: what members are that have no place: the archive's topic, its event type, the plane's run.
        zone: of times that carry no offset.
    """

    places: Mapping[str, Place]
    defaults: Mapping[str, str] = field(default_factory=dict)
    zone: str | None = None

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The first steps of all paths: the columns that a table must have; None: every column is needed, for the payload."""
        if "payload" not in self.places:
            return None
        return tuple(sorted({place.path[0] for place in self.places.values() if place.path is not None}))

    @cached_property
    def left_out(self) -> frozenset[str]:
        """What of a record is no part of its payload, if that has no place of its own: what the log added."""
        return frozenset(place.path[0] for name, place in self.places.items() if place.path is not None and name in OF_THE_LOG)

    def fixed(self, relative: str) -> dict[str, Any]:
        """The members that all records of a file share.

        Args:
            relative: the file's path in its archive.
        """
        folders = dict(one.split("=", 1) for one in relative.split("/")[:-1] if "=" in one)
        shared = {name: place.value if place.folder is None else folders.get(place.folder)
                  for name, place in self.places.items() if place.path is None}
        return {**self.defaults, **shared}

    def lift(self, document: Mapping[str, Any], fixed: Mapping[str, Any]) -> tuple[Any, ...]:
        """The members of one record of a file; `fixed` as `fixed` gave it.

        Raises:
            Unliftable: a value of the record has no form of ours. TimeZoneUndeclared: a time without offset, and no zone is declared.
        """
        found = dict(fixed)
        for name, place in self.places.items():
            if place.path is not None:
                found[name] = extract_path(document, place.path) if len(place.path) > 1 else document.get(place.path[0])
        for name in _TIMES:
            found[name] = self._instant(name, found.get(name))
        found["partition"], found["offset"] = _number(found.get("partition")), _offset_text(found.get("offset"))
        if found.get("schema_version") is None:
            found["schema_version"] = UNVERSIONED
        for name in ("event_id", "schema_version", "platform_run_id", "scenario_run_id"):
            if type(found.get(name)) in _TEXTS:
                found[name] = str(found[name])
        found["payload"] = self._payload(document, found)
        return tuple(map(found.get, MEMBERS))

    def _instant(self, name: str, raw: Any) -> str:
        unit = self.places[name].unit
        try:
            if unit is not None:
                if type(raw) is not int or not EARLIEST_US <= raw * UNIT_US[unit] <= LATEST_US:
                    raise Unliftable(name)
                return format_instant(raw * UNIT_US[unit])
            return format_instant(to_instant(raw, self.zone, name))
        except (ReplayEventInvalid, NumericOverflow) as wrong:
            raise Unliftable(name) from wrong

    def _payload(self, document: Mapping[str, Any], found: Mapping[str, Any]) -> Any:
        if "payload" in self.places:
            said = found.get("payload")
            return plain(_parsed(said) if isinstance(said, str) else said)
        left = self.left_out
        return {name: plain(value) for name, value in document.items() if value is not None and name not in left}


def lifting_of(places: Mapping[str, Place], topic: str, run: str, zone: str | None) -> Lifting:
    """The lifting of an archive's records: what they do not say is the archive's own topic, its type of event, and the plane's run."""
    return Lifting(places, {"topic": topic, "event_type": topic, "offset_kind": "kafka_offset", "platform_run_id": run}, zone)


def plain(value: Any) -> Any:
    """A value of a table as JSON has it; instants and UUIDs as text, floats as the shortest decimal that means them.

    Raises:
        Unliftable: bytes, NaN or an infinity.

    >>> plain({"paid": 12.5, "at": datetime(2026, 1, 1)})
    {'paid': Decimal('12.5'), 'at': '2026-01-01T00:00:00'}
    """
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, (float, Decimal)):
        if not math.isfinite(value):
            raise Unliftable("a number that is none")
        return value if isinstance(value, Decimal) else Decimal(repr(value))
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (date, time)):
        return _wall_or_instant(value)
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    raise Unliftable(f"a {type(value).__name__}")


def _wall_or_instant(value: date | time) -> str:
    if getattr(value, "nanosecond", 0):
        raise Unliftable("a time finer than a microsecond")
    if isinstance(value, datetime) and value.tzinfo is not None:
        return format_instant(to_instant(value, None, "a time"))
    return value.isoformat()


def _parsed(text: str) -> Any:
    try:
        return load_json(text, numbers="decimal")
    except (SchemaInvalid, ResourceExceeded) as wrong:
        raise Unliftable("a payload that is no JSON") from wrong


def _number(raw: Any) -> Any:
    return int(raw) if isinstance(raw, str) and len(raw) < 12 and _DIGITS.fullmatch(raw) else raw


def _offset_text(raw: Any) -> Any:
    return str(raw) if type(raw) is int else raw
