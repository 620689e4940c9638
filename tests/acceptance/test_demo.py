"""`ofs demo`: the whole main job on a simulated world, offline, twice, for people and for machines."""

import json
import shutil
import statistics
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from offline_feature_plane.__main__ import run
from offline_feature_plane.cli.commands import every_command
from offline_feature_plane.demo import world as demo_world
from offline_feature_plane.documents import load_yaml
from offline_feature_plane.domain.instants import US_PER_DAY, parse_instant
from offline_feature_plane.plane import open_plane

COUNT = 5_000


def asked(*words):
    """Run `ofs` in this process."""
    return run([str(word) for word in words])


@pytest.fixture(scope="module")
def toured(tmp_path_factory):
    """A folder in which the demo ran once, and what it said to machines."""
    folder = tmp_path_factory.mktemp("tour") / "demo"
    done = subprocess.run([sys.executable, "-m", "offline_feature_plane", "demo", "--dir", folder, "--events", str(COUNT), "--json"],
                          text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder, json.loads(done.stdout)


@pytest.fixture
def copy(toured, tmp_path):
    """A copy of that folder to change."""
    shutil.copytree(toured[0], tmp_path / "demo")
    return tmp_path / "demo"


def test_the_whole_job_is_done(toured):
    """World, plan, build, verification, the same answer again, and rows: one document with the numbers of each."""
    folder, told = toured
    assert list(told) == ["directory", "world", "plan", "build", "verify", "again", "preview", "seconds", "next"]
    assert told["plan"]["feasibility"] == "FEASIBLE_REQUIRES_ARCHIVE"
    assert (told["build"]["outcome"], told["again"]["outcome"]) == ("PUBLISHED", "ALREADY_PUBLISHED")
    assert told["build"]["content_digest"] == told["again"]["content_digest"]
    assert told["build"]["eligibility"] == {**told["build"]["eligibility"], "training_ready": True, "complete": True,
                                            "evidence_kind": "log_offsets"}
    assert told["build"]["warnings"] == []
    assert told["verify"]["intact"]
    assert len(told["preview"]["rows"]) == 4
    with open_plane(folder / "plane.yaml") as plane:
        frame = plane.dataset(told["build"]["dataset_manifest_id"]).to_pandas(split="train")
    assert len(frame) == told["build"]["splits"][0]["rows"] > COUNT // 4
    assert frame["terminal_risk__rate_30d"].max() > 0


def test_every_record_of_the_log_is_accounted_for(toured):
    """Duplicates, another run's records and events of another kind are in the log, and exactly they are left out."""
    _, told = toured
    made, became = told["world"], told["build"]["row_accounting"]
    assert sum(became.values()) == made["records"]
    assert (became["duplicate"], became["foreign_run"], became["other_scope"]) == (made["delivered_twice"], made["of_another_run"],
                                                                                   made["of_another_kind"])
    assert min(made["delivered_twice"], made["of_another_run"], made["of_another_kind"]) > 0
    assert became["row"] + became["outside_splits"] == COUNT == made["events"]


def test_the_archive_holds_several_forms_and_labels_are_taken_back(toured):
    """Segments are JSON Lines, plain and gzipped, and Parquet; the timeline has late and reversed labels."""
    folder, told = toured
    forms = {path.name.partition(".")[2] for path in (folder / "archive/payment").rglob("*.*")}
    assert forms == {"jsonl", "jsonl.gz", "parquet"}
    table = pq.read_table(folder / "chargebacks.parquet").to_pydict()
    assert sum(one is not None for one in table["replaces"]) == told["world"]["reversals"] > 0
    assert table["outcome"].count("CHARGEBACK") == told["world"]["chargebacks"] > 50
    assert 3 < told["world"]["late_days"] < 20


def test_the_question_fits_the_world():
    """Splits end where payments stop to be mature, begin where every window is full, and lie as far apart as `gap` asks.

    first event ── 30d window + 7d delay ──▶ train ──▶ gap ──▶ test ──▶ as_of − 45 d
    """
    texts = {name: load_yaml((demo_world.files(demo_world.__package__) / f"{name}.yaml").read_bytes(), name=name).value
             for name in ("plane", "intent")}
    label, splits = texts["intent"]["label"], texts["intent"]["splits"]
    world = demo_world.demo_world(demo_world.EVENTS, demo_world.SEED)
    start, end = (parse_instant(text) for text in (splits["train"][0], splits["test"][1]))
    assert parse_instant(str(texts["plane"]["archives"]["payment"]["history_start"])) == world.start_us
    assert start - world.start_us >= 37 * US_PER_DAY
    assert end == parse_instant(label["as_of"]) - label["maturity_days"] * US_PER_DAY
    assert parse_instant(label["as_of"]) > world.start_us + world.days * US_PER_DAY
    assert parse_instant(splits["test"][0]) - parse_instant(splits["train"][1]) == 7 * US_PER_DAY


def test_a_second_tour_finds_everything_published(copy, capsys):
    """Running it twice works: the world is found, nothing is computed, the tour says so with the same numbers."""
    assert asked("demo", "--dir", copy, "--events", COUNT) == 0
    said = capsys.readouterr().out
    for words in ("A world already exists", "Already published", "checks, from the manifest's own digest", "ALREADY_PUBLISHED",
                  "became rows", "were delivered twice", "test   2026-04-22", "Try next", "ofs show dm_"):
        assert words in said
    assert "Traceback" not in said


def test_another_world_or_other_files_are_not_overwritten(copy, tmp_path, capsys):
    """A folder that holds another world, or files of the same names, is refused and left alone."""
    assert asked("demo", "--dir", copy, "--events", COUNT, "--seed", 8) == 2
    assert "seed 7, not of 5,000 with seed 8" in capsys.readouterr().err
    assert asked("init", copy, "--demo") == 2
    assert "holds a world of 5,000" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/intent.yaml").write_text("mine")
    assert asked("demo", "--dir", tmp_path / "mine", "--events", COUNT) == 2
    assert "intent.yaml already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["intent.yaml"]


def test_an_edited_profile_with_a_new_revision_builds_another_dataset(copy, capsys):
    """What the tour proposes works: change a definition, raise the revision, build; without raising it the drift is refused."""
    path = copy / "features.yaml"
    path.write_text(path.read_text().replace("windows: [7d, 30d]", "windows: [14d]"))
    assert asked("build", copy / "intent.yaml") == 5
    assert "Raise `revision:`" in capsys.readouterr().err
    path.write_text(path.read_text().replace("revision: r1", "revision: r2"))
    assert asked("build", copy / "intent.yaml", "--json") == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "PUBLISHED"
    assert asked("datasets", "--plane", copy / "plane.yaml", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_init_demo_writes_the_default_world(tmp_path, monkeypatch, capsys):
    """`ofs init DIR --demo` writes the world, ready to plan; `ofs demo` on the same folder then goes on from there."""
    monkeypatch.setattr(demo_world, "EVENTS", COUNT)
    assert asked("init", tmp_path / "d", "--demo", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == sorted(one.rpartition("/")[2] for one in told["files"])
    assert asked("plan", tmp_path / "d/intent.yaml") == 0


def test_the_command_line_answers_at_once():
    """`ofs --help` loads no engine: 0.3 s in the median of five, and it names where to start."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-X", "importtime", "-m", "offline_feature_plane", "--help"], text=True, capture_output=True,
                              check=True)
        took.append(time.perf_counter() - began)
    assert statistics.median(took) < 0.6  # twice the promise: a busy machine must not fail this
    assert "ofs demo" in done.stdout
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not loaded & {"duckdb", "numba", "numpy", "pyarrow", "pydantic"}


@pytest.mark.parametrize("name", sorted(dict(every_command())))
def test_every_command_explains_itself_with_an_example(name, capsys):
    """`--help` of each command has a sentence, an example that begins with the command, and fits 110 columns."""
    assert asked(*name.split(), "--help") == 0
    said = capsys.readouterr().out
    assert f"  ofs {name}" in said.partition("Example:")[2]
    assert len(said.splitlines()[2].strip()) > 20
    assert max(map(len, said.splitlines())) <= 110
    assert "--json" in said


def test_the_templates_are_package_data():
    """The YAML files travel with the package's code, whatever it is installed from."""
    root = demo_world.files(demo_world.__package__)
    for name in demo_world.TEMPLATES:
        text = (root / name).read_text(encoding="utf-8")
        assert text.startswith(f"# {name}: ")
        assert max(map(len, text.splitlines())) <= 140
