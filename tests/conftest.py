"""What all tests share: temporary files in memory, and servers that start when a test needs them, one of each kind per process."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from postgres_server import Server
from s3_servers import ENVIRONMENT, Weed
from s3_servers import moto as moto_server

if TYPE_CHECKING:
    from kinesis_streams import Streams


def _in_memory() -> None:
    """Let temporary files be in memory where there is room for them: to sync tens of thousands of small files would test the disk."""
    memory = Path("/dev/shm")  # noqa: S108 - whoever makes files there gives them unguessable names
    if "TMPDIR" not in os.environ and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4_000_000_000:
        os.environ["TMPDIR"] = tempfile.tempdir = str(memory)


_in_memory()

# What is drawn says nothing about time: on a machine that does other work too, drawing may be slow.
settings.register_profile("ofs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ofs")


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what tests of a process share."""
    return tmp_path_factory.mktemp("session")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of its own for each test."""
    made = tmp_path / "place"
    made.mkdir()
    return made


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
