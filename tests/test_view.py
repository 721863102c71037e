"""`ncagen view` and the pictures of `ncagen show`, without a browser: figures, the page, the server, mistakes."""

import base64
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib

import numpy as np
import pytest
from conftest import NCAGEN, ROOT, Run, hear_interrupts, make, run, spec_of
from test_cli import fails, terminal

import ncagen
from ncagen.sources.nca import tokens
from ncagen.spec import Band, Spec
from ncagen.view import animation, figures, picture, webpage
from ncagen.view.palette import palette


@pytest.fixture(scope="module")
def text(smoke):
    """The page of the small dataset."""
    return webpage.page(smoke())


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.S)[1])


# --- figures ---


def test_figures_count_the_rows_that_they_say(smoke):
    rows = ncagen.open(smoke(), band="medium")
    found = figures.figures(rows)
    everything = rows.rows(np.arange(200))
    assert (found.rows, found.looked, sum(found.histogram)) == (200, 200, 200)
    for hundredth, count in enumerate(found.histogram):
        lengths = everything["gzip_bytes"]
        assert count == sum(hundredth * 1440 <= 100 * n < (hundredth + 1) * 1440 for n in lengths.tolist())
    assert {hundredth for hundredth, count in enumerate(found.histogram) if count} <= set(range(30, 40))

    patches = everything["input_ids"].reshape(200, 27, 38)[:, :, 1:-1]
    counts = sorted(np.bincount(patches.ravel()).tolist(), reverse=True)
    assert found.patches == sum(counts) == 200 * 27 * 36
    assert found.distinct == sum(count > 0 for count in counts)
    assert found.frequencies[0] == (1, counts[0]) and found.frequencies[-1][0] == found.distinct
    assert all(count == counts[rank - 1] for rank, count in found.frequencies)

    sample = found.sample
    assert sample.numbers == list(range(200))
    assert sample.candidates == [str(number) for number in everything["candidate"]]
    assert sample.gzip_bytes == everything["gzip_bytes"].tolist()
    assert sample.crc32 == [zlib.crc32(row.astype("<u4").tobytes()) for row in everything["input_ids"]]


def test_figures_look_at_a_bounded_number_of_rows(smoke, monkeypatch):
    rows = ncagen.open(smoke(), band="high")  # shards of 70, 70 and 60 rows
    monkeypatch.setattr(figures, "MOST_ROWS", 150)
    assert [(some[0], len(some)) for some in figures.spread(rows)] == [(0, 70), (140, 60)]
    monkeypatch.setattr(figures, "MOST_ROWS", 40)
    assert [(some[0], len(some)) for some in figures.spread(rows)] == [(0, 40)]
    found = figures.figures(rows)
    assert (found.rows, found.looked, sum(found.histogram), len(found.sample.numbers)) == (200, 40, 40, 40)


def test_long_rows_are_fewer():
    assert figures.most_rows(spec_of()) == 4088
    assert figures.most_rows(spec_of(seq_len=16384)) == 255


def test_endings_are_frozen_periodic_or_neither():
    def row(*grids: int) -> list[list[int]]:
        return [[grid] for grid in grids]

    patches = np.array(
        [
            row(1, 2, 3, 4, 5, 5),
            row(9, 9, 1, 2, 1, 2),
            row(1, 2, 3, 1, 2, 3),
            row(1, 2, 3, 4, 5, 6),
            row(5, 5, 5, 5, 4, 3),
        ]
    )
    frozen, periodic = figures.endings(patches)
    assert frozen.tolist() == [True, False, False, False, False]
    assert periodic.tolist() == [False, True, True, False, False]
    assert [found.tolist() for found in figures.endings(patches[:, :1])] == [[False] * 5] * 2  # one grid is neither


# --- the page's text ---


def test_the_page_is_one_small_file_that_needs_no_network(text):
    assert len(text.encode()) < 1_000_000
    assert set(re.findall(r'(?:src|href)="([^"#]*)', text)) == {"data:,", ""}
    assert "@import" not in text and "url(" not in text and "fetch(" not in text and "XMLHttp" not in text
    assert "{{" not in text.split('id="data"')[0]


def test_the_page_is_the_same_again(text, smoke):
    assert webpage.page(smoke()) == text


def test_the_policy_names_the_style_and_the_script(text):
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    (style,) = re.findall(r"<style>(.*?)</style>", text, flags=re.S)
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.S)

    def named(source: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() + "'"

    rules = dict(rule.strip().split(maxsplit=1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "style-src": named(style),
        "script-src": named(script),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_a_manifest_s_text_cannot_leave_its_place(smoke, tmp_path):
    shutil.copytree(smoke(), tmp_path / "a")
    hostile = "</script><script>alert(1)</script><!-- {{script}} &lt;"
    path = tmp_path / "a/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["storage"]["toolchain"]["ncagen"] = hostile
    path.write_text(json.dumps(manifest))
    page = webpage.page(tmp_path / "a")
    assert "alert(1)" in page and "<script>alert" not in page
    assert page.count("</script>") == 2
    assert data_of(page)["manifest"]["toolchain"]["ncagen"] == hostile


def test_the_page_has_the_integers_of_every_choice(text):
    from ncagen.sources.nca.rules import logit_units

    data = data_of(text)
    assert list(data["choices"]["states"]) == [str(n) for n in range(2, 17)]
    for states, choice in data["choices"]["states"].items():
        spec = Spec(tokens=1, bands=(Band.parse("0-1"),), states=int(states))
        assert choice["temperature"] == logit_units(spec, 0.0001)
        assert choice["colours"] == ["#" + bytes(colour).hex() for colour in palette(int(states))]
    assert data["settings"]["temperature"] == 748
    assert data["choices"]["grids"] == [6, 8, 12, 16, 18, 24, 32, 36, 48]
    assert [panel["exact"] for panel in data["panels"]] == [
        [["1", "5"], ["3", "10"]],
        [["3", "10"], ["2", "5"]],
        [["1", "2"], ["1", "1"]],
    ]


@pytest.mark.parametrize(
    ("bands", "panels"),
    [
        (["high"], ["low", "medium", "high"]),
        (["0.35-0.45"], ["low", "0.35-0.45", "high"]),
        (["0-1"], ["0-1"]),
        (["high", "upper", "medium", "low"], ["low", "medium", "upper", "high"]),
    ],
)
def test_the_dataset_s_bands_are_watched_and_others_fill_up_to_three(bands, panels):
    assert [band.name for band in webpage.panels(spec_of(bands=bands))] == panels


def test_choices_keep_to_what_a_spec_can_be():
    wide = webpage.choices(spec_of(states=250, patch=2, bands=["0-1"]))
    assert list(wide["states"]) == [*range(2, 17), 250]
    coarse = webpage.choices(spec_of(states=3, grid=9, patch=3, bands=["0-1"]))
    assert list(coarse["states"]) == list(range(2, 12))  # 12 ** 9 is over 2 ** 32
    assert coarse["grids"] == [6, 9, 12, 18, 24, 36, 48]


# --- the command ---


def test_view_saves_the_page(text, smoke, tmp_path):
    done = run("view", smoke(), "--save", tmp_path / "page.html")
    size = f"{len(text.encode()) / 1e3:,.0f}"
    assert done == Run(0, f"{tmp_path}/page.html: {size} KB\n", "")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == text


def test_view_serves_the_page_until_it_is_stopped(text, smoke):
    with subprocess.Popen(
        [*NCAGEN, "view", smoke()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    ) as process:
        line = process.stdout.readline()
        address = re.fullmatch(rf"(http://127\.0\.0\.1:\d+/) shows {re.escape(str(smoke()))}; Ctrl-C ends it\n", line)[
            1
        ]
        with urllib.request.urlopen(address) as answer:
            assert answer.read().decode() == text
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for asked, host, status in (("manifest.json", None, 404), ("../", None, 404), ("", "elsewhere.org:80", 403)):
            request = urllib.request.Request(address + asked, headers={"Host": host} if host else {})
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request)
            assert refused.value.code == status
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "\n", "")


def test_a_taken_port_is_one_line(smoke):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = fails("view", smoke(), "--port", port)
    assert line == f"port {port} is taken: use another --port, or leave it out for a free one"
    assert fails("view", smoke(), "--port", 65536) == (
        "Invalid value for '--port': 65536 is not in the range 0<=x<=65535."
    )


def test_view_opens_a_browser_or_says_that_there_is_none(smoke, tmp_path):
    page = tmp_path / "page.html"
    without = {**os.environ, "PATH": str(tmp_path)}
    without.pop("BROWSER", None)
    done = run("view", smoke(), "--save", page, "--open", env=without)
    assert (done.status, done.err) == (0, f"ncagen: no browser was found: open {page.as_uri()} in one\n")

    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/opened"\n')
    browser.chmod(0o755)
    done = run("view", smoke(), "--save", page, "--open", env={**os.environ, "BROWSER": f"{browser} %s"})
    assert (done.status, done.err) == (0, "")
    assert (tmp_path / "opened").read_text() == page.as_uri() + "\n"


def test_a_browser_that_does_not_return_gets_the_page(text, smoke, tmp_path):
    program = (
        f"import urllib.request as r, sys; open({str(tmp_path / 'got')!r}, 'wb').write(r.urlopen(sys.argv[1]).read())"
    )
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\n"{sys.executable}" -c "{program}" "$1"\nmv "{tmp_path}/got" "{tmp_path}/page"\nsleep 60\n'
    )
    browser.chmod(0o755)
    command, environment = [*NCAGEN, "view", smoke(), "--open"], {**os.environ, "BROWSER": f"{browser} %s"}
    options = {"env": environment, "process_group": 0, "preexec_fn": hear_interrupts}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, **options) as process:
        try:
            end = time.monotonic() + 30
            while not (tmp_path / "page").exists():
                assert time.monotonic() < end
                time.sleep(0.05)
        finally:
            os.killpg(process.pid, signal.SIGINT)
    assert process.returncode == 0
    assert (tmp_path / "page").read_text(encoding="utf-8") == text


def test_view_refuses_what_is_no_dataset(smoke, tmp_path):
    line = fails("view", tmp_path, "--save", tmp_path / "page.html")
    assert line == f"{tmp_path} holds no dataset: there is no manifest.json in it"
    shutil.copytree(smoke(), tmp_path / "a")
    shard = tmp_path / "a/data/medium/train-00000-of-00003.parquet"
    damaged = bytearray(shard.read_bytes())
    damaged[1000] ^= 1
    shard.write_bytes(damaged)
    line = fails("view", tmp_path / "a", "--save", tmp_path / "page.html")
    assert line == f"{shard}: its bytes do not match their hash"
    shard.unlink()
    assert fails("view", tmp_path / "a", "--save", tmp_path / "page.html") == f"{shard}: No such file or directory"
    assert not (tmp_path / "page.html").exists()
    missing = tmp_path / "missing/page.html"
    assert fails("view", smoke(), "--save", missing) == f"{missing}: No such file or directory"


# --- show: pictures and motion ---


def cells(image, spec: Spec, scale: int, grid: int, line: int) -> list[list[int]]:
    """The states whose colours a picture has in one of its grids; each cell must be of one colour."""
    colours = {colour: state for state, colour in enumerate(palette(spec.states))}
    pixels, pace = np.asarray(image.convert("RGB")), (spec.grid + 1) * scale
    part = pixels[line * pace :, grid * pace :][: spec.grid * scale, : spec.grid * scale]
    blocks = part.reshape(spec.grid, scale, spec.grid, scale, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    return [[colours[tuple(cell)] for cell in row] for row in blocks[:, 0, :, 0].tolist()]


def test_show_writes_pictures(smoke, tmp_path):
    from PIL import Image

    rows = ncagen.open(smoke(), band="medium")
    spec = rows.manifest.spec
    many, one, moving = tmp_path / "many.png", tmp_path / "one.png", tmp_path / "one.gif"
    done = run("show", smoke(), "--band", "medium", "--row", 5, "--rows", 12, "--png", many)
    assert done == Run(0, f"{many}: rows 5 to 16 (medium train)\n", "")
    done = run("show", smoke(), "--band", "medium", "--row", -1, "--png", one, "--gif", moving)
    assert done == Run(0, f"{one}: row 199 (medium train)\n{moving}: row 199 (medium train)\n", "")

    grids = tokens.grids(spec, rows.rows(np.arange(200))["input_ids"])
    with Image.open(many) as image:
        assert image.size == (3 * (27 * 13 - 1), 3 * (12 * 13 - 1))
        for row, frame in ((0, 0), (11, 26), (3, 20)):
            assert cells(image, spec, 3, frame, row) == grids[5 + row, frame].tolist()
        assert image.convert("RGBA").getpixel((36, 0))[3] == 0  # between grids
    with Image.open(one) as image:
        assert image.size == (9 * (9 * 13 - 1), 9 * (3 * 13 - 1))
        for frame in (0, 8, 9, 26):
            assert cells(image, spec, 9, frame % 9, frame // 9) == grids[199, frame].tolist()
    with Image.open(moving) as image:
        assert (image.size, image.n_frames, image.info["loop"]) == ((360, 360), 27, 0)
        for frame in (0, 13, 26):
            image.seek(frame)
            assert cells(image, spec, 30, 0, 0) == grids[199, frame].tolist()


def test_pictures_have_any_number_of_states(tmp_path):
    from PIL import Image

    for states in (2, 255, 256):
        spec = Spec(tokens=1, bands=(Band.parse("0-1"),), states=states, patch=1, grid=16)
        grid = np.arange(256).reshape(16, 16) % states
        row = tokens.rows(spec, tokens.patch_tokens(spec, np.tile(grid.astype(np.uint8), (1, spec.frames, 1, 1))))
        picture.png(spec, np.repeat(row, 2, axis=0), tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as image:
            colours = np.asarray(image.convert("RGB"))
            scale = image.width // (spec.frames * 17 - 1)
            assert [tuple(c) for c in colours[: 16 * scale : scale, : 16 * scale : scale].reshape(-1, 3).tolist()] == [
                palette(states)[s] for s in grid.ravel()
            ]


def test_show_says_which_pictures_there_are(smoke, tmp_path):
    picture_of = tmp_path / "a.png"
    line = "--rows is for a picture: use it with --png, as in --rows 12 --png rows.png"
    assert fails("show", smoke(), "--rows", 12) == line
    line = "--rows 12 is for --png: a GIF shows one row"
    assert fails("show", smoke(), "--rows", 12, "--gif", tmp_path / "a.gif") == line
    for rows in (0, 3):
        line = f"--rows {rows} is out of range: use 1 to 2"
        assert fails("show", smoke(), "--row", 198, "--rows", rows, "--png", picture_of) == line
    missing = tmp_path / "missing/a.png"
    assert fails("show", smoke(), "--png", missing) == f"{missing}: No such file or directory"
    assert list(tmp_path.iterdir()) == []


def test_pillow_is_named_with_the_line_to_type(smoke, tmp_path):
    script = f"""
import sys
sys.modules["PIL"] = None
sys.argv = ["ncagen", "show", {str(smoke())!r}, "--png", {str(tmp_path / "a.png")!r}]
from ncagen.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    expected = "ncagen: PIL is not installed: pip install 'ncagen[view]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_show_plays_a_row_in_its_place(smoke):
    out = terminal("show", smoke(), "--row", 2, "--animate")
    assert out.count(animation.HIDE) == out.count(animation.SHOW) == 1
    assert re.findall(r"t=(\d+)", out) == [str(step) for step in range(10, 37)]
    assert out.count("\x1b[7F") == 26  # six lines of half-blocks and the step
    assert out.count("▀") == 27 * 6 * 12
    assert out.startswith("row 2 (high train): candidate ")


def test_show_prints_a_row_where_nothing_can_move(smoke):
    done = run("show", smoke(), "--animate")
    assert (done.status, done.err) == (0, "")
    assert "\x1b" not in done.out
    grids = [line for line in done.out.splitlines() if re.fullmatch(r"[0-9]{12}( [0-9]{12})*", line)]
    assert sum(len(line.split()) for line in grids) == 27 * 12


def test_what_plays_needs_room_and_leaves_a_cursor():
    animation.check_room(12, 8, 12, 7)
    for columns, lines in ((11, 8), (12, 7)):
        with pytest.raises(ncagen.NcagenError) as refused:
            animation.check_room(columns, lines, 12, 7)
        assert str(refused.value) == (
            f"a grid takes 12 columns and 8 lines, the terminal has {columns} and {lines}:"
            " make it larger, or use --gif FILE"
        )
    written = []

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        animation.play(["a\nb", "c\nd"], written.append, stop)
    assert written == [animation.HIDE, "a\nb\n", animation.SHOW]


def test_a_page_of_a_dataset_in_arrow_files_and_of_one_row(tmp_path):
    make(tmp_path / "a", spec_of(tokens=1, validation=0, bands=["0-1"]), "arrow")
    data = data_of(webpage.page(tmp_path / "a"))
    assert data["figures"]["0-1"]["sample"]["numbers"] == [0]
    assert data["manifest"]["format"] == "arrow"


# --- the gallery ---


def test_the_gallery_is_current(tmp_path):
    from PIL import Image

    source = importlib.util.spec_from_file_location("make_gallery", ROOT / "docs" / "make_gallery.py")
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    module.write(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(path.name for path in module.PICTURES.iterdir())
    for name in names:  # the pixels, since another Pillow may pack them in other bytes
        with Image.open(tmp_path / name) as made, Image.open(module.PICTURES / name) as there:
            for frame in range(getattr(made, "n_frames", 1)):
                made.seek(frame)
                there.seek(frame)
                assert made.convert("RGBA").tobytes() == there.convert("RGBA").tobytes(), name
