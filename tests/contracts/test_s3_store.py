"""A store in a bucket keeps the contract of all stores on real servers, refuses those that lie, and loses nothing that was acknowledged."""

from __future__ import annotations

import functools
import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lying_stores import LIES, overwrites_and_denies_it, shows_new_objects_late
from s3_servers import BUCKET, Weed, open_store, place_at, rclone

from offline_feature_plane.errors import DigestMismatch, OfsError, RefNotFound, ResourceExceeded, StorageIoFailure, StoreUnsafe
from offline_feature_plane.objects.s3 import store as store_module
from offline_feature_plane.objects.s3.probe import KEPT, OBJECT, check_store
from offline_feature_plane.objects.s3.store import S3Store
from offline_feature_plane.s3 import bucket as bucket_module
from offline_feature_plane.testing.asking import ManualClock
from offline_feature_plane.testing.fault_proxy import Fault, FaultProxy, Forward, How
from offline_feature_plane.testing.object_requests import Answer, Request
from offline_feature_plane.testing.store_contract import StoreContract


class TestOnSeaweed(StoreContract):
    @pytest.fixture
    def reopen(self, weed):
        """The same store, opened anew."""
        return functools.partial(open_store, place_at(weed.url))


class TestOnMoto(StoreContract):
    @pytest.fixture
    def reopen(self, moto):
        """The same store, opened anew."""
        return functools.partial(open_store, place_at(moto))

    @pytest.mark.long
    def test_one_of_many_processes_wins(self, reopen):
        """As on the other server."""
        super().test_one_of_many_processes_wins(reopen)


@pytest.fixture
def store(weed: Weed) -> S3Store:
    """An empty store on SeaweedFS."""
    return open_store(place_at(weed.url), ManualClock())


def client_of(store: S3Store):
    """The SDK's client, for what other people do to a bucket."""
    return store._bucket._client


def everything_in(store: S3Store) -> list[str]:
    """All names below the store's prefix, ours or not."""
    return sorted(store._bucket.keys(""))


# --- stores that lie ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def liar(moto: str) -> Iterator[FaultProxy]:
    """A proxy before a server that checks no signatures."""
    with FaultProxy(moto) as made:
        yield made


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_store_that_lies_is_refused(moto: str, liar: FaultProxy, lie: Callable[..., Any], tmp_path: Path) -> None:
    """A lying store is found out before anything is written, by every writer anew; at most one small object of the trial is left (R7)."""
    (tmp_path / "part").write_bytes(b"part")
    honest = open_store(place_at(moto))
    liar.between = lie() if lie is shows_new_objects_late else lie
    for attempt in (lambda store: store.put_new("a/b", b"1"), lambda store: store.put_file("a/b", tmp_path / "part")):
        store = open_store(place_at(liar.url, honest.place.prefix.strip("/")), ManualClock())
        with pytest.raises(StoreUnsafe) as refused:
            attempt(store)
        assert refused.value.fix
        if lie is shows_new_objects_late:  # the second time nothing is new
            break
    assert set(everything_in(honest)) <= {OBJECT}
    if lie is not overwrites_and_denies_it:
        assert honest.put_new("a/b", b"1") == "created"  # the liar is replaced
    else:
        with pytest.raises(StoreUnsafe, match=r"\.ofs-probe/object"):
            honest.put_new("a/b", b"1")
        client_of(honest).delete_object(Bucket=BUCKET, Key=f"{honest.place.prefix}{OBJECT}")
        assert honest.put_new("a/b", b"1") == "created"


def test_a_store_that_admits_to_know_no_conditions_is_refused(liar: FaultProxy) -> None:
    """A store may say that it cannot; then nothing is written either."""
    def between(request: Request, forward: Forward) -> Answer:
        return Answer.error(501, "NotImplemented") if request.header("if-none-match") and request.body is not None else forward(request)

    liar.between = between
    store = open_store(place_at(liar.url), ManualClock())
    with pytest.raises(StorageIoFailure, match="NotImplemented") as refused:
        store.put_new("a", b"1")
    assert "conditional writes" in refused.value.fix
    assert everything_in(store) == []


def test_a_server_that_ignores_conditions_is_refused(tmp_path: Path) -> None:
    """A server that takes `If-None-Match` and does as it likes may be read from, never written to (R7)."""
    with rclone(tmp_path) as url:
        store = open_store(place_at(url, "cards"), ManualClock())
        assert not store.exists("a")
        for _ in range(2):
            with pytest.raises(StoreUnsafe, match="ignores If-None-Match on PutObject") as refused:
                store.put_new("a", b"1")
        assert refused.value.exit_status == 7
    assert [path.read_bytes() for path in (tmp_path / BUCKET).rglob("*") if path.is_file()] == [KEPT]


@pytest.fixture(scope="module")
def network(weed: Weed) -> Iterator[FaultProxy]:
    """A proxy before SeaweedFS."""
    with FaultProxy(weed.url) as made:
        yield made


def test_a_trial_is_cheap_and_leaves_one_object(network: FaultProxy) -> None:
    """A process tries a store with a dozen requests, once; reading tries nothing; what is left is no object of the store."""
    network.script()
    store = open_store(place_at(network.url))
    assert list(store.list("")) == []
    assert len(network.seen) == 1
    store.put_new("a", b"1")
    store.put_new("b", b"1")
    assert len(network.seen) <= 1 + 12 + 2
    assert open_store(store.place).put_new("c", b"1") == "created"
    assert everything_in(store) == [OBJECT, "a", "b", "c"]
    assert list(store.list("")) == ["a", "b", "c"]
    assert "Uploads" not in client_of(store).list_multipart_uploads(Bucket=BUCKET, Prefix=store.place.prefix)


def test_many_try_at_once(weed: Weed) -> None:
    """Trials of many processes at once do not disturb each other, on an empty store and later."""
    place = place_at(weed.url)
    for _ in range(2):
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda _: check_store(open_store(place)._bucket), range(4))) == [None] * 4


@pytest.mark.parametrize("how", ["reset before", "reset after", "truncate", "twice", *(
    pytest.param(how, marks=pytest.mark.long) for how in ("500 after", "503 before", "409 before", "reset in upload", "reset in download",
                                                          "corrupt upload"))])
def test_an_honest_store_behind_a_bad_network_is_not_called_a_liar(network: FaultProxy, how: How) -> None:
    """One fault anywhere in a trial changes nothing about its outcome; faults without end are a failure, not a verdict."""
    bucket = open_store(place_at(network.url), ManualClock())._bucket
    for nth in range(11):
        network.script(Fault(how, nth=nth))
        check_store(bucket)
        assert network.struck == 1
    network.script(Fault(how, nth=None))
    with suppress(StorageIoFailure):
        check_store(bucket)


# --- objects ------------------------------------------------------------------------------------------------


def test_a_damaged_object_is_told_from_a_damaged_answer(store: S3Store, tmp_path: Path) -> None:
    """Bytes that are stored under a digest that they do not have are an integrity error; without a digest they are what they are."""
    store.put_new("a", b"1")
    client, name = client_of(store), {"Bucket": BUCKET, "Key": f"{store.place.prefix}a"}
    client.put_object(**name, Body=b"2", Metadata={bucket_module.DIGEST: hashlib.sha256(b"1").hexdigest()})
    for read in (lambda: store.get("a"), lambda: store.digest("a"), lambda: store.local_copy("a", tmp_path)):
        with pytest.raises(DigestMismatch):
            read()
    assert store.put_new("a", b"1") == "exists"
    client.put_object(**name, Body=b"2")
    assert store.get("a") == b"2"
    assert store.local_copy("a", tmp_path).read_bytes() == b"2"


def test_a_copy_is_made_once_and_checked_each_time(store: S3Store, tmp_path: Path) -> None:
    """A copy that is there is taken if it has the right bytes, made again if not; no unfinished copy is ever seen."""
    store.put_new("data/x.parquet", b"rows")
    copy = store.local_copy("data/x.parquet", tmp_path / "new")
    assert copy.name == f"{hashlib.sha256(b'rows').hexdigest()}.parquet"
    made = copy.stat().st_mtime_ns
    assert store.local_copy("data/x.parquet", tmp_path / "new") == copy
    assert copy.stat().st_mtime_ns == made
    copy.write_bytes(b"ROWS")
    assert store.local_copy("data/x.parquet", tmp_path / "new").read_bytes() == b"rows"
    assert list((tmp_path / "new").iterdir()) == [copy]
    with ThreadPoolExecutor(8) as pool:
        copies = list(pool.map(lambda _: store.local_copy("data/x.parquet", tmp_path / "many"), range(8)))
    assert {one.read_bytes() for one in copies} == {b"rows"}
    assert len(list((tmp_path / "many").iterdir())) == 1


def test_a_copy_that_cannot_be_written_is_the_disks_failure(store: S3Store, tmp_path: Path) -> None:
    """A scratch folder that cannot be made is a typed error with advice about the disk; the store is not asked again and again."""
    store.put_new("a", b"1")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageIoFailure, match="cannot write to"):
        store.local_copy("a", tmp_path / "file" / "folder")


def test_a_document_has_a_budget(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read whole is refused by its length, before it is read."""
    store.put_new("a", b"12345")
    monkeypatch.setattr(store_module, "MAX_DOCUMENT", 4)
    with pytest.raises(ResourceExceeded, match="5 bytes"):
        store.get("a")


def test_a_long_list_comes_in_pages(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of several pages is whole and in byte order, and names that are no keys are left out."""
    client = client_of(store)
    names = [f"d/{number:02}" for number in range(7)]
    for name in [*names, "d/.hidden", "d/sp ace", "e/x"]:
        client.put_object(Bucket=BUCKET, Key=store.place.prefix + name, Body=b"")
    real = client.list_objects_v2
    pages = []

    def short(**parameters):
        pages.append(parameters)
        return real(**parameters, MaxKeys=2)

    monkeypatch.setattr(client, "list_objects_v2", short)
    assert list(store.list("d")) == names
    assert len(pages) >= 4


def test_a_list_without_an_end_is_a_failure(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store whose pages lead in a circle is not followed for ever."""
    monkeypatch.setattr(client_of(store), "list_objects_v2", lambda **_: {"IsTruncated": True, "NextContinuationToken": "again"})
    with pytest.raises(StorageIoFailure, match="do not end"):
        list(store.list(""))


def test_half_a_page_is_no_list(moto: str, liar: FaultProxy) -> None:
    """An answer that ends before it says whether more follows is asked for again, not taken for a list without objects."""
    honest = open_store(place_at(moto))
    honest.put_new("a", b"1")
    empty = iter([Answer(200)])
    liar.between = lambda request, forward: next(empty, None) or forward(request)
    assert list(open_store(place_at(liar.url, honest.place.prefix.strip("/")), ManualClock()).list("")) == ["a"]
    liar.between = lambda request, forward: Answer(200)
    with pytest.raises(StorageIoFailure, match="makes no sense"):
        list(open_store(place_at(liar.url), ManualClock()).list(""))


def test_parts_that_cannot_be_joined_any_more_are_sent_again(liar: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a conflict at joining, some stores give the parts up: the whole upload begins anew."""
    monkeypatch.setattr(store_module, "LONGEST_PUT", 8_000)
    (tmp_path / "part").write_bytes(b"x" * 9_000)
    dead: set[str] = set()

    def between(request: Request, forward: Forward) -> Answer:
        upload = request.target.partition("uploadId=")[2]
        if request.operation == "CompleteMultipartUpload" and (upload in dead or not dead):
            assert request.body
            answer = Answer.error(404, "NoSuchUpload") if upload in dead else Answer.error(409, "ConditionalRequestConflict")
            dead.add(upload)
            return answer
        return forward(request)

    liar.between = lambda request, forward: forward(request)
    store = open_store(place_at(liar.url), ManualClock())
    store.prove()
    liar.between = between
    assert store.put_file("long", tmp_path / "part") == "created"
    assert len(dead) == 1
    assert store.get("long") == b"x" * 9_000


def test_only_files_are_put(store: S3Store, tmp_path: Path) -> None:
    """`put_file` takes a regular file only: no link, no folder, nothing absent."""
    (tmp_path / "part").write_bytes(b"part")
    (tmp_path / "link").symlink_to(tmp_path / "part")
    for path in (tmp_path / "link", tmp_path, tmp_path / "absent"):
        with pytest.raises(StorageIoFailure):
            store.put_file("c", path)
    assert everything_in(store) == []


def test_one_of_many_wins_in_whichever_way_they_put(weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 16 threads that create one key, in one request or in parts, exactly one gets `created`, and its bytes stay."""
    monkeypatch.setattr(store_module, "LONGEST_PUT", 8_000)
    place = place_at(weed.url)

    def put(number: int) -> str:
        data = bytes([number]) * 20_000
        if number % 2:
            return open_store(place).put_new("object", data)
        path = tmp_path / str(number)
        path.write_bytes(data)
        return open_store(place).put_file("object", path)

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(put, range(16)))
    assert sorted(outcomes) == ["created"] + ["exists"] * 15
    assert open_store(place).get("object") == bytes([outcomes.index("created")]) * 20_000


# --- a server that dies -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mortal() -> Iterator[Weed]:
    """A server that may be killed."""
    server = Weed()
    yield server
    server.close()


@pytest.mark.parametrize("deaths", [1, pytest.param(8, marks=pytest.mark.long)])
def test_what_was_acknowledged_survives_kill_9(mortal: Weed, deaths: int) -> None:
    """Four writers go on while the server is killed and started again: all that was acknowledged is there with its bytes, nothing twice.

    writers ──put──put──?───?───?──put──▶      ? fails, or is made good after the restart
    server  ────────── kill -9   start ──▶
    """
    place, ended = place_at(mortal.url), threading.Event()
    open_store(place).put_new("first", b"")

    def write(writer: int) -> dict[str, str]:
        told: dict[str, str] = {}
        for number in itertools.count():
            if ended.is_set():
                return told
            key = f"w{writer}/{number}"
            with suppress(StorageIoFailure):
                told[key] = open_store(place).put_new(key, key.encode() * 100)
        raise AssertionError

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(4)]
        for _ in range(deaths):
            ended.wait(0.5)
            mortal.kill()
            mortal.start()
        ended.wait(0.5)
        ended.set()
        told = {key: outcome for one in writers for key, outcome in one.result().items()}
    store = open_store(place)
    assert len(told) > 40
    assert set(told.values()) == {"created"}
    for key in told:
        assert store.get(key) == key.encode() * 100
    assert set(told) <= set(store.list(""))
    for key in set(store.list("")) - set(told) - {"first"}:  # those that nobody knew about
        assert store.get(key) == key.encode() * 100


def test_a_server_that_is_gone_is_a_failure_with_advice(mortal: Weed) -> None:
    """Every operation on an unreachable server ends, typed, with the setting to look at."""
    store = open_store(place_at(mortal.url), ManualClock())
    store.put_new("a", b"1")
    mortal.kill()
    for attempt in (lambda: store.put_new("b", b""), lambda: store.get("a"), lambda: store.digest("a"), lambda: store.exists("a"),
                    lambda: list(store.list("")), lambda: store.delete("a"), lambda: store.local_copy("a", Path("unused"))):
        with pytest.raises(StorageIoFailure, match="cannot be reached") as failed:
            attempt()
        assert "s3.endpoint" in failed.value.fix
    mortal.start()
    assert store.get("a") == b"1"
    with pytest.raises(RefNotFound):
        store.get("b")


def test_every_refusal_is_one_of_ours(store: S3Store) -> None:
    """A client that is told to fail in a way that nobody expected still ends in a typed error."""
    def broken(**_: object) -> None:
        raise RuntimeError("the SDK is broken")

    store._bucket._client = type("Client", (), {"get_object": staticmethod(broken), "list_objects_v2": staticmethod(broken)})()
    for attempt in (lambda: store.get("a"), lambda: store.exists("a"), lambda: list(store.list("")), lambda: store.digest("a")):
        with pytest.raises(OfsError, match="makes no sense"):
            attempt()



@pytest.mark.parametrize("server", ["weed", "moto"])
def test_parts_of_runs_that_are_over_are_told_and_forgotten(server, request):
    """An upload in parts that was begun and not ended is left over iff its run is over; forgetting it twice is fine."""
    found = request.getfixturevalue(server)
    store = open_store(place_at(getattr(found, "url", found)))
    for key in ("p/over.parquet", "p/live.parquet", "q/over.parquet"):
        store._bucket.request("create_multipart_upload", key)
    (left,) = store.leftovers("p", lambda key: "over" in key)
    assert left.name.startswith("p/over.parquet")
    assert store.remove_leftover(left)
    store.remove_leftover(left)
    assert list(store.leftovers("p", lambda key: "over" in key)) == []
    assert len(list(store.leftovers("", lambda key: True))) == 2
