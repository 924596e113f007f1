"""The table of tested versions in the docs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("compatibility", ROOT / "tools/compatibility.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def result(*versions: str, failed: int = 0):
    return {"versions": versions, "passed": 9, "failed": failed}


def test_rows_are_sorted_by_version_and_show_failures(tool):
    made = tool.table(
        [
            result("3.10.1", "4.10.0", "3.1.0"),
            result("3.10.1", "4.9.0", "3.1.0", failed=2),
            result("3.9.20", "4.0.0", "3.1.0"),
        ]
    )
    assert made.splitlines()[2:] == [
        "| 3.9.20 | 4.0.0 | 3.1.0 | 9 passed |",
        "| 3.10.1 | 4.9.0 | 3.1.0 | 9 passed, **2 failed** |",
        "| 3.10.1 | 4.10.0 | 3.1.0 | 9 passed |",
    ]


def test_table_is_replaced_and_the_rest_of_the_page_stays(tool):
    page = tool.PAGE.read_text(encoding="utf-8")
    made = tool.with_table(page, "a table\n")
    assert tool.with_table(made, "another\n") == made.replace("\na table\n", "\nanother\n")
    assert made.partition(tool.BEGIN)[0] == page.partition(tool.BEGIN)[0]
    assert made.partition(tool.END)[2] == page.partition(tool.END)[2]
