"""The form of messages: what was wrong starts in lower case and ends with a full stop."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from offline_feature_plane import errors
from offline_feature_plane.errors import OfsError

SOURCES = Path(errors.__file__).parents[1]
RAISED = {name for name in dir(errors) if isinstance(found := getattr(errors, name), type) and issubclass(found, OfsError)}
LOCATED = "tokenizing.py"  # its messages end with the excerpt


def messages(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, first and last character of every literal message of an error; `{` and `}` where a value stands."""
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and call.args and ast.unparse(call.func).rpartition(".")[2] in {*RAISED, "fail"}:
            said = call.args[0]
            if isinstance(said, ast.Constant) and isinstance(said.value, str):
                yield said.lineno, said.value[:1], said.value[-1:]
            elif isinstance(said, ast.JoinedStr):
                first, last = said.values[0], said.values[-1]
                yield (said.lineno, str(first.value)[:1] if isinstance(first, ast.Constant) else "{",
                       str(last.value)[-1:] if isinstance(last, ast.Constant) else "}")


def test_messages_start_in_lower_case_and_end_with_a_full_stop():
    """A message starts in lower case, since its code stands before it, and ends with a full stop, since its advice follows."""
    found = [(path, message) for path in SOURCES.rglob("*.py") for message in messages(path)]
    assert len(found) > 300
    assert [f"{path}:{line}: {first}…{last}" for path, (line, first, last) in found
            if first.isupper() or (last not in {".", "}"} and path.name != LOCATED)] == []
