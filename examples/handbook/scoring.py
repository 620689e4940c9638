"""How the handbook judges a model: who leaves the test week, and what share of the cards that would be looked at is compromised."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

LABEL_DELAY = timedelta(days=7)


def days_of(rows: pd.DataFrame) -> pd.Series[pd.Timestamp]:
    """The first instant of each row's day (UTC)."""
    return rows["ts"].dt.floor("D")


def remove_known(test: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The test rows without those of customers who were known to be compromised when the row's day began.

    A fraud is known once its label is, 7 days later: on day D, the frauds before D − 7 days count.

        fraud ●───── 7 days ─────▶ known
              D−8     …      D−1 │ D: the customer's rows are gone from this day on

    Args:
        test: rows with `card` and `ts`.
        known: rows with `card`, `ts` and `target`; frauds that nobody knew in time do no harm.
    """
    first = known[known["target"] == 1].groupby("card")["ts"].min()
    learned = test["card"].map(first) + LABEL_DELAY
    return test[~(learned < days_of(test))]  # without a fraud: not a time, which is before nothing


def card_precision(test: pd.DataFrame, scores: npt.ArrayLike, top: int = 100) -> float:
    """Card Precision@top: the share of compromised cards among those that `top` looks a day would check; the mean over days.

    A card's score is the highest of its transactions of the day. A card that was found compromised is not looked at again. A day with
    fewer than `top` cards is divided by `top` all the same; cards of equal score are looked at in the order of their first transaction.

    Args:
        test: rows with `card`, `ts` and `target`, in the order of time.
        scores: one a row; a higher one is more suspicious.
        top: how many cards are looked at a day.
    """
    rows = pd.DataFrame({"day": days_of(test), "card": test["card"], "fraud": test["target"] == 1})
    rows["score"] = np.asarray(scores, dtype=np.float64)
    found: set[object] = set()
    shares = []
    for _, day in rows.groupby("day"):
        cards = day[~day["card"].isin(found)].groupby("card", sort=False)[["score", "fraud"]].max()
        looked_at = cards.sort_values("score", ascending=False, kind="stable").head(top)
        hit = looked_at.index[looked_at["fraud"]]
        found.update(hit)
        shares.append(len(hit) / top)
    return float(np.mean(shares)) if shares else 0.0
