"""The door for aggregations: one domain class and one reducer, and everything else works."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_plane import EVENTS, SmallPlane, make_plane, transactions

import offline_feature_plane as ofs
from offline_feature_plane.domain import aggregations
from offline_feature_plane.domain.aggregations import NO_EVIDENCE, AggregationKind, Result, WindowContents
from offline_feature_plane.domain.columns import MAX_DECIMAL_DIGITS, ColumnType
from offline_feature_plane.errors import AggregationUnsupported
from offline_feature_plane.kernels import catalog
from offline_feature_plane.kernels.reducing import Answer, FeatureRequest, Inputs, Reducer

AMOUNTS = [None if place % 3 == 0 else Decimal(place * place * 7_919 % 100_000) / 100 for place in range(EVENTS)]


class Spread(AggregationKind):
    """`spread(x)` is the largest non-null value less the smallest; called approximate here, so that the flag is seen to arrive."""

    name, version, numeric_class, is_arithmetic = "spread", "v2", "approximate", True
    algebra = "The larger and the smaller of two; not subtractable."

    def output(self, argument: ColumnType | None) -> ColumnType:
        """A wide decimal of the same scale."""
        if argument is None or argument.kind != "decimal":
            raise AggregationUnsupported(f"spread over {argument} is not defined.", fix="It takes decimals.")
        return ColumnType("decimal", MAX_DECIMAL_DIGITS, argument.scale)

    def meaning(self, window: WindowContents) -> Result:
        """Greatest − least."""
        return max(window.values) - min(window.values) if window.values else NO_EVIDENCE


class SpreadReducer(Reducer[None]):
    """Looks at every slot of every window."""

    needs_numbers = True

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: None, line: int) -> Answer:
        """Greatest − least of the marked slots."""
        values, marks, window = inputs.argument.values, inputs.argument.marks, feature.window

        def read(rows: Any, out: Any, valid: Any) -> None:
            for row, (low, high) in enumerate(zip(rows.lo[window, :rows.n], rows.hi, strict=True)):
                held = values[low:high][marks[low:high]] if marks.size else values[low:high]
                valid[row] = held.size > 0
                out[row] = np.ptp(held) if held.size else 0
        return read


@pytest.fixture
def meant() -> Iterator[None]:
    """`spread` has a meaning."""
    aggregations.register(Spread)
    yield
    aggregations.unregister("spread")


@pytest.fixture
def reduced(meant: None) -> Iterator[None]:
    """`spread` has a meaning and a reducer."""
    catalog.register("spread", SpreadReducer)
    yield
    catalog.unregister("spread")


def plane_of(folder: Path, engine: str) -> SmallPlane:
    """A small plane that asks for spreads, some amounts being null."""
    made = make_plane(folder)
    made.plane["engine"] = {"name": engine, "threads": 1}
    made.profile["fields"]["amount"] = {"type": "decimal(12,2)", "missing": None}
    made.profile["groups"]["customer"]["features"] = {
        "n": "count()", "spread": "spread(amount)", "spread0": {"agg": "spread(amount)", "empty": "-1"}}
    made.profile["derived"] = {"twice": "customer.spread_7d * 2", "more": "customer.n_7d + 1"}
    made.events({**transactions(), "amount": AMOUNTS})
    made.documents()
    return made


@pytest.mark.usefixtures("reduced")
def test_one_class_and_one_reducer_are_enough(tmp_path: Path) -> None:
    """A toy aggregation is typed, planned, built on both engines with equal bytes, and recorded with its version and numeric class."""
    told = {}
    for engine in ("local", "oracle"):
        folder = plane_of(tmp_path / engine, engine).folder
        with ofs.open(folder / "plane.yaml") as plane:
            built = plane.build(folder / "intent.yaml")
            core = built.manifest.core
            told[engine] = (core.content_digest, core.closure_digest, core.closure, core.registered)
            rows = plane.dataset(built.manifest.dataset_manifest_id).to_arrow(decimals="exact").to_pylist()
            flags = {column.name: column.numeric_class for column in core.columns}
    assert told["local"] == told["oracle"]
    assert "aggregation:spread@v2" in core.registered
    rough = {f"customer__{name}_{window}" for name in ("spread", "spread0") for window in ("1d", "7d")} | {"twice"}
    assert {name for name, flag in flags.items() if flag == "approximate"} == rough
    assert {(one["aggregation"].get("version"), one.get("numeric_class")) for one in core.closure["groups"][0]["features"]} == {
        (None, None), ("v2", "approximate")}
    assert {row["customer__spread_1d"] for row in rows} == {None}  # a customer pays every 42 hours
    assert {row["customer__spread0_1d"] for row in rows} == {-1}
    by_hand = judge()
    assert {row["event_id"]: row["customer__spread_7d"] for row in rows} == {row["event_id"]: by_hand[row["event_id"]] for row in rows}
    assert len(set(by_hand.values())) > 10


def judge() -> dict[int, Any]:
    """The spread over 7 days before every payment, from the columns as they were written."""
    columns = transactions()
    found: dict[int, Any] = {}
    for place, (at, who) in enumerate(zip(columns["tx_time"], columns["customer_id"], strict=True)):
        held = [AMOUNTS[one] for one in range(place) if columns["customer_id"][one] == who and AMOUNTS[one] is not None
                and (at - columns["tx_time"][one]).total_seconds() < 7 * 86_400]
        found[columns["tx_id"][place]] = max(held) - min(held) if held else None
    return found


@pytest.mark.usefixtures("meant")
def test_an_engine_without_it_is_not_replaced(tmp_path: Path) -> None:
    """What has a meaning but no reducer is refused while planning, at the feature's line; the oracle needs no reducer."""
    folder = plane_of(tmp_path / "local", "local").folder
    with ofs.open(folder / "plane.yaml") as plane, pytest.raises(AggregationUnsupported, match="does not compute spread") as caught:
        plane.plan(folder / "intent.yaml")
    assert [problem.path.rpartition(" ")[2] for problem in caught.value.problems] == [
        "$.groups.customer.features.spread", "$.groups.customer.features.spread0"]
    assert all("features.yaml:" in problem.path for problem in caught.value.problems)
    folder = plane_of(tmp_path / "oracle", "oracle").folder
    with ofs.open(folder / "plane.yaml") as plane:
        assert "aggregation:spread@v2" in plane.plan(folder / "intent.yaml").registered


def test_planning_loads_no_compiler(tmp_path: Path) -> None:
    """Asking the local engine what it supports costs nothing: the kernels load when there is something to compute."""
    folder = make_plane(tmp_path).folder
    code = ("import sys, offline_feature_plane as ofs; ofs.open('plane.yaml').plan('intent.yaml'); "
            "print(*{'numba', 'offline_feature_plane.kernels.grouprun'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_what_is_taken_back_is_gone(tmp_path: Path) -> None:
    """Without its registrations the name means nothing."""
    folder = plane_of(tmp_path, "oracle").folder
    with ofs.open(folder / "plane.yaml") as plane, pytest.raises(AggregationUnsupported, match="there is no aggregation 'spread'"):
        plane.plan(folder / "intent.yaml")
    assert "spread" not in json.dumps([*aggregations.registered(), *catalog.names()])
