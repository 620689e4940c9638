"""Bad input at the command line: an exit status, a stable code, a place and an advice; no traceback, and nothing left behind."""

from __future__ import annotations

import copy
import json
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from small_plane import EVENT_SCHEMA, LABEL_SCHEMA, SmallPlane, as_jsonl, chargebacks, make_plane, quick_folder, transactions

from offline_feature_plane.__main__ import run
from offline_feature_plane.errors import all_codes
from offline_feature_plane.ledger.sqlite import SqliteLedger
from offline_feature_plane.plane import SystemClock, open_plane
from offline_feature_plane.testing.archives import archived, write_archive

FOREIGN = re.compile(r"Traceback|INTERNAL_ERROR|pydantic|ValidationError|duckdb|Binder Error|IO Error|Invalid Input Error|ArrowInvalid|"
                     r"pyarrow|validation error|KeyError|TypeError|<class|object at 0x|sqlite3\.")
Change = Callable[[SmallPlane], Any]


@dataclass(frozen=True)
class Said:
    """What a command answered: exit status, text on stderr, and the error of its `--json` document."""

    status: int
    text: str
    error: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One kind of bad input.

    Attributes:
        name: in the words of the person who makes the mistake.
        change: makes it, in a complete plane. The documents are written after it unless it wrote them itself.
        status, code: what must be answered.
        words: what the message must name.
    """

    name: str
    status: int
    code: str
    change: Change
    words: tuple[str, ...] = ()


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


@pytest.fixture
def place(quick: Path) -> Path:
    """A folder of its own for each test."""
    return Path(tempfile.mkdtemp(dir=quick))


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that syncs fast."""
    with quick_folder(tmp_path_factory.mktemp("quick")) as folder:
        yield folder


# --- how mistakes are made ----------------------------------------------------------------------------------


def setting(document: str, path: str, value: Any) -> Change:
    """Put a value at a dotted path of `plane`, `profile` or `intent`."""
    def change(plane: SmallPlane) -> None:
        here = getattr(plane, document)
        *steps, last = path.split(".")
        for step in steps:
            here = here[step]
        here[last] = value
    return change


def without(document: str, path: str) -> Change:
    """Remove a dotted path."""
    def change(plane: SmallPlane) -> None:
        here = getattr(plane, document)
        *steps, last = path.split(".")
        for step in steps:
            here = here[step]
        del here[last]
    return change


def raw(name: str, content: str | bytes) -> Change:
    """Replace a whole file."""
    def change(plane: SmallPlane) -> bool:
        plane.documents()
        (plane.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return True
    return change


def appended(name: str, content: str) -> Change:
    """Add lines to a document."""
    def change(plane: SmallPlane) -> bool:
        plane.documents()
        path = plane.folder / name
        path.write_text(path.read_text() + content)
        return True
    return change


def replaced(name: str, old: str, new: str) -> Change:
    """Replace text in a document."""
    def change(plane: SmallPlane) -> bool:
        plane.documents()
        path = plane.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        return True
    return change


def csv_events(text: str | bytes) -> Change:
    """The events as a CSV file with this text."""
    def change(plane: SmallPlane) -> None:
        plane.plane["events"]["transaction"]["path"] = "transactions.csv"
        (plane.folder / "transactions.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return change


def jsonl_events(text: str) -> Change:
    """The events as a JSON Lines file with this text."""
    def change(plane: SmallPlane) -> None:
        plane.plane["events"]["transaction"]["path"] = "transactions.jsonl"
        (plane.folder / "transactions.jsonl").write_text(text)
    return change


def event_columns(schema: pa.Schema | None = None, **columns: Any) -> Change:
    """The events with some columns replaced."""
    def change(plane: SmallPlane) -> None:
        plane.events({**transactions(), **columns}, schema=schema)
    return change


def label_columns(schema: pa.Schema | None = None, **columns: Any) -> Change:
    """The labels with some columns replaced."""
    def change(plane: SmallPlane) -> None:
        plane.labels({**chargebacks(), **columns}, schema=schema)
    return change


def several(*changes: Change) -> Change:
    """Several mistakes at once."""
    def change(plane: SmallPlane) -> bool:
        answers = [one(plane) for one in changes]
        return any(answers)
    return change


def pinned(path: str, value: Any) -> Change:
    """The long form with one value changed."""
    def change(plane: SmallPlane) -> None:
        plane.documents()
        plane.intent = open_plane(plane.folder / "plane.yaml").pin(plane.intent_path).document
        setting("intent", path, value)(plane)
    return change


def pinned_then(change_after: Change) -> Change:
    """The long form, and then something else changes."""
    def change(plane: SmallPlane) -> Any:
        plane.documents()
        plane.intent = open_plane(plane.folder / "plane.yaml").pin(plane.intent_path).document
        return change_after(plane)
    return change


def truncated(name: str) -> Change:
    """A file that ends too early."""
    def change(plane: SmallPlane) -> None:
        path = plane.folder / name
        path.write_bytes(path.read_bytes()[:-100])
    return change


def removed(name: str) -> Change:
    """A file that is not there."""
    return lambda plane: (plane.folder / name).unlink()


def linked_out(plane: SmallPlane) -> bool:
    """The profile is a link that leads out of the roots."""
    plane.documents()
    outside = plane.folder.parent / "outside.yaml"
    (plane.folder / "features.yaml").rename(outside)
    (plane.folder / "features.yaml").symlink_to(outside)
    return True


def profile_outside(plane: SmallPlane) -> None:
    """An absolute ref out of the roots."""
    plane.intent["features"] = "/etc/hostname"


def sqlite_of_others(plane: SmallPlane) -> None:
    """The ledger's place is taken by a database of somebody else."""
    with sqlite3.connect(plane.folder / "ledger.sqlite") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()


def blocked(name: str) -> Change:
    """A file stands where a folder is needed."""
    def change(plane: SmallPlane) -> None:
        (plane.folder / "blocked").write_text("in the way")
        plane.plane[name] = f"blocked/{name}"
    return change


def _rows(count: int, **extra: Any) -> dict[str, list[Any]]:
    return {name: values[:count] for name, values in {**transactions(), **extra}.items()}


def facts(*, instead: str | None = None, **changes: Any) -> Change:
    """The plane needs the output `stream`, and its run facts view has a PASS for it, but for these changes, or is another text."""
    scope = {"manifest_fingerprint": "f", "parameter_hash": "p", "seed": 1, "scenario_id": "s", "run_id": "r"}
    view = {"run_id": "r", "platform_run_id": "cards", "scenario_run_id": "sr",
            "pins": {**scope, "platform_run_id": "cards", "scenario_run_id": "sr"},
            "locators": [{"output_id": "stream", "path": "x", **scope}],
            "gate_receipts": [{"gate_id": "g", "status": "PASS", "scope": scope}],
            "policy_rev": {"policy_id": "p", "revision": "1", "content_digest": "0" * 64}, "bundle_hash": "0" * 64,
            "plan_ref": "p", "record_ref": "r", "status_ref": "s", **changes}

    def change(plane: SmallPlane) -> None:
        plane.plane |= {"required_outputs": ["stream"], "gate_map": {"g": {"outputs": ["stream"]}}, "run_facts": "facts.json"}
        (plane.folder / "facts.json").write_text(json.dumps(view) if instead is None else instead)
    return change


CSV = "tx_id,tx_time,customer_id,terminal_id,amount\n"
LINE = "{0},2026-01-0{0}T00:00:00Z,C1,T1,1.50\n"
SHORT = [
    # documents: fields, versions, shapes
    Case("unknown field of the intent", 2, "SCHEMA_INVALID", setting("intent", "rowz", "x"), ("rowz", "Did you mean rows", "intent.yaml")),
    Case("unknown field of the label", 2, "SCHEMA_INVALID", setting("intent", "label.asof", "x"), ("$.label.asof", "Did you mean as_of")),
    Case("unknown field of the profile", 2, "FEATURE_PROFILE_INVALID", setting("profile", "feelds", {}), ("feelds", "features.yaml")),
    Case("unknown setting", 2, "SETTINGS_INVALID", setting("plane", "stroe", "x"), ("stroe", "Did you mean store", "plane.yaml")),
    Case("unknown field of a table", 2, "SETTINGS_INVALID", setting("plane", "events.transaction.tiem", "x"), ("tiem", "plane.yaml")),
    Case("unknown field of a timeline", 2, "SETTINGS_INVALID", setting("plane", "labels.chargeback.valeu", "x"), ("valeu", "plane.yaml")),
    Case("wrong schema version", 2, "SCHEMA_INVALID", pinned("schema_version", "learning.ofs_build_intent.v9"), ("$.schema_version", "v9")),
    Case("blank schema version", 2, "SCHEMA_INVALID", pinned("schema_version", ""), ("$.schema_version",)),
    Case("intent of another kind", 2, "INTENT_KIND_UNSUPPORTED",
         pinned("intent_kind", "parity_rebuild"), ("intent_kind", "parity_rebuild")),
    Case("intent of an unknown kind", 2, "INTENT_KIND_UNSUPPORTED", pinned("intent_kind", "deploy"), ("intent_kind", "deploy")),
    Case("empty intent", 2, "SCHEMA_INVALID", raw("intent.yaml", ""), ("mapping",)),
    Case("intent is a list", 2, "SCHEMA_INVALID", raw("intent.yaml", "- a\n- b\n"), ("mapping", "list")),
    Case("intent is one word", 2, "SCHEMA_INVALID", raw("intent.yaml", "hello\n"), ("mapping", "hello")),
    Case("empty profile", 2, "FEATURE_PROFILE_INVALID", raw("features.yaml", ""), ("features.yaml",)),
    Case("profile is a list", 2, "FEATURE_PROFILE_INVALID", raw("features.yaml", "- a\n"), ("features.yaml",)),
    Case("empty settings", 2, "SETTINGS_INVALID", raw("plane.yaml", ""), ("plane.yaml",)),
    Case("settings are a list", 2, "SETTINGS_INVALID", raw("plane.yaml", "- a\n"), ("plane.yaml",)),
    Case("broken YAML", 2, "SCHEMA_INVALID", raw("intent.yaml", "rows: [a\nlabel: {"), ("intent.yaml:", "YAML")),
    Case("YAML with a tab", 2, "SCHEMA_INVALID", raw("intent.yaml", "label:\n\ttype: x\n"), ("intent.yaml:2",)),
    Case("duplicate key", 2, "SCHEMA_INVALID", appended("intent.yaml", "rows: other\n"), ("rows", "twice", "intent.yaml:")),
    Case("duplicate key of the settings", 2, "SETTINGS_INVALID",
         appended("plane.yaml", "store: other\n"), ("store", "twice", "plane.yaml:")),
    Case("duplicate key of the profile", 2, "FEATURE_PROFILE_INVALID", appended("features.yaml", "fields: {}\n"), ("fields", "twice")),
    Case("alias", 2, "SCHEMA_INVALID", appended("intent.yaml", "gap: &g 1d\ncorrection: *g\n"), ("anchor", "intent.yaml:")),
    Case("tag", 2, "SCHEMA_INVALID", appended("intent.yaml", "gap: !!python/object:os.system x\n"), ("tag",)),
    Case("merge key", 2, "SCHEMA_INVALID", appended("intent.yaml", "<<: {a: b}\n"), ("<<",)),
    Case("NaN in YAML", 2, "SCHEMA_INVALID", replaced("intent.yaml", "maturity_days: 10", "maturity_days: .nan"), (".nan", "intent.yaml:")),
    Case("infinity in YAML", 2, "SCHEMA_INVALID", replaced("intent.yaml", "maturity_days: 10", "maturity_days: .inf"), (".inf",)),
    Case("octal number", 2, "SCHEMA_INVALID", replaced("intent.yaml", "maturity_days: 10", "maturity_days: 010"), ("010",)),
    Case("two documents in a file", 2, "SCHEMA_INVALID", appended("intent.yaml", "---\nrows: x\n"), ("second document",)),
    Case("intent is not UTF-8", 2, "SCHEMA_INVALID", raw("intent.yaml", b"rows: caf\xe9\n"), ("UTF-8", "intent.yaml")),
    Case("intent with a byte order mark", 2, "SCHEMA_INVALID", raw("intent.yaml", b"\xef\xbb\xbfrows: x\n"), ("byte order mark",)),
    Case("intent with a NUL", 2, "SCHEMA_INVALID", raw("intent.yaml", b"rows: a\x00b\n"), ("intent.yaml",)),
    Case("intent of two megabytes", 4, "RESOURCE_EXCEEDED", raw("intent.yaml", "#" * 2_000_000), ("intent.yaml",)),
    Case("nested too deep", 4, "RESOURCE_EXCEEDED", raw("intent.yaml", "a: " + "[" * 100 + "]" * 100), ("64",)),
    # values of the intent
    Case("blank rows", 2, "SCHEMA_INVALID", setting("intent", "rows", " "), ("$.rows", "blank")),
    Case("rows of a number", 2, "SCHEMA_INVALID", setting("intent", "rows", 7), ("$.rows", "text")),
    Case("rows nobody maps", 2, "BASIS_UNRESOLVED", setting("intent", "rows", "payment"), ("payment", "transaction")),
    Case("no rows", 2, "SCHEMA_INVALID", without("intent", "rows"), ("$.rows", "required")),
    Case("no label", 2, "LABEL_ASOF_MISSING", without("intent", "label"), ("$.label",)),
    Case("no as-of", 2, "LABEL_ASOF_MISSING", without("intent", "label.as_of"), ("$.label.as_of", "required")),
    Case("nonsense as-of", 2, "LABEL_ASOF_MISSING", setting("intent", "label.as_of", "yesterday"), ("$.label.as_of", "yesterday")),
    Case("as-of on no calendar", 2, "LABEL_ASOF_MISSING", setting("intent", "label.as_of", "2026-02-30T00:00:00Z"), ("2026-02-30",)),
    Case("as-of of another offset", 2, "LABEL_ASOF_MISSING",
         setting("intent", "label.as_of", "2026-03-10T00:00:00+02:00"), ("$.label.as_of", "+02:00")),
    Case("as-of without a zone", 2, "LABEL_ASOF_MISSING", setting("intent", "label.as_of", "2026-03-10T00:00:00"), ("$.label.as_of",)),
    Case("as-of finer than a microsecond", 2, "LABEL_ASOF_MISSING",
         setting("intent", "label.as_of", "2026-03-10T00:00:00.0000001Z"), ("$.label.as_of",)),
    Case("as-of at the beginning of time", 4, "LEAKAGE_POLICY_VIOLATION", setting("intent", "label.as_of", "0001-01-01T00:00:00Z"),
         ("$.splits.train",)),
    Case("no maturity", 2, "LABEL_ASOF_MISSING", without("intent", "label.maturity_days"), ("$.label.maturity_days", "required")),
    Case("negative maturity", 2, "LABEL_ASOF_MISSING", setting("intent", "label.maturity_days", -1), ("$.label.maturity_days", "-1")),
    Case("fractional maturity", 2, "LABEL_ASOF_MISSING", setting("intent", "label.maturity_days", 1.5), ("$.label.maturity_days",)),
    Case("absurd maturity", 2, "LABEL_ASOF_MISSING", setting("intent", "label.maturity_days", 10**12), ("maturity_days",)),
    Case("unknown rule", 2, "RULE_NOT_SUPPORTED", setting("intent", "label.rule", "newest.v1"), ("newest.v1", "source_precedence.v1")),
    Case("unknown label type", 2, "LABEL_TYPE_SCOPE_UNRESOLVED", setting("intent", "label.type", "fraud"), ("fraud", "chargeback")),
    Case("blank label type", 2, "LABEL_TYPE_SCOPE_UNRESOLVED", setting("intent", "label.type", ""), ("$.label.type",)),
    Case("no positive", 2, "LABEL_POLICY_INVALID", without("intent", "label.positive"), ("$.label.positive", "required")),
    Case("empty positive", 2, "LABEL_POLICY_INVALID", setting("intent", "label.positive", []), ("positive",)),
    Case("no unlabeled", 2, "LABEL_POLICY_INVALID", without("intent", "label.unlabeled"), ("$.label.unlabeled",)),
    Case("unknown unlabeled", 2, "LABEL_POLICY_INVALID", setting("intent", "label.unlabeled", "maybe"), ("maybe", "exclude")),
    Case("positive and negative overlap", 2, "LABEL_POLICY_INVALID", setting("intent", "label.negative", ["CHARGEBACK"]), ("CHARGEBACK",)),
    Case("coverage above one", 2, "LABEL_POLICY_INVALID", setting("intent", "label.coverage", 1.5), ("$.label.coverage", "1.5")),
    Case("coverage is a word", 2, "LABEL_POLICY_INVALID", setting("intent", "label.coverage", "most"), ("$.label.coverage", "most")),
    Case("end before start", 2, "SCHEMA_INVALID", setting("intent", "splits.train", ["2026-01-25", "2026-01-03"]), ("$.splits.train",)),
    Case("empty split", 2, "SCHEMA_INVALID", setting("intent", "splits.train", ["2026-01-03", "2026-01-03"]), ("$.splits.train",)),
    Case("split of one instant", 2, "SCHEMA_INVALID", setting("intent", "splits.train", ["2026-01-03"]), ("$.splits.train",)),
    Case("split of nonsense", 2, "SCHEMA_INVALID", setting("intent", "splits.train", ["then", "now"]), ("$.splits.train[0]", "then")),
    Case("overlapping splits", 2, "SCHEMA_INVALID", setting("intent", "splits.test", ["2026-01-20", "2026-02-20"]), ("splits",)),
    Case("split beyond maturity", 4, "LEAKAGE_POLICY_VIOLATION",
         setting("intent", "splits.test", ["2026-02-01", "2026-03-09"]), ("2026-02-28",)),
    Case("split of a strange name", 2, "SCHEMA_INVALID",
         setting("intent", "splits", {"Train 1": ["2026-01-03", "2026-01-25"]}), ("Train 1",)),
    Case("gap is no duration", 2, "SCHEMA_INVALID", setting("intent", "gap", "long"), ("$.gap", "long")),
    Case("gap too small", 4, "LEAKAGE_POLICY_VIOLATION", setting("intent", "gap", "30d"), ("gap",)),
    Case("where does not parse", 2, "EXPRESSION_INVALID", setting("intent", "where", "amount >"), ("intent.yaml:", "$.where", "amount >")),
    Case("where of an unknown field", 2, "EXPRESSION_INVALID",
         setting("intent", "where", "amuont > 1"), ("$.where", "amuont", "customer_id")),
    Case("where is no condition", 2, "EXPRESSION_INVALID", setting("intent", "where", "amount + 1"), ("$.where",)),
    Case("sampling above one", 2, "SCHEMA_INVALID", setting("intent", "sampling", {"seed": 1, "rates": {"negative": 2}}), ("sampling",)),
    Case("sampling by nothing", 2, "SCHEMA_INVALID",
         setting("intent", "sampling", {"seed": 1, "rates": {"negative": 0.5}, "by": "x"}), ("$.sampling.by", "terminal_id")),
    Case("raw identifiers without a reason", 2, "SCHEMA_INVALID", setting("intent", "identifiers", {"mode": "raw"}), ("$.identifiers",)),
    Case("short request id", 2, "REQUEST_ID_INVALID", setting("intent", "request_id", "a"), ("$.request_id",)),
    Case("request id with blanks", 2, "REQUEST_ID_INVALID", setting("intent", "request_id", "my request 1"), ("$.request_id",)),
    Case("request id of a number", 2, "REQUEST_ID_INVALID", setting("intent", "request_id", 12345678), ("$.request_id",)),
    Case("blank policy revision", 2, "POLICY_REVISION_MISSING", setting("intent", "policy_revision", " "), ("$.policy_revision",)),
    Case("blank config revision", 2, "CONFIG_REVISION_MISSING", setting("intent", "config_revision", ""), ("$.config_revision",)),
    Case("blank code release", 2, "CODE_RELEASE_MISSING", pinned("ofs_code_release_id", ""), ("$.ofs_code_release_id",)),
    Case("run id as a path", 2, "RUN_SCOPE_INVALID", setting("intent", "platform_run_id", "../x"), ("$.platform_run_id", "../x")),
    Case("supersedes nothing known", 2, "SUPERSESSION_LINK_INVALID",
         several(setting("intent", "supersedes", "dm_" + "0" * 32), setting("intent", "backfill_reason", "x")), ("dm_000",)),
    Case("supersedes no dataset id", 2, "SUPERSESSION_LINK_INVALID", setting("intent", "supersedes", "latest"), ("latest",)),
    # refs
    Case("no profile", 2, "FEATURE_PROFILE_UNRESOLVED", setting("intent", "features", "nothing.yaml"), ("nothing.yaml",)),
    Case("profile is a folder", 2, "FEATURE_PROFILE_UNRESOLVED", setting("intent", "features", "."), ("directory",)),
    Case("profile above the roots", 2, "REF_SCOPE_INVALID",
         setting("intent", "features", "../features.yaml"), ("../features.yaml", "roots")),
    Case("profile at an absolute place", 2, "REF_SCOPE_INVALID", profile_outside, ("/etc/hostname",)),
    Case("profile behind a link", 2, "REF_SCOPE_INVALID", linked_out, ("outside.yaml",)),
    Case("profile of a scheme", 2, "REF_INVALID", setting("intent", "features", "https://x/y.yaml"), ("https://x/y.yaml",)),
    Case("blank profile", 2, "FEATURE_PROFILE_UNRESOLVED", setting("intent", "features", ""), ("$.features",)),
    # the profile
    Case("aggregation that does not exist", 2, "AGGREGATION_UNSUPPORTED",
         setting("profile", "groups.customer.features.n", "median(amount)"), ("median",)),
    Case("mean of text", 2, "AGGREGATION_UNSUPPORTED",
         setting("profile", "groups.customer.features.n", "mean(terminal_id)"),
         ("features.yaml:", "$.groups.customer.features.n", "string")),
    Case("aggregation of an unknown field", 2, "FEATURE_PROFILE_INVALID",
         setting("profile", "groups.customer.features.n", "mean(amuont)"), ("amuont",)),
    Case("aggregation that does not parse", 2, "AGGREGATION_UNSUPPORTED",
         setting("profile", "groups.customer.features.n", "mean(("), ("mean((",)),
    Case("window of nonsense", 2, "FEATURE_PROFILE_INVALID", setting("profile", "groups.customer.windows", ["soon"]), ("soon",)),
    Case("no window", 2, "FEATURE_PROFILE_INVALID", setting("profile", "groups.customer.windows", []), ("windows",)),
    Case("unknown key field", 2, "FEATURE_PROFILE_INVALID", setting("profile", "groups.customer.key", "client"), ("client",)),
    Case("unknown type", 2, "FEATURE_PROFILE_INVALID", setting("profile", "fields.amount", "money"), ("money",)),
    Case("impossible decimal", 2, "FEATURE_PROFILE_INVALID", setting("profile", "fields.amount", "decimal(2,12)"), ("decimal(2,12)",)),
    Case("label type nobody maps", 2, "LABEL_TYPE_SCOPE_UNRESOLVED",
         setting("profile", "groups.terminal.features.risk", "label_rate(fraud, FRAUD)"), ("fraud",)),
    Case("unknown feature set", 2, "FEATURE_PROFILE_UNRESOLVED", setting("intent", "set", "other@v1"), ("other@v1",)),
    Case("feature set without a version", 2, "FEATURE_PROFILE_UNRESOLVED", setting("intent", "set", "other"), ("other",)),
    Case("row features are a number", 2, "FEATURE_PROFILE_INVALID",
         setting("profile", "row_features", 1), ("features.yaml", "row_features")),
    Case("derived columns are a truth value", 2, "FEATURE_PROFILE_INVALID", setting("profile", "derived", True), ("derived",)),
    # the mapping
    Case("path that no file system takes", 3, "SOURCE_UNREADABLE", setting("plane", "events.transaction.path", "x" * 3_000), ("too long",)),
    Case("label path that no file system takes", 3, "LABEL_STORE_UNAVAILABLE", setting("plane", "labels.chargeback.path", "x" * 3_000),
         ("too long",)),
    Case("unknown time column", 2, "SOURCE_COLUMN_UNKNOWN", setting("plane", "events.transaction.time", "when"), ("when",)),
    Case("unknown id column", 2, "SOURCE_COLUMN_UNKNOWN", setting("plane", "events.transaction.id", "no"), ("no",)),
    Case("unknown label column", 2, "SOURCE_COLUMN_UNKNOWN", setting("plane", "labels.chargeback.observed", "seen"), ("seen",)),
    Case("unknown label value column", 2, "SOURCE_COLUMN_UNKNOWN",
         setting("plane", "labels.chargeback.value", {"column": "what"}), ("what",)),
    Case("field without a column", 2, "SOURCE_COLUMN_UNKNOWN",
         several(setting("profile", "fields.country", "string"), setting("profile", "groups.customer.features.n", "distinct(country)")),
         ("country",)),
    Case("unknown zone", 2, "SETTINGS_INVALID", setting("plane", "events.transaction.zone", "Europe/Atlantis"), ("Europe/Atlantis",)),
    Case("plane without a name", 2, "SETTINGS_INVALID", without("plane", "plane"), ("$.plane", "required")),
    Case("plane named as a path", 2, "SETTINGS_INVALID", setting("plane", "plane", "a/b"), ("a/b",)),
    Case("unknown engine", 2, "SETTINGS_INVALID", setting("plane", "engine", {"name": "spark9"}), ("spark9",)),
    Case("zero threads", 2, "SETTINGS_INVALID", setting("plane", "engine", {"threads": 0}), ("threads",)),
    Case("memory of nonsense", 2, "SETTINGS_INVALID", setting("plane", "engine", {"memory_limit": "lots"}), ("lots",)),
    Case("minimal lag is no duration", 2, "SETTINGS_INVALID", setting("plane", "labels.chargeback.min_lag", "soon"), ("soon",)),
    # the key
    Case("no token key", 2, "SETTINGS_INVALID", removed("tokens.key"), ("ofs key",)),
    Case("empty token key", 2, "SETTINGS_INVALID", raw("tokens.key", ""), ("tokens.key", "0 bytes")),
    Case("token key too long", 2, "SETTINGS_INVALID", raw("tokens.key", "x" * 33), ("33 bytes",)),
    Case("token key is a folder", 2, "SETTINGS_INVALID", setting("plane", "tokens.key_file", "."), ("tokens.key_file", "cannot be read")),
    Case("token key in the store", 2, "SETTINGS_INVALID", setting("plane", "tokens.key_file", "store/tokens.key"), ("store",)),
    # event files
    Case("no events", 3, "SOURCE_UNREADABLE", removed("transactions.parquet"), ("transactions.parquet",)),
    Case("empty file of events", 3, "SOURCE_UNREADABLE", raw("transactions.parquet", ""), ("transactions.parquet",)),
    Case("truncated Parquet", 3, "SOURCE_UNREADABLE", truncated("transactions.parquet"), ("transactions.parquet",)),
    Case("Parquet of other bytes", 3, "SOURCE_UNREADABLE", raw("transactions.parquet", "PAR1 hello PAR1"), ("transactions.parquet",)),
    Case("events of no row", 3, "SOURCE_UNREADABLE",
         lambda plane: plane.events({name: [] for name in transactions()}), ("transaction",)),
    Case("events are an unknown kind of file", 3, "SOURCE_UNREADABLE",
         several(setting("plane", "events.transaction.path", "t.xlsx"), raw("t.xlsx", "x")), ("xlsx",)),
    Case("CSV with an open quote", 3, "SOURCE_UNREADABLE", csv_events(CSV + '1,2026-01-01T00:00:00Z,"C1,T1,1.50\n'), ("transactions.csv",)),
    Case("CSV with a short line", 3, "SOURCE_UNREADABLE", csv_events(CSV + LINE.format(1) + "2,2026\n"), ("transactions.csv",)),
    Case("CSV that is not UTF-8", 3, "SOURCE_UNREADABLE",
         csv_events(CSV.encode() + b"1,2026-01-01T00:00:00Z,C\xe9,T1,1.50\n"), ("transactions.csv",)),
    Case("CSV with a column twice", 3, "SOURCE_UNREADABLE",
         csv_events(CSV.replace("terminal_id", "customer_id") + LINE.format(1)), ("customer_id",)),
    Case("CSV of a header only", 3, "SOURCE_UNREADABLE", csv_events(CSV), ("transactions.csv", "no row")),
    Case("empty CSV", 3, "SOURCE_UNREADABLE", csv_events(""), ("transactions.csv",)),
    Case("CSV amount is a word", 4, "REPLAY_EVENT_INVALID", csv_events(CSV + LINE.format(1).replace("1.50", "much")), ("amount", "much")),
    Case("CSV time is a word", 2, "SOURCE_TYPE_MISMATCH",
         csv_events(CSV + LINE.format(1).replace("2026-01-01T00:00:00Z", "noon")), ("noon",)),
    Case("CSV time without a zone", 2, "TIME_ZONE_UNDECLARED", csv_events(CSV + LINE.format(1).replace("Z", "")), ("tx_time", "zone")),
    Case("JSON line that is broken", 3, "SOURCE_UNREADABLE", jsonl_events(as_jsonl(_rows(3)) + '{"tx_id": \n'), ("transactions.jsonl",)),
    Case("JSON line that is a list", 3, "SOURCE_UNREADABLE", jsonl_events(as_jsonl(_rows(3)) + "[1, 2]\n"), ("transactions.jsonl",)),
    Case("JSON line with NaN", 3, "SOURCE_UNREADABLE", jsonl_events(as_jsonl(_rows(3)).replace('"1"}', "NaN}")), ("transactions.jsonl",)),
    Case("JSON line that is not UTF-8", 3, "SOURCE_UNREADABLE",
         several(setting("plane", "events.transaction.path", "t.jsonl"), raw("t.jsonl", b'{"tx_id": 1, "customer_id": "\xff"}\n')),
         ("t.jsonl",)),
    # event values
    Case("amount is NaN", 4, "REPLAY_EVENT_INVALID",
         several(setting("profile", "fields.amount", "float64"), setting("profile", "groups.customer.features.avg", "max(amount)"),
                 event_columns(amount=[float("nan")] * 200)), ("amount",)),
    Case("amount is a float", 4, "REPLAY_EVENT_INVALID", event_columns(amount=[1.5] * 200), ("amount", "half_even")),
    Case("amount is too long", 4, "REPLAY_EVENT_INVALID", event_columns(amount=["1.505"] * 200), ("amount", "1.505")),
    Case("amount is too large", 4, "NUMERIC_OVERFLOW", event_columns(amount=["12345678901.00"] * 200), ("amount",)),
    Case("amount is a truth value", 2, "SOURCE_TYPE_MISMATCH", event_columns(amount=[True] * 200), ("amount",)),
    Case("customer is null", 4, "EVENT_SCHEMA_MISSING_FIELDS",
         event_columns(customer_id=[None] * 200, schema=EVENT_SCHEMA), ("customer_id",)),
    Case("time is null", 4, "EVENT_SCHEMA_MISSING_FIELDS", event_columns(tx_time=[None] * 200, schema=EVENT_SCHEMA), ("tx_time",)),
    Case("id is null", 4, "EVENT_SCHEMA_MISSING_FIELDS", event_columns(tx_id=[None] * 200, schema=EVENT_SCHEMA), ("tx_id",)),
    Case("time without a zone", 2, "TIME_ZONE_UNDECLARED",
         event_columns(tx_time=pa.array([1_767_225_600_000_000 + i for i in range(200)], pa.timestamp("us"))),
         ("tx_time", "zone")),
    Case("time is a number", 2, "SOURCE_TYPE_MISMATCH", event_columns(tx_time=list(range(200))), ("tx_time",)),
    Case("one id with two contents", 5, "REPLAY_EVENT_ID_CONFLICT",
         event_columns(tx_id=[1, 1, *range(3, 201)], schema=EVENT_SCHEMA), ("1",)),
    # labels
    Case("no label file", 3, "LABEL_STORE_UNAVAILABLE", removed("chargebacks.parquet"), ("chargebacks.parquet",)),
    Case("truncated label file", 3, "LABEL_STORE_UNAVAILABLE", truncated("chargebacks.parquet"), ("chargebacks.parquet",)),
    Case("no labels", 3, "LABEL_STORE_UNAVAILABLE", lambda plane: plane.labels({name: [] for name in chargebacks()}), ("no row",)),
    Case("labels of unknown ids", 4, "LABEL_SCOPE_EMPTY", label_columns(tx_id=list(range(5_000, 5_040)), schema=LABEL_SCHEMA), ("ids",)),
    Case("labels all in conflict", 4, "COVERAGE_POLICY_VIOLATION",
         lambda plane: plane.labels({"tx_id": chargebacks()["tx_id"] * 2, "reported_at": chargebacks()["reported_at"] * 2,
                                     "outcome": ["CHARGEBACK"] * 40 + ["NONE"] * 40}), ("conflict",)),
    Case("as-of before any label", 4, "LABEL_SCOPE_EMPTY",
         several(setting("intent", "label.as_of", "2026-01-02T00:00:00Z"), setting("intent", "label.maturity_days", 0),
                 without("intent", "splits")), ("as-of",)),
    Case("coverage too low", 4, "COVERAGE_POLICY_VIOLATION",
         several(setting("intent", "label.unlabeled", "exclude"), setting("intent", "label.coverage", "0.9")), ("0.9",)),
    Case("unlabeled are refused", 4, "COVERAGE_POLICY_VIOLATION", setting("intent", "label.unlabeled", "refuse"), ("coverage",)),
    Case("excluded without a coverage", 2, "LABEL_POLICY_INVALID", setting("intent", "label.unlabeled", "exclude"), ("coverage",)),
    Case("only one class", 4, "TARGET_DEGENERATE", setting("intent", "label.positive", ["STOLEN"]), ("positive",)),
    Case("labels too early to be true", 4, "LABEL_LAG_IMPLAUSIBLE",
         label_columns(reported_at=[transactions()["tx_time"][i - 1] for i in chargebacks()["tx_id"]], schema=LABEL_SCHEMA), ("60",)),
    Case("label value is null", 3, "LABEL_STORE_UNAVAILABLE", label_columns(outcome=[None] * 40, schema=LABEL_SCHEMA), ("outcome",)),
    Case("label source nobody knows", 2, "SOURCE_COLUMN_UNKNOWN", setting("plane", "labels.chargeback.source", "GOD"), ("GOD",)),
    Case("truth as a feature", 2, "TRUTH_FIELD_AS_FEATURE",
         several(lambda plane: plane.events({**transactions(), "is_fraud": ["1" if i % 5 == 0 else "0" for i in range(200)]}, None),
                 setting("plane", "labels.chargeback", {"path": "transactions.parquet", "event": "tx_id", "observed": {"after_event": "3d"},
                                                        "time": "tx_time", "value": {"column": "is_fraud", "1": "CHARGEBACK", "0": "OK"}}),
                 setting("profile", "fields.is_fraud", "string"),
                 setting("profile", "groups.customer.features.tell", "last(is_fraud)")), ("is_fraud",)),
    # pins
    Case("strict plane, short form", 2, "UNPINNED", setting("plane", "strict", True), ("ofs pin",)),
    Case("another code release", 5, "CODE_RELEASE_MISMATCH", pinned("ofs_code_release_id", "0.0.1+abc"), ("0.0.1+abc",)),
    Case("a pinned table changed", 3, "REPLAY_BASIS_MISMATCH", pinned_then(event_columns(amount=["2.50"] * 200)), ("transaction",)),
    Case("a pinned profile changed", 5, "FEATURE_PROFILE_DRIFT",
         pinned_then(setting("profile", "groups.customer.windows", ["2d"])), ("digest",)),
    Case("pinned to another key", 2, "SETTINGS_INVALID", pinned_then(raw("tokens.key", "another-key")), ("key",)),
    # world inputs
    Case("no run facts", 3, "RUN_FACTS_UNAVAILABLE", several(facts(), removed("facts.json")), ("facts.json",)),
    Case("run facts ref is not stated", 3, "RUN_FACTS_UNAVAILABLE", setting("plane", "required_outputs", ["stream"]), ("stream",)),
    Case("run facts are broken JSON", 3, "RUN_FACTS_UNAVAILABLE", facts(instead="{"), ("facts.json", "JSON")),
    Case("run facts are something else", 2, "RUN_SCOPE_INVALID", facts(instead='{"run_id": "r"}'), ("facts.json:1 $.locators", "required")),
    Case("run facts of another run", 2, "RUN_SCOPE_INVALID", facts(platform_run_id="other"), ("other",)),
    Case("gate did not pass", 4, "NO_PASS_NO_READ",
         facts(gate_receipts=[{"gate_id": "g", "status": "FAIL", "scope": {"manifest_fingerprint": "f"}}]), ("stream",)),
    Case("no gate receipt", 4, "NO_PASS_NO_READ", facts(gate_receipts=[]), ("stream",)),
    Case("no locator", 4, "NO_PASS_NO_READ", facts(locators=[]), ("stream",)),
    Case("OFS may not publish here", 4, "OWNERSHIP_BOUNDARY_VIOLATION", setting("plane", "outputs", []), ("dataset_manifest",)),
    # places
    Case("store below a file", 7, "STORAGE_IO_FAILURE", blocked("store"), ("blocked",)),
    Case("ledger below a file", 7, "LEDGER_UNAVAILABLE", blocked("ledger"), ("blocked",)),
    Case("work folder below a file", 7, "STORAGE_IO_FAILURE", blocked("work"), ("blocked",)),
    Case("ledger is no database", 7, "LEDGER_UNAVAILABLE", raw("ledger.sqlite", "hello " * 500), ("ledger.sqlite",)),
    Case("ledger is a database of others", 7, "LEDGER_UNAVAILABLE", sqlite_of_others, ("ledger.sqlite",)),
    Case("ledger is a folder", 7, "LEDGER_UNAVAILABLE", setting("plane", "ledger", "."), ("cannot be opened",)),
]


@pytest.mark.parametrize("case", SHORT, ids=lambda case: case.name.replace(" ", "-"))
def test_bad_input_is_answered_and_leaves_nothing(case: Case, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake gets its status and code, a message that names place and advice, and leaves no dataset, run or half file."""
    plane = make_plane(place / "p")
    if not case.change(plane):
        plane.documents()
    said = ask(capsys, "build", str(plane.intent_path))
    check_answer(said, case.status, case.code, case.words)
    check_nothing_left(plane, said)


# --- a plane in which something was built -------------------------------------------------------------------


@pytest.fixture(scope="module")
def built_once(quick: Path) -> SmallPlane:
    """A plane with one dataset, asked for under a request id, with a versioned profile."""
    plane = make_plane(quick / "built")
    plane.intent["request_id"] = "request-one"
    plane.profile |= {"policy_id": "cards.features", "revision": "r1"}
    plane.documents()
    assert run(["build", str(plane.intent_path), "--json"]) == 0
    return plane


@pytest.fixture
def built(built_once: SmallPlane, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """A copy of it, in which the test stands."""
    shutil.copytree(built_once.folder, place / "p")
    monkeypatch.chdir(place / "p")
    capsys.readouterr()
    return SmallPlane(place / "p", intent=dict(built_once.intent), profile=copy.deepcopy(built_once.profile))


def dataset_of(plane: SmallPlane) -> str:
    """The id of its dataset."""
    (path,) = plane.manifests()
    return path.stem


@pytest.mark.parametrize(("arguments", "code"), [
    (("show", "dm_00000000000000000000000000000000"), "DATASET_NOT_FOUND"),
    (("verify", "dm_00000000000000000000000000000000"), "DATASET_NOT_FOUND"),
    (("show", "no dataset/at all"), "DATASET_NOT_FOUND"),
    (("show", "../../etc/passwd"), "DATASET_NOT_FOUND"),
    (("show", ""), "DATASET_NOT_FOUND"),
    (("verify", "nothing.json"), "DATASET_NOT_FOUND"),
    (("verify", "plane.yaml"), "DATASET_NOT_FOUND"),
    (("run", "ffffffff"), "RUN_NOT_FOUND"),
    (("run", ""), "RUN_NOT_FOUND"),
])
def test_what_is_not_there_is_said_so(arguments: tuple[str, ...], code: str, built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A dataset or run that nobody knows is a mistake of the asker, with the command that lists the known ones."""
    said = ask(capsys, *arguments)
    check_answer(said, 2, code)


@pytest.mark.parametrize("arguments", [
    ("build",), ("bulid", "x"), ("build", "intent.yaml", "--fast"), ("build", "a", "b"), ("runs", "--limit", "0"),
    ("runs", "--limit", "many"),
    ("preview", "intent.yaml", "--rows", "0"), ("preview", "intent.yaml", "--keys", "customer_id"), ("--plain",),
    ("pin", "intent.yaml", "-o", "plane.yaml")])
def test_a_mistyped_command_is_a_usage_error(arguments: tuple[str, ...], built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown commands, options and values answer 2 with the usage on stderr, or USAGE as JSON; no file is touched."""
    before = (built.folder / "plane.yaml").read_bytes()
    assert run(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "Error" in told.err
    assert not FOREIGN.search(told.err)
    assert run([*arguments, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "USAGE"
    assert (built.folder / "plane.yaml").read_bytes() == before


@pytest.mark.parametrize("command", ["plan", "pin", "preview", "build"])
def test_a_missing_intent_or_plane_is_said_so(command: str, built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that leads nowhere is named."""
    check_answer(ask(capsys, command, "nothing.yaml"), 3, "REF_NOT_FOUND", ("nothing.yaml",))
    check_answer(ask(capsys, command, "intent.yaml", "--plane", "nowhere.yaml"), 3, "REF_NOT_FOUND", ("nowhere.yaml",))
    check_answer(ask(capsys, command, "."), 3, "REF_NOT_FOUND", ("directory",))


def test_a_request_id_is_used_for_one_payload_only(built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """The same id with another payload is a conflict, and the first run stays as it was."""
    built.intent["label"] = {**built.intent["label"], "maturity_days": 11}
    built.documents()
    check_answer(ask(capsys, "build", "intent.yaml"), 5, "REQUEST_ID_PAYLOAD_MISMATCH", ("request-one",))
    assert len(built.manifests()) == 1


def test_a_revision_has_one_meaning(built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A profile edited under the same revision is refused, by name and revision."""
    built.profile["groups"]["customer"]["windows"] = ["2d"]
    del built.intent["request_id"]
    built.documents()
    check_answer(ask(capsys, "build", "intent.yaml"), 5, "FEATURE_PROFILE_DRIFT", ("cards.features@r1", "features.yaml", "revision:"))
    assert len(built.manifests()) == 1


def test_labels_edited_below_the_cut_are_found_by_computing_again(built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """What was known at the as-of is part of a dataset: other assertions below the cut are a changed history."""
    told = chargebacks()
    built.labels({**told, "outcome": ["CHARGEBACK"] * 39 + ["NONE"]})
    del built.intent["request_id"]  # it names a payload, in which the label files at hand are stated
    built.documents()
    check_answer(ask(capsys, "build", "intent.yaml", "--recompute"), 5, "LABEL_HISTORY_CHANGED", ("sha256:", dataset_of(built)))
    assert run(["build", "intent.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "ALREADY_PUBLISHED"


def test_a_failed_request_stays_failed_and_an_unnamed_one_starts_anew(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stated request id has one outcome; without one, each failure opens a new run."""
    plane = make_plane(place / "p")
    plane.intent["label"]["positive"] = ["STOLEN"]
    plane.intent["request_id"] = "request-bad"
    plane.documents()
    assert run(["build", str(plane.intent_path)]) == 4
    assert "TARGET_DEGENERATE" in capsys.readouterr().err
    check_answer(ask(capsys, "build", str(plane.intent_path)), 5, "RUN_ENDED", ("request-bad", "TARGET_DEGENERATE"))
    del plane.intent["request_id"]
    plane.documents()
    for _ in range(2):
        assert run(["build", str(plane.intent_path)]) == 4
    capsys.readouterr()
    assert run(["runs", "--plane", str(plane.folder / "plane.yaml"), "--json"]) == 0
    assert [one["request_id"].rpartition(":")[2] for one in json.loads(capsys.readouterr().out)] == ["2", "1", "request-bad"]


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


PIECES = {"data file": "store/*/ofs/datasets/*/*/*.parquet", "column digests": "store/*/ofs/datasets/*/*/column-digests.json",
          "plan": "store/*/ofs/plans/*.json", "receipt": "store/*/ofs/receipts/*/*/replay.json", "vow": "store/*/ofs/commits/*.json",
          "manifest": "store/*/ofs/manifests/*.json", "pointer": "store/by_id/*.json"}


@pytest.mark.parametrize("harm", [_flipped, _cut, lambda path: path.write_bytes(b""), lambda path: path.write_text("{}"), Path.unlink],
                         ids=["flipped", "cut", "emptied", "replaced", "removed"])
@pytest.mark.parametrize("piece", PIECES)
def test_verify_finds_every_harm(piece: str, harm: Callable[[Path], Any], built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever of a dataset was harmed, `ofs verify` ends 6 and says what it was; only a lost manifest makes it unknown."""
    dataset = dataset_of(built)
    (path,) = built.folder.glob(PIECES[piece])
    harm(path)
    statuses = {run(["verify", dataset, "--json"])}
    told = capsys.readouterr()
    document = json.loads(told.out)
    statuses.add(run(["verify", dataset]))
    text = capsys.readouterr()
    assert not FOREIGN.search(told.out + told.err + text.out + text.err)
    if piece == "pointer":
        assert statuses <= {0, 6}
    elif piece == "manifest" and not path.exists():
        assert statuses == {2}
        assert document["error"]["code"] == "DATASET_NOT_FOUND"
    else:
        assert statuses == {6}, told.out + told.err
    if "checks" in document and statuses == {6}:
        assert not document["intact"]
        assert [check["name"] for check in document["checks"] if not check["passed"]]


@pytest.mark.parametrize(("piece", "harm", "code"), [
    ("data file", _flipped, "DIGEST_MISMATCH"), ("data file", Path.unlink, "DIGEST_MISMATCH"), ("manifest", _cut, "MANIFEST_INVALID"),
    ("manifest", lambda path: path.write_text("{}"), "MANIFEST_INVALID")], ids=["flipped", "removed", "cut", "replaced"])
def test_a_harmed_dataset_is_no_answer_to_a_build(piece: str, harm: Callable[[Path], Any], code: str, built: SmallPlane,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    """Another request of the same meaning must not be told that a broken dataset is published."""
    (path,) = built.folder.glob(PIECES[piece])
    harm(path)
    built.intent["request_id"] = "request-two"
    built.documents()
    check_answer(ask_once(capsys, "build", "intent.yaml"), 6, code)


def ask_once(capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """Ask for JSON only: the first answer ends the request."""
    status = run([*arguments, "--json"])
    told = capsys.readouterr()
    error = json.loads(told.out)["error"]
    assert not FOREIGN.search(told.out + told.err)
    return Said(status, f"{error['what']} {error['fix']} {error['path']}", error)



# --- an archive ---------------------------------------------------------------------------------------------


def archive_plane(folder: Path) -> SmallPlane:
    """The small plane with its events in an archive of four segments, and its intent in the long form."""
    plane = make_plane(folder)
    told = transactions()
    records = [archived(str(told["tx_id"][i]), int(told["tx_time"][i].timestamp()) * 1_000_000,
                        {name: str(told[name][i]) for name in ("customer_id", "terminal_id", "amount")}, offset=i, platform_run_id="cards")
               for i in range(len(told["tx_id"]))]
    write_archive(folder / "archive", records, per_segment=50)
    del plane.plane["events"]
    plane.plane["archives"] = {"transaction": {"path": "archive"}}
    plane.documents()
    plane.intent = open_plane(folder / "plane.yaml").pin(plane.intent_path).document
    plane.documents()
    return plane


def _edited(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"C1"', b'"C2"', 1))


def _segment_unlisted(path: Path) -> None:
    index = json.loads((path.parents[2] / "index.json").read_text())
    index["segments"] = [one for one in index["segments"] if not path.as_posix().endswith(one["path"])]
    (path.parents[2] / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(("harm", "status", "code"), [
    (_edited, 3, "REPLAY_BASIS_MISMATCH"), (_cut, 3, "REPLAY_BASIS_MISMATCH"), (Path.unlink, 3, "SOURCE_UNREADABLE"),
    (_segment_unlisted, 3, "REPLAY_BASIS_GAP"),
    (lambda path: (path.parents[2] / "index.json").write_text("{"), 3, "SOURCE_UNREADABLE"),
    (lambda path: (path.parents[2] / "index.json").unlink(), 3, "SOURCE_UNREADABLE"),
], ids=["edited", "cut", "removed", "unlisted", "index-broken", "index-removed"])
def test_a_pinned_archive_that_changed_is_refused(harm: Callable[[Path], Any], status: int, code: str, place: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    """The bytes behind a pinned basis are the pinned ones, or nothing is published."""
    plane = archive_plane(place / "p")
    harm(plane.folder / "archive/transaction/0/00001.jsonl")
    said = ask(capsys, "build", str(plane.intent_path))
    check_answer(said, status, code)
    check_nothing_left(plane, said)


def test_the_archive_plane_builds_when_nothing_is_harmed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the harmed archives are held against."""
    plane = archive_plane(place / "p")
    assert run(["build", str(plane.intent_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["row_count"] == 164


# --- the environment ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value", "words"), [("OFS_STROE", "x", ("OFS_STROE", "Did you mean OFS_STORE")),
                                                      ("OFS_ENGINE__THREADS", "many", ("threads", "many")),
                                                      ("OFS_STRICT", "perhaps", ("strict", "perhaps")),
                                                      ("OFS_STORE", " ", ("store", "blank"))])
def test_the_environment_is_checked_like_the_file(name: str, value: str, words: tuple[str, ...], place: Path,
                                                  monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A variable that is no setting, or has no lawful value, is refused by name."""
    plane = make_plane(place / "p")
    monkeypatch.setenv(name, value)
    check_answer(ask(capsys, "build", str(plane.intent_path)), 2, "SETTINGS_INVALID", words)


def test_a_plane_may_be_chosen_by_the_environment(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`OFS_PLANE` names the plane.yaml; one that is not there is said so."""
    plane = make_plane(place / "p")
    monkeypatch.setenv("OFS_PLANE", str(plane.folder / "no.yaml"))
    check_answer(ask(capsys, "datasets"), 3, "REF_NOT_FOUND", ("no.yaml",))
