"""Contexts of a profile: their spellings, what they become, and every mistake at its place."""

import pytest
import yaml

from offline_feature_plane.contracts.profile import read_profile
from offline_feature_plane.domain.closure_documents import closure_from, describe
from offline_feature_plane.errors import OfsError

LONG = """
policy_id: p
revision: r1
sources:
  tx: {event_types: [tx], fields: {who: string, shop: int64, amount: "decimal(12,2)", score: float64}}
  holder: {event_types: [holder, owner], fields: {who: string, tier: string, device: {type: string, identifier: device}, score: float64}}
contexts:
  - {name: holder, version: v1, source: holder, key: who, columns: [tier, device], within: 720h, delay: 1h, where: "tier != 'x'"}
  - {name: before, version: v2, source: tx, key: [who, shop], missing: null,
     columns: {sum: amount, rank: {field: score, meaning: how good}}}
feature_groups: []
derived: {of: "amount / before.sum"}
feature_sets:
  - {id: all, version: v1, contexts: [holder@v1, before@v2], derived: [of]}
"""


def read(text, rows="tx"):
    """A profile from YAML."""
    return read_profile(yaml.safe_load(text), rows=rows)


def told(text, rows="tx"):
    """Path → sentence of every problem."""
    with pytest.raises(OfsError) as caught:
        read(text, rows)
    return {problem.path: problem.sentence for problem in caught.value.problems}


def test_a_context_becomes_a_group_of_latest_values():
    """Each column is `last` over one window; the set's contexts stand after its groups, and the document of the closure reads back."""
    closure = read(LONG).closure("all@v1", "tx")
    holder, before = closure.groups
    assert [(one.column, str(one.aggregation.text), one.window.label, one.identifier) for one in holder.features] == [
        ("holder__tier", "last(tier)", "30d", None), ("holder__device", "last(device)", "30d", "device")]
    assert (holder.context, holder.delay_us, holder.where.text, holder.null_key) == ("drop", 3_600_000_000, "tier != 'x'", "skip")
    assert (before.context, before.key, before.features[0].window.kind) == ("null", ("who", "shop"), "lifetime")
    assert [group.name for group in closure.demanded()] == ["holder"]
    assert closure.depths() == {}
    assert closure.meanings() == {"before__rank": "how good"}
    assert describe(closure_from(describe(closure), "tx")) == describe(closure)
    assert closure.columns()[0].meaning == ("tier of the latest holder event of the same who in the 30d that end 1h before the row, "
                                            "where tier != 'x'; rows without one are left out")


def test_a_presence_counts_what_a_context_is_the_latest_of():
    """Whether a row has a context is asked of the same window, condition and key."""
    holder, _ = read(LONG).closure("all@v1", "tx").groups
    asked = holder.presence()
    assert (asked.where, asked.delay_us, asked.key, asked.source) == (holder.where, holder.delay_us, holder.key, holder.source)
    assert [(one.aggregation.text, one.window) for one in asked.features] == [("count()", holder.features[0].window)]


SHORT = """
fields: {who: {type: string, path: Who, identifier: person}, amount: "decimal(12,2)"}
contexts:
  holder: {key: who, fields: {tier: string}, within: 30d}
  place: {key: who, source: address, fields: {who: {type: string, path: whose, identifier: person}, town: string}, missing: null}
  before: {key: who, columns: amount}
"""


def test_the_short_form_makes_a_source_of_each_context():
    """The key has the rows' type and identifier, not their path; a context without fields is of the rows' own source."""
    profile = read(SHORT)
    closure = profile.closure("default@v1", "tx")
    fields = {source.name: {field.name: (field.path, field.identifier) for field in source.fields} for source in closure.sources}
    assert fields == {"tx": {"who": (("Who",), "person"), "amount": (("amount",), None)},
                      "holder": {"who": (("who",), "person"), "tier": (("tier",), None)},
                      "address": {"who": (("whose",), "person"), "town": (("town",), None)}}
    assert [(group.name, group.source, [one.column for one in group.features]) for group in closure.groups] == [
        ("holder", "holder", ["holder__tier"]), ("place", "address", ["place__town"]), ("before", "tx", ["before__amount"])]
    long = {**profile.document()}
    assert read_profile(long, rows="tx").closure("default@v1", "tx") == closure


def changed(old, new):
    """The long profile with another text."""
    assert old in LONG
    return LONG.replace(old, new)


@pytest.mark.parametrize(("text", "path", "word"), [
    (changed("key: who,", "key: [who, shop],"), "$.contexts[0].key", "has no field 'shop'"),
    (changed("key: who,", "key: score,"), "$.contexts[0].key", "float64, which cannot be a key"),
    (changed("fields: {who: string, shop", "fields: {who: int64, shop"), "$.contexts[0].key", "of type string, not int64"),
    (changed("[tier, device]", "[teir]"), "$.contexts[0].columns.teir", "did you mean tier?"),
    (changed("[tier, device]", "[]"), "$.contexts[0].columns", "name a field beside the key"),
    (changed("{sum: amount,", "{Sum: amount,"), "$.contexts[1].columns.Sum", "not a valid name"),
    (changed("within: 720h", "within: soon"), "$.contexts[0].within", "soon"),
    (changed("within: 720h", "within: 0d"), "$.contexts[0].within", "0d"),
    (changed("delay: 1h", "delay: later"), "$.contexts[0].delay", "later"),
    (changed("tier != 'x'", "tiers != 'x'"), "$.contexts[0].where", "unknown name 'tiers'"),
    (changed("source: holder, key", "source: owner, key"), "$.contexts[0].source", "there is no source 'owner'"),
    (changed("contexts: [holder@v1, before@v2]", "contexts: [holder@v2]"), "$.feature_sets[0].contexts", "there is no 'holder@v2'"),
    (changed("contexts: [holder@v1, before@v2]", "contexts: [holder@v1, holder@v1, before@v2]"), "$.feature_sets[0].contexts",
     "one version of a context"),
    (changed("name: before, version: v2", "name: holder, version: v1"), "$.contexts[1]", "appears twice"),
    (changed("missing: null", "missing: zero"), "$.contexts[1].missing", "drop, or null without quotes"),
    (changed("_groups: []", "_groups: [{name: holder, version: v1, source: tx, key: who, windows: 1d, features: {n: count()}}]"),
     "$.contexts[0].name", "a group is called holder, too")])
def test_mistakes_are_told_at_their_place(text, path, word):
    """Keys, fields, lengths, conditions, sources, sets and names: each with a sentence that says what is wrong."""
    assert word in told(text)[path]


@pytest.mark.parametrize(("text", "path", "word"), [
    ("fields: {who: string}\ncontexts: {h: {key: who, fields: {tier: strin}}}", "$.contexts.h.fields.tier", "'strin' is not a type"),
    ("fields: {who: string}\ncontexts: {h: {key: who, fields: {who: string}}}", "$.contexts.h.fields", "name a field beside the key"),
    ("fields: {who: string}\ncontexts: {h: {key: whom, fields: {tier: string}}}", "$.contexts.h.key", "'whom'"),
    ("fields: {who: string}\ncontexts: {h: {fields: {tier: string}}}", "$.contexts.h.key", "required"),
    ("fields: {who: string}\ncontexts: {h: {key: who}}", "$.contexts.h.columns", "the short form has `fields` instead"),
    ("fields: {who: string}\ncontexts: {H: {key: who, fields: {tier: string}}}", "$.contexts.H", "not a valid name"),
    ("fields: {who: string}\ncontexts: {h: 7}", "$.contexts.h", "a mapping is expected"),
    ("fields: {who: string}\ncontexts: 7", "$.contexts", "a list is expected"),
    ("fields: {who: string}\ncontexts: {h: {key: who, source: a, fields: {x: string}}, i: {key: who, source: a, fields: {x: int64}}}",
     "$.contexts.i.source", "has the fields of h"),
    ("fields: {who: string}\ncontexts: {h: {key: who, source: tx, fields: {x: string}}}", "$.contexts.h.source", "leave `fields` out")])
def test_mistakes_in_the_short_form_are_told_in_its_words(text, path, word):
    """The place is the one that was written, not the one in the expansion."""
    assert word in told(text)[path]
