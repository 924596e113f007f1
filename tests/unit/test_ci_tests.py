"""The list of slow tests that CI runs has no stale entries."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ci_tests import CI_TESTS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("entry", CI_TESTS)
def test_entry_names_tests(entry):
    file, _, name = entry.partition("::")
    assert (ROOT / file).exists()
    if name:
        function = re.escape(name.partition("[")[0])
        assert re.search(rf"^def {function}", (ROOT / file).read_text(), re.MULTILINE)
