"""Coverage of a label type and the plausibility of its observed lag, in exact arithmetic (`decisions.md` D24, D26).

Shares are fractions; thresholds are decimal text; nothing here is a float.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from typing import Literal

from offline_feature_plane.errors import LabelPolicyInvalid

Unlabeled = Literal["exclude", "refuse", "negative_when_mature"]

PROMPT_US = 60_000_000  # a label this soon after its event was hardly observed by anyone
PERCENTILES = (50, 90, 99)

_SHARE = re.compile(r"(?:0|1)(?:\.[0-9]{1,18})?")


@dataclass(frozen=True)
class Coverage:
    """Mature subject rows of one label type by status; `subjects` is their sum.

    >>> Coverage(resolved=97, not_found=2, conflict=1).answered("exclude")
    Fraction(97, 100)
    """

    resolved: int
    not_found: int
    conflict: int

    @property
    def subjects(self) -> int:
        """How many mature subject rows there are."""
        return self.resolved + self.not_found + self.conflict

    def answered(self, unlabeled: Unlabeled) -> Fraction:
        """The share with an answer: RESOLVED, and NOT_FOUND too where that means a mature negative. No subject: 0."""
        answers = self.resolved + (self.not_found if unlabeled == "negative_when_mature" else 0)
        return Fraction(answers, self.subjects) if self.subjects else Fraction(0)

    @property
    def conflicting(self) -> Fraction:
        """The share in CONFLICT. No subject: 0."""
        return Fraction(self.conflict, self.subjects) if self.subjects else Fraction(0)


@dataclass(frozen=True)
class CoveragePolicy:
    """What an intent demands of one label type, as decimal text between 0 and 1."""

    min_answered: str
    max_conflict: str = "0"


def default_policy(unlabeled: Unlabeled) -> CoveragePolicy | None:
    """The default policy: everything answered, no conflict. None under `exclude`, which must state a number."""
    return None if unlabeled == "exclude" else CoveragePolicy("1")


def parse_share(text: str, path: str | None = None) -> Fraction:
    """Read a threshold.

    Raises:
        LabelPolicyInvalid: not a plain decimal between 0 and 1.

    >>> parse_share("0.95")
    Fraction(19, 20)
    """
    if not isinstance(text, str) or not _SHARE.fullmatch(text) or Fraction(text) > 1:
        raise LabelPolicyInvalid(f"{text!r} is not a share.", fix='Write a decimal from 0 to 1 as text, for example "0.95".', path=path)
    return Fraction(text)


def format_share(share: Fraction) -> str:
    """A share as decimal text with 6 digits, rounded half-even; for people and manifests, never for comparing.

    >>> format_share(Fraction(2, 3))
    '0.666667'
    """
    with localcontext() as context:
        context.prec = 40
        scaled = (Decimal(share.numerator * 10**6) / Decimal(share.denominator)).quantize(Decimal(1), ROUND_HALF_EVEN)
    return f"{int(scaled) // 10**6}.{int(scaled) % 10**6:06}"


def find_shortfalls(found: Coverage, policy: CoveragePolicy, unlabeled: Unlabeled) -> tuple[str, ...]:
    """What a policy misses in the coverage found: one sentence per broken threshold, none if it holds.

    Raises:
        LabelPolicyInvalid: a threshold is not a share.
    """
    sentences = []
    answered, conflicting = found.answered(unlabeled), found.conflicting
    if answered < parse_share(policy.min_answered):
        sentences.append(f"{format_share(answered)} of {found.subjects} mature subjects are answered, {policy.min_answered} are required")
    if conflicting > parse_share(policy.max_conflict):
        sentences.append(f"{found.conflict} of {found.subjects} mature subjects are in conflict ({format_share(conflicting)}), "
                         f"{policy.max_conflict} are allowed")
    return tuple(sentences)


@dataclass(frozen=True)
class ObservedLag:
    """How long after their events the assertions of a type became known: observed − event time, in µs; negative if before.

    Over the distinct eligible assertions whose subject is an event of the basis. Percentiles are nearest-rank: the smallest lag that
    at least p % of the assertions do not exceed. `sooner` counts assertions that are implausibly soon (see `is_sooner`).
    """

    assertions: int
    sooner: int
    p50_us: int | None
    p90_us: int | None
    p99_us: int | None

    @property
    def is_implausible(self) -> bool:
        """Is over half of the type implausibly soon?"""
        return 2 * self.sooner > self.assertions


def is_sooner(lag_us: int, min_lag_us: int | None) -> bool:
    """Is a lag implausible: below the declared `min_lag`, or, if none is declared, within 60 s of the event or before it?"""
    return lag_us < min_lag_us if min_lag_us is not None else lag_us <= PROMPT_US


def nearest_rank(count: int, percent: int) -> int:
    """The index, from 0, of a nearest-rank percentile in `count` sorted values.

    >>> nearest_rank(4, 50), nearest_rank(1, 99), nearest_rank(200, 99)
    (1, 0, 197)
    """
    return max(0, -(-count * percent // 100) - 1)


def measure_lag(lags_us: Sequence[int], min_lag_us: int | None) -> ObservedLag:
    """The observed lag of a type from the lags of its assertions, in any order.

    >>> measure_lag([30, 10, 20, 10**9], None)
    ObservedLag(assertions=4, sooner=3, p50_us=20, p90_us=1000000000, p99_us=1000000000)
    """
    ordered = sorted(lags_us)
    p50, p90, p99 = (ordered[nearest_rank(len(ordered), percent)] if ordered else None for percent in PERCENTILES)
    return ObservedLag(len(ordered), sum(is_sooner(lag, min_lag_us) for lag in ordered), p50, p90, p99)
