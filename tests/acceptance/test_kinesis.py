"""Logs whose offsets are sequences of 56 digits and more: ordered, never counted (`domain.md` §1.1, §1.4)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from answers import ask, check_answer
from archive_plane import edit_index
from kinesis_streams import REGION, Streams
from kinesis_streams import sequence as at
from small_plane import LABEL_SCHEMA, START, SmallPlane, chargebacks, make_plane, transactions

from offline_feature_plane.__main__ import run
from offline_feature_plane.domain.instants import format_instant, parse_instant
from offline_feature_plane.plane import open_plane
from offline_feature_plane.testing.archives import archived, write_archive
from offline_feature_plane.testing.envelopes import envelope

TOLD = transactions()
SHARDS = 2
LONG = re.compile(r"\d{30,}")
# Of shard 0 they have 56 digits, of shard 1 they grow from 57 to 58; two neighbours lie astronomically far apart, or side by side.
BASE = (49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898, 10**57 - 10**50)


def sequence(row: int) -> int:
    """The place of a payment in its shard."""
    place = row // SHARDS
    return BASE[row % SHARDS] + place // 2 * 10**49 + place % 2


def record(row: int, **changes: Any) -> dict[str, Any]:
    """A payment as it was archived."""
    at_us = parse_instant(TOLD["tx_time"][row].isoformat())
    payload = {name: TOLD[name][row] for name in ("customer_id", "terminal_id", "amount")}
    return archived(str(TOLD["tx_id"][row]), at_us, payload, **{
        "offset": sequence(row), "partition": row % SHARDS, "offset_kind": "kinesis_sequence", "platform_run_id": "cards", **changes})


@pytest.fixture
def plane(place: Path, monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """The small plane with its payments in an archive of two shards, four segments each."""
    made = make_plane(place / "p")
    write_archive(made.folder / "archive", [record(row) for row in range(len(TOLD["tx_id"]))], per_segment=25)
    hit = chargebacks()
    (made.folder / "chargebacks.csv").write_text("tx_id,reported_at,outcome\n" + "".join(
        f"{one},{at.isoformat()},{said}\n" for one, at, said in zip(hit["tx_id"], hit["reported_at"], hit["outcome"], strict=True)))
    made.plane["labels"]["chargeback"]["path"] = "chargebacks.csv"
    del made.plane["events"]
    made.plane["archives"] = {"transaction": {"path": "archive"}}
    made.documents()
    monkeypatch.chdir(made.folder)
    return made


def done(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What a command answers, as JSON."""
    status = run([*arguments, "--json"])
    told = capsys.readouterr()
    assert status == 0, told.out + told.err
    return dict(json.loads(told.out))


def offsets(plane: SmallPlane) -> set[int]:
    """Every sequence of the archive, and the one after each: where a half-open range may end."""
    index = json.loads((plane.folder / "archive/index.json").read_text())["segments"]
    ends = {int(one[name]) for one in index for name in ("first_offset", "last_offset", "next_offset")}
    records = {sequence(row) for row in range(len(TOLD["tx_id"]))}
    return ends | records | {one + 1 for one in records}


def numbers_in(document: Any) -> Iterator[int]:
    """Every number of a document, and every number that is spelled in one of its texts with more digits than anything counts."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from numbers_in(name)
            yield from numbers_in(value)
    elif isinstance(document, list):
        for one in document:
            yield from numbers_in(one)
    elif isinstance(document, str) and not document.startswith("sha256:"):
        yield from map(int, LONG.findall(document))
    elif isinstance(document, int):
        yield document


def check_never_counted(plane: SmallPlane, document: Any) -> None:
    """Long numbers are offsets as the log has them; no difference, sum or count of offsets stands anywhere."""
    allowed = offsets(plane)
    assert [one for one in numbers_in(document) if one >= 1 << 62 and one not in allowed] == []


@pytest.mark.parametrize("engine", ["local", "oracle"])
def test_sequences_are_planned_built_verified_and_built_again(plane: SmallPlane, engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole way, and nothing on it counts a sequence: plan, manifest, receipts and every document of the store."""
    plane.plane["engine"] = {"name": engine}
    plane.documents()
    planned = done(capsys, "plan", "intent.yaml")
    check_never_counted(plane, planned)
    assert planned["estimate"]["events"] == len(TOLD["tx_id"])
    built = done(capsys, "build", "intent.yaml")
    dataset = built["dataset_manifest_id"]
    with open_plane("plane.yaml") as opened:
        manifest = opened.manifest(dataset)
        rows = opened.dataset(dataset).to_arrow().to_pylist()
    assert [(entry["offset_kind"], entry["partition"]) for entry in manifest.replay_basis] == [
        ("kinesis_sequence", shard) for shard in range(SHARDS)]
    assert sum(manifest.core.row_accounting.values()) == len(TOLD["tx_id"])
    assert [row["customer__n_7d"] for row in rows] == [
        sum(TOLD["customer_id"][one] == TOLD["customer_id"][row] and row - one < 28 for one in range(row))
        for row in (int(row["event_id"]) - 1 for row in rows)]
    written = list((plane.folder / "store").rglob("*.json"))
    assert len(written) > 5
    for path in written:
        check_never_counted(plane, json.loads(path.read_text()))
    assert done(capsys, "verify", dataset)["intact"] is True
    plane.plane["engine"] = {"name": {"local": "oracle", "oracle": "local"}[engine]}
    plane.documents()
    assert done(capsys, "build", "intent.yaml", "--recompute")["dataset_manifest_id"] == dataset


def test_a_hole_in_the_chain_is_a_gap_however_many_records_it_had(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing segment is told by the sequences between which nothing is proved, and by no number of lost records."""
    edit_index(plane, lambda segments: segments.pop(1))
    said = ask(capsys, "build", "intent.yaml")
    check_answer(said, 3, "REPLAY_BASIS_GAP", (str(sequence(50)),))
    check_never_counted(plane, said.error)
    check_never_counted(plane, said.text)


def test_a_selector_becomes_sequences(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Log time is turned into the first sequence at or after each end, per shard; an index that does not settle it is refused."""
    first, end = 60, 160
    plane.intent["replay_basis"] = [{"topic": "transaction", "from_utc": TOLD["tx_time"][first].isoformat(),
                                     "to_utc": TOLD["tx_time"][end].isoformat()}]
    plane.intent["splits"] = {"train": ["2026-01-16", "2026-01-25"], "test": ["2026-02-01", "2026-02-09"]}
    plane.documents()
    built = done(capsys, "build", "intent.yaml")
    with open_plane("plane.yaml") as opened:
        manifest = opened.manifest(built["dataset_manifest_id"])
    assert sorted((one["partition"], int(one["start_offset"]), int(one["end_offset"])) for one in manifest.replay_basis) == [
        (shard, sequence(first + shard), sequence(end + shard)) for shard in range(SHARDS)]
    assert sum(manifest.core.row_accounting.values()) == end - first
    (receipt,) = (plane.folder / "store").glob("*/ofs/receipts/*/*/replay.json")
    (said,) = json.loads(receipt.read_text())["facts"]["completeness"]["selectors"]
    assert [said[name] for name in ("from_utc", "to_utc")] == [
        format_instant(parse_instant(plane.intent["replay_basis"][0][name])) for name in ("from_utc", "to_utc")]
    assert [{name: one[name] for name in said["ranges"][0]} for one in manifest.replay_basis] == said["ranges"]
    plane.intent["replay_basis"][0]["to_utc"] = format_instant(parse_instant((START + timedelta(days=80)).isoformat()))
    plane.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 3, "SELECTOR_UNRESOLVED", ("is archived up to",))


def test_ranges_end_between_sequences(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A range may begin and end where no record stands; what is inside is read, and the ends travel as they were written."""
    inside = [row for row in range(40, 120) if row % SHARDS == 0]
    start, end = sequence(inside[0]) - 7, sequence(inside[-1]) + 5 * 10**40
    with open_plane("plane.yaml") as opened:
        log_id = opened.plan("intent.yaml").document()["pins"]["intent"]["replay_basis"][0]["log_id"]
    plane.intent["replay_basis"] = [{"topic": "transaction", "partition": 0, "offset_kind": "kinesis_sequence", "log_id": log_id,
                                     "start_offset": str(start), "end_offset": str(end)}]
    plane.intent["splits"] = {"train": ["2026-01-10", "2026-01-25"], "test": ["2026-01-25", "2026-01-31"]}
    plane.documents()
    built = done(capsys, "build", "intent.yaml")
    with open_plane("plane.yaml") as opened:
        manifest = opened.manifest(built["dataset_manifest_id"])
    assert [(one["start_offset"], one["end_offset"]) for one in manifest.replay_basis] == [(str(start), str(end))]
    assert sum(manifest.core.row_accounting.values()) == len(inside)


@pytest.mark.parametrize("differ", [False, True])
def test_segments_that_overlap_are_one_log(plane: SmallPlane, differ: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """A sequence that two segments hold is one record; two events at one sequence are refused with the coordinate."""
    again = [record(row, **({"schema_version": "v2"} if differ and row == 60 else {})) for row in range(20, 150, SHARDS)]
    write_archive(plane.folder / "again", again)
    (more,) = json.loads((plane.folder / "again/index.json").read_text())["segments"]
    (plane.folder / "archive/again.jsonl").write_bytes((plane.folder / "again" / more["path"]).read_bytes())
    edit_index(plane, lambda segments: segments.append({**more, "path": "again.jsonl"}))
    if differ:
        check_answer(ask(capsys, "build", "intent.yaml"), 5, "REPLAY_DUPLICATE_OFFSET_MISMATCH", (f"transaction/0@{sequence(60)}",))
        return
    with open_plane("plane.yaml") as opened:
        manifest = opened.build("intent.yaml").manifest
    assert sum(manifest.core.row_accounting.values()) == len(TOLD["tx_id"])


@pytest.mark.parametrize("offset", ["1" * 129, "007", "-1", "12.5", "0x31"], ids=lambda text: text[:5])
def test_what_is_no_sequence_is_refused(plane: SmallPlane, offset: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Signs, leading zeros, fractions, other bases and more than 128 digits are no sequences, in the index as in an intent."""
    edit_index(plane, lambda segments: segments[0].update(first_offset=offset))
    check_answer(ask(capsys, "plan", "intent.yaml"), 3, "SOURCE_UNREADABLE", ("first_offset",))
    edit_index(plane, lambda segments: segments[0].update(first_offset=str(sequence(0))))
    plane.intent["replay_basis"] = [{"topic": "transaction", "partition": 0, "offset_kind": "kinesis_sequence", "log_id": "log1",
                                     "start_offset": offset, "end_offset": str(sequence(100))}]
    plane.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 2, "BASIS_UNRESOLVED", ("replay_basis[0]",))


def test_an_empty_range_is_told_by_its_ends(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Ends are compared as numbers though they are texts: one digit more is more, whatever it begins with."""
    plane.intent["replay_basis"] = [{"topic": "transaction", "partition": 0, "offset_kind": "kinesis_sequence", "log_id": "log1",
                                     "start_offset": str(10**56), "end_offset": str(9 * 10**55)}]
    plane.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 2, "BASIS_UNRESOLVED", ("holds nothing",))


# --- the stream itself --------------------------------------------------------------------------------------


@pytest.fixture
def streaming(streams: Streams, place: Path, monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """The small plane with its payments on a stream: the first half in one shard, which was split then."""
    made = make_plane(place / "p")
    del made.plane["events"]
    made.plane["kinesis"] = {"transaction": {"stream": "payments", "region": REGION, "endpoint": streams.url, "timeout_s": 5}}
    made.labels(chargebacks() | {"tx_id": [str(one) for one in chargebacks()["tx_id"]]},
                pa.schema([("tx_id", pa.string()), *list(LABEL_SCHEMA)[1:]]))
    made.documents()
    streams.create("payments")
    half = len(TOLD["tx_id"]) // 2
    streams.put("payments", [envelope(record(row)) for row in range(half)])
    for shard, child in enumerate(streams.split("payments", 0)):
        streams.put("payments", [envelope(record(row)) for row in range(half, 2 * half) if row % SHARDS == shard], child)
    monkeypatch.chdir(made.folder)
    return made


def test_a_dataset_of_a_stream_is_the_one_of_its_archive(
        streaming: SmallPlane, streams: Streams, capsys: pytest.CaptureFixture[str]) -> None:
    """From the stream alone, across the cut when retention has taken the older half, and from the archive when the stream is gone.

    shard 0   [0 ───── archived ────┤            first trimmed, then gone with the stream
    shard 1                         ├──────────▶
    shard 2                         ├──────────▶
    """
    planned = done(capsys, "plan", "intent.yaml")
    assert (planned["estimate"]["events"], planned["feasibility"]) == (len(TOLD["tx_id"]), "FEASIBLE_BUS_ONLY")
    built = done(capsys, "build", "intent.yaml")
    assert run(["pin", "intent.yaml", "-o", "pinned.yaml"]) == 0
    capsys.readouterr()
    copied = done(capsys, "archive", "write", "archive", "--topic", "transaction", "--range", f"0:{at(0)}-{at(99) + 1}")
    assert [one["records"] for one in copied["copied"]] == [100]
    streaming.plane["archives"] = {"transaction": {"path": "archive"}}
    streaming.documents()
    streams.trim("payments", 60)
    across = done(capsys, "plan", "pinned.yaml")
    assert across["feasibility"] == "FEASIBLE_REQUIRES_ARCHIVE"
    assert done(capsys, "build", "pinned.yaml", "--recompute")["dataset_manifest_id"] == built["dataset_manifest_id"]
    done(capsys, "archive", "write", "archive", "--topic", "transaction", "--range", f"1:{at(0, 1)}-{at(49, 1) + 1}", "--range",
         f"2:{at(0, 2)}-{at(49, 2) + 1}")
    streams.client.delete_stream(StreamName="payments")
    assert done(capsys, "build", "pinned.yaml", "--recompute")["dataset_manifest_id"] == built["dataset_manifest_id"]
    assert done(capsys, "verify", built["dataset_manifest_id"])["intact"] is True


def test_a_stream_that_is_made_anew_or_has_lost_its_beginning_builds_nothing(
        streaming: SmallPlane, streams: Streams, capsys: pytest.CaptureFixture[str]) -> None:
    """What is pinned is another log by then, or a gap with its bounds."""
    assert run(["pin", "intent.yaml", "-o", "pinned.yaml"]) == 0
    capsys.readouterr()
    streams.trim("payments", 10)
    check_answer(ask(capsys, "build", "pinned.yaml"), 3, "REPLAY_BASIS_GAP", (str(at(10)), str(at(0))))
    streams.client.delete_stream(StreamName="payments")
    check_answer(ask(capsys, "build", "pinned.yaml"), 3, "SOURCE_UNREADABLE", ("there is no such stream",))
    streams.create("payments")
    streams.age("payments", seconds=-5)
    streams.put("payments", [envelope(record(row)) for row in range(100)])
    check_answer(ask(capsys, "build", "pinned.yaml"), 3, "REPLAY_BASIS_MISMATCH", ("payments", "in log"))


def test_streams_that_cannot_be_asked_are_told_with_what_to_do(
        streaming: SmallPlane, streams: Streams, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No server, no right, no account, no region: each by its own sentence, and no secret in any of them."""
    streams.fail("describe_stream_summary", "AccessDeniedException", times=2)
    check_answer(ask(capsys, "plan", "intent.yaml"), 7, "EVENT_BUS_UNAVAILABLE", ("may not do this", "kinesis:ListShards"))
    streaming.plane["kinesis"]["transaction"] |= {"endpoint": "http://127.0.0.1:9", "timeout_s": 1}
    streaming.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 7, "EVENT_BUS_UNAVAILABLE", ("did not answer for 1 s", "endpoint"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    streaming.plane["kinesis"]["transaction"]["timeout_s"] = 2  # another client, which looks for credentials anew
    streaming.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 7, "EVENT_BUS_UNAVAILABLE", ("does not know this account", "AWS_ACCESS_KEY_ID"))
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    del streaming.plane["kinesis"]["transaction"]["region"], streaming.plane["kinesis"]["transaction"]["endpoint"]
    streaming.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 2, "SETTINGS_INVALID", ("no address is known for the region", "kinesis.transaction"))


@pytest.mark.parametrize(("entry", "said"), [
    ({"stream": "pay/ments"}, ("stream", "arn:aws:kinesis")), ({"region": "Ireland"}, ("region", "eu-west-1")),
    ({"stream": "arn:aws:kinesis:eu-west-1:123456789012:stream/p", "region": "us-east-1"}, ("eu-west-1", "leave `region` out")),
    ({"endpoint": "http://me:pa55word@host"}, ("endpoint", "by reference")),
    ({"secret_access_key": "pa55word"}, ("never stand in settings",)),
    ({"event_type": "t"}, ("add `topic:`",)), ({"topic": "pay ments"}, ("name the stream",)), ({"log_id": "x"}, ("log_id",))],
    ids=["stream", "region", "arn", "endpoint", "secret", "type", "topic", "unknown"])
def test_settings_of_a_stream_are_refused_where_they_stand(plane: SmallPlane, entry: dict[str, str], said: tuple[str, ...],
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be a stream, a region or an address is told before anybody is asked; nothing secret is repeated."""
    plane.plane["kinesis"] = {"more": entry}
    plane.documents()
    answer = ask(capsys, "plan", "intent.yaml")
    check_answer(answer, 2, "SETTINGS_INVALID", ("kinesis.more", *said))
    assert "pa55word" not in answer.text


def test_a_name_is_on_one_bus(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A topic and a stream of one name would be two logs, and an archive beside a stream means what the stream means."""
    plane.plane["kinesis"] = {"transaction": {"topic": "payments"}, "more": {}}
    plane.plane["kafka"] = {"more": {"servers": "kafka:9092"}}
    plane.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 2, "SETTINGS_INVALID", ("already a topic of this name under kafka",
                                                                           "one log has one topic"))
