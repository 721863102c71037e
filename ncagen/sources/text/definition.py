"""Defines the rows of a split in a few lines of plain Python: everything else must equal them, bit for bit.

`corpus` stands for anything with `tokens`, `ends` and `digests` as in `Corpus`. All documents of the split are held as
lists, so this is for small corpora: tests, and the check before the first row.
"""

from collections.abc import Iterator

import numpy as np

from ncagen import philox

ORDER = 0  # the purpose of the Philox words that order documents


def order_key(key: tuple[int, int], document: int) -> int:
    """A document's 64 bits of the order: the first four 16-bit words of (key, ORDER, document), the lowest first."""
    words = philox.words(*key, ORDER, np.array([document], np.uint64), 4)[0]
    return sum(int(word) << 16 * i for i, word in enumerate(words))


def order(corpus, key: tuple[int, int], shares: range) -> list[int]:
    """The documents whose digest's upper 16 bits are in `shares`, by their key and number."""
    chosen = [d for d, digest in enumerate(corpus.digests) if int(digest) >> 48 in shares]
    return sorted(chosen, key=lambda document: (order_key(key, document), document))


def document(corpus, number: int) -> list[int]:
    """The tokens of a document."""
    begin = int(corpus.ends[number - 1]) if number else 0
    return [int(token) for token in corpus.tokens[begin : int(corpus.ends[number])]]


def packed(corpus, documents: list[int], seq_len: int, end: int) -> Iterator[list[int]]:
    """Rows of seq_len + 1 tokens at multiples of seq_len: the last token of one is the first of the next."""
    sequence = [token for number in documents for token in [*document(corpus, number), end]]
    for at in range(0, len(sequence) - seq_len, seq_len):
        yield sequence[at : at + seq_len + 1]


def split(corpus, documents: list[int], seq_len: int, end: int) -> Iterator[list[int]]:
    """Rows of seq_len + 1 tokens of one document, at multiples of seq_len, then ends."""
    for number in documents:
        tokens = document(corpus, number)
        for at in range(0, len(tokens), seq_len):
            row = tokens[at : at + seq_len + 1]
            yield row + [end] * (seq_len + 1 - len(row))
