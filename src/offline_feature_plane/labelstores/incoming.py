"""Files of assertions on their way into a label store: read in pieces, every row held against what a label store may hold.

A file has the columns of the store, one row for one assertion (`domain.md` §1.6); what lies inside of Parquet structs is a column of its
own name. Nothing unknown, nothing converted by guess: a row that is wrong is named with its file, its number from 1, the column and a code,
and then nothing of any file is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.contracts.model import nearest, shown
from offline_feature_plane.domain.extraction import to_instant
from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US
from offline_feature_plane.domain.resolution import SOURCES
from offline_feature_plane.errors import (
    LabelPolicyInvalid,
    OfsError,
    Problem,
    SchemaInvalid,
    SourceColumnUnknown,
    TimeZoneUndeclared,
    refuse,
)
from offline_feature_plane.filesets import FileSet, pin_files, read_pinned

NEEDED: Final = ("label_assertion_id", "label_type", "event_id", "label_value", "observed_time", "source_type")
OPTIONAL: Final = ("effective_time", "actor_id", "supersedes", "evidence_ref")
INSTANTS: Final = frozenset({"observed_time", "effective_time"})
MOST_PROBLEMS: Final = 20
LONGEST_ID: Final = 1_000  # bytes; the table checks it too, for no index holds much longer ones

_INSTANT: Final = pa.timestamp("us", "UTC")
_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")  # what `labels:` in plane.yaml can name

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Incoming:
    """Files of assertions, pinned: what will be loaded, and how rows are named.

    Rows are counted over all files, from 0.
    """

    sets: tuple[FileSet, ...]

    @property
    def rows(self) -> int:
        """Rows of all files together."""
        return sum(one.rows for one in self.sets)

    def place(self, row: int) -> str:
        """A row as people find it: file and row number, from 1."""
        for file in (file for one in self.sets for file in one.files):
            if row < file.rows:
                return f"{file.relative} row {row + 1}"
            row -= file.rows
        raise AssertionError("unreachable")

    def pieces(self) -> Iterator[pa.Table]:
        """The rows in order, checked: `row`, then the columns of a store; texts, instants in µs UTC. Missing optional ones are null.

        Raises:
            OfsError: of the first problem's code, with the first `MOST_PROBLEMS` problems. ReplayBasisMismatch: a file changed.
        """
        problems: list[tuple[int, Problem]] = []
        row = 0
        for one in self.sets:
            ways = _ways(one)
            for batch in read_pinned(one.files, one.form, list(ways.values())):
                piece = _Piece({name: batch[way] for name, way in ways.items()}, row, self.place, problems)
                table = piece.table()
                row += piece.rows
                if len(problems) >= MOST_PROBLEMS:
                    raise _refusal(problems)
                if not problems:
                    yield table
        if problems:
            raise _refusal(problems)


def find_incoming(paths: Sequence[Path]) -> Incoming:
    """Find and pin files of assertions: each path is a Parquet, CSV or JSON Lines file, or a folder of them.

    Raises:
        SourceUnreadable, RefScopeInvalid: what is there. SourceColumnUnknown: a column is missing, or has no place in a label store.
    """
    sets = tuple(pin_files(path) for path in paths)
    known = (*NEEDED, *OPTIONAL)
    for path, one in zip(paths, sets, strict=True):
        ways = _ways(one)
        for name, way in ways.items():
            if name not in known:
                raise SourceColumnUnknown(f"a label store has no place for the column {shown(way)}.", path=str(path),
                                          fix=nearest(name, known) or f"Leave it out; known are {', '.join(known)}.")
        if twice := next((way for way in _leaves(one) if way not in ways.values()), None):
            name = twice.rpartition(".")[2]
            raise SourceColumnUnknown(f"{shown(ways[name])} and {shown(twice)} are both called {name}.", path=str(path),
                                      fix="Leave one of them out.")
        if missing := [name for name in NEEDED if name not in ways]:
            raise SourceColumnUnknown(f"there is no column {missing[0]}.", path=str(path),
                                      fix=f"Assertions have {', '.join(NEEDED)}, and may have {', '.join(OPTIONAL)}.")
    return Incoming(sets)


def _ways(files: FileSet) -> dict[str, str]:
    """By the name of a column where it is: what lies inside of structs counts by the last part of its path. The first of a name."""
    ways: dict[str, str] = {}
    for way in _leaves(files):
        ways.setdefault(way if way in dict(files.columns) else way.rpartition(".")[2], way)
    return ways


def _leaves(files: FileSet) -> list[str]:
    """The columns and members that are no structs."""
    return [name for name, kind in files.named if not kind.startswith("struct<")]


def _refusal(problems: list[tuple[int, Problem]]) -> OfsError:
    error = refuse([problem for _, problem in sorted(problems, key=itemgetter(0))])
    error.fix = "Nothing was loaded. Correct these rows, then load the files again."
    return error


class _Piece:
    """Some rows of a file: its columns made into those of a store, and the problems that they have."""

    def __init__(self, batch: dict[str, pa.Array | list[Any]], first: int, place: Callable[[int], str],
                 problems: list[tuple[int, Problem]]) -> None:
        self.rows = len(next(iter(batch.values())))
        self._batch, self._first, self._place, self._problems = batch, first, place, problems

    def table(self) -> pa.Table:
        """The columns of a store. Meaningless if there are problems."""
        found = {name: self._instants(name) if name in INSTANTS else self._texts(name) for name in (*NEEDED, *OPTIONAL)}
        for name in NEEDED:
            self._blame(name, ~_present(found[name]), SchemaInvalid, lambda _: "this is missing")
        found["effective_time"] = pc.coalesce(found["effective_time"], found["observed_time"])  # as a file timeline without that column
        self._judge(found)
        return pa.table({"row": pa.array(np.arange(self._first, self._first + self.rows)), **found})

    def _judge(self, found: dict[str, pa.Array]) -> None:
        """What a value must be beyond its kind."""
        sources, types = found["source_type"], found["label_type"]
        self._blame("source_type", _is_other(sources, lambda text: text in SOURCES), LabelPolicyInvalid,
                    lambda row: f"{shown(sources[row].as_py())} is not a label source; known are {', '.join(SOURCES)}")
        self._blame("label_type", _is_other(types, lambda text: _TYPE.fullmatch(text) is not None), LabelPolicyInvalid,
                    lambda row: f"{shown(types[row].as_py())} is not a name for a label type; use up to 128 letters, digits, `_`, `.`, `-`")
        lengths = pc.binary_length(found["label_assertion_id"])
        self._blame("label_assertion_id", _holds(pc.greater(lengths, LONGEST_ID)), SchemaInvalid,
                    lambda row: f"an id has at most {LONGEST_ID} bytes, not {lengths[row].as_py():,}")
        self._blame("actor_id", _holds(pc.equal(sources, "HUMAN")) & ~_present(found["actor_id"]), LabelPolicyInvalid,
                    lambda _: "a HUMAN assertion names its actor")
        self._blame("supersedes", _holds(pc.equal(found["supersedes"], found["label_assertion_id"])), LabelPolicyInvalid,
                    lambda _: "an assertion cannot supersede itself")

    def _blame(self, name: str, wrong: Mask, code: type[OfsError], sentence: Callable[[int], str]) -> None:
        for row in np.flatnonzero(wrong)[:max(0, MOST_PROBLEMS - len(self._problems))].tolist():
            path = f"{self._place(self._first + row)}, {name}"
            if all(problem.path != path for _, problem in self._problems):
                self._problems.append((self._first + row, Problem(path, code.code, sentence(row))))

    def _texts(self, name: str) -> pa.Array:
        """A column as texts: integers, as ids may be, by their decimal text; an empty text is missing."""
        raw = self._batch.get(name)
        if raw is None:
            return pa.nulls(self.rows, pa.string())
        if not isinstance(raw, list) and (pa.types.is_integer(raw.type) or _is_text(raw.type)):
            texts = raw.cast(pa.string())
        else:
            values = raw if isinstance(raw, list) else raw.to_pylist()
            fits = np.array([one is None or isinstance(one, str) or (isinstance(one, int) and not isinstance(one, bool)) for one in values])
            self._blame(name, ~fits.astype(np.bool_), SchemaInvalid, lambda row: f"text is expected, not {shown(values[row])}")
            texts = pa.array([str(one) if fit and one is not None else None for one, fit in zip(values, fits, strict=True)], pa.string())
        self._blame(name, _holds(pc.match_substring(texts, "\0")), SchemaInvalid, lambda _: "a text holds no NUL character")
        return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)

    def _instants(self, name: str) -> pa.Array:
        """A column as instants: timestamps with a zone at once, anything else by the scalar law, once per distinct value."""
        raw = self._batch.get(name)
        if raw is None:
            return pa.nulls(self.rows, _INSTANT)
        if not isinstance(raw, list) and pa.types.is_timestamp(raw.type) and raw.type.tz is not None:
            try:
                found = raw.cast(_INSTANT)
            except pa.ArrowInvalid:
                pass  # some are finer than a microsecond, or beyond what 64 bits hold
            else:
                us = found.cast(pa.int64()).fill_null(0).to_numpy()
                if ((us >= EARLIEST_US) & (us <= LATEST_US)).all():
                    return found
        values = raw if isinstance(raw, list) else _written(raw)
        known: dict[Any, int | OfsError | None] = {None: None, "": None}
        for one in values:
            if isinstance(one, str) and one not in known:
                known[one] = _instant(one, name)
            elif one is not None and not isinstance(one, str):
                known[repr(one)] = SchemaInvalid(f"a time with an offset is expected, not {shown(one)}")
        found_here = [known[one if isinstance(one, str | None) else repr(one)] for one in values]
        for code in (SchemaInvalid, TimeZoneUndeclared):
            self._blame(name, np.array([isinstance(one, code) for one in found_here], np.bool_), code,
                        lambda row: getattr(found_here[row], "what", "").rstrip("."))
        return pa.array([None if isinstance(one, OfsError) else one for one in found_here], pa.int64()).cast(_INSTANT)


def _instant(text: str, name: str) -> int | OfsError:
    try:
        return to_instant(text, None, name)
    except TimeZoneUndeclared:
        return TimeZoneUndeclared(f"{shown(text)} carries no zone; write times such as 2026-01-31T23:59:59Z.")
    except OfsError as wrong:
        return SchemaInvalid(wrong.what)


def _written(raw: pa.Array) -> list[Any]:
    """Times as texts, so that no digit and no year is beyond Python; other values as they are."""
    if pa.types.is_timestamp(raw.type):
        zone = None if raw.type.tz is None else "UTC"
        return list(raw.cast(pa.timestamp(raw.type.unit, zone)).cast(pa.string()).to_pylist())
    return list(raw.to_pylist())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
                or (pa.types.is_dictionary(kind) and _is_text(kind.value_type)))


def _present(array: pa.Array) -> Mask:
    return _holds(array.is_valid())


def _holds(truths: pa.Array) -> Mask:
    """Where it is true; not where it is unknown."""
    found: Mask = truths.fill_null(False).to_numpy(zero_copy_only=False)  # noqa: FBT003 - the value
    return found


def _is_other(texts: pa.Array, fits: Callable[[str], bool]) -> Mask:
    """Where a text does not fit; asked once per distinct one."""
    coded = texts.dictionary_encode()
    bad = [place for place, text in enumerate(coded.dictionary.to_pylist()) if not fits(text)]
    return _holds(pc.is_in(coded.indices, pa.array(bad, coded.indices.type)))
