"""Whatever happens between a store and its server, the answer is right or a typed error: every fault on every operation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, get_args

import pytest
from s3_servers import Weed, open_store, place_at

from offline_feature_plane.contracts.plane import S3Access
from offline_feature_plane.errors import DigestMismatch, StorageIoFailure
from offline_feature_plane.objects.s3 import store as store_module
from offline_feature_plane.objects.s3 import upload as upload_module
from offline_feature_plane.objects.s3.store import S3Store
from offline_feature_plane.testing.asking import ManualClock
from offline_feature_plane.testing.fault_proxy import Fault, FaultProxy, How

pytestmark = pytest.mark.crash

OURS, THEIRS = b"ours" * 5_000, b"theirs" * 4_000
HOWS: tuple[How, ...] = tuple(how for how in get_args(How) if how not in {"ignore condition", "delay"})  # they have tests of their own
WRITES = ("PutObject", "CompleteMultipartUpload")


class Between:
    """A place seen through a proxy, and seen directly. Nobody waits there."""

    def __init__(self, proxy: FaultProxy, weed: Weed) -> None:
        direct = place_at(weed.url)
        self.proxy = proxy
        self.direct = open_store(direct)
        self.store = open_store(place_at(proxy.url, direct.prefix.strip("/")), ManualClock())
        self._folders = count()
        self.direct.put_new("first", b"first")
        self.store.put_new("second", b"second")  # both are tried by now

    def hasty(self, timeout_s: float) -> S3Store:
        """The store seen through the proxy, which waits less than a setting could say."""
        access = S3Access.model_construct(**{**dict(self.store.place.access), "timeout_s": timeout_s})
        made = open_store(replace(self.store.place, access=access), ManualClock())
        made.put_new("hasty", b"")
        return made

    def folder(self) -> str:
        """A part of the place that no test has used."""
        return f"folder-{next(self._folders)}"

    def standing(self, key: str) -> bytes | None:
        """What the server has."""
        return self.direct.get(key) if self.direct.exists(key) else None


@pytest.fixture(scope="module")
def one_place(weed: Weed) -> Iterator[Between]:
    """The place, which is tried only once."""
    with FaultProxy(weed.url) as proxy:
        yield Between(proxy, weed)


@pytest.fixture
def between(one_place: Between) -> Iterator[Between]:
    """The same, without faults before and after a test."""
    one_place.proxy.script()
    yield one_place
    one_place.proxy.script()


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is longer than 8 kB goes in parts: in one of them, as all but the last have 5 MB at least."""
    monkeypatch.setattr(store_module, "LONGEST_PUT", 8_000)


def faults(how: How, *, usual: bool) -> Iterator[tuple[Fault, ...]]:
    """One fault on the first, second, … request, on every request, and on all requests that create."""
    yield from ((Fault(how, nth=nth),) for nth in range(1 if usual else 4))
    if not usual:
        yield (Fault(how, nth=0), Fault(how, nth=1))
    yield (Fault(how, nth=None),)
    yield tuple(Fault(how, operation, None) for operation in WRITES)


ways_to_put = pytest.mark.parametrize(("how", "kind", "usual"), [
    *((how, kind, True) for how in HOWS for kind in ("new", "file")),
    *(pytest.param(how, kind, False, marks=pytest.mark.long) for how in HOWS for kind in ("new", "file"))])


def put(store: S3Store, kind: str, key: str, data: bytes, folder: Path) -> str:
    """Put bytes in one of the ways, and say what came of it."""
    try:
        if kind == "new":
            return store.put_new(key, data)
        path = folder / hashlib.sha256(data).hexdigest()
        path.write_bytes(data)
        return store.put_file(key, path)
    except StorageIoFailure as failed:
        return failed.code


@pytest.mark.usefixtures("parts")
@ways_to_put
def test_a_put_creates_the_whole_object_or_fails(between: Between, how: How, kind: str, usual: bool, tmp_path: Path) -> None:
    """One fault on the way of a put is made good; if faults do not end, the answer is a failure, and there is the whole object or none."""
    for script in faults(how, usual=usual):
        key = f"{between.folder()}/object"
        between.proxy.script(*script)
        outcome = put(between.store, kind, key, OURS, tmp_path)
        between.proxy.script()
        standing = between.standing(key)
        if outcome == "created" or (len(script) == 1 and script[0].nth is not None):
            assert standing == OURS
            assert outcome == "created" or (outcome == "exists" and how == "twice")  # the second of two requests answered
        else:
            assert standing in {None, OURS}
            assert outcome == ("exists" if how == "twice" else "STORAGE_IO_FAILURE")


@pytest.mark.usefixtures("parts")
@ways_to_put
def test_a_put_never_changes_what_is_there(between: Between, how: How, kind: str, usual: bool, tmp_path: Path) -> None:
    """Whatever happens on the way, an object stays as it is, and nobody is told to have created it."""
    key = f"{between.folder()}/object"
    between.direct.put_new(key, THEIRS)
    for script in faults(how, usual=usual):
        between.proxy.script(*script)
        outcome = put(between.store, kind, key, OURS, tmp_path)
        between.proxy.script()
        assert outcome == "exists" or (outcome == "STORAGE_IO_FAILURE" and (script[0].nth is None or len(script) == 2))
        assert between.standing(key) == THEIRS


@pytest.mark.usefixtures("parts")
@ways_to_put
def test_two_writers_are_never_both_told_that_they_created(between: Between, how: How, kind: str, usual: bool, tmp_path: Path) -> None:
    """Of two writers at once, one of them behind a faulty network, at most one is told `created`, and its bytes stand."""
    for script in faults(how, usual=usual):
        key = f"{between.folder()}/object"
        between.proxy.script(*script)
        with ThreadPoolExecutor(2) as pool:
            both = (pool.submit(put, between.store, kind, key, OURS, tmp_path),
                    pool.submit(put, between.direct, "new", key, THEIRS, tmp_path))
            ours, theirs = (one.result() for one in both)
        between.proxy.script()
        standing = between.standing(key)
        assert (ours, theirs) != ("created", "created")
        assert standing == (OURS if ours == "created" else THEIRS if theirs == "created" else standing)
        assert standing in {OURS, THEIRS}


def test_nothing_is_sent_twice_behind_our_back(weed: Weed) -> None:
    """After a lost answer the store is read, not written again: the SDK repeats no request of its own accord."""
    with FaultProxy(weed.url) as proxy:  # a new client, which has not spent what it may repeat
        store = open_store(place_at(proxy.url), ManualClock())
        store.prove()
        for how in ("reset after", "500 after"):
            proxy.script(Fault(how))
            assert store.put_new(how.replace(" ", "-"), OURS) == "created"
            assert proxy.seen == ["PutObject", "GetObject"]


Read = Callable[[S3Store, str, Path], Any]
READS: dict[str, tuple[Read, Any]] = {
    "get": (lambda store, below, scratch: store.get(f"{below}/object"), OURS),
    "digest": (lambda store, below, scratch: store.digest(f"{below}/object"), f"sha256:{hashlib.sha256(OURS).hexdigest()}"),
    "local copy": (lambda store, below, scratch: store.local_copy(f"{below}/object", scratch).read_bytes(), OURS),
    "exists": (lambda store, below, scratch: store.exists(f"{below}/object"), True),
    "exists, empty": (lambda store, below, scratch: store.exists(f"{below}/empty"), True),
    "exists not": (lambda store, below, scratch: store.exists(f"{below}/thing"), False),
    "list": (lambda store, below, scratch: [key.removeprefix(below) for key in store.list(below)], ["/empty", "/object"]),
    "delete": (lambda store, below, scratch: store.delete(f"{below}/empty"), None),
}
PLACES = {"reset in download": (0.02, 0.5, 0.98), "truncate": (0.02, 0.5, 0.98), "corrupt download": (0.02, 0.1, 0.3, 0.5, 0.98)}
BODILESS = ("corrupt upload", "reset in upload")  # nothing is uploaded


@pytest.mark.parametrize("operation", READS)
@pytest.mark.parametrize(("how", "where", "nths"), [
    *((how, 0.5, ((0,), (None,))) for how in HOWS if how not in BODILESS),
    *(pytest.param(how, where, ((0,), (1,), (0, 1), (None,)), marks=pytest.mark.long) for how in HOWS if how not in BODILESS
      for where in PLACES.get(how, (0.5,)))])
def test_reading_gives_what_is_there_or_a_failure(between: Between, how: How, where: float, nths: Sequence[Sequence[int | None]],
                                                           operation: str, tmp_path: Path) -> None:
    """No fault makes a read give other bytes, or take what is there for absent; a single one is made good.

    Only a list cannot tell that a bit of it was flipped, as it has no digest; nobody decides by a list alone.
    """
    below, (read, right) = between.folder(), READS[operation]
    between.direct.put_new(f"{below}/object", OURS)
    between.direct.put_new(f"{below}/empty", b"")
    for struck in nths:
        between.proxy.script(*(Fault(how, nth=nth, where=where) for nth in struck))
        try:
            found = read(between.store, below, tmp_path)
        except StorageIoFailure:
            assert None in struck or how == "corrupt download"
        except DigestMismatch:  # the same wrong bytes came twice
            assert how == "corrupt download"
            assert len(struck) == 2 or None in struck
        else:
            assert found == right or (operation, how) == ("list", "corrupt download")
        between.proxy.script()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("step", [0.49, pytest.param(0.004, marks=pytest.mark.long)])
@pytest.mark.parametrize("how", ["corrupt download", "truncate", "reset in download"])
def test_an_answer_may_break_anywhere(between: Between, how: How, step: float, tmp_path: Path) -> None:
    """Wherever an answer is cut or a bit of it flips, status line and headers included: right, or typed; what is stored stays as it is."""
    below, wheres = between.folder(), [number * step for number in range(int(1 / step) + 1)]
    between.direct.put_new(f"{below}/object", OURS)
    between.direct.put_new(f"{below}/empty", b"")
    hasty = between.hasty(0.3)
    for where in wheres:
        for name, (read, right) in READS.items():
            for nth in (0, None):
                between.proxy.script(Fault(how, nth=nth, where=where))
                with suppress(StorageIoFailure, DigestMismatch):
                    assert read(hasty, below, tmp_path) == right or (name, how) == ("list", "corrupt download")
            between.proxy.script()
            between.direct.put_new(f"{below}/empty", b"")  # one of them deletes it
        between.proxy.script(Fault(how, nth=None, where=where))
        key = f"{between.folder()}/object"
        outcome = put(hasty, "new", key, OURS, tmp_path)
        assert between.standing(key) in ({OURS} if outcome == "created" else {OURS, None})


@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.long)])
def test_a_slow_answer_counts_as_none(between: Between, step: int, tmp_path: Path) -> None:
    """A store that is silent for too long is asked again, and a put that it has carried out meanwhile is found."""
    below, hasty = between.folder(), between.hasty(0.2)
    between.direct.put_new(f"{below}/object", OURS)
    between.direct.put_new(f"{below}/empty", b"")
    for nth in (0, None):
        between.proxy.script(Fault("delay", nth=nth, seconds=0.5))
        key = f"{between.folder()}/object"
        outcome = put(hasty, "new", key, OURS, tmp_path)
        assert outcome == ("STORAGE_IO_FAILURE" if nth is None else "created")
        assert between.standing(key) == OURS
    for read, right in list(READS.values())[::step]:
        between.proxy.script(Fault("delay", seconds=0.5))
        assert read(hasty, below, tmp_path) == right


def test_a_long_file_survives_faults_in_each_of_its_requests(between: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in several parts is whole after a fault in any request of its upload, and no parts are left behind."""
    monkeypatch.setattr(store_module, "LONGEST_PUT", 5 << 20)
    monkeypatch.setattr(upload_module, "PART", 5 << 20)
    data = bytes(range(256)) * (11 << 12)  # 11 MB in three parts
    (tmp_path / "part").write_bytes(data)
    for number, script in enumerate([(), (Fault("reset after", "UploadPart", 1), Fault("reset in upload", "UploadPart", 2),
                                          Fault("503 before", "CreateMultipartUpload")),
                                     (Fault("409 before", "CompleteMultipartUpload"), Fault("500 after", "CompleteMultipartUpload", 1))]):
        key = f"long/{number}.parquet"
        between.proxy.script(*script)
        assert between.store.put_file(key, tmp_path / "part") == "created"
        assert between.proxy.struck == len(script)
        assert between.store.put_file(key, tmp_path / "part") == "exists"
        between.proxy.script()
        assert between.store.local_copy(key, tmp_path).read_bytes() == data
    client = between.direct._bucket._client
    assert "Uploads" not in client.list_multipart_uploads(Bucket=between.direct.place.bucket, Prefix=f"{between.direct.place.prefix}long/")
