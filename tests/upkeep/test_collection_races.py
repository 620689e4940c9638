"""Collections beside everything else: drawn interleavings, operation by operation, of runs, take-overs, cancelling, retiring, collecting.

    a   claim ── work ── stage ── vow ───────── put ── done
    a'               claims after the lease ── …            a is a zombie from here on
    b        claim ── work ────────────── vow ───── adopts, or loses
    ×              cancel a            retire, expire
    gc    list ── judge ── delete ── judge ── delete ──          at any time, two at once

The functions are the real ones. After each operation the store is looked at by an oracle that knows the laws, not the code (R5, R6).
"""

import random

import pytest
from interleaving import Actor
from true_manifests import PLACE, data_key, dataset_id, manifest_of

from offline_feature_plane.contracts.intent import Actor as Who
from offline_feature_plane.corridor import layout
from offline_feature_plane.corridor.authenticity import authenticate
from offline_feature_plane.corridor.collection import collect
from offline_feature_plane.corridor.facts import look
from offline_feature_plane.corridor.publish import find_published
from offline_feature_plane.corridor.retirement import retire
from offline_feature_plane.corridor.settlement import cancel, settle
from offline_feature_plane.domain.canonical import load_json, sha256_of
from offline_feature_plane.domain.runstates import TERMINAL
from offline_feature_plane.errors import DigestMismatch, OfsError, RefNotFound, StorageIoFailure, TargetDegenerate
from offline_feature_plane.ledger.sqlite import SqliteLedger
from offline_feature_plane.testing.faulty_store import MemoryStore
from offline_feature_plane.testing.ledger_contract import ManualClock

DM, LEASE_US = dataset_id("a"), 1_000_000


class Watched(MemoryStore):
    """A store that notices when something that stands for good goes or changes, and when something live is deleted."""

    def __init__(self):
        super().__init__()
        self.deleted = set()

    def delete(self, key):
        """Delete, if the oracle agrees that nobody can ever read it."""
        _, _, room, dm_id, run_key, name = key.split("/")
        assert (room, dm_id) == ("datasets", DM), key
        vow, manifest = self.vow(run_key), self.manifest()
        publisher = manifest and manifest["evidence"]["publisher"]["run_key"]
        buried = vow is not None and vow["outcome"] == "tombstone"
        overtaken = vow is not None and vow["outcome"] == "commit" and manifest is not None and publisher != run_key
        given_up = publisher == run_key and self.is_expired() and name.endswith(".parquet")
        assert buried or overtaken or given_up, (key, vow, publisher)
        self.deleted.add(key)
        super().delete(key)

    def vow(self, run_key):
        """A commit record's words."""
        data = self.objects.get(layout.commit_key(PLACE, run_key))
        return None if data is None else load_json(data)

    def manifest(self):
        """The visible manifest's words."""
        data = self.objects.get(layout.manifest_key(PLACE, DM))
        return None if data is None else load_json(data)

    def is_expired(self):
        """Were both facts stated?"""
        return {layout.retired_key(PLACE, DM), layout.expired_key(PLACE, DM)} <= self.objects.keys()

    def check(self, stood):
        """What stood still stands, and a visible manifest that was not given up has its bytes (R5); the same with what stands now."""
        for key, data in stood.items():
            assert self.objects.get(key) == data, key
        manifest = self.manifest()
        if manifest is not None and not self.is_expired():
            for part in manifest["evidence"]["parts"]:
                assert sha256_of(self.objects[part["key"]]) == part["sha256"]
        return {key: data for key, data in self.objects.items() if "/datasets/" not in key}


class Night:
    """One store, one ledger, one clock, and the actors of one interleaving."""

    def __init__(self, ledger, clock, number):
        self.store, self.ledger, self.clock, self.number = Watched(), ledger, clock, number
        self.rows, self.broken = {}, set()

    def ask(self, name, rows, *, breaks=False):
        """A run of the one meaning that will reach these rows, or break after it has staged them."""
        request_id = f"request-{self.number:06}-{name}"
        run = self.ledger.submit(request_id=request_id, payload_digest=sha256_of(request_id.encode()), platform_run_id=PLACE,
                                 payload={}).run
        self.rows[run.run_key] = rows
        self.broken |= {run.run_key} if breaks else set()
        return run.run_key

    def worker(self, run_key):
        """A worker that claims the run, if it can, and settles it."""
        def act(actor):
            self.serve(run_key, actor.through(self.store), actor.through(self.ledger))
        return act

    def serve(self, run_key, store, ledger):
        """Claim and settle."""
        rows = self.rows[run_key]
        run = ledger.claim(run_key, worker="w", lease_us=LEASE_US)

        def work():
            if (visible := find_published(store, PLACE, DM)) is not None:
                verify_bytes(store, visible)
                return visible
            key = data_key(run_key, rows)
            self.store.unfinished[key] = rows  # an upload in parts begins
            store.put_new(f"{layout.data_prefix(PLACE, DM, run_key)}/column-digests.json", b"{}")
            if self.store.unfinished.pop(key, None) is None:
                raise StorageIoFailure("the upload was given up", fix="")
            store.put_new(key, rows)
            if run_key in self.broken:
                raise TargetDegenerate("no positives")
            return manifest_of(run_key, rows, attempt=run.attempt)

        return settle(store, ledger, run, dm_id=DM, work=work, verify=lambda manifest: verify_bytes(store, manifest.data))

    def canceller(self, run_key):
        """Cancels the run, if it still can."""
        return lambda actor: cancel(actor.through(self.store), actor.through(self.ledger), run_key, reason="wrong")

    def retirer(self, actor):
        """Retires the dataset and gives up its data, once it is published."""
        store, key = actor.through(self.store), layout.manifest_key(PLACE, DM)
        raw = next((raw for _ in range(60) if (raw := look(store, key)) is not None), None)
        if raw is None:
            return
        retire(authenticate(raw, key, store), raw, store, self.clock, Who(name="tester", source="declared"), reason="wrong",
               expire_data=True)

    def collector(self, actor):
        """Collects, from whenever it is let on."""
        for _ in range(actor.patience):
            actor.wait()
        collect(actor.through(self.store), PLACE, lambda *_: None, apply=True)

    def live(self, actors, draw):
        """Let actors on in a drawn order, time passing now and then, until all are over; look at the store after each step."""
        stood = {}
        while alive := [actor for actor in actors if not actor.is_over]:
            if draw.random() < 0.02:
                self.clock.go_on(2 * LEASE_US)
            draw.choice(alive).step()
            stood = self.store.check(stood)
        return stood

    def finish(self):
        """Fresh workers bring every run to its end, whatever happened to it."""
        for run_key in self.rows:
            for _ in range(40):
                if self.ledger.run(run_key).state in TERMINAL:
                    break
                self.clock.go_on(400 * LEASE_US)
                try:
                    self.serve(run_key, self.store, self.ledger)
                except OfsError:
                    continue
            else:
                raise AssertionError(self.ledger.run(run_key))

    def check_ends(self):
        """One record per run, which ledger and manifest agree with; after a last collection only a dataset's own data is left."""
        manifest = self.store.manifest()
        publisher = manifest and manifest["evidence"]["publisher"]["run_key"]
        for run_key in self.rows:
            run, vow = self.ledger.run(run_key), self.store.vow(run_key)
            if run.state == "DONE":
                assert (vow["outcome"], run.result["core_digest"]) == ("commit", vow["core_digest"])
                assert run.result["manifest_digest"] == sha256_of(self.store.objects[layout.manifest_key(PLACE, DM)])
            else:
                assert publisher != run_key
                assert vow["outcome"] == "tombstone" or run.reason_code == "NONDETERMINISM_DETECTED"
        self.store.unfinished |= {data_key(run_key, b"zombie"): b"half" for run_key in self.rows if run_key != publisher}
        collect(self.store, PLACE, lambda *_: None, apply=True)
        left = {key for key in self.store.objects if "/datasets/" in key}
        assert {key.split("/")[4] for key in left} == ({publisher} if publisher else set())
        assert any(key.endswith(".parquet") for key in left) == (publisher is not None and not self.store.is_expired())
        assert self.store.unfinished == {}
        assert collect(self.store, PLACE, lambda *_: None, apply=False).items == ()


def verify_bytes(store, data):
    """Are the bytes of a manifest there?"""
    for part in load_json(data)["evidence"]["parts"]:
        try:
            found = sha256_of(store.get(part["key"]))
        except RefNotFound:
            found = "nothing"
        if found != part["sha256"]:
            raise DigestMismatch(f"{part['key']} holds {found}", fix="")


@pytest.fixture
def ledger_and_clock(tmp_path):
    """A ledger and its clock."""
    clock = ManualClock()
    return SqliteLedger(tmp_path / "runs.db", clock), clock


@pytest.mark.parametrize(("seed", "nights"), [(1, 50), pytest.param(2, 12_000, marks=pytest.mark.long)])
def test_nothing_live_is_ever_deleted_and_nothing_comes_back(ledger_and_clock, seed, nights):
    """Whatever happens at once: no byte that somebody may read is deleted, no fact is, every run ends, and what is garbage goes."""
    draw = random.Random(seed)
    deleted = expired = 0
    for number in range(nights):
        night = Night(*ledger_and_clock, number)
        first = night.ask("a", b"rows", breaks=draw.random() < 0.15)
        second = night.ask("b", draw.choice([b"rows", b"rows", b"other rows"]))
        acts = [night.worker(first), night.worker(first), night.worker(second), night.collector, night.collector]
        acts += [night.canceller(draw.choice([first, second]))] if draw.random() < 0.3 else []
        acts += [night.retirer] if draw.random() < 0.5 else []
        stood = night.live([Actor(act, patience=draw.randrange(40)) for act in acts], draw)
        night.finish()
        night.store.check(stood)
        night.check_ends()
        deleted, expired = deleted + len(night.store.deleted), expired + night.store.is_expired()
    assert deleted > 2 * nights
    assert expired > nights // 10
