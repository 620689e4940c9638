"""Two engines, one meaning: the local engine against the oracle, through the same ports, over the same files (`house.md`, Six doors)."""

import tempfile
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest

from offline_feature_plane.corridor.leaves import leaves_of, settle
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.errors import OfsError
from offline_feature_plane.testing.drawing import draw_world


def tell(engine, world, events, labels, folder):
    """Everything an engine says about a world: facts, columns, rows and leaf digests, or the code of its error."""
    work = folder / f"work-{engine.name}"
    work.mkdir()
    said = {}
    try:
        with engine.session(world.task, work=work, threads=2) as session:
            said["replay"] = asdict(session.replay(events))
            said["labels"] = asdict(session.labels(labels))
            said["selection"] = asdict(session.select())
            said["columns"] = session.columns()
            batches = list(session.rows())
    except OfsError as wrong:
        return {"error": wrong.code}
    if not batches:
        return {**said, "rows": []}
    settled = pa.Table.from_batches([settle(said["columns"], pa.Table.from_batches([one])) for one in batches])
    batch = settle(said["columns"], settled)
    said["rows"] = [{name: repr(value) for name, value in row.items()} for row in batch.to_pylist()]
    said["leaves"] = leaves_of(said["columns"], batch)
    return said


def hold_together(seed):
    """Both engines say the same of the world of a seed, bit for bit."""
    world = draw_world(seed)
    with tempfile.TemporaryDirectory() as folder:
        events, labels = world.write(Path(folder))
        expected = tell(OracleEngine(), world, events, labels, Path(folder))
        found = tell(LocalEngine(), world, events, labels, Path(folder))
    for part in expected | found:
        assert found.get(part) == expected.get(part), f"seed {seed}: {part}"


def test_the_local_engine_is_the_oracle():
    """Accounting, coverage, splits, label facts, and every bit of every row are what the naive reading of the laws gives."""
    for seed in range(110):
        hold_together(seed)


@pytest.mark.long
def test_the_local_engine_is_the_oracle_at_length():
    """As above, three thousand other worlds."""
    for seed in range(1_000, 4_000):
        hold_together(seed)
