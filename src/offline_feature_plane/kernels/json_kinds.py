"""What a value in JSON bytes is, as kernels say it; this module loads no compiler."""

from __future__ import annotations

from typing import Final

__all__ = ["ABSENT", "ESCAPED", "FALSE", "INTEGER", "NUMBER", "OTHER", "TEXT", "TOLD", "TRUE"]

ABSENT: Final = 0   # or null
TEXT: Final = 1     # whose bytes stand for themselves
ESCAPED: Final = 2  # text with escapes
INTEGER: Final = 3
NUMBER: Final = 4   # with a fraction or an exponent
TRUE: Final = 5
FALSE: Final = 6
OTHER: Final = 7    # an array, an object, or what the law must look at
TOLD: Final = 8     # the canonical text of a nested value
