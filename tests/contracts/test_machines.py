"""Stores and ledgers in any order of operations: Hypothesis draws them, a dictionary knows what must be there."""

import shutil
import tempfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from postgres_server import APP
from s3_servers import open_store, place_at
from test_postgres_ledger import ServerClock

from offline_feature_plane.ledger.postgres.ledger import PostgresLedger
from offline_feature_plane.ledger.sqlite import SqliteLedger
from offline_feature_plane.objects.local import LocalStore
from offline_feature_plane.postgres.address import address_from
from offline_feature_plane.testing.ledger_machine import LedgerMachine
from offline_feature_plane.testing.store_machine import StoreMachine


class Place:
    """A folder for each life of a machine."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ofs-machine-"))
        super().__init__()

    def teardown(self):
        """The folder goes with its machine."""
        super().teardown()
        shutil.rmtree(self.folder)


class SqliteMachine(Place, LedgerMachine):
    def open(self):
        """A ledger in a file."""
        return SqliteLedger(self.folder / "ledger" / "runs.db", self.clock, limits=self.limits)


class LocalMachine(Place, StoreMachine):
    def open(self):
        """A store in a folder."""
        return LocalStore(self.folder / "stores" / "one")


class BucketMachine(StoreMachine):
    def __init__(self, weed):
        self._place = place_at(weed.url)
        super().__init__()

    def open(self):
        """A store in a bucket."""
        return open_store(self._place)


class PostgresMachine(LedgerMachine):
    def __init__(self, postgres):
        self._postgres, self._schema = postgres, postgres.new_schema()
        super().__init__()

    def open(self):
        """A ledger in a schema, as its workers see it; the server's clock is the machine's."""
        if not isinstance(self.clock, ServerClock):
            self._postgres.new_ledger(self._schema)
            self.clock = ServerClock(self._postgres, self._schema)
        return PostgresLedger(address_from(self._postgres.url(self._schema, user=APP)), limits=self.limits)


def run(machine, examples, steps):
    """Let a machine run."""
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None))


@pytest.mark.parametrize(("examples", "steps"), [(12, 30), pytest.param(2_000, 60, marks=pytest.mark.long)])
@pytest.mark.parametrize("machine", [LocalMachine, SqliteMachine])
def test_it_is_what_a_dictionary_would_be(machine, examples, steps):
    """Whatever is asked in whatever order, of whichever opening, at whatever time: the answer is the one that a dictionary gives."""
    run(machine, examples, steps)


@pytest.mark.parametrize(("examples", "steps"), [(4, 25), pytest.param(300, 60, marks=pytest.mark.long)])
def test_a_ledger_on_a_server_is_what_a_dictionary_would_be(postgres, examples, steps):
    """The same on PostgreSQL, by the role that workers have."""
    run(partial(PostgresMachine, postgres), examples, steps)


@pytest.mark.parametrize(("examples", "steps"), [(4, 20), pytest.param(100, 50, marks=pytest.mark.long)])
def test_a_store_on_a_server_is_what_a_dictionary_would_be(weed, examples, steps):
    """The same in a bucket of SeaweedFS."""
    run(partial(BucketMachine, weed), examples, steps)
