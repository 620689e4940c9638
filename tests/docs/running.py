"""Runs the examples of the documentation for real, and shows in the pages what came out.

    python tests/docs/running.py                  # run every page; exit 1 and show what came out otherwise
    python tests/docs/running.py --write [PAGE …] # put real output where it differs, shortened as it was

How a page is read (the words after the language are invisible to readers):

- `console`: lines that begin with `$ ` are commands, what follows is what they print. Only `ofs …`, `cat FILE`, `ls` and `cd` are
  run.
- `python`: run in one namespace per page; a `text out` block right after it is what it prints. `python needs=LIBRARY` is run where
  that library is installed.
- `yaml file=NAME`, `csv file=NAME`, `json file=NAME`, `jsonl file=NAME`: written to NAME in the page's folder.
- `yaml plane`, `yaml intent`, `yaml features`: a fragment; it is laid over a small sound document and must be sound then.
- `text`, `sh` and others are only shown.

Each page runs in a new empty folder, top to bottom. Output is compared after digests, ids, timings, paths and runs of blanks were made
equal; empty lines do not count. `…` alone on a line stands for any number of lines, `…` inside of a line for anything.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from offline_feature_plane.__main__ import run as run_ofs
from offline_feature_plane.contracts.profile import read_profile
from offline_feature_plane.contracts.short_intent import ShortIntent
from offline_feature_plane.documents import load_yaml
from offline_feature_plane.settings import settings_from

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/tutorial.md", "docs/own-data.md", "docs/archives.md", "docs/buses-and-archives.md", "docs/feature-profile.md",
         "docs/library.md", "docs/extending.md", "docs/hand-over.md", "docs/auditing.md")

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EQUAL = ((r"sha256:[0-9a-f]{12,64}", "sha256:<digest>"), (r"dm_[0-9a-f]{32}", "dm_<id>"), (r"\b[0-9a-f]{32}\b", "<key>"),
          (r"\b[0-9a-f]{16}\b", "<key16>"), (r"\b[0-9a-f]{12}\b", "<key12>"), (r"auto:[0-9a-f]{16}", "auto:<key16>"),
          (r"\d+(\.\d+)? (s|min|kB|MB|GB)\b", "<amount>"), (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "<now>"), (r"-{2,}", "--"),
          (r"\b\d+\.\d+\.\d+\+sha256", "<release>+sha256"), (r"[ \t]+", " "))
BASES: dict[str, dict[str, Any]] = {
    "plane": {"plane": "cards"},
    "intent": {"rows": "transaction", "features": "features.yaml",
               "label": {"type": "chargeback", "positive": ["CHARGEBACK"], "as_of": "2026-07-24", "maturity_days": 39,
                         "unlabeled": "negative_when_mature"}},
    "features": {"fields": {"customer_id": "string", "terminal_id": "string", "amount": "decimal(12,2)"},
                 "groups": {"customer": {"key": "customer_id", "windows": ["7d"], "features": {"n": "count()"}}}},
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the words after it, its text, and where the text stands in the page."""

    language: str
    words: tuple[str, ...]
    text: str
    span: tuple[int, int]

    def named(self, key: str) -> str | None:
        """The value of a `key=value` word."""
        return next((word.partition("=")[2] for word in self.words if word.startswith(f"{key}=")), None)


@dataclass(frozen=True)
class Difference:
    """An example that prints something else: where its output stands, what is shown, what came out."""

    page: str
    line: int
    span: tuple[int, int]
    shown: str
    found: str

    def __str__(self) -> str:
        """For people."""
        return f"{self.page}:{self.line}: shown\n{self.shown}\ncame out\n{self.found}"


def read_blocks(text: str) -> list[Block]:
    """The fenced blocks of a page."""
    found = []
    for match in _FENCE.finditer(text):
        language, *words = match[1].split() or [""]
        found.append(Block(language, tuple(words), match[2], match.span(2)))
    return found


def run_page(path: Path) -> list[Difference]:
    """Run one page in an empty folder; what it shows differently from what came out. Raises what an example raises."""
    text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
    blocks, variables, found = read_blocks(text), {"__name__": "example"}, []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), _quiet_environment():
        here = os.path.realpath(folder)
        for place, block in enumerate(blocks):
            line = text.count("\n", 0, block.span[0])
            if block.language == "console":
                found += _run_console(block, name, line, here)
            elif block.language == "python" and is_here(block.named("needs")):
                printed = _run_python(block.text, variables, f"{name}:{line}").replace(here, "…")
                after = blocks[place + 1] if place + 1 < len(blocks) else None
                if after is not None and after.language == "text" and "out" in after.words and not agree(after.text, printed):
                    found.append(Difference(name, line, after.span, after.text, printed))
            elif (target := block.named("file")) is not None:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                Path(target).write_text(block.text, encoding="utf-8")
            elif block.language == "yaml":
                _check_fragment(block, f"{name}:{line}")
    return found


def is_here(library: str | None) -> bool:
    """Can an example run that needs a library, or none?"""
    return library is None or find_spec(library) is not None


def agree(shown: str, printed: str) -> bool:
    """Is this what was shown, apart from what differs between any two runs?"""
    pattern = "".join(r"(?:[^\n]*\n)*?" if line.strip() == "…" else r"[^\n]*".join(map(re.escape, line.split("…"))) + r"\n"
                      for line in _lines(shown))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(printed))) is not None


def shortened(shown: str, found: str) -> str:
    """New output, left out where the old one was: lines are kept that begin with a word that a shown line began with."""
    if "…" not in (line.strip() for line in shown.split("\n")):
        return found
    known = {line.split()[0] for line in shown.split("\n") if line.strip()}
    kept: list[str] = []
    for line in found.split("\n"):
        if line.strip() and line.split()[0] in known:
            kept.append(line.rstrip())
        elif line.strip() and kept[-1:] != ["…"]:
            kept.append("…")
    return "".join(f"{line}\n" for line in kept)


def one_id(text: str) -> str:
    """A page that publishes one dataset speaks of it by one id everywhere."""
    published = set(re.findall(r"✓ (dm_[0-9a-f]{32})  published", text))
    if len(published) != 1:
        return text
    (known,) = published
    return re.sub(r"\bdm_[0-9a-f]{8}\b", known[:11], re.sub(r"\bdm_[0-9a-f]{32}\b", known, text))


def _lines(text: str) -> list[str]:
    for form, same in _EQUAL:
        text = re.sub(form, same, text)
    return [line.strip() for line in text.split("\n") if line.strip()]


def _run_console(block: Block, page: str, line: int, here: str) -> Iterator[Difference]:
    at = block.span[0]
    for part in re.split(r"^(?=\$ )", block.text, flags=re.MULTILINE):
        command, _, shown = part.partition("\n")
        start = at + len(command) + 1
        at += len(part)
        if not command.startswith("$ "):
            continue
        printed = _run_command(shlex.split(command[2:], comments=True)).replace(here, "…")
        if not agree(shown, printed):
            yield Difference(page, line, (start, at), shown, printed)


def _run_command(words: list[str]) -> str:
    if words[0] == "ofs":
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            status = run_ofs([_completed(word, words) for word in words[1:]])
        return out.getvalue() + (f"(exit status {status})\n" if status else "")
    if words[0] == "cd":
        os.chdir(words[1])
        return ""
    if words[0] == "cat":
        return "".join(Path(word).read_text(encoding="utf-8") for word in words[1:])
    if words[0] == "ls":
        return "".join(f"{path.name}\n" for path in sorted(Path(words[1] if len(words) > 1 else ".").iterdir()) if path.name[0] != ".")
    raise ValueError(f"{words[0]} is no command that examples run")


def _completed(word: str, words: list[str]) -> str:
    """An id as the page shows it is that of another run: the newest dataset or run of the plane is meant."""
    from offline_feature_plane import open as open_plane

    plane = words[words.index("--plane") + 1] if "--plane" in words else "plane.yaml"
    if re.fullmatch(r"dm_[0-9a-f]{4,32}", word):
        return open_plane(plane).datasets()[-1].dataset_manifest_id
    return open_plane(plane).runs()[0].run_key if re.fullmatch(r"[0-9a-f]{8,32}", word) else word


def _run_python(source: str, variables: dict[str, Any], name: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(source, name, "exec"), variables)  # noqa: S102 - our own pages
    return out.getvalue()


def _check_fragment(block: Block, name: str) -> None:
    """Lay a fragment over a sound document and read the whole. Raises OfsError, ValueError."""
    kind = next((word for word in block.words if word in BASES), None)
    if kind is None:
        raise ValueError(f"{name}: a yaml block says what it is: file=NAME, plane, intent or features")
    said = load_yaml(block.text, name=name).value
    whole = _laid_over(BASES[kind], said)
    if kind == "plane":
        settings_from(whole, Path.cwd())
    elif kind == "intent":
        if "types" in said.get("label", {}):  # several types take the place of the one
            whole["label"] = said["label"]
        ShortIntent.model_validate(whole)
    else:
        read_profile(said if "feature_groups" in said else whole, rows="transaction", label_types=("chargeback",))


def _laid_over(below: Any, above: Any) -> Any:
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        return {**below, **{key: _laid_over(below.get(key), value) for key, value in above.items()}}
    return above


@contextlib.contextmanager
def _quiet_environment() -> Iterator[None]:
    """No setting of whoever runs this reaches the examples."""
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("OFS_")}
    try:
        yield
    finally:
        os.environ.update(before)


def main() -> int:
    """Run pages; with --write, correct them."""
    names = [word for word in sys.argv[1:] if not word.startswith("-")] or PAGES
    status = 0
    for name in names:
        path = ROOT / name
        differences = run_page(path)
        if "--write" in sys.argv[1:]:
            text = path.read_text(encoding="utf-8")
            for one in reversed(differences):
                text = text[:one.span[0]] + shortened(one.shown, one.found) + text[one.span[1]:]
            path.write_text(one_id(text), encoding="utf-8")
        elif differences:
            status = 1
        sys.stdout.write("".join(f"{one}\n" for one in differences))
    return status


if __name__ == "__main__":
    sys.exit(main())
