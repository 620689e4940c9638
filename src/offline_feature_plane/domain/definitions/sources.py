"""Where events come from: the sources of a profile with their typed fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from offline_feature_plane.domain.closure import Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.definitions.constants import read_constant, written
from offline_feature_plane.domain.definitions.diagnostics import Diagnostics
from offline_feature_plane.domain.extraction import missing_value
from offline_feature_plane.domain.sampling import unit_text
from offline_feature_plane.domain.typing_rules import TIMESTAMP
from offline_feature_plane.errors import FeatureProfileInvalid, FeatureProfileUnresolved, SchemaInvalid

__all__ = ["field_names", "find_source", "make_source", "resolve_sources", "scope_of"]


def field_names(source: Source) -> list[str]:
    """The names of a source's fields."""
    return [item.name for item in source.fields]


def scope_of(source: Source) -> dict[str, ColumnType]:
    """The names that a condition over a source may read: its fields and `ts`."""
    return {**{item.name: item.type for item in source.fields}, "ts": TIMESTAMP}


def resolve_sources(profile: Mapping[str, Any], said: Diagnostics) -> dict[str, Source]:
    """The sources by name, with their typed fields; problems are noted in `said`."""
    keys = {name for group in (*profile["feature_groups"], *profile.get("contexts", ())) for name in group["key"]}
    found, owner = {}, dict[str, str]()
    for name, one in profile["sources"].items():
        path = f"$.sources.{name}"
        said.name(path, name)
        for event_type in one["event_types"]:
            if owner.setdefault(event_type, name) != name:
                said.note(f"{path}.event_types", FeatureProfileInvalid,
                          f"the event type {event_type!r} already belongs to {owner[event_type]}; map its file or its archive a "
                          f"second time in plane.yaml under another name, and name that here")
        fields = [_field(f"{path}.fields.{key}", key, spec, said, is_key=key in keys) for key, spec in one["fields"].items()]
        found[name] = Source(name, tuple(one["event_types"]), tuple(item for item in fields if item is not None))
    return found


def find_source(sources: Mapping[str, Source], name: str) -> Source:
    """The source that rows are taken from. Raises FeatureProfileUnresolved: there is none of this name."""
    if name not in sources:
        raise FeatureProfileUnresolved(f"the profile has no source {name!r} to take rows from.", fix=f"It has {', '.join(sources)}.",
                                       path="$.sources")
    return sources[name]


def make_source(name: str, of: str, entity: str, sources: Mapping[str, Source]) -> Source:
    """The source that a calendar makes of the entities of another one: of no event type, with the entity as its one field.

    Raises:
        FeatureProfileUnresolved: there is no source `of`. SchemaInvalid: it has no such field, or one whose values name nobody.
    """
    source = find_source(sources, of)
    if entity not in field_names(source):
        raise SchemaInvalid(f"{of} has no field {entity!r}; it has {', '.join(sorted(field_names(source)))}.", path="$.subject.entity",
                            fix="Declare it under `fields:` of the profile, or correct the name.")
    field = source.field(entity)
    if field.type.kind != "string" and not field.type.is_integer:
        raise SchemaInvalid(f"{entity} is a {field.type}; a calendar makes rows about a string or an integer.", path="$.subject.entity",
                            fix="Name the field that says whom an event is about, or declare it as a string.")
    return Source(name, (), (replace(field, path=(entity,), nullable=False, missing=None),))


def _field(path: str, name: str, spec: Mapping[str, Any], said: Diagnostics, *, is_key: bool) -> Field | None:
    said.name(path, name)
    kind = said.attempt(path, lambda: ColumnType.parse(spec["type"]))
    if kind is None:
        return None
    way = [name] if spec.get("path") is None else spec["path"]
    if not way or (not isinstance(way, str) and "" in way):
        said.note(f"{path}.path", FeatureProfileInvalid, "a path names where the value is; leave it out if that is the field's name")
    identifier = spec.get("identifier")
    if identifier is None and is_key and (kind.kind == "string" or kind.is_integer):
        identifier = name
    elif identifier == "none":
        identifier = None
    elif identifier is not None:
        said.name(f"{path}.identifier", identifier, ())
        if kind.kind != "string" and not kind.is_integer:
            said.note(f"{path}.identifier", FeatureProfileInvalid, f"a {kind} cannot be an identifier; declare a string or an integer")
    missing = spec.get("missing")
    plain = Field(name, kind, tuple(way.split(".") if isinstance(way, str) else way), "missing" in spec and missing is None,
                  None if missing is None else written(missing), spec.get("round", "exact"), identifier)
    if missing is None:
        return plain
    value = said.attempt(f"{path}.missing", lambda: read_constant(missing, plain.type, lambda: missing_value(plain)))
    text = unit_text(value, kind) if value is not None else None
    return Field(plain.name, kind, plain.path, plain.nullable, text, plain.round, identifier)
