"""Compares the automaton with the paper's released code, by data that the code made (tests/data/README.md)."""

from pathlib import Path

import numpy as np
import pytest

from ncagen import philox
from ncagen.deflate.lengths import token_gzip_lengths
from ncagen.selection import BANDS
from ncagen.sources import grid_tokens
from ncagen.sources.nca import batch, definition, rules
from ncagen.sources.nca.rules import HIDDEN_SCALE, OUTPUT_SCALE, PERCEPTION_SCALE, Rules
from ncagen.sources.nca.settings import Settings

DATA = Path(__file__).parent / "data"
SHARES = {"below": (0.0, 0.2), **BANDS}


def integer_rules(data) -> Rules:
    """Converts the reference's float kernels to integers: standard deviation 1, times each layer's scale, rounded."""

    def rounded(kernel, fan_in, scale):
        return np.round(kernel.astype(np.float64) * np.sqrt(fan_in) * scale).astype(np.int16)

    return Rules(
        rules.fold_wrap(rounded(data["perception_kernel"], 9 * 12, PERCEPTION_SCALE)),
        rounded(data["hidden_kernel"][:, 0, 0], 4, HIDDEN_SCALE).transpose(0, 2, 1),
        rounded(data["output_kernel"][:, 0, 0], 16, OUTPUT_SCALE).transpose(0, 2, 1),
    )


def float_logits(data, grids):
    """Computes the network in float64, from the paper's description. grids: uint8[rule, row, column]."""
    one_hot = np.eye(10)[grids]
    wrapped = np.pad(one_hot, [(0, 0), (1, 1), (1, 1), (1, 1)], mode="wrap")
    perception = np.zeros((*grids.shape, 4))
    for row in range(3):
        for column in range(3):
            window = wrapped[:, row : row + 12, column : column + 12]
            kernel = data["perception_kernel"][:, row, column].astype(np.float64)
            perception += np.einsum("ryxc,rcj->ryxj", window, kernel)
    hidden = np.einsum("ryxc,rcj->ryxj", perception, data["hidden_kernel"][:, 0, 0].astype(np.float64))
    output = data["output_kernel"][:, 0, 0].astype(np.float64)
    return np.einsum("ryxj,rjs->ryxs", np.maximum(hidden, 0), output)


def test_one_step_agrees_with_the_released_network():
    data = np.load(DATA / "rules.npz")
    ours = integer_rules(data)
    agreed = decided = cells = same = 0
    for step in range(37):
        grids, following = data["states"][:, step], data["states"][:, step + 1]
        best = np.sort(float_logits(data, grids), axis=-1)
        clear = best[..., -1] - best[..., -2] > 1e-3
        right = definition.logits(ours, grids).argmax(axis=-1) == following
        agreed += int((right & clear).sum())
        decided += int(clear.sum())
        same += int(right.sum())
        cells += right.size
    print(f"agreement {agreed / decided:.6f} of {decided} clear cells, {same / cells:.6f} of all {cells}")
    assert decided > 300_000
    assert agreed / decided >= 0.999
    assert same / cells >= 0.998


def test_weights_have_the_spread_of_the_released_weights():
    data = np.load(DATA / "rules.npz")
    settings = Settings()
    drawn = rules.sample_rules(settings, (0, 0), np.arange(2000, dtype=np.uint64))
    theirs = integer_rules(data)
    for name, ours, reference in zip(Rules._fields, drawn, theirs, strict=True):
        assert ours.shape[1:] == reference.shape[1:], name
        assert abs(ours.std() / reference.std() - 1) < 0.04, name
        assert abs(int(ours.max()) - int(reference.max())) <= 0.03 * ours.max(), name


def test_temperature_and_bias_are_in_the_units_of_the_network():
    data = np.load(DATA / "rules.npz")
    grids = data["states"][:, 5]
    ours = definition.logits(integer_rules(data), grids).astype(np.float64)
    unit = rules.logit_units(Settings(), 1.0)
    assert np.abs(ours / unit - float_logits(data, grids)).max() < 3e-3


def test_tokens_and_scores_are_the_released_tokenizers():
    data = np.load(DATA / "tokens.npz")
    settings = Settings()
    patches = grid_tokens.patch_tokens(settings, data["grids"])
    assert (grid_tokens.rows(settings, patches) == data["tokens"]).all()
    assert (grid_tokens.grids(settings, data["tokens"]) == data["grids"]).all()
    lengths = token_gzip_lengths(np.ascontiguousarray(patches[:, :10]).reshape(48, 360))
    assert (lengths / 1440 == data["gzip_ratio"]).all()


def lengths_of(settings: Settings, candidates: int) -> np.ndarray:
    key = 0, philox.STREAMS["pilot"]
    parts = np.arange(candidates, dtype=np.uint64).reshape(-1, 1000)
    return np.concatenate([batch.run(settings, key, part).score for part in parts])


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """The two-sample statistic: the largest distance between the two distribution functions."""
    points = np.union1d(a, b)
    ranks = [np.searchsorted(np.sort(sample), points, side="right") / len(sample) for sample in (a, b)]
    return float(np.abs(ranks[0] - ranks[1]).max())


@pytest.mark.parametrize(
    ("reference", "settings", "candidates", "distance"),
    [
        ("colors10_tau1e-4", {}, 50_000, 0.016),
        ("colors5_tau1e-4", {"states": 5}, 20_000, None),
        ("colors15_tau1e-4", {"states": 15}, 20_000, None),
        ("colors2_tau1e-4", {"states": 2}, 20_000, None),
        ("colors10_tau1e-3", {"temperature": 1e-3}, 20_000, None),
        ("colors10_tau1", {"temperature": 1.0}, 2_000, None),
        ("colors10_identity1_tau1e-4", {"identity_bias": 0.1}, 20_000, None),
    ],
)
def test_gzip_ratios_are_distributed_as_the_released_filters(reference, settings, candidates, distance):
    theirs = np.round(np.load(DATA / "ratios.npz")[reference].astype(np.float64) * 1440).astype(int)
    ours = lengths_of(Settings(**settings), candidates)
    found = kolmogorov_smirnov(ours, theirs)
    # The default distance: the 0.1 % critical value of the statistic for these sample sizes.
    allowed = distance or 1.95 * np.sqrt(1 / len(ours) + 1 / len(theirs))
    shares = {
        name: (
            float(((ours >= low * 1440) & (ours < high * 1440)).mean()),
            float(((theirs >= low * 1440) & (theirs < high * 1440)).mean()),
        )
        for name, (low, high) in SHARES.items()
    }
    print(f"{reference}: KS {found:.4f} (allowed {allowed:.4f}), n = {len(ours)} and {len(theirs)}, shares {shares}")
    assert found <= allowed
    # One percentage point, or the sampling error of a share in a reference of 2,000 or 3,000.
    point = max(0.01, 3.3 * np.sqrt(0.25 / len(theirs)) if len(theirs) < 10_000 else 0.0)
    for name, (mine, reference_share) in shares.items():
        assert abs(mine - reference_share) <= point, (name, mine, reference_share)
