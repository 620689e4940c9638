"""Retiring: a dataset stays known for good, is not built again, and its data goes only when a second fact says so (`decisions.md` D7)."""

import warnings

import pytest
from small_asking import build, dataset, files, opened, say, tell

from offline_feature_plane.contracts.facts import DataExpiry, DatasetRetirement
from offline_feature_plane.corridor.facts import parse_fact
from offline_feature_plane.errors import DatasetNotFound, DatasetRetired, DigestMismatch, IntegrityError, SchemaInvalid


def test_a_retired_meaning_is_not_built_again(plane):
    """Planning refuses it before a run is opened; building again is refused, and the run that published stays DONE."""
    built = build(plane, request_id="request-0001")
    opened(plane).retire(built.manifest.dataset_manifest_id, reason="labels of the wrong year")
    with pytest.raises(DatasetRetired, match="wrong year"):
        opened(plane).plan(plane.intent_path)
    with pytest.raises(DatasetRetired, match="wrong year"):
        opened(plane).build(plane.intent_path)
    assert [run.state for run in opened(plane).runs()] == ["DONE"]
    plane.intent["request_id"] = "request-0002"
    with pytest.raises(DatasetRetired, match="correction"):
        opened(plane).build(plane.intent_path)
    assert [run.state for run in opened(plane).runs()] == ["FAILED", "DONE"]
    assert dataset(plane, "b", request_id="request-0003") != built.manifest.dataset_manifest_id


def test_retiring_adds_one_fact_and_changes_nothing(plane):
    """Not a byte of what was published changes; the fact says who, when, why and of which manifest."""
    dm_id = dataset(plane)
    before = files(plane)
    answer = opened(plane).retire(dm_id, reason="labels of the wrong year")
    after = files(plane)
    assert {key: after[key] for key in before} == before
    assert set(after) - set(before) == {f"cards/ofs/retired/{dm_id}.json"}
    fact = parse_fact(DatasetRetirement, after[f"cards/ofs/retired/{dm_id}.json"], "retired")
    assert (answer.outcome, answer.notices, answer.retirement.fact, answer.retirement.expiry) == ("RETIRED", (), fact, None)
    assert (fact.dataset_manifest_id, fact.reason) == (dm_id, "labels of the wrong year")


def test_retiring_twice_keeps_the_first_reason(plane):
    """The same call again converges; another reason is heard, and told that the first one stands."""
    dm_id = dataset(plane)
    opened(plane).retire(dm_id, reason="labels of the wrong year")
    before = files(plane)
    again = opened(plane).retire(dm_id, reason="labels of the wrong year")
    other = opened(plane).retire(dm_id, reason="somebody else's reason")
    assert files(plane) == before
    assert (again.outcome, again.notices) == ("ALREADY_RETIRED", ())
    assert (other.outcome, other.retirement.fact.reason) == ("ALREADY_RETIRED", "labels of the wrong year")
    (notice,) = other.notices
    assert "labels of the wrong year" in notice


def test_data_goes_from_kept_to_expired_and_never_back(plane):
    """Expiring is a fact of its own, which may follow later, and which no later call takes back."""
    dm_id = dataset(plane)
    assert opened(plane).retire(dm_id, reason="wrong").retirement.expiry is None
    expired = opened(plane).retire(dm_id, reason="must be forgotten", expire_data=True)
    assert expired.retirement.fact.reason == "wrong"
    assert expired.retirement.expiry.reason == "must be forgotten"
    kept = opened(plane).retire(dm_id, reason="wrong")
    assert kept.retirement == expired.retirement
    assert "cannot be taken back" in kept.notices[0]
    assert isinstance(kept.retirement.expiry, DataExpiry)


def test_a_retired_dataset_opens_with_a_warning_while_its_data_is_kept(plane):
    """Who names it gets it, and hears why it was retired; once the data has expired, nobody reads it, collected or not."""
    dm_id = dataset(plane)
    rows = opened(plane).dataset(dm_id).to_arrow()
    opened(plane).retire(dm_id, reason="labels of the wrong year")
    with pytest.warns(UserWarning, match="labels of the wrong year"):
        kept = opened(plane).dataset(dm_id)
    assert kept.to_arrow().equals(rows)
    assert "labels of the wrong year" in kept.notices[0]
    opened(plane).retire(dm_id, reason="labels of the wrong year", expire_data=True)
    with pytest.raises(DatasetRetired, match="expired"):
        opened(plane).dataset(dm_id)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert opened(plane).manifest(dm_id).dataset_manifest_id == dm_id


def test_every_command_that_shows_a_dataset_says_that_it_was_retired(plane, capsys):
    """`show` and `datasets` say retired, when and why, for people and for machines; `verify` and `audit` of kept data read it."""
    dm_id = dataset(plane)
    status, answer, _ = say(plane, capsys, "retire", dm_id, "--reason", "labels of the wrong year")
    assert (status, answer["outcome"], answer["expired"]) == (0, "RETIRED", None)
    day = answer["retired"]["retired_at"][:10]
    for command in (("show", dm_id), ("datasets",), ("verify", dm_id), ("audit", dm_id)):
        status, text = tell(plane, capsys, *command)
        assert status == 0, text
        assert "labels of the wrong year" in text
        assert day in text
    _, shown, _ = say(plane, capsys, "show", dm_id)
    _, (listed,), _ = say(plane, capsys, "datasets")
    assert shown["retired"] == listed["retired"] == answer["retired"]
    assert shown["dataset_manifest_id"] == dm_id


def test_verifying_an_expired_dataset_is_no_alarm(plane, capsys):
    """What is kept is checked; what has expired is said to have expired, whether or not its files are gone."""
    dm_id = dataset(plane)
    opened(plane).retire(dm_id, reason="must be forgotten", expire_data=True)
    for collected in (False, True):
        if collected:
            opened(plane).collect(apply=True)
        status, text = tell(plane, capsys, "verify", dm_id)
        assert status == 0, text
        assert "expired" in text
        assert "must be forgotten" in text
        _, report, _ = say(plane, capsys, "verify", dm_id)
        assert report["intact"]
        assert report["expired"]["reason"] == "must be forgotten"
    path = plane.folder / f"store/cards/ofs/manifests/{dm_id}.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"purpose":"training"', b'"purpose":"tracking"'))
    assert tell(plane, capsys, "verify", dm_id)[0] == 6


def harm(plane, pattern, change):
    """Change the only file of a kind."""
    (path,) = (plane.folder / "store").glob(pattern)
    path.chmod(0o644)
    change(path)


def edit(path):
    """Change one word of a manifest."""
    path.write_bytes(path.read_bytes().replace(b'"training_ready":true', b'"training_ready":false'))


@pytest.mark.parametrize("change", [edit, lambda path: path.write_bytes(b"{}"), lambda path: path.unlink()],
                         ids=["edited", "emptied", "gone"])
def test_only_what_was_published_can_be_retired(plane, change):
    """A manifest that cannot be believed, or is gone, is retired by nobody, and no fact is written."""
    dm_id = dataset(plane)
    harm(plane, "cards/ofs/manifests/*.json", change)
    with pytest.raises(IntegrityError):
        opened(plane).retire(dm_id, reason="wrong")
    with pytest.raises(DatasetNotFound):
        opened(plane).retire("dm_" + "0" * 32, reason="wrong")
    assert not list((plane.folder / "store").glob("cards/ofs/retired/*"))


def test_the_beginning_of_an_id_retires_nothing(plane):
    """What cannot be taken back is not done to whichever dataset begins so; the path of its manifest is as good as its id."""
    dm_id = dataset(plane)
    for some in (dm_id[:1], dm_id[:-1]):
        with pytest.raises(DatasetNotFound, match=dm_id):
            opened(plane).retire(some, reason="wrong")
    assert not list((plane.folder / "store").glob("cards/ofs/retired/*"))
    assert opened(plane).retire(str(plane.manifests()[0]), reason="wrong").outcome == "RETIRED"


@pytest.mark.parametrize("reason", ["", "  \n", "\ud800", "two\nlines", "red \x1b[31m"])
def test_a_retirement_says_why(plane, reason):
    """A blank reason, one that no document can hold, or that is not one line, is refused, and nothing is written."""
    dm_id = dataset(plane)
    before = files(plane)
    with pytest.raises(SchemaInvalid):
        opened(plane).retire(dm_id, reason=reason)
    assert files(plane) == before


def test_a_damaged_fact_still_retires(plane, capsys):
    """One bit of the fact makes no dataset whole again: it is not built, not read, and the damage is told."""
    dm_id = dataset(plane)
    opened(plane).retire(dm_id, reason="wrong", expire_data=True)
    harm(plane, "cards/ofs/retired/*.json", lambda path: path.write_bytes(path.read_bytes().replace(b"wrong", b"wrung")))
    with pytest.raises(DatasetRetired):
        opened(plane).build(plane.intent_path)
    with pytest.raises(DigestMismatch, match="seal"):
        opened(plane).dataset(dm_id)
    for command in (("show", dm_id), ("datasets",)):
        status, text = tell(plane, capsys, *command)
        assert (status, "DIGEST_MISMATCH" in text, dm_id in text) == (6, True, True), text
