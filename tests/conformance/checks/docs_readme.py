"""The Python blocks of README.md in turn, as one program, with every package that they import."""

import os
import re
import tempfile
from pathlib import Path

import torch
from common import EXPORT, report, source

ROOT = Path(__file__).parents[3]

# Less data, none that is built here, and settings that a machine without a GPU or an account needs.
BUILT = 'ncagen.build({"tokens": "2M", "band": "high", "validation": "200K"}, "data/small")'
SMALLER = (
    (BUILT, 'ncagen.open("data/nca-high").manifest'),
    ("data/small", "data/nca-high"),
    ('TrainingArguments("runs")', 'TrainingArguments("runs", max_steps=2, use_cpu=True, report_to="none")'),
    ("range(3)", "range(1)"),
)

program = "\n".join(re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.M | re.S))
for given, small in SMALLER:
    assert given in program, given
    program = program.replace(given, small)
torch.manual_seed(0)
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    Path("data").mkdir()
    Path("data/nca-high").symlink_to(EXPORT.absolute())
    names: dict = {}
    exec(compile(program, "README.md", "exec"), names)
    assert names["inputs"].shape[1] == names["labels"].shape[1] == 1024
    os.chdir("/")
report("transformers", "every Python block of README.md runs", source("train").size)
