"""One id in several sources: an assertion speaks of every event that carries it (docs/decisions/0014)."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from two_engines import ask_both, label_task

from offline_feature_plane.domain.instants import parse_instant

KINDS = {"counted": 1, "sparse": 10**12, "text": 1}
DAY = 86_400_000_000
START = parse_instant("2026-01-01")


def write_events(folder, kind, days_by_source):
    """Tables of events numbered from 1, all of one key, on the given days; the mappings of them."""
    for name, days in days_by_source.items():
        ids = pa.array([(number + 1) * KINDS[kind] for number in range(len(days))])
        at = pa.array([START + int(day * DAY) for day in days]).cast(pa.timestamp("us", "UTC"))
        ids = ids.cast(pa.string()) if kind == "text" else ids
        pq.write_table(pa.table({"id": ids, "at": at, "who": ["a"] * len(days)}), folder / f"{name}.parquet")
    return {name: {"path": folder / f"{name}.parquet", "time": "at", "id": "id"} for name in days_by_source}


def write_labels(folder, kind, rows, **more):
    """Labels FRAUD of (number, day)."""
    event = pa.array([number * KINDS[kind] for number, _ in rows])
    known = pa.array([START + day * DAY for _, day in rows]).cast(pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"event": event.cast(pa.string()) if kind == "text" else event, "known": known}), folder / "labels.parquet")
    return {"path": "labels.parquet", "event": "event", "value": "FRAUD"} | (more or {"observed": "known"})


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_speaks_of_every_event_that_carries_its_id(tmp_path, kind):
    """Both events of an id have its label: as target, and in the features of either source. A label of no event is outside.

    day     0      0.5     1      1.5          3   label of 1 known
    tx      1              2                   ●         3 (day 5)
    login          1              2
    """
    tables = write_events(tmp_path, kind, {"tx": [0, 1, 5], "login": [0.5, 1.5]})
    labels = write_labels(tmp_path, kind, [(1, 3), (77, 3), (1, 9)])
    found = ask_both(tmp_path, label_task(("tx", "login"), START + 8 * DAY), tables, labels)
    assert [row["target"] for row in found["rows"]] == ["1", "0", "0"]
    assert [(row["of_tx__bad"], row["of_login__bad"]) for row in found["rows"]] == [("0", "0"), ("0", "0"), ("1", "1")]
    facts = found["labels"]["per_type"]["fraud"]
    assert {name: facts[name] for name in facts if name.startswith(("assertions", "subjects"))} == {
        "assertions_read": 3, "assertions_outside_basis": 1, "assertions_after_asof": 2, "assertions_eligible": 2, "assertions_repeated": 0,
        "subjects_resolved": 2, "subjects_in_conflict": 0}
    assert (facts["observed_lag"]["p50_us"], facts["observed_lag"]["p99_us"]) == (int(2.5 * DAY), 3 * DAY)


@pytest.mark.parametrize("kind", KINDS)
def test_an_assumed_delay_counts_from_each_event_of_the_id(tmp_path, kind):
    """Where labels are known some time after their event, each of two events with one id counts from its own instant.

    day     0          2         3    4         5
    tx      1 ────────▶ known         2
    login              1 ──────────▶ known (day 4)
    """
    tables = write_events(tmp_path, kind, {"tx": [0, 3, 3.5, 5], "login": [2]})
    labels = write_labels(tmp_path, kind, [(1, 0)], observed={"after_event": "2d"})
    found = ask_both(tmp_path, label_task(("tx", "login"), START + 8 * DAY), tables, labels)
    assert [(row["of_tx__bad"], row["of_login__bad"]) for row in found["rows"]] == [("0", "0"), ("1", "0"), ("1", "0"), ("1", "1")]
    assert found["labels"]["per_type"]["fraud"]["observed_lag"]["p99_us"] == 2 * DAY


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_many_shared_ids_are_one_meaning(tmp_path, kind, seed):
    """Repeats, strangers and several assertions of an event, over ids of which half stand in both sources."""
    rng = np.random.default_rng(seed)
    tables = write_events(tmp_path, kind, {"tx": rng.integers(0, 9, 24), "login": rng.integers(0, 9, 12)})
    labels = write_labels(tmp_path, kind, list(zip(rng.integers(1, 30, 40).tolist(), rng.integers(0, 12, 40).tolist(), strict=True)))
    assert "error" not in ask_both(tmp_path, label_task(("tx", "login"), START + 10 * DAY), tables, labels)
