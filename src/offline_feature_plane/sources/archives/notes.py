"""Notes of a job beside an index: what it knows of files, until index.json has that.

    copying     segment aside ──▶ noted ──▶ put under its name ──▶ … ──▶ index.json ──▶ notes removed
    indexing    file read ──▶ … ──▶ noted, some at a time ──▶ … ──▶ index.json ──▶ notes removed

A job that copies notes a segment before it has its name, so a file of a job that was stopped is known by what the job knew of it: which log
it counts in, and what its source proved. A job that makes an index notes what it has read, so that nobody reads it again.

Notes are sheets, `NAME`, `NAME.1`, `NAME.2` and so on. One that is full is not written again, so that what is noted of many files costs as
much for each as of few.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from offline_feature_plane.contracts.archive_index import IndexedSegment
from offline_feature_plane.domain.canonical import load_json, sha256_of
from offline_feature_plane.errors import SchemaInvalid
from offline_feature_plane.sources.archives.places import ArchivePlace

__all__ = ["Notes", "folder_of", "name_of_notes", "noted_segments"]

FULL: Final = 32  # files in a sheet
_PREFIX: Final = "_index.copying."
_LONGEST: Final = 200  # characters of a folder's name; what stands around it in the name of notes must fit, too

Entries = Sequence[IndexedSegment]  # of one file
_Sheet = tuple[Any, str, dict[str, Entries]]


class Notes:
    """The notes that stand in an archive under a name, and what a job adds to them.

    Raises, as all that it does: as `ArchivePlace.document` and `ArchivePlace.replace`.

    Attributes:
        wish: what the job was to do, by which its notes are judged; None if there are no notes, or none that can be read.
        archived_at: when it began.
        files: the entries of each file that it has noted.
    """

    def __init__(self, place: ArchivePlace, name: str) -> None:
        self._place, self._name = place, name
        self.wish: Any = None
        self.archived_at = ""
        self.files: dict[str, Entries] = {}
        self._marks: list[str] = []
        self._open: dict[str, str] = {}
        self._is_open = self._has_changed = False
        self._read()

    def begin(self, wish: Any, archived_at: str, files: Mapping[str, Entries]) -> None:
        """Replace everything, in one step as far as anybody sees who comes later."""
        self.wish, self.archived_at, self.files = wish, archived_at, dict(files)
        self._open, self._is_open = {}, True
        self._fill(files)
        self._write(0)
        while len(self._marks) > 1:
            self._drop()

    def add(self, files: Mapping[str, Entries]) -> None:
        """Note some more files."""
        number = len(self._marks) - 1
        if not self._is_open or len(self._open) >= FULL:
            if self._has_changed:
                self._write(number)
            self._open, self._is_open, number = {}, True, number + 1
        self._fill(files)
        self._write(number)

    def amend(self, one: IndexedSegment) -> None:
        """What is known by now of the file that was noted last; it is written with whatever comes next."""
        self._fill({one.path: (one,)})
        self._has_changed = True

    def remove(self) -> None:
        """They are needed no more; the first sheet goes last, so that what is left is notes."""
        while self._marks:
            self._drop()

    def _read(self) -> None:
        while (kept := self._place.document(self._sheet(len(self._marks)))) is not None:
            told = _parsed(kept.data)
            if told is not None and not self._marks:
                self.wish, self.archived_at = told[:2]
            if told is not None and told[:2] == (self.wish, self.archived_at):  # else another job left it, which was stopped in `begin`
                self.files |= told[2]
            self._marks.append(kept.mark)

    def _sheet(self, number: int) -> str:
        return f"{self._name}.{number}" if number else self._name

    def _fill(self, files: Mapping[str, Entries]) -> None:
        self.files |= files
        self._open |= {path: ", ".join(one.model_dump_json(exclude_defaults=True) for one in entries) for path, entries in files.items()}

    def _write(self, number: int) -> None:
        name, files = self._sheet(number), ",\n ".join(f"{json.dumps(path)}: [{text}]" for path, text in self._open.items())
        text = (f'{{"wish": {json.dumps(self.wish)}, "archived_at_utc": {json.dumps(self.archived_at)}, "files": {{\n {files}\n}}}}\n')
        self._place.replace(name, text.encode(), self._marks[number] if number < len(self._marks) else None)
        written = self._place.document(name)
        self._marks[number:number + 1] = [] if written is None else [written.mark]
        self._has_changed = False

    def _drop(self) -> None:
        self._marks.pop()
        self._place.remove(self._sheet(len(self._marks)))


def folder_of(topic: str) -> str:
    """A topic as the name of a folder: no two have the same, and none is hidden."""
    name = quote(topic, safe="")
    if len(name) > _LONGEST:  # there is no escape `%~`, so no other topic is called so
        name = f"{name[:_LONGEST - 34]}%~{sha256_of(topic.encode())[7:39]}"
    return f"%{ord(name[0]):02X}{name[1:]}" if name[0] in "._" else name


def name_of_notes(topic: str) -> str:
    """Where the notes on a topic that is copied are."""
    return f"{_PREFIX}{folder_of(topic)}.json"


def noted_segments(place: ArchivePlace) -> Mapping[str, IndexedSegment]:
    """All that jobs which copy have noted in an archive, by path. Raises as `ArchivePlace.document`."""
    return {one.path: one for one in _all(place)}


def _all(place: ArchivePlace) -> Iterator[IndexedSegment]:
    for name in place.documents(_PREFIX):
        if name.endswith(".json"):  # else it is a further sheet
            for entries in Notes(place, name).files.values():
                yield from entries


def _parsed(data: bytes) -> _Sheet | None:
    """A sheet; None if it is of another release, or none at all."""
    try:
        said = load_json(data, max_bytes=len(data))
        return said["wish"], str(said["archived_at_utc"]), {
            path: tuple(map(IndexedSegment.model_validate, entries)) for path, entries in said["files"].items()}
    except (SchemaInvalid, ValueError, KeyError, TypeError, AttributeError):
        return None
