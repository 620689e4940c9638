"""From a feature profile to the resolved closure of one feature set (`features.md`, `decisions.md` D11, D12, D28–D32).

The profile comes as the plain document of the full form, of the right shape (`contracts.profile` sees to that). Here it gets its meaning:
names are resolved, expressions and aggregations typed, every problem is noted with its place, and what a set really uses is drawn out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from offline_feature_plane.domain.closure import Closure, Computed, Group, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.definitions.computed import resolve_computed
from offline_feature_plane.domain.definitions.contexts import context_refs, places_of, resolve_contexts
from offline_feature_plane.domain.definitions.diagnostics import Diagnostics
from offline_feature_plane.domain.definitions.groups import GroupResolver, check_fit, group_refs
from offline_feature_plane.domain.definitions.sets import check_sets
from offline_feature_plane.domain.definitions.sources import field_names, find_source, make_source, resolve_sources, scope_of
from offline_feature_plane.errors import FeatureProfileInvalid, FeatureProfileUnresolved, Problem, refuse

__all__ = ["compile_closure", "find_problems", "source_scope"]

MAX_CHECKS = 100_000


def compile_closure(profile: Mapping[str, Any], set_ref: str, subject: str, label_types: Collection[str] | None = None, *,
                    also: Iterable[str] = (), made_of: tuple[str, str] | None = None) -> Closure:
    """Everything that one feature set uses over one subject source, typed, and nothing else.

    Args:
        profile: the full form as a plain document.
        set_ref: `id@version` of a feature set.
        subject: the source whose events become rows.
        label_types: the types that have a timeline; None leaves them unchecked.
        also: fields of the subject that others read: the intent's `where`, the unit of sampling.
        made_of: the source and the field of it whose values a calendar makes the subject of; None if the profile has the subject.

    Returns:
        Groups, contexts after them, and row features in profile order; derived columns so that each reads only earlier ones. A derived
        column may read the subject's fields and `ts` too; a column hides a field of its name.

    Raises:
        FeatureProfileUnresolved: no such set or subject source. SchemaInvalid: nothing can be made of the field.
        FeatureProfileInvalid, ExpressionInvalid, AggregationUnsupported, LabelTypeScopeUnresolved: with every problem of what the set uses.
    """
    chosen = next((one for one in profile["feature_sets"] if f"{one['id']}@{one['version']}" == set_ref), None)
    if chosen is None:
        known = ", ".join(f"{one['id']}@{one['version']}" for one in profile["feature_sets"])
        raise FeatureProfileUnresolved(f"the profile has no feature set {set_ref!r}.", fix=f"It has {known or 'none'}.",
                                       path="$.feature_sets")
    said = Diagnostics()
    sources = resolve_sources(profile, said)
    if made_of is not None:
        sources[subject] = make_source(subject, *made_of, sources)
    find_source(sources, subject)
    groups = (*GroupResolver(profile, sources, said, label_types).resolve(chosen["groups"]).values(),
              *resolve_contexts(profile, sources, said, chosen.get("contexts", ())).values())
    check_sets(profile, group_refs(profile), context_refs(profile), said)
    check_fit(places_of(profile), sources[subject], sources, groups, said)
    row_features, derived = resolve_computed(profile, sources[subject], groups, chosen, said)
    also = list(also)
    for name in also:
        if name != "ts" and name not in field_names(sources[subject]):
            said.note(f"$.sources.{subject}.fields", FeatureProfileInvalid, f"the subject has no field {name!r}")
    if said.problems:
        raise refuse(said.problems)
    used = _used(groups, subject, row_features, derived, also) | (set() if made_of is None else {made_of})
    kept = {subject, *(group.source for group in groups), *(() if made_of is None else made_of[:1])}
    narrowed = tuple(Source(one.name, one.event_types, tuple(item for item in one.fields if (one.name, item.name) in used))
                     for one in sources.values() if one.name in kept)
    return Closure(profile["policy_id"], profile["revision"], chosen["id"], chosen["version"], narrowed, groups, row_features,
                   derived)


def find_problems(profile: Mapping[str, Any], label_types: Collection[str] | None = None,
                  supports: Callable[[str], bool] | None = None) -> list[Problem]:
    """Every problem of a whole profile, whatever set is chosen; row features must make sense for at least one source."""
    said, refs = Diagnostics(), group_refs(profile)
    sources = resolve_sources(profile, said)
    groups = (GroupResolver(profile, sources, said, label_types, supports).resolve(refs)
              | resolve_contexts(profile, sources, said, context_refs(profile)))
    check_sets(profile, refs, context_refs(profile), said)
    everything = {"id": "", "version": "", "groups": list(groups), "row_features": list(profile["row_features"]),
                  "derived": list(profile["derived"])}
    chosen, places = list(profile["feature_sets"]), places_of(profile)
    if any(all(name not in one[kind] for one in chosen) for kind in ("row_features", "derived") for name in profile[kind]):
        chosen.append(everything)  # a definition that no set uses is judged too
    if (checks := len(sources) * sum(len(one["row_features"]) + len(one["derived"]) for one in chosen)) > MAX_CHECKS:
        said.note("$.feature_sets", FeatureProfileInvalid,
                  f"{len(sources)} sources and {len(chosen)} sets make {checks:,} columns to check; the limit is {MAX_CHECKS:,}")
        return said.problems
    has_gaps = any(problem.path.startswith(("$.feature_groups", "$.contexts")) for problem in said.problems)
    for one in chosen:
        attempts: list[list[Problem]] = []
        listed = frozenset((*one["groups"], *one.get("contexts", ())))
        for subject in sources:
            attempt, mine = Diagnostics(), [group for ref, group in groups.items() if ref in listed]
            check_fit(places, sources[subject], sources, mine, attempt)
            resolve_computed(profile, sources[subject], mine, one, attempt)
            attempts.append(attempt.problems)
        attempts.sort(key=len)
        # A column of a group that does not compile is not there to be read: its name is known all the same.
        said.problems.extend(problem for problem in (attempts[0] if attempts else ())
                             if not (has_gaps and problem.path.startswith("$.derived") and problem.sentence.startswith("unknown name")))
    return list(dict.fromkeys(said.problems))


def source_scope(profile: Mapping[str, Any], source: str, made_of: tuple[str, str] | None = None) -> dict[str, ColumnType]:
    """The names that a condition over a source may read, with their types: its fields and `ts`; `made_of` as for `compile_closure`.

    Raises:
        FeatureProfileUnresolved: no such source. FeatureProfileInvalid: its fields are malformed. SchemaInvalid: as `make_source`.
    """
    said = Diagnostics()
    sources = resolve_sources(profile, said)
    found = find_source(sources, source) if made_of is None else make_source(source, *made_of, sources)
    if said.problems:
        raise refuse(said.problems)
    return scope_of(found)


def _used(groups: Iterable[Group], subject: str, row_features: Sequence[Computed], derived: Sequence[Computed],
          also: Iterable[str]) -> set[tuple[str, str]]:
    used = {(subject, name) for name in also}
    for group in groups:
        used |= {(group.source, name) for name in group.key} | {(subject, name) for name in group.key}
        used |= {(group.source, name) for name in group.reads()}
    for one in row_features:
        used |= {(subject, name) for name in one.expression.names()}
    columns = {one.column for one in (*row_features, *derived)}
    for one in derived:  # a column hides a field of its name
        used |= {(subject, name) for name in one.expression.names() - columns}
    return used
