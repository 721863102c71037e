"""The ladder's value objects: means, what a loss reaches, JSON and back."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import error_of

from ncagen.evaluate import Ladder, Rung


def rung(name: str, *nats: float, stderr: float = 0.0) -> Rung:
    values = np.array([np.nan, *nats])
    return Rung(name, values, values / 10, values * 0 + 0.1, stderr, patches=36)


def ladder() -> Ladder:
    rungs = (rung("uniform", 9.0, 9.0), rung("cell histogram", 6.5, 6.3, stderr=0.1), rung("lookup", 6.0, 5.0))
    return Ladder(rungs, rows=20, seed=0, dataset_sha256="ab", band="high", split="train")


def test_means_leave_the_first_grid_out_and_count_delimiters_as_free():
    found = rung("linear", 4.0, 2.0)
    assert (found.mean, found.last, found.mean_accuracy) == (3.0, 2.0, pytest.approx(0.3))
    assert found.trainer_mean == 3.0 * 36 / 38


@pytest.mark.parametrize(
    ("nats", "name"),
    [
        (9.5, None),
        (9.0, "uniform"),
        (6.6, "uniform"),
        (6.49, "cell histogram"),
        (5.6, "cell histogram"),
        (5.5, "lookup"),
    ],
)
def test_a_loss_reaches_the_best_rung_that_is_not_better_than_it(nats, name):
    found = ladder().reached(nats)
    assert (found and found.name) == name


@pytest.mark.parametrize(("nats", "name"), [(9.9, None), (9.5, None), (9.0, "uniform")])
def test_a_rung_that_is_worse_than_guessing_is_never_reached(nats, name):
    found = ladder()
    found = replace(found, rungs=(*found.rungs, rung("copy", 10.0, 10.0))).reached(nats)
    assert (found and found.name) == name


def test_a_ladder_is_the_same_from_json():
    again = Ladder.from_json(ladder().to_json())
    assert again.to_json() == ladder().to_json()
    assert np.isnan(again["lookup"].nats[0]) and again["lookup"].nats[1] == 6.0
    with pytest.raises(KeyError):
        ladder()["linear"]


def test_what_is_no_ladder_is_refused():
    assert error_of(Ladder.from_json, "{").startswith("a ladder is no JSON: ")
    assert error_of(Ladder.from_json, '{"rungs": []}').startswith("a ladder is incomplete: ")
    assert error_of(Rung.from_dict, {"nats": [1.0]}) == "a rung is incomplete: 'accuracy'"
    values = ladder().rungs[0].to_dict() | {"nats": [1.0]}
    assert error_of(Rung.from_dict, values) == "a rung is incomplete: its arrays have different lengths"
