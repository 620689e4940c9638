"""Whole builds: two engines, two askings, damaged history, tokens and secrets, and what loads hand out."""

import base64
import json
import math
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from whole_worlds import ASOF_DAY, DAY, HOUR, NAMES, SECRET, START, build, digest_of, draw_world, features_of, open_world, rows_of, text_of

from offline_feature_plane.domain.tokens import token
from offline_feature_plane.errors import LabelHistoryChanged, NondeterminismDetected, ReplayBasisMismatch

ORACLE = {"engine.name": "oracle"}


def hold_engines(seed, folder):
    """The oracle publishes the very core that the local engine publishes, from tables and from archives."""
    world = draw_world(seed)
    rows = sum(map(len, world.events.values()))
    for kind in ("write", "write_archive"):
        one = build(getattr(world, kind)(folder / kind / "local"), read=rows).manifest
        other = build(getattr(world, kind)(folder / kind / "oracle"), read=rows, **ORACLE).manifest
        assert other.dataset_fingerprint == one.dataset_fingerprint
        assert other.core == one.core
        assert other.evidence.engine != one.evidence.engine


@pytest.mark.parametrize("seed", range(500, 502))
def test_both_engines_publish_one_core(tmp_path, seed):
    """Whatever computes, core and content digest are the same (R10, `decisions.md` D3)."""
    hold_engines(seed, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(15_000, 15_200))
def test_both_engines_publish_one_core_of_many_worlds(tmp_path, seed):
    """As above, two hundred worlds."""
    hold_engines(seed, tmp_path)


def test_an_engine_adopts_what_another_published(tmp_path):
    """One meaning, one dataset: the second engine finds it published, and computed again it is reproduced."""
    path = draw_world(510).write(tmp_path / "w")
    first = build(path)
    assert first.outcome == "PUBLISHED"
    again = build(path, **ORACLE)
    assert (again.outcome, again.manifest) == ("ALREADY_PUBLISHED", first.manifest)
    with open_world(path, **ORACLE) as plane:
        answer = plane.build(path.parent / "intent.yaml", recompute=True)
        assert (answer.outcome, answer.manifest) == ("REPRODUCED", first.manifest)
        assert plane.verify(first.manifest.dataset_manifest_id).intact


def test_changed_labels_below_the_cut_are_noticed(tmp_path):
    """Asked again after history changed: an assertion at the cut is LABEL_HISTORY_CHANGED, one after it is not.

    observed  ──●──●───●──┃as-of──●──
    changed        ×      ┃       ×
    """
    world = draw_world(511)
    path = world.write(tmp_path / "w")
    first = build(path)
    later = world.copy()
    later.labels["fraud"].append({"event": world.events["tx"][0]["tx_id"], "value": "LEGIT", "observed": START + ASOF_DAY * DAY + 1,
                                  "effective": START, "source": "HUMAN", "id": "late", "supersedes": None})
    labels = later.write(tmp_path / "later").parent / "labels-fraud.parquet"
    (path.parent / "labels-fraud.parquet").write_bytes(labels.read_bytes())
    assert recomputed(path).manifest == first.manifest
    later.labels["fraud"][-1]["observed"] -= 1
    labels = later.write(tmp_path / "earlier").parent / "labels-fraud.parquet"
    (path.parent / "labels-fraud.parquet").write_bytes(labels.read_bytes())
    with pytest.raises(LabelHistoryChanged):
        recomputed(path)


def recomputed(path, intent=None, **overrides):
    """The answer of `--recompute`."""
    return open_world(path, **overrides).build(intent or path.parent / "intent.yaml", recompute=True)


def test_changed_events_below_a_pin_are_a_mismatch(tmp_path):
    """A pinned intent refuses other bytes of its tables; the short form, which pins what is at hand, means another dataset."""
    world = draw_world(512)
    path = world.write(tmp_path / "w")
    first = build(path)
    pinned = open_world(path).pin(path.parent / "intent.yaml").document
    changed = world.copy()
    changed.events["tx"][0]["units"] += 1
    (path.parent / "tx.parquet").write_bytes((changed.write(tmp_path / "changed").parent / "tx.parquet").read_bytes())
    with pytest.raises(ReplayBasisMismatch):
        recomputed(path, pinned)
    with pytest.raises(ReplayBasisMismatch):
        build(path, pinned)
    assert build(path).manifest.dataset_manifest_id != first.manifest.dataset_manifest_id


def test_an_archive_whose_past_was_rewritten_is_a_mismatch(tmp_path):
    """Offsets and log id say that it is the same history; the records say that it is not."""
    world = draw_world(513)
    path = world.write_archive(tmp_path / "w")
    build(path)
    changed = world.copy()
    changed.events["tx"][3]["units"] += 1
    rewritten = changed.write_archive(tmp_path / "changed").parent / "tx-archive"
    for file in (one for one in rewritten.rglob("*") if one.is_file()):
        (path.parent / "tx-archive" / file.relative_to(rewritten)).write_bytes(file.read_bytes())
    with pytest.raises(ReplayBasisMismatch):
        recomputed(path)


def test_a_dataset_that_does_not_come_out_again_is_told(tmp_path, monkeypatch):
    """Equal events, equal labels, other rows: the code is not deterministic, and nothing is adopted (`decisions.md` D5)."""
    path = draw_world(514).write(tmp_path / "w")
    build(path)
    from offline_feature_plane.corridor import steps as building
    honest = building.stage

    def twice_the_last(columns, batches, work, **more):
        held = list(batches)
        return honest(columns, [*held[:-1], held[-1].slice(0, held[-1].num_rows - 1)], work, **more)

    monkeypatch.setattr(building, "stage", twice_the_last)
    with pytest.raises(NondeterminismDetected):
        recomputed(path)


# --- tokens and secrets -------------------------------------------------------------------------------------


def canary_world(seed):
    """A world whose customers have names that stand nowhere else, with features that hand names out."""
    world = draw_world(seed)
    for rows in world.events.values():
        for row in rows:
            row["customer"] = None if row["customer"] is None else f"canary-{NAMES['customer'].index(row['customer'])}-\u00e9"
    for group in world.profile["feature_groups"]:
        if group["source"] == "tx":
            group["features"]["who"] = {"agg": "last(customer)", "empty": "canary-empty"}
            group["features"]["before"] = "previous(customer)"
    world.profile["row_features"] |= {"holder": "customer", "anyone": "coalesce(customer, 'canary-nobody')"}
    world.profile["feature_sets"][0]["row_features"] = list(world.profile["row_features"])
    world.intent.pop("sampling", None)
    return world


def test_one_entity_has_one_token_in_every_column(tmp_path):
    """Wherever a customer leaves, as key, as feature, or as what stands in for nothing, it leaves as its one token (`decisions.md` D12)."""
    tokens, raw = canary_world(520), canary_world(520)
    raw.intent["identifiers"] = {"mode": "raw", "reason": "a test compares"}
    built = build(tokens.write(tmp_path / "tokens"))
    found = rows_of(tmp_path / "tokens" / "plane.yaml", built)
    names = [column.name for column in built.manifest.core.columns if column.identifier]
    plain = rows_of(tmp_path / "raw" / "plane.yaml", build(raw.write(tmp_path / "raw")))
    customers = [column.name for column in built.manifest.core.columns if column.identifier == "customer"]
    assert len(customers) >= 4
    entity = {column.name: column.identifier for column in built.manifest.core.columns}
    for key, row in found.items():
        for name, value in row.items():
            expected = plain[key][name]
            if name in names and expected is not None:
                expected = token(SECRET, entity[name], str(expected))
            assert value == expected or (isinstance(value, float) and math.isnan(value)), (key, name)
    assert len({row[customers[0]] for row in found.values()} - {None}) > 1


@pytest.mark.parametrize("kind", ["write", "write_archive"])
def test_no_secret_and_no_identifier_stands_in_the_store(tmp_path, kind):
    """No byte that is written holds the secret or a tokenised identifier: not in data, manifests, receipts, plans, ledger (R16)."""
    world = canary_world(521)
    path = getattr(world, kind)(tmp_path / "w")
    built = build(path)
    recomputed(path)
    assert open_world(path).verify(built.manifest.dataset_manifest_id).intact
    needles = [b"canary-0", b"canary-1", b"canary-2", b"canary-3", b"canary-4", b"canary-5", SECRET, SECRET.hex().encode(),
               base64.b64encode(SECRET)[:-2], str(SECRET).encode()[2:-1]]
    places = [path.parent / "store", path.parent / "work", path.parent / "ledger.sqlite"]
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file()]
    assert len(files) > 8
    for file in files:
        data = file.read_bytes()
        if file.suffix == ".parquet":
            data += json.dumps(pq.read_table(file).to_pylist(), default=str, ensure_ascii=False).encode()
            assert b"canary-" not in data, file
        for needle in needles:
            assert needle not in data, (file, needle)


def test_raw_identifiers_leave_as_they_are(tmp_path):
    """In raw mode names leave untouched, no column is a token, the reason is in the plan and not in the identity."""
    world = canary_world(522)
    world.intent["identifiers"] = {"mode": "raw", "reason": "checked by hand"}
    path = world.write(tmp_path / "w")
    (path.parent / "tokens.key").unlink()
    built = build(path)
    rows = rows_of(path, built)
    for one in world.events["tx"]:
        if one["tx_id"] in rows:
            assert rows[one["tx_id"]]["holder"] == one["customer"]
    assert "checked by hand" not in json.dumps(built.manifest.core.identity)


# --- loading ------------------------------------------------------------------------------------------------


def test_every_load_hands_out_the_same_rows(tmp_path):
    """Arrow, pandas, polars and DuckDB agree, whole and by split; decimals are float64 or exact, as asked (`decisions.md` D28)."""
    world = draw_world(530)
    world.profile["row_features"]["double"] = "amount * 2"
    world.profile["feature_sets"][0]["row_features"] = list(world.profile["row_features"])
    world.intent["splits"] = {"train": [text_of(START), text_of(START + 7 * DAY)],
                              "test": [text_of(START + 7 * DAY), text_of(START + 11 * DAY)]}
    path = world.write(tmp_path / "w")
    built = build(path)
    dataset = open_world(path).dataset(built.manifest.dataset_manifest_id)
    assert dataset.splits == ("train", "test")
    for split in (None, "train", "test"):
        exact = dataset.to_arrow(split, decimals="exact").to_pylist()
        floats = dataset.to_arrow(split).to_pylist()
        assert dataset.to_polars(split).to_arrow().to_pylist() == floats
        assert dataset.to_duckdb(split, decimals="exact").to_arrow_table().to_pylist() == exact
        frame = dataset.to_pandas(split)
        assert list(frame["event_id"]) == [row["event_id"] for row in exact]
        for name in ("double", *features_of(built)):
            for row, other, value in zip(exact, floats, frame[name], strict=True):
                expected = float(row[name]) if isinstance(row[name], Decimal) else row[name]
                assert other[name] == expected
                assert (value == expected) if expected is not None else (value is None or value != value)  # noqa: PLR0124 - NaN and NaT
    assert sum(len(dataset.to_arrow(split)) for split in dataset.splits) == len(dataset) == len(dataset.to_arrow())
    assert any(isinstance(row["double"], Decimal) for row in dataset.to_arrow(decimals="exact").to_pylist())


def test_a_preview_shows_the_rows_that_a_build_publishes(tmp_path):
    """A look is the beginning of the dataset, and writes nothing (`decisions.md` G)."""
    path = draw_world(531).write(tmp_path / "w")
    before = sorted(path.parent.rglob("*"))
    seen = open_world(path).preview(path.parent / "intent.yaml", rows=7)
    assert sorted(path.parent.rglob("*")) == before
    rows = list(rows_of(path, build(path)).values())
    assert seen.table.to_pylist() == rows[:7]
    assert seen.rows_in_dataset == len(rows)


def test_a_training_dataset_is_not_the_one_for_looking_at(tmp_path):
    """Purpose is meaning: the same rows for training and not for training are two datasets with one content (`decisions.md` D10)."""
    world = draw_world(532)
    world.intent.pop("sampling", None)
    world.intent.pop("splits", None)
    world.intent["label"] |= {"unlabeled": "exclude", "coverage": "0.01", "conflicts": "1"}
    for row in world.labels["fraud"]:
        row["observed"] += 3 * HOUR
    world.plane["labels"]["fraud"]["min_lag"] = "0s"
    world.plane["labels"]["dispute"]["min_lag"] = "0s"
    other = world.copy()
    other.intent["non_training_allowed"] = False
    one, two = build(world.write(tmp_path / "one")).manifest, build(other.write(tmp_path / "two")).manifest
    assert one.dataset_fingerprint != two.dataset_fingerprint
    assert one.core.content_digest == two.core.content_digest
    assert (one.core.eligibility.training_ready, two.core.eligibility.training_ready) == (False, True)
    assert digest_of(tmp_path / "one" / "plane.yaml", **ORACLE) == one.core.content_digest
