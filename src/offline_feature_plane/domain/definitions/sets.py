"""Feature sets: what one dataset uses, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from offline_feature_plane.domain.definitions.diagnostics import Diagnostics
from offline_feature_plane.errors import FeatureProfileInvalid

__all__ = ["check_sets"]


def check_sets(profile: Mapping[str, Any], groups: Collection[str], contexts: Collection[str], said: Diagnostics) -> None:
    """Note what is wrong with the feature sets' references."""
    refs = [f"{one['id']}@{one['version']}" for one in profile["feature_sets"]]
    for place, one in enumerate(profile["feature_sets"]):
        path = f"$.feature_sets[{place}]"
        said.name(f"{path}.id", one["id"], ())
        said.version(f"{path}.version", one["version"])
        if refs[place] in refs[:place]:
            said.note(path, FeatureProfileInvalid, f"the set {refs[place]} appears twice")
        if not (one["groups"] or one.get("contexts") or one["row_features"] or one["derived"]):
            said.note(path, FeatureProfileInvalid, f"the set {refs[place]} has no columns")
        for kind, known in (("groups", groups), ("contexts", contexts), ("row_features", profile["row_features"]),
                            ("derived", profile["derived"])):
            for item in one.get(kind, ()):
                if item not in known:
                    said.note(f"{path}.{kind}", FeatureProfileInvalid, f"there is no {item!r}; known: {', '.join(known) or 'none'}")
            bare = Counter(item.partition("@")[0] for item in one.get(kind, ()))
            for item in sorted(item for item, count in bare.items() if count > 1):
                said.note(f"{path}.{kind}", FeatureProfileInvalid, f"{item} is listed twice; a set has one version of a "
                               f"{'context' if kind == 'contexts' else 'group'}")
