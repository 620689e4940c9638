"""What `ofs doctor` says, as text: how each dataset is, and what decides it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offline_feature_plane.cli.output import headline, style, table
from offline_feature_plane.domain.instants import format_instant

if TYPE_CHECKING:
    from offline_feature_plane.corridor.checkup import Checkup, Diagnosis

_LOOKS = {"lost": "red", "fading": "yellow", "unknown": "yellow"}
_TOLD = {"lost": "cannot be built again", "fading": "soon cannot be built again", "unknown": "nobody can say",
         "on_bus": "can be built again, from the bus", "archived": "can be built again",
         "files": "rests on files, which are there"}


def checkup(found: Checkup) -> str:
    """A line per dataset, and below it what decides, where something does."""
    lines = [f"{style('✗', 'red')} {headline(one.what)}" for one in found.damaged]
    if not found.diagnoses:
        return "\n".join([*lines, "There are no datasets."])
    heads, *rows = table(["dataset", "until", ""], [
        [one.dataset_manifest_id, None if one.until_us is None else format_instant(one.until_us),
         style(_TOLD[one.state], _LOOKS.get(one.state, "green"))] for one in found.diagnoses]).split("\n")
    lines.append(heads)
    for row, one in zip(rows, found.diagnoses, strict=True):
        lines += [row, *_details(one)]
    if any(one.state in {"lost", "fading"} for one in found.diagnoses):
        lines += ["", "What is on the bus alone is lost with its retention: archive it before."]
    return "\n".join(lines)


def _details(one: Diagnosis) -> list[str]:
    return [*(f"    {part.sentence}" for part in one.prognoses if part.state not in {"archived", "files"}),
            *(f"    incomplete: it lacks {gap}" + (", which is there by now: an intent without this gap is another dataset"
                                                  if gap in one.found else "") for gap in one.lacks)]
