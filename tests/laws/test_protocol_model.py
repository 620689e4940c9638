"""A model of the publication protocol, searched breadth-first: two runs of one meaning, two workers each, faults anywhere.

    worker:  claim ─▶ look ─▶ work ─▶ stage ─▶ vow ─▶ put ─▶ done          at every arrow: crash · pause · failed put · lost reply
                         └──────────▶ bury ─▶ fail                         beside it: a canceller · a loss of what was staged

A pause needs no step of its own: any worker may wait while the other one claims, and go on afterwards as a zombie; only on its way
to a vow or a tombstone it asks the ledger, and stops if it is stale. The decisions are those of the real code: `granted` says what a
claim may do, `next_step` what a worker does; `test_conformance` replays the model's ways on the real code, step by step. Equal runs and
equal workers are interchangeable, so a state is kept once for all of its mirror images. With each rule taken away the search must find a
violation.
"""

from collections import defaultdict
from typing import NamedTuple

import pytest

from offline_feature_plane.corridor.settlement import next_step
from offline_feature_plane.domain.runstates import TERMINAL, Limits, granted

BURIED, CANCELLED = "T", "X"  # a tombstone, and the tombstone of a cancellation
TOMBSTONES = {BURIED, CANCELLED}
SMALL = Limits(full_runs=2, publish_retries=1)
LEDGER_ONLY = {"done", "fail", "lose", "pend", "release"}


class Worker(NamedTuple):
    at: str = "idle"
    fresh: bool = False  # is its attempt the newest?
    core: str = ""


class Run(NamedTuple):
    state: str = "QUEUED"
    mode: str = ""
    full: int = 0
    retries: int = 0
    vow: str = ""
    staged: str = ""
    author: bool = False  # did it create the manifest?
    result: str = ""
    cancel: str = ""
    workers: tuple = (Worker(), Worker())


class World(NamedTuple):
    manifest: str = ""
    losses: int = 0
    runs: tuple = (Run(), Run())


class Protocol:
    """The moves of one run. `without` names the rules that are taken away."""

    def __init__(self, cores="c", without=(), cancels=False, limits=SMALL, outages=True):
        self.cores, self.without, self.cancels, self.limits, self.outages = cores, frozenset(without), cancels, limits, outages

    def of_run(self, manifest, run):
        """(who moves, label, manifest, run) after each possible move; a worker is known by its index."""
        for index, worker in enumerate(run.workers):
            if worker.at == "idle":
                yield from self.claim(manifest, run, index)
                continue

            def with_worker(changed, run=run, index=index, **fields):
                return run._replace(workers=_put(run.workers, index, changed), **fields)

            yield index, "crash", manifest, with_worker(Worker())
            for label, visible, changed, fields in getattr(self, worker.at.partition(":")[0])(manifest, run, worker):
                if label in {"fails", "store fails"} and not self.outages:
                    continue
                yield index, f"{worker.at.partition(':')[0]} {label}".strip(), visible, with_worker(changed, **fields)
        if self.cancels and run.cancel != "over":
            yield from self.canceller(manifest, run)
        if run.mode == "CLOSE_ONLY" and run.vow not in {"", *TOMBSTONES, run.staged} and not manifest:
            yield "person", "a person restores", manifest, run._replace(staged=run.vow)

    def claim(self, manifest, run, index):
        """A claim, as the ledger grants it: the other worker is stale from now on."""
        if run.state in TERMINAL:
            return
        grant = granted(run.state, run.mode or None, run.full, run.retries, self.limits)
        counted = run._replace(mode=grant.mode, full=grant.full_run_attempts, retries=grant.publish_retry_attempts)
        if grant.mode == "CLOSE_ONLY" and "only workers end runs" in self.without:
            yield index, "claim exhausted", manifest, counted._replace(state="FAILED")
            return
        stale = tuple(worker._replace(fresh=False) for worker in run.workers)
        yield index, "claim", manifest, counted._replace(state="RUNNING", workers=_put(stale, index, Worker(f"look:{grant.mode}", True)))

    def announced(self, run, worker, at, core=""):
        """The worker on its way to a vow or a tombstone, which the ledger hears of first: one that is stale goes no further."""
        return worker._replace(at=at, core=core) if self.is_heard(run, worker) else Worker()

    def is_heard(self, run, worker):
        """Does the ledger take this worker's word?"""
        return "fencing" in self.without or (worker.fresh and run.state == "RUNNING")

    def look(self, manifest, run, worker):
        """What a worker decides after reading vow, manifest and staged bytes. From here on it knows the vow that it saw, or none."""
        mode = worker.at.partition(":")[2]
        vow = None if not run.vow or "read the vow" in self.without else "tombstone" if run.vow in TOMBSTONES else "commit"
        staged = bool(run.staged) and (vow is None or run.staged == run.vow)
        if "write again" in self.without and vow == "commit":
            staged = False
        step = next_step(mode, vow, visible=bool(manifest), staged=staged)
        if "write again" in self.without and vow == "commit" and step != "keep":
            step = "stall"
        if step == "keep":
            after = worker._replace(at="put", core=run.vow) if staged else self.found(manifest, run, worker)
        elif step in {"vow", "bury"}:
            after = self.announced(run, worker, {"vow": "vow", "bury": f"bury:{mode}"}[step], run.staged if step == "vow" else "")
        else:
            at = {"end": "fail", "work": "work:vowed" if vow else "work", "requeue": "release", "stall": "pend"}[step]
            after = worker._replace(at=at)
        yield step, manifest, after, {}

    def found(self, manifest, run, worker):
        """The worker that has vowed and no bytes of its own to publish: what is visible decides."""
        if not manifest:
            return worker._replace(at="pend", core="")
        return worker._replace(at="done", core=manifest) if manifest == run.vow else worker._replace(at="lose", core="")

    def work(self, manifest, run, worker):
        """The work: breaks, is given back, finds the manifest, or reaches a core; with a vow seen, another core than the vowed is lost."""
        vowed = worker.at == "work:vowed"
        yield "breaks", manifest, self.announced(run, worker, "bury:FULL"), {}
        yield "store fails", manifest, worker._replace(at="release"), {}
        if manifest:
            if vowed and manifest != run.vow:
                after = self.found(manifest, run, worker)
            elif run.author:  # published by a worker of this very run meanwhile
                after = worker._replace(at="stage:vowed" if vowed else "stage", core=manifest)
            else:
                after = worker._replace(at="put", core=manifest) if vowed else self.announced(run, worker, "vow", manifest)
            yield "finds", manifest, after, {}
        for core in self.cores:
            if "manifest last" in self.without and not manifest:
                yield f"reaches {core} early", core, worker._replace(at="stage", core=core), {"author": True}
            elif vowed and core != run.vow:
                yield f"reaches {core}", manifest, self.found(manifest, run, worker), {}
            else:
                yield f"reaches {core}", manifest, worker._replace(at="stage:vowed" if vowed else "stage", core=core), {}

    def stage(self, manifest, run, worker):
        """Create the staged manifest if absent. A vow that was seen has decided between attempts that differ."""
        yield "fails", manifest, worker._replace(at="release", core=""), {}
        if worker.at == "stage:vowed":
            yield "stands", manifest, worker._replace(at="put"), {"staged": run.staged or worker.core}
        elif run.staged in {"", worker.core}:
            yield "stands", manifest, self.announced(run, worker, "vow", worker.core), {"staged": worker.core}
        else:
            yield "differs", manifest, self.announced(run, worker, "bury:FULL"), {}

    def vow(self, manifest, run, worker):
        """Create the commit record if absent, and compare what stands."""
        yield "fails", manifest, worker._replace(at="pend", core=""), {}
        if not run.vow:
            yield "vows", manifest, worker._replace(at="put"), {"vow": worker.core}
            if "read back a lost reply" in self.without:
                yield "loses the reply", manifest, worker._replace(at="fail", core=""), {"vow": worker.core}
        elif run.vow == worker.core or "compare vows" in self.without:
            yield "has vowed", manifest, worker._replace(at="put"), {}
        elif run.vow in TOMBSTONES:
            yield "is buried", manifest, worker._replace(at="fail", core=""), {}
        else:
            yield "vowed another", manifest, self.found(manifest, run, worker), {}

    def put(self, manifest, run, worker):
        """Create the manifest if absent, and compare what stands."""
        yield "fails", manifest, worker._replace(at="pend", core=""), {}
        if not manifest:
            yield "publishes", worker.core, worker._replace(at="done"), {"author": True}
            if "read back a lost reply" in self.without:
                yield "loses the reply", worker.core, worker._replace(at="fail", core=""), {"author": True}
        elif manifest == worker.core or "read back after exists" in self.without:
            yield "stands", manifest, worker._replace(at="done"), {}
        else:
            yield "another stands", manifest, worker._replace(at="lose", core=""), {}

    def bury(self, manifest, run, worker):
        """Create a tombstone if absent; a vow that stands forbids failing. Without an answer, the run is given back as it was taken."""
        if "tombstone first" in self.without:
            yield "skipped", manifest, worker._replace(at="fail"), {}
            return
        yield "fails", manifest, worker._replace(at="release" if worker.at == "bury:FULL" else "pend"), {}
        if run.vow in {"", *TOMBSTONES}:
            yield "buries", manifest, worker._replace(at="fail"), {"vow": run.vow or BURIED}
        elif manifest and manifest != run.vow:
            yield "lost", manifest, worker._replace(at="lose"), {}
        else:
            yield "has vowed", manifest, worker._replace(at="fail" if "a vow forbids failing" in self.without else "pend"), {}

    def record(self, run, worker, state, result=""):
        """The ledger's answer to an update: done, or fenced. Its reply may be lost; then the worker has crashed."""
        return {"state": state, "result": result} if self.is_heard(run, worker) else {}

    def done(self, manifest, run, worker):
        """Record DONE."""
        yield "", manifest, Worker(), self.record(run, worker, "DONE", worker.core)

    def fail(self, manifest, run, worker):
        """Record FAILED, buried; or CANCELLED, if that is what the tombstone says."""
        yield "", manifest, Worker(), self.record(run, worker, "CANCELLED" if run.vow == CANCELLED else "FAILED")

    def lose(self, manifest, run, worker):
        """Record FAILED, the vow lost."""
        yield "", manifest, Worker(), self.record(run, worker, "FAILED", "lost")

    def pend(self, manifest, run, worker):
        """Record PUBLISH_PENDING."""
        yield "", manifest, Worker(), self.record(run, worker, "PUBLISH_PENDING")

    def release(self, manifest, run, worker):
        """Record QUEUED."""
        yield "", manifest, Worker(), self.record(run, worker, "QUEUED")

    def settled(self, run):
        """The run without differences that change nothing any more: what an ended run counted, where a fenced worker stands."""
        workers = tuple(Worker() if worker.at in LEDGER_ONLY and not self.is_heard(run, worker) else worker for worker in run.workers)
        if run.state not in TERMINAL:
            return run._replace(workers=workers)
        workers = tuple(worker._replace(fresh=False) for worker in workers)
        return run._replace(workers=workers, mode="", full=0, retries=0, cancel="over")

    def canceller(self, manifest, run):
        """Somebody cancels: the tombstone, then the ledger if nobody works; a worker finds the tombstone."""
        if run.cancel == "":
            if run.state not in TERMINAL:
                if "tombstone before cancelling" in self.without:
                    yield "canceller", "cancel", manifest, run._replace(cancel="buried")
                elif run.vow in {"", CANCELLED}:
                    yield "canceller", "cancel buries", manifest, run._replace(cancel="buried", vow=CANCELLED)
        else:
            state = "CANCELLED" if run.state in {"QUEUED", "PUBLISH_PENDING"} else run.state
            yield "canceller", "cancel", manifest, run._replace(cancel="over", state=state)

    def moves(self, world):
        """(label, world) after each possible move."""
        for index, run in enumerate(world.runs):
            other = world.runs[1 - index]
            if index and run == other:
                return
            for _, label, manifest, changed in self.of_run(world.manifest, run):
                settled = self.settled(changed)
                settled = settled._replace(workers=tuple(sorted(settled.workers)))
                yield label, World(manifest, world.losses, tuple(sorted((settled, other))))
            if world.losses and run.staged:
                yield "loss", World(world.manifest, world.losses - 1, tuple(sorted((run._replace(staged=""), other))))


def _put(workers, index, worker):
    return (*workers[:index], worker, *workers[index + 1:])


def wrong_in(world):
    """What a state says that must never be, or None."""
    authors, ended = [run for run in world.runs if run.author], [run for run in world.runs if run.state in TERMINAL]
    done, failed = ([run for run in ended if run.state == state] for state in ("DONE", "FAILED"))
    laws = {
        "a manifest has one author": len(authors) == bool(world.manifest),
        "a manifest stands only after its author's vow to it": all(run.vow == world.manifest for run in authors),
        "a failed or cancelled run is no publisher": all(run.state not in {"FAILED", "CANCELLED"} for run in authors),
        "an ended run has a commit record": all(run.vow for run in ended),
        "ledger, vow and manifest of a done run are one": all(run.result == run.vow == world.manifest != "" for run in done),
        "a cancelled run is buried": all(run.vow == CANCELLED for run in ended if run.state == "CANCELLED"),
        "a failed run is buried, or its vow lost": all(
            run.vow == BURIED or (run.result == "lost" and world.manifest not in {"", run.vow}) for run in failed),
    }
    return next((law for law, holds in laws.items() if not holds), None)


def wrong_move(before, after):
    """What a move did that must never be done, or None. Sorted runs are compared as a whole."""
    if before.manifest and after.manifest != before.manifest:
        return "a manifest never changes"
    for facts in (lambda run: run.vow, lambda run: (run.state, run.result) if run.state in TERMINAL else None):
        stood, stands = [facts(run) for run in before.runs if facts(run)], [facts(run) for run in after.runs]
        for fact in stood:
            if fact not in stands:
                return "a vow and a terminal state never change"
            stands.remove(fact)
    return None


def search(protocol, world, budget=1_000_000):
    """(states, violation and its trace or None): breadth-first, then backwards from the ends to find states that cannot end."""
    parents, frontier, into = {world: None}, [world], defaultdict(list)
    while frontier:
        reached = []
        for state in frontier:
            for label, after in protocol.moves(state):
                into[after].append(state)
                if wrong := wrong_move(state, after):
                    return len(parents), (wrong, [*trace(parents, state), label])
                if after not in parents:
                    parents[after] = (state, label)
                    if wrong := wrong_in(after):
                        return len(parents), (wrong, trace(parents, after))
                    reached.append(after)
        frontier = reached
        assert len(parents) <= budget
    ending = [state for state in parents if all(run.state in TERMINAL for run in state.runs)]
    able = set(ending)
    while ending:
        for state in into[ending.pop()]:
            if state not in able:
                able.add(state)
                ending.append(state)
    stuck = next((state for state in parents if state not in able), None)
    return len(parents), None if stuck is None else ("every state can end", trace(parents, stuck))


def trace(parents, state):
    """The moves that lead to a state."""
    labels = []
    while parents[state]:
        state, label = parents[state]
        labels.append(label)
    return labels[::-1]


ALONE = World(losses=1, runs=tuple(sorted((Run(), Run(state="FAILED", vow=BURIED, cancel="over")))))
ONCE = Limits(full_runs=1, publish_retries=1)

SEARCHES = {
    "one run, every fault, two cores": ({"cores": "cd", "cancels": True}, ALONE),
    "two runs, crashes and pauses, two cores": ({"cores": "cd", "limits": ONCE, "outages": False}, World()),
}
LONG_SEARCHES = {
    "two runs, every fault": ({"limits": ONCE}, World()),
    "two runs, more attempts": ({"outages": False}, World()),
}


@pytest.mark.parametrize("name", [*SEARCHES, *(pytest.param(name, marks=pytest.mark.long) for name in LONG_SEARCHES)])
def test_the_protocol_keeps_every_law_from_every_state(name):
    """One commit record per run, one author per manifest, ledger = vow = manifest, no failed publisher, and every state can still end."""
    how, world = {**SEARCHES, **LONG_SEARCHES}[name]
    states, violation = search(Protocol(**how), world)
    assert violation is None, violation
    assert states > 5_000  # the search really went somewhere


@pytest.mark.parametrize(("rule", "law", "runs"), [
    ("manifest last", "a manifest stands only after its author's vow to it", 1),
    ("fencing", "a vow and a terminal state never change", 1),
    ("read back after exists", "ledger, vow and manifest of a done run are one", 2),
    ("read back a lost reply", "a failed run is buried, or its vow lost", 1),
    ("tombstone first", "an ended run has a commit record", 1),
    ("compare vows", "a manifest stands only after its author's vow to it", 1),
    ("a vow forbids failing", "a failed run is buried, or its vow lost", 1),
    ("tombstone before cancelling", "an ended run has a commit record", 1),
    ("only workers end runs", "an ended run has a commit record", 1),
    ("write again", "every state can end", 1),
    ("read the vow", "every state can end", 1),
])
def test_without_any_one_rule_the_protocol_breaks(rule, law, runs):
    """Each rule carries weight: taken away, the search finds a law that falls, with the shortest way there."""
    how, world = SEARCHES["one run, every fault, two cores" if runs == 1 else "two runs, crashes and pauses, two cores"]
    _, violation = search(Protocol(**how, without=[rule]), world)
    assert violation is not None
    assert violation[0] == law
    assert violation[1]
