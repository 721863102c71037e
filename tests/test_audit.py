"""Audits sound files and files with injected faults: the check for a fault finds it, and no other check does."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, make, run, spec_of
from hub.site import NAME, site

from ncagen.audit.checks import Check, check, temperature
from ncagen.audit.figures import chosen_rows, look
from ncagen.audit.neighbours import agreement, around, follows
from ncagen.audit.page import page, verdict
from ncagen.audit.parts import Audited, of_dataset, of_files
from ncagen.audit.rowlength import guess
from ncagen.audit.shape import Shape
from ncagen.audit.tokenfiles import read
from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.export import engine, formats
from ncagen.sources import source_of

SOUND = {
    "aligned": "ok",
    "ids": "ok",
    "consistent": "ok",
    "ladder": "ok",
    "one rule": "ok",
    "leakage": "none",
    "alive": "ok",
    "duplicates": "ok",
    "gzip ratio": "ok",
    "n-grams": "ok",
}
ROWS = 120
GRID = 38


def checks_of(source: Audited) -> dict[str, Check]:
    return {result.name: result for result in check(look(source, None))}


def verdicts(results: dict[str, Check]) -> dict[str, str]:
    return {name: result.verdict for name, result in results.items()}


@pytest.fixture(scope="module")
def rows(smoke) -> np.ndarray:
    """uint16[row, token] of the small dataset's high band."""
    tokens = Dataset(smoke(), band="high").rows(np.arange(ROWS), columns=("input_ids",))["input_ids"]
    tokens.flags.writeable = False
    return tokens


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Callable[..., Dataset]:
    """A dataset of 40 rows of one band, with some settings changed."""

    def dataset(band: str, **changes) -> Dataset:
        folder = tmp_path_factory.mktemp("built") / "a"
        make(folder, spec_of(tokens=40 * 1024, validation=0, bands=[band], **changes), "arrow", 1)
        return Dataset(folder)

    return dataset


@pytest.fixture
def audited(tmp_path) -> Callable[..., dict[str, Check]]:
    """The checks of rows that are written to a flat file."""

    def results(tokens: np.ndarray, validation: np.ndarray | None = None, **shape) -> dict[str, Check]:
        tokens.tofile(tmp_path / "rows.bin")
        other = None
        if validation is not None:
            validation.tofile(other := tmp_path / "val.bin")
        return checks_of(of_files(tmp_path / "rows.bin", other, Shape(**shape), "uint16"))

    return results


def with_copies(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, rows[:3]])


def with_swaps(rows: np.ndarray) -> np.ndarray:
    return rows[np.random.default_rng(0).permutation(len(rows))]


def spliced(rows: np.ndarray) -> np.ndarray:
    """Five rows continue with another row's grids from grid 13 on."""
    rows[:5, 13 * GRID :] = rows[5:10, 13 * GRID :]
    return rows


def with_wrong_id(rows: np.ndarray) -> np.ndarray:
    rows[7, 3] = 10_002
    return rows


def with_wrong_delimiter(rows: np.ndarray) -> np.ndarray:
    rows[7, GRID - 1] = 10_000
    return rows


def with_late_copy(rows: np.ndarray) -> np.ndarray:
    """A row that differs from another in its first grid only."""
    rows[9, GRID:] = rows[8, GRID:]
    return rows


# -- sound rows -----------------------------------------------------------------------------------------------------


def test_a_built_dataset_is_sound(smoke):
    done = run("audit", smoke(), "--band", "high")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert len(lines) <= 60 and max(map(len, lines)) <= 110
    assert lines[:5] == [
        str(smoke()),
        "rows   27 grids of 12 x 12 in 10 states, patches of 2 x 2",
        "tokens 1,026 a row, by the manifest",
        "part   high train (train): read all of 200 rows",
        "part   high validation (validation): read all of 20 rows",
    ]
    assert "ok    aligned     all rows are whole; delimiters are in place" in lines
    assert "ok    ids         0 to 10,001, the highest seen is 10,001" in lines
    assert "ok    one rule    each row has one rule throughout" in lines
    assert lines[-1] == f"ok: {smoke()}"


def test_as_json(smoke):
    done = run("audit", smoke("arrow"), "--band=high", "--rows=50", "--json")
    assert (done.status, done.err) == (0, "")
    result = json.loads(done.out)
    checks = result["checks"]
    assert {name: value["verdict"] for name, value in checks.items()} == SOUND | {"leakage": "ok"}
    assert [part["looked"] for part in result["parts"]] == [50, 20]
    assert (
        result["verdict"] == "ok" and result["row_tokens"] == 1026 and result["row_tokens_known"] == "by the manifest"
    )
    assert checks["consistent"]["agreement"] > 0.998 and checks["consistent"]["temperature"] <= 2e-4
    assert sum(checks["gzip ratio"]["histogram"].values()) == 70
    assert checks["gzip ratio"]["bands"]["high"] == 1 and 0.66 < checks["gzip ratio"]["noise"] < 0.68
    assert checks["leakage"]["streams_differ"] and checks["leakage"]["text"].endswith("; use --rows all to be sure")


def test_every_band_and_split_is_read(smoke):
    source = of_dataset(str(smoke()), None, None)
    assert [part.name for part in source.parts] == [
        "high train",
        "medium train",
        "high validation",
        "medium validation",
    ]
    assert sum(part.rows for part in source.parts) == 440
    results = checks_of(source)
    assert {name: v for name, v in verdicts(results).items() if v != "ok"} in ({}, {"alive": "look"})
    assert set(results["gzip ratio"].numbers["bands"]) == {"below", "low", "medium", "upper", "high"}
    assert results["gzip ratio"].numbers["bands"]["medium"] == 0.5


def test_a_dataset_on_the_hub(smoke, tmp_path):
    with site(tmp_path) as at:
        at.publish(smoke())
        done = at.run("audit", NAME, "--band=high", "--split=validation")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[3] == "part   high validation (validation): read all of 20 rows"


@pytest.mark.parametrize("to", ["nanogpt", "llmc"])
def test_exports_are_sound(smoke, tmp_path, to):
    engine.write(formats.plan(smoke(), "high", to), tmp_path / "out", lambda rows: None)
    source = of_files(tmp_path / "out", None, Shape(), "uint16")
    assert [(part.split, part.rows) for part in source.parts] == [("train", 200), ("validation", 20)]
    assert source.shape.row_tokens == 1026
    assert verdicts(checks_of(source)) == SOUND | {"leakage": "ok"}


def test_grids_that_are_not_square_are_sound(built, tmp_path):
    dataset = built("high", grid="10x14")
    assert verdicts(checks_of(of_dataset(str(dataset.folder), None, None))) == SOUND
    dataset.rows(np.arange(40), columns=("input_ids",))["input_ids"].tofile(tmp_path / "rows.bin")
    done = run("audit", tmp_path / "rows.bin", "--grid=10x14", "--json")
    result = json.loads(done.out)
    assert (done.status, result["height"], result["width"], result["row_tokens"]) == (0, 10, 14, 28 * 37)
    assert {name: check["verdict"] for name, check in result["checks"].items()} == SOUND
    wrong = json.loads(run("audit", tmp_path / "rows.bin", "--grid=14x10", "--json").out)["checks"]
    assert (wrong["aligned"]["verdict"], wrong["consistent"]["verdict"]) == ("ok", "look")
    assert wrong["consistent"]["agreement"] < 0.7  # neighbours across a wrong width are no neighbours


def test_the_released_codes_rows_are_sound(audited):
    tokens = np.load(ROOT / "tests" / "data" / "tokens.npz")
    results = audited(tokens["tokens"].astype(np.uint16))
    assert {name for name, v in verdicts(results).items() if v == "bad"} == set()
    scores = tokens["gzip_ratio"]
    assert results["gzip ratio"].numbers["median"] == pytest.approx(np.median(scores))
    assert results["gzip ratio"].numbers["most"] == scores.max()


@pytest.mark.parametrize("length", [988, 1024, 1025, 1026])
def test_the_row_length_is_found(rows, audited, length):
    cut = np.ascontiguousarray(rows[:60, :length])
    found, evidence = guess(Shape(), cut.reshape(-1))
    assert found == length
    assert evidence.startswith(
        f"found: {length:,} (24 rows tried: 24 whole, 24 under one rule, 24 ending with it); next"
    )
    assert verdicts(audited(cut)) == SOUND


def test_rows_without_delimiters(rows, audited):
    inner = np.ascontiguousarray(rows[:60].reshape(60, 27, GRID)[:, :, 1:-1]).reshape(60, -1)
    assert guess(Shape(delimiters=False), inner.reshape(-1))[0] == 972
    assert verdicts(audited(inner, delimiters=False)) == SOUND
    assert verdicts(audited(np.ascontiguousarray(inner[:, :970]), delimiters=False, row_tokens=970)) == SOUND


def test_rows_of_a_length_that_is_not_tried(rows, audited):
    short = np.ascontiguousarray(rows[:60, : 20 * GRID])
    assert audited(short)["one rule"].verdict == "bad"
    assert verdicts(audited(short, row_tokens=20 * GRID)) == SOUND


def test_short_rows_are_found_and_parts_of_others_are_not(rows):
    """Rows of 152 tokens are made for 128 positions; no row that is tried has 304, whose halves are whole as well."""
    found, evidence = guess(Shape(), np.ascontiguousarray(rows[:, : 4 * GRID]).reshape(-1))
    assert found == 4 * GRID and evidence.startswith("found: 152 (24 rows tried: 24 whole, 24 under one rule, ")
    found, evidence = guess(Shape(), np.ascontiguousarray(rows[:, : 8 * GRID]).reshape(-1))
    assert found > 8 * GRID and evidence.startswith("assumed")


def test_numpy_files(rows, tmp_path):
    np.save(tmp_path / "flat.npy", rows.reshape(-1))
    np.save(tmp_path / "table.npy", rows.astype(np.int64))
    rows.astype("<u4").tofile(tmp_path / "headerless.npy")
    known = []
    for name, dtype in (("flat.npy", "uint16"), ("table.npy", "uint16"), ("headerless.npy", "uint32")):
        source = of_files(tmp_path / name, None, Shape(), dtype)
        known.append(source.known_by)
        assert source.shape.row_tokens == 1026
        assert (source.parts[0].read(np.array([3, 7])) == rows[[3, 7]]).all()
    assert known[0].startswith("found: 1,026") and known[1] == "by the file's header"


def test_sampled_rows_are_evenly_spaced():
    assert chosen_rows(10, None).tolist() == chosen_rows(10, 99).tolist() == list(range(10))
    assert chosen_rows(101, 3).tolist() == [0, 50, 100]


# -- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "found", "text"),
    [
        (with_swaps, {}, ""),
        (
            with_copies,
            {"duplicates": "look"},
            "3 of 123 rows are copies of others, 3 are copies from the second grid on",
        ),
        (spliced, {"one rule": "bad"}, "5 of 120 rows change their rule, the first is rows.bin row 0 at grid 13"),
        (
            with_wrong_id,
            {"ids": "bad"},
            "1 of 120 rows have ids outside 0 to 10,001 (the highest is 10,002), the first is rows.bin row 7",
        ),
        (
            with_wrong_delimiter,
            {"aligned": "bad"},
            "1 of 120 rows have delimiters out of place, the first is rows.bin row 7",
        ),
    ],
)
def test_a_fault_is_found_by_its_check_only(rows, audited, change, found, text):
    results = audited(change(rows.copy()))
    assert verdicts(results) == SOUND | found
    for name in found:
        assert results[name].text == text


def test_a_copy_from_the_second_grid_on(rows, audited):
    results = audited(with_late_copy(rows.copy()))
    assert results["duplicates"].text == "0 of 120 rows are copies of others, 1 are copies from the second grid on"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda flat: np.roll(flat, -1), "120 of 120 rows have delimiters out of place, the first is rows.bin row 0;"
         " its first start-of-grid is token 37"),
        (lambda flat: flat[flat < 10_000], "113 of 113 rows have delimiters out of place, the first is rows.bin row 0;"
         " it has none: use --no-delimiters if there are none; rows.bin: 702 tokens are left over after the last row"),
    ],
)  # fmt: skip
def test_rows_that_are_all_misaligned(rows, audited, change, text):
    results = audited(change(rows.reshape(-1)))
    assert verdicts(results) == {"aligned": "bad", "ids": "ok"}
    assert results["aligned"].text == text


def test_a_truncated_file(rows, audited):
    results = audited(rows.reshape(-1)[:-500])
    assert verdicts(results) == SOUND | {"aligned": "bad"}
    assert results["aligned"].text == "rows.bin: 526 tokens are left over after the last row"


def test_a_truncated_file_with_a_header(smoke, tmp_path):
    engine.write(formats.plan(smoke(), "high", "llmc"), tmp_path / "out", lambda rows: None)
    whole = tmp_path / "out" / "nca_train_000000.bin"
    whole.write_bytes(whole.read_bytes()[: -2 * 1026])
    results = checks_of(of_files(whole, None, Shape(), "uint16"))
    assert verdicts(results) == SOUND | {"aligned": "bad"}
    text = "nca_train_000000.bin: the header promises 205,200 tokens, there are 204,174"
    assert results["aligned"].text == text


def test_dead_rows(rows, built, audited):
    dead = built("0-0.2")
    results = audited(np.concatenate([rows, dead.rows(np.arange(30))["input_ids"]]))
    assert verdicts(results) == SOUND | {"alive": "look"}
    assert results["alive"].numbers["frozen"] >= results["alive"].numbers["one_state"] >= 10


def test_noise(rows, built, audited):
    noise = built("high", temperature=1.0).rows(np.arange(40))["input_ids"]
    results = audited(noise)
    assert verdicts(results) == SOUND | {
        "consistent": "bad",
        "ladder": "look",
        "one rule": "none",
        "gzip ratio": "look",
    }
    assert results["consistent"].text.startswith("noise: neighbours tell 0.0")
    some = audited(np.concatenate([rows, noise[:6]]))
    assert verdicts(some) == SOUND | {"consistent": "look"}
    assert some["consistent"].text.endswith("; 6 of 126 rows are noise, the first is rows.bin row 120")


@pytest.mark.parametrize(("exact", "verdict"), [(0.0001, "ok"), (0.001, "ok"), (0.01, "look")])
def test_the_temperature_is_estimated(built, exact, verdict):
    results = checks_of(of_dataset(str(built("high", temperature=exact).folder), None, None))
    assert results["consistent"].verdict == verdict
    assert exact / 3 <= results["consistent"].numbers["temperature"] <= exact * 3


def test_temperatures():
    assert [temperature(agree) for agree in (1.0, 0.9992, 0.9933, 0.922, 0.2)] == [1e-4, 1e-4, 1e-3, 1e-2, 1e-1]


def test_validation_rows_that_are_training_rows(rows, audited):
    other = np.concatenate([rows[60:70], rows[100:]])
    results = audited(rows[:70], other)
    assert verdicts(results) == SOUND | {"leakage": "bad"}
    assert results["leakage"].text == (
        "of 30 validation rows 10 are in training, 10 from the second grid on, 10 share a first grid, 10 a rule"
    )


def test_validation_with_rules_of_training(built, audited):
    rows = built("medium", trajectories_per_rule=4).rows(np.arange(40))
    _, first = np.unique(rows["candidate"] // 4, return_index=True)
    ids, held = rows["input_ids"], np.isin(np.arange(40), first)
    shared = np.isin(rows["candidate"][held] // 4, rows["candidate"][~held] // 4).sum()
    results = audited(ids[~held], ids[held])
    numbers = results["leakage"].numbers
    assert results["leakage"].verdict == "bad" and (numbers["whole"], numbers["first_grid"]) == (0, 0)
    assert shared * 0.7 <= numbers["rules"] <= shared


def test_rows_of_every_second_step_have_no_verdict_on_rules(rows, audited):
    half = np.ascontiguousarray(rows.reshape(ROWS, 27, GRID)[:, ::2]).reshape(ROWS, -1)
    results = audited(half, stride=2, row_tokens=14 * GRID)
    assert verdicts(results) == SOUND | {"consistent": "none", "ladder": "none", "one rule": "none"}


def test_a_bad_file_has_status_1(rows, tmp_path):
    np.roll(rows, -1).tofile(tmp_path / "train.bin")
    rows[:20].tofile(tmp_path / "val.bin")
    done = run("audit", tmp_path, "--row-tokens=1026", "--rows=all")
    assert (done.status, done.err) == (1, "")
    assert done.out.splitlines()[-1] == f"bad: {tmp_path}"


# -- unreadable files ------------------------------------------------------------------------------------------------

UNREADABLE = {
    b"": "is empty: it holds no tokens",
    b"to be or not to be\n": "is text: use flat tokens (.bin, .npy), or a dataset's folder",
    b"PAR1\x00\x00\x00\x00": "is a Parquet file: use flat tokens (.bin, .npy), or a dataset's folder",
    b"PK\x03\x04aaaa": "is a zip or .npz archive: use flat tokens (.bin, .npy), or a dataset's folder",
    b"\x10\x27\x01": "has 3 bytes of tokens, no whole number of uint16: it is cut or damaged",
    b"\x10\x27" * 99: "has 99 tokens, under one row of 1,026: use --row-tokens",
    b"\x10\x27\x00\x00" * 99: "looks like uint32, every second uint16 is 0: use --dtype uint32",
    b"\x93NUMPY\x01\x00v\x00{": "is a damaged NumPy file: its header does not fit it",
    np.array(
        [20240520, 3] + [0] * 254, "<i4"
    ).tobytes(): "is llm.c's format in version 3: versions 1 and 7 can be read",
}


@pytest.mark.parametrize("content", UNREADABLE)
def test_files_without_tokens_are_refused(tmp_path, content):
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    with pytest.raises(NcagenError) as caught:
        of_files(path, None, Shape(), "uint16")
    assert str(caught.value) == f"{path} {UNREADABLE[content]}"


def test_the_other_dtype_is_refused(rows, tmp_path):
    rows.tofile(path := tmp_path / "a.bin")
    with pytest.raises(NcagenError) as caught:
        read(path, "uint32", 10_002)
    assert str(caught.value) == f"{path} looks like uint16, as uint32 its ids are over 65,535: use --dtype uint16"


def test_numpy_files_without_tokens_are_refused(tmp_path):
    path = tmp_path / "a.npy"
    for value, what in ((np.zeros((2, 3)), "float64 2 x 3"), (np.zeros((2, 2, 2), int), "int64 2 x 2 x 2")):
        np.save(path, value)
        with pytest.raises(NcagenError) as caught:
            read(path, "uint16", 10_002)
        assert str(caught.value) == f"{path} holds {what}: use integers, as [token] or [row, token]"


def test_objects_in_numpy_files_are_not_loaded(tmp_path):
    np.save(path := tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(NcagenError, match="is a damaged NumPy file"):
        read(path, "uint16", 10_002)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["{there}/none/of/them"], "{there}/none/of/them does not exist: use a dataset's folder, a file of tokens, or"
         " user/name on the Hub"),
        (["{there}"], "{there} holds neither a dataset (manifest.json) nor train*.bin: use a dataset's folder, or name"
         " a file"),
        (["{data}", "--states=5"], "--states is for files: {data} has a manifest that says it"),
        (["{data}", "--band=low"], "{data} has no rows of --band low: it has high train, medium train, high validation,"
         " medium validation"),
        (["{there}", "--split=train"], "--split is for datasets: {there} has no manifest"),
        (["{there}", "--grid=13"], "grid 13 is not divisible by patch 2: use a patch of 1, 13"),
        (["{there}", "--rows=0"], "--rows '0' is not a number of rows: use 1 or more, or all"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_one_line(smoke, tmp_path, arguments, text):
    names = {"there": str(tmp_path), "data": str(smoke())}
    done = run("audit", *(argument.format(**names) for argument in arguments))
    assert (done.status, done.out, done.err) == (2, "", f"ncagen: {text.format(**names)}\n")


# -- the parts ------------------------------------------------------------------------------------------------------


def test_around_is_the_torus():
    grids = np.random.default_rng(0).integers(0, 10, (2, 3, 4, 4), np.uint8)
    found = list(around(grids))
    assert (found[4] == grids[:, :-1]).all()
    assert (found[0] == np.roll(grids[:, :-1], (1, 1), (2, 3))).all()
    assert (found[5] == np.roll(grids[:, :-1], -1, 3)).all()


def test_agreement_counts_repeats():
    still = np.ones((1, 3, 3, 3), np.uint8)
    repeats, agreed = agreement(still, 10)
    assert (repeats.tolist(), agreed.tolist()) == ([17], [17])
    still[0, 2] = np.arange(9).reshape(3, 3)
    repeats, agreed = agreement(still, 10)
    assert (repeats.tolist(), agreed.tolist()) == ([17], [8])  # the first nine lead to 1, the others to 0, 1, ..., 8


def test_a_step_is_cleared_by_repeats_elsewhere_in_the_row(built):
    dataset = built("medium", trajectories_per_rule=4)
    shape = Shape.of(source_of(dataset.manifest.spec).settings)
    grids = shape.grids_of(shape.patches_of(dataset.rows(np.arange(2), columns=("input_ids",))["input_ids"]))
    other = Dataset(built("medium", seed=1).folder).rows(np.array([0]), columns=("input_ids",))["input_ids"]
    spliced = np.concatenate([grids[0, :13], shape.grids_of(shape.patches_of(other))[0, 13:]])
    assert follows(grids[0], 12) and not follows(spliced, 12)
    assert not follows(np.zeros((5, 12, 12), np.uint8), 2)  # one state tells nothing


def test_impossible_shapes_are_refused():
    with pytest.raises(NcagenError, match="row-tokens 50 is under two grids: use 76 or more"):
        Shape(row_tokens=50)
    with pytest.raises(NcagenError, match="states 1 is out of range: use 2 to 256"):
        Shape(states=1)


def test_the_page_of_many_parts(smoke):
    source = of_dataset(str(smoke()), "high", "train")
    many = Audited(source.name, source.shape, source.known_by, source.parts * 20)
    found = look(many, 5)
    results = check(found)
    text = page(found, results)
    assert len(text.splitlines()) <= 60 and "part   and 14 more" in text
    assert verdict(results) == "look"  # the same rows twenty times are duplicates
    assert Path(text.splitlines()[0]) == smoke()
