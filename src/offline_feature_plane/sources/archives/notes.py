"""Notes of jobs that copy into an archive: the segments that each has finished, beside the index until that has them.

    segment aside ──▶ noted ──▶ put under its name ──▶ … ──▶ index.json ──▶ notes removed

Whatever is named is noted before, so a file of a job that was stopped is known by what the job knew of it: which log it counts in, and
what its source proved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from offline_feature_plane.contracts.archive_index import IndexedSegment
from offline_feature_plane.domain.canonical import load_json, sha256_of
from offline_feature_plane.errors import SchemaInvalid
from offline_feature_plane.sources.archives.places import ArchivePlace

__all__ = ["Notes", "folder_of", "name_of_notes", "noted_segments", "read_notes", "write_notes"]

_PREFIX: Final = "_index.copying."
_LONGEST: Final = 200  # characters of a folder's name; what stands around it in the name of notes must fit, too


@dataclass(frozen=True)
class Notes:
    """What stands in the notes on a topic: for which wish the segments are, when they were archived; and what stands for these bytes."""

    wish: Any
    archived_at: str
    segments: tuple[IndexedSegment, ...]
    mark: str


def folder_of(topic: str) -> str:
    """A topic as the name of a folder: no two have the same, and none is hidden."""
    name = quote(topic, safe="")
    if len(name) > _LONGEST:  # there is no escape `%~`, so no other topic is called so
        name = f"{name[:_LONGEST - 34]}%~{sha256_of(topic.encode())[7:39]}"
    return f"%{ord(name[0]):02X}{name[1:]}" if name[0] in "._" else name


def name_of_notes(topic: str) -> str:
    """Where the notes on a topic are."""
    return f"{_PREFIX}{folder_of(topic)}.json"


def read_notes(place: ArchivePlace, name: str) -> Notes | None:
    """Some notes, without segments if they are of another release; None if there are none. Raises as `ArchivePlace.document`."""
    kept = place.document(name)
    if kept is None:
        return None
    with suppress(SchemaInvalid, ValueError, KeyError, TypeError):
        document = load_json(kept.data, max_bytes=len(kept.data))
        return Notes(document["wish"], str(document["archived_at_utc"]), tuple(map(IndexedSegment.model_validate, document["segments"])),
                     kept.mark)
    return Notes(None, "", (), kept.mark)


def write_notes(place: ArchivePlace, name: str, notes: Notes | None, wish: Sequence[Any], archived_at: str,
                segments: Sequence[IndexedSegment]) -> Notes | None:
    """Replace the notes that stand there. Raises as `ArchivePlace.replace`."""
    lines = ",\n  ".join(one.model_dump_json(exclude_defaults=True) for one in segments)
    text = f'{{"wish": {json.dumps(wish)}, "archived_at_utc": "{archived_at}", "segments": [\n  {lines}\n]}}\n'
    place.replace(name, text.encode(), None if notes is None else notes.mark)
    return read_notes(place, name)


def noted_segments(place: ArchivePlace) -> Mapping[str, IndexedSegment]:
    """All that jobs have noted in an archive, by path. Raises as `ArchivePlace.document`."""
    return {one.path: one for one in _all(place)}


def _all(place: ArchivePlace) -> Iterator[IndexedSegment]:
    for name in place.documents(_PREFIX):
        notes = read_notes(place, name)
        yield from () if notes is None else notes.segments
