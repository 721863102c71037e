"""The Python blocks of README.md in turn, as one program, with every package that they import."""

import os
import re
import tempfile
from pathlib import Path

import torch
from common import EXPORT, report, source
from transformers import LlamaConfig, LlamaForCausalLM

import ncagen

ROOT = Path(__file__).parents[3]

# Less data, and settings that a machine without a GPU or an account needs.
SMALLER = (
    ('TrainingArguments("runs")', 'TrainingArguments("runs", max_steps=2, use_cpu=True, report_to="none")'),
    ("range(3)", "range(1)"),
)

program = "\n".join(re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.M | re.S))
for given, small in SMALLER:
    assert given in program, given
    program = program.replace(given, small)
torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=10_048, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1
)
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    Path("data").mkdir()
    Path("data/nca-high").symlink_to(EXPORT.absolute())
    names = {"model": LlamaForCausalLM(config), "ncagen": ncagen}
    exec(compile(program, "README.md", "exec"), names)
    assert names["inputs"].shape[1] == names["labels"].shape[1] == 1024
    os.chdir("/")
report("transformers", "every Python block of README.md runs", source("train").size)
