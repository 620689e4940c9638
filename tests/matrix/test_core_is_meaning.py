"""The core is a pure function of meaning and content: nothing else reaches it (`decisions.md` D3, D11)."""

import copy
import shutil

import pytest
from small_plane import make_plane

from offline_feature_plane.domain.identity import core_digest
from offline_feature_plane.domain.resolution import RULES, Rule
from offline_feature_plane.plane import open_plane


@pytest.fixture
def plane(tmp_path):
    """The small plane."""
    return make_plane(tmp_path / "p")


def publish(plane, name):
    """What a plane publishes into a store of its own: the manifest, and the digest of all but its evidence."""
    plane.documents()
    own = {key: str(plane.folder / name / key) for key in ("store", "ledger", "work")}
    manifest = open_plane(plane.folder / "plane.yaml", **own).build(plane.intent_path).manifest
    return manifest, core_digest(manifest.model_dump(mode="json"))


def moved(plane):
    """The files lie elsewhere."""
    (plane.folder / "data").mkdir()
    for name in ("transactions.parquet", "chargebacks.parquet", "tokens.key"):
        shutil.move(plane.folder / name, plane.folder / "data" / name)
    plane.plane["events"]["transaction"]["path"] = "data/transactions.parquet"
    plane.plane["labels"]["chargeback"]["path"] = "data/chargebacks.parquet"
    plane.plane["tokens"]["key_file"] = "data/tokens.key"


NO_MEANING = {
    "one more output": lambda plane: plane.plane.update(outputs=["parity_report", "dataset_manifest"]),
    "a world that is not read": lambda plane: plane.plane.update(gate_map={"g": {"outputs": ["stream"]}}, deny_outputs=["x_*"]),
    "the oracle engine": lambda plane: plane.plane.update(engine={"name": "oracle"}),
    "threads and memory": lambda plane: plane.plane.update(engine={"threads": 2, "memory_limit": "1GB"}),
    "paths": moved,
    "a stated format": lambda plane: plane.plane["events"]["transaction"].update(format="parquet"),
    "another table and timeline": lambda plane: (
        plane.plane["events"].update(login={"path": "nowhere", "time": "t"}),
        plane.plane["labels"].update(dispute={"path": "nowhere", "event": "e", "observed": "o", "value": "V"})),
    "strict roots": lambda plane: plane.plane.update(roots=[".", "nowhere"]),
    "a field that nothing reads": lambda plane: plane.profile["fields"].update(more={"type": "string", "path": "customer_id"}),
    "a name for the asking": lambda plane: plane.intent.update(request_id="request-0001"),
}


@pytest.mark.parametrize("change", NO_MEANING)
def test_what_is_no_meaning_leaves_the_whole_core(plane, change):
    """Settings that change no row and no verdict change no byte outside of the evidence, and the second publisher could adopt the first."""
    before, digest = publish(plane, "before")
    NO_MEANING[change](plane)
    after, again = publish(plane, "after")
    assert (after.core, again) == (before.core, digest)
    assert after.dataset_manifest_id == before.dataset_manifest_id


def test_what_authors_write_for_people_is_evidence(plane):
    """The `meaning:` texts of a profile are kept beside the dataset, and change neither its fingerprint nor its core."""
    before, digest = publish(plane, "before")
    told = copy.deepcopy(plane.profile)
    told["groups"]["customer"]["features"]["avg"] = {"agg": "mean(amount)", "meaning": "what the customer usually spends"}
    told["row_features"] = {"big": {"expression": "amount > 50", "meaning": "a large payment"}}
    told["derived"] = {"twice": {"expression": "customer.n_7d * 2", "meaning": "two weeks' worth"}}
    plane.profile = copy.deepcopy(told)
    one, said = publish(plane, "said")
    for part, name in (("row_features", "big"), ("derived", "twice")):
        told[part][name]["meaning"] = "other words"
    told["groups"]["customer"]["features"]["avg"] = "mean(amount)"
    plane.profile = told
    other, otherwise = publish(plane, "otherwise")
    assert (said == otherwise, said == digest) == (True, False)  # two more columns are another meaning, other words are none
    assert (one.dataset_fingerprint, one.core) == (other.dataset_fingerprint, other.core)
    assert one.evidence.meanings == {"customer__avg_1d": "what the customer usually spends", "big": "a large payment",
                                     "customer__avg_7d": "what the customer usually spends", "twice": "two weeks' worth"}
    assert other.evidence.meanings == {"big": "other words", "twice": "other words"}
    assert before.evidence.meanings == {}


@pytest.mark.parametrize(("words", "kept"), [("e\u0301t\u00e9", "\u00e9t\u00e9"), ("two\nlines \U0001F4B3", "two\nlines \U0001F4B3")])
def test_words_for_people_may_be_any_text(plane, words, kept):
    """A `meaning:` that is not composed ends no build: what people read is kept in composed form."""
    plane.profile["groups"]["customer"]["features"]["n"] = {"agg": "count()", "meaning": words}
    manifest, _ = publish(plane, "said")
    assert set(manifest.evidence.meanings.values()) == {kept}


def test_the_law_of_a_label_rule_is_meant(plane, monkeypatch):
    """A rule of the same name with another ladder is another meaning, even where both choose the same values."""
    before, _ = publish(plane, "before")
    name = before.label_basis["resolution_rule"]
    assert before.core.identity["label_basis"]["rule_digest"] == RULES[name].digest
    monkeypatch.setitem(RULES, name, Rule(name, RULES[name].ladder[::-1]))
    plane.documents()
    assert open_plane(plane.folder / "plane.yaml").plan(plane.intent_path).dm_id != before.dataset_manifest_id
