"""Contexts: the latest event of a source that stood before a row, its fields joined to the row (`domain.md` §2, `docs/decisions/0043`).

```
   customer anna    ──■──────────────■───────────────▶     ■ what is known about her, from then on
   payments           │    ●         │  ●    ●            each ● has the fields of the ■ before it
```

A context is a group like any other, whose features are the `last` values of one window: so it is as of the row by the law of windows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from offline_feature_plane.domain.aggregations import aggregation_kind
from offline_feature_plane.domain.closure import Aggregation, Feature, Group, Source, Window
from offline_feature_plane.domain.definitions.diagnostics import Diagnostics
from offline_feature_plane.domain.definitions.groups import MAX_COLUMNS, field_advice, group_refs, read_frame
from offline_feature_plane.domain.definitions.sources import field_names
from offline_feature_plane.domain.instants import format_duration, parse_duration
from offline_feature_plane.errors import FeatureProfileInvalid

__all__ = ["context_refs", "places_of", "resolve_contexts"]

_LATEST = "last"


def context_refs(profile: Mapping[str, Any]) -> list[str]:
    """`name@version` of every context."""
    return [f"{one['name']}@{one['version']}" for one in profile.get("contexts", ())]


def places_of(profile: Mapping[str, Any]) -> dict[str, str]:
    """Where the profile has each group and each context, by `name@version`; of several the first."""
    groups, contexts = list(enumerate(group_refs(profile))), list(enumerate(context_refs(profile)))
    return {**{ref: f"$.contexts[{place}]" for place, ref in reversed(contexts)},
            **{ref: f"$.feature_groups[{place}]" for place, ref in reversed(groups)}}


def resolve_contexts(profile: Mapping[str, Any], sources: Mapping[str, Source], said: Diagnostics,
                     wanted: Collection[str]) -> dict[str, Group]:
    """The sound ones of the wanted contexts by `name@version`, in profile order; problems are noted in `said`."""
    found: dict[str, Group] = {}
    names = {one["name"] for one in profile["feature_groups"]}
    seen: set[str] = set()
    wanted = frozenset(wanted)
    for place, (ref, one) in enumerate(zip(context_refs(profile), profile.get("contexts", ()), strict=True)):
        twice = ref in seen
        seen.add(ref)
        if ref not in wanted:
            continue
        path = f"$.contexts[{place}]"
        said.name(f"{path}.name", one["name"], ())
        said.version(f"{path}.version", one["version"])
        if twice:
            said.note(path, FeatureProfileInvalid, f"the context {ref} appears twice")
        elif one["name"] in names:
            said.note(f"{path}.name", FeatureProfileInvalid, f"a group is called {one['name']}, too; their columns could not be told apart")
        elif one["source"] not in sources:
            said.note(f"{path}.source", FeatureProfileInvalid,
                      f"there is no source {one['source']!r}; known: {', '.join(sources)}")
        elif len(one["columns"]) > MAX_COLUMNS:
            said.note(f"{path}.columns", FeatureProfileInvalid, f"there are {len(one['columns']):,} columns; the limit is {MAX_COLUMNS:,}")
        else:
            found[ref] = _context(path, one, sources[one["source"]], said)
    return found


def _context(path: str, one: Mapping[str, Any], source: Source, said: Diagnostics) -> Group:
    where, delay_us = read_frame(path, one, source, said)
    window = Window("lifetime", "lifetime")
    if one.get("within") is not None:
        length_us = said.attempt(f"{path}.within", lambda: parse_duration(one["within"]))
        window = window if length_us is None else Window("sliding", format_duration(length_us), length_us)
    features = [feature for name, spec in one["columns"].items()
                if (feature := _column(f"{path}.columns.{name}", one["name"], name, spec, window, source, said)) is not None]
    missing: Literal["drop", "null"] = "null" if one.get("missing", "drop") is None else "drop"
    return Group(one["name"], one["version"], source.name, tuple(one["key"]), where, False, delay_us, "skip", tuple(features), missing)  # noqa: FBT003 - a row is no context of its own


def _column(path: str, context: str, name: str, spec: Mapping[str, Any], window: Window, source: Source,
            said: Diagnostics) -> Feature | None:
    said.name(path, name, ())
    if spec["field"] not in field_names(source):
        said.note(path, FeatureProfileInvalid, f"the source {source.name} has no field {spec['field']!r}; "
                  f"{field_advice(spec['field'], source)}")
        return None
    field, kind = source.field(spec["field"]), aggregation_kind(_LATEST)
    return Feature(f"{context}__{name}", Aggregation(_LATEST, field.name, version=kind.version), window, kind.output(field.type), None,
                   field.identifier, spec.get("meaning") or "", kind.numeric_class)
