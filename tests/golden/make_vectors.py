"""Writes the published vectors of identity, content and closures from the pure definitions: `python tests/golden/make_vectors.py`.

Run it only to add vectors. A vector that changes is a change of bytes for every reader; the tests compare and never rewrite.
"""

import json
import sys
from pathlib import Path

from offline_feature_plane.contracts.profile import read_profile
from offline_feature_plane.domain.canonical import canonical_bytes, digest, load_json
from offline_feature_plane.domain.closure_documents import describe
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.content import column_digest, content_digest, digest_leaves, leaf_digest, merkle_root
from offline_feature_plane.domain.identity import (
    closure_digest,
    code_release_id,
    config_digest,
    core_digest,
    dataset_fingerprint,
    dataset_manifest_id,
    event_hash,
    files_log_id,
    payload_digest,
    row_id,
    run_key,
)

HERE = Path(__file__).parent
ONE, TWO = ("sha256:" + digit * 64 for digit in "12")

VALUES = [None, True, False, 0, -1, 2**53 - 1, -(2**53) + 1, "", "plain", "é", "日本", "😀", '\u0000\u001f"\\/\b\f\n\r\t\u007f\u2028',
          [], {}, [[], {}, [None]], {"b": 1, "a": 2}, {"\uff61": 1, "😀": 2, "\r": 3, "1": 4, "ö": 5, "": 6},
          {"ts": "2026-09-01T00:00:00.000000Z", "amount": "12.50", "offset": "9007199254740993",
           "nested": [{"z": [1, 2], "a": {"k": "v"}}]}]

EVENT = {"platform_run_id": "run-1", "event_type": "transaction", "event_id": "t-1", "ts_us": 1_788_220_800_000_001, "schema_version": "v1"}
PAYLOADS = ["{}", '{"amount": 12.50, "currency": "EUR"}', '{"amount": "12.50"}', '[1, 1.0, 1e0, "1", true, null]',
            '{"wide": 123456789012345678901}',
            '{"text": "e\\u0301", "deep": {"zero": -0.0, "tiny": 1e-300}}']

FILES = [["b.parquet", 2, TWO], ["a/é.parquet", 10, ONE], ["a.parquet", 0, ONE]]

COLUMNS = {
    "bool": [True, False, None, True],
    "int8": [0, -128, 127, None, 1],
    "int16": [0, -(2**15), 2**15 - 1, None, 256],
    "int32": [0, -(2**31), 2**31 - 1, None, 65_536],
    "int64": [0, -(2**63), 2**63 - 1, None, 2**32],
    "float64": ["0.0", "-0.0", "1.5", "-1e-320", "1.7976931348623157e308", None, "0.1"],
    "decimal(5,2)": [0, 99_999, -99_999, None, 1],
    "decimal(18,6)": [0, 10**18 - 1, 1 - 10**18, None, -1],
    "string": ["", "a", None, "é", "e\u0301", "日本", "😀", "\u0000", "a" * 300],
    "timestamp": [0, -1, -62_135_596_800_000_000, 253_402_300_799_999_999, None],
}

PROFILE = {
    "policy_id": "cards", "revision": "r1",
    "sources": {
        "payment": {"event_types": ["payment", "refund"], "fields": {
            "card": "string", "shop": {"type": "int64", "path": "merchant.id", "identifier": "shop"},
            "amount": {"type": "decimal(12,2)", "missing": None, "round": "half_even"}, "city": {"type": "string", "missing": "é"},
            "score": {"type": "float64", "missing": "0.5"}, "online": "bool", "since": "timestamp", "unused": "int32"}},
        "login": {"event_types": ["login"], "fields": {"card": "string", "ok": "bool", "tries": "int16"}}},
    "feature_groups": [
        {"name": "spend", "version": "v1", "source": "payment", "key": ["card"], "where": "amount>0 and not(city in('x','ü'))",
         "current": "included", "windows": ["90m", "7d", "lifetime"], "features": {
            "n": "count()", "known": "count(amount)", "total": "sum(amount)", "avg": {"agg": "mean(amount)", "empty": "0"},
            "low": "min(amount)", "high": {"agg": "max(city)", "empty": "nowhere"}, "cities": "distinct(city)", "first": "first(shop)",
            "last": {"agg": "last(amount)", "empty": "1.5"}, "before": "previous(online)", "age": "seconds_since_first()",
            "since": "seconds_since_last()"}},
        {"name": "shop", "version": "v2", "source": "payment", "key": ["shop", "city"], "delay": "1d", "null_key": "group",
         "windows": ["30d"], "features": {
            "bad": "label_count(fraud, YES)", "rate": {"agg": "label_rate(fraud, YES, 'MAY BE')", "empty": 0},
            "sure": "label_rate(fraud, YES, of: resolved)"}},
        {"name": "kinds", "version": "v1", "source": "payment", "key": ["card"], "features": {"n": "count()"}, "windows": [
            "last_5", "calendar(day, Europe/Paris)", "calendar(week, UTC)", "tumbling(1d)", "session(30m, max: 12h)"]},
        {"name": "logins", "version": "v1", "source": "login", "key": ["card"], "where": "ok", "windows": ["1h"],
         "features": {"tries": {"agg": "sum(tries)", "meaning": "How often someone tried."}}}],
    "row_features": {"night": "hour(ts, 'Europe/Paris') < 6", "place": "coalesce(city, 'none')", "wait": "seconds_between(ts, since)"},
    "derived": {"share": "amount / spend.avg_7d", "much": {"expression": "share > 2 or shop.rate_30d >= 0.5", "meaning": "Words."},
                "whose": "spend.first_lifetime"},
    "feature_sets": [{"id": "all", "version": "v3", "groups": ["spend@v1", "shop@v2", "logins@v1"],
                      "row_features": ["night", "place", "wait"], "derived": ["share", "much", "whose"]},
                     {"id": "windows", "version": "v1", "groups": ["kinds@v1"]},
                     {"id": "few", "version": "v1", "groups": ["logins@v1"], "row_features": ["place"]}],
}


def identity_vectors():
    """Canonical bytes, digests and ids of chosen documents."""
    identity = {"run_scope": {"platform_run_id": "run-1"}, "purpose": "training", "splits": [{"name": "train"}]}
    fingerprint = dataset_fingerprint(identity)
    return {
        "canonical": [{"value": value, "bytes_hex": canonical_bytes(value).hex(), "digest": digest("ofs.example.v1", value)}
                      for value in VALUES],
        "ids": [
            {"function": "dataset_fingerprint", "argument": identity, "result": fingerprint},
            {"function": "dataset_manifest_id", "argument": fingerprint, "result": dataset_manifest_id(fingerprint)},
            *({"function": "run_key", "argument": request, "result": run_key(request)}
              for request in ("request-0001", "auto:0123456789abcdef:1")),
            {"function": "payload_digest", "argument": identity, "result": payload_digest(identity)},
            {"function": "config_digest", "argument": identity, "result": config_digest(identity)},
            {"function": "closure_digest", "argument": identity, "result": closure_digest(identity)},
            {"function": "core_digest", "argument": {"core": identity, "evidence": {"at": 1}},
             "result": core_digest({"core": identity, "evidence": {"at": 1}})},
            {"function": "files_log_id", "argument": FILES, "result": files_log_id(tuple(file) for file in FILES)},
            {"function": "files_log_id", "argument": [], "result": files_log_id([])},
        ],
        "row_id": {"log_id": TWO, "row": 41, "result": row_id(TWO, 41)},
        "code_release_id": {"version": "0.1.0", "files": [["a.py", ONE], ["b/c.py", TWO]],
                            "result": code_release_id("0.1.0", [("a.py", ONE), ("b/c.py", TWO)])},
        "event_hash": [{"event": EVENT, "payload_json": text, "result": event_hash(**EVENT, payload=load_json(text, numbers="decimal"))}
                       for text in PAYLOADS],
    }


def closure_vectors():
    """Closures of a rich profile, which is told as text because the order of its names counts: their documents and digests."""
    profile = read_profile(PROFILE)
    found = {ref: describe(profile.closure(ref, "payment", also=["score"])) for ref in profile.set_refs()}
    return {"profile": json.dumps(PROFILE), "subject": "payment", "also": ["score"],
            "closures": [{"feature_set": ref, "document": document, "digest": closure_digest(document)} for ref, document in found.items()]}


def content_vectors():
    """Column digests of every type, leaf digests, Merkle roots, and content digests over leaves."""
    named = [(kind, ColumnType.parse(kind)) for kind in COLUMNS]
    columns = [{"type": kind, "values": values, "digest": column_digest(ColumnType.parse(kind), plain(kind, values))}
               for kind, values in COLUMNS.items()]
    columns += [{"type": kind, "values": values, "digest": column_digest(ColumnType.parse(kind), values)}
                for kind in COLUMNS for values in ([], [None], [None, None])]
    datasets = [{"types": [kind for kind, _ in named], "rows": rows, "leaf_rows": leaf_rows, **digested(named, table(rows), leaf_rows)}
                for rows, leaf_rows in ((0, 4), (1, 4), (4, 4), (5, 4), (8, 4), (12, 4), (13, 4), (28, 4))]
    counted = [("n", ColumnType("int32"))]
    boundary = [{"rows": rows, "content_digest": content_digest(counted, [list(range(rows))])}
                for rows in (65_535, 65_536, 65_537, 131_073)]
    return {"columns": columns, "datasets": datasets, "boundary": boundary,
            "merkle": [{"leaves": count, "root": merkle_root([bytes([index]) * 32 for index in range(count)]).hex()} for count in range(9)]}


def plain(kind, values):
    """Vector values as the definition takes them: floats travel as text in JSON."""
    return [float(value) if kind == "float64" and value is not None else value for value in values]


def table(rows):
    """A dataset of every type: each column repeats its vector values."""
    return [[plain(kind, values)[row % len(values)] for row in range(rows)] for kind, values in COLUMNS.items()]


def digested(named, values, leaf_rows):
    """Leaves and content digest of a dataset."""
    leaves = digest_leaves(named, values, leaf_rows=leaf_rows)
    return {"leaves": [{"n": leaf.n, "digest": leaf_digest(named, leaf).hex(), "columns": list(leaf.digests)} for leaf in leaves],
            "content_digest": content_digest(named, values, leaf_rows=leaf_rows)}


def vectors():
    """Every vector file, by its path below this folder."""
    return {"identity/vectors.json": identity_vectors(), "content/vectors.json": content_vectors(),
            "closure/vectors.json": closure_vectors()}


if __name__ == "__main__":
    for name, document in vectors().items():
        (HERE / name).write_text(json.dumps(document, indent=1, ensure_ascii=True, sort_keys=True) + "\n", encoding="utf-8")
        sys.stdout.write(f"wrote {name}\n")
