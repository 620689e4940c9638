"""Tests of security build the small plane of the acceptance tests, in a folder that syncs fast."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))



@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of its own for each test."""
    made = tmp_path / "place"
    made.mkdir()
    return made
