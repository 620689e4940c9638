"""What the crash tests share: a server of processes that die, and folders that sync fast."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))  # the small plane lives there

from origin import Origin, make_origin
from processes import Processes


def pytest_itemcollected(item: pytest.Item) -> None:
    """All of them are crash tests."""
    item.add_marker(pytest.mark.crash)


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    """The server."""
    found = Processes()
    yield found
    found.close()


@pytest.fixture(scope="session")
def origin(session_folder: Path, processes: Processes) -> Origin:
    """A plane to copy, and what becomes of it undisturbed."""
    return make_origin(session_folder, processes)


