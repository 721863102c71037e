"""`--band-normalised`: limits as shares of what noise of the same alphabet scores, from the build to the page."""

import json
import math
import re
import zlib
from fractions import Fraction

import numpy as np
import pytest
from conftest import error_of, make, run_here, spec_of
from test_view_script import node
from test_view_script import pytestmark as needs_node

import ncagen
from ncagen import philox
from ncagen.dataset.manifest import read_manifest
from ncagen.factory import claim
from ncagen.factory.check_dataset import verify
from ncagen.factory.plan import pilot
from ncagen.sources import source_of
from ncagen.sources.nca.settings import Settings
from ncagen.sources.nca.source import Nca
from ncagen.spec import BuildSpec
from ncagen.view import nca_twin, terminal, webpage

LOW, HIGH = Fraction(75, 100), Fraction(95, 100)
NAME = "normalised-0.75-0.95"
SCORED = 360  # patches of ten grids of 36


def noise_of(states: int) -> Fraction:
    """The mean score of 64 samples of noise, by zlib: patches of four uniform cells, as docs/automaton.md has them."""
    words = philox.words(0, philox.STREAMS["pilot"], philox.START_CELLS, np.arange(64, dtype=np.uint64), SCORED * 4)
    cells = (words.astype(np.uint64) * states >> 16).reshape(64, SCORED, 4)
    tokens = (cells * np.array([states**digit for digit in range(4)], np.uint64)).sum(axis=2)
    packed = (zlib.compressobj(9, zlib.DEFLATED, 31) for _ in range(64))
    sizes = [len(z.compress(row.astype("<i4").tobytes()) + z.flush()) for z, row in zip(packed, tokens, strict=True)]
    return Fraction(sum(sizes), 64)


@pytest.fixture(scope="module", params=[3, 10, 15])
def built(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("normalised") / "a"
    spec = spec_of(bands=[], band_normalised=["0.75-0.95"], states=request.param, tokens=60 * 1024, validation=1024)
    make(folder, spec)
    return folder, request.param


def test_the_band_is_exactly_the_stated_share_of_noise(built):
    folder, states = built
    manifest, noise = read_manifest(folder), noise_of(states)
    (band,) = manifest.spec.bands
    assert (band.name, band.low, band.high, band.of) == (NAME, 0.75, 0.95, str(noise))
    first, end = math.ceil(LOW * noise), math.ceil(HIGH * noise)
    assert band.limits(manifest.measure) == (first, end)
    assert band.ratios(manifest.measure) == (LOW * noise / 1440, HIGH * noise / 1440)
    for split in ("train", "validation"):
        scores = ncagen.open(folder, split).rows(range(len(ncagen.open(folder, split))))["gzip_bytes"]
        assert first <= scores.min() and scores.max() < end
    (record, *_) = manifest.records
    assert record.below > 0  # so the lower limit decided something
    scores = source_of(manifest.spec).batch((0, 0), np.arange(record.tried, dtype=np.uint64)).score
    assert (record.below, record.above) == ((scores < first).sum(), (scores >= end).sum())
    assert f'"of":"{noise}"' in manifest.spec.canonical()


def test_card_page_and_show_have_its_limits_in_the_measure_s_own_ratio(built):
    folder, states = built
    manifest, noise = read_manifest(folder), noise_of(states)
    low, high = (float(limit * noise / 1440) for limit in (LOW, HIGH))
    text = f"{low:.3f} to {high:.3f}, 0.75 to 0.95 of noise"
    assert f"| {NAME} | {text} | train | 60 |" in (folder / "README.md").read_text()
    assert (f"band {NAME}", f"gzip ratio {text}") in terminal.figures(manifest)
    page = webpage.page(folder)
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.S)[1])
    panel = next(panel for panel in data["panels"] if panel["name"] == NAME)
    assert (panel["low"], panel["high"], panel["shares"]) == (low, high, [0.75, 0.95])
    assert [Fraction(*map(int, limit)) for limit in panel["exact"]] == [LOW * noise / 1440, HIGH * noise / 1440]
    # Known bands beside it only where they do not overlap it.
    assert all(other["high"] <= low or other["low"] >= high for other in data["panels"] if other is not panel)


def test_it_is_verified_audited_and_made_again(built, tmp_path):
    folder, _ = built
    report = verify(folder, share=0.1)
    assert (report.problems, report.rows) == ([], 61) and report.rebuilt
    assert run_here("audit", folder).status == 0
    assert run_here("receipt", folder, "--out", tmp_path / "r.zst").status == 0
    assert run_here("rebuild", tmp_path / "r.zst", "--out", tmp_path / "b").status == 0
    assert read_manifest(tmp_path / "b") == read_manifest(folder)


def test_the_band_of_another_alphabet_is_refused(built, tmp_path):
    folder, states = built
    other, noise = noise_of(states + 1), noise_of(states)
    value = read_manifest(folder).spec.to_dict()
    value["bands"][0]["of"] = str(other)
    spec = BuildSpec.from_dict(value)
    line = (
        f"band '{NAME}' is normalised by {other}, and noise scores {noise} in source nca with these settings: it is"
        " another source's band"
    )
    assert error_of(ncagen.build, spec, tmp_path / "b") == line and not (tmp_path / "b").exists()


def test_verify_says_that_a_band_is_normalised_by_another_score(tmp_path, monkeypatch):
    """Every file and hash is right: only the source can tell. A build refuses such a spec, unless it is altered."""
    monkeypatch.setattr(claim, "check_bands", lambda spec: None)
    plain = spec_of(bands=[], band_normalised=["0.75-0.95"], tokens=10 * 1024, validation=0)
    value = plain.to_dict()
    value["bands"][0]["of"] = "61729/64"
    make(tmp_path / "a", BuildSpec.from_dict(value))
    assert verify(tmp_path / "a").problems == [
        f"manifest.json: band '{NAME}' is normalised by 61729/64, and noise scores {plain.bands[0].of} in source nca"
        " with these settings: it is another source's band"
    ]
    assert run_here("verify", tmp_path / "a").status == 1


@pytest.mark.parametrize("of", ["1e999999999", "0", "-3", "2/4", "61728.5", " 7", "7/0", "9" * 40])
def test_a_score_that_is_no_plain_fraction_is_refused_at_once(of):
    value = spec_of(bands=[], band_normalised=["0.75-0.95"]).to_dict()
    value["bands"][0]["of"] = of
    assert error_of(BuildSpec.from_dict, value) == (
        f"band '0.75-0.95' is normalised by {of!r}, which is not an exact score above 0"
    )


def test_a_band_above_noise_is_out_of_reach_in_both_scales():
    noise = noise_of(10)
    low, high = (float(limit * noise / 1440) for limit in (Fraction("1.1"), Fraction("1.2")))
    line = error_of(pilot, spec_of(bands=[], band_normalised=["1.1-1.2"]))
    assert line.startswith(
        f"band normalised-1.1-1.2 ({low:.3f} to {high:.3f}, 1.1 to 1.2 of noise) is out of reach of 27 grids of"
    )


@needs_node
def test_the_page_has_the_same_lengths_for_its_own_settings_and_for_others(built):
    """`bandOf` in band.js: exact limits for the dataset's settings; for other ones the same shares of their noise."""
    folder, states = built
    manifest = read_manifest(folder)
    panel = webpage.panel(manifest.spec.bands[0], manifest.measure)
    others = [other for other in (3, 10, 15) if other != states]
    twins = [nca_twin.twin(Nca(Settings(states=number)), 0) for number in (states, *others)]
    found = node(
        {"nca.js": "Nca", "band.js": "bandOf, bandLengths, bandLimits"},
        """input.twins.map((twin, i) => {
          const source = new Nca(twin), band = bandOf(input.panel, source, i === 0);
          return [bandLengths(band, source.scoredBytes), bandLimits(band)];
        })""",
        {"twins": twins, "panel": panel},
    )
    wanted = [[math.ceil(limit * noise_of(number)) for limit in (LOW, HIGH)] for number in (states, *others)]
    assert found == [[lengths, "0.75 to 0.95 of noise"] for lengths in wanted]
