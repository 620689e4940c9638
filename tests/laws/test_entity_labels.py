"""Labels about entities: the law by hand, and engines on drawn timelines (`docs/decisions/0035`)."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from two_engines import tell

from offline_feature_plane.domain.closure import Closure, Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.entity_labels import resolve_event
from offline_feature_plane.domain.resolution import RULES, SOURCES, Assertion, Resolution
from offline_feature_plane.domain.rows import LabelTask, Split, Target, Task
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.local.sizes import Sizes
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.testing.worlds import SECOND, START, Labels, Table, World

INT, TEXT, TIME = ColumnType("int64"), ColumnType("string"), ColumnType("timestamp")
VECTORS = json.loads((Path(__file__).parent.parent / "golden" / "labels" / "entities.json").read_text())["vectors"]
SAID = {"entity": TEXT, "value": TEXT, "observed": TIME, "effective": TIME, "source": TEXT, "id": TEXT, "supersedes": TEXT}


def say(value, observed, effective, source="SYSTEM", assertion_id=None, supersedes=None):
    """An assertion about one account."""
    return Assertion("A", "flag", value, observed, effective, source, assertion_id, supersedes)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_golden_events(vector):
    """What was said about an account holds for each of its events as the vector's author wrote it."""
    said = [say(*one) for one in vector["said"]]
    for ts, cut, *expected in vector["answers"]:
        assert resolve_event(said, ts, cut, vector["rule"]) == Resolution(*expected), (ts, cut)


def draw_world(seed):
    """Accounts with events and assertions within a few seconds: ties, reversals, links, repeats, unknown accounts, events of none."""
    rng = Random(seed)
    kind, names = rng.choice([(TEXT, ["a", "b", "é", "𐍈", None]), (INT, [0, 1, -5, 2**60, None])])
    events = tuple({"event_id": number, "at": START + rng.randint(0, 12) * SECOND, "who": rng.choice(names), "other": "a"}
                   for number in range(rng.randint(1, 30)))
    rows = []
    for number in range(rng.randint(4, 32)):
        observed, replaced = START + rng.randint(-2, 16) * SECOND, rng.choice([None, None, *rows])
        row = {"entity": replaced["entity"] if replaced else rng.choice([*names[:-1], names[0], "nobody" if kind == TEXT else 77]),
               "value": rng.choice(["FRAUD", "LEGIT", "OTHER"]), "observed": observed,
               "effective": observed + rng.choice([0, 0, -3, -20, 1, 4]) * SECOND, "source": rng.choice(SOURCES),
               "id": f"d{number}" if rng.randrange(6) else None, "supersedes": replaced["id"] if replaced else None}
        if rows and rng.random() < 0.35:  # says something else with the same rank
            row |= {part: rows[-1][part] for part in ("entity", "observed", "effective", "source")} | {"supersedes": None}
        rows += [row, *([dict(row)] if rng.randrange(8) == 0 else [])]
    replacing = [row for row in rows if row["supersedes"]]
    if replacing and rng.randrange(6) == 0:  # two that supersede each other
        one = rng.choice(replacing)
        next(row for row in rows if row["id"] == one["supersedes"])["supersedes"] = one["id"]
    rng.shuffle(rows)
    linked = rng.choice([True, True, False])
    labels = Labels("flag", Table("flag", rng.choice(["parquet", "csv", "jsonl"]), {**SAID, "entity": kind}, tuple(rows)), "entity",
                    id="id" if linked else None, supersedes="supersedes" if linked else None, min_lag_us=rng.choice([None, 0]),
                    entity_field="who")
    fields = (Field("who", kind, ("who",), nullable=True), Field("other", TEXT, ("other",)))
    columns = {"event_id": INT, "at": TIME, "who": kind, "other": TEXT}
    logins = tuple({**event, "at": event["at"] + SECOND} for event in events[::2])  # they hold the same accounts, and get no label
    held = (Table("login", "jsonl", columns, logins, INT), Table("tx", "parquet", columns, events, INT))
    closure = Closure("p", "1", "s", "v1", (Source("login", ("login",), fields), Source("tx", ("tx",), fields)), (), (), ())
    asof = START + rng.randint(4, 16) * SECOND
    train, test = Split("train", START, START + 5 * SECOND), Split("test", START + 6 * SECOND, START + 20 * SECOND)
    judged = replace(test, asof_us=asof + rng.randint(1, 6) * SECOND)  # by what is known later
    task = Task("worlds", (), closure, "tx", None, rng.choice([(), (train, test), (train, judged)]),
                LabelTask(asof, rng.choice(sorted(RULES)), ("flag",), rng.choice([None, 0, 3 * SECOND])),
                rng.choice([None, None, Target("flag", ("FRAUD",), None, rng.choice(["exclude", "negative_when_mature"]))]), None, "allow",
                (), None)
    return World(task, held, (labels,))


def hold_together(world):
    """The oracle, and the local engine in memory and over files of a few events each, say the same of a world."""
    small = Sizes(block=3, run_rows=2, ids=3, merge_total=8, index=2, data=2_000, in_files=True)
    with tempfile.TemporaryDirectory() as folder:
        events, labels = world.write(Path(folder))
        expected, found, filed = (tell(engine, world.task, events, labels, Path(folder) / str(place)) for place, engine in enumerate((
            OracleEngine(), LocalEngine(), LocalEngine(small))))
    for part in expected | found:
        assert found.get(part) == expected.get(part) == filed.get(part), part
    return expected


def test_engines_say_the_same_of_accounts():
    """Facts, slices, rows and digests over drawn accounts are those of the oracle, or all refuse alike; rows of every status are met."""
    said = [hold_together(draw_world(seed)) for seed in range(8)]
    assert {row["flag__status"] for one in said for row in one.get("rows", ())} == {"'RESOLVED'", "'CONFLICT'", "'NOT_FOUND'"}


WRONG = {"a cycle": [("a", "FRAUD", "b"), ("b", "LEGIT", "a")], "one id for two": [("a", "FRAUD", None), ("a", "LEGIT", None)]}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_about_an_account_is_refused_alike(name):
    """Assertions about one account that supersede each other, or share an id, are refused by every engine; about a stranger, by none."""
    world = draw_world(9)
    (labels,) = world.labels
    for entity, expected in ((0, "LABEL_TIMELINE_INCONSISTENT"), (77, None)):
        rows = tuple({"entity": entity, "value": value, "observed": START, "effective": START, "source": "AUTO", "id": one,
                      "supersedes": other} for one, value, other in WRONG[name])
        wrong = replace(labels, table=replace(labels.table, rows=rows), id="id", supersedes="supersedes")
        assert hold_together(replace(world, labels=(wrong,))).get("error") == expected


@pytest.mark.long
@pytest.mark.parametrize("start", range(100, 2_100, 100))
def test_engines_say_the_same_of_many_accounts(start):
    """As above, two thousand worlds."""
    for seed in range(start, start + 100):
        hold_together(draw_world(seed))
