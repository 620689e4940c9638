"""Laws of the content digest: the fast digest is the definition, and only values count (`decisions.md` F)."""

import datetime as dt
import decimal
import hashlib
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane import leaves
from offline_feature_plane.arrow_types import arrow_schema, arrow_type, decimal_array
from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.domain.content import (
    Difference,
    Leaf,
    column_digest,
    content_digest,
    content_root,
    digest_leaves,
    leaf_digest,
    locate_difference,
    merkle_root,
    read_column_digests,
    write_column_digests,
)
from offline_feature_plane.errors import ManifestInvalid, ResourceExceeded
from offline_feature_plane.leaves import ColumnsBroken, chunks_of, leaves_of, settle

TYPES = [ColumnType.parse(text) for text in ("bool", "int8", "int16", "int32", "int64", "float64", "decimal(5,2)", "decimal(18,0)",
                                            "decimal(18,18)", "string", "timestamp")]
WIDTH = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}


def _values(kind):
    """One value of a type, in the form of the definition."""
    if kind.kind == "bool":
        return st.booleans()
    if kind.is_integer:
        return st.integers(-2 ** (WIDTH[kind.kind] - 1), 2 ** (WIDTH[kind.kind] - 1) - 1)
    if kind.kind == "float64":
        return st.floats(allow_nan=False, allow_infinity=False) | st.just(-0.0)
    if kind.kind == "decimal":
        return st.integers(1 - 10**kind.precision, 10**kind.precision - 1)
    if kind.kind == "timestamp":
        return st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
    return st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["", "a", "\x00", "é", "e\u0301", "😀" * 3])


@st.composite
def _datasets(draw):
    """Columns and one list of values (or None) per column, 0 to 40 rows."""
    kinds = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=4))
    rows = draw(st.integers(0, 40))
    columns = [Column(f"c{index}", kind, "feature") for index, kind in enumerate(kinds)]
    return columns, [draw(st.lists(st.none() | _values(kind), min_size=rows, max_size=rows)) for kind in kinds]


def _named(columns):
    return [(column.name, column.type) for column in columns]


def _array(kind, values, form="plain"):
    """Values as an Arrow array, in one of the forms an engine may choose; under nulls stands garbage where the form allows it."""
    valid = np.array([value is not None for value in values], dtype=bool)
    if kind.kind == "decimal":
        return decimal_array(np.array([-77 if value is None else value for value in values], dtype=np.int64), kind, valid)
    if kind.kind == "string":
        return _texts(values, form)
    if kind.kind == "bool":
        return pa.array(values, pa.bool_())
    numbers = np.array([7 if value is None else value for value in values], dtype="int64" if kind.kind == "timestamp" else kind.kind)
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    target = arrow_type(kind)
    if kind.kind == "timestamp" and form != "plain":
        target = {"large": pa.timestamp("us"), "view": pa.timestamp("us", "Europe/Paris"), "dictionary": pa.timestamp("us", "UTC")}[form]
    elif kind.is_integer and form == "large":
        return pa.array(values, pa.int64())
    return pa.Array.from_buffers(target, len(values), [bitmap, pa.py_buffer(numbers)])


def _texts(values, form):
    if form == "plain":  # text under nulls, which no reader may see
        stored = ["garbage" if value is None else value for value in values]
        whole = pa.array(stored, pa.string())
        valid = np.packbits(np.array([value is not None for value in values], dtype=bool), bitorder="little").tobytes()
        return pa.Array.from_buffers(pa.string(), len(values), [pa.py_buffer(valid), *whole.buffers()[1:]])
    kind = {"large": pa.large_string(), "view": pa.string_view(), "dictionary": pa.dictionary(pa.int32(), pa.string())}[form]
    return pa.array(values, pa.string()).dictionary_encode() if form == "dictionary" else pa.array(values, kind)


def _fast(columns, batches, leaf_rows):
    leaves = []
    for chunk in chunks_of(columns, batches, 2 * leaf_rows):
        leaves += leaves_of(columns, settle(columns, chunk), leaf_rows)
    return leaves


@settings(max_examples=60, deadline=None)
@given(_datasets(), st.sampled_from(["plain", "large", "view", "dictionary"]), st.integers(1, 7), st.data())
def test_fast_is_the_definition(dataset, form, leaf_rows, data):
    """For any values, Arrow form, batch sizes, offsets and garbage under nulls the fast leaves are those of the definition."""
    columns, values = dataset
    defined = digest_leaves(_named(columns), values, leaf_rows=leaf_rows)
    rows = len(values[0])
    before = data.draw(st.integers(0, 3))
    padded = [[None] * before + column + [None] for column in values]
    whole = pa.RecordBatch.from_arrays([_array(column.type, value, form) for column, value in zip(columns, padded, strict=True)],
                                       names=[column.name for column in columns]).slice(before, rows)
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=5)))
    batches = [whole.slice(start, end - start) for start, end in zip([0, *cuts], [*cuts, rows], strict=True)]
    assert _fast(columns, batches, leaf_rows) == list(defined)


@settings(max_examples=40, deadline=None)
@given(_datasets(), st.data())
def test_a_changed_cell_changes_the_root_and_is_found(dataset, data):
    """Changing one cell changes the content digest, and the difference names exactly its leaf and its column."""
    columns, values = dataset
    rows = len(values[0])
    if not rows:
        return
    row, place = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, len(columns) - 1))
    old = values[place][row]
    new = data.draw((st.none() | _values(columns[place].type)).filter(lambda value: value != old or (value is None) != (old is None)))
    changed = [list(column) for column in values]
    changed[place][row] = new
    named = _named(columns)
    left, right = (digest_leaves(named, version, leaf_rows=4) for version in (values, changed))
    assert content_root(named, left) != content_root(named, right)
    first = row // 4 * 4
    assert list(locate_difference(named, left, right)) == [Difference(row // 4, first, min(first + 4, rows), (columns[place].name,))]


@pytest.mark.parametrize("values", [[None, "b", None], [None], ["aa", None, "c", ""], [None, None, "ab", "cd"]])
def test_text_under_nulls_is_never_hashed(values):
    """A null text has length 0 whatever bytes stand under it, at the start, in the middle, at the end, or everywhere."""
    column = Column("s", ColumnType("string"), "feature")
    batch = pa.RecordBatch.from_arrays([_texts(values, "plain")], names=["s"])
    assert _fast([column], [batch], 100) == [Leaf(len(values), (column_digest(column.type, values),))]


def test_mixed_forms_in_one_leaf():
    """Batches of one leaf may differ in form: dictionary, then plain, then another dictionary."""
    column = Column("s", ColumnType("string"), "feature")
    values = ["b", None, "a", "", "c", "c"]
    batches = [pa.RecordBatch.from_arrays([_texts(values[start:start + 2], form)], names=["s"])
               for start, form in ((0, "dictionary"), (2, "view"), (4, "dictionary"))]
    assert _fast([column], batches, 100) == [Leaf(6, (column_digest(column.type, values),))]


def test_instants_of_every_unit_and_zone_are_one():
    """Seconds, milliseconds, microseconds and nanoseconds, with any zone or none, hash as µs UTC; a finer instant is refused."""
    column = Column("t", ColumnType("timestamp"), "feature")
    for unit, factor in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        for zone in (None, "UTC", "Europe/Paris"):
            batch = pa.RecordBatch.from_arrays([pa.array([5 * factor, None], pa.timestamp(unit, zone))], names=["t"])
            assert _fast([column], [batch], 10)[0].digests == (column_digest(column.type, [5_000_000, None]),)
    finer = pa.RecordBatch.from_arrays([pa.array([1], pa.timestamp("ns"))], names=["t"])
    with pytest.raises(ColumnsBroken):
        _fast([column], [finer], 10)


def test_lossy_casts_look_only_at_values():
    """Garbage under a null that would not fit the declared type is no reason to refuse."""
    wide = pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([5, 2**40]))])
    fine = pa.Array.from_buffers(pa.timestamp("ns"), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([5_000, 1]))])
    columns = [Column("n", ColumnType("int8"), "feature"), Column("t", ColumnType("timestamp"), "feature")]
    (leaf,) = _fast(columns, [pa.RecordBatch.from_arrays([wide, fine], names=["n", "t"])], 10)
    assert leaf.digests == (column_digest(columns[0].type, [5, None]), column_digest(columns[1].type, [5, None]))


def test_decimals_of_any_precision_are_one():
    """A wider decimal of the same scale hashes as the declared one; digits that do not fit are refused."""
    column = Column("d", ColumnType.parse("decimal(5,2)"), "feature")
    cents = [decimal.Decimal("-1.50"), None, decimal.Decimal("999.99")]
    for kind in (pa.decimal128(5, 2), pa.decimal128(38, 2), pa.decimal64(9, 2), pa.decimal128(9, 1)):
        values = [decimal.Decimal("-1.5"), None, decimal.Decimal("99.9")] if kind.scale == 1 else cents
        scaled = [None if value is None else int(value.scaleb(2)) for value in values]
        batch = pa.RecordBatch.from_arrays([pa.array(values, kind)], names=["d"])
        assert _fast([column], [batch], 10)[0].digests == (column_digest(column.type, scaled),)
    too_wide = pa.RecordBatch.from_arrays([pa.array([decimal.Decimal("1000.00")])], names=["d"])
    unchecked = pa.RecordBatch.from_arrays([decimal_array(np.array([100_000]), column.type)], names=["d"])
    overflown = pa.Array.from_buffers(pa.decimal128(5, 2), 1, [None, pa.py_buffer(struct.pack("<qq", 5, 1))])
    for batch in (too_wide, unchecked, pa.RecordBatch.from_arrays([overflown], names=["d"])):
        with pytest.raises(ColumnsBroken):
            _fast([column], [batch], 10)


@pytest.mark.parametrize(("kind", "array"), [
    ("int8", pa.array([128])), ("int64", pa.array([1.0])), ("float64", pa.array([1])), ("string", pa.array([1])), ("bool", pa.array([1])),
    ("decimal(5,2)", pa.array([1])), ("timestamp", pa.array([1])), ("timestamp", pa.array([dt.date(2026, 1, 1)])),
    ("float64", pa.array([float("nan")])), ("float64", pa.array([None, float("inf")])), ("string", pa.array([b"a"])),
])
def test_what_cannot_be_carried_is_refused(kind, array):
    """An engine's value of another kind, out of range, NaN or infinite is refused with the column's name."""
    column = Column("c", ColumnType.parse(kind), "feature")
    with pytest.raises(ColumnsBroken, match="column c"):
        _fast([column], [pa.RecordBatch.from_arrays([array], names=["c"])], 10)


@pytest.mark.parametrize("form", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()),
                                  pa.dictionary(pa.int32(), pa.large_string())], ids=str)
def test_texts_that_no_array_holds_are_refused_by_name(form, monkeypatch):
    """The bytes of a column's texts in a chunk are bounded, however they come and wherever they are cut; the bound itself is allowed."""
    monkeypatch.setattr(leaves, "MOST_TEXT_BYTES", 10)
    column = Column("c", ColumnType("string"), "feature")
    texts = pa.array(["ééé", "", None, "abcd", "abcd"], pa.string())
    array = texts.dictionary_encode().cast(form) if pa.types.is_dictionary(form) else texts.cast(form)
    whole, part = (pa.RecordBatch.from_arrays([some], names=["c"]) for some in (array, array.slice(0, 4)))
    assert _fast([column], [part], 4) == [Leaf(4, (column_digest(column.type, ["ééé", "", None, "abcd"]),))]
    assert _fast([column], [whole], 2)[2] == Leaf(1, (column_digest(column.type, ["abcd"]),))
    with pytest.raises(ResourceExceeded, match="texts of c take 14 bytes in 5 rows") as refused:
        _fast([column], [whole], 5)
    assert refused.value.path == "c"


def test_promised_columns_are_kept():
    """A null in a column declared without nulls, a renamed and a missing column are refused."""
    column = Column("c", ColumnType("int64"), "feature", nullable=False)
    for batch in (pa.RecordBatch.from_arrays([pa.array([1, None])], names=["c"]), pa.RecordBatch.from_arrays([pa.array([1])], names=["d"]),
                  pa.RecordBatch.from_arrays([pa.array([1]), pa.array([1])], names=["c", "d"])):
        with pytest.raises(ColumnsBroken):
            _fast([column], [batch], 10)


@pytest.mark.parametrize(("kind", "value"), [("int8", 128), ("int64", 2**63), ("decimal(3,1)", 1000), ("float64", float("nan")),
                                             ("float64", float("-inf")), ("timestamp", 2**63)])
def test_the_definition_refuses_what_has_no_bytes(kind, value):
    """The definition itself has no bytes for values outside the type."""
    with pytest.raises(ValueError):
        column_digest(ColumnType.parse(kind), [value])


def test_column_bytes_by_hand():
    """Column, leaf and root bytes, written out by hand: nothing of the definition is used to check it."""
    numbers = hashlib.sha256(b"\x01\x00\x01" + struct.pack("<hhh", -2, 0, 7)).hexdigest()
    texts = hashlib.sha256(b"\x01\x00\x01" + b"\x02\x00\x00\x00\xc3\xa9" + b"\x00\x00\x00\x00" + b"\x01\x00\x00\x00z").hexdigest()
    money = hashlib.sha256(b"\x01\x01\x00" + b"\xff" * 16 + b"\x05" + b"\x00" * 15 + b"\x00" * 16).hexdigest()
    columns = [("n", ColumnType("int16")), ("s", ColumnType("string")), ("d", ColumnType.parse("decimal(9, 2)"))]
    values = [[-2, None, 7], ["é", None, "z"], [-1, 5, None]]
    (leaf,) = digest_leaves(columns, values)
    assert leaf.digests == (f"sha256:{numbers}", f"sha256:{texts}", f"sha256:{money}")
    text = (f'{{"columns":[{{"digest":"sha256:{numbers}","name":"n","type":"int16"}},'
            f'{{"digest":"sha256:{texts}","name":"s","type":"string"}},{{"digest":"sha256:{money}","name":"d","type":"decimal(9,2)"}}],"n":3}}')
    assert leaf_digest(columns, leaf) == hashlib.sha256(b"\x00" + text.encode()).digest()
    assert content_digest(columns, values) == "sha256:" + leaf_digest(columns, leaf).hex()


def test_zero_and_negative_zero_are_one():
    """−0.0 and 0.0 are one value; a null is neither."""
    kind = ColumnType("float64")
    assert column_digest(kind, [-0.0]) == column_digest(kind, [0.0]) != column_digest(kind, [None])


@pytest.mark.parametrize("count", range(1, 18))
def test_the_root_is_of_rfc_6962(count):
    """The root equals that of the incremental form of RFC 6962: equal neighbours merge, the rest folds from the right."""
    leaves = [hashlib.sha256(bytes([index])).digest() for index in range(count)]
    stack = []  # (height, hash)
    for leaf in leaves:
        height, value = 0, leaf
        while stack and stack[-1][0] == height:
            value = hashlib.sha256(b"\x01" + stack.pop()[1] + value).digest()
            height += 1
        stack.append((height, value))
    value = stack.pop()[1]
    while stack:
        value = hashlib.sha256(b"\x01" + stack.pop()[1] + value).digest()
    assert merkle_root(leaves) == value


def test_more_rows_on_one_side_are_found():
    """A leaf that only one side has differs in every column; a longer last leaf too."""
    columns = [("n", ColumnType("int64"))]
    left, right = (digest_leaves(columns, [list(range(rows))], leaf_rows=4) for rows in (6, 9))
    assert list(locate_difference(columns, left, right)) == [Difference(1, 4, 8, ("n",)), Difference(2, 8, 9, ("n",))]


def test_column_digests_survive_their_document():
    """What is written is read back equal; bytes that are no such document are ManifestInvalid."""
    columns = [("n", ColumnType("int64")), ("d", ColumnType.parse("decimal(9,2)"))]
    leaves = digest_leaves(columns, [list(range(9)), [None] * 9], leaf_rows=4)
    data = write_column_digests(columns, leaves, leaf_rows=4)
    assert read_column_digests(data) == (tuple(columns), leaves)
    for broken in (b"", b"[]", b"{}", b'"x"', data[:-1], data.replace(b"ofs.column_digests.v1", b"ofs.column_digests.v9"),
                   data.replace(b'"int64"', b'"int65"'), data.replace(b'{"name":"n","type":"int64"}', b"")):
        with pytest.raises(ManifestInvalid):
            read_column_digests(broken)


def test_schema_is_ours():
    """A settled chunk has exactly our Arrow schema, whatever came in."""
    columns = [Column("s", ColumnType("string"), "id", nullable=False), Column("t", ColumnType("timestamp"), "time")]
    arrays = [pa.array(["a"]).dictionary_encode(), pa.array([1], pa.timestamp("s", "Europe/Paris"))]
    batch = pa.RecordBatch.from_arrays(arrays, names=["s", "t"])
    assert settle(columns, pa.Table.from_batches([batch])).schema.equals(arrow_schema(columns), check_metadata=True)
