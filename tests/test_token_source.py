"""The base of token sources: the score of the NCA, bands by it and by shares of noise, errors with exact texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest
from conftest import error_of, make

pytest.importorskip("numba")

import ncagen
from ncagen import philox, sources
from ncagen.dataset.manifest import read_manifest
from ncagen.deflate.lengths import gzip_length
from ncagen.deflate.noise import noise_lengths
from ncagen.errors import SelfCheckFailed
from ncagen.factory.check_dataset import verify
from ncagen.factory.settings import from_settings
from ncagen.row_format import SourceCard
from ncagen.selection import Band
from ncagen.sources.source import Option
from ncagen.sources.token_source import Range, TokenSource


@dataclass(frozen=True)
class Runs(TokenSource):
    """Letters, each drawn anew at one position in `run`, elsewhere the one before."""

    name: ClassVar[str] = "runs"
    version: ClassVar[int] = 1
    options: ClassVar[tuple[Option, ...]] = (Option("letters", int, "Letters in use.  [26]"), Option("run", int, "[4]"))
    ranges: ClassVar[Mapping[str, Range]] = {"letters": (int, 1, 60_000), "run": (int, 1, 100)}

    letters: int = 26
    run: int = 4

    @property
    def alphabet(self) -> int:
        return self.letters

    def tokens(self, key, candidates):
        words = philox.words(*key, 0, candidates, 2 * self.row_tokens).reshape(len(candidates), -1, 2)
        fresh = words[:, :, 0] % self.run == 0
        fresh[:, 0] = True
        at = np.maximum.accumulate(np.where(fresh, np.arange(self.row_tokens), 0), axis=1)
        return np.take_along_axis(words[:, :, 1] % self.letters, at, axis=1).astype(self.row_format.token_dtype)

    def card(self):
        return SourceCard("letters in runs", (), self.row_format.columns, "Runs", (), ("Runs.",), (), (), ())


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "runs", Runs)


def spec(**settings):
    return from_settings({"source": "runs", "tokens": 40 * 128, "validation": 0, "seq_len": 128} | settings)


def test_a_row_is_scored_by_its_first_360_tokens_as_int32(tmp_path):
    make(tmp_path / "a", spec(seq_len=1024))
    for row in list(ncagen.open(tmp_path / "a"))[:5]:
        text = row["input_ids"][:360].astype("<u4").tobytes()
        assert row["gzip_bytes"] == gzip_length(text)
        assert row["gzip_ratio"] == np.float32(gzip_length(text) / 1440)
    assert spec().source.to_dict() == {"name": "runs", "version": 1, "letters": 26, "run": 4}


def test_every_candidate_is_a_row_unless_a_band_is_given(tmp_path):
    make(tmp_path / "all", spec())
    make(tmp_path / "some", spec(band="0.19-0.3"))
    everything, some = ncagen.open(tmp_path / "all"), ncagen.open(tmp_path / "some")
    assert [int(row["candidate"]) for row in everything] == list(range(40))
    fitting = [int(row["candidate"]) for row in everything if 0.19 <= row["gzip_bytes"] / 516 < 0.3]
    assert 0 < len(fitting) < 40 and fitting == [int(row["candidate"]) for row in some][: len(fitting)]
    assert verify(tmp_path / "some", share=1.0).problems == []


def test_a_normalised_band_is_a_share_of_what_noise_scores(tmp_path):
    made = spec(band_normalised="0.5-0.55")
    noise = noise_lengths(26, 1, 129, "uint16")
    [band] = made.bands
    assert band == Band("normalised-0.5-0.55", 0.5, 0.55, str(Fraction(int(noise.sum()), 64)))
    make(tmp_path / "a", made)
    for row in ncagen.open(tmp_path / "a"):
        assert 0.5 <= row["gzip_bytes"] / noise.mean() < 0.55
    assert read_manifest(tmp_path / "a").spec == made
    assert error_of(spec, band_normalised="high") == (
        "normalised band 'high' has no limits: use shares of what noise scores, as in 0.75-0.95"
    )


def test_a_test_split_has_rows_of_its_own_and_may_stand_alone(tmp_path):
    make(tmp_path / "both", spec(test=3 * 128))
    make(tmp_path / "alone", spec(tokens=None, test=3 * 128))
    both, alone = (ncagen.open(tmp_path / name, split="test") for name in ("both", "alone"))
    assert [row["input_ids"].tolist() for row in both] == [row["input_ids"].tolist() for row in alone]
    train = [row["input_ids"].tolist() for row in ncagen.open(tmp_path / "both")]
    assert len(both) == 3 and both[0]["input_ids"].tolist() not in train
    assert read_manifest(tmp_path / "alone").splits == ["test"]


def test_wrong_rows_are_found():
    source = sources.source_of(spec())
    rows = source.batch((0, 0), np.arange(3, dtype=np.uint64)).rows(np.arange(3))
    assert all(right.all() for right in source.problems(rows).values())
    rows["input_ids"][1, 5] = 26
    found = {text: right.tolist() for text, right in source.problems(rows).items() if not right.all()}
    assert found["tokens are not ids from 0 to 25"] == [True, False, True]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"letters": 0}, "letters 0 is out of range: use 1 to 60000"),
        ({"letters": "x"}, "letters 'x' is not a whole number"),
        ({"tokens": 0}, "tokens '0' is too few: use 1 or more, as in 164M"),
    ],
)
def test_bad_settings_are_one_line(settings, text):
    assert error_of(spec, **settings) == text


def test_a_device_and_a_wrong_machine_are_refused(monkeypatch):
    source = sources.source_of(spec())
    assert error_of(source.check, "cuda") == "--device cuda does not make rows of source runs: use --device cpu"
    assert error_of(source.check, "tpu") == "--device tpu is not known: use cpu"
    monkeypatch.setattr(Runs, "self_check", lambda self: False)
    with pytest.raises(SelfCheckFailed, match="rows of source runs are not those of its definition; no row was made"):
        Runs(seq_len=77).check()
