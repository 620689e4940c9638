"""Lists as texts: what the local engine spells in bulk is what the law spells one by one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from offline_feature_plane.contracts.profile import read_profile
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.list_texts import list_text
from offline_feature_plane.engines.local.events import Values
from offline_feature_plane.engines.local.lists import part_name, spell_lists

MOST = 3
TEXTS = ["", '"', "\\", "a\nb", "\u00e9", "e\u0301", "\U0001f600", "\u2028", "null", "1,2"]


@pytest.mark.parametrize(("spelled", "values"), [
    ("string", list(range(len(TEXTS)))), ("int64", [-2**63, 2**63 - 1, 0, 7]), ("bool", [0, 1]),
    ("timestamp", [-1, 0, 1_800_000_000_000_000]),
    ("decimal(18,18)", [10**18 - 1, -1, 0]), ("decimal(12,2)", [-150, 5]), ("float64", [1e308, 5e-324, 0.0, 0.1])])
def test_lists_are_spelled_as_the_law_spells_them(spelled: str, values: list[float]) -> None:
    """Lists of every type and length are texts by `list_text`, over a dictionary that is sorted and has each text once."""
    profile = read_profile({"fields": {"card": "string", "x": spelled}, "groups": {"g": {
        "key": "card", "windows": ["lifetime"], "features": {"top": f"top_k(x, {MOST})"}}}})
    group = profile.closure("default@v1", "rows").groups[0]
    feature, kind, random = group.features[0], ColumnType.parse(spelled), np.random.default_rng(7)
    many, dictionary = 500, pa.array(TEXTS) if spelled == "string" else None
    drawn = random.choice(np.array(values), (MOST, many))
    held = np.arange(MOST)[:, None] < random.integers(0, MOST + 1, many)
    drawn[~held] = 0
    found = spell_lists({part_name(feature, place): Values(kind, drawn[place], held[place], dictionary) for place in range(MOST)},
                        [group])[feature.column]
    said = [TEXTS[value] if dictionary else value for value in drawn.T.ravel().tolist()]
    wanted = [list_text([value for value, there in zip(said[at:at + MOST], held[:, at // MOST], strict=True) if there], kind)
              for at in range(0, len(said), MOST)]
    assert found.valid is not None
    assert found.valid.tolist() == held[0].tolist()
    assert found.dictionary is not None
    texts = found.dictionary.to_pylist()
    assert [texts[code] for code, there in zip(found.data, held[0], strict=True) if there] == [
        text for text, there in zip(wanted, held[0], strict=True) if there]
    assert texts == sorted(set(texts), key=str.encode)
