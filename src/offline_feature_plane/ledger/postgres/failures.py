"""The errors of the PostgreSQL driver as errors of the ledger."""

from __future__ import annotations

from typing import Final

import psycopg

from offline_feature_plane.errors import InvalidTransition, LedgerUnavailable, OfsError
from offline_feature_plane.postgres.failures import Database, said, state_of

_LEDGER: Final = Database("ledger", "ledger setting", "ofs ledger schema --app-role ROLE")


def mapped(wrong: Exception, place: str) -> OfsError:
    """The error of ours that an error of the driver is: always LedgerUnavailable, but for what the tables' own laws refuse.

    Args:
        wrong: any `psycopg.Error` or `psycopg.Warning`.
        place: the ledger's address.
    """
    if isinstance(wrong, psycopg.IntegrityError):
        return InvalidTransition(f"the ledger refused a change: {said(wrong)}.", path=place, fix="Report this as a defect.")
    what, fix = _LEDGER.explain(wrong)
    return LedgerUnavailable(f"{what} ({said(wrong)}).", path=place, fix=fix, **state_of(wrong))


def outcome_unknown(wrong: Exception, place: str) -> LedgerUnavailable:
    """The error of a commit that was not answered: the change may have been made, or not."""
    return LedgerUnavailable(f"the server did not answer the commit, so whether the last change was made is unknown ({said(wrong)}).",
                             path=place, fix="Run again: the ledger knows what was done.", outcome="unknown")
