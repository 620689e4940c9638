"""Identity through the whole plane: every field that means something changes the fingerprint, and nothing else does (`decisions.md` B)."""

import copy
import json
import shutil
from importlib.metadata import version
from typing import Any

import pytest
from whole_worlds import DAY, RELEASE, START, draw_world, open_world, text_of

from offline_feature_plane.contracts.intent import (
    Actor,
    BuildIntent,
    CalendarRule,
    CombinedTarget,
    CoveragePolicy,
    FeatureDefinitionSet,
    FileSetBasis,
    LabelBasis,
    RangeBasis,
    SamplingRule,
    SelectorBasis,
    SplitRange,
    Subject,
    TargetRule,
    TokenizedIdentifiers,
)
from offline_feature_plane.contracts.kafka import KafkaTopic
from offline_feature_plane.contracts.kinesis import KinesisStream
from offline_feature_plane.contracts.plane import (
    ArchiveFolder,
    EngineChoice,
    EventTable,
    GateRule,
    LabelTimeline,
    S3Access,
    Settings,
    Tokens,
    config_meaning,
)
from offline_feature_plane.documents import write_yaml
from offline_feature_plane.errors import RunScopeInvalid

HEX = "a" * 64
FACTS = {
    "run_id": "r1", "platform_run_id": "worlds", "scenario_run_id": "s1",
    "pins": {"manifest_fingerprint": "m1", "parameter_hash": "h", "seed": 42, "scenario_id": "base", "platform_run_id": "worlds",
             "scenario_run_id": "s1", "run_id": "r1"},
    "locators": [{"output_id": name, "path": f"data/{name}", "manifest_fingerprint": "m1", "content_digest": {"algo": "sha256", "hex": HEX}}
                 for name in ("sites", "arrivals")],
    "gate_receipts": [{"gate_id": "gate.world", "status": "PASS", "scope": {"manifest_fingerprint": "m1"}}],
    "policy_rev": {"policy_id": "p", "revision": "1", "content_digest": HEX}, "bundle_hash": HEX, "plan_ref": "a", "record_ref": "b",
    "status_ref": "c"}


class Asking:
    """One world with everything that an intent can speak of, and the documents about it, to be changed in one place."""

    def __init__(self, folder, *, archive=False):
        self.folder = folder
        world = draw_world(7)
        whole = world.profile["feature_sets"][0]
        world.profile["feature_sets"] += [{**whole, "id": "other"}, {**whole, "version": "v2"},
                                          {"id": "entry", "version": "v1", "groups": ["entry@v1"], "row_features": [], "derived": []}]
        world.intent = {
            "rows": "tx", "features": "features.yaml", "set": "all@v1", "where": "units > 0", "gap": "1d", "labels": ["dispute"],
            "label": {"type": "fraud", "positive": ["FRAUD"], "negative": ["LEGIT"], "as_of": text_of(START + 15 * DAY), "maturity_days": 2,
                      "unlabeled": "exclude", "coverage": "0.5", "conflicts": "0.1"},
            "splits": {"train": [text_of(START), text_of(START + 5 * DAY)], "test": [text_of(START + 7 * DAY), text_of(START + 9 * DAY)]},
            "sampling": {"seed": "s", "rates": {"negative": "0.5"}, "by": "customer"}, "run_facts": "facts.json",
            "required_outputs": ["sites"]}
        world.plane |= {"gate_map": {"gate.world": {"outputs": ["sites", "arrivals"]}}, "policy_revision": "p1", "config_revision": "c1"}
        self.path = world.write_archive(folder) if archive else world.write(folder)
        self.plane_document = json.loads(json.dumps(open_world(self.path).settings.model_dump(mode="json", exclude_unset=True)))
        (folder / "facts.json").write_text(json.dumps(FACTS))
        self.intent = open_world(self.path).pin(folder / "intent.yaml").document
        self.intent["coverage_policy"]["answered_min"] = {"fraud": "0.5", "dispute": "0.5"}

    def fingerprint(self, intent=None, plane=None, release=RELEASE):
        """The fingerprint of a long form on a plane with these settings."""
        place = self.folder / "asked.yaml"
        place.write_text(write_yaml(plane or self.plane_document), encoding="utf-8")
        opened = open_world(place)
        opened.inputs.code_release_id = release
        return opened.plan(intent or self.intent).pins.dataset_fingerprint

    def changed(self, path, value):
        """The long form with one place changed; a list takes numbers in its path."""
        return put(self.intent, path, value)


def put(document, path, value):
    """A copy of a document with one place changed."""
    made = copy.deepcopy(document)
    *way, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    place = made
    for step in way:
        place = place[step]
    place[last] = value
    return made


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Plain tables."""
    return Asking(tmp_path_factory.mktemp("tables") / "w")


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Record archives."""
    return Asking(tmp_path_factory.mktemp("archives") / "w", archive=True)


OTHER_INSTANT = text_of(START + 16 * DAY)
MEANT = {
    "platform_run_id": None,  # needs facts of the other run: a test of its own
    "scenario_run_ids": ["s1"],  # plain tables have none: a test of its own
    "label_basis/label_asof_utc": OTHER_INSTANT, "label_basis/resolution_rule": "latest_observed.v1", "label_basis/maturity_days": 3,
    "label_basis/immature": "mark", "label_basis/label_types": ["fraud"],
    "feature_definition_set/feature_set_id": "other", "feature_definition_set/feature_set_version": "v2",
    "subject/source": "login", "subject/where": "units > 1", "subject/entity": "device", "subject/calendar": None,
    "target": None, "target/label_type": "dispute", "target/positive": ["FRAUD", "MORE"], "target/negative": ["LEGIT", "MORE"],
    "target/unlabeled": "refuse",
    "splits": [{"name": name, "from_utc": text_of(START + day * DAY), "to_utc": text_of(START + (day + 2) * DAY)}
               for name, day in (("train", 1), ("test", 6))],
    "splits/0/name": "learn", "splits/0/from_utc": text_of(START + 1), "splits/0/to_utc": text_of(START + 5 * DAY - 1),
    "splits/1/label_asof_utc": text_of(START + 17 * DAY), "gap": "2d", "disjoint_by": "customer",
    "sampling": None, "sampling/seed": "t", "sampling/rates": {"negative": "0.6"}, "sampling/by": None,
    "identifiers": {"mode": "raw", "reason": "because"}, "identifiers/key_id": None,
    "cold_rows": "allow", "coverage_policy/answered_min": {"fraud": "0.6", "dispute": "0.5"}, "coverage_policy/conflicts_max": "0.2",
    "correction": "again", "join_scope": {"required_output_ids": ["arrivals", "sites"]}, "policy_revision": "p2", "config_revision": "c2",
    "non_training_allowed": True, "visibility": "arrival"}  # tables here do not say when events arrived: a test of its own
NOT_MEANT = {
    "request_id": "request-0001", "label_basis/store": {"fraud": "another log", "dispute": "yet another"},
    "feature_definition_set/profile_ref": "copy.yaml", "feature_definition_set/profile_digest": None, "actor/name": "somebody",
    "actor/source": "declared"}
ELSEWHERE = {  # constants of this contract, refused here, or changed in a test of their own
    "schema_version", "intent_kind", "replay_basis", "gaps", "run_facts_ref", "parity_anchor_ref", "supersedes", "backfill_reason",
    "ofs_code_release_id", "identifiers/mode", "sampling/rule", "target/types", "target/combine"}
NESTED = {"label_basis": LabelBasis, "feature_definition_set": FeatureDefinitionSet, "subject": Subject, "target": TargetRule,
          "sampling": SamplingRule, "identifiers": TokenizedIdentifiers, "coverage_policy": CoveragePolicy, "actor": Actor,
          "splits": SplitRange}


def test_every_field_of_an_intent_is_spoken_of_here():
    """A new field of the contract must be declared here to mean something or not."""
    known = {name.replace("splits/0/", "splits/").replace("splits/1/", "splits/") for name in (*MEANT, *NOT_MEANT, *ELSEWHERE)}
    fields = {name for name in BuildIntent.model_fields if name not in NESTED}
    fields |= {f"{name}/{inner}" for name, model in NESTED.items() for inner in model.model_fields}
    fields |= {f"target/{inner}" for inner in CombinedTarget.model_fields}
    assert fields <= known
    assert {model.__name__: set(model.model_fields) for model in (FileSetBasis, RangeBasis, SelectorBasis)} == {
        "FileSetBasis": {"topic", "files", "log_id"}, "SelectorBasis": {"topic", "from_utc", "to_utc"},
        "RangeBasis": {"topic", "partition", "offset_kind", "start_offset", "end_offset", "log_id"}}


LATER = {"platform_run_id", "scenario_run_ids", "identifiers/key_id", "subject/source", "target", "label_basis/label_types",  # below
         "visibility", "subject/calendar"}


@pytest.mark.parametrize("path", [name for name in MEANT if name not in LATER])
def test_each_field_that_means_something_changes_the_fingerprint(tables, path):
    """One other value of one field is another dataset."""
    whole = put(tables.intent, "coverage_policy/answered_min", {"fraud": "1", "dispute": "0.5"})  # as `refuse` demands it
    before = whole if path == "target/unlabeled" else tables.intent
    assert tables.fingerprint(put(before, path, MEANT[path])) != tables.fingerprint(before)


def test_what_rows_see_is_meant(archives):
    """Rows that see what had arrived are other rows."""
    assert archives.fingerprint(archives.intent | {"visibility": "arrival"}) != archives.fingerprint()


def test_the_scenarios_are_meant_where_there_are_some(archives, tables):
    """Records and run facts are held to scenario runs; a table beside nothing else knows of none, and refuses them."""
    assert archives.fingerprint(archives.intent | {"scenario_run_ids": ["s1"]}) != archives.fingerprint()
    alone = {"run_facts_ref": "none", "join_scope": {"required_output_ids": []}}
    with pytest.raises(RunScopeInvalid):
        tables.fingerprint(tables.intent | alone | {"scenario_run_ids": ["s1"]})
    assert tables.fingerprint(tables.intent | {"scenario_run_ids": ["s1"]}) != tables.fingerprint()


@pytest.mark.parametrize("path", NOT_MEANT)
def test_each_field_that_means_nothing_leaves_the_fingerprint(tables, path):
    """Who asks, under which name, with which file of the same profile, beside which later labels: the same dataset."""
    shutil.copy(tables.folder / "features.yaml", tables.folder / "copy.yaml")
    assert tables.fingerprint(tables.changed(path, NOT_MEANT[path])) == tables.fingerprint()


def test_other_rows_are_another_dataset(tables):
    """Another source as subject is another dataset, and so is one without a target, or with fewer label columns."""
    document = tables.intent | {"sampling": None, "subject": {"source": "tx"},
                                "feature_definition_set": tables.intent["feature_definition_set"] | {"feature_set_id": "entry"}}
    asked = [document, document | {"subject": {"source": "login"}}, document | {"target": None},
             document | {"subject": {"source": "tx", "where": "true"}}]
    own = document | {"coverage_policy": {"answered_min": {"fraud": "0.5"}}}
    asked += [own, put(own, "label_basis/label_types", ["fraud"])]
    assert len({tables.fingerprint(one) for one in asked}) == len(asked)


def test_each_part_of_a_calendar_is_meant(tables):
    """Whose rows a calendar makes, of which periods, of which days and in which zone, are the dataset."""
    calendar = {"every": "day", "zone": "UTC", "first_day": "2025-01-01", "end_day": "2027-01-01"}
    subject = {"source": "tx", "entity": "customer", "calendar": calendar}
    document = tables.intent | {"sampling": None, "subject": subject,
                                "feature_definition_set": tables.intent["feature_definition_set"] | {"feature_set_id": "entry"}}
    others = [put(document, f"subject/calendar/{name}", value) for name, value in (
        ("every", "week"), ("zone", "Europe/Berlin"), ("first_day", "2025-02-01"), ("end_day", "2026-12-01"))]
    asked = [document, *others, put(document, "subject/source", "login"), put(document, "subject/where", "not is_null(customer)")]
    assert set(calendar) == set(CalendarRule.model_fields)
    assert len({tables.fingerprint(one) for one in asked}) == len(asked)


def test_each_part_of_a_combined_target_is_meant(tables):
    """How types are combined, and what each says, is the dataset; how the combination is spelled is not."""
    rules = {"fraud": {"positive": ["FRAUD"], "unlabeled": "negative_when_mature"},
             "dispute": {"positive": ["LOST"], "unlabeled": "negative_when_mature"}}

    def found(combine, **changed):
        types = {name: rule | changed.get(name, {}) for name, rule in rules.items()}
        shares = {"answered_min": {"fraud": "1", "dispute": "1"}}
        return tables.fingerprint(tables.intent | {"target": {"types": types, "combine": combine}, "coverage_policy": shares})

    asked = [found("fraud or dispute"), found("fraud and dispute"), found("fraud and not dispute"),
             found("fraud or dispute", dispute={"positive": ["LOST", "WON"]}), found("fraud or dispute", dispute={"negative": ["WON"]}),
             found("fraud or dispute", dispute={"unlabeled": "refuse"}), tables.fingerprint()]
    assert len(set(asked)) == len(asked)
    assert found("not (not dispute and not fraud)") == asked[0]


def test_the_run_scope_is_meant(tables, tmp_path):
    """The same question of another run, whose facts say the same, is another dataset."""
    other = json.loads(json.dumps(FACTS).replace('"worlds"', '"other"'))
    (tables.folder / "other.json").write_text(json.dumps(other))
    (tables.folder / "again.json").write_text(json.dumps(FACTS | {"environment": "test"}))
    document = tables.changed("platform_run_id", "other") | {"run_facts_ref": "other.json"}
    found = {tables.fingerprint(), tables.fingerprint(document), tables.fingerprint(tables.changed("run_facts_ref", "again.json"))}
    assert len(found) == 3
    shutil.copy(tables.folder / "facts.json", tables.folder / "copied.json")
    assert tables.fingerprint(tables.changed("run_facts_ref", "copied.json")) == tables.fingerprint()


def test_the_code_release_is_meant(tables):
    """Other code is another meaning: what it computes was never promised to be the same."""
    other = RELEASE.replace("0.0.0", "0.0.1")
    assert tables.fingerprint(tables.changed("ofs_code_release_id", other), release=other) != tables.fingerprint()


@pytest.mark.parametrize("change", [{"end_offset": "3"}, {"start_offset": "1"}])
def test_each_end_of_a_range_is_meant(archives, change):
    """Other offsets are another history."""
    basis = [archives.intent["replay_basis"][0] | change, *archives.intent["replay_basis"][1:]]
    assert archives.fingerprint(archives.intent | {"replay_basis": basis}) != archives.fingerprint()


@pytest.mark.parametrize(("window", "named"), [("7d", False), ("calendar(day, UTC)", False), ("calendar(day, Asia/Tokyo)", True)])
def test_the_zone_rules_are_meant_where_a_window_names_a_zone(tmp_path, window, named):
    """The version of the zone rules is identity if a calendar window is of a zone other than UTC, and of no plan otherwise (D11)."""
    world = draw_world(7)
    world.profile |= {"row_features": {}, "derived": {}, "feature_groups": [
        {"name": "g", "version": "v1", "source": "tx", "key": "customer", "windows": [window], "features": {"n": "count()"}}]}
    world.profile["feature_sets"] = [{"id": "all", "version": "v1", "groups": ["g@v1"]}]
    path = world.write(tmp_path / "w")
    pins = open_world(path).plan(path.parent / "intent.yaml").pins
    assert pins.identity["tzdata"] == (version("tzdata") if named else None)


def test_fewer_partitions_or_topics_are_another_history(archives):
    """Leaving a range out is another meaning; a selector that resolves to all of the log is the log."""
    assert archives.fingerprint(archives.intent | {"replay_basis": archives.intent["replay_basis"][1:]}) != archives.fingerprint()


def test_time_selectors_mean_what_they_resolve_to(archives):
    """A span of log time is the ranges that it resolves to, by another spelling."""
    basis = [{"topic": topic, "from_utc": text_of(START - 400 * DAY), "to_utc": text_of(START + 8 * DAY)} for topic in ("login", "tx")]
    topics = {entry["topic"] for entry in archives.intent["replay_basis"]}
    planned = open_world(archives.path).plan(archives.intent | {"replay_basis": [one for one in basis if one["topic"] in topics]})
    ranges = planned.pins.identity["replay_basis"]["ranges"]
    assert archives.fingerprint(archives.intent | {"replay_basis": ranges}) == planned.pins.dataset_fingerprint


SETTINGS_MEANT = {
    "events/tx/time": "since", "events/tx/zone": "Europe/Oslo", "events/tx/history_start": text_of(START - DAY), "events/tx/id": None,
    "labels/fraud/event": None, "labels/fraud/observed": "effective",
    "labels/fraud/value": {"column": "value", "FRAUD": "FRAUD", "LEGIT": "LEGIT"},
    "labels/fraud/effective": None, "labels/fraud/source": None, "labels/fraud/id": None, "labels/fraud/supersedes": None,
    "labels/fraud/zone": "Europe/Oslo", "labels/fraud/min_lag": "1h", "labels/fraud/time": "effective",
    "gate_map/gate.world/outputs": ["sites"], "gate_map/gate.world/upstream": [], "deny_outputs": ["s4_*", "s5_*"]}
SETTINGS_NOT_MEANT = {
    "store": "elsewhere/store", "ledger": "elsewhere.sqlite", "work": "elsewhere/work", "engine/name": "oracle",
    "engine/memory_limit": "3GB", "engine/threads": 7, "engine/master": "local", "engine/conf": {"a": "b"},
    "roots": [".", "more"], "events/tx/format": "parquet", "events/tx/arrival": "since",
    "labels/fraud/format": "parquet", "strict": True, "verify_overlap": "full",
    "s3/endpoint": "http://elsewhere:1", "s3/region": "elsewhere",
    "s3/profile": "another", "s3/addressing": "path", "s3/timeout_s": 7,
    "outputs": ["dataset_manifest", "report"], "required_outputs": ["arrivals"], "run_facts": "facts.json", "tokens/key_file": "copy.key",
    "policy_revision": "another", "config_revision": "another", "plane": "renamed", "platform_run_id": "renamed"}
SETTINGS_ELSEWHERE = {"events/tx/path", "labels/fraud/path", "labels/fraud/store", "labels/fraud/entity", "labels/fraud/applies_to",
                      "archives/tx/path", "archives/tx/topic", "archives/tx/event_type", "archives/tx/zone", "archives/tx/history_start",
                      "archives/tx/records", "archives/tx/s3", "archives/tx/max_ahead",
                      *(f"kafka/tx/{name}" for name in KafkaTopic.model_fields),
                      *(f"kinesis/tx/{name}" for name in KinesisStream.model_fields)}


def test_every_setting_is_spoken_of_here():
    """A new setting must be declared here to mean something or not."""
    nested = {"events": ("events/tx", EventTable), "archives": ("archives/tx", ArchiveFolder), "labels": ("labels/fraud", LabelTimeline),
              "tokens": ("tokens", Tokens), "engine": ("engine", EngineChoice), "gate_map": ("gate_map/gate.world", GateRule),
              "kafka": ("kafka/tx", KafkaTopic), "kinesis": ("kinesis/tx", KinesisStream), "s3": ("s3", S3Access)}
    fields = {name for name in Settings.model_fields if name not in nested}
    fields |= {f"{place}/{inner}" for place, model in nested.values() for inner in model.model_fields}
    assert fields == {*SETTINGS_MEANT, *SETTINGS_NOT_MEANT, *SETTINGS_ELSEWHERE}


LEFT_ALONE = {  # settings whose other value is only lawful together with others, or equals their default
    "events/tx/id": "device", "labels/fraud/event": "id", "labels/fraud/id": "value", "gate_map/gate.world/outputs": ["sites", "other"],
    "gate_map/gate.world/upstream": ["gate.world"]}


@pytest.mark.parametrize("path", SETTINGS_MEANT)
def test_each_setting_that_means_something_changes_the_fingerprint(tables, path):
    """What columns mean, since when a table is complete, which gates speak for an input: the pinned intent then means something else."""
    value = LEFT_ALONE.get(path, SETTINGS_MEANT[path])
    assert tables.fingerprint(plane=put(tables.plane_document, path, value)) != tables.fingerprint()


@pytest.mark.parametrize("path", SETTINGS_NOT_MEANT)
def test_each_setting_that_means_nothing_leaves_the_fingerprint(tables, path):
    """Where things are kept, what computes, and defaults that the long form has written out: the same dataset."""
    shutil.copy(tables.folder / "tokens.key", tables.folder / "copy.key")
    (tables.folder / "more").mkdir(exist_ok=True)
    document = tables.plane_document if "/" not in path or path.split("/")[0] in tables.plane_document else tables.plane_document | {
        path.split("/")[0]: {}}
    assert tables.fingerprint(plane=put(document, path, SETTINGS_NOT_MEANT[path])) == tables.fingerprint()


def test_what_labels_are_about_is_meant(tables):
    """Labels about entities are other labels than about events, and about what another field holds others again."""
    entry = {name: value for name, value in tables.plane_document["labels"]["dispute"].items() if name != "event"}
    intent = tables.changed("feature_definition_set/feature_set_id", "entry")  # no feature looks at labels
    found = {tables.fingerprint(intent, put(tables.plane_document, "labels/dispute", entry | about)) for about in (
        {"event": "event"}, {"entity": "event", "applies_to": "device"}, {"entity": "event", "applies_to": "customer"})}
    assert len(found) == 3


def test_the_settings_of_an_archive_are_meant(archives):
    """The zone of payload times and the declared beginning of history change the fingerprint; a moved archive does not."""
    plane = archives.plane_document
    assert archives.fingerprint(plane=put(plane, "archives/tx/zone", "Europe/Oslo")) != archives.fingerprint()
    assert archives.fingerprint(plane=put(plane, "archives/tx/history_start", text_of(START))) != archives.fingerprint()
    shutil.copytree(archives.folder / "tx-archive", archives.folder / "moved")
    assert archives.fingerprint(plane=put(plane, "archives/tx/max_ahead", "1h")) != archives.fingerprint()
    assert archives.fingerprint(plane=put(plane, "archives/tx/path", "moved")) == archives.fingerprint()


def meaning_of(**settings: Any) -> dict[str, Any]:
    """What a plane's settings of logs mean."""
    return config_meaning(Settings.model_validate({"plane": "p", "platform_run_id": "p", **settings}))


def test_a_log_means_the_same_wherever_it_is_read():
    """A topic, a stream, its archive, and both together are one log: how it is reached changes nothing, how it is understood does."""
    said = {"zone": "Europe/Oslo", "history_start": text_of(START)}
    bus = {"servers": "broker:9092", **said}
    archive = {"path": "folder", **said}
    elsewhere = {"servers": "other:9093", "timeout_s": 5, "buffer_mb": 1, "max_message_mb": 2, "cleanup_policy": "delete",
                 "log_id": "mine", "security": {"tls": True}}
    there = {"stream": "there", "region": "eu-west-1", "endpoint": "http://there:1", "profile": "mine"}
    same = [{"kafka": {"tx": bus}}, {"archives": {"tx": archive}}, {"kafka": {"tx": bus}, "archives": {"tx": archive}},
            {"kafka": {"tx": bus | elsewhere}}, {"archives": {"tx": archive | {"s3": {"region": "elsewhere"}}}},
            {"kinesis": {"tx": said}}, {"kinesis": {"tx": said | there}}]
    assert len({json.dumps(meaning_of(**one), sort_keys=True) for one in same}) == 1
    others = [{"kafka": {"tx": bus | {name: value}}} for name, value in (
        ("zone", "UTC"), ("history_start", text_of(START + DAY)), ("topic", "another"))]
    assert meaning_of(kinesis={"tx": said | {"zone": "UTC"}}) == meaning_of(**others[0])
    others += [{"kafka": {"tx": bus | {"topic": "another", "event_type": "paid"}}}, {"archives": {"tx": archive | {"records": "v0"}}}]
    assert len({json.dumps(meaning_of(**one), sort_keys=True) for one in [same[0], *others]}) == 1 + len(others)


def test_another_token_key_is_another_dataset(tables):
    """Tokens of another key are other values; the key's id is in the intent and its secret nowhere."""
    (tables.folder / "other.key").write_bytes(b"another secret")
    plane = put(tables.plane_document, "tokens/key_file", "other.key")
    place = tables.folder / "keyed.yaml"
    place.write_text(write_yaml(plane), encoding="utf-8")
    document = open_world(place).pin(tables.folder / "intent.yaml").document
    assert document["identifiers"]["key_id"] != tables.intent["identifiers"]["key_id"]
    assert tables.fingerprint(document, plane) != tables.fingerprint()


def test_both_forms_mean_one_dataset(tables, archives):
    """The short form and the long form that `pin` writes have one fingerprint, and the long form fills nothing in."""
    for asking in (tables, archives):
        plane = open_world(asking.path)
        pinned = plane.pin(asking.folder / "intent.yaml")
        written = asking.folder / "pinned.yaml"
        written.write_text(pinned.text, encoding="utf-8")
        again = plane.pin(written)
        assert (again.fingerprint, again.document, again.filled) == (pinned.fingerprint, pinned.document, [])
        assert pinned.filled
