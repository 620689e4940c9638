"""The digest of the label assertions that a build used: recipe `ofs.label_slice.v1` (`domain.md` §1.8).

The slice of a label type holds the assertions that are eligible at the as-of and whose subject is an event of the basis, or an entity that
has one, each once: in the total order of their events, entities in that of their values, then by `slice_order`. It is hashed column by
column as a dataset's leaf is (`decisions.md` F), each column over the whole type.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from offline_feature_plane.domain.canonical import digest
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.content import column_digest
from offline_feature_plane.domain.resolution import STRENGTH, Assertion, eligible

RECIPE = "ofs.label_slice.v1"
COLUMNS = ("subject", "value", "observed", "effective", "source", "assertion_id", "supersedes")
TEXT, INSTANT = ColumnType("string"), ColumnType("timestamp")


@dataclass(frozen=True)
class TypeSlice:
    """One label type's part of the slice: how many assertions, and the `sha256:<hex>` of each of `COLUMNS`.

    `subject` has the type of the event ids, or of the entities, integers as int64; `observed` and `effective` are timestamps, the other
    columns text.
    """

    label_type: str
    assertions: int
    id_type: ColumnType
    columns: tuple[str, ...]


def slice_order(one: Assertion) -> tuple[int, int, int, str, tuple[bool, str], tuple[bool, str]]:
    """The order of one subject's assertions: observed, effective, source (strongest first), value, id, supersedes; missing last."""
    return (one.observed_us, one.effective_us, -STRENGTH[one.source], one.value,
            (one.assertion_id is None, one.assertion_id or ""), (one.supersedes is None, one.supersedes or ""))


def slice_of(label_type: str, by_subject: Iterable[Iterable[Assertion]], asof_us: int, id_type: ColumnType) -> TypeSlice:
    """Hash one label type's slice.

    Args:
        label_type: the type that all assertions are of.
        by_subject: the assertions of each event of the basis, events in the total order, or of each entity, in the order of entities; here
            they are sorted, and repeated and ineligible ones left out.
        asof_us: the knowledge cut.
        id_type: the type of the event ids, or of the entities.

    Raises:
        LabelTimelineInconsistent: as `eligible`.
    """
    kind = ColumnType("int64") if id_type.is_integer else id_type
    used = [one for assertions in by_subject for one in sorted(eligible(assertions, asof_us), key=slice_order)]
    return TypeSlice(label_type, len(used), kind, (
        column_digest(kind, [one.subject for one in used]),
        column_digest(TEXT, [one.value for one in used]),
        column_digest(INSTANT, [one.observed_us for one in used]),
        column_digest(INSTANT, [one.effective_us for one in used]),
        column_digest(TEXT, [one.source for one in used]),
        column_digest(TEXT, [one.assertion_id for one in used]),
        column_digest(TEXT, [one.supersedes for one in used])))


def slice_digest(slices: Iterable[TypeSlice]) -> str:
    """The digest of the whole slice, `sha256:<hex>`; types in any order.

    >>> slice_digest([])
    'sha256:b00c012fd93cb5524c8e5a76ffba7f13e0925df75083eb208d5b4df1d834dabc'
    """
    return digest(RECIPE, [{"label_type": one.label_type, "assertions": one.assertions, "subject_type": str(one.id_type),
                            "columns": dict(zip(COLUMNS, one.columns, strict=True))}
                           for one in sorted(slices, key=lambda one: one.label_type)])
