"""What assertions about an entity say of its events (`docs/decisions/0035`).

An assertion may speak of an entity, such as an account that is flagged from a day on, and so of every event of it from then on:

```
   what was said about account A          FRAUD                LEGIT
   by its effective time              ────●────────────────────●──────────▶
   A's events                           ○     ○       ○    ○      ○    ○
   carry                             NOT_FOUND  FRAUD  …       LEGIT   …
```

1. About the entity, the law of `domain.resolution` says what stands at the cut: `observed ≤ cut` and `effective ≤ cut`, and nothing that
   stands is superseded. To supersede is to take back: also from the events before the new assertion's effective time.
2. An event at `ts` carries what of this is effective by then, `effective ≤ ts`, ranked by the rule. Who says later that something else
   holds from a later time on ends a label, and leaves it to the events before.

All functions take the assertions about one entity and of one label type, in any order, with any repetition.
"""

from __future__ import annotations

from collections.abc import Iterable

from offline_feature_plane.domain.resolution import Assertion, Resolution, find_rule, standing

__all__ = ["resolve_event"]


def resolve_event(assertions: Iterable[Assertion], ts_us: int, cut_us: int, rule: str) -> Resolution:
    """What the assertions about an entity say of its event at `ts_us`, as known at `cut_us`.

    Raises:
        RuleNotSupported, LabelTimelineInconsistent: as `resolution.resolve`, whatever the instant of the event.

    >>> said = [Assertion("A", "flag", "FRAUD", 20, 10), Assertion("A", "flag", "LEGIT", 50, 40)]
    >>> [resolve_event(said, ts, 60, "source_precedence.v1").value for ts in (9, 10, 39, 40)]
    [None, 'FRAUD', 'FRAUD', 'LEGIT']
    """
    return find_rule(rule).weigh([one for one in standing(assertions, cut_us) if one.effective_us <= ts_us])
