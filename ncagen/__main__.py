"""The command's entry: one line where a package is missing, whether the command line or a command imports it."""

import os
import sys

from ncagen import hints


def main() -> None:
    """Runs the command line. Exit status 0, 1 (a dataset failed its check), 2 (cannot do that) or 130 (stopped)."""
    try:
        from ncagen import cli

        status = cli.run(sys.argv[1:])
    except ModuleNotFoundError as error:
        package = hints.missing(error)
        if package is None:
            raise
        print(f"ncagen: {package} is not installed: {hints.install(package)}", file=sys.stderr)
        sys.exit(2)
    if status:
        os._exit(status)  # a compiler or a cluster left half way has much to say when Python takes it apart


if __name__ == "__main__":
    main()
