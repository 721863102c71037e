"""The command's entry: says plainly which extra is missing, whether the command line or a command asks for it."""

import os
import sys

EXTRAS = {
    "click": "build",
    "numba": "build",
    "llvmlite": "build",
    "tqdm": "build",
    "huggingface_hub": "hub",
    "PIL": "view",
}


def main() -> None:
    """Runs the command line. Exit status 0, 1 (a dataset failed its check), 2 (cannot do that) or 130 (stopped)."""
    try:
        from ncagen import cli

        status = cli.run(sys.argv[1:])
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        print(f"ncagen: {error.name} is not installed: pip install 'ncagen[{extra}]'", file=sys.stderr)
        sys.exit(2)
    if status:
        os._exit(status)  # a compiler or a cluster left half way has much to say when Python takes it apart


if __name__ == "__main__":
    main()
