"""Rows at instants that the user brings: a spine, its labels, and what is refused about it (`decisions.md` G, `docs/decisions/0036`)."""

import json

import pytest
from small_plane import replace_in

from offline_feature_plane.__main__ import run
from offline_feature_plane.plane import open_plane

PLANE = """plane: accounts
events:
  payment: {path: payments.csv, id: payment, time: at}
  month_end: {path: month_ends.csv, id: row, time: at}
labels:
  churn: {path: churn.csv, event: row, observed: seen, value: CHURNED}
"""
FEATURES = """policy_id: accounts.features
revision: r1
sources:
  payment: {event_types: [payment], fields: {account: string, amount: int64}}
  month_end: {event_types: [month_end], fields: {account: string, share: {type: float64, missing: null}}}
feature_groups:
  - {name: paid, version: v1, source: payment, key: [account], windows: [30d], features: {n: count(), total: sum(amount)}}
feature_sets:
  - {id: monthly, version: v1, groups: [paid@v1]}
"""
INTENT = """rows: {spine: month_end, entity: account}
features: features.yaml
label: {type: churn, positive: [CHURNED], as_of: 2026-06-01, maturity_days: 60, unlabeled: negative_when_mature}
identifiers: {mode: raw, reason: invented}
cold_rows: allow
"""
PAYMENTS = """payment,at,account,amount
1,2026-01-05T10:00:00Z,anna,10
2,2026-01-20T10:00:00Z,ben,20
3,2026-02-01T00:00:00Z,anna,5
4,2026-02-10T00:00:00Z,anna,7
5,2026-03-09T00:00:00Z,ben,1
"""
MONTH_ENDS = """row,at,account
anna-1,2026-02-01T00:00:00Z,anna
ben-1,2026-02-01T00:00:00Z,ben
anna-2,2026-03-01T00:00:00Z,anna
ben-2,2026-03-01T00:00:00Z,ben
"""


@pytest.fixture
def accounts(tmp_path, monkeypatch):
    """A plane of payments of two accounts, two month ends for each, and one churn."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("plane.yaml", PLANE), ("features.yaml", FEATURES), ("intent.yaml", INTENT), ("payments.csv", PAYMENTS),
                       ("month_ends.csv", MONTH_ENDS), ("churn.csv", "row,seen\nben-1,2026-05-01T00:00:00Z\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def rows_of(folder):
    """The rows that a build publishes, by id: how many payments, their sum, the target."""
    plane = open_plane(folder / "plane.yaml")
    table = plane.dataset(plane.build(folder / "intent.yaml").manifest.dataset_manifest_id).to_arrow()
    return {row["event_id"]: (row["paid__n_30d"], row["paid__total_30d"], row["target"]) for row in table.to_pylist()}


@pytest.mark.parametrize("name", ["month_end", "zz_month_end"])
def test_each_instant_sees_what_lies_before_it(accounts, name):
    """Features of an account at month ends, labels by the spine's row ids; an event at the instant itself is not seen.

    ```
    anna   ──10─────┃5──────7───────┃──▶      ┃ month end, 30 days back
    ben    ─────20──┃───────────────┃──1──▶   churn is known of ben's first row
    ```
    """
    for file in ("plane.yaml", "features.yaml", "intent.yaml"):
        replace_in(accounts / file, "month_end", name)
    replace_in(accounts / "plane.yaml", f"path: {name}s", "path: month_ends")
    assert rows_of(accounts) == {"anna-1": (1, 10, 0), "ben-1": (1, 20, 1), "anna-2": (2, 12, 0), "ben-2": (0, 0, 0)}


def test_a_spine_is_part_of_what_is_asked(accounts):
    """The short form stands for `subject.entity`; rows of the same source that are no spine are another dataset, their ties others."""
    plane = open_plane(accounts / "plane.yaml")
    asked = plane.pin("intent.yaml").document["subject"]
    assert asked == {"source": "month_end", "where": None, "entity": "account", "calendar": None}
    spine = plane.plan("intent.yaml").plan.pins.identity["subject"]
    replace_in(accounts / "intent.yaml", "rows: {spine: month_end, entity: account}", "rows: month_end")
    plain = plane.plan("intent.yaml").plan.pins.identity["subject"]
    assert (spine, plain) == ({"source": "month_end", "where": None, "entity": "account"}, {"source": "month_end", "where": None})


@pytest.mark.parametrize(("file", "old", "new", "code", "status", "said"), [
    ("month_ends.csv", "ben-2,2026-03-01T00:00:00Z,ben", "ben-2,2026-03-01T00:00:00Z,anna", "SPINE_INVALID", 4,
     ["month_end.account", "2026-03-01T00:00:00.000000Z"]),
    ("month_ends.csv", "ben-2,2026-03-01T00:00:00Z", "ben-2,2026-03-01T01:00:00+01:00", None, 0, []),
    ("month_ends.csv", "anna-2,2026-03-01T00:00:00Z", "anna-2,2026-03-01T00:00:00", "TIME_ZONE_UNDECLARED", 2, ["at", "zone"]),
    ("month_ends.csv", "anna-2,2026-03-01T00:00:00Z,anna", "anna-2,2026-03-01T00:00:00Z,", "EVENT_SCHEMA_MISSING_FIELDS", 4, ["account"]),
    ("month_ends.csv", "anna-2,2026-03-01T00:00:00Z", "anna-2,", "EVENT_SCHEMA_MISSING_FIELDS", 4, ["at"]),
    ("features.yaml", "{account: string, share", "{account: {type: string, missing: null}, share", "SCHEMA_INVALID", 2,
     ["intent.yaml:1 $.rows.entity", "may be null"]),
    ("intent.yaml", "entity: account", "entity: acount", "SCHEMA_INVALID", 2, ["intent.yaml:1 $.rows.entity", "acount"]),
    ("intent.yaml", "entity: account", "entity: share", "SCHEMA_INVALID", 2, ["intent.yaml:1 $.rows.entity", "float64"]),
    ("intent.yaml", "entity: account", "entity: ts", "SCHEMA_INVALID", 2, ["intent.yaml:1 $.rows.entity", "account, share"]),
    ("intent.yaml", ", entity: account", "", "SCHEMA_INVALID", 2, ["intent.yaml:1 $.rows.entity", "this is required"]),
    ("intent.yaml", "{spine: month_end, entity: account}", "[month_end]", "SCHEMA_INVALID", 2, ["intent.yaml:1 $.rows", "not a list"]),
    ("intent.yaml", "spine: month_end", "spine: month_ends", "FEATURE_PROFILE_UNRESOLVED", 2, ["intent.yaml:1 $.rows", "month_end"]),
    ("intent.yaml", "cold_rows", "visibility: arrival\ncold_rows", "SCHEMA_INVALID", 2, ["intent.yaml:5 $.visibility", "spine"])])
def test_what_is_no_spine_is_refused(accounts, capsys, file, old, new, code, status, said):
    """An entity twice at one instant, an unknown instant, no entity: a code, the place, a sentence; nothing is published."""
    replace_in(accounts / file, old, new)
    assert run(["build", "intent.yaml", "--json"]) == status
    told = capsys.readouterr().out
    if code is not None:
        found = json.loads(told)["error"]
        assert found["code"] == code
        assert all(part in told for part in said)
        assert not open_plane(accounts / "plane.yaml").datasets()
