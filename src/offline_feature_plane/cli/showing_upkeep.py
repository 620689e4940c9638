"""What the answers of the keeping commands look like as text: retirements, collections, checks of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offline_feature_plane.cli.output import style

if TYPE_CHECKING:
    from offline_feature_plane.corridor.retirement import Retired


def retired(answer: Retired) -> str:
    """What stands now, and what stood before."""
    lines = [f"{style('✓', 'green')} {style(answer.dataset_manifest_id, 'bold')} was {answer.retirement}"]
    if answer.retirement.expiry is not None:
        lines.append("  `ofs gc --apply` deletes its data files")
    return "\n".join([*lines, *(f"{style('notice', 'yellow')}: {notice}" for notice in answer.notices)])
