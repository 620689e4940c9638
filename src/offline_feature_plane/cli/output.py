"""What the command line prints: text for people, one JSON document for machines, errors with their code and advice."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from textwrap import indent
from typing import TYPE_CHECKING, Any

import click

from offline_feature_plane.errors import OfsError

if TYPE_CHECKING:
    from fractions import Fraction

_LOST: list[BaseException] = []  # why answers did not reach stdout, until `unsaid` asks

# What a terminal obeys, or what turns the order of letters around; our own colours pass.
_UNSEEN = re.compile("(\x1b\\[[0-9;]*m)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    r"""Text with what is not to be seen written out, so that names and values from files can neither command a terminal nor deceive.

    >>> harmless("a\x1b[2Jb\u202ec\x1b[1md\n") == "a\\x1b[2Jb\\u202ec\x1b[1md\n"
    True
    """
    return _UNSEEN.sub(lambda found: found[1] or ascii(found[0])[1:-1], text)


def say(text: str, *, nl: bool = True) -> None:
    """Print an answer. A stdout that does not take it never stops the work: see `unsaid`."""
    if _LOST:
        return
    if sys.stdout is None:
        _LOST.append(OSError(errno.EBADF, os.strerror(errno.EBADF)))
        return
    with answered():
        try:
            click.echo(harmless(text), nl=nl)
        except UnicodeEncodeError:
            encoding = sys.stdout.encoding or "ascii"
            click.echo(harmless(text).encode(encoding, "backslashreplace").decode(encoding), nl=nl)


@contextmanager
def answered() -> Iterator[None]:
    """Around what writes to stdout: a failed write is remembered, not raised, and nothing of it is tried again when the process ends."""
    try:
        yield
    except (OSError, ValueError) as wrong:
        if not any(frame.f_code is click.echo.__code__ for frame, _ in traceback.walk_tb(wrong.__traceback__)):
            raise
        _LOST.append(wrong)
        _to_nowhere(sys.stdout)


def unsaid() -> BaseException | None:
    """Why an answer since the last call did not reach stdout; None if all of them did."""
    found = _LOST[0] if _LOST else None
    _LOST.clear()
    return found


def complain(text: str) -> None:
    """Print to stderr, if there is one that takes it: what cannot be printed changes nothing."""
    try:
        click.echo(harmless(text), err=True)
    except (OSError, ValueError):
        _to_nowhere(sys.stderr)


def _to_nowhere(stream: Any) -> None:
    """Discard what a stream still buffers, so that it does not fail at process exit."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def emit_json(document: Any) -> None:
    """Print the one JSON document of a `--json` command."""
    plain = "utf" not in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    text = json.dumps(document, indent=2, ensure_ascii=plain, sort_keys=False)
    say(_UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text))  # JSON's own escapes left only what it does not mind


def emit_json_line(document: Any) -> None:
    """Print one JSON document on a line of its own, at once."""
    say(json.dumps(document, ensure_ascii=True, sort_keys=False))


def show_error(error: OfsError, *, as_json: bool) -> None:
    """Print an error: where, what, what to do, and its stable code."""
    if as_json:
        emit_json({"error": error.describe()})
        return
    what = error.what.rstrip()
    lines = [f"{style('error', 'red', err=True)} {style(error.code, 'bold', err=True)}" + (f" at {error.path}" if error.path else ""),
             f"  {what}" if error.problems else indent(what, "  ")]
    complain("\n".join([*lines, f"  → {error.fix}"] if error.fix else lines))


def style(text: str, look: str, *, err: bool = False) -> str:
    """Colour on a terminal, plain text elsewhere."""
    stream = sys.stderr if err else sys.stdout
    if stream is None or not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    return click.style(text, bold=True) if look == "bold" else click.style(text, fg=look)


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, right: frozenset[int] = frozenset()) -> str:
    """A plain aligned table.

    >>> print(table(["name", "rows"], [["train", 12000], ["test", 7]], right=frozenset({1})))
    name     rows
    train  12,000
    test        7
    """
    body = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(headings), *body]) for i in range(len(headings))]
    lines = ["  ".join(cell.rjust(width) if i in right else cell.ljust(width)
                       for i, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip()
             for line in [list(headings), *body]]
    return "\n".join(lines)


def percent(share: Fraction | None) -> str | None:
    """A share with two digits, cut off, so that 100 % means all.

    >>> from fractions import Fraction
    >>> percent(Fraction(99999, 100000)), percent(Fraction(1))
    ('99.99 %', '100.00 %')
    """
    return None if share is None else f"{share * 10_000 // 1 // 100}.{share * 10_000 // 1 % 100:02} %"


def pairs(values: Mapping[str, Any], *, indent: int = 2) -> str:
    """Aligned `name  value` lines."""
    width = max((len(name) for name in values), default=0)
    return "\n".join(f"{' ' * indent}{name.ljust(width)}  {_cell(value)}" for name, value in values.items())


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def headline(text: str) -> str:
    r"""The first line of a text, for a place in a list; `--json` has the whole.

    >>> headline("x.json is not a manifest; 2 problems:\n  …")
    'x.json is not a manifest; 2 problems'
    """
    return text.strip().partition("\n")[0].rstrip(":")


def seconds(value: float) -> str:
    """A duration for people.

    >>> seconds(0.0421), seconds(3.14159), seconds(75.0)
    ('0.04 s', '3.1 s', '1 min 15 s')
    """
    if value < 1:
        return f"{value:.2f} s"
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value) // 60} min {int(value) % 60} s"


def size(count: int) -> str:
    """A number of bytes for people.

    >>> size(0), size(1536), size(386_000_000)
    ('0 B', '1.5 kB', '386.0 MB')
    """
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError
