"""``trackmllib completion``: what a shell needs to complete our command line, from its parser."""

from __future__ import annotations

import argparse
import functools
import shlex
from collections.abc import Iterator
from typing import Any

from trackmllib.cli import terminal
from trackmllib.outbox.home import Home

SHELLS = ("bash", "zsh", "fish")


def add_to(verbs: Any) -> None:
    parser = verbs.add_parser(
        "completion",
        help="print what a shell needs to complete this command",
        description='Print a completion script. bash: eval "$(trackmllib completion bash)" in '
        "~/.bashrc; zsh: the same in ~/.zshrc, after compinit; fish: trackmllib completion fish > "
        "~/.config/fish/completions/trackmllib.fish",
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to read it")
    # The parsers of all verbs, once they are there.
    parser.set_defaults(run=functools.partial(run, verbs))


def run(verbs: Any, given: argparse.Namespace, home: Home) -> int:
    """Always 0."""
    make = {"bash": bash, "zsh": zsh, "fish": fish}[given.shell]
    terminal.write_data(make(verbs) + "\n")
    return 0


def bash(verbs: Any) -> str:
    cases = "\n".join(
        f"    {verb}) words={shlex.quote(' '.join(word for word, _ in _words(parser)))} ;;"
        for verb, parser in verbs.choices.items()
    )
    return f"""_trackmllib() {{
  local words='' current=${{COMP_WORDS[COMP_CWORD]}}
  if [ "$COMP_CWORD" -eq 1 ]; then
    words={shlex.quote(" ".join((*verbs.choices, "--help", "--version")))}
  else
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _trackmllib trackmllib"""


def zsh(verbs: Any) -> str:
    def described(words: Iterator[tuple[str, str]]) -> str:
        return " ".join(shlex.quote(f"{word}:{text}") for word, text in words)

    cases = "\n".join(
        f"    {verb}) found=({described(_words(parser))}) ;;"
        for verb, parser in verbs.choices.items()
    )
    return f"""#compdef trackmllib
_trackmllib() {{
  local -a found
  if (( CURRENT == 2 )); then
    found=({described(_verbs(verbs))})
  else
    case ${{words[2]}} in
{cases}
    esac
  fi
  _describe trackmllib found || _files
}}
compdef _trackmllib trackmllib"""


def fish(verbs: Any) -> str:
    lines = ["complete -c trackmllib -n __fish_use_subcommand -l help -l version"]
    for verb, text in _verbs(verbs):
        lines.append(
            f"complete -c trackmllib -n __fish_use_subcommand -f -a {verb} -d {_in_fish(text)}"
        )
    for verb, parser in verbs.choices.items():
        for word, text in _words(parser):
            kind = f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}"
            kind = kind if word.startswith("-") else f"-f -a {word}"
            lines.append(
                f"complete -c trackmllib -n '__fish_seen_subcommand_from {verb}' {kind} "
                f"-d {_in_fish(text)}"
            )
    return "\n".join(lines)


def _verbs(verbs: Any) -> Iterator[tuple[str, str]]:
    for action in verbs._choices_actions:
        yield action.dest, action.help or ""


def _words(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """What may be written after a verb, with its help: options, and the choices of arguments."""
    for action in parser._actions:
        text = parser._get_formatter()._expand_help(action) if action.help else ""
        for word in action.option_strings or map(str, action.choices or ()):
            yield word, text


def _in_fish(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
