"""Bytes taken eight at a time, and hashed by instructions, are what they are one by one, and what `hashlib` says."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.kernels import sha256
from offline_feature_plane.kernels.byte_spans import put
from offline_feature_plane.kernels.json_texts import plain_text, tell_raw, tell_text
from offline_feature_plane.kernels.words import is_plain

ODD = st.sampled_from([0, 8, 9, 10, 31, 32, 33, 34, 35, 91, 92, 93, 127, 128, 162, 194, 220, 237, 244, 255])
CALM = st.integers(97, 122)
TEXTS = st.lists(st.one_of(CALM, CALM, CALM, CALM, ODD), max_size=40).map(bytes)
FIPS = [(b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
        (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")]


def in_bytes(data):
    """Bytes as kernels take them."""
    return np.frombuffer(data, np.uint8)


def hashed(texts):
    """The digests of some texts that stand side by side."""
    bounds = np.cumsum([0, *map(len, texts)])
    return [row.tobytes().hex() for row in sha256.digests(np.frombuffer(b"".join(texts), np.uint8), bounds)]


@pytest.fixture(params=["as chosen", "one call each"])
def way(request, monkeypatch):
    """Either way of hashing."""
    if request.param == "one call each":
        monkeypatch.setattr(sha256, "_hash_each", None)


@pytest.mark.usefixtures("way")
def test_digests_are_those_of_the_standard():
    """The published examples of SHA-256, and every length of the last blocks, have their digests."""
    assert hashed([text for text, _ in FIPS]) == [said for _, said in FIPS]
    texts = [bytes(range(256))[:size] * 2 for size in range(133)]
    assert hashed(texts) == [hashlib.sha256(one).hexdigest() for one in texts]
    assert hashed([]) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=8))
def test_digests_are_those_of_hashlib(texts):
    """Whatever texts stand side by side, each has the digest that `hashlib` gives it."""
    assert hashed(texts) == [hashlib.sha256(one).hexdigest() for one in texts]


@pytest.mark.parametrize(("triple", "features", "may"), [
    ("x86_64-unknown-linux-gnu", "+avx2,+sha,+sse4.1", True), ("x86_64-pc-windows-msvc", "+sse4.1,+sha", True),
    ("x86_64-unknown-linux-gnu", "+avx2,-sha,+sse4.1", False), ("x86_64-unknown-linux-gnu", "+sha512,+sse4.1", False),
    ("x86_64-unknown-linux-gnu", "+sha", False), ("x86_64-unknown-linux-gnu", "", False), ("aarch64-apple-darwin", "+sha,+sse4.1", False)])
def test_instructions_are_used_only_where_they_are(triple, features, may):
    """Where code may not use the instructions, the kernel that has them is not compiled: LLVM would end the process."""
    assert sha256.has_instructions(triple, features) is may


@settings(max_examples=40)
@given(st.binary(max_size=40), st.integers(0, 9), st.integers(0, 9))
def test_spans_are_copied_whole_and_nothing_else_is(data, start, at):
    """A copy has all bytes of a span, and the bytes around it are as they were."""
    start = min(start, len(data))
    out = np.full(64, 7, np.uint8)
    assert put(in_bytes(data), start, len(data), out, at) == at + len(data) - start
    assert out.tobytes() == bytes([7] * at) + data[start:] + bytes([7] * (64 - at - len(data) + start))


@settings(max_examples=40)
@given(st.binary(min_size=1, max_size=40), st.integers(0, 20))
def test_a_span_may_move_towards_the_front(data, by):
    """Bytes that move towards the front of where they stand are not overwritten before they have moved."""
    held = np.concatenate([np.zeros(by, np.uint8), in_bytes(data)])
    put(held, by, len(held), held, 0)
    assert held[:len(data)].tobytes() == data


@settings(max_examples=30)
@given(st.binary(min_size=8, max_size=8))
def test_eight_bytes_are_plain_if_each_is(data):
    """A word is plain if all its bytes are ASCII that JSON writes as itself."""
    assert is_plain(int.from_bytes(data, "little")) == all(32 <= one < 128 and one not in b'"\\' for one in data)


def first_odd(text):
    """Where a text has its first quote, backslash or control character; −1 if it is no UTF-8 before."""
    for at in range(len(text) + 1):
        if at == len(text) or text[at] < 32 or text[at] in b'"\\':
            try:
                text[:at].decode()
            except UnicodeDecodeError:
                return -1
            return at
    return -1


@settings(max_examples=30, deadline=None)
@given(TEXTS)
def test_texts_end_where_they_end_byte_by_byte(text):
    """Where a plain text ends, and how it is told, does not depend on how many bytes are looked at together."""
    assert plain_text(in_bytes(text), 0, len(text)) == first_odd(text)
    out = np.zeros(6 * len(text) + 8, np.uint8)
    end = tell_raw(in_bytes(text), 0, len(text), out, 0)
    try:
        read = text.decode()
    except UnicodeDecodeError:
        assert end == -1
        return
    escapes = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
    told = "".join(escapes.get(one, one if one >= " " else f"\\u{ord(one):04x}") for one in read)
    assert out[:end].tobytes().decode() == told
    again = np.zeros(6 * len(told) + 8, np.uint8)
    assert tell_text(in_bytes(told.encode() + b'"'), 0, len(told.encode()) + 1, again, 0) == (len(told.encode()) + 1, end)
    assert again[:end].tobytes() == out[:end].tobytes()
