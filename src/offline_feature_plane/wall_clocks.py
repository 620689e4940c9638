"""Readings of clocks on walls as instants, many at a time: `domain.extraction.local_to_utc`, where it is plain."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.zones import offset_at

__all__ = ["wall_to_utc"]

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_SPAN_US: Final = 400 * 86_400_000_000  # changes of offset are looked up by spans of this length
_MOST_SPANS: Final = 100  # in one batch; more go through the scalar law


def wall_to_utc(local_us: Int64s, zone: str) -> tuple[Int64s, Bools]:
    """Instants, and which readings are for the scalar law: those that occur twice or never, or all of them if they lie too far apart.

    Args:
        local_us: µs since 1970-01-01T00:00 on the wall, in the years 1 to 9999.
        zone: an IANA name.
    """
    if zone == "UTC" or not len(local_us):
        return local_us, np.zeros(len(local_us), np.bool_)
    spans = local_us // _SPAN_US
    first, last = int(spans.min()), int(spans.max())
    if last - first < _MOST_SPANS:
        return _run_to_utc(local_us, zone, first, last)
    present = np.unique(spans)  # a far sentinel among times of one year, say
    instants, doubted, start = np.zeros_like(local_us), np.ones(len(local_us), np.bool_), 0
    if len(present) > _MOST_SPANS:
        return instants, doubted
    for end in np.flatnonzero(np.append(np.diff(present) > 1, np.bool_(1))):
        first, last, start = int(present[start]), int(present[end]), int(end) + 1
        inside = (spans >= first) & (spans <= last)
        instants[inside], doubted[inside] = _run_to_utc(local_us[inside], zone, first, last)
    return instants, doubted


def _run_to_utc(local: Int64s, zone: str, first: int, last: int) -> tuple[Int64s, Bools]:
    """Readings that lie in neighbouring spans, as instants."""
    before_us = offset_at((first - 1) * _SPAN_US, zone)
    known = [change for span in range(first - 1, last + 2) for change in _changes(zone, span)]
    if not known:
        return local - before_us, np.zeros(len(local), np.bool_)
    moments, after = np.array(known, np.int64).T
    offsets = np.insert(after, 0, before_us)
    low, high = moments + np.minimum(offsets[:-1], after), moments + np.maximum(offsets[:-1], after)
    period = np.searchsorted(high, local, side="right")
    doubted: Bools = (period < len(low)) & (local >= low[np.minimum(period, len(low) - 1)])
    instants: Int64s = local - offsets[period]
    return instants, doubted


@lru_cache(maxsize=4096)
def _changes(zone: str, span: int) -> tuple[tuple[int, int], ...]:
    """The instants in a span at which a zone changes its offset, each with the offset from then on; µs."""
    second, found = 1_000_000, []
    here, end, step = span * _SPAN_US, (span + 1) * _SPAN_US, 6 * 3_600 * second
    now = offset_at(here, zone)
    while here < end:
        last, first = here, min(here + step, end)
        if offset_at(first, zone) == now:
            here = first
            continue
        while first - last > second:
            middle = (last + first) // (2 * second) * second
            last, first = (middle, first) if offset_at(middle, zone) == now else (last, middle)
        now, here = offset_at(first, zone), first
        found.append((first, now))
    return tuple(found)
