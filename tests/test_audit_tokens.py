"""Audits rows that are not grids: sound rows, and rows with each injected fault."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from conftest import make
from test_second_source import SETTINGS, Digits, DigitsBatch, registered, run  # noqa: F401

from ncagen.audit import page, token_checks, token_figures
from ncagen.audit.parts import AuditedTokens, TokenPart
from ncagen.dataset.reader import Dataset
from ncagen.factory.settings import from_settings
from ncagen.philox import STREAMS
from ncagen.row_format import RowFormat, Rows

HEAD = """{folder}
rows   of source digits, 11 ids
tokens 1,025 a row, by the manifest
part   all train (train): read all of 100 rows
part   all validation (validation): read all of 10 rows

"""
CHECKS = """ok    ids         0 to 10, the highest seen is 10
ok    leakage     no row was found in both splits
ok    duplicates  no row occurs twice in a split
none  ratio       source digits has no measure
ok    n-grams     3.39 bits a token of at most 3.46; 100.0% of ids are used; the token before tells 0.00 bits
                  of one
ok    ladder      nats a token: unigram 2.35 (10% right), patch histogram 2.36 (10% right), copy 2.47 (10%
                  right)

112,750 tokens; the most common: 7 10.2%, 9 10.1%, 3 9.9%, 5 9.9%, 1 9.9%

ok: {folder}
"""
COPIED = (
    "ok    duplicates  no row occurs twice in a split",
    "look  duplicates  2 of 110 rows are copies of others, the first is all train row 7",
)
LEAKED = (
    "ok    leakage     no row was found in both splits",
    "bad   leakage     1 of 10 validation rows are in training, the first is all validation row 5",
)


@dataclass(frozen=True)
class PlantedBatch(DigitsBatch):
    """Rows of which some have the tokens of others: {(stream, candidate): (stream, candidate)}."""

    planted: tuple = ()

    def rows(self, chosen: np.ndarray) -> Rows:
        rows = super().rows(chosen)
        for (stream, candidate), (other, copied) in self.planted:
            if self.key[1] == STREAMS[stream] and candidate in rows.candidate:
                key = (self.key[0], STREAMS[other])
                found = DigitsBatch(self.source, key, np.array([copied], np.uint64), self.score).rows(np.array([0]))
                for name in ("input_ids", "ends"):
                    rows[name][rows.candidate == candidate] = found[name]
        return rows


def built(folder, monkeypatch, *planted) -> None:
    def batch(self, key, candidates, *others, **options) -> PlantedBatch:
        return PlantedBatch(self, key, candidates, np.zeros(len(candidates), np.int32), planted)

    monkeypatch.setattr(Digits, "batch", batch)
    make(folder, from_settings(SETTINGS))


def test_sound_rows(tmp_path, monkeypatch):
    built(tmp_path / "a", monkeypatch)
    assert run("audit", tmp_path / "a") == (0, (HEAD + CHECKS).format(folder=tmp_path / "a"), "")


def test_a_copied_row_is_named(tmp_path, monkeypatch):
    built(tmp_path / "a", monkeypatch, (("train", 7), ("train", 3)), (("train", 2**32 + 2), ("train", 3)))
    expected = (HEAD + CHECKS).replace(*COPIED).replace("ok: {", "look: {")
    assert run("audit", tmp_path / "a") == (0, expected.format(folder=tmp_path / "a"), "")


def test_a_leak_is_bad(tmp_path, monkeypatch):
    built(tmp_path / "a", monkeypatch, (("validation", 5), ("train", 3)))
    expected = (HEAD + CHECKS).replace(*LEAKED).replace("ok: {", "bad: {").replace("3 9.9%, 5 9.9%", "5 9.9%, 3 9.9%")
    assert run("audit", tmp_path / "a") == (1, expected.format(folder=tmp_path / "a"), "")


def test_as_json(tmp_path, monkeypatch):
    built(tmp_path / "a", monkeypatch, (("validation", 5), ("train", 0)))
    status, out, err = run("audit", tmp_path / "a", "--json", "--rows", "20")
    result = json.loads(out)
    assert (status, err, result["verdict"], result["source"]) == (1, "", "bad", str(tmp_path / "a"))
    assert (result["rows_of"], result["vocabulary"], result["row_tokens"]) == ("digits", 11, 1025)
    assert [(part["name"], part["rows"], part["looked"]) for part in result["parts"]] == [
        ("all train", 100, 20),
        ("all validation", 10, 10),
    ]
    checks = result["checks"]
    assert list(checks) == ["ids", "leakage", "duplicates", "ratio", "n-grams", "ladder"]
    assert checks["leakage"] == {
        "verdict": "bad",
        "text": "1 of 10 validation rows are in training, the first is all validation row 5",
        "whole": 1,
        "looked": 10,
    }
    assert checks["n-grams"]["tokens"] == 30 * 1025 and checks["n-grams"]["used"] == 1
    # A document end at one position in 64 and ten digits have 3.39 bits; the previous token tells nothing.
    assert checks["n-grams"]["entropy_bits"] == pytest.approx(3.39, abs=0.01)
    assert checks["n-grams"]["told_by_token_before_bits"] < 0.01


def test_part_of_the_rows_and_of_the_splits(tmp_path, monkeypatch):
    built(tmp_path / "a", monkeypatch)
    out = run("audit", tmp_path / "a", "--rows", "20")[1]
    assert "\nok    leakage     no row was found in both splits; use --rows all to be sure\n" in out
    assert "\npart   all train (train): read 20, evenly spaced, of 100 rows\n" in out
    assert "\nnone  leakage     only one split was read\n" in run("audit", tmp_path / "a", "--split", "train")[1]
    line = f"--states is for files: {tmp_path / 'a'} has a manifest that says it"
    assert run("audit", tmp_path / "a", "--states", "3") == (2, "", line)


def tokens_of(folder, **changes) -> AuditedTokens:
    """A dataset's rows of one band, treated as rows without grids."""
    parts = tuple(
        TokenPart(f"high {split}", split, Dataset(folder, split, "high")) for split in ("train", "validation")
    )
    manifest = parts[0].dataset.manifest
    return replace(AuditedTokens("a", "nca", manifest.row_format, manifest.measure, 0.67, parts), **changes)


def test_ratios_where_there_is_a_measure(smoke):
    source = tokens_of(smoke())
    found = token_figures.look(source, None)
    ratios = np.concatenate([part.dataset.rows(np.arange(part.rows))["gzip_ratio"] for part in source.parts])
    assert np.array_equal(found.ratios, ratios)
    text = f"{ratios.min():.3f} to {ratios.max():.3f}, median {np.median(ratios):.3f}"
    check = token_checks.ratios(found)
    assert (check.name, check.verdict, check.text) == ("gzip ratio", "ok", f"{text}; pure noise has 0.670")
    lines = page.token_page(found, token_checks.check(found)).splitlines()
    assert "gzip ratios of 220 rows: high 100.0%" in lines
    found = token_figures.look(tokens_of(smoke(), noise=None), None)
    assert token_checks.ratios(found).text == text
    found = token_figures.look(tokens_of(smoke(), noise=float(np.median(ratios))), None)
    check = token_checks.ratios(found)
    assert check.verdict == "look" and check.text.endswith(": as high as noise")


def test_ids_outside_the_vocabulary(smoke):
    source = tokens_of(smoke())
    found = token_figures.look(replace(source, row_format=RowFormat(10_001, 1026, 1024)), None)
    checks = {check.name: check for check in token_checks.check(found)}
    assert checks["ids"].text == (
        "220 of 220 rows have ids outside 0 to 10,000 (the highest is 10,001), the first is high train row 0"
    )
    assert checks["ids"].verdict == "bad" and "n-grams" not in checks


def test_the_end_of_a_grid_predicts_the_start_of_the_next(smoke):
    """Of 1,025 tokens with a previous token, 26 are starts of grids, known from the end of grid: about 0.2 bits."""
    found = token_figures.look(tokens_of(smoke()), None)
    assert token_checks.ngrams(found).numbers["told_by_token_before_bits"] > 0.1
