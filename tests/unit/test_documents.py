"""Documents that people write are read strictly, and every mistake is found where it stands."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane import documents
from offline_feature_plane.documents import Document, load_document, load_yaml, write_yaml
from offline_feature_plane.errors import (
    FeatureProfileInvalid,
    Problem,
    RefNotFound,
    ResourceExceeded,
    SchemaInvalid,
    SettingsInvalid,
    refuse,
)


def test_plain_values_keep_their_plain_meaning():
    """Dates stay text, yes and no are text, numbers are numbers, and a key that looks like one is its text."""
    found = load_yaml("a: 2026-01-01\nb: [yes, NO, on, 12:30, 1_0.x]\n1: 0.95\n'2': -3\nc: {d: ~, e: true, f: ''}\ng: |\n  7\n").value
    assert found == {"a": "2026-01-01", "b": ["yes", "NO", "on", "12:30", "1_0.x"], "1": 0.95, "2": -3,
                     "c": {"d": None, "e": True, "f": ""}, "g": "7\n"}


@pytest.mark.parametrize(("text", "place", "word"), [
    ("a: 1\nb: 2\na: 3", "x.yaml:3:1", "twice"), ("a: &x 1", "x.yaml:1:4", "anchor"), ("a: 1\nb: *a", "x.yaml:2:4", "alias"),
    ("a: !!python/none x", "x.yaml:1:4", "tag"), ("a: .nan", "x.yaml:1:4", ".nan"), ("a: -.inf", "x.yaml:1:4", "-.inf"),
    ("a: 007", "x.yaml:1:4", "007"), ("a: 0x1F", "x.yaml:1:4", "0x1F"), ("a: 1_000", "x.yaml:1:4", "1_000"),
    ("a: 0.12345678901234567890", "x.yaml:1:4", "digits"), ("a: 1e999", "x.yaml:1:4", "exponent"),
    ("a: 1\n---\nb: 2", "x.yaml:2:1", "second"),
    ("? [1]\n: 2", "x.yaml:1:3", "key"), ("~: 1", "x.yaml:1:1", "key"), ("<<: {a: 1}", "x.yaml:1:1", "merge key"),
    ("a: [1,\nb: 2", "x.yaml:3:1", "not valid YAML"), ("a: b: c", "x.yaml:1:5", "not valid YAML"), ("a: \x00", "x.yaml", "not valid YAML"),
    (b"a: \xff", "x.yaml", "UTF-8")])
def test_what_surprises_is_refused_where_it_stands(text, place, word):
    """Repeated keys, aliases, tags, NaN, doubtful numbers and broken text are refused with file, line and column."""
    with pytest.raises(FeatureProfileInvalid, match=word) as caught:
        load_yaml(text, name="x.yaml", kind=FeatureProfileInvalid)
    assert caught.value.path == place


def test_budgets():
    """A document of more than 1 MB or 64 levels is refused, and 64 levels are read."""
    deep = load_yaml("[" * 64 + "]" * 64).value
    for _ in range(63):
        (deep,) = deep
    assert deep == []
    with pytest.raises(ResourceExceeded, match="deeper"):
        load_yaml("[" * 65 + "]" * 65)
    with pytest.raises(ResourceExceeded, match="larger"):
        load_yaml(b" " * (1024 * 1024 + 1))


def test_positions_lead_to_the_line_of_the_nearest_value(tmp_path):
    """A problem's path is shown with the line of the value it speaks of, or of what lies around it; in JSON too."""
    text = 'label:\n  as_of: now\nsplits:\n  train:\n  - "2026"\n'
    document = load_yaml(text, name="intent.yaml")
    assert [document.place(path) for path in ("$.label.as_of", "$.label.type", "$.splits.train[0]", "$", "$.nothing.here")] == [
        "intent.yaml:2", "intent.yaml:1", "intent.yaml:5", "intent.yaml:1", "intent.yaml:1"]
    located = document.locate(refuse([Problem("$.label.as_of", "LABEL_ASOF_MISSING", "no instant")]))
    assert located.problems[0].path == "intent.yaml:2 $.label.as_of"
    assert located.code == "LABEL_ASOF_MISSING"
    assert "intent.yaml:2" in str(located)
    path = tmp_path / "intent.json"
    path.write_text('{\n "a": 0.5,\n "b": [1]}')
    assert load_document(path).value == {"a": 0.5, "b": [1]}
    assert load_document(path).place("$.b[0]") == f"{path}:3"
    assert Document(None).place("$.a") == "document"


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 0.12345678901234567890}', "{", ""])
def test_json_is_as_strict(tmp_path, text):
    """JSON documents refuse repeated keys, NaN, lost digits and broken text under the caller's code."""
    path = tmp_path / "plane.json"
    path.write_text(text)
    with pytest.raises(SettingsInvalid) as caught:
        load_document(path, SettingsInvalid)
    assert "plane.json" in caught.value.path


def test_a_missing_file_is_a_missing_ref(tmp_path):
    """What is not there, or is a folder, is RefNotFound and no traceback."""
    for path in (tmp_path / "no.yaml", tmp_path):
        with pytest.raises(RefNotFound):
            load_document(path)


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12) | st.sampled_from(
    ["007", "1e5", "true", "null", "~", "<<", "=", "2026-01-01", "0x1f", ".nan", "- a", "a: b", "#", "yes", "1_0", "", " x ", "a\nb", "'",
     '"'])
values = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False).map(
    lambda number: round(number, 3) if abs(number) < 1e6 else 0.5) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8)


@given(values)
@settings(max_examples=150, deadline=None)
def test_what_is_written_reads_back(value):
    """Written YAML reads back as the same value, whatever its text looks like."""
    assert load_yaml(write_yaml({"value": value})).value == {"value": value}


@given(st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_no_text_ends_in_a_foreign_error(text):
    """Any text is read or refused by an error of ours."""
    with contextlib.suppress(SchemaInvalid, ResourceExceeded):
        load_yaml(text)


def test_a_byte_order_mark_is_no_part_of_a_document(tmp_path):
    """Editors of some systems write one; YAML, JSON and text are read the same with it."""
    assert load_yaml(b"\xef\xbb\xbfa: 1").value == load_yaml("\ufeffa: 1").value == {"a": 1}
    for name in ("a.yaml", "a.json"):
        (tmp_path / name).write_bytes(b'\xef\xbb\xbf{"a": 1}')
        assert load_document(tmp_path / name).value == {"a": 1}


def test_a_document_is_named_as_its_reader_finds_it(tmp_path, monkeypatch):
    """Below the current folder the way to it, elsewhere the whole path."""
    (tmp_path / "plane").mkdir()
    (tmp_path / "plane/intent.yaml").write_text("a: 1")
    monkeypatch.chdir(tmp_path)
    assert load_document(Path("plane/intent.yaml")).place("$.a") == "plane/intent.yaml:1"
    assert load_document(tmp_path / "plane/intent.yaml").place("$.a") == "plane/intent.yaml:1"
    monkeypatch.chdir(tmp_path / "plane")
    assert load_document(tmp_path / "plane/intent.yaml").name == "intent.yaml"
    monkeypatch.chdir("/")
    assert load_document(Path("/dev/../", tmp_path, "plane/intent.yaml")).value == {"a": 1}


def test_only_a_readable_file_of_a_lawful_size_is_read(tmp_path, monkeypatch):
    """A pipe is not waited for, a huge file not read, a forbidden one not called missing."""
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(SettingsInvalid, match="it is a pipe, not a file"):
        load_document(tmp_path / "pipe.yaml", SettingsInvalid)
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ResourceExceeded, match="larger than"):
        load_document(tmp_path / "huge.yaml", SettingsInvalid)
    def forbidden(path):
        raise PermissionError(13, "Permission denied")
    monkeypatch.setattr(documents, "read_small", lambda path, _: forbidden(path))
    with pytest.raises(SettingsInvalid, match="cannot be read: Permission denied"):
        load_document(tmp_path / "huge.yaml", SettingsInvalid)
