"""Bad intents, profiles, settings, data and places: a status, a stable code, a place, an advice; no traceback, and nothing left behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from answers import ask, check_answer, check_nothing_left
from mistakes import (
    Change,
    appended,
    blocked,
    csv_events,
    event_columns,
    facts,
    jsonl_events,
    label_columns,
    linked_out,
    pinned,
    pinned_then,
    profile_outside,
    raw,
    removed,
    replaced,
    rows,
    setting,
    several,
    sqlite_of_others,
    truncated,
    without,
)
from small_plane import EVENT_SCHEMA, LABEL_SCHEMA, as_jsonl, chargebacks, make_plane, transactions

from offline_feature_plane.plane import open_plane


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
    Case("as-of in the future", 4, "LEAKAGE_POLICY_VIOLATION", setting("intent", "label.as_of", "9000-01-01T00:00:00Z"),
         ("$.label.as_of", "intent.yaml:", "lies in the future")),
    Case("no maturity", 2, "LABEL_ASOF_MISSING", without("intent", "label.maturity_days"), ("$.label.maturity_days", "required")),
    Case("negative maturity", 2, "LABEL_ASOF_MISSING", setting("intent", "label.maturity_days", -1), ("$.label.maturity_days", "-1")),
    Case("zero maturity", 2, "LABEL_ASOF_MISSING", setting("intent", "label.maturity_days", 0), ("$.label.maturity_days", "1")),
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
    Case("where is no condition", 2, "EXPRESSION_INVALID", setting("intent", "where", "amount + 1"), ("$.where", "channel == 'online'")),
    Case("disjoint by nothing", 2, "SCHEMA_INVALID", setting("intent", "disjoint_by", "x"), ("$.disjoint_by", "terminal_id")),
    Case("disjoint by an instant", 2, "SCHEMA_INVALID", setting("intent", "disjoint_by", "ts"), ("$.disjoint_by", "terminal_id")),
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
    Case("profile of a scheme", 2, "REF_INVALID", setting("intent", "features", "https://x/y.yaml"), ("https://…", "a scheme")),
    Case("blank profile", 2, "FEATURE_PROFILE_UNRESOLVED", setting("intent", "features", ""), ("$.features",)),
    # the profile
    Case("aggregation that does not exist", 2, "AGGREGATION_UNSUPPORTED",
         setting("profile", "groups.customer.features.n", "geometric_mean(amount)"), ("geometric_mean",)),
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
         csv_events(CSV.encode() + b"1,2026-01-01T00:00:00Z,C\xe9,T1,1.50\n"), ("transactions.csv:2", "not UTF-8", "0xe9")),
    Case("CSV with a column twice", 3, "SOURCE_UNREADABLE",
         csv_events(CSV.replace("terminal_id", "customer_id") + LINE.format(1)), ("customer_id",)),
    Case("CSV of a header only", 3, "SOURCE_UNREADABLE", csv_events(CSV), ("transactions.csv", "no row")),
    Case("empty CSV", 3, "SOURCE_UNREADABLE", csv_events(""), ("transactions.csv",)),
    Case("CSV amount is a word", 4, "REPLAY_EVENT_INVALID", csv_events(CSV + LINE.format(1).replace("1.50", "much")), ("amount", "much")),
    Case("CSV time is a word", 2, "SOURCE_TYPE_MISMATCH",
         csv_events(CSV + LINE.format(1).replace("2026-01-01T00:00:00Z", "noon")), ("'noon' is not an instant",)),
    Case("CSV time is a day", 2, "SOURCE_TYPE_MISMATCH",
         csv_events(CSV + LINE.format(1).replace("T00:00:00Z", "")), ("is a day", "write 2026-01-01T00:00:00")),
    Case("CSV time without a zone", 2, "TIME_ZONE_UNDECLARED", csv_events(CSV + LINE.format(1).replace("Z", "")),
         ("events.transaction.time", "tx_time", "zone")),
    Case("JSON time without a zone", 2, "TIME_ZONE_UNDECLARED", jsonl_events(as_jsonl(rows(3)).replace("+00:00", "")),
         ("events.transaction.time", "tx_time", "zone")),
    Case("CSV with semicolons", 3, "SOURCE_UNREADABLE", csv_events((CSV + LINE.format(1)).replace(",", ";")), ("semicolons", "commas")),
    Case("CSV with text behind a quote", 3, "SOURCE_UNREADABLE", csv_events(CSV + LINE.format(1).replace("C1", '"C"1')),
         ("line 2", "closing quote")),
    Case("JSON line that is broken", 3, "SOURCE_UNREADABLE", jsonl_events(as_jsonl(rows(3)) + '{"tx_id": \n'), ("transactions.jsonl",)),
    Case("JSON line that is a list", 3, "SOURCE_UNREADABLE", jsonl_events(as_jsonl(rows(3)) + "[1, 2]\n"), ("transactions.jsonl",)),
    Case("JSON line with NaN", 3, "SOURCE_UNREADABLE", jsonl_events(as_jsonl(rows(3)).replace('"1"}', "NaN}")), ("transactions.jsonl",)),
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
         several(setting("intent", "label.as_of", "2026-01-03T00:00:00Z"), setting("intent", "label.maturity_days", 1),
                 without("intent", "splits")), ("as-of",)),
    Case("coverage too low", 4, "COVERAGE_POLICY_VIOLATION",
         several(setting("intent", "label.unlabeled", "exclude"), setting("intent", "label.coverage", "0.9")), ("0.9",)),
    Case("unlabeled are refused", 4, "COVERAGE_POLICY_VIOLATION", setting("intent", "label.unlabeled", "refuse"), ("coverage",)),
    Case("excluded without a coverage", 2, "LABEL_POLICY_INVALID", setting("intent", "label.unlabeled", "exclude"), ("coverage",)),
    Case("only one class", 4, "TARGET_DEGENERATE", setting("intent", "label.positive", ["STOLEN"]), ("positive",)),
    Case("labels too early to be true", 4, "LABEL_LAG_IMPLAUSIBLE",
         label_columns(reported_at=[transactions()["tx_time"][i - 1] for i in chargebacks()["tx_id"]], schema=LABEL_SCHEMA), ("60",)),
    Case("labels known before their events, whatever lag is declared", 4, "LABEL_LAG_IMPLAUSIBLE",
         several(label_columns(reported_at=[transactions()["tx_time"][i - 1] - timedelta(days=3) for i in chargebacks()["tx_id"]],
                               schema=LABEL_SCHEMA), setting("plane", "labels.chargeback.min_lag", "0s")),
         ("labels.chargeback.observed", "sooner than the declared 0 s")),
    Case("labels that hold from the future on", 4, "LABEL_SCOPE_EMPTY",
         several(label_columns(effective=["2999-01-01T00:00:00Z"] * 40), setting("plane", "labels.chargeback.effective", "effective")),
         ("labels.chargeback", "hold")),
    Case("one instant in two notations, two values", 4, "COVERAGE_POLICY_VIOLATION",
         label_columns(tx_id=[*chargebacks()["tx_id"][:38], 21, 21], outcome=["CHARGEBACK"] * 39 + ["OK"],
                       reported_at=["2026-01-10T00:00:00Z"] * 39 + ["2026-01-10T02:00:00+02:00"]), ("in conflict",)),
    Case("assertions that supersede each other", 6, "LABEL_TIMELINE_INCONSISTENT",
         several(label_columns(tx_id=[1, 1, *range(2, 40)], case=[f"c{i}" for i in range(40)], replaces=["c1", "c0"] + [None] * 38),
                 setting("plane", "labels.chargeback.id", "case"), setting("plane", "labels.chargeback.supersedes", "replaces")),
         ("labels.chargeback.supersedes", "'c0' → 'c1' → 'c0'", "about 1")),
    Case("one assertion id, two contents", 6, "LABEL_TIMELINE_INCONSISTENT",
         several(label_columns(tx_id=[1, 1, *range(2, 40)], case=["c", "c", *map(str, range(38))], outcome=["CHARGEBACK"] * 39 + ["OK"]),
                 setting("plane", "labels.chargeback.id", "case")),
         ("labels.chargeback.id", "'c'", "two different contents: observed 2026-01-04T00:00:00.000000Z and 2026-01-05T06:00:00.000000Z.")),
    Case("a label value with spaces around", 2, "LABEL_POLICY_INVALID", label_columns(outcome=["CHARGEBACK"] * 39 + [" CHARGEBACK "]),
         ("labels.chargeback.value", "' CHARGEBACK '", "chargebacks.parquet row 40")),
    Case("a label value that is not mapped", 2, "LABEL_POLICY_INVALID",
         several(label_columns(outcome=["CHARGEBACK"] * 39 + ["MAYBE"]),
                 setting("plane", "labels.chargeback.value", {"column": "outcome", "CHARGEBACK": "CHARGEBACK"})),
         ("labels.chargeback.value", "not mapped: 'MAYBE'", "row 40")),
    Case("no negative at all", 4, "TARGET_DEGENERATE",
         several(setting("intent", "label.unlabeled", "exclude"), setting("intent", "label.coverage", "0.1")), ("0 negative",)),
    Case("splits overlap by a microsecond", 2, "SCHEMA_INVALID",
         setting("intent", "splits.train", ["2026-01-03", "2026-02-01T00:00:00.000001Z"]), ("$.splits.test", "before train ends")),
    Case("label value is null", 3, "LABEL_STORE_UNAVAILABLE", label_columns(outcome=[None] * 40, schema=LABEL_SCHEMA), ("outcome",)),
    Case("label source nobody knows", 2, "SOURCE_COLUMN_UNKNOWN", setting("plane", "labels.chargeback.source", "GOD"),
         ("no column 'GOD'", "not one of the sources HUMAN, EXTERNAL, AUTO, SYSTEM", "Columns: tx_id")),
    Case("label time without a zone", 2, "TIME_ZONE_UNDECLARED",
         label_columns(reported_at=pa.array([1_768_000_000_000_000] * 40, pa.timestamp("us"))),
         ("labels.chargeback.observed", "zone: UTC")),
    Case("label text time without a zone", 2, "TIME_ZONE_UNDECLARED", label_columns(reported_at=["2026-01-09T00:00:00"] * 40),
         ("labels.chargeback.observed", "zone: UTC")),
    Case("label time is a day", 2, "SOURCE_TYPE_MISMATCH", label_columns(reported_at=pa.array([20_500] * 40, pa.date32())),
         ("reported_at", "a day is not an instant")),
    Case("refuse with a share", 2, "LABEL_POLICY_INVALID",
         several(setting("intent", "label.unlabeled", "refuse"), setting("intent", "label.coverage", "0.3")),
         ("label.coverage", "exclude")),
    Case("supersedes without ids", 2, "SETTINGS_INVALID", setting("plane", "labels.chargeback.supersedes", "outcome"),
         ("labels.chargeback.supersedes", "`id:`")),
    Case("a value that no label can have", 2, "LABEL_POLICY_INVALID",
         several(setting("plane", "labels.chargeback.value", {"column": "outcome", "CHARGEBACK": "CHARGEBACK"}),
                 setting("intent", "label.positive", ["CHARGEBAK"])), ("CHARGEBAK", "Did you mean CHARGEBACK")),
    Case("a feature of a value that no label can have", 2, "LABEL_POLICY_INVALID",
         several(setting("plane", "labels.chargeback.value", "CHARGEBACK"),
                 setting("profile", "groups.terminal.features.risk", "label_rate(chargeback, CHARGEBAK)")),
         ("CHARGEBAK", "terminal__risk_7d")),
    Case("long groups in a short profile", 2, "FEATURE_PROFILE_INVALID", setting("profile", "feature_groups", []), ("feature_groups",)),
    Case("scenarios of plain tables", 2, "RUN_SCOPE_INVALID", setting("intent", "scenario_run_ids", ["s1"]), ("scenario_run_ids",)),
    Case("truth as a feature", 4, "TRUTH_FIELD_AS_FEATURE",
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
    Case("run facts of another run", 2, "RUN_SCOPE_INVALID", facts(platform_run_id="other"), ("facts.json:1 $.platform_run_id", "other")),
    Case("gate did not pass", 4, "NO_PASS_NO_READ",
         facts(gate_receipts=[{"gate_id": "g", "status": "FAIL", "scope": {"manifest_fingerprint": "f"}}]),
         ("1 problem", "plane.yaml $.required_outputs.stream")),
    Case("no gate receipt", 4, "NO_PASS_NO_READ", several(facts(gate_receipts=[]), setting("intent", "required_outputs", ["stream"])),
         ("intent.yaml:17 $.required_outputs.stream",)),
    Case("no locator", 4, "NO_PASS_NO_READ", several(facts(), pinned_then(facts(locators=[]))),
         ("intent.yaml:", " $.join_scope.required_output_ids.stream")),
    Case("OFS may not publish here", 4, "OWNERSHIP_BOUNDARY_VIOLATION", setting("plane", "outputs", []), ("dataset_manifest",)),
    # places
    Case("store below a file", 7, "STORAGE_IO_FAILURE", blocked("store"), ("blocked",)),
    Case("ledger below a file", 7, "LEDGER_UNAVAILABLE", blocked("ledger"), ("blocked",)),
    Case("work folder below a file", 7, "STORAGE_IO_FAILURE", blocked("work"), ("blocked",)),
    Case("work folder is a file", 7, "STORAGE_IO_FAILURE", setting("plane", "work", "plane.yaml"), ("plane.yaml", "File exists")),
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


# --- the environment ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value", "words"), [("OFS_STROE", "x", ("OFS_STROE", "Did you mean OFS_STORE")),
                                                      ("OFS_ENGINE__THREADS", "many", ("OFS_ENGINE__THREADS: ", "many")),
                                                      ("OFS_STRICT", "perhaps", ("OFS_STRICT: ", "perhaps")),
                                                      ("OFS_STORE", " ", ("OFS_STORE: ", "blank"))])
def test_the_environment_is_checked_like_the_file(name: str, value: str, words: tuple[str, ...], place: Path,
                                                  monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A variable that is no setting, or has no lawful value, is refused by name; plane.yaml is not blamed."""
    plane = make_plane(place / "p")
    monkeypatch.setenv(name, value)
    said = ask(capsys, "build", str(plane.intent_path))
    check_answer(said, 2, "SETTINGS_INVALID", words)
    assert "plane.yaml" not in said.text


def test_a_plane_may_be_chosen_by_the_environment(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`OFS_PLANE` names the plane.yaml; one that is not there is said so."""
    plane = make_plane(place / "p")
    monkeypatch.setenv("OFS_PLANE", str(plane.folder / "no.yaml"))
    check_answer(ask(capsys, "datasets"), 3, "REF_NOT_FOUND", ("no.yaml",))


@pytest.mark.parametrize("command", [("datasets",), ("runs",), ("key",), ("show", "dm_0")])
def test_outside_of_a_plane_the_way_in_is_told(command: tuple[str, ...], place: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    """Where no plane.yaml is, every command says how to name one and how to start one."""
    monkeypatch.chdir(place)
    check_answer(ask(capsys, *command), 3, "REF_NOT_FOUND", ("plane.yaml", "--plane", "ofs init"))


def test_a_dataset_is_opened_where_nothing_can_be_written(place: Path) -> None:
    """An auditor reads: opening, showing and verifying a dataset of a local store need no work folder and no ledger."""
    plane = make_plane(place / "p")
    dataset = open_plane(plane.folder / "plane.yaml").build(plane.intent_path).manifest.dataset_manifest_id
    (plane.folder / "blocked").write_text("in the way")
    (plane.folder / "ledger.sqlite").unlink()
    reader = open_plane(plane.folder / "plane.yaml", work=str(plane.folder / "blocked/work"))
    before = sorted(plane.folder.rglob("*"))
    assert len(reader.dataset(dataset).to_arrow()) == len(reader.dataset(dataset))
    assert reader.verify(dataset).intact
    assert (list(reader.runs()), len(reader.datasets())) == ([], 1)
    assert sorted(plane.folder.rglob("*")) == before
