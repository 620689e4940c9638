"""Memory asked for ahead: for kernels that jump, where the processor cannot guess what comes next."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["prefetch"]


def _prefetch(_context: Any, array: Any, _index: Any) -> Any:
    """Ask the processor to fetch `array[index]`; an index out of range is harmless."""
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        struct = context.make_array(kind)(context, builder, arguments[0])
        pointer = cgutils.get_item_pointer(context, builder, kind, struct, [arguments[1]], wraparound=False)  # type: ignore[no-untyped-call]
        number, address = ir.IntType(32), ir.IntType(8).as_pointer()
        shape = ir.FunctionType(ir.VoidType(), [address, number, number, number])
        fetch = cgutils.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        builder.call(fetch, [builder.bitcast(pointer, address), number(0), number(3), number(1)])
        return context.get_dummy_value()
    return types.void(array, types.intp), generate


prefetch: Any = intrinsic(_prefetch)
