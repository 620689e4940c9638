"""Tests of keeping a store in order build the small plane of the acceptance tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from small_plane import make_plane, quick_folder


@pytest.fixture
def plane(tmp_path):
    """The small plane, in memory if the machine offers that."""
    with quick_folder(tmp_path) as folder:
        yield make_plane(folder / "p")
