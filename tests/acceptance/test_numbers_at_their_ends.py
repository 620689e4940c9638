"""Numbers at the ends of their types, from files to columns: exact, or refused by name; nothing wraps, and nothing is lost on the way."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from answers import ask, check_answer
from small_plane import START, SmallPlane, make_plane

from offline_feature_plane.__main__ import run

MOST, TINY, HUGE = 2**63 - 1, 5e-324, 1.7e308
WIDE = pa.decimal128(38, 2)


def hold(plane: SmallPlane, values: list[Any], kind: pa.DataType, declared: str, call: str, computed: str = "x") -> None:
    """Events of one customer with these values in order; the last one alone becomes a row, and sees itself and all before it."""
    n = len(values)
    plane.events({"tx_id": list(range(n)), "tx_time": [START + timedelta(hours=at) for at in range(n)], "customer_id": ["C"] * n,
                  "x": pa.array(values, kind), "last": [at == n - 1 for at in range(n)]}, None)
    plane.profile = {"fields": {"customer_id": "string", "x": declared, "last": "bool"}, "row_features": {"own": computed},
                     "groups": {"g": {"key": "customer_id", "current": "included", "windows": "lifetime", "features": {"f": call}}}}
    plane.intent = {"rows": "transaction", "features": "features.yaml", "where": "last",
                    "label": {"type": "chargeback", "as_of": "2026-03-10", "maturity_days": None, "target": "none"}}
    plane.documents()


@pytest.mark.parametrize(("values", "kind", "declared", "call", "expected"), [
    ([MOST - 1, 1], pa.int64(), "int64", "sum(x)", MOST),
    ([-MOST, -1], pa.int64(), "int64", "sum(x)", -MOST - 1),
    ([MOST, MOST, MOST, -MOST, -MOST], pa.int64(), "int64", "sum(x)", MOST),
    ([MOST, MOST - 2], pa.int64(), "int64", "mean(x)", float(MOST - 1)),
    ([MOST, -MOST - 1], pa.int64(), "int64", "mean(x)", -0.5),
    ([MOST, -MOST], pa.int64(), "int64", "stddev(x)", math.sqrt(2.0) * 2.0**63),
    ([MOST, MOST], pa.int64(), "int64", "median(x)", 2.0**63),
    ([127] * 300, pa.int8(), "int8", "sum(x)", 38_100),
    ([Decimal("9999999999999999.99"), Decimal("-0.01")], WIDE, "decimal(18,2)", "sum(x)", "9999999999999999.98"),
    ([Decimal("9999999999999999.99")] * 3 + [Decimal("-9999999999999999.99")] * 2, WIDE, "decimal(18,2)", "sum(x)", "9999999999999999.99"),
    ([HUGE, HUGE, -HUGE], pa.float64(), "float64", "sum(x)", HUGE),
    ([HUGE, HUGE, HUGE], pa.float64(), "float64", "mean(x)", HUGE),
    ([HUGE, HUGE], pa.float64(), "float64", "stddev(x)", 0.0),
    ([HUGE, HUGE], pa.float64(), "float64", "median(x)", HUGE),
    ([0.1] * 10, pa.float64(), "float64", "sum(x)", 1.0),
    ([1e16, 1.0, -1e16], pa.float64(), "float64", "sum(x)", 1.0),
    ([TINY] * 3, pa.float64(), "float64", "sum(x)", 3 * TINY),
    ([TINY, 0.0], pa.float64(), "float64", "mean(x)", 0.0),
    ([TINY, TINY], pa.float64(), "float64", "median(x)", TINY),
])
def test_what_fits_is_exact(values: list[Any], kind: pa.DataType, declared: str, call: str, expected: Any, place: Path,
                            capsys: pytest.CaptureFixture[str]) -> None:
    """Only the final value must fit: sums may pass any bound on their way, and are rounded once, if at all."""
    plane = make_plane(place / "p")
    hold(plane, values, kind, declared, call)
    assert run(["preview", str(plane.intent_path), "--json"]) == 0, capsys.readouterr().err
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["g__f_lifetime"] == expected


@pytest.mark.parametrize(("values", "kind", "declared", "call", "computed", "code", "words"), [
    ([MOST, 1], pa.int64(), "int64", "sum(x)", "x", "NUMERIC_OVERFLOW", ("g__f_lifetime", "9223372036854775808", "int64")),
    ([MOST, 1], pa.int64(), "int64", "sum_if(x, x > 0)", "x", "NUMERIC_OVERFLOW", ("g__f_lifetime",)),
    ([Decimal("9999999999999999.99"), Decimal("0.01")], WIDE, "decimal(18,2)", "sum(x)", "x", "NUMERIC_OVERFLOW", ("18 digits",)),
    ([HUGE, HUGE], pa.float64(), "float64", "sum(x)", "x", "NUMERIC_OVERFLOW", ("g__f_lifetime", "beyond float64")),
    ([MOST], pa.int64(), "int64", "count()", "x + 1", "NUMERIC_OVERFLOW", ("own: ", "exceeds int64")),
    ([-MOST - 1], pa.int64(), "int64", "count()", "-x", "NUMERIC_OVERFLOW", ("own: ",)),
    ([-MOST - 1], pa.int64(), "int64", "count()", "abs(x)", "NUMERIC_OVERFLOW", ("own: ",)),
    ([HUGE], pa.float64(), "float64", "count()", "x * 10", "NUMERIC_OVERFLOW", ("own: ", "inf")),
    ([Decimal("9999999999999999.99")], WIDE, "decimal(18,2)", "count()", "x * x", "NUMERIC_OVERFLOW", ("own: ", "18 digits")),
    ([Decimal(10)**20], WIDE, "decimal(18,2)", "count()", "x", "NUMERIC_OVERFLOW", ("transactions.parquet row 1", "decimal(18,2)")),
    ([2**63], pa.uint64(), "int64", "count()", "x", "NUMERIC_OVERFLOW", ("9223372036854775808", "int64")),
    ([40_000], pa.int64(), "int16", "count()", "x", "NUMERIC_OVERFLOW", ("40000", "int16")),
    ([2**53 + 1], pa.int64(), "float64", "count()", "x", "REPLAY_EVENT_INVALID", ("a double cannot hold",)),
    ([1.0, math.nan], pa.float64(), "float64", "count()", "x", "REPLAY_EVENT_INVALID", ("row 2", "NaN and infinities")),
    ([-math.inf], pa.float64(), "float64", "count()", "x", "REPLAY_EVENT_INVALID", ("-inf", "NaN and infinities")),
    ([Decimal("0.01")], WIDE, "decimal(18,1)", "count()", "x", "REPLAY_EVENT_INVALID", ("more than 1 decimals", "half_even")),
])
def test_what_does_not_fit_is_refused_by_name(values: list[Any], kind: pa.DataType, declared: str, call: str, computed: str, code: str,
                                              words: tuple[str, ...], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What exceeds its type ends with a code, the column or the file's row, and the number itself."""
    plane = make_plane(place / "p")
    hold(plane, values, kind, declared, call, computed)
    check_answer(ask(capsys, "preview", str(plane.intent_path)), 4, code, words)


@pytest.mark.parametrize("computed", ["x", "-x", "abs(x)", "x * -1", "x + x", "coalesce(x, 1)"])
def test_there_is_one_zero(computed: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A negative zero is read, added and computed as zero, so that equal values have equal bytes."""
    plane = make_plane(place / "p")
    hold(plane, [-0.0, -0.0], pa.float64(), "float64", "sum(x)", computed)
    assert run(["preview", str(plane.intent_path), "--json"]) == 0, capsys.readouterr().err
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert [math.copysign(1.0, row[name]) for name in ("own", "g__f_lifetime")] == [1.0, 1.0]
