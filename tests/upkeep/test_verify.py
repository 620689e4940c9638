"""Verifying: every byte is checked, and what is damaged is told by file, row group, column, page, rows and leaf (R12)."""

import itertools
import json
import random
import shutil
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_asking import build, dataset, opened, say, tell

from offline_feature_plane.compact_thrift import Malformed, read_struct
from offline_feature_plane.contracts.facts import DatasetPointer, Vow
from offline_feature_plane.contracts.manifest import Part
from offline_feature_plane.corridor.damage import count_pages, inspect
from offline_feature_plane.corridor.facts import parse_fact
from offline_feature_plane.corridor.pages import chunks_by_footer, chunks_by_writer, walk
from offline_feature_plane.corridor.stage import stage
from offline_feature_plane.corridor.verify import check_artifacts, columns_of
from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.domain.content import LEAF_ROWS, read_column_digests
from offline_feature_plane.errors import IntegrityError, ManifestInvalid, OfsError
from offline_feature_plane.leaves import CHUNK_ROWS
from offline_feature_plane.parquet_footers import footer_start


class Published:
    """One published dataset with one data file, which can be harmed and made whole."""

    def __init__(self, plane):
        self.plane, self.opened = plane, opened(plane)
        self.manifest = build(plane).manifest
        self.dm_id = self.manifest.dataset_manifest_id
        self.columns = columns_of(self.manifest)
        (self.part,) = self.manifest.evidence.parts
        self.path = plane.folder / "store" / self.part.key
        self.path.chmod(0o644)
        self.data = self.path.read_bytes()
        self.known = read_column_digests(self.opened.store.get(self.manifest.evidence.column_digests.key))[1]

    def inspect(self, data):
        """What is wrong with other bytes in the place of the data file."""
        self.path.write_bytes(data)
        return inspect(self.path, self.part, self.columns, self.known, self.plane.folder / "work")

    def column_at(self, at):
        """The column that a byte belongs to, as pyarrow reads the footer; None outside of all columns."""
        group = pq.read_metadata(pa.BufferReader(self.data)).row_group(0)
        for index in range(group.num_columns):
            column = group.column(index)
            start = column.dictionary_page_offset or column.data_page_offset
            if start <= at < start + column.total_compressed_size:
                return column.path_in_schema
        return None


@pytest.fixture
def published(plane):
    """The small plane's dataset."""
    return Published(plane)


def truth(published, at):
    """The layer, column and page that a byte of the published file belongs to."""
    view = memoryview(published.data)
    if at < 4 or at >= footer_start(view):
        return ("file" if at < 4 else "footer"), None, None
    pages = walk(view, chunks_by_footer(view, [column.name for column in published.columns], published.part.rows))
    page = next(page for page in pages if page.start <= at < page.end)
    assert page.chunk.column == published.column_at(at)
    return ("page header" if at < page.data else "page"), page.chunk.column, page


SAYS = {"file": {"file"}, "footer": {"footer", "metadata"}, "page": {"page"}, "page header": {"page header", "page", "metadata", "rows"}}


@pytest.mark.parametrize(("seed", "flips"), [(1, 50), pytest.param(2, 20_000, marks=pytest.mark.long)])
def test_every_flipped_bit_is_found_where_it_is(published, seed, flips):
    """One bit, anywhere in a file: the first damage that is told is of its layer, its column and its page, and nothing falls over."""
    draw = random.Random(seed)
    for _ in range(flips):
        at = draw.randrange(len(published.data))
        harmed = bytearray(published.data)
        harmed[at] ^= 1 << draw.randrange(8)
        found, (layer, column, page) = published.inspect(bytes(harmed))[0], truth(published, at)
        assert found.where in SAYS[layer], (at, found)
        if layer == "page":
            assert (found.column, found.page, found.offset) == (column, page.number, page.start)
        elif layer == "page header":
            assert found.column == column, (at, found)
        if found.where in {"file", "footer", "page header"} and found.offset is not None:
            assert found.offset <= at


@pytest.mark.parametrize(("seed", "cuts"), [(1, 30), pytest.param(2, 3_900, marks=pytest.mark.long)])
def test_every_cut_is_found_where_it_is(published, seed, cuts):
    """A file that ends too early: where it ends, and the page that was cut, with all of its rows."""
    draw = random.Random(seed)
    for _ in range(cuts):
        length = draw.randrange(1, len(published.data))
        first, *others = published.inspect(published.data[:length])
        assert (first.where, first.offset) == ("file", length)
        assert f"{length:,} of {len(published.data):,} bytes" in first.what
        layer, column, page = truth(published, length - 1)
        cut = [damage for damage in others if damage.where != "footer"]
        if layer in {"page", "page header"} and length < page.end:
            assert [(damage.column, damage.page) for damage in cut] == [(column, page.number)]
            assert cut[0].rows == (0, 164)


@pytest.mark.parametrize(("harm", "says"), [
    (lambda data: b"", "it is empty; it had"), (lambda data: data + b"more", "4 bytes were added behind the published ones"),
    (lambda data: b"PAR1" * 40, "the footer cannot be used"), (lambda data: bytes(len(data)), "the footer cannot be used"),
    (lambda data: data[::-1], "the footer cannot be used")], ids=["empty", "longer", "magic", "zeros", "backwards"])
def test_bytes_that_are_no_file_of_ours_are_told_apart(published, harm, says):
    """Nothing, too much, or something else in the place of a data file."""
    assert any(says in damage.what for damage in published.inspect(harm(published.data)))


def test_a_file_of_other_rows_is_told_by_leaf_and_column(published):
    """A sound file of the same columns with other values: the columns whose digests differ, and no other."""
    table = pq.read_table(published.path)
    other = pa.array([1 - value for value in table.column("target").to_pylist()], table.schema.field("target").type)
    changed = table.set_column(table.column_names.index("target"), table.schema.field("target"), other)
    pq.write_table(changed, published.path, write_page_checksum=True, store_schema=False, store_decimal_as_integer=True)
    (damage,) = published.inspect(published.path.read_bytes())
    assert (damage.where, damage.column, damage.rows, damage.leaves) == ("rows", "target", (0, 164), (0,))
    pq.write_table(table.drop_columns(["target"]), published.path)
    assert any("lists the columns" in damage.what for damage in published.inspect(published.path.read_bytes()))
    pq.write_table(table.slice(0, 100), published.path)
    assert any("there are 100 rows" in damage.what for damage in published.inspect(published.path.read_bytes()))


def test_the_same_rows_in_other_bytes_are_said_to_be_sound(published):
    """Written by another writer: not the published file, and not one value of it is wrong."""
    pq.write_table(pq.read_table(published.path), published.path, write_page_checksum=True, store_schema=False,
                   store_decimal_as_integer=True, compression="none")
    (damage,) = published.inspect(published.path.read_bytes())
    assert damage.where in {"page header", "metadata", "footer"}
    assert "sound" in damage.what


# --- a file of several row groups, leaves and pages ---------------------------------------------------------


ROWS = 2 * CHUNK_ROWS + 70_000
COLUMNS = (Column("event_id", ColumnType("int64"), "id", False, "exact", "events.id", None, ""),
           Column("amount", ColumnType("float64"), "feature", True, "exact", "amount", None, ""),
           Column("word", ColumnType("string"), "feature", True, "exact", "word", None, ""))


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A data file of 332,144 rows, its part, and its leaves."""
    folder, draw = tmp_path_factory.mktemp("big"), np.random.default_rng(1)
    batch = pa.record_batch({"event_id": pa.array(np.arange(ROWS)), "amount": pa.array(draw.random(ROWS)),
                             "word": pa.array(np.array([f"word {n}" for n in range(500)])[draw.integers(0, 500, ROWS)])})
    staged = stage(COLUMNS, [batch], folder)
    (file,) = staged.parts
    part = Part(key="x", sha256=file.sha256, size_bytes=file.size_bytes, rows=ROWS, first_row=0, first_leaf=0, leaves=6)
    return file.path, part, staged.content.leaves


def test_pages_tile_the_rows_of_every_chunk(big):
    """With the footer and without it the same pages are walked; those of a chunk hold its rows one after the other, and all are sound."""
    path, part, _ = big
    view, names = memoryview(path.read_bytes()), [column.name for column in COLUMNS]
    pages = list(walk(view, chunks_by_footer(view, names, ROWS)))
    assert [(page.start, page.end, page.first_row) for page in walk(view, chunks_by_writer(names, ROWS))] == \
        [(page.start, page.end, page.first_row) for page in pages]
    assert pages[0].start == 4
    assert pages[-1].end == footer_start(view)
    assert all(page.problem is None and before.end == page.start for before, page in itertools.pairwise(pages))
    for group in range(3):
        for name in names:
            rows = [row for page in pages if (page.chunk.row_group, page.chunk.column, page.kind) == (group, name, "data")
                    for row in (page.first_row, page.first_row + page.rows)]
            assert rows[0] == group * CHUNK_ROWS
            assert rows[-1] == min(ROWS, (group + 1) * CHUNK_ROWS)
            assert rows[1:-1:2] == rows[2::2]
    assert len(pages) == count_pages(path, part, COLUMNS) > 20


@pytest.mark.parametrize("damages", [1, 3])
def test_each_damaged_page_is_told_with_its_rows_and_leaves(big, tmp_path, damages):
    """Several flips in several pages: each page is told, with the rows and leaves it holds, and no other page is."""
    path, part, known = big
    data, draw = path.read_bytes(), random.Random(damages)
    view = memoryview(data)
    pages = [page for page in walk(view, chunks_by_footer(view, [column.name for column in COLUMNS], ROWS)) if page.kind == "data"]
    for number in range(8):
        chosen = sorted(draw.sample(range(len(pages)), damages))
        harmed = bytearray(data)
        for at in chosen:
            harmed[draw.randrange(pages[at].data, pages[at].end)] ^= 1
        (tmp_path / f"{number}").write_bytes(bytes(harmed))
        found = inspect(tmp_path / f"{number}", part, COLUMNS, known, tmp_path / "work")
        assert [(one.where, one.row_group, one.column, one.page, one.rows) for one in found] == [
            ("page", page.chunk.row_group, page.chunk.column, page.number, (page.first_row, page.first_row + page.rows))
            for page in (pages[at] for at in chosen)]
        for one in found:
            assert one.leaves == tuple(sorted({row // LEAF_ROWS for row in range(*one.rows)}))


def test_a_header_in_the_middle_hides_no_later_chunk(big, tmp_path):
    """After a header that cannot be read, the pages of the next columns are still looked at."""
    path, part, known = big
    view = memoryview(path.read_bytes())
    pages = list(walk(view, chunks_by_footer(view, [column.name for column in COLUMNS], ROWS)))
    broken, later = pages[1], [page for page in pages if page.chunk.column == "word"][-1]
    harmed = bytearray(view)
    harmed[broken.start] = 0xFF
    harmed[later.data] ^= 1
    (tmp_path / "file").write_bytes(bytes(harmed))
    found = inspect(tmp_path / "file", part, COLUMNS, known, tmp_path / "work")
    assert [(one.where, one.column, one.page) for one in found] == [
        ("page header", broken.chunk.column, broken.number), ("page", "word", later.number)]


# --- the command --------------------------------------------------------------------------------------------


def test_what_is_intact_is_said_in_a_few_lines(published, capsys):
    """Counts of checks, files, pages, rows and leaves; JSON has every check and file."""
    status, text = tell(published.plane, capsys, "verify", published.dm_id)
    assert status == 0
    assert len(text.splitlines()) <= 5
    pages = count_pages(published.path, published.part, published.columns)
    for said in ("1 data file", f"{pages} pages", "164 rows", "1 leaf", "is intact"):
        assert said in text
    _, report, _ = say(published.plane, capsys, "verify", published.dm_id)
    assert (report["intact"], report["leaves"], report["differences"], report["retired"]) == (True, 1, [], None)
    assert [(file["pages"], file["intact"], file["damages"]) for file in report["files"]] == [(pages, True, [])]
    assert all(check["passed"] for check in report["checks"])


def test_what_is_damaged_is_told_precisely(published, capsys):
    """Text and JSON name the file, the page, the column, the rows and the leaf; the command ends 6."""
    view = memoryview(published.data)
    page = list(walk(view, chunks_by_footer(view, [column.name for column in published.columns], 164)))[5]
    harmed = bytearray(published.data)
    harmed[page.data] ^= 1
    published.path.write_bytes(bytes(harmed))
    status, text = tell(published.plane, capsys, "verify", published.dm_id)
    assert status == 6
    for said in (published.part.key, f"column {page.chunk.column}, page {page.number}", "rows 0 to 163, leaf 0", "NOT INTACT"):
        assert said in text
    _, report, _ = say(published.plane, capsys, "verify", published.dm_id)
    (damage,) = report["files"][0]["damages"]
    assert (damage["where"], damage["column"], damage["page"], damage["rows"], damage["leaves"]) == (
        "page", page.chunk.column, page.number, [0, 164], [0])
    published.path.unlink()
    _, report, _ = say(published.plane, capsys, "verify", published.dm_id)
    assert [damage["what"] for damage in report["files"][0]["damages"]] == ["it is missing"]


def test_rows_whose_every_digest_was_put_right_are_told_by_leaf_and_column(published, capsys):
    """A file that agrees with its forged manifest: the rows differ from the column digests in one column of one leaf."""
    table = pq.read_table(published.path)
    place = table.column_names.index("target")
    values = table.column("target").to_pylist()
    pq.write_table(table.set_column(place, table.schema.field("target"), pa.array([*values[:-1], 1 - values[-1]], pa.int8())),
                   published.path, store_schema=False, store_decimal_as_integer=True)
    document = json.loads(published.plane.manifests()[0].read_bytes())
    forge(published, document, published.path)
    status, text = tell(published.plane, capsys, "verify", published.dm_id)
    assert status == 6
    assert "leaf 0 (rows 0 to 163): target" in text
    _, report, _ = say(published.plane, capsys, "verify", published.dm_id)
    assert report["differences"] == [{"leaf": 0, "first_row": 0, "end_row": 164, "columns": ["target"]}]


def forge(published, document, path):
    """Give a manifest the digests of another data file, and a pointer that agrees."""
    from offline_feature_plane.domain.canonical import canonical_bytes, sha256_of

    (part,) = document["evidence"]["parts"]
    sha256 = sha256_of(path.read_bytes())
    part |= {"sha256": sha256, "size_bytes": path.stat().st_size, "key": f"{part['key'].rpartition('/')[0]}/{sha256[7:]}.parquet"}
    path.rename(path.parent / f"{sha256[7:]}.parquet")
    data = canonical_bytes(document)
    (manifest,) = published.plane.manifests()
    manifest.chmod(0o644)
    manifest.write_bytes(data)
    (pointer,) = (published.plane.folder / "store/by_id").iterdir()
    said = parse_fact(DatasetPointer, pointer.read_bytes(), "pointer")
    pointer.chmod(0o644)
    pointer.write_bytes(said.model_copy(update={"manifest_digest": sha256_of(data), "seal": None}).model_validate(
        {**said.model_dump(exclude={"seal"}), "manifest_digest": sha256_of(data)}).document())


@pytest.mark.parametrize("key", ["../outside.parquet", "/etc/passwd", "by_id", "", "cards/ofs/\u0000"])
def test_a_forged_manifest_that_names_strange_places_is_told(published, capsys, key):
    """Keys that no store has are damage of the manifest, not mistakes of whoever asks; nothing outside is opened."""
    (path,) = published.plane.manifests()
    document = json.loads(path.read_bytes())
    document["evidence"]["parts"][0]["key"] = document["evidence"]["column_digests"]["key"] = key
    path.chmod(0o644)
    path.write_text(json.dumps(document))
    status, report, _ = say(published.plane, capsys, "verify", published.dm_id)
    assert (status, report["intact"]) == (6, False)
    assert report["files"][0]["damages"]


def test_documents_are_told_by_name(plane, capsys):
    """A manifest edit, a pointer to another place, and the vow of another run: which check failed, and what was found."""
    dm_id, other = dataset(plane, "a", request_id="request-0001"), dataset(plane, "b", request_id="request-0002")
    store = plane.folder / "store"
    pointer, manifest = store / f"by_id/{dm_id}.json", store / f"cards/ofs/manifests/{dm_id}.json"
    publisher = json.loads(manifest.read_bytes())["evidence"]["publisher"]["run_key"]
    vow = store / f"cards/ofs/commits/{publisher}.json"
    stranger = next(path for path in vow.parent.iterdir() if path != vow)
    for path, data, said in (
            (manifest, manifest.read_bytes().replace(b'"training_ready":true', b'"training_ready":false'), "the publishing run committed"),
            (pointer, (store / f"by_id/{other}.json").read_bytes(), "the pointer names these bytes"),
            (vow, stranger.read_bytes(), "request-0002"),
            (vow, Vow(outcome="tombstone", request_id="request-0001", code="RUN_CANCELLED").document(), "tombstone")):
        sound = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data)
        status, text = tell(plane, capsys, "verify", dm_id)
        assert (status, said in text) == (6, True), text
        path.write_bytes(sound)
    assert tell(plane, capsys, "verify", dm_id)[0] == 0


# --- nothing is read unverified -----------------------------------------------------------------------------


READ = {"data": "cards/ofs/datasets/*/*/*.parquet", "manifest": "cards/ofs/manifests/*.json", "vow": "cards/ofs/commits/*.json",
        "pointer": "by_id/*.json"}
BESIDE = {"plan": "cards/ofs/plans/*.json", "receipt": "cards/ofs/receipts/*/1/replay.json",
          "column digests": "cards/ofs/datasets/*/*/column-digests.json"}


def harmed(draw, data):
    """The bytes with a flipped bit, cut short, or with a run of zeros."""
    at = draw.randrange(len(data))
    kind = draw.random()
    if kind < 0.7:
        flipped = bytearray(data)
        flipped[at] ^= 1 << draw.randrange(8)
        return bytes(flipped)
    return data[:at] if kind < 0.9 else data[:at] + bytes(min(64, len(data) - at)) + data[at + 64:]


@pytest.mark.parametrize(("seed", "trials"), [(1, 300), pytest.param(2, 100_000, marks=pytest.mark.long)])
def test_no_harm_reaches_a_reader(published, seed, trials):
    """Any artifact flipped or cut anywhere: `dataset` raises an integrity error before a row is handed out, and `verify` tells (R12)."""
    draw, store = random.Random(seed), published.plane.folder / "store"
    places = {}
    for kind, pattern in (READ | BESIDE).items():
        (places[kind],) = store.glob(pattern)
        places[kind].chmod(0o644)
    for number in range(trials):
        kind = draw.choice([*READ, *READ, *BESIDE])
        sound = places[kind].read_bytes()
        if (data := harmed(draw, sound)) == sound:
            continue
        places[kind].write_bytes(data)
        if kind in READ:
            with pytest.raises(IntegrityError):
                published.opened.dataset(published.dm_id)
        else:
            assert not all(check.passed for check in check_artifacts(published.manifest, published.opened.store))
        if number % 25 == 0:
            try:
                assert not published.opened.verify(published.dm_id).intact
            except ManifestInvalid:
                assert kind == "manifest"
        places[kind].write_bytes(sound)
    assert published.opened.verify(published.dm_id).intact


def test_hostile_thrift_costs_little_and_is_refused():
    """Whatever bytes are taken for a struct: they are read to their end, or Malformed; never beyond, never for long."""
    draw = random.Random(1)
    sound = bytes.fromhex("1504198c1538") + zlib.compress(b"x") + bytes(8)
    for number in range(3_000):
        data = bytes(draw.randrange(256) for _ in range(draw.randrange(60))) if number % 2 else bytes(
            byte ^ (1 << draw.randrange(8) if draw.random() < 0.05 else 0) for byte in sound)
        try:
            _, end = read_struct(data, 0, len(data))
        except Malformed:
            continue
        assert end <= len(data)
    for bomb in (b"\x1c" * 100_000, b"\x19\xfc" + b"\xff" * 8 + b"\x7f", b"\x18" + b"\xff" * 9 + b"\x01", b"\xff" * 100):
        with pytest.raises(Malformed):
            read_struct(bomb, 0, len(bomb))


def test_an_odd_file_in_the_place_of_data_is_no_defect(plane, capsys):
    """A folder where a data file should be is a missing file, told like one."""
    dm_id = dataset(plane)
    (path,) = (plane.folder / "store").glob("cards/ofs/datasets/*/*/*.parquet")
    path.unlink()
    path.mkdir()
    status, text = tell(plane, capsys, "verify", dm_id)
    assert (status, "it is missing" in text) == (6, True)
    with pytest.raises(OfsError):
        opened(plane).dataset(dm_id)
    shutil.rmtree(path)


def test_the_dataset_that_was_asked_for_is_not_intact(plane, capsys):
    """Where another's manifest stands at its place, the verdict names the dataset that was asked for, not the one that is intact."""
    asked, other = dataset(plane, "a"), dataset(plane, "b")
    manifests = plane.folder / "store/cards/ofs/manifests"
    data = (manifests / f"{other}.json").read_bytes()
    (manifests / f"{asked}.json").unlink()
    (manifests / f"{asked}.json").write_bytes(data)
    status, report, _ = say(plane, capsys, "verify", asked)
    assert (status, report["dataset_manifest_id"], report["intact"]) == (6, asked, False)
    assert f"{asked} is NOT INTACT" in tell(plane, capsys, "verify", asked)[1]
    assert tell(plane, capsys, "verify", other)[0] == 0
