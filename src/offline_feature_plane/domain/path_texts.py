r"""Which texts can be refs: relative or absolute paths that mean the same file to every reader and on every system (R15)."""

from __future__ import annotations

import re
import unicodedata

MOST_CHARACTERS = 1_024
_MOST_BYTES = 255  # of one name, on common file systems
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def path_fault(text: str) -> str | None:
    r"""What makes a text no such path; None if nothing does.

    >>> path_fault("../shared/features.yaml"), path_fault("file:/etc/passwd"), path_fault("a\\b")
    (None, 'it has a scheme, but only files of this machine are read', 'it has a backslash')
    """
    if not text.strip():
        return "it is blank"
    if any(unicodedata.category(one)[0] == "C" or unicodedata.category(one) in {"Zl", "Zp"} for one in text[:MOST_CHARACTERS]):
        return "it has a character that cannot be seen"
    if len(text) > MOST_CHARACTERS or any(len(name.encode()) > _MOST_BYTES for name in text.split("/")):
        return "it is longer than a path can be"
    if _SCHEME.match(text) or "://" in text:
        return "it has a scheme, but only files of this machine are read"
    return "it has a backslash" if "\\" in text else None
