"""The digest of a label slice over columns: the same bytes as `domain.label_slice`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.label_slice import TypeSlice
from offline_feature_plane.domain.resolution import SOURCES
from offline_feature_plane.engines.local.label_columns import AssertionColumns
from offline_feature_plane.engines.local.label_names import is_there
from offline_feature_plane.engines.local.label_steps import Eligible
from offline_feature_plane.kernels.framing import framed_bytes
from offline_feature_plane.kernels.leafhash import hash_fixed

__all__ = ["hash_slice"]

_PIECE = 1 << 20


def hash_slice(label_type: str, kept: Eligible, columns: AssertionColumns, id_type: ColumnType) -> TypeSlice:
    """`domain.label_slice.slice_of` over columns, which are those of `kept`; the texts are never Python objects."""
    integer = isinstance(columns.subjects, np.ndarray)
    ids, supersedes = (pa.nulls(columns.n, pa.large_string()) if texts is None else texts for texts in (columns.ids, columns.supersedes))
    with ThreadPoolExecutor(2) as pool:  # hashing lets go of the interpreter
        jobs = [pool.submit(hash_fixed if integer else _hash_texts, columns.subjects),
                pool.submit(_hash_coded, columns.values, columns.value), pool.submit(hash_fixed, kept.observed),
                pool.submit(hash_fixed, kept.effective), pool.submit(_hash_coded, SOURCES, columns.source),
                pool.submit(_hash_texts, ids), pool.submit(_hash_texts, supersedes)]
        return TypeSlice(label_type, len(kept.row), ColumnType("int64") if integer else id_type, tuple(job.result() for job in jobs))


def _hash_coded(texts: Sequence[str], codes: npt.NDArray[Any]) -> str:
    """The digest of a text column without nulls, from codes into its texts."""
    framed = pa.array([len(text.encode()).to_bytes(4, "little") + text.encode() for text in texts], pa.binary())
    running = hashlib.sha256(np.ones(len(codes), np.uint8).data)
    for start in range(0, len(codes), _PIECE):
        part = framed.take(pa.array(codes[start:start + _PIECE]))
        offsets = np.frombuffer(part.buffers()[1], np.int32)
        running.update(memoryview(part.buffers()[2])[offsets[0]:offsets[len(part)]])
    return f"sha256:{running.hexdigest()}"


def _hash_texts(texts: pa.Array) -> str:
    """The digest of a column of texts, some of which may be missing."""
    running = hashlib.sha256(is_there(texts).view(np.uint8).data)
    for start in range(0, len(texts), _PIECE):
        part: Any = texts.slice(start, _PIECE)
        data = part.buffers()[2]
        running.update(framed_bytes(np.frombuffer(part.buffers()[1], np.int64)[part.offset:part.offset + len(part) + 1],
                                    np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8), is_there(part)).data)
    return f"sha256:{running.hexdigest()}"
