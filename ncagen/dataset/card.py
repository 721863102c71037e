"""README.md of a dataset folder: the card, with one configuration per band, from the manifest alone.

It makes `datasets.load_dataset(folder, band)` work on the folder as it is.
"""

from ncagen.dataset.manifest import SPLITS, Manifest

CARD = "README.md"


def text(manifest: Manifest) -> str:
    """The card's Markdown."""
    spec = manifest.spec
    splits = [split for split in SPLITS if spec.rows(split)]
    configs = []
    for i, band in enumerate(spec.bands):
        configs += [f"- config_name: {band.name}"] + (["  default: true"] if i == 0 else []) + ["  data_files:"]
        for split in splits:
            configs += [f"  - split: {split}", f"    path: data/{band.name}/{split}-*.{manifest.storage}"]
    table = ["| band | gzip ratio | split | rows | tokens |", "|---|---|---|---|---|"]
    for band in spec.bands:
        for split in splits:
            rows = spec.rows(split)
            table.append(
                f"| {band.name} | {band.low:g} to {band.high:g} | {split} | {rows:,} | {rows * spec.seq_len:,} |"
            )
    return "\n".join(
        [
            "---",
            "license: mit",
            "task_categories:",
            "- text-generation",
            "tags:",
            "- synthetic",
            "- neural-cellular-automata",
            "- arxiv:2603.10055",
            "configs:",
            *configs,
            "---",
            "",
            "# Trajectories of random neural cellular automata",
            "",
            f"Each row is {spec.frames} grids of {spec.grid} x {spec.grid} cells in {spec.states} states, one"
            " trajectory of one random rule,",
            f"as {spec.row_tokens} tokens: {spec.patch} x {spec.patch} patches (ids 0 to {spec.patch_ids - 1}) between"
            f" start-of-grid ({spec.patch_ids}) and end-of-grid ({spec.patch_ids + 1}).",
            "",
            *table,
            "",
            "Columns: `input_ids`, `candidate` (the number the row is rebuilt from), `gzip_bytes` and `gzip_ratio` of"
            f" its first {spec.scored_frames} grids.",
            "Train and validation rules are disjoint.",
            "",
            "```python",
            "from datasets import load_dataset",
            "",
            f'rows = load_dataset("PATH_OF_THIS_FOLDER", "{spec.bands[0].name}", split="train")',
            "```",
            "",
            "Made by ncagen after *Training Language Models via Neural Cellular Automata*, arXiv 2603.10055.",
            "The rows are a pure function of this spec: the same order makes them again, bit for bit.",
            "",
            "```json",
            spec.canonical(),
            "```",
            "",
            f"Dataset sha256: `{manifest.dataset_sha256}`",
            "",
        ]
    )
