"""How far reading is, as it is told: everything together, and each holder's part of a log."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from offline_feature_plane.cli.progress import left
from offline_feature_plane.engines.local.telling import Telling


@dataclass(frozen=True)
class Log:
    """A log as far as it is asked here."""

    topic: str
    holders: tuple[tuple[str, int], ...]

    @property
    def rows(self):
        """All records."""
        return sum(count for _, count in self.holders)


def told(logs, steps):
    """What is told when so many records have been read."""
    found = []
    telling = Telling(lambda *step: found.append(step), logs, sum(log.rows for log in logs))
    for done in steps:
        telling.read(done)
    return found


def test_archive_and_bus_are_told_apart():
    """Partitions are read one after the other, each from the archive and then from the bus: both parts grow, and neither goes back.

    partition 0   ──archive 8──│bus 2│    partition 1   ──archive 6──│bus 4│      topic a comes before b
    """
    logs = [Log("b", (("archive", 6), ("bus", 4))), Log("a", (("archive", 8), ("bus", 2)))]
    found = told(logs, [0, 5, 8, 9, 10, 13, 20])
    assert [step for step in found if step[0] == "replay"] == [("replay", done, 20) for done in (0, 5, 8, 9, 10, 13, 20)]
    assert [done for name, done, total in found if name == "archive"] == [5, 8, 8, 8, 11, 14]
    assert [done for name, done, total in found if name == "bus"] == [0, 0, 1, 2, 2, 6]
    assert {total for name, _, total in found if name == "archive"} == {14}


def test_one_holder_needs_no_name():
    """Where only an archive is read, there is one count."""
    assert told([Log("a", (("archive", 3), ("archive", 4)))], [3, 7]) == [("replay", 3, 7), ("replay", 7, 7)]


@pytest.mark.parametrize(("asked", "said"), [
    (("replay", 30.0, 25, 100), "about 1:30 left"), (("merge", 3_600.0, 10, 100), "about 9:00:00 left"),
    (("replay", 30.0, 4, 100), ""), (("replay", 30.0, 100, 100), ""), (("bus", 30.0, 25, 100), ""), (("replay", None, 0, 100), ""),
    (("replay", 1.0, 7, None), "")])
def test_what_is_left_is_told_once_it_can_be(asked, said):
    """What a step still takes follows from what it has taken; it is not told at the very beginning, at the end, or of parts."""
    assert left(*asked) == said
