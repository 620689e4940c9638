"""Which label assertions changed below the as-of, told by name where labels are in files (`domain.md` §1.8, `decisions.md` D5).

```
   built ──▶ the files are written anew        ┃ as-of
   ──●──────────●──────────●──────────×────────┃──────●──▶ observed
   as it was  changed   appeared    gone       ┃ whatever is said here changes nothing
```
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from answers import ask_once, check_answer
from small_plane import START, SmallPlane, make_plane

from offline_feature_plane.__main__ import run

Row = dict[str, Any]
MAPPED = {"path": "labels", "event": "tx_id", "observed": "reported_at", "value": {"column": "outcome"}, "source": {"column": "said_by"},
          "id": "said_as", "supersedes": "instead_of"}
SCHEMA = pa.schema([("tx_id", pa.int64()), ("reported_at", pa.timestamp("us", "UTC")), ("outcome", pa.string()), ("said_by", pa.string()),
                    ("said_as", pa.string()), ("instead_of", pa.string())])


def said(event: int, outcome: str = "CHARGEBACK", **other: Any) -> Row:
    """One assertion, three days after its payment."""
    return {"tx_id": event, "reported_at": START + timedelta(hours=6 * (event - 1), days=3), "outcome": outcome, "said_by": "EXTERNAL",
            "said_as": f"cb-{event}", "instead_of": None} | other


def rows() -> list[Row]:
    """The chargebacks of the small plane, one taken back."""
    return [*(said(event) for event in range(1, 201, 5)),
            said(6, "LEGIT", said_by="HUMAN", said_as="back-6", instead_of="cb-6", reported_at=START + timedelta(days=20))]


def write(plane: SmallPlane, *files: list[Row]) -> None:
    """The assertions, in as many files as there are lists."""
    (plane.folder / "labels").mkdir(exist_ok=True)
    for number, held in enumerate(files):
        pq.write_table(pa.Table.from_pylist(held, SCHEMA), plane.folder / "labels" / f"{number}.parquet")


@pytest.fixture
def plane(place: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """A published dataset whose labels are in a folder of files, built by the engine that is asked for."""
    made = make_plane(place / "p")
    made.plane["labels"]["chargeback"] = MAPPED
    made.plane["engine"]["name"] = getattr(request, "param", "local")
    made.documents()
    write(made, rows())
    monkeypatch.chdir(made.folder)
    assert run(["build", "intent.yaml"]) == 0
    capsys.readouterr()
    return made


def changed(held: list[Row], event: int, **other: Any) -> list[Row]:
    """The same with one event's first assertion changed."""
    place = next(number for number, row in enumerate(held) if row["tx_id"] == event)
    return [*held[:place], held[place] | other, *held[place + 1:]]


LATER = said(11, "LATER", said_as="late", reported_at=START + timedelta(days=300))
ELSEWHERE = said(9_999, "CHARGEBACK", reported_at=START)
SAME: dict[str, Callable[[list[Row]], list[list[Row]]]] = {
    "another order": lambda held: [held[::-1]],
    "two files": lambda held: [held[:17], held[17:]],
    "repeated rows": lambda held: [held + held[:9]],
    "known later": lambda held: [[*held, LATER]],
    "about no event of the basis": lambda held: [[*held, ELSEWHERE]],
}


@pytest.mark.parametrize("name", SAME)
def test_what_says_the_same_is_the_same(plane: SmallPlane, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Order, layout in files, repetition, and what was not known or is about no event change no history."""
    write(plane, *SAME[name](rows()))
    assert run(["build", "intent.yaml", "--recompute", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "REPRODUCED"


ONE_NEW = said(2, "CHARGEBACK", reported_at=START + timedelta(days=1))
OTHER = {
    "one appeared": (lambda held: [*held, ONE_NEW], {"appeared": ["cb-2"]},
                     "1 chargeback assertions appeared below the cut: cb-2 (event 2 is CHARGEBACK, observed 2026-01-02T00:00:00.000000Z)."),
    "one is gone": (lambda held: [row for row in held if row["tx_id"] != 16], {"gone": [16]},
                    "1 chargeback assertions are gone: one of event 16, observed 2026-01-07T18:00:00.000000Z."),
    "another value": (lambda held: changed(held, 16, outcome="LEGIT"), {"changed": ["cb-16"]},
                      "1 chargeback assertions were changed in place: cb-16 (event 16 is LEGIT, observed"),
    "another instant": (lambda held: changed(held, 16, reported_at=START + timedelta(days=9)), {"changed": ["cb-16"]}, "cb-16 (event 16 "),
    "another source": (lambda held: changed(held, 16, said_by="AUTO"), {"changed": ["cb-16"]}, "changed in place: cb-16"),
    "another id": (lambda held: changed(held, 16, said_as="new"), {"changed": ["new"]}, "changed in place: new (event 16"),
    "no link any more": (lambda held: [row | {"instead_of": None} for row in held], {"changed": ["back-6"]}, "back-6 (event 6 is LEGIT"),
    "moved below the cut": (lambda held: [*held, LATER | {"reported_at": START + timedelta(days=30)}], {"appeared": ["late"]}, "late ("),
    "three at once": (lambda held: [*changed([row for row in held if row["tx_id"] != 16], 21, outcome="LEGIT"), ONE_NEW],
                      {"appeared": ["cb-2"], "gone": [16], "changed": ["cb-21"]}, "are gone: one of event 16,"),
}


@pytest.mark.parametrize(("plane", "name"), [*(("local", name) for name in OTHER), ("oracle", "three at once")], indirect=["plane"])
def test_what_changed_below_the_as_of_is_named(plane: SmallPlane, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Each assertion that appeared, is gone or was changed is named, no other is, and what is published stays as it is."""
    change, expected, told = OTHER[name]
    write(plane, change(rows()))
    before = [path.read_bytes() for path in plane.manifests()]
    said_so = ask_once(capsys, "build", "intent.yaml", "--recompute")
    check_answer(said_so, 5, "LABEL_HISTORY_CHANGED", (told,))
    found = said_so.error["fields"]["changes"]["chargeback"]
    assert {"appeared": [one["label_assertion_id"] for one in found["first"]], "gone": [one["event_id"] for one in found["first_gone"]],
            "changed": [one["label_assertion_id"] for one in found["first_changed"]]} == {
                "appeared": [], "gone": [], "changed": []} | expected
    assert [found[name] for name in ("appeared", "gone", "changed")] == [
        len(expected.get(name, ())) for name in ("appeared", "gone", "changed")]
    assert ([path.read_bytes() for path in plane.manifests()], plane.leftovers()) == (before, [])


def test_changed_labels_are_told_before_the_gates_that_they_fail(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a timeline that has lost every positive, one is told that it changed and not that nothing can be learnt from it."""
    write(plane, [row | {"outcome": "LEGIT"} for row in rows()])
    said_so = ask_once(capsys, "build", "intent.yaml", "--recompute")
    check_answer(said_so, 5, "LABEL_HISTORY_CHANGED", ("40 chargeback assertions were changed in place: cb-1 (event 1 is LEGIT",))
    assert said_so.error["fields"]["changes"]["chargeback"]["told_one_of"] == 1
