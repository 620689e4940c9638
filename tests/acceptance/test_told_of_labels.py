"""What is wrong with labels is told by name: conflicts, links to nothing, splits that others hide; an entity never is."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from answers import ask, check_answer
from small_plane import START, SmallPlane, make_plane
from test_known_then_and_now import NOW, TEST, THEN, TRAIN, history, said, write_labels
from test_labels_of_entities import flagged_plane, write_flags

from offline_feature_plane.__main__ import run
from offline_feature_plane.plane import open_plane

ENGINES = pytest.mark.parametrize("engine", ["local", "oracle"])


@pytest.fixture
def plane(place: Path, monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """The plane in which the test stands, whose labels have a source and an id, and supersede."""
    made = make_plane(place / "p")
    made.plane["labels"]["chargeback"] = {
        "path": "assertions.parquet", "event": "tx_id", "observed": "reported_at", "value": {"column": "outcome"},
        "source": {"column": "said_by"}, "id": "said_as", "supersedes": "instead_of"}
    monkeypatch.chdir(made.folder)
    return made


def told(plane: SmallPlane, rows: list[dict[str, Any]], engine: str) -> None:
    """Write assertions and documents."""
    write_labels(plane, [{"instead_of": None} | one for one in rows])
    plane.plane["engine"]["name"] = engine
    plane.documents()


def look(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """`ofs labels` as JSON."""
    assert run(["labels", "intent.yaml", "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@ENGINES
def test_conflicts_are_named_with_who_says_what(plane: SmallPlane, capsys: pytest.CaptureFixture[str], engine: str) -> None:
    """The first events in conflict are told with the assertions of the highest rank, at the as-of of their split; weaker ones are not."""
    torn = [one for event in (13, 14, 17, 18, 19, 22, 23) for one in (
        said(event, 30), said(event, 30, "LEGIT"), said(event, 40, by="AUTO") | {"said_as": f"{event}-AUTO"})]
    told(plane, history(*torn), engine)
    found = look(capsys)["types"][0]
    at = (START + timedelta(days=30)).isoformat().replace("+00:00", ".000000Z")
    assert found["assertions"]["subjects_in_conflict"] == 7
    assert [one["event_id"] for one in found["conflicts"]] == [13, 14, 17, 18, 19]
    assert found["conflicts"][0] == {"event_id": 13, "about": "event 13", "said": [
        {"value": "CHARGEBACK", "source": "EXTERNAL", "observed_time": at}, {"value": "LEGIT", "source": "EXTERNAL", "observed_time": at}]}
    assert run(["labels", "intent.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "  in conflict  event 13: CHARGEBACK says EXTERNAL (2026-01-31), LEGIT says EXTERNAL (2026-01-31)\n" in shown
    assert "event 19: " in shown
    assert "  and 2 more\n" in shown


@ENGINES
def test_a_link_to_nothing_is_told(plane: SmallPlane, capsys: pytest.CaptureFixture[str], engine: str) -> None:
    """What supersedes an id that is not known of its event replaces nothing: counted, named and in the manifest; the build goes on.

    ```
    ──● 16-CHARGEBACK ────● LEGIT instead of "16-x" ────┤ as_of ──● 16-x, too late to be known
    ```
    """
    late = said(16, 80) | {"said_as": "16-x"}
    links = [said(16, 40, "LEGIT") | {"instead_of": "16-x"}, said(21, 40, "LEGIT") | {"instead_of": "21-CHARGEBACK"},
             said(26, 41, "LEGIT") | {"instead_of": "16-CHARGEBACK"}]
    told(plane, history(late, *links), engine)
    warning = ("2 chargeback assertions supersede an id that is not known of the same event at the as-of, and replace nothing: "
               "'16-LEGIT' names '16-x', ….")
    assert warning in look(capsys)["warnings"]
    core = open_plane(plane.folder / "plane.yaml").build(plane.intent_path).manifest.core
    assert warning in core.warnings
    facts: Any = core.labels["per_type"]
    assert (facts["chargeback"]["assertions_adrift"], "conflicts_at" in facts["chargeback"]) == (2, False)
    told(plane, history(links[1]), engine)
    assert not [said for said in look(capsys)["warnings"] if "supersede" in said]


@ENGINES
def test_a_value_that_the_target_does_not_name_is_told(plane: SmallPlane, capsys: pytest.CaptureFixture[str], engine: str) -> None:
    """Where a target names its negative values too, others answer nothing, a misspelt one as well: that is a warning with their number."""
    told(plane, history(said(12, 56, "chargeback"), said(22, 30, "PENDING"), said(13, 30, "LEGIT"), said(14, 30, "LEGIT")), engine)
    warning = "chargeback labels that say PENDING, chargeback are neither positive nor negative to the target: 2 of them answer nothing."
    assert warning not in look(capsys)["warnings"]
    plane.intent["label"] |= {"negative": ["LEGIT"]}
    plane.documents()
    assert warning in look(capsys)["warnings"]


@ENGINES
def test_a_split_does_not_hide_another(plane: SmallPlane, capsys: pytest.CaptureFixture[str], engine: str) -> None:
    """Where splits have as-ofs of their own each must be answered enough: what is learned is not made better by what is judged.

    ```
    ──[─ train: half of it answered then ─)── [─ test: all of it answered now ─)──▶      together: enough
    ```
    """
    rows = [said(event, 33 if event % 2 else 60, "CHARGEBACK" if event % 5 == 1 else "LEGIT") for event in range(1, 120)]
    rows += [said(event, 60, "CHARGEBACK" if event % 5 == 1 else "LEGIT") for event in range(120, 201)]
    told(plane, rows, engine)
    plane.intent["label"] |= {"unlabeled": "exclude", "as_of": THEN, "coverage": 0.6}
    plane.intent["splits"] = {"train": TRAIN, "test": {"range": TEST, "as_of": NOW}}
    plane.documents()
    (gate,) = (gate for gate in look(capsys)["gates"] if gate["gate"] == "coverage")
    shares = gate["details"]["types"]["chargeback"]
    assert gate["sentences"] == ["chargeback in train: 0.500000 of 88 mature subjects are answered, 0.6 are required"]
    assert (shares["answered"], {name: one["answered"] for name, one in shares["splits"].items()}) == (
        "0.731707", {"train": "0.500000", "test": "1.000000"})
    check_answer(ask(capsys, "build", "intent.yaml"), 4, "COVERAGE_POLICY_VIOLATION", ("chargeback in train",))
    plane.intent["splits"] = {"train": TRAIN, "test": TEST}
    plane.intent["label"] |= {"as_of": NOW}
    plane.documents()
    (gate,) = (gate for gate in look(capsys)["gates"] if gate["gate"] == "coverage")
    assert (gate["verdict"], "splits" in gate["details"]["types"]["chargeback"]) == ("PASS", False)


@ENGINES
@pytest.mark.parametrize(("rows", "sentences"), [
    ([("C0", 9, 14, "MULE"), ("C0", 9, 15, "FREE")], ("'C-9' about one customer_id (flag) occurs with two different contents",)),
    ([("C0", 9, 14, "MULE"), ("C3", 9, 15, "FREE")], ("'C-9' (flag) is about one customer_id", "and about another"))])
def test_an_entity_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], engine: str,
                                rows: list[Any], sentences: tuple[str, ...]) -> None:
    """An error about labels of entities names assertions and fields, and no identifier: errors are kept with runs."""
    plane = flagged_plane(tmp_path / "plane", label={"id": "name"})
    write_flags(plane.folder, said=rows, names=["C-9"] * len(rows))
    plane.plane["engine"]["name"] = engine
    plane.documents()
    monkeypatch.chdir(plane.folder)
    answer = ask(capsys, "build", "intent.yaml")
    check_answer(answer, 6, "LABEL_TIMELINE_INCONSISTENT", sentences)
    assert run(["build", "intent.yaml", "--json"]) == 6
    said = "".join(capsys.readouterr())
    assert "C0" not in said
    assert "C3" not in said
