"""OLMo-core: headerless .npy files of tokens, and for each a headerless .npy of bools, the label mask.

The mask is false on the unpredictable tokens at the beginning of a row. OLMo-core masks labels before it shifts them,
so the mask marks the tokens to be predicted.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ncagen.dataset.layout import targets
from ncagen.export.files import Done, File, Part
from ncagen.export.plan import Export


def files(export: Export, done: Done) -> Iterator[File]:
    """Tokens after their mask, in folders of their own, so that one glob finds the one and not the other."""
    for split in export.splits:
        for number, shards in enumerate(export.groups(split)):
            yield File(f"{split}/label_mask/{number:05d}.npy", _masks(export, split, shards))
            yield export.tokens_file(f"{split}/tokens/{number:05d}.npy", split, shards)


def _masks(export: Export, split: str, shards: range) -> Iterator[Part]:
    row = targets(export.manifest.row_format)[: export.length].tobytes()
    for shard in shards:
        rows = export.shard_rows(split, shard)
        yield Part(0, partial(bytes.__mul__, row, rows))


def settings(export: Export, out: Path) -> list[str]:
    """Python for olmo_core."""
    outside, place = export.vocabulary, out / export.first_split
    return [
        "NumpyFSLDatasetConfig(",
        f"    paths=[{str(place / 'tokens/*.npy')!r}], label_mask_paths=[{str(place / 'label_mask/*.npy')!r}],",
        f"    expand_glob=True, sequence_length={export.length}, dtype=NumpyDatasetDType.{export.dtype.name},",
        f"    tokenizer=TokenizerConfig(vocab_size={outside + 1}, eos_token_id={outside}, pad_token_id={outside}))",
        f"# each instance is one row; {outside} stands for eos and pad, which no row has",
        "# dtype must be given: OLMo-core would take uint8 for a vocabulary of up to 256",
        "# no instance_filter_config: it masks rows that repeat up to 13 tokens 32 times, as some of low bands do",
        f"# the .npy have no header, as OLMo-core wants them: np.fromfile(path, {export.dtype.name!r}) reads them;",
        "# np.load takes them for pickles and advises to load them unsafely, which fails as well",
    ]
