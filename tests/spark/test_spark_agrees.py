"""Spark and the other engines, one meaning: the same facts, rows and leaf digests, bit for bit (R10)."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from golden_worlds import golden_world
from test_entity_labels import draw_world as draw_flagged_world
from test_oracle import GOLDEN
from two_engines import label_task, tell
from whole_worlds import build
from whole_worlds import draw_world as draw_whole_world

from offline_feature_plane.domain.rows import CombinedTarget
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.errors import LabelTimelineInconsistent
from offline_feature_plane.labelstores.files import pin_labels
from offline_feature_plane.labelstores.mapping import mapping_from
from offline_feature_plane.sources.files import TableMapping, pin_table
from offline_feature_plane.testing.drawing import (
    draw_apart_world,
    draw_calendar_world,
    draw_judged_world,
    draw_late_world,
    draw_scoped_world,
    draw_spine_world,
    draw_world,
)
from offline_feature_plane.testing.drawing_contexts import draw_context_world
from offline_feature_plane.testing.worlds import INT, TEXT


def hold_together(world, engine, *, judge=None):
    """Spark says of a world what the local engine says of it, leaf digests included; and what the oracle says, if it is asked."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events, labels = world.write(folder)
        expected, found = (tell(one, world.task, events, labels, folder) for one in (judge or LocalEngine(), engine))
    for part in expected | found:
        assert found.get(part) == expected.get(part), part


@pytest.mark.parametrize("seed", [8])
def test_spark_is_the_local_engine(engine, seed):
    """Parts, slabs and shuffles of Spark are not to be seen in anything that is said of a world: tables, archives, labels, repeats."""
    hold_together(draw_world(seed), engine)


def test_a_target_of_several_label_types(engine):
    """Where two label types decide together, the same rows have the same targets, and as many others stay open or are in conflict."""
    hold_together(draw_world(17), engine, judge=OracleEngine())


def test_what_is_wrong_with_events_is_said_without_a_row(engine):
    """A condition that leaves its type is NUMERIC_OVERFLOW also where no event becomes a row."""
    hold_together(draw_world(5_109), engine)


def test_spark_is_the_oracle(engine):
    """And what is said is what the naive reading of the laws gives."""
    hold_together(draw_world(2), engine, judge=OracleEngine())


@pytest.mark.parametrize("ids", [INT, TEXT], ids=str)
def test_an_id_of_two_events_is_refused_in_the_same_words(engine, tmp_path, ids):
    """Who shares an assertion id is found by a shuffle as it is found in a column, and both places are named: code, sentence and fields."""
    said = [(1, "a", 5), (2, "b", 5), (1, "a", 5), (1, None, 6), (2, None, 6), (3, "b", 7), (3, "a", 8)]
    path = tmp_path / "timeline"
    path.mkdir()
    for number, part in enumerate((said[:3], said[3:])):
        pq.write_table(pa.table({
            "event": pa.array([one[0] for one in part]).cast(pa.int64() if ids == INT else pa.string()), "id": [one[1] for one in part],
            "observed": pa.array([one[2] for one in part], pa.timestamp("us", "UTC"))}), path / f"{number}.parquet")
    pq.write_table(pa.table({"event": pa.array([1, 2, 3]).cast(pa.int64() if ids == INT else pa.string()), "who": ["x", "y", "z"],
                             "at": pa.array([0, 1, 2], pa.timestamp("us", "UTC"))}), tmp_path / "tx.parquet")
    events = [pin_table("tx", TableMapping(tmp_path / "tx.parquet", "at", "event"))]
    mapping = mapping_from({"path": "timeline", "event": "event", "observed": "observed", "value": "FRAUD", "id": "id"}, "fraud")
    told = []
    for one in (LocalEngine(), engine):
        (tmp_path / one.name).mkdir()
        with one.session(label_task(), work=tmp_path / one.name) as session:
            session.replay(events)
            with pytest.raises(LabelTimelineInconsistent) as caught:
                session.labels([pin_labels(mapping, tmp_path)])
        told.append(caught.value.describe())
    assert told[0] == told[1]
    assert "(0.parquet row 2)" in told[0]["what"]
    assert "(1.parquet row 3)" in told[0]["what"]


def test_rows_see_what_had_arrived(engine):
    """Under `visibility: arrival` too, with the count of rows that have hidden events."""
    hold_together(draw_late_world(5), engine)


def test_no_entity_stands_in_two_splits(engine):
    """Which split an entity belongs to is found by shuffles of entities as it is found at once, with a `where`."""
    hold_together(draw_apart_world(23), engine, judge=OracleEngine())


@pytest.mark.parametrize("seed", [19, 30])
def test_labels_of_entities_are_carried_by_their_events(engine, seed):
    """What holds of an account from a day on is found by a shuffle of accounts as it is looked up at once; slices and sketches too."""
    hold_together(draw_flagged_world(seed), engine, judge=OracleEngine())


def test_spines_stand_before_their_instant(engine):
    """What a spine asks for stands before all other events of its instant; none is asked for twice."""
    hold_together(draw_spine_world(0), engine, judge=OracleEngine())


def test_records_of_other_scenario_runs_are_foreign(engine):
    """And it is counted how many records of the named ones there are, by the tasks that read them."""
    hold_together(draw_scoped_world(25), engine, judge=OracleEngine())


@pytest.mark.parametrize("seed", [16, 180])
def test_rows_without_a_context_are_left_out(engine, seed):
    """Which rows lack a context is found by shuffles of keys as it is found at once, and the others have the same values."""
    hold_together(draw_context_world(seed), engine, judge=OracleEngine())


def test_rows_that_a_calendar_makes(engine):
    """Who is there at each instant is found by one shuffle of entities; ids of rows that were made have tokens where they must."""
    hold_together(draw_calendar_world(19), engine, judge=OracleEngine())


def test_splits_are_judged_by_their_own_as_ofs(engine):
    """What was known when is asked of each event with the as-of of its split."""
    hold_together(draw_judged_world(5), engine, judge=OracleEngine())


@pytest.mark.long
def test_a_cluster_of_two_workers(cluster, tmp_path):
    """A master that settings name is used from the command line, and what two worker processes compute is the same dataset."""
    world = draw_whole_world(7)
    here = build(world.write(tmp_path / "local"))
    path = world.write(tmp_path / "cluster")
    document = yaml.safe_load(path.read_text())
    document["engine"] = {"name": "spark", "master": cluster.master,
                          "conf": {"spark.executor.memory": "512m", "spark.cores.max": "2",
                                   "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}}
    path.write_text(yaml.safe_dump(document))
    done = subprocess.run([sys.executable, "-m", "offline_feature_plane", "build", path.parent / "intent.yaml", "--json"], check=False,
                          cwd=path.parent, env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert yaml.safe_load(done.stdout)["content_digest"] == here.manifest.core.content_digest


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6_200, 6_260))
def test_splits_are_judged_by_their_own_as_ofs_at_length(engine, seed):
    """As above, in memory and where rows see only what had arrived."""
    hold_together(draw_judged_world(seed), engine)


@pytest.mark.long
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_worlds(engine, path):
    """Every world whose values were derived by hand."""
    hold_together(golden_world(path), engine)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5_000, 5_040))
def test_spines_and_calendars_at_length(engine, seed):
    """Forty spines, some of which ask for an entity twice, and forty calendars."""
    hold_together(draw_spine_world(seed), engine)
    hold_together(draw_calendar_world(seed), engine)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5_000, 5_200))
def test_spark_is_the_local_engine_at_length(engine, seed):
    """Two hundred other worlds."""
    hold_together(draw_world(seed), engine)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5_000, 5_050))
def test_rows_see_what_had_arrived_at_length(engine, seed):
    """Fifty other worlds of late events."""
    hold_together(draw_late_world(seed), engine)


@pytest.mark.long
@pytest.mark.parametrize("start", range(6_000, 6_340, 34))
def test_targets_of_several_label_types_at_length(engine, start):
    """Fifty other worlds whose target two label types decide together."""
    for world in map(draw_world, range(start, start + 34)):
        if isinstance(world.task.target, CombinedTarget):
            hold_together(world, engine)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5_000, 5_030))
def test_no_entity_stands_in_two_splits_at_length(engine, seed):
    """Thirty other worlds of disjoint splits."""
    hold_together(draw_apart_world(seed), engine)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 160))
def test_labels_of_entities_at_length(engine, seed):
    """Sixty worlds of flagged accounts: texts and integers, ties, reversals, links, cycles, unknown accounts."""
    hold_together(draw_flagged_world(seed), engine)
