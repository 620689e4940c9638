"""The page of laws answers every citation: whoever reads `decisions.md` D13 in a docstring finds what it says."""

import ast
import io
import json
import re
import tokenize
from itertools import takewhile
from pathlib import Path

import pytest

from offline_feature_plane.contracts.schemas import schema_texts, without_citations

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/laws.md").read_text(encoding="utf-8")
ENTRIES = set(re.findall(r'<a id="([^"]+)"', PAGE))

FILES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "tests/golden").rglob("*.yaml"),
                *(path for path in (ROOT / "docs").rglob("*.md") if path.name != "laws.md")])
PARTS = r"(?:Meaning|Order|Sliding window|Labels inside features|Numbers|How it is computed)"
CITING = re.compile(r"§|\b[DR]\d|\.md\b")  # parsing all the others would take as long as a hundred tests
DESIGN = re.compile(r"\b(?:brief|decisions|domain|engine|features|house|models|performance|product|reliability)\.md\b")


def cited(text):
    """The anchors of everything that a text cites."""
    text = " ".join(text.split())
    for first, last in re.findall(r"§1\.(\d+)–1\.(\d+)", text):
        yield from (f"domain-1-{number}" for number in range(int(first), int(last) + 1))
    yield from (f"domain-{place.replace('.', '-')}" for place in re.findall(r"§(\d+(?:\.\d+)?)", re.sub(r"§1\.\d+–1\.\d+", "", text)))
    for kind, first, last in re.findall(r"\b([DR])(\d{1,2})(?:–\1(\d{1,2}))?\b", text):
        yield from (f"{kind.lower()}{number}" for number in range(int(first), int(last or first) + 1))
    for said in re.findall(r"\bdecisions\.md`? ([^)`;]*)", text):
        items = list(takewhile(re.compile(r"[A-H](?:\d|\b)").match, said.split(", ")))
        yield from (item[0].lower() for item in items if re.match(r"[A-H](?!\d)", item))
        for first, last in re.findall(r"\bA(\d)(?:–A(\d))?", said):
            yield from (f"d{number}" for number in range(int(first), int(last or first) + 1))
        if not items:
            yield f"nothing of `decisions.md`: {said}"
    for part in re.findall(rf"\bfeatures\.md`?(?:,? ({PARTS}))?", text):
        yield f"features-{part.lower().replace(' ', '-')}" if part else "features"


def _spoken(path):
    """What a file says to its readers: pages as they are, of programs the docstrings and comments."""
    text = path.read_text(encoding="utf-8")
    if not CITING.search(text):
        return []
    if path.suffix != ".py":
        return [re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)]
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    said = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, documented)]
    return said + [token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT]


@pytest.mark.parametrize(("text", "expected"), [
    ("(`domain.md` §1.6–1.8, §4, `decisions.md` A1–A3, D17–D18)", "domain-1-6 domain-1-7 domain-1-8 domain-4 d17 d18 d1 d2 d3"),
    ("(`decisions.md` B, D24–D26)", "d24 d25 d26 b"),
    ("(`decisions.md` D24–D26, G)", "d24 d25 d26 g"),
    ("(`decisions.md` F): slow", "f"),
    ("(`features.md`, Sliding\n window)", "features-sliding-window"),
    ("(`features.md`, `decisions.md` D29), R9", "d29 r9 features"),
    ("a D of its own, ADR 3, R", ""),
])
def test_citations_are_understood(text, expected):
    """Lists, ranges and the older names A1 to A8 lead to their entries."""
    assert sorted(set(cited(text))) == sorted(expected.split())


def test_every_citation_has_its_entry():
    """A law that code, tests or pages cite stands on the page of laws; nothing else of that kind is cited."""
    said = [(path, text) for path in FILES if path != Path(__file__) for text in _spoken(path)]
    laws = [(path, one) for path, text in said for one in cited(text)]
    assert len(laws) > 300
    assert {(path, one) for path, one in laws if one not in ENTRIES} == set()
    known = {"domain.md", "decisions.md", "features.md"}
    assert {(path, name) for path, text in said for name in DESIGN.findall(text) if name not in known} == set()


def test_entries_stand_once_and_link_to_tests_that_exist():
    """No entry is said twice, and a test that is named as holding a law is in the file that the link opens."""
    anchors = re.findall(r'<a id="([^"]+)"', PAGE)
    assert [one for one in sorted(ENTRIES) if anchors.count(one) > 1] == []
    links = re.findall(r"\[(test_\w+)\]\(\.\./([^)]+\.py)\)", PAGE)
    assert len(links) > 50
    assert [link for link in links if f"def {link[0]}(" not in (ROOT / link[1]).read_text(encoding="utf-8")] == []


def test_every_promise_and_decision_has_its_entry():
    """R1 to R18 and D1 to D32 have each an entry."""
    assert {f"r{number}" for number in range(1, 19)} | {f"d{number}" for number in range(1, 33)} <= ENTRIES


@pytest.mark.parametrize(("text", "plain"), [
    ("What holds (`domain.md` §4).", "What holds."),
    ("One; two (`a.b`, `decisions.md` D1, F). Three\n(R12).", "One; two. Three."),
    ("A remark (in brackets) and `code (x)` stay.", "A remark (in brackets) and `code (x)` stay."),
])
def test_what_leaves_cites_nothing(text, plain):
    """Citations are for those who read the code; other brackets stay."""
    assert without_citations(text) == plain


@pytest.mark.parametrize(("name", "text"), schema_texts().items(), ids=list(schema_texts()))
def test_schemas_cite_nothing(name, text):
    """No description of a published schema carries a citation."""
    def descriptions(node):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
            if key == "description" and isinstance(value, str):
                yield value
            yield from descriptions(value)
    assert [one for one in descriptions(json.loads(text)) if DESIGN.search(one) or list(cited(one))] == [], name
