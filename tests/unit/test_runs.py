"""Sorted runs are merged in the total order, and no more of them are open than share an instant."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from offline_feature_plane.engines.local.columns import Loaded
from offline_feature_plane.engines.local.history.merging import merged
from offline_feature_plane.engines.local.history.places import Folder
from offline_feature_plane.engines.local.history.runs import write_run


def made(tmp_path, spans):
    """A run of each span of instants, whose rows are called by run and instant."""
    runs = []
    for number, (start, stop) in enumerate(spans):
        ts = np.arange(start, stop, dtype=np.int64)
        piece = Loaded("t", 0, ts, pa.chunked_array([[f"{number}-{one}" for one in ts.tolist()]], pa.string()),
                       np.zeros(len(ts), np.int32), ts * 10 + number, {}, None, ts)
        (tmp_path / str(number)).mkdir()
        runs.append(write_run(Folder(tmp_path / str(number)), piece, {}))
    return runs


@pytest.mark.parametrize(("spans", "most"), [
    ([(0, 5), (5, 9), (9, 14)], 1),
    ([(0, 5), (4, 9), (8, 14)], 2),
    ([(8, 14), (0, 5), (4, 9)], 2),
    ([(0, 14), (2, 4), (5, 7), (6, 9)], 3),
    ([(3, 9), (3, 9), (3, 9)], 3),
    ([(4, 4), (0, 3)], 1)])
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_a_run_is_opened_when_it_is_its_turn(tmp_path, spans, most, rows):
    """Whatever runs there are, their rows come in the order of instants, and at hand are those of runs that share an instant at most.

    run 0   ──●─●─●─▶                 open: one, then two, then one, then two …
    run 1          ──●─●─●─▶
    run 2                 ──●─●─●─▶
    """
    runs, asked, opened = made(tmp_path, spans), [], []

    def at_hand(count):
        asked.append(count)
        return rows
    for pieces in merged(runs, [{} for _ in runs], at_hand):
        ts = pieces.joined([one.ts for one in pieces.loaded])
        offset = pieces.joined([one.offset for one in pieces.loaded])
        opened += list(zip(ts.tolist(), offset.tolist(), strict=True))
        assert len(pieces.loaded) <= most
    assert asked == [most]
    assert opened == sorted((ts, ts * 10 + number) for number, (start, stop) in enumerate(spans) for ts in range(start, stop))
