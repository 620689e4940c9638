"""Whether a training may take datasets: golden cases of a pure function over what manifests say and what a training wants."""

from pathlib import Path

import pytest

from offline_feature_plane.documents import load_yaml
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.domain.intake import Demand, Offer, judge_intake
from offline_feature_plane.errors import ManifestRefMissing, all_codes

GOLDEN = load_yaml((Path(__file__).parents[1] / "golden/intake/cases.yaml").read_bytes(), name="cases.yaml").value
CHECKS = ["run_scope", "schema_version", "feature_set", "one_meaning", "eligibility", "standing", "leakage_guard"]


def offer_of(changes):
    """The sound offer with changes."""
    said = GOLDEN["offer"] | changes
    return Offer(**said | {"reasons": tuple(said.get("reasons", ())), "evaluations": tuple(map(tuple, said.get("evaluations", ())))})


def demand_of(changes):
    """The sound demand with changes."""
    said = GOLDEN["demand"] | (GOLDEN["nothing"] if changes == "nothing" else changes)
    return Demand(execution_start_us=parse_instant(said.pop("execution_start_utc")), **said)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
def test_an_intake_answers_as_written(case):
    """Every check is told in its order; the ones that fail have the code and the sentences of the case, all others pass."""
    found = judge_intake([offer_of(one) for one in case["offers"]], demand_of(case.get("demand", {})))
    assert [check.gate for check in found] == CHECKS
    assert [[check.gate, check.reason_code, *check.sentences] for check in found if not check.passed] == case.get("fails", [])
    assert all(check.reason_code in all_codes() for check in found if not check.passed)


def test_an_intake_of_nothing_is_refused():
    """Without a dataset there is nothing to be right about."""
    with pytest.raises(ManifestRefMissing):
        judge_intake([], demand_of({}))
