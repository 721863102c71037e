"""Checks rows that are not grids: ids, rows that occur twice or in both splits, scores, and n-grams.

Not covered: how rows are made. `ncagen verify --regenerate` compares each row with its candidate.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np

from ncagen.audit import yardsticks
from ncagen.audit.checks import BAD, LOOK, NONE, OK, Check, id_check, in_words, ratio_check
from ncagen.audit.entropy import entropy, told
from ncagen.audit.token_figures import TokenFigures
from ncagen.dataset.shard import SPLITS
from ncagen.evaluate.sample import PARTS

COMMONEST = 5  # ids that are listed


def in_range(found: TokenFigures) -> Check:
    """Checks that all ids are in the vocabulary."""
    return id_check(found, found.source.row_format.vocabulary - 1)


def duplicates(found: TokenFigures) -> Check:
    """Checks that no row occurs twice in a split."""
    copies = [i for split in SPLITS for i in _copies(found, split)]
    numbers = {"copies": len(copies), "looked": len(found.names)}
    if not copies:
        return Check("duplicates", OK, "no row occurs twice in a split", numbers)
    text = f"{len(copies):,} of {len(found.names):,} rows are copies of others, the first is {_place(found, copies[0])}"
    return Check("duplicates", LOOK, text, numbers)


def leakage(found: TokenFigures) -> Check:
    """Checks that no row of a split is in an earlier one."""
    rows = {split: some for split in SPLITS if len(some := _of_split(found, split))}
    pairs = list(combinations(rows, 2))
    if not pairs:
        return Check("leakage", NONE, "only one split was read", {})
    leaked = {(a, b): rows[b][np.isin(found.names[rows[b]], found.names[rows[a]])] for a, b in pairs}
    numbers = {"whole": sum(map(len, leaked.values())), "looked": sum(len(rows[later]) for _, later in pairs)}
    if not numbers["whole"]:
        sampled = any(part.rows > found.looked[i] for i, part in enumerate(found.source.parts))
        text = f"no row was found in {'both' if len(pairs) == 1 else 'two'} splits"
        return Check("leakage", OK, text + "; use --rows all to be sure" * sampled, numbers)
    texts = [
        f"{len(some):,} of {len(rows[later]):,} {later} rows are in {in_words(split)}, the first is"
        f" {_place(found, int(some[0]))}"
        for (split, later), some in leaked.items()
        if len(some)
    ]
    return Check("leakage", BAD, "; ".join(texts), numbers)


def ratios(found: TokenFigures) -> Check:
    """Checks the stored ratios that bands select by against the ratio of noise, if the source has one."""
    if found.source.measure is None:
        return Check("ratio", NONE, f"source {found.source.rows_of} has no measure", {})
    return ratio_check(found.source.measure.ratio.replace("_", " "), found.ratios, found.source.noise)


def ngrams(found: TokenFigures) -> Check:
    """Measures how tokens are distributed, and the bits that the previous token tells of one."""
    vocabulary, tokens = found.source.row_format.vocabulary, found.tokens
    ids, counts = np.unique(tokens, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:COMMONEST]
    numbers = {
        "tokens": int(counts.sum()),
        "entropy_bits": entropy(counts),
        "most_bits": float(np.log2(vocabulary)),
        "used": len(ids) / vocabulary,
        "told_by_token_before_bits": told(tokens[:, :-1], tokens[:, 1:], vocabulary),
        "commonest": {int(ids[i]): float(counts[i] / counts.sum()) for i in order},
    }
    text = f"{numbers['entropy_bits']:.2f} bits a token of at most {numbers['most_bits']:.2f};"
    text += f" {numbers['used']:.1%} of ids are used; the token before tells"
    text += f" {numbers['told_by_token_before_bits']:.2f} bits of one"
    return Check("n-grams", LOOK if len(ids) == 1 else OK, text, numbers)


def ladder(found: TokenFigures) -> Check:
    """Measures what predictors that need no training know of a token."""
    if found.tokens.shape[1] < PARTS:
        return Check("ladder", NONE, f"rows of under {PARTS} tokens have no parts to compare", {})
    rungs = yardsticks.of_tokens(found.source.row_format.vocabulary, found.tokens)
    return Check("ladder", OK, yardsticks.text(rungs, "token"), yardsticks.numbers(rungs))


CHECKS: tuple[Callable[[TokenFigures], Check], ...] = (in_range, leakage, duplicates, ratios, ngrams, ladder)


def check(found: TokenFigures, workers: int = 1) -> list[Check]:
    """Runs all checks, in the page's order; n-grams and ladder are left out if ids are out of range.

    workers: checks that run at the same time.
    """
    wanted = [each for each in CHECKS if each not in (ngrams, ladder) or not found.out_of_range]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda each: each(found), wanted))


def _copies(found: TokenFigures, split: str) -> list[int]:
    """Returns the indices of rows that occurred before in their split, in order."""
    rows = _of_split(found, split)
    _, first = np.unique(found.names[rows], return_index=True)
    return np.delete(rows, first).tolist()


def _of_split(found: TokenFigures, split: str) -> np.ndarray:
    """Returns int64[row], the indices of a split's rows."""
    parts = [i for i, part in enumerate(found.source.parts) if part.split == split]
    return np.flatnonzero(np.isin(found.part, parts))


def _place(found: TokenFigures, i: int) -> str:
    return f"{found.source.parts[found.part[i]].name} row {found.number[i]:,}"
