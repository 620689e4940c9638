"""The page that says which test covers which behaviour tells the truth."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "validation-matrix.md"
NAMED = re.compile(r"`((?:tests|src)/[\w/]+\.py)::(test_\w+)`")


def rows():
    """The rows of the page's tables: behaviour, and what stands beside it."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ") and not line.startswith("| Behaviour")]
    return [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]


def test_every_test_that_the_page_names_exists():
    """A file, and in it a function of this name."""
    known = {}
    for name in {file for file, _ in NAMED.findall(PAGE.read_text(encoding="utf-8"))}:
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8")) if (ROOT / name).exists() else ast.parse("")
        known[name] = {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}
    assert [f"{name}::{test}" for name, test in NAMED.findall(PAGE.read_text(encoding="utf-8")) if test not in known[name]] == []
    assert len(known) > 20


def test_every_behaviour_has_a_test_or_a_reason():
    """A line names a test, or says that the behaviour comes later and why."""
    assert [behaviour for behaviour, *rest in rows() if not NAMED.search(rest[0]) and not re.match(r"later: \w", rest[0])] == []
    assert len(rows()) > 100
