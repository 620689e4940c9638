"""Every value of every document replaced by what nobody should write there: the answer is always one of ours."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_plane import make_plane

from offline_feature_plane.__main__ import run
from offline_feature_plane.plane import open_plane

Steps = tuple[str | int, ...]

WEIRD: list[Any] = [None, "", "  ", -1, 0, 10**30, 1.5, True, [], {}, [None], ["x", "x"], {"a": None}, {"": 1}, "x" * 3_000, "e\u0301",
                    "a/../b", "a\nb", "'; DROP TABLE x; --", "2026-01-01T25:00:00Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z",
                    "\x7f", "count()", "99999999999d", "decimal(38,38)", "../../x", "Ω"]
FOREIGN = ("INTERNAL_ERROR", "pydantic", "duckdb", "Arrow", "validation error", "Errno", "Traceback")


def places(document: Any, before: Steps = ()) -> Iterator[Steps]:
    """Every place of a document."""
    named = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for step, value in named:
        yield (*before, step)
        yield from places(value, (*before, step))


def changed(document: Any, place: Steps, value: Any) -> Any:
    """The document with another value at a place."""
    whole = here = copy.deepcopy(document)
    for step in place[:-1]:
        here = here[step]
    here[place[-1]] = value
    return whole


@pytest.mark.parametrize("share", [pytest.param(17, id="some"), pytest.param(1, id="all", marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ["plane", "profile", "intent", "long"])
def test_a_strange_value_gets_an_answer_of_ours(name: str, share: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`ofs plan` accepts a value or refuses it with a code, a status and one JSON document; nothing foreign comes through."""
    plane = make_plane(tmp_path / "p")
    plane.intent |= {"where": "amount > 1", "gap": "1d", "sampling": {"seed": 1, "rates": {"negative": 0.5}, "by": "customer_id"},
                     "identifiers": "tokenized", "cold_rows": "mark", "set": "default@v1"}
    plane.profile |= {"row_features": {"a": "amount"}, "derived": {"r": "customer.n_1d + 1"}}
    plane.plane["events"]["transaction"] |= {"history_start": "2026-01-01T00:00:00Z", "zone": "UTC"}
    plane.plane["labels"]["chargeback"] |= {"min_lag": "1h", "zone": "UTC"}
    plane.documents()
    if name == "long":
        plane.intent = open_plane(tmp_path / "p/plane.yaml").pin(plane.intent_path).document
    attribute = "intent" if name == "long" else name
    sound = getattr(plane, attribute)
    tried = 0
    for number, (place, value) in enumerate((place, value) for place in places(sound) for value in WEIRD):
        if number % share:
            continue
        setattr(plane, attribute, changed(sound, place, value))
        plane.documents()
        status = run(["plan", str(plane.intent_path), "--json"])
        said = capsys.readouterr()
        error = json.loads(said.out).get("error", {})
        told = f"{place} = {value!r}: {said.out[:2_000] if error else ''}{said.err}"
        assert status in ({2, 3, 4, 5, 7} if error else {0}), told  # 7: no disk has a name that long
        assert not any(word in json.dumps(error) + said.err for word in FOREIGN), told
        tried += 1
    assert tried > len(WEIRD)
