"""Rows as a learning library takes them: features in float64, the target in int8, groups and weights beside them.

What is a feature is what the manifest calls one, so no label, mark or id can slip in. Nothing is guessed away: a null number is NaN,
and what has no number (a text, an instant), what would lose digits, and a row without a target are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.contracts.manifest import SchemaColumn
from offline_feature_plane.corridor.libraries import need
from offline_feature_plane.errors import (
    CoveragePolicyViolation,
    EventSchemaMissingFields,
    NumericOverflow,
    SchemaInvalid,
    SourceColumnUnknown,
    SourceTypeMismatch,
    TruthFieldAsFeature,
)

if TYPE_CHECKING:
    import pandas as pd

    from offline_feature_plane.corridor.dataset import Dataset

Form = Literal["pandas", "numpy"]
Text = Literal["refuse", "category"]
Unknown = Literal["refuse", "exclude"]


class XY(NamedTuple):
    """What `fit` takes, row by row in the order of the dataset.

    `X` holds the features: a pandas frame with their names, or a numpy matrix; float64, NaN for null, true and false as 1 and 0.
    `y` is int8. `groups` are the values of the column that was asked for, None if none was. `weight` is 1 ÷ the rate of the sample,
    None if the dataset is no sample. `excluded` counts the rows that were left out for want of a target.
    """

    X: Any
    y: npt.NDArray[np.int8]
    groups: npt.NDArray[Any] | None
    weight: npt.NDArray[np.float64] | None
    excluded: int


@dataclass(frozen=True)
class Wanted:
    """What of a dataset becomes X, y, groups and weight; `texts` are the features that become categories."""

    features: tuple[str, ...]
    texts: tuple[str, ...]
    target: str
    groups: str | None
    weight: str | None
    form: Form

    @property
    def numbers(self) -> tuple[str, ...]:
        """The features that are numbers."""
        return tuple(name for name in self.features if name not in self.texts)

    @property
    def columns(self) -> list[str]:
        """The columns to read, each once."""
        beside = (name for name in (self.target, self.groups, self.weight) if name is not None)
        return list(dict.fromkeys((*self.features, *beside)))


@dataclass(frozen=True)
class _Piece:
    """The rows of one batch, as arrays; `codes` are places in the categories of each text, -1 for null."""

    matrix: npt.NDArray[np.float64]
    codes: dict[str, npt.NDArray[np.int32]]
    y: npt.NDArray[np.int8]
    groups: npt.NDArray[Any] | None
    weight: npt.NDArray[np.float64] | None
    excluded: int


def want(dataset: Dataset, *, groups: str | None, features: Sequence[str] | None, form: Form, text: Text) -> Wanted:
    """Decide which columns become what, by their roles alone.

    A column that rows are grouped by is no feature: a model that knows who it is about learns the entity, not the behaviour.

    Raises:
        SourceColumnUnknown: no such column, or no target. TruthFieldAsFeature: a label was named as a feature.
        SourceTypeMismatch: a feature that has no number. SchemaInvalid: a word that is none of those that an argument takes.
    """
    one_of("form", form, Form)
    one_of("text", text, Text)
    columns = {column.name: column for column in dataset.manifest.core.columns}
    if groups is not None and groups not in columns:
        raise SourceColumnUnknown(f"dataset {dataset.id} has no column {groups} to group its rows by.", path="groups",
                                  fix="To group by an entity, name its key under `row_features:` in the profile and build again. "
                                      f"Columns that are there: {', '.join(columns)}.")
    target = _of_role("target", columns)
    if target is None:
        raise SourceColumnUnknown(f"dataset {dataset.id} has no target: its intent says nothing about what is to be predicted.",
                                  fix="Build one from an intent whose `label:` says what is `positive`, or read it with to_arrow.")
    names = _named(dataset, columns, features) if features is not None else [one for one in dataset.feature_names if one != groups]
    texts = [name for name in names if columns[name].type == "string"]
    if refused := [name for name in names if columns[name].type == "timestamp" or (name in texts and text == "refuse")]:
        raise SourceTypeMismatch(f"dataset {dataset.id} has features that are no numbers: "
                                 f"{', '.join(f'{name} ({columns[name].type})' for name in refused)}.", path="features",
                                 fix='Name the other ones as features=[…], group by one with groups=…, say text="category" for texts, or '
                                     "give the profile what is a number of an instant, such as hour(ts).")
    if texts and form == "numpy":
        raise SchemaInvalid(f"a matrix of numbers has no categories, and {', '.join(texts)} would be some.", path="form",
                            fix='Say form="pandas".')
    return Wanted(tuple(names), tuple(texts), target, groups, _of_role("weight", columns), form)


def read_xy(dataset: Dataset, split: str, wanted: Wanted, unknown: Unknown) -> XY:
    """All rows of one split; each number is copied to where it stays, so that memory holds the matrix and one batch.

    Raises:
        CoveragePolicyViolation: rows without a target, unless they are to be excluded. EventSchemaMissingFields: rows without a group.
        NumericOverflow: an integer that float64 does not hold. DigestMismatch: a file was changed after the dataset was opened.
    """
    facts = next(one for one in dataset.manifest.core.splits if one.name == split)
    rows, categories = facts.rows - facts.unknown, _categories(dataset, wanted)
    whole = _Piece(np.empty((rows, len(wanted.numbers)), order="F"),  # a column is one piece of memory, and a frame takes it as it is
                   {name: np.empty(rows, np.int32) for name in wanted.texts}, np.empty(rows, np.int8), None,
                   None if wanted.weight is None else np.empty(rows), facts.unknown)
    groups: list[npt.NDArray[Any]] = []
    done = 0
    for piece in _pieces(dataset, split, wanted, unknown, categories):
        place = slice(done, done := done + len(piece.y))
        whole.matrix[place], whole.y[place] = piece.matrix, piece.y
        for name, codes in piece.codes.items():
            whole.codes[name][place] = codes
        if whole.weight is not None:
            whole.weight[place] = piece.weight
        if piece.groups is not None:
            groups.append(piece.groups)
    grouped = None if wanted.groups is None else np.concatenate(groups) if groups else np.empty(0, object)
    return XY(_x(whole, wanted, categories), whole.y, grouped, whole.weight, whole.excluded)


def stream_xy(dataset: Dataset, split: str, wanted: Wanted, unknown: Unknown) -> Iterator[XY]:
    """The same in pieces, one after the other; memory does not grow with the dataset. Raises as `read_xy`, when it gets there."""
    categories = _categories(dataset, wanted)
    for piece in _pieces(dataset, split, wanted, unknown, categories):
        yield XY(_x(piece, wanted, categories), piece.y, piece.groups, piece.weight, piece.excluded)


def _pieces(dataset: Dataset, split: str, wanted: Wanted, unknown: Unknown, categories: Mapping[str, pa.Array]) -> Iterator[_Piece]:
    one_of("unknown", unknown, Unknown)
    facts = next(one for one in dataset.manifest.core.splits if one.name == split)
    if facts.unknown and unknown == "refuse":
        raise CoveragePolicyViolation(f"{facts.unknown:,} of {facts.rows:,} rows of split {split} have no target.", path=wanted.target,
                                      fix='Say unknown="exclude" to leave them out.', unknown=facts.unknown, rows=facts.rows)
    for batch in dataset.batches(split, columns=wanted.columns):
        known = batch.filter(batch.column(wanted.target).is_valid())
        matrix = np.empty((known.num_rows, len(wanted.numbers)), order="F")
        for number, name in enumerate(wanted.numbers):
            matrix[:, number] = _floats(known.column(name), name)
        yield _Piece(matrix, {name: _codes(known.column(name), categories[name]) for name in wanted.texts},
                     known.column(wanted.target).to_numpy(zero_copy_only=False),
                     None if wanted.groups is None else _groups(known.column(wanted.groups), wanted.groups),
                     None if wanted.weight is None else known.column(wanted.weight).to_numpy(zero_copy_only=False),
                     batch.num_rows - known.num_rows)


def _floats(column: pa.Array, name: str) -> npt.NDArray[np.float64]:
    """Numbers as float64, NaN for null. Raises NumericOverflow."""
    try:
        floats: npt.NDArray[np.float64] = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid as wrong:
        raise NumericOverflow(f"{name} has an integer beyond 2^53, which float64 would round.", path=name,
                              fix="It looks like an id: leave it out of features=[…], or declare it as a string in the profile.") from wrong
    return floats


def _codes(column: pa.Array, categories: pa.Array) -> npt.NDArray[np.int32]:
    codes: npt.NDArray[np.int32] = pc.fill_null(pc.index_in(column, value_set=categories, skip_nulls=True), -1).to_numpy()
    return codes


def _categories(dataset: Dataset, wanted: Wanted) -> dict[str, pa.Array]:
    """The texts of each category over all splits, by their bytes: one text has one code wherever it is read."""
    if not wanted.texts:
        return {}
    found: dict[str, set[str]] = {name: set() for name in wanted.texts}
    for batch in dataset.batches(columns=wanted.texts):
        for name, texts in found.items():
            texts.update(batch.column(name).unique().drop_null().to_pylist())
    return {name: pa.array(sorted(texts, key=str.encode), pa.string()) for name, texts in found.items()}


def _groups(column: pa.Array, name: str) -> npt.NDArray[Any]:
    if column.null_count:
        raise EventSchemaMissingFields(f"at least {column.null_count:,} rows have no {name} to be grouped by.", path=name,
                                       fix="Group by a column without nulls, or declare `missing:` for the field in the profile.")
    groups: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return groups


def _x(piece: _Piece, wanted: Wanted, categories: Mapping[str, pa.Array]) -> pd.DataFrame | npt.NDArray[np.float64]:
    if wanted.form == "numpy":
        return piece.matrix
    pandas = need("pandas")
    frame: pd.DataFrame = pandas.DataFrame(piece.matrix, columns=list(wanted.numbers), copy=False)
    for name in wanted.texts:
        values = pandas.Categorical.from_codes(piece.codes[name], categories=categories[name].to_pylist())
        frame.insert(wanted.features.index(name), name, values)
    return frame


def _named(dataset: Dataset, columns: Mapping[str, SchemaColumn], features: Sequence[str]) -> list[str]:
    """The features that were named. Raises SchemaInvalid, SourceColumnUnknown, TruthFieldAsFeature."""
    if isinstance(features, str):
        raise SchemaInvalid(f"features={features!r} is a string, not a list of names.", path="features",
                            fix=f"Say features=[{features!r}].")
    if truth := [name for name in features if name in columns and columns[name].role in ("label", "target")]:
        raise TruthFieldAsFeature(f"{', '.join(truth)} of dataset {dataset.id} says what is to be predicted.", path="features",
                                  fix="Leave it out of features=[…]: it would leak the label.")
    if other := [name for name in features if name not in dataset.feature_names]:
        raise SourceColumnUnknown(f"dataset {dataset.id} has no feature {', '.join(other)}.", path="features",
                                  fix=f"Its features: {', '.join(dataset.feature_names)}.")
    return list(dict.fromkeys(features))


def _of_role(role: str, columns: Mapping[str, SchemaColumn]) -> str | None:
    return next((name for name, column in columns.items() if column.role == role), None)


def one_of(name: str, given: str, words: Any) -> None:
    """Refuse an argument that is none of the words of its Literal. Raises SchemaInvalid."""
    if given not in get_args(words):
        known = " or ".join(f'{name}="{word}"' for word in get_args(words))
        raise SchemaInvalid(f"{name}={given!r} is not a valid value.", path=name, fix=f"Use {known}.")
