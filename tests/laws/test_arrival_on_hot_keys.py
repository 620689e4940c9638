"""Rows of one hot key by arrival: every aggregation over every window is what the oracle says, at a cost far from n² (D21)."""

from random import Random
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pytest
from two_engines import tell

from offline_feature_plane.domain.closure import Aggregation, Closure, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.rows import LabelTask, Task
from offline_feature_plane.engines.local import LocalEngine, arrivals, one_by_one
from offline_feature_plane.engines.local.events import Arrivals, Events, Values
from offline_feature_plane.engines.local.shared_worlds import SharedWorlds
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.kernels.grouprun import GroupRun
from offline_feature_plane.testing.worlds import ARRIVED, INT, SECOND, START, TEXT, Labels, Table, World

TIME, FLOAT = ColumnType("timestamp"), ColumnType("float64")
FRAUD = ("fraud", ("FRAUD",))
LATEST = START + 10**9
FIELDS = {"who": TEXT, "kind": TEXT, "units": INT, "price": FLOAT, "large": INT}
LIFETIME = Window("lifetime", "lifetime")
WINDOWS = (LIFETIME, Window("sliding", "20s", 20 * SECOND), Window("tumbling", "tumbling9s", 9 * SECOND),
           Window("calendar", "day", period="day", zone="Asia/Kathmandu"), Window("last", "last3", count=3),
           Window("session", "session2s", 30 * SECOND, gap_us=2 * SECOND))
CALLS = (("count", None), ("sum", "units"), ("mean", "units"), ("min", "units"), ("max", "units"), ("first", "units"),
         ("last", "units"), ("previous", "units"), ("seconds_since_first", None), ("seconds_since_last", None),
         ("distinct", "units"), ("median", "units"), ("label_count", None), ("label_rate", None), ("stddev", "units"),
         ("sum", "price"), ("mean", "price"), ("stddev", "price"), ("sum", "large"), ("mean", "large"), ("stddev", "large"),
         ("median", "price"), ("mode", "units"), ("entropy", "units"), ("distinct", "price"), ("mode", "kind"),
         ("top_k", "units", {"most": 3}), ("quantile", "price", {"share": "0.9"}), ("distinct", "kind"), ("trend", "units"),
         ("ewma", "price", {"half_life_us": 5 * SECOND}))
IN_FLOATS = {"mean", "median", "quantile", "stddev", "entropy", "trend", "ewma", "label_rate", "seconds_since_first", "seconds_since_last"}


def call(window, function, argument=None, more=MappingProxyType({})):
    """One feature of the group below."""
    label_type, values = FRAUD if function.startswith("label_") else (None, ())
    kind = FLOAT if function in IN_FLOATS else TEXT if function == "top_k" else INT if function == "distinct" else FIELDS.get(argument, INT)
    return Feature(f"g__{function}_{argument}_{window.label}", Aggregation(function, argument, label_type, values, **more), window, kind)


def group_of(features, *, current=False, delay=0):
    """A group by `who`."""
    return Group("g", "v1", "tx", ("who",), None, current, delay, "skip", tuple(features))


def task_of(group):
    """Rows that see only what had arrived."""
    fields = tuple(Field(name, kind, (name,), nullable=name == "kind") for name, kind in FIELDS.items())
    closure = Closure("p", "1", "s", "v1", (Source("tx", ("tx",), fields),), (group,), (), ())
    return Task("worlds", (), closure, "tx", None, (), LabelTask(LATEST, "latest_observed.v1", ("fraud",)), None, None, "allow", (), None,
                "arrival")


def hot_events(seed, n, latest):
    """Events of one key in the order of their happening, of which a third arrive up to `latest` seconds late, many of them at one instant.

    Prices reach over forty orders of magnitude, and sums of large numbers leave 62 bits.
    """
    rng = Random(seed)
    happened = sorted(rng.randint(0, n) for _ in range(n))
    rows = []
    for number, at in enumerate(happened, 1):
        units = rng.randint(-3, 9)
        rows.append({"event_id": number, "at": at, ARRIVED: at + rng.choice((0, 0, rng.randint(0, latest))), "who": "a",
                     "kind": rng.choice((None, "x", "y", "z")), "units": units,
                     "price": units * 0.1 * 10.0 ** rng.randint(-20, 20), "large": rng.choice((-1, 1)) * rng.randint(2**56, 2**59)})
    return rows


def world_of(group, rows):
    """The events, and a label for one of four, known seven seconds after its event."""
    held = tuple({**row, "at": START + row["at"] * SECOND, ARRIVED: START + row[ARRIVED] * SECOND} for row in rows)
    kinds = {"event": INT, "value": TEXT, "observed": TIME, "effective": TIME, "source": TEXT, "id": TEXT, "supersedes": TEXT}
    said = tuple({"event": number, "value": "FRAUD", "observed": START + (number + 7) * SECOND, "effective": START, "source": "HUMAN",
                  "id": str(number), "supersedes": None} for number in range(1, len(rows), 4))
    return World(task_of(group), (Table("tx", "jsonl", {"event_id": INT, "at": TIME, ARRIVED: TIME, **FIELDS}, held, INT),),
                 (Labels("fraud", Table("fraud", "jsonl", kinds, said)),))


def both_say(world, folder):
    """What the two engines say of a world, which is one."""
    events, labels = world.write(folder)
    expected, found = (tell(engine, world.task, events, labels, folder) for engine in (OracleEngine(), LocalEngine()))
    assert "error" not in expected
    assert found == expected


@pytest.mark.parametrize(("seed", "current", "delay"), [(2, True, 0), (3, False, 4 * SECOND)])
def test_rows_of_a_hot_key_share_worlds(tmp_path, monkeypatch, seed, current, delay):
    """Every function over every kind of window of one key is what the oracle says, to the bit, where rows share worlds.

    ```
    happened   1  2  2  3  5      6      9  9
    arrived    1  2     3     5   6  8   9     31      rows from 2 to 31 see different parts of one past
    ```
    """
    monkeypatch.setattr(arrivals, "_WORTH", -1)
    shared = []
    columns = SharedWorlds.columns
    monkeypatch.setattr(SharedWorlds, "columns", lambda *asked: shared.append(len(asked[1])) or columns(*asked))
    group = group_of([call(window, *one) for window in WINDOWS for one in CALLS], current=current, delay=delay)
    both_say(world_of(group, hot_events(seed, 60, 30)), tmp_path)
    assert shared


def columns_of(group, n):
    """The group's columns of a hot key of `n` events whose late third arrives within a quarter of its history."""
    rows = hot_events(7, n, n // 4)
    ts, at = (np.array([row[name] for row in rows], np.int64) * SECOND for name in ("at", ARRIVED))
    place = np.empty(n, np.int64)
    place[np.argsort(at, kind="stable")] = np.arange(n)
    fields = {("tx", name): Values(kind, np.array([row[name] for row in rows])) for name, kind in FIELDS.items() if kind != TEXT}
    events = Events(n, ts, np.zeros(n, np.int8), pa.chunked_array([pa.array(np.arange(n))]), INT, fields, Arrivals(at, place))
    return arrivals.ArrivedColumns(events, group, 0, (np.zeros(n, np.int32), 1), np.ones(n, np.bool_), {}, events.arrivals, LATEST)


def walked(n, monkeypatch, *calls):
    """How many steps all kernels walk for some features of a hot key: positions of runs, and edits of windows."""
    steps = []
    advance, write = GroupRun.advance, one_by_one.write_edits

    def count_edits(*asked):
        for edits in write(*asked):
            steps.append(len(edits.slots))
            yield edits

    monkeypatch.setattr(GroupRun, "advance", lambda run, start, stop: steps.append(stop - start) or advance(run, start, stop))
    monkeypatch.setattr(one_by_one, "write_edits", count_edits)
    columns = columns_of(group_of([call(*one) for one in calls]), n)
    columns.advance(0, n)
    assert columns.hidden.mean() > 0.9
    monkeypatch.undo()
    return sum(steps)


@pytest.mark.parametrize("n", [2_000, pytest.param(50_000, marks=pytest.mark.long)])
def test_a_hot_key_costs_n_log_n(monkeypatch, n):
    """Four times the events of one key make the kernels walk little more than four times as far, and never n times n."""
    calls = [(LIFETIME, *one) for one in (("sum", "units"), ("last", "units"), ("stddev", "price"), ("sum", "price"), ("mean", "large"))]
    few, many = walked(n, monkeypatch, *calls), walked(4 * n, monkeypatch, *calls)
    assert many < 4.0 * few * 1.25
    assert many <= 4 * n * (2 + (4 * n).bit_length() * 2)


EDITED = [(LIFETIME, "distinct", "units"), (LIFETIME, "median", "price"), (LIFETIME, "mode", "units"), (LIFETIME, "entropy", "units"),
          (Window("last", "last500", count=500), "sum", "units"),
          (Window("session", "session9s", 3_000 * SECOND, gap_us=9 * SECOND), "max", "units")]


@pytest.mark.parametrize("n", [1_500, pytest.param(12_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("asked", EDITED, ids=lambda asked: f"{asked[1]}-{asked[0].label}")
def test_what_follows_single_events_costs_n_by_the_root_of_how_late_they_are(monkeypatch, n, asked):
    """Four times the events of one key, late by a quarter of the history, are about eight times the steps and not sixteen.

    What is hidden opens pauses, so sessions begin elsewhere from row to row: a little more.

    ```
    steps ≤ c · n · √n      in worlds of its own each row walks its whole window again: n · n ÷ 2
    ```
    """
    few, many = walked(n, monkeypatch, asked), walked(4 * n, monkeypatch, asked)
    assert many < 12.0 * few
    assert many < 4 * n * 4 * (4 * n) ** 0.5
