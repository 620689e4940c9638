"""Where everything stands in a store (`domain.md` §5): keys, and nothing else.

<platform_run_id>/ofs/manifests/<dm_id>.json                   the unit of truth
/datasets/<dm_id>/<run_key>/…             what a run staged, which is its own
/plans/<run_key>.json                     the pins
/receipts/<run_key>/<attempt>/<name>.json what an attempt did
/commits/<run_key>.json                   the vow
/retired/<dm_id>.json, expired/<dm_id>.json
/supersession/<new>/<old>.json, claims/<new>/<old>/<run_key>.json
by_id/<dm_id>.json                                             from a bare id to its manifest
"""

from __future__ import annotations


def manifests_prefix(platform_run_id: str) -> str:
    """The folder of a run's manifests."""
    return f"{platform_run_id}/ofs/manifests"


def manifest_key(platform_run_id: str, dm_id: str) -> str:
    """The unit of truth of a meaning."""
    return f"{manifests_prefix(platform_run_id)}/{dm_id}.json"


def commits_prefix(platform_run_id: str) -> str:
    """The folder of the commit records."""
    return f"{platform_run_id}/ofs/commits"


def commit_key(platform_run_id: str, run_key: str) -> str:
    """A run's vow."""
    return f"{commits_prefix(platform_run_id)}/{run_key}.json"


def datasets_prefix(platform_run_id: str) -> str:
    """The folder of all that runs staged."""
    return f"{platform_run_id}/ofs/datasets"


def data_prefix(platform_run_id: str, dm_id: str, run_key: str) -> str:
    """The folder of what a run staged, which is its own (`decisions.md` D2)."""
    return f"{datasets_prefix(platform_run_id)}/{dm_id}/{run_key}"


def staged_key(platform_run_id: str, dm_id: str, run_key: str) -> str:
    """The manifest that a run staged before its vow."""
    return f"{data_prefix(platform_run_id, dm_id, run_key)}/manifest.json"


def plans_prefix(platform_run_id: str) -> str:
    """The folder of the plans."""
    return f"{platform_run_id}/ofs/plans"


def plan_key(platform_run_id: str, run_key: str) -> str:
    """The pins of a run."""
    return f"{plans_prefix(platform_run_id)}/{run_key}.json"


def receipts_prefix(platform_run_id: str, run_key: str) -> str:
    """The folder of what a run's attempts report."""
    return f"{platform_run_id}/ofs/receipts/{run_key}"


def receipt_key(platform_run_id: str, run_key: str, attempt: int, name: str) -> str:
    """What one attempt reports about one phase."""
    return f"{receipts_prefix(platform_run_id, run_key)}/{attempt}/{name}.json"


def retired_key(platform_run_id: str, dm_id: str) -> str:
    """The fact that a meaning was retired (`decisions.md` D7)."""
    return f"{platform_run_id}/ofs/retired/{dm_id}.json"


def expired_key(platform_run_id: str, dm_id: str) -> str:
    """The fact that the data of a retired dataset was given up (`decisions.md` D7)."""
    return f"{platform_run_id}/ofs/expired/{dm_id}.json"


def supersession_prefix(platform_run_id: str) -> str:
    """The folder of the facts that say which dataset replaces which (`decisions.md` D8)."""
    return f"{platform_run_id}/ofs/supersession"


def claims_prefix(platform_run_id: str) -> str:
    """The folder of what runs claim before they vow: which dataset theirs will replace."""
    return f"{platform_run_id}/ofs/claims"


def by_id_key(dm_id: str) -> str:
    """The pointer from a bare `dm_…` to its manifest (`decisions.md` H)."""
    return f"by_id/{dm_id}.json"
