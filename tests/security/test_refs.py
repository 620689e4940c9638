"""A ref never opens anything outside of its roots (R15); the kernel is asked what was opened."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_refs import OUTSIDE, hostile_refs, lay_out
from small_plane import SmallPlane, make_plane
from watching import witness

from offline_feature_plane import filesets, parquet_files, refs, text_files
from offline_feature_plane.__main__ import run
from offline_feature_plane.documents import write_yaml
from offline_feature_plane.errors import FeatureProfileUnresolved, OfsError, RefNotFound, RefScopeInvalid
from offline_feature_plane.filesets import check_pins, pin_files, read_batches
from offline_feature_plane.objects.local import LocalStore
from offline_feature_plane.plain_files import open_in_place
from offline_feature_plane.refs import read_ref
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.testing.archives import archived, write_archive


def test_the_witness_sees_what_is_opened(tmp_path: Path) -> None:
    """What the other tests rely on: an opened file is seen, by whatever name and way it was reached."""
    _, outside = lay_out(tmp_path)
    with witness(outside) as opened:
        (tmp_path / "root/file-out").read_bytes()
        (tmp_path / "root/up/outside/deep/features.yaml").read_bytes()
    assert opened == ["features.yaml", "features.yaml"]


def outcome(call: Callable[..., Any], *arguments: Any) -> tuple[str, Any]:
    """What became of a call: `done` and its answer, or the code of the error and the error."""
    try:
        return "done", call(*arguments)
    except OfsError as refused:
        return refused.code, refused


def test_no_ref_leads_out(tmp_path: Path) -> None:
    """Over two thousand refs: what they give lies beneath the root, and nothing outside was opened; the rest is refused by a code."""
    root, outside = lay_out(tmp_path)
    asked = hostile_refs(tmp_path)
    ends: Counter[str] = Counter()
    with witness(outside) as opened, witness(tmp_path / "root-evil") as neighbours:
        for ref in asked:
            end, told = outcome(read_ref, ref, root, [str(root)], "$.features", FeatureProfileUnresolved)
            ends[end] += 1
            if end == "done":
                assert told[0].resolve().is_relative_to(root), ref
                assert b"inside" in told[1], ref
            else:
                assert str(told).isprintable(), ref
                assert len(str(told)) < 5_000, ref
    assert opened == neighbours == []
    assert set(ends) == {"done", "REF_INVALID", "REF_SCOPE_INVALID", "FEATURE_PROFILE_UNRESOLVED"}
    assert ends.total() == len(asked) > 2_000


@pytest.mark.parametrize("ref", ["features.yaml", "./sub/../features.yaml", "folder-in/features.yaml", "file-in", "hard",
                                 "folder-out/../root/hard"])
def test_links_inside_of_the_root_are_followed(ref: str, tmp_path: Path) -> None:
    """Configuration is often mounted as links: what stays beneath the root is read. Dots follow links, as they do for the kernel."""
    root, _ = lay_out(tmp_path)
    assert b"inside" in read_ref(ref, root, [str(root)], "$", FeatureProfileUnresolved)[1]


def swapping(path: Path, target: Path) -> Callable[[Path], Any]:
    """`open_in_place`, just before which somebody replaces `path` by a link to `target`."""
    def opener(asked: Path) -> Any:
        if not path.is_symlink():
            path.rename(path.with_name(f"{path.name}-aside"))
            path.symlink_to(target)
        return open_in_place(asked)
    return opener


@pytest.mark.parametrize(("victim", "target"), [("sub/features.yaml", "features.yaml"), ("sub", ".")], ids=["file", "folder"])
def test_a_link_put_in_place_after_the_check_is_not_followed(victim: str, target: str, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at a ref and its opening, the file or a folder on the way becomes a link to the outside."""
    root, outside = lay_out(tmp_path)
    monkeypatch.setattr(refs, "open_in_place", swapping(root / victim, outside / target))
    with witness(outside) as opened, pytest.raises(RefScopeInvalid, match="there was none"):
        read_ref("sub/features.yaml", root, [str(root)], "$.features", FeatureProfileUnresolved)
    assert opened == []


@pytest.mark.parametrize("rounds", [pytest.param(1_500, id="some"), pytest.param(60_000, id="many", marks=pytest.mark.long)])
def test_a_link_that_comes_and_goes_is_never_followed(rounds: int, place: Path) -> None:
    """Somebody swaps a folder and a link to the outside as fast as possible: each read is of the inside, or refused."""
    root, outside = lay_out(place)
    (root / "sub2").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for one, other in (("sub", "aside"), ("sub2", "sub"), ("sub", "sub2"), ("aside", "sub")):
                (root / one).rename(root / other)

    ends: Counter[str] = Counter()
    swapper = threading.Thread(target=swap)
    with witness(outside) as opened:
        swapper.start()
        try:
            for _ in range(rounds):
                end, told = outcome(read_ref, "sub/features.yaml", root, [str(root)], "$", RefNotFound)
                ends[end] += 1
                assert end != "done" or b"inside" in told[1]
        finally:
            stop.set()
            swapper.join()
    assert opened == []
    assert {"done"} < set(ends) <= {"done", "REF_SCOPE_INVALID", "REF_NOT_FOUND"}


# --- folders of data and archives ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.jsonl.gz", "a.parquet"])
@pytest.mark.parametrize("when", ["hashing", "reading"])
def test_data_that_becomes_a_link_is_not_followed(name: str, when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a folder that is replaced by a link between any two looks at it is never read through the link."""
    folder, outside = tmp_path / "data", tmp_path / "outside"
    for one in (folder, outside):
        _write_data(one / name)
    files = pin_files(folder)
    opener = swapping(folder / name, outside / name)
    for module in (filesets, parquet_files, text_files):
        monkeypatch.setattr(module, "open_in_place", opener)
    with witness(outside) as opened:
        end, _ = outcome(check_pins if when == "hashing" else lambda pinned: list(read_batches(pinned[0], files.form, ["id"])), files.files)
    assert end in {"REPLAY_BASIS_MISMATCH", "REF_SCOPE_INVALID"}
    assert opened == []


def _write_data(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"id": ["1"]}), path)
        return
    text = b'{"id": "1"}\n' if ".jsonl" in path.name else b"id\n1\n"
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


@pytest.mark.parametrize("make", [
    lambda data, out: (data / "x.csv").symlink_to(out / "a.csv"), lambda data, out: (data / "x").symlink_to(out),
    lambda data, out: (data / "x.csv").symlink_to("x.csv"), lambda data, out: (data / "x.csv").symlink_to(out / "absent.csv"),
    lambda data, out: (data / "x.csv").symlink_to("/dev/zero"), lambda data, out: (data / "x.csv").symlink_to("/proc/self/environ"),
    lambda data, out: os.mkfifo(data / "x.csv"), lambda data, out: (data / "x.csv").mkdir()],
    ids=["file", "folder", "loop", "dangling", "device", "proc", "pipe", "named-as-file"])
def test_a_folder_of_data_is_all_that_is_read(make: Callable[[Path, Path], Any], tmp_path: Path) -> None:
    """Links out of the folder, loops, devices and pipes in it are refused by a code, and never waited for."""
    data, outside = tmp_path / "data", tmp_path / "outside"
    _write_data(data / "a.csv")
    _write_data(outside / "a.csv")
    make(data, outside)
    with witness(outside) as opened:
        end, _ = outcome(pin_files, data)
    assert end in ({"done"} if (data / "x.csv").is_dir() else {"REF_SCOPE_INVALID", "SOURCE_UNREADABLE"})
    assert opened == []


def test_no_segment_path_leads_out_of_its_archive(place: Path) -> None:
    """Over two thousand paths in an archive's index: nothing outside is opened, each is refused by a code or lies inside."""
    root, outside = lay_out(place)
    write_archive(root, [archived(f"e{number}", number, {"a": 1}, offset=number) for number in range(3)])
    index = json.loads((root / "index.json").read_text())
    source = ArchiveSource({"transaction": ArchiveMapping(root)})
    ends: Counter[str] = Counter()
    with witness(outside) as opened:
        for ref in hostile_refs(place):
            index["segments"][0]["path"] = ref
            (root / "index.json").write_text(json.dumps(index))
            end, told = outcome(lambda: check_pins([one.file for one in source.pin("transaction").segments]))
            ends[end] += 1
            assert str(told).isprintable(), ref
    assert opened == []
    assert set(ends) == {"REF_INVALID", "REF_SCOPE_INVALID", "SOURCE_UNREADABLE", "REPLAY_BASIS_MISMATCH"}, ends
    assert ends.total() > 2_000


def test_the_index_of_an_archive_is_its_own(tmp_path: Path) -> None:
    """An index that is a link out of the archive is not read."""
    root, outside = lay_out(tmp_path)
    write_archive(outside, [archived("e", 1, {"a": 1})])
    (root / "index.json").symlink_to(outside / "index.json")
    with witness(outside) as opened, pytest.raises(RefScopeInvalid):
        ArchiveSource({"transaction": ArchiveMapping(root)}).pin("transaction")
    assert opened == []


# --- the store ----------------------------------------------------------------------------------------------


def test_no_object_key_leads_out_of_the_store(place: Path) -> None:
    """Over two thousand keys: each verb refuses, or stays in the store; nothing outside is opened, made or removed."""
    root, outside = lay_out(place)
    store = LocalStore(root)
    before = {path: path.read_bytes() for path in outside.rglob("*.yaml")}
    asked = hostile_refs(place)
    verbs: dict[str, Callable[[str], Any]] = {
        "get": store.get, "digest": store.digest, "exists": store.exists, "list": lambda key: list(store.list(key)), "uri": store.uri,
        "delete": store.delete, "copy": lambda key: store.local_copy(key, place / "copies"), "put": lambda key: store.put_new(key, b"x"),
        "put file": lambda key: store.put_file(key, root / "sub/features.yaml")}
    with witness(outside) as opened:
        for ref in asked:
            for name, verb in verbs.items():
                end, told = outcome(verb, ref)
                assert end in {"done", "REF_INVALID", "REF_SCOPE_INVALID", "REF_NOT_FOUND"}, (name, ref)
                assert end == "done" or str(told).isprintable(), (name, ref)
    assert opened == []
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in place.iterdir()) == ["outside", "root", "root-evil", "rootless"]


# --- the command line ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(session_folder: Path) -> Path:
    """A plane with one dataset, for looking only, in a root of links."""
    root, _ = lay_out(session_folder / "cli")
    plane = make_plane(root)
    (root / "features.yaml").unlink()
    plane.documents()
    assert run(["build", str(plane.intent_path), "--json"]) == 0
    return session_folder / "cli"


@pytest.mark.parametrize("share", [pytest.param(60, id="some"), pytest.param(1, id="all", marks=pytest.mark.long)])
@pytest.mark.parametrize("field", ["features", "run_facts"])
def test_no_intent_leads_out(field: str, share: int, built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`ofs plan` answers a hostile profile or run facts ref with one of the stable codes, and opens nothing outside."""
    root, outside = built / "root", built / "outside"
    plane = SmallPlane(root)
    plane.plane |= {"required_outputs": ["stream"] if field == "run_facts" else [], "gate_map": {"g": {"outputs": ["stream"]}}}
    (root / "asked.yaml").write_text(write_yaml(plane.plane))
    codes: Counter[str] = Counter()
    with witness(outside) as opened:
        for ref in hostile_refs(built)[::share]:
            (root / "asked.json").write_text(json.dumps({**plane.intent, field: ref}))
            status = run(["plan", str(root / "asked.json"), "--plane", str(root / "asked.yaml"), "--json"])
            said = capsys.readouterr()
            error = json.loads(said.out).get("error", {"code": "planned", "exit_status": 0})
            assert status == error["exit_status"] != 70, said.out
            assert OUTSIDE not in said.out + said.err
            codes[error["code"]] += 1
    assert opened == []
    allowed = {"REF_INVALID", "REF_SCOPE_INVALID", "FEATURE_PROFILE_UNRESOLVED", "FEATURE_PROFILE_INVALID", "RUN_FACTS_UNAVAILABLE",
               "RUN_SCOPE_INVALID", "SCHEMA_INVALID", "planned"}
    assert set(codes) <= allowed, codes
    assert set(codes) >= {"REF_INVALID", "REF_SCOPE_INVALID"}


@pytest.mark.parametrize("share", [pytest.param(40, id="some"), pytest.param(1, id="all", marks=pytest.mark.long)])
def test_no_dataset_ref_leads_out(share: int, built: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`ofs show` and `ofs verify` take a dataset's id or its manifest's path, and look for it in the store only."""
    monkeypatch.chdir(built / "root")
    (dataset,) = (path.stem for path in (built / "root/store").glob("*/ofs/manifests/*.json"))
    (built / f"outside/{dataset}.json").write_text(f'"{OUTSIDE}"')
    asked = [*hostile_refs(built)[::share], *(f"{place}/{dataset}.json" for place in ("../outside", str(built / "outside"), "folder-out"))]
    with witness(built / "outside") as opened:
        for ref in asked:
            for command in ("show", "verify"):
                status = run([command, "--json", "--", ref])
                said = capsys.readouterr()
                assert OUTSIDE not in said.out + said.err
                if ref.endswith(f"{dataset}.json"):
                    assert status == 0, said.out  # its name is an id, and that one is in the store
                else:
                    assert (status, json.loads(said.out)["error"]["code"]) == (2, "DATASET_NOT_FOUND"), ref
    assert opened == []


@pytest.mark.parametrize("key", ["../../outside/{}.json", "/etc/hostname", "folder-out/{}.json", "cards/ofs/../ofs/manifests/{}.json", "s3://b/{}.json",
                                 "cards/ofs/manifests/{}.json\0", "cards\\ofs\\manifests\\{}.json", ""])
def test_a_pointer_leads_only_to_its_manifest(key: str, built: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key that somebody wrote into the store is held against what keys are: the dataset is shown from its own place, or refused."""
    shutil.copytree(built / "root/store", place / "store")
    plane = SmallPlane(built / "root")
    (built / "root/copied.yaml").write_text(write_yaml({**plane.plane, "store": str(place / "store")}))
    (pointer,) = (place / "store/by_id").iterdir()
    dataset = pointer.stem
    pointer.write_text(json.dumps({**json.loads(pointer.read_text()), "manifest_key": key.format(dataset)}))
    for command in (["show", dataset], ["verify", dataset], ["build", str(built / "root/intent.yaml")]):
        status = run([*command, "--plane", str(built / "root/copied.yaml"), "--json"])
        said = capsys.readouterr()
        error = json.loads(said.out).get("error", {})
        assert status in {0, 6}, said.out
        assert error.get("exit_status", 0) in {0, 6}


@pytest.mark.parametrize("output", ["file-out", "dangling", "chain", "features.yaml", "pipe", "loop", "sub", "", "x/" * 3_000 + "y"])
def test_a_pin_is_written_to_a_new_file_only(output: str, built: Path, capsys: pytest.CaptureFixture[str],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """`ofs pin -o` writes over nothing and through no link; where that cannot be, the mistake is the asker's."""
    monkeypatch.chdir(built / "root")
    before = {path: path.read_bytes() for path in built.rglob("*") if path.is_file() and not path.is_symlink()}
    with witness(built / "outside") as opened:
        assert run(["pin", "intent.yaml", "--json", "-o", output]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "USAGE"
    assert opened == []
    assert {path: path.read_bytes() for path in built.rglob("*") if path.is_file() and not path.is_symlink()} == before
