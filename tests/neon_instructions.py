"""Prints how many of which instructions LLVM makes of each vector kernel for ARM, as JSON; on any machine.

test_neon.py runs it in a process that is told to compile for NEON.
"""

import json
import re
from collections import Counter

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import types

from ncagen.sources.nca import simd

TRIPLE = "aarch64-unknown-linux-gnu"
BYTE, INTEGER, LONG = (ir.IntType(bits) for bits in (8, 32, 64))
BYTES, INTEGERS = BYTE.as_pointer(), INTEGER.as_pointer()
BEST = (INTEGERS, INTEGERS, LONG, LONG, INTEGER, INTEGER, BYTES, LONG, INTEGERS, INTEGERS, LONG)
PERCEIVE = (*[BYTES] * 4, LONG, LONG, INTEGERS, INTEGERS)
KERNELS = {
    "perceive": (PERCEIVE, ir.VoidType()),
    "perceive_two": (PERCEIVE, ir.VoidType()),
    "hidden_units": ((INTEGERS, INTEGERS, INTEGERS, LONG, INTEGERS), ir.VoidType()),
    "best_states_copied": (BEST, LONG),
}


class Context:
    """What code generators ask of numba's context: the value of a function that returns nothing."""

    @staticmethod
    def get_dummy_value():
        return None


def add_function(module: ir.Module, name: str, parameters: tuple, result: ir.Type) -> None:
    """Adds a kernel as a function whose arguments do not overlap."""
    function = ir.Function(module, ir.FunctionType(result, parameters), name)
    for each in function.args:
        if each.type.is_pointer:
            each.add_attribute("noalias")
    builder = ir.IRBuilder(function.append_basic_block())
    generator = getattr(simd, name).registered._defn
    signature, generate = generator(None, *[types.uint64] * len(parameters))
    value = generate(Context, builder, signature, function.args)
    builder.ret_void() if value is None else builder.ret(value)


def assembly(module: ir.Module) -> str:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(cpu="neoverse-n1", opt=3)
    parsed = llvm.parse_assembly(str(module))
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(parsed, passes)
    return machine.emit_assembly(parsed)


def main() -> None:
    module = ir.Module()
    module.triple = TRIPLE
    for name, (parameters, result) in KERNELS.items():
        add_function(module, name, parameters, result)
    counts: dict[str, Counter] = {}
    for label, instruction in re.findall(r"^(?:(\w+):|\t([a-z]\w*))", assembly(module), re.M):
        if label in KERNELS:
            current = counts.setdefault(label, Counter())
        elif instruction:
            current[instruction] += 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
