"""The model of the protocol and the code are one: ways through the model are walked with the real code, and both agree at every step.

    model   claim ─ look work ─ work reaches c ─ stage stands ─ vow fails ─ pend …        drawn from a seed, rare steps first
    code    claim ─ settle ───────┤  stopped before each of these operations ├───── …     real ledger, a thread for each worker

After every step the ledger's row, the vow, the staged and the visible manifest are what the model says, and each worker stands where its
image stands.
"""

import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from puppets import Puppet
from test_protocol_model import BURIED, CANCELLED, SEARCHES, SMALL, Protocol, World, search
from test_publish import DM, LEASE_US, PLACE, manifest_of, part_key
from test_publish import World as Place

from offline_feature_plane.corridor import layout
from offline_feature_plane.corridor import publish as protocol
from offline_feature_plane.corridor.settlement import CANCELLED_CODE, cancel, settle
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.domain.runstates import TERMINAL
from offline_feature_plane.errors import DigestMismatch, Fenced, StorageIoFailure, TargetDegenerate
from offline_feature_plane.testing.faulty_store import MemoryStore

CORES = {protocol.read_manifest(manifest_of("x", core)).core_digest: core for core in "cd"}
ENDS = {"ledger.done": "done", "ledger.failed": "fail", "ledger.cancelled": "fail", "ledger.publish_pending": "pend",
        "ledger.release": "release", "ledger.cancel": "cancel"}

# Every step that the model knows.
STEPS = {
    "claim", "crash", "loss", "a person restores", "cancel", "cancel buries",
    *(f"look {step}" for step in ("end", "keep", "vow", "work", "requeue", "bury", "stall")),
    *(f"work {step}" for step in ("breaks", "store fails", "finds", "reaches c", "reaches d")),
    "stage fails", "stage stands", "stage differs",
    *(f"vow {step}" for step in ("fails", "vows", "has vowed", "is buried", "vowed another")),
    *(f"put {step}" for step in ("fails", "publishes", "stands", "another stands")),
    *(f"bury {step}" for step in ("fails", "buries", "lost", "has vowed")),
    "done", "fail", "lose", "pend", "release",
}

# How the rarest of them come about: two workers (0 and 1) of the runs A and B, which mean the same. Every other walk begins so.
BEGINNINGS = [[tuple(step.split(" ", 1)) for step in line.split(", ")] for line in """
A0 claim, A0 look work, A0 work reaches c, A0 stage stands, A1 claim, A1 look vow, A0 vow vows, A1 vow has vowed
A0 claim, A0 look work, A0 work reaches c, A1 claim, A1 look work, A0 stage stands, A1 work reaches d, A1 stage differs
A0 claim, A0 look work, A0 work breaks, A1 claim, A1 look work, A0 bury buries, A1 work reaches c, A1 stage stands, A1 vow is buried
A0 claim, A0 look work, A0 work breaks, A1 claim, A1 look work, A1 work reaches c, A1 stage stands, A1 vow vows, A0 bury has vowed
A0 claim, A0 look work, A0 work reaches c, A0 stage stands, A1 claim, A loss, A1 look work, A1 work breaks, A0 vow vows, \
A1 bury has vowed, A1 pend
A0 claim, A0 look work, A0 work reaches c, A0 stage stands, A0 vow vows, A0 put publishes, A1 claim, A1 look keep, A1 put stands
A0 claim, A0 look work, A0 work reaches c, A0 stage stands, A0 vow vows, A0 put publishes, B0 claim, B0 look work, B0 work finds
A0 claim, A0 look work, A0 work reaches c, A0 stage stands, A1 claim, A loss, A1 look work, A0 vow vows, A1 work reaches d, \
A1 stage stands, A1 vow vowed another
A0 claim, A0 look work, A0 work reaches c, A0 stage stands, A0 vow vows, A0 put publishes, B0 claim, B0 look work, B0 work reaches d, \
B0 stage stands, B0 vow vows, B0 put another stands, B0 lose
A0 claim, A0 look work, A0 work breaks, A1 claim, A1 look work, A1 work reaches c, A1 stage stands, A1 vow vows, B0 claim, B0 look work, \
B0 work reaches d, B0 stage stands, B0 vow vows, B0 put publishes, A0 bury lost
""".strip().splitlines()]


def stop_before(name, args):
    """Where a worker stops: before each operation that the model knows as a step. What it reads passes."""
    if name in ENDS:
        return ENDS[name]
    if name != "store.put_new":
        return None
    key, data = args
    if "/commits/" in key:
        return "vow" if b'"outcome":"commit"' in data else "bury"
    return "put" if "/manifests/" in key else "stage" if key.endswith("/manifest.json") else None


class Walk:
    """A way through the model, and the same way with the real code.

    Args:
        place: a real ledger and store.
        model: the protocol.
        name: of the requests, different for each walk.
    """

    def __init__(self, place, model, name):
        self.place, self.model = place, model
        place.store = MemoryStore()
        self.manifest, self.losses, self.runs = "", 1, list(World().runs)
        self.keys = [place.ask(f"request-{name}-{number}").run_key for number in range(2)]
        self.workers, self.cancellers, self.claimed = {}, {}, {}
        self.taken = []

    def moves(self):
        """(run, who moves, label, manifest, run after it) of every possible step."""
        for number, run in enumerate(self.runs):
            for who, label, manifest, changed in self.model.of_run(self.manifest, run):
                yield number, who, label, manifest, self.model.settled(changed)
            if self.losses and run.staged:
                yield number, "disk", "loss", self.manifest, run._replace(staged="")

    def step(self, number, who, label, manifest, changed):
        """Take a step in the model and in the code, and compare."""
        self.taken.append((number, who, label))
        self.act(number, who, label)
        self.manifest, self.runs[number] = manifest, changed
        self.losses -= who == "disk"
        self.compare(number)

    def act(self, number, who, label):
        """Let the real thing happen."""
        run_key, store = self.keys[number], self.place.store
        if label == "loss":
            store.delete(layout.staged_key(PLACE, DM, run_key))
        elif who == "person":
            store.objects[layout.staged_key(PLACE, DM, run_key)] = manifest_of(run_key, self.runs[number].vow, 99)
            store.put_new(*part_of(run_key, self.runs[number].vow))
        elif who == "canceller":
            self.cancel(number, label)
        elif label == "claim":
            self.place.clock.go_on(2 * LEASE_US)
            self.claimed[number, who] = self.place.ledger.claim(run_key, worker=f"worker {who}", lease_us=LEASE_US)
            self.workers[number, who] = Puppet(stop_before)
        elif label.startswith("look "):
            puppet = self.workers[number, who]
            puppet.start(lambda: self.settle(puppet, self.claimed[number, who]))
        elif label == "crash" and self.runs[number].workers[who].at.startswith("look"):  # it has not begun
            del self.workers[number, who]
        else:
            self.workers[number, who].go(label if label == "crash" else label.partition(" ")[2] or "go")

    def cancel(self, number, label):
        """Somebody cancels: the tombstone at one step, the ledger at the next."""
        if label == "cancel buries":
            puppet = self.cancellers[number] = Puppet(stop_before)
            puppet.start(lambda: cancel(puppet.behind(self.place.store, "store"), puppet.behind(self.place.ledger, "ledger"),
                                        self.keys[number], reason="a test"))
            assert puppet.at == "bury"
        self.cancellers[number].go()

    def settle(self, puppet, run):
        """What a worker does with a claimed run."""
        store, ledger = puppet.behind(self.place.store, "store"), puppet.behind(self.place.ledger, "ledger")

        def work():
            what, _, core = puppet.ask("work").partition(" ")
            if what == "breaks":
                raise TargetDegenerate("the work broke on purpose.", fix="")
            if what == "store":
                raise StorageIoFailure("the store failed on purpose.", fix="")
            if what == "finds":
                return protocol.find_published(store, PLACE, DM)
            store.put_new(*part_of(run.run_key, core))
            return manifest_of(run.run_key, core, run.attempt)

        def verify(manifest):
            digest = manifest.document["core"]["rows"]
            if sha256_of(store.get(part_key(manifest.publisher, digest))) != digest:
                raise DigestMismatch("the part is damaged.", fix="")

        return settle(store, ledger, run, dm_id=DM, work=work, verify=verify)

    def compare(self, number):
        """Model and code agree about a run, and about what is visible."""
        visible, run = self.place.visible(), self.runs[number]
        for who, image in enumerate(run.workers):
            self.bring(number, who, image)
        assert self.manifest == ("" if visible is None else CORES[visible.core_digest])
        assert self.seen(number, visible) == run._replace(cancel="", workers=())

    def bring(self, number, who, image):
        """A worker stands where its image stands; one that the model knows to be fenced is let run into it."""
        puppet = self.workers.get((number, who))
        if puppet is None:
            assert image.at == "idle"
            return
        expected = {"lose": "fail", "idle": None, "look": None}.get(at := image.at.partition(":")[0], at)
        if puppet.at == "bury" and expected == "fail":  # it reads back what it knows
            puppet.go()
        if expected is None and puppet.at is not None:
            puppet.go()
            assert isinstance(puppet.raised, Fenced)
        assert puppet.at == expected, (number, who, puppet.at, image, puppet.raised)

    def seen(self, number, visible):
        """A run as it really is, in the model's words."""
        run_key, image = self.keys[number], World().runs[0]
        run, vow = self.place.ledger.run(run_key), protocol.read_vow(self.place.store, PLACE, run_key)
        staged = self.place.store.objects.get(layout.staged_key(PLACE, DM, run_key))
        said = "" if vow is None else CORES[vow.core_digest] if vow.outcome == "commit" else \
            CANCELLED if vow.code == CANCELLED_CODE else BURIED
        result = CORES[run.result["core_digest"]] if run.state == "DONE" else "lost" if run.state == "FAILED" and said in "cd" else ""
        seen = image._replace(state=run.state, vow=said, staged="" if staged is None else CORES[protocol.read_manifest(staged).core_digest],
                              author=visible is not None and visible.publisher == run_key, result=result, workers=())
        return seen if run.state in TERMINAL else seen._replace(mode=run.mode or "", full=run.full_run_attempts,
                                                                retries=run.publish_retry_attempts)

    def end(self):
        """No thread is left."""
        for puppet in (*self.workers.values(), *self.cancellers.values()):
            if puppet.at is not None:
                puppet.go("crash")


def part_of(run_key, core):
    """Where the rows of a core are staged, and the rows."""
    return part_key(run_key, sha256_of(core.encode())), core.encode()


def named(move):
    """A move as the beginnings name it."""
    number, who, label, *_ = move
    return f"{'AB'[number]}{who if isinstance(who, int) else ''}", label


def walk(place, model, name, draw, seen, beginning=()):
    """One way from a beginning to an end of both runs, or until 40 steps are taken, steps that were rarely seen first."""
    way = Walk(place, model, name)
    try:
        for step in beginning:
            (move,) = [move for move in way.moves() if named(move) == step]
            seen[move[2]] += 1
            way.step(*move)
        while len(way.taken) < 40 and (moves := list(way.moves())):
            move = draw.choices(moves, [(1 + seen[label])**-2 for _, _, label, _, _ in moves])[0]
            seen[move[2]] += 1
            way.step(*move)
        for number in range(2):
            way.compare(number)
    except BaseException as wrong:
        wrong.add_note(f"on the way {way.taken}")
        raise
    finally:
        way.end()
    return tuple(way.taken)


@pytest.mark.parametrize("walks", [30, pytest.param(10_000, marks=pytest.mark.long)])
def test_the_code_goes_the_ways_of_the_model(walks):
    """Whatever way through faults, pauses, take-overs and cancellations: at each step the code is where the model is (R3, R4)."""
    with tempfile.TemporaryDirectory() as folder:
        place, draw, seen = Place(Path(folder), limits=SMALL), random.Random(walks), Counter()
        models = [Protocol(cores="cd", cancels=number == 0) for number in range(4)]  # cancelling makes ways short
        begun = [way for beginning in BEGINNINGS for way in (beginning, ())]
        ways = {walk(place, models[number % 4], f"{number:06}", draw, seen, begun[number % len(begun)]) for number in range(walks)}
    assert len(ways) > walks * 3 // 4  # some are short, and the first steps are few: of 10,000 walks 7,803 differ
    assert set(seen) == STEPS


@pytest.mark.long
def test_the_steps_are_all_that_the_model_knows():
    """No step of the model is left out of the walks."""
    labels = set()

    class Listed(Protocol):
        def of_run(self, manifest, run):
            for who, label, visible, changed in super().of_run(manifest, run):
                labels.add(label)
                yield who, label, visible, changed

    for how, world in SEARCHES.values():
        search(Listed(**how), world)
    assert labels == STEPS - {"loss"}
