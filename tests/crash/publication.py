"""One tiny dataset, published through the real store, the real ledger and the real protocol; and a store that is filled and emptied.

Both tell what they were promised, so that a test can hold the disk to it: a store that answered `created` or `exists` has the object, and
a ledger that answered has the run in that state. Either can be run again in the same folder as often as it takes.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from offline_feature_plane.corridor import layout
from offline_feature_plane.corridor import publish as protocol
from offline_feature_plane.corridor.claims import Worker, claim, held
from offline_feature_plane.corridor.settlement import settle
from offline_feature_plane.domain.canonical import canonical_bytes, load_json, sha256_of
from offline_feature_plane.domain.identity import run_key as key_of
from offline_feature_plane.errors import DigestMismatch, OfsError, StorageIoFailure
from offline_feature_plane.ledger.sqlite import SqliteLedger
from offline_feature_plane.objects.local import LocalStore
from offline_feature_plane.ports import Run
from offline_feature_plane.testing.asking import LEASE_US, ManualClock

PLACE, DM, REQUEST = "cards", f"dm_{0:032x}", "request-0000"
RUN_KEY = key_of(REQUEST)
PARTS = {f"{sha256_of(data)[7:]}.parquet": data for data in (b"first part " * 900, b"second part " * 40)}
CORE = {"parts": {name: sha256_of(data) for name, data in PARTS.items()}}

Say = Callable[[str], object]


class Telling:
    """A store or ledger, each answer of which that promises something is told."""

    def __init__(self, target: Any, say: Say) -> None:
        self._target, self._say = target, say

    def __getattr__(self, name: str) -> Any:
        """A method of the target that tells; other things as they are."""
        member = getattr(self._target, name)
        if name not in {"put_new", "put_file", "delete", "submit", "claim", "done", "failed", "publish_pending", "release"}:
            return member

        def call(*args: Any, **named: Any) -> Any:
            answer = member(*args, **named)
            if isinstance(answer, Run):
                self._say(json.dumps(["run", answer.state, answer.attempt]))
            elif name == "submit":
                self._say(json.dumps(["run", answer.run.state, answer.run.attempt]))
            else:
                self._say(json.dumps([name.partition("_")[0], args[0]]))
            return answer
        return call


def open_store(folder: Path) -> LocalStore:
    """The store of a folder; the folders that lead to it are made by its first object."""
    return LocalStore(folder / "deep" / "store")


def open_ledger(folder: Path) -> SqliteLedger:
    """The ledger of a folder; the folders that lead to it are made by its first run."""
    return SqliteLedger(folder / "deep" / "ledger" / "runs.db", ManualClock())


def publish(folder: Path, say: Say = lambda _: None, *, dm_id: str = DM, request_id: str = REQUEST) -> str:
    """Ask for the dataset, and bring its run to the end: how it ended. A run that somebody left is taken over, as from a dead worker."""
    store, ledger = Telling(open_store(folder), say), Telling(open_ledger(folder), say)
    worker = Worker("me", LEASE_US, lambda _: nullcontext(), lambda _: True)  # type: ignore[arg-type, return-value]
    run = ledger.submit(request_id=request_id, payload_digest=sha256_of(b"asked"), platform_run_id=PLACE, payload={"asked": 1}).run
    published = None
    while published is None and (run := claim(run, ledger, ManualClock(), worker, lambda *_: None)).state != "DONE":
        with held(run, ledger, worker):
            published = settle(store, ledger, run, dm_id=dm_id, work=lambda run=run: _work(store, ledger, run, folder, dm_id),
                               verify=lambda manifest: check_parts(store, manifest))
    return published.outcome if published else "DONE"


def publish_many(folder: Path, count: int, who: str) -> str:
    """Publish so many datasets one after the other, by requests of one's own: how they ended."""
    found = Counter(publish(folder, dm_id=f"dm_{number:032x}", request_id=f"request-{who}-{number:05}") for number in range(count))
    return json.dumps(found)


def fill(folder: Path, say: Say = lambda _: None) -> str:
    """Put objects of both kinds, twice, in folders that are new and old; delete one."""
    store = Telling(open_store(folder), say)
    for data in (b"one " * 2_000, b"", b"three"):
        store.put_new(f"a/b/{len(data)}", data)
    store.put_new("a/c", b"beside")
    for name, data in PARTS.items():
        store.put_file(f"a/files/{name[:8]}", _staged(folder, name, data))
    store.put_new("a/b/0", b"")
    store.put_new("gone", b"for a while")
    store.delete("gone")
    return "FILLED"


FILLED = {"a/b/8000": b"one " * 2_000, "a/b/0": b"", "a/b/5": b"three", "a/c": b"beside",
          **{f"a/files/{name[:8]}": data for name, data in PARTS.items()}}


def main(program: str, disk: Path, told: Path) -> int:
    """Run `publish`, `fill`, or `many <count> <who>` in a process of its own: exit status."""
    name, *words = program.split()
    with told.open("ab", buffering=0) as file:
        try:
            ended = publish_many(disk, int(words[0]), words[1]) if name == "many" else \
                {"publish": publish, "fill": fill}[name](disk, lambda text: file.write(f"{text}\n".encode()))
            file.write(f"{json.dumps(['ended', ended])}\n".encode())
        except OfsError as wrong:
            return wrong.exit_status
    return 0


def _work(store: Any, ledger: Any, run: Run, folder: Path, dm_id: str) -> bytes:
    """Stage all parts, each noted in the ledger, then the manifest's bytes; or the manifest that is visible."""
    if (visible := protocol.find_published(store, PLACE, dm_id)) is not None:
        return visible
    for name, data in PARTS.items():
        store.put_file(f"{layout.data_prefix(PLACE, dm_id, run.run_key)}/{name}", _staged(folder, name, data))
        ledger.note(run.run_key, attempt=run.attempt, kind="PART_STORED", details={"part": name})
    return canonical_bytes({"dataset_manifest_id": dm_id, "core": CORE, "evidence": {"publisher": {"run_key": run.run_key},
                                                                                  "attempt": run.attempt}})


def _staged(folder: Path, name: str, data: bytes) -> Path:
    """A file as an engine leaves it: written, in a folder of its own, and not synced."""
    try:
        (folder / "work").mkdir(exist_ok=True)
        path = Path(tempfile.mkdtemp(dir=folder / "work")) / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError as wrong:
        raise StorageIoFailure(f"cannot write {name}: {wrong.strerror}.", fix="") from wrong
    return path


def check_parts(store: Any, manifest: protocol.Manifest) -> None:
    """All bytes of a manifest are there. Raises DigestMismatch, RefNotFound."""
    for name, digest in manifest.document["core"]["parts"].items():
        if store.digest(f"{layout.data_prefix(PLACE, manifest.dm_id, manifest.publisher)}/{name}") != digest:
            raise DigestMismatch("a part is damaged.", fix="")


def check_told(folder: Path, told: list[list[Any]]) -> None:
    """What a publication was told is so: objects that were put are there, and the run is where it was or further on.

    Raises:
        AssertionError: something that was acknowledged is lost.
    """
    store, states = open_store(folder), [said[1:] for said in told if said[0] == "run"]
    for said in told:
        assert said[0] != "put" or store.exists(said[1]), said
    if states:
        (state, attempt), run = states[-1], open_ledger(folder).run(RUN_KEY)
        assert run.attempt >= attempt
        assert run.state == state or run.attempt > attempt or (state == "RUNNING" and run.state == "DONE"), (run, state)
    for key in store.list(""):
        name = key.rpartition("/")[2]
        assert store.get(key) == PARTS[name] if name in PARTS else load_json(store.get(key)), key


def check_sight(folder: Path) -> str:
    """Whoever looks now sees nothing half: the state of the run, or an empty text if there is none (R4, R5).

    Raises:
        AssertionError: a manifest without all of its bytes, more commit records than one, or a ledger that says more than the store.
    """
    store, ledger = open_store(folder), open_ledger(folder)
    visible = None
    if store.exists(layout.manifest_key(PLACE, DM)):
        visible = protocol.read_manifest(store.get(layout.manifest_key(PLACE, DM)))
        assert visible.document["core"] == CORE
        check_parts(store, visible)
    vow = protocol.read_vow(store, PLACE, RUN_KEY)
    assert list(store.list(f"{PLACE}/ofs/commits")) == ([layout.commit_key(PLACE, RUN_KEY)] if vow else [])
    assert vow is None or vow.outcome == "commit"
    if visible is not None:
        assert vow is not None
        assert vow.core_digest == visible.core_digest
    runs = ledger.runs()
    for run in runs:
        ledger.events(run.run_key)
        if run.state == "DONE":
            assert visible is not None
            assert run.result == {"outcome": "PUBLISHED", "dataset_manifest_id": DM, "core_digest": visible.core_digest,
                                  "manifest_digest": visible.digest, "manifest_key": layout.manifest_key(PLACE, DM)}
            assert store.exists(layout.by_id_key(DM))
    return "".join(run.state for run in runs)
