"""Writes a dataset's README.md, the card that the Hub shows, from the manifest and the source's description.

Its metadata make `datasets.load_dataset(folder, band)` work on the folder as it is, with one configuration per band;
features are written as `sequence` with a `length`, because datasets 3 drops the length of the newer `list`. Its text
describes the rows, how to load and rebuild them, and their limits.

`ncagen build` writes the card of a folder; `ncagen push` writes it with the dataset's name on the Hub and a histogram
of the rows, which the manifest does not have. The histogram is text in a code block: every Markdown viewer shows it,
unlike a picture, and it needs no second file.
"""

from collections.abc import Iterable, Sequence
from math import ceil

from ncagen.dataset.manifest import Manifest
from ncagen.dataset.shard import Record, relative_path
from ncagen.hints import install
from ncagen.row_format import FACT_BYTES, Measure, SourceCard
from ncagen.selection import Band

CARD = "README.md"
LADDER = "ladder.json"  # which `ncagen evaluate` keeps beside the card
PICTURE = "rows.png"  # beside the card on the Hub, if Pillow was installed for the push
HOME = "PATH_OF_THIS_FOLDER"

# The Hub's own classes of numbers of rows, by their first number.
SIZES = (
    (10**12, "n>1T"),
    (10**11, "100B<n<1T"),
    (10**10, "10B<n<100B"),
    (10**9, "1B<n<10B"),
    (10**8, "100M<n<1B"),
    (10**7, "10M<n<100M"),
    (10**6, "1M<n<10M"),
    (10**5, "100K<n<1M"),
    (10**4, "10K<n<100K"),
    (10**3, "1K<n<10K"),
    (0, "n<1K"),
)


def text(
    manifest: Manifest,
    source: SourceCard,
    name: str | None = None,
    histogram: Sequence[str] = (),
    pictured: Sequence[int] = (),
    yardsticks: Sequence[str] = (),
) -> str:
    """The card's Markdown.

    name: the dataset's on the Hub. histogram: lines of a histogram of the measured ratios. pictured: the rows of the
    first band that the file PICTURE shows. yardsticks: lines with the losses of simple predictors.
    """
    parts = [
        ["---", *_metadata(manifest, source), "---"],
        [f"# {source.pretty_name}", "", *source.what],
        _bands(manifest, source),
        _histogram(manifest, histogram),
        _picture(manifest, pictured),
        _yardsticks(yardsticks),
        _columns(manifest, source),
        _loading(manifest, name),
        _again(manifest, name),
        _exact(manifest),
        ["## Limits", "", *source.limits],
        _licence(source),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def size_category(rows: int) -> str:
    """The Hub's class of a number of rows."""
    return next(name for least, name in SIZES if rows >= least)


def _metadata(manifest: Manifest, source: SourceCard) -> Iterable[str]:
    """The YAML block at the top of the card."""
    spec = manifest.spec
    yield "license: mit"
    yield f"pretty_name: {source.pretty_name}"
    yield from ("task_categories:", "- text-generation")
    yield from ("size_categories:", f"- {size_category(manifest.rows)}")
    yield "tags:"
    yield from (f"- {tag}" for tag in source.tags)
    yield "configs:"
    for band in spec.bands:
        yield f"- config_name: {band.name}"
        yield from ["  default: true"] * (band == spec.bands[0])
        yield "  data_files:"
        for split in manifest.splits:
            # The count keeps out what another dataset left in the folder or the repository.
            shards = f"{split}-*-of-{spec.shards(split):05d}.{manifest.file_format}"
            yield from (f"  - split: {split}", f"    path: data/{band.name}/{shards}")
    yield "dataset_info:"
    for band in spec.bands:
        yield from _info(manifest, band)


def _info(manifest: Manifest, band: Band) -> Iterable[str]:
    """What `datasets` would find out by reading everything."""
    spec = manifest.spec
    row_format = manifest.row_format
    _, *others = row_format.columns
    row_bytes = row_format.row_bytes + sum(FACT_BYTES[column.dtype] for column in others)
    yield from (f"- config_name: {band.name}", "  features:", "  - name: input_ids")
    yield from (f"    sequence: {row_format.token_dtype}", f"    length: {row_format.row_tokens}")
    for column in others:
        yield from (f"  - name: {column.name}", f"    dtype: {column.dtype}")
    yield "  splits:"
    for split in manifest.splits:
        rows = spec.rows(split)
        yield from (f"  - name: {split}", f"    num_bytes: {rows * row_bytes}", f"    num_examples: {rows}")
    size = sum(manifest.files[manifest.path(record)].bytes for record in manifest.records if record.band == band.name)
    yield f"  download_size: {size}"
    yield f"  dataset_size: {sum(spec.rows(split) for split in manifest.splits) * row_bytes}"


def _bands(manifest: Manifest, source: SourceCard) -> list[str]:
    spec = manifest.spec
    ratio = manifest.measure.ratio.replace("_", " ") if manifest.measure else "ratio"
    lines = ["## Bands", "", f"| band | {ratio} | split | rows | training tokens | kept of the candidates |"]
    lines.append("|---|---|---|---|---|---|")
    for band in spec.bands:
        for split in manifest.splits:
            records = manifest.part(split, band.name)
            rows = sum(record.rows for record in records)
            lines.append(
                f"| {band.name} | {band.text(manifest.measure)} | {split} | {rows:,} | {rows * spec.seq_len:,} |"
                f" {_kept(records)} |"
            )
    return [
        *lines,
        "",
        *source.measure,
    ]


def _kept(records: Sequence[Record]) -> str:
    return f"{sum(record.rows for record in records) / sum(record.tried for record in records):.1%}"


def _histogram(manifest: Manifest, histogram: Sequence[str]) -> list[str]:
    if not histogram or manifest.measure is None:
        return []
    ratio = manifest.measure.ratio.replace("_", " ").capitalize()
    rows = "for training" if manifest.first_split == "train" else f"of the split {manifest.first_split}"
    return [f"{ratio}s of the rows {rows}:", "", "```", *histogram, "```"]


def _picture(manifest: Manifest, pictured: Sequence[int]) -> list[str]:
    if not pictured:
        return []
    rows = f"Rows {pictured[0]} to {pictured[-1]} of band {manifest.spec.bands[0].name}"
    return [f"{rows}, each from left to right, long ones up to a width:", "", f"![{rows}]({PICTURE})"]


def _yardsticks(lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return [
        "## What a model could know",
        "",
        "Losses of predictors that need no training run, from uniform noise to a model that knows the rule, as",
        "`ncagen evaluate` computes them. A training run that stays above a line has not learned what it knows.",
        "",
        *lines,
    ]


def _columns(manifest: Manifest, source: SourceCard) -> list[str]:
    tokens, *others = source.columns
    return [
        "## Columns",
        "",
        "| column | type | |",
        "|---|---|---|",
        f"| `{tokens.name}` | {tokens.dtype}, {manifest.row_format.row_tokens:,} of them | the tokens |",
        *(f"| `{column.name}` | {column.dtype} | {column.doc} |" for column in others),
        "",
        *_selecting(manifest.measure),
        "Labels are not stored, because trainers shift them in different places.",
        *source.loss,
    ]


def _selecting(measure: Measure | None) -> list[str]:
    """How to select rows by the measure."""
    if measure is None:
        return []
    return [
        f"Select rows by `{measure.column}`, not by `{measure.ratio}`: engines differ in whether a float32 is compared",
        "in double precision. This is exact:"
        f' `ncagen.open(..., where="{measure.column} >= {ceil(measure.denominator * 3 / 5)}")`.',
        "",
    ]


def _readers(manifest: Manifest) -> list[str]:
    """Which readers of Parquet open the files, as docs/conformance.md has it."""
    if manifest.file_format != "parquet":
        return []
    split = manifest.first_split
    files = relative_path(manifest.spec, "parquet", split, manifest.spec.bands[0].name, 0)
    files = files.replace(f"{split}-00000", f"{split}-*")
    setting = " (`spark.sql.parquet.enableNestedColumnVectorizedReader=false`)"
    return [
        f"`{files}` also opens in pyarrow, pandas, Polars, DuckDB 2,",
        f"DataFusion, Ray Data, Daft, ClickHouse and Spark{setting * (manifest.row_format.token_dtype == 'uint32')}.",
        "DuckDB 1.5 and fastparquet cannot read its tokens.",
        "",
    ]


def _loading(manifest: Manifest, name: str | None) -> list[str]:
    """Loading with ncagen, with datasets, and in five trainers."""
    spec = manifest.spec
    place, band, split = name or HOME, spec.bands[0].name, manifest.first_split
    named = "" if split == "train" else f', split="{split}"'
    opened = f'ncagen.open("{place}"{named}, band="{band}")'
    folder = "data/nca" if name else HOME
    exports = {"nanogpt": "nanoGPT"} if manifest.row_format.token_dtype == "uint16" else {"mds": "Composer"}
    exports |= {"megatron": "Megatron-LM", "olmo": "OLMo-core"}
    return [
        "## Loading",
        "",
        "```python",
        f"import ncagen  # numpy and pyarrow; from the Hub also huggingface_hub: {install('huggingface_hub')}",
        "",
        f"rows = {opened}  # every file is checked against its hash before a row is seen",
        'rows[0]["input_ids"]',
        "```",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'rows = load_dataset("{place}", "{band}", split="{split}")  # streaming=True works too',
        "```",
        "",
        "Beside text, `interleave_datasets` and `concatenate_datasets` want equal types:",
        '`rows.select_columns("input_ids").cast_column("input_ids", text.features["input_ids"])`.',
        "",
        *_readers(manifest),
        "PyTorch, with labels that leave out what nothing predicts, and a state that resumes anywhere:",
        "",
        "```python",
        "from ncagen.adapters.torch import Loader",
        "",
        f"loader = Loader({opened}, batch_size=16, num_workers=2)",
        'batch = next(iter(loader))  # batch["input_ids"], batch["labels"]',
        "```",
        "",
        "The Trainer of transformers, for any causal model with a vocabulary of"
        f" {manifest.row_format.vocabulary:,} or more (`remove_unused_columns=False`):",
        "",
        "```python",
        "from ncagen.adapters.huggingface import transform",
        "",
        f"train_dataset = rows.with_transform(transform({opened}))",
        "```",
        "",
        f"{', '.join(exports.values())}, whose files and settings are written by:",
        "",
        "```",
        *([f"ncagen pull {name} --out {folder}"] if name else []),
        *(f"ncagen export {folder} --band {band} --to {to} --out data/{to}" for to in exports),
        "```",
    ]


def _again(manifest: Manifest, name: str | None) -> list[str]:
    folder = "data/nca" if name else HOME
    return [
        "## Making it again",
        "",
        "The rows are a pure function of this spec:",
        "",
        "```json",
        manifest.spec.canonical(),
        "```",
        "",
        f"`manifest.json` has it with every hash. From it ncagen {manifest.toolchain.get('ncagen', '')} makes the same"
        " rows, bit for bit, on any machine",
        "and any number of workers, and `verify` tells whether these are the rows that it makes:",
        "",
        "```",
        *([f"ncagen pull {name} --out {folder}"] if name else []),
        f"ncagen rebuild {folder}/manifest.json --out data/again",
        f"ncagen verify {folder} --regenerate 1%",
        "```",
        "",
        f"Dataset sha256: `{manifest.dataset_sha256}`",
    ]


def _exact(manifest: Manifest) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(manifest.toolchain.items()))
    return [
        "## What is exact, and what is not",
        "",
        "- Exact: every row, and the dataset's sha256 above, which covers the spec and the values of every row.",
        *(["- Exact: no row of a band is outside of it. The row itself was scored."] if manifest.measure else []),
        f"- Not exact: the bytes of the {manifest.file_format} files under other versions than {versions}.",
    ]


def _licence(source: SourceCard) -> list[str]:
    return [
        "## Licence and citation",
        "",
        f"The data are under the MIT licence. Please cite ncagen{', and for the method:' if source.citation else '.'}",
        "",
        *source.citation,
    ]
