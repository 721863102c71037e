"""Completion in a shell, through the command's own entry."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import Run, run

VARIABLE = "_NCAGEN_COMPLETE"


def complete(words: str, shell: str = "bash") -> list[str]:
    """What a shell is told that fits; the last word is the one to complete."""
    asked = {VARIABLE: f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = run(env={**os.environ, **asked})
    assert (done.status, done.err) == (0, "")
    return done.out.split()


def test_commands_options_and_choices_are_completed():
    assert complete("ncagen re") == ["plain,rebuild", "plain,receipt", "plain,recommend"]
    assert complete("ncagen export --to n") == ["plain,nanogpt"]
    assert complete("ncagen build --temp") == ["plain,--temperature"]


def test_a_dataset_is_completed_as_a_folder():
    assert complete("ncagen show da") == ["dir,da"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_one_that_it_takes(shell, tmp_path):
    done = run(env={**os.environ, VARIABLE: f"{shell}_source"})
    assert (done.status, done.err) == (0, "") and f"{VARIABLE}={shell}_complete" in done.out
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    checked = subprocess.run([shell, "-n", "/dev/stdin"], input=done.out, capture_output=True, text=True, cwd=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_another_instruction_is_refused():
    line = "ncagen: _NCAGEN_COMPLETE 'ksh_source' is not known: use bash_source, zsh_source, fish_source\n"
    assert run(env={**os.environ, VARIABLE: "ksh_source"}) == Run(2, "", line)


def test_help_says_how_to_switch_it_on():
    out = run("--help").out
    assert 'eval "$(_NCAGEN_COMPLETE=bash_source ncagen)"' in out and "_NCAGEN_COMPLETE=fish_source ncagen" in out


def test_bash_completes_once_the_line_was_run(tmp_path):
    """The line of the help and then what bash calls, with the command as an installation has it."""
    command = tmp_path / "ncagen"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m ncagen "$@"\n')
    command.chmod(0o755)
    script = """
eval "$(_NCAGEN_COMPLETE=bash_source ncagen)"
COMP_WORDS=(ncagen export --to mega); COMP_CWORD=3
_ncagen_completion ncagen mega --to
echo "${COMPREPLY[@]}"
complete -p ncagen
"""
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = run(program=["bash", "-c", script], env={**os.environ, "PATH": path})
    assert done == (0, "megatron\ncomplete -o nosort -F _ncagen_completion ncagen\n", "")
