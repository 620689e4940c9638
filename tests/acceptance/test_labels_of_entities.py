"""A plane whose labels speak of customers instead of payments: built, told and refused (docs/decisions/0035)."""

import copy
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from answers import ask, ask_once, check_answer, check_nothing_left
from small_plane import START, make_plane, transactions

from offline_feature_plane.__main__ import run
from offline_feature_plane.plane import open_plane

FLAGS = {"path": "flags.parquet", "entity": "customer_id", "observed": "seen", "effective": "since", "value": {"column": "says"}}
TIME = pa.timestamp("us", "UTC")
# customer, holds from day, known on day
SAID = [("C0", 9, 14, "MULE"), ("C0", 35, 38, "CLEARED"), ("C3", 20, 24, "MULE"), ("C5", 5, 9, "CLEARED"), ("nobody", 5, 9, "MULE")]


def write_flags(folder, said=SAID, customers=None, names=None):
    """The flags as a file, each named after its customer and day."""
    who, since, seen, says = zip(*said, strict=True)
    days = [pa.array([START + timedelta(days=day) for day in each], TIME) for each in (since, seen)]
    names = names or [f"{one}-{day}" for one, day in zip(who, since, strict=True)]
    pq.write_table(pa.table({"customer_id": customers or who, "since": days[0], "seen": days[1], "says": says, "name": names}),
                   folder / "flags.parquet")


def flagged_plane(folder, *, label=None, customers=None):
    """The small plane with flags of customers for its target, and no features of labels."""
    plane = make_plane(folder)
    plane.plane["labels"] = {"flag": {**FLAGS, **(label or {})}}
    plane.profile["groups"].pop("terminal")
    plane.intent["label"] |= {"type": "flag", "positive": ["MULE"]}
    write_flags(folder, customers=customers)
    plane.documents()
    return plane


@pytest.mark.parametrize("engine", ["local", "oracle"])
def test_a_flag_holds_for_the_customers_payments_from_its_day_on(tmp_path, engine):
    """Rows carry what was said of their customer and was effective at their instant; who has no flag has no label.

    ```
    C0   ────●───────────────────●─────────▶      C3  ───────────●──────────▶
             day 9: MULE         35: CLEARED                     20: MULE
    ```
    """
    plane = flagged_plane(tmp_path / "plane")
    plane.plane["engine"]["name"] = engine
    plane.documents()
    opened = open_plane(tmp_path / "plane/plane.yaml")
    built = opened.build(plane.intent_path)
    rows = opened.dataset(built.manifest_ref).to_arrow().to_pylist()
    bought = dict(zip(transactions()["tx_id"], transactions()["customer_id"], strict=True))
    assert {bought[row["event_id"]] for row in rows} == {f"C{number}" for number in range(7)}
    for row in rows:
        day = (row["ts"] - START) / timedelta(days=1)
        told = [said for who, since, _, said in SAID if who == bought[row["event_id"]] and since <= day]
        assert (row["flag__value"], row["target"]) == ((told[-1], int(told[-1] == "MULE")) if told else (None, 0))


def test_what_was_not_known_at_the_asof_flags_nobody(tmp_path):
    """A flag that was observed after the as-of changes no row, though it is effective long before."""
    plane = flagged_plane(tmp_path / "plane")
    plane.intent["label"] |= {"as_of": "2026-01-24T00:00:00Z"}  # day 23: C3's flag of day 20 is not known yet
    plane.intent["splits"] = {"train": ["2026-01-03", "2026-01-14"]}
    plane.documents()
    opened = open_plane(tmp_path / "plane/plane.yaml")
    report = opened.labels(plane.intent_path)
    assert report.types[0].assertions["assertions_after_asof"] == 2
    assert report.types[0].assertions["assertions_outside_basis"] == 1
    assert "1 of 5 flag assertions are about entities without an event in the basis." in report.warnings


def test_a_label_that_has_ended_was_said(tmp_path, capsys):
    """Where every flag has ended by the as-of, the target's value is still one that labels say, and rows before carry it."""
    plane = flagged_plane(tmp_path / "plane")
    write_flags(plane.folder, [*SAID, ("C3", 36, 39, "CLEARED")])
    opened = open_plane(plane.folder / "plane.yaml")
    report = opened.labels(plane.intent_path)
    facts = report.types[0].assertions
    assert (facts["values"], facts["said"]) == ({"CLEARED": 3}, {"CLEARED": 3, "MULE": 2})
    assert not any("MULE" in warning for warning in report.warnings)
    assert run(["labels", str(plane.intent_path), "--plane", str(plane.folder / "plane.yaml")]) == 0
    told = capsys.readouterr().out
    assert "say         positive MULE 2 · negative CLEARED 3" in told
    assert "days before their event" in told


OTHER_FLAGS = {
    "one appeared": ([*SAID, ("C1", 3, 20, "MULE")], {}, "1 flag assertions appeared below the cut: the customer_id of event 2 is MULE"),
    "one is gone": (SAID[:2] + SAID[3:], {}, "1 flag assertions are gone: one of the customer_id of event 4, observed 2026-01-25"),
    "one was moved": ([("C0", 8, 14, "MULE"), *SAID[1:]], {}, "1 flag assertions were changed in place: the customer_id of event 1 is M"),
    "a name": ([*SAID, ("C1", 3, 20, "MULE")], {"id": "name"}, "appeared below the cut: C1-3 (the customer_id of event 2 is MULE, o"),
}


@pytest.mark.parametrize(("name", "engine"), [*((name, "local") for name in OTHER_FLAGS), ("one was moved", "oracle")])
def test_flags_that_changed_below_the_asof_are_named(tmp_path, capsys, name, engine):
    """Other flags refuse a rebuild and are told by their customer's first event, for the customer may be an identifier."""
    said, entry, told = OTHER_FLAGS[name]
    plane = flagged_plane(tmp_path / "plane", label=entry)
    plane.plane["engine"]["name"] = engine
    plane.documents()
    opened = open_plane(tmp_path / "plane/plane.yaml")
    opened.build(plane.intent_path)
    write_flags(plane.folder, said[::-1] if name == "one appeared" else said)
    check_answer(ask_once(capsys, "build", str(plane.intent_path), "--recompute"), 5, "LABEL_HISTORY_CHANGED", (told,))
    write_flags(plane.folder, [*SAID[::-1], SAID[0], ("nobody", 6, 9, "MULE"), ("C2", 6, 90, "MULE")])
    assert opened.build(plane.intent_path, recompute=True).outcome == "REPRODUCED"


def changed(**entry):
    """A change of the entry under `labels:`; None takes a key out."""
    def change(plane):
        merged = {**FLAGS, **entry}
        plane.plane["labels"]["flag"] = {key: value for key, value in merged.items() if value is not None}
    return change


def looked_at(plane):
    """A feature that looks at labels of customers."""
    plane.profile["groups"]["terminal"] = {"key": "terminal_id", "windows": ["7d"], "features": {"risk": "label_rate(flag, MULE)"}}


def as_float(plane):
    """Amounts for entities."""
    plane.plane["labels"]["flag"]["applies_to"] = "amount"


def numbered(plane):
    """The profile's customers are integers, those of the flags are text."""
    customers = [int(one[1:]) for one in transactions()["customer_id"]]
    plane.events({**transactions(), "customer_id": customers}, schema=None)
    plane.profile["fields"]["customer_id"] = "int64"


BAD = {
    "no such column": (changed(entity="customer", applies_to="customer_id"), "SOURCE_COLUMN_UNKNOWN", ("Did you mean 'customer_id'",)),
    "no such field": (changed(applies_to="account"), "LABEL_TYPE_SCOPE_UNRESOLVED", ("labels.flag.applies_to", "account", "customer_id")),
    "a field that holds no entity": (as_float, "LABEL_TYPE_SCOPE_UNRESOLVED", ("labels.flag.applies_to", "decimal")),
    "the instant for a field": (changed(applies_to="ts"), "LABEL_TYPE_SCOPE_UNRESOLVED", ("labels.flag.applies_to", "'ts'")),
    "event and entity": (changed(event="customer_id"), "SETTINGS_INVALID", ("labels.flag.entity", "leave `event:` or `entity:` out")),
    "neither": (changed(entity=None), "SETTINGS_INVALID", ("labels.flag.event", "missing")),
    "a field without entity": (changed(entity=None, event="customer_id", applies_to="customer_id"), "SETTINGS_INVALID",
                               ("labels.flag.applies_to", "`entity:`")),
    "no effective time": (changed(effective=None), "SETTINGS_INVALID", ("labels.flag.effective", "from when on")),
    "an assumed delay": (changed(observed={"after_event": "30d"}), "SETTINGS_INVALID", ("labels.flag.observed", "entity")),
    "features of flags": (looked_at, "AGGREGATION_UNSUPPORTED", ("labels.flag.entity", "features cannot look at flag labels")),
    "text for integers": (numbered, "LABEL_STORE_UNAVAILABLE", ("flags.parquet row 1", "The field 'customer_id' holds integers")),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_entries_are_refused(tmp_path, capsys, name):
    """Each mistake about entities has its code, its place and an advice, and leaves nothing behind."""
    change, code, words = BAD[name]
    plane = flagged_plane(tmp_path / "plane")
    change(plane)
    plane.documents()
    said = ask(capsys, "build", str(plane.intent_path))
    check_answer(said, said.status, code, words)
    check_nothing_left(plane, said)


def test_a_flag_of_nobody_is_refused(tmp_path, capsys):
    """An assertion without its entity refuses the timeline, with file and row."""
    plane = flagged_plane(tmp_path / "plane", customers=["C0", "C0", None, "C5", "C6"])
    said = ask(capsys, "build", str(plane.intent_path))
    check_answer(said, 3, "LABEL_STORE_UNAVAILABLE", ("1 of 5 flag labels have no 'customer_id', the first in flags.parquet row 3",))
    check_nothing_left(plane, said)


def test_flags_that_were_known_when_they_began_are_implausible(tmp_path, capsys):
    """An export that says of every flag that it was known from its effective time on is refused, unless that is declared."""
    plane = flagged_plane(tmp_path / "plane", label={"observed": "since"})
    check_answer(ask(capsys, "build", str(plane.intent_path)), 4, "LABEL_LAG_IMPLAUSIBLE",
                 ("flag: 4 of 4 assertions are observed within 60 s of their effective time",))
    declared = copy.deepcopy(plane.plane)
    declared["labels"]["flag"]["min_lag"] = "0s"
    plane.plane = declared
    plane.documents()
    assert open_plane(tmp_path / "plane/plane.yaml").build(plane.intent_path).manifest_ref
