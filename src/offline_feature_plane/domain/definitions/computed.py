"""Computed columns: row features over the subject's fields, derived columns over all columns, and what these give away."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any

from offline_feature_plane.domain.closure import Computed, Group, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.definitions.diagnostics import MARKS, RESERVED, Diagnostics
from offline_feature_plane.domain.definitions.groups import MAX_COLUMNS
from offline_feature_plane.domain.definitions.sources import scope_of
from offline_feature_plane.domain.expressions import Binary, Call, Name, Negate, Node
from offline_feature_plane.domain.grammar import parse, read_names
from offline_feature_plane.errors import ExpressionInvalid, FeatureProfileInvalid

__all__ = ["resolve_computed"]

MAX_LINKS = 8


def resolve_computed(profile: Mapping[str, Any], subject: Source, groups: Iterable[Group], chosen: Mapping[str, Any],
                     said: Diagnostics) -> tuple[tuple[Computed, ...], tuple[Computed, ...]]:
    """A set's row features and derived columns over one subject; problems are noted in `said`."""
    identifiers = {item.name: item.identifier for item in subject.fields}
    row_features: list[Computed] = []
    wanted = {kind: frozenset(chosen[kind]) for kind in ("row_features", "derived")}
    if (count := sum(map(len, wanted.values()))) > MAX_COLUMNS:
        said.note("$.derived", FeatureProfileInvalid, f"there are {count:,} computed columns; the limit is {MAX_COLUMNS:,}")
        return (), ()
    for name in (name for name in profile["row_features"] if name in wanted["row_features"]):
        made = _computed(f"$.row_features.{name}", name, profile["row_features"][name], scope_of(subject), identifiers, said)
        row_features += [made] if made else []
    scope, hidden = scope_of(subject), dict(identifiers)
    for group in groups:
        scope |= {feature.column: feature.type for feature in group.features}
        hidden |= {feature.column: feature.identifier for feature in group.features}
    for one in row_features:
        scope[one.column], hidden[one.column] = one.type, one.identifier
    waiting = [name for name in profile["derived"] if name in wanted["derived"]]
    for name in waiting:
        if name in profile["row_features"]:
            said.note(f"$.derived.{name}", FeatureProfileInvalid, f"the column {name} is already a row feature")
    return tuple(row_features), tuple(_derived(profile, waiting, scope, hidden, said))


def _derived(profile: Mapping[str, Any], names: Sequence[str], scope: dict[str, ColumnType], hidden: dict[str, str | None],
             said: Diagnostics) -> list[Computed]:
    """Each column after those that it reads, else in the order of the profile."""
    made: list[Computed] = []
    place = {name: number for number, name in enumerate(names)}
    missing = {name: read_names(profile["derived"][name]["expression"]) & place.keys() for name in names}
    readers: dict[str, list[str]] = {}
    for name, needed in missing.items():
        for other in needed:
            readers.setdefault(other, []).append(name)
    ready = [place[name] for name, needed in missing.items() if not needed]  # ascending, so a heap
    while ready:
        name = names[heappop(ready)]
        del missing[name]
        one = _computed(f"$.derived.{name}", name, profile["derived"][name], scope, hidden, said)
        if one is not None:
            made.append(one)
            scope[name], hidden[name] = one.type, one.identifier
        for reader in readers.get(name, ()):
            missing[reader] -= {name}
            if not missing[reader]:
                heappush(ready, place[reader])
    if missing:
        cycle = _cycle(missing, place)
        links = [f"{one} reads {after}" for one, after in pairwise([*cycle, cycle[0]])]
        shown = links if len(links) <= MAX_LINKS else [*links[:MAX_LINKS - 2], "…", links[-1]]
        hides = f"; a derived column hides the field of its name: give {cycle[0]} another" if cycle[0] in scope else ""
        said.note(f"$.derived.{cycle[0]}", FeatureProfileInvalid,
                  f"derived columns depend on each other in a cycle: {', '.join(shown)}{hides}")
    return made


def _computed(path: str, name: str, spec: Mapping[str, Any], scope: Mapping[str, ColumnType],
              identifiers: Mapping[str, str | None], said: Diagnostics) -> Computed | None:
    said.name(path, name, RESERVED | MARKS)
    expression = said.attempt(path, lambda: parse(spec["expression"], scope, where=path))
    if expression is None:
        return None
    identifier = said.attempt(path, lambda: _identifier(expression.root, identifiers))
    return Computed(name, expression, expression.type, identifier, spec.get("meaning") or "")


def _cycle(missing: Mapping[str, Collection[str]], place: Mapping[str, int]) -> list[str]:
    """Names that read each other in a circle, the first of the profile first; `missing` is what each of some names waits for."""
    way = [next(iter(missing))]
    while (after := min(missing[way[-1]], key=place.__getitem__)) not in way:
        way.append(after)
    circle = way[way.index(after):]
    first = circle.index(min(circle, key=place.__getitem__))
    return circle[first:] + circle[:first]


def _identifier(node: Node, identifiers: Mapping[str, str | None]) -> str | None:
    """The entity whose identifiers an expression gives out, if any; so that no raw identifier leaves by a computed column (D12).

    Raises:
        ExpressionInvalid: identifiers of two entities in one column, or arithmetic on identifiers.
    """
    match node:
        case Name(name=name):
            return identifiers.get(name)
        case Call(function="coalesce", arguments=many):
            entities = {entity for one in many if (entity := _identifier(one, identifiers)) is not None}
            if len(entities) > 1:
                raise ExpressionInvalid(f"one column would hold identifiers of {' and '.join(sorted(entities))}.", fix="Make two columns.")
            return next(iter(entities), None)
        case Call(function="abs", arguments=operands):
            pass
        case Negate(operand=one):
            operands = (one,)
        case Binary(left=left, right=right):
            operands = (left, right)
        case _:
            return None
    if entity := next((entity for one in operands if (entity := _identifier(one, identifiers)) is not None), None):
        raise ExpressionInvalid(f"arithmetic on an identifier of {entity} would reveal it.",
                                fix="Declare `identifier: none` if it is a number.")
    return None
