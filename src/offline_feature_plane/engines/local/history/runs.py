"""Sorted runs: pieces of inputs in the total order, and the dictionaries that all of them share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.footprint import uniting_bytes
from offline_feature_plane.engines.local.columns import IdColumn, Loaded
from offline_feature_plane.engines.local.dictionaries import encode
from offline_feature_plane.engines.local.history.places import Numbers, Place, Texts
from offline_feature_plane.engines.local.lowering import as_arrow
from offline_feature_plane.engines.local.ordering import order_keys, total_order
from offline_feature_plane.errors import ResourceExceeded

__all__ = ["Codes", "Recode", "Run", "unify", "write_run"]

_TEXTS, _LEAST_TEXTS = 1 << 21, 1 << 16  # at once, which makes one table of hashes worth its while
_TEXT = 32                               # bytes of a usual one
Codes = npt.NDArray[np.int32]
Recode = Mapping[str, Codes]  # by dictionary: the final code of every code of a run, and −1 at its end


@dataclass(frozen=True)
class Run:
    """A piece of one input in the total order. `shape` is the piece without rows; `homes` names the dictionary of each text field."""

    shape: Loaded
    ts: Numbers
    ids: Numbers | Texts
    partition: Numbers | None
    offset: Numbers | None
    arrival: Numbers | None
    fields: Mapping[str, tuple[Numbers, Numbers | None]]
    dictionaries: Mapping[str, Texts]
    homes: Mapping[str, str]

    @property
    def n(self) -> int:
        """Rows."""
        return self.ts.n

    @property
    def size_bytes(self) -> int:
        """What it takes."""
        return sum(column.size_bytes for column in self._columns())

    @property
    def span(self) -> tuple[int, int] | None:
        """The first and the last instant, if it has rows. Raises StorageIoFailure."""
        return (int(self.ts.read(0, 1)[0]), int(self.ts.read(self.n - 1, self.n)[0])) if self.n else None

    def read(self, start: int, stop: int, recode: Recode) -> Loaded:
        """Some rows, texts as final codes."""
        fields: dict[str, Any] = {}
        for name, (data, valid) in self.fields.items():
            values = data.read(start, stop)
            if name in self.homes:
                values = recode[self.homes[name]][values]
            fields[name] = values, None if valid is None else valid.read(start, stop).view(np.bool_)
        partition, offset, arrival = (None if one is None else one.read(start, stop) for one in (self.partition, self.offset, self.arrival))
        return replace(self.shape, ts=self.ts.read(start, stop), ids=self.read_ids(start, stop), partition=partition, offset=offset,
                       arrival=arrival, fields=fields)

    def read_ids(self, start: int, stop: int) -> IdColumn:
        """Some rows' ids."""
        return self.ids.read(start, stop)

    def remove(self) -> None:
        """Give its space back."""
        for column in self._columns():
            column.remove()

    def _columns(self) -> Iterator[Numbers | Texts]:
        for one in (self.ts, self.ids, self.partition, self.offset, self.arrival, *self.dictionaries.values()):
            if one is not None:
                yield one
        for data, valid in self.fields.values():
            yield data
            if valid is not None:
                yield valid


def write_run(place: Place, piece: Loaded, homes: Mapping[str, str]) -> Run:
    """Order a piece and keep it.

    Args:
        place: a new place.
        piece: rows as they were read.
        homes: text fields → name of the dictionary that they share, as `shared_names`.

    Raises:
        StorageIoFailure: the work folder failed. ResourceExceeded: more distinct texts than one dictionary holds.
    """
    order = total_order(piece.ts, partial(order_keys, [piece], np.array([0, piece.n]), piece.arrival))

    def number(name: str, values: npt.NDArray[Any]) -> Numbers:
        column = place.numbers(name, values.dtype, len(values))
        column.append(values if order is None else values.take(order))
        return column

    def text(name: str, texts: pa.ChunkedArray) -> Texts:
        column = place.texts(name)
        for chunk in texts.chunks:
            column.append(chunk)
        return column

    ids = number("ids", piece.ids) if isinstance(piece.ids, np.ndarray) else text(
        "ids", piece.ids if order is None else piece.ids.take(as_arrow(order)))
    partition, offset, arrival = (None if values is None else number(name, values) for name, values in (
        ("partition", piece.partition), ("offset", piece.offset), ("arrival", piece.arrival)))
    fields: dict[str, tuple[Numbers, Numbers | None]] = {}
    texts: dict[str, list[str]] = {}
    for at, (name, values) in enumerate(piece.fields.items()):
        if isinstance(values, pa.ChunkedArray):
            texts.setdefault(homes[name], []).append(name)
        else:
            data, valid = values
            fields[name] = number(f"{at}", data), None if valid is None else number(f"{at}.valid", valid)
    dictionaries: dict[str, Texts] = {}
    for home, names in texts.items():
        with _one_dictionary(home):
            codes, dictionary = encode([piece.fields[name] for name in names])
        dictionaries[home] = text(f"dictionary.{len(dictionaries)}", pa.chunked_array([dictionary]))
        fields |= {name: (number(f"codes.{len(fields) + at}", one), None) for at, (name, one) in enumerate(
            zip(names, codes, strict=True))}
    no_ids = np.empty(0, np.int64) if isinstance(piece.ids, np.ndarray) else pa.chunked_array([], pa.string())
    nothing = replace(piece, ts=np.empty(0, np.int64), ids=no_ids, partition=None, offset=None, arrival=None, fields={})
    return Run(nothing, number("ts", piece.ts), ids, partition, offset, arrival, fields, dictionaries,
               {name: home for home, names in texts.items() for name in names})


def unify(runs: Sequence[Run], most: int) -> tuple[dict[str, pa.Array], list[dict[str, Codes]]]:
    """The final dictionaries, sorted by UTF-8 bytes, and per run what its codes become.

    Raises:
        ResourceExceeded: they would take more than `most` bytes, or one of them more than Arrow's 2 GiB.
    """
    final: dict[str, pa.Array] = {}
    recodes: list[dict[str, Codes]] = [{} for _ in runs]
    for home in dict.fromkeys(home for run in runs for home in run.dictionaries):
        owners = [place for place, run in enumerate(runs) if home in run.dictionaries]
        known = pa.array([], pa.string())
        for _, texts in _together(runs, owners, home, max(_LEAST_TEXTS, min(_TEXTS, most // uniting_bytes(_TEXT, 1)))):
            with _one_dictionary(home):
                known = pc.unique(pa.chunked_array([known, *texts.chunks], pa.string()))
            _check_room(home, known, sum(one.nbytes for one in final.values()), most)
        final[home] = known.take(pc.sort_indices(known))
        for places, texts in _together(runs, owners, home, _TEXTS):
            codes = pc.index_in(texts, value_set=final[home]).to_numpy().astype(np.int32)
            ends = np.cumsum([runs[place].dictionaries[home].n for place in places])
            for place, own in zip(places, np.split(codes, ends[:-1]), strict=True):
                recodes[place][home] = np.append(own, np.int32(-1))
    return final, recodes


def _check_room(home: str, texts: pa.Array, others: int, most: int) -> None:
    """Dictionaries cannot go to files: a build that would be killed for them says so before."""
    needed = others + uniting_bytes(texts.nbytes, len(texts))
    if needed > most:
        raise ResourceExceeded(
            f"{home} has {len(texts):,} distinct texts or more, which are kept in memory: that takes about {needed / 1e6:,.0f} MB, "
            f"and {most / 1e6:,.0f} MB are left for it within the limit.", path=home,
            fix="Raise `engine.memory_limit` in plane.yaml, build on a larger machine, or leave the field out of the profile.")


@contextmanager
def _one_dictionary(home: str) -> Iterator[None]:
    """Offsets of a dictionary have 32 bits."""
    try:
        yield
    except pa.ArrowCapacityError as wrong:
        raise ResourceExceeded(f"the distinct texts of {home} take more than 2 GiB, which is the most that one field may have.", path=home,
                               fix="Leave the field out of the profile, or shorten its texts before.") from wrong


def _together(runs: Sequence[Run], places: Sequence[int], home: str, most: int) -> Iterator[tuple[list[int], pa.ChunkedArray]]:
    """A dictionary of some runs, of as many at once as give about `most` texts."""
    taken: list[int] = []
    chunks: list[pa.Array] = []
    for place in places:
        texts = runs[place].dictionaries[home]
        taken.append(place)
        chunks += texts.read(0, texts.n).chunks
        if sum(map(len, chunks)) >= most:
            yield taken, pa.chunked_array(chunks, pa.string())
            taken, chunks = [], []
    if taken:
        yield taken, pa.chunked_array(chunks, pa.string())
