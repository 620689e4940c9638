"""What may replace what: links never form a circle, and a fact that stands does not change (`decisions.md` D8)."""

import pytest
from small_plane import make_plane

from offline_feature_plane.errors import SupersessionLinkInvalid
from offline_feature_plane.plane import open_plane


@pytest.fixture
def plane(tmp_path):
    """The small plane."""
    return make_plane(tmp_path / "p")


def opened(plane):
    """The plane, its documents as they are now."""
    plane.documents()
    return open_plane(plane.folder / "plane.yaml")


def build(plane, name, old=None, reason="it came late"):
    """Publish the dataset of one correction, which may replace another; its id."""
    plane.intent |= {"correction": name}
    for key, value in (("supersedes", old), ("backfill_reason", reason if old else None)):
        plane.intent.pop(key, None)
        if value is not None:
            plane.intent[key] = value
    return opened(plane).build(plane.intent_path).manifest.dataset_manifest_id


def refused(plane, *asked, **named):
    """What `plan` and `build` say; neither opens a run or leaves a link."""
    before = (len(opened(plane).runs()), sorted((plane.folder / "store").rglob("*")))
    with pytest.raises(SupersessionLinkInvalid) as caught:
        build(plane, *asked, **named)
    with pytest.raises(SupersessionLinkInvalid) as planned:
        opened(plane).plan(plane.intent_path)
    assert (planned.value.what, planned.value.path) == (caught.value.what, caught.value.path)
    assert (len(opened(plane).runs()), sorted((plane.folder / "store").rglob("*"))) == before
    return caught.value


@pytest.mark.parametrize("links", [1, 2, 3])
def test_links_never_form_a_circle(plane, links):
    """A dataset cannot be replaced by what it replaces itself, over any number of links.

    a ◀── b ◀── c      a ──▶ c is refused, c ──▶ a is a second link of c
    """
    ids = [build(plane, "a")]
    for name in "bcd"[:links]:
        ids.append(build(plane, name, ids[-1]))
    error = refused(plane, "a", ids[-1])
    assert "cycle" in error.what
    assert "supersedes" in str(error.path)
    assert build(plane, "bcd"[links - 1], ids[0]) == ids[-1]
    folder = plane.folder / "store/cards/ofs/supersession" / ids[-1]
    assert {path.stem for path in folder.iterdir()} == {ids[0], ids[-2]}


def test_no_dataset_replaces_itself(plane):
    """A dataset that names its own id is refused: the shortest circle."""
    dataset = build(plane, "a")
    assert "cycle" in refused(plane, "a", dataset).what


def test_a_link_has_one_reason(plane):
    """The same link for the same reason is no news; for another reason it is refused, and the fact stays."""
    old = build(plane, "a")
    new = build(plane, "b", old, "late labels")
    assert build(plane, "b", old, "late labels") == new
    (fact,) = (plane.folder / "store/cards/ofs/supersession").rglob("*.json")
    said = fact.read_bytes()
    error = refused(plane, "b", old, reason="a defect")
    assert "late labels" in error.what
    assert "backfill_reason" in str(error.path)
    assert fact.read_bytes() == said


def test_only_what_is_published_here_is_replaced(plane):
    """A well-formed id that no manifest has is refused, with the command that lists the known ones."""
    error = refused(plane, "a", "dm_" + "0" * 32)
    assert "not published" in error.what
    assert "ofs datasets" in error.fix
    assert plane.manifests() == []
