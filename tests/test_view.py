"""Tests `ncagen view` and the pictures of `ncagen show` without a browser: figures, page, server, wrong arguments."""

import base64
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import struct
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
from ncagen.hints import install
from ncagen.sources import grid_tokens
from ncagen.sources.nca.settings import Settings
from ncagen.sources.nca.source import Nca
from ncagen.sources.source import Grids
from ncagen.view import animation, figures, nca_twin, picture, webpage
from ncagen.view.grids import drawable
from ncagen.view.palette import palette


@pytest.fixture(scope="module")
def text(smoke):
    """The page of the small dataset."""
    return webpage.page(smoke())


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.S)[1])


# --- figures ---


def shape_of(rows: ncagen.Dataset) -> figures.RowShape:
    return webpage.shown(rows.manifest).shape


def test_figures_count_the_rows_read(smoke):
    rows = ncagen.open(smoke(), band="medium")
    found = figures.figures(rows, shape_of(rows))
    everything = rows.rows(np.arange(200))
    assert (found.rows, found.looked, sum(found.histogram)) == (200, 200, 200)
    for hundredth, count in enumerate(found.histogram):
        lengths = everything["gzip_bytes"]
        assert count == sum(hundredth * 1440 <= 100 * n < (hundredth + 1) * 1440 for n in lengths.tolist())
    assert {hundredth for hundredth, count in enumerate(found.histogram) if count} <= set(range(30, 40))

    patches = everything["input_ids"].reshape(200, 27, 38)[:, :, 1:-1]
    counts = sorted(np.bincount(patches.ravel()).tolist(), reverse=True)
    assert found.counted == sum(counts) == 200 * 27 * 36
    assert found.distinct == sum(count > 0 for count in counts)
    assert found.frequencies[0] == (1, counts[0]) and found.frequencies[-1][0] == found.distinct
    assert all(count == counts[rank - 1] for rank, count in found.frequencies)

    sample = found.sample
    assert sample.numbers == list(range(200))
    assert sample.candidates == [str(number) for number in everything["candidate"]]
    assert sample.gzip_bytes == everything["gzip_bytes"].tolist()
    assert sample.crc32 == [zlib.crc32(row.astype("<u4").tobytes()) for row in everything["input_ids"]]


def test_figures_read_a_bounded_number_of_rows(smoke, monkeypatch):
    rows = ncagen.open(smoke(), band="high")  # shards of 70, 70 and 60 rows
    monkeypatch.setattr(figures, "MOST_ROWS", 150)
    shape = shape_of(rows)
    assert [(some[0], len(some)) for some in figures.spread(rows, shape)] == [(0, 150)]
    monkeypatch.setattr(figures, "MOST_ROWS", 40)
    assert [(some[0], len(some)) for some in figures.spread(rows, shape)] == [(0, 40)]
    found = figures.figures(rows, shape)
    assert (found.rows, found.looked, sum(found.histogram), len(found.sample.numbers)) == (200, 40, 40, 40)


def test_fewer_long_rows_are_read():
    assert figures.most_rows(1026) == 4088
    assert figures.most_rows(16416) == 255


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


def test_rows_without_a_twin_are_listed_with_their_tokens(smoke, monkeypatch):
    rows = ncagen.open(smoke(), band="medium")
    found = figures.figures(rows, shape_of(rows), with_tokens=True)
    assert found.sample is None and len(found.stored.numbers) == figures.STORED_TOKENS // 1026 == 31
    everything = rows.rows(np.array(found.stored.numbers))
    assert found.stored.tokens == everything["input_ids"].tolist()
    assert found.stored.facts == {
        "candidate": [str(number) for number in everything["candidate"]],
        "gzip_bytes": [str(length) for length in everything["gzip_bytes"]],
        "gzip_ratio": [f"{ratio:.3f}" for ratio in everything["gzip_ratio"]],
    }
    monkeypatch.setattr(figures, "STORED_TOKENS_A_ROW", 100)
    found = figures.figures(rows, shape_of(rows), with_tokens=True)
    assert len(found.stored.numbers) == figures.STORED_ROWS and {len(some) for some in found.stored.tokens} == {100}


def test_rows_need_neither_a_score_nor_frames(smoke):
    rows = ncagen.open(smoke(), band="medium")
    found = figures.figures(rows, figures.RowShape(1026), with_tokens=True)
    assert (found.histogram, found.frozen, found.periodic, found.counted) == ([], 0, 0, 200 * 1026)


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
    (script,) = re.findall(r'<script type="module">(.*?)</script>', text, flags=re.S)

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


def test_text_of_a_manifest_cannot_end_the_data_block(smoke, tmp_path):
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
    choices = data["twin"]["choices"]
    assert list(choices["states"]) == [str(n) for n in range(2, 17)]
    for states, choice in choices["states"].items():
        assert choice["temperature"] == logit_units(Settings(states=int(states)), 0.0001)
        assert choice["colours"] == ["#" + bytes(colour).hex() for colour in palette(int(states))]
    assert data["twin"]["settings"]["temperature"] == 748
    assert choices["grids"] == [[side, side] for side in (6, 8, 12, 16, 18, 24, 32, 36, 48)]
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
def test_the_dataset_s_bands_are_shown_and_known_bands_up_to_three(bands, panels):
    assert [band.name for band in webpage.panels(spec_of(bands=bands).bands, None)] == panels


def test_choices_are_within_the_limits_of_a_spec():
    wide = nca_twin.choices(Settings(states=250, patch=2))
    assert list(wide["states"]) == [*range(2, 17), 250]
    coarse = nca_twin.choices(Settings(states=3, height=9, width=9, patch=3))
    assert list(coarse["states"]) == list(range(2, 12))  # 12 ** 9 is over 2 ** 32
    assert coarse["grids"] == [[side, side] for side in (6, 9, 12, 18, 24, 36, 48)]


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
        for _ in range(5):  # a browser that leaves before it has the page resets the connection
            with socket.create_connection(("127.0.0.1", int(address.rsplit(":")[-1].strip("/")))) as leaving:
                leaving.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")
                leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
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


def test_view_opens_a_browser_or_prints_that_none_was_found(smoke, tmp_path):
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


def test_view_refuses_a_folder_without_a_dataset(smoke, tmp_path):
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


def cells(image, drawn: Grids, scale: int, grid: int, line: int) -> list[list[int]]:
    """The states whose colours a picture has in one of its grids; each cell must be of one colour."""
    colours = {colour: state for state, colour in enumerate(palette(drawn.states))}
    pixels = np.asarray(image.convert("RGB"))
    part = pixels[line * (drawn.height + 1) * scale :, grid * (drawn.width + 1) * scale :]
    part = part[: drawn.height * scale, : drawn.width * scale]
    blocks = part.reshape(drawn.height, scale, drawn.width, scale, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    return [[colours[tuple(cell)] for cell in row] for row in blocks[:, 0, :, 0].tolist()]


def test_show_writes_pictures(smoke, tmp_path):
    from PIL import Image

    rows = ncagen.open(smoke(), band="medium")
    drawn = drawable(rows.manifest, "draw")
    many, one, moving = tmp_path / "many.png", tmp_path / "one.png", tmp_path / "one.gif"
    done = run("show", smoke(), "--band", "medium", "--row", 5, "--rows", 12, "--png", many)
    assert done == Run(0, f"{many}: rows 5 to 16 (medium train)\n", "")
    done = run("show", smoke(), "--band", "medium", "--row", -1, "--png", one, "--gif", moving)
    assert done == Run(0, f"{one}: row 199 (medium train)\n{moving}: row 199 (medium train)\n", "")

    grids = drawn.cells(rows.rows(np.arange(200))["input_ids"])
    with Image.open(many) as image:
        assert image.size == (3 * (27 * 13 - 1), 3 * (12 * 13 - 1))
        for row, frame in ((0, 0), (11, 26), (3, 20)):
            assert cells(image, drawn, 3, frame, row) == grids[5 + row, frame].tolist()
        assert image.convert("RGBA").getpixel((36, 0))[3] == 0  # between grids
    with Image.open(one) as image:
        assert image.size == (9 * (9 * 13 - 1), 9 * (3 * 13 - 1))
        for frame in (0, 8, 9, 26):
            assert cells(image, drawn, 9, frame % 9, frame // 9) == grids[199, frame].tolist()
    with Image.open(moving) as image:
        assert (image.size, image.n_frames, image.info["loop"]) == ((360, 360), 27, 0)
        for frame in (0, 13, 26):
            image.seek(frame)
            assert cells(image, drawn, 30, 0, 0) == grids[199, frame].tolist()


def test_pictures_of_grids_that_are_not_square(tmp_path):
    from PIL import Image

    drawn = Nca(Settings(height=6, width=10, seq_len=50)).grids()
    rows = Nca(drawn.shape).batch((0, 0), np.arange(4, dtype=np.uint64)).rows(np.array([0, 3])).input_ids
    grids = drawn.cells(rows)
    assert grids.shape == (2, 3, 6, 10)
    picture.png(drawn, rows, tmp_path / "a.png")
    scale = round(1100 / 33)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == ((3 * 11 - 1) * scale, (2 * 7 - 1) * scale)
        for row, frame in ((0, 0), (1, 2)):
            assert cells(image, drawn, scale, frame, row) == grids[row, frame].tolist()
    picture.gif(drawn, rows[1], tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.size, image.n_frames) == ((360, 216), 3)
        image.seek(2)
        assert cells(image, drawn, 36, 0, 0) == grids[1, 2].tolist()


def test_pictures_have_any_number_of_states(tmp_path):
    from PIL import Image

    for states in (2, 255, 256):
        settings = Settings(states=states, patch=1, height=16, width=16)
        grid = np.arange(256).reshape(16, 16) % states
        row = grid_tokens.rows(
            settings, grid_tokens.patch_tokens(settings, np.tile(grid.astype(np.uint8), (1, settings.frames, 1, 1)))
        )
        picture.png(Nca(settings).grids(), np.repeat(row, 2, axis=0), tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as image:
            colours = np.asarray(image.convert("RGB"))
            scale = image.width // (settings.frames * 17 - 1)
            assert [tuple(c) for c in colours[: 16 * scale : scale, : 16 * scale : scale].reshape(-1, 3).tolist()] == [
                palette(states)[s] for s in grid.ravel()
            ]


def test_show_refuses_other_picture_formats(smoke, tmp_path):
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
    expected = f"ncagen: a picture needs PIL: {install('PIL')}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_show_plays_a_row_on_the_same_lines(smoke):
    out = terminal("show", smoke(), "--row", 2, "--animate")
    assert out.count(animation.HIDE) == out.count(animation.SHOW) == 1
    assert re.findall(r"t=(\d+)", out) == [str(step) for step in range(10, 37)]
    assert out.count("\x1b[7F") == 26  # six lines of half-blocks and the step
    assert out.count("▀") == 27 * 6 * 12
    assert out.startswith("row 2 (high train): candidate ")


def test_show_prints_a_row_without_motion_on_a_pipe(smoke):
    done = run("show", smoke(), "--animate")
    assert (done.status, done.err) == (0, "")
    assert "\x1b" not in done.out
    grids = [line for line in done.out.splitlines() if re.fullmatch(r"[0-9]{12}( [0-9]{12})*", line)]
    assert sum(len(line.split()) for line in grids) == 27 * 12


def test_playing_checks_the_size_and_restores_the_cursor():
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
