"""Rows for days, weeks or months, of whoever is there: from the short form to the dataset, and what is refused (`docs/decisions/0036`)."""

import json

import pytest
from small_plane import replace_in

from offline_feature_plane.__main__ import run
from offline_feature_plane.plane import open_plane

PLANE = """plane: accounts
events:
  payment: {path: payments.csv, id: payment, time: at}
labels:
  churn: {path: churn.csv, event: row, observed: seen, value: CHURNED}
"""
FEATURES = """policy_id: accounts.features
revision: r1
sources:
  payment:
    event_types: [payment]
    fields: {account: string, shop: {type: string, missing: null}, amount: int64, share: {type: float64, missing: null}}
feature_groups:
  - name: paid
    version: v1
    source: payment
    key: [account]
    windows: ["calendar(month, UTC)", 7d]
    features: {n: count(), total: sum(amount)}
row_features:
  account: account
feature_sets:
  - {id: monthly, version: v1, groups: [paid@v1], row_features: [account]}
"""
INTENT = """rows: {entity: account, of: payment, every: month, between: [2026-01-01, 2026-04-01]}
features: features.yaml
label: {type: churn, positive: [CHURNED], as_of: 2026-09-01, maturity_days: 60, unlabeled: negative_when_mature}
splits: {train: [2026-01-01, 2026-03-01], test: [2026-03-01, 2026-04-01]}
identifiers: {mode: raw, reason: invented}
cold_rows: allow
"""
PAYMENTS = """payment,at,account,shop,amount
1,2026-01-05T00:00:00Z,anna,x,10
2,2026-01-31T23:59:59.999999Z,anna,,20
3,2026-02-01T00:00:00Z,anna,x,5
4,2026-02-22T00:00:00Z,anna,x,7
5,2026-03-31T23:30:00Z,ben,x,1
"""


@pytest.fixture
def accounts(tmp_path, monkeypatch):
    """A plane of payments of two accounts, some at midnight and at the last instant of a month, and two churns."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("plane.yaml", PLANE), ("features.yaml", FEATURES), ("intent.yaml", INTENT), ("payments.csv", PAYMENTS),
                       ("churn.csv", "row,seen\nanna@2026-02-01,2026-05-01T00:00:00Z\nben@2026-03-01,2026-06-01T00:00:00Z\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def built(folder):
    """The rows that a build publishes."""
    plane = open_plane(folder / "plane.yaml")
    return plane.dataset(plane.build(folder / "intent.yaml").manifest.dataset_manifest_id).to_arrow().to_pylist()


def test_each_month_has_a_row_of_whoever_is_there(accounts):
    """A month holds its midnight and its last instant, a split the months within it; ben is there from his first payment on.

    ```
            January           February          March
    anna  ┃─────10───────20┃5────────7─────┃──────────────┃──▶   ┃ the last instant of a month: a row
    ben   ┃────────────────│───────────────│─────────────1┃──▶   churn is known of anna's February and ben's March
    ```
    """
    assert [tuple(row[name] for name in ("event_id", "paid__n_month", "paid__total_month", "paid__n_7d", "target", "split"))
            for row in built(accounts)] == [
        ("anna@2026-01-01", 2, 30, 1, 0, "train"), ("anna@2026-02-01", 2, 12, 1, 1, "train"),
        ("anna@2026-03-01", 0, 0, 0, 0, "test"), ("ben@2026-03-01", 1, 1, 1, 1, "test")]


def test_days_are_those_of_the_zone(accounts):
    """What happens at 23:30 UTC on the last of March is of April in Paris; a row's instant is the last one of its local month."""
    replace_in(accounts / "intent.yaml", "2026-04-01]}\nf", "2026-05-01], zone: Europe/Paris}\nf")
    replace_in(accounts / "intent.yaml", "splits: {train: [2026-01-01, 2026-03-01], test: [2026-03-01, 2026-04-01]}\n", "")
    rows = {row["event_id"]: row["ts"].isoformat() for row in built(accounts)}
    assert rows == {"anna@2026-01-01": "2026-01-31T22:59:59.999999+00:00", "anna@2026-02-01": "2026-02-28T22:59:59.999999+00:00",
                    "anna@2026-03-01": "2026-03-31T21:59:59.999999+00:00", "anna@2026-04-01": "2026-04-30T21:59:59.999999+00:00",
                    "ben@2026-04-01": "2026-04-30T21:59:59.999999+00:00"}


def test_ids_say_no_more_than_their_columns(accounts, capsys):
    """Where accounts leave as tokens, row ids begin with the token, and still it is the account that labels name."""
    assert run(["key"]) == 0
    capsys.readouterr()
    replace_in(accounts / "intent.yaml", "identifiers: {mode: raw, reason: invented}\n", "")
    rows = built(accounts)
    assert [row["event_id"] for row in rows] == [f"{row['account']}@{day}" for row, day in zip(
        rows, ("2026-01-01", "2026-02-01", "2026-03-01", "2026-03-01"), strict=True)]
    assert all(len(row["account"]) == 32 for row in rows)
    assert [row["target"] for row in rows] == [0, 1, 0, 1]


def test_the_long_form_asks_for_the_same(accounts, capsys):
    """The short form stands for `subject.calendar`, and both are one dataset; show says whom rows are about."""
    plane = open_plane(accounts / "plane.yaml")
    pinned = plane.pin("intent.yaml").document
    assert pinned["subject"] == {"source": "payment", "where": None, "entity": "account", "calendar": {
        "every": "month", "zone": "UTC", "first_day": "2026-01-01", "end_day": "2026-04-01"}}
    assert plane.plan(pinned).pins.dataset_fingerprint == plane.plan("intent.yaml").pins.dataset_fingerprint
    assert run(["build", "intent.yaml"]) == 0
    assert "account of payment by month, 2026-01-01 to 2026-04-01 (UTC)" in capsys.readouterr().out


@pytest.mark.parametrize(("old", "new", "code", "said"), [
    ("of: payment", "of: payments", "FEATURE_PROFILE_UNRESOLVED", ["$.rows", "it has payment"]),
    ("entity: account", "entity: acount", "SCHEMA_INVALID", ["$.rows.entity", "account, amount"]),
    ("entity: account", "entity: share", "SCHEMA_INVALID", ["$.rows.entity", "float64"]),
    ("entity: account, ", "", "SCHEMA_INVALID", ["$.rows.entity", "required"]),
    ("every: month", "every: year", "SCHEMA_INVALID", ["$.rows.every", "'year'"]),
    (", every: month", "", "SCHEMA_INVALID", ["$.rows.every", "required"]),
    ("of: payment", "of: payment, zone: Mars", "SCHEMA_INVALID", ["$.rows.zone", "Mars"]),
    ("of: payment", "of: payment, spine: payment", "SCHEMA_INVALID", ["$.rows.every", "beside the others"]),
    ("[2026-01-01, 2026-04-01]", "[2026-04-01, 2026-01-01]", "SCHEMA_INVALID", ["$.rows.between[1]", "does not lie after"]),
    ("[2026-01-01, 2026-04-01]", "[2026-01-02, 2026-01-31]", "SCHEMA_INVALID", ["$.rows.between[1]", "no month begins"]),
    ("[2026-01-01, 2026-04-01]", "[2026-01-01T00:00:00Z, 2026-04-01]", "SCHEMA_INVALID", ["$.rows.between[0]", "no day"]),
    ("[2026-01-01, 2026-04-01]", "[2026-W01-1, 2026-04-01]", "SCHEMA_INVALID", ["$.rows.between[0]", "no day"]),
    ("[2026-01-01, 2026-04-01]", "[2026-02-30, 2026-04-01]", "SCHEMA_INVALID", ["$.rows.between[0]", "no day"]),
    ("[2026-01-01, 2026-04-01]", "[0001-01-01, 9999-12-31]", "SCHEMA_INVALID", ["$.rows.between[1]", "36,600"]),
    ("[2026-01-01, 2026-04-01]", "[2026-01-01]", "SCHEMA_INVALID", ["$.rows.between", "2 items"]),
    ("cold_rows: allow", "visibility: arrival", "SCHEMA_INVALID", ["$.visibility", "spine"]),
    ("cold_rows: allow", 'where: "amount > 3"', "EXPRESSION_INVALID", ["$.where", "account of payment by month"])])
def test_what_is_no_calendar_is_refused(accounts, capsys, old, new, code, said):
    """Nobody, no period, no day, no such zone: a code, the place, a sentence; nothing is published."""
    if "2026-01-01" in old:
        old, new = f"between: {old}", f"between: {new}"
    replace_in(accounts / "intent.yaml", old, new)
    assert run(["build", "intent.yaml", "--json"]) == 2
    told = capsys.readouterr().out
    assert json.loads(told)["error"]["code"] == code
    assert all(part.lower() in told.lower() for part in said)
    assert not open_plane(accounts / "plane.yaml").datasets()


def test_a_group_of_another_key_does_not_fit(accounts, capsys):
    """A row has nothing but its entity, so that a group by shop says where it stands and what it needs."""
    replace_in(accounts / "features.yaml", "key: [account]", "key: [shop]")
    assert run(["build", "intent.yaml"]) == 2
    told = capsys.readouterr().err
    assert "features.yaml:11" in told
    assert "account of payment by month needs a field shop of type string" in told


SHORT = """fields: {account: string, amount: int64}
groups:
  paid: {key: account, windows: ["calendar(month, UTC)", 7d], features: {n: count(), total: sum(amount)}}
contexts:
  owner: {key: account, fields: {tier: string}, missing: null}
row_features:
  account: account
"""


def test_a_short_profile_is_of_the_source_that_rows_are_made_of(accounts, capsys):
    """Its fields are those of the events, as without a calendar; contexts join what is known of each account at the end of each period."""
    assert run(["preview", "intent.yaml", "--rows", "9", "--json"]) == 0
    long = json.loads(capsys.readouterr().out)["rows"]
    replace_in(accounts / "plane.yaml", "  payment: {", "  owner: {path: owners.csv, id: change, time: since}\n  payment: {")
    (accounts / "owners.csv").write_text("change,since,account,tier\n1,2025-01-01T00:00:00Z,anna,basic\n2,2026-02-10T00:00:00Z,anna,gold\n"
                                         "3,2026-04-01T00:00:00Z,ben,basic\n")
    (accounts / "features.yaml").write_text(SHORT)
    assert run(["preview", "intent.yaml", "--rows", "9", "--json"]) == 0
    short = json.loads(capsys.readouterr().out)["rows"]
    assert [{name: value for name, value in row.items() if name != "owner__tier"} for row in short] == long
    assert [(row["event_id"], row["owner__tier"]) for row in short] == [
        ("anna@2026-01-01", "basic"), ("anna@2026-02-01", "gold"), ("anna@2026-03-01", "gold"), ("ben@2026-03-01", None)]
