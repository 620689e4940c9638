"""The resolved closure: only what is used, identifiers followed, columns named and typed."""

from __future__ import annotations

import pytest

from offline_feature_plane.contracts.profile import read_profile
from offline_feature_plane.domain.closure_documents import describe
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.identity import closure_digest
from offline_feature_plane.errors import ExpressionInvalid, FeatureProfileInvalid, FeatureProfileUnresolved, LabelTypeScopeUnresolved

FIELDS = {"card": "string", "shop": "string", "amount": "decimal(12,2)", "country": "string", "note": "string", "n": "int64"}


def closure(features=None, *, fields=None, also=(), **profile):
    """The closure of a one-group short profile."""
    groups = {"use": {"key": "card", "windows": ["1d", "lifetime"], "features": features or {"n": "count()"}}}
    read = read_profile({"fields": fields or FIELDS, "groups": groups, **profile}, rows="payment")
    return read.closure("default@v1", "payment", also=also)


def column(found, name):
    """One column of a closure."""
    return next(one for one in found.columns() if one.name == name)


def test_columns_are_named_by_group_feature_and_window():
    """`<group>__<feature>_<window>`, windows within features, `lifetime` spelled out."""
    found = closure({"n": "count()", "top": "max(amount)"})
    assert [one.name for one in found.columns()] == ["use__n_1d", "use__n_lifetime", "use__top_1d", "use__top_lifetime"]
    assert found.groups[0].features[1].window.length_us is None
    assert found.depths() == {"payment": ((found.groups[0].features[0].window, 0), (found.groups[0].features[1].window, 0))}


@pytest.mark.parametrize(("call", "kind"), [
    ("count(note)", "int64"), ("distinct(note)", "int64"), ("sum(amount)", "decimal(18,2)"), ("sum(n)", "int64"), ("mean(n)", "float64"),
    ("min(note)", "string"), ("max(amount)", "decimal(12,2)"), ("last(n)", "int64"), ("seconds_since_first()", "float64"),
    ("label_count(fraud, YES)", "int64"), ("label_rate(fraud, YES, 'MAY BE', of: resolved)", "float64"),
])
def test_aggregations_give_their_type(call, kind):
    """The output type follows from the aggregation and its argument."""
    assert str(column(closure({"x": call}), "use__x_1d").type) == kind


def test_only_what_is_used_is_in_the_closure():
    """Fields that nothing reads are not in it, so they cannot change a dataset's identity; what the intent reads is asked for."""
    assert [one.name for one in closure().sources[0].fields] == ["card"]
    assert [one.name for one in closure({"a": "mean(amount)"}, row_features={"far": "country != 'FR'"}).sources[0].fields] == [
        "card", "amount", "country"]
    assert [one.name for one in closure(also=["note", "ts"]).sources[0].fields] == ["card", "note"]
    more = {**FIELDS, "later": "string"}
    assert closure_digest(describe(closure(fields=more))) == closure_digest(describe(closure()))


def test_spelling_does_not_change_the_digest():
    """Two spellings of one expression have one closure digest."""
    one, other = (closure(row_features={"big": text}) for text in ("amount>100.00 and(n>1)", "amount > 100.00 and n > 1"))
    assert closure_digest(describe(one)) == closure_digest(describe(other))
    assert closure_digest(describe(one)) != closure_digest(describe(closure(row_features={"big": "amount > 100.0 and n > 1"})))


def test_keys_are_identifiers_and_stay_so_in_every_column():
    """A key field identifies the entity of its name wherever its values come out; `identifier: none` opts out (D12)."""
    groups = {"use": {"key": "card", "windows": ["1d"], "features": {"last_shop": "last(shop)", "shops": "distinct(shop)",
                                                                     "first": "first(note)"}},
              "shop": {"key": "shop", "windows": ["1d"], "features": {"n": "count()"}}}
    profile = {"fields": FIELDS, "groups": groups, "row_features": {"who": "card", "place": "coalesce(shop, 'none')"},
               "derived": {"again": "use.last_shop_1d", "same": "use.last_shop_1d == shop"}}
    found = read_profile(profile, rows="payment").closure("default@v1", "payment")
    told = {one.name: one.identifier for one in found.columns() if one.identifier}
    assert told == {"use__last_shop_1d": "shop", "who": "card", "place": "shop", "again": "shop"}
    opted = read_profile({**profile, "fields": {**FIELDS, "shop": {"type": "string", "identifier": "none"}}}, rows="payment")
    assert {one.name for one in opted.closure("default@v1", "payment").columns() if one.identifier} == {"who"}


@pytest.mark.parametrize("text", ["n + 1", "-n", "abs(n)", "coalesce(n * 2, 0)"])
def test_identifiers_do_not_leave_through_arithmetic(text):
    """A column calculated from an integer identifier would be the identifier in disguise."""
    with pytest.raises(ExpressionInvalid, match="would reveal it"):
        closure(fields={**FIELDS, "n": {"type": "int64", "identifier": "account"}}, row_features={"x": text})


def test_derived_columns_come_after_what_they_read():
    """Each derived column reads only earlier ones, whatever their order in the file; columns hide fields of their name."""
    found = closure(derived={"c": "b + a", "a": "use.n_1d * 2", "b": "a + amount"}, row_features={"amount": "abs(n)"})
    assert [one.column for one in found.derived] == ["a", "b", "c"]
    assert found.derived[1].type == ColumnType("int64")
    assert "amount" not in [one.name for one in found.sources[0].fields]


TWO = {
    "policy_id": "p", "revision": "r1", "row_features": {"big": "amount > 1"}, "derived": {},
    "sources": {"payment": {"event_types": ["payment"], "fields": {"card": "string", "amount": "int64"}},
                "login": {"event_types": ["login", "logout"], "fields": {"card": "string", "ok": "bool"}}},
    "feature_groups": [{"name": "logins", "version": "v1", "source": "login", "key": "card", "where": "ok", "windows": ["1d"],
                        "features": {"n": "count()"}},
                       {"name": "spend", "version": "v1", "source": "payment", "key": "card", "windows": ["1d"],
                        "features": {"n": "sum(amount)"}},
                       {"name": "spend", "version": "v2", "source": "payment", "key": "card", "windows": ["2d"],
                        "features": {"n": "label_count(x, Y)"}}],
    "feature_sets": [{"id": "s", "version": "v1", "groups": ["logins@v1"], "row_features": ["big"]},
                     {"id": "t", "version": "v1", "groups": ["spend@v2"]}],
}


def test_groups_over_other_sources_bind_by_key_fields_of_the_same_name():
    """Both sources are in the closure with what is used of them, the subject's key included."""
    found = read_profile(TWO).closure("s@v1", "payment")
    assert [(one.name, [item.name for item in one.fields]) for one in found.sources] == [("payment", ["card", "amount"]),
                                                                                         ("login", ["card", "ok"])]


def test_a_subject_without_the_key_is_refused():
    """A group over another source needs the subject's field of the same name and type."""
    bad = {**TWO, "sources": {**TWO["sources"], "payment": {"event_types": ["payment"], "fields": {"card": "int64", "amount": "int64"}}}}
    with pytest.raises(FeatureProfileInvalid, match="needs a field card of type string, not int64"):
        read_profile(bad)


def test_the_current_event_of_another_source_is_refused():
    """`current: included` has no meaning where rows are of another source (D31)."""
    included = [{**TWO["feature_groups"][0], "current": "included"}, *TWO["feature_groups"][1:]]
    with pytest.raises(FeatureProfileInvalid, match="rows are of payment, not of login"):
        read_profile({**TWO, "feature_groups": included})


def test_a_set_is_judged_by_what_it_uses():
    """A set that looks at no labels builds on a plane that has none; one that does is refused."""
    profile = read_profile(TWO)
    assert profile.closure("s@v1", "payment", []).label_types() == ()
    with pytest.raises(LabelTypeScopeUnresolved):
        profile.closure("t@v1", "payment", [])


def test_two_versions_of_one_group_in_a_set_are_refused():
    """Their columns would have the same names (D32)."""
    sets = [{"id": "s", "version": "v1", "groups": ["spend@v1", "spend@v2"]}]
    with pytest.raises(FeatureProfileInvalid, match="one version of a group"):
        read_profile({**TWO, "feature_sets": sets})


@pytest.mark.parametrize(("set_ref", "subject"), [("s@v9", "payment"), ("s@v1", "refund")])
def test_unknown_sets_and_subjects_are_unresolved(set_ref, subject):
    """What the profile does not define cannot be built."""
    with pytest.raises(FeatureProfileUnresolved):
        read_profile(TWO).closure(set_ref, subject)


def test_empty_is_kept_as_canonical_text_of_the_output_type():
    """However `empty:` is written, its text in the closure is that of the output type."""
    found = closure({"r": {"agg": "label_rate(x, Y)", "empty": 0}, "m": {"agg": "max(amount)", "empty": 1.5},
                     "l": {"agg": "last(note)", "empty": "none"}})
    assert [one.empty for one in found.groups[0].features[::2]] == ["0.0", "1.50", "none"]
