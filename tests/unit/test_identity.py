"""Ids change with what they stand for and with nothing else."""

import hashlib
import json
import re
from decimal import Decimal
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.canonical import load_json
from offline_feature_plane.domain.identity import (
    closure_digest,
    code_release_id,
    config_digest,
    core_digest,
    dataset_fingerprint,
    dataset_manifest_id,
    event_hash,
    files_log_id,
    payload_digest,
    row_id,
    run_key,
    told_bytes,
)
from offline_feature_plane.errors import SchemaInvalid

ONE, TWO = ("sha256:" + digit * 64 for digit in "12")
EVENT = {"platform_run_id": "run", "event_type": "tx", "event_id": "t1", "ts_us": 5, "schema_version": "v1", "payload": {"amount": "1"}}


def test_a_run_key_keeps_its_recipe():
    """`run_key` hashes the flat object of its recipe, as other implementations of `ofs.run_key.v1` do."""
    plain = json.dumps({"recipe": "ofs.run_key.v1", "request_id": "req-12345"}, separators=(",", ":"), sort_keys=True)
    assert run_key("req-12345") == hashlib.sha256(plain.encode()).hexdigest()[:32]


def test_a_manifest_id_is_short_and_made_of_the_fingerprint():
    """`dm_` and 32 hex digits, different for different fingerprints, refused for anything else."""
    assert re.fullmatch(r"dm_[0-9a-f]{32}", dataset_manifest_id(ONE))
    assert dataset_manifest_id(ONE) != dataset_manifest_id(TWO)
    with pytest.raises(ValueError, match="digest"):
        dataset_manifest_id("dm_1")


def test_one_document_has_five_meanings():
    """The same document hashed as identity, intent, settings, closure and core has five digests."""
    document = {"a": 1}
    assert len({function(document) for function in (dataset_fingerprint, payload_digest, config_digest, closure_digest, core_digest)}) == 5


def test_the_core_leaves_evidence_out():
    """Evidence never changes the core digest; anything else does."""
    core = {"core": {"rows": 1}, "schema_version": "v1"}
    assert core_digest({**core, "evidence": {"by": "a"}}) == core_digest({**core, "evidence": {"by": "b"}}) == core_digest(core)
    assert core_digest({**core, "core": {"rows": 2}}) != core_digest(core) != core_digest({**core, "extra": None})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text(st.characters(codec="ascii", exclude_characters="\x00"), min_size=1, max_size=6), st.integers(0, 99),
                          st.sampled_from([ONE, TWO])), min_size=1, max_size=5, unique_by=lambda file: file[0]), st.randoms())
def test_a_log_is_its_files(files, random):
    """The order in which files are found does not count; a changed path, row count or digest does."""
    shuffled = files[:]
    random.shuffle(shuffled)
    log_id = files_log_id(files)
    assert files_log_id(shuffled) == log_id
    path, rows, sha256 = files[0]
    for changed in ((path + "x", rows, sha256), (path, rows + 1, sha256), (path, rows, ONE if sha256 == TWO else TWO)):
        if changed[0] not in {file[0] for file in files[1:]}:
            assert files_log_id([changed, *files[1:]]) != log_id


def test_a_log_lists_files_once():
    """A path that stands twice is refused, and so is a digest that is none."""
    with pytest.raises(SchemaInvalid):
        files_log_id([("a", 1, ONE), ("a", 2, TWO)])
    with pytest.raises(ValueError, match="digest"):
        files_log_id([("a", 1, "1234")])


def test_a_row_without_id_is_named_by_its_log():
    """`<eight hex of the log id>:<row>`."""
    assert row_id("sha256:0123456789" + "a" * 54, 7) == "01234567:7"


@pytest.mark.parametrize("field", list(EVENT))
def test_every_said_field_counts(field):
    """An event hash changes with every field that says something."""
    changed = {**EVENT, field: 6} if field == "ts_us" else {**EVENT, field: {"amount": "2"} if field == "payload" else "other"}
    assert event_hash(**EVENT) != event_hash(**changed)


@pytest.mark.parametrize(("left", "right", "equal"), [
    ("1.50", "1.5", True), ("100", "1e2", True), ("0", "-0.0", True), ("0.1", "0.10000000000000001", False), ("1", '"1"', False),
    ('"n:1e0"', "1", False), ('"s:1"', '"1"', False), ("true", "1", False), ("null", '"null"', False), ("[1,2]", "[2,1]", False),
    ('{"a":1,"b":2}', '{"b":2,"a":1}', True), ("9007199254740993", "9007199254740992", False), ('"e\\u0301"', '"\\u00e9"', False),
    ("-12.30", "-123e-1", True), ("1e400", "1e401", False),
])
def test_payloads_hash_by_value(left, right, equal):
    """Payload numbers count by exact value, text as stored, and neither is ever taken for the other."""
    hashes = [event_hash(**{**EVENT, "payload": {"x": load_json(text, numbers="decimal")}}) for text in (left, right)]
    assert (hashes[0] == hashes[1]) is equal


@settings(max_examples=100, deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False))
def test_numbers_have_one_text_each(left, right):
    """Two payload numbers hash equal iff they are equal."""
    assert (event_hash(**{**EVENT, "payload": left}) == event_hash(**{**EVENT, "payload": right})) == (left == right)


_PAYLOADS = st.recursive(st.none() | st.booleans() | st.integers() |
                         st.decimals(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
                         lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4), max_leaves=8)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=3), _PAYLOADS, max_size=5))
def test_the_quick_hash_is_the_defined_one(payload):
    """An event hashes alike whichever way its text is written; another kind of mapping is written the slow way."""
    assert event_hash(**{**EVENT, "payload": payload}) == event_hash(**{**EVENT, "payload": MappingProxyType(payload)})
    assert told_bytes(payload) == told_bytes(MappingProxyType(payload))


@pytest.mark.parametrize("payload", [0.5, {"a": [1.0]}, Decimal("NaN"), {"a": {1: 2}}, object()])
def test_inexact_payloads_are_refused(payload):
    """A float has lost its digits before it came: no hash for it, nor for what JSON has not."""
    with pytest.raises(SchemaInvalid):
        event_hash(**{**EVENT, "payload": payload})


def test_a_release_is_its_files():
    """The code release names the version and changes with any file's name or bytes, not with their order."""
    release = code_release_id("1.2.3", [("a.py", ONE), ("b.py", TWO)])
    assert re.fullmatch(r"1\.2\.3\+sha256:[0-9a-f]{64}", release)
    assert release == code_release_id("1.2.3", [("b.py", TWO), ("a.py", ONE)])
    assert len({release, code_release_id("1.2.3", [("a.py", ONE)]), code_release_id("1.2.3", [("a.py", ONE), ("b.py", ONE)]),
                code_release_id("1.2.3", [("a.py", ONE), ("c.py", TWO)])}) == 4
