"""Where in a short form its author wrote what stands at some place of the full contract."""

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
    (r"\$\.required_output_ids", "$.required_outputs"),
    (r"\$\.feature_sets", "$.set"),  # what the profile has not, the intent asked for
    (r"\$\.sources", "$.rows"),
)


def as_written(path: str, full: Mapping[str, Any]) -> str:
    """The place in the short form that a place in its expansion came from."""
    if match := re.match(r"\$\.splits\[(\d+)\](?:\.(\w+))?", path):
        end = {"from_utc": [0], "to_utc": [1]}.get(match[2] or "", [])
        return json_path(["splits", str(full["splits"][int(match[1])]["name"]), *end])
    for pattern, place in _PLACES:
        if re.match(pattern, path):
            return re.sub(f"^{pattern}", place, path)
    return path
