#!/bin/sh
# pptrain 0.3.0: the presets of its task "procedural" that are named after a paper make no data. An example is text with
# the task's name in it, such as "sort:dbca=>abcd", and may have half of the preset's max_length in symbols before "=>"
# and as many after it, so it does not fit max_length; one that does not fit ends the build. 17 of 18 presets end within
# 2,000 examples, all but paper_set_len64. Observed: "Failed to sample ..." for each. Exits 0 if so.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 pptrain==0.3.0
cat > "$work/try.py" <<'PROGRAM'
import sys
from importlib.metadata import version

from pptrain.core.registry import create_task, registered_presets

print("pptrain", version("pptrain"))
ended = []
presets = [preset.name for preset in registered_presets("procedural") if preset.name.startswith("paper_")]
for name in presets:
    task = create_task("procedural", {"preset": name, "sequence_count": 2000, "eval_sequence_count": 1})
    try:
        task.build_datasets(seed=0)
        print(name, "made 2,000 examples")
    except RuntimeError as error:
        print(name, error)
        ended += [name] * str(error).startswith("Failed to sample a procedural example")
sys.exit(0 if len(presets) == 18 and set(presets) - set(ended) == {"paper_set_len64"} else 1)
PROGRAM
cd "$work" && "$work/venv/bin/python" try.py
