"""Finds equal entries of arrays, as bit masks: a comparison of vectors, which compilers do not derive from loops.

Not covered: what the bits mean to a caller. Arrays must extend to the last lane; its callers pad them.
"""

from llvmlite import ir

from ncagen import processor
from ncagen.kernels import arguments, intrinsic, types

BYTES = 64

_I32, _I64 = ir.IntType(32), ir.IntType(64)


# Entries of 16 bits in a register of AVX-512, or of AVX2 without it, whose 16 registers hold no more.
LANES = 32 if "avx512bw" in processor.features() else 16


def splat(builder, value, lanes):
    """Returns a vector of so many lanes that are all `value`."""
    undefined = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    vector = builder.insert_element(undefined, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(vector, undefined, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))


def pointer(builder, array, index, lanes):
    """Returns the address of so many entries of an array from `index` on, as one vector."""
    at = builder.gep(array, [index])
    return builder.bitcast(at, ir.VectorType(array.type.pointee, lanes).as_pointer())


def load(builder, array, index, lanes):
    return builder.load(pointer(builder, array, index, lanes), align=1)


def _mask(builder, a, b):
    equal = builder.icmp_unsigned("==", a, b)
    bits = builder.bitcast(equal, ir.IntType(a.type.count))
    return bits if a.type.count == 64 else builder.zext(bits, _I64)


@intrinsic
def equal_lanes(typing, array, at, value):
    """Returns a bit mask of those of the LANES entries of array: uint16, from `at` on, that are value: uint16."""
    signature = types.uint64(array, types.uint64, types.uint16)

    def generate(context, builder, signature, args):
        array, at, value = arguments(context, builder, signature, args)
        return _mask(builder, load(builder, array, at, LANES), splat(builder, value, LANES))

    return signature, generate


@intrinsic
def equal_to_next(typing, array, at):
    """Returns a bit mask of those of the BYTES entries of array: uint8, from `at` on, that equal the one after them."""
    signature = types.uint64(array, types.uint64)

    def generate(context, builder, signature, args):
        array, at = arguments(context, builder, signature, args)
        after = load(builder, array, builder.add(at, ir.Constant(_I64, 1)), BYTES)
        return _mask(builder, load(builder, array, at, BYTES), after)

    return signature, generate
