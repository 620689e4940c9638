"""Archives below a prefix of a bucket, on a real S3 server: read by few requests, held against their pins, and refused when replaced."""

import json
import pickle
from dataclasses import replace

import pytest
from s3_servers import BUCKET, ENVIRONMENT, WallClock, open_store, place_at

from offline_feature_plane.archive_jobs import index_archive
from offline_feature_plane.contracts.plane import S3Access
from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.basis import Range, Selector
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.errors import (
    ArchiveIndexConflict,
    RefScopeInvalid,
    ReplayBasisMismatch,
    SourceUnreadable,
    StorageIoFailure,
)
from offline_feature_plane.plane import open_plane
from offline_feature_plane.s3 import bucket
from offline_feature_plane.settings import settings_from
from offline_feature_plane.sources.archives import buckets as archive_buckets
from offline_feature_plane.sources.archives.buckets import BucketPlace
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.sources.logs.stretches import read_in_order
from offline_feature_plane.testing.archives import archived, write_archive
from offline_feature_plane.testing.fault_proxy import Fault, FaultProxy


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    """What the SDK finds in the environment; waits are short, and each test has clients of its own."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(bucket, "FIRST_WAIT_US", 1_000)
    monkeypatch.setattr(archive_buckets, "_CLIENTS", {})


@pytest.fixture(scope="module")
def network(weed):
    """A proxy before SeaweedFS, which counts requests and spoils some."""
    with FaultProxy(weed.url) as made:
        yield made


@pytest.fixture
def place(network, tmp_path):
    """A new place in the bucket, behind the proxy."""
    network.script()
    found = place_at(network.url, timeout_s=5)
    return BucketPlace(replace(found, prefix=f"{found.prefix}topics/dt=2026-01-01/"), tmp_path / "work", WallClock())


def client(place):
    """The SDK's client, for what other people do to a bucket."""
    return open_store(place.place)._bucket._client


def put(place, key, data):
    """Somebody puts an object."""
    client(place).put_object(Bucket=BUCKET, Key=place.place.prefix + key, Body=data)


def record(n, **changes):
    """One archived record."""
    return archived(f"e{n}", n * 1_000, {"card": "A", "amount": n}, offset=n, **changes)


def upload(place, folder, *, index=True):
    """Everything in a folder becomes objects."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (index or path.name != "index.json"):
            put(place, path.relative_to(folder).as_posix(), path.read_bytes())


@pytest.fixture
def stored(place, tmp_path):
    """An archive in the bucket: two partitions in six segments of three forms."""
    records = [record(n, partition=n % 2) for n in range(12)]
    write_archive(tmp_path / "here", records, per_segment=2)
    upload(place, tmp_path / "here")
    return place


def pin(place):
    """The archive as a build pins it."""
    return ArchiveSource({"transaction": ArchiveMapping(lambda: place)}).pin("transaction")


def read(archive, ranges=None):
    """Ids of what some ranges hold."""
    return [one.event_id for _, one in read_in_order(archive.reading(ranges or archive.ranges(), ()).stretches, ranges or archive.ranges())
            if isinstance(one, Record)]


def part(start, end, partition=0):
    """A range of partition 0."""
    return Range("transaction", partition, "kafka_offset", "log1", str(start), str(end))


def test_an_archive_in_a_bucket_is_the_one_in_the_folder(stored, tmp_path):
    """The same records, evidence and ranges; segments are gone from the work folder when they were read."""
    here = ArchiveSource({"transaction": ArchiveMapping(tmp_path / "here")}).pin("transaction")
    there = pin(stored)
    assert read(there) == read(here)
    assert (there.ranges(), there.completeness(there.ranges())) == (here.ranges(), here.completeness(here.ranges()))
    assert there.resolve(Selector("transaction", 3_000, 8_000)) == here.resolve(Selector("transaction", 3_000, 8_000))
    assert list((tmp_path / "work").iterdir()) == []


def test_what_is_asked_is_the_index_and_the_segments_of_the_basis(stored, network):
    """One request plans; no list, nothing about segments that no range touches; each that is read is looked at once and fetched once."""
    network.script()
    archive = pin(stored)
    assert archive.completeness([part(4, 6)]).is_complete
    archive.describe([part(4, 6)], "archive@1")
    log = archive.reading([part(4, 6)], ())
    assert network.seen == ["GetObject"]
    assert [one.event_id for _, one in read_in_order(log.stretches, log.ranges)] == ["e4"]
    assert network.seen == ["GetObject"] * 3


def test_segments_travel_to_other_processes(stored):
    """A piece of a log can be pickled, and is read with a client of its own there."""
    log = pin(stored).reading([part(0, 12)], ())
    (piece,) = pickle.loads(pickle.dumps(log.by_partition()))  # noqa: S301 - our own
    archive_buckets._CLIENTS.clear()
    assert [one.event_id for _, one in read_in_order(piece.stretches, piece.ranges)] == [f"e{n}" for n in range(0, 12, 2)]


@pytest.mark.parametrize("fault", ["reset before", "503 before", "500 after", "reset in download", "truncate"])
def test_one_fault_is_survived(stored, network, fault):
    """A throttled, broken or cut answer is asked for again; half a segment is never read."""
    archive = pin(stored)
    for nth in range(3):
        network.script(Fault(fault, "GetObject", nth=nth))
        assert read(archive, [part(0, 4)]) == ["e0", "e2"]


@pytest.mark.parametrize("fault", ["503 before", "reset before", "truncate"])
def test_an_outage_ends_with_a_code_that_may_pass(stored, network, fault):
    """While planning and while reading; nothing stays in the work folder."""
    archive = pin(stored)
    network.script(Fault(fault, "GetObject", nth=None))
    for doing in (lambda: pin(stored), lambda: read(archive)):
        with pytest.raises(StorageIoFailure) as caught:
            doing()
        assert caught.value.transient
    assert not any((stored.work).glob("*")) if stored.work.exists() else True


def test_damage_on_the_way_is_not_believed(stored, network):
    """What arrives is held against the pin, whatever the store says."""
    archive = pin(stored)
    network.script(Fault("corrupt download", "GetObject", nth=None, where=0.9))
    with pytest.raises((ReplayBasisMismatch, StorageIoFailure)):
        read(archive)


@pytest.mark.parametrize("moment", ["before the check", "after the check"])
@pytest.mark.parametrize("with_etag", [True, False])
def test_a_segment_that_is_replaced_between_plan_and_read_is_refused(stored, moment, with_etag):
    """Bytes of the same length, by etag where the index has it, else by their digest."""
    if with_etag:
        index_archive(stored.name, plane_of(stored))
    archive = pin(stored)
    segment = archive.reading([part(0, 4)], ()).stretches[0]
    data = client(stored).get_object(Bucket=BUCKET, Key=stored.place.prefix + segment.file.relative)["Body"].read()
    if moment == "after the check":
        segment.check()
    put(stored, segment.file.relative, data.replace(b'"amount": 0', b'"amount": 9'))
    look = segment.check if moment == "before the check" and with_etag else lambda: list(segment.read())
    with pytest.raises(ReplayBasisMismatch, match="etag" if with_etag else "was pinned as") as told:
        look()
    assert "ofs archive index ARCHIVE --replace" in told.value.fix
    assert r"transaction/0 [0, 4)" in told.value.what
    put(stored, segment.file.relative, data + b"\n")
    with pytest.raises(ReplayBasisMismatch):
        segment.check()
    client(stored).delete_object(Bucket=BUCKET, Key=stored.place.prefix + segment.file.relative)
    with pytest.raises(ReplayBasisMismatch, match="is missing"):
        segment.check()


def test_a_segment_that_was_cut_off_is_told_by_its_address(place, tmp_path):
    """Half a gzipped object, as its index has it: the error names the object, not the file that it was fetched into, and its offsets."""
    write_archive(tmp_path / "here", [record(n) for n in range(9)], per_segment=3, form="jsonl.gz")
    path = tmp_path / "here/transaction/0/00001.jsonl.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    text = (tmp_path / "here/index.json").read_text().replace(sha256_of(whole), sha256_of(path.read_bytes()))
    (tmp_path / "here/index.json").write_text(text.replace(f'"size": {len(whole)}', f'"size": {len(whole) // 2}'))
    upload(place, tmp_path / "here")
    with pytest.raises(SourceUnreadable) as caught:
        read(pin(place))
    assert caught.value.what.startswith(f"{place.name}/transaction/0/00001.jsonl.gz cannot be read")
    assert str(place.work) not in str(caught.value)
    assert "transaction/0 [3, 6)" in caught.value.what
    assert (caught.value.fields["start_offset"], caught.value.fields["end_offset"]) == ("3", "6")
    place.remove("index.json")
    with pytest.raises(SourceUnreadable, match=f"{place.name}/transaction/0/00001.jsonl.gz cannot be read") as told:
        index_archive(place.name, plane_of(place))
    assert str(place.work) not in str(told.value)


@pytest.mark.parametrize("index", [None, b"{", b'{"segments": 1}'], ids=str)
def test_an_index_that_is_missing_or_broken_is_told(place, index):
    """As in a folder."""
    if index is not None:
        put(place, "index.json", index)
    with pytest.raises(SourceUnreadable) as caught:
        pin(place)
    assert "ofs archive index" in str(caught.value)


def test_a_segment_path_leads_nowhere_else(stored):
    """No index reaches objects outside of its archive."""
    index = json.loads(stored.document("index.json").data)
    index["segments"][0]["path"] = "../../secret.jsonl"
    put(stored, "index.json", json.dumps(index).encode())
    with pytest.raises(RefScopeInvalid):
        pin(stored)


# --- making the index -----------------------------------------------------------------------------------------


def plane_of(place, **entry):
    """A plane that maps this archive."""
    return settings_from({"plane": "run1", "work": str(place.work), "s3": place.place.access.model_dump(exclude_none=True),
                          "archives": {"transaction": {"path": place.name, **entry}}}, place.work.parent)


def test_the_index_of_a_bucket_is_made_by_reading_each_object_once(place, tmp_path, network):
    """Listed once, fetched once; what the index knows by etag is not fetched again."""
    write_archive(tmp_path / "here", [record(n) for n in range(6)], per_segment=2, form="jsonl.zst")
    upload(place, tmp_path / "here", index=False)
    network.script()
    report = index_archive(place.name, plane_of(place), log_id="log1")
    assert (report.records, report.files_read, report.lanes[0].gaps) == (6, 3, 0)
    assert network.seen.count("GetObject") <= 3 + 3  # the objects, the index before and after, what an earlier job left
    assert network.seen.count("ListObjectsV2") == 2  # the notes of jobs that were stopped, and all files
    assert read(pin(place)) == [f"e{n}" for n in range(6)]
    network.script()
    assert index_archive(place.name, plane_of(place)).files_known == 3
    assert network.seen.count("GetObject") <= 2
    assert list(place.work.iterdir()) == []


def test_a_lost_answer_or_another_writer_decides_by_what_stands_there(place, tmp_path, network):
    """The index is replaced only if it still is the one that was read."""
    write_archive(tmp_path / "here", [record(n) for n in range(2)])
    upload(place, tmp_path / "here", index=False)
    network.script(Fault("reset after", "PutObject"))
    assert index_archive(place.name, plane_of(place)).was_written
    put(place, "more.jsonl", json.dumps(record(2)).encode() + b"\n")

    def meddle(step, done, total):
        put(place, "index.json", b"{}")

    with pytest.raises(ArchiveIndexConflict, match="changed by somebody else"):
        index_archive(place.name, plane_of(place), progress=meddle)
    assert client(place).get_object(Bucket=BUCKET, Key=f"{place.place.prefix}index.json")["Body"].read() == b"{}"


def test_a_replaced_object_is_refused_until_it_is_meant(stored):
    """As in a folder."""
    index_archive(stored.name, plane_of(stored))
    put(stored, "transaction/0/00000.jsonl", json.dumps(record(0)).encode() + b"\n")
    with pytest.raises(ArchiveIndexConflict, match="--replace"):
        index_archive(stored.name, plane_of(stored))
    assert index_archive(stored.name, plane_of(stored), replace=True).lanes[0].gaps == 1


def test_an_empty_prefix_and_a_wrong_address_are_told(place):
    """Nothing is there; no such server; no credentials in addresses."""
    with pytest.raises(SourceUnreadable, match="holds no files"):
        index_archive(place.name, plane_of(place))
    settings = settings_from({"plane": "p", "s3": {"endpoint": "http://127.0.0.1:9", "timeout_s": 1},
                              "work": str(place.work)}, place.work.parent)
    with pytest.raises(StorageIoFailure, match="cannot be reached"):
        index_archive(place.name, settings)


def test_a_plane_builds_from_its_archive_in_a_bucket(stored, tmp_path):
    """The address in plane.yaml, reached as `s3` of the entry says, by the same credentials as a store."""
    (tmp_path / "plane.yaml").write_text(json.dumps({
        "plane": "run1", "work": str(stored.work), "archives": {"transaction": {
            "path": stored.name, "zone": "UTC", "s3": stored.place.access.model_dump(exclude_none=True)}},
        "labels": {"fraud": {"path": "labels.jsonl", "event": "id", "observed": "at", "value": "FRAUD"}}}))
    (tmp_path / "labels.jsonl").write_text('{"id": "e1", "at": "2026-01-01T00:00:00Z"}\n')
    (tmp_path / "features.yaml").write_text(json.dumps({
        "fields": {"card": "string", "amount": "int64"},
        "groups": {"card": {"key": "card", "windows": ["7d"], "features": {"n": "count()", "sum": "sum(amount)"}}}}))
    (tmp_path / "intent.yaml").write_text(json.dumps({
        "rows": "transaction", "features": "features.yaml", "identifiers": {"mode": "raw", "reason": "test"},
        "label": {"type": "fraud", "as_of": "2026-06-01", "maturity_days": None, "target": "none"}}))
    with open_plane(tmp_path / "plane.yaml") as plane:
        built = plane.build(tmp_path / "intent.yaml")
        again = plane.build(tmp_path / "intent.yaml", recompute=True)
        rows = plane.dataset(built.manifest.dataset_manifest_id).to_arrow()
    assert (rows["card__n_7d"].to_pylist(), again.outcome) == (list(range(12)), "REPRODUCED")
    assert not list(stored.work.glob("look-*"))


def test_a_digest_names_what_an_object_was_pinned_as(stored):
    """The error tells both digests, and where."""
    archive = pin(stored)
    put(stored, archive.segments[0].file.relative, b"x" * archive.segments[0].file.size)
    with pytest.raises(ReplayBasisMismatch) as caught:
        read(archive)
    assert caught.value.fields["found"] == sha256_of(b"x" * archive.segments[0].file.size)
    assert S3Access().endpoint is None


def test_a_list_of_the_bucket_shows_what_is_gone_or_replaced(place, tmp_path):
    """One request for all segments, however many: missing objects, and such as have another size or etag than the index says."""
    write_archive(tmp_path / "here", [record(n) for n in range(8)], per_segment=2, form="jsonl.zst")
    upload(place, tmp_path / "here", index=False)
    index_archive(place.name, plane_of(place), log_id="log1")
    assert pin(place).missing() == []
    names = [one.file.relative for one in pin(place).segments]
    client(place).delete_object(Bucket=BUCKET, Key=f"{place.place.prefix}{names[1]}")
    put(place, names[2], b"other")
    found = [(one.stretch.start_offset, one.stretch.end_offset, one.what) for one in pin(place).missing()]
    assert found == [("2", "4", f"{place.place.uri(names[1])} is missing"),
                     ("4", "6", f"{place.place.uri(names[2])} was replaced after it was indexed")]


@pytest.mark.parametrize("names", [["0.jsonl"], ["0.jsonl", "1.jsonl"], ["0.jsonl", "more/1.jsonl"], ["x/0.jsonl", "xy/1.jsonl"]], ids=str)
def test_segments_are_found_wherever_they_lie(place, names):
    """In no folder at all, in one, in several whose names begin alike: what is there is not called missing, and what is gone is."""
    for number, name in enumerate(names):
        put(place, name, json.dumps(record(number)).encode() + b"\n")
    index_archive(place.name, plane_of(place))
    assert pin(place).missing() == []
    place.remove(names[-1])
    assert [one.what for one in pin(place).missing()] == [f"{place.name}/{names[-1]} is missing"]
