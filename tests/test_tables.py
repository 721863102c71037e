"""Tests the tables of weights, start weights and noise: hashes, margins to a rounding limit, and the bounds they give.

A table is computed in double precision, whose last bits differ between platforms. That cannot move an entry unless its
exact value is about as close to a rounding limit as the error of double precision. Both are measured here.
"""

import hashlib
import math
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from statistics import NormalDist

import numpy as np
import pytest

from ncagen.sources.nca import rules
from ncagen.sources.nca.settings import Settings

NORMAL = NormalDist()
SCALES = rules.PERCEPTION_SCALE, rules.HIDDEN_SCALE, rules.OUTPUT_SCALE
NAMES = (*SCALES, "start", "gumbel")
MARGIN = 10**6  # times the error of double precision: the least distance of a value from a rounding limit

DIGITS = 45
PI = Decimal("3.1415926535897932384626433832795028841971693993751")
HALF = Decimal("0.5")

SHA256 = {
    800: "81e75eed787a26a3efe86c0586519720c93cf8e72368b34209bc486ef4751338",
    7200: "ecca09dce91a7be5cc5edc25d6c74591e8df3bb9d4a6be415808f5318b7bfd7a",
    1024: "04178499292c8570833551b63b11ba525f300b98e6d8e53dd058911b933d56ab",
    "start": "6bd08380dd30e0ea0886b2f1f6e3494c49b66c7b5e146f436e90a3600d7293f2",
    "gumbel": "5ef79f4e2a810aa2fa678d7a13cc63a43a1deb469429514f5aa7f6c01e53626e",
}


def table(name):
    """The table under test, as int64[65536]."""
    made = {"start": rules.start_table, "gumbel": rules.gumbel_table}.get(name) or (lambda: rules.weight_table(name))
    return made().astype(np.int64)


@cache
def doubles(name):
    """The values of the table before rounding, by the same formulas in double precision: float64[65536]."""
    if name == "gumbel":
        return np.array([-(2**rules.GUMBEL_SHIFT) * math.log(-math.log((w + 0.5) / 65536)) for w in range(65536)])
    tail = 0.0 if name == "start" else NORMAL.cdf(-2.0)
    step = (1.0 - 2.0 * tail) / 65536
    lower = [NORMAL.inv_cdf(tail + step * (w + 0.5)) for w in range(32768)]
    values = np.array(lower + [-z for z in reversed(lower)])
    if name == "start":
        return np.array([rules.START_SCALE * math.exp(z) for z in values])
    return name / float(rules.TRUNCATED_DEVIATION) * values


def distances(name):
    """The distance of each value from the nearest rounding limit: float64[65536]."""
    values = doubles(name)
    return np.abs(values - np.floor(values) - 0.5)


def unit(name):
    """The unit of distances and errors: those of the exponential grow with its value. float64[65536]."""
    return doubles(name) if name == "start" else np.ones(65536)


def density(z):
    return (-z * z / 2).exp() / (2 * PI).sqrt()


def distribution(z):
    """The standard normal distribution function by its series, which has no cancellation: all terms have one sign."""
    term = total = z
    odd = 1
    while abs(term) > Decimal(10) ** -DIGITS:
        odd += 2
        term = term * z * z / odd
        total += term
    return HALF + density(z) * total


@cache
def exact(name, w):
    """Entry w before rounding, to about 35 digits."""
    with localcontext() as context:
        context.prec = DIGITS
        q = (w + HALF) / 65536
        if name == "gumbel":
            return -(2**rules.GUMBEL_SHIFT) * (-q.ln()).ln()
        tail = Decimal(0) if name == "start" else distribution(Decimal(-2))
        p = tail + (1 - 2 * tail) * q
        z = Decimal(NORMAL.inv_cdf(float(p)))
        for _ in range(2):  # Newton: each step doubles the correct digits
            z -= (distribution(z) - p) / density(z)
        if name == "start":
            return rules.START_SCALE * z.exp()
        deviation = (1 - 4 * density(Decimal(2)) / (1 - 2 * tail)).sqrt()
        return name * z / deviation


def sample(name):
    """Every 32nd entry, both ends, and the 100 values nearest to a rounding limit."""
    nearest = np.argsort(distances(name))[:100].tolist()
    return sorted({*range(0, 65536, 32), 65535, *nearest})


@pytest.mark.parametrize("name", NAMES)
def test_pinned(name):
    dtype = "<i4" if name in ("start", "gumbel") else "<i2"
    assert hashlib.sha256(table(name).astype(dtype).tobytes()).hexdigest() == SHA256[name]


@pytest.mark.parametrize("name", NAMES)
def test_no_platform_can_round_differently(name):
    error = max(abs(float(Decimal(doubles(name)[w].item()) - exact(name, w))) / unit(name)[w] for w in sample(name))
    assert 0 < error < 1e-11
    assert (distances(name) / unit(name)).min() > MARGIN * error


@pytest.mark.parametrize("name", NAMES)
def test_entries_are_the_exact_values_rounded(name):
    entries = table(name)
    assert all(entries[w] == int(exact(name, w).to_integral_value()) for w in sample(name))
    assert (entries == np.rint(doubles(name))).all()


def test_truncated_deviation():
    with localcontext() as context:
        context.prec = DIGITS
        two = Decimal(2)
        exactly = (1 - 4 * density(two) / (1 - 2 * distribution(-two))).sqrt()
        assert abs(exactly - rules.TRUNCATED_DEVIATION) < Decimal("1e-16")


@pytest.mark.parametrize("scale", SCALES)
def test_weights_are_symmetric_with_variance_one(scale):
    weights = table(scale)
    assert (weights == -weights[::-1]).all()
    assert (np.diff(weights) >= 0).all()
    assert (weights**2).mean() / scale**2 == pytest.approx(1, abs=1e-3)
    assert weights[-1] <= round(2 * scale / float(rules.TRUNCATED_DEVIATION))


def test_start_and_gumbel_distributions():
    start, gumbel = table("start") / rules.START_SCALE, table("gumbel") / 2**rules.GUMBEL_SHIFT
    assert start.min() > 0
    assert np.log(start).mean() == pytest.approx(0, abs=1e-3)
    assert np.log(start).var() == pytest.approx(1, abs=1e-3)
    assert (np.diff(gumbel) >= 0).all()
    assert gumbel.mean() == pytest.approx(0.5772156649, abs=1e-3)
    assert gumbel.var() == pytest.approx(math.pi**2 / 6, abs=1e-2)


def test_network_stays_inside_its_integers():
    """The bounds that the docstring of `rules` states, from the tables themselves."""
    perception, hidden, output = (int(np.abs(table(scale)).max()) for scale in SCALES)
    channel = 2 * rules.NEIGHBOURS * perception
    total = rules.PERCEPTION_CHANNELS * channel * hidden
    unit = total >> rules.HIDDEN_SHIFT
    logit = rules.HIDDEN_UNITS * unit * output
    assert (perception, output, channel) == (1819, 2328, 32742)
    assert hidden <= 16371
    assert channel < 2**15
    assert total <= 2_144_077_128 < 2**31
    assert unit <= 32715 < 2**15
    assert logit <= 1_218_568_320 < 2**31


@pytest.mark.parametrize("wrap", [True, False])
def test_logit_bias_and_noise_stay_inside_int32(wrap):
    """At the limits of the settings, for every alphabet: also the sum that decides whether noise can matter."""
    least, most = int(table("gumbel")[0]), int(table("gumbel")[-1])
    largest = 0
    for states in range(2, 257):
        settings = Settings(states=states, patch=1, channel_wrap=wrap)
        temperature, bias = rules.logit_units(settings, 1.0), rules.logit_units(settings, 10.0)
        assert rules.logit_units(settings, -10.0) == -bias
        reach = (most * temperature >> rules.GUMBEL_SHIFT) - (least * temperature >> rules.GUMBEL_SHIFT)
        largest = max(largest, 1_218_568_320 + bias + reach)
        assert most * temperature < 2**53
    assert largest < 2**31


@pytest.mark.parametrize("value", [1e-4, 1e-3, 1.0, -0.3, 0.0, 1e-300])
def test_logit_units_are_rounded_from_the_exact_root(value):
    for states in (2, 7, 10, 15, 254, 256):
        for wrap in (True, False):
            settings = Settings(states=states, patch=1, channel_wrap=wrap)
            found = rules.logit_units(settings, value)
            square = (90000 * Fraction(repr(value))) ** 2 * 576 * (states + 2 * wrap)
            assert (abs(found) - Fraction(1, 2)) ** 2 <= square or found == 0
            assert square <= (abs(found) + Fraction(1, 2)) ** 2
            assert found * value >= 0
