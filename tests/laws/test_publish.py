"""The publication protocol on the real ledger: every fault at every operation, every pause, and what each step does alone."""

import itertools
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from offline_feature_plane.contracts.facts import DatasetPointer, Vow
from offline_feature_plane.corridor import layout
from offline_feature_plane.corridor import publish as protocol
from offline_feature_plane.corridor.facts import parse_fact
from offline_feature_plane.corridor.settlement import cancel, settle
from offline_feature_plane.domain.canonical import canonical_bytes, sha256_of
from offline_feature_plane.domain.runstates import TERMINAL, Limits
from offline_feature_plane.errors import (
    DatasetRetired,
    DigestMismatch,
    Fenced,
    LedgerUnavailable,
    ManifestImmutabilityViolation,
    ManifestInvalid,
    NondeterminismDetected,
    OfsError,
    PublicationStalled,
    PublicationVowed,
    PublishRetryExhausted,
    RefNotFound,
    RunAttemptsExhausted,
    RunEnded,
    StorageIoFailure,
    TargetDegenerate,
)
from offline_feature_plane.ledger.sqlite import SqliteLedger
from offline_feature_plane.testing.asking import ManualClock
from offline_feature_plane.testing.faulty_store import Crashed, Faulty, Fuse, MemoryStore

DM, PLACE, LEASE_US = "dm_" + "a" * 32, "cards", 1_000_000
HOWS = ("fail before", "fail after", "crash before", "crash after")


@pytest.fixture
def world(tmp_path):
    """An empty world."""
    folder = tmp_path / "world"
    folder.mkdir()
    return World(folder)


class World:
    """One store, one ledger, one clock; requests of one meaning and the workers that serve them."""

    def __init__(self, folder, limits=None):
        self.clock, self.store = ManualClock(), MemoryStore()
        self.ledger = SqliteLedger(folder / "runs.db", self.clock, limits=limits)
        self.worked = []

    def ask(self, request_id="request-0001"):
        """A request of the one meaning; its run."""
        digest = sha256_of(request_id.encode())
        return self.ledger.submit(request_id=request_id, payload_digest=digest, platform_run_id=PLACE, payload={}).run

    def serve(self, run_key, *, rows="rows", fuse=None, broken=None):
        """One worker: claim, settle. With a fuse every call it makes passes through that."""
        store = Faulty(self.store, fuse, StorageIoFailure) if fuse else self.store
        ledger = Faulty(self.ledger, fuse, LedgerUnavailable) if fuse else self.ledger
        run = ledger.claim(run_key, worker="w", lease_us=LEASE_US)

        def work():
            if broken:
                raise broken
            visible = protocol.find_published(store, PLACE, DM)
            if visible is not None:
                return visible
            self.worked.append(run.attempt)
            store.put_new(part_key(run_key, sha256_of(rows.encode())), rows.encode())
            return manifest_of(run_key, rows, run.attempt)

        def verify(manifest):
            expected = manifest.document["core"]["rows"]
            if sha256_of(store.get(part_key(run_key, expected))) != expected:
                raise DigestMismatch("the part is damaged", fix="")

        return settle(store, ledger, run, dm_id=DM, work=work, verify=verify)

    def serve_until_it_ends(self, run_key, **how):
        """Fresh workers, each after the lease of the one before, until the run is terminal."""
        for _ in range(12):
            run = self.ledger.run(run_key)
            if run.state in TERMINAL:
                return run
            self.clock.go_on(2 * LEASE_US)
            try:
                self.serve(run_key, **how)
            except OfsError:
                continue
        raise AssertionError(self.ledger.run(run_key))

    def vow(self, run):
        """The commit record of a run."""
        return protocol.read_vow(self.store, run.platform_run_id, run.run_key)

    def visible(self):
        """The visible manifest."""
        data = self.store.objects.get(layout.manifest_key(PLACE, DM))
        return None if data is None else protocol.read_manifest(data)

    def check(self, *run_keys):
        """One commit record per ended run; ledger, vow and manifest agree; a visible manifest has its bytes and its pointer."""
        visible = self.visible()
        for run in map(self.ledger.run, run_keys):
            assert run.state in TERMINAL
            self.ledger.events(run.run_key)
            vow = self.vow(run)
            if run.state == "DONE":
                assert (vow.outcome, vow.core_digest) == ("commit", visible.core_digest)
                assert (run.result["core_digest"], run.result["manifest_digest"]) == (visible.core_digest, visible.digest)
                assert (run.result["outcome"] == "PUBLISHED") == (visible.publisher == run.run_key)
            else:
                assert vow.outcome == "tombstone" or visible.core_digest != vow.core_digest
                assert visible is None or visible.publisher != run.run_key
        if visible is not None:
            expected = visible.document["core"]["rows"]
            assert sha256_of(self.store.get(part_key(visible.publisher, expected))) == expected
            pointer = parse_fact(DatasetPointer, self.store.get(layout.by_id_key(DM)), "pointer")
            assert pointer == DatasetPointer(platform_run_id=PLACE, manifest_key=layout.manifest_key(PLACE, DM),
                                             manifest_digest=visible.digest)


def part_key(run_key, digest):
    """Where a run stages a part."""
    return f"{layout.data_prefix(PLACE, DM, run_key)}/{digest[7:]}.parquet"


def manifest_of(run_key, rows="rows", attempt=1, dm_id=DM):
    """The bytes of a small manifest."""
    return canonical_bytes({"dataset_manifest_id": dm_id, "core": {"rows": sha256_of(rows.encode())},
                            "evidence": {"publisher": {"run_key": run_key}, "attempt": attempt}})


def operations(folder, **how):
    """How many operations an undisturbed worker makes."""
    fuse = Fuse(10_000, "fail before")
    world = World(folder)
    with suppress(OfsError):
        world.serve(world.ask().run_key, fuse=fuse, **how)
    return fuse.passed


def disturbed(world, run_key, fuse, **how):
    """A worker with a fault; whatever becomes of it."""
    try:
        world.serve(run_key, fuse=fuse, **how)
    except (OfsError, Crashed):
        return


# --- every fault --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [None, TargetDegenerate("the split has no positives")])
def test_any_single_fault_anywhere_ends_well(tmp_path, world, broken):
    """A failure, lost reply or crash at any operation on store or ledger: a fresh worker ends the run, and nothing is lost or double."""
    count = operations(tmp_path, broken=broken)
    assert count >= (12 if broken is None else 6)
    store = world.store
    for number, (at, how) in enumerate(itertools.product(range(count), HOWS)):
        world.store = store = MemoryStore()
        run_key, fuse = world.ask(f"request-{number:04}").run_key, Fuse(at, how)
        disturbed(world, run_key, fuse, broken=broken)
        assert fuse.blown
        run = world.serve_until_it_ends(run_key, broken=broken)
        assert run.state == ("DONE" if broken is None else "FAILED")
        assert len(list(store.list(f"{PLACE}/ofs/commits"))) == 1
        world.check(run_key)


@pytest.mark.parametrize("step", [57, pytest.param(1, marks=pytest.mark.long)])
def test_any_two_faults_anywhere_end_well(tmp_path, world, step):
    """A second fault in the worker that takes over changes nothing about the end."""
    count = operations(tmp_path)
    pairs = list(itertools.product(range(count), HOWS, range(count), HOWS))
    for number, (at, how, again, how_again) in enumerate(pairs[::step]):
        world.store = MemoryStore()
        run_key = world.ask(f"request-{number:05}").run_key
        disturbed(world, run_key, Fuse(at, how))
        if world.ledger.run(run_key).state not in TERMINAL:
            world.clock.go_on(2 * LEASE_US)
            disturbed(world, run_key, Fuse(again, how_again))
        assert world.serve_until_it_ends(run_key).state == "DONE"
        world.check(run_key)


@pytest.mark.parametrize("other", ["taker-over", "other run"])
@pytest.mark.parametrize("rows", ["rows", "other rows"])
@pytest.mark.parametrize("broken", [None, TargetDegenerate("the split has no positives")])
def test_a_paused_worker_is_harmless_when_it_wakes(tmp_path, world, other, rows, broken):
    """A zombie: paused before any operation while another worker goes all the way, it changes no end.

        a ──── paused ─────────────────── wakes ── fenced
                 b claims ───── ends

    The same holds for a worker of another run of the meaning, with equal or with other rows.
    """
    for at in range(1, operations(tmp_path, broken=broken)):
        world.store = MemoryStore()
        mine, theirs = (world.ask(f"request-{name}-{at:03}").run_key for name in ("mine", "theirs"))
        acting = mine if other == "taker-over" else theirs

        def meanwhile(acting=acting):
            world.clock.go_on(2 * LEASE_US)
            try:
                world.serve(acting, rows=rows)
            except (NondeterminismDetected, PublicationStalled, RunEnded, TargetDegenerate):
                return

        disturbed(world, mine, Fuse(at, meanwhile), broken=broken)
        for run_key in (mine, theirs):
            world.serve_until_it_ends(run_key, rows=rows if run_key == acting else "rows")
        world.check(mine, theirs)


def test_a_worker_that_wakes_beside_a_live_one_records_nothing(tmp_path, world):
    """A zombie writes nothing into the ledger while the newer attempt still works.

        a ──── paused ──── wakes ── fenced
                 b claims ─────────────────── still RUNNING

    Whatever it put into the store is what the run would have put there.
    """
    for at in range(1, operations(tmp_path)):
        world.store = MemoryStore()
        run_key = world.ask(f"request-{at:03}").run_key

        def meanwhile(run_key=run_key):
            world.clock.go_on(2 * LEASE_US)
            world.ledger.claim(run_key, worker="b", lease_us=LEASE_US)

        with pytest.raises(Fenced):
            world.serve(run_key, fuse=Fuse(at, meanwhile))
        run = world.ledger.run(run_key)
        assert (run.state, run.attempt, run.worker) == ("RUNNING", 2, "b")
        world.serve_until_it_ends(run_key)
        world.check(run_key)


def test_a_stale_worker_that_fails_buries_nothing(world):
    """Only the living attempt may occupy the commit record: one that was taken over and then meets an error leaves the run alone (R3).

    a ──── paused ─────────────── wakes ── its files are others by now ──▶ FENCED, no tombstone
             b claims ── works ── vows ──▶ DONE
    """
    run_key = world.ask().run_key
    taken = []

    def late(_run):
        world.clock.go_on(2 * LEASE_US)
        taken.append(world.ledger.claim(run_key, worker="b", lease_us=LEASE_US))
        raise TargetDegenerate("what b does not see")

    run = world.ledger.claim(run_key, worker="a", lease_us=LEASE_US)
    with pytest.raises(Fenced):
        settle(world.store, world.ledger, run, dm_id=DM, work=lambda: late(run), verify=lambda _: None)
    assert world.vow(run) is None
    assert world.ledger.run(run_key).attempt == taken[0].attempt == 2
    world.serve_until_it_ends(run_key)
    assert world.ledger.run(run_key).state == "DONE"
    world.check(run_key)


def test_a_stale_worker_vows_nothing(world):
    """An attempt that was taken over while it worked is fenced before the vow; what it staged may serve the next one."""
    run_key = world.ask().run_key
    run = world.ledger.claim(run_key, worker="a", lease_us=LEASE_US)

    def work():
        world.store.put_new(part_key(run_key, sha256_of(b"rows")), b"rows")
        return manifest_of(run_key, "rows", run.attempt)

    def verify(_manifest):
        world.clock.go_on(2 * LEASE_US)
        world.ledger.claim(run_key, worker="b", lease_us=LEASE_US)

    with pytest.raises(Fenced):
        settle(world.store, world.ledger, run, dm_id=DM, work=work, verify=verify)
    assert world.vow(run) is None
    world.serve_until_it_ends(run_key)
    world.check(run_key)


# --- single steps -------------------------------------------------------------------------------------------


def test_two_requests_of_one_meaning_converge(world):
    """The first publishes; the second works nothing and answers ALREADY_PUBLISHED with the same manifest."""
    first, second = world.ask("request-0001").run_key, world.ask("request-0002").run_key
    published, found = world.serve(first), world.serve(second)
    assert (published.outcome, found.outcome) == ("PUBLISHED", "ALREADY_PUBLISHED")
    assert found.manifest == published.manifest
    assert world.worked == [1]
    assert list(world.store.list(layout.data_prefix(PLACE, DM, second))) == []
    world.check(first, second)


def test_a_crash_after_staging_recomputes_nothing(world):
    """What was staged and verifies is published by the taker-over as it is."""
    run_key = world.ask().run_key
    disturbed(world, run_key, Fuse(_at_put(world, "manifest.json"), "crash after"))
    world.clock.go_on(2 * LEASE_US)
    assert world.serve(run_key).manifest.document["evidence"]["attempt"] == 1
    assert world.worked == [1]


def test_staged_bytes_that_do_not_verify_count_as_lost(world):
    """A taker-over publishes nothing whose data is not all there: it works again."""
    run_key = world.ask().run_key
    disturbed(world, run_key, Fuse(_at_put(world, "manifest.json"), "crash after"))
    world.store.delete(part_key(run_key, sha256_of(b"rows")))
    world.clock.go_on(2 * LEASE_US)
    assert world.serve(run_key).outcome == "PUBLISHED"
    assert world.worked == [1, 2]
    world.check(run_key)


@pytest.mark.parametrize("part", ["manifest.json", "commits", "ofs/manifests", "by_id"])
def test_a_lost_reply_is_read_back_and_costs_nothing(world, part):
    """A put that landed although its reply did not: the same worker sees it and ends the run."""
    run_key = world.ask().run_key
    assert world.serve(run_key, fuse=Fuse(_at_put(world, part), "fail after")).outcome == "PUBLISHED"
    world.check(run_key)


def test_a_run_that_has_vowed_does_not_fail(world):
    """A re-run that breaks after the vow leaves the run pending; when the cause is gone, the vow is kept."""
    run_key = world.ask().run_key
    disturbed(world, run_key, Fuse(_at_put(world, "commits"), "crash after"))
    world.store.delete(part_key(run_key, sha256_of(b"rows")))
    world.clock.go_on(2 * LEASE_US)
    with pytest.raises(TargetDegenerate):
        world.serve(run_key, broken=TargetDegenerate("no positives"))
    run = world.ledger.run(run_key)
    assert (run.state, run.reason_code) == ("PUBLISH_PENDING", "TARGET_DEGENERATE")
    assert world.serve(run_key) is None  # a publish retry recomputes nothing: the run goes back to the queue
    assert world.serve(run_key).outcome == "PUBLISHED"
    world.check(run_key)


def test_a_publish_retry_recomputes_nothing_and_is_bounded(tmp_path):
    """A store that refuses the vow for good: PUBLISH_PENDING, then a bounded number of retries, then FAILED behind a tombstone."""
    world = World(tmp_path, Limits(publish_retries=2))
    run_key = world.ask().run_key
    put_new, refusing = world.store.put_new, []

    def refuse_commits(key, data):
        if key == layout.commit_key(PLACE, run_key) and b'"outcome":"commit"' in data:
            refusing.append(key)
            raise StorageIoFailure("no quota", fix="")
        return put_new(key, data)

    world.store.put_new = refuse_commits
    for attempts in (1, 2, 3):
        with pytest.raises(StorageIoFailure):
            world.serve(run_key)
        run = world.ledger.run(run_key)
        assert (run.state, run.attempt, run.reason_code) == ("PUBLISH_PENDING", attempts, "STORAGE_IO_FAILURE")
    with pytest.raises(PublishRetryExhausted):
        world.serve(run_key)
    run = world.ledger.run(run_key)
    assert (run.state, run.reason_code, run.full_run_attempts, len(refusing)) == ("FAILED", "PUBLISH_RETRY_EXHAUSTED", 1, 3)
    assert world.vow(run) == Vow(outcome="tombstone", request_id=run.request_id, code="PUBLISH_RETRY_EXHAUSTED")
    assert world.worked == [1]


def test_workers_that_always_die_end_in_a_typed_failure(tmp_path):
    """A build that kills its workers is buried after the allowed number of full runs."""
    world = World(tmp_path, Limits(full_runs=2))
    run_key = world.ask().run_key
    for _ in range(2):
        disturbed(world, run_key, Fuse(4, "crash before"))
        world.clock.go_on(2 * LEASE_US)
    with pytest.raises(RunAttemptsExhausted):
        world.serve(run_key)
    assert world.ledger.run(run_key).reason_code == "RUN_ATTEMPTS_EXHAUSTED"
    world.check(run_key)


def test_after_a_vow_spent_attempts_do_not_fail_a_run(tmp_path):
    """A vow is kept however often its workers died."""
    world = World(tmp_path, Limits(full_runs=1))
    run_key = world.ask().run_key
    disturbed(world, run_key, Fuse(_at_put(world, "commits"), "crash after"))
    world.clock.go_on(2 * LEASE_US)
    assert world.serve(run_key).outcome == "PUBLISHED"
    world.check(run_key)


def test_staged_bytes_lost_after_a_vow_are_worked_for_once_more_and_must_be_the_vowed_ones(world):
    """A full re-run that reaches the vowed core publishes; one that does not is stalled, never failed."""
    for rows, end in (("rows", "DONE"), ("other rows", "PUBLISH_PENDING")):
        world.store = MemoryStore()
        run_key = world.ask(f"request-of-{rows.split()[0]}-{end}").run_key
        disturbed(world, run_key, Fuse(_at_put(world, "commits"), "crash after"))
        for key in list(world.store.list(layout.data_prefix(PLACE, DM, run_key))):
            world.store.delete(key)
        world.clock.go_on(2 * LEASE_US)
        if end == "DONE":
            assert world.serve(run_key, rows=rows).outcome == "PUBLISHED"
            world.check(run_key)
        else:
            with pytest.raises(PublicationStalled):
                world.serve(run_key, rows=rows)
            assert world.visible() is None
        assert world.ledger.run(run_key).state == end


def test_a_lost_vow_is_the_one_legal_failure_after_a_vow(world):
    """Two runs vow different cores of one meaning; the manifest decides, and the loser is FAILED with NONDETERMINISM_DETECTED."""
    first, second = world.ask("request-0001").run_key, world.ask("request-0002").run_key
    disturbed(world, first, Fuse(_at_put(world, "commits"), "crash after"), rows="other rows")
    world.serve(second)
    world.clock.go_on(2 * LEASE_US)
    with pytest.raises(NondeterminismDetected):
        world.serve(first, rows="other rows")
    run = world.ledger.run(first)
    assert (run.state, run.reason_code, world.vow(run).outcome) == ("FAILED", "NONDETERMINISM_DETECTED", "commit")
    world.check(first, second)


def test_a_foreign_interruption_queues_the_run_at_once(world):
    """An interrupted worker gives its lease back, so that the same command goes on."""
    run_key = world.ask().run_key
    with pytest.raises(KeyboardInterrupt):
        world.serve(run_key, broken=KeyboardInterrupt())
    assert world.ledger.run(run_key).state == "QUEUED"
    assert world.serve(run_key).outcome == "PUBLISHED"


def test_a_fenced_worker_records_nothing(world):
    """A worker that learns that it is fenced leaves store and ledger to the newer attempt."""
    run_key = world.ask().run_key
    with pytest.raises(Fenced):
        world.serve(run_key, broken=Fenced("taken over"))
    assert world.ledger.run(run_key).state == "RUNNING"
    assert world.vow(world.ledger.run(run_key)) is None


def test_cancelling_buries_first_and_respects_vows_and_workers(world):
    """A run that has not vowed is cancelled, the tombstone before the ledger; one that a worker holds ends when that one looks up."""
    held = world.ask("request-held").run_key
    world.ledger.claim(held, worker="a", lease_us=LEASE_US)
    assert cancel(world.store, world.ledger, held, reason="changed my mind").state == "RUNNING"
    assert world.serve_until_it_ends(held).state == "CANCELLED"
    run_key = world.ask().run_key
    assert cancel(world.store, world.ledger, run_key, reason="changed my mind").state == "CANCELLED"
    world.check(held, run_key)
    failing = world.ask("request-failing")
    protocol.bury(world.store, failing, "TARGET_DEGENERATE")
    with pytest.raises(RunEnded, match="TARGET_DEGENERATE"):
        cancel(world.store, world.ledger, failing.run_key, reason="too late")
    with pytest.raises(RunEnded):
        cancel(world.store, world.ledger, run_key, reason="again")
    vowed = world.ask("request-vowed")
    protocol.make_vow(world.store, vowed, protocol.read_manifest(manifest_of(vowed.run_key)))
    with pytest.raises(PublicationVowed):
        cancel(world.store, world.ledger, vowed.run_key, reason="too late")


def test_a_worker_that_meets_a_tombstone_ends_the_run_with_its_code(world):
    """A cancellation that was overtaken by a claim is found at the commit record, and the run ends CANCELLED."""
    run = world.ask()
    protocol.bury(world.store, run, "RUN_CANCELLED")
    with pytest.raises(RunEnded):
        world.serve(run.run_key)
    ended = world.ledger.run(run.run_key)
    assert (ended.state, ended.reason_code, world.worked) == ("CANCELLED", "RUN_CANCELLED", [])


def test_a_retired_meaning_is_refused_before_any_vow(world):
    """Preflight honours the retirement fact."""
    world.serve(world.ask().run_key)
    world.store.put_new(layout.retired_key(PLACE, DM), b"{}")
    run_key = world.ask("request-0002").run_key
    with pytest.raises(DatasetRetired):
        world.serve(run_key)
    assert world.ledger.run(run_key).reason_code == "DATASET_RETIRED"


def test_after_exists_only_outcome_id_and_core_are_compared(world):
    """A second attempt's vow with other evidence is the same vow; another core or a tombstone is not."""
    run = world.ask()
    first, again = (protocol.read_manifest(manifest_of(run.run_key, attempt=attempt)) for attempt in (1, 2))
    standing = protocol.make_vow(world.store, run, first)
    assert first.digest != again.digest
    assert protocol.make_vow(world.store, run, again) == standing
    assert standing.promise == ("commit", DM, again.core_digest)
    assert protocol.bury(world.store, run, "X") == standing


def test_a_missing_pointer_heals_and_a_wrong_one_is_refused(world):
    """The pointer follows the manifest; whoever passes by writes it if it is missing, and nobody overwrites it."""
    run_key = world.ask().run_key
    world.serve(run_key)
    world.store.delete(layout.by_id_key(DM))
    world.serve(world.ask("request-0002").run_key)
    world.check(run_key)
    world.store.delete(layout.by_id_key(DM))
    world.store.put_new(layout.by_id_key(DM), b'{"manifest_key":"elsewhere"}')
    with pytest.raises(ManifestImmutabilityViolation):
        world.serve(world.ask("request-0003").run_key)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"outcome":"commit"}', b'{"outcome":["commit"]}', b'{"outcome":"tombstone"}',
                                  b'{"outcome":"commit","dm_id":"d","core_digest":"c","code":"X"}', b'{"outcome":"maybe","code":"X"}'])
def test_a_damaged_commit_record_is_a_typed_error(world, data):
    """A vow that cannot be read decides nothing: neither an end nor a publication."""
    run = world.ask()
    world.store.put_new(layout.commit_key(PLACE, run.run_key), data)
    for call in (lambda: protocol.read_vow(world.store, run.platform_run_id, run.run_key), lambda: protocol.bury(world.store, run, "X"),
                 lambda: world.serve(run.run_key)):
        with pytest.raises(DigestMismatch):
            call()
    assert world.visible() is None
    assert world.ledger.run(run.run_key).state not in TERMINAL


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b'{"dataset_manifest_id":"d"}',
                                  b'{"dataset_manifest_id":1,"evidence":{"publisher":{"run_key":"r"}}}',
                                  b'{"dataset_manifest_id":"d","evidence":{"publisher":{}}}', b'{"dataset_manifest_id":"d","evidence":[]}'])
def test_bytes_that_are_no_manifest_are_a_typed_error(data):
    """The protocol looks at the id and the publisher only, and at those strictly."""
    with pytest.raises(ManifestInvalid):
        protocol.read_manifest(data)


def test_a_store_that_says_exists_and_shows_nothing_is_a_storage_failure(world):
    """No create answer is believed without the bytes behind it."""
    run, put_new = world.ask(), world.store.put_new
    world.store.put_new = lambda key, data: "exists" if "commits" in key else put_new(key, data)
    with pytest.raises(StorageIoFailure, match="does not return it"):
        protocol.bury(world.store, run, "X")


def test_keys_are_where_the_layout_says():
    """The layout of `domain.md` §5."""
    run_key = "0" * 32
    assert layout.manifest_key(PLACE, DM) == f"cards/ofs/manifests/{DM}.json"
    assert layout.commit_key(PLACE, run_key) == f"cards/ofs/commits/{run_key}.json"
    assert layout.staged_key(PLACE, DM, run_key) == f"cards/ofs/datasets/{DM}/{run_key}/manifest.json"
    assert layout.plan_key(PLACE, run_key) == f"cards/ofs/plans/{run_key}.json"
    assert layout.receipt_key(PLACE, run_key, 2, "replay") == f"cards/ofs/receipts/{run_key}/2/replay.json"
    assert layout.retired_key(PLACE, DM) == f"cards/ofs/retired/{DM}.json"
    assert layout.by_id_key(DM) == f"by_id/{DM}.json"
    with pytest.raises(RefNotFound):
        MemoryStore().get(layout.by_id_key(DM))


def _at_put(world, part):
    """The number of the operation that puts the key with `part` in it, in an undisturbed run of a fresh world like this one."""
    names = []

    class Recording(Fuse):
        def through(self, operation, failure):
            before = set(twin.store.objects)
            try:
                return super().through(operation, failure)
            finally:
                names.append(next(iter(set(twin.store.objects) - before), ""))

    with tempfile.TemporaryDirectory() as folder:
        twin = World(Path(folder))
        twin.serve(twin.ask().run_key, fuse=Recording(10_000, "fail before"))
    return next(number for number, name in enumerate(names) if part in name and ("/datasets/" in name or part != "manifest.json"))
