"""Nothing in a manifest is believed before it is known to be the published one, whoever asks (R12, `decisions.md` A1–A3, D5)."""

import json
import shutil
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_plane import SmallPlane, make_plane

from offline_feature_plane.__main__ import run
from offline_feature_plane.contracts.facts import DatasetPointer
from offline_feature_plane.corridor.facts import parse_fact
from offline_feature_plane.domain.canonical import canonical_bytes, sha256_of
from offline_feature_plane.errors import DatasetRetired, DigestMismatch, IntegrityError, OfsError, RefNotFound
from offline_feature_plane.objects.local import LocalStore
from offline_feature_plane.plane import open_plane


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """A plane in which two datasets stand: one of all payments, one of a part of them."""
    made = make_plane(tmp_path_factory.mktemp("made") / "p")
    made.intent["request_id"] = "request-whole"
    made.documents()
    opened(made).build(made.intent_path)
    made.intent |= {"request_id": "request-part1", "where": "amount > 20"}
    made.documents()
    opened(made).build(made.intent_path)
    return made


@pytest.fixture
def plane(made_once, tmp_path):
    """A copy of it to harm."""
    shutil.copytree(made_once.folder, tmp_path / "p")
    return SmallPlane(tmp_path / "p", intent=dict(made_once.intent))


def opened(plane):
    """The plane as it stands."""
    return open_plane(plane.folder / "plane.yaml")


def whole_and_part(plane):
    """Both manifests, as documents, the larger first."""
    documents = [json.loads(path.read_bytes()) for path in plane.manifests()]
    return sorted(documents, key=lambda one: -one["core"]["row_count"])


def place(plane, key):
    """The file of an object."""
    return plane.folder / "store" / key


def manifest_file(plane, document):
    """The file of a manifest."""
    return place(plane, f"cards/ofs/manifests/{document['dataset_manifest_id']}.json")


def write(path, data):
    """Overwrite an object, as no store of ours would."""
    path.chmod(0o644)
    path.write_bytes(data)


def ask_everything(plane, dm_id):
    """What every reader of a dataset says: each must raise an integrity error, and `verify` must not call it intact."""
    found = opened(plane)
    for ask in (found.manifest, found.dataset):
        with pytest.raises(IntegrityError):
            ask(dm_id)
    with suppress(IntegrityError):
        assert not found.verify(dm_id).intact


def call_the_answer_a_feature(document, _):
    """Edit the roles of columns."""
    for column in document["core"]["columns"]:
        column["role"] = "feature" if column["role"] in {"label", "target"} else column["role"]


LIES = {
    "the answer is a feature": call_the_answer_a_feature,
    "a part twice": lambda document, _: document["evidence"]["parts"].extend(document["evidence"]["parts"]),
    "no part": lambda document, _: document["evidence"]["parts"].clear(),
    "the parts of another": lambda document, other: document["evidence"].update(parts=other["evidence"]["parts"]),
    "another actor": lambda document, _: document["evidence"]["publisher"].update(actor={"name": "nobody", "source": "declared"}),
    "no receipts": lambda document, _: document["evidence"]["receipts"].clear(),
    "no publisher": lambda document, _: document["evidence"]["publisher"].clear(),
    "fewer rows": lambda document, _: document["core"].update(row_count=1),
    "a type that does not exist": lambda document, _: document["core"]["columns"][0].update(type="int65"),
}


def forge(plane, document, lie, other=None):
    """Write a manifest again with one lie in it."""
    LIES[lie](document, other)
    write(manifest_file(plane, document), canonical_bytes(document))


@pytest.mark.parametrize("lie", LIES)
def test_a_forged_manifest_is_read_by_nobody(lie, plane):
    """Core and evidence: no field of a visible manifest can be changed without every reader noticing."""
    whole, part = whole_and_part(plane)
    forge(plane, whole, lie, part)
    ask_everything(plane, whole["dataset_manifest_id"])


def test_the_manifest_of_another_dataset_is_not_taken_for_this_one(plane):
    """A manifest under another's name, or a pointer to another's manifest, never answers for it."""
    whole, part = whole_and_part(plane)
    honest = manifest_file(plane, whole).read_bytes()
    write(manifest_file(plane, whole), manifest_file(plane, part).read_bytes())
    ask_everything(plane, whole["dataset_manifest_id"])
    write(manifest_file(plane, whole), honest)
    pointer = place(plane, f"by_id/{whole['dataset_manifest_id']}.json")
    write(pointer, place(plane, f"by_id/{part['dataset_manifest_id']}.json").read_bytes())
    with pytest.raises(DigestMismatch):
        opened(plane).manifest(whole["dataset_manifest_id"])


@pytest.mark.parametrize("lie", ["the parts of another", "another actor", "no receipts", "a part twice"])
def test_without_a_pointer_the_vow_tells_the_published_bytes(lie, plane):
    """A missing pointer makes no forgery true, and no later build writes a pointer that would."""
    whole, part = whole_and_part(plane)
    place(plane, f"by_id/{part['dataset_manifest_id']}.json").unlink()
    assert opened(plane).verify(part["dataset_manifest_id"]).intact
    forge(plane, part, lie, whole)
    ask_everything(plane, part["dataset_manifest_id"])
    plane.intent["request_id"] = "request-another"
    plane.documents()
    with pytest.raises(IntegrityError):
        opened(plane).build(plane.intent_path)
    ask_everything(plane, part["dataset_manifest_id"])


def test_one_damaged_manifest_hides_no_other(plane, capsys):
    """The list shows what can be believed, says what cannot, and ends 6."""
    whole, part = whole_and_part(plane)
    forge(plane, whole, "another actor")
    (plane.folder / "store/cards/ofs/manifests/readme.txt").write_text("not ours")
    assert run(["datasets", "--plane", str(plane.folder / "plane.yaml")]) == 6
    told = capsys.readouterr()
    assert part["dataset_manifest_id"] in told.out
    assert whole["dataset_manifest_id"] not in told.out
    assert "DIGEST_MISMATCH" in told.err
    assert run(["datasets", "--plane", str(plane.folder / "plane.yaml"), "--json"]) == 6
    lines = json.loads(capsys.readouterr().out)
    assert {line.get("dataset_manifest_id") or line["error"]["code"] for line in lines} == {part["dataset_manifest_id"], "DIGEST_MISMATCH"}


@pytest.mark.parametrize("kind", [b"{}", b"[]", b"5", b'{"manifest_key":5}', b"\xff"], ids=repr)
def test_a_harmed_pointer_is_told(kind, plane):
    """A pointer that says nothing is no reason to answer with an unauthenticated manifest, nor to fall over."""
    whole, _ = whole_and_part(plane)
    write(place(plane, f"by_id/{whole['dataset_manifest_id']}.json"), kind)
    with pytest.raises(DigestMismatch):
        opened(plane).manifest(whole["dataset_manifest_id"])


def harm_part(plane, document):
    """Flip a bit of the data."""
    path = place(plane, document["evidence"]["parts"][0]["key"])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    write(path, bytes(data))


HARMS = {
    "a flipped part": harm_part,
    "no part": lambda plane, document: place(plane, document["evidence"]["parts"][0]["key"]).unlink(),
    "no manifest": lambda plane, document: manifest_file(plane, document).unlink(),
    "another manifest": lambda plane, document: forge(plane, document, "another actor"),
    "no vow": lambda plane, document: shutil.rmtree(plane.folder / "store/cards/ofs/commits"),
    "an empty store": lambda plane, document: shutil.rmtree(plane.folder / "store"),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("ledger", ["kept", "lost"])
@pytest.mark.parametrize("recompute", [False, True])
def test_the_same_command_does_not_answer_with_a_harmed_dataset(harm, ledger, recompute, plane):
    """Who gets an answer gets a whole dataset, also from the run that published it; else an integrity error (`decisions.md` D5, D7)."""
    _, part = whole_and_part(plane)
    HARMS[harm](plane, part)
    if ledger == "lost":
        (plane.folder / "ledger.sqlite").unlink()
    try:
        built = opened(plane).build(plane.intent_path, recompute=recompute)
    except OfsError as refusal:
        told = refusal
    else:
        assert opened(plane).verify(built.manifest.dataset_manifest_id).intact
        assert ledger == "lost"  # so that nothing remembers what stood there
        return
    assert (told.family, bool(told.fix)) == ("integrity", True) or isinstance(told, RefNotFound), told


def test_a_retired_dataset_is_not_answered_with_by_its_own_run(plane):
    """Asking again for what was retired is refused, whoever published it (`decisions.md` D7)."""
    _, part = whole_and_part(plane)
    path = place(plane, f"cards/ofs/retired/{part['dataset_manifest_id']}.json")
    path.parent.mkdir()
    path.write_text("{}")
    for recompute in (False, True):
        with pytest.raises(DatasetRetired):
            opened(plane).build(plane.intent_path, recompute=recompute)


def test_the_vow_of_another_meaning_is_not_kept(plane):
    """A commit record under a run's name that speaks of another dataset ends nothing and publishes nothing."""
    whole, _ = whole_and_part(plane)
    plane.intent["request_id"] = "request-victim"
    plane.intent["where"] = "amount > 30"
    plane.documents()
    planned = opened(plane).plan(plane.intent_path)
    from offline_feature_plane.domain.identity import run_key
    vow = place(plane, f"cards/ofs/commits/{whole['evidence']['publisher']['run_key']}.json").read_bytes()
    place(plane, f"cards/ofs/commits/{run_key('request-victim')}.json").write_bytes(vow)
    with pytest.raises(DigestMismatch):
        opened(plane).build(plane.intent_path)
    assert not place(plane, f"cards/ofs/manifests/{planned.dm_id}.json").exists()


@pytest.mark.parametrize("lost", ["part", "receipt", "plan"])
def test_what_is_lost_while_building_is_noticed_before_the_vow(lost, plane, monkeypatch):
    """All that a manifest speaks of is read back before anything is vowed (`domain.md` §5)."""
    plane.intent |= {"request_id": "request-third", "where": "amount > 30"}
    plane.documents()
    honest = LocalStore.put_new

    def lose(store, key, data):
        if key.endswith("/publication.json"):
            run_key = key.split("/")[3]
            patterns = {"part": f"cards/ofs/datasets/*/{run_key}/*.parquet", "receipt": f"cards/ofs/receipts/{run_key}/1/replay.json",
                        "plan": f"cards/ofs/plans/{run_key}.json"}
            (path,) = (plane.folder / "store").glob(patterns[lost])
            path.unlink()
        return honest(store, key, data)

    monkeypatch.setattr(LocalStore, "put_new", lose)
    with pytest.raises(IntegrityError):
        opened(plane).build(plane.intent_path)
    monkeypatch.undo()
    (run, *_) = opened(plane).runs()
    assert (run.state, run.request_id) == ("FAILED", "request-third")
    assert len(plane.manifests()) == 2


def test_receipts_of_an_earlier_life_do_not_stand_for_new_ones(plane):
    """A run whose ledger was lost counts its attempts anew: what its first life left stays, and the new dataset verifies."""
    whole, part = whole_and_part(plane)
    (plane.folder / "ledger.sqlite").unlink()
    for folder in ("manifests", "commits", "datasets"):
        shutil.rmtree(plane.folder / f"store/cards/ofs/{folder}")
    shutil.rmtree(plane.folder / "store/by_id")
    before = {path: sha256_of(path.read_bytes()) for path in (plane.folder / "store").glob("cards/ofs/receipts/*/*/*.json")}
    built = opened(plane).build(plane.intent_path)
    assert opened(plane).verify(built.manifest.dataset_manifest_id).intact
    assert {path: sha256_of(path.read_bytes()) for path in before} == before
    assert built.manifest.core.content_digest in {whole["core"]["content_digest"], part["core"]["content_digest"]}


def with_a_lie(table, column, value):
    """The same rows but for one value of the last one."""
    values = table[column].to_pylist()
    place = table.column_names.index(column)
    return table.set_column(place, table.field(place), pa.array([*values[:-1], value(values[-1])], table.schema.types[place]))


def rewrite_rows(plane, document, change):
    """Give a dataset other rows, with every digest that speaks of files put right: data file, manifest, and pointer."""
    (part,) = document["evidence"]["parts"]
    old = place(plane, part["key"])
    draft = plane.folder / "draft.parquet"
    pq.write_table(change(pq.read_table(old)), draft)
    part |= {"sha256": sha256_of(draft.read_bytes()), "size_bytes": draft.stat().st_size}
    part["key"] = f"{part['key'].rpartition('/')[0]}/{part['sha256'].removeprefix('sha256:')}.parquet"
    old.unlink()
    draft.rename(place(plane, part["key"]))
    data = canonical_bytes(document)
    write(manifest_file(plane, document), data)
    pointer = place(plane, f"by_id/{document['dataset_manifest_id']}.json")
    said = parse_fact(DatasetPointer, pointer.read_bytes(), "pointer")
    write(pointer, DatasetPointer(platform_run_id=said.platform_run_id, manifest_key=said.manifest_key,
                                  manifest_digest=sha256_of(data)).document())


FORGED_ROWS = {
    "an answer": lambda table: with_a_lie(table, "target", lambda value: 1 - value),
    "a count": lambda table: with_a_lie(table, "customer__n_1d", lambda value: value + 1),
    "a null": lambda table: with_a_lie(table, "customer__avg_7d", lambda _: None),
    "an id": lambda table: with_a_lie(table, "event_id", lambda value: value + 1),
    "another order": lambda table: table.take([*range(1, len(table)), 0]),
    "one row twice, one never": lambda table: table.take([0, *range(len(table) - 1)]),
}


@pytest.mark.parametrize("forged", FORGED_ROWS)
def test_rows_are_held_against_the_content_and_not_only_against_their_file(plane, forged):
    """Other rows in files whose every digest was put right are found by the content digest alone (`decisions.md` F)."""
    whole, _ = whole_and_part(plane)
    rewrite_rows(plane, whole, FORGED_ROWS[forged])
    found = opened(plane).verify(whole["dataset_manifest_id"])
    assert [check.name for check in found.checks if not check.passed] == ["the rows have the promised content digest"]
    assert not found.intact


def test_the_same_rows_in_other_files_are_the_dataset(plane):
    """Written again as they are, with the digests of the new files, the rows are intact: content is no matter of files."""
    whole, _ = whole_and_part(plane)
    rewrite_rows(plane, whole, lambda table: table)
    assert opened(plane).verify(whole["dataset_manifest_id"]).intact
