"""Loads exports with the released packages they are for, and compares every token with the dataset's.

    python tests/conformance/run.py             all checks; writes docs/conformance.md
    python tests/conformance/run.py --quick     about half of them; writes nothing
    python tests/conformance/run.py --only mds  some checks by name; writes nothing
    python tests/conformance/run.py --make hub1 an environment alone

Environments are made once, in .conformance/, from requirements/<environment>.txt, and anew when that file changes. uv
installs them: a package that several environments have is downloaded and unpacked once, and is linked into each.
Two checks run at a time.
A check is checks/<check>.py, run in its environment with two folders: what it loads (an export, or the dataset itself)
and the source as plain arrays. It asserts, and prints one line of JSON; checks/common.py has what checks share.
To add one, add its script and a line to CHECKS.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matrix import matrix_table
from readers import READERS, readers_table
from text import build_text

from ncagen.dataset.reader import Dataset

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLACE = ROOT / ".conformance"
PAGE = ROOT / "docs" / "conformance.md"

# Three shards and one of validation.
BUILD = ["--tokens=900K", "--validation=200K", "--band=high", "--rows-per-shard=300"]

# Ids that need 32 bits, and rows cut.
OFFSET, LENGTH = 100_000, 1000
WIDE = (f"--token-offset={OFFSET}", f"--length={LENGTH}")


# Datasets that checks load, by the name in a check: "uint32" has ids that need 32 bits, and "matrix" is
# the one of tests/reader_matrix/oracle.py, which knows its rows.
DATASETS = {
    "parquet": (),
    "arrow": ("--format=arrow",),
    "uint32": ("--states=17",),
    "matrix": ("--tokens=99328", "--validation=20480", "--rows-per-shard=32"),
}

PIP_AND_UV = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
}

AT_A_TIME = 2  # checks; most use one core

# Environments that are small or have many checks.
QUICK = ("oldest", "datasets3", "loaders", "frameworks")

# Checks of theirs that only a whole run makes: tests/test_reader_matrix.py has the same cells, with the same torch.
REPEATED = ("matrix-torch",)


class Check(NamedTuple):
    """name: for --only and the table. exported: flags of the export that is loaded, None for the dataset itself, in
    the format `dataset_name` and with ncagen importable.
    """

    name: str
    environment: str
    script: str
    exported: tuple[str, ...] | None
    package: str = ""
    dataset_name: str = "parquet"


CHECKS = [
    Check("oldest", "oldest", "consumer_ncagen", None, "ncagen"),
    Check("oldest-arrow", "oldest", "consumer_ncagen", None, "ncagen", dataset_name="arrow"),
    Check("nanogpt", "loaders", "export_nanogpt", ("--to=nanogpt",), "nanoGPT, which has no release"),
    Check("llmc", "loaders", "export_llmc", ("--to=llmc",), "llm.c, which has no release"),
    Check("megatron", "loaders", "export_megatron", ("--to=megatron",)),
    Check("litdata", "loaders", "export_litdata", ("--to=litdata",)),
    Check("datatrove", "loaders", "export_datatrove", ("--to=datatrove",)),
    Check("olmo", "loaders", "export_olmo", ("--to=olmo",)),
    Check("jsonl", "loaders", "export_jsonl", ("--to=jsonl",)),
    Check("litdata-wide", "loaders", "export_litdata", ("--to=litdata", *WIDE)),
    Check("megatron-wide", "loaders", "export_megatron", ("--to=megatron", *WIDE)),
    Check("datatrove-wide", "loaders", "export_datatrove", ("--to=datatrove", *WIDE)),
    Check("olmo-wide", "loaders", "export_olmo", ("--to=olmo", *WIDE)),
    Check("mds", "mosaic", "export_mds", ("--to=mds",)),
    Check("mds-zstd-wide", "mosaic", "export_mds", ("--to=mds", "--zstd", *WIDE)),
    Check("dataloader", "trainers", "consumer_dataloader", None),
    Check("stateful", "trainers", "consumer_stateful", None),
    Check("trainer", "trainers", "consumer_trainer", None),
    Check("readme", "trainers", "docs_readme", None),
    Check("packing", "trainers", "consumer_packing", None),
    Check("oracle", "trainers", "consumer_oracle", None),
    Check("hf", "trainers", "export_hf", ("--to=hf",)),
    Check("page-transformers", "trainers", "trainer_transformers", None),
    Check("page-trl", "trainers", "trainer_trl", ("--to=hf", "--length=1024")),
    Check("page-lightning", "trainers", "trainer_lightning", None),
    Check("page-accelerate", "trainers", "trainer_accelerate", None),
    Check("page-ray", "frameworks", "trainer_ray", None),
    Check("page-jax", "jax", "trainer_jax", None),
    Check("page-keras", "jax", "trainer_keras", None),
    Check("page-torchtitan", "torchtitan", "trainer_torchtitan", None),
    Check("page-litgpt", "torchtitan", "trainer_litgpt", ("--to=litdata", "--length=1025")),
    Check("recipe-transformers", "trainers", "recipe_transformers", None),
    Check("recipe-accelerate", "trainers", "recipe_accelerate", None),
    Check("recipe-lightning", "trainers", "recipe_lightning", None),
    Check("recipe-trl", "trainers", "recipe_trl", ("--to=hf", "--length=1024")),
    Check("recipe-ray", "frameworks", "recipe_ray", None),
    Check("recipe-litgpt", "torchtitan", "recipe_litgpt", ("--to=litdata", "--length=1025")),
    Check("recipe-jax", "jax", "recipe_jax", None),
    Check("recipe-torchtitan", "torchtitan", "recipe_torchtitan", None),
    Check("recipe-nanogpt", "trainers", "recipe_nanogpt", None, "nanoGPT, which has no release"),
    Check("recipe-nanochat", "trainers", "recipe_nanochat", None, "nanochat, which has no release"),
    Check("grain", "trainers", "consumer_grain", None),
    Check("datasets", "trainers", "consumer_datasets", None),
    Check("datasets-arrow", "trainers", "consumer_datasets", None, dataset_name="arrow"),
    Check("datasets3", "datasets3", "consumer_datasets", None),
    Check("datasets3-arrow", "datasets3", "consumer_datasets", None, dataset_name="arrow"),
    *(
        Check(f"matrix-{name}", "frameworks", f"matrix_{name}", None, dataset_name="matrix")
        for name in ("torch", "lightning", "accelerate", "trainer", "ray")
    ),
    *(
        Check(f"{reader}-{dataset_name}", environment, f"reader_{reader}", None, dataset_name=dataset_name)
        for reader, environment in READERS.items()
        for dataset_name in ("parquet", "uint32")
    ),
]


def main() -> int:
    """0 if every check passed."""
    parser = argparse.ArgumentParser(description="Check exports with the packages they are for.")
    parser.add_argument("--quick", action="store_true", help=f"most checks of {', '.join(QUICK)}")
    parser.add_argument("--only", nargs="+", choices=[check.name for check in CHECKS], help="these checks")
    parser.add_argument("--make", nargs="+", metavar="ENVIRONMENT", help="make environments, and check nothing")
    arguments = parser.parse_args()
    if arguments.make:
        for environment in arguments.make:
            make_environment(environment)
        return 0
    chosen = [check for check in CHECKS if not arguments.quick or is_quick(check)]
    chosen = [check for check in chosen if not arguments.only or check.name in arguments.only]
    started = time.monotonic()
    for environment in dict.fromkeys(check.environment for check in chosen):
        make_environment(environment)
    made = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        results = run_all(chosen, Path(folder))
    print(f"environments {made - started:.0f} s, checks {time.monotonic() - made:.0f} s")
    if chosen == CHECKS:
        PAGE.write_text(page(chosen, results))
    return int(any(isinstance(result, str) for result in results))


def is_quick(check: Check) -> bool:
    """Whether --quick has the check."""
    return check.environment in QUICK and check.name not in REPEATED


def make_environment(name: str) -> None:
    """.conformance/<name> with the packages of its requirements."""
    requirements, folder = HERE / "requirements" / f"{name}.txt", PLACE / name
    stamp = folder / "installed.txt"
    if stamp.is_file() and stamp.read_text() == requirements.read_text():
        return
    print(f"{name}: making the environment", flush=True)
    uv = [installed_uv(), "--quiet", "--cache-dir", PLACE / "cache"]
    subprocess.run([*uv, "venv", "--clear", "--python", sys.executable, folder], check=True)
    install = [*uv, "pip", "install", "--python", folder / "bin/python", "--requirement", requirements]
    subprocess.run(install, check=True, env=os.environ | settings_of_pip())
    stamp.write_text(requirements.read_text())


def installed_uv() -> Path:
    """The command uv, in an environment of its own."""
    folder, version = PLACE / "uv", (HERE / "requirements/uv.txt").read_text()
    stamp = folder / "installed.txt"
    if not stamp.is_file() or stamp.read_text() != version:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, version.strip()], check=True)
        stamp.write_text(version)
    return folder / "bin/uv"


def settings_of_pip() -> dict[str, str]:
    """Where this machine's pip finds packages, in uv's names of the variables."""
    return {uv: os.environ[pip] for pip, uv in PIP_AND_UV.items() if pip in os.environ}


def run_all(checks: list[Check], folder: Path) -> list[dict | str]:
    """What each check reported, or the last line of its failure."""
    for dataset_name in dict.fromkeys(["parquet", *(check.dataset_name for check in checks)]):
        ncagen("build", *BUILD, *DATASETS[dataset_name], "--out", folder / dataset_name)
    save_source(folder / "parquet", folder / "source")
    if (folder / "uint32").exists():
        save_source(folder / "uint32", folder / "source-uint32")
    if any(check.script.startswith("recipe_") for check in checks):
        build_text(folder / "text")
        save_source(folder / "text", folder / "source-text")
    save_wide(folder / "source", folder / "wide")
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        longest_first = sorted(checks, key=lambda check: not check.script.startswith("matrix_"))
        running = {
            check: threads.submit(run_check, check, folder / check.dataset_name, folder) for check in longest_first
        }
        return [running[check].result() for check in checks]


def run_check(check: Check, dataset: Path, folder: Path) -> dict | str:
    """Exports what the check loads, and runs it."""
    loaded, recipe = dataset, check.script.startswith("recipe_")
    if check.exported is not None:
        loaded = folder / check.name
        try:
            ncagen("export", dataset, *check.exported, "--out", loaded)
            if recipe:
                ncagen("export", folder / "text", *check.exported, "--out", folder / f"{check.name}-text")
        except subprocess.CalledProcessError:
            return f"ncagen export {' '.join(check.exported)} failed"
    command = [PLACE / check.environment / "bin/python", HERE / "checks" / f"{check.script}.py"]
    source = folder / ("wide" if check.exported and WIDE[0] in check.exported else "source")
    source = folder / "source-uint32" if check.dataset_name == "uint32" else source
    # A home of its own: what a library leaves there (Ray a token, datasets a cache) decides nothing for others.
    home = folder / f"home-{check.name}"
    home.mkdir()
    environment = (
        os.environ | {"HOME": str(home)} | ({"PYTHONPATH": str(ROOT)} if check.exported is None or recipe else {})
    )
    started = time.monotonic()
    done = subprocess.run([*command, loaded, source], capture_output=True, text=True, env=environment)
    seconds = time.monotonic() - started
    if done.returncode:
        print(f"{check.name}: failed\n{done.stderr}", file=sys.stderr)
        return done.stderr.strip().splitlines()[-1]
    result = json.loads(done.stdout.strip().splitlines()[-1])
    if check.script.startswith("matrix_"):
        print(f"{check.name}: {result['loaded']}, {seconds:.0f} s")
        return result
    outcome = f"{result['tokens']:,} tokens equal" if result["tokens"] else "refuses them, as the table says"
    print(f"{check.name}: {outcome}, {seconds:.0f} s")
    return result


def ncagen(*arguments: object) -> None:
    """`ncagen ARGUMENTS`, of this environment."""
    subprocess.run([sys.executable, "-m", "ncagen", *map(str, arguments), "--quiet"], check=True, cwd=ROOT)


def save_source(dataset: Path, folder: Path) -> None:
    """The dataset's columns as plain arrays: <split>.npy has input_ids [row, token], <split>-<column>.npy a column."""
    folder.mkdir()
    for split in ("train", "validation"):
        rows = Dataset(dataset, split)
        shards = [rows.shard(number).columns for number in range(len(rows.records))]
        for column in shards[0]:
            name = split if column == "input_ids" else f"{split}-{column}"
            np.save(folder / f"{name}.npy", np.concatenate([shard[column] for shard in shards]))


def save_wide(source: Path, folder: Path) -> None:
    """The source as an export with the flags of WIDE has it."""
    folder.mkdir()
    for path in source.iterdir():
        column = np.load(path)
        np.save(folder / path.name, column if column.ndim == 1 else column[:, :LENGTH].astype(np.uint32) + OFFSET)


def page(checks: list[Check], results: list[dict | str]) -> str:
    """docs/conformance.md."""
    lines = [
        "# Conformance",
        "",
        "Written by `tests/conformance/run.py` (`make conformance`): a small dataset, loaded by the released packages",
        "themselves. What a check loads is compared with the source token by token. All load every row of every split",
        "but `trainer`, which trains on 24 rows and evaluates on 20, `packing`, which packs 12, `oracle`, with 10, and",
        "recipes, with a few.",
        "",
        "| check | package | version | Python | NumPy | loaded with | tokens equal |",
        "|---|---|---|---|---|---|---|",
    ]
    for check, result in zip(checks, results, strict=True):
        if check.script.startswith(("reader_", "matrix_")):
            continue
        if isinstance(result, str):
            lines.append(f"| {check.name} | {check.package} | | | | | **failed**: {result} |")
            continue
        package, version = result["package"] or check.package, result.get("version", "")
        versions = f"{version} | {result['python']} | {result['numpy']}"
        lines.append(f"| {check.name} | {package} | {versions} | {result['loaded']} | all {result['tokens']:,} |")
    return "\n".join([*lines, *matrix_table(checks, results), *readers_table(checks, results), ""])


if __name__ == "__main__":
    sys.exit(main())
