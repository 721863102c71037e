"""Writes text that ships with packages as JSON Lines for the source `text`, and a tokenizer of it.

    python examples/transfer/prepare.py --math set.mm --out data/transfer/cpu

Code is Python's own library, or any folders of Python files. Math is Metamath's database set.mm, which is in the public
domain (CC0): in Debian apt-get download metamath-databases, then dpkg-deb -x. Documents of odd numbers are for stage 2
(code.jsonl, math.jsonl), those of even numbers for the arms of stage 1 that are text (text.jsonl), so no arm sees text
of stage 2 before. The same files give the same bytes.
"""

import argparse
import json
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"
LONGEST = 30_000  # characters of a document; longer files are several
SAMPLE = 8_000_000  # characters of a domain that the tokenizer is trained on


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--code", type=Path, nargs="+", default=[Path(sysconfig.get_paths()["stdlib"])])
    parser.add_argument("--math", type=Path, help="set.mm; no math if left out")
    parser.add_argument("--vocabulary", type=int, default=1024, help="ids of the tokenizer")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    domains = {"code": list(code(args.code))} | ({"math": list(math(args.math))} if args.math else {})
    for name, texts in domains.items():
        write(args.out / f"{name}.jsonl", texts[1::2])
    write(args.out / "text.jsonl", [text for texts in domains.values() for text in texts[::2]])
    train(domains, args.vocabulary).save(str(args.out / "tokenizer.json"))
    print(
        ", ".join(
            f"{name}: {len(texts):,} documents, {sum(map(len, texts)):,} characters" for name, texts in domains.items()
        )
    )


def code(folders: list[Path]) -> Iterator[str]:
    """The Python files of folders, by name; installed packages within one are left out."""
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if "site-packages" not in path.relative_to(folder).parts:
                yield from pieces(path.read_text(encoding="utf-8", errors="ignore"), r"\n(?=\S)")


def math(path: Path) -> Iterator[str]:
    """The statements and proofs of a Metamath database, many in a document."""
    yield from pieces(path.read_text(encoding="utf-8", errors="ignore"), r"\n\n+")


def pieces(text: str, boundary: str) -> Iterator[str]:
    """A text in documents of LONGEST characters or less, cut where a pattern matches, or longer where it does not."""
    start, last = 0, 0
    for found in re.finditer(boundary, text):
        if found.end() - start > LONGEST and last > start:
            yield text[start:last]
            start = last
        last = found.end()
    if text[start:].strip():
        yield text[start:]


def write(path: Path, texts: list[str]) -> None:
    """Writes JSON Lines."""
    with path.open("w", encoding="utf-8") as file:
        for text in texts:
            file.write(json.dumps({"text": text}) + "\n")


def train(domains: dict[str, list[str]], vocabulary: int) -> Tokenizer:
    """A byte-level BPE tokenizer of as many characters of each domain, with one special token, END."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator((text for texts in domains.values() for text in sample(texts)), trainer)
    return tokenizer


def sample(texts: list[str]) -> list[str]:
    """Evenly spaced texts of SAMPLE characters or a little more, all if there are fewer."""
    step = max(1, sum(map(len, texts)) // SAMPLE)
    return texts[::step]


if __name__ == "__main__":
    main()
