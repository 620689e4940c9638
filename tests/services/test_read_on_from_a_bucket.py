"""A build that was killed, and its archive in a bucket of a real server: what was read to its end is not asked for again."""

import sys
from contextlib import suppress
from pathlib import Path

from s3_servers import ENVIRONMENT, WallClock, place_at

from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.sources.archives.buckets import BucketPlace
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.testing.archives import write_archive
from offline_feature_plane.testing.fault_proxy import FaultProxy

sys.path.insert(0, str(Path(__file__).parents[1] / "laws"))  # attempts that are killed there, on archives of another place

from record_worlds import SOURCES, task
from test_taken_over import Killed, cut, numbered, replay


def test_of_what_is_kept_a_bucket_is_asked_nothing(tmp_path, weed, monkeypatch):
    """Killed behind the fourth of five segments, the next attempt asks its bucket for those alone that are not kept.

    attempt 1   [seg)[seg)[seg)[seg) ☠          each is looked at, and fetched
    attempt 2    kept kept kept … ─▶ [seg)      what is kept is neither
    """
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    write_archive(tmp_path / "log", numbered(35), per_segment=7)
    asked = []
    with FaultProxy(weed.url) as network, cut(7):
        there = BucketPlace(place_at(network.url), tmp_path / "spool", WallClock())
        for path in (one for one in sorted((tmp_path / "log").rglob("*")) if one.is_file()):
            there._bucket.put(path.relative_to(tmp_path / "log").as_posix(), path.read_bytes(), sha256_of(path.read_bytes()))
        network.between = lambda request, forward: (asked.append(request.target.rpartition("/")[2].partition("?")[0]), forward(request))[1]
        archive = ArchiveSource({"t1": ArchiveMapping(lambda: there)}).pin("t1")
        log = archive.reading(archive.ranges(), SOURCES)
        whole, _, _ = replay([log], task(), tmp_path / "plain", in_files=True)
        with suppress(Killed):
            replay([log], task(), tmp_path / "first", in_files=True, place=tmp_path / "kept", stop=4)
        kept = sum(not one.name.startswith(".") for one in (tmp_path / "kept").iterdir())
        asked.clear()
        again, taken, _ = replay([log], task(), tmp_path / "second", in_files=True, place=tmp_path / "kept")
    assert (again, taken) == (whole, kept)
    assert kept >= 2
    assert sorted(asked) == sorted(2 * [f"{number:05}.jsonl" for number in range(kept, 5)])
