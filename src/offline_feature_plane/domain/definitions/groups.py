"""Groups: features of one key over one source, each call typed, in each of its windows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from offline_feature_plane.domain.aggregations import aggregation_kind
from offline_feature_plane.domain.calls import parse_aggregation
from offline_feature_plane.domain.closure import Aggregation, Feature, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.definitions.constants import read_constant, written
from offline_feature_plane.domain.definitions.diagnostics import Diagnostics
from offline_feature_plane.domain.definitions.sources import field_names, scope_of
from offline_feature_plane.domain.expressions import Expression
from offline_feature_plane.domain.extraction import convert
from offline_feature_plane.domain.grammar import parse_condition
from offline_feature_plane.domain.instants import parse_duration
from offline_feature_plane.domain.sampling import unit_text
from offline_feature_plane.domain.window_texts import parse_window
from offline_feature_plane.errors import AggregationUnsupported, FeatureProfileInvalid, LabelTypeScopeUnresolved

__all__ = ["MAX_COLUMNS", "GroupResolver", "check_fit", "field_advice", "group_refs", "read_frame"]

MAX_COLUMNS, MAX_WINDOWS, MAX_KEY_FIELDS = 10_000, 64, 8


def group_refs(profile: Mapping[str, Any]) -> list[str]:
    """`name@version` of every group."""
    return [f"{one['name']}@{one['version']}" for one in profile["feature_groups"]]


@dataclass(frozen=True)
class GroupResolver:
    """Types the groups of a profile over its sources; problems are noted in `said`.

    `label_types` are those that have a timeline, `supports` tells which aggregations the engine computes; None leaves them unchecked.
    """

    profile: Mapping[str, Any]
    sources: Mapping[str, Source]
    said: Diagnostics
    label_types: Collection[str] | None = None
    supports: Callable[[str], bool] | None = None

    def resolve(self, wanted: Collection[str]) -> dict[str, Group]:
        """The sound ones of the wanted groups by `name@version`, in profile order."""
        found: dict[str, Group] = {}
        columns = 0
        seen: set[str] = set()
        wanted = frozenset(wanted)
        for place, (ref, one) in enumerate(zip(group_refs(self.profile), self.profile["feature_groups"], strict=True)):
            twice = ref in seen
            seen.add(ref)
            if ref not in wanted:
                continue
            path = f"$.feature_groups[{place}]"
            self.said.name(f"{path}.name", one["name"], ())
            self.said.version(f"{path}.version", one["version"])
            columns += len(one["windows"]) * len(one["features"])
            if columns > MAX_COLUMNS:
                continue
            if twice:
                self.said.note(path, FeatureProfileInvalid, f"the group {ref} appears twice")
            elif one["source"] not in self.sources:
                self.said.note(f"{path}.source", FeatureProfileInvalid,
                               f"there is no source {one['source']!r}; known: {', '.join(self.sources)}")
            else:
                found[ref] = self._group(path, one, self.sources[one["source"]])
        if columns > MAX_COLUMNS:
            self.said.note("$.feature_groups", FeatureProfileInvalid,
                           f"there are {columns:,} feature columns; the limit is {MAX_COLUMNS:,}")
        return found

    def _group(self, path: str, one: Mapping[str, Any], source: Source) -> Group:
        where, delay = read_frame(path, one, source, self.said)
        current = one.get("current", "excluded") == "included"
        if current and delay:
            self.said.note(f"{path}.current", FeatureProfileInvalid,
                           "`current: included` contradicts a delay: a row's own event is never that old")
        windows = self._windows(f"{path}.windows", one["windows"])
        features = tuple(feature for name, spec in one["features"].items()
                         for feature in self._features(f"{path}.features.{name}", one["name"], name, spec, windows, source))
        return Group(one["name"], one["version"], source.name, tuple(one["key"]), where, current, delay, one.get("null_key", "skip"),
                     features)

    def _windows(self, path: str, spelled: Sequence[str]) -> list[Window]:
        found: list[Window] = []
        if not 0 < len(spelled) <= MAX_WINDOWS:
            self.said.note(path, FeatureProfileInvalid, f"a group has 1 to {MAX_WINDOWS} windows, not {len(spelled)}")
        meant: dict[Window, str] = {}
        endings: dict[str, str] = {}
        for place, text in enumerate(spelled[:MAX_WINDOWS]):
            window = self.said.attempt(f"{path}[{place}]", lambda text=text: parse_window(text))  # type: ignore[misc]
            if window is None:
                continue
            meaning = replace(window, label="")
            if meaning in meant:
                self.said.note(f"{path}[{place}]", FeatureProfileInvalid, f"the window {text} appears twice, as {meant[meaning]}")
            elif window.label in endings:
                self.said.note(f"{path}[{place}]", FeatureProfileInvalid, f"the columns of {text} and of {endings[window.label]} would "
                               f"both end in _{window.label}; give one of them a group of its own")
            else:
                meant[meaning] = endings[window.label] = text
                found.append(window)
        return found

    def _features(self, path: str, group: str, name: str, spec: Mapping[str, Any], windows: Sequence[Window],
                  source: Source) -> list[Feature]:
        self.said.name(path, name, ())
        call = self.said.attempt(path, lambda: parse_aggregation(spec["agg"], scope_of(source)), AggregationUnsupported)
        kind = None if call is None else self._call_type(path, call, source)
        if call is None or kind is None:
            return []
        if self.supports is not None and not self.supports(call.function):
            self.said.note(path, AggregationUnsupported,
                           f"the plane's engine does not compute {call.function}; choose another `engine.name`")
        if call.label_type and self.label_types is not None and call.label_type not in self.label_types:
            self.said.note(path, LabelTypeScopeUnresolved, f"the label type {call.label_type!r} has no timeline; known: "
                           f"{', '.join(sorted(self.label_types)) or 'none'}")
        empty = self._empty(f"{path}.empty", call, kind, spec.get("empty"))
        meant = aggregation_kind(call.function)
        identifier = source.field(call.argument).identifier if call.argument and meant.keeps_values else None
        return [Feature(f"{group}__{name}_{window.label}", call, window, kind, empty, identifier, spec.get("meaning") or "",
                        meant.numeric_class) for window in windows]

    def _call_type(self, path: str, call: Aggregation, source: Source) -> ColumnType | None:
        if call.argument is not None and call.argument not in field_names(source):
            self.said.note(path, FeatureProfileInvalid,
                           f"{call.function} reads {call.argument!r}, which is not a field of {source.name}; it has "
                           f"{', '.join(field_names(source)) or 'none'}")
            return None
        kind, argument = aggregation_kind(call.function), source.field(call.argument) if call.argument else None
        if argument and argument.identifier and argument.type.is_integer and kind.is_arithmetic:
            self.said.note(path, AggregationUnsupported, f"{argument.name} identifies a {argument.identifier}; {call.function} "
                           f"does not take identifiers as numbers. Declare `identifier: none` if it is a number")
        if argument and argument.identifier and kind.spells_values:
            self.said.note(path, AggregationUnsupported, f"{argument.name} identifies a {argument.identifier}; {call.function} would spell "
                           f"it inside of a text, where no token replaces it. Use mode, or declare `identifier: none`")
        return self.said.attempt(path, lambda: kind.output(argument.type if argument else None), AggregationUnsupported)

    def _empty(self, path: str, call: Aggregation, kind: ColumnType, raw: Any) -> str | None:
        if raw is None:
            return None
        if aggregation_kind(call.function).zero_when_empty:
            self.said.note(path, FeatureProfileInvalid, f"{call.function} gives 0 for an empty window; `empty:` has nothing to replace")
            return None
        value = self.said.attempt(path, lambda: read_constant(raw, kind, lambda: convert(written(raw), kind, "exact", "UTC", "empty")))
        return None if value is None else unit_text(value, kind)


def read_frame(path: str, one: Mapping[str, Any], source: Source, said: Diagnostics) -> tuple[Expression | None, int]:
    """What every group of events of one key states, its key being checked: `where`, and its delay in µs."""
    for name in one["key"]:
        if name not in field_names(source):
            said.note(f"{path}.key", FeatureProfileInvalid, f"the source {source.name} has no field {name!r}; {field_advice(name, source)}")
        elif source.field(name).type.kind == "float64":
            said.note(f"{path}.key", FeatureProfileInvalid, f"{name} is a float64, which cannot be a key; declare a decimal or a string")
    if len(set(one["key"])) < len(one["key"]) or not 0 < len(one["key"]) <= MAX_KEY_FIELDS:
        said.note(f"{path}.key", FeatureProfileInvalid, f"a key has 1 to {MAX_KEY_FIELDS} different fields")
    where = None
    if (text := one.get("where")) is not None:
        where = said.attempt(f"{path}.where", lambda: parse_condition(text, scope_of(source), where=f"{path}.where"))
    delay = said.attempt(f"{path}.delay", lambda: parse_duration(one["delay"])) if one.get("delay") is not None else 0
    return where, delay or 0


def check_fit(places: Mapping[str, str], subject: Source, sources: Mapping[str, Source], groups: Iterable[Group],
              said: Diagnostics) -> None:
    """Note where groups do not fit the rows of a subject: it needs their key fields, and its own event is in no other source.

    Args:
        places: where the profile has each group, by `name@version`.
        subject: the source of the rows.
        sources: all of them by name.
        groups: contexts are groups, too.
        said: takes the notes.
    """
    for group in groups:
        path = places[f"{group.name}@{group.version}"]
        if group.source == subject.name:
            continue
        if group.current:
            said.note(f"{path}.current", FeatureProfileInvalid,
                      f"`current: included` needs the row's own event, but rows are of {subject.name}, not of {group.source}")
        for name in group.key:
            theirs = sources[group.source].field(name) if name in field_names(sources[group.source]) else None
            ours = subject.field(name) if name in field_names(subject) else None
            if theirs is not None and (ours is None or ours.type != theirs.type):
                said.note(f"{path}.key", FeatureProfileInvalid, f"the subject {subject.name} needs a field {name} of type {theirs.type}"
                          + (f", not {ours.type}" if ours else ""))


def field_advice(name: str, source: Source) -> str:
    """What to say about a field that does not exist."""
    if "," in name:
        return f"write several fields as a list: [{name}]"
    near = get_close_matches(name, field_names(source), 1)
    return f"did you mean {near[0]}?" if near else f"it has {', '.join(field_names(source)) or 'none'}"
