"""Can a basis still be read, and until when? What a bus alone holds of it goes with the bus's retention (`domain.md` §1.3, §1.4).

wanted     [0 ──────────────────────── 200)
archive    [0 ────── 120)
bus                  [120 ──────────── 200)     the record at 120 is the first to go: until its log time + retention

An index may name what is not there any more: a stretch whose file is missing is lost, unless the bus has it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.cutover import Gap, Route, Why
from offline_feature_plane.domain.instants import format_instant

__all__ = ["STATES", "Missing", "Prognosis", "State", "foresee", "worst_state"]

State = Literal["lost", "fading", "unknown", "on_bus", "archived", "files"]
STATES: Final[tuple[State, ...]] = ("lost", "fading", "unknown", "on_bus", "archived", "files")  # from the worst
_LOST: Final[dict[Why, str]] = {
    "retention_exceeded": "the bus has let it go, and there is no archive of this log",
    "archive_gap": "the bus has let it go, and the archive lacks it",
    "unknown_log": "nobody has this log any more: the topic was made anew, or its archive is of another log",
    "unknown_partition": "nobody has this partition of the log any more"}


@dataclass(frozen=True)
class Prognosis:
    """What becomes of one range: its state, the stretch that decides it, and until when the bus keeps that, if it says so.

    lost: nobody has the stretch any more. fading: the bus alone has it, and may let it go within the asked time. unknown: nobody can say.
    on_bus: the bus alone has it, for longer, or it does not say for how long. archived: the archive has all.
    """

    state: State
    topic: str
    partition: int | None
    start_offset: str | None
    end_offset: str | None
    until_us: int | None
    sentence: str

    def describe(self) -> dict[str, Any]:
        """For documents."""
        said = {name: value for name, value in vars(self).items() if name != "until_us"}
        return {**said, "until_utc": None if self.until_us is None else format_instant(self.until_us)}


@dataclass(frozen=True)
class Missing:
    """A stretch of an archive whose file is gone, or is another one, as far as that shows without reading it; `what` says it."""

    stretch: Range
    what: str


def foresee(way: Route, kept_until_us: Callable[[int], int | None], now_us: int, within_us: int, missing: Sequence[Missing] = (),
            kept_how: Callable[[int], str] = lambda _: "which does not say for how long") -> Prognosis:
    """What becomes of one range.

    Args:
        way: how it would be read now.
        kept_until_us: when the bus may let the record at an offset go; None: it does not say.
        now_us: the time.
        within_us: what goes within so long is fading.
        missing: what the archive has in its index, and not.
        kept_how: says of a record for which there is no time how the bus keeps it.
    """
    odd = list(_of_missing(way, missing))
    worst = min([*odd, _of_way(way, kept_until_us, now_us, within_us, kept_how)], key=lambda one: STATES.index(one.state))
    more = len(odd) - 1 if worst in odd else len(odd)
    if not more:
        return worst
    return replace(worst, sentence=f"{worst.sentence}; {more:,} more segment{' is' if more == 1 else 's are'} gone or changed")


def _of_missing(way: Route, missing: Sequence[Missing]) -> Iterator[Prognosis]:
    """What becomes of each stretch that an index names, and that is not there."""
    wanted = way.wanted
    for one in missing:
        here = one.stretch
        if here.lane != wanted.lane:
            continue
        for piece in way.pieces:
            start, end = max(piece.start, here.start), min(piece.end, here.end)
            if piece.holder == "archive" and start < end:
                is_on_bus = any(first <= start and end <= last for first, last in way.overlaps)
                ways_out = ("the bus still has it: run `ofs archive index --replace` on the archive, then `ofs archive write`" if is_on_bus
                            else "restore it")
                yield _of(way, "fading" if is_on_bus else "lost", start, end, None,
                          f"{wanted.topic}/{wanted.partition} [{start}, {end}): {one.what}; {ways_out}")


def _of_way(way: Route, kept_until_us: Callable[[int], int | None], now_us: int, within_us: int,
            kept_how: Callable[[int], str]) -> Prognosis:
    name = f"{way.wanted.topic}/{way.wanted.partition}"
    gap: Gap | None = next((one for one in way.gaps if one.why in _LOST), next(iter(way.gaps), None))
    if gap is not None:
        state: State = "lost" if gap.why in _LOST else "unknown"
        told = _LOST.get(gap.why, "the bus is compacted, and may have lost more of it since" if gap.why == "compacted"
                         else "nobody can say now whether it is there")
        return _of(way, state, gap.start, gap.end, None, f"{name} [{gap.start}, {gap.end}): {told}")
    alone = [piece for piece in way.pieces if piece.holder == "bus"]
    if not alone:
        return _of(way, "archived", way.wanted.start, way.wanted.end, None, f"{name} is archived")
    ends = [(until, piece) for piece in alone if (until := kept_until_us(piece.start)) is not None]
    until, first = min(ends, key=lambda one: one[0]) if ends else (None, alone[0])
    said = f"{name} [{first.start}, {first.end}) is on the bus alone"
    if until is None:
        return _of(way, "on_bus", first.start, first.end, None, f"{said}, {kept_how(first.start)}")
    state = "fading" if until <= now_us + within_us else "on_bus"
    return _of(way, state, first.start, first.end, until, f"{said}, which keeps it until {format_instant(until)} at least")


def worst_state(states: Iterable[State]) -> State:
    """The state of a dataset: the worst of its ranges'; of files alone if it has none.

    >>> worst_state(["archived", "fading"]), worst_state([])
    ('fading', 'files')
    """
    return min(states, key=STATES.index, default="files")


def _of(way: Route, state: State, start: int, end: int, until: int | None, sentence: str) -> Prognosis:
    return Prognosis(state, way.wanted.topic, way.wanted.partition, str(start), str(end), until, sentence)
