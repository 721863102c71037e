"""The build spec: what people may type, what it means exactly, and the line they get for anything else."""

import json
import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ncagen.errors import SpecError
from ncagen.factory.settings import from_settings, parse_seq_len, parse_tokens, read_spec_file
from ncagen.row_format import Measure
from ncagen.selection import BANDS, Band
from ncagen.sources import source_of
from ncagen.spec import BuildSpec

HIGH = Band("high", 0.5, 1.0)


def order(**settings) -> BuildSpec:
    return from_settings({"tokens": "164M", "band": "high"} | settings)


def automaton(**settings):
    """The settings of the spec's source."""
    return source_of(order(**settings)).settings


def measure(denominator: int) -> Measure:
    return Measure("gzip_bytes", "gzip_ratio", Fraction(denominator))


def message(call, *arguments, **settings) -> str:
    """The text of the SpecError that a call raises."""
    with pytest.raises(SpecError) as caught:
        call(*arguments, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("164M", 164_000_000),
        ("1.5B", 1_500_000_000),
        ("1_000", 1000),
        ("0.5k", 500),
        (".5K", 500),
        ("1T", 10**12),
        (" 20m ", 20_000_000),
        (7, 7),
        (1e6, 1_000_000),
        (1e16, 10**16),
        ("1e6", 1_000_000),
        ("1.64E+8", 164_000_000),
        ("1000e-3", 1),
        ("0.123456789T", 123_456_789_000),
    ],
)
def test_tokens_are_read(text, number):
    assert parse_tokens(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "M",
        "1e",
        "1e6M",
        "15e-1",
        "1e999",
        "1.5",
        "0.0001K",
        "12Q",
        "1.2.3M",
        "_1",
        "\u0661M",
        "nan",
        "9" * 5000,
        True,
    ],
)
def test_what_is_no_number_of_tokens_is_refused(text):
    expected = f"tokens {str(text)!r} is not a number of tokens: use digits and K, M, B or T, as in 164M"
    assert message(parse_tokens, text) == expected


def test_too_few_tokens_are_refused():
    assert message(parse_tokens, "0") == "tokens '0' is too few: use 1 or more, as in 164M"
    assert message(parse_tokens, "-5") == "tokens '-5' is too few: use 1 or more, as in 164M"
    assert message(order, validation="-1") == "validation '-1' is too few: use 0 or more, as in 164M"
    assert order(validation=0).validation == 0


@given(st.integers(1, 10**15))
def test_tokens_written_in_full_are_themselves(number):
    assert parse_tokens(str(number)) == parse_tokens(f"{number:_}") == number


@given(st.integers(1, 10**6), st.sampled_from("KMBT"))
def test_suffixes_are_powers_of_a_thousand(number, suffix):
    assert parse_tokens(f"{number}{suffix}") == number * 1000 ** ("KMBT".index(suffix) + 1)


@given(st.text(max_size=12))
def test_any_text_is_a_number_of_tokens_or_one_line(text):
    try:
        assert parse_tokens(text) >= 1
    except SpecError as error:
        assert "\n" not in str(error)


def test_row_lengths_are_read():
    assert [parse_seq_len(text) for text in ("1024", "8k", "16K", 2048)] == [1024, 8192, 16384, 2048]
    assert message(parse_seq_len, "8m") == "seq_len '8m' is not a length: use 64 to 128k, as in 1024 or 8k"
    assert message(parse_seq_len, "-1") == "seq_len '-1' is not a length: use 64 to 128k, as in 1024 or 8k"
    assert message(order, seq_len="129k") == "seq_len 132096 is out of range: use 64 to 131072"
    assert message(order, seq_len=63) == "seq_len 63 is out of range: use 64 to 131072"


def test_bands_are_read_by_name_or_limits():
    assert Band.parse("high") == HIGH
    assert Band.parse("0.35-0.45") == Band("0.35-0.45", 0.35, 0.45)
    assert Band.parse(".350-.4500") == Band("0.35-0.45", 0.35, 0.45)
    assert Band.parse("0-1") == Band("0-1", 0.0, 1.0)
    assert Band.parse("0.12345678-0.12345679").name == "0.12345678-0.12345679"
    assert Band.parse("0.00001-0.1").name == "0.00001-0.1"


@pytest.mark.parametrize(
    "text", ["loud", "", "0.5", "0.5-", "-0.5", "a-b", "1e-3-0.5", "0.3--0.5", "high ", "0.\u0663-0.5"]
)
def test_an_unknown_band_is_refused(text):
    expected = f"band {text!r} is not known: use low, medium, upper, high, or limits such as 0.35-0.45"
    assert message(Band.parse, text) == expected


@pytest.mark.parametrize("text", ["0.5-0.5", "0.5-0.3"])
def test_an_empty_or_reversed_band_is_refused(text):
    expected = f"band {text!r} is empty: its first limit must be below its second, as in 0.35-0.45"
    assert message(Band.parse, text) == expected


@pytest.mark.parametrize("text", ["0.5-2.1", "50-100", "0-" + "9" * 400])
def test_a_band_beyond_any_ratio_is_refused(text):
    assert message(Band.parse, text) == f"band {text!r} is out of range: use limits from 0 to 2, as in 0.35-0.45"


def test_a_band_is_exact():
    assert HIGH.limits(measure(1440)) == (720, 1440)
    assert Band.parse("low").limits(measure(1440)) == (288, 432)
    assert Band.parse("medium").limits(measure(1440)) == (432, 576)
    assert Band.parse("0.35-0.45").limits(measure(1000)) == (350, 450)
    # In floating point 0.07 * 100 and 0.57 * 100 are 7.000000000000001 and 56.99999999999999.
    assert Band.parse("0.07-0.57").limits(measure(100)) == (7, 57)


limits = st.decimals(0, 2, places=4, allow_nan=False)


@given(limits, limits, st.integers(40, 10**6), st.data())
def test_a_length_is_in_a_band_if_its_exact_ratio_is(low, high, scored, data):
    assume(low < high)
    first, end = Band.parse(f"{low:f}-{high:f}").limits(measure(scored))
    length = data.draw(st.integers(max(0, first - 2), end + 2))
    assert (first <= length < end) == (Fraction(low) <= Fraction(length, scored) < Fraction(high))


@given(st.integers(40, 10**6), st.data())
def test_the_four_bands_share_out_every_length(scored, data):
    length = data.draw(st.integers(math.ceil(Fraction(1, 5) * scored), scored - 1))
    bands = [Band.parse(name).limits(measure(scored)) for name in BANDS]
    assert sum(first <= length < end for first, end in bands) == 1


@given(limits, limits)
def test_a_band_is_its_name(low, high):
    assume(low < high)
    band = Band.parse(f"{low:f}-{high:f}")
    assert Band.parse(band.name) == band
    assert not set(band.name) & set("/\\ ")


def test_presets_set_temperature_and_start():
    assert (automaton().temperature, automaton().start) == (1e-4, "categorical")
    assert (automaton(preset="paper").temperature, automaton(preset="paper").start) == (1e-3, "uniform")
    assert automaton(preset="paper", temperature=0.5).temperature == 0.5
    assert message(order, preset="papre") == "preset 'papre' is not known: use released or paper"
    assert message(order, preset=["paper"]) == "preset ['paper'] is not known: use released or paper"


def test_domains_name_the_papers_bands():
    for domain, band in {"web": "high", "math": "high", "code": "medium"}.items():
        assert [b.name for b in order(band=None, **{"for": domain}).bands] == [band]
    assert [b.name for b in order(**{"for": "math"}).bands] == ["high"]
    assert message(order, **{"for": "poems"}) == "domain 'poems' is not known: use web, math, code"


def test_several_bands_keep_their_order():
    assert [b.name for b in order(band=["medium", "0.6-0.7"], bands="high").bands] == ["medium", "0.6-0.7", "high"]
    assert len(order(band=["high", "high"]).bands) == 1
    assert message(order, band=["0.5-0.6", "0.50-0.6"]) == "band '0.5-0.6' is given twice"
    expected = "no band is given: use --band high (web text, math), --band medium (code) or --for code"
    assert message(order, band=None) == expected
    assert message(order, band=5) == "band '5' is not known: use low, medium, upper, high, or limits such as 0.35-0.45"


def test_an_unknown_setting_gets_the_nearest():
    assert message(order, temprature=1) == "setting 'temprature' is not known: did you mean 'temperature'?"
    assert message(order, **{"seq-length": 1}) == "setting 'seq_length' is not known: did you mean 'seq_len'?"
    assert message(order, fromat="arrow") == "setting 'fromat' is not known: did you mean 'format'?"
    assert message(order, zzz=1).startswith("setting 'zzz' is not known: known are tokens, validation, test, seed, ")
    assert order(**{"seq-len": "2k"}).seq_len == 2048


def test_tokens_must_be_given():
    assert message(from_settings, {"band": "high"}) == "tokens is missing: say how many, as in --tokens 164M"


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("seed", -1, "seed -1 is out of range: use 0 to 4294967295"),
        ("seed", 2**32, "seed 4294967296 is out of range: use 0 to 4294967295"),
        ("seed", "5", "seed '5' is not a whole number"),
        ("seed", 1.0, "seed 1.0 is not a whole number"),
        ("tokens", "2000T", "tokens 2000000000000000 is out of range: use 1 to 1000000000000000"),
        ("rows_per_shard", 0, "rows_per_shard 0 is out of range: use 1 to 1000000"),
        ("states", 1, "states 1 is out of range: use 2 to 256"),
        ("states", 257, "states 257 is out of range: use 2 to 256"),
        ("states", True, "states True is not a whole number"),
        ("grid", 129, "grid 129 is out of range: use 3 to 128"),
        ("patch", 0, "patch 0 is out of range: use 1 to 128"),
        ("warmup", -1, "warmup -1 is out of range: use 0 to 1000000"),
        ("stride", 0, "stride 0 is out of range: use 1 to 10000"),
        ("temperature", -0.5, "temperature -0.5 is out of range: use 0 to 1"),
        ("temperature", 2, "temperature 2.0 is out of range: use 0 to 1"),
        ("temperature", math.nan, "temperature nan is out of range: use 0 to 1"),
        ("temperature", "hot", "temperature 'hot' is not a number"),
        ("identity_bias", 11, "identity_bias 11.0 is out of range: use -10 to 10"),
        ("trajectories_per_rule", 0, "trajectories_per_rule 0 is out of range: use 1 to 1000000"),
        ("channel_wrap", "no", "channel_wrap 'no' is not true or false"),
        ("start", "zeros", "start 'zeros' is not known: use categorical or uniform"),
        ("patch", 5, "grid 12 is not divisible by patch 5: use a patch of 1, 2, 3, 4, 6, 12"),
        (
            "patch",
            4,
            "vocabulary of states 10 to the power 16 (the cells of a patch), and 2, is over 4294967296:"
            " use fewer states or a smaller patch",
        ),
        (
            "patch",
            12,
            "vocabulary of states 10 to the power 144 (the cells of a patch), and 2, is over 4294967296:"
            " use fewer states or a smaller patch",
        ),
    ],
)
def test_a_setting_out_of_range_is_refused(setting, value, expected):
    assert message(order, **{setting: value}) == expected


def test_a_band_between_two_lengths_is_refused():
    expected = "band '0.5001-0.5002' holds no gzip_bytes of 1440: make it wider"
    assert message(order, band="0.5001-0.5002") == expected


def test_a_largest_vocabulary_is_refused_in_one_short_line():
    assert len(message(order, states=256, grid=128, patch=128)) < 200


def test_orders_are_read_from_toml(tmp_path):
    path = tmp_path / "order.toml"
    path.write_text('tokens = "164M"\nbands = ["high", "medium"]\ntemperature = 0\nout = "here"\nformat = "arrow"\n')
    spec = from_settings(read_spec_file(path))
    assert (spec.tokens, source_of(spec).settings.temperature) == (164_000_000, 0.0)
    assert [band.name for band in spec.bands] == ["high", "medium"]


def test_an_order_that_cannot_be_read_is_refused(tmp_path):
    path = tmp_path / "order.toml"
    assert message(read_spec_file, path) == f"spec file '{path}' cannot be read: No such file or directory"
    assert message(read_spec_file, tmp_path) == f"spec file '{tmp_path}' cannot be read: Is a directory"
    path.write_text("tokens = \n")
    assert message(read_spec_file, path) == f"spec file '{path}' is not TOML: Invalid value (at line 1, column 10)"
    path.write_bytes(b"\xff\xfe")
    assert message(read_spec_file, path).startswith(f"spec file '{path}' is not TOML: ")


def test_derived_sizes_of_the_default():
    spec = order()
    rows, [measured] = source_of(spec).row_format, source_of(spec).measures
    assert (rows.vocabulary, rows.token_dtype, rows.row_tokens, rows.seq_len) == (10_002, "uint16", 1026, 1024)
    assert (rows.unpredictable, rows.structural) == (38, (10_000, 10_001))
    assert measured == measure(1440)
    assert (spec.rows("train"), spec.shards("train")) == (160_157, 40)
    assert (spec.rows("validation"), spec.shards("validation")) == (977, 1)


@pytest.mark.parametrize(
    ("settings", "frames", "row_tokens"),
    [
        ({"seq_len": 1000}, 27, 1026),
        ({"seq_len": 1025}, 27, 1026),
        ({"seq_len": 1026}, 28, 1064),
        ({"seq_len": "2k"}, 54, 2052),
        ({"seq_len": "4k"}, 108, 4104),
        ({"seq_len": "8k"}, 216, 8208),
        ({"seq_len": "16k"}, 432, 16416),
        ({"grid": 128}, 1, 4098),
        ({"grid": 32, "patch": 4, "states": 2}, 16, 1056),
        ({"grid": 3, "patch": 3, "states": 2}, 342, 1026),
        ({"grid": 12, "patch": 1}, 8, 1168),
    ],
)
def test_a_row_is_the_fewest_grids_that_train(settings, frames, row_tokens):
    grids = automaton(**settings)
    assert (grids.frames, grids.row_tokens) == (frames, row_tokens)
    assert grids.row_tokens - grids.tokens_per_grid < grids.seq_len + 1 <= grids.row_tokens
    assert grids.scored_bytes == min(10, frames) * grids.patches * 4


@pytest.mark.parametrize(
    ("states", "patch", "dtype"), [(10, 2, "uint16"), (15, 2, "uint16"), (16, 2, "uint32"), (255, 2, "uint32")]
)
def test_tokens_take_the_narrower_dtype(states, patch, dtype):
    rows = source_of(order(states=states, patch=patch)).row_format
    assert rows.token_dtype == dtype
    assert (rows.vocabulary <= 65536) == (dtype == "uint16")


def test_the_two_delimiters_count_for_the_vocabulary():
    expected = "vocabulary of states 256 to the power 4 (the cells of a patch), and 2, is over 4294967296"
    assert message(order, states=256).startswith(expected)


@given(st.integers(1, 10**12), st.integers(0, 10**9), st.integers(1, 10**6), st.integers(1000, 16384))
def test_shards_hold_all_rows_and_only_the_last_fewer(tokens, validation, rows_per_shard, seq_len):
    spec = order(tokens=tokens, validation=validation, rows_per_shard=rows_per_shard, seq_len=seq_len)
    for split, wanted in (("train", tokens), ("validation", validation)):
        rows, shards = spec.rows(split), spec.shards(split)
        assert (rows - 1) * seq_len < wanted <= rows * seq_len or rows == wanted == 0
        if shards:
            last = spec.shard_rows(split, shards - 1)
            assert spec.shard_rows(split, 0) == (rows_per_shard if shards > 1 else last)
            assert 1 <= last <= rows_per_shard
            assert (shards - 1) * rows_per_shard + last == rows


@given(
    st.integers(1, 10**15),
    st.integers(0, 2**32 - 1),
    st.sets(st.sampled_from([*BANDS, "0.35-0.45", "0.123456789-1"]), min_size=1).map(sorted),
    st.floats(0, 1),
    st.booleans(),
)
def test_a_spec_survives_its_dict(tokens, seed, bands, temperature, wrap):
    spec = order(tokens=tokens, seed=seed, bands=bands, band=None, temperature=temperature, channel_wrap=wrap)
    again = BuildSpec.from_dict(json.loads(spec.canonical()))
    assert again == spec == BuildSpec.from_dict(spec.to_dict())
    assert again.sha256 == spec.sha256


def test_the_identity_of_a_spec_is_pinned():
    assert order().sha256 == "ae7e3d0798c27cf6dd76ede72bdb65939e3800c35d188347dc8e11bd0cd96552"
    assert order().sha256 == order(validation="1M", seed=0, temperature=0.0001, **{"for": "web"}).sha256
    assert order(seed=1).sha256 != order().sha256
    assert order(temperature=-0.0).sha256 == order(temperature=0).sha256


def test_a_spec_of_another_version_is_refused():
    values = order().to_dict()
    other = BuildSpec.from_dict(values | {"source": values["source"] | {"version": 2}})
    assert message(source_of, other) == "source nca of version 2 is not this ncagen's: it makes version 1"
    assert message(BuildSpec.from_dict, values | {"sede": 1}) == (
        "setting 'sede' is not known: known are source, tokens, bands, validation, seed, seq_len, rows_per_shard, test"
    )
    del values["bands"]
    assert message(BuildSpec.from_dict, values) == "the spec is incomplete: 'bands'"


@pytest.mark.parametrize("name", ["../../etc", "/tmp", "high/..", ""])
def test_a_band_cannot_name_a_folder_elsewhere(name):
    values = order().to_dict() | {"bands": [{"name": name, "low": 0.5, "high": 1.0}]}
    assert message(BuildSpec.from_dict, values).startswith(f"band {name!r} is not known: ")


def test_a_band_cannot_have_anothers_limits():
    values = order().to_dict() | {"bands": [{"name": "high", "low": 0.4, "high": 1.0}]}
    assert message(BuildSpec.from_dict, values) == "band 'high' does not have the limits 0.4 and 1.0"
