"""A toy experiment for the example `transfer`: datasets of every source, text, instructions, and a task."""

import json
import tomllib
from pathlib import Path

from textdata import library, write_lines, write_tokenizer

import ncagen

ARMS = """
name = "toy"
tokens = "12K"
validation = "2K"
seq_len = 128
rows_per_shard = 64
[arm.nca-high]
band = "0.4-0.6"
[arm.nca-medium]
band = "0.3-0.4"
[arm.nca-low]
band = "0.1-0.3"
[arm.shuffle-time]
band = "0.3-0.6"
control = "shuffle-time"
[arm.shuffle-cells]
band = "0.3-0.6"
control = "shuffle-cells"
[arm.unigram]
band = "0.3-0.6"
control = "unigram"
[arm.dyck]
source = "dyck"
k = 8
band = "0.1-0.6"
[arm.text]
source = "text"
files = "{folder}/prose.jsonl"
tokenizer = "{folder}/tokenizer.json"
band = "0-1"
[arm.text-10x]
source = "text"
files = "{folder}/prose.jsonl"
tokenizer = "{folder}/tokenizer.json"
band = "0-1"
tokens = "120K"
"""
GRIDS = {"states": 5, "grid": 6}

HEAD = """
name = "toy"
preset = "cpu"
seeds = [0]
model = { layers = 2, width = 32, heads = 2, mlp = 64, dropout = 0.1 }
[source]
experiment = "arms"
tokens = "12K"
batch = 8
micro = 8
evaluations = 2
eval_rows = 8
[text.code]
data = "text"
tokens = "12K"
micro = 4
batch = 8
evaluations = 4
eval_rows = 8
"""
TUNE = """
[tune.sums]
data = "sums.jsonl"
validation = "sums-test.jsonl"
tokenizer = "tokenizer.json"
text = "code"
epochs = 1
seq_len = 64
evaluations = 1
"""
TASKS = """task_folder = "tasks"
tasks = { sums = "sums-test.jsonl" }
limit = 2
"""
SCRATCH = "[arm.scratch]\n"
ALL = (
    SCRATCH
    + "".join(f"[arm.{name}]\n" for name in tomllib.loads(ARMS.format(folder=""))["arm"] if name != "text-10x")
    + """[arm.text-10x]
times = 10
[arm.nca-attention]
source = "nca-high"
reinit = ["embeddings", "head", "mlp", "norm:1"]
freeze = ["attention:0"]
"""
)
TASK = """task: sums
dataset_path: json
output_type: generate_until
test_split: test
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "{{answer}}"
generation_kwargs: { until: ["\\n"], do_sample: false, max_gen_toks: 4 }
metric_list: [{ metric: exact_match, aggregation: mean, higher_is_better: true }]
"""


def make_data(folder: Path) -> Path:
    """Builds everything that the toy experiment reads."""
    write_tokenizer(folder / "tokenizer.json", 300)
    texts = [path.read_text(encoding="utf-8") for path in library(60)]
    write_lines(folder / "code.jsonl", [text[:3000] for text in texts[:30]])
    write_lines(folder / "prose.jsonl", [text[:12_000] for text in texts[30:]])
    sums = [{"question": f"{a} + {b} =", "answer": str(a + b)} for a in range(6) for b in range(6)]
    for name, some in (("sums", sums[:28]), ("sums-test", sums[28:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in some))
    (folder / "tasks").mkdir()
    (folder / "tasks" / "sums.yaml").write_text(TASK)
    settings = tomllib.loads(ARMS.format(folder=folder))
    for arm in settings["arm"].values():
        arm |= GRIDS if "source" not in arm else {}
    ncagen.build_experiment(settings, folder / "arms")
    text = {"source": "text", "files": f"{folder}/code.jsonl", "tokenizer": f"{folder}/tokenizer.json", "seq_len": 128}
    ncagen.build(text | {"tokens": "12K", "validation": "2K"}, folder / "text")
    return folder


def write_experiment(folder: Path, text: str, name: str = "experiment.toml") -> Path:
    """Writes an experiment beside the data."""
    path = folder / name
    path.write_text(text)
    return path
