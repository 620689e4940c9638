"""Canonical bytes are one spelling per value, and JSON is read as strictly as it is written."""

import json
import unicodedata
from decimal import Decimal
from enum import StrEnum
from random import Random

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.canonical import big, canonical_bytes, digest, hex_of, load_json, sha256_of
from offline_feature_plane.errors import ResourceExceeded, SchemaInvalid

SAFE = 2**53 - 1
TEXT = st.text(st.characters(codec="utf-8"), max_size=8).map(lambda text: unicodedata.normalize("NFC", text))
VALUES = st.recursive(st.none() | st.booleans() | st.integers(-SAFE, SAFE) | TEXT,
                      lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_canonical_bytes_lead_back(value):
    """Reading canonical bytes gives the value again, so no two values share their bytes."""
    assert load_json(canonical_bytes(value)) == value
    assert canonical_bytes(load_json(canonical_bytes(value))) == canonical_bytes(value)


@settings(max_examples=200, deadline=None)
@given(st.one_of(VALUES, st.dictionaries(st.text(st.characters(codec="ascii"), max_size=4), VALUES, max_size=6)))
def test_the_quick_way_writes_what_rfc_8785_says(value):
    """Canonical bytes of every restricted value are those of the reference implementation, whichever way they were written."""
    assert canonical_bytes(value) == rfc8785.dumps(value)


def _outcome(text, numbers, *, crowded):
    """What a text reads as, or how it is refused; crowded by 65 empty lists, so that it is read the slow way."""
    data = f"[0,{text},{','.join(['[]'] * 65)}]" if crowded else f"[0,{text}]"
    try:
        found = load_json(data.encode("utf-8", "surrogatepass"), numbers=numbers)[1]
    except (SchemaInvalid, ResourceExceeded) as wrong:
        return type(wrong)
    return repr(found)


@settings(max_examples=200, deadline=None)
@given(st.one_of(VALUES.map(json.dumps), VALUES.map(lambda value: json.dumps(value, ensure_ascii=False)), st.lists(st.sampled_from(
    ["1", "-0", "0.50", "1e2", "9007199254740992", "NaN", "-Infinity",
     '"a"', '"\\ud800"', '"\\ud83d\\ude00"', '{"a":1,"a":2}', '{"a":1,"b":2}',
     "1" * 401, "1e99999999999999999999", "[",
     "]", "{", "\ufeff", '"\ud800"', "\t"]), min_size=1, max_size=3).map(",".join)),
       st.sampled_from(["restricted", "decimal"]))
def test_the_quick_way_reads_what_the_slow_way_reads(text, numbers):
    """A document reads to one value of one type, or is refused by one error, whichever way it is read."""
    assert _outcome(text, numbers, crowded=False) == _outcome(text, numbers, crowded=True)


@pytest.mark.parametrize("text", ['"\ud800"', '{"\udc00": 1}'])
def test_text_that_was_never_utf8_is_looked_at(text):
    """Half surrogates that stand in text as such are refused like escaped ones."""
    with pytest.raises(SchemaInvalid):
        load_json(text)


@settings(max_examples=200, deadline=None)
@given(VALUES, VALUES)
def test_other_values_have_other_bytes(left, right):
    """Canonical bytes are equal iff the values are, with true and 1 told apart."""
    assert (canonical_bytes(left) == canonical_bytes(right)) == (json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True))


@pytest.mark.long
def test_a_million_values_never_collide():
    """Over a million generated small documents, bytes and values are in one-to-one correspondence."""
    random = Random(8785)
    leaves = [None, True, False, 0, 1, -1, 10, "", "0", "1", "a", '"', "\\", ",", "a,b", "null", "true", "é", "😀", "{}", "[]"]

    def grow(depth):
        kind = random.random()
        if depth == 0 or kind < 0.5:
            return random.choice(leaves)
        if kind < 0.75:
            return [grow(depth - 1) for _ in range(random.randrange(4))]
        return {str(random.choice(leaves)): grow(depth - 1) for _ in range(random.randrange(4))}

    seen = {}
    for _ in range(1_000_000):
        value = grow(3)
        spelled = json.dumps(value, sort_keys=True)
        assert seen.setdefault(canonical_bytes(value), spelled) == spelled
    assert len(seen) == len(set(seen.values())) > 100_000


def test_members_are_sorted_by_utf16_and_nothing_else_is_written():
    """RFC 8785: members in UTF-16 order (an emoji before U+FF61), no whitespace, shortest escapes, UTF-8 unescaped."""
    value = {"\uff61": 1, "😀": 2, "\r": '\u0000\u001f"\\/\b', "1": [], "ö": {}, "": None}
    assert canonical_bytes(value).decode() == '{"":null,"\\r":"\\u0000\\u001f\\"\\\\/\\b","1":[],"ö":{},"😀":2,"\uff61":1}'


class _Word(StrEnum):
    A = "a"


@pytest.mark.parametrize(("value", "place"), [
    (1.0, "$"), ({"a": [1, {"b": 0.5}]}, "$.a[1].b"), (float("nan"), "$"), (Decimal(1), "$"), (2**53, "$"), ([-(2**53)], "$[0]"),
    ("e\u0301", "$"), ({"e\u0301": 1}, "$"), ("\ud800", "$"), ({"a": "\udc00"}, "$.a"), ({1: 2}, "$"), ({None: 1}, "$"), (b"a", "$"),
    ({"a b": {1, 2}}, "$['a b']"), (_Word.A, "$"), (object(), "$"),
])
def test_what_has_no_canonical_form_is_refused(value, place):
    """Floats, decimals, wide integers, non-NFC text, half surrogates, other keys and other types are refused where they stand."""
    with pytest.raises(SchemaInvalid) as caught:
        canonical_bytes(value)
    assert caught.value.path == place


def test_depth_is_bounded_both_ways():
    """64 levels are written and read, 65 are neither; a bottomless document costs no stack."""
    deep = 1
    for _ in range(64):
        deep = [deep]
    assert load_json(canonical_bytes(deep)) == deep
    for attempt in (lambda: canonical_bytes([deep]), lambda: load_json(b"[" * 65 + b"]" * 65), lambda: load_json(b"[" * 1_000_000),
                    lambda: load_json(b'{"a":' * 100_000)):
        with pytest.raises(ResourceExceeded):
            attempt()


@pytest.mark.parametrize(("text", "place"), [
    ('{"a": 1, "a": 1}', "$"), ('{"x": [{"b": 1, "c": {"k": 1, "\\u006b": 2}}]}', "$.x[0].c"),
    ("NaN", "$"), ('{"a": -Infinity}', "$.a"),
    ('{"a": Infinity}', "$.a"), ("1.5", "$"), ("[1e3]", "$[0]"), ("9007199254740992", "$"),
    ('["\\ud800"]', "$[0]"), ('{"\\udc00": 1}', "$"),
])
def test_forgiven_json_is_refused_in_its_place(text, place):
    """Duplicate keys (however escaped), NaN, infinities, fractions, wide integers and half surrogates are refused where they stand."""
    with pytest.raises(SchemaInvalid) as caught:
        load_json(text)
    assert caught.value.path == place
    with pytest.raises(SchemaInvalid) as caught:
        load_json(text.encode(), name="intent.json")
    assert caught.value.path == f"intent.json {place}"


@pytest.mark.parametrize("data", [b"", b" ", b"{", b"{} {}", b"{'a': 1}", b"[1,]", b"01", b"+1", b"\xff", b"\xef\xbb\xbf{}", "\ufeff{}",
                                  b'"\x01"', b"\x00", '{"a": 1}'.encode("utf-16"), b'"\xed\xa0\x80"', b"// x\n1"])
def test_broken_json_is_refused(data):
    """What is no JSON, not UTF-8, or begins with a byte order mark is refused."""
    with pytest.raises(SchemaInvalid):
        load_json(data)


def test_numbers_of_others_stay_exact():
    """With `numbers="decimal"` integers of any size and fractions arrive exactly; NaN is refused still."""
    assert load_json("[1.10, 1e2, 123456789012345678901234567890]", numbers="decimal") == [
        Decimal("1.10"), Decimal("1e2"), 123456789012345678901234567890]
    assert str(load_json("1.10", numbers="decimal")) == "1.10"
    with pytest.raises(SchemaInvalid):
        load_json("NaN", numbers="decimal")


@pytest.mark.parametrize("text", ["1" * 401, "1." + "1" * 400, "-" + "1" * 5_000, "1e99999999999999999999"])
def test_numbers_are_bounded(text):
    """A number of more than 400 characters, or beyond every exponent, is over budget."""
    with pytest.raises(ResourceExceeded):
        load_json(text, numbers="decimal")


def test_documents_are_bounded():
    """A document over its byte budget is not even parsed."""
    with pytest.raises(ResourceExceeded):
        load_json(b"[" + b" " * 100, max_bytes=100)


def test_the_recipe_is_hashed():
    """The same payload under another recipe has another digest; the bytes hashed are the documented ones."""
    assert digest("a.v1", [1]) == sha256_of(b'{"payload":[1],"recipe":"a.v1"}') != digest("a.v2", [1])


def test_big_integers_become_text():
    """`big` keeps what canonical JSON can carry and spells the rest."""
    assert [big(number) for number in (SAFE, SAFE + 1, -SAFE, -SAFE - 1)] == [SAFE, str(SAFE + 1), -SAFE, str(-SAFE - 1)]


@pytest.mark.parametrize("text", ["", "sha256:", "sha256:" + "0" * 63, "sha256:" + "A" * 64, "0" * 64, "sha256:" + "0" * 64 + "\n",
                                  "md5:" + "0" * 64])
def test_a_digest_has_one_spelling(text):
    """Only `sha256:` and 64 lower-case hex digits are a digest."""
    assert hex_of("sha256:" + "ab" * 32) == "ab" * 32
    with pytest.raises(ValueError, match="digest"):
        hex_of(text)
