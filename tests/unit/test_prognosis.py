"""Whether a basis can still be read, and until when: what only a bus has goes with its retention."""

import pytest

from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.cutover import Watermarks, route
from offline_feature_plane.domain.prognosis import STATES, Missing, foresee, worst_state

WANTED = Range("tx", 0, "kafka_offset", "log1", "100", "400")
DAY = 86_400_000_000
NOW = 1_790_000_000_000_000


def ahead(archive, bus, until=None, within=3 * DAY):
    """The prognosis of an archive's spans and a bus that keeps the record at each offset until `until(offset)`."""
    marks = bus if isinstance(bus, str) else Watermarks("tx", 0, "kafka_offset", "log1", *map(str, bus), str(bus[1]))
    return foresee(route(WANTED, archive, marks), until or (lambda _: None), NOW, within)


@pytest.mark.parametrize(("archive", "bus", "state"), [
    ([(0, 400)], "none", "archived"),
    ([(0, 400)], "silent", "archived"),
    ([(0, 300)], (200, 400), "on_bus"),
    ([], (0, 400), "on_bus"),
    ([(0, 300)], (310, 400), "lost"),
    ([], (101, 400), "lost"),
    ([(0, 300)], "silent", "unknown"),
    ([(0, 300)], (200, 390), "unknown"),
    ([], (150, 390), "lost")])
def test_who_has_what_decides(archive, bus, state):
    """Archived is safe whatever the bus does; a gap is lost, and where nobody can be asked nobody knows."""
    assert ahead(archive, bus).state == state


def test_the_first_record_that_only_the_bus_has_decides_when():
    """Two stretches are on the bus alone: the older one goes first.

    archive   [0 ── 150)      [200 ── 300)
    bus       [50 ──────────────────────────── 400)      150 is kept for a day, 300 for five
    """
    found = ahead([(0, 150), (200, 300)], (50, 400), lambda offset: NOW + {150: DAY, 300: 5 * DAY}[offset])
    assert (found.state, found.start_offset, found.end_offset, found.until_us) == ("fading", "150", "200", NOW + DAY)
    assert "tx/0 [150, 200) is on the bus alone, which keeps it until" in found.sentence


@pytest.mark.parametrize(("until", "state"), [(NOW - DAY, "fading"), (NOW + 3 * DAY, "fading"), (NOW + 3 * DAY + 1, "on_bus")])
def test_the_asked_time_is_inclusive(until, state):
    """What goes at the last instant of the asked time is told; so is what could have gone before now."""
    assert ahead([], (0, 400), lambda _: until).state == state


def test_the_worst_range_is_the_datasets():
    """One lost range is enough; a dataset without ranges rests on files."""
    assert worst_state(reversed(STATES)) == "lost"
    assert worst_state(["archived", "on_bus"]) == "on_bus"
    assert worst_state([]) == "files"


def test_what_an_index_names_and_is_not_there_is_lost_unless_the_bus_has_it():
    """Only what a range needs counts, in its own log; the worst of all is told, and how many more there are.

    wanted    [0 ──────────────────────── 200)
    archive   [0 ────── gone ─ 100 ─ 150)
    bus                     [80 ───────── 200)
    """
    bus = Watermarks("tx", 0, "kafka_offset", "log1", "80", "200", "200")
    way = route(Range("tx", 0, "kafka_offset", "log1", "0", "200"), [(0, 150)], bus)

    def told(*spans, log_id="log1"):
        gone = [Missing(Range("tx", 0, "kafka_offset", log_id, str(start), str(end)), "the segment a is missing") for start, end in spans]
        return foresee(way, lambda _: None, 0, 0, gone, lambda offset: f"which keeps {offset} somehow")
    found = told((40, 100))
    assert (found.state, found.sentence) == ("lost", "tx/0 [40, 100): the segment a is missing; restore it")
    assert (told((100, 150)).state, "the bus still has it" in told((100, 150)).sentence) == ("fading", True)
    assert told((40, 100), log_id="log2").sentence == "tx/0 [150, 200) is on the bus alone, which keeps 150 somehow"
    assert told((200, 300)).state == "on_bus"
    assert told((100, 120), (40, 60), (300, 400), (130, 150)).sentence == (
        "tx/0 [40, 60): the segment a is missing; restore it; 2 more segments are gone or changed")
    assert told((100, 120), (0, 20)).sentence.endswith("; 1 more segment is gone or changed")
