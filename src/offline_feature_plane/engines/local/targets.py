"""Targets of rows: what labels of one type say, several types combined, in numpy (`domain.combining`, `decisions.md` D24)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.combining import ANSWERS, INVERTED, Combination, Named
from offline_feature_plane.domain.rows import CombinedTarget, Target
from offline_feature_plane.engines.local.labels import STATUSES, ResolvedType
from offline_feature_plane.engines.local.sampled import UNKNOWN

__all__ = ["find_targets"]

Bools = npt.NDArray[np.bool_]
Int8s = npt.NDArray[np.int8]
Int64s = npt.NDArray[np.int64]

# An answer is its place in ANSWERS, so that `or` is the greatest of its operands.
_NEGATIVE, _UNLABELED, _CONFLICT, _POSITIVE = range(4)
_INVERTED = np.array([ANSWERS.index(INVERTED[one]) for one in ANSWERS], np.int8)
_TARGETS = np.array([0, UNKNOWN, UNKNOWN, 1], np.int8)


def find_targets(rows: Int64s, mature: Bools, target: Target | CombinedTarget | None,
                 labels: Mapping[str, ResolvedType]) -> tuple[Int8s, Bools, Bools]:
    """Each row's target, and which rows leave as unlabeled or in conflict. Immature rows never leave for their label (D25)."""
    if target is None:
        nothing = np.zeros(len(rows), dtype=np.bool_)
        return np.full(len(rows), UNKNOWN, dtype=np.int8), nothing, nothing
    said = {part.label_type: _answers(rows, mature, part, labels[part.label_type]) for part in target.parts}
    found = _combined(target.combine, said) if isinstance(target, CombinedTarget) else said[target.label_type]
    return _TARGETS[found], (found == _UNLABELED) & mature, (found == _CONFLICT) & mature


def _answers(rows: Int64s, mature: Bools, part: Target, states: ResolvedType) -> Int8s:
    """What one label type says of each row."""
    names = states.values.to_pylist()
    of_name = np.full(len(names) + 1, _UNLABELED, dtype=np.int8)
    for place, name in enumerate(names):
        if name in part.positive:
            of_name[place] = _POSITIVE
        elif part.negative is None or name in part.negative:
            of_name[place] = _NEGATIVE
    status = states.status[rows]
    found = np.full(len(rows), _UNLABELED, dtype=np.int8)
    resolved = status == STATUSES.index("RESOLVED")
    found[resolved] = of_name[states.value[rows][resolved]]
    found[status == STATUSES.index("CONFLICT")] = _CONFLICT
    if part.unlabeled == "negative_when_mature":
        found[(status == STATUSES.index("NOT_FOUND")) & mature] = _NEGATIVE
    return found


def _combined(combination: Combination, said: Mapping[str, Int8s]) -> Int8s:
    if isinstance(combination, Named):
        answers = said[combination.label_type]
        return _INVERTED[answers] if combination.inverted else answers
    found = [_combined(one, said) for one in combination.operands]
    if combination.word == "or":
        return reduce(np.maximum, found)
    return _INVERTED[reduce(np.maximum, [_INVERTED[one] for one in found])]
