"""The error tree: one root, families by who must act, one class per stable reason code.

    OfsError
    ├── RequestError     exit 2   the user: fix the intent, the profile, the settings or the command
    ├── UnprovenError    exit 3   the data owner: evidence is missing or does not add up
    ├── RefusedError     exit 4   the policy owner: proved, and not allowed
    ├── ConflictError    exit 5   the owner of the other fact: two facts exclude each other
    ├── IntegrityError   exit 6   the operator: bytes are not what they were promised to be
    ├── OutsideError     exit 7   the operator: a system outside of us failed
    └── InternalError    exit 70  us

A class's code is its name in upper snake case (`NoPassNoRead` → `NO_PASS_NO_READ`); its docstring is the meaning
that the reference prints; `fix` says what to do when the raiser knows nothing better. Numbers are fields, never part of a
code (`decisions.md` H).
"""

from __future__ import annotations

from offline_feature_plane.errors.codes import *  # noqa: F403 - every code is public
from offline_feature_plane.errors.finding import all_codes as all_codes
from offline_feature_plane.errors.finding import list_problems as list_problems
from offline_feature_plane.errors.finding import refuse as refuse
from offline_feature_plane.errors.tree import *  # noqa: F403 - so is every family
