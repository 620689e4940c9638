"""What a profile's author is told about a value of the wrong shape: what may stand at that place, and which quotes YAML needs."""

from __future__ import annotations

import re

from offline_feature_plane.errors import Problem

__all__ = ["in_words"]

# Where it is (a regular expression at the end of a JSON path), what the general sentence begins with, and what it begins with instead.
_EXPECTED = (
    (r"^\$\.groups", "a list is expected", "a mapping of names to groups is expected"),
    (r"\.fields(\.[^.]+|\[[^\]]+\])", "a mapping is expected", "a type such as string, or a mapping, is expected"),
    (r"\.features(\.[^.]+|\[[^\]]+\])", "a mapping is expected", "a call such as count(), or a mapping, is expected"),
    (r"\.(row_features|derived)(\.[^.]+|\[[^\]]+\])", "a mapping is expected",
     "an expression such as 'amount > 100', or a mapping, is expected"),
    (r"\.key", "a list is expected", "a field, or a list of fields, is expected"),
    (r"\.windows", "a list is expected", "a window such as 7d, or a list of windows, is expected"),
    (r"\.windows\[\d+\]|\.delay", "text is expected", "a length with its unit, such as 7d, is expected"),
    (r"\.path", "text is expected", "a name, a path such as merchant.country, or a list of names is expected"),
    (r"\.contexts\S*\.missing", "one of 'drop' is expected", "drop, or null without quotes, is expected"),
    (r"\.contexts\S*\.within", "text is expected", "a length with its unit, such as 30d, is expected"),
    (r"\.(empty|missing)", "true or false is expected", "one value is expected"),
)
# The same, and what is added to the sentence.
_QUOTES = (
    (r"\.windows\[\d+\]", "not a mapping", "; put quotes around a window that has a colon"),
    (r"\.fields(\.[^.]+|\[[^\]]+\])", "not null", "; in a line in braces, put quotes around a type that has a comma"),
    (r"\.(features|row_features|derived)(\.[^.]+|\[[^\]]+\])", "not null",
     "; in a line in braces, put quotes around a call that has commas"),
    (r"\.(revision|version|policy_id|id|set)", "text is expected", "; put quotes around it"),
    (r"^\$\.contexts\S*\.columns", "this is required", ": the fields to take; the short form has `fields` instead, with their types"),
    (r"^\$\.contexts\S*\.(columns|fields)", "must not be empty", "; name a field beside the key"),
    (r"\.(where|expression|agg)", "text is expected", "; put quotes around it"),
)
_NAMED = re.compile(r" does not have the form .*")


def in_words(problem: Problem) -> Problem:
    """The problem with a sentence that says what belongs there.

    >>> in_words(Problem("$.groups.card.windows[0]", "C", "text is expected, not 7")).sentence
    'a length with its unit, such as 7d, is expected, not 7'
    """
    sentence = problem.sentence
    for place, begins, instead in _EXPECTED:
        if sentence.startswith(begins) and re.search(f"(?:{place})$", problem.path):
            sentence = instead + sentence.removeprefix(begins)
            break
    for place, has, more in _QUOTES:
        if has in problem.sentence and re.search(f"(?:{place})$", problem.path):
            sentence += more
            break
    sentence = _NAMED.sub(" is not a name of letters, digits and . _ -, of at most 128, that begins with a letter or digit", sentence)
    return Problem(problem.path, problem.code, sentence)
