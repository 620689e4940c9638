"""An assertion's id is its own: of the assertions of a type that count, no two about different subjects share one (`decisions.md` D22).

What one assertion says twice of one subject is judged by `domain.resolution`. Here two subjects meet, which every engine has in another
place: each finds the first assertion, in the order of the files, whose id an earlier one about another subject has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from offline_feature_plane.domain.resolution import Assertion
from offline_feature_plane.errors import LabelTimelineInconsistent

__all__ = ["refuse_shared_ids", "shared_id"]


def refuse_shared_ids(assertions: Iterable[Assertion]) -> None:
    """Hold the assertions of one label type, in the order of their files, against the law.

    Raises:
        LabelTimelineInconsistent: two subjects share an id.

    >>> refuse_shared_ids([Assertion(1, "fraud", "FRAUD", 10, 10, assertion_id="c1"), Assertion(2, "fraud", "FRAUD", 10, 10)])
    """
    first: dict[str, Assertion] = {}
    for one in assertions:
        if one.assertion_id is not None and first.setdefault(one.assertion_id, one).subject != one.subject:
            raise shared_id(one.label_type, one.assertion_id, (first[one.assertion_id].subject, one.subject), entity_field=one.entity_field)


def shared_id(label_type: str, assertion_id: str, subjects: Sequence[str | int], places: Sequence[str] | None = None, *,
              entity_field: str | None = None) -> LabelTimelineInconsistent:
    """The error for an id of assertions about two subjects; `places` says in which rows of which files they are.

    Entities are not shown: what the field that holds them says may be an identifier.
    """
    names = [repr(subject) for subject in subjects] if entity_field is None else [f"one {entity_field}", "another"]
    told = names if places is None else [f"{name} ({place})" for name, place in zip(names, places, strict=True)]
    return LabelTimelineInconsistent(
        f"assertion {assertion_id!r} ({label_type}) is about {told[0]} and about {told[1]}.", path=f"labels.{label_type}.id",
        fix="Give every assertion its own id, or leave `id:` out of the mapping if the column names something else, such as a case.",
        assertion_id=assertion_id, **({} if entity_field is not None else {"subjects": list(subjects)}))
