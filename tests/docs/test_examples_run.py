"""Whatever the documentation shows happens: its examples are run, in order, in an empty folder."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import running


@pytest.mark.parametrize("page", running.PAGES)
def test_what_a_page_shows_happens(page):
    """Every command, file and program of a page runs, and what is shown of its output is what came out."""
    assert [str(one) for one in running.run_page(running.ROOT / page)] == []


@pytest.mark.parametrize(("shown", "printed", "expected"), [
    ("rows  12\n", "rows     12\n", True),
    ("rows 12\n", "rows 13\n", False),
    ("a\n…\nd\n", "a\nb\nc\nd\n", True),
    ("a\n…\n", "b\n", False),
    ("plan 0.1 s\n", "plan 22.4 s\n", True),
    ("dm_" + "0" * 32, "dm_" + "f" * 32, True),
    ("a … c", "a b c", True),
    ("", "something", False),
], ids=["blanks", "numbers", "lines left out", "nothing matches", "timings", "ids", "part of a line", "unexpected output"])
def test_outputs_agree_apart_from_what_always_differs(shown, printed, expected):
    """Timings, digests, ids and blanks may differ; a number, a word or a line may not."""
    assert running.agree(shown, printed) is expected


@pytest.mark.parametrize("page", running.PAGES)
def test_blocks_say_what_they_are(page):
    """A yaml block of a page is a file or a fragment that is checked; none is only decoration."""
    for block in running.read_blocks((running.ROOT / page).read_text(encoding="utf-8")):
        if block.language == "yaml":
            assert block.named("file") or set(block.words) & set(running.BASES), block.text
