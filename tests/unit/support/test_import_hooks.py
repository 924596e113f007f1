"""Functions that are called when a module has been imported."""

from __future__ import annotations

import importlib
import sys

import pytest

from trackmllib.support.import_hooks import when_imported


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that is not imported."""
    (tmp_path / "freshmodule.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "freshmodule"
    sys.modules.pop("freshmodule", None)


def test_function_is_called_after_first_import(module):
    seen = []
    when_imported(module, lambda found: seen.append((found, found.value)))
    when_imported(module, seen.append)
    assert seen == []
    found = importlib.import_module(module)
    assert seen == [(found, 1), found]
    importlib.reload(found)
    assert len(seen) == 2
    assert found.__spec__.loader.get_source(module) == "value = 1\n"


def test_function_is_called_at_once_for_imported_module(module):
    found = importlib.import_module(module)
    seen = []
    when_imported(module, seen.append)
    assert seen == [found]


def test_missing_module_raises_as_before():
    when_imported("no_such_module_of_ours", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_ours"):
        importlib.import_module("no_such_module_of_ours")


def test_failing_module_raises_as_before(module, tmp_path):
    (tmp_path / "freshmodule.py").write_text("raise ValueError('of the module')\n")
    seen = []
    when_imported(module, seen.append)
    for _ in range(2):
        with pytest.raises(ValueError, match="of the module"):
            importlib.import_module(module)
    (tmp_path / "freshmodule.py").write_text("value = 2  # and longer\n")
    importlib.invalidate_caches()
    assert importlib.import_module(module).value == 2
    assert len(seen) == 1
