"""Where each stretch of a log is read: archive first, bus for the rest; what nobody has is told with its reason."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from offline_feature_plane.documents import load_yaml
from offline_feature_plane.domain.basis import Range, canonical_basis
from offline_feature_plane.domain.cutover import (
    FEASIBILITIES,
    Watermarks,
    check_key,
    is_checked,
    is_checked_by_hash,
    route,
    worst,
)
from offline_feature_plane.kernels.separating import below, mix

GOLDEN = load_yaml((Path(__file__).parents[1] / "golden/cutover/routes.yaml").read_bytes(), name="routes.yaml").value
HOLDERS = {"a": "archive", "b": "bus"}
SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 15)).map(lambda one: (one[0], one[0] + one[1])), max_size=6)
KINDS = st.sampled_from(["kafka_offset", "file_line", "kinesis_sequence"])


def marks(wanted, start, stable, *, log=None, compacted=False):
    """What a bus says of the partition of a range."""
    return Watermarks(wanted.topic, wanted.partition, wanted.offset_kind, log or wanted.log_id, None if start is None else str(start),
                      str(stable), str(stable), is_compacted=compacted)


@st.composite
def situations(draw):
    """A range, the spans of an archive, and a bus that may be none, silent, of another log, compacted, or blind to its start."""
    start, first = draw(st.integers(0, 30)), draw(st.integers(0, 50))
    wanted = Range("tx", 0, draw(KINDS), "log1", str(start), str(start + draw(st.integers(1, 30))))
    spans = draw(SPANS)
    bus = draw(st.sampled_from(["none", "silent", "marks", "marks", "marks", "blind", "other", "compacted"]))
    if bus not in ("none", "silent"):
        bus = marks(wanted, None if bus == "blind" else first, first + draw(st.integers(0, 30)), log="log2" if bus == "other" else None,
                    compacted=bus == "compacted")
    return wanted, spans, bus


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
def test_golden_routes(case):
    """Each published situation has its pieces, gaps, overlaps and answer."""
    wanted = Range(**{**GOLDEN["range"], **case.get("range", {})})
    bus = case["bus"]
    if not isinstance(bus, str):
        bus = marks(wanted, *bus, log=case.get("bus_log"), compacted=case.get("compacted", False))
    spans, known = [(int(start), int(end)) for start, end in case["archive"]], [tuple(one) for one in case.get("known", [])]
    found = route(wanted, spans, bus, known=known)
    assert [(piece.holder, piece.start, piece.end) for piece in found.pieces] == [
        (HOLDERS[holder], int(start), int(end)) for holder, start, end in case.get("pieces", [])]
    assert [(gap.why, gap.start, gap.end) for gap in found.gaps] == [
        (why, int(start), int(end)) for why, start, end in case.get("gaps", [])]
    assert list(found.overlaps) == [(int(start), int(end)) for start, end in case.get("overlaps", [])]
    assert found.feasibility == case["answer"]


@settings(max_examples=600, deadline=None)
@given(situations())
def test_every_offset_is_read_once_from_who_has_it_or_is_missing_for_a_reason(situation):
    """Offset by offset: in a piece of the archive iff the archive proves it; else in one of the bus iff that vouches for it; else in a gap.

    The law of intervals is held against the plain question about each single offset.
    """
    wanted, spans, bus = situation
    found = route(wanted, spans, bus)
    ours = isinstance(bus, Watermarks) and bus.log_id == wanted.log_id
    for offset in range(wanted.start, wanted.end):
        archived = any(start <= offset < end for start, end in spans)
        on_bus = ours and bus.log_start is not None and int(bus.log_start) <= offset < int(bus.last_stable)
        vouched = on_bus and not bus.is_compacted
        held = [piece.holder for piece in found.pieces if piece.start <= offset < piece.end]
        why = [gap.why for gap in found.gaps if gap.start <= offset < gap.end]
        assert held == (["archive"] if archived else ["bus"] if vouched else [])
        assert len(held) + len(why) == 1
        assert any(start <= offset < end for start, end in found.overlaps) == (archived and on_bus)
        if why:
            assert why == [_why(offset, bus, ours, has_archive=bool(spans))]


def _why(offset, bus, ours, *, has_archive):
    """Why an offset that neither proves is missing, asked plainly."""
    if bus == "silent":
        return "bus_silent"
    if ours and offset >= int(bus.last_stable):
        return "not_settled"
    if ours and bus.log_start is None:
        return "start_unknown"
    if ours and offset >= int(bus.log_start):
        return "compacted"
    if has_archive:
        return "archive_gap"
    return "unknown_log" if isinstance(bus, Watermarks) and not ours else "retention_exceeded"


@settings(max_examples=300, deadline=None)
@given(situations())
def test_a_route_is_in_order_and_tiles_its_range(situation):
    """Pieces and gaps together are the range, in order and without an empty one; neighbours of one kind are one."""
    wanted, spans, bus = situation
    found = route(wanted, spans, bus)
    parts = sorted([(one.start, one.end, getattr(one, "holder", None) or one.why) for one in (*found.pieces, *found.gaps)])
    assert (parts[0][0], parts[-1][1]) == (wanted.start, wanted.end)
    assert all(left[1] == right[0] and left[2] != right[2] for left, right in pairwise(parts))
    assert all(start < end for start, end, _ in parts)
    assert [one.start for one in found.pieces] == sorted(one.start for one in found.pieces)


@settings(max_examples=300, deadline=None)
@given(situations(), st.integers(2, 10**40))
def test_only_order_matters_never_distance(situation, times):
    """Stretching all offsets by any factor stretches the route: sequences with 10²⁷ numbers between neighbours are as good as lines."""
    wanted, spans, bus = situation
    wanted = replace(wanted, offset_kind="kinesis_sequence")
    bus = replace(bus, offset_kind="kinesis_sequence") if isinstance(bus, Watermarks) else bus
    far = replace(wanted, start_offset=str(wanted.start * times), end_offset=str(wanted.end * times))
    far_bus = bus if isinstance(bus, str) else replace(bus, log_start=None if bus.log_start is None else str(int(bus.log_start) * times),
                                                       last_stable=str(int(bus.last_stable) * times))
    near, stretched = route(wanted, spans, bus), route(far, [(start * times, end * times) for start, end in spans], far_bus)
    assert [(one.holder, one.start * times, one.end * times) for one in near.pieces] == [
        (one.holder, one.start, one.end) for one in stretched.pieces]
    assert [(one.why, one.start * times, one.end * times) for one in near.gaps] == [
        (one.why, one.start, one.end) for one in stretched.gaps]
    assert near.feasibility == stretched.feasibility


@settings(max_examples=200, deadline=None)
@given(situations(), st.data())
def test_asking_in_pieces_changes_nothing(situation, data):
    """A range that is asked for in two parts is read as the whole one is, and is as feasible."""
    wanted, spans, bus = situation
    if wanted.end - wanted.start < 2:
        return
    cut = data.draw(st.integers(wanted.start + 1, wanted.end - 1))
    parts = [route(replace(wanted, end_offset=str(cut)), spans, bus), route(replace(wanted, start_offset=str(cut)), spans, bus)]
    whole = route(wanted, spans, bus)

    def offsets(routes, name):
        return {(getattr(one, "holder", None) or one.why, at) for one_route in routes for one in getattr(one_route, name)
                for at in range(one.start, one.end)}

    assert offsets(parts, "pieces") == offsets([whole], "pieces")
    assert offsets(parts, "gaps") == offsets([whole], "gaps")
    assert worst(part.feasibility for part in parts) == whole.feasibility


@settings(max_examples=300, deadline=None)
@given(situations())
def test_the_answer_says_what_is_missing(situation):
    """Feasible iff nothing is missing; BUS_ONLY iff the bus alone would do; more of an archive never makes an answer worse."""
    wanted, spans, bus = situation
    found = route(wanted, spans, bus)
    assert found.feasibility.startswith("FEASIBLE") == (not found.gaps)
    alone = route(wanted, [], bus)
    assert (found.feasibility == "FEASIBLE_BUS_ONLY") == (not found.gaps and not alone.gaps)
    everything = route(wanted, [*spans, (wanted.start, wanted.end)], bus)
    assert FEASIBILITIES.index(everything.feasibility) >= FEASIBILITIES.index("FEASIBLE_REQUIRES_ARCHIVE")
    assert [piece.holder for piece in everything.pieces] == ["archive"]


def test_answers_are_ordered_from_the_worst():
    """What is lost for good is worse than what cannot be checked, and that is worse than what can be had."""
    assert worst([]) == "FEASIBLE"
    assert worst(["FEASIBLE", "UNCHECKABLE", "FEASIBLE_BUS_ONLY"]) == "UNCHECKABLE"
    assert worst(["UNCHECKABLE", "INFEASIBLE_ARCHIVE_GAP"]) == "INFEASIBLE_ARCHIVE_GAP"


@pytest.mark.parametrize("sample", GOLDEN["samples"], ids=lambda sample: sample["topic"] + str(sample["partition"]))
def test_golden_samples(sample):
    """Which coordinates a sample compares is published: every machine and every release compares the same ones."""
    key = check_key(sample["topic"], sample["partition"], sample["log_id"])
    first = int(sample["first"])
    assert [at - first for at in range(first, first + 20_000) if is_checked_by_hash(key, at)] == sample["checked"]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 5_000))
@example(2**64 - 1, 2**63 - 5_000)
def test_the_kernel_takes_the_coordinates_of_the_law(key, first):
    """The choice over whole stretches is the scalar one, to the coordinate."""
    offsets = np.arange(first, first + 5_000, dtype=np.int64)
    assert offsets[below(mix(key, offsets), (1 << 64) // 1000)].tolist() == [at for at in offsets.tolist() if is_checked_by_hash(key, at)]


def test_a_sample_is_about_a_thousandth_and_has_the_ends():
    """Over a million coordinates the share is 1 ‰; the ends of segments are compared whatever their hash says; off is off, full is all."""
    key = check_key("tx", 0, "log1")
    assert 800 < sum(is_checked_by_hash(key, at) for at in range(1_000_000)) < 1_200
    plain = next(at for at in range(1_000) if not is_checked_by_hash(key, at))
    assert [is_checked("sample", plain, frozenset(ends), key) for ends in ([], [plain])] == [False, True]
    assert (is_checked("off", plain, frozenset([plain]), key), is_checked("full", plain, frozenset(), key)) == (False, True)


def test_a_route_is_told_in_documents():
    """Offsets are text there, and the watermarks stand beside what they decided."""
    (wanted,) = canonical_basis([Range("tx", 0, "kafka_offset", "log1", "100", "400")])
    said = route(wanted, [(0, 300)], marks(wanted, 280, 400)).describe()
    assert said == {"topic": "tx", "partition": 0, "offset_kind": "kafka_offset", "log_id": "log1",
                    "feasibility": "FEASIBLE_REQUIRES_ARCHIVE",
                    "pieces": [{"holder": "archive", "start_offset": "100", "end_offset": "300"},
                               {"holder": "bus", "start_offset": "300", "end_offset": "400"}],
                    "gaps": [], "overlaps": [{"start_offset": "280", "end_offset": "300"}],
                    "watermarks": {"log_start": "280", "last_stable": "400", "end": "400", "is_compacted": False}}
