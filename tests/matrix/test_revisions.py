"""What a profile revision promises: its set alone, from its first dataset on (`decisions.md` D11, `docs/decisions/0011`)."""

import pytest
from small_plane import make_plane

from offline_feature_plane.errors import FeatureProfileDrift, TargetDegenerate
from offline_feature_plane.plane import open_plane


@pytest.fixture
def plane(tmp_path):
    """The small plane with a versioned profile."""
    made = make_plane(tmp_path / "p")
    made.profile |= {"policy_id": "cards.features", "revision": "r1"}
    made.profile["fields"]["shop"] = {"type": "string", "path": "terminal_id"}  # no feature reads it
    return made


def opened(plane):
    """The plane, its documents as they are now."""
    plane.documents()
    return open_plane(plane.folder / "plane.yaml")


def edit(plane):
    """Give the set of the profile another meaning."""
    plane.profile["groups"]["customer"]["windows"] = ["2d"]


@pytest.mark.parametrize("further", [{"where": "shop != 'T3'"}, {"sampling": {"seed": "s", "rates": {"negative": "0.9"}, "by": "shop"}}],
                         ids=["where", "sampling"])
@pytest.mark.parametrize("first", ["plain", "further"])
def test_intents_may_read_further_fields_of_one_revision(plane, further, first):
    """A field that only `where` or `sampling.by` reads enters the dataset's meaning, and promises nothing of the revision."""
    asked = [{}, further] if first == "plain" else [further, {}]
    usual, found = dict(plane.intent), []
    for changes in asked:
        plane.intent = usual | changes
        opened(plane).plan(plane.intent_path)
        found.append(opened(plane).build(plane.intent_path))
    assert [one.outcome for one in found] == ["PUBLISHED", "PUBLISHED"]
    one, other = (built.manifest for built in found)
    assert one.core.closure_digest != other.core.closure_digest
    assert one.evidence.profile["set_digest"] == other.evidence.profile["set_digest"]


def test_an_edited_set_is_drift_for_plan_and_build_and_may_be_looked_at(plane):
    """After a dataset of r1, another set under r1 is refused before a run exists; `preview` and `pin` still show it.

    r1 ── published ── edited ──┬─ plan, build    FEATURE_PROFILE_DRIFT, no run
                                └─ preview, pin   as ever
    """
    opened(plane).build(plane.intent_path)
    edit(plane)
    for ask in (opened(plane).plan, opened(plane).build, lambda intent: opened(plane).build(intent, recompute=True)):
        with pytest.raises(FeatureProfileDrift, match=r"cards\.features@r1") as refused:
            ask(plane.intent_path)
        assert refused.value.exit_status == 5
    assert len(opened(plane).runs()) == 1
    assert len(plane.manifests()) == 1
    assert "customer__n_2d" in opened(plane).preview(plane.intent_path).table.column_names
    assert opened(plane).pin(plane.intent_path).fingerprint


def test_the_mended_set_of_a_published_revision_answers_again(plane):
    """Restoring the set of r1, or naming the edit r2, ends the drift."""
    opened(plane).build(plane.intent_path)
    windows = plane.profile["groups"]["customer"]["windows"]
    edit(plane)
    plane.profile["revision"] = "r2"
    assert opened(plane).build(plane.intent_path).outcome == "PUBLISHED"
    plane.profile["revision"] = "r1"
    plane.profile["groups"]["customer"]["windows"] = windows
    assert opened(plane).build(plane.intent_path).outcome == "ALREADY_PUBLISHED"


def test_what_the_set_does_not_use_is_not_promised(plane):
    """A further field and other words for people change no set that stands, so it is no drift."""
    opened(plane).build(plane.intent_path)
    plane.profile["fields"]["channel"] = {"type": "string", "missing": "none"}
    plane.profile["groups"]["customer"]["features"]["n"] = {"agg": "count()", "meaning": "how often they paid"}
    assert opened(plane).build(plane.intent_path).outcome == "ALREADY_PUBLISHED"


def test_a_build_that_failed_promises_nothing(plane):
    """A revision whose only build was refused by a gate can still be mended under its name.

    r2 ── build: TARGET_DEGENERATE ── set corrected under r2 ── build: published ── edited again ── drift
    """
    plane.profile["revision"] = "r2"
    positive, plane.intent["label"]["positive"] = plane.intent["label"]["positive"], ["STOLEN"]
    with pytest.raises(TargetDegenerate):
        opened(plane).build(plane.intent_path)
    plane.intent["label"]["positive"] = positive
    edit(plane)
    assert opened(plane).build(plane.intent_path).outcome == "PUBLISHED"
    plane.profile["groups"]["customer"]["windows"] = ["3d"]
    with pytest.raises(FeatureProfileDrift):
        opened(plane).build(plane.intent_path)


def test_drift_while_computing_is_noticed_before_the_vow(plane):
    """Somebody publishes another set under r1 between plan and vow: this run fails, and only theirs is published.

    plan ── compute ──────────────── drift, no vow
                └ theirs: published
    """
    plane.documents()
    mine, theirs = open_plane(plane.folder / "plane.yaml"), []

    def meanwhile(step, done, total):
        if step != "compile" and not theirs:
            theirs.append("begun")
            edit(plane)
            theirs[0] = opened(plane).build(plane.intent_path)

    with pytest.raises(FeatureProfileDrift):
        mine.build(plane.intent_path, progress=meanwhile)
    (path,) = plane.manifests()
    assert path.stem == theirs[0].manifest.dataset_manifest_id
    assert {(run.state, run.reason_code) for run in mine.runs()} == {("DONE", None), ("FAILED", "FEATURE_PROFILE_DRIFT")}


def test_the_revision_dev_is_never_remembered(plane):
    """Edits of `dev` are no drift, and every plan of it says that nobody watches them."""
    plane.profile["revision"] = "dev"
    for windows in (["1d"], ["2d"], ["3d"]):
        plane.profile["groups"]["customer"]["windows"] = windows
        assert any("unversioned profile" in warning for warning in opened(plane).plan(plane.intent_path).plan.warnings)
        assert opened(plane).build(plane.intent_path).outcome == "PUBLISHED"
    plane.profile["revision"] = "r1"
    assert not opened(plane).plan(plane.intent_path).plan.warnings
