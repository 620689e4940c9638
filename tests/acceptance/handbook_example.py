"""The handbook example as a module, and the laws that hold for every dataset that it builds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from types import ModuleType

import duckdb
import pyarrow as pa

import offline_feature_plane as ofs

PROJECT = Path(__file__).resolve().parents[2]
PROGRAM = PROJECT / "examples" / "handbook" / "build.py"


def load_program(name: str) -> ModuleType:
    """A module of `examples/handbook`, imported as its neighbours import it."""
    sys.path.insert(0, str(PROGRAM.parent))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(PROGRAM.parent))


example = load_program("build")


def check_dataset(dataset: ofs.Dataset, plane_folder: Path, events: Sequence[int]) -> None:
    """Every transaction is a row, everything is accounted for, the bytes are intact, and four libraries read the same rows."""
    core = dataset.manifest.core
    assert core.row_accounting["row"] == core.row_count == len(dataset) == len(events)
    assert sum(core.row_accounting.values()) == core.replay["events_read"] == len(events)
    assert core.eligibility.training_ready
    assert core.eligibility.complete

    verified = ofs.open(plane_folder / "plane.yaml").verify(dataset.id)
    assert verified.intact, [check for check in verified.checks if not check.passed]

    exact, floats = dataset.to_arrow(decimals="exact"), dataset.to_arrow()
    assert exact.schema.field("amount").type == pa.decimal128(12, 2)
    assert floats.schema.field("amount").type == pa.float64()
    assert floats["amount"].to_pylist()[:1_000] == [float(value) for value in exact["amount"].to_pylist()[:1_000]]
    assert exact["amount"][0].as_py().as_tuple().exponent == Decimal("0.01").as_tuple().exponent
    assert sorted(floats["event_id"].to_pylist()) == sorted(events)

    pandas, polars, duck = dataset.to_pandas(), dataset.to_polars(), dataset.to_duckdb()
    assert list(pandas.columns) == polars.columns == duck.columns == floats.column_names
    for name in ("event_id", "amount", "customer__avg_amount_7d", "terminal__risk_30d", "target"):
        ours = floats[name].to_pylist()
        assert pandas[name].tolist() == polars[name].to_list() == ours, name
        assert [value for (value,) in duck.select(duckdb.ColumnExpression(name)).fetchall()] == ours, name
    assert sum(batch.num_rows for batch in dataset.batches()) == len(dataset)
