"""What the fault tests found, printed at the end."""

from __future__ import annotations

import pytest

_figures: dict[str, str] = {}


@pytest.fixture
def figures() -> dict[str, str]:
    """A line for each fault, for docs/durability.md."""
    return _figures


@pytest.fixture(scope="session", autouse=True)
def print_figures(request):
    yield
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    for fault, found in sorted(_figures.items(), key=lambda item: int(item[0].split()[0])):
        reporter.write_line(f"fault {fault}: {found}")
