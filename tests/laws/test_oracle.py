"""The oracle against worlds derived by hand, and the laws that any world obeys."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.contracts.events import RECORD_COLUMNS
from offline_feature_plane.contracts.intent import CalendarRule, Subject
from offline_feature_plane.contracts.profile import read_profile
from offline_feature_plane.domain.aggregations import registered
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.combining import parse_combination
from offline_feature_plane.domain.extraction import extract
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.resolution import Assertion
from offline_feature_plane.domain.rows import CombinedTarget, LabelTask, Sampling, Split, Target, Task, TokenKey, row_columns
from offline_feature_plane.domain.sampling import keeps, unit_text
from offline_feature_plane.domain.tokens import key_id, token
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.engines.oracle.meaning import Event, compute
from offline_feature_plane.engines.oracle.reading import made_events
from offline_feature_plane.errors import EventSchemaMissingFields, NumericOverflow, ReplayEventIdConflict, ReplayEventsEmpty
from offline_feature_plane.filesets import pin_files
from offline_feature_plane.ports.inputs import LabelTable, Lane, PlainTable, ReadReport

GOLDEN = sorted((Path(__file__).parent.parent / "golden" / "features").glob("*.yaml"))
S = 1_000_000


def world_of(document):
    """A golden document as (events, assertions, task); what its calendar makes is among the events."""
    profile = read_profile(document["profile"], rows="pay")
    told = document.get("target")
    types = tuple(sorted({one[1] for one in document.get("assertions", [])} | ({"fraud"} if told else set())))
    where = document.get("subject_where")
    scope = profile.scope("pay")
    condition = parse(where, scope) if where else None
    asked = document.get("calendar")
    subject = Subject(source="pay") if asked is None else Subject(source="pay", entity=asked["entity"], calendar=CalendarRule(
        **{name: value for name, value in asked.items() if name != "entity"}))
    closure = profile.closure("default@v1", subject.rows_source, also=condition.names() if condition else (), made_of=subject.made_of)
    events = []
    for event_id, second, raw, *source in document["events"]:
        spec = closure.source(source[0] if source else "pay")
        events.append(Event(spec.name, event_id, second * S, {field.name: extract(raw.get(field.name), field,
                                                                                  "UTC") for field in spec.fields}, spec.name))
    assertions = []
    for about, label_type, value, observed, *rest in document.get("assertions", []):
        more = rest[0] if rest else {}
        assertions.append(Assertion(about, label_type, value, observed * S, more.get("effective", observed) * S,
                                    more.get("source", "SYSTEM"),
                                    more.get("id"), more.get("supersedes")))
    parts = tuple(Target(name, tuple(one["positive"]), tuple(one["negative"]) if "negative" in one else None, one["unlabeled"])
                  for name, one in ((told.get("types") or {told["type"]: told}).items() if told else ()))
    target = CombinedTarget(parts, parse_combination(told["combine"], told["types"])) if len(parts) > 1 else parts[0] if parts else None
    maturity = document.get("maturity")
    labels = LabelTask(document.get("asof", 10**6) * S, "source_precedence.v1", types, maturity and maturity * S,
                       document.get("immature", "exclude"))
    splits = tuple(Split(name, *(bound * S for bound in bounds)) for name, bounds in document.get("splits", {}).items())
    task = Task("run", (), closure, subject.rows_source, condition, splits, labels, target, None, "mark", (), None, entity=subject.entity,
                calendar=subject.calendar and subject.calendar.of("pay"))
    return [*events, *made_events(events, task)], assertions, task


def readable(value, kind):
    """A value as golden files write it: decimals as text."""
    return unit_text(value, kind) if kind.kind == "decimal" and value is not None else value


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_worlds_derived_by_hand(path):
    """Each golden world states its law, draws its timeline, and has exactly the values that were derived by hand."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    events, assertions, task = world_of(document)
    outcome = compute(events, assertions, task)
    expected = document["expected"]
    rows = {row["event_id"]: row for row in outcome.rows}
    kinds = {column.name: column.type for column in row_columns(task, ColumnType("int64"))}
    assert all(row.keys() == kinds.keys() for row in outcome.rows)
    found = {name: {column: readable(rows[name][column], kinds[column]) for column in columns} for name,
             columns in expected["rows"].items()}
    assert found == expected["rows"]
    assert {name: [type(value) for value in columns.values()] for name, columns in found.items()} == {
        name: [type(value) for value in columns.values()] for name, columns in expected["rows"].items()}
    if "order" in expected:
        assert [row["event_id"] for row in outcome.rows] == expected["order"]
    if "accounting" in expected:
        assert {name: count for name, count in outcome.accounting.items() if count} == expected["accounting"]
    for part in ("coverage", "splits", "rows_beyond_asof"):
        assert expected.get(part, getattr(outcome, part)) == getattr(outcome, part)


def test_golden_worlds_use_every_aggregation():
    """No aggregation is without a world derived by hand."""
    text = "".join(path.read_text(encoding="utf-8") for path in GOLDEN)
    assert [name for name in registered() if f"{name}(" not in text] == []


# --- laws over drawn worlds ---------------------------------------------------------------------------------

FEATURES = {"n": "count()", "known": "count(amount)", "total": "sum(amount)", "mean": "mean(amount)", "low": "min(amount)",
            "kinds": "distinct(shop)",
            "first": "first(amount)", "last": "last(shop)", "before": "previous(amount)", "since_first": "seconds_since_first()",
            "since_last": "seconds_since_last()", "bad": "label_count(fraud, YES)", "rate": "label_rate(fraud, YES)",
            "sure": "label_rate(fraud, YES, of: resolved)"}
PROFILE = {
    "fields": {"card": {"type": "string", "missing": None}, "shop": "string", "amount": {"type": "decimal(6,2)", "missing": None}},
    "groups": {"past": {"key": "card", "windows": ["3s", "lifetime"], "features": FEATURES},
               "own": {"key": "card", "current": "included", "where": "amount > 1.00", "windows": ["3s"], "features": FEATURES},
               "slow": {"key": ["shop"], "delay": "2s", "windows": ["4s"], "features": FEATURES},
               "pair": {"key": ["card", "shop"], "null_key": "group", "windows": ["5s"], "features": {"n": "count()"}}},
    "row_features": {"amount": "amount", "half": "amount / 2"}, "derived": {"more": "amount - coalesce(past.mean_3s, 0)"},
}
CLOSURE = read_profile(PROFILE, rows="pay").closure("default@v1", "pay")
TASK = Task("run", (), CLOSURE, "pay", None, (), LabelTask(12 * S, "source_precedence.v1", ("fraud",), 2 * S, "mark"),
            Target("fraud", ("YES",), None, "negative_when_mature"), None, "mark", (), None)

fields = st.fixed_dictionaries({"card": st.sampled_from(["a", "b", None]), "shop": st.sampled_from(["x", "y"]),
                                "amount": st.sampled_from([None, 50, 100, 101, 333])})
drawn_events = st.lists(st.builds(lambda second, values: (second * S, values), st.integers(0, 12), fields), max_size=12).map(
    lambda found: [Event("pay", place, ts_us, values, "pay") for place, (ts_us, values) in enumerate(found)])
drawn_assertions = st.lists(st.builds(lambda subject, value, observed, source: Assertion(subject, "fraud", value, observed * S,
                                                                                         observed * S, source),
                                      st.integers(0, 11), st.sampled_from(["YES", "NO"]), st.integers(0, 16),
                                      st.sampled_from(["AUTO", "HUMAN"])),
                            max_size=10)


@settings(max_examples=40, deadline=None)
@given(drawn_events, drawn_assertions, st.randoms(use_true_random=False))
def test_the_order_of_reading_changes_nothing(events, assertions, random):
    """Rows and counts do not depend on the order in which events and assertions come in."""
    expected = compute(events, assertions, TASK)
    shuffled, told = random.sample(events, len(events)), random.sample(assertions, len(assertions))
    assert compute(shuffled, told, TASK) == expected


@settings(max_examples=40, deadline=None)
@given(drawn_events, drawn_assertions, st.integers(0, 13))
def test_nothing_after_a_row_changes_its_features(events, assertions, cut):
    """A row's features are those of a world in which everything after the row is unknown: no leakage.

    known ───────────────●T                 (events up to the row, assertions observed up to T)
    unknown              ├──────────▶       later events, later assertions
    """
    columns = [column.name for column in CLOSURE.columns()]
    task = replace(TASK, target=None)  # a later label may decide whether there is a row, never what its features are
    whole = {row["event_id"]: row for row in compute(events, assertions, task).rows}
    past = compute([event for event in events if event.ts_us <= cut * S], [one for one in assertions if one.entry_us <= cut * S], task)
    for row in past.rows:
        if row["ts"] == cut * S:
            assert {name: row[name] for name in columns} == {name: whole[row["event_id"]][name] for name in columns}


@settings(max_examples=40, deadline=None)
@given(drawn_events, drawn_assertions)
def test_windows_are_related_as_sets_are(events, assertions):
    """Counts of nested windows are nested; a mean is the sum over the known; the own event adds at most itself."""
    for row in compute(events, assertions, TASK).rows:
        if row["past__n_3s"] is None:
            assert all(row[name] is None for name in row if name.startswith(("past__", "own__")))
            continue
        assert row["past__known_3s"] <= row["past__n_3s"] <= row["past__n_lifetime"]
        assert row["past__kinds_3s"] <= row["past__n_3s"]
        if row["past__known_3s"]:
            assert row["past__mean_3s"] == float(Decimal(row["past__total_3s"]) / 100 / row["past__known_3s"])
        else:
            assert (row["past__mean_3s"], row["past__total_3s"]) == (None, 0)
        if row["own__n_3s"]:
            assert row["own__bad_3s"] == round(row["own__rate_3s"] * row["own__n_3s"])


@settings(max_examples=25, deadline=None)
@given(drawn_events, drawn_assertions, st.sampled_from(["0", "0.3", "1"]))
def test_sampling_comes_last_and_only_thins(events, assertions, rate):
    """A sampled dataset is the unsampled one without some rows, with weights; features, coverage and earlier fates stay."""
    whole = compute(events, assertions, TASK)
    part = compute(events, assertions, replace(TASK, sampling=Sampling("s", (("negative", rate),), None)))
    kept = [row for row in whole.rows if row["target"] != 0 or keeps("s", str(row["event_id"]), rate)]
    assert [{name: value for name, value in row.items() if name != "weight"} for row in part.rows] == kept
    assert part.coverage == whole.coverage
    assert part.accounting["row"] + part.accounting["sampled_out"] == whole.accounting["row"]
    assert all(row["weight"] == (1 / float(rate) if row["target"] == 0 else 1.0) for row in part.rows)


def test_identifiers_leave_as_tokens_of_their_entity_everywhere():
    """Keys and values of identifier fields leave as tokens; one value has one token in every column (D12)."""
    profile = {"fields": {"card": "string", "shop": "int64"}, "row_features": {"who": "card", "where_at": "shop"},
               "groups": {"c": {"key": "card", "windows": ["9s"], "features": {"shop": "last(shop)",
                                                                               "none": {"agg": "last(shop)", "empty": 0}}},
                          "s": {"key": "shop", "windows": ["9s"], "features": {"n": "count()"}}}}
    key = TokenKey(key_id(b"k" * 32), b"k" * 32)
    task = replace(TASK, closure=read_profile(profile, rows="pay").closure("default@v1", "pay"), token_key=key)
    one, two = compute([Event("pay", 1, 0, {"card": "a", "shop": 7}), Event("pay", 2, S, {"card": "a", "shop": 8})], [], task).rows
    assert (one["who"], one["where_at"]) == (token(key.secret, "card", "a"), token(key.secret, "shop", "7"))
    assert two["c__shop_9s"] == one["where_at"] != two["where_at"]
    assert (one["c__shop_9s"], one["c__none_9s"]) == (None, token(key.secret, "shop", "0"))
    assert {column.name: str(column.type) for column in row_columns(task, ColumnType("int64"))}["c__shop_9s"] == "string"


def test_only_the_final_value_of_a_sum_counts():
    """A sum that leaves int64 at the end is refused; one that comes back is not (golden world `numbers`)."""
    closure = read_profile({"fields": {"k": "string", "n": "int64"}, "groups": {"g": {"key": "k", "windows": ["9s"],
                                                                                      "features": {"t": "sum(n)"}}}},
                           rows="pay").closure("default@v1", "pay")
    events = [Event("pay", place, place * S, {"k": "a", "n": 2**62}) for place in range(3)]
    with pytest.raises(NumericOverflow):
        compute(events, [], replace(TASK, closure=closure))
    assert compute(events[:2], [], replace(TASK, closure=closure)).rows[1]["g__t_9s"] == 2**62


# --- as an engine -------------------------------------------------------------------------------------------

ROWS = [(3, "2026-01-01T00:00:03Z", "a", "x", "1.50"), (1, "2026-01-01T00:00:01Z", "a", "y", "2.25"),
        (2, "2026-01-01T00:00:01Z", "a", "x", None),
        (3, "2026-01-01T00:00:03Z", "a", "x", "1.50")]


def pinned(folder, form, rows=ROWS):
    """The same rows as a file of each form, pinned as a plain table."""
    names, path = ("id", "at", "card", "shop", "amount"), folder / f"pay.{form}"
    if form == "parquet":
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        instants = pa.array([text.rstrip("Z") for text in columns["at"]]).cast(pa.timestamp("us"))
        amounts = pa.array([text and Decimal(text) for text in columns["amount"]], pa.decimal128(6, 2))
        pq.write_table(pa.table({**{name: list(columns[name]) for name in ("id", "card", "shop")}, "at": instants, "amount": amounts}),
                       path)
    elif form == "csv":
        path.write_text("\n".join([",".join(names), *(",".join("" if cell is None else str(cell) for cell in row) for row in rows)]) + "\n")
    else:
        lines = [", ".join(f'"{name}": {cell}' if name in ("id", "amount") else f'"{name}": "{cell}"'
                           for name, cell in zip(names, row, strict=True) if cell is not None) for row in rows]
        path.write_text("".join(f"{{{line}}}\n" for line in lines))
    files = pin_files(path)
    return PlainTable("pay", "sha256:" + hashlib.sha256(form.encode()).hexdigest(), files.form, files.files, "id", ColumnType("int64"),
                      "at", "UTC", files.columns)


def labelled(folder):
    """A label timeline in CSV."""
    path = folder / "labels.csv"
    path.write_text("tx,seen,verdict\n1,2026-01-01T00:00:02Z,bad\n2,2026-01-03T00:00:00Z,good\n9,2026-01-01T00:00:02Z,bad\n")
    files = pin_files(path)
    return LabelTable(label_type="fraud", log_id="sha256:" + "0" * 64, form=files.form, files=files.files, columns=files.columns,
                      event_column="tx", value_constant=None, value_column="verdict", value_map=(("bad", "YES"), ("good", "NO")),
                      observed_column="seen", observed_after_us=None, event_time_column=None, effective_column=None, source_column=None,
                      source_constant="EXTERNAL", id_column=None, supersedes_column=None, zone="UTC", min_lag_us=None)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_the_engine_reads_every_form_alike(tmp_path, form):
    """Parquet, CSV and JSON Lines of one table give the same events, facts and rows; repeats are counted and dropped once."""
    task = replace(TASK, labels=replace(TASK.labels, asof_us=1_767_312_000 * S))
    with OracleEngine().session(task, work=tmp_path) as session:
        facts = session.replay([pinned(tmp_path, form)])
        assert (facts.events_read, facts.events_admitted, dict(facts.dispositions)) == (4, 3, {"duplicate": 1})
        assert (facts.first_ts_us, facts.last_ts_us, str(facts.id_type)) == (1_767_225_601 * S, 1_767_225_603 * S, "int64")
        told = session.labels([labelled(tmp_path)])
        assert (told.assertions_read, told.assertions_eligible, dict(told.per_type["fraud"]["values"])) == (3, 1, {"YES": 1})
        selected = session.select()
        assert sum(selected.accounting.values()) == 4
        assert (selected.accounting["row"], selected.accounting["duplicate"]) == (3, 1)
        table = pa.Table.from_batches(session.rows())
        assert table.column_names == [column.name for column in session.columns()]
        assert table.column("event_id").to_pylist() == [1, 2, 3]
        assert table.column("past__total_3s").to_pylist() == [Decimal("0.00"), Decimal("2.25"), Decimal("2.25")]
        assert table.column("past__bad_3s").to_pylist() == [0, 0, 1]
        assert table.column("target").to_pylist() == [1, 0, 0]
        assert table.schema.field("past__total_3s").type == pa.decimal128(18, 2)
        assert pa.Table.from_batches(session.rows(limit=1)).num_rows == 1


def test_ids_of_mixed_kinds_leave_as_text_and_stand_by_their_own(tmp_path):
    """Beside a table with text ids, integer ids leave as text but still stand as numbers: 4 before 12 at one instant (D14)."""
    rows = [(number, "2026-01-01T00:00:01Z", "a", "x", "1.00") for number in (12, 4)]
    texts = replace(pinned(tmp_path, "csv", [("e1", *rows[0][1:])]), id_type=ColumnType("string"), topic="pay_b")
    source = replace(CLOSURE.sources[0], event_types=("pay", "pay_b"))
    task = replace(TASK, closure=replace(CLOSURE, sources=(source,)))
    with OracleEngine().session(task, work=tmp_path) as session:
        assert str(session.replay([texts, pinned(tmp_path, "jsonl", rows)]).id_type) == "string"
        session.labels([labelled(tmp_path)])
        assert [(row["event_id"], row["past__n_3s"]) for batch in session.rows() for row in batch.to_pylist()] == [("4", 0), ("12", 1),
                                                                                                                   ("e1", 2)]


def test_records_of_a_log_stand_in_the_order_of_their_coordinates(tmp_path):
    """At one instant, partitions and then offsets decide, as numbers; what the log left out is in the accounting.

    partition 0   ──[9 e2]──[10 e1]──      partition 1   ──[0 e3]──      all at 00:00:01
    """
    heads = {"event_id": ["e3", "e1", "e2"], "ts": pa.array([1_767_225_601 * S] * 3, pa.timestamp("us", "UTC")), "partition": [1, 0, 0],
             "offset": ["0", "10", "9"], "payload_hash": ["c", "a", "b"], "arrival": [0, 0, 0]}
    values = {"card": ["a", "a", "a"], "shop": ["x", "x", "x"], "amount": pa.array([Decimal("1.00"), Decimal("2.00"), None],
                                                                                   pa.decimal128(6, 2))}
    batch = pa.RecordBatch.from_pydict({name: pa.array(heads[name],
                                                       pa.int64()) if name == "partition" else heads[name] for name in RECORD_COLUMNS}
                                       | values)
    class Log:
        """A log of one batch."""

        topic = "pay"
        lanes = (Lane(0, "kafka_offset", "log0"), Lane(1, "kafka_offset", "log1"))

        def read(self, admission, take):
            take("pay", batch)
            return ReadReport({"undecodable": 2, "foreign_run": 0})

    with OracleEngine().session(TASK, work=tmp_path) as session:
        facts = session.replay([Log()])
        assert (facts.events_read, facts.events_admitted, dict(facts.dispositions)) == (5, 3, {"undecodable": 2})
        session.labels([replace(labelled(tmp_path), label_type="fraud")])
        assert session.select().accounting["undecodable"] == 2
        assert [(row["event_id"], row["past__total_3s"]) for batch in session.rows() for row in batch.to_pylist()] == [
            ("e2", Decimal("0.00")), ("e1", Decimal("0.00")), ("e3", Decimal("2.00"))]


def test_one_id_with_two_contents_is_a_conflict(tmp_path):
    """An id that stands for two different rows refuses the basis (D14)."""
    rows = [*ROWS[:2], (1, "2026-01-01T00:00:01Z", "a", "y", "2.26")]
    with OracleEngine().session(TASK, work=tmp_path) as session, pytest.raises(ReplayEventIdConflict, match="event id 1"):
        session.replay([pinned(tmp_path, "csv", rows)])


def test_a_required_field_that_is_absent_refuses_the_basis(tmp_path):
    """Absence needs a declaration."""
    rows = [(1, "2026-01-01T00:00:01Z", "a", None, "2.26")]
    with OracleEngine().session(TASK, work=tmp_path) as session, pytest.raises(EventSchemaMissingFields):
        session.replay([pinned(tmp_path, "jsonl", rows)])


def test_no_event_at_all_is_unproven(tmp_path):
    """A basis of other topics only holds nothing to build from."""
    table = replace(pinned(tmp_path, "csv"), topic="login")
    with OracleEngine().session(TASK, work=tmp_path) as session, pytest.raises(ReplayEventsEmpty):
        session.replay([table])
