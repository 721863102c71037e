"""The example `transfer`: bad input is one line before any training; schedules and figures have known answers."""

import fcntl
import json
import math
import re
import sys
import tomllib
from dataclasses import replace

import pytest
from conftest import ROOT, error_of

for package in ("torch", "transformers", "matplotlib", "tokenizers"):
    pytest.importorskip(package)
sys.path.insert(0, str(ROOT / "examples"))

import torch  # noqa: E402
import transferdata  # noqa: E402
from transfer import __main__, check, figures, model, read, train  # noqa: E402
from transfer.settings import Choice  # noqa: E402

from ncagen.factory.settings import parse_tokens  # noqa: E402

BASE = transferdata.HEAD + transferdata.SCRATCH
SETTINGS = (
    "known are experiment, tokens, optimizer, rate, betas, weight_decay, clip, batch, micro, warmup, horizon, final,"
)
SETTINGS += " evaluations, eval_rows"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The folder of the toy experiment's data."""
    folder = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCAGEN_CORPORA", str(folder / "corpora"))
        transferdata.make_data(folder)
    other = model.build(model.config_of(read.read(written(folder, BASE)).model, 64, 128), 0)
    other.save_pretrained(folder / "other")
    return folder


def written(folder, text):
    return transferdata.write_experiment(folder, text)


# What is written, and the one line that the command says.
FORMS = [
    ("preset = 'huge'", "preset 'huge' is not known: use cpu, small, medium, large, released"),
    (
        "arms = 3",
        "the experiment has an unknown setting 'arms': known are name, preset, seeds, precision,"
        " compile, model, source, text, tune, arm",
    ),
    (BASE.replace("[0]", "[1, 1]"), "seeds [1, 1] are not different whole numbers: use a list such as [0, 1, 2]"),
    ("", "the experiment has no text: add a table such as [text.code]"),
    ("[text.code]\ntokens = '1K'", "[text.code] has no data: it is needed"),
    (transferdata.HEAD, "the experiment has no arm to compare with: add [arm.scratch]"),
    (
        BASE + "[arm.nca-low]\ntokens = '2M'",
        "[arm.nca-low] has tokens of its own: all arms have those of [source]; times = 10 gives ten times",
    ),
    (BASE + "[arm.x]\ntimes = 0", "[arm.x] times 0 is out of range: use 1 or more"),
    (
        BASE + "[arm.x]\nreinit = ['conv']",
        "[arm.x] reinit: part 'conv' is not known: use embeddings, head, attention, mlp, norm, with"
        " layers as in 'mlp:0-3'",
    ),
    (BASE + "[arm.x]\nfreeze = ['mlp:2']", "[arm.x] mlp:2-2: the model has 2 layers, 0 to 1"),
    (BASE + "[arm.x]\nfreeze = 'mlp'", "[arm.x] freeze 'mlp' is not a list"),
    (
        BASE + "[arm.x]\nreinit = ['head:1']",
        "[arm.x] reinit: part 'head:1' has no such layers: use attention, mlp or norm, as in 'mlp:0-3'",
    ),
    (
        BASE.replace("[arm.scratch]", "[arm.scratch]\nreinit = []"),
        "[arm.scratch] has reinit: the arm scratch begins with nothing learned, leave it out",
    ),
    (
        BASE.replace("eval_rows = 8\n[text", "eval_row = 8\n[text"),
        f"[source] has an unknown setting 'eval_row': {SETTINGS}",
    ),
    (BASE.replace("micro = 4", "micro = 3"), "[text.code] batch 8 is not a multiple of micro 3: change one of them"),
    (BASE.replace("micro = 4", "rate = 'high'"), "[text.code] rate 'high' is not a number"),
    (BASE.replace("micro = 4", "optimizer = 'lion'"), "[text.code] optimizer 'lion' is not known: use adam or adamw"),
    (
        BASE.replace("width = 32", "width = 34"),
        "[model] width 34 is not divisible by twice 2 heads: change one of them",
    ),
    (
        BASE + transferdata.TUNE.replace('"code"', '"web"'),
        "[tune.sums] text 'web' is not a table of the experiment: use code",
    ),
]


@pytest.mark.parametrize(("text", "line"), FORMS, ids=range(len(FORMS)))
def test_a_file_that_describes_no_experiment_is_refused(text, line, tmp_path, capsys):
    assert __main__.main(["run", str(written(tmp_path, text)), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr() == ("", f"transfer: {line}\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            BASE.replace('"text"', '"nothing"'),
            "[text.code] {}/nothing does not exist: use a dataset's folder, a URL or user/name on the Hub",
        ),
        (
            BASE + "[arm.life]",
            "[arm.life] source 'life' is no arm of {}/arms: use dyck, nca-high, nca-low, nca-medium,"
            " shuffle-cells, shuffle-time, text, text-10x, unigram",
        ),
        (
            BASE + "[arm.dyck]\ntimes = 10",
            "[arm.dyck] has 12,032 tokens and the stage takes 112,640: all arms have one budget, so build"
            " more rows or use fewer tokens",
        ),
        (
            BASE.replace('"12K"\nmicro', '"120K"\nmicro'),
            "[text.code] has 12,032 tokens and the stage takes 119,808: all arms have one budget, so build"
            " more rows or use fewer tokens",
        ),
        (
            BASE.replace('"12K"\nmicro', '"1K"\nmicro'),
            "[text.code] 1,000 tokens are less than one step of 1,024: use more, or a smaller batch",
        ),
        (
            BASE.replace("heads = 2,", "heads = 2, vocabulary = 256,"),
            "vocabulary 256 is too small: text 'code' has 301 ids",
        ),
        (
            BASE + "[arm.x]\ncheckpoint = 'other'",
            "[arm.x] checkpoint {}/other is of another architecture: its vocab_size is 64 and the experiment's 320",
        ),
        (
            BASE + "[arm.x]\ncheckpoint = 'gone'",
            "[arm.x] checkpoint {}/gone does not exist: use a folder with config.json and weights",
        ),
        (
            BASE + "[arm.dyck]\nreinit = []",
            "[arm.dyck] keeps the embeddings of other ids than those of text 'code': add embeddings to reinit",
        ),
        (BASE + transferdata.TUNE.replace("sums.jsonl", "gone.jsonl"), "[tune.sums] {}/gone.jsonl does not exist"),
        (
            BASE + transferdata.TUNE.replace("tokenizer.json", "sums.jsonl"),
            "[tune.sums] tokenizer {}/sums.jsonl is not the one of text 'code': use that one",
        ),
        (
            BASE + transferdata.TUNE + transferdata.TASKS + "few = 2",
            "[tune.sums] few 2 needs examples of another split: use a folder instead of {}/sums-test.jsonl",
        ),
    ],
    ids=range(12),
)
def test_an_experiment_that_does_not_fit_is_refused(text, line, toy, capsys):
    assert __main__.main(["run", str(written(toy, text)), "--out", str(toy / "out"), "--device=cpu"]) == 2
    assert capsys.readouterr().err == f"transfer: {line.format(toy)}\n"
    assert not (toy / "out").exists()


def test_seeds_run_apart_are_those_of_one_run(toy, tmp_path, capsys):
    path = str(written(toy, BASE.replace("seeds = [0]", "seeds = [0, 1]")))
    whole, apart = tmp_path / "whole", tmp_path / "apart"
    assert __main__.main(["run", path, "--out", str(apart), "--seeds", "2"]) == 2
    assert capsys.readouterr().err == "transfer: seed 2 is not one of the experiment's: use 0, 1\n"
    for out, seeds in ((whole, []), (apart, ["--seeds", "1"]), (apart, ["--seeds", "0"])):
        assert __main__.main(["run", path, "--out", str(out), "--device=cpu", *seeds]) == 0
    assert (whole / "report.json").read_bytes() == (apart / "report.json").read_bytes()


def test_a_run_that_another_process_trains_is_refused(toy, tmp_path, capsys):
    path, run = str(written(toy, BASE)), tmp_path / "text" / "code" / "scratch" / "seed-0"
    run.mkdir(parents=True)
    with (run / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert __main__.main(["run", path, "--out", str(tmp_path), "--device=cpu"]) == 2
        said = capsys.readouterr().err
        wait = "wait for it, or run other seeds with --seeds"
        assert said == f"transfer: {run} is being trained by another process: {wait}\n"
        assert [file.name for file in run.iterdir()] == ["lock"]
    assert __main__.main(["run", path, "--out", str(tmp_path), "--device=cpu"]) == 0
    assert not (run / "lock").exists()


def test_the_files_of_the_example_are_read():
    folder = ROOT / "examples" / "transfer"
    for name in ("cpu", "small"):
        arms = tomllib.loads((folder / f"arms-{name}.toml").read_text())
        experiment = read.read(folder / f"{name}.toml")
        assert experiment.preset == name and experiment.source.tokens == parse_tokens(arms["tokens"])
        assert {arm.source for arm in experiment.arms if arm.source} <= {*arms["arm"]}
    blocks = re.findall(r"```toml\n(.*?)```", (folder / "README.md").read_text(), re.S)
    values = tomllib.loads("".join(blocks).replace('"math"', '"code"'))
    assert len(blocks) == 2 and len(read.of_settings(values, folder).arms) == 6


def test_ranks_that_do_not_divide_a_batch_are_refused(toy):
    found = error_of(check.check, read.read(written(toy, BASE)), 3)
    assert found == "[source] batch 8 is not a multiple of micro 8 on 3 ranks: change one of them"


def test_a_folder_of_another_run_is_refused(toy, tmp_path, capsys):
    for budget, status in (("12K", 0), ("8K", 2)):
        text = BASE.replace('"12K"\nmicro', f'"{budget}"\nmicro')
        assert __main__.main(["run", str(written(toy, text)), "--out", str(tmp_path), "--device=cpu"]) == status
    folder = tmp_path / "text/code/scratch/seed-0"
    line = f"{folder} has a run with another steps: use another --out, or remove it and what was made from it"
    assert capsys.readouterr().err == f"transfer: {line}\n"


def test_check_says_what_would_be_trained(toy, capsys):
    text = transferdata.HEAD + transferdata.TUNE + transferdata.ALL
    assert __main__.main(["check", str(written(toy, text))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "toy: 41,120 parameters, 640 ids, seeds 0"
    assert "stage 1, text-10x-times-10: 110 steps, 112,640 tokens" in lines
    assert lines[-3] == "stage 2, code: 11 steps, 11,264 tokens, 11 arms"


@pytest.mark.parametrize(
    ("preset", "ids", "least", "most"),
    [
        ("cpu", 1024, 0.45e6, 0.6e6),
        ("small", 8192, 9e6, 11e6),
        ("medium", 16384, 45e6, 55e6),
        ("large", 50304, 380e6, 420e6),
        ("released", 64000, 1.8e9, 1.9e9),
    ],
)
def test_presets_have_the_parameters_that_they_say(preset, ids, least, most, tmp_path):
    size = read.of_settings({"preset": preset, "text": {"code": {"data": "x", "tokens": 1}}, "arm": {"scratch": {}}} | (
        {"source": {"experiment": "x", "tokens": "163.84M"}}), tmp_path).model  # fmt: skip
    with torch.device("meta"):
        assert least < model.build(model.config_of(size, ids, 1024), 0).num_parameters() < most


def test_the_released_recipe_is_5000_updates_of_a_schedule_of_50000(tmp_path):
    settings = {"preset": "released", "text": {"web": {"data": "x", "tokens": "9B"}}, "arm": {"scratch": {}}}
    stage = read.of_settings(settings | {"source": {"experiment": "x", "tokens": "163.84M"}}, tmp_path).source
    assert stage.tokens == 5000 * 1024 * stage.training.batch and stage.training.micro * 2 == stage.training.batch
    plan = plan_of(5000, warmup=5000.0, horizon=50_000, rate=1e-4, final=0.0)
    assert [plan.rate(step) for step in (1, 2500, 5000)] == pytest.approx([2e-8, 5e-5, 1e-4])
    other = error_of(read.of_settings, settings | {"source": {"experiment": "x", "tokens": "100M"}}, tmp_path)
    assert other.startswith("[source] tokens 100,000,000: the preset released takes the model after 5,000 updates")


def plan_of(steps: int, **changes):
    training = read.of_settings({"text": {"a": {"data": "x", "tokens": 1}}, "arm": {"scratch": {}}, "source": {
        "experiment": "x", "tokens": 1}}, ROOT).source.training  # fmt: skip
    return train.Plan(replace(training, **changes), steps, 1, math.log(100), 0, "float32", False)


def test_the_schedule_and_the_evaluations_have_known_answers():
    plan = plan_of(100, warmup=0.1, horizon=0, rate=1.0, final=0.1, evaluations=3)
    assert [plan.rate(step) for step in (1, 10, 55, 100)] == pytest.approx([0.1, 1.0, 0.55, 0.1])
    assert [step for step in range(101) if plan.evaluates(step)] == [0, 34, 67, 100]
    assert [step for step in range(3) if plan_of(2, evaluations=5).evaluates(step)] == [0, 1, 2]


def test_a_loss_above_that_of_guessing_or_without_a_value_stops_a_run():
    ceiling = train.Ceiling(plan_of(1000))
    for step in range(49):
        ceiling.check(step, 4.7)
    ceiling.check(49, 4.5)  # ln 100 is 4.605
    for step in range(50, 99):
        ceiling.check(step, 4.7)
    assert error_of(ceiling.check, 99, 4.7) == (
        "the loss is 4.70 after step 99 and was above 4.61, that of guessing, in the last 50 steps: nothing is learned;"
        " use another rate, or check the data"
    )
    assert error_of(train.Ceiling(plan_of(9)).check, 3, math.nan) == "the loss of step 3 is nan: use a lower rate"


def test_tokens_to_a_loss_are_between_two_evaluations():
    curve = [(0, 6.0), (100, 4.0), (200, 3.0), (300, 3.5)]
    assert figures.tokens_to_reach(curve, 5.0) == 50
    assert figures.tokens_to_reach(curve, 3.25) == 175
    assert figures.tokens_to_reach(curve, 7.0) == 0
    assert figures.tokens_to_reach(curve, 2.9) is None


def test_intervals_and_verdicts_have_known_answers():
    assert figures.interval([0.5]) == (0.5, 0.5)
    low, high = figures.interval([-3.0, 0.0, 3.0])
    assert (low, high) == (-3.0, 3.0)  # of 27 resamples one has each end, more than 2.5 %
    cases = {"better": [-0.03, -0.01, -0.02], "worse": [0.01, 0.02, 0.03], "no difference shown": [-0.01, 0.0, 0.02]}
    for said, changes in cases.items():
        assert figures.verdict({"change_interval": figures.interval(changes), "seeds": [0, 1, 2]}) == said
    assert figures.verdict({"change_interval": (-1, -1), "seeds": [0, 1]}) == "too few seeds"


def test_figures_of_an_experiment_are_paired_by_seed(tmp_path):
    experiment = read.read(written(tmp_path, BASE.replace("seeds = [0]", "seeds = [0, 1, 2]") + "[arm.dyck]\n"))
    curves = {"scratch": [(3.0, 2.0), (3.5, 2.5), (3.2, 2.2)], "dyck": [(2.5, 1.9), (3.0, 2.4), None]}
    for arm, runs in curves.items():
        for seed, curve in enumerate(runs):
            folder = tmp_path / "out" / "text" / "code" / arm / f"seed-{seed}"
            folder.mkdir(parents=True)
            if curve is None:
                (folder / "failed.json").write_text(json.dumps({"step": 1, "reason": "it stopped"}))
                continue
            lines = [{"step": i, "tokens": 100 * i, "validation": loss} for i, loss in enumerate(curve)]
            (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            (folder / "done.json").write_text("{}")
    found = figures.collect(experiment, tmp_path / "out")["text"]["code"]
    assert found["dyck"]["seeds"] == [0, 1] and found["dyck"]["missing"] == {2: "it stopped"}
    assert found["dyck"]["changes"] == pytest.approx([math.exp(-0.1) - 1] * 2)
    assert found["dyck"]["tokens_to_scratch"] == pytest.approx([100 * 0.5 / 0.6, 100 * 0.5 / 0.6])
    assert found["dyck"]["speed"] == pytest.approx(1.2)
    assert found["scratch"]["verdict"] == "baseline" and found["dyck"]["verdict"] == "too few seeds"


def test_choices_of_parts_are_read_as_they_are_written():
    for text in ("mlp", "attention:0-3", "norm:2-2"):
        assert str(Choice.parse(text)) == text
    assert Choice.parse("mlp:4") == Choice("mlp", 4, 4)
