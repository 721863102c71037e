"""README.md of a dataset: the card that the Hub shows, from the manifest alone.

Its metadata make `datasets.load_dataset(folder, band)` work on the folder as it is, with one configuration per band;
features are written as `sequence` with a `length`, because datasets 3 forgets the length of the newer `list`. Its text
says what the rows are, how they are loaded and made again, and what nobody should expect of them.

`ncagen build` writes the card of a folder; `ncagen push` writes it with the dataset's name on the Hub and a histogram
of the rows, which the manifest does not have. The histogram is text in a code block: every viewer of Markdown shows it,
which cannot be said of pictures, and it needs no second file.
"""

from collections.abc import Iterable, Sequence

from ncagen.dataset.manifest import SPLITS, Manifest
from ncagen.dataset.shard import Record, relative_path
from ncagen.spec import Band, Spec

CARD = "README.md"
PICTURE = "rows.png"  # beside the card on the Hub, where the one who pushed had what draws it
PAPER = "https://arxiv.org/abs/2603.10055"
HOME = "PATH_OF_THIS_FOLDER"

# The columns beside input_ids, with bytes of each value.
COLUMNS = {"candidate": ("uint64", 8), "gzip_bytes": ("int32", 4), "gzip_ratio": ("float32", 4)}

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


def text(manifest: Manifest, name: str | None = None, picture: Sequence[str] = (), drawn: Sequence[int] = ()) -> str:
    """The card's Markdown.

    name: the dataset's on the Hub. picture: lines of a histogram of gzip ratios. drawn: the rows of the first band
    that are drawn in the file PICTURE.
    """
    parts = [
        ["---", *_metadata(manifest), "---"],
        _what(manifest.spec),
        _bands(manifest),
        _histogram(picture),
        _drawing(manifest.spec, drawn),
        _columns(manifest.spec),
        _loading(manifest, name),
        _again(manifest, name),
        _exact(manifest),
        _limits(manifest.spec),
        _licence(),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def size_category(rows: int) -> str:
    """The Hub's class of a number of rows."""
    return next(name for least, name in SIZES if rows >= least)


def _metadata(manifest: Manifest) -> Iterable[str]:
    """The YAML that stands before the text."""
    spec = manifest.spec
    total = len(spec.bands) * sum(spec.rows(split) for split in SPLITS)
    yield "license: mit"
    yield "pretty_name: Trajectories of random neural cellular automata"
    yield from ("task_categories:", "- text-generation")
    yield from ("size_categories:", f"- {size_category(total)}")
    yield "tags:"
    yield from ("- synthetic", "- neural-cellular-automata", "- pre-training", "- ncagen", "- arxiv:2603.10055")
    yield "configs:"
    for band in spec.bands:
        yield f"- config_name: {band.name}"
        yield from ["  default: true"] * (band == spec.bands[0])
        yield "  data_files:"
        for split in _splits(spec):
            # The count keeps out what another dataset left in the folder or the repository.
            shards = f"{split}-*-of-{spec.shards(split):05d}.{manifest.storage}"
            yield from (f"  - split: {split}", f"    path: data/{band.name}/{shards}")
    yield "dataset_info:"
    for band in spec.bands:
        yield from _info(manifest, band)


def _info(manifest: Manifest, band: Band) -> Iterable[str]:
    """What `datasets` would find out by reading everything."""
    spec = manifest.spec
    row_bytes = spec.row_bytes + sum(size for _, size in COLUMNS.values())
    yield from (f"- config_name: {band.name}", "  features:", "  - name: input_ids")
    yield from (f"    sequence: {spec.token_dtype}", f"    length: {spec.row_tokens}")
    for name, (dtype, _) in COLUMNS.items():
        yield from (f"  - name: {name}", f"    dtype: {dtype}")
    yield "  splits:"
    for split in _splits(spec):
        rows = spec.rows(split)
        yield from (f"  - name: {split}", f"    num_bytes: {rows * row_bytes}", f"    num_examples: {rows}")
    size = sum(manifest.files[manifest.path(record)].bytes for record in manifest.records if record.band == band.name)
    yield f"  download_size: {size}"
    yield f"  dataset_size: {sum(spec.rows(split) for split in SPLITS) * row_bytes}"


def _what(spec: Spec) -> list[str]:
    rules = "each of its own random rule" if spec.trajectories_per_rule == 1 else "each of a random rule"
    return [
        "# Trajectories of random neural cellular automata",
        "",
        "Synthetic data to train language models on before text, after",
        f"[*Training Language Models via Neural Cellular Automata*]({PAPER}). Each row is one trajectory, {rules} that",
        "a model must infer in context. There is no text in it, and nothing that anybody wrote.",
        "",
        f"A row is {spec.frames} grids of {spec.grid} x {spec.grid} cells in {spec.states} states, as"
        f" {spec.row_tokens:,} tokens: {spec.patch} x {spec.patch} patches",
        f"(ids 0 to {spec.patch_ids - 1}) between start-of-grid ({spec.patch_ids}) and end-of-grid"
        f" ({spec.patch_ids + 1}). The vocabulary has {spec.vocabulary:,} ids.",
        "",
        "| setting | value |",
        "|---|---|",
        f"| rule | 3 x 3 convolution to 4 channels, to 16, ReLU, to {spec.states} logits; weights random |",
        f"| next state | one draw for each cell, temperature {spec.temperature:g}, identity bias"
        f" {spec.identity_bias:g} |",
        f"| start | {spec.start}, on a torus |",
        f"| channels | {'wrap around, as in the released code' if spec.channel_wrap else 'do not wrap around'} |",
        f"| recorded | every {f'{spec.stride} steps' if spec.stride > 1 else 'step'}, after the first {spec.warmup} |",
        f"| trajectories of a rule | {spec.trajectories_per_rule} |",
        f"| seed | {spec.seed} |",
    ]


def _bands(manifest: Manifest) -> list[str]:
    spec = manifest.spec
    lines = ["## Bands", "", "| band | gzip ratio | split | rows | training tokens | kept of the candidates |"]
    lines.append("|---|---|---|---|---|---|")
    for band in spec.bands:
        for split in _splits(spec):
            records = manifest.part(split, band.name)
            rows = sum(record.rows for record in records)
            lines.append(
                f"| {band.name} | {band.low:g} to {band.high:g} | {split} | {rows:,} | {rows * spec.seq_len:,} |"
                f" {_kept(records)} |"
            )
    return [
        *lines,
        "",
        f"The ratio is the length of gzip, level 9, over the first {spec.scored_frames} grids of the row itself, as"
        f" {spec.scored_bytes:,} bytes of",
        "little-endian int32, delimiters left out. It means nothing for another alphabet, width or length.",
        "Rules of the splits are disjoint.",
    ]


def _kept(records: list[Record]) -> str:
    return f"{sum(record.rows for record in records) / sum(record.tried for record in records):.1%}"


def _histogram(picture: Sequence[str]) -> list[str]:
    return ["Gzip ratios of the rows for training:", "", "```", *picture, "```"] if picture else []


def _drawing(spec: Spec, drawn: Sequence[int]) -> list[str]:
    if not drawn:
        return []
    rows = f"Rows {drawn[0]} to {drawn[-1]} of band {spec.bands[0].name}"
    return [f"{rows}, each with its {spec.frames} grids from left to right:", "", f"![{rows}]({PICTURE})"]


def _columns(spec: Spec) -> list[str]:
    return [
        "## Columns",
        "",
        "| column | type | |",
        "|---|---|---|",
        f"| `input_ids` | {spec.token_dtype}, {spec.row_tokens:,} of them | the tokens |",
        "| `candidate` | uint64 | the number that the row is made again from |",
        "| `gzip_bytes` | int32 | length of the compressed grids |",
        f"| `gzip_ratio` | float32 | `gzip_bytes` by {spec.scored_bytes:,} |",
        "",
        "Select rows by `gzip_bytes`, not by `gzip_ratio`: engines differ in whether a float32 is compared in double",
        f'precision. `ncagen.open(..., where="gzip_bytes >= {-(-spec.scored_bytes * 3 // 5)}")` is exact.',
        "",
        "Labels are not stored, because trainers shift them in different places. Nothing predicts a row's first grid,",
        f"its first {spec.tokens_per_grid} tokens: leave it out of the loss, as the paper does.",
    ]


def _readers(manifest: Manifest) -> list[str]:
    """Which readers of Parquet open the files, as docs/conformance.md has it."""
    if manifest.storage != "parquet":
        return []
    files = relative_path(manifest.spec, "parquet", "train", manifest.spec.bands[0].name, 0)
    files = files.replace("train-00000", "train-*")
    setting = " (`spark.sql.parquet.enableNestedColumnVectorizedReader=false`)"
    return [
        f"`{files}` also opens in pyarrow, pandas, Polars, DuckDB 2,",
        f"DataFusion, Ray Data, Daft, ClickHouse and Spark{setting * (manifest.spec.token_dtype == 'uint32')}.",
        "DuckDB 1.5 and fastparquet cannot read its tokens.",
        "",
    ]


def _loading(manifest: Manifest, name: str | None) -> list[str]:
    """Loading with ncagen, with datasets, and in five trainers."""
    spec = manifest.spec
    place, band = name or HOME, spec.bands[0].name
    folder = "data/nca" if name else HOME
    exports = {"nanogpt": "nanoGPT"} if spec.token_dtype == "uint16" else {"mds": "Composer"}
    exports |= {"megatron": "Megatron-LM", "olmo": "OLMo-core"}
    return [
        "## Loading",
        "",
        "```python",
        "import ncagen  # numpy and pyarrow; from the Hub also huggingface_hub: pip install 'ncagen[hub]'",
        "",
        f'rows = ncagen.open("{place}", band="{band}")  # every file is checked against its hash before a row is seen',
        'rows[0]["input_ids"]',
        "```",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'rows = load_dataset("{place}", "{band}", split="train")  # streaming=True works too',
        "```",
        "",
        "Beside text, `interleave_datasets` and `concatenate_datasets` want equal types:",
        '`rows.select_columns("input_ids").cast_column("input_ids", text.features["input_ids"])`.',
        "",
        *_readers(manifest),
        "PyTorch, with labels that leave out the first grid, and a state that resumes anywhere:",
        "",
        "```python",
        "from ncagen.adapters.torch import Loader",
        "",
        f'loader = Loader(ncagen.open("{place}", band="{band}"), batch_size=16, num_workers=2)',
        'batch = next(iter(loader))  # batch["input_ids"], batch["labels"]',
        "```",
        "",
        "The Trainer of transformers, for any causal model with a vocabulary of"
        f" {spec.vocabulary:,} or more (`remove_unused_columns=False`):",
        "",
        "```python",
        "from ncagen.adapters.huggingface import transform",
        "",
        f'train_dataset = rows.with_transform(transform(ncagen.open("{place}", band="{band}")))',
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
        "- Exact: no row of a band is outside of it. The trajectory of the row was scored, not only its rule.",
        f"- Not exact: the bytes of the {manifest.storage} files under other versions than {versions}.",
        "- Not the paper's own rows: the random numbers of its released code are others. The distribution is the same",
        "  where the settings are.",
    ]


def _limits(spec: Spec) -> list[str]:
    noise = [] if spec.temperature < 0.01 else [f"- At temperature {spec.temperature:g} much of a row is noise."]
    return [
        "## Limits",
        "",
        "- This is data, without a promise of gains: replications of the paper are mixed.",
        "- It is for training before text, not instead of it. A model of it knows no language.",
        "- Tokens are patches of cells. Ids have nothing to do with any tokenizer of text.",
        "- Complexity is measured by gzip alone, over the first grids alone; later ones may settle or cycle.",
        *noise,
    ]


def _licence() -> list[str]:
    return [
        "## Licence and citation",
        "",
        "The data are under the MIT licence. Please cite the paper for the method, and ncagen for the data:",
        "",
        "```bibtex",
        "@article{lee2026nca,",
        "  title  = {Training Language Models via Neural Cellular Automata},",
        "  author = {Lee and Han and Kumar and Agrawal},",
        "  year   = {2026},",
        "  eprint = {2603.10055},",
        "  archivePrefix = {arXiv}",
        "}",
        "```",
    ]


def _splits(spec: Spec) -> list[str]:
    return [split for split in SPLITS if spec.rows(split)]
