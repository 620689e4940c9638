"""The root of the error tree and its families (`decisions.md` H)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

MOST_CHARACTERS = 20_000


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text that quotes what others wrote, cut where it is longer than anybody reads.

    >>> shortened("there is no 'x'; known: a, b, c", 20)
    "there is no 'x'; kno…"
    """
    return text if len(text) <= most else f"{text[:most]}…"


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a document: where (JSON path), which code, and one sentence."""

    path: str
    code: str
    sentence: str


class OfsError(Exception):
    """Root of everything OFS raises on purpose.

    Args:
        what: what was wrong, with the values.
        fix: what to do about it; the class's own advice if omitted.
        path: where: a JSON path, a file, a column.
        fields: numbers and names for machines (`--json`).

    `transient` says that the same work may succeed later; a run that meets such an error goes back to the queue.
    """

    code: ClassVar[str] = "OFS_ERROR"
    family: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 70
    transient: bool = False
    fix: str = ""
    problems: tuple[Problem, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Derive the stable code of a leaf class from its name."""
        super().__init_subclass__(**kwargs)
        if OfsError not in cls.__bases__:
            cls.code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).upper()

    def __init__(self, what: str, *, fix: str | None = None, path: str | None = None, **fields: Any) -> None:
        self.what = shortened(what)
        super().__init__(self.what)
        if fix is not None:
            self.fix = shortened(fix)
        self.path = path
        self.fields = fields

    def __str__(self) -> str:
        """One line: code, place, what was wrong, what to do."""
        place = f" at {self.path}" if self.path else ""
        advice = f" {self.fix}" if self.fix else ""
        return f"{self.code}{place}: {self.what}{advice}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive pickling with every field."""
        return (_revive, (type(self), self.what, self.fix, self.path, self.fields, self.problems))

    def describe(self) -> dict[str, Any]:
        """The error as one JSON-ready document, for `--json` and receipts."""
        document: dict[str, Any] = {"code": self.code, "family": self.family, "exit_status": self.exit_status,
                                    "what": self.what, "fix": self.fix, "path": self.path, "fields": self.fields}
        if self.problems:
            document["problems"] = [vars(problem) for problem in self.problems]
        return document


def _revive(cls: type[OfsError], what: str, fix: str, path: str | None, fields: dict[str, Any],
            problems: tuple[Problem, ...]) -> OfsError:
    error = cls(what, fix=fix, path=path, **fields)
    error.problems = problems
    return error


# --- families -----------------------------------------------------------------------------------------------


class RequestError(OfsError):
    """The request or its spelling is wrong; nothing was done."""

    family, exit_status = "request", 2


class UnprovenError(OfsError):
    """The evidence that the build needs is missing or incomplete."""

    family, exit_status = "unproven", 3


class RefusedError(OfsError):
    """Proved, and refused by a gate."""

    family, exit_status = "refused", 4


class ConflictError(OfsError):
    """Two facts exclude each other."""

    family, exit_status = "conflict", 5


class IntegrityError(OfsError):
    """Bytes differ from what their digest or the protocol promised."""

    family, exit_status = "integrity", 6


class OutsideError(OfsError):
    """A system outside of OFS failed: disk, store, database."""

    family, exit_status = "outside", 7
    transient = True


class InternalError(OfsError):
    """A law of OFS broke: a defect of ours."""

    family, exit_status = "internal", 70
