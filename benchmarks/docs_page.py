"""Writes results, machine and versions into docs/explanation/benchmarks.md."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks import text_tables
from benchmarks.ratios import Row

PAGE = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "benchmarks.md"
BEGIN = "<!-- From here on written by make bench -->\n"
END = "<!-- Up to here. -->\n"


def write(rows: Sequence[Row], failed: Sequence[str], seconds: float) -> None:
    """Replace the rows of the last run; ``failed`` has the questions without results."""
    day = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    made = (
        f"Measured on {day}, in {seconds / 60:.0f} minutes.\n\n* Machine: {machine()}\n"
        f"* Versions: {versions()}\n\n{text_tables.table(rows)}\n"
        f"{_named('Missed', [row.name for row in rows if not row.holds])}"
        f"{_named('Without an answer', failed)}## What each row is\n\n{text_tables.meanings(rows)}"
    )
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")


def replaced(page: str, made: str) -> str:
    """Return the page with new text between its markers; ValueError without markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no place for what is measured")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def machine() -> str:
    """Return cores, memory and processor, without the machine's name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, {_processor()}"


def versions() -> str:
    names = ("pyspark", "mlflow")
    theirs = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"{platform.system()}, Python {platform.python_version()}, Java {_java()}, {theirs}, "
        f"trackmllib {_ours()}"
    )


def _named(what: str, names: Sequence[str]) -> str:
    return f"{what}: {', '.join(f'`{name}`' for name in names)}.\n\n" if names else ""


def _ours() -> str:
    from trackmllib.version import __version__

    return __version__


def _processor() -> str:
    """Return the model of the processor, from Linux or macOS."""
    try:
        if sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.machine()


def _java() -> str:
    """Return the version of the Java that Spark uses."""
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else "java"
    output = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    return output.splitlines()[0].split('"')[1]
