"""Each feature column of a dataset by itself: against the target, and between splits. One column is in memory at a time.

Rows are examined by their place in the dataset: which ones is decided by their place and the seed alone, so an audit can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.contracts.audit import ColumnProbe, SplitProbe
from offline_feature_plane.corridor.dataset import Dataset
from offline_feature_plane.domain.suspicion import MOST_CODES, Probe, area, furthest, is_suspicious, key, threshold
from offline_feature_plane.kernels.separating import below, deal, distance, doubled_wins, doubled_wins_by_share, mix

__all__ = ["Examined", "Sample", "draw_sample", "probe_column"]

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Examined:
    """The examined rows of one split.

    Args:
        name: of the split.
        chosen: which of the sample's rows are of this split, by number.
        known: which of these have a target, by number among them.
        positive: which of the known ones are positive, by number among them.
        dealt: the same for each time that the target was dealt anew.
    """

    name: str
    chosen: Int64s
    known: Int64s
    positive: Int64s
    dealt: tuple[Int64s, ...]

    @property
    def positives(self) -> int:
        """How many are positive."""
        return len(self.positive)

    @property
    def negatives(self) -> int:
        """How many are negative."""
        return len(self.known) - len(self.positive)


@dataclass(frozen=True)
class Sample:
    """The places of the examined rows, ascending, and their splits."""

    places: Int64s
    splits: tuple[Examined, ...]


@dataclass(frozen=True)
class Values:
    """One column of the sample: each row's value by its number in their order, a null as one more number; and how it is looked at."""

    numbers: Int64s
    distinct: int
    is_text: bool
    is_code: bool

    def count(self, rows: Int64s) -> Int64s:
        """How many of these rows have each value, nulls last."""
        return np.bincount(self.numbers[rows], minlength=self.distinct + 1)


def draw_sample(dataset: Dataset, probe: Probe) -> Sample:
    """Read splits and targets, and choose the rows to examine.

    Raises:
        DigestMismatch: a file changed meanwhile.
    """
    core = dataset.manifest.core
    target = next((column.name for column in core.columns if column.role == "target"), None)
    limits = {split.name: threshold(split.rows, probe.most_rows) for split in core.splits}
    numbers = {name: number for number, name in enumerate(limits)}
    mixed, first = key(probe.seed, "sample"), 0
    places, homes, targets = [], [], []
    for batch in dataset.batches(columns=["split", *([target] if target else [])]):
        here = np.arange(first, first + batch.num_rows, dtype=np.int64)
        first += batch.num_rows
        words, split = mix(mixed, here), batch.column("split")
        for name, limit in limits.items():
            kept = np.flatnonzero(below(words, limit) & pc.equal(split, name).to_numpy(zero_copy_only=False))
            places.append(here[kept])
            homes.append(np.full(len(kept), numbers[name]))
            values = batch.column(target).take(pa.array(kept)) if target else pa.nulls(len(kept), pa.int8())
            targets.append(pc.fill_null(values, -1).to_numpy(zero_copy_only=False))
    if not places:
        return Sample(np.empty(0, np.int64), tuple(_examined(name, np.empty(0, np.int64), np.empty(0, np.int8), probe) for name in numbers))
    every, home, answer = np.concatenate(places), np.concatenate(homes), np.concatenate(targets)
    order = np.argsort(every)
    every, home, answer = every[order], home[order], answer[order]
    return Sample(every, tuple(_examined(name, np.flatnonzero(home == number), answer[home == number], probe)
                               for name, number in numbers.items()))


def probe_column(dataset: Dataset, name: str, sample: Sample, reference: str, probe: Probe) -> ColumnProbe:
    """What one feature column shows by itself in each split.

    Raises:
        DigestMismatch: a file changed meanwhile.
    """
    values = _read(dataset, name, sample.places)
    counts = {split.name: values.count(split.chosen) for split in sample.splits}
    found = []
    for split in sample.splits:
        rows, first = counts[split.name], counts[reference]
        far = None if split.name == reference else distance((first[:-1], first[-1:]), (rows[:-1], rows[-1:]), ordered=not values.is_text)
        one, by_chance = _against_target(values, split)
        found.append(SplitProbe(
            split=split.name, null_share=_told(int(rows[-1]) / len(split.chosen)) if len(split.chosen) else None, area=_told(one),
            area_by_chance=_told(furthest(by_chance) if by_chance else None),
            suspicious=one is not None and is_suspicious(one, by_chance, probe.suspicious),
            distance=_told(far), drifted=far is not None and far >= probe.drifted))
    kind = next(column.type for column in dataset.manifest.core.columns if column.name == name)
    return ColumnProbe(name=name, type=kind, splits=found)


def _examined(name: str, chosen: Int64s, target: npt.NDArray[np.int8], probe: Probe) -> Examined:
    known = np.flatnonzero(target >= 0)
    positive = np.flatnonzero(target[known] == 1)
    both = 0 < len(positive) < len(known)
    dealt = tuple(deal(key(probe.seed, f"deal {number} of {name}"), len(known), len(positive))
                  for number in range(probe.permutations if both else 0))
    return Examined(name, chosen, known, positive, dealt)


def _against_target(values: Values, split: Examined) -> tuple[float | None, list[float]]:
    """The area of a column, and its areas by chance; None without both classes."""
    if not split.positives or not split.negatives:
        return None, []
    known = split.chosen[split.known]
    rows = values.count(known)

    def _area(positive: Int64s) -> float:
        positives = values.count(known[positive])
        negatives = rows - positives
        wins = (doubled_wins_by_share(positives, negatives) if values.is_code else
                doubled_wins(positives[:-1], negatives[:-1], (int(positives[-1]), int(negatives[-1]))))
        return area(wins, split.positives, split.negatives) or 0.0

    return _area(split.positive), [_area(dealt) for dealt in split.dealt]


def _read(dataset: Dataset, name: str, places: Int64s) -> Values:
    """The examined values of a column."""
    parts, first = [], 0
    for batch in dataset.batches(columns=[name]):
        begin, end = np.searchsorted(places, (first, first + batch.num_rows))
        parts.append(batch.column(0).take(pa.array(places[begin:end] - first)))
        first += batch.num_rows
    column = pa.chunked_array(parts) if parts else pa.chunked_array([], pa.int8())
    if is_text := pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pa.chunked_array(column.dictionary_encode().unify_dictionaries())
        number = len(column.chunk(0).dictionary)
        indices = pa.chunked_array([chunk.indices for chunk in column.chunks])
        return Values(pc.fill_null(indices, number).to_numpy().astype(np.int64), number, is_text, is_code=True)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    elif pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    valid = column.is_valid().to_numpy()
    distinct, numbers = np.unique(column.drop_null().to_numpy(), return_inverse=True)
    codes = np.full(len(valid), len(distinct), dtype=np.int64)
    codes[valid] = numbers
    return Values(codes, len(distinct), is_text, is_code=pa.types.is_integer(column.type) and len(distinct) <= MOST_CODES)


def _told(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
