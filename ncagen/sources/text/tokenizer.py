"""Loads a Hugging Face tokenizer file, and encodes batches of documents with it in the order they come.

Text is encoded as text: nothing is added at its ends, cut or padded, and the name of a special token within a document
is not that token. Not covered: tokenizers that are no tokenizer.json, such as SentencePiece models.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ncagen.errors import NcagenError
from ncagen.hints import needed_by
from ncagen.sources.text.corpus import file_sha256

MOST_IDS = 2**31 - 1  # scores read tokens as int32, and one more id may end documents
BATCHES = 2  # that are encoded at the same time, so that a long document in one does not leave threads idle

Item = TypeVar("Item")


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer and what a corpus stores of it. vocabulary: its highest id and 1. special: added tokens' ids."""

    sha256: str
    vocabulary: int
    special: dict[str, int]
    encoder: Any

    def encode(self, batches: Iterable[tuple[list[str], Item]]) -> Iterator[tuple[np.ndarray, np.ndarray, Item]]:
        """Yields each batch in order: uint32[token]; int64[text], tokens of each text; what came with the batch.

        The threads are those of `tokenizers`: one a core, or RAYON_NUM_THREADS.
        """
        with ThreadPoolExecutor(BATCHES) as pool:
            waiting: deque[tuple[Future, Item]] = deque()
            for texts, item in batches:
                waiting.append((pool.submit(self._encoded, texts), item))
                if len(waiting) > BATCHES:
                    future, before = waiting.popleft()
                    yield *future.result(), before
            for future, before in waiting:
                yield *future.result(), before

    def _encoded(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        found = self.encoder.encode_batch_fast(texts, add_special_tokens=False)
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        ids = chain.from_iterable(one.ids for one in found)
        return np.fromiter(ids, np.uint32, int(lengths.sum())), lengths


def load(path: Path) -> LoadedTokenizer:
    """Loads a tokenizer file. Raises NcagenError for one that cannot be read, is none, or has ids that do not fit."""
    with needed_by("a corpus of text"):
        from tokenizers import Tokenizer
    sha256 = file_sha256(path)
    try:
        encoder = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more particular
        said = " ".join(str(error).split())
        raise NcagenError(f"file {str(path)!r} is not a tokenizer: use a tokenizer.json ({said})") from None
    encoder.no_truncation()
    encoder.no_padding()
    encoder.encode_special_tokens = True  # a document may spell <|endoftext|>, and does not end there
    vocabulary = 1 + max(encoder.get_vocab(with_added_tokens=True).values(), default=-1)
    if not 1 <= vocabulary <= MOST_IDS:
        raise NcagenError(
            f"tokenizer {str(path)!r} has "
            + ("no tokens" if vocabulary < 1 else f"the id {vocabulary - 1}: ids up to {MOST_IDS - 1} fit a row")
        )
    special = {token.content: int(i) for i, token in encoder.get_added_tokens_decoder().items()}
    return LoadedTokenizer(sha256, vocabulary, special, encoder)
