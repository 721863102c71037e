"""Adds a second source of rows: all other modules work with it without a change.

`Digits` is a minimal source: independent random digits and a document end, without a grid, a score or JavaScript. It is
built, resumed, read, verified, repaired, exported, shown and described like automata.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import error_of, make, without_waiting

import ncagen
import ncagen.evaluate
from ncagen import cli, philox, sources
from ncagen.dataset.manifest import read_manifest
from ncagen.errors import NcagenError, SpecError
from ncagen.factory.check_dataset import verify
from ncagen.factory.settings import from_settings
from ncagen.row_format import Column, Measure, RowFormat, Rows, SourceCard
from ncagen.sources.source import Option, Stage, no_stage
from ncagen.spec import BuildSpec
from ncagen.view import webpage

END = 10  # the id of a document's end


@dataclass(frozen=True)
class DigitsBatch:
    source: "Digits"
    key: tuple[int, int]
    candidates: np.ndarray
    score: np.ndarray

    def rows(self, chosen: np.ndarray) -> Rows:
        numbers, width = self.candidates[chosen], self.source.seq_len + 1
        words = philox.words(*self.key, 0, numbers, width)
        tokens = np.where(words % 64 == 0, END, words % self.source.digits).astype(np.uint16)
        ends = (tokens == END).sum(axis=1).astype(np.int32)
        return Rows({"input_ids": tokens, "candidate": numbers, "ends": ends})

    def scored_bytes(self) -> list[bytes]:
        return []


@dataclass(frozen=True)
class Digits:
    """Independent digits below `digits`, and a document end at one position in 64."""

    name: ClassVar[str] = "digits"
    version: ClassVar[int] = 1
    needs_band: ClassVar[bool] = False
    options: ClassVar[tuple[Option, ...]] = (Option("digits", int, "Digits in use.  [10]"),)
    measures: ClassVar[tuple[Measure, ...]] = ()

    seq_len: int
    digits: int = 10

    @classmethod
    def from_options(cls, options: Mapping[str, Any], seq_len: int) -> "Digits":
        return cls.from_dict(options, seq_len)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], seq_len: int) -> "Digits":
        if not 1 <= values.get("digits", 10) <= 10:
            raise SpecError(f"digits {values['digits']} is out of range: use 1 to 10")
        return cls(seq_len, **values)

    def to_dict(self) -> dict[str, Any]:
        return {"digits": self.digits}

    def for_build(self, spec: BuildSpec) -> "Digits":
        return self

    @property
    def row_format(self) -> RowFormat:
        facts = (Column("ends", "int32", "how many documents end in the row"),)
        return RowFormat(END + 1, self.seq_len + 1, self.seq_len, 0, (END,), facts)

    def check(self, device: str = "cpu") -> None:
        pass

    def devices(self, device: str = "cpu"):
        return ("cpu",)

    def batch_candidates(self, device: str = "cpu") -> int:
        return 64

    def batch(
        self,
        key: tuple[int, int],
        candidates: np.ndarray,
        at_least: int = 0,
        device: str = "cpu",
        stage: Stage = no_stage,
    ) -> DigitsBatch:
        return DigitsBatch(self, key, candidates, np.zeros(len(candidates), np.int32))

    def problems(self, rows: Rows) -> dict[str, np.ndarray]:
        return {"ends is not the number of document ends": (rows.input_ids == END).sum(axis=1) == rows["ends"]}

    def card(self) -> SourceCard:
        return SourceCard(
            row=f"{self.seq_len + 1} digits and document ends",
            details=(("digits", str(self.digits)),),
            columns=self.row_format.columns,
            pretty_name="Digits",
            tags=("synthetic",),
            what=("Digits.",),
            measure=(),
            loss=(),
            limits=("- They are random.",),
        )

    def grids(self) -> None:
        return None

    def candidate_work(self) -> int:
        return 1000

    def noise_scores(self) -> np.ndarray:
        return np.zeros(0, np.int32)

    def warnings(self, key: tuple[int, int]) -> tuple[str, ...]:
        return ()


SETTINGS = {"source": "digits", "tokens": 100 * 1024, "validation": 10 * 1024, "rows_per_shard": 40}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "digits", Digits)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """100 rows in 3 shards and 10 in 1, of the only band, which has every row."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sources.SOURCES, "digits", Digits)
        folder = tmp_path_factory.mktemp("digits") / "a"
        make(folder, from_settings(SETTINGS))
        return folder


def run(*arguments) -> tuple[int, str, str]:
    """Runs a command in this process, where the source is registered: status, stdout, and the line of an error."""
    done = CliRunner().invoke(cli.main, list(map(str, arguments)), standalone_mode=False)
    if isinstance(done.exception, NcagenError):
        return done.exception.status, done.stdout, str(done.exception)
    if done.exception:
        raise done.exception
    return done.return_value, done.stdout, without_waiting(done.stderr)


def test_its_rows_are_a_function_of_seed_and_candidate_only(folder, tmp_path):
    spec = from_settings(SETTINGS)
    data = ncagen.open(folder)
    assert (data.band, len(data)) == ("all", 100)
    assert [int(row["candidate"]) for row in data] == [
        *range(40),
        *(2**32 + n for n in range(40)),
        *(2**33 + n for n in range(20)),
    ]
    source = sources.source_of(spec)
    for row in data:
        alone = source.batch((0, 0), np.array([row["candidate"]])).rows(np.array([0]))
        assert np.array_equal(alone.input_ids[0], row["input_ids"]) and alone["ends"][0] == row["ends"]
    make(tmp_path / "b", spec, "arrow", workers=1)
    assert read_manifest(tmp_path / "b").dataset_sha256 == read_manifest(folder).dataset_sha256


def test_a_build_of_it_is_resumed_and_repaired(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "a")
    shard = copy / "data/all/train-00001-of-00003.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    assert verify(copy).problems == [f"data/all/{shard.name}: it has {len(whole) - 1} bytes, not {len(whole)}"]
    make(copy, from_settings(SETTINGS))
    assert shard.read_bytes() == whole


def test_it_is_verified_by_the_checks_of_its_source(folder, monkeypatch):
    report = verify(folder, share=1.0)
    assert (report.problems, report.rows, report.rebuilt) == ([], 110, 110)
    monkeypatch.setattr(Digits, "problems", lambda self, rows: {"it is odd": rows.candidate % 2 == 0})
    assert verify(folder).problems[0] == "data/all/train-00000-of-00003.parquet: row 1: it is odd (20 of 40 rows)"


def test_it_is_read_without_its_source(folder, monkeypatch):
    monkeypatch.delitem(sources.SOURCES, "digits")
    sources.source_of.cache_clear()
    data = ncagen.open(folder, where="ends >= 20")
    assert 0 < len(data) < 100 and all(row["ends"] >= 20 for row in data)
    batch = next(iter(ncagen.Stream(data, batch_size=4, layout=ncagen.Layout(mask_structural=True))))
    assert np.array_equal(batch["labels"][:, 1:] == -100, batch["input_ids"][:, 1:] == END)
    assert error_of(verify, folder) == f"source 'digits' is not known: this ncagen has {', '.join(sources.SOURCES)}"


def test_every_command_accepts_it(folder, tmp_path):
    build = ["build", "--source", "digits", "--tokens", "100K", "--validation", "0", "--out", tmp_path / "b"]
    status, out, err = run(*build)
    assert (status, err) == (0, "") and out.startswith("made 98 rows from 98 candidates in ")
    assert run("verify", folder, "--regenerate", "all")[1].startswith(f"ok: {folder}: 4 files, 110 rows, 110 rebuilt")
    status, out, _ = run("build", "--source", "digits", "--tokens", "100K", "--plan")
    assert status == 0 and "bands" not in out
    figures = json.loads(run("show", folder, "--json")[1])
    assert figures["parts"][0] | {"band": "all", "rows": 100} == figures["parts"][0]
    ends = ncagen.open(folder)[3]["ends"]
    assert f"row 3 (all train): candidate 3, ends {ends}\n" in run("show", folder, "--row", 3)[1]
    page = tmp_path / "page.html"
    assert run("view", folder, "--save", page)[0] == 0 and "digits" in page.read_text()
    for to in ("nanogpt", "jsonl", "mds", "olmo", "hf"):
        assert run("export", folder, "--to", to, "--out", tmp_path / to)[0] == 0, to
    assert run("receipt", folder, "--out", tmp_path / "r.zst")[0] == 0
    assert run("rebuild", tmp_path / "r.zst", "--out", tmp_path / "c")[0] == 0
    assert read_manifest(tmp_path / "c") == read_manifest(folder)


def test_its_rows_have_the_rungs_that_need_no_grids(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "a")
    status, out, _ = run("evaluate", copy, "--rows", 20)
    rungs = "uniform, unigram, patch histogram and copy"
    assert status == 0 and out.startswith("all train, 20 rows: nats a token, mean of parts 2 to 16\n")
    assert out.endswith(f"\nThese rows are not grids: {rungs} are all the rungs that they have.\n")
    found = ncagen.evaluate.ladder(ncagen.open(copy), rows=20)
    assert {rung.name: round(rung.mean, 2) for rung in found.rungs} == {
        "uniform": 2.40,
        "unigram": 2.35,
        "patch histogram": 2.36,
        "copy": 2.47,
    }
    assert run("evaluate", folder, "--rungs", "lookup")[::2] == (
        2,
        "rows of source digits have no rung 'lookup': use uniform, unigram, patch histogram, copy",
    )
    assert "What a model could know" in webpage.page(copy) and run("verify", copy)[0] == 0


def test_commands_that_need_grids_or_a_measure_refuse_it(folder):
    assert error_of(from_settings, SETTINGS | {"band": "high"}) == (
        "band 'high' selects by a measure, and source digits has none"
    )
    assert error_of(from_settings, SETTINGS | {"digits": 11}) == "digits 11 is out of range: use 1 to 10"
    assert run("show", folder, "--animate")[::2] == (2, "rows of source digits are not grids: there is nothing to play")
    assert run("show", folder, "--png", "a.png")[::2] == (
        2,
        "rows of source digits are not grids: there is nothing to draw",
    )


def test_its_card_has_the_texts_of_the_source(folder):
    card = (folder / "README.md").read_text()
    assert "pretty_name: Digits" in card and "| `ends` | int32 | how many documents end in the row |" in card
    assert "gzip" not in card and "grid" not in card
