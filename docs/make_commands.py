"""Writes docs/commands.md, every command's --help: python docs/make_commands.py"""

from pathlib import Path

import click

from ncagen.cli import main

SETTINGS = {"terminal_width": 110, "max_content_width": 110, "help_option_names": ["-h", "--help"]}
PAGE = Path(__file__).with_name("commands.md")


def page() -> str:
    """The page's text, from the commands themselves. The default of --workers is the machine's, so it is not shown."""
    lines = ["# Commands", "", "Written by `docs/make_commands.py` from the commands' own help.", ""]
    for name, command in [("", main), *sorted(main.commands.items())]:
        words = f"ncagen {name}".strip()
        with click.Context(command, info_name=words, **SETTINGS) as context:
            lines += [f"## {words}", "", "```", command.get_help(context), "```", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
