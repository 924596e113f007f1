"""Help texts, and click's shell completion of commands, options and files."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from support.commands import TRACKMLLIB, environ, finished
from trackmllib.cli.main import COMMANDS, commands, main

pytestmark = pytest.mark.versions

# Prints what the completion function of click's script offers; compopt works in a prompt only.
BASH = """
eval "$(_TRACKMLLIB_COMPLETE=bash_source trackmllib)"
[[ $(complete -p trackmllib) =~ -F\\ ([^ ]+)\\ trackmllib ]] || exit
compopt() { echo "$@"; }
COMP_WORDS=(trackmllib "$@") COMP_CWORD=$#
${BASH_REMATCH[1]} trackmllib "${COMP_WORDS[COMP_CWORD]}"
echo "${COMPREPLY[@]}"
"""

# Packages that take a second to load.
SLOW = {"mlflow", "pyspark", "pydantic", "numpy", "pandas", "matplotlib", "jinja2"}


@pytest.fixture
def script(tmp_path) -> str:
    """A folder for PATH with the command, which this environment may have only as a module."""
    file = tmp_path / "bin/trackmllib"
    file.parent.mkdir()
    file.write_text(f'#!/bin/sh\nexec {TRACKMLLIB[0]} -c "{TRACKMLLIB[2]}" "$@"\n')
    file.chmod(0o755)
    return str(file.parent)


@pytest.fixture
def complete(script):
    """Words that bash offers for the last of ``words``, by the script that click makes."""

    def run(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "--norc", "-c", BASH, "trackmllib", *words],
            env=environ(PATH=f"{script}:/usr/bin:/bin"),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return run


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    listed = [line.split()[0] for line in text.partition("Commands:\n")[2].splitlines() if line]
    assert tuple(listed[: len(COMMANDS)]) == COMMANDS
    # click ends a sentence with dots if it is too long for its line.
    assert "..." not in text.partition("Commands:\n")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_command_describes_every_option(capsys, name):
    command = commands.get_command(click.Context(commands), name)
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert command.help.partition("\n")[0] in text
    options = [param for param in command.params if isinstance(param, click.Option)]
    for option in options:
        assert option.help.endswith(".")
        assert all(name in text for name in option.opts)
        assert option.help.split()[0] in text


def test_options_have_one_name_and_one_metavar():
    metavars: dict[str, set[str | None]] = {}
    for name in COMMANDS:
        for param in commands.get_command(click.Context(commands), name).params:
            if isinstance(param, click.Option):
                metavars.setdefault(max(param.opts, key=len), set()).add(param.metavar)
    assert {name for name, used in metavars.items() if len(used) > 1} == set()
    assert metavars["--tracking-uri"] == {"URI"}
    assert "--server" not in metavars


def test_help_loads_no_slow_package():
    code = "import sys; from trackmllib.cli import main; main(['--help']); print(*sys.modules)"
    done = finished([sys.executable, "-c", code], environ())
    assert (done.returncode, done.stderr) == (0, "")
    assert SLOW.isdisjoint(done.stdout.split())


@pytest.mark.parametrize("module", ["trackmllib", "trackmllib.integrations.process_startup"])
def test_import_does_not_load_click(module):
    done = finished([sys.executable, "-c", f"import {module}, sys; print(*sys.modules)"], environ())
    assert (done.returncode, done.stderr) == (0, "")
    assert "click" not in done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["s"], ["searches", "show", "stop", "status", "sync"]),
        (["show", "--j"], ["--json"]),
        (["sync", "--t"], ["--tracking-uri", "--timeout"]),
        (["searches", "--exp"], ["--experiment"]),
    ],
)
def test_bash_completes_commands_and_options(complete, words, offered):
    assert complete(*words) == offered


@pytest.mark.parametrize("words", [["run", "jo"], ["report", "3f2c", "-o", "x"]])
def test_bash_completes_files_itself(complete, words):
    assert complete(*words) == ["-o", "default"]


@pytest.mark.parametrize(("shell", "position"), [("zsh", "1"), ("fish", "sh")])
def test_other_shells_complete_with_help(script, shell, position):
    def run(**variables: str) -> str:
        done = finished(["trackmllib"], environ(PATH=f"{script}:/usr/bin:/bin", **variables))
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    instruction = f"{shell}_complete"
    assert instruction in run(_TRACKMLLIB_COMPLETE=f"{shell}_source")
    offered = run(_TRACKMLLIB_COMPLETE=instruction, COMP_WORDS="trackmllib sh", COMP_CWORD=position)
    assert "show" in offered
    assert "Show the candidates of a search, best first." in offered
