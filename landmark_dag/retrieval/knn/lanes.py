"""Keep or drop scores 16 at a time, in compiled code: a branch for every score takes twice as long.

Only compiled code calls these functions. `kept` is a pair of arrays: scores float32 and positions int32. A function
writes 16 places of both from `count` on, first the scores that exceed `cut` and their positions, and returns the new
count. Arrays are C-contiguous; no bound is checked.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

LANES = 16
_INTEGERS, _FLOATS = (ir.VectorType(kind, LANES) for kind in (ir.IntType(32), ir.FloatType()))


@intrinsic
def keep_products(typing, factors, column, position, cut, kept, count):  # type: ignore[no-untyped-def]
    """Keep scores among products[column:] times scales[column:]; the first is the score of `position`.

    `factors` are the products, int32 or float32, and the scales, float32.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pair, column, position, cut, kept_pair, count = arguments
        whole = factors.types[0].dtype == types.int32
        products, scales = _at(context, builder, factors, pair, column, (_INTEGERS if whole else _FLOATS, _FLOATS))
        values = builder.load(products, align=4)
        values = builder.sitofp(values, _FLOATS) if whole else values
        values = builder.fmul(values, builder.load(scales, align=4))
        position = _splat(builder, builder.trunc(position, ir.IntType(32)), _INTEGERS)
        numbers = builder.add(position, ir.Constant(_INTEGERS, list(range(LANES))))
        target = _at(context, builder, kept, kept_pair, count, (_FLOATS, _INTEGERS))
        return builder.add(count, _packed(builder, cut, values, numbers, target))

    return types.int64(factors, types.int64, types.int64, types.float32, kept, types.int64), generate


@intrinsic
def keep_places(typing, place, cut, kept, count):  # type: ignore[no-untyped-def]
    """Keep scores among those of `kept` from `place` on; `count` is at most `place`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, cut, pair, count = arguments
        source = _at(context, builder, kept, pair, place, (_FLOATS, _INTEGERS))
        values, numbers = (builder.load(array, align=4) for array in source)
        target = _at(context, builder, kept, pair, count, (_FLOATS, _INTEGERS))
        return builder.add(count, _packed(builder, cut, values, numbers, target))

    return types.int64(types.int64, types.float32, kept, types.int64), generate


def _packed(builder: Any, cut: Any, values: Any, numbers: Any, target: tuple[Any, Any]) -> Any:
    """Write the values above the cut, and their numbers, next to each other at `target`; return how many there are."""
    above = builder.fcmp_ordered(">", values, _splat(builder, cut, _FLOATS))
    for lanes, start in zip((values, numbers), target, strict=True):
        name = f"llvm.experimental.vector.compress.v{LANES}{'f' if lanes is values else 'i'}32"
        kind = ir.FunctionType(lanes.type, [lanes.type, above.type, lanes.type])
        compress = cgutils.get_or_insert_function(builder.module, kind, name)
        packed = builder.call(compress, [lanes, above, ir.Constant(lanes.type, ir.Undefined)])
        builder.store(packed, start, align=4)
    return builder.zext(builder.ctpop(builder.bitcast(above, ir.IntType(LANES))), ir.IntType(64))


def _at(context: Any, builder: Any, kind: Any, pair: Any, place: Any, lanes: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the addresses of the 16 numbers from `place` on in each of a pair of arrays."""
    addresses = []
    for i in range(2):
        array = make_array(kind.types[i])(context, builder, builder.extract_value(pair, i))
        addresses.append(builder.bitcast(builder.gep(array.data, [place]), lanes[i].as_pointer()))
    return addresses[0], addresses[1]


def _splat(builder: Any, value: Any, lanes: Any) -> Any:
    """Return `value` in all lanes."""
    nothing = ir.Constant(lanes, ir.Undefined)
    one = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(_INTEGERS, [0] * LANES))
