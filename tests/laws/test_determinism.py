"""Same inputs, same digest: whatever computes, wherever it runs, however the same events are written down (R9)."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from whole_worlds import build, digest_of, draw_world, open_world

ENVIRONMENTS = [
    {"PYTHONHASHSEED": "1", "TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "OFS_ENGINE__THREADS": "2"},
    {"PYTHONHASHSEED": "4242", "TZ": "America/St_Johns", "LANG": "tr_TR.UTF-8", "OFS_ENGINE__MEMORY_LIMIT": "200MB", "PYTHONUTF8": "0"},
]
MORE_ENVIRONMENTS = [
    {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C"},
    {"PYTHONHASHSEED": "7", "TZ": "Pacific/Apia", "OFS_ENGINE__THREADS": "4", "OFS_ENGINE__MEMORY_LIMIT": "400MB"},
    {"PYTHONHASHSEED": "random", "TZ": "Europe/Berlin", "LC_ALL": "POSIX", "OMP_NUM_THREADS": "1"},
    {"PYTHONHASHSEED": "99", "TZ": ":/nowhere", "LANG": "ar_EG.UTF-8", "OFS_ENGINE__THREADS": "1"},
    {"PYTHONHASHSEED": "3", "TZ": "Asia/Tehran", "PYTHONOPTIMIZE": "1"},
    {"PYTHONHASHSEED": "5", "TZ": "Africa/Monrovia", "OFS_ENGINE__NAME": "oracle"},
]
BUILD_ALL = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from whole_worlds import open_world
answers = []
for number, place in enumerate(sys.argv[3:]):
    own = {name: f"{sys.argv[2]}/{number}/{name}" for name in ("store", "ledger", "work")}
    built = open_world(Path(place), **own).build(Path(place).parent / "intent.yaml")
    answers.append([built.manifest.dataset_fingerprint, built.manifest.core.content_digest, built.manifest.core.events_digest,
                    built.manifest.core.label_slice_digest])
print(json.dumps(answers))
"""


def said_in(environment, paths, place):
    """The digests that a process in this environment reaches for some planes, with a store of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME") if name in os.environ}
    done = subprocess.run([sys.executable, "-c", BUILD_ALL, str(Path(__file__).parent), str(place), *map(str, paths)], check=False,
                          capture_output=True, text=True, env=kept | environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def hold_in_all(environments, paths, place):
    """Every environment says what this process says."""
    here = []
    for number, path in enumerate(paths):
        core = build(path, **{name: str(place / "here" / str(number) / name) for name in ("store", "ledger", "work")}).manifest
        here.append([core.dataset_fingerprint, core.core.content_digest, core.core.events_digest, core.core.label_slice_digest])
    for number, environment in enumerate(environments):
        assert said_in(environment, paths, place / str(number)) == here, environment


def test_no_environment_shows_in_a_dataset(tmp_path):
    """Threads, memory limit, time zone, locale, and hash seed change no digest and no fingerprint, of tables as of archives."""
    paths = [draw_world(101).write(tmp_path / "a", form="jsonl", split=3), draw_world(102).write_archive(tmp_path / "b", per_segment=7)]
    hold_in_all(ENVIRONMENTS, paths, tmp_path / "out")


@pytest.mark.long
def test_no_environment_shows_in_many_datasets(tmp_path):
    """As above, 24 worlds in eight environments."""
    paths = [draw_world(200 + seed, events=200).write(tmp_path / f"t{seed}", split=1 + seed % 3) for seed in range(16)]
    paths += [draw_world(300 + seed, events=120).write_archive(tmp_path / f"a{seed}", per_segment=11) for seed in range(8)]
    hold_in_all(ENVIRONMENTS + MORE_ENVIRONMENTS, paths, tmp_path / "out")


def hold_however_written(seed, folder):
    """One world of plain tables in many spellings: one content, and another log whenever the bytes are others."""
    world = draw_world(seed)
    rows = sum(map(len, world.events.values()))
    plain = build(world.write(folder / "plain"), read=rows)
    doubled = world.copy()
    for table in (*doubled.events.values(), *doubled.labels.values()):
        table.extend(random.Random(seed).sample(table, len(table) // 3))
    twice = sum(map(len, doubled.events.values()))
    written = {"shuffled": (world.write(folder / "shuffled", shuffled=seed), rows), "split": (world.write(folder / "split", split=3), rows),
               "json": (world.write(folder / "json", form="jsonl", shuffled=seed + 1), rows),
               "doubled": (doubled.write(folder / "doubled", shuffled=seed, split=2), twice)}
    for name, (path, read) in written.items():
        found = build(path, read=read)
        assert found.manifest.core.content_digest == plain.manifest.core.content_digest, name
        assert found.manifest.replay_basis != plain.manifest.replay_basis, name
        assert found.manifest.dataset_fingerprint != plain.manifest.dataset_fingerprint, name
        assert found.manifest.core.label_slice_digest == plain.manifest.core.label_slice_digest, name
    assert build(written["doubled"][0]).manifest.core.row_accounting["duplicate"] == twice - rows


@pytest.mark.parametrize("seed", [110])
def test_order_files_form_and_repeats_of_tables_are_no_content(tmp_path, seed):
    """Shuffled rows, more files, another form, and repeated events give the same rows from another log (`decisions.md` D14)."""
    hold_however_written(seed, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1_000, 1_100))
def test_order_files_form_and_repeats_of_many_tables_are_no_content(tmp_path, seed):
    """As above, a hundred worlds."""
    hold_however_written(seed, tmp_path)


def test_csv_holds_what_parquet_holds(tmp_path):
    """A table of text ids has one content in CSV and in Parquet."""
    world = draw_world(114)
    world.text_ids = True
    assert digest_of(world.write(tmp_path / "csv", form="csv")) == digest_of(world.write(tmp_path / "parquet"))


def hold_however_archived(seed, folder):
    """One archived world in many layouts: one content and one meaning, since a log is what its offsets say."""
    world = draw_world(seed)
    rows = sum(map(len, world.events.values()))
    plain = build(world.write_archive(folder / "plain"), read=rows).manifest
    for name, layout in {"segments": {"per_segment": 3}, "parquet": {"form": "parquet", "per_segment": 20},
                         "gzip": {"form": "jsonl.gz", "per_segment": 9}}.items():
        found = build(world.write_archive(folder / name, **layout), read=rows).manifest
        assert found.core.content_digest == plain.core.content_digest, name
        assert found.core.events_digest == plain.core.events_digest, name
        assert found.dataset_fingerprint == plain.dataset_fingerprint, name


@pytest.mark.parametrize("seed", [120])
def test_the_layout_of_an_archive_is_no_meaning(tmp_path, seed):
    """Segment sizes, JSON Lines, gzip or Parquet: one log, one fingerprint, one content (`decisions.md` D4, D9)."""
    hold_however_archived(seed, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2_000, 2_040))
def test_the_layouts_of_many_archives_are_no_meaning(tmp_path, seed):
    """As above, forty worlds."""
    hold_however_archived(seed, tmp_path)


def test_a_moved_plane_is_the_same_plane(tmp_path):
    """The folder that everything lies in is no meaning: the same fingerprint and content elsewhere."""
    world = draw_world(130)
    here = world.write(tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "elsewhere with ' and ; DROP" / "é")
    there = tmp_path / "elsewhere with ' and ; DROP" / "é" / "plane.yaml"
    one, other = build(here).manifest, build(there).manifest
    assert (one.dataset_fingerprint, one.core) == (other.dataset_fingerprint, other.core)


def test_a_basis_in_pieces_is_the_whole_basis(tmp_path):
    """Adjacent and overlapping ranges that cover the log mean the log: one fingerprint, one dataset.

    offsets  0───────────5────────9─────────end
    whole    [─────────────────────────────)
    pieces   [───────────)
                      [───────────────────)
    """
    world = draw_world(122)
    path = world.write_archive(tmp_path / "w", per_segment=4)
    plane = open_world(path)
    pinned = plane.pin(path.parent / "intent.yaml").document
    pieces = []
    for entry in pinned["replay_basis"]:
        middle = int(entry["end_offset"]) // 2
        pieces += [entry | {"end_offset": str(middle + 1)}, entry | {"start_offset": str(max(0, middle - 2))}]
    whole = build(path)
    parted = build(path, pinned | {"replay_basis": pieces[::-1]})
    assert parted.outcome == "ALREADY_PUBLISHED"
    assert parted.manifest == whole.manifest


def test_a_part_of_the_log_is_what_its_events_say(tmp_path):
    """A basis that ends earlier gives the dataset of the events before its end, and another fingerprint: history is the basis."""
    world = draw_world(123)
    path = world.write_archive(tmp_path / "w", per_segment=4)
    intent = open_world(path).pin(path.parent / "intent.yaml").document
    basis = [entry | {"end_offset": str(int(entry["end_offset"]) - 5)} for entry in intent["replay_basis"]]
    narrowed = build(path, intent | {"replay_basis": basis}).manifest
    fewer = world.copy()
    for name, rows in fewer.events.items():
        ordered = sorted(rows, key=lambda one: (one["at"], one["tx_id"]))
        fewer.events[name] = [row for lane in (0, 1) for row in [one for one in ordered if one["tx_id"] % 2 == lane][:-5]]
    assert narrowed.dataset_fingerprint != build(path).manifest.dataset_fingerprint
    assert narrowed.core.content_digest == digest_of(fewer.write_archive(tmp_path / "fewer"))
