"""Contexts through the command line: what is known about a customer joins the payment, from a table or from a topic of an archive."""

from __future__ import annotations

import json
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from answers import ask, check_answer
from small_plane import START, SmallPlane, make_plane, transactions

from offline_feature_plane.__main__ import run
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.plane import open_plane
from offline_feature_plane.testing.archives import archived, write_archive

# What is known about customers: (days after the start, customer, tier, credit); nothing at all about C6.
KNOWN = [(customer, f"C{customer}", f"tier{customer}", 100 + customer) for customer in range(6)]
KNOWN += [(20, "C1", "gold", 900), (20, "C2", None, 50), (37, "C1", "lead", 1)]
TOLD = transactions()


def known_of(row: int, within_days: int | None = None) -> tuple[str | None, int] | None:
    """The tier and the credit that a payment is joined with: of its customer's latest change that is not later, as `holder` sorts first."""
    at, who = TOLD["tx_time"][row], TOLD["customer_id"][row]
    oldest = None if within_days is None else at - timedelta(days=within_days)
    seen = [(START + timedelta(days=day), tier, credit) for day, customer, tier, credit in KNOWN if customer == who]
    seen = [one for one in seen if one[0] <= at and (oldest is None or one[0] > oldest)]
    return max(seen)[1:] if seen else None


@pytest.fixture
def plane(place: Path, monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """The small plane with a table of holders, which the profile joins as `holder`."""
    made = make_plane(place / "p")
    columns = {"change": list(range(len(KNOWN))), "since": [START + timedelta(days=day) for day, *_ in KNOWN],
               "customer_id": [who for _, who, *_ in KNOWN], "tier": [tier for *_, tier, _ in KNOWN], "credit": [one[-1] for one in KNOWN]}
    pq.write_table(pa.table(columns), made.folder / "holders.parquet")
    made.plane["events"]["holder"] = {"path": "holders.parquet", "id": "change", "time": "since"}
    made.profile["contexts"] = {"holder": {"key": "customer_id", "fields": {
        "tier": {"type": "string", "missing": None}, "credit": "int64"}}}
    made.profile["derived"] = {"of_credit": "amount / holder.credit"}
    made.documents()
    monkeypatch.chdir(made.folder)
    return made


def build(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The id of what `ofs build` publishes."""
    status = run(["build", "intent.yaml", "--json", *options])
    told = capsys.readouterr()
    assert status == 0, told.out + told.err
    return str(json.loads(told.out)["dataset_manifest_id"])


def look(dataset: str) -> tuple[list[dict[str, object]], dict[str, int], list[object]]:
    """The rows of a dataset by payment, its accounting, and its columns."""
    with open_plane("plane.yaml") as opened:
        core = opened.manifest(dataset).core
        rows = opened.dataset(dataset).to_arrow().to_pylist()
    return sorted(rows, key=lambda row: int(row["event_id"])), dict(core.row_accounting), list(core.columns)


def candidates() -> list[int]:
    """The payments that lie in the splits."""
    spans = [(START + timedelta(days=2), START + timedelta(days=24)), (START + timedelta(days=31), START + timedelta(days=50))]
    return [row for row, at in enumerate(TOLD["tx_time"]) if any(first <= at < end for first, end in spans)]


@pytest.mark.parametrize("engine", ["local", "oracle"])
def test_a_payment_is_joined_with_what_was_known(plane: SmallPlane, engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row has the fields of the latest change before it; rows of customers of whom nothing is known are left out and counted."""
    plane.plane["engine"] = {"name": engine}
    plane.documents()
    dataset = build(capsys)
    rows, counts, columns = look(dataset)
    wanted = {row: known for row in candidates() if (known := known_of(row)) is not None}
    assert [(int(row["event_id"]) - 1, row["holder__tier"], row["holder__credit"]) for row in rows] == [
        (row, *known) for row, known in wanted.items()]
    assert {row["holder__tier"] for row in rows} > {None, "gold", "lead"}
    assert [row["of_credit"] for row in rows] == [float(Fraction(TOLD["amount"][row]) / credit) for row, (_, credit) in wanted.items()]
    assert counts["missing_context"] == len(candidates()) - len(wanted) > 0
    assert counts["context"] == len(KNOWN)
    said = {column.name: column for column in columns}
    assert (said["holder__tier"].role, said["holder__tier"].lineage) == ("feature", "holder@v1 over holder(customer_id, tier)")
    assert build(capsys, "--recompute") == dataset
    assert run(["verify", dataset]) == 0


def test_what_is_too_old_or_missing_is_as_declared(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """`within` leaves out what is older; `missing: null` keeps the row with nulls, and each is another dataset."""
    plane.profile["contexts"]["holder"] |= {"within": "15d", "missing": None}
    plane.documents()
    rows, counts, _ = look(build(capsys))
    assert [(row["holder__tier"], row["holder__credit"]) for row in rows] == [known_of(row, 15) or (None, None) for row in candidates()]
    assert counts["missing_context"] == 0
    plane.profile["contexts"]["holder"]["missing"] = "drop"
    plane.documents()
    dropped, counts, _ = look(build(capsys))
    assert [int(row["event_id"]) - 1 for row in dropped] == [row for row in candidates() if known_of(row, 15) is not None]
    with open_plane("plane.yaml") as opened:
        (told,) = [one for one in opened.build("intent.yaml").manifest.core.warnings if "context" in one]
    assert told == (f"{counts['missing_context']} of {len(candidates())} events became no rows, for they lack a context that the profile "
                    "demands: holder.")
    assert counts["missing_context"] == len(rows) - len(dropped) > 0


@pytest.mark.parametrize("engine", ["local", "oracle"])
def test_a_context_is_a_topic_of_an_archive(plane: SmallPlane, engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Context events of a log, in a topic and an archive of their own; by arrival, what arrived after a payment is not known to it."""
    at_us = {row: parse_instant(at.isoformat()) for row, at in enumerate(TOLD["tx_time"])}
    write_archive(plane.folder / "log", [
        archived(str(TOLD["tx_id"][row]), at_us[row], {name: TOLD[name][row] for name in ("customer_id", "terminal_id", "amount")},
                 offset=row, platform_run_id="cards") for row in at_us])
    day_us = 86_400_000_000
    late = [archived(f"h{number}", at_us[0] + day * day_us, {"customer_id": who, "tier": tier, "credit": credit}, topic="holder",
                     offset=number, platform_run_id="cards", log_us=at_us[0] + (40 if day == 20 else day) * day_us)
            for number, (day, who, tier, credit) in enumerate(sorted(KNOWN, key=lambda one: (40 if one[0] == 20 else one[0])))]
    write_archive(plane.folder / "holders", late)
    plane.plane |= {"engine": {"name": engine}, "archives": {"transaction": {"path": "log"}, "holder": {"path": "holders"}}}
    del plane.plane["events"], plane.profile["groups"]["terminal"]
    plane.intent |= {"visibility": "arrival", "label": {"type": "chargeback", "as_of": "2026-03-10", "maturity_days": None,
                                                        "target": "none"}, "splits": {"test": ["2026-01-21", "2026-02-20"]}}
    plane.documents()
    rows, counts, _ = look(build(capsys))
    found = {int(row["event_id"]) - 1: row["holder__tier"] for row in rows}
    before, after = (next(row for row in found if TOLD["customer_id"][row] == "C1" and TOLD["tx_time"][row] >= START + timedelta(days=day))
                     for day in (21, 40))
    assert (known_of(before)[0], found[before]) == ("gold", "tier1")  # it arrived on day 40
    assert (known_of(after)[0], found[after]) == ("lead", "lead")
    assert counts["context"] == len(KNOWN)


def test_mistakes_are_told_where_they_were_written(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """All problems of contexts at once, in the words of the form in which they stand; a table that is not mapped is named."""
    good = plane.profile["contexts"]["holder"]
    plane.profile["contexts"] = {"holder": {**good, "within": "soon"}, "customer": good, "third": {"key": "customer_id", "missing": "nil"}}
    plane.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 2, "FEATURE_PROFILE_INVALID", (
        "$.contexts.third.columns: this is required: the fields to take", "$.contexts.third.missing: drop, or null without quotes"))
    del plane.profile["contexts"]["third"]
    plane.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 2, "FEATURE_PROFILE_INVALID", (
        "$.contexts.holder.within", "$.contexts.customer: a group is called customer, too"))
    plane.profile["contexts"] = {"owner": good}
    plane.profile["derived"] = {"of_credit": "amount / owner.credt"}
    plane.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 2, "EXPRESSION_INVALID", ("unknown name 'owner.credt'", "Did you mean owner.credit?"))
    del plane.profile["derived"]
    plane.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 2, "BASIS_UNRESOLVED", ("$.contexts.owner", "no events of type 'owner'"))


def test_a_build_without_a_row_says_that_contexts_are_missing(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no row is left because every one lacks its context, the count is told and what can be done."""
    plane.profile["contexts"]["holder"]["within"] = "1s"
    plane.intent["splits"] = {"train": ["2026-01-20T12:00:00Z", "2026-01-25"], "test": ["2026-02-01", "2026-02-06"]}
    plane.documents()
    check_answer(ask(capsys, "build", "intent.yaml"), 4, "LABEL_SCOPE_EMPTY", ("missing_context", "`missing: null`"))
