#!/usr/bin/env bash
# A whole experiment by one command: text, datasets, all runs, the report. A second start resumes.
#
#     examples/transfer/run.sh cpu set.mm             # Python's library and Metamath's set.mm; prepare.py says where from
#     examples/transfer/run.sh small                  # Python's library and all installed packages
#
# PYTHON: the interpreter, python3 if it is not set. LAUNCH: what starts the training, such as "torchrun
# --nproc-per-node 8"; the interpreter if it is not set.
set -euo pipefail
cd "$(dirname "$0")/../.."
size="${1:?cpu or small}"
python="${PYTHON:-python3}"
data=data/transfer/$size
export NCAGEN_CORPORA="${NCAGEN_CORPORA:-$PWD/data/corpora}"
if [ "$size" = cpu ]; then
    text=(--math "${2:?the file set.mm}") domains="code math" tokens=1M length=512
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
else
    packages=$("$python" -c 'import numpy; print(numpy.__path__[0] + "/..")')
    library=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["stdlib"])')
    text=(--code "$library" "$packages" --vocabulary 8192) domains=code tokens=20M length=1024
fi
[ -e "$data/tokenizer.json" ] || "$python" examples/transfer/prepare.py "${text[@]}" --out "$data"
"$python" -m ncagen build "examples/transfer/arms-$size.toml" --out "$data/arms"
for domain in $domains; do
    "$python" -m ncagen build --source text --files "$data/$domain.jsonl" --tokenizer "$data/tokenizer.json" \
        --tokens $tokens --validation 100K --seq-len $length --out "$data/$domain"
done
${LAUNCH:-$python} examples/transfer/__main__.py run "examples/transfer/$size.toml" --out "data/runs/$size"
