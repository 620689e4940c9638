"""Disorder around many small builds: workers that are killed, stopped for longer than a lease and let go on, servers that come and go.

enqueue ─▶ ledger ◀── worker ☠  worker ⏸  worker  ◀── an adversary, drawn from a seed
│            └──────┬───────┘
└── in the end: every run over, one commit record each, ledger and store of one mind, every manifest whole
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from processes import Processes
from small_plane import SmallPlane

import offline_feature_plane as ofs
from offline_feature_plane.corridor.publish import commit_key, manifest_key, read_manifest, read_vow
from offline_feature_plane.domain.runstates import TERMINAL
from offline_feature_plane.errors import OfsError

LEASE_US = 1_500_000
Trouble = Callable[[random.Random], None]


@dataclass
class Disorder:
    """Workers on one plane, and what happens to them. `troubles` are further things that may happen, such as a server's restart.

    `environment` is that of the workers; who opens the plane here sees to its own.
    """

    small: SmallPlane
    processes: Processes
    seed: int
    workers: int = 3
    troubles: Sequence[Trouble] = ()
    environment: dict[str, str] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)

    def run(self, requests: int, meanings: int, *, seconds: float) -> Counter[str]:
        """Enqueue requests for some meanings and disturb the workers until every run is over; how the runs ended.

        Raises:
            AssertionError: runs are left when the time is up.
        """
        draw = random.Random(self.seed)
        plane = ofs.open(self.small.folder / "plane.yaml")
        asked = [plane.enqueue(self._intent(number, number % meanings)).run.run_key for number in range(requests)]
        crew = {number: self._hire(number) for number in range(self.workers)}
        deadline, left = time.monotonic() + seconds, set(asked)
        try:
            while left:
                assert time.monotonic() < deadline, {key: plane.ledger.run(key) for key in left}
                time.sleep(draw.uniform(0.02, 0.25))
                self._disturb(draw, crew)
                with suppress(OfsError):
                    left = {key for key in left if plane.ledger.run(key).state not in TERMINAL}
        finally:
            for pid in crew.values():
                _signal(pid, signal.SIGCONT)
                _signal(pid, signal.SIGKILL)
                self.processes.wait(pid)
        return Counter(plane.ledger.run(key).state for key in asked)

    def _disturb(self, draw: random.Random, crew: dict[int, int]) -> None:
        number = draw.choice(sorted(crew))
        act = draw.choice(["kill", "stop", "stop", "terminate", *(["trouble"] if self.troubles else []), "nothing", "nothing", "nothing"])
        self.happened[act] += 1
        if act == "trouble":
            draw.choice(list(self.troubles))(draw)
        elif act == "stop":  # a zombie, if it stands still for longer than its lease
            _signal(crew[number], signal.SIGSTOP)
            time.sleep(draw.choice([0.1, LEASE_US / 1e6 * 1.4]))
            _signal(crew[number], signal.SIGCONT)
        elif act != "nothing":
            _signal(crew[number], signal.SIGKILL if act == "kill" else signal.SIGTERM)
            self.processes.wait(crew[number])
            crew[number] = self._hire(number)

    def _hire(self, number: int) -> int:
        return self.processes.start(self.small.folder, "worker", "--plane", "plane.yaml", "--json", name=f"worker{number}",
                                    lease_us=LEASE_US, environment=self.environment)

    def _intent(self, number: int, meaning: int) -> dict[str, object]:
        return {**self.small.intent, "request_id": f"request-{self.seed}-{number:05}", "correction": f"meaning {meaning}"}


def check_order(folder: Path) -> Counter[str]:
    """Is everything as it should be? How many runs ended how, and how many manifests there are.

    Raises:
        AssertionError: a run without an end, or with a wrong one; a manifest that is not whole; a record of nobody.
    """
    plane = ofs.open(folder / "plane.yaml")
    store, found, published = plane.store, Counter[str](), set[str]()
    runs = plane.ledger.runs(limit=1_000_000)
    for run in runs:
        plane.ledger.events(run.run_key)
        vow = read_vow(store, run.platform_run_id, run.run_key)
        assert run.state in TERMINAL, run
        assert vow is not None, run
        found[run.state] += 1
        if run.state == "DONE":
            assert run.result is not None
            visible = read_manifest(store.get(manifest_key(run.platform_run_id, run.result["dataset_manifest_id"])))
            assert (vow.outcome, vow.core_digest) == ("commit", visible.core_digest), run
            assert (run.result["core_digest"], run.result["manifest_digest"]) == (visible.core_digest, visible.digest), run
            assert (run.result["outcome"] == "PUBLISHED") == (visible.publisher == run.run_key), run
            published.add(visible.dm_id)
        else:
            assert vow.outcome == "tombstone", (run, vow)
            assert run.reason_code == vow.code, (run, vow)
    scope = plane.settings.run_scope
    assert set(store.list(f"{scope}/ofs/commits")) == {commit_key(scope, run.run_key) for run in runs}
    assert {Path(key).stem for key in store.list(f"{scope}/ofs/manifests")} == published
    for dm_id in published:
        report = plane.verify(dm_id)
        assert report.intact, [check for check in report.checks if not check.passed]
    assert plane.quarantined() == ()
    return found + Counter(manifests=len(published))


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
