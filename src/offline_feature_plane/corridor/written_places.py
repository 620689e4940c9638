"""Maps places of the full contract to the places in the short form where their values were written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from offline_feature_plane.contracts.model import json_path

_PLACES = (
    (r"\$\.label_basis\.label_asof_utc", "$.label.as_of"),
    (r"\$\.label_basis\.resolution_rule", "$.label.rule"),
    (r"\$\.label_basis\.(?:label_types|store).*", "$.label.type"),
    (r"\$\.label_basis", "$.label"),
    (r"\$\.target\.label_type", "$.label.type"),
    (r"\$\.target", "$.label"),
    (r"\$\.coverage_policy\.answered_min.*", "$.label.coverage"),
    (r"\$\.coverage_policy\.conflicts_max", "$.label.conflicts"),
    (r"\$\.subject\.source", "$.rows"),
    (r"\$\.subject\.where", "$.where"),
    (r"\$\.feature_definition_set\.profile_.*", "$.features"),
    (r"\$\.feature_definition_set.*", "$.set"),
    (r"\$\.run_facts_ref", "$.run_facts"),
    (r"\$\.join_scope(?:\.required_output_ids)?", "$.required_outputs"),
    (r"\$\.feature_sets", "$.set"),  # what the profile has not, the intent asked for
    (r"\$\.sources", "$.rows"),
)


def as_written(path: str, full: Mapping[str, Any]) -> str:
    """The place in the short form that a place in its expansion came from."""
    if match := re.match(r"\$\.splits\[(\d+)\](?:\.(\w+))?", path):
        split = full["splits"][int(match[1])]
        ends: dict[str, list[str | int]] = {"from_utc": [0], "to_utc": [1]}
        if "label_asof_utc" in split:
            ends = {name: ["range", *end] for name, end in ends.items()} | {"label_asof_utc": ["as_of"]}
        return json_path(["splits", str(split["name"]), *ends.get(match[2] or "", [])])
    if path == "$.coverage_policy.answered_min" and "types" in (full.get("target") or {}):
        return "$.label.types"  # where each type says its share
    for pattern, place in _PLACES:
        if re.match(pattern, path):
            return re.sub(f"^{pattern}", place, path)
    return path


def place_of_asof(document: Mapping[str, Any], split: str) -> str:
    """Where a sound intent, in its short or its long form, states the as-of of a split."""
    given = document["splits"]
    if isinstance(given, Mapping):
        return json_path(["splits", split, "as_of"])
    return json_path(["splits", next(number for number, one in enumerate(given) if one["name"] == split), "label_asof_utc"])


_LONG_PLACES = (
    (r"\$\.features", "$.feature_definition_set.profile_ref"),
    (r"\$\.set", "$.feature_definition_set"),
    (r"\$\.feature_sets", "$.feature_definition_set"),
    (r"\$\.sources|\$\.rows", "$.subject.source"),
    (r"\$\.where", "$.subject.where"),
    (r"\$\.label\.as_of", "$.label_basis.label_asof_utc"),
    (r"\$\.label\.type|\$\.labels(?:\[\d+\])?", "$.label_basis.label_types"),
    (r"\$\.label", "$.label_basis"),
    (r"\$\.run_facts", "$.run_facts_ref"),
    (r"\$\.required_outputs", "$.join_scope.required_output_ids"),
)


def as_long(path: str) -> str:
    """The place in the long form of what planning names as the short form has it.

    >>> as_long("$.features"), as_long("$.splits[0]")
    ('$.feature_definition_set.profile_ref', '$.splits[0]')
    """
    return next((place for pattern, place in _LONG_PLACES if re.fullmatch(pattern, path)), path)
