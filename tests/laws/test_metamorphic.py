"""Laws that relate two whole builds: what comes later changes nothing, names are only names, instants are only distances (R17)."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from whole_worlds import ASOF_DAY, DAY, HOUR, NAMES, START, build, draw_world, features_of, rows_of, text_of

OTHER_NAMES = dict(zip(NAMES["customer"], [None, "zoë", "'; DROP TABLE events; --", "", "anna\u0301", "\U0001f980"], strict=True))


def built_rows(path):
    """A build and its rows by event id."""
    built = build(path)
    return built, rows_of(path, built)


def picked(rows, names):
    """Rows narrowed to some columns; floats by their bits, so that nothing equals by chance."""
    return {key: {name: repr(row[name]) for name in names} for key, row in rows.items()}


def add_after(world, instant, rng):
    """Events after the instant, one at the instant itself that stands last there, and assertions observed after it about anything."""
    tx, fresh = world.events["tx"], 10**7 + 1  # the last lane and the last id, so that the first one stands last at the instant
    like = {**rng.choice(tx), "since": None}
    for number, at in enumerate([instant, *(instant + rng.choice([1, HOUR, DAY, 3 * DAY]) for _ in range(15))]):
        tx.append(like | {"tx_id": fresh + number, "at": at, "customer": rng.choice(NAMES["customer"]), "device": rng.randrange(-1, 3),
                          "amount": Decimal(777), "city": rng.choice(NAMES["city"])})
    for row in world.events.get("login", [])[:5]:
        world.events["login"].append(row | {"tx_id": row["tx_id"] + fresh, "at": instant + rng.choice([1, HOUR, DAY])})
    for name, values in (("fraud", ("FRAUD", "LEGIT")), ("dispute", ("WON", "LOST"))):
        for number in range(40):
            observed = instant + rng.choice([1, HOUR, DAY, 2 * DAY])
            old = rng.choice(world.labels[name]) if number % 3 == 0 else None
            world.labels[name].append({"event": old["event"] if old else rng.choice(tx)["tx_id"], "value": rng.choice(values),
                                       "observed": observed, "effective": rng.choice([observed, instant - 5 * DAY]), "source": "HUMAN",
                                       "id": f"late{number}",
                                       "supersedes": old["id"] if old else None})


def hold_leakage(seed, folder, write="write"):
    """Whatever is added after an instant, no feature of a row at or before it changes.

    rows       ●───●──●●─────●──┃
    added                       ◆  ◆   ◆◆     ◆      events, assertions
    compared   ●   ●  ●●     ●  ┃
    """
    rng = random.Random(seed)
    world = draw_world(seed)
    world.intent.pop("sampling", None)
    world.intent["label"] = {name: world.intent["label"][name] for name in ("type", "as_of", "maturity_days")} | {"target": "none"}
    later = world.copy()
    instant = rng.choice(sorted(row["at"] for row in world.events["tx"])[10:])
    add_after(later, instant, rng)
    before, rows = built_rows(getattr(world, write)(folder / "before"))
    _, more = built_rows(getattr(later, write)(folder / "after"))
    kept = {key: row for key, row in rows.items() if row["ts"] <= datetime.fromtimestamp(instant // 1_000_000, UTC)
            + timedelta(microseconds=instant % 1_000_000)}
    names = ["ts", *features_of(before)]
    assert picked({key: more[key] for key in kept}, names) == picked(kept, names)


@pytest.mark.parametrize("seed", range(400, 402))
def test_nothing_later_changes_a_row(tmp_path, seed):
    """Events after an instant, events that stand later at the same instant, and assertions observed after it change no row there."""
    hold_leakage(seed, tmp_path)


@pytest.mark.parametrize("seed", [410])
def test_nothing_later_in_an_archive_changes_a_row(tmp_path, seed):
    """As above, with the events in record archives."""
    hold_leakage(seed, tmp_path, "write_archive")


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10_000, 10_500))
def test_nothing_later_changes_any_row(tmp_path, seed):
    """As above, five hundred worlds of tables."""
    hold_leakage(seed, tmp_path)


def hold_after_the_cut(seed, folder):
    """Assertions observed after the as-of leave fingerprint, core and everything else of the dataset alone."""
    rng = random.Random(seed)
    world = draw_world(seed)
    cut = START + ASOF_DAY * DAY
    later = world.copy()
    for name, value in (("fraud", "FRAUD"), ("dispute", "LOST")):
        for number in range(30):
            old = rng.choice(world.labels[name])
            later.labels[name].append({"event": old["event"], "value": value, "observed": cut + rng.choice([1, HOUR, DAY]),
                                       "effective": old["effective"], "source": "HUMAN", "id": f"late{number}",
                                       "supersedes": rng.choice([None, old["id"]])})
    before = build(world.write(folder / "before")).manifest
    after = build(later.write(folder / "after")).manifest
    assert after.dataset_fingerprint == before.dataset_fingerprint
    assert after.core == before.core


@pytest.mark.parametrize("seed", range(420, 422))
def test_an_assertion_after_the_cut_changes_nothing(tmp_path, seed):
    """What was observed after the as-of is no part of the dataset, and no part of its identity (`decisions.md` D3)."""
    hold_after_the_cut(seed, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(11_000, 11_200))
def test_many_assertions_after_the_cut_change_nothing(tmp_path, seed):
    """As above, two hundred worlds."""
    hold_after_the_cut(seed, tmp_path)


def test_an_assertion_at_the_cut_counts(tmp_path):
    """The cut is inclusive: the same assertion one microsecond earlier is known, and it is another history."""
    world, late = draw_world(420), draw_world(420)
    subject = world.labels["fraud"][0]["event"]
    for one, observed in ((world, START + ASOF_DAY * DAY), (late, START + ASOF_DAY * DAY + 1)):
        one.labels["fraud"].append({"event": subject, "value": "FRAUD", "observed": observed, "effective": START, "source": "HUMAN",
                                    "id": "at the cut", "supersedes": None})
    known, unknown = build(world.write(tmp_path / "at")).manifest, build(late.write(tmp_path / "past")).manifest
    assert known.core.label_slice_digest != unknown.core.label_slice_digest
    assert known.core.labels["assertions_eligible"] == unknown.core.labels["assertions_eligible"] + 1


def shift(world, days):
    """The same world some whole days later; declared instants and the cut move with it."""
    moved, distance = world.copy(), days * DAY
    for rows in moved.events.values():
        for row in rows:
            row["at"] += distance
            if "since" in row and row["since"] is not None:
                row["since"] += distance
    for rows in moved.labels.values():
        for row in rows:
            row["observed"] += distance
            row["effective"] += distance
    moved.intent["label"]["as_of"] = text_of(START + ASOF_DAY * DAY + distance)
    if "splits" in moved.intent:
        moved.intent["splits"] = {"train": [text_of(START + DAY + distance), text_of(START + 7 * DAY + distance)],
                                  "test": [text_of(START + 8 * DAY + distance), text_of(START + 12 * DAY + distance)]}
    return moved


def hold_shift(seed, days, folder):
    """Every column is the same, and every instant later by the same whole days."""
    world = draw_world(seed)
    built, rows = built_rows(world.write(folder / "here"))
    _, moved = built_rows(shift(world, days).write(folder / "there"))
    instants = [column.name for column in built.manifest.core.columns if column.type == "timestamp"]
    others = [name for name in next(iter(rows.values())) if name not in instants]
    assert picked(moved, others) == picked(rows, others)
    for key, row in rows.items():
        for name in instants:
            assert (moved[key][name] is None) == (row[name] is None)
            assert row[name] is None or (moved[key][name] - row[name]).total_seconds() == days * 86_400


@pytest.mark.parametrize(("seed", "days"), [(430, 7), (432, -70_000), (433, -10_003)])
def test_shifting_all_times_shifts_times_only(tmp_path, seed, days):
    """A world some weeks later (whole weeks: weekdays are features) has the same rows, its instants moved."""
    hold_shift(seed, days, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(12_000, 12_100))
def test_shifting_all_times_of_many_worlds_shifts_times_only(tmp_path, seed):
    """As above, a hundred worlds, up to two centuries back; an as-of in the future is refused."""
    hold_shift(seed, 7 * random.Random(seed).randrange(-10_000, 2), tmp_path)


def hold_renaming(seed, folder):
    """A bijection of entity names leaves every feature alone, but for the names in it."""
    world = draw_world(seed)
    world.intent["identifiers"] = {"mode": "raw", "reason": "a test looks at names"}
    renamed = world.copy()
    for rows in renamed.events.values():
        for row in rows:
            row["customer"] = OTHER_NAMES[row["customer"]]
    built, rows = built_rows(world.write(folder / "one"))
    _, others = built_rows(renamed.write(folder / "other"))
    names = {column.name for column in built.manifest.core.columns if column.identifier == "customer"}
    expected = {key: row | {name: OTHER_NAMES[row[name]] for name in names} for key, row in rows.items()}
    assert picked(others, next(iter(rows.values()))) == picked(expected, next(iter(rows.values())))


@pytest.mark.parametrize("seed", range(440, 442))
def test_names_of_entities_are_only_names(tmp_path, seed):
    """Renaming customers, hostile and look-alike names included, renames them where they stand and changes nothing else."""
    hold_renaming(seed, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(13_000, 13_100))
def test_names_of_many_entities_are_only_names(tmp_path, seed):
    """As above, a hundred worlds."""
    hold_renaming(seed, tmp_path)


def hold_dropping(seed, folder):
    """Without one customer's events the others' features by customer are what they were."""
    world = draw_world(seed)
    world.intent.pop("sampling", None)
    for name in world.plane["events"]:
        world.plane["events"][name]["history_start"] = text_of(START - DAY)
    gone = random.Random(seed).choice(NAMES["customer"][1:])
    fewer = world.copy()
    for name, rows in fewer.events.items():
        fewer.events[name] = [row for row in rows if row["customer"] != gone]
    built, rows = built_rows(world.write(folder / "all"))
    _, left = built_rows(fewer.write(folder / "fewer"))
    names = [name for name in next(iter(rows.values())) if not name.startswith("device__")]
    assert set(left) == {row["tx_id"] for row in world.events["tx"] if row["customer"] != gone} & set(rows)
    assert picked(left, names) == picked({key: row for key, row in rows.items() if key in left}, names)
    assert features_of(built)


@pytest.mark.parametrize("seed", range(450, 452))
def test_dropping_an_entity_leaves_the_others(tmp_path, seed):
    """Entities do not see each other: all columns of the other customers stay, but for groups by something they share."""
    hold_dropping(seed, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(14_000, 14_100))
def test_dropping_entities_of_many_worlds_leaves_the_others(tmp_path, seed):
    """As above, a hundred worlds."""
    hold_dropping(seed, tmp_path)


@pytest.mark.parametrize("seed", [460])
def test_splits_and_samples_only_narrow(tmp_path, seed):
    """A dataset with splits, a condition, or a sample holds the very rows of the one without, fewer of them (`decisions.md` D17)."""
    world = draw_world(seed)
    for name in ("sampling", "splits", "where"):
        world.intent.pop(name, None)
    narrowed = world.copy()
    narrowed.intent |= {"sampling": {"seed": "s", "rates": {"negative": "0.6"}}, "where": "units >= 0",
                        "splits": {"train": [text_of(START), text_of(START + 6 * DAY)]}}
    built, rows = built_rows(world.write(tmp_path / "all"))
    few, some = built_rows(narrowed.write(tmp_path / "some"))
    names = [name for name in next(iter(rows.values())) if name not in ("split", "weight")]
    assert 0 < len(some) < len(rows)
    assert picked(some, names) == picked({key: rows[key] for key in some}, names)
    assert few.manifest.core.replay["events_read"] == built.manifest.core.replay["events_read"]
