"""Scores kept or dropped 16 at a time, for compiled code: one that branches on every score takes twice as long.

The functions are called by compiled code alone. They write all of 16 places from `count` on, the first ones with the
scores that exceed `cut` and their positions, and return the new count. Arrays are C-contiguous; no bound is checked.
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
def keep_products(typing, cut, products, scales, column, position, scores, positions, count):  # type: ignore[no-untyped-def]
    """Keep of products[column:], int32 or float32, times scales[column:]; the first stands at `position`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        cut, products, scales, column, position, scores, positions, count = arguments
        of_products, of_scales, of_scores, of_positions = (signature.args[i] for i in (1, 2, 5, 6))
        whole = of_products.dtype == types.int32
        values = builder.load(
            _at(context, builder, of_products, products, column, _INTEGERS if whole else _FLOATS), align=4
        )
        values = builder.sitofp(values, _FLOATS) if whole else values
        values = builder.fmul(values, builder.load(_at(context, builder, of_scales, scales, column, _FLOATS), align=4))
        position = _splat(builder, builder.trunc(position, ir.IntType(32)), _INTEGERS)
        numbers = builder.add(position, ir.Constant(_INTEGERS, list(range(LANES))))
        scores = _at(context, builder, of_scores, scores, count, _FLOATS)
        positions = _at(context, builder, of_positions, positions, count, _INTEGERS)
        return builder.add(count, _packed(builder, cut, values, numbers, scores, positions))

    arguments = (types.float32, products, scales, types.int64, types.int64, scores, positions, types.int64)
    return types.int64(*arguments), generate


@intrinsic
def keep_places(typing, cut, place, scores, positions, count):  # type: ignore[no-untyped-def]
    """Keep of the places from `place` on; `count` is at most `place`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        cut, place, scores, positions, count = arguments
        _, _, of_scores, of_positions, _ = signature.args
        values = builder.load(_at(context, builder, of_scores, scores, place, _FLOATS), align=4)
        numbers = builder.load(_at(context, builder, of_positions, positions, place, _INTEGERS), align=4)
        scores = _at(context, builder, of_scores, scores, count, _FLOATS)
        positions = _at(context, builder, of_positions, positions, count, _INTEGERS)
        return builder.add(count, _packed(builder, cut, values, numbers, scores, positions))

    return types.int64(types.float32, types.int64, scores, positions, types.int64), generate


def _packed(builder: Any, cut: Any, values: Any, numbers: Any, scores: Any, positions: Any) -> Any:
    """Write values above the cut, and their numbers, next to each other; return how many these are."""
    above = builder.fcmp_ordered(">", values, _splat(builder, cut, _FLOATS))
    for lanes, target in ((values, scores), (numbers, positions)):
        name = f"llvm.experimental.vector.compress.v{LANES}{'f' if lanes is values else 'i'}32"
        kind = ir.FunctionType(lanes.type, [lanes.type, above.type, lanes.type])
        compress = cgutils.get_or_insert_function(builder.module, kind, name)
        packed = builder.call(compress, [lanes, above, ir.Constant(lanes.type, ir.Undefined)])
        builder.store(packed, target, align=4)
    return builder.zext(builder.ctpop(builder.bitcast(above, ir.IntType(LANES))), ir.IntType(64))


def _at(context: Any, builder: Any, kind: Any, array: Any, place: Any, lanes: Any) -> Any:
    """Return where 16 numbers of an array stand, from `place` on."""
    return builder.bitcast(builder.gep(make_array(kind)(context, builder, array).data, [place]), lanes.as_pointer())


def _splat(builder: Any, value: Any, lanes: Any) -> Any:
    """Return one value in all lanes."""
    nothing = ir.Constant(lanes, ir.Undefined)
    one = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(_INTEGERS, [0] * LANES))
