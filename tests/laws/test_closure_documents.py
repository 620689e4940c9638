"""The document of a closure and its inverse (`decisions.md` D11): nothing is lost, nothing is added, nothing slips in."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.contracts.profile import read_profile
from offline_feature_plane.domain.closure import Aggregation, Closure, Computed, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.closure_documents import closure_from, describe
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.expressions import Expression, Literal
from offline_feature_plane.errors import ManifestInvalid
from offline_feature_plane.testing.drawing import draw_world
from offline_feature_plane.testing.drawing_contexts import draw_context_world

INT = ColumnType("int64")
EXPRESSION = Expression("1", Literal(1, INT))
CALL = Aggregation("f", "x", "label", ("A",), of_resolved=True, version="v2", condition=EXPRESSION, share="0.5",
                   half_life_us=1_000_000, most=3)
FEATURE = Feature("g__f_1d", CALL, Window("session", "1d", 5, 7, "day", "UTC", 2), INT, "0", "card", "words", "approximate")
GROUP = Group("g", "v1", "s", ("x",), EXPRESSION, False, 3, "group", (FEATURE,), "drop")
SOURCE = Source("s", ("s",), (Field("x", INT, ("a", "x"), True, "1", "half_even", "card"),))
FULL = Closure("p", "r", "set", "v1", (SOURCE,), (GROUP,), (Computed("c", EXPRESSION, INT, "card", "words"),), ())
PLACES = {Closure: [], Source: ["sources", 0], Field: ["sources", 0, "fields", 0], Group: ["groups", 0],
          Feature: ["groups", 0, "features", 0], Aggregation: ["groups", 0, "features", 0, "aggregation"],
          Window: ["groups", 0, "features", 0, "window"], Computed: ["row_features", 0]}
RENAMED = {"set_id": "feature_set_id", "set_version": "feature_set_version"}


def silent(closure):
    """The same without what only people read."""
    groups = (replace(group, features=tuple(replace(one, meaning="") for one in group.features)) for group in closure.groups)
    computed = {part: tuple(replace(one, meaning="") for one in getattr(closure, part)) for part in ("row_features", "derived")}
    return replace(closure, groups=tuple(groups), **computed)


def changed(closure, version, numeric_class):
    """The same with another version and class of every aggregation."""
    return replace(closure, groups=tuple(replace(group, features=tuple(
        replace(one, aggregation=replace(one.aggregation, version=version), numeric_class=numeric_class) for one in group.features))
        for group in closure.groups))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([draw_world, draw_context_world]), st.integers(0, 10**6), st.sampled_from(["v1", "v2"]),
       st.sampled_from(["exact", "approximate"]))
def test_a_document_reads_back_as_its_closure(draw, seed, version, numeric_class):
    """`closure_from` is the inverse of `describe`, through JSON, for closures of every kind; both ways."""
    world = draw(seed)
    closure = changed(world.task.closure, version, numeric_class)
    document = json.loads(json.dumps(describe(closure)))
    read = closure_from(document, world.task.subject)
    assert read == silent(closure)
    assert describe(read) == document


def test_a_canonical_spelling_may_be_longer_than_what_was_written():
    """An expression at the limit of length is spelled with spaces; the document reads back all the same."""
    text = f"n in({','.join(['1'] * 1_990)})"
    profile = {"fields": {"k": "string", "n": "int64"}, "row_features": {"much": text}, "groups": {
        "g": {"key": "k", "where": text, "windows": ["1d"], "features": {"n": "count()"}}}}
    closure = read_profile(profile, rows="pay").closure("default@v1", "pay")
    assert len(closure.row_features[0].expression.text) > 4_000
    assert closure_from(describe(closure), "pay") == closure


@pytest.mark.parametrize("kind", PLACES, ids=lambda kind: kind.__name__)
def test_every_member_is_described(kind):
    """A member that `describe` does not name would let two meanings share a fingerprint; only `meaning` is words for people."""
    document = describe(FULL)
    for step in PLACES[kind]:
        document = document[step]
    assert set(document) == {RENAMED.get(one.name, one.name) for one in fields(kind)} - {"meaning"}


def test_later_members_are_left_out_at_their_default():
    """Closures from before a member existed keep their bytes."""
    told = describe(changed(FULL, "v1", "exact"))["groups"][0]["features"][0]
    assert "numeric_class" not in told
    window = replace(FEATURE, window=Window("sliding", "1d", 5))
    assert describe(replace(FULL, groups=(replace(GROUP, features=(window,)),)))["groups"][0]["features"][0]["window"] == {
        "kind": "sliding", "label": "1d", "length_us": 5}
    assert "version" not in told["aggregation"]
    assert "context" not in describe(replace(FULL, groups=(replace(GROUP, context=None),)))["groups"][0]


@pytest.mark.parametrize("harm", [{"groups": None}, {"sources": []}, {"row_features": [{"column": "c"}]},
                                  {"derived": [{"column": "c", "expression": "nothing", "type": "int64", "identifier": None}]},
                                  {"row_features": [{"column": "c", "expression": "1", "type": "int65", "identifier": None}]}])
def test_what_is_no_document_is_refused(harm):
    """A harmed document is a manifest that breaks its schema, not a foreign error."""
    with pytest.raises(ManifestInvalid, match="not a feature closure document"):
        closure_from({**describe(FULL), **harm}, "s")
