"""Segments of one archive that overlap, read as one (`domain.md` §1.3): what another holder is held against is what they hold together.

```
 first     ──e7──e8───────e10──▶
 second            ──e9──e10──e11──▶
 together  ──e7──e8──e9──e10──e11──▶
```
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.sources.logs.stretches import Item, Stretch, Together, in_groups, merged, pins_of

__all__ = ["MergedStretch", "claims_of", "without_overlaps"]


@dataclass(frozen=True)
class MergedStretch(Together):
    """A `Stretch`: stretches of one holder, by first offset, of which each overlaps what is before it."""

    @property
    def evidence(self) -> SegmentEvidence:
        """What they claim together: no offset of them twice, but each record and each that was left out as often as it is claimed."""
        claims = claims_of(self)
        furthest = max(claims, key=lambda one: one.span[1])
        lasts = [one.last_offset for one in claims if one.last_offset is not None]
        return replace(claims[0], next_offset=furthest.next_offset, last_offset=max(lasts, key=int, default=None), record_count=self.most,
                       dispositions=tuple(said for one in claims for said in one.dispositions))

    def pin(self) -> Mapping[str, Any]:
        """As `PinnedStretch.pin`."""
        return {"merged": pins_of(self.held)}

    def read(self) -> Iterator[Item]:
        """As `Stretch.read`; raises also as `merged`."""
        return merged(self.held, [self.evidence.span])


def claims_of(stretch: Stretch) -> list[SegmentEvidence]:
    """What is claimed of a stretch, by each segment in it."""
    return [one.evidence for one in stretch.held] if isinstance(stretch, MergedStretch) else [stretch.evidence]


def without_overlaps(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Stretches of one lane, by first offset: those that overlap are one."""
    return [group[0] if len(group) == 1 else MergedStretch(tuple(group)) for group in in_groups(stretches)]
