"""The law of label resolution over columns: what is kept, its slice digest, and the steps of every event (`decisions.md` D22).

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

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.label_slice import TypeSlice
from offline_feature_plane.domain.resolution import SOURCES, Assertion, Rule, standing, status_changes
from offline_feature_plane.engines.local.label_columns import AssertionColumns
from offline_feature_plane.kernels.leafhash import hash_fixed, hash_strings

Int64s = npt.NDArray[np.int64]

NOT_FOUND, RESOLVED, CONFLICT = 0, 1, 2
_STEP = ("position", "at", "status", "value", "observed", "assertion")
_FEW = 8  # labels are few if there are so many times more events
_MISSING = np.int64(2**62)  # a missing id sorts last


@dataclass(frozen=True)
class Eligible:
    """Assertions that are eligible at the as-of: row in the file columns, event position, instants in µs; all of one length."""

    row: Int64s
    position: Int64s
    observed: Int64s
    effective: Int64s
    entry: Int64s

    def take(self, places: Any) -> Eligible:
        """Some of them, chosen by a mask or by places."""
        observed = self.observed[places]
        effective = observed if self.effective is self.observed else self.effective[places]
        entry = observed if self.entry is self.observed else self.entry[places]
        return Eligible(self.row[places], self.position[places], observed, effective, entry)


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
    """Each distinct assertion once, in slice order: by event, then as `domain.label_slice.slice_order`."""
    if (found.position[1:] > found.position[:-1]).all():
        return found
    if _FEW * len(found.position) < n:  # what follows takes memory per event, so count the labelled ones only
        positions, dense = np.unique(found.position, return_inverse=True)
        kept = keep_in_order(replace(found, position=dense), columns, len(positions))
        return replace(kept, position=positions[kept.position])
    place = np.full(n, -1, np.int32)
    place[found.position] = np.arange(len(found.row), dtype=np.int32)
    hidden = place[found.position] != np.arange(len(found.row), dtype=np.int32)
    if not hidden.any():
        return found.take(place[place >= 0])
    several = np.zeros(n, np.bool_)
    several[found.position[hidden]] = True
    place[several] = -1
    alone, many = place[place >= 0], np.flatnonzero(several[found.position])
    rows = found.row[many]
    keys = _telling([found.position[many], found.observed[many], found.effective[many], columns.source[rows].astype(np.int64),
                     columns.value[rows].astype(np.int64)])
    order = np.lexsort(keys[::-1])
    fresh = _differ(keys, order)
    if not fresh.all():  # only then do ids tell them apart
        keys = _telling([*keys, _id_ranks(columns.ids, rows), _id_ranks(columns.supersedes, rows)])
        order = np.lexsort(keys[::-1])
        fresh = _differ(keys, order)
    many = many[order][fresh]
    return found.take(np.insert(alone, np.searchsorted(found.position[alone], found.position[many]), many))


def resolve_steps(label_type: str, kept: Eligible, columns: AssertionColumns, rule: Rule, asof_us: int) -> Steps:
    """The resolution of every event as a step function of the cut, up to an as-of.

    Raises:
        LabelTimelineInconsistent: a cycle of supersession, or an id with two contents.
    """
    apart = kept.position[1:] != kept.position[:-1]
    single = np.ones(len(kept.row), np.bool_)
    single[1:] &= apart
    single[:-1] &= apart
    one_by_one = _needs_law(kept, columns, single, _ladder(kept, columns, rule))
    plain, ranked = single & ~one_by_one, ~single & ~one_by_one
    rows = kept.row if plain.all() else kept.row[plain]
    alone = Steps(kept.position[plain], kept.entry[plain], np.full(len(rows), RESOLVED, np.int8), columns.value[rows], kept.observed[plain],
                  rows.astype(np.int32))
    if ranked.any():
        alone = _merge(alone, _ranked_steps(kept.take(ranked), columns, rule))
    if one_by_one.any():
        alone = _merge(alone, _lawful_steps(label_type, kept.take(one_by_one), columns, rule, asof_us))
    return alone


def resolve_eras(label_type: str, kept: Eligible, columns: AssertionColumns, rule: Rule, asof_us: int) -> Steps:
    """What an entity's events carry, as of an as-of, as a step function of their instant; positions are numbers of entities.

    Every link counts, whatever ranks say: what is superseded stands for no event, also not for those before the other is effective
    (`domain.entity_labels`).

    Raises:
        LabelTimelineInconsistent: a cycle of supersession, or an id with two contents.
    """
    known = kept.entry <= asof_us
    kept = kept if known.all() else kept.take(known)
    linked = _needs_law(kept, columns, np.zeros(len(kept.row), np.bool_), ())
    stands = ~linked
    if linked.any():
        of_entity = _assertions_of(label_type, kept.take(linked), columns)
        rows = [said[one] for said in of_entity.values() for one in standing(said, asof_us)]
        stands |= np.isin(kept.row, np.array(rows, np.int64)) & linked
    if not stands.any():
        nothing = np.empty(0, np.int64)
        return Steps(nothing, nothing, nothing.astype(np.int8), nothing.astype(np.int32), nothing, nothing.astype(np.int32))
    found = kept.take(stands)
    return _ranked_steps(replace(found, entry=found.effective), columns, rule)


def hash_slice(label_type: str, kept: Eligible, columns: AssertionColumns, id_type: ColumnType) -> TypeSlice:
    """`domain.label_slice.slice_of` over columns, which are those of `kept`; the texts are never Python objects."""
    integer = isinstance(columns.subjects, np.ndarray)
    framed = pa.array([len(text.encode()).to_bytes(4, "little") + text.encode() for text in columns.values], pa.binary())
    sources = pa.array([len(text).to_bytes(4, "little") + text.encode() for text in SOURCES], pa.binary())
    with ThreadPoolExecutor(2) as pool:  # hashing lets go of the interpreter
        jobs = [pool.submit(hash_fixed if integer else _hash_texts, columns.subjects), pool.submit(_hash_coded, framed, columns.value),
                pool.submit(hash_fixed, kept.observed), pool.submit(hash_fixed, kept.effective),
                pool.submit(_hash_coded, sources, columns.source),
                *(pool.submit(_hash_texts, columns.n if texts is None else texts) for texts in (columns.ids, columns.supersedes))]
        return TypeSlice(label_type, len(kept.row), ColumnType("int64") if integer else id_type, tuple(job.result() for job in jobs))


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


def _needs_law(kept: Eligible, columns: AssertionColumns, single: npt.NDArray[np.bool_],
               ladder: Sequence[Int64s]) -> npt.NDArray[np.bool_]:
    """Where an event has one id twice, or a supersession link that may change what ranks alone would say: its assertions go one by one.

    A link changes nothing if what it drops is not there, or ranks below what drops it: it is then never among the highest at a cut, for
    the other is eligible and higher. Most links are corrections, which are later or come from someone stronger. No circle is like that,
    for ranks would have to rise all around it.
    """
    nobody = np.zeros(len(kept.row), np.bool_)
    if columns.ids is None:  # nothing can be named
        return nobody
    linked = nobody if columns.supersedes is None else columns.supersedes.is_valid().to_numpy(zero_copy_only=False)[kept.row]
    links, some = np.flatnonzero(linked), np.flatnonzero(linked | ~single)
    texts = [columns.ids.take(pa.array(kept.row[some]))]
    if columns.supersedes is not None:
        texts.append(columns.supersedes.take(pa.array(kept.row[links])))
    codes = pa.concat_arrays(texts).dictionary_encode().indices.fill_null(-1).to_numpy().astype(np.int64)
    some, named = some[codes[:len(some)] >= 0], codes[:len(some)][codes[:len(some)] >= 0]
    if not len(some):
        return nobody
    width = len(codes) + 1
    events, of = np.unique(kept.position[np.concatenate([some, links])], return_inverse=True)
    name, sought = of[:len(some)] * width + named, of[len(some):] * width + codes[len(codes) - len(links):]
    order = np.argsort(name)
    name, some = name[order], some[order]
    suspect = np.zeros(len(events), np.bool_)
    suspect[of[:len(some)][order][1:][name[1:] == name[:-1]]] = True
    found = np.minimum(np.searchsorted(name, sought), len(name) - 1)
    suspect[of[len(some):][(name[found] == sought) & ~_outrank(ladder, links, some[found])]] = True
    return np.isin(kept.position, events[suspect]) if suspect.any() else nobody


def _outrank(ladder: Sequence[Int64s], these: Int64s, those: Int64s) -> npt.NDArray[np.bool_]:
    """Which rows rank above others, pair by pair."""
    above, level = np.zeros(len(these), np.bool_), np.ones(len(these), np.bool_)
    for part in ladder:
        above |= level & (part[these] > part[those])
        level &= part[these] == part[those]
    return above


def _ladder(of: Eligible, columns: AssertionColumns, rule: Rule) -> list[Int64s]:
    """What a rule compares, the strongest first; greater wins."""
    parts = {"source": -columns.source[of.row].astype(np.int64), "observed": of.observed, "effective": of.effective}
    return [-parts[step[1:]] if step.startswith("-") else parts[step] for step in rule.ladder]


def _ranked_steps(many: Eligible, columns: AssertionColumns, rule: Rule) -> Steps:
    """Steps of subjects whose assertions ranks settle, by dense ranks."""
    value = columns.value[many.row]
    ranks = _telling([many.position, *_ladder(many, columns, rule)])
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


def _assertions_of(label_type: str, few: Eligible, columns: AssertionColumns) -> dict[int, dict[Assertion, int]]:
    """By position, some assertions as the law takes them, each with its row."""
    rows = pa.array(few.row)
    texts = [[None] * len(few.row) if ids is None else ids.take(rows).to_pylist() for ids in (columns.ids, columns.supersedes)]
    subjects = columns.subjects[few.row].tolist() if isinstance(columns.subjects, np.ndarray) else columns.subjects.take(rows).to_pylist()
    said: dict[int, dict[Assertion, int]] = {}
    for place, (position, row) in enumerate(zip(few.position.tolist(), few.row.tolist(), strict=True)):
        one = Assertion(subjects[place], label_type, columns.values[columns.value[row]], int(few.observed[place]),
                        int(few.effective[place]), SOURCES[columns.source[row]], texts[0][place], texts[1][place])
        said.setdefault(position, {})[one] = row
    return said


def _hash_coded(framed: pa.Array, codes: npt.NDArray[Any]) -> str:
    """The digest of a text column without nulls from codes into texts that already carry their lengths."""
    digest = hashlib.sha256(np.ones(len(codes), np.uint8).data)
    for start in range(0, len(codes), 1 << 20):
        part = framed.take(pa.array(codes[start:start + (1 << 20)]))
        offsets = np.frombuffer(part.buffers()[1], np.int32)
        digest.update(memoryview(part.buffers()[2])[offsets[0]:offsets[len(part)]])
    return f"sha256:{digest.hexdigest()}"


def _hash_texts(texts: pa.Array | int) -> str:
    """The digest of a column of texts, or of so many that are all missing."""
    if isinstance(texts, int):
        return hash_strings(np.zeros(texts + 1, np.int32), np.empty(0, np.uint8), np.zeros(texts, np.bool_))
    valid = texts.is_valid().to_numpy(zero_copy_only=False) if texts.null_count else None
    data = texts.buffers()[2]
    return hash_strings(np.frombuffer(texts.buffers()[1], np.int64)[texts.offset:texts.offset + len(texts) + 1],
                        np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8), valid)
