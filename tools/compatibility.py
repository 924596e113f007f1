"""Writes the table of tested versions into docs/reference/compatibility.md, from nox's results."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "compatibility.md"
RESULTS = ROOT / ".matrix"
BEGIN = "<!-- The table is made from the results: make matrix -->\n"
END = "<!-- End of the table. -->\n"


def table(results: list[dict[str, Any]]) -> str:
    """Return the table in Markdown: a row for each combination, by version."""
    heads = ["Python", "pyspark", "MLflow", "tests"]
    rows = [heads, ["---"] * len(heads)]
    for result in sorted(results, key=lambda result: [_numbers(v) for v in result["versions"]]):
        failed = f", **{result['failed']} failed**" if result["failed"] else ""
        rows.append([*result["versions"], f"{result['passed']} passed{failed}"])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def with_table(page: str, made: str) -> str:
    """Return the page with a new table between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE.name} has no place for the table")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def _java() -> str:
    """Return the version of the Java that Spark uses."""
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else "java"
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=True)
    return done.stderr.splitlines()[0].replace('"', "")


def _main() -> None:
    files = sorted(RESULTS.glob("*.json"))
    if not files:
        raise SystemExit("There are no results: run make matrix first.")
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    day = datetime.date.fromtimestamp(max(file.stat().st_mtime for file in files))
    where = f"{platform.system()} ({platform.machine()}), {_java()}"
    made = f"Run on {day.isoformat()}, on {where}:\n\n{table(results)}"
    page = with_table(PAGE.read_text(encoding="utf-8"), made)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    _main()
