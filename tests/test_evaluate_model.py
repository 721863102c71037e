"""ncagen evaluate with a model or a training loop, as a user types it; models of transformers where it is installed."""

import json
import os

import numpy as np
import pytest
from conftest import error_of, make, run, run_here, spec_of

import ncagen
from ncagen.evaluate import check_training, oracle_model, score

LOOP = """
import ncagen
import numpy as np
import torch
from ncagen.adapters.torch import Loader

data = ncagen.open({folder!r})
loader = Loader(data, 2, seed=3, layout=ncagen.Layout(labels={labels!r}))

def loss_fn(model):
    batch = next(iter(loader))  # a new epoch and other rows each time
    output = model(**batch)
    hits = output.logits[:, :-1].argmax(-1) == batch["input_ids"][:, 1:]
    return output.loss, hits[:, 37:].float().mean()

number = 3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """20 rows of 4 states: 258 ids, so that logits are small."""
    place = tmp_path_factory.mktemp("four") / "states"
    make(place, spec_of(tokens=20 * 1024, validation=0, states=4, bands=["0.1-1"], rows_per_shard=70))
    return place


def check(folder, place, labels, *flags):
    name = f"loop_of_labels_{labels}"
    (place / f"{name}.py").write_text(LOOP.format(folder=str(folder), labels=labels))
    return run_here("evaluate", folder, "--check-training", f"{name}:loss_fn", *flags, cwd=place)


def test_a_right_loop_is_status_0(folder, tmp_path):
    done = check(folder, tmp_path, "same")
    said = "the training loop is right: a model that knows every next token has a loss of 0.0000, an accuracy of 1.0000"
    assert (done.status, done.out.replace("\n    ", " "), done.err) == (0, f"{said} (2 rows)\n", "")


def test_a_wrong_loop_is_status_1_and_named(folder, tmp_path):
    done = check(folder, tmp_path, "next", "--json")
    assert (done.status, done.err) == (1, "")
    found = json.loads(done.out)
    assert [mistake["name"] for mistake in found["mistakes"]] == ["labels shifted twice", "metric at another offset"]
    assert not found["ok"] and found["loss"] > 5


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("my_module", "--check-training 'my_module' is no function: use MODULE:FUNCTION, as in my_module:loss_fn"),
        ("nowhere_at_all:f", "module nowhere_at_all cannot be imported: no module named 'nowhere_at_all'"),
        ("json:nothing", "module json has no function 'nothing'"),
        ("json:decoder", "module json has no function 'decoder'"),
    ],
)
def test_a_function_that_is_not_there_is_one_line(folder, name, line):
    assert run_here("evaluate", folder, "--check-training", name) == (2, "", f"ncagen: {line}\n")


def test_a_loop_and_a_model_are_two_commands(folder):
    flags = ["--check-training", "json:loads", "--model", "m"]
    line = "ncagen: --model does not go with --check-training: run them one after another\n"
    assert run_here("evaluate", folder, *flags) == (2, "", line)


def test_a_plot_that_cannot_be_drawn_is_refused_first(folder, smoke):
    line = "ncagen: losses.jpg is no picture: use a name that ends in .png, .svg, .pdf\n"
    assert run_here("evaluate", folder, "--plot", "losses.jpg") == (2, "", line)
    pytest.importorskip("matplotlib")
    line = "ncagen: a plot is of one band: choose one with --band, of high, medium\n"
    assert run_here("evaluate", smoke(), "--plot", "losses.png") == (2, "", line)


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


def llama(transformers, place, **changes):
    """A Llama of one layer, saved."""
    import torch

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = transformers.LlamaConfig(**{"vocab_size": 320, "max_position_embeddings": 1024, **sizes, **changes})
    model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(place)
    return model.eval()


def test_a_model_is_scored_as_its_logits_are(transformers, folder, tmp_path):
    import torch

    from ncagen.evaluate.run_model import run_model

    model, data = llama(transformers, tmp_path / "m"), ncagen.open(folder)

    def logits(tokens):
        with torch.no_grad():
            return model(input_ids=torch.from_numpy(tokens)).logits.numpy()

    expected = score(logits, data, rows=5)
    found = run_model(tmp_path / "m", data, rows=5, batch_size=3)
    assert found.rung.nats[1:] == pytest.approx(expected.rung.nats[1:], abs=2e-5)
    assert found.rung.accuracy[1:] == pytest.approx(expected.rung.accuracy[1:], abs=1e-6)
    assert found.rung.tokens == pytest.approx(expected.rung.tokens, abs=2e-5)
    assert found.rung.name == "m"


def test_ids_with_an_offset_are_those_of_the_model(transformers, folder, tmp_path):
    from ncagen.evaluate.run_model import run_model

    llama(transformers, tmp_path / "m", vocab_size=300)
    data = ncagen.open(folder)
    assert error_of(run_model, tmp_path / "m", data, token_offset=50) == (
        f"{tmp_path / 'm'} has 300 ids and the rows need 308: use one with more"
    )
    assert run_model(tmp_path / "m", data, rows=2, token_offset=42).rung.mean > 5


def test_a_run_resumes_after_a_stop(transformers, folder, tmp_path):
    from ncagen.evaluate.run_model import run_model

    llama(transformers, tmp_path / "m")
    data, state, done = ncagen.open(folder), tmp_path / "state.jsonl", []

    def stop(rows):
        done.append(rows)
        if sum(done) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_model(tmp_path / "m", data, rows=6, batch_size=2, state=state, progress=stop)
    assert done == [0, 2, 2]
    resumed: list[int] = []
    found = run_model(tmp_path / "m", data, rows=6, batch_size=2, state=state, progress=resumed.append)
    assert resumed == [4, 2]
    assert found.to_dict() == run_model(tmp_path / "m", data, rows=6, batch_size=2).to_dict()
    llama(transformers, tmp_path / "m", hidden_size=32)  # another model in its place
    begun: list[int] = []
    run_model(tmp_path / "m", data, rows=6, batch_size=6, state=state, progress=begun.append)
    assert begun == [0, 6]


def test_a_model_that_cannot_be_scored_is_one_line(transformers, folder, tmp_path):
    from ncagen.evaluate.run_model import run_model

    data, place = ncagen.open(folder), tmp_path / "m"
    place.mkdir()
    assert error_of(run_model, place, data) == (
        f"{place} is no model: it has no config.json, which save_pretrained writes"
    )
    llama(transformers, place, max_position_embeddings=512)
    assert error_of(run_model, place, data) == (
        f"{place} has 512 positions and the rows need 1,024: use one of longer context"
    )
    llama(transformers, place)
    assert error_of(run_model, place, data, device="tpu9").startswith("device 'tpu9' cannot be used: ")
    (place / "config.json").write_text('{"model_type": "t5", "vocab_size": 320}')
    assert error_of(run_model, place, data).startswith(f"{place} is no causal model that transformers loads: ")
    config = json.loads((place / "config.json").read_text())
    llama(transformers, place)
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    assert error_of(run_model, place, data).startswith(f"{place} lacks weights, which would be random: model.layers.1.")


def test_the_command_scores_a_model_among_the_rungs(transformers, folder, tmp_path):
    llama(transformers, tmp_path / "mine")
    flags = ["--rows", "4", "--rungs", "uniform,unigram,oracle", "--model", tmp_path / "mine"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run("evaluate", folder, *flags, env=environment)
    assert (done.status, done.err) == (0, "")
    lines = [line.split()[0] for line in done.out.splitlines() if line]
    assert {"mine", "uniform", "unigram", "oracle"} <= set(lines)
    again = json.loads(run("evaluate", folder, *flags, "--json", env=environment).out)
    assert again["models"][0]["model"]["name"] == "mine" and again["models"][0]["rows"] == 4
    assert len(list((tmp_path / "cache" / "ncagen" / "scores").iterdir())) == 1


def test_the_oracle_has_the_loss_of_transformers(transformers, folder):
    import torch
    from transformers.loss.loss_utils import ForCausalLMLoss

    data = ncagen.open(folder)
    batch = ncagen.Layout(mask_structural=True)(data.row_format, data.rows(np.arange(2))["input_ids"])
    tensors = {name: torch.from_numpy(column) for name, column in batch.items()}
    model = oracle_model(data)
    wrong = {"labels": tensors["labels"].roll(1, 1), "input_ids": tensors["input_ids"]}
    for given in (tensors, wrong):
        for items in (None, 321):
            found = model(**given, num_items_in_batch=items)
            expected = ForCausalLMLoss(found.logits, given["labels"], 258, num_items_in_batch=items)
            assert found.loss.item() == expected.item()


def test_the_oracle_runs_under_the_trainer(transformers, folder, tmp_path):
    pytest.importorskip("accelerate")
    from torch.utils.data import Subset

    from ncagen.adapters.torch import Rows

    data = ncagen.open(folder)
    rows = Subset(Rows(data), range(4))
    options = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "max_steps": 1}
    arguments = transformers.TrainingArguments(tmp_path, per_device_train_batch_size=2, **options)

    def accuracy(given):
        labels = given.label_ids[:, 1:]
        return {"accuracy": (given.predictions[:, :-1].argmax(-1) == labels)[labels != -100].mean()}

    def evaluated(model):
        return transformers.Trainer(model, arguments, eval_dataset=rows, compute_metrics=accuracy).evaluate()

    def trained(model):
        return transformers.Trainer(model, arguments, train_dataset=rows).train().training_loss

    found = check_training(evaluated, data)
    assert (found.ok, found.accuracy) == (True, 1.0)
    assert check_training(trained, data).ok
