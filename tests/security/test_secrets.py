"""No secret, and no identifier that leaves as a token, is in any byte that is written (R16): canaries are planted, and looked for."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from archive_plane import make_archive_plane
from small_plane import EVENT_SCHEMA, EVENTS, SmallPlane, make_plane, transactions

from offline_feature_plane.__main__ import run
from offline_feature_plane.engines.local import session
from offline_feature_plane.machines import warm_kernels
from offline_feature_plane.testing.archives import archived, write_archive

KEY = b"CANARYtokenkey17"
SECRETS = {name: f"CANARY-{name}-{number:04}" for number, name in enumerate((
    "PGPASSWORD", "PGPASSFILE", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "aws-profile", "OFS_UNKNOWN", "UNRELATED", "ledger-password",
    "ledger-parameter", "ledger-sslpassword", "store-key", "store-query", "events-path", "labels-path", "archives-path", "root", "work",
    "features-ref", "facts-ref", "dataset-ref", "key-file", "signature", "env-store", "env-ledger"))}
CUSTOMERS, TERMINALS = [f"CANARY-customer-{one:02}" for one in range(7)], [f"CANARY-terminal-{one:02}" for one in range(11)]
FORMS = [KEY, KEY.hex().encode(), KEY.hex().upper().encode(), base64.b64encode(KEY), base64.urlsafe_b64encode(KEY), repr(KEY).encode(),
         *(value.encode() for value in SECRETS.values()), *(base64.b64encode(value.encode()) for value in SECRETS.values())]
INPUTS = {"transactions.parquet", "transactions.csv", "transactions.jsonl", "chargebacks.parquet", "archive", "tokens.key", "pgpass",
          "home", "plane.yaml", "features.yaml", "intent.yaml"}


def planted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """The small plane whose customers, terminals, key and environment are canaries; identifiers leave as tokens only."""
    warm_kernels()  # from where they are kept: below, the user's folders are others
    plane = make_plane(folder)
    numbers = range(EVENTS)
    plane.events({**transactions(), "customer_id": [CUSTOMERS[one % 7] for one in numbers],
                  "terminal_id": [TERMINALS[one % 11] for one in numbers]})
    plane.profile["groups"]["customer"]["features"] |= {"where": "last(terminal_id)"}
    plane.profile |= {"row_features": {"who": "customer_id"}, "derived": {"whom": "coalesce(customer.where_7d, who)"}}
    plane.profile["fields"]["terminal_id"] = {"type": "string", "identifier": "customer"}
    plane.profile["fields"]["customer_id"] = {"type": "string", "identifier": "customer"}
    plane.intent["identifiers"] = "tokenized"
    (folder / "tokens.key").write_bytes(KEY + b"\n")
    (folder / "home/.aws").mkdir(parents=True)
    (folder / "home/.aws/credentials").write_text(
        f"[default]\naws_access_key_id = AKIAX\naws_secret_access_key = {SECRETS['aws-profile']}\n")
    (folder / "pgpass").write_text(f"*:*:*:*:{SECRETS['PGPASSFILE']}\n")
    (folder / "pgpass").chmod(0o600)
    for name, value in {"PGPASSWORD": SECRETS["PGPASSWORD"], "PGPASSFILE": str(folder / "pgpass"), "AWS_ACCESS_KEY_ID": "AKIAX",
                        "AWS_SECRET_ACCESS_KEY": SECRETS["AWS_SECRET_ACCESS_KEY"], "AWS_SESSION_TOKEN": SECRETS["AWS_SESSION_TOKEN"],
                        "UNRELATED": SECRETS["UNRELATED"], "HOME": str(folder / "home"), "XDG_CACHE_HOME": str(folder / "cache"),
                        "OFS_DEBUG": "1"}.items():
        monkeypatch.setenv(name, value)
    plane.documents()
    return plane


def leaks(folder: Path, said: str) -> list[str]:
    """Canaries in what was printed, and in every file that a test did not put there itself: their contents and their names."""
    forms = [*FORMS, *(one.encode() for one in (*CUSTOMERS, *TERMINALS))]
    found = [f"printed: {form!r}" for form in forms if form in said.encode()]
    for path in folder.rglob("*"):
        if path.relative_to(folder).parts[0] not in INPUTS:
            data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found += [f"{path}: {form!r}" for form in forms if form in data or form in os.fsencode(path.relative_to(folder))]
    return found


def test_what_looks_for_canaries_finds_them(tmp_path: Path) -> None:
    """A canary in a file, in a name and in what was printed is seen, in each of its forms."""
    (tmp_path / CUSTOMERS[0]).write_bytes(b"x" + KEY.hex().encode())
    (tmp_path / "intent.yaml").write_text(CUSTOMERS[1])  # a test's own
    found = leaks(tmp_path, base64.b64encode(KEY).decode())
    assert {one.partition(": ")[2] for one in found} == {repr(form) for form in (
        base64.b64encode(KEY), KEY.hex().encode(), CUSTOMERS[0].encode())}


GOOD = (["plan", "intent.yaml"], ["preview", "intent.yaml"], ["pin", "intent.yaml"], ["build", "intent.yaml"], ["build", "intent.yaml"],
        ["build", "intent.yaml", "--recompute"], ["enqueue", "intent.yaml"], ["worker", "--once"], ["runs"], ["datasets"],
        ["labels", "intent.yaml"], ["show", "dm_"], ["show", "dm_", "--croissant"], ["verify", "dm_"], ["audit", "dm_"], ["admit", "dm_"],
        ["ledger", "verify"], ["gc", "--dry-run"], ["retire", "dm_", "--reason", "over"])


@pytest.mark.parametrize("engine", ["local", "oracle"])
def test_a_whole_life_writes_no_secret(engine: str, place: Path, monkeypatch: pytest.MonkeyPatch,
                                       capfd: pytest.CaptureFixture[str]) -> None:
    """Planning, looking, building, queueing, verifying, auditing, admitting and retiring, as text and as JSON: tokens only."""
    plane = planted(place / "p", monkeypatch)
    plane.plane["engine"] = {"name": engine}
    plane.documents()
    monkeypatch.chdir(plane.folder)
    said = ""
    for command in GOOD:
        for form in ([], ["--json"]):
            status = run([*command, *form])
            told = capfd.readouterr()
            said += told.out + told.err
            assert status in {0, 2}, (command, told)
    assert len(plane.manifests()) == 1
    assert re.search(r"\b[0-9a-f]{32}\b", said)  # tokens are shown
    assert leaks(plane.folder, said) == []


def with_address(steps: str, address: str) -> Callable[[SmallPlane], None]:
    """plane.yaml holds an address with a secret."""
    def change(plane: SmallPlane) -> None:
        here = plane.plane
        *path, last = steps.split(".")
        for step in path:
            here = here.setdefault(step, {})
        here[last] = [address] if last == "roots" else address
    return change


def asked(name: str, value: str) -> Callable[[SmallPlane], None]:
    """The intent holds an address with a secret."""
    return lambda plane: plane.intent.update({name: value})


def column(**columns: Any) -> Callable[[SmallPlane], None]:
    """Some events hold what their fields refuse; the customers stay canaries."""
    def change(plane: SmallPlane) -> None:
        told = {**transactions(), "customer_id": [CUSTOMERS[one % 7] for one in range(EVENTS)], **columns}
        plane.events(told, pa.schema([field for field in EVENT_SCHEMA if field.name not in columns] + [
            (name, pa.array(values).type) for name, values in columns.items()]))
    return change


def as_integer(plane: SmallPlane) -> None:
    """The customers' ids are text, and declared as integers."""
    plane.profile["fields"]["customer_id"]["type"] = "int64"
    plane.profile["groups"]["customer"]["features"].pop("where")
    plane.profile |= {"row_features": {}, "derived": {}}


def lines(text: str, name: str = "transactions.jsonl") -> Callable[[SmallPlane], None]:
    """The events as a text file."""
    def change(plane: SmallPlane) -> None:
        plane.plane["events"]["transaction"] |= {"path": name, "zone": "UTC"}
        (plane.folder / name).write_text(text)
    return change


ROW = f'{{"tx_id": 1, "tx_time": "2026-01-01T00:00:00Z", "customer_id": "{CUSTOMERS[0]}", "terminal_id": "{TERMINALS[0]}", "amount": 1}}'
BAD: dict[str, Callable[[SmallPlane], None]] = {
    "a password in the ledger": with_address("ledger", f"postgresql://ofs:{SECRETS['ledger-password']}@127.0.0.1:1/db"),
    "a password as a parameter": with_address("ledger", f"postgresql://127.0.0.1:1/db?password={SECRETS['ledger-parameter']}"),
    "a key's password": with_address("ledger", f"postgresql://127.0.0.1:1/db?sslpassword={SECRETS['ledger-sslpassword']}"),
    "keys in the store": with_address("store", f"s3://AKIAX:{SECRETS['store-key']}@bucket/x"),
    "a signed store": with_address("store", f"s3://bucket/x?X-Amz-Signature={SECRETS['store-query']}"),
    "a signed table": with_address("events.transaction.path", f"https://bucket.example/t.parquet?X-Amz-Signature={SECRETS['signature']}"),
    "a table with a user": with_address("events.transaction.path", f"https://user:{SECRETS['events-path']}@example/t.parquet"),
    "labels with a user": with_address("labels.chargeback.path", f"ftp://user:{SECRETS['labels-path']}@example/t.csv"),
    "an archive with a user": with_address("archives.x.path", f"gs://user:{SECRETS['archives-path']}@bucket"),
    "a root with a user": with_address("roots", f"smb://user:{SECRETS['root']}@host/share"),
    "a work folder with a user": with_address("work", f"smb://user:{SECRETS['work']}@host/share"),
    "a key file with a user": with_address("tokens.key_file", f"vault://user:{SECRETS['key-file']}@host/key"),
    "a profile with a user": asked("features", f"https://user:{SECRETS['features-ref']}@example/features.yaml"),
    "facts with a user": asked("run_facts", f"https://user:{SECRETS['facts-ref']}@example/facts.json"),
    "a server that is not there": with_address("ledger", "postgresql://ofs@127.0.0.1:1/db?connect_timeout=2"),
    "identifiers that are no numbers": as_integer,
    "identifiers that are missing": column(customer_id=[None, *CUSTOMERS * 28, *CUSTOMERS[:3]]),
    "two events of one id": column(tx_id=[1, 1, *range(3, EVENTS + 1)]),
    "amounts that do not fit": column(amount=[Decimal("123456789012.123")] * EVENTS),
    "a broken line": lines(f"{ROW}\n{ROW[:-1]}\n"),
    "a line with a key twice": lines(f'{ROW}\n{ROW[:-1]}, "tx_id": 2}}\n'),
    "a half surrogate": lines(ROW.replace(CUSTOMERS[0], f"{CUSTOMERS[0]}\\ud800")),
    "a time that is none": lines(f"{ROW}\n{ROW.replace('2026-01-01T00', '2026-13-01T00')}\n"),
    "a ragged row": lines(f"tx_id,tx_time,customer_id,terminal_id,amount\n1,2026-01-01T00:00:00Z,{CUSTOMERS[0]}\n", "transactions.csv"),
    "text behind a quote": lines(f'tx_id,tx_time,customer_id,terminal_id,amount\n1,2026-01-01T00:00:00Z,"{CUSTOMERS[0]}"x,T,1\n',
                                 "transactions.csv"),
    "labels that nobody maps": lambda plane: plane.plane["labels"]["chargeback"].update(value={"column": "outcome", "X": "Y"}),
    "a target that is degenerate": lambda plane: plane.intent["label"].update(positive=["STOLEN"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_refusal_tells_no_secret(name: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Addresses with secrets are refused without being repeated, and messages about data show no identifier; receipts neither."""
    plane = planted(place / "p", monkeypatch)
    BAD[name](plane)
    plane.documents()
    said = ""
    for command in ("plan", "preview", "build"):
        for form in ([], ["--json"]):
            status = run([command, str(plane.intent_path), *form])
            told = capfd.readouterr()
            said += told.out + told.err
            assert status in ({2, 3, 4, 5, 7} if command == "build" else {0, 2, 3, 4, 5, 7}), told
    assert "INTERNAL_ERROR" not in said
    assert leaks(plane.folder, said) == []


@pytest.mark.parametrize(("variable", "value"), [
    ("OFS_UNKNOWN", SECRETS["OFS_UNKNOWN"]), ("OFS_STORE", f"s3://AKIAX:{SECRETS['env-store']}@bucket"),
    ("OFS_LEDGER", f"postgresql://ofs:{SECRETS['env-ledger']}@127.0.0.1:1/db"), ("OFS_ENGINE__THREADS", f"x://{SECRETS['UNRELATED']}")])
def test_a_refused_variable_is_named_and_not_shown(variable: str, value: str, place: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capfd: pytest.CaptureFixture[str]) -> None:
    """What the environment says wrongly is told by the name of the variable."""
    plane = planted(place / "p", monkeypatch)
    monkeypatch.setenv(variable, value)
    assert run(["plan", str(plane.intent_path), "--json"]) == 2
    told = capfd.readouterr()
    assert variable in told.out
    assert leaks(plane.folder, told.out + told.err) == []


def test_a_dataset_is_asked_for_without_repeating_an_address(place: Path, monkeypatch: pytest.MonkeyPatch,
                                                             capfd: pytest.CaptureFixture[str]) -> None:
    """A signed address given by mistake as a dataset is not printed."""
    plane = planted(place / "p", monkeypatch)
    assert run(["show", f"https://bucket.example/dm.json?X-Amz-Signature={SECRETS['dataset-ref']}", "--plane",
                str(plane.folder / "plane.yaml"), "--json"]) == 2
    assert leaks(plane.folder, "".join(capfd.readouterr())) == []


def test_archives_keep_identifiers_to_themselves(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Records of an archive whose customers are canaries: one that a field refuses is told by its coordinate only."""
    plane = make_archive_plane(place / "p")
    told = transactions()
    write_archive(plane.folder / "archive", [
        archived(str(told["tx_id"][one]), int(told["tx_time"][one].timestamp()) * 1_000_000,
                 {"customer_id": {"x": CUSTOMERS[0]} if one == 150 else CUSTOMERS[one % 7], "terminal_id": TERMINALS[0], "amount": 1},
                 offset=one, platform_run_id="cards") for one in range(EVENTS)], per_segment=50)
    plane.profile["fields"]["customer_id"] = {"type": "string", "identifier": "customer"}
    plane.documents()
    said = ""
    for form in ([], ["--json"]):
        assert run(["build", str(plane.intent_path), *form]) in {4, 5}
        said += "".join(capfd.readouterr())
    assert "@150" in said
    assert leaks(plane.folder, said) == []


def test_a_defect_shows_where_and_no_value(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A traceback with OFS_DEBUG names files and lines; the key and the rows that were at hand are not in it, nor in any receipt."""
    plane = planted(place / "p", monkeypatch)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("this is a defect")

    monkeypatch.setattr(session.LocalSession, "rows", fail)
    assert run(["build", str(plane.intent_path)]) == 70
    told = capfd.readouterr()
    assert "Traceback" in told.err
    assert leaks(plane.folder, told.out + told.err) == []


def test_a_killed_build_leaves_no_identifier(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process leaves that is killed while it stages rows holds tokens only, and lies in a folder of its own user."""
    home = {name: os.environ.get(name) for name in ("HOME", "XDG_CACHE_HOME")}  # where kernels are compiled already
    plane = planted(place / "p", monkeypatch)
    code = ("import os, signal, sys\n"
            "from offline_feature_plane.corridor import parts\n"
            "from offline_feature_plane.__main__ import run\n"
            "parts._OpenPart.close = lambda self: (self._writer.close(), os.kill(os.getpid(), signal.SIGKILL))\n"
            "run(['build', sys.argv[1]])\n")
    done = subprocess.run([sys.executable, "-c", code, str(plane.intent_path)], capture_output=True, text=True, check=False,
                          env={name: value for name, value in {**os.environ, **home}.items() if value is not None})
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = (plane.folder / "work").iterdir()
    assert any(path.suffix == ".parquet" for path in left.rglob("*"))
    assert stat.S_IMODE(left.stat().st_mode) == 0o700
    assert leaks(plane.folder, done.stdout + done.stderr) == []


def test_tokens_are_what_the_key_makes_of_identifiers(place: Path, monkeypatch: pytest.MonkeyPatch,
                                                      capfd: pytest.CaptureFixture[str]) -> None:
    """The identifiers are there, as tokens of their key: another key makes others, so the search above did not look at empty columns."""
    seen = []
    for number in range(2):
        plane = planted(place / str(number), monkeypatch)
        if number:
            (plane.folder / "tokens.key").write_bytes(b"another key")
        assert run(["preview", str(plane.intent_path), "--json"]) == 0
        rows = json.loads(capfd.readouterr().out)["rows"]
        seen.append([row["who"] for row in rows])
        assert all(re.fullmatch(r"[0-9a-f]{32}", row["who"]) for row in rows)
    assert set(seen[0]).isdisjoint(seen[1])
