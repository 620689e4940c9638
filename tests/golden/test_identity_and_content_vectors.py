"""The published vectors of identity, content and closures hold, for the definition and for the fast digest; tests never rewrite them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from offline_feature_plane.arrow_types import arrow_type, decimal_array
from offline_feature_plane.contracts.profile import read_profile
from offline_feature_plane.domain import identity
from offline_feature_plane.domain.canonical import canonical_bytes, digest, load_json
from offline_feature_plane.domain.closure_documents import closure_from, describe
from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.domain.content import LEAF_ROWS, column_digest, content_digest, content_root, merkle_root
from offline_feature_plane.leaves import chunks_of, leaves_of, settle

HERE = Path(__file__).parent
IDENTITY = json.loads((HERE / "identity" / "vectors.json").read_text(encoding="utf-8"))
CLOSURES = json.loads((HERE / "closure" / "vectors.json").read_text(encoding="utf-8"))
CONTENT = json.loads((HERE / "content" / "vectors.json").read_text(encoding="utf-8"))


def _maker():
    spec = importlib.util.spec_from_file_location("make_vectors", HERE / "make_vectors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_definitions_give():
    """Every vector file equals what its maker computes today: no vector changed, none is missing."""
    for name, document in _maker().vectors().items():
        assert json.loads((HERE / name).read_text(encoding="utf-8")) == json.loads(json.dumps(document))


@pytest.mark.parametrize("vector", IDENTITY["canonical"], ids=lambda vector: vector["digest"][7:15])
def test_canonical_bytes_and_digests(vector):
    """Canonical bytes and the recipe digest of each value are the published ones, and the bytes read back as the value."""
    assert canonical_bytes(vector["value"]).hex() == vector["bytes_hex"]
    assert load_json(bytes.fromhex(vector["bytes_hex"])) == vector["value"]
    assert digest("ofs.example.v1", vector["value"]) == vector["digest"]


@pytest.mark.parametrize("vector", IDENTITY["ids"], ids=lambda vector: vector["function"])
def test_ids(vector):
    """Each id of a document is the published one."""
    argument = vector["argument"]
    if vector["function"] == "files_log_id":
        argument = [tuple(file) for file in argument]
    assert getattr(identity, vector["function"])(argument) == vector["result"]


@pytest.mark.parametrize("vector", CLOSURES["closures"], ids=lambda vector: vector["feature_set"])
def test_closures(vector):
    """Each closure of the published profile has the published document and digest, and the document reads back to itself."""
    closure = read_profile(json.loads(CLOSURES["profile"])).closure(vector["feature_set"], CLOSURES["subject"], also=CLOSURES["also"])
    assert describe(closure) == vector["document"]
    assert identity.closure_digest(vector["document"]) == vector["digest"]
    assert describe(closure_from(vector["document"], CLOSURES["subject"])) == vector["document"]


@pytest.mark.parametrize("vector", IDENTITY["event_hash"], ids=lambda vector: vector["payload_json"][:20])
def test_event_hashes(vector):
    """Each event hash is the published one."""
    assert identity.event_hash(**vector["event"], payload=load_json(vector["payload_json"], numbers="decimal")) == vector["result"]


@pytest.mark.parametrize("vector", CONTENT["columns"], ids=lambda vector: f"{vector['type']}-{len(vector['values'])}")
def test_column_digests(vector):
    """Each column digest is the published one, by the definition and by the fast way over Arrow."""
    kind = ColumnType.parse(vector["type"])
    values = [float(value) if kind.kind == "float64" and value is not None else value for value in vector["values"]]
    assert column_digest(kind, values) == vector["digest"]
    if values:
        assert _fast([("c", kind)], [values], LEAF_ROWS)[0].digests == (vector["digest"],)


@pytest.mark.parametrize("vector", CONTENT["datasets"], ids=lambda vector: f"{vector['rows']} rows")
def test_content_digests(vector):
    """Content digests over several leaves of every type are the published ones, both ways."""
    named = [(text, ColumnType.parse(text)) for text in vector["types"]]
    values = _maker().table(vector["rows"])
    assert content_digest(named, values, leaf_rows=vector["leaf_rows"]) == vector["content_digest"]
    fast = _fast(named, values, vector["leaf_rows"])
    assert [list(leaf.digests) for leaf in fast] == [leaf["columns"] for leaf in vector["leaves"]]
    assert content_root(named, fast) == vector["content_digest"]


@pytest.mark.parametrize("vector", CONTENT["boundary"], ids=lambda vector: f"{vector['rows']} rows")
def test_the_real_leaf_boundary(vector):
    """Around 65,536 rows the fast content digest is the published one."""
    named = [("n", ColumnType("int32"))]
    columns = [Column("n", ColumnType("int32"), "feature")]
    batch = pa.RecordBatch.from_arrays([pa.array(np.arange(vector["rows"], dtype=np.int64))], names=["n"])
    leaves = [leaf for chunk in chunks_of(columns, [batch], 2 * LEAF_ROWS) for leaf in leaves_of(columns, settle(columns, chunk))]
    assert content_root(named, leaves) == vector["content_digest"]


@pytest.mark.parametrize("vector", CONTENT["merkle"], ids=lambda vector: f"{vector['leaves']} leaves")
def test_merkle_roots(vector):
    """Roots over given leaf hashes are the published ones; no leaves give the SHA-256 of nothing."""
    assert merkle_root([bytes([index]) * 32 for index in range(vector["leaves"])]).hex() == vector["root"]


def _fast(named, values, leaf_rows):
    columns = [Column(name, kind, "feature") for name, kind in named]
    arrays = [_array(kind, items) for (_, kind), items in zip(named, values, strict=True)]
    batch = pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])
    return [leaf for chunk in chunks_of(columns, [batch], 2 * leaf_rows) for leaf in leaves_of(columns, settle(columns, chunk), leaf_rows)]


def _array(kind, values):
    if kind.kind != "decimal":
        return pa.array(values, arrow_type(kind))
    valid = np.array([value is not None for value in values], dtype=bool)
    return decimal_array(np.array([value or 0 for value in values], dtype=np.int64), kind, valid)
