"""Identifier tokens."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_feature_plane.domain.tokens import key_id, token, tokens
from offline_feature_plane.errors import SettingsInvalid

KEY = bytes(range(32))
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


def test_a_token_is_the_documented_mac():
    """A token can be recomputed from its definition alone: keyed BLAKE2s over entity, a zero byte, value text."""
    assert token(KEY, "customer", "Zoë") == hashlib.blake2s(b"customer\x00" + "Zoë".encode(), key=KEY, digest_size=16).hexdigest()
    assert token(KEY, "customer", "Zoë") == "823d85a3cf20197ba7fa44b67e2019e6"


def test_the_key_id_is_the_documented_mac():
    """The key's public name follows from the key as written."""
    assert key_id(KEY) == hashlib.blake2s(b"ofs.key_id.v1", key=KEY, digest_size=16).hexdigest()[:16] == "85f6b10c255ad2fb"


@given(st.lists(TEXT, max_size=8), TEXT.filter(lambda text: "\0" not in text))
def test_many_tokens_are_the_tokens_of_each(texts, entity):
    """Tokens of many are the tokens of each, in order; equal texts and only equal texts share one."""
    made = list(tokens(KEY, entity, texts))
    assert made == [token(KEY, entity, text) for text in texts]
    assert len(set(made)) == len(set(texts))


def test_entity_and_key_separate_tokens():
    """The same name as another entity, or under another key, has another token."""
    assert len({token(KEY, "card", "7"), token(KEY, "terminal", "7"), token(b"other", "card", "7")}) == 3


@pytest.mark.parametrize("size", [0, 33])
def test_a_key_that_blake2s_does_not_take_is_refused(size):
    """An empty or too long key is a setting's error and never a foreign traceback."""
    with pytest.raises(SettingsInvalid, match=f"{size} bytes"):
        key_id(b"x" * size)
