"""Several label types as one target: what decides, what stays open and why, and that one meaning has one spelling (D24)."""

import json
import re
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from offline_feature_plane.domain.accounting import answer_of, target_of
from offline_feature_plane.domain.combining import ANSWERS, MAX_DEPTH, combine, parse_combination, text_of
from offline_feature_plane.domain.resolution import CONFLICT, NOT_FOUND, Resolution
from offline_feature_plane.domain.rows import CombinedTarget, Target
from offline_feature_plane.engines.local.labels import STATUSES, ResolvedType
from offline_feature_plane.engines.local.targets import find_targets

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "labels" / "combinations.json").read_text(encoding="utf-8"))
SIGNS = dict(zip("-?!+", ANSWERS, strict=True))
OPEN = ("unlabeled", "conflict")
NAMES = ("a", "b", "c")


def every_text(names=NAMES):
    """Every formula over three names, each once: both shapes, both words, `not` wherever it may stand."""
    nots = ("", "not ")
    for (one, two, three), (outer, inner), signs in product(permutations(names), product(("and", "or"), repeat=2), product(nots, repeat=5)):
        first, pair = f"{signs[0]}{one}", f"{signs[1]}({signs[2]}{two} {inner} {signs[3]}{three})"
        yield f"{signs[4]}({first} {outer} {pair})"
        yield f"{signs[4]}({pair} {outer} {first})"


EVERY = {text: parse_combination(text, NAMES) for text in every_text()}
CANONICAL = {text_of(found): found for found in EVERY.values()}


def told(combination, answers, names=NAMES):
    """The combined answer."""
    return combine(combination, dict(zip(names, answers, strict=True)))


@pytest.mark.parametrize("golden", GOLDEN["tables"], ids=lambda one: one["combine"])
def test_truth_tables_of_two(golden):
    """`or` and `and` decide where one operand does; what is open is a conflict if an operand that matters is one."""
    found = parse_combination(golden["combine"], golden["types"])
    assert text_of(found) == golden["canonical"]
    for first, row in zip(ANSWERS, golden["rows"], strict=True):
        assert [told(found, (first, second), golden["types"]) for second in ANSWERS] == [SIGNS[sign] for sign in row]


@pytest.mark.parametrize("golden", GOLDEN["cases"], ids=lambda one: one["combine"])
def test_cases_of_three(golden):
    """Brackets and `not` as they read."""
    found = parse_combination(golden["combine"], golden["types"])
    assert text_of(found) == golden["canonical"]
    for given, expected in golden["answers"].items():
        assert told(found, [SIGNS[sign] for sign in given], golden["types"]) == SIGNS[expected], given


@pytest.mark.parametrize(("text", "why"), GOLDEN["refused"])
def test_there_are_no_other_words(text, why):
    """The grammar is closed, each type is named once, and the sentence says where it went wrong."""
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_combination(text, ["a", "b"])


@pytest.mark.parametrize("text", ["(" * 5_000 + "a", "not " * 200 + "a or b",
                                  "(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1) + " or b"])
def test_depth_and_length_are_bounded(text):
    """No text exhausts the stack."""
    with pytest.raises(ValueError, match=r"limit|deeper"):
        parse_combination(text, ["a", "b"])


def test_one_meaning_has_one_spelling():
    """Of all formulas over three types, two have one text iff they say the same in every case: iff they agree where all is known."""
    whole, known = {}, {}
    for text, found in EVERY.items():
        whole[text] = tuple(told(found, answers) for answers in product(ANSWERS, repeat=3))
        known[text] = tuple(told(found, answers) for answers in product(("negative", "positive"), repeat=3))
    pairs = {(text_of(EVERY[text]), whole[text], known[text]) for text in EVERY}
    assert len(pairs) == len({one[0] for one in pairs}) == len({one[1] for one in pairs}) == len({one[2] for one in pairs})
    assert all(text_of(parse_combination(text, NAMES)) == text for text in CANONICAL)


def test_an_answer_is_one_however_the_rest_turns_out():
    """Positive iff positive however the open ones are settled, negative alike; else a conflict iff one could still change the answer."""
    sides = ("negative", "positive")
    for found in CANONICAL.values():
        for answers in product(ANSWERS, repeat=3):
            settled = list(product(*(sides if one in OPEN else (one,) for one in answers)))
            ends = {told(found, one) for one in settled}
            matters = {place for one in settled for place in range(3) if answers[place] == "conflict" and len(
                {told(found, (*one[:place], side, *one[place + 1:])) for side in sides}) == 2}
            expected = ends.pop() if len(ends) == 1 else "conflict" if matters else "unlabeled"
            assert told(found, answers) == expected, (text_of(found), answers)


LABELS = {"-": Resolution("RESOLVED", "NO", 1, None), "+": Resolution("RESOLVED", "YES", 1, None),
          "?": Resolution("RESOLVED", "MAYBE", 1, None), "!": CONFLICT, ".": NOT_FOUND}


@pytest.mark.parametrize("rules", list(product(["exclude", "negative_when_mature"], repeat=3)))
def test_engines_combine_as_the_law_says(rules):
    """In bulk and one by one: all labels of three types, mature and not, silence by the rule of each type."""
    parts = tuple(Target(name, ("YES",), ("NO",), rule) for name, rule in zip(NAMES, rules, strict=True))
    rows = [(*signs, mature) for *signs, mature in product(LABELS, LABELS, LABELS, (True, False))]
    mature = np.array([row[3] for row in rows])
    states = {name: _states(name, [row[place] for row in rows]) for place, name in enumerate(NAMES)}
    for text in ("a or b or c", "not a and (b or not c)", "(a or b) and c"):
        target = CombinedTarget(parts, parse_combination(text, NAMES))
        expected = [answer_of(dict(zip(NAMES, map(LABELS.get, row[:3]), strict=True)), target, mature=row[3]) for row in rows]
        found, unlabeled, conflicting = find_targets(np.arange(len(rows)), mature, target, states)
        assert [None if one < 0 else one for one in found.tolist()] == [target_of(one) for one in expected]
        assert unlabeled.tolist() == [one == "unlabeled" and row[3] for one, row in zip(expected, rows, strict=True)]
        assert conflicting.tolist() == [one == "conflict" and row[3] for one, row in zip(expected, rows, strict=True)]


def _states(name, signs):
    values = ["YES", "NO", "MAYBE"]
    status = np.array([STATUSES.index(LABELS[sign].status) for sign in signs], np.int8)
    codes = np.array([values.index(LABELS[sign].value) if LABELS[sign].value else -1 for sign in signs], np.int32)
    nothing = np.full(len(signs), -1, np.int32)
    return ResolvedType(name, status, codes, pa.array(values), np.zeros(len(signs), np.int64), nothing, pa.array([], pa.string()), None)
