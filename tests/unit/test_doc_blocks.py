"""Every block in the docs that is no Python is checked, or listed here with the reason."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from pathlib import Path

import click
import pytest

from trackmllib.cli.main import commands

ROOT = Path(__file__).parents[2]
PAGES = ("*.md", "docs/**/*.md")
# First words of command lines that are not run here, and why.
NOT_RUN = {
    "aws": "needs an account",
    "docker": "needs a daemon; tests/integration/test_deploy.py runs what the Dockerfile runs",
    "gcloud": "needs an account",
    "git": "changes the repository, or needs its forge",
    "kubectl": "needs a cluster",
    "mlflow": "serves until it is stopped; tests/integration/browser does that",
    "pip": "run by make package and tests/integration/test_fresh_install.py",
    "python": "run by tests/integration/test_fresh_install.py and test_trackmllib_run.py",
    "python3": "run by tests/integration/test_fresh_install.py and test_deploy.py",
    "spark-submit": "needs a cluster; run by tests/integration/test_cluster.py on one of its own",
    ".": "run by tests/integration/test_fresh_install.py",
    "bash": "runs these tests",
    "_TRACKMLLIB_COMPLETE=": "changes a shell; run by tests/unit/cli/test_help_and_completion.py",
}
# Texts that are no commands, by how they begin, and the tests that compare them with real output.
OUTPUT = {
    "reuse_stages on a CrossValidator": "tests/spark/test_docs.py",
    "spark.trackmllib.wait is 'flase'": "tests/unit/config/test_settings.py",
    "trackmllib does not support pyspark 5.0.0": "tests/spark/test_incompatible_pyspark.py",
    "user calls tuner.fit(df)": "a drawing",
    "%load_ext trackmllib": "tests/integration/test_notebook_extension.py",
}


def blocks(kinds: tuple[str, ...]) -> list[tuple[str, str]]:
    """Name of the page and text of each block of these kinds."""
    found = []
    for pattern in PAGES:
        for page in sorted(ROOT.glob(pattern)):
            for kind, text in re.findall(
                r"^ *```(\S*)\n(.*?)^ *```", page.read_text("utf-8"), re.M | re.S
            ):
                if kind in kinds:
                    found.append((str(page.relative_to(ROOT)), textwrap.dedent(text)))
    return found


def is_output(text: str) -> bool:
    return any(text.startswith(start) for start in OUTPUT)


def command_lines(text: str) -> list[str]:
    """The commands in a block: lines after ``$``, if there are any, otherwise all lines."""
    lines = text.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        return [line[2:] for line in lines if line.startswith("$ ")]
    return [line for line in lines if line and not line.startswith("#")]


COMMANDS = [
    (page, line)
    for page, text in blocks(("console", "text", "sh", ""))
    if not is_output(text)
    for line in command_lines(text)
]


def program(line: str) -> tuple[str, list[str]]:
    """Program and arguments of a command line, without variables that are set before it."""
    if "_TRACKMLLIB_COMPLETE=" in line:
        return "_TRACKMLLIB_COMPLETE=", []
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"\w+=.*", words[0]):
        del words[0]
    return words[0], words[1:]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_command_is_valid_or_listed(page, line):
    name, arguments = program(line)
    if name == "trackmllib":
        with commands.make_context("trackmllib", arguments) as context:
            words = [*context._protected_args, *context.args]
            _, command, rest = commands.resolve_command(context, words)
            command.make_context(command.name, rest, parent=context)
    elif name == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert set(arguments) <= set(targets)
    elif name != "export":
        assert name in NOT_RUN, f"{page}: run this in a test, or list it: {line}"


def test_wrong_command_is_found():
    """The test above can fail."""
    with pytest.raises(click.UsageError):
        test_command_is_valid_or_listed("a page", "trackmllib show")
    with pytest.raises(AssertionError, match="list it"):
        test_command_is_valid_or_listed("a page", "trackmlib show 3f2c")


def test_lists_have_no_stale_entries():
    names = {program(line)[0] for _, line in COMMANDS}
    assert set(NOT_RUN) <= names
    texts = [text for _, text in blocks(("text", "console", ""))]
    for start in OUTPUT:
        assert any(text.startswith(start) for text in texts), start


def test_json_in_the_docs_is_valid():
    found = blocks(("json",))
    assert found
    for page, text in found:
        assert json.loads(text), page


def test_kinds_of_blocks_are_known():
    fences = {
        kind
        for pattern in PAGES
        for page in ROOT.glob(pattern)
        for kind in re.findall(r"^ *```(\S+)$", page.read_text("utf-8"), re.M)
    }
    directives = {kind for kind in fences if kind.startswith("{")}
    assert fences - directives <= {"console", "json", "python", "sh", "text"}
