"""The committed JSON Schemas are the ones that the contracts generate."""

import json
from pathlib import Path

import pytest

from offline_feature_plane import contracts
from offline_feature_plane.contracts.schemas import schema_texts

FOLDER = Path(contracts.__file__).parent / "schemas"


def test_there_is_one_file_for_each_contract():
    """Every contract has its schema file, and no file is left over."""
    assert {path.name for path in FOLDER.glob("*")} == set(schema_texts())


@pytest.mark.parametrize(("name", "text"), schema_texts().items(), ids=lambda value: value if value.endswith(".json") else "")
def test_committed_schemas_are_in_step(name, text):
    """A schema file says exactly what its model says; regenerate them with `make docs`."""
    assert (FOLDER / name).read_text(encoding="utf-8") == text


@pytest.mark.parametrize(("name", "text"), schema_texts().items(), ids=lambda value: value if value.endswith(".json") else "")
def test_schemas_are_closed(name, text):
    """Every object with named fields refuses unknown ones."""
    def objects(node):
        if isinstance(node, dict):
            if "properties" in node:
                yield node
            for value in node.values():
                yield from objects(value)
        elif isinstance(node, list):
            for value in node:
                yield from objects(value)
    assert all(node.get("additionalProperties") is False for node in objects(json.loads(text))), name
