"""Compares the gzip length with known answers, with this machine's zlib if it is madler's, and between both parsers."""

import importlib.util
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncagen.deflate import lengths

pytest.importorskip("numba")

from ncagen.deflate import huffman, lz77

# ----------------------------------------------------------------------------------------------------- inputs


def lcg_bytes(seed, n):
    """n bytes of Knuth's MMIX generator, so that known answers need no library's random numbers."""
    x, data = seed, bytearray()
    for _ in range(n):
        x = (6364136223846793005 * x + 1442695040888963407) % 2**64
        data.append(x >> 56)
    return np.frombuffer(bytes(data), np.uint8)


def grid_tokens(seed, states, change=8, noise=0):
    """uint16[360]: 2x2-patch tokens of ten 12x12 grids of an automaton on a torus, whose rule follows from the seed.

    change: of 8 patterns, how many give the cell a new state; noise: of 256 cells, how many are drawn anew.
    """
    random = lcg_bytes(seed, 4096 + 144 * 11).astype(np.int64)
    rule, cells = random[:4096], random[4096:].reshape(11, 12, 12)
    grid, rows = cells[0] % states, []
    for drawn in cells[1:]:
        up, left = np.roll(grid, 1, 0), np.roll(grid, 1, 1)
        new = rule[(grid * states + up) * states + left]
        grid = np.where(drawn < noise, drawn % states, np.where(new % 8 < change, new // 8 % states, grid))
        patches = grid.reshape(6, 2, 6, 2)
        a, b, c, d = patches[:, 0, :, 0], patches[:, 0, :, 1], patches[:, 1, :, 0], patches[:, 1, :, 1]
        rows.append((a + states * (b + states * (c + states * d))).ravel())
    return np.concatenate(rows).astype(np.uint16)


def little(tokens):
    """The bytes of tokens as little-endian 32-bit integers."""
    return tokens.astype("<u4").view(np.uint8)


def fibonacci(order):
    """Bytes in the given order; their counts grow like Fibonacci's, which makes the deepest Huffman trees."""
    counts = [1, 3]
    while sum(counts) < len(order):
        counts.append(counts[-1] + counts[-2])
    return 7 * np.repeat(np.arange(len(counts)), counts)[order]


def copies(rng, n, symbols, share):
    """n symbols, a share of them copied from earlier stretches."""
    out, i = np.empty(n, np.int64), 0
    while i < n:
        k = min(int(rng.geometric(0.1)), n - i)
        if i > 0 and rng.random() < share:
            out[i : i + k] = np.resize(out[i - int(rng.integers(1, i + 1)) : i], k)
        else:
            out[i : i + k] = rng.integers(0, symbols, k)
        i += k
    return out


def noisy_period(rng, n):
    data = np.resize(rng.integers(0, 256, int(rng.integers(1, 400))), n)
    hit = rng.random(n) < rng.choice([0, 0.002, 0.02, 0.2])
    return np.where(hit, rng.integers(0, 256, n), data)


KINDS = {
    "uniform": lambda rng, n: rng.integers(0, 256, n),
    "few": lambda rng, n: rng.integers(0, rng.integers(1, 6), n),
    "skewed": lambda rng, n: np.minimum(rng.geometric(rng.choice([0.5, 0.4, 0.1]), n) - 1, 255),
    "fibonacci": lambda rng, n: fibonacci(rng.permutation(n)),
    "copies": lambda rng, n: copies(rng, n, int(rng.integers(1, 257)), rng.random()),
    "runs": lambda rng, n: np.resize(np.repeat(rng.integers(0, 256, n + 1), rng.integers(1, 400, n + 1)), n),
    "period": noisy_period,
    "tokens": lambda rng, n: (
        copies(rng, n // 4 + 1, int(rng.choice([16, 625, 10000, 50625])), rng.random()).astype("<u4").view(np.uint8)[:n]
    ),
}


def sample(rng, n):
    kind = KINDS[str(rng.choice(list(KINDS)))]
    return kind(rng, n).astype(np.uint8)


def too_far(rng, distance):
    """Thirty matches of three bytes at one distance, and hardly any other."""
    triples = rng.permutation(np.arange(128, 218)).reshape(30, 3)
    first, second = (np.hstack([triples, np.full((30, 1), 220 + k)]).ravel() for k in range(2))
    return np.concatenate([[0], first, rng.integers(0, 128, distance - 120), second])


def crowd(rng, depth, good=0):
    """A long match behind `depth` of three bytes in its chain, searched while one of `good` bytes is pending."""
    decoys = np.resize([65, 66, 67], 3 * depth)
    tail = rng.integers(128, 256, 80)
    start = [9, 6, 65, 66, 67, *tail]
    if not good:
        return np.concatenate([start, decoys, [10, 65, 66, 67], tail, [8]])
    head = [7, 65, 66, 67, *tail[: good - 4], 100, 101]
    return np.concatenate([start, decoys, head, [7, 65, 66, 67], tail, [8]])


def far(rng, distance):
    """A long match at a given distance, in data that is not stored."""
    base = rng.integers(128, 256, 40)
    return np.concatenate([[1, 2], base, rng.integers(0, 90, distance - 40), base, [1]])


def constructed(rng):
    """Inputs for rules of zlib that random inputs seldom reach."""
    yield too_far(rng, 4096 + int(rng.integers(-2, 3)))
    yield far(rng, lz77.MAX_DISTANCE + int(rng.integers(-1, 2)))
    yield crowd(rng, 4096 + int(rng.integers(-3, 4)))
    yield crowd(rng, 1024 + int(rng.integers(-3, 4)), int(rng.integers(30, 36)))
    yield crowd(rng, int(rng.integers(300, 1000)), 40)
    block = rng.integers(0, 256, lz77.BLOCK + int(rng.integers(-2, 40)))
    block[9000:9009] = block[100:109]
    yield block
    q, k = rng.integers(0, 256, 320), int(rng.integers(254, 259))
    yield np.concatenate([[5], q, [1], [5], q[:k], [2, 5], q[: int(rng.integers(250, 320))], [3]])
    one = rng.permutation(256)[: int(rng.integers(5, 100))]
    yield np.concatenate([one, np.resize(one[-3:], int(rng.integers(3, 300)))])
    yield rng.integers(0, 256, 70000)


# ---------------------------------------------------------------------------------------------- known answers

KNOWN_INPUTS = {
    "noise": lcg_bytes,
    "few": lambda seed, n, symbols: lcg_bytes(seed, n) % symbols,
    "period": lambda seed, n, period: np.resize(lcg_bytes(seed, period), n),
    "fibonacci": lambda seed, n: fibonacci(np.argsort(lcg_bytes(seed, n), kind="stable")),
    "grid": lambda *arguments: little(grid_tokens(*arguments)),
}

KNOWN_ANSWERS = [
    (("noise", 1, 0), 20),
    (("noise", 1, 1), 21),
    (("noise", 1, 2), 22),
    (("noise", 1, 3), 23),
    (("noise", 1, 4), 24),
    (("noise", 1, 7), 27),
    (("noise", 1, 100), 123),
    (("noise", 1, 1440), 1463),
    (("noise", 1, 16382), 16405),
    (("noise", 1, 16383), 16406),
    (("noise", 1, 16384), 16407),
    (("noise", 1, 70000), 70043),
    (("few", 2, 300, 2), 98),
    (("few", 2, 1440, 3), 422),
    (("few", 2, 1440, 17), 828),
    (("few", 2, 5000, 5), 1892),
    (("few", 2, 40000, 4), 12323),
    (("few", 2, 150000, 9), 68877),
    (("period", 3, 1440, 1), 32),
    (("period", 3, 1440, 2), 33),
    (("period", 3, 1440, 144), 187),
    (("period", 3, 3000, 700), 784),
    (("period", 3, 66000, 32506), 33154),
    (("period", 3, 66000, 32507), 66043),
    (("fibonacci", 4, 600), 292),
    (("fibonacci", 4, 1440), 561),
    (("fibonacci", 4, 4000), 1031),
    (("fibonacci", 4, 10000), 1618),
    (("fibonacci", 4, 30000), 2363),
    (("grid", 0, 2, 1, 0), 87),
    (("grid", 1, 2, 2, 0), 79),
    (("grid", 2, 2, 3, 2), 333),
    (("grid", 3, 2, 8, 0), 338),
    (("grid", 4, 5, 1, 0), 150),
    (("grid", 5, 5, 2, 0), 279),
    (("grid", 6, 5, 3, 2), 433),
    (("grid", 7, 5, 8, 0), 755),
    (("grid", 8, 10, 1, 0), 191),
    (("grid", 9, 10, 2, 0), 250),
    (("grid", 10, 10, 3, 2), 517),
    (("grid", 11, 10, 8, 0), 967),
    (("grid", 12, 15, 1, 0), 196),
    (("grid", 13, 15, 2, 0), 322),
    (("grid", 14, 15, 3, 2), 618),
    (("grid", 15, 15, 8, 0), 1043),
    (("grid", 100, 10, 2), 274),
    (("grid", 100, 10, 4), 815),
    (("grid", 101, 10, 2), 264),
    (("grid", 101, 10, 4), 763),
    (("grid", 102, 10, 2), 188),
    (("grid", 102, 10, 4), 778),
    (("grid", 103, 10, 2), 296),
    (("grid", 103, 10, 4), 808),
    (("grid", 104, 10, 2), 336),
    (("grid", 104, 10, 4), 748),
    (("grid", 105, 10, 2), 274),
    (("grid", 105, 10, 4), 779),
    (("grid", 106, 10, 2), 284),
    (("grid", 106, 10, 4), 782),
    (("grid", 107, 10, 2), 341),
    (("grid", 107, 10, 4), 782),
    (("grid", 108, 10, 2), 255),
    (("grid", 108, 10, 4), 740),
    (("grid", 109, 10, 2), 269),
    (("grid", 109, 10, 4), 767),
    (("grid", 110, 10, 2), 304),
    (("grid", 110, 10, 4), 801),
    (("grid", 111, 10, 2), 335),
    (("grid", 111, 10, 4), 817),
    (("grid", 112, 10, 2), 271),
    (("grid", 112, 10, 4), 737),
    (("grid", 113, 10, 2), 255),
    (("grid", 113, 10, 4), 692),
    (("grid", 114, 10, 2), 262),
    (("grid", 114, 10, 4), 737),
    (("grid", 115, 10, 2), 223),
    (("grid", 115, 10, 4), 792),
]


def known_input(kind, *arguments):
    return KNOWN_INPUTS[kind](*arguments).astype(np.uint8).tobytes()


def reference(data):
    return len(zlib.compress(data, 9)) + 12


def zlib_is_madlers():
    return "ng" not in zlib.ZLIB_RUNTIME_VERSION and all(reference(known_input(*w)) == n for w, n in KNOWN_ANSWERS)


needs_madlers_zlib = pytest.mark.skipif(
    not zlib_is_madlers(),
    reason=f"zlib {zlib.ZLIB_RUNTIME_VERSION} of this machine is not madler's: known answers differ",
)


@pytest.mark.parametrize(("what", "length"), KNOWN_ANSWERS, ids=str)
def test_known_answers(what, length):
    assert lengths.gzip_length(known_input(*what)) == length


# ---------------------------------------------------------------------------------------- this machine's zlib


def check(data):
    data = np.asarray(data).astype(np.uint8).tobytes()
    assert lengths.gzip_length(data) == reference(data)


@needs_madlers_zlib
def test_every_short_length():
    rng = np.random.default_rng(1)
    for n in range(501):
        for _ in range(4):
            check(sample(rng, n))


@needs_madlers_zlib
@pytest.mark.parametrize("n", [1024, 1026, 1027, 1440, 4092, 4096, 4097, 4100, 5760, 16382, 16383, 16384, 16390])
def test_middle_lengths(n):
    rng = np.random.default_rng(n)
    for kind in KINDS.values():
        check(kind(rng, n))


@needs_madlers_zlib
@pytest.mark.parametrize(
    "n", [32506, 32507, 32768, 33030, 65274, 65275, 65280, 65535, 65536, 65537, 98304, 98310, 300_001]
)
def test_long_lengths(n):
    rng = np.random.default_rng(n)
    for kind in list(KINDS.values())[n % 2 :: 2] if n > 65536 else KINDS.values():
        check(kind(rng, n))


@needs_madlers_zlib
@pytest.mark.parametrize("seed", range(10))
def test_constructed_inputs(seed):
    for data in constructed(np.random.default_rng(seed)):
        check(data)


@needs_madlers_zlib
@pytest.mark.parametrize("states", [2, 3, 4, 5, 10, 15])
def test_grids(states):
    for seed in range(150):
        tokens = grid_tokens(seed, states, seed % 9, (0, 1, 10, 80)[seed % 4])
        check(little(tokens))


def literal_bits(data, huff=huffman):
    """Bits of a block that has the bytes of data as literals, and nothing else."""
    counts = np.bincount(data, minlength=huffman.SYMBOLS).astype(np.int32)
    counts[huffman.END_OF_BLOCK] = 1
    return int(huff.after_block(counts, len(data), 0, huffman.tree_scratch()))


def only_literals(data):
    """Bytes of the deflate stream of data by zlib without matches."""
    encoder = zlib.compressobj(9, zlib.DEFLATED, -15, 8, zlib.Z_HUFFMAN_ONLY)
    return len(encoder.compress(data.astype(np.uint8).tobytes()) + encoder.flush())


def test_deepest_trees():
    """Codes of 16 bits and more are cut to 15."""
    assert [literal_bits(fibonacci(np.arange(n))) for n in (1000, 2000, 4000, 9000, 16382)] == [
        2995,
        5564,
        11378,
        23996,
        45704,
    ]


@needs_madlers_zlib
def test_trees_alone():
    rng = np.random.default_rng(4)
    for _ in range(400):
        n = int(rng.integers(0, 16383))
        weights = rng.random(int(rng.integers(1, 257))) ** float(rng.choice([0, 1, 5, 20, 60]))
        data = rng.choice(len(weights), n, p=weights / weights.sum())
        assert (literal_bits(data) + 7) // 8 == only_literals(data)
    for n in range(2000, 16383, 200):
        data = fibonacci(np.arange(n)) * 5 % 256
        assert (literal_bits(data) + 7) // 8 == only_literals(data)


pieces = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.tuples(st.integers(1, 3000), st.integers(3, 300)),  # distance, length
)


def assemble(parts):
    data = bytearray()
    for part in parts:
        if isinstance(part, bytes):
            data += part
        elif data:
            distance, length = part
            source = bytes(data[-distance:])
            data += (source * (length // len(source) + 1))[:length]
    return bytes(data)


@needs_madlers_zlib
@settings(max_examples=400, deadline=None)
@given(st.lists(pieces, max_size=60))
def test_anything(parts):
    check(np.frombuffer(assemble(parts), np.uint8))


@needs_madlers_zlib
@pytest.mark.slow
@pytest.mark.parametrize("count", [3_000, pytest.param(12_000, marks=pytest.mark.nightly)])
def test_many(count):
    rng = np.random.default_rng(count)
    for _ in range(count):
        check(
            sample(
                rng,
                int(rng.choice([rng.integers(0, 600), rng.integers(600, 4200), rng.integers(4200, 20_000)])),
            )
        )
    for _ in range(count // 100):
        check(sample(rng, int(rng.integers(20_000, 400_000))))


# ------------------------------------------------------------------------------------ one parse and the other


def parse_both(data):
    """int32[SYMBOLS], twice: by parse_faithful, and by parse_short."""
    data = np.asarray(data).astype(np.uint8)
    counts, ends = np.zeros((len(data) // lz77.BLOCK + 1, huffman.SYMBOLS), np.int32), np.zeros(9, np.int64)
    chains = np.zeros((2, lz77.WINDOW), np.int32)
    assert lz77.parse_faithful(data, chains[0], chains[1], counts, ends) == 1
    words, *scratch = lz77.short_scratch()
    words[:] = 2**64 - 1  # values that an earlier, longer row may have left
    for links in scratch[0]:
        links[1:] = len(links) - 1
    lz77.words_of_bytes(data, words)
    lz77.parse_short(words, len(data), *scratch)
    return counts[0], scratch[-1]


def compare(data):
    faithful, short = parse_both(data)
    np.testing.assert_array_equal(short, faithful)


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=14).map(assemble).filter(lambda data: len(data) <= lz77.SHORT))
def test_both_parsers_count_the_same(data):
    compare(np.frombuffer(data, np.uint8))


def test_both_parsers_count_the_same_on_samples():
    rng = np.random.default_rng(3)
    for k in range(1500):
        n = int(rng.choice([rng.integers(0, 600), 1440, rng.integers(600, lz77.SHORT + 1), lz77.SHORT]))
        compare(grid_tokens(k, 5, k % 8, k % 7).view(np.uint8) if k % 5 == 0 else sample(rng, n))


def test_both_parsers_count_the_same_where_one_byte_prevails():
    """Chains are long then, and zlib stops after 1024 candidates."""
    rng = np.random.default_rng(7)
    for _ in range(300):
        data = np.zeros(int(rng.integers(1000, lz77.SHORT + 1)), np.uint8)
        stretch = rng.integers(0, 3, int(rng.integers(33, 300)))
        for at in rng.integers(0, len(data), int(rng.integers(1, 40))):
            data[at : at + len(stretch)] = stretch[: len(data) - at]
        compare(data)


def test_the_short_parser_tries_as_many_candidates_as_zlib():
    rng = np.random.default_rng(0)
    found = [[parse_both(crowd(rng, depth, good))[1] for depth in range(1021, 1027)] for good in (31, 32, 33)]
    for counts, good in zip(found, (31, 32, 33), strict=True):
        longest = [int(c[lz77.LENGTH_SYMBOL[83]]) for c in counts]  # of the bytes 65, 66, 67 and the tail
        assert (longest[0], longest[-1]) == ((1, 1) if good < 32 else (1, 0))
    for depth in range(1021, 1027):
        for good in range(30, 36):
            compare(crowd(rng, depth, good))


# ------------------------------------------------------------------------------------------ injected faults


def equal_to_next(array, at):
    """`masks.equal_to_next` in plain Python."""
    equal = array[int(at) : int(at) + 64] == array[int(at) + 1 : int(at) + 65]
    return np.uint64(sum(1 << i for i in np.flatnonzero(equal).tolist()))


def plain(module, *changes):
    """A copy of a module whose kernels are plain Python, with some of its text replaced: (old, new), ..."""
    source = importlib.util.find_spec(module.__name__).loader.get_source(module.__name__)
    for old, new in changes:
        assert source.count(old) == 1, f"{old!r} is no longer the text of one rule"
        source = source.replace(old, new)
    copy = type(module)(module.__name__)
    copy.__file__, copy.__package__ = module.__file__, module.__package__
    exec(compile(source, module.__file__, "exec"), vars(copy))
    for name, value in list(vars(copy).items()):
        if hasattr(value, "py_func"):
            setattr(copy, name, value.py_func)
    copy.trailing_zeros = lambda x: (int(x) & -int(x)).bit_length() - 1 if x else 64
    copy.equal_to_next = equal_to_next
    return copy


def plain_length(data, lz=lz77, huff=huffman):
    data = np.asarray(data).astype(np.uint8)
    counts, ends = np.zeros((len(data) // lz77.BLOCK + 2, huffman.SYMBOLS), np.int32), np.zeros(9, np.int64)
    chains = np.zeros((2, lz77.WINDOW), np.int32)
    blocks = lz.parse_faithful(data, chains[0], chains[1], counts, ends)
    return 18 + (int(huff.stream_bits(counts, ends, blocks, huffman.tree_scratch())) + 7) // 8


def test_compilation_changes_nothing():
    """Numba, with `_nrt=False`, forced inlining and the intrinsic, gives the results of plain Python."""
    lz, huff = plain(lz77), plain(huffman)
    rng = np.random.default_rng(5)
    for kind in KINDS.values():
        data = kind(rng, 700).astype(np.uint8)
        assert plain_length(data, lz, huff) == lengths.gzip_length(data.tobytes())
        words, *scratch = lz77.short_scratch()
        lz77.words_of_bytes(data, words)
        with np.errstate(over="ignore"):
            lz.parse_short(words, len(data), *scratch)
        np.testing.assert_array_equal(scratch[-1], parse_both(data)[0])


def barely_stored(rng):
    """As many bytes, all different, under the fixed code as stored, or a few more or less."""
    return [rng.permutation(np.r_[20:120, 150 : 150 + n]) for n in range(32)]


INPUTS = {
    "too far": lambda rng: [too_far(rng, d) for d in (4096, 4097)],
    "far": lambda rng: [far(rng, lz77.MAX_DISTANCE + d) for d in range(2)],
    "crowds": lambda rng: [crowd(rng, d) for d in (4094, 4095, 4096, 4097)],
    "good crowds": lambda rng: [crowd(rng, d, g) for d in range(1021, 1027) for g in (31, 32, 33)],
    "blocks": lambda rng: [rng.integers(0, 256, n) // 3 for n in (16383, 16384, 17000)],
    "stored": barely_stored,
    "grids": lambda rng: [little(grid_tokens(s, 10, s % 8 + 1)) for s in range(60)],
}
CHANGES = [
    ("too far", lz77, "TOO_FAR = 4096", "TOO_FAR = 4097"),
    ("too far", lz77, "TOO_FAR = 4096", "TOO_FAR = 4095"),
    ("far", lz77, "MIN_MATCH + 1)\n", "MIN_MATCH + 0)\n"),
    ("far", lz77, "MIN_MATCH + 1)\n", "MIN_MATCH + 2)\n"),
    ("crowds", lz77, "\nCHAIN = 4096", "\nCHAIN = 4095"),
    ("crowds", lz77, "\nCHAIN = 4096", "\nCHAIN = 4097"),
    ("good crowds", lz77, "= 32, 1024", "= 31, 1024"),
    ("good crowds", lz77, "= 32, 1024", "= 33, 1024"),
    ("good crowds", lz77, "= 32, 1024", "= 32, 1023"),
    ("good crowds", lz77, "= 32, 1024", "= 32, 1025"),
    ("blocks", lz77, "BLOCK = 16383", "BLOCK = 16384"),
    ("blocks", lz77, "BLOCK = 16383", "BLOCK = 16382"),
    ("grids", lz77, "length <= previous_length:", "length < previous_length:"),
    ("grids", huffman, "right = b <= (a | _NODE)", "right = (b | _NODE) < a"),
    ("grids", huffman, "stop = entry <= (child | _NODE)", "stop = (entry | _NODE) < child"),
    ("grids", huffman, "+ np.uint32(1024)", "+ np.uint32(0)"),
    ("grids", huffman, "if left > 10:", "if left > 11:"),
    ("stored", huffman, "stored + 4 <=", "stored + 3 <="),
    ("stored", huffman, "stored + 4 <=", "stored + 5 <="),
    ("grids", huffman, "runs, 0, 19, 7, scratch", "runs, 0, 19, 6, scratch"),
]


@pytest.mark.parametrize(("inputs", "module", "old", "new"), CHANGES, ids=[f"{c[0]}: {c[3].strip()}" for c in CHANGES])
def test_an_injected_fault_is_detected(inputs, module, old, new):
    changed = plain(module, (old, new))
    lz, huff = (changed, huffman) if module is lz77 else (lz77, changed)
    for data in INPUTS[inputs](np.random.default_rng(11)):
        data = data.astype(np.uint8)
        if plain_length(data, lz, huff) != lengths.gzip_length(data.tobytes()):
            return
    pytest.fail("no input tells the changed rule from the true one")


# ---------------------------------------------------------------------------------------------- the interface


@pytest.fixture(scope="module")
def tokens():
    return np.stack([grid_tokens(s, 10 if s % 2 else 4, s % 9, (0, 3, 40)[s % 3]) for s in range(200)])


def test_rows_of_any_integers(tokens):
    for dtype in ("u1", "<i2", ">i2", "<u4", ">i4", "<i8", ">u8"):
        rows = (tokens % 100).astype(dtype)
        want = [lengths.gzip_length(row.astype(row.dtype.newbyteorder("<")).tobytes()) for row in rows[:20]]
        got = lengths.gzip_lengths(rows[:20])
        assert got.dtype == np.int32
        assert got.tolist() == want
    assert lengths.gzip_lengths(np.zeros((3, 0), np.int32)).tolist() == [20, 20, 20]
    assert lengths.gzip_lengths(np.zeros((0, 5), np.int32)).tolist() == []
    assert lengths.gzip_lengths(np.zeros((2, 9000), np.int32)).tolist() == [lengths.gzip_length(bytes(36000))] * 2


def test_tokens_are_scored_as_int32(tokens):
    want = lengths.gzip_lengths(tokens.astype(np.int32))
    for dtype in (np.uint16, np.uint32):
        assert lengths.token_gzip_lengths(tokens.astype(dtype)).tolist() == want.tolist()
    big = tokens.astype(np.uint32) * 70001
    assert lengths.token_gzip_lengths(big).tolist() == lengths.gzip_lengths(big).tolist()
    long = tokens[:60].reshape(3, -1)
    assert lengths.token_gzip_lengths(long).tolist() == lengths.gzip_lengths(long.astype(np.int32)).tolist()
    out = np.zeros(len(tokens), np.int32)
    assert lengths.token_gzip_lengths(tokens, out=out) is out
    assert out.tolist() == want.tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([2, 5, 10]),
    st.integers(0, 8),
    st.integers(0, 255),
    st.integers(0, 1500),
)
def test_only_lengths_below_at_least_become_0(seed, states, change, noise, at_least):
    row = grid_tokens(seed, states, change, noise)[np.newaxis]
    length = lengths.token_gzip_lengths(row)[0]
    bounded = lengths.token_gzip_lengths(row, at_least)[0]
    assert bounded == length or (bounded == 0 and length < at_least)


def test_at_least_stays_exact_at_the_stored_length():
    rng = np.random.default_rng(2)
    for n in range(1, 120):
        row = rng.integers(0, 2**32, (1, n), dtype=np.uint32)
        length = int(lengths.token_gzip_lengths(row)[0])
        assert lengths.token_gzip_lengths(row, length)[0] == length


def test_bytes_like():
    assert lengths.gzip_length(b"") == 20
    assert lengths.gzip_length(bytearray(b"abcdef")) == lengths.gzip_length(memoryview(b"abcdef")) == 26


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((2, 3)), "rows must be integers, not float64"),
        (np.zeros(3, int), "rows must have two axes"),
        (np.zeros((4, 6), int)[:, ::2], "rows must be C-contiguous"),
    ],
)
def test_rows_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        lengths.gzip_lengths(rows)


def test_tokens_refused():
    with pytest.raises(ValueError, match="tokens must be a C-contiguous uint16 or uint32"):
        lengths.token_gzip_lengths(np.zeros((2, 3), np.int32))
    with pytest.raises(ValueError, match="out must be a C-contiguous int32 of shape"):
        lengths.token_gzip_lengths(np.zeros((2, 3), np.uint16), out=np.zeros(3, np.int32))


def test_threads_do_not_share_scratch_space(tokens):
    want = lengths.token_gzip_lengths(tokens).tolist()
    results = [None] * 4

    def work(k):
        results[k] = [lengths.token_gzip_lengths(tokens).tolist() for _ in range(10)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(result == [want] * 10 for result in results)


def test_the_package_does_not_import_numba():
    code = "import sys, ncagen, ncagen.deflate; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
