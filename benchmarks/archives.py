"""How fast record archives are read: a simulated archive of N payments, as JSON Lines and as Parquet, whole.

    python benchmarks/archives.py [--records 100000] [--sources 1]

Prints records per second of CPU time and of wall time for each form; reading is decoding, hashing, judging and typing every record. `--sources`
adds sources that no event belongs to: every topic is read once, whatever their number.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from offline_feature_plane.domain.closure import Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.simulation import World, event_batches
from offline_feature_plane.sources.archive import ArchiveMapping, ArchiveSource
from offline_feature_plane.testing.archives import SegmentForm, archived, write_archive

FIELDS = tuple(Field(name, ColumnType.parse(kind), (name,)) for name, kind in (
    ("customer", "string"), ("terminal", "string"), ("amount", "decimal(12,2)"), ("country", "string"), ("items", "int32"),
    ("online", "bool")))
"""E
grep -n "^def \|^    def \|names\|schema" src/offline_feature_plane/simulation.py | head -40; .venv/bin/python - <<'E'
import pyarrow as pa,time,numpy as np
a=pa.array([f"e{n}" for n in range(200000)]); 
for f in (lambda:a.to_pylist(), lambda:a.to_numpy(zero_copy_only=False).tolist(), lambda:pa.array([1]*200000,pa.int32()).to_pylist()):
    t=time.process_time(); f(); print((time.process_time()-t)/200000*1e6)
