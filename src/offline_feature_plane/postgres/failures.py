"""What an error of the PostgreSQL driver means: by SQLSTATE, or by the server's words where it refused the connection itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import psycopg

_AWAY = "away"
_FULL = "full"
_CROWDED = "crowded"
_REFUSED = "refused"
_NO_DATABASE = "no database"
_RIGHTS = "rights"
_STANDBY = "standby"
_CLASH = "clash"
_LOCKED = "locked"
_OTHER_TABLES = "other tables"
_DAMAGED = "damaged"
_DEFECT = "defect"

# The beginning of an SQLSTATE, or a whole one; the longest that fits wins.
_BY_STATE: Final = {
    "08": _AWAY, "57P": _AWAY, "25P03": _AWAY, "57014": _LOCKED, "55P03": _LOCKED, "55006": _LOCKED,
    "53": _FULL, "53300": _CROWDED, "28": _REFUSED, "3D": _NO_DATABASE, "57P04": _NO_DATABASE, "42501": _RIGHTS, "25006": _STANDBY,
    "40": _CLASH, "42P01": _OTHER_TABLES, "42703": _OTHER_TABLES, "42883": _OTHER_TABLES, "3F000": _OTHER_TABLES, "58": _DAMAGED,
    "XX": _DAMAGED, "F0": _DAMAGED,
}
# How a refusal to connect begins, for which there is no SQLSTATE; one in another language is told apart no further than _AWAY.
_BY_WORDS: Final = (
    (re.compile(r"\w+ authentication failed|fe_sendauth|no pg_hba\.conf entry|role \"|permission denied for database"), _REFUSED),
    (re.compile(r"(sorry, )?too many|remaining connection slots"), _CROWDED),
    (re.compile(r"database \""), _NO_DATABASE),
    (re.compile(r"session is read-only|server is in hot standby mode"), _STANDBY),
)


@dataclass(frozen=True)
class Database:
    """How a database is spoken of: what it is to us, the setting with its address, and the command that prints its script."""

    name: str
    setting: str
    script: str

    def explain(self, wrong: Exception) -> tuple[str, str]:
        """What an error means, and what to do about it: two sentences, the first without its stop and without what the server said.

        Args:
            wrong: any `psycopg.Error` or `psycopg.Warning`.
        """
        return {
            _AWAY: (f"the {self.name}'s server cannot be reached", "Start it, or check host, port and network, then run again."),
            _FULL: (f"the {self.name}'s server has no room left", "Free disk or memory on the server, then run again."),
            _CROWDED: (f"the {self.name}'s server has no connection left for this role",
                       "Run fewer workers at once, or allow more connections."),
            _REFUSED: (f"the {self.name}'s server refuses the role",
                       "Check the role in the address, and its password: in ~/.pgpass, `?passfile=FILE`, a service, or PGPASSWORD."),
            _NO_DATABASE: (f"the {self.name}'s database does not exist", "Check the database in the address, or create it."),
            _RIGHTS: (f"the role may not do this in the {self.name}", f"Let the owner of the tables run what `{self.script}` prints."),
            _STANDBY: (f"the {self.name}'s server only reads",
                       f"Point the {self.setting} at the primary server, or add `?target_session_attrs=read-write`."),
            _CLASH: ("another transaction came in between", "Run again."),
            _LOCKED: (f"the {self.name} was locked, or its server too slow, for too long",
                      "Look for hanging sessions and for load on the server, then run again."),
            _OTHER_TABLES: (f"the {self.name}'s tables are not those of this release",
                            "Restore the database from a copy, or choose another `?schema=`."),
            _DAMAGED: (f"the {self.name}'s server met a failure of its disk or its data",
                       "Read the server's log, and restore the database from a copy."),
            _DEFECT: (f"the {self.name} cannot be used", "Report this as a defect."),
        }[_trouble(wrong)]


def said(wrong: Exception) -> str:
    """The first line of what the driver or the server said, without its final stop."""
    primary = wrong.diag.message_primary if isinstance(wrong, psycopg.Error) else None
    lines = (primary or str(wrong) or type(wrong).__name__).splitlines()
    return " ".join(lines[0].removeprefix("connection failed: ").split()).rstrip(".")


def state_of(wrong: Exception) -> dict[str, str]:
    """The SQLSTATE as a field of an error of ours, where there is one."""
    state = getattr(wrong, "sqlstate", None)
    return {"sqlstate": state} if state else {}


def _trouble(wrong: Exception) -> str:
    state = getattr(wrong, "sqlstate", None)
    if state is not None:
        fitting = [prefix for prefix in _BY_STATE if state.startswith(prefix)]
        return _BY_STATE[max(fitting, key=len)] if fitting else _DEFECT
    if isinstance(wrong, psycopg.OperationalError):
        refusal = said(wrong).partition(" failed: ")[2].removeprefix("FATAL: ")
        return next((trouble for words, trouble in _BY_WORDS if words.match(refusal)), _AWAY)
    return _DEFECT
