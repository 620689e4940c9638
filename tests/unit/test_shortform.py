"""The short form is a spelling: expanded, listed, and of one meaning with the long form."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from asking import FILL_INS, SHORT, closure, full, plane

from offline_feature_plane.contracts.intent_rules import parse_intent
from offline_feature_plane.contracts.meaning import identity
from offline_feature_plane.corridor.shortform import FillIns, expand, is_long_form, read_short, write_pin
from offline_feature_plane.documents import load_yaml
from offline_feature_plane.domain.basis import Range, describe_basis
from offline_feature_plane.domain.identity import dataset_fingerprint
from offline_feature_plane.errors import LabelAsofMissing, OfsError, SchemaInvalid, Unpinned

CONFIG = "sha256:" + "9" * 64


def expanded(text=SHORT, fill_ins=FILL_INS, more=""):
    """Full document and fills of a short form's text."""
    return expand(load_yaml(text).value, settings=plane(more), fill_ins=fill_ins)


def fingerprint(document):
    """The fingerprint over the test's closure."""
    return dataset_fingerprint(identity(parse_intent(document), closure=closure(), config_digest=CONFIG))


def told(text, **settings):
    """Path → code of every problem of a short form."""
    with pytest.raises(OfsError) as caught:
        expanded(text, **settings)
    return {problem.path: problem.code for problem in caught.value.problems}


def test_both_forms_have_one_fingerprint():
    """The short form, its pin and the hand-written long form mean the same, and the pin has nothing left to fill."""
    document, filled = expanded()
    pinned, nothing = expanded(write_pin(document))
    assert pinned == document
    assert nothing == []
    assert filled
    assert fingerprint(document) == fingerprint(pinned) == fingerprint(full())


def test_the_pin_is_stable_and_in_the_contracts_order():
    """`ofs pin` prints the same text every time, the schema version first and the actor last."""
    text = write_pin(expanded()[0])
    assert text == write_pin(expanded(SHORT + "cold_rows: mark\nidentifiers: tokenized\n")[0])
    assert text.startswith("schema_version: learning.ofs_build_intent.v1\n")
    assert text.rstrip().endswith("source: os_user")


def test_everything_filled_is_listed_with_its_origin():
    """Each fill has path, value and origin, and nothing that was written counts as filled."""
    _document, filled = expanded()
    origin = {one["path"]: one["from"] for one in filled}
    assert origin["$.platform_run_id"] == "plane.yaml"
    assert origin["$.ofs_code_release_id"] == "installed code"
    assert origin["$.replay_basis"] == origin["$.label_basis.store"] == "bytes at hand"
    assert origin["$.feature_definition_set"] == "profile"
    assert origin["$.cold_rows"] == origin["$.coverage_policy.answered_min.chargeback"] == "schema constant"
    assert not {path for path in origin if path.startswith(("$.label_basis.label_asof", "$.label_basis.maturity", "$.target", "$.splits"))}
    _, fewer = expanded(SHORT + "cold_rows: mark\npolicy_revision: r1\n")
    assert {one["path"] for one in filled} - {one["path"] for one in fewer} == {"$.cold_rows", "$.policy_revision"}


@pytest.mark.parametrize(("field", "code"), [("as_of: 2026-09-01T00:00:00Z, ", "LABEL_ASOF_MISSING"),
                                             (", maturity_days: 90", "LABEL_ASOF_MISSING"),
                                             ("unlabeled: negative_when_mature, ", "LABEL_POLICY_INVALID"),
                                             ("positive: [CHARGEBACK], ", "LABEL_POLICY_INVALID")])
def test_what_only_the_asker_knows_is_never_filled(field, code):
    """as_of, maturity_days, unlabeled and positive must be written."""
    assert field in SHORT
    name = field.strip(", ").split(":")[0]
    assert told(SHORT.replace(field, "")) == {f"$.label.{name}": code}


def test_maturity_may_be_declared_absent():
    """`maturity_days: null` is an answer, a missing line is none."""
    document, _ = expanded(SHORT.replace("maturity_days: 90", "maturity_days: null").replace("negative_when_mature", "refuse"))
    assert document["label_basis"]["maturity_days"] is None


def test_no_target_must_be_said():
    """`target: none` gives label columns without a target, and then tolerates none of its fields."""
    document, _ = expanded(SHORT.replace("positive: [CHARGEBACK], ", "target: none, ").replace("unlabeled: negative_when_mature, ", ""))
    assert document["target"] is None
    assert document["label_basis"]["label_types"] == ["chargeback"]
    assert told(SHORT.replace("positive:", "target: none, positive:")) == {"$.label.positive": "LABEL_POLICY_INVALID",
                                                                           "$.label.unlabeled": "LABEL_POLICY_INVALID"}


def test_strict_planes_want_everything_written():
    """A strict plane refuses a short form with the list of fills, and builds its pin."""
    with pytest.raises(Unpinned) as caught:
        expanded(more="strict: true\n")
    assert len(caught.value.problems) > 10
    assert "ofs pin" in str(caught.value)
    document, _ = expanded()
    assert expand(document, settings=plane("strict: true\n"), fill_ins=FILL_INS) == (document, [])


def test_problems_stand_where_they_were_written():
    """Mistakes that only the full form shows are told at the short form's own places, all at once."""
    bad = """
rwos: x
features: features.yaml
label: {type: chargeback, positive: [], as_of: now, unlabeled: maybe, maturity_days: 90, coverage: 1.5}
splits: {train: [2026-01-01, 2025-01-01], test: [2026-01-01, 2026-07-01]}
sampling: {seed: 1, rates: {x: 3}}
identifiers: {mode: raw}
supersedes: dm_1
"""
    assert told(bad) == {"$.rwos": "SCHEMA_INVALID", "$.rows": "SCHEMA_INVALID", "$.label.as_of": "LABEL_ASOF_MISSING",
                         "$.label.unlabeled": "LABEL_POLICY_INVALID", "$.label.positive": "LABEL_POLICY_INVALID",
                         "$.label.coverage": "LABEL_POLICY_INVALID", "$.splits.train": "SCHEMA_INVALID",
                         "$.sampling.rates.x": "SCHEMA_INVALID",
                         "$.identifiers.reason": "SCHEMA_INVALID", "$.supersedes": "SUPERSESSION_LINK_INVALID",
                         "$.backfill_reason": "SUPERSESSION_LINK_INVALID"}
    assert told(SHORT.replace("2026-06-01", "2026-06-04")) == {"$.splits.test[1]": "LEAKAGE_POLICY_VIOLATION"}
    assert told(SHORT.replace("negative_when_mature", "exclude")) == {"$.label.coverage": "LABEL_POLICY_INVALID"}
    assert told("label: 5") == {"$.rows": "SCHEMA_INVALID", "$.features": "FEATURE_PROFILE_UNRESOLVED", "$.label": "LABEL_ASOF_MISSING"}


def test_dates_of_python_are_instants():
    """A mapping that a program made may hold dates and UTC instants of Python; it means what its text means."""
    document = load_yaml(SHORT).value
    split = document["splits"]["test"]
    told = {**document, "label": {**document["label"], "as_of": datetime.fromisoformat(document["label"]["as_of"]).replace(tzinfo=UTC)},
            "splits": {**document["splits"], "test": [date.fromisoformat(split[0]), split[1]]}}
    assert told != document
    assert expand(told, settings=plane(), fill_ins=FILL_INS) == expanded()


@pytest.mark.parametrize("moment", [datetime(2026, 9, 1), datetime(2026, 9, 1, tzinfo=timezone(timedelta(hours=2)))])  # noqa: DTZ001
def test_an_instant_of_python_needs_utc(moment):
    """An instant without a zone, or in another one, is refused at its place, as text would be."""
    document = load_yaml(SHORT).value
    with pytest.raises(LabelAsofMissing, match="write it as") as caught:
        expand({**document, "label": {**document["label"], "as_of": moment}}, settings=plane(), fill_ins=FILL_INS)
    assert [one.path for one in caught.value.problems] == ["$.label.as_of"]


@pytest.mark.parametrize("document", [None, [], 5, "text"])
def test_no_mapping_is_no_intent(document):
    """Whatever is no mapping is refused by name."""
    with pytest.raises(SchemaInvalid):
        expand(document, settings=plane(), fill_ins=FILL_INS)
    with pytest.raises(SchemaInvalid):
        read_short(document)
    assert not is_long_form(document)


def test_a_long_form_with_a_foreign_version_stays_a_long_form():
    """A document that names a schema is judged by it, not taken for a short form."""
    with pytest.raises(SchemaInvalid) as caught:
        expand({"schema_version": "learning.ofs_build_intent.v0", "rows": "x"}, settings=plane(), fill_ins=FILL_INS)
    assert caught.value.problems[0].path == "$.schema_version"


def test_numbers_become_exact_text():
    """Shares and seeds may be written as numbers; in the contract they are their plain decimal text."""
    text = SHORT.replace("negative_when_mature",
                         "exclude, coverage: 0.95, conflicts: 0.00001") + "sampling: {seed: 7, rates: {negative: 0.1, positive: 1}}\n"
    document, _ = expanded(text)
    assert document["coverage_policy"] == {"answered_min": {"chargeback": "0.95"}, "conflicts_max": "0.00001"}
    assert document["sampling"] == {"rule": "keyed_hash.v1", "seed": "7", "rates": {"negative": "0.1", "positive": "1"}, "by": None}


def test_what_is_not_at_hand_cannot_be_filled():
    """No single feature set, no token key, no timeline of a type that features look at: named, not guessed."""
    poor = FillIns(code_release_id="x", actor=("a", "declared"), basis=FILL_INS.basis, label_logs={})
    assert told(SHORT, fill_ins=FillIns(**{**vars(poor), "feature_label_types": ("chargeback",)})) == {
        "$.set": "FEATURE_PROFILE_UNRESOLVED", "$.identifiers": "SETTINGS_INVALID", "$.features": "LABEL_TYPE_SCOPE_UNRESOLVED",
        "$.label.type": "LABEL_TYPE_SCOPE_UNRESOLVED"}
    assert "$.replay_basis" in told(SHORT, fill_ins=FillIns(**{**vars(FILL_INS), "basis": ()}))


def test_archives_and_selectors():
    """Archives are filled as the ranges at hand; a written selector replaces them."""
    archive = FillIns(**{**vars(FILL_INS), "basis": tuple(describe_basis([Range("transaction", 0, "file_line", "log", "0", "9")]))})
    assert expanded(fill_ins=archive)[0]["replay_basis"][0]["end_offset"] == "9"
    chosen, filled = expanded(SHORT + "replay_basis: [{topic: transaction, from_utc: 2026-01-01, to_utc: 2026-02-01}]\n", fill_ins=archive)
    assert chosen["replay_basis"][0]["from_utc"] == "2026-01-01T00:00:00.000000Z"
    assert "$.replay_basis" not in {one["path"] for one in filled}


def test_read_short_tells_what_to_look_at():
    """Before anything is pinned, the short form says which rows, profile and labels it speaks of."""
    short = read_short(load_yaml(SHORT + "labels: [fraud]\n").value)
    assert (short.rows, short.features, short.label.type, short.labels) == ("transaction", "features.yaml", "chargeback", ["fraud"])
    with pytest.raises(LabelAsofMissing):
        read_short({"rows": "x", "features": "y"})


@pytest.mark.parametrize(("old", "new", "path"), [
    ("rows:", "foo: 1\nrows:", "$.foo"), ("splits:", "splts:", "$.splts"), ("positive:", "positiv:", "$.label.positiv"),
    ("rows:", "request_id: a b\nrows:", "$.request_id"), ("rows:", "labels: [nope]\nrows:", "$.labels[0]")])
def test_one_mistake_is_one_problem(old, new, path):
    """What was never looked for, because the form is broken, is not told as missing."""
    assert old in SHORT
    found = told(SHORT.replace(old, new, 1), fill_ins=FillIns(**{**vars(FILL_INS), "label_logs": {}, "feature_label_types": ()}))
    found.pop("$.label.positive", None)  # the one that is missing, for the one that is misspelled
    assert list(found) == [path]


@pytest.mark.parametrize("span", ["[2026-01-01]", "[2026-01-01, 2026-02-01, 2026-03-01]", "{from: 2026-01-01}", "[]"])
def test_a_split_is_two_instants(span):
    """Another number of instants is told in the words of splits."""
    with pytest.raises(OfsError, match=r"a split is \[from, to\): two instants, not") as caught:
        expanded(SHORT.replace("train: [2026-01-01, 2026-04-01]", f"train: {span}"))
    assert [problem.path for problem in caught.value.problems] == ["$.splits.train"]
