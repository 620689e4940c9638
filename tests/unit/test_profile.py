"""The feature profile: short and full form, and every problem of it at once."""

from __future__ import annotations

import copy

import pytest
import yaml

from offline_feature_plane.contracts.profile import FeatureProfile, expand_profile, is_short_form, read_profile
from offline_feature_plane.documents import load_yaml
from offline_feature_plane.domain.closure_documents import describe
from offline_feature_plane.errors import OfsError

SHORT = yaml.safe_load("""
fields: {customer_id: string, terminal_id: string, amount: "decimal(12,2)"}
groups:
  customer: {key: customer_id, windows: [1d, 7d, 30d], features: {n: count(), avg: mean(amount)}}
  terminal: {key: terminal_id, windows: [7d, 30d], features: {n: count(), risk: "label_rate(chargeback, CHARGEBACK)"}}
""")
FULL = yaml.safe_load("""
policy_id: card_fraud.features
revision: r1
sources:
  transaction:
    event_types: [transaction]
    fields:
      customer_id: string
      terminal_id: string
      amount: decimal(12, 2)
      country: {path: merchant.country, type: string, missing: unknown}
feature_groups:
  - name: customer_spend
    version: v1
    source: transaction
    key: [customer_id]
    where: "amount > 0"
    current: included
    windows: [1d, 7d, 30d]
    features: {nb_tx: count(), avg_amount: mean(amount), max_amount: max(amount), nb_terminals: distinct(terminal_id),
               since_last: seconds_since_last()}
  - name: terminal_risk
    version: v1
    source: transaction
    key: [terminal_id]
    delay: 7d
    windows: [1d, 7d, 30d]
    features: {nb_tx: count(), risk: {agg: "label_rate(fraud_disposition, FRAUD_CONFIRMED)", empty: 0}}
row_features: {during_weekend: "weekday(ts) >= 5", during_night: "hour(ts) <= 6"}
derived: {amount_over_usual: "amount / customer_spend.avg_amount_30d"}
feature_sets:
  - {id: card_fraud, version: v1, groups: [customer_spend@v1, terminal_risk@v1], row_features: [during_weekend, during_night],
     derived: [amount_over_usual]}
""")


def problems(document, **options):
    """Path → codes of a refused profile."""
    with pytest.raises(OfsError) as caught:
        read_profile(document, **{"rows": "transaction", **options})
    found = {}
    for one in caught.value.problems:
        found.setdefault(one.path, []).append(one.code)
    return found


def changed(document, path, value):
    """A copy with one place changed."""
    copied = copy.deepcopy(document)
    *way, last = path
    at = copied
    for step in way:
        at = at[step]
    at[last] = value
    return copied


def test_the_short_form_is_a_spelling_of_the_full_one():
    """Expanded, the short form names its source after the intent's rows, itself after its file, and its one set default@v1."""
    full = expand_profile(SHORT, rows="transaction", stem="features")
    assert is_short_form(SHORT)
    assert not is_short_form(full)
    assert full["sources"] == {"transaction": {"event_types": ["transaction"], "fields": {
        "customer_id": {"type": "string"}, "terminal_id": {"type": "string"}, "amount": {"type": "decimal(12,2)"}}}}
    assert full["feature_sets"] == [{"id": "default", "version": "v1", "groups": ["customer@v1", "terminal@v1"], "row_features": [],
                                     "derived": []}]
    assert expand_profile(full, rows="other", stem="other") == full
    assert read_profile(SHORT, rows="transaction") == read_profile(full)


def test_both_forms_give_one_closure():
    """What is compiled does not know in which form it was written."""
    short = read_profile(SHORT, rows="transaction", label_types=["chargeback"])
    full = read_profile(expand_profile(SHORT, rows="transaction", stem="features"), label_types=["chargeback"])
    assert describe(short.closure("default@v1", "transaction")) == describe(full.closure("default@v1", "transaction"))
    assert short.revision == "dev"
    assert not short.is_versioned()
    assert short.set_refs() == ("default@v1",)


def test_the_documented_profile_is_valid():
    """The example of the feature language compiles to its columns in profile order."""
    profile = read_profile(FULL, label_types={"fraud_disposition"})
    assert isinstance(profile, FeatureProfile)
    names = [column.name for column in profile.closure("card_fraud@v1", "transaction").columns()]
    assert names[:4] == ["customer_spend__nb_tx_1d", "customer_spend__nb_tx_7d", "customer_spend__nb_tx_30d",
                         "customer_spend__avg_amount_1d"]
    assert names[-3:] == ["during_weekend", "during_night", "amount_over_usual"]
    assert len(names) == 5 * 3 + 2 * 3 + 3


GROUP = ("feature_groups", 0)


@pytest.mark.parametrize(("path", "value", "place", "code"), [
    ((*GROUP, "features", "avg_amount"), "maen(amount)", "$.feature_groups[0].features.avg_amount", "AGGREGATION_UNSUPPORTED"),
    ((*GROUP, "features", "avg_amount"), "mean(country)", "$.feature_groups[0].features.avg_amount", "AGGREGATION_UNSUPPORTED"),
    ((*GROUP, "features", "avg_amount"), "mean(amont)", "$.feature_groups[0].features.avg_amount", "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "features", "avg_amount"), "mean amount", "$.feature_groups[0].features.avg_amount", "AGGREGATION_UNSUPPORTED"),
    ((*GROUP, "features", "avg_amount"), "count(amount, amount)", "$.feature_groups[0].features.avg_amount", "AGGREGATION_UNSUPPORTED"),
    ((*GROUP, "features", "nb_tx"), {"agg": "count()", "empty": 0}, "$.feature_groups[0].features.nb_tx.empty", "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "features", "max_amount"), {"agg": "max(amount)", "empty": "0.005"}, "$.feature_groups[0].features.max_amount.empty",
     "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "features", "Max"), "count()", "$.feature_groups[0].features.Max", "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "features", "a__b"), "count()", "$.feature_groups[0].features.a__b", "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "windows"), ["0d"], "$.feature_groups[0].windows[0]", "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "windows"), ["3y"], "$.feature_groups[0].windows[0]", "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "windows"), ["1w", "30d", "7d"], "$.feature_groups[0].windows[2]", "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "windows"), ["lifetime", "lifetime"], "$.feature_groups[0].windows[1]", "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "windows"), [], "$.feature_groups[0].windows", "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "delay"), "7d", "$.feature_groups[0].current", "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "where"), "amount + 1", "$.feature_groups[0].where", "EXPRESSION_INVALID"),
    ((*GROUP, "where"), "amont > 1", "$.feature_groups[0].where", "EXPRESSION_INVALID"),
    ((*GROUP, "key"), ["nobody"], "$.feature_groups[0].key", "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "source"), "transactions", "$.feature_groups[0].source", "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "version"), "v 1", "$.feature_groups[0].version", "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "current"), "yes", "$.feature_groups[0].current", "FEATURE_PROFILE_INVALID"),
    ((*GROUP, "colour"), "red", "$.feature_groups[0].colour", "FEATURE_PROFILE_INVALID"),
    (("row_features", "during_night"), "hour(ts, 'Mars/Base') < 6", "$.row_features.during_night", "EXPRESSION_INVALID"),
    (("row_features", "target"), "amount", "$.row_features.target", "FEATURE_PROFILE_INVALID"),
    (("derived", "during_night"), "amount", "$.derived.during_night", "FEATURE_PROFILE_INVALID"),
    (("derived", "loop"), "loop + 1", "$.derived.loop", "FEATURE_PROFILE_INVALID"),
    (("sources", "transaction", "fields", "amount"), "decimal(40,2)", "$.sources.transaction.fields.amount", "FEATURE_PROFILE_INVALID"),
    (("sources", "transaction", "fields", "ts"), "timestamp", "$.sources.transaction.fields.ts", "FEATURE_PROFILE_INVALID"),
    (("sources", "transaction", "fields", "age"), {"type": "int64", "missing": "old"}, "$.sources.transaction.fields.age.missing",
     "FEATURE_PROFILE_INVALID"),
    (("sources", "transaction", "fields", "rate"), {"type": "float64", "identifier": "rate"},
     "$.sources.transaction.fields.rate.identifier",
     "FEATURE_PROFILE_INVALID"),
    (("sources", "refund"), {"event_types": ["transaction"], "fields": {}}, "$.sources.refund.event_types", "FEATURE_PROFILE_INVALID"),
    (("feature_sets", 0, "groups"), ["customer_spend@v2"], "$.feature_sets[0].groups", "FEATURE_PROFILE_INVALID"),
    (("feature_sets", 0, "derived"), ["nothing"], "$.feature_sets[0].derived", "FEATURE_PROFILE_INVALID"),
    (("policy_id",), "", "$.policy_id", "FEATURE_PROFILE_INVALID"),
])
def test_each_mistake_is_refused_where_it_stands(path, value, place, code):
    """A problem carries the JSON path of its cause and the code of its kind."""
    found = problems(changed(FULL, path, value))
    assert code in found.get(place, []), found


def test_every_problem_is_told_at_once_where_its_author_wrote_it():
    """Mistakes in a short form are all reported, by their places in the short form."""
    document = changed(SHORT, ("groups", "customer", "features", "avg"), "maen(amount)")
    document = changed(document, ("groups", "terminal", "windows"), ["7d", "0d"])
    document["fields"]["when"] = "date"
    document["row_features"] = {"big": "amount >"}
    assert problems(document, label_types=["fraud"]) == {
        "$.fields.when": ["FEATURE_PROFILE_INVALID"], "$.groups.customer.features.avg": ["AGGREGATION_UNSUPPORTED"],
        "$.groups.terminal.windows[1]": ["FEATURE_PROFILE_INVALID"], "$.groups.terminal.features.risk": ["LABEL_TYPE_SCOPE_UNRESOLVED"],
        "$.row_features.big": ["EXPRESSION_INVALID"]}


def test_a_misspelt_aggregation_gets_its_nearest_neighbour():
    """The advice names the closest aggregation."""
    with pytest.raises(OfsError, match=r"Did you mean count\?"):
        read_profile(changed(SHORT, ("groups", "customer", "features", "n"), "cuont()"), rows="transaction")


@pytest.mark.parametrize("document", [None, [], "text", {}, {"fields": 1}, {"groups": []}, {"groups": {"g": 1}},
                                      {"groups": {"g": {"features": []}}},
                                      {"fields": {"a": None}, "groups": {"g": {"key": 3, "windows": {}, "features": {"n": 1}}}},
                                      {"sources": [], "feature_groups": {}, "derived": 4, "feature_sets": 7}])
def test_documents_of_any_shape_are_refused_by_name(document):
    """A wrong shape is a problem of the profile, never a foreign traceback."""
    with pytest.raises(OfsError) as caught:
        read_profile(document)
    assert caught.value.code == "FEATURE_PROFILE_INVALID"


def test_two_thousand_features_are_no_problem():
    """Wide profiles compile: a limit protects the machine, not the model."""
    wide = changed(SHORT, ("groups", "customer", "features"), {f"f{number}": "mean(amount)" for number in range(650)})
    assert len(read_profile(wide, rows="transaction").closure("default@v1", "transaction").columns()) == 650 * 3 + 4


def test_missing_null_and_missing_value_are_told_apart():
    """`missing: null` makes a field nullable, a value stands in, and saying nothing makes it required."""
    fields = {"a": "string", "b": {"type": "decimal(6,2)", "missing": 1.5}, "c": {"type": "string", "missing": None}}
    document = {"fields": fields, "groups": {"g": {"key": "a", "windows": ["1d"], "features": {"n": "count(b)", "m": "count(c)"}}}}
    a, b, c = read_profile(document).closure("default@v1", "rows").sources[0].fields
    assert (a.nullable, a.missing) == (False, None)
    assert (b.nullable, b.missing) == (False, "1.50")
    assert (c.nullable, c.missing) == (True, None)


def told(text):
    """Path → sentence of every problem of a profile."""
    with pytest.raises(OfsError) as caught:
        read_profile(load_yaml(text).value, rows="payment", label_types=["chargeback"])
    return {problem.path: problem.sentence for problem in caught.value.problems}


def test_a_misspelled_top_of_a_short_profile_is_told_in_the_words_of_the_short_form():
    """`feilds` is answered with `fields`, also where nothing else tells the form; what the full form is made of is not offered."""
    groups = "groups: {use: {key: card, windows: [1d], features: {n: count()}}}\n"
    assert told("feilds: {card: string}\n" + groups) == {"$.feilds": "there is no such field here. Did you mean fields?"}
    assert "Did you mean groups?" in told("fields: {card: string}\ngruops: {}\n")["$.gruops"]
    assert told("feilds: {}\nzzz: {}\n")["$.zzz"].split("Known: ")[1] == (
        "fields, groups, contexts, row_features, derived, feature_sets, policy_id, revision.")


def test_what_only_follows_from_a_malformed_field_is_not_told():
    """A type that cannot be read is one problem, not one of every place that reads the field; other mistakes are told beside it."""
    text = """
fields: {card: string, val: "decimal(12)"}
groups:
  use: {key: card, windows: [1d], where: val > 0, features: {n: count(val), s: sum(val), m: mean(val), x: cnt()}}
derived: {ratio: val / use.m_1d}
"""
    assert list(told(text)) == ["$.fields.val", "$.groups.use.features.x"]
    assert list(told(text.replace("cnt()", "count()"))) == ["$.fields.val"]
    assert list(told(text.replace("x: cnt()", "x: count()").replace("card: string", "card: strng"))) == ["$.fields.card", "$.fields.val"]


@pytest.mark.parametrize(("features", "paths"), [
    ("{n: cuont(), m: max(amount)}", {"$.groups.g.features.n"}),
    ("{n: count(), m: max(amont)}", {"$.groups.g.features.m"})])
def test_a_broken_feature_is_not_reported_again_by_what_reads_it(features, paths):
    """A derived column over a feature that does not compile is no second problem; one over a name that nobody has is."""
    text = f"""
fields: {{c: string, amount: "decimal(12,2)"}}
groups:
  g: {{key: c, windows: [1d], features: {features}}}
derived: {{d: "g.n_1d / 2", e: "amount / g.m_1d"}}
"""
    with pytest.raises(OfsError) as refused:
        read_profile(load_yaml(text).value, rows="tx")
    assert {problem.path for problem in refused.value.problems} == paths


def test_a_call_that_a_comma_has_cut_is_told_so():
    """In braces YAML ends a value at a comma; the advice is to quote the call."""
    text = "fields: {c: string}\ngroups: {g: {key: c, windows: [1d], features: {r: label_rate(x, Y, of: resolved)}}}\n"
    with pytest.raises(OfsError, match="put quotes around a call that has commas"):
        read_profile(load_yaml(text).value, rows="tx")
