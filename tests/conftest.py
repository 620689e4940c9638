"""What all tests share: servers that start when the first test needs them, one of each kind per test process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from postgres_server import Server
from s3_servers import Weed
from s3_servers import moto as moto_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server."""
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def weed() -> Iterator[Weed]:
    """A SeaweedFS server."""
    server = Weed()
    yield server
    server.close()


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The endpoint of a moto server."""
    with moto_server() as url:
        yield url
