"""What the fault tests found, printed at the end: a line for each fault, for docs/durability.md."""

from __future__ import annotations

import pytest

_figures: dict[str, str] = {}


@pytest.fixture
def figures() -> dict[str, str]:
    """Where a test puts what it found, under a name that begins with the number of its fault."""
    return _figures


def pytest_terminal_summary(terminalreporter):
    if _figures:
        terminalreporter.section("faults")
    for fault, found in sorted(_figures.items(), key=lambda item: int(item[0].split()[0])):
        terminalreporter.write_line(f"{fault}: {found}")
