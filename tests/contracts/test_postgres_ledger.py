"""The run ledger on PostgreSQL: the contract, held by the role that workers have, and what only a server can do wrong."""

import pytest
from postgres_server import APP

from offline_feature_plane.ledger.postgres.address import address_from
from offline_feature_plane.ledger.postgres.ledger import PostgresLedger
from offline_feature_plane.ledger.postgres.schema import rights
from offline_feature_plane.testing.asking import ManualClock
from offline_feature_plane.testing.ledger_contract import LedgerContract


class ServerClock(ManualClock):
    """The clock of a ledger's server, which moves only when it is advanced."""

    def __init__(self, postgres, schema):
        super().__init__()
        self._postgres, self._schema = postgres, schema

    def rule(self):
        """Take the place of the server's own clock."""
        self._postgres.sql("CREATE TABLE IF NOT EXISTS clock (us bigint)", "GRANT SELECT ON clock TO PUBLIC",
                           "DELETE FROM clock", f"INSERT INTO clock VALUES ({self.us})",
                           "CREATE OR REPLACE FUNCTION now_us() RETURNS bigint LANGUAGE sql VOLATILE RETURN (SELECT us FROM clock)",
                           schema=self._schema)

    def go_on(self, us):
        """Let `us` microseconds pass."""
        super().go_on(us)
        self._postgres.sql(f"UPDATE clock SET us = {self.us}", schema=self._schema)


@pytest.fixture
def schema(postgres):
    """The name of a ledger's schema that does not exist yet."""
    return postgres.new_schema()


@pytest.fixture
def clock(postgres, schema):
    """The server's clock, once `open_ledger` let it rule."""
    return ServerClock(postgres, schema)


@pytest.fixture
def open_ledger(postgres, schema):
    """Opens the ledger as the workers' role; the owner made it before."""
    def opened(clock=None, limits=None, **more):
        owner = PostgresLedger(address_from(postgres.url(schema)))
        if not postgres.sql("SELECT 1 FROM pg_namespace WHERE nspname = '" + schema + "'"):
            owner._connector.prepare()
            postgres.sql(rights(schema, APP), schema=schema)
            if clock:
                clock.rule()
        return PostgresLedger(address_from(postgres.url(schema, user=APP)), limits=limits, **more)
    return opened


class TestPostgresLedger(LedgerContract):
    @pytest.fixture
    def clock(self, postgres, schema):
        """The server's clock."""
        return ServerClock(postgres, schema)

    @pytest.fixture
    def make_ledger(self, open_ledger):
        """A ledger in a schema of its own."""
        return open_ledger
