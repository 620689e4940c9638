"""Damaged footers of Parquet files: refused by a typed error, and never the end of the process."""

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_feature_plane.compact_thrift import Malformed, read_struct
from offline_feature_plane.parquet_footers import columns_of_differences, footer_start, read_footer

FLIPS = """
import random, sys
from pathlib import Path
import pyarrow as pa
from offline_feature_plane.errors import OfsError
from offline_feature_plane.parquet_files import describe_parquet, parquet_batches
from offline_feature_plane.parquet_footers import footer_start
path, count = Path(sys.argv[1]), int(sys.argv[2])
data, draw = path.read_bytes(), random.Random(1)
start, refused = footer_start(memoryview(data)), 0
for _ in range(count):
    harmed = bytearray(data)
    harmed[draw.randrange(start, len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(bytes(harmed))
    try:
        found = {name for name, _ in describe_parquet(path)[1]}
        for _ in parquet_batches(path, [name for name in ("word", "number", "id") if name in found], ["word"]):
            pass
    except (OfsError, OSError, ValueError, pa.ArrowException):
        refused += 1
print(refused)
"""


@pytest.fixture
def file(tmp_path):
    """A file with a text, a number and an id that is stored as differences."""
    table = pa.table({"word": ["a", "b", None] * 50, "number": range(150), "id": [f"id {n}" for n in range(150)]})
    pq.write_table(table, tmp_path / "file.parquet", use_dictionary=["word"], column_encoding={"id": "DELTA_BYTE_ARRAY", "number": "PLAIN"})
    return tmp_path / "file.parquet"


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.long)])
def test_a_flipped_bit_in_a_footer_never_ends_the_process(file, count):
    """Arrow's own view of the columns of a damaged footer calls abort(); reading events and labels never looks there."""
    done = subprocess.run([sys.executable, "-c", FLIPS, str(file), str(count)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > count // 4


def test_a_footer_says_what_is_stored_as_differences(file):
    """The encodings of every chunk count, whatever the row group."""
    data = memoryview(file.read_bytes())
    assert columns_of_differences(data) == {"id"}
    assert read_footer(data)[3] == 150
    for harmed in (b"", b"PAR1", data[:-1], bytes(data[:footer_start(data)]) + b"\xff" * 100 + bytes(data[-8:])):
        with pytest.raises(Malformed):
            read_footer(memoryview(harmed))


@pytest.mark.parametrize("pattern", [b"\x1c", b"\x19", b"\x1a", b"{", b"\x1b\x01\x99", b"\x1b\x01\xbb", b"\x2c\x19"])
def test_nesting_without_end_is_malformed(pattern):
    """Structs, lists, sets and maps within each other are followed to a fixed depth, however deep they go."""
    with pytest.raises(Malformed):
        read_struct(pattern * 100_000, 0, len(pattern) * 100_000)
