"""A plane whose store is in a bucket, through the command line: like any other, and refused with advice when it cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from answers import FOREIGN, ask, check_answer
from s3_servers import BUCKET, ENVIRONMENT, SECRET, Weed, open_store, place_at, rclone
from small_plane import SmallPlane, make_plane

from offline_feature_plane.__main__ import run
from offline_feature_plane.ledger.sqlite import SqliteLedger
from offline_feature_plane.objects.s3.store import S3Store
from offline_feature_plane.plane import SystemClock, open_plane
from offline_feature_plane.s3 import bucket
from offline_feature_plane.testing.fault_proxy import FaultProxy


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the SDK finds in the environment: the credentials of the servers, and no files of this machine's user. Waits are short."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(bucket, "FIRST_WAIT_US", 1_000)


def plane_in(place: Path, store: S3Store, **access: Any) -> SmallPlane:
    """A small plane that keeps everything where a store is."""
    plane = make_plane(place / "p")
    plane.plane |= {"store": store.place.uri("").rstrip("/"), "s3": {"endpoint": store.place.access.endpoint, "timeout_s": 5, **access}}
    plane.documents()
    return plane


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The document that a command answers, which must end well."""
    assert run([*arguments, "--json"]) == 0, capsys.readouterr().out
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.usefixtures("credentials")
def test_a_plane_in_a_bucket_is_like_any_other(weed: Weed, place: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    """Build, build again, compute again, show, verify and read: the same dataset as on a disk, and every byte of it in the bucket."""
    store = open_store(place_at(weed.url))
    plane = plane_in(place, store)
    monkeypatch.chdir(plane.folder)
    built = said(capsys, "build", "intent.yaml")
    assert built["outcome"] == "PUBLISHED"
    assert built["manifest_ref"] == store.uri(f"cards/ofs/manifests/{built['dataset_manifest_id']}.json")
    assert said(capsys, "build", "intent.yaml")["outcome"] == "ALREADY_PUBLISHED"
    assert said(capsys, "build", "intent.yaml", "--recompute")["outcome"] == "REPRODUCED"
    assert said(capsys, "verify", built["dataset_manifest_id"])["intact"]
    assert run(["datasets"]) == run(["show", built["dataset_manifest_id"][:10]]) == 0
    here = make_plane(place / "on a disk")
    with open_plane(here.folder / "plane.yaml") as other:
        assert other.build(here.intent_path).manifest.core.content_digest == built["content_digest"]
        rows = other.dataset(built["dataset_manifest_id"]).to_arrow()
    with open_plane("plane.yaml") as opened:
        assert opened.dataset(built["dataset_manifest_id"]).to_arrow().equals(rows)
    assert not (plane.folder / "store").exists()
    part = next(key for key in store.list("cards/ofs/datasets") if key.endswith(".parquet"))
    store._bucket._client.put_object(Bucket=BUCKET, Key=store.place.prefix + part, Body=store.get(part)[:-8] + b"8 bytes.")
    answer = ask(capsys, "build", "intent.yaml")
    check_answer(answer, 6, "DIGEST_MISMATCH", ("ofs verify",))
    assert run(["verify", built["dataset_manifest_id"]]) == 6
    assert not FOREIGN.search("".join(capsys.readouterr()))


Wrong = Callable[[SmallPlane, pytest.MonkeyPatch], Any]


def _setting(name: str, value: Any) -> Wrong:
    return lambda plane, _: plane.plane["s3"].update({name: value}) if name != "store" else plane.plane.update(store=value)


def _environment(name: str, value: str) -> Wrong:
    return lambda _, patch: patch.setenv(name, value)


def _without_credentials(_: SmallPlane, patch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.delenv(name)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(("wrong", "status", "code", "words"), [
    (_setting("endpoint", "http://127.0.0.1:1"), 7, "STORAGE_IO_FAILURE", ("cannot be reached", "s3.endpoint")),
    (_setting("endpoint", "http://no.such.host.invalid"), 7, "STORAGE_IO_FAILURE", ("cannot be reached", "s3.endpoint")),
    (_setting("store", "s3://no-such-bucket/cards"), 7, "STORAGE_IO_FAILURE", ("NoSuchBucket", "Create the bucket")),
    (_setting("profile", "nobody"), 7, "STORAGE_IO_FAILURE", ("no usable credentials", "s3.profile")),
    (_environment("AWS_SECRET_ACCESS_KEY", "another-secret"), 7, "STORAGE_IO_FAILURE", ("SignatureDoesNotMatch", "AWS_ACCESS_KEY_ID")),
    (_environment("AWS_ACCESS_KEY_ID", "NOBODY"), 7, "STORAGE_IO_FAILURE", ("InvalidAccessKeyId", "AWS_ACCESS_KEY_ID")),
    (_without_credentials, 7, "STORAGE_IO_FAILURE", ("no usable credentials", "AWS_ACCESS_KEY_ID")),
    (_setting("store", f"s3://me:{SECRET}@datasets/cards"), 2, "SETTINGS_INVALID", ("by reference",)),
    (_setting("secret_key", SECRET), 2, "SETTINGS_INVALID", ("by reference",)),
    (_setting("endpoint", f"http://me:{SECRET}@127.0.0.1:1"), 2, "SETTINGS_INVALID", ("by reference",)),
    (_setting("store", "gs://datasets/cards"), 2, "SETTINGS_INVALID", ("s3://bucket/prefix",)),
], ids=["unreachable", "unknown host", "no bucket", "no profile", "wrong secret", "wrong key", "no credentials", "secret in the address",
        "secret in the settings", "secret in the endpoint", "another cloud"])
def test_a_bucket_that_cannot_be_used_is_said_so(weed: Weed, place: Path, monkeypatch: pytest.MonkeyPatch, wrong: Wrong, status: int,
                                                 code: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """A bad setting ends with a stable code and advice, no traceback and no secret; nothing was written, and no run is stuck."""
    store = open_store(place_at(weed.url))
    plane = plane_in(place, store)
    wrong(plane, monkeypatch)
    plane.documents()
    monkeypatch.chdir(plane.folder)
    answer = ask(capsys, "build", "intent.yaml")
    check_answer(answer, status, code, words)
    assert SECRET not in answer.text + json.dumps(answer.error)
    assert store._bucket.keys("") == []
    assert not (plane.folder / "work").exists()
    assert _states(plane) <= {"QUEUED"}


@pytest.mark.usefixtures("credentials")
def test_a_store_that_ignores_conditions_is_never_written_to(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    """A server that ignores `If-None-Match` is refused by every command that writes, and serves those that look (R7)."""
    with rclone(tmp_path) as url:
        plane = plane_in(place, open_store(place_at(url)))
        monkeypatch.chdir(plane.folder)
        for command in (("build", "intent.yaml"), ("worker", "--once")):
            check_answer(ask(capsys, *command), 7, "STORE_UNSAFE", ("ignores If-None-Match", "Use a store"))
        assert run(["datasets"]) == 0
        assert _states(plane) <= {"QUEUED"}
        kept = [path.name for path in (tmp_path / BUCKET).rglob("*") if path.is_file()]
        assert kept == ["object"]


@pytest.mark.usefixtures("credentials")
def test_a_store_that_comes_back_is_built_to(weed: Weed, place: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    """A build that failed with the store ends well when the store is there again: the same command, the same run."""
    store = open_store(place_at(weed.url))
    with FaultProxy(weed.url) as network:
        plane = plane_in(place, store)
        plane.plane["s3"]["endpoint"] = network.url
        plane.documents()
        monkeypatch.chdir(plane.folder)
        network.between = lambda request, forward: forward(request) if request.operation != "PutObject" else _gone()
        check_answer(ask(capsys, "build", "intent.yaml"), 7, "STORAGE_IO_FAILURE", ("broke",))
        network.between = lambda request, forward: forward(request)
        assert said(capsys, "build", "intent.yaml")["outcome"] == "PUBLISHED"
    assert _states(plane) == {"DONE"}
    assert len(list(store.list("cards/ofs/commits"))) == 1


def test_the_library_for_buckets_is_an_extra(place: Path) -> None:
    """Without it a plane with a bucket says what to install; nothing else needs it."""
    plane = make_plane(place / "p")
    plane.plane["store"] = "s3://datasets/cards"
    plane.documents()
    code = "import sys; sys.modules['boto3'] = None; from offline_feature_plane.__main__ import run; sys.exit(run(['datasets']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=plane.folder, capture_output=True, text=True, check=False,
                          env=os.environ | ENVIRONMENT)
    assert done.returncode == 2
    assert "REQUEST_COMMAND_UNSUPPORTED" in done.stderr
    assert "offline-feature-plane[s3]" in done.stderr
    assert "Traceback" not in done.stderr


def _gone() -> Any:
    raise ConnectionError


def _states(plane: SmallPlane) -> set[str]:
    ledger = plane.folder / plane.plane["ledger"]
    return {one.state for one in SqliteLedger(ledger, SystemClock()).runs()} if ledger.exists() else set()
