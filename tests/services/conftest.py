"""What runs beside real servers of other makers: `make test-services`. A server that cannot start is a failure, not a reason to skip."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kafka_broker import Broker
from kinesis_server import Kinesis


def pytest_itemcollected(item: pytest.Item) -> None:
    """Everything here is chosen by `-m services` only."""
    item.add_marker(pytest.mark.services)


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A Kafka broker, started once."""
    server = Broker()
    yield server
    server.close()


@pytest.fixture(scope="session")
def kinesis() -> Iterator[Kinesis]:
    """A server of streams, started once."""
    server = Kinesis()
    yield server
    server.close()
