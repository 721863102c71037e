"""Tests the page in headless Chromium: its rows equal those of a build, and every control works as labelled.

`test_view_script` runs the same scripts in node, with more settings.
"""

import json
import re
import shutil
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from conftest import make
from test_second_source import SETTINGS as DIGITS
from test_second_source import Digits
from test_view_script import made_by_python

import ncagen
from ncagen import philox, sources
from ncagen.dataset.manifest import read_manifest
from ncagen.evaluate import ladder
from ncagen.factory.settings import from_settings
from ncagen.row_format import RowFormat
from ncagen.sources.nca.settings import Settings
from ncagen.view import figures, server, webpage
from ncagen.view.grids import drawable
from ncagen.view.palette import palette
from ncagen.view.webpage import page as page_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
try:
    from playwright.sync_api import sync_playwright
except ModuleNotFoundError:
    sync_playwright = None

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"),
    pytest.mark.skipif(sync_playwright is None, reason="playwright is not installed: pip install -e '.[test]'"),
]

# Switches off the browser's background requests.
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
QUIET += ["--disable-sync", "--no-first-run"]

SMALL = {"tokens": 60 * 1024, "validation": 0, "rows_per_shard": 40}
OTHERS = {
    "paper-5": {"bands": ["0.1-0.5"], "preset": "paper", "states": 5, "seed": 2**32 - 1},
    "odd-15": {
        "bands": ["low", "high"],
        "states": 15,
        "grid": 8,
        "stride": 2,
        "warmup": 3,
        "channel_wrap": False,
        "identity_bias": 0.1,
        "trajectories_per_rule": 3,
        "seq_len": 2048,
    },
    "large": {"bands": ["0-1"], "states": 3, "grid": 80, "patch": 4, "tokens": 4 * 1024, "warmup": 2},
    **{f"states-{n}": {"bands": ["0.05-0.3"], "states": n, "tokens": 4 * 1024} for n in (2, 3, 5, 10, 15)},
    "rectangle": {"bands": ["high"], "grid": "6x10", "facts": "period,entropy"},
    "patch-3": {"bands": ["0-1"], "states": 3, "grid": 9, "patch": 3, "temperature": 0.01},
}
# Each for a test of its own.
SPECIAL = {
    "normalised": {"band_normalised": ["0.75-0.95"], "states": 3, "tokens": 20 * 1024},
    "test-alone": {"bands": ["high"], "tokens": 0, "test": 20 * 1024},
    "long": {"bands": ["0-1"], "tokens": 3 * 2**17, "seq_len": "128k"},
}


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def saved(smoke, tmp_path_factory):
    """saved(name): a dataset's folder and its page as a file; "smoke", or one of OTHERS or SPECIAL."""
    made: dict[str, tuple[Path, Path]] = {}

    def find(name: str = "smoke") -> tuple[Path, Path]:
        if name not in made:
            place = tmp_path_factory.mktemp("page")
            folder = smoke() if name == "smoke" else place / name
            if name != "smoke":
                make(folder, from_settings(SMALL | (OTHERS | SPECIAL)[name]))
            made[name] = folder, place / f"{name}.html"
            made[name][1].write_text(page_of(folder), encoding="utf-8")
        return made[name]

    return find


@pytest.fixture
def opened(browser, saved):
    """opened(place, ...): opens a file or a URL; asserts that it makes no error, and no request except for itself."""
    contexts, wrong = [], []

    def open_page(place: Path | str | None = None, link: str = "", **options):
        address = place if isinstance(place, str) else (place or saved()[1]).as_uri()
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith(address) or wrong.append(request.url))
        page.goto(address + link)
        until(page, "ncagen.rows.row && (ncagen.live?.panels || []).every((panel) => panel.candidate !== undefined)")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def until(page, truth: str, seconds: float = 20) -> None:
    """Waits for an expression. Playwright's wait_for_function evaluates text in the page, which its policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(truth):
        assert time.monotonic() < end, truth
        page.wait_for_timeout(20)


ROWS = """([stream, values, candidates]) => candidates.map((candidate) => {
  const { tokens, gzipBytes } = ncagen.makeRow(ncagen.source.changed(values), stream, BigInt(candidate));
  return [[...tokens], gzipBytes];
})"""


@pytest.mark.parametrize("name", ["smoke", *(name for name in OTHERS if not name.startswith("states-"))])
def test_rows_are_the_dataset_s_bit_for_bit(opened, saved, name):
    """Rows of each band, 300 in all."""
    folder, path = saved(name)
    page = opened(path)
    for band in read_manifest(folder).spec.bands:
        rows = ncagen.open(folder, band=band.name)
        wanted = rows.rows(np.arange(min(60, len(rows))))
        made = page.evaluate(ROWS, [philox.STREAMS["train"], {}, [str(c) for c in wanted["candidate"]]])
        assert [row for row, _ in made] == wanted["input_ids"].tolist()
        assert [length for _, length in made] == wanted["gzip_bytes"].tolist()


OTHER = {"states": "7", "grid": "24", "seed": "99"}


def test_rows_of_validation_and_of_other_settings_equal_those_of_a_build(opened):
    page, numbers = opened(), np.array([0, 5, 2**32 + 9, 2**63], np.uint64)
    for stream, changes, chosen in (
        ("validation", {}, Settings()),
        ("train", OTHER, Settings(states=7, height=24, width=24)),
    ):
        made = page.evaluate(ROWS, [philox.STREAMS[stream], changes, [str(number) for number in numbers]])
        assert made == made_by_python(chosen, (int(changes.get("seed", 0)), philox.STREAMS[stream]), numbers)


def test_the_animation_shows_the_row(opened, saved):
    """The squares, stepped by hand, show the stored grids in order; the live length of the first ten is the row's."""
    page = opened(link="#speed=1", reduced_motion="reduce")
    folder, _ = saved()
    for name in ("medium", "high"):
        panel = f"ncagen.live.panels.find((panel) => panel.band.name === {name!r})"
        candidate = page.evaluate(f"String({panel}.candidate)")
        rows = ncagen.open(folder, band=name)
        shown = next(row for row in rows if str(row["candidate"]) == candidate)
        grids = drawable(rows.manifest, "draw").cells(shown["input_ids"][None])[0]
        page.click("#again")
        for frame, grid in enumerate(grids[:12]):
            assert page.evaluate(f"[...{panel}.automaton.cells]") == grid.ravel().tolist()
            assert pixels(page, f"{panel}.canvas") == grid.ravel().tolist()
            if frame == 9:
                assert page.evaluate(f"{panel}.liveBytes") == shown["gzip_bytes"]
            page.click("#step")
        assert page.evaluate(f"{panel}.gzipBytes") == shown["gzip_bytes"]
        text = page.evaluate(f"{panel}.texts.ratio.textContent")
        assert abs(float(text) - shown["gzip_ratio"]) < 0.00051


def pixels(page, canvas: str) -> list[int]:
    """The states of the colours on a square's canvas."""
    values = page.evaluate(
        f"""(() => {{
          const {{ width, height }} = {canvas}, copy = document.createElement("canvas");
          Object.assign(copy, {{ width, height }});
          const context = copy.getContext("2d", {{ willReadFrequently: true }});
          context.drawImage({canvas}, 0, 0);
          return [...context.getImageData(0, 0, width, height).data];
        }})()"""
    )
    colours = [(*colour, 255) for colour in palette(10)]
    return [colours.index(tuple(values[i : i + 4])) for i in range(0, len(values), 4)]


def steps(page) -> list[int]:
    return page.evaluate("ncagen.live.panels.map((panel) => panel.automaton.step)")


def candidates(page) -> list[str]:
    return page.evaluate("ncagen.live.panels.map((panel) => String(panel.candidate))")


def settled(page) -> None:
    """Waits until every panel has found a rule."""
    until(page, "ncagen.live.panels.every((panel) => !/Looking/.test(panel.note.textContent))")
    page.wait_for_timeout(300)


def test_every_control_of_the_automata(opened):
    page = opened()
    settled(page)
    play = page.locator("#play")
    assert play.inner_text().startswith("Pause")
    before = steps(page)
    until(page, f"ncagen.live.panels[0].automaton.step > {before[0] + 2}")
    play.click()
    assert play.inner_text().startswith("Play")
    still = steps(page)
    page.wait_for_timeout(300)
    assert steps(page) == still
    page.click("#step")
    assert steps(page) == [step + 1 for step in still]
    page.click("#again")
    assert steps(page) == [10, 10, 10]

    before = candidates(page)
    for i, square in enumerate(page.locator(".square").all()):
        square.click()
        until(page, f"String(ncagen.live.panels[{i}].candidate) !== {before[i]!r}")
    before = candidates(page)
    page.click("#others")
    until(page, f"ncagen.live.panels.every((panel, i) => String(panel.candidate) !== {before}[i])")

    page.locator("#speed").fill("60")
    assert page.locator("#speed-out").inner_text() == "60 a second"
    assert "speed=60" in page.url

    page.select_option("#states", "5")
    page.select_option("#grid", "24")
    settled(page)
    assert page.evaluate("ncagen.live.panels.map((p) => [p.source.settings.states, p.canvas.width])") == [[5, 24]] * 3
    assert "states=5" in page.url and "grid=24" in page.url
    assert page.locator("#settings-note").inner_text().startswith("Not the dataset")
    page.fill("#seed", "4294967296")
    page.press("#seed", "Enter")
    note = page.locator("#settings-note")
    assert note.inner_text() == "Seed 4294967296 is out of range: use 0 to 4294967295."
    page.fill("#seed", "77")
    page.press("#seed", "Enter")
    until(page, "location.hash.includes('seed=77')")
    page.click("#reset")
    until(page, "location.hash.includes('seed=0&states=10&grid=12')")
    assert page.locator("#reset").is_disabled()
    page.click("#link")
    until(page, "/link/.test(document.getElementById('settings-note').textContent)")


def test_every_key_of_the_automata(opened):
    page = opened()
    settled(page)
    page.keyboard.press("Space")
    assert not page.evaluate("ncagen.live.playing")
    still = steps(page)
    page.keyboard.press("ArrowRight")
    assert steps(page) == [step + 1 for step in still]
    page.keyboard.press("0")
    assert steps(page) == [10, 10, 10]
    before = candidates(page)
    page.keyboard.press("3")
    until(page, f"String(ncagen.live.panels[2].candidate) !== {before[2]!r}")
    assert candidates(page)[:2] == before[:2]
    page.keyboard.press("r")
    until(page, f"ncagen.live.panels.every((panel, i) => String(panel.candidate) !== {before}[i])")
    page.locator(".square").first.focus()
    before = candidates(page)
    page.keyboard.press("Enter")
    until(page, f"String(ncagen.live.panels[0].candidate) !== {before[0]!r}")


def test_another_rule_is_never_the_one_that_is_shown(opened):
    page = opened()
    settled(page)
    for first in ("0", "0.999999"):  # the first and the last of the sample, again and again
        page.evaluate(f"Math.random = () => {first}")
        for _ in range(3):
            before = candidates(page)
            page.keyboard.press("3")
            until(page, f"String(ncagen.live.panels[2].candidate) !== {before[2]!r}")


def test_a_link_shows_the_same_again(opened):
    page = opened(link="#seed=7&states=6&grid=8&speed=30&low=12345&medium=18446744073709551615&high=5")
    assert candidates(page) == ["12345", "18446744073709551615", "5"]
    assert page.evaluate("[ncagen.live.source.values, ncagen.live.speed]") == [
        {"seed": "7", "states": "6", "grid": "8"},
        30,
    ]
    again = opened(link="#" + page.url.partition("#")[2])
    assert candidates(again) == candidates(page)
    assert again.url == page.url


@pytest.mark.parametrize(
    "link", ["#states=1e3&grid=-1&seed=x&speed=NaN&high=2e5", "#%%%", "#high=18446744073709551616"]
)
def test_a_wrong_link_shows_the_dataset(opened, link):
    page = opened(link=link)
    assert page.evaluate("ncagen.live.own && ncagen.live.speed") == 8
    assert page.evaluate("ncagen.live.panels[2].note.textContent").startswith("Row ")


def test_every_control_of_the_rows(opened, saved):
    page = opened()
    title, check = page.locator("#rows .title"), page.locator("#rows .note[role=status]")

    def same(number: int, band: str) -> None:
        row = ncagen.open(saved()[0], band=band)[number]
        until(page, "document.querySelector('#rows .note[role=status]').className === 'note good'")
        assert title.inner_text().startswith(f"Row {number} of 200 ({band}): candidate {row['candidate']}, ")
        assert check.inner_text().endswith("all 1,026 tokens and the gzip length are those of the stored row.")

    same(0, "high")
    page.click("#rows button:text('Next')")
    same(1, "high")
    page.click("#rows button:text('Previous')")
    page.click("#rows button:text('Previous')")
    same(199, "high")
    page.locator("#rows input").fill("100")
    same(100, "high")
    page.select_option("#rows select", "medium")
    same(0, "medium")

    film, tip = page.locator(".film canvas"), page.locator("#tip")
    film.hover(position={"x": 4, "y": 30})
    token = page.evaluate("ncagen.rows.row.patches[0][0]")
    assert tip.inner_text().split("\n")[0] == f"token {token}"
    assert tip.inner_text().split("\n")[1] == f"{token % 10} {token // 10 % 10}"
    page.mouse.move(5, 5)
    assert tip.is_hidden()
    film.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "PageDown"):
        film.press(key)
    assert page.evaluate("ncagen.rows.film.place") == {"frame": 1, "patch": 7}
    assert page.locator("#patch").inner_text().startswith("Grid 1 (step 11), patch 7: token ")
    film.press("Escape")
    assert tip.is_hidden() and page.evaluate("ncagen.rows.film.place") is None


# --- normalised bands, a split of its own, long rows ---

SOUND = "document.querySelector('#rows .note[role=status]').className === 'note good'"


def test_a_normalised_band_is_a_share_of_noise_whatever_the_states(opened, saved):
    page = opened(saved("normalised")[1], reduced_motion="reduce")
    until(page, SOUND)
    panel = "ncagen.live.panels.find((panel) => panel.band.shares)"
    name = page.evaluate(f"{panel}.element.querySelector('h3').textContent")
    assert name == "normalised-0.75-0.95"
    assert page.evaluate(f"{panel}.element.querySelector('.limits').textContent") == "0.75 to 0.95 of noise"
    assert re.fullmatch(r"Row \d+ of the dataset\.", page.evaluate(f"{panel}.note.textContent"))
    page.select_option("#states", "10")
    until(page, f"{panel}.note.textContent === 'Not a row of this dataset.'")
    share = page.evaluate(f"{panel}.gzipBytes / ncagen.live.source.scoredBytes / ncagen.live.source.noiseRatio")
    assert 0.75 <= share < 0.95


def test_rows_of_a_test_split_are_computed_from_its_stream(opened, saved):
    page = opened(saved("test-alone")[1], reduced_motion="reduce")
    until(page, SOUND)
    assert page.locator("#facts div").first.inner_text().split("\n") == ["test tokens", "20,480"]
    assert page.evaluate("ncagen.live.panels.some((panel) => panel.note.textContent.startsWith('Row '))")


def test_long_rows_are_drawn_in_part(opened, saved):
    page = opened(saved("long")[1], reduced_motion="reduce")
    until(page, SOUND)
    assert page.locator(".film + .note").inner_text() == "The first 512 of 3,450 grids."
    film = page.locator(".film canvas")
    film.focus()
    for key in ("ArrowRight", *["PageDown"] * 3):
        film.press(key)
    assert page.evaluate("ncagen.rows.film.place") == {"frame": 3, "patch": 0}
    assert page.evaluate("ncagen.rows.film.canvas.height") < 16384


# --- grids that are not square ---


def test_grids_need_not_be_squares(opened, saved):
    page = opened(saved("rectangle")[1], reduced_motion="reduce")
    until(page, "document.querySelector('#rows .note[role=status]').className === 'note good'")
    assert page.locator("#lead").inner_text().endswith("in 10 states each, as 1,037 tokens.")
    assert page.evaluate("ncagen.live.panels.map(({ canvas: c }) => [c.height, c.width])") == [[6, 10]] * 3
    assert page.evaluate("[...ncagen.live.panels[1].automaton.cells]") == pixels(page, "ncagen.live.panels[1].canvas")
    box = page.locator(".square").first.bounding_box()
    assert box["height"] == pytest.approx(0.6 * box["width"], abs=1)
    assert page.locator("#grid").input_value() == "6x10" and "grid=6x10" in page.url

    film, cell = page.locator(".film canvas"), page.evaluate("ncagen.rows.film.layout().cell")
    film.hover(position={"x": 9 * cell, "y": 18 + 5 * cell})  # the last patch of the first grid
    token = page.evaluate("ncagen.rows.row.patches[0][14]")
    assert page.locator("#patch").inner_text().startswith(f"Grid 0 (step 10), patch 14: token {token}, ")
    page.mouse.move(5, 5)
    film.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "PageDown"):
        film.press(key)
    assert page.evaluate("ncagen.rows.film.place") == {"frame": 1, "patch": 10}

    page.select_option("#grid", "12")
    settled(page)
    assert page.evaluate("ncagen.live.panels.map(({ canvas: c }) => [c.height, c.width])") == [[12, 12]] * 3
    page.click("#reset")
    until(page, "location.hash.includes('grid=6x10')")


def test_a_kept_ladder_is_a_table(opened, saved, tmp_path):
    folder, path = shutil.copytree(saved()[0], tmp_path / "a"), tmp_path / "page.html"
    path.write_text(page_of(folder), encoding="utf-8")
    assert opened(path).locator("#ladder-part").count() == 0
    ladder(ncagen.open(folder, band="high"), 2, "uniform,cell-histogram")
    path.write_text(page_of(folder), encoding="utf-8")
    page = opened(path)
    assert page.locator("#ladder h4").inner_text() == "2 rows of high train, grids 2 to 27"
    assert page.locator("#ladder tbody tr").count() == 2
    assert page.locator("#ladder tbody tr:first-child td").all_inner_texts() == [
        "uniform",
        "9.210",
        "9.210",
        "8.726",
        "0.0%",
    ]


def test_stored_facts_are_a_table(opened, saved):
    assert opened().locator("#columns-part").count() == 0
    folder, path = saved("rectangle")
    page = opened(path)
    lines = page.locator("#columns tbody tr")
    names = ["period", "transient", "entropy_micronats"]
    assert [lines.nth(i).locator("td").first.inner_text() for i in range(lines.count())] == names
    column = ncagen.open(folder, band="high").rows(np.arange(60))["entropy_micronats"]
    median, most = np.quantile(column, (0.5, 0.99))
    wanted = ["high", "60", *(f"{round(value):,}" for value in (column.mean(), median, most))]
    assert lines.nth(2).locator("td").all_inner_texts()[1:] == wanted


# --- a source without a JavaScript twin ---


def test_a_source_without_a_twin_shows_its_stored_tokens(opened, saved, tmp_path, monkeypatch):
    folder, path = saved()[0], tmp_path / "page.html"
    monkeypatch.setattr(webpage, "TWINS", {})
    path.write_text(page_of(folder), encoding="utf-8")
    page = opened(path)
    assert page.locator("#live, #fits").count() == 0 and page.locator("canvas").count() == 1  # the stored grids
    assert page.locator("#endings tbody tr").count() == 2
    assert page.locator("nav a").all_inner_texts() == ["Dataset", "What a model sees"]
    assert page.locator("#lead").inner_text() == "440 rows of the source nca, 1,026 tokens each."
    assert page.locator("#histogram rect.bar").count() > 10 and page.locator("#frequencies path.curve").count() == 2

    for band, row in (("high", 0), ("medium", 199)):
        if band == "medium":
            page.select_option("#rows select", band)
            page.click("#rows button:text('Previous')")
        stored = ncagen.open(folder, band=band)[row]
        assert page.locator("#rows .title").inner_text() == f"Row {row} of 200 ({band})"
        assert page.locator("#rows th").all_inner_texts() == ["candidate", "gzip_bytes", "gzip_ratio"]
        facts = [str(stored["candidate"]), str(stored["gzip_bytes"]), f"{stored['gzip_ratio']:.3f}"]
        assert page.locator("#rows td").all_inner_texts() == facts
        assert [int(text) for text in page.locator("#rows .chip").all_inner_texts()] == stored["input_ids"].tolist()
        ids = [int(text) for text in page.locator("#tokens .grids .id").all_inner_texts()]
        assert ids == stored["input_ids"][:200].tolist()
    assert page.locator("#rows .note[role=status]").inner_text() == "All 1,026 tokens."
    assert page.locator("#rows .chip.border").count() == 54 and page.locator("#rows .chip.masked").count() == 38

    page.locator("#tokens input").fill("5")
    readout = page.locator("#tokens .readout")
    assert "a token. Nothing before it predicts it: " in readout.inner_text()
    page.locator("#tokens input").fill("38")
    assert readout.inner_text() == "Seen: 38 tokens. To predict: 10000, a delimiter. It counts."
    page.click("#theme")
    page.click("nav a[href='#model']")


def test_rows_without_scores_grids_and_a_twin_show_the_rest(opened, saved, tmp_path):
    folder, path = saved()[0], tmp_path / "page.html"
    manifest, shape = read_manifest(folder), figures.RowShape(1026)
    known = replace(webpage.shown(manifest), shape=shape, twin=None, frames=0, grids=None, details=[])
    manifest = replace(manifest, row_format=RowFormat(10002, 1026, 1025), measures=())
    data = webpage.describe(manifest, known, "plain")
    found = asdict(figures.figures(ncagen.open(folder, band="high"), shape, with_tokens=True))
    path.write_text(webpage.html(data | {"figures": {"high": found}}), encoding="utf-8")
    page = opened(path)
    assert page.locator("#live, #fits, #endings, #histogram, #rows select").count() == 0
    assert page.locator("#rows .chip").count() == 1026
    assert page.locator("#rows .chip.border, #rows .chip.masked").count() == 0
    lead = page.locator("#model-lead").inner_text()
    assert lead == (
        "A row is 1,026 tokens. The model reads the first 1,025 and predicts the next token at every position."
        " This is the row chosen above."
    )


def test_a_dataset_of_another_source_shows_its_stored_tokens(opened, tmp_path, monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "digits", Digits)
    folder, path = tmp_path / "digits", tmp_path / "page.html"
    make(folder, from_settings(DIGITS))
    path.write_text(page_of(folder), encoding="utf-8")
    page = opened(path)
    assert page.locator("#live, #fits, #endings, #histogram, canvas").count() == 0
    assert page.locator("#columns tbody td").first.inner_text() == "ends"
    assert page.locator("#lead").inner_text() == "110 rows of the source digits, 1,025 tokens each."
    page.click("#rows button:text('Next')")
    assert page.locator("#rows .title").inner_text() == "Row 3 of 100 (all)"  # every third has its tokens in the page
    stored = ncagen.open(folder)[3]
    assert page.locator("#rows th").all_inner_texts() == ["candidate", "ends"]
    assert page.locator("#rows td").all_inner_texts() == [str(stored["candidate"]), str(stored["ends"])]
    assert [int(text) for text in page.locator("#rows .chip").all_inner_texts()] == stored["input_ids"].tolist()
    assert page.locator("#rows .chip.border").count() == stored["ends"]
    assert page.locator("#rows .chip.masked").count() == 0


def test_stored_rows_of_life_and_elementary_are_drawn(opened, tmp_path):
    """Of a ring, all lines are one picture; the position is that in the row, with the delimiters between lines."""
    for name, patch, position, where in (
        ("life", 12, 13, "Grid 0 (step 10), patch 12"),
        ("elementary", 32, 2 * 18 + 1, "Grid 2 (step 2), patch 0"),
    ):
        folder, path = tmp_path / name, tmp_path / f"{name}.html"
        make(folder, from_settings({"source": name, "tokens": 10 * 1024, "validation": 0}))
        path.write_text(page_of(folder), encoding="utf-8")
        page = opened(path)
        film = page.locator(".film canvas")
        film.focus()
        for key in ("ArrowRight", "ArrowDown", "ArrowDown"):
            film.press(key)
        assert page.evaluate("ncagen.rows.film.place") == {"frame": 0, "patch": patch}
        stored, readout = ncagen.open(folder)[0]["input_ids"], page.locator("#patch").inner_text()
        assert readout.startswith(f"{where}: token {stored[position]}, cells ")
        assert readout.endswith(f"position {position} of the row.")


@pytest.mark.parametrize("width", [320, 1200])
def test_stored_tokens_do_not_run_over_the_edge(opened, saved, tmp_path, monkeypatch, width):
    folder, path = saved()[0], tmp_path / "page.html"  # the page that other tests share, before the change
    monkeypatch.setattr(webpage, "TWINS", {})
    path.write_text(page_of(folder), encoding="utf-8")
    page = opened(path, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width


# --- labels of the charts ---

# The texts of each drawing: their boxes in the window, and the left and right edge (first, last) of the drawing.
TEXTS = """[...document.querySelectorAll("svg")].map((svg) => {
  const edge = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => text.textContent).map((text) => {
    const { left, right, top, bottom } = text.getBoundingClientRect();
    return { text: text.textContent, left, right, top, bottom, first: edge.left, last: edge.right };
  });
})"""


@pytest.mark.parametrize("width", [320, 768, 1200])
@pytest.mark.parametrize("states", [2, 3, 5, 10, 15])
def test_labels_of_charts_are_apart_and_inside(opened, saved, states, width):
    page = opened(saved(f"states-{states}")[1], reduced_motion="reduce", viewport={"width": width, "height": 900})
    settled(page)
    drawings = page.evaluate(TEXTS)
    assert len(drawings) == 6  # three gauges, and as many charts
    for labels in drawings:
        for i, one in enumerate(labels):
            assert one["first"] - 0.5 <= one["left"] and one["right"] <= one["last"] + 0.5, one
            for other in labels[:i]:
                # Boxes have space above capitals and below the line: an overlap of 3 pixels does not touch letters.
                apart = one["right"] <= other["left"] or other["right"] <= one["left"]
                below = one["bottom"] - 3 <= other["top"] or other["bottom"] - 3 <= one["top"]
                assert apart or below, (one, other)
    for names in ([label["text"] for label in labels] for labels in drawings[:3]):
        assert "noise" in names
    (noise,) = [label["text"] for label in drawings[3] if label["text"].startswith("pure noise")]
    assert noise == f"pure noise {page.evaluate('ncagen.source.noiseRatio'):.3f}"


def test_the_tokens_that_a_model_sees(opened, saved):
    page = opened()
    row = ncagen.open(saved()[0], band="high")[0]["input_ids"]
    ids = [int(text) for text in page.locator("#tokens .grids .id").all_inner_texts()]
    assert ids == row[:114].tolist()
    masked = page.evaluate("ncagen.model.chips.map((chip) => chip.classList.contains('masked'))")
    assert masked == [True] * 38 + [False] * 76
    readout = page.locator("#tokens .readout")
    page.locator("#tokens input").fill("1")
    assert readout.inner_text() == (
        f"Seen: 1 token. To predict: {row[1]}, a patch. It is of the first grid: its label is \N{MINUS SIGN}100,"
        " it does not count."
    )
    page.locator("#tokens .grids .chip").nth(38).click()
    assert readout.inner_text() == "Seen: 38 tokens. To predict: 10000, start of grid. It counts."
    assert page.locator("#tokens .grids .unseen").count() == 114 - 39


def test_a_model_s_view_of_large_grids_is_cut_around_the_end_of_the_first(opened, saved):
    page = opened(saved("large")[1])
    assert page.evaluate("[ncagen.model.from, ncagen.model.chips.length]") == [302, 200]
    assert page.locator("#tokens .grids .masked").count() == 100
    assert page.locator("#tokens .grids .chip").nth(100).inner_text().startswith("start")
    page.locator("#tokens input").fill("302")
    assert page.locator("#tokens .readout").inner_text().startswith("Seen: 302 tokens.")


def test_the_figures_are_those_of_the_files(opened, saved):
    page = opened()
    manifest = read_manifest(saved()[0])
    text = page.locator("#dataset").inner_text()
    assert manifest.dataset_sha256 in text and manifest.spec.sha256 in text
    for record in manifest.records:
        assert record.split in text
    tried = sum(r.tried for r in manifest.records if (r.band, r.split) == ("medium", "train"))
    assert f"{tried:,}" in page.locator("#acceptance").inner_text()
    assert "200 of 200 high rows" in page.locator("#histogram").inner_text()
    assert page.locator("#histogram rect.bar").count() > 10
    assert page.locator("#frequencies path.curve").count() == 2
    assert page.locator("#histogram .noise").count() == 1
    page.click("summary")
    assert json.loads(page.locator("details pre").inner_text()) == json.loads(json.dumps(manifest.spec.to_dict()))


def test_links_to_sections_do_not_change_the_address(opened):
    page = opened()
    settled(page)
    address = page.url
    for name in ("dataset", "fits", "model", "live"):
        page.click(f"nav a[href='#{name}']")
        assert page.evaluate("document.activeElement.id") == name
    assert page.url == address


def test_the_served_page_works_too(opened, saved):
    with server.server(saved()[1].read_text(encoding="utf-8")) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        page = opened(server.address(serving))
        settled(page)
        assert "high=" in page.url and page.locator("#rows .good").count() == 1
        serving.shutdown()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 768, 1200])
def test_nothing_runs_over_the_edge(opened, scheme, width):
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 20, 25)"
    assert dark == (scheme == "dark")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(252, 251, 248)" if dark else "rgb(19, 20, 25)"
    )


def test_nothing_moves_with_reduced_motion(opened):
    page = opened(reduced_motion="reduce")
    settled(page)
    assert steps(page) == [10, 10, 10]
    page.click("#play")
    until(page, "ncagen.live.panels[0].automaton.step > 10")


def test_sixty_grids_a_second_take_a_fraction_of_each_frame(opened):
    """Three automata, their live gzip lengths and their pictures; the time that a frame has is 16.7 ms."""
    page = opened(reduced_motion="reduce")
    settled(page)
    each = page.evaluate(
        """() => {
          for (let i = 0; i < 60; i++) ncagen.live.advance();
          const times = Array.from({ length: 120 }, () => {
            const begun = performance.now();
            ncagen.live.advance();
            return performance.now() - begun;
          });
          return times.sort((a, b) => a - b)[60];
        }"""
    )
    assert each < 8
    before = steps(page)[0]
    page.locator("#speed").fill("60")
    page.click("#play")
    page.wait_for_timeout(2000)
    assert steps(page)[0] - before > 60  # a busy machine draws fewer frames


HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>{{script}}<!--"


def test_text_from_a_manifest_is_text(opened, saved, tmp_path):
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    shutil.copytree(saved()[0], folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["storage"]["toolchain"] = {"ncagen": HOSTILE, "<b>": "\u2028</style>&lt;"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    path = tmp_path / "page.html"
    path.write_text(page_of(folder), encoding="utf-8")
    page = opened(path)
    assert page.evaluate("window.hacked") is None
    assert page.locator("h1").inner_text() == folder.name
    assert f"ncagen {HOSTILE}, <b> " in page.locator("#identity").inner_text()
    assert page.locator("img, b:text('</style>')").count() == 0


def test_a_browser_with_other_logarithms_gets_a_warning(opened, saved, tmp_path):
    path = tmp_path / "page.html"
    text = saved()[1].read_text(encoding="utf-8")
    path.write_text(re.sub(r'"gumbel":\d+', '"gumbel":1', text), encoding="utf-8")
    page = opened(path)
    assert page.locator("#warning").inner_text().endswith("what it computes is not the dataset.")
    assert opened().locator("#warning").is_hidden()


def test_a_row_that_differs_from_its_candidate_gets_a_warning(opened, saved, tmp_path):
    path = tmp_path / "page.html"
    text = saved()[1].read_text(encoding="utf-8")
    path.write_text(re.sub(r'"crc32":\[\d+', '"crc32":[1', text), encoding="utf-8")
    page = opened(path)
    assert page.locator("#rows .bad").inner_text() == (
        "What is computed here is not what is stored: run ncagen verify --regenerate all."
    )
