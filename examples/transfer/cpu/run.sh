#!/usr/bin/env bash
# The whole experiment of the preset cpu by one command: text, datasets, all runs, the report. A second start resumes.
#
#     examples/transfer/cpu/run.sh set.mm
#
# set.mm: Metamath's database; ../prepare.py says where it is from. PYTHON: the interpreter, python3 if it is not set.
set -euo pipefail
cd "$(dirname "$0")/../../.."
python="${PYTHON:-python3}"
data=data/transfer
export NCAGEN_CORPORA="${NCAGEN_CORPORA:-$PWD/data/corpora}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
[ -e $data/tokenizer.json ] || "$python" examples/transfer/prepare.py --math "$1" --out $data
"$python" -m ncagen build examples/transfer/cpu/arms.toml --out $data/arms
for domain in code math; do
    "$python" -m ncagen build --source text --files $data/$domain.jsonl --tokenizer $data/tokenizer.json \
        --tokens 2M --validation 100K --seq-len 512 --out $data/$domain
done
"$python" examples/transfer check examples/transfer/cpu/experiment.toml
"$python" examples/transfer run examples/transfer/cpu/experiment.toml --out data/runs/cpu
