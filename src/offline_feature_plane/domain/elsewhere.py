"""What other languages and tools call things, and what is written here: advice for refusals, never another spelling."""

from __future__ import annotations

__all__ = ["AGGREGATIONS", "INTENTS", "SIGNS", "TYPES", "WORDS"]

# Of expressions: characters that are no sign here, and words that are none.
SIGNS = {"=": "Compare with `==`.", "%": "There is no remainder operator.", "!": "Write `not` or `!=`.", "&": "Write `and`.",
         "|": "Write `or`.", "[": "Lists stand in round brackets: x in ('a', 'b').", ".": "Numbers begin with a digit: 0.5.",
         **dict.fromkeys("\u2018\u2019\u201c\u201d", "Texts stand in straight quotes: 'a'.")}
WORDS = {"is": "Ask with `is_null(x)`.", "between": "Write `x >= 1 and x <= 2`.",
         "like": "There are no patterns; compare with `==` or `in`."}

# Of fields: the type to declare.
TYPES = {**dict.fromkeys(("int", "integer", "long", "bigint", "uint32", "uint64"), "int64"),
         **dict.fromkeys(("float", "float32", "double", "real"), "float64"),
         **dict.fromkeys(("decimal", "numeric", "number", "money"), "decimal(12,2), with the digits and how many stand after the point"),
         **dict.fromkeys(("text", "str", "varchar", "char", "large_string", "category"), "string"), "boolean": "bool",
         **dict.fromkeys(("datetime", "time", "timestamptz"), "timestamp")}

# Of features: the aggregation that is meant.
AGGREGATIONS = {"avg": "mean", "average": "mean", "std": "stddev", "stdev": "stddev", "nunique": "distinct", "count_distinct": "distinct",
                "percentile": "quantile", "maximum": "max", "minimum": "min", "share": "ratio", "lag": "previous",
                "slope": "trend", "topk": "top_k"}

# Of intents: the place that would be meant, and where what is wanted stands.
_CONTEXTS = "contexts are defined in the profile, under `contexts:`, with their key; a dataset has those of its feature set"
INTENTS = {
    "$.filters": "there are no filters: `where` (of the full form, `subject.where`), splits and sampling say which events become rows, "
                 "`scenario_run_ids` and `replay_basis` which are read, and label types and coverage stand with the label",
    **dict.fromkeys(("$.contexts", "$.context_joins", "$.join_sources", "$.join_scope.contexts", "$.join_scope.context_joins",
                     "$.join_scope.join_sources", "$.join_scope.subject_key"), _CONTEXTS),
    "$.join_scope.label_types": "label types stand in `label_basis.label_types`",
    "$.join_scope": "outputs of other planes are required by `required_outputs`; " + _CONTEXTS}
