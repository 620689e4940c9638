"""plane.yaml: what it may say, what overrides it, and what of it is meaning."""

import subprocess
import sys
from pathlib import Path

import pytest

from offline_feature_plane.contracts.plane import config_meaning, memory_bytes
from offline_feature_plane.documents import load_yaml
from offline_feature_plane.domain.identity import config_digest
from offline_feature_plane.errors import OfsError, RefNotFound, SettingsInvalid
from offline_feature_plane.settings import describe_settings, load_settings, settings_from

GOOD = """
plane: cards
events: {transaction: {path: data/t.parquet, id: tx_id, time: tx_time, history_start: 2026-01-01}}
labels:
  chargeback: {path: c.parquet, event: tx_id, observed: reported_at, value: CHARGEBACK}
  fraud: {path: t.csv, event: tx_id, observed: {after_event: 30d}, value: {column: is_fraud, 1: FRAUD, 0: LEGIT}}
"""


def read(text, env=None, arguments=None):
    """Settings from YAML text in /plane."""
    return settings_from(load_yaml(text).value, Path("/plane"), env, arguments)


def test_short_settings_get_defaults_and_absolute_paths():
    """Five lines are enough; paths are relative to plane.yaml."""
    found = read(GOOD + "store: /data/ofs\n")
    assert (found.events["transaction"].path, found.ledger, found.store) == ("/plane/data/t.parquet", "/plane/.ofs/ledger.sqlite",
                                                                             "/data/ofs")
    assert found.events["transaction"].history_start == "2026-01-01T00:00:00.000000Z"
    assert (found.run_scope, found.policy_revision, found.strict, found.roots) == ("cards", "unversioned", False, ["/plane"])
    assert found.labels["fraud"].document()["value"] == {"column": "is_fraud", "1": "FRAUD", "0": "LEGIT"}


def test_a_place_of_another_system_is_no_folder_of_this_one():
    """A path with a scheme is refused at its own place, in the file and in the environment, never taken for a local folder."""
    foreign = GOOD.replace("path: data/t.parquet", "path: s3://b/t.parquet")
    assert foreign != GOOD
    with pytest.raises(SettingsInvalid) as caught:
        read(foreign + "store: gs://b/x\nledger: mysql://h/db\nroots: [., 'gs://c']\n", {"OFS_WORK": "gs://b/w"})
    told = {problem.path: problem.sentence for problem in caught.value.problems}
    assert set(told) == {"$.events.transaction.path", "$.store", "$.ledger", "$.roots[1]", "OFS_WORK"}
    assert "s3://bucket/prefix" in told.pop("$.store")
    assert "a PostgreSQL database" in told.pop("$.ledger")
    assert all("only local paths" in sentence for sentence in told.values())


@pytest.mark.parametrize("address", ["postgresql://ofs@db:5432/plane?sslmode=require&schema=cards", "postgres:///plane?host=/run/pg",
                                     "postgresql:///?service=ofs", "postgresql://a@h1:1,h2:2/db?target_session_attrs=read-write"])
def test_a_ledger_may_be_the_address_of_a_database(address):
    """An address of PostgreSQL stays as it was written, in the file and in the environment."""
    assert read(GOOD + f"ledger: {address}\n").ledger == address
    assert read(GOOD, {"OFS_LEDGER": address}).ledger == address


SECRET = "hunter2"  # noqa: S105 - nobody's
LEAKY = [f"postgresql://u:{SECRET}@h/db", f"postgresql://u@h/db?password={SECRET}", f"postgresql://u@h/db?sslpassword={SECRET}",
         f"postgresql://u:{SECRET}@x@h/db", f"postgresql://u:a/{SECRET}@h/db", f"postgresql://u:a#{SECRET}@h/db",
         f"postgresql://u:a?{SECRET}@h/db", f"postgresql://u:{SECRET}@[h/db", f" postgres://u:{SECRET}@h/db ", f"mysql://u:{SECRET}@h/db",
         f"postgresql://u@h/db?pasword={SECRET}", f"postgresql://u@h/db?schema=x%20{SECRET}"]


@pytest.mark.parametrize("address", LEAKY)
@pytest.mark.parametrize("place", ["ledger", "store", "work"])
def test_a_password_in_an_address_is_refused_and_never_repeated(address, place, tmp_path):
    """Whatever is written in a wrong address, no message shows it; a password is told how it can be given."""
    (tmp_path / "plane.yaml").write_text(GOOD + f"{place}: '{address}'\n")
    for call in (lambda: load_settings(tmp_path / "plane.yaml"), lambda: read(GOOD, {f"OFS_{place.upper()}": address}),
                 lambda: read(GOOD, None, {place: address})):
        with pytest.raises(SettingsInvalid) as refused:
            call()
        told = str(refused.value) + str(refused.value.describe()) + str(refused.value.problems)
        assert SECRET not in told
    if place == "ledger" and address == LEAKY[0]:
        assert "PGPASSWORD" in told
        assert "passfile" in told


@pytest.mark.parametrize("address", LEAKY)
def test_a_password_in_the_address_of_a_label_store_is_refused_and_never_repeated(address, tmp_path):
    """The same for a label store, at the place of its label type."""
    (tmp_path / "plane.yaml").write_text(f"plane: cards\nlabels:\n  chargeback: {{store: '{address}'}}\n")
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(tmp_path / "plane.yaml")
    assert [problem.path.partition(" ")[2] for problem in refused.value.problems] == ["$.labels.chargeback.store"]
    assert SECRET not in str(refused.value) + str(refused.value.describe()) + str(refused.value.problems)


def test_a_store_may_be_in_a_bucket():
    """The address of a bucket is taken as it is, and how it is reached stands beside it."""
    found = read(GOOD + "store: s3://datasets/cards\ns3: {endpoint: 'https://s3.example.org:9000', profile: ofs}\n",
                 {"OFS_S3__REGION": "eu-central-1", "OFS_S3__TIMEOUT_S": "5"}, {"s3.addressing": "path"})
    assert found.store == "s3://datasets/cards"
    assert found.s3.model_dump() == {"endpoint": "https://s3.example.org:9000", "region": "eu-central-1", "profile": "ofs",
                                     "addressing": "path", "timeout_s": 5}
    assert read(GOOD, {"OFS_STORE": "s3://datasets"}).store == "s3://datasets"


@pytest.mark.parametrize(("text", "place", "words"), [
    ("store: s3://b", "$.store", "s3://bucket/prefix"),
    ("store: s3://", "$.store", "s3://bucket/prefix"),
    ("store: S3://bucket/x", "$.store", "s3://bucket/prefix"),
    ("store: s3://Bucket/x", "$.store", "s3://bucket/prefix"),
    ("store: s3://bucket:9000/x", "$.store", "s3://bucket/prefix"),
    ("store: s3://[bucket/x", "$.store", "s3://bucket/prefix"),
    ("store: s3://bucket/x?versionId=1", "$.store", "s3://bucket/prefix"),
    ("store: s3://bucket/../x", "$.store", "prefix"),
    ("store: s3://bucket/a//b", "$.store", "prefix"),
    ("store: 's3://bucket/a b'", "$.store", "prefix"),
    ("store: s3://bucket/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "$.store", "prefix"),
    ("store: s3://AKIA:canary@bucket/x", "$.store", "by reference"),
    ("store: s3://bucket/canary@x", "$.store", "by reference"),
    ("s3: {endpoint: 'https://AKIA:canary@host'}", "$.s3.endpoint", "by reference"),
    ("s3: {endpoint: 'https://host/?token=canary'}", "$.s3.endpoint", "no query"),
    ("s3: {endpoint: 'ftp://host'}", "$.s3.endpoint", "address of a server"),
    ("s3: {endpoint: 'https://host:canary'}", "$.s3.endpoint", "address of a server"),
    ("s3: {endpoint: localhost}", "$.s3.endpoint", "address of a server"),
    ("s3: {access_key_id: canary}", "$.s3.access_key_id", "by reference"),
    ("s3: {secret: canary}", "$.s3.secret", "by reference"),
    ("s3: {session_token: canary}", "$.s3.session_token", "by reference"),
    ("s3: {endpont: 'http://h'}", "$.s3.endpont", "endpoint"),
    ("s3: {addressing: dns}", "$.s3.addressing", "path"),
    ("s3: {timeout_s: 0}", "$.s3.timeout_s", "1"),
    ("s3: []", "$.s3", "mapping"),
])
def test_a_bucket_that_cannot_be_meant_is_refused(text, place, words):
    """An address that is none, or that holds what should stay secret, is refused where it stands, and nothing of a secret is repeated."""
    with pytest.raises(SettingsInvalid) as caught:
        read(f"{GOOD}{text}\n")
    (problem,) = caught.value.problems
    assert problem.path == place
    assert words in problem.sentence
    assert "canary" not in str(caught.value)


def test_arguments_beat_environment_beats_file():
    """File < environment < arguments; other variables are none of our business."""
    text = GOOD + "engine: {name: oracle, threads: 1}\n"
    env = {"OFS_ENGINE__THREADS": "2", "OFS_ENGINE__MEMORY_LIMIT": "4GB", "OFS_STRICT": "TRUE", "OFS_ROOTS": "/a, /b",
           "OFS_PLANE": "x.yaml", "HOME": "/"}
    found = read(text, env, {"engine.memory_limit": "2GB", "engine.threads": None})
    assert (found.engine.name, found.engine.threads, found.engine.memory_limit) == ("oracle", 2, "2GB")
    assert found.strict
    assert found.roots == ["/a", "/b"]


def test_every_problem_is_told_at_once():
    """Unknown keys, wrong types, wrong zones, label entries without sense and unknown variables: all in one error, with line and advice."""
    bad = """plane: "../x"
event: {}
events: {t: {path: t.parquet, tme: x, zone: Mars/One}}
labels: {fraud: {path: t, event: [1], observed: {after: 3}, value: 5, min_lag: soon}}
engine: {threads: 0, memory_limit: lots}
archives: {t: {path: x}}
"""
    with pytest.raises(SettingsInvalid) as caught:
        read(bad, {"OFS_ENGIN__NAME": "x", "OFS_ENGINE__NAME": "sparkle", "OFS_ENGINE__THREADS": "many"})
    told = {problem.path: problem.sentence for problem in caught.value.problems}
    assert set(told) >= {"$.plane", "$.event", "$.events.t.time", "$.events.t.tme", "$.events.t.zone", "$.labels.fraud.event",
                         "$.labels.fraud.observed", "$.labels.fraud.value", "$.labels.fraud.min_lag", "OFS_ENGINE__THREADS",
                         "$.engine.memory_limit", "OFS_ENGINE__NAME", "$.archives.t", "OFS_ENGIN__NAME"}
    assert not {"$.engine.threads", "$.engine.name"} & set(told)
    assert "Did you mean events?" in told["$.event"]
    assert "OFS_ENGINE__NAME" in told["OFS_ENGIN__NAME"]
    assert {problem.code for problem in caught.value.problems} == {"SETTINGS_INVALID"}


@pytest.mark.parametrize("amount", ["0", "0GB", "0.0GB", "0.0001KB", "1e9", "-1GB", "4gb", "4GB\n", "None", "2000000TB", "9" * 400 + "GB"])
def test_an_amount_of_memory_is_one_that_a_machine_could_have(amount):
    """Nothing, less than nothing, more than any machine has, and what is no amount are refused where they were given."""
    with pytest.raises(SettingsInvalid) as caught:
        read(GOOD, {"OFS_ENGINE__MEMORY_LIMIT": amount})
    assert [problem.path for problem in caught.value.problems] == ["OFS_ENGINE__MEMORY_LIMIT"]
    assert "write for example 4GB" in caught.value.problems[0].sentence


@pytest.mark.parametrize(("amount", "bytes_of_it"), [
    ("1KB", 1_000), ("0.5GB", 500_000_000), ("4 GB", 4 * 10**9), ("1.1GiB", 1_181_116_006)])
def test_an_amount_of_memory_may_be_part_of_a_unit(amount, bytes_of_it):
    """Amounts are decimal numbers of a unit, exact to the byte."""
    assert memory_bytes(read(GOOD, {"OFS_ENGINE__MEMORY_LIMIT": amount}).engine.memory_limit) == bytes_of_it


def test_what_overrides_is_blamed_for_itself():
    """A value is wrong where it was given: the last of file, environment and argument."""
    with pytest.raises(SettingsInvalid) as caught:
        read(GOOD + "strict: 5\nengine: {threads: 0, memory_limit: lots}", {"OFS_STRICT": "maybe", "OFS_ENGINE__THREADS": "0"},
             {"engine.threads": -1})
    assert sorted(problem.path for problem in caught.value.problems) == ["$.engine.memory_limit", "OFS_STRICT", "engine.threads"]


@pytest.mark.parametrize("text", ["", "[1]", "5", "plane: null", "plane: x\nlabels: {a: 5}", "plane: x\nevents: [1]",
                                  "plane: x\ngate_map: {g: {outputs: 1}}"])
def test_nonsense_is_refused(tmp_path, text):
    """Whatever plane.yaml holds, it is read or refused by name and line."""
    path = tmp_path / "plane.yaml"
    path.write_text(text)
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(path)
    assert "plane.yaml" in str(caught.value)


def test_a_missing_file_is_said():
    """No plane.yaml is no traceback."""
    with pytest.raises(RefNotFound):
        load_settings(Path("/no/such/plane.yaml"))


@pytest.mark.parametrize("change", ["store: x", "store: s3://bucket", "s3: {region: r, profile: p}", "ledger: y", "work: z",
                                    "engine: {threads: 3, memory_limit: 1GB, name: oracle}",
                                    "roots: [/a]",
                                    "tokens: {key_file: k}", "run_facts: f.json", "strict: true", "policy_revision: r7"])
def test_places_and_machines_are_no_meaning(change):
    """Paths, engine, memory, threads, store and ledger never change the config digest."""
    moved = GOOD.replace("data/t.parquet", "elsewhere/t.csv").replace("c.parquet", "d.csv, format: csv")
    assert config_digest(config_meaning(read(GOOD))) == config_digest(config_meaning(read(moved + change)))


@pytest.mark.parametrize(("old", "new"), [("id: tx_id, time", "id: other, time"), ("tx_time", "booked_at"), ("2026-01-01", "2026-01-02"),
                                          ("time: tx_time", "time: tx_time, zone: Europe/Paris"), ("value: CHARGEBACK", "value: CB"),
                                          ("30d", "31d"), ("0: LEGIT", "0: GOOD"), ("plane: cards",
                                                                                    "plane: cards\ngate_map: {g: {outputs: [o]}}"),
                                          ("observed: reported_at", "observed: reported_at, min_lag: 1d")])
def test_mappings_are_meaning(old, new):
    """Every mapping that could change a row or a verdict changes the config digest."""
    assert old in GOOD
    assert config_digest(config_meaning(read(GOOD))) != config_digest(config_meaning(read(GOOD.replace(old, new))))


def test_what_a_dataset_does_not_use_is_no_meaning():
    """Another label type, another table, or gates without world inputs change nothing for a dataset that reads none of them."""
    more = GOOD + "gate_map: {g: {outputs: [o]}}\narchives: {login: {path: logins}}\n"
    used = {"topics": ["transaction"], "label_types": ["chargeback"], "outputs": []}
    assert config_meaning(read(GOOD), **used) == config_meaning(read(more.replace("is_fraud", "other")), **used)


def test_every_setting_is_described():
    """Each setting has a name, a type and a meaning for the reference."""
    rows = describe_settings()
    assert len({name for name, *_ in rows}) == len(rows) > 30
    assert all(kind and sentence.endswith(".") for _, kind, _, sentence in rows)
    assert ("engine.threads", "integer", "", "How many threads the engine may use on this machine.") in rows
    assert next(default for name, _, default, _ in rows if name == "ledger") == ".ofs/ledger.sqlite"


def test_settings_are_light():
    """Reading settings loads no engine, compiler or frame library."""
    code = "import sys, offline_feature_plane.settings; print(*{'duckdb', 'pyarrow', 'numba', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_frozen():
    """Settings do not change after they were read."""
    with pytest.raises((TypeError, ValueError)):
        read(GOOD).plane = "other"
    assert isinstance(SettingsInvalid("x"), OfsError)
