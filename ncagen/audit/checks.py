"""Checks the figures of one pass: each check returns a verdict, a line of text, and its numbers.

`bad` marks rows that should not be trained on: cut wrongly, noise, several rules in a row, leakage. `look` marks rows
that may be intended. `none` means that the check does not apply, or that these rows cannot decide it.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import NamedTuple

import numpy as np

from ncagen.audit import yardsticks
from ncagen.audit.entropy import entropy, told
from ncagen.audit.figures import Figures, Rows
from ncagen.audit.neighbours import CLASSES, TESTABLE_BITS
from ncagen.audit.parts import TRAIN
from ncagen.audit.token_figures import TokenFigures
from ncagen.dataset.shard import SPLITS
from ncagen.selection import BANDS, ratio_counts
from ncagen.sources.nca.noise import noise_lengths

OK, LOOK, BAD, NONE = "ok", "look", "bad", "none"

DEAD_LOOK = 0.01
ENOUGH_REPEATS = 100
CONSISTENT, KAPPA_NOISE = 0.95, 0.2
NOISE_BITS, NOISE_REPEATS, NOISE_RATIO = 0.1, 0.01, 0.98
CHANGES_BAD, CHANGES_FEW = 0.001, 2
COMMONEST_LOOK = 0.25
COPIES_LOOK = 0.9  # share of patches that equal those of an earlier grid
GAIN_LOOK, GRIDS_TO_TELL = 0.01, 8  # share of the histogram's loss that neighbours save, in rows of so many grids
SLOPE_RANKS = 1000

# Chance that two draws of the next state disagree, by temperature; measured on rows of the high band with ten states.
DISAGREE = {1e-4: 0.0008, 1e-3: 0.0067, 1e-2: 0.078, 1e-1: 0.47}


class Check(NamedTuple):
    """The result of a check. verdict: OK, LOOK, BAD or NONE. text: one line. numbers: plain values for JSON."""

    name: str
    verdict: str
    text: str
    numbers: dict


def aligned(found: Figures) -> Check:
    """Checks that rows are whole grids with delimiters in place and nowhere else, and that no tokens are left over."""
    wrong, looked = len(found.misaligned), sum(found.looked.values())
    troubles = [f"{part.name}: {part.trouble}" for part in found.source.parts if part.trouble]
    numbers = {"misaligned": wrong, "looked": looked, "troubles": troubles, "offset": found.offset}
    if not wrong:
        delimiters = "delimiters are in place" if found.source.shape.delimiters else "rows have no delimiters"
        return Check(
            "aligned", BAD if troubles else OK, "; ".join(troubles) or f"all rows are whole; {delimiters}", numbers
        )
    text = f"{_of(wrong, looked)} rows have delimiters out of place, the first is {_place(found, found.misaligned[0])}"
    if found.offset is None:
        text += "; it has none: use --no-delimiters if there are none"
    elif found.offset:
        text += f"; its first start-of-grid is token {found.offset}"
    return Check("aligned", BAD, "; ".join([text, *troubles]), numbers)


def in_range(found: Figures) -> Check:
    """Checks that all ids are in the vocabulary."""
    return id_check(found, found.source.shape.vocabulary - 1)


def id_check(found: Figures | TokenFigures, last: int) -> Check:
    """Checks that ids are 0 to `last`."""
    wrong, looked = len(found.out_of_range), sum(found.looked.values())
    numbers = {"out_of_range": wrong, "looked": looked, "highest": found.highest, "allowed": last}
    if not wrong:
        return Check("ids", OK, f"0 to {last:,}, the highest seen is {found.highest:,}", numbers)
    text = f"{_of(wrong, looked)} rows have ids outside 0 to {last:,} (the highest is {found.highest:,}),"
    return Check("ids", BAD, f"{text} the first is {_place(found, found.out_of_range[0])}", numbers)


def alive(found: Figures) -> Check:
    """Checks that the automaton still changes at the end of the row."""
    rows = found.rows
    frozen, periodic = int((rows.period == 1).sum()), int((rows.period > 1).sum())
    still, looked = int((rows.one_state & (rows.period == 1)).sum()), len(rows.part)
    numbers = {"frozen": frozen, "periodic": periodic, "one_state": still, "looked": looked}
    share = (frozen + periodic) / looked
    text = f"{_of(frozen, looked)} rows freeze ({still:,} in one state), {periodic:,} repeat periodically"
    return Check("alive", LOOK if share > DEAD_LOOK else OK, text, numbers)


def duplicates(found: Figures) -> Check:
    """Checks that no trajectory occurs twice in a split. Rows that end in one state are not counted here."""
    whole = later = 0
    for split in _splits(found):
        rows = _moving(_of_split(found, split))
        whole += _repeated(rows.whole)
        later += _repeated(rows.later)
    numbers = {"whole": whole, "after_first_grid": later, "looked": len(found.rows.part)}
    if not later:
        return Check("duplicates", OK, "no trajectory occurs twice", numbers)
    text = f"{_of(whole, len(found.rows.part))} rows are copies of others, {later:,} are copies from the second grid on"
    return Check("duplicates", LOOK, text, numbers)


def complexity(found: Figures) -> Check:
    """Checks the gzip ratios, by the exact score of the first ten grids, against that of noise of this alphabet."""
    shape = found.source.shape
    ceiling = float(noise_lengths(shape, shape.scored_frames).mean() / shape.scored_bytes)
    return ratio_check("gzip ratio", found.rows.length / shape.scored_bytes, ceiling)


def ratio_check(name: str, ratios: np.ndarray, ceiling: float | None) -> Check:
    """Checks whether ratios are as high as those of noise. ratios: float[row]. ceiling: ratio of noise, if known."""
    counts = ratio_counts(ratios)
    median = float(np.median(ratios))
    bands = {"below": float((ratios < 0.2).mean())}
    bands |= {name: float(((ratios >= low) & (ratios < high)).mean()) for name, (low, high) in BANDS.items()}
    numbers = {
        "median": median,
        "least": float(ratios.min()),
        "most": float(ratios.max()),
        "noise": ceiling,
        "bands": bands,
        "histogram": {f"{b / 50:.2f}": int(n) for b, n in enumerate(counts) if n},
    }
    text = f"{ratios.min():.3f} to {ratios.max():.3f}, median {median:.3f}"
    if ceiling is None:
        return Check(name, OK, text, numbers)
    like_noise = median >= NOISE_RATIO * ceiling
    text += f"; pure noise has {ceiling:.3f}" + ": as high as noise" * like_noise
    return Check(name, LOOK if like_noise else OK, text, numbers)


def consistent(found: Figures) -> Check:
    """Checks that one neighbourhood leads to one state, so that there is a rule to learn."""
    rows, shape = found.rows, found.source.shape
    if shape.stride != 1:
        return Check("consistent", NONE, f"undecided for grids {shape.stride} steps apart", {})
    cells = (shape.frames - 1) * shape.cells
    noise = (rows.bits < NOISE_BITS) & (rows.repeats < NOISE_REPEATS * cells) & (shape.states <= CLASSES)
    total, chance = int(rows.repeats.sum()), float(rows.chance.mean())
    agree = float(rows.agreed.sum() / total) if total else 0.0
    kappa = (agree - chance) / (1 - chance) if chance < 1 else 1.0
    numbers = {
        "agreement": agree,
        "repeats": total,
        "chance": chance,
        "temperature": temperature(agree) if total >= ENOUGH_REPEATS else None,
        "rows": _distribution(rows),
        "bits": float(np.median(rows.bits)),
        "noise_rows": int(noise.sum()),
    }
    if noise.mean() > 0.5 or (total >= ENOUGH_REPEATS and kappa < KAPPA_NOISE):
        return Check("consistent", BAD, f"noise: {_tells(numbers)}; no rule can be learned", numbers)
    if total < ENOUGH_REPEATS and shape.states > CLASSES:
        return Check("consistent", NONE, f"undecided: {total} repeats are too few", numbers)
    text = _agreement(numbers) if total >= ENOUGH_REPEATS else f"{total} repeats are too few; {_tells(numbers)}"
    if noise.any():
        text += f"; {_of(int(noise.sum()), len(noise))} rows are noise, the first is {_first(found, noise)}"
    good = not noise.any() and (total < ENOUGH_REPEATS or agree >= CONSISTENT)
    return Check("consistent", OK if good else LOOK, text, numbers)


def temperature(agree: float) -> float:
    """Estimates the temperature, 0.0001 to 0.1, within a factor of three. agree: share of equal draws of a state."""
    known = np.log(list(DISAGREE.values())), np.log10(list(DISAGREE))
    return float(f"{10 ** np.interp(np.log(max(1 - agree, 1e-9)), *known):.1g}")


def ladder(found: Figures) -> Check:
    """Checks that rows are more than their histogram and less than a copy, by predictors that need no training."""
    shape, rungs = found.source.shape, yardsticks.of_grids(found.source.shape, found.patches)
    histogram, copy, lookup = rungs
    text, numbers = yardsticks.text(rungs, "patch"), yardsticks.numbers(rungs)
    if copy.mean_accuracy >= COPIES_LOOK:
        return Check("ladder", LOOK, f"{text}; a copy of an earlier grid is nearly always right", numbers)
    if lookup.mean <= (1 - GAIN_LOOK) * histogram.mean:
        return Check("ladder", OK, text, numbers)
    can_tell = shape.stride == 1 and shape.frames >= GRIDS_TO_TELL
    return Check("ladder", LOOK if can_tell else NONE, f"{text}; neighbours tell no more than the histogram", numbers)


def one_rule(found: Figures) -> Check:
    """Checks that no row changes its rule, as rows that are packed or cut wrongly do."""
    rows, shape = found.rows, found.source.shape
    if shape.stride != 1:
        return Check("one rule", NONE, f"undecided for grids {shape.stride} steps apart", {})
    told, broken = int((rows.usual >= TESTABLE_BITS).sum()), rows.broken > 0
    count = int(broken.sum())
    numbers = {"changes": count, "told": told, "looked": len(broken)}
    if not told:
        return Check("one rule", NONE, "undecided: no row shows a rule", numbers)
    untold = f"; {len(broken) - told:,} undecided" if told < len(broken) else ""
    if not count:
        return Check("one rule", OK, f"each row has one rule throughout{untold}", numbers)
    text = f"{_of(count, told)} rows change their rule, the first is {_first(found, broken)}"
    text += f" at grid {int(rows.broken[np.argmax(broken)])}{untold}"
    return Check("one rule", BAD if count > max(CHANGES_FEW, CHANGES_BAD * told) else LOOK, text, numbers)


def leakage(found: Figures) -> Check:
    """Checks that no split has a trajectory, a first grid or a rule of an earlier one."""
    pairs = list(combinations(_splits(found), 2))
    if not pairs:
        return Check("leakage", NONE, "there is only one split: use --validation with the file of the other", {})
    each = {pair: _shared(found, *pair) for pair in pairs}
    numbers = {name: sum(some[name] for some in each.values()) for name in each[pairs[0]]}
    shared = [name for name in numbers if name != "looked" and numbers[name]]
    numbers["streams_differ"] = found.source.streams
    if not shared:
        text = f"no trajectory, first grid or rule was found in {'both' if len(pairs) == 1 else 'two'} splits"
        text += "; they are different streams of rules" * found.source.streams
        sampled = any(part.rows > found.looked[i] for i, part in enumerate(found.source.parts))
        return Check("leakage", OK, text + "; use --rows all to be sure" * sampled, numbers)
    text = "; ".join(_leak(*pair, some) for pair, some in each.items() if sum(some.values()) > some["looked"])
    intended = found.source.streams and not {"whole", "after_first_grid"} & set(shared)  # rules are similar, not equal
    return Check("leakage", BAD if shared != ["first_grid"] and not intended else LOOK, text, numbers)


def _shared(found: Figures, split: str, later: str) -> dict[str, int]:
    """Counts the rows of the later split that share something with a row of the other, by what they share."""
    known, rows = _of_split(found, split), _of_split(found, later)
    names = [part.split for part in found.source.parts]
    rules = {(c, d) for a, _, c, d in found.one_rule if (names[a], names[c]) == (split, later)}
    return {
        "whole": int(np.isin(_moving(rows).whole, known.whole).sum()),
        "after_first_grid": int(np.isin(_moving(rows).later, known.later).sum()),
        "first_grid": int(np.isin(rows.first[~rows.same_start], known.first).sum()),
        "rules": len(rules),
        "looked": len(rows.part),
    }


def _leak(split: str, later: str, numbers: dict[str, int]) -> str:
    text = f"of {numbers['looked']:,} {later} rows {numbers['whole']:,} are in {in_words(split)},"
    text += f" {numbers['after_first_grid']:,} from the second grid on, {numbers['first_grid']:,} share a first grid,"
    return f"{text} {numbers['rules']:,} a rule"


def in_words(split: str) -> str:
    """The name of a split in a sentence."""
    return "training" if split == TRAIN else split


def ngrams(found: Figures) -> Check:
    """Measures how tokens are distributed, and the bits that the previous token and the previous grid tell of one."""
    patches, shape = found.patches, found.source.shape
    ids, counts = np.unique(patches, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shares = counts[order] / counts.sum()
    ranks = np.arange(1, min(SLOPE_RANKS, len(shares)) + 1)
    slope = float(np.polyfit(np.log(ranks), np.log(shares[: len(ranks)]), 1)[0]) if len(ranks) > 1 else 0.0
    numbers = {
        "tokens": int(counts.sum()),
        "entropy_bits": entropy(counts),
        "most_bits": float(np.log2(shape.patch_ids)),
        "used": len(ids) / shape.patch_ids,
        "slope": slope,
        "told_by_token_before_bits": told(patches[:, :, :-1], patches[:, :, 1:], shape.patch_ids),
        "told_by_grid_before_bits": told(patches[:, :-1], patches[:, 1:], shape.patch_ids),
        "commonest": {int(ids[o]): float(s) for o, s in zip(order[:5], shares, strict=False)},
    }
    text = f"{numbers['entropy_bits']:.2f} bits a patch of at most {numbers['most_bits']:.2f};"
    text += f" {numbers['used']:.1%} of ids are used; slope {slope:.2f}"
    return Check("n-grams", LOOK if shares[0] > COMMONEST_LOOK else OK, text, numbers)


CHECKS: tuple[Callable[[Figures], Check], ...] = (
    aligned,
    in_range,
    consistent,
    ladder,
    one_rule,
    leakage,
    alive,
    duplicates,
    complexity,
    ngrams,
)
NEED_NO_SOUND_ROWS = (aligned, in_range)


def check(found: Figures, workers: int = 1) -> list[Check]:
    """Runs all checks, in the page's order. Rows that are not sound are left out of all except the first two.

    workers: checks that run at the same time.
    """
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda each: each(found), CHECKS if len(found.rows.part) else NEED_NO_SOUND_ROWS))


def _distribution(rows: Rows) -> dict:
    """Returns quantiles of the agreement within rows, of rows with enough repeats."""
    enough = rows.repeats >= ENOUGH_REPEATS
    if not enough.any():
        return {"told": 0}
    each = rows.agreed[enough] / rows.repeats[enough]
    low, first, median = np.quantile(each, [0, 0.01, 0.5]).tolist()
    return {"told": int(enough.sum()), "least": low, "lowest_1_percent": first, "median": median}


def _tells(numbers: dict) -> str:
    return f"neighbours tell {max(0.0, numbers['bits']):.2f} bits of a cell's next state"


def _agreement(numbers: dict) -> str:
    text = f"{numbers['agreement']:.2%} of {numbers['repeats']:,} repeated neighbourhoods lead to the same state"
    least, most = min(DISAGREE), max(DISAGREE)
    end = {least: " or less", most: " or more"}.get(numbers["temperature"], "")
    return f"{text} (chance {numbers['chance']:.0%}): temperature about {numbers['temperature']:g}{end}"


def _splits(found: Figures) -> list[str]:
    """Lists the splits with sound rows, train first."""
    return [split for split in SPLITS if len(_of_split(found, split).part)]


def _of_split(found: Figures, split: str) -> Rows:
    parts = [i for i, part in enumerate(found.source.parts) if part.split == split]
    return _where(found.rows, np.isin(found.rows.part, parts))


def _where(rows: Rows, mask: np.ndarray) -> Rows:
    return Rows(*(column[mask] for column in rows))


def _moving(rows: Rows) -> Rows:
    return _where(rows, ~rows.one_state)


def _repeated(names: np.ndarray) -> int:
    return len(names) - len(np.unique(names))


def _of(some: int, all_: int) -> str:
    return f"{some:,} of {all_:,}"


def _place(found: Figures | TokenFigures, at: tuple[int, int]) -> str:
    return f"{found.source.parts[at[0]].name} row {at[1]:,}"


def _first(found: Figures, mask: np.ndarray) -> str:
    i = int(np.argmax(mask))
    return _place(found, (int(found.rows.part[i]), int(found.rows.number[i])))
