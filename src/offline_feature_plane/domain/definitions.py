"""What a profile's definitions mean: sources, groups, sets and computed columns resolved and typed, every problem noted with its place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any, TypeVar

from offline_feature_plane.domain.aggregations import aggregation_kind
from offline_feature_plane.domain.calls import parse_aggregation
from offline_feature_plane.domain.closure import Aggregation, Computed, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.expressions import Binary, Call, Expression, Name, Negate, Node
from offline_feature_plane.domain.extraction import convert, missing_value
from offline_feature_plane.domain.grammar import parse, parse_condition, read_names
from offline_feature_plane.domain.instants import parse_duration
from offline_feature_plane.domain.sampling import unit_text
from offline_feature_plane.domain.tokenizing import KEYWORDS
from offline_feature_plane.domain.typing_rules import TIMESTAMP
from offline_feature_plane.domain.window_texts import parse_window
from offline_feature_plane.errors import (
    AggregationUnsupported,
    ExpressionInvalid,
    FeatureProfileInvalid,
    LabelTypeScopeUnresolved,
    NumericOverflow,
    OfsError,
    Problem,
    ReplayEventInvalid,
)

__all__ = ["MAX_COLUMNS", "Definitions", "field_names", "scope_of"]

MAX_COLUMNS, MAX_WINDOWS, MAX_KEY_FIELDS, MAX_PROBLEMS, MAX_LINKS = 10_000, 64, 8, 1_000, 8
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,31}")
RESERVED = KEYWORDS | {"ts", "event_id"}
MARKS = frozenset({"event_id", "ts", "target", "split", "mature", "cold", "weight"})

_T = TypeVar("_T")


def _written(raw: Any) -> Any:
    """A constant as text, whatever the document's parser made of it."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return repr(raw) if isinstance(raw, float) else str(raw)


def field_names(source: Source) -> list[str]:
    """The names of a source's fields."""
    return [item.name for item in source.fields]


def scope_of(source: Source) -> dict[str, ColumnType]:
    """The names that a condition over a source may read: its fields and `ts`."""
    return {**{item.name: item.type for item in source.fields}, "ts": TIMESTAMP}


def _constant(raw: Any, kind: ColumnType, read: Callable[[], _T]) -> _T:
    """A constant of the profile as a value of its type. Raises ValueError: it is none."""
    try:
        return read()
    except (ReplayEventInvalid, NumericOverflow):
        raise ValueError(f"{_written(raw)!r} is no {kind}; write a value of that type") from None


def _field_advice(name: str, source: Source) -> str:
    """What to say about a key field that does not exist."""
    if "," in name:
        return f"write several fields as a list: [{name}]"
    near = get_close_matches(name, field_names(source), 1)
    return f"did you mean {near[0]}?" if near else f"it has {', '.join(field_names(source)) or 'none'}"


@dataclass
class Definitions:
    """Walks a profile once, noting problems and keeping what is sound.

    `label_types` are those that have a timeline, `supports` tells which aggregations the engine computes; None leaves them unchecked.
    """

    profile: Mapping[str, Any]
    label_types: Collection[str] | None
    supports: Callable[[str], bool] | None = None
    problems: list[Problem] = field(default_factory=list)

    def note(self, path: str, kind: type[OfsError], sentence: str) -> None:
        """Remember a problem."""
        self.problems.append(Problem(path, kind.code, sentence))

    def attempt(self, path: str, act: Callable[[], _T], kind: type[OfsError] = FeatureProfileInvalid) -> _T | None:
        """The value of `act`, or None with its refusal noted; None at once when there are more problems than anybody reads."""
        if len(self.problems) > MAX_PROBLEMS:
            return None
        try:
            return act()
        except OfsError as wrong:
            known = isinstance(wrong, ExpressionInvalid | AggregationUnsupported)
            self.note(path, type(wrong) if known else kind, f"{wrong.what} {wrong.fix}".strip())
        except ValueError as wrong:
            self.note(path, kind, str(wrong))
        return None

    def name(self, path: str, name: str, reserved: Collection[str] = RESERVED) -> None:
        """Note a name that is none."""
        if not NAME.fullmatch(name) or len(name) > 64:
            self.note(path, FeatureProfileInvalid,
                      f"{name!r} is not a valid name; use lower-case letters, digits and single underscores, at most 64")
        elif name in reserved:
            self.note(path, FeatureProfileInvalid, f"{name!r} is a reserved word")

    def sources(self) -> dict[str, Source]:
        """The sources with their typed fields."""
        keys = {name for group in self.profile["feature_groups"] for name in group["key"]}
        found, owner = {}, dict[str, str]()
        for name, one in self.profile["sources"].items():
            path = f"$.sources.{name}"
            self.name(path, name)
            for event_type in one["event_types"]:
                if owner.setdefault(event_type, name) != name:
                    self.note(f"{path}.event_types", FeatureProfileInvalid,
                              f"the event type {event_type!r} already belongs to {owner[event_type]}; map its file or its archive a "
                              f"second time in plane.yaml under another name, and name that here")
            fields = [self._field(f"{path}.fields.{key}", key, spec, key in keys) for key, spec in one["fields"].items()]
            found[name] = Source(name, tuple(one["event_types"]), tuple(item for item in fields if item is not None))
        return found

    def _field(self, path: str, name: str, spec: Mapping[str, Any], is_key: bool) -> Field | None:  # noqa: FBT001 - a fact, not a mode
        self.name(path, name)
        kind = self.attempt(path, lambda: ColumnType.parse(spec["type"]))
        if kind is None:
            return None
        way = [name] if spec.get("path") is None else spec["path"]
        if not way or (not isinstance(way, str) and "" in way):
            self.note(f"{path}.path", FeatureProfileInvalid, "a path names where the value is; leave it out if that is the field's name")
        identifier = spec.get("identifier")
        if identifier is None and is_key and (kind.kind == "string" or kind.is_integer):
            identifier = name
        elif identifier == "none":
            identifier = None
        elif identifier is not None:
            self.name(f"{path}.identifier", identifier, ())
            if kind.kind != "string" and not kind.is_integer:
                self.note(f"{path}.identifier", FeatureProfileInvalid, f"a {kind} cannot be an identifier; declare a string or an integer")
        missing = spec.get("missing")
        plain = Field(name, kind, tuple(way.split(".") if isinstance(way, str) else way), "missing" in spec and missing is None,
                      None if missing is None else _written(missing), spec.get("round", "exact"), identifier)
        if missing is None:
            return plain
        value = self.attempt(f"{path}.missing", lambda: _constant(missing, plain.type, lambda: missing_value(plain)))
        text = unit_text(value, kind) if value is not None else None
        return Field(plain.name, kind, plain.path, plain.nullable, text, plain.round, identifier)

    def group_refs(self) -> list[str]:
        """`name@version` of every group."""
        return [f"{one['name']}@{one['version']}" for one in self.profile["feature_groups"]]

    def groups(self, sources: Mapping[str, Source], wanted: Collection[str]) -> dict[str, Group]:
        """The sound ones of the wanted groups by `name@version`, in profile order."""
        found: dict[str, Group] = {}
        columns = 0
        seen: set[str] = set()
        wanted = frozenset(wanted)
        for place, (ref, one) in enumerate(zip(self.group_refs(), self.profile["feature_groups"], strict=True)):
            twice = ref in seen
            seen.add(ref)
            if ref not in wanted:
                continue
            path = f"$.feature_groups[{place}]"
            self.name(f"{path}.name", one["name"], ())
            self.version(f"{path}.version", one["version"])
            columns += len(one["windows"]) * len(one["features"])
            if columns > MAX_COLUMNS:
                continue
            if twice:
                self.note(path, FeatureProfileInvalid, f"the group {ref} appears twice")
            elif one["source"] not in sources:
                self.note(f"{path}.source", FeatureProfileInvalid, f"there is no source {one['source']!r}; known: {', '.join(sources)}")
            else:
                found[ref] = self._group(path, one, sources[one["source"]])
        if columns > MAX_COLUMNS:
            self.note("$.feature_groups", FeatureProfileInvalid, f"there are {columns:,} feature columns; the limit is {MAX_COLUMNS:,}")
        return found

    def version(self, path: str, version: str) -> None:
        """Note a version that is none."""
        if not VERSION.fullmatch(version):
            self.note(path, FeatureProfileInvalid, f"{version!r} is not a version; write for example v1")

    def _group(self, path: str, one: Mapping[str, Any], source: Source) -> Group:
        for name in one["key"]:
            if name not in field_names(source):
                self.note(f"{path}.key", FeatureProfileInvalid,
                          f"the source {source.name} has no field {name!r}; {_field_advice(name, source)}")
            elif source.field(name).type.kind == "float64":
                self.note(f"{path}.key", FeatureProfileInvalid,
                          f"{name} is a float64, which cannot be a key; declare a decimal or a string")
        if len(set(one["key"])) < len(one["key"]) or not 0 < len(one["key"]) <= MAX_KEY_FIELDS:
            self.note(f"{path}.key", FeatureProfileInvalid, f"a key has 1 to {MAX_KEY_FIELDS} different fields")
        where = self._condition(f"{path}.where", one.get("where"), source)
        delay = self.attempt(f"{path}.delay", lambda: parse_duration(one["delay"])) if one.get("delay") is not None else 0
        current = one.get("current", "excluded") == "included"
        if current and delay:
            self.note(f"{path}.current", FeatureProfileInvalid,
                      "`current: included` contradicts a delay: a row's own event is never that old")
        windows = self._windows(f"{path}.windows", one["windows"])
        features = tuple(feature for name, spec in one["features"].items()
                         for feature in self._features(f"{path}.features.{name}", one["name"], name, spec, windows, source))
        return Group(one["name"], one["version"], source.name, tuple(one["key"]), where, current, delay or 0,
                     one.get("null_key", "skip"), features)

    def _condition(self, path: str, text: str | None, source: Source) -> Expression | None:
        if text is None:
            return None
        return self.attempt(path, lambda: parse_condition(text, scope_of(source), where=path))

    def _windows(self, path: str, spelled: Sequence[str]) -> list[Window]:
        found: list[Window] = []
        if not 0 < len(spelled) <= MAX_WINDOWS:
            self.note(path, FeatureProfileInvalid, f"a group has 1 to {MAX_WINDOWS} windows, not {len(spelled)}")
        meant: dict[Window, str] = {}
        endings: dict[str, str] = {}
        for place, text in enumerate(spelled[:MAX_WINDOWS]):
            window = self.attempt(f"{path}[{place}]", lambda text=text: parse_window(text))  # type: ignore[misc]
            if window is None:
                continue
            meaning = replace(window, label="")
            if meaning in meant:
                self.note(f"{path}[{place}]", FeatureProfileInvalid, f"the window {text} appears twice, as {meant[meaning]}")
            elif window.label in endings:
                self.note(f"{path}[{place}]", FeatureProfileInvalid, f"the columns of {text} and of {endings[window.label]} would "
                          f"both end in _{window.label}; give one of them a group of its own")
            else:
                meant[meaning] = endings[window.label] = text
                found.append(window)
        return found

    def _features(self, path: str, group: str, name: str, spec: Mapping[str, Any], windows: Sequence[Window],
                  source: Source) -> list[Feature]:
        self.name(path, name, ())
        call = self.attempt(path, lambda: parse_aggregation(spec["agg"], scope_of(source)), AggregationUnsupported)
        kind = None if call is None else self._call_type(path, call, source)
        if call is None or kind is None:
            return []
        if self.supports is not None and not self.supports(call.function):
            self.note(path, AggregationUnsupported, f"the plane's engine does not compute {call.function}; choose another `engine.name`")
        if call.label_type and self.label_types is not None and call.label_type not in self.label_types:
            self.note(path, LabelTypeScopeUnresolved, f"the label type {call.label_type!r} has no timeline; known: "
                      f"{', '.join(sorted(self.label_types)) or 'none'}")
        empty = self._empty(f"{path}.empty", call, kind, spec.get("empty"))
        meant = aggregation_kind(call.function)
        identifier = source.field(call.argument).identifier if call.argument and meant.keeps_values else None
        return [Feature(f"{group}__{name}_{window.label}", call, window, kind, empty, identifier, spec.get("meaning") or "",
                        meant.numeric_class) for window in windows]

    def _call_type(self, path: str, call: Aggregation, source: Source) -> ColumnType | None:
        if call.argument is not None and call.argument not in field_names(source):
            self.note(path, FeatureProfileInvalid,
                      f"{call.function} reads {call.argument!r}, which is not a field of {source.name}; it has "
                      f"{', '.join(field_names(source)) or 'none'}")
            return None
        kind, argument = aggregation_kind(call.function), source.field(call.argument) if call.argument else None
        if argument and argument.identifier and argument.type.is_integer and kind.is_arithmetic:
            self.note(path, AggregationUnsupported, f"{argument.name} identifies a {argument.identifier}; {call.function} "
                      f"does not take identifiers as numbers. Declare `identifier: none` if it is a number")
        if argument and argument.identifier and kind.spells_values:
            self.note(path, AggregationUnsupported, f"{argument.name} identifies a {argument.identifier}; {call.function} would spell it "
                      f"inside of a text, where no token replaces it. Use mode, or declare `identifier: none`")
        return self.attempt(path, lambda: kind.output(argument.type if argument else None), AggregationUnsupported)

    def _empty(self, path: str, call: Aggregation, kind: ColumnType, raw: Any) -> str | None:
        if raw is None:
            return None
        if aggregation_kind(call.function).zero_when_empty:
            self.note(path, FeatureProfileInvalid, f"{call.function} gives 0 for an empty window; `empty:` has nothing to replace")
            return None
        value = self.attempt(path, lambda: _constant(raw, kind, lambda: convert(_written(raw), kind, "exact", "UTC", "empty")))
        return None if value is None else unit_text(value, kind)

    def sets(self, groups: Collection[str]) -> None:
        """Note what is wrong with the feature sets' references."""
        refs = [f"{one['id']}@{one['version']}" for one in self.profile["feature_sets"]]
        for place, one in enumerate(self.profile["feature_sets"]):
            path = f"$.feature_sets[{place}]"
            self.name(f"{path}.id", one["id"], ())
            self.version(f"{path}.version", one["version"])
            if refs[place] in refs[:place]:
                self.note(path, FeatureProfileInvalid, f"the set {refs[place]} appears twice")
            if not (one["groups"] or one["row_features"] or one["derived"]):
                self.note(path, FeatureProfileInvalid, f"the set {refs[place]} has no columns")
            for kind, known in (("groups", groups), ("row_features", self.profile["row_features"]), ("derived", self.profile["derived"])):
                for item in one[kind]:
                    if item not in known:
                        self.note(f"{path}.{kind}", FeatureProfileInvalid, f"there is no {item!r}; known: {', '.join(known) or 'none'}")
                bare = Counter(item.partition("@")[0] for item in one[kind])
                for item in sorted(item for item, count in bare.items() if count > 1):
                    self.note(f"{path}.{kind}", FeatureProfileInvalid, f"{item} is listed twice; a set has one version of a group")

    def computed(self, sources: Mapping[str, Source], subject: str, groups: Sequence[Group],
                 chosen: Mapping[str, Any]) -> tuple[tuple[Computed, ...], tuple[Computed, ...]]:
        """A set's row features and derived columns over one subject; notes where the groups do not fit the subject."""
        source = sources[subject]
        self._fit(source, sources, groups)
        identifiers = {item.name: item.identifier for item in source.fields}
        row_features: list[Computed] = []
        wanted = {kind: frozenset(chosen[kind]) for kind in ("row_features", "derived")}
        if (count := sum(map(len, wanted.values()))) > MAX_COLUMNS:
            self.note("$.derived", FeatureProfileInvalid, f"there are {count:,} computed columns; the limit is {MAX_COLUMNS:,}")
            return (), ()
        for name in (name for name in self.profile["row_features"] if name in wanted["row_features"]):
            made = self._computed(f"$.row_features.{name}", name, self.profile["row_features"][name], scope_of(source), identifiers)
            row_features += [made] if made else []
        scope, hidden = scope_of(source), dict(identifiers)
        for group in groups:
            scope |= {feature.column: feature.type for feature in group.features}
            hidden |= {feature.column: feature.identifier for feature in group.features}
        for one in row_features:
            scope[one.column], hidden[one.column] = one.type, one.identifier
        waiting = [name for name in self.profile["derived"] if name in wanted["derived"]]
        for name in waiting:
            if name in self.profile["row_features"]:
                self.note(f"$.derived.{name}", FeatureProfileInvalid, f"the column {name} is already a row feature")
        return tuple(row_features), tuple(self._derived(waiting, scope, hidden))

    def _derived(self, names: Sequence[str], scope: dict[str, ColumnType], hidden: dict[str, str | None]) -> list[Computed]:
        """Each column after those that it reads, else in the order of the profile."""
        made: list[Computed] = []
        place = {name: number for number, name in enumerate(names)}
        missing = {name: read_names(self.profile["derived"][name]["expression"]) & place.keys() for name in names}
        readers: dict[str, list[str]] = {}
        for name, needed in missing.items():
            for other in needed:
                readers.setdefault(other, []).append(name)
        ready = [place[name] for name, needed in missing.items() if not needed]  # ascending, so a heap
        while ready:
            name = names[heappop(ready)]
            del missing[name]
            one = self._computed(f"$.derived.{name}", name, self.profile["derived"][name], scope, hidden)
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
            self.note(f"$.derived.{cycle[0]}", FeatureProfileInvalid,
                      f"derived columns depend on each other in a cycle: {', '.join(shown)}{hides}")
        return made

    def _computed(self, path: str, name: str, spec: Mapping[str, Any], scope: Mapping[str, ColumnType],
                  identifiers: Mapping[str, str | None]) -> Computed | None:
        self.name(path, name, RESERVED | MARKS)
        expression = self.attempt(path, lambda: parse(spec["expression"], scope, where=path))
        if expression is None:
            return None
        identifier = self.attempt(path, lambda: _identifier(expression.root, identifiers))
        return Computed(name, expression, expression.type, identifier, spec.get("meaning") or "")

    def _fit(self, subject: Source, sources: Mapping[str, Source], groups: Sequence[Group]) -> None:
        places = {ref: place for place, ref in reversed(list(enumerate(self.group_refs())))}
        for group in groups:
            path = f"$.feature_groups[{places[f'{group.name}@{group.version}']}]"
            if group.source == subject.name:
                continue
            if group.current:
                self.note(f"{path}.current", FeatureProfileInvalid,
                          f"`current: included` needs the row's own event, but rows are of {subject.name}, not of {group.source}")
            for name in group.key:
                theirs = sources[group.source].field(name) if name in field_names(sources[group.source]) else None
                ours = subject.field(name) if name in field_names(subject) else None
                if theirs is not None and (ours is None or ours.type != theirs.type):
                    self.note(f"{path}.key", FeatureProfileInvalid, f"the subject {subject.name} needs a field {name} of type {theirs.type}"
                              + (f", not {ours.type}" if ours else ""))


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
