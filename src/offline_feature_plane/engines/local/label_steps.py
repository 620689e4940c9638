"""The law of label resolution over columns: what is kept, and the steps of every event (`decisions.md` D22).

```
   one event's assertions, by entry = max(observed, effective)
        A: AUTO FRAUD      B: HUMAN LEGIT      C: AUTO FRAUD
   ─────●──────────────────●───────────────────●─────────────▶ cut
   NOT_FOUND    FRAUD              LEGIT  (HUMAN outranks AUTO)
```

Ranks are made dense over all events, (event, rank) ascending: so the running maximum in the order (event, entry) is each event's own best
rank so far, and starts anew with each event by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.resolution import SOURCES, Assertion, Rule, standing, status_changes
from offline_feature_plane.engines.local.label_columns import AssertionColumns
from offline_feature_plane.engines.local.label_names import Links, Names, find_links
from offline_feature_plane.kernels.timelines import MOST, follow, order_by_subject, order_within

Int64s = npt.NDArray[np.int64]

NOT_FOUND, RESOLVED, CONFLICT = 0, 1, 2
_STEP = ("position", "at", "status", "value", "observed", "assertion")
_STEPS = {"source": 1, "observed": 2, "effective": 3, "-observed": -2, "-effective": -3}  # as `timelines.follow` takes them
_MISSING = np.int64(2**62)  # a missing id sorts last


@dataclass(frozen=True)
class Eligible:
    """Assertions that are eligible at the as-of: row in the file columns, event position, instants in µs; all of one length."""

    row: Int64s
    position: Int64s
    observed: Int64s
    effective: Int64s
    entry: Int64s

    def take(self, places: Any, position: Int64s | None = None) -> Eligible:
        """Some of them, chosen by a mask or by places; their positions may be known already."""
        observed = self.observed[places]
        effective = observed if self.effective is self.observed else self.effective[places]
        entry = observed if self.entry is self.observed else self.entry[places]
        return Eligible(self.row[places], self.position[places] if position is None else position, observed, effective, entry)


@dataclass(frozen=True)
class Steps:
    """Changes of resolution, sorted by event position, then instant.

    From `at` µs on the event at `position` has `status` (0 NOT_FOUND, 1 RESOLVED, 2 CONFLICT); where RESOLVED, `value` is its code,
    `observed` the µs and `assertion` the file row of the assertion that says so; elsewhere −1, 0, −1.
    """

    position: Int64s
    at: Int64s
    status: npt.NDArray[np.int8]
    value: npt.NDArray[np.int32]
    observed: Int64s
    assertion: npt.NDArray[np.int32]

    def take(self, places: Any) -> Steps:
        """Some of them, chosen by a slice, a mask or by places."""
        return Steps(*(getattr(self, name)[places] for name in _STEP))

    def are_last(self, until: Int64s | None = None) -> npt.NDArray[np.bool_]:
        """Which of them is the last one of its event, as a mask; with `until`, an instant of each event, the last one by then."""
        last = np.ones(len(self.position), np.bool_)
        last[:-1] = self.position[1:] != self.position[:-1]
        if until is None:
            return last
        known = self.at <= until
        last[:-1] |= ~known[1:]
        return last & known


def joined_steps(parts: Sequence[Steps]) -> Steps:
    """Steps of events that follow each other, as one."""
    return Steps(*(np.concatenate([getattr(part, name) for part in parts]) for name in _STEP))


def keep_in_order(found: Eligible, columns: AssertionColumns, n: int) -> Eligible:
    """Each distinct assertion once, in slice order: by event, of which there are n, then as `domain.label_slice.slice_order`."""
    if (found.position[1:] > found.position[:-1]).all():
        return found
    source, value = columns.source[found.row], columns.value[found.row]
    (order, position), left = order_by_subject(found.position, n), np.zeros(len(found.row), np.bool_)
    if not order_within(order, position, found.observed, found.effective, source, value, MOST, left):
        return found.take(order, position)
    many = order[left]
    keys = _telling([found.position[many], found.observed[many], found.effective[many], source[many].astype(np.int64),
                     value[many].astype(np.int64)])
    by = np.lexsort(keys[::-1])
    fresh = _differ(keys, by)
    if not fresh.all():  # only then do ids tell them apart
        keys = _telling([*keys, _id_ranks(columns.ids, found.row[many]), _id_ranks(columns.supersedes, found.row[many])])
        by = np.lexsort(keys[::-1])
        fresh = _differ(keys, by)
    order[left], kept = many[by], np.ones(len(order), np.bool_)
    kept[left] = fresh
    return found.take(order[kept], position[kept])


def resolve_steps(label_type: str, kept: Eligible, columns: AssertionColumns, links: Links, rule: Rule, asof_us: int) -> Steps:
    """The resolution of every event as a step function of the cut, up to an as-of.

    A link changes nothing if what it drops is not there, or ranks below what drops it: it is then never among the highest at a cut, for
    the other is eligible and higher. Most links are corrections, which are later or come from someone stronger. No circle is like that,
    for ranks would have to rise all around it. So only events with other links, or with one id twice, go one by one through the law.

    Raises:
        LabelTimelineInconsistent: a cycle of supersession, or an id with two contents.
    """
    lawful = _whole_subjects(kept, links, ~_outrank(kept, columns, rule.ladder, links.link, links.target))
    found = _ranked_steps(kept, columns, rule, lawful)
    return _merge(found, _lawful_steps(label_type, kept.take(lawful), columns, rule, asof_us)) if lawful.any() else found


def resolve_eras(label_type: str, field: str, kept: Eligible, columns: AssertionColumns, names: Names, rule: Rule,
                 asof_us: int) -> Steps:
    """What events carry of their entity, which a field holds, as of an as-of, as a step function of their instant.

    Positions are numbers of entities.

    Every link counts, whatever ranks say: what is superseded stands for no event, also not for those before the other is effective
    (`domain.entity_labels`). Links to what was observed earlier make no circle; entities with others, or with one id twice, go one by one
    through the law.

    Raises:
        LabelTimelineInconsistent: a cycle of supersession, or an id with two contents.
    """
    known = kept.entry <= asof_us
    kept = kept if known.all() else kept.take(known)
    links = find_links(kept, columns, names)
    lawful = _whole_subjects(kept, links, kept.observed[links.link] <= kept.observed[links.target])
    stands = ~lawful
    stands[links.target] = False
    if lawful.any():
        of_entity = _assertions_of(label_type, kept.take(lawful), columns, field)
        rows = [said[one] for said in of_entity.values() for one in standing(said, asof_us)]
        stands |= np.isin(kept.row, np.array(rows, np.int64)) & lawful
    found = kept if stands.all() else kept.take(stands)
    return _ranked_steps(replace(found, entry=found.effective), columns, rule, np.zeros(len(found.row), np.bool_))


def _differ(keys: Sequence[Int64s], order: Int64s) -> npt.NDArray[np.bool_]:
    """Which rows, in an order, differ from the one before in any key."""
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
    return fresh


def _telling(keys: list[Int64s]) -> list[Int64s]:
    """Sort keys without those that are equal everywhere or repeat another one; the first always stays."""
    return [key for place, key in enumerate(keys)
            if place == 0 or ((key != key[0]).any() and not any(key is other for other in keys[:place]))]


def _merge(steps: Steps, others: Steps) -> Steps:
    """Steps of two sets of events that share none, by position."""
    places = np.searchsorted(steps.position, others.position) + np.arange(len(others.position))
    among = np.ones(len(steps.position) + len(places), np.bool_)
    among[places] = False

    def merged(name: str) -> npt.NDArray[Any]:
        found = np.empty(len(among), getattr(steps, name).dtype)
        found[among], found[places] = getattr(steps, name), getattr(others, name)
        return found
    return Steps(*map(merged, _STEP))


def _id_ranks(ids: pa.Array | None, rows: Int64s) -> Int64s:
    """Ranks of some rows' ids by UTF-8 bytes; a missing one last."""
    if ids is None:
        return np.full(len(rows), _MISSING, np.int64)
    taken = ids.take(pa.array(rows))
    ranks = pc.rank(taken, sort_keys="ascending", tiebreaker="dense").to_numpy().astype(np.int64)
    return np.where(taken.is_valid().to_numpy(zero_copy_only=False), ranks, _MISSING)


def _whole_subjects(kept: Eligible, links: Links, strange: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Everything that is said of subjects with one id twice, or with a strange link."""
    marked = links.twice.copy()
    marked[links.link[strange]] = True
    if not marked.any():
        return marked
    subject = np.zeros(len(marked), np.int64)
    np.cumsum(kept.position[1:] != kept.position[:-1], out=subject[1:])
    bad = np.zeros(int(subject[-1]) + 1, np.bool_)
    bad[subject[marked]] = True
    return bad[subject]


def _outrank(kept: Eligible, columns: AssertionColumns, ladder: Sequence[str], these: Int64s, those: Int64s) -> npt.NDArray[np.bool_]:
    """Which assertions rank above others, pair by pair, by what a rule compares, the strongest first."""
    above, level = np.zeros(len(these), np.bool_), np.ones(len(these), np.bool_)
    for mine, other in zip(_ladder(kept.take(these), columns, ladder), _ladder(kept.take(those), columns, ladder), strict=True):
        above |= level & (mine > other)
        level &= mine == other
    return above


def _ladder(of: Eligible, columns: AssertionColumns, ladder: Sequence[str]) -> list[Int64s]:
    """What a rule compares; greater wins."""
    parts = {"source": -columns.source[of.row].astype(np.int64), "observed": of.observed, "effective": of.effective}
    return [-parts[step[1:]] if step.startswith("-") else parts[step] for step in ladder]


def _ranked_steps(kept: Eligible, columns: AssertionColumns, rule: Rule, without: npt.NDArray[np.bool_]) -> Steps:
    """Steps of subjects whose assertions ranks settle; all of them but some."""
    winner, at, left = np.empty(len(kept.row), np.int64), np.empty(len(kept.row), np.int64), without.copy()
    steps = np.array([_STEPS[step] for step in rule.ladder], np.int64)
    count = follow(kept.position, kept.entry, columns.source[kept.row], kept.observed, kept.effective, steps, left, MOST, winner, at)
    best = kept.take(winner[:count])
    found = Steps(best.position, at[:count], np.full(count, RESOLVED, np.int8), columns.value[best.row], best.observed,
                  best.row.astype(np.int32))
    tied = left & ~without
    return _merge(found, _steps_by_ranks(kept.take(tied), columns, rule)) if tied.any() else found


def _steps_by_ranks(many: Eligible, columns: AssertionColumns, rule: Rule) -> Steps:
    """As `_ranked_steps`, of subjects with ties or with very many assertions, by dense ranks."""
    value = columns.value[many.row]
    ranks = _telling([many.position, *_ladder(many, columns, rule.ladder)])
    by_rank = np.lexsort(ranks[::-1])
    starts = _differ(ranks, by_rank)
    if not starts.all():  # the smallest id of a rank comes first
        by_rank = np.lexsort(_telling([*ranks, _id_ranks(columns.ids, many.row)])[::-1])
        starts = _differ(ranks, by_rank)
    first = np.flatnonzero(starts)
    conflict = np.minimum.reduceat(value[by_rank], first) != np.maximum.reduceat(value[by_rank], first)
    named = by_rank[first]  # the smallest id of each rank
    dense = np.empty(len(by_rank), np.int64)
    dense[by_rank] = np.cumsum(starts) - 1
    by_entry = np.lexsort((many.entry, many.position))
    position, entry = many.position[by_entry], many.entry[by_entry]
    best = np.maximum.accumulate(dense[by_entry])
    settled = np.ones(len(by_entry), np.bool_)
    settled[:-1] = (position[1:] != position[:-1]) | (entry[1:] != entry[:-1])
    position, entry, best = position[settled], entry[settled], best[settled]
    status = np.where(conflict[best], CONFLICT, RESOLVED).astype(np.int8)
    changed = np.ones(len(best), np.bool_)
    changed[1:] = (position[1:] != position[:-1]) | ((best[1:] != best[:-1]) & ((status[1:] != CONFLICT) | (status[:-1] != CONFLICT)))
    position, entry, status, winner = position[changed], entry[changed], status[changed], named[best[changed]]
    answered = status == RESOLVED
    return Steps(position, entry, status, np.where(answered, value[winner], -1).astype(np.int32),
                 np.where(answered, many.observed[winner], 0), np.where(answered, many.row[winner], -1).astype(np.int32))


def _lawful_steps(label_type: str, few: Eligible, columns: AssertionColumns, rule: Rule, asof_us: int) -> Steps:
    """Steps of events whose assertions go one by one through the law itself."""
    code = {text: place for place, text in enumerate(columns.values)}
    found: list[tuple[int, int, int, int, int, int]] = []
    for position, assertions in _assertions_of(label_type, few, columns).items():
        for at, now in status_changes(assertions, asof_us, rule.id):
            if now.status == "RESOLVED":
                row = next(row for one, row in assertions.items() if one.assertion_id == now.assertion_id
                           and one.value == now.value and one.observed_us == now.observed_us)
                found.append((position, at, RESOLVED, code[now.value or ""], now.observed_us or 0, row))
            else:
                found.append((position, at, CONFLICT, -1, 0, -1))
    table = np.array(found, np.int64).reshape(-1, 6).T
    return Steps(table[0], table[1], table[2].astype(np.int8), table[3].astype(np.int32), table[4], table[5].astype(np.int32))


def _assertions_of(label_type: str, few: Eligible, columns: AssertionColumns,
                   entity_field: str | None = None) -> dict[int, dict[Assertion, int]]:
    """By position, some assertions as the law takes them, each with its row."""
    rows = pa.array(few.row)
    texts = [[None] * len(few.row) if ids is None else ids.take(rows).to_pylist() for ids in (columns.ids, columns.supersedes)]
    subjects = columns.subjects[few.row].tolist() if isinstance(columns.subjects, np.ndarray) else columns.subjects.take(rows).to_pylist()
    said: dict[int, dict[Assertion, int]] = {}
    for place, (position, row) in enumerate(zip(few.position.tolist(), few.row.tolist(), strict=True)):
        one = Assertion(subjects[place], label_type, columns.values[columns.value[row]], int(few.observed[place]),
                        int(few.effective[place]), SOURCES[columns.source[row]], texts[0][place], texts[1][place],
                        entity_field=entity_field)
        said.setdefault(position, {})[one] = row
    return said
