"""What bounds a column, and what keeps it from being proved; the timeline stands in `domain.proofs`."""

from dataclasses import replace

import pytest

from offline_feature_plane.domain.closure import Aggregation, Closure, Computed, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.proofs import Grounds, prove_features, prove_label

ASOF = "2026-03-10T00:00:00.000000Z"
INT = ColumnType("int64")
WEEK = Window("sliding", "7d", 7 * 86_400_000_000)
SCOPE = {"card": ColumnType("string"), "amount": INT, "shop__risk_7d": ColumnType("float64"), "own": INT}
PAYMENT = Source("payment", ("payment",), (Field("card", ColumnType("string"), ("card",)), Field("amount", INT, ("amount",))))


def group(name, call, *, delay_us=0, current=False):
    """A group of one feature, `<name>__x_7d`."""
    return Group(name, "v1", "payment", ("card",), None, current, delay_us, "skip", (Feature(f"{name}__x_7d", call, WEEK, INT),))


RISK = Group("shop", "v1", "payment", ("card",), None, False, 86_400_000_000, "skip", (
    Feature("shop__risk_7d", Aggregation("label_rate", label_type="fraud", values=("YES",)), WEEK, ColumnType("float64")),))
CLOSURE = Closure("p", "r1", "s", "v1", (PAYMENT,), (
    group("count", Aggregation("count")), group("with_own", Aggregation("count"), current=True),
    group("late", Aggregation("count"), delay_us=86_400_000_000), group("total", Aggregation("sum", argument="amount")), RISK,
), (Computed("own", parse("amount + 1", SCOPE), INT),), (Computed("both", parse("shop__risk_7d * own", SCOPE), INT),))
LOG = Grounds(CLOSURE, "payment", frozenset(), {}, ASOF)
TABLE = replace(LOG, tables=frozenset({"payment"}))


def proofs(grounds):
    """The proofs of all columns."""
    return prove_features(grounds, {column.name: column.lineage for column in CLOSURE.columns()})


@pytest.mark.parametrize(("column", "latest", "delay_us"), [
    ("count__x_7d", "events before the row's", 0), ("with_own__x_7d", "the row's own event", 0),
    ("late__x_7d", "1d before the row's instant", 86_400_000_000), ("total__x_7d", "events before the row's", 0),
    ("shop__risk_7d", f"1d before the row's instant; labels observed by the row's instant and by {ASOF}", 86_400_000_000),
    ("own", "the row's own event", None),
    ("both", f"the row's own event; 1d before the row's instant; labels observed by the row's instant and by {ASOF}", 86_400_000_000),
])
def test_every_column_of_a_log_is_proved(column, latest, delay_us):
    """Over a log, whose events stand as they were written, every column has a latest instant, and nothing is taken on trust."""
    proof = proofs(LOG)[column]
    assert (proof.verdict, proof.latest, proof.delay_us, proof.rests_on) == ("PROVED", latest, delay_us, ())


def test_a_plain_table_is_taken_on_trust():
    """A table shows a field as it is now: what reads one, as a key too, rests on it, and so does what is derived from such a column."""
    found = proofs(TABLE)
    assert {proof.verdict for proof in found.values()} == {"ASSUMED"}
    said = {field: f"{field} of payment is taken as it stands in a plain table: nothing says that it did not change after its event"
            for field in ("amount", "card")}
    assert found["count__x_7d"].rests_on == (said["card"],)
    assert found["own"].rests_on == (said["amount"],)
    assert found["total__x_7d"].rests_on == found["both"].rests_on == (said["amount"], said["card"])


def test_an_assumed_delay_is_no_observation():
    """Where the observed time of labels is a declared delay, features and columns of the labels say so."""
    grounds = replace(LOG, delays={"fraud": 30 * 86_400_000_000})
    said = "labels of fraud are taken as observed 30d after their event: no column says when they were"
    assert {name for name, proof in proofs(grounds).items() if proof.rests_on == (said,)} == {"shop__risk_7d", "both"}
    assert prove_label(grounds, {"fraud": {"all": None}}).rests_on == (said,)
    assert prove_label(grounds, {"dispute": {"all": None}}).verdict == "PROVED"


def test_a_label_from_after_the_cut_is_unproved():
    """A row that holds a label observed after the as-of breaks the proof; one observed at it does not."""
    assert prove_label(LOG, {"fraud": {"all": ASOF}}).verdict == "PROVED"
    late = prove_label(LOG, {"fraud": {"all": "2026-03-10T00:00:00.000001Z"}})
    assert (late.verdict, late.rests_on) == ("UNPROVED", ("a row holds a label that was observed at 2026-03-10T00:00:00.000001Z",))


def test_each_split_is_bound_by_its_own_as_of():
    """What an evaluation split may hold, no other split may: the bound of a label column names each as-of.

    ── train ──)── test ──)──┤ as-of ──────── 03-20 ────────┤ as-of of test
    """
    grounds, later = replace(LOG, own={"test": "2026-04-10T00:00:00.000000Z"}), "2026-03-20T00:00:00.000000Z"
    sound = prove_label(grounds, {"fraud": {"train": ASOF, "test": later}})
    assert (sound.verdict, sound.latest) == ("PROVED", f"observed by the label as-of {ASOF}, in test 2026-04-10T00:00:00.000000Z")
    late = prove_label(grounds, {"fraud": {"train": later, "test": later}})
    assert (late.verdict, late.rests_on) == ("UNPROVED", (f"a row of train holds a label that was observed at {later}",))
    assert proofs(grounds)["shop__risk_7d"].latest.endswith(f"observed by the row's instant and by {grounds.asof_words}")


def test_a_window_that_ends_after_the_row_is_unproved():
    """A negative delay would look ahead; neither it nor what is derived from it is proved."""
    ahead = replace(RISK, delay_us=-1_000_000)
    found = proofs(replace(LOG, closure=replace(CLOSURE, groups=(*CLOSURE.groups[:-1], ahead))))
    assert {name for name, proof in found.items() if proof.verdict == "UNPROVED"} == {"shop__risk_7d", "both"}


def test_a_column_that_the_closure_does_not_know_is_unproved():
    """A manifest whose columns are not what its closure computes proves nothing about them."""
    found = prove_features(LOG, {"count__x_7d": "elsewhere@v1 over payment(card)", "unknown": ""})
    assert [proof.verdict for proof in found.values()] == ["UNPROVED", "UNPROVED"]
