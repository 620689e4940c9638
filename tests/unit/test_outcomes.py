"""What becomes of a build whose basis is not whole: one table, published as vectors and in the docs."""

import re
from pathlib import Path
from typing import get_args

import pytest

from offline_feature_plane.documents import load_yaml
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.completeness import Completeness, SegmentEvidence, assess, refusal
from offline_feature_plane.domain.cutover import Watermarks, Why
from offline_feature_plane.domain.outcomes import (
    OUTCOMES,
    USES,
    DeclaredWhy,
    Situation,
    answer_of,
    is_refused,
    outcome_of,
    situation_of,
    use_of,
)

ROOT = Path(__file__).parents[2]
GOLDEN = load_yaml((ROOT / "tests/golden/outcomes/outcomes.yaml").read_bytes(), name="outcomes.yaml").value
DOCS = (ROOT / "docs/buses-and-archives.md").read_text(encoding="utf-8")
WORDS = {"refused": "refused", "incomplete, if declared": "declared", "recorded": "recorded", "UNCHECKABLE": "uncheckable"}
WANTED = Range("tx", 0, "kafka_offset", "log1", "100", "400")


def test_the_table_is_the_published_one():
    """Every situation, each use, nothing beside them."""
    assert tuple(GOLDEN["uses"]) == USES
    assert {situation: list(by_use.values()) for situation, by_use in OUTCOMES.items()} == GOLDEN["outcomes"]
    assert OUTCOMES.keys() == {*get_args(Why), *get_args(get_args(Situation)[1])}


def test_the_table_of_the_docs_is_the_law():
    """Each line of the page names its situations, and says of each use what the law does."""
    told = {}
    for line in re.findall(r"^\| .*<!-- (.*?) --> \|(.*)\|$", DOCS, re.MULTILINE):
        names, cells = line[0].split(), [cell.strip() for cell in line[1].split("|")]
        told |= {name: [WORDS[next(word for word in WORDS if cell.startswith(word))] for cell in cells] for name in names}
    assert told == GOLDEN["outcomes"]


@pytest.mark.parametrize("case", GOLDEN["answers"], ids=lambda case: f"{case['use']}-{'-'.join(case['wrong'])}-{case['lacks']}")
def test_golden_answers(case):
    """What a plan answers of a basis that is not refused."""
    assert answer_of(case["use"], case["wrong"], lacks=case["lacks"]) == case["answer"]


def test_a_training_is_never_built_from_what_is_not_whole():
    """Whatever the situation; and what an intent may declare is what is missing of a log that somebody knows."""
    assert {outcome_of("training", situation) for situation in OUTCOMES} == {"refused"}
    assert {situation for situation in OUTCOMES if outcome_of("other", situation) == "declared"} == set(get_args(DeclaredWhy))
    assert not any(is_refused("parity", situation) for situation in OUTCOMES if situation != "unknown_partition")


@pytest.mark.parametrize(("kind", "purpose", "use"), [
    ("dataset_build", "training", "training"), ("dataset_build", "non_training", "other"), ("parity_rebuild", "non_training", "parity"),
    ("forensic_rebuild", "non_training", "forensic")])
def test_what_a_build_is_for(kind, purpose, use):
    """By the kind of the intent, then by its purpose."""
    assert use_of(kind, purpose) == use


def verdicts():
    """A verdict for every situation that planning can meet."""
    def segment(first, after, digest="a", log="log1", partition=0):
        return SegmentEvidence("tx", partition, "kafka_offset", log, f"{first}-{digest}", str(first), None, str(after), 1, digest)

    def marks(start, stable, **changes):
        return [Watermarks(**{"topic": "tx", "partition": 0, "offset_kind": "kafka_offset", "log_id": "log1", "log_start": start,
                              "last_stable": stable, "end": stable} | changes)]
    return {"retention_exceeded": assess([WANTED], [], marks("200", "400")), "archive_gap": assess([WANTED], [segment(0, 200)]),
            "not_settled": assess([WANTED], [], marks("0", "390")), "bus_silent": assess([WANTED], [segment(0, 200)], "silent"),
            "start_unknown": assess([WANTED], [], marks(None, "400")),
            "compacted": assess([WANTED], [], marks("0", "400", is_compacted=True)),
            "unknown_log": assess([WANTED], [segment(0, 400, log="log2")]),
            "unknown_partition": assess([WANTED], [segment(0, 400, partition=1)]),
            "segments_disagree": assess([WANTED], [segment(0, 400), segment(0, 400, "b")])}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(("situation", "verdict"), verdicts().items(), ids=lambda one: "" if isinstance(one, Completeness) else one)
def test_who_plans_asks_the_table(use, situation, verdict):
    """A basis is refused iff the table says so, and where a declaration would do the advice has it."""
    (anomaly,) = verdict.anomalies
    assert situation_of(anomaly.code, anomaly.why) == situation
    wrong = refusal(verdict, use)
    assert (wrong is not None) == is_refused(use, situation)
    assert ("gaps: as_found" in str(wrong)) == (outcome_of(use, situation) == "declared")
    if wrong is None:
        assert verdict.answer(use) == ("UNCHECKABLE" if use == "parity" else "INCOMPLETE")
