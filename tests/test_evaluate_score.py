"""A model against the ladder: figures against sums done by hand and by torch, sentences, errors, resuming."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import error_of, make, spec_of, without
from torch.nn.functional import cross_entropy

import ncagen
from ncagen.evaluate import Ladder, Rung, oracle_model, report, score
from ncagen.evaluate.model_score import ModelRung, ModelScore, RowScores
from ncagen.evaluate.row_state import RowState
from ncagen.evaluate.score import row_scores
from ncagen.row_format import RowFormat

IDS, GRIDS, POSITIONS = 258, 27, 1024


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """20 rows of 4 states: 258 ids, so that logits are small."""
    folder = tmp_path_factory.mktemp("four") / "states"
    make(folder, spec_of(tokens=20 * 1024, validation=0, states=4, bands=["0.1-1"], rows_per_shard=70))
    return ncagen.open(folder)


def rung(name, nats, stderr=0.01):
    values = np.array([np.nan, *nats])
    return Rung(name, values, values * 0 + 0.5, values * 0 + stderr, stderr, patches=36)


def model(nats, name="model"):
    values = rung(name, nats)
    return ModelRung(name, values.nats, values.accuracy, values.stderr, values.mean_stderr, 36, tokens=4.75)


def ladder(*rungs):
    return Ladder(rungs, rows=20, seed=0, dataset_sha256="ab", band="high", split="train")


LADDER = ladder(
    rung("uniform", [9.2, 9.2]),
    rung("cell histogram", [6.6, 6.5]),
    rung("lookup", [6.0, 5.0]),
    rung("oracle", [0.008, 0.008]),
)


def noise(tokens):
    """Logits that depend on the tokens alone."""
    return np.sin(tokens[..., None] * 7.0 + np.arange(IDS)).astype(np.float32)


def test_equal_logits_cost_the_logarithm_of_the_ids(small):
    found = score(lambda tokens: np.zeros((*tokens.shape, IDS), np.float32), small, rows=5)
    assert found.rung.nats.shape == (GRIDS,) and math.isnan(found.rung.nats[0])
    assert found.rung.nats[1:] == pytest.approx(np.full(GRIDS - 1, math.log(IDS)))
    assert (found.rows, found.fall, found.fall_stderr) == (5, pytest.approx(0), pytest.approx(0))
    assert found.rung.tokens == pytest.approx(math.log(IDS))


def test_an_oracle_model_has_no_loss(small):
    found = score(oracle_model(small, "numpy"), small, rows=4, batch_size=3)
    assert found.rung.mean < 1e-6 and found.rung.mean_accuracy == 1.0 and found.rung.tokens < 1e-6


def test_figures_are_those_of_torch_whatever_the_batch_and_the_form(small):
    tokens = small.rows(np.arange(0, 20, 4))["input_ids"].astype(np.int64)[:, : POSITIONS + 1]
    logits = noise(tokens[:, :-1])
    labels = torch.from_numpy(tokens[:, 1:])
    losses = cross_entropy(torch.from_numpy(logits).double().transpose(1, 2), labels, reduction="none").numpy()
    hits = logits.argmax(-1) == labels.numpy()
    forms = (noise, logits, (losses, hits), lambda tokens: noise(tokens))
    found = [score(form, small, rows=5, batch_size=size) for form, size in zip(forms, (1, 2, 3, 5), strict=True)]
    patch = np.arange(1, POSITIONS + 1) % 38 % 37 > 0
    for grid in (1, 13, 26):
        here = patch & (np.arange(1, POSITIONS + 1) // 38 == grid)
        assert here.sum() == 36
        for each in found:
            assert each.rung.nats[grid] == pytest.approx(losses[:, here].mean(), rel=1e-9)
            assert each.rung.accuracy[grid] == pytest.approx(hits[:, here].mean())
            assert each.rung.stderr[grid] == pytest.approx(losses[:, here].mean(1).std(ddof=1) / math.sqrt(5))
    assert found[0].rung.tokens == pytest.approx(losses[:, 37:].mean())
    assert found[0].fall == pytest.approx(found[0].rung.nats[1] - found[0].rung.nats[26])


def test_rows_without_grids_have_parts():
    rows = RowFormat(vocabulary=11, row_tokens=65, seq_len=64, structural=(10,))
    tokens = np.zeros((2, 65), np.int64)
    losses = np.tile(np.arange(64) / 64, (2, 1))
    found = row_scores(rows, np.arange(2), tokens, (losses, losses < 0.5))
    assert found.nats.shape == (2, 16)
    assert found.nats[:, 1] == pytest.approx(losses[:, 3:7].mean(axis=1))  # tokens 4 to 7


@pytest.mark.parametrize(
    ("nats", "sentence"),
    [
        (
            [6.55, 6.49],
            "model has a loss of 6.52 nats a patch: it reaches the rung 'cell histogram' (6.55) and not 'lookup'"
            " (5.50). Its loss falls by 0.06 ± 0.02 from grid 2 to 3 and ends at 6.49, a histogram's at 6.50: this"
            " shows no rules learned.",
        ),
        (
            [6.33, 6.30],
            "model has a loss of 6.31 nats a patch: it reaches the rung 'cell histogram' (6.55) and not 'lookup'"
            " (5.50). Its loss falls by 0.03 ± 0.02 from grid 2 to 3 and ends at 6.30, a histogram's at 6.50: it knows"
            " what all rows share, and learns no rules from a row.",
        ),
        (
            [6.0, 4.0],
            "model has a loss of 5.00 nats a patch: it reaches the rung 'lookup' (5.50) and not 'oracle' (0.01). Its"
            " loss falls by 2.00 ± 0.02 from grid 2 to 3 and ends at 4.00, a histogram's at 6.50: it learns more from a"
            " row than its histogram.",
        ),
        (
            [12.0, 15.0],
            "model has a loss of 13.50 nats a patch, more than the 9.20 of guessing: it has not learned these ids, or"
            " has diverged.",
        ),
        (
            [9.23, 9.21],
            "model has a loss of 9.22 nats a patch, no less than the 9.20 of guessing: it has learned nothing of these"
            " rows.",
        ),
        (
            [-0.5, -0.5],
            "model has a loss of -0.50 nats a patch, less than the 0.0080 of the known rule: it is given the tokens"
            " that it predicts.",
        ),
    ],
)
def test_one_sentence_says_what_it_means(nats, sentence):
    found = ModelScore(model(nats), nats[0] - nats[-1], 0.02, 20, LADDER)
    assert found.sentence() == sentence
    assert found.to_dict()["sentence"] == sentence
    json.dumps(found.to_dict(), allow_nan=False)


def test_without_histograms_a_fall_is_not_judged():
    few = ladder(*(each for each in LADDER.rungs if each.name != "cell histogram"))
    assert (
        ModelScore(model([6.0, 4.0]), 2.0, 0.02, 20, few)
        .sentence()
        .endswith(" Its loss falls by 2.00 ± 0.02 from grid 2 to 3.")
    )
    assert ModelScore(model([6.0, 4.0]), 2.0, 0.02, 20).sentence() == (
        "model has a loss of 5.00 nats a patch, which falls by 2.00 ± 0.02 from grid 2 to 3."
    )


def test_a_model_has_its_place_among_the_rungs():
    found = ModelScore(model([6.0, 4.0], "mine"), 2.0, 0.1, 20, LADDER).among()
    assert [each.name for each in found.rungs] == ["uniform", "cell histogram", "lookup", "mine", "oracle"]
    line = next(line for line in report.text(found).splitlines() if line.startswith("mine"))
    assert line.split()[2:6] == ["5.000", "0.010", "4.750", "50.0%"]


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (
            lambda tokens: np.zeros((*tokens.shape, 200), np.float32),
            "the model has 200 ids and the rows need 258: use a larger vocabulary",
        ),
        (
            lambda tokens: np.zeros((len(tokens), 1026, IDS), np.float32),
            "logits of float32 and shape (2, 1026, 258): use floats [2, 1024, id], of token i + 1 at position i",
        ),
        (
            lambda tokens: np.where(np.arange(IDS) == 3, np.nan, np.zeros((*tokens.shape, IDS), np.float32)),
            "the loss of row 0, position 0 is nan: a working model gives 0 or more nats",
        ),
        (
            (np.full((2, POSITIONS), -1.0), np.zeros((2, POSITIONS), bool)),
            "the loss of row 0, position 0 is -1: a working model gives 0 or more nats",
        ),
        (
            (np.zeros((2, 1023)), np.zeros((2, 1023), bool)),
            "losses of shape (2, 1023): use [2, 1024], of token i + 1 at position i",
        ),
        (
            (np.zeros((3, POSITIONS)), np.zeros((3, POSITIONS), bool)),
            "predictions of shape (3, 1024) and (3, 1024) are not those of 2 rows: use [2, position, ...]",
        ),
        (
            (np.zeros((2, POSITIONS)), np.full((2, POSITIONS), 0.5)),
            "losses of float64 and hits of float64: use nats, and true for a right token",
        ),
        (np.zeros((2, POSITIONS)), "1 array of predictions: use logits, or losses and hits"),
    ],
)
def test_what_is_no_prediction_is_one_line(small, model, line):
    assert error_of(score, model, small, rows=2) == line


def scores(first, rows):
    nats = np.array([[np.nan, 0.5 + row, 0.25] for row in range(first, first + rows)])
    return RowScores(nats, nats / 10, nats[:, 1])


def test_finished_rows_are_kept_and_a_cut_line_is_not(tmp_path):
    path = tmp_path / "deep" / "state.json"
    state = RowState(path, {"model": "a"})
    state.add(scores(0, 2))
    state.add(scores(2, 1))
    text = path.read_text()
    for cut in (1, 20):
        path.write_text(text[:-cut])
        again = RowState(path, {"model": "a"})
        assert len(again) == 2
        again.add(scores(2, 1))
        assert path.read_text() == text
        assert np.array_equal(again.scores().nats, scores(0, 3).nats, equal_nan=True)
    assert len(RowState(path, {"model": "b"})) == 0
    RowState(path, {"model": "b"}).add(scores(5, 1))
    assert len(RowState(path, {"model": "b"})) == 1 and len(path.read_text().splitlines()) == 2


def test_a_damaged_state_file_is_replaced(tmp_path):
    path = tmp_path / "state.json"
    RowState(path, {}).add(scores(0, 3))
    head, first, *_ = path.read_text().splitlines(keepends=True)
    path.write_text(head + first + "no json\n" + first)
    assert len(RowState(path, {})) == 1
    path.write_bytes(b"\xff\x00 no text")
    assert len(RowState(path, {})) == 0


@pytest.mark.parametrize(
    ("package", "code", "line"),
    [
        (
            "transformers",
            "from ncagen.evaluate.run_model import run_model; run_model('nowhere', data, rows=2)",
            "scoring a model needs transformers: pip install transformers",
        ),
        (
            "matplotlib",
            "from pathlib import Path; from ncagen.evaluate.plot import plot; plot(Path('a.png'), None, [])",
            "a plot needs matplotlib: pip install -e '.[plot]' in the clone of ncagen",
        ),
    ],
)
def test_a_missing_package_is_one_line(small, package, code, line, tmp_path):
    program = f"{without(package)}\nimport ncagen\ndata = ncagen.open({str(small.folder)!r})\ntry:\n    {code}\n"
    program += "except ncagen.NcagenError as error:\n    print(error)\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (f"{line}\n", "")


def test_a_plot_is_a_picture_and_the_same_each_time(tmp_path):
    pytest.importorskip("matplotlib")
    from ncagen.evaluate.plot import plot

    for name in ("a.png", "b.png", "a.svg", "a.pdf"):
        plot(tmp_path / name, LADDER, [rung("mine", [6.0, 4.0])])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert error_of(plot, tmp_path / "a.jpeg", LADDER, []) == (
        f"{tmp_path / 'a.jpeg'} is no picture: use a name that ends in .png, .svg, .pdf"
    )
