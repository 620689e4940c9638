"""The `label` of a short form, one type or several combined: what is wrong with it, and what becomes of it in the full contract.

Everything here works on unsound documents too, so that all problems show at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from offline_feature_plane.contracts.model import json_path
from offline_feature_plane.contracts.short_intent import number_text
from offline_feature_plane.errors import LabelPolicyInvalid, LabelTypeScopeUnresolved, Problem

__all__ = ["find_label_problems", "places_of_types", "shares_of", "target_of"]

Label = Mapping[str, Any]

_OF_ONE = ("type", "positive", "negative", "unlabeled", "coverage")
_OF_SEVERAL = ("types", "combine")


def find_label_problems(label: Label) -> list[Problem]:
    """What the shape cannot say: a label learns one type, or several that are combined, or says that there is no target."""
    if label.get("target") is not None:
        return [*_missing(label, {"type": "the label type that becomes columns"}),
                *_meaningless(label, (*_OF_ONE[1:4], *_OF_SEVERAL), "without a target this has no meaning")]
    if any(label.get(name) is not None for name in _OF_SEVERAL):
        return [*_missing(label, {"types": "the label types that `combine` names, each with positive and unlabeled",
                                  "combine": "how the label types become one target, for example `chargeback or dispute`"}),
                *_meaningless(label, _OF_ONE, "where label types are combined, each of them says this within `types`")]
    return _missing(label, {"type": "the label type (or types and combine)",
                            "positive": "which label values are positive (or set target: none)",
                            "unlabeled": "what events without a label become (or set target: none)"})


def places_of_types(label: Label) -> dict[str, Any]:
    """The label types of a label, by the place where each is written."""
    one = {} if label.get("type") is None else {"$.label.type": label["type"]}
    return one | {json_path(["label", "types", str(name)]): name for name in _several(label)}


def target_of(label: Label) -> dict[str, Any] | None:
    """The target of the full contract."""
    if label.get("target") is not None:
        return None
    if any(label.get(name) is not None for name in _OF_SEVERAL):
        types = {name: {key: value for key, value in rule.items() if key != "coverage"} if isinstance(rule, Mapping) else rule
                 for name, rule in _several(label).items()}
        return {"types": types, "combine": label.get("combine")}
    return {"label_type": label.get("type"), **{name: label.get(name) for name in ("positive", "negative", "unlabeled")}}


def shares_of(label: Label) -> dict[str, Any]:
    """The demanded share of answers, by label type, where one is stated."""
    rules = {name: rule for name, rule in _several(label).items() if isinstance(rule, Mapping)}
    if isinstance(label.get("type"), str):
        rules[label["type"]] = label
    return {name: number_text(rule["coverage"]) for name, rule in rules.items() if rule.get("coverage") is not None}


def _several(label: Label) -> Mapping[str, Any]:
    given = label.get("types")
    return given if isinstance(given, Mapping) else {}


def _missing(label: Label, needed: Mapping[str, str]) -> list[Problem]:
    return [Problem(f"$.label.{name}", LabelTypeScopeUnresolved.code if name == "type" else LabelPolicyInvalid.code,
                    f"this is required: {what}") for name, what in needed.items() if label.get(name) is None]


def _meaningless(label: Label, names: Sequence[str], why: str) -> list[Problem]:
    return [Problem(f"$.label.{name}", LabelPolicyInvalid.code, why) for name in names if label.get(name) is not None]
