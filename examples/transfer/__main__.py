"""The command: python examples/transfer run EXPERIMENT.toml --out FOLDER, or check, or report."""

import argparse
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by CUDA when it starts: products in a fixed order
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. Exit status 0, 1 (a run failed) or 2 (bad input)."""
    args = _parser().parse_args(arguments)
    try:
        from ncagen import NcagenError
    except ModuleNotFoundError:
        print("transfer: ncagen is not installed: pip install -e . in its clone", file=sys.stderr)
        return 2
    try:
        return args.function(args)
    except NcagenError as error:
        print(f"transfer: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        needed = "pip install -r examples/transfer/requirements.txt"
        print(f"transfer: {error.name} is not installed: {needed}", file=sys.stderr)
        return 2


def run(args: argparse.Namespace) -> int:
    """Trains everything that is not finished, and writes the report."""
    from transfer import experiment, page, read

    described = read.read(args.experiment)
    fine = experiment.run(
        read.with_seeds(described, args.seeds), args.out, args.device, lambda line: print(line, flush=True)
    )
    if int(os.environ.get("RANK", 0)) == 0:
        print(page.write(described, args.out))
    return 0 if fine else 1


def check(args: argparse.Namespace) -> int:
    """Checks everything, prints what would be trained, and trains nothing."""
    from transfer import check, experiment, plan, read

    materials = check.check(read.read(args.experiment))
    experiment.rehearse(materials)
    print(plan.text(materials))
    return 0


def report(args: argparse.Namespace) -> int:
    """Writes the report of what is finished."""
    from transfer import page, read

    print(page.write(read.read(args.experiment), args.out))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="transfer", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="run|check|report")
    for function in (run, check, report):
        command = commands.add_parser(function.__name__, help=function.__doc__)
        command.set_defaults(function=function)
        command.add_argument("experiment", type=Path, help="the experiment's TOML file")
        if function is not check:
            command.add_argument("--out", type=Path, required=True, help="the folder of all runs and of the report")
    run_command = commands.choices["run"]
    run_command.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    run_command.add_argument(
        "--seeds", type=int, nargs="+", help="those of the experiment to run here; all if left out"
    )
    return parser


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message=".*deterministic.*")
    sys.exit(main())
