"""Bad input to a plane in which something was built, and harm to its bytes: said by name, and what was published stays as it was."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from answers import FOREIGN, ask, ask_once, check_answer, check_nothing_left
from archive_plane import make_archive_plane
from small_plane import SmallPlane, chargebacks, make_plane

from offline_feature_plane import leaves
from offline_feature_plane.__main__ import run
from offline_feature_plane.plane import open_plane


@pytest.fixture(scope="module")
def built_once(session_folder: Path) -> SmallPlane:
    """A plane with one dataset, asked for under a request id, with a versioned profile."""
    plane = make_plane(session_folder / "built")
    plane.intent["request_id"] = "request-one"
    plane.profile |= {"policy_id": "cards.features", "revision": "r1"}
    plane.documents()
    assert run(["build", str(plane.intent_path), "--json"]) == 0
    return plane


@pytest.fixture
def built(built_once: SmallPlane, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """A copy of it, in which the test stands."""
    shutil.copytree(built_once.folder, place / "p")
    monkeypatch.chdir(place / "p")
    capsys.readouterr()
    return SmallPlane(place / "p", intent=dict(built_once.intent), profile=copy.deepcopy(built_once.profile))


def dataset_of(plane: SmallPlane) -> str:
    """The id of its dataset."""
    (path,) = plane.manifests()
    return path.stem


@pytest.mark.parametrize(("arguments", "code"), [
    (("show", "dm_00000000000000000000000000000000"), "DATASET_NOT_FOUND"),
    (("verify", "dm_00000000000000000000000000000000"), "DATASET_NOT_FOUND"),
    (("show", "no dataset/at all"), "DATASET_NOT_FOUND"),
    (("show", "../../etc/passwd"), "DATASET_NOT_FOUND"),
    (("show", ""), "DATASET_NOT_FOUND"),
    (("verify", "nothing.json"), "DATASET_NOT_FOUND"),
    (("verify", "plane.yaml"), "DATASET_NOT_FOUND"),
    (("run", "ffffffff"), "RUN_NOT_FOUND"),
    (("run", ""), "RUN_NOT_FOUND"),
])
def test_what_is_not_there_is_said_so(arguments: tuple[str, ...], code: str, built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A dataset or run that nobody knows is a mistake of the asker, with the command that lists the known ones."""
    said = ask(capsys, *arguments)
    check_answer(said, 2, code)


@pytest.mark.parametrize("arguments", [
    ("build",), ("bulid", "x"), ("build", "intent.yaml", "--fast"), ("build", "a", "b"), ("runs", "--limit", "0"),
    ("runs", "--limit", "many"),
    ("preview", "intent.yaml", "--rows", "0"), ("preview", "intent.yaml", "--keys", "customer_id"), ("--plain",),
    ("pin", "intent.yaml", "-o", "plane.yaml")])
def test_a_mistyped_command_is_a_usage_error(arguments: tuple[str, ...], built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown commands, options and values answer 2 with the usage on stderr, or USAGE as JSON; no file is touched."""
    before = (built.folder / "plane.yaml").read_bytes()
    assert run(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "Error" in told.err
    assert not FOREIGN.search(told.err)
    assert run([*arguments, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "USAGE"
    assert (built.folder / "plane.yaml").read_bytes() == before


@pytest.mark.parametrize("command", ["plan", "pin", "preview", "build"])
def test_a_missing_intent_or_plane_is_said_so(command: str, built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that leads nowhere is named."""
    check_answer(ask(capsys, command, "nothing.yaml"), 3, "REF_NOT_FOUND", ("nothing.yaml",))
    check_answer(ask(capsys, command, "intent.yaml", "--plane", "nowhere.yaml"), 3, "REF_NOT_FOUND", ("nowhere.yaml",))
    check_answer(ask(capsys, command, "."), 3, "REF_NOT_FOUND", ("directory",))


def test_a_request_id_is_used_for_one_payload_only(built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """The same id with another payload is a conflict, and the first run stays as it was."""
    built.intent["label"] = {**built.intent["label"], "maturity_days": 11}
    built.documents()
    check_answer(ask(capsys, "build", "intent.yaml"), 5, "REQUEST_ID_PAYLOAD_MISMATCH", ("request-one",))
    assert len(built.manifests()) == 1


def test_a_revision_has_one_meaning(built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A profile edited under the same revision is refused, by name and revision."""
    built.profile["groups"]["customer"]["windows"] = ["2d"]
    del built.intent["request_id"]
    built.documents()
    check_answer(ask(capsys, "build", "intent.yaml"), 5, "FEATURE_PROFILE_DRIFT", ("cards.features@r1", "features.yaml", "revision:"))
    assert len(built.manifests()) == 1


def test_labels_edited_below_the_cut_are_found_by_computing_again(built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """What was known at the as-of is part of a dataset: other assertions below the cut are a changed history."""
    told = chargebacks()
    built.labels({**told, "outcome": ["CHARGEBACK"] * 39 + ["NONE"]})
    del built.intent["request_id"]  # it names a payload, in which the label files at hand are stated
    built.documents()
    check_answer(ask(capsys, "build", "intent.yaml", "--recompute"), 5, "LABEL_HISTORY_CHANGED", ("sha256:", dataset_of(built)))
    assert run(["build", "intent.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "ALREADY_PUBLISHED"


def test_a_failed_request_stays_failed_and_an_unnamed_one_starts_anew(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stated request id has one outcome; without one, each failure opens a new run."""
    plane = make_plane(place / "p")
    plane.intent["label"]["positive"] = ["STOLEN"]
    plane.intent["request_id"] = "request-bad"
    plane.documents()
    assert run(["build", str(plane.intent_path)]) == 4
    assert "TARGET_DEGENERATE" in capsys.readouterr().err
    check_answer(ask(capsys, "build", str(plane.intent_path)), 5, "RUN_ENDED", ("request-bad", "TARGET_DEGENERATE"))
    del plane.intent["request_id"]
    plane.documents()
    for _ in range(2):
        assert run(["build", str(plane.intent_path)]) == 4
    capsys.readouterr()
    assert run(["runs", "--plane", str(plane.folder / "plane.yaml"), "--json"]) == 0
    assert [one["request_id"].rpartition(":")[2] for one in json.loads(capsys.readouterr().out)] == ["2", "1", "request-bad"]


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


PIECES = {"data file": "store/*/ofs/datasets/*/*/*.parquet", "column digests": "store/*/ofs/datasets/*/*/column-digests.json",
          "plan": "store/*/ofs/plans/*.json", "receipt": "store/*/ofs/receipts/*/*/replay.json", "vow": "store/*/ofs/commits/*.json",
          "manifest": "store/*/ofs/manifests/*.json", "pointer": "store/by_id/*.json"}


@pytest.mark.parametrize("harm", [_flipped, _cut, lambda path: path.write_bytes(b""), lambda path: path.write_text("{}"), Path.unlink],
                         ids=["flipped", "cut", "emptied", "replaced", "removed"])
@pytest.mark.parametrize("piece", PIECES)
def test_verify_finds_every_harm(piece: str, harm: Callable[[Path], Any], built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever of a dataset was harmed, `ofs verify` ends 6 and says what it was."""
    dataset = dataset_of(built)
    (path,) = built.folder.glob(PIECES[piece])
    harm(path)
    statuses = {run(["verify", dataset, "--json"])}
    told = capsys.readouterr()
    document = json.loads(told.out)
    statuses.add(run(["verify", dataset]))
    text = capsys.readouterr()
    assert not FOREIGN.search(told.out + told.err + text.out + text.err)
    if piece == "pointer":
        assert statuses <= {0, 6}
    elif piece == "manifest" and not path.exists():
        assert statuses == {6}
        assert document["error"]["code"] == "DIGEST_MISMATCH"
    else:
        assert statuses == {6}, told.out + told.err
    if "checks" in document and statuses == {6}:
        assert not document["intact"]
        assert [check["name"] for check in document["checks"] if not check["passed"]]


@pytest.mark.parametrize(("piece", "harm", "code"), [
    ("data file", _flipped, "DIGEST_MISMATCH"), ("data file", Path.unlink, "DIGEST_MISMATCH"), ("manifest", _cut, "MANIFEST_INVALID"),
    ("manifest", lambda path: path.write_text("{}"), "MANIFEST_INVALID")], ids=["flipped", "removed", "cut", "replaced"])
def test_a_harmed_dataset_is_no_answer_to_a_build(piece: str, harm: Callable[[Path], Any], code: str, built: SmallPlane,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    """Another request of the same meaning must not be told that a broken dataset is published."""
    (path,) = built.folder.glob(PIECES[piece])
    harm(path)
    built.intent["request_id"] = "request-two"
    built.documents()
    check_answer(ask_once(capsys, "build", "intent.yaml"), 6, code)


# --- an archive ---------------------------------------------------------------------------------------------


def archive_plane(folder: Path) -> SmallPlane:
    """The plane over an archive, with its intent in the long form."""
    plane = make_archive_plane(folder)
    plane.intent = open_plane(folder / "plane.yaml").pin(plane.intent_path).document
    plane.documents()
    return plane


def _edited(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"C1"', b'"C2"', 1))


def _segment_unlisted(path: Path) -> None:
    index = json.loads((path.parents[2] / "index.json").read_text())
    index["segments"] = [one for one in index["segments"] if not path.as_posix().endswith(one["path"])]
    (path.parents[2] / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(("harm", "status", "code"), [
    (_edited, 3, "REPLAY_BASIS_MISMATCH"), (_cut, 3, "REPLAY_BASIS_MISMATCH"), (Path.unlink, 3, "SOURCE_UNREADABLE"),
    (_segment_unlisted, 3, "REPLAY_BASIS_GAP"),
    (lambda path: (path.parents[2] / "index.json").write_text("{"), 3, "SOURCE_UNREADABLE"),
    (lambda path: (path.parents[2] / "index.json").unlink(), 3, "SOURCE_UNREADABLE"),
], ids=["edited", "cut", "removed", "unlisted", "index-broken", "index-removed"])
def test_a_pinned_archive_that_changed_is_refused(harm: Callable[[Path], Any], status: int, code: str, place: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    """The bytes behind a pinned basis are the pinned ones, or nothing is published."""
    plane = archive_plane(place / "p")
    harm(plane.folder / "archive/transaction/0/00001.jsonl")
    said = ask(capsys, "build", str(plane.intent_path))
    check_answer(said, status, code)
    check_nothing_left(plane, said)


def test_the_archive_plane_builds_when_nothing_is_harmed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the harmed archives are held against."""
    plane = archive_plane(place / "p")
    assert run(["build", str(plane.intent_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["row_count"] == 164


@pytest.mark.parametrize("name", ["pinned.yaml", "pinned.json"])
def test_a_pin_in_another_folder_is_the_same_contract(built: SmallPlane, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """`ofs pin -o` writes what the name says, with refs for where the pin lies, so that it plans from there; printed, as the intent has."""
    (built.folder / "sub").mkdir()
    assert run(("pin", "intent.yaml", "-o", f"sub/{name}", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["intent"]["feature_definition_set"]["profile_ref"] == "../features.yaml"
    assert run(("plan", f"sub/{name}", "--plane", "plane.yaml", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["pins"]["dataset_fingerprint"] == told["dataset_fingerprint"]
    assert run(("pin", "intent.yaml")) == 0
    assert "profile_ref: features.yaml" in capsys.readouterr().out


def test_a_long_form_is_told_its_own_places(built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A pin whose profile is gone says so where the pin names it."""
    assert run(("pin", "intent.yaml", "-o", "pinned.yaml")) == 0
    (built.folder / "features.yaml").unlink()
    capsys.readouterr()
    assert run(("plan", "pinned.yaml")) == 2
    assert "$.feature_definition_set.profile_ref" in capsys.readouterr().err


@pytest.mark.parametrize(("call", "most"), [("top_k(terminal_id, 3)", 1_900), ("mode(terminal_id)", 200)])
def test_a_column_of_too_much_text_is_refused_by_name(call: str, most: int, place: Path, capsys: pytest.CaptureFixture[str],
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """What one array cannot hold (2 GiB, here less) is a refusal that names the column, and nothing is left of the build."""
    plane = make_plane(place / "p")
    plane.profile["fields"]["terminal_id"] = {"type": "string", "identifier": "none"}
    plane.profile["groups"] = {"customer": {"key": "customer_id", "windows": "lifetime", "features": {"seen": call}}}
    plane.documents()
    monkeypatch.setattr(leaves, "MOST_TEXT_BYTES", most)
    said = ask(capsys, "build", str(plane.intent_path))
    check_answer(said, 4, "RESOURCE_EXCEEDED", ("customer__seen_lifetime", f"{most:,}", "164 rows"))
    assert said.error["path"] == "customer__seen_lifetime"
    check_nothing_left(plane, said)
