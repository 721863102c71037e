"""The automaton on torch against the definition, bit for bit: always on the host, on CUDA too where torch sees it."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import ROOT, without
from test_golden import make as golden
from test_identity import SPECS, spec_of

from ncagen import philox
from ncagen.errors import NcagenError
from ncagen.sources.nca import cpu, definition, gpu, rules, tokens
from ncagen.sources.nca import source as nca
from ncagen.sources.nca.devices import backend
from ncagen.sources.nca.gpu import Torch
from ncagen.sources.nca.rules import Rules
from ncagen.spec import Spec

CUDA = torch.cuda.is_available()
FEW = 20  # candidates of each spec; the slow test takes all


@pytest.fixture(scope="module", autouse=True)
def one_core():
    """Arrays this small are slower on several cores, far slower where others use them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=["cpu", "cuda"] if CUDA else ["cpu"])
def automaton(request) -> Torch:
    return Torch(request.param)


def equal(ours: torch.Tensor, theirs: np.ndarray) -> bool:
    """Values and types; a grid's rows may stand one after the other."""
    ours = ours.cpu().numpy()
    return ours.dtype == theirs.dtype and np.array_equal(ours.reshape(theirs.shape), theirs)


def assert_identical(automaton: Torch, spec: Spec, count: int, stream: int) -> None:
    # Half of the candidates need the counter's high word.
    candidates = np.arange(count, dtype=np.uint64) + np.arange(count, dtype=np.uint64) % 2 * np.uint64(2**40)
    drawn, starts = automaton.sample(spec, stream, candidates)
    for name, ours, theirs in zip(Rules._fields, drawn, rules.sample_rules(spec, stream, candidates), strict=True):
        assert equal(ours, theirs), name
    assert equal(starts, rules.sample_starts(spec, stream, candidates))
    frames = min(spec.frames, 12)
    wanted = definition.trajectories(spec, stream, candidates, frames)
    whole = automaton.rollout(spec, stream, candidates, drawn, starts, 0, frames)
    assert equal(whole, wanted)
    patches = automaton.patch_tokens(spec, whole)
    assert patches.dtype == spec.token_dtype
    assert np.array_equal(patches, tokens.patch_tokens(spec, wanted))
    if frames > 1:
        begun = automaton.rollout(spec, stream, candidates, drawn, starts, 0, 1)
        rest = automaton.rollout(spec, stream, candidates, drawn, begun[:, 0], 1, frames - 1)
        assert torch.equal(rest, whole[:, 1:])


@pytest.mark.parametrize("name", SPECS)
def test_torch_equals_the_definition(automaton, name):
    settings, count = SPECS[name]
    assert_identical(automaton, spec_of(settings), min(count, FEW), philox.STREAMS["train"])


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_torch_equals_the_definition_for_many(automaton, name):
    settings, count = SPECS[name]
    assert_identical(automaton, spec_of(settings), count, philox.STREAMS["validation"])


@pytest.mark.parametrize("name", golden.SPECS)
def test_torch_gives_the_pinned_rows(automaton, name):
    pinned, spec = np.load(golden.path()), golden.spec_of(name)
    for split in ("train", "validation"):
        stream = philox.STREAMS[split]
        drawn, starts = automaton.sample(spec, stream, golden.CANDIDATES)
        for field in Rules._fields:
            assert equal(getattr(drawn, field), pinned[f"{name} {split} {field}"])
        assert equal(starts, pinned[f"{name} {split} starts"])
        scored = nca.batch(spec, stream, golden.CANDIDATES, backend=automaton)
        assert equal(scored.grids, pinned[f"{name} {split} grids"])
        assert np.array_equal(scored.patches, pinned[f"{name} {split} patches"])
        assert np.array_equal(scored.lengths, pinned[f"{name} {split} lengths"])


@pytest.mark.parametrize(
    "counter, key, block",
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((2**31 - 1, 2**31 - 1, 2**32 - 1, 2**32 - 1), (2**32 - 1, 2**32 - 1), None),
        ((0x243F6A88, 0x05A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), None),
    ],
)
def test_random_bits_are_philox(automaton, counter, key, block):
    """The published answer, and those of `rng` (which gives all the published ones) where words are large."""
    c0, c1, low, high = counter
    number = np.array([low + (high << 32)], np.uint64)
    found = gpu._philox(
        automaton._generator(*key), c1, automaton._tensor(np.array([[c0]])), automaton._halves(number)[:, None]
    )
    wanted = philox.philox(np.array([counter], np.uint32), key)
    assert np.array_equal(found.cpu().numpy().view(np.uint32)[0], wanted)
    if block:
        assert " ".join(f"{word:08x}" for word in wanted[0]) == block


def stepped(automaton: Torch, spec: Spec, drawn: Rules, grids: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    """Three steps of rules that no candidate has, ours and the definition's."""
    candidates = np.arange(len(grids), dtype=np.uint64)
    wanted = grids
    for step in (1, 2, 3):
        wanted = definition.next_grids(spec, 0, candidates, drawn, wanted, step)
    ours = Rules(*(automaton._tensor(weights) for weights in drawn))
    starts = automaton._tensor(grids.reshape(len(grids), -1))
    return automaton.rollout(spec, 0, candidates, ours, starts, 0, 1)[:, 0], wanted


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {}, {"temperature": 1.0}])
def test_the_lower_state_of_equals_wins(automaton, settings):
    spec = spec_of({"warmup": 3} | settings)
    drawn = rules.sample_rules(spec, 0, np.arange(8, dtype=np.uint64))
    grids = rules.sample_starts(spec, 0, np.arange(8, dtype=np.uint64))
    drawn.output[:, 9], drawn.output[:, 4] = drawn.output[:, 2], drawn.output[:, 2]
    drawn.output[4:] = 0  # all states alike
    ours, wanted = stepped(automaton, spec, drawn, grids)
    assert equal(ours, wanted)
    if not spec.temperature:
        assert not np.isin(wanted[:4], (4, 9)).any()
        assert not wanted[4:].any()


@pytest.mark.parametrize("settings", [{"states": 256, "patch": 1, "identity_bias": -10.0}, {"identity_bias": 10.0}])
def test_sums_at_their_bounds_are_exact(automaton, settings):
    """Every weight is the largest there is, of either sign, and the noise as well."""
    spec = spec_of({"warmup": 3, "temperature": 1.0} | settings)
    random = np.random.default_rng(1)

    def largest(scale: int, *shape: int) -> np.ndarray:
        return random.choice([-1, 1], (8, *shape)).astype(np.int16) * rules.weight_table(scale)[-1]

    drawn = Rules(
        largest(rules.PERCEPTION_SCALE, 3, 3, spec.states, 4) * np.int16(2),
        largest(rules.HIDDEN_SCALE, 16, 4),
        largest(rules.OUTPUT_SCALE, spec.states, 16),
    )
    drawn.perception[4:] = np.abs(drawn.perception[4:])  # the sum of nine is at its bound in every cell,
    drawn.hidden[4:] = np.abs(drawn.hidden[4:])  # and so is every unit
    ours, wanted = stepped(automaton, spec, drawn, rules.sample_starts(spec, 0, np.arange(8, dtype=np.uint64)))
    assert equal(ours, wanted)


@pytest.mark.parametrize("temperature", [0.0, 1e-7, 1e-4, 0.3, 1.0])
def test_no_cell_is_left_out_that_noise_could_decide(automaton, temperature):
    """The most that noise can gain, between the lowest state and the highest: too rare to be seen in a rollout."""
    noise = automaton._noise(spec_of({"temperature": temperature}), 0, np.zeros(1, np.uint64))
    assert (noise is None) == (temperature == 0.0)
    if noise:
        assert float(noise.table.max() - noise.table.min()) + 255 == noise.reach


def test_noise_is_drawn_in_parts_where_it_takes_too_much_room():
    automaton, spec = Torch("cpu"), spec_of({"temperature": 1.0})
    automaton._scratch_bytes //= 20
    assert automaton._cells_at_once(spec) < FEW * spec.cells
    assert_identical(automaton, spec, FEW, 0)


def test_batch_size_changes_nothing(automaton):
    spec = spec_of({"temperature": 1e-2})
    candidates = np.arange(30, dtype=np.uint64)
    chosen = np.array([3, 17, 29])
    whole = nca.batch(spec, 0, candidates, backend=automaton)
    assert np.array_equal(whole.lengths, nca.batch(spec, 0, candidates).lengths)
    for i in chosen:
        alone = nca.batch(spec, 0, candidates[i : i + 1], backend=automaton)
        assert np.array_equal(alone.patches[0], whole.patches[i])
    wanted, _ = nca.rebuild(spec, 0, candidates[chosen])
    assert np.array_equal(nca.rows(whole, chosen, automaton), wanted)
    assert len(nca.rows(whole, chosen[:0], automaton)) == 0


def test_threads_share_a_device(automaton):
    """Each with its own candidates, sizes and temperature, so that a mixed-up array would show."""
    specs = [spec_of({"temperature": t}) for t in (0.0, 1e-4, 1e-2, 1.0)]

    def rows(i: int, runner: nca.Backend) -> np.ndarray:
        candidates = np.arange(i * 100, i * 100 + 5 + i, dtype=np.uint64)
        scored = nca.batch(specs[i % 4], i % 2, candidates, backend=runner)
        return nca.rows(scored, np.arange(0, 5, 2), runner)

    with ThreadPoolExecutor(8, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = list(pool.map(lambda i: rows(i, automaton), range(32)))
    assert all(np.array_equal(ours, rows(i, cpu)) for i, ours in enumerate(found))


def test_a_batch_fits_its_room(automaton):
    for settings, _ in SPECS.values():
        assert automaton.batch_candidates(spec_of(settings)) >= 1
    most = automaton.batch_candidates(spec_of({}))
    assert 50 <= most <= 10_000
    assert automaton.batch_candidates(spec_of({"states": 256, "grid": 128, "patch": 1})) < most


def test_devices():
    assert backend("cpu") is cpu
    assert backend("torch").device.type == "cpu"
    assert backend("torch") is backend("torch")
    assert backend("auto") is cpu if not CUDA else backend("auto").device.type == "cuda"


@pytest.mark.skipif(CUDA, reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_no_cuda_device_is_said(device):
    with pytest.raises(NcagenError) as error:
        backend(device)
    assert str(error.value) == f"--device {device} needs a CUDA device, and torch sees none here: use --device cpu"


@pytest.mark.skipif(not CUDA, reason="there is no CUDA device")
def test_a_cuda_device_too_many_is_said():
    count = torch.cuda.device_count()
    with pytest.raises(NcagenError) as error:
        backend(f"cuda:{count}")
    assert str(error.value) == f"--device cuda:{count} is not here: use cuda:0 to cuda:{count - 1}"


@pytest.mark.parametrize("device", ["", "gpu", "mps", "cuda:", "cuda:-1", "CUDA"])
def test_an_unknown_device_is_said(device):
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
    assert printed(program) == "True\n--device cuda needs torch: pip install 'ncagen[torch]'\n"


def test_torch_is_all_it_needs():
    """Neither pyarrow nor numba, nor what `import ncagen` loads."""
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
