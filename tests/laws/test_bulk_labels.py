"""Bulk label resolution equals the law, on real files and a real DuckDB (`decisions.md` D22, `domain.md` §1.6, §1.8)."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.assertion_ids import refuse_shared_ids
from offline_feature_plane.domain.closure import Aggregation, Closure, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.coverage import measure_lag
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.domain.label_slice import slice_digest, slice_of
from offline_feature_plane.domain.resolution import RULES, Assertion, eligible, resolve, status_changes
from offline_feature_plane.domain.rows import LabelTask, Task
from offline_feature_plane.engines.local import label_names, label_steps
from offline_feature_plane.engines.local.connection import Database
from offline_feature_plane.engines.local.events import Events
from offline_feature_plane.engines.local.labels import STATUSES, resolve_labels
from offline_feature_plane.errors import (
    LabelPolicyInvalid,
    LabelStoreUnavailable,
    LabelTimelineInconsistent,
    LabelTypeScopeUnresolved,
    OfsError,
    ReplayBasisMismatch,
    TimeZoneUndeclared,
)
from offline_feature_plane.labelstores.files import pin_labels
from offline_feature_plane.labelstores.mapping import mapping_from

ASOF = 40
INT, TEXT = ColumnType("int64"), ColumnType("string")
HOME = {"path": "labels.parquet", "event": "event", "observed": "observed", "value": {"column": "value"}, "effective": "effective",
        "source": "source", "id": "id", "supersedes": "supersedes"}


def make_task(rule="source_precedence.v1", asof_us=ASOF, *, in_features=True):
    """A task about chargebacks; with `in_features` a label rate looks at them too."""
    rate = Aggregation("label_rate", None, "chargeback", ("FRAUD",))
    feature = Feature("risk", rate, Window("lifetime", "lifetime"), ColumnType("float64"))
    group = Group("customer", "v1", "transaction", ("customer",), None, False, 0, "skip", (feature,))
    source = Source("transaction", ("transaction",), (Field("customer", TEXT, ("customer",)),))
    closure = Closure("p", "1", "s", "v1", (source,), (group,) if in_features else (), (), ())
    return Task("run", (), closure, "transaction", None, (), LabelTask(asof_us, rule, ("chargeback",)), None, None, "mark", (), None)


def make_events(ids, ts, id_type):
    """Events in the given order."""
    kind = pa.int64() if id_type.kind == "int64" else pa.string()
    return Events(len(ids), np.array(ts, np.int64), np.zeros(len(ids), np.int8), pa.chunked_array([pa.array(ids, kind)]), id_type, {})


def write(folder: Path, assertions, name="labels.parquet", *, chunk=None):
    """Write assertions as a label file of the form that the name says."""
    rows = [{"event": one.subject, "value": one.value, "observed": one.observed_us, "effective": one.effective_us, "source": one.source,
             "id": one.assertion_id, "supersedes": one.supersedes} for one in assertions]
    path = folder / name
    if name.endswith(".parquet"):
        table = pa.table({key: [row[key] for row in rows] for key in rows[0]})
        for key in ("observed", "effective"):
            table = table.set_column(table.column_names.index(key), key, table[key].cast(pa.int64()).cast(pa.timestamp("us", "UTC")))
        for key in ("id", "supersedes"):
            table = table.set_column(table.column_names.index(key), key, table[key].cast(pa.string()))
        pq.write_table(table, path, row_group_size=chunk)
        return path
    for row in rows:
        row |= {key: format_instant(row[key]) for key in ("observed", "effective")}
    with path.open("w", newline="") as stream:
        if name.endswith(".csv"):
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        else:
            stream.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def run(folder: Path, raw, events, task):
    """Pin and resolve a label file the way a build does: facts, and what holds of every event."""
    table = pin_labels(mapping_from(raw, "chargeback"), folder)
    with Database(folder) as database:
        resolved = resolve_labels(database, [table], events, task, 1 << 30)
    return SimpleNamespace(facts=resolved.facts, types=resolved.over(0, events.n))


def answer(found, position):
    """An event's resolution in bulk, in the words of the law."""
    status = STATUSES[found.status[position]]
    named = found.assertion[position]
    if status != "RESOLVED":
        assert (found.value[position], named, found.observed[position]) == (-1, -1, 0)
        return status, None, None, None
    return (status, found.values[int(found.value[position])].as_py(), int(found.observed[position]),
            found.assertion_ids[int(named)].as_py() if named >= 0 else None)


def steps_of(found, position):
    """An event's steps in bulk, without steps that change nothing of status and value."""
    steps, now = [], (0, -1)
    for at, status, value in zip(*(column[found.changes.position == position].tolist()
                                   for column in (found.changes.at, found.changes.status, found.changes.value)), strict=True):
        if (status, value) != now:
            now = (status, value)
            steps.append((at, STATUSES[status], found.values[value].as_py() if status == 1 else None))
    return steps


def lawful_steps(assertions, asof, rule):
    """An event's steps by the law, without steps that change nothing of status and value."""
    steps, now = [], ("NOT_FOUND", None)
    for at, resolution in status_changes(assertions, asof, rule):
        if (resolution.status, resolution.value) != now:
            now = (resolution.status, resolution.value)
            steps.append((at, *now))
    return steps


@st.composite
def worlds(draw):
    """A few events and many assertions about them and about strangers, rich in ties, repeats and links."""
    integer = draw(st.booleans())
    spread = draw(st.sampled_from([1, 10**12]))
    n = draw(st.integers(1, 5))
    ids = [(i * spread if integer else f"é{i}" * (1 + i % 2)) for i in range(n)]
    strangers = [10**6 + 7, -3] if integer else ["nobody", ""]
    names = st.sampled_from([None, None, None, "a", "b", "ç", "d"]) if draw(st.booleans()) else st.none()
    sources = st.sampled_from(draw(st.sampled_from([["AUTO"], ["HUMAN", "AUTO"], ["HUMAN", "EXTERNAL", "AUTO", "SYSTEM"]])))
    assertion = st.builds(
        Assertion, st.sampled_from([*ids, *ids, *strangers]), st.just("chargeback"), st.sampled_from(["FRAUD", "LEGIT", "É"]),
        st.sampled_from([0, 10, 40, 50]), st.sampled_from([0, 0, 20, 50]), sources, names, names)
    said = draw(st.lists(assertion, min_size=1, max_size=14))
    if draw(st.sampled_from([True, True, True, False])):  # each event's ids are its own, as they should be
        said = [replace(one, **{part: name and f"{name}{one.subject}" for part, name in (
            ("assertion_id", one.assertion_id), ("supersedes", one.supersedes))}) for one in said]
    said += draw(st.lists(st.sampled_from(said), max_size=4))
    ts = [draw(st.integers(0, 30)) for _ in ids]
    return ids, ts, INT if integer else TEXT, draw(st.permutations(said)), draw(st.sampled_from([1, 3, None]))


RULE, FILE = st.sampled_from(list(RULES)), st.sampled_from(["labels.parquet", "labels.parquet", "labels.csv", "labels.jsonl"])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worlds(), RULE, FILE)
def test_bulk_is_the_law_subject_by_subject(tmp_path, world, rule, name):
    """Resolutions, steps, the slice digest and the lag of a whole file are those of the law, one subject at a time."""
    compare_with_the_law(tmp_path, world, rule, name)


@pytest.mark.long
@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worlds(), RULE, FILE)
def test_bulk_is_the_law_over_many_worlds(tmp_path, world, rule, name):
    """The same law over two thousand worlds."""
    compare_with_the_law(tmp_path, world, rule, name)


def compare_with_the_law(tmp_path, world, rule, name):
    """Resolve a world in bulk and one subject at a time, and hold everything that is reported side by side."""
    ids, ts, id_type, said, chunk = world
    if name == "labels.csv":
        said = [one for one in said if one.subject != ""] or [Assertion(ids[0], "chargeback", "FRAUD", 0, 0)]
    write(tmp_path, said, name, chunk=chunk)
    by_subject = [[one for one in said if one.subject == subject] for subject in ids]
    events, task = make_events(ids, ts, id_type), make_task(rule)
    try:
        expected = [resolve(assertions, ASOF, rule) for assertions in by_subject]
        refuse_shared_ids(one for one in said if one.subject in ids and one.entry_us <= ASOF)
    except LabelTimelineInconsistent:
        with pytest.raises(LabelTimelineInconsistent):
            run(tmp_path, {**HOME, "path": name}, events, task)
        return
    found = run(tmp_path, {**HOME, "path": name}, events, task)
    chargeback = found.types["chargeback"]
    for position, resolution in enumerate(expected):
        assert answer(chargeback, position) == (resolution.status, resolution.value, resolution.observed_us, resolution.assertion_id)
        assert steps_of(chargeback, position) == lawful_steps(by_subject[position], ASOF, rule)
    assert found.facts.slice_digest == slice_digest([slice_of("chargeback", by_subject, ASOF, id_type)])
    used = [(one, at) for assertions, at in zip(by_subject, ts, strict=True) for one in eligible(assertions, ASOF)]
    facts = found.facts.per_type["chargeback"]
    assert facts["assertions_eligible"] == len(used) == found.facts.assertions_eligible
    lag = measure_lag([one.observed_us - at for one, at in used], None)
    assert facts["observed_lag"] == {name: getattr(lag, name) for name in ("assertions", "sooner", "p50_us", "p90_us", "p99_us")}
    assert facts["assertions_read"] == len(said) == sum(
        facts[name] for name in ("assertions_outside_basis", "assertions_after_asof", "assertions_eligible", "assertions_repeated"))
    assert (np.diff(chargeback.changes.position) >= 0).all()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worlds(), RULE, st.booleans(), st.booleans())
def test_bulk_is_the_law_whichever_way_it_goes(tmp_path, world, rule, many, meeting):
    """Events with very many assertions, which are sorted instead of followed, and ids that share a word, have the same answers."""
    with pytest.MonkeyPatch.context() as patch:
        if many:
            patch.setattr(label_steps, "MOST", 1)
        if meeting:
            patch.setattr(label_names, "words_of", lambda texts: np.zeros(len(texts), np.uint64))
        compare_with_the_law(tmp_path, world, rule, "labels.parquet")


def test_thousands_of_assertions_about_one_event(tmp_path):
    """An event with more assertions than are sorted one by one resolves as any other, corrections included."""
    said = [Assertion("t", "chargeback", "FRAUD" if n % 3 else "LEGIT", n % 37, n % 11, ["AUTO", "HUMAN"][n % 2], f"a{n}",
                      f"a{n - 37}" if n >= 37 and n % 5 == 0 else None) for n in range(3000)]
    compare_with_the_law(tmp_path, (["t", "u"], [0, 0], TEXT, said, None), "source_precedence.v1", "labels.parquet")


@pytest.mark.parametrize("rule", list(RULES))
def test_golden_timelines_in_bulk(tmp_path, rule):
    """The hand-made timelines, all as events of one file, resolve in bulk as their author wrote them at every cut."""
    golden = json.loads((Path(__file__).parent.parent / "golden" / "labels" / "resolution.json").read_text())["vectors"]
    vectors = [vector for vector in golden if vector["rule"] == rule]
    def own(name, assertion_id):
        return None if assertion_id is None else f"{name}/{assertion_id}"
    said = [Assertion(vector["name"], "chargeback", *one) for vector in vectors for one in vector["said"]]
    write(tmp_path, [replace(one, assertion_id=own(one.subject, one.assertion_id), supersedes=own(one.subject, one.supersedes))
                     for one in said])
    found = run(tmp_path, HOME, make_events([vector["name"] for vector in vectors], [0] * len(vectors), TEXT), make_task(rule, 100))
    for position, vector in enumerate(vectors):
        steps = steps_of(found.types["chargeback"], position)
        for cut, status, value, *_ in vector["answers"]:
            now = [("NOT_FOUND", None), *((was, which) for at, was, which in steps if at <= cut)][-1]
            assert now == (status, value), vector["name"]


def test_repeats_order_and_layout_of_the_file_change_nothing(tmp_path):
    """The same assertions in another order, twice over and in another form of file give the same answers and the same slice digest."""
    said = [Assertion(i % 50, "chargeback", "FRAUD" if i % 3 else "LEGIT", i % 40, 0, "AUTO", f"{i:03}") for i in range(200)]
    events, task = make_events(list(range(50)), [0] * 50, INT), make_task()
    found = []
    for name, rows in (("labels.parquet", said), ("labels.csv", said[::-1] + said), ("labels.jsonl", said[100:] + said[:100])):
        write(tmp_path, rows, name)
        found.append(run(tmp_path, {**HOME, "path": name}, events, task))
    answers = [[answer(one.types["chargeback"], position) for position in range(50)] for one in found]
    assert answers[0] == answers[1] == answers[2]
    assert len({one.facts.slice_digest for one in found}) == 1
    assert found[1].facts.per_type["chargeback"]["assertions_repeated"] == 200


@pytest.mark.parametrize("ids", [[1, 2, 3], ["é1", "e2", ""]])
def test_an_id_is_of_one_subject(tmp_path, ids):
    """Two assertions about different events never share an id: the first that takes one is named with both places; repeats are none.

    said in the file:   a about 1 ─ b about 2 ─ a about 1 again ─ no id, twice ─ b about 3  ←
    """
    one, two, three = ids
    said = [(one, "a", 5), (two, "b", 5), (one, "a", 5), (one, None, 6), (two, None, 6), (three, "b", 7), (three, "a", 8)]
    assertions = [Assertion(subject, "chargeback", "FRAUD", at, at, assertion_id=name) for subject, name, at in said]
    write(tmp_path, assertions)
    events = make_events(ids, [0, 0, 0], INT if ids[0] == 1 else TEXT)
    with pytest.raises(LabelTimelineInconsistent) as caught:
        run(tmp_path, HOME, events, make_task())
    assert caught.value.path == "labels.chargeback.id"
    assert (f"assertion 'b' (chargeback) is about {two!r} (labels.parquet row 2) and about {three!r} (labels.parquet row 6)."
            == caught.value.what)
    with pytest.raises(LabelTimelineInconsistent, match=re.escape(f"'b' (chargeback) is about {two!r} and about {three!r}")):
        refuse_shared_ids(assertions)
    assert run(tmp_path, HOME, events, make_task(asof_us=6)).facts.assertions_eligible == 4  # the others are not known yet
    assert run(tmp_path, {key: name for key, name in HOME.items() if key not in {"id", "supersedes"}}, events,
               make_task()).facts.assertions_eligible == 6


def test_an_assertion_about_events_of_one_id_is_one(tmp_path):
    """One row about two events that carry its id is one assertion of one subject, whatever its id."""
    write(tmp_path, [Assertion(7, "chargeback", "FRAUD", 5, 5, assertion_id="a")])
    assert run(tmp_path, HOME, make_events([7, 7], [0, 1], INT), make_task()).facts.assertions_eligible == 2


def test_texts_of_one_word_are_told_apart(tmp_path, monkeypatch):
    """Where ids that differ have one 64-bit word, only equal texts are one id."""
    monkeypatch.setattr(label_names, "words_of", lambda texts: np.zeros(len(texts), np.uint64))
    said = [Assertion(number, "chargeback", "FRAUD", 5, 5, assertion_id=name) for number, name in enumerate("abcde")]
    write(tmp_path, said)
    assert run(tmp_path, HOME, make_events(list(range(5)), [0] * 5, INT), make_task()).facts.assertions_eligible == 5


def test_later_observations_leave_the_cut_and_its_slice_alone(tmp_path):
    """Assertions observed after the as-of change neither answers nor the slice digest, whatever they supersede or contradict.

    said:   FRAUD by a, id x           LEGIT supersedes x, and x once more with other content
            ●──────────────────────┃───●──────────────────────────────────────────────▶
            10                  as-of 40   50
    """
    early = [Assertion("t", "chargeback", "FRAUD", 10, 10, "AUTO", "x")]
    late = [Assertion("t", "chargeback", "LEGIT", 50, 10, "HUMAN", "y", "x"),
            Assertion("t", "chargeback", "LEGIT", 51, 10, "HUMAN", "x", "y")]
    events, task = make_events(["t"], [5], TEXT), make_task()
    write(tmp_path, early)
    before = run(tmp_path, HOME, events, task)
    write(tmp_path, early + late)
    after = run(tmp_path, HOME, events, task)
    assert answer(before.types["chargeback"], 0) == answer(after.types["chargeback"], 0) == ("RESOLVED", "FRAUD", 10, "x")
    assert before.facts.slice_digest == after.facts.slice_digest
    assert after.facts.per_type["chargeback"]["assertions_after_asof"] == 2


def test_an_assumed_delay_counts_from_the_event(tmp_path):
    """`observed: {after_event: 1s}` makes each label known one second after its event, and effective from the event on.

    event                 known
    ●─────────────────────●───────────▶
    0                     1 s
    """
    pq.write_table(pa.table({"event": [3, 1, 2], "is_fraud": pa.array([1, 0, 1], pa.int8())}), tmp_path / "labels.parquet")
    raw = {"path": "labels.parquet", "event": "event", "observed": {"after_event": "1s"},
           "value": {"column": "is_fraud", 1: "FRAUD", 0: "LEGIT"}}
    events = make_events([1, 2, 3], [0, 5, 10], INT)
    found = run(tmp_path, raw, events, make_task(asof_us=1_000_005))
    chargeback = found.types["chargeback"]
    assert [answer(chargeback, position)[:3] for position in range(3)] == [
        ("RESOLVED", "LEGIT", 1_000_000), ("RESOLVED", "FRAUD", 1_000_005), ("NOT_FOUND", None, None)]
    assert chargeback.changes.at.tolist() == [1_000_000, 1_000_005]
    assert found.facts.per_type["chargeback"]["assumed_delay_us"] == 1_000_000


def test_an_assumed_delay_may_count_from_a_mapped_time(tmp_path):
    """With `time:` the file's own event time is taken, in its declared zone."""
    times = pa.array([0], pa.timestamp("ms"))
    pq.write_table(pa.table({"event": ["a"], "tx_time": times}), tmp_path / "labels.parquet")
    raw = {"path": "labels.parquet", "event": "event", "observed": {"after_event": "1h"}, "value": "FRAUD", "time": "tx_time",
           "zone": "Europe/Paris"}
    found = run(tmp_path, raw, make_events(["a"], [0], TEXT), make_task(asof_us=0))
    assert answer(found.types["chargeback"], 0)[:3] == ("RESOLVED", "FRAUD", 0)  # 00:00 in Paris is 23:00 UTC, one hour later is 0


def test_steps_are_kept_only_for_types_that_features_look_at(tmp_path):
    """A type that no feature looks at has answers at the as-of, and no steps."""
    write(tmp_path, [Assertion("a", "chargeback", "FRAUD", 1, 1)])
    found = run(tmp_path, HOME, make_events(["a"], [0], TEXT), make_task(in_features=False))
    assert found.types["chargeback"].changes is None
    assert answer(found.types["chargeback"], 0)[0] == "RESOLVED"


def test_a_needed_type_needs_exactly_one_timeline(tmp_path):
    """A label type without timeline, or with two, is refused before anything is read."""
    write(tmp_path, [Assertion("a", "chargeback", "FRAUD", 1, 1)])
    table = pin_labels(mapping_from(HOME, "chargeback"), tmp_path)
    with Database(tmp_path) as database:
        for tables, message in (([], "no timeline"), ([table, table], "several")):
            with pytest.raises(LabelTypeScopeUnresolved, match=message):
                resolve_labels(database, tables, make_events(["a"], [0], TEXT), make_task(), 1 << 30)


def test_changed_bytes_are_refused(tmp_path):
    """A label file that changed after it was pinned is not read."""
    path = write(tmp_path, [Assertion("a", "chargeback", "FRAUD", 1, 1)])
    table = pin_labels(mapping_from(HOME, "chargeback"), tmp_path)
    path.write_bytes(path.read_bytes() + b" ")
    with Database(tmp_path) as database, pytest.raises(ReplayBasisMismatch):
        resolve_labels(database, [table], make_events(["a"], [0], TEXT), make_task(), 1 << 30)


BAD = [
    ("event", "", LabelStoreUnavailable, "1 of 2 chargeback labels have no 'event', the first in labels.csv row 2"),
    ("value", "", LabelStoreUnavailable, "no 'value'"),
    ("observed", "", LabelStoreUnavailable, "no 'observed'"),
    ("effective", "", LabelStoreUnavailable, "no 'effective'"),
    ("source", "", LabelStoreUnavailable, "no 'source'"),
    ("source", "ROBOT", LabelPolicyInvalid, "'ROBOT', the first in labels.csv row 2"),
    ("value", "MAYBE", LabelPolicyInvalid, "'MAYBE', the first in labels.csv row 2"),
    ("observed", "1970-01-01T00:00:00", TimeZoneUndeclared, "without offset"),
    ("observed", "1970-01-01T00:00:00.0000001Z", LabelStoreUnavailable, "labels.csv row 2.*finer than a microsecond"),
    ("observed", "soon", LabelStoreUnavailable, "labels.csv row 2.*'soon'"),
    ("effective", "1970-02-30T00:00:00Z", LabelStoreUnavailable, "does not exist"),
]


@pytest.mark.parametrize(("column", "text", "error", "message"), BAD, ids=[f"{column}={text or 'nothing'}" for column, text, *_ in BAD])
def test_bad_rows_refuse_the_timeline_and_are_named(tmp_path, column, text, error, message):
    """A missing, unknown or unreadable cell refuses the whole timeline and says which row."""
    good = {"event": "a", "value": "1", "observed": "1970-01-01T00:00:00Z", "effective": "1970-01-01T00:00:00Z", "source": "AUTO", "id": "",
            "supersedes": ""}
    rows = [good, {**good, column: text}]
    with (tmp_path / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(good))
        writer.writeheader()
        writer.writerows(rows)
    raw = {**HOME, "path": "labels.csv", "value": {"column": "value", 1: "FRAUD"}}
    with pytest.raises(error, match=message) as caught:
        run(tmp_path, raw, make_events(["a"], [0], TEXT), make_task())
    assert caught.value.fix


@pytest.mark.parametrize("subject", ["x", "1.5", "99999999999999999999"])
def test_text_subjects_of_integer_events_must_be_integers(tmp_path, subject):
    """If the events' ids are integers, a label whose event is another text is refused, not silently unmatched."""
    write(tmp_path, [Assertion(subject, "chargeback", "FRAUD", 1, 1)], "labels.csv")
    with pytest.raises(LabelStoreUnavailable, match=r"labels\.csv row 1"):
        run(tmp_path, {**HOME, "path": "labels.csv"}, make_events([1], [0], INT), make_task())


def test_integer_subjects_meet_text_events(tmp_path):
    """If the events' ids are text, integer subjects count as their decimal text."""
    write(tmp_path, [Assertion(12, "chargeback", "FRAUD", 1, 1), Assertion(-3, "chargeback", "LEGIT", 1, 1)])
    found = run(tmp_path, HOME, make_events(["-3", "012", "12"], [0, 0, 0], TEXT), make_task())
    assert [answer(found.types["chargeback"], position)[1] for position in range(3)] == ["LEGIT", None, "FRAUD"]


@pytest.mark.parametrize("values", [pa.array([True, False]), pa.array([1, 0], pa.uint8()), pa.array([1.0, -0.0]), pa.array(["1", "0"]),
                                    pa.array(["1", "0"]).dictionary_encode()], ids=lambda values: str(values.type))
def test_maps_read_every_kind_of_raw_value(tmp_path, values):
    """Truth values, integers, whole floats and text are looked up by one spelling."""
    table = pa.table({"event": ["a", "b"], "raw": values, "observed": pa.array([1, 1], pa.timestamp("us", "UTC"))})
    pq.write_table(table, tmp_path / "labels.parquet")
    yes, no = (True, False) if pa.types.is_boolean(values.type) else (1, 0)
    raw = {"path": "labels.parquet", "event": "event", "observed": "observed", "value": {"column": "raw", yes: "FRAUD", no: "LEGIT"}}
    found = run(tmp_path, raw, make_events(["a", "b"], [0, 0], TEXT), make_task())
    assert [answer(found.types["chargeback"], position)[1] for position in range(2)] == ["FRAUD", "LEGIT"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from(["event", "value", "observed", "source", "id"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(["1970-01-01T00:00:00Z", 1.5, "AUTO", "\ud800"]),
    lambda inner: st.lists(inner, max_size=2), max_leaves=3), max_size=1), min_size=1, max_size=3), st.booleans())
def test_any_json_ends_in_an_answer_or_an_error_of_ours(tmp_path, odd, integer):
    """Whatever JSON stands in a cell of a label file, reading it gives labels or one of our errors."""
    good = {"event": 1 if integer else "a", "value": "FRAUD", "observed": "1970-01-01T00:00:00Z", "source": "AUTO", "id": None}
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps({**good, **cells}) + "\n" for cells in odd))
    raw = {"path": "labels.jsonl", "event": "event", "observed": "observed", "value": {"column": "value"}, "source": "source", "id": "id"}
    try:
        found = run(tmp_path, raw, make_events([0, 1], [0, 0], INT) if integer else make_events(["a", ""], [0, 0], TEXT), make_task())
    except OfsError as wrong:
        assert wrong.family in {"request", "unproven"} or isinstance(wrong, LabelTimelineInconsistent)  # noqa: PT017 - an answer is as good
    else:
        assert found.facts.assertions_read == len(odd)
