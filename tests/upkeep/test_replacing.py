"""Links between datasets: to what was published only, for one reason, never in a circle, shown in both directions (`decisions.md` D8)."""

import random
from dataclasses import dataclass, field

import pytest
from interleaving import Actor
from small_asking import build, dataset, opened, say, tell
from true_manifests import PLACE, dataset_id, manifest_of

from offline_feature_plane.contracts.facts import DatasetSupersession, Vow
from offline_feature_plane.corridor import layout
from offline_feature_plane.corridor.facts import parse_fact
from offline_feature_plane.corridor.publish import bury, keep_vow, make_vow, read_manifest
from offline_feature_plane.corridor.supersession import claim_link, link_superseded
from offline_feature_plane.domain.identity import run_key
from offline_feature_plane.errors import DigestMismatch, IntegrityError, SupersessionLinkInvalid
from offline_feature_plane.objects.local import LocalStore
from offline_feature_plane.testing.faulty_store import MemoryStore


@dataclass(frozen=True)
class Ran:
    """As much of a run as publishing looks at."""

    request_id: str
    platform_run_id: str = PLACE
    attempt: int = 1
    payload: dict[str, object] = field(default_factory=dict)

    @property
    def run_key(self):
        """Its key."""
        return run_key(self.request_id)


def publish(store, run, name):
    """Make a dataset visible."""
    manifest = read_manifest(manifest_of(run.run_key, name=name))
    return keep_vow(store, run, make_vow(store, run, manifest), manifest)


def relink(store, run, name, old):
    """What a run does that finds its dataset published and links it: claim, vow, link; or a tombstone. The real steps in their order."""
    try:
        claim_link(store, run, dataset_id(name), dataset_id(old), "late")
    except SupersessionLinkInvalid as refused:
        bury(store, run, refused.code)
        return
    publish(store, run, name)
    link_superseded(store, PLACE, dataset_id(name), dataset_id(old), "late")


def linked(store):
    """The links that were stated."""
    return {tuple(key.removesuffix(".json").split("/")[-2:]) for key in store.list(layout.supersession_prefix(PLACE))}


def has_circle(links):
    """Does following links lead back?"""
    def reached(start):
        found, todo = set(), [start]
        while todo:
            at = todo.pop()
            news = {old for new, old in links if new == at} - found
            found |= news
            todo += news
        return found
    return any(new in reached(new) for new, _ in links)


@pytest.mark.parametrize("names", ["ab", "abc"])
@pytest.mark.parametrize("draws", [60, pytest.param(5_000, marks=pytest.mark.long)])
def test_datasets_that_are_made_to_replace_each_other_at_once_form_no_circle(names, draws):
    """However the steps of their runs fall between each other, at least one run of a circle fails before it vows.

    a replaces b   claim ───── look ── vow ── link
    b replaces a         claim ────── look ✗ tombstone
    """
    draw, stated = random.Random(len(names)), 0
    for number in range(draws):
        store = MemoryStore()
        for name in names:
            publish(store, Ran(f"request-first-{name}"), name)
        runs = [Ran(f"request-{number:06}-{name}") for name in names]
        actors = [Actor(lambda actor, store=store, run=run, name=name, old=old: relink(actor.through(store), run, name, old))
                  for run, name, old in zip(runs, names, names[1:] + names[0], strict=True)]
        while alive := [actor for actor in actors if not actor.is_over]:
            draw.choice(alive).step()
            assert not has_circle(linked(store))
        assert [actor.ended_by for actor in actors] == [None] * len(actors)
        records = [parse_fact(Vow, store.get(layout.commit_key(PLACE, run.run_key)), "vow") for run in runs]
        assert sum(record.outcome == "commit" for record in records) == len(linked(store)) < len(names)
        stated += len(linked(store))
    assert stated > draws // 4


def test_a_claim_of_a_run_that_failed_is_over():
    """Who lost the race leaves nothing that keeps the same link, or its contrary, from being made later."""
    store = MemoryStore()
    for name in "ab":
        publish(store, Ran(f"request-first-{name}"), name)
    lost = Ran("request-lost")
    claim_link(store, lost, dataset_id("a"), dataset_id("b"), "late")
    with pytest.raises(SupersessionLinkInvalid, match="cycle"):
        claim_link(store, Ran("request-contrary"), dataset_id("b"), dataset_id("a"), "late")
    with pytest.raises(SupersessionLinkInvalid, match="another reason"):
        claim_link(store, Ran("request-other-words"), dataset_id("a"), dataset_id("b"), "another")
    for run in ("request-lost", "request-contrary", "request-other-words"):
        bury(store, Ran(run), "TARGET_DEGENERATE")
    claim_link(store, Ran("request-again"), dataset_id("b"), dataset_id("a"), "another")


@pytest.mark.parametrize("moment", ["/claims/", "/manifests/"])
def test_a_build_that_is_overtaken_by_the_contrary_link_says_so(plane, monkeypatch, moment):
    """While b is built to replace a, a is built again to replace b: before b's claim that one wins, after it b does; never both.

    b   plan ✓ ── work ── claim ── vow
    a                ↑ or ↑ plan, claim, vow, link
    """
    a, b = dataset(plane, "a", request_id="request-a1"), dataset(plane, "b", request_id="request-b1")
    honest, contrary = LocalStore.put_new, []

    def put_new(store, key, data):
        if moment in key and not contrary:
            contrary.append(key)
            intent = dict(plane.intent)
            try:
                contrary.append(build(plane, "a", old=c_id, request_id="request-a2").outcome)
            except (SupersessionLinkInvalid, DigestMismatch) as refused:
                contrary.append(refused.code)
            plane.intent.clear()
            plane.intent.update(intent)
        return honest(store, key, data)

    c_id = b
    monkeypatch.setattr(LocalStore, "put_new", put_new)
    try:
        outcome = build(plane, "b", old=a, request_id="request-b2").outcome
    except SupersessionLinkInvalid as refused:
        outcome = refused.code
    links = {path.parent.name for path in (plane.folder / "store/cards/ofs/supersession").rglob("*.json")}
    if moment == "/claims/":
        assert (outcome, contrary[1], links) == ("SUPERSESSION_LINK_INVALID", "ALREADY_PUBLISHED", {a})
    else:
        assert (outcome, contrary[1], links) == ("ALREADY_PUBLISHED", "SUPERSESSION_LINK_INVALID", {b})


def test_both_directions_are_shown(plane, capsys):
    """A dataset tells what it replaces and what replaces it, with the reasons, in text and in JSON."""
    old = dataset(plane, "old")
    middle = dataset(plane, "middle", old=old, reason="late labels")
    new = dataset(plane, "new", old=middle, reason="a defect")
    status, text = tell(plane, capsys, "show", middle)
    assert status == 0
    assert f"replaces {old}: late labels" in text
    assert f"replaced by {new}: a defect" in text
    _, shown, _ = say(plane, capsys, "show", middle)
    assert [(fact["supersedes"], fact["backfill_reason"]) for fact in shown["supersedes"]] == [(old, "late labels")]
    assert [(fact["dataset_manifest_id"], fact["backfill_reason"]) for fact in shown["superseded_by"]] == [(new, "a defect")]
    standing = opened(plane).standing(old)
    assert [fact.dataset_manifest_id for fact in standing.superseded_by] == [middle]
    assert standing.supersedes == ()


def test_what_is_replaced_must_be_believable(plane):
    """A damaged manifest, or a dataset of another run, is replaced by nothing, and no run is opened for it."""
    old = dataset(plane, "old")
    plane.plane["platform_run_id"] = "other"
    with pytest.raises(SupersessionLinkInvalid, match="run cards, and this is other"):
        build(plane, "new", old=old)
    del plane.plane["platform_run_id"]
    (path,) = plane.manifests()
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"purpose":"training"', b'"purpose":"tracking"'))
    with pytest.raises(IntegrityError):
        build(plane, "new", old=old)
    assert len(opened(plane).runs()) == 1


def test_a_damaged_link_hides_no_dataset(plane, capsys):
    """`show` prints the manifest, says which fact cannot be read, and ends 6."""
    old = dataset(plane, "old")
    new = dataset(plane, "new", old=old)
    (path,) = (plane.folder / "store/cards/ofs/supersession").rglob("*.json")
    fact = parse_fact(DatasetSupersession, path.read_bytes(), "link")
    assert (fact.dataset_manifest_id, fact.supersedes) == (new, old)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"late", b"lame"))
    status, text = tell(plane, capsys, "show", new)
    assert (status, new in text, "seal" in text) == (6, True, True)
