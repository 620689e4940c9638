"""Text columns as integer codes into sorted dictionaries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.expressions import Call, Compare, Expression, Name, walk
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.lowering import as_arrow, as_numpy, mask_of

Codes = npt.NDArray[np.int32]


def shared_names(task: Task) -> dict[str, str]:
    """Text field names → name of the dictionary they share.

    Fields of one name share one over all sources, for they meet as keys; fields that one comparison or function looks at share one too.
    """
    home = {field.name: field.name for source in task.closure.sources for field in source.fields if field.type.kind == "string"}
    for expression in _expressions(task):
        for node in walk(expression.root):
            if isinstance(node, Compare | Call):
                names = sorted({below.name for below in walk(node) if isinstance(below, Name) and below.name in home})
                for other in names[1:]:
                    old, new = home[other], home[names[0]]
                    home = {name: new if root == old else root for name, root in home.items()}
    return home


def encode(columns: Sequence[pa.ChunkedArray]) -> tuple[list[Codes], pa.Array]:
    """Encode columns over one dictionary that is sorted by UTF-8 bytes.

    Args:
        columns: chunked string arrays.

    Returns:
        Per column int32 codes (−1 where null), and the dictionary.
    """
    sizes = [len(column) for column in columns]
    encoded = pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string()).dictionary_encode()
    texts = encoded.chunk(encoded.num_chunks - 1).dictionary if encoded.num_chunks else pa.array([], pa.string())
    order = as_numpy(pc.sort_indices(texts), np.uint64).view(np.int64)
    rank = np.empty(len(texts), np.int32)
    rank[order] = np.arange(len(texts), dtype=np.int32)
    codes = np.empty(sum(sizes), np.int32)
    at = 0
    for chunk in encoded.chunks:
        indices, part = chunk.indices, codes[at:at + len(chunk)]
        if indices.null_count:
            known = mask_of(indices)
            part[:] = -1
            part[known] = rank[as_numpy(indices.drop_null(), np.int32)]
        elif len(chunk):
            np.take(rank, as_numpy(indices, np.int32), out=part)
        at += len(chunk)
    return np.split(codes, np.cumsum(sizes)[:-1]), texts.take(as_arrow(order))


def ranks(texts: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The rank of every text by UTF-8 bytes; equal texts have equal ranks."""
    (codes,), _ = encode([texts])
    return codes.astype(np.int64)


def _expressions(task: Task) -> list[Expression]:
    found = [group.where for group in task.closure.groups] + [task.where]
    found += [item.expression for item in (*task.closure.row_features, *task.closure.derived)]
    return [expression for expression in found if expression is not None]
