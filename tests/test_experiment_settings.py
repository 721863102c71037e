"""Which experiments can be: settings of several arms to a spec, and the line for each that cannot."""

import itertools
import json
from dataclasses import replace
from functools import partial

import pytest
from conftest import error_of, run_here
from hypothesis import given
from hypothesis import strategies as st
from test_second_source import Digits

from ncagen import sources
from ncagen.commands.corpus import with_corpus
from ncagen.dataset.experiment import DatasetSpec, ExperimentManifest, ExperimentSpec, Made, parse
from ncagen.dataset.folder import Folder
from ncagen.factory import text_corpus
from ncagen.factory.experiment import experiment_from_settings, is_experiment
from ncagen.factory.settings import from_settings

TWO = {
    "tokens": "200K",
    "validation": "20K",
    "band": "high",
    "rows_per_shard": 70,
    "arm": {"small": {"grid": 8, "states": 4}, "large": {}},
}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "digits", Digits)


def test_every_arm_has_the_settings_above_the_arms():
    spec = experiment_from_settings(TWO)
    assert [arm.name for arm in spec.arms] == ["large", "small"]
    shared = {key: TWO[key] for key in ("tokens", "validation", "band", "rows_per_shard")}
    assert spec.arms[0].spec == from_settings(shared)
    assert spec.arms[1].spec == from_settings(shared | {"grid": 8, "states": 4})
    assert (spec.name, spec.vocabulary, spec.tests) == ("experiment", "own", ())


def test_an_arm_may_have_its_own_tokens_and_band():
    arms = {"small": {"tokens": "1M", "bands": ["low", "medium"]}, "large": {"for": "code"}}
    small, large = reversed(experiment_from_settings(TWO | {"arm": arms}).arms)
    assert (small.spec.tokens, [band.name for band in small.spec.bands]) == (1_000_000, ["low", "medium"])
    assert (large.spec.tokens, [band.name for band in large.spec.bands]) == (200_000, ["medium"])


def test_an_arm_may_have_a_test_split():
    (arm,) = experiment_from_settings(TWO | {"arm": {"a": {"test": "20K"}}}).arms
    assert arm.rows == {"train": 196, "validation": 20, "test": 20}


def test_a_file_with_a_table_is_an_experiment():
    assert is_experiment({"arm": {}}) and is_experiment({"test": {}}) and is_experiment({"arms": {"high": {}}})
    assert not is_experiment({"tokens": "1M", "test": "1M", "bands": ["high"]})


def test_names_of_settings_may_have_hyphens():
    hyphens = {"tokens": "200K", "rows-per-shard": 70, "seq-len": "2k", "arm": {"a": {"band-normalised": "0.8-0.9"}}}
    spec = experiment_from_settings(hyphens).arms[0].spec
    assert (spec.seq_len, spec.rows_per_shard, spec.bands[0].name) == (2048, 70, "normalised-0.8-0.9")


def test_the_order_of_the_arms_decides_nothing():
    other = TWO | {"arm": dict(reversed(TWO["arm"].items()))}
    assert experiment_from_settings(other) == experiment_from_settings(TWO)
    assert experiment_from_settings(other).canonical() == experiment_from_settings(TWO).canonical()


def test_a_spec_survives_json():
    tests = {"wide": {"of": "large", "tokens": "20K", "grid": 16}}
    spec = experiment_from_settings(TWO | {"vocabulary": "shared", "name": "two", "test": tests})
    assert ExperimentSpec.from_dict(json.loads(spec.canonical())) == spec


def test_a_test_set_is_its_arm_with_some_settings_changed():
    tests = {
        "band": {"of": "small", "tokens": "20K", "band": "medium"},
        "states": {"of": "small", "tokens": "20K", "states": 3},
        "longer": {"of": "large", "tokens": "20K", "seq_len": "4k"},
    }
    band, longer, states = experiment_from_settings(TWO | {"test": tests}).tests
    assert [(t.name, t.of, t.path) for t in (band, longer)] == [
        ("band", "small", "test/band"),
        ("longer", "large", "test/longer"),
    ]
    for test in (band, longer, states):
        assert test.rows.keys() == {"test"} and test.spec.seed == 0
    values, arm = dict(states.spec.source.values), dict(experiment_from_settings(TWO).arms[1].spec.source.values)
    assert values == arm | {"states": 3}
    assert [b.name for b in band.spec.bands] == ["medium"] and [b.name for b in states.spec.bands] == ["high"]
    assert (longer.spec.seq_len, longer.rows) == (4096, {"test": 5})


NAME = "is not a name: use up to 64 of a-z, 0-9, - and _, a letter or digit first, as in nca-high"
TEST = {"of": "large", "tokens": "20K"}


@pytest.mark.parametrize(
    "changes, line",
    [
        ({"arm": {}}, "the experiment has no arm: add a table such as [arm.high]"),
        ({"arm": "high"}, "arm 'high' is no table: use [arm.NAME]"),
        ({"arm": {"high": 1}}, "arm.high 1 is no table: use [arm.NAME] with settings below it"),
        ({"arm": {"../up": {}}}, f"arm '../up' {NAME}"),
        ({"arm": {"High": {}}}, f"arm 'High' {NAME}"),
        ({"arm": {"": {}}}, f"arm '' {NAME}"),
        ({"arm": {"test": {}}}, "arm 'test' would take the folder of the test sets: use another name"),
        (
            {"arm": {"a": {}, "b": {"for": "web"}}},
            "arm 'b' has the settings of arm 'a': change one of them, or leave it out",
        ),
        ({"test": "1M"}, "test '1M' is no table: use [test.NAME]"),
        ({"arms": {"high": {}}}, "setting 'arms' is not known: did you mean 'arm'?"),
        ({"name": "my experiment"}, f"experiment 'my experiment' {NAME}"),
        ({"seq_len": 0}, "arm 'small': seq_len 0 is out of range: use 64 to 131072"),
        (
            {"arm": {"a": {"source": "life", "states": 3}}},
            "arm 'a': setting 'states' is of source nca, not of life: leave it out",
        ),
        ({"vocabulary": "one"}, "vocabulary 'one' is not known: use own or shared"),
        ({"vocabulry": "own"}, "setting 'vocabulry' is not known: did you mean 'vocabulary'?"),
        ({"arm": {"a": {"gird": 8}}}, "arm 'a': setting 'gird' is not known: did you mean 'grid'?"),
        (
            {"arm": {"a": {"source": "dyk"}}},
            f"arm 'a': source 'dyk' is not known: use {', '.join(sources.SOURCES)}, digits",
        ),
        ({"arm": {"a": {"tokens": "many"}}}, "arm 'a': tokens 'many' is not a number of tokens: use digits and K, M, B"
         " or T, as in 164M"),
        (
            {"arm": {"a": {"seq_len": 2048}}},
            "arm 'a' has seq_len of its own: write it once, above the arms, for all of them",
        ),
        ({"arm": {"a": {"seed": 1}}}, "arm 'a' has seed of its own: write it once, above the arms, for all of them"),
        ({"arm": {"a": {"out": "b"}}}, "arm 'a' has out of its own: write it once, above the arms, for all of them"),
        (
            {"arm": {"a": {"source": "digits"}}},
            "arm 'a': band 'high' selects by a measure, and source digits has none",
        ),
        (
            {"test": {"t": {"tokens": "20K"}}},
            "test set 't' does not say of which arm it is: use of = \"small\" or \"large\"",
        ),
        (
            {"test": {"t": {"of": "medium", "tokens": "20K"}}},
            "test set 't' is of arm 'medium': use of = \"small\" or \"large\"",
        ),
        (
            {"test": {"t": {"of": "large"}}},
            "test set 't' has no tokens of its own: say how many, as in tokens = \"1M\"",
        ),
        (
            {"test": {"t": TEST | {"source": "nca"}}},
            "test set 't' has source of its own: it has that of its arm, leave it out",
        ),
        (
            {"arm": {"large": {"source": "text"}}, "test": {"t": TEST}},
            "test set 't' is of arm 'large', whose own build has to hold its rows back: leave it out, and write"
            ' test = "1M" below [arm.large]',
        ),
        ({"test": {"t": TEST | {"states": 1}}}, None),
        ({"test": {"T": TEST}}, f"test set 'T' {NAME}"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(changes, line):
    if line is None:
        line = "test set 't': " + error_of(from_settings, {"tokens": "20K", "band": "high", "states": 1})
    assert error_of(experiment_from_settings, TWO | changes) == line


def test_arms_are_no_settings_of_one_dataset():
    line = "settings with arms are of an experiment: use ncagen.build_experiment, or those of one arm"
    assert error_of(from_settings, TWO) == line


def test_test_sets_need_an_arm(tmp_path):
    file = tmp_path / "e.toml"
    file.write_text('tokens = "200K"\nband = "high"\n[test.t]\nof = "a"\ntokens = "20K"\n')
    done = run_here("build", file, "--out", tmp_path / "e")
    assert (done.status, done.err) == (2, "ncagen: test set 't' is of arm 'a': use of = an arm's name\n")


def test_files_are_read_after_all_other_checks_and_their_errors_name_the_arm(tmp_path, monkeypatch):
    monkeypatch.setattr(text_corpus, "corpus_of", lambda options, progress: pytest.fail("reads the files"))
    text = {"source": "text", "files": "nowhere.txt", "tokenizer": "nowhere.json"}
    for changes, line in [
        ({"z": {"source": "dyck", "k": 0}}, "arm 'z': k 0 is out of range: use 1 to 32,767"),
        ({"a": text | {"documents": "whole"}}, "arm 'a': documents 'whole' is not known: use packed or split"),
        ({"a": text | {"band": "0.9-0.5"}}, "arm 'a': band '0.9-0.5' is empty: its first limit must be below its"
         " second, as in 0.35-0.45"),
    ]:  # fmt: skip
        arms = {"tokens": "20K", "band": "0.3-0.5", "arm": {"a": text} | changes}
        assert error_of(experiment_from_settings, arms, partial(with_corpus, quiet=True)) == line
    monkeypatch.undo()
    arms = {"tokens": "20K", "arm": {"a": text}}
    monkeypatch.chdir(tmp_path)
    line = "arm 'a': file 'nowhere.txt' cannot be read: there is no such file"
    assert error_of(experiment_from_settings, arms, partial(with_corpus, quiet=True)) == line


def test_no_spec_has_arms_that_do_not_match():
    one = DatasetSpec("a", from_settings({"tokens": "1M", "band": "high"}))
    for name, value in (("seed", 1), ("seq_len", 2048)):
        other = DatasetSpec("b", replace(one.spec, **{name: value}))
        line = f"arm 'b' has {name} {value} and arm 'a' {getattr(one.spec, name)}: use one for all arms"
        assert error_of(ExperimentSpec, "e", "own", (one, other)) == line
    assert error_of(ExperimentSpec, "e", "own", (one, one)) == "arm 'a' is given twice"
    test = DatasetSpec("t", replace(one.spec, tokens=0, validation=0, test=1), "b")
    assert error_of(ExperimentSpec, "e", "own", (one,), (test,)) == "test set 't' is of arm 'b': use a"


@pytest.mark.parametrize(
    "place, within",
    [
        ("data/arms", "data/arms/test/wide"),
        ("data/arms/", "data/arms/test/wide"),
        ("file:///data/arms", "file:///data/arms/test/wide"),
        ("s3://bucket/arms?region=eu-west-1", "s3://bucket/arms/test/wide?region=eu-west-1"),
        ("s3://bucket", "s3://bucket/test/wide"),
        ("data/a?b", "data/a?b/test/wide"),
    ],
)
def test_a_dataset_s_folder_is_within_the_experiment_s(place, within):
    assert str(Folder(place).within("test/wide")) == within


def test_a_command_with_it_writes_nothing(tmp_path):
    file = tmp_path / "e.toml"
    file.write_text('tokens = "200K"\nband = "high"\n[arm.a]\nstates = 1\n')
    done = run_here("build", file, "--out", tmp_path / "e")
    assert done.status == 2 and done.err.startswith("ncagen: arm 'a': states 1 is out of range")
    file.write_text('tokens = "200K"\nband = "high"\n[arm.a]\n[arm.a]\n')
    assert run_here("build", file, "--out", tmp_path / "e").err.startswith(f"ncagen: spec file '{file}' is not TOML: ")
    file.write_text('tokens = "200K"\nband = "high"\n[arm.a]\n')
    assert run_here("build", file).err == "ncagen: no folder is given: use --out, as in --out data/nca-high\n"
    assert run_here("build", file, "--tokens", "1M", "--out", tmp_path / "e").err == (
        f"ncagen: --tokens and the spec file '{file}' are both given: use one, or edit a copy of the file\n"
    )
    assert not (tmp_path / "e").exists()


COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.integers(1, 2**20), min_size=1, max_size=4), min_size=1)


@given(COUNTS)
def test_shared_ids_are_ranges_without_gap_or_overlap(counts):
    """counts: of each arm, the ids that it and its test sets have."""
    sizes = itertools.count(1)  # so that no two datasets are the same
    spec = from_settings({"tokens": 1, "band": "high"})
    arms = tuple(DatasetSpec(name, replace(spec, tokens=next(sizes))) for name in counts)
    names = [(f"{name}{n}", name) for name, ids in counts.items() for n in range(len(ids) - 1)]
    tests = tuple(DatasetSpec(name, replace(spec, tokens=next(sizes)), of) for name, of in names)
    made = {arm.path: Made("0" * 64, counts[arm.name][0]) for arm in arms}
    made |= {test.path: Made("0" * 64, counts[test.of][1 + int(test.name[1:])]) for test in tests}
    shared = ExperimentManifest(ExperimentSpec("a", "shared", arms, tests), made)
    first = 0
    for name in sorted(counts):
        datasets = [dataset for dataset in shared.spec.datasets if dataset.arm == name]
        assert {shared.offset(dataset) for dataset in datasets} == {first}
        first += max(counts[name])
    assert shared.vocabulary == first
    own = ExperimentManifest(ExperimentSpec("a", "own", arms, tests), made)
    assert {own.offset(dataset) for dataset in own.spec.datasets} == {0}
    assert own.vocabulary == max(map(max, counts.values()))
    assert parse(own.document(), "a") == own and parse(shared.document(), "a") == shared


@pytest.mark.parametrize(
    "old, new, said",
    [
        ('"offset": 10002,', '"offset": 10003,', "its hash does not match what it says"),
        ('"name": "two"', '"name": "four"', "its hash does not match what it says"),
        ('"experiment_sha256": "', '"experiment_sha256": "0', "its hash does not match what it says"),
        (
            '"experiment_version": 1',
            '"experiment_version": 1, "experiment_version": 2',
            "'experiment_version' is in it",
        ),
        ('"vocabulary": 258,', '"vocabulary": 0,', "arm 'small' has no hash and vocabulary"),
        ('"vocabulary": "shared"', '"vocabulary": "all"', "vocabulary 'all' is not known: use own or shared"),
        ('"tests"', '"texts"', "the experiment is incomplete: 'tests'"),
    ],
)
def test_an_experiment_json_that_was_changed_is_damaged(old, new, said):
    spec = experiment_from_settings(TWO | {"name": "two", "vocabulary": "shared"})
    manifest = ExperimentManifest(spec, {"large": Made("0" * 64, 10002), "small": Made("1" * 64, 258)})
    text = manifest.document().decode()
    assert parse(text.encode(), "e.json") == manifest and old in text
    assert error_of(parse, text.replace(old, new).encode(), "e.json").startswith(f"e.json is damaged: {said}")
