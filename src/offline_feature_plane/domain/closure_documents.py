"""The closure as a document and back: what is hashed into a dataset's identity, embedded in its plan and manifest, and rebuilt from.

Every member is named by hand, so that a new one changes no digest by accident. An optional member that came later is left out at its
default: old closures keep their bytes. Texts that only people read (`meaning`) are not part of it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from offline_feature_plane.domain.closure import Aggregation, Closure, Computed, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.typing_rules import TIMESTAMP
from offline_feature_plane.errors import ExpressionInvalid, ManifestInvalid

__all__ = ["closure_from", "describe", "describe_source"]

Document = dict[str, Any]


def describe(closure: Closure) -> Document:
    """The JSON-ready document of a closure; types and expressions as canonical text (recipe `ofs.feature_closure.v1`)."""
    return {"policy_id": closure.policy_id, "revision": closure.revision,
            "feature_set_id": closure.set_id, "feature_set_version": closure.set_version,
            "sources": [describe_source(source) for source in closure.sources],
            "groups": [_group(group) for group in closure.groups],
            "row_features": [_computed(item) for item in closure.row_features],
            "derived": [_computed(item) for item in closure.derived]}


def closure_from(document: Mapping[str, Any], subject: str) -> Closure:
    """The closure that a document describes, without its meanings: `describe(closure_from(document, subject)) == document`.

    Args:
        document: what `describe` gave.
        subject: the source whose events are rows, over whose fields row features and derived columns are read.

    Raises:
        ManifestInvalid: it is not such a document.
    """
    try:
        sources = {one["name"]: _read_source(one) for one in document["sources"]}
        scopes = {name: {**{field.name: field.type for field in source.fields}, "ts": TIMESTAMP} for name, source in sources.items()}
        groups = tuple(_read_group(one, scopes[one["source"]]) for one in document["groups"])
        scope = scopes[subject]
        row_features = tuple(_read_computed(one, scope) for one in document["row_features"])
        scope |= {feature.column: feature.type for group in groups for feature in group.features}
        scope |= {one.column: one.type for one in row_features}
        return Closure(document["policy_id"], document["revision"], document["feature_set_id"], document["feature_set_version"],
                       tuple(sources.values()), groups, row_features, _read_derived(document["derived"], scope))
    except (KeyError, TypeError, ValueError, ExpressionInvalid) as wrong:
        raise ManifestInvalid(f"this is not a feature closure document: {wrong!r}.", path="closure",
                              fix="Take it from a manifest that `ofs verify` accepts.") from wrong


# --- writing ------------------------------------------------------------------------------------------------


def describe_source(source: Source) -> Document:
    """The document of a source: all that decides what is taken from its events."""
    return {"name": source.name, "event_types": list(source.event_types), "fields": [_field(field) for field in source.fields]}


def _field(field: Field) -> Document:
    return {"name": field.name, "type": str(field.type), "path": list(field.path), "nullable": field.nullable,
            "missing": field.missing, "round": field.round, "identifier": field.identifier}


def _group(group: Group) -> Document:
    told = {"name": group.name, "version": group.version, "source": group.source, "key": list(group.key),
            "current": group.current, "delay_us": group.delay_us, "null_key": group.null_key,
            "features": [_feature(feature) for feature in group.features],
            "where": group.where.text if group.where else None}
    return told if group.context is None else {**told, "context": group.context}


def _feature(feature: Feature) -> Document:
    told = {"column": feature.column, "aggregation": _aggregation(feature.aggregation), "window": _window(feature.window),
            "type": str(feature.type), "empty": feature.empty, "identifier": feature.identifier}
    return told if feature.numeric_class == "exact" else {**told, "numeric_class": feature.numeric_class}


def _aggregation(call: Aggregation) -> Document:
    told = {"function": call.function, "argument": call.argument, "label_type": call.label_type, "values": list(call.values),
            "of_resolved": call.of_resolved}
    later = {"version": None if call.version == "v1" else call.version, "share": call.share,
             "half_life_us": call.half_life_us, "most": call.most,
             "condition": None if call.condition is None else call.condition.text}
    return {**told, **{name: said for name, said in later.items() if said is not None}}


def _window(window: Window) -> Document:
    told = {"kind": window.kind, "label": window.label, "length_us": window.length_us}
    later = {"count": window.count, "period": window.period, "zone": window.zone, "gap_us": window.gap_us}
    return told | {name: value for name, value in later.items() if value is not None}


def _computed(item: Computed) -> Document:
    return {"column": item.column, "expression": item.expression.text, "type": str(item.type), "identifier": item.identifier}


# --- reading ------------------------------------------------------------------------------------------------


def _read_source(told: Document) -> Source:
    return Source(told["name"], tuple(told["event_types"]), tuple(_read_field(one) for one in told["fields"]))


def _read_field(told: Document) -> Field:
    return Field(told["name"], ColumnType.parse(told["type"]), tuple(told["path"]), told["nullable"], told["missing"], told["round"],
                 told["identifier"])


def _read_group(told: Document, scope: Mapping[str, ColumnType]) -> Group:
    where = None if told["where"] is None else parse(told["where"], scope, longest=sys.maxsize)
    return Group(told["name"], told["version"], told["source"], tuple(told["key"]), where, told["current"], told["delay_us"],
                 told["null_key"], tuple(_read_feature(one, scope) for one in told["features"]), told.get("context"))


def _read_feature(told: Document, scope: Mapping[str, ColumnType]) -> Feature:
    call, window, kind = _read_aggregation(told["aggregation"], scope), _read_window(told["window"]), ColumnType.parse(told["type"])
    return Feature(told["column"], call, window, kind, told["empty"], told["identifier"],
                   numeric_class=told.get("numeric_class", "exact"))


def _read_aggregation(told: Document, scope: Mapping[str, ColumnType]) -> Aggregation:
    condition = parse(told["condition"], scope, longest=sys.maxsize) if "condition" in told else None
    return Aggregation(told["function"], told["argument"], told["label_type"], tuple(told["values"]), told["of_resolved"],
                       told.get("version", "v1"), condition, told.get("share"),
                       told.get("half_life_us"), told.get("most"))


def _read_window(told: Document) -> Window:
    return Window(told["kind"], told["label"], told["length_us"], told.get("count"), told.get("period"), told.get("zone"),
                  told.get("gap_us"))


def _read_computed(told: Document, scope: Mapping[str, ColumnType]) -> Computed:
    return Computed(told["column"], parse(told["expression"], scope, longest=sys.maxsize), ColumnType.parse(told["type"]),
                    told["identifier"])


def _read_derived(told: Sequence[Document], scope: Mapping[str, ColumnType]) -> tuple[Computed, ...]:
    """Each reads only the columns before it."""
    found: list[Computed] = []
    for one in told:
        found.append(_read_computed(one, {**scope, **{item.column: item.type for item in found}}))
    return tuple(found)
