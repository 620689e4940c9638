"""Workers that are paused before any of their operations, taken over meanwhile, and let go on: what is stale has no effect (R3).

    a   claim ─ … ─ paused ─ ─ ─ ─ ─ ─ ─ ─ wakes ─ … ─▶ FENCED
    b              claim ─ … ─ paused ─ ─ ─ ─ ─ ─ ─ wakes ─ … ─▶ FENCED
    c                            claim ─ … ─────────────▶ DONE

Who is stale changes no row and no history. A commit record may still be written by one that was paused between its word to the ledger and
the record; the word was given while it was alive, and the run keeps it.
"""

import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from puppets import Puppet
from test_publish import DM, LEASE_US, PLACE, manifest_of, part_key
from test_publish import World as Place

from offline_feature_plane.corridor import layout
from offline_feature_plane.corridor import publish as protocol
from offline_feature_plane.corridor.settlement import FAILING, VOWING, settle
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.domain.runstates import TERMINAL
from offline_feature_plane.errors import DigestMismatch, TargetDegenerate
from offline_feature_plane.testing.faulty_store import MemoryStore

READING = {"store.get", "store.exists", "store.digest", "ledger.head"}


def every_operation(name, _args):
    """A worker stops before each of its operations."""
    return name


class Zombie:
    """A worker of one attempt, and what becomes of its work: rows, other rows, or an error."""

    def __init__(self, place, run, fate):
        self.place, self.run, self.fate = place, run, fate
        self.puppet = Puppet(every_operation)
        self.store, self.ledger = self.puppet.behind(place.store, "store"), self.puppet.behind(place.ledger, "ledger")
        self.puppet.start(lambda: settle(self.store, self.ledger, run, dm_id=DM, work=self.work, verify=self.verify))

    def work(self):
        """Stage the rows; or find the dataset; or break."""
        if self.fate == "breaks":
            raise TargetDegenerate("the work broke on purpose.", fix="")
        if (visible := protocol.find_published(self.store, PLACE, DM)) is not None:
            return visible
        self.store.put_new(part_key(self.run.run_key, sha256_of(self.fate.encode())), self.fate.encode())
        return manifest_of(self.run.run_key, self.fate, self.run.attempt)

    def verify(self, manifest):
        """All rows are there."""
        digest = manifest.document["core"]["rows"]
        if sha256_of(self.store.get(part_key(manifest.publisher, digest))) != digest:
            raise DigestMismatch("the part is damaged.", fix="")

    @property
    def is_stale(self):
        """Is the run another attempt's, or nobody's?"""
        run = self.place.ledger.run(self.run.run_key)
        return (run.state, run.attempt) != ("RUNNING", self.run.attempt)

    def step(self, found):
        """Do one operation; what a stale worker writes is looked at."""
        doing = self.puppet.at
        if doing in READING or not self.is_stale:
            self.puppet.go()
            return
        before, objects = self.recorded(), set(self.place.store.objects)
        self.puppet.go()
        found[doing] += 1
        assert self.recorded() == before
        for key in set(self.place.store.objects) - objects:
            self.check_word(key)

    def recorded(self):
        """All that the ledger knows of the run."""
        return self.place.ledger.run(self.run.run_key), self.place.ledger.head(self.run.run_key)

    def check_word(self, key):
        """What a stale worker left in the store is its own data, or follows from a word that it gave while it was alive."""
        run_key = self.run.run_key
        if key == layout.commit_key(PLACE, run_key):
            vow = protocol.read_vow(self.place.store, PLACE, run_key)
            word = VOWING if vow.outcome == "commit" else FAILING
            assert any((event.kind, event.attempt) == (word, self.run.attempt) for event in self.place.ledger.events(run_key))
        elif key == layout.manifest_key(PLACE, DM):
            assert self.place.visible().core_digest == protocol.read_vow(self.place.store, PLACE, run_key).core_digest
        else:
            harmless = {layout.by_id_key(DM), layout.plan_key(PLACE, run_key)}  # whoever writes them writes the same
            assert key in harmless or key.startswith(layout.data_prefix(PLACE, DM, run_key))


def haunt(place, name, draw, found):
    """One schedule: attempts of two runs of one meaning, each paused and woken at random until all have ended; then both runs end."""
    place.store = MemoryStore()
    keys = [place.ask(f"request-{name}-{number}").run_key for number in range(2)]
    claims, alive = [draw.choice(keys) for _ in range(draw.randint(2, 5))], []
    while claims or alive:
        if claims and (not alive or draw.random() < 0.2):
            place.clock.go_on(2 * LEASE_US)
            if place.ledger.run(run_key := claims.pop()).state not in TERMINAL:
                run = place.ledger.claim(run_key, worker="w", lease_us=LEASE_US)
                alive.append(Zombie(place, run, draw.choice(["rows", "rows", "rows", "other rows", "breaks"])))
            continue
        one = draw.choice(alive)
        for _ in range(draw.randint(1, 12)):
            if one.puppet.at is not None:
                one.step(found)
        alive = [zombie for zombie in alive if zombie.puppet.at is not None]
    for run_key in keys:
        place.serve_until_it_ends(run_key)
    place.check(*keys)


@pytest.mark.parametrize("schedules", [50, pytest.param(10_000, marks=pytest.mark.long)])
def test_a_stale_attempt_has_no_effect(schedules):
    """Whatever the schedule: no row and no history is changed by a stale attempt, and every run ends as it should (R3, R4)."""
    found = Counter()
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        for number in range(schedules):
            try:
                haunt(place, f"{number:06}", random.Random(number), found)
            except BaseException as wrong:
                wrong.add_note(f"schedule {number}")
                raise
    assert found["store.put_new"] > schedules / 4
    assert sum(found.values()) > schedules / 2
