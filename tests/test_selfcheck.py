"""The self-check passes for all settings and backends here, and each of its comparisons can fail.

Not covered: the commands of a process with damaged kernels (`faults/test_selfcheck.py`).
"""

import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from ncagen.deflate import selfcheck as lengths_selfcheck
from ncagen.errors import SelfCheckFailed
from ncagen.sources import grid_facts
from ncagen.sources.nca import backends, cpu, entropy, langton, selfcheck
from ncagen.sources.nca.backends import CPU
from ncagen.sources.nca.devices import backend
from ncagen.sources.nca.selfcheck import check
from ncagen.sources.nca.settings import FACTS, Settings

PROCESSOR = "this processor does not compute what ncagen defines: {}; no row was made here: use another machine,"
MEND = " or delete the __pycache__ folders of ncagen and install ncagen[build] anew"


@given(
    states=st.integers(2, 30),
    high=st.integers(2, 8),
    wide=st.integers(2, 8),
    seq_len=st.sampled_from([1000, 1024, 16384]),
    warmup=st.sampled_from([0, 10, 5000]),
    stride=st.sampled_from([1, 3, 40]),
    temperature=st.sampled_from([0.0, 1e-4, 1.0]),
    identity_bias=st.sampled_from([0.0, 2.5]),
    start=st.sampled_from(["categorical", "uniform"]),
    channel_wrap=st.booleans(),
    trajectories_per_rule=st.sampled_from([1, 3]),
    facts=st.sampled_from(["", "oracle", ",".join(FACTS)]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_check_passes_for_any_settings(high, wide, **values):
    check(Settings(height=2 * high, width=2 * wide, **values))


def test_the_check_passes_on_a_device():
    check(Settings(), backend("host"))
    check(Settings(states=17, width=8, start="uniform", temperature=0.01), backend("host"))


def test_the_default_settings_are_compared_in_full():
    assert selfcheck._shortened(Settings()) == Settings()


@pytest.mark.skipif("ng" in zlib.ZLIB_RUNTIME_VERSION, reason="zlib-ng gives other lengths")
def test_the_known_lengths_are_those_of_zlib():
    texts = [row.astype("<u4").tobytes() for row in lengths_selfcheck.known_tokens()]
    assert tuple(len(zlib.compress(text, 9)) + 12 for text in texts) == lengths_selfcheck.KNOWN_LENGTHS


class Changed:
    """The CPU backend with an injected fault."""

    name = "x"

    def __init__(self, **changes):
        self._changes = changes

    def __getattr__(self, name):
        return self._changes.get(name) or getattr(CPU, name)


def changed_rows(change) -> Changed:
    """A backend whose rows change(rows, candidates) alters in place."""

    def start(settings, key, candidates, *rest):
        made = CPU.start(settings, key, candidates, *rest)
        plain = made.rows

        def rows(chosen):
            found = plain(chosen)
            change(found, candidates[chosen])
            return found

        made.rows = rows
        return made

    return Changed(start=start)


def line(device: Changed) -> str:
    with pytest.raises(SelfCheckFailed) as caught:
        check(Settings(), device)
    assert caught.value.status == 2
    return str(caught.value)


DEVICE = PROCESSOR.replace("this processor", "device x").removesuffix(",") + ", or --device cpu," + MEND


@pytest.mark.parametrize("name", list(selfcheck.TABLE_SHA256))
def test_one_changed_entry_of_a_table_fails(name):
    def tables():
        found = {key: table.copy() for key, table in cpu.tables().items()}
        found[name][40_000] += 1
        return found

    assert line(Changed(tables=tables)) == DEVICE.format(f"its table of {name} values is another")


def test_one_changed_cell_of_the_last_grid_fails():
    def change(rows, candidates):
        rows[candidates == 3, -2] ^= 1

    assert line(changed_rows(change)) == DEVICE.format(
        "candidates 0 to 3 have other rows than the definition gives them"
    )


def test_a_device_that_fails_in_few_candidates_fails():
    def change(rows, candidates):
        rows[candidates == 2**32 + 200, -2] ^= 1

    assert line(changed_rows(change)) == DEVICE.format(
        "candidates 4294967296 to 4294967551 have other rows than this processor gives them"
    )


def test_a_score_that_is_off_by_one_fails(monkeypatch):
    plain = backends.token_gzip_lengths
    monkeypatch.setattr(backends, "token_gzip_lengths", lambda tokens, at_least=0: plain(tokens, at_least) + 1)
    assert line(Changed()) == DEVICE.format("candidates 0 to 3 have other gzip lengths than the definition gives them")


@pytest.mark.parametrize("stride", [1, 3])
def test_an_oracle_loss_that_is_off_fails(monkeypatch, stride):
    chosen = Settings(facts="oracle", temperature=0.001, stride=stride)
    check(chosen)
    wrong = entropy.pair_table() + np.int32(2**16)
    monkeypatch.setattr(entropy, "pair_table", lambda: wrong)
    monkeypatch.setattr(cpu, "constants", cpu.constants.__wrapped__)  # not those that were made before
    with pytest.raises(SelfCheckFailed, match="have another oracle_micronats than the definition gives them"):
        check(chosen, Changed())


def test_a_fact_of_grids_that_is_off_fails(monkeypatch):
    chosen = Settings(facts="period,changed")
    plain = grid_facts.computed
    monkeypatch.setattr(grid_facts, "computed", lambda *asked: {name: c + 1 for name, c in plain(*asked).items()})
    with pytest.raises(SelfCheckFailed, match="have another period than the definition gives them"):
        check(chosen, Changed())


def test_a_lambda_that_is_off_fails(monkeypatch):
    monkeypatch.setattr(langton, "counts", lambda chosen, drawn: langton.defined(chosen, drawn) - 1)
    with pytest.raises(SelfCheckFailed, match="have another langton_lambda than the definition gives them"):
        check(Settings(facts="lambda"), Changed())


def test_a_bound_that_is_too_high_fails(monkeypatch):
    plain = selfcheck.token_gzip_lengths

    def bounded(tokens, at_least=0):
        lengths = plain(tokens, at_least)
        return np.where(lengths < at_least + 1, 0, lengths) if at_least else lengths

    monkeypatch.setattr(selfcheck, "token_gzip_lengths", bounded)
    assert "have other gzip lengths" in line(Changed())
