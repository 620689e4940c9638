"""What `ofs doctor` says, as text: how each dataset is, and what decides it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from offline_feature_plane.cli.output import headline, style, table
from offline_feature_plane.domain.instants import format_instant

if TYPE_CHECKING:
    from offline_feature_plane.corridor.checkup import Checkup, Diagnosis

_MOST_RELEASES, _SHORT_RELEASE = 3, 14
_OTHER_SETTINGS = "plane.yaml says of its inputs what it did not say then: build it again by that plane.yaml"
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
    if any(part.state in {"lost", "fading"} and part.partition is not None for one in found.diagnoses for part in one.prognoses):
        lines += ["", "What is on the bus alone is lost with its retention: archive it before."]
    return "\n".join([*lines, *_releases([one.release for one in found.diagnoses if one.release is not None])])


def _releases(others: Sequence[str]) -> list[str]:
    if not others:
        return []
    known = sorted({one.replace("+sha256:", " ")[:_SHORT_RELEASE] for one in others})
    more = ", …" if len(known) > _MOST_RELEASES else ""
    what = f"{len(others):,} of these {'are' if len(others) > 1 else 'is'} of another release of the code, which alone can build them again"
    return ["", f"{what}: {', '.join(known[:_MOST_RELEASES])}{more}."]


def _details(one: Diagnosis) -> list[str]:
    return [*(f"    {part.sentence}" for part in one.prognoses if part.state not in {"archived", "files"}),
            *([] if one.settings_hold else [f"    {_OTHER_SETTINGS}"]),
            *(f"    incomplete: it lacks {gap}" + (", which is there by now: an intent without this gap is another dataset"
                                                  if gap in one.found else "") for gap in one.lacks)]
