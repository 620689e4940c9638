"""Tests of security build the small plane of the acceptance tests, in a folder that syncs fast."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from small_plane import quick_folder


@pytest.fixture
def place(quick: Path) -> Path:
    """A folder of its own for each test."""
    return Path(tempfile.mkdtemp(dir=quick))


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that syncs fast."""
    with quick_folder(tmp_path_factory.mktemp("quick")) as folder:
        yield folder
