"""From a validated intent and its closure to the task that an engine computes: a translation, nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping

from offline_feature_plane.contracts.intent import BuildIntent, TargetRule
from offline_feature_plane.domain.closure import Closure
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.combining import parse_combination
from offline_feature_plane.domain.definitions.sources import scope_of
from offline_feature_plane.domain.grammar import parse_condition, read_names
from offline_feature_plane.domain.instants import US_PER_DAY, parse_instant
from offline_feature_plane.domain.rows import CombinedTarget, LabelTask, Sampling, Split, Target, Task, TokenKey
from offline_feature_plane.errors import ExpressionInvalid, SchemaInvalid, SettingsInvalid

__all__ = ["check_fields", "fields_read", "task_of"]


def fields_read(intent: BuildIntent) -> frozenset[str]:
    """The subject's fields that the intent itself reads: what a closure must keep beside what features use."""
    names = read_names(intent.subject.where) if intent.subject.where is not None else frozenset()
    by = intent.sampling.by if intent.sampling is not None else None
    return names | {name for name in (by, intent.disjoint_by) if name is not None}


def check_fields(intent: BuildIntent, known: Mapping[str, ColumnType]) -> None:
    """Refuse names in the intent that its subject's source does not declare, given its fields and `ts` with their types.

    Raises:
        ExpressionInvalid, SchemaInvalid: a name is unknown, or of a type that does not serve.
    """
    said = f"{intent.subject.source} has no field {{0!r}}; it has {', '.join(sorted(known))}."
    fix = "Declare it under `fields:` of the profile, or correct the name."
    for name in sorted(read_names(intent.subject.where) - set(known)) if intent.subject.where is not None else ():
        raise ExpressionInvalid(said.format(name), path="$.subject.where", fix=fix)
    if intent.sampling is not None and intent.sampling.by is not None and intent.sampling.by not in known:
        raise SchemaInvalid(said.format(intent.sampling.by), path="$.sampling.by", fix=fix)
    by = intent.disjoint_by
    if by is not None and (by not in known or by == "ts"):
        raise SchemaInvalid(said.format(by), path="$.disjoint_by", fix=fix)
    if by is not None and known[by].kind == "float64":
        raise SchemaInvalid(f"{by} is a float64, which names no entity.", path="$.disjoint_by",
                            fix="Declare it as a decimal or a string under `fields:` of the profile.")


def task_of(intent: BuildIntent, closure: Closure, token_key: TokenKey | None, histories: Mapping[str, int | None]) -> Task:
    """The task of an intent.

    Args:
        intent: a validated contract.
        closure: the resolved closure of its feature set, with the fields of `fields_read`.
        token_key: the plane's token key; unused if identifiers are raw.
        histories: per source the declared instant, in µs, from which its history is complete; absent or None means its first event.

    Raises:
        ExpressionInvalid: `subject.where` does not parse, or is not a condition.
        SettingsInvalid: identifiers are to be tokenised, and the key is missing or differs from the intent's.
    """
    subject = closure.source(intent.subject.source)
    where = None
    if intent.subject.where is not None:
        where = parse_condition(intent.subject.where, scope_of(subject), where="$.subject.where")
    label, sampling = intent.label_basis, intent.sampling
    return Task(
        platform_run_id=intent.platform_run_id,
        scenario_run_ids=tuple(intent.scenario_run_ids),
        closure=closure,
        subject=subject.name,
        where=where,
        splits=tuple(Split(split.name, parse_instant(split.from_utc), parse_instant(split.to_utc),
                           None if split.label_asof_utc is None else parse_instant(split.label_asof_utc)) for split in intent.splits),
        labels=LabelTask(parse_instant(label.label_asof_utc), label.resolution_rule, tuple(label.label_types),
                         None if label.maturity_days is None else label.maturity_days * US_PER_DAY, label.immature),
        target=_target_of(intent),
        sampling=None if sampling is None else Sampling(sampling.seed, tuple(sorted(sampling.rates.items())), sampling.by),
        cold_rows=intent.cold_rows,
        history_start_us=tuple((source.name, histories.get(source.name)) for source in closure.sources),
        token_key=_checked_key(intent, token_key),
        visibility=intent.visibility,
        disjoint_by=intent.disjoint_by)


def _target_of(intent: BuildIntent) -> Target | CombinedTarget | None:
    if intent.target is None:
        return None
    parts = tuple(Target(label_type, tuple(rule.positive), None if rule.negative is None else tuple(rule.negative), rule.unlabeled)
                  for label_type, rule in sorted(intent.target.by_type().items()))
    if isinstance(intent.target, TargetRule):
        return parts[0]
    return CombinedTarget(parts, parse_combination(intent.target.combine, intent.target.types))


def _checked_key(intent: BuildIntent, token_key: TokenKey | None) -> TokenKey | None:
    if intent.identifiers.mode == "raw":
        return None
    if token_key is None or token_key.key_id != intent.identifiers.key_id:
        found = "but the plane has none" if token_key is None else f"but the plane has {token_key.key_id}"
        raise SettingsInvalid(f"the intent requires tokens of the key {intent.identifiers.key_id}, {found}.", path="$.identifiers.key_id",
                              fix="Point `tokens.key_file` at that key, or leave `identifiers` to the plane.")
    return token_key
