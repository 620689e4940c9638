"""What all tests share: servers that start when the first test needs them, one of each kind per test process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from postgres_server import Server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server."""
    server = Server()
    yield server
    server.close()
