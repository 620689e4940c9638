"""`domain.label_sketch` over columns, and the few assertions that the marks of two sketches ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.label_sketch import CELLS, COPIES, LEVELS, SHARE_BITS, WORDS, fold_text
from offline_feature_plane.domain.resolution import SOURCES, Assertion
from offline_feature_plane.engines.local.label_columns import AssertionColumns, read_assertions
from offline_feature_plane.engines.local.label_names import Names, words_of
from offline_feature_plane.engines.local.label_steps import Eligible
from offline_feature_plane.kernels.sketching import UInt64s, add_marks, fold_words
from offline_feature_plane.ports import EventLabels
from offline_feature_plane.ports.inputs import LabelTable

Int64s = npt.NDArray[np.int64]
Part: TypeAlias = UInt64s | pa.Array | None

_PIECE = 1 << 20
_SOURCE_WORDS = np.array([fold_text(source) for source in SOURCES], np.uint64)


class Sketching:
    """A sketch to which assertions are added batch by batch, in any order."""

    def __init__(self) -> None:
        self._words = np.zeros(WORDS, np.uint64)

    def add(self, position: Int64s, observed: Int64s, effective: Int64s, parts: Sequence[Part]) -> None:
        """Add assertions: the positions of their events, their instants, and value, source, id and supersedes.

        Of these each is a text array, or the `fold_text` of each text; None: all are missing.
        """
        content = np.zeros(len(position), np.uint64)
        fold_words(content, np.ascontiguousarray(effective).view(np.uint64))
        for part in parts:
            words = words_of(part) if isinstance(part, pa.Array) else part
            fold_words(content, np.zeros(len(content), np.uint64) if words is None else words)
        add_marks(self._words, np.ascontiguousarray(position), np.ascontiguousarray(observed), content, LEVELS, COPIES, CELLS, SHARE_BITS)

    def made(self) -> bytes:
        """The sketch."""
        return self._words.astype("<u8").tobytes()


def sketch_slice(kept: Eligible, columns: AssertionColumns, names: Names) -> bytes:
    """The sketch of the slice of one label type, whose columns and names these are; its texts are never Python objects."""
    values = np.array([fold_text(value) for value in columns.values], np.uint64)
    sketching = Sketching()
    for start in range(0, columns.n, _PIECE):
        some = slice(start, start + _PIECE)
        sketching.add(kept.position[some], kept.observed[some], kept.effective[some], (
            values[columns.value[some]], _SOURCE_WORDS[columns.source[some]],
            *(None if words is None else words[some] for words in (names.ids, names.supersedes))))
    return sketching.made()


def labels_of(table: LabelTable, kind: ColumnType,
              events: Sequence[tuple[int, int | str, int | str | None, int]]) -> tuple[EventLabels, ...]:
    """Everything that a timeline says of a few events, read file by file.

    Args:
        table: the timeline, pinned.
        kind: the type of what it is about.
        events: of each its position, its id, what assertions about it name (its id again, or its entity), and its instant.

    Raises:
        The errors of `read_assertions`.
    """
    found: dict[int, list[Assertion]] = {position: [] for position, *_ in events}
    by_subject: dict[int | str, list[tuple[int, int]]] = {}
    for position, _, subject, ts in events:
        if subject is not None:
            by_subject.setdefault(subject, []).append((position, ts))
    for file in table.files:
        for one, observed, effective in _told(replace(table, files=(file,)), kind, by_subject):
            for position, ts in by_subject[one.subject]:
                since = ts if effective is None else effective
                seen = since + (table.observed_after_us or 0) if observed is None else observed
                found[position].append(replace(one, observed_us=seen, effective_us=since))
    return tuple(EventLabels(position, event_id, tuple(found[position])) for position, event_id, *_ in events)


def _told(table: LabelTable, kind: ColumnType, wanted: Mapping[int | str, object]) -> Iterator[tuple[Assertion, int | None, int | None]]:
    """The assertions about some subjects, and their instants as far as the table says them; None: they follow from the event's."""
    columns = read_assertions(table, kind)
    if isinstance(columns.subjects, np.ndarray):
        rows = np.flatnonzero(np.isin(columns.subjects, np.array(list(wanted), np.int64)))
        subjects: list[int | str] = columns.subjects[rows].tolist()
    else:
        rows = np.flatnonzero(pc.is_in(columns.subjects, pa.array(list(wanted), columns.subjects.type)).to_numpy(zero_copy_only=False))
        subjects = columns.subjects.take(pa.array(rows)).to_pylist()
    for row, subject in zip(rows.tolist(), subjects, strict=True):
        observed = None if columns.observed is None else int(columns.observed[row])
        effective = columns.effective if columns.observed is not None else columns.event_time
        since = int(effective[row]) if effective is not None else observed
        ids = (None if texts is None else texts[row].as_py() for texts in (columns.ids, columns.supersedes))
        yield Assertion(subject, table.label_type, columns.values[columns.value[row]], 0, 0, SOURCES[columns.source[row]],
                        *ids), observed, since
