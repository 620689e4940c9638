"""Lists as texts: what the local engine spells in bulk is what the law spells one by one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from offline_feature_plane import leaves
from offline_feature_plane.contracts.profile import read_profile
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.list_texts import list_text
from offline_feature_plane.engines.local.events import Values
from offline_feature_plane.engines.local.lists import part_name, spell_lists
from offline_feature_plane.engines.local.texts import insert_text, rank_texts, share_dictionary
from offline_feature_plane.engines.spark.wire import travelling
from offline_feature_plane.errors import ResourceExceeded

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


def test_lists_and_fields_meet() -> None:
    """A dictionary with wide offsets compares with one that has narrow ones, becomes one dictionary with it, and takes one more text."""
    narrow, wide = pa.array(["b", "c"]), pa.array(["[]", "b"], pa.large_string())
    zero, one = np.array([0, 1, -1], np.int32), np.array([1, 0, 0], np.int32)
    (left, right), both = share_dictionary([(zero, narrow), (one, wide)])
    assert (both.type, both.to_pylist()) == (pa.large_string(), ["[]", "b", "c"])
    assert (left.tolist(), right.tolist()) == ([1, 2, -1], [1, 0, 0])
    ranks, others = rank_texts(zero, narrow, one, wide)
    assert (ranks[0] == others[0], ranks[1] > others[1]) == (True, True)
    assert insert_text(wide, 1, "a").to_pylist() == ["[]", "a", "b"]


def test_texts_that_no_batch_holds_do_not_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that would send more text than an array can hold refuses with the column's name; up to there, it sends."""
    monkeypatch.setattr(leaves, "MOST_TEXT_BYTES", 20)
    values = Values(ColumnType("string"), np.array([0, 1, 0], np.int32), np.array([True, True, False]), pa.array(["x" * 15, "y" * 5]))
    assert travelling("g__top", values).to_pylist() == ["x" * 15, "y" * 5, None]
    with pytest.raises(ResourceExceeded, match="texts of g__top take 35 bytes in 3 rows") as refused:
        travelling("g__top", Values(values.type, values.data, None, values.dictionary))
    assert refused.value.path == "g__top"
