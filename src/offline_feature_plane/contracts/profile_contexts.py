"""Contexts as a profile's author writes them: by name, and in the short form with the fields of their source (`decisions.md` G).

```yaml
contexts:
  customer: {key: customer_id, fields: {segment: string, credit_limit: "decimal(12,2)"}, within: 365d}
```
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from offline_feature_plane.contracts import model
from offline_feature_plane.errors import FeatureProfileInvalid, Problem

__all__ = ["context_as_written", "expand_contexts", "find_clashes", "with_sources_of_contexts"]

_SAME = ("type", "identifier")  # of a key: what both sides must agree on


def with_sources_of_contexts(full: Mapping[str, Any], rows: str) -> dict[str, Any]:
    """A profile whose contexts state `fields`, as one in which each has a source of these fields, and takes all but its key.

    A context without `fields` is one of the rows' own source. Whatever has an unexpected shape is left for validation.

    >>> full = {"sources": {"payment": {"fields": {"card": "string"}}}, "contexts": {"holder": {"key": "card", "fields": {"age": "int64"}}}}
    >>> found = with_sources_of_contexts(full, "payment")
    >>> found["sources"]["holder"]["fields"], found["contexts"]["holder"]["columns"]
    ({'card': {'type': 'string'}, 'age': 'int64'}, ['age'])
    """
    contexts, sources = full.get("contexts"), full.get("sources")
    if not isinstance(contexts, Mapping) or not isinstance(sources, Mapping):
        return dict(full)
    sources, told = dict(sources), dict[str, Any]()
    own = sources[rows].get("fields") if isinstance(sources.get(rows), Mapping) else None
    for name, one in contexts.items():
        if not isinstance(one, Mapping) or "columns" in one or not isinstance(one.get("fields"), Mapping):
            told[name] = {"source": rows, **one} if isinstance(one, Mapping) else one
            continue
        source, key = one.get("source", name), [one["key"]] if isinstance(one.get("key"), str) else one.get("key")
        keys = [field for field in key if isinstance(field, str)] if isinstance(key, list) else []
        typed = {field: _same(own[field]) for field in keys if isinstance(own, Mapping) and field in own} | dict(one["fields"])
        if isinstance(source, str) and source not in sources:
            sources[source] = {"event_types": [source], "fields": typed}
        rest = {member: value for member, value in one.items() if member != "fields"}
        told[name] = {"source": source, **rest, "columns": [field for field in one["fields"] if field not in keys]}
    return {**full, "sources": sources, "contexts": told}


def find_clashes(document: Mapping[str, Any], rows: str) -> list[Problem]:
    """Sources of a short form whose fields two would state: two contexts, or a context and the rows."""
    contexts, owners = document.get("contexts"), dict[str, str]()
    found = []
    for name, one in contexts.items() if isinstance(contexts, Mapping) else ():
        if _states_fields(one) and isinstance(source := one.get("source", name), str):
            path = model.json_path(["contexts", name, "source"])
            if source == rows:
                found.append(Problem(path, FeatureProfileInvalid.code, f"{rows} has the fields of the rows: leave `fields` out, and name "
                                     "those to take under `columns`"))
            elif owners.setdefault(source, name) != name:
                found.append(Problem(path, FeatureProfileInvalid.code, f"{source} has the fields of {owners[source]} already; the full "
                                     "form has several contexts of one source"))
    return found


def expand_contexts(contexts: Any) -> Any:
    """Contexts by name as a list of them, each with a version, a key of fields, and columns by name."""
    if isinstance(contexts, Mapping):
        contexts = [{"name": name, "version": "v1", **one} if isinstance(one, Mapping) else one for name, one in contexts.items()]
    return [_expand(one) for one in contexts] if isinstance(contexts, list) else contexts


def context_as_written(path: str, document: Mapping[str, Any]) -> str:
    """The place among contexts by name that a place in their list came from."""
    contexts = document.get("contexts")
    if not isinstance(contexts, Mapping):
        return path
    names = list(contexts)
    if (found := re.match(r"\$\.contexts\[(\d+)\](?:\.name$)?", path)) is not None:
        name = names[int(found[1])]
        rest = path[found.end():]
        return model.json_path(["contexts", name]) + (_in_fields(rest) if _states_fields(contexts[name]) else rest)
    for name, one in contexts.items():
        if _states_fields(one) and (of := one.get("source", name)) and path.startswith(f"$.sources.{of}."):
            return model.json_path(["contexts", name]) + path.removeprefix(f"$.sources.{of}")
    return path


def _same(field: Any) -> Any:
    return {name: field[name] for name in _SAME if name in field} if isinstance(field, Mapping) else {"type": field}


def _states_fields(one: Any) -> bool:
    return isinstance(one, Mapping) and isinstance(one.get("fields"), Mapping)


def _in_fields(rest: str) -> str:
    return re.sub(r"^\.columns", ".fields", rest)


def _expand(one: Any) -> Any:
    if not isinstance(one, Mapping):
        return one
    full = dict(one)
    if isinstance(full.get("key"), str):
        full["key"] = [full["key"]]
    columns = full.get("columns")
    if isinstance(columns, str):
        columns = [columns]
    if isinstance(columns, list) and all(isinstance(name, str) for name in columns):
        columns = {name: name for name in columns}
    if isinstance(columns, Mapping):
        columns = {name: {"field": said} if isinstance(said, str) else said for name, said in columns.items()}
    if "columns" in full:
        full["columns"] = columns
    return full
