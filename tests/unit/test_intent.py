"""The BuildIntent: closed, pinned, and refused with every problem at once."""

import pytest
from asking import LOG, closure, full

from offline_feature_plane.contracts.intent_rules import find_intent_problems, parse_intent
from offline_feature_plane.contracts.meaning import identity
from offline_feature_plane.corridor.intent_task import fields_read, task_of
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.identity import dataset_fingerprint
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.domain.rows import Split, TokenKey
from offline_feature_plane.errors import ExpressionInvalid, IntentKindUnsupported, OfsError, SchemaInvalid, SettingsInvalid

CONFIG = "sha256:" + "9" * 64
KEY = TokenKey("0" * 16, b"secret")


def told(document):
    """Path → code of every problem."""
    return {problem.path: problem.code for problem in find_intent_problems(document)}


def fingerprint(document, **facts):
    """The fingerprint of a full form over the test's closure."""
    return dataset_fingerprint(identity(parse_intent(document), closure=closure(), config_digest=CONFIG, **facts))


def test_a_good_intent_is_written_out():
    """Defaults and canonical spellings stand in the document, which reads back as itself."""
    intent = parse_intent(full())
    document = intent.document()
    assert parse_intent(document) == intent
    assert parse_intent(document).document() == document
    assert document["label_basis"]["label_asof_utc"] == "2026-09-01T00:00:00.000000Z"
    assert document["label_basis"]["immature"] == "exclude"
    assert document["coverage_policy"] == {"answered_min": {"chargeback": "1"}, "conflicts_max": "0"}
    assert intent.purpose == "training"
    assert {"request_id", "actor"} & intent.payload("sha256:0").keys() == set()


FIELDS = {"request_id": "REQUEST_ID_INVALID", "intent_kind": "INTENT_KIND_UNSUPPORTED", "platform_run_id": "RUN_SCOPE_INVALID",
          "replay_basis": "BASIS_UNRESOLVED", "label_basis": "LABEL_ASOF_MISSING", "label_basis__label_asof_utc": "LABEL_ASOF_MISSING",
          "label_basis__maturity_days": "LABEL_ASOF_MISSING", "feature_definition_set": "FEATURE_PROFILE_UNRESOLVED",
          "feature_definition_set__feature_set_version": "FEATURE_PROFILE_UNRESOLVED", "run_facts_ref": "RUN_FACTS_UNAVAILABLE",
          "policy_revision": "POLICY_REVISION_MISSING", "config_revision": "CONFIG_REVISION_MISSING",
          "ofs_code_release_id": "CODE_RELEASE_MISSING", "target": "LABEL_POLICY_INVALID", "target__unlabeled": "LABEL_POLICY_INVALID",
          "schema_version": "SCHEMA_INVALID", "actor": "SCHEMA_INVALID", "label_basis__label_types": "LABEL_TYPE_SCOPE_UNRESOLVED"}


@pytest.mark.parametrize(("name", "code"), [item for item in FIELDS.items() if item[0] != "request_id"])
def test_absent_and_blank_have_the_same_code(name, code):
    """A missing field and a blank one get the code of their place, never of a message's words."""
    path = "$." + name.replace("__", ".")
    assert told(full(**{name: ...}))[path] == code
    assert told(full(**{name: " "}))[path] == code


@pytest.mark.parametrize(("path", "change", "word"), [
    ("$.filters", {"filters": {"country": "FR"}}, "`where`"),
    ("$.join_scope.join_sources", {"join_scope__join_sources": ["m"]}, "`contexts:`"),
    ("$.join_scope.subject_key", {"join_scope__subject_key": "who"}, "with their key"),
    ("$.join_scope.label_types", {"join_scope__label_types": ["fraud"]}, "label_basis.label_types"),
    ("$.contexts", {"contexts": {}}, "feature set")])
def test_what_stands_elsewhere_is_told_where(path, change, word):
    """What the open members of older intents held is refused with the place at which it is said now; nothing of it is ignored."""
    problem = next(one for one in find_intent_problems(full(**change)) if one.path == path)
    assert word in problem.sentence
    assert "no such field" not in problem.sentence


def test_an_empty_document_is_told_everything():
    """All required fields are named at once."""
    assert len(told({})) == 15
    assert set(told([])) == {"$"}


WRONG = [
    ({"request_id": "short"}, "$.request_id", "REQUEST_ID_INVALID"), ({"request_id": "with blank"}, "$.request_id", "REQUEST_ID_INVALID"),
    ({"schema_version": "learning.ofs_build_intent.v2"}, "$.schema_version", "SCHEMA_INVALID"),
    ({"platform_run_id": "../x"}, "$.platform_run_id", "RUN_SCOPE_INVALID"), ({"scenario_run_ids": ["ok", ""]}, "$.scenario_run_ids[1]",
                                                                              "RUN_SCOPE_INVALID"),
    ({"replay_basis": []}, "$.replay_basis", "BASIS_UNRESOLVED"), ({"replay_basis": [5]}, "$.replay_basis[0]", "BASIS_UNRESOLVED"),
    ({"replay_basis": [{"topic": "t", "partition": 0, "offset_kind": "file_line", "start_offset": "5", "end_offset": "5", "log_id": "l"}]},
     "$.replay_basis[0]", "BASIS_UNRESOLVED"),
    ({"replay_basis": [{"topic": "t", "partition": -1, "offset_kind": "file_line", "start_offset": "5", "end_offset": "6", "log_id": "l"}]},
     "$.replay_basis[0].partition", "BASIS_UNRESOLVED"),
    ({"replay_basis": [{"topic": "t", "from_utc": "2026-01-02", "to_utc": "2026-01-01"}]}, "$.replay_basis[0]", "BASIS_UNRESOLVED"),
    ({"replay_basis": [{"topic": "t", "files": ["../x"], "log_id": LOG}]}, "$.replay_basis[0]", "BASIS_UNRESOLVED"),
    ({"replay_basis": [{"topic": "t", "files": ["x"], "log_id": LOG}] * 2}, "$.replay_basis[1]", "BASIS_UNRESOLVED"),
    ({"replay_basis": [{"topic": "t", "files": ["x"], "log_id": "latest"}]}, "$.replay_basis[0].log_id", "BASIS_UNRESOLVED"),
    ({"label_basis__label_asof_utc": "yesterday"}, "$.label_basis.label_asof_utc", "LABEL_ASOF_MISSING"),
    ({"label_basis__label_asof_utc": "2026-09-01T00:00:00+02:00"}, "$.label_basis.label_asof_utc", "LABEL_ASOF_MISSING"),
    ({"label_basis__label_asof_utc": "2026-02-30"}, "$.label_basis.label_asof_utc", "LABEL_ASOF_MISSING"),
    ({"label_basis__label_asof_utc": "2026-09-01T00:00:00"}, "$.label_basis.label_asof_utc", "LABEL_ASOF_MISSING"),
    ({"label_basis__resolution_rule": "newest"}, "$.label_basis.resolution_rule", "RULE_NOT_SUPPORTED"),
    ({"label_basis__maturity_days": -1}, "$.label_basis.maturity_days", "LABEL_ASOF_MISSING"),
    ({"label_basis__maturity_days": True}, "$.label_basis.maturity_days", "LABEL_ASOF_MISSING"),
    ({"label_basis__maturity_days": None}, "$.target.unlabeled", "LABEL_POLICY_INVALID"),
    ({"label_basis__label_types": ["other"], "label_basis__store": {"other": "l"}}, "$.label_basis.label_types",
     "LABEL_TYPE_SCOPE_UNRESOLVED"),
    ({"label_basis__label_types": [], "target": None}, "$.label_basis.label_types", "LABEL_TYPE_SCOPE_UNRESOLVED"),
    ({"label_basis__store": {}}, "$.label_basis.store", "LABEL_TYPE_SCOPE_UNRESOLVED"),
    ({"target__positive": []}, "$.target.positive", "LABEL_POLICY_INVALID"),
    ({"target__negative": ["CHARGEBACK", "x"]}, "$.target.negative", "LABEL_POLICY_INVALID"),
    ({"target__unlabeled": "exclude"}, "$.coverage_policy.answered_min", "LABEL_POLICY_INVALID"),
    ({"coverage_policy": {"answered_min": {"chargeback": "1.5"}}}, "$.coverage_policy.answered_min.chargeback", "LABEL_POLICY_INVALID"),
    ({"coverage_policy": {"answered_min": {"other": "1"}}}, "$.coverage_policy.answered_min", "LABEL_POLICY_INVALID"),
    ({"splits": [], "disjoint_by": "customer_id"}, "$.disjoint_by", "SCHEMA_INVALID"),
    ({"splits": [], "gap": "7d"}, "$.gap", "SCHEMA_INVALID"),
    ({"gap": "soon"}, "$.gap", "SCHEMA_INVALID"), ({"gap": "8d"}, "$.splits[1]", "LEAKAGE_POLICY_VIOLATION"),
    ({"sampling": {"seed": "s", "rates": {"negative": "0"}}}, "$.sampling.rates.negative", "SCHEMA_INVALID"),
    ({"sampling": {"seed": "s", "rates": {"negative": 0.5}}}, "$.sampling.rates.negative", "SCHEMA_INVALID"),
    ({"identifiers": {"mode": "raw"}}, "$.identifiers.reason", "SCHEMA_INVALID"), ({"identifiers": {"mode": "x"}}, "$.identifiers",
                                                                                   "SCHEMA_INVALID"),
    ({"join_scope": {"required_output_ids": ["o"]}}, "$.run_facts_ref", "RUN_FACTS_UNAVAILABLE"),
    ({"supersedes": "dm_" + "0" * 32}, "$.backfill_reason", "SUPERSESSION_LINK_INVALID"),
    ({"backfill_reason": "late data"}, "$.supersedes", "SUPERSESSION_LINK_INVALID"), ({"supersedes": "dm_1", "backfill_reason": "x"},
                                                                                      "$.supersedes", "SUPERSESSION_LINK_INVALID"),
    ({"parity_anchor_ref": "x"}, "$.parity_anchor_ref", "INTENT_KIND_UNSUPPORTED"), ({"filters": {}}, "$.filters", "SCHEMA_INVALID"),
    ({"label_basis__colour": 1}, "$.label_basis.colour", "SCHEMA_INVALID"), ({"non_training_allowed": "yes"}, "$.non_training_allowed",
                                                                             "SCHEMA_INVALID"),
]


@pytest.mark.parametrize(("changes", "path", "code"), WRONG)
def test_one_wrong_field_is_one_problem(changes, path, code):
    """What is wrong is named by its own place and code, with a sentence, and nothing else is blamed."""
    problems = find_intent_problems(full(**changes))
    assert [(problem.path, problem.code) for problem in problems] == [(path, code)]
    assert len(problems[0].sentence) > 10
    assert "pydantic" not in problems[0].sentence


def test_many_problems_at_once():
    """Problems of shape and problems across fields are told together, the first giving the code."""
    document = full(label_basis__label_asof_utc="now", policy_revision="", polcy="x", target__negative=["CHARGEBACK"])
    document["splits"] = [{"name": "Train", "from_utc": "2026-01-01", "to_utc": "2026-02-01"},
                          {"name": "b", "from_utc": "2026-03-01", "to_utc": "2026-02-01"},
                          {"name": "c", "from_utc": "2026-01-01", "to_utc": "2026-02-10"},
                          {"name": "c", "from_utc": "2026-02-09", "to_utc": "2026-02-20"}]
    with pytest.raises(OfsError) as caught:
        parse_intent(document)
    assert told(document) == {"$.label_basis.label_asof_utc": "LABEL_ASOF_MISSING", "$.splits[0].name": "SCHEMA_INVALID",
                              "$.policy_revision": "POLICY_REVISION_MISSING", "$.polcy": "SCHEMA_INVALID",
                              "$.target.negative": "LABEL_POLICY_INVALID", "$.splits": "SCHEMA_INVALID", "$.splits[1]": "SCHEMA_INVALID",
                              "$.splits[3]": "SCHEMA_INVALID"}
    assert caught.value.code == "LABEL_ASOF_MISSING"
    assert len(caught.value.problems) == 8
    assert caught.value.exit_status == 2


def test_the_last_lawful_split_end_is_lawful():
    """A split ends by the maturity cut; the sentence names the last lawful end, unless young rows are only marked.

    ──[ test ──────────)┤ 2026-06-03 = as_of − 90 d        ┤ as_of 2026-09-01
    """
    def ending(moment, **more):
        return full(splits=[{"name": "test", "from_utc": "2026-04-08", "to_utc": moment}], **more)
    (problem,) = find_intent_problems(ending("2026-06-03T00:00:00.000001Z"))
    assert (problem.path, problem.code) == ("$.splits[0].to_utc", "LEAKAGE_POLICY_VIOLATION")
    assert "2026-06-03T00:00:00.000000Z" in problem.sentence
    assert told(ending("2026-06-03T00:00:00.000000Z")) == {}
    assert told(ending("2026-08-01", label_basis__immature="mark")) == {}


def test_half_open_splits_may_touch_and_a_gap_is_checked():
    """`[a, b) [b, c)` is disjoint; a gap of exactly what is asked is enough."""
    touching = full(splits=[{"name": "a", "from_utc": "2026-01-01", "to_utc": "2026-02-01"},
                            {"name": "b", "from_utc": "2026-02-01", "to_utc": "2026-03-01"}])
    assert told(touching) == {}
    assert told(full(gap="7d")) == {}
    assert told({**touching, "gap": "1s"}) == {"$.splits[1]": "LEAKAGE_POLICY_VIOLATION"}


def test_other_kinds_parse_but_are_served_elsewhere():
    """A parity or forensic intent is a lawful document that this command refuses."""
    with pytest.raises(IntentKindUnsupported):
        parse_intent(full(intent_kind="parity_rebuild"))
    assert parse_intent(full(intent_kind="forensic_rebuild"), "forensic_rebuild").intent_kind == "forensic_rebuild"
    for kind in ("parity_rebuild", "forensic_rebuild"):
        document = full(intent_kind=kind, target=None, coverage_policy={})
        unlabelled = document | {"label_basis": {**document["label_basis"], "label_types": [], "store": {}}}
        intent = parse_intent(unlabelled, None)
        assert (intent.purpose, intent.use) == ("non_training", kind.removesuffix("_rebuild"))


def test_spelling_is_no_meaning():
    """Order of sets and keys, spelling of instants and decimals, names of asker and request leave the fingerprint alone."""
    same = full(target__positive=["CHARGEBACK", "CHARGEBACK"], label_basis__label_asof_utc="2026-09-01", request_id="request-1",
                actor={"name": "bob", "source": "declared"}, gap=None, coverage_policy={"answered_min": {"chargeback": "1.000"}},
                feature_definition_set__profile_digest=None, label_basis__store={"chargeback": "grown-log"})
    same["splits"] = list(reversed(same["splits"]))
    assert fingerprint(full()) == fingerprint(dict(reversed(same.items())))
    linked = full(supersedes="dm_" + "0" * 32, backfill_reason="late data")
    assert fingerprint(full()) == fingerprint(linked)


@pytest.mark.parametrize("changes", [
    {"platform_run_id": "other"}, {"scenario_run_ids": ["s1"]}, {"label_basis__label_asof_utc": "2026-09-02"},
    {"label_basis__maturity_days": 91},
    {"label_basis__resolution_rule": "latest_observed.v1"}, {"label_basis__immature": "mark"},
    {"subject": {"source": "transaction", "where": "amount > 0"}},
    {"target__positive": ["CHARGEBACK", "FRAUD"]}, {"target__negative": ["LEGIT"]}, {"target": None}, {"splits": []}, {"gap": "1d"},
    {"sampling": {"seed": "1", "rates": {"negative": "0.1"}}}, {"identifiers": {"mode": "raw", "reason": "test"}}, {"cold_rows": "exclude"},
    {"coverage_policy": {"answered_min": {"chargeback": "0.9"}}}, {"correction": "again"}, {"policy_revision": "r2"},
    {"config_revision": "r2"},
    {"ofs_code_release_id": "other"}, {"non_training_allowed": True}, {"identifiers": {"mode": "tokenized", "key_id": "f" * 16}},
    {"replay_basis": [{"topic": "transaction", "files": ["transactions.parquet"], "log_id": "sha256:" + "5" * 64}]}])
def test_meaning_changes_the_fingerprint(changes):
    """Every field that changes rows, verdicts or purpose changes the fingerprint."""
    assert fingerprint(full(**changes)) != fingerprint(full())


def test_ranges_enter_merged_and_sorted():
    """Adjacent ranges in any order are one basis; selectors enter as what they were resolved to."""
    document = full(replay_basis=[{"topic": "transaction", "from_utc": "2026-01-01", "to_utc": "2026-02-01"}])
    halves = [Range("transaction", 0, "file_line", "log", "5", "9"), Range("transaction", 0, "file_line", "log", "0", "5")]
    whole = [Range("transaction", 0, "file_line", "log", "0", "9")]
    assert fingerprint(document, ranges=halves) == fingerprint(document, ranges=whole) != fingerprint(document)


def test_the_task_says_what_the_intent_says():
    """An intent and its closure translate to the engine's task, with instants in µs."""
    document = full(subject={"source": "transaction", "where": "amount > 0"}, sampling={"seed": "7", "rates": {"negative": "0.10"},
                                                                                        "by": "customer_id"})
    intent = parse_intent(document)
    assert fields_read(intent) == {"amount", "customer_id"}
    task = task_of(intent, closure(fields_read(intent)), KEY, {"transaction": 5})
    assert task.splits[0] == Split("train", parse_instant("2026-01-01"), parse_instant("2026-04-01"))
    assert task.where.text == "amount > 0"
    assert (task.labels.maturity_us, task.labels.asof_us) == (90 * 86_400_000_000, parse_instant("2026-09-01"))
    assert task.sampling.rates == (("negative", "0.1"),)
    assert task.history_start_us == (("transaction", 5),)
    assert task.token_key is KEY
    raw = parse_intent(full(identifiers={"mode": "raw", "reason": "test"}))
    assert task_of(raw, closure(), None, {}).token_key is None


def test_a_task_needs_its_key_and_a_condition():
    """Tokens of another key, no key, and a `where` that is no condition are refused."""
    for key in (None, TokenKey("1" * 16, b"other")):
        with pytest.raises(SettingsInvalid):
            task_of(parse_intent(full()), closure(), key, {})
    with pytest.raises(ExpressionInvalid):
        task_of(parse_intent(full(subject={"source": "transaction", "where": "amount + 1"})), closure(), KEY, {})
    with pytest.raises(SchemaInvalid):
        parse_intent([])


@pytest.mark.parametrize(("changes", "sentence"), [
    ({}, "a training is never built from a basis with gaps"), ({"non_training_allowed": False}, "a training is never built"),
    ({"non_training_allowed": True}, None), ({"intent_kind": "forensic_rebuild"}, None),
    ({"intent_kind": "parity_rebuild"}, "nothing can be compared over a gap")])
def test_a_training_declares_no_gaps(changes, sentence):
    """What lacks something is no training; and nothing is compared over a gap."""
    lane = {"topic": "tx", "partition": 0, "offset_kind": "kafka_offset", "log_id": "log1"}
    document = full(replay_basis=[{**lane, "start_offset": "0", "end_offset": "9"}],
                    gaps=[{**lane, "start_offset": "3", "end_offset": "5", "why": "archive_gap"}], **changes)
    told = [problem.sentence for problem in find_intent_problems(document, None) if problem.path == "$.gaps"]
    assert [one[:len(sentence or "")] for one in told] == ([] if sentence is None else [sentence])
