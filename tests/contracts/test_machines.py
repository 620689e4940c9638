"""The store and the ledger in any order of operations: Hypothesis draws them, a dictionary knows what must be there."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from offline_feature_plane.ledger.sqlite import SqliteLedger
from offline_feature_plane.objects.local import LocalStore
from offline_feature_plane.testing.ledger_machine import LedgerMachine
from offline_feature_plane.testing.store_machine import StoreMachine

MEMORY = Path("/dev/shm")  # noqa: S108 - folders of unguessable names are made in it
FEW = settings(max_examples=25, stateful_step_count=30, deadline=None)
MANY = settings(max_examples=2_000, stateful_step_count=60, deadline=None)


class Places:
    """A folder for each life of a machine; in memory, where there is one, for these tests are about order."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ofs-machine-", dir=MEMORY if MEMORY.is_dir() else None))
        super().__init__()

    def teardown(self):
        """The folder goes with its machine."""
        super().teardown()
        shutil.rmtree(self.folder)


class SqliteMachine(Places, LedgerMachine):
    def open(self):
        """A ledger in a file."""
        return SqliteLedger(self.folder / "ledger" / "runs.db", self.clock, limits=self.limits)


class LocalMachine(Places, StoreMachine):
    def open(self):
        """A store in a folder."""
        return LocalStore(self.folder / "stores" / "one")


class TestSqliteLedger(SqliteMachine.TestCase):
    settings = FEW


class TestLocalStore(LocalMachine.TestCase):
    settings = FEW


@pytest.mark.long
class TestSqliteLedgerLong(SqliteMachine.TestCase):
    settings = MANY


@pytest.mark.long
class TestLocalStoreLong(LocalMachine.TestCase):
    settings = MANY
