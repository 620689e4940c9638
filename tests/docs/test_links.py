"""Links of the documentation lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def _anchors(path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = set(re.findall(r'<a id="([^"]+)"', text))
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        plain = re.sub(r"[`*]", "", heading).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def _links(path):
    return LINK.findall(re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_inside_of_the_repository_lead_somewhere(path):
    """A relative link names a file that exists, and its anchor a heading of that file."""
    broken = []
    for link in _links(path):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_readme():
    """No page is lost: following links from the README finds all of them."""
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        todo += [(page.parent / link.partition("#")[0]).resolve() for link in _links(page) if "://" not in link and link[0] != "#"]
    assert [path.relative_to(ROOT).as_posix() for path in PAGES if path not in seen and "docs" in path.parts] == []


def test_the_page_on_security_promises_nothing_without_a_test():
    """Each line of what is defended names tests, all of which exist; the README leads to the page."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    defended = text.partition("## What is defended")[2].partition("## What is not defended")[0]
    lines = [line for line in defended.splitlines() if line.startswith("| ") and not line.startswith("| against")]
    assert len(lines) > 10
    for line in lines:
        named = re.findall(r"\[(test_\w+)\]\((tests/[\w/]+\.py)\)", line)
        assert named, line
        for name, place in named:
            assert f"def {name}(" in (ROOT / place).read_text(encoding="utf-8"), (name, place)
    assert "](SECURITY.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_decision_records_are_numbered_and_listed():
    """Records are numbered without a gap, have the parts of the template, and stand in the index."""
    folder = ROOT / "docs/decisions"
    records = sorted(path for path in folder.glob("[0-9]*.md"))
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [path.name[:4] for path in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    for path in records:
        text = path.read_text(encoding="utf-8")
        assert path.name in index
        assert all(f"\n## {part}\n" in text for part in ("Context", "Decision", "Consequences")), path.name
