"""The example `transfer`: all stages of all arms, exact resume, averages over parts, what is drawn anew and frozen."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, error_of

for package in ("torch", "transformers", "matplotlib", "tokenizers"):
    pytest.importorskip(package)
sys.path.insert(0, str(ROOT / "examples"))

import torch  # noqa: E402
import transferdata  # noqa: E402
from transfer import __main__, check, instructions, loss, model, parts, read, rows, train  # noqa: E402
from transfer.handover import hand_over  # noqa: E402
from transfer.ranks import Ranks  # noqa: E402
from transfer.runs import RunFolder, log_lines  # noqa: E402
from transfer.settings import Choice  # noqa: E402
from transfer.stages import Runner  # noqa: E402

import ncagen  # noqa: E402

HAS_HARNESS = importlib.util.find_spec("lm_eval") is not None
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The folder of the toy experiment's data."""
    folder = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCAGEN_CORPORA", str(folder / "corpora"))
        return transferdata.make_data(folder)


@pytest.fixture(scope="module")
def two_arms(toy):
    """The toy experiment with scratch and three arms of one source, checked."""
    arms = transferdata.SCRATCH + "[arm.nca-low]\n[arm.same]\nsource = 'nca-low'\n"
    arms += (
        "[arm.parts]\nsource = 'nca-low'\nreinit = ['head', 'embeddings', 'mlp:1', 'norm']\nfreeze = ['attention:0']\n"
    )
    return check.check(read.read(transferdata.write_experiment(toy, transferdata.HEAD + arms, "two.toml")))


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "examples" / "transfer"), *map(str, arguments)]


def logs(folder: Path) -> dict[str, bytes]:
    """Every log below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("log.jsonl")}


def runner(materials, out: Path) -> Runner:
    return Runner(materials, out, Ranks(), lambda line: None)


def arm_of(materials, name: str):
    return next(arm for arm in materials.experiment.arms if arm.name == name)


@pytest.mark.slow
def test_all_stages_of_all_arms_run(toy, tmp_path):
    """As a command; the tasks of stage 3 where lm_eval is installed."""
    text = transferdata.HEAD + transferdata.TUNE + (transferdata.TASKS if HAS_HARNESS else "") + transferdata.ALL
    path, whole = transferdata.write_experiment(toy, text), tmp_path / "whole"
    done = subprocess.run(command("run", path, "--out", whole), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    report = json.loads((whole / "report.json").read_text())
    assert [arm["missing"] for arm in report["text"]["code"].values()] == [{}] * 11
    assert [run["0"].get("missing") for run in report["source"].values()] == [None] * 9
    assert [arm["missing"] for arm in report["tune"]["sums"].values()] == [{}] * 11
    timed = json.loads((whole / "text/code/scratch/seed-0/timing.jsonl").read_text())
    assert timed["steps"] == 11 and 0 < timed["reading_seconds"] < timed["seconds"]
    assert not HAS_HARNESS or all(arm["tasks"] for arm in report["tune"]["sums"].values())
    page = (whole / "report.html").read_text()
    assert "src=" not in page and 'href="http' not in page and page.count("<svg") == 11


@pytest.mark.slow
def test_a_killed_experiment_resumes_bit_for_bit(toy, tmp_path):
    """Killed in the middle of stage 2, and compared with a run that was not, byte for byte."""
    path = transferdata.write_experiment(toy, transferdata.HEAD + transferdata.SCRATCH + "[arm.nca-medium]\n", "k.toml")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert __main__.main(["run", str(path), "--out", str(whole), "--device=cpu"]) == 0
    started = subprocess.Popen(command("run", path, "--out", killed), stdout=subprocess.DEVNULL, env=ONE_THREAD)
    run = killed / "text" / "code" / "nca-medium" / "seed-0"
    while started.poll() is None and len(log_lines(run)) < 8:
        time.sleep(0.002)
    started.kill()
    assert started.wait() == -signal.SIGKILL
    assert not (run / "done.json").exists()
    assert __main__.main(["run", str(path), "--out", str(killed), "--device=cpu"]) == 0
    assert logs(killed) == logs(whole)


def interrupted(model_, batches, plan, run, at: int, evaluate):
    """Trains until the evaluation of a step raises."""
    calls = iter(range(1000))

    def failing(found):
        if next(calls) == at:
            raise KeyboardInterrupt
        return evaluate(found)

    with pytest.raises(KeyboardInterrupt):
        train.train(model_, batches, plan, run, Ranks(), failing, lambda line: None)


def stage_parts(materials):
    """A new model, batches, and the plan of ten steps."""
    data = materials.source["nca-low"]
    training = materials.experiment.source.training
    batches = rows.RowBatches(data.train, materials.layout(data), training.batch, 7, Ranks())
    plan = train.Plan(training, 10, 8 * 128, 99.0, 3, "float32", False)
    return model.build(materials.config, 1), batches, plan


def test_a_run_that_is_interrupted_resumes_bit_for_bit_with_dropout(two_arms, tmp_path):
    assert two_arms.experiment.model.dropout == 0.1

    def evaluate(found):
        return {"validation": sum(parameter.detach().double().sum().item() for parameter in found.parameters())}

    whole, stopped = (RunFolder(tmp_path / name, {}) for name in ("whole", "stopped"))
    whole.begin(), stopped.begin()
    learned, batches, plan = stage_parts(two_arms)
    train.train(learned, batches, plan, whole, Ranks(), evaluate, lambda line: None)
    begun, batches, _ = stage_parts(two_arms)
    interrupted(begun, batches, plan, stopped, 2, evaluate)  # at step 10, five steps after the last checkpoint
    with (stopped.path / "log.jsonl").open("a") as file:
        file.write('{"step": 11, "to')  # a line that was cut off
    resumed, batches, _ = stage_parts(two_arms)
    train.train(resumed, batches, plan, stopped, Ranks(), evaluate, lambda line: None)
    assert (stopped.path / "log.jsonl").read_bytes() == (whole.path / "log.jsonl").read_bytes()
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), learned.parameters(), strict=True))


@pytest.mark.parametrize("micro", [1, 2, 4])
def test_the_gradient_of_parts_is_that_of_one_batch(two_arms, micro):
    """In float64, with rows that have from 1 to 60 labels: a mean of the parts' means would be far off."""
    found = []
    for part in (8, micro):
        learned, batches, _ = stage_parts(two_arms)
        learned.double().eval()
        batch = batches.next()
        for row, labels in enumerate(batch["labels"]):
            labels[[1, 60, 7, 30, 2, 50, 11, 3][row] :] = loss.IGNORED
            labels[0] = row
        value = loss.backward(learned, batch, part, Ranks(), "float32")
        found.append((value, [parameter.grad for parameter in learned.parameters()]))
    (whole, gradients), (value, others) = found
    assert value == pytest.approx(whole, rel=1e-6)
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in zip(gradients, others, strict=True))


def test_the_text_stage_keeps_draws_anew_and_freezes_what_is_named(two_arms, tmp_path):
    run = runner(two_arms, tmp_path)
    learned = run.source(arm_of(two_arms, "nca-low"), 0)
    begun = {name: hand_over_of(two_arms, name, learned) for name in ("scratch", "nca-low", "parts")}
    kept = dict(model.load(learned.path / "model").named_parameters())
    drawn = {name for name, value in begun["parts"].items() if not torch.equal(value, kept[name])}
    again = {
        "model.embed_tokens.weight",
        *(f"model.layers.1.mlp.{name}_proj.weight" for name in ("gate", "up", "down")),
    }
    norms = {name for name in kept if "norm" in name}
    assert drawn == again | norms  # norms begin with 1 and were trained
    assert all(torch.equal(begun["parts"][name], begun["scratch"][name]) for name in drawn)
    assert all(torch.equal(value, kept[name]) for name, value in begun["nca-low"].items() if "embed" not in name)

    done = run.text(arm_of(two_arms, "parts"), "code", 0, learned)
    after = dict(model.load(done.path / "model").named_parameters())
    still = {name for name, value in after.items() if torch.equal(value, begun["parts"][name])}
    frozen = {f"model.layers.0.self_attn.{name}_proj.weight" for name in "qkvo"}
    assert still == frozen
    assert json.loads((done.path / "parameters.json").read_text())["frozen"] == sorted(frozen)


def hand_over_of(materials, name: str, learned: RunFolder) -> dict[str, torch.Tensor]:
    """The parameters that an arm's text stage begins with."""
    fresh = model.build(materials.config, model.seed_of(0, "text weights"))
    before = None if name == "scratch" else dict(model.load(learned.path / "model").named_parameters())
    hand_over(arm_of(materials, name), before, fresh)
    return dict(fresh.named_parameters())


def test_arms_that_hand_over_alike_have_equal_losses(two_arms, tmp_path):
    run = runner(two_arms, tmp_path)
    learned = run.source(arm_of(two_arms, "nca-low"), 0)
    for name in ("nca-low", "same"):
        run.text(arm_of(two_arms, name), "code", 0, learned)
    same, other = (log_lines(tmp_path / "text" / "code" / name / "seed-0") for name in ("nca-low", "same"))
    assert same == other
    assert run.source(arm_of(two_arms, "same"), 0).path == learned.path


def test_a_checkpoint_without_some_weights_is_refused(two_arms, tmp_path):
    from safetensors.torch import load_file, save_file

    model.build(two_arms.config, 0).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    line = f"{tmp_path} lacks weights, which would be random: model.norm.weight"
    assert error_of(model.load, tmp_path) == line


def test_where_embeddings_are_the_head_either_name_means_both(two_arms):
    tied = model.build(two_arms.config, 0)
    assert parts.selected(tied, [Choice("head")]) == {"model.embed_tokens.weight"}
    size = two_arms.experiment.model
    untied = model.build(model.config_of(type(size)(**{**vars(size), "tied": False}), 64, 64), 0)
    assert parts.selected(untied, [Choice("head")]) == {"lm_head.weight"}
    everything = [Choice(part) for part in ("embeddings", "head", "attention", "mlp", "norm")]
    assert parts.selected(untied, everything) == {name for name, _ in untied.named_parameters()}


def test_a_run_that_learns_nothing_fails_in_one_line_and_is_a_row_of_the_report(toy, tmp_path):
    text = transferdata.HEAD.replace("batch = 8\nmicro = 8", "rate = 30.0\nweight_decay = 0.0\nbatch = 2\nmicro = 2")
    path = transferdata.write_experiment(toy, text + transferdata.SCRATCH + "[arm.dyck]\n", "fails.toml")
    assert __main__.main(["run", str(path), "--out", str(tmp_path), "--device=cpu"]) == 1
    failed = json.loads((tmp_path / "source/dyck/seed-0/failed.json").read_text())
    assert failed["step"] == len(log_lines(tmp_path / "source/dyck/seed-0")) - 1 < 46
    assert failed["reason"].endswith(
        f"after step {failed['step']} and was above 5.77, that of guessing, in the last 20 steps: nothing is learned;"
        " use another rate, or check the data"
    )
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["text"]["code"]["dyck"]["missing"] == {"0": f"stage 1 failed: {failed['reason']}"}
    assert "loss" in report["text"]["code"]["scratch"]
    assert "stage 1 failed" in (tmp_path / "report.html").read_text()


def test_examples_come_once_an_epoch_on_any_number_of_ranks(toy):
    data = instructions.Instructions.read(toy / "sums.jsonl", toy / "tokenizer.json", 64)
    assert len(data) == 28 and data.left_out == 0
    whole = instructions.Batches(data, 4, 5, Ranks())
    halves = [instructions.Batches(data, 4, 5, Ranks(rank, 2)) for rank in range(2)]
    seen = []
    for _ in range(14):
        batch, parts_ = whole.next(), [half.next() for half in halves]
        assert {*map(tuple, batch["labels"].tolist())} == {tuple(row) for p in parts_ for row in p["labels"].tolist()}
        seen += map(tuple, batch["input_ids"].tolist())
    assert len({*seen[:28]}) == 28 and {*seen[:28]} == {*seen[28:]} and seen[:28] != seen[28:]


def test_the_loss_of_instructions_is_of_answers_alone(toy):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(toy / "tokenizer.json"))
    data = instructions.Instructions.read(toy / "sums.jsonl", toy / "tokenizer.json", 64)
    labels = data.labels[13]
    answer = tokenizer.decode(labels[labels >= 0].tolist(), skip_special_tokens=False)
    assert answer == " 3<|endoftext|>"  # 2 + 1
    assert tokenizer.decode(data.ids[13].tolist()).startswith("Question: 2 + 1 =\nAnswer: 3")
    assert data.ids[13, 1:][labels[:-1] >= 0].tolist() == labels[labels >= 0].tolist()


@pytest.mark.slow
def test_two_ranks_compute_the_gradient_of_one(two_arms, tmp_path):
    """Each rank has half of the rows, with other numbers of labels."""
    learned, batches, _ = stage_parts(two_arms)
    batch = batches.next()
    batch["labels"][:4, 20:] = loss.IGNORED
    torch.save({"config": two_arms.config.to_dict(), "batch": batch}, tmp_path / "given.pt")
    learned.eval()
    value = loss.backward(learned, batch, 8, Ranks(), "float32")
    script = ROOT / "tests" / "transfer_rank.py"
    launched = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", script, tmp_path]
    done = subprocess.run(
        launched, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "found.pt")
    assert found["loss"] == pytest.approx(value, rel=1e-6)
    gradients = [parameter.grad for parameter in learned.parameters()]
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(found["gradients"], gradients, strict=True))


def test_the_loop_passes_the_check_of_training_loops(two_arms):
    from transfer.evaluate import check_loop

    for data in (*two_arms.source.values(), *two_arms.text.values()):
        check_loop(data.train, two_arms.layout(data), two_arms.vocabulary)
    data = two_arms.source["nca-low"]
    with pytest.raises(ncagen.NcagenError, match=r"the training loop is wrong: .* labels not shifted"):
        check_loop(data.train, ncagen.Layout(labels="same"), two_arms.vocabulary)
