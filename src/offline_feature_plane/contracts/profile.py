"""The feature profile: one versioned file that says what every feature is (`features.md`; its short form: `decisions.md` G).

The short form, and one-line spellings inside of the full form, are expanded first; what is validated, compiled and digested is always the
full form. All problems of a profile are reported at once, at the places where its author wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from offline_feature_plane.contracts import model
from offline_feature_plane.contracts.model import Contract
from offline_feature_plane.contracts.profile_contexts import context_as_written, expand_contexts, find_clashes, with_sources_of_contexts
from offline_feature_plane.contracts.profile_words import in_words
from offline_feature_plane.domain.closure import Closure
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.compile import compile_closure, find_problems, source_scope
from offline_feature_plane.errors import FeatureProfileInvalid, OfsError, Problem, refuse

__all__ = ["FeatureProfile", "expand_profile", "is_short_form", "read_profile"]

DEV_REVISION = "dev"
SHORT_NAMES = ("fields", "groups", "contexts", "row_features", "derived", "feature_sets", "policy_id", "revision")
_LONG_NAMES = ("sources", "feature_groups")
_ANY_TYPE = ("decimal(18,2)", "int64", "string", "timestamp", "bool", "float64")


class FieldSpec(Contract):
    """One typed field of an event. `missing` replaces an absent value; an explicit null makes the field nullable."""

    type: str
    path: str | list[str] | None = None
    missing: bool | int | float | str | None = None
    round: Literal["exact", "half_even"] = "exact"
    identifier: str | None = None


class SourceSpec(Contract):
    """A named kind of event: the event types it admits and its fields."""

    event_types: list[str] = Field(min_length=1)
    fields: dict[str, FieldSpec]


class FeatureSpec(Contract):
    """One aggregation; `empty` replaces the null of an empty window."""

    agg: str
    empty: bool | int | float | str | None = None
    meaning: str | None = None


class GroupSpec(Contract):
    """Features of one key over one source."""

    name: str
    version: str
    source: str
    key: list[str]
    where: str | None = None
    current: Literal["excluded", "included"] = "excluded"
    delay: str | None = None
    null_key: Literal["skip", "group"] = "skip"
    windows: list[str]
    features: dict[str, FeatureSpec] = Field(min_length=1)


class ContextColumn(Contract):
    """One field of a context's events, as a column."""

    field: str
    meaning: str | None = None


class ContextSpec(Contract):
    """The latest event of a source that has the row's key and stood before the row: its fields become columns.

    `within` is how old it may be, null for any age. A row without one is dropped and counted, or has nulls if `missing` is null.
    """

    name: str
    version: str
    source: str
    key: list[str]
    where: str | None = None
    delay: str | None = None
    within: str | None = None
    missing: Literal["drop"] | None = "drop"
    columns: dict[str, ContextColumn] = Field(min_length=1)


class ComputedSpec(Contract):
    """A row feature or a derived column."""

    expression: str
    meaning: str | None = None


class SetSpec(Contract):
    """What one dataset uses, by name."""

    id: str
    version: str
    groups: list[str]
    contexts: list[str] = Field(default_factory=list)
    row_features: list[str]
    derived: list[str]


class FeatureProfile(Contract):
    """A whole profile in its full form. Everything in it compiles: `read_profile` made sure."""

    policy_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")
    revision: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")
    sources: dict[str, SourceSpec] = Field(min_length=1)
    feature_groups: list[GroupSpec]
    contexts: list[ContextSpec] = Field(default_factory=list)
    row_features: dict[str, ComputedSpec]
    derived: dict[str, ComputedSpec]
    feature_sets: list[SetSpec] = Field(min_length=1)

    def document(self) -> dict[str, Any]:
        """The full form as a plain document; what was left to its default stays left out."""
        return self.model_dump(exclude_unset=True)

    def set_refs(self) -> tuple[str, ...]:
        """`id@version` of every feature set."""
        return tuple(f"{one.id}@{one.version}" for one in self.feature_sets)

    def is_versioned(self) -> bool:
        """Is its revision remembered and held against drift? `dev` is not (`decisions.md` D11)."""
        return self.revision != DEV_REVISION

    def scope(self, source: str, made_of: tuple[str, str] | None = None) -> dict[str, ColumnType]:
        """The names that a condition over this source may read, typed; see `domain.compile.source_scope`."""
        return source_scope(self.document(), source, made_of)

    def closure(self, set_ref: str, subject: str, label_types: Collection[str] | None = None, *, also: Iterable[str] = (),
                made_of: tuple[str, str] | None = None) -> Closure:
        """What one set really uses over one subject source; see `domain.compile.compile_closure`."""
        return compile_closure(self.document(), set_ref, subject, label_types, also=also, made_of=made_of)


def read_profile(document: Any, *, rows: str | None = None, stem: str = "features",
                 label_types: Collection[str] | None = None, supports: Callable[[str], bool] | None = None) -> FeatureProfile:
    """Expand and validate a parsed profile document.

    Args:
        document: what the YAML or JSON file held.
        rows: the intent's `rows`, which the short form's source is named after.
        stem: the profile's file name without its ending, which the short form is named after.
        label_types: the plane's label types; None leaves label types unchecked.
        supports: says whether the plane's engine computes an aggregation; None leaves that unchecked.

    Raises:
        FeatureProfileInvalid, ExpressionInvalid, AggregationUnsupported, LabelTypeScopeUnresolved: with every problem.
    """
    if not isinstance(document, Mapping):
        raise FeatureProfileInvalid(f"a profile is a mapping of names to definitions, not {model.shown(document)}.", path="$",
                                    fix="Begin with `fields:` and `groups:`; `ofs init` writes a whole one.")
    full = expand_profile(document, rows=rows or "rows", stem=stem)
    problems = model.find_problems(FeatureProfile, full, default=FeatureProfileInvalid)
    strays = [Problem(model.json_path([name]), FeatureProfileInvalid.code, "the short form has `groups` and `fields` instead")
              for name in _LONG_NAMES if name in document and is_short_form(document)]
    strays += find_clashes(document, rows or "rows") if is_short_form(document) else []
    if not problems and not strays:
        profile = FeatureProfile.model_validate(full)
        problems = _without_echoes(profile.document(), lambda full: find_problems(full, label_types, supports))
        if not problems:
            return profile
    problems = [Problem(context_as_written(one.path, document), one.code, one.sentence) for one in problems]
    if is_short_form(document):
        unknown = {model.json_path([name]): name for name in document if name not in (*SHORT_NAMES, *_LONG_NAMES)}
        problems = [Problem(one.path, one.code, f"there is no such field here. {model.nearest(unknown[one.path], SHORT_NAMES)}")
                    if one.path in unknown else Problem(_as_written(one.path, document), one.code, one.sentence) for one in problems]
    raise refuse([in_words(one) for one in (*problems, *strays)])


def is_short_form(document: Mapping[str, Any]) -> bool:
    """Is it the short form, with `fields` and `groups` at the top? So is what names neither of them, nor what the full form has instead."""
    return "fields" in document or "groups" in document or not any(name in document for name in _LONG_NAMES)


def _without_echoes(full: Mapping[str, Any], find: Callable[[Mapping[str, Any]], list[Problem]]) -> list[Problem]:
    """The problems without those that only follow from a field whose type cannot be read, and that a valid type would resolve."""
    broken = {f"$.sources.{source}.fields.{name}" for source, one in full["sources"].items()
              for name, spec in one["fields"].items() if not _is_type(spec["type"])}
    problems = find(full)
    if not broken:
        return problems

    def typed(kind: str) -> dict[str, Any]:
        return {**full, "sources": {source: {**one, "fields": {
            name: {**spec, "type": kind} if f"$.sources.{source}.fields.{name}" in broken else spec
            for name, spec in one["fields"].items()}} for source, one in full["sources"].items()}}
    fewest = min((find(typed(kind)) for kind in _ANY_TYPE), key=len)
    return [one for one in problems if one.path in broken] + [one for one in fewest if not model.stands_below(one.path, *broken)]


def _is_type(text: str) -> bool:
    try:
        ColumnType.parse(text)
    except (ValueError, OfsError):
        return False
    return True


def expand_profile(document: Mapping[str, Any], *, rows: str, stem: str) -> dict[str, Any]:
    """Write the short form, or one-line spellings of the full form, as the full form. What has an unexpected shape is left for validation.

    >>> short = {"fields": {"card": "string"}, "groups": {"use": {"key": "card", "windows": ["1d"], "features": {"n": "count()"}}}}
    >>> full = expand_profile(short, rows="payment", stem="features")
    >>> full["policy_id"], full["revision"], full["feature_sets"][0]["groups"], full["feature_groups"][0]["key"]
    ('features', 'dev', ['use@v1'], ['card'])
    """
    full: dict[str, Any] = dict(document)
    if is_short_form(document):
        full.pop("fields", None)
        groups = full.pop("groups", {})
        full.setdefault("policy_id", stem)
        full.setdefault("revision", DEV_REVISION)
        full.setdefault("sources", {rows: {"event_types": [rows], "fields": document.get("fields", {})}})
        full["feature_groups"] = [{"name": name, "version": "v1", "source": rows, **one} if isinstance(one, Mapping) else one
                                  for name, one in groups.items()] if isinstance(groups, Mapping) else groups
        full = with_sources_of_contexts(full, rows)
    full.setdefault("feature_groups", [])
    if "contexts" in full:
        full["contexts"] = expand_contexts(full["contexts"])
    for kind in ("row_features", "derived"):
        full[kind] = _each(full.get(kind) or {}, lambda one: {"expression": one} if isinstance(one, str) else one)
    full["sources"] = _each(full.get("sources") or {}, _expand_source)
    if isinstance(full["feature_groups"], list):
        full["feature_groups"] = [_expand_group(one) for one in full["feature_groups"]]
    if is_short_form(document):
        everything = {"groups": _refs(full["feature_groups"]), **({"contexts": _refs(full["contexts"])} if "contexts" in full else {}),
                      **{kind: list(full[kind]) if isinstance(full[kind], Mapping) else [] for kind in ("row_features", "derived")}}
        full.setdefault("feature_sets", [{"id": "default", "version": "v1", **everything}])
    if isinstance(full.get("feature_sets"), list):
        full["feature_sets"] = [{"groups": [], "row_features": [], "derived": [], **one} if isinstance(one, Mapping) else one
                                for one in full["feature_sets"]]
    return full


def _each(named: Any, expand: Any) -> Any:
    return {key: expand(one) for key, one in named.items()} if isinstance(named, Mapping) else named


def _expand_source(one: Any) -> Any:
    if not isinstance(one, Mapping):
        return one
    return {**one, "fields": _each(one.get("fields") or {}, lambda field: {"type": field} if isinstance(field, str) else field)}


def _expand_group(one: Any) -> Any:
    if not isinstance(one, Mapping):
        return one
    full = dict(one)
    for name in ("key", "windows"):
        if isinstance(full.get(name), str):
            full[name] = [full[name]]
    if "features" in full:
        full["features"] = _each(full["features"], lambda feature: {"agg": feature} if isinstance(feature, str) else feature)
    return full


def _refs(many: Any) -> list[str]:
    """`name@version` of groups, or of contexts."""
    if not isinstance(many, list):
        return []
    return [f"{one.get('name')}@{one.get('version')}" for one in many if isinstance(one, Mapping)]


def _as_written(path: str, short: Mapping[str, Any]) -> str:
    """The place in the short form that a place in its expansion came from."""
    groups = short.get("groups")
    if isinstance(groups, Mapping):
        names = list(groups)
        path = re.sub(r"^\$\.feature_groups\[(\d+)\](?:\.name$)?", lambda match: model.json_path(["groups", names[int(match[1])]]), path)
    path = re.sub(r"^\$\.feature_sets\[0\]$", "$.groups", path)  # the one set of everything, if none was written
    path = re.sub(r"^\$\.feature_groups", "$.groups", path)
    return re.sub(r"^\$\.sources\.[^.]+\.fields", "$.fields", path)
