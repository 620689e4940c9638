"""The local store keeps the contract of all stores, and the sharper promises of a folder."""

import errno
import functools
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offline_feature_plane import process_locks
from offline_feature_plane.errors import OfsError, RefInvalid, RefNotFound, RefScopeInvalid, StorageIoFailure
from offline_feature_plane.objects import asides
from offline_feature_plane.objects.local import STAGING, LocalStore
from offline_feature_plane.testing.store_contract import StoreContract


class TestLocalStore(StoreContract):
    @pytest.fixture
    def reopen(self, tmp_path):
        """The same store, opened anew."""
        return functools.partial(LocalStore, tmp_path / "stores" / "one")


def _files_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def store(tmp_path):
    """A local store that does not exist yet."""
    return LocalStore(tmp_path / "store")


def test_only_the_object_appears(store, tmp_path):
    """After puts of both outcomes the root holds the objects and an empty staging folder, nothing else."""
    (tmp_path / "part").write_bytes(b"part")
    store.put_new("a/b", b"1")
    store.put_new("a/b", b"2")
    store.put_file("c", tmp_path / "part")
    store.put_file("c", tmp_path / "part")
    assert _files_below(store.root) == {"a/b": b"1", "c": b"part"}
    assert (tmp_path / "part").read_bytes() == b"part"


def test_a_file_is_linked_not_copied(store, tmp_path):
    """On one file system `put_file` moves no bytes: the object is the same file."""
    (tmp_path / "part").write_bytes(b"part")
    store.put_file("c", tmp_path / "part")
    assert (store.root / "c").stat().st_ino == (tmp_path / "part").stat().st_ino


def test_reading_creates_nothing(store, tmp_path):
    """Looking into a store that does not exist finds nothing and makes no folder."""
    assert not store.exists("a/b")
    assert list(store.list("")) == []
    store.delete("a/b")
    assert not store.root.exists()


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_a_file_from_elsewhere_is_copied(store, tmp_path, monkeypatch, error):
    """Where the kernel refuses to link the caller's file (other disk, other owner), its bytes are copied aside and linked."""
    (tmp_path / "part").write_bytes(b"x" * 3_000_000)
    real = os.link

    def link(source, target, **folders):
        if "src_dir_fd" not in folders:
            raise OSError(error, os.strerror(error))
        real(source, target, **folders)

    monkeypatch.setattr(os, "link", link)
    assert store.put_file("c", tmp_path / "part") == "created"
    assert store.put_file("c", tmp_path / "part") == "exists"
    assert _files_below(store.root) == {"c": b"x" * 3_000_000}


def test_a_disk_without_links_is_said_so(store, monkeypatch):
    """A file system that cannot create-if-absent is refused with advice, and nothing becomes visible."""
    def link(*_args, **_kwargs):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(StorageIoFailure, match="hard links"):
        store.put_new("a", b"1")
    assert _files_below(store.root) == {}


@pytest.mark.parametrize("make", ["inside", "outside", "dangling", "parent"])
def test_links_are_never_followed(store, tmp_path, make):
    """A link at a key or on the way to it is refused by every operation, wherever it points, and its target stays untouched."""
    store.put_new("real/object", b"mine")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "object").write_bytes(b"theirs")
    target = {"inside": store.root / "real/object", "outside": outside / "object", "dangling": outside / "absent", "parent": outside}[make]
    link = store.root / ("folder" if make == "parent" else "folder/object")
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(target)
    (tmp_path / "part").write_bytes(b"new")
    key = "folder/object"
    for attempt in (lambda: store.get(key), lambda: store.put_new(key, b"new"), lambda: store.exists(key), lambda: store.delete(key),
                    lambda: store.put_file(key, tmp_path / "part"), lambda: store.local_copy(key, tmp_path)):
        with pytest.raises(RefScopeInvalid):
            attempt()
    assert list(store.list("")) == ["real/object"]
    assert _files_below(outside) == {"object": b"theirs"}
    assert store.get("real/object") == b"mine"


FRAGMENTS = ["..", ".", "/", "//", "a", "b-1", "~", "\\", "\x00", " ", "\n", "%2e", "%2f", "file:", "s3://", "C:", "é", "\u2025", "\uff0f",
             "\ud800", ".staging", "store", "store-2", "outside", "-", "_"]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=6).map("".join))
def test_no_key_leads_out(store, tmp_path, key):
    """Whatever text is taken for a key: either it is refused, or its object lies below the root under exactly that name."""
    canary = tmp_path / "outside"
    canary.write_bytes(b"canary")
    try:
        store.put_new(key, b"x")
    except RefInvalid:
        pass
    else:
        assert store.get(key) == (store.root / key).read_bytes() == b"x"
        assert os.path.commonpath([os.path.realpath(store.root / key), os.path.realpath(store.root)]) == os.path.realpath(store.root)
    assert canary.read_bytes() == b"canary"
    assert {path.name for path in tmp_path.iterdir()} <= {"outside", "store"}


def test_a_linked_file_is_not_put(store, tmp_path):
    """`put_file` takes a regular file only: no link, no folder."""
    (tmp_path / "part").write_bytes(b"part")
    (tmp_path / "link").symlink_to(tmp_path / "part")
    for path in (tmp_path / "link", tmp_path, tmp_path / "absent"):
        with pytest.raises(StorageIoFailure):
            store.put_file("c", path)
    assert not store.exists("c")


def test_objects_and_folders_do_not_mix(store):
    """A key below an object, or one that other objects lie below, cannot be put; neither reads as an object."""
    store.put_new("a/b", b"1")
    for key in ("a", "a/b/c"):
        with pytest.raises(RefInvalid):
            store.put_new(key, b"2")
        with pytest.raises(RefNotFound):
            store.get(key)
        assert not store.exists(key)
    assert _files_below(store.root) == {"a/b": b"1"}


def test_leftovers_of_a_crash_do_no_harm(store):
    """Aside files of a dead process with the same process id are neither overwritten nor read nor listed."""
    staging = store.root / STAGING
    staging.mkdir(parents=True)
    for count in range(3):
        (staging / f"{os.getpid()}-{count}").write_bytes(b"dead")
    assert store.put_new("a", b"1") == "created"
    assert list(store.list("")) == ["a"]
    assert _files_below(staging) == {f"{os.getpid()}-{count}": b"dead" for count in range(3)}


def test_an_aside_that_was_collected_before_it_was_held_costs_another_name(store, monkeypatch):
    """A collector that is quicker than the writer's lock takes an empty file; the writer takes the next name, and the object is whole."""
    taken = []

    def hold(descriptor):
        if len(taken) < 3:
            (left,) = store.leftovers("", lambda _: False)
            assert store.remove_leftover(left)
            taken.append(left.name)
        return process_locks.hold(descriptor)

    monkeypatch.setattr(asides, "hold", hold)
    assert store.put_new("a", b"whole") == "created"
    assert store.get("a") == b"whole"
    assert len(set(taken)) == 3
    assert list(store.leftovers("", lambda _: True)) == []


STEPS = ("open", "mkdir", "fsync", "link", "unlink", "stat")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_failure_at_any_step_is_typed_and_leaves_all_or_nothing(tmp_path, monkeypatch, error):
    """Whichever system call of a put fails, the error is typed with advice, and the object is absent or whole; the next put heals."""
    failures = []
    for failing_call in range(40):
        store = LocalStore(tmp_path / f"store-{failing_call}")
        store.root.mkdir()
        calls = 0

        def counted(real, failing_call=failing_call):
            def call(*args, **kwargs):
                nonlocal calls
                calls += 1
                if calls == failing_call + 1:
                    raise OSError(error, os.strerror(error))
                return real(*args, **kwargs)
            return call

        with monkeypatch.context() as patch:
            for step in STEPS:
                patch.setattr(os, step, counted(getattr(os, step)))
            try:
                store.put_new("a/b/object", b"whole")
            except OfsError as wrong:
                failures.append((type(wrong), bool(wrong.fix), wrong.fields["errno"]))
        visible = _files_below(store.root)
        assert visible.get("a/b/object", b"whole") == b"whole"
        assert set(visible) - {"a/b/object"} <= {name for name in visible if name.startswith(STAGING)}
        assert store.put_new("a/b/object", b"whole") in {"created", "exists"}
        assert store.get("a/b/object") == b"whole"
        if calls <= failing_call:
            break
    assert len(failures) >= 10
    assert set(failures) == {(StorageIoFailure, True, errno.errorcode[error])}


def test_names_are_made_durable(store, monkeypatch):
    """Before a put answers, with either outcome, the file and every folder on the way to it were synced: no acknowledged name is lost."""
    synced = []
    real = os.fsync

    def fsync(descriptor):
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    for outcome in ("created", "exists"):
        synced.clear()
        assert store.put_new("a/b/object", b"1") == outcome
        root = str(store.root)
        assert synced[-3:] == [f"{root}/a/b", f"{root}/a", root]
        assert any(name.startswith(f"{root}/{STAGING}/") for name in synced)


@pytest.mark.parametrize(("error", "refused"), [(errno.EACCES, False), (errno.EROFS, False), (errno.EIO, True)])
def test_folders_of_others_above_the_root_need_not_be_readable(store, monkeypatch, error, refused):
    """A folder above the root that may not be opened hinders nothing; a disk that fails there does: the root's name may be lost."""
    real = os.open

    def open_(path, *args, **kwargs):
        if path == store.root.parent:
            raise OSError(error, os.strerror(error))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_)
    if refused:
        with pytest.raises(StorageIoFailure):
            store.put_new("a", b"1")
    else:
        assert store.put_new("a", b"1") == "created"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_forbidden_folder_is_typed(store):
    """A root without the right to write gives StorageIoFailure with advice about rights."""
    store.root.mkdir()
    Path(store.root).chmod(0o500)
    with pytest.raises(StorageIoFailure, match="right to write"):
        store.put_new("a", b"1")


def test_a_root_that_cannot_be_made_is_a_failure_of_the_store():
    """What should be written there is not "not found"."""
    with pytest.raises(StorageIoFailure) as refused:
        LocalStore(Path("/proc/x")).put_new("a/b", b"")
    assert refused.value.fix
