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
def keep_products(typing, cut, factors, column, position, candidates, count):  # type: ignore[no-untyped-def]
    """Keep of products[column:], int32 or float32, times scales[column:]; the first has `position`.

    `factors` are the products and the scales, `candidates` the scores and positions kept so far.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        cut, factors, column, position, candidates, count = arguments
        whole = signature.args[1].types[0].dtype == types.int32
        lanes = (_INTEGERS if whole else _FLOATS, _FLOATS)
        values, scales = _loaded(context, builder, signature.args[1], factors, column, lanes)
        values = builder.sitofp(values, _FLOATS) if whole else values
        values = builder.fmul(values, scales)
        position = _splat(builder, builder.trunc(position, ir.IntType(32)), _INTEGERS)
        numbers = builder.add(position, ir.Constant(_INTEGERS, list(range(LANES))))
        targets = _pointers(context, builder, signature.args[4], candidates, count, (_FLOATS, _INTEGERS))
        return builder.add(count, _packed(builder, cut, (values, numbers), targets))

    arguments = (types.float32, factors, types.int64, types.int64, candidates, types.int64)
    return types.int64(*arguments), generate


@intrinsic
def keep_places(typing, cut, place, candidates, count):  # type: ignore[no-untyped-def]
    """Keep of the scores and positions of `candidates` from `place` on; `count` is at most `place`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        cut, place, candidates, count = arguments
        lanes = (_FLOATS, _INTEGERS)
        found = _loaded(context, builder, signature.args[2], candidates, place, lanes)
        targets = _pointers(context, builder, signature.args[2], candidates, count, lanes)
        return builder.add(count, _packed(builder, cut, found, targets))

    return types.int64(types.float32, types.int64, candidates, types.int64), generate


def _packed(builder: Any, cut: Any, found: Any, targets: Any) -> Any:
    """Write the values of `found` above the cut, and their numbers, to `targets` without gaps; return the count."""
    above = builder.fcmp_ordered(">", found[0], _splat(builder, cut, _FLOATS))
    for lanes, target, suffix in zip(found, targets, "fi", strict=True):
        name = f"llvm.experimental.vector.compress.v{LANES}{suffix}32"
        kind = ir.FunctionType(lanes.type, [lanes.type, above.type, lanes.type])
        compress = cgutils.get_or_insert_function(builder.module, kind, name)
        packed = builder.call(compress, [lanes, above, ir.Constant(lanes.type, ir.Undefined)])
        builder.store(packed, target, align=4)
    return builder.zext(builder.ctpop(builder.bitcast(above, ir.IntType(LANES))), ir.IntType(64))


def _loaded(context: Any, builder: Any, kind: Any, arrays: Any, place: Any, lanes: Any) -> list[Any]:
    """Return 16 numbers of each array of a tuple, from `place` on."""
    return [builder.load(pointer, align=4) for pointer in _pointers(context, builder, kind, arrays, place, lanes)]


def _pointers(context: Any, builder: Any, kind: Any, arrays: Any, place: Any, lanes: Any) -> list[Any]:
    """Return pointers to 16 numbers of each array of a tuple, from `place` on."""
    pointers = []
    for i, (array_kind, lane) in enumerate(zip(kind.types, lanes, strict=True)):
        array = make_array(array_kind)(context, builder, builder.extract_value(arrays, i))
        pointers.append(builder.bitcast(builder.gep(array.data, [place]), lane.as_pointer()))
    return pointers


def _splat(builder: Any, value: Any, lanes: Any) -> Any:
    """Return one value in all lanes."""
    nothing = ir.Constant(lanes, ir.Undefined)
    one = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(_INTEGERS, [0] * LANES))
