"""A plane whose labels are in PostgreSQL: the same datasets as from files, for ever, and who says otherwise is told what changed."""

import json
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from postgres_server import APP
from small_plane import START, chargebacks, make_plane, transactions

import offline_feature_plane as ofs
from offline_feature_plane.__main__ import run as command
from offline_feature_plane.errors import LabelHistoryChanged, LabelStoreUnavailable, OfsError, RequestCommandUnsupported, SettingsInvalid
from offline_feature_plane.labelstores.postgres import reading
from offline_feature_plane.postgres.address import address_from

AS_FILES = {"path": "assertions.parquet", "event": "event_id", "observed": "observed_time", "effective": "effective_time",
            "value": {"column": "label_value"}, "source": {"column": "source_type"}, "id": "label_assertion_id", "supersedes": "supersedes"}
ASOF = datetime(2026, 3, 10, tzinfo=UTC)


def assertion(event, seen, value="CHARGEBACK", **other):
    """An assertion about an event, named after both."""
    return {"label_assertion_id": f"cb-{event}-{value}", "label_type": "chargeback", "event_id": str(event), "label_value": value,
            "observed_time": seen, "effective_time": seen, "source_type": "EXTERNAL", "actor_id": None, "supersedes": None} | other


def history():
    """Chargebacks as the small plane has them; every third is reversed by a person a week later, and some are told after the as-of.

    ```
    cb-1-CHARGEBACK ──▶ cb-1-LEGIT supersedes it        as-of     cb-16-LATE
    ────●───────────────────●──────────────────────────────│──────────●──────▶ observed
    ```
    """
    first = [assertion(event, seen) for event, seen in zip(*(chargebacks()[name] for name in ("tx_id", "reported_at")), strict=True)]
    reversed_ones = [assertion(one["event_id"], one["observed_time"] + timedelta(days=7), "LEGIT", source_type="HUMAN", actor_id="ana",
                               supersedes=one["label_assertion_id"], effective_time=one["effective_time"]) for one in first[::3]]
    late = [assertion(one["event_id"], ASOF + timedelta(microseconds=1), "LATE", effective_time=START) for one in first[::4]]
    return [*first, *reversed_ones, *late, assertion(999, START)]


def stored_plane(folder, postgres, rows=None, *, store=None, **entry):
    """A small plane whose chargebacks are in a label store, loaded from its file of assertions."""
    made = make_plane(folder)
    pq.write_table(pa.Table.from_pylist(rows or history()), folder / "assertions.parquet")
    made.plane["labels"]["chargeback"] = {"store": store or postgres.new_label_store(), **entry}
    made.documents()
    if store is None:
        open_plane(made).load_labels([folder / "assertions.parquet"])
    return made


def file_plane(folder, rows=None):
    """The same with the assertions in a file."""
    made = make_plane(folder)
    pq.write_table(pa.Table.from_pylist(rows or history()), folder / "assertions.parquet")
    made.plane["labels"]["chargeback"] = AS_FILES
    made.documents()
    return made


def open_plane(made, **overrides):
    """Its plane."""
    return ofs.open(made.folder / "plane.yaml", **overrides)


def diagnosed(made):
    """What the doctor says of the plane's only dataset, and of its labels."""
    made.documents()
    (one,) = open_plane(made).doctor().diagnoses
    return one.state, one.prognoses[-1].sentence


@pytest.mark.parametrize("engine", ["local", "oracle"])
@pytest.mark.parametrize("ids", ["integers", "texts"])
def test_where_the_labels_are_changes_no_dataset(place, postgres, engine, ids):
    """The same assertions from a file and from PostgreSQL: one fingerprint, one slice digest, one core; also where ids are texts."""
    rows, cores = history(), []
    if ids == "texts":
        rows = [one | {"event_id": f"0{one['event_id']}"} for one in rows]
    for made in (stored_plane(place / "stored", postgres, rows), file_plane(place / "files", [
            one | {"event_id": int(one["event_id"])} for one in rows] if ids == "integers" else rows)):
        if ids == "texts":
            made.events(transactions() | {"tx_id": [f"0{one}" for one in transactions()["tx_id"]]}, schema=None)
        plane = open_plane(made, **{"engine.name": engine})
        built = plane.build(made.intent_path)
        assert plane.verify(built.manifest.dataset_manifest_id).intact
        assert plane.build(made.intent_path, recompute=True).outcome == "REPRODUCED"
        assert made.leftovers() == []
        cores.append((built.manifest.dataset_fingerprint, built.manifest.core))
    assert cores[0] == cores[1]
    assert cores[0][1].labels["assertions_eligible"] > 40


@pytest.mark.parametrize("customers", ["texts", "integers"])
def test_a_store_may_speak_of_entities(place, postgres, customers):
    """With `applies_to` the store's `event_id` names customers: the same flags from a file and from PostgreSQL are one dataset."""
    numbered = customers == "integers"
    flags = [assertion(who if numbered else f"C{who}", START + timedelta(days=day + 4), value, effective_time=START + timedelta(days=day))
             for who, day, value in ((0, 9, "MULE"), (0, 35, "CLEARED"), (3, 20, "MULE"), (77, 5, "MULE"))]
    cores = []
    for made, where in ((stored_plane(place / "stored", postgres, flags, applies_to="customer_id"), {}),
                        (file_plane(place / "files", flags), {"entity": "event_id", "applies_to": "customer_id"})):
        if where:
            made.plane["labels"]["chargeback"] = {key: value for key, value in AS_FILES.items() if key != "event"} | where
        if numbered:
            made.events(transactions() | {"customer_id": [int(one[1:]) for one in transactions()["customer_id"]]}, schema=None)
            made.profile["fields"]["customer_id"] = "int64"
        made.profile["groups"].pop("terminal")
        made.intent["label"] |= {"positive": ["MULE"]}
        made.documents()
        plane = open_plane(made)
        built = plane.build(made.intent_path)
        assert plane.build(made.intent_path, recompute=True).outcome == "REPRODUCED"
        cores.append((built.manifest.dataset_fingerprint, built.manifest.core))
    assert cores[0] == cores[1]
    assert cores[0][1].labels["assertions_eligible"] == 3


def test_what_becomes_known_after_the_as_of_changes_nothing(place, postgres):
    """Later labels leave pins, log and dataset as they were, and nobody is warned; the manifest says how far the log was read."""
    made = stored_plane(place / "p", postgres)
    plane = open_plane(made)
    before, built = plane.plan(made.intent_path), plane.build(made.intent_path)
    (place / "late.jsonl").write_text("".join(json.dumps(assertion(2, (ASOF + timedelta(days=n)).isoformat(), f"V{n}")) + "\n"
                                              for n in (1, 2)))
    plane.load_labels([place / "late.jsonl"])
    assert diagnosed(made) == ("files", "the chargeback labels are in the label store that they were read from")
    after = plane.plan(made.intent_path)
    assert (after.pins, after.plan.warnings) == (before.pins, before.plan.warnings)
    assert plane.build(made.intent_path, recompute=True).outcome == "REPRODUCED"
    marker = next(one.marker for one in built.manifest.evidence.sources if one.kind == "labels")
    assert marker.assertions == sum(one["observed_time"] <= ASOF for one in history())


def test_what_appears_below_the_as_of_is_named(place, postgres):
    """A backdated label refuses the rebuild with LABEL_HISTORY_CHANGED, which names it and no other; the dataset itself stays intact.

    The doctor tells that there are more than there were; and that a store is another one, or away.

    ```
    built ──▶ loaded later:  cb-2-BACKDATED   as-of   cb-3-LATER
    ─────────────────────────────●───────────────│────────●──────▶ observed
    ```
    """
    made = stored_plane(place / "p", postgres)
    plane = open_plane(made)
    dataset = plane.build(made.intent_path).manifest.dataset_manifest_id
    rows = [assertion(2, "2026-02-01T00:00:00Z", "BACKDATED"), assertion(3, "2026-04-01T00:00:00Z", "LATER")]
    (place / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert not any("another state" in notice for notice in plane.build(made.intent_path).notices)
    plane.load_labels([place / "more.jsonl"])
    assert any("labels are in another state" in notice for notice in plane.build(made.intent_path).notices)
    with pytest.raises(LabelHistoryChanged, match=r"1 chargeback assertions appeared .*: cb-2-BACKDATED \(event 2 ") as refused:
        plane.build(made.intent_path, recompute=True)
    changes = refused.value.fields["changes"]["chargeback"]
    assert (changes["appeared"], changes["gone"], [one["label_assertion_id"] for one in changes["first"]]) == (1, 0, ["cb-2-BACKDATED"])
    assert "LATER" not in str(refused.value)
    assert plane.verify(dataset).intact
    assert diagnosed(made)[0] == "unknown"
    assert "of the chargeback labels 1 were loaded since that had been observed by the as-of" in diagnosed(made)[1]
    here = made.plane["labels"]["chargeback"]["store"]
    made.plane["labels"]["chargeback"]["store"] = here.replace(f"host={postgres.host}", "host=/nowhere")
    assert (diagnosed(made)[0], "the chargeback labels cannot be asked: " in diagnosed(made)[1]) == ("unknown", True)
    made.plane["labels"]["chargeback"]["store"] = postgres.new_label_store()
    made.documents()
    open_plane(made).load_labels([place / "more.jsonl"])
    assert (diagnosed(made)[0], "were read from the label store" in diagnosed(made)[1]) == ("lost", True)


@pytest.mark.parametrize(("statement", "told"), [
    ("DELETE FROM label_assertions WHERE label_assertion_id = 'cb-6-CHARGEBACK'", "1 chargeback assertions are gone: one of event 6,"),
    ("UPDATE label_assertions SET label_value = 'OTHER' WHERE label_assertion_id = 'cb-6-CHARGEBACK'",
     r"1 chargeback assertions were changed in place: cb-6-CHARGEBACK \(event 6 is OTHER, ")])
def test_what_somebody_took_away_or_changed_is_noticed(place, postgres, statement, told):
    """Past the triggers a superuser can do anything; a rebuild notices, and names what is gone or changed."""
    made = stored_plane(place / "p", postgres)
    plane = open_plane(made)
    plane.build(made.intent_path)
    schema = address_from(made.plane["labels"]["chargeback"]["store"]).schema
    postgres.sql("ALTER TABLE label_assertions DISABLE TRIGGER ALL", statement, schema=schema)
    with pytest.raises(LabelHistoryChanged, match=told):
        plane.build(made.intent_path, recompute=True)


def test_planning_copies_no_label_and_looking_leaves_none(place, postgres):
    """`plan` writes nothing at all; `preview` shows rows, and what it had read is gone."""
    made = stored_plane(place / "p", postgres)
    plane = open_plane(made)
    planned = plane.plan(made.intent_path)
    assert not (made.folder / "work").exists()
    assert planned.plan.estimate.labels == sum(one["observed_time"] <= ASOF for one in history())
    assert plane.preview(made.intent_path).table.num_rows == 5
    assert made.leftovers() == []


@pytest.mark.parametrize("engine", ["local", "oracle"])
def test_labels_of_which_nothing_was_known_are_no_labels_from_either_place(place, postgres, engine):
    """An as-of before the first observation resolves nothing, and refuses as it does with a file."""
    codes = []
    for made in (stored_plane(place / "stored", postgres), file_plane(place / "files")):
        made.intent["label"] |= {"as_of": "2025-12-31T00:00:00Z", "maturity_days": 0}
        made.intent.pop("splits")
        made.documents()
        with pytest.raises(OfsError) as refused:
            open_plane(made, **{"engine.name": engine}).build(made.intent_path)
        codes.append(refused.value.code)
    assert codes[0] == codes[1] != "LABEL_STORE_UNAVAILABLE"


def test_a_store_that_is_away_is_told_and_nothing_is_half_done(place, postgres):
    """Planning, enqueuing and building without the server: LABEL_STORE_UNAVAILABLE, exit status 3, no run; then everything goes on."""
    made = stored_plane(place / "p", postgres)
    here = made.plane["labels"]["chargeback"]["store"]
    made.plane["labels"]["chargeback"]["store"] = here.replace(f"host={postgres.host}", "host=/nowhere")
    made.documents()
    plane = open_plane(made)
    for ask in (plane.plan, plane.enqueue, plane.build):
        with pytest.raises(LabelStoreUnavailable, match="cannot be reached") as refused:
            ask(made.intent_path)
        assert refused.value.exit_status == 3
    assert list(plane.runs()) == []
    made.plane["labels"]["chargeback"]["store"] = here
    made.documents()
    assert open_plane(made).build(made.intent_path).outcome == "PUBLISHED"


def test_a_server_that_dies_while_labels_are_read_is_trouble_that_may_pass(place, postgres, monkeypatch):
    """The run goes back to the queue, nothing half read stays, and the same command then publishes."""
    made = stored_plane(place / "p", postgres)
    write = reading._write

    def breaking(*asked):
        postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{APP}'")
        return write(*asked)

    monkeypatch.setattr(reading, "_write", breaking)
    plane = open_plane(made)
    with pytest.raises(LabelStoreUnavailable, match="cannot be reached"):
        plane.build(made.intent_path)
    monkeypatch.setattr(reading, "_write", write)
    assert [run.state for run in plane.runs()] == ["QUEUED"]
    assert made.leftovers() == []
    assert plane.build(made.intent_path).outcome == "PUBLISHED"


def test_an_administrator_makes_the_store_that_others_load_and_read(place, postgres, capsys):
    """What `ofs label-store schema` prints makes the tables; `load` fills them; `build` reads them; each tells machines what it did."""
    schema, script = postgres.new_schema(), place / "labels.sql"
    assert command(["label-store", "schema", "--schema", schema, "--loader-role", APP]) == 0
    script.write_text(capsys.readouterr().out)
    postgres.psql(script)
    made = stored_plane(place / "p", postgres, store=postgres.url(schema, user=APP))
    plane = ["--plane", str(made.folder / "plane.yaml"), "--json"]
    assert command(["label-store", "load", str(made.folder / "assertions.parquet"), *plane]) == 0
    assert json.loads(capsys.readouterr().out)["appended"] == len(history())
    assert command(["build", str(made.intent_path), *plane]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "PUBLISHED"
    assert command(["label-store", "schema", "--schema", "No"]) == 2
    assert "plain name" in capsys.readouterr().err


@pytest.mark.parametrize(("entry", "told"), [
    ({"store": "labels.parquet"}, "a label store is a PostgreSQL database"),
    ({"store": "mysql://u@h/db"}, "a label store is a PostgreSQL database"),
    ({"store": "postgresql://u:hunter2@h/db"}, "holds a password"),
    ({"store": "postgresql://u@h/db", "path": "a.parquet"}, "in files or in a store"),
    ({"store": "postgresql://u@h/db", "observed": "seen"}, "knows its own columns"),
    ({"store": "postgresql://u@h/db", "observe": "seen"}, "no such field"),
    ({"event": "tx_id", "observed": "seen", "value": "X"}, "name the files with the labels, or else a label store")])
def test_a_store_is_named_by_its_address_alone(place, entry, told):
    """What else is said beside a store, or a place that is none, is refused at its line; passwords are not repeated."""
    made = make_plane(place / "p")
    made.plane["labels"]["chargeback"] = entry
    made.documents()
    with pytest.raises(SettingsInvalid, match=told) as refused:
        open_plane(made)
    assert "plane.yaml" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_which_store_is_loaded_must_be_clear(place, postgres):
    """A plane without a label store, or with two, asks for `--store`; a file is not taken for one."""
    made = make_plane(place / "p")
    with pytest.raises(SettingsInvalid, match="no label stores"):
        open_plane(made).load_labels([made.folder / "chargebacks.parquet"])
    with pytest.raises(SettingsInvalid, match="PostgreSQL"):
        open_plane(made).load_labels([made.folder / "chargebacks.parquet"], store="elsewhere")


def test_without_the_driver_it_is_said_what_to_install(place, monkeypatch):
    """A plane with a label store but without psycopg is refused with the command that installs it, when it plans and when it loads."""
    made = make_plane(place / "p")
    made.plane["labels"]["chargeback"] = {"store": "postgresql://u@h/db"}
    made.documents()
    for name in [name for name in sys.modules if name.partition(".")[0] == "psycopg" or ".postgres." in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    plane = open_plane(made)
    for ask in (lambda: plane.plan(made.intent_path), lambda: plane.load_labels([made.folder / "chargebacks.parquet"])):
        with pytest.raises(RequestCommandUnsupported, match="driver is not installed") as refused:
            ask()
        assert "pip install 'offline-feature-plane[postgres]'" in refused.value.fix
