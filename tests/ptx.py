"""Runs PTX without a GPU: one block of up to a warp's threads, instruction by instruction, for tests and counts.

It knows the instructions that NVRTC makes of the kernels in `ncagen/cuda`, and raises for any other. All threads at the
lowest program counter go on together, which is how a warp meets again after a branch, so the number of steps is that of
the instructions a warp issues, if not yet translated and scheduled by ptxas. It also checks what hardware does not:

    an address outside an array of the caller, or outside the block's shared memory
    an address that is not a multiple of its width
    a read of shared memory that nothing wrote
    two threads that touch the same byte of shared memory between two barriers, one of them to write, not atomically

The meaning of the instructions is that of NVIDIA's "PTX ISA", chapter 9.
"""

import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

SHARED = 1 << 40  # where the shared memory of the block, and each thread's local memory, appear as generic addresses
LOCAL = 1 << 41
GLOBAL = 1 << 20

TYPES = {
    **{f"{kind}{8 * size}": np.dtype(f"u{size}").type for kind in "bu" for size in (1, 2, 4, 8)},
    **{f"s{8 * size}": np.dtype(f"i{size}").type for size in (1, 2, 4, 8)},
    "pred": np.bool_,
}
REGISTERS = {"%p": np.bool_, "%rs": np.uint16, "%r": np.uint32}  # others are 64 bits wide
WIDER = {"u16": np.uint32, "u32": np.uint64, "s16": np.int32, "s32": np.int64}
COMPARE = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
           "ge": np.greater_equal}  # fmt: skip
LOGIC = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}


class Fault(Exception):
    """What a kernel may not do."""


@dataclass(frozen=True)
class Instruction:
    """An instruction. guard: a predicate's name and whether it has to be false, or None."""

    text: str
    operation: str
    operands: tuple[str, ...]
    guard: tuple[str, bool] | None


@dataclass
class Function:
    """A kernel. labels: the index of the instruction after each. locals: bytes of local memory by name."""

    parameters: list[str] = field(default_factory=list)
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    locals: dict[str, int] = field(default_factory=dict)


def parse(text: str) -> tuple[dict[str, Function], dict[str, bytes]]:
    """Reads a module. Returns its kernels, and its constant arrays, by name."""
    functions: dict[str, Function] = {}
    constants: dict[str, bytes] = {}
    current = Function()
    text = re.sub(r"//[^\n]*", "", text)
    for name, values in re.findall(r"\.(?:global|const) \.align \d+ \.b8 (\w+)\[\d+\] = \{([^}]*)\}", text):
        constants[name] = bytes(int(value, 0) & 255 for value in values.split(","))
    for entry in re.finditer(r"\.entry (\w+)\((.*?)\)(.*?)\n\}", text, re.S):
        current = functions[entry[1]] = Function(re.findall(r"(\w+)(?:,|\s*$)", entry[2].strip(), re.M))
        body = re.sub(r"\{\s*\.reg \.\w+ %?tmp;\s*(.*?;)\s*\}", r"\1", entry[3], flags=re.S)
        for line in re.findall(r"\s*(\$?\w+:|[^;{}]*\{[^;}]*\}[^;]*;|[^;]+;)", body[body.index("{") + 1 :]):
            line = " ".join(line.split())
            if line.endswith(":"):
                current.labels[line[:-1]] = len(current.code)
            elif line.startswith(".local"):
                found = re.match(r"\.local \.align \d+ \.b8 (\w+)\[(\d+)\]", line)
                current.locals[found[1]] = int(found[2])
            elif not line.startswith(".") and line != ";":
                current.code.append(_instruction(line.rstrip(";").strip()))
    return functions, constants


def _instruction(line: str) -> Instruction:
    found = re.match(r"(?:@(!?)(%\w+) )?([\w.:]+)\s*(.*)", line)
    assert found, repr(line)
    operands = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+", found[4])
    return Instruction(line, found[3], tuple(operands), (found[2], found[1] == "!") if found[2] else None)


class Memory:
    """Arrays of the caller, at addresses that do not touch."""

    def __init__(self) -> None:
        self._arrays: list[tuple[int, np.ndarray]] = []
        self._next = GLOBAL

    def add(self, array: np.ndarray) -> int:
        """Returns the address of an array, which the kernel reads and writes in place."""
        start = self._next
        self._arrays.append((start, array.reshape(-1).view(np.uint8)))
        self._next += (array.nbytes + 4096) // 256 * 256
        return start

    def find(self, addresses: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The array that addresses are in, and their offsets."""
        for start, data in self._arrays:
            if start <= addresses[0] < start + len(data):
                offsets = addresses - np.uint64(start)
                if int(offsets.max()) + size > len(data):
                    break
                return data, offsets.astype(np.int64)
        raise Fault(f"global address {int(addresses[0]):#x} is in no array")


class Block:
    """A block of threads that runs a kernel.

    counts: instructions that a warp issued, by operation. phases: how many at each barrier.
    """

    def __init__(self, text: str, kernel: str, threads: int, shared_bytes: int, memory: Memory):
        functions, constants = parse(text)
        self.function, self.threads, self.memory = functions[kernel], threads, memory
        self.shared = np.zeros(shared_bytes, np.uint8)
        self._written = np.zeros(shared_bytes, bool)
        self._writer, self._reader = (np.full(shared_bytes, -1, np.int64) for _ in range(2))
        self._local = np.zeros((threads, sum(self.function.locals.values())), np.uint8)
        self._symbols = {"memory_": 0}
        for name, data in constants.items():
            self._symbols[name] = memory.add(np.frombuffer(data, np.uint8).copy())
        place = 0
        for name, size in self.function.locals.items():
            self._symbols[name] = place
            place += size
        self.counts: Counter[str] = Counter()
        self.phases: list[int] = []
        self._steps = [self._compiled(each) for each in self.function.code]

    def run(self, block: int, parameters: list[int]) -> None:
        """Runs the kernel to its end. block: its number."""
        lanes = np.arange(self.threads, dtype=np.uint32)
        self._registers: dict[str, np.ndarray] = {"%tid.x": lanes, "%ctaid.x": np.full(self.threads, block, np.uint32)}
        self._parameters = dict(zip(self.function.parameters, parameters, strict=True))
        end = len(self._steps)
        self._at = np.zeros(self.threads, np.int64)
        waiting = np.zeros(self.threads, bool)
        for name in set(re.findall(r"%[a-zA-Z]+\d*", " ".join(each.text for each in self.function.code))):
            dtype = REGISTERS.get(name.rstrip("0123456789"), np.uint64)
            self._registers.setdefault(name, np.zeros(self.threads, dtype))
        self._written[:], self._writer[:], self._reader[:] = False, -1, -1
        with np.errstate(over="ignore"):
            while True:
                able = ~waiting & (self._at < end)
                if not able.any():
                    if not waiting.any():
                        return
                    if not (waiting | (self._at >= end)).all():
                        raise Fault("threads wait for a barrier that others do not reach")
                    waiting[:] = False  # all arrived
                    self.phases.append(self.counts.total())
                    self._writer[:], self._reader[:] = -1, -1
                    continue
                at = int(self._at[able].min())
                active = able & (self._at == at)
                instruction = self.function.code[at]
                self.counts[instruction.operation] += 1
                self._at[active] = at + 1
                if instruction.guard:
                    name, negated = instruction.guard
                    active = active & (self._registers[name] ^ negated)
                if instruction.operation == "bar.sync":
                    waiting |= active
                elif active.any():
                    self._steps[at](active)

    # --- operands

    def _value(self, operand: str, kind: str) -> np.ndarray:
        dtype = TYPES[kind]
        if operand.startswith("%"):
            found = self._registers[operand]
            if found.dtype == dtype:
                return found
            size = np.dtype(dtype).itemsize
            return found.view(dtype) if found.itemsize == size else found.astype(dtype)
        number = self._symbols[operand] if operand in self._symbols else int(operand, 0)
        if dtype is np.bool_:
            return np.full(self.threads, bool(number))
        bits = 8 * np.dtype(dtype).itemsize
        number &= (1 << bits) - 1
        unsigned = np.array(number, f"u{bits // 8}").view(dtype)
        return np.full(self.threads, unsigned)

    def _set(self, operand: str, value: np.ndarray, active: np.ndarray) -> None:
        target = self._registers[operand]
        if value.dtype != target.dtype:
            same = value.itemsize == target.itemsize
            value = value.view(target.dtype) if same else value.astype(target.dtype)  # extended, by its own type
        if active.all():
            self._registers[operand] = value.copy()
        else:
            self._registers[operand] = np.where(active, value, target)

    # --- memory

    def _addresses(self, operand: str, space: str) -> np.ndarray:
        base, _, offset = operand.strip("[]").partition("+")
        kind = "u64" if base.startswith(("%rd", "%SP")) or not base.startswith("%") else "u32"
        found = self._value(base, kind).astype(np.uint64) + np.uint64(int(offset or "0", 0) & (2**64 - 1))
        return found & np.uint64(2**32 - 1) if kind == "u32" else found

    def _access(self, operand: str, space: str, size: int, active: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
        """The bytes that active threads touch: an array, their offsets, and whether it is shared memory."""
        lanes = np.flatnonzero(active)
        addresses = self._addresses(operand, space)[lanes]
        if (addresses % np.uint64(size)).any():
            raise Fault(f"{operand} is not a multiple of {size}")
        if space in ("", "generic"):
            space = "local" if addresses[0] >= LOCAL else "shared" if addresses[0] >= SHARED else "global"
            addresses = addresses - np.uint64({"local": LOCAL, "shared": SHARED, "global": 0}[space])
        if space == "global":
            data, offsets = self.memory.find(addresses, size)
            return data, offsets, False
        offsets = addresses.astype(np.int64)
        if space == "local":
            if (offsets < 0).any() or (offsets + size > self._local.shape[1]).any():
                raise Fault(f"{operand} is outside local memory")
            return self._local.reshape(-1), offsets + lanes * self._local.shape[1], False
        if (offsets < 0).any() or (offsets + size > len(self.shared)).any():
            raise Fault(f"{operand} is outside the {len(self.shared)} bytes of shared memory: {int(offsets.max())}")
        return self.shared, offsets, True

    def _watch(self, offsets: np.ndarray, size: int, lanes: np.ndarray, writes: bool, atomic: bool = False) -> None:
        """Raises Fault for a race, and for a read of what was not written. An atomic access is by lane -2."""
        for byte in range(size):
            at = offsets + byte
            if not writes and not self._written[at].all():
                raise Fault(f"shared byte {int(at[~self._written[at]][0])} is read and was not written")
            who = np.full(len(at), -2) if atomic else lanes
            other = (self._writer[at] != -1) & (self._writer[at] != who)
            if writes or atomic:
                other |= (self._reader[at] != -1) & (self._reader[at] != who)
                if not atomic and len(np.unique(at)) < len(at):
                    raise Fault("two threads write the same shared byte at once")
            if other.any():
                raise Fault(f"a race at shared byte {int(at[other][0])}")
            if writes or atomic:
                self._writer[at], self._written[at] = who, True
            else:
                several = (self._reader[at] != -1) & (self._reader[at] != who)
                self._reader[at] = np.where(several, -3, who)  # -3: more than one
                once = np.unique(at, return_counts=True)
                self._reader[once[0][once[1] > 1]] = -3

    def _load(self, operand: str, space: str, dtype: type, active: np.ndarray, count: int = 1) -> np.ndarray:
        """[count, thread]."""
        size = np.dtype(dtype).itemsize
        data, offsets, is_shared = self._access(operand, space, size * count, active)
        if is_shared:
            self._watch(offsets, size * count, np.flatnonzero(active), False)
        found = np.zeros((count, self.threads), dtype)
        whole = data[: len(data) // size * size].view(dtype) if data.ctypes.data % size == 0 else None
        for i in range(count):
            if whole is not None:
                found[i, active] = whole[offsets // size + i]
            else:
                found[i, active] = [data[o + i * size : o + (i + 1) * size].view(dtype)[0] for o in offsets]
        return found

    def _store(self, operand: str, space: str, values: list[np.ndarray], active: np.ndarray) -> None:
        size = values[0].itemsize
        data, offsets, is_shared = self._access(operand, space, size * len(values), active)
        if is_shared:
            self._watch(offsets, size * len(values), np.flatnonzero(active), True)
        for i, value in enumerate(values):
            raw = np.ascontiguousarray(value[active]).view(np.uint8).reshape(len(offsets), size)
            data[offsets[:, None] + i * size + np.arange(size)] = raw

    # --- instructions

    def _compiled(self, each: Instruction):
        """Returns a function that runs an instruction for the threads of a mask."""
        name, *modifiers = each.operation.split(".")
        kind = modifiers[-1] if modifiers else ""
        operands = each.operands
        method = getattr(self, f"_do_{name}", None)
        if method is None:
            raise NotImplementedError(each.text)

        def step(active: np.ndarray) -> None:
            try:
                method(operands, modifiers, kind, active)
            except Fault as fault:
                raise Fault(f"{fault} ({each.text})") from None

        return step

    def _do_bar(self, o, m, kind, active):
        """Waits: `run` does."""

    def _do_mov(self, o, m, kind, active):
        if o[0].startswith("{"):  # a register into its parts, the low one first
            whole, names = self._value(o[1], kind), o[0].strip("{}").replace(",", " ").split()
            parts = whole[:, None].view(TYPES[f"u{8 * whole.itemsize // len(names)}"])
            for i, name in enumerate(names):
                if name.startswith("%"):  # "_" and "tmp" are not read
                    self._set(name, parts[:, i], active)
        elif o[1].startswith("{"):
            names = o[1].strip("{}").replace(",", " ").split()
            part = f"u{8 * np.dtype(TYPES[kind]).itemsize // len(names)}"
            parts = np.stack([self._value(name, part) for name in names], axis=1)
            self._set(o[0], parts.view(TYPES[kind])[:, 0], active)
        else:
            self._set(o[0], self._value(o[1], kind), active)

    def _do_ret(self, o, m, kind, active):
        self._at[active] = len(self._steps)

    def _do_bra(self, o, m, kind, active):
        self._at[active] = self.function.labels[o[0]]

    def _do_cvta(self, o, m, kind, active):
        window = {"shared": SHARED, "local": LOCAL, "global": 0}[m[-2]]
        change = np.uint64(-window & (2**64 - 1) if m[0] == "to" else window)
        self._set(o[0], self._value(o[1], "u64") + change, active)

    def _do_add(self, o, m, kind, active):
        self._set(o[0], self._value(o[1], kind) + self._value(o[2], kind), active)

    def _do_sub(self, o, m, kind, active):
        self._set(o[0], self._value(o[1], kind) - self._value(o[2], kind), active)

    def _do_neg(self, o, m, kind, active):
        self._set(o[0], -self._value(o[1], kind), active)

    def _do_not(self, o, m, kind, active):
        self._set(o[0], ~self._value(o[1], kind), active)

    def _product(self, o, m, kind):
        a, b = self._value(o[1], kind), self._value(o[2], kind)
        if m[0] == "lo":
            return a * b
        if kind == "u64":
            assert m[0] == "hi"
            return np.array([int(x) * int(y) >> 64 for x, y in zip(a, b, strict=True)], np.uint64)
        product = a.astype(WIDER[kind]) * b.astype(WIDER[kind])
        return product if m[0] == "wide" else (product >> (8 * a.itemsize)).astype(a.dtype)

    def _do_mul(self, o, m, kind, active):
        self._set(o[0], self._product(o, m, kind), active)

    def _do_mad(self, o, m, kind, active):
        product = self._product(o, m, kind)
        third = self._registers[o[3]].view(product.dtype) if o[3].startswith("%") else product.dtype.type(int(o[3], 0))
        self._set(o[0], product + third, active)

    def _do_min(self, o, m, kind, active):
        self._set(o[0], np.minimum(self._value(o[1], kind), self._value(o[2], kind)), active)

    def _do_max(self, o, m, kind, active):
        self._set(o[0], np.maximum(self._value(o[1], kind), self._value(o[2], kind)), active)

    def _logic(self, o, kind, active, operation):
        self._set(o[0], operation(self._value(o[1], kind), self._value(o[2], kind)), active)

    def _do_and(self, o, m, kind, active):
        self._logic(o, kind, active, LOGIC["and"])

    def _do_or(self, o, m, kind, active):
        self._logic(o, kind, active, LOGIC["or"])

    def _do_xor(self, o, m, kind, active):
        self._logic(o, kind, active, LOGIC["xor"])

    def _shifted(self, o, kind, active, operation):
        a, by = self._value(o[1], kind), self._value(o[2], "u32")
        bits = 8 * a.itemsize
        inside = operation(a, np.minimum(by, bits - 1).astype(a.dtype))
        beyond = operation(inside, np.array(1, a.dtype)) if bits else inside
        self._set(o[0], np.where(by < bits, inside, beyond).astype(a.dtype), active)

    def _do_shl(self, o, m, kind, active):
        self._shifted(o, kind, active, np.left_shift)

    def _do_shr(self, o, m, kind, active):
        self._shifted(o, kind, active, np.right_shift)

    def _do_shf(self, o, m, kind, active):
        low, high, by = (self._value(each, "u32") for each in o[1:])
        pair = high.astype(np.uint64) << np.uint64(32) | low
        by = (by & 31).astype(np.uint64)
        found = pair >> by if m[0] == "r" else (pair << by) >> np.uint64(32)
        self._set(o[0], (found & np.uint64(0xFFFFFFFF)).astype(np.uint32), active)

    def _do_bfi(self, o, m, kind, active):
        a, b = self._value(o[1], kind), self._value(o[2], kind)
        at, length = int(o[3], 0), int(o[4], 0)
        mask = np.array(((1 << length) - 1) << at, np.uint64).astype(a.dtype)
        self._set(o[0], (b & ~mask) | (a << np.array(at, a.dtype)) & mask, active)

    def _do_prmt(self, o, m, kind, active):
        both = self._value(o[2], "u32").astype(np.uint64) << np.uint64(32) | self._value(o[1], "u32")
        selector = self._value(o[3], "u32")
        found = np.zeros(self.threads, np.uint32)
        for i in range(4):
            pick = (selector >> (4 * i) & 15).astype(np.uint64)
            byte = both >> (8 * (pick & np.uint64(7))) & np.uint64(255)
            sign = (byte >> np.uint64(7)) * np.uint64(255)
            found |= (np.where(pick >> np.uint64(3), sign, byte) << np.uint64(8 * i)).astype(np.uint32)
        self._set(o[0], found, active)

    def _do_brev(self, o, m, kind, active):
        a = self._value(o[1], "u32")
        found = np.zeros_like(a)
        for i in range(32):
            found |= (a >> np.uint32(i) & np.uint32(1)) << np.uint32(31 - i)
        self._set(o[0], found, active)

    def _do_clz(self, o, m, kind, active):
        self._set(o[0], np.array([32 - int(each).bit_length() for each in self._value(o[1], "u32")], np.uint32), active)

    def _do_bfind(self, o, m, kind, active):
        assert m[0] == "shiftamt" and kind == "u32"
        zeros = [32 - int(each).bit_length() if each else 0xFFFFFFFF for each in self._value(o[1], "u32")]
        self._set(o[0], np.array(zeros, np.uint32), active)

    def _do_selp(self, o, m, kind, active):
        chosen = np.where(self._registers[o[3]], self._value(o[1], kind), self._value(o[2], kind))
        self._set(o[0], chosen, active)

    def _do_setp(self, o, m, kind, active):
        assert len(m) == 2
        self._set(o[0], COMPARE[m[0]](self._value(o[1], kind), self._value(o[2], kind)), active)

    def _do_cvt(self, o, m, kind, active):
        assert len(m) == 2
        self._set(o[0], self._value(o[1], kind).astype(TYPES[m[0]]), active)

    def _do_ld(self, o, m, kind, active):
        if m[0] == "param":
            self._set(o[0], np.full(self.threads, self._parameters[o[1].strip("[]")], np.uint64), active)
            return
        space = m[0] if m[0] in ("shared", "global", "local") else ""
        names = [each.strip() for each in o[0].strip("{}").split(",")]
        for name, value in zip(names, self._load(o[1], space, TYPES[kind], active, len(names)), strict=True):
            self._set(name, value, active)

    def _do_st(self, o, m, kind, active):
        space = m[0] if m[0] in ("shared", "global", "local") else ""
        names = [each.strip() for each in o[1].strip("{}").split(",")]
        self._store(o[0], space, [self._value(name, kind) for name in names], active)

    def _do_atom(self, o, m, kind, active):
        assert m[-3] == "shared" and m[-2] in ("add", "max")
        dtype, lanes = TYPES[kind], np.flatnonzero(active)
        size = np.dtype(dtype).itemsize
        data, offsets, _ = self._access(o[1], "shared", size, active)
        self._watch(offsets, size, lanes, False, atomic=True)
        whole, more = data[: len(data) // size * size].view(dtype), self._value(o[2], kind)
        old = np.zeros(self.threads, dtype)
        for lane, at in zip(lanes, offsets // size, strict=True):
            old[lane] = whole[at]
            whole[at] = whole[at] + more[lane] if m[-2] == "add" else max(whole[at], more[lane])
        self._set(o[0], old, active)
