"""The errors of the PostgreSQL driver as errors of ours: by SQLSTATE, or by the server's words where it refused the connection itself."""

from __future__ import annotations

import re
from typing import Final

import psycopg

from offline_feature_plane.errors import InvalidTransition, LedgerUnavailable, OfsError

_AWAY = ("the ledger's server cannot be reached", "Start it, or check host, port and network, then run again.")
_FULL = ("the ledger's server has no room left", "Free disk or memory on the server, then run again.")
_CROWDED = ("the ledger's server has no connection left for this role", "Run fewer workers at once, or allow more connections.")
_REFUSED = ("the ledger's server refuses the role",
            "Check the role in the address, and its password: in ~/.pgpass, `?passfile=FILE`, a service, or PGPASSWORD.")
_NO_DATABASE = ("the ledger's database does not exist", "Check the database in the address, or create it.")
_RIGHTS = ("the role may not do this in the ledger", "Let the owner of the tables run what `ofs ledger schema --app-role ROLE` prints.")
_STANDBY = ("the ledger's server only reads", "Point the ledger setting at the primary server, or add `?target_session_attrs=read-write`.")
_CLASH = ("another transaction came in between", "Run again.")
_LOCKED = ("the ledger was locked, or its server too slow, for too long",
           "Look for hanging sessions and for load on the server, then run again.")
_NO_LEDGER = ("the ledger's tables are not those of this release", "Restore the database from a copy, or choose another `?schema=`.")
_DAMAGED = ("the ledger's server met a failure of its disk or its data", "Read the server's log, and restore the database from a copy.")
_DEFECT = ("the ledger cannot be used", "Report this as a defect.")

# The beginning of an SQLSTATE, or a whole one; the longest that fits wins.
_BY_STATE: Final = {
    "08": _AWAY, "57P": _AWAY, "25P03": _AWAY, "57014": _LOCKED, "55P03": _LOCKED, "55006": _LOCKED,
    "53": _FULL, "53300": _CROWDED, "28": _REFUSED, "3D": _NO_DATABASE, "57P04": _NO_DATABASE, "42501": _RIGHTS, "25006": _STANDBY,
    "40": _CLASH, "42P01": _NO_LEDGER, "42703": _NO_LEDGER, "42883": _NO_LEDGER, "3F000": _NO_LEDGER, "58": _DAMAGED, "XX": _DAMAGED,
    "F0": _DAMAGED,
}
# How a refusal to connect begins, for which there is no SQLSTATE; one in another language is told apart no further than _AWAY.
_BY_WORDS: Final = (
    (re.compile(r"\w+ authentication failed|fe_sendauth|no pg_hba\.conf entry|role \"|permission denied for database"), _REFUSED),
    (re.compile(r"(sorry, )?too many|remaining connection slots"), _CROWDED),
    (re.compile(r"database \""), _NO_DATABASE),
    (re.compile(r"session is read-only|server is in hot standby mode"), _STANDBY),
)


def mapped(wrong: Exception, place: str) -> OfsError:
    """The error of ours that an error of the driver is: always LedgerUnavailable, but for what the tables' own laws refuse.

    Args:
        wrong: any `psycopg.Error` or `psycopg.Warning`.
        place: the ledger's address.
    """
    said, state = _said(wrong), getattr(wrong, "sqlstate", None)
    if isinstance(wrong, psycopg.IntegrityError):
        return InvalidTransition(f"the ledger refused a change: {said}.", path=place, fix="Report this as a defect.")
    what, fix = _told(wrong, state, said)
    return LedgerUnavailable(f"{what} ({said}).", path=place, fix=fix, **({"sqlstate": state} if state else {}))


def outcome_unknown(wrong: Exception, place: str) -> LedgerUnavailable:
    """The error of a commit that was not answered: the change may have been made, or not."""
    return LedgerUnavailable(f"the server did not answer the commit, so whether the last change was made is unknown ({_said(wrong)}).",
                             path=place, fix="Run again: the ledger knows what was done.", outcome="unknown")


def _told(wrong: Exception, state: str | None, said: str) -> tuple[str, str]:
    if state is not None:
        fitting = [prefix for prefix in _BY_STATE if state.startswith(prefix)]
        return _BY_STATE[max(fitting, key=len)] if fitting else _DEFECT
    if isinstance(wrong, psycopg.OperationalError):
        refusal = said.partition(" failed: ")[2].removeprefix("FATAL: ")
        return next((told for words, told in _BY_WORDS if words.match(refusal)), _AWAY)
    return _DEFECT


def _said(wrong: Exception) -> str:
    """The first line of what the driver or the server said, without its final stop."""
    primary = wrong.diag.message_primary if isinstance(wrong, psycopg.Error) else None
    lines = (primary or str(wrong) or type(wrong).__name__).splitlines()
    return " ".join(lines[0].removeprefix("connection failed: ").split()).rstrip(".")
