"""Folders for planes that tests build."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of its own for each test."""
    made = tmp_path / "place"
    made.mkdir()
    return made
