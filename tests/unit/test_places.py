"""Columns of numbers, in memory and in files: what was put in comes out, however much it was said to become."""

import numpy as np
import pytest

from offline_feature_plane.engines.local.history.places import Folder, Memory


@pytest.mark.parametrize("most", [0, 3, 7, 10, 1_000])
@pytest.mark.parametrize("parts", [(10,), (3, 7), (3, 3, 3, 1), (1,) * 10])
@pytest.mark.parametrize("is_folder", [False, True])
def test_a_column_takes_more_than_it_was_said_to_have(tmp_path, most, parts, is_folder):
    """How much a log holds is a bound that its holder promises; one that is broken costs a copy, and no value."""
    column = (Folder(tmp_path) if is_folder else Memory()).numbers("n", np.int64, most)
    start = 0
    for size in parts:
        column.append(np.arange(start, start + size))
        start += size
    assert (column.n, column.read(0, 10).tolist()) == (10, list(range(10)))
    assert column.read(4, 6).tolist() == [4, 5]
