"""`ofs init`: files nobody has described become a plane, a profile and an intent that hold together."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from offline_feature_plane.contracts.intent_rules import parse_intent
from offline_feature_plane.contracts.profile import read_profile
from offline_feature_plane.corridor.guessing import snake
from offline_feature_plane.corridor.intent_task import task_of
from offline_feature_plane.corridor.shortform import FillIns, expand, read_short
from offline_feature_plane.corridor.starter import propose
from offline_feature_plane.documents import load_yaml
from offline_feature_plane.domain.gates import judge_coverage, judge_lag, judge_target
from offline_feature_plane.domain.instants import US_PER_DAY, parse_instant
from offline_feature_plane.domain.rows import TokenKey
from offline_feature_plane.domain.summaries import ColumnSummary, TableSummary
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.local.file_probe import FileProbe
from offline_feature_plane.errors import LabelTypeScopeUnresolved, SourceColumnUnknown
from offline_feature_plane.labelstores.files import pin_labels
from offline_feature_plane.labelstores.mapping import mapping_from
from offline_feature_plane.settings import settings_from
from offline_feature_plane.simulation import World, write_files
from offline_feature_plane.sources.files import PinnedTable, TableMapping, pin_table

START = parse_instant("2026-01-01")


def started(folder: Path, events: Path, labels: Path | None = None):
    """Run the guess, then take the three files through the real readers: settings, sources, labels, profile, intent."""
    with FileProbe(folder, events, labels) as probe:
        found = propose("my plane!", probe.summarize("events", events.name), probe.summarize("labels", labels.name) if labels else None,
                        probe)
    documents = {name: load_yaml(text, name=name).value for name, text in found.files.items()}
    plane = settings_from(documents["plane.yaml"], folder)
    tables = {name: pin_table(name, TableMapping(Path(entry.path), entry.time, entry.id, entry.zone))
              for name, entry in plane.events.items()}
    logs = {name: pin_labels(mapping_from(entry.document(), name), folder).log_id for name, entry in plane.labels.items()}
    short = read_short(documents["intent.yaml"])
    profile = read_profile(documents["features.yaml"], rows=short.rows, label_types=list(plane.labels))
    closure = profile.closure(profile.set_refs()[0], short.rows, list(plane.labels))
    columns = set(dict(next(iter(tables.values())).columns))
    assert {field.path[0] for source in closure.sources for field in source.fields} <= columns
    fill_ins = FillIns(code_release_id="x", actor=("a", "declared"), label_logs=logs, feature_set=profile.set_refs()[0], key_id="0" * 16,
                       basis=tuple(entry for table in tables.values() for entry in PinnedTable(table).basis()),
                       feature_label_types=closure.label_types())
    full, _ = expand(documents["intent.yaml"], settings=plane, fill_ins=fill_ins)
    return found, documents, full, closure


def look(path: Path) -> TableSummary:
    """What is seen of a file."""
    with FileProbe(path.parent, path) as probe:
        return probe.summarize("events", str(path))


def test_a_simulated_world(tmp_path):
    """Keys, decimals, a timeline with reversals, its maturity and splits are found, and the files hold together."""
    events, labels = write_files(World(events=6_000, customers=200, terminals=80, days=200), tmp_path)
    found, documents, full, closure = started(tmp_path, events, labels)
    entry = documents["plane.yaml"]["labels"]["chargeback"]
    assert entry == {"path": "chargebacks.parquet", "event": "tx_id", "observed": "reported_at", "value": {"column": "outcome"},
                     "id": "case_id",
                     "source": {"column": "reported_by"}, "supersedes": "replaces"}
    assert documents["features.yaml"]["fields"]["amount"] == "decimal(12,2)"
    assert documents["plane.yaml"]["plane"] == "my-plane"
    assert {group.name for group in closure.groups} == {"customer", "terminal", "terminal_risk"}
    assert closure.label_types() == ("chargeback",)
    label = documents["intent.yaml"]["label"]
    assert (label["positive"], label["unlabeled"]) == (["CHARGEBACK"], "negative_when_mature")
    cut = parse_instant(label["as_of"]) - label["maturity_days"] * US_PER_DAY
    assert parse_instant(full["splits"][-1]["to_utc"]) <= cut
    assert label["as_of"].endswith("T00:00:00Z")
    assert all(text.startswith("# ") for text in found.files.values())
    assert any("maturity" in note for note in found.notes)


def events_table(count=400, **more):
    """Four events a day for some cards, amounts as floats, local times."""
    return pa.table({"TransactionId": list(range(count)), "TX_DATETIME": pa.array([START + i * US_PER_DAY // 4 for i in range(count)],
                                                                                  pa.timestamp("us")),
                     "cardId": [f"c{i % 23}" for i in range(count)], "amount": [i % 50 + 0.25 for i in range(count)],
                     "ts": [None if i % 2 else i for i in range(count)], **more})


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_label_column_inside_the_events(tmp_path, form):
    """One file is enough: zone, rounding and names are guessed, the label column is no feature, and its delay is said to be assumed."""
    table = events_table(is_fraud=[i % 10 == 0 for i in range(400)])
    path = tmp_path / f"Card Transactions.{form}"
    pq.write_table(table, path) if form == "parquet" else pyarrow.csv.write_csv(table, path)
    found, documents, full, closure = started(tmp_path, path)
    plane, features = documents["plane.yaml"], documents["features.yaml"]
    assert plane["events"]["card_transaction"] == {"path": path.name, "id": "TransactionId", "time": "TX_DATETIME", "zone": "UTC"}
    assert plane["labels"]["fraud"]["observed"] == {"after_event": "30d"}
    assert plane["labels"]["fraud"]["value"]["true"] == "FRAUD"
    assert features["fields"]["card_id"] == {"type": "string", "path": ["cardId"]}
    assert features["fields"]["amount"] == ({"type": "decimal(12,2)", "round": "half_even"} if form == "parquet" else "decimal(12,2)")
    assert "is_fraud" not in str(features)
    assert any("assumed" in note for note in found.notes)
    assert closure.groups[0].key == ("card_id",)
    assert full["coverage_policy"]["answered_min"] == {"fraud": "0.9"}


@pytest.mark.parametrize("own", [True, False])
def test_what_was_started_really_builds(tmp_path, own):
    """The three files, unchanged, go through the local engine and pass every gate that a training dataset must pass."""
    if own:
        events, labels = tmp_path / "tx.csv", None
        pyarrow.csv.write_csv(events_table(is_fraud=[float(i % 10 == 0) for i in range(400)]), events)
    else:
        events, labels = write_files(World(events=8_000, customers=200, terminals=80, days=200), tmp_path)
    _, documents, full, closure = started(tmp_path, events, labels)
    intent, plane = parse_intent(full), settings_from(documents["plane.yaml"], tmp_path)
    task = task_of(intent, closure, TokenKey("0" * 16, b"secret"), {})
    tables = [pin_table(name, TableMapping(Path(one.path), one.time, one.id, one.zone)) for name, one in plane.events.items()]
    timelines = [pin_labels(mapping_from(one.document(), name), tmp_path) for name, one in plane.labels.items()]
    (tmp_path / "work").mkdir()
    with LocalEngine().session(task, work=tmp_path / "work") as session:
        session.replay(tables)
        known, chosen = session.labels(timelines), session.select()
        rows = sum(batch.num_rows for batch in session.rows())
    assert rows == chosen.accounting["row"] > 300
    assert judge_lag(known.per_type).passed
    assert judge_target(chosen.splits).passed
    assert judge_coverage(chosen.coverage, intent.coverage_policy.answered_min, intent.coverage_policy.conflicts_max,
                          unlabeled={intent.target.label_type: intent.target.unlabeled}).passed


def test_labels_that_claim_to_be_known_at_once(tmp_path):
    """A label file whose time is the event's own cannot say when labels became known; a delay is assumed instead."""
    events = events_table()
    pq.write_table(events, tmp_path / "tx.parquet")
    pq.write_table(pa.table({"TransactionId": events["TransactionId"], "when": events["TX_DATETIME"],
                             "label": [i % 7 == 0 for i in range(400)]}),
                   tmp_path / "labels.parquet")
    found, documents, _, _ = started(tmp_path, tmp_path / "tx.parquet", tmp_path / "labels.parquet")
    assert documents["plane.yaml"]["labels"]["label"]["observed"] == {"after_event": "30d"}
    assert any("cannot say when" in note for note in found.notes)


def test_judged_events_are_excluded_when_silent(tmp_path):
    """Where most events are judged good or bad, silence is excluded and the coverage found is demanded with some slack."""
    events = events_table()
    pq.write_table(events, tmp_path / "tx.parquet")
    kept = [i for i in range(400) if i % 5]
    late = pa.array([START + i * US_PER_DAY // 4 + 3 * US_PER_DAY for i in kept], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"TransactionId": kept, "decided_at": late, "verdict": ["bad" if i % 7 == 0 else "good" for i in kept]}),
                   tmp_path / "cases.parquet")
    _, documents, full, _ = started(tmp_path, tmp_path / "tx.parquet", tmp_path / "cases.parquet")
    label = documents["intent.yaml"]["label"]
    assert (label["type"], label["positive"], label["unlabeled"], label["maturity_days"]) == ("case", ["bad"], "exclude", 3)
    assert 0.6 < label["coverage"] < 0.8
    assert full["label_basis"]["maturity_days"] == 3


def test_a_file_without_time_id_or_label_is_refused_with_advice(tmp_path):
    """What cannot be guessed is said, with what to bring."""
    table = events_table()
    cases = [(table.drop(["TX_DATETIME"]), SourceColumnUnknown, "time"), (table.drop(["TransactionId"]).append_column("is_fraud",
                                                                                                                      [[0, 1] * 200]),
             SourceColumnUnknown, "is unique"), (table, LabelTypeScopeUnresolved, "label")]
    for number, (events, error, word) in enumerate(cases):
        path = tmp_path / f"e{number}.parquet"
        pq.write_table(events if number else events.append_column("is_fraud", [[0, 1] * 200]), path)
        with pytest.raises(error, match=word) as caught:
            propose("p", look(path), None)
        assert caught.value.fix
    pq.write_table(pa.table({"other": [1, 2]}), tmp_path / "labels.parquet")
    with pytest.raises(SourceColumnUnknown, match="same name"):
        started(tmp_path, tmp_path / "e2.parquet", tmp_path / "labels.parquet")


def test_text_files_are_read_by_what_they_spell(tmp_path):
    """Numbers, truth values and instants in CSV and JSON Lines are recognised; leading zeros make text; mixed times are no times.

    A byte order mark is no part of the first row.
    """
    (tmp_path / "a.csv").write_text(
        "id,when,amt,flag,code,n\n"
        "a,2026-01-01T00:00:00Z,1.50,true,007,\nb,2026-01-02 00:00:00+01:00,2.5,false,1,7\n")
    (tmp_path / "b.jsonl").write_text(
        '{"id": "a", "when": "2026-01-01T00:00:00Z", "amt": 1.5}\n'
        '{"id": "b", "when": "soon", "amt": 2, "n": 7}\n', encoding="utf-8-sig")
    kinds = {column.name: (column.kind, column.nulls) for column in look(tmp_path / "a.csv").columns}
    assert kinds == {"id": ("string", 0), "when": ("zoned_timestamp", 0), "amt": ("decimal", 0), "flag": ("bool", 0),
                     "code": ("string", 0), "n": ("integer", 1)}
    kinds = {column.name: column.kind for column in look(tmp_path / "b.jsonl").columns}
    assert kinds == {"id": "string", "when": "string", "amt": "decimal", "n": "integer"}


def test_odd_names_become_lawful_ones():
    """Reserved, equal and strange column names become different names of the feature language, read from their own columns."""
    names = ["Card ID", "card_id", "weight", "1st amount", "TARGET amount"]
    columns = tuple(ColumnSummary(name, "float" if "amount" in name or name == "weight" else "string", distinct=50, digits=2, scale=None)
                    for name in names)
    table = TableSummary("e.parquet", "split", 1_000, (
        ColumnSummary("id", "integer", distinct=1000, unique=True), ColumnSummary("ts", "zoned_timestamp", min_us=START,
                                                                                  max_us=START + US_PER_DAY),
        ColumnSummary("is_fraud", "integer", distinct=2, values=(("0", 990), ("1", 10))), *columns))
    files = propose("p", table, None).files
    features = load_yaml(files["features.yaml"]).value
    assert len(features["fields"]) == 4
    assert read_profile(features, rows="split", label_types=["fraud"])
    assert [snake(name) for name in names] == ["card_id", "card_id", "weight", "c_1st_amount", "target_amount"]
    assert all("decimal(12,6)" in str(spec) for name, spec in features["fields"].items() if "amount" in name)
    assert "splits" not in load_yaml(files["intent.yaml"]).value


def labels_of(events, ids, *, late=3, **more):
    """A label for every id, some days after its event."""
    at = events["TX_DATETIME"].cast(pa.int64()).to_pylist()
    return pa.table({"TransactionId": ids, "reported_at": pa.array([at[i] + int(late * US_PER_DAY) for i in range(len(ids))],
                                                                   pa.timestamp("us", "UTC")), "label": ["fraud"] * len(ids), **more})


def guessed(folder, events, labels=None):
    """What is guessed of two tables."""
    pq.write_table(events, folder / "tx.parquet")
    if labels is not None:
        pq.write_table(labels, folder / "cb.parquet")
    return started(folder, folder / "tx.parquet", folder / "cb.parquet" if labels is not None else None)


@pytest.mark.parametrize("sentinel", ["9999-12-31T23:59:59", "0001-01-01", "1970-01-01", "2099-12-31"])
def test_times_that_stand_for_never_decide_nothing(tmp_path, sentinel):
    """A sentinel among the events or the labels changes neither as_of nor maturity nor splits, and is told.

    ·············· events ··············                                   × 9999
          ········ labels ········                                         × 9999
    """
    far = parse_instant(sentinel.replace("59:59", "59:59Z"))
    events = events_table()
    labels = labels_of(events, list(range(0, 400, 2)))
    _, plain, _, _ = guessed(tmp_path, events, labels)
    for table, column in (("events", "TX_DATETIME"), ("labels", "reported_at")):
        odd = events if table == "events" else labels
        times = odd[column].cast(pa.int64()).to_pylist()
        times[5] = far
        odd = odd.set_column(odd.schema.get_field_index(column), column, pa.array(times, odd.schema.field(column).type))
        found, documents, _, _ = guessed(tmp_path, odd if table == "events" else events, labels if table == "events" else odd)
        assert documents["intent.yaml"]["label"] == plain["intent.yaml"]["label"]
        assert documents["intent.yaml"]["splits"] == plain["intent.yaml"]["splits"]
        assert any(f"{column}: in 1 of" in note and "years away" in note for note in found.notes)


def test_no_split_reaches_beyond_the_last_event(tmp_path):
    """Where labels went on long after the last event, splits end with the events, not at the maturity cut.

    ──● events ●──┤ test ends                ┤ as_of − maturity           ┤ as_of, the last label
    """
    events = events_table()
    last = max(events["TX_DATETIME"].cast(pa.int64()).to_pylist())
    labels = labels_of(events, list(range(0, 400, 2)))
    late = pa.array([*labels["reported_at"].cast(pa.int64()).to_pylist()[:-1], last + 90 * US_PER_DAY], pa.timestamp("us", "UTC"))
    _, documents, full, _ = guessed(tmp_path, events, labels.set_column(1, "reported_at", late))
    assert documents["intent.yaml"]["label"]["as_of"] > full["splits"][-1]["to_utc"]
    assert last < parse_instant(full["splits"][-1]["to_utc"]) <= last + US_PER_DAY


def test_a_long_history_is_no_outlier(tmp_path):
    """Events of many years, and an old tenth of them, are what they are: nothing is left out."""
    when = [START - 20 * 365 * US_PER_DAY + i * 18 * US_PER_DAY for i in range(400)]
    table = events_table(is_fraud=[i % 10 == 0 for i in range(400)])
    found, _, full, _ = guessed(tmp_path, table.set_column(1, "TX_DATETIME", pa.array(when, pa.timestamp("us"))))
    assert not any("years away" in note for note in found.notes)
    assert full["splits"][0]["from_utc"] < "2007"


def test_a_few_repeated_rows_do_not_take_the_id_away(tmp_path):
    """An event that was delivered twice counts once; an id that stands for two events is refused by name."""
    table = events_table(is_fraud=[i % 10 == 0 for i in range(400)])
    twice = pa.concat_tables([table, table.slice(7, 1)])
    found, documents, _, _ = guessed(tmp_path, twice)
    assert documents["plane.yaml"]["events"]["tx"]["id"] == "TransactionId"
    assert any("1 of 401 rows repeat another one with the same content" in note for note in found.notes)
    other = table.slice(7, 1).set_column(2, "cardId", [["c99"]])
    with pytest.raises(SourceColumnUnknown, match=r"TransactionId of .* different in all but 1 of 401 rows, and .* \(7\) differ"):
        guessed(tmp_path, pa.concat_tables([table, other]))


def test_ids_of_another_type_are_told_by_name_type_and_share(tmp_path):
    """Bytes name nothing; floats, as pandas makes of integers with nulls, are counted as the integers that they mean."""
    table = events_table(is_fraud=[i % 10 == 0 for i in range(400)])
    binary = pa.array([i.to_bytes(16, "big") for i in range(400)], pa.binary(16))
    with pytest.raises(SourceColumnUnknown, match=r"TransactionId of .* holds bytes; ids are text or integers"):
        guessed(tmp_path, table.set_column(0, "TransactionId", binary))
    events = events_table()
    with pytest.raises(SourceColumnUnknown, match=r"holds floats .* holds integers; as integers, 100 of 100 rows would name an event"):
        guessed(tmp_path, events, labels_of(events, [float(i) for i in range(100)]))
    nearest = r"an id of .* \(TransactionId\), nor one .* The closest is other: 10 of 100 rows"
    with pytest.raises(SourceColumnUnknown, match=nearest) as caught:
        guessed(tmp_path, events, labels_of(events, list(range(100)), other=list(range(390, 490))).drop(["TransactionId"]))
    assert "TX_DATETIME" not in caught.value.what


def test_a_reference_under_another_name_is_found_by_what_it_holds(tmp_path):
    """`transaction_ref` holds ids of events; the label file's own `id` is not taken for them."""
    events = events_table().rename_columns(["id", "TX_DATETIME", "cardId", "amount", "ts"])
    labels = labels_of(events, list(range(100)), id=list(range(200, 300))).rename_columns(["transaction_ref", "reported_at", "label", "id"])
    _, documents, _, _ = guessed(tmp_path, events, labels)
    assert documents["plane.yaml"]["labels"]["cb"]["event"] == "transaction_ref"


def test_a_label_time_with_a_few_nulls_is_kept_and_told(tmp_path):
    """One missing time out of a hundred is no reason to assume all of them."""
    events = events_table()
    labels = labels_of(events, list(range(100)))
    times = labels["reported_at"].to_pylist()
    times[3] = None
    found, documents, _, _ = guessed(tmp_path, events, labels.set_column(1, "reported_at", pa.array(times, pa.timestamp("us", "UTC"))))
    assert documents["plane.yaml"]["labels"]["cb"]["observed"] == "reported_at"
    assert any("reported_at is null in 1 of 100 rows: a build refuses" in note for note in found.notes)


def test_labels_before_their_events_are_told_as_such(tmp_path):
    """A time before the event says nothing about when a label became known, and is not called the event's own."""
    events = events_table()
    found, documents, _, _ = guessed(tmp_path, events, labels_of(events, list(range(100)), late=-3))
    assert documents["plane.yaml"]["labels"]["cb"]["observed"] == {"after_event": "30d"}
    assert any("mostly before the event (in the middle by 3 days)" in note for note in found.notes)


def test_what_came_of_an_event_is_no_feature(tmp_path):
    """Refunds, chargebacks, disputes are known later: they are left out, and told."""
    late = {"refund_amount": [i % 50 + 0.25 for i in range(400)], "dispute_id": [i % 40 for i in range(400)]}
    found, documents, _, _ = guessed(tmp_path, events_table(is_fraud=[i % 10 == 0 for i in range(400)], **late))
    assert not any(name in str(documents["features.yaml"]) for name in late)
    assert any("refund_amount, dispute_id" in note for note in found.notes)
