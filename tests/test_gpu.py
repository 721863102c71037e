"""Compares the automaton on torch with the definition, bit for bit: on the host, and on CUDA if torch finds it."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import ROOT, without
from test_golden import make as golden
from test_identity import CASES, LAST_SEED, TRAIN, VALIDATION, case

from ncagen import philox
from ncagen.errors import NcagenError
from ncagen.hints import install
from ncagen.sources import grid_tokens
from ncagen.sources.nca import batch, cpu, definition, gpu_kernels, rules
from ncagen.sources.nca.devices import backend
from ncagen.sources.nca.gpu import Torch
from ncagen.sources.nca.rules import Rules
from ncagen.sources.nca.settings import Settings

CUDA = torch.cuda.is_available()
FEW = 20  # candidates of each case; the slow test takes all


@pytest.fixture(scope="module", autouse=True)
def one_core():
    """Small arrays are slower on several cores, and much slower on cores that are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=["cpu", "cuda"] if CUDA else ["cpu"])
def automaton(request) -> Torch:
    return Torch(request.param)


def equal(ours: torch.Tensor, theirs: np.ndarray) -> bool:
    """Compares values and dtypes; the cells of a grid may be flattened."""
    ours = ours.cpu().numpy()
    return ours.dtype == theirs.dtype and np.array_equal(ours.reshape(theirs.shape), theirs)


def assert_identical(automaton: Torch, settings: Settings, count: int, key: tuple[int, int]) -> None:
    # Half of the candidates need the counter's high word.
    candidates = np.arange(count, dtype=np.uint64) + np.arange(count, dtype=np.uint64) % 2 * np.uint64(2**40)
    drawn, starts = automaton.sample(settings, key, candidates)
    for name, ours, theirs in zip(Rules._fields, drawn, rules.sample_rules(settings, key, candidates), strict=True):
        assert equal(ours, theirs), name
    assert equal(starts, rules.sample_starts(settings, key, candidates))
    frames = min(settings.frames, 12)
    wanted = definition.trajectories(settings, key, candidates, frames)
    whole = automaton.rollout(settings, key, candidates, drawn, starts, 0, frames)
    assert equal(whole, wanted)
    patches = automaton.patch_tokens(settings, whole)
    assert patches.dtype == settings.token_dtype
    assert np.array_equal(patches, grid_tokens.patch_tokens(settings, wanted))
    if frames > 1:
        begun = automaton.rollout(settings, key, candidates, drawn, starts, 0, 1)
        rest = automaton.rollout(settings, key, candidates, drawn, begun[:, 0], 1, frames - 1)
        assert torch.equal(rest, whole[:, 1:])


@pytest.mark.parametrize("name", CASES)
def test_torch_equals_the_definition(automaton, name):
    settings, count = case(name)
    assert_identical(automaton, settings, min(count, FEW), TRAIN)


@pytest.mark.parametrize(
    "options",
    [
        {"control": "new-rule", "change_at": 2},
        {"control": "new-rule", "change_at": 12, "seq_len": 600},
        {"control": "frozen-rule", "rule_candidate": 3},
        {"control": "shuffle-row"},
    ],
)
def test_controls_have_the_same_rows(automaton, options):
    settings, candidates = Settings(**{"seq_len": 150} | options), np.arange(3, dtype=np.uint64)
    found, wanted = (
        batch.run(settings, TRAIN, candidates, backend=b).token_rows(np.arange(3)) for b in (automaton, cpu)
    )
    assert np.array_equal(found, wanted)


def test_seeds_and_streams_are_part_of_the_key(automaton):
    assert_identical(automaton, Settings(), FEW, LAST_SEED)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_torch_equals_the_definition_for_many(automaton, name):
    assert_identical(automaton, *case(name), VALIDATION)


@pytest.mark.parametrize("name", golden.SETTINGS)
def test_torch_gives_the_pinned_rows(automaton, name):
    pinned, settings = np.load(golden.path()), golden.settings_named(name)
    for split in ("train", "validation"):
        key = golden.key_of(name, split)
        drawn, starts = automaton.sample(settings, key, golden.CANDIDATES)
        for field in Rules._fields:
            assert equal(getattr(drawn, field), pinned[f"{name} {split} {field}"])
        assert equal(starts, pinned[f"{name} {split} starts"])
        scored = batch.run(settings, key, golden.CANDIDATES, backend=automaton)
        assert equal(scored.grids, pinned[f"{name} {split} grids"])
        assert np.array_equal(scored.patches, pinned[f"{name} {split} patches"])
        assert np.array_equal(scored.score, pinned[f"{name} {split} lengths"])


@pytest.mark.parametrize(
    "counter, key, block",
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((2**31 - 1, 2**31 - 1, 2**32 - 1, 2**32 - 1), (2**32 - 1, 2**32 - 1), None),
        ((0x243F6A88, 0x05A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), None),
    ],
)
def test_random_bits_are_philox(automaton, counter, key, block):
    """The published answer, and for large words those of `philox`, which gives all published answers."""
    c0, c1, low, high = counter
    number = np.array([low + (high << 32)], np.uint64)
    found = gpu_kernels.philox_blocks(
        automaton._generator(key), c1, automaton._tensor(np.array([[c0]])), automaton._halves(number)[:, None]
    )
    wanted = philox.philox(np.array([counter], np.uint32), key)
    assert np.array_equal(found.cpu().numpy().view(np.uint32)[0], wanted)
    if block:
        assert " ".join(f"{word:08x}" for word in wanted[0]) == block


def stepped(automaton: Torch, settings: Settings, drawn: Rules, grids: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    """Runs three steps of constructed rules, on torch and by the definition."""
    candidates = np.arange(len(grids), dtype=np.uint64)
    wanted = grids
    for step in (1, 2, 3):
        wanted = definition.next_grids(settings, TRAIN, candidates, drawn, wanted, step)
    ours = Rules(*(automaton._tensor(weights) for weights in drawn))
    starts = automaton._tensor(grids.reshape(len(grids), -1))
    return automaton.rollout(settings, TRAIN, candidates, ours, starts, 0, 1)[:, 0], wanted


@pytest.mark.parametrize("temperature", [0.0, 1e-4, 1.0])
def test_the_lowest_state_among_equals_wins(automaton, temperature):
    settings = Settings(warmup=3, temperature=temperature)
    drawn = rules.sample_rules(settings, TRAIN, np.arange(8, dtype=np.uint64))
    grids = rules.sample_starts(settings, TRAIN, np.arange(8, dtype=np.uint64))
    drawn.output[:, 9], drawn.output[:, 4] = drawn.output[:, 2], drawn.output[:, 2]
    drawn.output[4:] = 0  # all states alike
    ours, wanted = stepped(automaton, settings, drawn, grids)
    assert equal(ours, wanted)
    if not temperature:
        assert not np.isin(wanted[:4], (4, 9)).any()
        assert not wanted[4:].any()


@pytest.mark.parametrize("values", [{"states": 256, "patch": 1, "identity_bias": -10.0}, {"identity_bias": 10.0}])
def test_sums_at_their_bounds_are_exact(automaton, values):
    """All weights and the noise have the largest possible magnitude, with either sign."""
    settings = Settings(warmup=3, temperature=1.0, **values)
    random = np.random.default_rng(1)

    def largest(scale: int, *shape: int) -> np.ndarray:
        return random.choice([-1, 1], (8, *shape)).astype(np.int16) * rules.weight_table(scale)[-1]

    drawn = Rules(
        largest(rules.PERCEPTION_SCALE, 3, 3, settings.states, 4) * np.int16(2),
        largest(rules.HIDDEN_SCALE, 16, 4),
        largest(rules.OUTPUT_SCALE, settings.states, 16),
    )
    drawn.perception[4:] = np.abs(drawn.perception[4:])  # the sum of nine is at its bound in every cell,
    drawn.hidden[4:] = np.abs(drawn.hidden[4:])  # and so is every unit
    ours, wanted = stepped(
        automaton, settings, drawn, rules.sample_starts(settings, TRAIN, np.arange(8, dtype=np.uint64))
    )
    assert equal(ours, wanted)


@pytest.mark.parametrize("temperature", [0.0, 1e-7, 1e-4, 0.3, 1.0])
def test_no_cell_is_left_out_that_noise_could_decide(automaton, temperature):
    """The most that noise can gain, between the lowest state and the highest: too rare to occur in a rollout."""
    noise = automaton._noise(Settings(temperature=temperature), TRAIN, np.zeros(1, np.uint64))
    assert (noise is None) == (temperature == 0.0)
    if noise:
        assert float(noise.table.max() - noise.table.min()) + 255 == noise.reach


def test_noise_over_the_memory_limit_is_drawn_in_parts():
    automaton, settings = Torch("cpu"), Settings(temperature=1.0)
    automaton._scratch_bytes //= 20
    assert automaton._cells_at_once(settings) < FEW * settings.cells
    assert_identical(automaton, settings, FEW, TRAIN)


def test_batch_size_changes_nothing(automaton):
    settings = Settings(temperature=1e-2)
    candidates = np.arange(30, dtype=np.uint64)
    chosen = np.array([3, 17, 29])
    whole = batch.run(settings, TRAIN, candidates, backend=automaton)
    assert np.array_equal(whole.score, batch.run(settings, TRAIN, candidates, backend=cpu).score)
    for i in chosen:
        alone = batch.run(settings, TRAIN, candidates[i : i + 1], backend=automaton)
        assert np.array_equal(alone.patches[0], whole.patches[i])
    wanted = batch.run(settings, TRAIN, candidates[chosen], backend=cpu).token_rows(np.arange(len(chosen)))
    assert np.array_equal(whole.token_rows(chosen), wanted)
    assert len(whole.token_rows(chosen[:0])) == 0


def test_threads_share_a_device(automaton):
    """Threads have different candidates, sizes and temperatures, so a mixed-up array would be detected."""
    noises = [Settings(temperature=t) for t in (0.0, 1e-4, 1e-2, 1.0)]

    def rows(i: int, runner: batch.Backend) -> np.ndarray:
        candidates = np.arange(i * 100, i * 100 + 5 + i, dtype=np.uint64)
        scored = batch.run(noises[i % 4], (0, i % 2), candidates, backend=runner)
        return scored.token_rows(np.arange(0, 5, 2))

    with ThreadPoolExecutor(8, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = list(pool.map(lambda i: rows(i, automaton), range(32)))
    assert all(np.array_equal(ours, rows(i, cpu)) for i, ours in enumerate(found))


def test_a_batch_fits_the_memory_limit(automaton):
    for settings, _ in map(case, CASES):
        assert automaton.batch_candidates(settings) >= 1
    most = automaton.batch_candidates(Settings())
    assert 50 <= most <= 10_000
    assert automaton.batch_candidates(Settings(states=256, height=128, width=128, patch=1)) < most


def test_devices():
    assert backend("cpu") is cpu
    assert backend("torch").device.type == "cpu"
    assert backend("torch") is backend("torch")
    assert backend("auto") is cpu if not CUDA else backend("auto").device.type == "cuda"


@pytest.mark.skipif(CUDA, reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_missing_cuda_device_is_one_line(device):
    with pytest.raises(NcagenError) as error:
        backend(device)
    assert str(error.value) == f"--device {device} needs a CUDA device, and torch sees none here: use --device cpu"


@pytest.mark.skipif(not CUDA, reason="there is no CUDA device")
def test_a_cuda_device_number_out_of_range_is_one_line():
    count = torch.cuda.device_count()
    with pytest.raises(NcagenError) as error:
        backend(f"cuda:{count}")
    assert str(error.value) == f"--device cuda:{count} is not here: use cuda:0 to cuda:{count - 1}"


@pytest.mark.parametrize("device", ["", "gpu", "mps", "cuda:", "cuda:-1", "CUDA"])
def test_an_unknown_device_is_one_line(device):
    with pytest.raises(NcagenError) as error:
        backend(device)
    assert str(error.value) == f"--device {device} is not known: use auto, cpu, cuda, or one of several as cuda:1"


def printed(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_torch():
    program = f"""{without("torch")}
from ncagen.sources.nca import cpu
from ncagen.sources.nca.devices import backend
print(backend("auto") is cpu)
try:
    backend("cuda")
except Exception as error:
    print(error)
"""
    assert printed(program) == f"True\n--device cuda needs torch: {install('torch')}\n"


def test_torch_is_the_only_package_it_needs():
    """It imports neither pyarrow nor numba, nor the modules that `import ncagen` loads."""
    program = f"""
import types
package = types.ModuleType("ncagen")
package.__path__ = [{str(ROOT / "ncagen")!r}]
{without("pyarrow")}
sys.modules["ncagen"] = package
from ncagen.sources.nca.gpu import Torch
print(Torch("cpu").device, *({{"numba", "pyarrow"}} & set(sys.modules)))
"""
    assert printed(program) == "cpu\n"
