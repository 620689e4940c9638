"""User text never becomes SQL text, nor anything else than text (R13)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hostile_texts import hostile_texts
from small_plane import EVENT_SCHEMA, SmallPlane, as_jsonl, chargebacks, make_plane, transactions

from offline_feature_plane.__main__ import run


@pytest.fixture(scope="module")
def sound(session_folder: Path) -> Path:
    """A plane as it should be, in which nothing is named strangely."""
    return small(session_folder / "sound").folder


def small(folder: Path) -> SmallPlane:
    """The small plane with row features, a condition, and tokens."""
    plane = make_plane(folder)
    plane.profile["fields"]["customer_id"] = {"type": "string", "identifier": "customer"}
    plane.profile |= {"row_features": {"a": "amount"}, "derived": {"r": "customer.n_1d + 1"}}
    plane.intent["identifiers"] = "tokenized"
    plane.documents()
    return plane


def columns_named(text: str, plane: SmallPlane) -> None:
    """All columns of the events carry the text in their names."""
    renamed = {name: f"{text}{number}" for number, name in enumerate(EVENT_SCHEMA.names)}
    table = pa.table(transactions(), schema=EVENT_SCHEMA).rename_columns(list(renamed.values()))
    form = ("parquet", "csv", "jsonl")[len(text) % 3]
    path = plane.folder / f"renamed.{form}"
    if form == "parquet":
        pq.write_table(table, path)
    elif form == "csv":
        pyarrow.csv.write_csv(table, path)
    else:
        path.write_text(as_jsonl({**{renamed[name]: values for name, values in transactions().items()},
                                  renamed["tx_time"]: [time.isoformat() for time in transactions()["tx_time"]]}))
    plane.plane["events"]["transaction"] = {"path": path.name, "id": renamed["tx_id"], "time": renamed["tx_time"], "zone": "UTC"}
    if form == "csv":  # whose ids are text
        told = chargebacks()
        plane.labels({**told, "tx_id": [str(one) for one in told["tx_id"]]}, None)
    plane.profile["fields"] = {name: {**({"type": kind} if isinstance(kind, str) else kind), "path": [renamed[name]]}
                               for name, kind in plane.profile["fields"].items()}


def file_named(text: str, plane: SmallPlane) -> None:
    """The events' file carries the text in its name."""
    name = text.replace("/", "\u2215").replace("\0", "")[:60]
    (plane.folder / "transactions.parquet").rename(plane.folder / f"{name}.parquet")
    plane.plane["events"]["transaction"]["path"] = f"{name}.parquet"


def expression_is(text: str, plane: SmallPlane) -> None:
    """A condition, a row feature, a derived column, an aggregation or a window is the text."""
    place = len(text) % 5
    if place == 0:
        plane.intent["where"] = text
    elif place == 1:
        plane.profile["row_features"]["a"] = text
    elif place == 2:
        plane.profile["derived"]["r"] = text
    elif place == 3:
        plane.profile["groups"]["customer"]["features"]["n"] = text
    else:
        plane.profile["groups"]["customer"]["windows"] = [text]


def literal_is(text: str, plane: SmallPlane) -> None:
    """The text stands in quotes, in a condition that is true for every row."""
    if text.isprintable() and "'" not in text and "\\" not in text:
        plane.intent["where"] = f"customer_id != '{text}'"


def name_is(text: str, plane: SmallPlane) -> None:
    """A field, group, feature, split, label type, profile or plane is called by the text."""
    place = len(text) % 7
    if place == 0:
        plane.profile["fields"][text] = "string"
    elif place == 1:
        plane.profile["groups"][text] = plane.profile["groups"]["terminal"]
    elif place == 2:
        plane.profile["groups"]["customer"]["features"][text] = "count()"
    elif place == 3:
        plane.intent["splits"] = {text: plane.intent["splits"]["train"]}
    elif place == 4:
        plane.plane["labels"][text] = plane.plane["labels"].pop("chargeback")
        plane.intent["label"]["type"] = text
    elif place == 5:
        plane.profile["policy_id"] = text
    else:
        plane.plane["plane"] = text


def values_are(text: str, plane: SmallPlane) -> None:
    """The name of every terminal begins with the text: they are grouped as before."""
    columns = transactions()
    plane.events({**columns, "terminal_id": [f"{text}{one}" for one in columns["terminal_id"]]})


CHANGES = {"columns": (columns_named, 8), "file": (file_named, 6), "expression": (expression_is, 48), "literal": (literal_is, 6),
           "name": (name_is, 48), "values": (values_are, 6)}
SAME_ROWS = {"columns", "file", "literal", "values"}
STATUSES = {0, 2, 3, 4, 5}
FOREIGN = ("INTERNAL_ERROR", "ENGINE_FAILED", "duckdb", "Binder Error", "Parser Error", "Catalog Error", "Traceback", "sqlite3")


@pytest.mark.parametrize("many", [pytest.param(0, id="some"), pytest.param(850, id="many", marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", CHANGES)
def test_hostile_texts_are_only_texts(kind: str, many: int, sound: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In whatever place a text stands, the plane refuses it by a code of its own, or gives the rows that a harmless text gives."""
    text = ""

    def ask(*arguments: str) -> tuple[int, dict[str, Any]]:
        status = run([*arguments, "--json"])
        said = capsys.readouterr()
        assert status in STATUSES, (text, said.out)
        assert not any(word in said.out + said.err for word in FOREIGN), (text, said.out)
        return status, json.loads(said.out)

    def rows_of(folder: Path) -> list[dict[str, Any]]:
        found = ask("preview", str(folder / "intent.yaml"), "--rows", "30")[1]["rows"]
        return [{**row, "event_id": str(row["event_id"])} for row in found]

    expected = rows_of(sound)
    assert {row["chargeback__status"] for row in expected} == {"RESOLVED", "NOT_FOUND"}
    ends: Counter[int] = Counter()
    change, some = CHANGES[kind]
    for number, text in enumerate(hostile_texts(many or some)):
        plane = small(place / str(number))
        change(text, plane)
        plane.documents()
        before = sorted(path.name for path in plane.folder.iterdir())
        status, _ = ask("plan", str(plane.intent_path))
        ends[status] += 1
        if status == 0 and kind in SAME_ROWS:
            assert rows_of(plane.folder) == expected, text
        assert sorted(path.name for path in plane.folder.iterdir()) == before, text
    assert ends[0] > 0
    assert not Path("/tmp/ofs-was-here").exists()  # noqa: S108 - what some of the texts try to write


@pytest.mark.parametrize("count", [pytest.param(10, id="some"), pytest.param(300, id="many", marks=pytest.mark.long)])
def test_hostile_keys_and_event_types_are_only_texts(count: int, sound: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is asked for on the command line, and event types that nobody mapped, are looked up and not found, or refused."""
    plane = small(place / "p")
    for text in hostile_texts(count):
        plane.intent["rows"] = text
        (plane.folder / "asked.json").write_text(json.dumps(plane.intent))
        for arguments in (["preview", str(sound / "intent.yaml"), "--rows", "1", "--keys", f"{text}={text}"],
                          ["run", "--plane", str(sound / "plane.yaml"), "--", text], ["plan", str(plane.folder / "asked.json")]):
            status = run([arguments[0], "--json", *arguments[1:]])
            said = capsys.readouterr()
            assert status in STATUSES, (arguments, said.out)
            assert not any(word in said.out + said.err for word in FOREIGN), (arguments, said.out)


@pytest.mark.parametrize("count", [pytest.param(5, id="some"), pytest.param(400, id="many", marks=pytest.mark.long)])
def test_a_first_look_at_hostile_names_sees_only_names(count: int, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`ofs init` guesses the same of a file whose name and columns are hostile as of one whose are not, and reads no other file."""
    guesses = {}
    for number, text in enumerate(["plain", *hostile_texts(count)]):
        folder = place / str(number)
        make_plane(folder)
        table = pa.table({**transactions(), "more": [f"{text}{one}" for one in range(200)]})
        pq.write_table(table.rename_columns([*table.column_names[:-1], f"{text}more"]), folder / "look.parquet")
        name = f"{text.replace('/', '').replace(chr(0), '')[:60]}.parquet"
        (folder / "look.parquet").rename(folder / name)
        status = run(["init", str(folder / "new"), "--events", str(folder / name), "--labels", str(folder / "chargebacks.parquet"),
                      "--json"])
        said = capsys.readouterr()
        assert not any(word in said.out + said.err for word in FOREIGN), (text, said.out)
        if status == 0:
            guesses[text] = [note for note in json.loads(said.out)["notes"] if "more" not in note]
            planned = run(["plan", str(folder / "new/intent.yaml"), "--json"])
            assert planned == 0 or (planned == 2 and name != name.strip()), (text, capsys.readouterr().out)
            capsys.readouterr()
        assert status in STATUSES, (text, said.out)
    assert len(guesses) > count // 2
    assert all(notes == guesses["plain"] for notes in guesses.values())
