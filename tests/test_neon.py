"""The vector kernels for ARM have the instructions that they are written for, as LLVM compiles them on any machine.

Not covered: that they compute the same, which tests/aarch64/run.sh compares on an emulated processor.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "neon_instructions.py"


@pytest.fixture(scope="module")
def counts():
    """counts[kernel][instruction]: how many there are."""
    if "aarch64" not in targets():
        pytest.skip("this LLVM does not compile for ARM")
    env = {**os.environ, "NUMBA_CPU_FEATURES": "+neon"}
    done = subprocess.run([sys.executable, PROGRAM], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def targets() -> str:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    try:
        return llvm.Target.from_triple("aarch64-unknown-linux-gnu").name
    except RuntimeError:
        return ""


@pytest.mark.parametrize("kernel", ["perceive", "perceive_two"])
def test_look_ups_in_registers(counts, kernel):
    """Nine neighbours, four channels, two bytes, two registers of states."""
    assert counts[kernel]["tbl"] == 9 * 4 * 2 * 2


def test_products_of_halves_of_registers(counts):
    """Sixteen units of two pairs; one addition of neighbours for a unit."""
    found = counts["hidden_units"]
    assert found["smull"] + found["smlal"] == found["smull2"] + found["smlal2"] == 16 * 2
    assert found["addp"] == 16


def test_a_state_takes_one_instruction_for_four_products(counts):
    """Sixteen units of eight cells, and one addition of neighbours for four cells; halves of registers as they are."""
    found = counts["best_states_copied"]
    assert sum(found[name] for name in ("smull", "smlal", "smull2", "smlal2")) == 16 * 8 // 4
    assert found["addp"] == 2
    assert not found.get("ext")
