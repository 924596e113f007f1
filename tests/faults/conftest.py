"""Prints the figures of the fault tests at the end, for docs/explanation/durability.md."""

from __future__ import annotations

import pytest

_figures: dict[str, str] = {}


@pytest.fixture
def figures() -> dict[str, str]:
    """Results of the tests, by names that begin with the number of the fault."""
    return _figures


def pytest_terminal_summary(terminalreporter):
    if _figures:
        terminalreporter.section("faults")
    for fault, found in sorted(_figures.items(), key=lambda item: int(item[0].split()[0])):
        terminalreporter.write_line(f"{fault}: {found}")
