"""How the command line speaks: text for people, one JSON document for machines, errors with their code and advice."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from offline_feature_plane.errors import OfsError


def emit_json(document: Any) -> None:
    """Print the one JSON document of a `--json` command."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, sort_keys=False))


def show_error(error: OfsError, *, as_json: bool) -> None:
    """Print an error: where, what, what to do, and its stable code."""
    if as_json:
        emit_json({"error": error.describe()})
        return
    click.echo(f"{style('error', 'red', err=True)} {style(error.code, 'bold', err=True)}"
               + (f" at {error.path}" if error.path else ""), err=True)
    click.echo(f"  {error.what}", err=True)
    if error.fix:
        click.echo(f"  → {error.fix}", err=True)


def style(text: str, look: str, *, err: bool = False) -> str:
    """Colour on a terminal, plain text elsewhere."""
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty() or os.environ.get("NO_COLOR"):
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
