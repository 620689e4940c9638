"""Records as other tools archive them, lifted to ours (`domain.md` §1.5, `decisions.md` D15).

A mapping says where each member is found; a path goes on inside of a text that holds a JSON object, as values of a bus are archived by
tools that do not look into them. What is lifted are `domain.admission.MEMBERS`, which are judged
there as our own are.
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

from offline_feature_plane.domain.admission import MEMBERS
from offline_feature_plane.domain.canonical import digest, load_json
from offline_feature_plane.domain.extraction import to_instant
from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US, format_instant
from offline_feature_plane.errors import NumericOverflow, ReplayEventInvalid, ResourceExceeded, SchemaInvalid

Unit = Literal["s", "ms", "us"]
_Paths = tuple[tuple[str, tuple[str, ...]], ...]

OF_THE_LOG: Final = ("topic", "partition", "offset", "offset_kind", "log_time_utc")  # what the log adds is no part of the event
UNVERSIONED: Final = "unversioned"
V0_HASH_RECIPE: Final = "learning.archive_event_record.v0"

UNIT_US: Final[Mapping[Unit, int]] = {"s": 1_000_000, "ms": 1_000, "us": 1}
_PLAIN: Final = frozenset({str, int, bool})
_TEXTS: Final = frozenset({int, UUID})  # what ids may be beside texts
_TIMES: Final = ("ts_utc", "log_time_utc")
_COORDINATE: Final = ("topic", "partition", "offset_kind", "offset")
_OF_AN_EVENT: Final = ("event_id", "ts_utc", "payload")
_UNREADABLE: Final = {"payload": ""}  # beside a coordinate it stands for what cannot be decoded: nothing at all would be a null value
_MAPPING_RECIPE: Final = "ofs.archive_mapping.v1"
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
    """A record that has no form of ours: it is counted as undecodable. `members` say where it stands, if it does."""

    members: tuple[Any, ...] | None = None


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

    def document(self) -> dict[str, Any]:
        """All that decides how a record is read, for documents."""
        places = {name: {**vars(place), "path": None if place.path is None else list(place.path)} for name, place in self.places.items()}
        return {"places": places, "defaults": dict(self.defaults), "zone": self.zone}

    @cached_property
    def mark(self) -> str:
        """The digest of all that decides which coordinates a file holds, and which of its records can be decoded.

        Whose run the records are, and what their events are called, is not in it: several planes may read one archive by one index.
        """
        said = {name: self.defaults.get(name) for name in ("topic", "offset_kind") if name not in self.places}
        return digest(_MAPPING_RECIPE, self.document() | {"defaults": said})

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
        found, held = dict(fixed), dict[tuple[str, ...], Mapping[str, Any]]()
        _reach(self._paths[0], document, found, held)
        found["partition"], found["offset"] = _number(found.get("partition")), _offset_text(found.get("offset"))
        try:
            _reach(self._paths[1], document, found, held)
            return self._told(document, found)
        except Unliftable as wrong:
            wrong.members = tuple(found.get(name) if name in _COORDINATE else _UNREADABLE.get(name) for name in MEMBERS)
            raise

    @cached_property
    def _paths(self) -> tuple[_Paths, _Paths]:
        """Where the members of the coordinate are found in a record, and where the others."""
        found = {name: place.path for name, place in self.places.items() if place.path is not None}
        return (tuple((name, path) for name, path in found.items() if name in _COORDINATE),
                tuple((name, path) for name, path in found.items() if name not in _COORDINATE))

    def _told(self, document: Mapping[str, Any], found: dict[str, Any]) -> tuple[Any, ...]:
        """The members of a record, from what stands in their places."""
        if self._is_null_value(document, found):
            return tuple(found.get(name) if name in _COORDINATE else None for name in MEMBERS)
        for name in _TIMES:
            found[name] = self._instant(name, found.get(name))
        if found.get("schema_version") is None:
            found["schema_version"] = UNVERSIONED
        for name in ("event_id", "schema_version", "platform_run_id", "scenario_run_id"):
            if type(found.get(name)) in _TEXTS:
                found[name] = str(found[name])
        found["payload"] = self._payload(document, found)
        return tuple(map(found.get, MEMBERS))

    def _is_null_value(self, document: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
        """Is there a null where the payload has its place, and no name and no time of an event? A member that is missing says nothing."""
        place = self.places.get("payload")
        return (place is not None and place.path is not None and all(found.get(name) is None for name in _OF_AN_EVENT)
                and _is_null(document, place.path))

    def _instant(self, name: str, raw: Any) -> str:
        unit = self.places[name].unit
        try:
            if unit is not None:
                if type(raw) is not int or not EARLIEST_US <= raw * UNIT_US[unit] <= LATEST_US:
                    raise Unliftable(f"no whole number of its unit in {name}")
                return format_instant(raw * UNIT_US[unit])
            return format_instant(to_instant(raw, self.zone, name))
        except (ReplayEventInvalid, NumericOverflow) as wrong:
            raise Unliftable(f"no time that can be read in {name}") from wrong

    def _payload(self, document: Mapping[str, Any], found: Mapping[str, Any]) -> Any:
        if "payload" in self.places:
            said = found.get("payload")
            return plain(_parsed(said) if isinstance(said, (str, bytes)) else said)
        left = self.left_out
        return {name: _plain_in(name, value) for name, value in document.items() if value is not None and name not in left}


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
        if not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):  # as a float, 1e400 would be infinite
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
    raise Unliftable("bytes, which JSON has no form for," if isinstance(value, bytes) else f"a {type(value).__name__}")


def _plain_in(name: str, value: Any) -> Any:
    try:
        return plain(value)
    except Unliftable as wrong:
        raise Unliftable(f"{wrong} in {name}") from None


def _wall_or_instant(value: date | time) -> str:
    if getattr(value, "nanosecond", 0):
        raise Unliftable("a time finer than a microsecond")
    if isinstance(value, datetime) and value.tzinfo is not None:
        return format_instant(to_instant(value, None, "a time"))
    return value.isoformat()


def _reached(document: Mapping[str, Any], path: tuple[str, ...], held: dict[tuple[str, ...], Mapping[str, Any]]) -> Any:
    """As `domain.extraction.extract_path`, and on inside of texts; `held`: the objects that texts of this record were found to hold.

    Raises:
        Unliftable: such a text is no JSON object.
    """
    found: Any = document
    for steps, key in enumerate(path):
        if isinstance(found, (str, bytes)):
            if (above := path[:steps]) not in held:
                inside = _parsed(found)
                if not isinstance(inside, Mapping):
                    raise Unliftable("a text that is no object")
                held[above] = inside
            found = held[above]
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def _reach(paths: _Paths, document: Mapping[str, Any], found: dict[str, Any], held: dict[tuple[str, ...], Mapping[str, Any]]) -> None:
    for name, path in paths:
        found[name] = _reached(document, path, held) if len(path) > 1 else document.get(path[0])


def _is_null(document: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    """Does a path end at a null that is there, or lead through one?"""
    found: Any = document
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            return False
        found = found[key]
        if found is None:
            return True
    return False


def _parsed(text: str | bytes) -> Any:
    try:
        return load_json(text, numbers="decimal")
    except (SchemaInvalid, ResourceExceeded) as wrong:
        raise Unliftable("a payload that is no JSON") from wrong


def _number(raw: Any) -> Any:
    return int(raw) if isinstance(raw, str) and len(raw) < 12 and _DIGITS.fullmatch(raw) else raw


def _offset_text(raw: Any) -> Any:
    return str(raw) if type(raw) is int else raw
