"""Compares the CUDA kernels with the definition, bit for bit: compiled for the host, and on CUDA if torch finds it."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT, without
from hypothesis import given, settings
from hypothesis import strategies as st
from test_golden import make as golden
from test_identity import CASES, LAST_SEED, TRAIN, VALIDATION, case

from ncagen.cuda import host
from ncagen.cuda.program import WORK, Program
from ncagen.deflate.lengths import defined_length, token_gzip_lengths
from ncagen.deflate.selfcheck import KNOWN_LENGTHS, known_tokens
from ncagen.errors import NcagenError
from ncagen.factory.search import repeat, search
from ncagen.factory.settings import from_settings
from ncagen.hints import install
from ncagen.selection import Tally
from ncagen.sources import grid_tokens
from ncagen.sources.nca import batch, cpu, definition, gpu
from ncagen.sources.nca.backends import CPU, Backend
from ncagen.sources.nca.devices import backend, devices
from ncagen.sources.nca.gpu import UNKNOWN, Gpu, program_of
from ncagen.sources.nca.settings import STARTS, Settings
from ncagen.sources.source import OutOfDeviceMemory, no_stage

CUDA = torch.cuda.is_available()
HIDDEN = 1135  # a candidate whose length the kernels leave to the host
FEW = 20  # candidates of each case; the slow test takes all


@pytest.fixture(scope="module", params=["host", "cuda"] if CUDA else ["host"])
def device(request) -> Gpu:
    return Gpu(request.param)


def numbered(count: int) -> np.ndarray:
    """Candidates of which half need the counter's high word."""
    return np.arange(count, dtype=np.uint64) + np.arange(count, dtype=np.uint64) % 2 * np.uint64(2**40)


def assert_identical(device: Gpu, chosen: Settings, count: int, key: tuple[int, int]) -> None:
    """Compares whole rows with those of the definition, and scores with those of `lz77`'s definition."""
    candidates = numbered(count)
    made = batch.run(chosen, key, candidates, backend=device)
    wanted = grid_tokens.patch_tokens(chosen, definition.trajectories(chosen, key, candidates, chosen.frames))
    scored = wanted[:, : chosen.scored_frames]
    assert made.patches.dtype == chosen.token_dtype
    assert np.array_equal(made.patches, scored)
    assert np.array_equal(made.token_rows(np.arange(count)), grid_tokens.rows(chosen, wanted))
    lengths = [defined_length(row.astype("<u4").reshape(-1).view(np.uint8)) for row in scored]
    assert made.score.dtype == np.int32 and made.score.tolist() == lengths


def assert_same(device: Gpu, chosen: Settings, candidates: np.ndarray, key: tuple[int, int]) -> None:
    """Compares patches, scores and rows with those of the processor's kernels."""
    made, wanted = (batch.run(chosen, key, candidates, backend=each) for each in (device, CPU))
    everyone = np.arange(len(candidates))
    assert np.array_equal(made.patches, wanted.patches)
    assert np.array_equal(made.score, wanted.score)
    assert np.array_equal(made.token_rows(everyone), wanted.token_rows(everyone))


@pytest.mark.parametrize("name", CASES)
def test_kernels_equal_the_definition(device, name):
    chosen, count = case(name)
    few = min(count, FEW, max(2, 2**22 // (chosen.cells * chosen.states * chosen.frames)))
    assert_identical(device, chosen, few, TRAIN)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_kernels_equal_those_of_the_processor_for_many(device, name):
    chosen, count = case(name)
    assert_same(device, chosen, numbered(count), VALIDATION)


@pytest.mark.slow
@given(
    states=st.integers(2, 256),
    patch=st.sampled_from([1, 1, 2, 3]),
    high=st.integers(1, 8),
    wide=st.integers(1, 8),
    warmup=st.integers(0, 3),
    stride=st.integers(1, 2),
    temperature=st.sampled_from([0.0, 1e-7, 1e-4, 1e-2, 1.0]),
    identity_bias=st.sampled_from([0.0, -10.0, 0.3, 10.0]),
    start=st.sampled_from(STARTS),
    channel_wrap=st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_kernels_equal_those_of_the_processor_for_any_settings(high, wide, patch, states, **values):
    if states**patch**2 > 2**30:
        states = 4
    height, width = (-(-max(3, side * patch) // patch) * patch for side in (high, wide))
    chosen = Settings(states=states, patch=patch, height=height, width=width, seq_len=height * width * 12, **values)
    assert_same(Gpu("host"), chosen, numbered(3), TRAIN)


@pytest.mark.parametrize(
    "options",
    [
        {"control": "new-rule", "change_at": 2},
        {"control": "new-rule", "change_at": 12, "seq_len": 600},
        {"control": "new-rule", "change_at": 10, "seq_len": 600, "trajectories_per_rule": 3},
        {"control": "frozen-rule", "rule_candidate": 3},
        {"control": "shuffle-row"},
    ],
)
def test_controls_have_the_same_rows(device, options):
    assert_same(device, Settings(**{"seq_len": 150} | options), np.arange(3, dtype=np.uint64), TRAIN)


def test_a_grid_of_several_warps(device):
    chosen = Settings(height=64, width=40, seq_len=6000, warmup=2, temperature=0.01)
    assert program_of(chosen).lanes == 128
    assert_same(device, chosen, np.arange(3, dtype=np.uint64), TRAIN)


def test_a_row_that_is_too_long_to_score_on_the_device(device):
    chosen = Settings(height=24, width=24, seq_len=4000, warmup=1)
    assert not program_of(chosen).scores
    assert_same(device, chosen, np.arange(4, dtype=np.uint64), TRAIN)


def test_seeds_and_streams_are_part_of_the_key(device):
    assert_identical(device, Settings(), FEW, LAST_SEED)


@pytest.mark.parametrize("name", golden.SETTINGS)
def test_kernels_give_the_pinned_rows(device, name):
    pinned, chosen = np.load(golden.path()), golden.settings_named(name)
    for split in ("train", "validation"):
        scored = batch.run(chosen, golden.key_of(name, split), golden.CANDIDATES, backend=device)
        assert np.array_equal(scored.patches, pinned[f"{name} {split} patches"])
        assert np.array_equal(scored.score, pinned[f"{name} {split} lengths"])


def test_the_tables_on_the_device_are_those_of_the_processor(device):
    tables = device.tables()
    for name, table in cpu.tables().items():
        assert tables[name].dtype == table.dtype and np.array_equal(tables[name], table)


# --- the gzip length ---


def program_of_tokens(tokens: int) -> Program:
    """Kernels that score so many tokens."""
    return replace(program_of(Settings()), height=tokens, width=1, patch=1, scored_frames=1)


def device_lengths(tokens: np.ndarray, at_least: int = 0, order: int = 1) -> np.ndarray:
    """The lengths that the kernel computes on the host, or UNKNOWN. tokens: uint16 or uint32 [row, token]."""
    program = replace(program_of_tokens(tokens.shape[1]), token_bytes=tokens.itemsize)
    assert program.scored == tokens.shape[1]
    scores, work = np.zeros(len(tokens), np.int32), np.zeros((), WORK)
    work["patches"], work["scores"], work["at_least"] = tokens.ctypes.data, scores.ctypes.data, at_least
    host.Kernels(program, order).launch("score", len(tokens), work.ctypes.data)
    return scores


def test_known_tokens_have_their_lengths():
    assert device_lengths(known_tokens()).tolist() == list(KNOWN_LENGTHS)


@pytest.mark.parametrize("tokens", [3, 4, 16, 100, 360, 640, 1024])
@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_lengths_of_random_tokens(tokens, dtype):
    random = np.random.default_rng(tokens)
    rows = np.empty((120, tokens), dtype)
    for i, row in enumerate(rows):
        ids = random.integers(1, 2 ** random.integers(1, 8 * rows.itemsize + 1))
        row[:] = random.integers(0, ids, tokens)
        for _ in range(i % 7):  # repeats at any distance
            length = int(random.integers(1, tokens // 2 + 1))
            at, source = random.integers(0, tokens - length + 1, 2)
            row[at : at + length] = row[source : source + length].copy()
    rows &= np.array(2**31 - 1).astype(dtype)
    wanted, found = token_gzip_lengths(rows), device_lengths(rows)
    assert ((found == wanted) | (found == UNKNOWN)).all()
    assert (found == UNKNOWN).mean() < 0.1
    least = int(np.median(wanted))
    bounded = device_lengths(rows, least)
    assert ((bounded == wanted) | (bounded == UNKNOWN) | ((bounded == 0) & (wanted < least))).all()


@given(
    st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=12),
    st.integers(0, 2**32 - 1),
    st.sampled_from([12, 100, 400]),
)
@settings(max_examples=60, deadline=None)
def test_lengths_of_any_tokens(alphabet, seed, tokens):
    """Few ids, so that bytes of different tokens match at every distance."""
    row = np.random.default_rng(seed).choice(np.array(alphabet, np.uint32), tokens)[None]
    found = device_lengths(np.ascontiguousarray(row))
    assert found[0] in (token_gzip_lengths(row)[0], UNKNOWN)


def test_codes_that_are_limited():
    """Fibonacci counts give the deepest trees: codes of more than 15 bits."""
    counts = [1, 1]
    while len(counts) < 13:
        counts.append(counts[-1] + counts[-2])
    ids = np.repeat(np.arange(len(counts), dtype=np.uint32) * 0x01010101, counts)
    rows = np.stack([np.random.default_rng(i).permutation(ids) for i in range(20)])
    wanted, found = token_gzip_lengths(rows), device_lengths(rows)
    assert ((found == wanted) | (found == UNKNOWN)).all() and (found != UNKNOWN).any()


def test_a_match_that_zlib_may_not_try_is_left_to_the_host(device):
    """HIDDEN is one of few whose longer match is over GOOD_CHAIN bytes away while one of GOOD_MATCH bytes waits."""
    candidates = np.array([HIDDEN], np.uint64)
    tokens = batch.run(Settings(), TRAIN, candidates).patches.reshape(1, -1)
    assert device_lengths(tokens)[0] == UNKNOWN
    assert_same(device, Settings(), candidates, TRAIN)


@pytest.mark.parametrize("order", [2, 12345, 2**31 + 7, 2**32 - 1])
def test_the_order_of_the_lanes_changes_nothing(order):
    rows = known_tokens()
    assert np.array_equal(device_lengths(rows, order=order), device_lengths(rows))
    chosen, candidates = Settings(temperature=0.01), np.arange(6, dtype=np.uint64)
    shuffled = Gpu("host")
    shuffled._kernels = lambda program: host.Kernels(program, order)
    assert_same(shuffled, chosen, candidates, TRAIN)


# --- batches and memory ---


def test_batch_size_changes_nothing(device):
    chosen, candidates = Settings(temperature=1e-2), np.arange(30, dtype=np.uint64)
    some = np.array([3, 17, 29])
    whole = batch.run(chosen, TRAIN, candidates, backend=device)
    for i in some:
        alone = batch.run(chosen, TRAIN, candidates[i : i + 1], backend=device)
        assert np.array_equal(alone.patches[0], whole.patches[i])
    wanted = batch.run(chosen, TRAIN, candidates[some]).token_rows(np.arange(len(some)))
    assert np.array_equal(whole.token_rows(some), wanted)
    assert whole.token_rows(some[:0]).shape == (0, chosen.row_tokens)


def test_threads_share_a_device(device):
    """Threads have different candidates, sizes and temperatures, so a mixed-up array would be detected."""
    noises = [Settings(temperature=t) for t in (0.0, 1e-4, 1e-2, 1.0)]

    def rows(i: int, runner: Backend) -> np.ndarray:
        candidates = np.arange(i * 100, i * 100 + 5 + i, dtype=np.uint64)
        scored = batch.run(noises[i % 4], (0, i % 2), candidates, backend=runner)
        return scored.token_rows(np.arange(0, 5, 2))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: rows(i, device), range(32)))
    assert all(np.array_equal(ours, rows(i, CPU)) for i, ours in enumerate(found))


def test_a_batch_fits_the_memory_limit(device):
    for chosen, _ in map(case, CASES):
        assert device.batch_candidates(chosen) >= gpu.FEWEST_CANDIDATES
    assert device.batch_candidates(Settings()) == gpu.MOST_CANDIDATES
    big = Settings(states=256, height=128, width=128, patch=1, seq_len=2**17)
    assert device.batch_candidates(big) * gpu._candidate_bytes(big) <= gpu.MOST_BYTES


class Small(Gpu):
    """A device with memory for so many candidates or rows at a time."""

    def __init__(self, room: int):
        super().__init__("host")
        self.room = room

    def kernels(self, chosen):
        found, room = super().kernels(chosen), self.room

        class Limited:
            def launch(self, kernel, blocks, work, stream):
                if blocks > room:
                    raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
                found.launch(kernel, blocks, work, stream)

        return Limited()


def test_a_batch_that_does_not_fit_is_halved(monkeypatch):
    """Shards that a full device makes, by searching and by repeating, are the same."""
    spec = from_settings({"tokens": "60K", "band": "high", "rows_per_shard": 40})
    (band,) = spec.bands

    def shard() -> tuple[np.ndarray, Tally]:
        tally = Tally()
        steps = list(search(spec, "train", 1, 40, {band: tally}, "host"))
        return np.concatenate([step.kept[band].input_ids for step in steps if band in step.kept]), tally

    wanted, counted = shard()
    small = Small(33)
    monkeypatch.setattr("ncagen.sources.nca.devices.backend", lambda name: small)
    found, again = shard()
    assert np.array_equal(found, wanted) and again == counted
    assert small.batch_candidates(Settings()) in (20, 32, 33, 16)
    candidates = np.concatenate(
        [step.kept[band]["candidate"] for step in search(spec, "train", 1, 40, {band: Tally()})]
    )
    small = Small(30)
    repeated = [step.kept[band].input_ids for step in repeat(spec, "train", {band: candidates}, "host")]
    assert np.array_equal(np.concatenate(repeated), wanted)


def test_rows_that_do_not_fit_are_made_in_halves():
    small = Small(64)
    made = small.start(Settings(), TRAIN, np.arange(40, dtype=np.uint64), 0, no_stage)
    wanted = made.rows(np.arange(40))
    small.room = 7
    made = small.start(Settings(), TRAIN, np.arange(7, dtype=np.uint64), 0, no_stage)
    assert np.array_equal(made.rows(np.array([6, 0, 3, 6, 2, 1, 4, 5, 6, 6])), wanted[[6, 0, 3, 6, 2, 1, 4, 5, 6, 6]])


def test_too_little_memory_is_one_line():
    small = Small(8)
    with pytest.raises(OutOfDeviceMemory) as full:
        small.start(Settings(), TRAIN, np.arange(100, dtype=np.uint64), 0, no_stage)
    assert str(full.value) == "--device host has no memory for 100 candidates"
    assert small.batch_candidates(Settings()) == 50
    with pytest.raises(NcagenError) as error:
        small.start(Settings(), TRAIN, np.arange(16, dtype=np.uint64), 0, no_stage)
    assert not isinstance(error.value, OutOfDeviceMemory)
    assert str(error.value) == (
        "--device host has no memory for 16 candidates: stop what else uses the device, use fewer --workers, or"
        " --device cpu"
    )
    made = Small(8).start(Settings(), TRAIN, np.arange(8, dtype=np.uint64), 0, no_stage)
    made._gpu.room, made._kernels = 0, Small(0).kernels(Settings())
    with pytest.raises(NcagenError) as error:
        made.rows(np.arange(3))
    assert str(error.value) == (
        "--device host has no memory for a row: stop what else uses the device, use fewer --workers, or --device cpu"
    )


# --- devices ---


def test_devices():
    assert backend("cpu") is CPU
    assert backend("host").device.type == "cpu"
    assert backend("host") is backend("host")
    assert backend("auto") is CPU if not CUDA else backend("auto").device.type == "cuda"
    assert devices("cpu") == ["cpu"]
    assert devices("auto") == (["cpu"] if not CUDA else [f"cuda:{i}" for i in range(torch.cuda.device_count())])


def error_of(name: str) -> str:
    with pytest.raises(NcagenError) as error:
        backend(name)
    assert error.value.status == 2
    return str(error.value)


@pytest.mark.skipif(CUDA, reason="there is a CUDA device")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_missing_cuda_device_is_one_line(name, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.13.0+cpu")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert error_of(name) == (
        f"--device {name} needs a torch with CUDA, and torch 2.13.0+cpu has none: pip install --force-reinstall torch"
        " on a machine with an NVIDIA GPU, or use --device cpu"
    )
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert error_of(name) == (
        f"--device {name} needs an NVIDIA GPU and its driver, and torch finds none here: run nvidia-smi to see which"
        " is missing, or use --device cpu"
    )


@pytest.mark.skipif(not CUDA, reason="there is no CUDA device")
def test_a_cuda_device_number_out_of_range_is_one_line():
    count = torch.cuda.device_count()
    assert error_of(f"cuda:{count}") == f"--device cuda:{count} is not here: use cuda:0 to cuda:{count - 1}"


@pytest.mark.parametrize("name", ["", "gpu", "mps", "cuda:", "cuda:-1", "CUDA"])
def test_an_unknown_device_is_one_line(name):
    assert error_of(name) == f"--device {name} is not known: use auto, cpu, cuda, or one of several as cuda:1"


def test_an_old_card_is_one_line():
    class Card:
        name, major, minor = "Tesla V100-SXM2-16GB", 7, 0

    with pytest.raises(NcagenError) as error:
        gpu._refuse_old("cuda:0", Card())
    assert str(error.value) == (
        "--device cuda:0 is a Tesla V100-SXM2-16GB of compute capability 7.0, and the kernels need 7.5 or newer: use"
        " --device cpu"
    )


def test_the_shards_of_a_build_take_turns_on_several_devices(monkeypatch):
    monkeypatch.setattr("ncagen.sources.nca.devices._cuda_devices", lambda: 3)
    assert devices("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices("auto") == devices("cuda")
    assert devices("cuda:2") == ["cuda:2"]
    with pytest.raises(NcagenError, match=re.escape("--device cuda:3 is not here: use cuda:0 to cuda:2")):
        devices("cuda:3")


def printed(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_torch():
    program = f"""{without("torch")}
from ncagen.sources.nca.backends import CPU
from ncagen.sources.nca.devices import backend
print(backend("auto") is CPU)
try:
    backend("cuda")
except Exception as error:
    print(error)
"""
    assert printed(program) == f"True\n--device cuda needs torch: {install('torch')}\n"


def test_without_cuda_bindings():
    program = f"""{without("cuda")}
from ncagen.cuda import nvrtc
try:
    nvrtc._nvrtc()
except nvrtc.MissingPackage as error:
    print(error)
"""
    assert printed(program) == f"--device cuda needs cuda-bindings: {install('cuda')}\n"


def test_without_nvrtc(monkeypatch):
    bindings = pytest.importorskip("cuda.bindings")
    from cuda.bindings import nvrtc as theirs

    from ncagen.cuda import nvrtc

    def version():
        raise RuntimeError("Failure finding libnvrtc")  # the base of pathfinder's error

    monkeypatch.setattr(theirs, "nvrtcVersion", version)
    with pytest.raises(NcagenError) as error:
        nvrtc._nvrtc.__wrapped__()
    assert str(error.value) == (
        f"--device cuda needs NVRTC of CUDA 13, that of cuda-bindings {bindings.__version__}, and it is not here:"
        " pip install 'nvidia-cuda-nvrtc==13.*'"
    )
