"""How a column's name is read: its words, how well they fit, and how the feature language spells it (`ofs init`)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from offline_feature_plane.domain.summaries import TableSummary

__all__ = ["rank", "rows_of", "singular", "snake", "words_of"]


def snake(name: str) -> str:
    """A column's name as the feature language spells names.

    >>> snake("TX_Amount (EUR)"), snake("customerId"), snake("2nd"), snake("Umsätze")
    ('tx_amount_eur', 'customer_id', 'c_2nd', 'umsatze')
    """
    plain = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    spelled = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain).lower()
    found = re.sub(r"[^a-z0-9]+", "_", spelled).strip("_")[:48].strip("_") or "column"
    return found if found[0].isalpha() else f"c_{found}"


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case."""
    return snake(name).split("_")


def rank(name: str, wanted: Sequence[str]) -> int:
    """How well a name fits: 0 not at all, else the more the earlier the word is listed."""
    return max((len(wanted) - wanted.index(word) for word in words_of(name) if word in wanted), default=0)


def rows_of(count: int, table: TableSummary) -> str:
    """A share of a table's rows, for a sentence."""
    return f"{count} of {table.rows} rows"


def singular(name: str) -> str:
    """A plural's singular, as far as an ending tells.

    >>> singular("transactions"), singular("status"), singular("loss"), singular("gas")
    ('transaction', 'status', 'loss', 'gas')
    """
    return name.removesuffix("s") if len(name) > 3 and not name.endswith(("ss", "us", "is")) else name
