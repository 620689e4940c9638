"""`ofs init`: files that nobody has described become a plane that plans, previews and builds, or a refusal that says what to bring."""

import csv
import gzip
import json
import stat
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_feature_plane.__main__ import run
from offline_feature_plane.documents import load_yaml

START = datetime(2025, 3, 1, tzinfo=UTC)
COUNT, DAYS = 900, 150


@dataclass(frozen=True)
class Event:
    """One payment, before it is written in somebody's way."""

    number: int
    at: datetime
    who: int
    place: int
    cents: int
    bad: bool

    @property
    def euros(self) -> float:
        """The amount as a float."""
        return self.cents / 100

    @property
    def local(self) -> datetime:
        """The time without a zone."""
        return self.at.replace(tzinfo=None)

    @property
    def known(self) -> datetime:
        """When its chargeback became known."""
        return self.at + timedelta(days=2 + self.number * 7 % 20, hours=3)


EVENTS = [Event(i, START + timedelta(seconds=i * DAYS * 86_400 // COUNT), i * 31 % 53, i * 17 % 23, 100 + i * 7919 % 99_000,
                i * 13 % 11 == 0)
          for i in range(COUNT)]
BAD = [one for one in EVENTS if one.bad]


def as_csv(path: Path, rows, **dialect) -> str:
    """Write CSV and return its name."""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, list(rows[0]), **dialect)
        out.writeheader()
        out.writerows(rows)
    return path.name


def as_jsonl(path: Path, rows) -> str:
    """Write JSON Lines and return the name."""
    text = "".join(json.dumps(row, default=str, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path.name


def as_parquet(path: Path, rows, **types) -> str:
    """Write Parquet, some columns in types of their own, and return its name."""
    table = pa.Table.from_pylist(rows)
    for name, kind in types.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path)
    return path.name


def z(at: datetime) -> str:
    """An instant as RFC 3339."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(**columns):
    """The usual columns in usual types, some of them replaced."""
    return [{"id": one.number, "time": one.at, "customer_id": one.who, "amount": one.euros, "is_fraud": one.bad}
            | {name: make(one) for name, make in columns.items()} for one in EVENTS]


def reason_codes(folder):
    """Text ids, ISO times, a column of reasons that says nothing about good or bad: every row is a chargeback."""
    return (as_csv(folder / "payments.csv", [{"payment_id": f"p-{e.number:x}", "created": z(e.at), "card no": f"c{e.who}",
                                              "merchantId": f"M{e.place}", "amount": f"{e.euros:.2f}", "note": ""} for e in EVENTS]),
            as_csv(folder / "cb.csv", [{"payment_id": f"p-{e.number:x}", "reported_on": z(e.known), "reason": 4837 + e.who % 2}
                                       for e in BAD]))


def upper_case(folder):
    """Names in capitals, local times, numbers written as text, a second column that tells the answer."""
    return as_parquet(folder / "tx.parquet", [{"TRANSACTION_ID": e.number, "TX_DATETIME": e.local, "CUSTOMER_ID": str(e.who),
                                               "TERMINAL_ID": str(e.place), "TX_AMOUNT": e.euros, "TX_TIME_SECONDS": str(e.number * 14_400),
                                               "TX_FRAUD": int(e.bad), "TX_FRAUD_SCENARIO": int(e.bad) * 2.5} for e in EVENTS]), None


def milliseconds(folder):
    """Timestamps in ms without a zone, decimals, a column without any value, label values as words."""
    return as_parquet(folder / "events.parquet", [{"id": e.number, "ts": e.local, "user": f"u{e.who}", "amount": Decimal(e.cents) / 100,
                                                   "nothing": None, "label": "fraud" if e.bad else "ok"} for e in EVENTS],
                      ts=pa.timestamp("ms")), None


def german(folder):
    """Names and values in another language, with umlauts and blanks."""
    return (as_csv(folder / "Umsätze.csv", [{"Umsatz-Nr": e.number + 1000, "Buchungszeit": e.local, "Kunden Nr": f"K{e.who}",
                                             "Händler": f"H{e.place}", "Betrag (EUR)": f"{e.euros:.2f}", "Währung": "EUR"}
                                            for e in EVENTS]),
            as_csv(folder / "Rückbuchungen.csv", [{"Umsatz-Nr": e.number + 1000, "gemeldet am": e.known.replace(tzinfo=None),
                                                   "Status": "KEIN_BETRUG" if e.who % 4 == 0 else "BETRUG"} for e in BAD]))


def nested_lines(folder):
    """JSON Lines with objects, lists and gaps; cases with several outcomes and a column of no interest."""
    return (as_jsonl(folder / "tx.jsonl", [{"transactionId": f"t{e.number}", "transactionDt": z(e.at), "customer": {"id": e.who},
                                            "junk": [1],
                                            "cust no": str(e.who), "amount": e.euros, "device": None if e.who % 5 == 0 else f"d{e.place}"}
                                           for e in EVENTS]),
            as_jsonl(folder / "cases.jsonl", [{"case": i, "transactionId": f"t{e.number}", "decidedAt": z(e.known), "analyst": "x",
                                               "status": "FALSE_POSITIVE" if e.who % 2 else "CONFIRMED_FRAUD"}
                                              for i, e in enumerate(EVENTS) if e.number % 9 < 2]))


def other_link(folder):
    """The label file names the event's id differently, and has an id of its own that runs over the same numbers."""
    return (as_parquet(folder / "orders.parquet", [{"order_id": e.number, "placed_at": e.at, "buyer": f"b{e.who}", "total": e.euros}
                                                   for e in EVENTS]),
            as_parquet(folder / "returns.parquet", [{"id": i, "order": e.number, "returned_at": e.known} for i, e in enumerate(BAD)]))


def zipped_lines(folder):
    """Gzipped lines, times with an offset, amounts as text, truth values."""
    zone = timezone(timedelta(hours=2))
    return as_jsonl(folder / "t.jsonl.gz", [{"tid": e.number, "time": e.at.astimezone(zone).isoformat(), "acct": e.who,
                                             "amt": f"{e.euros:.2f}",
                                             "fraudulent": e.bad} for e in EVENTS]), None


def nanoseconds(folder):
    """What a dataframe library writes: ns timestamps, categories, ids with leading zeros, card numbers as integers."""
    rows = [{"tx": f"{e.number:08d}", "when": e.local, "cc_num": 4_000_000_000_000_000 + e.who, "category": "food", "amt": e.euros,
             "is_fraud": int(e.bad)} for e in EVENTS]
    return as_parquet(folder / "sim.parquet", rows, when=pa.timestamp("ns"), category=pa.dictionary(pa.int32(), pa.string())), None


def unnamed_column(folder):
    """A CSV with a column without a name, coordinates, and a date that is no event's time."""
    return as_csv(folder / "train.csv", [{"": e.number, "trans_date_trans_time": e.local, "cc_num": e.who + 2_703_186_189_652_095,
                                          "merchant": f"fraud_{e.place}", "amt": e.euros, "zip": e.who, "lat": 36.07 + e.who,
                                          "dob": "1988-03-09",
                                          "trans_num": f"{e.number:032x}", "unix_time": int(e.at.timestamp()), "is_fraud": int(e.bad)}
                                         for e in EVENTS]), None


def gaps(folder):
    """Empty fields in keys and amounts; yes and no."""
    return as_csv(folder / "d.csv", plain(time=lambda e: z(e.at), customer_id=lambda e: e.who or "",
                                          is_fraud=lambda e: "yes" if e.bad else "no",
                                          amount=lambda e: e.euros if e.number % 9 else "")), None


def all_judged(folder):
    """Every event has a label, and no column says when it became known."""
    return (as_parquet(folder / "tx.parquet", [{"tx_id": e.number, "tx_time": e.at, "card_id": e.who, "amount": e.euros} for e in EVENTS]),
            as_parquet(folder / "labels.parquet", [{"tx_id": e.number, "label": int(e.bad)} for e in EVENTS]))


def folder_of_parts(folder):
    """A folder of Parquet files, keys that are not called ids, negative amounts."""
    for part in range(3):
        as_parquet(folder / f"tx/part-{part}.parquet", [{"tx_id": str(e.number), "ts": e.at, "iban": f"DE{e.who:020d}",
                                                         "counterparty": f"X{e.place}",
                                                         "amount": -e.euros} for e in EVENTS[part::3]])
    return "tx", as_parquet(folder / "recalls.parquet", [{"tx_id": str(e.number), "known_at": e.known} for e in BAD])


def single_precision(folder):
    """Timestamps in a zone; cents as 32-bit floats are still cents."""
    return as_parquet(folder / "tx.parquet", plain(), time=pa.timestamp("us", "Europe/Paris"), amount=pa.float32()), None


def odd_names(folder):
    """Column names that the feature language keeps for itself, and two that differ in case only."""
    return as_parquet(folder / "and.parquet", [{"event_id": e.number, "ts": e.at, "target": e.who, "split": "a", "cold": 1.5,
                                                "weight": e.euros,
                                                "and": f"x{e.place}", "or_id": e.who, "OR_ID": e.place, "is_fraud": e.bad}
                                               for e in EVENTS]), None


def several_assertions(folder):
    """A case goes through states; only the last one says fraud."""
    states = ("OPEN", "UNDER_REVIEW", "FRAUD_CONFIRMED")
    return (as_parquet(folder / "tx.parquet", [{"tx_id": e.number, "ts": e.at, "card_id": e.who, "amount": e.euros} for e in EVENTS]),
            as_parquet(folder / "chargeback_cases.parquet", [{"tx_id": e.number, "updated_at": e.known + timedelta(days=4 * k),
                                                              "status": state}
                                                             for e in BAD for k, state in enumerate(states[:3 - e.who % 2])]))


def local_times_twice(folder):
    """Labels as integers against text ids, each of them twice, in local times."""
    return (as_parquet(folder / "tx.parquet", [{"tx_id": str(e.number), "ts": e.local, "card_id": e.who, "amount": e.euros}
                                               for e in EVENTS]),
            as_csv(folder / "cb.csv", [{"tx_id": e.number, "reported_at": e.known.replace(tzinfo=None), "is_fraud": 1} for e in BAD
                                       for _ in "ab"]))


def nothing_named(folder):
    """A file name with blanks and signs; nothing is named like a key, but two texts come back."""
    return as_parquet(folder / "My Data (final).parquet", [{"Ref": f" {e.number} ", "Time Stamp": e.at, "who": f"w{e.who}",
                                                            "spot": f"p{e.place}",
                                                            "Money €": e.euros, "Fraud?": e.bad} for e in EVENTS]), None


def odd_values(folder):
    """A byte order mark, line breaks in fields, truth told in sentences with quotes, a column name too long to keep, two keys alike."""
    name = as_csv(folder / "x.csv", plain(time=lambda e: z(e.at), memo=lambda _: 'a\nb,"c"', customer=lambda e: e.place,
                                          is_fraud=lambda e: "it's fraud, \"sure\"" if e.bad else "fine: ok",
                                          **{"card " + "very " * 30 + "long": lambda e: f"q{e.who}"}))
    (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    return name, None


def large_amounts(folder):
    """Cents of very large amounts are kept; a column with NaN is left alone."""
    return as_parquet(folder / "x.parquet", plain(amount=lambda e: e.cents * 10_000.0 + 0.07, odd=lambda _: float("nan"))), None


def short(folder):
    """Five days are too short for two splits."""
    return as_parquet(folder / "x.parquet", plain(time=lambda e: START + timedelta(minutes=8 * e.number))), None


STARTS = {
    reason_codes: ("payment_id", ["card_no", "merchant_id"], ["CB"], "decimal(12,2)"),
    upper_case: ("TRANSACTION_ID", ["customer_id", "terminal_id"], ["TX_FRAUD"], {"type": "decimal(12,2)", "path": ["TX_AMOUNT"],
                                                                               "round": "half_even"}),
    milliseconds: ("id", ["user"], ["fraud"], "decimal(12,2)"),
    german: ("Umsatz-Nr", ["handler", "kunden_nr"], ["BETRUG"], {"type": "decimal(12,2)", "path": ["Betrag (EUR)"]}),
    nested_lines: ("transactionId", ["device"], ["CONFIRMED_FRAUD"], "decimal(12,2)"),
    other_link: ("order_id", ["buyer"], ["RETURN"], {"type": "decimal(12,2)", "round": "half_even"}),
    zipped_lines: ("tid", ["acct"], ["FRAUDULENT"], "decimal(12,2)"),
    nanoseconds: ("tx", ["cc_num"], ["FRAUD"], {"type": "decimal(12,2)", "round": "half_even"}),
    unnamed_column: ("trans_num", ["cc_num", "merchant"], ["FRAUD"], "decimal(12,2)"),
    gaps: ("id", ["customer_id"], ["yes"], {"type": "decimal(12,2)", "missing": None}),
    all_judged: ("tx_id", ["card_id"], ["LABEL"], {"type": "decimal(12,2)", "round": "half_even"}),
    folder_of_parts: ("tx_id", ["counterparty", "iban"], ["RECALL"], {"type": "decimal(12,2)", "round": "half_even"}),
    single_precision: ("id", ["customer_id"], ["FRAUD"], {"type": "decimal(12,2)", "round": "half_even"}),
    odd_names: ("event_id", ["or_id", "or_id_b"], ["FRAUD"], None),
    several_assertions: ("tx_id", ["card_id"], ["FRAUD_CONFIRMED"], {"type": "decimal(12,2)", "round": "half_even"}),
    local_times_twice: ("tx_id", ["card_id"], ["FRAUD"], {"type": "decimal(12,2)", "round": "half_even"}),
    nothing_named: ("Ref", ["spot", "who"], ["FRAUD"], {"type": "decimal(12,2)", "path": ["Money €"], "round": "half_even"}),
    odd_values: ("id", ["card_very_very_very_very_very_very_very_very_ver", "customer", "customer_id"], ["IT_S_FRAUD_SURE_1"],
                 "decimal(12,2)"),
    large_amounts: ("id", ["customer_id"], ["FRAUD"], {"type": "decimal(14,2)", "round": "half_even"}),
    short: ("id", ["customer_id"], ["FRAUD"], {"type": "decimal(12,2)", "round": "half_even"}),
}


def asked(*words):
    """Run `ofs` in this process."""
    return run([str(word) for word in words])


def init(folder, events, labels, *more):
    """Run `ofs init` on files of a folder."""
    return asked("init", folder / "plane", "--events", folder / events, *(["--labels", folder / labels] if labels else []), *more)


@pytest.mark.parametrize("start", STARTS, ids=lambda one: one.__name__)
def test_unseen_files_become_a_plane_that_builds(start, tmp_path, capsys):
    """Whatever the files look like, what `ofs init` writes plans, previews and builds unchanged, and may train a model."""
    event_id, keys, positive, amount = STARTS[start]
    events, labels = start(tmp_path)
    assert init(tmp_path, events, labels) == 0, capsys.readouterr().err
    documents = {name: load_yaml((tmp_path / f"plane/{name}.yaml").read_bytes(), name=name).value for name in ("plane", "features",
                                                                                                               "intent")}
    assert next(iter(documents["plane"]["events"].values()))["id"] == event_id
    assert sorted({group["key"] for group in documents["features"]["groups"].values()}) == keys
    assert documents["intent"]["label"]["positive"] == positive
    assert amount is None or amount in documents["features"]["fields"].values()
    assert "scenario" not in str(documents["features"]).lower()
    intent = tmp_path / "plane/intent.yaml"
    assert asked("preview", intent, "--rows", 1) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert asked("build", intent, "--json") == 0, capsys.readouterr().out
    built = json.loads(capsys.readouterr().out)
    assert (built["outcome"], built["eligibility"]["training_ready"]) == ("PUBLISHED", True)
    assert built["row_count"] > COUNT // 3


REFUSALS = {
    "no time": (lambda d: as_csv(d / "x.csv", plain(time=lambda e: e.at.strftime("%m/%d/%Y"))), 2, ("time holds other text", "RFC 3339")),
    "days only": (lambda d: as_parquet(d / "x.parquet", plain(), time=pa.date32()), 2,
                  ("time holds days, which are not instants", "2026-01-31T00:00:00", "zone:")),
    "days as text": (lambda d: as_csv(d / "x.csv", plain(time=lambda e: e.at.strftime("%Y-%m-%d"))), 2,
                     ("time holds days", "2026-01-31T00:00:00", "zone:")),
    "minutes": (lambda d: as_csv(d / "x.csv", plain(time=lambda e: e.at.strftime("%Y-%m-%d %H:%M"))), 2,
                ("time holds times without seconds", "Write seconds")),
    "short offsets": (lambda d: as_csv(d / "x.csv", plain(time=lambda e: e.at.strftime("%Y-%m-%d %H:%M:%S+00"))), 2,
                      ("without a whole offset", "+00:00")),
    "epoch": (lambda d: as_parquet(d / "x.parquet", plain(time=lambda e: e.number)), 2, ("time holds numbers", "timestamps")),
    "null times": (lambda d: as_parquet(d / "x.parquet", plain(time=lambda e: e.at if e.number else None)), 2, ("time holds nulls",)),
    "no id": (lambda d: as_parquet(d / "x.parquet", plain(id=lambda _: 1, amount=lambda _: 1.5)), 2, ("is unique", "id column")),
    "no label": (lambda d: as_parquet(d / "x.parquet", plain(is_fraud=lambda _: 1)), 2, ("looks like a label", "--labels")),
    "unknown labels": (lambda d: as_parquet(d / "x.parquet", plain(is_fraud=lambda e: e.bad if e.number % 3 else None)), 2,
                       ("is_fraud", "null in 300 of 900", "--labels")),
    "unknown form": (lambda d: as_csv(d / "x.xlsx", plain()), 3, ("does not show its format", "Name it .parquet")),
    "semicolons": (lambda d: as_csv(d / "x.csv", plain(), delimiter=";"), 3, ("separated by semicolons",)),
    "empty file": (lambda d: (d / "x.csv").write_bytes(b"") or "x.csv", 3, ("is empty",)),
    "header only": (lambda d: (d / "x.csv").write_text("id,time,customer_id\n") and "x.csv", 3, ("no row",)),
    "torn parquet": (lambda d: (d / "x.parquet").write_bytes(b"PAR1 and no more") and "x.parquet", 3, ("cannot be read",)),
    "missing file": (lambda _: "nowhere.parquet", 3, ("there is no file at", "nowhere.parquet", "Check the path.")),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_described_is_refused_whole(name, tmp_path, capsys):
    """A file that cannot be mapped is refused with what to bring, and no folder and no file is left behind."""
    write, status, words = REFUSALS[name]
    assert init(tmp_path, write(tmp_path), None) == status
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert not any(word in said for word in ("Traceback", "relative to plane.yaml", "or say `format:`"))
    assert not (tmp_path / "plane").exists()


def test_labels_of_other_events_are_refused(tmp_path, capsys):
    """Labels none of which names an event are no timeline of these events."""
    events = as_parquet(tmp_path / "tx.parquet", [{"tx_id": e.number, "ts": e.at, "card_id": e.who} for e in EVENTS])
    labels = as_parquet(tmp_path / "cb.parquet", [{"tx_id": e.number + 10_000, "reported_at": e.known} for e in BAD])
    assert init(tmp_path, events, labels) == 2
    assert "spell event ids the same way" in capsys.readouterr().err
    other = as_parquet(tmp_path / "other.parquet", [{"account": f"a{e.who}", "reported_at": e.known} for e in BAD])
    assert init(tmp_path, events, other) == 2
    assert "nor one that holds such ids" in capsys.readouterr().err


def test_days_of_labels_are_not_taken_for_instants(tmp_path, capsys):
    """A label file that only knows days: the delay is assumed, and init says which column it passed by."""
    events = as_parquet(tmp_path / "tx.parquet", [{"tx_id": e.number, "ts": e.at, "card_id": e.who, "amount": e.euros} for e in EVENTS])
    labels = as_csv(tmp_path / "cb.csv", [{"tx_id": e.number, "reported_on": e.known.strftime("%Y-%m-%d")} for e in BAD])
    assert init(tmp_path, events, labels) == 0
    assert "no time column (reported_on holds days, which are not instants)" in capsys.readouterr().out
    assert "after_event: 30d" in (tmp_path / "plane/plane.yaml").read_text()


def test_existing_files_are_listed_and_kept(tmp_path, capsys):
    """Nothing is overwritten, nothing is half written: the refusal lists what is in the way; a token key is kept and used."""
    events = as_parquet(tmp_path / "x.parquet", plain())
    (tmp_path / "plane").mkdir()
    (tmp_path / "plane/intent.yaml").write_text("mine")
    (tmp_path / "plane/features.yaml").write_text("mine")
    assert init(tmp_path, events, None) == 2
    said = capsys.readouterr().err
    assert "features.yaml" in said
    assert "intent.yaml" in said
    assert sorted(path.name for path in (tmp_path / "plane").iterdir()) == ["features.yaml", "intent.yaml"]
    assert (tmp_path / "plane/intent.yaml").read_text() == "mine"
    for name in ("intent", "features"):
        (tmp_path / f"plane/{name}.yaml").unlink()
    (tmp_path / "plane/tokens.key").write_text("my own secret")
    assert init(tmp_path, events, None) == 0
    assert "kept" in capsys.readouterr().out
    assert (tmp_path / "plane/tokens.key").read_text() == "my own secret"


def test_paths_are_relative_and_the_key_is_private(tmp_path, capsys, monkeypatch):
    """The plane can be moved together with its data: paths are relative to it. Only its owner reads the key. `--json` says the same."""
    monkeypatch.chdir(tmp_path)
    as_parquet(tmp_path / "data/x.parquet", plain())
    assert asked("init", "a/b/plane", "--events", "data/x.parquet", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == [f"a/b/plane/{name}" for name in ("plane.yaml", "features.yaml", "intent.yaml", "tokens.key")]
    assert any("half-even" in note for note in told["notes"])
    assert "ofs build a/b/plane/intent.yaml" in told["next"]
    assert load_yaml(Path("a/b/plane/plane.yaml").read_bytes(), name="p").value["events"]["x"]["path"] == "../../../data/x.parquet"
    assert stat.S_IMODE(Path("a/b/plane/tokens.key").stat().st_mode) == 0o600
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a").rename(tmp_path / "elsewhere/a")
    (tmp_path / "data").rename(tmp_path / "elsewhere/data")
    assert asked("plan", "elsewhere/a/b/plane/intent.yaml") == 0


def test_a_plane_inside_of_its_data_is_refused(tmp_path, capsys):
    """Every file of a data folder is data, so a plane's own files may not stand in it; beside single files they may."""
    as_parquet(tmp_path / "data/x.parquet", plain())
    assert asked("init", tmp_path / "data", "--events", tmp_path / "data") == 3
    assert "beside the data" in capsys.readouterr().err
    assert asked("init", tmp_path / "data", "--events", tmp_path / "data/x.parquet", "--labels", tmp_path / "data/x.parquet") == 0
    assert asked("plan", tmp_path / "data/intent.yaml") == 0


def test_init_says_what_it_needs(tmp_path, capsys):
    """Without events or a demo, or with both, it asks for one of them."""
    assert asked("init", tmp_path / "p") == 2
    assert "--events FILE" in capsys.readouterr().err
    assert asked("init", tmp_path / "p", "--demo", "--events", "x.csv") == 2
    assert "omit --events" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_an_unwritable_place_is_an_outside_failure(tmp_path, capsys):
    """A folder that cannot be made is said so, without a traceback, and nothing is left."""
    events = as_parquet(tmp_path / "x.parquet", plain())
    (tmp_path / "file").write_text("in the way")
    assert asked("init", tmp_path / "file/plane", "--events", tmp_path / events) == 7
    assert "cannot be written" in capsys.readouterr().err


def test_the_key_command_makes_one_key_once(tmp_path, capsys):
    """A plane without a key says `ofs key`; that makes one, private, and never replaces it."""
    events = as_parquet(tmp_path / "x.parquet", plain())
    assert init(tmp_path, events, None) == 0
    plane = tmp_path / "plane"
    (plane / "tokens.key").unlink()
    assert asked("plan", plane / "intent.yaml") == 2
    assert "ofs key" in capsys.readouterr().err
    assert asked("key", "--plane", plane / "plane.yaml", "--json") == 0
    key_id = json.loads(capsys.readouterr().out)["key_id"]
    made = (plane / "tokens.key").read_bytes()
    assert stat.S_IMODE((plane / "tokens.key").stat().st_mode) == 0o600
    assert asked("key", "--plane", plane / "plane.yaml") == 2
    assert "already" in capsys.readouterr().err
    assert (plane / "tokens.key").read_bytes() == made
    assert asked("pin", plane / "intent.yaml", "--json") == 0
    assert json.loads(capsys.readouterr().out)["intent"]["identifiers"]["key_id"] == key_id


def test_a_key_in_the_store_is_refused(tmp_path, capsys):
    """Whoever reads datasets must not find the key beside them."""
    (tmp_path / "plane.yaml").write_text("plane: p\nstore: store\ntokens: {key_file: store/tokens.key}\n")
    assert asked("key", "--plane", tmp_path / "plane.yaml") == 2
    assert "is inside the store" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_the_installed_command_starts_a_plane(tmp_path):
    """The real process: text on stdout, nothing on stderr, status 0."""
    events = as_parquet(tmp_path / "x.parquet", plain())
    done = subprocess.run([sys.executable, "-m", "offline_feature_plane", "init", "plane", "--events", events], cwd=tmp_path, text=True,
                          capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ofs build plane/intent.yaml" in done.stdout
