"""What all tests share: servers that start when the first test needs them, one of each kind per test process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from postgres_server import Server
from s3_servers import ENVIRONMENT, Weed
from s3_servers import moto as moto_server

if TYPE_CHECKING:
    from kinesis_streams import Streams


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


@pytest.fixture(scope="session")
def kinesis_server() -> Iterator[Streams]:
    """A server of streams."""
    from kinesis_streams import Streams

    with Streams() as server:
        yield server


@pytest.fixture
def streams(kinesis_server: Streams, monkeypatch: pytest.MonkeyPatch) -> Iterator[Streams]:
    """The same without streams, and with credentials for it."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    yield kinesis_server
    kinesis_server.forget()
