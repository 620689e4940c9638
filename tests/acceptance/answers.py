"""Asking `ofs` for what it must refuse, and what every refusal owes: status, stable code, place, advice, nothing left behind."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
from small_plane import SmallPlane

from offline_feature_plane.__main__ import run
from offline_feature_plane.errors import all_codes
from offline_feature_plane.ledger.sqlite import SqliteLedger
from offline_feature_plane.plane import SystemClock

FOREIGN = re.compile(r"Traceback|INTERNAL_ERROR|pydantic|ValidationError|duckdb|Binder Error|IO Error|Invalid Input Error|ArrowInvalid|"
                     r"pyarrow|validation error|KeyError|TypeError|Errno|<class|object at 0x|sqlite3\.")


@dataclass(frozen=True)
class Said:
    """What a command answered: exit status, text on stderr, and the error of its `--json` document."""

    status: int
    text: str
    error: dict[str, Any]


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """Ask for text and then for JSON; both must tell the same, and neither may speak of what lies beneath."""
    status = run(arguments)
    told = capsys.readouterr()
    as_json = run([*arguments, "--json"])
    said = capsys.readouterr()
    assert as_json == status, said.out
    document = json.loads(said.out)
    text = told.err
    assert not FOREIGN.search(text + said.out + said.err), text + said.out
    assert set(document) == {"error"}
    error = document["error"]
    assert error["exit_status"] == status
    assert error["code"] in text
    return Said(status, text, error)


def check_answer(said: Said, status: int, code: str, words: tuple[str, ...] = ()) -> None:
    """The answer has this status and code, its place or problems, an advice, and names these words."""
    assert (said.status, said.error["code"]) == (status, code), said.text
    assert all_codes()[code].exit_status == status
    problems = said.error.get("problems", ())
    assert said.error["fix"] or problems or "expected" in said.error["what"], said.text
    for word in words:
        assert word in said.text, said.text


def check_nothing_left(plane: SmallPlane, said: Said) -> None:
    """No dataset, no data, no half file; no run that is not over, or can go on at once if the world outside is repaired."""
    assert plane.manifests() == []
    assert plane.staged() == []
    assert plane.leftovers() == []
    ledger = plane.folder / plane.plane["ledger"]
    if ledger.is_file() and said.error["code"] != "LEDGER_UNAVAILABLE":
        states = {one.state for one in SqliteLedger(ledger, SystemClock()).runs()}
        assert states <= ({"QUEUED"} if said.error["family"] == "outside" else {"FAILED"})


def ask_once(capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """Ask for JSON only: the first answer ends the request."""
    status = run([*arguments, "--json"])
    told = capsys.readouterr()
    error = json.loads(told.out)["error"]
    assert not FOREIGN.search(told.out + told.err)
    return Said(status, f"{error['what']} {error['fix']} {error['path']}", error)
