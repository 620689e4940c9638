"""What comes from a bus in batches, as whoever reads it wants it: records one by one, many at a time, or as an archive has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.sources.buses.envelopes import Held, Lane, decode_value, stored_value
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.stored import Rows, Writing
from offline_feature_plane.sources.decoding.stored_rows import rows_one_by_one
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.logs.records import WORTH_A_COMPILER
from offline_feature_plane.sources.logs.stretches import Stretch, Undecodable

__all__ = ["CopiedStretch", "decoded_in", "records_in", "rows_in", "rows_of"]

Batches = Iterable[Sequence[Held]]


class CopiedStretch(Stretch, Protocol):
    """A stretch of a bus whose records are written into an archive."""

    def rows(self, writing: Writing, *, in_batches: bool) -> Iterator[Rows]:
        """As `rows_in`."""


def records_in(lane: Lane, batches: Batches) -> Iterator[Record | Undecodable]:
    """Its records and what cannot be decoded, by offset."""
    for held in chain.from_iterable(batches):
        yield decode_value(lane, held)


def decoded_in(lane: Lane, batches: Batches, wanted: Wanted) -> Iterator[Decoded]:
    """The same, many at a time."""
    from offline_feature_plane.sources.buses.values import decode_values  # noqa: PLC0415 - it loads a compiler

    for held in batches:
        if held:
            yield decode_values(lane, held, wanted)


def rows_of(stretches: Iterable[CopiedStretch], writing: Writing) -> Iterator[Rows]:
    """Everything that some stretches hold, each checked before it is read: `sources.decoding.stored.CopySource.rows` of a bus."""
    for stretch in stretches:
        stretch.check()
        yield from stretch.rows(writing, in_batches=stretch.most >= WORTH_A_COMPILER)


def rows_in(lane: Lane, batches: Batches, writing: Writing, *, in_batches: bool) -> Iterator[Rows]:
    """The same as an archive has it; decoded `in_batches` by a compiler, or one by one."""
    if not in_batches:
        yield from rows_one_by_one((stored_value(lane, held) for held in chain.from_iterable(batches)), writing)
        return
    from offline_feature_plane.sources.buses.values import rows_of_values  # noqa: PLC0415 - it loads a compiler

    for held in batches:
        if held:
            yield rows_of_values(lane, held, writing)
